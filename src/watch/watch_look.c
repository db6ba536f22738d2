/* Looking at folders: the queue, one folder after the other, in pieces. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/vfs.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "watch/watch_internal.h"

/* Entries per turn. On a local disk an entry costs a microsecond or two, over a slow network up to
 * a millisecond. */
#define ENTRIES_MAX 512
/* ... so there is a limit in time, too. */
#define TURN_MAX_US 20000
/* Asked again this long after the kernel had no watch left. */
#define WATCH_RETRY_MS 60000

#define EVENTS                                                                                     \
    (IN_CREATE | IN_MODIFY | IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE |            \
     IN_EXCL_UNLINK | IN_ONLYDIR)

struct look {
    struct folder *folder;
    DIR *dir;
    uint32_t number;
};

void watch_look_queue(struct watch *w, struct folder *f)
{
    if (f->in_queue)
        return;
    TAILQ_INSERT_TAIL(&w->queue, f, queued);
    f->in_queue = true;
}

void watch_look_missed(struct watch *w, struct folder *top)
{
    for (struct folder *f = top; f; f = watch_folder_next(f, top))
        if (f->is_new || w->in_rescan) /* which began without them, perhaps */
            watch_look_queue(w, f);
}

static void stop_looking(struct watch *w)
{
    (void)closedir(w->look->dir); /* only read */
    free(w->look);
    w->look = NULL;
}

void watch_look_dropped(struct watch *w, struct folder *f)
{
    if (w->look && w->look->folder == f)
        stop_looking(w);
    if (f->in_queue)
        TAILQ_REMOVE(&w->queue, f, queued);
    f->in_queue = false;
}

void watch_look_end(struct watch *w)
{
    if (w->look)
        stop_looking(w);
}

/* Where the kernel does not tell what others do, or tells only what this machine does. */
static bool is_network(int fd)
{
    static const uint32_t types[] = {
        0x6969,     /* NFS */
        0xff534d42, /* CIFS */
        0xfe534d42, /* SMB 2 and 3 */
        0x517b,     /* SMB */
        0x65735546, /* FUSE: sshfs, rclone, mergerfs */
        0x01021997, /* 9P */
        0x00c36400, /* Ceph */
        0x5346414f, /* AFS of OpenAFS */
        0x6b414653, /* AFS of the kernel */
        0x73757245, /* Coda */
        0x01161970, /* GFS2 */
        0x7461636f, /* OCFS2 */
        0x0bd00bd0, /* Lustre */
        0x47504653, /* GPFS */
        0x19830326, /* BeeGFS */
        0x786f4256, /* VirtualBox shared folders */
        0xbacbacbc, /* VMware shared folders */
    };
    struct statfs fs;
    if (fstatfs(fd, &fs) < 0)
        return true; /* looking works everywhere */
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if ((uint32_t)fs.f_type == types[i])
            return true;
    return false;
}

static void no_watch(struct watch *w, int code)
{
    bool none_left = code == -ENOSPC || code == -ENOMEM;
    if (none_left)
        w->watch_retry_us = clock_mono().us + WATCH_RETRY_MS * 1000;
    (void)snprintf(w->watches_trouble, sizeof(w->watches_trouble),
                   "%s, a part of %.120s is only looked at every %lld s%s",
                   none_left ? "the kernel has no inotify watches left" : strerror(-code),
                   w->root_path, (long long)(w->o.poll_ms + 999) / 1000,
                   none_left ? ": raise fs.inotify.max_user_watches (sysctl), it counts folders"
                             : "");
    if (!w->said_watches)
        log_warn("watch-limit", "%s", w->watches_trouble);
    w->said_watches = true;
}

/* The inotify watch of the folder behind `fd`: exactly that one, whatever its path says by now. */
static int add_inotify(const struct watch *w, int fd, uint32_t mask)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int wd = inotify_add_watch(w->fd, path, mask);
    return wd < 0 ? -errno : wd;
}

/* True when the folder `f` is new indeed; false when it was known under another name, and has moved
 * here: then `f` is no more and *known is it. */
