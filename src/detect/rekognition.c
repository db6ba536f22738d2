#include "detect/rekognition.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "aws/aws_call.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/text.h"
#include "detect/pace.h"
#include "detect/region_choice.h"
#include "detect/rekognition_answer.h"
#include "detect/rekognition_picture.h"
#include "sys/hash.h"
#include "sys/http_call.h"

static_assert(REKOGNITION_REGIONS_MAX == REGION_COUNT_MAX, "each region has a breaker");

enum {
    BACK_OFF_MS = 200, /* AWS's SDKs have 100 to 1000 */
    BACK_OFF_MS_MAX = 5000,
    TRIES_MAX = 12, /* by then the back-off has taken half a minute */
    /* A rest of all regions that is waited for: a hiccup. When they are away for longer each
     * picture says so at once. */
    REST_WAITED_MS = 5000,
};

struct place {
    char *name, *origin, *what;
};

struct rekognition {
    struct detector detector;
    struct place places[REKOGNITION_REGIONS_MAX];
    int place_count;
    struct rekognition_options o; /* its strings are not ours */
    struct aws_chain *chain;
    int slots_fd;               /* holds a token for each client that is idle */
    pthread_mutex_t converting; /* one at a time: a decoded picture takes far more than its file */

    pthread_mutex_t lock; /* what follows */
    struct http_client *idle[REKOGNITION_IN_FLIGHT_MAX];
    int idle_count;
    struct pace pace;
    struct region_choice choice;
};

/* One picture on its way. */
struct asking {
    struct rekognition *r;
    struct blob *bytes;
    struct rekognition_picture picture;
    struct dynbuf body;
    struct http_client *http;
    double confidence_min;
    struct mono_time deadline; /* of beginning another try */
    unsigned avoid;            /* regions that failed or refused it in this round */
    int rounds;
    unsigned calls; /* that cost money */
};

enum next {
    NEXT_END,     /* answered, or no further try would help */
    NEXT_AGAIN,   /* in another region, or later */
    NEXT_CONVERT, /* Rekognition does not understand the file: send our own JPEG of it */
};

/* How a try ended, for the books of its region. */
enum result {
    RESULT_ANSWERED,
    RESULT_THROTTLED,
    RESULT_REFUSED,
    RESULT_FAILED,
    RESULT_UNREACHABLE,
    RESULT_BROKEN,
    RESULT_COUNT
};
static const char *const result_names[RESULT_COUNT] = {"answered", "throttled",   "refused",
                                                       "failed",   "unreachable", "broken"};

static struct metric calls_total = {
    .name = "snapshotd_rekognition_requests_total",
    .kind = METRIC_COUNTER,
    .label = "region_result",
    .help = "Requests to Rekognition by region and result, as in \"eu-west-1 answered\"; answered "
            "and broken ones cost money",
};
static struct metric call_seconds = {
    .name = "snapshotd_rekognition_seconds",
    .kind = METRIC_HISTOGRAM,
    .label = "region",
    .help = "Time until Rekognition answered, whatever it said",
};
static struct metric breaker_gauge = {
    .name = "snapshotd_rekognition_breaker",
    .kind = METRIC_GAUGE,
    .label = "region",
    .help =
        "Whether a region is asked: 0 closed (it is), 1 half-open (one tries), 2 open (it rests)",
};
static struct metric converted_total = {
    .name = "snapshotd_rekognition_converted_total",
    .kind = METRIC_COUNTER,
    .help = "Pictures that had to be made fit for Rekognition",
};
static struct metric waiting_seconds = {
    .name = "snapshotd_rekognition_pace_seconds",
    .kind = METRIC_HISTOGRAM,
    .help = "Time that requests waited because of calls_per_second",
};

static const struct detector_ops ops;
static void close_detector(struct detector *d);
static int find_places(struct rekognition *r, const struct rekognition_options *o, struct err *e);

void rekognition_register_metrics(void)
{
    metric_register(&calls_total);
    metric_register(&call_seconds);
    metric_register(&breaker_gauge);
    metric_register(&converted_total);
    metric_register(&waiting_seconds);
}

