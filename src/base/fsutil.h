#pragma once
/* Files done right: descriptors are CLOEXEC, a file appears whole or not at all, names from outside
 * are opened beneath a directory descriptor. All take plain relative paths without ".." where a
 * `dirfd` is given and refuse others with -EINVAL. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/blob.h"
#include "base/err.h"

/* Makes a directory and its parents (mode 0700 & ~umask for new ones unless `mode` says more). */
int fs_mkdirs(int dirfd, const char *path, mode_t mode, struct err *e);
int fs_open_dir(int dirfd, const char *path, int *ret_fd, struct err *e);
/* Opens a regular file for reading: never a link, device or FIFO. */
int fs_open_read(int dirfd, const char *path, int *ret_fd, struct err *e);
/* Whole file as a blob; -EFBIG above max bytes. Files that change meanwhile give what was read. */
int fs_read_blob(int dirfd, const char *path, size_t max, struct blob **ret, struct err *e);
/* Writes all bytes to an open descriptor. */
int fs_write_all(int fd, const void *data, size_t size, struct err *e);
/* Creates `path` with these bytes and fsyncs the file (not its directory). -EEXIST when there. On
 * failure nothing stays. */
int fs_create_synced(int dirfd, const char *path, const void *data, size_t size, mode_t mode,
                     struct err *e);
int fs_sync_dir(int dirfd, const char *path, struct err *e);
/* Replaces `path` atomically: temporary name, fsync, rename, fsync of the directory. */
int fs_replace(int dirfd, const char *path, const void *data, size_t size, mode_t mode,
               struct err *e);
/* Renames within one file system and syncs both directories. */
int fs_rename_synced(int dirfd, const char *from, const char *to, struct err *e);
/* Renames within one file system, never over an existing file: -EEXIST. No sync, no story. */
int fs_rename_new(int from_fd, const char *from, int to_fd, const char *to);
bool fs_exists(int dirfd, const char *path);
/* Bytes that an unprivileged writer may still use. */
int fs_free_bytes(int fd, int64_t *ret, struct err *e);
/* `path` (which may begin with "../") as seen from the folder of the running program, which is how
 * an installation finds its own files wherever it was put. Owned by the caller; NULL when the
 * program's path cannot be known. */
char *fs_beside_program(const char *path);
/* A path that stays beneath its base: relative, no "..", no empty part, no NUL/control bytes. */
bool fs_path_is_plain(const char *path);
