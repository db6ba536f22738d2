#pragma once
/* What jail and uploads share; nobody outside includes it. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "ftp/ftp_jail.h"
#include "ftp/ftp_path.h"
#include "ftp/ftp_tally.h"

/* A path from the FTP root on: the account's folder, and a virtual path in it. */
#define JAIL_HOME_MAX 1024
#define JAIL_PATH_MAX (JAIL_HOME_MAX + FTP_PATH_MAX)
#define JAIL_FOLDER_MODE 0750 /* a group may read along (rsync, a web server), others may not */
#define JAIL_FILE_MODE 0640

struct ftp_jail {
    atomic_int refs;
    char *root;
    int root_fd;
    char home[JAIL_HOME_MAX]; /* relative to the root, "." = the root itself */
    int64_t reserve, size_max;
    bool sync;
    atomic_bool in_memory; /* the root is; there no device is waited for */
    bool counted;          /* by a quota: a look at the whole tree now and then */
    struct ftp_tally *tally;
    atomic_int_fast64_t unchecked; /* bytes written since the free space was last looked at */
};

/* A name in a folder that is open. */
struct jail_place {
    int folder_fd;
    char folder[JAIL_PATH_MAX];  /* from the FTP root on */
    char name[FTP_NAME_MAX + 1]; /* "." for the account's folder itself */
};

/* Opens the folder of `path`; with `make` the missing ones are made, and are durable then. The
 * caller closes folder_fd. */
int jail_locate(struct ftp_jail *j, const char *path, bool make, struct jail_place *ret,
                struct err *e);
/* The same where nothing has to be waited for or made: else -EAGAIN. */
int jail_locate_at_once(struct ftp_jail *j, const char *path, struct jail_place *ret,
                        struct err *e);
/* What the name is, links not followed: -ENOENT, -EACCES for what is neither file nor folder. */
int jail_look(const struct jail_place *p, struct stat *ret, struct err *e);
void jail_describe(const char *name, const struct stat *st, struct ftp_file *ret);
/* Whether it is the one that the mark is of. */
bool jail_is(const struct ftp_mark *m, const struct stat *st);
bool jail_may_leave(const struct ftp_leave *leave, const struct stat *st);
/* Between the look at a name and what is done with it another session must not give it to a file of
 * its own. So who gives a name holds this shared, who goes by a mark alone (`alone`). */
void jail_names_lock(bool alone);
bool jail_names_try_lock(bool alone);
void jail_names_unlock(void);
/* Gives a file or folder its name there, with the names locked. What `leave` says makes room if it
 * is a file, never anything else: a picture gets another name, "a~1.jpg", since it may not have
 * been taken yet and was promised; anything else is replaced, and so is a picture that is
 * `contained` in the new one. -EEXIST, -EISDIR, -EACCES. */
struct jail_replaced {
    bool gone; /* a file was replaced */
    int64_t gone_bytes;
};
int jail_put_name(int from_fd, const char *from, const struct jail_place *to,
                  const struct ftp_leave *leave, bool contained, struct jail_replaced *ret,
                  struct err *e);
/* A file of this name gets another name instead of being replaced. */
bool jail_keeps(const char *name, bool contained);
/* "a.jpg" with sign "~" and more "1" is "a~1.jpg"; a name that gets too long loses of its stem. */
void jail_name_with(const char *name, const char *sign, const char *more,
                    char ret[FTP_NAME_MAX + 1]);
/* -ENOSPC when `bytes` more would go into the reserve. */
int jail_check_space(struct ftp_jail *j, int64_t bytes, struct err *e);
int jail_sync_folder(struct ftp_jail *j, int folder_fd, struct err *e);
/* Our code for what the system said. */
int jail_code(int code);
