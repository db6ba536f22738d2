/* Files that lie, end early or are made to cost much: an answer or a refusal, within time and
 * memory, and nothing leaks whichever allocation fails. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/macros.h"
#include "base/mem.h"
#include "make_pictures.h"

#define CPU_SECONDS_MAX 2.0
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define INSTRUMENTED 1
#endif
#endif
#if defined(INSTRUMENTED) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SLOWNESS 10 /* of instrumented code */
#else
#define SLOWNESS 1
#endif

static struct bytes make(int i)
{
    if (i < JPEG_KIND_COUNT)
        return make_jpeg((enum jpeg_kind)i, 33, 21, 85);
    i -= JPEG_KIND_COUNT;
    if (i < PNG_KIND_COUNT)
        return make_png((enum png_kind)i, 33, 21);
    i -= PNG_KIND_COUNT;
    if (i < WEBP_KIND_COUNT)
        return make_webp((enum webp_kind)i, 33, 21);
    i -= WEBP_KIND_COUNT;
    if (i < BMP_KIND_COUNT)
        return make_bmp((enum bmp_kind)i, 33, 21);
    return make_gif((enum gif_kind)(i - BMP_KIND_COUNT), 33, 21);
}
#define KINDS (JPEG_KIND_COUNT + PNG_KIND_COUNT + WEBP_KIND_COUNT + BMP_KIND_COUNT + GIF_KIND_COUNT)

/* Decodes a copy of the exact size; on failure there must be a text. */
static int try(const uint8_t *data, size_t size, int cover)
{
    AUTO_FREE uint8_t *copy = xmalloc(size > 0 ? size : 1);
    AUTO(image) img = NULL;
    struct picture_info info;
    struct err e = {0};
    int r;

    memcpy(copy, data, size);
    r = picture_decode(copy, size, &picture_limits_default, cover, cover, &img, &info, &e);
    if (r < 0) {
        assert_null(img);
        assert_true(e.text[0] != '\0');
        assert_int_equal(e.code, r);
    } else {
        assert_non_null(img);
    }
    return r;
}

static void survives_a_cut_at_every_byte(void **state)
{
    (void)state;
    for (int i = 0; i < KINDS; i++) {
        AUTO_DONE(bytes) b = make(i);

        for (size_t size = 0; size < b.size; size++)
            (void)try(b.data, size, (const int[]){0, 2, 5}[size % 3]);
        assert_int_equal(try(b.data, b.size, 0), 0);
    }
}

static void survives_any_byte_bent(void **state)
{
    static const uint8_t values[] = {0, 0xff, 0x7f, 0x80};

    (void)state;
    for (int i = 0; i < KINDS; i++) {
        AUTO_DONE(bytes) b = make(i);

        for (size_t at = 0; at < b.size; at++) {
            uint8_t old = b.data[at];

            b.data[at] = values[at % ARRAY_LEN(values)];
            (void)try(b.data, b.size, (const int[]){0, 2, 5, 8}[at / 2 % 4]);
            b.data[at] = old;
        }
    }
}

static void a_failing_allocation_is_an_error_and_leaks_nothing(void **state)
{
    (void)state;
    for (int i = 0; i < KINDS; i++) {
        AUTO_DONE(bytes) plain = make(i);
        AUTO_DONE(bytes)
        b = i < JPEG_KIND_COUNT ? with_orientation(plain, 6, false)
                                : (struct bytes){xmemdup(plain.data, plain.size), plain.size};
        uint64_t count;

        mem_fail_at(0);
        assert_int_equal(try(b.data, b.size, 5), 0);
        count = mem_try_count();
        assert_true(count > 0);
        for (uint64_t n = 1; n <= count; n++) {
            mem_fail_at(n);
            (void)try(b.data, b.size, 5); /* a decoder may do without a small piece */
        }
        mem_fail_at(0);
    }
}

static double cpu_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Ends within its time; returns the answer. */
static int try_in_time(const char *what, struct bytes b, int cover)
{
    double start = cpu_seconds(), spent;
    int r = try(b.data, b.size, cover);

    spent = cpu_seconds() - start;
    if (spent > CPU_SECONDS_MAX * SLOWNESS)
        fail_msg("%s took %.2f s", what, spent);
    return r;
}

static void set_size(struct bytes *b, uint8_t frame, int width, int height)
{
    for (size_t i = 0; i + 9 < b->size; i++) {
        if (b->data[i] == 0xff && b->data[i + 1] == frame) {
            b->data[i + 5] = (uint8_t)(height >> 8);
            b->data[i + 6] = (uint8_t)height;
            b->data[i + 7] = (uint8_t)(width >> 8);
            b->data[i + 8] = (uint8_t)width;
            return;
        }
    }
    fail();
}

