/* Who may come in, and what each route lets him do: requests and answers, without a socket. */
#include "fixture.h"

#include <pthread.h>

#include "web/access.h"
#include "web/fields.h"

#define PASSWORD "a quiet porch"

struct house {
    struct fixture *f;
    struct access *access;
    char path[128];

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t woken;
    int wakes;
};

static void wake(void *arg, const char *key)
{
    struct house *h = arg;
    assert_true(key[0]);
    pthread_mutex_lock(&h->lock);
    h->wakes++;
    pthread_cond_broadcast(&h->woken);
    pthread_mutex_unlock(&h->lock);
}

static void open_doors(struct house *h, const struct access_options *o)
{
    access_free(h->access);
    struct access_options mine = *o;
    mine.path = h->path;
    mine.wake = wake;
    mine.wake_arg = h;
    h->access = access_new(&mine);
    h->f->context.access = h->access;
}

static int enter(void **state)
{
    struct house *h = xcalloc(1, sizeof(*h));
    void *fixture = NULL;
    if (set_up(&fixture) < 0)
        return -1;
    h->f = fixture;
    (void)snprintf(h->path, sizeof(h->path), "%s/" ACCESS_DB_NAME, h->f->folder);
    pthread_mutex_init(&h->lock, NULL);
    pthread_cond_init(&h->woken, NULL);
    open_doors(h, &(struct access_options){.path = h->path});
    *state = h;
    return 0;
}

static int leave(void **state)
{
    struct house *h = *state;
    void *fixture = h->f;
    access_free(h->access);
    pthread_mutex_destroy(&h->lock);
    pthread_cond_destroy(&h->woken);
    free(h);
    return tear_down(&fixture);
}

/* ---- asking ---- */

struct caller {
    const char *headers[12]; /* pairs */
    const char *body;
    struct http_peer peer;
};
static const struct http_peer far = {.address = "192.0.2.7"};
static const struct http_peer near = {.address = "127.0.0.1", .loopback = true};

/* Answers that wait are waited for, as the server does. */
static void call(struct house *h, const char *method, const char *target, const struct caller *c,
                 struct reply *ret)
{
    struct fixture *f = h->f;
    *ret = (struct reply){.request = {.method = method, .target = target, .may_wait = true}};
    ret->request.peer = c->peer;
    ret->request.body = c->body ? c->body : "";
    ret->request.body_size = strlen(ret->request.body);
    for (size_t i = 0; i < ARRAY_LEN(c->headers) && c->headers[i]; i += 2)
        ret->request.headers[ret->request.header_count++] =
            (struct http_pair){c->headers[i], c->headers[i + 1]};
    http_response_init(&ret->response);
    if (http_request_parse(&ret->request, &f->e) < 0)
        fail_msg("%s: %s", target, f->e.text);
    struct http_wait wait;
    int seen = h->wakes;
    ret->route = web_answer(&f->context, &ret->request, &ret->response);
    while (ret->response.waits) {
        wait = ret->response.wait;
        http_response_done(&ret->response);
        pthread_mutex_lock(&h->lock);
        while (h->wakes == seen)
            pthread_cond_wait(&h->woken, &h->lock);
        seen = h->wakes;
        pthread_mutex_unlock(&h->lock);
        ret->request.resumed = &wait;
        ret->route = web_answer(&f->context, &ret->request, &ret->response);
    }
    ret->request.resumed = NULL;
    http_response_finish(&ret->request, &ret->response);
    if (ret->response.body && ret->response.content_type &&
        strcmp(ret->response.content_type, "application/json") == 0 &&
        js_parse((const char *)ret->response.body->data, ret->response.body->size, WEB_BODY_MAX,
                 &ret->json, &f->e) < 0)
        fail_msg("%s: %s", target, f->e.text);
}

static const char *text_of(const struct reply *r, const char *path)
{
    const char *text = json_string_value(at(r->json, path));
    return text ? text : "";
}

static int status_of(struct house *h, const char *method, const char *target,
                     const struct caller *c)
{
    struct reply r;
    call(h, method, target, c, &r);
    int status = r.response.status;
    reply_done(&r);
    return status;
}

static const char *code_of(struct house *h, const char *method, const char *target,
                           const struct caller *c)
{
    static char code[64];
    struct reply r;
    call(h, method, target, c, &r);
    text_copy(code, sizeof(code), text_of(&r, "error.code"));
    reply_done(&r);
    return code;
}

/* ---- people ---- */

static struct access_db *books(struct house *h)
{
    struct access_db *d = access_database(h->access, true, &h->f->e);
    if (!d)
        fail_msg("%s", h->f->e.text);
    return d;
}

static void add_user(struct house *h, const char *name, enum access_role role)
{
    static char hash[PASSWD_HASH_MAX]; /* one for all: it takes 100 ms */
    if (!hash[0])
        assert_int_equal(passwd_hash(PASSWORD, hash, &h->f->e), 0);
    assert_int_equal(access_user_add(books(h), name, role, hash, &h->f->e), 0);
}

static void add_token(struct house *h, unsigned scopes, char ret_header[128])
{
    struct access_token t = {.name = "program", .scopes = scopes};
    char text[ACCESS_SECRET_MAX];
    assert_int_equal(access_token_add(books(h), &t, text, &h->f->e), 0);
    (void)snprintf(ret_header, 128, "Bearer %s", text);
}

struct visit {
    char cookie[160], csrf[80];
};

static void login_as(struct house *h, const char *user, const char *password, bool secure,
                     struct reply *ret)
{
    char body[256];
    (void)snprintf(body, sizeof(body), "{\"user\":\"%s\",\"password\":\"%s\"}", user, password);
    struct caller c = {.peer = far, .body = body};
    c.peer.secure = secure;
    call(h, "POST", "/api/v1/login", &c, ret);
    ret->request.body = ""; /* it ends with this function */
    ret->request.body_size = 0;
}

static void log_in(struct house *h, const char *user, struct visit *ret)
{
    struct reply r;
    login_as(h, user, PASSWORD, false, &r);
    assert_int_equal(r.response.status, 200);
    const char *cookie = header_of(&r, "Set-Cookie");
    assert_non_null(cookie);
    (void)snprintf(ret->cookie, sizeof(ret->cookie), "theme=dark; %.*s", (int)strcspn(cookie, ";"),
                   cookie);
    text_copy(ret->csrf, sizeof(ret->csrf), text_of(&r, "csrf"));
    assert_int_equal(strlen(ret->csrf), 64);
    reply_done(&r);
}

/* ---- the whole table ---- */

/* "/api/v1/snapshots/{id}/star" with something in its place. */
static void fill(const char *pattern, char *ret, size_t size)
{
    size_t used = 0;
    for (const char *p = pattern; *p && used + 1 < size; p++) {
        if (*p == '{') {
            ret[used++] = 'x';
            p += strcspn(p, "}");
        } else {
            ret[used++] = *p;
        }
    }
    ret[used] = '\0';
}

