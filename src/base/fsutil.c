#include "base/fsutil.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/mem.h"
#include "base/text.h"

bool fs_path_is_plain(const char *path)
{
    if (!*path || *path == '/' || strlen(path) >= PATH_MAX)
        return false;
    const char *part = path;
    for (const char *p = path;; p++) {
        if ((unsigned char)*p < 0x20 && *p)
            return false;
        if (*p == 0x7f)
            return false;
        if (*p && *p != '/')
            continue;
        size_t len = (size_t)(p - part);
        if (len == 0 || len > NAME_MAX || (len == 1 && part[0] == '.') ||
            (len == 2 && part[0] == '.' && part[1] == '.'))
            return false;
        if (!*p)
            return true;
        part = p + 1;
    }
}

static int require_plain(int dirfd, const char *path, struct err *e)
{
    if (dirfd == AT_FDCWD || fs_path_is_plain(path))
        return 0;
    char quoted[200];
    return err_set(e, -EINVAL, ERR_NEVER, "\"%s\" is not a path below the folder",
                   text_escape(path, strlen(path), quoted, sizeof(quoted)));
}

static void parent_of(const char *path, char *ret, size_t size);

/* A new folder is only safe when its parent knows of it: what is put in is as lost as it is. */
static int make_folder(int dirfd, const char *path, mode_t mode, struct err *e)
{
    if (mkdirat(dirfd, path, mode) < 0)
        return errno == EEXIST ? 0 : err_errno(e, -errno, "make folder %s", path);
    char parent[PATH_MAX];
    parent_of(path, parent, sizeof(parent));
    return fs_sync_dir(dirfd, parent, e);
}

int fs_mkdirs(int dirfd, const char *path, mode_t mode, struct err *e)
{
    int r = require_plain(dirfd, path, e);
    if (r < 0)
        return r;
    if (!*path)
        return err_errno(e, -ENOENT, "make folder \"\"");
    AUTO_FREE char *walk = xstrdup(path);
    for (char *p = walk + 1;; p++) {
        if (*p && *p != '/')
            continue;
        char kept = *p;
        *p = '\0';
        r = make_folder(dirfd, walk, mode, e);
        if (r < 0)
            return r;
        *p = kept;
        if (!kept)
            break;
    }
    AUTO_CLOSE int fd = -1;
    return fs_open_dir(dirfd, path, &fd, e);
}

int fs_open_dir(int dirfd, const char *path, int *ret_fd, struct err *e)
{
    int r = strcmp(path, ".") == 0 ? 0 : require_plain(dirfd, path, e);
    if (r < 0)
        return r;
    int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, -errno, "open folder %s", path);
    *ret_fd = fd;
    return 0;
}

int fs_open_read(int dirfd, const char *path, int *ret_fd, struct err *e)
{
    int r = require_plain(dirfd, path, e);
    if (r < 0)
        return r;
    /* O_NONBLOCK: opening a FIFO must not wait for its writer; it has no effect on regular files.
     */
    AUTO_CLOSE int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return err_errno(e, -errno, "open %s", path);
    struct stat st;
    if (fstat(fd, &st) < 0)
        return err_errno(e, -errno, "stat %s", path);
    if (!S_ISREG(st.st_mode))
        return err_set(e, -EINVAL, ERR_NEVER, "open %s: not a regular file", path);
    *ret_fd = STEAL_FD(fd);
    return 0;
}

static int read_descriptor(int fd, const char *path, size_t max, struct blob **ret, struct err *e)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return err_errno(e, -errno, "stat %s", path);
    if ((uint64_t)st.st_size > max)
        return err_set(e, -EFBIG, ERR_NEVER, "read %s: %lld bytes, the limit is %zu", path,
                       (long long)st.st_size, max);
    size_t size = (size_t)st.st_size;
    AUTO_FREE char *bytes = mem_try_alloc(size, 1, max);
    if (!bytes)
        return err_errno(e, -ENOMEM, "read %s", path);
    size_t done = 0;
    while (done < size) {
        ssize_t n = read(fd, bytes + done, size - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(e, -errno, "read %s", path);
        if (n == 0)
            break;
        done += (size_t)n;
    }
    *ret = blob_new_take(STEAL(bytes), done);
    return 0;
}

int fs_read_blob(int dirfd, const char *path, size_t max, struct blob **ret, struct err *e)
{
    AUTO_CLOSE int fd = -1;
    int r = fs_open_read(dirfd, path, &fd, e);
    if (r < 0)
        return r;
    return read_descriptor(fd, path, max, ret, e);
}

