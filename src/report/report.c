#include "report/report.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/altstack.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/text.h"
#include "report/crash.h"
#include "report/crash_report.h"
#include "report/dsn.h"
#include "report/limits.h"
#include "report/repeats.h"
#include "report/report_spool.h"
#include "sys/gzip.h"
#include "sys/http_call.h"

enum {
    /* Different errors within the time that writing one file takes. */
    QUEUE_MAX = 32,
    /* Those of an event, and what is logged until the thread comes to copy them. */
    CRUMBS_KEPT = EVENT_CRUMBS_MAX + 28,
    RETRY_MS_MAX = 15 * 60 * 1000,
    CONNECT_MS = 10 * 1000,
    TOTAL_MS = 30 * 1000,
    ANSWER_MAX = 64 * 1024,
    STACK_SIZE = 512 * 1024, /* as the stages have: TLS is the deepest */
};

struct queued {
    struct event_record record;
    unsigned long long count;
    unsigned long long crumbs_end; /* lines logged before it */
};

struct report {
    struct report_config config; /* its strings are ours */
    struct event_origin origin;
    char *release, *environment, *server_name, *version, *ca_file, *folder, *spool_folder;
    char client[80];

    pthread_mutex_t scrub_lock;
    struct scrub *scrub;

    pthread_mutex_t lock; /* guards all below down to the thread's own */
    pthread_cond_t news;
    struct event_record crumbs[CRUMBS_KEPT];
    unsigned long long crumb_count; /* since the start; the ring holds the newest */
    struct queued queue[QUEUE_MAX];
    unsigned queue_first, queue_count;
    struct repeats repeats;
    unsigned long long forgotten_told;
    struct dsn dsn;
    bool has_dsn, running, stopping, ended;
    struct crash_report *crash; /* of the run before, until it is an event */
    struct report_status status;
    struct mono_time next_try;

    /* The thread's own. */
    pthread_t thread;
    int stop_fd;
    struct report_spool *spool; /* NULL = the disk does not let us */
    struct http_client *http;
    struct event_record *taken; /* room for the breadcrumbs of one event */
    struct blob *unspooled;     /* the one event that may wait without a disk */
    char unspooled_id[EVENT_ID_SIZE];
    unsigned failures; /* in a row */
    long refused;      /* the status that was told last, 0 = none since the last success */
};

static struct metric sent_metric = {.name = "snapshotd_report_events_total",
                                    .kind = METRIC_COUNTER,
                                    .help = "Errors that were reported"};
static struct metric dropped_metric = {
    .name = "snapshotd_report_dropped_total",
    .kind = METRIC_COUNTER,
    .label = "reason",
    .help = "Errors that were not reported: queue, forgotten (more different ones at a time than "
            "are kept apart), full, old, unreadable (spool), disk, too_large, refused"};
static struct metric held_metric = {
    .name = "snapshotd_report_repeats_total",
    .kind = METRIC_COUNTER,
    .help = "Errors that were only counted, because the same one was reported shortly before"};
static struct metric waiting_metric = {.name = "snapshotd_report_spooled",
                                       .kind = METRIC_GAUGE,
                                       .help = "Reports that wait to be sent"};

static void look_at_last_run(struct report *r);
static void on_record(void *arg, const struct log_record *record);
static int start_thread(struct report *r, struct err *e);
static void *thread_main(void *arg);
static void turn(struct report *r);
static bool take_one(struct report *r, struct queued *ret, size_t *ret_crumbs);
static void keep_event(struct report *r, json_t *event, const char id[EVENT_ID_SIZE]);
static void keep_record(struct report *r, const struct queued *q, size_t crumbs);
static void keep_crash(struct report *r);
static bool send_one(struct report *r);
static void count_drop(struct report *r, const char *reason, unsigned n);
static void count_losses(struct report *r);
static void add_secret(const char *value, void *arg);

void report_register_metrics(void)
{
    metric_register(&sent_metric);
    metric_register(&dropped_metric);
    metric_register(&held_metric);
    metric_register(&waiting_metric);
}

/* ---- life ---- */

static void init_lock(struct report *r)
{
    pthread_condattr_t clock;
    pthread_mutex_init(&r->scrub_lock, NULL);
    pthread_mutex_init(&r->lock, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&r->news, &clock);
    pthread_condattr_destroy(&clock);
}

