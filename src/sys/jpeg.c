#include "sys/jpeg.h"

#include <errno.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>

#include "base/macros.h"
#include "base/mem.h"

/* A file may ask to walk over all its blocks again and again: 38 kB can cost a minute. A block
 * visit costs about 10 ns when its scan has no data (measured), so this many stay below a second.
 * A real progressive file of 20 megapixels in 10 scans makes 5 million. */
#define BLOCK_VISITS_MAX (40 * 1000 * 1000)

#define COEFFICIENT_BYTES 2

/* Cheap cameras pad the pixels up to a word or a sector before the end marker. More bytes than that
 * mean that the decoder lost its way and thought it was done. */
#define PADDING_MAX 512

/* libjpeg reports errors by a call that must not return; what jumps back lives here. */
struct door {
    struct jpeg_error_mgr manager;
    jmp_buf back;
    int code;            /* ours, negative errno */
    bool ended, corrupt; /* seen among the warnings */
    char text[JMSG_LENGTH_MAX];
};

struct decoder {
    struct jpeg_decompress_struct jpeg;
    struct door door;
    struct jpeg_progress_mgr progress;
    const struct jpeg_request *request;
    struct raster_sink *sink;
    int64_t blocks; /* of the whole picture, all components */
    int rows;
};

static void door_open(struct door *door);
static int run_decoder(struct decoder *d, const void *data, size_t size, struct err *e);
static int explain(const struct decoder *d, struct err *e);

int jpeg_scale_eighths(int width, int height, int cover_width, int cover_height)
{
    if (cover_width <= 0 || cover_height <= 0)
        return 8;
    for (int m = 1; m < 8; m *= 2) {
        int64_t w = ((int64_t)width * m + 7) / 8, h = ((int64_t)height * m + 7) / 8;

        if (w >= cover_width && h >= cover_height)
            return m;
    }
    return 8;
}

int jpeg_decode(const void *data, size_t size, const struct jpeg_request *request,
                struct raster_sink *sink, struct raster_result *ret, struct err *e)
{
    struct decoder d = {.request = request, .sink = sink};
    int r;

    door_open(&d.door);
    d.jpeg.err = &d.door.manager;
    if (setjmp(d.door.back) == 0)
        r = run_decoder(&d, data, size, e);
    else if (d.rows > 0)
        r = 0; /* what came before the error is a picture */
    else
        r = explain(&d, e);

    if (r == 0)
        *ret = (struct raster_result){
            .rows = d.rows,
            .damaged = d.door.ended || d.door.corrupt || d.door.code != 0,
        };
    jpeg_destroy_decompress(&d.jpeg);
    return r;
}

/* Decoding. Everything here may jump back to jpeg_decode(), so nothing is owned by a local. */

static int start(struct decoder *d, struct err *e);
static void watch_progress(j_common_ptr common);
static void cmyk_to_rgb(const uint8_t *cmyk, uint8_t *rgb, int width, bool inverted);

static int run_decoder(struct decoder *d, const void *data, size_t size, struct err *e)
{
    struct jpeg_decompress_struct *jpeg = &d->jpeg;
    bool four = false;
    JSAMPROW ink = NULL;
    int r;

    jpeg_create_decompress(jpeg);
    jpeg_mem_src(jpeg, data, size);
    (void)jpeg_read_header(jpeg, TRUE); /* with TRUE there is no other answer than OK */
    r = start(d, e);
    if (r < 0)
        return r;

    four = jpeg->out_color_space == JCS_CMYK;
    if (four) /* freed with the decompressor */
        ink = jpeg->mem->alloc_large((j_common_ptr)jpeg, JPOOL_IMAGE, jpeg->output_width * 4UL);
    while (jpeg->output_scanline < jpeg->output_height) {
        uint8_t *rgb = d->sink->row(d->sink);
        JSAMPROW row = four ? ink : rgb;

        if (jpeg_read_scanlines(jpeg, &row, 1) != 1)
            break;
        if (four)
            cmyk_to_rgb(ink, rgb, (int)jpeg->output_width, jpeg->saw_Adobe_marker);
        d->sink->put(d->sink);
        d->rows++;
    }
    (void)jpeg_finish_decompress(jpeg); /* looks at what stands before the end marker */
    return 0;
}

