#pragma once
/* A token bucket: so many calls a second, with a bounded burst after a pause. Callers take a place
 * in line and wait for as long as they are told, so the line is in order of arrival and nobody
 * polls. When the partner asks to slow down the pace is halved, and comes back within some 20 s.
 * Pure: the time is given. Not thread-safe. */

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

struct pace {
    double per_second; /* 0 = no limit */
    double burst;      /* calls */
    double tokens;     /* below 0: that many wait in line */
    double share;      /* of per_second that is used just now, 0..1 */
    struct mono_time at, slowed_at;
};

/* A burst is what one second allows, and one call at least. */
void pace_init(struct pace *p, double per_second, struct mono_time now);
/* True: a place is taken, the call may go after *ret_wait_us. False: that would be beyond
 * `wait_us_max`, nothing is taken. */
bool pace_take(struct pace *p, struct mono_time now, int64_t wait_us_max, int64_t *ret_wait_us);
/* The partner refused a call for being one too many. Refusals of calls that were under way together
 * count as one. */
void pace_slow_down(struct pace *p, struct mono_time now);