enum person {
    STRANGER,
    VIEWER,
    ADMIN,
    ADMIN_WITHOUT_WORD, /* a foreign page that rides on his cookie */
    AT_THE_MACHINE,
    THROUGH_A_PROXY, /* on the machine, that nobody told us of */
    WITH_READ,
    WITH_TRIGGER,
    WITH_PUSH,
    WITH_MANAGE,
    WITH_ALL_SCOPES,
    WITH_A_WRONG_TOKEN,
    PERSON_COUNT
};

/* What each level lets in, written down once more, so that a change of the rules has to be made in
 * two places: L login required, R role, C csrf, + in. In the order of the persons. */
static const char *const expected[WEB_ACCESS_COUNT] = {
    [WEB_OPEN] = "++++++++++++",    [WEB_VIEW] = "L++*+L+RRR+L", [WEB_METRICS] = "L++*+L+RRR+L",
    [WEB_TRIGGER] = "LR+*+LR+RR+L", [WEB_PUSH] = "LR+*+LRR+R+L", [WEB_MANAGE] = "LR+*+LRRR++L",
    [WEB_ADMIN] = "LR+*+LRRRRRL",
};

static void each_route_lets_in_whom_it_should(void **state)
{
    struct house *h = *state;
    add_user(h, "anna", ACCESS_ADMIN);
    add_user(h, "ben", ACCESS_VIEWER);
    struct visit anna, ben;
    log_in(h, "anna", &anna);
    log_in(h, "ben", &ben);
    char tokens[5][128];
    for (unsigned i = 0; i < 4; i++)
        add_token(h, 1U << i, tokens[i]);
    add_token(h, ACCESS_SCOPES_ALL, tokens[4]);
    const struct caller callers[PERSON_COUNT] = {
        [STRANGER] = {.peer = far},
        [VIEWER] = {{"Cookie", ben.cookie, "X-CSRF-Token", ben.csrf}, .peer = far},
        [ADMIN] = {{"Cookie", anna.cookie, "X-CSRF-Token", anna.csrf}, .peer = far},
        [ADMIN_WITHOUT_WORD] = {{"Cookie", anna.cookie}, .peer = far},
        [AT_THE_MACHINE] = {.peer = near},
        [THROUGH_A_PROXY] = {{"X-Forwarded-For", "192.0.2.7"}, .peer = near},
        [WITH_READ] = {{"Authorization", tokens[0]}, .peer = far},
        [WITH_TRIGGER] = {{"Authorization", tokens[1]}, .peer = far},
        [WITH_PUSH] = {{"Authorization", tokens[2]}, .peer = far},
        [WITH_MANAGE] = {{"Authorization", tokens[3]}, .peer = far},
        [WITH_ALL_SCOPES] = {{"Authorization", tokens[4]}, .peer = far},
        [WITH_A_WRONG_TOKEN] = {{"Authorization", "Bearer snap_0123"}, .peer = near},
    };
    for (size_t i = 0; i < web_route_count; i++) {
        const struct web_route *route = &web_routes[i];
        char target[256];
        fill(route->pattern, target, sizeof(target));
        bool changes = strcmp(route->method, "GET") != 0;
        for (size_t who = 0; who < PERSON_COUNT; who++) {
            char want = expected[route->access] ? expected[route->access][who] : '?';
            if (want == '*')
                want = changes ? 'C' : '+';
            struct http_request req = {.method = route->method, .target = target};
            req.peer = callers[who].peer;
            for (size_t k = 0; callers[who].headers[k]; k += 2)
                req.headers[req.header_count++] =
                    (struct http_pair){callers[who].headers[k], callers[who].headers[k + 1]};
            assert_int_equal(http_request_parse(&req, &h->f->e), 0);
            struct http_response res;
            http_response_init(&res);
            bool in = web_permits(&h->f->context, route, &req, &res);
            http_response_done(&res);
            if (in != (want == '+'))
                fail_msg("%s %s, person %zu: %s, expected %c", route->method, route->pattern, who,
                         in ? "in" : "out", want);
            if (in)
                continue;
            const char *code = code_of(h, route->method, target, &callers[who]);
            const char *right = want == 'L'   ? "login-required"
                                : want == 'C' ? "csrf"
                                              : "not-allowed";
            if (strcmp(code, right) != 0)
                fail_msg("%s %s, person %zu: %s, expected %s", route->method, route->pattern, who,
                         code, right);
        }
    }
}

/* Open routes are few, and each is meant to be. */
static void each_route_says_what_it_needs(void **state)
{
    (void)state;
    static const char *const open[] = {"/",
                                       "/healthz",
                                       "/readyz",
                                       "/assets/{path...}",
                                       "/s/{link}",
                                       "/api/v1/session",
                                       "/api/openapi.json",
                                       "/api/v1/login",
                                       "/api/v1/logout"};
    for (size_t i = 0; i < web_route_count; i++) {
        const struct web_route *r = &web_routes[i];
        bool changes = strcmp(r->method, "GET") != 0;
        bool listed = false;
        for (size_t k = 0; k < ARRAY_LEN(open); k++)
            listed = listed || strcmp(open[k], r->pattern) == 0;
        if (r->access == WEB_UNSAID)
            fail_msg("%s %s does not say what it needs", r->method, r->pattern);
        if (r->access == WEB_OPEN && !listed)
            fail_msg("%s %s is open to anybody", r->method, r->pattern);
        if (changes && r->access == WEB_VIEW && strcmp(r->pattern, "/api/v1/password") != 0)
            fail_msg("%s %s lets viewers change something", r->method, r->pattern);
        if (r->access == WEB_METRICS)
            assert_string_equal(r->pattern, "/metrics");
    }
}

static void a_route_that_forgot_is_for_admins(void **state)
{
    (void)state;
    struct access_who viewer = {.role = ACCESS_VIEWER, .how = ACCESS_BY_SESSION},
                      admin = {.role = ACCESS_ADMIN, .how = ACCESS_BY_LOOPBACK},
                      token = {.how = ACCESS_BY_TOKEN, .scopes = ACCESS_SCOPES_ALL};
    struct http_request req = {.method = "GET"};
    struct http_response res;
    http_response_init(&res);
    assert_false(access_permits(NULL, &viewer, WEB_UNSAID, false, &req, &res));
    assert_false(access_permits(NULL, &token, WEB_UNSAID, false, &req, &res));
    assert_true(access_permits(NULL, &admin, WEB_UNSAID, false, &req, &res));
    http_response_done(&res);
}

/* ---- the machine and proxies ---- */

