#include "ledger/store.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "base/fault.h"
#include "base/fsutil.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"

#define INCOMING ".incoming"
#define ANNOTATED ".annotated"
#define PART ".part"
#define DIR_MODE 0700
#define FILE_MODE 0600
/* Pictures of one camera in one second; a burst above that is a fault, not a surveillance. */
#define NTH_MAX 1000
/* Pushed pictures of one name and day: twelve a second. */
#define PUSHED_NTH_MAX (1u << 20)
/* Rows that one query of recovery or of the check takes. */
#define BATCH 128
/* Folders below the store are camera/YYYY/MM/DD; deeper ones are not ours. */
#define DEPTH_MAX 8

struct store {
    char *root;
    int fd;       /* the root */
    int incoming; /* .incoming */
    int64_t reserve;
};

/* Over all files, for those that no row names. */
struct walk {
    struct store *s;
    struct ledger *l;
    store_orphan *each;
    void *arg;
};

enum name_kind { NAME_PICTURE, NAME_ANNOTATED, NAME_FOREIGN };

static int check_space(struct store *s, size_t size, struct err *e);
static void incoming_name(const char *id, bool annotated, char *ret, size_t size);
static int write_part(struct store *s, const char *name, const void *data, size_t size,
                      struct err *e);
static int move_into(struct store *s, int from_fd, const char *from, const char *to, struct err *e);
static void folder_of(const char *path, char *ret, size_t size);
static int finish_picture(struct store *s, const struct ledger_unsettled *u,
                          struct store_recovery *done, struct err *e);
static int finish_copy(struct store *s, const struct ledger_unsettled *u,
                       struct store_recovery *done, struct err *e);
static int path_is_free(struct store *s, struct ledger *l, const char *path, struct err *e);
static int path_of_day(const struct snapshot *snap, const char *directory, const char *name,
                       char *ret, size_t size, struct err *e);
static bool is_unchanged(int fd, int64_t size, int64_t modified_ns, nlink_t names);
static int link_descriptor(int fd, int to_fd, const char *to);
static int pushed_path(const struct snapshot *snap, const char *directory, const char *name,
                       unsigned nth, char *ret, size_t size, struct err *e);
static int pushed_is_free(struct store *s, struct ledger *l, const struct snapshot *snap,
                          const char *directory, const char *name, unsigned nth, struct err *e);
static int recover_unsettled(struct store *s, struct ledger *l, struct store_recovery *ret,
                             struct err *e);
static int recover_incoming(struct store *s, struct ledger *l, struct store_recovery *ret,
                            struct err *e);
static int recover_file(struct store *s, struct ledger *l, const char *name,
                        struct store_recovery *ret, struct err *e);
static int discard(struct store *s, const char *name, struct store_recovery *ret, struct err *e);
static enum name_kind parse_name(const char *name, char id[SNAPSHOT_ID_SIZE]);
static int check_rows(struct store *s, struct ledger *l, struct dynbuf *report, struct err *e);
static int check_row(struct store *s, const struct snapshot *snap, struct dynbuf *report);
static int walk_files(const struct walk *w, const char *folder, int depth, struct err *e);
static int walk_entry(const struct walk *w, const char *path, int depth, struct err *e);
static int report_orphan(void *arg, const char *path, const struct stat *st);

/* ---- opening ---- */

