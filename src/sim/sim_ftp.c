#include "sim/sim_ftp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdarg.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/dynbuf.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "sys/stream.h"

enum {
    REPLIES_MAX = 8 * 1024, /* bytes of one reply, FEAT's among them */
    LINE_MAX_BYTES = 2 * 1024,
    PIECE_BYTES = 64 * 1024,
    RATE_STEP_MS = 100,
};

struct sim_ftp {
    const struct sim_ftp_options *o;
    struct stream *control;
    char in[REPLIES_MAX];
    size_t in_len;
};

static int read_reply(struct sim_ftp *f, struct sim_ftp_reply *ret, struct err *e);
static int send_all(struct sim_ftp *f, struct stream *s, const void *bytes, size_t size,
                    struct err *e);
static int log_in(struct sim_ftp *f, struct err *e);

static struct stream_options stream_options_for(const struct sim_ftp_options *o, const char *host,
                                                uint16_t port, bool tls)
{
    return (struct stream_options){
        .host = host,
        .port = port,
        .tls = tls,
        .tls_ca_file = o->tls_ca_file,
        .tls_any_host = true,
        .timeout_ms = o->timeout_ms,
        .stop_fd = o->stop_fd,
    };
}

int sim_ftp_open(const struct sim_ftp_options *o, struct sim_ftp **ret, struct err *e)
{
    AUTO(sim_ftp) f = xcalloc(1, sizeof(*f));
    f->o = o;
    struct stream_options options =
        stream_options_for(o, o->host, o->port, o->tls == SIM_FTP_IMPLICIT_TLS);
    int r = stream_open(&options, &f->control, e);
    if (r < 0)
        return r;
    struct sim_ftp_reply reply;
    r = read_reply(f, &reply, e);
    if (r < 0)
        return r;
    if (reply.code != 220)
        return err_set(e, -ECONNREFUSED, ERR_LATER, "%s", reply.text);
    if (o->tls == SIM_FTP_AUTH_TLS) {
        r = sim_ftp_ask(f, &reply, e, "AUTH TLS");
        if (r < 0)
            return r;
        if (reply.code != 234)
            return err_set(e, -EPROTO, ERR_NEVER, "AUTH TLS: %s", reply.text);
        r = stream_start_tls(f->control, &options, e);
        if (r < 0)
            return r;
    }
    r = log_in(f, e);
    if (r < 0)
        return r;
    *ret = STEAL(f);
    return 0;
}

static int log_in(struct sim_ftp *f, struct err *e)
{
    struct sim_ftp_reply reply;
    int r = sim_ftp_ask(f, &reply, e, "USER %s", f->o->user);
    if (r == 0 && reply.code == 331)
        r = sim_ftp_ask(f, &reply, e, "PASS %s", f->o->password);
    if (r < 0)
        return r;
    if (reply.code != 230 && reply.code != 202)
        return err_set(e, -EACCES, ERR_LATER, "login: %s", reply.text);
    if (f->o->tls == SIM_FTP_CLEAR)
        return 0;
    r = sim_ftp_ask(f, &reply, e, "PBSZ 0");
    if (r == 0)
        r = sim_ftp_ask(f, &reply, e, "PROT P");
    if (r == 0 && reply.code != 200)
        r = err_set(e, -EPROTO, ERR_NEVER, "PROT P: %s", reply.text);
    return r;
}

void sim_ftp_close(struct sim_ftp *f)
{
    if (!f)
        return;
    stream_close(f->control);
    free(f);
}

void sim_ftp_quit(struct sim_ftp *f)
{
    struct sim_ftp_reply reply;
    struct err ignored = {0};
    (void)sim_ftp_ask(f, &reply, &ignored, "QUIT"); /* it closes either way */
}

/* ---- the conversation ---- */

static void trace(const struct sim_ftp *f, char direction, const char *line, size_t len)
{
    if (!f->o->trace)
        return;
    char shown[LINE_MAX_BYTES];
    f->o->trace(f->o->trace_arg, direction, text_printable(line, len, shown, sizeof(shown)));
}

