/* Files that settle: a heap by the time when they are due, a table by path.
 *
 * What makes a file whole is evidence. Where the kernel tells of writers, a close or a rename and
 * then silence is proof enough; the file is examined once, when it is due. A file that was found by
 * looking, or that is written again after its close, has to look the same twice, `settle_unsure_ms`
 * apart. Every news starts the wait again. */

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "watch/watch_internal.h"

/* A name that is replaced by renames again and again, faster than it settles, is told at the latest
 * after so many settle times: each of them is a whole file. */
#define RENAMES_SETTLES 4
/* Files examined per watch_next() before it gives the caller a rest. */
#define EXAMINED_MAX 256
/* A folder between two places is looked for this often. */
#define FLOATING_RETRY_MS 50

static struct identity identity_of(const struct stat *st)
{
    return (struct identity){.device = st->st_dev,
                             .inode = st->st_ino,
                             .size = st->st_size,
                             .modified_ns =
                                 st->st_mtim.tv_sec * INT64_C(1000000000) + st->st_mtim.tv_nsec};
}

static bool same(const struct identity *a, const struct identity *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->modified_ns == b->modified_ns;
}

/* Without the device: its number changes when a share is mounted again. */
static uint64_t identity_hash(const struct watch *w, const struct identity *i)
{
    const int64_t words[3] = {(int64_t)i->inode, i->size, i->modified_ns};
    return watch_hash(w->seed, words, sizeof(words));
}

uint64_t watch_settle_key(const struct watch *w, const struct folder *f, const char *name)
{
    (void)w; /* its seed is in the folder's key */
    return watch_hash(f->by_path.key, name, strlen(name));
}

static struct watch_told_entry told_entry(const struct watch *w, const struct folder *f,
                                          uint64_t key, const struct identity *i)
{
    return (struct watch_told_entry){
        .key = key, .identity = identity_hash(w, i), .folder = f->number, .cycle = w->cycle};
}

/* The heap. */

static void heap_put(struct watch *w, uint32_t at, struct pending *p)
{
    w->heap[at] = p;
    p->heap_at = at;
}

static void heap_fix(struct watch *w, struct pending *p)
{
    uint32_t at = p->heap_at;
    while (at > 0 && w->heap[(at - 1) / 2]->due_us > p->due_us) {
        heap_put(w, at, w->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= w->heap_size)
            break;
        if (child + 1 < w->heap_size && w->heap[child + 1]->due_us < w->heap[child]->due_us)
            child++;
        if (w->heap[child]->due_us >= p->due_us)
            break;
        heap_put(w, at, w->heap[child]);
        at = child;
    }
    heap_put(w, at, p);
}

static void heap_resize(struct watch *w, size_t cap)
{
    w->heap_cap = cap;
    w->heap = xrealloc(w->heap, cap * sizeof(struct pending *));
}

static void heap_add(struct watch *w, struct pending *p)
{
    if (w->heap_size == w->heap_cap)
        heap_resize(w, MAX(w->heap_cap * 2, (size_t)64));
    heap_put(w, (uint32_t)w->heap_size++, p);
    heap_fix(w, p);
}

static void heap_remove(struct watch *w, struct pending *p)
{
    struct pending *last = w->heap[--w->heap_size];
    if (last != p) {
        heap_put(w, p->heap_at, last);
        heap_fix(w, last);
    }
    if (w->heap_cap > 64 && w->heap_size < w->heap_cap / 8)
        heap_resize(w, w->heap_cap / 2);
}

/* Pending files. */

/* Events were lost, so that none proves nothing. */
static bool is_blind(const struct watch *w, const struct folder *f)
{
    return watch_folder_is_polled(f) || w->in_rescan || w->rescan_wanted;
}

static struct pending *find(const struct watch *w, const struct folder *f, const char *name)
{
    struct watch_node *n = watch_table_find(&w->files, watch_settle_key(w, f, name));
    for (; n; n = watch_table_next(n)) {
        struct pending *p = container_of(n, struct pending, node);
        if (p->folder == f && strcmp(p->name, name) == 0)
            return p;
    }
    return NULL;
}

/* NULL when there is no room: what is left out is found by a rescan. */
static struct pending *add(struct watch *w, struct folder *f, const char *name)
{
    if (w->heap_size >= (size_t)w->o.settling_max) {
        w->left_out = true;
        if (!w->said_settling)
            log_notice("watch-full", "%s: %d files settle at once, the rest has to wait",
                       w->root_path, w->o.settling_max);
        w->said_settling = true;
        return NULL;
    }
    size_t len = strlen(name);
    struct pending *p = xcalloc(1, sizeof(*p) + len + 1);
    memcpy(p->name, name, len + 1);
    p->folder = f;
    p->first_us = p->due_us = clock_mono().us;
    LIST_INSERT_HEAD(&f->pending, p, siblings);
    watch_table_add(&w->files, &p->node, watch_settle_key(w, f, name));
    heap_add(w, p);
    return p;
}

void watch_settle_drop(struct watch *w, struct pending *p)
{
    heap_remove(w, p);
    watch_table_remove(&w->files, &p->node);
    LIST_REMOVE(p, siblings);
    free(p);
}

