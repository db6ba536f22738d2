/* The trash, and the first step of every removal. */

#include "ledger/ledger_trash.h"

#include <errno.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/text.h"
#include "ledger/internal.h"

#define WHY_MAX 224 /* as for removed_why */

struct found {
    int64_t row;
    bool starred, deleted, leaves;
};

static int find(struct ledger *l, const char *id, struct found *ret, struct err *e)
{
    AUTO(db_query)
    q = db_query(l->db, "SELECT row, starred_at IS NOT NULL, deleted_at IS NOT NULL,"
                        " removed_at IS NOT NULL OR removed_why IS NOT NULL FROM snapshots"
                        " WHERE id = ?");
    db_bind_text(q, id);
    int r = db_step(q, e);
    if (r == 0)
        return err_set(e, -ENOENT, ERR_NEVER, "snapshot %s: not recorded", id);
    if (r < 0)
        return r;
    *ret = (struct found){.row = db_int(q, 0),
                          .starred = db_int(q, 1) != 0,
                          .deleted = db_int(q, 2) != 0,
                          .leaves = db_int(q, 3) != 0};
    return 0;
}

static int set_deleted(struct ledger *l, int64_t row, int64_t at_us, struct err *e)
{
    AUTO(db_query)
    q = db_query(l->db, "UPDATE snapshots SET deleted_at = nullif(?, 0) WHERE row = ?");
    db_bind_int(q, at_us);
    db_bind_int(q, row);
    return db_run(q, e);
}

static int delete_found(struct ledger *l, const char *id, const struct found *f, bool force,
                        struct err *e)
{
    if (f->leaves)
        return err_set(e, -ESTALE, ERR_NEVER, "snapshot %s: its files are gone already", id);
    if (f->deleted)
        return 0;
    if (f->starred && !force)
        return err_set(e, -EPERM, ERR_NEVER, "snapshot %s: it has a star", id);
    int r = set_deleted(l, f->row, ledger_now().us, e);
    return r < 0 ? r : story_add(l, id, "deleted", "in the trash", e);
}

static int undelete_found(struct ledger *l, const char *id, const struct found *f, struct err *e)
{
    if (f->leaves)
        return err_set(e, -ESTALE, ERR_NEVER, "snapshot %s: its files are gone", id);
    if (!f->deleted)
        return 0;
    int r = set_deleted(l, f->row, 0, e);
    return r < 0 ? r : story_add(l, id, "undeleted", "out of the trash", e);
}

int ledger_snapshot_delete(struct ledger *l, const char *id, bool force, struct err *e)
{
    struct found f;
    int r = db_begin(l->db, e);
    if (r < 0)
        return r;
    r = find(l, id, &f, e);
    if (r == 0)
        r = delete_found(l, id, &f, force, e);
    FAULT_POINT("before-delete-commit");
    return db_finish(l->db, r, e);
}

int ledger_snapshot_undelete(struct ledger *l, const char *id, struct err *e)
{
    struct found f;
    int r = db_begin(l->db, e);
    if (r < 0)
        return r;
    r = find(l, id, &f, e);
    if (r == 0)
        r = undelete_found(l, id, &f, e);
    FAULT_POINT("before-undelete-commit");
    return db_finish(l->db, r, e);
}

int ledger_trash_next(struct ledger *l, struct wall_time before, struct snapshot **ret, int max,
                      struct err *e)
{
    AUTO(db_query)
    q = db_query(l->db, "SELECT " SNAPSHOT_COLUMNS
                        " FROM snapshots s INDEXED BY snapshots_purge" SNAPSHOT_NAMES
                        "WHERE " SNAPSHOTS_TRASH " AND s.deleted_at <= ? AND s.state = 1"
                        " AND s.unsettled = 0 AND s.removed_why IS NULL"
                        " ORDER BY s.deleted_at, s.row LIMIT ?");
    db_bind_int(q, before.us);
    db_bind_int(q, max);
    return snapshots_read(l, q, ret, max, e);
}

int ledger_snapshot_leave(struct ledger *l, int64_t *rows, int count, enum leave_terms terms,
                          const char *why, struct err *e)
{
    static const char *const sql[] = {
#define LEAVE                                                                                      \
    "UPDATE snapshots SET removed_why = ?, again_at = NULL WHERE row = ? AND state = 1"            \
    " AND unsettled = 0 AND removed_at IS NULL AND removed_why IS NULL"
        [LEAVE_UNSTARRED] = LEAVE " AND starred_at IS NULL",
        [LEAVE_ANY] = LEAVE,
        [LEAVE_TRASH] = LEAVE " AND deleted_at IS NOT NULL",
    };
    char cut[WHY_MAX];
    (void)text_copy(cut, sizeof(cut), why);
    int r = db_begin(l->db, e);
    if (r < 0)
        return r;
    int kept = 0;
    {
        AUTO(db_query) q = db_query(l->db, sql[terms]);
        for (int i = 0; i < count && r == 0; i++) {
            db_bind_text(q, cut);
            db_bind_int(q, rows[i]);
            r = db_run(q, e);
            if (r == 0 && db_changes(l->db) == 1)
                rows[kept++] = rows[i];
        }
    }
    FAULT_POINT("before-leave-commit");
    r = db_finish(l->db, r, e);
    return r < 0 ? r : kept;
}

int ledger_leaving_next(struct ledger *l, int64_t after_row, struct snapshot **ret, int max,
                        struct err *e)
{
    AUTO(db_query)
    q = db_query(l->db, "SELECT " SNAPSHOT_COLUMNS
                        " FROM snapshots s INDEXED BY snapshots_leaving" SNAPSHOT_NAMES
                        "WHERE " SNAPSHOTS_LEAVING " AND s.row > ? ORDER BY s.row LIMIT ?");
    db_bind_int(q, after_row);
    db_bind_int(q, max);
    return snapshots_read(l, q, ret, max, e);
}