static int start(struct decoder *d, struct err *e)
{
    struct jpeg_decompress_struct *jpeg = &d->jpeg;
    const struct jpeg_request *q = d->request;
    size_t picture, coefficients, left;
    int r;

    if ((int64_t)jpeg->image_width != q->width || (int64_t)jpeg->image_height != q->height)
        return err_set(e, -EINVAL, ERR_NEVER, "JPEG with two different sizes, %ux%u and %dx%d",
                       jpeg->image_width, jpeg->image_height, q->width, q->height);

    jpeg->out_color_space = jpeg->num_components == 4 ? JCS_CMYK : JCS_RGB;
    jpeg->scale_num =
        (unsigned)jpeg_scale_eighths(q->width, q->height, q->cover_width, q->cover_height);
    jpeg->scale_denom = 8;
    jpeg_calc_output_dimensions(jpeg);
    r = d->sink->begin(d->sink, (int)jpeg->output_width, (int)jpeg->output_height, e);
    if (r < 0)
        return r;

    for (int i = 0; i < jpeg->num_components; i++)
        d->blocks +=
            (int64_t)jpeg->comp_info[i].width_in_blocks * jpeg->comp_info[i].height_in_blocks;
    if (jpeg_has_multiple_scans(jpeg)) {
        /* Such files keep all coefficients in memory whatever the scale. */
        picture = (size_t)jpeg->output_width * jpeg->output_height * 3;
        coefficients = (size_t)d->blocks * DCTSIZE2 * COEFFICIENT_BYTES;
        if (picture + coefficients > q->memory_max)
            return err_set(e, -ENOMEM, ERR_NEVER,
                           "progressive JPEG of %dx%d needs %.1f MB to decode, more than the limit "
                           "of %.1f MB (memory_max)",
                           q->width, q->height, (double)(picture + coefficients) / 1e6,
                           (double)q->memory_max / 1e6);
        /* Our sum leaves out the rounding up to whole MCUs; libjpeg checks its own. */
        left = q->memory_max - picture;
        jpeg->mem->max_memory_to_use = (long)left;
    }
    d->progress.progress_monitor = watch_progress;
    jpeg->progress = &d->progress;
    jpeg->client_data = d;
    (void)jpeg_start_decompress(jpeg); /* a memory source never suspends */
    return 0;
}

static void watch_progress(j_common_ptr common)
{
    struct decoder *d = common->client_data;
    int scans = d->jpeg.input_scan_number;

    if (scans <= d->request->scans_max && scans * d->blocks <= BLOCK_VISITS_MAX + d->blocks)
        return;
    (void)snprintf(d->door.text, sizeof d->door.text,
                   "progressive with %d scans or more, too many for %dx%d (scans_max is %d)", scans,
                   d->request->width, d->request->height, d->request->scans_max);
    d->door.code = -EFBIG;
    longjmp(d->door.back, 1);
}

/* Adobe's programs store ink upside down, 255 is none; the marker tells. */
static void cmyk_to_rgb(const uint8_t *cmyk, uint8_t *rgb, int width, bool inverted)
{
    const unsigned flip = inverted ? 0 : 255;

    for (int x = 0; x < width; x++) {
        unsigned k = cmyk[4 * x + 3] ^ flip;

        for (int c = 0; c < 3; c++)
            rgb[3 * x + c] = (uint8_t)(((cmyk[4 * x + c] ^ flip) * k + 127) / 255);
    }
}

/* Errors and warnings. */

static NORETURN void on_error(j_common_ptr common);
static void on_message(j_common_ptr common, int level);

static void door_open(struct door *door)
{
    (void)jpeg_std_error(&door->manager);
    door->manager.error_exit = on_error;
    door->manager.emit_message = on_message;
}

static void on_error(j_common_ptr common)
{
    struct door *door = container_of(common->err, struct door, manager);

    common->err->format_message(common, door->text);
    switch (common->err->msg_code) {
    case JERR_OUT_OF_MEMORY:
    case JERR_NO_BACKING_STORE:
        door->code = -ENOMEM;
        break;
    default:
        door->code = -EINVAL;
    }
    longjmp(door->back, 1);
}

/* Negative levels are warnings about data, others are chatter. */
static void on_message(j_common_ptr common, int level)
{
    struct door *door = container_of(common->err, struct door, manager);

    if (level >= 0)
        return;
    common->err->num_warnings++;
    switch (common->err->msg_code) {
    case JWRN_JPEG_EOF:
        door->ended = true;
        break;
    case JWRN_HIT_MARKER:
    case JWRN_HUFF_BAD_CODE:
    case JWRN_ARITH_BAD_CODE:
    case JWRN_MUST_RESYNC:
    case JWRN_BOGUS_PROGRESSION:
    case JWRN_NOT_SEQUENTIAL:
        door->corrupt = true;
        break;
    case JWRN_EXTRANEOUS_DATA:
        if (common->err->msg_parm.i[0] > PADDING_MAX)
            door->corrupt = true;
        break;
    default:
        break;
    }
}

