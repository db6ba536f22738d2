#pragma once
/* The one door to SQLite: a connection that is set up for data that must survive (WAL,
 * synchronous=FULL, both read back), prepared statements kept for reuse, transactions, and SQLite's
 * results as errnos with a sentence.
 *
 * A connection and its queries belong to one thread at a time; threads open their own. Write
 * transactions of one process on one file stand in a fair queue before they reach SQLite, whose own
 * way to wait for another writer is to sleep and try again. Other processes are waited for in
 * SQLite's way, up to the same limit.
 *
 * Errors: -ENOSPC (disk full, ERR_LATER), -EBUSY (another writer for longer than the limit,
 * ERR_LATER), -EIO (the disk fails, ERR_LATER), -ENOMEM (ERR_LATER), -EUCLEAN (damaged; the text
 * says which file and how to go on), -EROFS, -EACCES, -ENOENT, -EEXIST (a UNIQUE or PRIMARY KEY
 * rule), -EINVAL (another rule of the schema, or misuse). */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"

struct db;
struct db_query;

/* Opens the file; with `create` an absent one is made, mode 0600. */
int db_open(const char *path, bool create, struct db **ret, struct err *e);
/* Opens a file to read what can be read of it: without the checks that refuse a damaged one, and
 * leaving it as it is. Never write through it. */
int db_open_damaged(const char *path, struct db **ret, struct err *e);
/* Queries die with it. An open transaction is rolled back. */
void db_close(struct db *db);
DEFINE_AUTO(db, db_close)
const char *db_path(const struct db *db);

/* Gives back the memory of pages that are only cached. */
void db_release_memory(struct db *db);

/* Runs statements without parameters and rows (schema, pragmas). */
int db_exec(struct db *db, const char *sql, struct err *e);

/* ---- queries ---- */

/* A prepared statement, taken from the connection's cache by its text. Never NULL: a failure shows
 * at db_step() or db_run(). Parameters are bound in the order of the calls. One use at a time; give
 * it back with db_query_end(), or declare it AUTO(db_query). */
struct db_query *db_query(struct db *db, const char *sql) MUST_USE;
void db_query_end(struct db_query *q);
DEFINE_AUTO(db_query, db_query_end)

void db_bind_int(struct db_query *q, int64_t value);
void db_bind_real(struct db_query *q, double value);
void db_bind_text(struct db_query *q, const char *value); /* borrowed until the end; NULL = NULL */
void db_bind_text_or_null(struct db_query *q, const char *value); /* "" is stored as NULL too */

void db_bind_column(struct db_query *q, struct db_query *from, int column); /* any kind of value */

/* 1 with a row, 0 at the end, negative on failure. */
int db_step(struct db_query *q, struct err *e);
/* For statements without rows: 0 or negative. Ready for new parameters afterwards. */
int db_run(struct db_query *q, struct err *e);

int64_t db_int(struct db_query *q, int column); /* 0 for NULL */
double db_real(struct db_query *q, int column);
const char *db_text(struct db_query *q, int column); /* "" for NULL; valid until the next step */
bool db_is_null(struct db_query *q, int column);
int db_columns(struct db_query *q);

/* First column of the first row. -ENODATA when there is no row (e is not set then). */
int db_query_int(struct db_query *q, int64_t *ret, struct err *e);

int64_t db_last_row(struct db *db); /* row id of the last insert */
int db_changes(struct db *db);      /* rows that the last insert, update or delete touched */

/* ---- transactions ---- */

/* Waits its turn and begins to write. */
int db_begin(struct db *db, struct err *e);
/* On failure everything is rolled back and the connection is as before db_begin(). */
int db_commit(struct db *db, struct err *e);
void db_rollback(struct db *db); /* no transaction: nothing happens */
/* Commits when r >= 0, else rolls back; returns r, or the commit's error. */
int db_finish(struct db *db, int r, struct err *e);
/* Several transactions become one commit, and wait for the disk once. Until db_group_end() each
 * db_begin() opens a part of its own: one that fails is undone alone, the others stay. Nothing of
 * it is there for others before the end. -EIO at the end when SQLite had to undo all of it
 * meanwhile (disk full). */
int db_group_begin(struct db *db, struct err *e);
int db_group_end(struct db *db, struct err *e);
/* Several reads of one state. Ends with db_end_read(). */
int db_begin_read(struct db *db, struct err *e);
void db_end_read(struct db *db);

/* Enters the rows that all connections share: commits, waits, checkpoints, failures. */
void db_register_metrics(void);

/* Appends SQLite's own words about damage, one call per finding; returns the number. */
int db_check(struct db *db, void (*finding)(const char *text, void *arg), void *arg, struct err *e);

/* -EUCLEAN with the sentence that says how to go on; for rows that cannot be right. */
int db_damaged(const struct db *db, struct err *e, const char *fmt, ...) PRINTF_LIKE(3, 4);
