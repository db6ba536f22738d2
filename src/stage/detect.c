/* Detect: looks at stored pictures and records what is on them. A pool of workers.
 *
 * A live picture comes over the edge with its bytes; when none waits, a worker takes the oldest
 * unexamined row of the ledger. So live ones overtake the backlog, and whatever was queued
 * when the program died is found again. The verdict, the new file names and the outbox rows are one
 * transaction; the renames follow it and are repeated by store_recover() if we die between. */

#include "stage/pipeline.h"

#include <errno.h>
#include <string.h>

#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/text.h"
#include "picture/annotate.h"

#define SWEEP_MS 1000
/* Nothing is examined for so long when the ledger could not take a verdict: the work would be
 * thrown away. Also the promise after freed space. */
#define LEDGER_PAUSE_MS 5000
/* Pictures whose file could not be read are looked at again so often. */
#define UNREADABLE_PAUSE_MS 10000
/* A detector that fails for reasons of its own (memory) is asked again before the picture goes out
 * unexamined. */
#define DETECT_TRIES 3

struct detect_self {
    struct pipeline *pipeline;
    struct stage *stage;
    struct ledger *ledger;
    unsigned worker;
    /* Rows up to here could not be worked on just now (their file cannot be read); they must not
     * hold up the ones behind them. Back to 0 from time to time. */
    int64_t after_row;
    struct mono_time look_again_at; /* at those */
    struct mono_time rest_until;    /* the ledger takes nothing */
};

static struct metric examined = {.name = "snapshotd_examined_total",
                                 .kind = METRIC_COUNTER,
                                 .label = "outcome",
                                 .help = "Pictures with a recorded verdict"};
static struct metric persons = {.name = "snapshotd_person_pictures_total",
                                .kind = METRIC_COUNTER,
                                .label = "camera",
                                .help = "Pictures with at least one person"};
static struct metric decode_seconds = {.name = "snapshotd_decode_seconds",
                                       .kind = METRIC_HISTOGRAM,
                                       .help = "Decoding and preprocessing of a picture"};
static struct metric infer_seconds = {.name = "snapshotd_infer_seconds",
                                      .kind = METRIC_HISTOGRAM,
                                      .help = "Run of the model on a picture"};
static struct metric record_seconds = {.name = "snapshotd_event_to_record_seconds",
                                       .kind = METRIC_HISTOGRAM,
                                       .help = "From the last byte of a picture to its verdict"};

static void register_metrics(void)
{
    metric_register(&examined);
    metric_register(&persons);
    metric_register(&decode_seconds);
    metric_register(&infer_seconds);
    metric_register(&record_seconds);
}

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

/* The annotated copy is an extra: without it the picture still goes its way. */
static bool annotate(struct detect_self *d, const struct settings *now, const struct snapshot *s,
                     const struct blob *bytes, const struct verdict *v)
{
    if (!now->detect.annotate)
        return false;
    AUTO(blob) copy = NULL;
    struct err e = {0};
    int r = picture_annotate(bytes->data, bytes->size, &now->limits, &v->found,
                             (int)now->detect.annotate_width_max, (int)now->detect.annotate_quality,
                             &copy, &e);
    if (r == 0)
        r = store_put(d->pipeline->store, s->id, true, copy->data, copy->size, &e);
    if (r < 0)
        log_warn("annotate-failed", "no annotated copy: %s", e.text);
    return r == 0;
}

/* File names after the verdict: a person makes "fetch_" into "human_" and, beside it, "detect_". */
struct names {
    char path[SNAPSHOT_PATH_MAX];
    char annotated[SNAPSHOT_PATH_MAX]; /* "" = none */
};

static void choose_names(struct detect_self *d, const struct settings *now,
                         const struct snapshot *s, const struct blob *bytes,
                         const struct verdict *v, struct names *ret)
{
    text_copy(ret->path, sizeof(ret->path), s->path);
    ret->annotated[0] = '\0';
    if (verdict_persons(v) == 0)
        return;
    /* A pushed picture keeps its name: then there is nothing to replace. */
    if (snapshot_name_renamed(s->path, "human", ret->path, sizeof(ret->path)) < 0)
        text_copy(ret->path, sizeof(ret->path), s->path);
    if (!bytes || !annotate(d, now, s, bytes, v))
        return;
    if (snapshot_name_annotated(s->path, ret->annotated, sizeof(ret->annotated)) < 0) {
        ret->annotated[0] = '\0';
        store_discard(d->pipeline->store, s->id, true);
    }
}

/* Renames after the commit. What fails here is repeated by intake's sweep. */
static void move_files(struct detect_self *d, const struct snapshot *s, const struct names *n)
{
    struct store *store = d->pipeline->store;
    struct err e = {0};
    /* Intake may have been unable to put it in place. */
    int r = store_place(store, s->id, false, s->path, &e);
    if (r == -ENOENT) /* a settle was quicker with the rename */
        r = 0;
    if (r == 0 && strcmp(s->path, n->path) != 0)
        r = store_rename(store, s->path, n->path, &e);
    if (r == 0 && n->annotated[0])
        r = store_place(store, s->id, true, n->annotated, &e);
    if (r < 0)
        log_error("place-failed", "%s; trying again", e.text);
}

