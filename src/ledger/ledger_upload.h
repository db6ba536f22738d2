#pragma once
/* Files that are to be kept elsewhere: one job per file and storage, written in the transaction of
 * the verdict (ledger_snapshot_examined). See ledger.h for what all functions have in common. */

#include "ledger/ledger.h"

#define UPLOAD_MARK_MAX 4096

struct upload_job {
    int64_t row;
    char snapshot_id[SNAPSHOT_ID_SIZE];
    bool annotated;
    bool starred; /* the picture is, at this moment */
    bool damaged; /* the row is: only `row` is set, for ledger_upload_damaged() */
    int attempts; /* that failed by the object's own fault */
    struct wall_time created_at;
    struct wall_time not_before; /* it waited for this moment; 0 = it was never refused */
    char md5[33]; /* of the picture's bytes as they were put, for ledger_upload_done(); else "" */
    char mark[UPLOAD_MARK_MAX]; /* the storage's, "" before the first attempt; may hold a secret */
};

struct upload_order {
    bool newest_first;
    /* Jobs of rows above it are live: they go before all others, the newest first. INT64_MAX = none
     * is. See ledger_upload_last_row(). */
    int64_t live_after;
};

/* Due jobs of a storage that are not in `busy` (rows under way, ascending), at most `max`. A job of
 * a copy is due when the copy is there. Cost does not grow with the history, nor with what waits.
 */
int ledger_upload_due(struct ledger *l, const char *storage, const struct upload_order *order,
                      struct wall_time now, const int64_t *busy, int busy_count,
                      struct upload_job *ret, int max, struct err *e);
/* When the next job of the storage becomes due (a past time when one is); -ENOENT when none waits
 * for a time. */
int ledger_upload_next(struct ledger *l, const char *storage, struct wall_time *ret, struct err *e);
/* The newest job of any storage has this row; later ones have a higher one. 0 = there is none. */
int ledger_upload_last_row(struct ledger *l, int64_t *ret, struct err *e);

/* Marks of several jobs in one transaction: durable before the first attempt. */
int ledger_upload_mark(struct ledger *l, const struct upload_job *jobs, int count, struct err *e);
/* All in one transaction, with their last marks; what is no longer pending is passed over. `urls`
 * has one per job, each may be ""; NULL = none. When the star of a picture is another by now than
 * job->starred, the storage has it to hear (ledger_upload_stars). The picture's row learns its md5
 * here, so that what storages tell can be compared when the file is gone. */
int ledger_upload_done(struct ledger *l, const struct upload_job *jobs, const char *const *urls,
                       int count, struct err *e);
/* Both count one more attempt, keep job->mark, and say -EALREADY when the job is no longer pending.
 */
int ledger_upload_retry(struct ledger *l, const struct upload_job *job, struct wall_time not_before,
                        const char *why, struct err *e);
int ledger_upload_dead(struct ledger *l, const struct upload_job *job, const char *why,
                       struct err *e);
/* It waits, and no attempt counts: what failed was no fault of the object. Otherwise like retry. */
int ledger_upload_wait(struct ledger *l, const struct upload_job *job, struct wall_time not_before,
                       const char *why, struct err *e);
/* A job whose row, or whose picture's, makes no sense is put aside, so that others go on. */
int ledger_upload_damaged(struct ledger *l, int64_t row, const char *why, struct err *e);

/* For people: jobs of this picture that were given up are pending again, with their marks and as if
 * never refused. Returns how many; -ENOENT when there is no such picture or its files are gone. */
int ledger_upload_again(struct ledger *l, const char *snapshot_id, struct err *e);
/* What was kept is there no more, and a new object is to be made; or it is not `gone` but another
 * one by now, and to be replaced. Returns 1, or 0 when the job is not done. */
int ledger_upload_lost(struct ledger *l, int64_t row, bool gone, struct err *e);
/* Jobs that are done, by ascending row above `after_row`, for comparing. Returns the count. */
int ledger_upload_kept(struct ledger *l, const char *storage, int64_t after_row,
                       struct upload_job *ret, int max, struct err *e);

