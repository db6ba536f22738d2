#include "ftp/ftp_tally.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "ftp/ftp_beneath.h"
#include "ftp/ftp_path.h"

/* Folders whose entries are known; as many as cameras write at once in a large house. */
#define FOLDERS_KNOWN 64
/* Counting takes at most one part in so many of the time, but one is never further than the last
 * but so long ago. */
#define COUNT_SHARE 20
#define COUNT_WAIT_US (3 * 1000 * 1000)

/* When something was counted and how long that took. */
struct counted {
    bool ever;
    struct mono_time at;
    int64_t took_us;
};

struct known_folder {
    struct ftp_tally_folder id;
    struct counted counted;
    int64_t entries, held;
    uint64_t used; /* when, for the choice of who goes */
};

struct ftp_tally {
    int root_fd;
    const char *home;
    struct ftp_tally_limits limits;

    pthread_mutex_t counting; /* held while the tree is counted; taken before `lock` */
    pthread_mutex_t lock;     /* of all below */
    struct counted counted;
    int64_t bytes, folders;             /* estimates */
    int64_t grown_bytes, grown_folders; /* since the count that is under way began */
    int64_t held_bytes;
    uint64_t clock;
    struct known_folder known[FOLDERS_KNOWN];
};

struct tree_count {
    int64_t bytes, folders;
};

static bool is_full_of_bytes(const struct ftp_tally *t, int64_t more);
static int make_sure(struct ftp_tally *t, bool (*full)(const struct ftp_tally *t, int64_t more),
                     int64_t more, struct err *e);
static bool may_count(const struct counted *c);
static struct known_folder *find_folder(struct ftp_tally *t, const struct ftp_tally_folder *f);
static struct known_folder *know_folder(struct ftp_tally *t, const struct ftp_tally_folder *f);
static int count_entries(struct known_folder *k, int folder_fd);

struct ftp_tally *ftp_tally_new(int root_fd, const char *home, const struct ftp_tally_limits *l)
{
    struct ftp_tally *t = xcalloc(1, sizeof(*t));
    t->root_fd = root_fd;
    t->home = home;
    t->limits = *l;
    (void)pthread_mutex_init(&t->counting, NULL); /* cannot fail without attributes */
    (void)pthread_mutex_init(&t->lock, NULL);
    return t;
}

void ftp_tally_free(struct ftp_tally *t)
{
    if (t == NULL)
        return;
    (void)pthread_mutex_destroy(&t->counting); /* nobody holds them any more */
    (void)pthread_mutex_destroy(&t->lock);
    free(t);
}

/* ---- bytes and folders of the tree ---- */

int ftp_tally_hold_bytes(struct ftp_tally *t, int64_t bytes, struct err *e)
{
    int r = 0;
    if (t->limits.bytes_max <= 0)
        return 0;
    (void)pthread_mutex_lock(&t->lock);
    if (bytes > 0 && is_full_of_bytes(t, bytes))
        r = make_sure(t, is_full_of_bytes, bytes, e);
    if (r == 0 && bytes > 0 && is_full_of_bytes(t, bytes))
        r = err_set(e, -EDQUOT, ERR_LATER,
                    "quota: %lld of %lld bytes are used, %lld more do not fit: delete something or "
                    "raise the account's quota",
                    (long long)t->bytes + (long long)t->held_bytes, (long long)t->limits.bytes_max,
                    (long long)bytes);
    if (r == 0)
        t->held_bytes += bytes;
    (void)pthread_mutex_unlock(&t->lock);
    return r;
}

void ftp_tally_let_bytes(struct ftp_tally *t, int64_t held, int64_t grown)
{
    if (t->limits.bytes_max <= 0)
        return;
    (void)pthread_mutex_lock(&t->lock);
    t->held_bytes -= held;
    t->bytes += grown;
    t->grown_bytes += grown;
    (void)pthread_mutex_unlock(&t->lock);
}

