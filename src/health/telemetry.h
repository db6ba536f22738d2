#pragma once
/* Tells Cronitor and Healthchecks.io how the program is: at once when that changes, else at an
 * interval. On one thread of its own, both services at a time, each request with its time: one that
 * hangs delays neither the other nor anything else. Nothing waits in a queue, only the newest news
 * counts.
 *
 * Their addresses hold keys: nothing of them but the host is ever logged. */

#include "base/err.h"
#include "health/ping.h"

struct telemetry;

struct telemetry_options {
    struct cronitor_target cronitor; /* copied */
    const char *healthchecks_url;    /* "" = it is off; copied */
    int64_t interval_ms;
    int64_t stale_ms; /* news that is older is a failure of its own: who makes it hangs */
};

void telemetry_register_metrics(void);
/* Tells Healthchecks that the program starts. *ret is NULL when both are off, and all calls accept
 * that. */
int telemetry_start(const struct telemetry_options *o, struct telemetry **ret, struct err *e);
/* Any thread; never blocks. */
void telemetry_tell(struct telemetry *t, const struct health_news *news);
/* Keys that came later (from a vault, or by a reload). Any thread; copied. */
void telemetry_set_cronitor(struct telemetry *t, const char *api_key, const char *monitor_key);
/* The last word: stopped in order, or why not. Waits for it at most `patience_ms`, then goes on
 * without. -ETIMEDOUT: the thread did not end, and the process must not free what it may use: it
 * leaks. Frees. */
int telemetry_stop(struct telemetry *t, const char *failure, int64_t patience_ms);
