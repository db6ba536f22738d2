#include "web/events.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/parse.h"
#include "base/text.h"
#include "web/routes.h"
#include "web/snapshot_json.h"

/* News between two turns of the web thread, and between the last listener and the next. */
#define QUEUE_MAX 256
/* Taken at a time: a page of ledger reads, then others have their turn. */
#define DRAIN_MAX 32
/* Events that can be had again: at ten pictures a second the last half minute, which is what a
 * browser needs to come back; by day, hours. */
#define RING_MAX 1024
#define RING_BYTES_MAX ((size_t)2 << 20)
/* One that is larger (hundreds of boxes) is told without its data: the client asks for it. */
#define EVENT_MAX ((size_t)256 << 10)
#define COMMENT_MS 15000 /* proxies close what is silent for a minute, some for 20 s */
#define STATUS_MS 5000
#define STALL_MS 30000
#define RETRY_MS 2000 /* after which a browser comes back */
#define ID_MAX 48
#define RING_IDLE_BYTES ((size_t)256 << 10) /* of it when nobody listens */
#define CAMERAS_MAX                                                                                \
    256 /* whose last state is remembered; the others' is told with each picture                   \
         */

struct queued {
    enum news what;
    char subject[SNAPSHOT_KEY_MAX];
};

struct entry {
    struct blob *text;
    char camera[SNAPSHOT_KEY_MAX]; /* whose it is, "" = everybody's */
};

struct events {
    struct events_options options;
    char boot[20]; /* of this run */

    atomic_bool awake;    /* news are queued */
    atomic_int listeners; /* and who queues them wakes the web thread */

    pthread_mutex_t lock; /* guards the queue */
    struct queued *queue; /* QUEUE_MAX, as long as news are queued */
    int queued;
    bool lost; /* some, since the last time that it was taken */

    /* The web thread's own. */
    struct entry *ring;    /* RING_MAX, as long as there is a listener or something to keep */
    uint64_t oldest, next; /* numbers of the oldest event that is kept, and of the next one */
    size_t ring_bytes;
    struct mono_time status_at;
    char *status;    /* as it was told last */
    json_t *cameras; /* name -> state, likewise */
};

struct listener {
    struct events *events;
    uint64_t at; /* the next event it is to hear */
    struct blob *text;
    size_t sent; /* of that */
    bool greeted, missed;
    struct mono_time comment_at;
    char camera[SNAPSHOT_KEY_MAX]; /* "" = all */
};

static struct metric sent = {.name = "snapshotd_http_events_total",
                             .kind = METRIC_COUNTER,
                             .label = "event",
                             .help = "Events told to listeners of the API, by kind; each counts "
                                     "once, however many listen"};
static struct metric missed = {.name = "snapshotd_http_events_missed_total",
                               .kind = METRIC_COUNTER,
                               .help = "Times that a listener was told to load anew, because it "
                                       "came back too late or reads too slowly"};

void events_register_metrics(void)
{
    metric_register(&sent);
    metric_register(&missed);
}

struct events *events_new(const struct events_options *options)
{
    struct events *ev = xcalloc(1, sizeof(*ev));
    ev->options = *options;
    pthread_mutex_init(&ev->lock, NULL);
    ev->oldest = ev->next = 1;
    (void)text_format(ev->boot, sizeof(ev->boot), "%" PRIx64, (uint64_t)clock_wall().us); /* fits */
    return ev;
}

static void drop_oldest(struct events *ev)
{
    struct entry *en = &ev->ring[ev->oldest % RING_MAX];
    ev->ring_bytes -= en->text->size;
    blob_unref(STEAL(en->text));
    ev->oldest++;
}

static void forget_all(struct events *ev)
{
    while (ev->oldest < ev->next)
        drop_oldest(ev);
}

void events_free(struct events *ev)
{
    if (!ev)
        return;
    forget_all(ev);
    pthread_mutex_destroy(&ev->lock);
    free(ev->queue);
    free(ev->ring);
    free(ev->status);
    json_decref(ev->cameras);
    free(ev);
}

/* ---- in: any thread ---- */

void events_tell(struct events *ev, enum news what, const char *subject)
{
    if (!ev || !atomic_load_explicit(&ev->awake, memory_order_relaxed))
        return;
    bool listened = atomic_load(&ev->listeners) > 0;
    pthread_mutex_lock(&ev->lock);
    if (ev->queue && ev->queued < QUEUE_MAX) {
        struct queued *q = &ev->queue[ev->queued++];
        q->what = what;
        text_copy(q->subject, sizeof(q->subject), subject);
    } else {
        ev->lost = true;
        if (!listened) /* and nobody will for a while */
            atomic_store(&ev->awake, false);
    }
    pthread_mutex_unlock(&ev->lock);
    if (listened)
        ev->options.wake(ev->options.arg);
}

/* ---- the ring ---- */

