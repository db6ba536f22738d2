/* What of the HTTP client needs no server: texts that must not leak, and refusals. Exchanges are
 * tested with the simulated camera, see tests/unit/camera. */

#include "sys/httpc.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/dynbuf.h"
#include "base/text.h"

static void urls_are_shown_without_login_and_query(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"http://cam/snap.jpg", "http://cam/snap.jpg"},
        {"http://cam:88/cgi?usr=a&pwd=SECRET", "http://cam:88/cgi"},
        {"http://u:SECRET@cam/x?y", "http://cam/x"},
        {"https://u:SECRET@[::1]:8443/x#SECRET", "https://[::1]:8443/x"},
        {"http://cam?SECRET", "http://cam"},
        {"http://cam#SECRET", "http://cam"},
        /* Passwords that end the authority early hide everything. */
        {"http://u:SEC/RET@cam/x", "http://***"},
        {"http://u:SEC?RET@cam/x", "http://***"},
        {"http://u:SEC#RET@cam/x", "http://***"},
        {"http://u:12/SECRET@cam/x", "http://***"},
        {"http://u:SECRET", "http://***"},
        {"SECRET", "(not a URL)"},
        {"", "(not a URL)"},
        {NULL, "(not a URL)"},
        {"http://cam/a\nb", "http://cam/a\\nb"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char buf[64];
        assert_string_equal(httpc_show_url(cases[i][0], buf, sizeof(buf)), cases[i][1]);
        assert_null(strstr(buf, "SEC"));
    }
    char tiny[8];
    (void)httpc_show_url("http://camera/very/long", tiny, sizeof(tiny));
    assert_true(strlen(tiny) < sizeof(tiny));
}

static void all_but_unreserved_bytes_are_encoded(void **state)
{
    (void)state;
    AUTO_DONE(dynbuf) b;
    dynbuf_init(&b, 2000);
    char all[255];
    for (int i = 1; i < 256; i++)
        all[i - 1] = (char)i;
    assert_int_equal(httpc_escape(&b, all, sizeof(all)), 0);
    assert_int_equal(b.len, 66 + 3 * (255 - 66));
    assert_null(strpbrk(dynbuf_str(&b), "&=?#/+ @:\"'<>"));
    dynbuf_reset(&b);
    assert_int_equal(httpc_escape(&b, "a-._~Z9", 7), 0);
    assert_string_equal(dynbuf_str(&b), "a-._~Z9");
}

static void never(void *arg, const struct httpc_response *r)
{
    (void)arg;
    (void)r;
    fail_msg("done was called");
}

static void requests_that_cannot_be_are_refused_at_once(void **state)
{
    (void)state;
    static const char *const bad_header[] = {"no colon", NULL};
    static const char *const two_lines[] = {"A: b\r\nC: SECRET", NULL};
    const struct httpc_request cases[] = {
        {.url = NULL},
        {.url = ""},
        {.url = "file:///etc/passwd"},
        {.url = "ftp://host/x"},
        {.url = "httpx://host/"},
        {.url = "http://host/", .headers = bad_header},
        {.url = "http://host/?SECRET", .headers = two_lines},
    };
    struct httpc *h = NULL;
    struct httpc_channel *c = NULL;
    struct err e = {0};
    assert_int_equal(httpc_new(&h, &e), 0);
    assert_int_equal(httpc_channel_new(h, &c, &e), 0);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(httpc_start(c, &cases[i], never, NULL, &e), -EINVAL);
        assert_int_equal(e.retry, ERR_NEVER);
        assert_null(strstr(e.text, "SECRET"));
        assert_int_equal(httpc_in_flight(h), 0);
    }
    httpc_channel_free(c);
    httpc_free(h);
}

struct count {
    int done;
    int code;
    enum httpc_failure failure;
    char text[ERR_TEXT_MAX];
};

static void keep(void *arg, const struct httpc_response *r)
{
    struct count *n = arg;
    n->done++;
    n->code = r->code;
    n->failure = r->failure;
    if (r->error)
        text_copy(n->text, sizeof(n->text), r->error->text);
}

