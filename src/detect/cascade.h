#pragma once
/* The cascade: the local detector looks first, and the cloud is asked only when that answer leaves
 * a doubt. Pure: what is a doubt, and what becomes of two answers.
 *
 * Doubts: the best person scores within the window [low, high), so that it may or may not be one;
 * something of a label was found about which the cloud is always asked; nothing at all was found
 * and the rule says that this is a doubt; the local detector failed.
 *
 * Joined: about a label in doubt the cloud alone decides (its detections replace the local ones,
 * also by none). Of all other labels the local ones stay, which have boxes, and the cloud adds what
 * the local detector does not know or did not see. */

#include <stdbool.h>

#include "model/verdict.h"

struct cascade_rule {
    double low, high;          /* scores of persons; low >= high: no window */
    const char *const *labels; /* NULL-terminated, or NULL; any case */
    bool empty;                /* nothing found is a doubt */
};

enum cascade_doubt {
    DOUBT_PERSON = 1 << 0,
    DOUBT_LABEL = 1 << 1,
    DOUBT_EMPTY = 1 << 2,
    DOUBT_FAILED = 1 << 3,
};
#define CASCADE_DOUBT_COUNT 4
extern const char *const cascade_doubt_names[CASCADE_DOUBT_COUNT]; /* "person", ... by bit */

/* The doubts about an answer, 0 = none. `v` is filtered to what counts; a verdict that is not
 * VERDICT_EXAMINED is one of a detector that failed. */
unsigned cascade_doubts(const struct cascade_rule *rule, const struct verdict *v);

/* Makes `cloud` the answer of both, by descending confidence; both filtered to what counts. `local`
 * stays as it is. A `local` that failed adds nothing. */
void cascade_join(const struct cascade_rule *rule, unsigned doubts, const struct verdict *local,
                  struct verdict *cloud);
/* Makes `v`, a local answer or none, what is recorded without the cloud's answer: the local one
 * with `why` beside it when it may stay and is one, else `outcome` with `why`. */
void cascade_without(bool local_may_stay, enum verdict_outcome outcome, const char *why,
                     struct verdict *v);
