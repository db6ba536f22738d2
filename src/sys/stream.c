#include "sys/stream.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "base/altstack.h"
#include "base/mem.h"
#include "base/text.h"
#include "sys/tls.h"

/* getaddrinfo() waits as long as the resolver likes, half a minute with a dead name server, and
 * cannot be interrupted. So it runs in a thread of its own that the caller stops waiting for; who
 * comes last, thread or caller, tidies up. */

enum {
    HOST_MAX = 256, /* a DNS name has at most 253 bytes */
    NAMES_SHOWN_MAX = 200,
};

struct stream {
    int fd;
    SSL_CTX *context;
    SSL *ssl;
    bool read_wants_write; /* TLS has something of its own to send before it can go on */
    bool write_wants_read;
    char names[NAMES_SHOWN_MAX]; /* what the refused certificate is for */
};

struct lookup {
    atomic_int holders;
    int done_fd;
    char host[HOST_MAX];
    char port[8];
    int result; /* EAI_... */
    struct addrinfo *list;
};

static int look_up(const struct stream_options *o, struct mono_time deadline, struct lookup **ret,
                   struct err *e);
static void lookup_unref(struct lookup *l);
static int64_t send_pieces(struct stream *s, const struct iovec *pieces, int count, struct err *e);
static int connect_any(const struct stream_options *o, const struct addrinfo *list,
                       struct mono_time deadline, int *ret_fd, struct err *e);
static int start_tls(struct stream *s, const struct stream_options *o, struct mono_time deadline,
                     struct err *e);

int stream_open(const struct stream_options *o, struct stream **ret, struct err *e)
{
    struct mono_time deadline = mono_add_ms(clock_mono(), o->timeout_ms);
    struct lookup *names = NULL;
    int r = look_up(o, deadline, &names, e);
    if (r < 0)
        return r;
    int fd = -1;
    r = connect_any(o, names->list, deadline, &fd, e);
    lookup_unref(names);
    if (r < 0)
        return r;

    struct stream *s = stream_adopt(&fd);
    if (o->tls) {
        r = start_tls(s, o, deadline, e);
        if (r < 0) {
            stream_close(s);
            return r;
        }
    }
    *ret = s;
    return 0;
}

struct stream *stream_adopt(int *fd)
{
    struct stream *s = xcalloc(1, sizeof(*s));
    s->fd = STEAL_FD(*fd);
    return s;
}

int stream_start_tls(struct stream *s, const struct stream_options *o, struct err *e)
{
    assert(!s->ssl);
    return start_tls(s, o, mono_add_ms(clock_mono(), o->timeout_ms), e);
}

void stream_end(struct stream *s)
{
    if (s->ssl) {
        ERR_clear_error();
        (void)SSL_shutdown(s->ssl); /* a peer that is gone needs no good-bye */
    }
    (void)shutdown(s->fd, SHUT_WR); /* the same */
}

void stream_close(struct stream *s)
{
    if (!s)
        return;
    if (s->ssl) {
        ERR_clear_error();
        if (SSL_is_init_finished(s->ssl))
            (void)SSL_shutdown(s->ssl); /* a courtesy */
        SSL_free(s->ssl);
    }
    SSL_CTX_free(s->context);
    (void)close(s->fd); /* what was not sent is lost with or without an error here */
    free(s);
}

int stream_fd(const struct stream *s)
{
    return s->fd;
}

short stream_events(const struct stream *s, bool writing)
{
    bool out = s->read_wants_write || (writing && !s->write_wants_read);
    return (short)(POLLIN | (out ? POLLOUT : 0));
}

static int poll_until(int fd, short events, struct mono_time deadline, int stop_fd)
{
    for (;;) {
        struct pollfd fds[2] = {{.fd = fd, .events = events}, {.fd = stop_fd, .events = POLLIN}};
        int n = poll(fds, 2, mono_until_ms(deadline));
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0 && fds[1].revents)
            return -ECANCELED;
        if (n > 0)
            return 0;
        if (mono_passed(deadline))
            return -ETIMEDOUT;
    }
}

int stream_wait(const struct stream *s, bool writing, struct mono_time deadline, int stop_fd)
{
    return poll_until(s->fd, stream_events(s, writing), deadline, stop_fd);
}

static int gave_up(int r, const char *doing, const struct stream_options *o, struct err *e)
{
    if (r == -ECANCELED)
        return err_set(e, r, ERR_LATER, "stopped while %s", doing);
    if (r == -ETIMEDOUT)
        return err_set(e, r, ERR_LATER, "no answer within %lld ms while %s",
                       (long long)o->timeout_ms, doing);
    return err_errno(e, r, "%s", doing);
}

