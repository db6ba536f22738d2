/* Saves what can be read of a damaged ledger into a new one.
 *
 * sqlite3's own ".recover" does this for any database, but it needs a table-valued function that
 * several distributions leave out of their build (Debian 12's answers "SQL logic error"), and it
 * knows nothing of rules between rows. Here every table is walked by its row number; where a page
 * cannot be read the walk goes on behind it. What refers to lost rows is then mended or dropped, so
 * that the result passes ledger_integrity(). The damaged file is not changed. */

#include <assert.h>
#include <errno.h>
#include <unistd.h>

#include "base/macros.h"
#include "base/text.h"
#include "ledger/internal.h"
#include "ledger/schema.h"

/* A page holds at most some hundred rows: so many single steps are tried behind a row that cannot
 * be read, before the steps double. */
#define SINGLE_STEPS 512

static int copy_all(struct db *from, struct db *to, struct ledger_rescue *count, struct err *e);
static int copy_table(struct db *from, struct db *to, const char *table, const char *key,
                      int64_t *rows, int64_t *gaps, struct err *e);
static int copy_rows(struct db *from, struct db *to, const char *table, const char *key,
                     int64_t *last, int64_t *rows, struct err *e);
static int copy_detections(struct db *from, struct db *to, int64_t *rows, int64_t *gaps,
                           struct err *e);
static int copy_row(struct db *to, const char *table, struct db_query *row, int64_t *rows,
                    struct err *e);
static bool is_damage(int r);
static bool is_absent(struct db *from, const char *table);

int ledger_rescue(const char *from_path, const char *to_path, struct ledger_rescue *ret,
                  struct err *e)
{
    if (access(to_path, F_OK) == 0)
        return err_set(e, -EEXIST, ERR_NEVER, "rescue: '%s' exists: name a new file", to_path);
    AUTO(db) from = NULL;
    int r = db_open_damaged(from_path, &from, e);
    if (r < 0)
        return err_prefix(e, "rescue"), r;
    AUTO(db) to = NULL;
    r = db_open(to_path, true, &to, e);
    if (r == 0)
        r = schema_migrate(to, e);
    if (r == 0)
        r = db_begin(to, e);
    if (r < 0)
        return err_prefix(e, "rescue"), r;
    struct ledger_rescue count = {0};
    r = copy_all(from, to, &count, e);
    r = db_finish(to, r, e);
    if (r < 0)
        return err_prefix(e, "rescue"), r;
    *ret = count;
    return 0;
}

/* Rows that lost what they refer to. A name that is lost becomes its number; a finished trigger
 * whose picture is lost goes, so that the same trigger may come again. */
static const char *const mends[] = {
    "INSERT OR IGNORE INTO cameras SELECT DISTINCT camera, 'lost-' || camera FROM snapshots",
    "INSERT OR IGNORE INTO cameras SELECT DISTINCT camera, 'lost-' || camera FROM triggers",
    "INSERT OR IGNORE INTO devices SELECT DISTINCT device, 'lost-' || device, '' FROM snapshots",
    "INSERT OR IGNORE INTO devices SELECT DISTINCT device, 'lost-' || device, '' FROM triggers",
    "INSERT OR IGNORE INTO labels SELECT DISTINCT label, 'lost-' || label FROM detections",
    "INSERT OR IGNORE INTO destinations SELECT DISTINCT destination, 'lost-' || destination"
    " FROM outbox",
    "INSERT OR IGNORE INTO storages (id, name) SELECT DISTINCT storage, 'lost-' || storage"
    " FROM uploads",
    "UPDATE snapshots SET model = NULL WHERE model NOT IN (SELECT id FROM models)",
    "DELETE FROM detections WHERE snapshot NOT IN (SELECT row FROM snapshots WHERE state = 1)",
    "DELETE FROM outbox WHERE snapshot NOT IN (SELECT row FROM snapshots WHERE state = 1)",
    "DELETE FROM uploads WHERE snapshot NOT IN (SELECT row FROM snapshots WHERE state = 1)"
    " OR (annotated AND state IN (0, 3) AND snapshot IN"
    "  (SELECT row FROM snapshots WHERE annotated_path IS NULL))",
    "UPDATE uploads SET state = 0 WHERE state = 3 AND (NOT annotated OR snapshot IN"
    " (SELECT row FROM snapshots WHERE unsettled = 0))",
    "UPDATE uploads SET state = 2, finished_at = created_at, error = 'the file was removed'"
    " WHERE state IN (0, 3) AND snapshot IN"
    "  (SELECT row FROM snapshots WHERE removed_at IS NOT NULL)",
    "UPDATE uploads SET finished_at = iif(state IN (1, 2), coalesce(finished_at, created_at),"
    " NULL)",
    "UPDATE storages SET done ="
    " (SELECT count(*) FROM uploads WHERE storage = id AND state = 1)",
    "DELETE FROM storage_memory WHERE storage NOT IN (SELECT id FROM storages)",
    "INSERT INTO retention " RETENTION_OF_HISTORY,
    "INSERT INTO sources " SOURCES_OF_HISTORY,
    "UPDATE snapshots SET again_at = NULL WHERE again_at IS NOT NULL AND (state = 0"
    " OR removed_at IS NOT NULL OR (again_at <= 0 AND (unsettled = 0 OR annotated_path IS NULL)))",
    "UPDATE outbox SET camera = (SELECT s.camera FROM snapshots s WHERE s.row = snapshot)",
    "UPDATE snapshots SET things = (SELECT count(*) FROM detections d WHERE d.snapshot = row)",
    "INSERT INTO sightings SELECT d.label, s.event_at, s.row, max(d.confidence) FROM detections d"
    " JOIN snapshots s ON s.row = d.snapshot GROUP BY s.row, d.label",
    "DELETE FROM triggers WHERE state = 1 AND id NOT IN (SELECT id FROM snapshots)",
    "UPDATE triggers SET state = 1, finished_at = coalesce(finished_at, accepted_at)"
    " WHERE state != 1 AND id IN (SELECT id FROM snapshots)",
    "UPDATE triggers SET address = NULL, user = NULL, password = NULL"
    " WHERE state != 0 OR address IS NULL",
};