struct report *report_start(const struct report_options *o)
{
    struct report *r = xcalloc(1, sizeof(*r)); /* its pages are taken when they are needed */
    struct err e = {0};
    init_lock(r);
    r->stop_fd = -1;
    r->config = *o->config;
    r->version = xstrdup(o->version);
    r->release = o->config->release[0] ? xstrdup(o->config->release)
                                       : xasprintf("snapshot-processor@%s", o->version);
    r->environment = xstrdup(o->config->environment);
    r->server_name = xstrdup(o->server_name);
    r->ca_file = xstrdup(o->config->ca_file);
    r->folder = xstrdup(o->folder);
    r->spool_folder = xasprintf("%s/events", o->folder);
    (void)text_format(r->client, sizeof(r->client), "snapshotd/%.60s", o->version);
    r->origin = (struct event_origin){.release = r->release,
                                      .environment = r->environment,
                                      .server_name = r->server_name,
                                      .version = r->version};
    r->scrub = scrub_new();
    report_add_secrets(r, o->secrets);
    look_at_last_run(r);
    if (crash_watch(r->folder, r->version, &e) < 0)
        log_warn("crash-unwatched", "a crash would leave no report: %s", e.text);
    else
        (void)log_add_sink(crash_note_log, r); /* without room reports lack the last ids */
    if (report_set_dsn(r, o->config->dsn, &e) < 0)
        log_warn("sentry-off", "errors are not reported: %s", e.text);
    return r;
}

static void look_at_last_run(struct report *r)
{
    struct err e = {0};
    char what[256];
    struct crash_report *found = NULL;
    int code = crash_report_take(r->folder, &found, &e);
    if (code == -ENOENT)
        return;
    if (code < 0) {
        log_warn("crash-unread", "what a crash left behind cannot be read: %s", e.text);
        return;
    }
    if (!found->crashed) {
        log_notice("ended-unsaid",
                   "the run since %s did not end in order: it was killed, or the "
                   "power went",
                   found->started);
        free(found);
        return;
    }
    log_error("crashed-before", "crashed before: %s; what it left is %s/crash.last",
              crash_report_sentence(found, what, sizeof(what)), r->folder);
    r->crash = found;
}

int report_set_dsn(struct report *r, const char *dsn, struct err *e)
{
    struct dsn parsed = {0};
    bool on = dsn && dsn[0];
    int code = on ? dsn_parse(dsn, &parsed, e) : 0;
    if (code < 0)
        return code;
    if (on) {
        pthread_mutex_lock(&r->scrub_lock);
        scrub_add(r->scrub, parsed.key);
        scrub_add(r->scrub, parsed.secret);
        pthread_mutex_unlock(&r->scrub_lock);
    }
    pthread_mutex_lock(&r->lock);
    bool start = on && !r->running && !r->stopping;
    r->dsn = parsed;
    r->has_dsn = on;
    r->next_try = clock_mono();
    (void)text_copy(r->status.where, sizeof(r->status.where), parsed.origin); /* cut is fine */
    r->status.on = on;
    if (start)
        code = start_thread(r, e);
    r->running |= start && code == 0;
    pthread_cond_signal(&r->news);
    pthread_mutex_unlock(&r->lock);
    if (start && code == 0) {
        (void)log_add_sink(on_record, r); /* the limit is a matter of the program's parts */
        log_notice("sentry-on", "errors are reported to %s, project %s", parsed.origin,
                   parsed.project);
    }
    return code;
}

static void add_secret(const char *value, void *arg)
{
    scrub_add(arg, value);
}

void report_add_secrets(struct report *r, const struct cfg *c)
{
    if (!c)
        return;
    pthread_mutex_lock(&r->scrub_lock);
    cfg_each_secret(c, add_secret, r->scrub);
    pthread_mutex_unlock(&r->scrub_lock);
}

void report_note_libraries(struct report *r UNUSED)
{
    crash_note_objects();
}

static int start_thread(struct report *r, struct err *e)
{
    r->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (r->stop_fd < 0)
        return err_errno(e, -errno, "eventfd");
    pthread_attr_t attr;
    sigset_t all, was;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_SIZE);
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &was); /* signals belong to the main loop */
    int code = pthread_create(&r->thread, &attr, thread_main, r);
    pthread_sigmask(SIG_SETMASK, &was, NULL);
    pthread_attr_destroy(&attr);
    if (code == 0)
        return 0;
    (void)close(r->stop_fd); /* nothing was written to it */
    r->stop_fd = -1;
    return err_errno(e, -code, "start a thread");
}