static int send_command(struct sim_ftp *f, const char *line, struct err *e)
{
    if (text_starts_with(line, "PASS "))
        trace(f, '>', "PASS ***", strlen("PASS ***"));
    else
        trace(f, '>', line, strlen(line));
    AUTO_DONE(dynbuf) bytes;
    dynbuf_init(&bytes, LINE_MAX_BYTES);
    (void)dynbuf_puts(&bytes, line);
    (void)dynbuf_puts(&bytes, f->o->bare_lf ? "\n" : "\r\n");
    if (bytes.failed)
        return err_set(e, -EMSGSIZE, ERR_NEVER, "a command of more than %d bytes", LINE_MAX_BYTES);
    return send_all(f, f->control, bytes.data, bytes.len, e);
}

int sim_ftp_ask(struct sim_ftp *f, struct sim_ftp_reply *ret, struct err *e, const char *fmt, ...)
{
    AUTO_DONE(dynbuf) line;
    dynbuf_init(&line, LINE_MAX_BYTES);
    va_list ap;
    va_start(ap, fmt);
    (void)dynbuf_vprintf(&line, fmt, ap); /* `failed` tells */
    va_end(ap);
    if (line.failed)
        return err_set(e, -EMSGSIZE, ERR_NEVER, "a command of more than %d bytes", LINE_MAX_BYTES);
    int r = send_command(f, dynbuf_str(&line), e);
    return r < 0 ? r : read_reply(f, ret, e);
}

static int gave_up(const struct sim_ftp *f, int r, const char *what, struct err *e)
{
    if (r == -ECANCELED)
        return err_set(e, r, ERR_LATER, "stopped while %s", what);
    if (r == -ETIMEDOUT)
        return err_set(e, r, ERR_NOW, "nothing happened for %lld ms while %s",
                       (long long)f->o->timeout_ms, what);
    return err_errno(e, r, "%s", what);
}

static int send_all(struct sim_ftp *f, struct stream *s, const void *bytes, size_t size,
                    struct err *e)
{
    const char *at = bytes;
    while (size) {
        int64_t n = stream_write(s, at, MIN(size, (size_t)PIECE_BYTES), e);
        if (n == -EAGAIN) {
            int r =
                stream_wait(s, true, mono_add_ms(clock_mono(), f->o->timeout_ms), f->o->stop_fd);
            if (r < 0)
                return gave_up(f, r, "sending", e);
            /* Readable, too, ends the wait. On a data connection only an end comes in: the next
             * write tells of it. On the control connection a reply may, which does not hurt. */
            continue;
        }
        if (n < 0)
            return (int)n;
        at += n;
        size -= (size_t)n;
    }
    return 0;
}

static int read_reply(struct sim_ftp *f, struct sim_ftp_reply *ret, struct err *e)
{
    struct mono_time deadline = mono_add_ms(clock_mono(), f->o->timeout_ms);
    for (;;) {
        long used = sim_ftp_parse_reply(f->in, f->in_len, ret);
        if (used < 0 || (used == 0 && f->in_len == sizeof(f->in)))
            return err_set(e, -EPROTO, ERR_LATER, "that is no FTP: '%.40s'", ret->text);
        if (used > 0) {
            memmove(f->in, f->in + used, f->in_len - (size_t)used);
            f->in_len -= (size_t)used;
            trace(f, '<', ret->text, strlen(ret->text));
            return 0;
        }
        int64_t n = stream_read(f->control, f->in + f->in_len, sizeof(f->in) - f->in_len, e);
        if (n == -EAGAIN) {
            int r = stream_wait(f->control, false, deadline, f->o->stop_fd);
            if (r < 0)
                return gave_up(f, r, "waiting for a reply", e);
        } else if (n < 0) {
            return (int)n;
        } else {
            f->in_len += (size_t)n;
        }
    }
}

