#include "ftp/ftp_jail.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "base/mem.h"
#include "base/text.h"
#include "ftp/ftp_beneath.h"
#include "ftp/ftp_fresh.h"
#include "ftp/ftp_jail_internal.h"
#include "model/push_name.h"

/* A folder that is made may be cleaned away (empty ones are) before we stand in it. */
#define MAKE_TRIES 8
/* Parts of a path from the FTP root on: FTP_DEPTH_MAX of the account's and as many above it. */
#define CHAIN_MAX (2 * FTP_DEPTH_MAX)
/* Pictures of one name that were replaced before anybody took them: an hour of one a second. */
#define ASIDE_MAX 4096

static int open_root(struct ftp_jail *j, struct err *e);
static bool is_root_gone(const struct ftp_jail *j);
static int real_path(const struct ftp_jail *j, const char *path, char ret[JAIL_PATH_MAX],
                     struct err *e);
static int place_of(const struct ftp_jail *j, const char *path, struct jail_place *ret,
                    struct err *e);
static int open_folder(struct ftp_jail *j, const char *folder, bool make, int *ret_fd,
                       struct err *e);
struct chain;
static int make_folders(struct ftp_jail *j, const char *folder, struct err *e);
static int split(struct chain *c, const char *folder, struct err *e);
static int open_existing(struct chain *c, const char *folder, char topmost[JAIL_PATH_MAX],
                         struct err *e);
static int make_part(struct ftp_jail *j, struct chain *c, struct err *e);
static int sync_made(struct ftp_jail *j, const struct chain *c, struct err *e);
static bool unmake(struct ftp_jail *j, struct chain *c);
static int move(struct ftp_jail *j, const struct jail_place *from, const struct stat *st,
                const struct jail_place *to, const struct ftp_leave *leave, struct err *e);
static int put_aside(const struct jail_place *p, struct err *e);
static int put_new(int from_fd, const char *from, int to_fd, const char *to);
/* ---- opening ---- */

bool ftp_jail_is_memory(int folder_fd)
{
    struct statfs fs;
    return fstatfs(folder_fd, &fs) == 0 && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
}

int ftp_jail_open(const struct ftp_jail_options *o, const struct ftp_account *a,
                  struct ftp_jail **ret, struct err *e)
{
    const char *home = a->directory != NULL && a->directory[0] != '\0' ? a->directory : ".";
    AUTO(ftp_jail) j = xcalloc(1, sizeof(*j));
    atomic_init(&j->refs, 1);
    j->root_fd = -1;
    j->root = xstrdup(o->root);
    j->reserve = o->reserve;
    j->size_max = a->size_max;
    j->sync = o->sync;
    j->counted = a->quota > 0;
    if (strcmp(home, ".") != 0 && !fs_path_is_plain(home))
        return err_set(e, -EINVAL, ERR_NEVER, "\"%s\" is no folder below the FTP root", home);
    if (!text_copy(j->home, sizeof(j->home), home))
        return err_set(e, -ENAMETOOLONG, ERR_NEVER, "the account's folder has a name too long");
    AUTO_CLOSE int home_fd = -1;
    int r = open_root(j, e);
    if (r == 0)
        r = open_folder(j, j->home, true, &home_fd, e);
    if (r < 0)
        return r;
    struct ftp_tally_limits limits = {a->quota, o->folders_max, a->files_max};
    j->tally = ftp_tally_new(j->root_fd, j->home, &limits);
    *ret = STEAL(j);
    return 0;
}

struct ftp_jail *ftp_jail_ref(struct ftp_jail *j)
{
    (void)atomic_fetch_add(&j->refs, 1);
    return j;
}

void ftp_jail_unref(struct ftp_jail *j)
{
    if (j == NULL || atomic_fetch_sub(&j->refs, 1) != 1)
        return;
    if (j->root_fd >= 0)
        (void)close(j->root_fd); /* only read */
    ftp_tally_free(j->tally);
    free(j->root);
    free(j);
}

/* Makes and opens the FTP root. Later the root may be taken away and made again; the descriptor is
 * the new one's then. */
