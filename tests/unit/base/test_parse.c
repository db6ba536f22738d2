#include "../test.h"

#include <errno.h>

#include "base/parse.h"

static void reads_whole_numbers(void **state UNUSED)
{
    static const struct {
        const char *text;
        int64_t min, max;
        int result;
        int64_t value;
    } cases[] = {
        {"0", 0, 10, 0, 0},
        {"10", 0, 10, 0, 10},
        {"+7", 0, 10, 0, 7},
        {"-7", -10, 10, 0, -7},
        {"007", 0, 10, 0, 7},
        {"9223372036854775807", INT64_MIN, INT64_MAX, 0, INT64_MAX},
        {"-9223372036854775808", INT64_MIN, INT64_MAX, 0, INT64_MIN},
        {"9223372036854775808", INT64_MIN, INT64_MAX, -ERANGE, 0},
        {"-9223372036854775809", INT64_MIN, INT64_MAX, -ERANGE, 0},
        {"99999999999999999999999999", INT64_MIN, INT64_MAX, -ERANGE, 0},
        {"11", 0, 10, -ERANGE, 0},
        {"-1", 0, 10, -ERANGE, 0},
        {"", 0, 10, -EINVAL, 0},
        {"-", -10, 10, -EINVAL, 0},
        {"+", 0, 10, -EINVAL, 0},
        {"+-1", -10, 10, -EINVAL, 0},
        {" 1", 0, 10, -EINVAL, 0},
        {"1 ", 0, 10, -EINVAL, 0},
        {"1x", 0, 10, -EINVAL, 0},
        {"0x1", 0, 10, -EINVAL, 0},
        {"1.0", 0, 10, -EINVAL, 0},
        {"99999999999999999999999999x", 0, 10, -EINVAL, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t v = -42;
        int r = parse_int64(cases[i].text, strlen(cases[i].text), cases[i].min, cases[i].max, &v);
        if (r != cases[i].result || v != (r < 0 ? -42 : cases[i].value))
            CASE_FAILS("\"%s\": %d, %lld", cases[i].text, r, (long long)v);
    }
    int64_t v = 0;
    assert_int_equal(parse_int64("123", 2, 0, 1000, &v), 0); /* the length rules, not the NUL */
    assert_int_equal(v, 12);
    assert_int_equal(parse_int64("1\0002", 3, 0, 1000, &v), -EINVAL);
}

static void reads_fractions(void **state UNUSED)
{
    static const struct {
        const char *text;
        int result;
        double value;
    } cases[] = {
        {"0", 0, 0},
        {"0.5", 0, 0.5},
        {".5", 0, 0.5},
        {"5e-1", 0, 0.5},
        {"1", 0, 1},
        {"-0.5", 0, -0.5},
        {"1.0000001", -ERANGE, 0},
        {"1e999", -ERANGE, 0},
        {"-1e999", -ERANGE, 0},
        {"", -EINVAL, 0},
        {".", -EINVAL, 0},
        {"1,5", -EINVAL, 0},
        {"0x1p-1", -EINVAL, 0},
        {"nan", -EINVAL, 0},
        {"inf", -EINVAL, 0},
        {" 1", -EINVAL, 0},
        {"1 ", -EINVAL, 0},
        {"1.2.3", -EINVAL, 0},
        {"1e", -EINVAL, 0},
        {"e1", -EINVAL, 0},
        {"--1", -EINVAL, 0},
        {"0.0000000000000000000000000000000000000000000000000000000000000001", -EINVAL, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        double v = -42;
        int r = parse_double(cases[i].text, strlen(cases[i].text), -1, 1, &v);
        if (r != cases[i].result || v != (r < 0 ? -42 : cases[i].value))
            CASE_FAILS("\"%s\": %d, %g", cases[i].text, r, v);
    }
    double v = 0;
    assert_int_equal(parse_double("0\0001", 3, -1, 1, &v), -EINVAL);
}

static void reads_yes_and_no(void **state UNUSED)
{
    static const struct {
        const char *text;
        int result;
        bool value;
    } cases[] = {
        {"true", 0, true},     {"TRUE", 0, true},   {"yes", 0, true},  {"On", 0, true},
        {"1", 0, true},        {"false", 0, false}, {"No", 0, false},  {"off", 0, false},
        {"0", 0, false},       {"", -EINVAL, 0},    {"2", -EINVAL, 0}, {"t", -EINVAL, 0},
        {"true ", -EINVAL, 0}, {"ye", -EINVAL, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        bool v = !cases[i].value;
        int r = parse_bool(cases[i].text, strlen(cases[i].text), &v);
        if (r != cases[i].result || (r == 0 && v != cases[i].value))
            CASE_FAILS("\"%s\": %d, %d", cases[i].text, r, v);
    }
}

static void reads_durations(void **state UNUSED)
{
    static const struct {
        const char *text;
        int64_t unit_ms;
        int result;
        int64_t ms;
    } cases[] = {
        {"250ms", 0, 0, 250},
        {"5s", 0, 0, 5000},
        {"10m", 0, 0, 600000},
        {"10min", 0, 0, 600000},
        {"2h", 0, 0, 7200000},
        {"7d", 0, 0, 604800000},
        {"1w", 0, 0, 604800000},
        {"1.5s", 0, 0, 1500},
        {"5 s", 0, 0, 5000},
        {"5S", 0, 0, 5000},
        {"0", 0, 0, 0},
        {"0s", 0, 0, 0},
        {"30", 1000, 0, 30000},
        {"30", 0, -EINVAL, 0},
        {"", 1000, -EINVAL, 0},
        {"s", 1000, -EINVAL, 0},
        {"-5s", 0, -EINVAL, 0},
        {"5x", 0, -EINVAL, 0},
        {"5ss", 0, -EINVAL, 0},
        {"1.2.3s", 0, -EINVAL, 0},
        {"5s ", 0, -EINVAL, 0},
        {"53w", 0, -ERANGE, 0},
        {"99999999999999w", 0, -ERANGE, 0},
        {"9999999999999999999999999w", 0, -ERANGE, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t v = -42;
        int r = parse_duration_ms(cases[i].text, strlen(cases[i].text), cases[i].unit_ms, 0,
                                  INT64_C(365) * 86400000, &v);
        if (r != cases[i].result || v != (r < 0 ? -42 : cases[i].ms))
            CASE_FAILS("\"%s\": %d, %lld", cases[i].text, r, (long long)v);
    }
}

static void reads_sizes(void **state UNUSED)
{
    static const struct {
        const char *text;
        int result;
        int64_t bytes;
    } cases[] = {
        {"4096", 0, 4096},
        {"64k", 0, 65536},
        {"64K", 0, 65536},
        {"64kB", 0, 65536},
        {"10MB", 0, 10485760},
        {"10MiB", 0, 10485760},
        {"1GiB", 0, 1073741824},
        {"1g", 0, 1073741824},
        {"0.5k", 0, 512},
        {"1 MB", 0, 1048576},
        {"0", 0, 0},
        {"5b", 0, 5},
        {"", -EINVAL, 0},
        {"k", -EINVAL, 0},
        {"5kk", -EINVAL, 0},
        {"-1k", -EINVAL, 0},
        {"5p", -EINVAL, 0},
        {"2t", -ERANGE, 0},
        {"9999999999999t", -ERANGE, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t v = -42;
        int r = parse_size(cases[i].text, strlen(cases[i].text), 0, INT64_C(1) << 40, &v);
        if (r != cases[i].result || v != (r < 0 ? -42 : cases[i].bytes))
            CASE_FAILS("\"%s\": %d, %lld", cases[i].text, r, (long long)v);
    }
    int64_t v = 0; /* the largest limit that there is must not wrap */
    assert_int_equal(parse_size("8388607t", 8, 0, INT64_MAX, &v), -ERANGE);
    assert_int_equal(parse_size("8000000t", 8, 0, INT64_MAX, &v), 0);
    assert_true(v == INT64_C(8000000) << 40);
}

static void finds_a_name_in_a_table(void **state UNUSED)
{
    static const char *const names[] = {"auto", "none", "basic", NULL};
    int i = -1;
    assert_int_equal(parse_choice("BASIC", 5, names, 3, &i), 0);
    assert_int_equal(i, 2);
    assert_int_equal(parse_choice("auto", 4, names, 100, &i), 0); /* ends at NULL */
    assert_int_equal(i, 0);
    assert_int_equal(parse_choice("basi", 4, names, 3, &i), -EINVAL);
    assert_int_equal(parse_choice("", 0, names, 3, &i), -EINVAL);
    assert_int_equal(parse_choice("basic", 5, names, 2, &i), -EINVAL);
    assert_int_equal(i, 0);
}

static void walks_over_lists(void **state UNUSED)
{
    static const struct {
        const char *list, *joined;
    } cases[] = {
        {"a,b,c", "[a][b][c]"},
        {" a , b b ,c ", "[a][b b][c]"},
        {"", ""},
        {",,, ,", ""},
        {"one", "[one]"},
        {",a,,b,", "[a][b]"},
        {"\ta\r\n", "[a]"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char joined[64] = "";
        const char *cursor = cases[i].list, *item = NULL;
        size_t len = 0;
        while (parse_list_next(&cursor, &item, &len)) {
            size_t used = strlen(joined);
            (void)snprintf(joined + used, sizeof(joined) - used, "[%.*s]", (int)len, item);
        }
        test_expect_text(cases[i].list, joined, cases[i].joined);
        assert_null(cursor);
        assert_false(parse_list_next(&cursor, &item, &len));
    }
}

static void measures_typing_errors(void **state UNUSED)
{
    static const struct {
        const char *a, *b;
        unsigned distance;
    } cases[] = {
        {"", "", 0},
        {"abc", "abc", 0},
        {"abc", "", 3},
        {"", "abc", 3},
        {"listen", "lisen", 1},
        {"listen", "lsiten", 1},
        {"listen", "Listen", 1},
        {"kitten", "sitting", 3},
        {"ca", "abc", 3}, /* restricted: no edit between swapped letters */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (parse_distance(cases[i].a, cases[i].b) != cases[i].distance)
            CASE_FAILS("%s, %s: %u", cases[i].a, cases[i].b,
                       parse_distance(cases[i].a, cases[i].b));
    char longer[200];
    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    assert_int_equal(parse_distance(longer, "x"), 64);
    longer[64] = '\0';
    assert_int_equal(parse_distance(longer, ""), 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_whole_numbers), cmocka_unit_test(reads_fractions),
        cmocka_unit_test(reads_yes_and_no),    cmocka_unit_test(reads_durations),
        cmocka_unit_test(reads_sizes),         cmocka_unit_test(finds_a_name_in_a_table),
        cmocka_unit_test(walks_over_lists),    cmocka_unit_test(measures_typing_errors),
    };
    return RUN_TESTS(tests);
}
