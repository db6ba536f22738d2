#pragma once
/* Who asks, and whether he may. On the machine itself everybody is an admin until `login = always`;
 * from elsewhere, and through a proxy, a login is required: a session (cookie), a token
 * (Authorization: Bearer), or a name that a trusted proxy vouches for.
 *
 * A proxy on this machine makes strangers look near. So one that says it is a proxy (any header of
 * forwarding) is no loopback client, nor is anybody while trusted_proxies is set. A proxy that says
 * nothing cannot be told from a person at the machine: behind it `login = always` is needed.
 *
 * Belongs to the web thread. The database is opened when somebody shows a credential, so without
 * users it costs nothing. */

#include <stdbool.h>
#include <stdint.h>

#include "sys/http_message.h"
#include "web/access_db.h"
#include "web/access_hash.h"

struct access;

enum access_how {
    ACCESS_BY_NOTHING,
    ACCESS_BY_LOOPBACK,
    ACCESS_BY_SESSION,
    ACCESS_BY_TOKEN,
    ACCESS_BY_PROXY,
    ACCESS_HOW_COUNT
};
extern const char *const access_how_names[ACCESS_HOW_COUNT]; /* "" for nothing */

/* Plain data, may be copied: an event stream keeps one. */
struct access_who {
    char user[ACCESS_NAME_MAX]; /* of a token its name; "" = nobody, or whoever is at the machine */
    enum access_role role;
    enum access_how how;
    unsigned scopes;                 /* of a token */
    int64_t session;                 /* its row */
    char token[ACCESS_TOKEN_ID_MAX]; /* its id */
    char csrf[HASH_SHA256_HEX];      /* what changes have to bring; "" = nothing */
    char address[ACCESS_ADDRESS_MAX];
    bool login_required; /* without a credential this client gets nothing */
    bool refused;        /* a credential was shown and is not, or no longer, good */
};

/* What a route asks of whoever comes; see doc/api.md ("Who may ask"). */
enum web_access {
    WEB_UNSAID, /* a row that forgot: admins only */
    WEB_OPEN,   /* anybody */
    WEB_VIEW,   /* viewers and admins; scope read */
    WEB_TRIGGER,
    WEB_PUSH,
    WEB_MANAGE,  /* these three: admins; the scope of that name */
    WEB_ADMIN,   /* admins, and never a token: a leaked one must not make itself at home */
    WEB_METRICS, /* as WEB_VIEW, or anybody by metrics_open */
    WEB_ACCESS_COUNT
};

struct access_options {
    const char *path; /* of access.db */
    bool login_always;
    bool behind_proxy; /* trusted_proxies is not empty */
    bool metrics_open;
    const char *proxy_user_header; /* "" or NULL = a proxy vouches for nobody */
    enum access_role proxy_role;   /* of names that are no users here */
    int64_t session_idle_ms, session_max_ms;
    /* For answers that wait for a hash: httpd_wake(). NULL in tests. */
    void (*wake)(void *arg, const char *key);
    void *wake_arg;
};

#define ACCESS_SESSION_IDLE_MS ((int64_t)86400000)
#define ACCESS_SESSION_MAX_MS (30 * (int64_t)86400000)

/* Strings are copied. Opens nothing. */
struct access *access_new(const struct access_options *o);
void access_free(struct access *a);
DEFINE_AUTO(access, access_free)

/* `a` NULL: no users, no sessions; whoever is at the machine is an admin, all others nobody. */
void access_identify(struct access *a, const struct http_request *req, struct access_who *ret);
/* Whether he may; else a 401 or 403 in `ret`. `changes`: the request is no GET. */
bool access_permits(struct access *a, const struct access_who *who, enum web_access need,
                    bool changes, const struct http_request *req, struct http_response *ret);
/* Whether he still is who he was: for what goes on longer than a request. */
bool access_still(struct access *a, const struct access_who *who);
/* A stream that ends, within ACCESS_GUARD_MS and the time between two of its reads, when whoever
 * reads it may no longer come in. Takes what is in `stream`. */
#define ACCESS_GUARD_MS 10000
void access_guard_stream(struct access *a, const struct access_who *who,
                         struct http_stream *stream);

/* ---- for the routes of web/access_*.c ---- */

/* The database, opened; NULL without one (no user was ever added), or with `e` filled (code). */
struct access_db *access_database(struct access *a, bool create, struct err *e);
struct access_hash *access_hasher(struct access *a);
/* A guess at this name from this address: 0, or milliseconds until the next may come. */
int64_t access_try(struct access *a, const struct access_who *who, const char *user);
void access_tried_well(struct access *a, const struct access_who *who, const char *user);
void access_count_login(const char *result); /* in the metric */
/* Adds a row to the audit log when there is a database, and a line to the log. A failure is logged
 * and passes: no book-keeping stops a login. */
void access_audit(struct access *a, const struct access_who *who, enum access_event_kind kind,
                  const char *what, const char *fmt, ...) PRINTF_LIKE(5, 6);
/* Begins a session: the cookie in `ret`, who he is now in `who`. */
int access_begin_session(struct access *a, const struct http_request *req, const char *user,
                         enum access_role role, struct access_who *who, struct http_response *ret,
                         struct err *e);
void access_end_session(struct access *a, const struct http_request *req, struct access_who *who,
                        struct http_response *ret);
/* HMAC of a text with the key of signed links, hex. */
int access_sign(struct access *a, const char *text, char ret[HASH_SHA256_HEX], struct err *e);

void access_register_metrics(void);
