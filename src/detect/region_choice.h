#pragma once
/* Which of two regions is asked: see rekognition.h for the rules. Each has a breaker and a measured
 * time. Pure: the time is given. Not thread-safe. */

#include "detect/breaker.h"

#define REGION_COUNT_MAX 2

/* What an answer says of the region, not of the picture. */
enum region_news {
    REGION_WELL,    /* it answered, whatever it was */
    REGION_FAILED,  /* error of its own, cut off */
    REGION_DEAD,    /* no connection, silence: costs time each time */
    REGION_UNKNOWN, /* was not asked after all, or could not be judged */
};

struct region_state {
    struct breaker breaker;
    double answer_ms; /* moving average of answers; 0 = none yet */
    struct mono_time measured_at;
};

struct region_choice {
    int count;
    bool nearest;
    int favourite; /* nearest: index */
    struct region_state regions[REGION_COUNT_MAX];
};

void region_choice_init(struct region_choice *c, int count, bool nearest, struct mono_time now);
/* Index of the region to ask, or -1: all rest. Those in `avoid` (bits) come last, as they have just
 * failed or refused this very picture. */
int region_pick(struct region_choice *c, unsigned avoid, struct mono_time now,
                enum breaker_pass *ret_pass);
/* How the call that was picked ended. `answer_ms` counts with REGION_WELL; 0 = not measured. */
void region_tell(struct region_choice *c, int region, enum breaker_pass pass, enum region_news news,
                 double answer_ms, struct mono_time now);
/* How long until one may be asked. */
int64_t region_wait_ms(const struct region_choice *c, struct mono_time now);
