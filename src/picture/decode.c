#include <errno.h>
#include <stdlib.h>

#include "base/macros.h"
#include "base/mem.h"
#include "picture/bmp.h"
#include "picture/canvas.h"
#include "picture/layout.h"
#include "picture/letterbox.h"
#include "picture/picture.h"
#include "sys/gif.h"
#include "sys/jpeg.h"
#include "sys/png.h"
#include "sys/webp.h"

struct job {
    const uint8_t *data;
    size_t size;
    const struct picture_limits *limits;
    const struct picture_layout *layout;
    int cover_width, cover_height; /* in stored orientation */
};

static int decode_into(const struct job *job, struct canvas *c, struct raster_result *ret,
                       struct err *e);
static bool is_blank(const struct image *img);

void image_free(struct image *img)
{
    if (!img)
        return;
    free(img->rgb);
    free(img);
}

int picture_decode(const void *data, size_t size, const struct picture_limits *limits,
                   int cover_width, int cover_height, struct image **ret,
                   struct picture_info *ret_info, struct err *e)
{
    struct picture_layout layout;
    struct raster_result result = {0};
    AUTO_DONE(canvas) canvas = {0};
    struct job job = {data, size, limits, &layout, cover_width, cover_height};
    int r = picture_examine(data, size, limits, &layout, e);

    if (r < 0)
        return r;
    if (layout.info.orientation >= 5) {
        job.cover_width = cover_height;
        job.cover_height = cover_width;
    }
    r = decode_into(&job, &canvas, &result, e);
    if (r < 0)
        return r;
    canvas_fill_rest(&canvas);
    layout.info.damaged = result.damaged;
    if (layout.info.damaged && layout.info.format == PICTURE_JPEG && is_blank(canvas.img))
        return err_set(e, -EINVAL, ERR_NEVER, "JPEG of %dx%d without any readable pixels",
                       layout.info.stored_width, layout.info.stored_height);
    *ret = STEAL(canvas.img);
    *ret_info = layout.info;
    return 0;
}

static struct jpeg_request jpeg_request_of(const struct job *job);
static int stream_jpeg(const struct job *job, const struct letterbox *lb,
                       const struct tensor_format *format, float *out, bool *ret_damaged,
                       struct err *e);

int letterbox_decode(const void *data, size_t size, const struct picture_limits *limits,
                     const struct letterbox *lb, double cover, const struct tensor_format *format,
                     float *out, struct picture_info *ret_info, struct err *e)
{
    struct picture_layout layout;
    struct job job = {data,
                      size,
                      limits,
                      &layout,
                      (int)(lb->resized_width * cover),
                      (int)(lb->resized_height * cover)};
    int r = picture_examine(data, size, limits, &layout, e);

    if (r < 0)
        return r;
    if (layout.info.format == PICTURE_JPEG && layout.info.orientation == 1) {
        bool damaged = false;

        r = stream_jpeg(&job, lb, format, out, &damaged, e);
        if (r < 0 || !damaged) {
            *ret_info = layout.info;
            return r;
        }
        /* What is broken is looked at as a whole, to tell it from nothing at all. */
    }
    AUTO(image) img = NULL;
    r = picture_decode(data, size, limits, job.cover_width, job.cover_height, &img, ret_info, e);
    if (r < 0)
        return r;
    r = letterbox_fill(lb, format, img, out);
    return r < 0 ? err_set(e, r, ERR_LATER, "no memory to resize a picture") : 0;
}

static int stream_jpeg(const struct job *job, const struct letterbox *lb,
                       const struct tensor_format *format, float *out, bool *ret_damaged,
                       struct err *e)
{
    struct jpeg_request q = jpeg_request_of(job);
    struct raster_result result;
    AUTO_DONE(letterbox_sink) s;
    double scale = jpeg_scale_eighths(q.width, q.height, q.cover_width, q.cover_height) / 8.0;

    letterbox_sink_init(&s, lb, format, scale, out);
    int r = jpeg_decode(job->data, job->size, &q, &s.sink, &result, e);
    if (r == 0)
        *ret_damaged = result.damaged || s.next < s.height;
    return r;
}

static int shrink_factor(const struct job *job);
static int decode_jpeg(const struct job *job, struct canvas *c, struct raster_result *ret,
                       struct err *e);
static int decode_webp(const struct job *job, struct canvas *c, struct raster_result *ret,
                       struct err *e);

static int decode_into(const struct job *job, struct canvas *c, struct raster_result *ret,
                       struct err *e)
{
    const struct picture_info *info = &job->layout->info;
    size_t memory = job->limits->memory_max, taken, left;
    int w = info->stored_width, h = info->stored_height, r = -EINVAL;

