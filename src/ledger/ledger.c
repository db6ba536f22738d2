/* Opening, checking and counting; and what the files of the ledger share. */

#include "ledger/ledger.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/mem.h"
#include "base/text.h"
#include "ledger/internal.h"
#include "ledger/schema.h"

static int count_rule(struct ledger *l, const char *sql, const char *what, struct dynbuf *report,
                      struct err *e);
static void report_finding(const char *text, void *arg);
static void anchor_clock(void);

static pthread_once_t clock_anchored = PTHREAD_ONCE_INIT;
static struct wall_time anchor_wall;
static struct mono_time anchor_mono;

int ledger_open(const char *path, struct ledger **ret, struct err *e)
{
    AUTO(ledger) l = xcalloc(1, sizeof(*l));
    int r = db_open(path, true, &l->db, e);
    if (r == 0)
        r = schema_migrate(l->db, e);
    if (r < 0)
        return err_prefix(e, "ledger"), r;
    *ret = STEAL(l);
    return 0;
}

void ledger_close(struct ledger *l)
{
    if (l == NULL)
        return;
    db_close(l->db);
    free(l);
}

struct wall_time ledger_now(void)
{
    (void)pthread_once(&clock_anchored, anchor_clock); /* fails only for a bad control block */
    return (struct wall_time){anchor_wall.us + mono_diff_us(clock_mono(), anchor_mono)};
}

/* Rules that hold between rows and that no constraint of the schema can say. */
static const struct {
    const char *what, *sql;
} rules[] = {
    {"triggers done without a snapshot",
     "SELECT t.id FROM triggers t WHERE t.state = 1"
     " AND NOT EXISTS (SELECT 1 FROM snapshots s WHERE s.id = t.id)"},
    {"triggers not done though their snapshot is recorded",
     "SELECT t.id FROM triggers t WHERE t.state != 1"
     " AND EXISTS (SELECT 1 FROM snapshots s WHERE s.id = t.id)"},
    {"triggers finished without a time",
     "SELECT id FROM triggers WHERE (state = 0) != (finished_at IS NULL)"},
    {"triggers that keep a login after their end",
     "SELECT id FROM triggers WHERE state != 0 AND coalesce(address, user, password) IS NOT NULL"},
    {"triggers with a login and no address",
     "SELECT id FROM triggers WHERE address IS NULL AND coalesce(user, password) IS NOT NULL"},
    {"snapshots of an unknown source", "SELECT id FROM snapshots WHERE source NOT BETWEEN 0 AND 1"},
    {"snapshots with an unknown outcome",
     "SELECT id FROM snapshots WHERE outcome NOT BETWEEN 0 AND 2"},
    {"snapshots with detections before they were examined",
     "SELECT id FROM snapshots s WHERE state = 0"
     " AND EXISTS (SELECT 1 FROM detections d WHERE d.snapshot = s.row)"},
    {"snapshots whose detections do not match their count",
     "SELECT id FROM snapshots s WHERE things !="
     " (SELECT count(*) FROM detections d WHERE d.snapshot = s.row)"},
    {"snapshots with an outbox before they were examined",
     "SELECT id FROM snapshots s WHERE state = 0"
     " AND EXISTS (SELECT 1 FROM outbox o WHERE o.snapshot = s.row)"},
    {"sightings at another time than their snapshot",
     "SELECT s.id FROM sightings g JOIN snapshots s ON s.row = g.snapshot"
     " WHERE g.event_at != s.event_at"},
    {"outbox rows of another camera than their snapshot",
     "SELECT s.id FROM outbox o JOIN snapshots s ON s.row = o.snapshot WHERE o.camera != s.camera"},
    {"outbox rows finished without a time",
     "SELECT s.id FROM outbox o JOIN snapshots s ON s.row = o.snapshot"
     " WHERE (o.state = 0) != (o.finished_at IS NULL)"},
    {"uploads before their snapshot was examined",
     "SELECT s.id FROM uploads u JOIN snapshots s ON s.row = u.snapshot WHERE s.state = 0"},
    {"uploads finished without a time",
     "SELECT s.id FROM uploads u JOIN snapshots s ON s.row = u.snapshot"
     " WHERE (u.state IN (1, 2)) != (u.finished_at IS NOT NULL)"},
    {"uploads of a copy that is not there",
     "SELECT s.id FROM uploads u JOIN snapshots s ON s.row = u.snapshot WHERE u.annotated"
     " AND u.state IN (0, 3) AND s.annotated_path IS NULL"},
    {"uploads that wait for a copy that is there",
     "SELECT s.id FROM uploads u JOIN snapshots s ON s.row = u.snapshot WHERE u.state = 3"
     " AND (s.unsettled = 0 OR NOT u.annotated)"},
    {"uploads that wait for a removed file",
     "SELECT s.id FROM uploads u JOIN snapshots s ON s.row = u.snapshot WHERE u.state IN (0, 3)"
     " AND s.removed_at IS NOT NULL"},
    {"storages whose count is wrong",
     "SELECT name FROM storages WHERE done !="
     " (SELECT count(*) FROM uploads WHERE storage = id AND state = 1)"},
    {"sums of present files that are wrong",
     "SELECT n.name FROM (SELECT * FROM retention WHERE files != 0 OR bytes != 0 EXCEPT"
     " " RETENTION_OF_HISTORY ") r JOIN cameras n ON n.id = r.camera"
     " UNION ALL SELECT n.name FROM (" RETENTION_OF_HISTORY
     " EXCEPT SELECT * FROM retention) r JOIN cameras n ON n.id = r.camera"},
    {"cameras whose sources are not noted",
     "SELECT n.name FROM (" SOURCES_OF_HISTORY
     " EXCEPT SELECT camera, source FROM sources) r JOIN cameras n ON n.id = r.camera"},
    {"snapshots to be examined again before they were examined, or without a file",
     "SELECT id FROM snapshots WHERE again_at IS NOT NULL AND (state = 0 OR removed_at IS NOT "
     "NULL)"},
    {"snapshots with an old copy that count as settled",
     "SELECT id FROM snapshots WHERE again_at <= 0 AND (unsettled = 0 OR annotated_path IS NULL)"},
    {"paths that two snapshots use",
     "SELECT a.id FROM snapshots a JOIN snapshots b ON a.annotated_path = b.path"},
};

