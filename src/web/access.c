#include "web/access.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/text.h"
#include "web/access_limit.h"

/* Tries at a login: five at once, then ten a minute and address, 14,400 a day; and for a name from
 * all addresses together, which slows down who has many. A typist never meets them. */
#define ADDRESS_BURST 5
#define ADDRESS_REFILL_MS 6000
#define NAME_BURST 20
#define NAME_REFILL_MS 3000
/* From where somebody has logged in under a name, its own limit does not count: else many strangers
 * could keep the owner out. */
#define KNOWN_MAX 64
/* Each use of a session or token is not worth a write to the disk. */
#define SEEN_EVERY_MS 60000

#define COOKIE_PLAIN "snapshotd"
/* Browsers take a name with this prefix only over TLS, for this host and all of its paths, so no
 * neighbour under the same domain can plant one. RFC 6265bis, 4.1.3.2. */
#define COOKIE_SECURE "__Host-snapshotd"

struct access {
    char *path;
    bool login_always, behind_proxy, metrics_open;
    char *proxy_user_header; /* "" = none */
    enum access_role proxy_role;
    int64_t session_idle_ms, session_max_ms;
    struct access_db *db; /* NULL before it is needed */
    dev_t dev;            /* which file it is */
    ino_t ino;
    struct access_limit *by_address, *by_name; /* NULL before the first try */
    uint64_t known[KNOWN_MAX]; /* names with the addresses of their last good logins */
    size_t known_next;
    struct access_hash *hash;
};

const char *const access_how_names[ACCESS_HOW_COUNT] = {"", "loopback", "session", "token",
                                                        "proxy"};

static struct metric denied = {
    .name = "snapshotd_http_denied_total",
    .kind = METRIC_COUNTER,
    .label = "reason",
    .help = "Requests that were refused: login (nobody, or a credential that is not good), role "
            "(may not do that), csrf",
};
static struct metric logins = {
    .name = "snapshotd_http_logins_total",
    .kind = METRIC_COUNTER,
    .label = "result",
    .help = "Logins with a password: ok, wrong, limited (too many tries), busy",
};

void access_register_metrics(void)
{
    metric_register(&denied);
    metric_register(&logins);
}

struct access *access_new(const struct access_options *o)
{
    access_register_metrics();
    struct access *a = xcalloc(1, sizeof(*a));
    a->path = xstrdup(o->path);
    a->login_always = o->login_always;
    a->behind_proxy = o->behind_proxy;
    a->metrics_open = o->metrics_open;
    a->proxy_user_header = xstrdup(o->proxy_user_header ? o->proxy_user_header : "");
    a->proxy_role = o->proxy_role;
    a->session_idle_ms = o->session_idle_ms > 0 ? o->session_idle_ms : ACCESS_SESSION_IDLE_MS;
    a->session_max_ms = o->session_max_ms > 0 ? o->session_max_ms : ACCESS_SESSION_MAX_MS;
    a->hash = access_hash_new(o->wake, o->wake_arg);
    return a;
}

void access_free(struct access *a)
{
    if (!a)
        return;
    access_hash_free(a->hash);
    access_limit_free(a->by_address);
    access_limit_free(a->by_name);
    access_db_close(a->db);
    free(a->proxy_user_header);
    free(a->path);
    free(a);
}

struct access_hash *access_hasher(struct access *a)
{
    return a->hash;
}

/* A file that was removed, or put back from a backup, counts from the next request on. */
struct access_db *access_database(struct access *a, bool create, struct err *e)
{
    struct stat st;
    err_clear(e);
    if (!a) {
        (void)err_set(e, -ENOTSUP, ERR_NEVER, "this server keeps no users");
        return NULL;
    }
    bool there = stat(a->path, &st) == 0;
    if (a->db && (!there || st.st_dev != a->dev || st.st_ino != a->ino)) {
        access_db_close(a->db);
        a->db = NULL;
    }
    if (a->db || (!there && !create))
        return a->db;
    if (access_db_open(a->path, create, &a->db, e) < 0)
        return NULL;
    if (stat(a->path, &st) == 0) {
        a->dev = st.st_dev;
        a->ino = st.st_ino;
    }
    return a->db;
}

/* ---- who ---- */

/* Proxies say so; all of these, because none is said by all of them. */
static const char *const forwarding[] = {
    "Forwarded",          "X-Forwarded-For",  "X-Forwarded-Proto", "X-Forwarded-Host",
    "X-Forwarded-Server", "X-Forwarded-Port", "X-Real-IP",         "X-Client-IP",
    "X-Original-URL",     "True-Client-IP",   "CF-Connecting-IP",  "Via"};

