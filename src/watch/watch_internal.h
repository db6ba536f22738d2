#pragma once
/* What the files of watch/ share.
 *
 * A tree of folders mirrors what is below the root. A folder knows its parent and its own name
 * only, so that a renamed folder takes everything below it along. Files are not in the tree: one
 * that settles is a `pending`, one that was told is an entry of 24 bytes (watch_told.h).
 *
 * There are two sources of news: the kernel's events (watch_event.c), and looks (watch_look.c). A
 * look at a folder is queued when the folder is new, when events were lost, and where there are
 * none. In all cases the inotify watch is added first and the look comes after it, so that nothing
 * falls between; what both tell is told once, since both end in the same pending.
 *
 * Nothing is trusted to be where it was: a folder is opened beneath the root, without following
 * links, and what was opened is compared with what is known (device and inode). */

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "watch/watch.h"
#include "watch/watch_table.h"
#include "watch/watch_told.h"

struct pending;
LIST_HEAD(folder_list, folder);
LIST_HEAD(pending_list, pending);
TAILQ_HEAD(folder_queue, folder);

struct folder {
    struct folder *parent; /* NULL: the root, or one that is on its way between two places */
    struct folder_list children;
    LIST_ENTRY(folder) siblings; /* also in `floating` */
    TAILQ_ENTRY(folder) queued;  /* when `in_queue` */
    struct pending_list pending;
    struct watch_node by_name; /* below its parent */
    struct watch_node by_wd;   /* when wd >= 0 */
    struct watch_node by_path; /* its key: hash of the path under which it was found first */
    uint64_t device, inode;
    int64_t touched_us; /* monotonic: when something changed in it last */
    uint32_t number;    /* of all folders that there ever were */
    uint32_t cycle;     /* of its last complete look */
    uint32_t seen_look; /* the look at its parent in which it was seen last */
    uint32_t cookie;    /* of the rename when it floats, 0 = not told by an event */
    int wd;             /* -1: no inotify watch */
    bool network;       /* its file system does not tell */
    bool in_queue;
    bool is_new; /* was not looked at yet */
    char *name;  /* "" for the root */
};

struct identity {
    uint64_t device, inode;
    int64_t size, modified_ns;
};

struct pending {
    struct watch_node node;
    struct folder *folder;
    LIST_ENTRY(pending) siblings;
    int64_t due_us, first_us; /* monotonic; since when it is here */
    struct identity seen;     /* when `looked` */
    uint32_t heap_at;
    bool looked;   /* `seen` has to be what it still is when due */
    bool open;     /* a writer has it open, as far as events tell */
    bool closed;   /* after a close or a rename */
    bool reopened; /* written again after that: closes are no proof any more */
    bool renamed;  /* it came by a rename */
    bool waited;   /* long enough for an empty file */
    char name[];
};

struct watch {
    struct watch_options o;
    char *root_path, *parent_path, *root_name;
    int fd;        /* inotify, or -1 */
    int parent_wd; /* waits for the root; -1 */
    int root_fd;   /* open during one turn; -1 */
    int near_fd;   /* the folder that was opened last, the same; -1 */
    struct folder *near;
    struct folder *root; /* NULL: not there */

    struct watch_table names, wds, paths;
    struct folder_list floating; /* lost their place by a rename, and have no other yet */
    int64_t floating_until_us;
    struct {
        uint32_t cookie;
        bool open;
    } moved_file; /* the last one that lost its name */
    uint64_t seed;
    uint32_t folders_ever;

    struct folder_queue queue; /* to be looked at */
    struct look *look;         /* the one that is under way, or NULL */
    uint32_t look_number, cycle;
    bool in_rescan, rescan_wanted;
    bool missed; /* something could not be looked at that may be there: again at poll_due_us */
    int64_t rescan_start_us, rescan_after_us;
    int64_t poll_due_us;
    int64_t watch_retry_us; /* no inotify_add_watch before: the kernel has none left */