static void what_runs_at_the_end_is_cancelled_and_told(void **state)
{
    (void)state;
    struct httpc *h = NULL;
    struct httpc_channel *a = NULL, *b = NULL;
    struct err e = {0};
    struct count n = {0};
    assert_int_equal(httpc_new(&h, &e), 0);
    assert_int_equal(httpc_channel_new(h, &a, &e), 0);
    assert_int_equal(httpc_channel_new(h, &b, &e), 0);
    struct httpc_request req = {.url = "http://192.0.2.1/?pwd=SECRET"}; /* TEST-NET: no answer */
    assert_int_equal(httpc_start(a, &req, keep, &n, &e), 0);
    assert_int_equal(httpc_start(a, &req, keep, &n, &e), -EBUSY);
    assert_int_equal(httpc_start(b, &req, keep, &n, &e), 0);
    assert_int_equal(httpc_in_flight(h), 2);
    httpc_cancel(a);
    httpc_cancel(a);
    assert_int_equal(n.done, 1);
    assert_int_equal(n.code, -ECANCELED);
    assert_int_equal(n.failure, HTTPC_FAIL_CANCELED);
    assert_null(strstr(n.text, "SECRET"));
    httpc_free(h);
    assert_int_equal(n.done, 2);
    httpc_channel_free(a);
    httpc_channel_free(b);
    httpc_channel_free(NULL);
    httpc_free(NULL);
}

static void a_name_that_does_not_resolve_is_told_as_such(void **state)
{
    (void)state;
    struct httpc_request req = {.url = "http://u:SECRET@no-such-host.invalid/x?pwd=SECRET"};
    struct httpc_reply reply;
    struct err e = {0};
    int r = httpc_fetch(&req, &reply, &e);
    assert_int_equal(r, -EHOSTUNREACH);
    assert_int_equal(e.retry, ERR_LATER);
    assert_string_equal(e.text, "http://no-such-host.invalid/x: no address is known for this name");
}

static void ask(struct httpc *h, struct httpc_channel *c, const char *url, struct count *n)
{
    struct err e = {0};
    struct httpc_request req = {.url = url};
    *n = (struct count){0};
    assert_int_equal(httpc_start(c, &req, keep, n, &e), 0);
    while (!n->done) {
        struct pollfd p = {.fd = httpc_fd(h), .events = POLLIN};
        assert_int_equal(poll(&p, 1, 30000), 1);
        httpc_process(h);
    }
}

/* libcurl 7.88 keeps the buffer of a request whose name was not found, and took no size for it any
 * more: such a channel never asked again. */
static void a_channel_whose_name_did_not_resolve_asks_again(void **state)
{
    (void)state;
    struct httpc *h = NULL;
    struct httpc_channel *c = NULL;
    struct err e = {0};
    struct count n;
    assert_int_equal(httpc_new(&h, &e), 0);
    assert_int_equal(httpc_channel_new(h, &c, &e), 0);
    for (int i = 0; i < 3; i++) {
        ask(h, c, "http://no-such-host.invalid/", &n);
        assert_int_equal(n.code, -EHOSTUNREACH);
        assert_int_equal(n.failure, HTTPC_FAIL_RESOLVE);
    }
    ask(h, c, "http://127.0.0.1:1/", &n);
    assert_int_equal(n.code, -ECONNREFUSED);
    httpc_channel_free(c);
    httpc_free(h);
}

static void a_refused_connection_keeps_the_systems_code(void **state)
{
    (void)state;
    struct httpc_request req = {.url = "http://127.0.0.1:1/x"};
    struct httpc_reply reply;
    struct err e = {0};
    assert_int_equal(httpc_fetch(&req, &reply, &e), -ECONNREFUSED);
    assert_int_equal(e.retry, ERR_LATER);
    assert_non_null(strstr(e.text, "Connection refused"));
}

static void every_failure_has_a_name(void **state)
{
    (void)state;
    for (int i = 0; i < HTTPC_FAILURE_COUNT; i++)
        assert_non_null(httpc_failure_names[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_are_shown_without_login_and_query),
        cmocka_unit_test(all_but_unreserved_bytes_are_encoded),
        cmocka_unit_test(requests_that_cannot_be_are_refused_at_once),
        cmocka_unit_test(what_runs_at_the_end_is_cancelled_and_told),
        cmocka_unit_test(a_name_that_does_not_resolve_is_told_as_such),
        cmocka_unit_test(a_channel_whose_name_did_not_resolve_asks_again),
        cmocka_unit_test(a_refused_connection_keeps_the_systems_code),
        cmocka_unit_test(every_failure_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
