#include "health/health.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/altstack.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/text.h"
#include "health/telemetry.h"
#include "sys/service.h"
#include "sys/stack.h"

#define LOOK_MS 1000
/* The main loop turns every second. Its longest work: what a reload does beside asking for secrets,
 * whose time it announces, and counting the rows of a large ledger while others write (10 s for
 * each count at most). */
#define MAIN_LIMIT_MS 120000
/* A start may take this much longer, told to the service manager again and again: a migration of
 * millions of rows on a slow card takes minutes. One that never ends must fail at last. */
#define START_MAX_MS 3600000
#define EXTEND_MS 60000
#define EXTEND_EVERY_MS 10000
/* How often the status line of the service manager may change. */
#define STATUS_EVERY_MS 5000
/* Sources, stages and the FTP server have the grace period each at most; with what comes around
 * them an end in order takes no longer than this. */
#define END_MAX_MS(grace_ms) (2 * (grace_ms) + 10000)
/* From the request to the main loop until it stops: it looks once a second. */
#define OBEY_MS 10000
#define LAST_WORD_MS 2000
#define STACK_TEXT_MAX 3000
#define STACK_SIZE (512 * 1024)
#define EXIT_STUCK 1

static struct metric healthy = {
    .name = "snapshotd_healthy",
    .kind = METRIC_GAUGE,
    .label = "part",
    .help = "1 while the part does its work or waits for somebody else, 0 when it is sick or "
            "stuck; \"all\" is 0 when any is"};
static struct metric waits = {
    .name = "snapshotd_waits_for_others",
    .kind = METRIC_GAUGE,
    .label = "part",
    .help = "1 while the part waits for something outside: a broker that is away, a login"};

enum phase { PHASE_STARTING, PHASE_WATCHED, PHASE_ENDING };

struct health {
    struct health_options options;
    double patience;
    int64_t watchdog_ms;
    char *host;
    struct telemetry *telemetry; /* under `lock` once the thread runs */
    pthread_t thread;
    struct mono_time started_at;
    _Atomic int64_t beat_us; /* of the main loop; ahead of now while it may be silent */

    pthread_mutex_t lock; /* held while the thread looks; guards what follows */
    pthread_cond_t cond;  /* the thread is to look up, or has ended */
    enum phase phase;
    struct mono_time must_end_at; /* 0 = it need not */
    bool stop, ended;

    pthread_mutex_t report_lock; /* never held for long: the API waits for it */
    struct health_report report;
    bool watched; /* reports are made */

    /* Of a look. */
    struct health_judge judge;
    struct health_view view;
    struct health_report next;
    bool given_up;
    struct mono_time fed_at, extended_at, status_at;
    char status[512];
};

static void *thread_main(void *arg);
static void free_health(struct health *h);

void health_register_metrics(void)
{
    metric_register(&healthy);
    metric_register(&waits);
    telemetry_register_metrics();
}

static int start_thread(struct health *h, struct err *e)
{
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_SIZE);
    int code = pthread_create(&h->thread, &attr, thread_main, h);
    pthread_attr_destroy(&attr);
    return code ? err_errno(e, -code, "health: start a thread") : 0;
}

static int start_telemetry(struct health *h, const struct health_config *c, const char *monitor_key,
                           struct err *e)
{
    struct telemetry_options t = {.cronitor = {.url = c->cronitor_url,
                                               .api_key = c->cronitor_api_key,
                                               .monitor_key = monitor_key,
                                               .host = h->host},
                                  .healthchecks_url = c->healthchecks_url,
                                  .interval_ms = c->interval_ms,
                                  .stale_ms = HEALTH_STALE_MS};
    return telemetry_start(&t, &h->telemetry, e);
}

static void say_missing_key(const struct health_config *c, const char *monitor_key)
{
    if (monitor_key[0] && !c->cronitor_api_key[0])
        log_notice("telemetry-off", "Cronitor hears nothing: [app] cronitor_monitor_key is set, "
                                    "but no key of the account is known (CRONITOR_API_KEY)");
}