static void report(struct detect_self *d, const struct snapshot *s, const struct verdict *v)
{
    metric_inc(&examined, verdict_outcome_names[v->outcome]);
    if (verdict_persons(v))
        metric_inc(&persons, s->camera);
    if (v->outcome == VERDICT_EXAMINED) {
        metric_observe(&decode_seconds, NULL, v->decode_ms / 1000);
        metric_observe(&infer_seconds, NULL, v->infer_ms / 1000);
    }
    metric_observe(&record_seconds, NULL,
                   (double)MAX(clock_wall().us - s->received_at.us, (int64_t)0) / 1e6);
    stage_count_done(d->stage);
    char detail[VERDICT_DETAIL_MAX];
    log_info("examined", "%s: %s", verdict_outcome_names[v->outcome],
             verdict_persons(v) ? verdict_detail(v, detail)
             : v->error[0]      ? v->error
                                : "no person");
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

/* Unless it is done, the picture is still unexamined and is tried again. */
static enum work examine(struct detect_self *d, const struct snapshot *s)
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
        return WORK_UNREADABLE;
    } else {
        v.outcome = VERDICT_FAILED;
        text_copy(v.error, sizeof(v.error), e.text);
        log_error("read-failed", "%s; it is recorded without an answer", e.text);
    }
    struct names n;
    choose_names(d, now, s, bytes, &v, &n);
    FAULT_POINT("detect-before-record");
    r = ledger_snapshot_examined(d->ledger, s, &v, n.path, n.annotated, now->destinations, &e);
    if (r == -ENOTUNIQ) { /* cannot be, paths are chosen with this in mind; keep the first name */
        log_error("name-taken", "%s; the picture keeps its first name", e.text);
        r = ledger_snapshot_examined(d->ledger, s, &v, NULL, NULL, now->destinations, &e);
        text_copy(n.path, sizeof(n.path), s->path);
        store_discard(d->pipeline->store, s->id, true);
        n.annotated[0] = '\0';
    }
    if (r < 0) {
        if (n.annotated[0])
            store_discard(d->pipeline->store, s->id, true);
        if (r == -EALREADY)
            return WORK_DONE;
        log_error("ledger-failed", "record a verdict: %s; trying again in %d s", e.text,
                  LEDGER_PAUSE_MS / 1000);
        stage_count_failed(d->stage, e.text);
        d->rest_until = mono_add_ms(clock_mono(), LEDGER_PAUSE_MS);
        return WORK_UNRECORDED;
    }
    FAULT_POINT("detect-after-record");
    move_files(d, s, &n);
    report(d, s, &v);
    pipeline_outcome(d->pipeline, s->id);
    pipeline_wake(d->pipeline, PIPELINE_DELIVER);
    return WORK_DONE;
}

static enum work work_on(struct detect_self *d, const struct snapshot *s)
{
    log_context_camera(s->camera);
    log_context_snapshot(s->id);
    enum work done = examine(d, s);
    log_context_camera(NULL);
    log_context_snapshot(NULL);
    return done;
}

static void detect_step(void *self, void *item)
{
    struct detect_self *d = self;
    const struct snapshot *s = item;
    if (!mono_passed(d->rest_until))
        return; /* the sweep comes back to it */
    if (!claims_take(d->pipeline->claims, d->worker, s->row))
        return; /* a sweep was quicker */
    /* The sweep of another worker may have finished it while it waited here. */
    struct err e;
    if (ledger_snapshot_is_stored(d->ledger, s->row, &e) == 1)
        (void)work_on(d, s); /* what fails the sweep comes back to */
    claims_drop(d->pipeline->claims, d->worker);
}

enum backlog { BACKLOG_EMPTY, BACKLOG_WORKED };

/* One picture of the backlog. */
static enum backlog take_backlog(struct detect_self *d)
{
    struct snapshot *rows[CLAIM_WORKERS_MAX + 1];
    int want = (int)MIN(d->pipeline->detect_workers + 1, (unsigned)ARRAY_LEN(rows));
    struct err e;
    int n = ledger_backlog(d->ledger, d->after_row, rows, want, &e);
    if (n < 0) {
        log_error("ledger-failed", "look for unexamined pictures: %s", e.text);
        return BACKLOG_EMPTY;
    }
    stage_set_queued(d->stage, n);
    enum backlog result = BACKLOG_EMPTY;
    for (int i = 0; i < n; i++) {
        if (result == BACKLOG_EMPTY && claims_take(d->pipeline->claims, d->worker, rows[i]->row)) {
            /* The list may be older than another worker's commit. */
            if (ledger_snapshot_is_stored(d->ledger, rows[i]->row, &e) == 1) {
                result = BACKLOG_WORKED;
                if (work_on(d, rows[i]) == WORK_UNREADABLE)
                    d->after_row = rows[i]->row;
            }
            claims_drop(d->pipeline->claims, d->worker);
        }
        snapshot_unref(rows[i]);
    }
    return result;
}

static int64_t detect_sweep(void *self)
{
    struct detect_self *d = self;
    int64_t rest = mono_until_ms(d->rest_until);
    if (rest > 0)
        return rest;
    if (d->after_row == 0)
        d->look_again_at = mono_add_ms(clock_mono(), UNREADABLE_PAUSE_MS);
    else if (mono_passed(d->look_again_at))
        d->after_row = 0;
    if (take_backlog(d) == BACKLOG_EMPTY)
        return SWEEP_MS;
    return mono_until_ms(d->rest_until);
}

static int detect_init(void *self, struct stage *st, struct err *e)
{
    struct detect_self *d = self;
    d->stage = st;
    return ledger_open(d->pipeline->ledger_path, &d->ledger, e);
}

static void detect_fini(void *self)
{
    struct detect_self *d = self;
    ledger_close(d->ledger);
}

void *detect_stage_new(struct pipeline *p, unsigned worker)
{
    struct detect_self *d = xcalloc(1, sizeof(*d));
    d->pipeline = p;
    d->worker = worker;
    return d;
}

const struct stage_ops detect_stage = {
    .name = "detect",
    .register_metrics = register_metrics,
    .init = detect_init,
    .step = detect_step,
    .sweep = detect_sweep,
    .fini = detect_fini,
};
