#include "picture/annotate.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "base/mem.h"
#include "base/text.h"
#include "picture/layout.h"
#include "sys/draw.h"
#include "sys/jpeg.h"

/* A drawing takes four bytes a pixel. What does not fit the limits is drawn smaller. */
#define DRAW_PIXEL_BYTES 4
#define DRAW_WIDTH_MIN 64 /* smaller attempts would show nothing */

/* Marks as large as a viewer at screen size needs them, whatever the camera's resolution. */
#define SIDE_PER_LINE 360.0
#define THIN_PER_LINE 16.0 /* a strip is not painted over */
#define SIDE_PER_FONT 50.0
#define FONT_MIN 10.0
#define FONT_TINY 6.0 /* on thumbnails, before a label is left out */

#define LABEL_TEXT_MAX (DETECTION_LABEL_MAX * 4 + 16) /* escapes take four bytes for one */

struct drawing {
    uint32_t *pixels;
    int width, height;
    double scale; /* of boxes: drawing pixels per picture pixel */
    double scale_y;
};

struct label {
    char text[LABEL_TEXT_MAX];
    double font_size;
    struct draw_area area;
};

static int make_drawing(const void *data, size_t size, const struct picture_limits *limits,
                        int width_max, struct drawing *ret, struct err *e);
static int mark(const struct drawing *dr, const struct detection_list *found, struct err *e);

int picture_annotate(const void *data, size_t size, const struct picture_limits *limits,
                     const struct detection_list *found, int width_max, int quality,
                     struct blob **ret, struct err *e)
{
    struct drawing dr = {.pixels = NULL};
    int r = make_drawing(data, size, limits, width_max, &dr, e);

    if (r < 0)
        return r;
    if (found->count > 0) /* else the fonts need not be looked for */
        r = mark(&dr, found, e);
    if (r == 0)
        r = jpeg_encode(dr.pixels, dr.width, dr.height, quality, ret, e);
    free(dr.pixels);
    return r;
}

/* Pixels. */

static int to_words(struct image *img, size_t memory_max, struct drawing *ret);
static int to_smaller_words(const struct image *img, int width, int height, size_t memory_max,
                            struct drawing *ret);
static int scaled(int side, double factor);

static int make_drawing(const void *data, size_t size, const struct picture_limits *limits,
                        int width_max, struct drawing *ret, struct err *e)
{
    struct picture_info info;
    double factor = 1;
    int r = picture_probe(data, size, limits, &info, e);

    if (r < 0)
        return r;
    if (width_max > 0 && width_max < info.width)
        factor = (double)width_max / info.width;
    factor =
        fmin(factor, fmin(DRAW_SIDE_MAX / (double)info.width, DRAW_SIDE_MAX / (double)info.height));
    factor = fmin(factor, sqrt((double)limits->memory_max / DRAW_PIXEL_BYTES /
                               ((double)info.width * info.height)));
    /* What decoding needs is known to the decoder only: ask for less until it agrees. */
    for (;; factor /= 2) {
        AUTO(image) img = NULL;
        int width = scaled(info.width, factor), height = scaled(info.height, factor);

        r = picture_decode(data, size, limits, width, height, &img, &info, e);
        if (r == 0 && img->width == width && img->height == height)
            r = to_words(img, limits->memory_max, ret);
        else if (r == 0)
            r = to_smaller_words(img, width, height, limits->memory_max, ret);
        else if (r == -ENOMEM && width / 2 >= DRAW_WIDTH_MIN)
            continue;
        else
            return r;
        if (r < 0)
            return err_set(e, r, ERR_LATER, "no memory to draw on %dx%d pixels", width, height);
        ret->scale = (double)ret->width / info.width;
        ret->scale_y = (double)ret->height / info.height;
        return 0;
    }
}

static int scaled(int side, double factor)
{
    return MAX((int)rint(side * factor), 1);
}

static uint32_t word(unsigned r, unsigned g, unsigned b)
{
    return (uint32_t)(r << 16 | g << 8 | b);
}

/* In place from the end, where each pixel moves away from those still to be read. */
static int to_words(struct image *img, size_t memory_max, struct drawing *ret)
{
    size_t n = (size_t)img->width * (size_t)img->height;
    uint8_t *rgb = mem_try_realloc(img->rgb, n, DRAW_PIXEL_BYTES, memory_max);
    uint32_t *words = (uint32_t *)(void *)rgb;

    if (!rgb)
        return -ENOMEM;
    img->rgb = NULL;
    for (size_t i = n; i-- > 0;)
        words[i] = word(rgb[3 * i], rgb[3 * i + 1], rgb[3 * i + 2]);
    ret->pixels = words;
    ret->width = img->width;
    ret->height = img->height;
    return 0;
}

