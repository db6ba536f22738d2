#include "ledger/schema.h"

#include <assert.h>
#include <errno.h>

#include "base/fault.h"
#include "base/macros.h"
#include "base/text.h"
#include "ledger/internal.h"

/* Times are microseconds since 1970 in UTC. States and other enumerations are the numbers of the
 * model's enumerations, whose order therefore never changes. Names that repeat (cameras, labels,
 * models, destinations) stand once in their own tables. Partial indexes hold only what waits, so
 * they stay small however long the history grows, and a finished picture costs them nothing.
 *
 * `detections` is what the detector said; `sightings` repeats the best confidence per label with
 * the picture's time, so that "newest with a dog" walks an index instead of the history.
 * outbox.not_before is 0 until the first failure. */
static const char version_1[] =
    "CREATE TABLE cameras (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;"
    "CREATE TABLE devices (id INTEGER PRIMARY KEY, key TEXT NOT NULL, label TEXT NOT NULL,"
    " UNIQUE (key, label)) STRICT;"
    "CREATE TABLE labels (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;"
    "CREATE TABLE models (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;"
    "CREATE TABLE destinations (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;"

    "CREATE TABLE triggers ("
    " row INTEGER PRIMARY KEY,"
    " id TEXT NOT NULL UNIQUE CHECK (length(id) = 32),"
    " camera INTEGER NOT NULL REFERENCES cameras (id),"
    " device INTEGER NOT NULL REFERENCES devices (id),"
    " origin INTEGER NOT NULL,"
    " state INTEGER NOT NULL CHECK (state BETWEEN 0 AND 2),"
    " event_at INTEGER NOT NULL,"
    " accepted_at INTEGER NOT NULL,"
    " attempts INTEGER NOT NULL CHECK (attempts >= 0),"
    " not_before INTEGER NOT NULL,"
    " finished_at INTEGER,"
    " error TEXT) STRICT;"
    "CREATE INDEX triggers_pending ON triggers (camera, not_before, row) WHERE state = 0;"
    "CREATE INDEX triggers_failed ON triggers (row) WHERE state = 2;"

    "CREATE TABLE snapshots ("
    " row INTEGER PRIMARY KEY,"
    " id TEXT NOT NULL UNIQUE CHECK (length(id) = 32),"
    " camera INTEGER NOT NULL REFERENCES cameras (id),"
    " device INTEGER NOT NULL REFERENCES devices (id),"
    " source INTEGER NOT NULL,"
    " state INTEGER NOT NULL CHECK (state BETWEEN 0 AND 1),"
    " event_at INTEGER NOT NULL,"
    " received_at INTEGER NOT NULL,"
    " stored_at INTEGER NOT NULL,"
    " path TEXT NOT NULL UNIQUE,"
    " annotated_path TEXT,"
    " previous_path TEXT,"
    " unsettled INTEGER NOT NULL,"
    " size INTEGER NOT NULL CHECK (size >= 0),"
    " md5 TEXT NOT NULL,"
    " sha256 TEXT NOT NULL,"
    " format TEXT NOT NULL,"
    " width INTEGER NOT NULL,"
    " height INTEGER NOT NULL,"
    " orientation INTEGER NOT NULL,"
    " fetch_ms REAL NOT NULL,"
    /* The verdict: NULL and 0 until examined. */
    " examined_at INTEGER,"
    " outcome INTEGER,"
    " model INTEGER REFERENCES models (id),"
    " decode_ms REAL,"
    " infer_ms REAL,"
    " damaged INTEGER NOT NULL DEFAULT 0,"
    " persons INTEGER NOT NULL DEFAULT 0,"
    " things INTEGER NOT NULL DEFAULT 0,"
    " confidence REAL NOT NULL DEFAULT 0,"
    " error TEXT,"
    " CHECK ((state = 1) = (examined_at IS NOT NULL) AND (state = 1) = (outcome IS NOT NULL))"
    ") STRICT;"
    "CREATE INDEX snapshots_time ON snapshots (event_at, row);"
    "CREATE INDEX snapshots_camera ON snapshots (camera, event_at, row);"
    "CREATE INDEX snapshots_person ON snapshots (event_at, row) WHERE persons > 0;"
    "CREATE UNIQUE INDEX snapshots_annotated ON snapshots (annotated_path)"
    " WHERE annotated_path IS NOT NULL;"
    "CREATE INDEX snapshots_backlog ON snapshots (row) WHERE state = 0;"
    "CREATE INDEX snapshots_unsettled ON snapshots (row) WHERE unsettled = 1;"

    "CREATE TABLE detections ("
    " snapshot INTEGER NOT NULL REFERENCES snapshots (row) ON DELETE CASCADE,"
    " ordinal INTEGER NOT NULL,"
    " label INTEGER NOT NULL REFERENCES labels (id),"
    " class_id INTEGER NOT NULL,"
    " confidence REAL NOT NULL,"
    " x1 REAL, y1 REAL, x2 REAL, y2 REAL,"
    " PRIMARY KEY (snapshot, ordinal)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE sightings ("
    " label INTEGER NOT NULL REFERENCES labels (id),"
    " event_at INTEGER NOT NULL,"
    " snapshot INTEGER NOT NULL REFERENCES snapshots (row) ON DELETE CASCADE,"
    " confidence REAL NOT NULL,"
    " PRIMARY KEY (label, event_at, snapshot)) STRICT, WITHOUT ROWID;"

    "CREATE TABLE outbox ("
    " row INTEGER PRIMARY KEY,"
    " snapshot INTEGER NOT NULL REFERENCES snapshots (row) ON DELETE CASCADE,"
    " destination INTEGER NOT NULL REFERENCES destinations (id),"
    " camera INTEGER NOT NULL REFERENCES cameras (id),"
    " state INTEGER NOT NULL CHECK (state BETWEEN 0 AND 2)," /* pending, done, dead */
    " attempts INTEGER NOT NULL CHECK (attempts >= 0),"
    " created_at INTEGER NOT NULL,"
    " not_before INTEGER NOT NULL,"
    " finished_at INTEGER,"
    " error TEXT,"
    " UNIQUE (snapshot, destination)) STRICT;"
    "CREATE INDEX outbox_pending ON outbox (destination, camera, row) WHERE state = 0;"
    "CREATE INDEX outbox_dead ON outbox (destination, row) WHERE state = 2;"

    /* Failures on the way, for the life story; `subject` is the id of a trigger or snapshot. */
    "CREATE TABLE incidents ("
    " row INTEGER PRIMARY KEY,"
    " subject TEXT NOT NULL CHECK (length(subject) = 32),"
    " at INTEGER NOT NULL,"
    " what TEXT NOT NULL,"
    " detail TEXT NOT NULL) STRICT;"
    "CREATE INDEX incidents_subject ON incidents (subject, row);";