static void push(struct events *ev, const char *event, const char *camera, const char *data)
{
    struct dynbuf text;
    dynbuf_init(&text, EVENT_MAX);
    (void)dynbuf_printf(&text, "id: %s-%" PRIu64 "\nevent: %s\ndata: %s\n\n", ev->boot, ev->next,
                        event, data);
    if (text.failed) {
        dynbuf_reset(&text);
        (void)dynbuf_printf(&text, "id: %s-%" PRIu64 "\nevent: reset\ndata: {}\n\n", ev->boot,
                            ev->next);
    }
    size_t size;
    char *bytes = dynbuf_steal(&text, &size);
    struct blob *blob = blob_new_take(bytes, size);
    while (ev->next - ev->oldest == RING_MAX ||
           (ev->oldest < ev->next && ev->ring_bytes + size > RING_BYTES_MAX))
        drop_oldest(ev);
    struct entry *en = &ev->ring[ev->next++ % RING_MAX];
    en->text = blob;
    text_copy(en->camera, sizeof(en->camera), camera);
    ev->ring_bytes += size;
    metric_inc(&sent, event);
}

/* The document (taken) as an event. */
static void push_json(struct events *ev, const char *event, const char *camera, json_t *document)
{
    AUTO_JSON json_t *owned = document;
    if (!owned)
        return; /* without memory for one event the next is as good */
    AUTO_FREE char *data = js_text(owned);
    push(ev, event, camera, data);
}

static void tell_snapshot(struct events *ev, const struct queued *q)
{
    AUTO(snapshot) s = NULL;
    struct verdict v = {0};
    struct err e;
    if (ledger_snapshot_get(ev->options.ledger, q->subject, &s, &e) < 0)
        return; /* gone again, or the ledger is busy: a hint that is not given */
    bool examined =
        q->what == NEWS_EXAMINED && ledger_verdict_get(ev->options.ledger, q->subject, &v, &e) == 0;
    if (q->what == NEWS_STORED)
        push_json(ev, "snapshot", s->camera, snapshot_json(s, NULL, NULL, 0));
    else if (examined)
        push_json(ev, "verdict", s->camera, snapshot_json(s, &v, NULL, 0));
    else if (q->what != NEWS_EXAMINED)
        push_json(ev, "changed", s->camera,
                  json_pack("{s:s,s:s,s:o}", "id", q->subject, "what", news_names[q->what],
                            "camera", js_string(s->camera)));
    if (examined)
        verdict_done(&v);
}

/* Whether somebody would look at it differently. */
static bool state_is_new(struct events *ev, const char *name, const json_t *camera)
{
    if (!ev->cameras)
        ev->cameras = json_object();
    char state[512];
    const char *word = json_string_value(json_object_get(camera, "state"));
    const char *error = json_string_value(json_object_get(camera, "last_error"));
    (void)text_format(state, sizeof(state), "%s|%d|%s", word ? word : "",
                      json_is_true(json_object_get(camera, "enabled")),
                      error ? error : ""); /* cut */
    const char *before = json_string_value(json_object_get(ev->cameras, name));
    if (before && strcmp(before, state) == 0)
        return false;
    if (before || json_object_size(ev->cameras) < CAMERAS_MAX)
        json_object_set_new(ev->cameras, name, js_string(state));
    return true;
}

static void tell_camera(struct events *ev, const char *name)
{
    const struct web_backend *b = ev->options.backend;
    AUTO_JSON json_t *found = b->cameras ? b->cameras(b->arg, name) : NULL;
    json_t *camera = json_array_get(found, 0);
    if (camera)
        web_camera_add_links(camera);
    if (camera && state_is_new(ev, name, camera))
        push_json(ev, "camera", name, json_incref(camera));
}

/* What some may have missed is over for all. */
static void skip(struct events *ev)
{
    forget_all(ev);
    ev->oldest = ++ev->next;
}

static void drain(struct events *ev)
{
    struct queued list[DRAIN_MAX];
    pthread_mutex_lock(&ev->lock);
    bool lost = ev->lost; /* then the rest is not worth telling either: all load anew */
    if (lost)
        ev->queued = 0;
    ev->lost = false;
    int count = MIN(ev->queued, DRAIN_MAX);
    memcpy(list, ev->queue, (size_t)count * sizeof(list[0]));
    ev->queued -= count;
    memmove(ev->queue, ev->queue + count, (size_t)ev->queued * sizeof(list[0]));
    bool more = ev->queued > 0;
    pthread_mutex_unlock(&ev->lock);
    for (int i = 0; i < count; i++) {
        if (list[i].what == NEWS_CAMERA)
            tell_camera(ev, list[i].subject);
        else
            tell_snapshot(ev, &list[i]);
    }
    if (lost)
        skip(ev);
    if (more)
        ev->options.wake(ev->options.arg);
}

/* How it goes with queues and destinations, when that has changed. */
static void tell_status(struct events *ev, struct mono_time now)
{
    const struct web_backend *b = ev->options.backend;
    if (!b->pulse || ev->status_at.us > now.us)
        return;
    ev->status_at = mono_add_ms(now, STATUS_MS);
    AUTO_JSON json_t *document = b->pulse(b->arg);
    if (!document)
        return;
    AUTO_FREE char *text = js_text(document);
    if (ev->status && strcmp(ev->status, text) == 0)
        return;
    push(ev, "status", "", text);
    free(ev->status);
    ev->status = STEAL(text);
}

