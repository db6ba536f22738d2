#include "../test.h"

#include <errno.h>

#include "health/ping.h"

static const struct cronitor_target target = {
    .url = "https://cronitor.link", .api_key = "key", .monitor_key = "mon", .host = "Our Pi"};

static void expect_cronitor(const struct cronitor_target *t, enum ping_kind kind,
                            const struct health_news *news, const char *wanted)
{
    AUTO_DONE(dynbuf) url;
    dynbuf_init(&url, PING_URL_MAX);
    assert_int_equal(cronitor_address(t, kind, news, &url), 0);
    test_expect_text("address", dynbuf_str(&url), wanted);
}

static void tells_cronitor_what_the_predecessor_told(void **state UNUSED)
{
    struct health_news news = {.well = true, .stages_running = 12};
    expect_cronitor(&target, PING_WELL, &news,
                    "https://cronitor.link/p/key/mon?state=ok&host=Our%20Pi&metric=count:12"
                    "&metric=error_count:0");
    news = (struct health_news){.stages_running = 11,
                                .stages_missing = 1,
                                .parts_unwell = 2,
                                .text = "stage:fetch: hangs & more"};
    expect_cronitor(&target, PING_FAIL, &news,
                    "https://cronitor.link/p/key/mon?state=fail&host=Our%20Pi"
                    "&message=stage%3Afetch%3A%20hangs%20%26%20more&metric=count:11"
                    "&metric=error_count:3");
}

static void keeps_odd_keys_in_their_part_of_the_path(void **state UNUSED)
{
    struct health_news news = {.well = true};
    struct cronitor_target odd = {
        .url = "http://127.0.0.1:9//", .api_key = "a/b?c", .monitor_key = "d e", .host = ""};
    expect_cronitor(&odd, PING_WELL, &news,
                    "http://127.0.0.1:9/p/a%2Fb%3Fc/d%20e?state=ok&metric=count:0"
                    "&metric=error_count:0");
    AUTO_DONE(dynbuf) url;
    dynbuf_init(&url, PING_URL_MAX);
    odd.url = "file:///etc/passwd";
    assert_int_equal(cronitor_address(&odd, PING_WELL, &news, &url), -EINVAL);
}

static void addresses_healthchecks_with_or_without_a_slash(void **state UNUSED)
{
    static const struct {
        const char *base;
        enum ping_kind kind;
        const char *wanted;
    } cases[] = {
        {"https://hc-ping.com/u-u", PING_WELL, "https://hc-ping.com/u-u"},
        {"https://hc-ping.com/u-u/", PING_WELL, "https://hc-ping.com/u-u"},
        {"https://hc-ping.com/u-u", PING_START, "https://hc-ping.com/u-u/start"},
        {"https://hc-ping.com/u-u/", PING_START, "https://hc-ping.com/u-u/start"},
        {"https://hc-ping.com/u-u///", PING_FAIL, "https://hc-ping.com/u-u/fail"},
        {"https://hc-ping.com/key/slug?create=1", PING_STOPPED,
         "https://hc-ping.com/key/slug/log?create=1"},
        {"http://h/key/slug/?create=1#x", PING_FAIL, "http://h/key/slug/fail?create=1"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO_DONE(dynbuf) url;
        dynbuf_init(&url, PING_URL_MAX);
        assert_int_equal(healthchecks_address(cases[i].base, cases[i].kind, &url), 0);
        test_expect_text(cases[i].base, dynbuf_str(&url), cases[i].wanted);
    }
    AUTO_DONE(dynbuf) url;
    dynbuf_init(&url, PING_URL_MAX);
    assert_int_equal(healthchecks_address("hc-ping.com/u-u", PING_WELL, &url), -EINVAL);
}

static void knows_what_answers_mean(void **state UNUSED)
{
    static const struct {
        long status;
        const char *body;
        enum ping_answer healthchecks, cronitor;
    } cases[] = {
        {200, "OK", PING_COUNTED, PING_COUNTED},
        {200, "OK (not found)", PING_IGNORED, PING_COUNTED},
        {200, "OK (rate limited)", PING_SLOWER, PING_COUNTED},
        {200, "", PING_COUNTED, PING_COUNTED},
        {201, "Created", PING_COUNTED, PING_COUNTED},
        {302, "", PING_REFUSED, PING_REFUSED},
        {400, "", PING_REFUSED, PING_REFUSED},
        {403, "", PING_REFUSED, PING_REFUSED},
        {404, "not found", PING_REFUSED, PING_REFUSED},
        {409, "ambiguous slug", PING_REFUSED, PING_REFUSED},
        {429, "rate limit exceeded", PING_SLOWER, PING_SLOWER},
        {500, "", PING_AGAIN, PING_AGAIN},
        {503, "<html>", PING_AGAIN, PING_AGAIN},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (healthchecks_answer(cases[i].status, cases[i].body, strlen(cases[i].body)) !=
            cases[i].healthchecks)
            CASE_FAILS("healthchecks %ld %s", cases[i].status, cases[i].body);
        if (cronitor_answer(cases[i].status) != cases[i].cronitor)
            CASE_FAILS("cronitor %ld", cases[i].status);
    }
    assert_int_equal(healthchecks_answer(200, NULL, 0), PING_COUNTED);
    for (int i = 0; i < PING_ANSWER_COUNT; i++)
        assert_non_null(ping_answer_names[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_cronitor_what_the_predecessor_told),
        cmocka_unit_test(keeps_odd_keys_in_their_part_of_the_path),
        cmocka_unit_test(addresses_healthchecks_with_or_without_a_slash),
        cmocka_unit_test(knows_what_answers_mean),
    };
    return RUN_TESTS(tests);
}
