#include "storage/directory.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include "base/fault.h"
#include "base/fsutil.h"
#include "base/mem.h"
#include "base/text.h"
#include "sys/hash.h"

/* For people, who look at their archive with programs of their own; the umask narrows it. */
#define FOLDER_MODE 0755
#define FILE_MODE 0644
/* Between two looks at the stop descriptor; at 1 MB/s, a slow NAS by wireless, a quarter second. */
#define CHUNK (256 * 1024)
/* A call that takes longer is told about. NFS repeats what was lost after 60 s. */
#define HANGS_MS 10000
#define NONCE_LEN 16
/* What is read of a file to know it: more than any picture has. */
#define READ_MAX (256 << 20)
#define AUTOFS_MAGIC 0x0187

struct directory {
    struct storage storage;
    struct directory_config config; /* its strings are ours */
    char name[STORAGE_NAME_MAX];
    pthread_mutex_t lock;             /* of all below, and of the sessions' `since` */
    struct storage_session *sessions; /* list by `next` */
    int64_t free_bytes;               /* as last seen, -1 = not yet */
    char error[ERR_TEXT_MAX];         /* of the folder as a whole, "" = well */
};

struct storage_session {
    struct directory *d;
    struct storage_session *next;
    int stop_fd;
    struct mono_time since;   /* of the call under way, 0 = none */
    char temporary[NAME_MAX]; /* that is being written, "" = none */
};

/* ---- sessions, and what is said about them ---- */

static int session_new(struct storage *s, int stop_fd, const struct storage_memory *memory UNUSED,
                       struct storage_session **ret, struct err *e UNUSED)
{
    struct directory *d = container_of(s, struct directory, storage);
    struct storage_session *w = xcalloc(1, sizeof(*w));
    w->d = d;
    w->stop_fd = stop_fd;
    pthread_mutex_lock(&d->lock);
    w->next = d->sessions;
    d->sessions = w;
    pthread_mutex_unlock(&d->lock);
    *ret = w;
    return 0;
}

static void session_free(struct storage_session *w)
{
    if (w == NULL)
        return;
    struct directory *d = w->d;
    pthread_mutex_lock(&d->lock);
    struct storage_session **at = &d->sessions;
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    pthread_mutex_unlock(&d->lock);
    free(w);
}

static void call_begins(struct storage_session *w)
{
    pthread_mutex_lock(&w->d->lock);
    w->since = clock_mono();
    pthread_mutex_unlock(&w->d->lock);
}

static int call_ends(struct storage_session *w, int r, const struct storage_failure *f,
                     const struct err *e)
{
    struct directory *d = w->d;
    pthread_mutex_lock(&d->lock);
    w->since = (struct mono_time){0};
    w->temporary[0] = '\0';
    if (r == 0 || f->trouble == STORAGE_WELL)
        d->error[0] = '\0';
    else if (e != NULL)
        (void)text_copy(d->error, sizeof(d->error), e->text); /* both have room for the same */
    pthread_mutex_unlock(&d->lock);
    return r;
}

/* No call here touches the folder: it may hang. */
static void describe(struct storage *s, struct storage_state *ret)
{
    struct directory *d = container_of(s, struct directory, storage);
    *ret = (struct storage_state){0};
    struct mono_time now = clock_mono();
    int64_t longest_ms = 0;
    pthread_mutex_lock(&d->lock);
    for (const struct storage_session *w = d->sessions; w != NULL; w = w->next)
        if (w->since.us != 0)
            longest_ms = MAX(longest_ms, mono_diff_us(now, w->since) / 1000);
    (void)text_copy(ret->error, sizeof(ret->error), d->error); /* of one size */
    int64_t free_bytes = d->free_bytes;
    pthread_mutex_unlock(&d->lock);
    char span[TEXT_SPAN_MAX];
    if (longest_ms >= HANGS_MS)
        (void)text_format(ret->error, sizeof(ret->error),
                          "%.200s: a call does not return since %s: does the server behind it "
                          "answer?",
                          d->config.path, text_span((double)longest_ms / 1000, span));
    if (free_bytes < 0)
        (void)text_format(ret->text, sizeof(ret->text), "%.200s", d->config.path);
    else
        (void)text_format(ret->text, sizeof(ret->text), "%.200s: %.1f GB free", d->config.path,
                          (double)free_bytes / (1 << 30));
}

