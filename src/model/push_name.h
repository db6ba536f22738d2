#pragma once
/* What the name of a pushed picture says: whether it is one, and when it was taken. Pure.
 *
 * Rules: the makers' patterns (Foscam, Dahua/Amcrest whose time is in the folders, Hikvision,
 * Reolink, Axis), then the original's (what stands behind the second underscore, or the whole).
 * Times are the camera's wall clock, in `zone` of the camera. */

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

enum push_kind {
    PUSH_PICTURE,    /* by its extension: jpg, jpeg, jpe, png, webp, gif, bmp, tif... that we read */
    PUSH_VIDEO,      /* mp4, mkv, avi, dav, idx, ... */
    PUSH_OTHER,      /* text of a test button, ... */
    PUSH_UNFINISHED, /* .part, .tmp, .in., leading "tmp_" or "_"...: wait for its rename */
    PUSH_KIND_COUNT
};
extern const char *const push_kind_names[PUSH_KIND_COUNT];

/* `path` is relative to the watched root, with '/'. */
enum push_kind push_name_kind(const char *path);
/* 0 and the local wall-clock time as if it were UTC (so the caller applies the zone), and how fine it
 * is: 1000 = to the ms, 1 = to the second, 0 = to the minute; -ENOENT when the name tells none. The
 * rule that fitted is named in *ret_rule ("foscam", "original"), static text, for logs and tests. */
int push_name_time(const char *path, struct wall_time *ret, int *ret_per_second,
                   const char **ret_rule);
/* The time of the event: `named` read in the program's local zone when it lies within `skew_ms` of
 * `arrived`, else `arrived` (the camera's clock is off; *ret_off is true then). */
struct wall_time push_event_time(struct wall_time named_local, struct wall_time arrived,
                                 int64_t skew_ms, bool *ret_off);