static bool is_forwarded(const struct http_request *req)
{
    for (size_t i = 0; i < ARRAY_LEN(forwarding); i++)
        if (http_request_header(req, forwarding[i]))
            return true;
    return false;
}

static bool is_at_the_machine(const struct access *a, const struct http_request *req)
{
    return req->peer.loopback && !req->peer.trusted && !(a && a->behind_proxy) &&
           !is_forwarded(req);
}

static bool may_come_in(const struct access *a, const struct http_request *req)
{
    return is_at_the_machine(a, req) && !(a && a->login_always);
}

/* A failure of the database lets nobody in. */
static struct access_db *database_to_read(struct access *a)
{
    struct err e;
    struct access_db *d = a ? access_database(a, false, &e) : NULL;
    if (a && !d && e.code)
        log_error("access-failed", "who may come in cannot be read: %s", e.text);
    return d;
}

static void say_failed(const char *what, int r, const struct err *e)
{
    if (r < 0 && r != -ENOENT)
        log_error("access-failed", "%s: %s", what, e->text);
}

static bool is_due(struct wall_time seen)
{
    int64_t since = clock_wall().us - seen.us;
    return since < 0 || since >= SEEN_EVERY_MS * 1000;
}

/* True when the request names a token at all. */
static bool by_token(struct access *a, const struct http_request *req, struct access_who *who)
{
    const char *text = http_request_header(req, "Authorization");
    if (!text || strncasecmp(text, "Bearer ", 7) != 0)
        return false; /* a proxy's own password goes on to us, too */
    text += 7;
    text += strspn(text, " ");
    struct access_db *d = strlen(text) < ACCESS_SECRET_MAX ? database_to_read(a) : NULL;
    struct access_token t;
    struct err e;
    int r = d ? access_token_get(d, text, &t, &e) : -ENOENT;
    who->refused = r < 0;
    if (r < 0) {
        say_failed("token", r, &e);
        return true;
    }
    who->how = ACCESS_BY_TOKEN;
    who->scopes = t.scopes;
    (void)text_copy(who->user, sizeof(who->user), t.name);
    (void)text_copy(who->token, sizeof(who->token), t.id);
    if (is_due(t.used_at))
        say_failed("token's last use", access_token_used(d, t.id, &e), &e);
    return true;
}

static const char *cookie_name(const struct http_request *req)
{
    return req->peer.secure ? COOKIE_SECURE : COOKIE_PLAIN;
}

/* The value of our cookie, "" when there is none. Browsers send one Cookie line. */
static const char *cookie_value(const struct http_request *req, char buf[ACCESS_SECRET_MAX])
{
    const char *name = cookie_name(req), *at = http_request_header(req, "Cookie");
    size_t len = strlen(name);
    buf[0] = '\0';
    while (at && *at) {
        at += strspn(at, "; \t");
        size_t item = strcspn(at, ";");
        if (item > len && item - len - 1 < ACCESS_SECRET_MAX && at[len] == '=' &&
            strncmp(at, name, len) == 0) {
            memcpy(buf, at + len + 1, item - len - 1);
            buf[item - len - 1] = '\0';
            break;
        }
        at += item;
    }
    return buf;
}

/* Out of the cookie, so that it need not be kept, and nobody without the cookie can make it. */
static void csrf_of(const char *secret, const char *about, char ret[HASH_SHA256_HEX])
{
    uint8_t mac[HASH_SHA256_BYTES];
    hash_hmac_sha256(secret, strlen(secret), about, strlen(about), mac);
    text_hex(mac, sizeof(mac), ret);
}

static bool is_over(const struct access *a, const struct access_session *s)
{
    int64_t now = clock_wall().us;
    return now - s->created_at.us >= a->session_max_ms * 1000 ||
           now - s->seen_at.us >= a->session_idle_ms * 1000;
}

static bool by_session(struct access *a, const struct http_request *req, struct access_who *who)
{
    char text[ACCESS_SECRET_MAX];
    if (!*cookie_value(req, text))
        return false;
    struct access_db *d = database_to_read(a);
    struct access_session s;
    struct err e;
    int r = d ? access_session_get(d, text, &s, &e) : -ENOENT;
    if (r == 0 && is_over(a, &s)) {
        say_failed("old session", access_session_end(d, s.row, &e), &e);
        r = -ENOENT;
    }
    if (r == 0) {
        who->how = ACCESS_BY_SESSION;
        who->role = s.role;
        who->session = s.row;
        (void)text_copy(who->user, sizeof(who->user), s.user);
        csrf_of(text, "csrf", who->csrf);
        if (is_due(s.seen_at))
            say_failed("session", access_session_seen(d, s.row, &e), &e);
    } else {
        say_failed("session", r, &e);
        who->refused = true;
    }
    explicit_bzero(text, sizeof(text));
    return r == 0;
}