int ledger_group_begin(struct ledger *l, struct err *e)
{
    return db_group_begin(l->db, e);
}

int ledger_group_end(struct ledger *l, struct err *e)
{
    FAULT_POINT("before-group-commit");
    int r = db_group_end(l->db, e);
    FAULT_POINT("after-group-commit");
    return r;
}

int ledger_integrity(struct ledger *l, struct dynbuf *report, struct err *e)
{
    int r = db_begin_read(l->db, e);
    if (r < 0)
        return r;
    int count = db_check(l->db, report_finding, report, e);
    for (size_t i = 0; i < ARRAY_LEN(rules) && count >= 0; i++) {
        r = count_rule(l, rules[i].sql, rules[i].what, report, e);
        count = r < 0 ? r : count + r;
    }
    db_end_read(l->db);
    return count;
}

static void report_finding(const char *text, void *arg)
{
    (void)dynbuf_printf(arg, "%s\n", text); /* a full report is marked as failed */
}

static int count_rule(struct ledger *l, const char *sql, const char *what, struct dynbuf *report,
                      struct err *e)
{
    AUTO(db_query) q = db_query(l->db, sql);
    char first[SNAPSHOT_ID_SIZE] = "";
    int count = 0, r;
    while ((r = db_step(q, e)) == 1) {
        if (count++ == 0)
            (void)text_copy(first, sizeof(first), db_text(q, 0)); /* damage may be longer */
    }
    if (r < 0)
        return r;
    if (count > 0)
        (void)dynbuf_printf(report, "%s: %d, the first is %s\n", what, count, first);
    return count;
}

int ledger_probe(struct ledger *l, struct err *e)
{
    int r = db_begin(l->db, e);
    if (r < 0)
        return r;
    /* The version is written over itself: a page goes to the disk and nobody sees a difference. */
    AUTO_FREE char *same = xasprintf("PRAGMA user_version = %d", LEDGER_VERSION);
    return db_finish(l->db, db_exec(l->db, same, e), e);
}

int ledger_counts(struct ledger *l, struct ledger_counts *ret, struct err *e)
{
    AUTO(db_query)
    q = db_query(l->db, "SELECT (SELECT count(*) FROM triggers WHERE state = 0),"
                        " (SELECT count(*) FROM triggers WHERE state = 2),"
                        " (SELECT count(*) FROM snapshots),"
                        " (SELECT count(*) FROM snapshots WHERE state = 0),"
                        " (SELECT count(*) FROM snapshots WHERE persons > 0),"
                        " (SELECT count(*) FROM outbox WHERE state = 0),"
                        " (SELECT count(*) FROM outbox WHERE state = 2)");
    int r = db_step(q, e);
    if (r < 0)
        return r;
    assert(r == 1);
    *ret = (struct ledger_counts){
        .triggers_pending = db_int(q, 0),
        .triggers_failed = db_int(q, 1),
        .snapshots = db_int(q, 2),
        .stored = db_int(q, 3),
        .examined = db_int(q, 2) - db_int(q, 3),
        .persons = db_int(q, 4),
        .outbox_pending = db_int(q, 5),
        .outbox_dead = db_int(q, 6),
    };
    return 0;
}

