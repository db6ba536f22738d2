#include "picture/bmp.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/macros.h"
#include "picture/bytes.h"

/* Microsoft, "Bitmap Storage": file header of 14 bytes, information header of 12 (OS/2), 40, 108 or
 * 124 bytes, palette or colour masks, rows padded to 4 bytes, the lowest row first. */

#define FILE_HEADER 14
#define HEADER_OS2 12
#define HEADER_INFO 40

enum { BI_RGB = 0, BI_RLE8 = 1, BI_RLE4 = 2, BI_BITFIELDS = 3, BI_ALPHABITFIELDS = 6 };

struct mask {
    uint32_t bits;
    int shift;
    uint32_t top; /* largest value */
};

struct bitmap {
    const uint8_t *palette;
    size_t palette_count, palette_step;
    int bits;
    struct mask masks[3]; /* red, green, blue */
    size_t rows_at, row_bytes;
    bool top_down;
};

static int read_header(const uint8_t *p, size_t size, int width, struct bitmap *b, struct err *e);
static void convert_row(const struct bitmap *b, const uint8_t *from, uint8_t *rgb, int width);

int bmp_decode(const uint8_t *data, size_t size, int width, int height, struct raster_sink *sink,
               struct raster_result *ret, struct err *e)
{
    struct bitmap b = {.bits = 0};
    size_t whole, missing;
    int r = read_header(data, size, width, &b, e);

    if (r < 0)
        return r;
    whole = b.rows_at < size ? (size - b.rows_at) / b.row_bytes : 0;
    if (whole == 0)
        return err_set(e, -EINVAL, ERR_NEVER, "BMP of %dx%d ended before its first row", width,
                       height);
    missing = whole < (size_t)height ? (size_t)height - whole : 0;
    r = sink->begin(sink, width, height, e);
    if (r < 0)
        return r;

    for (int y = 0; y < height; y++) {
        size_t stored = (size_t)(b.top_down ? y : height - 1 - y);
        uint8_t *rgb = sink->row(sink);

        if (stored < whole)
            convert_row(&b, data + b.rows_at + stored * b.row_bytes, rgb, width);
        else
            memset(rgb, 128, (size_t)width * 3); /* grey, as in other cut pictures */
        sink->put(sink);
    }
    *ret = (struct raster_result){.rows = height, .damaged = missing > 0};
    return 0;
}

static int read_masks(const uint8_t *p, size_t size, uint32_t compression, struct bitmap *b,
                      struct err *e);

static int read_header(const uint8_t *p, size_t size, int width, struct bitmap *b, struct err *e)
{
    uint32_t header = le32(p + FILE_HEADER), compression = BI_RGB, colours = 0;
    bool os2 = header == HEADER_OS2;

    /* The probe has checked that a header of its kind is there. */
    b->bits = (int)le16(p + (os2 ? 24 : 28));
    if (!os2) {
        compression = le32(p + 30);
        colours = le32(p + 46);
        b->top_down = (int32_t)le32(p + 22) < 0;
    }
    if (!os2 && header < HEADER_INFO)
        return err_set(e, -EINVAL, ERR_NEVER, "BMP with an unknown header of %u bytes", header);
    if (compression == BI_RLE8 || compression == BI_RLE4)
        return err_set(e, -EINVAL, ERR_NEVER, "run-length coded BMP, which is not supported");
    if (compression != BI_RGB && compression != BI_BITFIELDS && compression != BI_ALPHABITFIELDS)
        return err_set(e, -EINVAL, ERR_NEVER, "BMP with compression %u, which is not supported",
                       compression);

    switch (b->bits) {
    case 1:
    case 4:
    case 8:
        b->palette_step = os2 ? 3 : 4;
        b->palette_count = (size_t)1 << b->bits;
        if (colours > 0 && colours < b->palette_count)
            b->palette_count = colours;
        if (header > size || size - header < FILE_HEADER + b->palette_count * b->palette_step)
            return err_set(e, -EINVAL, ERR_NEVER, "BMP ended inside its palette, after %zu bytes",
                           size);
        b->palette = p + FILE_HEADER + header;
        break;
    case 16:
    case 32:
        if (read_masks(p, size, compression, b, e) < 0)
            return -EINVAL;
        break;
    case 24:
        break;
    default:
        return err_set(e, -EINVAL, ERR_NEVER, "BMP with %d bits a pixel, which is not supported",
                       b->bits);
    }
    b->rows_at = le32(p + 10);
    b->row_bytes = ((size_t)width * (size_t)b->bits + 31) / 32 * 4;
    return 0;
}

/* Masks stand behind the short header and inside the longer ones, at the same place. */
static int read_masks(const uint8_t *p, size_t size, uint32_t compression, struct bitmap *b,
                      struct err *e)
{
    uint32_t bits[3] = {0xff0000, 0xff00, 0xff};

    if (compression == BI_RGB && b->bits == 16) {
        bits[0] = 0x7c00;
        bits[1] = 0x3e0;
        bits[2] = 0x1f;
    } else if (compression != BI_RGB) {
        if (size < FILE_HEADER + HEADER_INFO + 12)
            return err_set(e, -EINVAL, ERR_NEVER, "BMP ended inside its header, after %zu bytes",
                           size);
        for (int i = 0; i < 3; i++)
            bits[i] = le32(p + FILE_HEADER + HEADER_INFO + 4 * i);
    }
    for (int i = 0; i < 3; i++) {
        struct mask m = {.bits = bits[i]};

        if (bits[i] == 0)
            return err_set(e, -EINVAL, ERR_NEVER, "BMP with an empty colour mask");
        m.shift = __builtin_ctz(bits[i]);
        m.top = bits[i] >> m.shift;
        b->masks[i] = m;
    }
    return 0;
}

static void convert_row(const struct bitmap *b, const uint8_t *from, uint8_t *rgb, int width)
{
    for (int x = 0; x < width; x++, rgb += 3) {
        if (b->bits == 24) {
            rgb[0] = from[3 * x + 2];
            rgb[1] = from[3 * x + 1];
            rgb[2] = from[3 * x];
        } else if (b->bits <= 8) {
            int per_byte = 8 / b->bits;
            int down = (per_byte - 1 - x % per_byte) * b->bits;
            size_t index = (size_t)(from[x / per_byte] >> down) & (((size_t)1 << b->bits) - 1);
            const uint8_t *bgr = b->palette + MIN(index, b->palette_count - 1) * b->palette_step;

            rgb[0] = bgr[2];
            rgb[1] = bgr[1];
            rgb[2] = bgr[0];
        } else {
            uint32_t v = b->bits == 16 ? le16(from + 2 * x) : le32(from + 4 * x);

            for (int i = 0; i < 3; i++) {
                const struct mask *m = &b->masks[i];

                rgb[i] =
                    (uint8_t)(((uint64_t)((v & m->bits) >> m->shift) * 255 + m->top / 2) / m->top);
            }
        }
    }
}