/* The one value of a header, NULL when there is none, or several: then somebody has added his own
 * to that of the proxy. */
static const char *only_header(const struct http_request *req, const char *name)
{
    const char *found = NULL;
    for (size_t i = 0; i < req->header_count; i++) {
        if (!text_equal_nocase(req->headers[i].name, name))
            continue;
        if (found)
            return NULL;
        found = req->headers[i].value;
    }
    return found;
}

/* Of a name that the proxy vouches for; nobody when that cannot be read. */
static enum access_role proxy_role(struct access *a, const char *name)
{
    struct access_user u = {.role = a->proxy_role};
    struct err e;
    struct access_db *d = access_database(a, false, &e);
    int r = d ? access_user_get(d, name, &u, &e) : e.code ? e.code : -ENOENT;
    say_failed("user", r, &e);
    explicit_bzero(u.hash, sizeof(u.hash));
    if (r == -ENOENT)
        return a->proxy_role;
    return r < 0 ? ACCESS_NOBODY : u.role;
}

static bool by_proxy(struct access *a, const struct http_request *req, struct access_who *who)
{
    if (!a || !a->proxy_user_header[0] || !req->peer.trusted)
        return false;
    const char *name = only_header(req, a->proxy_user_header);
    if (!name || !name[0])
        return false;
    who->refused = true;
    if (!access_name_valid(name))
        return false;
    enum access_role role = proxy_role(a, name);
    struct err e;
    if (role == ACCESS_NOBODY)
        return false;
    /* His cookie is the proxy's and comes by itself, so changes need a word of ours. */
    char about[ACCESS_NAME_MAX + 8];
    (void)text_format(about, sizeof(about), "proxy:%s", name); /* fits */
    if (access_sign(a, about, who->csrf, &e) < 0) {
        say_failed("key", e.code, &e);
        return false;
    }
    who->refused = false;
    who->how = ACCESS_BY_PROXY;
    who->role = role;
    (void)text_copy(who->user, sizeof(who->user), name);
    return true;
}

void access_identify(struct access *a, const struct http_request *req, struct access_who *ret)
{
    *ret = (struct access_who){.login_required = !may_come_in(a, req)};
    (void)text_copy(ret->address, sizeof(ret->address), req->peer.address); /* the same size */
    if (by_token(a, req, ret) || by_session(a, req, ret) || by_proxy(a, req, ret))
        return;
    if (!ret->login_required) {
        ret->how = ACCESS_BY_LOOPBACK;
        ret->role = ACCESS_ADMIN;
        ret->refused = false;
    }
}

bool access_still(struct access *a, const struct access_who *who)
{
    struct access_db *d;
    struct access_token t;
    struct access_session s;
    struct err e;
    switch (who->how) {
    case ACCESS_BY_LOOPBACK:
        return true;
    case ACCESS_BY_PROXY:
        return proxy_role(a, who->user) >= who->role;
    case ACCESS_BY_TOKEN:
        d = database_to_read(a);
        return d && access_token_get_by_id(d, who->token, &t, &e) == 0 &&
               (t.expires_at.us == 0 || t.expires_at.us > clock_wall().us);
    case ACCESS_BY_SESSION:
        d = database_to_read(a);
        return d && access_session_find(d, who->session, &s, &e) == 0 && !is_over(a, &s) &&
               s.role >= who->role;
    case ACCESS_BY_NOTHING:
    case ACCESS_HOW_COUNT:
        break;
    }
    return false;
}

/* ---- streams ---- */

struct guard {
    struct access *access;
    struct access_who who;
    struct mono_time look_at;
    struct http_stream inner;
    ssize_t end; /* what its reader is told then */
};

static ssize_t guard_read(void *arg, void *to, size_t size, struct http_wait *wait)
{
    struct guard *g = arg;
    if (mono_passed(g->look_at)) {
        if (!access_still(g->access, &g->who))
            return g->end;
        g->look_at = mono_add_ms(clock_mono(), ACCESS_GUARD_MS);
    }
    return g->inner.read(g->inner.arg, to, size, wait);
}

static void guard_release(void *arg)
{
    struct guard *g = arg;
    g->inner.release(g->inner.arg);
    free(g);
}

