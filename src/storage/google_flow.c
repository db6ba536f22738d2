#include "storage/google_flow.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/dynbuf.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "sys/hash.h"
#include "sys/httpd.h"

#define EXCHANGE_TRIES 3       /* of a code, which Google takes for some minutes */
#define EXCHANGE_AGAIN_MS 2000 /* doubled once */
#define EXCHANGE_AFTER_MAX_S 60
#define INTERVAL_DEFAULT_S 5 /* RFC 8628, when the server does not say */
#define INTERVAL_MAX_MS 60000
#define SLOW_DOWN_MS 5000
#define CODE_LIFE_DEFAULT_S 1800
#define CODE_LIFE_MAX_S 7200
#define BROWSER_WAIT_MS (15 * 60 * 1000) /* for a person who looks for a password first */
#define PASTE_MAX 8192                   /* of a line; a code has 100 bytes, scopes some more */
#define RANDOM_BYTES 32                  /* 43 characters, the least that RFC 7636 allows */
#define RANDOM_MAX 48

const char *const google_way_names[GOOGLE_WAY_COUNT] = {
    [GOOGLE_WAY_DEVICE] = "device",
    [GOOGLE_WAY_LOOPBACK] = "loopback",
    [GOOGLE_WAY_PASTE] = "paste",
};

static int run_device(const struct google_flow_options *o, struct http_client *c,
                      struct google_grant *ret, struct err *e);
static int run_browser(const struct google_flow_options *o, bool listen, struct http_client *c,
                       struct google_grant *ret, struct err *e);

enum google_way google_way_choose(const struct google_client *c, const char **ret_why)
{
    if (!c->web) {
        *ret_why = "Google gives this client device codes";
        return GOOGLE_WAY_DEVICE;
    }
    *ret_why = *c->redirect_uri ? "it is a web client with a redirect to this machine"
                                : "it is a web client, which needs a redirect to this machine";
    return GOOGLE_WAY_LOOPBACK;
}

int google_flow_run(const struct google_flow_options *o, enum google_way way,
                    struct google_grant *ret, struct err *e)
{
    AUTO(http_client) c = NULL;
    struct google_grant grant = {0};
    int r = http_client_new(o->stop_fd, &c, e);
    if (r == 0)
        r = way == GOOGLE_WAY_DEVICE ? run_device(o, c, &grant, e)
                                     : run_browser(o, way == GOOGLE_WAY_LOOPBACK, c, &grant, e);
    if (r < 0)
        return r;
    if (!*grant.refresh_token) {
        google_grant_done(&grant);
        return err_set(e, -ENOKEY, ERR_NEVER,
                       "Google gave access for an hour only, because this client was agreed to "
                       "before: take its access away at https://myaccount.google.com/permissions "
                       "and log in again");
    }
    *ret = grant;
    return 0;
}

static const char *url_of(const char *given, const char *googles)
{
    return given && *given ? given : googles;
}

static const char *token_url_of(const struct google_flow_options *o)
{
    const char *own = google_url_is_googles(o->client->token_uri) ? o->client->token_uri : NULL;
    return url_of(o->token_url, url_of(own, GOOGLE_TOKEN_URL));
}

/* Asks for a token; what is no grant is judged, the network's failures are BUSY as well. */
static int ask_token(const struct google_flow_options *o, struct http_client *c,
                     enum google_ask what, const char *const *form, const char *const *sent,
                     struct google_grant *ret, enum google_refusal *ret_refusal,
                     int64_t *ret_retry_after_s, struct err *e)
{
    struct http_answer a = {0};
    *ret_refusal = GOOGLE_BUSY;
    *ret_retry_after_s = -1;
    int r = google_oauth_post(c, token_url_of(o), form, &a, e);
    if (r < 0)
        return r;
    *ret_retry_after_s = a.retry_after_s;
    r = google_oauth_judge(what, a.status, a.body ? (const char *)a.body->data : NULL,
                           a.body ? a.body->size : 0, sent, ret, ret_refusal, e);
    http_answer_done(&a);
    return r;
}

/* ---- the device flow ---- */

