#pragma once
/* The FTP server: listeners, sessions, and data connections on one thread with epoll; disk work on
 * ftp_disk's threads. It knows nothing of pictures but that a JPEG has an end: files appear whole
 * below the root, durable before 226 is said. */

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "ftp/ftp_account.h"
#include "ftp/ftp_config.h"
#include "ftp/ftp_guard.h"

struct ftp_server_options {
    const struct ftp_config *config; /* borrowed for the call */
    struct ftp_accounts *accounts;   /* a reference is taken */
    const char *app_name;            /* for the banner where the configuration has none */
    const char *root;
    const char *upload_dir; /* below it, relative: where the configuration's folders are made */
    int64_t reserve;        /* free bytes that stay on the disk */
    /* Sockets that listen already (the service manager's); they are taken, and go before `listen`
     * and `tls_listen` of the configuration. */
    const int *listen_fds, *tls_listen_fds;
    size_t listen_fd_count, tls_listen_fd_count;
};

struct ftp_server;
/* Makes the root and its folders, removes what an earlier run left unfinished there, and listens
 * when it returns. -EACCES for a port below 1024 that we may not have: the text says how. Where the
 * configuration names no port, it is 21 if we may have it, else 2121. */
int ftp_server_start(const struct ftp_server_options *o, struct ftp_server **ret, struct err *e);
/* No new sessions; uploads under way are finished, at most for grace_ms; 421 to the rest. May be
 * called twice. 0, or -ETIMEDOUT when a disk does not answer: then the process must end without
 * ftp_server_free(). */
int ftp_server_stop(struct ftp_server *s, int64_t grace_ms);
void ftp_server_free(struct ftp_server *s); /* stops without grace if it runs */
/* Accounts of a new configuration; sessions of accounts that are gone or changed end after their
 * transfer. Any thread; opens their folders, so it may block. On a failure the old ones stay. */
int ftp_server_set_accounts(struct ftp_server *s, struct ftp_accounts *a, struct err *e);
int ftp_server_port(const struct ftp_server *s); /* of the first listener */
void ftp_server_register_metrics(void);

/* For status and health; any thread. */
struct ftp_server_status {
    char listen[256]; /* "127.0.0.1:2121, [::1]:2121" */
    int sessions, uploads;
    int banned;
    int64_t stored, failed; /* uploads */
    int64_t heartbeat_age_ms;
    char last_error[ERR_TEXT_MAX];
};
void ftp_server_status(struct ftp_server *s, struct ftp_server_status *ret);
/* Where its thread is, see stack_of_thread(); not after the stop. Any thread. */
size_t ftp_server_stack(const struct ftp_server *s, int64_t timeout_ms, uintptr_t *ret, size_t max);
