/* Upload jobs, what storages note, stars, and which files may go. */

#include "ledger/ledger_upload.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/mem.h"
#include "base/text.h"
#include "ledger/internal.h"

enum { PENDING, DONE, DEAD, AWAITED };

/* A row's number may be another job's by now: that of a storage that was forgotten while this
 * program had its job in hand. */
#define THIS_JOB "row = ? AND snapshot = (SELECT s.row FROM snapshots s WHERE s.id = ?)"

/* Of an error's text so much is kept; it is enough to understand. */
#define WHY_MAX 256

static int choose_rows(struct ledger *l, int64_t storage, const struct upload_order *order,
                       struct wall_time now, const int64_t *busy, int busy_count, int64_t *ret,
                       int max, struct err *e);
static int read_jobs(struct ledger *l, struct db_query *q, struct upload_job *ret, int max,
                     struct err *e);
static int end_attempt(struct ledger *l, const struct upload_job *job, const char *incident,
                       const char *sql, int64_t when, const char *why, struct err *e);

/* ---- within other transitions ---- */

int uploads_insert(struct ledger *l, int64_t snapshot_row, bool has_copy,
                   const struct upload_wish *wishes, size_t count, struct err *e)
{
    AUTO(db_query)
    q = db_query(l->db, "INSERT INTO uploads (snapshot, storage, annotated, state, attempts,"
                        " created_at, not_before) VALUES (?, ?, ?, ?, 0, ?, 0)");
    for (size_t i = 0; i < count; i++) {
        int64_t storage;
        int r = name_intern(l, NAME_STORAGE, wishes[i].storage, &storage, e);
        for (int annotated = 0; annotated <= 1 && r == 0; annotated++) {
            if (annotated ? !(wishes[i].annotated && has_copy) : !wishes[i].picture)
                continue;
            db_bind_int(q, snapshot_row);
            db_bind_int(q, storage);
            db_bind_int(q, annotated);
            db_bind_int(q, annotated ? AWAITED : PENDING);
            db_bind_int(q, clock_wall().us);
            r = db_run(q, e);
        }
        if (r < 0)
            return r;
    }
    return 0;
}

int uploads_copy_placed(struct ledger *l, int64_t snapshot_row, struct err *e)
{
    AUTO(db_query)
    q = db_query(l->db, "UPDATE uploads SET state = 0 WHERE snapshot = ? AND annotated = 1"
                        " AND state = 3");
    db_bind_int(q, snapshot_row);
    return db_run(q, e);
}

int uploads_copy_dropped(struct ledger *l, int64_t snapshot_row, struct err *e)
{
    AUTO(db_query)
    q = db_query(l->db, "UPDATE uploads SET state = 2, finished_at = ?,"
                        " error = 'the copy with boxes could not be drawn'"
                        " WHERE snapshot = ? AND annotated = 1 AND state IN (0, 3)");
    db_bind_int(q, clock_wall().us);
    db_bind_int(q, snapshot_row);
    return db_run(q, e);
}

int uploads_copy_awaited(struct ledger *l, int64_t snapshot_row, struct err *e)
{
    {
        AUTO(db_query)
        q = db_query(l->db, "UPDATE storages SET done = done - 1 WHERE id IN (SELECT storage"
                            " FROM uploads WHERE snapshot = ? AND annotated = 1 AND state = 1)");
        db_bind_int(q, snapshot_row);
        int r = db_run(q, e);
        if (r < 0)
            return r;
    }
    AUTO(db_query)
    q = db_query(l->db, "UPDATE uploads SET state = 3, not_before = 0, finished_at = NULL,"
                        " star_due = 0 WHERE snapshot = ? AND annotated = 1 AND state IN (0, 1)");
    db_bind_int(q, snapshot_row);
    return db_run(q, e);
}

/* ---- what is due ---- */

#define JOB_COLUMNS                                                                                \
    "u.row, s.id, u.annotated, s.starred_at IS NOT NULL, u.attempts, u.created_at,"                \
    " coalesce(u.mark, ''), u.not_before"

int ledger_upload_due(struct ledger *l, const char *storage, const struct upload_order *order,
                      struct wall_time now, const int64_t *busy, int busy_count,
                      struct upload_job *ret, int max, struct err *e)
{
    if (max <= 0)
        return 0;
    int r = db_begin_read(l->db, e);
    if (r < 0)
        return r;
    AUTO_FREE int64_t *rows = xcalloc((size_t)max, sizeof(*rows));
    int64_t number;
    int count = 0;
    r = name_find(l, NAME_STORAGE, storage, &number, e);
    if (r == 0)
        count = r = choose_rows(l, number, order, now, busy, busy_count, rows, max, e);
    for (int i = 0; i < count && r >= 0; i++) {
        AUTO(db_query)
        q = db_query(l->db, "SELECT " JOB_COLUMNS " FROM uploads u"
                            " JOIN snapshots s ON s.row = u.snapshot WHERE u.row = ?");
        db_bind_int(q, rows[i]);
        r = read_jobs(l, q, &ret[i], 1, e);
        if (r == 0 || r == -EUCLEAN) { /* refers to nothing, or is not possible */
            ret[i] = (struct upload_job){.row = rows[i], .damaged = true};
            r = 1;
        }
    }
    db_end_read(l->db);
    return r == -ENOENT ? 0 : r < 0 ? r : count;
}

