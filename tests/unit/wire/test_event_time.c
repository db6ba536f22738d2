#include "../test.h"

#include <errno.h>
#include <math.h>

#include "wire/event_time.h"

#define WHEN 1767323045 /* 2026-01-02T03:04:05Z */
#define REFUSED INT64_MIN

static const struct wall_time arrival = {42000000};

struct text_case {
    const char *text;
    int64_t us;
};

static void check(const struct text_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct wall_time t = {REFUSED};
        int r = event_time_parse(cases[i].text, strlen(cases[i].text), &t);
        if (t.us != cases[i].us || (r < 0) != (cases[i].us == REFUSED))
            CASE_FAILS("%s: %lld instead of %lld", cases[i].text, (long long)t.us,
                       (long long)cases[i].us);
    }
}

#define S(seconds) ((int64_t)(seconds)*1000000)
#define CHECK(cases) check(cases, ARRAY_LEN(cases))

static void reads_texts_as_the_true_instant(void **state)
{
    (void)state;
    static const struct text_case cases[] = {
        {"2026-01-02T03:04:05Z", S(WHEN)},
        {"2026-01-02t03:04:05z", S(WHEN)},
        {"2026-01-02 03:04:05Z", S(WHEN)},
        {"2026-01-02 03:04:05 UTC", S(WHEN)},
        {"2026-01-02 03:04:05 GMT", S(WHEN)},
        {"2026-01-02T03:04:05.25Z", S(WHEN) + 250000},
        {"2026-01-02T03:04:05,123456789Z", S(WHEN) + 123456},
        {"2026-01-02T03:04:05+00:00", S(WHEN)},
        {"2026-01-02T04:04:05+01:00", S(WHEN)},
        {"2026-01-02T04:04:05+01", S(WHEN)},
        {"2026-01-02T04:04:05 +0100", S(WHEN)},
        {"2026-01-01T22:04:05-05:00", S(WHEN)},
        {"2026-01-02T08:34:05+05:30", S(WHEN)},
        {"2026-01-02 03:04:05.123456+00:00", S(WHEN) + 123456},
        {"2026-01-02T03:04Z", S(WHEN - 5)},
        {"20260102T030405Z", S(WHEN)},
        {"20260102030405Z", S(WHEN)},
        {"20260102T0304Z", S(WHEN - 5)},
        {"2016-12-31T23:59:60Z", S(1483228800)},
        {"2024-02-29T00:00:00Z", S(1709164800)},
    };
    CHECK(cases);
}

static void reads_digits_as_unix_seconds_unless_they_are_a_date(void **state)
{
    (void)state;
    (void)setenv("TZ", "UTC", 1);
    tzset();
    static const struct text_case cases[] = {
        {"1767323045", S(WHEN)},
        {"0", 0},
        {"1", S(1)},
        {"000001767323045", S(WHEN)},
        {"999999999", S(999999999)},
        {"20260102", S(1767312000)}, /* dates, as the original reads them */
        {"202601020304", S(WHEN - 5)},
        {"20260102030405", S(WHEN)},
        {"20269902", S(20269902)},
        {"99999999999", S(99999999999)},
        {"1767323045000", REFUSED}, /* milliseconds: the original dies of them */
        {"99999999999999999999", REFUSED},
    };
    CHECK(cases);
}

static void takes_local_time_where_no_zone_is_given(void **state)
{
    (void)state;
    (void)setenv("TZ", "Europe/Berlin", 1);
    tzset();
    static const struct text_case cases[] = {
        {"2026-01-02T04:04:05", S(WHEN)},
        {"2026-01-02 04:04", S(WHEN - 5)},
        {"20260102040405", S(WHEN)},
        {"2026-01-02", S(1767308400)},
        {"2026-07-01 02:00:00", S(1782864000)}, /* summer */
        {"2026-01-02T03:04:05Z", S(WHEN)},
    };
    CHECK(cases);
    (void)setenv("TZ", "UTC", 1);
    tzset();
}

static void refuses_other_texts(void **state)
{
    (void)state;
    static const struct text_case cases[] = {
        {"", REFUSED},
        {" ", REFUSED},
        {"now", REFUSED},
        {"-1", REFUSED},
        {"+5", REFUSED},
        {"1767323045.5", REFUSED},
        {" 1767323045", REFUSED},
        {"1e9", REFUSED},
        {"2026-13-01T00:00:00Z", REFUSED},
        {"2026-00-01T00:00:00Z", REFUSED},
        {"2026-02-30T00:00:00Z", REFUSED},
        {"2026-01-00T00:00:00Z", REFUSED},
        {"2026-01-02T24:00:00Z", REFUSED},
        {"2026-01-02T03:60:00Z", REFUSED},
        {"2026-01-02T03:04:61Z", REFUSED},
        {"2026-01-02T03:04:05.Z", REFUSED},
        {"2026-01-02T03:04:05+15:00", REFUSED},
        {"2026-01-02T03:04:05+01:60", REFUSED},
        {"2026-01-02T03:04:05+1", REFUSED},
        {"2026-01-02T03:04:05 CET", REFUSED},
        {"2026-01-02T03:04:05Zx", REFUSED},
        {"2026-01-02T03:04:", REFUSED},
        {"2026-01-02T", REFUSED},
        {"2026-01-02X03:04:05", REFUSED},
        {"2026-0102", REFUSED},
        {"2026-01", REFUSED},
        {"+026-01-02", REFUSED},
        {"2026--1-02", REFUSED},
        {"1969-12-31T23:59:59Z", REFUSED},
        {"0000-01-01T00:00:00Z", REFUSED},
        {"9999-12-31T23:59:59-01:00", REFUSED},
    };
    CHECK(cases);
}

