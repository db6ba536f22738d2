#include "notify/amqp.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/text.h"
#include "notify/amqp_body.h"
#include "sys/hash.h"
#include "wire/routing_key.h"

/* Events on their way at a time. A round trip to a broker nearby takes below a millisecond, to one
 * behind a slow line some tens. */
#define FLIGHTS_MAX 64
/* What deliver() waits for a broker that is behind with reading. */
#define SEND_MS 1000
/* Nothing goes out after an event came back: 1 s doubling to this. */
#define PAUSE_MAX_MS 10000
/* A reason that stays the same is logged again this often. */
#define REPEAT_LOG_MS 600000
#define REPLY_NO_ACCESS 403
#define REPLY_PRECONDITION 406 /* that is how a message above the broker's limit ends */

/* An event that was published, until settle() has told. */
struct flight {
    char id[SNAPSHOT_ID_SIZE];
    uint64_t tag; /* 0 = free */
    enum { UNDER_WAY, CONFIRMED, REFUSED } state;
};

/* What describe() shows. */
struct shown {
    bool up;
    struct mono_time since; /* up or down */
    bool blocked;
    struct mono_time blocked_since;
    char error[ERR_TEXT_MAX]; /* why nothing goes out */
};

struct amqp_notifier {
    struct notifier base;
    struct amqp_link *link;
    struct amqp_body body;
    struct dynbuf heartbeat_body; /* the last one; its memory is used again */
    char *addresses, *exchange, *image_url, *store_root;
    char image_key[ROUTING_KEY_SIZE], heartbeat_key[ROUTING_KEY_SIZE];
    bool persistent;
    int64_t heartbeat_ms;
    int (*heartbeat)(void *arg, struct wall_time at, struct dynbuf *ret, struct err *e);
    void *heartbeat_arg;

    bool usable;       /* connected, and the exchange is there */
    bool was_up;       /* once */
    unsigned failures; /* in a row, of connecting and of channels */
    struct mono_time attempt_at, heartbeat_at;
    bool one_by_one; /* until the next confirm: the last one came back */
    unsigned pauses; /* in a row */
    struct mono_time paused_until;
    bool stalled; /* the broker has not answered in time, and not since */
    struct flight flights[FLIGHTS_MAX];
    char refusal[ERR_TEXT_MAX]; /* of the REFUSED one */
    struct mono_time log_again_at;

    pthread_mutex_t lock; /* guards what follows */
    struct shown shown;
};

static int deliver(struct notifier *n, const struct event *ev, struct err *e);
static int settle(struct notifier *n, const char *id, struct mono_time deadline, struct err *e);
static int room(struct notifier *n);
static int64_t care(struct notifier *n);
static int fd(const struct notifier *n);
static void describe(struct notifier *n, struct notifier_state *ret);
static void free_notifier(struct notifier *n);

static const struct notifier_ops ops = {.name = "rabbitmq",
                                        .wants_bytes = true,
                                        .deliver = deliver,
                                        .settle = settle,
                                        .room = room,
                                        .care = care,
                                        .fd = fd,
                                        .describe = describe,
                                        .free = free_notifier};

static struct metric published = {.name = "snapshotd_amqp_events_total",
                                  .kind = METRIC_COUNTER,
                                  .label = "result",
                                  .help = "Events published, by what the broker said: confirmed, "
                                          "returned (no queue wanted it), nacked, refused"};
static struct metric smaller = {.name = "snapshotd_amqp_events_reduced_total",
                                .kind = METRIC_COUNTER,
                                .help = "Events above event_size_max, sent with a smaller copy of "
                                        "the picture or with its address"};
static struct metric connects = {.name = "snapshotd_amqp_connects_total",
                                 .kind = METRIC_COUNTER,
                                 .label = "result",
                                 .help = "Attempts to connect to the broker for events"};
static struct metric blocked_seconds = {.name = "snapshotd_amqp_blocked_seconds_total",
                                        .kind = METRIC_COUNTER,
                                        .help = "Time for which the broker took no events, being "
                                                "short of memory or disk"};
static struct metric heartbeats = {.name = "snapshotd_amqp_heartbeats_total",
                                   .kind = METRIC_COUNTER,
                                   .help = "Heartbeat events published"};

void amqp_notifier_register_metrics(void)
{
    metric_register(&published);
    metric_register(&smaller);
    metric_register(&connects);
    metric_register(&blocked_seconds);
    metric_register(&heartbeats);
}

