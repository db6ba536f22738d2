#pragma once
/* The HTTP client, and the one door to libcurl.
 *
 * A `struct httpc` runs any number of requests at once behind one descriptor: poll httpc_fd() for
 * reading beside your others and call httpc_process() when it is ready. A `struct httpc_channel` is
 * one partner (a camera, a service): it has one request in flight at a time and keeps what makes
 * the next one cheap, the connection and the digest challenge.
 *
 * One thread owns an httpc with its channels and makes all calls; done callbacks run inside
 * httpc_process() and may start the next request or free the channel. All limits run on monotonic
 * time. Nothing here ever puts a URL's query, a user name or a password into an error text. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/blob.h"
#include "base/err.h"
#include "base/host_list.h"
#include "base/macros.h"

enum httpc_auth {
    HTTPC_AUTH_NONE,
    HTTPC_AUTH_BASIC,  /* sent with the first request, readable on the way unless TLS hides it */
    HTTPC_AUTH_DIGEST, /* waits for a challenge; the password itself never travels */
    HTTPC_AUTH_ANY,    /* the better of what the server offers; basic only over TLS */
    HTTPC_AUTH_COUNT
};

/* Which part of an exchange failed; the caller's counters and texts depend on it. */
enum httpc_failure {
    HTTPC_OK,            /* an answer came, of whatever status */
    HTTPC_FAIL_REQUEST,  /* the request itself is wrong: URL, redirect that is refused */
    HTTPC_FAIL_RESOLVE,  /* no address for the name */
    HTTPC_FAIL_CONNECT,  /* refused, also by a proxy, unreachable, or not within the connect time */
    HTTPC_FAIL_TLS,      /* handshake, certificate or pin */
    HTTPC_FAIL_TIMEOUT,  /* silence or the total time */
    HTTPC_FAIL_TRANSFER, /* cut off, reset, shorter than promised */
    HTTPC_FAIL_REPLY,    /* what came is not HTTP */
    HTTPC_FAIL_SIZE,     /* longer than size_max */
    HTTPC_FAIL_MEMORY,
    HTTPC_FAIL_CANCELED,
    HTTPC_FAILURE_COUNT
};
extern const char *const httpc_failure_names[HTTPC_FAILURE_COUNT]; /* "ok", "request", ... */

/* What a look at an unfinished body says of it. */
enum httpc_look {
    HTTPC_LOOK_MORE,     /* go on */
    HTTPC_LOOK_WOULD_DO, /* go on; if the rest fails to come, what is here is the answer */
    HTTPC_LOOK_ENOUGH,   /* this is the answer: the connection is closed */
};

/* All pointers are borrowed until httpc_start() returns, but `body`, `hosts` and the arguments of
 * sink and look until the request is done. Zeroed members are safe defaults: GET, no login, TLS
 * verified. */
struct httpc_request {
    const char *method; /* NULL = GET; HEAD, POST, PUT, DELETE, ... */
    const char *url;    /* http or https; may hold secrets */
    /* What error texts call the target; NULL: the URL without userinfo and query. Give one when the
     * path holds secrets. Copied. */
    const char *shown;
    const char *const *headers; /* "Name: value", NULL-terminated, or NULL */
    const void *body;           /* NULL = none */
    size_t body_size;

    enum httpc_auth auth;
    const char *user;     /* NULL or "" = none, whatever `auth` says */
    const char *password; /* NULL = "" */

    bool tls_insecure;       /* do not verify chain and name; a pin is still checked */
    bool tls_legacy;         /* TLS 1.0, weak keys and digests allowed */
    const char *tls_ca_file; /* instead of the system's; NULL = the system's */
    const char *tls_pin;     /* "sha256//<base64>" of the public key; NULL = none */

    bool http1_only;   /* no ALPN, no HTTP/2: old devices stumble over both */
    bool http09;       /* accept an answer without a status line (status is then 0) */
    int redirects_max; /* GET and HEAD only; 0 = the 3xx is the answer */
    bool use_proxy;    /* obey the environment's proxy variables; default is to ignore them */
    /* Only addresses in this list are talked to, whatever a name or a redirect leads to; a refusal
     * is -EPERM. NULL = any. */
    const struct host_list *hosts;

    int64_t connect_timeout_ms; /* name, TCP and TLS; 0 = HTTPC_CONNECT_TIMEOUT_MS */
    int64_t stall_timeout_ms;   /* no byte in either direction; 0 = none */
    int64_t total_timeout_ms;   /* 0 = none (downloads: give a stall time) */
    int64_t size_max;           /* bytes of the answer; 0 = HTTPC_SIZE_MAX */

