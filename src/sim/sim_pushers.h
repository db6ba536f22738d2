#pragma once
/* How the makers' cameras push pictures by FTP: the names that they give them, and their habits
 * with the server. A table and pure functions; sim_push.c does what they say.
 *
 * Names follow what the makers document or users report. Which maker has which habit differs from
 * model to model and firmware to firmware, so the table spreads those that were seen over the
 * makers, and each can be switched on and off. */

#include <stddef.h>
#include <time.h>

#include "base/clock.h"
#include "base/err.h"

/* What a camera does beside USER, PASS, TYPE I, PASV, STOR, QUIT. */
enum sim_habit {
    SIM_HABIT_KEPT,      /* one session for all pictures, NOOP between them; else one for each */
    SIM_HABIT_MKD_EACH,  /* makes each folder on its way, there or not, and goes on after a 5xx */
    SIM_HABIT_MKD_DEEP,  /* makes a/b/c in one go */
    SIM_HABIT_CWD_FULL,  /* enters the folder by its full path; makes it when that fails */
    SIM_HABIT_CWD_EACH,  /* enters folder by folder, as curl does; makes what is not there */
    SIM_HABIT_STOR_PATH, /* STOR with the whole path instead of entering the folder */
    SIM_HABIT_SLASHES,   /* doubled slashes in paths */
    SIM_HABIT_BACKSLASHES,
    SIM_HABIT_TYPE_A,   /* TYPE A for pictures */
    SIM_HABIT_ACTIVE,   /* PORT, with `extended` EPRT */
    SIM_HABIT_EXTENDED, /* EPSV or EPRT; always with IPv6 */
    SIM_HABIT_RENAME,   /* STOR under another name, RNFR, RNTO */
    SIM_HABIT_APPEND,   /* APPE instead of STOR */
    SIM_HABIT_SIZE,     /* asks for the size afterwards; another one is a failure */
    SIM_HABIT_CHMOD,    /* SITE CHMOD afterwards */
    SIM_HABIT_ALLO,
    SIM_HABIT_GREET,   /* SYST, FEAT, OPTS UTF8 ON, whatever the answers */
    SIM_HABIT_PWD,     /* asks where it is, before anything and as keepalive */
    SIM_HABIT_OLD,     /* XMKD, XCWD, XPWD */
    SIM_HABIT_BARE_LF, /* lines end with LF alone */
    SIM_HABIT_COUNT
};
#define SIM_HABIT(name) (1u << SIM_HABIT_##name)

struct sim_habit_kind {
    const char *name; /* "kept", "mkd-each" */
    const char *help;
};
extern const struct sim_habit_kind sim_habit_kinds[SIM_HABIT_COUNT];

enum sim_event { SIM_EVENT_MOTION, SIM_EVENT_HUMAN, SIM_EVENT_TIMER, SIM_EVENT_COUNT };
extern const char *const sim_event_names[SIM_EVENT_COUNT]; /* "motion", "human", "timer" */

/* In patterns stand for: %Y %y %m %d %H %M %S the camera's wall clock, %L its ms, %c hundredths, %I
 * the index in this second from 0, %N a counter, %D the device, %E the event in the maker's word.
 */
struct sim_pusher {
    const char *name;
    const char *help;
    const char *device;  /* by default */
    const char *folder;  /* below the one that is set in the camera; "" = none */
    const char *picture; /* its name in there */
    const char *video;   /* a whole path below the camera's folder */
    const char *other;   /* a file that is neither, the same */
    const char *test;    /* of the test button */
    const char *unfinished_prefix, *unfinished_suffix; /* with the habit `rename` */
    const char *events[SIM_EVENT_COUNT];
    int step_ms; /* how fine names tell the time; 0 = by index, or not at all */
    unsigned habits;
};
#define SIM_PUSHER_COUNT 9
extern const struct sim_pusher sim_pushers[SIM_PUSHER_COUNT];

const struct sim_pusher *sim_pusher_find(const char *name); /* NULL: there is none */

/* "kept,no-size": adds to and takes from `*habits`. */
int sim_habits_parse(const char *text, unsigned *habits, struct err *e);

/* When a picture was taken, as its name tells it. */
struct sim_shot {
    struct wall_time at; /* the camera's clock */
    unsigned index;      /* in its second */
    unsigned number;     /* since the start, from 1 */
};
/* The next shot at `now`. Two never get the same name, even when the maker's names are coarser than
 * the pictures come: then the camera's clock runs ahead a little. */
void sim_pusher_shoot(const struct sim_pusher *p, struct wall_time now, struct sim_shot *shot);

#define SIM_PUSH_PATH_MAX 512
/* Fills a pattern in. `local` is shot->at in the camera's zone. -ENAMETOOLONG. */
int sim_pusher_name(const struct sim_pusher *p, const char *pattern, const char *device,
                    enum sim_event event, const struct sim_shot *shot, const struct tm *local,
                    char ret[SIM_PUSH_PATH_MAX]);
