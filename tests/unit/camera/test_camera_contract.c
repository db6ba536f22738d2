/* Every camera kind against every misbehaviour of the simulated camera: the code, the retry class,
 * the fault and the words are the contract that the pipeline builds on. */

#include "sim_fixture.h"

#include <errno.h>

#define CANARY "c4n4ry p@ss/w&rd?#"
#define USER "adm in"

struct subject {
    const char *name;
    const char *kind;
    const char *url;     /* %s = address; NULL for kinds that take the address */
    const char *command; /* foscam */
    enum camera_auth auth;
    enum sim_auth sim_auth;
    enum sim_digest digest;
    bool reolink_token, onvif_http_login;
    int clock_ahead_s;
};

/* One line per kind and way to log in. */
static const struct subject subjects[] = {
    {"foscam, bare command", "foscam", NULL, "snapPicture2", CAMERA_AUTH_AUTO, SIM_AUTH_NONE, 0},
    {"foscam, path", "foscam", NULL, "/cgi-bin/CGIProxy.fcgi?cmd=snapPicture2", CAMERA_AUTH_AUTO,
     SIM_AUTH_NONE, 0, true},
    {"http, login in the URL", "http",
     "http://%s/cgi-bin/CGIProxy.fcgi?cmd=snapPicture2&usr={user}&pwd={password}", NULL,
     CAMERA_AUTH_AUTO, SIM_AUTH_NONE, 0},
    {"http, basic", "http", "http://%s/snapshot.jpg", NULL, CAMERA_AUTH_BASIC, SIM_AUTH_BASIC, 0},
    {"http, digest", "http", "http://%s/snapshot.jpg?rs={random}", NULL, CAMERA_AUTH_DIGEST,
     SIM_AUTH_DIGEST, SIM_DIGEST_MD5},
    {"http, auto, digest MD5-sess", "http", "http://%s/snapshot.jpg?t={time}", NULL,
     CAMERA_AUTH_AUTO, SIM_AUTH_DIGEST, SIM_DIGEST_MD5_SESS},
    {"http, auto, digest SHA-256", "http", "http://%s/snapshot.jpg", NULL, CAMERA_AUTH_AUTO,
     SIM_AUTH_BOTH, SIM_DIGEST_SHA256},
    {"http, auto, digest RFC 2069", "http", "http://%s/snapshot.jpg?c={channel}", NULL,
     CAMERA_AUTH_AUTO, SIM_AUTH_BOTH, SIM_DIGEST_RFC2069},
    {"foscam-mjpeg", "foscam-mjpeg", NULL, NULL, CAMERA_AUTH_AUTO, SIM_AUTH_NONE, 0},
    {"foscam-mjpeg, the stream", "foscam-mjpeg", NULL,
     "/videostream.cgi?user={user}&pwd={password}", CAMERA_AUTH_AUTO, SIM_AUTH_NONE, 0},
    {"hikvision, digest", "hikvision", NULL, NULL, CAMERA_AUTH_AUTO, SIM_AUTH_DIGEST,
     SIM_DIGEST_MD5},
    {"hikvision, an older path, basic", "hikvision", NULL, "/Streaming/channels/1/picture",
     CAMERA_AUTH_BASIC, SIM_AUTH_BASIC, 0},
    {"dahua, digest", "dahua", NULL, NULL, CAMERA_AUTH_AUTO, SIM_AUTH_DIGEST, SIM_DIGEST_MD5},
    {"amcrest, digest SHA-256", "amcrest", NULL, NULL, CAMERA_AUTH_DIGEST, SIM_AUTH_DIGEST,
     SIM_DIGEST_SHA256},
    {"axis, digest or basic", "axis", NULL, NULL, CAMERA_AUTH_AUTO, SIM_AUTH_BOTH, SIM_DIGEST_MD5},
    {"reolink, login in the query", "reolink", NULL, NULL, CAMERA_AUTH_AUTO, SIM_AUTH_NONE, 0},
    {"reolink, token", "reolink", NULL, NULL, CAMERA_AUTH_AUTO, SIM_AUTH_NONE, 0,
     .reolink_token = true},
    {"onvif, WS-Security and digest", "onvif", NULL, NULL, CAMERA_AUTH_AUTO, SIM_AUTH_DIGEST,
     SIM_DIGEST_MD5},
    {"onvif, a clock that is a year ahead", "onvif", NULL, NULL, CAMERA_AUTH_BASIC, SIM_AUTH_BASIC,
     0, .clock_ahead_s = 365 * 86400},
    {"onvif, a clock in 1970", "onvif", NULL, NULL, CAMERA_AUTH_AUTO, SIM_AUTH_DIGEST,
     SIM_DIGEST_RFC2069, .clock_ahead_s = -1790000000},
    {"onvif, HTTP digest for the services", "onvif", NULL, NULL, CAMERA_AUTH_AUTO, SIM_AUTH_DIGEST,
     SIM_DIGEST_MD5, .onvif_http_login = true},
    {"mjpeg, digest", "mjpeg", "http://%s/video.mjpg", NULL, CAMERA_AUTH_AUTO, SIM_AUTH_DIGEST,
     SIM_DIGEST_MD5},
    {"mjpeg, of an axis", "mjpeg", "http://%s/axis-cgi/mjpg/video.cgi", NULL, CAMERA_AUTH_BASIC,
     SIM_AUTH_BASIC, 0},
};

