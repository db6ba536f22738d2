#include "../test.h"

#include <errno.h>
#include <math.h>
#include <sys/resource.h>

#include "base/mem.h"
#include "base/text.h"
#include "sys/msgpack.h"

/* The values of a message in words: "map(1)", "\"a\"", "-129", ... */
static void show(const struct msgpack_value *v, char *out, size_t size)
{
    char text[64];
    switch (v->type) {
    case MSGPACK_NIL:
        (void)text_copy(out, size, "nil");
        break;
    case MSGPACK_BOOL:
        (void)text_copy(out, size, v->boolean ? "true" : "false");
        break;
    case MSGPACK_INT:
        (void)text_format(out, size, "%lld", (long long)v->integer);
        break;
    case MSGPACK_BIG:
        (void)text_format(out, size, "big %llu", (unsigned long long)v->big);
        break;
    case MSGPACK_FLOAT:
        (void)text_format(out, size, "%.17g", v->real);
        break;
    case MSGPACK_STR:
        text_escape((const char *)v->bytes, v->size, text, sizeof(text));
        (void)text_format(out, size, "'%s'", text);
        break;
    case MSGPACK_BIN:
        (void)text_format(out, size, "bin(%zu)", v->size);
        break;
    case MSGPACK_EXT:
        (void)text_format(out, size, "ext %d(%zu)", v->ext_type, v->size);
        break;
    case MSGPACK_ARRAY:
        (void)text_format(out, size, "array(%u)", v->count);
        break;
    case MSGPACK_MAP:
        (void)text_format(out, size, "map(%u)", v->count);
        break;
    case MSGPACK_TYPE_COUNT:
        fail();
    }
}

#define BYTES(s) s, sizeof(s) - 1

static void reads_every_kind_of_value(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        const char *shown;
    } cases[] = {
        {BYTES("\xc0"), "nil"},
        {BYTES("\xc2"), "false"},
        {BYTES("\xc3"), "true"},
        {BYTES("\x00"), "0"},
        {BYTES("\x7f"), "127"},
        {BYTES("\xe0"), "-32"},
        {BYTES("\xff"), "-1"},
        {BYTES("\xcc\xff"), "255"},
        {BYTES("\xcd\xff\xff"), "65535"},
        {BYTES("\xce\xff\xff\xff\xff"), "4294967295"},
        {BYTES("\xcf\x7f\xff\xff\xff\xff\xff\xff\xff"), "9223372036854775807"},
        {BYTES("\xcf\x80\0\0\0\0\0\0\0"), "big 9223372036854775808"},
        {BYTES("\xcf\xff\xff\xff\xff\xff\xff\xff\xff"), "big 18446744073709551615"},
        {BYTES("\xd0\x80"), "-128"},
        {BYTES("\xd0\x7f"), "127"},
        {BYTES("\xd1\xff\x7f"), "-129"},
        {BYTES("\xd1\x80\x00"), "-32768"},
        {BYTES("\xd2\xff\xff\x7f\xff"), "-32769"},
        {BYTES("\xd2\x80\0\0\0"), "-2147483648"},
        {BYTES("\xd2\x7f\xff\xff\xff"), "2147483647"},
        {BYTES("\xd3\xff\xff\xff\xff\x7f\xff\xff\xff"), "-2147483649"},
        {BYTES("\xd3\x80\0\0\0\0\0\0\0"), "-9223372036854775808"},
        {BYTES("\xd3\0\0\0\0\0\0\0\5"), "5"},
        {BYTES("\xca\x3f\xc0\0\0"), "1.5"},
        {BYTES("\xca\x7f\x80\0\0"), "inf"},
        {BYTES("\xcb\xbf\xf8\0\0\0\0\0\0"), "-1.5"},
        {BYTES("\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a"), "0.10000000000000001"},
        {BYTES("\xa0"), "''"},
        {BYTES("\xa3"
               "abc"),
         "'abc'"},
        {BYTES("\xd9\2ab"), "'ab'"},
        {BYTES("\xda\0\2ab"), "'ab'"},
        {BYTES("\xdb\0\0\0\2ab"), "'ab'"},
        {BYTES("\xc4\0"), "bin(0)"},
        {BYTES("\xc4\3\xff\xd8\xff"), "bin(3)"},
        {BYTES("\xc5\0\1x"), "bin(1)"},
        {BYTES("\xc6\0\0\0\1x"), "bin(1)"},
        {BYTES("\xd4\xffx"), "ext -1(1)"},
        {BYTES("\xd5\x7fxx"), "ext 127(2)"},
        {BYTES("\xd6\x80xxxx"), "ext -128(4)"},
        {BYTES("\xd7\0xxxxxxxx"), "ext 0(8)"},
        {BYTES("\xd8\1xxxxxxxxxxxxxxxx"), "ext 1(16)"},
        {BYTES("\xc7\0\xff"), "ext -1(0)"},
        {BYTES("\xc7\3\xffxxx"), "ext -1(3)"},
        {BYTES("\xc8\0\1\2x"), "ext 2(1)"},
        {BYTES("\xc9\0\0\0\1\2x"), "ext 2(1)"},
        {BYTES("\x90"), "array(0)"},
        {BYTES("\xdc\0\0"), "array(0)"},
        {BYTES("\xdd\0\0\0\0"), "array(0)"},
        {BYTES("\x80"), "map(0)"},
        {BYTES("\xde\0\0"), "map(0)"},
        {BYTES("\xdf\0\0\0\0"), "map(0)"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct msgpack_reader r;
        struct msgpack_value v;
        struct err e = {0};
        char got[64];
        /* Of exactly that size, so that a sanitizer sees a byte read too many. */
        AUTO_FREE void *exact = xmemdup(cases[i].bytes, cases[i].size);
        msgpack_reader_init(&r, exact, cases[i].size);
        if (msgpack_read(&r, &v, &e) < 0)
            CASE_FAILS("%s: %s", cases[i].shown, e.text);
        show(&v, got, sizeof(got));
        test_expect_text(cases[i].shown, got, cases[i].shown);
        assert_int_equal(msgpack_end(&r, &e), 0);
    }
}

