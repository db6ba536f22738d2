#pragma once
/* The picture files beside the ledger: <root>/<camera directory>/<YYYY>/<MM>/<DD>/<name>, dates in
 * UTC.
 *
 * Order of intake, so that a crash at any point leaves neither an orphan file nor an orphan row:
 *   store_put()  bytes to <root>/.incoming/<id>, fsync of file and directory
 *   ledger_snapshot_add() commits the row that names the final path
 *   store_place() renames into place and syncs the directories
 * At start store_recover() looks at .incoming only: with a row the rename is finished, without the
 * file goes (nobody was told that it is safe). The same for renames after detection (previous_path)
 * and annotated copies (.incoming/<id>.annotated). */

#include "base/blob.h"
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

/* Durable temporary of a picture, or of its annotated copy. An existing one of the same id is
 * replaced. */
int store_put(struct store *s, const char *id, bool annotated, const void *data, size_t size,
              struct err *e);
void store_discard(struct store *s, const char *id, bool annotated);
/* Moves a temporary to its final path (directories made as needed), synced. Idempotent: success
 * when the file is there already and the temporary is gone. */
int store_place(struct store *s, const char *id, bool annotated, const char *path, struct err *e);
int store_rename(struct store *s, const char *from, const char *to,
                 struct err *e); /* idempotent likewise */
int store_read(struct store *s, const char *path, size_t max, struct blob **ret, struct err *e);
int store_unlink(struct store *s, const char *path, struct err *e);
int64_t store_free_bytes(struct store *s);

/* Chooses a free final path for a fetched picture: the original's name, "-2", "-3" … when taken. */
int store_path_fetched(struct store *s, struct ledger *l, const struct snapshot *snap,
                       const char *directory, char *ret, size_t size, struct err *e);

/* Finishes what a crash left half-way. Called before any stage runs. Counts what it did. */
struct store_recovery {
    int placed, renamed, discarded, missing; /* missing: rows whose file is nowhere */
};
int store_recover(struct store *s, struct ledger *l, struct store_recovery *ret, struct err *e);
