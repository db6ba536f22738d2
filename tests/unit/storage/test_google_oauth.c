#include "../test.h"

#include <errno.h>

#include "storage/google_oauth.h"

static int judge(enum google_ask ask, long status, const char *body, struct google_grant *grant,
                 enum google_refusal *refusal, struct err *e)
{
    static const char *const sent[] = {"canary-refresh", "canary-secret", NULL};
    err_clear(e);
    return google_oauth_judge(ask, status, body, strlen(body), sent, grant, refusal, e);
}

static void takes_what_google_grants(void **state)
{
    struct google_grant g;
    enum google_refusal refusal = GOOGLE_BUSY;
    struct err e = {0};
    (void)state;
    assert_int_equal(judge(GOOGLE_ASK_CODE, 200,
                           "{\"access_token\":\"ya29.a\",\"expires_in\":3599,\"refresh_token\":"
                           "\"1//r\",\"scope\":\"a b\",\"token_type\":\"Bearer\","
                           "\"refresh_token_expires_in\":604799,\"new\":[1]}",
                           &g, &refusal, &e),
                     0);
    assert_int_equal(refusal, GOOGLE_GRANTED);
    assert_string_equal(g.access_token, "ya29.a");
    assert_string_equal(g.refresh_token, "1//r");
    assert_string_equal(g.scope, "a b");
    assert_int_equal(g.expires_s, 3599);
    assert_int_equal(g.refresh_expires_s, 604799);
    google_grant_done(&g);

    assert_int_equal(judge(GOOGLE_ASK_REFRESH, 200, "{\"access_token\":\"x\"}", &g, &refusal, &e),
                     0);
    assert_string_equal(g.refresh_token, "");
    assert_int_equal(g.expires_s, 3600);
    assert_int_equal(g.refresh_expires_s, -1);
    google_grant_done(&g);
}

static void takes_an_access_token_of_two_kilobytes_but_none_without_end(void **state)
{
    static char body[16384];
    struct google_grant g;
    enum google_refusal refusal;
    struct err e = {0};
    (void)state;
    (void)snprintf(body, sizeof(body), "{\"access_token\":\"%0*d\"}", 2300, 0);
    assert_int_equal(judge(GOOGLE_ASK_REFRESH, 200, body, &g, &refusal, &e), 0);
    google_grant_done(&g);
    (void)snprintf(body, sizeof(body), "{\"access_token\":\"%0*d\"}", GOOGLE_TOKEN_MAX, 0);
    assert_int_equal(judge(GOOGLE_ASK_REFRESH, 200, body, &g, &refusal, &e), -EAGAIN);
}

