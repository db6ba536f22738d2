#pragma once
/* An account's folder on the disk. All paths are virtual and normal (ftp_path.h), opened beneath
 * the root's descriptor by openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS),
 * or, where the kernel has none, part by part with O_NOFOLLOW. Calls block: they belong on the disk
 * threads (ftp_disk.h). Any thread; a jail is shared by the sessions of an account.
 *
 * Codes: -ENOENT, -EEXIST, -ENOTDIR, -EISDIR, -ENOTEMPTY, -EACCES (link, device), -ENOSPC (disk, or
 * its reserve), -EDQUOT (quota), -EFBIG (size of one file), -EMLINK (files in one folder),
 * -ENAMETOOLONG, -EINVAL, -EIO. */

#include "base/err.h"
#include "base/macros.h"
#include "ftp/ftp_account.h"
#include "ftp/ftp_file.h"

struct ftp_jail_options {
    const char *root;    /* FTP root; made with the account's directory */
    int64_t reserve;     /* bytes of free disk space that stay */
    bool sync;           /* durability: fsync of files and folders */
    int64_t folders_max; /* below an account's folder */
};

/* What of that name may be changed or make room: any file, or (any false) this one. */
struct ftp_leave {
    bool any;
    struct ftp_mark one;
};

struct ftp_jail;
/* Whether the folder is on a file system of memory (tmpfs, ramfs). */
bool ftp_jail_is_memory(int folder_fd);
int ftp_jail_open(const struct ftp_jail_options *o, const struct ftp_account *a,
                  struct ftp_jail **ret, struct err *e);
struct ftp_jail *ftp_jail_ref(struct ftp_jail *j);
void ftp_jail_unref(struct ftp_jail *j);
DEFINE_AUTO(ftp_jail, ftp_jail_unref)

int ftp_jail_stat(struct ftp_jail *j, const char *path, struct ftp_file *ret, struct err *e);
/* Calls f for each entry of a folder (its own unfinished uploads are hidden), or for the file
 * itself; at most `max`, then -E2BIG. */
int ftp_jail_list(struct ftp_jail *j, const char *path, size_t max,
                  void (*f)(void *arg, const struct ftp_file *file), void *arg, struct err *e);
int ftp_jail_make(struct ftp_jail *j, const char *path, struct err *e); /* parents too; -EEXIST */
/* Where `only` (NULL = any) is set, something else of that name is -ENOENT. */
int ftp_jail_remove_folder(struct ftp_jail *j, const char *path, const struct ftp_mark *only,
                           struct err *e);
int ftp_jail_delete(struct ftp_jail *j, const char *path, const struct ftp_mark *only,
                    struct err *e);
/* What is not there has no way to a name that is taken, either: -EEXIST, -EISDIR. */
int ftp_jail_rename(struct ftp_jail *j, const char *from, const struct ftp_mark *only,
                    const char *to, struct ftp_leave leave, struct err *e);
int ftp_jail_set_modified(struct ftp_jail *j, const char *path, const struct ftp_mark *only,
                          struct wall_time t, struct err *e);
int ftp_jail_open_read(struct ftp_jail *j, const char *path, int *ret_fd, int64_t *ret_size,
                       struct err *e);

/* ---- uploads: a hidden temporary beside the final name, then everything at once ---- */

struct ftp_upload;
struct ftp_upload_options {
    const char *path;
    struct ftp_leave leave; /* what may be written over */
    bool unique;            /* the name gets a suffix that makes it so */
    int64_t offset;         /* 0 = from the start; else what is there up to it is kept (-EINVAL when
                               it is shorter); -1 = append */
    int64_t announced;      /* 0 = nothing was */
    bool exact;             /* and fewer bytes are not all; not with an offset */
    bool at_once;           /* only if nothing of it ever has to wait, else -EAGAIN */
};
/* Missing folders above it are made: a camera that entered its folder yesterday finds it gone
 * today, because empty ones are cleaned. */
int ftp_upload_open(struct ftp_jail *j, const struct ftp_upload_options *o, struct ftp_upload **ret,
                    struct err *e);
const struct ftp_file *ftp_upload_file(const struct ftp_upload *u);
int ftp_upload_write(struct ftp_upload *u, const void *bytes, size_t size, struct err *e);
/* Whether what was written looks cut: a JPEG that does not end. */
bool ftp_upload_is_cut(const struct ftp_upload *u);
/* Fewer bytes came than were announced, and they are no JPEG that has its end. ALLO is room to be
 * made, so more may be announced than comes (RFC 959 4.1.3); but a connection that breaks looks
 * like the end of the file, and of a film or PNG nothing else tells. */
bool ftp_upload_is_short(const struct ftp_upload *u);
/* Whether its end waits for the disk (the jail's `sync`). */
bool ftp_upload_is_durable(const struct ftp_upload *u);
/* Makes `count` uploads durable together and puts them under their final names: all files are
 * started to be written, synced, renamed, and each folder synced once. codes[i] is 0 when upload i
 * is safe; then, and only then, 226 may be said. Of one that failed nothing stays; where its folder
 * could not be synced, its name is taken back, too. A picture that is in the way gets another name
 * ("a~1.jpg"), since it may not have been taken yet. Frees none. */
void ftp_upload_finish(struct ftp_upload *const *uploads, int count, int *codes, struct err *errs);
/* The end is not here: -EBADMSG for a JPEG that is cut, or fewer bytes than announced. */
int ftp_upload_check_end(const struct ftp_upload *u, struct err *e);

/* In a file system of memory (tmpfs, ramfs) there is no device to wait for. So an upload that was
 * opened with `at_once` may be opened, written, finished and closed on a thread that must not
 * block: its folder is there, on the file system of the FTP root, it begins at its first byte, and
 * no quota makes us look at the whole tree. This is the finish for it; its syncs take no time.
 * -EAGAIN: another thread holds the names; then ftp_upload_finish() on a thread that may wait. */
int ftp_upload_finish_at_once(struct ftp_upload *u, struct err *e);
/* Frees it; of one that was not finished nothing stays. NULL is fine. */
void ftp_upload_close(struct ftp_upload *u);

/* At start, before the server listens: removes unfinished uploads below the root. Returns how many.
 */
int ftp_jail_clean(const char *root, struct err *e);
