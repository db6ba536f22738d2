/* Examining once more. again_at is the time of the wish; while an old copy is to be removed it is 0
 * when a new one will be drawn, and -1 when there will be none. */

#include "ledger/ledger_again.h"

#include <assert.h>
#include <errno.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/fsutil.h"
#include "base/text.h"
#include "ledger/internal.h"

/* ---- the wish ---- */

static int want(struct ledger *l, const char *id, struct err *e)
{
    int64_t row;
    {
        AUTO(db_query)
        q = db_query(l->db, "SELECT row, state, removed_at IS NOT NULL OR removed_why IS NOT NULL,"
                            " deleted_at IS NOT NULL, again_at IS NOT NULL FROM snapshots"
                            " WHERE id = ?");
        db_bind_text(q, id);
        int r = db_step(q, e);
        if (r < 0)
            return r;
        if (r == 0)
            return err_set(e, -ENOENT, ERR_NEVER, "snapshot %s: not recorded", id);
        if (db_int(q, 2) != 0)
            return err_set(e, -ESTALE, ERR_NEVER, "snapshot %s: its file is gone", id);
        if (db_int(q, 3) != 0)
            return err_set(e, -ECANCELED, ERR_NEVER, "snapshot %s: it is in the trash", id);
        if (db_int(q, 1) == SNAPSHOT_STORED || db_int(q, 4) != 0)
            return 0;
        row = db_int(q, 0);
    }
    AUTO(db_query) q = db_query(l->db, "UPDATE snapshots SET again_at = ? WHERE row = ?");
    db_bind_int(q, clock_wall().us);
    db_bind_int(q, row);
    int r = db_run(q, e);
    return r < 0 ? r : story_add(l, id, "wanted again", "to be examined once more", e);
}

int ledger_again_want(struct ledger *l, const char *id, struct err *e)
{
    int r = db_begin(l->db, e);
    if (r < 0)
        return r;
    r = want(l, id, e);
    FAULT_POINT("before-again-commit");
    return db_finish(l->db, r, e);
}

/* ---- who does it ---- */

/* One whose first files are still on their way is left alone until they are in place. */
#define AGAIN                                                                                      \
    "SELECT " SNAPSHOT_COLUMNS " FROM snapshots s%s" SNAPSHOT_NAMES                                \
    "WHERE s.again_at IS NOT NULL AND (s.again_at <= 0 OR s.unsettled = 0)"                        \
    " AND s.removed_at IS NULL AND s.removed_why IS NULL AND s.row "

int ledger_again_next(struct ledger *l, int64_t after_row, struct snapshot **ret, int max,
                      struct err *e)
{
    char sql[1024];
    int n = text_format(sql, sizeof(sql), AGAIN "> ? ORDER BY s.row LIMIT ?",
                        " INDEXED BY snapshots_again");
    assert(n > 0);
    AUTO(db_query) q = db_query(l->db, sql);
    db_bind_int(q, after_row);
    db_bind_int(q, max);
    return snapshots_read(l, q, ret, max, e);
}

int ledger_again_get(struct ledger *l, int64_t row, struct snapshot **ret, struct err *e)
{
    char sql[1024];
    int n = text_format(sql, sizeof(sql), AGAIN "= ?", "");
    assert(n > 0);
    AUTO(db_query) q = db_query(l->db, sql);
    db_bind_int(q, row);
    return snapshots_read(l, q, ret, 1, e);
}

/* ---- the verdict ---- */

/* What the story would lose. */
static int remember_first(struct ledger *l, const struct snapshot *s, struct err *e)
{
    char detail[256];
    {
        AUTO(db_query)
        q = db_query(l->db, "SELECT printf('before: %d persons, %d things, by %s', s.persons,"
                            " s.things, coalesce(m.name, 'nobody')) FROM snapshots s"
                            " LEFT JOIN models m ON m.id = s.model WHERE s.row = ?");
        db_bind_int(q, s->row);
        int r = db_step(q, e);
        if (r < 0)
            return r;
        (void)text_copy(detail, sizeof(detail), r == 1 ? db_text(q, 0) : ""); /* cut */
    }
    return story_add(l, s->id, "examined again", detail, e);
}

static int run_for_row(struct ledger *l, const char *sql, int64_t row, struct err *e)
{
    AUTO(db_query) q = db_query(l->db, sql);
    db_bind_int(q, row);
    return db_run(q, e);
}

static int check_wanted(struct ledger *l, const struct snapshot *s, bool *had_copy, struct err *e)
{
    AUTO(db_query)
    q = db_query(l->db, "SELECT annotated_path IS NOT NULL FROM snapshots WHERE row = ? AND id = ?"
                        " AND state = 1 AND again_at > 0 AND unsettled = 0"
                        " AND removed_at IS NULL AND removed_why IS NULL");
    db_bind_int(q, s->row);
    db_bind_text(q, s->id);
    int r = db_step(q, e);
    if (r == 0)
        return err_set(e, -EALREADY, ERR_NEVER, "snapshot %s: not to be examined again", s->id);
    if (r == 1)
        *had_copy = db_int(q, 0) != 0;
    return MIN(r, 0);
}