static void reads_numbers_and_extensions(void **state)
{
    (void)state;
    static const uint8_t ext[] = {0, 0, 0, 0, 0, 0, 0, 0, 0x69, 0x57, 0x35, 0xa5};
    static const uint8_t ext_ns[] = {0x0e, 0xe6, 0xb2, 0x80, 0, 0, 0, 0, 0x69, 0x57, 0x35, 0xa5};
    static const uint8_t ext8[] = {0x3b, 0x9a, 0xca, 0, 0x69, 0x57, 0x35, 0xa5};
    static const uint8_t ns_bad[] = {0x3b, 0x9a, 0xca, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    static const uint8_t before[] = {0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255};
    static const uint8_t far[] = {255, 255, 255, 255, 255, 255, 255, 255};
#define EXT(b, n)                                                                                  \
    {                                                                                              \
        .type = MSGPACK_EXT, .bytes = b, .size = n, .ext_type = -1                                 \
    }
#define NUM "the number is no time that we know, so the time of arrival counts"
#define EXTN "the extension is no time that we know, so the time of arrival counts"
    const struct {
        struct msgpack_value value;
        int64_t us;
        const char *note;
    } cases[] = {
        {{.type = MSGPACK_INT, .integer = WHEN}, S(WHEN), ""},
        {{.type = MSGPACK_INT, .integer = 0}, 0, ""},
        {{.type = MSGPACK_INT, .integer = 253402300799}, S(253402300799), ""},
        {{.type = MSGPACK_INT, .integer = 253402300800}, 42000000, NUM},
        {{.type = MSGPACK_INT, .integer = -1}, 42000000, NUM},
        {{.type = MSGPACK_INT, .integer = INT64_MIN}, 42000000, NUM},
        {{.type = MSGPACK_BIG, .big = UINT64_MAX}, 42000000, NUM},
        {{.type = MSGPACK_FLOAT, .real = WHEN + 0.25}, S(WHEN) + 250000, ""},
        {{.type = MSGPACK_FLOAT, .real = -0.5}, 42000000, NUM},
        {{.type = MSGPACK_FLOAT, .real = 1e300}, 42000000, NUM},
        {{.type = MSGPACK_FLOAT, .real = (double)NAN}, 42000000, NUM},
        {{.type = MSGPACK_FLOAT, .real = (double)INFINITY}, 42000000, NUM},
        {EXT(ext + 8, 4), S(WHEN), ""},
        {EXT(ext + 4, 8), S(WHEN), ""},
        {EXT(ext, 12), S(WHEN), ""},
        {EXT(ext_ns, 12), S(WHEN) + 250000, ""},
        {EXT(ext8, 8), S(WHEN) + 250000, ""}, /* both numbers in one, the seconds below */
        {EXT(ns_bad, 12), 42000000, EXTN},
        {EXT(before, 12), 42000000, EXTN},
        {EXT(far, 8), 42000000, EXTN},
        {EXT(ext, 5), 42000000, EXTN},
        {EXT(ext, 0), 42000000, EXTN},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct wall_time t = {REFUSED};
        char note[EVENT_TIME_NOTE_MAX];
        struct err e = {0};
        if (event_time_read(&cases[i].value, arrival, &t, note, &e) < 0)
            CASE_FAILS("%zu: %s", i, e.text);
        if (t.us != cases[i].us)
            CASE_FAILS("%zu: %lld", i, (long long)t.us);
        test_expect_text("note", note, cases[i].note);
    }
}

static void falls_back_to_the_arrival_and_says_so(void **state)
{
    (void)state;
    static const char text[] = "next\nTuesday, as I told you a hundred times";
    struct msgpack_value v = {
        .type = MSGPACK_STR, .bytes = (const uint8_t *)text, .size = sizeof(text) - 1};
    struct wall_time t = {0};
    char note[EVENT_TIME_NOTE_MAX];
    assert_int_equal(event_time_read(&v, arrival, &t, note, NULL), 0);
    assert_int_equal(t.us, arrival.us);
    assert_string_equal(note, "\"next\\nTuesday\" is no time that we know, so the time of arrival"
                              " counts");
}

static void refuses_types_that_hold_no_time(void **state)
{
    (void)state;
    static const struct {
        struct msgpack_value value;
        const char *text;
    } cases[] = {
        {{.type = MSGPACK_NIL}, "nil is no time"},
        {{.type = MSGPACK_BOOL, .boolean = true}, "a boolean is no time"},
        {{.type = MSGPACK_BIN}, "binary is no time"},
        {{.type = MSGPACK_ARRAY}, "an array is no time"},
        {{.type = MSGPACK_MAP}, "a map is no time"},
        {{.type = MSGPACK_EXT, .ext_type = 5}, "an extension of type 5 is no time"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct wall_time t = {REFUSED};
        char note[EVENT_TIME_NOTE_MAX];
        struct err e = {0};
        assert_int_equal(event_time_read(&cases[i].value, arrival, &t, note, &e), -EINVAL);
        test_expect_text("error", e.text, cases[i].text);
        assert_int_equal(t.us, REFUSED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_texts_as_the_true_instant),
        cmocka_unit_test(reads_digits_as_unix_seconds_unless_they_are_a_date),
        cmocka_unit_test(takes_local_time_where_no_zone_is_given),
        cmocka_unit_test(refuses_other_texts),
        cmocka_unit_test(reads_numbers_and_extensions),
        cmocka_unit_test(falls_back_to_the_arrival_and_says_so),
        cmocka_unit_test(refuses_types_that_hold_no_time),
    };
    return RUN_TESTS(tests);
}
