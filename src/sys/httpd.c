/* How the thread works. libmicrohttpd is driven from outside: we poll its epoll descriptor together
 * with our own event descriptor, and call MHD_run(). So everything that concerns a connection
 * happens on one thread: handlers, waits, wake-ups and time limits need no lock and no second
 * thread for a timer. Only the list of keys to wake is shared.
 *
 * The library's own limit is a silence (a client that sends a byte now and then never meets it), so
 * each connection carries the time since when we wait for a whole request; who exceeds it is shut
 * down at the socket, and the library sees an ordinary end.
 *
 * The library decodes "%00" in place and cuts there; therefore the target is copied in its raw form
 * as soon as the request line is read, and decoded by http_request_parse(). */

#include "sys/httpd.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include <microhttpd.h>

#include "base/altstack.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "sys/http_peer.h"
#include "sys/httpd_tls.h"

/* Headers, as the library keeps them, and room to write the answer's: above our own limit on
 * headers, so that the usual excess gets an answer in JSON. */
#define CONNECTION_MEMORY_MAX 49152
/* A body that is too large is read so far beyond its limit before the answer: a client that still
 * writes would take the reset that follows for the answer. */
#define DISCARD_MAX (1 << 20)
/* An answer that is read so slowly is no longer wanted by anybody; 10 MB at 33 kB/s. */
#define SENDING_MAX_MS 300000
/* A connection younger than this is not closed to make room: its request may be on the way. */
#define EVICT_AGE_MS 250
/* Keys between two turns of the loop. More than that wakes everybody: they look and wait again. */
#define WAKE_MAX 64
#define LISTEN_BACKLOG 128
/* Of a stream at a time. The library has the block as long as the answer lasts; a page of events
 * fits, and a picture takes a dozen. */
#define STREAM_BLOCK 16384
#define STREAM_AHEAD_BYTES 65536
/* Promised to those that find no room. */
#define CROWD_PAUSE_S 2
#define STREAM_PAUSE_S 30

enum connection_phase {
    RECEIVING,
    HANDLING,
    WAITING,
    SENDING,
    STREAMING, /* there is something to send */
    IDLE,      /* the stream has nothing just now */
};

struct connection {
    struct connection *next, **at;
    int fd; /* the library's */
    enum connection_phase phase;
    struct mono_time since;
    bool closing; /* shut down by us, not yet gone */
    struct exchange *exchange;
};

/* One request and its answer. */
struct exchange {
    struct httpd *server;
    struct MHD_Connection *library;
    struct connection *connection;
    char *target;
    struct http_request request;
    struct dynbuf body;
    size_t body_seen;
    size_t body_max, body_held; /* bytes; held is what counts for all together */
    struct blob *body_blob;
    bool begun;     /* headers were looked at */
    bool too_large; /* the body; the rest is read and dropped */
    bool crowded;   /* likewise, because of all the others */
    bool waits;
    struct http_wait wait; /* also of a stream */
    struct http_stream stream;
};

/* A certificate that is in use, or was until `until`. */
struct identity {
    struct identity *next;
    struct httpd_identity *keys;
    struct mono_time until;
};

struct httpd {
    struct MHD_Daemon *library;
    int listen_fd; /* the library's after the start */
    int library_fd;
    int wake_fd;
    int port;
    int connections_max, waiting_max, streams_max;
    size_t (*body_max)(void *arg, const struct http_request *req, struct http_response *ret);
    int64_t request_timeout_ms;
    const struct host_list *trusted_proxies;
    bool tls;
    const char *thread_name;
    void (*handle)(void *arg, const struct http_request *req, struct http_response *ret);
    void *arg;

    /* The thread's own. */
    struct connection *connections;
    int connection_count, waiting_count, stream_count;
    size_t bodies_held;          /* bytes of bodies that are here or on their way */
    struct identity *identities; /* the one in use first; NULL without TLS */
    bool closed_some;
    bool stopping;
    bool ending; /* no more streams */
    struct mono_time stop_at;

    pthread_t thread;
    bool running;

    pthread_mutex_t lock; /* guards what follows */
    char wake_keys[WAKE_MAX][HTTP_WAIT_KEY_MAX];
    int wake_count;
    bool wake_all;
    bool stop_asked;
    int stop_grace_ms;
    struct httpd_identity *next_identity; /* to be taken over */
    struct httpd_numbers numbers;
};

static int open_listener(const char *address, int *ret_fd, int *ret_port, struct err *e);
static int start_library(struct httpd *h, struct err *e);
static int start_thread(struct httpd *h, struct err *e);
static void *run(void *arg);
static void free_identities(struct httpd *h);