static int open_root(struct ftp_jail *j, struct err *e)
{
    AUTO_CLOSE int fd = -1;
    int r = fs_mkdirs(AT_FDCWD, j->root, JAIL_FOLDER_MODE, e);
    if (r == 0)
        r = fs_open_dir(AT_FDCWD, j->root, &fd, e);
    if (r < 0)
        return err_prefix(e, "FTP root"), r;
    atomic_store(&j->in_memory, ftp_jail_is_memory(fd));
    if (j->root_fd < 0)
        j->root_fd = STEAL_FD(fd);
    else if (dup3(fd, j->root_fd, O_CLOEXEC) < 0)
        return err_errno(e, -errno, "FTP root %s", j->root);
    return 0;
}

static bool is_root_gone(const struct ftp_jail *j)
{
    struct stat st;
    return fstat(j->root_fd, &st) == 0 && st.st_nlink == 0;
}

int jail_code(int code)
{
    switch (code) {
    case -ELOOP: /* a link */
    case -EXDEV:
    case -EPERM:
    case -ENXIO: /* a device or FIFO */
        return -EACCES;
    default:
        return code;
    }
}

/* ---- from a virtual path to a name in an open folder ---- */

int jail_locate(struct ftp_jail *j, const char *path, bool make, struct jail_place *ret,
                struct err *e)
{
    int r = place_of(j, path, ret, e);
    return r < 0 ? r : open_folder(j, ret->folder, make, &ret->folder_fd, e);
}

int jail_locate_at_once(struct ftp_jail *j, const char *path, struct jail_place *ret, struct err *e)
{
    if (!atomic_load_explicit(&j->in_memory, memory_order_relaxed) || j->counted)
        return -EAGAIN;
    int r = place_of(j, path, ret, e);
    if (r < 0)
        return r;
    r = ftp_beneath_open_same(j->root_fd, ret->folder, &ret->folder_fd);
    if (r == -ENOENT || r == -EXDEV)
        return -EAGAIN;
    return r < 0 ? err_errno(e, jail_code(r), "folder %s", ret->folder) : 0;
}

static int place_of(const struct ftp_jail *j, const char *path, struct jail_place *ret,
                    struct err *e)
{
    int r = real_path(j, path, ret->folder, e);
    if (r < 0)
        return r;
    const char *name = strrchr(path, '/') + 1;
    (void)text_copy(ret->name, sizeof(ret->name),
                    *name != '\0' ? name : "."); /* plain, so it fits */
    char *slash = strrchr(ret->folder, '/');
    if (*name != '\0' && slash != NULL)
        *slash = '\0';
    else if (*name != '\0')
        (void)text_copy(ret->folder, sizeof(ret->folder), ".");
    return 0;
}

/* The path from the FTP root on. ftp_path_resolve() has refused all that is refused here; but this
 * is the door, and it does not trust. */
static int real_path(const struct ftp_jail *j, const char *path, char ret[JAIL_PATH_MAX],
                     struct err *e)
{
    const char *below = path[0] == '/' ? path + 1 : "//";
    bool home = *below == '\0';
    if ((!home && !fs_path_is_plain(below)) || push_name_is_hidden(path))
        return err_set(e, -EINVAL, ERR_NEVER, "\"%s\" is no path of this server", path);
    bool root = strcmp(j->home, ".") == 0;
    int r = text_format(ret, JAIL_PATH_MAX, "%s%s%s", root && !home ? "" : j->home,
                        root || home ? "" : "/", below);
    if (r < 0 || strlen(below) >= FTP_PATH_MAX)
        return err_set(e, -ENAMETOOLONG, ERR_NEVER, "a path of %zu bytes is too long",
                       strlen(path));
    return 0;
}

/* The account's own folder is always there: when it has been cleaned away it is made again. */
static int open_folder(struct ftp_jail *j, const char *folder, bool make, int *ret_fd,
                       struct err *e)
{
    int r = ftp_beneath_open(j->root_fd, folder, ret_fd);
    make = make || strcmp(folder, j->home) == 0;
    for (int i = 0; r == -ENOENT && make && i < MAKE_TRIES; i++) {
        if (is_root_gone(j))
            r = open_root(j, e);
        else
            r = make_folders(j, folder, e);
        if (r < 0 && r != -ENOENT)
            return r;
        r = ftp_beneath_open(j->root_fd, folder, ret_fd);
    }
    if (r < 0)
        return err_errno(e, jail_code(r), "folder %s", folder);
    err_clear(e); /* of an earlier try */
    return 0;
}