void access_guard_stream(struct access *a, const struct access_who *who, struct http_stream *stream)
{
    struct guard *g = xcalloc(1, sizeof(*g));
    g->access = a;
    g->who = *who;
    g->look_at = mono_add_ms(clock_mono(), ACCESS_GUARD_MS);
    g->inner = *stream;
    g->end = stream->endless ? HTTP_STREAM_END : HTTP_STREAM_BROKEN; /* a file is not whole */
    stream->read = guard_read;
    stream->release = guard_release;
    stream->arg = g;
}

/* ---- whether ---- */

static unsigned scope_for(enum web_access need)
{
    switch (need) {
    case WEB_VIEW:
    case WEB_METRICS:
        return ACCESS_READ;
    case WEB_TRIGGER:
        return ACCESS_TRIGGER;
    case WEB_PUSH:
        return ACCESS_PUSH;
    case WEB_MANAGE:
        return ACCESS_MANAGE;
    case WEB_UNSAID:
    case WEB_OPEN:
    case WEB_ADMIN:
    case WEB_ACCESS_COUNT:
        break;
    }
    return 0;
}

static bool has_right(const struct access_who *who, enum web_access need)
{
    if (who->how == ACCESS_BY_TOKEN)
        return (who->scopes & scope_for(need)) != 0;
    bool looks = need == WEB_VIEW || need == WEB_METRICS;
    return who->role >= (looks ? ACCESS_VIEWER : ACCESS_ADMIN);
}

static void refuse_stranger(const struct access_who *who, struct http_response *ret)
{
    metric_inc(&denied, "login");
    if (who->refused)
        http_response_error(ret, 401, "login-required",
                            "this login or token is not, or no longer, good: log in again");
    else
        http_response_error(ret, 401, "login-required",
                            "a login is required: POST /api/v1/login, or a token in "
                            "'Authorization: Bearer ...' ('snapshotd token add' makes one, our "
                            "commands take it from $SNAPSHOTD_TOKEN)");
    http_response_header(ret, "WWW-Authenticate", "Bearer realm=\"snapshotd\"");
}

static void refuse_right(const struct access_who *who, enum web_access need,
                         struct http_response *ret)
{
    metric_inc(&denied, "role");
    const char *scope = access_scope_name(scope_for(need));
    if (who->how != ACCESS_BY_TOKEN)
        http_response_error(ret, 403, "not-allowed", "only an admin may do this");
    else if (scope)
        http_response_error(ret, 403, "not-allowed", "this needs a token with the scope '%s'",
                            scope);
    else
        http_response_error(ret, 403, "not-allowed",
                            "no token may do this: log in as an admin, or use the commands "
                            "snapshotd user and snapshotd token");
}

static bool brings_word(const struct access_who *who, const struct http_request *req)
{
    const char *word = http_request_header(req, "X-CSRF-Token");
    size_t len = strlen(who->csrf);
    return word && strlen(word) == len && passwd_same(word, who->csrf, len);
}

bool access_permits(struct access *a, const struct access_who *who, enum web_access need,
                    bool changes, const struct http_request *req, struct http_response *ret)
{
    if (need == WEB_OPEN)
        return true;
    if (need == WEB_METRICS && a && a->metrics_open)
        return true;
    if (who->how == ACCESS_BY_NOTHING) {
        refuse_stranger(who, ret);
        return false;
    }
    if (!has_right(who, need)) {
        refuse_right(who, need, ret);
        return false;
    }
    if (changes && who->csrf[0] && !brings_word(who, req)) {
        metric_inc(&denied, "csrf");
        http_response_error(
            ret, 403, "csrf",
            "the header X-CSRF-Token must have what GET /api/v1/session calls csrf");
        return false;
    }
    return true;
}

/* ---- tries ---- */

/* The owner of an IPv6 address has at least 2^64 of them: they count as one. */
static void address_key(const char *address, char ret[64])
{
    struct in6_addr v6;
    char hex[2 * 8 + 1];
    if (inet_pton(AF_INET6, address, &v6) != 1) {
        (void)text_format(ret, 64, "%s", address); /* fits */
        return;
    }
    text_hex(&v6, 8, hex);
    (void)text_format(ret, 64, "%s::/64", hex); /* fits */
}

static uint64_t pair_of(const char *user, const char *address)
{
    char text[ACCESS_NAME_MAX + 72];
    (void)text_format(text, sizeof(text), "%s@%s", user, address); /* fits */
    return hash_64(text, strlen(text));
}

static bool is_known(const struct access *a, uint64_t pair)
{
    for (size_t i = 0; i < KNOWN_MAX; i++)
        if (a->known[i] == pair)
            return true;
    return false;
}