long sim_ftp_parse_reply(const char *bytes, size_t size, struct sim_ftp_reply *ret)
{
    int64_t code = 0;
    size_t at = 0;
    *ret = (struct sim_ftp_reply){0};
    for (;;) {
        const char *end = memchr(bytes + at, '\n', size - at);
        if (!end)
            return 0;
        const char *line = bytes + at;
        size_t len = (size_t)(end - line);
        at += len + 1;
        if (len && line[len - 1] == '\r')
            len--;
        int64_t number = 0;
        bool coded = len >= 3 && parse_int64(line, 3, 100, 599, &number) == 0;
        char after = len > 3 ? line[3] : ' ';
        (void)text_printable(line, len, ret->text, sizeof(ret->text));
        if (!code && (!coded || (after != ' ' && after != '-')))
            return -EPROTO;
        if (!code)
            code = number;
        if (coded && number == code && after == ' ') {
            ret->code = (int)code;
            return (long)at;
        }
    }
}

/* ---- the data connection ---- */

int sim_ftp_parse_passive(const char *text, char host[16], uint16_t *ret_port)
{
    int64_t n[6];
    /* Servers differ in what stands around the six numbers, so the first digit behind the code
     * begins them (RFC 1123 4.1.2.6). */
    const char *at = text + MIN(strlen(text), (size_t)4);
    at += strcspn(at, "0123456789");
    for (int i = 0; i < 6; i++) {
        size_t len = strspn(at, "0123456789");
        if (parse_int64(at, len, 0, 255, &n[i]) < 0 || (i < 5 && at[len] != ','))
            return -EPROTO;
        at += len + (i < 5);
    }
    (void)text_format(host, 16, "%d.%d.%d.%d", (int)n[0], (int)n[1], (int)n[2],
                      (int)n[3]); /* fits */
    *ret_port = (uint16_t)(n[4] * 256 + n[5]);
    return *ret_port ? 0 : -EPROTO;
}

int sim_ftp_parse_extended(const char *text, uint16_t *ret_port)
{
    const char *at = strchr(text, '(');
    int64_t port;
    if (!at || !at[1] || at[2] != at[1] || at[3] != at[1])
        return -EPROTO;
    size_t len = strspn(at + 4, "0123456789");
    if (parse_int64(at + 4, len, 1, 65535, &port) < 0 || at[4 + len] != at[1])
        return -EPROTO;
    *ret_port = (uint16_t)port;
    return 0;
}

/* One of the two is set: the connection, or the socket that waits for it. */
struct data {
    struct stream *stream;
    int listen_fd;
};

static void data_done(struct data *d)
{
    stream_close(d->stream);
    if (d->listen_fd >= 0)
        (void)close(d->listen_fd); /* nothing goes through it */
}

/* 1 = the server refused, in `ret`. */
static int connect_passive(struct sim_ftp *f, bool extended, struct data *d,
                           struct sim_ftp_reply *ret, struct err *e)
{
    char host[16];
    uint16_t port = 0;
    int r = sim_ftp_ask(f, ret, e, extended ? "EPSV" : "PASV");
    if (r < 0)
        return r;
    if (ret->code != (extended ? 229 : 227))
        return 1;
    r = extended ? sim_ftp_parse_extended(ret->text, &port)
                 : sim_ftp_parse_passive(ret->text, host, &port);
    if (r < 0)
        return err_set(e, r, ERR_LATER, "no address in '%s'", ret->text);
    /* The address that was told is used as it is: a server behind NAT must tell the right one. */
    struct stream_options o = stream_options_for(f->o, extended ? f->o->host : host, port, false);
    r = stream_open(&o, &d->stream, e);
    return r < 0 ? err_prefix(e, "data connection to port %u", (unsigned)port) : 0;
}

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_storage room;
};

/* Listens at the address from which the control connection goes out. */
static int listen_here(struct sim_ftp *f, union address *here, int *ret_fd, struct err *e)
{
    socklen_t size = sizeof(*here);
    if (getsockname(stream_fd(f->control), &here->any, &size) < 0)
        return err_errno(e, -errno, "own address");
    if (here->any.sa_family == AF_INET6)
        here->v6.sin6_port = 0;
    else
        here->v4.sin_port = 0;
    AUTO_CLOSE int fd = socket(here->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, &here->any, size) < 0 || listen(fd, 1) < 0 ||
        getsockname(fd, &here->any, &size) < 0)
        return err_errno(e, -errno, "listen for the data connection");
    *ret_fd = STEAL_FD(fd);
    return 0;
}

