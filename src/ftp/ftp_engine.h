#pragma once
/* The protocol of one control connection: a command line in, replies and at most one request out.
 * Pure: no sockets, files or clock. The session (ftp_session.c) carries requests out and reports
 * back; until it has, it gives the engine no further line (ABOR, QUIT and STAT during a transfer
 * apart, see ftp_engine_interrupt()).
 *
 *   line  -> ftp_engine_line()          replies and a request
 *   FTP_ASK_LOGIN    -> ftp_engine_login()
 *   FTP_ASK_LISTEN   -> ftp_engine_listening()
 *   FTP_ASK_FILE     -> ftp_engine_file_done()
 *   FTP_ASK_TRANSFER -> ftp_engine_opened(), and if that gave 150/125: ftp_engine_transferred()
 *   FTP_ASK_TLS      -> the session sends the replies in clear, forgets what waits in its reader,
 *                       shakes hands; ftp_engine_secured() or it closes
 *   FTP_ASK_CLOSE    -> the session sends the replies and closes
 *
 * Sources: RFC 959, 1123 4.1, 2228, 2389, 2428, 2640, 3659, 4217; draft-somers-ftp-mfxx. */

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/dynbuf.h"
#include "base/err.h"
#include "ftp/ftp_account.h"
#include "ftp/ftp_file.h"
#include "ftp/ftp_list.h"
#include "ftp/ftp_path.h"

enum ftp_ask {
    FTP_ASK_NOTHING,
    FTP_ASK_LOGIN,
    FTP_ASK_LISTEN,
    FTP_ASK_FILE,
    FTP_ASK_TRANSFER,
    FTP_ASK_ABORT, /* end the transfer; its ftp_engine_transferred() follows */
    FTP_ASK_TLS,
    FTP_ASK_CLOSE,
};

enum ftp_op {
    /* FTP_ASK_FILE */
    FTP_OP_ENTER,       /* CWD: is it a folder? */
    FTP_OP_STAT,        /* SIZE, MDTM, MLST, RNFR (is it there?) */
    FTP_OP_LIST_INLINE, /* STAT path: the list goes over the control connection */
    FTP_OP_MAKE,        /* MKD, with the parents that are missing */
    FTP_OP_REMOVE_FOLDER,
    FTP_OP_DELETE,
    FTP_OP_RENAME,   /* path -> path_to */
    FTP_OP_MODIFIED, /* MFMT, MDTM with two arguments, SITE UTIME */
    /* FTP_ASK_TRANSFER */
    FTP_OP_STORE,    /* also STOU: path is chosen by the jail when `unique` */
    FTP_OP_APPEND,   /* APPE, and STOR after REST: `offset`, -1 = at the end */
    FTP_OP_RETRIEVE, /* from `offset` */
    FTP_OP_LIST,
};

struct ftp_request {
    enum ftp_op op;
    char path[FTP_PATH_MAX]; /* virtual, normal */
    char path_to[FTP_PATH_MAX];
    int64_t offset;
    int64_t announced; /* ALLO before it, 0 = none: refuse at once what cannot fit */
    bool exact;        /* STORE: fewer bytes than announced are not all of them */
    bool unique;
    bool overwrite;       /* STORE, APPEND, RENAME: what is there may be changed; else -EEXIST */
    struct ftp_mark over; /* of what may be changed without `overwrite` */
    /* REMOVE_FOLDER, DELETE, RENAME, MODIFIED: anything else of that name is let alone and as good
     * as nothing (-ENOENT). */
    struct ftp_mark only;
    struct wall_time modified;
    enum ftp_list_form form;
    unsigned facts;
    bool empty; /* LIST: the account has no right to see one: the disk is not looked at */
};

enum ftp_data_mode { FTP_DATA_NONE, FTP_DATA_PASSIVE, FTP_DATA_ACTIVE };

struct ftp_engine_options {
    const char *banner; /* of 220; must outlive the engine */
    bool tls_possible;  /* AUTH TLS is offered */
    bool tls_required;  /* no USER before it; data connections must be protected */
    bool tls_implicit;  /* the connection began with TLS */
    bool peer_is_ipv6;
    char peer[64];       /* numeric address of the control peer: PORT/EPRT must name it */
    int active_port_min; /* lowest port accepted in PORT/EPRT: 1024 */
    bool active_allowed;
};

/* Some 250 bytes, and as much for replies; what is long (a request) is allocated while needed. */
struct ftp_engine;

struct ftp_engine *ftp_engine_new(const struct ftp_engine_options *o);
void ftp_engine_free(struct ftp_engine *en);

/* What the session reads after a call: replies to send (it takes them out), and what is asked. */
struct dynbuf *ftp_engine_replies(struct ftp_engine *en);
const struct ftp_request *ftp_engine_request(const struct ftp_engine *en); /* of FILE, TRANSFER */

