#include "report/report_spool.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "base/mem.h"
#include "base/text.h"

/* "<16 hex digits: microseconds since 1970><id>.json", so that names sort by age. */
#define STAMP_LEN 16
#define NAME_LEN (STAMP_LEN + 1 + EVENT_ID_SIZE - 1 + 5)
#define SUFFIX ".json"

struct entry {
    struct wall_time at;
    int64_t size;
    char id[EVENT_ID_SIZE];
};

struct report_spool {
    int fd;
    struct report_spool_limits limits;
    struct entry list[REPORT_SPOOL_FILES_MAX]; /* oldest first */
    unsigned count;
    int64_t bytes;
    struct report_spool_losses losses;
};

static int take_up(struct report_spool *s, const char *folder, struct err *e);
static void take_up_file(struct report_spool *s, const char *name);
static void insert(struct report_spool *s, const struct entry *one);
static void drop(struct report_spool *s, unsigned index);
static void make_room(struct report_spool *s, int64_t bytes);
static void drop_old(struct report_spool *s, struct wall_time now);
static void name_of(const struct entry *one, char ret[NAME_LEN + 1]);

int report_spool_open(const char *folder, const struct report_spool_limits *limits,
                      struct report_spool **ret, struct err *e)
{
    assert(limits->files > 0 && limits->files <= REPORT_SPOOL_FILES_MAX);
    int r = fs_mkdirs(AT_FDCWD, folder, 0700, e);
    if (r < 0)
        return r;
    AUTO(report_spool) s = xcalloc(1, sizeof(*s));
    s->limits = *limits;
    s->fd = -1;
    r = fs_open_dir(AT_FDCWD, folder, &s->fd, e);
    if (r == 0)
        r = take_up(s, folder, e);
    if (r < 0)
        return r;
    make_room(s, 0);
    *ret = STEAL(s);
    return 0;
}

void report_spool_close(struct report_spool *s)
{
    if (!s)
        return;
    if (s->fd >= 0)
        (void)close(s->fd); /* a folder: nothing unsaved behind it */
    free(s);
}

static int take_up(struct report_spool *s, const char *folder, struct err *e)
{
    DIR *dir = opendir(folder);
    if (!dir)
        return err_errno(e, -errno, "read folder %s", folder);
    for (struct dirent *d = readdir(dir); d; d = readdir(dir))
        if (d->d_name[0] != '.')
            take_up_file(s, d->d_name);
        else if (text_ends_with(d->d_name, ".tmp"))
            (void)unlinkat(s->fd, d->d_name, 0); /* never finished; tried again next time */
    (void)closedir(dir);                         /* only read */
    return 0;
}

/* What has another name is not ours to touch, but for files that were not finished. */
static void take_up_file(struct report_spool *s, const char *name)
{
    struct entry one = {0};
    unsigned long long us;
    char id[EVENT_ID_SIZE] = "", end[8] = "";
    if (strlen(name) != NAME_LEN)
        return;
    /* NOLINTNEXTLINE(cert-err34-c): so few digits cannot overflow */
    if (sscanf(name, "%16llx-%32[0-9a-f]%7s", &us, id, end) != 3 || strcmp(end, SUFFIX) != 0 ||
        strlen(id) != EVENT_ID_SIZE - 1 || us > INT64_MAX)
        return;
    struct stat st;
    if (fstatat(s->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
        return;
    one.at.us = (int64_t)us;
    one.size = st.st_size;
    memcpy(one.id, id, sizeof(one.id));
    if (s->count == REPORT_SPOOL_FILES_MAX) {
        drop(s, 0);
        s->losses.full++;
    }
    insert(s, &one);
}

static void insert(struct report_spool *s, const struct entry *one)
{
    unsigned at = s->count;
    while (at > 0 && s->list[at - 1].at.us > one->at.us)
        at--;
    memmove(&s->list[at + 1], &s->list[at], (s->count - at) * sizeof(*s->list));
    s->list[at] = *one;
    s->count++;
    s->bytes += one->size;
}

static void drop(struct report_spool *s, unsigned index)
{
    char name[NAME_LEN + 1];
    name_of(&s->list[index], name);
    (void)unlinkat(s->fd, name, 0); /* one that stays is found at the next start */
    s->bytes -= s->list[index].size;
    s->count--;
    memmove(&s->list[index], &s->list[index + 1], (s->count - index) * sizeof(*s->list));
}

static void make_room(struct report_spool *s, int64_t bytes)
{
    unsigned files = bytes ? s->limits.files - 1 : s->limits.files;
    while (s->count && (s->count > files || s->bytes + bytes > s->limits.bytes)) {
        drop(s, 0);
        s->losses.full++;
    }
}

/* A clock that was set back makes nothing old. */
static void drop_old(struct report_spool *s, struct wall_time now)
{
    while (s->count && now.us - s->list[0].at.us > s->limits.age_ms * 1000) {
        drop(s, 0);
        s->losses.old++;
    }
}

int report_spool_put(struct report_spool *s, const char id[EVENT_ID_SIZE], const void *event,
                     size_t size, struct wall_time now, struct err *e)
{
    if ((int64_t)size > s->limits.bytes)
        return err_set(e, -EFBIG, ERR_NEVER, "an event of %zu bytes is over the limit", size);
    drop_old(s, now);
    make_room(s, (int64_t)size);
    struct entry one = {.at = {MAX(now.us, (int64_t)0)}, .size = (int64_t)size};
    text_copy(one.id, sizeof(one.id), id);
    char name[NAME_LEN + 1];
    name_of(&one, name);
    int r = fs_replace(s->fd, name, event, size, 0600, e);
    if (r == 0)
        insert(s, &one);
    return r;
}

int report_spool_oldest(struct report_spool *s, struct wall_time now, char ret_id[EVENT_ID_SIZE],
                        struct blob **ret)
{
    drop_old(s, now);
    while (s->count) {
        char name[NAME_LEN + 1];
        name_of(&s->list[0], name);
        if (fs_read_blob(s->fd, name, EVENT_BYTES_MAX, ret, NULL) == 0 && (*ret)->size > 0) {
            text_copy(ret_id, EVENT_ID_SIZE, s->list[0].id);
            return 0;
        }
        blob_unref(STEAL(*ret));
        drop(s, 0);
        s->losses.unreadable++;
    }
    return -ENOENT;
}

void report_spool_remove(struct report_spool *s, const char id[EVENT_ID_SIZE])
{
    for (unsigned i = 0; i < s->count; i++)
        if (strcmp(s->list[i].id, id) == 0) {
            drop(s, i);
            return;
        }
}

unsigned report_spool_count(const struct report_spool *s)
{
    return s->count;
}

int64_t report_spool_bytes(const struct report_spool *s)
{
    return s->bytes;
}

struct report_spool_losses report_spool_take_losses(struct report_spool *s)
{
    struct report_spool_losses losses = s->losses;
    s->losses = (struct report_spool_losses){0};
    return losses;
}

static void name_of(const struct entry *one, char ret[NAME_LEN + 1])
{
    (void)snprintf(ret, NAME_LEN + 1, "%016llx-%s" SUFFIX, (unsigned long long)one->at.us, one->id);
}
