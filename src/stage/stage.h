#pragma once
/* A stage: one thread with a loop that is written once (stage.c). It waits for an item on its edge,
 * a wake-up, an extra descriptor or its sweep timer, and calls the stage's functions. Stage code is
 * linear, runs in the stage's own thread, may block up to its deadline, and is tested by calling
 * step() and sweep() directly.
 *
 * Start: stage_start() returns when init() succeeded or failed. Stop: stage_stop() says "no new
 * work"; the loop drains what is on its edge, asks idle() until true, and ends; stage_join() waits.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "sys/bus.h"

/* Items between two calls of flush(). */
#define STAGE_BATCH_MAX 16

/* A loop that has not turned for so long hangs, unless the stage says otherwise. No single call
 * waits longer: for other writers of the ledger 10 s, for a sick disk some ten. */
#define STAGE_HANG_MS 60000

struct stage;

struct stage_ops {
    const char *name;
    /* Its longest legal work between two turns of the loop (or stage_heartbeat()); 0 =
     * STAGE_HANG_MS. Who is silent for longer ends the program (health/health.h). */
    int64_t hang_ms;
    /* Enters the stage's metric rows; called once per process, before any stage starts. NULL =
     * none. */
    void (*register_metrics)(void);
    /* In the stage's thread, before stage_start() returns. On failure the thread ends; fini() runs.
     */
    int (*init)(void *self, struct stage *st, struct err *e);
    /* One item; the reference stays valid during the call. NULL for stages without an edge. */
    void (*step)(void *self, void *item);
    /* The edge is empty for now, or STAGE_BATCH_MAX items have come since the last time: what
     * step() has only collected is done now. NULL when step() does all. */
    void (*flush)(void *self);
    /* Looks for work that needs no message: backlog, retries, timers. Called at start, after a
     * wake-up, and when its time has come. Returns ms until it wants to be called again, 0 for "at
     * once, after a look at the edge". Mandatory. */
    int64_t (*sweep)(void *self);
    /* Extra descriptor to wait on, and what to do when it is readable. Both or none. */
    int (*fd)(void *self);
    void (*ready)(void *self);
    /* While stopping: true when nothing is under way any more. NULL = always. */
    bool (*idle)(void *self);
    /* In the stage's thread, after the loop. Accepts half-made state. */
    void (*fini)(void *self);
};

struct stage_spec {
    const struct stage_ops *ops;
    void *self;
    unsigned index; /* of a pool; shown in the thread's name */
    struct bus *bus;
    const char *edge_in; /* NULL = none */
    int receive_depth;
};

int stage_start(const struct stage_spec *spec, struct stage **ret, struct err *e);
void stage_wake(struct stage *st); /* any thread; a nudge that is never lost and never piles up */
void stage_stop(struct stage *st); /* any thread; may be called twice */
bool stage_stopping(const struct stage *st);
/* Waits until the thread has ended or the deadline has passed; -ETIMEDOUT then. */
int stage_join(struct stage *st, struct mono_time deadline);
void stage_free(struct stage *st); /* after a successful join; NULL is fine */

/* What the outside sees of a stage. The stage reports through the setters. */
struct stage_status {
    char name[32];
    bool running;
    int64_t heartbeat_age_ms; /* since the loop last turned; grows while a call blocks */
    int64_t hang_ms;          /* older than this it hangs */
    int64_t done, failed, queued;
    char last_error[ERR_TEXT_MAX];
};
void stage_status(struct stage *st, struct stage_status *ret);
/* Where its thread is, see stack_of_thread(). Not after the join. */
size_t stage_stack(const struct stage *st, int64_t timeout_ms, uintptr_t *ret, size_t max);
void stage_count_done(struct stage *st);
/* Counts a failure and keeps its text; the log line is the caller's. */
void stage_count_failed(struct stage *st, const char *text);
void stage_set_queued(struct stage *st, int64_t n);
/* A call that blocks longer than usual but makes progress says so. */
void stage_heartbeat(struct stage *st);
/* The next call may block for so long and is no hang before; the heartbeat is fresh until then. */
void stage_expect(struct stage *st, int64_t ms);