static struct amqp_notifier *self_of(const struct notifier *n)
{
    return container_of(n, struct amqp_notifier, base);
}

int amqp_notifier_new(const struct amqp_notifier_options *o, struct notifier **ret, struct err *e)
{
    const struct amqp_config *c = o->config;
    struct amqp_notifier *a = xcalloc(1, sizeof(*a));
    *a = (struct amqp_notifier){
        .base = {.ops = &ops,
                 .age_max_ms = c->event_age_max_ms,
                 .backlog_max = c->event_backlog_max},
        .addresses = xstrdup(c->server_address),
        .exchange = xstrdup(c->exchange),
        .image_url = xstrdup(c->image_url),
        .store_root = xstrdup(o->store_root),
        .persistent = c->event_persistent,
        .heartbeat_ms = c->heartbeat_event_ms,
        .heartbeat = o->heartbeat,
        .heartbeat_arg = o->heartbeat_arg,
        .shown = {.since = clock_mono()},
    };
    a->body = (struct amqp_body){.format = (enum event_format)c->event_format,
                                 .size_max = (size_t)c->event_size_max,
                                 .too_large = (enum amqp_too_large)c->event_too_large,
                                 .image_url = a->image_url,
                                 .store_root = a->store_root,
                                 .limits = o->limits};
    pthread_mutex_init(&a->lock, NULL);
    dynbuf_init(&a->heartbeat_body, SIZE_MAX);
    AUTO_FREE char *name = xasprintf("snapshotd %s, events", o->device_name);
    struct amqp_options options = amqp_config_options(c, name);
    options.stop_fd = o->stop_fd;
    int r = amqp_link_new(&options, &a->link, e);
    if (r == 0)
        r = routing_key_image(c->device_topic, o->device_name, a->image_key, e);
    if (r == 0)
        r = routing_key_heartbeat(c->device_topic, a->heartbeat_key, e);
    if (r < 0) {
        free_notifier(&a->base);
        return r;
    }
    *ret = &a->base;
    return 0;
}

static void free_notifier(struct notifier *n)
{
    struct amqp_notifier *a = self_of(n);
    amqp_link_free(a->link);
    dynbuf_done(&a->heartbeat_body);
    pthread_mutex_destroy(&a->lock);
    free(a->addresses);
    free(a->exchange);
    free(a->image_url);
    free(a->store_root);
    free(a);
}

/* ---- what is shown ---- */

static void show_up(struct amqp_notifier *a, bool up)
{
    pthread_mutex_lock(&a->lock);
    if (a->shown.up != up)
        a->shown.since = clock_mono();
    a->shown.up = up;
    if (up)
        a->shown.error[0] = '\0';
    pthread_mutex_unlock(&a->lock);
}

static void show_error(struct amqp_notifier *a, const char *text)
{
    pthread_mutex_lock(&a->lock);
    text_copy(a->shown.error, sizeof(a->shown.error), text);
    pthread_mutex_unlock(&a->lock);
}

static void show_blocked(struct amqp_notifier *a, bool blocked)
{
    struct mono_time now = clock_mono();
    pthread_mutex_lock(&a->lock);
    if (a->shown.blocked && !blocked)
        metric_add(&blocked_seconds, NULL, mono_diff_ms(now, a->shown.blocked_since) / 1000);
    if (!a->shown.blocked)
        a->shown.blocked_since = now;
    a->shown.blocked = blocked;
    pthread_mutex_unlock(&a->lock);
}

static void describe(struct notifier *n, struct notifier_state *ret)
{
    struct amqp_notifier *a = self_of(n);
    char span[TEXT_SPAN_MAX], blocked_span[TEXT_SPAN_MAX];
    pthread_mutex_lock(&a->lock);
    struct shown shown = a->shown;
    pthread_mutex_unlock(&a->lock);
    text_span(mono_diff_ms(clock_mono(), shown.since) / 1000, span);
    text_span(mono_diff_ms(clock_mono(), shown.blocked_since) / 1000, blocked_span);
    text_copy(ret->error, sizeof(ret->error), shown.error);
    (void)text_format(ret->text, sizeof(ret->text), "%s: %s %s%s%s", a->addresses,
                      shown.up ? "connected for" : "not reachable for", span,
                      shown.blocked ? ", blocked for " : "",
                      shown.blocked ? blocked_span : ""); /* cut is fine */
}

