#include "detect/region_choice.h"

#include <assert.h>

#include "base/macros.h"

/* A rest of 5 s loses at most a time-out in so long; a region that is away for hours is asked every
 * five minutes. */
static const struct breaker_rules rules = {
    .failures_max = 3, .rest_ms = 5000, .rest_ms_max = 5 * 60 * 1000, .calm_ms = 60 * 1000};

enum { MEASURE_AGAIN_MS = 10 * 60 * 1000 };
#define AVERAGE_WEIGHT 0.2 /* of the newest answer */
/* What has to be gained before the favourite changes; else two alike would take turns. */
#define BETTER_BY 0.8

void region_choice_init(struct region_choice *c, int count, bool nearest, struct mono_time now)
{
    assert(count >= 1 && count <= REGION_COUNT_MAX);
    *c = (struct region_choice){.count = count, .nearest = nearest && count > 1};
    for (int i = 0; i < count; i++)
        breaker_init(&c->regions[i].breaker, &rules, now);
}

/* The other one is asked once when nothing is known of it, or nothing new. */
static bool wants_measuring(struct region_choice *c, int region, struct mono_time now)
{
    struct region_state *r = &c->regions[region];
    if (r->breaker.state != BREAKER_CLOSED)
        return false;
    bool stale = mono_diff_us(now, r->measured_at) >= MEASURE_AGAIN_MS * 1000LL;
    if (r->answer_ms > 0 && !stale)
        return false;
    if (!stale && r->measured_at.us)
        return false; /* asked just now, by another thread */
    r->measured_at = now;
    return true;
}

int region_pick(struct region_choice *c, unsigned avoid, struct mono_time now,
                enum breaker_pass *ret_pass)
{
    int first = c->nearest ? c->favourite : 0;
    /* The first answers alone say nothing of the other. */
    if (c->nearest && c->regions[first].answer_ms > 0 && wants_measuring(c, 1 - first, now))
        first = 1 - first;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < c->count; i++) {
            int region = (first + i) % c->count;
            if (((avoid >> region) & 1) != (unsigned)round)
                continue;
            *ret_pass = breaker_ask(&c->regions[region].breaker, now);
            if (*ret_pass != BREAKER_NO)
                return region;
        }
    }
    return -1;
}

static void choose_favourite(struct region_choice *c)
{
    int other = 1 - c->favourite;
    double here = c->regions[c->favourite].answer_ms, there = c->regions[other].answer_ms;
    if (here > 0 && there > 0 && there < here * BETTER_BY)
        c->favourite = other;
}

void region_tell(struct region_choice *c, int region, enum breaker_pass pass, enum region_news news,
                 double answer_ms, struct mono_time now)
{
    struct region_state *r = &c->regions[region];
    switch (news) {
    case REGION_WELL:
        breaker_good(&r->breaker, pass, now);
        if (answer_ms > 0) {
            r->answer_ms += (answer_ms - r->answer_ms) * (r->answer_ms > 0 ? AVERAGE_WEIGHT : 1);
            r->measured_at = now;
            if (c->nearest)
                choose_favourite(c);
        }
        break;
    case REGION_FAILED:
    case REGION_DEAD:
        breaker_bad(&r->breaker, pass, news == REGION_DEAD, now);
        break;
    case REGION_UNKNOWN:
        breaker_unknown(&r->breaker, pass);
        break;
    }
}

int64_t region_wait_ms(const struct region_choice *c, struct mono_time now)
{
    int64_t least = INT64_MAX;
    for (int i = 0; i < c->count; i++)
        least = MIN(least, breaker_wait_ms(&c->regions[i].breaker, now));
    return least;
}
