#pragma once
/* The server's side of TLS over sockets that never block; OpenSSL 3. TLS 1.2 at least, with forward
 * secrecy; no renegotiation, no compression. ALPN may be absent; a client that offers protocols and
 * none of FTP among them is refused (ALPACA: a browser that was sent here).
 *
 * One thread makes connections and owns the tls_server; each connection belongs to one thread. The
 * program must ignore SIGPIPE: OpenSSL writes with write(2). */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"

struct tls_server;
/* The certificate with its chain, and its key, in PEM form. -EINVAL: what is wrong with the files.
 */
int tls_server_new(const char *cert_file, const char *key_file, struct tls_server **ret,
                   struct err *e);
void tls_server_free(struct tls_server *t); /* connections may live on */
DEFINE_AUTO(tls_server, tls_server_free)
/* Looks whether the files have changed, as Let's Encrypt's do every two months. 1: the new ones are
 * taken, for connections that begin from now on, and sessions of before can be resumed; 0: nothing
 * has changed; -EINVAL: the new ones are no good and the old go on, which is said once per change
 * (the second file may not be there yet). Cheap enough for every minute. */
int tls_server_refresh(struct tls_server *t, struct err *e);

struct tls_conn;
/* The descriptor stays the caller's. */
int tls_conn_new(struct tls_server *t, int fd, struct tls_conn **ret, struct err *e);
void tls_conn_free(struct tls_conn *c); /* without a word */
DEFINE_AUTO(tls_conn, tls_conn_free)
/* Before the handshake of a connection that only receives: no session tickets are sent behind it.
 * With TLS 1.3 a client that closes without having read them resets the connection, and the end of
 * what it sent may be lost with it. */
void tls_conn_without_tickets(struct tls_conn *c);

/* Each: >= 0 done, -EAGAIN wait for tls_conn_events() (`e` untouched), else broken. */
int tls_conn_handshake(struct tls_conn *c, struct err *e);
/* Bytes; 0 = the peer said close_notify; -ECONNRESET = it ended without. */
int64_t tls_conn_read(struct tls_conn *c, void *to, size_t size, struct err *e);
/* Bytes, perhaps fewer. After -EAGAIN the same bytes are offered again, or more that begin so: a
 * record of them is already made. */
int64_t tls_conn_write(struct tls_conn *c, const void *from, size_t size, struct err *e);
/* Sends close_notify and waits for none. Nothing can be written afterwards, but still be read. */
int tls_conn_close(struct tls_conn *c, struct err *e);
/* poll(2)'s events that what said -EAGAIN waits for; POLLIN when nothing did. */
short tls_conn_events(const struct tls_conn *c);
/* Bytes that poll(2) will not tell about: read before waiting, also right behind the handshake.
 * False once a read said -EAGAIN. */
bool tls_conn_pending(const struct tls_conn *c);
/* Whether `data` resumed the session of `control`, or one that was resumed from it: the same client
 * is on both. False while one of them still shakes hands. */
bool tls_conn_resumed_from(const struct tls_conn *data, const struct tls_conn *control);
const char *tls_conn_version(const struct tls_conn *c); /* "TLSv1.3" */