/* Where a trigger came with its camera's address and login, they are here while it is pending. */
static const char version_2[] = "ALTER TABLE triggers ADD COLUMN address TEXT;"
                                "ALTER TABLE triggers ADD COLUMN user TEXT;"
                                "ALTER TABLE triggers ADD COLUMN password TEXT;";

/* What is kept elsewhere, and what goes when there is no room.
 *
 * A job of a copy with boxes is in state 3 until the copy is there; then it is pending like the
 * others. `mark` is the storage's own note of an object, there before the first attempt. The two
 * indexes of pending jobs tell those that were never refused (not_before 0), which go by row, from
 * those that wait for a time, so that neither is walked over to find the other. star_due: the
 * storage has yet to hear of a star.
 *
 * `storages.done` and `retention` are running sums, kept by the transitions, so that nobody counts
 * the history. `retention` is over pictures whose file is here; a copy counts as large as its
 * picture. A removed picture keeps its row for the history. */
static const char version_3[] =
    "CREATE TABLE storages (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,"
    " done INTEGER NOT NULL DEFAULT 0) STRICT;"
    "CREATE TABLE uploads ("
    " row INTEGER PRIMARY KEY,"
    " snapshot INTEGER NOT NULL REFERENCES snapshots (row) ON DELETE CASCADE,"
    " storage INTEGER NOT NULL REFERENCES storages (id),"
    " annotated INTEGER NOT NULL CHECK (annotated BETWEEN 0 AND 1),"
    " state INTEGER NOT NULL CHECK (state BETWEEN 0 AND 3)," /* pending, done, dead, awaited */
    " attempts INTEGER NOT NULL CHECK (attempts >= 0),"
    " created_at INTEGER NOT NULL,"
    " not_before INTEGER NOT NULL,"
    " finished_at INTEGER,"
    " star_due INTEGER NOT NULL DEFAULT 0,"
    " mark TEXT,"
    " url TEXT,"
    " error TEXT,"
    " UNIQUE (snapshot, storage, annotated)) STRICT;"
    "CREATE INDEX uploads_fresh ON uploads (storage, row) WHERE state = 0 AND not_before = 0;"
    "CREATE INDEX uploads_waiting ON uploads (storage, not_before, row)"
    " WHERE state = 0 AND not_before > 0;"
    "CREATE INDEX uploads_awaited ON uploads (storage, row) WHERE state = 3;"
    "CREATE INDEX uploads_dead ON uploads (storage, row) WHERE state = 2;"
    "CREATE INDEX uploads_star ON uploads (storage, row) WHERE star_due = 1;"
    "CREATE TABLE storage_memory ("
    " row INTEGER PRIMARY KEY,"
    " storage INTEGER NOT NULL REFERENCES storages (id),"
    " key TEXT NOT NULL,"
    " value TEXT NOT NULL,"
    " UNIQUE (storage, key)) STRICT;"

    "ALTER TABLE snapshots ADD COLUMN starred_at INTEGER;"
    "ALTER TABLE snapshots ADD COLUMN removed_at INTEGER;"
    "ALTER TABLE snapshots ADD COLUMN removed_why TEXT;"
    "CREATE INDEX snapshots_present ON snapshots"
    " ((starred_at IS NOT NULL), (persons > 0), row) WHERE removed_at IS NULL;"
    "CREATE INDEX snapshots_removed ON snapshots (removed_at) WHERE removed_at IS NOT NULL;"
    "CREATE INDEX snapshots_starred ON snapshots (event_at, row) WHERE starred_at IS NOT NULL;"
    /* Without it a picture that is forgotten costs a walk over all sightings. */
    "CREATE INDEX sightings_snapshot ON sightings (snapshot);"
    "CREATE TABLE retention ("
    " camera INTEGER NOT NULL REFERENCES cameras (id),"
    " starred INTEGER NOT NULL,"
    " person INTEGER NOT NULL,"
    " files INTEGER NOT NULL,"
    " bytes INTEGER NOT NULL,"
    " PRIMARY KEY (camera, starred, person)) STRICT, WITHOUT ROWID;"
    "INSERT INTO retention " RETENTION_OF_HISTORY;