/* ---- out: listeners ---- */

static ssize_t listener_read(void *arg, void *to, size_t size, struct http_wait *wait);
static void listener_free(void *arg);

/* "<boot>-<number>" of this run. */
static bool read_id(const struct events *ev, const char *id, uint64_t *ret)
{
    size_t len = strlen(ev->boot);
    int64_t number;
    if (strncmp(id, ev->boot, len) != 0 || id[len] != '-' ||
        parse_int64(id + len + 1, strlen(id + len + 1), 0, INT64_MAX, &number) < 0)
        return false;
    *ret = (uint64_t)number;
    return true;
}

static void wake_up(struct events *ev)
{
    if (!ev->ring)
        ev->ring = xcalloc(RING_MAX, sizeof(*ev->ring));
    pthread_mutex_lock(&ev->lock);
    if (!ev->queue)
        ev->queue = xcalloc(QUEUE_MAX, sizeof(*ev->queue));
    if (!atomic_load(&ev->awake))
        ev->lost = true; /* what was not queued so far */
    atomic_store(&ev->awake, true);
    pthread_mutex_unlock(&ev->lock);
}

void events_listen(struct events *ev, const char *camera, const char *last_id,
                   struct http_stream *ret)
{
    struct listener *l = xcalloc(1, sizeof(*l));
    l->events = ev;
    text_copy(l->camera, sizeof(l->camera), camera ? camera : "");
    wake_up(ev);
    atomic_fetch_add(&ev->listeners, 1);
    drain(ev); /* what this one does not know yet is numbered before it begins */
    uint64_t seen;
    bool known =
        last_id && read_id(ev, last_id, &seen) && seen + 1 >= ev->oldest && seen < ev->next;
    l->at = known ? seen + 1 : ev->next;
    l->missed = last_id && !known;
    free(STEAL(ev->status)); /* so that this one hears it soon */
    l->comment_at = mono_add_ms(clock_mono(), COMMENT_MS);
    *ret = (struct http_stream){.read = listener_read,
                                .release = listener_free,
                                .arg = l,
                                .stall_ms = STALL_MS,
                                .endless = true};
}

static void listener_free(void *arg)
{
    struct listener *l = arg;
    struct events *ev = l->events;
    bool last = atomic_fetch_sub(&ev->listeners, 1) == 1;
    while (last && ev->ring_bytes > RING_IDLE_BYTES)
        drop_oldest(ev);
    blob_unref(l->text);
    free(l);
}

static struct blob *say(const char *fmt, ...) PRINTF_LIKE(1, 2);
static struct blob *say(const char *fmt, ...)
{
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return blob_new_copy(text, MIN((size_t)MAX(n, 0), sizeof(text) - 1));
}

/* What it is to hear next, a new reference; NULL when there is nothing. */
static struct blob *next_text(struct listener *l, struct mono_time now)
{
    struct events *ev = l->events;
    if (l->at < ev->oldest) { /* it reads more slowly than things happen */
        l->missed = true;
        l->at = ev->next;
    }
    if (l->missed) {
        l->missed = false;
        l->greeted = true;
        metric_inc(&missed, NULL);
        return say("retry: %d\nid: %s-%" PRIu64 "\nevent: reset\ndata: {}\n\n", RETRY_MS, ev->boot,
                   l->at - 1);
    }
    if (!l->greeted) { /* with its place, so that it can come back even when it heard nothing */
        l->greeted = true;
        return say("retry: %d\nid: %s-%" PRIu64 "\n\n", RETRY_MS, ev->boot, l->at - 1);
    }
    while (l->at < ev->next) {
        const struct entry *en = &ev->ring[l->at++ % RING_MAX];
        if (!l->camera[0] || !en->camera[0] || strcmp(l->camera, en->camera) == 0)
            return blob_ref(en->text);
    }
    return l->comment_at.us <= now.us ? say(":\n\n") : NULL;
}

static ssize_t listener_read(void *arg, void *to, size_t size, struct http_wait *wait)
{
    struct listener *l = arg;
    struct events *ev = l->events;
    struct mono_time now = clock_mono();
    size_t written = 0;
    drain(ev);
    tell_status(ev, now);
    while (written < size) {
        if (!l->text)
            l->text = next_text(l, now);
        if (!l->text)
            break;
        size_t n = MIN(size - written, l->text->size - l->sent);
        memcpy((char *)to + written, l->text->data + l->sent, n);
        written += n;
        l->sent += n;
        l->comment_at = mono_add_ms(now, COMMENT_MS);
        if (l->sent == l->text->size) {
            blob_unref(STEAL(l->text));
            l->sent = 0;
        }
    }
    if (written == 0) {
        text_copy(wait->key, sizeof(wait->key), EVENTS_KEY);
        wait->recheck.us =
            MIN(l->comment_at.us, ev->options.backend->pulse ? ev->status_at.us : INT64_MAX);
    }
    return (ssize_t)written;
}
