#pragma once
/* One data connection of a session: how it comes about (we listen, or we connect), who may be at
 * its other end, TLS, and its bytes. Never blocks. Embedded in its owner; the server's thread only.
 *
 *   listen ----.
 *               +-> connected --ftp_data_begin()--> (TLS handshake) -> open: bytes
 *   connect ---'
 *
 * A listener takes one connection, from the right address, and is closed by it. It lies in the
 * kernel's backlog until the transfer asks for it (most clients connect before they send the
 * command, so that costs nothing), but at most FTP_DATA_LOOK_MS: then strangers are sent away at
 * once. */

#include "ftp/ftp_address.h"
#include "ftp/ftp_loop.h"
#include "sys/tls_server.h"

#define FTP_DATA_LOOK_MS 50

enum ftp_data_state {
    FTP_DATA_CLOSED,
    FTP_DATA_LISTENING,
    FTP_DATA_CONNECTING,
    FTP_DATA_CONNECTED, /* waits for ftp_data_begin() */
    FTP_DATA_SHAKING,
    FTP_DATA_OPEN,
    FTP_DATA_LENT, /* another thread reads it; nothing else may be done with it meanwhile */
};

struct ftp_data {
    struct ftp_loop *loop;
    union ftp_address peer; /* of the control connection */
    bool foreign;           /* other addresses may connect */
    /* Something happened: look at `state`, `error`, and go on reading or writing. */
    void (*happened)(struct ftp_data *d);
    void (*stranger)(struct ftp_data *d, const union ftp_address *from); /* one was sent away */
    /* For the owner to read. */
    enum ftp_data_state state;
    int error;        /* why it is closed: -errno, or 0 */
    bool refused_tls; /* the handshake failed, or did not resume the control connection's session */
    bool ready;       /* a read or write may succeed */
    bool truncated;   /* TLS ended without close_notify */
    /* private */
    struct ftp_watch watch;
    struct tls_conn *tls;
    const struct tls_conn *control_tls; /* its session must be resumed; NULL = need not */
    bool hung_up;
};

void ftp_data_init(struct ftp_data *d, struct ftp_loop *l); /* the owner fills the first part */
void ftp_data_close(struct ftp_data *d);                    /* whatever it is; at once */

struct ftp_ports {
    int min, max;
};
/* Listens at `local` (its port is not used) on a random port. Returns the port or -errno. */
int ftp_data_listen(struct ftp_data *d, const union ftp_address *local, struct ftp_ports ports);
/* Looks whether somebody has connected, and from now on is told. */
void ftp_data_look(struct ftp_data *d);
/* Connects to the peer's `port`, from `local`. 0 or -errno; goes on by itself. */
int ftp_data_connect(struct ftp_data *d, const union ftp_address *local, int port);

struct ftp_data_tls {
    struct tls_server *server;          /* NULL = in clear */
    const struct tls_conn *resume_from; /* NULL = any session */
};
/* From FTP_DATA_CONNECTED. We will send, or we will receive. 0 or -errno. */
int ftp_data_begin(struct ftp_data *d, bool writes, const struct ftp_data_tls *tls);

/* From FTP_DATA_CONNECTED: the descriptor, for another thread. When it comes back the state is the
 * same again, or it was closed there (-1). */
int ftp_data_lend(struct ftp_data *d);
void ftp_data_take_back(struct ftp_data *d, int fd);

/* Bytes; -EAGAIN: wait for happened(); 0 = the other end is done (see `truncated`); -ECONNRESET and
 * others: it is cut. */
int64_t ftp_data_read(struct ftp_data *d, void *to, size_t size);
int64_t ftp_data_write(struct ftp_data *d, const void *from, size_t size);
/* All was sent: says so. 0, -EAGAIN, or another errno. Then ftp_data_close(). */
int ftp_data_end(struct ftp_data *d);

/* A port of the range, each as likely as any other; not to be guessed. */
int ftp_data_random_port(struct ftp_ports ports);
