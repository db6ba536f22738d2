/* Deliver: takes outbox rows of one destination to its notifier, in order per camera, and repeats
 * until they are there. One stage per destination, so a dead one never holds up another. */

#include "stage/pipeline.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/text.h"

#define BATCH 64
#define SWEEP_MS 1000
/* Pause after the n-th failure in a row: 1 s doubling to this. */
#define BACKOFF_MAX_MS 60000
/* Nothing is delivered for so long when the ledger could not take down what was: else the other
 * side would get the same events in a storm. */
#define LEDGER_PAUSE_MS 5000
/* What a stop still delivers of the last verdicts; the rest waits for the next start. */
#define LAST_SWEEP_MS 1000

struct deliver_self {
    struct pipeline *pipeline;
    struct stage *stage;
    struct ledger *ledger;
    struct notifier *notifier;
    struct outbox_item done[BATCH]; /* delivered, not written down yet */
    int done_count;
    struct mono_time rest_until; /* the ledger takes nothing */
    struct mono_time stop_at;    /* set for the last sweep */
};

static struct metric delivered = {.name = "snapshotd_delivered_total",
                                  .kind = METRIC_COUNTER,
                                  .label = "destination",
                                  .help = "Events that a destination has"};
static struct metric failed = {.name = "snapshotd_deliveries_failed_total",
                               .kind = METRIC_COUNTER,
                               .label = "destination",
                               .help = "Delivery attempts that failed"};

static void register_metrics(void)
{
    metric_register(&delivered);
    metric_register(&failed);
}

static int deliver_one(struct deliver_self *d, const struct outbox_item *item, struct err *e)
{
    AUTO(snapshot) s = NULL;
    AUTO_DONE(verdict) v = {0};
    AUTO(blob) bytes = NULL;
    int r = ledger_snapshot_get(d->ledger, item->snapshot_id, &s, e);
    if (r == 0)
        r = ledger_verdict_get(d->ledger, item->snapshot_id, &v, e);
    if (r < 0)
        return r;
    if (d->notifier->ops->wants_bytes) {
        r = pipeline_bytes(d->pipeline, s, &bytes, e);
        if (r < 0 && e->retry != ERR_NEVER)
            return r;
    }
    struct event ev = {.snapshot = s, .verdict = &v, .bytes = bytes, .attempt = item->attempts + 1};
    return d->notifier->ops->deliver(d->notifier, &ev, e);
}

static void rest(struct deliver_self *d, const char *what, const struct err *e)
{
    log_error("ledger-failed", "%s: %s; trying again in %d s", what, e->text,
              LEDGER_PAUSE_MS / 1000);
    stage_count_failed(d->stage, e->text);
    d->rest_until = mono_add_ms(clock_mono(), LEDGER_PAUSE_MS);
}

static void delivery_failed(struct deliver_self *d, const struct outbox_item *item,
                            const struct err *why)
{
    struct err e = {0};
    const char *name = d->notifier->ops->name;
    metric_inc(&failed, name);
    stage_count_failed(d->stage, why->text);
    int r;
    if (why->retry == ERR_NEVER) {
        log_error("delivery-dead", "%s: %s; put aside", name, why->text);
        r = ledger_outbox_dead(d->ledger, item, why->text, &e);
    } else {
        int doublings = MIN(item->attempts, 6);
        int64_t pause = MIN((int64_t)1000 << doublings, (int64_t)BACKOFF_MAX_MS);
        log_warn("delivery-failed", "%s: %s; again in %lld s", name, why->text,
                 (long long)pause / 1000);
        struct wall_time later = {ledger_now().us + pause * 1000};
        r = ledger_outbox_retry(d->ledger, item, later, why->text, &e);
    }
    if (r < 0 && r != -EALREADY)
        rest(d, "record a failed delivery", &e);
}

/* What cannot be written down is kept, so that it is not delivered twice. */
static int record_done(struct deliver_self *d)
{
    struct err e = {0};
    int r = d->done_count ? ledger_outbox_done(d->ledger, d->done, d->done_count, &e) : 0;
    if (r < 0)
        rest(d, "record deliveries", &e);
    else
        d->done_count = 0;
    return r;
}

static bool must_stop(const struct deliver_self *d)
{
    return d->stop_at.us ? mono_passed(d->stop_at) : stage_stopping(d->stage);
}

/* Delivers until something fails, so that what follows can be chosen anew: the rows behind a failed
 * one may be of the same camera. Returns whether all went well. */
static bool deliver_rows(struct deliver_self *d, const struct outbox_item *due, int n)
{
    for (int i = 0; i < n && !must_stop(d); i++) {
        struct err e = {0};
        log_context_camera(due[i].camera);
        log_context_snapshot(due[i].snapshot_id);
        stage_heartbeat(d->stage);
        bool good = deliver_one(d, &due[i], &e) == 0;
        if (good) {
            d->done[d->done_count++] = due[i];
            metric_inc(&delivered, d->notifier->ops->name);
            stage_count_done(d->stage);
        } else {
            delivery_failed(d, &due[i], &e);
        }
        log_context_camera(NULL);
        log_context_snapshot(NULL);
        if (!good)
            return false;
    }
    return true;
}

static int64_t deliver_sweep(void *self)
{
    struct deliver_self *d = self;
    if (!mono_passed(d->rest_until))
        return mono_until_ms(d->rest_until);
    if (record_done(d) < 0)
        return LEDGER_PAUSE_MS;
    struct outbox_item due[BATCH];
    struct err e = {0};
    int n = ledger_outbox_due(d->ledger, d->notifier->ops->name, ledger_now(), due, BATCH, &e);
    if (n < 0) {
        log_error("ledger-failed", "look for events to deliver: %s", e.text);
        return SWEEP_MS;
    }
    bool good = deliver_rows(d, due, n);
    (void)record_done(d); /* the pause tells */
    if (!mono_passed(d->rest_until))
        return mono_until_ms(d->rest_until);
    if (n == BATCH || !good)
        return 0;
    struct wall_time next;
    int64_t pause = SWEEP_MS;
    if (ledger_outbox_next(d->ledger, d->notifier->ops->name, &next, &e) == 0)
        pause = MIN(pause, MAX((next.us - ledger_now().us) / 1000, (int64_t)10));
    return pause;
}

static int deliver_init(void *self, struct stage *st, struct err *e)
{
    struct deliver_self *d = self;
    d->stage = st;
    return ledger_open(d->pipeline->ledger_path, &d->ledger, e);
}

static void deliver_fini(void *self)
{
    struct deliver_self *d = self;
    if (d->ledger) { /* what the last verdicts left: the next start would do it otherwise */
        d->stop_at = mono_add_ms(clock_mono(), LAST_SWEEP_MS);
        (void)deliver_sweep(d);
    }
    ledger_close(d->ledger);
}

void *deliver_stage_new(struct pipeline *p, struct notifier *n)
{
    struct deliver_self *d = xcalloc(1, sizeof(*d));
    d->pipeline = p;
    d->notifier = n;
    return d;
}

const struct stage_ops deliver_stage = {
    .name = "deliver",
    .register_metrics = register_metrics,
    .init = deliver_init,
    .sweep = deliver_sweep,
    .fini = deliver_fini,
};
