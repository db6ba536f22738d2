#include "ftp/ftp_data.h"

#include <assert.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/log.h"
#include "sys/hash.h"

/* Ports tried at random before the range is walked: enough for a range that is almost full. */
#define RANDOM_TRIES 64
/* Connections that may wait in the kernel. More than one, so that a stranger who is first does not
 * keep the camera out. */
#define BACKLOG 8

static void on_ready(struct ftp_watch *w, uint32_t events);

void ftp_data_init(struct ftp_data *d, struct ftp_loop *l)
{
    *d = (struct ftp_data){.loop = l, .watch = {.fd = -1, .ready = on_ready}};
}

void ftp_data_close(struct ftp_data *d)
{
    assert(d->state != FTP_DATA_LENT);
    tls_conn_free(d->tls);
    d->tls = NULL;
    d->state = FTP_DATA_CLOSED;
    d->ready = d->hung_up = false;
    if (d->watch.fd < 0)
        return;
    ftp_loop_unwatch(d->loop, &d->watch);
    (void)close(d->watch.fd); /* what was to be sent is with the kernel */
    d->watch.fd = -1;
}

static void fail(struct ftp_data *d, int error)
{
    ftp_data_close(d);
    d->error = error;
}

/* ---- we listen ---- */

/* Random bytes by the hundred: each call of the generator costs more than what it gives here. */
static uint32_t random_word(void)
{
    static _Thread_local uint32_t words[64];
    static _Thread_local size_t left;
    if (left == 0) {
        hash_random(words, sizeof(words));
        left = sizeof(words) / sizeof(words[0]);
    }
    return words[--left];
}

int ftp_data_random_port(struct ftp_ports ports)
{
    uint32_t count = (uint32_t)(ports.max - ports.min + 1);
    uint32_t fair = UINT32_MAX - UINT32_MAX % count; /* above it some ports would be likelier */
    uint32_t word = random_word();
    while (word >= fair)
        word = random_word();
    return ports.min + (int)(word % count);
}

/* SO_REUSEADDR, because connections of the last transfers linger on their ports. Two listeners on
 * one port are refused all the same, by bind() or by listen(). */
static int open_socket(const union ftp_address *at)
{
    int fd = socket(at->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1;
    if (fd < 0)
        return -errno;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)); /* else fewer ports are free */
    return fd;
}

/* A socket that bind() refused may try another port; one that has a port may not. */
static int listen_at(int *fd, const union ftp_address *at)
{
    if (*fd < 0)
        *fd = open_socket(at);
    if (*fd < 0)
        return *fd;
    if (bind(*fd, &at->any, ftp_address_size(at)) < 0)
        return -errno;
    if (listen(*fd, BACKLOG) == 0)
        return 0;
    int r = -errno;
    (void)close(STEAL_FD(*fd)); /* holds nothing */
    return r;
}

int ftp_data_listen(struct ftp_data *d, const union ftp_address *local, struct ftp_ports ports)
{
    union ftp_address at = *local;
    int port = ftp_data_random_port(ports), count = ports.max - ports.min + 1;
    AUTO_CLOSE int fd = -1;
    int r = -EADDRINUSE;
    ftp_data_close(d);
    d->error = 0;
    for (int i = 0; r == -EADDRINUSE && i < RANDOM_TRIES + count; i++) {
        if (i > 0 && i < RANDOM_TRIES)
            port = ftp_data_random_port(ports);
        else if (i > 0)
            port = port < ports.max ? port + 1 : ports.min;
        ftp_address_set_port(&at, port);
        r = listen_at(&fd, &at);
    }
    if (r < 0)
        return r;
    d->watch.fd = STEAL_FD(fd);
    d->state = FTP_DATA_LISTENING;
    return port;
}

/* True while there may be more. */
static bool take_one(struct ftp_data *d)
{
    union ftp_address from = {0};
    socklen_t size = sizeof(from);
    int fd = accept4(d->watch.fd, &from.any, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        /* Its maker gave up already, or there is none yet. */
        if (errno == ECONNABORTED || errno == EINTR)
            return true;
        if (errno != EAGAIN)
            fail(d, -errno);
        return false;
    }
    ftp_address_normalise(&from);
    if (!d->foreign && !ftp_address_same_host(&from, &d->peer)) {
        (void)close(fd); /* nothing of it is of interest */
        d->stranger(d, &from);
        return true;
    }
    ftp_data_close(d); /* the listener: one connection is all it is for */
    d->watch.fd = fd;
    d->state = FTP_DATA_CONNECTED;
    return false;
}

void ftp_data_look(struct ftp_data *d)
{
    while (d->state == FTP_DATA_LISTENING && take_one(d))
        ;
    if (d->state != FTP_DATA_LISTENING)
        return;
    int r = ftp_loop_watch(d->loop, &d->watch, EPOLLIN);
    if (r < 0)
        fail(d, r);
}

/* ---- we connect ---- */

