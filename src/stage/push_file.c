#include "stage/push_file.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/fsutil.h"
#include "base/log.h"
#include "base/macros.h"
#include "base/mem.h"
#include "base/text.h"
#include "ftp/ftp_path.h"
#include "model/push_name.h"
#include "sys/hash.h"

#define TAKEN PUSH_HIDDEN_TAKEN
#define TAKEN_LEN (sizeof(TAKEN) - 1)
/* Of a file that is no picture. */
#define NO_ID "00000000000000000000000000000000"
#define MODE_FOLDER 0700
#define MODE_FILE 0600
/* The server makes FTP_DEPTH_MAX folders below an account's own, and that one may lie as deep. Each
 * costs a descriptor. */
#define DEPTH_MAX (2 * FTP_DEPTH_MAX)
/* Names tried for a file whose own is taken. */
#define ASIDE_TRIES 1000
#define COPY_BYTES (64 << 10)
#define FOLDER_FLAGS (O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)

static int open_folder_of(const char *root, const char *path, int *ret_fd, const char **ret_name,
                          struct err *e);
static int identify(int fd, struct push_identity *ret, int64_t *ret_changed_ns, struct err *e);
static int identify_name(int folder_fd, const char *name, struct push_identity *ret);
static int take(const struct push_file *f, int to_fd, const char *to);
static void put_back(int from_fd, const char *from, int folder_fd, const char *name);
static int copy(const struct push_file *f, int to_fd, const char *to, struct err *e);

/* ---- opening ---- */

int push_file_open(const char *root, const char *path, struct push_file *ret, struct err *e)
{
    AUTO_DONE(push_file) f = PUSH_FILE_NONE;
    const char *name = "";
    int r = open_folder_of(root, path, &f.folder_fd, &name, e);
    if (r < 0)
        return r;
    (void)text_copy(f.name, sizeof(f.name), name); /* a plain path has no longer part */
    /* O_NONBLOCK: a FIFO must not be waited for. */
    f.fd = openat(f.folder_fd, f.name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (f.fd < 0)
        return err_errno(e, errno == ELOOP ? -EINVAL : -errno, "open %s", path);
    r = identify(f.fd, &f.is, &f.changed_ns, e);
    if (r < 0)
        return r;
    *ret = f;
    f = PUSH_FILE_NONE;
    return 0;
}

void push_file_close(struct push_file *f)
{
    if (f->fd >= 0)
        (void)close(f->fd); /* read only */
    if (f->folder_fd >= 0)
        (void)close(f->folder_fd); /* likewise */
    *f = PUSH_FILE_NONE;
}

/* Part by part, so that no link on the way leads elsewhere. The root itself may be one. */
static int open_folder_of(const char *root, const char *path, int *ret_fd, const char **ret_name,
                          struct err *e)
{
    if (!fs_path_is_plain(path))
        return err_set(e, -EINVAL, ERR_NEVER, "not a path below %s", root);
    AUTO_CLOSE int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, -errno, "open folder %s", root);
    const char *part = path;
    for (const char *slash; (slash = strchr(part, '/')) != NULL; part = slash + 1) {
        char name[NAME_MAX + 1];
        (void)text_format(name, sizeof(name), "%.*s", (int)(slash - part), part); /* plain: fits */
        int next = openat(fd, name, FOLDER_FLAGS);
        if (next < 0)
            return err_errno(e, errno == ELOOP || errno == ENOTDIR ? -EINVAL : -errno,
                             "open the folder of %s", path);
        (void)close(fd);
        fd = next;
    }
    *ret_fd = STEAL_FD(fd);
    *ret_name = part;
    return 0;
}

static int64_t ns_of(const struct statx_timestamp *t)
{
    return t->tv_sec * 1000000000 + t->tv_nsec;
}

static void identity_of(const struct statx *x, struct push_identity *ret)
{
    *ret = (struct push_identity){
        .device = (uint64_t)x->stx_dev_major << 32 | x->stx_dev_minor,
        .inode = x->stx_ino,
        .size = (int64_t)x->stx_size,
        .modified_ns = ns_of(&x->stx_mtime),
        .born_ns = x->stx_mask & STATX_BTIME ? ns_of(&x->stx_btime) : 0,
    };
}

