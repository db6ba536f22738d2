#pragma once
/* The families of detection models by what they want and give: recognised from shapes and
 * metadata, decoded from plain float arrays. All functions are pure. */

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "detect/nms.h"
#include "detect/onnx_meta.h"
#include "picture/letterbox.h"
#include "sys/ort.h"

enum head_family {
    HEAD_YOLOV8,     /* [1, 4+C, N] or [1, N, 4+C]: cx cy w h, class scores */
    HEAD_YOLOV5,     /* [1, N, 5+C]: cx cy w h, objectness, class scores */
    HEAD_END_TO_END, /* [1, N, 6]: x1 y1 x2 y2, score, class */
    HEAD_YOLOX,      /* [1, N, 5+C], grid not decoded in the graph */
    HEAD_NANODET,    /* per level scores [1, n, C] and distances [1, n, 4*bins] */
    HEAD_FAMILY_COUNT
};
extern const char *const head_family_names[HEAD_FAMILY_COUNT];

#define HEAD_LEVEL_COUNT 3 /* strides 8, 16, 32 */
#define HEAD_SIDE_MAX                                                                              \
    2048 /* pixels; 50 MB of input tensor, the largest published export is 1536                    \
          */
#define HEAD_BINS_MAX 32

struct head {
    enum head_family family;
    char title[64];                /* for people: "YOLOv8 form", "CenterNet" */
    int class_count;               /* 0: the form does not tell (end to end) */
    bool dynamic;                  /* the input's size is free, in multiples of the stride */
    int input_width, input_height; /* when dynamic: the square to stay within */
    int stride;
    enum letterbox_mode letterbox;
    struct tensor_format format;
    double confidence_min; /* the family's own default: scores of families do not compare */
    double iou_max;        /* 1 = no suppression */
    bool transposed;       /* HEAD_YOLOV8 as [1, N, 4+C] */
    int bins;              /* HEAD_NANODET */
    int score_output[HEAD_LEVEL_COUNT], distance_output[HEAD_LEVEL_COUNT];
};

/* What is known about a model before it has run. */
struct head_facts {
    const struct ort_tensor_info *inputs, *outputs;
    size_t input_count, output_count;
    const struct onnx_meta *meta; /* all zero when the file has none */
    int class_count;              /* of the names in use, 0 = unknown */
    const char *file;             /* base name; it may say the family */
};

/* First half: the input. Enough to run the model once on an empty picture when output sizes are
 * only known at run time. -ENOTSUP says what was seen and what is known. */
int head_recognise_input(const struct head_facts *facts, struct head *ret, struct err *e);
/* Second half: outputs whose dimensions are all known, for ret's input size. */
int head_recognise_outputs(const struct head_facts *facts, struct head *ret, struct err *e);

/* The input size for a picture. Fixed models have one. Dynamic ones use the smallest rectangle of
 * a small set that holds the letterboxed picture: the long side is the model's, the short side one
 * of HEAD_SHAPE_COUNT, so that the runtime's memory settles after a few pictures. */
#define HEAD_SHAPE_COUNT 4
void head_input_size(const struct head *h, int picture_width, int picture_height, int *ret_width,
                     int *ret_height);

/* Adds candidates with a score above `confidence_min` (strictly), in input pixels. One class a box,
 * or with `several` every class that passes. -ENOTSUP when a tensor is not as recognised, -ENOMEM.
 */
int head_decode(const struct head *h, int input_width, int input_height,
                const struct ort_output *outputs, size_t output_count, double confidence_min,
                bool several, struct candidate_list *out, struct err *e);

/* Selected candidates to detections on the picture: mapped back, clipped, empty ones dropped. */
void head_finish(const struct candidate_list *selected, const struct letterbox *lb,
                 const struct label_list *names, struct detection_list *ret);
