#pragma once
/* Disk work off the server's thread, and fast uploads from their first byte to the last. A few
 * threads take jobs in order of arrival. The ends of uploads that wait at the same time are shared
 * out among all threads but one, and each finishes its share as one group (ftp_upload_finish()):
 * syncs that run beside each other share what the disk does for them, so more threads than
 * processors are worth it (16 on a disk with a write cache). Results come back to the server's
 * thread by ftp_disk_collect() when ftp_disk_fd() is readable.
 *
 * At most half of the threads check passwords at the same time, so that guessing does not hold up
 * cameras, and those from where somebody has logged in before come first. Other than that one slow
 * disk holds up all: there are only so many threads. */

#include "ftp/ftp_carry.h"
#include "ftp/ftp_engine.h"
#include "ftp/ftp_jail.h"

enum ftp_disk_kind {
    FTP_DISK_FILE,   /* one operation of enum ftp_op */
    FTP_DISK_LIST,   /* text of a list */
    FTP_DISK_OPEN,   /* upload, or file to read (then at request.offset; the session closes fd) */
    FTP_DISK_WRITE,  /* one block of an upload; after a failure it waits for its DROP */
    FTP_DISK_FINISH, /* a last block, if any, and the end: the upload is freed whatever comes out */
    FTP_DISK_READ,   /* one block of a file: as much as there is room for, nothing = the end */
    FTP_DISK_CARRY,  /* an upload from OPEN to FINISH in one hand, or back before its end */
    FTP_DISK_DROP,   /* closes an upload that failed */
    FTP_DISK_LOGIN,  /* a password whose check takes long */
};

/* One job; belongs to its session, of which at most one is under way. Plain data, filled by the
 * session, results filled by the disk thread. */
struct ftp_disk_job {
    enum ftp_disk_kind kind;
    struct ftp_jail *jail;
    struct ftp_request request;    /* FILE, LIST, OPEN, CARRY */
    struct ftp_upload *upload;     /* OPEN gives it, WRITE uses it, FINISH and DROP take it; CARRY
                                      gives it when it is FTP_CARRY_BACK */
    struct ftp_carry *carry;       /* CARRY; the session's */
    int fd;                        /* OPEN of a file to read gives it */
    void *block;                   /* WRITE, FINISH: bytes; READ: room; the session's */
    size_t block_size;             /* READ: what came */
    bool check_end;                /* FINISH, CARRY: what is cut or short is -EBADMSG */
    unsigned rights;               /* LIST, LIST_INLINE */
    struct wall_time now;          /* LIST, LIST_INLINE */
    struct ftp_accounts *accounts; /* LOGIN, with user, password, from */
    const char *user, *password;
    const struct sockaddr *from;
    bool known;          /* it goes before those of strangers */
    atomic_bool dropped; /* LOGIN, by the session at any time: -ECANCELED if it has not begun */
    const struct ftp_account *account; /* LOGIN gives it */
    /* Results. */
    int code;
    struct err error;
    struct ftp_file file;
    struct dynbuf
        text;    /* LIST, LIST_INLINE make it, whatever the code; dynbuf_done() by the session */
    void *owner; /* the session's */
    struct ftp_disk_job *next; /* private */
};

/* Uploads of which nothing ever waits (ftp_upload_finish_at_once()), on the caller's thread.
 * -EAGAIN: not this one, or not its end; then it is a job, and nothing has changed. */
int ftp_disk_open_at_once(struct ftp_jail *j, const struct ftp_request *q, struct ftp_upload **ret,
                          struct err *e);
int ftp_disk_end_at_once(struct ftp_upload *u, bool check_end, struct ftp_file *ret, struct err *e);

struct ftp_disk;
void ftp_disk_register_metrics(void);
int ftp_disk_start(int threads, struct ftp_disk **ret, struct err *e);
int ftp_disk_fd(const struct ftp_disk *d); /* readable: something is done */
void ftp_disk_submit(struct ftp_disk *d, struct ftp_disk_job *job);
/* A list of finished jobs linked by `next`, or NULL. */
struct ftp_disk_job *ftp_disk_collect(struct ftp_disk *d);
/* Finishes what was submitted, joins; what is then done can still be collected. Nothing may be
 * submitted any more. May be called twice. */
void ftp_disk_stop(struct ftp_disk *d);
void ftp_disk_free(struct ftp_disk *d);