static int ask_device_code(const struct google_flow_options *o, struct http_client *c, json_t **ret,
                           struct err *e)
{
    const char *const form[] = {"client_id", o->client->client_id, "scope", o->scope, NULL};
    struct http_answer a = {0};
    enum google_refusal refusal;
    int r = google_oauth_post(c, url_of(o->device_url, GOOGLE_DEVICE_URL), form, &a, e);
    if (r == 0)
        r = google_oauth_judge_device(a.status, a.body ? (const char *)a.body->data : NULL,
                                      a.body ? a.body->size : 0, ret, &refusal, e);
    http_answer_done(&a);
    return r < 0 ? err_prefix(e, "asking for a device code") : 0;
}

static int64_t number_of(const json_t *j, const char *key, int64_t otherwise, int64_t max)
{
    const json_t *n = json_object_get(j, key);
    if (!json_is_number(n) || json_number_value(n) < 1)
        return otherwise;
    return json_number_value(n) > (double)max ? max : (int64_t)json_number_value(n);
}

static int wait_ms(const struct google_flow_options *o, int64_t ms, struct err *e)
{
    struct pollfd stop = {.fd = o->stop_fd, .events = POLLIN};
    int r = 0;
    if (o->wait)
        r = o->wait(o->talk->arg, ms);
    else if (poll(&stop, 1, (int)ms) > 0)
        r = -ECANCELED;
    return r < 0 ? err_set(e, r, ERR_LATER, "stopped") : 0;
}

int google_poll_next(struct google_poll *p, enum google_refusal refusal, int64_t retry_after_s)
{
    switch (refusal) {
    case GOOGLE_PENDING:
        return 0;
    case GOOGLE_SLOW_DOWN:
        p->interval_ms = MIN(p->interval_ms + SLOW_DOWN_MS, INTERVAL_MAX_MS);
        return 0;
    case GOOGLE_BUSY:
        p->interval_ms = MIN(p->interval_ms * 2, INTERVAL_MAX_MS);
        if (retry_after_s > 0)
            p->interval_ms = MAX(p->interval_ms, MIN(retry_after_s, INTERVAL_MAX_MS / 1000) * 1000);
        return 0;
    case GOOGLE_GRANTED:
    case GOOGLE_DENIED:
    case GOOGLE_TOO_LATE:
    case GOOGLE_GONE:
    case GOOGLE_CLIENT:
    case GOOGLE_POLICY:
    case GOOGLE_REFUSAL_COUNT:
        break;
    }
    return -1;
}

static int run_device(const struct google_flow_options *o, struct http_client *c,
                      struct google_grant *ret, struct err *e)
{
    AUTO_JSON json_t *device = NULL;
    int r = ask_device_code(o, c, &device, e);
    if (r < 0)
        return r;
    const char *code = google_text(device, "device_code", GOOGLE_SECRET_MAX);
    const char *url = google_text(device, "verification_url", 512);
    if (!*url) /* the RFC's name */
        url = google_text(device, "verification_uri", 512);
    int64_t life_s = number_of(device, "expires_in", CODE_LIFE_DEFAULT_S, CODE_LIFE_MAX_S);
    struct google_poll p = {
        1000 * number_of(device, "interval", INTERVAL_DEFAULT_S, INTERVAL_MAX_MS / 1000)};
    struct mono_time end = mono_add_ms(clock_mono(), life_s * 1000);
    o->talk->device_code(o->talk->arg, *url ? url : "https://www.google.com/device",
                         google_text(device, "user_code", 64), life_s);

