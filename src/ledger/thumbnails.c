#include "ledger/thumbnails.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "base/macros.h"
#include "base/mem.h"
#include "base/text.h"

#define DIR_MODE 0700
#define FILE_MODE 0600
#define HOUR_LEN 13 /* "2026-01-31T17" */
#define PART ".part"
#define LOOKED ".looked" /* an empty file; its time says when somebody last asked */
#define LOOKED_STEP_US ((int64_t)3600 * 1000000)      /* how exactly that is kept */
#define IN_USE_US ((int64_t)14 * 24 * 3600 * 1000000) /* who was on holiday still finds them */
#define BLOCK 4096                                    /* what a file takes is counted in these */
/* Far above any of 960 pixels across; a foreign file of any size may lie under the name. */
#define READ_MAX ((size_t)4 << 20)

struct thumbnails {
    int root;
    int64_t bytes_max, free_min;
    _Atomic int64_t bytes;
    _Atomic int64_t looked_us; /* wall time, 0 = nobody ever did */
    /* The writer's own. */
    bool written, counted;
    DIR *counting; /* the root, while it is counted */
};

struct name {
    char hour[HOUR_LEN + 1];
    char file[SNAPSHOT_ID_SIZE + 16];
    char path[HOUR_LEN + 1 + SNAPSHOT_ID_SIZE + 16];
};

static const int widths[] = {THUMBNAIL_WIDTH_SMALL, THUMBNAIL_WIDTH_LARGE};

static void make_name(const struct snapshot *s, int width, struct name *ret);
static int write_part(struct thumbnails *t, const struct blob *bytes, struct err *e);
static bool is_whole(const struct blob *b);
static int64_t taken_by(int64_t size);
static int64_t size_of_hour(struct thumbnails *t, const char *hour, bool remove);
static bool count_one(struct thumbnails *t);
static DIR *open_root(struct thumbnails *t);
static bool remove_stillest(struct thumbnails *t);

int thumbnails_open(const char *root, int64_t bytes_max, int64_t free_min, struct thumbnails **ret,
                    struct err *e)
{
    AUTO(thumbnails) t = xcalloc(1, sizeof(*t));
    t->root = -1;
    t->bytes_max = bytes_max;
    t->free_min = free_min;
    int r = bytes_max > 0 ? fs_mkdirs(AT_FDCWD, root, DIR_MODE, e) : 0;
    if (r == 0)
        r = fs_open_dir(AT_FDCWD, root, &t->root, e);
    if (r < 0)
        return err_prefix(e, "thumbnails"), r;
    struct stat st;
    if (fstatat(t->root, LOOKED, &st, AT_SYMLINK_NOFOLLOW) == 0)
        t->looked_us = (int64_t)st.st_mtim.tv_sec * 1000000;
    *ret = STEAL(t);
    return 0;
}

void thumbnails_close(struct thumbnails *t)
{
    if (t == NULL)
        return;
    if (t->counting != NULL)
        (void)closedir(t->counting); /* only read */
    if (t->root >= 0)
        (void)close(t->root); /* a directory: nothing to lose */
    free(t);
}

int64_t thumbnails_bytes(const struct thumbnails *t)
{
    return MAX(atomic_load(&((struct thumbnails *)(uintptr_t)t)->bytes), (int64_t)0);
}

int thumbnails_read(struct thumbnails *t, const struct snapshot *s, int width, struct blob **ret,
                    struct err *e)
{
    struct name n;
    AUTO(blob) b = NULL;
    make_name(s, width, &n);
    int r = fs_read_blob(t->root, n.path, READ_MAX, &b, e);
    if (r < 0)
        return r;
    if (!is_whole(b)) /* written over by who makes it again */
        return err_set(e, -ENOENT, ERR_NOW, "%s ends too early", n.path);
    *ret = STEAL(b);
    return 0;
}