int store_open(const char *root, int64_t reserve, struct store **ret, struct err *e)
{
    AUTO(store) s = xcalloc(1, sizeof(*s));
    s->fd = s->incoming = -1;
    s->reserve = reserve;
    s->root = xstrdup(root);
    int r = fs_mkdirs(AT_FDCWD, root, DIR_MODE, e);
    if (r == 0)
        r = fs_open_dir(AT_FDCWD, root, &s->fd, e);
    if (r == 0)
        r = fs_mkdirs(s->fd, INCOMING, DIR_MODE, e);
    if (r == 0)
        r = fs_open_dir(s->fd, INCOMING, &s->incoming, e);
    if (r < 0)
        return err_prefix(e, "store '%s'", root), r;
    /* Shared with everyone who only adds or reads; store_recover() asks for it alone. File systems
     * without locks get none. */
    if (flock(s->fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK)
        return err_set(e, -EBUSY, ERR_LATER, "store '%s': another process is recovering it", root);
    *ret = STEAL(s);
    return 0;
}

void store_close(struct store *s)
{
    if (s == NULL)
        return;
    if (s->incoming >= 0)
        (void)close(s->incoming); /* a directory: nothing to lose */
    if (s->fd >= 0)
        (void)close(s->fd); /* likewise */
    free(s->root);
    free(s);
}

const char *store_root(const struct store *s)
{
    return s->root;
}

int64_t store_free_bytes(struct store *s)
{
    int64_t bytes;
    return fs_free_bytes(s->fd, &bytes, NULL) < 0 ? -1 : bytes;
}

/* ---- the temporary ---- */

static int write_incoming(struct store *s, const char *id, bool annotated, const void *data,
                          size_t size, struct err *e)
{
    assert(snapshot_id_valid(id));
    char name[64];
    incoming_name(id, annotated, name, sizeof(name));
    int r = check_space(s, size, e);
    if (r == 0)
        r = write_part(s, name, data, size, e);
    return r < 0 ? (err_prefix(e, "store '%s'", s->root), r) : 0;
}

int store_put(struct store *s, const char *id, bool annotated, const void *data, size_t size,
              struct err *e)
{
    int r = write_incoming(s, id, annotated, data, size, e);
    if (r < 0 || annotated) /* a copy whose name is lost is drawn again */
        return r;
    r = store_sync_written(s, e);
    if (r < 0)
        store_discard(s, id, annotated); /* the failure above is the story */
    return r;
}

int store_write(struct store *s, const char *id, const void *data, size_t size, struct err *e)
{
    return write_incoming(s, id, false, data, size, e);
}

int store_link(struct store *s, const char *id, int fd, int64_t size, int64_t modified_ns,
               struct err *e)
{
    assert(snapshot_id_valid(id));
    struct stat st, there;
    if (fstat(fd, &st) < 0)
        return err_errno(e, -errno, "store '%s': link %s", s->root, id);
    /* An attempt before this one may have come so far; its row may be on the disk although the
     * commit failed, so its name must not be gone for a moment. */
    bool linked = fstatat(s->incoming, id, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
                  there.st_ino == st.st_ino && there.st_dev == st.st_dev;
    if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || st.st_nlink != (linked ? 2 : 1))
        return err_set(e, -EXDEV, ERR_NEVER, "store '%s': %s is not ours alone", s->root, id);
    /* Whoever put it there has synced it, as a rule; then this costs nothing. */
    if (fsync(fd) < 0)
        return err_errno(e, -errno, "store '%s': sync the file of %s", s->root, id);
    int r = linked ? 0 : link_descriptor(fd, s->incoming, id);
    if (r < 0)
        return err_set(e, -EXDEV, ERR_NEVER, "store '%s': link %s: %s", s->root, id, strerror(-r));
    FAULT_POINT("after-store-link");
    /* Written to meanwhile, or linked by somebody: these are not the bytes that were looked at. */
    if (!is_unchanged(fd, size, modified_ns, 2)) {
        if (!linked)
            (void)unlinkat(s->incoming, id, 0); /* the story is told next */
        return err_set(e, -ESTALE, ERR_LATER, "store '%s': %s changes while it is taken", s->root,
                       id);
    }
    if ((st.st_mode & 07777) != FILE_MODE)
        (void)fchmod(fd, FILE_MODE); /* the folder is closed to others anyway */
    return 0;
}

static bool is_unchanged(int fd, int64_t size, int64_t modified_ns, nlink_t names)
{
    struct stat st;
    return fstat(fd, &st) == 0 && st.st_size == size && st.st_nlink == names &&
           (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec == modified_ns;
}

/* By the descriptor and not by its name, under which another file may stand by now. */
static int link_descriptor(int fd, int to_fd, const char *to)
{
    char from[40], part[80];
    (void)text_format(from, sizeof(from), "/proc/self/fd/%d", fd); /* fits */
    (void)text_format(part, sizeof(part), "%s" PART, to);          /* fits */
    (void)unlinkat(to_fd, part, 0); /* one that a failed attempt left, if any */
    if (linkat(AT_FDCWD, from, to_fd, part, AT_SYMLINK_FOLLOW) < 0)
        return -errno;
    if (renameat(to_fd, part, to_fd, to) == 0)
        return 0;
    int r = -errno;
    (void)unlinkat(to_fd, part, 0); /* the failure above is the story */
    return r;
}

int store_sync_written(struct store *s, struct err *e)
{
    FAULT_POINT("before-store-sync");
    if (fsync(s->incoming) < 0) {
        int r = err_errno(e, -errno, "sync " INCOMING);
        return err_prefix(e, "store '%s'", s->root), r;
    }
    FAULT_POINT("after-store-put");
    return 0;
}

void store_discard(struct store *s, const char *id, bool annotated)
{
    assert(snapshot_id_valid(id));
    char name[64];
    incoming_name(id, annotated, name, sizeof(name));
    (void)unlinkat(s->incoming, name, 0); /* what stays is discarded at the next start */
}

/* Room is kept so that the ledger can still note what happens while pictures are refused. */
static int check_space(struct store *s, size_t size, struct err *e)
{
    int64_t free_bytes;
    int r = fs_free_bytes(s->fd, &free_bytes, e);
    if (r < 0)
        return r;
    if (free_bytes < s->reserve || free_bytes - s->reserve < (int64_t)size)
        return err_set(e, -ENOSPC, ERR_LATER,
                       "disk full: %lld MB free, %lld MB are kept in reserve: delete something or "
                       "lower the reserve",
                       (long long)(free_bytes >> 20), (long long)(s->reserve >> 20));
    return 0;
}

static void incoming_name(const char *id, bool annotated, char *ret, size_t size)
{
    int n = text_format(ret, size, "%s%s", id, annotated ? ANNOTATED : "");
    assert(n > 0);
}

/* Under a name that recovery always discards until the bytes are whole, so that a half-written file
 * can never stand where a row expects a picture. */
static int write_part(struct store *s, const char *name, const void *data, size_t size,
                      struct err *e)
{
    char part[80];
    int n = text_format(part, sizeof(part), "%s" PART, name);
    assert(n > 0);
    (void)unlinkat(s->incoming, part, 0); /* one that a failed attempt left, if any */
    int r = fs_create_synced(s->incoming, part, data, size, FILE_MODE, e);
    if (r == -EFBIG) /* a limit set on the process (ulimit -f): as good as a full disk */
        return err_set(e, -ENOSPC, ERR_LATER, "write %s: the system allows no file of %zu bytes",
                       part, size);
    if (r < 0)
        return r;
    FAULT_POINT("after-store-part");
    if (renameat(s->incoming, part, s->incoming, name) < 0) {
        r = err_errno(e, -errno, "rename %s", part);
        (void)unlinkat(s->incoming, part, 0); /* the failure above is the story */
        return r;
    }
    return 0;
}

/* ---- the final place ---- */

int store_place(struct store *s, const char *id, bool annotated, const char *path, struct err *e)
{
    assert(snapshot_id_valid(id));
    char name[64];
    incoming_name(id, annotated, name, sizeof(name));
    FAULT_POINT("before-store-place");
    int r = move_into(s, s->incoming, name, path, e);
    FAULT_POINT("after-store-place");
    return r;
}

int store_rename(struct store *s, const char *from, const char *to, struct err *e)
{
    if (!fs_path_is_plain(from))
        return err_set(e, -EINVAL, ERR_NEVER, "store '%s': '%s' is not below it", s->root, from);
    FAULT_POINT("before-store-rename");
    int r = move_into(s, s->fd, from, to, e);
    FAULT_POINT("after-store-rename");
    return r;
}

int store_sync(struct store *s, const char *path, struct err *e)
{
    char folder[SNAPSHOT_PATH_MAX];
    folder_of(path, folder, sizeof(folder));
    int r = fs_sync_dir(s->fd, folder, e);
    FAULT_POINT("after-store-sync");
    return r < 0 ? (err_prefix(e, "store '%s'", s->root), r) : 0;
}

int store_size(struct store *s, const char *path, int64_t *ret)
{
    struct stat st;
    if (!fs_path_is_plain(path))
        return -EINVAL;
    if (fstatat(s->fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    *ret = st.st_size;
    return S_ISREG(st.st_mode) ? 0 : -EINVAL;
}

bool store_holds(struct store *s, const char *path)
{
    return fs_path_is_plain(path) && fs_exists(s->fd, path);
}

int store_read(struct store *s, const char *path, size_t max, struct blob **ret, struct err *e)
{
    int r = fs_read_blob(s->fd, path, max, ret, e);
    return r < 0 ? (err_prefix(e, "store '%s'", s->root), r) : 0;
}

int store_unlink(struct store *s, const char *path, struct err *e)
{
    if (!fs_path_is_plain(path))
        return err_set(e, -EINVAL, ERR_NEVER, "store '%s': '%s' is not below it", s->root, path);
    if (unlinkat(s->fd, path, 0) < 0 && errno != ENOENT)
        return err_errno(e, -errno, "store '%s': delete %s", s->root, path);
    return 0;
}

void store_remove_folder(struct store *s, const char *path)
{
    char folder[SNAPSHOT_PATH_MAX];
    (void)text_copy(folder, sizeof(folder), path); /* paths are no longer */
    for (char *slash; (slash = strrchr(folder, '/')) != NULL;) {
        *slash = '\0';
        if (strchr(folder, '/') == NULL || unlinkat(s->fd, folder, AT_REMOVEDIR) < 0)
            return; /* the camera's own stays; one that is not empty does, too */
    }
}

static int move_into(struct store *s, int from_fd, const char *from, const char *to, struct err *e)
{
    if (!fs_path_is_plain(to))
        return err_set(e, -EINVAL, ERR_NEVER, "store '%s': '%s' is not below it", s->root, to);
    int r = fs_rename_new(from_fd, from, s->fd, to);
    if (r == -ENOENT && !fs_exists(s->fd, to) && fs_exists(from_fd, from)) {
        char folder[SNAPSHOT_PATH_MAX];
        folder_of(to, folder, sizeof(folder));
        r = fs_mkdirs(s->fd, folder, DIR_MODE, e);
        if (r < 0)
            return err_prefix(e, "store '%s'", s->root), r;
        FAULT_POINT("after-store-mkdirs");
        r = fs_rename_new(from_fd, from, s->fd, to);
    }
    if (r == -ENOENT && fs_exists(s->fd, to))
        return 0; /* a repeat */
    if (r < 0)
        return err_errno(e, r, "store '%s': move %s to %s", s->root, from, to);
    return 0;
}

bool store_same_folder(const char *a, const char *b)
{
    const char *end_a = strrchr(a, '/'), *end_b = strrchr(b, '/');
    size_t len_a = end_a != NULL ? (size_t)(end_a - a) : 0;
    size_t len_b = end_b != NULL ? (size_t)(end_b - b) : 0;
    return len_a == len_b && memcmp(a, b, len_a) == 0;
}

static void folder_of(const char *path, char *ret, size_t size)
{
    const char *slash = strrchr(path, '/');
    int n = slash == NULL ? text_format(ret, size, ".")
                          : text_format(ret, size, "%.*s", (int)(slash - path), path);
    if (n < 0)
        (void)text_copy(ret, size, "."); /* longer than any path that we record */
}

int store_finish(struct store *s, const struct ledger_unsettled *u, struct store_recovery *done,
                 struct err *e)
{
    int r = finish_picture(s, u, done, e);
    if (r == 0 && u->annotated_path[0] != '\0')
        r = finish_copy(s, u, done, e);
    return r;
}

/* Another thread moves the file the same way, from .incoming to its first name to the present one.
 * Looking in that order, and on when it has just gone, it is always met. */
static int finish_picture(struct store *s, const struct ledger_unsettled *u,
                          struct store_recovery *done, struct err *e)
{
    int r = -ENOENT;
    if (fs_exists(s->incoming, u->id)) {
        r = store_place(s, u->id, false, u->path, e);
        done->placed += r == 0;
    }
    if (r == -ENOENT && u->previous_path[0] != '\0' && fs_exists(s->fd, u->previous_path)) {
        r = store_rename(s, u->previous_path, u->path, e);
        done->renamed += r == 0;
    }
    if (r < 0 && r != -ENOENT)
        return r;
    err_clear(e);
    if (r == 0 || fs_exists(s->fd, u->path))
        return 0;
    done->missing++;
    log_warn("store-missing", "%s: its file %s is nowhere, carrying on", u->id, u->path);
    return 0;
}

static int finish_copy(struct store *s, const struct ledger_unsettled *u,
                       struct store_recovery *done, struct err *e)
{
    char name[64];
    incoming_name(u->id, true, name, sizeof(name));
    bool waits = fs_exists(s->incoming, name);
    int r = store_place(s, u->id, true, u->annotated_path, e);
    if (r == -ENOENT)
        return err_set(e, -EAGAIN, ERR_LATER, "the annotated copy is not drawn yet");
    if (r < 0)
        return r;
    done->placed += waits;
    return 0;
}

static int sync_folders(struct store *s, const struct ledger_unsettled *const *rows, int count,
                        struct err *e);

int store_settle(struct store *s, struct ledger *l, const struct ledger_unsettled *rows, int count,
                 struct store_recovery *done, struct err *e)
{
    AUTO_FREE const struct ledger_unsettled **finished = xcalloc((size_t)count + 1, sizeof(void *));
    AUTO_FREE int64_t *numbers = xcalloc((size_t)count + 1, sizeof(*numbers));
    int n = 0;
    for (int i = 0; i < count; i++) {
        int r = store_finish(s, &rows[i], done, e);
        if (r == 0) {
            numbers[n] = rows[i].row;
            finished[n++] = &rows[i];
        } else if (r != -EAGAIN) {
            log_warn("settle-failed", "%s; trying again", e->text);
        }
    }
    int r = sync_folders(s, finished, n, e);
    return r < 0 ? r : ledger_settle(l, numbers, n, e);
}

/* Most rows of a batch are of few folders: each is synced once. */
static int sync_folders(struct store *s, const struct ledger_unsettled *const *rows, int count,
                        struct err *e)
{
    for (int i = 0; i < count; i++) {
        const char *paths[] = {rows[i]->path, rows[i]->annotated_path};
        for (size_t k = 0; k < ARRAY_LEN(paths); k++) {
            bool known = paths[k][0] == '\0' || (k == 1 && store_same_folder(paths[0], paths[1]));
            for (int j = 0; j < i && !known; j++)
                known = store_same_folder(paths[k], rows[j]->path) ||
                        store_same_folder(paths[k], rows[j]->annotated_path);
            int r = known ? 0 : store_sync(s, paths[k], e);
            if (r < 0)
                return r;
        }
    }
    return 0;
}

/* ---- names ---- */

int store_path_fetched(struct store *s, struct ledger *l, const struct snapshot *snap,
                       const char *directory, char *ret, size_t size, struct err *e)
{
    for (unsigned nth = 1; nth <= NTH_MAX; nth++) {
        char name[NAME_MAX + 1];
        int r = snapshot_name_fetched(snap->device_key, snap->event_at, nth,
                                      snapshot_extension(snap->format), name, sizeof(name));
        if (r < 0)
            return err_set(e, r, ERR_NEVER, "snapshot %s: its name is too long", snap->id);
        r = path_of_day(snap, directory, name, ret, size, e);
        if (r == 0)
            r = path_is_free(s, l, ret, e);
        if (r != 0)
            return r < 0 ? r : 0;
    }
    return err_set(e, -EEXIST, ERR_LATER, "snapshot %s: %d pictures of one second", snap->id,
                   NTH_MAX);
}

/* A camera that always uses one name sends thousands a day: the number is searched by doubling and
 * halving, not one by one. */
int store_path_pushed(struct store *s, struct ledger *l, const struct snapshot *snap,
                      const char *directory, const char *name, char *ret, size_t size,
                      struct err *e)
{
    unsigned taken = 0, nth = 1, free_nth = 0;
    while (free_nth == 0 || free_nth - taken > 1) {
        int r = pushed_is_free(s, l, snap, directory, name, nth, e);
        if (r < 0)
            return r;
        if (r == 1)
            free_nth = nth;
        else
            taken = nth;
        if (free_nth == 0 && taken >= PUSHED_NTH_MAX)
            return err_set(e, -EEXIST, ERR_LATER, "snapshot %s: %u pictures of one name and day",
                           snap->id, taken);
        nth = free_nth == 0 ? taken * 2 : taken + (free_nth - taken) / 2;
    }
    return pushed_path(snap, directory, name, free_nth, ret, size, e);
}

static int pushed_path(const struct snapshot *snap, const char *directory, const char *name,
                       unsigned nth, char *ret, size_t size, struct err *e)
{
    char safe[NAME_MAX + 1];
    int r = snapshot_name_pushed(name, nth, safe, sizeof(safe));
    if (r < 0)
        return err_set(e, r, ERR_NEVER, "snapshot %s: its name is too long", snap->id);
    return path_of_day(snap, directory, safe, ret, size, e);
}

static int path_of_day(const struct snapshot *snap, const char *directory, const char *name,
                       char *ret, size_t size, struct err *e)
{
    time_t seconds = (time_t)wall_seconds(snap->event_at);
    struct tm utc;
    if (gmtime_r(&seconds, &utc) == NULL)
        return err_set(e, -ERANGE, ERR_NEVER, "snapshot %s: its time has no date", snap->id);
    char path[SNAPSHOT_PATH_MAX];
    int r = text_format(path, sizeof(path), "%s/%04d/%02d/%02d/%s", directory, utc.tm_year + 1900,
                        utc.tm_mon + 1, utc.tm_mday, name);
    if (r < 0 || (size_t)r >= size || !fs_path_is_plain(path))
        return err_set(e, -EINVAL, ERR_NEVER, "snapshot %s: '%.80s/%.80s' is not a path", snap->id,
                       directory, name);
    (void)text_copy(ret, size, path); /* fits, see above */
    return 0;
}

/* 1 when neither the ledger nor the disk knows the n-th path of this name nor that of its annotated
 * copy. */
static int pushed_is_free(struct store *s, struct ledger *l, const struct snapshot *snap,
                          const char *directory, const char *name, unsigned nth, struct err *e)
{
    char path[SNAPSHOT_PATH_MAX], copy[SNAPSHOT_PATH_MAX];
    int r = pushed_path(snap, directory, name, nth, path, sizeof(path), e);
    if (r < 0)
        return r;
    r = ledger_push_name_taken(l, path, e);
    if (r != 0)
        return r < 0 ? r : 0;
    r = snapshot_name_annotated(path, copy, sizeof(copy));
    if (r < 0)
        return err_set(e, r, ERR_NEVER, "path '%.80s' has no room for a copy's name", path);
    return !fs_exists(s->fd, path) && !fs_exists(s->fd, copy);
}

/* 1 when neither the ledger nor the disk knows this path nor one that it may be renamed to. */
static int path_is_free(struct store *s, struct ledger *l, const char *path, struct err *e)
{
    static const char *const words[] = {"fetch", "human", "detect"};
    int r = ledger_path_taken(l, path, e);
    if (r != 0)
        return r < 0 ? r : 0;
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        char other[SNAPSHOT_PATH_MAX];
        r = snapshot_name_renamed(path, words[i], other, sizeof(other));
        if (r < 0)
            return err_set(e, r, ERR_NEVER, "path '%.80s' cannot be renamed", path);
        if (fs_exists(s->fd, other))
            return 0;
    }
    return 1;
}

/* ---- recovery ---- */

int store_recover(struct store *s, struct ledger *l, struct store_recovery *ret, struct err *e)
{
    if (flock(s->fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
        return err_set(e, -EBUSY, ERR_LATER,
                       "store '%s': another process uses it: stop the other one first", s->root);
    struct store_recovery done = {0};
    int r = recover_unsettled(s, l, &done, e);
    if (r == 0)
        r = recover_incoming(s, l, &done, e);
    (void)flock(s->fd, LOCK_SH | LOCK_NB); /* from the stronger lock this does not fail */
    if (r < 0)
        return err_prefix(e, "recovery"), r;
    *ret = done;
    return 0;
}

/* First the renames, while .incoming still holds what a crash before the first move left there. */
static int recover_unsettled(struct store *s, struct ledger *l, struct store_recovery *ret,
                             struct err *e)
{
    AUTO_FREE struct ledger_unsettled *batch = xcalloc(BATCH, sizeof(*batch));
    int64_t after = 0;
    for (;;) {
        int n = ledger_unsettled(l, after, batch, BATCH, e);
        if (n <= 0)
            return n;
        int r = store_settle(s, l, batch, n, ret, e);
        if (r < 0)
            return r;
        after = batch[n - 1].row;
    }
}

static int recover_incoming(struct store *s, struct ledger *l, struct store_recovery *ret,
                            struct err *e)
{
    AUTO_CLOSE int fd = -1;
    int r = fs_open_dir(s->fd, INCOMING, &fd, e);
    if (r < 0)
        return r;
    DIR *dir = fdopendir(fd);
    if (dir == NULL)
        return err_errno(e, -errno, "list " INCOMING);
    (void)STEAL_FD(fd); /* closedir() closes it */
    /* Entries go away while we read; those are the ones that we have seen. */
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (entry == NULL) {
            r = errno != 0 ? err_errno(e, -errno, "list " INCOMING) : 0;
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        r = recover_file(s, l, entry->d_name, ret, e);
        if (r < 0)
            break;
    }
    (void)closedir(dir); /* read only */
    return r;
}

static int recover_file(struct store *s, struct ledger *l, const char *name,
                        struct store_recovery *ret, struct err *e)
{
    char id[SNAPSHOT_ID_SIZE];
    enum name_kind kind = parse_name(name, id);
    if (kind == NAME_FOREIGN)
        return discard(s, name, ret, e);
    AUTO(snapshot) snap = NULL;
    int r = ledger_snapshot_get(l, id, &snap, e);
    if (r < 0 && r != -ENOENT)
        return r;
    const char *path = "";
    if (snap != NULL)
        path = kind == NAME_ANNOTATED ? snap->annotated_path : snap->path;
    if (path[0] == '\0') {
        err_clear(e);
        return discard(s, name, ret, e);
    }
    r = store_place(s, id, kind == NAME_ANNOTATED, path, e);
    if (r == -EEXIST) { /* the link was made and not yet taken away here, see fs_rename_new() */
        err_clear(e);
        return discard(s, name, ret, e);
    }
    if (r == 0)
        ret->placed++;
    return r;
}

static int discard(struct store *s, const char *name, struct store_recovery *ret, struct err *e)
{
    FAULT_POINT("before-recovery-discard");
    if (unlinkat(s->incoming, name, 0) < 0 && errno != ENOENT && errno != EISDIR && errno != EPERM)
        return err_errno(e, -errno, "discard %s", name);
    ret->discarded++;
    return 0;
}

static enum name_kind parse_name(const char *name, char id[SNAPSHOT_ID_SIZE])
{
    if (strlen(name) < SNAPSHOT_ID_LEN)
        return NAME_FOREIGN;
    memcpy(id, name, SNAPSHOT_ID_LEN);
    id[SNAPSHOT_ID_LEN] = '\0';
    const char *rest = name + SNAPSHOT_ID_LEN;
    if (!snapshot_id_valid(id))
        return NAME_FOREIGN;
    if (rest[0] == '\0')
        return NAME_PICTURE;
    return strcmp(rest, ANNOTATED) == 0 ? NAME_ANNOTATED : NAME_FOREIGN;
}

/* ---- the comparison of rows and files ---- */

int store_check(struct store *s, struct ledger *l, struct dynbuf *report, struct err *e)
{
    /* It only reads and may take minutes: a daemon that starts meanwhile must not be refused. */
    (void)flock(s->fd, LOCK_UN); /* a lock of ours can always be given up */
    int rows = check_rows(s, l, report, e);
    int files = rows < 0 ? rows : store_orphans(s, l, report_orphan, report, e);
    (void)flock(s->fd, LOCK_SH | LOCK_NB); /* refused only beside a recovery, which is short */
    return files < 0 ? files : rows + files;
}

static int check_rows(struct store *s, struct ledger *l, struct dynbuf *report, struct err *e)
{
    struct ledger_filter all = {.person = -1};
    struct ledger_page_key key = {0};
    struct snapshot *batch[BATCH];
    int count = 0;
    for (;;) {
        int n = ledger_snapshot_page(l, &all, key, batch, BATCH, e);
        if (n <= 0)
            return n < 0 ? n : count;
        for (int i = 0; i < n; i++) {
            count += check_row(s, batch[i], report);
            key = (struct ledger_page_key){batch[i]->event_at, batch[i]->row};
            snapshot_unref(batch[i]);
        }
    }
}

static int check_row(struct store *s, const struct snapshot *snap, struct dynbuf *report)
{
    int count = 0;
    struct stat st;
    if (snap->removed)
        return 0;
    if (fstatat(s->fd, snap->path, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        (void)dynbuf_printf(report, "%s: file %s is missing\n", snap->id, snap->path);
        count++;
    } else if (st.st_size != snap->size) {
        (void)dynbuf_printf(report, "%s: file %s has %lld bytes, recorded are %lld\n", snap->id,
                            snap->path, (long long)st.st_size, (long long)snap->size);
        count++;
    }
    /* One that is not drawn yet is no fault. */
    if (snap->annotated_path[0] != '\0' && !snap->unsettled &&
        !fs_exists(s->fd, snap->annotated_path)) {
        (void)dynbuf_printf(report, "%s: file %s is missing\n", snap->id, snap->annotated_path);
        count++;
    }
    return count;
}

int store_orphans(struct store *s, struct ledger *l, store_orphan *each, void *arg, struct err *e)
{
    struct walk w = {s, l, each, arg};
    return walk_files(&w, ".", 0, e);
}

static int report_orphan(void *arg, const char *path, const struct stat *st UNUSED)
{
    (void)dynbuf_printf(arg, "file %s belongs to no snapshot\n", path);
    return 0;
}

static int walk_files(const struct walk *w, const char *folder, int depth, struct err *e)
{
    if (depth > DEPTH_MAX)
        return 0;
    AUTO_CLOSE int fd = openat(w->s->fd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return err_errno(e, -errno, "list %s", folder);
    DIR *dir = fdopendir(fd);
    if (dir == NULL)
        return err_errno(e, -errno, "list %s", folder);
    (void)STEAL_FD(fd); /* closedir() closes it */
    int count = 0, r = 0;
    const struct dirent *entry;
    while (r >= 0 && (entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        char path[PATH_MAX];
        r = depth == 0 ? text_format(path, sizeof(path), "%s", entry->d_name)
                       : text_format(path, sizeof(path), "%s/%s", folder, entry->d_name);
        if (r >= 0)
            r = walk_entry(w, path, depth, e);
        if (r > 0)
            count += r;
    }
    (void)closedir(dir); /* read only */
    return r < 0 ? r : count;
}

static int walk_entry(const struct walk *w, const char *path, int depth, struct err *e)
{
    struct stat st;
    if (fstatat(w->s->fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return 0; /* gone meanwhile */
    if (S_ISDIR(st.st_mode))
        return walk_files(w, path, depth + 1, e);
    int r = ledger_path_named(w->l, path, e);
    if (r != 0)
        return r < 0 ? r : 0;
    r = w->each(w->arg, path, &st);
    return r < 0 ? r : 1;
}