    struct watch_table files; /* pending */
    struct pending **heap;    /* by due_us */
    size_t heap_size, heap_cap;
    bool left_out; /* some had no room in it */
    struct watch_told told;
    size_t told_since_sweep;

    struct watch_counts counts;
    bool said_watches, said_folders, said_path, said_told, said_settling, said_closed;
    bool too_many_folders;
    char root_trouble[200], watches_trouble[300];
    char *events; /* buffer of the reader */
};

/* watch_tree.c */
struct folder *watch_folder_new(struct watch *w, struct folder *parent, const char *name,
                                const struct stat *st);
struct folder *watch_folder_child(const struct watch *w, const struct folder *parent,
                                  const char *name);
/* With all below it; `pending` files are dropped. */
void watch_folder_drop(struct watch *w, struct folder *f);
void watch_folder_detach(struct watch *w, struct folder *f);
void watch_folder_attach(struct watch *w, struct folder *f, struct folder *parent,
                         const char *name);
void watch_folder_set_wd(struct watch *w, struct folder *f, int wd);
struct folder *watch_folder_of_wd(const struct watch *w, int wd);
bool watch_folder_is_below(const struct folder *f, const struct folder *above);
/* Next in preorder below `top`, NULL at the end. */
struct folder *watch_folder_next(const struct folder *f, const struct folder *top);
/* The path of `name` in the folder: 0, -ENOENT (it floats), -ENAMETOOLONG. "" for the root. */
int watch_folder_path(const struct folder *f, const char *name, char ret[WATCH_PATH_MAX]);
struct folder *watch_folder_find(const struct watch *w, const char *path, size_t len);
/* A descriptor that is good until the next call here or the end of the turn; negative errno. */
int watch_folder_open(struct watch *w, struct folder *f);
void watch_close_folders(struct watch *w);
static inline bool watch_folder_is_polled(const struct folder *f)
{
    return f->wd < 0;
}

static inline bool watch_is_hidden(const struct watch *w, const char *name)
{
    return w->o.hidden ? w->o.hidden(name) : name[0] == '.';
}

/* watch_look.c */
void watch_look_queue(struct watch *w, struct folder *f);
/* Those from `top` on that could not be looked at while they floated. */
void watch_look_missed(struct watch *w, struct folder *top);
void watch_look_dropped(struct watch *w, struct folder *f); /* forget it, it is going away */
/* A bounded piece; true when there is more to do now. */
bool watch_look_turn(struct watch *w);
void watch_look_end(struct watch *w);
void watch_check_root(struct watch *w);
/* A folder that may be there under this name: watched, queued for a look. The folder, or NULL when
 * there is none or it is left alone. */
struct folder *watch_meet_folder(struct watch *w, struct folder *parent, const char *name);

/* watch_event.c */
#define WATCH_EVENTS_SIZE (64 * 1024)
/* A bounded piece; true when there may be more to read now. */
bool watch_events_turn(struct watch *w);
/* The folder is not where it was. Until it is met elsewhere, or it is clear that it has left the
 * tree, it keeps all it has. */
void watch_float(struct watch *w, struct folder *f, uint32_t cookie);
void watch_float_end(struct watch *w); /* those that float have left */

/* watch_settle.c */
enum watch_news {
    NEWS_CREATED, /* a name appeared: a writer's, or a link to a whole file */
    NEWS_WRITTEN,
    NEWS_CLOSED,
    NEWS_RENAMED,
    NEWS_COUNT
};
void watch_settle_news(struct watch *w, struct folder *f, const char *name, enum watch_news news,
                       bool open);
void watch_settle_looked(struct watch *w, struct folder *f, const char *name,
                         const struct stat *st);
/* The name is gone. True when it was settling and a writer had it open. */
bool watch_settle_gone(struct watch *w, struct folder *f, const char *name);
void watch_settle_drop(struct watch *w, struct pending *p);
void watch_settle_drop_all(struct watch *w, struct folder *f);
uint64_t watch_settle_key(const struct watch *w, const struct folder *f, const char *name);