/* ---- making folders ---- */

/* The folders from the root down to the one that is made. */
struct chain {
    int fds[CHAIN_MAX + 1]; /* [0] is the root's own descriptor, [i + 1] part i's */
    char names[CHAIN_MAX][FTP_NAME_MAX + 1];
    bool made[CHAIN_MAX];
    int parts, open;
};

/* Makes what is missing. When it returns 0, the folders are durable. */
static int make_folders(struct ftp_jail *j, const char *folder, struct err *e)
{
    struct chain c = {.fds = {j->root_fd}};
    struct ftp_fresh *fresh = NULL;
    char topmost[JAIL_PATH_MAX];
    int r = split(&c, folder, e);
    if (r == 0)
        r = open_existing(&c, folder, topmost, e);
    if (r == 0 && j->sync && c.open < c.parts) {
        fresh = ftp_fresh_begin(j->root, topmost);
        if (fresh == NULL)
            r = err_set(e, -EIO, ERR_LATER, "make folder %s: the disk fails to keep folders",
                        folder);
    }
    while (r == 0 && c.open < c.parts)
        r = make_part(j, &c, e);
    bool complete = r == 0;
    if (complete)
        r = sync_made(j, &c, e);
    bool safe = r == 0 || unmake(j, &c);
    if (!safe && !complete) /* another session uses what we made before we failed */
        safe = sync_made(j, &c, NULL) == 0;
    if (fresh != NULL && safe)
        ftp_fresh_safe(fresh);
    else if (fresh != NULL)
        ftp_fresh_doubtful(fresh);
    for (int i = 1; i <= c.open; i++)
        (void)close(c.fds[i]); /* folders, nothing to lose */
    return r;
}

static int split(struct chain *c, const char *folder, struct err *e)
{
    for (const char *p = folder; p != NULL; c->parts++) {
        size_t len = strcspn(p, "/");
        if (c->parts == CHAIN_MAX || len > FTP_NAME_MAX)
            return err_set(e, -ENAMETOOLONG, ERR_NEVER, "make folder %s: more than %d deep", folder,
                           CHAIN_MAX);
        (void)text_format(c->names[c->parts], FTP_NAME_MAX + 1, "%.*s", (int)len, p); /* fits */
        p = p[len] != '\0' ? p + len + 1 : NULL;
    }
    return 0;
}

/* Opens the parts that are there; `topmost` becomes the path of the first that is not. */
static int open_existing(struct chain *c, const char *folder, char topmost[JAIL_PATH_MAX],
                         struct err *e)
{
    size_t len = 0;
    for (; c->open < c->parts; c->open++) {
        len += (len > 0) + strlen(c->names[c->open]);
        (void)text_format(topmost, JAIL_PATH_MAX, "%.*s", (int)len, folder); /* fits */
        int r = ftp_beneath_open(c->fds[c->open], c->names[c->open], &c->fds[c->open + 1]);
        if (r == -ENOENT)
            return 0;
        if (r < 0)
            return err_errno(e, jail_code(r), "folder %s", topmost);
    }
    return 0;
}

static int make_part(struct ftp_jail *j, struct chain *c, struct err *e)
{
    int i = c->open, above = c->fds[i];
    const char *name = c->names[i];
    struct ftp_tally_folder place = {0};
    int r = ftp_tally_folder_of(above, &place);
    if (r < 0)
        return err_errno(e, r, "make folder %s", name);
    bool counted = j->tally != NULL; /* the account's own folder is made before there is one */
    if (counted) {
        r = ftp_tally_add_folder(j->tally, e);
        if (r == 0) {
            r = ftp_tally_hold_entry(j->tally, &place, above, e);
            if (r < 0)
                ftp_tally_drop_folder(j->tally);
        }
        /* The one too many may be this one, which another session has made meanwhile. */
        if (r == -EMLINK && ftp_beneath_open(above, name, &c->fds[i + 1]) == 0) {
            c->open++;
            return 0;
        }
        if (r < 0)
            return err_prefix(e, "make folder %s", name), r;
    }
    r = mkdirat(above, name, JAIL_FOLDER_MODE) < 0 ? -errno : 0;
    c->made[i] = r == 0;
    if (counted)
        ftp_tally_let_entry(j->tally, &place, c->made[i]);
    if (counted && !c->made[i])
        ftp_tally_drop_folder(j->tally);
    if (r == 0 || r == -EEXIST) /* another session was quicker */
        r = ftp_beneath_open(above, name, &c->fds[i + 1]);
    if (r < 0)
        return err_errno(e, jail_code(r), "make folder %s", name);
    c->open++;
    return 0;
}

