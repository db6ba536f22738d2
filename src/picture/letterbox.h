#pragma once
/* From pixels to a model's input tensor, with the exact arithmetic of Ultralytics' LetterBox
 * (centred, round half to even, pads by round(d -+ 0.1), bilinear with half-pixel centres) or
 * anchored at the top left (YOLOX) or stretched. Geometry is computed from the size of the original
 * picture, not of the scaled decode, so boxes map back exactly. */

#include <stddef.h>
#include <stdint.h>

#include "model/detection.h"
#include "picture/picture.h"

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
