#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <math.h>
#include <string.h>

#include "base/macros.h"
#include "base/mem.h"
#include "make_pictures.h"
#include "picture/annotate.h"

#define L (&picture_limits_default)

static struct detection found_at(const char *label, float x1, float y1, float x2, float y2)
{
    struct detection d = {.confidence = 0.87F, .has_box = true, .box = {x1, y1, x2, y2}};

    strncpy(d.label, label, sizeof d.label - 1);
    return d;
}

static struct image *annotate(struct bytes b, struct detection *items, size_t count, int width_max)
{
    struct detection_list list = {items, count};
    struct picture_info info;
    struct image *img = NULL;
    struct blob *blob = NULL;
    struct err e = {0};
    int r = picture_annotate(b.data, b.size, L, &list, width_max, 95, &blob, &e);

    if (r < 0)
        fail_msg("%s", e.text);
    assert_int_equal(picture_decode(blob->data, blob->size, L, 0, 0, &img, &info, &e), 0);
    assert_int_equal(info.format, PICTURE_JPEG);
    assert_false(info.damaged);
    blob_unref(blob);
    return img;
}

static bool differs(const struct image *a, const struct image *b, int x, int y)
{
    const uint8_t *p = a->rgb + 3 * (y * a->width + x), *q = b->rgb + 3 * (y * b->width + x);
    int sum = 0;

    for (int c = 0; c < 3; c++)
        sum += abs(p[c] - q[c]);
    return sum > 90;
}

static void without_detections_it_is_the_picture(void **state)
{
    AUTO_DONE(bytes) b = make_jpeg(JPEG_PLAIN, 320, 240, 90);
    AUTO(image) img = annotate(b, NULL, 0, 0);

    (void)state;
    assert_int_equal(img->width, 320);
    assert_int_equal(img->height, 240);
    assert_true(is_scene(img));
}

static void frames_stand_where_the_box_is(void **state)
{
    struct detection d = found_at("cat", 100, 150, 300, 400);
    AUTO_DONE(bytes) b = make_png(PNG_RGB, 640, 480);
    AUTO(image) img = annotate(b, &d, 1, 0);
    AUTO(image) before = annotate(b, NULL, 0, 0);

    (void)state;
    assert_true(differs(img, before, 100, 300));  /* left */
    assert_true(differs(img, before, 300, 300));  /* right */
    assert_true(differs(img, before, 200, 400));  /* below */
    assert_false(differs(img, before, 200, 300)); /* inside */
    assert_false(differs(img, before, 320, 300)); /* outside */
}

static void boxes_follow_when_the_copy_is_smaller(void **state)
{
    struct detection d = found_at("cat", 200, 300, 600, 800);
    AUTO_DONE(bytes) b = make_png(PNG_RGB, 1280, 960);
    AUTO(image) img = annotate(b, &d, 1, 500); /* not a whole fraction */
    AUTO(image) before = annotate(b, NULL, 0, 500);
    int moved = 0;

    (void)state;
    assert_int_equal(img->width, 500);
    assert_int_equal(img->height, 375);
    for (int x = 76; x <= 80; x++) /* 200 * 500 / 1280 = 78 */
        moved += differs(img, before, x, 220);
    assert_true(moved > 0);
    assert_false(differs(img, before, 150, 220));
}

static void a_copy_is_never_enlarged(void **state)
{
    AUTO_DONE(bytes) b = make_jpeg(JPEG_PLAIN, 320, 240, 90);
    AUTO(image) img = annotate(b, NULL, 0, 1920);

    (void)state;
    assert_int_equal(img->width, 320);
}

static void turned_pictures_are_drawn_upright(void **state)
{
    AUTO_DONE(bytes) plain = make_jpeg(JPEG_PLAIN, 320, 160, 90);
    AUTO_DONE(bytes) b = with_orientation(plain, 6, true);
    AUTO(image) img = annotate(b, NULL, 0, 0);

    (void)state;
    assert_int_equal(img->width, 160);
    assert_int_equal(img->height, 320);
    assert_int_equal(quarter_at(img, 40, 80), BLUE);
}

