/* Requests and the answers to them, without a socket: a real ledger, a fake pipeline. */
#include "fixture.h"

#include "ledger/ledger_again.h"
#include "ledger/ledger_upload.h"

#include <fcntl.h>

#include "base/fsutil.h"
#include "base/metrics.h"

static void answers_each_path_as_it_should(void **state)
{
    struct fixture *f = *state;
    AUTO(snapshot) s = add_snapshot(f, 0xabc, "porch", 1700000000000000);
    add_trigger(f, 0xdef, "porch");
#define ID "00000000000000000000000000000abc"
#define TRIGGER_ID "00000000000000000000000000000def"
#define NO_ID "00000000000000000000000000000fff"
    static const struct {
        const char *method, *target;
        int status;
        const char *code; /* of an error; NULL: none */
    } cases[] = {
        {"GET", "/", 200, NULL},
        {"HEAD", "/", 200, NULL},
        {"GET", "/api/v1/status", 200, NULL},
        {"GET", "/api/v1/cameras", 200, NULL},
        {"GET", "/api/v1/snapshots", 200, NULL},
        {"GET", "/api/v1/snapshots?", 200, NULL},
        {"GET", "/api/v1/snapshots/" ID, 200, NULL},
        {"HEAD", "/api/v1/snapshots/" ID, 200, NULL},
        {"GET", "/api/v1/snapshots/" ID "/image", 200, NULL},
        {"GET", "/api/v1/snapshots/" ID "/image?annotated=0", 200, NULL},
        {"GET", "/api/v1/snapshots/" ID "/image?annotated=1", 404, "no-annotated-picture"},
        {"GET", "/api/v1/snapshots/" ID "/image?download=maybe", 400, "bad-parameter"},
        {"GET", "/api/v1/snapshots/" ID "/image?width=320", 400, "bad-parameter"},
        {"GET", "/api/v1/snapshots/" ID "/thumbnail", 200, NULL},
        {"GET", "/api/v1/snapshots/" ID "/thumbnail?width=960", 200, NULL},
        {"GET", "/api/v1/snapshots/" ID "/thumbnail?width=1", 400, "bad-parameter"},
        {"GET", "/api/v1/snapshots/" ID "/thumbnail?height=320", 400, "bad-parameter"},
        {"GET", "/api/v1/snapshots/" NO_ID "/thumbnail", 404, "unknown-snapshot"},
        {"GET", "/api/v1/cameras/porch", 200, NULL},
        {"GET", "/api/v1/cameras/nobody", 404, "unknown-camera"},
        {"GET", "/api/v1/cameras/porch/latest.jpg", 200, NULL},
        {"GET", "/api/v1/cameras/porch/latest.jpg?annotated=1", 200, NULL},
        {"GET", "/api/v1/cameras/porch/latest.jpg?width=320", 200, NULL},
        {"GET", "/api/v1/cameras/porch/latest.jpg?width=320&annotated=1", 400, "bad-parameter"},
        {"GET", "/api/v1/cameras/..%2Fporch/latest.jpg", 404, "no-picture"},
        {"POST", "/api/v1/cameras/porch/disable", 200, NULL},
        {"POST", "/api/v1/cameras/porch/enable", 200, NULL},
        {"POST", "/api/v1/cameras/porch/enable?for=ever", 400, "bad-parameter"},
        {"GET", "/api/v1/cameras/porch/enable", 405, "method-not-allowed"},
        {"GET", "/api/v1/destinations", 200, NULL},
        {"GET", "/api/v1/queues", 200, NULL},
        {"GET", "/api/v1/config", 200, NULL},
        {"GET", "/api/v1/triggers/" TRIGGER_ID, 200, NULL},
        {"GET", "/api/v1/triggers/" NO_ID, 404, "unknown-trigger"},
        {"GET", "/api/v1/triggers/x", 404, "unknown-trigger"},
        {"GET", "/api/v1/snapshots/" NO_ID, 404, "unknown-snapshot"},
        {"GET", "/api/v1/snapshots/" NO_ID "/image", 404, "unknown-snapshot"},
        {"POST", "/api/v1/snapshots/" ID "/upload-again", 200, NULL},
        {"POST", "/api/v1/snapshots/" NO_ID "/upload-again", 404, "unknown-snapshot"},
        {"POST", "/api/v1/snapshots/x/upload-again", 404, "unknown-snapshot"},
        {"GET", "/api/v1/snapshots/" ID "/upload-again", 405, "method-not-allowed"},
        {"GET", "/api/v1/snapshots/..%2F..%2Fetc%2Fpasswd/image", 404, "unknown-snapshot"},
        {"GET", "/api/v1/snapshots/" ID "/../../../etc/passwd", 404, "no-such-path"},
        {"GET", "/api/v1/snapshots/" ID "/", 404, "no-such-path"},
        {"GET", "/api/v1/snapshots/", 404, "no-such-path"},
        {"GET", "//api/v1/status", 404, "no-such-path"},
        {"GET", "/API/v1/status", 404, "no-such-path"},
        {"GET", "/api/v1", 404, "no-such-path"},
        {"GET", "/favicon.ico", 404, "no-such-path"},
        {"GET", "/healthz", 200, NULL},
        {"GET", "/readyz", 200, NULL},
        {"GET", "/metrics", 200, NULL},
        {"GET", "/metrics?x=1", 200, NULL},
        {"POST", "/metrics", 405, "method-not-allowed"},
        {"PUT", "/api/v1/snapshots/" ID, 405, "method-not-allowed"},
        {"OPTIONS", "/api/v1/cameras/porch/trigger", 405, "method-not-allowed"},
        {"GET", "/api/v1/cameras/porch/trigger", 405, "method-not-allowed"},
        {"HEAD", "/api/v1/cameras/porch/trigger", 405, "method-not-allowed"},
        {"POST", "/api/v1/cameras//trigger", 404, "no-such-path"},
        {"POST", "/api/v1/cameras/porch/trigger", 202, NULL},
        {"POST", "/api/v1/cameras/porch/trigger?wait=0", 202, NULL},
        {"\x1b[31mX", "/", 405, "method-not-allowed"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct reply r;
        ask(f, cases[i].method, cases[i].target, &r);
        const char *code = text_at(r.json, "error.code");
        bool same = r.response.status == cases[i].status &&
                    (cases[i].code ? strcmp(code, cases[i].code) == 0 : !at(r.json, "error"));
        if (!same)
            fail_msg("%s %s: %d %s", cases[i].method, cases[i].target, r.response.status, code);
        if (cases[i].code)
            assert_true(text_at(r.json, "error.message")[0]);
        if (cases[i].status == 405)
            assert_non_null(header_of(&r, "Allow"));
        assert_string_equal(header_of(&r, "X-Content-Type-Options"), "nosniff");
        assert_non_null(header_of(&r, "Content-Security-Policy"));
        assert_non_null(header_of(&r, "Cache-Control"));
        reply_done(&r);
    }
}

static void says_what_is_allowed_instead(void **state)
{
    struct fixture *f = *state;
    struct reply r;
    ask(f, "PUT", "/api/v1/cameras/porch/trigger", &r);
    assert_string_equal(header_of(&r, "Allow"), "POST");
    reply_done(&r);
    ask(f, "PUT", "/metrics", &r);
    assert_string_equal(header_of(&r, "Allow"), "GET, HEAD");
    reply_done(&r);
}

static void asks_nobody_who_may_not(void **state)
{
    struct fixture *f = *state;
    static const char *const evil_host[] = {"Host", "evil.test:8080", NULL};
    static const char *const evil_page[] = {"Host", "127.0.0.1:8080", "Origin", "http://evil.test",
                                            NULL};
    struct reply r;
    ask_with(f, "GET", "/api/v1/snapshots", evil_host, &r);
    assert_int_equal(r.response.status, 403);
    assert_string_equal(text_at(r.json, "error.code"), "host-not-allowed");
    reply_done(&r);
    ask_with(f, "POST", "/api/v1/cameras/porch/trigger", evil_page, &r);
    assert_int_equal(r.response.status, 403);
    assert_string_equal(text_at(r.json, "error.code"), "cross-origin");
    reply_done(&r);
    assert_int_equal(f->triggers, 0);
    static const char *const names[] = {"evil.test", NULL};
    f->context.host_names = names;
    ask_with(f, "GET", "/api/v1/snapshots", evil_host, &r);
    assert_int_equal(r.response.status, 200);
    reply_done(&r);
}

static void names_the_wrong_parameter_and_the_right_value(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *query, *parameter, *words;
    } cases[] = {
        {"limit=0", "limit", "a whole number from 1 to 500"},
        {"limit=501", "limit", "a whole number from 1 to 500"},
        {"limit=x", "limit", "limit='x'"},
        {"limit=1&limit=2", "limit", "more than once"},
        {"confidence=1.5", "confidence", "a number from 0 to 1"},
        {"confidence=nan", "confidence", "a number from 0 to 1"},
        {"person=maybe", "person", "1 or 0"},
        {"state=lost", "state", "stored or examined"},
        {"from=yesterday", "from", "2026-01-31T17:30:00Z"},
        {"to=2026-02-30T00:00:00Z", "to", "2026-01-31T17:30:00Z"},
        {"from=2026-01-02&to=2026-01-01", "to", "a time after 'from'"},
        {"cursor=x", "cursor", "unchanged"},
        {"cursor=-", "cursor", "unchanged"},
        {"cursor=1-", "cursor", "unchanged"},
        {"cursor=1-0", "cursor", "unchanged"},
        {"cursor=1-2-3", "cursor", "unchanged"},
        {"cursor=ffffffffffffffff-1", "cursor", "unchanged"},
        {"camrea=porch", "camrea", "one of camera, label"},
        {"%3Cscript%3E=1", "<script>", "there is no parameter"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char target[256];
        (void)snprintf(target, sizeof(target), "/api/v1/snapshots?%s", cases[i].query);
        struct reply r;
        ask(f, "GET", target, &r);
        if (r.response.status != 400 ||
            strcmp(text_at(r.json, "error.code"), "bad-parameter") != 0 ||
            strcmp(text_at(r.json, "error.parameter"), cases[i].parameter) != 0 ||
            !strstr(text_at(r.json, "error.message"), cases[i].words))
            fail_msg("%s: %d %s", cases[i].query, r.response.status,
                     text_at(r.json, "error.message"));
        reply_done(&r);
    }
    struct reply r;
    ask(f, "POST", "/api/v1/cameras/porch/trigger?wait=61", &r);
    assert_int_equal(r.response.status, 400);
    reply_done(&r);
    ask(f, "POST", "/api/v1/cameras/porch/trigger?Wait=1", &r);
    assert_int_equal(r.response.status, 400);
    reply_done(&r);
    assert_int_equal(f->triggers, 0);
}

static void tells_health_and_readiness_with_the_reason(void **state)
{
    struct fixture *f = *state;
    f->ready_code = -EAGAIN;
    f->healthy_code = -ETIMEDOUT;
    struct reply r;
    ask(f, "GET", "/readyz", &r);
    assert_int_equal(r.response.status, 503);
    assert_string_equal(text_at(r.json, "error.message"), "the model is loading");
    assert_string_equal(text_at(r.json, "error.code"), "not-ready");
    assert_string_equal(text_at(json_array_get(json_object_get(r.json, "parts"), 0), "state"),
                        "waiting");
    reply_done(&r);
    ask(f, "GET", "/healthz", &r);
    assert_int_equal(r.response.status, 503);
    assert_string_equal(text_at(r.json, "error.message"), "stage detect is stuck");
    reply_done(&r);
}

/* ---- triggers ---- */

static void accepts_a_trigger_durably(void **state)
{
    struct fixture *f = *state;
    struct reply r;
    ask(f, "POST", "/api/v1/cameras/porch/trigger", &r);
    assert_int_equal(r.response.status, 202);
    assert_string_equal(text_at(r.json, "camera"), "porch");
    assert_string_equal(text_at(r.json, "state"), "pending");
    assert_string_equal(text_at(r.json, "accepted_at"), "1970-01-01T00:16:40.250Z");
    assert_string_equal(header_of(&r, "Location"), text_at(r.json, "links.self"));
    char target[128];
    text_copy(target, sizeof(target), text_at(r.json, "links.self"));
    reply_done(&r);
    ask(f, "GET", target, &r);
    assert_int_equal(r.response.status, 200);
    assert_string_equal(text_at(r.json, "origin"), "api");
    assert_true(json_is_null(at(r.json, "last_error")));
    reply_done(&r);
}

static void says_why_a_trigger_is_refused(void **state)
{
    struct fixture *f = *state;
    static const struct {
        int code, status;
        const char *name;
        bool retry;
    } cases[] = {
        {-ENOENT, 404, "unknown-camera", false}, {-ECANCELED, 409, "camera-disabled", false},
        {-ENOSPC, 503, "refused-for-now", true}, {-EBUSY, 503, "refused-for-now", true},
        {-EAGAIN, 503, "refused-for-now", true}, {-EIO, 500, "internal", false},
    };
    f->trigger_text = "cameras are: porch, yard";
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        f->trigger_code = cases[i].code;
        struct reply r;
        ask(f, "POST", "/api/v1/cameras/no%22pe/trigger?wait=5", &r);
        assert_int_equal(r.response.status, cases[i].status);
        assert_string_equal(text_at(r.json, "error.code"), cases[i].name);
        assert_string_equal(text_at(r.json, "error.message"), "cameras are: porch, yard");
        assert_int_equal(header_of(&r, "Retry-After") != NULL, cases[i].retry);
        if (cases[i].status == 404)
            assert_string_equal(text_at(r.json, "error.camera"), "no\"pe");
        reply_done(&r);
    }
}

