#pragma once
/* The one door to libwebp. Pure, any thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct webp_request {
    int width, height;         /* as the caller read in the frame's header */
    int out_width, out_height; /* not larger; shrunk while decoding */
    bool lossless;
    size_t memory_max; /* beside `rgb` */
};

/* Decodes one frame: a "VP8 " or "VP8L" chunk with its header, maybe cut. Writes rows without
 * padding into `rgb` (out_width * out_height * 3 bytes) and tells how many; 0 rows is -EINVAL. */
int webp_decode(const void *chunk, size_t size, const struct webp_request *request, uint8_t *rgb,
                int *ret_rows, struct err *e);
