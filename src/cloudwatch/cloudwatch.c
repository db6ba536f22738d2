#include "cloudwatch/cloudwatch.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>

#include "aws/aws_call.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/text.h"
#include "cloudwatch/tally.h"
#include "sys/hash.h"
#include "sys/http_call.h"

enum {
    LOOK_MS = 5000, /* at the counters: how far from its minute a count may end up */
    TIMEOUT_MS = 10 * 1000,
    PAUSE_MS = 5000, /* after a first failure; doubling */
    PAUSE_LOGIN_MS = 60 * 1000,
    PAUSE_MS_MAX = 5 * 60 * 1000,
    DOUBLINGS_MAX = 10,
    ROWS_ENOUGH = 20, /* that many are posted before the interval is over */
    /* The same trouble, and another one. */
    TOLD_AGAIN_MS = 3600 * 1000,
    TOLD_OTHER_MS = 10 * 60 * 1000,
};
static_assert(TALLY_ROWS_MAX <= CLOUDWATCH_DATA_MAX, "all that waits goes with one request");

/* How a post ended. */
enum result {
    RESULT_TAKEN,
    RESULT_THROTTLED,   /* kept */
    RESULT_FAILED,      /* kept: the service said that it has a trouble of its own */
    RESULT_DENIED,      /* kept: credentials, rights, configuration */
    RESULT_UNREACHABLE, /* kept */
    RESULT_REFUSED,     /* dropped: the service will never take it */
    RESULT_DOUBTFUL,    /* dropped: perhaps it was taken */
    RESULT_COUNT
};
static const char *const result_names[RESULT_COUNT] = {
    "taken", "throttled", "failed", "denied", "unreachable", "refused", "doubtful"};

struct cloudwatch {
    struct cloudwatch_options o; /* its strings are ours; the login's are gone */
    char *name_space, *application, *device, *origin, *region, *what;
    struct aws_chain *chain;
    int wake_fd;  /* readable: the stop has begun */
    int hurry_fd; /* readable: the stop waits no longer */
    int ended_fd; /* readable: the thread has done its work */
    pthread_t thread;
    bool running;

    /* The thread's own. */
    double seen[CLOUDWATCH_METRICS_MAX];
    struct tally tally;
    struct mono_time due; /* of what waits; valid while the tally is not empty */
    struct mono_time retry_at;
    int failures; /* in a row */
    int64_t level_minute;
    char told[ERR_TEXT_MAX];
    struct mono_time told_at;
    double dropped_since_told;

    pthread_mutex_t lock;
    struct cloudwatch_status status; /* guarded by it */
    struct mono_time status_retry_at;
};

static struct metric posts = {
    .name = "snapshotd_cloudwatch_posts_total",
    .kind = METRIC_COUNTER,
    .label = "result",
    .help = "Posts to CloudWatch by result: taken; kept and repeated after throttled, failed, "
            "denied, unreachable; dropped after refused and doubtful",
};
static struct metric taken_counts = {
    .name = "snapshotd_cloudwatch_counts_total",
    .kind = METRIC_COUNTER,
    .help = "Counts that CloudWatch has taken",
};
static struct metric dropped_counts = {
    .name = "snapshotd_cloudwatch_dropped_total",
    .kind = METRIC_COUNTER,
    .label = "reason",
    .help = "Counts that CloudWatch will not hear of: old, doubtful (the answer was lost, and "
            "nothing is told twice), refused, full, stopped",
};
static struct metric waiting_counts = {
    .name = "snapshotd_cloudwatch_waiting",
    .kind = METRIC_GAUGE,
    .help = "Counts that wait to be posted to CloudWatch",
};

void cloudwatch_register_metrics(void)
{
    metric_register(&posts);
    metric_register(&taken_counts);
    metric_register(&dropped_counts);
    metric_register(&waiting_counts);
}