int httpd_start(const struct httpd_options *options, struct httpd **ret, struct err *e)
{
    struct httpd *h = xcalloc(1, sizeof(*h));
    h->listen_fd = -1;
    h->wake_fd = -1;
    h->connections_max =
        options->connections_max > 0 ? options->connections_max : HTTPD_CONNECTIONS_MAX;
    h->waiting_max = options->waiting_max > 0 ? options->waiting_max : (h->connections_max + 1) / 2;
    h->streams_max = options->streams_max > 0 ? options->streams_max : h->connections_max / 2;
    h->body_max = options->body_max;
    h->request_timeout_ms =
        options->request_timeout_ms > 0 ? options->request_timeout_ms : HTTPD_REQUEST_TIMEOUT_MS;
    h->trusted_proxies = options->trusted_proxies;
    h->thread_name = options->thread_name ? options->thread_name : "httpd";
    h->handle = options->handle;
    h->arg = options->arg;
    pthread_mutex_init(&h->lock, NULL);

    int r = open_listener(options->listen, &h->listen_fd, &h->port, e);
    if (r < 0)
        goto fail;
    h->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (h->wake_fd < 0) {
        r = err_errno(e, -errno, "event descriptor");
        goto fail;
    }
    h->tls = options->cert_file != NULL;
    if (h->tls)
        r = httpd_identity_load(options->cert_file, options->key_file, &h->next_identity, e);
    if (r < 0)
        goto fail;
    r = start_library(h, e);
    if (r < 0)
        goto fail;
    *ret = h; /* before the thread runs: its first request may come at once */
    r = start_thread(h, e);
    if (r == 0)
        return 0;
    *ret = NULL;
fail:
    httpd_free(h);
    return r;
}

int httpd_port(const struct httpd *h)
{
    return h->port;
}

void httpd_free(struct httpd *h)
{
    if (!h)
        return;
    httpd_stop(h, 0);
    if (h->library)
        MHD_stop_daemon(h->library); /* the thread never ran */
    else if (h->listen_fd >= 0)
        (void)close(h->listen_fd);
    if (h->wake_fd >= 0)
        (void)close(h->wake_fd);
    free_identities(h);
    pthread_mutex_destroy(&h->lock);
    free(h);
}

static void nudge(struct httpd *h)
{
    uint64_t one = 1;
    (void)!write(h->wake_fd, &one, sizeof(one)); /* full means that the thread is nudged already */
}

void httpd_wake(struct httpd *h, const char *key)
{
    pthread_mutex_lock(&h->lock);
    bool known = h->wake_all;
    for (int i = 0; i < h->wake_count && !known; i++)
        known = strcmp(h->wake_keys[i], key) == 0;
    if (!known && h->wake_count < WAKE_MAX)
        text_copy(h->wake_keys[h->wake_count++], HTTP_WAIT_KEY_MAX, key);
    else if (!known)
        h->wake_all = true;
    pthread_mutex_unlock(&h->lock);
    nudge(h);
}

void httpd_stop(struct httpd *h, int grace_ms)
{
    if (!h || !h->running)
        return;
    pthread_mutex_lock(&h->lock);
    h->stop_asked = true;
    h->stop_grace_ms = grace_ms;
    pthread_mutex_unlock(&h->lock);
    nudge(h);
    pthread_join(h->thread, NULL);
    h->running = false;
}

int httpd_renew(struct httpd *h, const char *cert_file, const char *key_file, struct err *e)
{
    struct httpd_identity *fresh;
    if (!h->tls)
        return err_set(e, -ENOTSUP, ERR_NEVER, "TLS needs a restart");
    int r = httpd_identity_load(cert_file, key_file, &fresh, e);
    if (r < 0)
        return r;
    pthread_mutex_lock(&h->lock);
    struct httpd_identity *unused = h->next_identity;
    h->next_identity = fresh;
    pthread_mutex_unlock(&h->lock);
    httpd_identity_free(unused);
    nudge(h);
    return 0;
}

void httpd_get_numbers(struct httpd *h, struct httpd_numbers *ret)
{
    pthread_mutex_lock(&h->lock);
    *ret = h->numbers;
    pthread_mutex_unlock(&h->lock);
}

/* ---- start ---- */

static enum MHD_Result on_access(void *arg, struct MHD_Connection *library, const char *url,
                                 const char *method, const char *version, const char *data,
                                 size_t *size, void **request_context);
static void *on_target(void *arg, const char *target, struct MHD_Connection *library);
static void on_completed(void *arg, struct MHD_Connection *library, void **request_context,
                         enum MHD_RequestTerminationCode why);
