#include "oauth_stub.h"

#include <errno.h>

#include "storage/google_flow.h"
#include "sys/httpc.h"

#define DEVICE                                                                                     \
    "{\"device_code\":\"canary-device\",\"user_code\":\"WXYZ-ABCD\",\"verification_url\":"         \
    "\"https://www.google.com/device\",\"expires_in\":60,\"interval\":5}"
#define GRANT                                                                                      \
    "{\"access_token\":\"a\",\"expires_in\":3600,\"refresh_token\":\"1//r\",\"scope\":\"s\"}"
#define PENDING "{\"error\":\"authorization_pending\"}"

static const char device_client[] =
    "{\"installed\":{\"client_id\":\"cid\",\"client_secret\":\"canary-secret\"}}";
static const char desktop_client[] =
    "{\"installed\":{\"client_id\":\"cid\",\"client_secret\":\"canary-secret\",\"redirect_uris\":"
    "[\"http://localhost\"]}}";

static struct stub stub;

/* What the person is told, and how long the program waited. */
static struct {
    char url[4096], code[64], notes[1024];
    int port, waits;
    int64_t wait_ms[32];
    _Atomic int64_t waited_ms; /* the server's thread looks at the clock, too */
    int browser_fd;            /* gets the browser's address */
} told;

static struct mono_time test_mono(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (struct mono_time){(int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000 +
                              told.waited_ms * 1000};
}

static int setup(void **state)
{
    (void)state;
    memset(&told, 0, sizeof(told));
    clock_set_mono_source(test_mono);
    stub_start(&stub);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    stub_stop(&stub);
    clock_set_mono_source(NULL);
    return 0;
}

static void tell_device_code(void *arg, const char *url, const char *code, int64_t expires_s)
{
    (void)arg, (void)expires_s;
    (void)snprintf(told.url, sizeof(told.url), "%s", url);
    (void)snprintf(told.code, sizeof(told.code), "%s", code);
}

static void tell_note(void *arg, const char *words)
{
    (void)arg;
    (void)strncat(told.notes, words, sizeof(told.notes) - strlen(told.notes) - 1);
}

static int wait_virtually(void *arg, int64_t ms)
{
    (void)arg;
    told.wait_ms[told.waits++ % 32] = ms;
    told.waited_ms += ms;
    return 0;
}

static void tell_browser(void *arg, const char *url, int port);

static int run(const char *client_text, enum google_way way, int paste_fd,
               struct google_grant *grant, struct err *e)
{
    static const struct google_flow_talk talk = {tell_device_code, tell_browser, tell_note, NULL};
    struct google_client *client = NULL;
    assert_int_equal(google_client_parse(client_text, strlen(client_text), &client, e), 0);
    struct google_flow_options o = {
        .client = client,
        .scope = "scope-a",
        .auth_url = "https://accounts.example/auth",
        .token_url = stub.url,
        .device_url = stub.url,
        .stop_fd = -1,
        .paste_fd = paste_fd,
        .talk = &talk,
        .wait = wait_virtually,
    };
    int r = google_flow_run(&o, way, grant, e);
    google_client_free(client);
    return r;
}

/* ---- the device flow ---- */

static void a_device_waits_as_long_as_it_is_told_to(void **state)
{
    struct google_grant g = {0};
    struct err e = {0};
    (void)state;
    stub_will(&stub, 200, DEVICE, NULL);
    stub_will(&stub, 428, PENDING, NULL);
    stub_will(&stub, 403, "{\"error\":\"slow_down\"}", NULL);
    stub_will(&stub, 400, PENDING, NULL);
    stub_will(&stub, 200, GRANT, NULL);
    if (run(device_client, GOOGLE_WAY_DEVICE, -1, &g, &e) < 0)
        CASE_FAILS("%s", e.text);
    assert_string_equal(g.refresh_token, "1//r");
    google_grant_done(&g);
    assert_string_equal(told.url, "https://www.google.com/device");
    assert_string_equal(told.code, "WXYZ-ABCD");
    static const int64_t waits[] = {5000, 5000, 10000, 10000};
    assert_int_equal(told.waits, ARRAY_LEN(waits));
    for (size_t i = 0; i < ARRAY_LEN(waits); i++)
        assert_int_equal(told.wait_ms[i], waits[i]);
    assert_string_equal(stub.bodies[0], "client_id=cid&scope=scope-a");
    assert_string_equal(stub.bodies[1],
                        "client_id=cid&client_secret=canary-secret&device_code=canary-device&"
                        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code");
}

static void a_device_outlives_trouble_and_asks_less_often(void **state)
{
    struct google_grant g = {0};
    struct err e = {0};
    (void)state;
    stub_will(&stub, 200, DEVICE, NULL);
    stub_will(&stub, 503, "<html>", NULL);
    stub_will(&stub, 200, GRANT, NULL);
    assert_int_equal(run(device_client, GOOGLE_WAY_DEVICE, -1, &g, &e), 0);
    google_grant_done(&g);
    assert_int_equal(told.wait_ms[1], 10000);
    assert_non_null(strstr(told.notes, "HTTP 503"));
}

static void a_device_ends_when_it_must(void **state)
{
    static const struct {
        int status;
        const char *body;
        int code;
        const char *words;
    } cases[] = {
        {403, "{\"error\":\"access_denied\"}", -EACCES, "denied in the browser"},
        {400, "{\"error\":\"expired_token\"}", -ETIME, "start again"},
        {400, "{\"error\":\"invalid_grant\"}", -ETIME, "the code is wrong"},
        {401, "{\"error\":\"invalid_client\"}", -EKEYREJECTED, "TVs and Limited Input"},
        {403, "{\"error\":\"org_internal\"}", -EACCES, "members"},
        {428, PENDING, -ETIME, "nobody agreed before the code expired"},
        {200, "{\"access_token\":\"a\"}", -ENOKEY, "myaccount.google.com/permissions"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct google_grant g = {0};
        struct err e = {0};
        stub_stop(&stub);
        (void)setup(NULL);
        stub_will(&stub, 200, DEVICE, NULL);
        stub_will(&stub, cases[i].status, cases[i].body, NULL);
        int r = run(device_client, GOOGLE_WAY_DEVICE, -1, &g, &e);
        if (r != cases[i].code || !strstr(e.text, cases[i].words) || strstr(e.text, "canary"))
            CASE_FAILS("%s: %d %s", cases[i].body, r, e.text);
        google_grant_done(&g);
    }
}

static void a_client_of_another_type_gets_no_device_code(void **state)
{
    struct google_grant g = {0};
    struct err e = {0};
    (void)state;
    stub_will(&stub, 401, "{\"error\":\"invalid_client\"}", NULL);
    assert_int_equal(run(desktop_client, GOOGLE_WAY_DEVICE, -1, &g, &e), -EKEYREJECTED);
    assert_non_null(strstr(e.text, "TVs and Limited Input devices"));
    assert_string_equal(told.code, "");
}

/* ---- the browser's ---- */

static void part_of(const char *url, const char *name, char ret[256])
{
    char key[32];
    (void)snprintf(key, sizeof(key), "%s=", name);
    const char *at = strstr(url, key);
    assert_non_null(at);
    at += strlen(key);
    (void)snprintf(ret, 256, "%.*s", (int)strcspn(at, "&"), at);
}

/* The browser: goes to each address, in which %s stands for the login's state. */
static const char *const *visits;
static long visit_status[8];
static pthread_t browser;

static void *browse(void *arg)
{
    char s[256], url[1024];
    (void)arg;
    part_of(told.url, "state", s);
    for (int i = 0; visits[i]; i++) {
        const char *mark = strstr(visits[i], "%s");
        struct httpc_reply reply = {0};
        struct err e = {0};
        (void)snprintf(url, sizeof(url), "http://127.0.0.1:%d%.*s%s%s", told.port,
                       (int)(mark ? mark - visits[i] : (long)strlen(visits[i])), visits[i],
                       mark ? s : "", mark ? mark + 2 : "");
        const struct httpc_request req = {.url = url, .total_timeout_ms = 10000};
        visit_status[i] = httpc_fetch(&req, &reply, &e) == 0 ? reply.status : -1;
        httpc_reply_done(&reply);
    }
    return NULL;
}

static void tell_browser(void *arg, const char *url, int port)
{
    (void)arg;
    (void)snprintf(told.url, sizeof(told.url), "%s", url);
    told.port = port;
    if (visits)
        assert_int_equal(pthread_create(&browser, NULL, browse, NULL), 0);
}

static int run_loopback(const char *const *addresses, struct google_grant *g, struct err *e)
{
    visits = addresses;
    int r = run(desktop_client, GOOGLE_WAY_LOOPBACK, -1, g, e);
    assert_int_equal(pthread_join(browser, NULL), 0);
    visits = NULL;
    return r;
}

static void a_browser_that_comes_back_logs_in(void **state)
{
    static const char *const addresses[] = {"/favicon.ico",
                                            "/",
                                            "/?code=stolen&state=wrong",
                                            "/?code=stolen",
                                            "/other?code=stolen&state=%s",
                                            "/?state=%s&code=4%2F0Ab&scope=s",
                                            NULL};
    static const long statuses[] = {404, 400, 400, 400, 404, 200};
    struct google_grant g = {0};
    struct err e = {0};
    char part[256], verifier[256], challenge[GOOGLE_CHALLENGE_MAX], redirect[256];
    (void)state;
    stub_will(&stub, 200, GRANT, NULL);
    if (run_loopback(addresses, &g, &e) < 0)
        CASE_FAILS("%s", e.text);
    google_grant_done(&g);
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++)
        assert_int_equal(visit_status[i], statuses[i]);

    assert_true(strncmp(told.url, "https://accounts.example/auth?client_id=cid&", 44) == 0);
    (void)snprintf(redirect, sizeof(redirect), "http%%3A%%2F%%2F127.0.0.1%%3A%d", told.port);
    part_of(told.url, "redirect_uri", part);
    assert_string_equal(part, redirect);
    part_of(told.url, "code_challenge_method", part);
    assert_string_equal(part, "S256");
    part_of(told.url, "access_type", part);
    assert_string_equal(part, "offline");
    part_of(stub.bodies[0], "code_verifier", verifier);
    assert_int_equal(strlen(verifier), 43);
    google_challenge(verifier, challenge);
    part_of(told.url, "code_challenge", part);
    assert_string_equal(part, challenge);
    part_of(stub.bodies[0], "redirect_uri", part);
    assert_string_equal(part, redirect);
    part_of(stub.bodies[0], "code", part);
    assert_string_equal(part, "4%2F0Ab");
    part_of(stub.bodies[0], "grant_type", part);
    assert_string_equal(part, "authorization_code");
}

static void a_person_who_says_no_ends_it(void **state)
{
    static const char *const addresses[] = {"/?error=access_denied&state=wrong",
                                            "/?error=access_denied&state=%s", NULL};
    struct google_grant g = {0};
    struct err e = {0};
    (void)state;
    assert_int_equal(run_loopback(addresses, &g, &e), -EACCES);
    assert_non_null(strstr(e.text, "denied in the browser"));
    assert_int_equal(stub_asked(&stub), 0);
}

static void a_consent_outlives_a_failure_of_the_network(void **state)
{
    static const char *const visit[] = {"/?state=%s&code=4/0Acode", NULL};
    struct google_grant g = {0};
    struct err e = {0};
    (void)state;
    stub_will(&stub, 503, "<html>", NULL);
    stub_will(&stub, 502, "<html>", NULL);
    stub_will(&stub, 200, GRANT, NULL);
    if (run_loopback(visit, &g, &e) < 0)
        CASE_FAILS("%s", e.text);
    assert_int_equal(stub_asked(&stub), 3);
    assert_string_equal(stub.bodies[0], stub.bodies[2]);
    assert_int_equal(told.waited_ms, 6000);
    google_grant_done(&g);
}

static void a_network_that_stays_away_ends_it(void **state)
{
    static const char *const visit[] = {"/?state=%s&code=4/0Acode", NULL};
    struct google_grant g = {0};
    struct err e = {0};
    (void)state;
    for (int i = 0; i < 4; i++)
        stub_will(&stub, 503, "<html>", NULL);
    assert_int_equal(run_loopback(visit, &g, &e), -EAGAIN);
    assert_int_equal(stub_asked(&stub), 3);
    assert_non_null(strstr(e.text, "exchanging the code"));
    google_grant_done(&g);
}

static void a_code_that_google_does_not_take_is_told(void **state)
{
    static const char *const addresses[] = {"/?code=canary-code&state=%s", NULL};
    struct google_grant g = {0};
    struct err e = {0};
    (void)state;
    stub_will(&stub, 400,
              "{\"error\":\"invalid_grant\",\"error_description\":\"canary-code is bad\"}", NULL);
    assert_int_equal(run_loopback(addresses, &g, &e), -ETIME);
    assert_non_null(strstr(e.text, "exchanging the code"));
    assert_null(strstr(e.text, "canary"));
}

static void a_pasted_address_logs_in(void **state)
{
    struct google_grant g = {0};
    struct err e = {0};
    int fds[2];
    (void)state;
    /* Nobody knows the state before, so the lines before the end are no good, and then it ends. */
    static const char lines[] = "\n4/0Ab\nhttp://127.0.0.1:1/?code=x&state=wrong\n";
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], lines, strlen(lines)), strlen(lines));
    (void)close(fds[1]);
    assert_int_equal(run(desktop_client, GOOGLE_WAY_PASTE, fds[0], &g, &e), -ENODATA);
    assert_non_null(strstr(told.notes, "not the whole address"));
    assert_non_null(strstr(told.notes, "another login"));
    assert_int_equal(told.port, 0);
    (void)close(fds[0]);
}