    const char *const form[] = {"client_id",
                                o->client->client_id,
                                "client_secret",
                                o->client->client_secret,
                                "device_code",
                                code,
                                "grant_type",
                                "urn:ietf:params:oauth:grant-type:device_code",
                                NULL};
    const char *const sent[] = {code, o->client->client_secret, NULL};
    for (bool told = false;;) {
        r = wait_ms(o, p.interval_ms, e);
        if (r < 0)
            return r;
        if (mono_passed(end))
            return err_set(e, -ETIME, ERR_NEVER,
                           "nobody agreed before the code expired: start again");
        enum google_refusal refusal;
        int64_t retry_after_s;
        struct err why = {0};
        r = ask_token(o, c, GOOGLE_ASK_DEVICE_POLL, form, sent, ret, &refusal, &retry_after_s,
                      &why);
        if (r == 0)
            return 0;
        if (r == -ECANCELED || google_poll_next(&p, refusal, retry_after_s) < 0) {
            if (e)
                *e = why;
            return r;
        }
        if (refusal == GOOGLE_BUSY && !told)
            o->talk->note(o->talk->arg, why.text);
        told = refusal == GOOGLE_BUSY;
    }
}

/* ---- the browser's flow ---- */

struct landing { /* where the browser comes back to */
    const char *state;
    char path[256];
    int arrived_fd; /* eventfd */
    pthread_mutex_t lock;
    char target[PASTE_MAX]; /* "" = nobody yet; else an answer to our login */
};

static int exchange(const struct google_flow_options *o, struct http_client *c,
                    const char *const *form, const char *const *sent, struct google_grant *ret,
                    struct err *e);
static void random_text(char ret[RANDOM_MAX]);
static void base64url(const void *data, size_t size, char *ret);
static int place(const struct google_flow_options *o, bool listen, struct landing *l, char uri[512],
                 struct httpd **ret, struct err *e);
static int auth_address(const struct google_flow_options *o, const char *redirect_uri,
                        const char *state, const char *verifier, struct dynbuf *ret, struct err *e);
static int await_code(const struct google_flow_options *o, struct landing *l,
                      char ret[GOOGLE_CODE_MAX], struct err *e);

static int run_browser(const struct google_flow_options *o, bool listen, struct http_client *c,
                       struct google_grant *ret, struct err *e)
{
    char state[RANDOM_MAX], verifier[RANDOM_MAX], redirect_uri[512], code[GOOGLE_CODE_MAX];
    struct landing l = {.state = state, .arrived_fd = -1};
    AUTO(httpd) server = NULL;
    AUTO_DONE(dynbuf) url;
    dynbuf_init(&url, 4096);
    random_text(state);
    random_text(verifier);
    (void)pthread_mutex_init(&l.lock, NULL);
    int r = place(o, listen, &l, redirect_uri, &server, e);
    if (r == 0)
        r = auth_address(o, redirect_uri, state, verifier, &url, e);
    if (r == 0) {
        o->talk->browser(o->talk->arg, dynbuf_str(&url), server ? httpd_port(server) : 0);
        r = await_code(o, &l, code, e);
    }
    if (server)
        httpd_stop(server, 1000); /* the browser shall have its page */
    if (l.arrived_fd >= 0)
        (void)close(l.arrived_fd);
    (void)pthread_mutex_destroy(&l.lock);
    if (r < 0)
        return r;

    const char *const form[] = {"grant_type",
                                "authorization_code",
                                "code",
                                code,
                                "redirect_uri",
                                redirect_uri,
                                "client_id",
                                o->client->client_id,
                                "client_secret",
                                o->client->client_secret,
                                "code_verifier",
                                verifier,
                                NULL};
    const char *const sent[] = {code, verifier, o->client->client_secret, NULL};
    r = exchange(o, c, form, sent, ret, e);
    explicit_bzero(code, sizeof(code));
    explicit_bzero(verifier, sizeof(verifier));
    return r < 0 ? err_prefix(e, "exchanging the code") : 0;
}

/* A person has agreed: that is not to be lost for one failure of the network. */
static int exchange(const struct google_flow_options *o, struct http_client *c,
                    const char *const *form, const char *const *sent, struct google_grant *ret,
                    struct err *e)
{
    for (int tries = 1;; tries++) {
        enum google_refusal refusal;
        int64_t retry_after_s;
        struct err why = {0};
        int r = ask_token(o, c, GOOGLE_ASK_CODE, form, sent, ret, &refusal, &retry_after_s, &why);
        if (r == 0)
            return 0;
        if (r == -ECANCELED || refusal != GOOGLE_BUSY || tries == EXCHANGE_TRIES) {
            if (e)
                *e = why;
            return r;
        }
        o->talk->note(o->talk->arg, why.text);
        int64_t pause_ms = EXCHANGE_AGAIN_MS << (tries - 1);
        if (retry_after_s > 0)
            pause_ms = MAX(pause_ms, MIN(retry_after_s, (int64_t)EXCHANGE_AFTER_MAX_S) * 1000);
        r = wait_ms(o, pause_ms, e);
        if (r < 0)
            return r;
    }
}

