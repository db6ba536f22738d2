#pragma once
/* The list of all metrics: every module that has some enters them here, whether or not it runs, so
 * that the reference page is whole and a scrape always has the same rows. */

/* Once per process, before anything is counted; again does no harm. */
void metric_rows_register_all(void);
