#include "ftp/ftp_beneath.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/dynbuf.h"
#include "base/macros.h"
#include "base/text.h"

/* Names of folders that wait to be looked into: a hundred thousand of usual length. */
#define WAITING_MAX (16 * 1024 * 1024)

/* Once the kernel has refused openat2() it is not asked again. */
static atomic_bool by_parts;

static int open_whole(int root_fd, const char *path, uint64_t also);
static int open_by_parts(int root_fd, const char *path);
static int open_part(int folder_fd, const char *name, int how);
static int list(int fd, bool (*f)(void *arg, const struct ftp_beneath_entry *entry), void *arg);

int ftp_beneath_open(int root_fd, const char *path, int *ret_fd)
{
    int fd = -ENOSYS;
    if (!atomic_load_explicit(&by_parts, memory_order_relaxed))
        fd = open_whole(root_fd, path, 0);
    if (fd == -ENOSYS || fd == -EPERM) {
        atomic_store_explicit(&by_parts, true, memory_order_relaxed);
        fd = open_by_parts(root_fd, path);
    }
    if (fd < 0)
        return fd;
    *ret_fd = fd;
    return 0;
}

int ftp_beneath_open_same(int root_fd, const char *path, int *ret_fd)
{
    if (atomic_load_explicit(&by_parts, memory_order_relaxed))
        return -EXDEV;
    int fd = open_whole(root_fd, path, RESOLVE_NO_XDEV);
    if (fd < 0)
        return fd == -ENOSYS || fd == -EPERM ? -EXDEV : fd;
    *ret_fd = fd;
    return 0;
}

void ftp_beneath_by_parts(bool always)
{
    atomic_store(&by_parts, always);
}

static int open_whole(int root_fd, const char *path, uint64_t also)
{
    struct open_how how = {
        /* Without O_NOFOLLOW, which would tell a link as "no folder". */
        .flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | also,
    };
    long fd = syscall(SYS_openat2, root_fd, path, &how, sizeof(how));
    return fd < 0 ? -errno : (int)fd;
}

static int open_by_parts(int root_fd, const char *path)
{
    AUTO_CLOSE int above = -1; /* what we opened ourselves: never the root */
    int at = root_fd;
    while (true) {
        char name[NAME_MAX + 1];
        size_t len = strcspn(path, "/");
        if (len > NAME_MAX)
            return -ENAMETOOLONG;
        (void)text_format(name, sizeof(name), "%.*s", (int)len, path); /* fits */
        bool last = path[len] == '\0';
        /* Folders on the way need be passable only, as for the kernel. */
        int fd = open_part(at, name, last ? O_RDONLY : O_PATH);
        if (fd < 0 || last)
            return fd;
        if (above >= 0)
            (void)close(above); /* a place on the way, nothing was written */
        at = above = fd;
        path += len + 1;
    }
}

static int open_part(int folder_fd, const char *name, int how)
{
    int fd = openat(folder_fd, name, how | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0)
        return fd;
    int code = -errno;
    struct stat st;
    /* With both flags a link is told as "no folder". */
    if (code == -ENOTDIR && fstatat(folder_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISLNK(st.st_mode))
        return -ELOOP;
    return code;
}

int ftp_beneath_entries(int root_fd, const char *folder,
                        bool (*f)(void *arg, const struct ftp_beneath_entry *entry), void *arg)
{
    int fd = -1;
    int r = ftp_beneath_open(root_fd, folder, &fd);
    return r < 0 ? r : list(fd, f, arg);
}

static unsigned char type_of(int folder_fd, const struct dirent *d)
{
    struct stat st;
    if (d->d_type != DT_UNKNOWN) /* some file systems do not tell it here */
        return d->d_type;
    if (fstatat(folder_fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return DT_WHT; /* gone */
    return (unsigned char)IFTODT(st.st_mode);
}

/* Takes the descriptor. */
static int list(int fd, bool (*f)(void *arg, const struct ftp_beneath_entry *entry), void *arg)
{
    DIR *dir = fdopendir(fd);
    if (dir == NULL) {
        int code = -errno;
        (void)close(fd); /* only read */
        return code;
    }
    bool more = true;
    int code = 0;
    while (more) {
        errno = 0;
        const struct dirent *d = readdir(dir);
        if (d == NULL) {
            code = -errno;
            break;
        }
        if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
            continue;
        struct ftp_beneath_entry entry = {fd, d->d_name, type_of(fd, d)};
        more = f(arg, &entry);
    }
    (void)closedir(dir); /* only read */
    return code;
}

struct walk {
    void (*f)(void *arg, const struct ftp_beneath_entry *entry);
    void *arg;
    struct dynbuf waiting; /* paths, each with its NUL */
    char folder[PATH_MAX]; /* whose entries are shown */
};

static bool visit(void *arg, const struct ftp_beneath_entry *entry)
{
    struct walk *w = arg;
    char path[PATH_MAX];
    w->f(w->arg, entry);
    if (entry->type != DT_DIR)
        return true;
    int len = strcmp(w->folder, ".") == 0
                  ? text_format(path, sizeof(path), "%s", entry->name)
                  : text_format(path, sizeof(path), "%s/%s", w->folder, entry->name);
    if (len < 0)
        return true;
    return dynbuf_append(&w->waiting, path, (size_t)len + 1) == 0;
}

/* Takes the last of the paths that wait. */
static void next_folder(struct walk *w)
{
    size_t start = w->waiting.len - 1;
    while (start > 0 && w->waiting.data[start - 1] != '\0')
        start--;
    (void)text_copy(w->folder, sizeof(w->folder), w->waiting.data + start); /* was one, fits */
    w->waiting.len = start;
}

static bool may_pass_over(int code)
{
    return code == -ENOENT || code == -ENOTDIR || code == -ELOOP || code == -EACCES ||
           code == -ENAMETOOLONG;
}

int ftp_beneath_walk(int root_fd, const char *top,
                     void (*f)(void *arg, const struct ftp_beneath_entry *entry), void *arg)
{
    struct walk w = {.f = f, .arg = arg};
    dynbuf_init(&w.waiting, WAITING_MAX);
    int r = dynbuf_append(&w.waiting, top, strlen(top) + 1);
    while (r == 0 && w.waiting.len > 0) {
        next_folder(&w);
        r = ftp_beneath_entries(root_fd, w.folder, visit, &w);
        if (may_pass_over(r))
            r = 0;
        if (w.waiting.failed)
            r = -ENOMEM;
    }
    dynbuf_done(&w.waiting);
    return r;
}
