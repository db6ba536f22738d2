#include "picture/letterbox.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "base/macros.h"
#include "base/mem.h"

/* The resize is OpenCV's INTER_LINEAR on bytes, bit for bit but for a rare difference of one: 11-bit
 * weights, the horizontal pass first, 4 bits dropped, then 18 in two steps. Models were trained on
 * it. Rows are kept as three planes of 16 bits, because the vertical pass, which every output value
 * takes, then is plain multiplication along arrays and the compiler makes vectors of it. This file
 * is compiled with -O3 for that. */

#define WEIGHT_BITS 11
#define WEIGHT_ONE (1 << WEIGHT_BITS)

/* A model's input is at most this large; the tables are bounded by it. */
#define INPUT_SIDE_MAX 16384

static int fit(double side, int input)
{
    int v = (int)side;

    return v < 1 ? 1 : v > input ? input : v;
}

struct letterbox letterbox_compute(enum letterbox_mode mode, int picture_width, int picture_height,
                                   int input_width, int input_height)
{
    struct letterbox lb = {
        .input_width = input_width,
        .input_height = input_height,
        .picture_width = picture_width,
        .picture_height = picture_height,
    };
    double w = picture_width, h = picture_height;
    double r = fmin(input_height / h, input_width / w);

    switch (mode) {
    case LETTERBOX_CENTRE:
        /* Python's round() goes to the even neighbour, as rint() does in the default mode. */
        lb.resized_width = fit(rint(w * r), input_width);
        lb.resized_height = fit(rint(h * r), input_height);
        lb.pad_left = MAX((int)rint((input_width - lb.resized_width) / 2.0 - 0.1), 0);
        lb.pad_top = MAX((int)rint((input_height - lb.resized_height) / 2.0 - 0.1), 0);
        lb.scale_x = lb.scale_y = r;
        break;
    case LETTERBOX_TOP_LEFT:
        /* YOLOX cuts where Ultralytics rounds. */
        lb.resized_width = fit(w * r, input_width);
        lb.resized_height = fit(h * r, input_height);
        lb.scale_x = lb.scale_y = r;
        break;
    case LETTERBOX_STRETCH:
        lb.resized_width = input_width;
        lb.resized_height = input_height;
        lb.scale_x = input_width / w;
        lb.scale_y = input_height / h;
        break;
    }
    return lb;
}

static float clip(double v, int max)
{
    return v > 0 ? (float)fmin(v, max) : 0; /* also what is no number */
}

struct box letterbox_to_picture(const struct letterbox *lb, struct box in)
{
    return (struct box){
        .x1 = clip(((double)in.x1 - lb->pad_left) / lb->scale_x, lb->picture_width),
        .y1 = clip(((double)in.y1 - lb->pad_top) / lb->scale_y, lb->picture_height),
        .x2 = clip(((double)in.x2 - lb->pad_left) / lb->scale_x, lb->picture_width),
        .y2 = clip(((double)in.y2 - lb->pad_top) / lb->scale_y, lb->picture_height),
    };
}

/* Filling. */

/* value * gain + offset, per plane in the order R, G, B */
struct planes {
    float *at[3]; /* first pixel of the resized picture */
    float gain[3], offset[3];
};

/* One axis: for every output position the left neighbour and the weight of the right one. */
struct axis {
    int *from;
    int16_t *weight;
};

static struct planes find_planes(const struct letterbox *lb, const struct tensor_format *f,
                                 float *out);
static void paint_padding(const struct letterbox *lb, const struct tensor_format *f, float *out);
static void copy_rows(const struct letterbox *lb, const struct planes *planes,
                      const struct image *img);
static int resize_rows(const struct letterbox *lb, const struct planes *planes,
                       const struct image *img);

int letterbox_fill(const struct letterbox *lb, const struct tensor_format *format,
                   const struct image *img, float *out)
{
    struct planes planes = find_planes(lb, format, out);

    paint_padding(lb, format, out);
    if (img->width == lb->resized_width && img->height == lb->resized_height) {
        copy_rows(lb, &planes, img);
        return 0;
    }
    return resize_rows(lb, &planes, img);
}

static struct planes find_planes(const struct letterbox *lb, const struct tensor_format *f,
                                 float *out)
{
    size_t plane = (size_t)lb->input_width * (size_t)lb->input_height;
    size_t start = (size_t)lb->pad_top * (size_t)lb->input_width + (size_t)lb->pad_left;
    struct planes p;

    for (int c = 0; c < 3; c++) {
        int model_channel = f->bgr ? 2 - c : c;

        p.at[c] = out + (size_t)model_channel * plane + start;
        p.gain[c] = f->scale / f->std[model_channel];
        p.offset[c] = -f->mean[model_channel] / f->std[model_channel];
    }
    return p;
}

static void paint(float *p, int n, float v)
{
    for (int i = 0; i < n; i++)
        p[i] = v;
}

static void paint_padding(const struct letterbox *lb, const struct tensor_format *f, float *out)
{
    const int w = lb->input_width, h = lb->input_height;
    const int right = lb->pad_left + lb->resized_width;

    for (int c = 0; c < 3; c++) {
        float v = ((float)f->fill * f->scale - f->mean[c]) / f->std[c];

        for (int y = 0; y < h; y++, out += w) {
            if (y < lb->pad_top || y >= lb->pad_top + lb->resized_height) {
                paint(out, w, v);
            } else {
                paint(out, lb->pad_left, v);
                paint(out + right, w - right, v);
            }
        }
    }
}

