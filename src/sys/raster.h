#pragma once
/* Where the picture decoders of this folder put their pixels: RGB, 8 bit, row after row from the
 * top, so that a reader may shrink or turn a picture while it arrives and nobody needs the whole of
 * it twice. The owner of the sink embeds this struct. Calls come on the decoder's thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct raster_sink {
    /* Once, before the first row, with the size of what comes. A negative errno ends the decoding
     * and becomes its result. */
    int (*begin)(struct raster_sink *s, int width, int height, struct err *e);
    /* Room for the next row, width * 3 bytes, valid until put(). */
    uint8_t *(*row)(struct raster_sink *s);
    /* The room is filled. Rows that never come are the sink's business. */
    void (*put)(struct raster_sink *s);
};

/* What a decoder tells when it put at least one row. */
struct raster_result {
    int rows;     /* put into the sink */
    bool damaged; /* ended early or broken data */
};