static void random_text(char ret[RANDOM_MAX])
{
    uint8_t raw[RANDOM_BYTES];
    hash_random(raw, sizeof(raw));
    base64url(raw, sizeof(raw), ret);
}

static void base64url(const void *data, size_t size, char *ret)
{
    text_base64(data, size, ret);
    ret[strcspn(ret, "=")] = '\0';
    for (char *p = ret; *p; p++)
        *p = (char)(*p == '+' ? '-' : *p == '/' ? '_' : *p);
}

void google_challenge(const char *verifier, char ret[GOOGLE_CHALLENGE_MAX])
{
    uint8_t digest[HASH_SHA256_BYTES];
    hash_sha256(verifier, strlen(verifier), digest);
    base64url(digest, sizeof(digest), ret);
}

static int auth_address(const struct google_flow_options *o, const char *redirect_uri,
                        const char *state, const char *verifier, struct dynbuf *ret, struct err *e)
{
    char challenge[GOOGLE_CHALLENGE_MAX];
    google_challenge(verifier, challenge);
    const char *const pairs[] = {"client_id",
                                 o->client->client_id,
                                 "redirect_uri",
                                 redirect_uri,
                                 "response_type",
                                 "code",
                                 "scope",
                                 o->scope,
                                 "state",
                                 state,
                                 "code_challenge",
                                 challenge,
                                 "code_challenge_method",
                                 "S256",
                                 "access_type",
                                 "offline",
                                 "prompt", /* else only the first consent gives a refresh token */
                                 "consent",
                                 NULL};
    const char *url = url_of(o->auth_url, GOOGLE_AUTH_URL);
    (void)dynbuf_puts(ret, url); /* the buffer remembers a failure */
    for (int i = 0; pairs[i]; i += 2) {
        (void)dynbuf_printf(ret, "%c%s=", i == 0 && !strchr(url, '?') ? '?' : '&', pairs[i]);
        (void)httpc_escape(ret, pairs[i + 1], strlen(pairs[i + 1]));
    }
    return ret->failed ? err_set(e, -ENOSPC, ERR_NEVER, "the address for signing in is too long")
                       : 0;
}

int google_redirect_parse(const char *address, const char *state, char ret[GOOGLE_CODE_MAX],
                          struct err *e)
{
    AUTO_FREE struct http_request *req = xcalloc(1, sizeof(*req));
    char target[PASTE_MAX];
    const char *query = strchr(address, '?');
    size_t len = query ? strcspn(query, "# \t\r\n") : 0;
    if (!query || text_format(target, sizeof(target), "/%.*s", (int)len, query) < 0)
        return err_set(e, -EBADMSG, ERR_NEVER,
                       "that is not the whole address: it has a \"?\" and begins with http://");
    req->method = "GET";
    req->target = target;
    if (http_request_parse(req, NULL) < 0)
        return err_set(e, -EBADMSG, ERR_NEVER, "that is not an address");
    const char *its_state = http_request_query(req, "state");
    if (!its_state || strcmp(its_state, state) != 0)
        return err_set(e, -EBADMSG, ERR_NEVER, "that address belongs to another login");
    const char *no = http_request_query(req, "error");
    if (no) {
        AUTO_JSON json_t *answer = json_pack("{s:o}", "error", js_string(no));
        AUTO_FREE char *text = js_text(answer);
        struct google_grant none;
        enum google_refusal refusal;
        return google_oauth_judge(GOOGLE_ASK_CODE, 400, text, strlen(text), NULL, &none, &refusal,
                                  e);
    }
    const char *code = http_request_query(req, "code");
    if (!code || !*code || !google_is_word(code) || !text_copy(ret, GOOGLE_CODE_MAX, code))
        return err_set(e, -EBADMSG, ERR_NEVER, "that address has no code");
    return 0;
}

