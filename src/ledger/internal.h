#pragma once
/* What the files of the ledger share; nobody outside includes it. */

#include "ledger/ledger.h"
#include "sys/db.h"

struct ledger {
    struct db *db;
};

/* A row of one of the tables of names (cameras, labels, models, destinations): its number, made
 * when new. Within a write transaction. */
enum name_table { NAME_CAMERA, NAME_LABEL, NAME_MODEL, NAME_DESTINATION, NAME_TABLE_COUNT };
int name_intern(struct ledger *l, enum name_table table, const char *name, int64_t *ret,
                struct err *e);
/* The number of a known name; -ENOENT (e not set) when there is none. */
int name_find(struct ledger *l, enum name_table table, const char *name, int64_t *ret,
              struct err *e);
int device_intern(struct ledger *l, const char *key, const char *label, int64_t *ret,
                  struct err *e);

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

/* True when a wait ends after now but not later than any back-off may reach: a time further ahead
 * was written before the clock was set back, and must not hold anything up. */
bool wait_holds(int64_t not_before_us, struct wall_time now);
