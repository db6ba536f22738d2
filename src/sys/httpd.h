#pragma once
/* An HTTP server on one thread of its own, and the one door to libmicrohttpd.
 *
 * The handler is called on that thread, one request at a time, with the whole request in hand, so
 * it must not block for longer than a database read. An answer that has to wait for something says
 * so (response->waits) and the handler is called again when httpd_wake() names the key, or at the
 * recheck time; nothing else stands still meanwhile. An answer may also be a stream, which is made
 * while it is sent, at the pace of its reader (struct http_stream).
 *
 * Nobody who connects can take more than his share: connections, the time for a whole request, its
 * headers and its body are bounded, and when all connections are taken the one that has been silent
 * for longest makes room for a new one. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/host_list.h"
#include "base/macros.h"
#include "sys/http_message.h"

#define HTTPD_CONNECTIONS_MAX 128
#define HTTPD_REQUEST_TIMEOUT_MS 15000
#define HTTPD_BODY_MAX 65536
#define HTTPD_BODY_RATE 65536 /* bytes a second; a camera on bad Wi-Fi has more */
/* Of all requests together. */
#define HTTPD_BODIES_MAX ((size_t)64 << 20)

struct httpd;

struct httpd_options {
    const char *listen;  /* "127.0.0.1:8080", "[::1]:0", "localhost:8080"; port 0 = any free one */
    int connections_max; /* 0 = HTTPD_CONNECTIONS_MAX */
    int waiting_max;     /* requests that wait at once; 0 = half of the connections */
    int streams_max;     /* endless answers at once; likewise */
    /* How large the body of this request may be, for those that may have more than HTTPD_BODY_MAX.
     * Called with the headers alone, so that nobody who is refused anyway sends megabytes first: an
     * answer in `ret` is that refusal. Likewise on the server's thread. NULL: none may. */
    size_t (*body_max)(void *arg, const struct http_request *req, struct http_response *ret);
    /* From the request line to the end of a request (longer for a large body, as long as it comes
     * faster than HTTPD_BODY_RATE), silence before it, and silence while an answer is sent. 0 =
     * HTTPD_REQUEST_TIMEOUT_MS */
    int64_t request_timeout_ms;
    /* Certificate and key in PEM form, for TLS and nothing else; NULL = without. */
    const char *cert_file, *key_file;
    const struct host_list *trusted_proxies; /* whose word about their clients counts; or NULL */
    const char *thread_name;                 /* shown in logs, at most 15 bytes; static text */
    void (*handle)(void *arg, const struct http_request *req, struct http_response *ret);
    void *arg;
};

/* Listens and starts the thread; the handler may run, and use *ret, before this returns. -EINVAL a
 * bad address; -EADDRINUSE and its like as the system says them. */
int httpd_start(const struct httpd_options *options, struct httpd **ret, struct err *e);
int httpd_port(const struct httpd *h); /* the bound one */
/* Calls the handler again for each request that waits for this key. Any thread; never blocks. */
void httpd_wake(struct httpd *h, const char *key);
/* Takes the certificate of these files for connections that begin from now on. -EINVAL, or why they
 * cannot be read: the one before goes on. -ENOTSUP: the server speaks no TLS. Any thread. */
int httpd_renew(struct httpd *h, const char *cert_file, const char *key_file, struct err *e);
/* No new connections; requests that wait are asked for an answer now (may_wait is false), answers
 * on their way may take grace_ms; then everything is closed and the thread joined. May be called
 * twice, by one thread. */
void httpd_stop(struct httpd *h, int grace_ms);
void httpd_free(struct httpd *h);
DEFINE_AUTO(httpd, httpd_free)

/* For gauges. Any thread. */
struct httpd_numbers {
    int connections, waiting, streams;
    size_t body_bytes; /* of large bodies that are here or on their way */
    uint64_t accepted; /* connections so far */
    uint64_t too_slow; /* closed: no whole request in time */
    uint64_t evicted;  /* closed to make room */
};
void httpd_get_numbers(struct httpd *h, struct httpd_numbers *ret);

/* "127.0.0.1:8080", "[::1]:8080", "0.0.0.0:8080", "localhost:8080" (IPv4). No other names: what a
 * server listens on must not depend on a resolver. */
struct httpd_endpoint {
    struct sockaddr_storage address;
    socklen_t address_size;
    bool loopback;
    int port;
};
int httpd_endpoint_parse(const char *text, struct httpd_endpoint *ret, struct err *e);
