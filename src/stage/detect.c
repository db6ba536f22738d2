/* Detect: looks at stored pictures and finds out what is on them. A pool of workers.
 *
 * A live picture comes over the edge with its bytes; when none waits, a worker takes the oldest
 * unexamined row of the ledger. So live ones overtake the backlog, and whatever was queued
 * when the program died is found again. The verdicts go to the record stage. When nothing else is
 * to be done, pictures are examined once more that somebody wants examined again.
 *
 * A worker never waits for the cloud: what is to be asked there goes to the consult workers
 * (consult.c), so that pictures which the local detector can answer are not held up. */

#include "stage/pipeline.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "ledger/ledger_again.h"
#include "stage/consult.h"

#define SWEEP_MS 1000
/* Rows of one look at the backlog; the first few may be in other hands. */
#define BACKLOG_PAGE 8
/* Pictures whose file could not be read are looked at again so often. */
#define UNREADABLE_PAUSE_MS 10000
/* Verdicts of one worker that wait to be recorded; when there are more, it waits for room. */
#define JUDGED_DEPTH 2
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
    int64_t again_after_row;        /* the same of those that are examined again */
    struct mono_time look_again_at; /* at those */
};

/* Asks the local detector; whatever goes wrong becomes part of the verdict, never the end of the
 * picture. Returns the error's code. */
static int judge(struct detect_self *d, const struct settings *now, struct detector *detector,
                 struct blob *bytes, double person_floor, struct verdict *v)
{
    struct detect_request req = {
        .bytes = bytes, .confidence_min = -1, .person_floor = person_floor};
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
        return 0;
    }
    verdict_done(v);
    *v = (struct verdict){.outcome = VERDICT_FAILED};
    text_copy(v->error, sizeof(v->error), e.text);
    log_warn("detect-failed", "%s; it is recorded without an answer", e.text);
    stage_count_failed(d->stage, e.text);
    return r;
}

enum work { WORK_DONE, WORK_UNREADABLE, WORK_UNRECORDED, WORK_POSTPONED };

static enum work hand_over(struct detect_self *d, struct snapshot *s, struct verdict *v)
{
    stage_count_done(d->stage);
    return pipeline_hand_over(d->pipeline, d->out, s, v) ? WORK_DONE : WORK_UNRECORDED;
}

/* Passes the picture on to the consult workers, with the local answer if there is one. */
static enum work ask_cloud(struct detect_self *d, const struct settings *now, struct snapshot *s,
                           struct verdict *v, unsigned doubts, bool live)
{
    struct pipeline *p = d->pipeline;
    struct doubt doubt = {.snapshot = snapshot_ref(s), .local = *v, .doubts = doubts, .live = live};
    if (atomic_load(&p->cloud) && doubts_put(p->doubts, &doubt)) {
        *v = (struct verdict){0};
        stage_count_done(d->stage);
        pipeline_wake(p, PIPELINE_CONSULT);
        return WORK_DONE;
    }
    snapshot_unref(s);
    if (!atomic_load(&p->cloud)) {
        consult_count_without(WITHOUT_ABSENT);
        cascade_without(now->cloud.on_failure == CLOUD_LOCAL, VERDICT_FAILED,
                        "the cloud cannot be asked: the log says why, at the start or reload", v);
        return hand_over(d, s, v);
    }
    if (v->outcome != VERDICT_EXAMINED) {
        claims_drop(p->claims, s->row);
        return WORK_POSTPONED; /* the row waits as well as we could */
    }
    consult_count_without(WITHOUT_FULL);
    cascade_without(now->cloud.on_failure == CLOUD_LOCAL, VERDICT_FAILED,
                    "the cloud was not asked: too many pictures wait for it", v);
    return hand_over(d, s, v);
}

static bool goes_to_cloud_unseen(struct detect_self *d, const struct settings *now)
{
    return now->detect_mode == DETECT_CLOUD ||
           (now->detect_mode == DETECT_CASCADE && !atomic_load(&d->pipeline->detector));
}

/* The look of the mode that is in force; what the cloud should say more about goes there. */
static enum work look(struct detect_self *d, const struct settings *now, struct snapshot *s,
                      struct blob *bytes, bool live)
{
    AUTO_DONE(verdict) v = {.outcome = VERDICT_SKIPPED};
    struct detector *detector = atomic_load(&d->pipeline->detector);
    if (!detect_mode_has_local(now->detect_mode) || !detector)
        return hand_over(d, s, &v);
    bool cascade = now->detect_mode == DETECT_CASCADE;
    struct cascade_rule rule = pipeline_cascade_rule(now, s->camera);
    int r = judge(d, now, detector, bytes, cascade && rule.low < rule.high ? rule.low : 0, &v);
    unsigned doubts = cascade ? cascade_doubts(&rule, &v) : 0;
    if (doubts && r != -EINVAL) /* what cannot be decoded here cannot be there */
        return ask_cloud(d, now, s, &v, doubts, live);
    return hand_over(d, s, &v);
}