static void on_connection(void *arg, struct MHD_Connection *library, void **socket_context,
                          enum MHD_ConnectionNotificationCode what);
static void on_log(void *arg, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));

static int open_listener(const char *address, int *ret_fd, int *ret_port, struct err *e)
{
    struct httpd_endpoint endpoint;
    int r = httpd_endpoint_parse(address, &endpoint, e);
    if (r < 0)
        return r;
    AUTO_CLOSE int fd =
        socket(endpoint.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_errno(e, -errno, "listen on %s", address);
    int on = 1;
    /* A restart must not wait until the old connections' remains are gone. */
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (endpoint.address.ss_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&endpoint.address, endpoint.address_size) < 0 ||
        listen(fd, LISTEN_BACKLOG) < 0)
        return err_errno(e, -errno, "listen on %s", address);
    socklen_t size = sizeof(endpoint.address);
    if (getsockname(fd, (struct sockaddr *)&endpoint.address, &size) < 0)
        return err_errno(e, -errno, "listen on %s", address);
    if (endpoint.address.ss_family == AF_INET6)
        *ret_port = ntohs(((struct sockaddr_in6 *)&endpoint.address)->sin6_port);
    else
        *ret_port = ntohs(((struct sockaddr_in *)&endpoint.address)->sin_port);
    *ret_fd = STEAL_FD(fd);
    return 0;
}

static int start_library(struct httpd *h, struct err *e)
{
    /* The library's own limit on silence is the second net below ours. */
    unsigned silence_s = (unsigned)MIN((h->request_timeout_ms + 5999) / 1000, (int64_t)3600);
    h->library = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_USE_SUSPEND_RESUME | MHD_USE_ERROR_LOG | (h->tls ? MHD_USE_TLS : 0), 0,
        NULL, NULL, on_access, h, MHD_OPTION_EXTERNAL_LOGGER, on_log, h, MHD_OPTION_LISTEN_SOCKET,
        h->listen_fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned)h->connections_max,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY_MAX,
        MHD_OPTION_CONNECTION_TIMEOUT, silence_s, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_URI_LOG_CALLBACK, on_target, h, MHD_OPTION_NOTIFY_COMPLETED, on_completed, h,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, h,
        h->tls ? MHD_OPTION_HTTPS_CERT_CALLBACK : MHD_OPTION_END, httpd_identity_callback,
        MHD_OPTION_HTTPS_PRIORITIES, HTTPD_TLS_PRIORITIES, MHD_OPTION_END);
    if (!h->library)
        return err_set(e, -EIO, ERR_NEVER, "the HTTP server library does not start");
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(h->library, MHD_DAEMON_INFO_EPOLL_FD);
    if (!info || info->epoll_fd < 0)
        return err_set(e, -EIO, ERR_NEVER, "the HTTP server library has no epoll");
    h->library_fd = info->epoll_fd;
    return 0;
}

static int start_thread(struct httpd *h, struct err *e)
{
    sigset_t all, before;
    sigfillset(&all); /* signals are the main loop's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int r = pthread_create(&h->thread, NULL, run, h);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r != 0)
        return err_errno(e, -r, "HTTP server thread");
    h->running = true;
    return 0;
}

int httpd_endpoint_parse(const char *text, struct httpd_endpoint *ret, struct err *e)
{
    static const char right[] = "an address and a port such as 127.0.0.1:8080 or [::1]:8080";
    const char *colon = strrchr(text, ':');
    int64_t port;
    if (!colon || parse_int64(colon + 1, strlen(colon + 1), 0, 65535, &port) < 0)
        return err_set(e, -EINVAL, ERR_NEVER, "'%s' is not %s", text, right);
    char host[64]; /* an IPv6 address has at most 45 bytes */
    size_t len = (size_t)(colon - text);
    bool brackets = len >= 2 && text[0] == '[' && colon[-1] == ']';
    if (brackets) {
        text++;
        len -= 2;
    }
    if (len >= sizeof(host))
        return err_set(e, -EINVAL, ERR_NEVER, "'%s' is not %s", text, right);
    memcpy(host, text, len);
    host[len] = '\0';
    if (!brackets && text_equal_nocase(host, "localhost"))
        text_copy(host, sizeof(host), "127.0.0.1");

    struct httpd_endpoint endpoint = {.port = (int)port};
    struct sockaddr_in *v4 = (struct sockaddr_in *)&endpoint.address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&endpoint.address;
    if (brackets && inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)port);
        endpoint.address_size = sizeof(*v6);
        endpoint.loopback = IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
    } else if (!brackets && inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)port);
        endpoint.address_size = sizeof(*v4);
        endpoint.loopback = (ntohl(v4->sin_addr.s_addr) >> 24) == 127;
    } else {
        return err_set(e, -EINVAL, ERR_NEVER, "'%s' is not an IP address; right would be %s", host,
                       right);
    }
    *ret = endpoint;
    return 0;
}