/* What a detector that costs money was asked. Days are days since 1970 in UTC, as they are billed.
 * An answer stands under a digest of the picture and of what else decides the answer; rows are in
 * the order of their making, so that the oldest go first without an index. */
static const char version_4[] = "CREATE TABLE cloud_days (day INTEGER PRIMARY KEY,"
                                " calls INTEGER NOT NULL CHECK (calls >= 0)) STRICT;"
                                "CREATE TABLE cloud_answers ("
                                " row INTEGER PRIMARY KEY,"
                                " key TEXT NOT NULL UNIQUE CHECK (length(key) = 64),"
                                " at INTEGER NOT NULL,"
                                " model TEXT NOT NULL,"
                                " infer_ms REAL NOT NULL,"
                                " found TEXT NOT NULL) STRICT;";

/* What people do with pictures, and the indexes by which they look for them.
 *
 * deleted_at: in the trash since. again_at: since when it is to be examined again; 0 or less = it
 * was, and its old copy with boxes is still to be removed (ledger_again.c). A row with removed_why
 * and without removed_at is being removed: nothing else may happen to it any more.
 *
 * Two indexes by time take the place of one: each picture is in one of them, so that a new picture
 * costs no more than before, and a walk over what is here does not meet what is gone. `sources`
 * tells which cameras fetched or pushed: a walk over those finds what is rare. */
