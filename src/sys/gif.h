#pragma once
/* The one door to giflib. Pure, any thread. */

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "sys/raster.h"

/* Decodes the first frame to RGB. Interlaced frames are held whole (one byte a pixel): -ENOMEM
 * above memory_max. -EINVAL when no row came out. */
int gif_decode(const void *data, size_t size, int width, int height, size_t memory_max,
               struct raster_sink *sink, struct raster_result *ret, struct err *e);
