#pragma once
/* Who may log in, and what he may do. Immutable once made, shared by reference; any thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/host_list.h"
#include "base/macros.h"

struct cfg;
struct cfg_faults;
struct sockaddr;

enum ftp_right {
    FTP_RIGHT_STORE = 1 << 0,  /* STOR, STOU, APPE and REST of an upload of one's own, MKD, renames
                                  of  what one may store */
    FTP_RIGHT_LIST = 1 << 1,   /* without it a list is empty, which cameras bear and errors not */
    FTP_RIGHT_READ = 1 << 2,   /* RETR; SIZE and MDTM work without for what one has just stored */
    FTP_RIGHT_DELETE = 1 << 3, /* DELE, RMD; without it of what this session stored only (the test
                                  file of a camera's button) */
    FTP_RIGHT_OVERWRITE = 1 << 4, /* STOR and RNTO over a file that is there (fixed names) */
};
#define FTP_RIGHTS_DEFAULT (FTP_RIGHT_STORE | FTP_RIGHT_OVERWRITE)
#define FTP_RIGHTS_ALL                                                                             \
    (FTP_RIGHT_STORE | FTP_RIGHT_LIST | FTP_RIGHT_READ | FTP_RIGHT_DELETE | FTP_RIGHT_OVERWRITE)

struct ftp_account {
    const char *name;      /* login */
    const char *password;  /* the text itself or a crypt(5) hash ("$y$...", "$6$..."); secret */
    const char *camera;    /* [camera:NAME] whose pictures these are, or NULL: by directory */
    const char *directory; /* the account's "/", relative to the FTP root; "" = the root itself */
    unsigned rights;       /* enum ftp_right */
    int64_t quota;         /* bytes in its directory, 0 = none */
    int64_t files_max;     /* entries in one directory */
    int64_t size_max;      /* bytes of one upload */
    int64_t rate;          /* bytes a second of one transfer, 0 = none */
    int sessions_max;      /* at once */
    const struct host_list *hosts; /* addresses that may log in, NULL = any */
    bool tls_required;
    bool foreign_data; /* data connections from other addresses than the control peer's are taken */
};

struct ftp_accounts;

/* From [ftp] user/password (the original's one account: every right, home = the root) and the
 * sections [ftp_account:NAME]. Empty when the server is switched off, or nobody may log in. Each
 * password that is no hash has at least 8 characters and is no known default; -EINVAL: the faults
 * as ftp_accounts_check() has them, of which a loaded configuration has none. The set keeps the
 * configuration alive. */
int ftp_accounts_load(const struct cfg *cfg, struct ftp_accounts **ret, struct err *e);
struct ftp_accounts *ftp_accounts_ref(struct ftp_accounts *a);
void ftp_accounts_unref(struct ftp_accounts *a);
DEFINE_AUTO(ftp_accounts, ftp_accounts_unref)

size_t ftp_accounts_count(const struct ftp_accounts *a);
const struct ftp_account *ftp_accounts_at(const struct ftp_accounts *a, size_t i);

/* The account of this login from this address, or NULL. Takes the same time for an unknown user, a
 * wrong password and a wrong address; with hashes as far as they are made with one cost, so the
 * answer should wait for the clock. With a hash it takes as long as the hash is made for (some 10
 * ms): not on a thread that serves others; ftp_accounts_slow() says whether one of them has one. */
const struct ftp_account *ftp_accounts_login(const struct ftp_accounts *a, const char *user,
                                             const char *password, const struct sockaddr *from);
bool ftp_accounts_slow(const struct ftp_accounts *a);
/* The same of those whose password is no hash, and at once. NULL says nothing of the others. */
const struct ftp_account *ftp_accounts_login_text(const struct ftp_accounts *a, const char *user,
                                                  const char *password,
                                                  const struct sockaddr *from);

/* ---- rules, for the configuration and for `snapshotd passwd` ---- */

/* Appends what is wrong with the accounts, each with what would be right. Nothing when the server
 * is switched off. */
void ftp_accounts_check(const struct cfg *cfg, struct cfg_faults *faults);
/* What is allowed and yet perhaps not meant. */
void ftp_accounts_warn(const struct cfg *cfg, struct cfg_faults *warnings);
/* Whether nobody guesses this password of this user (may be NULL) at the first try. Else what would
 * be right, as "it must ...", without the password. Of a crypt(5) hash only its form is judged; its
 * password is when somebody logs in with it. */
bool ftp_password_is_good(const char *password, const char *user, char *why, size_t why_size);
/* "store", "list", "read", "delete", "overwrite", "all" in any case; -EINVAL with the name that is
 * none of them. `names` is NULL-terminated. */
int ftp_rights_parse(const char *const *names, unsigned *ret, const char **ret_wrong);
/* A plain relative path without a name that the server hides. */
bool ftp_account_directory_is_good(const char *directory);
