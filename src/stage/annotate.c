/* Annotate: draws the copies with boxes and labels that verdicts have promised, after everybody who
 * waits for the verdict has been told.
 *
 * The record stage names the copy in the row and sends the picture's id here. A message that is
 * lost costs time: the sweep finds every unsettled row whose copy is not there, also those of the
 * last run; it comes soon when something had to be left to it. While pictures are being examined
 * nothing is drawn, for half a minute at most, so a burst is examined first and drawn afterwards.
 * The thread has the least priority and hardly ever writes to the ledger: nobody must wait for a
 * writer that waits for the processor. Intake settles the rows, and is woken for that: only then
 * are copies due at their storages. */

#include "stage/pipeline.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "picture/annotate.h"

#define SWEEP_MS 10000
/* How often it is looked whether the detectors rest, and for how long they may keep it waiting. */
#define BUSY_LOOK_MS 200
#define BUSY_MAX_MS 30000
/* Rows of one look at the ledger. */
#define BATCH 16
/* Added to the process's own; the system stops at the least priority that there is. */
#define NICENESS 19
/* What a stop still draws of what was asked for; the next start does the rest. */
#define LAST_DRAWINGS_MS 1000

struct annotate_self {
    struct pipeline *pipeline;
    struct stage *stage;
    struct ledger *ledger;
    int64_t after_row;           /* the sweep has come so far */
    struct mono_time busy_since; /* 0 = the detectors rested when we looked last */
    struct mono_time stop_at;    /* set when the stage begins to stop */
    bool left;                   /* something to the sweep, since the last flush */
    bool drawn;                  /* something, likewise */
};

static struct metric annotated = {.name = "snapshotd_annotated_total",
                                  .kind = METRIC_COUNTER,
                                  .label = "outcome",
                                  .help = "Annotated copies: drawn, or failed for good"};

static void register_metrics(void)
{
    metric_register(&annotated);
}

/* The picture may be on its way from one name to the next: detect renames it after the commit. */
static int get_bytes(struct annotate_self *a, const struct ledger_unsettled *u,
                     const struct snapshot *s, struct blob **ret, struct err *e)
{
    int r = pipeline_bytes(a->pipeline, s, ret, e);
    if (r != -ENOENT)
        return r;
    struct store_recovery done = {0};
    (void)store_finish(a->pipeline->store, u, &done, NULL); /* the read below tells */
    return pipeline_bytes(a->pipeline, s, ret, e);
}

static int draw(struct annotate_self *a, const struct ledger_unsettled *u, struct err *e)
{
    AUTO(settings) now = pipeline_settings(a->pipeline);
    AUTO(snapshot) s = NULL;
    AUTO_DONE(verdict) v = {0};
    AUTO(blob) bytes = NULL;
    AUTO(blob) copy = NULL;
    int r = ledger_snapshot_get(a->ledger, u->id, &s, e);
    if (r == 0)
        r = ledger_verdict_get(a->ledger, u->id, &v, e);
    if (r == 0)
        r = get_bytes(a, u, s, &bytes, e);
    if (r == 0)
        r = picture_annotate(bytes->data, bytes->size, &now->limits, &v.found,
                             (int)now->detect.annotate_width_max, (int)now->detect.annotate_quality,
                             &copy, e);
    if (r == 0)
        r = store_put(a->pipeline->store, u->id, true, copy->data, copy->size, e);
    if (r == 0)
        r = store_place(a->pipeline->store, u->id, true, u->annotated_path, e);
    return r;
}

/* The copy is an extra: a picture that cannot have one goes its way without. */
static void give_up(struct annotate_self *a, const struct ledger_unsettled *u,
                    const struct err *why)
{
    struct err e = {0};
    log_warn("annotate-failed", "no annotated copy: %s", why->text);
    metric_inc(&annotated, "failed");
    int r = ledger_annotation_drop(a->ledger, u->row, &e);
    if (r < 0)
        log_error("ledger-failed", "forget an annotated copy: %s; trying again", e.text);
}

