#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base/macros.h"
#include "base/mem.h"
#include "make_pictures.h"
#include "picture/letterbox.h"

#define L (&picture_limits_default)

static struct image *decode(struct bytes b, int cover_width, int cover_height,
                            struct picture_info *info)
{
    struct image *img = NULL;
    struct err e = {0};
    int r = picture_decode(b.data, b.size, L, cover_width, cover_height, &img, info, &e);

    if (r < 0)
        fail_msg("%s", e.text);
    return img;
}

static void check_scene(struct bytes b, int width, int height)
{
    struct picture_info info;
    AUTO(image) img = decode(b, 0, 0, &info);

    assert_int_equal(img->width, width);
    assert_int_equal(img->height, height);
    assert_int_equal(info.width, width);
    assert_int_equal(info.height, height);
    assert_false(info.damaged);
    assert_true(img->scale == 1);
}

static void decodes_every_jpeg(void **state)
{
    (void)state;
    for (int kind = 0; kind < JPEG_KIND_COUNT; kind++) {
        AUTO_DONE(bytes) b = make_jpeg((enum jpeg_kind)kind, 51, 37, 90);
        struct picture_info info;
        AUTO(image) img = decode(b, 0, 0, &info);

        check_scene(b, 51, 37);
        assert_int_equal(info.format, PICTURE_JPEG);
        if (kind == JPEG_GREY)
            assert_int_equal(quarter_at(img, 40, 30), WHITE);
        else
            assert_true(is_scene(img));
    }
}

static void decodes_every_png(void **state)
{
    (void)state;
    for (int kind = 0; kind < PNG_KIND_COUNT; kind++) {
        bool colour = kind != PNG_GREY && kind != PNG_GREY_ALPHA && kind != PNG_ONE_BIT &&
                      kind != PNG_GREY_16;
        AUTO_DONE(bytes) b = make_png((enum png_kind)kind, 51, 37);
        struct picture_info info;
        AUTO(image) img = decode(b, 0, 0, &info);

        check_scene(b, 51, 37);
        if (colour)
            assert_true(is_scene(img));
        else
            assert_int_equal(quarter_at(img, 40, 30), WHITE);
    }
}

static void decodes_every_webp(void **state)
{
    (void)state;
    for (int kind = 0; kind < WEBP_KIND_COUNT; kind++) {
        AUTO_DONE(bytes) b = make_webp((enum webp_kind)kind, 51, 37);
        struct picture_info info;
        AUTO(image) img = decode(b, 0, 0, &info);

        check_scene(b, 51, 37);
        assert_true(is_scene(img));
    }
}

static void decodes_every_bmp(void **state)
{
    (void)state;
    for (int kind = 0; kind < BMP_KIND_COUNT; kind++) {
        AUTO_DONE(bytes) b = make_bmp((enum bmp_kind)kind, 51, 37);
        struct picture_info info;
        AUTO(image) img = decode(b, 0, 0, &info);

        check_scene(b, 51, 37);
        if (kind == BMP_1) /* two colours only */
            assert_int_equal(quarter_at(img, 40, 30), GREEN);
        else
            assert_true(is_scene(img));
    }
}

static void decodes_the_first_frame_of_every_gif(void **state)
{
    (void)state;
    for (int kind = 0; kind < GIF_KIND_COUNT; kind++) {
        AUTO_DONE(bytes) b = make_gif((enum gif_kind)kind, 51, 37);
        struct picture_info info;
        AUTO(image) img = decode(b, 0, 0, &info);

        check_scene(b, 51, 37);
        assert_true(is_scene(img));
    }
}

