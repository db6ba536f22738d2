#include "watch/watch.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/inotify.h>

#include "base/log.h"
#include "base/mem.h"
#include "sys/hash.h"
#include "watch/watch_internal.h"

const char *const watch_poll_names[WATCH_POLL_COUNT] = {
    [WATCH_POLL_AUTO] = "auto",
    [WATCH_POLL_ALWAYS] = "always",
    [WATCH_POLL_NEVER] = "never",
};

/* "/data/ftp" is "ftp" in "/data", "ftp" is "ftp" in ".". */
static void split_root(struct watch *w, const char *root)
{
    size_t len = strlen(root);
    while (len > 1 && root[len - 1] == '/')
        len--;
    w->root_path = xstrndup(root, len);
    const char *slash = strrchr(w->root_path, '/');
    w->root_name = xstrdup(slash ? slash + 1 : w->root_path);
    if (!slash)
        w->parent_path = xstrdup(".");
    else
        w->parent_path = xstrndup(w->root_path, MAX((size_t)(slash - w->root_path), (size_t)1));
}

static void open_inotify(struct watch *w)
{
    if (w->o.poll == WATCH_POLL_ALWAYS)
        return;
    w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (w->fd >= 0) {
        w->events = xmalloc(WATCH_EVENTS_SIZE);
        return;
    }
    log_warn("watch-limit",
             "%s: no inotify (%s), it is only looked at: raise fs.inotify.max_user_instances "
             "(sysctl) and start again",
             w->root_path, strerror(errno));
}

int watch_new(const struct watch_options *o, struct watch **ret, struct err *e)
{
    if (!o->root || !*o->root || strlen(o->root) >= WATCH_PATH_MAX)
        return err_set(e, -EINVAL, ERR_NEVER, "watch: no path, or one that is too long");
    if (o->poll_ms <= 0 || o->settle_ms < 0 || o->settle_unsure_ms < 0 || o->unfinished_ms < 0)
        return err_set(e, -EINVAL, ERR_NEVER, "watch %s: times have to be positive", o->root);
    struct watch *w = xcalloc(1, sizeof(*w));
    w->o = *o;
    w->o.root = NULL; /* the caller's; root_path is ours */
    w->o.folders_max = o->folders_max > 0 ? o->folders_max : WATCH_FOLDERS_MAX;
    w->o.told_max = o->told_max > 0 ? o->told_max : WATCH_TOLD_MAX;
    w->o.settling_max = o->settling_max > 0 ? o->settling_max : WATCH_SETTLING_MAX;
    w->fd = w->parent_wd = w->root_fd = w->near_fd = -1;
    split_root(w, o->root);
    hash_random(&w->seed, sizeof(w->seed));
    watch_table_init(&w->names);
    watch_table_init(&w->wds);
    watch_table_init(&w->paths);
    watch_table_init(&w->files);
    watch_told_init(&w->told, (size_t)w->o.told_max);
    LIST_INIT(&w->floating);
    TAILQ_INIT(&w->queue);
    w->poll_due_us = clock_mono().us + o->poll_ms * 1000;
    w->rescan_after_us = w->watch_retry_us = w->poll_due_us - o->poll_ms * 1000;
    open_inotify(w);
    watch_check_root(w);
    watch_close_folders(w);
    *ret = w;
    return 0;
}

void watch_free(struct watch *w)
{
    if (!w)
        return;
    watch_look_end(w);
    watch_float_end(w);
    if (w->root)
        watch_folder_drop(w, w->root);
    watch_close_folders(w);
    if (w->fd >= 0)
        (void)close(w->fd); /* only read */
    watch_table_done(&w->names);
    watch_table_done(&w->wds);
    watch_table_done(&w->paths);
    watch_table_done(&w->files);
    watch_told_done(&w->told);
    free(w->heap);
    free(w->events);
    free(w->root_path);
    free(w->parent_path);
    free(w->root_name);
    free(w);
}

int watch_fd(const struct watch *w)
{
    return w->fd;
}