void watch_settle_drop_all(struct watch *w, struct folder *f)
{
    struct pending *p, *next;
    for (p = LIST_FIRST(&f->pending); p; p = next) {
        next = LIST_NEXT(p, siblings);
        watch_settle_drop(w, p);
    }
}

static int64_t patience_us(const struct watch *w, const char *name)
{
    return w->o.unfinished && w->o.unfinished(name) ? w->o.unfinished_ms * 1000 : 0;
}

static void wait_until(struct watch *w, struct pending *p, int64_t due_us)
{
    p->due_us = due_us;
    heap_fix(w, p);
}

static void wait_again(struct watch *w, struct pending *p, int64_t ms)
{
    wait_until(w, p, clock_mono().us + MAX(ms * 1000, patience_us(w, p->name)));
}

void watch_settle_news(struct watch *w, struct folder *f, const char *name, enum watch_news news,
                       bool open)
{
    f->touched_us = clock_mono().us;
    struct pending *p = find(w, f, name);
    if (!p)
        p = add(w, f, name);
    if (!p)
        return;
    int64_t wait_ms = w->o.settle_unsure_ms;
    switch (news) {
    case NEWS_CREATED:
        p->closed = p->reopened = p->renamed = false;
        break;
    case NEWS_WRITTEN:
        p->open = true;
        p->renamed = false;
        break;
    case NEWS_CLOSED:
        p->open = false;
        p->reopened |= p->closed && !p->renamed;
        p->closed = true;
        if (!p->reopened)
            wait_ms = w->o.settle_ms;
        break;
    case NEWS_RENAMED:
        /* Another file under this name, whatever there was. */
        if (!p->renamed)
            p->first_us = clock_mono().us;
        p->open = open;
        p->reopened = false;
        p->closed = p->renamed = true;
        if (!open)
            wait_ms = w->o.settle_ms;
        break;
    case NEWS_COUNT:
        assert(false); /* no news */
    }
    p->looked = false; /* the events are the evidence */
    p->waited = false;
    wait_again(w, p, wait_ms);
    if (news == NEWS_RENAMED && !open && patience_us(w, name) == 0)
        wait_until(w, p, MIN(p->due_us, p->first_us + RENAMES_SETTLES * w->o.settle_ms * 1000));
}

void watch_settle_looked(struct watch *w, struct folder *f, const char *name, const struct stat *st)
{
    struct pending *p = find(w, f, name);
    struct identity now = identity_of(st);
    if (p && (!is_blind(w, f) || (p->looked && same(&p->seen, &now))))
        return;
    if (!p) {
        struct watch_told_entry e = told_entry(w, f, watch_settle_key(w, f, name), &now);
        if (watch_told_has(&w->told, &e))
            return;
        p = add(w, f, name);
    }
    if (!p)
        return;
    f->touched_us = clock_mono().us;
    p->seen = now;
    p->looked = true;
    wait_again(w, p, w->o.settle_unsure_ms);
}

bool watch_settle_gone(struct watch *w, struct folder *f, const char *name)
{
    f->touched_us = clock_mono().us;
    watch_told_remove(&w->told, watch_settle_key(w, f, name));
    struct pending *p = find(w, f, name);
    if (!p)
        return false;
    bool open = p->open;
    watch_settle_drop(w, p);
    return open;
}

/* What was told. */

struct living {
    const struct folder **folders; /* by number */
    size_t count;
};

static int by_number(const void *a, const void *b)
{
    const struct folder *x = *(const struct folder *const *)a;
    const struct folder *y = *(const struct folder *const *)b;
    return (x->number > y->number) - (x->number < y->number);
}

/* A file is still there as far as we know when its folder is, and when the folder's last whole look
 * saw it, or it was told after that. */
static bool is_living(const struct watch_told_entry *e, const void *arg)
{
    const struct living *l = arg;
    size_t low = 0, high = l->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (l->folders[middle]->number < e->folder)
            low = middle + 1;
        else
            high = middle;
    }
    return low < l->count && l->folders[low]->number == e->folder &&
           e->cycle >= l->folders[low]->cycle;
}

static void sweep_told(struct watch *w)
{
    struct living l = {.folders = xcalloc((size_t)w->counts.folders + 1, sizeof(struct folder *))};
    for (struct folder *f = w->root; f; f = watch_folder_next(f, w->root))
        l.folders[l.count++] = f;
    struct folder *floating;
    LIST_FOREACH(floating, &w->floating, siblings)
    for (struct folder *f = floating; f; f = watch_folder_next(f, floating))
        l.folders[l.count++] = f;
    assert(l.count <= (size_t)w->counts.folders);
    qsort(l.folders, l.count, sizeof(struct folder *), by_number);
    watch_told_sweep(&w->told, is_living, &l);
    free(l.folders);
}