    /* Takes the body of a 2xx answer instead of the response's blob; a negative errno ends the
     * request with it. NULL = collect in memory. */
    int (*sink)(void *arg, const void *bytes, size_t size);
    /* Called once before the sink's first piece, e.g. to see whether a range was granted (206);
     * `etag` is "" when absent. A negative errno ends the request with it. NULL = not wanted. */
    int (*sink_begin)(void *arg, long status, int64_t content_length, const char *etag);
    void *sink_arg;

    /* Looks at the body of a 2xx answer, all of it that came so far, after each piece: for answers
     * without an end. Not together with a sink. NULL = read to the end. */
    enum httpc_look (*look)(void *arg, const void *body, size_t size);
    void *look_arg;
};

#define HTTPC_CONNECT_TIMEOUT_MS 10000
#define HTTPC_SIZE_MAX (64LL << 20) /* more than any answer that we keep in memory */
#define HTTPC_TEXT_MAX 128

/* Borrowed; valid during the done callback. */
struct httpc_response {
    int code; /* 0: an answer came, see status; else negative errno, see failure and error */
    enum httpc_failure failure;
    const struct err *error; /* retry class set; "" when code == 0 */
    const char *shown;       /* the target as error texts call it */
    long status;             /* 0 for HTTP/0.9 */
    struct blob *body;       /* NULL on failure, with a sink, or when empty; ref to keep */
    char content_type[HTTPC_TEXT_MAX]; /* "" when absent */
    int64_t retry_after_s;             /* -1 when absent or not understood */
    int64_t content_length;            /* as the server claims, -1 when it does not */
    int64_t date_s, last_modified_s;   /* Unix time by those headers; -1 likewise */
    bool login_sent;                   /* user and password went out in some form */
    bool offers_digest, offers_basic;  /* of the last 401 */
    int redirects;
    bool sent; /* a connection was there and the request on its way: the server may have acted on it
                */
    double connect_ms; /* until connected (0 on a kept connection) */
    double first_ms;   /* until the first byte of the answer */
    double total_ms;
    void *handle; /* private */
};
/* A header of the answer, by name in any case; the first when there are several, NULL when there is
 * none. Valid during the done callback. */
const char *httpc_response_header(const struct httpc_response *r, const char *name);
typedef void httpc_done_fn(void *arg, const struct httpc_response *r);

struct httpc;
struct httpc_channel;

int httpc_new(struct httpc **ret, struct err *e);
/* Channels still there are cut loose: their running requests end with -ECANCELED inside the call;
 * the channels themselves stay valid only for httpc_channel_free(). */
void httpc_free(struct httpc *h);
/* Memory that all bodies under way may take together; a request that needs more fails with -ENOMEM,
 * ERR_LATER. 0 = no limit. */
void httpc_set_budget(struct httpc *h, int64_t bytes);
int httpc_fd(const struct httpc *h);
/* Never blocks. */
void httpc_process(struct httpc *h);
int httpc_in_flight(const struct httpc *h);

int httpc_channel_new(struct httpc *h, struct httpc_channel **ret, struct err *e);
/* Cancels what runs (done is called with -ECANCELED). */
void httpc_channel_free(struct httpc_channel *c);
DEFINE_AUTO(httpc_channel, httpc_channel_free)
/* Starts a request. 0: done will be called once, never from inside this call. -EBUSY: one is
 * running; -EINVAL, -ENOMEM: said in `e`, done is not called. */
int httpc_start(struct httpc_channel *c, const struct httpc_request *req, httpc_done_fn *done,
                void *arg, struct err *e);
void httpc_cancel(struct httpc_channel *c); /* done is called with -ECANCELED; idle: nothing */

/* One request, waited for, with a client of its own: for the command line. The response's body and
 * error are moved to `ret` members that the caller owns. */
struct httpc_reply {
    long status;
    struct blob *body; /* may be NULL */
    char content_type[HTTPC_TEXT_MAX];
    int64_t content_length;
    int64_t retry_after_s;
};
void httpc_reply_done(struct httpc_reply *r);
int httpc_fetch(const struct httpc_request *req, struct httpc_reply *ret, struct err *e);

/* Appends `len` bytes percent-encoded for a query or path part: all but RFC 3986's unreserved. */
struct dynbuf;
int httpc_escape(struct dynbuf *out, const char *s, size_t len);
/* "scheme://host[:port]/path" without userinfo, query and fragment; "(not a URL)" when it is none.
 * Returns buf. */
const char *httpc_show_url(const char *url, char *buf, size_t size);