struct fault_case {
    const char *fault;
    int code;
    enum err_retry retry;
    enum camera_fault kind;
    const char *words; /* in the error's text */
    long retry_after_s;
    bool http09;      /* the camera is configured so */
    int64_t size_max; /* instead of the usual */
    int64_t stall_ms, total_ms;
};

#define GOOD 0, ERR_NEVER, CAMERA_FAULT_NONE, NULL, -1
static const struct fault_case fault_cases[] = {
    {"none", GOOD},
    {"chunked", GOOD},
    {"no-length", GOOD},
    {"longer-body", GOOD},
    {"two-lengths", GOOD},
    {"bare-lf", GOOD},
    {"type:text/plain", GOOD},
    {"type:application/octet-stream", GOOD},
    {"no-type", GOOD},
    {"delay:30", GOOD},
    {"raw", GOOD, .http09 = true},
    {"icy", GOOD, .http09 = true},

    {"short-body", -ECONNRESET, ERR_NOW, CAMERA_FAULT_OTHER, "cut off after", -1},
    {"chunked-cut", -ECONNRESET, ERR_NOW, CAMERA_FAULT_OTHER, "cut off after", -1},
    {"close", -ECONNRESET, ERR_NOW, CAMERA_FAULT_OTHER, "closed without an answer", -1},
    {"reset", -ECONNRESET, ERR_NOW, CAMERA_FAULT_OTHER, "reset after", -1},
    {"reset-early", -ECONNRESET, ERR_NOW, CAMERA_FAULT_OTHER, "reset after 0 bytes", -1},
    {"no-length-cut", -EBADMSG, ERR_NOW, CAMERA_FAULT_NOT_PICTURE, "is damaged", -1},
    {"truncated", -EBADMSG, ERR_NOW, CAMERA_FAULT_NOT_PICTURE, "ended inside its header", -1},
    {"empty", -EINVAL, ERR_NOW, CAMERA_FAULT_NOT_PICTURE, "empty body", -1},

    {"raw", -EPROTO, ERR_NEVER, CAMERA_FAULT_OTHER, "set http09 = true", -1},
    {"icy", -EPROTO, ERR_NEVER, CAMERA_FAULT_OTHER, "no HTTP header", -1},
    {"bad-header", -EPROTO, ERR_NEVER, CAMERA_FAULT_OTHER, "not valid HTTP", -1},
    {"header-flood", -EPROTO, ERR_NEVER, CAMERA_FAULT_OTHER, "header is longer than", -1},
    {"negative-length", -EPROTO, ERR_NEVER, CAMERA_FAULT_OTHER, "not valid HTTP", -1},

    {"html", -EINVAL, ERR_NEVER, CAMERA_FAULT_NOT_PICTURE, "IPCam Client", -1},
    {"xml:0", -EINVAL, ERR_NEVER, CAMERA_FAULT_NOT_PICTURE, "no picture (Foscam result 0)", -1},
    {"xml:-1", -EREMOTEIO, ERR_NEVER, CAMERA_FAULT_OTHER, "does not understand", -1},
    {"xml:-2", -EACCES, ERR_NEVER, CAMERA_FAULT_CREDENTIALS, "Foscam result -2", -1},
    {"xml:-3", -EACCES, ERR_NEVER, CAMERA_FAULT_CREDENTIALS, "may not take pictures", -1},
    {"xml:-4", -EREMOTEIO, ERR_NOW, CAMERA_FAULT_OTHER, "could not take", -1},
    {"xml:-5", -EBUSY, ERR_LATER, CAMERA_FAULT_BUSY, "time-out", -1},
    {"json:-6", -EACCES, ERR_NEVER, CAMERA_FAULT_CREDENTIALS, "login first", -1},
    {"json:-7", -EACCES, ERR_NEVER, CAMERA_FAULT_CREDENTIALS, "Reolink rspCode -7", -1},
    {"json:-99", -EINVAL, ERR_NEVER, CAMERA_FAULT_NOT_PICTURE, "Reolink rspCode -99", -1},
    {"hikvision:2", -EBUSY, ERR_LATER, CAMERA_FAULT_BUSY, "Hikvision statusCode 2", -1},
    {"hikvision-word:notActivated", -EREMOTEIO, ERR_NEVER, CAMERA_FAULT_OTHER, "not activated", -1},
    {"hikvision-word:lowPrivilege", -EACCES, ERR_NEVER, CAMERA_FAULT_CREDENTIALS, "right to view",
     -1},
    {"hikvision-word:deviceBusy", -EBUSY, ERR_LATER, CAMERA_FAULT_BUSY, "deviceBusy", -1},
    {"hikvision-locked", -EACCES, ERR_NEVER, CAMERA_FAULT_CREDENTIALS, "account is locked", -1},
    {"dahua", -EACCES, ERR_NEVER, CAMERA_FAULT_CREDENTIALS, "Invalid Authority", -1},
    {"json:-5", -EBUSY, ERR_LATER, CAMERA_FAULT_BUSY, "too many sessions", -1},
    {"hikvision:4", -EREMOTEIO, ERR_NEVER, CAMERA_FAULT_OTHER, "does not allow", -1},

    {"401", -EACCES, ERR_NEVER, CAMERA_FAULT_CREDENTIALS, "HTTP 401", -1},
    {"403", -EACCES, ERR_NEVER, CAMERA_FAULT_CREDENTIALS, "HTTP 403", -1},
    {"404", -ENOENT, ERR_NEVER, CAMERA_FAULT_OTHER, "HTTP 404", -1},
    {"400", -EREMOTEIO, ERR_NEVER, CAMERA_FAULT_OTHER, "HTTP 400", -1},
    {"500", -EREMOTEIO, ERR_LATER, CAMERA_FAULT_OTHER, "HTTP 500", -1},
    {"501", -EREMOTEIO, ERR_NEVER, CAMERA_FAULT_OTHER, "HTTP 501", -1},
    {"503:7", -EBUSY, ERR_LATER, CAMERA_FAULT_BUSY, "come back in 7 s", 7},
    {"429", -EBUSY, ERR_LATER, CAMERA_FAULT_BUSY, "busy", -1},

    {"endless", -EFBIG, ERR_NEVER, CAMERA_FAULT_OTHER, "longer than the 1000000 bytes", -1,
     .size_max = 1000000},
    {"huge", -EFBIG, ERR_NEVER, CAMERA_FAULT_OTHER, "longer than", -1},
    {"none", -EFBIG, ERR_NEVER, CAMERA_FAULT_OTHER, "longer than the 100000 bytes", -1,
     .size_max = 100000},
    {"hang", -ETIMEDOUT, ERR_LATER, CAMERA_FAULT_OTHER, "no answer for 500 ms", -1,
     .stall_ms = 500},
    {"hang-body", -ETIMEDOUT, ERR_LATER, CAMERA_FAULT_OTHER, "fell silent for 500 ms after", -1,
     .stall_ms = 500},
    {"drip", -ETIMEDOUT, ERR_LATER, CAMERA_FAULT_OTHER, "not finished within ", -1,
     .total_ms = 400},

    {"redirect-file", -EPERM, ERR_NEVER, CAMERA_FAULT_OTHER, "redirects to a file: address", -1},
    {"redirect-loop", -ELOOP, ERR_NEVER, CAMERA_FAULT_OTHER, "more than 3 redirects", -1},
    {"redirect:http://127.0.0.1:1/x.jpg", -ECONNREFUSED, ERR_LATER, CAMERA_FAULT_OTHER,
     "Connection refused", -1},
    {"redirect:gopher://127.0.0.1:1/", -EPERM, ERR_NEVER, CAMERA_FAULT_OTHER,
     "redirects to a gopher: address", -1},
};

