#pragma once
/* [ftp] and [ftp_account:NAME]. */

#include <stdbool.h>
#include <stdint.h>

#include "cfg/cfg.h"

enum ftp_tls { FTP_TLS_OFF, FTP_TLS_OPTIONAL, FTP_TLS_REQUIRED, FTP_TLS_COUNT };
/* "off", "optional", "required" */

struct ftp_config {
    int enabled;        /* auto (an account exists), yes, no */
    const char *listen; /* list of ADDRESS or ADDRESS:PORT; empty = see ftp_config_listeners() */
    int64_t port;       /* the original's key: then on all addresses, as the original listens */
    const char *tls_listen; /* implicit TLS; empty = none */
    const char *user, *password; /* the original's one account: FTP_USER, FTP_PASS */
    const char *const *create_dirs; /* FTP_CREATE_DIRS */
    const char *banner;             /* "<APP_NAME> FTP." */
    int64_t passive_port_min, passive_port_max; /* 0 = any free one */
    const char *masquerade; /* IPv4 address told in 227 to peers from outside; empty = the interface's */
    bool active;            /* PORT and EPRT are served */
    int tls;                /* enum ftp_tls */
    const char *tls_cert_file, *tls_key_file;
    bool tls_strict;  /* an upload over TLS that ends without close_notify is incomplete */
    bool tls_reuse;   /* data connections must resume the control connection's session */
    bool sync;        /* no = 226 before the disk has it */
    bool check_end;   /* a JPEG that does not end is refused with 451 */
    int64_t sessions_max, sessions_known, sessions_per_address;
    int64_t login_failures_max, ban_ms;
    int64_t login_timeout_ms;  /* from the connection to a login */
    int64_t command_timeout_ms; /* first whole command of a stranger */
    int64_t idle_timeout_ms;
    int64_t stall_timeout_ms;   /* no byte on a data connection */
    int64_t data_timeout_ms;    /* until the data connection is there */
    int64_t rate_min;           /* bytes a second that an upload has to keep up over stall_timeout */
    int64_t buffers;            /* bytes of all transfer blocks together */
    int64_t folders_max;
    int64_t disk_threads;
};
extern const struct cfg_section ftp_cfg_section;

struct ftp_account_config {
    const char *user; /* empty = the section's name */
    const char *password;
    const char *camera;
    const char *directory;
    const char *const *rights; /* store, list, read, delete, overwrite */
    int64_t quota, files_max, size_max, rate, sessions_max;
    const char *const *hosts;
    bool tls_required;
    bool foreign_data;
};
extern const struct cfg_section ftp_account_cfg_section;
