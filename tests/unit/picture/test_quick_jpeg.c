#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

#include "base/macros.h"
#include "base/mem.h"
#include "make_pictures.h"
#include "picture/canvas.h"
#include "picture/quick_jpeg.h"
#include "sys/jpeg.h"

#define MEMORY (64 << 20)

/* What the generator varies. */
struct form {
    int width, height, quality, h, v, restart;
    bool grey, optimised;
    int noise;
};

static struct bytes make(const struct form *f)
{
    struct jpeg_compress_struct c;
    struct jpeg_error_mgr errors;
    unsigned char *out = NULL;
    unsigned long size = 0;
    AUTO_FREE uint8_t *row = xmalloc((size_t)f->width * 3);
    unsigned state = 1;
    struct bytes ret;

    c.err = jpeg_std_error(&errors);
    jpeg_create_compress(&c);
    jpeg_mem_dest(&c, &out, &size);
    c.image_width = (JDIMENSION)f->width;
    c.image_height = (JDIMENSION)f->height;
    c.input_components = f->grey ? 1 : 3;
    c.in_color_space = f->grey ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_set_defaults(&c);
    jpeg_set_quality(&c, f->quality, TRUE);
    c.comp_info[0].h_samp_factor = f->h;
    c.comp_info[0].v_samp_factor = f->v;
    c.restart_interval = (unsigned)f->restart;
    c.optimize_coding = f->optimised;
    jpeg_start_compress(&c, TRUE);
    for (int y = 0; y < f->height; y++) {
        JSAMPROW rows = row;

        for (int i = 0; i < f->width * c.input_components; i++) {
            int x = i / c.input_components, slope = (x * (3 + i % 3) + y * 2) / 4 % 200;

            state = state * 1664525U + 1013904223U;
            row[i] = (uint8_t)MIN(slope + (int)((state >> 16) % (unsigned)(f->noise + 1)), 255);
        }
        jpeg_write_scanlines(&c, &rows, 1);
    }
    jpeg_finish_compress(&c);
    jpeg_destroy_compress(&c);
    ret = (struct bytes){xmemdup(out, size), size};
    free(out);
    return ret;
}

static int decode_quick(struct bytes b, int width, int height, int eighths, struct canvas *c)
{
    struct err e;

    canvas_init(c, 1, 1, MEMORY);
    return quick_jpeg_decode(b.data, b.size, width, height, eighths, &c->sink, &e);
}

static void decode_libjpeg(struct bytes b, int width, int height, int eighths, struct canvas *c)
{
    struct jpeg_request q = {width,  height, (width * eighths + 7) / 8, (height * eighths + 7) / 8,
                             MEMORY, 64};
    struct raster_result result;
    struct err e;

    canvas_init(c, 1, 1, MEMORY);
    assert_int_equal(jpeg_decode(b.data, b.size, &q, &c->sink, &result, &e), 0);
    assert_false(result.damaged);
}

static void gives_what_libjpeg_gives(void **state)
{
    static const struct form forms[] = {
        {640, 480, 75, 2, 2, 0, false, false, 8},    {640, 480, 95, 2, 2, 0, false, true, 60},
        {641, 479, 85, 2, 2, 3, false, false, 20},   {639, 481, 100, 1, 1, 0, false, false, 255},
        {333, 77, 60, 1, 1, 1, false, true, 10},     {64, 64, 30, 1, 1, 0, true, false, 100},
        {65, 63, 90, 2, 2, 0, true, false, 100},     {17, 9, 90, 2, 2, 0, false, false, 30},
        {1, 1, 75, 2, 2, 0, false, false, 0},        {2000, 3, 75, 2, 2, 7, false, false, 50},
        {3, 2000, 75, 1, 1, 2, false, false, 50},    {800, 600, 5, 2, 2, 0, false, true, 255},
        {256, 256, 100, 2, 2, 11, false, true, 255},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        AUTO_DONE(bytes) b = make(&forms[i]);

        for (int eighths = 1; eighths <= 2; eighths++) {
            AUTO_DONE(canvas) ours;
            AUTO_DONE(canvas) theirs;
            double sum = 0;
            int n, worst = 0;

            assert_int_equal(decode_quick(b, forms[i].width, forms[i].height, eighths, &ours), 0);
            decode_libjpeg(b, forms[i].width, forms[i].height, eighths, &theirs);
            assert_int_equal(ours.img->width, theirs.img->width);
            assert_int_equal(ours.img->height, theirs.img->height);
            assert_int_equal(ours.next, ours.height);
            n = ours.img->width * ours.img->height * 3;
            for (int k = 0; k < n; k++) {
                int d = abs(ours.img->rgb[k] - theirs.img->rgb[k]);

                worst = MAX(worst, d);
                sum += d;
            }
            if (worst > 4 || sum / n > 1)
                fail_msg("form %zu at %d/8: differs by %d, mean %.2f", i, eighths, worst, sum / n);
        }
    }
}

/* Colour halved in one direction: libjpeg guesses between colours, we know them. Close is enough.
 */
static void halved_columns_of_colour_are_close(void **state)
{
    static const struct form forms[] = {{640, 480, 85, 2, 1, 0, false, false, 20},
                                        {640, 480, 85, 1, 2, 5, false, false, 20}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(forms) * 2; i++) {
        const struct form *f = &forms[i / 2];
        int eighths = (int)(i % 2) + 1, n;
        AUTO_DONE(bytes) b = make(f);
        AUTO_DONE(canvas) ours;
        AUTO_DONE(canvas) theirs;
        double sum = 0;

        assert_int_equal(decode_quick(b, f->width, f->height, eighths, &ours), 0);
        decode_libjpeg(b, f->width, f->height, eighths, &theirs);
        n = ours.img->width * ours.img->height * 3;
        for (int k = 0; k < n; k++)
            sum += abs(ours.img->rgb[k] - theirs.img->rgb[k]);
        assert_true(sum / n < 6);
    }
}

static void leaves_the_unusual_to_libjpeg(void **state)
{
    static const enum jpeg_kind kinds[] = {JPEG_PROGRESSIVE, JPEG_CMYK,       JPEG_YCCK,
                                           JPEG_CMYK_PLAIN,  JPEG_ARITHMETIC, JPEG_RGB,
                                           JPEG_TWO_SCANS};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        AUTO_DONE(bytes) b = make_jpeg(kinds[i], 64, 48, 80);
        AUTO_DONE(canvas) c;

        assert_int_equal(decode_quick(b, 64, 48, 1, &c), -ENOTSUP);
    }
}

static void leaves_every_cut_and_lie_to_libjpeg(void **state)
{
    static const struct form form = {64, 48, 90, 2, 2, 3, false, false, 40};
    AUTO_DONE(bytes) b = make(&form);

    (void)state;
    for (size_t size = 4; size < b.size; size++) {
        AUTO_DONE(bytes) cut = {xmemdup(b.data, size), size};
        AUTO_DONE(canvas) c;

        assert_int_equal(decode_quick(cut, 64, 48, 2, &c), -ENOTSUP);
    }
    {
        AUTO_DONE(canvas) c;

        assert_int_equal(decode_quick(b, 65, 48, 2, &c), -ENOTSUP);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_what_libjpeg_gives),
        cmocka_unit_test(halved_columns_of_colour_are_close),
        cmocka_unit_test(leaves_the_unusual_to_libjpeg),
        cmocka_unit_test(leaves_every_cut_and_lie_to_libjpeg),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