/* The picture has the very size: cameras and models are often chosen to match. */
static void copy_rows(const struct letterbox *lb, const struct planes *planes,
                      const struct image *img)
{
    const size_t w = (size_t)img->width;

    for (int y = 0; y < img->height; y++) {
        const uint8_t *from = img->rgb + (size_t)y * w * 3;
        size_t at = (size_t)y * (size_t)lb->input_width;

        for (int c = 0; c < 3; c++) {
            float *restrict to = planes->at[c] + at;
            const float gain = planes->gain[c], offset = planes->offset[c];

            for (size_t x = 0; x < w; x++)
                to[x] = (float)from[3 * x + (size_t)c] * gain + offset;
        }
    }
}

static int axis_init(struct axis *a, int count, int side, double step);
static void axis_done(struct axis *a);
static void stretch_row(const uint8_t *restrict from, int next, const struct axis *across, int n,
                        int16_t *restrict to);
static void blend_rows(const int16_t *restrict upper, const int16_t *restrict lower, int weight,
                       int n, float gain, float offset, float *restrict to);

static int resize_rows(const struct letterbox *lb, const struct planes *planes,
                       const struct image *img)
{
    const int n = lb->resized_width;
    const double scale_x = img->scale > 0 ? img->scale : (double)img->width / lb->picture_width;
    const double scale_y = img->scale > 0 ? img->scale : (double)img->height / lb->picture_height;
    const int next = img->width > 1 ? 3 : 0; /* bytes to the right neighbour */
    AUTO_DONE(axis) across = {0};
    AUTO_DONE(axis) down = {0};
    AUTO_FREE int16_t *rows = mem_try_alloc((size_t)n * 3, 2 * sizeof *rows,
                                            (size_t)INPUT_SIDE_MAX * 3 * 2 * sizeof *rows);
    int16_t *upper = rows, *lower;
    int have_upper = -1, have_lower = -1;

    if (!rows ||
        axis_init(&across, n, img->width, scale_x * lb->picture_width / n) < 0 ||
        axis_init(&down, lb->resized_height, img->height,
                  scale_y * lb->picture_height / lb->resized_height) < 0)
        return -ENOMEM;
    for (int x = 0; x < n; x++)
        across.from[x] *= 3;
    lower = rows + (size_t)n * 3;

    for (int y = 0; y < lb->resized_height; y++) {
        const int want_upper = down.from[y], want_lower = MIN(want_upper + 1, img->height - 1);
        const size_t bytes = (size_t)img->width * 3;
        size_t at = (size_t)y * (size_t)lb->input_width;

        if (have_upper != want_upper && have_lower == want_upper) {
            int16_t *swap = upper;

            upper = lower;
            lower = swap;
            have_upper = have_lower;
            have_lower = -1;
        }
        if (have_upper != want_upper)
            stretch_row(img->rgb + (size_t)want_upper * bytes, next, &across, n, upper);
        if (have_lower != want_lower)
            stretch_row(img->rgb + (size_t)want_lower * bytes, next, &across, n, lower);
        have_upper = want_upper;
        have_lower = want_lower;
        for (int c = 0; c < 3; c++)
            blend_rows(upper + c * n, lower + c * n, down.weight[y], n, planes->gain[c],
                       planes->offset[c], planes->at[c] + at);
    }
    return 0;
}

/* `step` is source pixels per output pixel; centres lie at halves. Weights are never asked for
 * pixels outside: the last neighbour pair is (side - 2, side - 1). */
static int axis_init(struct axis *a, int count, int side, double step)
{
    a->from = mem_try_alloc((size_t)count, sizeof *a->from, INPUT_SIDE_MAX * sizeof *a->from);
    a->weight = mem_try_alloc((size_t)count, sizeof *a->weight, INPUT_SIDE_MAX * sizeof *a->weight);
    if (!a->from || !a->weight)
        return -ENOMEM;
    for (int i = 0; i < count; i++) {
        float at = (float)((i + 0.5) * step - 0.5); /* single precision as in OpenCV */
        int from = (int)floorf(at);
        float rest = at - (float)from;

        if (from < 0) {
            from = 0;
            rest = 0;
        }
        if (from >= side - 1) {
            from = MAX(side - 2, 0);
            rest = side > 1 ? 1 : 0;
        }
        a->from[i] = from;
        a->weight[i] = (int16_t)rintf(rest * WEIGHT_ONE);
    }
    return 0;
}

static void axis_done(struct axis *a)
{
    free(a->from);
    free(a->weight);
}

static void stretch_row(const uint8_t *restrict from, int next, const struct axis *across, int n,
                        int16_t *restrict to)
{
    const int *at = across->from;
    const int16_t *weight = across->weight;

    for (int x = 0; x < n; x++) {
        const uint8_t *p = from + at[x], *q = p + next;
        const int right = weight[x], left = WEIGHT_ONE - right;

        to[x] = (int16_t)((p[0] * left + q[0] * right) >> 4);
        to[n + x] = (int16_t)((p[1] * left + q[1] * right) >> 4);
        to[2 * n + x] = (int16_t)((p[2] * left + q[2] * right) >> 4);
    }
}

static void blend_rows(const int16_t *restrict upper, const int16_t *restrict lower, int weight,
                       int n, float gain, float offset, float *restrict to)
{
    const int16_t below = (int16_t)weight, above = (int16_t)(WEIGHT_ONE - weight);

    for (int x = 0; x < n; x++) {
        int16_t a = (int16_t)((upper[x] * above) >> 16), b = (int16_t)((lower[x] * below) >> 16);
        int16_t v = (int16_t)((a + b + 2) >> 2);

        to[x] = (float)v * gain + offset;
    }
}
