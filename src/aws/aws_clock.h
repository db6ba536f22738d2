#pragma once
/* The clock that AWS signs by. It refuses a request that is dated more than a few minutes off, and
 * a camera's little computer may have no battery behind its clock: what the service says of the
 * time is remembered as an offset to ours. Any thread. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

struct aws_clock {
    _Atomic int64_t offset_s; /* zeroed is right */
};
int64_t aws_clock_offset_s(struct aws_clock *c);
struct wall_time aws_clock_at(int64_t offset_s); /* now, so corrected */
/* The service refused a date made with `used_offset_s`; `date_s` is its Date header (-1 = none).
 * True when that is news, so that the request, signed again, may be taken; once is enough. */
bool aws_clock_learn(struct aws_clock *c, int64_t used_offset_s, int64_t date_s);
