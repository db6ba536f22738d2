/* Control: takes triggers from the broker.
 *
 * A delivery is acknowledged when its trigger is in the ledger, and not before: what dies in
 * between comes again, and its id, made of the message, tells the ledger that it is the same.
 * Deliveries that come together share a commit. While the ledger takes nothing they wait here, at
 * most `prefetch` of them, and the broker keeps the rest; the connection is kept alive meanwhile.
 *
 * The broker may be absent at the start, and for days: the connection is tried again with growing
 * pauses, and everything is declared anew each time. */

#include "stage/pipeline.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/text.h"
#include "stage/admit.h"
#include "sys/hash.h"
#include "wire/routing_key.h"
#include "wire/trigger_message.h"

#define SWEEP_MS 5000
/* Pause after a commit that failed: the disk is full, or somebody holds the ledger. */
#define LEDGER_PAUSE_MS 3000
/* A connection that lasted so long was a good one: the next failure is the first again. */
#define SETTLED_MS 5000
/* Trying all addresses may take so long together: the stage's loop stands still meanwhile, and one
 * that stands for a minute counts as hung. */
#define CONNECT_ALL_MS 40000
/* Refused messages that are told one by one within this time; a flood of them is summed up. */
#define TOLD_MAX 20
#define TOLD_MS 10000

struct waiting {
    uint64_t tag;
    bool stored;
    struct trigger trigger; /* with an error: to be recorded as failed */
};

struct control_self {
    struct pipeline *pipeline;
    struct stage *stage;
    struct ledger *ledger;
    const struct amqp_config *config;
    struct amqp_link *link;
    bool consuming;
    unsigned failures; /* of the connection, in a row */
    struct mono_time retry_at, consuming_since;
    struct waiting *waiting; /* room for `prefetch` */
    int waiting_count;
    struct mono_time commit_at; /* not before */
    int told, untold;           /* refused messages since told_since */
    struct mono_time told_since;
    pthread_mutex_t status_lock;
    struct control_status status; /* guarded by it, but for the stage's own reading */
};

/* Beside the words of admit_verdict_names. */
#define RESULT_REPEATED "repeated"
#define RESULT_TOO_LARGE "too_large"

static struct metric messages = {
    .name = "snapshotd_amqp_triggers_total",
    .kind = METRIC_COUNTER,
    .label = "result",
    .help = "Trigger messages from the broker: taken, repeated, late, or why they were refused"};
static struct metric consuming_now = {.name = "snapshotd_amqp_consuming",
                                      .kind = METRIC_GAUGE,
                                      .help = "1 while triggers are taken from the broker"};
static struct metric losses = {.name = "snapshotd_amqp_consumer_failures_total",
                               .kind = METRIC_COUNTER,
                               .help =
                                   "Times that taking triggers could not begin, or was cut off"};

static void register_metrics(void)
{
    metric_register(&messages);
    metric_register(&consuming_now);
    metric_register(&losses);
}

/* ---- the connection ---- */

static void set_consuming(struct control_self *c, bool on, const char *queue, const char *why)
{
    c->consuming = on;
    metric_set(&consuming_now, NULL, on);
    pthread_mutex_lock(&c->status_lock);
    c->status.consuming = on;
    text_copy(c->status.peer, sizeof(c->status.peer), amqp_link_peer(c->link));
    if (queue)
        text_copy(c->status.queue, sizeof(c->status.queue), queue);
    text_copy(c->status.last_error, sizeof(c->status.last_error), why);
    pthread_mutex_unlock(&c->status_lock);
}

/* Triggers come no more, or did not begin to. A broker that is away for days is told once. */
static void lost(struct control_self *c, const struct err *why)
{
    if (c->consuming && mono_diff_ms(clock_mono(), c->consuming_since) >= SETTLED_MS)
        c->failures = 0;
    c->failures++;
    uint32_t random;
    hash_random(&random, sizeof(random));
    int64_t pause_ms = amqp_backoff_ms(c->failures, why->retry, random);
    c->retry_at = mono_add_ms(clock_mono(), pause_ms);
    metric_inc(&losses, NULL);
    if (strcmp(why->text, c->status.last_error) == 0)
        log_debug("broker-failed", "%s; again in %lld ms", why->text, (long long)pause_ms);
    else if (why->retry == ERR_NEVER)
        log_error("broker-failed", "no triggers from the broker: %s", why->text);
    else
        log_warn("broker-failed", "no triggers from the broker: %s; trying again", why->text);
    set_consuming(c, false, NULL, why->text);
    stage_wake(c->stage); /* for a sweep that waits for retry_at */
}

