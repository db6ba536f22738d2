/* Pictures that come by POST. */
#include "fixture.h"

#include "web/form_data.h"

#define PATH "/api/v1/cameras/porch/snapshots"
#define RAW                                                                                        \
    {                                                                                              \
        "Content-Type", "image/jpeg", NULL                                                         \
    }
#define BOUNDARY "----WebKitFormBoundaryABC"
#define FORM                                                                                       \
    {                                                                                              \
        "Content-Type", "multipart/form-data; boundary=" BOUNDARY, NULL                            \
    }

static void post(struct fixture *f, const char *target, const char *const *headers,
                 const char *body, struct reply *ret)
{
    send_to(f, "POST", target, headers, body, strlen(body), ret);
}

static void takes_raw_pictures(void **state)
{
    struct fixture *f = *state;
    struct reply r;
    post(f, PATH, (const char *const[])RAW, "picture", &r);
    assert_int_equal(r.response.status, 201);
    assert_string_equal(f->pushed, "picture");
    assert_string_equal(f->pushed_name, "");
    assert_false(f->pushed_timed);
    assert_true(f->pushed_at.us > 0);
    assert_string_equal(text_at(r.json, "id"), "000000000000000000000000000003e8");
    assert_string_equal(header_of(&r, "Location"), text_at(r.json, "links.self"));
    reply_done(&r);
}

static void takes_the_time_that_the_sender_gives(void **state)
{
    struct fixture *f = *state;
    struct reply r;
    post(f, PATH "?event_at=2026-01-31T17:30:00.5Z", (const char *const[])RAW, "picture", &r);
    assert_int_equal(r.response.status, 201);
    assert_true(f->pushed_timed);
    assert_int_equal(f->pushed_at.us, 1769880600500000);
    reply_done(&r);
    static const char *const wrong[] = {PATH "?event_at=2999-01-01T00:00:00Z",
                                        PATH "?event_at=yesterday", PATH "?at=2026-01-01",
                                        PATH "?event_at=1969-01-01T00:00:00Z"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        post(f, wrong[i], (const char *const[])RAW, "picture", &r);
        if (r.response.status != 400)
            fail_msg("%s: %d", wrong[i], r.response.status);
        reply_done(&r);
    }
}

static void takes_the_file_of_a_form(void **state)
{
    struct fixture *f = *state;
    struct reply r;
    post(f, PATH, (const char *const[])FORM,
         "--" BOUNDARY "\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nhello\r\n"
         "--" BOUNDARY "\r\nContent-Disposition: form-data; name=\"file\"; "
         "filename=\"a \\\"b\\\".jpg\"\r\nContent-Type: image/jpeg\r\n\r\npic\r\n-ture\r\n"
         "--" BOUNDARY "--\r\n",
         &r);
    assert_int_equal(r.response.status, 201);
    assert_string_equal(f->pushed, "pic\r\n-ture");
    assert_string_equal(f->pushed_name, "a \"b\".jpg");
    reply_done(&r);
}

