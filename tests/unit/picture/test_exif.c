#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "picture/exif.h"

#define BIG "MM\0*\0\0\0\x08"
#define LITTLE "II*\0\x08\0\0\0"

static const struct {
    const char *what;
    const char *bytes;
    size_t size;
    int orientation;
} cases[] = {
#define CASE(what, bytes, orientation)                                                             \
    {                                                                                              \
        what, bytes, sizeof(bytes) - 1, orientation                                                \
    }
    CASE("big endian", BIG "\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0", 6),
    CASE("little endian", LITTLE "\x01\0\x12\x01\x03\0\x01\0\0\0\x08\0\0\0", 8),
    CASE("with a prefix", "Exif\0\0" BIG "\0\x01\x01\x12\0\x03\0\0\0\x01\0\x02\0\0", 2),
    CASE("second entry",
         BIG "\0\x02\x01\x0f\0\x02\0\0\0\x01\0\0\0\0\x01\x12\0\x03\0\0\0\x01\0\x03\0\0", 3),
    CASE("as a long", LITTLE "\x01\0\x12\x01\x04\0\x01\0\0\0\x05\0\0\0", 5),
    CASE("nonsense value", BIG "\0\x01\x01\x12\0\x03\0\0\0\x01\0\x09\0\0", 0),
    CASE("value zero", BIG "\0\x01\x01\x12\0\x03\0\0\0\x01\0\0\0\0", 0),
    CASE("as text", BIG "\0\x01\x01\x12\0\x02\0\0\0\x01\0\x06\0\0", 0),
    CASE("two values", BIG "\0\x01\x01\x12\0\x03\0\0\0\x02\0\x06\0\0", 0),
    CASE("no entry", BIG "\0\0", 0),
    CASE("more entries claimed than there", BIG "\xff\xff\x01\x12\0\x03", 0),
    CASE("directory outside", "MM\0*\xff\xff\xff\xf0\0\x01", 0),
    CASE("directory at the last byte", "MM\0*\0\0\0\x09\0\x01", 0),
    CASE("directory inside the header", "MM\0*\0\0\0\0\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0", 0),
    CASE("neither order", "MI\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0", 0),
    CASE("not TIFF", "MM\0+\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0", 0),
    CASE("empty", "", 0),
    CASE("prefix only", "Exif\0\0", 0),
#undef CASE
};

static void reads_the_orientation_and_nothing_else(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t *copy = test_malloc(cases[i].size + 1);

        memcpy(copy, cases[i].bytes, cases[i].size);
        if (exif_orientation(copy, cases[i].size) != cases[i].orientation)
            fail_msg("%s: %d instead of %d", cases[i].what, exif_orientation(copy, cases[i].size),
                     cases[i].orientation);
        test_free(copy);
    }
}

/* A directory with a time, and one with a second directory that has a better one. */
#define TIME "2026:01:02 03:04:05"
#define TIME_S 1767323045
static const struct {
    const char *what;
    const char *bytes;
    size_t size;
    int64_t seconds;
} times[] = {
#define CASE(what, bytes, seconds)                                                                 \
    {                                                                                              \
        what, bytes, sizeof(bytes) - 1, seconds                                                    \
    }
    CASE("DateTime, big endian", BIG "\0\x01\x01\x32\0\x02\0\0\0\x14\0\0\0\x1a\0\0\0\0" TIME "\0",
         TIME_S),
    CASE("DateTime, little endian",
         LITTLE "\x01\0\x32\x01\x02\0\x14\0\0\0\x1a\0\0\0\0\0\0\0" TIME "\0", TIME_S),
    CASE("DateTimeOriginal outranks it",
         BIG "\0\x02\x01\x32\0\x02\0\0\0\x14\0\0\0\x26\x87\x69\0\x04\0\0\0\x01\0\0\0\x3a"
             "\0\0\0\0"
             "2020:01:01 00:00:00\0"
             "\0\x01\x90\x03\0\x02\0\0\0\x14\0\0\0\x4c\0\0\0\0" TIME "\0",
         TIME_S),
    CASE("outside", BIG "\0\x01\x01\x32\0\x02\0\0\0\x14\0\0\0\x1b\0\0\0\0" TIME "\0", 0),
    CASE("of another length", BIG "\0\x01\x01\x32\0\x02\0\0\0\x13\0\0\0\x1a\0\0\0\0" TIME "\0", 0),
    CASE("never set",
         BIG "\0\x01\x01\x32\0\x02\0\0\0\x14\0\0\0\x1a\0\0\0\0"
             "    :  :     :  :  \0",
         0),
    CASE("a second directory that is the first",
         BIG "\0\x01\x87\x69\0\x04\0\0\0\x01\0\0\0\x08\0\0\0\0", 0),
#undef CASE
};

static void reads_when_the_picture_was_taken(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        for (size_t size = 0; size <= times[i].size; size++) {
            uint8_t *copy = test_malloc(size > 0 ? size : 1); /* guarded at its end */

            memcpy(copy, times[i].bytes, size);
            int64_t got = exif_time(copy, size);
            if (size == times[i].size && got != times[i].seconds)
                fail_msg("%s: %lld", times[i].what, (long long)got);
            test_free(copy);
        }
    }
}

static void survives_any_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t size = 0; size < cases[i].size; size++) {
            uint8_t *copy = test_malloc(size > 0 ? size : 1); /* guarded at its end */
            int r;

            memcpy(copy, cases[i].bytes, size);
            r = exif_orientation(copy, size);
            assert_in_range(r, 0, 8);
            test_free(copy);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_orientation_and_nothing_else),
        cmocka_unit_test(reads_when_the_picture_was_taken),
        cmocka_unit_test(survives_any_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