int fs_write_all(int fd, const void *data, size_t size, struct err *e)
{
    const char *p = data;
    while (size) {
        ssize_t n = write(fd, p, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(e, -errno, "write");
        p += n;
        size -= (size_t)n;
    }
    return 0;
}

int fs_create_synced(int dirfd, const char *path, const void *data, size_t size, mode_t mode,
                     struct err *e)
{
    int r = require_plain(dirfd, path, e);
    if (r < 0)
        return r;
    AUTO_CLOSE int fd =
        openat(dirfd, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return err_errno(e, -errno, "create %s", path);
    r = fs_write_all(fd, data, size, e);
    if (r < 0)
        err_prefix(e, "%s", path);
    /* After a failed fsync the page cache says nothing about the disk: never try it again. */
    if (r == 0 && fsync(fd) < 0)
        r = err_errno(e, -errno, "sync %s", path);
    if (r < 0)
        (void)unlinkat(dirfd, path, 0); /* the failure above is the story */
    return r;
}

int fs_sync_dir(int dirfd, const char *path, struct err *e)
{
    AUTO_CLOSE int fd = -1;
    int r = fs_open_dir(dirfd, path, &fd, e);
    if (r < 0)
        return r;
    if (fsync(fd) < 0)
        return err_errno(e, -errno, "sync folder %s", path);
    return 0;
}

/* Folder part of a path, "." when it has none. */
static void parent_of(const char *path, char *ret, size_t size)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        text_copy(ret, size, ".");
    else if (slash == path)
        text_copy(ret, size, "/");
    else
        (void)text_format(ret, size, "%.*s", (int)(slash - path),
                          path); /* fits: size is PATH_MAX */
}

int fs_replace(int dirfd, const char *path, const void *data, size_t size, mode_t mode,
               struct err *e)
{
    int r = require_plain(dirfd, path, e);
    if (r < 0)
        return r;
    char parent[PATH_MAX], temporary[PATH_MAX];
    parent_of(path, parent, sizeof(parent));
    const char *base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    r = text_format(temporary, sizeof(temporary), "%s/.%s.%ld.tmp", parent, base, (long)getpid());
    if (r < 0)
        return err_set(e, -ENAMETOOLONG, ERR_NEVER, "replace %s: name too long", path);
    const char *plain = text_starts_with(temporary, "./") ? temporary + 2 : temporary;
    (void)unlinkat(dirfd, plain, 0); /* one that a crash left behind */
    r = fs_create_synced(dirfd, plain, data, size, mode, e);
    if (r < 0)
        return r;
    if (renameat(dirfd, plain, dirfd, path) < 0) {
        r = err_errno(e, -errno, "rename to %s", path);
        (void)unlinkat(dirfd, plain, 0); /* the failure above is the story */
        return r;
    }
    return fs_sync_dir(dirfd, parent, e);
}

int fs_rename_synced(int dirfd, const char *from, const char *to, struct err *e)
{
    int r = require_plain(dirfd, from, e);
    if (r == 0)
        r = require_plain(dirfd, to, e);
    if (r < 0)
        return r;
    if (renameat(dirfd, from, dirfd, to) < 0)
        return err_errno(e, -errno, "rename %s to %s", from, to);
    char parent_from[PATH_MAX], parent_to[PATH_MAX];
    parent_of(from, parent_from, sizeof(parent_from));
    parent_of(to, parent_to, sizeof(parent_to));
    r = fs_sync_dir(dirfd, parent_to, e);
    if (r == 0 && strcmp(parent_from, parent_to) != 0)
        r = fs_sync_dir(dirfd, parent_from, e);
    return r;
}

int fs_rename_new(int from_fd, const char *from, int to_fd, const char *to)
{
    if (renameat2(from_fd, from, to_fd, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -errno;
    /* File systems without that flag (NFS, some FUSE): a link fails when the name is taken. */
    if (linkat(from_fd, from, to_fd, to, 0) < 0)
        return -errno;
    return unlinkat(from_fd, from, 0) < 0 ? -errno : 0;
}

bool fs_exists(int dirfd, const char *path)
{
    if (require_plain(dirfd, path, NULL) < 0)
        return false;
    struct stat st;
    return fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

int fs_free_bytes(int fd, int64_t *ret, struct err *e)
{
    struct statvfs vfs;
    if (fstatvfs(fd, &vfs) < 0)
        return err_errno(e, -errno, "free space");
    *ret = (int64_t)vfs.f_bavail * (int64_t)vfs.f_frsize;
    return 0;
}

char *fs_beside_program(const char *path)
{
    char program[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - 1);
    if (length <= 0)
        return NULL;
    program[length] = '\0';
    for (;;) {
        char *slash = strrchr(program, '/');
        if (slash == NULL)
            return NULL;
        *slash = '\0';
        if (!text_starts_with(path, "../"))
            return xasprintf("%s/%s", program, path);
        path += strlen("../");
    }
}