static void only_the_machine_itself_needs_no_login(void **state)
{
    struct house *h = *state;
    static const struct {
        struct caller caller;
        int status;
    } cases[] = {
        {{.peer = {.address = "127.0.0.1", .loopback = true}}, 200},
        {{.peer = {.address = "::1", .loopback = true}}, 200},
        {{.peer = {.address = "192.0.2.7"}}, 401},
        {{.peer = {.address = "192.0.2.7", .trusted = true}}, 401},
        {{.peer = {.address = "127.0.0.1", .loopback = true, .trusted = true}}, 401},
        {{.peer = {.address = ""}}, 401},
        {{{"X-Forwarded-For", "127.0.0.1"}, .peer = {.loopback = true}}, 401},
        {{{"x-forwarded-for", ""}, .peer = {.loopback = true}}, 401},
        {{{"X-Forwarded-Proto", "https"}, .peer = {.loopback = true}}, 401},
        {{{"X-Forwarded-Host", "a"}, .peer = {.loopback = true}}, 401},
        {{{"X-Real-IP", "10.0.0.1"}, .peer = {.loopback = true}}, 401},
        {{{"Forwarded", "for=10.0.0.1"}, .peer = {.loopback = true}}, 401},
        {{{"Via", "1.1 proxy"}, .peer = {.loopback = true}}, 401},
        {{{"CF-Connecting-IP", "10.0.0.1"}, .peer = {.loopback = true}}, 401},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (status_of(h, "GET", "/api/v1/snapshots", &cases[i].caller) != cases[i].status)
            fail_msg("case %zu", i);
    const struct caller at_home = {.peer = near};
    open_doors(h, &(struct access_options){.behind_proxy = true});
    assert_int_equal(status_of(h, "GET", "/api/v1/snapshots", &at_home), 401);
    open_doors(h, &(struct access_options){.login_always = true});
    assert_int_equal(status_of(h, "GET", "/api/v1/snapshots", &at_home), 401);
    assert_int_equal(status_of(h, "GET", "/metrics", &at_home), 401);
    assert_int_equal(access(h->path, F_OK), -1); /* nothing was opened for all that */
}

static void metrics_are_open_when_said(void **state)
{
    struct house *h = *state;
    const struct caller stranger = {.peer = far}, at_home = {.peer = near};
    assert_int_equal(status_of(h, "GET", "/metrics", &stranger), 401);
    assert_int_equal(status_of(h, "GET", "/metrics", &at_home), 200);
    open_doors(h, &(struct access_options){.metrics_open = true, .login_always = true});
    assert_int_equal(status_of(h, "GET", "/metrics", &stranger), 200);
    assert_int_equal(status_of(h, "GET", "/api/v1/status", &stranger), 401);
}

static void strangers_hear_whether_and_not_why(void **state)
{
    struct house *h = *state;
    const struct caller stranger = {.peer = far}, at_home = {.peer = near};
    struct reply r;
    h->f->ready_code = h->f->healthy_code = -EAGAIN;
    for (int i = 0; i < 2; i++) {
        call(h, "GET", i ? "/healthz" : "/readyz", &stranger, &r);
        assert_int_equal(r.response.status, 503);
        assert_null(strstr(text_of(&r, "error.message"), i ? "detect" : "model"));
        assert_null(at(r.json, "parts"));
        reply_done(&r);
        call(h, "GET", i ? "/healthz" : "/readyz", &at_home, &r);
        assert_non_null(strstr(text_of(&r, "error.message"), i ? "detect" : "model"));
        reply_done(&r);
    }
}

static void a_trusted_proxy_vouches_for_users(void **state)
{
    struct house *h = *state;
    struct http_peer proxy = {.address = "192.0.2.7", .trusted = true, .secure = true};
    struct caller anna = {{"X-Remote-User", "anna", "X-Forwarded-For", "192.0.2.7"}, .peer = proxy},
                  carl = {{"X-Remote-User", "carl"}, .peer = proxy},
                  both = {{"X-Remote-User", "anna", "x-remote-user", "ben"}, .peer = proxy},
                  odd = {{"X-Remote-User", "an na"}, .peer = proxy},
                  liar = {{"X-Remote-User", "anna"}, .peer = far},
                  near_liar = {{"X-Remote-User", "anna", "X-Forwarded-For", "::1"}, .peer = near};
    add_user(h, "anna", ACCESS_ADMIN);
    assert_int_equal(status_of(h, "GET", "/api/v1/users", &anna), 401); /* not switched on */
    struct access_options o = {
        .proxy_user_header = "X-Remote-User", .proxy_role = ACCESS_VIEWER, .behind_proxy = true};
    open_doors(h, &o);
    assert_int_equal(status_of(h, "GET", "/api/v1/users", &anna), 200);
    assert_int_equal(status_of(h, "GET", "/api/v1/snapshots", &carl), 200);
    assert_int_equal(status_of(h, "GET", "/api/v1/users", &carl), 403);
    assert_int_equal(status_of(h, "GET", "/api/v1/snapshots", &both), 401);
    assert_int_equal(status_of(h, "GET", "/api/v1/snapshots", &odd), 401);
    assert_int_equal(status_of(h, "GET", "/api/v1/snapshots", &liar), 401);
    assert_int_equal(status_of(h, "GET", "/api/v1/snapshots", &near_liar), 401);
    assert_string_equal(code_of(h, "DELETE", "/api/v1/users/ben", &anna), "csrf");
    struct reply r;
    call(h, "GET", "/api/v1/session", &anna, &r);
    assert_string_equal(text_of(&r, "how"), "proxy");
    assert_string_equal(text_of(&r, "role"), "admin");
    anna.headers[4] = "X-CSRF-Token";
    anna.headers[5] = text_of(&r, "csrf");
    assert_string_equal(code_of(h, "DELETE", "/api/v1/users/ben", &anna), "unknown");
    reply_done(&r);
    const struct access_who admin = h->f->context.who;
    assert_int_equal(status_of(h, "GET", "/api/v1/snapshots", &carl), 200);
    const struct access_who guest = h->f->context.who;
    assert_true(access_still(h->access, &admin) && access_still(h->access, &guest));
    add_user(h, "zoe", ACCESS_ADMIN);
    assert_int_equal(access_user_change(books(h), "anna", ACCESS_VIEWER, NULL, &h->f->e), 0);
    assert_false(access_still(h->access, &admin));
    assert_true(access_still(h->access, &guest));
    o.proxy_role = ACCESS_NOBODY;
    open_doors(h, &o);
    assert_false(access_still(h->access, &guest));
    assert_int_equal(status_of(h, "GET", "/api/v1/snapshots", &carl), 401);
}

/* ---- login ---- */

static void nobody_can_log_in_before_there_is_a_user(void **state)
{
    struct house *h = *state;
    static const char *const tries[][2] = {
        {"admin", "admin"}, {"admin", ""}, {"root", "snapshotd"}, {"admin", "password"}};
    for (size_t i = 0; i < ARRAY_LEN(tries); i++) {
        struct reply r;
        login_as(h, tries[i][0], tries[i][1], false, &r);
        assert_int_equal(r.response.status, tries[i][1][0] ? 401 : 400);
        assert_null(header_of(&r, "Set-Cookie"));
        reply_done(&r);
    }
    assert_int_equal(access(h->path, F_OK), -1);
}

static void the_answer_does_not_tell_users_from_others(void **state)
{
    struct house *h = *state;
    add_user(h, "anna", ACCESS_ADMIN);
    struct reply known, unknown;
    login_as(h, "anna", "wrong wrong", false, &known);
    login_as(h, "zoe", "wrong wrong", false, &unknown);
    assert_int_equal(known.response.status, 401);
    assert_string_equal(text_of(&known, "error.code"), "wrong-login");
    assert_int_equal(known.response.body->size, unknown.response.body->size);
    assert_memory_equal(known.response.body->data, unknown.response.body->data,
                        known.response.body->size);
    assert_int_equal(known.response.header_count, unknown.response.header_count);
    reply_done(&known);
    reply_done(&unknown);
}

static void cookies_are_out_of_reach(void **state)
{
    struct house *h = *state;
    add_user(h, "anna", ACCESS_ADMIN);
    struct reply r;
    login_as(h, "anna", PASSWORD, false, &r);
    const char *cookie = header_of(&r, "Set-Cookie");
    assert_true(text_starts_with(cookie, "snapshotd="));
    assert_non_null(strstr(cookie, "; HttpOnly"));
    assert_non_null(strstr(cookie, "; SameSite=Strict"));
    assert_non_null(strstr(cookie, "; Path=/;"));
    assert_null(strstr(cookie, "Secure"));
    assert_null(strstr(cookie, "Domain"));
    reply_done(&r);
    login_as(h, "anna", PASSWORD, true, &r);
    cookie = header_of(&r, "Set-Cookie");
    assert_true(text_starts_with(cookie, "__Host-snapshotd="));
    assert_non_null(strstr(cookie, "; Secure"));
    assert_non_null(strstr(cookie, "; Path=/;"));
    assert_null(strstr(cookie, "Domain"));
    /* Over TLS the plain name, which a neighbour may have planted, counts for nothing. */
    char planted[160];
    (void)snprintf(planted, sizeof(planted), "%.*s", (int)strcspn(cookie, ";") - 7, cookie + 7);
    struct caller c = {{"Cookie", planted}, .peer = far};
    c.peer.secure = true;
    assert_true(text_starts_with(planted, "snapshotd="));
    assert_int_equal(status_of(h, "GET", "/api/v1/snapshots", &c), 401);
    c.peer.secure = false;
    assert_int_equal(status_of(h, "GET", "/api/v1/snapshots", &c), 200);
    reply_done(&r);
}

static void a_session_is_new_each_time_and_ends(void **state)
{
    struct house *h = *state;
    add_user(h, "anna", ACCESS_ADMIN);
    struct visit first, second;
    log_in(h, "anna", &first);
    log_in(h, "anna", &second);
    assert_string_not_equal(first.cookie, second.cookie);
    struct caller one = {{"Cookie", first.cookie, "X-CSRF-Token", first.csrf}, .peer = far},
                  two = {{"Cookie", second.cookie, "X-CSRF-Token", first.csrf}, .peer = far};
    assert_int_equal(status_of(h, "GET", "/api/v1/users", &one), 200);
    assert_int_equal(status_of(h, "GET", "/api/v1/users", &two), 200);
    assert_string_equal(code_of(h, "DELETE", "/api/v1/users/x", &two), "csrf"); /* not its own */
    struct reply r;
    call(h, "POST", "/api/v1/logout", &one, &r);
    assert_int_equal(r.response.status, 200);
    assert_non_null(strstr(header_of(&r, "Set-Cookie"), "Max-Age=0"));
    assert_true(json_is_null(at(r.json, "how")));
    reply_done(&r);
    assert_int_equal(status_of(h, "GET", "/api/v1/users", &one), 401);
    assert_int_equal(status_of(h, "GET", "/api/v1/users", &two), 200);
}

static int64_t ahead_us;

static struct wall_time later(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (struct wall_time){t.tv_sec * 1000000 + t.tv_nsec / 1000 + ahead_us};
}

static void sessions_end_idle_and_in_any_case(void **state)
{
    struct house *h = *state;
    add_user(h, "anna", ACCESS_ADMIN);
    open_doors(h,
               &(struct access_options){.session_idle_ms = 3600000, .session_max_ms = 3 * 3600000});
    struct visit v;
    ahead_us = 0;
    clock_set_wall_source(later);
    log_in(h, "anna", &v);
    struct caller c = {{"Cookie", v.cookie}, .peer = far};
    static const struct {
        int minutes, status;
    } steps[] = {{59, 200}, {118, 200}, {177, 200}, {181, 401}}; /* used, and too old at the end */
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        ahead_us = steps[i].minutes * (int64_t)60000000;
        assert_int_equal(status_of(h, "GET", "/api/v1/users", &c), steps[i].status);
    }
    ahead_us = 0;
    log_in(h, "anna", &v);
    ahead_us = 61 * (int64_t)60000000;
    assert_int_equal(status_of(h, "GET", "/api/v1/users", &c), 401);
    ahead_us = 0;
    assert_int_equal(status_of(h, "GET", "/api/v1/users", &c), 401); /* and stays so */
    clock_set_wall_source(NULL);
}

