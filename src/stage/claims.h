#pragma once
/* Which ledger rows are being examined, or have a verdict that waits to be recorded, so that a live
 * picture and the backlog sweep never lead two workers to the same one. The ledger alone decides
 * what is done (a second answer is refused there); this only saves the work. A mutex around a
 * handful of integers; any thread. */

#include <stdbool.h>
#include <stdint.h>

/* Detect workers at the most. */
#define CLAIM_WORKERS_MAX 64
/* Rows at the most: what workers have in hand, what waits on the way to the record stage, and what
 * waits for the cloud (DOUBTS_MAX). */
#define CLAIMS_MAX 512

struct claims;
struct claims *claims_new(void);
void claims_free(struct claims *c);
/* False when it is taken, or nothing more can be. */
bool claims_take(struct claims *c, int64_t row);
void claims_drop(struct claims *c, int64_t row);
int claims_count(struct claims *c);
