#include "../test.h"

#include <errno.h>

#include "stage/cron.h"

static void use_zone(const char *zone)
{
    assert_int_equal(setenv("TZ", zone, 1), 0);
    tzset();
}

struct next_case {
    const char *cron, *after, *next; /* next NULL: never */
};

static void expect_next(const struct next_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct cron c;
        struct err e = {0};
        struct wall_time after = {0}, next = {0};
        char text[WALL_ISO_MAX];
        if (cron_parse(cases[i].cron, &c, &e) < 0)
            CASE_FAILS("%s", e.text);
        assert_int_equal(wall_parse_iso(cases[i].after, &after), 0);
        int r = cron_next(&c, after, &next);
        const char *got = r < 0 ? "never" : wall_format_iso(next, false, text);
        assert_true(r == 0 || r == -ENOENT);
        test_expect_text(cases[i].cron, got, cases[i].next ? cases[i].next : "never");
    }
}

static void finds_the_next_minute(void **state UNUSED)
{
    static const struct next_case cases[] = {
        {"* * * * *", "2026-01-02T03:04:05Z", "2026-01-02T03:05:00Z"},
        {"* * * * *", "2026-01-02T03:04:00Z", "2026-01-02T03:05:00Z"}, /* strictly after */
        {"4 3 * * *", "2026-01-02T03:03:59.999Z", "2026-01-02T03:04:00Z"},
        {"4 3 * * *", "2026-01-02T03:04:00Z", "2026-01-03T03:04:00Z"},
        {"*/15 * * * *", "2026-01-02T03:46:00Z", "2026-01-02T04:00:00Z"},
        {"7/20 * * * *", "2026-01-02T03:30:00Z", "2026-01-02T03:47:00Z"},
        {"0 8-18/2 * * *", "2026-01-02T18:00:00Z", "2026-01-03T08:00:00Z"},
        {"0,30 6,22 * * *", "2026-01-02T06:30:00Z", "2026-01-02T22:00:00Z"},
        {"0 0 1 * *", "2026-01-02T00:00:00Z", "2026-02-01T00:00:00Z"},
        {"0 0 31 * *", "2026-01-31T00:00:00Z", "2026-03-31T00:00:00Z"},
        {"0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"},
        {"0 0 30 feb *", "2026-01-01T00:00:00Z", NULL},
        {"59 23 31 dec *", "2026-12-31T23:59:00Z", "2027-12-31T23:59:00Z"},
        {"0 0 * * mon", "2026-01-02T00:00:00Z", "2026-01-05T00:00:00Z"},
        {"0 0 * * 0", "2026-01-02T00:00:00Z", "2026-01-04T00:00:00Z"},
        {"0 0 * * 7", "2026-01-02T00:00:00Z", "2026-01-04T00:00:00Z"},
        {"0 0 * * Mon-Fri", "2026-01-02T00:00:00Z", "2026-01-05T00:00:00Z"},
        {"0 0 * * 5-7", "2026-01-04T00:00:00Z", "2026-01-09T00:00:00Z"},
        {"0 0 13 * fri", "2026-01-02T00:00:00Z", "2026-01-09T00:00:00Z"}, /* either day */
        {"0 0 13 * fri", "2026-01-10T00:00:00Z", "2026-01-13T00:00:00Z"},
        {"0 0 */2 * fri", "2026-01-02T00:00:00Z", "2026-01-09T00:00:00Z"}, /* a star: both */
        {"@hourly", "2026-01-02T03:00:00Z", "2026-01-02T04:00:00Z"},
        {"@daily", "2026-01-02T03:00:00Z", "2026-01-03T00:00:00Z"},
        {"\t5  4 * *\t* ", "2026-01-02T00:00:00Z", "2026-01-02T04:05:00Z"},
    };
    use_zone("UTC");
    expect_next(cases, ARRAY_LEN(cases));
}

/* Europe/Berlin 2026: clocks go from 02:00 to 03:00 on 29 March (01:00 UTC) and from 03:00 back to
 * 02:00 on 25 October (01:00 UTC). */