static void remember(struct watch *w, const struct pending *p, const struct identity *now)
{
    struct watch_told_entry e = told_entry(w, p->folder, p->node.key, now);
    /* A sweep takes as long as there are entries, so there is at most one for so many additions. */
    if (watch_told_full(&w->told) && w->told_since_sweep * 4 >= w->told.used) {
        w->told_since_sweep = 0;
        sweep_told(w);
    }
    w->told_since_sweep++;
    if (watch_told_add(&w->told, &e) || w->said_told)
        return;
    log_warn("watch-full",
             "%s: more than %d files were told and stay there, some will be told again: move away "
             "what is done",
             w->root_path, w->o.told_max);
    w->said_told = true;
}

/* The next one. */

static void leave_long_path(struct watch *w, struct pending *p)
{
    if (!w->said_path) {
        char shown[200];
        log_warn("watch-path", "%s: the path of \"%s\" is longer than %d bytes, leaving it alone",
                 w->root_path, text_escape(p->name, strlen(p->name), shown, sizeof(shown)),
                 WATCH_PATH_MAX - 1);
    }
    w->said_path = true;
    watch_settle_drop(w, p);
}

/* The file cannot be seen: gone, or the folder is. Others may pass (a share that hangs). */
static void settle_failed(struct watch *w, struct pending *p, int code)
{
    if (code == -ENOENT || code == -ENOTDIR || code == -ELOOP)
        watch_settle_drop(w, p);
    else
        wait_again(w, p, MAX(w->o.poll_ms, w->o.settle_unsure_ms));
}

/* 1 when it is to be told, 0 when not now or never. */
static int examine(struct watch *w, struct pending *p, struct watch_file *ret)
{
    struct stat st;
    int r = watch_folder_path(p->folder, p->name, ret->path);
    if (r == -ENAMETOOLONG) {
        leave_long_path(w, p);
        return 0;
    }
    if (r < 0) {
        wait_again(w, p, FLOATING_RETRY_MS);
        return 0;
    }
    int dirfd = watch_folder_open(w, p->folder);
    if (dirfd == -ESTALE || dirfd == -ENOENT) {
        /* Another folder is here. Events, or a look at the one above, tell more; until then the
         * file may well be where it was, under another path. */
        if (dirfd == -ESTALE || is_blind(w, p->folder))
            watch_look_queue(w, p->folder->parent ? p->folder->parent : p->folder);
        wait_again(w, p, w->o.settle_unsure_ms);
        return 0;
    }
    r = dirfd < 0 ? dirfd : 0;
    if (r == 0 && fstatat(dirfd, p->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        r = -errno;
    if (r < 0) {
        settle_failed(w, p, r);
        return 0;
    }
    if (!S_ISREG(st.st_mode)) {
        watch_settle_drop(w, p);
        return 0;
    }
    struct identity now = identity_of(&st);
    bool proven = p->looked ? same(&p->seen, &now) : !is_blind(w, p->folder);
    if (!proven) {
        p->seen = now;
        p->looked = true;
        p->waited = false;
        wait_again(w, p, w->o.settle_unsure_ms);
        return 0;
    }
    if (now.size == 0 && !p->waited) {
        p->seen = now;
        p->looked = p->waited = true;
        wait_again(w, p, WATCH_EMPTY_MS);
        return 0;
    }
    struct watch_told_entry e = told_entry(w, p->folder, p->node.key, &now);
    bool is_new = !watch_told_has(&w->told, &e);
    if (is_new) {
        ret->device = now.device;
        ret->inode = now.inode;
        ret->size = now.size;
        ret->modified =
            (struct wall_time){st.st_mtim.tv_sec * INT64_C(1000000) + st.st_mtim.tv_nsec / 1000};
        remember(w, p, &now);
        w->counts.told++;
    }
    watch_settle_drop(w, p);
    return is_new;
}

int watch_next(struct watch *w, struct watch_file *ret)
{
    int64_t now_us = clock_mono().us;
    for (int i = 0; i < EXAMINED_MAX && w->heap_size > 0 && w->heap[0]->due_us <= now_us; i++)
        if (examine(w, w->heap[0], ret))
            return 1;
    watch_close_folders(w);
    return 0;
}

static struct folder *folder_of(const struct watch *w, const char *path, const char **ret_name)
{
    const char *slash = strrchr(path, '/');
    *ret_name = slash ? slash + 1 : path;
    return watch_folder_find(w, path, slash ? (size_t)(slash - path) : 0);
}

void watch_again(struct watch *w, const struct watch_file *file, int64_t after_ms)
{
    const char *name;
    struct folder *f = folder_of(w, file->path, &name);
    if (!f)
        return;
    watch_told_remove(&w->told, watch_settle_key(w, f, name));
    if (find(w, f, name))
        return; /* there is news of it since, which will tell it */
    struct pending *p = add(w, f, name);
    if (!p)
        return;
    p->closed = p->waited = true;
    wait_until(w, p, clock_mono().us + after_ms * 1000);
}

void watch_forget(struct watch *w, const char *path)
{
    const char *name;
    struct folder *f = folder_of(w, path, &name);
    /* One that settles under this name is another file, which came since. */
    if (f)
        watch_told_remove(&w->told, watch_settle_key(w, f, name));
}