static struct camera_sim_options sim_options(const struct subject *s)
{
    return (struct camera_sim_options){
        .user = USER,
        .password = CANARY,
        .auth = s->sim_auth,
        .digest = s->digest,
        .reolink_token = s->reolink_token,
        .onvif_http_login = s->onvif_http_login,
        .clock_ahead_s = s->clock_ahead_s,
    };
}

static struct camera subject_camera(const struct subject *s, const char *address, char **ret_url)
{
    struct camera cam = test_camera("porch", s->kind);
    cam.user = USER;
    cam.password = CANARY;
    cam.credentials_digest = 1;
    cam.auth = s->auth;
    cam.address = address;
    if (s->command)
        cam.command = s->command;
    *ret_url = NULL;
    if (s->url) {
        const char *at = strstr(s->url, "%s");
        *ret_url = xasprintf("%.*s%s%s", (int)(at - s->url), s->url, address, at + 2);
        cam.url = *ret_url;
    }
    return cam;
}

static void assert_no_secret(const struct outcome *o)
{
    static const char *const leaks[] = {"c4n4ry", "p%40ss", "pwd=", "usr=", "rs="};
    for (size_t i = 0; i < ARRAY_LEN(leaks); i++)
        if (strstr(o->error.text, leaks[i]))
            fail_msg("'%s' in: %s", leaks[i], o->error.text);
}