/* Two neighbours of a row or a column, and how much of the second in 256. */
struct blend {
    unsigned first, second, weight;
};

static struct blend blend_at(int i, int to, int from)
{
    double at = fmax((i + 0.5) * from / to - 0.5, 0);
    int first = MIN((int)at, from - 1);

    return (struct blend){(unsigned)first, (unsigned)MIN(first + 1, from - 1),
                          (unsigned)((at - first) * 256)};
}

static unsigned mixed(unsigned first, unsigned second, unsigned weight)
{
    return first * (256 - weight) + second * weight;
}

/* Bilinear; the decoder has already come within a factor of two. */
static int to_smaller_words(const struct image *img, int width, int height, size_t memory_max,
                            struct drawing *ret)
{
    uint32_t *words = mem_try_alloc((size_t)width * (size_t)height, DRAW_PIXEL_BYTES, memory_max);
    AUTO_FREE struct blend *columns = mem_try_alloc((size_t)width, sizeof(*columns), memory_max);

    if (!words || !columns) {
        free(words);
        return -ENOMEM;
    }
    for (int x = 0; x < width; x++)
        columns[x] = blend_at(x, width, img->width);
    for (int y = 0; y < height; y++) {
        struct blend row = blend_at(y, height, img->height);
        const uint8_t *up = img->rgb + (size_t)row.first * (size_t)img->width * 3;
        const uint8_t *low = img->rgb + (size_t)row.second * (size_t)img->width * 3;

        for (int x = 0; x < width; x++) {
            unsigned a = 3 * columns[x].first, b = 3 * columns[x].second, c[3];

            for (unsigned i = 0; i < 3; i++)
                c[i] = mixed(mixed(up[a + i], up[b + i], columns[x].weight),
                             mixed(low[a + i], low[b + i], columns[x].weight), row.weight) >>
                       16;
            words[(size_t)y * (size_t)width + (size_t)x] = word(c[0], c[1], c[2]);
        }
    }
    ret->pixels = words;
    ret->width = width;
    ret->height = height;
    return 0;
}

/* Marks. */

static struct draw_area area_of(const struct drawing *dr, const struct detection *found,
                                double line);
static struct draw_colour colour_of(const char *label);
static bool place_label(struct draw *d, const struct drawing *dr, const struct detection *found,
                        double line, struct label *labels, size_t placed);

/* Frames first and the surest last, so that labels stay readable and the surest frame is on top. */
static int mark(const struct drawing *dr, const struct detection_list *found, struct err *e)
{
    const double side = (dr->width + dr->height) / 2.0;
    const double line =
        fmax(1, rint(fmin(side / SIDE_PER_LINE, MIN(dr->width, dr->height) / THIN_PER_LINE)));
    const size_t count = MIN(found->count, (size_t)DETECTION_COUNT_MAX);
    AUTO_FREE struct label *labels = xcalloc(count + 1, sizeof *labels);
    AUTO(draw) d = NULL;
    int r = draw_new(dr->pixels, dr->width, dr->height, &d, e);

    if (r < 0)
        return r;
    for (size_t i = count; i-- > 0;) {
        if (found->items[i].has_box)
            draw_frame(d, area_of(dr, &found->items[i], line), line,
                       colour_of(found->items[i].label));
    }
    for (size_t i = 0; i < count; i++)
        (void)place_label(d, dr, &found->items[i], line, labels, i); /* no room, no label */
    for (size_t i = count; i-- > 0;) {
        if (labels[i].area.width > 0)
            draw_label(d, labels[i].area.x, labels[i].area.y, labels[i].text, labels[i].font_size,
                       colour_of(found->items[i].label));
    }
    return 0;
}

/* The frame's line stays inside the picture where the box touches its edge. */
static struct draw_area area_of(const struct drawing *dr, const struct detection *found,
                                double line)
{
    double half = line / 2;
    double x1 = fmin(fmax(found->box.x1 * dr->scale, half), dr->width - half);
    double y1 = fmin(fmax(found->box.y1 * dr->scale_y, half), dr->height - half);
    double x2 = fmin(fmax(found->box.x2 * dr->scale, x1), dr->width - half);
    double y2 = fmin(fmax(found->box.y2 * dr->scale_y, y1), dr->height - half);

    return (struct draw_area){x1, y1, fmax(x2 - x1, 0), fmax(y2 - y1, 0)};
}

