#pragma once
/* What the files of the ledger share; nobody outside includes it. */

#include "ledger/ledger.h"
#include "sys/db.h"

struct ledger {
    struct db *db;
};

/* A row of one of the tables of names (cameras, labels, models, destinations, storages): its
 * number, made when new. Within a write transaction. */
enum name_table {
    NAME_CAMERA,
    NAME_LABEL,
    NAME_MODEL,
    NAME_DESTINATION,
    NAME_STORAGE,
    NAME_TABLE_COUNT
};
int name_intern(struct ledger *l, enum name_table table, const char *name, int64_t *ret,
                struct err *e);
/* The number of a known name; -ENOENT (e not set) when there is none. */
int name_find(struct ledger *l, enum name_table table, const char *name, int64_t *ret,
              struct err *e);
int device_intern(struct ledger *l, const char *key, const char *label, int64_t *ret,
                  struct err *e);

/* What of a verdict stands in its snapshot's row: for an UPDATE's SET, and its parameters in this
 * order. `model` 0 = none. */
#define VERDICT_SET                                                                                \
    "examined_at = ?, outcome = ?, model = nullif(?, 0), decode_ms = ?, infer_ms = ?,"             \
    " damaged = ?, persons = ?, things = ?, confidence = ?, error = ?"
void verdict_bind(struct db_query *q, const struct verdict *v, int64_t model);

/* Copies a text column; a text that is too long, or empty where it must not be, is damage. */
int column_copy(struct ledger *l, struct db_query *q, int column, char *dst, size_t size,
                struct err *e);
/* An enumeration's number below `count`, else damage. */
int column_enum(struct ledger *l, struct db_query *q, int column, int count, int *ret,
                struct err *e);

/* Remembers a failure for the life story. `nth` counts them: of the later ones only the last is
 * kept, so that a destination that is away for weeks does not fill the disk. */
#define INCIDENTS_KEPT 20
int incident_add(struct ledger *l, const char *subject, int64_t nth, const char *what,
                 const char *detail, struct err *e);

/* Likewise what people did, whatever they repeat. */
int story_add(struct ledger *l, const char *id, const char *what, const char *detail,
              struct err *e);

/* What a picture is in the sums of `retention`, and all of them by walking the history. */
#define RETENTION_BYTES "size * (1 + (annotated_path IS NOT NULL))"
#define RETENTION_OF_HISTORY                                                                       \
    "SELECT camera, starred_at IS NOT NULL, persons > 0, count(*), sum(" RETENTION_BYTES           \
    ") FROM snapshots WHERE removed_at IS NULL GROUP BY 1, 2, 3"
/* Adds the picture of this row to the sums (sign 1), or takes it from them (-1): once before and
 * once after a change that concerns them. */
int retention_count(struct ledger *l, int64_t row, int sign, struct err *e);

/* Conditions of partial indexes; a query that uses one repeats its words. */
#define SNAPSHOTS_HERE "removed_at IS NULL AND deleted_at IS NULL"
#define SNAPSHOTS_PAST "(removed_at IS NOT NULL OR deleted_at IS NOT NULL)"
#define SNAPSHOTS_TRASH "deleted_at IS NOT NULL AND removed_at IS NULL"
#define SNAPSHOTS_LEAVING "removed_why IS NOT NULL AND removed_at IS NULL"
#define SOURCES_OF_HISTORY "SELECT DISTINCT camera, source FROM snapshots"

/* Within the transaction of the verdict. */
int detections_insert(struct ledger *l, const struct snapshot *s, const struct verdict *v,
                      struct err *e);
float verdict_confidence_max(const struct verdict *v);
int uploads_insert(struct ledger *l, int64_t snapshot_row, bool has_copy,
                   const struct upload_wish *wishes, size_t count, struct err *e);
/* The copies of these are there now, or will never be. Within a write transaction. */
int uploads_copy_placed(struct ledger *l, int64_t snapshot_row, struct err *e);
int uploads_copy_dropped(struct ledger *l, int64_t snapshot_row, struct err *e);
/* The copy is to be drawn again: where the old one is kept, the new one takes its place. */
int uploads_copy_awaited(struct ledger *l, int64_t snapshot_row, struct err *e);

/* Columns that read_snapshot() takes, `s` being the table. */
#define SNAPSHOT_COLUMNS                                                                           \
    "s.row, s.id, c.name, d.key, d.label, s.source, s.state, s.event_at, s.received_at, s.path,"   \
    " s.annotated_path, s.size, s.md5, s.sha256, s.format, s.width, s.height, s.orientation,"      \
    " s.fetch_ms, s.unsettled, s.starred_at IS NOT NULL, s.removed_why IS NOT NULL"                \
    " OR s.removed_at IS NOT NULL, s.deleted_at, s.again_at"
#define SNAPSHOT_NAMES " JOIN cameras c ON c.id = s.camera JOIN devices d ON d.id = s.device "
/* New references to all rows of a query, which never gives more than `max`. Returns the count. */
int snapshots_read(struct ledger *l, struct db_query *q, struct snapshot **ret, int max,
                   struct err *e);

/* True when a wait ends after now but not later than any back-off may reach: a time further ahead
 * was written before the clock was set back, and must not hold anything up. */
bool wait_holds(int64_t not_before_us, struct wall_time now);