static void changes_to_a_user_count_at_once(void **state)
{
    struct house *h = *state;
    add_user(h, "anna", ACCESS_ADMIN);
    add_user(h, "ben", ACCESS_ADMIN);
    struct visit v;
    log_in(h, "ben", &v);
    struct caller ben = {{"Cookie", v.cookie}, .peer = far};
    assert_int_equal(status_of(h, "GET", "/api/v1/users", &ben), 200);
    /* By another connection, as the command has it. */
    AUTO(access_db) d = NULL;
    assert_int_equal(access_db_open(h->path, false, &d, &h->f->e), 0);
    assert_int_equal(access_user_change(d, "ben", ACCESS_VIEWER, NULL, &h->f->e), 0);
    assert_int_equal(status_of(h, "GET", "/api/v1/users", &ben), 401);
    log_in(h, "ben", &v);
    assert_int_equal(status_of(h, "GET", "/api/v1/users", &ben), 403);
    assert_int_equal(access_user_remove(d, "ben", &h->f->e), 0);
    assert_int_equal(status_of(h, "GET", "/api/v1/snapshots", &ben), 401);
}

static void the_file_may_come_and_go(void **state)
{
    struct house *h = *state;
    add_user(h, "anna", ACCESS_ADMIN);
    struct visit v;
    log_in(h, "anna", &v);
    struct caller anna = {{"Cookie", v.cookie}, .peer = far};
    assert_int_equal(status_of(h, "GET", "/api/v1/users", &anna), 200);
    char wal[160], shm[160];
    (void)snprintf(wal, sizeof(wal), "%s-wal", h->path);
    (void)snprintf(shm, sizeof(shm), "%s-shm", h->path);
    assert_int_equal(unlink(h->path), 0);
    (void)unlink(wal);
    (void)unlink(shm);
    assert_int_equal(status_of(h, "GET", "/api/v1/users", &anna), 401);
}

