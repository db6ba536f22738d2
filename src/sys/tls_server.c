#include "sys/tls_server.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>

#include <openssl/err.h>

#include "base/mem.h"
#include "sys/hash.h"
#include "sys/passwd.h"
#include "sys/tls.h"

/* Which connections are of one client is told by a mark: random bytes that a connection gives to
 * its session and that the session's ticket carries, encrypted, to the connections that resume it.
 */

enum {
    MARK_BYTES = 16,
    TICKET_KEY_BYTES = 80,
    /* Sessions that clients without tickets resume by their number; some 1 KB each. */
    CACHED_SESSIONS_MAX = 256,
    /* A camera may keep its session for days, and with each picture resume what it got at the
     * start; TLS 1.3 knows no longer time. */
    SESSION_SECONDS = 7 * 24 * 3600,
    FILES = 2,
};

/* A file that was replaced or written to has another one. */
struct stamp {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec modified;
};

struct tls_server {
    SSL_CTX *context;
    char *files[FILES]; /* certificate, key */
    struct stamp stamps[FILES];
};

struct tls_conn {
    SSL *ssl;
    short read_events, write_events; /* of the last -EAGAIN, else 0 */
    bool drained;                    /* the last read got nothing */
    bool broken;                     /* OpenSSL wants no further call */
    uint8_t mark[MARK_BYTES];
};

static int new_context(struct tls_server *t, SSL_CTX **ret, struct err *e);
static void take_stamps(const struct tls_server *t, struct stamp ret[FILES]);

int tls_server_new(const char *cert_file, const char *key_file, struct tls_server **ret,
                   struct err *e)
{
    AUTO(tls_server) t = xcalloc(1, sizeof(*t));
    t->files[0] = xstrdup(cert_file);
    t->files[1] = xstrdup(key_file);
    take_stamps(t, t->stamps); /* before they are read: a change meanwhile is a change */
    int r = new_context(t, &t->context, e);
    if (r < 0)
        return r;
    *ret = STEAL(t);
    return 0;
}

void tls_server_free(struct tls_server *t)
{
    if (!t)
        return;
    SSL_CTX_free(t->context);
    for (int i = 0; i < FILES; i++)
        free(t->files[i]);
    free(t);
}

static bool same_stamp(const struct stamp *a, const struct stamp *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->modified.tv_sec == b->modified.tv_sec && a->modified.tv_nsec == b->modified.tv_nsec;
}

int tls_server_refresh(struct tls_server *t, struct err *e)
{
    struct stamp now[FILES];
    take_stamps(t, now);
    bool same = true;
    for (int i = 0; i < FILES; i++)
        same = same && same_stamp(&now[i], &t->stamps[i]);
    if (same)
        return 0;
    memcpy(t->stamps, now, sizeof(now));
    SSL_CTX *fresh = NULL;
    int r = new_context(t, &fresh, e);
    if (r < 0)
        return r;
    uint8_t keys[TICKET_KEY_BYTES];
    /* Sessions of before stay good; where this fails they are only shaken hands anew. */
    if (SSL_CTX_get_tlsext_ticket_keys(t->context, keys, sizeof(keys)) == 1)
        (void)SSL_CTX_set_tlsext_ticket_keys(fresh, keys, sizeof(keys));
    explicit_bzero(keys, sizeof(keys));
    SSL_CTX_free(t->context);
    t->context = fresh;
    return 1;
}

static void take_stamps(const struct tls_server *t, struct stamp ret[FILES])
{
    for (int i = 0; i < FILES; i++) {
        struct stat st;
        ret[i] = (struct stamp){0};
        if (stat(t->files[i], &st) == 0)
            ret[i] = (struct stamp){st.st_dev, st.st_ino, st.st_size, st.st_mtim};
    }
}

/* ---- the context ---- */

