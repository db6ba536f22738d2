#pragma once
/* Is this picture of now? Cameras that hang go on answering, with the picture of an hour ago. Pure.
 *
 * No clock of a camera is trusted, many are wrong by years and none says so: what counts is that a
 * clock went on since the last picture as ours did. A camera whose clock is set back while we look
 * gives one false alarm, which costs one more request. */

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

/* A picture may be so much older than its answer: cameras with a buffer, files that are replaced by
 * the minute. */
#define FRESHNESS_AGE_MAX_S 90

enum camera_freshness {
    CAMERA_FRESH,
    CAMERA_STALE_UNCHANGED, /* byte for byte the one before, which no camera can take twice */
    CAMERA_STALE_OLD,       /* by HTTP's dates, or by the time in the picture itself */
    CAMERA_FRESHNESS_COUNT
};
extern const char *const camera_freshness_names[CAMERA_FRESHNESS_COUNT]; /* "fresh", ... */

struct freshness_signs {
    struct wall_time now;
    uint64_t digest;                 /* of the picture */
    int64_t date_s, last_modified_s; /* HTTP; -1 when absent */
    int64_t taken_s;                 /* EXIF, local time read as if it were UTC; 0 when absent */
};

/* What is remembered of a camera's last picture; zeroed at first. */
struct freshness {
    bool known;
    struct freshness_signs last;
};

/* Judges a picture by the last one, and remembers it. */
enum camera_freshness freshness_judge(struct freshness *f, const struct freshness_signs *signs);