static int identify(int fd, struct push_identity *ret, int64_t *ret_changed_ns, struct err *e)
{
    struct statx x;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, &x) < 0)
        return err_errno(e, -errno, "stat");
    if (!S_ISREG(x.stx_mode))
        return err_set(e, -EINVAL, ERR_NEVER, "not a regular file");
    identity_of(&x, ret);
    if (ret_changed_ns)
        *ret_changed_ns = ns_of(&x.stx_ctime);
    return 0;
}

static int identify_name(int folder_fd, const char *name, struct push_identity *ret)
{
    struct statx x;
    if (statx(folder_fd, name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME, &x) < 0)
        return -errno;
    identity_of(&x, ret);
    return 0;
}

bool push_identity_equal(const struct push_identity *a, const struct push_identity *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->modified_ns == b->modified_ns && a->born_ns == b->born_ns;
}

bool push_identity_same_file(const struct push_identity *a, const struct push_identity *b)
{
    struct push_identity as_b = *a;
    as_b.modified_ns = b->modified_ns;
    return push_identity_equal(&as_b, b);
}

int push_file_read(const struct push_file *f, size_t max, struct blob **ret, struct err *e)
{
    if ((uint64_t)f->is.size > max)
        return err_set(e, -EFBIG, ERR_NEVER, "%lld bytes, the limit is %zu", (long long)f->is.size,
                       max);
    size_t size = (size_t)f->is.size, done = 0;
    AUTO_FREE char *bytes = mem_try_alloc(size, 1, max);
    if (!bytes)
        return err_set(e, -ENOMEM, ERR_LATER, "no memory for %zu bytes", size);
    while (done < size) {
        ssize_t n = pread(f->fd, bytes + done, size - done, (off_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(e, -errno, "read");
        if (n == 0)
            break;
        done += (size_t)n;
    }
    struct push_identity now;
    int r = identify(f->fd, &now, NULL, e);
    if (r < 0)
        return r;
    if (done != size || !push_identity_equal(&now, &f->is))
        return err_set(e, -ESTALE, ERR_LATER, "it changes while it is read");
    *ret = blob_new_take(STEAL(bytes), size);
    return *ret ? 0 : err_set(e, -ENOMEM, ERR_LATER, "no memory for %zu bytes", size);
}

/* ---- the id ---- */

void push_file_id(const char *watch, const char *path, const struct push_identity *is, bool stays,
                  char ret[SNAPSHOT_ID_SIZE])
{
    char digest[HASH_SHA256_HEX];
    int64_t numbers[] = {is->size, is->modified_ns, stays ? 0 : (int64_t)is->inode,
                         stays ? 0 : is->born_ns};
    struct hash_stream *h = hash_stream_new();
    hash_stream_update(h, watch, strlen(watch) + 1);
    hash_stream_update(h, numbers, sizeof(numbers));
    if (stays || !is->born_ns)
        hash_stream_update(h, path, strlen(path));
    hash_stream_end(h, digest);
    unsigned long long ms = (unsigned long long)MAX(is->modified_ns / 1000000, (int64_t)0);
    int n = text_format(ret, SNAPSHOT_ID_SIZE, "%012llx%.20s", ms & 0xffffffffffff, digest);
    assert(n == SNAPSHOT_ID_LEN);
}

/* ---- taking away ---- */

/* ".taken-<id>-<name>"; of a name that is too long for that the end stays, with its extension. */
static void taken_name(const struct push_file *f, const char *id, char *ret, size_t size)
{
    size_t room = NAME_MAX - TAKEN_LEN - SNAPSHOT_ID_LEN - 1, len = strlen(f->name);
    const char *name = f->name + (len > room ? len - room : 0);
    (void)text_format(ret, size, TAKEN "%s-%s", id, name); /* made to fit */
}

int push_file_remove(const struct push_file *f, const char *id, struct err *e)
{
    char aside[NAME_MAX + 1];
    taken_name(f, id, aside, sizeof(aside));
    FAULT_POINT("before-push-remove");
    int r = take(f, f->folder_fd, aside);
    FAULT_POINT("after-push-aside");
    if (r == 0 && unlinkat(f->folder_fd, aside, 0) < 0 && errno != ENOENT)
        r = -errno;
    FAULT_POINT("after-push-remove");
    return r < 0 && r != -ENOENT ? err_errno(e, r, "remove %s", f->name) : r;
}

int push_file_move(const struct push_file *f, int to_fd, const char *to, struct err *e)
{
    int r = take(f, to_fd, to);
    if (r == -EXDEV) {
        r = copy(f, to_fd, to, e);
        return r < 0 ? r : push_file_remove(f, NO_ID, e);
    }
    FAULT_POINT("after-push-move");
    return r < 0 && r != -ENOENT ? err_errno(e, r, "move %s", f->name) : r;
}

/* Between a look at a name and its removal another file may come under that name, which would be
 * removed unseen. So the name is taken first, and then it is looked at what was taken. -ESTALE: it
 * was another file, which is back. */
static int take(const struct push_file *f, int to_fd, const char *to)
{
    struct push_identity is;
    int r = identify_name(f->folder_fd, f->name, &is);
    if (r < 0)
        return r;
    if (!push_identity_equal(&is, &f->is))
        return -ESTALE;
    if (renameat(f->folder_fd, f->name, to_fd, to) < 0)
        return -errno;
    r = identify_name(to_fd, to, &is);
    if (r < 0 || push_identity_equal(&is, &f->is))
        return r;
    put_back(to_fd, to, f->folder_fd, f->name);
    return -ESTALE;
}

/* Its own name, or one beside it when a third file has come there. */
static void put_back(int from_fd, const char *from, int folder_fd, const char *name)
{
    int r = fs_rename_new(from_fd, from, folder_fd, name);
    const char *dot = strrchr(name, '.');
    size_t len = strlen(name), extension = dot ? MIN(strlen(dot), (size_t)16) : 0;
    for (unsigned i = 1; i <= ASIDE_TRIES && r == -EEXIST; i++) {
        char beside[NAME_MAX + 1];
        size_t stem = MIN(len - extension, NAME_MAX - extension - 8);
        (void)text_format(beside, sizeof(beside), "%.*s~%u%s", (int)stem, name, i,
                          name + len - extension); /* made to fit */
        r = fs_rename_new(from_fd, from, folder_fd, beside);
    }
    if (r < 0)
        log_error("push-stuck", "a newer file \"%s\" got the name %s and cannot be put back: %s",
                  name, from, strerror(-r));
}

static int copy(const struct push_file *f, int to_fd, const char *to, struct err *e)
{
    AUTO_CLOSE int out =
        openat(to_fd, to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, MODE_FILE);
    if (out < 0)
        return err_errno(e, -errno, "create %s", to);
    AUTO_FREE char *block = xmalloc(COPY_BYTES);
    int r = 0;
    for (off_t at = 0; r == 0;) {
        ssize_t n = pread(f->fd, block, COPY_BYTES, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            r = n < 0 ? err_errno(e, -errno, "read %s", f->name) : 0;
            break;
        }
        r = fs_write_all(out, block, (size_t)n, e);
        at += n;
    }
    if (r == 0 && fsync(out) < 0)
        r = err_errno(e, -errno, "sync %s", to);
    if (r < 0)
        (void)unlinkat(to_fd, to, 0); /* the failure above is the story */
    return r;
}

/* ---- looking at a tree ---- */

struct walk {
    /* One entry that is a file; `path` is relative to the root. Negative ends the walk. */
    int (*file)(void *arg, int folder_fd, const char *name, const char *path, struct err *e);
    void *arg;
    char path[PATH_MAX];
};

static int walk_folder(struct walk *w, int fd, size_t len, int depth, struct err *e);

/* Takes the descriptor. Entries that come and go meanwhile are met or not. */
static int walk_entries(struct walk *w, DIR *dir, size_t len, int depth, struct err *e)
{
    const struct dirent *entry;
    int r = 0;
    while (r == 0 && (entry = readdir(dir)) != NULL) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            continue;
        int n = text_format(w->path + len, sizeof(w->path) - len, "%s%s", len ? "/" : "", name);
        if (n < 0)
            continue; /* longer than any path that can be opened */
        int sub = entry->d_type == DT_REG || push_name_is_hidden(name)
                      ? -1
                      : openat(dirfd(dir), name, FOLDER_FLAGS);
        if (sub >= 0)
            r = walk_folder(w, sub, len + (size_t)n, depth + 1, e);
        else if (entry->d_type == DT_REG || entry->d_type == DT_UNKNOWN)
            r = w->file(w->arg, dirfd(dir), name, w->path, e);
        w->path[len] = '\0';
    }
    return r;
}

static int walk_folder(struct walk *w, int fd, size_t len, int depth, struct err *e)
{
    DIR *dir = depth <= DEPTH_MAX ? fdopendir(fd) : NULL;
    if (!dir) {
        (void)close(fd); /* read only */
        return 0;
    }
    int r = walk_entries(w, dir, len, depth, e);
    (void)closedir(dir); /* likewise */
    return r;
}

static int walk(const char *root, struct walk *w, struct err *e)
{
    int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, -errno, "open folder %s", root);
    w->path[0] = '\0';
    return walk_folder(w, fd, 0, 0, e);
}

