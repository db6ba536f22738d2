#include "sys/png.h"

#include <errno.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <png.h>

#include "base/macros.h"
#include "base/mem.h"
#include "base/text.h"

/* A megabyte of PNG can unpack to a gigabyte. Unpacking and filtering run at 250 MB a second or
 * more, so this much stays near a second; it is 85 megapixels of RGB or 42 of RGBA at 16 bits. */
#define UNPACKED_MAX (256 * 1024 * 1024)

/* libpng keeps some rows of up to half a megabyte, and zlib its window, whatever the limit. */
#define ROWS_MAX (4 * 1024 * 1024)

struct decoder {
    const uint8_t *data;
    size_t size, pos;
    int width, height;
    size_t memory_max;
    struct raster_sink *sink;
    png_structp png;
    png_infop info;
    uint8_t *whole; /* interlaced only */
    int rows;       /* put, or readable in whole */
    bool broken;    /* after some rows */
    bool no_memory;
    char text[128];
};

static void on_error(png_structp png, png_const_charp text);
static void on_warning(png_structp png, png_const_charp text);
static png_voidp on_alloc(png_structp png, png_alloc_size_t size);
static void on_free(png_structp png, png_voidp p);
static int run(struct decoder *d, struct err *e);
static int explain(const struct decoder *d, struct err *e);
static void put_whole(struct decoder *d);

int png_decode(const void *data, size_t size, int width, int height, size_t memory_max,
               struct raster_sink *sink, struct raster_result *ret, struct err *e)
{
    struct decoder d = {.data = data,
                        .size = size,
                        .width = width,
                        .height = height,
                        .memory_max = memory_max,
                        .sink = sink};
    int r;

    d.png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, &d, on_error, on_warning, &d, on_alloc,
                                     on_free);
    if (!d.png)
        return err_set(e, -ENOMEM, ERR_LATER, "no memory to decode a PNG");
    if (setjmp(png_jmpbuf(d.png)) == 0) {
        r = run(&d, e);
    } else if (d.rows > 0) {
        d.broken = true;
        r = 0;
    } else {
        r = explain(&d, e);
    }
    if (r == 0 && d.whole)
        put_whole(&d);
    if (r == 0)
        *ret = (struct raster_result){.rows = d.rows, .damaged = d.broken};
    free(d.whole);
    png_destroy_read_struct(&d.png, &d.info, NULL);
    return r;
}

/* Everything in run() may jump back: nothing is owned by a local. */

/* libpng asks for pixels in pieces of this many bytes and gets all or none of each. */
#define CUT_FILE_PIECE 64

static void on_read(png_structp png, png_bytep to, size_t size);
static bool has_end(const struct decoder *d);
static int start(struct decoder *d, int *ret_passes, struct err *e);
static void read_whole(struct decoder *d, int passes);

static int run(struct decoder *d, struct err *e)
{
    int passes = 1, r;

    d->info = png_create_info_struct(d->png);
    if (!d->info)
        return err_set(e, -ENOMEM, ERR_LATER, "no memory to decode a PNG");
    r = start(d, &passes, e);
    if (r < 0)
        return r;
    if (passes > 1) {
        read_whole(d, passes);
        return 0;
    }
    for (int y = 0; y < d->height; y++) {
        png_read_row(d->png, d->sink->row(d->sink), NULL);
        d->sink->put(d->sink);
        d->rows++;
    }
    return 0; /* what follows the pixels does not matter */
}

