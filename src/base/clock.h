#pragma once
/* Two clocks of two types, so that they cannot be mixed: wall time names pictures and may jump;
 * monotonic time measures intervals, time-outs and back-off. Tests replace both. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

struct wall_time {
    int64_t us; /* microseconds since 1970-01-01T00:00:00Z */
};
struct mono_time {
    int64_t us; /* microseconds since an arbitrary start */
};

struct wall_time clock_wall(void);
struct mono_time clock_mono(void);

static inline struct mono_time mono_add_ms(struct mono_time t, int64_t ms)
{
    return (struct mono_time){t.us + ms * 1000};
}
static inline int64_t mono_diff_us(struct mono_time later, struct mono_time earlier)
{
    return later.us - earlier.us;
}
static inline double mono_diff_ms(struct mono_time later, struct mono_time earlier)
{
    return (double)(later.us - earlier.us) / 1000.0;
}
/* Milliseconds from now until t, rounded up, 0 when past, at most INT_MAX (fits poll). */
int mono_until_ms(struct mono_time t);
static inline bool mono_passed(struct mono_time t)
{
    return clock_mono().us >= t.us;
}
static inline int64_t wall_seconds(struct wall_time t) /* floor */
{
    return t.us / 1000000 - (t.us % 1000000 < 0);
}
static inline struct wall_time wall_from_seconds(int64_t s)
{
    return (struct wall_time){s * 1000000};
}

/* So far from now, for waits of the C library on CLOCK_MONOTONIC: the real clock, which tests do
 * not move. */
struct timespec clock_deadline(int64_t ms);

#define WALL_ISO_MAX 40
/* "2026-01-02T03:04:05Z", with `millis` "…05.123Z". Returns buf. Years outside 0..9999 are clamped.
 */
const char *wall_format_iso(struct wall_time t, bool millis, char buf[WALL_ISO_MAX]);
/* Inverse: accepts "YYYY-MM-DDTHH:MM:SS[.frac](Z|+hh:mm)". 0 or -EINVAL. */
int wall_parse_iso(const char *text, struct wall_time *ret);

/* Tests only: hooks that replace the sources; NULL restores the real one. */
void clock_set_wall_source(struct wall_time (*source)(void));
void clock_set_mono_source(struct mono_time (*source)(void));
