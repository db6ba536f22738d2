#pragma once
/* [ftp] and [ftp_account:NAME]. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"
#include "cfg/cfg.h"

enum ftp_enabled { FTP_ENABLED_AUTO, FTP_ENABLED_YES, FTP_ENABLED_NO, FTP_ENABLED_COUNT };
extern const char *const ftp_enabled_names[FTP_ENABLED_COUNT + 1]; /* ... , NULL */

/* Read it by ftp_config_tls(), which knows what "auto" is. */
enum ftp_tls { FTP_TLS_AUTO, FTP_TLS_OFF, FTP_TLS_OPTIONAL, FTP_TLS_REQUIRED, FTP_TLS_COUNT };
extern const char *const ftp_tls_names[FTP_TLS_COUNT + 1]; /* ... , NULL */

struct ftp_config {
    int enabled;                 /* enum ftp_enabled; see ftp_config_runs() */
    const char *listen;          /* see ftp_config_listeners(), which reads this and the next two */
    int64_t port;                /* the original's key, 0 = not given */
    const char *tls_listen;      /* implicit TLS; empty = none */
    const char *user, *password; /* the original's one account: FTP_USER, FTP_PASS */
    const char *const *create_dirs; /* FTP_CREATE_DIRS: plain relative paths */
    const char *banner;             /* behind "220 "; empty = "<APP_NAME> FTP.", as the original */
    int64_t passive_port_min, passive_port_max; /* 0 = any free one */
    const char
        *masquerade; /* IPv4 address told in 227 to peers from outside; empty = the interface's */
    bool masquerade_all;                      /* to peers from near, too */
    bool active;                              /* PORT and EPRT are served */
    int tls;                                  /* enum ftp_tls; see ftp_config_tls() */
    const char *tls_cert_file, *tls_key_file; /* both or none */
    bool tls_strict; /* an upload over TLS that ends without close_notify is incomplete */
    bool tls_reuse;  /* data connections must resume the control connection's session */
    bool sync;       /* no = 226 before the disk has it */
    bool check_end;  /* a JPEG that does not end is refused with 451 */
    int64_t sessions_max, sessions_known, sessions_per_address;
    int64_t login_failures_max, ban_ms;
    int64_t login_timeout_ms;   /* from the connection to a login */
    int64_t command_timeout_ms; /* first whole command of a stranger */
    int64_t idle_timeout_ms;
    int64_t stall_timeout_ms; /* no byte on a data connection */
    int64_t data_timeout_ms;  /* until the data connection is there */
    int64_t rate_min;         /* bytes a second that an upload has to keep up over stall_timeout */
    int64_t buffers;          /* bytes of all transfer blocks together */
    int64_t folders_max;
    int64_t disk_threads;
};
extern const struct cfg_section ftp_cfg_section;

struct ftp_account_config {
    const char *user;     /* empty = the section's name */
    const char *password; /* text or a crypt(5) hash */
    const char *camera;
    const char *directory;     /* empty = the section's name, "/" = the root; ftp_accounts_load()
                                  makes a plain relative path of it */
    const char *const *rights; /* store, list, read, delete, overwrite, all */
    int64_t quota, files_max, size_max, rate, sessions_max;
    const char *const *hosts;
    bool tls_required;
    bool foreign_data;
};
extern const struct cfg_section ftp_account_cfg_section;

/* Limits of an account, unless its section says otherwise; the original's account has no section.
 */
#define FTP_SIZE_MB_MAX 64
#define FTP_FILES_MAX 10000
#define FTP_ACCOUNT_SESSIONS_MAX 256

/* What the sections cannot see one by one: accounts without a good password, two of one login, TLS
 * that accounts ask for and the server does not have. Appends faults, each with what would be
 * right. For a cfg_schema's `check`. */
void ftp_config_check(const struct cfg *c, struct cfg_faults *faults);
/* What is allowed and yet perhaps not meant. */
void ftp_config_warn(const struct cfg *c, struct cfg_faults *warnings);

/* Whether the server is to run, with so many accounts: "auto" means when somebody can log in. */
bool ftp_config_runs(const struct ftp_config *c, size_t accounts);
/* Never FTP_TLS_AUTO: that is "optional" when there is a certificate, else "off". */
enum ftp_tls ftp_config_tls(const struct ftp_config *c);

#define FTP_LISTENERS_MAX 16
struct ftp_listener {
    struct sockaddr_storage address;
    socklen_t size;
    char text[64];    /* "127.0.0.1:2121", "[::]:21" */
    bool tls;         /* implicit */
    bool may_be_none; /* the IPv6 half of "all addresses": a kernel without IPv6 has none */
};
/* Where to listen; pure. With `listen` there, with `port` on all addresses, else on 127.0.0.1. A
 * port that is not told is `port`, else 21 when the process may bind low ones (`low_ports`), else
 * 2121; with implicit TLS 990 or 2990. IPv6 listeners are for IPv6 alone (IPV6_V6ONLY). Returns how
 * many, or -EINVAL: which item is wrong, and what would be right. */
int ftp_config_listeners(const struct ftp_config *c, bool low_ports,
                         struct ftp_listener ret[FTP_LISTENERS_MAX], struct err *e);
/* Whether this process may bind ports below 1024: asks the kernel, by trying one. */
bool ftp_config_low_ports(void);
