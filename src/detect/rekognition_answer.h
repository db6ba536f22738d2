#pragma once
/* Reads DetectLabels' answer. Pure; it comes from outside. */

#include "base/blob.h"
#include "base/err.h"
#include "model/detection.h"

/* 1000 labels with instances, parents, aliases and categories take about 1 MB. */
#define REKOGNITION_ANSWER_MAX (4 << 20)
#define REKOGNITION_VERSION_MAX 32

/* Boxes become pixels of a picture of `width` x `height`, clipped; what is nothing then or is no
 * number is dropped, and so are scores below `confidence_min` (0..1). At most DETECTION_COUNT_MAX,
 * the surest. -EBADMSG, ERR_NEVER when it is no such answer. */
int rekognition_answer_read(const struct blob *body, double confidence_min, int width, int height,
                            struct detection_list *ret, char version[REKOGNITION_VERSION_MAX],
                            struct err *e);
