#pragma once
/* What the sessions of one server share. Made by ftp_server.c; its thread alone touches it, but for
 * what is said to be of any thread. */

#include <pthread.h>
#include <stdatomic.h>

#include "ftp/ftp_address.h"
#include "ftp/ftp_blocks.h"
#include "ftp/ftp_config.h"
#include "ftp/ftp_data.h"
#include "ftp/ftp_disk.h"
#include "ftp/ftp_guard.h"
#include "ftp/ftp_loop.h"
#include "ftp/ftp_realm.h"

struct ftp_session;

struct ftp_shared {
    struct ftp_loop *loop;
    struct ftp_blocks *blocks;
    struct ftp_disk *disk;
    struct ftp_guard *guard;
    struct tls_server *tls;   /* NULL = none */
    struct ftp_config config; /* numbers; texts only as below */
    char *banner;
    bool has_masquerade;
    struct in_addr masquerade;
    struct ftp_ports ports;
    struct ftp_realm *realm; /* of this moment */
    struct ftp_session *sessions;
    struct ftp_session *login_first, *login_last; /* wait until another of their address is done */
    int session_count;
    int errands; /* at the disk threads */
    bool stopping;
    struct ftp_errand *spare; /* those done with, a few */
    int spare_count;
    /* Any thread. */
    atomic_int sessions_shown, uploads_shown, banned_shown;
    atomic_llong stored, failed;
    pthread_mutex_t error_lock;
    char last_error[ERR_TEXT_MAX];
};

/* A job for the disk threads that knows whom to call when it is done. */
struct ftp_errand {
    struct ftp_disk_job job;
    void (*done)(struct ftp_errand *j);
    void *owner;
    struct ftp_errand *next; /* private */
};
struct ftp_errand *ftp_errand_new(struct ftp_shared *sh, enum ftp_disk_kind kind, void *owner,
                                  void (*done)(struct ftp_errand *j));
void ftp_errand_send(struct ftp_shared *sh, struct ftp_errand *j);
/* For who was called. Frees what the job may still hold of text, not upload, fd or block. */
void ftp_errand_free(struct ftp_shared *sh, struct ftp_errand *j);
/* Calls those that are done. */
void ftp_errands_collect(struct ftp_shared *sh);

void ftp_shared_note_error(struct ftp_shared *sh, const char *text);

enum ftp_outcome {
    FTP_OUTCOME_STORED,
    FTP_OUTCOME_ABORTED, /* cut, stalled, or given up by the client */
    FTP_OUTCOME_INCOMPLETE,
    FTP_OUTCOME_NO_CONNECTION,
    FTP_OUTCOME_REFUSED, /* quota, size, name */
    FTP_OUTCOME_FAILED,  /* our disk */
    FTP_OUTCOME_COUNT
};
enum ftp_refusal {
    FTP_REFUSAL_FULL,
    FTP_REFUSAL_ADDRESS,
    FTP_REFUSAL_BANNED,
    FTP_REFUSAL_DESCRIPTORS,
    FTP_REFUSAL_STRANGER, /* on a data connection */
    FTP_REFUSAL_COUNT
};
void ftp_metrics_register(void);
void ftp_metrics_upload(enum ftp_outcome outcome, double seconds);
void ftp_metrics_bytes(bool received, int64_t bytes);
void ftp_metrics_login_refused(void);
void ftp_metrics_banned(void);
void ftp_metrics_connection_refused(enum ftp_refusal why);
void ftp_metrics_sessions(int sessions);
