#pragma once
/* Files that are to be kept elsewhere: one job per file and storage, written in the transaction of
 * the verdict. See ledger.h for what all functions have in common. */

#include "ledger/ledger.h"

#define UPLOAD_MARK_MAX 4096

/* Wanted of a picture by one storage, given to ledger_snapshot_examined(). */
struct upload_wish {
    const char *storage;
    bool picture, annotated;
};

struct upload_job {
    int64_t row;
    char snapshot_id[SNAPSHOT_ID_SIZE];
    bool annotated;
    int attempts;
    struct wall_time created_at;
    char mark[UPLOAD_MARK_MAX]; /* the storage's, "" before the first attempt */
};
struct upload_order {
    bool newest_first;
    bool live_first; /* pictures of the last minutes before any backlog */
};
/* Due jobs of a storage that are not in `busy` (rows under way, ascending), at most `max`. A job of
 * a copy is due when the copy is there. Cost does not grow with the history. */
int ledger_upload_due(struct ledger *l, const char *storage, const struct upload_order *order,
                      struct wall_time now, const int64_t *busy, int busy_count,
                      struct upload_job *ret, int max, struct err *e);
int ledger_upload_next(struct ledger *l, const char *storage, struct wall_time *ret, struct err *e);
/* Marks of several jobs in one transaction: durable before the first attempt. */
int ledger_upload_mark(struct ledger *l, const struct upload_job *jobs, int count, struct err *e);
/* `url` may be "". */
int ledger_upload_done(struct ledger *l, const struct upload_job *jobs, const char *const *urls,
                       int count, struct err *e);
int ledger_upload_retry(struct ledger *l, const struct upload_job *job, struct wall_time not_before,
                        const char *why, struct err *e);
int ledger_upload_dead(struct ledger *l, const struct upload_job *job, const char *why,
                       struct err *e);
int ledger_upload_again(struct ledger *l, const char *snapshot_id, struct err *e); /* for people */
struct upload_counts {
    int64_t pending, done, dead;
    struct wall_time oldest_pending; /* 0 = none */
};
int ledger_upload_counts(struct ledger *l, const char *storage, struct upload_counts *ret,
                         struct err *e);

/* ---- a storage's own notes, by key ---- */

int ledger_memory_get(struct ledger *l, const char *storage, const char *key, char *ret,
                      size_t size, struct err *e); /* -ENOENT */
int ledger_memory_set(struct ledger *l, const char *storage, const char *key, const char *value,
                      struct err *e); /* NULL forgets */

/* ---- stars and retention ---- */

int ledger_snapshot_star(struct ledger *l, const char *id, bool starred,
                         struct err *e); /* -ENOENT */

struct retention_class {
    int starred, person; /* 1 only, 0 without, -1 any */
};
/* Candidates for removal, oldest first, from `after_row` on: those of a class, taken before
 * `before` (0 = any), of a camera (NULL = all); `delivered` = only those that have all they should
 * (no pending job or event). Returns the count. */
int ledger_retention_next(struct ledger *l, const struct retention_class *c, const char *camera,
                          struct wall_time before, bool delivered, int64_t after_row,
                          struct snapshot **ret, int max, struct err *e);
/* Sums over present files, for limits of size and number; kept up to date by triggers or counters,
 * so it does not walk the history. */
struct retention_sums {
    int64_t files, bytes;
};
int ledger_retention_sums(struct ledger *l, const struct retention_class *c, const char *camera,
                          struct retention_sums *ret, struct err *e);
/* The files are gone: the rows stay for the history, without their files (state of the file:
 * removed, with the reason in the life story), or go with all that hangs on them. */
int ledger_snapshot_removed(struct ledger *l, const int64_t *rows, int count, const char *why,
                            bool forget, struct err *e);
