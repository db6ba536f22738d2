#include "make_pictures.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gif_lib.h>
#include <jpeglib.h>
#include <png.h>
#include <webp/encode.h>

#include "base/macros.h"
#include "base/mem.h"

static const uint8_t colours[QUARTER_COUNT][3] = {[RED] = {220, 20, 20},
                                                  [GREEN] = {20, 200, 20},
                                                  [BLUE] = {20, 20, 220},
                                                  [WHITE] = {240, 240, 240}};

void bytes_done(struct bytes *b)
{
    free(b->data);
    *b = (struct bytes){0};
}

static int quarter_of(int x, int y, int width, int height)
{
    return (y >= (height + 1) / 2 ? 2 : 0) + (x >= (width + 1) / 2 ? 1 : 0);
}

void scene_row(uint8_t *rgb, int y, int width, int height)
{
    for (int x = 0; x < width; x++)
        memcpy(rgb + 3 * x, colours[quarter_of(x, y, width, height)], 3);
}

int quarter_at(const struct image *img, int x, int y)
{
    const uint8_t *p = img->rgb + ((size_t)y * (size_t)img->width + (size_t)x) * 3;

    for (int q = 0; q < QUARTER_COUNT; q++) {
        if (abs(p[0] - colours[q][0]) < 60 && abs(p[1] - colours[q][1]) < 60 &&
            abs(p[2] - colours[q][2]) < 60)
            return q;
    }
    return -1;
}

bool is_scene(const struct image *img)
{
    int x1 = img->width / 4, x2 = img->width * 3 / 4, y1 = img->height / 4,
        y2 = img->height * 3 / 4;

    return quarter_at(img, x1, y1) == RED && quarter_at(img, x2, y1) == GREEN &&
           quarter_at(img, x1, y2) == BLUE && quarter_at(img, x2, y2) == WHITE;
}

static uint8_t *scene(int width, int height)
{
    uint8_t *rgb = xmalloc((size_t)width * (size_t)height * 3);

    for (int y = 0; y < height; y++)
        scene_row(rgb + (size_t)y * (size_t)width * 3, y, width, height);
    return rgb;
}

/* Buffers that grow as they like end here, cut to their size. */
static struct bytes fitted(const void *data, size_t size)
{
    return (struct bytes){xmemdup(data, size), size};
}

/* JPEG. */

static void jpeg_row(enum jpeg_kind kind, const uint8_t *rgb, uint8_t *row, int width)
{
    for (int x = 0; x < width; x++, rgb += 3) {
        switch (kind) {
        case JPEG_GREY:
            row[x] = (uint8_t)((rgb[0] * 299 + rgb[1] * 587 + rgb[2] * 114) / 1000);
            break;
        case JPEG_CMYK:
        case JPEG_YCCK:
            memcpy(row + 4 * x, rgb, 3); /* inverted ink without black is the colour itself */
            row[4 * x + 3] = 255;
            break;
        case JPEG_CMYK_PLAIN:
            for (int i = 0; i < 3; i++)
                row[4 * x + i] = (uint8_t)(255 - rgb[i]);
            row[4 * x + 3] = 0;
            break;
        default:
            memcpy(row + 3 * x, rgb, 3);
        }
    }
}

struct bytes make_jpeg(enum jpeg_kind kind, int width, int height, int quality)
{
    struct jpeg_compress_struct c;
    struct jpeg_error_mgr errors;
    unsigned char *out = NULL;
    unsigned long size = 0;
    bool four = kind == JPEG_CMYK || kind == JPEG_YCCK || kind == JPEG_CMYK_PLAIN;
    AUTO_FREE uint8_t *rgb = scene(width, height);
    AUTO_FREE uint8_t *row = xmalloc((size_t)width * 4);
    static const jpeg_scan_info scans[] = {
        {1, {0}, 0, 63, 0, 0}, {1, {1}, 0, 63, 0, 0}, {1, {2}, 0, 63, 0, 0}};
    struct bytes ret;

