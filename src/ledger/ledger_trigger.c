/* Triggers: wishes for a picture and how they ended. */

#include <assert.h>
#include <errno.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/text.h"
#include "ledger/internal.h"

#define TRIGGER_COLUMNS                                                                            \
    "t.row, t.id, c.name, d.key, d.label, t.origin, t.state, t.event_at, t.accepted_at,"           \
    " t.attempts, t.not_before, t.error, t.address, t.user, t.password"                            \
    " FROM triggers t JOIN cameras c ON c.id = t.camera JOIN devices d ON d.id = t.device "

static int insert(struct ledger *l, const struct trigger *t, int64_t *ret_row, struct err *e);
static int read_trigger(struct ledger *l, struct db_query *q, struct trigger *ret, struct err *e);
static int count_attempt(struct ledger *l, const struct trigger *t, bool incident, const char *sql,
                         int64_t when, const char *why, struct err *e);
static int gone(const struct trigger *t, struct err *e);

int ledger_trigger_add(struct ledger *l, struct trigger *t, struct err *e)
{
    assert(snapshot_id_valid(t->id));
    assert(t->origin < TRIGGER_ORIGIN_COUNT);
    if (t->camera[0] == '\0')
        return err_set(e, -EINVAL, ERR_NEVER, "trigger %s: names no camera", t->id);
    int r = db_begin(l->db, e);
    if (r < 0)
        return r;
    int64_t row = 0;
    r = insert(l, t, &row, e);
    FAULT_POINT("before-trigger-commit");
    r = db_finish(l->db, r, e);
    if (r < 0)
        return r;
    FAULT_POINT("after-trigger-commit");
    t->row = row;
    t->state = TRIGGER_PENDING;
    t->attempts = 0;
    return 0;
}

static int insert(struct ledger *l, const struct trigger *t, int64_t *ret_row, struct err *e)
{
    int64_t camera, device;
    int r = name_intern(l, NAME_CAMERA, t->camera, &camera, e);
    if (r < 0)
        return r;
    r = device_intern(l, t->device_key, t->device_label, &device, e);
    if (r < 0)
        return r;
    AUTO(db_query)
    q = db_query(l->db, "INSERT INTO triggers (id, camera, device, origin, state, event_at,"
                        " accepted_at, attempts, not_before, address, user, password)"
                        " VALUES (?, ?, ?, ?, 0, ?, ?, 0, ?, ?, ?, ?)"
                        " ON CONFLICT (id) DO NOTHING");
    db_bind_text(q, t->id);
    db_bind_int(q, camera);
    db_bind_int(q, device);
    db_bind_int(q, t->origin);
    db_bind_int(q, t->event_at.us);
    db_bind_int(q, t->accepted_at.us);
    db_bind_int(q, t->not_before.us != 0 ? t->not_before.us : t->accepted_at.us);
    db_bind_text_or_null(q, t->address);
    db_bind_text(q, t->address[0] ? t->user : NULL);
    db_bind_text(q, t->address[0] ? t->password : NULL);
    r = db_run(q, e);
    if (r < 0)
        return r;
    if (db_changes(l->db) == 0)
        return err_set(e, -EEXIST, ERR_NEVER, "trigger %s: known already", t->id);
    *ret_row = db_last_row(l->db);
    return 0;
}

int ledger_trigger_due(struct ledger *l, struct wall_time now, struct trigger *ret, int max,
                       struct err *e)
{
    /* One look-up per camera, so the cost does not grow with what waits. */
    AUTO(db_query)
    q = db_query(l->db, "SELECT " TRIGGER_COLUMNS "WHERE t.row IN (SELECT coalesce("
                        " (SELECT p.row FROM triggers p WHERE p.camera = a.id AND p.state = 0"
                        "  AND p.not_before <= ?1 ORDER BY p.not_before, p.row LIMIT 1),"
                        " (SELECT p.row FROM triggers p WHERE p.camera = a.id AND p.state = 0"
                        "  AND p.not_before > ?2 ORDER BY p.not_before, p.row LIMIT 1))"
                        " FROM cameras a) ORDER BY t.not_before, t.row LIMIT ?3");
    db_bind_int(q, now.us);
    db_bind_int(q, now.us + (int64_t)LEDGER_WAIT_MAX_S * 1000000);
    db_bind_int(q, max);
    int count = 0, r;
    while ((r = db_step(q, e)) == 1) {
        assert(count < max);
        r = read_trigger(l, q, &ret[count], e);
        if (r < 0)
            return r;
        count++;
    }
    return r < 0 ? r : count;
}