/* Persons, the point of it all, have their own; the others are spread by name. */
static struct draw_colour colour_of(const char *label)
{
    static const struct draw_colour person = {1.00, 0.25, 0.25};
    static const struct draw_colour others[] = {
        {0.20, 0.80, 1.00}, {1.00, 0.80, 0.10}, {0.45, 1.00, 0.35}, {1.00, 0.55, 0.10},
        {0.95, 0.50, 1.00}, {0.25, 0.50, 1.00}, {0.10, 0.90, 0.70}, {0.80, 0.85, 0.30},
        {1.00, 0.60, 0.65}, {0.65, 0.55, 1.00},
    };
    uint32_t hash = 2166136261U; /* FNV-1a */

    if (text_equal_nocase(label, "person"))
        return person;
    for (; *label; label++)
        hash = (hash ^ (uint8_t)*label) * 16777619U;
    return others[hash % ARRAY_LEN(others)];
}

static double overlap(const struct draw_area *a, const struct draw_area *b)
{
    double w = fmin(a->x + a->width, b->x + b->width) - fmax(a->x, b->x);
    double h = fmin(a->y + a->height, b->y + b->height) - fmax(a->y, b->y);

    return w > 0 && h > 0 ? w * h : 0;
}

static bool measure(struct draw *d, const struct drawing *dr, const struct detection *found,
                    struct label *label);

/* Tries the usual places around the box and takes the one that covers least of earlier labels. A
 * detection without a box is named in the top left corner. */
static bool place_label(struct draw *d, const struct drawing *dr, const struct detection *found,
                        double line, struct label *labels, size_t placed)
{
    struct label *label = &labels[placed];
    struct draw_area box = {0}, best = {0};
    double best_cost = INFINITY, w, h;

    if (!measure(d, dr, found, label))
        return false;
    w = label->area.width;
    h = label->area.height;
    if (found->has_box)
        box = area_of(dr, found, line);
    {
        const double left = box.x - line / 2, right = box.x + box.width + line / 2 - w;
        const double top = box.y - line / 2, bottom = box.y + box.height + line / 2;
        const double places[][2] = {
            {left, top - h},        {left, top + line},
            {right, top - h},       {right, top + line},
            {left, bottom},         {left, bottom - line - h},
            {right, bottom},        {right, bottom - line - h},
            {right + w, top},       {left - w, top},
            {left, top + line + h}, {left, top + line + 2 * h},
        };

        for (size_t i = 0; i < ARRAY_LEN(places); i++) {
            struct draw_area a = {.width = w, .height = h};
            double cost;

            a.x = rint(fmax(fmin(places[i][0], dr->width - w), 0));
            a.y = rint(fmax(fmin(places[i][1], dr->height - h), 0));
            /* Moved by the picture's edge it is no longer where it belongs. */
            cost = (fabs(a.x - places[i][0]) + fabs(a.y - places[i][1])) * h * 0.25 + (double)i;
            for (size_t k = 0; k < placed; k++)
                cost += overlap(&a, &labels[k].area) * 4;
            if (cost < best_cost) {
                best_cost = cost;
                best = a;
            }
        }
    }
    label->area = best;
    return true;
}

/* Sets text, font size and the area's size. */
static bool measure(struct draw *d, const struct drawing *dr, const struct detection *found,
                    struct label *label)
{
    char name[DETECTION_LABEL_MAX * 4];
    double w = 0, h = 0;

    (void)text_escape(found->label, strnlen(found->label, sizeof found->label), name, sizeof name);
    (void)text_format(label->text, sizeof label->text, "%s %.0f%%", name,
                      (double)found->confidence * 100);
    label->font_size = fmax((dr->width + dr->height) / 2.0 / SIDE_PER_FONT, FONT_MIN);
    for (;; label->font_size *= 0.8) {
        if (label->font_size < FONT_TINY ||
            !draw_label_size(d, label->text, label->font_size, &w, &h))
            return false;
        if (w <= dr->width && h <= dr->height)
            break;
    }
    label->area = (struct draw_area){.width = w, .height = h};
    return true;
}