/* ---- where the browser comes back to ---- */

static const char page_thanks[] =
    "<!doctype html><meta charset=utf-8><title>Signed in</title>\n"
    "<body style=\"font:1.1em sans-serif;margin:4em auto;max-width:30em\">\n"
    "<h1>Thank you</h1><p>You can close this page. The terminal tells whether the login is "
    "complete.</p>\n";
static const char page_wrong[] =
    "<!doctype html><meta charset=utf-8><title>Not this one</title>\n"
    "<body style=\"font:1.1em sans-serif;margin:4em auto;max-width:30em\">\n"
    "<h1>Not this one</h1><p>This page does not belong to the login that the terminal waits for. "
    "Open the address that it shows.</p>\n";

static void answer(struct http_response *r, int status, const char *page)
{
    AUTO_DONE(dynbuf) text;
    dynbuf_init(&text, 4096);
    (void)dynbuf_puts(&text, page); /* far below the maximum */
    http_response_header(r, "Cache-Control", "no-store");
    http_response_header(r, "Referrer-Policy", "no-referrer");
    http_response_header(r, "Content-Security-Policy",
                         "default-src 'none'; style-src 'unsafe-inline'");
    http_response_text(r, status, "text/html; charset=utf-8", &text);
}

/* On the server's thread. */
static void land(void *arg, const struct http_request *req, struct http_response *ret)
{
    struct landing *l = arg;
    char code[GOOGLE_CODE_MAX];
    size_t len = strcspn(req->target, "?");
    if (!http_request_allowed(req, NULL, ret))
        return;
    if (len != strlen(l->path) || strncmp(req->target, l->path, len) != 0 ||
        strcmp(req->method, "GET") != 0) {
        answer(ret, 404, page_wrong);
    } else if (google_redirect_parse(req->target, l->state, code, NULL) == -EBADMSG) {
        answer(ret, 400, page_wrong);
    } else {
        uint64_t one = 1;
        (void)pthread_mutex_lock(&l->lock);
        if (!*l->target)
            (void)text_copy(l->target, sizeof(l->target), req->target);
        (void)pthread_mutex_unlock(&l->lock);
        (void)!write(l->arrived_fd, &one, sizeof(one)); /* an eventfd takes it */
        answer(ret, 200, page_thanks);
    }
    explicit_bzero(code, sizeof(code));
}

/* "http://localhost:8080/path" into what to listen on and the path. */
static int split_uri(const char *uri, char listen[64], char path[256], struct err *e)
{
    const char *host = uri + strlen("http://");
    size_t len = strcspn(host, "/");
    const char *rest = host + len;
    const char *colon = memchr(host, ':', len);
    if (*host == '[') /* an address of version 6 has colons of its own */
        colon = strstr(host, "]:") ? strstr(host, "]:") + 1 : NULL;
    int r = text_format(path, 256, "%s", *rest ? rest : "/");
    if (r >= 0)
        r = text_format(listen, 64, "%.*s%s", (int)len, host, colon ? "" : ":80");
    return r < 0 ? err_set(e, -EINVAL, ERR_NEVER, "the redirect %s is too long", uri) : 0;
}