/* ---- names ---- */

static void lookup_unref(struct lookup *l)
{
    if (atomic_fetch_sub(&l->holders, 1) != 1)
        return;
    if (l->list)
        freeaddrinfo(l->list);
    if (l->done_fd >= 0)
        (void)close(l->done_fd); /* an event counter holds nothing to lose */
    free(l);
}

static void resolve(struct lookup *l, int flags)
{
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | flags};
    l->result = getaddrinfo(l->host, l->port, &hints, &l->list);
}

static void *resolve_in_thread(void *arg)
{
    struct lookup *l = arg;
    altstack_use();
    resolve(l, AI_ADDRCONFIG);
    const uint64_t one = 1;
    /* A counter at 0 takes a 1 without fail. */
    (void)!write(l->done_fd, &one, sizeof(one));
    lookup_unref(l);
    return NULL;
}

static int start_thread(struct lookup *l, struct err *e)
{
    l->done_fd = eventfd(0, EFD_CLOEXEC);
    if (l->done_fd < 0)
        return err_errno(e, -errno, "looking up '%s'", l->host);
    pthread_attr_t detached;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    atomic_fetch_add(&l->holders, 1);
    pthread_t thread;
    int r = pthread_create(&thread, &detached, resolve_in_thread, l);
    pthread_attr_destroy(&detached);
    if (r == 0)
        return 0;
    atomic_fetch_sub(&l->holders, 1);
    return err_errno(e, -r, "looking up '%s'", l->host);
}

static int look_up(const struct stream_options *o, struct mono_time deadline, struct lookup **ret,
                   struct err *e)
{
    struct lookup *l = xcalloc(1, sizeof(*l));
    l->holders = 1;
    l->done_fd = -1;
    (void)text_format(l->port, sizeof(l->port), "%u", (unsigned)o->port);
    int r = 0;
    if (!text_copy(l->host, sizeof(l->host), o->host))
        r = err_set(e, -EINVAL, ERR_NEVER, "a host name of more than %d bytes", HOST_MAX - 1);
    else
        resolve(l, AI_NUMERICHOST);
    if (r == 0 && l->result == EAI_NONAME) { /* a name */
        r = start_thread(l, e);
        if (r == 0)
            r = poll_until(l->done_fd, POLLIN, deadline, o->stop_fd);
        uint64_t done;
        if (r == 0 && read(l->done_fd, &done, sizeof(done)) < 0)
            r = err_errno(e, -errno, "looking up '%s'", l->host);
        if (r == -ETIMEDOUT || r == -ECANCELED)
            (void)gave_up(r, "looking up its name", o, e);
    }
    if (r == 0 && l->result != 0)
        r = err_set(e, -EADDRNOTAVAIL, ERR_LATER, "no address for the name '%s' (%s)", l->host,
                    gai_strerror(l->result));
    if (r < 0)
        lookup_unref(l);
    else
        *ret = l;
    return r;
}

/* ---- TCP ---- */

static int connect_one(const struct addrinfo *a, struct mono_time deadline, int stop_fd,
                       int *ret_fd)
{
    AUTO_CLOSE int fd =
        socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);
    if (fd < 0)
        return -errno;
    const int on = 1;
    /* Small frames must not wait for more. Without it they are slow, not wrong. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (connect(fd, a->ai_addr, a->ai_addrlen) < 0) {
        if (errno != EINPROGRESS)
            return -errno;
        int r = poll_until(fd, POLLOUT, deadline, stop_fd);
        if (r < 0)
            return r;
        int error = 0;
        socklen_t size = sizeof(error);
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
            return -errno;
        if (error)
            return -error;
    }
    *ret_fd = STEAL_FD(fd);
    return 0;
}

/* Each address gets its share of what time is left: one that swallows everything must not hide the
 * others. */
static int connect_any(const struct stream_options *o, const struct addrinfo *list,
                       struct mono_time deadline, int *ret_fd, struct err *e)
{
    int left = 0;
    for (const struct addrinfo *a = list; a; a = a->ai_next)
        left++;
    int r = -EADDRNOTAVAIL;
    for (const struct addrinfo *a = list; a; a = a->ai_next, left--) {
        struct mono_time share = mono_add_ms(clock_mono(), mono_until_ms(deadline) / left);
        r = connect_one(a, share, o->stop_fd, ret_fd);
        if (r == 0 || r == -ECANCELED)
            break;
    }
    if (r == 0)
        return 0;
    if (r == -ECONNREFUSED)
        return err_set(e, r, ERR_LATER, "connection refused: nothing listens on that port");
    return gave_up(r, "connecting", o, e);
}

