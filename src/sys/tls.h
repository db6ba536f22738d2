#pragma once
/* What the two sides of TLS share, stream.c (client) and tls_server.c: private to them, and with
 * them the one door to OpenSSL's TLS. */

#include <openssl/ssl.h>

#include "base/err.h"

/* A context that asks for TLS 1.2, allows no renegotiation, and never asks anybody for a pass
 * phrase; NULL = no memory. */
SSL_CTX *tls_context_new(const SSL_METHOD *method);
/* Our certificate with its chain, and its key, in PEM form. -EINVAL: what is wrong with which file.
 */
int tls_context_load(SSL_CTX *c, const char *cert_file, const char *key_file, struct err *e);

/* Before each call of SSL_read() and its like, which speak through two global variables. */
void tls_before(void);
/* What such a call meant by `n` <= 0; right behind it. -EAGAIN: wait for *ret_events of poll(2);
 * 0: the other side said good-bye (close_notify); -ECONNRESET and other errnos: it was cut;
 * -EPROTO: TLS broke. */
int tls_trouble(SSL *ssl, int n, short *ret_events, struct err *e);
/* The words for a connection that ended: 0 without an error, else a positive errno. */
int tls_cut_off(int error, struct err *e);
