#include "sys/tls.h"

#include <errno.h>
#include <poll.h>

#include <openssl/err.h>

/* Nobody is there to type one; without this OpenSSL would ask the terminal. */
static int no_pass_phrase(char *to, int size, int writing, void *arg)
{
    (void)to;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

SSL_CTX *tls_context_new(const SSL_METHOD *method)
{
    ERR_clear_error();
    SSL_CTX *c = SSL_CTX_new(method);
    if (!c)
        return NULL;
    SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION);
    SSL_CTX_set_options(c, SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(c, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_default_passwd_cb(c, no_pass_phrase);
    return c;
}

int tls_context_load(SSL_CTX *c, const char *cert_file, const char *key_file, struct err *e)
{
    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(c, cert_file) != 1)
        return err_set(e, -EINVAL, ERR_NEVER,
                       "our certificate '%s' cannot be read or is none in PEM form", cert_file);
    if (SSL_CTX_use_PrivateKey_file(c, key_file, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(c) != 1)
        return err_set(e, -EINVAL, ERR_NEVER,
                       "our key '%s' cannot be read, has a pass phrase, or belongs to another "
                       "certificate",
                       key_file);
    return 0;
}

void tls_before(void)
{
    ERR_clear_error();
    errno = 0;
}

int tls_cut_off(int error, struct err *e)
{
    if (error == 0)
        return err_set(e, -ECONNRESET, ERR_NOW, "the other side closed the connection");
    return err_errno(e, -error, "the connection was cut");
}

int tls_trouble(SSL *ssl, int n, short *ret_events, struct err *e)
{
    int system = errno;
    switch (SSL_get_error(ssl, n)) {
    case SSL_ERROR_WANT_READ:
        *ret_events = POLLIN;
        return -EAGAIN;
    case SSL_ERROR_WANT_WRITE:
        *ret_events = POLLOUT;
        return -EAGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    case SSL_ERROR_SYSCALL:
        return tls_cut_off(system, e);
    default:
        if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
            return tls_cut_off(0, e);
        /* A server that wants a certificate from us says so only now, with TLS 1.3. */
        const char *why = ERR_reason_error_string(ERR_peek_error());
        return err_set(e, -EPROTO, ERR_LATER, "TLS broke: %s", why ? why : "unknown");
    }
}
