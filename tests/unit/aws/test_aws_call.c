/* Errors of AWS as they come, and the clock. */

#include "aws/aws_call.h"

#include <errno.h>

#include "../test.h"

static struct wall_time now = {1700000000 * 1000000LL};
static struct wall_time fake_now(void)
{
    return now;
}

static void errors_are_judged_by_their_code_first(void **state)
{
    (void)state;
    static const struct {
        long status;
        const char *body, *code, *region;
        enum aws_trouble trouble;
    } cases[] = {
        {403,
         "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>no</Message></Error>",
         "AccessDenied", "", AWS_LOGIN},
        {503, "<Error><Code>SlowDown</Code></Error>", "SlowDown", "", AWS_RATE},
        {200, "<Error><Code>InternalError</Code></Error>", "InternalError", "", AWS_AWAY},
        {301, "<Error><Code>PermanentRedirect</Code><Region>eu-west-1</Region></Error>",
         "PermanentRedirect", "eu-west-1", AWS_LOGIN},
        {400, "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region></Error>",
         "AuthorizationHeaderMalformed", "eu-west-1", AWS_LOGIN},
        {404, "<Error><Code>NoSuchKey</Code></Error>", "NoSuchKey", "", AWS_WELL},
        {404, "<Error><Code>NoSuchBucket</Code></Error>", "NoSuchBucket", "", AWS_LOGIN},
        {400, "<Error><Code>BadDigest</Code></Error>", "BadDigest", "", AWS_WELL},
        {400, "<Error><Code>RequestTimeout</Code></Error>", "RequestTimeout", "", AWS_AWAY},
        {400, "<Error><Code>ExpiredToken</Code></Error>", "ExpiredToken", "", AWS_LOGIN},
        {507, "<Error><Code>XMinioStorageFull</Code></Error>", "XMinioStorageFull", "", AWS_QUOTA},
        {400,
         "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender"
         "</Type><Code>Throttling</Code><Message>m</Message></Error></ErrorResponse>",
         "Throttling", "", AWS_RATE},
        {400, "{\"__type\": \"com.amazonaws#ThrottlingException:http://x\", \"message\": \"slow\"}",
         "ThrottlingException", "", AWS_RATE},
        {400, "{\"__type\": \"AccessDeniedException\", \"Message\": \"no\"}",
         "AccessDeniedException", "", AWS_LOGIN},
        /* No code that is known: the status speaks. */
        {400, "<Error><Code>SomethingNew</Code></Error>", "SomethingNew", "", AWS_WELL},
        {500, "<html>oops", "", "", AWS_AWAY},
        {502, NULL, "", "", AWS_AWAY},
        {503, NULL, "", "", AWS_RATE},
        {429, "{", "", "", AWS_RATE},
        {403, NULL, "", "", AWS_LOGIN},
        {301, NULL, "", "", AWS_LOGIN},
        {404, NULL, "", "", AWS_WELL},
        {507, NULL, "", "", AWS_QUOTA},
        {403, "<!DOCTYPE x [<!ENTITY a \"b\">]><Error><Code>&a;</Code></Error>", "", "", AWS_LOGIN},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct aws_error error;
        const char *body = cases[i].body;
        AUTO_DONE(http_answer) a = {.status = cases[i].status, .retry_after_s = -1};
        a.body = body ? blob_new_copy(body, strlen(body)) : NULL;
        aws_error_read(&a, &error);
        if (strcmp(error.code, cases[i].code) != 0 || error.trouble != cases[i].trouble ||
            strcmp(error.region, cases[i].region) != 0 || error.pause_ms)
            CASE_FAILS("%zu: %s %d %s", i, error.code, error.trouble, error.region);
        bool known = !strcmp(error.code, "NoSuchKey") || !strcmp(error.code, "BadDigest");
        if (error.odd != (error.trouble == AWS_WELL && !known))
            CASE_FAILS("%zu: %s is odd: %d", i, error.code, error.odd);
    }
}

