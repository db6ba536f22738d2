/* Detect: looks at stored pictures and finds out what is on them. A pool of workers.
 *
 * A live picture comes over the edge with its bytes; when none waits, a worker takes the oldest
 * unexamined row of the ledger. So live ones overtake the backlog, and whatever was queued
 * when the program died is found again. The verdicts go to the record stage. */

#include "stage/pipeline.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"

#define SWEEP_MS 1000
/* Rows of one look at the backlog; the first few may be in other hands. */
#define BACKLOG_PAGE 8
/* Pictures whose file could not be read are looked at again so often. */
#define UNREADABLE_PAUSE_MS 10000
/* Verdicts of one worker that wait to be recorded; when there are more, it waits for room. */
#define JUDGED_DEPTH 2
#define JUDGED_WAIT_MS 10000
/* A detector that fails for reasons of its own (memory) is asked again before the picture goes out
 * unexamined. */
#define DETECT_TRIES 3

struct detect_self {
    struct pipeline *pipeline;
    struct stage *stage;
    struct ledger *ledger;
    struct bus_out *out; /* verdicts */
    /* Rows up to here could not be worked on just now (their file cannot be read); they must not
     * hold up the ones behind them. Back to 0 from time to time. */
    int64_t after_row;
    struct mono_time look_again_at; /* at those */
};

/* Asks the detector; whatever goes wrong becomes part of the verdict, never the end of the picture.
 */
static void judge(struct detect_self *d, const struct settings *now, struct blob *bytes,
                  struct verdict *v)
{
    if (!now->detection_enabled || !d->pipeline->detector) {
        v->outcome = VERDICT_SKIPPED;
        return;
    }
    struct detect_request req = {.bytes = bytes, .confidence_min = -1};
    struct detector *detector = d->pipeline->detector;
    struct err e = {0};
    int r = -1;
    for (int i = 0; i < DETECT_TRIES && r < 0; i++) {
        verdict_done(v); /* what a failed attempt may have left */
        *v = (struct verdict){0};
        r = detector->ops->detect(detector, &req, v, &e);
        if (e.retry == ERR_NEVER)
            break;
        stage_heartbeat(d->stage);
    }
    if (r == 0) {
        detect_filter(&now->detect, &v->found);
        return;
    }
    verdict_done(v);
    *v = (struct verdict){.outcome = VERDICT_FAILED};
    text_copy(v->error, sizeof(v->error), e.text);
    log_warn("detect-failed", "%s; it is recorded without an answer", e.text);
    stage_count_failed(d->stage, e.text);
}

/* A swept row may be so fresh that intake has not put its file in place yet. */
static int get_bytes(struct detect_self *d, const struct snapshot *s, struct blob **ret,
                     struct err *e)
{
    int r = pipeline_bytes(d->pipeline, s, ret, e);
    if (r != -ENOENT)
        return r;
    (void)store_place(d->pipeline->store, s->id, false, s->path, NULL); /* the read below tells */
    return pipeline_bytes(d->pipeline, s, ret, e);
}

enum work { WORK_DONE, WORK_UNREADABLE, WORK_UNRECORDED };

/* The verdict goes to the record stage, and the claim with it: until it is recorded nobody else
 * looks at the picture. */
static enum work hand_over(struct detect_self *d, struct snapshot *s, struct verdict *v)
{
    struct judged *j = judged_new(d->pipeline->claims, s, v);
    if (bus_send_within(d->out, j, judged_unref, JUDGED_WAIT_MS) == 0)
        return WORK_DONE;
    judged_unref(j);
    log_error("record-late", "no verdict was recorded for %d s; the picture is examined again",
              JUDGED_WAIT_MS / 1000);
    return WORK_UNRECORDED;
}