/* ---- the loop ---- */

static void take_identity(struct httpd *h);
static void take_wakes(struct httpd *h);
static bool is_suspended(const struct connection *c);
static void resume(struct exchange *x);
static void enforce_times(struct httpd *h);
static int next_turn_ms(struct httpd *h, bool *ret_watch_listener);
static void publish_numbers(struct httpd *h);
static void begin_stop(struct httpd *h, int grace_ms);
static bool anything_left(const struct httpd *h);
static void evict_one(struct httpd *h);

static void *run(void *arg)
{
    struct httpd *h = arg;
    altstack_use();
    (void)pthread_setname_np(pthread_self(), h->thread_name);
    log_context_stage(h->thread_name);
    take_identity(h);
    for (;;) {
        bool watch_listener = false;
        int timeout_ms = next_turn_ms(h, &watch_listener);
        struct pollfd fds[] = {
            {.fd = h->library_fd, .events = POLLIN},
            {.fd = h->wake_fd, .events = POLLIN},
            {.fd = watch_listener ? h->listen_fd : -1, .events = POLLIN},
        };
        (void)poll(fds, ARRAY_LEN(fds), timeout_ms); /* an error is a turn without news */
        if (fds[1].revents)
            take_wakes(h);
        if (fds[2].revents)
            evict_one(h);
        enforce_times(h);
        h->closed_some = false;
        (void)MHD_run(h->library);
        /* At its limit the library does not watch the listener; the next run after a close makes it
         * do so again. */
        if (h->closed_some)
            (void)MHD_run(h->library);
        publish_numbers(h);
        if (h->stopping && (!anything_left(h) || mono_passed(h->stop_at)))
            break;
    }
    /* The library insists that nobody is suspended when it stops. */
    h->ending = true;
    for (struct connection *c = h->connections; c; c = c->next)
        if (is_suspended(c))
            resume(c->exchange);
    (void)MHD_run(h->library);
    int listen_fd = h->listen_fd;
    MHD_stop_daemon(STEAL(h->library));
    if (h->stopping)
        (void)close(listen_fd); /* quiesced: ours again */
    h->listen_fd = -1;
    publish_numbers(h);
    return NULL;
}

/* Wakes are taken after the handlers of the turn before have registered what they wait for, so none
 * can fall between a look at the ledger and the wait. */
/* Handshakes that began with the one before have the time of a request to end. */
static void take_identity(struct httpd *h)
{
    pthread_mutex_lock(&h->lock);
    struct httpd_identity *keys = STEAL(h->next_identity);
    pthread_mutex_unlock(&h->lock);
    if (!keys)
        return;
    struct mono_time now = clock_mono();
    struct identity *fresh = xcalloc(1, sizeof(*fresh));
    *fresh = (struct identity){.next = h->identities, .keys = keys};
    if (fresh->next)
        fresh->next->until = mono_add_ms(now, 2 * h->request_timeout_ms);
    h->identities = fresh;
    httpd_identity_use(keys);
    for (struct identity **at = &fresh->next; *at;) {
        struct identity *old = *at;
        if (old->until.us > now.us) {
            at = &old->next;
            continue;
        }
        *at = old->next;
        httpd_identity_free(old->keys);
        free(old);
    }
}

static void free_identities(struct httpd *h)
{
    httpd_identity_free(STEAL(h->next_identity));
    while (h->identities) {
        struct identity *first = h->identities;
        h->identities = first->next;
        httpd_identity_free(first->keys);
        free(first);
    }
}

static void take_wakes(struct httpd *h)
{
    char keys[WAKE_MAX][HTTP_WAIT_KEY_MAX];
    uint64_t times;
    (void)!read(h->wake_fd, &times, sizeof(times)); /* only to make it quiet */
    pthread_mutex_lock(&h->lock);
    int count = h->wake_count;
    bool all = h->wake_all;
    bool stop = h->stop_asked;
    int grace_ms = h->stop_grace_ms;
    memcpy(keys, h->wake_keys, (size_t)count * sizeof(keys[0]));
    h->wake_count = 0;
    h->wake_all = false;
    pthread_mutex_unlock(&h->lock);

    take_identity(h);
    if (stop && !h->stopping) {
        begin_stop(h, grace_ms);
        all = true;
    }
    for (struct connection *c = h->connections; c; c = c->next) {
        if (!is_suspended(c))
            continue;
        bool meant = all;
        for (int i = 0; i < count && !meant; i++)
            meant = strcmp(keys[i], c->exchange->wait.key) == 0;
        if (meant)
            resume(c->exchange);
    }
}