int health_start(const struct health_options *o, struct health **ret, struct err *e)
{
    struct health *h = xcalloc(1, sizeof(*h));
    const struct health_config *c = o->config;
    h->options = *o;
    h->options.config = NULL; /* not ours for longer */
    h->host = xstrdup(o->host);
    h->patience = c->patience;
    h->watchdog_ms = service_watchdog_ms();
    h->started_at = h->fed_at = clock_mono();
    atomic_store(&h->beat_us, h->started_at.us);
    pthread_mutex_init(&h->lock, NULL);
    pthread_mutex_init(&h->report_lock, NULL);
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&h->cond, &clock);
    pthread_condattr_destroy(&clock);
    int r = start_telemetry(h, c, o->cronitor_monitor_key, e);
    say_missing_key(c, o->cronitor_monitor_key);
    if (r == 0)
        r = start_thread(h, e);
    if (r < 0) {
        (void)telemetry_stop(h->telemetry, e ? e->text : NULL, LAST_WORD_MS); /* we end anyway */
        free_health(h);
        return r;
    }
    *ret = h;
    return 0;
}

static void free_health(struct health *h)
{
    pthread_cond_destroy(&h->cond);
    pthread_mutex_destroy(&h->report_lock);
    pthread_mutex_destroy(&h->lock);
    free(h->host);
    free(h);
}

static void look(struct health *h);

static void set_watched(struct health *h, bool watched)
{
    pthread_mutex_lock(&h->report_lock);
    h->watched = watched;
    pthread_mutex_unlock(&h->report_lock);
}

void health_watch(struct health *h)
{
    health_beat(h);
    pthread_mutex_lock(&h->lock);
    h->phase = PHASE_WATCHED;
    look(h); /* so that there is a report from the first moment on */
    pthread_mutex_unlock(&h->lock);
    set_watched(h, true);
}

void health_beat(struct health *h)
{
    atomic_store(&h->beat_us, clock_mono().us);
}

void health_expect_silence(struct health *h, int64_t ms)
{
    atomic_store(&h->beat_us, mono_add_ms(clock_mono(), ms).us);
}

void health_end(struct health *h)
{
    if (!h)
        return;
    pthread_mutex_lock(&h->lock);
    h->phase = PHASE_ENDING;
    h->must_end_at = mono_add_ms(clock_mono(), END_MAX_MS(h->options.grace_ms));
    pthread_mutex_unlock(&h->lock);
    set_watched(h, false);
}

/* Not pthread_clockjoin_np(): the thread sanitizer does not know that it joins. */
static bool wait_for_end(struct health *h, int64_t patience_ms)
{
    struct timespec until = clock_deadline(patience_ms);
    int code = 0;
    pthread_mutex_lock(&h->lock);
    h->stop = true;
    pthread_cond_broadcast(&h->cond);
    while (!h->ended && code == 0)
        code = pthread_cond_timedwait(&h->cond, &h->lock, &until);
    bool ended = h->ended;
    pthread_mutex_unlock(&h->lock);
    return ended;
}

int health_stop(struct health *h, const char *failure)
{
    if (!h)
        return 0;
    health_end(h);
    if (!wait_for_end(h, LAST_WORD_MS))
        return -ETIMEDOUT;
    pthread_join(h->thread, NULL);
    char *why = h->given_up ? xasprintf("%s", h->report.why) : NULL;
    int r = telemetry_stop(h->telemetry, why ? why : failure, LAST_WORD_MS);
    free(why);
    free_health(h);
    return r;
}

void health_set_cronitor(struct health *h, const struct health_config *c, const char *monitor_key)
{
    struct err e = {0};
    say_missing_key(c, monitor_key);
    pthread_mutex_lock(&h->lock);
    int r = 0;
    if (h->telemetry)
        telemetry_set_cronitor(h->telemetry, c->cronitor_api_key, monitor_key);
    else
        r = start_telemetry(h, c, monitor_key, &e); /* nobody heard of us before */
    pthread_mutex_unlock(&h->lock);
    if (r < 0)
        log_error("telemetry-off", "Cronitor hears nothing until the next start: %s", e.text);
}

