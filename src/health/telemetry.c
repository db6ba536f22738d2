#include "health/telemetry.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
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
#include "sys/httpc.h"
#include "sys/stack.h"

/* What both services recommend for a ping. */
#define TOTAL_MS 10000
#define CONNECT_MS 5000
#define ANSWER_MAX 65536 /* a word is expected; an error page may be longer */
/* A failed ping is repeated after 5, 10 and 20 s, then the interval's next one has its turn. */
#define TRIES_MAX 4
#define AGAIN_MS 5000
/* Cronitor takes 5 a second and Healthchecks 5 a minute before they say no. A change that comes
 * and goes within this is told once. */
#define APART_MS 5000
/* An answer that names a longer pause is not believed. */
#define SLOWER_MAX_S 3600
#define SLOWER_S 60 /* without a time */
/* The thread looks this often whether something is due. */
#define TICK_MS 1000
#define STACK_SIZE (512 * 1024)

static struct metric cronitor_pings = {
    .name = "snapshotd_cronitor_pings_total",
    .kind = METRIC_COUNTER,
    .label = "result",
    .help = "Telemetry sent to Cronitor, by what became of it: counted, slower (too many), again "
            "(trouble over there), refused, failed (no answer)"};
static struct metric healthchecks_pings = {
    .name = "snapshotd_healthchecks_pings_total",
    .kind = METRIC_COUNTER,
    .label = "result",
    .help = "Pings sent to Healthchecks, by what became of them: as for Cronitor, and ignored (the "
            "check is not known)"};

/* One of the two. All on the telemetry thread. */
struct service {
    struct telemetry *telemetry;
    const char *name; /* for people */
    struct metric *pings;
    bool (*on)(const struct telemetry *t);
    bool (*wants)(enum ping_kind kind);
    int (*address)(const struct telemetry *t, enum ping_kind kind, struct dynbuf *ret);
    enum ping_answer (*answer)(const struct httpc_response *r);
    bool posts; /* the news is the body */
    struct httpc_channel *channel;
    char shown[256]; /* the address without its keys */
    char body[sizeof(((struct health_news *)NULL)->text)];
    enum ping_kind kind;         /* of the one under way, or of the last */
    bool told, told_well;        /* the last that counted, or was given up */
    bool busy;                   /* one is under way */
    int tries;                   /* of this one */
    bool start_due, final_due;   /* to be said once */
    bool troubled;               /* the log knows */
    struct mono_time next_at;    /* the interval's next, or the repeat */
    struct mono_time not_before; /* of what is told out of turn */
};

enum { CRONITOR, HEALTHCHECKS, SERVICE_COUNT };

struct telemetry {
    pthread_t thread;
    int wake_fd;
    int64_t interval_ms, stale_ms;
    char *cronitor_url, *host, *healthchecks_url;
    struct httpc *httpc;
    struct service services[SERVICE_COUNT];
    char *api_key, *monitor_key; /* the thread's copies */
    struct health_news news;     /* likewise, what is to be told now */
    bool has_news, last_words;

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t ended_cond;
    struct health_news told_news;
    struct mono_time told_at;            /* 0 = never */
    char *new_api_key, *new_monitor_key; /* NULL = no others than before */
    bool ending, ended;
    char *failure; /* why it ends; NULL = in order */
};

static void *thread_main(void *arg);
static void free_telemetry(struct telemetry *t);

void telemetry_register_metrics(void)
{
    metric_register(&cronitor_pings);
    metric_register(&healthchecks_pings);
}

/* ---- the services ---- */

static bool cronitor_on(const struct telemetry *t)
{
    return t->monitor_key[0] && t->api_key && t->api_key[0];
}
static bool cronitor_wants(enum ping_kind kind)
{
    return kind == PING_WELL || kind == PING_FAIL;
}
static int cronitor_where(const struct telemetry *t, enum ping_kind kind, struct dynbuf *ret)
{
    struct cronitor_target target = {.url = t->cronitor_url,
                                     .api_key = t->api_key,
                                     .monitor_key = t->monitor_key,
                                     .host = t->host};
    return cronitor_address(&target, kind, &t->news, ret);
}
static enum ping_answer cronitor_said(const struct httpc_response *r)
{
    return cronitor_answer(r->status);
}

static bool healthchecks_on(const struct telemetry *t)
{
    return t->healthchecks_url[0] != '\0';
}
static bool healthchecks_wants(enum ping_kind kind UNUSED)
{
    return true;
}
static int healthchecks_where(const struct telemetry *t, enum ping_kind kind, struct dynbuf *ret)
{
    return healthchecks_address(t->healthchecks_url, kind, ret);
}
static enum ping_answer healthchecks_said(const struct httpc_response *r)
{
    return healthchecks_answer(r->status, r->body ? (const char *)r->body->data : NULL,
                               r->body ? r->body->size : 0);
}

