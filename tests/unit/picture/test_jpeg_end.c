#include "../test.h"

#include "base/mem.h"
#include "picture/jpeg_end.h"
#include "picture/picture.h"

#define SOI "\xff\xd8"
#define APP0 "\xff\xe0\x00\x04zz"
#define SOF0 "\xff\xc0\x00\x0b\x08\x00\x08\x00\x08\x01\x01\x11\x00"
#define SOS "\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00"
#define DHT "\xff\xc4\x00\x03z"
#define PIXELS "pix\xff\x00 els\xff\xd0more"
#define EOI "\xff\xd9"
/* A picture within the header, with an end of its own. */
#define THUMBNAIL "\xff\xe1\x00\x0e" SOI "\xff\xdbsmall" EOI "z"
#define WHOLE SOI APP0 THUMBNAIL SOF0 SOS PIXELS EOI

struct sample {
    const char *what;
    const char *bytes;
    size_t size;
    bool cut;
};
#define SAMPLE(what, bytes, cut)                                                                   \
    {                                                                                              \
        what, bytes, sizeof(bytes) - 1, cut                                                        \
    }

static const struct sample samples[] = {
    SAMPLE("whole", WHOLE, false),
    SAMPLE("zeros behind it", WHOLE "\0\0\0\0\0\0\0\0", false),
    SAMPLE("line ends behind it", WHOLE "\r\n\r\n", false),
    SAMPLE("a maker's notes behind it", WHOLE "SEFHe \x00\x12 notes", false),
    SAMPLE("a second picture behind it", WHOLE WHOLE, false),
    SAMPLE("a cut second picture behind it", WHOLE SOI APP0 THUMBNAIL, false),
    SAMPLE("several scans", SOI SOF0 SOS PIXELS DHT SOS PIXELS EOI, false),
    SAMPLE("fill bytes", SOI "\xff\xff\xff" SOF0 SOS PIXELS "\xff\xff\xff" EOI, false),
    SAMPLE("rubbish between parts", SOI APP0 "rubbish" SOF0 SOS PIXELS EOI, false),
    SAMPLE("a part whose length leads over the end", SOI SOF0 SOS PIXELS "\xff\xc4\x7f\xff" EOI,
           false),
    SAMPLE("the same and padding", SOI SOF0 SOS PIXELS "\xff\xc4\x7f\xff" EOI "\0\0\r\n", false),
    SAMPLE("no end", SOI APP0 SOF0 SOS PIXELS, true),
    SAMPLE("no end but the thumbnail's", SOI APP0 THUMBNAIL SOF0 SOS PIXELS, true),
    SAMPLE("half an end", SOI APP0 SOF0 SOS PIXELS "\xff", true),
    SAMPLE("cut in the thumbnail", SOI APP0 "\xff\xe1\x00\x0e" SOI "\xff\xdbsmall" EOI, true),
    SAMPLE("cut behind the thumbnail", SOI APP0 THUMBNAIL, true),
    SAMPLE("cut in a length", SOI "\xff\xe0\x00", true),
    SAMPLE("cut in the scan's header", SOI SOF0 "\xff\xda\x00\x08\x01" EOI, true),
    SAMPLE("cut in a later scan", SOI SOF0 SOS PIXELS DHT SOS "pix", true),
    SAMPLE("zeros instead of the rest", SOI SOF0 SOS "pix\0\0\0\0\0\0\0\0\0", true),
    SAMPLE("three bytes", "\xff\xd8\xff", true),
    SAMPLE("two bytes", "\xff\xd8", true),
    SAMPLE("one byte", "\xff", true),
    SAMPLE("nothing", "", false),
    SAMPLE("a PNG", "\x89PNG\r\n\x1a\n\0\0\0\rIHDR", false),
    SAMPLE("text", "test of the FTP settings", false),
    SAMPLE("nearly a JPEG", "\xff\xd8 no", false),
    SAMPLE("a broken header", SOI "\xff\xe0\x00\x01" SOF0 SOS PIXELS, false),
    SAMPLE("no picture in it", SOI APP0 EOI, false),
};

static bool is_cut(const struct sample *s, size_t block)
{
    struct jpeg_end j = {0};
    for (size_t at = 0; at < s->size; at += block)
        jpeg_end_feed(&j, s->bytes + at, MIN(block, s->size - at));
    return jpeg_end_is_cut(&j);
}

static void calls_nothing_whole_of_which_it_knows_nothing(void **state UNUSED)
{
    static const struct {
        const char *bytes;
        size_t size;
        bool whole;
    } table[] = {{WHOLE, sizeof(WHOLE) - 1, true},
                 {SOI SOF0 SOS PIXELS, sizeof(SOI SOF0 SOS PIXELS) - 1, false},
                 {"\xff", 1, false},
                 {"", 0, false},
                 {"text", 4, false},
                 {"\xff\xd8 no", 5, false}};
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct jpeg_end j = {0};
        if (table[i].size > 0)
            jpeg_end_feed(&j, table[i].bytes, table[i].size);
        if (jpeg_end_is_whole(&j) != table[i].whole)
            CASE_FAILS("%zu", i);
    }
}

static void knows_whether_a_picture_has_ended(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_LEN(samples); i++)
        for (size_t block = 1; block <= samples[i].size + 1; block++)
            if (is_cut(&samples[i], block) != samples[i].cut)
                CASE_FAILS("%s, in blocks of %zu", samples[i].what, block);
}

/* The pipeline must not find incomplete what was accepted as whole, and the other way round. */
static void agrees_with_the_probe(void **state UNUSED)
{
    int agreed = 0;
    for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
        struct picture_info info;
        if (picture_probe(samples[i].bytes, samples[i].size, &picture_limits_default, &info, NULL) <
                0 ||
            info.format != PICTURE_JPEG)
            continue;
        if (info.incomplete != samples[i].cut)
            CASE_FAILS("%s", samples[i].what);
        agreed++;
    }
    assert_true(agreed > 12);
}

/* At every byte: whole from the last of the end on, and not before. */
static void knows_it_at_every_length(void **state UNUSED)
{
    static const char whole[] = WHOLE "\0\0behind";
    size_t end = sizeof(WHOLE) - 1;
    struct jpeg_end j = {0};
    for (size_t n = 1; n < sizeof(whole); n++) {
        jpeg_end_feed(&j, whole + n - 1, 1);
        if (jpeg_end_is_cut(&j) != (n < end) || jpeg_end_is_known(&j) != (n >= end))
            CASE_FAILS("after %zu bytes", n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_whether_a_picture_has_ended),
        cmocka_unit_test(calls_nothing_whole_of_which_it_knows_nothing),
        cmocka_unit_test(agrees_with_the_probe),
        cmocka_unit_test(knows_it_at_every_length),
    };
    return RUN_TESTS(tests);
}