int ledger_trigger_next(struct ledger *l, struct wall_time *ret, struct err *e)
{
    AUTO(db_query)
    q = db_query(l->db, "SELECT min((SELECT min(p.not_before) FROM triggers p"
                        "  WHERE p.camera = a.id AND p.state = 0)),"
                        " max((SELECT max(p.not_before) FROM triggers p"
                        "  WHERE p.camera = a.id AND p.state = 0)) FROM cameras a");
    int r = db_step(q, e);
    if (r < 0)
        return r;
    if (db_is_null(q, 0))
        return err_set(e, -ENOENT, ERR_NEVER, "no trigger is pending");
    struct wall_time now = ledger_now();
    int64_t first = db_int(q, 0), last = db_int(q, 1);
    bool beyond = last > now.us && !wait_holds(last, now); /* due, see ledger_now() */
    ret->us = beyond ? MIN(first, now.us) : first;
    return 0;
}

int ledger_trigger_retry(struct ledger *l, const struct trigger *t, struct wall_time not_before,
                         const char *why, struct err *e)
{
    int64_t when = MIN(not_before.us, ledger_now().us + (int64_t)LEDGER_WAIT_MAX_S * 1000000);
    return count_attempt(l, t, true,
                         "UPDATE triggers SET attempts = attempts + 1, not_before = ?, error = ?"
                         " WHERE id = ? AND state = 0 RETURNING attempts",
                         when, why, e);
}

int ledger_trigger_fail(struct ledger *l, const struct trigger *t, const char *why, struct err *e)
{
    return count_attempt(l, t, false,
                         "UPDATE triggers SET attempts = attempts + 1, state = 2, finished_at = ?,"
                         " error = ?, address = NULL, user = NULL, password = NULL"
                         " WHERE id = ? AND state = 0 RETURNING attempts",
                         clock_wall().us, why, e);
}

static int count_attempt(struct ledger *l, const struct trigger *t, bool incident, const char *sql,
                         int64_t when, const char *why, struct err *e)
{
    char cut[TRIGGER_ERROR_MAX];
    (void)text_copy(cut, sizeof(cut), why); /* what fits is enough to understand */
    int r = db_begin(l->db, e);
    if (r < 0)
        return r;
    int64_t attempts = 0;
    {
        AUTO(db_query) q = db_query(l->db, sql);
        db_bind_int(q, when);
        db_bind_text(q, cut);
        db_bind_text(q, t->id);
        r = db_query_int(q, &attempts, e);
    }
    if (r == -ENODATA)
        r = gone(t, e);
    if (r == 0 && incident) /* the last failure stands in the row itself */
        r = incident_add(l, t->id, attempts, "fetch-failed", cut, e);
    FAULT_POINT("before-trigger-retry-commit");
    return db_finish(l->db, r, e);
}

static int gone(const struct trigger *t, struct err *e)
{
    return err_set(e, -EALREADY, ERR_NEVER, "trigger %s: no longer pending", t->id);
}

int ledger_trigger_get(struct ledger *l, const char *id, struct trigger *ret, struct err *e)
{
    AUTO(db_query) q = db_query(l->db, "SELECT " TRIGGER_COLUMNS "WHERE t.id = ?");
    db_bind_text(q, id);
    int r = db_step(q, e);
    if (r < 0)
        return r;
    if (r == 0)
        return err_set(e, -ENOENT, ERR_NEVER, "trigger %s: not known", id);
    return read_trigger(l, q, ret, e);
}

static int read_trigger(struct ledger *l, struct db_query *q, struct trigger *ret, struct err *e)
{
    struct trigger t = {
        .row = db_int(q, 0),
        .event_at = {db_int(q, 7)},
        .accepted_at = {db_int(q, 8)},
        .attempts = (int)MIN(db_int(q, 9), (int64_t)INT32_MAX),
        .not_before = {db_int(q, 10)},
    };
    int origin = 0, state = 0;
    int r = column_copy(l, q, 1, t.id, sizeof(t.id), e);
    if (r == 0)
        r = column_copy(l, q, 2, t.camera, sizeof(t.camera), e);
    if (r == 0)
        r = column_copy(l, q, 3, t.device_key, sizeof(t.device_key), e);
    if (r == 0)
        r = column_copy(l, q, 4, t.device_label, sizeof(t.device_label), e);
    if (r == 0)
        r = column_enum(l, q, 5, TRIGGER_ORIGIN_COUNT, &origin, e);
    if (r == 0)
        r = column_enum(l, q, 6, TRIGGER_STATE_COUNT, &state, e);
    if (r == 0)
        r = column_copy(l, q, 11, t.error, sizeof(t.error), e);
    if (r == 0)
        r = column_copy(l, q, 12, t.address, sizeof(t.address), e);
    if (r == 0)
        r = column_copy(l, q, 13, t.user, sizeof(t.user), e);
    if (r == 0)
        r = column_copy(l, q, 14, t.password, sizeof(t.password), e);
    if (r < 0)
        return r;
    if (!snapshot_id_valid(t.id) || t.attempts < 0)
        return db_damaged(l->db, e, "trigger row %lld is not possible", (long long)t.row);
    t.origin = (enum trigger_origin)origin;
    t.state = (enum trigger_state)state;
    *ret = t;
    return 0;
}
