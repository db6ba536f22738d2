#pragma once
/* What is looked up rather than counted: stages, edges, the ledger's and the store's size, cameras,
 * the process. What costs little is looked up at each scrape, what reads the ledger now and then
 * (gauges_update). */

#include "app/status.h"

void gauges_register_metrics(void);
/* Between the start and the stop of the web server, whose thread looks things up. */
void gauges_start(struct daemon *d);
void gauges_stop(struct daemon *d);
/* From the main thread, now and then. */
void gauges_update(struct daemon *d);