static int start(struct decoder *d, int *ret_passes, struct err *e)
{
    png_structp png = d->png;
    size_t unpacked;
    int r;

    png_set_read_fn(png, d, on_read);
    png_set_user_limits(png, (png_uint_32)d->width, (png_uint_32)d->height);
    /* Texts and profiles are neither kept nor unpacked: they can be bombs of their own. */
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
    png_set_crc_action(png, PNG_CRC_DEFAULT, PNG_CRC_QUIET_USE);
    png_set_benign_errors(png, 1);
    if (!has_end(d))
        png_set_compression_buffer_size(png, CUT_FILE_PIECE); /* the last rows count */
    png_read_info(png, d->info);
    if ((int64_t)png_get_image_width(png, d->info) != d->width ||
        (int64_t)png_get_image_height(png, d->info) != d->height)
        return err_set(e, -EINVAL, ERR_NEVER, "PNG with two different sizes");
    unpacked = png_get_rowbytes(png, d->info) * (size_t)d->height;
    if (unpacked > UNPACKED_MAX)
        return err_set(e, -EFBIG, ERR_NEVER,
                       "PNG of %dx%d unpacks to %.1f MB, more than the limit of %.1f MB", d->width,
                       d->height, (double)unpacked / 1e6, UNPACKED_MAX / 1e6);

    png_set_palette_to_rgb(png);
    png_set_expand_gray_1_2_4_to_8(png);
    png_set_scale_16(png);
    png_set_gray_to_rgb(png);
    png_set_strip_alpha(png);
    *ret_passes = png_set_interlace_handling(png);
    png_read_update_info(png, d->info);
    if (png_get_rowbytes(png, d->info) != (size_t)d->width * 3)
        return err_set(e, -EINVAL, ERR_NEVER, "PNG of an unknown colour type");

    r = d->sink->begin(d->sink, d->width, d->height, e);
    if (r < 0 || *ret_passes == 1)
        return r;
    d->whole = mem_try_alloc((size_t)d->width * (size_t)d->height, 3, d->memory_max);
    if (!d->whole)
        return err_set(
            e, -ENOMEM, ERR_NEVER,
            "interlaced PNG of %dx%d needs %.1f MB more to decode, %.1f MB are left of the "
            "limit (memory_max)",
            d->width, d->height, (double)d->width * d->height * 3 / 1e6,
            (double)d->memory_max / 1e6);
    return 0;
}

static bool has_end(const struct decoder *d)
{
    return d->size >= 8 && memcmp(d->data + d->size - 8, "IEND", 4) == 0; /* its CRC follows */
}

/* libpng spreads the pixels of each pass over the places that are still to come, so the picture is
 * whole, if coarse, after the first of the seven. */
static void read_whole(struct decoder *d, int passes)
{
    for (int pass = 0; pass < passes; pass++) {
        for (int y = 0; y < d->height; y++) {
            png_read_row(d->png, NULL, d->whole + (size_t)y * (size_t)d->width * 3);
            d->rows = MAX(d->rows, y + 1);
        }
    }
}

static void put_whole(struct decoder *d)
{
    const size_t bytes = (size_t)d->width * 3;

    for (int y = 0; y < d->rows; y++) {
        memcpy(d->sink->row(d->sink), d->whole + (size_t)y * bytes, bytes);
        d->sink->put(d->sink);
    }
}

static int explain(const struct decoder *d, struct err *e)
{
    if (d->no_memory)
        return err_set(e, -ENOMEM, ERR_LATER, "no memory to decode a PNG of %dx%d", d->width,
                       d->height);
    return err_set(e, -EINVAL, ERR_NEVER, "PNG of %dx%d without a readable row: %s", d->width,
                   d->height, d->text);
}

static void on_read(png_structp png, png_bytep to, size_t size)
{
    struct decoder *d = png_get_io_ptr(png);

    if (size > d->size - d->pos)
        png_error(png, "the file ends too early");
    memcpy(to, d->data + d->pos, size);
    d->pos += size;
}

static void on_error(png_structp png, png_const_charp text)
{
    struct decoder *d = png_get_error_ptr(png);

    (void)text_copy(d->text, sizeof d->text, text);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp text)
{
    (void)png;
    (void)text; /* about chunks that do not change the pixels */
}

static png_voidp on_alloc(png_structp png, png_alloc_size_t size)
{
    struct decoder *d = png_get_mem_ptr(png);
    void *p = mem_try_alloc(size, 1, MAX(d->memory_max, (size_t)ROWS_MAX));

    if (!p)
        d->no_memory = true;
    return p;
}

static void on_free(png_structp png, png_voidp p)
{
    (void)png;
    free(p);
}