static int offer_active(struct sim_ftp *f, bool extended, struct data *d, struct sim_ftp_reply *ret,
                        struct err *e)
{
    union address here = {0};
    int r = listen_here(f, &here, &d->listen_fd, e);
    if (r < 0)
        return r;
    bool v6 = here.any.sa_family == AF_INET6;
    unsigned port = ntohs(v6 ? here.v6.sin6_port : here.v4.sin_port);
    if (extended) {
        char text[INET6_ADDRSTRLEN];
        const void *bytes = v6 ? (const void *)&here.v6.sin6_addr : &here.v4.sin_addr;
        if (!inet_ntop(here.any.sa_family, bytes, text, sizeof(text)))
            return err_errno(e, -errno, "own address");
        r = sim_ftp_ask(f, ret, e, "EPRT |%d|%s|%u|", v6 ? 2 : 1, text, port);
    } else {
        uint32_t a = ntohl(here.v4.sin_addr.s_addr);
        r = sim_ftp_ask(f, ret, e, "PORT %u,%u,%u,%u,%u,%u", a >> 24, a >> 16 & 255, a >> 8 & 255,
                        a & 255, port / 256, port % 256);
    }
    if (r < 0)
        return r;
    return ret->code == 200 ? 0 : 1;
}

static int accept_active(struct sim_ftp *f, struct data *d, struct err *e)
{
    struct mono_time deadline = mono_add_ms(clock_mono(), f->o->timeout_ms);
    for (;;) {
        AUTO_CLOSE int fd = accept4(d->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            d->stream = stream_adopt(&fd);
            return 0;
        }
        if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
            return err_errno(e, -errno, "the server's data connection");
        struct pollfd fds[2] = {{.fd = d->listen_fd, .events = POLLIN},
                                {.fd = f->o->stop_fd, .events = POLLIN}};
        int n = poll(fds, 2, mono_until_ms(deadline));
        if (n > 0 && fds[1].revents)
            return gave_up(f, -ECANCELED, "waiting for the data connection", e);
        if (n == 0)
            return gave_up(f, -ETIMEDOUT, "waiting for the data connection", e);
    }
}

/* ---- the upload ---- */

/* Waits, as a camera that has fallen silent: until the time is over, or the server says something
 * (it has given up). -ECANCELED when stopped. */
static int be_silent(struct sim_ftp *f, int64_t ms)
{
    int r = stream_wait(f->control, false, mono_add_ms(clock_mono(), ms), f->o->stop_fd);
    return r == -ECANCELED ? r : 0;
}

static int send_bytes(struct sim_ftp *f, const struct sim_ftp_upload *u, struct stream *s,
                      size_t from, size_t to, struct err *e)
{
    const char *bytes = u->bytes;
    size_t piece = u->rate ? (size_t)MAX(u->rate * RATE_STEP_MS / 1000, (int64_t)1) : to - from;
    while (from < to) {
        size_t n = MIN(piece, to - from);
        int r = send_all(f, s, bytes + from, n, e);
        if (r < 0)
            return r;
        from += n;
        if (u->rate && from < to && be_silent(f, RATE_STEP_MS) < 0)
            return gave_up(f, -ECANCELED, "sending", e);
    }
    return 0;
}