struct health_report *health_report(struct health *h)
{
    struct health_report *r = xmalloc(sizeof(*r));
    pthread_mutex_lock(&h->report_lock);
    *r = h->report;
    bool watched = h->watched;
    pthread_mutex_unlock(&h->report_lock);
    int64_t age_ms = mono_diff_us(clock_mono(), r->at) / 1000;
    if (watched && r->at.us && age_ms > HEALTH_STALE_MS) {
        r->alive = r->ready = false;
        (void)text_format(r->why, sizeof(r->why), "health: the supervision hangs for %lld s",
                          (long long)age_ms / 1000); /* fits */
    }
    return r;
}

/* ---- the thread ---- */

static void while_starting(struct health *h);
static void feed_watchdog(struct health *h);
static void end_if_late(struct health *h);

static void *thread_main(void *arg)
{
    struct health *h = arg;
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    altstack_use();
    pthread_setname_np(pthread_self(), "health");
    log_context_stage("health");
    pthread_mutex_lock(&h->lock);
    while (!h->stop) {
        if (h->phase == PHASE_STARTING)
            while_starting(h);
        else if (h->phase == PHASE_WATCHED)
            look(h); /* under the lock, so that none is under way once health_end() is back */
        else
            feed_watchdog(h); /* the end has its own limit, see end_if_late() */
        end_if_late(h);
        struct timespec until = clock_deadline(LOOK_MS);
        (void)pthread_cond_timedwait(&h->cond, &h->lock, &until); /* early is no harm */
    }
    h->ended = true;
    pthread_cond_broadcast(&h->cond);
    pthread_mutex_unlock(&h->lock);
    return NULL;
}

static void while_starting(struct health *h)
{
    struct mono_time now = clock_mono();
    if (mono_diff_us(now, h->started_at) / 1000 > START_MAX_MS ||
        mono_diff_us(now, h->extended_at) / 1000 < EXTEND_EVERY_MS)
        return;
    h->extended_at = now;
    service_extend_start(EXTEND_MS, "starting for %.0f s: opening the ledger and the pictures",
                         mono_diff_ms(now, h->started_at) / 1000);
}

/* The main loop is one of those that have to turn. */
static void add_main(struct health *h)
{
    assert(h->view.stage_count < HEALTH_STAGES_MAX);
    struct health_stage *s = &h->view.stages[h->view.stage_count++];
    int64_t age_us = clock_mono().us - atomic_load(&h->beat_us);
    *s = (struct health_stage){.running = true,
                               .heartbeat_age_ms = MAX(age_us, (int64_t)0) / 1000,
                               .limit_ms = MAIN_LIMIT_MS};
    text_copy(s->name, sizeof(s->name), "main"); /* fits */
}

static void tell_log(const struct health_report *before, const struct health_report *now)
{
    for (size_t i = 0; i < now->part_count; i++) {
        const struct health_part *p = &now->parts[i];
        const struct health_part *was = health_part_find(before, p->name);
        enum health_state old = was ? was->state : HEALTH_OK;
        if (old == p->state)
            continue;
        if (p->state >= HEALTH_SICK)
            log_error("unhealthy", "%s is %s: %s", p->name, health_state_names[p->state],
                      p->reason);
        else if (old >= HEALTH_SICK)
            log_notice("healthy", "%s is %s again", p->name, health_state_names[p->state]);
        else
            log_debug("health", "%s is %s%s%s", p->name, health_state_names[p->state],
                      p->reason[0] ? ": " : "", p->reason);
    }
}

static void tell_metrics(const struct health_report *r)
{
    for (size_t i = 0; i < r->part_count; i++) {
        metric_set(&healthy, r->parts[i].name, r->parts[i].state < HEALTH_SICK);
        metric_set(&waits, r->parts[i].name, r->parts[i].state == HEALTH_WAITING);
    }
    metric_set(&healthy, "all", r->ready);
}