static const char version_5[] =
    "ALTER TABLE snapshots ADD COLUMN deleted_at INTEGER;"
    "ALTER TABLE snapshots ADD COLUMN again_at INTEGER;"
    "DROP INDEX snapshots_time;"
    "CREATE INDEX snapshots_here ON snapshots (event_at, row) WHERE " SNAPSHOTS_HERE ";"
    "CREATE INDEX snapshots_past ON snapshots (event_at, row) WHERE " SNAPSHOTS_PAST ";"
    "CREATE INDEX snapshots_trash ON snapshots (event_at, row) WHERE " SNAPSHOTS_TRASH ";"
    "CREATE INDEX snapshots_purge ON snapshots (deleted_at, row) WHERE " SNAPSHOTS_TRASH ";"
    "CREATE INDEX snapshots_leaving ON snapshots (row) WHERE " SNAPSHOTS_LEAVING ";"
    "CREATE INDEX snapshots_again ON snapshots (row) WHERE again_at IS NOT NULL;"
    "CREATE TABLE sources ("
    " camera INTEGER NOT NULL REFERENCES cameras (id),"
    " source INTEGER NOT NULL,"
    " PRIMARY KEY (camera, source)) STRICT, WITHOUT ROWID;"
    "INSERT INTO sources " SOURCES_OF_HISTORY;

static const char *const migrations[] = {version_1, version_2, version_3, version_4, version_5};
_Static_assert(ARRAY_LEN(migrations) == LEDGER_VERSION, "one migration per version");

static int read_version(struct db *db, int64_t *ret, struct err *e);
static int check_owner(struct db *db, int64_t version, struct err *e);
static int read_number(struct db *db, const char *sql, int64_t *ret, struct err *e);
static int migrate_from(struct db *db, int64_t version, struct err *e);

int schema_migrate(struct db *db, struct err *e)
{
    int64_t version;
    int r = read_version(db, &version, e);
    if (r < 0 || version == LEDGER_VERSION)
        return r;
    r = db_begin(db, e);
    if (r < 0)
        return r;
    /* Again under the lock: another process may have upgraded meanwhile. */
    r = read_version(db, &version, e);
    if (r == 0)
        r = migrate_from(db, version, e);
    FAULT_POINT("before-migration-commit");
    r = db_finish(db, r, e);
    db_release_memory(db); /* so many pages at once are not needed again */
    return r;
}

static int read_version(struct db *db, int64_t *ret, struct err *e)
{
    int64_t version;
    int r = read_number(db, "PRAGMA user_version", &version, e);
    if (r < 0)
        return r;
    r = check_owner(db, version, e);
    if (r < 0)
        return r;
    if (version > LEDGER_VERSION)
        return err_set(e, -ENOTSUP, ERR_NEVER,
                       "database '%s' has version %lld, this program knows up to %d: run the newer "
                       "program that wrote it, or restore an older copy",
                       db_path(db), (long long)version, LEDGER_VERSION);
    *ret = version;
    return 0;
}

static int check_owner(struct db *db, int64_t version, struct err *e)
{
    int64_t owner, tables;
    int r = read_number(db, "PRAGMA application_id", &owner, e);
    if (r < 0 || owner == SCHEMA_APPLICATION_ID)
        return r;
    r = read_number(db, "SELECT count(*) FROM sqlite_schema", &tables, e);
    if (r < 0)
        return r;
    if (owner != 0 || version != 0 || tables != 0)
        return err_set(
            e, -EUCLEAN, ERR_NEVER,
            "database '%s' belongs to another program (no mark of a ledger): name another "
            "file or folder",
            db_path(db));
    return 0;
}

static int read_number(struct db *db, const char *sql, int64_t *ret, struct err *e)
{
    AUTO(db_query) q = db_query(db, sql);
    int r = db_query_int(q, ret, e);
    return r == -ENODATA ? db_damaged(db, e, "no answer to %s", sql) : r;
}

static int migrate_from(struct db *db, int64_t version, struct err *e)
{
    assert(version >= 0);
    for (int64_t i = version; i < LEDGER_VERSION; i++) {
        int r = db_exec(db, migrations[i], e);
        if (r < 0)
            return err_prefix(e, "upgrade to version %lld", (long long)i + 1);
    }
    char sql[96];
    (void)text_format(sql, sizeof(sql), "PRAGMA application_id = %d; PRAGMA user_version = %d",
                      SCHEMA_APPLICATION_ID, LEDGER_VERSION); /* fits */
    return db_exec(db, sql, e);
}
