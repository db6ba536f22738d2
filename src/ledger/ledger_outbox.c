/* The outbox: what each destination still has to hear, in order per camera; and the life story that
 * is read out of what the transitions left behind. */

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/mem.h"
#include "base/text.h"
#include "ledger/internal.h"

/* Cameras that one destination may have rows for; far above any installation. */
#define CAMERAS_MAX 65536

/* Rows that are given up in one transaction: it must not keep the other writers waiting. */
#define EXPIRE_MAX 500

/* The first pending row of one camera that is not chosen yet. */
struct head {
    int64_t camera, row, not_before, created_at;
    int chosen; /* rows before it */
};

static int read_heads(struct ledger *l, const char *destination, int64_t *ret_destination,
                      struct head **ret, int *ret_count, struct err *e);
static int next_of_camera(struct ledger *l, int64_t destination, struct head *h, struct err *e);
static int read_item(struct ledger *l, int64_t row, struct outbox_item *ret, struct err *e);
static int count_attempt(struct ledger *l, const struct outbox_item *item, bool incident,
                         const char *sql, int64_t when, const char *why, struct err *e);

int ledger_outbox_due(struct ledger *l, const char *destination, struct wall_time now,
                      struct outbox_item *ret, int max, struct err *e)
{
    int r = db_begin_read(l->db, e);
    if (r < 0)
        return r;
    AUTO_FREE struct head *heads = NULL;
    int64_t number = 0;
    int heads_count = 0, count = 0;
    r = read_heads(l, destination, &number, &heads, &heads_count, e);
    /* Each camera's queue stops at its first row that must wait, however long it is; that keeps the
     * order and the cost at one look-up per row that goes out. */
    while (r == 0 && count < max) {
        struct head *first = NULL;
        for (int i = 0; i < heads_count; i++) {
            struct head *h = &heads[i];
            if (h->row == 0 || wait_holds(h->not_before, now))
                continue;
            if (first == NULL || h->chosen < first->chosen ||
                (h->chosen == first->chosen && h->row < first->row))
                first = h;
        }
        if (first == NULL)
            break;
        r = read_item(l, first->row, &ret[count], e);
        if (r == 0)
            r = next_of_camera(l, number, first, e);
        count++;
    }
    db_end_read(l->db);
    return r < 0 ? r : count;
}

int ledger_outbox_next(struct ledger *l, const char *destination, struct wall_time *ret,
                       struct err *e)
{
    int r = db_begin_read(l->db, e);
    if (r < 0)
        return r;
    AUTO_FREE struct head *heads = NULL;
    int64_t number = 0;
    int count = 0;
    r = read_heads(l, destination, &number, &heads, &count, e);
    db_end_read(l->db);
    if (r < 0)
        return r;
    if (count == 0)
        return err_set(e, -ENOENT, ERR_NEVER, "nothing is pending for '%s'", destination);
    struct wall_time now = ledger_now();
    int64_t next = INT64_MAX;
    for (int i = 0; i < count; i++) {
        int64_t when = heads[i].not_before;
        if (!wait_holds(when, now))
            when = MIN(when, now.us);
        next = MIN(next, when);
    }
    ret->us = next;
    return 0;
}

/* *ret is a malloc()ed list of the cameras that have a pending row; none for an unknown
 * destination.
 */
static int read_heads(struct ledger *l, const char *destination, int64_t *ret_destination,
                      struct head **ret, int *ret_count, struct err *e)
{
    int r = name_find(l, NAME_DESTINATION, destination, ret_destination, e);
    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return r;
    AUTO(db_query)
    q = db_query(
        l->db,
        "SELECT c.id, o.row, o.not_before, o.created_at FROM cameras c JOIN outbox o ON o.row ="
        " (SELECT p.row FROM outbox p WHERE p.destination = ? AND p.camera = c.id"
        " AND p.state = 0 ORDER BY p.row LIMIT 1)");
    db_bind_int(q, *ret_destination);
    size_t count = 0, room = 0;
    while ((r = db_step(q, e)) == 1) {
        if (count == room) {
            room = MAX(room * 2, (size_t)16);
            struct head *more =
                mem_try_realloc(*ret, room, sizeof(**ret), CAMERAS_MAX * sizeof(**ret));
            if (more == NULL)
                return err_errno(e, -ENOMEM, "outbox of '%s'", destination);
            *ret = more;
        }
        (*ret)[count++] = (struct head){db_int(q, 0), db_int(q, 1), db_int(q, 2), db_int(q, 3), 0};
    }
    *ret_count = (int)count;
    return r;
}