static void says_what_became_of_it(void **state)
{
    struct fixture *f = *state;
    static const struct {
        int push, result;
        int status;
        const char *code;
    } cases[] = {
        {0, 0, 201, NULL},
        {1, 0, 200, NULL},
        {0, 1, 200, NULL},
        {-ENOENT, 0, 404, "unknown-camera"},
        {-ECANCELED, 0, 409, "camera-disabled"},
        {-EFBIG, 0, 413, "body-too-large"},
        {-EAGAIN, 0, 503, "refused-for-now"},
        {0, -EINVAL, 422, "not-a-picture"},
        {0, -ENOSPC, 507, "disk-full"},
        {0, -EBUSY, 503, "refused-for-now"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct reply r;
        f->push_code = cases[i].push;
        f->result_code = cases[i].result;
        f->push_text = "because";
        post(f, PATH, (const char *const[])RAW, "picture", &r);
        assert_int_equal(r.response.status, cases[i].status);
        if (cases[i].code) {
            assert_string_equal(text_at(r.json, "error.code"), cases[i].code);
            assert_string_equal(text_at(r.json, "error.message"), "because");
        }
        if (cases[i].status > 500)
            assert_non_null(header_of(&r, "Retry-After"));
        reply_done(&r);
    }
}

static void waits_until_it_is_durable(void **state)
{
    struct fixture *f = *state;
    struct reply r;
    f->result_code = -EINPROGRESS;
    post(f, PATH, (const char *const[])RAW, "picture", &r);
    assert_true(r.response.waits);
    assert_string_equal(r.response.wait.key, "000000000000000000000000000003e8");
    struct http_wait wait = r.response.wait;
    f->pushed[0] = '\0';
    f->result_code = 0;
    r.request.resumed = &wait;
    (void)web_answer(&f->context, &r.request, &r.response);
    f->result_code = -EINPROGRESS;
    reply_done(&r);
    assert_string_equal(f->pushed, ""); /* not sent once more */

    post(f, PATH, (const char *const[])RAW, "picture", &r);
    wait = r.response.wait;
    http_response_done(&r.response);
    r.request.resumed = &wait;
    r.request.may_wait = false; /* the server stops */
    (void)web_answer(&f->context, &r.request, &r.response);
    assert_int_equal(r.response.status, 503);
    reply_done(&r);
}

static void looks_at_the_headers_first(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *target, *method;
        const char *headers[5];
        size_t max;
        int status;
    } cases[] = {
        {PATH, "POST", {"Content-Type", "image/png"}, 108192, 0},
        {PATH, "POST", {"Content-Type", "text/plain"}, 0, 415},
        {PATH, "POST", {NULL}, 0, 415},
        {PATH, "POST", {"Content-Type", "image/png", "Host", "evil.example"}, 0, 403},
        {PATH, "POST", {"Content-Type", "image/png", "Origin", "http://evil.example"}, 0, 403},
        {"/api/v1/cameras/none/snapshots", "POST", {"Content-Type", "image/png"}, 0, 404},
        {"/api/v1/cameras/off/snapshots", "POST", {"Content-Type", "image/png"}, 0, 409},
        {PATH, "GET", {"Content-Type", "image/png"}, 0, 0},
        {"/api/v1/cameras/porch/trigger", "POST", {"Content-Type", "image/png"}, 0, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO_FREE struct http_request *req = xcalloc(1, sizeof(*req));
        req->peer = (struct http_peer){.address = "127.0.0.1", .loopback = true};
        struct http_response ret;
        http_response_init(&ret);
        req->method = cases[i].method;
        req->target = cases[i].target;
        for (size_t k = 0; k < 4 && cases[i].headers[k]; k += 2)
            req->headers[req->header_count++] =
                (struct http_pair){cases[i].headers[k], cases[i].headers[k + 1]};
        assert_int_equal(http_request_parse(req, &f->e), 0);
        size_t max = web_admit(&f->context, req, &ret);
        if (max != cases[i].max || ret.status != cases[i].status)
            fail_msg("case %zu: %zu, %d", i, max, ret.status);
        http_response_done(&ret);
    }
}

static void finds_the_file_in_all_forms(void **state)
{
    (void)state;
    static const struct {
        const char *type, *body, *file; /* file NULL: code */
        int code;
    } cases[] = {
        {"multipart/form-data; boundary=x",
         "--x\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nA\r\n--x--", "A", 0},
        {"multipart/form-data; charset=utf-8; BOUNDARY=\"x y\"",
         "pre\r\n--x y\r\ncontent-disposition: form-data; name=file\r\n\r\nA\r\n--x y--", "A", 0},
        {"multipart/form-data; boundary=x",
         "--x \r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n\r\n--x--", "", 0},
        {"multipart/form-data; boundary=x",
         "--x\r\nX: 1\r\nContent-Disposition: form-data; filename=\"b;name=c\"; name=\"file\"\r\n"
         "\r\nA\r\n--y\r\n\r\n--x--",
         "A\r\n--y\r\n", 0},
        {"multipart/form-data; boundary=x",
         "--x\r\nContent-Disposition: form-data; name=\"other\"\r\n\r\nA\r\n--x--", NULL, -ENOENT},
        {"multipart/form-data; boundary=x",
         "--x\r\nContent-Disposition: form-data; filename=\"file\"\r\n\r\nA\r\n--x--", NULL,
         -ENOENT},
        {"multipart/form-data; boundary=x", "", NULL, -ENOENT},
        {"multipart/form-data; boundary=x", "--x--", NULL, -ENOENT},
        {"multipart/form-data; boundary=x", "--x", NULL, -EINVAL},
        {"multipart/form-data; boundary=x", "--xyz\r\n\r\n", NULL, -EINVAL},
        {"multipart/form-data; boundary=x",
         "--x\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nA", NULL, -EINVAL},
        {"multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data;", NULL,
         -EINVAL},
        {"multipart/form-data", "--x\r\n\r\nA\r\n--x--", NULL, -EINVAL},
        {"multipart/form-data; boundary=", "--\r\n\r\nA\r\n----", NULL, -EINVAL},
        {"multipart/form-data; "
         "boundary=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
         "", NULL, -EINVAL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct form_file file = {0};
        struct err e = {0};
        size_t size = strlen(cases[i].body);
        AUTO_FREE char *exact = size ? xmemdup(cases[i].body, size) : xmalloc(1);
        int r = form_data_find(cases[i].type, exact, size, "file", &file, &e);
        if (r != cases[i].code)
            fail_msg("case %zu: %d %s", i, r, e.text);
        if (r < 0)
            assert_true(e.text[0]);
        else if (file.size != strlen(cases[i].file) ||
                 memcmp(exact + file.at, cases[i].file, file.size) != 0)
            fail_msg("case %zu: %.*s", i, (int)file.size, exact + file.at);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        T(takes_raw_pictures),          T(takes_the_time_that_the_sender_gives),
        T(takes_the_file_of_a_form),    T(says_what_became_of_it),
        T(waits_until_it_is_durable),   T(looks_at_the_headers_first),
        T(finds_the_file_in_all_forms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
