#include "../test.h"

#include <errno.h>

#include "report/dsn.h"

static void takes_dsns_apart(void **state UNUSED)
{
    static const struct {
        const char *text, *url, *origin, *key, *secret;
    } cases[] = {
        {"https://abc123@o1.ingest.sentry.io/42", "https://o1.ingest.sentry.io/api/42/envelope/",
         "https://o1.ingest.sentry.io", "abc123", ""},
        {"http://k:s3cret@localhost:8969/1", "http://localhost:8969/api/1/envelope/",
         "http://localhost:8969", "k", "s3cret"},
        {"https://k@sentry.example.org/a/b/7", "https://sentry.example.org/a/b/api/7/envelope/",
         "https://sentry.example.org", "k", ""},
        {"http://k@[::1]:9000/7", "http://[::1]:9000/api/7/envelope/", "http://[::1]:9000", "k",
         ""},
        {"http://k@[::1]/7", "http://[::1]/api/7/envelope/", "http://[::1]", "k", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct dsn d;
        struct err e = {0};
        if (dsn_parse(cases[i].text, &d, &e) < 0)
            CASE_FAILS("%s: %s", cases[i].text, e.text);
        test_expect_text("url", d.url, cases[i].url);
        test_expect_text("origin", d.origin, cases[i].origin);
        test_expect_text("key", d.key, cases[i].key);
        test_expect_text("secret", d.secret, cases[i].secret);
    }
}

static void refuses_what_is_none_without_telling_the_key(void **state UNUSED)
{
    static const char *const cases[] = {
        "",
        "sentry",
        "ftp://c4n4ry@host/1",
        "https://host/1",
        "https://@host/1",
        "https://c4n4ry@/1",
        "https://c4n4ry@host",
        "https://c4n4ry@host/",
        "https://c4n4ry@host/project",
        "https://c4n4ry@host/1/",
        "https://c4n4ry@host/1?x=y",
        "https://c4n4ry\r\nX: y@host/1",
        "https://c4n4ry:a b@host/1",
        "https://c4n4ry@ho st/1",
        "https://c4n4ry@host:0/1",
        "https://c4n4ry@host:66000/1",
        "https://c4n4ry@host:/1",
        "https://c4n4ry@[::1/1",
        "https://c4n4ry@host/a b/1",
        "https://c4n4ry@host/12345678901234567890123456789012345",
        "https://c4n4ry@@host/1",
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct dsn d;
        struct err e = {0};
        if (dsn_parse(cases[i], &d, &e) != -EINVAL)
            CASE_FAILS("\"%s\" was taken", cases[i]);
        if (strstr(e.text, "c4n4ry") || !strstr(e.text, "DSN"))
            CASE_FAILS("\"%s\": %s", cases[i], e.text);
    }
    char longest[2 * DSN_MAX];
    memset(longest, 'a', sizeof(longest));
    memcpy(longest, "https://", 8);
    memcpy(longest + sizeof(longest) - 8, "@host/1", 8);
    struct dsn d;
    assert_int_equal(dsn_parse(longest, &d, NULL), -EINVAL);
}

static void signs_with_key_and_old_secret(void **state UNUSED)
{
    struct dsn d;
    char auth[DSN_AUTH_MAX];
    assert_int_equal(dsn_parse("https://k@h/1", &d, NULL), 0);
    dsn_auth(&d, "snapshotd/1", auth);
    assert_string_equal(auth, "Sentry sentry_version=7, sentry_client=snapshotd/1, sentry_key=k");
    assert_int_equal(dsn_parse("https://k:s@h/1", &d, NULL), 0);
    dsn_auth(&d, "snapshotd/1", auth);
    assert_string_equal(
        auth, "Sentry sentry_version=7, sentry_client=snapshotd/1, sentry_key=k, sentry_secret=s");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_dsns_apart),
        cmocka_unit_test(refuses_what_is_none_without_telling_the_key),
        cmocka_unit_test(signs_with_key_and_old_secret),
    };
    return RUN_TESTS(tests);
}
