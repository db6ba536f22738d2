#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base/macros.h"
#include "base/mem.h"
#include "make_pictures.h"

static void gives_the_size_of_every_kind(void **state)
{
    (void)state;
    for (int format = PICTURE_JPEG; format < PICTURE_FORMAT_COUNT; format++) {
        static const int counts[PICTURE_FORMAT_COUNT] = {
            0, JPEG_KIND_COUNT, PNG_KIND_COUNT, WEBP_KIND_COUNT, BMP_KIND_COUNT, GIF_KIND_COUNT};

        for (int kind = 0; kind < counts[format]; kind++) {
            AUTO_DONE(bytes)
            b = format == PICTURE_JPEG   ? make_jpeg((enum jpeg_kind)kind, 37, 23, 80)
                : format == PICTURE_PNG  ? make_png((enum png_kind)kind, 37, 23)
                : format == PICTURE_WEBP ? make_webp((enum webp_kind)kind, 37, 23)
                : format == PICTURE_BMP  ? make_bmp((enum bmp_kind)kind, 37, 23)
                                         : make_gif((enum gif_kind)kind, 37, 23);
            struct picture_info info;
            struct err e;

            assert_int_equal(picture_probe(b.data, b.size, &picture_limits_default, &info, &e), 0);
            assert_int_equal(info.format, format);
            assert_int_equal(info.width, 37);
            assert_int_equal(info.height, 23);
            assert_int_equal(info.orientation, 1);
            assert_false(info.incomplete);
            assert_false(info.damaged);
            /* All formats here have an end that can be missed: half of the file has it not. */
            if (picture_probe(b.data, b.size * 4 / 5, &picture_limits_default, &info, &e) == 0)
                assert_true(info.incomplete);
        }
    }
}

static void a_turned_picture_has_its_sides_swapped(void **state)
{
    AUTO_DONE(bytes) plain = make_jpeg(JPEG_PLAIN, 40, 20, 80);

    (void)state;
    for (int o = 1; o <= 8; o++) {
        AUTO_DONE(bytes) b = with_orientation(plain, o, o % 2 == 0);
        struct picture_info info;

        assert_int_equal(picture_probe(b.data, b.size, &picture_limits_default, &info, NULL), 0);
        assert_int_equal(info.orientation, o);
        assert_int_equal(info.stored_width, 40);
        assert_int_equal(info.stored_height, 20);
        assert_int_equal(info.width, o >= 5 ? 20 : 40);
        assert_int_equal(info.height, o >= 5 ? 40 : 20);
    }
}

static void padding_and_garbage_behind_the_end_do_not_matter(void **state)
{
    static const char *const tails[] = {"\0\0\0", "\r\n", "\r\n--boundary", "junk that follows"};
    AUTO_DONE(bytes) plain = make_jpeg(JPEG_PLAIN, 40, 20, 80);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(tails); i++) {
        size_t tail = i == 0 ? 3 : strlen(tails[i]);
        AUTO_FREE uint8_t *b = xmalloc(plain.size + tail);
        struct picture_info info;

        memcpy(b, plain.data, plain.size);
        memcpy(b + plain.size, tails[i], tail);
        assert_int_equal(picture_probe(b, plain.size + tail, &picture_limits_default, &info, NULL),
                         0);
        assert_false(info.incomplete);
        assert_int_equal(picture_probe(b, plain.size - 2, &picture_limits_default, &info, NULL), 0);
        assert_true(info.incomplete);
    }
}

