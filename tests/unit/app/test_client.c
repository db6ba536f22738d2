/* The commands' client against a server that answers all kinds of things. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "app/client.h"
#include "app/command.h"
#include "base/text.h"
#include "sys/httpd.h"

static void handle(void *arg, const struct http_request *req, struct http_response *ret)
{
    (void)arg;
    const char *what = req->part_count ? req->parts[0] : "";
    struct dynbuf text;
    dynbuf_init(&text, 4096);
    if (strcmp(what, "html") == 0) {
        (void)dynbuf_puts(&text, "<html>a router</html>");
        http_response_text(ret, 200, "text/html", &text);
    } else if (strcmp(what, "list") == 0) {
        (void)dynbuf_puts(&text, "[1]");
        http_response_text(ret, 200, "application/json", &text);
    } else if (strcmp(what, "error") == 0) {
        http_response_error(ret, 503, "refused-for-now", "disk full \x1b[2J");
        http_response_header(ret, "Retry-After", "7");
    } else if (strcmp(what, "empty") == 0) {
        http_response_text(ret, 200, "application/json", &text);
    } else {
        (void)dynbuf_printf(&text, "{\"method\":\"%s\",\"target\":\"%s\"}", req->method,
                            req->target);
        http_response_text(ret, 200, "application/json", &text);
    }
}

static struct httpd *start(struct client *ret)
{
    struct httpd_options options = {.listen = "127.0.0.1:0", .handle = handle};
    struct httpd *h = NULL;
    struct err e;
    if (httpd_start(&options, &h, &e) < 0)
        fail_msg("%s", e.text);
    *ret = (struct client){0};
    (void)snprintf(ret->url, sizeof(ret->url), "http://127.0.0.1:%d", httpd_port(h));
    return h;
}

static void brings_documents_whatever_their_status(void **state)
{
    (void)state;
    struct client c;
    AUTO(httpd) h = start(&c);
    struct client_answer a;
    struct err e = {0};
    assert_int_equal(client_call(&c, "POST", "/a%20b?wait=1", 5000, &a, &e), 0);
    assert_int_equal(a.status, 200);
    assert_string_equal(client_text(a.document, "method"), "POST");
    assert_string_equal(client_text(a.document, "target"), "/a%20b?wait=1");
    assert_string_equal(client_text(a.document, "none"), "");
    client_answer_done(&a);
    assert_int_equal(client_call(&c, "GET", "/error", 5000, &a, &e), 0);
    assert_int_equal(a.status, 503);
    assert_int_equal(a.retry_after_s, 7);
    client_answer_tame(&a);
    assert_string_equal(client_error_text(&a), "disk full ?[2J");
    client_answer_done(&a);
}

static void tells_who_is_no_daemon_of_ours(void **state)
{
    (void)state;
    struct client c;
    AUTO(httpd) h = start(&c);
    static const char *const paths[] = {"/html", "/list", "/empty"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        struct client_answer a;
        struct err e = {0};
        assert_int_equal(client_call(&c, "GET", paths[i], 5000, &a, &e), -EPROTO);
        assert_non_null(strstr(e.text, "is not snapshotd"));
        assert_non_null(strstr(e.text, "--url"));
    }
}

static void says_what_to_do_when_nobody_answers(void **state)
{
    (void)state;
    struct client c;
    httpd_free(start(&c)); /* a port that nobody listens on any more */
    struct client_answer a;
    struct err e = {0};
    assert_int_equal(client_call(&c, "GET", "/", 5000, &a, &e), -ECONNREFUSED);
    assert_non_null(strstr(e.text, c.url));
    assert_non_null(strstr(e.text, "is 'snapshotd run' running there?"));
}

static void finds_the_daemon(void **state)
{
    (void)state;
    static const struct {
        const char *url, *listen, *enabled;
        int status;
        const char *found;
    } cases[] = {
        {NULL, NULL, NULL, EXIT_DONE, "http://127.0.0.1:8080"},
        {NULL, "127.0.0.1:81", NULL, EXIT_DONE, "http://127.0.0.1:81"},
        {NULL, "[::1]:81", NULL, EXIT_DONE, "http://[::1]:81"},
        {NULL, "localhost:81", NULL, EXIT_DONE, "http://localhost:81"},
        {NULL, "0.0.0.0:81", NULL, EXIT_DONE, "http://127.0.0.1:81"},
        {NULL, "[::]:81", NULL, EXIT_DONE, "http://[::1]:81"},
        {NULL, "127.0.0.1:0", NULL, EXIT_FAILED, ""},
        {NULL, NULL, "no", EXIT_FAILED, ""},
        /* What cannot be read here may run all the same. */
        {NULL, "nonsense", NULL, EXIT_DONE, "http://127.0.0.1:8080"},
        {"http://cam.example:9/", NULL, "no", EXIT_DONE, "http://cam.example:9"},
        {"https://cam.example/sub//", NULL, NULL, EXIT_DONE, "https://cam.example/sub"},
        {"cam.example", NULL, NULL, EXIT_USAGE, ""},
        {"ftp://cam.example", NULL, NULL, EXIT_USAGE, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char listen[64], enabled[64];
        struct client_options o = {.app = {.path = "/dev/null"}, .url = cases[i].url};
        o.app.settings[o.app.setting_count++] = "web.allow_remote=yes";
        (void)text_format(listen, sizeof(listen), "web.listen=%s", cases[i].listen);
        (void)text_format(enabled, sizeof(enabled), "web.enabled=%s", cases[i].enabled);
        if (cases[i].listen)
            o.app.settings[o.app.setting_count++] = listen;
        if (cases[i].enabled)
            o.app.settings[o.app.setting_count++] = enabled;
        struct client c;
        int status = client_find(&o, &c);
        if (status != cases[i].status || strcmp(c.url, cases[i].found) != 0)
            fail_msg("case %zu: %d '%s'", i, status, c.url);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(brings_documents_whatever_their_status),
        cmocka_unit_test(tells_who_is_no_daemon_of_ours),
        cmocka_unit_test(says_what_to_do_when_nobody_answers),
        cmocka_unit_test(finds_the_daemon),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
