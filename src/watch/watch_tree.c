#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mem.h"
#include "watch/watch_internal.h"

static uint64_t name_key(const struct watch *w, const struct folder *parent, const char *name)
{
    return watch_hash(w->seed + parent->number, name, strlen(name));
}

static void enter(struct watch *w, struct folder *f, struct folder *parent)
{
    f->parent = parent;
    f->seen_look = w->look_number; /* a look under way may have passed its place already */
    LIST_INSERT_HEAD(&parent->children, f, siblings);
    watch_table_add(&w->names, &f->by_name, name_key(w, parent, f->name));
}

struct folder *watch_folder_new(struct watch *w, struct folder *parent, const char *name,
                                const struct stat *st)
{
    struct folder *f = xcalloc(1, sizeof(*f));
    f->name = xstrdup(name);
    LIST_INIT(&f->children);
    LIST_INIT(&f->pending);
    f->wd = -1;
    f->device = st->st_dev;
    f->inode = st->st_ino;
    f->touched_us = clock_mono().us;
    f->number = ++w->folders_ever;
    f->is_new = true;
    /* Of a folder that was renamed the key stays as it is, with all that was told below it. When
     * another folder gets that path then, it needs a key of its own. */
    uint64_t key = watch_hash(parent ? parent->by_path.key : w->seed, name, strlen(name));
    while (watch_table_find(&w->paths, key))
        key = watch_hash(key, name, strlen(name));
    watch_table_add(&w->paths, &f->by_path, key);
    if (parent)
        enter(w, f, parent);
    w->counts.folders++;
    w->counts.polled++;
    return f;
}

struct folder *watch_folder_child(const struct watch *w, const struct folder *parent,
                                  const char *name)
{
    struct watch_node *n = watch_table_find(&w->names, name_key(w, parent, name));
    for (; n; n = watch_table_next(n)) {
        struct folder *f = container_of(n, struct folder, by_name);
        if (f->parent == parent && strcmp(f->name, name) == 0)
            return f;
    }
    return NULL;
}

void watch_folder_set_wd(struct watch *w, struct folder *f, int wd)
{
    if (f->wd >= 0)
        watch_table_remove(&w->wds, &f->by_wd);
    w->counts.polled += (f->wd >= 0) - (wd >= 0);
    f->wd = wd;
    if (wd >= 0)
        watch_table_add(&w->wds, &f->by_wd, (uint64_t)wd);
}

struct folder *watch_folder_of_wd(const struct watch *w, int wd)
{
    struct watch_node *n = watch_table_find(&w->wds, (uint64_t)wd);
    return n ? container_of(n, struct folder, by_wd) : NULL;
}

void watch_folder_detach(struct watch *w, struct folder *f)
{
    if (f == w->root)
        return;
    if (f->parent)
        watch_table_remove(&w->names, &f->by_name);
    LIST_REMOVE(f, siblings); /* of its parent's children, or of those that float */
    f->parent = NULL;
    watch_close_folders(w); /* the one that is open may have been opened by this path */
}

void watch_folder_attach(struct watch *w, struct folder *f, struct folder *parent, const char *name)
{
    watch_folder_detach(w, f);
    free(f->name);
    f->name = xstrdup(name);
    enter(w, f, parent);
}

/* Has nothing below it any more. */
static void free_folder(struct watch *w, struct folder *f)
{
    watch_settle_drop_all(w, f);
    watch_look_dropped(w, f);
    if (f->wd >= 0) {
        /* EINVAL when the folder went away and took its watch along. */
        (void)inotify_rm_watch(w->fd, f->wd);
        watch_folder_set_wd(w, f, -1);
    }
    watch_table_remove(&w->paths, &f->by_path);
    watch_folder_detach(w, f);
    if (f == w->root) {
        w->root = NULL;
        watch_close_folders(w);
    }
    w->counts.folders--;
    w->counts.polled--;
    free(f->name);
    free(f);
}

/* From the leaves up, without recursion: the depth is somebody else's choice. */
void watch_folder_drop(struct watch *w, struct folder *top)
{
    struct folder *f = top;
    for (;;) {
        struct folder *child = LIST_FIRST(&f->children);
        if (child) {
            f = child;
            continue;
        }
        struct folder *parent = f->parent;
        bool last = f == top;
        free_folder(w, f);
        if (last)
            break;
        f = parent;
    }
    if (w->too_many_folders && w->counts.folders < w->o.folders_max - w->o.folders_max / 8) {
        w->too_many_folders = false; /* there is room again for those that were left alone */
        w->rescan_wanted = true;
    }
}