/* Row 0 when the camera has no further one. */
static int next_of_camera(struct ledger *l, int64_t destination, struct head *h, struct err *e)
{
    AUTO(db_query)
    q = db_query(l->db, "SELECT row, not_before, created_at FROM outbox WHERE destination = ?"
                        " AND camera = ?"
                        " AND state = 0 AND row > ? ORDER BY row LIMIT 1");
    db_bind_int(q, destination);
    db_bind_int(q, h->camera);
    db_bind_int(q, h->row);
    int r = db_step(q, e);
    if (r < 0)
        return r;
    h->row = r == 1 ? db_int(q, 0) : 0;
    h->not_before = r == 1 ? db_int(q, 1) : 0;
    h->created_at = r == 1 ? db_int(q, 2) : 0;
    h->chosen++;
    return 0;
}

static int read_item(struct ledger *l, int64_t row, struct outbox_item *ret, struct err *e)
{
    AUTO(db_query)
    q = db_query(l->db, "SELECT o.row, s.id, c.name, o.attempts, o.created_at FROM outbox o"
                        " JOIN snapshots s ON s.row = o.snapshot"
                        " JOIN cameras c ON c.id = o.camera WHERE o.row = ?");
    db_bind_int(q, row);
    int r = db_step(q, e);
    if (r < 0)
        return r;
    if (r == 0)
        return db_damaged(l->db, e, "outbox row %lld refers to nothing", (long long)row);
    struct outbox_item item = {
        .row = db_int(q, 0),
        .attempts = (int)MIN(db_int(q, 3), (int64_t)INT32_MAX),
        .created_at = {db_int(q, 4)},
    };
    r = column_copy(l, q, 1, item.snapshot_id, sizeof(item.snapshot_id), e);
    if (r == 0)
        r = column_copy(l, q, 2, item.camera, sizeof(item.camera), e);
    if (r < 0)
        return r;
    if (!snapshot_id_valid(item.snapshot_id) || item.attempts < 0)
        return db_damaged(l->db, e, "outbox row %lld is not possible", (long long)row);
    *ret = item;
    return 0;
}

struct expired {
    int64_t row;
    bool old; /* else there are too many */
};

static int count_rows(struct ledger *l, int64_t destination, int state, int64_t *ret, struct err *e)
{
    AUTO(db_query)
    q = db_query(l->db, state == 0
                            ? "SELECT count(*) FROM outbox WHERE destination = ? AND state = 0"
                            : "SELECT count(*) FROM outbox WHERE destination = ? AND state = 2");
    db_bind_int(q, destination);
    return db_query_int(q, ret, e);
}

/* Outside of any write transaction, since counting takes its time. */
static int find_expired(struct ledger *l, const char *destination, struct wall_time before,
                        int64_t keep, struct expired *ret, int max, struct err *e)
{
    AUTO_FREE struct head *heads = NULL;
    int64_t number = 0, pending = 0;
    int heads_count = 0, count = 0;
    int r = read_heads(l, destination, &number, &heads, &heads_count, e);
    if (r == 0 && keep && heads_count)
        r = count_rows(l, number, 0, &pending, e);
    int64_t surplus = keep ? pending - keep : 0;
    while (r == 0 && count < max) {
        struct head *oldest = NULL;
        for (int i = 0; i < heads_count; i++)
            if (heads[i].row != 0 && (oldest == NULL || heads[i].row < oldest->row))
                oldest = &heads[i];
        bool old = oldest && oldest->created_at < before.us;
        if (!oldest || (!old && count >= surplus))
            break;
        ret[count++] = (struct expired){oldest->row, old};
        r = next_of_camera(l, number, oldest, e);
    }
    return r < 0 ? r : count;
}