static void a_web_client_needs_a_redirect_to_this_machine(void **state)
{
    struct google_grant g = {0};
    struct err e = {0};
    (void)state;
    assert_int_equal(
        run("{\"web\":{\"client_id\":\"i\",\"redirect_uris\":[\"https://x.example/\"]}}",
            GOOGLE_WAY_LOOPBACK, -1, &g, &e),
        -EINVAL);
    assert_non_null(strstr(e.text, "http://localhost:8080/"));
}

/* ---- pure ---- */

static void a_redirect_is_judged_by_its_state(void **state)
{
    static const struct {
        const char *address;
        int r;
        const char *code;
    } cases[] = {
        {"/?code=c&state=S", 0, "c"},
        {"http://127.0.0.1:4711/?state=S&code=4%2F0A-b_c&scope=x#frag", 0, "4/0A-b_c"},
        {"http://127.0.0.1/?state=S&code=c \r\n", 0, "c"},
        {"", -EBADMSG, NULL},
        {"4/0A-b_c", -EBADMSG, NULL},
        {"/?code=c", -EBADMSG, NULL},
        {"/?code=c&state=", -EBADMSG, NULL},
        {"/?code=c&state=s", -EBADMSG, NULL},
        {"/?code=c&state=SS", -EBADMSG, NULL},
        {"/?state=S", -EBADMSG, NULL},
        {"/?state=S&code=", -EBADMSG, NULL},
        {"/?state=S&code=a%0d%0ab", -EBADMSG, NULL},
        {"/?state=S&code=%zz", -EBADMSG, NULL},
        {"/?error=access_denied&state=S", -EACCES, NULL},
        {"/?error=access_denied", -EBADMSG, NULL},
        {"/?error=%1b%5b2J&state=S", -EBADMSG, NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char code[GOOGLE_CODE_MAX] = "";
        struct err e = {0};
        int r = google_redirect_parse(cases[i].address, "S", code, &e);
        if (r != cases[i].r || (r == 0 && strcmp(code, cases[i].code) != 0) ||
            strpbrk(e.text, "\033\r\n"))
            CASE_FAILS("%s: %d \"%s\" %s", cases[i].address, r, code, e.text);
    }
}

static void the_challenge_is_the_rfcs(void **state)
{
    char challenge[GOOGLE_CHALLENGE_MAX];
    (void)state;
    google_challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", challenge); /* RFC 7636, B */
    assert_string_equal(challenge, "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
}

static void the_clients_type_chooses_the_way(void **state)
{
    static const struct {
        const char *text;
        enum google_way way;
        const char *why;
    } cases[] = {
        {device_client, GOOGLE_WAY_DEVICE, "device codes"},
        {desktop_client, GOOGLE_WAY_DEVICE, "device codes"}, /* refused, see above */
        {"{\"web\":{\"client_id\":\"i\",\"redirect_uris\":[\"http://localhost:8080/\"]}}",
         GOOGLE_WAY_LOOPBACK, "web client with a redirect"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct google_client *c = NULL;
        const char *why = NULL;
        struct err e = {0};
        assert_int_equal(google_client_parse(cases[i].text, strlen(cases[i].text), &c, &e), 0);
        assert_int_equal(google_way_choose(c, &why), cases[i].way);
        assert_non_null(strstr(why, cases[i].why));
        google_client_free(c);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_device_waits_as_long_as_it_is_told_to),
        TEST(a_device_outlives_trouble_and_asks_less_often),
        TEST(a_device_ends_when_it_must),
        TEST(a_client_of_another_type_gets_no_device_code),
        TEST(a_browser_that_comes_back_logs_in),
        TEST(a_person_who_says_no_ends_it),
        TEST(a_consent_outlives_a_failure_of_the_network),
        TEST(a_network_that_stays_away_ends_it),
        TEST(a_code_that_google_does_not_take_is_told),
        TEST(a_pasted_address_logs_in),
        TEST(a_web_client_needs_a_redirect_to_this_machine),
        cmocka_unit_test(a_redirect_is_judged_by_its_state),
        cmocka_unit_test(the_challenge_is_the_rfcs),
        cmocka_unit_test(the_clients_type_chooses_the_way),
    };
    return RUN_TESTS(tests);
}
