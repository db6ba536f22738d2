#pragma once
/* Secrets asked for in one go: from Connect, and while that is away from the cache of the last good
 * values. Bounded in time and number. One thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"

enum secrets_mode {
    SECRETS_ASK,   /* Connect, else the cache */
    SECRETS_CACHE, /* the cache alone: for commands that need none of this but read the file */
};

struct secrets_options {
    const char *host, *token, *vault; /* of Connect */
    const char *app_name;             /* for __APP_NAME__ in paths */
    const char *folder;               /* that has the cache: data_dir */
    const char *credentials;          /* $CREDENTIALS_DIRECTORY or NULL */
    int64_t timeout_ms, deadline_ms;
    int64_t cache_max_age_ms; /* 0 = no cache */
    int stop_fd;              /* readable ends the asking; -1 = none */
    enum secrets_mode mode;
    bool keeps; /* writes the cache: the daemon alone, so that the file is its own */
};

struct secrets_wish {
    const char *path; /* secret_path.h */
    char *value;      /* malloc()ed; NULL: see error */
    bool cached;      /* it is the cache's */
    struct err error; /* retry class NEVER: Connect says that it is not there */
};

/* What became of it, for people. Holds no secret. */
struct secrets_report {
    bool used; /* something was asked for */
    int wishes, answered, cached;
    int requests;                     /* made to Connect */
    struct wall_time oldest;          /* of the cached */
    char trouble[ERR_TEXT_MAX];       /* why Connect did not answer; "" = it did */
    char cache_trouble[ERR_TEXT_MAX]; /* what is wrong with the cache; "" = nothing */
};

void secrets_ask(const struct secrets_options *o, struct secrets_wish *list, size_t count,
                 struct secrets_report *ret);
/* One value that was learned otherwise goes into the cache, if there is one. Any thread. */
void secrets_remember(const struct secrets_options *o, const char *path, const char *value);
void secrets_wish_done(struct secrets_wish *w); /* wipes */