    c.err = jpeg_std_error(&errors);
    jpeg_create_compress(&c);
    jpeg_mem_dest(&c, &out, &size);
    c.image_width = (JDIMENSION)width;
    c.image_height = (JDIMENSION)height;
    c.input_components = kind == JPEG_GREY ? 1 : four ? 4 : 3;
    c.in_color_space = kind == JPEG_GREY ? JCS_GRAYSCALE : four ? JCS_CMYK : JCS_RGB;
    jpeg_set_defaults(&c);
    if (kind == JPEG_YCCK)
        jpeg_set_colorspace(&c, JCS_YCCK);
    if (kind == JPEG_RGB)
        jpeg_set_colorspace(&c, JCS_RGB);
    if (kind == JPEG_CMYK_PLAIN)
        c.write_Adobe_marker = FALSE;
    jpeg_set_quality(&c, quality, TRUE);
    if (kind == JPEG_444)
        c.comp_info[0].h_samp_factor = c.comp_info[0].v_samp_factor = 1;
    if (kind == JPEG_PROGRESSIVE)
        jpeg_simple_progression(&c);
    if (kind == JPEG_RESTARTS)
        c.restart_interval = 2;
    if (kind == JPEG_ARITHMETIC)
        c.arith_code = TRUE;
    if (kind == JPEG_TWO_SCANS) {
        c.scan_info = scans;
        c.num_scans = 3;
    }
    jpeg_start_compress(&c, TRUE);
    while (c.next_scanline < c.image_height) {
        JSAMPROW rows = row;

        jpeg_row(kind, rgb + (size_t)c.next_scanline * (size_t)width * 3, row, width);
        jpeg_write_scanlines(&c, &rows, 1);
    }
    jpeg_finish_compress(&c);
    jpeg_destroy_compress(&c);
    ret = fitted(out, size);
    free(out);
    return ret;
}

struct bytes with_orientation(struct bytes jpeg, int orientation, bool little)
{
    uint8_t app1[] = {0xff, 0xe1, 0, 34, 'E', 'x', 'i', 'f', 0, 0, 'M', 'M', 0, 42, 0, 0,
                      0,    8,    0, 1, /* one entry: orientation, SHORT, one */
                      1,    0x12, 0, 3,  0,   0,   0,   1,   0, 0, 0,   0,   0, 0,  0, 0};
    uint8_t app1_little[] = {0xff, 0xe1, 0, 34, 'E', 'x', 'i', 'f', 0,    0, 'I', 'I',
                             42,   0,    8, 0,  0,   0,   1,   0,   0x12, 1, 3,   0,
                             1,    0,    0, 0,  0,   0,   0,   0,   0,    0, 0,   0};
    uint8_t *block = little ? app1_little : app1;
    struct bytes ret = {xmalloc(jpeg.size + sizeof app1), jpeg.size + sizeof app1};

    static_assert(sizeof app1 == 36 && sizeof app1_little == 36, "marker and 34 bytes");
    block[little ? 28 : 29] = (uint8_t)orientation;
    memcpy(ret.data, jpeg.data, 2);
    memcpy(ret.data + 2, block, sizeof app1);
    memcpy(ret.data + 2 + sizeof app1, jpeg.data + 2, jpeg.size - 2);
    return ret;
}

/* PNG. */

static void png_append(png_structp png, png_bytep data, size_t size)
{
    int r = dynbuf_append(png_get_io_ptr(png), data, size);

    assert(r == 0);
}

static void png_flush_nothing(png_structp png)
{
    (void)png;
}

static void png_row_of(enum png_kind kind, const uint8_t *rgb, uint8_t *row, int y, int width,
                       int height)
{
    memset(row, 0, (size_t)width * 8);
    for (int x = 0; x < width; x++, rgb += 3) {
        int q = quarter_of(x, y, width, height);

        switch (kind) {
        case PNG_RGB:
        case PNG_INTERLACED:
            memcpy(row + 3 * x, rgb, 3);
            break;
        case PNG_RGBA:
            memcpy(row + 4 * x, rgb, 3);
            row[4 * x + 3] = (uint8_t)(x % 2 ? 255 : 9); /* must not matter */
            break;
        case PNG_GREY:
            row[x] = rgb[1];
            break;
        case PNG_GREY_ALPHA:
            row[2 * x] = rgb[1];
            row[2 * x + 1] = 40;
            break;
        case PNG_PALETTE:
            row[x] = (uint8_t)q;
            break;
        case PNG_PALETTE_2_BIT:
            row[x / 4] = (uint8_t)(row[x / 4] | q << (6 - x % 4 * 2));
            break;
        case PNG_ONE_BIT:
            row[x / 8] = (uint8_t)(row[x / 8] | (q == WHITE) << (7 - x % 8));
            break;
        case PNG_GREY_16:
            row[2 * x] = rgb[1];
            row[2 * x + 1] = 77;
            break;
        case PNG_RGB_16:
            for (int i = 0; i < 3; i++)
                row[6 * x + 2 * i] = rgb[i];
            break;
        case PNG_KIND_COUNT:
            break;
        }
    }
}

