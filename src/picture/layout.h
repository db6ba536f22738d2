#pragma once
/* What the headers say, for the decoders of this folder. */

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "picture/picture.h"

struct picture_layout {
    struct picture_info info;
    /* WebP: the chunk of the first frame, header included. */
    size_t frame_at, frame_size;
    bool frame_lossless;
};

int picture_examine(const void *data, size_t size, const struct picture_limits *limits,
                    struct picture_layout *ret, struct err *e);
