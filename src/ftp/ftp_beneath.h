#pragma once
/* Folders below a root, opened so that no link on the way can lead elsewhere. For the files of
 * ftp_jail.c and its neighbours.
 *
 * openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS) does it in one call.
 * Kernels before 5.6 do not have it (ENOSYS), and the filters of older container engines refuse
 * what they do not know (EPERM): then the path is walked part by part with O_NOFOLLOW, which comes
 * to the same for paths without "..". */

#include <stdbool.h>

/* `path` is plain (fs_path_is_plain()) or ".". Returns 0 or -errno, the same both ways: -ELOOP for
 * a link, -ENOTDIR for anything else that is no folder. */
int ftp_beneath_open(int root_fd, const char *path, int *ret_fd);

/* The same, and only where it is one file system all the way: -EXDEV behind a mount, also when the
 * kernel cannot tell. */
int ftp_beneath_open_same(int root_fd, const char *path, int *ret_fd);

/* Calls f for each entry below the folder `top`, in no order, folders too. f may remove what it is
 * shown. Links are not followed; folders that vanish, that may not be read, or that lie deeper than
 * a path can tell are passed over. Holds one descriptor at a time. Returns 0 or -errno. */
struct ftp_beneath_entry {
    int folder_fd;
    const char *name;
    unsigned char type; /* DT_DIR, DT_REG ...; never DT_UNKNOWN */
};
int ftp_beneath_walk(int root_fd, const char *top,
                     void (*f)(void *arg, const struct ftp_beneath_entry *entry), void *arg);
/* The entries of one folder; `.` and `..` are left out. f returns false to end it. */
int ftp_beneath_entries(int root_fd, const char *folder,
                        bool (*f)(void *arg, const struct ftp_beneath_entry *entry), void *arg);

/* Tests: walk part by part although the kernel could do better. */
void ftp_beneath_by_parts(bool always);