/* RFC 7301 with the names that clients of FTP use; IANA has none of them for it. */
static int on_alpn(SSL *ssl, const unsigned char **ret, unsigned char *ret_len,
                   const unsigned char *offered, unsigned len, void *arg)
{
    static const char *const ours[] = {"ftp", "ftp-data", "x-filezilla-ftp"};
    (void)ssl;
    (void)arg;
    for (unsigned at = 0; at < len; at += 1 + offered[at]) /* OpenSSL has checked its form */
        for (size_t i = 0; i < ARRAY_LEN(ours); i++)
            if (offered[at] == strlen(ours[i]) &&
                memcmp(offered + at + 1, ours[i], offered[at]) == 0) {
                *ret = offered + at + 1;
                *ret_len = offered[at];
                return SSL_TLSEXT_ERR_OK;
            }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static void mark_session(SSL *ssl, SSL_SESSION *session)
{
    const struct tls_conn *c = SSL_get_app_data(ssl);
    /* A session that cannot be marked proves nothing, so it is one that was not resumed. */
    (void)SSL_SESSION_set1_ticket_appdata(session, c->mark, sizeof(c->mark));
}

/* A ticket is being made. One for a session that was resumed keeps the mark of the first. */
static int on_ticket(SSL *ssl, void *arg)
{
    (void)arg;
    if (!SSL_session_reused(ssl))
        mark_session(ssl, SSL_get_session(ssl));
    return 1;
}

/* A session is put into the cache, for a client without tickets. */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
    if (!SSL_session_reused(ssl))
        mark_session(ssl, session);
    return 0; /* we keep no reference */
}

static int new_context(struct tls_server *t, SSL_CTX **ret, struct err *e)
{
    static const unsigned char name[] = "ftp"; /* sessions of other servers are none of ours */
    SSL_CTX *c = tls_context_new(TLS_server_method());
    if (!c)
        return err_set(e, -ENOMEM, ERR_LATER, "no memory for TLS");
    SSL_CTX_set_options(c, SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                               SSL_OP_PRIORITIZE_CHACHA); /* for cameras without AES in hardware */
    SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS);        /* 34 KB less of each idle connection */
    SSL_CTX_set_read_ahead(c, 1); /* else each record costs two system calls */
    SSL_CTX_set_timeout(c, SESSION_SECONDS);
    SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_SERVER);
    SSL_CTX_sess_set_cache_size(c, CACHED_SESSIONS_MAX);
    SSL_CTX_sess_set_new_cb(c, on_session);
    SSL_CTX_set_alpn_select_cb(c, on_alpn, NULL);
    /* Forward secrecy in all; CBC for cameras that know TLS 1.2 and nothing newer. */
    int fine = SSL_CTX_set_cipher_list(c, "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES:!aNULL") == 1 &&
               SSL_CTX_set_session_id_context(c, name, sizeof(name) - 1) == 1 &&
               SSL_CTX_set_session_ticket_cb(c, on_ticket, NULL, NULL) == 1;
    int r = fine ? tls_context_load(c, t->files[0], t->files[1], e)
                 : err_set(e, -EINVAL, ERR_NEVER, "OpenSSL does not know what we ask of it");
    if (r < 0) {
        SSL_CTX_free(c);
        return r;
    }
    *ret = c;
    return 0;
}

/* ---- a connection ---- */

int tls_conn_new(struct tls_server *t, int fd, struct tls_conn **ret, struct err *e)
{
    AUTO(tls_conn) c = xcalloc(1, sizeof(*c));
    ERR_clear_error();
    c->ssl = SSL_new(t->context);
    if (!c->ssl || SSL_set_fd(c->ssl, fd) != 1)
        return err_set(e, -ENOMEM, ERR_LATER, "no memory for TLS");
    SSL_set_app_data(c->ssl, c);
    SSL_set_accept_state(c->ssl);
    hash_random(c->mark, sizeof(c->mark));
    *ret = STEAL(c);
    return 0;
}

