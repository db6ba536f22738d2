#include "sys/gzip.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/mem.h"

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

uint32_t gzip_crc32(uint32_t crc, const void *data, size_t size)
{
    return (uint32_t)crc32_z(crc, data, size);
}

/* ---- text that grows ---- */

#define TEXT_BLOCK 8192 /* of packed text, at a time */

struct gzip_text {
    z_stream z;
    struct dynbuf packed;
    uint64_t size;
    uint32_t crc;
    int code;
};

struct gzip_text *gzip_text_new(size_t packed_max)
{
    struct gzip_text *t = xcalloc(1, sizeof(*t));
    dynbuf_init(&t->packed, packed_max);
    if (deflateInit2(&t->z, Z_BEST_SPEED, Z_DEFLATED, -MAX_WBITS, MEMORY_LEVEL,
                     Z_DEFAULT_STRATEGY) != Z_OK)
        t->code = -ENOMEM;
    return t;
}

void gzip_text_free(struct gzip_text *t)
{
    if (!t)
        return;
    (void)deflateEnd(&t->z); /* what is in it is not wanted any more */
    dynbuf_done(&t->packed);
    free(t);
}

static int pump(struct gzip_text *t, int flush)
{
    int r = Z_OK;
    do {
        Bytef *room = dynbuf_extend(&t->packed, TEXT_BLOCK);
        if (!room)
            return -ENOSPC;
        t->z.next_out = room;
        t->z.avail_out = TEXT_BLOCK;
        r = deflate(&t->z, flush);
        t->packed.len -= t->z.avail_out;
    } while (r == Z_OK && t->z.avail_out == 0);
    return r == Z_OK || r == Z_STREAM_END || r == Z_BUF_ERROR ? 0 : -ENOMEM;
}

int gzip_text_add(struct gzip_text *t, const void *data, size_t size)
{
    if (t->code == 0 && size > UINT_MAX / 2)
        t->code = -ENOSPC;
    if (t->code < 0 || size == 0)
        return t->code;
    t->z.next_in = (Bytef *)(uintptr_t)data; /* zlib only reads it */
    t->z.avail_in = (uInt)size;
    t->size += size;
    t->crc = gzip_crc32(t->crc, data, size);
    t->code = pump(t, Z_NO_FLUSH);
    return t->code;
}

int gzip_text_puts(struct gzip_text *t, const char *s)
{
    return gzip_text_add(t, s, strlen(s));
}

int gzip_text_end(struct gzip_text *t, const struct dynbuf **ret, uint64_t *ret_size,
                  uint32_t *ret_crc)
{
    if (t->code == 0)
        t->code = pump(t, Z_FINISH);
    if (t->code < 0)
        return t->code;
    *ret = &t->packed;
    *ret_size = t->size;
    *ret_crc = t->crc;
    return 0;
}