static void check_case(const struct subject *s, const struct fault_case *t, const struct outcome *o)
{
    if (o->code != t->code || (t->code && (o->error.retry != t->retry || o->fault != t->kind)) ||
        (t->words && !strstr(o->error.text, t->words)) ||
        (t->code && o->retry_after_s != t->retry_after_s))
        fail_msg("%s, fault %s: got %d, %s, %s, retry after %ld: %s", s->name, t->fault, o->code,
                 err_retry_name(o->error.retry), camera_fault_names[o->fault], o->retry_after_s,
                 o->error.text);
    if (t->code == 0)
        assert_true(o->bytes_right);
    assert_no_secret(o);
}

static void every_fault_has_its_code_retry_class_and_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(subjects); i++) {
        const struct subject *s = &subjects[i];
        struct sim_fixture sim;
        struct camera_sim_options o = sim_options(s);
        sim_start(&sim, &o, 1);
        AUTO_FREE char *url = NULL;
        struct camera cam = subject_camera(s, camera_sim_address(sim.sim, 0), &url);
        AUTO(fetcher) f = NULL;
        struct err e = {0};
        assert_int_equal(fetcher_new(keep_outcome, NULL, &f, &e), 0);
        for (size_t k = 0; k < ARRAY_LEN(fault_cases); k++) {
            const struct fault_case *t = &fault_cases[k];
            struct camera c = cam;
            c.http09 = t->http09;
            if (t->size_max)
                c.size_max = t->size_max;
            if (t->stall_ms)
                c.stall_timeout_ms = t->stall_ms;
            if (t->total_ms)
                c.total_timeout_ms = t->total_ms;
            sim_fault(&sim, 0, t->fault);
            struct outcome got = fetch_once(f, &c, true);
            check_case(s, t, &got);
        }
        /* After all of it the camera still works, with what was kept of it. */
        sim_fault(&sim, 0, "");
        struct outcome got = fetch_once(f, &cam, true);
        check_case(s, &fault_cases[0], &got);
        sim_stop(&sim);
    }
}

static void a_wrong_password_is_rejected_and_not_sent_again(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(subjects); i++) {
        const struct subject *s = &subjects[i];
        struct sim_fixture sim;
        struct camera_sim_options o = sim_options(s);
        sim_start(&sim, &o, 1);
        AUTO_FREE char *url = NULL;
        struct camera cam = subject_camera(s, camera_sim_address(sim.sim, 0), &url);
        cam.password = CANARY "x";
        AUTO(fetcher) f = NULL;
        struct err e = {0};
        assert_int_equal(fetcher_new(keep_outcome, NULL, &f, &e), 0);

        struct outcome got = fetch_once(f, &cam, false);
        assert_int_equal(got.code, -EACCES);
        assert_int_equal(got.fault, CAMERA_FAULT_CREDENTIALS);
        assert_int_equal(got.error.retry, ERR_NEVER);
        assert_no_secret(&got);
        long refused = sim_stat(&sim, 0, "logins_refused");
        if (refused != 1)
            fail_msg("%s: a wrong password was sent %ld times", s->name, refused);
        long requests = sim_stat(&sim, 0, "requests");

        /* Nobody sends it again ... */
        for (int k = 0; k < 3; k++) {
            struct err why = {0};
            assert_int_equal(fetcher_start(f, &cam, false, NULL, &why), -EACCES);
            assert_int_equal(why.retry, ERR_NEVER);
            assert_non_null(strstr(why.text, "not sent again"));
        }
        struct camera_status st;
        fetcher_status(f, "porch", &st);
        assert_int_equal(st.state, CAMERA_STATE_LOCKED);
        assert_int_equal(sim_stat(&sim, 0, "requests"), requests);

        /* ... but for a person, once ... */
        got = fetch_once(f, &cam, true);
        assert_int_equal(got.code, -EACCES);
        assert_int_equal(sim_stat(&sim, 0, "logins_refused"), 2);
        assert_int_equal(fetcher_start(f, &cam, false, NULL, &e), -EACCES);

        /* ... or when the configuration has another. */
        cam.password = CANARY;
        cam.credentials_digest = 2;
        got = fetch_once(f, &cam, false);
        if (got.code)
            fail_msg("%s: %s", s->name, got.error.text);
        assert_int_equal(sim_stat(&sim, 0, "logins_refused"), 2);
        fetcher_status(f, "porch", &st);
        assert_int_equal(st.state, CAMERA_STATE_OK);
        sim_stop(&sim);
    }
}

