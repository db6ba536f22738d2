#pragma once
/* HTTP requests and responses as plain data, and the rules of RFC 9110 that need no socket:
 * targets, ranges, conditions, and who may ask. Everything here is pure, so that handlers (request
 * -> response) are tested and fuzzed without a listener. sys/httpd.h moves the bytes. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <netinet/in.h>
#include <sys/types.h>

#include "base/blob.h"
#include "base/clock.h"
#include "base/dynbuf.h"
#include "base/err.h"
#include "base/macros.h"

#define HTTP_TARGET_MAX 4096 /* bytes; our longest link, a page with all filters, has about 800 */
#define HTTP_PARTS_MAX 12    /* of a path; our deepest route has 5 */
#define HTTP_QUERY_MAX 32    /* parameters; our richest route has 9 */
#define HTTP_HEADERS_MAX 64  /* browsers send about 20 */
#define HTTP_HEADERS_BYTES_MAX 16384 /* names and values together, a browser's cookies included */
#define HTTP_RESPONSE_HEADERS_MAX 24
#define HTTP_WAIT_KEY_MAX 64

struct http_pair {
    const char *name;
    const char *value; /* "" when there is none */
};

/* Why an answer comes later: the handler is called again, with this in `resumed`, when somebody
 * wakes the key, or at `recheck`. `deadline` is the handler's own. */
struct http_wait {
    char key[HTTP_WAIT_KEY_MAX];
    struct mono_time recheck;
    struct mono_time deadline;
};

/* Who asks. Behind a trusted proxy this is its client, as the proxy says. */
struct http_peer {
    char address[INET6_ADDRSTRLEN]; /* "192.0.2.7", "2001:db8::1", "" = not known */
    bool loopback;                  /* this machine itself, and no proxy spoke for another */
    bool trusted;                   /* a trusted proxy spoke for it */
    bool secure;                    /* over TLS, to us or to the trusted proxy */
};

/* Strings are borrowed from whoever received the request, and from `decoded`: a request must not be
 * copied or moved after http_request_parse(). */
struct http_request {
    const char *method; /* "GET" */
    const char *target; /* as it came: "/api/v1/cameras/Front%20Door?limit=5" */
    struct http_pair headers[HTTP_HEADERS_MAX];
    size_t header_count;
    const void *body;
    size_t body_size;
    struct blob *body_blob; /* the same, for who wants to keep it by a reference; NULL when small */
    struct http_peer peer;

    /* Filled by http_request_parse(). A part may hold any byte but control characters, a slash
     * that came as %2F among them. "/" has no parts; "/a/" has "a" and "". */
    const char *parts[HTTP_PARTS_MAX];
    size_t part_count;
    struct http_pair query[HTTP_QUERY_MAX]; /* decoded, in order */
    size_t query_count;

    const struct http_wait *resumed; /* NULL at the first call */
    bool may_wait; /* false: answer now, too many are waiting or the server is stopping */

    char decoded[HTTP_TARGET_MAX + 2];
};

/* Splits and decodes `target`. 0; -ENAMETOOLONG above HTTP_TARGET_MAX; -EINVAL not a target of
 * ours, with the reason. */
int http_request_parse(struct http_request *req, struct err *e);
/* Whether everybody who reads this request, a proxy before us among them, sees the same headers and
 * the same end of its body. Else what one takes for a body is the next request for the other (RFC
 * 9112, 11.2); no honest client sends such ones. -EINVAL with the reason. */
int http_request_check_framing(const struct http_request *req, struct err *e);
/* First value of a header (any case), or NULL. */
const char *http_request_header(const struct http_request *req, const char *name);
/* First value of a query parameter (exact case), or NULL. */
const char *http_request_query(const struct http_request *req, const char *name);

/* An answer that is made while it is sent, on the server's thread. */
struct http_stream {
    /* Writes at most `size` bytes to `to` and returns how many. 0: nothing now; it is asked again
     * when somebody wakes wait->key, and at wait->recheck. HTTP_STREAM_END: that was all; other
     * negative values break the answer off, so that the client sees that it is not whole. */
    ssize_t (*read)(void *arg, void *to, size_t size, struct http_wait *wait);
    void (*release)(void *arg); /* once, whatever happened */
    void *arg;
    int64_t stall_ms; /* a client that takes nothing of it for so long is cut off */
    bool endless;     /* ends when the server stops; only so many at once */
};
#define HTTP_STREAM_END (-1)
#define HTTP_STREAM_BROKEN (-2)

struct http_response {
    int status;
    const char *content_type; /* static text, NULL without a body */
    struct {
        const char *name; /* static text */
        char *value;      /* owned */
    } headers[HTTP_RESPONSE_HEADERS_MAX];
    size_t header_count;
    struct blob *body;               /* owned, NULL = empty */
    size_t body_offset, body_length; /* the part that is sent */
    struct http_stream stream;       /* owned; instead of a body when its read is set */
    char etag[80];                   /* with its quotes, "" = none */
    bool ranges;                     /* the body may be asked for in part */
    bool waits;                      /* not an answer yet: see `wait` */
    struct http_wait wait;
};

void http_response_init(struct http_response *r);
void http_response_done(struct http_response *r);
/* Adds a header. Bytes that would break the header apart become '_'. */
void http_response_header(struct http_response *r, const char *name, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
/* The answer with these bytes; takes the reference. */
void http_response_blob(struct http_response *r, int status, const char *content_type,
                        struct blob **body);
/* The answer that this stream makes; takes it (release is called in any case). */
void http_response_stream(struct http_response *r, int status, const char *content_type,
                          const struct http_stream *stream);
/* The answer with this text; takes the buffer's content. A buffer that failed (its maximum or no
 * memory) makes a 500. */
void http_response_text(struct http_response *r, int status, const char *content_type,
                        struct dynbuf *text);
/* {"error":{"code":"...","message":"..."}} in place of whatever was there, headers included. */
void http_response_error(struct http_response *r, int status, const char *code, const char *fmt,
                         ...) PRINTF_LIKE(4, 5);
/* The same with one more member of "error" that helps programs, e.g. "parameter": "limit". */
void http_response_error_about(struct http_response *r, int status, const char *code,
                               const char *name, const char *value, const char *fmt, ...)
    PRINTF_LIKE(6, 7);

/* True when the request's If-None-Match knows this tag: then a 304 needs no body at all. */
bool http_request_has_tag(const struct http_request *req, const char *etag);
/* The last step of every answer: conditions, ranges, and the headers that all answers carry. */
void http_response_finish(const struct http_request *req, struct http_response *r);

/* A server that asks nobody for a login must know that no foreign web page speaks through the
 * user's browser. True, or false with a 403 (400 for a malformed Host) in `r`:
 * - Host must be an address, localhost, or one of `names` (NULL-terminated, or NULL): a name that
 *   an attacker points to 127.0.0.1 is none of them (DNS rebinding).
 * - A request that changes something must come from no page (no Origin) or from our own.
 * - A page of others may link to us, and use nothing of ours (browsers that say so: all of today,
 *   over TLS and to the machine itself). */
bool http_request_allowed(const struct http_request *req, const char *const *names,
                          struct http_response *r);

/* Percent-encodes everything but RFC 3986's unreserved characters. */
int http_escape(struct dynbuf *out, const char *s);