static const struct service kinds[SERVICE_COUNT] = {
    [CRONITOR] = {.name = "Cronitor",
                  .pings = &cronitor_pings,
                  .on = cronitor_on,
                  .wants = cronitor_wants,
                  .address = cronitor_where,
                  .answer = cronitor_said},
    [HEALTHCHECKS] = {.name = "Healthchecks",
                      .pings = &healthchecks_pings,
                      .on = healthchecks_on,
                      .wants = healthchecks_wants,
                      .address = healthchecks_where,
                      .answer = healthchecks_said,
                      .posts = true},
};

/* "https://host/...": paths hold keys. */
static void show_host(const char *url, char *buf, size_t size)
{
    const char *host = strstr(url, "://");
    host = host ? host + 3 : url;
    size_t authority = strcspn(host, "/?#");
    const char *at = memrchr(host, '@', authority);
    const char *from = at ? at + 1 : host;
    (void)text_format(buf, size, "%.*s%.*s/...", (int)(host - url), url,
                      (int)(authority - (size_t)(from - host)), from); /* cut is fine */
}

/* ---- start and stop ---- */

static int open_channels(struct telemetry *t, struct err *e)
{
    int r = httpc_new(&t->httpc, e);
    for (int i = 0; r == 0 && i < SERVICE_COUNT; i++) {
        struct service *s = &t->services[i];
        *s = kinds[i];
        s->telemetry = t;
        s->start_due = s->wants(PING_START);
        r = httpc_channel_new(t->httpc, &s->channel, e);
    }
    show_host(t->cronitor_url, t->services[CRONITOR].shown, sizeof(t->services[0].shown));
    show_host(t->healthchecks_url, t->services[HEALTHCHECKS].shown, sizeof(t->services[0].shown));
    return r;
}

int telemetry_start(const struct telemetry_options *o, struct telemetry **ret, struct err *e)
{
    *ret = NULL;
    if (!o->cronitor.monitor_key[0] && !o->healthchecks_url[0])
        return 0;
    struct telemetry *t = xcalloc(1, sizeof(*t));
    t->interval_ms = o->interval_ms;
    t->stale_ms = o->stale_ms;
    t->cronitor_url = xstrdup(o->cronitor.url);
    t->api_key = xstrdup(o->cronitor.api_key);
    t->monitor_key = xstrdup(o->cronitor.monitor_key);
    t->host = xstrdup(o->cronitor.host);
    t->healthchecks_url = xstrdup(o->healthchecks_url);
    pthread_mutex_init(&t->lock, NULL);
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&t->ended_cond, &clock);
    pthread_condattr_destroy(&clock);
    t->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int r = t->wake_fd < 0 ? err_errno(e, -errno, "eventfd") : open_channels(t, e);
    if (r == 0) {
        pthread_attr_t attr;
        pthread_attr_init(&attr);
        pthread_attr_setstacksize(&attr, STACK_SIZE);
        int code = pthread_create(&t->thread, &attr, thread_main, t);
        pthread_attr_destroy(&attr);
        r = code ? err_errno(e, -code, "start a thread") : 0;
    }
    if (r < 0) {
        free_telemetry(t);
        return err_prefix(e, "telemetry");
    }
    *ret = t;
    return 0;
}

static void free_telemetry(struct telemetry *t)
{
    for (int i = 0; i < SERVICE_COUNT; i++)
        httpc_channel_free(t->services[i].channel);
    if (t->httpc)
        httpc_free(t->httpc);
    if (t->wake_fd >= 0)
        (void)close(t->wake_fd);
    pthread_cond_destroy(&t->ended_cond);
    pthread_mutex_destroy(&t->lock);
    free(t->cronitor_url);
    free(t->api_key);
    free(t->new_api_key);
    free(t->new_monitor_key);
    free(t->monitor_key);
    free(t->host);
    free(t->healthchecks_url);
    free(t->failure);
    free(t);
}

static void wake(struct telemetry *t)
{
    uint64_t one = 1;
    (void)!write(t->wake_fd, &one, sizeof(one)); /* EAGAIN: it is awake */
}

void telemetry_tell(struct telemetry *t, const struct health_news *news)
{
    if (!t)
        return;
    pthread_mutex_lock(&t->lock);
    bool change = !t->told_at.us || t->told_news.well != news->well;
    t->told_news = *news;
    t->told_at = clock_mono();
    pthread_mutex_unlock(&t->lock);
    if (change)
        wake(t);
}

void telemetry_set_cronitor(struct telemetry *t, const char *api_key, const char *monitor_key)
{
    if (!t)
        return;
    pthread_mutex_lock(&t->lock);
    free(t->new_api_key);
    free(t->new_monitor_key);
    t->new_api_key = xstrdup(api_key);
    t->new_monitor_key = xstrdup(monitor_key);
    pthread_mutex_unlock(&t->lock);
    wake(t);
}