static int find_place(struct cloudwatch *c, const struct cloudwatch_options *o, struct err *e);
static int open_fds(struct cloudwatch *c, struct err *e);
static void *run(void *arg);
static void look(struct cloudwatch *c);

int cloudwatch_start(const struct cloudwatch_options *o, struct cloudwatch **ret, struct err *e)
{
    assert(o->source_count <= CLOUDWATCH_METRICS_MAX && o->interval_ms > 0);
    cloudwatch_register_metrics();
    struct cloudwatch *c = xcalloc(1, sizeof(*c));
    c->o = *o;
    c->wake_fd = c->hurry_fd = c->ended_fd = -1;
    c->status.well = true;
    pthread_mutex_init(&c->lock, NULL); /* cannot fail for plain ones */
    c->name_space = xstrdup(o->name_space);
    c->application = xstrdup(o->application);
    c->device = xstrdup(o->device);
    int r = aws_chain_new(&o->login, &c->chain, e);
    if (r == 0)
        r = find_place(c, o, e);
    if (r == 0)
        r = open_fds(c, e);
    c->o.login = (struct aws_chain_options){0};
    for (size_t i = 0; i < o->source_count; i++)
        c->seen[i] = metric_sum(o->sources[i].row, o->sources[i].label);
    if (r == 0) {
        r = -pthread_create(&c->thread, NULL, run, c);
        c->running = r == 0;
        if (r < 0)
            (void)err_errno(e, r, "a thread");
    }
    if (r < 0) {
        cloudwatch_free(c);
        return err_prefix(e, "CloudWatch"), r;
    }
    *ret = c;
    return 0;
}

static const char *env(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static int find_place(struct cloudwatch *c, const struct cloudwatch_options *o, struct err *e)
{
    const char *region = aws_chain_region(c->chain);
    if (!region)
        return err_set(e, -EINVAL, ERR_NEVER,
                       "no region is known: set [cloudwatch] region or AWS_REGION");
    const char *endpoint = o->endpoint && *o->endpoint ? o->endpoint : NULL;
    if (!endpoint)
        endpoint = env("AWS_ENDPOINT_URL_CLOUDWATCH");
    if (!endpoint)
        endpoint = env("AWS_ENDPOINT_URL");
    size_t len = endpoint ? strlen(endpoint) : 0;
    while (len && endpoint[len - 1] == '/')
        len--;
    c->region = xstrdup(region);
    c->what = xasprintf("CloudWatch in %s", region);
    c->origin = endpoint ? xstrndup(endpoint, len)
                         : xasprintf("https://monitoring.%s.amazonaws.com%s", region,
                                     text_starts_with(region, "cn-") ? ".cn" : "");
    c->status.region = c->region;
    return 0;
}

static int open_fds(struct cloudwatch *c, struct err *e)
{
    int *const fds[] = {&c->wake_fd, &c->hurry_fd, &c->ended_fd};
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        *fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (*fds[i] < 0)
            return err_errno(e, -errno, "eventfd");
    }
    return 0;
}

static bool readable(int fd, int64_t patience_ms)
{
    struct mono_time until = mono_add_ms(clock_mono(), patience_ms);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    for (;;) {
        int r = poll(&p, 1, mono_until_ms(until));
        if (r > 0)
            return true;
        if (mono_passed(until))
            return false; /* else a signal */
    }
}

void cloudwatch_stop(struct cloudwatch *c)
{
    if (!c || !c->running)
        return;
    (void)eventfd_write(c->wake_fd, 1); /* far from full */
    if (!readable(c->ended_fd, CLOUDWATCH_LAST_MS))
        (void)eventfd_write(c->hurry_fd, 1);
    pthread_join(c->thread, NULL);
    c->running = false;
}

void cloudwatch_free(struct cloudwatch *c)
{
    if (!c)
        return;
    cloudwatch_stop(c);
    int fds[] = {c->wake_fd, c->hurry_fd, c->ended_fd};
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        if (fds[i] >= 0)
            (void)close(fds[i]); /* hold nothing */
    aws_chain_free(c->chain);
    pthread_mutex_destroy(&c->lock);
    free(c->name_space);
    free(c->application);
    free(c->device);
    free(c->origin);
    free(c->region);
    free(c->what);
    free(c);
}