static void without_a_login_the_text_says_what_is_wanted(void **state)
{
    (void)state;
    static const enum sim_auth auths[] = {SIM_AUTH_BASIC, SIM_AUTH_DIGEST, SIM_AUTH_BOTH};
    for (size_t i = 0; i < ARRAY_LEN(auths); i++) {
        struct sim_fixture sim;
        struct camera_sim_options o = {.user = USER, .password = CANARY, .auth = auths[i]};
        sim_start(&sim, &o, 1);
        AUTO_FREE char *url = xasprintf("http://%s/snapshot.jpg", camera_sim_address(sim.sim, 0));
        struct camera cam = test_camera("porch", "http");
        cam.url = url;
        AUTO(fetcher) f = NULL;
        struct err e = {0};
        assert_int_equal(fetcher_new(keep_outcome, NULL, &f, &e), 0);
        struct outcome got = fetch_once(f, &cam, false);
        assert_int_equal(got.code, -EACCES);
        assert_int_equal(got.fault, CAMERA_FAULT_CREDENTIALS);
        assert_non_null(strstr(got.error.text, "set user and password"));
        assert_int_equal(sim_stat(&sim, 0, "logins_refused"), 0);
        sim_stop(&sim);
    }
}

static void basic_over_plain_http_wants_to_be_asked_for(void **state)
{
    (void)state;
    struct sim_fixture sim;
    struct camera_sim_options o = {.user = USER, .password = CANARY, .auth = SIM_AUTH_BASIC};
    sim_start(&sim, &o, 1);
    AUTO_FREE char *url = xasprintf("http://%s/snapshot.jpg", camera_sim_address(sim.sim, 0));
    struct camera cam = test_camera("porch", "http");
    cam.url = url;
    cam.user = USER;
    cam.password = CANARY;
    AUTO(fetcher) f = NULL;
    struct err e = {0};
    assert_int_equal(fetcher_new(keep_outcome, NULL, &f, &e), 0);
    struct outcome got = fetch_once(f, &cam, false);
    assert_int_equal(got.code, -EACCES);
    assert_non_null(strstr(got.error.text, "auth = basic"));
    assert_int_equal(sim_stat(&sim, 0, "logins_seen"), 0);
    sim_stop(&sim);
}

static void a_redirect_to_another_address_takes_neither_login_nor_headers(void **state)
{
    (void)state;
    struct sim_fixture sim;
    struct camera_sim_options o = {.user = USER, .password = CANARY, .auth = SIM_AUTH_BASIC};
    sim_start(&sim, &o, 2);
    AUTO_FREE char *url = xasprintf("http://%s/snapshot.jpg", camera_sim_address(sim.sim, 0));
    AUTO_FREE char *fault =
        xasprintf("redirect:http://%s/snapshot.jpg", camera_sim_address(sim.sim, 1));
    sim_fault(&sim, 0, fault);
    struct camera cam = test_camera("porch", "http");
    static const char *const headers[] = {"Authorization: Basic YWRtIGluOmM0bjRyeQ==", NULL};
    AUTO(fetcher) f = NULL;
    struct err e = {0};
    assert_int_equal(fetcher_new(keep_outcome, NULL, &f, &e), 0);
    cam.url = url;
    cam.user = USER;
    cam.password = CANARY;
    cam.auth = CAMERA_AUTH_BASIC;
    struct outcome got = fetch_once(f, &cam, false);
    assert_int_equal(got.code, -EACCES);
    assert_non_null(strstr(got.error.text, "redirects to another address"));
    assert_int_equal(sim_stat(&sim, 0, "logins_seen"), 1);
    assert_int_equal(sim_stat(&sim, 1, "requests"), 1);
    assert_int_equal(sim_stat(&sim, 1, "logins_seen"), 0);

    cam.name = "other";
    cam.user = "";
    cam.headers = headers;
    (void)fetch_once(f, &cam, false); /* refused as well: only what was sent counts here */
    assert_int_equal(sim_stat(&sim, 0, "logins_seen"), 2);
    assert_int_equal(sim_stat(&sim, 1, "logins_seen"), 0);
    sim_stop(&sim);
}

