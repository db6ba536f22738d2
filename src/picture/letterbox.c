#include "picture/letterbox.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/macros.h"
#include "base/mem.h"

/* The resize is OpenCV's INTER_LINEAR on bytes, bit for bit but for a rare difference of one:
 * 11-bit weights, the horizontal pass first, 4 bits dropped, then 18 in two steps. Models were
 * trained on it. Between the passes a row is kept as four words a pixel (red, green, blue,
 * nothing), which is what SSE2 makes of six bytes in a few steps; the vertical pass spreads them
 * over the planes. */

#define WEIGHT_BITS 11
#define WEIGHT_ONE (1 << WEIGHT_BITS)

#define WORDS 4 /* a pixel between the passes */

#define VECTOR_PAD 8 /* bytes behind a row that vector code may read */

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

static struct letterbox_planes find_planes(const struct letterbox *lb,
                                           const struct tensor_format *f, float *out);
static void paint_padding(const struct letterbox *lb, const struct tensor_format *f, float *out);
static void axis_done(struct letterbox_axis *a);
static int begin(struct raster_sink *s, int width, int height, struct err *e);
static uint8_t *row(struct raster_sink *s);
static void put(struct raster_sink *s);
static int start(struct letterbox_sink *s, int width, int height);
static void take_row(struct letterbox_sink *s, const uint8_t *rgb, bool padded);

void letterbox_sink_init(struct letterbox_sink *s, const struct letterbox *lb,
                         const struct tensor_format *format, double scale, float *out)
{
    *s = (struct letterbox_sink){
        .sink = {.begin = begin, .row = row, .put = put},
        .lb = lb,
        .format = format,
        .scale = scale,
        .out = out,
    };
}

void letterbox_sink_done(struct letterbox_sink *s)
{
    axis_done(&s->across);
    axis_done(&s->down);
    free(s->line);
    free(s->rows);
}

int letterbox_fill(const struct letterbox *lb, const struct tensor_format *format,
                   const struct image *img, float *out)
{
    AUTO_DONE(letterbox_sink) s;
    letterbox_sink_init(&s, lb, format, img->scale, out);
    int r = start(&s, img->width, img->height);

    for (int y = 0; r == 0 && y < img->height; y++)
        take_row(&s, img->rgb + (size_t)y * (size_t)img->width * 3, y < img->height - 1);
    return r;
}