/* Where the stored quarters (red green / blue white) stand once the picture is upright. */
static void all_eight_orientations_are_obeyed(void **state)
{
    static const int upright[9][4] = {
        {0},
        {RED, GREEN, BLUE, WHITE},
        {GREEN, RED, WHITE, BLUE},
        {WHITE, BLUE, GREEN, RED},
        {BLUE, WHITE, RED, GREEN},
        {RED, BLUE, GREEN, WHITE},
        {BLUE, RED, WHITE, GREEN},
        {WHITE, GREEN, BLUE, RED},
        {GREEN, WHITE, RED, BLUE},
    };
    AUTO_DONE(bytes) plain = make_jpeg(JPEG_PLAIN, 160, 64, 90);

    (void)state;
    for (int o = 1; o <= 8; o++) {
        AUTO_DONE(bytes) b = with_orientation(plain, o, o % 2 == 0);

        for (int cover = 0; cover <= 1; cover++) { /* whole and scaled */
            struct picture_info info;
            AUTO(image) img = decode(b, cover ? (o >= 5 ? 16 : 40) : 0, cover ? 16 : 0, &info);
            int w = img->width, h = img->height;

            assert_int_equal(info.width, o >= 5 ? 64 : 160);
            assert_int_equal(w, (o >= 5 ? 64 : 160) / (cover ? 4 : 1));
            assert_int_equal(h, (o >= 5 ? 160 : 64) / (cover ? 4 : 1));
            assert_int_equal(quarter_at(img, w / 4, h / 4), upright[o][0]);
            assert_int_equal(quarter_at(img, w * 3 / 4, h / 4), upright[o][1]);
            assert_int_equal(quarter_at(img, w / 4, h * 3 / 4), upright[o][2]);
            assert_int_equal(quarter_at(img, w * 3 / 4, h * 3 / 4), upright[o][3]);
        }
    }
}

static void the_scaled_picture_covers_and_is_not_larger_than_needed(void **state)
{
    static const struct {
        int width, height, cover_width, cover_height, jpeg_width, jpeg_height, factor;
    } cases[] = {
        {640, 480, 0, 0, 640, 480, 1},     {640, 480, 640, 480, 640, 480, 1},
        {640, 480, 321, 240, 640, 480, 1}, {640, 480, 320, 240, 320, 240, 2},
        {640, 480, 160, 121, 320, 240, 3}, {640, 480, 160, 120, 160, 120, 4},
        {640, 480, 1, 1, 80, 60, 480},     {640, 480, 1000, 10, 640, 480, 1},
        {641, 479, 81, 60, 81, 60, 7},     {4000, 8, 640, 1, 1000, 2, 6},
        {7, 3000, 1, 640, 2, 750, 4},      {1, 1, 1, 1, 1, 1, 1},
        {17, 9, 100, 100, 17, 9, 1},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int w = cases[i].width, h = cases[i].height, k = cases[i].factor;
        AUTO_DONE(bytes) jpeg = make_jpeg(JPEG_PLAIN, w, h, 80);
        AUTO_DONE(bytes) png = make_png(PNG_RGB, w, h);
        AUTO_DONE(bytes) webp = make_webp(WEBP_LOSSY, w, h);
        struct picture_info info;
        AUTO(image) a = decode(jpeg, cases[i].cover_width, cases[i].cover_height, &info);
        AUTO(image) b = decode(png, cases[i].cover_width, cases[i].cover_height, &info);
        AUTO(image) c = decode(webp, cases[i].cover_width, cases[i].cover_height, &info);

        assert_int_equal(a->width, cases[i].jpeg_width);
        assert_int_equal(a->height, cases[i].jpeg_height);
        assert_int_equal(b->width, (w + k - 1) / k);
        assert_int_equal(b->height, (h + k - 1) / k);
        assert_int_equal(c->width, b->width);
        assert_int_equal(c->height, b->height);
        assert_true(b->scale == 1.0 / k);
        if (w > 100 && h > 100 && k < 100) {
            assert_true(is_scene(a));
            assert_true(is_scene(b));
            assert_true(is_scene(c));
        }
    }
}

