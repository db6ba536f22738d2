#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "base/mem.h"
#include "picture/letterbox.h"

static const struct tensor_format plain = {.scale = 1, .std = {1, 1, 1}, .fill = 114};

/* Computed by Ultralytics' own formula, round half to even. */
static void geometry_is_that_of_ultralytics(void **state)
{
    static const struct {
        int width, height, input_width, input_height;
        int resized_width, resized_height, left, top;
    } cases[] = {
        {1280, 720, 640, 640, 640, 360, 0, 140},
        {810, 1080, 640, 640, 480, 640, 80, 0},
        {810, 1080, 416, 416, 312, 416, 52, 0},
        {640, 640, 640, 640, 640, 640, 0, 0},
        {640, 411, 640, 640, 640, 411, 0, 114},
        {320, 240, 640, 640, 640, 480, 0, 80},
        {4000, 8, 640, 640, 640, 1, 0, 319},
        {7, 3000, 640, 640, 1, 640, 319, 0},
        {65535, 1, 416, 416, 416, 1, 0, 207},
        {1, 1, 416, 416, 416, 416, 0, 0},
        {768, 576, 416, 416, 416, 312, 0, 52},
        {1280, 720, 640, 384, 640, 360, 0, 12},
        {539, 719, 640, 640, 480, 640, 80, 0},
        {1000, 333, 640, 640, 640, 213, 0, 213},
        {2, 5, 6, 5, 2, 5, 2, 0},
        {1280, 5, 640, 640, 640, 2, 0, 319},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct letterbox lb = letterbox_compute(LETTERBOX_CENTRE, cases[i].width, cases[i].height,
                                                cases[i].input_width, cases[i].input_height);

        assert_int_equal(lb.resized_width, cases[i].resized_width);
        assert_int_equal(lb.resized_height, cases[i].resized_height);
        assert_int_equal(lb.pad_left, cases[i].left);
        assert_int_equal(lb.pad_top, cases[i].top);
        assert_true(lb.pad_left + lb.resized_width <= lb.input_width);
        assert_true(lb.pad_top + lb.resized_height <= lb.input_height);
        assert_true(lb.scale_x == lb.scale_y);
    }
}

static void yolox_stands_at_the_top_left_and_stretch_fills(void **state)
{
    struct letterbox lb = letterbox_compute(LETTERBOX_TOP_LEFT, 1280, 721, 416, 416);

    (void)state;
    assert_int_equal(lb.resized_width, 416);
    assert_int_equal(lb.resized_height, 234); /* 234.325 cut */
    assert_int_equal(lb.pad_left, 0);
    assert_int_equal(lb.pad_top, 0);
    lb = letterbox_compute(LETTERBOX_STRETCH, 1280, 720, 416, 320);
    assert_int_equal(lb.resized_width, 416);
    assert_int_equal(lb.resized_height, 320);
    assert_true(lb.scale_x == 416.0 / 1280 && lb.scale_y == 320.0 / 720);
}

static void boxes_map_back_and_are_clipped(void **state)
{
    struct letterbox lb = letterbox_compute(LETTERBOX_CENTRE, 1280, 720, 640, 640);
    struct box b = letterbox_to_picture(&lb, (struct box){10, 150, 630, 490});

    (void)state;
    assert_true(b.x1 == 20 && b.y1 == 20 && b.x2 == 1260 && b.y2 == 700);
    b = letterbox_to_picture(&lb, (struct box){-50, 0, 700, 1e9F});
    assert_true(b.x1 == 0 && b.y1 == 0 && b.x2 == 1280 && b.y2 == 720);
    b = letterbox_to_picture(&lb, (struct box){NAN, NAN, INFINITY, -INFINITY});
    assert_true(b.x1 == 0 && b.y1 == 0 && b.x2 == 1280 && b.y2 == 0);
}

static struct image *noise_image(int width, int height)
{
    struct image *img = xcalloc(1, sizeof *img);
    unsigned state = 7;

    img->width = width;
    img->height = height;
    img->rgb = xmalloc((size_t)width * (size_t)height * 3);
    for (int i = 0; i < width * height * 3; i++) {
        state = state * 1664525U + 1013904223U;
        img->rgb[i] = (uint8_t)(state >> 24);
    }
    return img;
}

/* The definition in floating point, pixel by pixel. */
static double reference(const struct image *img, double x, double y, int c)
{
    double fx = fmin(fmax(x, 0), img->width - 1), fy = fmin(fmax(y, 0), img->height - 1);
    int x0 = (int)fx, y0 = (int)fy;
    int x1 = MIN(x0 + 1, img->width - 1), y1 = MIN(y0 + 1, img->height - 1);
    double wx = fx - x0, wy = fy - y0;
    const uint8_t *p = img->rgb;
    int w = img->width;

#define AT(x, y) p[((y)*w + (x)) * 3 + c]
    return (AT(x0, y0) * (1 - wx) + AT(x1, y0) * wx) * (1 - wy) +
           (AT(x0, y1) * (1 - wx) + AT(x1, y1) * wx) * wy;
#undef AT
}

