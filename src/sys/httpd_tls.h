#pragma once
/* The certificate of the HTTP server, and the one door to GnuTLS, which libmicrohttpd speaks TLS
 * with. It can be changed while connections are open. */

#include "base/err.h"
#include "base/macros.h"

/* TLS 1.2 at least, with forward secrecy. In the library's own form. */
#define HTTPD_TLS_PRIORITIES                                                                       \
    "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-RSA:-DHE-RSA:-SHA1:%SERVER_PRECEDENCE"

struct httpd_identity;
/* The certificate with its chain, and its key, in PEM form. -EINVAL: what is wrong with the files.
 * Any thread. */
int httpd_identity_load(const char *cert_file, const char *key_file, struct httpd_identity **ret,
                        struct err *e);
void httpd_identity_free(struct httpd_identity *i);
DEFINE_AUTO(httpd_identity, httpd_identity_free)

/* What the library is given to ask for the certificate of a connection: a
 * gnutls_certificate_retrieve_function2. It finds it by httpd_identity_use(). */
extern void *const httpd_identity_callback;
/* For handshakes on this thread from now on. Those that are under way may still use the one before:
 * it must live until they are over. */
void httpd_identity_use(const struct httpd_identity *i);