static void bring(struct annotate_self *a, const struct ledger_unsettled *u)
{
    if (u->annotated_path[0] == '\0' || store_holds(a->pipeline->store, u->annotated_path))
        return;
    struct err e = {0};
    log_context_snapshot(u->id);
    int r = draw(a, u, &e);
    if (r == 0) {
        a->drawn = true;
        metric_inc(&annotated, "drawn");
        pipeline_tell(a->pipeline, NEWS_DRAWN, u->id);
        stage_count_done(a->stage);
    } else {
        stage_count_failed(a->stage, e.text);
        if (e.retry == ERR_NEVER)
            give_up(a, u, &e);
        else
            log_warn("annotate-later", "no annotated copy yet: %s; trying again", e.text);
    }
    pipeline_outcome(a->pipeline, u->id); /* requests that wait for the copy look again */
    log_context_snapshot(NULL);
}

static bool must_wait(struct annotate_self *a)
{
    struct mono_time now = clock_mono();
    if (claims_count(a->pipeline->claims) == 0)
        a->busy_since.us = 0;
    else if (!a->busy_since.us)
        a->busy_since = now;
    return a->busy_since.us && mono_diff_ms(now, a->busy_since) < BUSY_MAX_MS;
}

/* What is left here the sweep comes to. */
static void annotate_step(void *self, void *item)
{
    struct annotate_self *a = self;
    if (stage_stopping(a->stage) && !a->stop_at.us)
        a->stop_at = mono_add_ms(clock_mono(), LAST_DRAWINGS_MS);
    if (a->stop_at.us ? mono_passed(a->stop_at) : must_wait(a)) {
        a->left = true;
        return;
    }
    struct ledger_unsettled u;
    struct err e = {0};
    int r = ledger_unsettled_get(a->ledger, item, &u, &e);
    if (r == 1)
        bring(a, &u);
    else if (r < 0)
        log_error("ledger-failed", "look for a copy to draw: %s", e.text);
}

static void annotate_flush(void *self)
{
    struct annotate_self *a = self;
    if (a->drawn)
        pipeline_wake(a->pipeline, PIPELINE_INTAKE);
    if (a->left)
        stage_wake(a->stage);
    a->drawn = a->left = false;
}

/* One drawing at most, so that a stop and the pictures of now are never further away than that. */
static int64_t annotate_sweep(void *self)
{
    struct annotate_self *a = self;
    struct ledger_unsettled rows[BATCH];
    struct err e = {0};
    int n = ledger_unsettled(a->ledger, a->after_row, rows, BATCH, &e);
    if (n < 0) {
        log_error("ledger-failed", "look for copies to draw: %s", e.text);
        return SWEEP_MS;
    }
    for (int i = 0; i < n; i++) {
        a->after_row = rows[i].row;
        if (rows[i].annotated_path[0] == '\0' ||
            store_holds(a->pipeline->store, rows[i].annotated_path))
            continue;
        if (must_wait(a)) {
            a->after_row = 0;
            return BUSY_LOOK_MS;
        }
        bring(a, &rows[i]);
        annotate_flush(a);
        return 0;
    }
    if (n == BATCH)
        return 0;
    a->after_row = 0;
    return SWEEP_MS;
}

static int annotate_init(void *self, struct stage *st, struct err *e)
{
    struct annotate_self *a = self;
    a->stage = st;
    /* 0 is this thread on Linux. If it fails, drawing competes with detection, that is all. */
    (void)setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + NICENESS);
    return ledger_open(a->pipeline->ledger_path, &a->ledger, e);
}

static void annotate_fini(void *self)
{
    struct annotate_self *a = self;
    ledger_close(a->ledger);
}

void *annotate_stage_new(struct pipeline *p)
{
    struct annotate_self *a = xcalloc(1, sizeof(*a));
    a->pipeline = p;
    return a;
}

const struct stage_ops annotate_stage = {
    .name = "annotate",
    .register_metrics = register_metrics,
    .init = annotate_init,
    .step = annotate_step,
    .flush = annotate_flush,
    .sweep = annotate_sweep,
    .fini = annotate_fini,
};
