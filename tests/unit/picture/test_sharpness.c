#include "picture/sharpness.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/blob.h"
#include "base/mem.h"
#include "sys/jpeg.h"

#define WIDTH 1280
#define HEIGHT 720

/* Stripes and squares of all sizes; `blur` pixels of each row are averaged, as motion does. */
static struct blob *make_scene(int blur, int quality)
{
    AUTO_FREE uint32_t *pixels = xcalloc((size_t)WIDTH * HEIGHT, sizeof(*pixels));
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++) {
            uint32_t sum = 0;
            for (int k = 0; k <= blur; k++)
                sum += ((x + k) / (3 + y / 90) + y / 40) % 2 ? 220 : 30;
            uint32_t v = sum / (uint32_t)(blur + 1);
            pixels[y * WIDTH + x] = v << 16 | v << 8 | v;
        }
    struct blob *b = NULL;
    struct err e = {0};
    assert_int_equal(jpeg_encode(pixels, WIDTH, HEIGHT, quality, &b, &e), 0);
    return b;
}

static double sharpness(const struct blob *b, bool *ret_damaged)
{
    double v = -1;
    struct err e = {0};
    if (picture_sharpness(b->data, b->size, &picture_limits_default, &v, ret_damaged, &e) < 0)
        fail_msg("%s", e.text);
    return v;
}

static void the_more_a_picture_is_blurred_the_less_it_has(void **state)
{
    (void)state;
    double before = 1e12;
    static const int blurs[] = {0, 4, 9, 20, 45};
    for (size_t i = 0; i < sizeof(blurs) / sizeof(blurs[0]); i++) {
        AUTO(blob) b = make_scene(blurs[i], 90);
        bool damaged = true;
        double v = sharpness(b, &damaged);
        assert_false(damaged);
        if (v >= before)
            fail_msg("blur of %d pixels: %f is not less than %f", blurs[i], v, before);
        before = v;
    }
}

static void a_picture_that_is_not_whole_is_told(void **state)
{
    (void)state;
    AUTO(blob) b = make_scene(0, 90);
    AUTO(blob) cut = blob_new_copy(b->data, b->size / 2);
    bool damaged = false;
    (void)sharpness(cut, &damaged);
    assert_true(damaged);
}

static void a_picture_of_nothing_has_none(void **state)
{
    (void)state;
    uint32_t grey[4] = {0x808080, 0x808080, 0x808080, 0x808080};
    AUTO(blob) tiny = NULL;
    struct err e = {0};
    assert_int_equal(jpeg_encode(grey, 2, 2, 90, &tiny, &e), 0);
    bool damaged;
    assert_true(sharpness(tiny, &damaged) == 0);
    AUTO_FREE uint32_t *pixels = xcalloc((size_t)WIDTH * HEIGHT, sizeof(*pixels));
    AUTO(blob) black = NULL;
    assert_int_equal(jpeg_encode(pixels, WIDTH, HEIGHT, 90, &black, &e), 0);
    assert_true(sharpness(black, &damaged) < 0.001);
}

static void what_is_no_picture_is_an_error(void **state)
{
    (void)state;
    double v;
    bool damaged;
    struct err e = {0};
    assert_int_equal(picture_sharpness("hello", 5, &picture_limits_default, &v, &damaged, &e),
                     -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_more_a_picture_is_blurred_the_less_it_has),
        cmocka_unit_test(a_picture_that_is_not_whole_is_told),
        cmocka_unit_test(a_picture_of_nothing_has_none),
        cmocka_unit_test(what_is_no_picture_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