static void begin_stop(struct httpd *h, int grace_ms)
{
    h->stopping = true;
    h->stop_at = mono_add_ms(clock_mono(), grace_ms);
    (void)MHD_quiesce_daemon(h->library); /* gives the listening socket back: it is h->listen_fd */
}

/* Nobody is cut off in the middle of an answer before the grace is over; who is silent, or still
 * sends his request, is not waited for. */
static bool anything_left(const struct httpd *h)
{
    for (const struct connection *c = h->connections; c; c = c->next)
        if (c->phase != RECEIVING && !c->closing)
            return true;
    return false;
}

static bool is_suspended(const struct connection *c)
{
    return c->phase == WAITING || c->phase == IDLE;
}

static void resume(struct exchange *x)
{
    struct connection *c = x->connection;
    if (c->phase == WAITING)
        x->server->waiting_count--;
    c->phase = c->phase == WAITING ? HANDLING : STREAMING;
    c->since = clock_mono();
    MHD_resume_connection(x->library);
}

static void cut(struct connection *c)
{
    c->closing = true;
    (void)shutdown(c->fd, SHUT_RDWR); /* the library sees an end and cleans up */
}

/* What a body of this size may take beyond other requests. */
static int64_t body_ms(const struct exchange *x)
{
    return x ? (int64_t)(x->body_seen / (HTTPD_BODY_RATE / 1000)) : 0;
}

static struct mono_time deadline_of(const struct httpd *h, const struct connection *c)
{
    switch (c->phase) {
    case RECEIVING:
        return mono_add_ms(c->since, h->request_timeout_ms + body_ms(c->exchange));
    case WAITING:
    case IDLE:
        return c->exchange->wait.recheck;
    case STREAMING:
        return mono_add_ms(c->since, c->exchange->stream.stall_ms);
    case HANDLING:
    case SENDING:
        break;
    }
    return mono_add_ms(c->since, SENDING_MAX_MS);
}

static void enforce_times(struct httpd *h)
{
    struct mono_time now = clock_mono();
    for (struct connection *c = h->connections; c; c = c->next) {
        if (c->closing || deadline_of(h, c).us > now.us)
            continue;
        if (is_suspended(c)) {
            resume(c->exchange);
            continue;
        }
        pthread_mutex_lock(&h->lock);
        h->numbers.too_slow++;
        pthread_mutex_unlock(&h->lock);
        cut(c);
    }
}

/* The connection that has been without a request for longest, NULL when all are busy. */
static struct connection *idlest(const struct httpd *h)
{
    struct connection *found = NULL;
    for (struct connection *c = h->connections; c; c = c->next)
        if (c->phase == RECEIVING && !c->closing && (!found || c->since.us < found->since.us))
            found = c;
    return found;
}

static void evict_one(struct httpd *h)
{
    struct connection *c = idlest(h);
    if (!c)
        return;
    pthread_mutex_lock(&h->lock);
    h->numbers.evicted++;
    pthread_mutex_unlock(&h->lock);
    cut(c);
}

static int next_turn_ms(struct httpd *h, bool *ret_watch_listener)
{
    struct mono_time next = {INT64_MAX};
    if (h->stopping)
        next = h->stop_at;
    for (const struct connection *c = h->connections; c; c = c->next)
        if (!c->closing)
            next.us = MIN(next.us, deadline_of(h, c).us);
    if (h->connection_count >= h->connections_max && !h->stopping) {
        const struct connection *c = idlest(h);
        struct mono_time old = c ? mono_add_ms(c->since, EVICT_AGE_MS) : next;
        if (c && mono_passed(old))
            *ret_watch_listener = true;
        else
            next.us = MIN(next.us, old.us);
    }
    int ms = next.us == INT64_MAX ? -1 : mono_until_ms(next);
    MHD_UNSIGNED_LONG_LONG library_ms;
    if (MHD_get_timeout(h->library, &library_ms) == MHD_YES) {
        int bounded = library_ms > INT_MAX ? INT_MAX : (int)library_ms;
        ms = ms < 0 ? bounded : MIN(ms, bounded);
    }
    return ms;
}

static void publish_numbers(struct httpd *h)
{
    pthread_mutex_lock(&h->lock);
    h->numbers.connections = h->connection_count;
    h->numbers.waiting = h->waiting_count;
    h->numbers.streams = h->stream_count;
    h->numbers.body_bytes = h->bodies_held;
    pthread_mutex_unlock(&h->lock);
}