/* ---- whose fault it is ---- */

static enum storage_trouble trouble_of(int code)
{
    switch (-code) {
    case ENOSPC:
    case EDQUOT:
        return STORAGE_QUOTA;
    case EROFS:
    case EACCES:
    case EPERM:
        return STORAGE_LOGIN;
    case ENAMETOOLONG: /* the name's own fault: CIFS and exFAT take less than others */
    case EINVAL:
    case EILSEQ:
    case EFBIG:
    case EEXIST:
    case ENOTDIR: /* a file lies where a folder should be: other folders are well */
    case ELOOP:
    case EBADMSG: /* the file system's own checksum, of this folder */
    case ECANCELED:
        return STORAGE_WELL;
    default: /* EIO, ESTALE, EHOSTDOWN, ENOTCONN, ETIMEDOUT, ENODEV ...; all that a cut cable
                brings, and what only passes (ENOMEM, EMFILE) */
        return STORAGE_AWAY;
    }
}

/* The name will never do there. All else that is the object's own can be mended by somebody. */
static bool is_for_good(int code)
{
    return code == -ENAMETOOLONG || code == -EINVAL || code == -EILSEQ || code == -EFBIG ||
           code == -EEXIST;
}

/* Fills `f` and the retry class by the code, and puts the folder in front of the story. */
static int failed(const struct directory_config *c, int r, struct storage_failure *f, struct err *e)
{
    f->trouble = trouble_of(r);
    f->pause_ms = 0;
    const char *advice = "";
    if (f->trouble == STORAGE_LOGIN)
        advice = r == -EROFS ? ": mounted read-only: look at the mount, and at the server's disk"
                             : ": the program's user may not write there: look at the folder's "
                               "owner and at the rights of the mount";
    else if (r == -ENOTDIR || r == -ELOOP)
        advice = ": a file or a link lies where a folder should be: move it away";
    if (e == NULL)
        return r;
    char told[ERR_TEXT_MAX];
    (void)text_copy(told, sizeof(told), e->text); /* of one size */
    return err_set(e, r, is_for_good(r) ? ERR_NEVER : ERR_LATER, "folder '%s': %s%s", c->path, told,
                   advice);
}

/* ---- the right folder ---- */

/* 1 when the folder behind `fd` is where something is mounted, bind mounts included. */
static int is_mount(int fd)
{
    struct statx sx;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &sx) == 0 &&
        (sx.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) != 0)
        return (sx.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
    struct stat here, parent; /* kernels before 5.8 */
    return fstat(fd, &here) == 0 && fstatat(fd, "..", &parent, 0) == 0 &&
           (here.st_dev != parent.st_dev || here.st_ino == parent.st_ino);
}

/* The place of an automounter that has not mounted is a mount point as well. */
static bool is_automounter(int fd)
{
    struct statfs fs;
    return fstatfs(fd, &fs) == 0 && fs.f_type == AUTOFS_MAGIC;
}

static int check_mounted(const struct directory_config *c, int fd, struct err *e)
{
    if (c->require_mount == DIRECTORY_MOUNT_NO)
        return 0;
    if (is_automounter(fd))
        return err_set(e, -ENODEV, ERR_LATER, "nothing is mounted there by the automounter");
    if (is_mount(fd))
        return 0;
    if (c->require_mount == DIRECTORY_MOUNT_YES)
        return err_set(e, -ENODEV, ERR_LATER, "nothing is mounted there");
    if (fs_exists(fd, c->marker))
        return 0;
    return err_set(e, -ENODEV, ERR_LATER,
                   "nothing is mounted there and it holds no file '%s': mount it; if it is the "
                   "right folder, make that file (snapshotd directory --mark), or set "
                   "require_mount = no",
                   c->marker);
}

