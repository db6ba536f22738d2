/* Deliver: takes outbox rows of one destination to its notifier, in order per camera, and repeats
 * until they are there. One stage per destination, so a dead one never holds up another.
 *
 * Rows go out in batches: all of a batch are handed over before the first answer is awaited, so
 * that a distant destination costs one round trip for many. When one fails, the later ones of its
 * camera wait for it, also those that arrived: they are sent again behind it. The ledger chooses
 * rows by turns between the cameras (ledger_outbox_due), so that the new event of one goes out with
 * the next batch however long the backlog of another is. */

#include "stage/pipeline.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/text.h"

#define BATCH 64
/* Of pictures on their way at a time, of which the notifier may hold copies: enough to keep a
 * broker busy, and little beside the rest of the program. */
#define BATCH_BYTES (1 << 20)
/* What a batch waits for its answers; what is not known then is asked for again. */
#define SETTLE_MS 1000
#define SWEEP_MS 1000
/* Between two looks for rows that are too old or too many. */
#define EXPIRE_MS 60000
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
    bool held;                   /* the notifier took less than there is */
    struct mono_time rest_until; /* the ledger takes nothing */
    struct mono_time expire_at;
    struct mono_time stop_at; /* set for the last sweep */
    pthread_mutex_t lock;     /* guards what follows */
    char last_error[ERR_TEXT_MAX];
};

enum fate {
    NOT_OFFERED,
    DELIVERED,
    UNDER_WAY,
    HELD,   /* not now, for no fault of its own */
    FAILED, /* noted in the ledger, to be repeated */
    DEAD,   /* noted in the ledger */
};
struct batch {
    struct outbox_item items[BATCH];
    enum fate fates[BATCH];
    struct wall_time since[BATCH]; /* what its event is measured from */
    int count;
};

static struct metric delivered = {.name = "snapshotd_delivered_total",
                                  .kind = METRIC_COUNTER,
                                  .label = "destination",
                                  .help = "Events that a destination has"};
static struct metric failed = {.name = "snapshotd_deliveries_failed_total",
                               .kind = METRIC_COUNTER,
                               .label = "destination",
                               .help = "Delivery attempts that failed"};
static struct metric dead = {.name = "snapshotd_deliveries_dead_total",
                             .kind = METRIC_COUNTER,
                             .label = "destination",
                             .help = "Events that were given up: refused for good, too old, or "
                                     "too many"};

static struct metric event_seconds = {
    .name = "snapshotd_event_to_delivered_seconds",
    .kind = METRIC_HISTOGRAM,
    .label = "destination",
    .help = "From the trigger (of a pushed picture: from its receipt) until a destination has the "
            "event"};

static void register_metrics(void)
{
    metric_register(&event_seconds);
    metric_register(&delivered);
    metric_register(&failed);
    metric_register(&dead);
}

static void rest(struct deliver_self *d, const char *what, const struct err *e)
{
    log_error("ledger-failed", "%s: %s; trying again in %d s", what, e->text,
              LEDGER_PAUSE_MS / 1000);
    stage_count_failed(d->stage, e->text);
    d->rest_until = mono_add_ms(clock_mono(), LEDGER_PAUSE_MS);
}

static void set_last_error(struct deliver_self *d, const char *text)
{
    pthread_mutex_lock(&d->lock);
    text_copy(d->last_error, sizeof(d->last_error), text);
    pthread_mutex_unlock(&d->lock);
}