static void each_no_has_its_kind(void **state)
{
    static const struct {
        enum google_ask ask;
        long status;
        const char *body;
        enum google_refusal refusal;
        int code;
        enum err_retry retry;
        const char *words;
    } cases[] = {
#define REFRESH GOOGLE_ASK_REFRESH
#define POLL GOOGLE_ASK_DEVICE_POLL
        /* the device flow: Google's status, and the RFC's */
        {POLL, 428, "{\"error\":\"authorization_pending\"}", GOOGLE_PENDING, -EINPROGRESS,
         ERR_LATER, "nobody has agreed"},
        {POLL, 400, "{\"error\":\"authorization_pending\"}", GOOGLE_PENDING, -EINPROGRESS,
         ERR_LATER, "nobody has agreed"},
        {POLL, 403, "{\"error\":\"slow_down\"}", GOOGLE_SLOW_DOWN, -EINPROGRESS, ERR_LATER,
         "too often"},
        {POLL, 400, "{\"error\":\"slow_down\"}", GOOGLE_SLOW_DOWN, -EINPROGRESS, ERR_LATER,
         "too often"},
        {POLL, 403, "{\"error\":\"access_denied\"}", GOOGLE_DENIED, -EACCES, ERR_NEVER, "denied"},
        {POLL, 400, "{\"error\":\"expired_token\"}", GOOGLE_TOO_LATE, -ETIME, ERR_NEVER,
         "start again"},
        {POLL, 400, "{\"error\":\"invalid_grant\"}", GOOGLE_TOO_LATE, -ETIME, ERR_NEVER,
         "the code is wrong"},
        {POLL, 401, "{\"error\":\"invalid_client\"}", GOOGLE_CLIENT, -EKEYREJECTED, ERR_NEVER,
         "TVs and Limited Input"},
        {GOOGLE_ASK_DEVICE, 401,
         "{\"error\":\"invalid_client\",\"error_description\":\"Invalid "
         "client type.\"}",
         GOOGLE_CLIENT, -EKEYREJECTED, ERR_NEVER, "(Invalid client type.)"},
        {GOOGLE_ASK_DEVICE, 403, "{\"error_code\":\"rate_limit_exceeded\"}", GOOGLE_BUSY, -EAGAIN,
         ERR_LATER, "too often"},
        {POLL, 403, "{\"error\":\"admin_policy_enforced\"}", GOOGLE_POLICY, -EACCES, ERR_NEVER,
         "administrator"},
        {POLL, 403, "{\"error\":\"org_internal\"}", GOOGLE_POLICY, -EACCES, ERR_NEVER, "members"},
        {POLL, 400, "{\"error\":\"unsupported_grant_type\"}", GOOGLE_CLIENT, -EKEYREJECTED,
         ERR_NEVER, "type"},
        {GOOGLE_ASK_DEVICE, 400, "{\"error\":\"invalid_scope\"}", GOOGLE_POLICY, -EACCES, ERR_NEVER,
         "scope"},
        /* a refresh */
        {REFRESH, 400,
         "{\"error\":\"invalid_grant\",\"error_description\":\"Token has been "
         "expired or revoked.\"}",
         GOOGLE_GONE, -EKEYREVOKED, ERR_NEVER, "(Token has been expired or revoked.)"},
        {REFRESH, 400, "{\"error\":\"invalid_grant\"}", GOOGLE_GONE, -EKEYREVOKED, ERR_NEVER,
         "ends after 7 days: publish the app"},
        {REFRESH, 400, "{\"error\":\"invalid_grant\"}", GOOGLE_GONE, -EKEYREVOKED, ERR_NEVER,
         "snapshotd auth gdrive"},
        {REFRESH, 401, "{\"error\":\"invalid_client\"}", GOOGLE_CLIENT, -EKEYREJECTED, ERR_NEVER,
         "its id or its secret"},
        {REFRESH, 401, "{\"error\":\"deleted_client\"}", GOOGLE_CLIENT, -EKEYREJECTED, ERR_NEVER,
         "deleted"},
        {REFRESH, 401, "{\"error\":\"disabled_client\"}", GOOGLE_CLIENT, -EKEYREJECTED, ERR_NEVER,
         "disabled"},
        {REFRESH, 401, "{\"error\":\"unauthorized_client\"}", GOOGLE_CLIENT, -EKEYREJECTED,
         ERR_NEVER, "client"},
        {REFRESH, 400, "{\"error\":\"invalid_request\"}", GOOGLE_POLICY, -EACCES, ERR_NEVER,
         "faulty"},
        {REFRESH, 400, "{\"error\":\"something_new\"}", GOOGLE_POLICY, -EACCES, ERR_NEVER,
         "something_new"},
        {REFRESH, 500, "{\"error\":\"internal_failure\"}", GOOGLE_BUSY, -EAGAIN, ERR_LATER,
         "trouble"},
        {REFRESH, 503, "{\"error\":\"something_new\"}", GOOGLE_BUSY, -EAGAIN, ERR_LATER,
         "HTTP 503"},
        {REFRESH, 429, "{\"error\":\"something_new\"}", GOOGLE_BUSY, -EAGAIN, ERR_LATER,
         "HTTP 429"},
        {REFRESH, 400, "{\"error\":\"temporarily_unavailable\"}", GOOGLE_BUSY, -EAGAIN, ERR_LATER,
         "trouble"},
        /* what is not Google's word ends no login */
        {REFRESH, 400, "<html>bad request</html>", GOOGLE_BUSY, -EAGAIN, ERR_LATER, "not Google's"},
        {REFRESH, 403, "", GOOGLE_BUSY, -EAGAIN, ERR_LATER, "not Google's"},
        {REFRESH, 404, "[]", GOOGLE_BUSY, -EAGAIN, ERR_LATER, "not Google's"},
        {REFRESH, 302, "", GOOGLE_BUSY, -EAGAIN, ERR_LATER, "HTTP 302"},
        {REFRESH, 502, "<html>bad gateway</html>", GOOGLE_BUSY, -EAGAIN, ERR_LATER, "HTTP 502"},
        {REFRESH, 200, "<html>please log in to this hotel</html>", GOOGLE_BUSY, -EAGAIN, ERR_LATER,
         "not Google's"},
        {REFRESH, 200, "{}", GOOGLE_BUSY, -EAGAIN, ERR_LATER, "makes no sense"},
        {REFRESH, 200, "{\"access_token\":7}", GOOGLE_BUSY, -EAGAIN, ERR_LATER, "makes no sense"},
        {REFRESH, 200, "{\"access_token\":\"\"}", GOOGLE_BUSY, -EAGAIN, ERR_LATER,
         "makes no sense"},
        {REFRESH, 200, "{\"access_token\":\"a\\r\\nX-Evil: 1\"}", GOOGLE_BUSY, -EAGAIN, ERR_LATER,
         "makes no sense"},
        {REFRESH, 200, "{\"access_token\":\"a\",\"refresh_token\":\"b c\"}", GOOGLE_BUSY, -EAGAIN,
         ERR_LATER, "makes no sense"},
        {REFRESH, 200, "{\"access_token\":\"a\"", GOOGLE_BUSY, -EAGAIN, ERR_LATER, "not Google's"},
        {REFRESH, 400, "{\"error\":{\"code\":400,\"message\":\"API style\"}}", GOOGLE_BUSY, -EAGAIN,
         ERR_LATER, "makes no sense"},
        /* the browser's flow */
        {GOOGLE_ASK_CODE, 400, "{\"error\":\"redirect_uri_mismatch\"}", GOOGLE_CLIENT,
         -EKEYREJECTED, ERR_NEVER, "not registered"},
        {GOOGLE_ASK_SERVICE, 400, "{\"error\":\"invalid_grant\"}", GOOGLE_GONE, -EKEYREVOKED,
         ERR_NEVER, "clock"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct google_grant g;
        enum google_refusal refusal = GOOGLE_GRANTED;
        struct err e;
        int r = judge(cases[i].ask, cases[i].status, cases[i].body, &g, &refusal, &e);
        if (r != cases[i].code || e.code != r || refusal != cases[i].refusal ||
            e.retry != cases[i].retry || !strstr(e.text, cases[i].words))
            CASE_FAILS("%zu, %s: code %d, refusal %d, retry %d, \"%s\"", i, cases[i].body, r,
                       refusal, e.retry, e.text);
        if (strlen(e.text) > ERR_TEXT_MAX - 40) /* others put a place in front */
            CASE_FAILS("%zu: too long: %s", i, e.text);
    }
}

static void what_was_sent_is_not_shown_when_a_server_repeats_it(void **state)
{
    struct google_grant g;
    enum google_refusal refusal;
    struct err e;
    (void)state;
    assert_int_equal(judge(GOOGLE_ASK_REFRESH, 400,
                           "{\"error\":\"invalid_grant\",\"error_description\":\"canary-refresh is "
                           "bad\"}",
                           &g, &refusal, &e),
                     -EKEYREVOKED);
    assert_null(strstr(e.text, "canary"));
    assert_int_equal(
        judge(GOOGLE_ASK_REFRESH, 400, "{\"error\":\"no_canary-refresh\"}", &g, &refusal, &e),
        -EACCES);
    assert_null(strstr(e.text, "canary"));
    assert_int_equal(judge(GOOGLE_ASK_REFRESH, 500, "canary-secret", &g, &refusal, &e), -EAGAIN);
    assert_null(strstr(e.text, "canary"));
}

static void what_a_server_says_cannot_write_on_the_terminal(void **state)
{
    struct google_grant g;
    enum google_refusal refusal;
    struct err e;
    (void)state;
    (void)judge(GOOGLE_ASK_REFRESH, 400,
                "{\"error\":\"new\\u001b[2J\",\"error_description\":\"a\\u001b]0;x\\r\\nb\"}", &g,
                &refusal, &e);
    assert_null(strpbrk(e.text, "\033\r\n"));
}

static void a_device_code_is_json_with_two_codes(void **state)
{
    static const char good[] = "{\"device_code\":\"d\",\"user_code\":\"ABCD-EFGH\"}";
    json_t *j = NULL;
    enum google_refusal refusal;
    struct err e = {0};
    (void)state;
    assert_int_equal(google_oauth_judge_device(200, good, strlen(good), &j, &refusal, &e), 0);
    assert_string_equal(google_text(j, "user_code", 64), "ABCD-EFGH");
    json_decref(j);
    assert_int_equal(google_oauth_judge_device(200, "{}", 2, &j, &refusal, &e), -EAGAIN);
    assert_int_equal(google_oauth_judge_device(403, good, strlen(good), &j, &refusal, &e), -EAGAIN);
    assert_int_equal(google_oauth_judge_device(200, NULL, 0, &j, &refusal, &e), -EAGAIN);
}

static void only_googles_addresses_are_googles(void **state)
{
    static const struct {
        const char *url;
        bool googles;
    } cases[] = {
        {"https://oauth2.googleapis.com/token", true},
        {"https://accounts.google.com/o/oauth2/token", true},
        {"https://www.googleapis.com/oauth2/v4/token", true},
        {"", false},
        {"http://oauth2.googleapis.com/token", false},
        {"https://oauth2.googleapis.com.evil.example/token", false},
        {"https://evilgoogleapis.com/token", false},
        {"https://oauth2.googleapis.com@evil.example/token", false},
        {"https://oauth2.googleapis.com:8443/token", false},
        {"https://evil.example/oauth2.googleapis.com", false},
        {"https://evil.example\\.googleapis.com/token", false},
        {"https://evil.example#.googleapis.com/token", false},
        {"https://evil.example?.googleapis.com/token", false},
        {"https://xaccounts.google.com/token", false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (google_url_is_googles(cases[i].url) != cases[i].googles)
            CASE_FAILS("%s", cases[i].url);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_what_google_grants),
        cmocka_unit_test(takes_an_access_token_of_two_kilobytes_but_none_without_end),
        cmocka_unit_test(each_no_has_its_kind),
        cmocka_unit_test(what_was_sent_is_not_shown_when_a_server_repeats_it),
        cmocka_unit_test(what_a_server_says_cannot_write_on_the_terminal),
        cmocka_unit_test(a_device_code_is_json_with_two_codes),
        cmocka_unit_test(only_googles_addresses_are_googles),
    };
    return RUN_TESTS(tests);
}
