#pragma once
/* Reports the program's errors to Sentry, on a thread of its own.
 *
 * Each log line of level error becomes an event, grouped by its id; the lines before it, from info
 * up, go along as breadcrumbs. A thread that logs pays for a copy of its line and is never kept
 * waiting: what does not fit the queue is dropped and counted. The reporting thread writes an event
 * to the spool and sends the spool's oldest, so that a restart or days without the network cost
 * nothing but the oldest beyond the limits. A crash of the run before is found at the start, told
 * in the log, and reported as well (crash.h, crash_report.h); that is so without a DSN, too.
 *
 * All calls are the main thread's but report_set_dsn(), report_add_secrets() and report_status(),
 * which any thread may make. */

#include <stdbool.h>

#include "base/err.h"
#include "base/macros.h"
#include "cfg/cfg.h"
#include "report/report_config.h"

/* Time at the end for what was not sent yet, as Sentry's own libraries have it. */
#define REPORT_FLUSH_MS 2000

struct report_options {
    const struct report_config *config;
    const struct cfg *secrets; /* whose secrets are taken out of all texts; NULL = none */
    const char *folder;        /* for the spool and for what a crash leaves */
    const char *server_name;
    const char *version; /* of the program */
};

struct report;
void report_register_metrics(void);
/* Never fails: what cannot be had is told in the log, and the program goes on without. */
struct report *report_start(const struct report_options *o);
/* A DSN that comes later, or another one; "" or NULL = none from now on. -EINVAL: it is none. */
int report_set_dsn(struct report *r, const char *dsn, struct err *e);
/* More values that must not leave the house, e.g. after a reload. */
void report_add_secrets(struct report *r, const struct cfg *c);
/* Libraries were loaded: a crash in them shall be told by name. */
void report_note_libraries(struct report *r);
/* Sends what waits, for at most `flush_ms`; the rest stays for the next start. May be called
 * twice. */
void report_stop(struct report *r, int64_t flush_ms);
void report_free(struct report *r);
DEFINE_AUTO(report, report_free)

struct report_status {
    bool on;
    char where[128];      /* "https://host", "" when off */
    char last_error[256]; /* of the last try, "" when it went well */
    unsigned long long sent, dropped;
    unsigned waiting; /* in the spool */
    int64_t pause_ms; /* until the next try, 0 = none is due */
};
void report_status(struct report *r, struct report_status *ret);
