#pragma once
/* Takes rows from a decoder, shrinks them by an integer factor (mean of each block) and puts them
 * where the EXIF orientation wants them, so that only the wanted picture is ever in memory. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "picture/picture.h"
#include "sys/raster.h"

#define CANVAS_GREY 128 /* of rows that never came, as libjpeg paints them */

struct canvas {
    struct raster_sink sink;
    int orientation; /* 1..8 */
    int factor;      /* 1 = as it comes */
    size_t memory_max;

    struct image *img; /* made by begin(); upright */
    int width, height; /* of the rows that come */
    int next;          /* row */
    uint8_t *line;     /* one row that comes */
    uint8_t *mean;     /* one shrunk row */
    uint32_t *sums;    /* of the rows of a block so far */
    int summed;
};

void canvas_init(struct canvas *c, int orientation, int factor, size_t memory_max);
void canvas_done(struct canvas *c);
/* Paints the rows that never came. */
void canvas_fill_rest(struct canvas *c);
/* Feeds a whole picture through; for decoders that do not give rows. */
int canvas_copy(struct canvas *c, const struct image *from, struct err *e);
