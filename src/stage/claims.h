#pragma once
/* Which ledger rows the detect workers have in hand, so that a live picture and the backlog sweep
 * never lead two workers to the same one. The ledger alone decides what is done (a second answer is
 * refused there); this only saves the work. A mutex around a handful of integers. */

#include <stdbool.h>
#include <stdint.h>

#define CLAIM_WORKERS_MAX 64

struct claims;
struct claims *claims_new(void);
void claims_free(struct claims *c);
/* False when another worker has it. A worker holds one row at a time. */
bool claims_take(struct claims *c, unsigned worker, int64_t row);
void claims_drop(struct claims *c, unsigned worker);