struct bytes make_png(enum png_kind kind, int width, int height)
{
    static const struct {
        int bits, type;
    } forms[PNG_KIND_COUNT] = {
        [PNG_RGB] = {8, PNG_COLOR_TYPE_RGB},
        [PNG_RGBA] = {8, PNG_COLOR_TYPE_RGB_ALPHA},
        [PNG_GREY] = {8, PNG_COLOR_TYPE_GRAY},
        [PNG_GREY_ALPHA] = {8, PNG_COLOR_TYPE_GRAY_ALPHA},
        [PNG_PALETTE] = {8, PNG_COLOR_TYPE_PALETTE},
        [PNG_PALETTE_2_BIT] = {2, PNG_COLOR_TYPE_PALETTE},
        [PNG_ONE_BIT] = {1, PNG_COLOR_TYPE_GRAY},
        [PNG_GREY_16] = {16, PNG_COLOR_TYPE_GRAY},
        [PNG_RGB_16] = {16, PNG_COLOR_TYPE_RGB},
        [PNG_INTERLACED] = {8, PNG_COLOR_TYPE_RGB},
    };
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    AUTO_FREE uint8_t *rgb = scene(width, height);
    AUTO_FREE uint8_t *row = xmalloc((size_t)width * 8);
    AUTO_DONE(dynbuf) out;
    png_color palette[QUARTER_COUNT];
    int passes;

    dynbuf_init(&out, 64 << 20);
    png_set_write_fn(png, &out, png_append, png_flush_nothing);
    png_set_IHDR(png, info, (png_uint_32)width, (png_uint_32)height, forms[kind].bits,
                 forms[kind].type, kind == PNG_INTERLACED ? PNG_INTERLACE_ADAM7 : 0, 0, 0);
    for (int q = 0; q < QUARTER_COUNT; q++)
        palette[q] = (png_color){colours[q][0], colours[q][1], colours[q][2]};
    if (forms[kind].type == PNG_COLOR_TYPE_PALETTE)
        png_set_PLTE(png, info, palette, QUARTER_COUNT);
    png_write_info(png, info);
    passes = png_set_interlace_handling(png);
    for (int pass = 0; pass < passes; pass++) {
        for (int y = 0; y < height; y++) {
            png_row_of(kind, rgb + (size_t)y * (size_t)width * 3, row, y, width, height);
            png_write_row(png, row);
        }
    }
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    return fitted(out.data, out.len);
}

/* WebP. */

static void put_le32(uint8_t *p, size_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}

/* A canvas, an animation header and the still's chunk as the only frame. */
static struct bytes animated(const uint8_t *still, size_t size, int width, int height)
{
    const uint8_t *chunk = still + 12;
    size_t chunk_size = size - 12, total = 12 + 18 + 14 + 8 + 16 + chunk_size;
    uint8_t *p = xcalloc(1, total), *at = p;

    memcpy(at, "RIFF\0\0\0\0WEBPVP8X", 16);
    put_le32(at + 4, total - 8);
    put_le32(at + 16, 10);
    at[20] = 2; /* animation */
    put_le32(at + 24, (size_t)width - 1);
    put_le32(at + 27, (size_t)height - 1);
    at += 30;
    memcpy(at, "ANIM", 4);
    put_le32(at + 4, 6);
    at += 14;
    memcpy(at, "ANMF", 4);
    put_le32(at + 4, 16 + chunk_size);
    put_le32(at + 8 + 6, (size_t)width - 1);
    put_le32(at + 8 + 9, (size_t)height - 1);
    memset(at + 8 + 12, 0, 4);
    memcpy(at + 24, chunk, chunk_size);
    return (struct bytes){p, total};
}

struct bytes make_webp(enum webp_kind kind, int width, int height)
{
    AUTO_FREE uint8_t *rgb = scene(width, height);
    AUTO_FREE uint8_t *rgba = xmalloc((size_t)width * (size_t)height * 4);
    uint8_t *out = NULL;
    struct bytes ret;
    size_t size = 0;

    for (int i = 0; i < width * height; i++) {
        memcpy(rgba + 4 * i, rgb + 3 * i, 3);
        rgba[4 * i + 3] = (uint8_t)(128 + i % 100);
    }
    switch (kind) {
    case WEBP_LOSSY:
    case WEBP_ANIMATED:
        size = WebPEncodeRGB(rgb, width, height, width * 3, 80, &out);
        break;
    case WEBP_LOSSLESS:
        size = WebPEncodeLosslessRGB(rgb, width, height, width * 3, &out);
        break;
    case WEBP_ALPHA:
        size = WebPEncodeRGBA(rgba, width, height, width * 4, 80, &out);
        break;
    case WEBP_KIND_COUNT:
        break;
    }
    assert(size > 0);
    ret = kind == WEBP_ANIMATED ? animated(out, size, width, height) : fitted(out, size);
    WebPFree(out);
    return ret;
}

/* BMP. */

