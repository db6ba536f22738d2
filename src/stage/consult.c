/* Consult: asks the detector that costs money, for the pictures that the detect workers pass on. A
 * pool, as large as the requests that make sense at once; its workers wait in the network.
 *
 * The order of things keeps money together. A known answer is taken from the ledger. Else the call
 * is counted against the budget and committed, then made, and its answer is committed before
 * anybody hears of it: whatever dies in between, no answer that was had is paid for again, and no
 * call goes uncounted. A call that was not billed is given back.
 *
 * A picture always gets on: to its verdict with the cloud's answer, or without it as configured, or
 * back to the ledger, whose backlog the detect workers sweep. A stop ends a call at once and leaves
 * its picture in the ledger. */

#include "stage/consult.h"

#include <errno.h>

#include "base/dynbuf.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/text.h"
#include "ledger/ledger_cloud.h"
#include "stage/pipeline.h"
#include "sys/hash.h"

#define SWEEP_MS 1000
#define JUDGED_DEPTH 2
/* While the cloud is away a picture that may wait is tried so often. The detector's own breaker
 * makes these tries cheap. */
#define AWAY_PAUSE_MS 5000
/* Files that could not be read are tried again so often. */
#define UNREADABLE_PAUSE_MS 10000
/* No call takes longer: the detector bounds its tries, and those who wait for a turn there. */
#define CALL_MS_MAX 300000
#define SIGNATURE_MAX 256

struct consult_self {
    struct pipeline *pipeline;
    struct stage *stage;
    struct ledger *ledger;
    struct bus_out *out; /* verdicts */
};

static struct metric calls = {.name = "snapshotd_cloud_calls_total",
                              .kind = METRIC_COUNTER,
                              .help = "Calls to the cloud's detector that are billed"};
static struct metric answers = {
    .name = "snapshotd_cloud_answers_total",
    .kind = METRIC_COUNTER,
    .label = "from",
    .help = "Answers to pictures, by where they come from: the cloud, or the ledger for nothing"};
static struct metric doubts_met = {
    .name = "snapshotd_cascade_doubts_total",
    .kind = METRIC_COUNTER,
    .label = "doubt",
    .help = "Why the cascade asks the cloud; a picture may have several reasons"};
static struct metric without = {
    .name = "snapshotd_cloud_without_total",
    .kind = METRIC_COUNTER,
    .label = "reason",
    .help = "Pictures that were to be examined in the cloud and got no answer from there"};
static struct metric put_off = {.name = "snapshotd_cloud_put_off_total",
                                .kind = METRIC_COUNTER,
                                .help =
                                    "Tries after which a picture went on waiting for the cloud"};
static struct metric seconds = {.name = "snapshotd_cloud_seconds",
                                .kind = METRIC_HISTOGRAM,
                                .help = "Time of a call to the cloud's detector, tries included"};

static const char *const without_names[WITHOUT_COUNT] = {"limit", "failed", "full", "absent"};

void consult_count_without(enum consult_without why)
{
    metric_inc(&without, without_names[why]);
}

static void register_metrics(void)
{
    metric_register(&calls);
    metric_register(&answers);
    metric_register(&doubts_met);
    metric_register(&without);
    metric_register(&put_off);
    metric_register(&seconds);
}

/* What becomes of a picture. */
enum ending {
    ENDING_ANSWERED, /* there is a verdict */
    ENDING_LATER,    /* it waits here, see pause_ms */
    ENDING_LET_GO,   /* the ledger keeps it for another time */
};

struct consultation {
    struct consult_self *self;
    const struct settings *now;
    struct doubt *doubt;
    char key[CLOUD_KEY_SIZE]; /* of its answer */
    struct verdict verdict;
    int64_t pause_ms;
};

static enum ending ledger_failed(struct consultation *c, const char *what, const struct err *e)
{
    log_error("ledger-failed", "%s: %s; the cloud is not asked, trying again in %d s", what,
              e->text, PIPELINE_LEDGER_REST_MS / 1000);
    stage_count_failed(c->self->stage, e->text);
    pipeline_rest_ledger(c->self->pipeline);
    return ENDING_LET_GO;
}

static enum ending end_without(struct consultation *c, enum cloud_without how,
                               enum verdict_outcome outcome, enum consult_without why,
                               const char *text)
{
    consult_count_without(why);
    c->verdict = c->doubt->local;
    c->doubt->local = (struct verdict){0};
    cascade_without(how == CLOUD_LOCAL, outcome, text, &c->verdict);
    return ENDING_ANSWERED;
}

