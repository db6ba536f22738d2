#pragma once
/* What the name of a pushed picture says: what it is, and when it was taken. Pure; any thread.
 *
 * Times in names are the camera's wall clock, which is often wrong and never says its zone; only
 * ten digits are Unix seconds and mean one moment. push_event_time() makes the event's time of it,
 * or takes the arrival's when the two are too far apart. */

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

enum push_kind {
    PUSH_PICTURE,    /* by its extension: what src/picture reads */
    PUSH_VIDEO,      /* mp4, mkv, avi, dav, and the index beside them */
    PUSH_OTHER,      /* text of a test button, ... */
    PUSH_UNFINISHED, /* .part, .tmp, "tmp_", ".x", a video with a leading "_": wait for its rename
                      */
    PUSH_KIND_COUNT
};
extern const char *const push_kind_names[PUSH_KIND_COUNT];

/* `path` is relative to the watched root, with '/'. */
enum push_kind push_name_kind(const char *path);
/* Whether it ends as the name of a picture, however it begins: "_x.jpg" is unfinished for
 * push_name_kind(), and perhaps all names of that camera are so. */
bool push_name_is_picture(const char *path);

/* Our own hidden names: an upload that is under way, and a picture on its way out (push_file.h). */
#define PUSH_HIDDEN_UPLOAD ".incoming-"
#define PUSH_HIDDEN_TAKEN ".taken-"
/* True when a part of the path is a name that nobody looks at in a watched folder: one of ours, or
 * one under which NAS and desktops keep what was deleted, snapshots and thumbnails. The FTP server
 * refuses them: nothing is accepted that is not looked at afterwards. */
bool push_name_is_hidden(const char *path);

struct push_time {
    struct wall_time at; /* what the name says, as if it were UTC */
    bool absolute;       /* it is UTC; otherwise a zone has to be applied */
    int per_second;      /* how fine: 1000 or 100 steps a second, 1 = seconds, 0 = coarser */
    const char *rule;    /* which one fitted, static text for logs and tests: push_rule_names */
};
/* Every rule's name, in the order in which they are tried, then NULL. */
extern const char *const push_rule_names[];
/* The makers' rules go first, the original's last. A date that is none (30 February, hour 24) is
 * no time. 0, or -ENOENT when the name tells none. */
int push_name_time(const char *path, struct push_time *ret);

/* The moment at which clocks of this machine's zone show `local`. What they show twice (the hour
 * after summer time) is the one nearer to `near`; what they never show (the hour that summer time
 * skips) is read as a clock shows it that nobody has put forward. */
struct wall_time push_local_to_utc(struct wall_time local, struct wall_time near);

/* The time of the event: what the name says when that is at most `past_ms` before and `future_ms`
 * after `arrived`, else `arrived`: the camera's clock is off, *ret_off is true then. */
struct wall_time push_event_time(const struct push_time *named, struct wall_time arrived,
                                 int64_t past_ms, int64_t future_ms, bool *ret_off);
