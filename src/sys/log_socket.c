#include "sys/log_socket.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/clock.h"
#include "base/log_line.h"
#include "base/parse.h"
#include "base/text.h"

enum {
    CONNECT_MS = 5000, /* a SYN and two repetitions */
    SEND_MS = 2000,    /* for a receiver that does not read */
    PROBE_MS = 20, /* for the ICMP answer of a machine in the same building; lines wait behind */
    /* A peer whose machine vanished is noticed after so long, not after the kernel's 15 min. */
    SILENCE_MS = 30000
};

/* ---- addresses ---- */

static bool parse_host(const char *text, const char *fallback_port, struct log_socket *s)
{
    const char *end = text + strlen(text), *colon = strrchr(text, ':'), *port = fallback_port;
    int64_t number;
    if (*text == '[') {
        const char *bracket = strchr(++text, ']');
        if (!bracket || (bracket[1] && bracket[1] != ':'))
            return false;
        end = bracket;
        colon = bracket[1] ? bracket + 1 : NULL;
    } else if (colon) {
        end = colon;
    }
    if (colon)
        port = colon + 1;
    size_t len = (size_t)(end - text);
    if (len == 0 || len >= sizeof(s->host) || memchr(text, '/', len) ||
        (*text != '[' && !strchr(text, ']') && memchr(text, ':', len)) ||
        parse_int64(port, strlen(port), 1, 65535, &number) < 0)
        return false;
    memcpy(s->host, text, len);
    s->host[len] = '\0';
    return text_copy(s->port, sizeof(s->port), port);
}

bool log_socket_parse(const char *address, struct log_socket *ret, char *why, size_t why_size)
{
    struct log_socket s = {.fd = -1};
    bool good;
    if (text_starts_with(address, "udp://")) {
        s.kind = LOG_SOCKET_UDP;
        good = parse_host(address + strlen("udp://"), "514", &s);
    } else if (text_starts_with(address, "tcp://")) {
        s.kind = LOG_SOCKET_TCP;
        good = parse_host(address + strlen("tcp://"), "601", &s);
    } else {
        s.kind = LOG_SOCKET_LOCAL;
        good = *address == '/' && strlen(address) < sizeof(((struct sockaddr_un){0}).sun_path) &&
               text_copy(s.host, sizeof(s.host), address);
    }
    if (good)
        *ret = s;
    else
        text_copy(why, why_size,
                  "write udp://HOST:PORT, tcp://HOST:PORT, or the path of a local socket");
    return good;
}

/* ---- opening ---- */

void log_socket_close(struct log_socket *s)
{
    if (s->fd >= 0)
        (void)close(s->fd); /* datagrams are gone; what TCP still has goes on being sent */
    s->fd = -1;
}

/* 0, -ETIMEDOUT, or -ECANCELED by `stop_fd` (-1 = none). */
static int wait_for(int fd, short events, int stop_fd, int64_t timeout_ms)
{
    struct pollfd p[] = {{.fd = fd, .events = events}, {.fd = stop_fd, .events = POLLIN}};
    struct mono_time end = mono_add_ms(clock_mono(), timeout_ms);
    while (true) {
        double left_ms = mono_diff_ms(end, clock_mono());
        int n = poll(p, 2, (int)MAX(left_ms, 0.0));
        if (n > 0)
            return p[0].revents ? 0 : -ECANCELED;
        if (n == 0)
            return -ETIMEDOUT;
        if (errno != EINTR)
            return -errno;
    }
}

static int connect_one(int family, int type, const struct sockaddr *address, socklen_t len,
                       int stop_fd, int *ret)
{
    AUTO_CLOSE int fd = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    int r = connect(fd, address, len) < 0 ? -errno : 0;
    if (r == -EINPROGRESS) {
        r = wait_for(fd, POLLOUT, stop_fd, CONNECT_MS);
        int code = 0;
        socklen_t size = sizeof(code);
        if (r == 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &size) == 0)
            r = -code;
    }
    if (r == 0)
        *ret = STEAL_FD(fd);
    return r;
}