struct recovery {
    const char *watch;
    int (*known)(void *arg, const char *id, struct err *e);
    void *arg;
    int count;
};

/* ".taken-<id>-<name>": removed when it is the picture of that id and the ledger has it. Else it is
 * a newer one that came under that name in the wrong moment. */
static int recover_taken(void *arg, int folder_fd, const char *taken, const char *path,
                         struct err *e)
{
    struct recovery *rec = arg;
    if (!text_starts_with(taken, TAKEN) || strlen(taken) < TAKEN_LEN + SNAPSHOT_ID_LEN + 2)
        return 0;
    const char *name = taken + TAKEN_LEN + SNAPSHOT_ID_LEN + 1;
    char id[SNAPSHOT_ID_SIZE], now[SNAPSHOT_ID_SIZE], first[PATH_MAX];
    (void)text_format(id, sizeof(id), "%.*s", SNAPSHOT_ID_LEN, taken + TAKEN_LEN); /* fits */
    int folder = (int)(strlen(path) - strlen(taken));
    (void)text_format(first, sizeof(first), "%.*s%s", folder, path, name); /* shorter than path */
    struct push_identity is;
    if (identify_name(folder_fd, taken, &is) < 0)
        return 0;
    push_file_id(rec->watch, first, &is, false, now);
    int r = strcmp(id, now) == 0 ? rec->known(rec->arg, id, e) : 0;
    if (r < 0)
        return r;
    rec->count++;
    if (r == 0)
        put_back(folder_fd, taken, folder_fd, name);
    else if (unlinkat(folder_fd, taken, 0) < 0 && errno != ENOENT)
        log_warn("push-stuck", "%s: cannot be removed: %s", path, strerror(errno));
    return 0;
}