int telemetry_stop(struct telemetry *t, const char *failure, int64_t patience_ms)
{
    if (!t)
        return 0;
    /* A resolver that hangs ends with the process. */
    struct timespec until = clock_deadline(patience_ms);
    int code = 0;
    pthread_mutex_lock(&t->lock);
    if (!t->ending)
        t->failure = xstrdup(failure);
    t->ending = true;
    wake(t);
    while (!t->ended && code == 0)
        code = pthread_cond_timedwait(&t->ended_cond, &t->lock, &until);
    bool ended = t->ended;
    pthread_mutex_unlock(&t->lock);
    if (!ended)
        return -ETIMEDOUT;
    pthread_join(t->thread, NULL);
    free_telemetry(t);
    return 0;
}

/* ---- the thread ---- */

static void take_news(struct telemetry *t);
static void send_due(struct service *s);
static bool has_ended(const struct telemetry *t);

static void *thread_main(void *arg)
{
    struct telemetry *t = arg;
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    altstack_use();
    stack_thread_ready();
    pthread_setname_np(pthread_self(), "telemetry");
    log_context_stage("telemetry");
    while (!has_ended(t)) {
        take_news(t);
        for (int i = 0; i < SERVICE_COUNT; i++)
            send_due(&t->services[i]);
        struct pollfd fds[] = {{.fd = t->wake_fd, .events = POLLIN},
                               {.fd = httpc_fd(t->httpc), .events = POLLIN}};
        (void)poll(fds, ARRAY_LEN(fds), has_ended(t) ? 0 : TICK_MS); /* early is no harm */
        uint64_t n;
        (void)!read(t->wake_fd, &n, sizeof(n)); /* EAGAIN: it was not that */
        httpc_process(t->httpc);
    }
    pthread_mutex_lock(&t->lock);
    t->ended = true;
    pthread_cond_broadcast(&t->ended_cond);
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

static bool has_ended(const struct telemetry *t)
{
    bool busy = !t->last_words;
    for (int i = 0; i < SERVICE_COUNT; i++)
        busy |= t->services[i].final_due || t->services[i].busy;
    return !busy;
}

/* The last word goes before what hangs. */
static void begin_last_words(struct telemetry *t)
{
    t->last_words = true;
    t->news.well = !t->failure;
    text_copy(t->news.text, sizeof(t->news.text), t->failure ? t->failure : "stopped in order");
    for (int i = 0; i < SERVICE_COUNT; i++) {
        struct service *s = &t->services[i];
        s->final_due = s->on(t) && s->wants(t->failure ? PING_FAIL : PING_STOPPED);
        if (s->busy)
            httpc_cancel(s->channel);
    }
}

/* A monitor that has heard nothing yet hears at once. */
static void take_keys(struct telemetry *t)
{
    struct service *s = &t->services[CRONITOR];
    bool other = strcmp(t->monitor_key, t->new_monitor_key) != 0;
    free(t->api_key);
    free(t->monitor_key);
    t->api_key = STEAL(t->new_api_key);
    t->monitor_key = STEAL(t->new_monitor_key);
    if (!other)
        return;
    if (s->busy) /* an answer that the former monitor gives is none of the new one's */
        httpc_cancel(s->channel);
    s->told = false;
    s->tries = 0;
    s->next_at = (struct mono_time){0};
}

static void take_news(struct telemetry *t)
{
    if (t->last_words)
        return;
    pthread_mutex_lock(&t->lock);
    bool ending = t->ending;
    t->has_news = t->told_at.us != 0;
    int64_t age_ms = t->has_news ? mono_diff_us(clock_mono(), t->told_at) / 1000 : 0;
    t->news = t->told_news;
    if (t->new_api_key)
        take_keys(t);
    pthread_mutex_unlock(&t->lock);
    if (age_ms > t->stale_ms) {
        t->news.well = false;
        (void)text_format(t->news.text, sizeof(t->news.text),
                          "nothing was judged for %lld s: the supervision hangs",
                          (long long)age_ms / 1000); /* fits */
    }
    if (ending)
        begin_last_words(t); /* `failure` is set before, and stays */
}

/* What is to be said now; PING_KIND_COUNT = nothing. */
static enum ping_kind due(const struct service *s)
{
    const struct telemetry *t = s->telemetry;
    if (t->last_words)
        return !s->final_due ? PING_KIND_COUNT : t->failure ? PING_FAIL : PING_STOPPED;
    if (s->start_due)
        return mono_passed(s->next_at) ? PING_START : PING_KIND_COUNT;
    if (!t->has_news)
        return PING_KIND_COUNT;
    bool change = s->told && s->told_well != t->news.well && mono_passed(s->not_before);
    if (!change && !mono_passed(s->next_at))
        return PING_KIND_COUNT;
    return t->news.well ? PING_WELL : PING_FAIL;
}

/* This one needs no repeat: it counted, or there is no use. */
static void settle(struct service *s, int64_t pause_ms)
{
    struct mono_time now = clock_mono();
    s->tries = 0;
    s->final_due = false;
    s->not_before = mono_add_ms(now, MAX(pause_ms, (int64_t)APART_MS));
    s->next_at = mono_add_ms(now, MAX(pause_ms, s->telemetry->interval_ms));
    if (s->kind == PING_START) {
        s->start_due = false;
        s->next_at.us = MIN(s->next_at.us, s->not_before.us); /* the first "well" need not wait */
    } else {
        s->told = true;
        s->told_well = s->kind != PING_FAIL;
    }
}

static void try_again(struct service *s)
{
    s->tries++;
    if (s->tries >= TRIES_MAX || s->telemetry->last_words) {
        settle(s, 0);
        return;
    }
    s->next_at = mono_add_ms(clock_mono(), (int64_t)AGAIN_MS << (s->tries - 1));
    s->not_before = s->next_at;
}

/* Each trouble is told once, until it works again. */
static void report(struct service *s, bool trouble, const char *what)
{
    if (trouble && !s->troubled)
        log_warn("telemetry-failed", "%s: %s; pictures are not concerned", s->name, what);
    if (!trouble && s->troubled)
        log_notice("telemetry-works", "%s hears of us again", s->name);
    s->troubled = trouble;
}

static void take_answer(struct service *s, const struct httpc_response *r)
{
    char what[512];
    enum ping_answer answer = s->answer(r);
    metric_inc(s->pings, ping_answer_names[answer]);
    switch (answer) {
    case PING_COUNTED:
        settle(s, 0);
        report(s, false, "");
        return;
    case PING_IGNORED:
        settle(s, 0);
        report(s, true,
               "it does not know this check, so nobody is warned when we fail; is the "
               "address right?");
        return;
    case PING_SLOWER:
        settle(s, 1000 * (r->retry_after_s >= 0 ? MIN(r->retry_after_s, (int64_t)SLOWER_MAX_S)
                                                : (int64_t)SLOWER_S));
        report(s, true, "it hears of us too often, and did not count this");
        return;
    case PING_AGAIN:
        try_again(s);
        (void)text_format(what, sizeof(what), "%s: HTTP %ld, trouble over there", s->shown,
                          r->status); /* cut is fine */
        report(s, true, what);
        return;
    case PING_REFUSED:
        settle(s, 0);
        (void)text_format(what, sizeof(what), "%s: HTTP %ld; is the key right?", s->shown,
                          r->status); /* cut is fine */
        report(s, true, what);
        return;
    case PING_ANSWER_COUNT:
        break;
    }
    assert(false);
}

static void done(void *arg, const struct httpc_response *r)
{
    struct service *s = arg;
    s->busy = false;
    if (r->code == -ECANCELED)
        return; /* ours: something else is to be said */
    if (r->code == 0) {
        take_answer(s, r);
        return;
    }
    metric_inc(s->pings, "failed");
    try_again(s);
    report(s, true, r->error->text);
}

static void send_due(struct service *s)
{
    struct telemetry *t = s->telemetry;
    if (s->busy || !s->on(t))
        return;
    enum ping_kind kind = due(s);
    if (kind == PING_KIND_COUNT)
        return;
    AUTO_DONE(dynbuf) url;
    dynbuf_init(&url, PING_URL_MAX);
    static const char *const headers[] = {"Content-Type: text/plain; charset=utf-8", NULL};
    struct err e = {0};
    s->kind = kind;
    int r = s->address(t, kind, &url);
    if (r < 0)
        (void)err_set(&e, r, ERR_NEVER, "its address is no http or https one");
    struct httpc_request req = {.method = s->posts ? "POST" : "GET",
                                .url = dynbuf_str(&url),
                                .shown = s->shown,
                                .use_proxy = true,
                                .connect_timeout_ms = CONNECT_MS,
                                .total_timeout_ms = TOTAL_MS,
                                .size_max = ANSWER_MAX};
    if (s->posts) {
        /* Kept until it is done: the news of the moment may change meanwhile. */
        text_copy(s->body, sizeof(s->body), t->news.text);
        req.headers = headers;
        req.body = s->body;
        req.body_size = strlen(s->body);
    }
    if (r == 0)
        r = httpc_start(s->channel, &req, done, s, &e);
    s->busy = r == 0;
    if (r < 0) {
        settle(s, 0);
        report(s, true, e.text);
    }
}