/* Calls the handler again as the server does when a wait is over. */
static void ask_again(struct fixture *f, struct reply *r)
{
    struct http_wait wait = r->response.wait;
    http_response_done(&r->response);
    r->request.resumed = &wait;
    r->route = web_answer(&f->context, &r->request, &r->response);
    r->request.resumed = NULL;
    if (r->response.waits)
        return;
    http_response_finish(&r->request, &r->response);
    if (strcmp(r->response.content_type, "application/json") == 0)
        assert_int_equal(js_parse((const char *)r->response.body->data, r->response.body->size,
                                  WEB_BODY_MAX, &r->json, &f->e),
                         0);
}

static void waits_until_the_picture_is_examined(void **state)
{
    struct fixture *f = *state;
    static const char *const labels[] = {"person", "car"};
    static const float scores[] = {0.91f, 0.71f};
    struct reply r;
    ask(f, "POST", "/api/v1/cameras/porch/trigger?wait=30", &r);
    assert_true(r.response.waits);
    assert_string_equal(r.response.wait.key, "000000000000000000000000000003e8");
    ask_again(f, &r);
    assert_true(r.response.waits);
    AUTO(snapshot) s = add_snapshot(f, 1000, "porch", 1000000000);
    ask_again(f, &r);
    assert_true(r.response.waits); /* stored is not yet an answer */
    examine(f, s, labels, scores, 2, true);
    ask_again(f, &r);
    assert_false(r.response.waits);
    assert_int_equal(r.response.status, 200);
    assert_string_equal(text_at(r.json, "id"), s->id);
    assert_string_equal(text_at(r.json, "verdict.detections.0.label"), "person");
    reply_done(&r);
    assert_int_equal(f->triggers, 1);
}