void cloudwatch_status(struct cloudwatch *c, struct cloudwatch_status *ret)
{
    pthread_mutex_lock(&c->lock);
    *ret = c->status;
    ret->next_try_ms = c->status.well ? 0 : mono_until_ms(c->status_retry_at);
    pthread_mutex_unlock(&c->lock);
    aws_chain_describe(c->chain, ret->credentials, sizeof(ret->credentials));
}

/* ---- the thread ---- */

static void post(struct cloudwatch *c);
static bool is_due(const struct cloudwatch *c);
static int64_t pause_of(const struct cloudwatch *c);
static void drop(struct cloudwatch *c, const char *reason, double counts);

static void *run(void *arg)
{
    struct cloudwatch *c = arg;
    log_context_stage("cloudwatch");
    bool stopping = false;
    while (!stopping) {
        stopping = readable(c->wake_fd, pause_of(c));
        look(c);
        if (stopping ? c->tally.count > 0 : is_due(c))
            post(c);
    }
    look(c); /* what happened while the last post hung */
    double left = tally_shift(&c->tally, c->tally.count);
    if (left > 0)
        log_warn("cloudwatch-stopped", "CloudWatch does not hear of %.0f counts: the program ends",
                 left);
    drop(c, "stopped", left);
    (void)eventfd_write(c->ended_fd, 1);
    return NULL;
}

static int64_t pause_of(const struct cloudwatch *c)
{
    int64_t pause = MIN(c->o.interval_ms, (int64_t)LOOK_MS);
    if (c->tally.count) {
        int64_t due = mono_until_ms(c->due), retry = mono_until_ms(c->retry_at);
        pause = MIN(pause, MAX(due, retry));
    }
    return pause;
}

static bool is_due(const struct cloudwatch *c)
{
    return c->tally.count > 0 && mono_passed(c->retry_at) &&
           (mono_passed(c->due) || c->tally.count >= ROWS_ENOUGH);
}

static void drop(struct cloudwatch *c, const char *reason, double counts)
{
    if (counts > 0) {
        metric_add(&dropped_counts, reason, counts);
        c->dropped_since_told += counts;
    }
    double waiting = tally_counts(&c->tally);
    metric_set(&waiting_counts, NULL, waiting);
    pthread_mutex_lock(&c->lock);
    c->status.dropped += MAX(counts, 0.0);
    c->status.waiting = waiting;
    pthread_mutex_unlock(&c->lock);
}

/* Takes what is new since the last look. */
static void look(struct cloudwatch *c)
{
    struct wall_time now = clock_wall();
    struct mono_time at = clock_mono();
    bool empty = c->tally.count == 0, new_minute = now.us / 60000000 != c->level_minute;
    double lost = 0;
    for (size_t i = 0; i < c->o.source_count; i++) {
        const struct cloudwatch_source *s = &c->o.sources[i];
        double value = metric_sum(s->row, s->label);
        double n = value - c->seen[i];
        if (s->level && new_minute)
            tally_level(&c->tally, (int)i, value, now, at);
        if (s->level || n < 1)
            continue;
        c->seen[i] += floor(n);
        if (!tally_add(&c->tally, (int)i, floor(n), now, at))
            lost += floor(n);
    }
    c->level_minute = now.us / 60000000;
    if (empty && c->tally.count)
        c->due = mono_add_ms(at, c->o.interval_ms);
    drop(c, "full", lost);
    drop(c, "old", tally_expire(&c->tally, mono_add_ms(at, -CLOUDWATCH_AGE_MS)));
}

/* ---- a post ---- */

static int one_post(struct cloudwatch *c, size_t *ret_count, struct http_answer *ret,
                    struct aws_error *ret_error, struct err *e);