static void follows_the_clocks_of_a_place(void **state UNUSED)
{
    static const struct next_case cases[] = {
        {"0 7 * * *", "2026-03-28T06:00:00Z", "2026-03-29T05:00:00Z"},  /* a day of 23 hours */
        {"0 7 * * *", "2026-10-24T05:00:00Z", "2026-10-25T06:00:00Z"},  /* one of 25 */
        {"30 2 * * *", "2026-03-28T02:00:00Z", "2026-03-29T01:00:00Z"}, /* 02:30 is left out */
        {"30 2 * * *", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"},
        {"30 2 * * *", "2026-10-24T01:00:00Z", "2026-10-25T00:30:00Z"}, /* comes twice */
        {"30 2 * * *", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"},
        {"0,30 2-3 * * *", "2026-10-25T00:30:00Z", "2026-10-25T02:00:00Z"},
        {"10,40 2,3 * * *", "2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z"},
        {"10,40 2,3 * * *", "2026-03-29T01:00:00Z", "2026-03-29T01:10:00Z"},
        {"30 * * * *", "2026-10-25T00:30:00Z",
         "2026-10-25T01:30:00Z"}, /* every hour is every one */
        {"30 * * * *", "2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z"},
        {"0 * * * *", "2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z"}, /* 01:00, then 03:00 */
        {"0 3 29 3 *", "2026-03-01T00:00:00Z", "2026-03-29T01:00:00Z"},
        {"0 0 * * *", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"},
        {"0 0 * * *", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"},
        {"*/20 * * * *", "2026-10-25T00:40:00Z", "2026-10-25T01:00:00Z"},
    };
    use_zone("CET-1CEST,M3.5.0,M10.5.0/3"); /* the rule itself: no zone files needed */
    expect_next(cases, ARRAY_LEN(cases));
    use_zone("UTC");
}

static void copes_with_odd_zones(void **state UNUSED)
{
    static const struct next_case half[] = {
        {"0 12 * * *", "2026-01-02T00:00:00Z", "2026-01-02T06:30:00Z"},
        {"15 0 * * *", "2026-01-02T18:45:00Z", "2026-01-03T18:45:00Z"},
    };
    use_zone("IST-5:30");
    expect_next(half, ARRAY_LEN(half));
    /* Midnight itself is skipped: the day begins at 01:00. */
    static const struct next_case no_midnight[] = {
        {"0 1 29 3 *", "2026-03-01T00:00:00Z", "2026-03-29T00:00:00Z"},
        {"* * 29 3 *", "2026-03-01T00:00:00Z", "2026-03-29T00:00:00Z"},
        {"0 0 * * *", "2026-03-28T00:00:00Z", "2026-03-29T00:00:00Z"},
        {"0 0 * * *", "2026-03-29T00:00:00Z", "2026-03-29T23:00:00Z"},
    };
    use_zone("XST0XDT,M3.5.0/0,M10.5.0/1");
    expect_next(no_midnight, ARRAY_LEN(no_midnight));
    use_zone("UTC");
}

static void says_what_is_wrong(void **state UNUSED)
{
    static const struct {
        const char *cron, *text;
    } cases[] = {
        {"", "\"\": 0 of 5 fields: \"minute hour day month weekday\" is wanted"},
        {"5 4 *", "\"5 4 *\": 3 of 5 fields: \"minute hour day month weekday\" is wanted"},
        {"5 4 * * * *", "\"5 4 * * * *\": more than 5 fields"},
        {"60 * * * *", "\"60 * * * *\": minute \"60\": numbers 0-59, ranges, lists and steps are "
                       "known"},
        {"* 24 * * *", "\"* 24 * * *\": hour \"24\": numbers 0-23, ranges, lists and steps are "
                       "known"},
        {"* * 0 * *", "\"* * 0 * *\": day of month \"0\": numbers 1-31, ranges, lists and steps "
                      "are known"},
        {"* * * 13 *", "\"* * * 13 *\": month \"13\": numbers 1-12, ranges, lists and steps are "
                       "known"},
        {"* * * * 8", "\"* * * * 8\": day of week \"8\": numbers 0-7, ranges, lists and steps are "
                      "known"},
        {"* * * * Monday", "\"* * * * Monday\": day of week \"Monday\": numbers 0-7, ranges, lists "
                           "and steps are known"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err e = {0};
        struct cron c;
        assert_int_equal(cron_parse(cases[i].cron, &c, &e), -EINVAL);
        test_expect_text(cases[i].cron, e.text, cases[i].text);
    }
    static const char *const others[] = {
        "a * * * *",   "5-4 * * * *",  "*/0 * * * *", "*/ * * * *",  "/5 * * * *",    ", * * * *",
        "1, * * * *",  "1,,2 * * * *", "-5 * * * *",  "5- * * * *",  "1-2-3 * * * *", "** * * * *",
        "1.5 * * * *", "jan * * * *",  "@reboot",     "*/-1 * * * *"};
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        struct cron c;
        if (cron_parse(others[i], &c, NULL) != -EINVAL)
            CASE_FAILS("\"%s\" is accepted", others[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_next_minute),
        cmocka_unit_test(follows_the_clocks_of_a_place),
        cmocka_unit_test(copes_with_odd_zones),
        cmocka_unit_test(says_what_is_wrong),
    };
    return RUN_TESTS(tests);
}
