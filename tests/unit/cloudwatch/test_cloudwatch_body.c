/* The form of PutMetricData, and the names in it. */

#include "cloudwatch/cloudwatch_body.h"

#include <errno.h>
#include <math.h>

#include "base/mem.h"
#include "../test.h"

static void a_device_is_called_by_its_first_two_parts(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"porch", "porch"},
        {"front-door", "front-door"},
        {"front-door-2", "front-door"},
        {"a-b-c-d", "a-b"},
        {"a--b", "a-"},
        {"-a-b", "-a"},
        {"--", "-"},
        {"front door-1", "front door-1"},
        {"", "unknown"},
        {"  ", "unknown"},
        {"T\xc3\xbcr-1-2", "T?r-1"},
        {"a\nb\x7f", "a?b?"},
        {"\xff\xfe-\xff-x", "\?\?-?"},
        {"snapshot-processor", "snapshot-processor"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char got[CLOUDWATCH_VALUE_MAX];
        cloudwatch_device(rows[i][0], got);
        test_expect_text(rows[i][0], got, rows[i][1]);
    }
}

static void a_value_is_cut_at_1024_characters(void **state)
{
    (void)state;
    char got[CLOUDWATCH_VALUE_MAX];
    AUTO_FREE char *text = xcalloc(1, 3000);
    memset(text, 'x', 2999);
    cloudwatch_value(text, "y", got);
    assert_int_equal(strlen(got), 1024);
    cloudwatch_value("", "y", got);
    assert_string_equal(got, "y");
}

static void a_session_is_named_as_the_predecessor_names_it(void **state)
{
    (void)state;
    static const char *const rows[][3] = {
        {NULL, "app", "app-session"},
        {"", "snapshot-processor", "snapshot-processor-session"},
        {"porch@home", "app", "porch@home"},
        {"arn:aws:iam::123456789012:role/metrics", "app", "app-session"},
        {"a b", "my app/1", "my-app-1-session"},
        {"x", "T\xc3\xbcr", "T--r-session"},
        {NULL, "", "-session"},
        {NULL, "0123456789012345678901234567890123456789012345678901234567890123456789",
         "01234567890123456789012345678901234567890123456789012345-session"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char got[CLOUDWATCH_SESSION_MAX];
        cloudwatch_session(rows[i][0], rows[i][1], got);
        test_expect_text(rows[i][1], got, rows[i][2]);
        assert_true(cloudwatch_is_session(got));
    }
    assert_false(cloudwatch_is_session("x"));
    assert_false(cloudwatch_is_session("a:b"));
}

static const struct wall_time at = {1767323045 * 1000000LL + 999999};

static void one_error_is_what_the_predecessor_posts(void **state)
{
    (void)state;
    const struct cloudwatch_datum d = {.metric = "Errors", .value = 1, .at = at};
    AUTO_DONE(dynbuf) out = {0};
    assert_int_equal(cloudwatch_body("automation", "app", "front door", &d, 1, &out), 0);
    assert_string_equal(dynbuf_str(&out),
                        "Action=PutMetricData&Version=2010-08-01&Namespace=automation"
                        "&MetricData.member.1.MetricName=Errors"
                        "&MetricData.member.1.Dimensions.member.1.Name=Application"
                        "&MetricData.member.1.Dimensions.member.1.Value=app"
                        "&MetricData.member.1.Dimensions.member.2.Name=Device"
                        "&MetricData.member.1.Dimensions.member.2.Value=front%20door"
                        "&MetricData.member.1.Timestamp=2026-01-02T03%3A04%3A05Z"
                        "&MetricData.member.1.Value=1&MetricData.member.1.Unit=Count");
}

static void five_errors_are_five_samples_and_a_level_is_one(void **state)
{
    (void)state;
    const struct cloudwatch_datum d[] = {
        {.metric = "Errors", .value = 5, .at = at},
        {.metric = "Lost", .value = (double)NAN, .at = at},
        {.metric = "Lost", .value = 0x1p361, .at = at},
        {.metric = "Waiting", .level = true, .value = 0, .at = at},
    };
    AUTO_DONE(dynbuf) out = {0};
    assert_int_equal(cloudwatch_body("a/b", "app", "d", d, ARRAY_LEN(d), &out), 0);
    const char *text = dynbuf_str(&out);
    assert_non_null(strstr(text, "&Namespace=a%2Fb&"));
    assert_non_null(strstr(text, "&MetricData.member.1.Values.member.1=1"
                                 "&MetricData.member.1.Counts.member.1=5&"));
    assert_non_null(strstr(text, "&MetricData.member.2.MetricName=Waiting&"));
    assert_non_null(strstr(text, "&MetricData.member.2.Value=0&"));
    assert_null(strstr(text, "Lost"));
}

static void all_that_can_wait_fits_and_no_more_than_a_megabyte_is_made(void **state)
{
    (void)state;
    struct cloudwatch_datum *d = xcalloc(CLOUDWATCH_DATA_MAX, sizeof(*d));
    char name[CLOUDWATCH_VALUE_MAX];
    for (size_t i = 0; i < CLOUDWATCH_DATA_MAX; i++)
        d[i] = (struct cloudwatch_datum){.metric = "DeliveriesFailed", .value = 123456, .at = at};
    AUTO_DONE(dynbuf) out = {0};
    assert_int_equal(cloudwatch_body("automation", "snapshot-processor", "snapshot-processor", d,
                                     CLOUDWATCH_DATA_MAX, &out),
                     0);
    assert_true(out.len < CLOUDWATCH_BODY_MAX);
    dynbuf_done(&out);
    memset(name, '%', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    assert_int_equal(cloudwatch_body("automation", name, name, d, CLOUDWATCH_DATA_MAX, &out),
                     -ENOSPC);
    dynbuf_done(&out);
    assert_int_equal(cloudwatch_body("automation", name, name, d, 1, &out), 0);
    free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_device_is_called_by_its_first_two_parts),
        cmocka_unit_test(a_value_is_cut_at_1024_characters),
        cmocka_unit_test(a_session_is_named_as_the_predecessor_names_it),
        cmocka_unit_test(one_error_is_what_the_predecessor_posts),
        cmocka_unit_test(five_errors_are_five_samples_and_a_level_is_one),
        cmocka_unit_test(all_that_can_wait_fits_and_no_more_than_a_megabyte_is_made),
    };
    return RUN_TESTS(tests);
}