static void a_pause_that_is_asked_for_is_kept_within_a_day(void **state)
{
    (void)state;
    struct aws_error error;
    struct http_answer a = {.status = 503, .retry_after_s = 7};
    aws_error_read(&a, &error);
    assert_int_equal(error.pause_ms, 7000);
    a.retry_after_s = INT64_MAX;
    aws_error_read(&a, &error);
    assert_int_equal(error.pause_ms, 86400000);
}

static void control_characters_of_a_server_do_not_reach_the_log(void **state)
{
    (void)state;
    static const char body[] = "{\"__type\": \"A\\u001b[31m\", \"message\": \"x\\r\\ny\"}";
    struct aws_error error;
    AUTO_DONE(http_answer) a = {.status = 400, .body = blob_new_copy(body, strlen(body))};
    aws_error_read(&a, &error);
    assert_null(strchr(error.code, 27));
    assert_null(strpbrk(error.message, "\r\n"));
}

static void codes_have_advice(void **state)
{
    (void)state;
    assert_non_null(aws_error_advice("NoSuchBucket"));
    assert_non_null(aws_error_advice("ExpiredTokenException"));
    assert_null(aws_error_advice("SlowDown"));
    assert_null(aws_error_advice("Unheard"));
    assert_null(aws_error_advice(""));
}

static void the_clock_is_corrected_once_per_news(void **state)
{
    (void)state;
    struct aws_clock c = {0};
    clock_set_wall_source(fake_now);
    assert_false(aws_clock_learn(&c, 0, -1));
    assert_false(aws_clock_learn(&c, 0, 1700000010)); /* not why a date is refused */
    assert_int_equal(aws_clock_offset_s(&c), 0);
    assert_true(aws_clock_learn(&c, 0, 1700003600));
    assert_int_equal(wall_seconds(aws_clock_at(aws_clock_offset_s(&c))), 1700003600);
    assert_true(aws_clock_learn(&c, 0, 1700003600)); /* another that had asked with the old one */
    assert_false(aws_clock_learn(&c, 3600, 1700003601));
    now = wall_from_seconds(1700003600); /* somebody set the clock */
    assert_true(aws_clock_learn(&c, 3600, 1700003600));
    assert_int_equal(aws_clock_offset_s(&c), 0);
    clock_set_wall_source(NULL);
}

static void origins_have_a_host_as_its_header_reads(void **state)
{
    (void)state;
    static const char *const good[][2] = {
        {"https://h:9000", "h:9000"}, {"https://h:443", "h"},       {"http://h:80", "h"},
        {"http://h:443", "h:443"},    {"https://[::1]", "[::1]"},   {"http://[::1]:80", "[::1]"},
        {"http://h:8080", "h:8080"},  {"https://h:1443", "h:1443"},
    };
    static const char *const bad[] = {"",        "h",          "https://",   "https://h/",
                                      "ftp://h", "http://h?x", "http://:80", "https://u@h"};
    char host[AWS_HOST_MAX];
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_int_equal(aws_origin_host(good[i][0], host), 0);
        assert_string_equal(host, good[i][1]);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(aws_origin_host(bad[i], host), -EINVAL);
    char longer[AWS_HOST_MAX + 20] = "https://";
    memset(longer + 8, 'h', AWS_HOST_MAX);
    assert_int_equal(aws_origin_host(longer, host), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_are_judged_by_their_code_first),
        cmocka_unit_test(a_pause_that_is_asked_for_is_kept_within_a_day),
        cmocka_unit_test(control_characters_of_a_server_do_not_reach_the_log),
        cmocka_unit_test(codes_have_advice),
        cmocka_unit_test(the_clock_is_corrected_once_per_news),
        cmocka_unit_test(origins_have_a_host_as_its_header_reads),
    };
    return RUN_TESTS(tests);
}