static void waits_until_the_trigger_has_failed(void **state)
{
    struct fixture *f = *state;
    struct reply r;
    ask(f, "POST", "/api/v1/cameras/porch/trigger?wait=30", &r);
    assert_true(r.response.waits);
    struct trigger t;
    assert_int_equal(ledger_trigger_get(f->ledger, r.response.wait.key, &t, &f->e), 0);
    assert_int_equal(ledger_trigger_fail(f->ledger, &t, "connection refused", &f->e), 0);
    ask_again(f, &r);
    assert_int_equal(r.response.status, 502);
    assert_string_equal(text_at(r.json, "error.code"), "trigger-failed");
    assert_string_equal(text_at(r.json, "error.message"), "connection refused");
    assert_string_equal(text_at(r.json, "trigger.state"), "failed");
    reply_done(&r);
}

static struct mono_time mono_now = {1000000};
static struct mono_time fake_mono(void)
{
    return mono_now;
}

static void tells_what_is_known_when_the_wait_is_over(void **state)
{
    struct fixture *f = *state;
    clock_set_mono_source(fake_mono);
    struct reply r;
    ask(f, "POST", "/api/v1/cameras/porch/trigger?wait=30", &r);
    assert_true(r.response.waits);
    assert_int_equal(r.response.wait.deadline.us, mono_now.us + 30000000);
    assert_true(r.response.wait.recheck.us <= r.response.wait.deadline.us);
    struct trigger t;
    assert_int_equal(ledger_trigger_get(f->ledger, r.response.wait.key, &t, &f->e), 0);
    struct wall_time later = {t.accepted_at.us + 1000000};
    assert_int_equal(ledger_trigger_retry(f->ledger, &t, later, "camera is busy", &f->e), 0);
    mono_now.us += 29999999;
    ask_again(f, &r);
    assert_true(r.response.waits);
    mono_now.us += 1;
    ask_again(f, &r);
    clock_set_mono_source(NULL);
    assert_int_equal(r.response.status, 202);
    assert_string_equal(text_at(r.json, "last_error"), "camera is busy");
    assert_int_equal(json_integer_value(at(r.json, "attempts")), 1);
    reply_done(&r);
}

static void does_not_wait_when_the_server_cannot(void **state)
{
    struct fixture *f = *state;
    struct reply r = {.request = {.method = "POST",
                                  .target = "/api/v1/cameras/porch/trigger?wait=30",
                                  .peer = {.address = "127.0.0.1", .loopback = true},
                                  .may_wait = false}};
    assert_int_equal(http_request_parse(&r.request, &f->e), 0);
    (void)web_answer(&f->context, &r.request, &r.response);
    assert_false(r.response.waits);
    assert_int_equal(r.response.status, 202);
    reply_done(&r);
}

/* ---- one snapshot ---- */

