#pragma once
/* The process as the system sees it, under the names that Prometheus's own clients use, and what
 * was built. */

void vitals_register_metrics(void);
/* Any thread; reads a few small files of /proc. */
void vitals_update(void);