/* ---- flights ---- */

static struct flight *find_flight(struct amqp_notifier *a, const char *id)
{
    for (int i = 0; i < FLIGHTS_MAX; i++)
        if (a->flights[i].tag && strcmp(a->flights[i].id, id) == 0)
            return &a->flights[i];
    return NULL;
}

static struct flight *flight_of_tag(struct amqp_notifier *a, uint64_t tag)
{
    for (int i = 0; i < FLIGHTS_MAX; i++)
        if (tag && a->flights[i].tag == tag)
            return &a->flights[i];
    return NULL;
}

static int flights_under_way(const struct amqp_notifier *a)
{
    int count = 0;
    for (int i = 0; i < FLIGHTS_MAX; i++)
        count += a->flights[i].tag && a->flights[i].state == UNDER_WAY;
    return count;
}

/* NULL when all are taken. Results that nobody asked for go first: their rows were given up, or are
 * published again. */
static struct flight *free_flight(struct amqp_notifier *a)
{
    struct flight *settled = NULL;
    for (int i = 0; i < FLIGHTS_MAX; i++) {
        if (!a->flights[i].tag)
            return &a->flights[i];
        if (a->flights[i].state != UNDER_WAY)
            settled = &a->flights[i];
    }
    return settled;
}

/* What is forgotten is published again when it is offered again. */
static void forget_flights(struct amqp_notifier *a, uint64_t from_tag)
{
    for (int i = 0; i < FLIGHTS_MAX; i++)
        if (a->flights[i].tag >= from_tag)
            a->flights[i].tag = 0;
}

/* ---- the connection ---- */

static void take_event(struct amqp_notifier *a, const struct amqp_event *ev);

/* Once when it begins, and then seldom. */
static void log_trouble(struct amqp_notifier *a, const char *id, const char *text)
{
    pthread_mutex_lock(&a->lock);
    bool known = strcmp(a->shown.error, text) == 0 && !mono_passed(a->log_again_at);
    pthread_mutex_unlock(&a->lock);
    if (known)
        return;
    a->log_again_at = mono_add_ms(clock_mono(), REPEAT_LOG_MS);
    log_warn(id, "%s; events wait", text);
}

/* The connection or its channel is gone; later another. */
static void lose(struct amqp_notifier *a, const struct err *why)
{
    uint32_t random;
    hash_random(&random, sizeof(random));
    a->usable = false;
    a->stalled = false;
    a->failures++;
    a->attempt_at = mono_add_ms(clock_mono(), amqp_backoff_ms(a->failures, why->retry, random));
    forget_flights(a, 1);
    show_blocked(a, false);
    if (why->code == -ECANCELED)
        return; /* we stop */
    log_trouble(a, "broker-away", why->text);
    show_up(a, false);
    show_error(a, why->text);
}

static void try_to_connect(struct amqp_notifier *a)
{
    struct err e = {0};
    int r = amqp_link_connected(a->link) ? 0 : amqp_link_connect(a->link, &e);
    if (r == 0)
        r = amqp_link_declare_exchange(a->link, a->exchange, "topic", &e);
    metric_inc(&connects, r < 0 ? "failed" : "good");
    if (r < 0) {
        lose(a, &e);
        return;
    }
    log_notice("broker-connected", "broker '%s': connected%s", amqp_link_peer(a->link),
               a->was_up ? " again" : "");
    a->usable = a->was_up = true;
    a->heartbeat_at = clock_mono();
    a->paused_until = clock_mono();
    show_up(a, true);
}

/* Waits up to timeout_ms for the first; false when there was none, or when the connection ended. */
static bool process(struct amqp_notifier *a, int timeout_ms)
{
    struct amqp_event ev;
    struct err e = {0};
    if (!a->usable && !amqp_link_connected(a->link))
        return false;
    if (amqp_link_process(a->link, timeout_ms, &ev, &e) < 0) {
        lose(a, &e);
        return false;
    }
    if (ev.kind == AMQP_NOTHING)
        return false;
    a->stalled = false;
    take_event(a, &ev);
    return true;
}