/* A few hundred bytes that claim to be as large as the limits allow. */
static void small_files_that_claim_large_pictures_are_cheap(void **state)
{
    static const struct {
        int width, height;
    } sizes[] = {{10900, 11000}, {65535, 1831}, {1831, 65535}, {7000, 6000}, {65535, 1}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        for (int kind = 0; kind < JPEG_KIND_COUNT; kind++) {
            AUTO_DONE(bytes) b = make_jpeg((enum jpeg_kind)kind, 33, 21, 85);
            uint8_t frame = kind == JPEG_PROGRESSIVE ? 0xc2 : kind == JPEG_ARITHMETIC ? 0xc9 : 0xc0;

            set_size(&b, frame, sizes[i].width, sizes[i].height);
            (void)try_in_time("a large claim", b, 640);
            (void)try_in_time("a large claim, full size", b, 0);
        }
    }
}

/* The same scan again and again: a file of some kilobytes that asks for minutes. */
static void a_thousand_scans_are_refused(void **state)
{
    AUTO_DONE(bytes) b = make_jpeg(JPEG_PROGRESSIVE, 33, 21, 85);
    AUTO_DONE(dynbuf) many;
    struct bytes file;
    struct image *img = NULL;
    struct picture_info info;
    struct err e;
    size_t last = 0;

    (void)state;
    for (size_t i = 0; i + 1 < b.size; i++)
        last = b.data[i] == 0xff && b.data[i + 1] == 0xda ? i : last;
    assert_true(last > 0);
    dynbuf_init(&many, 10 << 20);
    dynbuf_append(&many, b.data, last);
    for (int i = 0; i < 1000; i++)
        dynbuf_append(&many, b.data + last, b.size - 2 - last);
    dynbuf_append(&many, "\xff\xd9", 2);
    file = (struct bytes){(uint8_t *)many.data, many.len};
    set_size(&file, 0xc2, 3000, 3000);
    assert_int_equal(try_in_time("a thousand scans", file, 640), -EFBIG);
    assert_int_equal(
        picture_decode(file.data, file.size, &picture_limits_default, 0, 0, &img, &info, &e),
        -EFBIG);
    assert_non_null(strstr(e.text, "scans"));
}

static uint32_t crc32_of(const uint8_t *p, size_t size)
{
    uint32_t crc = 0xffffffff;

    for (size_t i = 0; i < size; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
    }
    return ~crc;
}

/* A small PNG that claims another size, its checksum in order. */
static struct bytes make_lying_png(enum png_kind kind, uint32_t width, uint32_t height)
{
    struct bytes b = make_png(kind, 33, 21);
    uint32_t crc;

    for (int i = 0; i < 4; i++) {
        b.data[16 + i] = (uint8_t)(width >> (24 - 8 * i));
        b.data[20 + i] = (uint8_t)(height >> (24 - 8 * i));
    }
    crc = crc32_of(b.data + 12, 17);
    for (int i = 0; i < 4; i++)
        b.data[29 + i] = (uint8_t)(crc >> (24 - 8 * i));
    return b;
}

static void bombs_are_refused_or_quick(void **state)
{
    (void)state;
    {
        AUTO_DONE(bytes) b = make_lying_png(PNG_ONE_BIT, 20000, 20000);

        assert_int_equal(try_in_time("400 megapixels of PNG", b, 640), -EFBIG);
    }
    {
        AUTO_DONE(bytes) b = make_png(PNG_ONE_BIT, 10900, 11000);

        assert_int_equal(try_in_time("120 megapixels of one bit", b, 640), 0);
    }
    {
        AUTO_DONE(bytes) b = make_lying_png(PNG_RGB_16, 8000, 6000);

        assert_int_equal(try_in_time("288 MB of PNG", b, 640), -EFBIG);
    }
    {
        AUTO_DONE(bytes) b = make_lying_png(PNG_RGB, 100000, 100);

        assert_int_equal(try_in_time("a very wide PNG", b, 640), -EFBIG);
    }
    {
        AUTO_DONE(bytes) b = make_gif(GIF_PLAIN, 4000, 4000);

        assert_int_equal(try_in_time("16 megapixels of GIF", b, 640), 0);
    }
    {
        AUTO_DONE(bytes) b = make_webp(WEBP_LOSSY, 4000, 3000);

        assert_int_equal(try_in_time("12 megapixels of WebP", b, 640), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(survives_a_cut_at_every_byte),
        cmocka_unit_test(survives_any_byte_bent),
        cmocka_unit_test(a_failing_allocation_is_an_error_and_leaks_nothing),
        cmocka_unit_test(small_files_that_claim_large_pictures_are_cheap),
        cmocka_unit_test(a_thousand_scans_are_refused),
        cmocka_unit_test(bombs_are_refused_or_quick),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