/* ---- TLS ---- */

static bool is_address(const char *host)
{
    unsigned char bytes[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, host, bytes) == 1 || inet_pton(AF_INET6, host, bytes) == 1;
}

/* The names that a certificate is for, as they are written in it. */
static void certificate_names(X509 *certificate, char *to, size_t size)
{
    size_t used = 0;
    to[0] = '\0';
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        char text[INET6_ADDRSTRLEN + 1] = "";
        const char *shown = text;
        if (name->type == GEN_DNS)
            shown = (const char *)ASN1_STRING_get0_data(name->d.dNSName);
        else if (name->type == GEN_IPADD)
            (void)inet_ntop(ASN1_STRING_length(name->d.iPAddress) == 4 ? AF_INET : AF_INET6,
                            ASN1_STRING_get0_data(name->d.iPAddress), text, sizeof(text));
        int n = *shown ? text_format(to + used, size - used, "%s%s", used ? ", " : "", shown) : 0;
        if (n < 0)
            break;
        used += (size_t)n;
    }
    sk_GENERAL_NAME_pop_free(names, GENERAL_NAME_free);
    if (!used)
        (void)text_copy(to, size, "no name at all");
}

/* The certificate is at hand only while it is judged. */
static int on_verdict(int fine, X509_STORE_CTX *context)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(context, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct stream *s = SSL_get_app_data(ssl);
    char names[NAMES_SHOWN_MAX];
    if (!fine) {
        certificate_names(X509_STORE_CTX_get0_cert(context), names, sizeof(names));
        (void)text_printable(names, strlen(names), s->names, sizeof(s->names));
    }
    return fine;
}

static int certificate_refused(struct stream *s, const struct stream_options *o, long verdict,
                               struct err *e)
{
    switch (verdict) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return err_set(e, -EKEYREJECTED, ERR_NEVER,
                       "its TLS certificate is for %s, not for '%s': use a name that is in it, or "
                       "switch the check of the name off",
                       s->names, o->host);
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        return err_set(e, -EKEYREJECTED, ERR_NEVER,
                       "its TLS certificate is signed by nobody whom we trust (%s): give the file "
                       "of the authority that signed it",
                       X509_verify_cert_error_string(verdict));
    default:
        return err_set(e, -EKEYREJECTED, ERR_NEVER, "its TLS certificate is not accepted: %s",
                       X509_verify_cert_error_string(verdict));
    }
}

static int handshake_failed(struct stream *s, const struct stream_options *o, int failure,
                            int system, struct err *e)
{
    long verdict = SSL_get_verify_result(s->ssl);
    if (verdict != X509_V_OK)
        return certificate_refused(s, o, verdict, e);
    unsigned long code = ERR_peek_error();
    int reason = ERR_GET_REASON(code);
    if (code && ERR_GET_LIB(code) == ERR_LIB_SSL &&
        (reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_UNSUPPORTED_PROTOCOL))
        return err_set(e, -EPROTO, ERR_NEVER,
                       "no TLS there that we speak (%s): is it the port for TLS?",
                       ERR_reason_error_string(code));
    if (failure == SSL_ERROR_SYSCALL && system)
        return err_errno(e, -system, "the connection was cut during the TLS handshake");
    if (failure == SSL_ERROR_SYSCALL || reason == SSL_R_UNEXPECTED_EOF_WHILE_READING)
        return err_set(
            e, -ECONNRESET, ERR_LATER,
            "the connection was closed during the TLS handshake: is it the port for TLS?");
    const char *why = code ? ERR_reason_error_string(code) : NULL;
    return err_set(e, -EPROTO, ERR_NEVER, "the TLS handshake failed: %s", why ? why : "unknown");
}

static int load_files(struct stream *s, const struct stream_options *o, struct err *e)
{
    if (!o->tls_ca_file && SSL_CTX_set_default_verify_paths(s->context) != 1)
        return err_set(e, -EINVAL, ERR_NEVER,
                       "the system's certificate authorities cannot be read");
    if (o->tls_ca_file && SSL_CTX_load_verify_file(s->context, o->tls_ca_file) != 1)
        return err_set(e, -EINVAL, ERR_NEVER,
                       "the authority file '%s' cannot be read or holds no certificate",
                       o->tls_ca_file);
    if (!o->tls_cert_file)
        return 0;
    return tls_context_load(s->context, o->tls_cert_file,
                            o->tls_key_file ? o->tls_key_file : o->tls_cert_file, e);
}