/* The cloud's answer, from wherever, becomes that of the picture. */
static enum ending end_with_answer(struct consultation *c, const char *from)
{
    struct doubt *d = c->doubt;
    metric_inc(&answers, from);
    for (int i = 0; i < CASCADE_DOUBT_COUNT; i++)
        if (d->doubts & 1U << i)
            metric_inc(&doubts_met, cascade_doubt_names[i]);
    detect_filter_labels(&c->now->detect, &c->verdict.found);
    struct cascade_rule rule = pipeline_cascade_rule(c->now, d->snapshot->camera);
    cascade_join(&rule, d->doubts, &d->local, &c->verdict);
    return ENDING_ANSWERED;
}

/* The picture's digest and what else decides the answer. */
static void make_key(struct consultation *c, const struct detector *cloud)
{
    char signature[SIGNATURE_MAX], text[SIGNATURE_MAX + 128];
    text_copy(signature, sizeof(signature), cloud->ops->name);
    if (cloud->ops->signature)
        cloud->ops->signature(cloud, signature, sizeof(signature));
    int n = text_format(text, sizeof(text), "%s\n%s\n%.6f", c->doubt->snapshot->sha256, signature,
                        c->now->cloud_confidence_min); /* fits */
    hash_sha256_hex(text, n > 0 ? (size_t)n : 0, c->key);
}

static void settle(struct consultation *c, int64_t day, unsigned billed)
{
    struct err e = {0};
    if (ledger_cloud_settle(c->self->ledger, day, billed, &e) < 0)
        log_warn("ledger-failed", "give back a call: %s; it stays counted", e.text);
}

static bool may_wait(const struct consultation *c)
{
    return ledger_now().us - c->doubt->snapshot->received_at.us < c->now->cloud.patience_ms * 1000;
}

static enum ending end_failed(struct consultation *c, const struct err *e)
{
    struct pipeline *p = c->self->pipeline;
    if (pipeline_stopping(p))
        return ENDING_LET_GO;
    if (e->retry != ERR_NEVER && may_wait(c)) {
        log_info("cloud-away", "%s; the picture waits", e->text);
        metric_inc(&put_off, NULL);
        c->pause_ms = AWAY_PAUSE_MS;
        return ENDING_LATER;
    }
    bool keeps =
        c->now->cloud.on_failure == CLOUD_LOCAL && c->doubt->local.outcome == VERDICT_EXAMINED;
    log_warn("cloud-failed", "%s; %s", e->text,
             keeps ? "the local answer counts" : "it is recorded without an answer");
    stage_count_failed(c->self->stage, e->text);
    return end_without(c, (enum cloud_without)c->now->cloud.on_failure, VERDICT_FAILED,
                       WITHOUT_FAILED, e->text);
}

/* A call that is counted already, on this day. */
static enum ending call(struct consultation *c, struct detector *cloud, struct blob *bytes,
                        int64_t day)
{
    const struct cloud_config *cfg = &c->now->cloud;
    struct detect_request req = {.bytes = bytes, .confidence_min = c->now->cloud_confidence_min};
    struct err e = {0};
    struct mono_time start = clock_mono();
    stage_expect(c->self->stage, CALL_MS_MAX);
    FAULT_POINT("cloud-before-call");
    int r = cloud->ops->detect(cloud, &req, &c->verdict, &e);
    FAULT_POINT("cloud-after-call");
    stage_heartbeat(c->self->stage);
    metric_observe(&seconds, NULL, mono_diff_ms(clock_mono(), start) / 1000);
    metric_add(&calls, NULL, c->verdict.cloud_calls);
    if (r < 0) {
        settle(c, day, c->verdict.cloud_calls);
        verdict_done(&c->verdict);
        c->verdict = (struct verdict){0};
        return end_failed(c, &e);
    }
    struct cloud_bounds bounds = {.age_ms = cfg->answers_age_ms, .count = cfg->answers_max};
    if (ledger_cloud_answered(c->self->ledger, day, c->key, &c->verdict, &bounds, clock_wall(),
                              &e) < 0)
        log_error("ledger-failed",
                  "keep an answer of the cloud: %s; the same picture will cost again", e.text);
    return end_with_answer(c, "cloud");
}

