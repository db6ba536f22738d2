#pragma once
/* What the judge of health is told of the running program. */

#include "app/status.h"
#include "health/judge.h"

/* From the main thread, beside the gauges: what waits, by the ledger; and whether it takes a write,
 * which is tried only while there is something to be written. */
void health_view_count(struct daemon *d);

/* For struct health_options; `daemon` is the struct daemon. */
void health_view_fill(void *daemon, struct health_view *ret);
void health_view_numbers(void *daemon, char *ret, size_t size);
size_t health_view_stack(void *daemon, const char *stage, uintptr_t *ret, size_t max);