/* ---- one request ---- */

static void begin(struct exchange *x, const char *method, struct http_response *refusal);
static void admit_body(struct exchange *x, int64_t length, struct http_response *refusal);
static void take_body(struct exchange *x, const char *data, size_t size);
static bool may_be_secret(const struct exchange *x);
static void forget_body(struct exchange *x);
static enum MHD_Result answer(struct exchange *x);
static enum MHD_Result send_response(struct exchange *x, struct http_response *r);

static void on_connection(void *arg, struct MHD_Connection *library, void **socket_context,
                          enum MHD_ConnectionNotificationCode what)
{
    struct httpd *h = arg;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        struct connection *c = xcalloc(1, sizeof(*c));
        c->fd = MHD_get_connection_info(library, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        c->since = clock_mono();
        c->next = h->connections;
        c->at = &h->connections;
        if (c->next)
            c->next->at = &c->next;
        h->connections = c;
        h->connection_count++;
        *socket_context = c;
        pthread_mutex_lock(&h->lock);
        h->numbers.accepted++;
        pthread_mutex_unlock(&h->lock);
        return;
    }
    struct connection *c = *socket_context;
    if (!c)
        return;
    *c->at = c->next;
    if (c->next)
        c->next->at = c->at;
    h->connection_count--;
    h->closed_some = true;
    free(c);
    *socket_context = NULL;
}

/* The request line is here: the beginning of an exchange. What this returns is the request's
 * context from now on. */
