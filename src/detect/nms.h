#pragma once
/* Candidates of a detection model and their selection: non-maximum suppression as Ultralytics does
 * it. Pure; the caller owns the memory. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/detection.h"

/* Ultralytics' caps; the best ones by score stay. */
#define CANDIDATE_COUNT_MAX 30000
/* While collecting, twice as many, so that cutting back is seldom. 28 bytes each: 1.7 MB at most.
 */
#define CANDIDATE_ROOM (2 * CANDIDATE_COUNT_MAX)

struct candidate {
    struct box box; /* pixels of the model's input */
    float score;    /* finite, 0 < score <= 1 */
    int class_id;
    uint32_t order; /* as the model gave them: equal scores keep it */
};

struct candidate_list {
    struct candidate *items;
    size_t count, room;
    uint32_t given;
};
void candidate_list_done(struct candidate_list *l);
/* Adds one that is worth keeping: a score or box that is not finite, an empty or reversed box and a
 * negative class are left out. 0 or -ENOMEM. */
int candidate_add(struct candidate_list *l, struct box box, float score, int class_id);

/* Sorts by descending score, then keeps each box that overlaps no better one of its class by more
 * than `iou_max` (equal is kept); `iou_max` >= 1 keeps all. At most `keep_max` stay. */
void nms_select(struct candidate_list *l, double iou_max, size_t keep_max);
