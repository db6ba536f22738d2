#include "sys/webp.h"

#include <errno.h>

#include <webp/decode.h>

/* Lossless frames are unpacked to ARGB as a whole before anything can be shrunk. */
#define LOSSLESS_PIXEL_BYTES 4

static int run(WebPDecoderConfig *config, const void *chunk, size_t size,
               const struct webp_request *q, int *ret_rows, struct err *e);
static const char *words(VP8StatusCode status);

int webp_decode(const void *chunk, size_t size, const struct webp_request *q, uint8_t *rgb,
                int *ret_rows, struct err *e)
{
    WebPDecoderConfig config;
    size_t needs = (size_t)q->width * (size_t)q->height * LOSSLESS_PIXEL_BYTES;
    int r;

    if (q->lossless && needs > q->memory_max)
        return err_set(e, -ENOMEM, ERR_NEVER,
                       "lossless WebP of %dx%d needs %.1f MB to decode, more than the limit of "
                       "%.1f MB (memory_max)",
                       q->width, q->height, (double)needs / 1e6, (double)q->memory_max / 1e6);
    if (!WebPInitDecoderConfig(&config))
        return err_set(e, -EINVAL, ERR_NEVER, "the WebP library is of another version");
    config.output.colorspace = MODE_RGB;
    config.output.is_external_memory = 1;
    config.output.u.RGBA.rgba = rgb;
    config.output.u.RGBA.stride = q->out_width * 3;
    config.output.u.RGBA.size = (size_t)q->out_width * (size_t)q->out_height * 3;
    if (q->out_width != q->width || q->out_height != q->height) {
        config.options.use_scaling = 1;
        config.options.scaled_width = q->out_width;
        config.options.scaled_height = q->out_height;
    }
    r = run(&config, chunk, size, q, ret_rows, e);
    WebPFreeDecBuffer(&config.output);
    return r;
}

/* The incremental decoder gives the rows of a cut file, the plain one gives nothing. */
static int run(WebPDecoderConfig *config, const void *chunk, size_t size,
               const struct webp_request *q, int *ret_rows, struct err *e)
{
    WebPIDecoder *decoder;
    VP8StatusCode status = WebPGetFeatures(chunk, size, &config->input);
    int rows = 0;

    if (status == VP8_STATUS_OK &&
        (config->input.width != q->width || config->input.height != q->height))
        return err_set(e, -EINVAL, ERR_NEVER, "WebP with two different sizes");
    if (status != VP8_STATUS_OK)
        return err_set(e, -EINVAL, ERR_NEVER, "WebP of %dx%d: %s", q->width, q->height,
                       words(status));

    decoder = WebPIDecode(NULL, 0, config);
    if (!decoder)
        return err_set(e, -ENOMEM, ERR_LATER, "no memory to decode a WebP of %dx%d", q->width,
                       q->height);
    status = WebPIUpdate(decoder, chunk, size);
    if (status == VP8_STATUS_OK)
        rows = q->out_height;
    else
        (void)WebPIDecGetRGB(decoder, &rows, NULL, NULL, NULL); /* leaves 0 when there are none */
    WebPIDelete(decoder);

    if (rows <= 0)
        return err_set(e, status == VP8_STATUS_OUT_OF_MEMORY ? -ENOMEM : -EINVAL, ERR_NEVER,
                       "WebP of %dx%d without a readable row: %s", q->width, q->height,
                       words(status));
    *ret_rows = rows;
    return 0;
}

static const char *words(VP8StatusCode status)
{
    switch (status) {
    case VP8_STATUS_OK:
        return "no error";
    case VP8_STATUS_OUT_OF_MEMORY:
        return "out of memory";
    case VP8_STATUS_INVALID_PARAM:
        return "invalid parameter";
    case VP8_STATUS_BITSTREAM_ERROR:
        return "broken data";
    case VP8_STATUS_UNSUPPORTED_FEATURE:
        return "unsupported feature";
    case VP8_STATUS_SUSPENDED:
    case VP8_STATUS_NOT_ENOUGH_DATA:
        return "the file ends too early";
    case VP8_STATUS_USER_ABORT:
        return "aborted";
    }
    return "unknown error";
}