static void resizing_is_bilinear_with_half_pixel_centres(void **state)
{
    static const struct {
        int width, height, input_width, input_height;
    } cases[] = {{97, 61, 64, 64},   {61, 97, 64, 96}, {13, 17, 64, 64}, {64, 64, 64, 64},
                 {128, 128, 64, 64}, {400, 3, 64, 64}, {3, 400, 64, 64}, {1, 1, 32, 32},
                 {1, 9, 32, 32},     {9, 1, 32, 32},   {65, 64, 64, 64}, {640, 30, 33, 47}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const int iw = cases[i].input_width, ih = cases[i].input_height;
        AUTO(image) img = noise_image(cases[i].width, cases[i].height);
        AUTO_FREE float *out = xmalloc((size_t)iw * (size_t)ih * 3 * sizeof *out);

        for (int mode = LETTERBOX_CENTRE; mode <= LETTERBOX_STRETCH; mode++) {
            struct letterbox lb =
                letterbox_compute((enum letterbox_mode)mode, img->width, img->height, iw, ih);
            double sx = (double)img->width / lb.resized_width;
            double sy = (double)img->height / lb.resized_height;

            assert_int_equal(letterbox_fill(&lb, &plain, img, out), 0);
            for (int n = 0; n < iw * ih * 3; n++) {
                int c = n / (iw * ih), x = n % iw - lb.pad_left, y = n / iw % ih - lb.pad_top;
                bool inside = x >= 0 && y >= 0 && x < lb.resized_width && y < lb.resized_height;
                double want =
                    inside ? reference(img, (x + 0.5) * sx - 0.5, (y + 0.5) * sy - 0.5, c) : 114;

                if (fabs(out[n] - want) > (inside ? 1.01 : 0))
                    fail_msg("case %zu mode %d at %d,%d,%d: %g instead of %g", i, mode, x, y, c,
                             (double)out[n], want);
            }
        }
    }
}

static void numbers_are_what_the_model_wants(void **state)
{
    static const struct tensor_format nanodet = {
        .bgr = true,
        .scale = 1,
        .mean = {103.53F, 116.28F, 123.675F},
        .std = {57.375F, 57.12F, 58.395F},
        .fill = 0,
    };
    uint8_t rgb[] = {200, 100, 50};
    struct image img = {.width = 1, .height = 1, .rgb = rgb};
    struct letterbox lb = letterbox_compute(LETTERBOX_TOP_LEFT, 1, 1, 2, 1);
    float out[6];

    (void)state;
    assert_int_equal(letterbox_fill(&lb, &nanodet, &img, out), 0);
    assert_true(fabsf(out[0] - (50 - 103.53F) / 57.375F) < 1e-5F); /* blue first */
    assert_true(fabsf(out[1] - (0 - 103.53F) / 57.375F) < 1e-5F);  /* padding */
    assert_true(fabsf(out[2] - (100 - 116.28F) / 57.12F) < 1e-5F);
    assert_true(fabsf(out[4] - (200 - 123.675F) / 58.395F) < 1e-5F);
    assert_true(fabsf(out[5] - (0 - 123.675F) / 58.395F) < 1e-5F);
}

/* The same pixels must come out whether the decoder shrank or not: a ramp is the same ramp. */
static void a_scaled_decode_keeps_the_geometry(void **state)
{
    enum { WIDTH = 1001, HEIGHT = 701, SIDE = 160 };

    (void)state;
    for (int factor = 1; factor <= 4; factor *= 2) {
        int w = (WIDTH + factor - 1) / factor, h = (HEIGHT + factor - 1) / factor;
        struct image img = {.width = w, .height = h, .scale = 1.0 / factor};
        struct letterbox lb = letterbox_compute(LETTERBOX_CENTRE, WIDTH, HEIGHT, SIDE, SIDE);
        AUTO_FREE float *out = xmalloc(sizeof *out * SIDE * SIDE * 3);

        img.rgb = xmalloc((size_t)w * (size_t)h * 3);
        for (int y = 0; y < h; y++) {
            for (int x = 0; x < w; x++) {
                uint8_t *p = img.rgb + 3 * (y * w + x);

                /* a pixel of the small picture stands for a block of the large one */
                p[0] = (uint8_t)lrint(fmin(((x + 0.5) * factor) / 4, 255));
                p[1] = (uint8_t)lrint(fmin(((y + 0.5) * factor) / 4, 255));
                p[2] = 0;
            }
        }
        assert_int_equal(letterbox_fill(&lb, &plain, &img, out), 0);
        for (int y = 1; y < lb.resized_height - 1; y++) {
            for (int x = 1; x < lb.resized_width - 1; x++) {
                int at = (y + lb.pad_top) * SIDE + x + lb.pad_left;

                assert_true(fabs(out[at] - (x + 0.5) * WIDTH / lb.resized_width / 4) < 1.2);
                assert_true(
                    fabs(out[SIDE * SIDE + at] - (y + 0.5) * HEIGHT / lb.resized_height / 4) < 1.2);
            }
        }
        free(img.rgb);
    }
}

static void missing_memory_is_an_error(void **state)
{
    AUTO(image) img = noise_image(50, 40);
    struct letterbox lb = letterbox_compute(LETTERBOX_CENTRE, 50, 40, 32, 32);
    AUTO_FREE float *out = xmalloc(sizeof *out * 32 * 32 * 3);
    uint64_t count;

    (void)state;
    mem_fail_at(0);
    assert_int_equal(letterbox_fill(&lb, &plain, img, out), 0);
    count = mem_try_count();
    for (uint64_t n = 1; n <= count; n++) {
        mem_fail_at(n);
        assert_int_equal(letterbox_fill(&lb, &plain, img, out), -ENOMEM);
    }
    mem_fail_at(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(geometry_is_that_of_ultralytics),
        cmocka_unit_test(yolox_stands_at_the_top_left_and_stretch_fills),
        cmocka_unit_test(boxes_map_back_and_are_clipped),
        cmocka_unit_test(resizing_is_bilinear_with_half_pixel_centres),
        cmocka_unit_test(numbers_are_what_the_model_wants),
        cmocka_unit_test(a_scaled_decode_keeps_the_geometry),
        cmocka_unit_test(missing_memory_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
