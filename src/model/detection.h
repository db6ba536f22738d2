#pragma once
/* What a detector found: plain values, no I/O. Boxes are in pixels of the upright original picture
 * (EXIF orientation applied), origin top left, x2 and y2 exclusive edges, clipped to the picture.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/macros.h"

#define DETECTION_LABEL_MAX 48  /* longest of COCO's, Open Images' and Rekognition's names is 41 */
#define DETECTION_COUNT_MAX 300 /* the usual cap of object detectors' output */

struct box {
    float x1, y1, x2, y2;
};

struct detection {
    char label[DETECTION_LABEL_MAX];
    int class_id;     /* index in the model's names, -1 when it has none */
    float confidence; /* 0..1 */
    bool has_box;     /* some cloud labels have none */
    struct box box;
};

/* By descending confidence. */
struct detection_list {
    struct detection *items;
    size_t count;
};

void detection_list_done(struct detection_list *list);
/* Deep copy; the destination is overwritten (initialise it with {0}). */
void detection_list_copy(struct detection_list *dst, const struct detection_list *src);
