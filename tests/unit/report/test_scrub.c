#include "../test.h"

#include "report/scrub.h"

static void check(const struct scrub *s, const char *text, const char *wanted)
{
    AUTO_FREE char *got = scrub_text(s, text);
    test_expect_text(text, got, wanted);
}

static void known_secrets_go_wherever_they_stand(void **state UNUSED)
{
    AUTO(scrub) s = scrub_new();
    scrub_add(s, "c4n4ry");
    scrub_add(s, "c4n4ry-and-more"); /* the longer one goes as a whole */
    scrub_add(s, "p@ss w/rd");
    scrub_add(s, "abc"); /* too short to be told from words */
    scrub_add(s, "");
    scrub_add(s, NULL);
    scrub_add(s, "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhk\n}\n");
    scrub_add(s, "{\"web\": {\"client_secret\": \"inner-one\", \"uri\": \"http://google\"}}");
    check(s, "c4n4ry", "***");
    check(s, "an inner-one of http://google", "an *** of http://google");
    check(s, "a c4n4ry, and c4n4ry-and-more.", "a ***, and ***.");
    check(s, "xc4n4ryx", "x***x");
    check(s, "GET /?u=p%40ss%20w%2Frd", "GET /?u=***");
    check(s, "is p@ss w/rd", "is ***");
    check(s, "abc", "abc");
    check(s, "line MIIEvQIBADANBgkqhk alone", "line *** alone");
    check(s, "}", "}");
    check(s, "", "");
}

static void what_looks_like_one_goes(void **state UNUSED)
{
    static const struct {
        const char *text, *wanted;
    } cases[] = {
        {"GET rtsp://admin:hunter2@10.0.0.1/cam?x=1 failed",
         "GET rtsp://***@10.0.0.1/cam?*** failed"},
        {"http://h/snap.cgi?usr=admin&pwd=hunter2", "http://h/snap.cgi?***"},
        {"/snap.cgi?usr=admin&pwd=hunter2&x=1", "/snap.cgi?usr=admin&pwd=***&x=1"},
        {"password=hunter2 next", "password=*** next"},
        {"{\"access_token\": \"ya29.a0Af\", \"expires_in\":3599}",
         "{\"access_token\": \"***\", \"expires_in\":3599}"},
        {"{\"client_secret\":\"GOCSPX-x\"}", "{\"client_secret\":\"***\"}"},
        {"Authorization: Bearer abcdef", "Authorization: ***"},
        {"Authorization: Basic YWRtaW46c2VjcmV0", "Authorization: ***"},
        {"sent Bearer eyJhbGciOiJI and waited", "sent Bearer *** and waited"},
        {"with Basic YWRtaW46c2VjcmV0", "with Basic ***"},
        {"key AKIAIOSFODNN7EXAMPLE of", "key *** of"},
        {"token ya29.a0AfH6SMBx-y_z of", "token *** of"},
        {"refresh 1//0gXyzABCDEFghijk", "refresh ***"},
        {"blob QWxhZGRpbjpvcGVuIHNlc2FtZQ0123456789AbCdEfGhIj== end", "blob *** end"},
        {"sentry_key=0123abcd,", "sentry_key=***,"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        check(NULL, cases[i].text, cases[i].wanted);
}

static void sentences_stay_readable(void **state UNUSED)
{
    static const char *const cases[] = {
        "wrong password: try again",
        "Basic authentication is refused",
        "camera \"porch\": GET http://10.0.0.1/snap.jpg: HTTP 401, password or user is wrong",
        "store/porch/2026/01/02/20260102T030405123Z-01234567.jpg",
        "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "[drive] client_secret is missing",
        "attempt 3 of 5: connection refused; next in 8 s",
        "before-trigger-commit",
        "status=404 size=1024",
        "ein Pfad wie /var/lib/snapshot-processor/store/garten-hinten-links/2026/11/25",
        "\xc3\xa4\xc3\xb6\xc3\xbc",
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        check(NULL, cases[i], cases[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_secrets_go_wherever_they_stand),
        cmocka_unit_test(what_looks_like_one_goes),
        cmocka_unit_test(sentences_stay_readable),
    };
    return RUN_TESTS(tests);
}