/* The descriptor stays in the file system that was looked at, whatever is mounted or unmounted
 * after that. */
static int open_root(const struct directory_config *c, int *ret_fd, struct err *e)
{
    AUTO_CLOSE int fd = open(c->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return err_set(e, -ENODEV, ERR_LATER, "there is no such folder: is it mounted?");
    if (fd < 0)
        return err_errno(e, -errno, "open");
    int r = check_mounted(c, fd, e);
    if (r == 0)
        *ret_fd = STEAL_FD(fd);
    return r;
}

static int check_room(struct directory *d, int root, size_t size, struct err *e)
{
    int64_t free_bytes = 0;
    int r = fs_free_bytes(root, &free_bytes, e);
    if (r < 0)
        return r;
    pthread_mutex_lock(&d->lock);
    d->free_bytes = free_bytes;
    pthread_mutex_unlock(&d->lock);
    int64_t reserve = d->config.reserve;
    if (free_bytes < reserve || free_bytes - reserve < (int64_t)size)
        return err_set(e, -ENOSPC, ERR_LATER,
                       "full: %lld MB free, %lld MB are kept in reserve: delete something or lower "
                       "the reserve",
                       (long long)(free_bytes >> 20), (long long)(reserve >> 20));
    return 0;
}

int directory_probe(const struct directory_config *c, int64_t *ret_free, struct storage_failure *f,
                    struct err *e)
{
    AUTO_CLOSE int root = -1;
    int64_t free_bytes = 0;
    int r = open_root(c, &root, e);
    if (r == 0)
        r = fs_free_bytes(root, &free_bytes, e);
    if (r == 0 && faccessat(root, ".", W_OK | X_OK, AT_EACCESS) < 0)
        r = err_errno(e, -errno, "write");
    if (r < 0)
        return failed(c, r, f, e);
    if (ret_free != NULL)
        *ret_free = free_bytes;
    return 0;
}

int directory_mark(const struct directory_config *c, struct err *e)
{
    static const char words[] = "This file tells snapshotd that this is the folder for its "
                                "pictures, and not an empty one\nunder a mount that is missing.\n";
    AUTO_CLOSE int fd = open(c->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, -errno, "folder '%s'", c->path);
    int r = fs_create_synced(fd, c->marker, words, sizeof(words) - 1, FILE_MODE, e);
    if (r == 0)
        r = fs_sync_dir(fd, ".", e);
    return r < 0 ? (err_prefix(e, "folder '%s'", c->path), r) : 0;
}

static int free_bytes(struct storage_session *w, int64_t *ret, struct err *e)
{
    struct storage_failure f = {0};
    call_begins(w);
    int r = directory_probe(&w->d->config, ret, &f, e);
    if (r == 0) {
        pthread_mutex_lock(&w->d->lock);
        w->d->free_bytes = *ret;
        pthread_mutex_unlock(&w->d->lock);
    }
    return call_ends(w, r, &f, e);
}

/* ---- marks ---- */

/* What `resume` of a mark holds: a number that names the temporary, so that a repeat finds what a
 * crash left, and the SHA-256s of the bytes that were last put and of those that they replace. They
 * tell our own file from another's: a copy with boxes may be drawn again with other bytes. That of
 * a picture is known when its mark is made, which spares a commit. Older marks have MD5s. */
struct memo {
    char nonce[NONCE_LEN + 1];
    char digest[HASH_SHA256_HEX];   /* "" = not known yet */
    char replaced[HASH_SHA256_HEX]; /* "" = nothing */
};

static void memo_new(const char *digest, struct memo *ret)
{
    uint8_t random[NONCE_LEN / 2];
    *ret = (struct memo){0};
    hash_random(random, sizeof(random));
    text_hex(random, sizeof(random), ret->nonce);
    (void)text_copy(ret->digest, sizeof(ret->digest), digest); /* of one size */
}

/* One word of so many hex digits (or of `other`), or none: "" then. Moves on behind it and its
 * space. */
static bool read_hex(const char **at, size_t len, size_t other, char *ret)
{
    size_t n = strspn(*at, "0123456789abcdef");
    if ((n != len && n != other && n != 0) || ((*at)[n] != ' ' && (*at)[n] != '\0'))
        return false;
    memcpy(ret, *at, n);
    ret[n] = '\0';
    *at += n + ((*at)[n] == ' ');
    return true;
}

static bool memo_read(const struct storage_mark *mark, struct memo *ret)
{
    const char *at = mark->resume;
    struct memo m = {0};
    if (!read_hex(&at, NONCE_LEN, NONCE_LEN, m.nonce) ||
        !read_hex(&at, HASH_SHA256_HEX - 1, HASH_MD5_HEX - 1, m.digest) ||
        !read_hex(&at, HASH_SHA256_HEX - 1, HASH_MD5_HEX - 1, m.replaced) || m.nonce[0] == '\0')
        return false;
    *ret = m;
    return true;
}

static void memo_write(const struct memo *m, struct storage_mark *mark)
{
    (void)text_format(mark->resume, sizeof(mark->resume), "%s %s %s", m->nonce, m->digest,
                      m->replaced); /* fits */
}

static int path_of(const struct directory_config *c, const struct storage_object *o, char *ret,
                   size_t size, struct err *e)
{
    const char *between = c->prefix[0] != '\0' ? "/" : "";
    if (text_format(ret, size, "%s%s%s", c->prefix, between, o->path) < 0)
        return err_set(e, -ENAMETOOLONG, ERR_NEVER, "path '%.80s...' is too long", o->path);
    if (!fs_path_is_plain(ret))
        return err_set(e, -EINVAL, ERR_NEVER, "'%.200s' is not a path for pictures", ret);
    return 0;
}

/* An object that can have no path there ends with the reason by put(), alone. */
static int reserve(struct storage_session *w, const struct storage_object *objects,
                   struct storage_mark *marks, int count, struct storage_failure *f UNUSED,
                   struct err *e UNUSED)
{
    for (int i = 0; i < count; i++) {
        struct memo memo;
        marks[i] = (struct storage_mark){0};
        if (path_of(&w->d->config, &objects[i], marks[i].id, sizeof(marks[i].id), NULL) < 0)
            (void)text_copy(marks[i].id, sizeof(marks[i].id), "?"); /* fits */
        memo_new(objects[i].sha256, &memo);
        memo_write(&memo, &marks[i]);
    }
    return 0;
}

/* ---- one file ---- */

struct put {
    struct storage_session *w;
    const struct storage_object *o;
    struct storage_mark *mark;
    int (*save)(void *arg, const struct storage_mark *mark, struct err *e);
    void *arg;
    bool save_failed;
    struct memo memo;
    char found[HASH_SHA256_HEX]; /* of the file that has its name now */
    int folder;                  /* where it goes; -1 before */
};

static const char *basename_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

static int stopped(const struct storage_session *w, struct err *e)
{
    struct pollfd p = {.fd = w->stop_fd, .events = POLLIN};
    if (w->stop_fd >= 0 && poll(&p, 1, 0) > 0)
        return err_set(e, -ECANCELED, ERR_LATER, "stopped in the middle");
    return 0;
}

static int open_folder(int root, const char *path, int *ret_fd, struct err *e)
{
    const char *slash = strrchr(path, '/');
    char folder[PATH_MAX];
    if (slash == NULL)
        (void)text_copy(folder, sizeof(folder), ".");
    else
        (void)text_format(folder, sizeof(folder), "%.*s", (int)(slash - path), path); /* fits */
    int r = fs_open_dir(root, folder, ret_fd, NULL); /* as a rule it is there */
    if (r != -ENOENT)
        return r < 0 ? err_errno(e, r, "open folder %s", folder) : 0;
    r = fs_mkdirs(root, folder, FOLDER_MODE, e);
    return r < 0 ? r : fs_open_dir(root, folder, ret_fd, e);
}

/* A file's bytes, from the disk where the system allows to ask for that. -EBADMSG when its size is
 * not `size`; -1 = any. */
static int file_bytes(int folder, const char *name, int64_t size, struct blob **ret, struct err *e)
{
    AUTO_CLOSE int fd = -1;
    AUTO(blob) bytes = NULL;
    struct stat st;
    int r = fs_open_read(folder, name, &fd, e);
    if (r < 0)
        return r;
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED); /* some file systems have no cache */
    if (fstat(fd, &st) < 0)
        return err_errno(e, -errno, "read %s", name);
    if (size >= 0 && st.st_size != size)
        return err_set(e, -EBADMSG, ERR_NEVER, "%s has %lld bytes instead of %lld", name,
                       (long long)st.st_size, (long long)size);
    r = fs_read_blob(folder, name, READ_MAX, &bytes, e);
    if (r < 0)
        return r;
    if (bytes->size != (size_t)st.st_size)
        return err_set(e, -EBADMSG, ERR_NEVER, "%s changes while it is read", name);
    *ret = STEAL(bytes);
    return 0;
}

