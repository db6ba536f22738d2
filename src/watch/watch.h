#pragma once
/* Files that appear below a folder, told when they are whole.
 *
 * With inotify (close-write, moved-to, new folders without a race) or by looking again and again,
 * where inotify does not tell what others write (NFS, SMB, FUSE: by the file system's type, or as
 * told). At start and after an overflow of the kernel's queue the whole tree is looked at. Both ways
 * end in one: a path is told when it has been left alone (same inode, size and mtime, no open
 * writer's event) for its settle time.
 *
 * The same path with another inode, size or mtime is a new file; one that was told and stays as it
 * is, is not told again while this watch lives. Symbolic links, devices, and names that begin with
 * a dot are not looked at. One thread owns a watch. Time comes from base/clock.h. */

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/macros.h"

enum watch_poll { WATCH_POLL_AUTO, WATCH_POLL_ALWAYS, WATCH_POLL_NEVER, WATCH_POLL_COUNT };

struct watch_options {
    const char *root; /* need not be there yet: it may come and go */
    bool recursive;
    enum watch_poll poll;
    int64_t poll_ms;   /* between two looks */
    int64_t settle_ms; /* for what ended with a close or a rename */
    int64_t settle_unsure_ms; /* for what was found by looking, or written again after a close */
    /* More patience for some names (unfinished by their look: "x.jpg.part"): ms, or -1 for never;
     * NULL = none. */
    int64_t (*patience_ms)(const char *name);
    int folders_max; /* deeper or more are told once and left alone */
};

struct watch_file {
    char path[1024]; /* relative to the root */
    uint64_t device, inode;
    int64_t size;
    struct wall_time modified;
};

struct watch_counts { /* since the start */
    int64_t overflows, rescans;
    int64_t folders;  /* now */
    int64_t settling; /* now */
    bool polling;
};

struct watch;
int watch_new(const struct watch_options *o, struct watch **ret, struct err *e);
void watch_free(struct watch *w);
DEFINE_AUTO(watch, watch_free)
int watch_fd(const struct watch *w); /* readable = call watch_turn(); -1 while only polling */
/* Reads what the kernel tells and looks where it is time to. Returns ms until it wants to be called
 * again without fd. */
int64_t watch_turn(struct watch *w);
/* The next file that has settled: 1, 0 when there is none. */
int watch_next(struct watch *w, struct watch_file *ret);
/* The caller could not take it now: it is told again after so long. */
void watch_again(struct watch *w, const struct watch_file *f, int64_t after_ms);
/* Forgets it: it was removed by the caller. */
void watch_forget(struct watch *w, const char *path);
void watch_counts(const struct watch *w, struct watch_counts *ret);
/* Folders below the root that are empty and unchanged for so long are removed, `keep` (relative,
 * NULL-terminated) and those above them apart. Returns how many. */
int watch_clean_folders(struct watch *w, int64_t age_ms, const char *const *keep, struct err *e);
/* Root of which the last look failed, in words for the status; "" when well. */
const char *watch_trouble(const struct watch *w);