static int64_t mono_ahead_us;

static struct mono_time later_mono(void)
{
    return (struct mono_time){1000000 + mono_ahead_us};
}

/* The clock stands: hashes take as long as they like. */
static void guessing_is_slow(void **state)
{
    struct house *h = *state;
    mono_ahead_us = 0;
    clock_set_mono_source(later_mono);
    add_user(h, "anna", ACCESS_ADMIN);
    struct reply r;
    for (int i = 0; i < 5; i++) {
        login_as(h, "anna", "wrong wrong", false, &r);
        assert_int_equal(r.response.status, 401);
        reply_done(&r);
    }
    login_as(h, "anna", PASSWORD, false, &r); /* right, and too late */
    assert_int_equal(r.response.status, 429);
    assert_string_equal(text_of(&r, "error.code"), "too-many-logins");
    assert_true(strtol(header_of(&r, "Retry-After"), NULL, 10) >= 1);
    reply_done(&r);
    /* Others are not shut out. */
    struct caller other = {.peer = {.address = "192.0.2.8"},
                           .body = "{\"user\":\"anna\",\"password\":\"" PASSWORD "\"}"};
    assert_int_equal(status_of(h, "POST", "/api/v1/login", &other), 200);
    /* One owner of 2^64 addresses is one. */
    struct caller six = {.body = "{\"user\":\"zoe\",\"password\":\"wrong wrong\"}"};
    for (int i = 0; i < 6; i++) {
        (void)snprintf(six.peer.address, sizeof(six.peer.address), "2001:db8:1:2::%x", i);
        assert_int_equal(status_of(h, "POST", "/api/v1/login", &six), i < 5 ? 401 : 429);
    }
    (void)snprintf(six.peer.address, sizeof(six.peer.address), "2001:db8:1:3::1");
    assert_int_equal(status_of(h, "POST", "/api/v1/login", &six), 401);
    clock_set_mono_source(NULL);
}

static void a_name_is_not_guessed_from_many_places(void **state)
{
    struct house *h = *state;
    struct caller c = {.body = "{\"user\":\"zoe\",\"password\":\"wrong wrong\"}"};
    struct caller owner = {.peer = {.address = "192.0.2.200"},
                           .body = "{\"user\":\"zoe\",\"password\":\"" PASSWORD "\"}"};
    add_user(h, "zoe", ACCESS_ADMIN);
    mono_ahead_us = 0;
    clock_set_mono_source(later_mono);
    assert_int_equal(status_of(h, "POST", "/api/v1/login", &owner), 200);
    int refused = 0;
    for (int i = 0; i < 24; i++) {
        (void)snprintf(c.peer.address, sizeof(c.peer.address), "192.0.2.%d", i);
        refused += status_of(h, "POST", "/api/v1/login", &c) == 429;
    }
    assert_int_equal(refused, 4); /* 20 at once, and one each 3 s */
    /* Which keeps out nobody who was in before, from where he was. */
    assert_int_equal(status_of(h, "POST", "/api/v1/login", &owner), 200);
    clock_set_mono_source(NULL);
}

