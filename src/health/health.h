#pragma once
/* Watches the program from a thread of its own: looks at it once a second, has it judged (judge.h),
 * and tells everybody who wants to know: the log, the metrics, the service manager (its watchdog is
 * fed only while the program is alive), Cronitor and Healthchecks (telemetry.h), and by
 * health_report() the API.
 *
 * A thread that hangs or has ended ends the program: it is named in the log with its stack, the
 * main loop is asked to stop everything in order and exit with 1, and when that does not happen in
 * time either, the process ends from here. Nothing is lost: the ledger resumes at the next start.
 */

#include "base/err.h"
#include "health/health_config.h"
#include "health/judge.h"

struct health;

struct health_options {
    const struct health_config *config; /* borrowed until health_start() returns */
    const char *cronitor_monitor_key;   /* "" = off; likewise */
    const char *host;                   /* likewise */
    int64_t grace_ms;                   /* for an end in order */
    /* Between health_watch(), which calls it once, and health_end(), else on the health thread; one
     * call at a time; must not block. */
    void (*look)(void *arg, struct health_view *ret);
    /* Callers of the stage of this name, see stack_of_thread(); 0 = not known. */
    size_t (*stack)(void *arg, const char *stage, uintptr_t *ret, size_t max);
    /* The important numbers, for `systemctl status`: "4 cameras, 12 wait". */
    void (*numbers)(void *arg, char *ret, size_t size);
    /* Something hangs: the main loop is to end with 1. Once; likewise. */
    void (*give_up)(void *arg);
    void *arg;
};

void health_register_metrics(void);
/* First of all, before the ledger: a long start (a migration) asks the service manager for more
 * time from here. Healthchecks hear that the program starts. */
int health_start(const struct health_options *o, struct health **ret, struct err *e);
/* The program is ready: it is looked at, before this returns and from now on. */
void health_watch(struct health *h);
/* The main loop turns. */
void health_beat(struct health *h);
/* It will be silent for up to this long, until the next beat, and that is no hang. */
void health_expect_silence(struct health *h, int64_t ms);
/* It stops: no more looks. When it has not ended within its time the process ends from here. */
void health_end(struct health *h);
/* The last word to the services: in order, or why not (then what was stuck is named before it).
 * Waits for them a moment only. NULL is fine. Frees; -ETIMEDOUT when a thread is still there: the
 * process then ends by _exit(). */
int health_stop(struct health *h, const char *failure);

/* Any thread. The last report, to be freed with free(); before the first its `at` is 0. Older than
 * HEALTH_STALE_MS: it is said to be stuck, whatever it said. */
#define HEALTH_STALE_MS 30000
struct health_report *health_report(struct health *h);
/* Keys for Cronitor that came later, or others than before. The main thread. */
void health_set_cronitor(struct health *h, const struct health_config *c, const char *monitor_key);