static void says_where_a_message_goes_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        int code;
        const char *text;
    } cases[] = {
        {BYTES(""), -EBADMSG, "cut off: it has 0 bytes, and a value begins at 0"},
        {BYTES("\xc1"), -EBADMSG, "byte 0xc1 at 0 begins no value"},
        {BYTES("\x92\x01\xc1"), -EBADMSG, "byte 0xc1 at 2 begins no value"},
        {BYTES("\xce\1\2\3"), -EBADMSG, "cut off: it has 4 bytes, and a value begins at 0"},
        {BYTES("\xd9"), -EBADMSG, "cut off: it has 1 bytes, and a value begins at 0"},
        {BYTES("\xa5"
               "abc"),
         -EBADMSG, "cut off: text of 5 bytes begins at byte 0, 3 bytes are left"},
        {BYTES("\xc6\xff\xff\xff\xff"), -EBADMSG,
         "cut off: binary of 4294967295 bytes begins at byte 0, 0 bytes are left"},
        {BYTES("\xc9\xff\xff\xff\xff\1x"), -EBADMSG,
         "cut off: an extension of 4294967295 bytes begins at byte 0, 1 bytes are left"},
        {BYTES("\xdd\xff\0\0\0"), -EBADMSG,
         "cut off: an array of 4278190080 begins at byte 0, 0 bytes are left"},
        {BYTES("\xdf\xff\xff\xff\xff\1\2"), -EBADMSG,
         "cut off: a map of 4294967295 begins at byte 0, 2 bytes are left"},
        {BYTES("\x81\1"), -EBADMSG, "cut off: a map of 1 begins at byte 0, 1 bytes are left"},
        {BYTES("\x92\1\x91"), -EBADMSG,
         "cut off: an array of 1 begins at byte 2, 0 bytes are left"},
        {BYTES("\1\2\3"), -EBADMSG, "2 bytes follow the end at byte 1"},
        {BYTES("\x91\1\2"), -EBADMSG, "1 bytes follow the end at byte 2"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct msgpack_reader r;
        struct msgpack_value v;
        struct err e = {0};
        AUTO_FREE void *exact = xmemdup(cases[i].bytes, cases[i].size);
        msgpack_reader_init(&r, exact, cases[i].size);
        int n = msgpack_read(&r, &v, &e);
        if (n == 0)
            n = msgpack_skip(&r, &v, &e);
        if (n == 0)
            n = msgpack_end(&r, &e);
        test_expect_text(cases[i].text, e.text, cases[i].text);
        assert_int_equal(n, cases[i].code);
        assert_int_equal(e.retry, ERR_NEVER);
    }
}

static void stays_where_it_failed(void **state)
{
    (void)state;
    struct msgpack_reader r;
    struct msgpack_value v;
    msgpack_reader_init(&r, "\x91\xc1", 2);
    assert_int_equal(msgpack_read(&r, &v, NULL), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(msgpack_read(&r, &v, NULL), -EBADMSG);
        assert_int_equal(r.at, 1);
    }
    assert_int_equal(msgpack_end(&r, NULL), -EBADMSG);
}