int rekognition_open(const struct rekognition_options *o, struct detector **ret, struct err *e)
{
    assert(o->in_flight >= 1 && o->in_flight <= REKOGNITION_IN_FLIGHT_MAX);
    struct rekognition *r = xcalloc(1, sizeof(*r));
    r->detector.ops = &ops;
    r->o = *o;
    r->slots_fd = -1;
    pthread_mutex_init(&r->lock, NULL); /* cannot fail for plain ones */
    pthread_mutex_init(&r->converting, NULL);
    int result = aws_chain_new(&o->login, &r->chain, e);
    if (result == 0)
        result = find_places(r, o, e);
    r->o.login = (struct aws_chain_options){0};
    if (result == 0) {
        r->slots_fd = eventfd((unsigned)o->in_flight, EFD_SEMAPHORE | EFD_CLOEXEC | EFD_NONBLOCK);
        result = r->slots_fd < 0 ? err_errno(e, -errno, "requests to Rekognition") : 0;
    }
    for (; result == 0 && r->idle_count < o->in_flight; r->idle_count++)
        result = http_client_new(o->stop_fd, &r->idle[r->idle_count], e);
    if (result < 0) {
        close_detector(&r->detector);
        return err_prefix(e, "rekognition"), result;
    }
    pace_init(&r->pace, o->calls_per_second, clock_mono());
    region_choice_init(&r->choice, r->place_count, o->choice == REKOGNITION_NEAREST, clock_mono());
    rekognition_register_metrics();
    for (int i = 0; i < r->place_count; i++)
        metric_set(&breaker_gauge, r->places[i].name, BREAKER_CLOSED);
    *ret = &r->detector;
    return 0;
}

