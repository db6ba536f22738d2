#pragma once
/* A client's byte stream: TCP, with TLS when wanted. (tls_server.h is the other side of TLS.)
 *
 * Nothing here waits longer than it was told to. Opening looks the name up, tries the addresses it
 * has, and shakes hands, all within one limit and until a descriptor of the caller's says stop;
 * afterwards reading and writing never wait. One thread owns a stream. With TLS the program must
 * ignore SIGPIPE: OpenSSL writes with write(2).
 *
 * Errors say what happened and what to look at, not where: the caller puts its partner's name in
 * front. -ECANCELED: stopped. -ETIMEDOUT, -ECONNREFUSED, -EHOSTUNREACH and their like, and
 * -EADDRNOTAVAIL (no address for the name) are ERR_LATER. -EKEYREJECTED (a certificate), -EPROTO
 * (no TLS there) and -EINVAL (our own files) are ERR_NEVER: somebody has to change something. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/macros.h"

struct stream_options {
    const char *host; /* a name or an address, without brackets */
    uint16_t port;
    bool tls;                  /* at least 1.2, the chain always verified */
    const char *tls_ca_file;   /* NULL = the system's */
    const char *tls_cert_file; /* our own certificate (with its chain) and its key; NULL = none */
    const char *tls_key_file;
    bool tls_any_host; /* a certificate for any name will do, as long as its chain is good */
    int64_t timeout_ms;
    int stop_fd; /* readable = give up; -1 = none */
};

struct stream;

/* Options are borrowed for the call. */
int stream_open(const struct stream_options *o, struct stream **ret, struct err *e);
void stream_close(struct stream *s); /* at once; says good-bye to TLS without waiting */
int stream_fd(const struct stream *s);
/* A connection that the caller has made: takes a connected socket that does not block. */
struct stream *stream_adopt(int *fd);
/* TLS from here on, as the protocol has agreed upon (AUTH TLS); host, tls_..., timeout_ms and
 * stop_fd of the options count, `tls` does not. After a failure the stream can only be closed. */
int stream_start_tls(struct stream *s, const struct stream_options *o, struct err *e);
/* Says that nothing more will be written: TLS' close_notify, then TCP's FIN. Reading goes on, and
 * the peer's last words are not lost as by a close with unread bytes, which resets. */
void stream_end(struct stream *s);

/* Bytes (at least 1), -EAGAIN when there is nothing now (`e` untouched), -ECONNRESET when the peer
 * closed or cut the connection (ERR_NOW), or another errno. */
int64_t stream_read(struct stream *s, void *to, size_t size, struct err *e);
int64_t stream_write(struct stream *s, const void *from, size_t size, struct err *e);
/* The same of pieces one behind the other, none of them empty. With TLS it takes of the first one
 * alone. */
int64_t stream_writev(struct stream *s, const struct iovec *pieces, int count, struct err *e);
/* poll(2) events to wait for before the next stream_read(), or, with `writing`, also for a
 * stream_write() that said -EAGAIN. What was read but not asked for stays inside: read until
 * -EAGAIN, else poll may be silent about it. */
short stream_events(const struct stream *s, bool writing);
/* Waits for those events. 0, -ETIMEDOUT, or -ECANCELED when stop_fd is readable. */
int stream_wait(const struct stream *s, bool writing, struct mono_time deadline, int stop_fd);
