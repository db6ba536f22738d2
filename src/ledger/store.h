#pragma once
/* The picture files beside the ledger: <root>/<camera directory>/<YYYY>/<MM>/<DD>/<name>, dates in
 * UTC. Any thread may use an open store.
 *
 * Order of intake, so that a crash at any point leaves neither an orphan file nor an orphan row:
 *   store_put()  bytes to <root>/.incoming/<id>, fsync of file and directory
 *   ledger_snapshot_add() commits the row that names the final path
 *   store_place() renames into place
 * Order after detection, when names change or a copy with boxes is wanted:
 *   ledger_snapshot_examined() commits the new names and marks the row as unsettled
 *   store_rename()
 *   store_put(annotated)  to <root>/.incoming/<id>.annotated, fsync of the file; store_place()
 *   store_sync() once for many of them, then ledger_settle()
 * At start store_recover() finishes what a crash interrupted: of .incoming what has a row is moved
 * to its place and the rest goes (nobody was told that it is safe); of the unsettled rows the
 * renames are repeated. A copy that is missing then is drawn again by whoever draws: it can be made
 * from the picture and the verdict at any time.
 *
 * Only steps that take something away from the way back are synced. A rename into place is not: the
 * rename is atomic, and until the system has written it the file is still found in .incoming. A
 * rename that is about to be settled is (store_sync), because the settled row forgets the old name.
 */

#include <sys/stat.h>

#include "base/blob.h"
#include "base/dynbuf.h"
#include "base/err.h"
#include "ledger/ledger.h"
#include "model/snapshot.h"

struct store;

/* Opens (makes) the root, 0700. `reserve` bytes of free space are kept: below it store_put says
 * -ENOSPC. */
int store_open(const char *root, int64_t reserve, struct store **ret, struct err *e);
void store_close(struct store *s);
DEFINE_AUTO(store, store_close)
const char *store_root(const struct store *s);

/* Temporary of a picture, durable, or of its annotated copy, whose bytes are durable before its
 * name is. An existing one of the same id is replaced. On failure nothing stays; a full disk or one
 * below the reserve gives -ENOSPC, ERR_LATER. */
int store_put(struct store *s, const char *id, bool annotated, const void *data, size_t size,
              struct err *e);
/* As store_put() of pictures, for many at once: their names are durable after one sync of them. */
int store_write(struct store *s, const char *id, const void *data, size_t size, struct err *e);
int store_sync_written(struct store *s, struct err *e);
/* The same without writing the bytes a second time: a second name (hard link) for the file behind
 * `fd`, which is synced. Only for a file of ours of one name that has this size and mtime
 * (nanoseconds since 1970), before and after: -ESTALE (ERR_LATER) when it has not. -EXDEV when it
 * cannot be linked (another file system or owner, a second name already): write it then. */
int store_link(struct store *s, const char *id, int fd, int64_t size, int64_t modified_ns,
               struct err *e);
void store_discard(struct store *s, const char *id, bool annotated);
/* Moves a temporary to its final path (directories made as needed); never over another file
 * (-EEXIST). Idempotent: success when the file is there already and the temporary is gone; -ENOENT
 * when neither is there. */
int store_place(struct store *s, const char *id, bool annotated, const char *path, struct err *e);
/* Idempotent likewise. */
int store_rename(struct store *s, const char *from, const char *to, struct err *e);
/* Makes the names in the directory of `path` durable. One call does for all paths there. */
int store_sync(struct store *s, const char *path, struct err *e);
bool store_same_folder(const char *a, const char *b);
int store_size(struct store *s, const char *path, int64_t *ret); /* -ENOENT ...; no story */
bool store_holds(struct store *s, const char *path);             /* there is a file of this name */
/* The whole file; -EFBIG above `max` bytes, -ENOENT. */
int store_read(struct store *s, const char *path, size_t max, struct blob **ret, struct err *e);
int store_unlink(struct store *s, const char *path, struct err *e); /* absent is success */
/* Removes the folder that `path` lies in, and those above it up to the camera's, as far as they are
 * empty. For days that get no pictures any more. */
void store_remove_folder(struct store *s, const char *path);
int64_t store_free_bytes(struct store *s); /* -1 when unknown */

/* Chooses a free final path for a fetched picture: the original's name, "-2", "-3" … when that, or
 * what it may be renamed to, is taken in the ledger or on the disk. Another thread may take it
 * meanwhile: ledger_snapshot_add() then says -ENOTUNIQ, and the caller chooses again. */
int store_path_fetched(struct store *s, struct ledger *l, const struct snapshot *snap,
                       const char *directory, char *ret, size_t size, struct err *e);

/* The same for a pushed picture, which keeps its name (see snapshot_name_pushed()). */
int store_path_pushed(struct store *s, struct ledger *l, const struct snapshot *snap,
                      const char *directory, const char *name, char *ret, size_t size,
                      struct err *e);

struct store_recovery {
    int placed, renamed, discarded, missing; /* missing: rows whose file is nowhere */
};

/* Brings the files of one unsettled row to where the row says, wherever they are now. Adds what it
 * did to *done; a picture that is nowhere is counted and logged, it is no failure. -EAGAIN
 * (ERR_LATER): the annotated copy is not drawn yet. Safe beside another thread that does the same.
 */
int store_finish(struct store *s, const struct ledger_unsettled *u, struct store_recovery *done,
                 struct err *e);
/* Finishes `count` rows, syncs the folders of those that are finished, and settles them. Those that
 * wait for their copy are left alone, those that fail are logged. Returns 0, or why none of them
 * could be settled. */
int store_settle(struct store *s, struct ledger *l, const struct ledger_unsettled *rows, int count,
                 struct store_recovery *done, struct err *e);

/* Finishes what a crash left half-way. Called before any stage runs, by the only process that uses
 * the store: -EBUSY when another one has it open. Counts what it did. */
int store_recover(struct store *s, struct ledger *l, struct store_recovery *ret, struct err *e);

/* Calls `each` for every file below the root that no row names, with its path; a negative answer
 * ends the walk and is returned. A running daemon may be in the middle of a step, so ask the ledger
 * again (ledger_path_named) before doing anything about one. Returns the count. */
typedef int store_orphan(void *arg, const char *path, const struct stat *st);
int store_orphans(struct store *s, struct ledger *l, store_orphan *each, void *arg, struct err *e);

/* Compares all rows with all files: rows whose file is missing or has another size, files that no
 * row names. Appends a line per finding; returns the number of findings or a negative errno. A
 * running daemon may be in the middle of a step, so findings then need a second look. */
int store_check(struct store *s, struct ledger *l, struct dynbuf *report, struct err *e);