static void close_detector(struct detector *d)
{
    if (!d)
        return;
    struct rekognition *r = container_of(d, struct rekognition, detector);
    for (int i = 0; i < r->idle_count; i++)
        http_client_free(r->idle[i]);
    for (int i = 0; i < REKOGNITION_REGIONS_MAX; i++) {
        free(r->places[i].name);
        free(r->places[i].origin);
        free(r->places[i].what);
    }
    aws_chain_free(r->chain);
    if (r->slots_fd >= 0)
        (void)close(r->slots_fd); /* holds nothing */
    pthread_mutex_destroy(&r->converting);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

static const char *env(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static void add_place(struct rekognition *r, const char *name, const char *endpoint)
{
    struct place *p = &r->places[r->place_count++];
    if (!endpoint || !*endpoint)
        endpoint = env("AWS_ENDPOINT_URL_REKOGNITION");
    if (!endpoint)
        endpoint = env("AWS_ENDPOINT_URL");
    size_t len = endpoint ? strlen(endpoint) : 0;
    while (len && endpoint[len - 1] == '/')
        len--;
    p->name = xstrdup(name);
    p->what = xasprintf("Rekognition in %s", name);
    p->origin = endpoint ? xstrndup(endpoint, len)
                         : xasprintf("https://rekognition.%s.amazonaws.com%s", name,
                                     text_starts_with(name, "cn-") ? ".cn" : "");
}

static int find_places(struct rekognition *r, const struct rekognition_options *o, struct err *e)
{
    for (int i = 0; i < o->region_count; i++)
        add_place(r, o->regions[i].name, o->regions[i].endpoint);
    const char *usual = o->region_count ? NULL : aws_chain_region(r->chain);
    if (usual)
        add_place(r, usual, NULL);
    if (!r->place_count)
        return err_set(e, -EINVAL, ERR_NEVER,
                       "no region is known: set [rekognition] region (AWS_ALT_REGION) or "
                       "primary_region (AWS_DEFAULT_REGION)");
    return 0;
}

/* ---- one picture ---- */

static int make_fit(struct asking *a, struct verdict *ret, struct err *e);
static int convert(struct asking *a, struct err *e);
static int take_client(struct asking *a, struct err *e);
static void give_client(struct asking *a);
static int ask(struct asking *a, struct verdict *ret, struct err *e);

static void asking_done(struct asking *a)
{
    give_client(a);
    rekognition_picture_done(&a->picture);
    dynbuf_done(&a->body);
}

static int detect(struct detector *d, const struct detect_request *req, struct verdict *ret,
                  struct err *e)
{
    struct rekognition *r = container_of(d, struct rekognition, detector);
    AUTO_DONE(asking)
    a = {
        .r = r,
        .bytes = req->bytes,
        .confidence_min = req->confidence_min >= 0 ? req->confidence_min : r->o.confidence_min,
        .deadline = mono_add_ms(clock_mono(), r->o.patience_ms),
    };
    ret->cloud_calls = 0;
    int result = make_fit(&a, ret, e);
    if (result == 0)
        result = take_client(&a, e);
    if (result < 0)
        return result;
    struct mono_time begin = clock_mono();
    result = ask(&a, ret, e);
    ret->infer_ms = mono_diff_ms(clock_mono(), begin);
    ret->cloud_calls = a.calls;
    if (result < 0)
        return result;
    ret->outcome = VERDICT_EXAMINED;
    ret->damaged = a.picture.damaged;
    return 0;
}

static int make_fit(struct asking *a, struct verdict *ret, struct err *e)
{
    struct mono_time begin = clock_mono();
    int r = rekognition_picture_look(a->bytes, &a->r->o.limits, a->r->o.side_max, &a->picture, e);
    if (r == 0)
        r = convert(a, e);
    ret->decode_ms = mono_diff_ms(clock_mono(), begin);
    return MIN(r, 0);
}

static int convert(struct asking *a, struct err *e)
{
    struct rekognition *r = a->r;
    struct rekognition_picture made = {0};
    pthread_mutex_lock(&r->converting);
    int result = rekognition_picture_convert(a->bytes, &r->o.limits, r->o.side_max, &made, e);
    pthread_mutex_unlock(&r->converting);
    if (result < 0)
        return result;
    metric_inc(&converted_total, NULL);
    rekognition_picture_done(&a->picture);
    a->picture = made;
    return 0;
}

static int64_t left_ms(const struct asking *a)
{
    return mono_until_ms(a->deadline);
}

static int stopped(struct err *e)
{
    return err_set(e, -ECANCELED, ERR_LATER, "rekognition: stopped");
}

static int take_client(struct asking *a, struct err *e)
{
    struct rekognition *r = a->r;
    eventfd_t token;
    while (eventfd_read(r->slots_fd, &token) < 0) {
        struct pollfd fds[] = {{.fd = r->slots_fd, .events = POLLIN},
                               {.fd = r->o.stop_fd, .events = POLLIN}};
        int64_t left = left_ms(a);
        if (left == 0)
            return err_set(e, -EAGAIN, ERR_LATER,
                           "rekognition: all %d requests were under way for %lld ms",
                           r->o.in_flight, (long long)r->o.patience_ms);
        (void)poll(fds, r->o.stop_fd >= 0 ? 2 : 1, (int)left); /* the loop looks again */
        if (fds[1].revents)
            return stopped(e);
    }
    pthread_mutex_lock(&r->lock);
    a->http = r->idle[--r->idle_count];
    pthread_mutex_unlock(&r->lock);
    return 0;
}

/* The one that was used last is taken first: its connections are warm. */
static void give_client(struct asking *a)
{
    struct rekognition *r = a->r;
    if (!a->http)
        return;
    pthread_mutex_lock(&r->lock);
    r->idle[r->idle_count++] = STEAL(a->http);
    pthread_mutex_unlock(&r->lock);
    (void)eventfd_write(r->slots_fd, 1); /* never more than in_flight */
}

static int build_body(struct asking *a, struct err *e)
{
    dynbuf_done(&a->body);
    int r = rekognition_body(a->picture.bytes, a->r->o.labels_max, a->confidence_min, &a->body, e);
    /* What is sent is in the body; a converted one need not be kept beside it. */
    blob_unref(STEAL(a->picture.bytes));
    return r;
}

static int try_once(struct asking *a, int *ret_region, int64_t *ret_pause_ms, enum next *ret_next,
                    struct verdict *ret, struct err *e);
static int wait_for_next(struct asking *a, int region, int64_t pause_ms, struct err *e);

/* Gives the last try's reason when there is no further one. */
static int ask(struct asking *a, struct verdict *ret, struct err *e)
{
    int result = build_body(a, e);
    if (result < 0)
        return result;
    for (int tries = 0;; tries++) {
        struct err why = {0};
        enum next next = NEXT_END;
        int region = -1;
        int64_t pause_ms = 0;
        result = try_once(a, &region, &pause_ms, &next, ret, &why);
        if (result == 0)
            return 0;
        if (next == NEXT_AGAIN && tries + 1 < TRIES_MAX) {
            int waited = wait_for_next(a, region, pause_ms, e);
            if (waited == 0)
                continue;
            if (waited == -ECANCELED)
                return waited;
        }
        if (next == NEXT_CONVERT) {
            result = convert(a, e);
            if (result == 0)
                result = build_body(a, e);
            if (result == 0)
                continue;
            return result;
        }
        return err_set(e, result, next == NEXT_AGAIN ? ERR_LATER : why.retry, "%s", why.text);
    }
}

/* 0; -ECANCELED when stopped. */
static int sleep_ms(const struct asking *a, int64_t ms)
{
    struct pollfd stop = {.fd = a->r->o.stop_fd, .events = POLLIN};
    struct mono_time until = mono_add_ms(clock_mono(), ms);
    int left;
    while ((left = mono_until_ms(until)) > 0) {
        if (poll(&stop, stop.fd >= 0 ? 1 : 0, left) > 0)
            return -ECANCELED;
    }
    return 0;
}

/* 0..most, each as likely: those who failed together do not come back together. */
static int64_t jitter_ms(int64_t most)
{
    uint32_t random;
    hash_random(&random, sizeof(random));
    return (int64_t)(random % (uint64_t)(most + 1));
}

/* The other region at once when it is well; else after a pause, if there is patience for it. 0: try
 * again; -ETIME: it is enough; -ECANCELED. */
static int wait_for_next(struct asking *a, int region, int64_t pause_ms, struct err *e)
{
    struct rekognition *r = a->r;
    struct mono_time now = clock_mono();
    bool other_is_well = false;
    if (region >= 0)
        a->avoid |= 1U << region;
    pthread_mutex_lock(&r->lock);
    for (int i = 0; i < r->place_count; i++)
        other_is_well |=
            !(a->avoid >> i & 1) && breaker_wait_ms(&r->choice.regions[i].breaker, now) == 0;
    int64_t rest_ms = region_wait_ms(&r->choice, now);
    pthread_mutex_unlock(&r->lock);
    if (mono_passed(a->deadline) && a->rounds)
        return -ETIME;
    if (other_is_well)
        return 0;
    a->avoid = 0;
    int64_t most = BACK_OFF_MS;
    for (int i = 0; i < a->rounds && most < BACK_OFF_MS_MAX; i++)
        most = MIN(most * 2, (int64_t)BACK_OFF_MS_MAX);
    int64_t wait_ms = MAX(pause_ms, rest_ms);
    wait_ms = MAX(wait_ms, jitter_ms(most));
    a->rounds++;
    if (rest_ms > REST_WAITED_MS || wait_ms > left_ms(a))
        return -ETIME;
    return sleep_ms(a, wait_ms) < 0 ? stopped(e) : 0;
}

/* ---- one try ---- */

static int wait_for_pace(struct asking *a, struct err *e);
static int need_credentials(struct asking *a, struct err *e);
static int call(struct asking *a, const struct place *p, struct http_answer *ret,
                struct aws_error *ret_error, struct err *e);
static int judge(struct asking *a, int code, const struct http_answer *answer,
                 const struct aws_error *error, enum result *ret_result, enum next *ret_next,
                 struct err *e);
static int read_answer(struct asking *a, const struct http_answer *answer, struct verdict *ret,
                       struct err *e);
static void enter(struct asking *a, int region, enum breaker_pass pass, enum result result,
                  double ms, const struct err *why);

static int try_once(struct asking *a, int *ret_region, int64_t *ret_pause_ms, enum next *ret_next,
                    struct verdict *ret, struct err *e)
{
    struct rekognition *r = a->r;
    int code = wait_for_pace(a, e);
    if (code == 0)
        code = need_credentials(a, e);
    if (code < 0)
        return code;
    enum breaker_pass pass;
    pthread_mutex_lock(&r->lock);
    int region = region_pick(&r->choice, a->avoid, clock_mono(), &pass);
    int64_t rest_ms = region_wait_ms(&r->choice, clock_mono());
    pthread_mutex_unlock(&r->lock);
    if (region < 0) {
        *ret_next = NEXT_AGAIN;
        return err_set(e, -EHOSTDOWN, ERR_LATER, "rekognition: %s; the next try is in %lld s",
                       r->place_count > 1 ? "no region answers" : "its region does not answer",
                       (long long)(rest_ms + 999) / 1000);
    }
    *ret_region = region;
    if (pass == BREAKER_PROBE)
        metric_set(&breaker_gauge, r->places[region].name, BREAKER_HALF_OPEN);

    AUTO_DONE(http_answer) answer = {0};
    struct aws_error error;
    enum result result = RESULT_FAILED;
    struct mono_time begin = clock_mono();
    code = call(a, &r->places[region], &answer, &error, e);
    double ms = mono_diff_ms(clock_mono(), begin);
    code = judge(a, code, &answer, &error, &result, ret_next, e);
    if (code == 0) {
        a->calls++;
        code = read_answer(a, &answer, ret, e);
        result = code < 0 ? RESULT_BROKEN : RESULT_ANSWERED;
    }
    *ret_pause_ms = error.pause_ms;
    enter(a, region, pass, result, ms, e);
    return code;
}

static int wait_for_pace(struct asking *a, struct err *e)
{
    struct rekognition *r = a->r;
    int64_t wait_us = 0;
    pthread_mutex_lock(&r->lock);
    bool may = pace_take(&r->pace, clock_mono(), left_ms(a) * 1000, &wait_us);
    pthread_mutex_unlock(&r->lock);
    if (!may)
        return err_set(e, -EAGAIN, ERR_LATER,
                       "rekognition: more pictures wait than can be asked about within %lld ms at "
                       "calls_per_second = %g",
                       (long long)r->o.patience_ms, r->o.calls_per_second);
    metric_observe(&waiting_seconds, NULL, (double)wait_us / 1e6);
    return sleep_ms(a, (wait_us + 999) / 1000) < 0 ? stopped(e) : 0;
}

/* Asked for apart from the call, so that what is wrong with them is not held against a region. */
static int need_credentials(struct asking *a, struct err *e)
{
    struct aws_credentials credentials;
    struct err why = {0};
    int code = aws_chain_get(a->r->chain, a->r->o.stop_fd, &credentials, &why);
    explicit_bzero(&credentials, sizeof(credentials));
    if (code == 0 || code == -ECANCELED)
        return code < 0 ? stopped(e) : 0;
    return err_set(e, why.retry == ERR_NEVER ? -EACCES : code, why.retry, "rekognition: %s",
                   why.text);
}

enum { WANT_REQUEST_ID };

static int call(struct asking *a, const struct place *p, struct http_answer *ret,
                struct aws_error *ret_error, struct err *e)
{
    static const char *const headers[] = {"Content-Type: application/x-amz-json-1.1",
                                          "X-Amz-Target: RekognitionService.DetectLabels", NULL};
    static const char *const wanted[] = {[WANT_REQUEST_ID] = "x-amzn-RequestId", NULL};
    struct aws_call c = {
        .request = {.method = "POST",
                    .path = "/",
                    .headers = headers,
                    .body = a->body.data,
                    .body_size = a->body.len,
                    .region = p->name,
                    .service = "rekognition"},
        .origin = p->origin,
        .wanted = wanted,
        .what = p->what,
        .size_max = REKOGNITION_ANSWER_MAX,
        .timeout_ms = a->r->o.timeout_ms,
    };
    return aws_call(a->r->chain, a->http, &c, ret, ret_error, e);
}

/* A login page of a hotel answers 200 as well. */
static bool is_from_rekognition(const struct http_answer *answer)
{
    return answer->headers[WANT_REQUEST_ID] || strstr(answer->content_type, "json");
}

static int judge_error(struct asking *a, const struct aws_error *error, enum result *ret_result,
                       enum next *ret_next, struct err *e);

/* 0: it is Rekognition's answer. */
static int judge(struct asking *a, int code, const struct http_answer *answer,
                 const struct aws_error *error, enum result *ret_result, enum next *ret_next,
                 struct err *e)
{
    switch (code) {
    case 0:
        if (is_from_rekognition(answer))
            return 0;
        *ret_result = RESULT_FAILED;
        *ret_next = NEXT_AGAIN;
        return err_set(e, -EPROTO, ERR_LATER,
                       "rekognition: something else answers in its place (%s): is there a proxy or "
                       "a login page on the way?",
                       answer->content_type[0] ? answer->content_type : "without a type");
    case -ECANCELED:
        return code;
    case -EREMOTEIO:
        return judge_error(a, error, ret_result, ret_next, e);
    case -EFBIG: /* only a 2xx is read so far */
        a->calls++;
        *ret_result = RESULT_BROKEN;
        return err_set(e, -EBADMSG, ERR_NEVER, "rekognition: the answer is longer than %d bytes",
                       REKOGNITION_ANSWER_MAX);
    case -EINVAL:
        *ret_result = RESULT_REFUSED;
        return err_prefix(e, "rekognition"), -EREMOTEIO;
    default:
        *ret_result = code == -ETIMEDOUT || code == -ECONNREFUSED || code == -EHOSTUNREACH ||
                              code == -ENETUNREACH
                          ? RESULT_UNREACHABLE
                          : RESULT_FAILED;
        *ret_next = NEXT_AGAIN;
        return code;
    }
}

static int judge_error(struct asking *a, const struct aws_error *error, enum result *ret_result,
                       enum next *ret_next, struct err *e)
{
    enum aws_trouble trouble = error->trouble;
    /* What has no code of AWS comes from something on the way. */
    if (!error->code[0] && trouble != AWS_RATE)
        trouble = AWS_AWAY;
    switch (trouble) {
    case AWS_RATE:
        *ret_next = NEXT_AGAIN;
        *ret_result = error->status >= 500 ? RESULT_FAILED : RESULT_THROTTLED;
        return -EAGAIN;
    case AWS_AWAY:
    case AWS_QUOTA:
        *ret_next = NEXT_AGAIN;
        *ret_result = RESULT_FAILED;
        return -EAGAIN;
    case AWS_LOGIN:
        *ret_result = RESULT_REFUSED;
        if (text_starts_with(error->code, "AccessDenied"))
            (void)err_prefix(e, "rekognition:DetectLabels is not allowed");
        if (e)
            e->retry = ERR_NEVER;
        return -EACCES;
    case AWS_WELL:
    case AWS_TROUBLE_COUNT:
        break;
    }
    *ret_result = RESULT_REFUSED;
    if (!strcmp(error->code, "InvalidImageFormatException") && !a->picture.converted)
        *ret_next = NEXT_CONVERT;
    if (e)
        e->retry = ERR_NEVER;
    return -EINVAL;
}

static int read_answer(struct asking *a, const struct http_answer *answer, struct verdict *ret,
                       struct err *e)
{
    char version[REKOGNITION_VERSION_MAX];
    int r = rekognition_answer_read(answer->body, a->confidence_min, a->picture.width,
                                    a->picture.height, &ret->found, version, e);
    if (r < 0)
        return err_prefix(e, "rekognition"), r;
    (void)text_format(ret->model, sizeof(ret->model), "rekognition%s%s", version[0] ? " " : "",
                      version); /* fits */
    return 0;
}

static enum region_news news_of(enum result result)
{
    switch (result) {
    case RESULT_ANSWERED:
    case RESULT_THROTTLED:
    case RESULT_REFUSED:
    case RESULT_BROKEN:
        return REGION_WELL;
    case RESULT_FAILED:
        return REGION_FAILED;
    case RESULT_UNREACHABLE:
        return REGION_DEAD;
    case RESULT_COUNT:
        break;
    }
    return REGION_UNKNOWN;
}

/* Two regions serve as one, so that one is out would be seen by nobody. */
static void tell_people(const struct rekognition *r, int region, enum breaker_state before,
                        enum breaker_state after, int64_t rest_ms, const struct err *why)
{
    const char *name = r->places[region].name;
    if (after == BREAKER_OPEN && before == BREAKER_CLOSED)
        log_warn("region-rests", "%s; %s is asked again in %lld s", why->text, name,
                 (long long)(rest_ms + 999) / 1000);
    else if (after == BREAKER_CLOSED && before != BREAKER_CLOSED)
        log_notice("region-back", "rekognition in %s answers again", name);
}

static void enter(struct asking *a, int region, enum breaker_pass pass, enum result result,
                  double ms, const struct err *why)
{
    struct rekognition *r = a->r;
    const char *name = r->places[region].name;
    const struct breaker *breaker = &r->choice.regions[region].breaker;
    bool canceled = why->code == -ECANCELED;
    struct mono_time now = clock_mono();
    enum region_news news = canceled ? REGION_UNKNOWN : news_of(result);
    pthread_mutex_lock(&r->lock);
    if (result == RESULT_THROTTLED)
        pace_slow_down(&r->pace, now);
    enum breaker_state before = breaker->state;
    region_tell(&r->choice, region, pass, news, result == RESULT_ANSWERED ? ms : 0, now);
    enum breaker_state after = breaker->state;
    int64_t rest_ms = breaker_wait_ms(breaker, now);
    pthread_mutex_unlock(&r->lock);
    if (canceled)
        return;
    char label[96];
    (void)text_format(label, sizeof(label), "%s %s", name, result_names[result]); /* fits */
    metric_inc(&calls_total, label);
    metric_set(&breaker_gauge, name, after);
    if (news == REGION_WELL)
        metric_observe(&call_seconds, name, ms / 1000);
    tell_people(r, region, before, after, rest_ms, why);
}

/* ---- about it ---- */

static void describe(const struct detector *d, char *buf, size_t size)
{
    const struct rekognition *r = container_of(d, struct rekognition, detector);
    char pace[48] = "";
    if (r->o.calls_per_second > 0)
        (void)text_format(pace, sizeof(pace), ", %g a second", r->o.calls_per_second); /* fits */
    (void)text_format(buf, size, "rekognition in %s%s%s, from %g%%, %d at once%s",
                      r->places[0].name,
                      r->place_count == 1                  ? ""
                      : r->o.choice == REKOGNITION_NEAREST ? " or "
                                                           : ", else in ",
                      r->place_count == 1 ? "" : r->places[1].name, r->o.confidence_min * 100,
                      r->o.in_flight, pace); /* may be cut */
}

/* Not the region: the regions have the same model, but for the days of a change. */
static void signature(const struct detector *d, char *buf, size_t size)
{
    const struct rekognition *r = container_of(d, struct rekognition, detector);
    (void)text_format(buf, size, "rekognition labels=%d confidence=%g side=%d", r->o.labels_max,
                      r->o.confidence_min, r->o.side_max); /* fits */
}

static int parallelism(const struct detector *d)
{
    return container_of(d, const struct rekognition, detector)->o.in_flight;
}

int rekognition_states(struct detector *d, struct rekognition_state ret[REKOGNITION_REGIONS_MAX])
{
    struct rekognition *r = container_of(d, struct rekognition, detector);
    struct mono_time now = clock_mono();
    pthread_mutex_lock(&r->lock);
    for (int i = 0; i < r->place_count; i++) {
        const struct region_state *s = &r->choice.regions[i];
        ret[i] = (struct rekognition_state){.region = r->places[i].name,
                                            .state = breaker_state_names[s->breaker.state],
                                            .rest_ms = breaker_wait_ms(&s->breaker, now),
                                            .answer_ms = s->answer_ms};
    }
    pthread_mutex_unlock(&r->lock);
    return r->place_count;
}

/* Not in the registry: it is opened with options of its own. */
static const struct detector_ops ops = {
    .name = "rekognition",
    .detect = detect,
    .describe = describe,
    .parallelism = parallelism,
    .close = close_detector,
    .signature = signature,
};