static enum fate delivery_failed(struct deliver_self *d, const struct outbox_item *item,
                                 const struct err *why)
{
    struct err e = {0};
    const char *name = d->notifier->ops->name;
    bool for_good = why->retry == ERR_NEVER;
    metric_inc(&failed, name);
    stage_count_failed(d->stage, why->text);
    set_last_error(d, why->text);
    int r;
    if (for_good) {
        log_error("delivery-dead", "%s: %s; put aside", name, why->text);
        metric_inc(&dead, name);
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
    return for_good && r == 0 ? DEAD : FAILED;
}

/* What cannot be written down is kept, so that it is not delivered twice. */
static int record_done(struct deliver_self *d)
{
    struct err e = {0};
    int r = d->done_count ? ledger_outbox_done(d->ledger, d->done, d->done_count, &e) : 0;
    if (r < 0) {
        rest(d, "record deliveries", &e);
        return r;
    }
    for (int i = 0; i < d->done_count; i++)
        pipeline_tell(d->pipeline, NEWS_DELIVERED, d->done[i].snapshot_id);
    d->done_count = 0;
    return 0;
}

static bool must_stop(const struct deliver_self *d)
{
    return d->stop_at.us ? mono_passed(d->stop_at) : stage_stopping(d->stage);
}

static void log_about(const struct outbox_item *item)
{
    log_context_camera(item ? item->camera : NULL);
    log_context_snapshot(item ? item->snapshot_id : NULL);
}

/* Whether an earlier event of the same camera has this fate. */
static bool earlier_is(const struct batch *b, int at, enum fate fate)
{
    for (int i = 0; i < at; i++)
        if (b->fates[i] == fate && strcmp(b->items[i].camera, b->items[at].camera) == 0)
            return true;
    return false;
}

static int offer(struct deliver_self *d, const struct outbox_item *item, int64_t *bytes_total,
                 struct wall_time *ret_since, struct err *e)
{
    AUTO(snapshot) s = NULL;
    AUTO_DONE(verdict) v = {0};
    AUTO(blob) bytes = NULL;
    int r = ledger_snapshot_get(d->ledger, item->snapshot_id, &s, e);
    if (r == 0)
        r = ledger_verdict_get(d->ledger, item->snapshot_id, &v, e);
    if (r < 0)
        return r;
    /* The time that a file brings along may be an old one, or that of a camera's own clock. */
    *ret_since = s->source == SNAPSHOT_FETCHED ? s->event_at : s->received_at;
    if (d->notifier->ops->wants_bytes) {
        r = pipeline_bytes(d->pipeline, s, &bytes, e);
        if (r < 0 && e->retry != ERR_NEVER)
            return r;
        *bytes_total += bytes ? (int64_t)bytes->size : 0;
    }
    char url[STORAGE_ID_MAX];
    struct event ev = {.snapshot = s,
                       .verdict = &v,
                       .bytes = bytes,
                       .attempt = item->attempts + 1,
                       .storage_url = pipeline_storage_url(d->pipeline, url)};
    return d->notifier->ops->deliver(d->notifier, &ev, e);
}

static void take_result(struct deliver_self *d, struct batch *b, int i, int r, const struct err *e)
{
    if (r == -EINPROGRESS) {
        assert(d->notifier->ops->settle);
        b->fates[i] = UNDER_WAY;
    } else if (r == -EAGAIN) {
        b->fates[i] = HELD;
        d->held = true;
    } else if (r < 0) {
        b->fates[i] = delivery_failed(d, &b->items[i], e);
    } else {
        b->fates[i] = DELIVERED;
        d->done[d->done_count++] = b->items[i];
        metric_inc(&delivered, d->notifier->ops->name);
        metric_observe(&event_seconds, d->notifier->ops->name,
                       (double)MAX(clock_wall().us - b->since[i].us, (int64_t)0) / 1e6);
        stage_count_done(d->stage);
    }
}

static void hand_over(struct deliver_self *d, struct batch *b)
{
    int64_t bytes = 0;
    for (int i = 0; i < b->count && bytes < BATCH_BYTES && !d->held && !must_stop(d); i++) {
        struct err e = {0};
        if (earlier_is(b, i, FAILED)) {
            b->fates[i] = HELD;
            continue;
        }
        log_about(&b->items[i]);
        stage_heartbeat(d->stage);
        take_result(d, b, i, offer(d, &b->items[i], &bytes, &b->since[i], &e), &e);
    }
}

static void collect(struct deliver_self *d, struct batch *b)
{
    struct mono_time deadline = mono_add_ms(clock_mono(), SETTLE_MS);
    if (d->stop_at.us)
        deadline.us = MIN(deadline.us, d->stop_at.us);
    for (int i = 0; i < b->count; i++) {
        struct err e = {0};
        if (b->fates[i] != UNDER_WAY || earlier_is(b, i, HELD))
            continue; /* of the latter the notifier knows, when they are offered again */
        log_about(&b->items[i]);
        int r = d->notifier->ops->settle(d->notifier, b->items[i].snapshot_id, deadline, &e);
        if (earlier_is(b, i, FAILED))
            continue; /* it is sent again behind that */
        take_result(d, b, i, r, &e);
    }
}

static bool all_well(const struct batch *b)
{
    for (int i = 0; i < b->count; i++)
        if (b->fates[i] == FAILED || b->fates[i] == DEAD)
            return false;
    return true;
}

/* Returns how many rows were due, or negative. */
static int deliver_batch(struct deliver_self *d, int max)
{
    struct batch b = {0};
    struct err e = {0};
    b.count = ledger_outbox_due(d->ledger, d->notifier->ops->name, ledger_now(), b.items, max, &e);
    if (b.count < 0) {
        log_error("ledger-failed", "look for events to deliver: %s", e.text);
        return b.count;
    }
    hand_over(d, &b);
    collect(d, &b);
    log_about(NULL);
    if (d->done_count > 0 && all_well(&b))
        set_last_error(d, "");
    (void)record_done(d); /* its pause tells */
    return b.count;
}

static void expire(struct deliver_self *d)
{
    const struct notifier *n = d->notifier;
    if ((!n->age_max_ms && !n->backlog_max) || !mono_passed(d->expire_at))
        return;
    struct wall_time before = {0};
    struct err e = {0};
    if (n->age_max_ms)
        before.us = clock_wall().us - n->age_max_ms * 1000;
    int count = ledger_outbox_expire(d->ledger, n->ops->name, before, n->backlog_max, &e);
    if (count < 0) {
        rest(d, "give up old events", &e);
    } else if (count > 0) {
        metric_add(&dead, n->ops->name, count);
        log_warn("events-given-up", "%s: %d events that waited for too long, or were too many",
                 n->ops->name, count);
    } else {
        d->expire_at = mono_add_ms(clock_mono(), EXPIRE_MS);
    }
}

/* ms until there may be more to deliver. */
static int64_t deliver_due(struct deliver_self *d)
{
    const struct notifier_ops *ops = d->notifier->ops;
    if (mono_passed(d->rest_until) && record_done(d) == 0)
        expire(d);
    if (!mono_passed(d->rest_until))
        return mono_until_ms(d->rest_until);
    int room = ops->room ? MIN(ops->room(d->notifier), BATCH) : BATCH;
    d->held = room == 0;
    int count = room ? deliver_batch(d, room) : 0;
    if (!mono_passed(d->rest_until))
        return mono_until_ms(d->rest_until);
    if (count < 0 || d->held)
        return SWEEP_MS;
    if (count > 0)
        return 0;
    struct wall_time next;
    struct err e = {0};
    int64_t pause = SWEEP_MS;
    if (ledger_outbox_next(d->ledger, ops->name, &next, &e) == 0)
        pause = MIN(pause, MAX((next.us - ledger_now().us) / 1000, (int64_t)10));
    return pause;
}

static int64_t deliver_sweep(void *self)
{
    struct deliver_self *d = self;
    const struct notifier_ops *ops = d->notifier->ops;
    int64_t pause = ops->care ? ops->care(d->notifier) : SWEEP_MS;
    return MIN(pause, deliver_due(d));
}

static int deliver_fd(void *self)
{
    struct deliver_self *d = self;
    return d->notifier->ops->fd ? d->notifier->ops->fd(d->notifier) : -1;
}

static void deliver_ready(void *self)
{
    struct deliver_self *d = self;
    (void)d->notifier->ops->care(d->notifier); /* the next sweep is soon enough for the rest */
    if (d->held)
        stage_wake(d->stage);
}

static int deliver_init(void *self, struct stage *st, struct err *e)
{
    struct deliver_self *d = self;
    d->stage = st;
    struct metric *const all[] = {&delivered, &failed, &dead, &event_seconds};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        metric_touch(all[i], d->notifier->ops->name);
    return ledger_open(d->pipeline->ledger_path, &d->ledger, e);
}

static void deliver_fini(void *self)
{
    struct deliver_self *d = self;
    if (d->ledger) { /* what the last verdicts left: the next start would do it otherwise */
        d->stop_at = mono_add_ms(clock_mono(), LAST_SWEEP_MS);
        while (!must_stop(d) && deliver_due(d) == 0)
            continue;
    }
    ledger_close(d->ledger);
}

void *deliver_stage_new(struct pipeline *p, struct notifier *n)
{
    struct deliver_self *d = xcalloc(1, sizeof(*d));
    d->pipeline = p;
    d->notifier = n;
    pthread_mutex_init(&d->lock, NULL); /* holds nothing that would have to be destroyed */
    return d;
}

void deliver_stage_status(void *self, struct destination_status *ret)
{
    struct deliver_self *d = self;
    struct notifier_state state = {0};
    if (d->notifier->ops->describe)
        d->notifier->ops->describe(d->notifier, &state);
    text_copy(ret->state, sizeof(ret->state), state.text);
    pthread_mutex_lock(&d->lock);
    text_copy(ret->last_error, sizeof(ret->last_error),
              state.error[0] ? state.error : d->last_error);
    pthread_mutex_unlock(&d->lock);
}

const struct stage_ops deliver_stage = {
    .name = "deliver",
    .register_metrics = register_metrics,
    .init = deliver_init,
    .sweep = deliver_sweep,
    .fd = deliver_fd,
    .ready = deliver_ready,
    .fini = deliver_fini,
};