static bool watch_folder(struct watch *w, struct folder *f, int fd, struct folder **known)
{
    bool polled = w->fd < 0 || (w->o.poll == WATCH_POLL_AUTO && f->network);
    if (polled || clock_mono().us < w->watch_retry_us)
        return true;
    int wd = add_inotify(w, fd, EVENTS | (f == w->root ? IN_DELETE_SELF | IN_MOVE_SELF : 0));
    if (wd < 0) {
        no_watch(w, wd);
        return true; /* looked at every poll_ms, and asked for again then */
    }
    struct folder *holder = watch_folder_of_wd(w, wd);
    if (!holder || holder == f) {
        if (!holder)
            watch_folder_set_wd(w, f, wd);
        return true;
    }
    *known = holder;
    return false;
}

/* `f` was made for a folder that is `known` elsewhere: it was renamed and its events are on their
 * way, or lost. Not so when it is one of those above: a mount that shows a part of itself. */
static struct folder *move_here(struct watch *w, struct folder *f, struct folder *known)
{
    struct folder *parent = f->parent;
    AUTO_FREE char *name = xstrdup(f->name);
    watch_folder_drop(w, f);
    if (!parent || watch_folder_is_below(parent, known))
        return NULL;
    watch_folder_attach(w, known, parent, name);
    watch_look_missed(w, known);
    return known;
}

static void leave_folder(struct watch *w, const char *name, const char *why)
{
    w->counts.left++;
    if (w->said_folders)
        return;
    char shown[200];
    log_warn("watch-folders", "%s: folder \"%s\" %s, leaving it and its like alone", w->root_path,
             text_escape(name, strlen(name), shown, sizeof(shown)), why);
    w->said_folders = true;
}

/* A folder that cannot be opened. Rights may stay as they are for ever, so they are only said; for
 * what passes (no descriptors left, a share that hangs) there is another look. */
static void cannot_open(struct watch *w, const char *name, int code)
{
    if (code == -ENOENT || code == -ENOTDIR || code == -ELOOP)
        return;
    if (code != -EACCES && code != -EPERM) {
        w->missed = true;
        return;
    }
    w->counts.left++;
    char shown[200];
    if (!w->said_closed)
        log_warn("watch-closed", "%s: cannot look into folder \"%s\": %s", w->root_path,
                 text_escape(name, strlen(name), shown, sizeof(shown)), strerror(-code));
    w->said_closed = true;
}

static bool has_room(struct watch *w, const struct folder *parent, const char *name)
{
    char path[WATCH_PATH_MAX];
    if (w->counts.folders >= w->o.folders_max) {
        char why[80];
        (void)snprintf(why, sizeof(why), "is beyond the limit of %d", w->o.folders_max);
        leave_folder(w, name, why);
        w->too_many_folders = true;
        return false;
    }
    /* With the shortest name that a file can have. */
    if (watch_folder_path(parent, name, path) == -ENAMETOOLONG ||
        strlen(path) + 2 >= WATCH_PATH_MAX) {
        leave_folder(w, name, "is too deep");
        return false;
    }
    return true;
}

/* Takes the folder that `fd` is, at `name` below `parent`. */
static struct folder *take_folder(struct watch *w, struct folder *parent, const char *name, int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0) {
        w->missed = true;
        return NULL;
    }
    struct folder *f = watch_folder_child(w, parent, name);
    if (f && f->device == st.st_dev && f->inode == st.st_ino)
        return f;
    if (f)
        watch_float(w, f, 0);
    if (!has_room(w, parent, name))
        return NULL;
    f = watch_folder_new(w, parent, name, &st);
    f->network = st.st_dev == parent->device ? parent->network : is_network(fd);
    struct folder *known = NULL;
    if (!watch_folder(w, f, fd, &known))
        return move_here(w, f, known);
    watch_look_queue(w, f);
    return f;
}

static struct folder *meet_folder_at(struct watch *w, struct folder *parent, int dirfd,
                                     const char *name)
{
    AUTO_CLOSE int fd =
        openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0)
        return take_folder(w, parent, name, fd);
    int code = -errno;
    cannot_open(w, name, code);
    if (code == -ENOENT || code == -ENOTDIR || code == -ELOOP)
        return NULL;
    return watch_folder_child(w, parent, name); /* what is known stays */
}