/* Examines a picture whose row is claimed; the claim is given on, or dropped. */
static enum work examine(struct detect_self *d, struct snapshot *s, bool live)
{
    AUTO(settings) now = pipeline_settings(d->pipeline);
    AUTO_DONE(verdict) v = {.outcome = VERDICT_SKIPPED};
    AUTO(blob) bytes = NULL;
    struct err e = {0};
    if (goes_to_cloud_unseen(d, now))
        return ask_cloud(d, now, s, &v, 0, live);
    if (pipeline_bytes_placed(d->pipeline, s, &bytes, &e) == 0)
        return look(d, now, s, bytes, live);
    if (e.retry != ERR_NEVER) {
        log_error("read-failed", "%s; trying again", e.text);
        claims_drop(d->pipeline->claims, s->row);
        return WORK_UNREADABLE;
    }
    v.outcome = VERDICT_FAILED;
    text_copy(v.error, sizeof(v.error), e.text);
    log_error("read-failed", "%s; it is recorded without an answer", e.text);
    return hand_over(d, s, &v);
}

static enum work examine_in_context(struct detect_self *d, struct snapshot *s, bool live)
{
    log_context_camera(s->camera);
    log_context_snapshot(s->id);
    enum work done = examine(d, s, live);
    log_context_camera(NULL);
    log_context_snapshot(NULL);
    return done;
}

/* Nothing when another worker has the row. */
static bool work_on(struct detect_self *d, struct snapshot *s, bool live, enum work *ret)
{
    if (!claims_take(d->pipeline->claims, s->row))
        return false;
    /* It may have been finished since it was found. */
    struct err e;
    if (ledger_snapshot_is_stored(d->ledger, s->row, &e) != 1) {
        claims_drop(d->pipeline->claims, s->row);
        return false;
    }
    *ret = examine_in_context(d, s, live);
    return true;
}

static void detect_step(void *self, void *item)
{
    struct detect_self *d = self;
    enum work done; /* what fails the sweep comes back to */
    if (pipeline_ledger_rest_ms(d->pipeline) == 0)
        (void)work_on(d, item, true, &done);
}

enum backlog { BACKLOG_EMPTY, BACKLOG_WORKED, BACKLOG_BUSY };

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
            if (result == BACKLOG_EMPTY && work_on(d, rows[i], false, &done)) {
                result = done == WORK_POSTPONED ? BACKLOG_BUSY : BACKLOG_WORKED;
                if (done == WORK_UNREADABLE)
                    d->after_row = rows[i]->row;
            }
            snapshot_unref(rows[i]);
        }
    } while (n == BACKLOG_PAGE && result == BACKLOG_EMPTY);
    stage_set_queued(d->stage, queued);
    return result;
}

/* The record stage died, or could not, between the verdict and this. The claim keeps it away. */
static enum work remove_old_copy(struct detect_self *d, const struct snapshot *s)
{
    struct err e = {0};
    int r = pipeline_clear_copy(d->pipeline, d->ledger, s, &e);
    if (r < 0)
        log_error("copy-failed", "remove an old copy with boxes: %s; trying again", e.text);
    claims_drop(d->pipeline->claims, s->row);
    pipeline_wake(d->pipeline, PIPELINE_INTAKE);
    return r < 0 ? WORK_UNREADABLE : WORK_DONE;
}

static enum work work_again(struct detect_self *d, int64_t row)
{
    struct snapshot *now = NULL;
    struct err e;
    if (!claims_take(d->pipeline->claims, row))
        return WORK_POSTPONED;
    /* As it is under the claim. */
    if (ledger_again_get(d->ledger, row, &now, &e) != 1) {
        claims_drop(d->pipeline->claims, row);
        return WORK_POSTPONED;
    }
    enum work done = now->unsettled ? remove_old_copy(d, now) : examine_in_context(d, now, false);
    snapshot_unref(now);
    return done;
}

/* One picture that is to be examined again. True when something was done. */
static bool take_again(struct detect_self *d)
{
    struct snapshot *rows[BACKLOG_PAGE];
    struct err e;
    bool worked = false;
    int n = ledger_again_next(d->ledger, d->again_after_row, rows, BACKLOG_PAGE, &e);
    if (n < 0) {
        log_error("ledger-failed", "look for pictures to examine again: %s", e.text);
        return false;
    }
    for (int i = 0; i < n; i++) {
        enum work done = worked ? WORK_POSTPONED : work_again(d, rows[i]->row);
        worked = worked || done != WORK_POSTPONED;
        if (done == WORK_UNREADABLE)
            d->again_after_row = rows[i]->row;
        snapshot_unref(rows[i]);
    }
    return worked;
}

/* Enough wait for their turn at the cloud: those of the backlog are as well off in the ledger. The
 * consult stage wakes us. */
static bool cloud_is_behind(struct pipeline *p)
{
    return p->doubts && doubts_due(p->doubts) >= DOUBTS_BACKLOG_MAX;
}

static int64_t detect_sweep(void *self)
{
    struct detect_self *d = self;
    int64_t rest = pipeline_ledger_rest_ms(d->pipeline);
    if (rest > 0)
        return rest;
    if (d->after_row == 0 && d->again_after_row == 0)
        d->look_again_at = mono_add_ms(clock_mono(), UNREADABLE_PAUSE_MS);
    else if (mono_passed(d->look_again_at))
        d->after_row = d->again_after_row = 0;
    if (cloud_is_behind(d->pipeline))
        return SWEEP_MS;
    enum backlog found = take_backlog(d);
    if (found != BACKLOG_WORKED && (found == BACKLOG_BUSY || !take_again(d)))
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