static void tell_services(struct health *h, const struct health_report *r, const char *numbers)
{
    struct health_news news = {.well = r->ready,
                               .stages_running = r->stages_running,
                               .stages_missing = r->stages_missing,
                               .parts_unwell = r->parts_unwell};
    /* A stuck stage counts as missing already. */
    for (size_t i = 0; i < r->part_count; i++)
        news.parts_unwell -= r->parts[i].state == HEALTH_STUCK;
    text_copy(news.text, sizeof(news.text), r->why[0] ? r->why : numbers); /* cut is fine */
    telemetry_tell(h->telemetry, &news);
}

static void feed_watchdog(struct health *h)
{
    struct mono_time now = clock_mono();
    if (!h->watchdog_ms || mono_diff_us(now, h->fed_at) / 1000 < h->watchdog_ms)
        return;
    service_watchdog_ping();
    h->fed_at = now;
}

static void tell_manager(struct health *h, const struct health_report *r, const char *numbers)
{
    struct mono_time now = clock_mono();
    if (r->alive)
        feed_watchdog(h);
    if (mono_diff_us(now, h->status_at) / 1000 < STATUS_EVERY_MS)
        return;
    char text[sizeof(h->status)];
    (void)text_format(text, sizeof(text), "%s; %s%s", numbers,
                      r->ready   ? r->why[0] ? "well, but " : "well"
                      : r->alive ? "sick: "
                                 : "stuck: ",
                      r->why); /* cut is fine */
    if (strcmp(text, h->status) == 0)
        return;
    h->status_at = now;
    text_copy(h->status, sizeof(h->status), text);
    service_status("%s", text);
}

/* "fault_point+0x1b < intake_step+0x2f < ...", innermost first. */
static void describe_stack(struct health *h, const char *stage, char *buf, size_t size)
{
    uintptr_t pcs[STACK_DEPTH_MAX];
    size_t count = h->options.stack(h->options.arg, stage, pcs, STACK_DEPTH_MAX);
    size_t used = 0;
    buf[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        char name[160];
        int n = text_format(buf + used, size - used, "%s%s", i ? " < " : "",
                            stack_name(pcs[i], name, sizeof(name)));
        if (n < 0)
            return; /* full: the outer ones say least */
        used += (size_t)n;
    }
    if (count == 0)
        text_copy(buf, size,
                  "not known: it does not answer, so it waits in the kernel, perhaps "
                  "for a disk or a network file system");
}

static void give_up(struct health *h, const struct health_report *r)
{
    h->given_up = true;
    h->must_end_at = mono_add_ms(clock_mono(), OBEY_MS + END_MAX_MS(h->options.grace_ms));
    bool ended = false;
    for (size_t i = 0; i < h->view.stage_count; i++) {
        const struct health_stage *s = &h->view.stages[i];
        if (strcmp(s->name, r->stuck) == 0)
            ended = !s->running;
    }
    char where[STACK_TEXT_MAX] = "its thread is gone";
    if (!ended)
        describe_stack(h, r->stuck, where, sizeof(where));
    log_error("stage-stuck", "%s; it is at: %s", r->why, where);
    log_error("giving-up", "the program ends and has to be started again; nothing is lost, the "
                           "ledger resumes then");
    h->options.give_up(h->options.arg);
}

static void look(struct health *h)
{
    struct health_report *r = &h->next;
    char numbers[160] = "";
    h->view.stage_count = h->view.queue_count = h->view.fact_count = 0;
    h->options.look(h->options.arg, &h->view);
    add_main(h);
    health_judge(&h->judge, &h->view, clock_mono(), h->patience, r);
    h->options.numbers(h->options.arg, numbers, sizeof(numbers));
    tell_log(&h->report, r);
    tell_metrics(r);
    pthread_mutex_lock(&h->report_lock);
    h->report = *r;
    pthread_mutex_unlock(&h->report_lock);
    tell_services(h, r, numbers);
    tell_manager(h, r, numbers);
    if (!r->alive && !h->given_up)
        give_up(h, r);
}

/* The last resort. */
static void end_if_late(struct health *h)
{
    if (!h->must_end_at.us || !mono_passed(h->must_end_at))
        return;
    log_error("end-forced", "the program did not end in order within its time; ending it");
    _exit(EXIT_STUCK);
}
