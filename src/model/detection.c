#include "model/detection.h"

#include "base/mem.h"

void detection_list_done(struct detection_list *list)
{
    free(list->items);
    *list = (struct detection_list){0};
}

void detection_list_copy(struct detection_list *dst, const struct detection_list *src)
{
    *dst = (struct detection_list){.count = src->count};
    if (src->count)
        dst->items = xmemdup(src->items, src->count * sizeof(*src->items));
}
