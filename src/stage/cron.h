#pragma once
/* Times of day in the form of crontab(5): "minute hour day-of-month month day-of-week", each a
 * star, number, range, list or step ("*" "/" "15"), names of months and days allowed, plus @hourly
 * and @daily. When both days are restricted, either may match, as cron has it. Local time; on the
 * two days of the year on which clocks are set, as cron has it, too: what has certain hours happens
 * once in an hour that comes twice, and at the end of one that is left out. Pure. */

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"

struct cron {
    uint64_t minutes;          /* bit 0..59 */
    uint32_t hours;            /* bit 0..23 */
    uint32_t days;             /* bit 1..31 */
    uint16_t months;           /* bit 1..12 */
    uint8_t weekdays;          /* bit 0..6, Sunday 0 */
    bool any_day, any_weekday; /* was a star */
};

/* -EINVAL with what is wrong and what would be right. */
int cron_parse(const char *text, struct cron *ret, struct err *e);
/* First matching minute strictly after `after`; -ENOENT when none within five years ("30
 * February"). */
int cron_next(const struct cron *c, struct wall_time after, struct wall_time *ret);
