#pragma once
/* The one door to libpng. Pure, any thread. */

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "sys/raster.h"

/* Decodes to RGB: palette, grey and 16 bits converted, alpha dropped. memory_max is for what this
 * needs beside the sink: little, but interlaced files need the whole picture at once: -ENOMEM.
 * -EFBIG when the file unpacks to more than a picture's worth of time, -EINVAL when no row came
 * out. */
int png_decode(const void *data, size_t size, int width, int height, size_t memory_max,
               struct raster_sink *sink, struct raster_result *ret, struct err *e);