static void *on_target(void *arg, const char *target, struct MHD_Connection *library)
{
    struct httpd *h = arg;
    struct exchange *x = xcalloc(1, sizeof(*x));
    x->server = h;
    x->library = library;
    x->connection =
        MHD_get_connection_info(library, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    x->connection->exchange = x;
    x->connection->since = clock_mono(); /* the silence before it does not count */
    /* Longer ones are refused, so what is behind the limit is not needed. */
    x->target = xstrndup(target, strnlen(target, HTTP_TARGET_MAX + 1));
    x->body_max = HTTPD_BODY_MAX;
    dynbuf_init(&x->body, x->body_max);
    return x;
}

static void on_completed(void *arg, struct MHD_Connection *library, void **request_context,
                         enum MHD_RequestTerminationCode why)
{
    (void)arg;
    (void)library;
    (void)why;
    struct exchange *x = *request_context;
    if (!x)
        return;
    struct httpd *h = x->server;
    if (x->connection->phase == WAITING)
        h->waiting_count--;
    if (x->stream.endless)
        h->stream_count--;
    if (x->stream.release)
        x->stream.release(x->stream.arg);
    h->bodies_held -= x->body_held;
    x->connection->phase = RECEIVING;
    x->connection->since = clock_mono();
    x->connection->exchange = NULL;
    forget_body(x);
    blob_unref(x->body_blob);
    free(x->target);
    free(x);
    *request_context = NULL;
}

static enum MHD_Result on_access(void *arg, struct MHD_Connection *library, const char *url,
                                 const char *method, const char *version, const char *data,
                                 size_t *size, void **request_context)
{
    (void)arg;
    (void)library;
    (void)url; /* decoded by the library: see the top */
    (void)version;
    struct exchange *x = *request_context;
    if (!x->begun) {
        x->begun = true;
        struct http_response refusal;
        http_response_init(&refusal);
        begin(x, method, &refusal);
        enum MHD_Result r = refusal.status ? send_response(x, &refusal) : MHD_YES;
        http_response_done(&refusal);
        return r;
    }
    if (*size > 0) {
        take_body(x, data, *size);
        if (may_be_secret(x)) /* the library keeps its buffer, and has no more use for this */
            explicit_bzero((char *)(uintptr_t)data, *size);
        *size = 0;
        return x->body_seen > x->body_max + DISCARD_MAX ? MHD_NO : MHD_YES;
    }
    return answer(x);
}

struct header_sink {
    struct http_request *request;
    size_t bytes;
    bool too_many;
};

static enum MHD_Result take_header(void *arg, enum MHD_ValueKind kind, const char *name,
                                   const char *value)
{
    (void)kind;
    struct header_sink *sink = arg;
    struct http_request *request = sink->request;
    value = value ? value : "";
    sink->bytes += strlen(name) + strlen(value);
    if (request->header_count == HTTP_HEADERS_MAX || sink->bytes > HTTP_HEADERS_BYTES_MAX) {
        sink->too_many = true;
        return MHD_NO;
    }
    request->headers[request->header_count++] = (struct http_pair){.name = name, .value = value};
    return MHD_YES;
}

/* The headers are complete. `refusal` is filled when this can have no good end. */
static void begin(struct exchange *x, const char *method, struct http_response *refusal)
{
    struct http_request *request = &x->request;
    request->method = method; /* lives as long as the request */
    request->target = x->target;
    struct header_sink sink = {.request = request};
    (void)MHD_get_connection_values(x->library, MHD_HEADER_KIND, take_header, &sink);
    http_peer_find(
        request,
        MHD_get_connection_info(x->library, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr,
        x->server->tls, x->server->trusted_proxies);
    struct err e;
    err_clear(&e);
    int r = http_request_parse(request, &e);
    struct err framing;
    err_clear(&framing);
    bool framed = http_request_check_framing(request, &framing) == 0;
    int64_t length = 0;
    const char *length_text = http_request_header(request, "Content-Length");
    if (length_text && parse_int64(length_text, strlen(length_text), 0, INT64_MAX, &length) < 0)
        length = INT64_MAX;
    if (sink.too_many)
        http_response_error(refusal, 431, "headers-too-large",
                            "more than %d headers, or more than %d bytes of them", HTTP_HEADERS_MAX,
                            HTTP_HEADERS_BYTES_MAX);
    else if (!framed)
        http_response_error(refusal, 400, "bad-request", "%s", framing.text);
    else if (r == -ENAMETOOLONG)
        http_response_error(refusal, 414, "address-too-long", "%s", e.text);
    else if (r < 0)
        http_response_error(refusal, 400, "bad-address", "%s", e.text);
    else
        admit_body(x, length, refusal);
    if (!refusal->status)
        return;
    http_response_finish(request, refusal);
    /* Its body was not read, and must not be taken for the next request. */
    http_response_header(refusal, "Connection", "close");
}

static void refuse_size(const struct exchange *x, struct http_response *ret)
{
    http_response_error(ret, 413, "body-too-large", "a body may have at most %zu bytes",
                        x->body_max);
}

static void refuse_crowd(struct http_response *ret)
{
    http_response_error(ret, 503, "refused-for-now",
                        "too many large bodies are on their way; try again in a moment");
    http_response_header(ret, "Retry-After", "%d", CROWD_PAUSE_S);
}

static void admit_body(struct exchange *x, int64_t length, struct http_response *refusal)
{
    struct httpd *h = x->server;
    bool large = length > HTTPD_BODY_MAX || http_request_header(&x->request, "Transfer-Encoding");
    if (large && h->body_max) {
        x->body_max = MAX(h->body_max(h->arg, &x->request, refusal), (size_t)HTTPD_BODY_MAX);
        x->body.max = x->body_max;
    }
    if (refusal->status)
        return;
    if (length > (int64_t)x->body_max + DISCARD_MAX)
        refuse_size(x, refusal);
    else if (x->body_max > HTTPD_BODY_MAX && h->bodies_held + (size_t)length > HTTPD_BODIES_MAX)
        refuse_crowd(refusal);
}

/* Small bodies may hold passwords, so nothing of them stays in memory that is free; pictures are no
 * secret to this process, and large. */
static bool may_be_secret(const struct exchange *x)
{
    return x->body_max <= HTTPD_BODY_MAX;
}

static void forget_body(struct exchange *x)
{
    if (x->body.data && may_be_secret(x))
        explicit_bzero(x->body.data, x->body.cap);
    dynbuf_done(&x->body);
}

/* A buffer that grew by itself would leave its old bytes behind. */
static int keep_body(struct exchange *x, const char *data, size_t size)
{
    struct dynbuf *now = &x->body;
    if (!may_be_secret(x) || now->len + size < now->cap)
        return dynbuf_append(now, data, size);
    struct dynbuf larger;
    dynbuf_init(&larger, now->max);
    char *to = dynbuf_extend(&larger, now->len + size);
    if (!to)
        return -ENOSPC;
    if (now->len > 0)
        memcpy(to, now->data, now->len);
    memcpy(to + now->len, data, size);
    forget_body(x);
    x->body = larger;
    return 0;
}

static void take_body(struct exchange *x, const char *data, size_t size)
{
    struct httpd *h = x->server;
    x->body_seen += size;
    if (x->too_large || x->crowded)
        return;
    x->crowded = h->bodies_held + size > HTTPD_BODIES_MAX;
    x->too_large = !x->crowded && keep_body(x, data, size) < 0;
    if (x->too_large || x->crowded) {
        forget_body(x);
        size = 0;
        h->bodies_held -= x->body_held;
        x->body_held = 0;
    }
    x->body_held += size;
    h->bodies_held += size;
}

/* A large body can be kept by its handler; so it becomes a blob, without a copy. */
static void show_body(struct exchange *x)
{
    struct http_request *request = &x->request;
    if (x->body_max > HTTPD_BODY_MAX && !x->body_blob && x->body.len > 0) {
        size_t size;
        void *bytes = dynbuf_steal(&x->body, &size);
        x->body_blob = blob_new_take(bytes, size);
    }
    request->body = x->body_blob ? (const char *)x->body_blob->data : dynbuf_str(&x->body);
    request->body_size = x->body_blob ? x->body_blob->size : x->body.len;
    request->body_blob = x->body_blob;
}

/* The whole request is here, or its wait is over. */
static enum MHD_Result answer(struct exchange *x)
{
    struct httpd *h = x->server;
    struct http_request *request = &x->request;
    struct http_response response;
    http_response_init(&response);
    x->connection->phase = HANDLING;
    x->connection->since = clock_mono();
    show_body(x);
    request->resumed = x->waits ? &x->wait : NULL;
    request->may_wait = h->waiting_count < h->waiting_max && !h->stopping &&
                        h->waiting_count + h->stream_count < h->connections_max * 3 / 4;
    if (x->too_large)
        refuse_size(x, &response);
    else if (x->crowded)
        refuse_crowd(&response);
    else
        h->handle(h->arg, request, &response);
    if (response.stream.endless && (h->stream_count >= h->streams_max || h->stopping)) {
        http_response_error(&response, 503, "too-many-streams",
                            "%d clients listen already; close one, or raise connections_max in "
                            "section [web]",
                            h->stream_count);
        http_response_header(&response, "Retry-After", "%d", STREAM_PAUSE_S);
    }

    if (response.waits && request->may_wait) {
        x->wait = response.wait;
        x->waits = true;
        http_response_done(&response);
        x->connection->phase = WAITING;
        h->waiting_count++;
        MHD_suspend_connection(x->library);
        return MHD_YES;
    }
    assert(!response.waits && response.status != 0);
    http_response_finish(request, &response);
    enum MHD_Result r = send_response(x, &response);
    http_response_done(&response);
    return r;
}

static void release_body(void *arg)
{
    blob_unref(arg);
}

/* The stream lives as long as its exchange; the library asks for nothing after that has ended. */
static ssize_t read_stream(void *arg, uint64_t position, char *to, size_t size)
{
    (void)position;
    struct exchange *x = arg;
    struct httpd *h = x->server;
    if (h->ending)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    x->connection->since = clock_mono();
    ssize_t n = x->stream.read(x->stream.arg, to, size, &x->wait);
    if (n > 0)
        return n;
    if (n == HTTP_STREAM_END || (n == 0 && h->stopping && x->stream.endless))
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (n < 0)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    x->connection->phase = IDLE;
    MHD_suspend_connection(x->library);
    return 0;
}

/* What an endless answer has sent ahead of its reader stays small: it would be old. */
static void bound_ahead(const struct connection *c)
{
    int size = STREAM_AHEAD_BYTES;
    (void)setsockopt(c->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)); /* else it is larger */
}

static enum MHD_Result send_response(struct exchange *x, struct http_response *r)
{
    struct MHD_Response *library;
    if (r->stream.read) {
        x->stream = r->stream;
        r->stream = (struct http_stream){0};
        x->server->stream_count += x->stream.endless;
        if (x->stream.endless)
            bound_ahead(x->connection);
        library =
            MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK, read_stream, x, NULL);
    } else if (r->body && r->body_length > 0)
        library = MHD_create_response_from_buffer_with_free_callback_cls(
            r->body_length, (void *)(uintptr_t)(r->body->data + r->body_offset), release_body,
            blob_ref(r->body)); /* only read */
    else
        library =
            MHD_create_response_from_buffer(0, (void *)(uintptr_t) "", MHD_RESPMEM_PERSISTENT);
    if (!library) {
        if (r->body && r->body_length > 0)
            blob_unref(r->body);
        return MHD_NO;
    }
    for (size_t i = 0; i < r->header_count; i++)
        (void)MHD_add_response_header(library, r->headers[i].name, r->headers[i].value);
    x->connection->phase = x->stream.read ? STREAMING : SENDING;
    x->connection->since = clock_mono();
    enum MHD_Result queued = MHD_queue_response(x->library, (unsigned)r->status, library);
    MHD_destroy_response(library);
    return queued;
}

static void on_log(void *arg, const char *fmt, va_list ap)
{
    (void)arg;
    char text[512];
    (void)vsnprintf(text, sizeof(text), fmt, ap); /* cut is fine */
    text[strcspn(text, "\n")] = '\0';
    log_debug("httpd-library", "%s", text);
}
