#pragma once
/* The annotated copy: boxes, labels and scores drawn on the upright picture, readable on any
 * background, encoded as JPEG. */

#include "base/blob.h"
#include "base/err.h"
#include "model/detection.h"
#include "picture/picture.h"

/* Decodes `data` (at most `width_max` pixels wide, 0 = full size), draws, encodes with `quality`
 * 1..100. The result owns its bytes. Without detections it is a smaller copy, no more. */
int picture_annotate(const void *data, size_t size, const struct picture_limits *limits,
                     const struct detection_list *found, int width_max, int quality,
                     struct blob **ret, struct err *e);