static void steps_over_what_a_container_holds_and_no_more(void **state)
{
    (void)state;
    /* [1, {"a": [2, [], {}], [3]: nil}, 4, [[[5]]]] */
    static const char message[] = "\x94\1\x82\xa1"
                                  "a\x93\2\x90\x80\x91\3\xc0\4\x91\x91\x91\5";
    static const char *const wanted[] = {"array(4)", "1", "map(2)", "4", "array(1)"};
    struct msgpack_reader r;
    struct msgpack_value v;
    msgpack_reader_init(&r, BYTES(message));
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
        char got[64];
        assert_int_equal(msgpack_read(&r, &v, NULL), 0);
        show(&v, got, sizeof(got));
        test_expect_text("value", got, wanted[i]);
        if (i > 0)
            assert_int_equal(msgpack_skip(&r, &v, NULL), 0);
    }
    assert_int_equal(msgpack_end(&r, NULL), 0);
}

static int skip_message(const void *message, size_t size, struct err *e)
{
    struct msgpack_reader r;
    struct msgpack_value v;
    msgpack_reader_init(&r, message, size);
    int n = msgpack_read(&r, &v, e);
    if (n == 0)
        n = msgpack_skip(&r, &v, e);
    return n == 0 ? msgpack_end(&r, e) : n;
}

static void bounds_the_nesting(void **state)
{
    (void)state;
    char message[MSGPACK_DEPTH_MAX + 2];
    struct err e = {0};
    memset(message, '\x91', sizeof(message));
    message[MSGPACK_DEPTH_MAX] = '\1';
    assert_int_equal(skip_message(message, MSGPACK_DEPTH_MAX + 1, &e), 0);
    message[MSGPACK_DEPTH_MAX] = '\x90'; /* an empty one opens nothing */
    assert_int_equal(skip_message(message, MSGPACK_DEPTH_MAX + 1, &e), 0);
    message[MSGPACK_DEPTH_MAX] = '\x91';
    message[MSGPACK_DEPTH_MAX + 1] = '\1';
    assert_int_equal(skip_message(message, MSGPACK_DEPTH_MAX + 2, &e), -E2BIG);
    assert_string_equal(e.text, "nested more than 64 deep at byte 64");
}

static void bounds_the_number_of_values(void **state)
{
    (void)state;
    AUTO_FREE uint8_t *message = xcalloc(1, MSGPACK_VALUES_MAX + 5); /* zeros are integers */
    struct err e = {0};
    uint32_t count = MSGPACK_VALUES_MAX - 1; /* and the array itself */
    for (int i = 0; i < 2; i++, count++) {
        message[0] = 0xdd;
        for (int k = 0; k < 4; k++)
            message[1 + k] = (uint8_t)(count >> (24 - 8 * k));
        assert_int_equal(skip_message(message, 5 + count, &e), i == 0 ? 0 : -E2BIG);
    }
    assert_string_equal(e.text, "more than 1000000 values");
}

static void reads_megabytes_without_memory(void **state)
{
    (void)state;
    enum { PAIR = 7, SIZE = 3 + 65535 * PAIR };
    AUTO_FREE uint8_t *message = xmalloc(SIZE); /* 65535 times {"abcd": 1} in an array */
    memcpy(message, "\xdc\xff\xff", 3);
    for (size_t i = 0; i < 65535; i++)
        memcpy(message + 3 + i * PAIR,
               "\x81\xa4"
               "abcd\1",
               PAIR);
    struct rusage before, after;
    (void)getrusage(RUSAGE_SELF, &before);
    mem_fail_at(1); /* whoever asks fails */
    int r = skip_message(message, SIZE, NULL);
    mem_fail_at(0);
    (void)getrusage(RUSAGE_SELF, &after);
    assert_int_equal(r, 0);
    assert_true(after.ru_maxrss - before.ru_maxrss <= 1024); /* kB; pages of code and sanitizer */
}

static void writes_the_shortest_forms(void **state)
{
    (void)state;
    static const struct {
        uint64_t value;
        const char *bytes;
        size_t size;
    } numbers[] = {
        {0, BYTES("\0")},
        {127, BYTES("\x7f")},
        {128, BYTES("\xcc\x80")},
        {255, BYTES("\xcc\xff")},
        {256, BYTES("\xcd\1\0")},
        {65535, BYTES("\xcd\xff\xff")},
        {65536, BYTES("\xce\0\1\0\0")},
        {1767323045, BYTES("\xce\x69\x57\x35\xa5")},
        {UINT32_MAX, BYTES("\xce\xff\xff\xff\xff")},
        {(uint64_t)UINT32_MAX + 1, BYTES("\xcf\0\0\0\1\0\0\0\0")},
        {UINT64_MAX, BYTES("\xcf\xff\xff\xff\xff\xff\xff\xff\xff")},
    };
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        uint8_t out[16];
        struct msgpack_writer w = {.to = out, .room = sizeof(out)};
        msgpack_write_uint(&w, numbers[i].value);
        assert_int_equal(w.len, numbers[i].size);
        assert_memory_equal(out, numbers[i].bytes, numbers[i].size);
    }
}