int push_file_recover(const char *root, const char *watch,
                      int (*known)(void *arg, const char *id, struct err *e), void *arg,
                      struct err *e)
{
    struct recovery rec = {.watch = watch, .known = known, .arg = arg};
    struct walk *w = xcalloc(1, sizeof(*w));
    w->file = recover_taken;
    w->arg = &rec;
    int r = walk(root, w, e);
    free(w);
    return r < 0 ? r : rec.count;
}

struct cleaning {
    int64_t before_ns;
    bool (*unwanted)(void *arg, const char *path, const struct push_identity *is);
    void *arg;
    int count;
};

static int clean_file(void *arg, int folder_fd, const char *name, const char *path,
                      struct err *e UNUSED)
{
    struct cleaning *c = arg;
    struct statx x;
    if (push_name_is_hidden(name))
        return 0;
    if (statx(folder_fd, name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME, &x) < 0 ||
        !S_ISREG(x.stx_mode) || ns_of(&x.stx_mtime) > c->before_ns ||
        ns_of(&x.stx_ctime) > c->before_ns)
        return 0;
    struct push_file f = {.folder_fd = folder_fd, .fd = -1};
    identity_of(&x, &f.is);
    (void)text_copy(f.name, sizeof(f.name), name); /* a name fits */
    if (c->unwanted(c->arg, path, &f.is))
        c->count += push_file_remove(&f, NO_ID, NULL) == 0; /* else next time */
    return 0;
}

int push_file_clean(const char *root, int64_t age_ms,
                    bool (*unwanted)(void *arg, const char *path, const struct push_identity *is),
                    void *arg, struct err *e)
{
    struct cleaning c = {
        .before_ns = (clock_wall().us - age_ms * 1000) * 1000, .unwanted = unwanted, .arg = arg};
    struct walk *w = xcalloc(1, sizeof(*w));
    w->file = clean_file;
    w->arg = &c;
    int r = walk(root, w, e);
    free(w);
    return r < 0 ? r : c.count;
}