bool watch_folder_is_below(const struct folder *f, const struct folder *above)
{
    while (f && f != above)
        f = f->parent;
    return f == above;
}

struct folder *watch_folder_next(const struct folder *f, const struct folder *top)
{
    struct folder *child = LIST_FIRST(&f->children);
    if (child)
        return child;
    for (; f != top; f = f->parent) {
        struct folder *sibling = LIST_NEXT(f, siblings);
        if (sibling)
            return sibling;
    }
    return NULL;
}

int watch_folder_path(const struct folder *f, const char *name, char ret[WATCH_PATH_MAX])
{
    char path[WATCH_PATH_MAX];
    size_t at = sizeof(path) - 1;
    path[at] = '\0';
    for (;;) {
        size_t len = strlen(name);
        size_t slash = len > 0 && path[at] != '\0';
        if (len + slash > at)
            return -ENAMETOOLONG;
        if (slash)
            path[--at] = '/';
        at -= len;
        memcpy(path + at, name, len);
        if (!f)
            break;
        name = f->name;
        if (!f->parent && *name)
            return -ENOENT; /* it floats: only the root has neither parent nor name */
        f = f->parent;
    }
    memcpy(ret, path + at, sizeof(path) - at);
    return 0;
}

struct folder *watch_folder_find(const struct watch *w, const char *path, size_t len)
{
    struct folder *f = w->root;
    while (f && len > 0) {
        char name[WATCH_PATH_MAX];
        const char *slash = memchr(path, '/', len);
        size_t part = slash ? (size_t)(slash - path) : len;
        if (part >= sizeof(name))
            return NULL;
        memcpy(name, path, part);
        name[part] = '\0';
        f = watch_folder_child(w, f, name);
        part += slash != NULL;
        path += part;
        len -= part;
    }
    return f;
}

void watch_close_folders(struct watch *w)
{
    if (w->near_fd >= 0 && w->near_fd != w->root_fd)
        (void)close(w->near_fd); /* only read */
    if (w->root_fd >= 0)
        (void)close(w->root_fd);
    w->near_fd = w->root_fd = -1;
    w->near = NULL;
}

/* Component by component, for kernels and sandboxes without openat2(). */
static int open_step_by_step(int dirfd, const char *path)
{
    int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    while (fd >= 0 && *path) {
        char name[WATCH_PATH_MAX];
        size_t len = strcspn(path, "/");
        assert(len < sizeof(name)); /* a part of a path that fits */
        memcpy(name, path, len);
        name[len] = '\0';
        int next = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        int code = errno;
        (void)close(fd); /* only read */
        errno = code;
        fd = next;
        path += len;
        path += *path == '/';
    }
    return fd < 0 ? -errno : fd;
}

static int open_beneath(int dirfd, const char *path)
{
    struct open_how how = {.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW,
                           .resolve =
                               RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
    int fd = (int)syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
    if (fd >= 0)
        return fd;
    if (errno == ENOSYS || errno == EPERM)
        return open_step_by_step(dirfd, path);
    return -errno;
}

static int require_same(int fd, const struct folder *f)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    return st.st_dev == f->device && st.st_ino == f->inode ? 0 : -ESTALE;
}

static int open_root(struct watch *w)
{
    if (w->root_fd >= 0)
        return 0;
    if (!w->root)
        return -ENOENT;
    int fd = open(w->root_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = require_same(fd, w->root);
    if (r < 0) {
        (void)close(fd); /* only read */
        return r;
    }
    w->root_fd = fd;
    return 0;
}

int watch_folder_open(struct watch *w, struct folder *f)
{
    if (w->near == f && w->near_fd >= 0)
        return w->near_fd;
    char path[WATCH_PATH_MAX];
    int r = watch_folder_path(f, "", path);
    if (r < 0)
        return r;
    r = open_root(w);
    if (r < 0)
        return r;
    if (w->near_fd >= 0 && w->near_fd != w->root_fd)
        (void)close(w->near_fd); /* only read */
    w->near = NULL;
    w->near_fd = -1;
    int fd = f == w->root ? w->root_fd : open_beneath(w->root_fd, path);
    if (fd < 0)
        return fd;
    r = require_same(fd, f);
    if (r < 0) {
        if (fd != w->root_fd)
            (void)close(fd); /* only read */
        return r;
    }
    w->near = f;
    w->near_fd = fd;
    return fd;
}
