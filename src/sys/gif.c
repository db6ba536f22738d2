#include "sys/gif.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <gif_lib.h>

#include "base/macros.h"
#include "base/mem.h"

/* A kilobyte of GIF can unpack to megapixels; giflib makes about 100 million pixels a second, so
 * this many stay below a second. Nobody's camera sends larger ones. */
#define PIXELS_MAX (64 * 1000 * 1000)

struct decoder {
    const uint8_t *data;
    size_t size, pos;
    int width, height;
    struct raster_sink *sink;
    GifFileType *gif;
    const ColorMapObject *colours;
    uint8_t *indexes; /* one row, or the whole frame when interlaced */
    int rows;
    bool broken;
};

static int on_read(GifFileType *gif, GifByteType *to, int size);
static int run(struct decoder *d, size_t memory_max, struct err *e);

int gif_decode(const void *data, size_t size, int width, int height, size_t memory_max,
               struct raster_sink *sink, struct raster_result *ret, struct err *e)
{
    struct decoder d = {.data = data, .size = size, .width = width, .height = height, .sink = sink};
    int code = 0, r;

    if ((int64_t)width * height > PIXELS_MAX)
        return err_set(
            e, -EFBIG, ERR_NEVER,
            "GIF of %dx%d = %.1f megapixels, more than the limit of %.1f for this format", width,
            height, (double)width * height / 1e6, PIXELS_MAX / 1e6);
    d.gif = DGifOpen(&d, on_read, &code);
    if (!d.gif)
        return err_set(e, -EINVAL, ERR_NEVER, "GIF with a broken header: %s",
                       GifErrorString(code) ? GifErrorString(code) : "unknown error");
    r = run(&d, memory_max, e);
    if (r == 0)
        *ret = (struct raster_result){.rows = d.rows, .damaged = d.broken};
    free(d.indexes);
    (void)DGifCloseFile(d.gif, &code); /* a reader has nothing left to lose */
    return r;
}

static int find_frame(struct decoder *d, struct err *e);
static void read_rows(struct decoder *d);
static void read_interlaced(struct decoder *d);
static int broken(const struct decoder *d, struct err *e);

static int run(struct decoder *d, size_t memory_max, struct err *e)
{
    size_t lines;
    int r = find_frame(d, e);

    if (r < 0)
        return r;
    r = d->sink->begin(d->sink, d->width, d->height, e);
    if (r < 0)
        return r;
    lines = d->gif->Image.Interlace ? (size_t)d->height : 1;
    d->indexes = mem_try_alloc((size_t)d->width, lines, lines > 1 ? memory_max : (size_t)d->width);
    if (!d->indexes)
        return err_set(e, -ENOMEM, ERR_NEVER,
                       "GIF of %dx%d needs %.1f MB more to decode, %.1f MB are left of the limit "
                       "(memory_max)",
                       d->width, d->height, (double)d->width * (double)lines / 1e6,
                       (double)memory_max / 1e6);
    if (d->gif->Image.Interlace)
        read_interlaced(d);
    else
        read_rows(d);
    return d->rows > 0 ? 0 : broken(d, e);
}

/* Walks over extensions to the first frame. The input bounds the walk. */
static int find_frame(struct decoder *d, struct err *e)
{
    GifRecordType type = UNDEFINED_RECORD_TYPE;

    while (true) {
        if (DGifGetRecordType(d->gif, &type) == GIF_ERROR)
            return broken(d, e);
        if (type == IMAGE_DESC_RECORD_TYPE)
            break;
        if (type == EXTENSION_RECORD_TYPE) {
            GifByteType *bytes = NULL;
            int code;

            if (DGifGetExtension(d->gif, &code, &bytes) == GIF_ERROR)
                return broken(d, e);
            while (bytes) {
                if (DGifGetExtensionNext(d->gif, &bytes) == GIF_ERROR)
                    return broken(d, e);
            }
        } else {
            return broken(d, e);
        }
    }
    if (DGifGetImageDesc(d->gif) == GIF_ERROR)
        return broken(d, e);
    if (d->gif->Image.Width != d->width || d->gif->Image.Height != d->height)
        return err_set(e, -EINVAL, ERR_NEVER, "GIF with two different sizes");
    d->colours = d->gif->Image.ColorMap ? d->gif->Image.ColorMap : d->gif->SColorMap;
    if (!d->colours || d->colours->ColorCount < 1)
        return err_set(e, -EINVAL, ERR_NEVER, "GIF without colours");
    return 0;
}

static void put_row(struct decoder *d, const uint8_t *indexes);

static void read_rows(struct decoder *d)
{
    for (int y = 0; y < d->height; y++) {
        if (DGifGetLine(d->gif, d->indexes, d->width) == GIF_ERROR) {
            d->broken = true;
            return;
        }
        put_row(d, d->indexes);
    }
}

/* Four passes: rows 0, 8, ..; 4, 12, ..; 2, 6, ..; 1, 3, ... A row of an early pass stands in for
 * those below it until they come, so a cut file gives a coarse picture. */
static void read_interlaced(struct decoder *d)
{
    static const int first[] = {0, 4, 2, 1}, step[] = {8, 8, 4, 2}, tall[] = {8, 4, 2, 1};
    const size_t width = (size_t)d->width;
    int filled = 0;

    for (size_t pass = 0; pass < ARRAY_LEN(first) && !d->broken; pass++) {
        for (int y = first[pass]; y < d->height; y += step[pass]) {
            uint8_t *line = d->indexes + (size_t)y * width;

            if (DGifGetLine(d->gif, line, d->width) == GIF_ERROR) {
                d->broken = true;
                break;
            }
            filled = MAX(filled, MIN(y + tall[pass], d->height));
            for (int i = 1; i < tall[pass] && y + i < d->height; i++)
                memcpy(line + (size_t)i * width, line, width);
        }
    }
    if (d->broken && filled < d->height)
        filled -= filled % 8; /* the failed row may have been half written */
    for (int y = 0; y < filled; y++)
        put_row(d, d->indexes + (size_t)y * width);
}

static void put_row(struct decoder *d, const uint8_t *indexes)
{
    uint8_t *rgb = d->sink->row(d->sink);

    for (int x = 0; x < d->width; x++, rgb += 3) {
        int index = MIN((int)indexes[x], d->colours->ColorCount - 1);
        const GifColorType *c = &d->colours->Colors[index];

        rgb[0] = c->Red;
        rgb[1] = c->Green;
        rgb[2] = c->Blue;
    }
    d->sink->put(d->sink);
    d->rows++;
}

static int broken(const struct decoder *d, struct err *e)
{
    const char *text = GifErrorString(d->gif->Error);

    return err_set(e, -EINVAL, ERR_NEVER, "GIF of %dx%d without a readable row: %s", d->width,
                   d->height, text ? text : "it ends too early");
}

static int on_read(GifFileType *gif, GifByteType *to, int size)
{
    struct decoder *d = gif->UserData;
    size_t n = MIN(d->size - d->pos, (size_t)MAX(size, 0));

    memcpy(to, d->data + d->pos, n);
    d->pos += n;
    return (int)n;
}