static int update(struct ledger *l, const struct snapshot *s, const struct verdict *v,
                  const char *annotated_path, bool had_copy, struct err *e)
{
    int64_t model = 0;
    int r = v->model[0] != '\0' ? name_intern(l, NAME_MODEL, v->model, &model, e) : 0;
    if (r < 0)
        return r;
    AUTO(db_query)
    q = db_query(l->db, "UPDATE snapshots SET " VERDICT_SET
                        ", annotated_path = coalesce(annotated_path, ?),"
                        " unsettled = ?, again_at = ? WHERE row = ?");
    verdict_bind(q, v, model);
    db_bind_text(q, annotated_path);
    db_bind_int(q, had_copy || annotated_path != NULL);
    if (had_copy)
        db_bind_int(q, annotated_path != NULL ? 0 : -1);
    else
        db_bind_text(q, NULL);
    db_bind_int(q, s->row);
    r = db_run(q, e);
    return r == -EEXIST ? err_set(e, -ENOTUNIQ, ERR_NEVER,
                                  "snapshot %s: '%s' is another one's name", s->id, annotated_path)
                        : r;
}

static int replace(struct ledger *l, const struct snapshot *s, const struct verdict *v,
                   const char *annotated_path, bool had_copy, struct err *e)
{
    int r = remember_first(l, s, e);
    if (r == 0)
        r = retention_count(l, s->row, -1, e);
    if (r == 0)
        r = run_for_row(l, "DELETE FROM detections WHERE snapshot = ?", s->row, e);
    if (r == 0)
        r = run_for_row(l, "DELETE FROM sightings WHERE snapshot = ?", s->row, e);
    if (r == 0)
        r = update(l, s, v, annotated_path, had_copy, e);
    if (r == 0)
        r = detections_insert(l, s, v, e);
    if (r == 0)
        r = retention_count(l, s->row, 1, e);
    if (r < 0)
        return r;
    return annotated_path != NULL ? uploads_copy_awaited(l, s->row, e)
                                  : uploads_copy_dropped(l, s->row, e);
}

/* A detector that is off or fails knows less than the old verdict. */
static int keep_first(struct ledger *l, const struct snapshot *s, const struct verdict *v,
                      struct err *e)
{
    int r = run_for_row(l, "UPDATE snapshots SET again_at = NULL WHERE row = ?", s->row, e);
    return r < 0 ? r
                 : story_add(l, s->id, "not examined again",
                             v->error[0] != '\0'             ? v->error
                             : v->outcome == VERDICT_SKIPPED ? "detection is off"
                                                             : "",
                             e);
}

int ledger_again_examined(struct ledger *l, const struct snapshot *s, const struct verdict *v,
                          const char *annotated_path, struct err *e)
{
    assert(s->row > 0 && v->found.count <= DETECTION_COUNT_MAX);
    const char *copy = annotated_path != NULL && annotated_path[0] != '\0' ? annotated_path : NULL;
    if (copy != NULL && !fs_path_is_plain(copy))
        return err_set(e, -EINVAL, ERR_NEVER, "snapshot %s: a path outside the store", s->id);
    bool had_copy = false;
    int r = db_begin(l->db, e);
    if (r < 0)
        return r;
    r = check_wanted(l, s, &had_copy, e);
    if (r == 0)
        r = v->outcome == VERDICT_EXAMINED ? replace(l, s, v, copy, had_copy, e)
                                           : keep_first(l, s, v, e);
    FAULT_POINT("before-again-examined-commit");
    r = db_finish(l->db, r, e);
    FAULT_POINT("after-again-examined-commit");
    return r < 0 ? r : had_copy && v->outcome == VERDICT_EXAMINED;
}

/* The row names the copy until it is gone, so that no file is left that nobody knows of. */
static int clear(struct ledger *l, int64_t row, struct err *e)
{
    int r = retention_count(l, row, -1, e);
    if (r == 0)
        r = run_for_row(l,
                        "UPDATE snapshots SET again_at = NULL, annotated_path = NULL,"
                        " unsettled = 0 WHERE row = ? AND again_at = -1",
                        row, e);
    if (r == 0)
        r = run_for_row(l, "UPDATE snapshots SET again_at = NULL WHERE row = ? AND again_at = 0",
                        row, e);
    return r < 0 ? r : retention_count(l, row, 1, e);
}

int ledger_again_cleared(struct ledger *l, int64_t row, struct err *e)
{
    int r = db_begin(l->db, e);
    if (r < 0)
        return r;
    r = clear(l, row, e);
    FAULT_POINT("before-again-cleared-commit");
    return db_finish(l->db, r, e);
}