static int open_local(struct log_socket *s, struct err *e)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    text_copy(address.sun_path, sizeof(address.sun_path), s->host); /* was checked */
    int r =
        connect_one(AF_UNIX, SOCK_DGRAM, (struct sockaddr *)&address, sizeof(address), -1, &s->fd);
    return r < 0 ? err_errno(e, r, "%s", s->host) : 0;
}

static void watch_peer(int fd)
{
    const int on = 1;
    const unsigned silence_ms = SILENCE_MS;
    /* All three are help, not need. */
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &silence_ms, sizeof(silence_ms));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static int open_host(struct log_socket *s, int stop_fd, struct err *e)
{
    int type = s->kind == LOG_SOCKET_TCP ? SOCK_STREAM : SOCK_DGRAM;
    const struct addrinfo hints = {.ai_socktype = type};
    struct addrinfo *list = NULL;
    int code = getaddrinfo(s->host, s->port, &hints, &list);
    if (code)
        return err_set(e, -EHOSTUNREACH, ERR_LATER, "%s: %s", s->host, gai_strerror(code));
    int r = -EHOSTUNREACH;
    for (struct addrinfo *a = list; a && r < 0 && r != -ECANCELED; a = a->ai_next)
        r = connect_one(a->ai_family, type, a->ai_addr, a->ai_addrlen, stop_fd, &s->fd);
    freeaddrinfo(list);
    if (r < 0)
        return err_errno(e, r, "%s:%s", s->host, s->port);
    if (s->kind == LOG_SOCKET_TCP)
        watch_peer(s->fd);
    return 0;
}

int log_socket_open(struct log_socket *s, int stop_fd, struct err *e)
{
    return s->kind == LOG_SOCKET_LOCAL ? open_local(s, e) : open_host(s, stop_fd, e);
}

/* ---- sending ---- */

/* A server that went away has closed its side; the line would go nowhere, without an error. What it
 * sends otherwise is of no interest. */
static int see_end_of_stream(int fd)
{
    char buf[512];
    ssize_t n;
    do
        n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
    while (n > 0);
    if (n == 0)
        return -ECONNRESET;
    return errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

static int send_all(int fd, const char *bytes, size_t len)
{
    struct mono_time end = mono_add_ms(clock_mono(), SEND_MS);
    while (len > 0) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0) {
            bytes += n;
            len -= (size_t)n;
            continue;
        }
        if (errno != EAGAIN && errno != EINTR && errno != ENOBUFS)
            return -errno;
        int r = wait_for(fd, POLLOUT, -1, (int64_t)MAX(mono_diff_ms(end, clock_mono()), 0.0));
        if (r < 0)
            return r;
    }
    return 0;
}

static int send_frame(int fd, const char *line, size_t len)
{
    char frame[LOG_WIRE_MAX + 16];
    int head = text_format(frame, sizeof(frame), "%zu ", len);
    memcpy(frame + head, line, MIN(len, (size_t)LOG_WIRE_MAX));
    int r = see_end_of_stream(fd);
    return r < 0 ? r : send_all(fd, frame, (size_t)head + len);
}

static int datagram_refused(int fd)
{
    int code = 0;
    socklen_t size = sizeof(code);
    struct pollfd p = {.fd = fd};
    if (poll(&p, 1, PROBE_MS) > 0)
        (void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &size); /* code stays 0 */
    return -code;
}

int log_socket_send(struct log_socket *s, const char *line, size_t len, bool probe, struct err *e)
{
    int r = s->kind == LOG_SOCKET_TCP ? send_frame(s->fd, line, len) : send_all(s->fd, line, len);
    s->late = r == -ECONNREFUSED && s->kind == LOG_SOCKET_UDP;
    if (r == 0 && probe && s->kind == LOG_SOCKET_UDP)
        r = datagram_refused(s->fd);
    if (r == 0)
        return 0;
    log_socket_close(s);
    return err_errno(e, r, "%s%s%s", s->host, *s->port ? ":" : "", s->port);
}
