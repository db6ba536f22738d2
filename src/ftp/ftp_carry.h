#pragma once
/* An upload in one hand: a disk thread opens it, says so, takes its bytes from the data connection
 * itself, makes it safe, and says that. A camera that sends at full speed has its 226 after one
 * hop from the server's thread, where four are needed when both threads share the work.
 *
 * No thread is kept by a slow client: all waiting for bytes together is FTP_CARRY_PATIENCE_MS at
 * most. Who needs longer, or sends a film, or is asked back, goes back to the server's thread as it
 * is, and goes on there. So nothing of limits, clocks and aborts has to be known here.
 *
 * The owner of the job leaves both descriptors alone, and says nothing to the client, until the job
 * is done. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/dynbuf.h"
#include "ftp/ftp_jail.h"

/* A wireless camera's answer to 125 takes a few milliseconds. */
#define FTP_CARRY_PATIENCE_MS 4
/* All together: a byte now and then is slow, too. */
#define FTP_CARRY_TIME_MS 50
/* Then the others have their turn, and blocks, which are written while more comes, are faster. */
#define FTP_CARRY_BYTES_MAX (1 << 20)
/* What is taken at once; of 128 KB there are no more uploads a second, but more memory. */
#define FTP_CARRY_ROOM (64 << 10)

enum ftp_carry_end {
    FTP_CARRY_WAITS,   /* for bytes; never a job's end */
    FTP_CARRY_REFUSED, /* not opened: job.code */
    FTP_CARRY_BACK,    /* open, and not at its end: job.upload */
    FTP_CARRY_CUT,     /* the data connection broke, by `error`; nothing is kept */
    FTP_CARRY_FAILED,  /* while it came, by job.code; nothing is kept */
    FTP_CARRY_ENDED,   /* as FTP_DISK_FINISH ends, by job.code */
};

struct ftp_carry {
    int data_fd;          /* connected, not blocking, in clear; -1 when it was closed */
    int control_fd;       /* not blocking, in clear */
    struct dynbuf ready;  /* said when the file is open; the owner's */
    struct dynbuf stored; /* likewise, when it is safe: dynbuf_init() by the owner */
    atomic_bool recall;   /* by the owner, at any time: give it back */
    /* Results. */
    enum ftp_carry_end end;
    size_t ready_said, stored_said; /* bytes that went out */
    int error;                      /* of CUT: -errno */
    int64_t bytes;                  /* that came */
    bool begins_jpeg;
};

/* Receives into the upload. 0 = that was all; -EAGAIN: it goes back; others: it is over, and `end`
 * says how. `room` has FTP_CARRY_ROOM bytes. */
int ftp_carry_receive(struct ftp_carry *c, struct ftp_upload *u, void *room, struct err *e);
/* 0, or -EAGAIN: it goes back, for the client does not read. */
int ftp_carry_say_ready(struct ftp_carry *c);
void ftp_carry_say_stored(struct ftp_carry *c, const struct ftp_file *file);