bool thumbnails_hold(struct thumbnails *t, const struct snapshot *s, int width)
{
    struct name n;
    make_name(s, width, &n);
    return fs_exists(t->root, n.path);
}

bool thumbnails_have_room(struct thumbnails *t)
{
    int64_t free_bytes;
    return t->bytes_max > 0 && fs_free_bytes(t->root, &free_bytes, NULL) == 0 &&
           free_bytes >= t->free_min;
}

int thumbnails_write(struct thumbnails *t, const struct snapshot *s, int width,
                     const struct blob *bytes, struct err *e)
{
    struct name n;
    struct stat before;
    make_name(s, width, &n);
    if (taken_by((int64_t)bytes->size) > t->bytes_max || !thumbnails_have_room(t))
        return err_set(e, -ENOSPC, ERR_LATER, "no room is left for thumbnails");
    bool again = fstatat(t->root, n.path, &before, AT_SYMLINK_NOFOLLOW) == 0;
    int r = write_part(t, bytes, e);
    if (r < 0)
        return r;
    r = renameat(t->root, PART, t->root, n.path) < 0 ? -errno : 0;
    if (r == -ENOENT && (mkdirat(t->root, n.hour, DIR_MODE) == 0 || errno == EEXIST))
        r = renameat(t->root, PART, t->root, n.path) < 0 ? -errno : 0;
    if (r < 0)
        return err_errno(e, r, "thumbnail %s", n.path);
    t->written = true;
    atomic_fetch_add(&t->bytes,
                     taken_by((int64_t)bytes->size) - (again ? taken_by(before.st_size) : 0));
    return 0;
}