/* Examines a picture whose row is claimed; the claim is given on, or dropped. */
static enum work examine(struct detect_self *d, struct snapshot *s)
{
    AUTO(settings) now = pipeline_settings(d->pipeline);
    AUTO(blob) bytes = NULL;
    AUTO_DONE(verdict) v = {0};
    struct err e = {0};
    int r = get_bytes(d, s, &bytes, &e);
    if (r == 0) {
        judge(d, now, bytes, &v);
    } else if (e.retry != ERR_NEVER) {
        log_error("read-failed", "%s; trying again", e.text);
        claims_drop(d->pipeline->claims, s->row);
        return WORK_UNREADABLE;
    } else {
        v.outcome = VERDICT_FAILED;
        text_copy(v.error, sizeof(v.error), e.text);
        log_error("read-failed", "%s; it is recorded without an answer", e.text);
    }
    stage_count_done(d->stage);
    return hand_over(d, s, &v);
}

/* Nothing when another worker has the row. */
static bool work_on(struct detect_self *d, struct snapshot *s, enum work *ret)
{
    if (!claims_take(d->pipeline->claims, s->row))
        return false;
    /* It may have been finished since it was found. */
    struct err e;
    if (ledger_snapshot_is_stored(d->ledger, s->row, &e) != 1) {
        claims_drop(d->pipeline->claims, s->row);
        return false;
    }
    log_context_camera(s->camera);
    log_context_snapshot(s->id);
    *ret = examine(d, s);
    log_context_camera(NULL);
    log_context_snapshot(NULL);
    return true;
}

static void detect_step(void *self, void *item)
{
    struct detect_self *d = self;
    enum work done; /* what fails the sweep comes back to */
    if (pipeline_ledger_rest_ms(d->pipeline) == 0)
        (void)work_on(d, item, &done);
}

enum backlog { BACKLOG_EMPTY, BACKLOG_WORKED };

/* One picture of the backlog: the oldest that nobody has. */
static enum backlog take_backlog(struct detect_self *d)
{
    enum backlog result = BACKLOG_EMPTY;
    int64_t after = d->after_row;
    int n, queued = 0;
    do {
        struct snapshot *rows[BACKLOG_PAGE];
        struct err e;
        n = ledger_backlog(d->ledger, after, rows, BACKLOG_PAGE, &e);
        if (n < 0) {
            log_error("ledger-failed", "look for unexamined pictures: %s", e.text);
            return BACKLOG_EMPTY;
        }
        queued += n;
        for (int i = 0; i < n; i++) {
            enum work done;
            after = rows[i]->row;
            if (result == BACKLOG_EMPTY && work_on(d, rows[i], &done)) {
                result = BACKLOG_WORKED;
                if (done == WORK_UNREADABLE)
                    d->after_row = rows[i]->row;
            }
            snapshot_unref(rows[i]);
        }
    } while (n == BACKLOG_PAGE && result == BACKLOG_EMPTY);
    stage_set_queued(d->stage, queued);
    return result;
}

static int64_t detect_sweep(void *self)
{
    struct detect_self *d = self;
    int64_t rest = pipeline_ledger_rest_ms(d->pipeline);
    if (rest > 0)
        return rest;
    if (d->after_row == 0)
        d->look_again_at = mono_add_ms(clock_mono(), UNREADABLE_PAUSE_MS);
    else if (mono_passed(d->look_again_at))
        d->after_row = 0;
    if (take_backlog(d) == BACKLOG_EMPTY)
        return SWEEP_MS;
    return pipeline_ledger_rest_ms(d->pipeline);
}

static int detect_init(void *self, struct stage *st, struct err *e)
{
    struct detect_self *d = self;
    d->stage = st;
    int r = ledger_open(d->pipeline->ledger_path, &d->ledger, e);
    if (r == 0)
        r = bus_out_open(d->pipeline->bus, EDGE_JUDGED, 1, JUDGED_DEPTH, &d->out, e);
    return r;
}

static void detect_fini(void *self)
{
    struct detect_self *d = self;
    bus_out_close(d->out);
    ledger_close(d->ledger);
}

void *detect_stage_new(struct pipeline *p)
{
    struct detect_self *d = xcalloc(1, sizeof(*d));
    d->pipeline = p;
    return d;
}

const struct stage_ops detect_stage = {
    .name = "detect",
    .hang_ms = 120000, /* a large model takes 15 s on a small machine, and has three tries */
    .init = detect_init,
    .step = detect_step,
    .sweep = detect_sweep,
    .fini = detect_fini,
};