static int sync_made(struct ftp_jail *j, const struct chain *c, struct err *e)
{
    int r = 0;
    for (int i = 0; r == 0 && i < c->open; i++)
        if (c->made[i])
            r = jail_sync_folder(j, c->fds[i], e);
    return r;
}

/* After a failure those that we made go again. False when one stays, because another session has
 * put something in, and is not safe. */
static bool unmake(struct ftp_jail *j, struct chain *c)
{
    bool stays = false;
    for (int i = c->parts - 1; i >= 0; i--) {
        if (!c->made[i])
            continue;
        if (unlinkat(c->fds[i], c->names[i], AT_REMOVEDIR) < 0 && errno != ENOENT) {
            stays = true;
            continue;
        }
        c->made[i] = false;
        struct ftp_tally_folder place;
        if (j->tally != NULL)
            ftp_tally_drop_folder(j->tally);
        if (j->tally != NULL && ftp_tally_folder_of(c->fds[i], &place) == 0)
            ftp_tally_grow_entries(j->tally, &place, -1);
    }
    return !stays;
}

int jail_sync_folder(struct ftp_jail *j, int folder_fd, struct err *e)
{
    if (j->sync && fsync(folder_fd) < 0)
        return err_errno(e, -errno, "sync folder");
    return 0;
}

/* ---- what a name is ---- */

int jail_look(const struct jail_place *p, struct stat *ret, struct err *e)
{
    if (fstatat(p->folder_fd, p->name, ret, AT_SYMLINK_NOFOLLOW) < 0)
        return err_errno(e, jail_code(-errno), "%s/%s", p->folder, p->name);
    if (!S_ISREG(ret->st_mode) && !S_ISDIR(ret->st_mode))
        return err_set(e, -EACCES, ERR_NEVER, "%s/%s is neither a file nor a folder", p->folder,
                       p->name);
    return 0;
}

void jail_describe(const char *name, const struct stat *st, struct ftp_file *ret)
{
    *ret = (struct ftp_file){
        .folder = S_ISDIR(st->st_mode),
        .size = S_ISDIR(st->st_mode) ? 0 : st->st_size,
        .modified = {(int64_t)st->st_mtim.tv_sec * 1000000 + st->st_mtim.tv_nsec / 1000},
        .device = (uint64_t)st->st_dev,
        .inode = (uint64_t)st->st_ino,
    };
    (void)text_copy(ret->name, sizeof(ret->name), name); /* at most FTP_NAME_MAX */
}

bool jail_is(const struct ftp_mark *m, const struct stat *st)
{
    struct ftp_file file;
    jail_describe("", st, &file);
    return ftp_mark_is(m, &file);
}

bool jail_may_leave(const struct ftp_leave *leave, const struct stat *st)
{
    return leave->any || jail_is(&leave->one, st);
}

/* They come all the time, those by a mark seldom: without preference these would wait for ever. */
static pthread_rwlock_t names = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;

void jail_names_lock(bool alone)
{
    (void)(alone ? pthread_rwlock_wrlock(&names) : pthread_rwlock_rdlock(&names));
}

bool jail_names_try_lock(bool alone)
{
    return (alone ? pthread_rwlock_trywrlock(&names) : pthread_rwlock_tryrdlock(&names)) == 0;
}

void jail_names_unlock(void)
{
    (void)pthread_rwlock_unlock(&names);
}

/* Locates and looks; the caller closes folder_fd when that gave 0. */
static int find(struct ftp_jail *j, const char *path, struct jail_place *p, struct stat *st,
                struct err *e)
{
    int r = jail_locate(j, path, false, p, e);
    if (r < 0)
        return r;
    r = jail_look(p, st, e);
    if (r < 0)
        (void)close(p->folder_fd); /* only read */
    return r;
}