/* An event came back, so that nobody has it: what was published behind it must come behind it. */
static void take_back(struct amqp_notifier *a, const struct amqp_event *ev, const char *why)
{
    if (!flight_of_tag(a, ev->tag))
        return; /* behind another one that came back, or a heartbeat */
    forget_flights(a, ev->tag);
    unsigned doublings = MIN(a->pauses, 4U);
    int64_t pause = MIN((int64_t)1000 << doublings, (int64_t)PAUSE_MAX_MS);
    a->one_by_one = true;
    a->paused_until = mono_add_ms(clock_mono(), pause);
    a->pauses++;
    log_trouble(a, "broker-takes-nothing", why);
    show_error(a, why);
}

static void take_confirm(struct amqp_notifier *a, const struct amqp_event *ev)
{
    a->failures = 0;
    struct flight *f = flight_of_tag(a, ev->tag);
    if (!f)
        return; /* a heartbeat */
    f->state = CONFIRMED;
    metric_inc(&published, "confirmed");
    if (a->pauses)
        log_notice("broker-takes-events", "broker '%s': takes events again",
                   amqp_link_peer(a->link));
    a->one_by_one = false;
    a->pauses = 0;
    show_error(a, "");
}

/* The broker says which number it dislikes, but not of which message: with one under way that is
 * clear, else they are tried one by one. */
static void lose_channel(struct amqp_notifier *a, const struct amqp_event *ev)
{
    struct err e = {0};
    err_set(&e, -ECONNRESET, ev->code == REPLY_NO_ACCESS ? ERR_NEVER : ERR_NOW,
            "broker '%s': closed the channel: %d %s", amqp_link_peer(a->link), ev->code, ev->text);
    struct flight refused = {.state = REFUSED};
    if (ev->code == REPLY_PRECONDITION && flights_under_way(a) == 1) {
        for (int i = 0; i < FLIGHTS_MAX; i++)
            if (a->flights[i].tag && a->flights[i].state == UNDER_WAY)
                refused = a->flights[i];
        refused.state = REFUSED;
        (void)text_format(a->refusal, sizeof(a->refusal),
                          "broker '%s': refuses this event: %d %s; if it is too large, lower "
                          "event_size_max",
                          amqp_link_peer(a->link), ev->code, ev->text); /* cut is fine */
        metric_inc(&published, "refused");
    }
    a->one_by_one = true;
    lose(a, &e);
    a->flights[0] = refused;
}

static void take_event(struct amqp_notifier *a, const struct amqp_event *ev)
{
    char why[ERR_TEXT_MAX];
    switch (ev->kind) {
    case AMQP_ACKED:
        take_confirm(a, ev);
        break;
    case AMQP_RETURNED:
        metric_inc(&published, "returned");
        (void)text_format(why, sizeof(why),
                          "no queue takes events with the key '%s' from the exchange '%s' (%d %s): "
                          "is the program running that should get them?",
                          a->image_key, a->exchange, ev->code, ev->text); /* cut is fine */
        take_back(a, ev, why);
        break;
    case AMQP_NACKED:
        metric_inc(&published, "nacked");
        take_back(a, ev, "the broker could not take an event: a queue is full, or a node is ill");
        break;
    case AMQP_BLOCKED:
        (void)text_format(why, sizeof(why), "broker '%s': takes no messages: %s",
                          amqp_link_peer(a->link), ev->text); /* cut is fine */
        log_trouble(a, "broker-blocked", why);
        show_error(a, why);
        show_blocked(a, true);
        break;
    case AMQP_UNBLOCKED:
        log_notice("broker-unblocked", "broker '%s': takes messages again",
                   amqp_link_peer(a->link));
        show_error(a, "");
        show_blocked(a, false);
        break;
    case AMQP_CHANNEL_CLOSED:
        lose_channel(a, ev);
        break;
    case AMQP_NOTHING:
    case AMQP_DELIVERY: /* these belong to consumers */
    case AMQP_OVERSIZE:
    case AMQP_CANCELLED:
    case AMQP_EVENT_COUNT:
        break;
    }
}

static void send_heartbeat(struct amqp_notifier *a)
{
    struct err e = {0};
    uint64_t tag;
    a->heartbeat_at = mono_add_ms(clock_mono(), a->heartbeat_ms);
    int r = a->heartbeat(a->heartbeat_arg, clock_wall(), &a->heartbeat_body, &e);
    if (r < 0) {
        log_error("heartbeat-failed", "%s", e.text);
        return;
    }
    struct amqp_message m = {.exchange = a->exchange,
                             .key = a->heartbeat_key,
                             .body = {{a->heartbeat_body.data, a->heartbeat_body.len}}};
    r = amqp_link_publish(a->link, &m, &tag, &e);
    if (r == 0)
        metric_inc(&heartbeats, NULL);
    else if (!amqp_link_connected(a->link))
        lose(a, &e);
    else if (r != -EAGAIN) /* else it is late for this one; the next comes soon */
        log_warn("heartbeat-failed", "%s", e.text);
}