static int set_up(struct control_self *c, char queue[AMQP_NAME_MAX], struct err *e)
{
    const struct amqp_config *config = c->config;
    bool durable = config->queue_mode == AMQP_QUEUE_DURABLE;
    const char *dead_letters = config->dead_letter_exchange;
    struct amqp_queue q = {
        .name = durable ? config->queue : NULL,
        .dead_letter_exchange = durable && *dead_letters ? dead_letters : NULL,
        .delivery_limit = durable ? (int)config->delivery_limit : 0,
    };
    char exchange[AMQP_NAME_MAX], key[ROUTING_KEY_SIZE];
    if (text_format(exchange, sizeof(exchange), "%s_control", config->exchange) < 0)
        return err_set(e, -ENAMETOOLONG, ERR_NEVER, "the exchange's name is too long");
    int r = routing_key_trigger(config->device_topic, key, e);
    if (r == 0 && !amqp_link_connected(c->link))
        r = amqp_link_connect(c->link, e);
    stage_heartbeat(c->stage);
    if (r == 0)
        r = amqp_link_declare_exchange(c->link, exchange, "direct", e);
    if (r == 0)
        r = amqp_link_declare_queue(c->link, &q, queue, e);
    stage_heartbeat(c->stage);
    if (r == 0)
        r = amqp_link_bind(c->link, queue, exchange, key, e);
    if (r == 0)
        r = amqp_link_consume(c->link, queue, (int)config->prefetch, e);
    return r;
}

static void begin(struct control_self *c)
{
    char queue[AMQP_NAME_MAX];
    struct err e = {0};
    int r = set_up(c, queue, &e);
    if (r == -ECANCELED)
        return; /* we are stopping */
    if (r < 0) {
        amqp_link_disconnect(c->link);
        lost(c, &e);
        return;
    }
    c->consuming_since = clock_mono();
    set_consuming(c, true, queue, "");
    log_notice("broker-connected", "triggers come from the broker '%s', queue '%s'",
               amqp_link_peer(c->link), queue);
}

/* ---- telling ---- */

/* Once in a while: what had no line of its own. */
static void sum_up(struct control_self *c)
{
    if (mono_diff_ms(clock_mono(), c->told_since) < TOLD_MS)
        return;
    if (c->untold)
        log_warn("triggers-refused", "%d more triggers from the broker were refused", c->untold);
    c->told = c->untold = 0;
    c->told_since = clock_mono();
}

/* True when this one may have a line of its own. */
static bool may_tell(struct control_self *c)
{
    sum_up(c);
    bool may = c->told < TOLD_MAX;
    c->told += may;
    c->untold += !may;
    return may;
}

static void tell(struct control_self *c, const struct trigger *t, const char *id, const char *text)
{
    if (!may_tell(c))
        return;
    log_context_camera(t->camera);
    log_context_snapshot(t->id);
    log_warn(id, "%s", text);
    log_context_camera(NULL);
    log_context_snapshot(NULL);
}

/* ---- triggers into the ledger ---- */

static void show_waiting(struct control_self *c)
{
    stage_set_queued(c->stage, c->waiting_count);
    pthread_mutex_lock(&c->status_lock);
    c->status.waiting = c->waiting_count;
    pthread_mutex_unlock(&c->status_lock);
}

/* Within a group. 0 also when the ledger has it already. */
static int store(struct control_self *c, struct waiting *w, const char **ret_result, struct err *e)
{
    const struct trigger *t = &w->trigger;
    *ret_result = admit_verdict_names[t->error[0] ? ADMIT_LATE : ADMIT_TAKEN];
    int r = ledger_trigger_add(c->ledger, &w->trigger, e);
    if (r == 0 && t->error[0])
        r = ledger_trigger_fail(c->ledger, t, t->error, e);
    if (r != -EEXIST)
        return r;
    *ret_result = RESULT_REPEATED;
    return 0;
}

static int store_all(struct control_self *c, struct err *e)
{
    const char *results[AMQP_PREFETCH_MAX];
    struct err why = {0};
    int r = ledger_group_begin(c->ledger, e);
    if (r < 0)
        return r;
    for (int i = 0; i < c->waiting_count; i++) {
        struct waiting *w = &c->waiting[i];
        w->stored = store(c, w, &results[i], e) == 0;
        if (!w->stored)
            why = *e;
    }
    r = ledger_group_end(c->ledger, e);
    for (int i = 0; i < c->waiting_count; i++) {
        c->waiting[i].stored = c->waiting[i].stored && r == 0;
        if (!c->waiting[i].stored)
            continue;
        metric_inc(&messages, results[i]);
        if (results[i] == admit_verdict_names[ADMIT_LATE])
            tell(c, &c->waiting[i].trigger, "trigger-late", c->waiting[i].trigger.error);
    }
    if (r == 0 && why.code) {
        *e = why;
        r = why.code;
    }
    return r;
}

