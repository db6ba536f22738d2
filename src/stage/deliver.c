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
/* After so many attempts an event that the other side refuses for good is put aside. */
#define REFUSALS_MAX 1

struct deliver_self {
    struct pipeline *pipeline;
    struct stage *stage;
    struct ledger *ledger;
    struct notifier *notifier;
};

static struct metric delivered = {.name = "snapshotd_delivered_total",
                                  .kind = METRIC_COUNTER,
                                  .label = "destination",
                                  .help = "Events that a destination has"};
static struct metric failed = {.name = "snapshotd_deliveries_failed_total",
                               .kind = METRIC_COUNTER,
                               .label = "destination",
                               .help = "Delivery attempts that failed"};

void deliver_register_metrics(void)
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

static void delivery_failed(struct deliver_self *d, const struct outbox_item *item,
                            const struct err *why)
{
    struct err e;
    const char *name = d->notifier->ops->name;
    metric_inc(&failed, name);
    stage_count_failed(d->stage, why->text);
    int r;
    if (why->retry == ERR_NEVER && item->attempts + 1 >= REFUSALS_MAX) {
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
    if (r < 0)
        log_error("ledger-failed", "record a failed delivery: %s", e.text);
}

static int64_t deliver_sweep(void *self)
{
    struct deliver_self *d = self;
    struct outbox_item due[BATCH], done[BATCH];
    struct err e = {0};
    int n = ledger_outbox_due(d->ledger, d->notifier->ops->name, ledger_now(), due, BATCH, &e);
    if (n < 0) {
        log_error("ledger-failed", "look for events to deliver: %s", e.text);
        return SWEEP_MS;
    }
    int done_count = 0;
    bool trouble = false;
    for (int i = 0; i < n && !trouble; i++) {
        log_context_camera(due[i].camera);
        log_context_snapshot(due[i].snapshot_id);
        stage_heartbeat(d->stage);
        if (deliver_one(d, &due[i], &e) == 0) {
            done[done_count++] = due[i];
            metric_inc(&delivered, d->notifier->ops->name);
            stage_count_done(d->stage);
        } else {
            delivery_failed(d, &due[i], &e);
            trouble = true; /* the rows behind it may be of the same camera: look again */
        }
        log_context_camera(NULL);
        log_context_snapshot(NULL);
    }
    if (done_count && ledger_outbox_done(d->ledger, done, done_count, &e) < 0)
        log_error("ledger-failed", "record deliveries: %s; they will be repeated", e.text);
    if (n == BATCH || trouble)
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
    if (d->ledger)
        (void)deliver_sweep(
            d); /* what the last verdicts left: the next start would do it otherwise */
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
    .init = deliver_init,
    .sweep = deliver_sweep,
    .fini = deliver_fini,
};
