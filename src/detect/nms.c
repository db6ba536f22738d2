#include "detect/nms.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"

static int by_score(const void *a, const void *b);
static float overlap(const struct box *a, const struct box *b);

void candidate_list_done(struct candidate_list *l)
{
    free(l->items);
    *l = (struct candidate_list){.items = NULL};
}

static int make_room(struct candidate_list *l)
{
    if (l->room == CANDIDATE_ROOM) {
        qsort(l->items, l->count, sizeof(*l->items), by_score);
        l->count = CANDIDATE_COUNT_MAX;
        return 0;
    }
    size_t room = l->room == 0 ? 256 : MIN(l->room * 2, (size_t)CANDIDATE_ROOM);
    struct candidate *items =
        mem_try_realloc(l->items, room, sizeof(*items), CANDIDATE_ROOM * sizeof(*items));
    if (items == NULL)
        return -ENOMEM;
    l->items = items;
    l->room = room;
    return 0;
}

int candidate_add(struct candidate_list *l, struct box box, float score, int class_id)
{
    /* Written so that a NaN anywhere fails the comparison. */
    bool sound = isfinite(box.x1) && isfinite(box.y1) && box.x2 > box.x1 && box.y2 > box.y1 &&
                 isfinite(box.x2) && isfinite(box.y2) && score > 0 && isfinite(score) &&
                 class_id >= 0;
    if (!sound)
        return 0;
    if (l->count == l->room) {
        int r = make_room(l);
        if (r < 0)
            return r;
    }
    l->items[l->count++] = (struct candidate){
        .box = box, .score = MIN(score, 1.0f), .class_id = class_id, .order = l->given++};
    return 0;
}

void nms_select(struct candidate_list *l, double iou_max, size_t keep_max)
{
    if (l->count > 1)
        qsort(l->items, l->count, sizeof(*l->items), by_score);
    size_t candidates = MIN(l->count, (size_t)CANDIDATE_COUNT_MAX);
    size_t kept = 0;
    for (size_t i = 0; i < candidates && kept < keep_max; i++) {
        struct candidate c = l->items[i];
        bool keep = true;
        for (size_t k = 0; keep && iou_max < 1.0 && k < kept; k++)
            keep = l->items[k].class_id != c.class_id ||
                   !((double)overlap(&l->items[k].box, &c.box) > iou_max);
        if (keep)
            l->items[kept++] = c;
    }
    l->count = kept;
}

static int by_score(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

/* Intersection over union, with neither the "+1" of pixel counting nor an epsilon. */
static float overlap(const struct box *a, const struct box *b)
{
    float width = MIN(a->x2, b->x2) - MAX(a->x1, b->x1);
    float height = MIN(a->y2, b->y2) - MAX(a->y1, b->y1);
    if (width <= 0 || height <= 0)
        return 0;
    float both = width * height;
    float area_a = (a->x2 - a->x1) * (a->y2 - a->y1);
    float area_b = (b->x2 - b->x1) * (b->y2 - b->y1);
    return both / (area_a + area_b - both);
}