static void odd_logins_are_refused_in_words(void **state)
{
    struct house *h = *state;
    static char long_body[FIELDS_BODY_MAX + 2];
    memset(long_body, 'x', sizeof(long_body) - 1);
    static const struct {
        const char *type, *body;
        int status;
        const char *code;
    } cases[] = {
        {"application/json", "", 400, "bad-body"},
        {"application/json", "[]", 400, "bad-body"},
        {"application/json", "{\"user\":\"anna\"", 400, "bad-body"},
        {"application/json", "{\"user\":\"anna\"}", 400, "bad-parameter"},
        {"application/json", "{\"user\":1,\"password\":\"x\"}", 400, "bad-parameter"},
        {"application/json", "{\"user\":null,\"password\":\"x\"}", 400, "bad-parameter"},
        {"application/json", "{\"user\":\"a\",\"password\":\"x\",\"role\":\"admin\"}", 400,
         "bad-parameter"},
        {"application/json", "{\"user\":\"a\\u0000b\",\"password\":\"x\"}", 400, "bad-body"},
        {"application/json", "{\"user\":\"' OR 1=1 --\",\"password\":\"x\"}", 401, "wrong-login"},
        {"application/json", long_body, 413, "body-too-large"},
        {"application/x-www-form-urlencoded", "user=anna", 400, "bad-parameter"},
        {"application/x-www-form-urlencoded", "user=anna&user=ben&password=x", 400, "bad-body"},
        {"application/x-www-form-urlencoded", "user=an%00na&password=x", 400, "bad-body"},
        {"application/x-www-form-urlencoded", "user=an%zzna&password=x", 400, "bad-body"},
        {"application/x-www-form-urlencoded", "user=%", 400, "bad-body"},
        {"application/x-www-form-urlencoded", "user=an%ffna&password=x", 400, "bad-body"},
        {"application/x-www-form-urlencoded", "&&user=a+b&password=x", 401, "wrong-login"},
        {"application/x-www-form-urlencoded", "user=anna&password=wrong+wrong", 401, "wrong-login"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct caller c = {{"Content-Type", cases[i].type}, cases[i].body, far};
        struct reply r;
        call(h, "POST", "/api/v1/login", &c, &r);
        if (r.response.status != cases[i].status ||
            strcmp(text_of(&r, "error.code"), cases[i].code) != 0)
            fail_msg("case %zu: %d %s", i, r.response.status, text_of(&r, "error.code"));
        reply_done(&r);
    }
}

static void a_form_logs_in_as_well(void **state)
{
    struct house *h = *state;
    add_user(h, "anna", ACCESS_ADMIN);
    struct caller c = {{"Content-Type", "application/x-www-form-urlencoded; charset=utf-8"},
                       "user=%61nna&password=a+quiet%20porch",
                       far};
    assert_int_equal(status_of(h, "POST", "/api/v1/login", &c), 200);
}

static void a_login_that_may_not_wait_is_put_off(void **state)
{
    struct house *h = *state;
    static const char body[] = "{\"user\":\"anna\",\"password\":\"" PASSWORD "\"}";
    struct http_request req = {.method = "POST",
                               .target = "/api/v1/login",
                               .body = body,
                               .body_size = sizeof(body) - 1,
                               .peer = {.address = "192.0.2.7"},
                               .may_wait = false};
    struct http_response res;
    add_user(h, "anna", ACCESS_ADMIN);
    http_response_init(&res);
    assert_int_equal(http_request_parse(&req, &h->f->e), 0);
    (void)web_answer(&h->f->context, &req, &res);
    assert_int_equal(res.status, 503);
    http_response_done(&res);
}

static void ones_own_password_can_be_changed(void **state)
{
    struct house *h = *state;
    add_user(h, "anna", ACCESS_ADMIN);
    add_user(h, "ben", ACCESS_VIEWER);
    struct visit v;
    log_in(h, "ben", &v);
    struct caller c = {{"Cookie", v.cookie, "X-CSRF-Token", v.csrf}, .peer = far};
    c.body = "{\"password\":\"wrong wrong\",\"new\":\"staple in the rain\"}";
    assert_string_equal(code_of(h, "POST", "/api/v1/password", &c), "wrong-login");
    c.body = "{\"password\":\"" PASSWORD "\",\"new\":\"short\"}";
    assert_string_equal(code_of(h, "POST", "/api/v1/password", &c), "bad-parameter");
    c.body = "{\"password\":\"" PASSWORD "\",\"new\":\"staple in the rain\"}";
    struct reply r;
    call(h, "POST", "/api/v1/password", &c, &r);
    assert_int_equal(r.response.status, 200);
    assert_string_equal(text_of(&r, "user"), "ben");
    assert_non_null(header_of(&r, "Set-Cookie"));
    reply_done(&r);
    assert_int_equal(status_of(h, "GET", "/api/v1/snapshots", &c), 401); /* the old cookie */
    login_as(h, "ben", PASSWORD, false, &r);
    assert_int_equal(r.response.status, 401);
    reply_done(&r);
    login_as(h, "ben", "staple in the rain", false, &r);
    assert_int_equal(r.response.status, 200);
    reply_done(&r);
    const struct caller at_home = {.peer = near, .body = c.body};
    assert_string_equal(code_of(h, "POST", "/api/v1/password", &at_home), "not-allowed");
}

/* ---- users, tokens, links, the log ---- */

static void users_are_kept_over_the_api(void **state)
{
    struct house *h = *state;
    struct caller c = {.peer = near};
    static const struct {
        const char *method, *target, *body;
        int status;
    } steps[] = {
        {"GET", "/api/v1/users", NULL, 200},
        {"POST", "/api/v1/users", "{\"name\":\"anna\",\"role\":\"admin\"}", 400},
        {"POST", "/api/v1/users",
         "{\"name\":\"anna\",\"role\":\"god\",\"password\":\"" PASSWORD "\"}", 400},
        {"POST", "/api/v1/users",
         "{\"name\":\"an na\",\"role\":\"admin\",\"password\":\"" PASSWORD "\"}", 400},
        {"POST", "/api/v1/users", "{\"name\":\"anna\",\"role\":\"admin\",\"password\":\"x\"}", 400},
        {"POST", "/api/v1/users/anna", "{\"role\":\"viewer\"}", 404},
        {"DELETE", "/api/v1/users/anna", NULL, 404},
        {"POST", "/api/v1/users",
         "{\"name\":\"anna\",\"role\":\"admin\",\"password\":\"" PASSWORD "\"}", 201},
        {"POST", "/api/v1/users",
         "{\"name\":\"anna\",\"role\":\"admin\",\"password\":\"" PASSWORD "\"}", 409},
        {"POST", "/api/v1/users",
         "{\"name\":\"ben\",\"role\":\"viewer\",\"password\":\"" PASSWORD "\"}", 201},
        {"POST", "/api/v1/users/anna", "{\"role\":\"viewer\"}", 409},
        {"POST", "/api/v1/users/ben", "{\"role\":\"admin\",\"password\":\"staple in rain\"}", 200},
        {"POST", "/api/v1/users/anna", "{\"role\":\"viewer\"}", 200},
        {"DELETE", "/api/v1/users/ben", NULL, 409},
        {"DELETE", "/api/v1/users/anna", NULL, 200},
    };
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        c.body = steps[i].body;
        int status = status_of(h, steps[i].method, steps[i].target, &c);
        if (status != steps[i].status)
            fail_msg("step %zu: %d", i, status);
    }
    struct reply r;
    call(h, "GET", "/api/v1/users", &c, &r);
    assert_int_equal(json_array_size(at(r.json, "users")), 1);
    assert_string_equal(text_of(&r, "users.0.name"), "ben");
    assert_null(strstr((const char *)r.response.body->data, "$y$"));
    reply_done(&r);
    login_as(h, "ben", "staple in rain", false, &r);
    assert_int_equal(r.response.status, 200);
    reply_done(&r);
}

static void tokens_are_shown_once(void **state)
{
    struct house *h = *state;
    struct caller c = {.peer = near};
    static const struct {
        const char *body;
        int status;
    } cases[] = {
        {"{\"name\":\"door\"}", 400},
        {"{\"name\":\"door\",\"scopes\":[]}", 400},
        {"{\"name\":\"door\",\"scopes\":[\"root\"]}", 400},
        {"{\"name\":\"door\",\"scopes\":[1]}", 400},
        {"{\"name\":\"do or\",\"scopes\":[\"push\"]}", 400},
        {"{\"name\":\"door\",\"scopes\":[\"push\"],\"expires\":0}", 400},
        {"{\"name\":\"door\",\"scopes\":[\"push\"],\"expires\":\"soon\"}", 400},
        {"{\"name\":\"door\",\"scopes\":[\"push\"],\"expires\":1e99}", 400},
        {"{\"name\":\"door\",\"scopes\":\"push,read\",\"expires\":3600}", 201},
        {"{\"name\":\"door\",\"scopes\":[\"push\"],\"expires\":null}", 201},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        c.body = cases[i].body;
        if (status_of(h, "POST", "/api/v1/tokens", &c) != cases[i].status)
            fail_msg("case %zu", i);
    }
    struct reply made, list;
    c.body = "{\"name\":\"grafana\",\"scopes\":[\"read\"]}";
    call(h, "POST", "/api/v1/tokens", &c, &made);
    const char *text = text_of(&made, "token");
    assert_true(text_starts_with(text, "snap_"));
    call(h, "GET", "/api/v1/tokens", &c, &list);
    assert_int_equal(json_array_size(at(list.json, "tokens")), 3);
    AUTO_FREE char *all = js_text(list.json);
    assert_null(strstr(all, "snap_"));
    char header[128], target[64];
    (void)snprintf(header, sizeof(header), "bearer %s", text);
    struct caller program = {{"Authorization", header}, .peer = far};
    assert_int_equal(status_of(h, "GET", "/api/v1/snapshots", &program), 200);
    (void)snprintf(target, sizeof(target), "/api/v1/tokens/%s", text_of(&made, "id"));
    c.body = NULL;
    assert_int_equal(status_of(h, "DELETE", target, &c), 200);
    assert_int_equal(status_of(h, "DELETE", target, &c), 404);
    assert_int_equal(status_of(h, "GET", "/api/v1/snapshots", &program), 401);
    reply_done(&made);
    reply_done(&list);
}