static bool is_full_of_bytes(const struct ftp_tally *t, int64_t more)
{
    return !t->counted.ever || t->bytes + t->held_bytes > t->limits.bytes_max - more;
}

static bool is_full_of_folders(const struct ftp_tally *t, int64_t more)
{
    return !t->counted.ever || t->folders > t->limits.folders_max - more;
}

int ftp_tally_add_folder(struct ftp_tally *t, struct err *e)
{
    int r = 0;
    if (t->limits.folders_max <= 0)
        return 0;
    (void)pthread_mutex_lock(&t->lock);
    if (is_full_of_folders(t, 1))
        r = make_sure(t, is_full_of_folders, 1, e);
    if (r == 0 && is_full_of_folders(t, 1))
        r = err_set(e, -EMLINK, ERR_LATER,
                    "%lld folders are there, no more than %lld may be (folders_max)",
                    (long long)t->folders, (long long)t->limits.folders_max);
    if (r == 0) {
        t->folders++;
        t->grown_folders++;
    }
    (void)pthread_mutex_unlock(&t->lock);
    return r;
}

void ftp_tally_drop_folder(struct ftp_tally *t)
{
    if (t->limits.folders_max <= 0)
        return;
    (void)pthread_mutex_lock(&t->lock);
    t->folders--;
    t->grown_folders--;
    (void)pthread_mutex_unlock(&t->lock);
}

static bool is_unfinished(const char *name)
{
    return text_starts_with(name, FTP_HIDDEN_PREFIX);
}