/* A delivery of a former connection needs no ack: it comes again and is known then. */
static void acknowledge_stored(struct control_self *c)
{
    int kept = 0;
    for (int i = 0; i < c->waiting_count; i++) {
        struct waiting *w = &c->waiting[i];
        if (!w->stored) {
            c->waiting[kept++] = *w;
            continue;
        }
        FAULT_POINT("before-trigger-ack");
        (void)amqp_link_ack(c->link, w->tag); /* -ESTALE, see above; -ENOTCONN: process() tells */
        stage_count_done(c->stage);
        explicit_bzero(w->trigger.password, sizeof(w->trigger.password));
    }
    c->waiting_count = kept;
}

static void commit(struct control_self *c)
{
    if (!c->waiting_count || !mono_passed(c->commit_at))
        return;
    struct err e = {0};
    if (store_all(c, &e) < 0) {
        c->commit_at = mono_add_ms(clock_mono(), LEDGER_PAUSE_MS);
        log_error("ledger-failed", "record triggers from the broker: %s; they wait", e.text);
        stage_count_failed(c->stage, e.text);
    }
    pipeline_wake(c->pipeline, PIPELINE_FETCH);
    acknowledge_stored(c);
    show_waiting(c);
    if (c->waiting_count || !c->consuming)
        stage_wake(c->stage); /* for a sweep at commit_at, or one that may connect now */
}

/* ---- what the broker says ---- */

static void refuse(struct control_self *c, const struct amqp_event *ev, enum admit_verdict verdict,
                   const struct err *why)
{
    (void)amqp_link_reject(c->link, ev->tag, false); /* -ENOTCONN: it comes again, as it was */
    metric_inc(&messages, admit_verdict_names[verdict]);
    if (verdict == ADMIT_MALFORMED)
        pipeline_count_error(PIPELINE_MALFORMED);
    if (verdict == ADMIT_UNKNOWN_DEVICE)
        pipeline_count_error(PIPELINE_UNKNOWN_CAMERA);
    stage_count_failed(c->stage, why->text);
    if (!may_tell(c))
        return;
    char excerpt[TRIGGER_EXCERPT_MAX];
    if (verdict == ADMIT_MALFORMED)
        log_warn("trigger-refused", "not a trigger: %s; body: %s", why->text,
                 trigger_message_excerpt(ev->body->data, ev->body->size, excerpt));
    else
        log_warn("trigger-refused", "%s", why->text);
}

static void take(struct control_self *c, const struct amqp_event *ev)
{
    if (c->waiting_count == c->config->prefetch) {      /* more than the broker was told to send */
        (void)amqp_link_reject(c->link, ev->tag, true); /* -ENOTCONN: it comes again anyway */
        return;
    }
    const struct admit_message m = {
        .key = ev->key,
        .message_id = ev->message_id,
        .expiration = ev->expiration,
        .body = ev->body->data,
        .size = ev->body->size,
        .may_be_old = c->config->queue_mode == AMQP_QUEUE_DURABLE,
    };
    struct waiting *w = &c->waiting[c->waiting_count];
    char note[EVENT_TIME_NOTE_MAX];
    struct err e = {0};
    AUTO(settings) now = pipeline_settings(c->pipeline);
    *w = (struct waiting){.tag = ev->tag};
    enum admit_verdict verdict = admit(now, &m, clock_wall(), &w->trigger, note, &e);
    if (verdict != ADMIT_TAKEN && verdict != ADMIT_LATE) {
        refuse(c, ev, verdict, &e);
        return;
    }
    w->trigger.accepted_at = ledger_now();
    c->waiting_count++;
    if (note[0])
        tell(c, &w->trigger, "trigger-time", note);
}