int ftp_data_connect(struct ftp_data *d, const union ftp_address *local, int port)
{
    union ftp_address from = *local, to = d->peer;
    int on = 1;
    ftp_data_close(d);
    d->error = 0;
    ftp_address_set_port(&from, 0);
    ftp_address_set_port(&to, port);
    int fd = socket(to.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    d->watch.fd = fd;
    /* From the address that the camera knows; the port is chosen when it connects, so that ports
     * are not used up. Where it cannot be, another address of ours may do. */
    (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    (void)bind(fd, &from.any, ftp_address_size(&from));
    if (connect(fd, &to.any, ftp_address_size(&to)) < 0 && errno != EINPROGRESS) {
        fail(d, -errno);
        return d->error;
    }
    d->state = FTP_DATA_CONNECTING;
    int r = ftp_loop_watch(d->loop, &d->watch, EPOLLOUT);
    if (r < 0)
        fail(d, r);
    return r;
}

static void see_connected(struct ftp_data *d)
{
    int error = 0;
    socklen_t size = sizeof(error);
    if (getsockopt(d->watch.fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
        error = errno;
    if (error) {
        fail(d, -error);
        return;
    }
    ftp_loop_unwatch(d->loop, &d->watch);
    d->state = FTP_DATA_CONNECTED;
}

/* ---- TLS ---- */

static void shake(struct ftp_data *d)
{
    struct err e = {0};
    int r = tls_conn_handshake(d->tls, &e);
    if (r == -EAGAIN)
        return;
    if (r >= 0 && d->control_tls && !tls_conn_resumed_from(d->tls, d->control_tls))
        r = err_set(&e, -EPERM, ERR_NEVER,
                    "it does not resume the control connection's session ([ftp] tls_reuse)");
    if (r < 0) {
        char peer[FTP_ADDRESS_TEXT_MAX];
        log_info("ftp-tls-failed", "%s: TLS handshake of a data connection: %s",
                 ftp_address_host(&d->peer, peer), e.text);
        fail(d, r);
        d->refused_tls = true;
        return;
    }
    d->state = FTP_DATA_OPEN;
    d->ready = true;
}

int ftp_data_begin(struct ftp_data *d, bool writes, const struct ftp_data_tls *tls)
{
    assert(d->state == FTP_DATA_CONNECTED);
    struct err e = {0};
    d->truncated = d->refused_tls = false;
    d->state = tls->server ? FTP_DATA_SHAKING : FTP_DATA_OPEN;
    d->control_tls = tls->resume_from;
    d->ready = writes; /* what comes in is told by the first event */
    int r = tls->server ? tls_conn_new(tls->server, d->watch.fd, &d->tls, &e) : 0;
    if (r >= 0 && tls->server && !writes)
        tls_conn_without_tickets(d->tls);
    /* Told of each change once: then a full block or a full socket costs no call to say so. */
    uint32_t events = EPOLLRDHUP | EPOLLET;
    if (writes || tls->server)
        events |= EPOLLOUT;
    if (!writes || tls->server)
        events |= EPOLLIN;
    if (r >= 0)
        r = ftp_loop_watch(d->loop, &d->watch, events);
    if (r < 0)
        fail(d, r);
    return MIN(r, 0);
}

int ftp_data_lend(struct ftp_data *d)
{
    assert(d->state == FTP_DATA_CONNECTED && !d->watch.in_epoll);
    d->state = FTP_DATA_LENT;
    return d->watch.fd;
}

void ftp_data_take_back(struct ftp_data *d, int fd)
{
    assert(d->state == FTP_DATA_LENT);
    d->watch.fd = fd;
    d->state = fd < 0 ? FTP_DATA_CLOSED : FTP_DATA_CONNECTED;
}

/* ---- bytes ---- */

static void on_ready(struct ftp_watch *w, uint32_t events)
{
    struct ftp_data *d = container_of(w, struct ftp_data, watch);
    d->hung_up |= (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    switch (d->state) {
    case FTP_DATA_LISTENING:
        ftp_data_look(d);
        if (d->state == FTP_DATA_LISTENING)
            return;
        break;
    case FTP_DATA_CONNECTING:
        see_connected(d);
        break;
    case FTP_DATA_SHAKING:
        shake(d);
        if (d->state == FTP_DATA_SHAKING)
            return;
        break;
    case FTP_DATA_OPEN:
        d->ready = true;
        break;
    case FTP_DATA_CLOSED:
    case FTP_DATA_CONNECTED:
    case FTP_DATA_LENT:
        return;
    }
    d->happened(d);
}

/* OpenSSL tells an end without close_notify and a cut connection alike; the kernel knows: after a
 * reset there is no connection any more, after an end our half is still open. */
static bool was_reset(int fd)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof(info);
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0 || info.tcpi_state == TCP_CLOSE;
}

static int64_t read_tls(struct ftp_data *d, void *to, size_t size)
{
    struct err e = {0};
    int64_t n = tls_conn_read(d->tls, to, size, &e);
    if (n == -EAGAIN)
        d->ready = false;
    if (n == -ECONNRESET && !was_reset(d->watch.fd)) {
        d->truncated = true;
        return 0;
    }
    return n;
}

int64_t ftp_data_read(struct ftp_data *d, void *to, size_t size)
{
    if (d->state != FTP_DATA_OPEN)
        return -ECONNRESET;
    if (d->tls)
        return read_tls(d, to, size);
    ssize_t n = recv(d->watch.fd, to, size, 0);
    if (n < 0 && errno != EAGAIN)
        return -errno;
    /* Less than there was room for: that was all, unless the end is here already. What comes later
     * is told by an event of its own. */
    if (n < 0 || (n > 0 && (size_t)n < size && !d->hung_up))
        d->ready = false;
    return n < 0 ? -EAGAIN : n;
}

int64_t ftp_data_write(struct ftp_data *d, const void *from, size_t size)
{
    struct err e = {0};
    if (d->state != FTP_DATA_OPEN)
        return -ECONNRESET;
    int64_t n = d->tls ? tls_conn_write(d->tls, from, size, &e)
                       : (int64_t)send(d->watch.fd, from, size, MSG_NOSIGNAL);
    if (!d->tls && n < 0)
        n = -errno;
    if (n == -EAGAIN)
        d->ready = false;
    return n;
}

int ftp_data_end(struct ftp_data *d)
{
    struct err e = {0};
    if (!d->tls || d->state != FTP_DATA_OPEN)
        return 0;
    int r = tls_conn_close(d->tls, &e);
    if (r == -EAGAIN)
        d->ready = false;
    return r;
}
