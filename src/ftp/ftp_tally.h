#pragma once
/* What an account's folder holds, against its limits: bytes and folders in all, entries in each of
 * its folders. Any thread.
 *
 * To count means to look at the whole tree, which no upload can wait for; and the pipeline takes
 * pictures away without a word. So we estimate: the last count and what was added since. What would
 * go over is counted anew before it is refused. Counting gets a twentieth of the time at most, a
 * tree that takes long to count is counted at most every few seconds; until then it stays refused.
 *
 * Uploads under way are held apart: their bytes and names belong to nobody's count yet. */

#include <stdint.h>

#include "base/err.h"

struct ftp_tally_limits {
    int64_t bytes_max, folders_max, files_max; /* 0 = none; files: entries in one folder */
};

struct ftp_tally;
/* `root_fd` and `home` (a plain path or ".") are borrowed. */
struct ftp_tally *ftp_tally_new(int root_fd, const char *home, const struct ftp_tally_limits *l);
void ftp_tally_free(struct ftp_tally *t);

/* Bytes of an upload under way; fewer than none when it will replace something. -EDQUOT. */
int ftp_tally_hold_bytes(struct ftp_tally *t, int64_t bytes, struct err *e);
/* The upload has ended: what it held is let go, and what there is now has grown by `grown`. */
void ftp_tally_let_bytes(struct ftp_tally *t, int64_t held, int64_t grown);
/* One folder will be made: -EMLINK; or is gone again (or was not made after all). */
int ftp_tally_add_folder(struct ftp_tally *t, struct err *e);
void ftp_tally_drop_folder(struct ftp_tally *t);

/* Which folder; plain data. */
struct ftp_tally_folder {
    uint64_t device, inode;
};
int ftp_tally_folder_of(int folder_fd, struct ftp_tally_folder *ret);
/* One more entry will be there: -EMLINK. */
int ftp_tally_hold_entry(struct ftp_tally *t, const struct ftp_tally_folder *f, int folder_fd,
                         struct err *e);
/* What was held is over: it is there now (1), or not (0). */
void ftp_tally_let_entry(struct ftp_tally *t, const struct ftp_tally_folder *f, int grown);
/* Entries that came or went without being held. */
void ftp_tally_grow_entries(struct ftp_tally *t, const struct ftp_tally_folder *f, int by);