static int place(const struct google_flow_options *o, bool listen, struct landing *l, char uri[512],
                 struct httpd **ret, struct err *e)
{
    char where[64];
    (void)text_format(where, sizeof(where), "127.0.0.1:%d", o->port); /* fits */
    (void)text_copy(l->path, sizeof(l->path), "/");
    if (o->client->web) {
        if (!*o->client->redirect_uri)
            return err_set(e, -EINVAL, ERR_NEVER,
                           "no redirect of this web client leads to this machine: add "
                           "http://localhost:8080/ to it in Google's console, or make a client of "
                           "the type \"Desktop app\"");
        int r = split_uri(o->client->redirect_uri, where, l->path, e);
        if (r < 0)
            return r;
        (void)text_copy(uri, 512, o->client->redirect_uri);
        if (!listen)
            return 0;
    }
    /* Without listening nobody needs the port; it is one that leads nowhere on most machines. */
    if (!listen) {
        (void)text_copy(uri, 512, "http://127.0.0.1:48673");
        return 0;
    }
    l->arrived_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (l->arrived_fd < 0)
        return err_errno(e, -errno, "eventfd");
    struct httpd_options options = {
        .listen = where, .connections_max = 16, .thread_name = "login", .handle = land, .arg = l};
    int r = httpd_start(&options, ret, e);
    if (r < 0)
        return err_prefix(e, "waiting for the browser on %s", where);
    if (!o->client->web)
        (void)text_format(uri, 512, "http://127.0.0.1:%d", httpd_port(*ret)); /* fits */
    return 0;
}

/* A line that was pasted: 1 with a code, 0 to go on, or an end. */
static int take_line(const struct google_flow_options *o, const struct landing *l, char *line,
                     char ret[GOOGLE_CODE_MAX], struct err *e)
{
    struct err why = {0};
    size_t blank = strspn(line, " \t\r");
    if (!line[blank])
        return 0;
    int r = google_redirect_parse(line + blank, l->state, ret, &why);
    if (r == 0)
        return 1;
    if (r == -EBADMSG) {
        o->talk->note(o->talk->arg, why.text);
        return 0;
    }
    if (e)
        *e = why;
    return r;
}

struct paste {
    int fd; /* -1 = no more */
    char text[PASTE_MAX];
    size_t len;
};

/* Reads what is there; a terminal gives whole lines. Too long a line is dropped. */
static int take_paste(const struct google_flow_options *o, const struct landing *l, struct paste *p,
                      char ret[GOOGLE_CODE_MAX], struct err *e)
{
    ssize_t n = read(p->fd, p->text + p->len, sizeof(p->text) - 1 - p->len);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return 0;
    bool end = n <= 0;
    p->len += n > 0 ? (size_t)n : 0;
    p->text[p->len] = '\0';
    if (end)
        p->fd = -1;
    int r = 0;
    for (;;) {
        char *stop = memchr(p->text, '\n', p->len);
        if (!stop && !end)
            break;
        size_t len = stop ? (size_t)(stop - p->text) : p->len;
        p->text[len] = '\0';
        r = take_line(o, l, p->text, ret, e);
        if (r != 0 || !stop)
            break;
        p->len -= len + 1;
        memmove(p->text, stop + 1, p->len);
    }
    if (r == 0 && p->len == sizeof(p->text) - 1)
        p->len = 0;
    return r;
}

static int await_code(const struct google_flow_options *o, struct landing *l,
                      char ret[GOOGLE_CODE_MAX], struct err *e)
{
    struct mono_time end = mono_add_ms(clock_mono(), BROWSER_WAIT_MS);
    struct paste p = {.fd = o->paste_fd};
    int r = 0;
    while (r == 0) {
        struct pollfd fds[] = {{.fd = o->stop_fd, .events = POLLIN},
                               {.fd = l->arrived_fd, .events = POLLIN},
                               {.fd = p.fd, .events = POLLIN}};
        if (p.fd < 0 && l->arrived_fd < 0)
            r = err_set(e, -ENODATA, ERR_NEVER, "no address was pasted");
        else if (mono_passed(end))
            r = err_set(e, -ETIME, ERR_NEVER, "nobody came back from the browser: start again");
        else if (poll(fds, ARRAY_LEN(fds), mono_until_ms(end)) < 0)
            continue;
        else if (fds[0].revents)
            r = err_set(e, -ECANCELED, ERR_LATER, "stopped");
        else if (fds[1].revents) {
            (void)pthread_mutex_lock(&l->lock);
            r = google_redirect_parse(l->target, l->state, ret, e);
            (void)pthread_mutex_unlock(&l->lock);
            if (r == 0)
                r = 1;
        } else if (fds[2].revents) {
            r = take_paste(o, l, &p, ret, e);
        }
    }
    explicit_bzero(&p, sizeof(p));
    return r < 0 ? r : 0;
}