/* The same; `only` must be what is there. */
static int find_only(struct ftp_jail *j, const char *path, const struct ftp_mark *only,
                     struct jail_place *p, struct stat *st, struct err *e)
{
    int r = find(j, path, p, st, e);
    if (r < 0 || !only || !only->set || jail_is(only, st))
        return r;
    (void)close(p->folder_fd); /* only read */
    return err_set(e, -ENOENT, ERR_NEVER, "%s: another was stored there since", path);
}

int ftp_jail_stat(struct ftp_jail *j, const char *path, struct ftp_file *ret, struct err *e)
{
    struct jail_place p;
    struct stat st;
    int r = find(j, path, &p, &st, e);
    if (r < 0)
        return r;
    jail_describe(strcmp(p.name, ".") == 0 ? "/" : p.name, &st, ret);
    (void)close(p.folder_fd); /* only read */
    return 0;
}

struct listing {
    void (*f)(void *arg, const struct ftp_file *file);
    void *arg;
    size_t count, max;
};

static bool list_entry(void *arg, const struct ftp_beneath_entry *entry)
{
    struct listing *l = arg;
    struct stat st;
    struct ftp_file file;
    bool shown = entry->type == DT_REG || entry->type == DT_DIR;
    if (!shown || push_name_is_hidden(entry->name) ||
        fstatat(entry->folder_fd, entry->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return true; /* what has just gone, too */
    if (l->count++ == l->max)
        return false;
    jail_describe(entry->name, &st, &file);
    l->f(l->arg, &file);
    return true;
}

int ftp_jail_list(struct ftp_jail *j, const char *path, size_t max,
                  void (*f)(void *arg, const struct ftp_file *file), void *arg, struct err *e)
{
    struct jail_place p;
    struct stat st;
    struct ftp_file file;
    struct listing l = {.f = f, .arg = arg, .max = max};
    int r = find(j, path, &p, &st, e);
    if (r < 0)
        return r;
    AUTO_CLOSE int folder_fd = p.folder_fd;
    if (S_ISDIR(st.st_mode)) {
        r = ftp_beneath_entries(folder_fd, p.name, list_entry, &l);
    } else {
        jail_describe(p.name, &st, &file);
        f(arg, &file);
    }
    if (r < 0)
        return err_errno(e, jail_code(r), "list %s", path);
    if (l.count > max)
        return err_set(e, -E2BIG, ERR_NEVER, "list %s: more than %zu entries", path, max);
    return 0;
}

int ftp_jail_open_read(struct ftp_jail *j, const char *path, int *ret_fd, int64_t *ret_size,
                       struct err *e)
{
    struct jail_place p;
    struct stat st;
    int r = find(j, path, &p, &st, e);
    if (r < 0)
        return r;
    AUTO_CLOSE int folder_fd = p.folder_fd;
    if (S_ISDIR(st.st_mode))
        return err_set(e, -EISDIR, ERR_NEVER, "read %s: a folder", path);
    /* O_NONBLOCK: what was a file a moment ago may be a FIFO by now, whose opening would wait. */
    AUTO_CLOSE int fd = openat(folder_fd, p.name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_errno(e, jail_code(-errno), "read %s", path);
    if (!S_ISREG(st.st_mode))
        return err_set(e, -EACCES, ERR_NEVER, "read %s: not a file", path);
    *ret_size = st.st_size;
    *ret_fd = STEAL_FD(fd);
    return 0;
}

/* ---- changes ---- */

int ftp_jail_make(struct ftp_jail *j, const char *path, struct err *e)
{
    char folder[JAIL_PATH_MAX];
    AUTO_CLOSE int fd = -1;
    int r = real_path(j, path, folder, e);
    if (r < 0)
        return r;
    r = ftp_beneath_open(j->root_fd, folder, &fd);
    if (r == -ENOTDIR || r == -ELOOP) { /* by the last part or on the way? */
        struct jail_place p;
        int above = jail_locate(j, path, false, &p, NULL);
        r = above == 0 ? 0 : r;
        if (above == 0)
            (void)close(p.folder_fd); /* only read */
    }
    if (r == 0)
        return err_set(e, -EEXIST, ERR_NEVER, "make folder %s: it is there", path);
    if (r != -ENOENT)
        return err_errno(e, jail_code(r), "make folder %s", path);
    return open_folder(j, folder, true, &fd, e);
}

/* Closes its folder when that failed. */
static int unlink_name(const struct jail_place *p, const struct stat *st, const char *path,
                       bool folder, struct err *e)
{
    int r = 0;
    if (strcmp(p->name, ".") == 0)
        r = err_set(e, -EACCES, ERR_NEVER, "remove /: the account's own folder stays");
    else if (S_ISDIR(st->st_mode) != folder)
        r = err_set(e, folder ? -ENOTDIR : -EISDIR, ERR_NEVER, "remove %s: %s", path,
                    folder ? "not a folder" : "a folder");
    else if (unlinkat(p->folder_fd, p->name, folder ? AT_REMOVEDIR : 0) < 0)
        r = err_errno(e, errno == EEXIST ? -ENOTEMPTY : jail_code(-errno), "remove %s", path);
    if (r < 0)
        (void)close(p->folder_fd); /* only read */
    return r;
}

/* Takes a name out of its folder; `folder` is what it has to be. */
static int take_out(struct ftp_jail *j, const char *path, const struct ftp_mark *only, bool folder,
                    struct err *e)
{
    struct jail_place p;
    struct stat st;
    struct ftp_tally_folder place;
    jail_names_lock(only && only->set);
    int r = find_only(j, path, only, &p, &st, e);
    if (r == 0)
        r = unlink_name(&p, &st, path, folder, e);
    jail_names_unlock();
    if (r < 0)
        return r;
    AUTO_CLOSE int folder_fd = p.folder_fd;
    if (folder)
        ftp_tally_drop_folder(j->tally);
    else
        ftp_tally_let_bytes(j->tally, 0, -(int64_t)st.st_size);
    if (ftp_tally_folder_of(folder_fd, &place) == 0)
        ftp_tally_grow_entries(j->tally, &place, -1);
    return jail_sync_folder(j, folder_fd, e);
}

int ftp_jail_remove_folder(struct ftp_jail *j, const char *path, const struct ftp_mark *only,
                           struct err *e)
{
    return take_out(j, path, only, true, e);
}

int ftp_jail_delete(struct ftp_jail *j, const char *path, const struct ftp_mark *only,
                    struct err *e)
{
    return take_out(j, path, only, false, e);
}

static int set_time(const struct jail_place *p, const char *path, struct wall_time t, struct err *e)
{
    int64_t seconds = wall_seconds(t);
    struct timespec times[2] = {
        {.tv_nsec = UTIME_OMIT},
        {.tv_sec = (time_t)seconds, .tv_nsec = (t.us - seconds * 1000000) * 1000},
    };
    if (utimensat(p->folder_fd, p->name, times, AT_SYMLINK_NOFOLLOW) < 0)
        return err_errno(e, jail_code(-errno), "set the time of %s", path);
    return 0;
}

int ftp_jail_set_modified(struct ftp_jail *j, const char *path, const struct ftp_mark *only,
                          struct wall_time t, struct err *e)
{
    struct jail_place p;
    struct stat st;
    jail_names_lock(only && only->set);
    int r = find_only(j, path, only, &p, &st, e);
    if (r == 0) {
        r = set_time(&p, path, t, e);
        (void)close(p.folder_fd); /* only read */
    }
    jail_names_unlock();
    return r;
}

int jail_check_space(struct ftp_jail *j, int64_t bytes, struct err *e)
{
    int64_t free_bytes = 0;
    int r = fs_free_bytes(j->root_fd, &free_bytes, e);
    if (r < 0)
        return r;
    if (free_bytes < j->reserve || free_bytes - j->reserve < bytes)
        return err_set(e, -ENOSPC, ERR_LATER,
                       "disk full: %lld MB free, %lld MB are kept in reserve: delete something or "
                       "lower the reserve",
                       (long long)(free_bytes >> 20), (long long)(j->reserve >> 20));
    return 0;
}

/* ---- renaming ---- */

/* Nobody gets told that it has a name which is another's. */
static int refuse_taken(struct ftp_jail *j, const char *to, const struct ftp_leave *leave,
                        struct err *e)
{
    struct jail_place p;
    struct stat st;
    if (find(j, to, &p, &st, NULL) < 0)
        return -ENOENT;       /* and that is told */
    (void)close(p.folder_fd); /* only read */
    if (S_ISREG(st.st_mode) && jail_may_leave(leave, &st))
        return -ENOENT;
    return err_set(e, S_ISREG(st.st_mode) ? -EEXIST : -EISDIR, ERR_NEVER,
                   "rename to %s: it is there", to);
}

static int rename_locked(struct ftp_jail *j, const char *from, const struct ftp_mark *only,
                         const char *to, const struct ftp_leave *leave, struct err *e);

int ftp_jail_rename(struct ftp_jail *j, const char *from, const struct ftp_mark *only,
                    const char *to, struct ftp_leave leave, struct err *e)
{
    jail_names_lock((only && only->set) || leave.one.set);
    int r = rename_locked(j, from, only, to, &leave, e);
    jail_names_unlock();
    return r;
}

static int rename_locked(struct ftp_jail *j, const char *from, const struct ftp_mark *only,
                         const char *to, const struct ftp_leave *leave, struct err *e)
{
    struct jail_place a, b;
    struct stat st;
    int r = find_only(j, from, only, &a, &st, e);
    if (r == -ENOENT)
        return refuse_taken(j, to, leave, e);
    if (r < 0)
        return r;
    AUTO_CLOSE int from_fd = a.folder_fd;
    r = jail_locate(j, to, false, &b, e);
    if (r < 0)
        return r;
    AUTO_CLOSE int to_fd = b.folder_fd;
    if (strcmp(a.name, ".") == 0 || strcmp(b.name, ".") == 0)
        return err_set(e, -EACCES, ERR_NEVER, "rename %s to %s: the account's own folder stays",
                       from, to);
    if (strcmp(from, to) == 0)
        return 0;
    return move(j, &a, &st, &b, leave, e);
}

static int move(struct ftp_jail *j, const struct jail_place *from, const struct stat *st,
                const struct jail_place *to, const struct ftp_leave *leave, struct err *e)
{
    static const struct ftp_leave nothing;
    struct ftp_tally_folder above_from = {0}, above_to = {0};
    struct jail_replaced old = {0};
    int r = ftp_tally_folder_of(from->folder_fd, &above_from);
    if (r == 0)
        r = ftp_tally_folder_of(to->folder_fd, &above_to);
    if (r < 0)
        return err_errno(e, r, "rename %s", from->name);
    bool same = above_from.inode == above_to.inode && above_from.device == above_to.device;
    if (!same)
        r = ftp_tally_hold_entry(j->tally, &above_to, to->folder_fd, e);
    if (r == 0) {
        r = jail_put_name(from->folder_fd, from->name, to, S_ISREG(st->st_mode) ? leave : &nothing,
                          false, &old, e);
        if (!same)
            ftp_tally_let_entry(j->tally, &above_to, r == 0 && !old.gone);
    }
    if (r < 0)
        return err_prefix(e, "rename %s/%s", from->folder, from->name), r;
    if (!same || old.gone)
        ftp_tally_grow_entries(j->tally, &above_from, -1);
    ftp_tally_let_bytes(j->tally, 0, -old.gone_bytes);
    r = jail_sync_folder(j, to->folder_fd, e);
    if (r == 0 && !same)
        r = jail_sync_folder(j, from->folder_fd, e);
    return r;
}

int jail_put_name(int from_fd, const char *from, const struct jail_place *to,
                  const struct ftp_leave *leave, bool contained, struct jail_replaced *ret,
                  struct err *e)
{
    struct stat st;
    int r = put_new(from_fd, from, to->folder_fd, to->name);
    if (r != -EEXIST)
        return r < 0 ? err_errno(e, jail_code(r), "rename to %s/%s", to->folder, to->name) : 0;
    r = jail_look(to, &st, e);
    if (r < 0 && r != -ENOENT) /* a link or device is never replaced */
        return r;
    if (r == 0 && S_ISDIR(st.st_mode))
        return err_set(e, -EISDIR, ERR_NEVER, "rename to %s/%s: a folder of that name is there",
                       to->folder, to->name);
    if (r == 0 ? !jail_may_leave(leave, &st) : !leave->any && !leave->one.set)
        return err_set(e, -EEXIST, ERR_NEVER, "rename to %s/%s: it is there", to->folder, to->name);
    err_clear(e); /* it may just have been taken, which is no failure */
    bool there = r == 0;
    if (there && jail_keeps(to->name, contained)) {
        r = put_aside(to, e);
        there = false;
    }
    if (r < 0)
        return r;
    if (renameat(from_fd, from, to->folder_fd, to->name) < 0)
        return err_errno(e, jail_code(-errno), "rename to %s/%s", to->folder, to->name);
    *ret = (struct jail_replaced){there, there ? st.st_size : 0};
    return 0;
}

bool jail_keeps(const char *name, bool contained)
{
    return !contained && push_name_kind(name) == PUSH_PICTURE;
}

/* Gives a picture another name, "a~1.jpg", because a newer one wants its own. */
static int put_aside(const struct jail_place *p, struct err *e)
{
    int r = -EEXIST;
    for (int n = 1; r == -EEXIST && n <= ASIDE_MAX; n++) {
        char number[16], aside[FTP_NAME_MAX + 1];
        (void)text_format(number, sizeof(number), "%d", n); /* fits */
        jail_name_with(p->name, "~", number, aside);
        r = put_new(p->folder_fd, p->name, p->folder_fd, aside);
    }
    if (r == -EEXIST)
        return err_set(e, -EMLINK, ERR_LATER, "%d older pictures of the name %s/%s wait", ASIDE_MAX,
                       p->folder, p->name);
    if (r < 0 && r != -ENOENT) /* it may just have been taken */
        return err_errno(e, jail_code(r), "put the older %s/%s aside", p->folder, p->name);
    return 0;
}

void jail_name_with(const char *name, const char *sign, const char *more,
                    char ret[FTP_NAME_MAX + 1])
{
    const char *dot = strrchr(name, '.');
    if (dot == NULL || dot == name)
        dot = name + strlen(name);
    size_t extra = strlen(sign) + strlen(more) + strlen(dot);
    char stem[FTP_NAME_MAX + 1];
    size_t room = extra < FTP_NAME_MAX ? FTP_NAME_MAX - extra : 0;
    (void)text_format(stem, sizeof(stem), "%.*s", (int)(dot - name), name); /* fits */
    if (room == 0) /* a name that is all extension */
        (void)text_copy(ret, FTP_NAME_MAX + 1, more);
    else
        (void)text_format(ret, FTP_NAME_MAX + 1, "%.*s%s%s%s", (int)text_cut_length(stem, room),
                          stem, sign, more, dot); /* fits */
}

/* Renames to a name that is free, or -EEXIST. */
static int put_new(int from_fd, const char *from, int to_fd, const char *to)
{
    static pthread_mutex_t looking = PTHREAD_MUTEX_INITIALIZER;
    struct stat st;
    if (renameat2(from_fd, from, to_fd, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -errno;
    /* File systems without that flag (NFS, some FUSE), and a folder moved into itself: look first.
     * Between our own sessions the lock makes it safe; nobody else should write here. */
    (void)pthread_mutex_lock(&looking);
    int r = fstatat(to_fd, to, &st, AT_SYMLINK_NOFOLLOW) == 0 ? -EEXIST : 0;
    if (r == 0 && renameat(from_fd, from, to_fd, to) < 0)
        r = -errno;
    (void)pthread_mutex_unlock(&looking);
    return r;
}

/* ---- at start ---- */

static void clean_entry(void *arg, const struct ftp_beneath_entry *entry)
{
    int *removed = arg;
    if (entry->type == DT_REG && text_starts_with(entry->name, FTP_HIDDEN_PREFIX) &&
        unlinkat(entry->folder_fd, entry->name, 0) == 0)
        ++*removed;
}

int ftp_jail_clean(const char *root, struct err *e)
{
    AUTO_CLOSE int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int removed = 0;
    if (fd < 0 && errno == ENOENT)
        return 0;
    if (fd < 0)
        return err_errno(e, -errno, "FTP root %s", root);
    int r = ftp_beneath_walk(fd, ".", clean_entry, &removed);
    if (r < 0)
        return err_errno(e, r, "remove unfinished uploads below %s", root);
    return removed;
}
