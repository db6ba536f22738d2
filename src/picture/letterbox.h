#pragma once
/* From pixels to a model's input tensor, with the exact arithmetic of Ultralytics' LetterBox
 * (centred, round half to even, pads by round(d -+ 0.1), bilinear with half-pixel centres) or
 * anchored at the top left (YOLOX) or stretched. Geometry is computed from the size of the original
 * picture, not of the scaled decode, so boxes map back exactly. */

#include <stddef.h>
#include <stdint.h>

#include "model/detection.h"
#include "picture/picture.h"
#include "sys/raster.h"

enum letterbox_mode { LETTERBOX_CENTRE, LETTERBOX_TOP_LEFT, LETTERBOX_STRETCH };

struct letterbox {
    int input_width, input_height;     /* of the model, pixels */
    int picture_width, picture_height; /* upright original */
    int resized_width, resized_height; /* picture inside the input, at least 1x1 */
    int pad_left, pad_top;
    double scale_x, scale_y; /* input pixels per picture pixel */
};

struct letterbox letterbox_compute(enum letterbox_mode mode, int picture_width, int picture_height,
                                   int input_width, int input_height);
/* Input pixels to picture pixels, clipped to the picture. */
struct box letterbox_to_picture(const struct letterbox *lb, struct box in_input);

/* How a model wants its numbers: out = (value * scale - mean[c]) / std[c], value 0..255. */
struct tensor_format {
    bool bgr;
    float scale;
    float mean[3], std[3];
    uint8_t fill; /* value of the padding, before scaling, e.g. 114 */
};

/* Fills `out`, planar float32 [3][input_height][input_width]. `img` is the upright picture, maybe
 * smaller than the original. Scratch memory is allocated inside; -ENOMEM when it cannot be had. */
int letterbox_fill(const struct letterbox *lb, const struct tensor_format *format,
                   const struct image *img, float *out);

/* Decodes a picture and fills `out` as letterbox_fill() does; `lb` was computed from its size. It
 * is decoded at the smallest scale that covers `cover` (1 or more) times the resized picture. An
 * upright JPEG goes from the decoder's rows into the tensor, so that it is never in memory as a
 * whole: no 12 MB for 4 megapixels, and its rows are still warm. Errors as picture_decode(). */
int letterbox_decode(const void *data, size_t size, const struct picture_limits *limits,
                     const struct letterbox *lb, double cover, const struct tensor_format *format,
                     float *out, struct picture_info *ret_info, struct err *e);

/* ---- for decoders: the input as a sink of rows ---- */

struct letterbox_planes { /* value * gain + offset, per plane in the order R, G, B */
    float *at[3];         /* first pixel of the resized picture */
    float gain[3], offset[3];
};

/* For every output position the left (upper) neighbour and the weight of the other one. */
struct letterbox_axis {
    int *from;
    int16_t *weight;
};

struct letterbox_sink {
    struct raster_sink sink;
    /* The rest is private. */
    const struct letterbox *lb;
    const struct tensor_format *format;
    double scale;
    float *out;
    struct letterbox_planes planes;
    struct letterbox_axis across, down;
    int width, height; /* of the rows that come */
    int next, done;    /* row that comes; output rows that are there */
    uint8_t *line;     /* the row that comes */
    int16_t *rows;     /* two rows between the passes; NULL: nothing to resize */
    int have[2];       /* which */
};

/* `scale`: as in struct image, of the rows that will come. `lb`, `format` and `out` are borrowed.
 * The tensor is complete when as many rows have come as were announced. */
void letterbox_sink_init(struct letterbox_sink *s, const struct letterbox *lb,
                         const struct tensor_format *format, double scale, float *out);
void letterbox_sink_done(struct letterbox_sink *s);