struct folder *watch_meet_folder(struct watch *w, struct folder *parent, const char *name)
{
    int dirfd = watch_folder_open(w, parent);
    if (dirfd < 0) {
        /* It was renamed itself, perhaps, and the event is on its way. */
        watch_look_queue(w, parent);
        return NULL;
    }
    return meet_folder_at(w, parent, dirfd, name);
}

/* The root. */

static void root_trouble(struct watch *w, int code)
{
    (void)text_format(w->root_trouble, sizeof(w->root_trouble), "cannot look at %.120s: %s",
                      w->root_path, strerror(-code));
    if (w->parent_wd >= 0 || w->fd < 0)
        return;
    /* Tells when it comes, unless that is by a mount. */
    w->parent_wd = inotify_add_watch(w->fd, w->parent_path, IN_CREATE | IN_MOVED_TO | IN_ONLYDIR);
}

static void root_well(struct watch *w)
{
    w->root_trouble[0] = '\0';
    if (w->parent_wd < 0)
        return;
    (void)inotify_rm_watch(w->fd, w->parent_wd); /* EINVAL when it went away itself */
    w->parent_wd = -1;
}

static int open_new_root(struct watch *w)
{
    AUTO_CLOSE int fd = open(w->root_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (w->root && w->root->device == st.st_dev && w->root->inode == st.st_ino)
        return 0;
    if (w->root)
        watch_folder_drop(w, w->root);
    /* Before the root's own watch: a folder cannot be its own parent, but "/" is. */
    root_well(w);
    w->root = watch_folder_new(w, NULL, "", &st);
    w->root->network = is_network(fd);
    struct folder *known = NULL;
    (void)watch_folder(w, w->root, fd, &known); /* nothing else is known yet */
    watch_look_queue(w, w->root);
    return 0;
}

void watch_check_root(struct watch *w)
{
    int r = open_new_root(w);
    if (r == 0) {
        w->root_trouble[0] = '\0';
        return;
    }
    bool gone = r == -ENOENT || r == -ENOTDIR || r == -ELOOP;
    if (w->root && gone)
        watch_folder_drop(w, w->root);
    root_trouble(w, r);
    /* It may have come between the question and the watch of its parent. */
    if (gone && open_new_root(w) == 0)
        w->root_trouble[0] = '\0';
}

/* One folder. */

static int begin(struct watch *w, struct folder *f)
{
    int dirfd = watch_folder_open(w, f);
    if (dirfd < 0)
        return dirfd;
    int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    /* There are watches again, perhaps; a watch first, then the look. */
    struct folder *known = NULL;
    if (watch_folder_is_polled(f) && !watch_folder(w, f, fd, &known)) {
        (void)close(fd); /* only read */
        (void)move_here(w, f, known);
        return -EAGAIN;
    }
    DIR *dir = fdopendir(fd);
    if (!dir) {
        int code = -errno;
        (void)close(fd); /* only read */
        return code;
    }
    w->look = xcalloc(1, sizeof(*w->look));
    *w->look = (struct look){.folder = f, .dir = dir, .number = ++w->look_number};
    return 0;
}

/* A look that could not begin. */
static void not_there(struct watch *w, struct folder *f, int code)
{
    if (code == -EAGAIN)
        return; /* it is another one by now, this one is no more */
    if (f == w->root) {
        cannot_open(w, w->root_name, code);
        watch_check_root(w);
        return;
    }
    if (!watch_folder_is_below(f, w->root)) {
        f->is_new = true; /* looked at when it has landed */
        return;
    }
    cannot_open(w, f->name, code);
    if (code == -ENOENT || code == -ENOTDIR || code == -ELOOP || code == -ESTALE) {
        struct folder *parent = f->parent;
        if (f->wd >= 0)
            watch_float(w, f, 0);
        else
            watch_folder_drop(w, f);
        watch_look_queue(w, parent);
    }
}

static void end(struct watch *w)
{
    struct folder *f = w->look->folder;
    uint32_t number = w->look->number;
    stop_looking(w);
    f->is_new = false;
    f->cycle = w->cycle;
    struct folder *child, *next;
    for (child = LIST_FIRST(&f->children); child; child = next) {
        next = LIST_NEXT(child, siblings);
        if (child->seen_look < number && child->wd >= 0)
            watch_float(w, child, 0); /* a rescan may meet it elsewhere */
        else if (child->seen_look < number)
            watch_folder_drop(w, child);
    }
}

static void look_at_entry(struct watch *w, const struct dirent *entry)
{
    struct folder *f = w->look->folder;
    int fd = dirfd(w->look->dir);
    bool is_folder = entry->d_type == DT_DIR, is_file = entry->d_type == DT_REG;
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
        watch_is_hidden(w, entry->d_name))
        return;
    struct stat st;
    if (is_file || entry->d_type == DT_UNKNOWN) {
        if (fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
            w->missed |= errno != ENOENT;
            return;
        }
        is_file = S_ISREG(st.st_mode);
        is_folder = S_ISDIR(st.st_mode);
    }
    if (is_file)
        watch_settle_looked(w, f, entry->d_name, &st);
    if (!is_folder || !w->o.recursive)
        return;
    struct folder *child = meet_folder_at(w, f, fd, entry->d_name);
    if (child)
        child->seen_look = w->look->number;
}