/* An EXIF thumbnail is a JPEG inside, with an end marker of its own. */
static void a_thumbnail_is_not_the_picture(void **state)
{
    AUTO_DONE(bytes) big = make_jpeg(JPEG_PLAIN, 64, 48, 80);
    AUTO_DONE(bytes) thumb = make_jpeg(JPEG_PLAIN, 16, 12, 50);
    size_t block = 2 + 2 + 6 + thumb.size;
    AUTO_FREE uint8_t *b = xmalloc(big.size + block);
    struct picture_info info;
    struct err e;

    (void)state;
    memcpy(b, big.data, 2);
    memcpy(b + 2, "\xff\xe1\0\0Exif\0\0", 10);
    b[4] = (uint8_t)((block - 2) >> 8);
    b[5] = (uint8_t)(block - 2);
    memcpy(b + 12, thumb.data, thumb.size);
    memcpy(b + 2 + block, big.data + 2, big.size - 2);
    assert_int_equal(picture_probe(b, big.size + block, &picture_limits_default, &info, &e), 0);
    assert_int_equal(info.width, 64);
    assert_int_equal(info.height, 48);
    assert_false(info.incomplete);
    /* Cut right behind the thumbnail's end. */
    assert_int_equal(picture_probe(b, 2 + block, &picture_limits_default, &info, &e), -EINVAL);
    assert_non_null(strstr(e.text, "JPEG ended inside its header"));
}

static void set_jpeg_size(struct bytes *b, int width, int height)
{
    for (size_t i = 0; i + 9 < b->size; i++) {
        if (b->data[i] == 0xff && b->data[i + 1] == 0xc0) {
            b->data[i + 5] = (uint8_t)(height >> 8);
            b->data[i + 6] = (uint8_t)height;
            b->data[i + 7] = (uint8_t)(width >> 8);
            b->data[i + 8] = (uint8_t)width;
            return;
        }
    }
    fail();
}

static void refuses_with_the_reason(void **state)
{
    static const struct {
        int width, height, code;
        const char *text;
    } sizes[] = {
        {0, 0, -EINVAL, "JPEG claims 0x0 pixels"},
        {10, 0, -EINVAL, "JPEG claims 10x0 pixels"},
        {65500, 65500, -EFBIG,
         "JPEG claims 65500x65500 = 4290.2 megapixels, more than the limit of 120 (pixels_max)"},
    };
    AUTO_DONE(bytes) b = make_jpeg(JPEG_PLAIN, 16, 16, 80);
    struct picture_limits limits = picture_limits_default;
    struct picture_info info;
    struct err e;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        set_jpeg_size(&b, sizes[i].width, sizes[i].height);
        assert_int_equal(picture_probe(b.data, b.size, &limits, &info, &e), sizes[i].code);
        assert_string_equal(e.text, sizes[i].text);
        assert_int_equal(e.retry, ERR_NEVER);
    }
    limits.bytes_max = 100;
    assert_int_equal(picture_probe(b.data, b.size, &limits, &info, &e), -EFBIG);
    assert_non_null(strstr(e.text, "(bytes_max)"));
    assert_int_equal(picture_probe("<html>", 6, &limits, &info, &e), -EINVAL);
    assert_string_equal(e.text, "not a picture: an HTML page");
    assert_int_equal(picture_probe("", 0, &limits, &info, &e), -EINVAL);
    assert_string_equal(e.text, "not a picture: empty");
}

static void the_limit_itself_is_allowed(void **state)
{
    AUTO_DONE(bytes) b = make_jpeg(JPEG_PLAIN, 40, 20, 80);
    struct picture_limits limits = picture_limits_default;
    struct picture_info info;

    (void)state;
    limits.pixels_max = 800;
    limits.bytes_max = b.size;
    assert_int_equal(picture_probe(b.data, b.size, &limits, &info, NULL), 0);
    limits.pixels_max = 799;
    assert_int_equal(picture_probe(b.data, b.size, &limits, &info, NULL), -EFBIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_the_size_of_every_kind),
        cmocka_unit_test(a_turned_picture_has_its_sides_swapped),
        cmocka_unit_test(padding_and_garbage_behind_the_end_do_not_matter),
        cmocka_unit_test(a_thumbnail_is_not_the_picture),
        cmocka_unit_test(refuses_with_the_reason),
        cmocka_unit_test(the_limit_itself_is_allowed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
