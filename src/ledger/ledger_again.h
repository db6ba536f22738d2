#pragma once
/* Pictures that are examined once more because a person wants it: the answer takes the place of the
 * first verdict, and that is all. Nobody is told of it, and this file makes no row of `outbox` or
 * `uploads`; where the old copy with boxes is kept, the new one replaces it. See ledger.h for what
 * all functions have in common.
 *
 * The old verdict counts until the new one is there. A copy with boxes is drawn anew: with the new
 * verdict the row says that the old copy is to go, and counts as unsettled; who removed it says so,
 * and from then on the copy is drawn as after any verdict. A crash at any point leaves a row that
 * says what is still to do. */

#include "ledger/ledger.h"

/* It is to be examined again. -ENOENT: no such picture; -ESTALE: its files are gone; -ECANCELED: it
 * is in the trash. One that waits to be examined already, for the first time or again, waits on. */
int ledger_again_want(struct ledger *l, const char *id, struct err *e);

/* Pictures with something to do, by ascending row above `after_row`: s->again is true, and
 * s->unsettled tells that only the old copy is to be removed. At most `max`, each a new reference.
 */
int ledger_again_next(struct ledger *l, int64_t after_row, struct snapshot **ret, int max,
                      struct err *e);
/* The same of one row, as it is now. 1, or 0 when there is nothing to do with it. */
int ledger_again_get(struct ledger *l, int64_t row, struct snapshot **ret, struct err *e);

/* The new verdict; only one with an answer takes the place of the old. `annotated_path`: the copy
 * that it is to have, NULL or "" = none. Returns 1 when s->annotated_path is to be removed now
 * (then ledger_again_cleared()), else 0. -EALREADY: it is not wanted any more. */
int ledger_again_examined(struct ledger *l, const struct snapshot *s, const struct verdict *v,
                          const char *annotated_path, struct err *e);
/* The old copy of this row is gone. */
int ledger_again_cleared(struct ledger *l, int64_t row, struct err *e);