static void shows_all_that_is_known_of_a_snapshot(void **state)
{
    struct fixture *f = *state;
    static const char *const labels[] = {"person", "person", "car"};
    static const float scores[] = {0.91f, 0.834567f, 0.71f};
    add_trigger(f, 7, "porch");
    AUTO(snapshot) s = add_snapshot(f, 7, "porch", 7000000);
    struct reply r;
    ask(f, "GET", "/api/v1/snapshots/00000000000000000000000000000007", &r);
    assert_true(json_is_null(at(r.json, "verdict")));
    assert_true(json_is_null(at(r.json, "annotated_path")));
    assert_true(json_is_null(at(r.json, "links.annotated")));
    assert_string_equal(text_at(r.json, "state"), "stored");
    assert_string_equal(text_at(r.json, "event_detail"), "");
    reply_done(&r);

    examine(f, s, labels, scores, 3, true);
    ask(f, "GET", "/api/v1/snapshots/00000000000000000000000000000007", &r);
    static const struct {
        const char *path, *text;
    } texts[] = {
        {"id", "00000000000000000000000000000007"},
        {"camera", "porch"},
        {"device_key", "Front Door Camera"},
        {"device_label", "Front Door"},
        {"source", "fetched"},
        {"state", "examined"},
        {"event_at", "1970-01-01T00:00:07.000Z"},
        {"received_at", "1970-01-01T00:00:07.143Z"},
        {"event_detail", "2 person(s) and 3 things"},
        {"path", "porch/2026/01/02/fetch_front-door-camera_7.jpg"},
        {"annotated_path", "porch/2026/01/02/detect_front-door-camera_7.jpg"},
        {"md5", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
        {"format", "jpeg"},
        {"verdict.outcome", "examined"},
        {"verdict.model", "test.onnx"},
        {"verdict.detections.2.label", "car"},
        {"links.self", "/api/v1/snapshots/00000000000000000000000000000007"},
        {"links.image", "/api/v1/snapshots/00000000000000000000000000000007/image"},
        {"links.annotated", "/api/v1/snapshots/00000000000000000000000000000007/image?annotated=1"},
        {"links.camera_snapshots", "/api/v1/snapshots?camera=porch"},
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        assert_string_equal(text_at(r.json, texts[i].path), texts[i].text);
    assert_int_equal(json_integer_value(at(r.json, "width")), 1280);
    assert_int_equal(json_integer_value(at(r.json, "verdict.persons")), 2);
    assert_int_equal(json_integer_value(at(r.json, "verdict.things")), 3);
    assert_true(json_is_false(at(r.json, "verdict.damaged")));
    assert_true(json_is_null(at(r.json, "verdict.error")));
    assert_true(json_is_null(at(r.json, "verdict.detections.1.box")));
    assert_true(json_array_size(at(r.json, "story")) >= 2);
    assert_true(text_at(r.json, "story.0.at")[0] == '1');
    /* Numbers are as short as they are exact. */
    AUTO_FREE char *text = js_text(at(r.json, "verdict"));
    assert_non_null(strstr(text, "\"confidence\":0.91,"));
    assert_non_null(strstr(text, "\"confidence\":0.8346,"));
    assert_non_null(strstr(text, "\"box\":[10.13,20.0,30.5,40.0]"));
    assert_int_equal(lround(json_real_value(at(r.json, "fetch_ms")) * 100), 4321);
    reply_done(&r);
}

static void a_star_is_given_taken_and_looked_for(void **state)
{
    struct fixture *f = *state;
    struct reply r;
    snapshot_unref(add_snapshot(f, 7, "porch", 7000000));
    snapshot_unref(add_snapshot(f, 8, "porch", 8000000));
    static const struct {
        const char *method, *target;
        int status;
        bool starred;
    } steps[] = {
        {"GET", "/api/v1/snapshots/00000000000000000000000000000007", 200, false},
        {"POST", "/api/v1/snapshots/00000000000000000000000000000007/star", 200, true},
        {"POST", "/api/v1/snapshots/00000000000000000000000000000007/star", 200, true},
        {"GET", "/api/v1/snapshots/00000000000000000000000000000007", 200, true},
        {"POST", "/api/v1/snapshots/00000000000000000000000000000009/star", 404, false},
        {"POST", "/api/v1/snapshots/nonsense/star", 404, false},
        {"POST", "/api/v1/snapshots/00000000000000000000000000000007/star?x=1", 400, false},
        {"GET", "/api/v1/snapshots/00000000000000000000000000000007/star", 405, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        ask(f, steps[i].method, steps[i].target, &r);
        if (r.response.status != steps[i].status ||
            json_is_true(at(r.json, "starred")) != steps[i].starred)
            fail_msg("step %zu: %d", i, r.response.status);
        reply_done(&r);
    }
    ask(f, "GET", "/api/v1/snapshots?starred=1", &r);
    assert_int_equal(json_array_size(at(r.json, "snapshots")), 1);
    assert_string_equal(text_at(r.json, "snapshots.0.id"), "00000000000000000000000000000007");
    reply_done(&r);
    ask(f, "GET", "/api/v1/snapshots?starred=0", &r);
    assert_int_equal(json_array_size(at(r.json, "snapshots")), 1);
    assert_string_equal(text_at(r.json, "snapshots.0.id"), "00000000000000000000000000000008");
    reply_done(&r);
    ask(f, "POST", "/api/v1/snapshots/00000000000000000000000000000007/unstar", &r);
    assert_int_equal(r.response.status, 200);
    assert_true(json_is_false(at(r.json, "starred")));
    reply_done(&r);
    ask(f, "GET", "/api/v1/snapshots?starred=1", &r);
    assert_int_equal(json_array_size(at(r.json, "snapshots")), 0);
    reply_done(&r);
}

static void hostile_names_stay_text(void **state)
{
    struct fixture *f = *state;
    AUTO(snapshot) s = add_snapshot(f, 9, "<script>alert(1)</script>\"&/", 9000000);
    struct reply r;
    ask(f, "GET", "/api/v1/snapshots", &r);
    assert_string_equal(text_at(r.json, "snapshots.0.camera"), "<script>alert(1)</script>\"&/");
    assert_string_equal(r.response.content_type, "application/json");
    const char *link = text_at(r.json, "snapshots.0.links.camera_snapshots");
    assert_string_equal(link, "/api/v1/snapshots?camera=%3Cscript%3Ealert%281%29%3C%2Fscript%3E%22"
                              "%26%2F");
    char target[256];
    text_copy(target, sizeof(target), link);
    reply_done(&r);
    ask(f, "GET", target, &r);
    assert_int_equal(json_array_size(at(r.json, "snapshots")), 1);
    reply_done(&r);
    ask(f, "GET", "/api/v1/cameras", &r);
    assert_string_equal(text_at(r.json, "cameras.1.links.trigger"),
                        "/api/v1/cameras/Back%20%3Cb%3E%2FYard/trigger");
    text_copy(target, sizeof(target), text_at(r.json, "cameras.1.links.trigger"));
    reply_done(&r);
    ask(f, "POST", target, &r);
    assert_string_equal(text_at(r.json, "camera"), "Back <b>/Yard");
    reply_done(&r);
}

/* ---- pictures ---- */

static void serves_pictures_so_that_browsers_keep_them(void **state)
{
    struct fixture *f = *state;
    AUTO(snapshot) s = add_snapshot(f, 5, "porch", 5000000);
    examine(f, s, NULL, NULL, 0, true);
#define IMAGE "/api/v1/snapshots/00000000000000000000000000000005/image"
#define TAG "\"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\""
    static const struct {
        const char *method, *target, *name, *value;
        int status;
        unsigned reads;
        const char *body; /* what is sent; NULL: nothing */
    } cases[] = {
        {"GET", IMAGE, NULL, NULL, 200, 1, "0123456789"},
        {"GET", IMAGE, "If-None-Match", TAG, 304, 0, NULL},
        {"GET", IMAGE, "If-None-Match", "\"other\"", 200, 1, "0123456789"},
        {"GET", IMAGE, "Range", "bytes=2-4", 206, 1, "234"},
        {"GET", IMAGE, "Range", "bytes=-2", 206, 1, "89"},
        {"GET", IMAGE, "Range", "bytes=99-", 416, 1, NULL},
        {"GET", IMAGE "?annotated=1", NULL, NULL, 200, 1, "annotated!"},
        {"GET", IMAGE "?annotated=yes", "Range", "bytes=0-0", 206, 1, "a"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *const headers[] = {cases[i].name, cases[i].value, NULL};
        struct reply r;
        f->byte_reads = 0;
        ask_with(f, cases[i].method, cases[i].target, headers, &r);
        if (r.response.status != cases[i].status || f->byte_reads != cases[i].reads)
            fail_msg("case %zu: %d, %u reads", i, r.response.status, f->byte_reads);
        if (cases[i].body) {
            assert_int_equal(r.response.body_length, strlen(cases[i].body));
            assert_memory_equal(r.response.body->data + r.response.body_offset, cases[i].body,
                                r.response.body_length);
            assert_string_equal(header_of(&r, "Content-Type"), "image/jpeg");
            assert_non_null(header_of(&r, "Content-Disposition"));
        }
        reply_done(&r);
    }
    struct reply r;
    ask(f, "GET", IMAGE, &r);
    assert_string_equal(header_of(&r, "ETag"), TAG);
    assert_non_null(strstr(header_of(&r, "Cache-Control"), "immutable"));
    assert_string_equal(header_of(&r, "Content-Disposition"),
                        "inline; filename=\"fetch_front-door-camera_5.jpg\"");
    reply_done(&r);
    ask(f, "GET", IMAGE "?download=1", &r);
    assert_string_equal(header_of(&r, "Content-Disposition"),
                        "attachment; filename=\"fetch_front-door-camera_5.jpg\"");
    reply_done(&r);
    ask(f, "GET", IMAGE "?annotated=1", &r);
    assert_null(strstr(header_of(&r, "Cache-Control"), "immutable"));
    char tag[80];
    text_copy(tag, sizeof(tag), header_of(&r, "ETag"));
    assert_string_not_equal(tag, TAG);
    reply_done(&r);
    const char *const known[] = {"If-None-Match", tag, NULL};
    ask_with(f, "GET", IMAGE "?annotated=1", known, &r);
    assert_int_equal(r.response.status, 304);
    reply_done(&r);

    f->bytes_code = -ENOENT;
    ask(f, "GET", IMAGE, &r);
    assert_int_equal(r.response.status, 404);
    assert_string_equal(text_at(r.json, "error.code"), "picture-gone");
    reply_done(&r);
    f->bytes_code = -ENOMEM;
    ask(f, "GET", IMAGE, &r);
    assert_int_equal(r.response.status, 500);
    reply_done(&r);
}

static void a_copy_that_is_not_drawn_yet_is_waited_for(void **state)
{
    struct fixture *f = *state;
    AUTO(snapshot) s = add_snapshot(f, 5, "porch", 1000000);
    examine(f, s, NULL, NULL, 0, true);
    struct reply r;
    f->bytes_code = -ENOENT;
    ask(f, "GET", IMAGE "?annotated=1", &r);
    assert_true(r.response.waits);
    assert_string_equal(r.response.wait.key, s->id);
    ask_again(f, &r);
    assert_true(r.response.waits);
    f->bytes_code = 0;
    ask_again(f, &r);
    assert_int_equal(r.response.status, 200);
    assert_memory_equal(r.response.body->data, "annotated!", 10);
    reply_done(&r);

    f->bytes_code = -ENOENT;
    ask(f, "GET", IMAGE "?annotated=1", &r);
    r.response.wait.deadline.us = 1; /* the moment is over */
    ask_again(f, &r);
    assert_int_equal(r.response.status, 503);
    assert_string_equal(text_at(r.json, "error.code"), "not-drawn-yet");
    reply_done(&r);

    /* A settled row's copy is gone for good. */
    assert_int_equal(ledger_settle(f->ledger, &s->row, 1, &f->e), 0);
    ask(f, "GET", IMAGE "?annotated=1", &r);
    assert_int_equal(r.response.status, 404);
    assert_string_equal(text_at(r.json, "error.code"), "picture-gone");
    reply_done(&r);
}

static void a_small_copy_that_is_not_made_yet_is_waited_for(void **state)
{
    struct fixture *f = *state;
    AUTO(snapshot) s = add_snapshot(f, 5, "porch", 1000000);
    static const char *const targets[] = {"/api/v1/snapshots/"
                                          "00000000000000000000000000000005"
                                          "/thumbnail?width=960",
                                          "/api/v1/cameras/porch/latest.jpg?width=960"};
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        struct reply r;
        f->thumbnail_code = -EAGAIN;
        ask(f, "GET", targets[i], &r);
        assert_true(r.response.waits);
        assert_string_equal(r.response.wait.key, s->id);
        assert_int_equal(f->thumbnail_width, 960);
        f->thumbnail_code = 0;
        ask_again(f, &r);
        assert_int_equal(r.response.status, 200);
        assert_memory_equal(r.response.body->data, "small", 5);
        assert_true(r.response.etag[0] == '"');
        reply_done(&r);

        f->thumbnail_code = -EAGAIN;
        ask(f, "GET", targets[i], &r);
        r.response.wait.deadline.us = 1; /* the moment is over */
        ask_again(f, &r);
        assert_int_equal(r.response.status, 503);
        assert_string_equal(text_at(r.json, "error.code"), "not-made-yet");
        assert_string_equal(header_of(&r, "Retry-After"), "1");
        reply_done(&r);
    }
}

static void a_small_copy_can_be_asked_for_in_part(void **state)
{
    struct fixture *f = *state;
    AUTO(snapshot) s = add_snapshot(f, 5, "porch", 1000000);
    static const char *const targets[] = {
        "/api/v1/snapshots/00000000000000000000000000000005/thumbnail",
        "/api/v1/cameras/porch/latest.jpg?width=320"};
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        struct reply r;
        ask(f, "GET", targets[i], &r);
        assert_int_equal(r.response.status, 200);
        assert_string_equal(header_of(&r, "Accept-Ranges"), "bytes");
        char tag[80];
        text_copy(tag, sizeof(tag), header_of(&r, "ETag"));
        reply_done(&r);
        const char *const part[] = {"Range", "bytes=1-2", "If-Range", tag, NULL};
        ask_with(f, "GET", targets[i], part, &r);
        assert_int_equal(r.response.status, 206);
        assert_string_equal(header_of(&r, "Content-Range"), "bytes 1-2/5");
        assert_memory_equal(r.response.body->data + r.response.body_offset, "ma", 2);
        reply_done(&r);
        const char *const anew[] = {"Range", "bytes=1-2", "If-Range", "\"other\"", NULL};
        ask_with(f, "GET", targets[i], anew, &r);
        assert_int_equal(r.response.status, 200);
        reply_done(&r);
        const char *const outside[] = {"Range", "bytes=5-", NULL};
        ask_with(f, "GET", targets[i], outside, &r);
        assert_int_equal(r.response.status, 416);
        assert_string_equal(header_of(&r, "Content-Range"), "bytes */5");
        reply_done(&r);
        const char *const kept[] = {"Range", "bytes=1-2", "If-None-Match", tag, NULL};
        ask_with(f, "GET", targets[i], kept, &r);
        assert_int_equal(r.response.status, 304);
        reply_done(&r);
    }
}

static void says_why_there_is_no_small_copy(void **state)
{
    struct fixture *f = *state;
    static const struct {
        int code, status;
        const char *name;
    } cases[] = {
        {-EOPNOTSUPP, 404, "no-thumbnail"}, {-ENOENT, 404, "picture-gone"},
        {-EINVAL, 404, "no-thumbnail"},     {-EFBIG, 404, "no-thumbnail"},
        {-EBUSY, 503, "not-made-yet"},      {-EIO, 500, "internal"},
        {-ENOSPC, 503, "refused-for-now"},
    };
    AUTO(snapshot) s = add_snapshot(f, 5, "porch", 1000000);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct reply r;
        f->thumbnail_code = cases[i].code;
        ask(f, "GET",
            "/api/v1/snapshots/"
            "00000000000000000000000000000005"
            "/thumbnail",
            &r);
        if (r.response.status != cases[i].status ||
            strcmp(text_at(r.json, "error.code"), cases[i].name) != 0)
            fail_msg("%d: %d %s", cases[i].code, r.response.status, text_at(r.json, "error.code"));
        reply_done(&r);
    }
}

static void the_newest_picture_that_is_here_is_a_cameras_latest(void **state)
{
    struct fixture *f = *state;
    AUTO(snapshot) older = add_snapshot(f, 5, "porch", 1000000);
    AUTO(snapshot) newer = add_snapshot(f, 6, "porch", 2000000);
    AUTO(snapshot) other = add_snapshot(f, 7, "yard", 3000000);
    (void)older;
    struct reply r;
    ask(f, "GET", "/api/v1/cameras/porch/latest.jpg", &r);
    assert_int_equal(r.response.status, 200);
    assert_string_equal(header_of(&r, "Cache-Control"), "private, no-cache");
    assert_non_null(strstr(header_of(&r, "Content-Disposition"), "_6.jpg"));
    reply_done(&r);
    assert_int_equal(ledger_snapshot_removed(f->ledger, &newer->row, 1, "plain_age", false, &f->e),
                     0);
    ask(f, "GET", "/api/v1/cameras/porch/latest.jpg", &r);
    assert_non_null(strstr(header_of(&r, "Content-Disposition"), "_5.jpg"));
    reply_done(&r);
    assert_int_equal(ledger_snapshot_removed(f->ledger, &other->row, 1, "plain_age", false, &f->e),
                     0);
    ask(f, "GET", "/api/v1/cameras/yard/latest.jpg", &r);
    assert_int_equal(r.response.status, 404);
    assert_string_equal(text_at(r.json, "error.code"), "no-picture");
    reply_done(&r);
}

static void a_camera_that_cannot_be_switched_says_why(void **state)
{
    struct fixture *f = *state;
    static const struct {
        int code, status;
        const char *name;
    } cases[] = {{-ENOENT, 404, "unknown-camera"},
                 {-ECANCELED, 409, "camera-disabled"},
                 {-ENOSPC, 503, "refused-for-now"}};
    struct reply r;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        f->switch_code = cases[i].code;
        ask(f, "POST", "/api/v1/cameras/porch/enable", &r);
        assert_int_equal(r.response.status, cases[i].status);
        assert_string_equal(text_at(r.json, "error.code"), cases[i].name);
        reply_done(&r);
    }
    f->switch_code = 0;
    ask(f, "POST", "/api/v1/cameras/porch/disable", &r);
    assert_true(f->switched_off);
    assert_string_equal(text_at(r.json, "links.latest"), "/api/v1/cameras/porch/latest.jpg");
    reply_done(&r);
    ask(f, "POST", "/api/v1/cameras/porch/enable", &r);
    assert_false(f->switched_off);
    reply_done(&r);
}