static int explain(const struct decoder *d, struct err *e)
{
    if (d->door.code == -ENOMEM)
        return err_set(e, -ENOMEM, ERR_NEVER,
                       "JPEG of %dx%d needs more memory to decode than the limit of %.1f MB "
                       "(memory_max)",
                       d->request->width, d->request->height, (double)d->request->memory_max / 1e6);
    return err_set(e, d->door.code, ERR_NEVER, "JPEG of %dx%d: %s%s", d->request->width,
                   d->request->height, d->door.text,
                   d->door.ended ? " (the file ends too early)" : "");
}

/* Encoding. libjpeg's own memory destination loses its buffer when an error strikes while it
 * grows, so there is one of ours. */

#define OUT_START (64 * 1024)

struct encoder {
    struct jpeg_compress_struct jpeg;
    struct door door;
    struct jpeg_destination_mgr dest;
    uint8_t *out;
    size_t cap, max;
};

static void run_encoder(struct encoder *c, const uint32_t *pixels, int width, int height,
                        int quality);
static void out_init(j_compress_ptr jpeg);
static boolean out_grow(j_compress_ptr jpeg);
static void out_term(j_compress_ptr jpeg);

int jpeg_encode(const uint32_t *pixels, int width, int height, int quality, struct blob **ret,
                struct err *e)
{
    struct encoder c = {
        .dest = {.init_destination = out_init,
                 .empty_output_buffer = out_grow,
                 .term_destination = out_term},
        /* Noise at quality 100 stays below the size of the pixels. */
        .max = (size_t)width * (size_t)height * 4 + OUT_START,
    };
    struct blob *blob;
    size_t size;

    door_open(&c.door);
    c.jpeg.err = &c.door.manager;
    if (setjmp(c.door.back) == 0)
        run_encoder(&c, pixels, width, height, quality);
    size = c.cap - c.dest.free_in_buffer;
    jpeg_destroy_compress(&c.jpeg);
    if (c.door.code < 0) {
        free(c.out);
        return err_set(e, c.door.code, ERR_NEVER, "encode a JPEG of %dx%d: %s", width, height,
                       c.door.text);
    }
    blob = blob_new_take(c.out, size);
    if (!blob)
        return err_set(e, -ENOMEM, ERR_LATER, "no memory for a JPEG of %zu bytes", size);
    *ret = blob;
    return 0;
}

static void run_encoder(struct encoder *c, const uint32_t *pixels, int width, int height,
                        int quality)
{
    struct jpeg_compress_struct *jpeg = &c->jpeg;

    jpeg_create_compress(jpeg);
    jpeg->dest = &c->dest;
    jpeg->image_width = (JDIMENSION)width;
    jpeg->image_height = (JDIMENSION)height;
    jpeg->input_components = 4;
    jpeg->in_color_space = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? JCS_EXT_BGRX : JCS_EXT_XRGB;
    jpeg_set_defaults(jpeg);
    jpeg_set_quality(jpeg, quality, TRUE);
    jpeg_start_compress(jpeg, TRUE);
    while (jpeg->next_scanline < jpeg->image_height) {
        /* libjpeg's rows are not const, yet it only reads them. */
        JSAMPROW row = (JSAMPROW)(uintptr_t)(pixels + (size_t)jpeg->next_scanline * (size_t)width);

        (void)jpeg_write_scanlines(jpeg, &row, 1);
    }
    jpeg_finish_compress(jpeg);
}

static void out_init(j_compress_ptr jpeg)
{
    (void)out_grow(jpeg);
}

/* libjpeg calls this when the buffer is full, whatever free_in_buffer says. */
static boolean out_grow(j_compress_ptr jpeg)
{
    struct encoder *c = container_of(jpeg, struct encoder, jpeg);
    size_t cap = c->cap == 0 ? OUT_START : c->cap * 2;
    uint8_t *grown = mem_try_realloc(c->out, cap, 1, c->max);

    if (!grown)
        ERREXIT1(jpeg, JERR_OUT_OF_MEMORY, 0);
    c->out = grown;
    c->dest.next_output_byte = grown + c->cap;
    c->dest.free_in_buffer = cap - c->cap;
    c->cap = cap;
    return TRUE;
}

static void out_term(j_compress_ptr jpeg)
{
    (void)jpeg; /* jpeg_encode() takes the buffer */
}