static enum result judge(int r, const struct http_answer *a, const struct aws_error *error,
                         struct err *e);
static void settle(struct cloudwatch *c, enum result result, size_t count, int64_t pause_ms,
                   const struct err *e);

static void post(struct cloudwatch *c)
{
    AUTO_DONE(http_answer) a = {0};
    struct aws_error error = {0};
    struct err e = {0};
    size_t count = 0;
    int r = one_post(c, &count, &a, &error, &e);
    if (r < 0 && error.clock_news)
        r = one_post(c, &count, &a, &error, &e); /* its times are right now */
    settle(c, judge(r, &a, &error, &e), count, error.pause_ms, &e);
}

/* Times are counted back from now, so that they are right as soon as the clock is. */
static int build(struct cloudwatch *c, size_t count, struct dynbuf *out)
{
    AUTO_FREE struct cloudwatch_datum *data = xcalloc(count, sizeof(*data));
    struct wall_time now = aws_clock_at(aws_clock_offset_s(aws_chain_clock(c->chain)));
    struct mono_time at = clock_mono();
    for (size_t i = 0; i < count; i++) {
        const struct tally_row *row = &c->tally.rows[i];
        data[i] = (struct cloudwatch_datum){
            .metric = c->o.sources[row->metric].metric,
            .level = row->level,
            .value = row->value,
            .at = {now.us - mono_diff_us(at, row->at)},
        };
    }
    return cloudwatch_body(c->name_space, c->application, c->device, data, count, out);
}

/* A connection of its own: over one that was kept libcurl would send a request again by itself when
 * the server has closed it meanwhile, whether it was read or not. */
static int one_post(struct cloudwatch *c, size_t *ret_count, struct http_answer *ret,
                    struct aws_error *ret_error, struct err *e)
{
    static const char *const headers[] = {
        "Content-Type: application/x-www-form-urlencoded; charset=utf-8", NULL};
    AUTO(http_client) http = NULL;
    AUTO_DONE(dynbuf) body = {0};
    size_t count = c->tally.count;
    int r = build(c, count, &body);
    while (r < 0 && count > 1) { /* long names: as much as fits */
        dynbuf_done(&body);
        count /= 2;
        r = build(c, count, &body);
    }
    *ret_count = count;
    *ret_error = (struct aws_error){0};
    if (r < 0)
        return err_set(e, -ENOMEM, ERR_LATER, "%s: out of memory", c->what);
    r = http_client_new(c->hurry_fd, &http, e);
    if (r < 0)
        return r;
    struct aws_call call = {.request = {.method = "POST",
                                        .path = "/",
                                        .headers = headers,
                                        .body = body.data,
                                        .body_size = body.len,
                                        .region = c->region,
                                        .service = "monitoring"},
                            .origin = c->origin,
                            .what = c->what,
                            .timeout_ms = TIMEOUT_MS,
                            .dated = true};
    return aws_call(c->chain, http, &call, ret, ret_error, e);
}

static bool is_answer(const struct http_answer *a)
{
    static const char name[] = "PutMetricDataResponse";
    return !a->body || memmem(a->body->data, a->body->size, name, sizeof(name) - 1);
}

static int doubt(struct err *e, const char *why)
{
    return err_prefix(e, "%s", why), RESULT_DOUBTFUL;
}

/* Kept is only what certainly was not taken. A proxy's own 500, 502 or 504 says nothing of what
 * came of the request behind it. */
static enum result judge_status(const struct aws_error *error, struct err *e)
{
    switch (error->trouble) {
    case AWS_RATE:
    case AWS_QUOTA:
        return RESULT_THROTTLED;
    case AWS_LOGIN:
        return RESULT_DENIED;
    case AWS_AWAY:
        return error->code[0] ? RESULT_FAILED : doubt(e, "an answer of somebody else");
    case AWS_WELL:
    case AWS_TROUBLE_COUNT:
        break;
    }
    return error->code[0] ? RESULT_REFUSED : RESULT_FAILED;
}