static void handle(struct control_self *c, const struct amqp_event *ev)
{
    struct err e = {0};
    switch (ev->kind) {
    case AMQP_DELIVERY:
        take(c, ev);
        break;
    case AMQP_OVERSIZE: /* already rejected */
        metric_inc(&messages, RESULT_TOO_LARGE);
        (void)err_set(&e, -EMSGSIZE, ERR_NEVER,
                      "a trigger of %llu bytes is larger than message_size_max (%lld)",
                      (unsigned long long)ev->body_size, (long long)c->config->message_size_max);
        stage_count_failed(c->stage, e.text);
        if (may_tell(c))
            log_warn("trigger-refused", "%s", e.text);
        break;
    case AMQP_CANCELLED:
        (void)err_set(&e, -ENOENT, ERR_NOW, "broker '%s': the queue '%s' was deleted",
                      amqp_link_peer(c->link), c->status.queue);
        lost(c, &e);
        break;
    case AMQP_CHANNEL_CLOSED:
        (void)err_set(&e, -EPROTO, ERR_LATER, "broker '%s' closed the channel: %s (%d)",
                      amqp_link_peer(c->link), ev->text, ev->code);
        lost(c, &e);
        break;
    case AMQP_BLOCKED: /* concerns those who publish */
    case AMQP_UNBLOCKED:
    case AMQP_NOTHING:
    case AMQP_ACKED:
    case AMQP_NACKED:
    case AMQP_RETURNED:
    case AMQP_EVENT_COUNT:
        break;
    }
}

static int control_fd(void *self)
{
    return amqp_link_fd(((struct control_self *)self)->link);
}

static void control_ready(void *self)
{
    struct control_self *c = self;
    if (stage_stopping(c->stage))
        return;
    struct amqp_event ev = {.kind = AMQP_UNBLOCKED};
    for (int i = 0; i < AMQP_PREFETCH_MAX && ev.kind != AMQP_NOTHING; i++) {
        struct err e = {0};
        int r = amqp_link_process(c->link, 0, &ev, &e);
        if (r < 0) {
            if (r != -ENOTCONN)
                lost(c, &e);
            break;
        }
        handle(c, &ev);
        stage_heartbeat(c->stage);
    }
    commit(c);
}

/* ---- the stage ---- */

static int64_t control_sweep(void *self)
{
    struct control_self *c = self;
    commit(c);
    /* What waits for the ledger first: a new connection would bring the same again. */
    if (!c->consuming && !c->waiting_count && mono_passed(c->retry_at))
        begin(c);
    sum_up(c);
    if (c->waiting_count)
        return MIN((int64_t)mono_until_ms(c->commit_at), (int64_t)SWEEP_MS);
    if (!c->consuming)
        return mono_until_ms(c->retry_at);
    return SWEEP_MS;
}

/* What is taken is recorded; what is not acknowledged comes to the next run. */
static bool control_idle(void *self)
{
    struct control_self *c = self;
    commit(c);
    amqp_link_disconnect(c->link);
    return true;
}

static int make_link(struct control_self *c, struct err *e)
{
    struct amqp_options o = amqp_config_options(c->config, "snapshotd triggers");
    int64_t addresses = 1;
    for (const char *p = o.addresses; *p; p++)
        addresses += *p == ',';
    o.connect_timeout_ms = MIN(o.connect_timeout_ms, CONNECT_ALL_MS / addresses);
    o.stop_fd = c->pipeline->stop_fd;
    return amqp_link_new(&o, &c->link, e);
}

static int control_init(void *self, struct stage *st, struct err *e)
{
    struct control_self *c = self;
    c->stage = st;
    c->waiting = xcalloc((size_t)c->config->prefetch, sizeof(*c->waiting));
    int r = ledger_open(c->pipeline->ledger_path, &c->ledger, e);
    return r < 0 ? r : make_link(c, e);
}

static void control_fini(void *self)
{
    struct control_self *c = self;
    amqp_link_free(STEAL(c->link));
    if (c->waiting)
        explicit_bzero(c->waiting, (size_t)c->config->prefetch * sizeof(*c->waiting));
    free(STEAL(c->waiting));
    ledger_close(STEAL(c->ledger));
}

void *control_stage_new(struct pipeline *p)
{
    struct control_self *c = xcalloc(1, sizeof(*c));
    c->pipeline = p;
    c->config = p->broker;
    assert(c->config->prefetch >= 1 && c->config->prefetch <= AMQP_PREFETCH_MAX);
    pthread_mutex_init(&c->status_lock, NULL);
    return c;
}

void control_stage_status(void *self, struct control_status *ret)
{
    struct control_self *c = self;
    pthread_mutex_lock(&c->status_lock);
    *ret = c->status;
    pthread_mutex_unlock(&c->status_lock);
}

const struct stage_ops control_stage = {
    .name = "control",
    .register_metrics = register_metrics,
    .init = control_init,
    .sweep = control_sweep,
    .fd = control_fd,
    .ready = control_ready,
    .idle = control_idle,
    .fini = control_fini,
};
