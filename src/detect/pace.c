#include "detect/pace.h"

#include <math.h>

#include "base/macros.h"

#define SHARE_MIN (1.0 / 16)
#define SHARE_PER_SECOND 0.05     /* that comes back: a storm that goes on is met by a slow pace */
#define SLOW_DOWN_EVERY_US 500000 /* refusals of one burst come together */

void pace_init(struct pace *p, double per_second, struct mono_time now)
{
    double burst = fmax(per_second, 1);
    *p = (struct pace){.per_second = per_second,
                       .burst = burst,
                       .tokens = burst,
                       .share = 1,
                       .at = now,
                       .slowed_at = {now.us - SLOW_DOWN_EVERY_US}};
}

static void refill(struct pace *p, struct mono_time now)
{
    double seconds = (double)mono_diff_us(now, p->at) / 1e6;
    if (seconds <= 0)
        return;
    p->at = now;
    /* The share grows meanwhile; its middle counts. */
    double grown = fmin(p->share + seconds * SHARE_PER_SECOND, 1);
    p->tokens = fmin(p->tokens + seconds * p->per_second * (p->share + grown) / 2, p->burst);
    p->share = grown;
}

bool pace_take(struct pace *p, struct mono_time now, int64_t wait_us_max, int64_t *ret_wait_us)
{
    int64_t wait_us = 0;
    if (p->per_second > 0) {
        refill(p, now);
        if (p->tokens < 1)
            wait_us = (int64_t)ceil((1 - p->tokens) / (p->per_second * p->share) * 1e6);
        if (wait_us > wait_us_max)
            return false;
        p->tokens -= 1;
    }
    *ret_wait_us = wait_us;
    return true;
}

void pace_slow_down(struct pace *p, struct mono_time now)
{
    refill(p, now);
    if (mono_diff_us(now, p->slowed_at) < SLOW_DOWN_EVERY_US)
        return;
    p->slowed_at = now;
    p->share = MAX(p->share / 2, SHARE_MIN);
    p->tokens = fmin(p->tokens, 0);
}