/* ---- pages against brute force ---- */

#define MANY 300

struct expected {
    char id[SNAPSHOT_ID_SIZE];
    int64_t at, row;
    int camera, label; /* indices; label -1: nothing on it */
    double confidence;
    bool examined;
};
static const char *const camera_names[] = {"porch", "yard", "gate"};
static const char *const label_names[] = {"person", "car", "dog"};

static uint32_t seed;
static uint32_t draw(uint32_t below)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % below;
}

static void add_random(struct fixture *f, uint64_t n, struct expected *ret)
{
    /* Few different times, so that many share one. */
    ret->at = 1700000000000000 + (int64_t)draw(60) * 1000000;
    ret->camera = (int)draw(ARRAY_LEN(camera_names));
    ret->label = (int)draw(ARRAY_LEN(label_names) + 1) - 1;
    ret->confidence = (10 + draw(90)) / 100.0;
    ret->examined = draw(4) > 0;
    AUTO(snapshot) s = add_snapshot(f, n, camera_names[ret->camera], ret->at);
    text_copy(ret->id, sizeof(ret->id), s->id);
    ret->row = s->row;
    if (!ret->examined) {
        ret->label = -1;
        return;
    }
    const char *label = ret->label >= 0 ? label_names[ret->label] : NULL;
    float score = (float)ret->confidence;
    examine(f, s, &label, &score, ret->label >= 0, false);
}