/* ---- shared by the files of the ledger ---- */

static const struct {
    const char *find, *add;
} name_sql[NAME_TABLE_COUNT] = {
    [NAME_CAMERA] = {"SELECT id FROM cameras WHERE name = ?",
                     "INSERT INTO cameras (name) VALUES (?)"},
    [NAME_LABEL] = {"SELECT id FROM labels WHERE name = ?", "INSERT INTO labels (name) VALUES (?)"},
    [NAME_MODEL] = {"SELECT id FROM models WHERE name = ?", "INSERT INTO models (name) VALUES (?)"},
    [NAME_DESTINATION] = {"SELECT id FROM destinations WHERE name = ?",
                          "INSERT INTO destinations (name) VALUES (?)"},
    [NAME_STORAGE] = {"SELECT id FROM storages WHERE name = ?",
                      "INSERT INTO storages (name) VALUES (?)"},
};

int name_find(struct ledger *l, enum name_table table, const char *name, int64_t *ret,
              struct err *e)
{
    AUTO(db_query) q = db_query(l->db, name_sql[table].find);
    db_bind_text(q, name);
    int r = db_query_int(q, ret, e);
    return r == -ENODATA ? -ENOENT : r;
}

int name_intern(struct ledger *l, enum name_table table, const char *name, int64_t *ret,
                struct err *e)
{
    int r = name_find(l, table, name, ret, e);
    if (r != -ENOENT)
        return r;
    AUTO(db_query) q = db_query(l->db, name_sql[table].add);
    db_bind_text(q, name);
    r = db_run(q, e);
    if (r == 0)
        *ret = db_last_row(l->db);
    return r;
}

int device_intern(struct ledger *l, const char *key, const char *label, int64_t *ret, struct err *e)
{
    AUTO(db_query) find = db_query(l->db, "SELECT id FROM devices WHERE key = ? AND label = ?");
    db_bind_text(find, key);
    db_bind_text(find, label);
    int r = db_query_int(find, ret, e);
    if (r != -ENODATA)
        return r;
    AUTO(db_query) add = db_query(l->db, "INSERT INTO devices (key, label) VALUES (?, ?)");
    db_bind_text(add, key);
    db_bind_text(add, label);
    r = db_run(add, e);
    if (r == 0)
        *ret = db_last_row(l->db);
    return r;
}

int column_copy(struct ledger *l, struct db_query *q, int column, char *dst, size_t size,
                struct err *e)
{
    if (!text_copy(dst, size, db_text(q, column)))
        return db_damaged(l->db, e, "a text of %zu bytes where at most %zu fit",
                          strlen(db_text(q, column)), size - 1);
    return 0;
}

int column_enum(struct ledger *l, struct db_query *q, int column, int count, int *ret,
                struct err *e)
{
    int64_t value = db_int(q, column);
    if (db_is_null(q, column) || value < 0 || value >= count)
        return db_damaged(l->db, e, "a row holds the impossible state %lld", (long long)value);
    *ret = (int)value;
    return 0;
}

int incident_add(struct ledger *l, const char *subject, int64_t nth, const char *what,
                 const char *detail, struct err *e)
{
    const char *sql = nth <= INCIDENTS_KEPT
                          ? "INSERT INTO incidents (at, what, detail, subject) VALUES (?, ?, ?, ?)"
                          : "UPDATE incidents SET at = ?, what = ?, detail = ? WHERE row ="
                            " (SELECT max(row) FROM incidents WHERE subject = ?)";
    AUTO(db_query) q = db_query(l->db, sql);
    db_bind_int(q, clock_wall().us);
    db_bind_text(q, what);
    db_bind_text(q, detail);
    db_bind_text(q, subject);
    return db_run(q, e);
}

int story_add(struct ledger *l, const char *id, const char *what, const char *detail, struct err *e)
{
    int64_t before = 0;
    {
        AUTO(db_query) q = db_query(l->db, "SELECT count(*) FROM incidents WHERE subject = ?");
        db_bind_text(q, id);
        int r = db_query_int(q, &before, e);
        if (r < 0)
            return r;
    }
    return incident_add(l, id, before + 1, what, detail, e);
}

bool wait_holds(int64_t not_before_us, struct wall_time now)
{
    return not_before_us > now.us && not_before_us - now.us <= (int64_t)LEDGER_WAIT_MAX_S * 1000000;
}

static void anchor_clock(void)
{
    anchor_wall = clock_wall();
    anchor_mono = clock_mono();
}
