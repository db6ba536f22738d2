#pragma once
/* Which picture of a burst is the best? Pure, any thread. */

#include <stdbool.h>

#include "camera/freshness.h"
#include "model/camera.h"
#include "model/detection.h"

/* What a detector says twice of the same scene differs by so much. */
#define BURST_SCORE_SLACK 0.05

struct burst_rank {
    enum camera_freshness freshness;
    bool damaged;
    double person;    /* score of the surest person; 0 = none, or nobody has looked */
    double best;      /* score of the surest find of any kind; 0 likewise */
    double sharpness; /* picture/sharpness.h */
};

/* What decided, in the order in which it is asked. */
enum burst_reason {
    BURST_FRESH,  /* it is of now, the others are not */
    BURST_WHOLE,  /* the others are damaged */
    BURST_PERSON, /* somebody is on it */
    BURST_PERSON_SCORE,
    BURST_SCORE,
    BURST_SHARPNESS,
    BURST_FIRST, /* nothing else */
    BURST_REASON_COUNT
};
extern const char *const burst_reason_names[BURST_REASON_COUNT]; /* "it is of now", ... */

/* Enters what a detector found, filtered already. */
void burst_rank_found(struct burst_rank *r, const struct detection_list *found);
/* Index of the best of 1 .. CAMERA_BURST_MAX pictures. Each question leaves those whose answer is
 * the best one, scores within the slack of it count as equal; *ret_why is the last question that
 * ruled one out. Of equals the first wins. */
int burst_choose(const struct burst_rank *ranks, int count, enum burst_reason *ret_why);
