#pragma once
/* Windows bitmaps: palettes of 1, 4 and 8 bits, 16, 24 and 32 bits, either way up. */

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "sys/raster.h"

/* The header has been probed: width and height are its own. -EINVAL for compressed bitmaps, broken
 * headers and when no row is there. */
int bmp_decode(const uint8_t *data, size_t size, int width, int height, struct raster_sink *sink,
               struct raster_result *ret, struct err *e);
