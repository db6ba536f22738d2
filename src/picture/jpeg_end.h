#pragma once
/* Follows a JPEG as it comes, block by block, and knows at each moment whether its picture has
 * ended. For who must say "whole" or "cut" before anybody looks at the file again.
 *
 * The answer is that of picture_probe() for the same bytes in one piece, but in 16 bytes of memory
 * and without reading anything twice. A thumbnail's end inside the header does not count, since the
 * header's parts are passed over by their lengths; what stands behind the end (zeros, line ends, a
 * maker's notes, the further pictures of a multi-picture file) does not matter. Of a file that is
 * no JPEG, or whose header is broken, nothing can be said, so it is not called cut. Pure. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All zero before the first block. Private. */
struct jpeg_end {
    uint8_t state;
    uint8_t marker;
    bool frame;     /* its size was told */
    bool scan;      /* its pixels have begun */
    bool tail_ends; /* the last bytes, but for padding, are the end's */
    uint8_t last;   /* byte */
    uint16_t skip;  /* bytes that belong to a marker */
};

void jpeg_end_feed(struct jpeg_end *j, const void *bytes, size_t size);
/* Whatever comes changes nothing any more. */
bool jpeg_end_is_known(const struct jpeg_end *j);
/* A JPEG, and the end of its picture was not in what came so far. */
bool jpeg_end_is_cut(const struct jpeg_end *j);
/* A JPEG, and it was. */
bool jpeg_end_is_whole(const struct jpeg_end *j);