static int newest_first(const void *a, const void *b)
{
    const struct expected *x = a, *y = b;
    if (x->at != y->at)
        return x->at < y->at ? 1 : -1;
    return x->row < y->row ? 1 : -1;
}

/* A question in both forms: as a query, and as a filter for the walk. -1 = any. */
struct question {
    const char *query;
    int camera, label, person, examined;
    double confidence;
    int64_t from, to; /* seconds after the first time */
};

static bool fits(const struct question *q, const struct expected *x)
{
    int64_t offset = (x->at - 1700000000000000) / 1000000;
    int person = x->label == 0;
    return (q->camera < 0 || q->camera == x->camera) && (q->label < 0 || q->label == x->label) &&
           (q->person < 0 || q->person == person) &&
           (q->examined < 0 || q->examined == x->examined) &&
           (q->confidence <= 0 || (x->label >= 0 && x->confidence >= q->confidence - 1e-9)) &&
           (q->from < 0 || offset >= q->from) && (q->to < 0 || offset < q->to);
}

static size_t next_that_fits(const struct question *q, const struct expected *all, size_t from)
{
    while (from < MANY && !fits(q, &all[from]))
        from++;
    return from;
}

#define SEVEN "/api/v1/snapshots/00000000000000000000000000000007"

static void a_deleted_snapshot_leaves_the_lists_and_comes_back(void **state)
{
    struct fixture *f = *state;
    static const float sure[] = {0.9f};
    static const char *const person[] = {"person"};
    AUTO(snapshot) s = add_snapshot(f, 7, "porch", 7000000);
    AUTO(snapshot) other = add_snapshot(f, 8, "yard", 8000000);
    examine(f, s, person, sure, 1, false);
    static const struct {
        const char *method, *target;
        int status;
        const char *code, *listed; /* how many are in the list then, and in the trash */
    } steps[] = {
        {"DELETE", SEVEN "?x=1", 400, "bad-parameter", "2 0"},
        {"DELETE", "/api/v1/snapshots/nonsense", 404, "unknown-snapshot", "2 0"},
        {"DELETE", SEVEN, 200, NULL, "1 1"},
        {"DELETE", SEVEN, 200, NULL, "1 1"},
        {"POST", SEVEN "/detect", 409, "deleted", "1 1"},
        {"POST", SEVEN "/undelete", 200, NULL, "2 0"},
        {"POST", SEVEN "/undelete", 200, NULL, "2 0"},
        {"POST", SEVEN "/star", 200, NULL, "2 0"},
        {"DELETE", SEVEN, 409, "starred", "2 0"},
        {"DELETE", SEVEN "?force=1", 200, NULL, "1 1"},
    };
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        struct reply r;
        char listed[16];
        ask(f, steps[i].method, steps[i].target, &r);
        if (r.response.status != steps[i].status)
            fail_msg("step %zu: %d", i, r.response.status);
        if (steps[i].code)
            assert_string_equal(text_at(r.json, "error.code"), steps[i].code);
        else
            assert_int_equal(json_is_string(at(r.json, "purge_at")), steps[i].listed[2] == '1');
        reply_done(&r);
        ask(f, "GET", "/api/v1/snapshots/count", &r);
        int64_t list = json_integer_value(at(r.json, "count"));
        reply_done(&r);
        ask(f, "GET", "/api/v1/snapshots?deleted=1", &r);
        (void)snprintf(listed, sizeof(listed), "%d %zu", (int)list,
                       json_array_size(at(r.json, "snapshots")));
        reply_done(&r);
        assert_string_equal(listed, steps[i].listed);
    }
    struct reply r;
    assert_int_equal(ledger_snapshot_removed(f->ledger, &s->row, 1, "trash", false, &f->e), 0);
    ask(f, "POST", SEVEN "/undelete", &r);
    assert_int_equal(r.response.status, 409);
    assert_string_equal(text_at(r.json, "error.code"), "already-purged");
    reply_done(&r);
    ask(f, "DELETE", SEVEN, &r);
    assert_string_equal(text_at(r.json, "error.code"), "picture-gone");
    reply_done(&r);
    ask(f, "POST", SEVEN "/detect", &r);
    assert_string_equal(text_at(r.json, "error.code"), "picture-gone");
    reply_done(&r);
}

static void a_second_look_is_asked_for(void **state)
{
    struct fixture *f = *state;
    AUTO(snapshot) s = add_snapshot(f, 7, "porch", 7000000);
    struct snapshot *wanted = NULL;
    struct reply r;
    examine(f, s, NULL, NULL, 0, false);
    ask(f, "POST", SEVEN "/detect", &r);
    assert_int_equal(r.response.status, 202);
    assert_string_equal(text_at(r.json, "state"), "examined");
    reply_done(&r);
    assert_int_equal(f->examines, 1);
    assert_int_equal(ledger_again_next(f->ledger, 0, &wanted, 1, &f->e), 1);
    snapshot_unref(wanted);
}