static void a_digest_camera_is_asked_once_per_picture_after_the_first(void **state)
{
    (void)state;
    struct sim_fixture sim;
    struct camera_sim_options o = {.user = USER, .password = CANARY, .auth = SIM_AUTH_DIGEST};
    sim_start(&sim, &o, 1);
    AUTO_FREE char *url = xasprintf("http://%s/snapshot.jpg", camera_sim_address(sim.sim, 0));
    struct camera cam = test_camera("porch", "http");
    cam.url = url;
    cam.user = USER;
    cam.password = CANARY;
    AUTO(fetcher) f = NULL;
    struct err e = {0};
    assert_int_equal(fetcher_new(keep_outcome, NULL, &f, &e), 0);
    for (int i = 0; i < 10; i++)
        assert_int_equal(fetch_once(f, &cam, false).code, 0);
    assert_int_equal(sim_stat(&sim, 0, "requests"), 11); /* and the first challenge */

    /* A camera that was restarted has forgotten its challenges and does not call them stale. */
    AUTO_DONE(dynbuf) body;
    sim_get(&sim, 0, "/sim/restart", &body);
    for (int i = 0; i < 5; i++)
        assert_int_equal(fetch_once(f, &cam, false).code, 0);
    assert_int_equal(sim_stat(&sim, 0, "pictures"), 15);
    assert_int_equal(sim_stat(&sim, 0, "logins_refused"), 0);
    sim_stop(&sim);
}

static void stale_challenges_are_renewed_without_a_failure(void **state)
{
    (void)state;
    struct sim_fixture sim;
    struct camera_sim_options o = {
        .user = USER, .password = CANARY, .auth = SIM_AUTH_DIGEST, .nonce_uses = 3};
    sim_start(&sim, &o, 1);
    AUTO_FREE char *url = xasprintf("http://%s/snapshot.jpg", camera_sim_address(sim.sim, 0));
    struct camera cam = test_camera("porch", "http");
    cam.url = url;
    cam.user = USER;
    cam.password = CANARY;
    AUTO(fetcher) f = NULL;
    struct err e = {0};
    assert_int_equal(fetcher_new(keep_outcome, NULL, &f, &e), 0);
    for (int i = 0; i < 20; i++)
        assert_int_equal(fetch_once(f, &cam, false).code, 0);
    assert_int_equal(sim_stat(&sim, 0, "logins_refused"), 0);
    sim_stop(&sim);
}

/* A camera of `kind` at the i-th simulated one, with the right login. */
static struct camera known_camera(struct sim_fixture *sim, const char *kind)
{
    struct camera cam = test_camera("porch", kind);
    cam.address = camera_sim_address(sim->sim, 0);
    cam.user = USER;
    cam.password = CANARY;
    cam.credentials_digest = 1;
    return cam;
}

static void every_form_of_a_stream_gives_its_frame(void **state)
{
    (void)state;
    static const char *const forms[] = {
        "good",     "no-length", "short-length", "long-length", "dashes", "quoted", "no-boundary",
        "no-first", "bare-lf",   "text",         "one",         "cut",    "end"};
    struct sim_fixture sim;
    struct camera_sim_options o = {0};
    sim_start(&sim, &o, 1);
    AUTO_FREE char *url = xasprintf("http://%s/video.mjpg", camera_sim_address(sim.sim, 0));
    struct camera cam = test_camera("porch", "mjpeg");
    cam.url = url;
    AUTO(fetcher) f = NULL;
    struct err e = {0};
    assert_int_equal(fetcher_new(keep_outcome, NULL, &f, &e), 0);
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        AUTO_FREE char *fault = xasprintf("stream:%s", forms[i]);
        sim_fault(&sim, 0, fault);
        struct camera c = cam;
        /* One frame and then silence: it is taken when nothing more comes. */
        if (!strcmp(forms[i], "one"))
            c.stall_timeout_ms = 200;
        struct outcome got = fetch_once(f, &c, false);
        if (got.code || !got.bytes_right)
            fail_msg("%s: %d, %zu bytes: %s", forms[i], got.code, got.size, got.error.text);
    }
    sim_stop(&sim);
}

static void a_foscam_without_pictures_is_asked_for_its_stream(void **state)
{
    (void)state;
    struct sim_fixture sim;
    struct camera_sim_options o = {.user = USER, .password = CANARY};
    sim_start(&sim, &o, 1);
    struct camera cam = known_camera(&sim, "foscam-mjpeg");
    AUTO(fetcher) f = NULL;
    struct err e = {0};
    assert_int_equal(fetcher_new(keep_outcome, NULL, &f, &e), 0);
    sim_fault(&sim, 0, "404@2");
    assert_int_equal(fetch_once(f, &cam, false).code, 0);
    assert_int_equal(sim_stat(&sim, 0, "requests"), 1);
    struct outcome got = fetch_once(f, &cam, false); /* nothing there, but a stream */
    assert_int_equal(got.code, 0);
    assert_true(got.bytes_right);
    assert_int_equal(sim_stat(&sim, 0, "requests"), 3);
    sim_fault(&sim, 0, "");
    assert_int_equal(fetch_once(f, &cam, false).code, 0);
    assert_int_equal(sim_stat(&sim, 0, "requests"), 4); /* which is remembered */
    sim_stop(&sim);
}

