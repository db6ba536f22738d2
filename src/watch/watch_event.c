/* What inotify tells. */

#include <fcntl.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "watch/watch_internal.h"

/* Reads per turn, each of up to WATCH_EVENTS_SIZE bytes, which is 1,000 events or more. */
#define READS_MAX 8
/* The two halves of a rename are told one right after the other; one read may end between them. */
#define FLOATING_MS 100

void watch_float(struct watch *w, struct folder *f, uint32_t cookie)
{
    watch_folder_detach(w, f);
    LIST_INSERT_HEAD(&w->floating, f, siblings);
    f->cookie = cookie;
    w->floating_until_us = clock_mono().us + FLOATING_MS * 1000;
}

void watch_float_end(struct watch *w)
{
    struct folder *f;
    while ((f = LIST_FIRST(&w->floating)) != NULL)
        watch_folder_drop(w, f);
}

/* What is there now, which may be later than the event: a folder, and whether it is `f`. */
enum there { THERE_NOTHING, THERE_SAME, THERE_OTHER };

static enum there what_is_there(struct watch *w, struct folder *parent, const char *name,
                                const struct folder *f)
{
    struct stat st;
    int fd = watch_folder_open(w, parent);
    if (fd < 0 || fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode))
        return THERE_NOTHING;
    return st.st_dev == f->device && st.st_ino == f->inode ? THERE_SAME : THERE_OTHER;
}

static void land_folder(struct watch *w, struct folder *parent, const char *name, uint32_t cookie)
{
    struct folder *f = LIST_FIRST(&w->floating);
    while (f && f->cookie != cookie)
        f = LIST_NEXT(f, siblings);
    if (!f || what_is_there(w, parent, name, f) == THERE_OTHER ||
        watch_folder_is_below(parent, f)) {
        (void)watch_meet_folder(w, parent, name);
        return;
    }
    struct folder *old = watch_folder_child(w, parent, name);
    if (old)
        watch_folder_drop(w, old); /* an empty one can be replaced by a rename */
    watch_folder_attach(w, f, parent, name);
    watch_look_missed(w, f);
}

static void folder_event(struct watch *w, struct folder *parent, const struct inotify_event *e)
{
    parent->touched_us = clock_mono().us;
    if (!w->o.recursive)
        return;
    if (e->mask & IN_CREATE) {
        (void)watch_meet_folder(w, parent, e->name);
    } else if (e->mask & IN_MOVED_TO) {
        land_folder(w, parent, e->name, e->cookie);
    } else if (e->mask & (IN_DELETE | IN_MOVED_FROM)) {
        struct folder *f = watch_folder_child(w, parent, e->name);
        /* What left this name was another one, when this one has it now. */
        if (!f || what_is_there(w, parent, e->name, f) == THERE_SAME)
            return;
        if (e->mask & IN_DELETE)
            watch_folder_drop(w, f);
        else
            watch_float(w, f, e->cookie);
    }
}

static void file_event(struct watch *w, struct folder *f, const struct inotify_event *e)
{
    if (e->mask & IN_MODIFY) {
        watch_settle_news(w, f, e->name, NEWS_WRITTEN, true);
    } else if (e->mask & IN_CLOSE_WRITE) {
        watch_settle_news(w, f, e->name, NEWS_CLOSED, false);
    } else if (e->mask & IN_CREATE) {
        watch_settle_news(w, f, e->name, NEWS_CREATED, false);
    } else if (e->mask & IN_MOVED_TO) {
        bool open = w->moved_file.cookie == e->cookie && w->moved_file.open;
        watch_settle_news(w, f, e->name, NEWS_RENAMED, open);
    } else if (e->mask & (IN_DELETE | IN_MOVED_FROM)) {
        bool open = watch_settle_gone(w, f, e->name);
        if (e->mask & IN_MOVED_FROM) {
            w->moved_file.cookie = e->cookie;
            w->moved_file.open = open;
        }
    }
}

/* The watch of a folder that is still in the tree has ended: it was removed, and something else
 * may have its name, or its file system was unmounted. */
static void watch_ended(struct watch *w, struct folder *f)
{
    watch_folder_set_wd(w, f, -1);
    struct folder *parent = f->parent;
    bool is_root = f == w->root;
    AUTO_FREE char *name = xstrdup(f->name);
    watch_folder_drop(w, f);
    if (is_root)
        watch_check_root(w);
    else if (parent)
        (void)watch_meet_folder(w, parent, name);
}

static void overflowed(struct watch *w)
{
    w->counts.overflows++;
    w->rescan_wanted = true;
    if (w->counts.overflows == 1)
        log_notice("watch-overflow",
                   "%s: more happened at once than the kernel remembers, looking at all of it "
                   "(raise fs.inotify.max_queued_events when this happens often)",
                   w->root_path);
}

static void take_event(struct watch *w, const struct inotify_event *e)
{
    if (e->mask & IN_Q_OVERFLOW) {
        overflowed(w);
        return;
    }
    if (e->wd == w->parent_wd) {
        if (e->mask & IN_IGNORED)
            w->parent_wd = -1;
        else if (e->len > 0 && strcmp(e->name, w->root_name) == 0)
            watch_check_root(w);
        return;
    }
    struct folder *f = watch_folder_of_wd(w, e->wd);
    if (!f)
        return; /* of a folder that was dropped */
    if (e->mask & IN_IGNORED)
        watch_ended(w, f);
    else if (e->mask & (IN_DELETE_SELF | IN_MOVE_SELF))
        watch_check_root(w);
    else if (e->len == 0 || watch_is_hidden(w, e->name))
        return;
    else if (e->mask & IN_ISDIR)
        folder_event(w, f, e);
    else
        file_event(w, f, e);
}

bool watch_events_turn(struct watch *w)
{
    if (w->fd < 0)
        return false;
    for (int i = 0; i < READS_MAX; i++) {
        ssize_t n = read(w->fd, w->events, WATCH_EVENTS_SIZE);
        if (n <= 0)
            return false; /* -EAGAIN: all is read; nothing else is possible for a large buffer */
        for (ssize_t at = 0; at < n;) {
            const struct inotify_event *e = (const void *)(w->events + at);
            at += (ssize_t)(sizeof(*e) + e->len);
            take_event(w, e);
        }
    }
    return true;
}
