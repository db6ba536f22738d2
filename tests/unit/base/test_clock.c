#include "../test.h"

#include <errno.h>
#include <limits.h>

#include "base/clock.h"

static void formats_iso(void **state UNUSED)
{
    static const struct {
        int64_t us;
        bool millis;
        const char *text;
    } cases[] = {
        {0, false, "1970-01-01T00:00:00Z"},
        {0, true, "1970-01-01T00:00:00.000Z"},
        {1767323045123456, true, "2026-01-02T03:04:05.123Z"},
        {1767323045999999, false, "2026-01-02T03:04:05Z"},
        {-1, true, "1969-12-31T23:59:59.999Z"},
        {-1000000, true, "1969-12-31T23:59:59.000Z"},
        {951782400000000, false, "2000-02-29T00:00:00Z"},
        {253402300799000000, false, "9999-12-31T23:59:59Z"},
        {253402300800000000, false, "9999-12-31T23:59:59Z"},
        {-62167219200000000, false, "0000-01-01T00:00:00Z"},
        {-62167219201000000, false, "0000-01-01T00:00:00Z"},
        {-30610224000000000, false, "1000-01-01T00:00:00Z"},
        {-30610224001000000, false, "0999-12-31T23:59:59Z"},
        {INT64_MAX, false, "9999-12-31T23:59:59Z"},
        {INT64_MIN, false, "0000-01-01T00:00:00Z"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char buf[WALL_ISO_MAX];
        test_expect_text("iso",
                         wall_format_iso((struct wall_time){cases[i].us}, cases[i].millis, buf),
                         cases[i].text);
    }
}

static void parses_iso(void **state UNUSED)
{
    static const struct {
        const char *text;
        int64_t us;
    } cases[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"2026-01-02T03:04:05Z", 1767323045000000},
        {"2026-01-02t03:04:05z", 1767323045000000},
        {"2026-01-02 03:04:05Z", 1767323045000000},
        {"2026-01-02T03:04:05.123Z", 1767323045123000},
        {"2026-01-02T03:04:05.123456Z", 1767323045123456},
        {"2026-01-02T03:04:05.123456999Z", 1767323045123456},
        {"2026-01-02T04:04:05+01:00", 1767323045000000},
        {"2026-01-02T04:04:05+0100", 1767323045000000},
        {"2026-01-01T21:34:05.5-05:30", 1767323045500000},
        {"2016-12-31T23:59:60Z", 1483228800000000}, /* a leap second */
        {"2024-02-29T00:00:00Z", 1709164800000000},
        {"0000-01-01T00:00:00Z", -62167219200000000},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct wall_time t = {-42};
        if (wall_parse_iso(cases[i].text, &t) != 0 || t.us != cases[i].us)
            CASE_FAILS("%s gives %lld", cases[i].text, (long long)t.us);
    }
}

static void refuses_what_is_no_iso_time(void **state UNUSED)
{
    static const char *const cases[] = {
        "",
        "2026",
        "2026-01-02",
        "2026-01-02T03:04:05", /* no zone: whose time is it? */
        "2026-01-02T03:04:05 ",
        "2026-01-02T03:04:05.Z",
        "2026-01-02T03:04:05Zx",
        "2026-01-02T03:04:05+1:00",
        "2026-01-02T03:04:05+15:00",
        "2026-01-02T03:04:05+01:60",
        "2026-13-02T03:04:05Z",
        "2026-00-02T03:04:05Z",
        "2026-02-30T03:04:05Z",
        "2025-02-29T03:04:05Z",
        "2026-01-32T03:04:05Z",
        "2026-01-02T24:04:05Z",
        "2026-01-02T03:60:05Z",
        "2026-01-02T03:04:61Z",
        " 026-01-02T03:04:05Z",
        "+026-01-02T03:04:05Z",
        "12026-01-02T03:04:05Z",
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct wall_time t = {-42};
        if (wall_parse_iso(cases[i], &t) != -EINVAL || t.us != -42)
            CASE_FAILS("\"%s\" gives %lld", cases[i], (long long)t.us);
    }
}

static void round_trips(void **state UNUSED)
{
    /* A prime step walks over all months, leap years and both sides of 1970. */
    for (int64_t us = -62167219200000000; us < 253402300799000000; us += 86399999999777) {
        char buf[WALL_ISO_MAX];
        struct wall_time t = {0};
        assert_int_equal(wall_parse_iso(wall_format_iso((struct wall_time){us}, true, buf), &t), 0);
        int64_t floor_ms = us / 1000 - (us % 1000 < 0);
        assert_true(t.us == floor_ms * 1000);
    }
}

static void rounds_seconds_down(void **state UNUSED)
{
    assert_int_equal(wall_seconds((struct wall_time){1999999}), 1);
    assert_int_equal(wall_seconds((struct wall_time){0}), 0);
    assert_int_equal(wall_seconds((struct wall_time){-1}), -1);
    assert_int_equal(wall_seconds((struct wall_time){-1000000}), -1);
    assert_int_equal(wall_seconds((struct wall_time){-1000001}), -2);
    assert_true(wall_seconds((struct wall_time){INT64_MIN}) == INT64_MIN / 1000000 - 1);
    assert_true(wall_seconds((struct wall_time){INT64_MAX}) == INT64_MAX / 1000000);
}

static struct mono_time at_one_second(void)
{
    return (struct mono_time){1000000};
}

static struct wall_time at_noon(void)
{
    return wall_from_seconds(43200);
}

static void waits_in_whole_milliseconds_that_fit_poll(void **state UNUSED)
{
    clock_set_mono_source(at_one_second);
    assert_int_equal(mono_until_ms((struct mono_time){1000000}), 0);
    assert_int_equal(mono_until_ms((struct mono_time){0}), 0);
    assert_int_equal(mono_until_ms((struct mono_time){1000001}),
                     1); /* never spins before its time */
    assert_int_equal(mono_until_ms((struct mono_time){1001000}), 1);
    assert_int_equal(mono_until_ms((struct mono_time){1001001}), 2);
    assert_int_equal(mono_until_ms((struct mono_time){INT64_MAX}), INT_MAX);
    assert_true(mono_passed((struct mono_time){1000000}));
    assert_false(mono_passed((struct mono_time){1000001}));
    clock_set_mono_source(NULL);
}

static void replaces_its_sources_for_tests(void **state UNUSED)
{
    clock_set_wall_source(at_noon);
    assert_int_equal(wall_seconds(clock_wall()), 43200);
    clock_set_wall_source(NULL);
    assert_true(wall_seconds(clock_wall()) > 1700000000);
    struct mono_time a = clock_mono(), b = clock_mono();
    assert_true(mono_diff_us(b, a) >= 0);
    assert_int_equal(mono_diff_us(mono_add_ms(a, 5), a), 5000);
    assert_true(mono_diff_ms(mono_add_ms(a, 5), a) == 5.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats_iso),
        cmocka_unit_test(parses_iso),
        cmocka_unit_test(refuses_what_is_no_iso_time),
        cmocka_unit_test(round_trips),
        cmocka_unit_test(rounds_seconds_down),
        cmocka_unit_test(waits_in_whole_milliseconds_that_fit_poll),
        cmocka_unit_test(replaces_its_sources_for_tests),
    };
    return RUN_TESTS(tests);
}
