#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/macros.h"
#include "base/mem.h"
#include "sys/http_message.h"
#include "sys/json.h"

static struct http_request *request_new(const char *method, const char *target)
{
    struct http_request *req = xcalloc(1, sizeof(*req));
    req->method = method;
    req->target = target;
    return req;
}

static void add_header(struct http_request *req, const char *name, const char *value)
{
    req->headers[req->header_count++] = (struct http_pair){name, value};
}

static const char *response_header(const struct http_response *r, const char *name)
{
    for (size_t i = 0; i < r->header_count; i++)
        if (strcmp(r->headers[i].name, name) == 0)
            return r->headers[i].value;
    return NULL;
}

/* Parts joined by '|', then for each parameter "?name=value". */
static void show(const struct http_request *req, char *out, size_t size)
{
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < req->part_count; i++)
        used += (size_t)snprintf(out + used, size - used, "|%s", req->parts[i]);
    for (size_t i = 0; i < req->query_count; i++)
        used += (size_t)snprintf(out + used, size - used, "?%s=%s", req->query[i].name,
                                 req->query[i].value);
}

static void splits_and_decodes_targets(void **state)
{
    (void)state;
    static const struct {
        const char *target, *shown; /* NULL: refused */
    } cases[] = {
        {"/", ""},
        {"/?", ""},
        {"/?a=1", "?a=1"},
        {"/api/v1", "|api|v1"},
        {"/api/", "|api|"},
        {"//", "||"},
        {"/a//b", "|a||b"},
        {"/Front%20Door/x+y", "|Front Door|x+y"},
        {"/a%2Fb/c", "|a/b|c"},
        {"/%e2%82%ac", "|\xe2\x82\xac"},
        {"/x?a=1&b=2", "|x?a=1?b=2"},
        {"/x?a=1+2%2B3", "|x?a=1 2+3"},
        {"/x?a&b=&=c&&d==e", "|x?a=?b=?=c?d==e"},
        {"/x?a=%26%3d#frag", "|x?a=&="},
        {"/x#frag?a=1", "|x"},
        {"/x?a=b?c=d", "|x?a=b?c=d"},
        {"http://localhost:8080/x?a=1", "|x?a=1"},
        {"/../../etc/passwd", "|..|..|etc|passwd"},
        {"http://localhost", NULL},
        {"http://localhost?a", NULL},
        {"", NULL},
        {"*", NULL},
        {"x", NULL},
        {"/%", NULL},
        {"/%1", NULL},
        {"/%zz", NULL},
        {"/%00", NULL},
        {"/a%0d%0ab", NULL},
        {"/x?a=%00", NULL},
        {"/x?a=%7f", NULL},
        {"/1/2/3/4/5/6/7/8/9/10/11/12", "|1|2|3|4|5|6|7|8|9|10|11|12"},
        {"/1/2/3/4/5/6/7/8/9/10/11/12/13", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO_FREE struct http_request *req = request_new("GET", cases[i].target);
        struct err e = {0};
        int r = http_request_parse(req, &e);
        char shown[256];
        if (r == 0)
            show(req, shown, sizeof(shown));
        if ((r == 0) != (cases[i].shown != NULL) || (r == 0 && strcmp(shown, cases[i].shown) != 0))
            fail_msg("'%s' gave %d '%s' %s", cases[i].target, r, r == 0 ? shown : "", e.text);
    }
}

static void bounds_targets_and_parameters(void **state)
{
    (void)state;
    for (size_t len = HTTP_TARGET_MAX - 1; len <= HTTP_TARGET_MAX + 1; len++) {
        AUTO_FREE char *target = xmalloc(len + 1);
        memset(target, 'a', len);
        target[0] = '/';
        target[len] = '\0';
        AUTO_FREE struct http_request *req = request_new("GET", target);
        struct err e = {0};
        assert_int_equal(http_request_parse(req, &e), len <= HTTP_TARGET_MAX ? 0 : -ENAMETOOLONG);
        if (len <= HTTP_TARGET_MAX)
            assert_int_equal(strlen(req->parts[0]), len - 1);
    }
    char target[256] = "/?";
    for (int i = 0; i <= HTTP_QUERY_MAX; i++)
        strncat(target, "a=b&", sizeof(target) - strlen(target) - 1);
    AUTO_FREE struct http_request *req = request_new("GET", target);
    struct err e = {0};
    assert_int_equal(http_request_parse(req, &e), -EINVAL);
    assert_non_null(strstr(e.text, "more than 32 parameters"));
}

static void answers_conditions_and_ranges(void **state)
{
    (void)state;
    static const struct {
        const char *method, *name, *value, *name2, *value2;
        int status;
        size_t offset, length;
        const char *content_range;
    } cases[] = {
        {"GET", NULL, NULL, NULL, NULL, 200, 0, 10, NULL},
        {"GET", "If-None-Match", "\"x\"", NULL, NULL, 304, 0, 0, NULL},
        {"HEAD", "If-None-Match", "\"x\"", NULL, NULL, 304, 0, 0, NULL},
        {"GET", "If-None-Match", "W/\"x\"", NULL, NULL, 304, 0, 0, NULL},
        {"GET", "If-None-Match", "\"a\", \"x\"", NULL, NULL, 304, 0, 0, NULL},
        {"GET", "If-None-Match", "*", NULL, NULL, 304, 0, 0, NULL},
        {"GET", "if-none-match", "\"y\"", NULL, NULL, 200, 0, 10, NULL},
        {"GET", "If-None-Match", "x", NULL, NULL, 200, 0, 10, NULL},
        {"GET", "If-None-Match", "", NULL, NULL, 200, 0, 10, NULL},
        {"GET", "If-None-Match", "\"x\"", "Range", "bytes=0-1", 304, 0, 0, NULL},
        {"GET", "Range", "bytes=0-0", NULL, NULL, 206, 0, 1, "bytes 0-0/10"},
        {"GET", "Range", "bytes=2-4", NULL, NULL, 206, 2, 3, "bytes 2-4/10"},
        {"GET", "Range", "bytes=2-", NULL, NULL, 206, 2, 8, "bytes 2-9/10"},
        {"GET", "Range", "bytes=9-99", NULL, NULL, 206, 9, 1, "bytes 9-9/10"},
        {"GET", "Range", "bytes=-3", NULL, NULL, 206, 7, 3, "bytes 7-9/10"},
        {"GET", "Range", "bytes=-99", NULL, NULL, 206, 0, 10, "bytes 0-9/10"},
        {"GET", "Range", "bytes=10-", NULL, NULL, 416, 0, 0, "bytes */10"},
        {"GET", "Range", "bytes=-0", NULL, NULL, 416, 0, 0, "bytes */10"},
        {"GET", "Range", "bytes=4-2", NULL, NULL, 200, 0, 10, NULL},
        {"GET", "Range", "bytes=0-1,3-4", NULL, NULL, 200, 0, 10, NULL},
        {"GET", "Range", "bytes=-", NULL, NULL, 200, 0, 10, NULL},
        {"GET", "Range", "bytes=a-b", NULL, NULL, 200, 0, 10, NULL},
        {"GET", "Range", "bytes=99999999999999999999-", NULL, NULL, 200, 0, 10, NULL},
        {"GET", "Range", "bytes=0-9223372036854775807", NULL, NULL, 206, 0, 10, "bytes 0-9/10"},
        {"GET", "Range", "lines=0-1", NULL, NULL, 200, 0, 10, NULL},
        {"GET", "Range", "", NULL, NULL, 200, 0, 10, NULL},
        {"HEAD", "Range", "bytes=0-1", NULL, NULL, 200, 0, 10, NULL},
        {"GET", "Range", "bytes=0-1", "If-Range", "\"x\"", 206, 0, 2, "bytes 0-1/10"},
        {"GET", "Range", "bytes=0-1", "If-Range", "W/\"x\"", 200, 0, 10, NULL},
        {"GET", "Range", "bytes=0-1", "If-Range", "\"old\"", 200, 0, 10, NULL},
        {"POST", "If-None-Match", "\"x\"", NULL, NULL, 200, 0, 10, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO_FREE struct http_request *req = request_new(cases[i].method, "/");
        if (cases[i].name)
            add_header(req, cases[i].name, cases[i].value);
        if (cases[i].name2)
            add_header(req, cases[i].name2, cases[i].value2);
        AUTO_DONE(http_response) r;
        http_response_init(&r);
        struct blob *body = blob_new_copy("0123456789", 10);
        http_response_blob(&r, 200, "image/jpeg", &body);
        snprintf(r.etag, sizeof(r.etag), "\"x\"");
        r.ranges = true;
        http_response_finish(req, &r);
        const char *range = response_header(&r, "Content-Range");
        bool same = r.status == cases[i].status &&
                    (r.status == 416 ||
                     (r.body_offset == cases[i].offset && r.body_length == cases[i].length)) &&
                    !range == !cases[i].content_range &&
                    (!range || strcmp(range, cases[i].content_range) == 0);
        if (!same)
            fail_msg("case %zu: %d, %zu+%zu, %s", i, r.status, r.body_offset, r.body_length,
                     range ? range : "-");
        if (r.status != 416)
            assert_string_equal(response_header(&r, "ETag"), "\"x\"");
        assert_string_equal(response_header(&r, "X-Content-Type-Options"), "nosniff");
        assert_non_null(
            strstr(response_header(&r, "Content-Security-Policy"), "default-src 'none'"));
    }
}

static void answers_only_to_names_that_nobody_else_can_take(void **state)
{
    (void)state;
    static const char *const names[] = {"cam.example", NULL};
    static const struct {
        const char *method, *host, *origin, *site;
        int status; /* 0 = allowed */
    } cases[] = {
        {"GET", NULL, NULL, NULL, 0},
        {"GET", "localhost", NULL, NULL, 0},
        {"GET", "LOCALHOST:8080", NULL, NULL, 0},
        {"GET", "127.0.0.1:8080", NULL, NULL, 0},
        {"GET", "192.168.1.5", NULL, NULL, 0},
        {"GET", "[::1]:8080", NULL, NULL, 0},
        {"GET", "cam.example:8080", NULL, NULL, 0},
        {"GET", "Cam.Example", NULL, NULL, 0},
        {"GET", "cam.example.evil.test", NULL, NULL, 403},
        {"GET", "evil.test", NULL, NULL, 403},
        {"GET", "evil.test:8080", NULL, NULL, 403},
        {"GET", "127.0.0.1.evil.test", NULL, NULL, 403},
        {"GET", "", NULL, NULL, 400},
        {"GET", ":80", NULL, NULL, 400},
        {"GET", "a b", NULL, NULL, 400},
        {"GET", "a/b", NULL, NULL, 400},
        {"GET", "user@localhost", NULL, NULL, 400},
        {"GET", "localhost:0", NULL, NULL, 400},
        {"GET", "localhost:99999", NULL, NULL, 400},
        {"GET", "localhost:80x", NULL, NULL, 400},
        {"GET", "[::1", NULL, NULL, 400},
        {"GET", "[evil.test]", NULL, NULL, 400},
        /* Reading is shown to other sites by no header; changing needs a page of ours or none. */
        {"GET", "localhost", "http://evil.test", NULL, 0},
        {"POST", "localhost:8080", NULL, NULL, 0},
        {"POST", "localhost:8080", "http://localhost:8080", "same-origin", 0},
        {"POST", "localhost:8080", "http://LOCALHOST:8080", NULL, 0},
        {"POST", "localhost:8080", "http://localhost:3000", "same-site", 403},
        {"POST", "localhost:8080", "http://evil.test", "cross-site", 403},
        {"POST", "localhost:8080", "http://evil.test", NULL, 403},
        {"POST", "localhost:8080", "null", NULL, 403},
        {"POST", "localhost:8080", "", NULL, 403},
        {"POST", "localhost:8080", NULL, "cross-site", 403},
        {"POST", "localhost:8080", NULL, "none", 0},
        {"POST", NULL, "http://localhost", NULL, 403},
        {"DELETE", "localhost", "http://evil.test", NULL, 403},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO_FREE struct http_request *req = request_new(cases[i].method, "/");
        if (cases[i].host)
            add_header(req, "host", cases[i].host);
        if (cases[i].origin)
            add_header(req, "Origin", cases[i].origin);
        if (cases[i].site)
            add_header(req, "Sec-Fetch-Site", cases[i].site);
        AUTO_DONE(http_response) r;
        http_response_init(&r);
        bool allowed = http_request_allowed(req, names, &r);
        if (allowed != (cases[i].status == 0) || r.status != cases[i].status)
            fail_msg("case %zu (%s %s): %d", i, cases[i].method,
                     cases[i].host ? cases[i].host : "-", r.status);
    }
    static const struct {
        const char *site, *mode, *dest;
        bool good;
    } reads[] = {
        {"none", "navigate", "document", true},       {"same-origin", "cors", "empty", true},
        {"cross-site", "navigate", "document", true}, {"same-site", "navigate", "document", true},
        {"cross-site", "navigate", "iframe", false},  {"cross-site", "no-cors", "image", false},
        {"same-site", "cors", "empty", false},        {"cross-site", NULL, NULL, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(reads); i++) {
        AUTO_FREE struct http_request *req = request_new("GET", "/");
        add_header(req, "Host", "localhost");
        add_header(req, "Sec-Fetch-Site", reads[i].site);
        if (reads[i].mode) {
            add_header(req, "Sec-Fetch-Mode", reads[i].mode);
            add_header(req, "Sec-Fetch-Dest", reads[i].dest);
        }
        AUTO_DONE(http_response) answer;
        http_response_init(&answer);
        if (http_request_allowed(req, names, &answer) != reads[i].good)
            fail_msg("reading %zu: %d", i, answer.status);
    }
    AUTO_FREE struct http_request *twice = request_new("GET", "/");
    add_header(twice, "Host", "localhost");
    add_header(twice, "Host", "evil.test");
    AUTO_DONE(http_response) r;
    http_response_init(&r);
    assert_false(http_request_allowed(twice, NULL, &r));
    assert_int_equal(r.status, 400);
}

static void keeps_headers_in_one_line(void **state)
{
    (void)state;
    AUTO_DONE(http_response) r;
    http_response_init(&r);
    http_response_header(&r, "X-Name", "a\r\nSet-Cookie: %s", "b");
    assert_string_equal(r.headers[0].value, "a__Set-Cookie: b");
}

static void writes_errors_as_json_whatever_is_in_them(void **state)
{
    (void)state;
    AUTO_DONE(http_response) r;
    http_response_init(&r);
    http_response_header(&r, "X-Old", "gone");
    http_response_error_about(&r, 404, "unknown-camera", "camera", "\xff\"<script>",
                              "no camera '%s'", "\xff\"<script>");
    assert_int_equal(r.header_count, 0);
    AUTO_JSON json_t *j = NULL;
    assert_int_equal(js_parse((const char *)r.body->data, r.body->size, 4096, &j, NULL), 0);
    json_t *error = json_object_get(j, "error");
    assert_string_equal(json_string_value(json_object_get(error, "code")), "unknown-camera");
    assert_string_equal(json_string_value(json_object_get(error, "camera")), "?\"<script>");
    assert_string_equal(json_string_value(json_object_get(error, "message")),
                        "no camera '?\"<script>'");
}

static void escapes_all_but_unreserved(void **state)
{
    (void)state;
    AUTO_DONE(dynbuf) out;
    dynbuf_init(&out, 256);
    assert_int_equal(http_escape(&out, "aZ09-._~ /?&=+%\xc3\xa9"), 0);
    assert_string_equal(dynbuf_str(&out), "aZ09-._~%20%2F%3F%26%3D%2B%25%C3%A9");
}

static void a_failed_text_becomes_an_error(void **state)
{
    (void)state;
    struct dynbuf text;
    dynbuf_init(&text, 4);
    (void)dynbuf_puts(&text, "too long");
    AUTO_DONE(http_response) r;
    http_response_init(&r);
    http_response_text(&r, 200, "text/plain", &text);
    assert_int_equal(r.status, 500);
}

/* Smuggling: a proxy before us may take the other one. */
static void a_request_has_one_end(void **state)
{
    (void)state;
    static const struct {
        struct http_pair headers[3];
        bool good;
    } cases[] = {
        {{{"Host", "a"}}, true},
        {{{"Content-Length", "0"}, {"X", "tab\tis fine"}}, true},
        {{{"Transfer-Encoding", "Chunked"}}, true},
        {{{"Content-Length", "5"}, {"content-length", "5"}}, false},
        {{{"Content-Length", "5"}, {"Transfer-Encoding", "chunked"}}, false},
        {{{"transfer-encoding", "chunked"}, {"Transfer-Encoding", "chunked"}}, false},
        {{{"Transfer-Encoding", "gzip, chunked"}}, false},
        {{{"Transfer-Encoding", "identity"}}, false},
        {{{"Transfer-Encoding", "\x0b"
                                "chunked"}},
         false},
        {{{"Content-Length", ""}}, false},
        {{{"Content-Length", "+5"}}, false},
        {{{"Content-Length", "5, 5"}}, false},
        {{{"Content-Length ", "5"}}, false},
        {{{"Transfer-Encoding\t", "chunked"}}, false},
        {{{"", "5"}}, false},
        {{{"X", "a\rContent-Length: 5"}}, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_request req = {.method = "POST", .target = "/"};
        for (size_t n = 0; n < 3 && cases[i].headers[n].name; n++)
            req.headers[req.header_count++] = cases[i].headers[n];
        struct err e = {0};
        int r = http_request_check_framing(&req, &e);
        if ((r == 0) != cases[i].good)
            fail_msg("case %zu: %d %s", i, r, e.text);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(splits_and_decodes_targets),
        cmocka_unit_test(bounds_targets_and_parameters),
        cmocka_unit_test(answers_conditions_and_ranges),
        cmocka_unit_test(answers_only_to_names_that_nobody_else_can_take),
        cmocka_unit_test(keeps_headers_in_one_line),
        cmocka_unit_test(writes_errors_as_json_whatever_is_in_them),
        cmocka_unit_test(escapes_all_but_unreserved),
        cmocka_unit_test(a_failed_text_becomes_an_error),
        cmocka_unit_test(a_request_has_one_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