static void reset_at_close(struct stream *s)
{
    struct linger now = {.l_onoff = 1};
    /* When it fails a FIN goes out instead, and the test that wants an RST tells. */
    (void)setsockopt(stream_fd(s), SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

/* ABOR with Telnet's Synch before it: IAC IP, then IAC DM of which the last byte is urgent
 * (RFC 959 4.1.3). Under TLS there are no urgent bytes. */
static int send_abort(struct sim_ftp *f, struct err *e)
{
    static const unsigned char interrupt[] = {0xff, 0xf4};
    static const unsigned char synch[] = {0xff, 0xf2};
    if (f->o->tls == SIM_FTP_CLEAR) {
        int fd = stream_fd(f->control);
        if (send(fd, interrupt, sizeof(interrupt), MSG_NOSIGNAL) < 0 ||
            send(fd, synch, sizeof(synch), MSG_NOSIGNAL | MSG_OOB) < 0)
            return err_errno(e, -errno, "ABOR");
    }
    return send_command(f, "ABOR", e);
}

/* The bytes and the end of the data connection. 0; what the server says comes after it. */
static int send_picture(struct sim_ftp *f, const struct sim_ftp_upload *u, struct data *d,
                        struct err *e)
{
    bool whole = u->end == SIM_FTP_END_WELL || u->end == SIM_FTP_END_ABRUPT;
    int r = send_bytes(f, u, d->stream, 0, whole ? u->size : u->size / 2, e);
    if (r < 0)
        return r;
    switch (u->end) {
    case SIM_FTP_END_WELL:
        stream_end(d->stream);
        return 0;
    case SIM_FTP_END_ABRUPT:
    case SIM_FTP_END_CUT:
        (void)shutdown(stream_fd(d->stream), SHUT_WR); /* if it is gone, so be it */
        return 0;
    case SIM_FTP_END_RESET:
        reset_at_close(d->stream);
        stream_close(STEAL(d->stream));
        return 0;
    case SIM_FTP_END_VANISH:
        reset_at_close(d->stream);
        reset_at_close(f->control);
        stream_close(STEAL(d->stream));
        return err_set(e, -ECONNRESET, ERR_NOW, "vanished in the middle, as it was told to");
    case SIM_FTP_END_STALL:
        if (be_silent(f, u->stall_ms) < 0)
            return gave_up(f, -ECANCELED, "being silent", e);
        r = send_bytes(f, u, d->stream, u->size / 2, u->size, e);
        if (r == 0)
            stream_end(d->stream);
        return r;
    case SIM_FTP_END_ABORT:
        return send_abort(f, e);
    }
    return 0;
}

static int open_data(struct sim_ftp *f, const struct sim_ftp_upload *u, struct data *d,
                     struct sim_ftp_reply *ret, struct err *e)
{
    union address here = {0};
    socklen_t size = sizeof(here);
    if (getsockname(stream_fd(f->control), &here.any, &size) < 0)
        return err_errno(e, -errno, "own address");
    /* PASV and PORT have no room for IPv6. */
    bool extended = u->extended || here.any.sa_family == AF_INET6;
    return u->active ? offer_active(f, extended, d, ret, e)
                     : connect_passive(f, extended, d, ret, e);
}

int sim_ftp_upload(struct sim_ftp *f, const struct sim_ftp_upload *u, struct sim_ftp_reply *ret,
                   struct err *e)
{
    AUTO_DONE(data) d = {.listen_fd = -1};
    int r = open_data(f, u, &d, ret, e);
    if (r != 0)
        return r < 0 ? r : 0;
    r = sim_ftp_ask(f, ret, e, "%s %s", u->verb, u->path);
    if (r < 0 || ret->code >= 200)
        return r;
    if (!d.stream)
        r = accept_active(f, &d, e);
    if (r == 0 && f->o->tls != SIM_FTP_CLEAR) {
        struct stream_options o = stream_options_for(f->o, f->o->host, f->o->port, true);
        r = stream_start_tls(d.stream, &o, e);
        if (r < 0)
            (void)err_prefix(e, "data connection");
    }
    if (r == 0)
        r = send_picture(f, u, &d, e);
    if (r == -ECANCELED || u->end == SIM_FTP_END_VANISH)
        return r;
    /* When the data connection broke, the reply says why better than we can. The connection is
     * closed after it: a close with unread bytes (TLS' tickets) resets and may lose the last ones.
     */
    if (r < 0 && d.stream)
        stream_end(d.stream);
    struct err broken = r < 0 && e ? *e : (struct err){0};
    int sent = r;
    r = read_reply(f, ret, e);
    struct sim_ftp_reply aborted;
    if (r == 0 && u->end == SIM_FTP_END_ABORT && ret->code >= 400)
        r = read_reply(f, &aborted, e); /* 426 was for the transfer, 226 comes for ABOR itself */
    if (r == 0 && sent < 0 && ret->code < 400) {
        /* It was not all sent, and the server thinks so: no success of ours. */
        if (e)
            *e = broken;
        return sent;
    }
    return r;
}