void tls_conn_free(struct tls_conn *c)
{
    if (!c)
        return;
    ERR_clear_error();
    /* OpenSSL would forget the session of a connection that ended without a good-bye, as TLS 1.0
     * asked for. But after an upload that we gave up the camera must be able to resume with the
     * next. */
    if (c->ssl)
        SSL_set_shutdown(c->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(c->ssl);
    free(c);
}

void tls_conn_without_tickets(struct tls_conn *c)
{
    (void)SSL_set_num_tickets(c->ssl, 0); /* cannot fail on a server's side */
}

static int handshake_failed(int r, struct err *e)
{
    switch (ERR_GET_REASON(ERR_peek_error())) {
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW:
        return err_set(e, -EPROTO, ERR_NEVER, "it speaks no TLS from 1.2 on");
    case SSL_R_HTTP_REQUEST:
    case SSL_R_WRONG_VERSION_NUMBER:
        return err_set(e, -EPROTO, ERR_NEVER, "what it sent is no TLS");
    case SSL_R_NO_SHARED_CIPHER:
        return err_set(e, -EPROTO, ERR_NEVER, "it knows none of our ciphers");
    case SSL_R_NO_APPLICATION_PROTOCOL:
        return err_set(e, -EPROTO, ERR_NEVER, "it wants another protocol than FTP (ALPN)");
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
        return err_set(e, -EPROTO, ERR_NEVER,
                       "it does not accept our certificate: let it trust the one who signed it, or "
                       "switch its check off");
    default:
        if (r == 0) /* it said good-bye instead */
            (void)tls_cut_off(0, e);
        return err_prefix(e, "TLS handshake");
    }
}

/* Of the session that was resumed. */
static void take_mark(struct tls_conn *c)
{
    void *mark = NULL;
    size_t size = 0;
    if (SSL_session_reused(c->ssl) &&
        SSL_SESSION_get0_ticket_appdata(SSL_get0_session(c->ssl), &mark, &size) == 1 &&
        size == sizeof(c->mark))
        memcpy(c->mark, mark, size);
}

int tls_conn_handshake(struct tls_conn *c, struct err *e)
{
    assert(!c->broken);
    c->read_events = c->write_events = 0;
    tls_before();
    int n = SSL_accept(c->ssl);
    if (n == 1) {
        take_mark(c);
        return 0;
    }
    struct err own = {0};
    e = e ? e : &own;
    int r = tls_trouble(c->ssl, n, &c->read_events, e);
    if (r == -EAGAIN)
        return r;
    c->broken = true;
    return handshake_failed(r, e);
}

int64_t tls_conn_read(struct tls_conn *c, void *to, size_t size, struct err *e)
{
    assert(size > 0 && !c->broken);
    c->read_events = 0;
    tls_before();
    int n = SSL_read(c->ssl, to, (int)MIN(size, (size_t)INT_MAX));
    c->drained = n <= 0;
    if (n > 0)
        return n;
    int r = tls_trouble(c->ssl, n, &c->read_events, e);
    c->broken = r < 0 && r != -EAGAIN;
    return r;
}

int64_t tls_conn_write(struct tls_conn *c, const void *from, size_t size, struct err *e)
{
    assert(size > 0 && !c->broken);
    c->write_events = 0;
    tls_before();
    int n = SSL_write(c->ssl, from, (int)MIN(size, (size_t)INT_MAX));
    if (n > 0)
        return n;
    int r = tls_trouble(c->ssl, n, &c->write_events, e);
    c->broken = r != -EAGAIN;
    /* That it will send no more does not keep us from sending, so it is no answer to a write. */
    return r == 0 ? tls_cut_off(0, e) : r;
}

int tls_conn_close(struct tls_conn *c, struct err *e)
{
    c->write_events = 0;
    if (c->broken || !SSL_is_init_finished(c->ssl))
        return 0; /* there is nothing that could be ended properly */
    tls_before();
    int n = SSL_shutdown(c->ssl);
    if (n >= 0)
        return 0;
    int r = tls_trouble(c->ssl, n, &c->write_events, e);
    c->broken = r != -EAGAIN;
    return r;
}

short tls_conn_events(const struct tls_conn *c)
{
    short events = (short)(c->read_events | c->write_events);
    return events ? events : POLLIN;
}

bool tls_conn_pending(const struct tls_conn *c)
{
    return !c->broken && !c->drained && SSL_has_pending(c->ssl);
}

bool tls_conn_resumed_from(const struct tls_conn *data, const struct tls_conn *control)
{
    return SSL_is_init_finished(data->ssl) && SSL_is_init_finished(control->ssl) &&
           SSL_session_reused(data->ssl) &&
           passwd_same(data->mark, control->mark, sizeof(data->mark));
}

const char *tls_conn_version(const struct tls_conn *c)
{
    return SSL_get_version(c->ssl);
}