static void a_cut_file_gives_what_was_there_and_grey(void **state)
{
    struct bytes files[] = {
        make_jpeg(JPEG_PLAIN, 200, 200, 95), make_jpeg(JPEG_PROGRESSIVE, 200, 200, 95),
        make_png(PNG_RGB, 400, 400),         make_webp(WEBP_LOSSY, 400, 400),
        make_bmp(BMP_TOP_DOWN, 200, 200),    make_gif(GIF_PLAIN, 400, 400),
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        /* Most of so plain a WebP are the modes of all its blocks, which stand first. */
        size_t kept = files[i].size * (i == 3 ? 19 : 15) / 20;
        struct bytes cut = {files[i].data, kept};
        struct picture_info info;
        AUTO(image) img = decode(cut, 0, 0, &info);

        assert_true(info.damaged);
        assert_true(info.incomplete);
        assert_int_equal(quarter_at(img, img->width / 4, img->height / 8), RED);
        if (i != 1) /* a progressive file is there as a whole from the first scan on */
            assert_int_equal(img->rgb[(size_t)img->width * (size_t)img->height * 3 - 2], 128);
    }
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        bytes_done(&files[i]);
}

static void headers_without_pixels_are_refused(void **state)
{
    AUTO_DONE(bytes) b = make_jpeg(JPEG_PLAIN, 200, 100, 90);
    struct image *img = NULL;
    struct picture_info info;
    struct err e;
    size_t scan = 0;

    (void)state;
    for (size_t i = 0; i + 1 < b.size && scan == 0; i++)
        scan = b.data[i] == 0xff && b.data[i + 1] == 0xda ? i : 0;
    assert_int_equal(picture_decode(b.data, scan + 14, L, 0, 0, &img, &info, &e), -EINVAL);
    assert_string_equal(e.text, "JPEG of 200x100 without any readable pixels");
    assert_int_equal(picture_decode(b.data, scan, L, 0, 0, &img, &info, &e), -EINVAL);
    assert_non_null(strstr(e.text, "JPEG of 200x100 ended before its pixels"));
    assert_null(img);
}

static void what_needs_more_than_the_memory_limit_is_refused_by_name(void **state)
{
    static const struct {
        const char *what;
        int cover; /* even a small cover does not help these */
    } cases[] = {{"picture of 400x300 needs", 0},
                 {"progressive JPEG of 400x300 needs", 50},
                 {"interlaced PNG of 400x300 needs", 50},
                 {"lossless WebP of 400x300 needs", 50}};
    struct picture_limits limits = picture_limits_default;

    (void)state;
    limits.memory_max = 200000;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO_DONE(bytes)
        b = i == 0   ? make_jpeg(JPEG_PLAIN, 400, 300, 80)
            : i == 1 ? make_jpeg(JPEG_PROGRESSIVE, 400, 300, 80)
            : i == 2 ? make_png(PNG_INTERLACED, 400, 300)
                     : make_webp(WEBP_LOSSLESS, 400, 300);
        struct image *img = NULL;
        struct picture_info info;
        struct err e;

        assert_int_equal(picture_decode(b.data, b.size, &limits, cases[i].cover, cases[i].cover,
                                        &img, &info, &e),
                         -ENOMEM);
        assert_non_null(strstr(e.text, cases[i].what));
        assert_non_null(strstr(e.text, "(memory_max)"));
        assert_null(img);
    }
}