/* Every shape and place of picture and box, and text that is not text. */
static void odd_boxes_and_labels_do_no_harm(void **state)
{
    static const int sizes[][2] = {{1, 1}, {2, 2}, {7, 600}, {800, 8}, {30, 30}, {640, 480}};
    static const float edges[] = {-1e30F, -5, 0, 0.4F, 3, 100, 1e30F, NAN};
    static const char *const labels[] = {"person", "", "\xff\xfe", "naïve \"quoted\"\n",
                                         "an uncommonly long name of a thing, really long"};

    (void)state;
    for (size_t s = 0; s < ARRAY_LEN(sizes); s++) {
        AUTO_DONE(bytes) b = make_png(PNG_RGB, sizes[s][0], sizes[s][1]);
        struct detection items[40];

        for (size_t i = 0; i < ARRAY_LEN(items); i++) {
            items[i] = found_at(labels[i % ARRAY_LEN(labels)], edges[i % 8], edges[i / 2 % 8],
                                edges[(i + 3) % 8], edges[(i / 3 + 1) % 8]);
            items[i].has_box = i % 7 != 0;
        }
        {
            AUTO(image) img = annotate(b, items, ARRAY_LEN(items), 0);

            assert_int_equal(img->width, sizes[s][0]);
            assert_int_equal(img->height, sizes[s][1]);
        }
    }
}

static void what_does_not_fit_the_memory_is_drawn_smaller(void **state)
{
    struct picture_limits limits = picture_limits_default;
    AUTO_DONE(bytes) b = make_jpeg(JPEG_PLAIN, 1000, 800, 80);
    struct detection_list none = {NULL, 0};
    struct picture_info info;
    struct blob *blob = NULL;
    struct err e;

    (void)state;
    limits.memory_max = 1000 * 1000;
    assert_int_equal(picture_annotate(b.data, b.size, &limits, &none, 0, 90, &blob, &e), 0);
    assert_int_equal(picture_probe(blob->data, blob->size, L, &info, &e), 0);
    assert_in_range(info.width, 200, 500);
    assert_in_range(info.height * 1000 / info.width, 790, 810);
    blob_unref(blob);
}

static void missing_memory_is_an_error_and_leaks_nothing(void **state)
{
    AUTO_DONE(bytes) b = make_jpeg(JPEG_PLAIN, 320, 240, 90);
    struct detection_list none = {NULL, 0};
    struct blob *blob = NULL;
    size_t live = blob_live_count();
    uint64_t count;

    (void)state;
    mem_fail_at(0);
    assert_int_equal(picture_annotate(b.data, b.size, L, &none, 100, 90, &blob, NULL), 0);
    count = mem_try_count();
    blob_unref(blob);
    for (uint64_t n = 1; n <= count; n++) {
        struct err e = {0};

        blob = NULL;
        mem_fail_at(n);
        if (picture_annotate(b.data, b.size, L, &none, 100, 90, &blob, &e) < 0) {
            assert_null(blob);
            assert_int_equal(e.code, -ENOMEM);
        }
        blob_unref(blob);
    }
    mem_fail_at(0);
    assert_int_equal(blob_live_count(), live);
}

static void what_is_no_picture_is_refused(void **state)
{
    struct detection_list none = {NULL, 0};
    struct blob *blob = NULL;
    struct err e;

    (void)state;
    assert_int_equal(picture_annotate("<html>", 6, L, &none, 0, 90, &blob, &e), -EINVAL);
    assert_string_equal(e.text, "not a picture: an HTML page");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_detections_it_is_the_picture),
        cmocka_unit_test(frames_stand_where_the_box_is),
        cmocka_unit_test(boxes_follow_when_the_copy_is_smaller),
        cmocka_unit_test(a_copy_is_never_enlarged),
        cmocka_unit_test(turned_pictures_are_drawn_upright),
        cmocka_unit_test(odd_boxes_and_labels_do_no_harm),
        cmocka_unit_test(what_does_not_fit_the_memory_is_drawn_smaller),
        cmocka_unit_test(missing_memory_is_an_error_and_leaks_nothing),
        cmocka_unit_test(what_is_no_picture_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