/* A password that a proxy asked for comes along with each request; it is none of ours. */
static void other_authorizations_are_not_ours(void **state)
{
    struct house *h = *state;
    struct caller c = {{"Authorization", "Basic YW5uYTphbm5h"}, .peer = near};
    assert_int_equal(status_of(h, "GET", "/api/v1/snapshots", &c), 200);
    c.peer = far;
    assert_int_equal(status_of(h, "GET", "/api/v1/snapshots", &c), 401);
    static const char *const odd[] = {"Bearer", "Bearer ", "Bearer  ", "bearer\tx", "Bearer a b"};
    for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
        c.headers[1] = odd[i];
        assert_int_equal(status_of(h, "GET", "/api/v1/snapshots", &c), 401);
    }
}

#define ID "00000000000000000000000000000005"
#define OTHER_ID "00000000000000000000000000000006"

static void a_link_shows_one_picture_until_it_expires(void **state)
{
    struct house *h = *state;
    AUTO(snapshot) s = add_snapshot(h->f, 5, "porch", 5000000);
    AUTO(snapshot) t = add_snapshot(h->f, 6, "porch", 6000000);
    examine(h->f, s, NULL, NULL, 0, true);
    const struct caller at_home = {.peer = near}, stranger = {.peer = far};
    assert_int_equal(status_of(h, "GET", "/s/" ID ".ffffffff.0", &stranger), 404);
    assert_int_equal(access(h->path, F_OK), -1); /* a stranger makes no file here */
    struct reply r;
    ahead_us = 0;
    clock_set_wall_source(later);
    call(h, "POST", "/api/v1/snapshots/" ID "/link?expires=60", &at_home, &r);
    assert_int_equal(r.response.status, 200);
    char url[256], bad[320];
    text_copy(url, sizeof(url), text_of(&r, "url"));
    reply_done(&r);
    call(h, "GET", url, &stranger, &r);
    assert_int_equal(r.response.status, 200);
    assert_string_equal(r.response.content_type, "image/jpeg");
    assert_true(text_starts_with(header_of(&r, "Cache-Control"), "private"));
    assert_string_equal(header_of(&r, "Content-Disposition"),
                        "inline; filename=\"fetch_front-door-camera_5.jpg\"");
    reply_done(&r);
    (void)snprintf(bad, sizeof(bad), "%s?download=1", url);
    call(h, "GET", bad, &stranger, &r);
    assert_string_equal(header_of(&r, "Content-Disposition"),
                        "attachment; filename=\"fetch_front-door-camera_5.jpg\"");
    reply_done(&r);
    (void)snprintf(bad, sizeof(bad), "%s?download=rubbish", url);
    assert_string_equal(code_of(h, "GET", bad, &stranger), "bad-parameter");
    /* Of no other picture, for no longer, in no other form, by no other key. */
    (void)snprintf(bad, sizeof(bad), "/s/" OTHER_ID "%s", url + strlen("/s/" ID));
    assert_int_equal(status_of(h, "GET", bad, &stranger), 404);
    for (size_t i = strlen("/s/" ID "."); url[i]; i++) {
        text_copy(bad, sizeof(bad), url);
        bad[i] = bad[i] == 'a' ? 'b' : 'a';
        if (url[i] != '.')
            assert_int_equal(status_of(h, "GET", bad, &stranger), 404);
        bad[i] = '\0';
        assert_int_equal(status_of(h, "GET", bad, &stranger), 404);
    }
    (void)snprintf(bad, sizeof(bad), "%s?annotated=1", url);
    assert_int_equal(status_of(h, "GET", bad, &stranger), 404);
    assert_int_equal(status_of(h, "GET", "/api/v1/snapshots/" ID "/image", &stranger), 401);
    call(h, "POST", "/api/v1/snapshots/" ID "/link?annotated=1", &at_home, &r);
    assert_int_equal(status_of(h, "GET", text_of(&r, "url"), &stranger), 200);
    reply_done(&r);
    ahead_us = 61 * 1000000;
    assert_string_equal(code_of(h, "GET", url, &stranger), "link-expired");
    clock_set_wall_source(NULL);
    assert_int_equal(status_of(h, "POST", "/api/v1/snapshots/x/link", &at_home), 404);
    assert_int_equal(status_of(h, "POST", "/api/v1/snapshots/" ID "/link?expires=0", &at_home),
                     400);
    assert_int_equal(
        status_of(h, "POST", "/api/v1/snapshots/" ID "/link?expires=2592001", &at_home), 400);
}

static bool log_tells(struct house *h, const char *what, const char *who, const char *detail)
{
    const struct caller at_home = {.peer = near};
    struct reply r;
    bool found = false;
    call(h, "GET", "/api/v1/audit?limit=500", &at_home, &r);
    for (size_t i = 0; i < json_array_size(at(r.json, "audit")); i++) {
        json_t *ev = json_array_get(at(r.json, "audit"), i);
        const char *name = json_string_value(at(ev, "who"));
        found = found || (strcmp(json_string_value(at(ev, "what")), what) == 0 &&
                          strcmp(name ? name : "", who) == 0 &&
                          strstr(json_string_value(at(ev, "detail")), detail));
    }
    reply_done(&r);
    return found;
}

static void the_log_tells_who_did_what(void **state)
{
    struct house *h = *state;
    AUTO(snapshot) s = add_snapshot(h->f, 5, "porch", 5000000);
    const struct caller at_home = {.peer = near};
    assert_int_equal(status_of(h, "POST", "/api/v1/snapshots/" ID "/star", &at_home), 200);
    assert_int_equal(access(h->path, F_OK), -1); /* no users, no log, no file */
    add_user(h, "anna", ACCESS_ADMIN);
    struct visit v;
    struct reply r;
    log_in(h, "anna", &v);
    login_as(h, "anna", "wrong wrong", false, &r);
    reply_done(&r);
    login_as(h, "my-secret-pass", "anna", false, &r); /* in the wrong field */
    reply_done(&r);
    struct caller anna = {{"Cookie", v.cookie, "X-CSRF-Token", v.csrf}, .peer = far};
    assert_int_equal(status_of(h, "POST", "/api/v1/snapshots/" ID "/unstar", &anna), 200);
    anna.body = "{\"name\":\"door\",\"scopes\":[\"push\"]}";
    assert_int_equal(status_of(h, "POST", "/api/v1/tokens", &anna), 201);
    anna.body = NULL;
    assert_int_equal(status_of(h, "POST", "/api/v1/logout", &anna), 200);
    assert_true(log_tells(h, "login", "anna", "admin"));
    assert_true(log_tells(h, "login-failed", "", "as anna"));
    assert_true(log_tells(h, "login-failed", "", "an unknown user"));
    assert_false(log_tells(h, "login-failed", "", "my-secret"));
    assert_true(log_tells(h, "change", "anna", "/unstar"));
    assert_true(log_tells(h, "token-add", "anna", "push"));
    assert_true(log_tells(h, "logout", "anna", ""));
    call(h, "GET", "/api/v1/audit?limit=2", &at_home, &r);
    assert_int_equal(json_array_size(at(r.json, "audit")), 2);
    assert_string_equal(text_of(&r, "audit.0.what"), "logout");
    assert_string_equal(text_of(&r, "audit.0.address"), "192.0.2.7");
    char next[128];
    text_copy(next, sizeof(next), text_of(&r, "next"));
    reply_done(&r);
    call(h, "GET", next, &at_home, &r);
    assert_string_equal(text_of(&r, "audit.0.what"), "change");
    reply_done(&r);
}