static int64_t care(struct notifier *n)
{
    struct amqp_notifier *a = self_of(n);
    while (process(a, 0))
        continue;
    if (!flights_under_way(a))
        a->stalled = false;
    if (!a->usable && mono_passed(a->attempt_at))
        try_to_connect(a);
    if (a->usable && mono_passed(a->heartbeat_at))
        send_heartbeat(a);
    if (!a->usable)
        return mono_until_ms(a->attempt_at);
    int64_t next = mono_until_ms(a->heartbeat_at);
    return a->one_by_one && !mono_passed(a->paused_until)
               ? MIN(next, (int64_t)mono_until_ms(a->paused_until))
               : next;
}

static int fd(const struct notifier *n)
{
    return amqp_link_fd(self_of(n)->link);
}

/* ---- events ---- */

static int room(struct notifier *n)
{
    struct amqp_notifier *a = self_of(n);
    if (!a->usable || a->stalled || amqp_link_blocked(a->link) || !mono_passed(a->paused_until))
        return 0;
    return a->one_by_one ? 1 : FLIGHTS_MAX;
}

/* Waits a moment for a broker that is behind. */
static int publish(struct amqp_notifier *a, const struct amqp_message *m, uint64_t *ret_tag,
                   struct err *e)
{
    struct mono_time deadline = mono_add_ms(clock_mono(), SEND_MS);
    while (true) {
        int r = amqp_link_publish(a->link, m, ret_tag, e);
        if (r < 0 && !amqp_link_connected(a->link)) {
            lose(a, e);
            return -EAGAIN; /* no fault of the event */
        }
        if (r != -EAGAIN)
            return r;
        int left = mono_until_ms(deadline);
        if (left == 0)
            a->stalled = true;
        if (left == 0 || amqp_link_blocked(a->link))
            return -EAGAIN;
        (void)process(a, left); /* what it was is seen by the next attempt */
        if (!a->usable)
            return -EAGAIN;
    }
}

static int deliver(struct notifier *n, const struct event *ev, struct err *e)
{
    struct amqp_notifier *a = self_of(n);
    const char *id = ev->snapshot->id;
    if (find_flight(a, id))
        return -EINPROGRESS;
    struct flight *f = free_flight(a); /* there is none when the stage offers others than before */
    if (!f || room(n) == 0)
        return -EAGAIN;
    bool reduced = false;
    AUTO_DONE(message_body) made;
    message_body_init(&made);
    int r = amqp_body_make(&a->body, ev, clock_wall(), &made, &reduced, e);
    if (r < 0)
        return r;
    const struct blob *picture = made.picture;
    struct amqp_message m = {.exchange = a->exchange,
                             .key = a->image_key,
                             .message_id = id,
                             .persistent = a->persistent,
                             .mandatory = true,
                             .body = {{made.around.data, made.gap},
                                      {picture ? picture->data : NULL, picture ? picture->size : 0},
                                      {made.around.data + made.gap, made.around.len - made.gap}}};
    uint64_t tag;
    r = publish(a, &m, &tag, e);
    if (r < 0)
        return r;
    if (reduced)
        metric_inc(&smaller, NULL);
    *f = (struct flight){.tag = tag, .state = UNDER_WAY};
    text_copy(f->id, sizeof(f->id), id);
    return -EINPROGRESS;
}

static int settle(struct notifier *n, const char *id, struct mono_time deadline, struct err *e)
{
    struct amqp_notifier *a = self_of(n);
    struct flight *f = find_flight(a, id);
    while (f && f->state == UNDER_WAY && !amqp_link_blocked(a->link)) {
        int left = mono_until_ms(deadline);
        if (!process(a, left) && left == 0) {
            a->stalled = true;
            return -EAGAIN;
        }
        f = find_flight(a, id);
    }
    if (!f || f->state == UNDER_WAY)
        return -EAGAIN;
    bool refused = f->state == REFUSED;
    f->tag = 0;
    return refused ? err_set(e, -EMSGSIZE, ERR_NEVER, "%s", a->refusal) : 0;
}