static enum ending ask(struct consultation *c, struct detector *cloud, struct blob *bytes)
{
    const struct cloud_config *cfg = &c->now->cloud;
    struct cloud_budget budget = {.per_day = cfg->calls_per_day, .per_month = cfg->calls_per_month};
    struct cloud_bounds bounds = {.age_ms = cfg->answers_age_ms, .count = cfg->answers_max};
    struct err e = {0};
    make_key(c, cloud);
    int r = ledger_cloud_answer(c->self->ledger, c->key, &bounds, clock_wall(), &c->verdict, &e);
    if (r < 0)
        return ledger_failed(c, "look for a known answer", &e);
    if (r == 1)
        return end_with_answer(c, "ledger");
    int64_t day;
    r = ledger_cloud_reserve(c->self->ledger, &budget, clock_wall(), &day, &e);
    if (r == -EDQUOT) {
        log_info("cloud-limit", "%s", e.text);
        return end_without(c, (enum cloud_without)cfg->at_limit, VERDICT_SKIPPED, WITHOUT_LIMIT,
                           e.text);
    }
    if (r < 0)
        return ledger_failed(c, "count a call", &e);
    return call(c, cloud, bytes, day);
}

static enum ending consult(struct consultation *c)
{
    struct pipeline *p = c->self->pipeline;
    if (!detect_mode_has_cloud(c->now->detect_mode))
        return ENDING_LET_GO; /* a reload has switched it off: examined as it says now */
    AUTO(blob) bytes = NULL;
    struct err e = {0};
    int r = pipeline_bytes_placed(p, c->doubt->snapshot, &bytes, &e);
    if (r == 0)
        return ask(c, atomic_load(&p->cloud), bytes);
    if (e.retry != ERR_NEVER) {
        log_error("read-failed", "%s; trying again", e.text);
        c->pause_ms = UNREADABLE_PAUSE_MS;
        return ENDING_LATER;
    }
    log_error("read-failed", "%s; it is recorded without an answer of the cloud", e.text);
    return end_without(c, CLOUD_LOCAL, VERDICT_FAILED, WITHOUT_FAILED, e.text);
}

/* One that was taken; gives it on. */
static void work_on(struct consult_self *self, struct doubt *d)
{
    struct pipeline *p = self->pipeline;
    AUTO(settings) now = pipeline_settings(p);
    struct consultation c = {.self = self, .now = now, .doubt = d};
    switch (consult(&c)) {
    case ENDING_LATER:
        doubts_again(p->doubts, d, mono_add_ms(clock_mono(), c.pause_ms));
        return;
    case ENDING_LET_GO:
        claims_drop(p->claims, d->snapshot->row);
        pipeline_wake(p, PIPELINE_DETECT);
        break;
    case ENDING_ANSWERED:
        stage_count_done(self->stage);
        FAULT_POINT("cloud-before-hand-over");
        (void)pipeline_hand_over(p, self->out, d->snapshot, &c.verdict); /* logged; swept again */
        break;
    }
    verdict_done(&c.verdict);
    doubts_end(p->doubts, d);
    doubt_done(d);
}

static int64_t consult_sweep(void *arg)
{
    struct consult_self *self = arg;
    struct pipeline *p = self->pipeline;
    int64_t rest = pipeline_ledger_rest_ms(p), wait_ms;
    struct doubt d;
    if (rest > 0 || pipeline_stopping(p))
        return MAX(rest, (int64_t)SWEEP_MS);
    stage_set_queued(self->stage, doubts_count(p->doubts));
    if (!doubts_take(p->doubts, &d, &wait_ms))
        return MIN(wait_ms, (int64_t)SWEEP_MS);
    log_context_camera(d.snapshot->camera);
    log_context_snapshot(d.snapshot->id);
    work_on(self, &d);
    log_context_camera(NULL);
    log_context_snapshot(NULL);
    if (doubts_due(p->doubts) == DOUBTS_BACKLOG_MAX - 1)
        pipeline_wake(p, PIPELINE_DETECT); /* which had stopped to bring more */
    return 0;
}

static int consult_init(void *arg, struct stage *st, struct err *e)
{
    struct consult_self *self = arg;
    self->stage = st;
    int r = ledger_open(self->pipeline->ledger_path, &self->ledger, e);
    if (r == 0)
        r = bus_out_open(self->pipeline->bus, EDGE_JUDGED, 1, JUDGED_DEPTH, &self->out, e);
    return r;
}

static void consult_fini(void *arg)
{
    struct consult_self *self = arg;
    bus_out_close(self->out);
    ledger_close(self->ledger);
}

void *consult_stage_new(struct pipeline *p)
{
    struct consult_self *self = xcalloc(1, sizeof(*self));
    self->pipeline = p;
    return self;
}

const struct stage_ops consult_stage = {
    .name = "consult",
    .register_metrics = register_metrics,
    .init = consult_init,
    .sweep = consult_sweep,
    .fini = consult_fini,
};