static void wait_ended(struct report *r, int64_t ms)
{
    struct mono_time until = mono_add_ms(clock_mono(), ms);
    struct timespec ts = {.tv_sec = (time_t)(until.us / 1000000),
                          .tv_nsec = (long)(until.us % 1000000 * 1000)};
    int code = 0;
    while (!r->ended && code == 0)
        code = pthread_cond_timedwait(&r->news, &r->lock, &ts);
}

void report_stop(struct report *r, int64_t flush_ms)
{
    if (!r)
        return;
    log_remove_sink(on_record, r);
    log_remove_sink(crash_note_log, r);
    pthread_mutex_lock(&r->lock);
    bool running = r->running;
    r->stopping = true;
    pthread_cond_broadcast(&r->news);
    if (running)
        wait_ended(r, flush_ms);
    r->running = false;
    pthread_mutex_unlock(&r->lock);
    if (running) {
        uint64_t one = 1;
        (void)!write(r->stop_fd, &one, sizeof(one)); /* a counter far from full */
        pthread_join(r->thread, NULL);
    }
    crash_unwatch();
}

void report_free(struct report *r)
{
    if (!r)
        return;
    report_stop(r, 0);
    if (r->stop_fd >= 0)
        (void)close(r->stop_fd); /* its one message was read */
    scrub_free(r->scrub);
    free(r->crash);
    explicit_bzero(&r->dsn, sizeof(r->dsn));
    char *texts[] = {r->release, r->environment, r->server_name, r->version,
                     r->ca_file, r->folder,      r->spool_folder};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        free(texts[i]);
    pthread_cond_destroy(&r->news);
    pthread_mutex_destroy(&r->lock);
    pthread_mutex_destroy(&r->scrub_lock);
    free(r);
}

void report_status(struct report *r, struct report_status *ret)
{
    pthread_mutex_lock(&r->lock);
    *ret = r->status;
    ret->pause_ms = r->status.on && ret->waiting ? mono_until_ms(r->next_try) : 0;
    pthread_mutex_unlock(&r->lock);
}

/* ---- on the threads that log ---- */

static void enqueue(struct report *r, const struct event_record *record, unsigned long long count)
{
    if (r->queue_count == QUEUE_MAX) {
        r->status.dropped++;
        metric_inc(&dropped_metric, "queue");
        return;
    }
    struct queued *q = &r->queue[(r->queue_first + r->queue_count++) % QUEUE_MAX];
    q->record = *record;
    q->count = count;
    q->crumbs_end = r->crumb_count;
}

static void on_record(void *arg, const struct log_record *from)
{
    struct report *r = arg;
    struct event_record record;
    if (from->level > LOG_LEVEL_INFO)
        return;
    event_record_copy(&record, from);
    pthread_mutex_lock(&r->lock);
    if (record.level == LOG_LEVEL_ERROR && r->has_dsn) {
        bool now = repeats_take(&r->repeats, &record, r->config.repeat_ms, clock_mono());
        if (now)
            enqueue(r, &record, 1);
        else
            metric_inc(&held_metric, NULL);
        pthread_cond_broadcast(&r->news);
    }
    r->crumbs[r->crumb_count++ % CRUMBS_KEPT] = record;
    pthread_mutex_unlock(&r->lock);
}

/* ---- on the thread that reports ---- */