static void many_at_once_are_counted_and_placed(void **state)
{
    struct fixture *f = *state;
    static const float sure[] = {0.9f};
    static const char *const person[] = {"person"};
    for (uint64_t n = 1; n <= 6; n++) {
        AUTO(snapshot)
        s = add_snapshot(f, n, n % 2 ? "porch" : "yard", (int64_t)(24 + n) * 3600000000);
        examine(f, s, person, sure, n > 4, false);
    }
    struct reply r;
    ask(f, "GET", "/api/v1/snapshots/histogram?by=hour&camera=porch&camera=yard&q=PORCH", &r);
    assert_int_equal(r.response.status, 200);
    assert_int_equal(json_array_size(at(r.json, "buckets")), 3); /* a folder is no name */
    reply_done(&r);
    ask(f, "GET", "/api/v1/snapshots/histogram?camera=porch", &r);
    assert_int_equal(json_array_size(at(r.json, "buckets")), 1);
    json_t *bucket = json_array_get(at(r.json, "buckets"), 0);
    assert_int_equal(json_integer_value(at(bucket, "count")), 3);
    assert_int_equal(json_integer_value(at(bucket, "persons")), 1);
    assert_string_equal(text_at(bucket, "from"), "1970-01-02T00:00:00.000Z");
    assert_true(json_is_true(at(r.json, "exact")));
    reply_done(&r);
    ask(f, "GET", "/api/v1/snapshots/00000000000000000000000000000004/neighbours?camera=porch", &r);
    assert_string_equal(text_at(r.json, "newer"), "00000000000000000000000000000005");
    assert_string_equal(text_at(r.json, "older"), "00000000000000000000000000000003");
    reply_done(&r);
    ask(f, "GET", "/api/v1/snapshots/00000000000000000000000000000005/neighbours?person=1", &r);
    assert_string_equal(text_at(r.json, "newer"), "00000000000000000000000000000006");
    assert_true(json_is_null(at(r.json, "older")));
    reply_done(&r);
    static const char *const wrong[] = {
        "/api/v1/snapshots/histogram?by=week",
        "/api/v1/snapshots/count?limit=5",
        "/api/v1/snapshots/count?person=1&person=0",
        "/api/v1/snapshots?order=random",
        "/api/v1/snapshots?source=stolen",
        "/api/v1/snapshots?q=a+b+c+d+e+f+g+h+i",
        "/api/v1/snapshots/count?camera=1&camera=2&camera=3&camera=4&camera=5&camera=6&camera=7"
        "&camera=8&camera=9&camera=a&camera=b&camera=c&camera=d&camera=e&camera=f&camera=g"
        "&camera=h"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        ask(f, "GET", wrong[i], &r);
        if (r.response.status != 400)
            fail_msg("%s: %d", wrong[i], r.response.status);
        assert_string_equal(text_at(r.json, "error.code"), "bad-parameter");
        reply_done(&r);
    }
}

static void follow_pages(struct fixture *f, const struct question *q, int limit,
                         const struct expected *all)
{
    char target[1024], key[40];
    (void)snprintf(target, sizeof(target), "/api/v1/snapshots?%slimit=%d", q->query, limit);
    size_t next = next_that_fits(q, all, 0);
    for (bool more = true; more;) {
        struct reply r;
        ask(f, "GET", target, &r);
        assert_int_equal(r.response.status, 200);
        size_t count = json_array_size(at(r.json, "snapshots"));
        assert_true(count <= (size_t)limit);
        for (size_t i = 0; i < count; i++) {
            (void)snprintf(key, sizeof(key), "snapshots.%zu.id", i);
            if (next >= MANY || strcmp(text_at(r.json, key), all[next].id) != 0)
                fail_msg("%s: item %zu is not the one that the walk finds", target, i);
            next = next_that_fits(q, all, next + 1);
        }
        more = json_is_string(at(r.json, "next"));
        if (more)
            text_copy(target, sizeof(target), text_at(r.json, "next"));
        assert_int_equal(more, next < MANY);
        reply_done(&r);
    }
}

static void pages_hold_what_a_walk_over_everything_finds(void **state)
{
    struct fixture *f = *state;
    seed = 4711;
    struct expected *all = xcalloc(MANY, sizeof(*all));
    for (uint64_t i = 0; i < MANY; i++)
        add_random(f, 1 + i, &all[i]);
    qsort(all, MANY, sizeof(*all), newest_first);
    static const struct question questions[] = {
        {"", -1, -1, -1, -1, 0, -1, -1},
        {"camera=yard&", 1, -1, -1, -1, 0, -1, -1},
        {"camera=none&", 99, -1, -1, -1, 0, -1, -1},
        {"label=car&", -1, 1, -1, -1, 0, -1, -1},
        {"label=zebra&", -1, 99, -1, -1, 0, -1, -1},
        {"label=car&confidence=0.5&", -1, 1, -1, -1, 0.5, -1, -1},
        {"confidence=0.75&", -1, -1, -1, -1, 0.75, -1, -1},
        {"person=1&", -1, -1, 1, -1, 0, -1, -1},
        {"person=no&state=examined&", -1, -1, 0, 1, 0, -1, -1},
        {"state=stored&", -1, -1, -1, 0, 0, -1, -1},
        {"from=2023-11-14T22:13:40Z&to=2023-11-14T22:13:50Z&", -1, -1, -1, -1, 0, 20, 30},
        {"camera=gate&label=person&from=2023-11-14T22:13:25.000Z&", 2, 0, -1, -1, 0, 5, -1},
    };
    static const int limits[] = {1, 7, 50, 500};
    for (size_t i = 0; i < ARRAY_LEN(questions); i++)
        for (size_t k = 0; k < ARRAY_LEN(limits); k++)
            follow_pages(f, &questions[i], limits[k], all);
    free(all);
}

static void paging_neither_repeats_nor_skips_while_pictures_arrive(void **state)
{
    struct fixture *f = *state;
    seed = 815;
    struct expected *before = xcalloc(MANY, sizeof(*before)), later;
    for (uint64_t i = 0; i < MANY; i++)
        add_random(f, 1 + i, &before[i]);
    qsort(before, MANY, sizeof(*before), newest_first);
    char target[512] = "/api/v1/snapshots?limit=9";
    size_t next = 0;
    uint64_t added = MANY + 1;
    int64_t last_at = INT64_MAX, last_row = INT64_MAX;
    for (bool more = true; more;) {
        struct reply r;
        ask(f, "GET", target, &r);
        for (size_t i = 0; i < json_array_size(at(r.json, "snapshots")); i++) {
            char key[40];
            (void)snprintf(key, sizeof(key), "snapshots.%zu.id", i);
            AUTO(snapshot) s = NULL;
            assert_int_equal(ledger_snapshot_get(f->ledger, text_at(r.json, key), &s, &f->e), 0);
            /* Strictly downwards: so none comes twice. */
            assert_true(s->event_at.us < last_at ||
                        (s->event_at.us == last_at && s->row < last_row));
            last_at = s->event_at.us;
            last_row = s->row;
            if (next < MANY && strcmp(before[next].id, s->id) == 0)
                next++; /* what was there is all met, in order */
        }
        more = json_is_string(at(r.json, "next"));
        if (more)
            text_copy(target, sizeof(target), text_at(r.json, "next"));
        reply_done(&r);
        for (int i = 0; i < 3 && added < MANY + 60; i++)
            add_random(f, added++, &later);
    }
    assert_int_equal(next, MANY);
    free(before);
}

