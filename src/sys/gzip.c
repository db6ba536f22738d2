#include "sys/gzip.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <zlib.h>

/* The largest window, plus zlib's sign for gzip's head and tail instead of its own. */
#define WINDOW_GZIP (MAX_WBITS + 16)
#define MEMORY_LEVEL 8 /* zlib's default */

int gzip_pack(const void *data, size_t size, struct dynbuf *out)
{
    if (size > UINT_MAX / 2)
        return -ENOSPC;
    z_stream z = {0};
    if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, WINDOW_GZIP, MEMORY_LEVEL,
                     Z_DEFAULT_STRATEGY) != Z_OK)
        return -ENOMEM;
    size_t bound = deflateBound(&z, size);
    Bytef *room = dynbuf_extend(out, bound);
    int r = room ? 0 : -ENOSPC;
    if (r == 0) {
        z.next_in = (Bytef *)(uintptr_t)data; /* zlib only reads it */
        z.avail_in = (uInt)size;
        z.next_out = room;
        z.avail_out = (uInt)bound;
        r = deflate(&z, Z_FINISH) == Z_STREAM_END ? 0 : -ENOMEM;
        out->len -= bound - (r == 0 ? z.total_out : 0);
        out->data[out->len] = '\0';
    }
    (void)deflateEnd(&z); /* all was taken out */
    return r;
}

int gzip_unpack(const void *data, size_t packed_size, size_t size, struct dynbuf *out)
{
    if (packed_size > UINT_MAX / 2 || size > UINT_MAX / 2)
        return -ENOSPC;
    z_stream z = {0};
    if (inflateInit2(&z, WINDOW_GZIP) != Z_OK)
        return -ENOMEM;
    Bytef *room = dynbuf_extend(out, size);
    int r = room ? 0 : -ENOSPC;
    if (r == 0) {
        z.next_in = (Bytef *)(uintptr_t)data; /* zlib only reads it */
        z.avail_in = (uInt)packed_size;
        z.next_out = room;
        z.avail_out = (uInt)size;
        bool whole = inflate(&z, Z_FINISH) == Z_STREAM_END && z.total_out == size;
        r = whole ? 0 : -EBADMSG;
        if (!whole)
            out->len -= size;
        out->data[out->len] = '\0';
    }
    (void)inflateEnd(&z); /* all was taken out */
    return r;
}
