#include "picture/canvas.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "base/mem.h"

static int begin(struct raster_sink *s, int width, int height, struct err *e);
static uint8_t *row(struct raster_sink *s);
static void put(struct raster_sink *s);

void canvas_init(struct canvas *c, int orientation, int factor, size_t memory_max)
{
    *c = (struct canvas){
        .sink = {.begin = begin, .row = row, .put = put},
        .orientation = orientation,
        .factor = factor,
        .memory_max = memory_max,
    };
}

void canvas_done(struct canvas *c)
{
    image_free(c->img);
    free(c->line);
    free(c->mean);
    free(c->sums);
    *c = (struct canvas){0};
}

void canvas_fill_rest(struct canvas *c)
{
    while (c->next < c->height) {
        memset(row(&c->sink), CANVAS_GREY, (size_t)c->width * 3);
        put(&c->sink);
    }
}

int canvas_copy(struct canvas *c, const struct image *from, struct err *e)
{
    const size_t bytes = (size_t)from->width * 3;
    int r = begin(&c->sink, from->width, from->height, e);

    if (r < 0)
        return r;
    for (int y = 0; y < from->height; y++) {
        memcpy(row(&c->sink), from->rgb + (size_t)y * bytes, bytes);
        put(&c->sink);
    }
    return 0;
}

static int shrunk(int side, int factor)
{
    return (side + factor - 1) / factor;
}

static int begin(struct raster_sink *s, int width, int height, struct err *e)
{
    struct canvas *c = container_of(s, struct canvas, sink);
    size_t w = (size_t)shrunk(width, c->factor), h = (size_t)shrunk(height, c->factor);
    size_t bytes = w * h * 3;
    bool direct = c->factor == 1 && c->orientation == 1;

    if (bytes > c->memory_max)
        return err_set(e, -ENOMEM, ERR_NEVER,
                       "picture of %dx%d needs %.1f MB to decode, more than the limit of %.1f MB "
                       "(memory_max)",
                       width, height, (double)bytes / 1e6, (double)c->memory_max / 1e6);
    c->width = width;
    c->height = height;
    c->img = xcalloc(1, sizeof *c->img);
    c->img->width = (int)(c->orientation >= 5 ? h : w);
    c->img->height = (int)(c->orientation >= 5 ? w : h);
    c->img->rgb = mem_try_alloc(w * h, 3, c->memory_max);
    if (!direct)
        c->line = mem_try_alloc((size_t)width, 3, c->memory_max);
    if (c->factor > 1) {
        c->mean = mem_try_alloc(w, 3, c->memory_max);
        c->sums = mem_try_alloc(w, 3 * sizeof *c->sums, c->memory_max);
        if (c->sums)
            memset(c->sums, 0, w * 3 * sizeof *c->sums);
    }
    if (!c->img->rgb || (!direct && !c->line) || (c->factor > 1 && (!c->mean || !c->sums)))
        return err_set(e, -ENOMEM, ERR_LATER, "no memory for a picture of %zux%zu", w, h);
    return 0;
}

static uint8_t *row(struct raster_sink *s)
{
    struct canvas *c = container_of(s, struct canvas, sink);

    return c->line ? c->line : c->img->rgb + (size_t)c->next * (size_t)c->width * 3;
}

static void sum_row(struct canvas *c);
static void mean_row(struct canvas *c);
static void place(struct canvas *c, int y, const uint8_t *rgb);

static void put(struct raster_sink *s)
{
    struct canvas *c = container_of(s, struct canvas, sink);
    int y = c->next++;

    if (c->factor > 1) {
        sum_row(c);
        c->summed++;
        if (c->summed < c->factor && c->next < c->height)
            return;
        mean_row(c);
        place(c, y / c->factor, c->mean);
    } else if (c->line) {
        place(c, y, c->line);
    }
}

static void sum_row(struct canvas *c)
{
    const uint8_t *from = c->line;
    uint32_t *to = c->sums;

    for (int x = 0; x < c->width; to += 3) {
        int end = MIN(x + c->factor, c->width);
        uint32_t r = 0, g = 0, b = 0;

        for (; x < end; x++, from += 3) {
            r += from[0];
            g += from[1];
            b += from[2];
        }
        to[0] += r;
        to[1] += g;
        to[2] += b;
    }
}

/* The last column and row of blocks may be narrower. */
static void mean_row(struct canvas *c)
{
    int w = shrunk(c->width, c->factor);

    for (int x = 0; x < w; x++) {
        uint32_t wide = (uint32_t)MIN(c->factor, c->width - x * c->factor);
        uint32_t count = wide * (uint32_t)c->summed;

        for (int i = 3 * x; i < 3 * x + 3; i++) {
            c->mean[i] = (uint8_t)((c->sums[i] + count / 2) / count);
            c->sums[i] = 0;
        }
    }
    c->summed = 0;
}

/* Every orientation sends a stored row to a straight line of the upright picture: a start and a
 * step. EXIF 2.3, 4.6.4 A: 5 transposes, 6 is turned clockwise, 7 mirrors that, 8 is turned
 * counter-clockwise. */
static void place(struct canvas *c, int y, const uint8_t *rgb)
{
    const int w = shrunk(c->width, c->factor), h = shrunk(c->height, c->factor);
    const ptrdiff_t across = c->img->width;
    ptrdiff_t start = 0, step = 1;
    uint8_t *to;

    switch (c->orientation) {
    case 1:
        start = y * across;
        break;
    case 2:
        start = y * across + w - 1;
        step = -1;
        break;
    case 3:
        start = (h - 1 - y) * across + w - 1;
        step = -1;
        break;
    case 4:
        start = (h - 1 - y) * across;
        break;
    case 5:
        start = y;
        step = across;
        break;
    case 6:
        start = h - 1 - y;
        step = across;
        break;
    case 7:
        start = (w - 1) * across + h - 1 - y;
        step = -across;
        break;
    case 8:
        start = (w - 1) * across + y;
        step = -across;
        break;
    }
    to = c->img->rgb + start * 3;
    if (step == 1) {
        memcpy(to, rgb, (size_t)w * 3);
        return;
    }
    for (int x = 0; x < w; x++, rgb += 3, to += step * 3)
        memcpy(to, rgb, 3);
}