int ledger_outbox_expire(struct ledger *l, const char *destination, struct wall_time before,
                         int64_t keep, struct err *e)
{
    struct expired rows[EXPIRE_MAX];
    int r = db_begin_read(l->db, e);
    if (r < 0)
        return r;
    int count = find_expired(l, destination, before, keep, rows, EXPIRE_MAX, e);
    db_end_read(l->db);
    if (count <= 0)
        return count;
    r = db_begin(l->db, e);
    if (r < 0)
        return r;
    {
        AUTO(db_query)
        q = db_query(l->db, "UPDATE outbox SET state = 2, finished_at = ?, error = ?"
                            " WHERE row = ? AND state = 0");
        for (int i = 0; i < count && r == 0; i++) {
            db_bind_int(q, clock_wall().us);
            db_bind_text(q, rows[i].old ? "waited for longer than is allowed"
                                        : "more events wait than are allowed");
            db_bind_int(q, rows[i].row);
            r = db_run(q, e);
        }
    }
    r = db_finish(l->db, r, e);
    return r < 0 ? r : count;
}

/* Rows are made in the order of time. */
static int oldest_row(struct ledger *l, int64_t destination, struct wall_time *ret, struct err *e)
{
    AUTO(db_query)
    q = db_query(l->db, "SELECT created_at FROM outbox WHERE row ="
                        " (SELECT min(row) FROM outbox WHERE destination = ? AND state = 0)");
    db_bind_int(q, destination);
    int r = db_query_int(q, &ret->us, e);
    return r == -ENODATA ? 0 : r;
}

int ledger_outbox_counts(struct ledger *l, const char *destination, struct outbox_counts *ret,
                         struct err *e)
{
    int64_t number;
    struct outbox_counts c = {0};
    int r = name_find(l, NAME_DESTINATION, destination, &number, e);
    if (r == 0)
        r = count_rows(l, number, 0, &c.pending, e);
    if (r == 0)
        r = count_rows(l, number, 2, &c.dead, e);
    if (r == 0)
        r = oldest_row(l, number, &c.oldest_pending, e);
    if (r < 0 && r != -ENOENT)
        return r;
    *ret = c;
    return 0;
}

int ledger_outbox_done(struct ledger *l, const struct outbox_item *items, int count, struct err *e)
{
    if (count == 0)
        return 0;
    int r = db_begin(l->db, e);
    if (r < 0)
        return r;
    {
        AUTO(db_query)
        q = db_query(l->db, "UPDATE outbox SET state = 1, finished_at = ?, attempts = attempts + 1"
                            " WHERE row = ? AND state = 0");
        for (int i = 0; i < count && r == 0; i++) {
            db_bind_int(q, clock_wall().us);
            db_bind_int(q, items[i].row);
            r = db_run(q, e);
        }
    }
    FAULT_POINT("before-outbox-done-commit");
    r = db_finish(l->db, r, e);
    FAULT_POINT("after-outbox-done-commit");
    return r;
}

int ledger_outbox_retry(struct ledger *l, const struct outbox_item *item,
                        struct wall_time not_before, const char *why, struct err *e)
{
    int64_t when = MIN(not_before.us, ledger_now().us + (int64_t)LEDGER_WAIT_MAX_S * 1000000);
    return count_attempt(l, item, true,
                         "UPDATE outbox SET attempts = attempts + 1, not_before = ?, error = ?"
                         " WHERE row = ? AND state = 0 RETURNING attempts",
                         when, why, e);
}

int ledger_outbox_dead(struct ledger *l, const struct outbox_item *item, const char *why,
                       struct err *e)
{
    return count_attempt(l, item, false,
                         "UPDATE outbox SET attempts = attempts + 1, state = 2, finished_at = ?,"
                         " error = ? WHERE row = ? AND state = 0 RETURNING attempts",
                         clock_wall().us, why, e);
}

static int count_attempt(struct ledger *l, const struct outbox_item *item, bool incident,
                         const char *sql, int64_t when, const char *why, struct err *e)
{
    char cut[256];
    (void)text_copy(cut, sizeof(cut), why); /* what fits is enough to understand */
    int r = db_begin(l->db, e);
    if (r < 0)
        return r;
    int64_t attempts = 0;
    {
        AUTO(db_query) q = db_query(l->db, sql);
        db_bind_int(q, when);
        db_bind_text(q, cut);
        db_bind_int(q, item->row);
        r = db_query_int(q, &attempts, e);
    }
    if (r == -ENODATA)
        r = err_set(e, -EALREADY, ERR_NEVER, "outbox row %lld: no longer pending",
                    (long long)item->row);
    if (r == 0 && incident) /* the last failure stands in the row itself */
        r = incident_add(l, item->snapshot_id, attempts, "delivery-failed", cut, e);
    FAULT_POINT("before-outbox-retry-commit");
    return db_finish(l->db, r, e);
}