static int64_t ms_until(int64_t at_us)
{
    int64_t us = at_us - clock_mono().us;
    return us <= 0 ? 0 : (us + 999) / 1000;
}

int64_t watch_turn(struct watch *w)
{
    watch_close_folders(w); /* a caller that did not take all that had settled left it open */
    bool more = watch_events_turn(w);
    /* Events first: what is read cannot overflow the kernel's queue. */
    more |= watch_look_turn(w);
    if (!more && !LIST_EMPTY(&w->floating) && clock_mono().us >= w->floating_until_us)
        watch_float_end(w);
    watch_close_folders(w);
    int64_t wait_ms = ms_until(w->poll_due_us);
    if (more)
        wait_ms = 0;
    if (w->rescan_wanted)
        wait_ms = MIN(wait_ms, ms_until(w->rescan_after_us));
    if (!LIST_EMPTY(&w->floating))
        wait_ms = MIN(wait_ms, ms_until(w->floating_until_us));
    if (w->heap_size > 0)
        wait_ms = MIN(wait_ms, ms_until(w->heap[0]->due_us));
    return wait_ms;
}

void watch_counts(const struct watch *w, struct watch_counts *ret)
{
    *ret = w->counts;
    ret->settling = (int64_t)w->heap_size;
    ret->kept = (int64_t)w->told.used;
    ret->polling = w->counts.polled > 0;
}

const char *watch_trouble(const struct watch *w)
{
    return w->root_trouble[0] ? w->root_trouble : w->watches_trouble;
}

/* Cleaning. */

static bool is_kept(const char *path, const char *const *keep)
{
    size_t len = strlen(path);
    for (; keep && *keep; keep++)
        if (strncmp(*keep, path, len) == 0 && ((*keep)[len] == '\0' || (*keep)[len] == '/'))
            return true;
    return false;
}

/* Judged by both clocks: what nobody touched in our time, and whose own time is not younger. A
 * time in the future says nothing. */
static bool is_old(struct watch *w, struct folder *f, int64_t age_ms)
{
    if (clock_mono().us - f->touched_us < age_ms * 1000 || f->is_new)
        return false;
    struct stat st;
    int fd = watch_folder_open(w, f);
    if (fd < 0 || fstat(fd, &st) < 0)
        return false;
    int64_t now = wall_seconds(clock_wall());
    return st.st_mtim.tv_sec > now || now - st.st_mtim.tv_sec >= age_ms / 1000;
}

static int remove_folder(struct watch *w, struct folder *f, const char *const *keep)
{
    char path[WATCH_PATH_MAX];
    if (watch_folder_path(f, "", path) < 0 || is_kept(path, keep))
        return 0;
    int fd = watch_folder_open(w, f->parent);
    if (fd < 0 || unlinkat(fd, f->name, AT_REMOVEDIR) < 0)
        return 0; /* not empty: it was not our business */
    watch_folder_drop(w, f);
    return 1;
}

/* Whether a folder is old is asked before anything in it is removed, which makes it young. */
static int clean_below(struct watch *w, struct folder *f, int64_t age_ms, const char *const *keep)
{
    int removed = 0;
    bool old = f != w->root && is_old(w, f, age_ms);
    struct folder *child, *next;
    for (child = LIST_FIRST(&f->children); child; child = next) {
        next = LIST_NEXT(child, siblings);
        removed += clean_below(w, child, age_ms, keep);
    }
    if (!old || !LIST_EMPTY(&f->children) || !LIST_EMPTY(&f->pending))
        return removed;
    return removed + remove_folder(w, f, keep);
}

int watch_clean_folders(struct watch *w, int64_t age_ms, const char *const *keep, struct err *e)
{
    if (!w->root)
        return err_set(e, -ENOENT, ERR_LATER, "clean folders: %s",
                       w->root_trouble[0] ? w->root_trouble : "the root is not there");
    int removed = clean_below(w, w->root, age_ms, keep);
    watch_close_folders(w);
    return removed;
}
