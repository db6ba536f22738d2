#pragma once
/* The one door to libjpeg (libjpeg-turbo). Its long jumps never leave this module. Pure functions,
 * any thread. */

#include <stddef.h>
#include <stdint.h>

#include "base/blob.h"
#include "base/err.h"
#include "sys/raster.h"

struct jpeg_request {
    int width, height;             /* what the caller read in the header; another size is refused */
    int cover_width, cover_height; /* in stored orientation; 0,0: full size */
    size_t memory_max;             /* bytes, for the sink's picture and libjpeg's coefficients */
    int scans_max;                 /* progressive files may ask for any number */
};

/* The smallest M of the scaled sizes M/8 that still covers: 1, 2, 4 or 8. Only these have vector
 * code: 7/8 takes twice the time of the full size, and even 3/8 more than 4/8. The decoded picture
 * has ceil(width * M / 8) x ceil(height * M / 8) pixels. */
int jpeg_scale_eighths(int width, int height, int cover_width, int cover_height);

/* Decodes to RGB by scaled DCT. -EINVAL when no row came out, -ENOMEM above memory_max. */
int jpeg_decode(const void *data, size_t size, const struct jpeg_request *request,
                struct raster_sink *sink, struct raster_result *ret, struct err *e);

/* Encodes 0x00RRGGBB words (native byte order, rows without padding), quality 1..100. */
int jpeg_encode(const uint32_t *pixels, int width, int height, int quality, struct blob **ret,
                struct err *e);