static enum result judge(int r, const struct http_answer *a, const struct aws_error *error,
                         struct err *e)
{
    if (r == 0 && is_answer(a))
        return RESULT_TAKEN;
    if (r == 0) {
        (void)err_set(e, -EBADMSG, ERR_NEVER, "HTTP %ld, and not CloudWatch's answer", a->status);
        return doubt(e, "is a proxy or a login page between? It was");
    }
    if (error->doubtful)
        return doubt(e, "the answer was lost");
    if (error->status) /* else there was none: the network, or credentials */
        return judge_status(error, e);
    return error->trouble == AWS_LOGIN ? RESULT_DENIED : RESULT_UNREACHABLE;
}

static void tell(struct cloudwatch *c, enum result result, const struct err *e);
static void tell_recovery(struct cloudwatch *c);

static int64_t back_off_ms(const struct cloudwatch *c, enum result result)
{
    int64_t first = result == RESULT_DENIED ? PAUSE_LOGIN_MS : PAUSE_MS;
    int64_t pause = MIN(first, c->o.interval_ms) << MIN(c->failures - 1, DOUBLINGS_MAX);
    uint32_t random;
    hash_random(&random, sizeof(random));
    pause = MIN(pause, (int64_t)PAUSE_MS_MAX);
    return pause / 2 + random % (uint32_t)(pause / 2 + 1);
}

static void settle(struct cloudwatch *c, enum result result, size_t count, int64_t pause_ms,
                   const struct err *e)
{
    metric_inc(&posts, result_names[result]);
    bool taken = result == RESULT_TAKEN;
    bool dropped = result == RESULT_REFUSED || result == RESULT_DOUBTFUL;
    double counts = taken || dropped ? tally_shift(&c->tally, count) : 0;
    c->failures = taken ? 0 : c->failures + 1;
    if (!taken)
        c->retry_at = mono_add_ms(clock_mono(), MAX(pause_ms, back_off_ms(c, result)));
    c->due = mono_add_ms(clock_mono(), taken ? c->o.interval_ms : 0);
    if (taken)
        metric_add(&taken_counts, NULL, counts);
    pthread_mutex_lock(&c->lock);
    c->status.well = taken;
    c->status_retry_at = c->retry_at;
    if (taken) {
        c->status.taken += counts;
        c->status.posted = clock_wall();
        c->status.last_error[0] = '\0';
    } else {
        text_copy(c->status.last_error, sizeof(c->status.last_error), e->text);
    }
    pthread_mutex_unlock(&c->lock);
    drop(c, result_names[result], dropped ? counts : 0);
    if (taken)
        tell_recovery(c);
    else
        tell(c, result, e);
}

/* Trouble here is nobody's emergency and may last for days: it is told once, and then seldom. */
static void tell(struct cloudwatch *c, enum result result, const struct err *e)
{
    double age_ms = mono_diff_ms(clock_mono(), c->told_at);
    bool first = !c->told[0], other = strcmp(c->told, e->text) != 0;
    if (!first && age_ms < (other ? TOLD_OTHER_MS : TOLD_AGAIN_MS))
        return;
    log_write(result == RESULT_DENIED && first ? LOG_LEVEL_ERROR : LOG_LEVEL_WARNING,
              "cloudwatch-failed",
              "%s; %.0f counts wait, %.0f were dropped; pictures are not concerned, and this is "
              "said once an hour",
              e->text, tally_counts(&c->tally), c->dropped_since_told);
    text_copy(c->told, sizeof(c->told), e->text);
    c->told_at = clock_mono();
    c->dropped_since_told = 0;
}

static void tell_recovery(struct cloudwatch *c)
{
    if (!c->told[0])
        return;
    log_notice("cloudwatch-back", "%s takes counts again; %.0f were dropped meanwhile", c->what,
               c->dropped_since_told);
    c->told[0] = '\0';
    c->dropped_since_told = 0;
}