static int copy_all(struct db *from, struct db *to, struct ledger_rescue *count, struct err *e)
{
    static const struct {
        const char *table, *key;
    } tables[] = {{"cameras", "id"},     {"devices", "id"},       {"labels", "id"},
                  {"models", "id"},      {"destinations", "id"},  {"storages", "id"},
                  {"triggers", "row"},   {"snapshots", "row"},    {"outbox", "row"},
                  {"uploads", "row"},    {"incidents", "row"},    {"storage_memory", "row"},
                  {"cloud_days", "day"}, {"cloud_answers", "row"}};
    int r = db_exec(to, "PRAGMA defer_foreign_keys = ON", e);
    for (size_t i = 0; i < ARRAY_LEN(tables) && r == 0; i++) {
        int64_t rows = 0;
        if (is_absent(from, tables[i].table))
            continue;
        r = copy_table(from, to, tables[i].table, tables[i].key, &rows, &count->gaps, e);
        count->rows += rows;
        if (text_equal_nocase(tables[i].table, "snapshots"))
            count->snapshots = rows;
    }
    if (r == 0)
        r = copy_detections(from, to, &count->rows, &count->gaps, e);
    for (size_t i = 0; i < ARRAY_LEN(mends) && r == 0; i++)
        r = db_exec(to, mends[i], e);
    return r;
}

/* A file of an older version has fewer tables. Of one whose list cannot be read all are tried. */
static bool is_absent(struct db *from, const char *table)
{
    AUTO(db_query) q = db_query(from, "SELECT count(*) FROM sqlite_schema WHERE name = ?");
    db_bind_text(q, table);
    int64_t count = 1;
    struct err e;
    return db_query_int(q, &count, &e) == 0 && count == 0;
}

static int copy_table(struct db *from, struct db *to, const char *table, const char *key,
                      int64_t *rows, int64_t *gaps, struct err *e)
{
    int64_t last = 0, step = 1, steps = 0;
    for (;;) {
        int64_t before = *rows;
        int r = copy_rows(from, to, table, key, &last, rows, e);
        if (r == 0)
            return 0;
        if (!is_damage(r))
            return r;
        if (*rows > before || steps == 0) { /* a new gap */
            (*gaps)++;
            step = 1;
            steps = 0;
        }
        if (++steps > SINGLE_STEPS)
            step *= 2;
        if (last > INT64_MAX / 4 || step > INT64_MAX / 4)
            return 0; /* nothing behind it */
        last += step;
    }
}

/* From behind *last to the end or to the first row that cannot be read. */
static int copy_rows(struct db *from, struct db *to, const char *table, const char *key,
                     int64_t *last, int64_t *rows, struct err *e)
{
    char sql[160];
    int n = text_format(sql, sizeof(sql), "SELECT * FROM %s NOT INDEXED WHERE %s > ? ORDER BY %s",
                        table, key, key);
    assert(n > 0);
    AUTO(db_query) q = db_query(from, sql);
    db_bind_int(q, *last);
    int r;
    while ((r = db_step(q, e)) == 1) {
        *last = db_int(q, 0); /* the key is the first column */
        r = copy_row(to, table, q, rows, e);
        if (r < 0)
            return r;
    }
    return r;
}

static int copy_detections(struct db *from, struct db *to, int64_t *rows, int64_t *gaps,
                           struct err *e)
{
    AUTO(db_query) snapshots = db_query(to, "SELECT row FROM snapshots WHERE state = 1");
    int more;
    while ((more = db_step(snapshots, e)) == 1) {
        AUTO(db_query) q = db_query(from, "SELECT * FROM detections WHERE snapshot = ?");
        db_bind_int(q, db_int(snapshots, 0));
        int r;
        while ((r = db_step(q, e)) == 1) {
            r = copy_row(to, "detections", q, rows, e);
            if (r < 0)
                return r;
        }
        if (r < 0 && !is_damage(r))
            return r;
        *gaps += r < 0;
    }
    return more;
}

/* A file of an older version has fewer columns; those that came since are NULL. */
static int columns_of(struct db *db, const char *table)
{
    char sql[64];
    (void)text_format(sql, sizeof(sql), "SELECT * FROM %s", table); /* fits */
    AUTO(db_query) q = db_query(db, sql);
    return db_columns(q);
}

/* A row that breaks a rule of its table was damaged too, and is left out. */
static int copy_row(struct db *to, const char *table, struct db_query *row, int64_t *rows,
                    struct err *e)
{
    char sql[256];
    int given = db_columns(row), columns = columns_of(to, table);
    int n = text_format(
        sql, sizeof(sql), "INSERT OR IGNORE INTO %s VALUES (%.*s)", table, MAX(columns * 2 - 1, 1),
        "?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,"
        "?");
    assert(n > 0 && columns <= 40);
    AUTO(db_query) q = db_query(to, sql);
    for (int i = 0; i < MIN(given, columns); i++)
        db_bind_column(q, row, i);
    int r = db_run(q, e);
    if (r == 0)
        *rows += db_changes(to);
    return r == -EINVAL || r == -EEXIST || r == -E2BIG ? 0 : r;
}

static bool is_damage(int r)
{
    return r == -EUCLEAN || r == -EIO || r == -E2BIG || r == -ENOMEM; /* damaged lengths */
}
