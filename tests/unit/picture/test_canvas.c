#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base/macros.h"
#include "picture/canvas.h"

#define W 3
#define H 2

/* A 3x2 picture a b c / d e f under all eight orientations, as EXIF draws them. */
static void puts_rows_where_the_orientation_wants_them(void **state)
{
    static const char *const upright[] = {NULL,
                                          "abc"
                                          "def",
                                          "cba"
                                          "fed",
                                          "fed"
                                          "cba",
                                          "def"
                                          "abc",
                                          "ad"
                                          "be"
                                          "cf",
                                          "da"
                                          "eb"
                                          "fc",
                                          "fc"
                                          "eb"
                                          "da",
                                          "cf"
                                          "be"
                                          "ad"};

    (void)state;
    for (int o = 1; o <= 8; o++) {
        AUTO_DONE(canvas) c;
        struct err e;

        canvas_init(&c, o, 1, 1000);
        assert_int_equal(c.sink.begin(&c.sink, W, H, &e), 0);
        for (int y = 0; y < H; y++) {
            uint8_t *row = c.sink.row(&c.sink);

            for (int x = 0; x < W; x++)
                memset(row + 3 * x, 'a' + y * W + x, 3);
            c.sink.put(&c.sink);
        }
        assert_int_equal(c.img->width, o >= 5 ? H : W);
        assert_int_equal(c.img->height, o >= 5 ? W : H);
        for (int i = 0; i < W * H; i++) {
            for (int k = 0; k < 3; k++)
                assert_int_equal(c.img->rgb[3 * i + k], upright[o][i]);
        }
    }
}

static void shrinks_to_the_mean_of_blocks(void **state)
{
    AUTO_DONE(canvas) c;
    struct err e;

    (void)state;
    canvas_init(&c, 1, 2, 1000);
    assert_int_equal(c.sink.begin(&c.sink, 3, 3, &e), 0);
    for (int y = 0; y < 3; y++) {
        uint8_t *row = c.sink.row(&c.sink);

        for (int x = 0; x < 9; x++)
            row[x] = (uint8_t)(10 * y + x / 3);
        c.sink.put(&c.sink);
    }
    assert_int_equal(c.img->width, 2);
    assert_int_equal(c.img->height, 2);
    assert_int_equal(c.img->rgb[0], (0 + 1 + 10 + 11 + 2) / 4); /* rounded */
    assert_int_equal(c.img->rgb[3], (2 + 12) / 2);
    assert_int_equal(c.img->rgb[6], (20 + 21 + 1) / 2);
    assert_int_equal(c.img->rgb[9], 22);
}

static void rows_that_never_came_are_grey(void **state)
{
    (void)state;
    for (int factor = 1; factor <= 3; factor++) {
        AUTO_DONE(canvas) c;
        struct err e;

        canvas_init(&c, 6, factor, 1000);
        assert_int_equal(c.sink.begin(&c.sink, 4, 9, &e), 0);
        memset(c.sink.row(&c.sink), CANVAS_GREY, 12);
        c.sink.put(&c.sink);
        canvas_fill_rest(&c);
        for (int i = 0; i < c.img->width * c.img->height * 3; i++)
            assert_int_equal(c.img->rgb[i], CANVAS_GREY);
    }
}

static void refuses_more_than_the_memory_limit(void **state)
{
    AUTO_DONE(canvas) c;
    struct err e;

    (void)state;
    canvas_init(&c, 1, 1, 29999);
    assert_int_equal(c.sink.begin(&c.sink, 100, 100, &e), -ENOMEM);
    assert_non_null(strstr(e.text, "100x100"));
    assert_non_null(strstr(e.text, "memory_max"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(puts_rows_where_the_orientation_wants_them),
        cmocka_unit_test(shrinks_to_the_mean_of_blocks),
        cmocka_unit_test(rows_that_never_came_are_grey),
        cmocka_unit_test(refuses_more_than_the_memory_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