int64_t access_try(struct access *a, const struct access_who *who, const char *user)
{
    char key[64];
    if (!a->by_address) {
        a->by_address = access_limit_new(ADDRESS_BURST, ADDRESS_REFILL_MS);
        a->by_name = access_limit_new(NAME_BURST, NAME_REFILL_MS);
    }
    address_key(who->address, key);
    int64_t wait_ms = access_limit_take(a->by_address, key);
    if (wait_ms == 0 && !is_known(a, pair_of(user, key)))
        wait_ms = access_limit_take(a->by_name, user);
    if (wait_ms > 0)
        metric_inc(&logins, "limited");
    return wait_ms;
}

void access_tried_well(struct access *a, const struct access_who *who, const char *user)
{
    char key[64];
    address_key(who->address, key);
    access_limit_forgive(a->by_address, key);
    uint64_t pair = pair_of(user, key);
    if (is_known(a, pair))
        return;
    access_limit_forgive(a->by_name, user);
    a->known[a->known_next++ % KNOWN_MAX] = pair;
}

void access_count_login(const char *result)
{
    metric_inc(&logins, result);
}

/* ---- sessions ---- */

int access_begin_session(struct access *a, const struct http_request *req, const char *user,
                         enum access_role role, struct access_who *who, struct http_response *ret,
                         struct err *e)
{
    struct access_db *d = access_database(a, false, e);
    if (!d)
        return e->code ? e->code : err_set(e, -ENOENT, ERR_NEVER, "there is no user");
    char text[ACCESS_SECRET_MAX];
    struct wall_time oldest = {clock_wall().us - a->session_max_ms * 1000};
    int r = access_session_add(d, user, who->address, oldest, text, e);
    struct access_session s;
    if (r == 0)
        r = access_session_get(d, text, &s, e);
    if (r < 0)
        return r;
    who->how = ACCESS_BY_SESSION;
    who->role = role;
    who->session = s.row;
    who->refused = false;
    (void)text_copy(who->user, sizeof(who->user), user); /* the same size */
    csrf_of(text, "csrf", who->csrf);
    http_response_header(ret, "Set-Cookie",
                         "%s=%s; Path=/; Max-Age=%lld; HttpOnly; SameSite=Strict%s",
                         cookie_name(req), text, (long long)(a->session_max_ms / 1000),
                         req->peer.secure ? "; Secure" : "");
    explicit_bzero(text, sizeof(text));
    return 0;
}

void access_end_session(struct access *a, const struct http_request *req, struct access_who *who,
                        struct http_response *ret)
{
    struct err e;
    struct access_db *d = database_to_read(a);
    if (who->how == ACCESS_BY_SESSION && d)
        say_failed("logout", access_session_end(d, who->session, &e), &e);
    http_response_header(ret, "Set-Cookie", "%s=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict%s",
                         cookie_name(req), req->peer.secure ? "; Secure" : "");
}

int access_sign(struct access *a, const char *text, char ret[HASH_SHA256_HEX], struct err *e)
{
    struct access_db *d = access_database(a, true, e);
    if (!d)
        return e->code;
    uint8_t key[HASH_SHA256_BYTES];
    int r = access_key(d, key, e);
    if (r < 0)
        return r;
    hash_hmac_sha256(key, sizeof(key), text, strlen(text), key);
    text_hex(key, sizeof(key), ret);
    explicit_bzero(key, sizeof(key));
    return 0;
}

/* ---- the audit log ---- */

void access_audit(struct access *a, const struct access_who *who, enum access_event_kind kind,
                  const char *what, const char *fmt, ...)
{
    struct access_event ev = {.kind = kind};
    char words[ACCESS_WORDS_MAX];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(words, sizeof(words), fmt, ap); /* cut is fine */
    va_end(ap);
    text_escape(words, strlen(words), ev.detail, sizeof(ev.detail)); /* names come from outside */
    (void)text_copy(ev.who, sizeof(ev.who), who->user);              /* the same sizes */
    (void)text_copy(ev.address, sizeof(ev.address), who->address);
    (void)text_copy(ev.how, sizeof(ev.how), access_how_names[who->how]);
    (void)text_copy(ev.what, sizeof(ev.what), what); /* ours, short */
    log_notice(what, "%s%s%s%s%s", ev.who[0] ? ev.who : "somebody", ev.address[0] ? " from " : "",
               ev.address, ev.detail[0] ? ": " : "", ev.detail);
    struct err e;
    struct access_db *d = database_to_read(a);
    if (d)
        say_failed("audit log", access_audit_add(d, &ev, &e), &e);
}