struct bytes make_bmp(enum bmp_kind kind, int width, int height)
{
    static const int bits_of[BMP_KIND_COUNT] = {
        [BMP_24] = 24,     [BMP_32] = 32,     [BMP_8] = 8,         [BMP_4] = 4,   [BMP_1] = 1,
        [BMP_16_555] = 16, [BMP_16_565] = 16, [BMP_TOP_DOWN] = 24, [BMP_OS2] = 24};
    int bits = bits_of[kind];
    size_t colours_count = bits <= 8 ? (size_t)1 << bits : 0,
           row = ((size_t)width * (size_t)bits + 31) / 32 * 4;
    size_t header = kind == BMP_OS2 ? 12 : 40, masks = kind == BMP_16_565 ? 12 : 0;
    size_t start = 14 + header + masks + colours_count * 4;
    struct bytes ret = {xcalloc(1, start + row * (size_t)height), start + row * (size_t)height};
    AUTO_FREE uint8_t *rgb = scene(width, height);
    uint8_t *p = ret.data;

    memcpy(p, "BM", 2);
    put_le32(p + 2, ret.size);
    put_le32(p + 10, start);
    put_le32(p + 14, header);
    if (kind == BMP_OS2) {
        p[18] = (uint8_t)width;
        p[20] = (uint8_t)height;
        p[22] = 1;
        p[24] = (uint8_t)bits;
    } else {
        put_le32(p + 18, (size_t)width);
        put_le32(p + 22, (size_t)(kind == BMP_TOP_DOWN ? -height : height));
        p[26] = 1;
        p[28] = (uint8_t)bits;
        p[30] = kind == BMP_16_565 ? 3 : 0;
    }
    if (masks) {
        put_le32(p + 54, 0xf800);
        put_le32(p + 58, 0x7e0);
        put_le32(p + 62, 0x1f);
    }
    for (size_t q = 0; q < colours_count && q < QUARTER_COUNT; q++) {
        for (int i = 0; i < 3; i++)
            p[54 + 4 * q + (size_t)i] = colours[q][2 - i];
    }
    for (int y = 0; y < height; y++) {
        uint8_t *to = p + start + row * (size_t)(kind == BMP_TOP_DOWN ? y : height - 1 - y);

        for (int x = 0; x < width; x++) {
            const uint8_t *c = rgb + ((size_t)y * (size_t)width + (size_t)x) * 3;
            int q = quarter_of(x, y, width, height), v;

            switch (bits) {
            case 24:
            case 32:
                for (int i = 0; i < 3; i++)
                    to[x * bits / 8 + i] = c[2 - i];
                break;
            case 16:
                v = kind == BMP_16_565 ? c[0] >> 3 << 11 | c[1] >> 2 << 5 | c[2] >> 3
                                       : c[0] >> 3 << 10 | c[1] >> 3 << 5 | c[2] >> 3;
                to[2 * x] = (uint8_t)v;
                to[2 * x + 1] = (uint8_t)(v >> 8);
                break;
            default: /* one bit has two colours only */
                q = bits == 1 ? q & 1 : q;
                to[x * bits / 8] = (uint8_t)(to[x * bits / 8] | q << (8 - bits - x * bits % 8));
            }
        }
    }
    return ret;
}

/* GIF. */

static int gif_append(GifFileType *gif, const GifByteType *data, int size)
{
    return dynbuf_append(gif->UserData, data, (size_t)size) == 0 ? size : 0;
}

struct bytes make_gif(enum gif_kind kind, int width, int height)
{
    static const int first[] = {0, 4, 2, 1}, step[] = {8, 8, 4, 2};
    AUTO_DONE(dynbuf) out;
    AUTO_FREE uint8_t *row = xmalloc((size_t)width);
    GifColorType table[QUARTER_COUNT];
    ColorMapObject *map;
    GifFileType *gif;
    int code = 0;

    for (int q = 0; q < QUARTER_COUNT; q++)
        table[q] = (GifColorType){colours[q][0], colours[q][1], colours[q][2]};
    dynbuf_init(&out, 64 << 20);
    map = GifMakeMapObject(QUARTER_COUNT, table);
    gif = EGifOpen(&out, gif_append, &code);
    assert(gif && map);
    EGifSetGifVersion(gif, true);
    EGifPutScreenDesc(gif, width, height, 2, 0, map);
    EGifPutComment(gif, "a scene");
    for (int frame = 0; frame < (kind == GIF_ANIMATED ? 2 : 1); frame++) {
        bool interlaced = kind == GIF_INTERLACED;

        EGifPutImageDesc(gif, 0, 0, width, height, interlaced, NULL);
        for (int pass = 0; pass < (interlaced ? 4 : 1); pass++) {
            for (int y = interlaced ? first[pass] : 0; y < height;
                 y += interlaced ? step[pass] : 1) {
                for (int x = 0; x < width; x++) /* the second frame is all red */
                    row[x] = (uint8_t)(frame == 0 ? quarter_of(x, y, width, height) : 0);
                EGifPutLine(gif, row, width);
            }
        }
    }
    EGifCloseFile(gif, &code);
    GifFreeMapObject(map);
    return fitted(out.data, out.len);
}
