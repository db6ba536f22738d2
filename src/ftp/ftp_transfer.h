#pragma once
/* One transfer of a session: file and data connection, and the bytes between them. A session has
 * one, and its data connection may be there before the command. The server's thread only.
 *
 *   ftp_transfer_start() -> opened() -> the session answers 150 -> ftp_transfer_go() -> ended()
 *
 * An upload has at most two blocks: one is filled while the other is written. One that fits into a
 * block takes two trips to the disk threads, for its opening and for its end. Where a disk thread
 * may have it whole (ftp_carry.h: the data connection is there, in clear, and no rate is set) it is
 * one, and opened() is skipped when the end comes with it. And where its folder is memory
 * (ftp_upload_finish_at_once()) it takes none while the threads are busy. */

#include "ftp/ftp_engine.h"
#include "ftp/ftp_shared.h"

enum ftp_transfer_phase {
    FTP_PHASE_NONE,
    FTP_PHASE_OPENING, /* at the disk threads; carried, too; or open, and not told yet */
    FTP_PHASE_OPENED,  /* told; the session answers */
    FTP_PHASE_WAITING, /* for the data connection */
    FTP_PHASE_MOVING,
    FTP_PHASE_FINISHING, /* all is here; at the disk threads */
    FTP_PHASE_ENDING,    /* what was begun is undone */
};

struct ftp_transfer {
    struct ftp_shared *shared;
    /* The file is open (code 0), or not: then the transfer is over and ended() does not follow. */
    void (*opened)(struct ftp_transfer *t, int code, bool connected, const struct ftp_file *file);
    void (*ended)(struct ftp_transfer *t, enum ftp_transfer_end end, int code,
                  const struct ftp_file *file);
    /* What opened() would say, and the descriptor to say it on; -1 when that cannot be done by
     * another thread. What was said is in `carry`. */
    int (*voice)(struct ftp_transfer *t, struct dynbuf *ready);
    /* For the owner to read. */
    enum ftp_transfer_phase phase;
    struct ftp_data data;
    int64_t bytes;
    enum ftp_op op;
    struct dynbuf text; /* a list; the owner may add to it in opened() */
    bool carried;       /* `carry` tells of it */
    struct ftp_carry carry;
    /* private */
    struct ftp_seat *seat;
    const struct ftp_account *account;
    struct ftp_data_tls tls;
    struct ftp_errand *errand; /* at the disk threads */
    struct ftp_upload *upload;
    int fd;
    void *block;         /* being filled, or being sent */
    size_t filled, sent; /* bytes of it, or of the list's text */
    struct ftp_block_user user;
    struct ftp_timer timer;
    struct ftp_task again;
    bool at_once;  /* nothing of the upload waits: no disk thread has to do with it */
    bool all_here; /* the sender is done: the other end of an upload, the disk of a download */
    bool paused;   /* by the account's rate */
    bool provable; /* begins as a JPEG does, so that its end can be seen */
    bool alone;    /* the control connection is gone */
    enum ftp_transfer_end end;
    int code;
    struct mono_time began, moved_at, window_at;
    int64_t window_bytes;
    char *path;      /* for the log */
    const char *why; /* likewise, why it was cut */
};

void ftp_transfer_init(struct ftp_transfer *t, struct ftp_shared *sh,
                       const union ftp_address *peer);
void ftp_transfer_done(struct ftp_transfer *t);

/* PASV, EPSV: the port or -errno. What was there before goes. */
int ftp_transfer_listen(struct ftp_transfer *t, const union ftp_address *local, bool foreign);
/* A data connection that nobody uses goes. */
void ftp_transfer_forget_data(struct ftp_transfer *t);

struct ftp_transfer_way {
    enum ftp_data_mode mode;
    union ftp_address local; /* of the control connection */
    int active_port;
    struct ftp_data_tls tls;
};
void ftp_transfer_start(struct ftp_transfer *t, const struct ftp_request *q, struct ftp_seat *seat,
                        const struct ftp_transfer_way *way);
/* A disk thread has it: nothing may be said to the client, and its connection not be closed. */
bool ftp_transfer_is_away(const struct ftp_transfer *t);
/* Then it comes back soon. */
void ftp_transfer_recall(struct ftp_transfer *t);
/* After opened() with code 0 and its reply. */
void ftp_transfer_go(struct ftp_transfer *t, const struct ftp_transfer_way *way);
/* Ends it as cut; ended() comes when nothing of it is left, or, when its end was reached already,
 * with that. `why` is for the log. */
void ftp_transfer_abort(struct ftp_transfer *t, const char *why);
/* The control connection is gone. An upload whose end can be seen in its bytes may go on. */
void ftp_transfer_alone(struct ftp_transfer *t);
bool ftp_transfer_is_upload(const struct ftp_transfer *t); /* one is under way */