static struct letterbox_planes find_planes(const struct letterbox *lb,
                                           const struct tensor_format *f, float *out)
{
    size_t plane = (size_t)lb->input_width * (size_t)lb->input_height;
    size_t start = (size_t)lb->pad_top * (size_t)lb->input_width + (size_t)lb->pad_left;
    struct letterbox_planes p;

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

static int axis_init(struct letterbox_axis *a, int count, int side, double step);
static void copy_row(struct letterbox_sink *s, const uint8_t *rgb);
static void stretch_row(const uint8_t *from, bool padded, int width,
                        const struct letterbox_axis *across, int n, int16_t *to);
static void blend_rows(const int16_t *upper, const int16_t *lower, int weight, int n,
                       const struct letterbox_planes *planes, size_t at);

static int begin(struct raster_sink *sink, int width, int height, struct err *e)
{
    struct letterbox_sink *s = container_of(sink, struct letterbox_sink, sink);
    int r = start(s, width, height);

    if (r == 0) {
        s->line = mem_try_alloc((size_t)width * 3 + VECTOR_PAD, 1, SIZE_MAX);
        r = s->line ? 0 : -ENOMEM;
    }
    return r < 0 ? err_set(e, r, ERR_LATER, "no memory for a row of %d pixels", width) : 0;
}

static uint8_t *row(struct raster_sink *sink)
{
    return container_of(sink, struct letterbox_sink, sink)->line;
}

static void put(struct raster_sink *sink)
{
    struct letterbox_sink *s = container_of(sink, struct letterbox_sink, sink);

    take_row(s, s->line, true);
}

static int start(struct letterbox_sink *s, int width, int height)
{
    const struct letterbox *lb = s->lb;
    const double scale_x = s->scale > 0 ? s->scale : (double)width / lb->picture_width;
    const double scale_y = s->scale > 0 ? s->scale : (double)height / lb->picture_height;
    const int n = lb->resized_width;

    s->planes = find_planes(lb, s->format, s->out);
    s->width = width;
    s->height = height;
    paint_padding(lb, s->format, s->out);
    if (width == n && height == lb->resized_height)
        return 0;
    s->rows = mem_try_alloc((size_t)n, 2 * WORDS * sizeof *s->rows,
                            INPUT_SIDE_MAX * 2 * WORDS * sizeof *s->rows);
    s->have[0] = s->have[1] = -1;
    if (!s->rows || axis_init(&s->across, n, width, scale_x * lb->picture_width / n) < 0 ||
        axis_init(&s->down, lb->resized_height, height,
                  scale_y * lb->picture_height / lb->resized_height) < 0)
        return -ENOMEM;
    return 0;
}

/* An output row is mixed of two neighbours, an even one and an odd one, each with its place. */
static void take_row(struct letterbox_sink *s, const uint8_t *rgb, bool padded)
{
    const int y = s->next++, n = s->lb->resized_width;

    if (!s->rows) {
        copy_row(s, rgb);
        return;
    }
    int16_t *places[2] = {s->rows, s->rows + (size_t)n * WORDS};
    for (; s->done < s->lb->resized_height; s->done++) {
        const int upper = s->down.from[s->done], lower = MIN(upper + 1, s->height - 1);

        if ((y == upper || y == lower) && s->have[y & 1] != y) {
            stretch_row(rgb, padded, s->width, &s->across, n, places[y & 1]);
            s->have[y & 1] = y;
        }
        if (y < lower)
            return; /* the other one is still to come */
        blend_rows(places[upper & 1], places[lower & 1], s->down.weight[s->done], n, &s->planes,
                   (size_t)s->done * (size_t)s->lb->input_width);
    }
}

/* The picture has the very size: cameras and models are often chosen to match. */
static void copy_row(struct letterbox_sink *s, const uint8_t *rgb)
{
    const size_t w = (size_t)s->width;
    const size_t at = (size_t)(s->next - 1) * (size_t)s->lb->input_width;

    for (int c = 0; c < 3; c++) {
        float *restrict to = s->planes.at[c] + at;
        const float gain = s->planes.gain[c], offset = s->planes.offset[c];

        for (size_t x = 0; x < w; x++)
            to[x] = (float)rgb[3 * x + (size_t)c] * gain + offset;
    }
}

/* `step` is source pixels per output pixel; centres lie at halves. Weights are never asked for
 * pixels outside: the last neighbour pair is (side - 2, side - 1). */
static int axis_init(struct letterbox_axis *a, int count, int side, double step)
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

static void axis_done(struct letterbox_axis *a)
{
    free(a->from);
    free(a->weight);
}

/* The vector code reads eight bytes where six count, so the last row, which may end at the end of
 * the memory, is left to the plain loop, and so are pictures one pixel wide. */
static void stretch_row(const uint8_t *from, bool padded, int width,
                        const struct letterbox_axis *across, int n, int16_t *to)
{
    const int next = width > 1 ? 3 : 0; /* bytes to the right neighbour */
    int x = 0;

#ifdef __SSE2__
    if (padded && next > 0) {
        const __m128i zero = _mm_setzero_si128();

        for (; x < n; x++) {
            const uint8_t *p = from + 3 * across->from[x];
            const int right = across->weight[x];
            /* r0 g0 b0 r1 g1 b1 .. and the same from r1 on, mixed to r0 r1 g0 g1 b0 b1 .. */
            __m128i v = _mm_unpacklo_epi8(_mm_loadl_epi64((const __m128i *)(const void *)p), zero);
            __m128i pairs = _mm_unpacklo_epi16(v, _mm_srli_si128(v, 6));
            __m128i sum = _mm_madd_epi16(pairs, _mm_set1_epi32(right << 16 | (WEIGHT_ONE - right)));

            sum = _mm_srai_epi32(sum, 4);
            _mm_storel_epi64((__m128i *)(void *)(to + WORDS * x), _mm_packs_epi32(sum, sum));
        }
    }
#endif
    for (; x < n; x++) {
        const uint8_t *p = from + 3 * across->from[x];
        const int right = across->weight[x], left = WEIGHT_ONE - right;

        for (int c = 0; c < 3; c++)
            to[WORDS * x + c] = (int16_t)((p[c] * left + p[c + next] * right) >> 4);
        to[WORDS * x + 3] = 0;
    }
}

static void blend_rows(const int16_t *upper, const int16_t *lower, int weight, int n,
                       const struct letterbox_planes *planes, size_t at)
{
    const int below = weight, above = WEIGHT_ONE - weight;
    int x = 0;

#ifdef __SSE2__
    const __m128i a = _mm_set1_epi16((int16_t)above), b = _mm_set1_epi16((int16_t)below);
    const __m128i two = _mm_set1_epi16(2), zero = _mm_setzero_si128();

    for (; x + 4 <= n; x += 4) {
        __m128i v[2], t0, t1, rg, bx, words[3];

        for (int i = 0; i < 2; i++) { /* two pixels each */
            __m128i u = _mm_loadu_si128((const __m128i *)(const void *)(upper + WORDS * x + 8 * i));
            __m128i l = _mm_loadu_si128((const __m128i *)(const void *)(lower + WORDS * x + 8 * i));

            v[i] = _mm_add_epi16(_mm_mulhi_epi16(u, a), _mm_mulhi_epi16(l, b));
            v[i] = _mm_srai_epi16(_mm_add_epi16(v[i], two), 2);
        }
        t0 = _mm_unpacklo_epi16(v[0], v[1]);
        t1 = _mm_unpackhi_epi16(v[0], v[1]);
        rg = _mm_unpacklo_epi16(t0, t1); /* r0 r1 r2 r3 g0 g1 g2 g3 */
        bx = _mm_unpackhi_epi16(t0, t1);
        words[0] = _mm_unpacklo_epi16(rg, zero);
        words[1] = _mm_unpackhi_epi16(rg, zero);
        words[2] = _mm_unpacklo_epi16(bx, zero);
        for (int c = 0; c < 3; c++) {
            __m128 f = _mm_mul_ps(_mm_cvtepi32_ps(words[c]), _mm_set1_ps(planes->gain[c]));

            _mm_storeu_ps(planes->at[c] + at + x, _mm_add_ps(f, _mm_set1_ps(planes->offset[c])));
        }
    }
#endif
    for (; x < n; x++) {
        for (int c = 0; c < 3; c++) {
            int v = ((upper[WORDS * x + c] * above) >> 16) + ((lower[WORDS * x + c] * below) >> 16);

            planes->at[c][at + (size_t)x] =
                (float)((v + 2) >> 2) * planes->gain[c] + planes->offset[c];
        }
    }
}