static int prepare_tls(struct stream *s, const struct stream_options *o, struct err *e)
{
    s->context = tls_context_new(TLS_client_method());
    if (!s->context)
        return err_set(e, -ENOMEM, ERR_LATER, "no memory for TLS");
    SSL_CTX_set_verify(s->context, SSL_VERIFY_PEER, on_verdict);
    int r = load_files(s, o, e);
    if (r < 0)
        return r;
    s->ssl = SSL_new(s->context);
    if (!s->ssl || SSL_set_fd(s->ssl, s->fd) != 1)
        return err_set(e, -ENOMEM, ERR_LATER, "no memory for TLS");
    SSL_set_app_data(s->ssl, s);
    bool address = is_address(o->host);
    int fine = address || SSL_set_tlsext_host_name(s->ssl, o->host) == 1;
    if (!o->tls_any_host)
        fine =
            fine == 1 && (address ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(s->ssl), o->host)
                                  : SSL_set1_host(s->ssl, o->host));
    if (fine != 1)
        return err_set(e, -EINVAL, ERR_NEVER, "'%s' cannot be the name in a certificate", o->host);
    return 0;
}

static int start_tls(struct stream *s, const struct stream_options *o, struct mono_time deadline,
                     struct err *e)
{
    int r = prepare_tls(s, o, e);
    if (r < 0)
        return r;
    for (;;) {
        tls_before();
        int done = SSL_connect(s->ssl);
        int system = errno;
        if (done == 1)
            return 0;
        int failure = SSL_get_error(s->ssl, done);
        if (failure != SSL_ERROR_WANT_READ && failure != SSL_ERROR_WANT_WRITE)
            return handshake_failed(s, o, failure, system, e);
        r = poll_until(s->fd, failure == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, deadline,
                       o->stop_fd);
        if (r < 0)
            return gave_up(r, "shaking hands for TLS", o, e);
    }
}

/* ---- bytes ---- */

/* The sense of an SSL_read() or SSL_write() that gave `n` <= 0. */
static int trouble(struct stream *s, int n, short *ret_events, struct err *e)
{
    int r = tls_trouble(s->ssl, n, ret_events, e);
    return r == 0 ? tls_cut_off(0, e) : r;
}

int64_t stream_read(struct stream *s, void *to, size_t size, struct err *e)
{
    assert(size > 0);
    if (s->ssl) {
        short events = 0;
        tls_before();
        int n = SSL_read(s->ssl, to, (int)MIN(size, (size_t)INT_MAX));
        int r = n > 0 ? n : trouble(s, n, &events, e);
        s->read_wants_write = events == POLLOUT;
        return r;
    }
    for (;;) {
        ssize_t n = recv(s->fd, to, size, 0);
        if (n > 0)
            return n;
        if (n == 0)
            return tls_cut_off(0, e);
        if (errno == EAGAIN)
            return -EAGAIN;
        if (errno != EINTR)
            return tls_cut_off(errno, e);
    }
}

int64_t stream_write(struct stream *s, const void *from, size_t size, struct err *e)
{
    assert(size > 0);
    if (s->ssl) {
        short events = 0;
        tls_before();
        int n = SSL_write(s->ssl, from, (int)MIN(size, (size_t)INT_MAX));
        int r = n > 0 ? n : trouble(s, n, &events, e);
        s->write_wants_read = events == POLLIN;
        return r;
    }
    struct iovec piece = {(void *)(uintptr_t)from, size};
    return send_pieces(s, &piece, 1, e);
}

int64_t stream_writev(struct stream *s, const struct iovec *pieces, int count, struct err *e)
{
    if (s->ssl)
        return stream_write(s, pieces[0].iov_base, pieces[0].iov_len, e);
    return send_pieces(s, pieces, count, e);
}

static int64_t send_pieces(struct stream *s, const struct iovec *pieces, int count, struct err *e)
{
    const struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)pieces,
                                   .msg_iovlen = (size_t)count};
    for (;;) {
        ssize_t n = sendmsg(s->fd, &message, MSG_NOSIGNAL);
        if (n > 0)
            return n;
        if (n < 0 && errno == EAGAIN)
            return -EAGAIN;
        if (n < 0 && errno != EINTR)
            return tls_cut_off(errno, e);
    }
}
