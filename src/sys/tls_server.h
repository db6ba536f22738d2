#pragma once
/* The server's side of TLS over sockets that never block; OpenSSL 3. TLS 1.2 at least, no
 * renegotiation, no compression; ALPN other than "ftp" or none at all is refused (ALPACA). A
 * context is shared by all connections; one thread owns a connection. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"

struct tls_server;
/* -EINVAL: what is wrong with the files. */
int tls_server_new(const char *cert_file, const char *key_file, struct tls_server **ret,
                   struct err *e);
void tls_server_free(struct tls_server *t);
DEFINE_AUTO(tls_server, tls_server_free)

struct tls_conn;
/* The descriptor stays the caller's. */
int tls_conn_new(struct tls_server *t, int fd, struct tls_conn **ret, struct err *e);
void tls_conn_free(struct tls_conn *c); /* without a word */
DEFINE_AUTO(tls_conn, tls_conn_free)

/* Each: >= 0 done, -EAGAIN wait for tls_conn_events(), else broken. */
int tls_conn_handshake(struct tls_conn *c, struct err *e);
/* Bytes; 0 = the peer said close_notify; -ECONNRESET = it ended without. */
int64_t tls_conn_read(struct tls_conn *c, void *to, size_t size, struct err *e);
int64_t tls_conn_write(struct tls_conn *c, const void *from, size_t size, struct err *e);
int tls_conn_close(struct tls_conn *c, struct err *e); /* sends close_notify */
short tls_conn_events(const struct tls_conn *c);       /* of poll(2) */
bool tls_conn_pending(const struct tls_conn *c);       /* bytes that poll(2) will not tell about */
/* Whether `data` resumed the session of `control`. */
bool tls_conn_resumed_from(const struct tls_conn *data, const struct tls_conn *control);
