#pragma once
/* A shortcut for the pictures that cameras send all day, decoded to 1/8 or 1/4. libjpeg fills,
 * clears and transforms a block of 64 coefficients even where one or four pixels are wanted of it;
 * here each coefficient is added to those few pixels as it is read.
 *
 * It knows the usual file only: baseline or extended Huffman with 8 bits, one scan, grey or YCbCr
 * with full or halved colour. Whatever else it meets, and every irregularity of the data, it leaves
 * to libjpeg, whose answer then counts: so there is one authority for what is damaged. */

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "sys/raster.h"

/* width and height as probed; eighths 1 or 2. -ENOTSUP: ask libjpeg (the sink may have begun and
 * must be made anew); other errors are the sink's. */
int quick_jpeg_decode(const uint8_t *data, size_t size, int width, int height, int eighths,
                      struct raster_sink *sink, struct err *e);