/* Up to `max` entries of the folder under way; returns how many there were. */
static int look_on(struct watch *w, int max)
{
    for (int n = 0; n < max; n++) {
        errno = 0;
        const struct dirent *entry = readdir(w->look->dir);
        if (!entry && errno != 0) {
            w->missed = true; /* a share that hangs; what is known stays */
            stop_looking(w);
            return n + 1;
        }
        if (!entry) {
            end(w);
            return n + 1;
        }
        look_at_entry(w, entry);
        if (!w->look)
            return n + 1; /* the folder went away below it */
    }
    return max;
}

static void queue_all(struct watch *w, bool polled_only)
{
    if (polled_only && w->counts.polled == 0)
        return;
    w->cycle++;
    for (struct folder *f = w->root; f; f = watch_folder_next(f, w->root))
        if (!polled_only || watch_folder_is_polled(f))
            watch_look_queue(w, f);
}

/* A new round begins when the last one has ended, and after a rescan not before as much time has
 * passed as that took: half of the time is for other things even when events are lost all the time.
 */
static void begin_round(struct watch *w)
{
    int64_t now_us = clock_mono().us;
    if (w->in_rescan) {
        w->in_rescan = false;
        w->rescan_after_us = now_us + (now_us - w->rescan_start_us);
    }
    if (w->left_out && w->heap_size < (size_t)w->o.settling_max / 2) {
        w->left_out = false;
        w->rescan_wanted = true;
    }
    if (w->missed && now_us >= w->poll_due_us) {
        w->missed = false;
        w->rescan_wanted = true;
    }
    if (w->rescan_wanted && now_us >= w->rescan_after_us) {
        w->rescan_wanted = false;
        w->in_rescan = true;
        w->rescan_start_us = now_us;
        w->poll_due_us = now_us + w->o.poll_ms * 1000; /* this is one, too */
        w->counts.rescans++;
        watch_check_root(w);
        queue_all(w, false);
    } else if (now_us >= w->poll_due_us) {
        w->poll_due_us = now_us + w->o.poll_ms * 1000;
        watch_check_root(w);
        queue_all(w, true);
    }
}

bool watch_look_turn(struct watch *w)
{
    int64_t stop_us = clock_mono().us + TURN_MAX_US;
    int left = ENTRIES_MAX;
    if (!w->look && TAILQ_EMPTY(&w->queue))
        begin_round(w);
    while (left > 0 && clock_mono().us < stop_us) {
        if (w->look) {
            left -= look_on(w, MIN(left, 32));
            continue;
        }
        struct folder *f = TAILQ_FIRST(&w->queue);
        if (!f)
            break;
        TAILQ_REMOVE(&w->queue, f, queued);
        f->in_queue = false;
        int r = begin(w, f);
        if (r < 0)
            not_there(w, f, r);
        left -= 4; /* opening is more than an entry */
    }
    if (w->watches_trouble[0] && w->counts.polled == 0)
        w->watches_trouble[0] = '\0';
    return w->look || !TAILQ_EMPTY(&w->queue);
}