static void a_reolinks_token_is_kept_until_the_camera_forgets_it(void **state)
{
    (void)state;
    struct sim_fixture sim;
    struct camera_sim_options o = {.user = USER, .password = CANARY, .reolink_token = true};
    sim_start(&sim, &o, 1);
    struct camera cam = known_camera(&sim, "reolink");
    AUTO(fetcher) f = NULL;
    struct err e = {0};
    assert_int_equal(fetcher_new(keep_outcome, NULL, &f, &e), 0);
    for (int i = 0; i < 5; i++)
        assert_int_equal(fetch_once(f, &cam, false).code, 0);
    assert_int_equal(sim_stat(&sim, 0, "requests"), 3 + 4); /* query, login, and then pictures */
    AUTO_DONE(dynbuf) body;
    sim_get(&sim, 0, "/sim/restart", &body);
    assert_int_equal(fetch_once(f, &cam, false).code, 0);
    assert_int_equal(sim_stat(&sim, 0, "requests"), 7 + 3);
    assert_int_equal(sim_stat(&sim, 0, "logins_refused"), 0);
    sim_stop(&sim);
}

static void an_onvif_camera_is_asked_once_where_its_picture_is(void **state)
{
    (void)state;
    struct sim_fixture sim;
    struct camera_sim_options o = {.user = USER, .password = CANARY, .auth = SIM_AUTH_DIGEST};
    sim_start(&sim, &o, 1);
    struct camera cam = known_camera(&sim, "onvif");
    AUTO(fetcher) f = NULL;
    struct err e = {0};
    assert_int_equal(fetcher_new(keep_outcome, NULL, &f, &e), 0);
    for (int i = 0; i < 5; i++)
        assert_int_equal(fetch_once(f, &cam, false).code, 0);
    assert_int_equal(sim_stat(&sim, 0, "requests"), 4 + 1 + 5); /* with one digest challenge */
    /* One that moved its picture is asked again. */
    sim_fault(&sim, 0, "404@2");
    assert_int_equal(fetch_once(f, &cam, false).code, 0);
    assert_int_equal(fetch_once(f, &cam, false).code, 0);
    assert_int_equal(sim_stat(&sim, 0, "requests"), 10 + 1 + 6);
    /* One that has none any more is asked again once, and told so. */
    sim_fault(&sim, 0, "404");
    assert_int_equal(fetch_once(f, &cam, false).code, -ENOENT);
    assert_int_equal(sim_stat(&sim, 0, "requests"), 17 + 6);
    assert_int_equal(sim_stat(&sim, 0, "logins_refused"), 0);
    sim_stop(&sim);
}

static void an_onvif_profile_is_chosen_by_number_or_token(void **state)
{
    (void)state;
    struct sim_fixture sim;
    struct camera_sim_options o = {0};
    sim_start(&sim, &o, 1);
    static const struct {
        const char *channel;
        int code;
    } cases[] = {{"", 0},        {"1", 0},         {"2", 0}, {"sub", 0}, {"main & only", 0},
                 {"3", -EINVAL}, {"main", -EINVAL}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct camera cam = known_camera(&sim, "onvif");
        cam.channel = cases[i].channel;
        cam.user = "";
        cam.password = "";
        AUTO(fetcher) f = NULL;
        struct err e = {0};
        assert_int_equal(fetcher_new(keep_outcome, NULL, &f, &e), 0);
        struct outcome got = fetch_once(f, &cam, false);
        if (got.code != cases[i].code ||
            (got.code && !strstr(got.error.text, "has 2 ONVIF profiles")))
            fail_msg("channel '%s': %d: %s", cases[i].channel, got.code, got.error.text);
    }
    /* Another channel is another place. */
    AUTO(fetcher) f = NULL;
    struct err e = {0};
    assert_int_equal(fetcher_new(keep_outcome, NULL, &f, &e), 0);
    struct camera cam = known_camera(&sim, "onvif");
    cam.user = "";
    cam.password = "";
    cam.channel = "1";
    assert_int_equal(fetch_once(f, &cam, false).code, 0);
    long requests = sim_stat(&sim, 0, "requests");
    cam.channel = "2";
    assert_int_equal(fetch_once(f, &cam, false).code, 0);
    assert_int_equal(sim_stat(&sim, 0, "requests"), requests + 5);
    sim_stop(&sim);
}