void thumbnails_remove(struct thumbnails *t, const struct snapshot *s)
{
    for (size_t i = 0; t != NULL && i < ARRAY_LEN(widths); i++) {
        struct name n;
        struct stat st;
        make_name(s, widths[i], &n);
        if (fstatat(t->root, n.path, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            unlinkat(t->root, n.path, 0) == 0)
            atomic_fetch_sub(&t->bytes, taken_by(st.st_size));
    }
}

void thumbnails_looked_at(struct thumbnails *t)
{
    int64_t now = clock_wall().us, last = atomic_load(&t->looked_us);
    if ((last <= now && now - last < LOOKED_STEP_US) ||
        !atomic_compare_exchange_strong(&t->looked_us, &last, now))
        return;
    AUTO_CLOSE int fd =
        openat(t->root, LOOKED, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
    if (fd >= 0)
        (void)futimens(fd, NULL); /* without it the next start knows less, that is all */
}

bool thumbnails_in_use(struct thumbnails *t)
{
    int64_t last = atomic_load(&t->looked_us);
    return last != 0 && clock_wall().us - last < IN_USE_US;
}

/* While the count runs, others may add to a folder that is still to be counted, or take from it:
 * the sum is off by those few until the next start, which a bound on a cache can bear. */
bool thumbnails_tidy(struct thumbnails *t)
{
    if (!thumbnails_have_room(t))
        return remove_stillest(t);
    if (!t->written)
        return false;
    if (!t->counted)
        return count_one(t);
    return thumbnails_bytes(t) > t->bytes_max && remove_stillest(t);
}

static void make_name(const struct snapshot *s, int width, struct name *ret)
{
    char iso[WALL_ISO_MAX];
    (void)text_copy(ret->hour, sizeof(ret->hour),
                    wall_format_iso(s->received_at, true, iso)); /* the rest is cut */
    (void)text_format(ret->file, sizeof(ret->file), "%s-%d.jpg", s->id, width);     /* fits */
    (void)text_format(ret->path, sizeof(ret->path), "%s/%s", ret->hour, ret->file); /* fits */
}

static int write_part(struct thumbnails *t, const struct blob *bytes, struct err *e)
{
    (void)unlinkat(t->root, PART, 0); /* one that a failed attempt left, if any */
    AUTO_CLOSE int fd =
        openat(t->root, PART, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
    if (fd < 0)
        return err_errno(e, -errno, "write a thumbnail");
    int r = fs_write_all(fd, bytes->data, bytes->size, e);
    if (r < 0) {
        err_prefix(e, "thumbnail");
        (void)unlinkat(t->root, PART, 0); /* the failure above is the story */
    }
    return r;
}

static bool is_whole(const struct blob *b)
{
    return b->size > 4 && b->data[0] == 0xff && b->data[1] == 0xd8 &&
           b->data[b->size - 2] == 0xff && b->data[b->size - 1] == 0xd9;
}

static int64_t taken_by(int64_t size)
{
    return (size + BLOCK - 1) / BLOCK * BLOCK;
}

/* ---- counting and tidying ---- */

static bool is_hour(const char *name)
{
    return strlen(name) == HOUR_LEN && name[10] == 'T' && strspn(name, "0123456789-T") == HOUR_LEN;
}

/* Of its files, removed or not. */
static int64_t size_of_hour(struct thumbnails *t, const char *hour, bool remove)
{
    int64_t sum = 0;
    int fd;
    if (fs_open_dir(t->root, hour, &fd, NULL) < 0)
        return 0;
    DIR *folder = fdopendir(fd);
    if (folder == NULL) {
        (void)close(fd); /* only read */
        return 0;
    }
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        struct stat st;
        if (fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode) ||
            (remove && unlinkat(fd, entry->d_name, 0) < 0))
            continue;
        sum += taken_by(st.st_size);
    }
    (void)closedir(folder);
    /* What is not ours stays; its folder is then not the stillest any more. */
    if (remove && unlinkat(t->root, hour, AT_REMOVEDIR) < 0)
        (void)utimensat(t->root, hour, NULL, 0);
    return sum;
}

/* A descriptor of its own: the position of a folder's descriptor is shared by its copies. */
static DIR *open_root(struct thumbnails *t)
{
    int fd = openat(t->root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *root = fd >= 0 ? fdopendir(fd) : NULL;
    if (root == NULL && fd >= 0)
        (void)close(fd); /* only read */
    return root;
}

/* A folder a call; what was made before the count is found by it. */
static bool count_one(struct thumbnails *t)
{
    if (t->counting == NULL) {
        atomic_store(&t->bytes, 0);
        t->counting = open_root(t);
    }
    struct dirent *entry;
    do
        entry = t->counting != NULL ? readdir(t->counting) : NULL;
    while (entry != NULL && !is_hour(entry->d_name));
    if (entry != NULL) {
        atomic_fetch_add(&t->bytes, size_of_hour(t, entry->d_name, false));
        return true;
    }
    if (t->counting != NULL)
        (void)closedir(t->counting); /* only read */
    t->counting = NULL;
    t->counted = true;
    return true;
}

/* The hour that nothing was added to for longest. False when there is none. */
static bool remove_stillest(struct thumbnails *t)
{
    char stillest[HOUR_LEN + 1] = "";
    struct timespec since = {0};
    DIR *root = open_root(t);
    for (struct dirent *entry; root != NULL && (entry = readdir(root)) != NULL;) {
        struct stat st;
        if (!is_hour(entry->d_name) ||
            fstatat(t->root, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode))
            continue;
        bool longer = st.st_mtim.tv_sec != since.tv_sec ? st.st_mtim.tv_sec < since.tv_sec
                                                        : st.st_mtim.tv_nsec < since.tv_nsec;
        if (stillest[0] != '\0' && !longer)
            continue;
        since = st.st_mtim;
        (void)text_copy(stillest, sizeof(stillest), entry->d_name); /* fits */
    }
    if (root != NULL)
        (void)closedir(root); /* only read */
    if (stillest[0] == '\0') {
        atomic_store(&t->bytes, 0);
        return false;
    }
    int64_t removed = size_of_hour(t, stillest, true);
    atomic_fetch_sub(&t->bytes, removed);
    return removed > 0;
}
