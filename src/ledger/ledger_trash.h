#pragma once
/* The trash: a picture that a person deletes lies there for a time of grace, in which all goes on
 * with it as before and it can be taken back. Then the janitor purges it: its files go, its row
 * stays for the history as that of any removed picture. See ledger.h for what all functions have in
 * common.
 *
 * Files are removed in three steps, by whatever rule: the row says that it leaves, the files go,
 * the row says that they are gone. From the first on nothing brings the picture back or gives it
 * new files, so that nobody races with the second; after a crash ledger_leaving_next() finds it. */

#include "ledger/ledger.h"

/* -ENOENT: no such picture; -ESTALE: its files were removed from here already, or are just going;
 * -EPERM: it has a star, and `force` was not given. One that is in the trash stays there as it is.
 */
int ledger_snapshot_delete(struct ledger *l, const char *id, bool force, struct err *e);
/* -ENOENT; -ESTALE: too late. One that is not in the trash stays as it is. */
int ledger_snapshot_undelete(struct ledger *l, const char *id, struct err *e);

/* Pictures that were put into the trash at `before` or earlier and can go: examined and with all
 * files in place. The longest there first, at most `max`, each a new reference. The times are those
 * of ledger_now(). Returns the count. */
int ledger_trash_next(struct ledger *l, struct wall_time before, struct snapshot **ret, int max,
                      struct err *e);

/* Of which pictures the files may go. */
enum leave_terms {
    LEAVE_UNSTARRED, /* those without a star */
    LEAVE_ANY,
    LEAVE_TRASH, /* those in the trash */
};
/* The rows that are still as they were when they were found (present, examined, settled, and by
 * the terms) leave from now on, for this reason. Writes them to the front of `rows`, in their
 * order, and returns their count. */
int ledger_snapshot_leave(struct ledger *l, int64_t *rows, int count, enum leave_terms terms,
                          const char *why, struct err *e);
/* Pictures that leave and are not removed yet, by ascending row above `after_row`. */
int ledger_leaving_next(struct ledger *l, int64_t after_row, struct snapshot **ret, int max,
                        struct err *e);