/* Whichever way the rows take, the numbers are the same. */
static void a_picture_decoded_into_the_input_gives_the_same_numbers(void **state)
{
    enum { SIDE = 64 };
    static const struct tensor_format format = {.scale = 1 / 255.0F, .std = {1, 1, 1}, .fill = 114};
    static const struct {
        int width, height, orientation;
        double cover;
    } cases[] = {{97, 61, 1, 1},   {61, 97, 1, 1},     {64, 48, 1, 1},   {64, 64, 1, 2.5},
                 {700, 300, 1, 1}, {700, 300, 1, 2.5}, {3, 400, 1, 1},   {400, 3, 1, 1},
                 {1, 1, 1, 1},     {1, 9, 1, 1},       {200, 100, 6, 1}, {130, 131, 3, 2}};
    AUTO_FREE float *streamed = xmalloc(sizeof(float) * SIDE * SIDE * 3);
    AUTO_FREE float *filled = xmalloc(sizeof(float) * SIDE * SIDE * 3);
    struct err e = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (int kind = 0; kind < JPEG_KIND_COUNT; kind++) {
            AUTO_DONE(bytes)
            b = with_orientation(
                make_jpeg((enum jpeg_kind)kind, cases[i].width, cases[i].height, 90),
                cases[i].orientation, true);
            struct picture_info info, info2;

            assert_int_equal(picture_probe(b.data, b.size, L, &info, &e), 0);
            struct letterbox lb =
                letterbox_compute(LETTERBOX_CENTRE, info.width, info.height, SIDE, SIDE);
            int r = letterbox_decode(b.data, b.size, L, &lb, cases[i].cover, &format, streamed,
                                     &info2, &e);
            if (r < 0)
                fail_msg("case %zu kind %d: %s", i, kind, e.text);
            AUTO(image)
            img = decode(b, (int)(lb.resized_width * cases[i].cover),
                         (int)(lb.resized_height * cases[i].cover), &info);
            assert_int_equal(letterbox_fill(&lb, &format, img, filled), 0);
            if (memcmp(streamed, filled, sizeof(float) * SIDE * SIDE * 3) != 0)
                fail_msg("case %zu kind %d differs", i, kind);
            assert_int_equal(info2.width, info.width);
            assert_int_equal(info2.damaged, false);
        }
    }
}

static void a_broken_picture_decoded_into_the_input_is_what_it_is_elsewhere(void **state)
{
    enum { SIDE = 64 };
    static const struct tensor_format format = {.scale = 1, .std = {1, 1, 1}};
    AUTO_FREE float *streamed = xmalloc(sizeof(float) * SIDE * SIDE * 3);
    AUTO_FREE float *filled = xmalloc(sizeof(float) * SIDE * SIDE * 3);
    AUTO_DONE(bytes) b = make_jpeg(JPEG_PLAIN, 200, 200, 90);
    struct letterbox lb = letterbox_compute(LETTERBOX_CENTRE, 200, 200, SIDE, SIDE);
    int good = 0, bad = 0;

    (void)state;
    for (size_t size = 3; size < b.size; size += b.size / 37) {
        struct picture_info info, info2;
        struct err e = {0}, e2 = {0};
        AUTO(image) img = NULL;
        int r = picture_decode(b.data, size, L, SIDE, SIDE, &img, &info, &e);
        int r2 = letterbox_decode(b.data, size, L, &lb, 1, &format, streamed, &info2, &e2);

        assert_int_equal(r2, r);
        if (r < 0) {
            assert_string_equal(e2.text, e.text);
            bad++;
            continue;
        }
        assert_true(info.damaged && info2.damaged);
        assert_int_equal(letterbox_fill(&lb, &format, img, filled), 0);
        assert_memory_equal(streamed, filled, sizeof(float) * SIDE * SIDE * 3);
        good++;
    }
    assert_true(good > 5 && bad > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_every_jpeg),
        cmocka_unit_test(decodes_every_png),
        cmocka_unit_test(decodes_every_webp),
        cmocka_unit_test(decodes_every_bmp),
        cmocka_unit_test(decodes_the_first_frame_of_every_gif),
        cmocka_unit_test(all_eight_orientations_are_obeyed),
        cmocka_unit_test(the_scaled_picture_covers_and_is_not_larger_than_needed),
        cmocka_unit_test(a_cut_file_gives_what_was_there_and_grey),
        cmocka_unit_test(headers_without_pixels_are_refused),
        cmocka_unit_test(what_needs_more_than_the_memory_limit_is_refused_by_name),
        cmocka_unit_test(a_picture_decoded_into_the_input_gives_the_same_numbers),
        cmocka_unit_test(a_broken_picture_decoded_into_the_input_is_what_it_is_elsewhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