void ftp_engine_greet(struct ftp_engine *en);
enum ftp_ask ftp_engine_line(struct ftp_engine *en, const char *line, size_t len);
enum ftp_ask ftp_engine_line_too_long(struct ftp_engine *en);
/* A line during a transfer. Only for what ftp_engine_interrupts() says yes to: ABOR, QUIT, and STAT
 * alone. ABOR gives FTP_ASK_ABORT; QUIT is answered when the transfer is over. Without a request it
 * is the same as ftp_engine_line(). */
bool ftp_engine_interrupts(const char *line, size_t len);
enum ftp_ask ftp_engine_interrupt(struct ftp_engine *en, const char *line, size_t len,
                                  int64_t transferred_bytes);

/* The credentials of FTP_ASK_LOGIN; ftp_engine_login() forgets and wipes the password. */
const char *ftp_engine_user(const struct ftp_engine *en);
const char *ftp_engine_password(const struct ftp_engine *en);
/* `a` NULL: refused (530); after the third time FTP_ASK_CLOSE (421). The account must stay until
 * ftp_engine_account() is another or none (USER, REIN, TLS), or the engine is freed. */
enum ftp_ask ftp_engine_login(struct ftp_engine *en, const struct ftp_account *a);
const struct ftp_account *ftp_engine_account(const struct ftp_engine *en); /* NULL before */

/* PASV or EPSV: the port that listens, and for PASV the IPv4 address to tell (network order of
 * RFC 959's h1..h4). port < 0: -errno, 425. `extended` tells which is asked. */
bool ftp_engine_listen_extended(const struct ftp_engine *en);
enum ftp_ask ftp_engine_listening(struct ftp_engine *en, int port, const uint8_t ipv4[4]);

/* How the data connection of the next transfer comes about; reset after each, so the session drops
 * a listener or a connection that waits while this is not FTP_DATA_PASSIVE. */
enum ftp_data_mode ftp_engine_data_mode(const struct ftp_engine *en);
int ftp_engine_active_port(const struct ftp_engine *en);     /* at the control peer's address */
bool ftp_engine_data_protected(const struct ftp_engine *en); /* PROT P */

/* `file` of STAT and MAKE (the others need not). code: 0 or -errno, with the text for logs in
 * `why` (may be NULL). LIST_INLINE: `text` are the lines. */
enum ftp_ask ftp_engine_file_done(struct ftp_engine *en, int code, const struct ftp_file *file,
                                  const char *text);
/* The file is open (code 0: 150, or 125 when `connected`; STOU names `file`'s name), or why not. */
enum ftp_ask ftp_engine_opened(struct ftp_engine *en, int code, bool connected,
                               const struct ftp_file *file);

/* What opened() with code 0 will say of the upload that is asked for, and connected; false when
 * that is not known yet (STOU). For who says it in the engine's stead (ftp_carry.h): then the
 * session drops the engine's own word. */
bool ftp_engine_put_ready(const struct ftp_engine *en, struct dynbuf *out);
/* Likewise what transferred() will say of an upload that is DONE. Any thread. */
void ftp_engine_put_stored(struct dynbuf *out, const struct ftp_file *file);

/* Adds to the text of a LIST what the session has stored lately in that folder and the text does
 * not show: some clients (rclone) look for their upload right after it, when it was taken already,
 * or belongs to an account that sees no lists. To be called while the request is open. */
void ftp_engine_list_own(const struct ftp_engine *en, struct dynbuf *text, struct wall_time now);

enum ftp_transfer_end {
    FTP_TRANSFER_DONE,          /* 226: for uploads only when durable under the final name */
    FTP_TRANSFER_NO_CONNECTION, /* 425 */
    FTP_TRANSFER_CUT,           /* 426: reset, stalled, aborted by the client (then 226 for ABOR) */
    FTP_TRANSFER_NO_TLS,        /* 522 */
    FTP_TRANSFER_INCOMPLETE, /* 451: no end, shorter than announced, or TLS without close_notify */
    FTP_TRANSFER_LOCAL,      /* by code: 452 no space, 552 quota or too large, 553 name, 451 */
};
/* The end; also instead of ftp_engine_opened(), when there was no connection to begin with. `file`
 * of an upload that is DONE: its final name, size and time, which the engine remembers. */
enum ftp_ask ftp_engine_transferred(struct ftp_engine *en, enum ftp_transfer_end end, int code,
                                    const struct ftp_file *file);
/* The handshake of AUTH TLS succeeded: login starts again. */
void ftp_engine_secured(struct ftp_engine *en);
/* A word before the session is closed by us: 421 with the reason. In any state; results that come
 * later are ignored (FTP_ASK_CLOSE). */
void ftp_engine_goodbye(struct ftp_engine *en, const char *reason);