static void a_stream_knows_when_its_reader_has_gone(void **state)
{
    struct house *h = *state;
    add_user(h, "anna", ACCESS_ADMIN);
    struct visit v;
    log_in(h, "anna", &v);
    struct caller anna = {{"Cookie", v.cookie, "X-CSRF-Token", v.csrf}, .peer = far};
    assert_int_equal(status_of(h, "GET", "/api/v1/snapshots", &anna), 200);
    struct access_who who = h->f->context.who;
    assert_true(access_still(h->access, &who));
    assert_int_equal(status_of(h, "POST", "/api/v1/logout", &anna), 200);
    assert_false(access_still(h->access, &who));
    char header[128];
    add_token(h, ACCESS_READ, header);
    struct caller program = {{"Authorization", header}, .peer = far};
    assert_int_equal(status_of(h, "GET", "/api/v1/snapshots", &program), 200);
    who = h->f->context.who;
    assert_true(access_still(h->access, &who));
    assert_int_equal(access_token_remove(books(h), who.token, &h->f->e), 0);
    assert_false(access_still(h->access, &who));
    const struct access_who nobody = {.how = ACCESS_BY_NOTHING};
    assert_false(access_still(h->access, &nobody));
}

static ssize_t say_x(void *arg, void *to, size_t size, struct http_wait *wait)
{
    (void)arg;
    (void)wait;
    assert_true(size > 0);
    memset(to, 'x', 1);
    return 1;
}

static void count_release(void *arg)
{
    ++*(int *)arg;
}

/* News end; a file breaks off, so that nobody takes a part of it for the whole. */
static void end_with_the_reader(struct house *h, bool endless, ssize_t how)
{
    char header[128], byte;
    int released = 0;
    struct http_wait wait = {.key = "x"};
    add_token(h, ACCESS_READ, header);
    struct caller program = {{"Authorization", header}, .peer = far};
    assert_int_equal(status_of(h, "GET", "/api/v1/snapshots", &program), 200);
    const struct access_who who = h->f->context.who;
    struct http_stream s = {
        .read = say_x, .release = count_release, .arg = &released, .endless = endless};
    mono_ahead_us = 0;
    clock_set_mono_source(later_mono);
    access_guard_stream(h->access, &who, &s);
    assert_int_equal(s.read(s.arg, &byte, 1, &wait), 1);
    mono_ahead_us = ACCESS_GUARD_MS * 1000;
    assert_int_equal(s.read(s.arg, &byte, 1, &wait), 1);
    assert_int_equal(access_token_remove(books(h), who.token, &h->f->e), 0);
    assert_int_equal(s.read(s.arg, &byte, 1, &wait), 1); /* looked a moment ago */
    mono_ahead_us *= 2;
    assert_int_equal(s.read(s.arg, &byte, 1, &wait), how);
    s.release(s.arg);
    assert_int_equal(released, 1);
    clock_set_mono_source(NULL);
}

static void a_stream_ends_when_its_reader_has_gone(void **state)
{
    end_with_the_reader(*state, true, HTTP_STREAM_END);
}

static void a_file_breaks_off_when_its_reader_has_gone(void **state)
{
    end_with_the_reader(*state, false, HTTP_STREAM_BROKEN);
}

static void without_users_only_the_machine_comes_in(void **state)
{
    struct house *h = *state;
    h->f->context.access = NULL;
    const struct caller at_home = {.peer = near,
                                   .body = "{\"user\":\"anna\",\"password\":\"" PASSWORD "\"}"},
                        stranger = {.peer = far, .body = at_home.body};
    assert_int_equal(status_of(h, "GET", "/api/v1/snapshots", &at_home), 200);
    assert_int_equal(status_of(h, "GET", "/api/v1/snapshots", &stranger), 401);
    assert_int_equal(status_of(h, "POST", "/api/v1/login", &stranger), 401);
    assert_int_equal(status_of(h, "POST", "/api/v1/logout", &stranger), 200);
    assert_true(status_of(h, "GET", "/api/v1/users", &at_home) >= 500);
    assert_int_equal(status_of(h, "GET", "/s/x", &stranger), 404);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, enter, leave)
    static const struct CMUnitTest tests[] = {
        CASE(each_route_lets_in_whom_it_should),
        CASE(each_route_says_what_it_needs),
        CASE(a_route_that_forgot_is_for_admins),
        CASE(only_the_machine_itself_needs_no_login),
        CASE(metrics_are_open_when_said),
        CASE(strangers_hear_whether_and_not_why),
        CASE(a_trusted_proxy_vouches_for_users),
        CASE(nobody_can_log_in_before_there_is_a_user),
        CASE(the_answer_does_not_tell_users_from_others),
        CASE(cookies_are_out_of_reach),
        CASE(a_session_is_new_each_time_and_ends),
        CASE(sessions_end_idle_and_in_any_case),
        CASE(changes_to_a_user_count_at_once),
        CASE(the_file_may_come_and_go),
        CASE(guessing_is_slow),
        CASE(a_name_is_not_guessed_from_many_places),
        CASE(odd_logins_are_refused_in_words),
        CASE(a_form_logs_in_as_well),
        CASE(a_login_that_may_not_wait_is_put_off),
        CASE(ones_own_password_can_be_changed),
        CASE(users_are_kept_over_the_api),
        CASE(tokens_are_shown_once),
        CASE(other_authorizations_are_not_ours),
        CASE(a_link_shows_one_picture_until_it_expires),
        CASE(the_log_tells_who_did_what),
        CASE(a_stream_knows_when_its_reader_has_gone),
        CASE(a_stream_ends_when_its_reader_has_gone),
        CASE(a_file_breaks_off_when_its_reader_has_gone),
        CASE(without_users_only_the_machine_comes_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