static void writes_lengths_in_their_shortest_forms(void **state)
{
    (void)state;
    static const struct {
        size_t size;
        const char *str, *bin, *array, *map;
        size_t str_head, bin_head, array_head;
    } cases[] = {
        {0, "\xa0", "\xc4\0", "\x90", "\x80", 1, 2, 1},
        {15, "\xaf", "\xc4\x0f", "\x9f", "\x8f", 1, 2, 1},
        {16, "\xb0", "\xc4\x10", "\xdc\0\x10", "\xde\0\x10", 1, 2, 3},
        {31, "\xbf", "\xc4\x1f", "\xdc\0\x1f", "\xde\0\x1f", 1, 2, 3},
        {32, "\xd9\x20", "\xc4\x20", "\xdc\0\x20", "\xde\0\x20", 2, 2, 3},
        {255, "\xd9\xff", "\xc4\xff", "\xdc\0\xff", "\xde\0\xff", 2, 2, 3},
        {256, "\xda\1\0", "\xc5\1\0", "\xdc\1\0", "\xde\1\0", 3, 3, 3},
        {65535, "\xda\xff\xff", "\xc5\xff\xff", "\xdc\xff\xff", "\xde\xff\xff", 3, 3, 3},
        {65536, "\xdb\0\1\0\0", "\xc6\0\1\0\0", "\xdd\0\1\0\0", "\xdf\0\1\0\0", 5, 5, 5},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        size_t size = cases[i].size, room = size + 5;
        AUTO_FREE char *text = xcalloc(1, size + 1);
        AUTO_FREE uint8_t *out = xmalloc(room);
        memset(text, 'x', size);
        struct msgpack_writer w = {.to = out, .room = room};
        msgpack_write_str(&w, text);
        assert_int_equal(w.len, cases[i].str_head + size);
        assert_memory_equal(out, cases[i].str, cases[i].str_head);
        assert_memory_equal(out + cases[i].str_head, text, size);
        w.len = 0;
        msgpack_write_bin(&w, text, size);
        assert_int_equal(w.len, cases[i].bin_head + size);
        assert_memory_equal(out, cases[i].bin, cases[i].bin_head);
        assert_memory_equal(out + cases[i].bin_head, text, size);
        w.len = 0;
        msgpack_write_array(&w, (uint32_t)size);
        assert_int_equal(w.len, cases[i].array_head);
        assert_memory_equal(out, cases[i].array, w.len);
        w.len = 0;
        msgpack_write_map(&w, (uint32_t)size);
        assert_int_equal(w.len, cases[i].array_head);
        assert_memory_equal(out, cases[i].map, w.len);
    }
}

static void writes_nil_and_64_bits_of_a_number(void **state)
{
    (void)state;
    uint8_t out[16];
    struct msgpack_writer w = {.to = out, .room = sizeof(out)};
    msgpack_write_nil(&w);
    msgpack_write_float(&w, 1.5); /* 32 bits would hold it, but others write 64 */
    assert_int_equal(w.len, 10);
    assert_memory_equal(out, "\xc0\xcb\x3f\xf8\0\0\0\0\0\0", 10);
}

static void replaces_what_is_no_utf8(void **state)
{
    (void)state;
    uint8_t out[32];
    struct msgpack_writer w = {.to = out, .room = sizeof(out)};
    msgpack_write_str(&w, "T\xc3\xbcr \xff\xc3x\xed\xa0\x80");
    assert_int_equal(w.len, 12);
    assert_memory_equal(out,
                        "\xabT\xc3\xbcr ?"
                        "?x?"
                        "??",
                        12);
}

static void counts_what_does_not_fit(void **state)
{
    (void)state;
    uint8_t out[4] = {1, 2, 3, 4};
    struct msgpack_writer count = {0}, small = {.to = out, .room = 3};
    msgpack_write_str(&count, "abc");
    msgpack_write_nil(&count);
    assert_int_equal(count.len, 5);
    msgpack_write_str(&small, "abc");
    msgpack_write_nil(&small);
    assert_int_equal(small.len, 5);
    assert_int_equal(out[3], 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_kind_of_value),
        cmocka_unit_test(says_where_a_message_goes_wrong),
        cmocka_unit_test(stays_where_it_failed),
        cmocka_unit_test(steps_over_what_a_container_holds_and_no_more),
        cmocka_unit_test(bounds_the_nesting),
        cmocka_unit_test(bounds_the_number_of_values),
        cmocka_unit_test(reads_megabytes_without_memory),
        cmocka_unit_test(writes_the_shortest_forms),
        cmocka_unit_test(writes_lengths_in_their_shortest_forms),
        cmocka_unit_test(writes_nil_and_64_bits_of_a_number),
        cmocka_unit_test(replaces_what_is_no_utf8),
        cmocka_unit_test(counts_what_does_not_fit),
    };
    return RUN_TESTS(tests);
}