static void count_entry(void *arg, const struct ftp_beneath_entry *entry)
{
    struct tree_count *c = arg;
    struct stat st;
    if (entry->type == DT_DIR)
        c->folders++;
    else if (entry->type == DT_REG && !is_unfinished(entry->name) &&
             fstatat(entry->folder_fd, entry->name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        c->bytes += st.st_size;
}

/* Counts the tree unless it was counted a moment ago. Called with `lock` held, which is given up
 * meanwhile: others go on with the estimate. A count that fails leaves the estimate, and is only
 * told when there is none. */
static int make_sure(struct ftp_tally *t, bool (*full)(const struct ftp_tally *t, int64_t more),
                     int64_t more, struct err *e)
{
    (void)pthread_mutex_unlock(&t->lock);
    (void)pthread_mutex_lock(&t->counting);
    (void)pthread_mutex_lock(&t->lock);
    bool wanted = full(t, more) && may_count(&t->counted); /* another may have counted by now */
    t->grown_bytes = t->grown_folders = 0;
    (void)pthread_mutex_unlock(&t->lock);

    struct tree_count c = {0};
    struct mono_time began = clock_mono();
    int r = wanted ? ftp_beneath_walk(t->root_fd, t->home, count_entry, &c) : 0;
    struct mono_time now = clock_mono();

    (void)pthread_mutex_lock(&t->lock);
    if (wanted && r == 0) {
        /* What came meanwhile may have been seen or not; too much is mended by the next count, too
         * little would let the limit slip. */
        t->bytes = c.bytes + MAX(t->grown_bytes, 0);
        t->folders = c.folders + MAX(t->grown_folders, 0);
        t->counted = (struct counted){true, now, mono_diff_us(now, began)};
    }
    bool known = t->counted.ever;
    (void)pthread_mutex_unlock(&t->lock);
    (void)pthread_mutex_unlock(&t->counting);
    (void)pthread_mutex_lock(&t->lock);
    return r < 0 && !known ? err_errno(e, r, "count what is there") : 0;
}

static bool may_count(const struct counted *c)
{
    int64_t pause_us = c->took_us * COUNT_SHARE;
    if (pause_us > COUNT_WAIT_US)
        pause_us = COUNT_WAIT_US;
    return !c->ever || mono_diff_us(clock_mono(), c->at) >= pause_us;
}

/* ---- entries of one folder ---- */

int ftp_tally_folder_of(int folder_fd, struct ftp_tally_folder *ret)
{
    struct stat st;
    if (fstat(folder_fd, &st) < 0)
        return -errno;
    *ret = (struct ftp_tally_folder){(uint64_t)st.st_dev, (uint64_t)st.st_ino};
    return 0;
}

static bool is_full_folder(const struct ftp_tally *t, const struct known_folder *k)
{
    return k->entries + k->held >= t->limits.files_max;
}

int ftp_tally_hold_entry(struct ftp_tally *t, const struct ftp_tally_folder *f, int folder_fd,
                         struct err *e)
{
    int r = 0;
    if (t->limits.files_max <= 0)
        return 0;
    (void)pthread_mutex_lock(&t->lock);
    struct known_folder *k = know_folder(t, f);
    /* Under the lock: it is one folder of at most files_max entries, some milliseconds. */
    if ((!k->counted.ever || is_full_folder(t, k)) && may_count(&k->counted))
        r = count_entries(k, folder_fd);
    if (r < 0)
        r = err_errno(e, r, "count the folder's files");
    else if (is_full_folder(t, k))
        r = err_set(e, -EMLINK, ERR_LATER,
                    "%lld files are in this folder, no more than %lld may be (files_max)",
                    (long long)k->entries + (long long)k->held, (long long)t->limits.files_max);
    else
        k->held++;
    (void)pthread_mutex_unlock(&t->lock);
    return r;
}

void ftp_tally_let_entry(struct ftp_tally *t, const struct ftp_tally_folder *f, int grown)
{
    if (t->limits.files_max <= 0)
        return;
    (void)pthread_mutex_lock(&t->lock);
    struct known_folder *k = find_folder(t, f);
    if (k != NULL) {
        k->held -= k->held > 0;
        k->entries += grown;
    }
    (void)pthread_mutex_unlock(&t->lock);
}

void ftp_tally_grow_entries(struct ftp_tally *t, const struct ftp_tally_folder *f, int by)
{
    if (t->limits.files_max <= 0)
        return;
    (void)pthread_mutex_lock(&t->lock);
    struct known_folder *k = find_folder(t, f);
    if (k != NULL)
        k->entries += by;
    (void)pthread_mutex_unlock(&t->lock);
}

static struct known_folder *find_folder(struct ftp_tally *t, const struct ftp_tally_folder *f)
{
    for (int i = 0; i < FOLDERS_KNOWN; i++) {
        struct known_folder *k = &t->known[i];
        if (k->used != 0 && k->id.inode == f->inode && k->id.device == f->device) {
            k->used = ++t->clock;
            return k;
        }
    }
    return NULL;
}

/* The folder's row; a new one takes the place of the one longest unused, best of one without
 * uploads under way, whose number would be lost. */
static struct known_folder *know_folder(struct ftp_tally *t, const struct ftp_tally_folder *f)
{
    struct known_folder *k = find_folder(t, f), *oldest = &t->known[0];
    if (k != NULL)
        return k;
    for (int i = 1; i < FOLDERS_KNOWN; i++) {
        k = &t->known[i];
        bool k_busy = k->held > 0, oldest_busy = oldest->held > 0;
        if (k_busy != oldest_busy ? oldest_busy : k->used < oldest->used)
            oldest = k;
    }
    *oldest = (struct known_folder){.id = *f, .used = ++t->clock};
    return oldest;
}

static bool count_one(void *arg, const struct ftp_beneath_entry *entry)
{
    int64_t *n = arg;
    *n += !is_unfinished(entry->name);
    return true;
}

static int count_entries(struct known_folder *k, int folder_fd)
{
    int64_t n = 0;
    struct mono_time began = clock_mono();
    int r = ftp_beneath_entries(folder_fd, ".", count_one, &n);
    if (r < 0)
        return r;
    struct mono_time now = clock_mono();
    k->entries = n;
    k->counted = (struct counted){true, now, mono_diff_us(now, began)};
    return 0;
}