/* The first storage, by name, behind `after` ("" = from the start) that ever had a job. 1, or 0
 * when there is none more. `size` as the longest name has. */
int ledger_upload_storage(struct ledger *l, const char *after, char *ret, size_t size,
                          struct err *e);
/* For people: a storage that is no more is forgotten with its jobs, done ones and others, and its
 * notes. Returns how many jobs were not done. */
int ledger_upload_forget(struct ledger *l, const char *storage, struct err *e);

struct upload_counts {
    int64_t pending, done, dead;     /* pending: also what waits for its copy */
    struct wall_time oldest_pending; /* 0 = none */
};
/* Zeros for a storage that never had a job. */
int ledger_upload_counts(struct ledger *l, const char *storage, struct upload_counts *ret,
                         struct err *e);

/* ---- a storage's own notes, by key ---- */

int ledger_memory_get(struct ledger *l, const char *storage, const char *key, char *ret,
                      size_t size, struct err *e); /* -ENOENT; -ENOSPC when it does not fit */
int ledger_memory_set(struct ledger *l, const char *storage, const char *key, const char *value,
                      struct err *e); /* NULL forgets */

/* ---- stars ---- */

/* -ENOENT when there is no such picture. The storages that keep it have it to hear. */
int ledger_snapshot_star(struct ledger *l, const char *id, bool starred, struct err *e);
/* Kept files of a storage whose star it has to hear, job->starred says which; by ascending row
 * above `after_row`. Returns the count. */
int ledger_upload_stars(struct ledger *l, const char *storage, int64_t after_row,
                        struct upload_job *ret, int max, struct err *e);
/* It has heard job->starred, or never will. */
int ledger_upload_star_done(struct ledger *l, const struct upload_job *job, struct err *e);

/* ---- retention ---- */

struct retention_class {
    int starred, person; /* 1 only, 0 without, -1 any */
};
/* Candidates for removal, oldest row first, from behind `after_row` on: those of a class whose file
 * is here, received before `before` (0 = any; not the event's time, which a pushed picture brings
 * along and which may be old), of a camera (NULL = all); `delivered` = only those that have all
 * they should: examined, settled, no pending event, all jobs done (one that was given up may be
 * asked for again, which needs the file). At most `max`, each a new reference. Returns the count.
 */
int ledger_retention_next(struct ledger *l, const struct retention_class *c, const char *camera,
                          struct wall_time before, bool delivered, int64_t after_row,
                          struct snapshot **ret, int max, struct err *e);
/* Sums over pictures whose file is here, for limits of size and number; running sums, so it does
 * not walk the history. A copy with boxes counts as large as its picture, and not in `files`. */
struct retention_sums {
    int64_t files, bytes;
};
int ledger_retention_sums(struct ledger *l, const struct retention_class *c, const char *camera,
                          struct retention_sums *ret, struct err *e);
/* The first camera, by name, behind `after` ("" = from the start) that ever had a picture. 1, or 0
 * when there is none more. */
int ledger_retention_camera(struct ledger *l, const char *after, char ret[SNAPSHOT_KEY_MAX],
                            struct err *e);
/* Rows whose files were removed before this moment, oldest removal first, that can be forgotten:
 * their event was before `event_before`, and without `pushed` they were asked for. At most `max`;
 * returns the count. */
int ledger_history_next(struct ledger *l, struct wall_time before, struct wall_time event_before,
                        bool pushed, int64_t *ret, int max, struct err *e);
/* The files of these rows are gone, in one transaction: the rows stay for the history, without
 * their files, and what was still to be uploaded is given up with the same reason; or, with
 * `forget`, they go with all that hangs on them. Rows of removed files are passed over, unless they
 * are to be forgotten. Unlink first, behind ledger_snapshot_leave(): after a crash in
 * between, the rows are found again, and an absent file is as good as an unlinked one. `why` NULL:
 * the reason that they leave for. */
int ledger_snapshot_removed(struct ledger *l, const int64_t *rows, int count, const char *why,
                            bool forget, struct err *e);
