/* Decoders of model outputs. The first bytes choose family, classes and sizes, the rest are the
 * numbers of the tensors, repeated; any bit pattern may come: NaN, infinities, subnormals. */

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "detect/heads.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NUMBERS_MAX 60000 /* keeps one run below a few milliseconds */

static float *repeat(const uint8_t *data, size_t size, size_t count)
{
    float *numbers = xcalloc(count, sizeof(float));
    for (size_t i = 0; size > 0 && i < count * sizeof(float); i += size)
        memcpy((uint8_t *)numbers + i, data, MIN(size, count * sizeof(float) - i));
    return numbers;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 8)
        return 0;
    int side = 32 * (1 + data[1] % 4), classes = 1 + data[2] % 100;
    struct head h = {
        .family = (enum head_family)(data[0] % HEAD_FAMILY_COUNT),
        .class_count = classes,
        .input_width = side,
        .input_height = side,
        .stride = 32,
        .transposed = data[3] & 1,
        .bins = 2 + data[4] % 16,
        .score_output = {0, 2, 4},
        .distance_output = {1, 3, 5},
    };
    bool several = data[3] & 2;
    double confidence = data[5] / 255.0, overlap = data[6] / 255.0;
    int64_t a = 1 + data[7] % 64, b = 1 + data[7] / 2;
    if (data[3] & 4) { /* mostly the shape that the family has */
        int64_t cells = side / 8 * (side / 8) + side / 16 * (side / 16) + side / 32 * (side / 32);
        a = h.family == HEAD_YOLOV8 && !h.transposed ? 4 + classes : cells;
        b = h.family == HEAD_YOLOV8       ? (h.transposed ? 4 + classes : cells)
            : h.family == HEAD_END_TO_END ? 6
                                          : 5 + classes;
    }
    AUTO_FREE float *numbers = repeat(data + 8, size - 8, NUMBERS_MAX);
    struct ort_output out[6];
    for (int i = 0; i < 6; i++) {
        int stride = 8 << (i / 2);
        out[i] = (struct ort_output){.data = numbers, .rank = 3, .dim = {1, a, b}};
        if (h.family == HEAD_NANODET && (data[3] & 4)) {
            out[i].dim[1] = side / stride * (side / stride);
            out[i].dim[2] = i % 2 == 0 ? classes : 4 * h.bins;
        }
        if (out[i].dim[1] * out[i].dim[2] > NUMBERS_MAX)
            return 0;
    }
    AUTO_DONE(candidate_list) found = {.items = NULL};
    struct err e = {.code = 0};
    int r = head_decode(&h, side, side, out, 6, confidence, several, &found, &e);
    assert(r == 0 || (r == e.code && e.text[0] != '\0'));
    nms_select(&found, overlap, DETECTION_COUNT_MAX);
    assert(found.count <= DETECTION_COUNT_MAX);
    for (size_t i = 0; i < found.count; i++) {
        const struct candidate *c = &found.items[i];
        assert((double)c->score > (double)(float)confidence && c->score <= 1);
        assert(i == 0 || c->score <= found.items[i - 1].score);
        assert(c->class_id >= 0 && c->class_id < classes);
        assert(isfinite(c->box.x1) && c->box.x2 > c->box.x1 && c->box.y2 > c->box.y1);
    }
    struct letterbox lb = letterbox_compute(LETTERBOX_CENTRE, 300, 200, side, side);
    AUTO_DONE(label_list) names = {.names = NULL};
    AUTO_DONE(detection_list) list = {.items = NULL};
    labels_use_coco(&names);
    head_finish(&found, &lb, &names, &list);
    for (size_t i = 0; i < list.count; i++) {
        const struct box *box = &list.items[i].box;
        assert(box->x1 >= 0 && box->y1 >= 0 && box->x2 <= 300 && box->y2 <= 200);
        assert(box->x2 > box->x1 && box->y2 > box->y1);
    }
    return 0;
}