static void *thread_main(void *arg)
{
    struct report *r = arg;
    struct err e = {0};
    altstack_use();
    (void)pthread_setname_np(pthread_self(), "report"); /* for a person who looks */
    log_context_stage("report");
    r->taken = xcalloc(EVENT_CRUMBS_MAX, sizeof(*r->taken));
    struct report_spool_limits limits = {.bytes = r->config.spool_size,
                                         .files = (unsigned)r->config.spool_files,
                                         .age_ms = r->config.spool_age_ms};
    if (report_spool_open(r->spool_folder, &limits, &r->spool, &e) < 0)
        log_warn("sentry-spool", "reports that cannot be sent at once will be lost: %s", e.text);
    if (http_client_new(r->stop_fd, &r->http, &e) < 0)
        log_warn("sentry-off", "errors are not sent, they stay in %s: %s", r->spool_folder, e.text);
    turn(r);
    http_client_free(r->http);
    report_spool_close(r->spool);
    blob_unref(STEAL(r->unspooled));
    free(STEAL(r->taken));
    pthread_mutex_lock(&r->lock);
    r->ended = true;
    pthread_cond_broadcast(&r->news);
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

static void note_waiting(struct report *r)
{
    unsigned n = (r->spool ? report_spool_count(r->spool) : 0) + (r->unspooled ? 1 : 0);
    metric_set(&waiting_metric, NULL, n);
    pthread_mutex_lock(&r->lock);
    r->status.waiting = n;
    pthread_mutex_unlock(&r->lock);
}

/* With the lock: moves what is due of the counted ones to the queue. */
static void collect_repeats(struct report *r)
{
    struct event_record record;
    unsigned long long count;
    struct mono_time now = clock_mono();
    while (r->queue_count < QUEUE_MAX &&
           (r->stopping ? repeats_flush(&r->repeats, &record, &count)
                        : repeats_due(&r->repeats, r->config.repeat_ms, now, &record, &count)))
        enqueue(r, &record, count);
    unsigned long long lost = r->repeats.forgotten - r->forgotten_told;
    if (lost) {
        r->status.dropped += lost;
        metric_add(&dropped_metric, "forgotten", (double)lost);
        r->forgotten_told = r->repeats.forgotten;
    }
}

/* With the lock: until there is something to do. */
static void wait_for_news(struct report *r)
{
    struct mono_time until = mono_add_ms(clock_mono(), 3600 * 1000), due;
    if (r->status.waiting && r->has_dsn && r->http && r->next_try.us < until.us)
        until = r->next_try;
    if (repeats_next(&r->repeats, &due) && due.us < until.us)
        until = due;
    struct timespec ts = {.tv_sec = (time_t)(until.us / 1000000),
                          .tv_nsec = (long)(until.us % 1000000 * 1000)};
    if (!mono_passed(until))
        (void)pthread_cond_timedwait(&r->news, &r->lock, &ts); /* all is looked at again */
}

static void turn(struct report *r)
{
    keep_crash(r);
    count_losses(r);
    note_waiting(r);
    while (true) {
        struct queued q;
        size_t crumbs;
        pthread_mutex_lock(&r->lock);
        bool taken = take_one(r, &q, &crumbs);
        bool may_send = r->has_dsn && r->http && r->status.waiting && mono_passed(r->next_try);
        bool stopping = r->stopping;
        if (!taken && !may_send && !stopping)
            wait_for_news(r);
        pthread_mutex_unlock(&r->lock);
        if (taken)
            keep_record(r, &q, crumbs);
        else if (may_send && !send_one(r) && stopping)
            return;
        else if (!may_send && stopping)
            return;
        count_losses(r);
        note_waiting(r);
    }
}

/* With the lock: the next error, and a copy of the lines before it. */
static bool take_one(struct report *r, struct queued *ret, size_t *ret_crumbs)
{
    collect_repeats(r);
    if (r->queue_count == 0)
        return false;
    *ret = r->queue[r->queue_first];
    r->queue_first = (r->queue_first + 1) % QUEUE_MAX;
    r->queue_count--;
    unsigned long long end = ret->crumbs_end;
    unsigned long long first = end > EVENT_CRUMBS_MAX ? end - EVENT_CRUMBS_MAX : 0;
    if (r->crumb_count - first > CRUMBS_KEPT)
        first = r->crumb_count - CRUMBS_KEPT;
    *ret_crumbs = 0;
    for (; first < end; first++)
        r->taken[(*ret_crumbs)++] = r->crumbs[first % CRUMBS_KEPT];
    return true;
}

static void keep_record(struct report *r, const struct queued *q, size_t crumbs)
{
    char id[EVENT_ID_SIZE];
    event_new_id(id);
    pthread_mutex_lock(&r->scrub_lock);
    json_t *event =
        event_of_record(&r->origin, r->scrub, id, &q->record, q->count, r->taken, crumbs);
    pthread_mutex_unlock(&r->scrub_lock);
    keep_event(r, event, id);
}

static void keep_crash(struct report *r)
{
    pthread_mutex_lock(&r->lock);
    struct crash_report *crash = STEAL(r->crash);
    pthread_mutex_unlock(&r->lock);
    if (!crash)
        return;
    char id[EVENT_ID_SIZE];
    event_new_id(id);
    pthread_mutex_lock(&r->scrub_lock);
    json_t *event = crash_report_event(crash, &r->origin, r->scrub, id);
    pthread_mutex_unlock(&r->scrub_lock);
    keep_event(r, event, id);
    free(crash);
}

/* Takes the event. */
static void keep_event(struct report *r, json_t *event, const char id[EVENT_ID_SIZE])
{
    AUTO_DONE(dynbuf) text = {0};
    struct err e = {0};
    dynbuf_init(&text, EVENT_BYTES_MAX);
    int code = js_write(event, &text);
    json_decref(event);
    if (code < 0) {
        count_drop(r, "too_large", 1);
        return;
    }
    code = r->spool ? report_spool_put(r->spool, id, text.data, text.len, clock_wall(), &e) : -EIO;
    if (code == 0)
        return;
    if (r->unspooled) {
        count_drop(r, "disk", 1);
        return;
    }
    r->unspooled = blob_new_copy(text.data, text.len);
    text_copy(r->unspooled_id, sizeof(r->unspooled_id), id);
}

static void count_drop(struct report *r, const char *reason, unsigned n)
{
    if (n == 0)
        return;
    metric_add(&dropped_metric, reason, n);
    pthread_mutex_lock(&r->lock);
    r->status.dropped += n;
    pthread_mutex_unlock(&r->lock);
}

static void count_losses(struct report *r)
{
    if (!r->spool)
        return;
    struct report_spool_losses losses = report_spool_take_losses(r->spool);
    count_drop(r, "full", losses.full);
    count_drop(r, "old", losses.old);
    count_drop(r, "unreadable", losses.unreadable);
}

/* ---- sending ---- */

static int post(struct report *r, const struct dsn *dsn, const char *id, const struct blob *event,
                struct http_answer *ret, struct err *e)
{
    AUTO_DONE(dynbuf) envelope = {0};
    AUTO_DONE(dynbuf) packed = {0};
    dynbuf_init(&envelope, EVENT_BYTES_MAX + 4096);
    dynbuf_init(&packed, EVENT_BYTES_MAX + 65536);
    if (event_envelope(id, event->data, event->size, clock_wall(), r->version, &envelope) < 0 ||
        gzip_pack(envelope.data, envelope.len, &packed) < 0)
        return err_set(e, -ENOMEM, ERR_LATER, "no memory for an envelope");
    char auth[DSN_AUTH_MAX], header[DSN_AUTH_MAX + 32], agent[128];
    dsn_auth(dsn, r->client, auth);
    (void)text_format(header, sizeof(header), "X-Sentry-Auth: %s", auth); /* both fit */
    (void)text_format(agent, sizeof(agent), "User-Agent: %s", r->client);
    const char *headers[] = {"Content-Type: application/x-sentry-envelope",
                             "Content-Encoding: gzip", header, agent, NULL};
    static const char *const wanted[] = {"X-Sentry-Rate-Limits", "X-Sentry-Error", NULL};
    struct httpc_request req = {.method = "POST",
                                .url = dsn->url,
                                .shown = dsn->origin,
                                .headers = headers,
                                .body = packed.data,
                                .body_size = packed.len,
                                .tls_ca_file = r->ca_file[0] ? r->ca_file : NULL,
                                .use_proxy = true,
                                .connect_timeout_ms = CONNECT_MS,
                                .total_timeout_ms = TOTAL_MS,
                                .size_max = ANSWER_MAX};
    return http_call(r->http, &req, wanted, ret, NULL, e);
}

static void forget(struct report *r, const char *id)
{
    if (r->unspooled && strcmp(r->unspooled_id, id) == 0)
        blob_unref(STEAL(r->unspooled));
    else if (r->spool)
        report_spool_remove(r->spool, id);
}

static int64_t retry_ms(const struct report *r)
{
    int64_t ms = r->config.retry_ms;
    for (unsigned i = 1; i < r->failures && ms < RETRY_MS_MAX; i++)
        ms *= 2;
    return MIN(ms, (int64_t)RETRY_MS_MAX);
}

/* "why" "" = it went well. */
static void note_try(struct report *r, const char *why, int64_t pause_ms)
{
    pthread_mutex_lock(&r->lock);
    (void)text_copy(r->status.last_error, sizeof(r->status.last_error), why); /* cut is fine */
    r->status.sent += !why[0];
    r->next_try = mono_add_ms(clock_mono(), pause_ms);
    pthread_mutex_unlock(&r->lock);
}

/* No answer, or one that asks for another try. */
static void note_away(struct report *r, const char *why, int64_t wait_s)
{
    if (r->failures++ == 0)
        log_warn("sentry-away", "%s; reports wait in %s", why, r->spool_folder);
    note_try(r, why, MAX(retry_ms(r), wait_s * 1000));
}

static void note_accepted(struct report *r, const char *id, int64_t wait_s)
{
    forget(r, id);
    metric_inc(&sent_metric, NULL);
    bool was_away = r->failures || r->refused;
    r->failures = 0;
    r->refused = 0;
    note_try(r, "", wait_s * 1000);
    if (was_away)
        log_notice("sentry-back", "errors are reported again");
}

/* The same event would be refused again. The next one waits a little, in case it is the key. */
static void note_refused(struct report *r, const char *id, const struct http_answer *a,
                         int64_t wait_s)
{
    char why[256];
    const char *words = a->headers[1] ? a->headers[1] : "";
    pthread_mutex_lock(&r->scrub_lock);
    AUTO_FREE char *clean = scrub_text(r->scrub, words);
    pthread_mutex_unlock(&r->scrub_lock);
    (void)text_format(why, sizeof(why), "HTTP %ld%s%.150s%s", a->status, clean[0] ? ": " : "",
                      clean,
                      a->status == 401 || a->status == 403 ? ": is [sentry] dsn that of a project "
                                                             "that is still there?"
                                                           : "");
    forget(r, id);
    count_drop(r, a->status == 413 ? "too_large" : "refused", 1);
    if (r->refused != a->status)
        log_warn("sentry-refused", "a report was refused and is dropped: %s", why);
    r->refused = a->status;
    r->failures++;
    note_try(r, why, MAX(a->status == 413 ? 0 : retry_ms(r), wait_s * 1000));
}

static void note_answer(struct report *r, const char *id, const struct http_answer *a)
{
    int64_t wait_s = limits_pause_s(a->status, a->headers[0], a->retry_after_s);
    char why[128];
    if (a->status >= 200 && a->status < 300) {
        note_accepted(r, id, wait_s);
    } else if (a->status == 429) {
        (void)text_format(why, sizeof(why), "asked to wait for %lld s", (long long)wait_s);
        log_info("sentry-limit", "%s", why);
        note_try(r, why, wait_s * 1000);
    } else if (a->status >= 400 && a->status < 500) {
        note_refused(r, id, a, wait_s);
    } else {
        int64_t asked_s = MIN(MAX(a->retry_after_s, (int64_t)0), (int64_t)RETRY_MS_MAX / 1000);
        (void)text_format(why, sizeof(why), "HTTP %ld", a->status);
        note_away(r, why, MAX(wait_s, asked_s));
    }
}

/* The oldest event. True: go on. */
static bool send_one(struct report *r)
{
    char id[EVENT_ID_SIZE];
    AUTO(blob) event = NULL;
    struct dsn dsn;
    if (r->unspooled) {
        event = blob_ref(r->unspooled);
        text_copy(id, sizeof(id), r->unspooled_id);
    } else if (!r->spool || report_spool_oldest(r->spool, clock_wall(), id, &event) < 0) {
        return true; /* what waited was too old, or is gone */
    }
    pthread_mutex_lock(&r->lock);
    dsn = r->dsn;
    pthread_mutex_unlock(&r->lock);
    struct http_answer answer = {0};
    struct err e = {0};
    int code = post(r, &dsn, id, event, &answer, &e);
    explicit_bzero(&dsn, sizeof(dsn));
    if (code == -ECANCELED)
        return false;
    if (code < 0)
        note_away(r, e.text, 0);
    else
        note_answer(r, id, &answer);
    bool accepted = code == 0 && answer.status >= 200 && answer.status < 300;
    http_answer_done(&answer);
    return accepted;
}