static void onvif_faults_are_told_in_words(void **state)
{
    (void)state;
    static const struct {
        const char *fault, *user;
        int code;
        enum err_retry retry;
        enum camera_fault kind;
        const char *words;
    } cases[] = {
        {"soap:NotAuthorized", USER, -EACCES, ERR_NEVER, CAMERA_FAULT_CREDENTIALS, "rejects user"},
        {"soap:NotAuthorized", "", -EACCES, ERR_NEVER, CAMERA_FAULT_CREDENTIALS,
         "set user and password"},
        {"soap:ActionNotSupported", USER, -EREMOTEIO, ERR_NEVER, CAMERA_FAULT_OTHER,
         "hands out no pictures by ONVIF"},
        {"soap:OutOfHTML", USER, -EREMOTEIO, ERR_NEVER, CAMERA_FAULT_OTHER,
         "as the simulator was told"},
    };
    struct sim_fixture sim;
    struct camera_sim_options o = {.user = USER, .password = CANARY, .auth = SIM_AUTH_DIGEST};
    sim_start(&sim, &o, 1);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct camera cam = known_camera(&sim, "onvif");
        cam.user = cases[i].user;
        sim_fault(&sim, 0, cases[i].fault);
        AUTO(fetcher) f = NULL;
        struct err e = {0};
        assert_int_equal(fetcher_new(keep_outcome, NULL, &f, &e), 0);
        struct outcome got = fetch_once(f, &cam, false);
        if (got.code != cases[i].code || got.error.retry != cases[i].retry ||
            got.fault != cases[i].kind || !strstr(got.error.text, cases[i].words))
            fail_msg("%s: %d: %s", cases[i].fault, got.code, got.error.text);
        assert_no_secret(&got);
    }
    sim_stop(&sim);
}

static void the_time_limit_is_one_for_all_requests_of_a_picture(void **state)
{
    (void)state;
    struct sim_fixture sim;
    struct camera_sim_options o = {.delay_ms = 80};
    sim_start(&sim, &o, 1);
    struct camera cam = known_camera(&sim, "onvif");
    cam.total_timeout_ms = 250;
    AUTO(fetcher) f = NULL;
    struct err e = {0};
    assert_int_equal(fetcher_new(keep_outcome, NULL, &f, &e), 0);
    struct outcome got = fetch_once(f, &cam, false);
    assert_int_equal(got.code, -ETIMEDOUT);
    assert_true(got.elapsed_ms < 2000);
    sim_stop(&sim);
}

static void stale_pictures_are_told(void **state)
{
    (void)state;
    struct sim_fixture sim;
    struct camera_sim_options o = {0};
    sim_start(&sim, &o, 1);
    struct camera cam = known_camera(&sim, "hikvision");
    cam.check_fresh = true;
    AUTO(fetcher) f = NULL;
    struct err e = {0};
    assert_int_equal(fetcher_new(keep_outcome, NULL, &f, &e), 0);
    assert_int_equal(fetch_once(f, &cam, false).freshness, CAMERA_FRESH);
    assert_int_equal(fetch_once(f, &cam, false).freshness, CAMERA_STALE_UNCHANGED);
    cam.check_fresh = false;
    assert_int_equal(fetch_once(f, &cam, false).freshness, CAMERA_FRESH);
    cam.check_fresh = true;
    cam.name = "other";
    sim_fault(&sim, 0, "old:600");
    assert_int_equal(fetch_once(f, &cam, false).freshness, CAMERA_STALE_OLD);
    cam.name = "third";
    sim_fault(&sim, 0, "old:5");
    assert_int_equal(fetch_once(f, &cam, false).freshness, CAMERA_FRESH);
    sim_stop(&sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_fault_has_its_code_retry_class_and_words),
        cmocka_unit_test(a_wrong_password_is_rejected_and_not_sent_again),
        cmocka_unit_test(without_a_login_the_text_says_what_is_wanted),
        cmocka_unit_test(basic_over_plain_http_wants_to_be_asked_for),
        cmocka_unit_test(a_redirect_to_another_address_takes_neither_login_nor_headers),
        cmocka_unit_test(a_digest_camera_is_asked_once_per_picture_after_the_first),
        cmocka_unit_test(stale_challenges_are_renewed_without_a_failure),
        cmocka_unit_test(every_form_of_a_stream_gives_its_frame),
        cmocka_unit_test(a_foscam_without_pictures_is_asked_for_its_stream),
        cmocka_unit_test(a_reolinks_token_is_kept_until_the_camera_forgets_it),
        cmocka_unit_test(an_onvif_camera_is_asked_once_where_its_picture_is),
        cmocka_unit_test(an_onvif_profile_is_chosen_by_number_or_token),
        cmocka_unit_test(onvif_faults_are_told_in_words),
        cmocka_unit_test(the_time_limit_is_one_for_all_requests_of_a_picture),
        cmocka_unit_test(stale_pictures_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