static int compare_rows(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Appends what the query gives and is not under way. */
static int take_rows(struct db_query *q, const int64_t *busy, int busy_count, int64_t *ret,
                     int count, int max, struct err *e)
{
    int r = 0;
    while (count < max && (r = db_step(q, e)) == 1) {
        int64_t row = db_int(q, 0);
        if (busy_count == 0 ||
            bsearch(&row, busy, (size_t)busy_count, sizeof(row), compare_rows) == NULL)
            ret[count++] = row;
    }
    return r < 0 ? r : count;
}

/* Those that were never refused, on this side of the live ones or beyond. */
static int fresh_rows(struct ledger *l, int64_t storage, bool live, bool descending,
                      int64_t live_after, const int64_t *busy, int busy_count, int64_t *ret,
                      int max, struct err *e)
{
#define FRESH                                                                                      \
    "SELECT row FROM uploads INDEXED BY uploads_fresh WHERE storage = ? AND state = 0"             \
    " AND not_before = 0 AND row "
    AUTO(db_query)
    q = db_query(l->db, live         ? FRESH "> ? ORDER BY row DESC LIMIT ?"
                        : descending ? FRESH "<= ? ORDER BY row DESC LIMIT ?"
                                     : FRESH "<= ? ORDER BY row LIMIT ?");
    db_bind_int(q, storage);
    db_bind_int(q, live_after);
    db_bind_int(q, max + busy_count);
    return take_rows(q, busy, busy_count, ret, 0, max, e);
}

/* Those whose time has come, or lies further ahead than any wait may reach (see wait_holds). */
static int retried_rows(struct ledger *l, int64_t storage, struct wall_time now,
                        const int64_t *busy, int busy_count, int64_t *ret, int max, struct err *e)
{
#define WAITING                                                                                    \
    "SELECT row FROM uploads INDEXED BY uploads_waiting WHERE storage = ? AND state = 0"           \
    " AND not_before > 0 AND not_before "
    int count = 0;
    for (int i = 0; i < 2 && count >= 0; i++) {
        AUTO(db_query)
        q = db_query(l->db, i == 0 ? WAITING "<= ? ORDER BY not_before LIMIT ?"
                                   : WAITING "> ? ORDER BY not_before LIMIT ?");
        db_bind_int(q, storage);
        db_bind_int(q, i == 0 ? now.us : now.us + (int64_t)LEDGER_WAIT_MAX_S * 1000000);
        db_bind_int(q, max + busy_count);
        count = take_rows(q, busy, busy_count, ret, count, max, e);
    }
    if (count > 0)
        qsort(ret, (size_t)count, sizeof(*ret), compare_rows);
    return count;
}

static int choose_rows(struct ledger *l, int64_t storage, const struct upload_order *order,
                       struct wall_time now, const int64_t *busy, int busy_count, int64_t *ret,
                       int max, struct err *e)
{
    int count = 0;
    if (order->live_after < INT64_MAX)
        count =
            fresh_rows(l, storage, true, true, order->live_after, busy, busy_count, ret, max, e);
    if (count < 0 || count == max)
        return count;
    int room = max - count;
    AUTO_FREE int64_t *fresh = xcalloc((size_t)room, sizeof(*fresh));
    AUTO_FREE int64_t *again = xcalloc((size_t)room, sizeof(*again));
    int fresh_count = fresh_rows(l, storage, false, order->newest_first, order->live_after, busy,
                                 busy_count, fresh, room, e);
    if (fresh_count < 0)
        return fresh_count;
    int again_count = retried_rows(l, storage, now, busy, busy_count, again, room, e);
    if (again_count < 0)
        return again_count;
    /* Both in one order; `again` is ascending. */
    int i = 0, k = 0;
    while (count < max && (i < fresh_count || k < again_count)) {
        int64_t old = k < again_count ? again[order->newest_first ? again_count - 1 - k : k] : 0;
        bool takes_fresh =
            i < fresh_count &&
            (k == again_count || (order->newest_first ? fresh[i] > old : fresh[i] < old));
        ret[count++] = takes_fresh ? fresh[i] : old;
        if (takes_fresh)
            i++;
        else
            k++;
    }
    return count;
}

static int read_jobs(struct ledger *l, struct db_query *q, struct upload_job *ret, int max,
                     struct err *e)
{
    int count = 0, r = 0;
    while (count < max && (r = db_step(q, e)) == 1) {
        struct upload_job *j = &ret[count];
        *j = (struct upload_job){.row = db_int(q, 0),
                                 .annotated = db_int(q, 2) != 0,
                                 .starred = db_int(q, 3) != 0,
                                 .attempts = (int)MIN(db_int(q, 4), (int64_t)INT32_MAX),
                                 .created_at = {db_int(q, 5)},
                                 .not_before = {db_int(q, 7)}};
        r = column_copy(l, q, 1, j->snapshot_id, sizeof(j->snapshot_id), e);
        if (r == 0)
            r = column_copy(l, q, 6, j->mark, sizeof(j->mark), e);
        if (r < 0)
            return r;
        if (!snapshot_id_valid(j->snapshot_id) || j->attempts < 0)
            return db_damaged(l->db, e, "upload row %lld is not possible", (long long)j->row);
        count++;
    }
    return r < 0 ? r : count;
}

int ledger_upload_next(struct ledger *l, const char *storage, struct wall_time *ret, struct err *e)
{
    int64_t number, when = 0;
    int r = name_find(l, NAME_STORAGE, storage, &number, e);
    if (r == 0) {
        AUTO(db_query)
        q = db_query(l->db, "SELECT coalesce((SELECT 0 FROM uploads INDEXED BY uploads_fresh WHERE"
                            " storage = ?1 AND state = 0 AND not_before = 0 LIMIT 1),"
                            " (SELECT min(not_before) FROM uploads INDEXED BY uploads_waiting WHERE"
                            " storage = ?1 AND state = 0 AND not_before > 0), -1)");
        db_bind_int(q, number);
        r = db_query_int(q, &when, e);
    }
    if (r < 0 && r != -ENOENT)
        return r;
    if (r == -ENOENT || when < 0)
        return err_set(e, -ENOENT, ERR_NEVER, "nothing waits for '%s'", storage);
    struct wall_time now = ledger_now();
    ret->us = wait_holds(when, now) ? when : MIN(when, now.us);
    return 0;
}

int ledger_upload_last_row(struct ledger *l, int64_t *ret, struct err *e)
{
    AUTO(db_query) q = db_query(l->db, "SELECT coalesce(max(row), 0) FROM uploads");
    return db_query_int(q, ret, e);
}

/* ---- transitions ---- */

int ledger_upload_mark(struct ledger *l, const struct upload_job *jobs, int count, struct err *e)
{
    if (count == 0)
        return 0;
    int r = db_begin(l->db, e);
    if (r < 0)
        return r;
    {
        AUTO(db_query)
        q = db_query(l->db, "UPDATE uploads SET mark = ? WHERE " THIS_JOB " AND state = 0");
        for (int i = 0; i < count && r == 0; i++) {
            db_bind_text_or_null(q, jobs[i].mark);
            db_bind_int(q, jobs[i].row);
            db_bind_text(q, jobs[i].snapshot_id);
            r = db_run(q, e);
        }
    }
    FAULT_POINT("before-upload-mark-commit");
    r = db_finish(l->db, r, e);
    FAULT_POINT("after-upload-mark-commit");
    return r;
}

static int add_done(struct ledger *l, int64_t storage, int64_t count, struct err *e)
{
    if (count == 0)
        return 0;
    AUTO(db_query) q = db_query(l->db, "UPDATE storages SET done = done + ? WHERE id = ?");
    db_bind_int(q, count);
    db_bind_int(q, storage);
    return db_run(q, e);
}

static int note_md5(struct ledger *l, const struct upload_job *job, struct err *e)
{
    if (job->annotated || job->md5[0] == '\0')
        return 0;
    AUTO(db_query) q = db_query(l->db, "UPDATE snapshots SET md5 = ? WHERE id = ? AND md5 = ''");
    db_bind_text(q, job->md5);
    db_bind_text(q, job->snapshot_id);
    return db_run(q, e);
}

/* *storage is of the jobs so far, *n how many of them are counted; -1 and 0 at first. */
static int finish_one(struct ledger *l, const struct upload_job *job, const char *url,
                      int64_t *storage, int64_t *n, struct err *e)
{
    AUTO(db_query)
    q = db_query(l->db, "UPDATE uploads SET state = 1, finished_at = ?, attempts = attempts + 1,"
                        " mark = ?, url = ?, error = NULL,"
                        " star_due = ? != (SELECT s.starred_at IS NOT NULL FROM snapshots s"
                        "  WHERE s.row = snapshot)"
                        " WHERE " THIS_JOB " AND state = 0 RETURNING storage");
    db_bind_int(q, clock_wall().us);
    db_bind_text_or_null(q, job->mark);
    db_bind_text_or_null(q, url);
    db_bind_int(q, job->starred);
    db_bind_int(q, job->row);
    db_bind_text(q, job->snapshot_id);
    int64_t of = 0;
    int r = db_query_int(q, &of, e);
    if (r < 0)
        return r == -ENODATA ? 0 : r;
    if (of != *storage) {
        r = add_done(l, *storage, *n, e);
        *storage = of;
        *n = 0;
    }
    (*n)++;
    return r == 0 ? note_md5(l, job, e) : r;
}

int ledger_upload_done(struct ledger *l, const struct upload_job *jobs, const char *const *urls,
                       int count, struct err *e)
{
    if (count == 0)
        return 0;
    int r = db_begin(l->db, e);
    if (r < 0)
        return r;
    int64_t storage = -1, n = 0;
    for (int i = 0; i < count && r == 0; i++)
        r = finish_one(l, &jobs[i], urls != NULL ? urls[i] : "", &storage, &n, e);
    if (r == 0)
        r = add_done(l, storage, n, e);
    FAULT_POINT("before-upload-done-commit");
    r = db_finish(l->db, r, e);
    FAULT_POINT("after-upload-done-commit");
    return r;
}

int ledger_upload_retry(struct ledger *l, const struct upload_job *job, struct wall_time not_before,
                        const char *why, struct err *e)
{
    int64_t when = MIN(not_before.us, ledger_now().us + (int64_t)LEDGER_WAIT_MAX_S * 1000000);
    return end_attempt(l, job, "upload-failed",
                       "UPDATE uploads SET attempts = attempts + 1, not_before = ?, error = ?,"
                       " mark = ? WHERE " THIS_JOB " AND state = 0 RETURNING attempts",
                       MAX(when, (int64_t)1), why, e);
}

int ledger_upload_wait(struct ledger *l, const struct upload_job *job, struct wall_time not_before,
                       const char *why, struct err *e)
{
    int64_t when = MIN(not_before.us, ledger_now().us + (int64_t)LEDGER_WAIT_MAX_S * 1000000);
    return end_attempt(l, job, NULL, /* no story: it is not the file's */
                       "UPDATE uploads SET not_before = ?, error = ?, mark = ?"
                       " WHERE " THIS_JOB " AND state = 0 RETURNING attempts",
                       MAX(when, (int64_t)1), why, e);
}

int ledger_upload_dead(struct ledger *l, const struct upload_job *job, const char *why,
                       struct err *e)
{
    return end_attempt(l, job, NULL, /* the last failure stands in the row itself */
                       "UPDATE uploads SET attempts = attempts + 1, state = 2, finished_at = ?,"
                       " error = ?, mark = ? WHERE " THIS_JOB " AND state = 0 RETURNING attempts",
                       clock_wall().us, why, e);
}

int ledger_upload_damaged(struct ledger *l, int64_t row, const char *why, struct err *e)
{
    char cut[WHY_MAX];
    (void)text_copy(cut, sizeof(cut), why);
    int r = db_begin(l->db, e);
    if (r < 0)
        return r;
    {
        AUTO(db_query)
        q = db_query(l->db, "UPDATE uploads SET state = 2, finished_at = ?, error = ?"
                            " WHERE row = ? AND state = 0");
        db_bind_int(q, clock_wall().us);
        db_bind_text(q, cut);
        db_bind_int(q, row);
        r = db_run(q, e);
    }
    return db_finish(l->db, r, e);
}

static int end_attempt(struct ledger *l, const struct upload_job *job, const char *incident,
                       const char *sql, int64_t when, const char *why, struct err *e)
{
    char cut[WHY_MAX];
    (void)text_copy(cut, sizeof(cut), why);
    int r = db_begin(l->db, e);
    if (r < 0)
        return r;
    int64_t attempts = 0;
    {
        AUTO(db_query) q = db_query(l->db, sql);
        db_bind_int(q, when);
        db_bind_text(q, cut);
        db_bind_text_or_null(q, job->mark);
        db_bind_int(q, job->row);
        db_bind_text(q, job->snapshot_id);
        r = db_query_int(q, &attempts, e);
    }
    if (r == -ENODATA)
        r = err_set(e, -EALREADY, ERR_NEVER, "upload row %lld: no longer pending",
                    (long long)job->row);
    if (r == 0 && incident != NULL)
        r = incident_add(l, job->snapshot_id, attempts, incident, cut, e);
    FAULT_POINT("before-upload-retry-commit");
    return db_finish(l->db, r, e);
}

int ledger_upload_again(struct ledger *l, const char *snapshot_id, struct err *e)
{
    int r = db_begin(l->db, e);
    if (r < 0)
        return r;
    int64_t row = 0;
    int count = 0;
    {
        AUTO(db_query)
        find = db_query(l->db, "SELECT row FROM snapshots WHERE id = ? AND removed_at IS NULL"
                               " AND removed_why IS NULL");
        db_bind_text(find, snapshot_id);
        r = db_query_int(find, &row, e);
    }
    if (r == -ENODATA)
        r = err_set(e, -ENOENT, ERR_NEVER, "snapshot %s: there is no file of it", snapshot_id);
    if (r == 0) {
        /* Of copies only those that were drawn: the others have nothing to send. */
        AUTO(db_query)
        q = db_query(
            l->db,
            "UPDATE uploads SET state = 0, attempts = 0, not_before = 0,"
            " finished_at = NULL WHERE snapshot = ?1 AND state = 2 AND (annotated = 0 OR EXISTS"
            " (SELECT 1 FROM snapshots WHERE row = ?1 AND unsettled = 0"
            "  AND annotated_path IS NOT NULL))");
        db_bind_int(q, row);
        r = db_run(q, e);
        count = db_changes(l->db);
    }
    r = db_finish(l->db, r, e);
    return r < 0 ? r : count;
}

int ledger_upload_lost(struct ledger *l, int64_t row, bool gone, struct err *e)
{
    int r = db_begin(l->db, e);
    if (r < 0)
        return r;
    int64_t storage = 0;
    {
        AUTO(db_query)
        q = db_query(l->db,
                     "UPDATE uploads SET state = 0, not_before = 0, finished_at = NULL,"
                     " mark = iif(?, NULL, mark), url = NULL, star_due = 0 WHERE row = ?"
                     " AND state = 1"
                     " AND EXISTS (SELECT 1 FROM snapshots s WHERE s.row = snapshot"
                     "  AND s.removed_at IS NULL AND s.removed_why IS NULL AND s.unsettled = 0)"
                     " RETURNING storage");
        db_bind_int(q, gone);
        db_bind_int(q, row);
        r = db_query_int(q, &storage, e);
    }
    bool found = r == 0;
    r = found ? add_done(l, storage, -1, e) : r == -ENODATA ? 0 : r;
    r = db_finish(l->db, r, e);
    return r < 0 ? r : found;
}

/* ---- numbers and lists ---- */

int ledger_upload_kept(struct ledger *l, const char *storage, int64_t after_row,
                       struct upload_job *ret, int max, struct err *e)
{
    int64_t number;
    int r = name_find(l, NAME_STORAGE, storage, &number, e);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    AUTO(db_query)
    q = db_query(l->db, "SELECT " JOB_COLUMNS " FROM uploads u NOT INDEXED"
                        " JOIN snapshots s ON s.row = u.snapshot"
                        " WHERE u.row > ? AND u.storage = ? AND u.state = 1"
                        " ORDER BY u.row LIMIT ?");
    db_bind_int(q, after_row);
    db_bind_int(q, number);
    db_bind_int(q, max);
    return read_jobs(l, q, ret, max, e);
}

int ledger_upload_counts(struct ledger *l, const char *storage, struct upload_counts *ret,
                         struct err *e)
{
    AUTO(db_query)
    q = db_query(
        l->db,
        "SELECT t.done,"
        " (SELECT count(*) FROM uploads INDEXED BY uploads_fresh"
        "  WHERE storage = t.id AND state = 0 AND not_before = 0)"
        " + (SELECT count(*) FROM uploads INDEXED BY uploads_waiting"
        "  WHERE storage = t.id AND state = 0 AND not_before > 0)"
        " + (SELECT count(*) FROM uploads INDEXED BY uploads_awaited"
        "  WHERE storage = t.id AND state = 3),"
        " (SELECT count(*) FROM uploads INDEXED BY uploads_dead"
        "  WHERE storage = t.id AND state = 2),"
        /* Rows are made in the order of time; those that wait are few. */
        " (SELECT min(at) FROM ("
        "  SELECT created_at AS at FROM (SELECT created_at FROM uploads INDEXED BY uploads_fresh"
        "   WHERE storage = t.id AND state = 0 AND not_before = 0 ORDER BY row LIMIT 1)"
        "  UNION ALL SELECT min(created_at) FROM uploads INDEXED BY uploads_waiting"
        "   WHERE storage = t.id AND state = 0 AND not_before > 0"
        "  UNION ALL SELECT created_at FROM (SELECT created_at FROM uploads INDEXED BY"
        "   uploads_awaited WHERE storage = t.id AND state = 3 ORDER BY row LIMIT 1)))"
        " FROM storages t WHERE t.name = ?");
    db_bind_text(q, storage);
    int r = db_step(q, e);
    if (r < 0)
        return r;
    *ret = (struct upload_counts){0};
    if (r == 1)
        *ret = (struct upload_counts){.done = db_int(q, 0),
                                      .pending = db_int(q, 1),
                                      .dead = db_int(q, 2),
                                      .oldest_pending = {db_int(q, 3)}};
    return 0;
}

static int run_for_row(struct ledger *l, const char *sql, int64_t row, struct err *e);

int ledger_upload_storage(struct ledger *l, const char *after, char *ret, size_t size,
                          struct err *e)
{
    AUTO(db_query)
    q = db_query(l->db, "SELECT name FROM storages WHERE name > ? ORDER BY name LIMIT 1");
    db_bind_text(q, after);
    int r = db_step(q, e);
    if (r == 1)
        (void)text_copy(ret, size, db_text(q, 0)); /* the caller knows how long names are */
    return r;
}

int ledger_upload_forget(struct ledger *l, const char *storage, struct err *e)
{
    /* Its name stays, as all names do. */
    static const char *const steps[] = {"DELETE FROM uploads WHERE storage = ?",
                                        "DELETE FROM storage_memory WHERE storage = ?",
                                        "UPDATE storages SET done = 0 WHERE id = ?"};
    int r = db_begin(l->db, e);
    if (r < 0)
        return r;
    int64_t number = 0, waiting = 0;
    r = name_find(l, NAME_STORAGE, storage, &number, e);
    if (r == 0) {
        AUTO(db_query)
        q = db_query(l->db, "SELECT count(*) FROM uploads WHERE storage = ? AND state <> 1");
        db_bind_int(q, number);
        r = db_query_int(q, &waiting, e);
    }
    for (size_t i = 0; i < ARRAY_LEN(steps) && r == 0; i++)
        r = run_for_row(l, steps[i], number, e);
    r = db_finish(l->db, r, e);
    return r < 0 ? r : (int)MIN(waiting, INT_MAX);
}

/* ---- notes ---- */

int ledger_memory_get(struct ledger *l, const char *storage, const char *key, char *ret,
                      size_t size, struct err *e)
{
    AUTO(db_query)
    q = db_query(l->db, "SELECT m.value FROM storages t JOIN storage_memory m ON m.storage = t.id"
                        " WHERE t.name = ? AND m.key = ?");
    db_bind_text(q, storage);
    db_bind_text(q, key);
    int r = db_step(q, e);
    if (r < 0)
        return r;
    if (r == 0)
        return err_set(e, -ENOENT, ERR_NEVER, "%s: no note '%s'", storage, key);
    const char *value = db_text(q, 0);
    if (strlen(value) >= size)
        return err_set(e, -ENOSPC, ERR_NEVER, "%s: the note '%s' of %zu bytes does not fit",
                       storage, key, strlen(value));
    (void)text_copy(ret, size, value); /* fits */
    return 0;
}

int ledger_memory_set(struct ledger *l, const char *storage, const char *key, const char *value,
                      struct err *e)
{
    int r = db_begin(l->db, e);
    if (r < 0)
        return r;
    int64_t number;
    r = name_intern(l, NAME_STORAGE, storage, &number, e);
    if (r == 0) {
        AUTO(db_query)
        q = db_query(l->db,
                     value != NULL
                         ? "INSERT INTO storage_memory (storage, key, value) VALUES (?1, ?2, ?3)"
                           " ON CONFLICT (storage, key) DO UPDATE SET value = excluded.value"
                         : "DELETE FROM storage_memory WHERE storage = ? AND key = ?");
        db_bind_int(q, number);
        db_bind_text(q, key);
        if (value != NULL)
            db_bind_text(q, value);
        r = db_run(q, e);
    }
    return db_finish(l->db, r, e);
}

/* ---- stars ---- */

static int set_star(struct ledger *l, int64_t row, bool starred, struct err *e)
{
    int r = retention_count(l, row, -1, e);
    if (r < 0)
        return r;
    {
        AUTO(db_query) q = db_query(l->db, "UPDATE snapshots SET starred_at = ? WHERE row = ?");
        if (starred)
            db_bind_int(q, clock_wall().us);
        else
            db_bind_text(q, NULL);
        db_bind_int(q, row);
        r = db_run(q, e);
    }
    if (r == 0)
        r = retention_count(l, row, 1, e);
    if (r < 0)
        return r;
    /* What is not kept yet is told with the upload. */
    AUTO(db_query)
    q = db_query(l->db, "UPDATE uploads SET star_due = 1 WHERE snapshot = ? AND state = 1");
    db_bind_int(q, row);
    return db_run(q, e);
}

int ledger_snapshot_star(struct ledger *l, const char *id, bool starred, struct err *e)
{
    int r = db_begin(l->db, e);
    if (r < 0)
        return r;
    int64_t row = 0;
    bool is = false;
    {
        AUTO(db_query)
        q = db_query(l->db, "SELECT row, starred_at IS NOT NULL FROM snapshots WHERE id = ?");
        db_bind_text(q, id);
        r = db_step(q, e);
        if (r == 0)
            r = err_set(e, -ENOENT, ERR_NEVER, "snapshot %s: not recorded", id);
        if (r > 0) {
            row = db_int(q, 0);
            is = db_int(q, 1) != 0;
        }
    }
    if (r > 0)
        r = is == starred ? 0 : set_star(l, row, starred, e);
    return db_finish(l->db, r, e);
}

int ledger_upload_stars(struct ledger *l, const char *storage, int64_t after_row,
                        struct upload_job *ret, int max, struct err *e)
{
    int64_t number;
    int r = name_find(l, NAME_STORAGE, storage, &number, e);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    AUTO(db_query)
    q = db_query(l->db, "SELECT " JOB_COLUMNS " FROM uploads u INDEXED BY uploads_star"
                        " JOIN snapshots s ON s.row = u.snapshot"
                        " WHERE u.storage = ? AND u.star_due = 1 AND u.row > ?"
                        " ORDER BY u.row LIMIT ?");
    db_bind_int(q, number);
    db_bind_int(q, after_row);
    db_bind_int(q, max);
    return read_jobs(l, q, ret, max, e);
}

int ledger_upload_star_done(struct ledger *l, const struct upload_job *job, struct err *e)
{
    int r = db_begin(l->db, e);
    if (r < 0)
        return r;
    {
        /* Changed meanwhile: then it is still to be told. */
        AUTO(db_query)
        q = db_query(l->db, "UPDATE uploads SET star_due = 0 WHERE " THIS_JOB " AND star_due = 1"
                            " AND ? = (SELECT s.starred_at IS NOT NULL FROM snapshots s"
                            "  WHERE s.row = snapshot)");
        db_bind_int(q, job->row);
        db_bind_text(q, job->snapshot_id);
        db_bind_int(q, job->starred);
        r = db_run(q, e);
    }
    return db_finish(l->db, r, e);
}

/* ---- retention ---- */

int retention_count(struct ledger *l, int64_t row, int sign, struct err *e)
{
    AUTO(db_query)
    q = db_query(l->db, "INSERT INTO retention (camera, starred, person, files, bytes)"
                        " SELECT camera, starred_at IS NOT NULL, persons > 0, ?1,"
                        " ?1 * " RETENTION_BYTES " FROM snapshots"
                        " WHERE row = ?2 AND removed_at IS NULL"
                        " ON CONFLICT (camera, starred, person) DO UPDATE SET"
                        " files = files + excluded.files, bytes = bytes + excluded.bytes");
    db_bind_int(q, sign);
    db_bind_int(q, row);
    return db_run(q, e);
}

int ledger_retention_sums(struct ledger *l, const struct retention_class *c, const char *camera,
                          struct retention_sums *ret, struct err *e)
{
    AUTO(db_query)
    q = db_query(l->db, "SELECT coalesce(sum(files), 0), coalesce(sum(bytes), 0) FROM retention"
                        " WHERE ?1 IN (-1, starred) AND ?2 IN (-1, person) AND (?3 IS NULL OR"
                        " camera = (SELECT id FROM cameras WHERE name = ?3))");
    db_bind_int(q, c->starred);
    db_bind_int(q, c->person);
    db_bind_text(q, camera);
    int r = db_step(q, e);
    if (r < 0)
        return r;
    assert(r == 1);
    *ret = (struct retention_sums){.files = db_int(q, 0), .bytes = db_int(q, 1)};
    return 0;
}

/* A copy that could not be drawn is nothing to wait for: nobody can ask for it again. */
#define RETENTION_DELIVERED                                                                        \
    " AND s.state = 1 AND s.unsettled = 0"                                                         \
    " AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.snapshot = s.row AND o.state = 0)"            \
    " AND NOT EXISTS (SELECT 1 FROM uploads u WHERE u.snapshot = s.row AND u.state <> 1"           \
    "  AND NOT (u.state = 2 AND u.annotated = 1 AND s.annotated_path IS NULL))"

/* Of one of the four classes: each is a range of the index. */
static int retention_class_next(struct ledger *l, int starred, int person, int64_t camera,
                                struct wall_time before, bool delivered, int64_t after_row,
                                struct snapshot **ret, int max, struct err *e)
{
    char sql[1200];
    int n = text_format(
        sql, sizeof(sql),
        "SELECT " SNAPSHOT_COLUMNS " FROM snapshots s INDEXED BY snapshots_present" SNAPSHOT_NAMES
        "WHERE (s.starred_at IS NOT NULL) = %d AND (s.persons > 0) = %d"
        " AND s.removed_at IS NULL AND s.removed_why IS NULL AND s.row > ?%s%s%s"
        " ORDER BY s.row LIMIT ?",
        starred, person, before.us != 0 ? " AND s.received_at < ?" : "",
        camera != 0 ? " AND s.camera = ?" : "", delivered ? RETENTION_DELIVERED : "");
    assert(n > 0);
    AUTO(db_query) q = db_query(l->db, sql);
    db_bind_int(q, after_row);
    if (before.us != 0)
        db_bind_int(q, before.us);
    if (camera != 0)
        db_bind_int(q, camera);
    db_bind_int(q, max);
    return snapshots_read(l, q, ret, max, e);
}

static int by_row(const void *a, const void *b)
{
    const struct snapshot *const *x = a, *const *y = b;
    return ((*x)->row > (*y)->row) - ((*x)->row < (*y)->row);
}

int ledger_retention_next(struct ledger *l, const struct retention_class *c, const char *camera,
                          struct wall_time before, bool delivered, int64_t after_row,
                          struct snapshot **ret, int max, struct err *e)
{
    int64_t number = 0;
    int r = camera != NULL ? name_find(l, NAME_CAMERA, camera, &number, e) : 0;
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    r = db_begin_read(l->db, e);
    if (r < 0)
        return r;
    AUTO_FREE struct snapshot **found = xcalloc((size_t)max * 4, sizeof(struct snapshot *));
    int count = 0;
    for (int i = 0; i < 4 && r >= 0; i++) {
        int starred = i / 2, person = i % 2;
        if ((c->starred >= 0 && c->starred != starred) || (c->person >= 0 && c->person != person))
            continue;
        r = retention_class_next(l, starred, person, number, before, delivered, after_row,
                                 &found[count], max, e);
        count += MAX(r, 0);
    }
    db_end_read(l->db);
    qsort(found, (size_t)count, sizeof(struct snapshot *), by_row);
    int kept = r < 0 ? 0 : MIN(count, max);
    memcpy(ret, found, (size_t)kept * sizeof(struct snapshot *));
    for (int i = kept; i < count; i++)
        snapshot_unref(found[i]);
    return r < 0 ? r : kept;
}

int ledger_retention_camera(struct ledger *l, const char *after, char ret[SNAPSHOT_KEY_MAX],
                            struct err *e)
{
    AUTO(db_query)
    q = db_query(l->db, "SELECT name FROM cameras WHERE name > ? ORDER BY name LIMIT 1");
    db_bind_text(q, after);
    int r = db_step(q, e);
    if (r == 1)
        (void)text_copy(ret, SNAPSHOT_KEY_MAX, db_text(q, 0)); /* was a name of that size */
    return r;
}

int ledger_history_next(struct ledger *l, struct wall_time before, struct wall_time event_before,
                        bool pushed, int64_t *ret, int max, struct err *e)
{
    AUTO(db_query)
    q = db_query(l->db, "SELECT row FROM snapshots INDEXED BY snapshots_removed"
                        " WHERE removed_at IS NOT NULL AND removed_at < ?"
                        " AND event_at < ? AND source <= ? ORDER BY removed_at LIMIT ?");
    db_bind_int(q, before.us);
    db_bind_int(q, event_before.us);
    db_bind_int(q, pushed ? SNAPSHOT_SOURCE_COUNT : SNAPSHOT_FETCHED);
    db_bind_int(q, max);
    int count = 0, r;
    while ((r = db_step(q, e)) == 1)
        ret[count++] = db_int(q, 0);
    return r < 0 ? r : count;
}

static int run_for_row(struct ledger *l, const char *sql, int64_t row, struct err *e)
{
    AUTO(db_query) q = db_query(l->db, sql);
    db_bind_int(q, row);
    return db_run(q, e);
}

/* The trigger goes with its picture, and so do the words about both. */
static int forget(struct ledger *l, int64_t row, struct err *e)
{
    static const char *const steps[] = {
        ("UPDATE storages SET done = done - (SELECT count(*) FROM uploads u WHERE u.snapshot = ?1"
         " AND u.storage = storages.id AND u.state = 1)"
         " WHERE id IN (SELECT storage FROM uploads WHERE snapshot = ?1)"),
        "DELETE FROM uploads WHERE snapshot = ?",
        "DELETE FROM outbox WHERE snapshot = ?",
        "DELETE FROM sightings WHERE snapshot = ?",
        "DELETE FROM detections WHERE snapshot = ?",
        "DELETE FROM incidents WHERE subject = (SELECT id FROM snapshots WHERE row = ?)",
        "DELETE FROM triggers WHERE id = (SELECT id FROM snapshots WHERE row = ?)",
        "DELETE FROM snapshots WHERE row = ?",
    };
    int r = 0;
    for (size_t i = 0; i < ARRAY_LEN(steps) && r == 0; i++)
        r = run_for_row(l, steps[i], row, e);
    return r;
}

static int mark_removed(struct ledger *l, int64_t row, const char *why, struct err *e)
{
    {
        AUTO(db_query)
        q = db_query(l->db, "UPDATE snapshots SET removed_at = ?,"
                            " removed_why = coalesce(?, removed_why, ''),"
                            " again_at = NULL WHERE row = ? AND removed_at IS NULL");
        db_bind_int(q, clock_wall().us);
        db_bind_text(q, why);
        db_bind_int(q, row);
        int r = db_run(q, e);
        if (r < 0 || db_changes(l->db) == 0)
            return r;
    }
    AUTO(db_query)
    q = db_query(l->db, "UPDATE uploads SET state = 2, finished_at = ?1,"
                        " error = (SELECT 'the file was removed: ' || removed_why FROM snapshots"
                        "  WHERE row = ?2) WHERE snapshot = ?2 AND state IN (0, 3)");
    db_bind_int(q, clock_wall().us);
    db_bind_int(q, row);
    return db_run(q, e);
}

int ledger_snapshot_removed(struct ledger *l, const int64_t *rows, int count, const char *why,
                            bool forget_rows, struct err *e)
{
    char cut[WHY_MAX - 32];
    (void)text_copy(cut, sizeof(cut), why != NULL ? why : "");
    int r = db_begin(l->db, e);
    if (r < 0)
        return r;
    for (int i = 0; i < count && r == 0; i++) {
        r = retention_count(l, rows[i], -1, e);
        if (r == 0)
            r = forget_rows ? forget(l, rows[i], e)
                            : mark_removed(l, rows[i], why != NULL ? cut : NULL, e);
    }
    FAULT_POINT("before-removed-commit");
    return db_finish(l->db, r, e);
}
