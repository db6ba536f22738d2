#pragma once
/* Files that appear below a folder, told when they are whole.
 *
 * With inotify (close-write, moved-to, new folders without a race) or by looking again and again,
 * where inotify does not tell what others write (NFS, SMB, FUSE: by the file system's type, or as
 * told). At start and after an overflow of the kernel's queue the whole tree is looked at. Both
 * ways end in one: a path is told when it has been left alone (same inode, size and mtime, no open
 * writer's event) for its settle time.
 *
 * The same path with another inode, size or mtime is a new file; one that was told and stays as it
 * is, is not told again while this watch lives, also when a folder above it gets another name. A
 * file that gets another name is told again under that name, and one with two names (hard links)
 * is told for each. An empty file is what a writer begins with: it is held back for
 * WATCH_EMPTY_MS. Symbolic links below the root, devices, and hidden names are not looked at. What
 * is mounted over a folder below the root later is found by the next rescan.
 *
 * Nothing here takes long: each call does a bounded piece of work and says when it wants to go on.
 * One thread owns a watch. Time comes from base/clock.h; wall time is never compared, so clocks
 * that are wrong do no harm. What a person should know (no more inotify watches, too many folders)
 * is logged, each once, and stays in watch_trouble(). */

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/macros.h"

#define WATCH_PATH_MAX 1024 /* relative to the root, with NUL; what is longer is left alone */
#define WATCH_EMPTY_MS 60000

enum watch_poll {
    WATCH_POLL_AUTO,   /* where the file system asks for it */
    WATCH_POLL_ALWAYS, /* no inotify at all */
    WATCH_POLL_NEVER,  /* only what the kernel has no watches left for */
    WATCH_POLL_COUNT
};
extern const char *const watch_poll_names[WATCH_POLL_COUNT]; /* "auto", "always", "never" */

struct watch_options {
    const char *root; /* need not be there yet: it may come and go */
    bool recursive;
    enum watch_poll poll;
    int64_t poll_ms;          /* between two looks, also at whether the root is there */
    int64_t settle_ms;        /* for what ended with a close or a rename */
    int64_t settle_unsure_ms; /* for what was found by looking, what a writer has open, or what was
                                 written again after a close */
    /* Names of files and folders that are not looked at; NULL = those that begin with a dot. */
    bool (*hidden)(const char *name);
    /* Names that say "not yet" ("x.jpg.part"): at least unfinished_ms for them; NULL = none. */
    bool (*unfinished)(const char *name);
    int64_t unfinished_ms;
    int folders_max;  /* deeper or more are told once and left alone; 0 = WATCH_FOLDERS_MAX */
    int told_max;     /* files that were told and stay; beyond that some are told again when the
                         tree is looked at again. 24 bytes each; 0 = WATCH_TOLD_MAX */
    int settling_max; /* files that settle at once; the rest is found by a rescan when there is
                         room. 150 bytes each; 0 = WATCH_SETTLING_MAX */
};
#define WATCH_FOLDERS_MAX 100000
#define WATCH_TOLD_MAX 1000000
#define WATCH_SETTLING_MAX 200000

struct watch_file {
    char path[WATCH_PATH_MAX]; /* relative to the root */
    uint64_t device, inode;
    int64_t size;
    struct wall_time modified;
};

struct watch_counts { /* since the start */
    int64_t overflows, rescans;
    int64_t folders;  /* now */
    int64_t settling; /* now */
    bool polling;     /* some part of the tree */
    int64_t told;     /* files */
    int64_t kept;     /* of these, now remembered */
    int64_t polled;   /* folders, now */
    int64_t left;     /* folders that were too many or too deep */
};

struct watch;
int watch_new(const struct watch_options *o, struct watch **ret, struct err *e);
void watch_free(struct watch *w);
DEFINE_AUTO(watch, watch_free)
/* Readable = call watch_turn(); -1 when there is no inotify. Stays the same all its life. */
int watch_fd(const struct watch *w);
/* Reads what the kernel tells and looks where it is time to. Returns ms until it wants to be called
 * again without fd: 0 when there is more to do or something may have settled. */
int64_t watch_turn(struct watch *w);
/* The next file that has settled: 1, 0 when there is none now. Not asking is fine: it waits. */
int watch_next(struct watch *w, struct watch_file *ret);
/* The caller could not take it now: it is told again after so long. */
void watch_again(struct watch *w, const struct watch_file *f, int64_t after_ms);
/* Forgets it: it was removed by the caller. */
void watch_forget(struct watch *w, const char *path);
void watch_counts(const struct watch *w, struct watch_counts *ret);
/* Folders below the root that are empty and unchanged for so long are removed, `keep` (relative,
 * NULL-terminated) and those above them apart. Returns how many. A folder's age counts from when
 * this watch first saw it. */
int watch_clean_folders(struct watch *w, int64_t age_ms, const char *const *keep, struct err *e);
/* Why not all of the tree is watched as it should be, in words for the status; "" when well. */
const char *watch_trouble(const struct watch *w);