static bool has_digest(const struct blob *bytes, const char *sha256, const char *digest)
{
    char md5[HASH_MD5_HEX];
    if (strlen(digest) != sizeof(md5) - 1)
        return strcmp(sha256, digest) == 0;
    hash_md5_hex(bytes->data, bytes->size, md5); /* of an older mark */
    return strcmp(md5, digest) == 0;
}

enum occupant { OCCUPANT_NONE, OCCUPANT_SAME, OCCUPANT_OURS, OCCUPANT_FOREIGN };

/* Who has the name now. */
static int look_at(struct put *p, const char *name, enum occupant *ret, struct err *e)
{
    struct stat st;
    if (fstatat(p->folder, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        *ret = OCCUPANT_NONE;
        return errno == ENOENT ? 0 : err_errno(e, -errno, "look for %s", name);
    }
    *ret = OCCUPANT_FOREIGN;
    if (!S_ISREG(st.st_mode) || st.st_size > READ_MAX)
        return 0; /* nothing that this program writes */
    AUTO(blob) bytes = NULL;
    int r = file_bytes(p->folder, name, -1, &bytes, e);
    if (r == -ENOENT || r == -EBADMSG)
        return err_set(e, -EAGAIN, ERR_LATER, "%s changes while it is looked at", name);
    if (r < 0)
        return r;
    hash_sha256_hex(bytes->data, bytes->size, p->found);
    if (strcmp(p->found, p->o->sha256) == 0)
        *ret = OCCUPANT_SAME;
    else if (has_digest(bytes, p->found, p->memo.digest) ||
             has_digest(bytes, p->found, p->memo.replaced))
        *ret = OCCUPANT_OURS;
    return 0;
}

/* By the mark's number, so that a repeat after a crash takes the same name; never one that another
 * session of this program writes to at this moment. */
static void choose_temporary(struct put *p)
{
    struct directory *d = p->w->d;
    char name[NAME_MAX];
    pthread_mutex_lock(&d->lock);
    for (unsigned nth = 1; p->w->temporary[0] == '\0'; nth++) {
        bool taken = false;
        (void)text_format(name, sizeof(name), ".snapshotd-%s-%u.part", p->memo.nonce, nth);
        for (const struct storage_session *s = d->sessions; s != NULL; s = s->next)
            taken = taken || strcmp(s->temporary, name) == 0;
        if (!taken)
            (void)text_copy(p->w->temporary, sizeof(p->w->temporary), name); /* of one size */
    }
    pthread_mutex_unlock(&d->lock);
}

static int write_bytes(const struct put *p, int fd, struct err *e)
{
    const uint8_t *at = p->o->bytes->data;
    size_t rest = p->o->bytes->size;
    while (rest > 0) {
        size_t n = MIN(rest, (size_t)CHUNK);
        int r = stopped(p->w, e);
        if (r == 0)
            r = fs_write_all(fd, at, n, e);
        if (r < 0)
            return r;
        at += n;
        rest -= n;
    }
    struct timespec taken = {.tv_sec = (time_t)wall_seconds(p->o->taken_at)};
    const struct timespec times[2] = {taken, taken};
    (void)futimens(fd, times); /* a kindness to who sorts by date; not all servers allow it */
    return fsync(fd) < 0 ? err_errno(e, -errno, "sync") : 0;
}

static int write_temporary(const struct put *p, struct err *e)
{
    const char *name = p->w->temporary;
    (void)unlinkat(p->folder, name, 0); /* one that a crash left, if any */
    int fd =
        openat(p->folder, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, FILE_MODE);
    if (fd < 0)
        return err_errno(e, -errno, "create a file");
    int r = write_bytes(p, fd, e);
    /* NFS tells of a full disk when the file is closed. */
    if (close(fd) < 0 && r == 0)
        r = err_errno(e, -errno, "close");
    const struct blob *bytes = p->o->bytes;
    AUTO(blob) back = NULL;
    if (r == 0)
        r = file_bytes(p->folder, name, (int64_t)bytes->size, &back, e);
    if (r == 0 && memcmp(back->data, bytes->data, bytes->size) != 0)
        r = -EBADMSG;
    if (r == -EBADMSG || r == -ENOENT) /* the server's or the cable's fault, not the picture's */
        r = err_set(e, -EIO, ERR_LATER, "what was written reads back differently");
    return r;
}

/* Never over a file that is there. SMB and some FUSE know neither a rename that looks first nor
 * links; there we look, and nobody else writes these names. */
static int rename_new(int folder, const char *from, const char *to)
{
    int r = fs_rename_new(folder, from, folder, to);
    if (r != -EPERM && r != -EOPNOTSUPP && r != -ENOSYS && r != -EMLINK)
        return r;
    if (fs_exists(folder, to))
        return -EEXIST;
    return renameat(folder, from, folder, to) < 0 ? -errno : 0;
}

/* Some file systems sync folders by themselves and refuse to be asked. */
static int sync_folder(int folder, struct err *e)
{
    if (fsync(folder) == 0 || errno == EINVAL || errno == ENOTSUP || errno == EBADF)
        return 0;
    return err_errno(e, -errno, "sync the folder");
}

static int remember(struct put *p, struct err *e)
{
    memo_write(&p->memo, p->mark);
    int r = p->save(p->arg, p->mark, e);
    p->save_failed = r < 0;
    return r < 0 ? (err_prefix(e, "note where it goes"), r) : 0;
}

/* Before bytes that the mark does not know yet may stand under the name. */
static int note_bytes(struct put *p, enum occupant occupant, struct err *e)
{
    const char *replaced = occupant == OCCUPANT_OURS ? p->found : "";
    if (strcmp(p->memo.digest, p->o->sha256) == 0 && strcmp(p->memo.replaced, replaced) == 0)
        return 0;
    (void)text_copy(p->memo.digest, sizeof(p->memo.digest), p->o->sha256); /* of one size */
    (void)text_copy(p->memo.replaced, sizeof(p->memo.replaced), replaced); /* likewise */
    return remember(p, e);
}

static int move_into_place(const struct put *p, const char *name, enum occupant occupant,
                           struct err *e)
{
    int r = 0;
    if (occupant != OCCUPANT_OURS)
        r = rename_new(p->folder, p->w->temporary, name);
    else if (renameat(p->folder, p->w->temporary, p->folder, name) < 0)
        r = -errno;
    return r < 0 ? err_errno(e, r, "rename to %s", name) : 0;
}

static int place(struct put *p, const char *name, enum occupant occupant, struct err *e)
{
    int r = write_temporary(p, e);
    FAULT_POINT("directory-written");
    if (r == 0)
        r = note_bytes(p, occupant, e);
    FAULT_POINT("directory-noted");
    if (r == 0)
        r = move_into_place(p, name, occupant, e);
    if (r < 0) {
        (void)unlinkat(p->folder, p->w->temporary, 0); /* the failure is the story */
        return r;
    }
    FAULT_POINT("directory-renamed");
    return sync_folder(p->folder, e);
}

/* -EEXIST: the name is somebody else's. */
static int put_once(struct put *p, const char *name, struct err *e)
{
    enum occupant occupant = OCCUPANT_NONE;
    int r = look_at(p, name, &occupant, e);
    if (r < 0)
        return r;
    switch (occupant) {
    case OCCUPANT_FOREIGN:
        return err_set(e, -EEXIST, ERR_NEVER, "%s is another file", name);
    case OCCUPANT_SAME: /* perhaps from before a crash, and not on its disk yet */
        (void)unlinkat(p->folder, p->w->temporary, 0); /* its second name, where links are used */
        return sync_folder(p->folder, e);
    case OCCUPANT_OURS:
    case OCCUPANT_NONE:
        break;
    }
    return place(p, name, occupant, e);
}

static int put_as(struct put *p, const char *name, struct err *e)
{
    choose_temporary(p);
    int r = put_once(p, name, e);
    /* Taken between the look and the rename: perhaps by the same bytes, of another session. */
    return r == -EEXIST ? put_once(p, name, e) : r;
}

/* The path of the mark first: an attempt before may have come so far. */
static int put_somewhere(struct put *p, int root, struct err *e)
{
    char wanted[STORAGE_ID_MAX];
    int r = path_of(&p->w->d->config, p->o, wanted, sizeof(wanted), e);
    if (r == 0)
        r = open_folder(root, p->mark->id, &p->folder, e);
    if (r == 0)
        r = put_as(p, basename_of(p->mark->id), e);
    for (unsigned nth = 2; r == -EEXIST && nth <= STORAGE_NTH_MAX; nth++) {
        char other[STORAGE_ID_MAX];
        if (storage_nth_path(wanted, nth, other, sizeof(other)) < 0)
            return err_set(e, -ENAMETOOLONG, ERR_NEVER, "'%.80s...' has no room for a number",
                           wanted);
        if (fs_exists(root, other) && strcmp(other, p->mark->id) != 0 && nth < STORAGE_NTH_MAX)
            continue; /* a first look spares a note in the ledger */
        (void)text_copy(p->mark->id, sizeof(p->mark->id), other); /* of one size */
        r = remember(p, e);
        if (r == 0)
            r = put_as(p, basename_of(other), e);
    }
    if (r == -EEXIST)
        return err_set(e, r, ERR_NEVER, "'%.200s' and %d more names are taken by other files",
                       wanted, STORAGE_NTH_MAX - 1);
    return r;
}

/* For the day when the copy is drawn again. A picture's bytes stay what they are. */
static void keep_memo(struct put *p)
{
    p->mark->resume[0] = '\0';
    if (!p->o->annotated)
        return;
    (void)text_copy(p->memo.digest, sizeof(p->memo.digest), p->o->sha256); /* of one size */
    p->memo.replaced[0] = '\0';
    memo_write(&p->memo, p->mark);
}

static int put(struct storage_session *w, const struct storage_object *o, struct storage_mark *mark,
               int (*save)(void *arg, const struct storage_mark *mark, struct err *e), void *arg,
               struct storage_failure *f, struct err *e)
{
    struct put p = {.w = w, .o = o, .mark = mark, .save = save, .arg = arg, .folder = -1};
    AUTO_CLOSE int root = -1;
    *f = (struct storage_failure){0};
    if (!memo_read(mark, &p.memo))
        memo_new("", &p.memo);
    call_begins(w);
    int r = stopped(w, e);
    if (r == 0)
        r = open_root(&w->d->config, &root, e);
    if (r == 0)
        r = check_room(w->d, root, o->bytes->size, e);
    if (r == 0)
        r = put_somewhere(&p, root, e);
    if (r == 0)
        keep_memo(&p);
    if (p.folder >= 0)
        (void)close(p.folder);   /* a folder: nothing to lose */
    if (r < 0 && !p.save_failed) /* that was no failure of the folder */
        failed(&w->d->config, r, f, e);
    return call_ends(w, r, f, e);
}

static int verify(struct storage_session *w, const struct storage_object *o,
                  const struct storage_mark *mark, struct storage_failure *f, struct err *e)
{
    AUTO_CLOSE int root = -1;
    *f = (struct storage_failure){0};
    AUTO(blob) there = NULL;
    char sha256[HASH_SHA256_HEX] = "";
    call_begins(w);
    int r = open_root(&w->d->config, &root, e);
    if (r == 0)
        r = file_bytes(root, mark->id, o->bytes ? (int64_t)o->bytes->size : -1, &there, e);
    if (r == 0)
        hash_sha256_hex(there->data, there->size, sha256);
    if (r == 0 && strcmp(sha256, o->sha256) != 0)
        r = err_set(e, -EBADMSG, ERR_NEVER, "%s has other bytes", mark->id);
    if (r == -ENOTDIR)
        r = -ENOENT;
    if (r < 0) {
        failed(&w->d->config, r, f, e);
        if (r == -ENOENT)
            f->trouble = STORAGE_WELL;
    }
    return call_ends(w, r, f, e);
}

/* ---- opening ---- */

static void directory_free(struct storage *s)
{
    if (s == NULL)
        return;
    struct directory *d = container_of(s, struct directory, storage);
    assert(d->sessions == NULL);
    pthread_mutex_destroy(&d->lock);
    const char *const strings[] = {d->config.path, d->config.prefix, d->config.marker};
    for (size_t i = 0; i < ARRAY_LEN(strings); i++)
        free((void *)(uintptr_t)strings[i]);
    free(d);
}

static const struct storage_ops directory_ops = {
    .kind = "directory",
    .session_new = session_new,
    .session_free = session_free,
    .reserve = reserve,
    .reserve_asks_nobody = true,
    .put = put,
    .verify = verify,
    .free_bytes = free_bytes,
    .describe = describe,
    .free = directory_free,
};

int directory_open(const struct directory_config *c, const char *name, struct storage **ret,
                   struct err *e UNUSED)
{
    struct directory *d = xcalloc(1, sizeof(*d));
    d->config = *c;
    d->config.path = xstrdup(c->path);
    d->config.prefix = xstrdup(c->prefix);
    d->config.marker = xstrdup(c->marker);
    (void)text_copy(d->name, sizeof(d->name), name); /* cut as the plan's is */
    d->storage = (struct storage){.ops = &directory_ops, .name = d->name};
    d->free_bytes = -1;
    pthread_mutex_init(&d->lock, NULL);
    *ret = &d->storage;
    return 0;
}

static int open_kind(const struct storage_open_options *o, struct storage **ret, struct err *e)
{
    return directory_open(o->values, o->name, ret, e);
}

const struct storage_kind directory_storage = {
    .kind = "directory",
    .section = &directory_cfg_section,
    .common_offset = offsetof(struct directory_config, common),
    .open = open_kind,
};