/* ---- without memory ---- */

static void answers_whatever_allocation_fails(void **state)
{
    struct fixture *f = *state;
    AUTO(snapshot) s = add_snapshot(f, 5, "porch", 5000000);
    AUTO(snapshot) t = add_snapshot(f, 6, "porch", 6000000);
    examine(f, s, NULL, NULL, 0, true);
    static const char *const targets[] = {
        "/",
        "/metrics",
        "/api/v1/cameras",
        "/api/v1/snapshots?limit=1",
        "/api/v1/snapshots?limit=x",
        "/api/v1/snapshots/00000000000000000000000000000005",
        "/api/v1/snapshots/00000000000000000000000000000005/image?annotated=1",
        "/nothing"};
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        uint64_t count = 1;
        for (uint64_t n = 1; n <= count; n++) {
            struct http_request *request = xcalloc(1, sizeof(*request));
            request->peer.loopback = true;
            request->method = "GET";
            request->target = targets[i];
            assert_int_equal(http_request_parse(request, &f->e), 0);
            struct http_response response;
            http_response_init(&response);
            mem_fail_at(n);
            (void)web_answer(&f->context, request, &response);
            http_response_finish(request, &response);
            count = mem_try_count();
            mem_fail_at(0);
            assert_true(response.status >= 200 && response.status < 600);
            bool page = response.status == 200 && strstr(targets[i], "limit=1");
            if (page) { /* complete, or not a success */
                AUTO_JSON json_t *j = NULL;
                assert_int_equal(js_parse((const char *)response.body->data, response.body->size,
                                          WEB_BODY_MAX, &j, NULL),
                                 0);
                assert_true(json_is_string(at(j, "next")));
            }
            http_response_done(&response);
            free(request);
        }
        assert_true(count > 0);
    }
}

/* ---- documents ---- */

static void the_index_lists_each_route(void **state)
{
    struct fixture *f = *state;
    struct reply r;
    ask(f, "GET", "/", &r);
    AUTO_FREE char *text = xstrndup((const char *)r.response.body->data, r.response.body->size);
    for (size_t i = 0; i < web_route_count; i++) {
        assert_non_null(strstr(text, web_routes[i].pattern));
        assert_non_null(strstr(text, web_routes[i].help));
    }
    reply_done(&r);
}

static void the_document_tells_of_each_route_with_an_example(void **state)
{
    struct fixture *f = *state;
    const char *root = getenv("SOURCE_ROOT");
    if (!root)
        skip();
    AUTO_CLOSE int folder = open(root, O_DIRECTORY | O_CLOEXEC);
    AUTO(blob) file = NULL;
    if (fs_read_blob(folder, "doc/api.md", 1 << 20, &file, &f->e) < 0)
        fail_msg("%s", f->e.text);
    AUTO_FREE char *text = xstrndup((const char *)file->data, file->size);
    for (size_t i = 0; i < web_route_count; i++) {
        AUTO_FREE char *title =
            xasprintf("### `%s %s`\n", web_routes[i].method, web_routes[i].pattern);
        const char *section = strstr(text, title);
        if (!section)
            fail_msg("doc/api.md has no section %s", title);
        const char *end = strstr(section + 1, "\n### ");
        const char *example = strstr(section, "$ curl ");
        if (!example || (end && example > end))
            fail_msg("doc/api.md has no example ('$ curl ...') in section %s", title);
    }
}

static void the_description_has_each_route_and_no_other(void **state)
{
    struct fixture *f = *state;
    struct reply r;
    ask(f, "GET", "/api/openapi.json", &r);
    assert_int_equal(r.response.status, 200);
    json_t *paths = json_object_get(r.json, "paths"), *item;
    size_t described = 0;
    const char *path;
    for (size_t i = 0; i < web_route_count; i++) {
        char method[8] = "", name[128];
        (void)snprintf(name, sizeof(name), "%s", web_routes[i].pattern);
        char *several = strstr(name, "...}"); /* a path with several parts is one to OpenAPI */
        if (several)
            memcpy(several, "}", 2);
        for (size_t k = 0; web_routes[i].method[k]; k++)
            method[k] = (char)(web_routes[i].method[k] | 0x20);
        if (!json_object_get(json_object_get(paths, name), method))
            fail_msg("doc/openapi.json has no %s %s", web_routes[i].method, name);
    }
    json_object_foreach(paths, path, item)
    {
        described += json_object_size(item);
    }
    assert_int_equal(described, web_route_count);
    reply_done(&r);
}

static void metrics_are_text_for_prometheus(void **state)
{
    struct fixture *f = *state;
    static struct metric probe = {.name = "test_probe_total", .kind = METRIC_COUNTER, .help = "x"};
    metric_register(&probe);
    metric_inc(&probe, NULL);
    struct reply r;
    ask(f, "GET", "/metrics", &r);
    assert_string_equal(header_of(&r, "Content-Type"), "text/plain; version=0.0.4; charset=utf-8");
    AUTO_FREE char *text = xstrndup((const char *)r.response.body->data, r.response.body->size);
    assert_non_null(strstr(text, "# TYPE test_probe_total counter\ntest_probe_total 1\n"));
    reply_done(&r);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    static const struct CMUnitTest tests[] = {
        CASE(answers_each_path_as_it_should),
        CASE(says_what_is_allowed_instead),
        CASE(asks_nobody_who_may_not),
        CASE(names_the_wrong_parameter_and_the_right_value),
        CASE(tells_health_and_readiness_with_the_reason),
        CASE(accepts_a_trigger_durably),
        CASE(says_why_a_trigger_is_refused),
        CASE(waits_until_the_picture_is_examined),
        CASE(waits_until_the_trigger_has_failed),
        CASE(tells_what_is_known_when_the_wait_is_over),
        CASE(does_not_wait_when_the_server_cannot),
        CASE(shows_all_that_is_known_of_a_snapshot),
        CASE(a_star_is_given_taken_and_looked_for),
        CASE(a_deleted_snapshot_leaves_the_lists_and_comes_back),
        CASE(a_second_look_is_asked_for),
        CASE(many_at_once_are_counted_and_placed),
        CASE(hostile_names_stay_text),
        CASE(serves_pictures_so_that_browsers_keep_them),
        CASE(a_copy_that_is_not_drawn_yet_is_waited_for),
        CASE(pages_hold_what_a_walk_over_everything_finds),
        CASE(paging_neither_repeats_nor_skips_while_pictures_arrive),
        CASE(answers_whatever_allocation_fails),
        CASE(the_index_lists_each_route),
        CASE(the_document_tells_of_each_route_with_an_example),
        CASE(a_small_copy_that_is_not_made_yet_is_waited_for),
        CASE(a_small_copy_can_be_asked_for_in_part),
        CASE(says_why_there_is_no_small_copy),
        CASE(the_newest_picture_that_is_here_is_a_cameras_latest),
        CASE(a_camera_that_cannot_be_switched_says_why),
        CASE(the_description_has_each_route_and_no_other),
        CASE(metrics_are_text_for_prometheus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