    switch (info->format) {
    case PICTURE_JPEG:
        return decode_jpeg(job, c, ret, e);
    case PICTURE_WEBP:
        return decode_webp(job, c, ret, e);
    case PICTURE_PNG:
    case PICTURE_GIF:
    case PICTURE_BMP:
        break;
    case PICTURE_UNKNOWN:
    case PICTURE_FORMAT_COUNT:
        return err_set(e, -EINVAL, ERR_NEVER, "not a picture");
    }

    canvas_init(c, info->orientation, shrink_factor(job), memory);
    taken = (size_t)(w / c->factor + 1) * (size_t)(h / c->factor + 1) * 3;
    left = memory > taken ? memory - taken : 0; /* for interlaced pictures */
    if (info->format == PICTURE_PNG)
        r = png_decode(job->data, job->size, w, h, left, &c->sink, ret, e);
    else if (info->format == PICTURE_GIF)
        r = gif_decode(job->data, job->size, w, h, left, &c->sink, ret, e);
    else
        r = bmp_decode(job->data, job->size, w, h, &c->sink, ret, e);
    if (r == 0)
        c->img->scale = 1.0 / c->factor;
    return r;
}

/* The largest divisor that leaves a picture which still covers. */
static int shrink_factor(const struct job *job)
{
    const struct picture_info *info = &job->layout->info;
    int factor;

    if (job->cover_width <= 0 || job->cover_height <= 0)
        return 1;
    factor = MIN(info->stored_width / job->cover_width, info->stored_height / job->cover_height);
    return MAX(factor, 1);
}

static struct jpeg_request jpeg_request_of(const struct job *job)
{
    return (struct jpeg_request){
        .width = job->layout->info.stored_width,
        .height = job->layout->info.stored_height,
        .cover_width = job->cover_width,
        .cover_height = job->cover_height,
        .memory_max = job->limits->memory_max,
        .scans_max = job->limits->scans_max,
    };
}

static int decode_jpeg(const struct job *job, struct canvas *c, struct raster_result *ret,
                       struct err *e)
{
    struct jpeg_request q = jpeg_request_of(job);
    int eighths = jpeg_scale_eighths(q.width, q.height, q.cover_width, q.cover_height);

    canvas_init(c, job->layout->info.orientation, 1, job->limits->memory_max);
    int r = jpeg_decode(job->data, job->size, &q, &c->sink, ret, e);
    if (r == 0)
        c->img->scale = eighths / 8.0;
    return r;
}

/* libwebp shrinks by itself and wants room for the whole result; a turned picture is then turned
 * into a second one. */
static int decode_webp(const struct job *job, struct canvas *c, struct raster_result *ret,
                       struct err *e)
{
    const struct picture_layout *layout = job->layout;
    const struct picture_info *info = &layout->info;
    int factor = shrink_factor(job), rows = 0, r;
    struct webp_request q = {
        .width = info->stored_width,
        .height = info->stored_height,
        .out_width = (info->stored_width + factor - 1) / factor,
        .out_height = (info->stored_height + factor - 1) / factor,
        .lossless = layout->frame_lossless,
        .memory_max = job->limits->memory_max,
    };
    AUTO_DONE(canvas) flat = {0};

    canvas_init(&flat, 1, 1, job->limits->memory_max);
    r = flat.sink.begin(&flat.sink, q.out_width, q.out_height, e);
    if (r < 0)
        return r;
    q.memory_max -= (size_t)q.out_width * (size_t)q.out_height * 3;
    r = webp_decode(job->data + layout->frame_at, layout->frame_size, &q, flat.img->rgb, &rows, e);
    if (r < 0)
        return r;
    flat.next = rows;
    canvas_fill_rest(&flat);
    *ret = (struct raster_result){.rows = q.out_height, .damaged = rows < q.out_height};

    canvas_init(c, info->orientation, 1, q.memory_max);
    if (info->orientation == 1) {
        c->img = STEAL(flat.img);
    } else {
        r = canvas_copy(c, flat.img, e);
        if (r < 0)
            return r;
    }
    c->img->scale = 1.0 / factor;
    return 0;
}

/* libjpeg answers a file that has headers only with a plain grey picture and a warning. Its first
 * block may hold rubbish, made of the zero bits that libjpeg feeds after the end. Grey is 128, and
 * 64 through black ink; conversion may move it by one. */
static bool is_blank(const struct image *img)
{
    const size_t n = (size_t)img->width * (size_t)img->height;
    const double block = 18 * img->scale + 1; /* an MCU and what upsampling smears around it */
    size_t others = 0;

    if ((double)n < 4 * block * block)
        return false; /* too small to tell */
    for (size_t i = 0; i < n && (double)others <= block * block; i++) {
        const uint8_t *p = img->rgb + 3 * i;
        int level = abs(p[0] - 128) <= 1 ? 128 : 64;

        others += abs(p[0] - level) > 1 || abs(p[1] - level) > 1 || abs(p[2] - level) > 1;
    }
    return (double)others <= block * block;
}
