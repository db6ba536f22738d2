#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include "make_pictures.h"
#include "picture/picture.h"

static const struct {
    const char *bytes;
    size_t size;
    enum picture_format format;
    const char *words;
} cases[] = {
#define CASE(bytes, format, words)                                                                 \
    {                                                                                              \
        bytes, sizeof(bytes) - 1, format, words                                                    \
    }
    CASE("", PICTURE_UNKNOWN, "empty"),
    CASE("\xff\xd8\xff\xe0", PICTURE_JPEG, "a picture"),
    CASE("\xff\xd8", PICTURE_UNKNOWN, "a JPEG that ends after its first bytes"),
    CASE("\xff\xd8\0\0\0", PICTURE_UNKNOWN, "unknown binary data"),
    CASE("\x89PNG\r\n\x1a\n", PICTURE_PNG, "a picture"),
    CASE("\x89PNG", PICTURE_UNKNOWN, "a PNG that ends after its first bytes"),
    CASE("RIFF\1\0\0\0WEBP", PICTURE_WEBP, "a picture"),
    CASE("RIFF\1\0\0\0AVI ", PICTURE_UNKNOWN, "a RIFF file that is not WebP (a video or sound)"),
    CASE("GIF89a", PICTURE_GIF, "a picture"),
    CASE("BMW is a car maker, not a bitmap", PICTURE_UNKNOWN, "text"),
    CASE("<!DOCTYPE html>\n<html>", PICTURE_UNKNOWN, "an HTML page"),
    CASE("\xef\xbb\xbf \r\n<HTML lang=de>", PICTURE_UNKNOWN, "an HTML page"),
    CASE("<?xml version=\"1.0\"?>", PICTURE_UNKNOWN, "an XML document"),
    CASE("{\"error\": 401}", PICTURE_UNKNOWN, "JSON text"),
    CASE("var foscam = 1;\n", PICTURE_UNKNOWN, "text"),
    CASE("\0\0\0\0\0\0\0\0", PICTURE_UNKNOWN, "nothing but zeros"),
    CASE("\x01\x02\x03\x04\x05", PICTURE_UNKNOWN, "unknown binary data"),
    CASE("\0\0\0\x18"
         "ftypheic\0\0\0\0",
         PICTURE_UNKNOWN, "a HEIC picture, which is not supported"),
    CASE("\0\0\0\x18"
         "ftypisom\0\0\0\0",
         PICTURE_UNKNOWN, "an MP4 or QuickTime video"),
    CASE("PK\x03\x04\0\0", PICTURE_UNKNOWN, "a ZIP archive"),
    CASE("%PDF-1.7", PICTURE_UNKNOWN, "a PDF document"),
    CASE("--myboundary\r\nContent-Type: image/jpeg\r\n", PICTURE_UNKNOWN,
         "a multipart stream, not a single picture"),
#undef CASE
};

static void tells_pictures_from_what_cameras_send_instead(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bytes b = {NULL, cases[i].size};

        b.data = test_malloc(b.size + 1);
        memcpy(b.data, cases[i].bytes, b.size);
        assert_int_equal(picture_sniff(b.data, b.size), cases[i].format);
        assert_string_equal(picture_describe(b.data, b.size), cases[i].words);
        test_free(b.data);
    }
}

static void every_format_has_a_name(void **state)
{
    (void)state;
    for (int i = 0; i < PICTURE_FORMAT_COUNT; i++)
        assert_non_null(picture_format_names[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_pictures_from_what_cameras_send_instead),
        cmocka_unit_test(every_format_has_a_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