/* ---- life story ---- */

int ledger_story(struct ledger *l, const char *id, struct ledger_story *ret, int max, struct err *e)
{
    /* One branch per fact that some transition wrote for its own sake; only failures have rows of
     * their own. `step` keeps the order of facts of the same microsecond. */
    AUTO(db_query)
    q = db_query(
        l->db,
        "SELECT accepted_at AS at, 0 AS step, 'triggered' AS what,"
        "  CASE origin WHEN 0 THEN 'api' WHEN 1 THEN 'schedule' ELSE 'amqp' END AS detail"
        " FROM triggers WHERE id = ?1"
        " UNION ALL SELECT finished_at, 8, 'failed',"
        "  printf('after %d attempts: %s', attempts, error) FROM triggers WHERE id = ?1"
        "  AND state = 2"
        " UNION ALL SELECT at, 1, what, detail FROM incidents WHERE subject = ?1"
        " UNION ALL SELECT received_at, 2, iif(source = 0, 'fetched', 'received'),"
        "  printf('%d bytes %s, %d x %d', size, format, width, height)"
        "  || iif(source = 0, printf(', in %.0f ms', fetch_ms), '')"
        "  FROM snapshots WHERE id = ?1"
        " UNION ALL SELECT stored_at, 3, 'stored', coalesce(previous_path, path) FROM snapshots"
        "  WHERE id = ?1"
        " UNION ALL SELECT s.examined_at, 4,"
        "  CASE s.outcome WHEN 0 THEN 'examined' WHEN 1 THEN 'not examined'"
        "   ELSE 'examination failed' END,"
        "  CASE s.outcome WHEN 0 THEN printf('%d persons, %d things, by %s in %.0f ms', s.persons,"
        "    s.things, m.name, s.decode_ms + s.infer_ms) WHEN 1 THEN 'detection is off'"
        "   ELSE coalesce(s.error, '') END"
        "  FROM snapshots s LEFT JOIN models m ON m.id = s.model WHERE s.id = ?1 AND s.state = 1"
        " UNION ALL SELECT o.finished_at, 6, iif(o.state = 1, 'delivered', 'not delivered'),"
        "  printf('%s, attempt %d', d.name, o.attempts)"
        "  || iif(o.state = 2, ': ' || coalesce(o.error, ''), '')"
        "  FROM outbox o JOIN snapshots s ON s.row = o.snapshot"
        "  JOIN destinations d ON d.id = o.destination WHERE s.id = ?1 AND o.state != 0"
        " UNION ALL SELECT u.finished_at, 7, iif(u.state = 1, 'kept', 'not kept'),"
        "  printf('in %s%s, attempt %d', t.name, iif(u.annotated, ', the copy with boxes', ''),"
        "   u.attempts) || iif(u.state = 2, ': ' || coalesce(u.error, ''), '')"
        "  FROM uploads u JOIN snapshots s ON s.row = u.snapshot"
        "  JOIN storages t ON t.id = u.storage WHERE s.id = ?1 AND u.state IN (1, 2)"
        " UNION ALL SELECT removed_at, 9, 'removed', coalesce(removed_why, '') FROM snapshots"
        "  WHERE id = ?1 AND removed_at IS NOT NULL"
        " ORDER BY at, step LIMIT ?2");
    db_bind_text(q, id);
    db_bind_int(q, max);
    int count = 0, r;
    while ((r = db_step(q, e)) == 1) {
        assert(count < max);
        struct ledger_story *s = &ret[count++];
        s->at.us = db_int(q, 0);
        (void)text_copy(s->what, sizeof(s->what), db_text(q, 2)); /* for reading: what fits */
        (void)text_copy(s->detail, sizeof(s->detail), db_text(q, 3));
    }
    if (r < 0)
        return r;
    if (count == 0)
        return err_set(e, -ENOENT, ERR_NEVER, "snapshot %s: not known", id);
    return count;
}
