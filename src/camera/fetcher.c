#include "camera/fetcher.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/mem.h"
#include "base/metrics.h"
#include "base/text.h"
#include "camera/multipart.h"
#include "picture/picture.h"
#include "sys/hash.h"
#include "sys/httpc.h"
#include "sys/runner.h"

#define REDIRECTS_MAX 3 /* http to https, host to its name, / to the path */
/* Of a stream beside its frames. */
#define STREAM_EXTRA_BYTES (64 * 1024)
/* A pause that a camera may ask for: nobody waits longer for a picture of an event. */
#define RETRY_AFTER_MAX_S (FETCHER_BREAKER_MAX_MS / 1000)

const char *const camera_state_names[CAMERA_STATE_COUNT] = {"unknown", "ok", "failing", "open",
                                                            "locked"};

struct slot {
    struct fetcher *fetcher;
    char *name;
    uint64_t name_hash;
    struct httpc_channel *channel;
    struct camera_status status;
    int pauses;                    /* breaker openings in a row */
    uint64_t rejected_credentials; /* credentials_digest that the camera rejected */

    /* The kind's memory, and what it holds for. */
    void *memory;
    const struct camera_kind *memory_kind;
    uint64_t memory_key;
    struct freshness freshness;

    /* While busy. */
    bool busy;
    const struct camera *cam;
    const struct camera_kind *kind;
    void *ticket;
    int requests; /* sent for this picture */
    struct mono_time started;
    struct camera_request request; /* the one under way; its body is borrowed by the channel */
    struct multipart stream;
    struct runner_job *job; /* a program instead */
};

struct fetcher {
    int epoll_fd; /* both of these in one */
    struct httpc *httpc;
    struct runner *runner;
    fetch_done_fn *done;
    void *arg;
    struct slot **slots;
    size_t slot_count, slot_cap;
    int in_flight;
};

static struct metric pictures_total = {
    .name = "snapshotd_camera_pictures_total",
    .kind = METRIC_COUNTER,
    .label = "camera",
    .help = "Complete pictures that a camera handed out",
};
static struct metric failures_total = {
    .name = "snapshotd_camera_failures_total",
    .kind = METRIC_COUNTER,
    .label = "camera",
    .help = "Requests to a camera that did not give a complete picture",
};
static struct metric faults_total = {
    .name = "snapshotd_camera_faults_total",
    .kind = METRIC_COUNTER,
    .label = "fault",
    .help = "Failed camera requests by what failed: the part of the exchange, or the judgement",
};
static struct metric spared_total = {
    .name = "snapshotd_camera_spared_total",
    .kind = METRIC_COUNTER,
    .label = "reason",
    .help = "Requests not sent: breaker open, or credentials rejected before",
};
static struct metric answer_seconds = {
    .name = "snapshotd_camera_answer_seconds",
    .kind = METRIC_HISTOGRAM,
    .label = "camera",
    .help = "Time from the request to the last byte of a picture",
};

static struct slot *slot_find(struct fetcher *f, const char *camera);
static struct slot *slot_get(struct fetcher *f, const char *camera, struct err *e);
static void slot_free(struct slot *s);
static int may_ask(struct slot *s, const struct camera *cam, struct err *e);
static void prepare_memory(struct slot *s);
static int send_request(struct slot *s, struct err *e);
static void on_answer(void *arg, const struct httpc_response *r);
static void on_program(void *arg, const struct runner_result *r);
static void finish(struct slot *s, struct fetch_result *result);

void fetcher_register_metrics(void)
{
    metric_register(&pictures_total);
    metric_register(&failures_total);
    metric_register(&faults_total);
    metric_register(&spared_total);
    metric_register(&answer_seconds);
}

int fetcher_new(fetch_done_fn *done, void *arg, struct fetcher **ret, struct err *e)
{
    fetcher_register_metrics();
    AUTO(fetcher) f = xcalloc(1, sizeof(*f));
    f->done = done;
    f->arg = arg;
    f->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (f->epoll_fd < 0)
        return err_errno(e, -errno, "camera client");
    int r = httpc_new(&f->httpc, e);
    if (r == 0)
        r = runner_new(FETCHER_MEMORY_MAX, &f->runner, e);
    if (r < 0)
        return r;
    httpc_set_budget(f->httpc, FETCHER_MEMORY_MAX);
    struct epoll_event ev = {.events = EPOLLIN};
    if (epoll_ctl(f->epoll_fd, EPOLL_CTL_ADD, httpc_fd(f->httpc), &ev) < 0 ||
        epoll_ctl(f->epoll_fd, EPOLL_CTL_ADD, runner_fd(f->runner), &ev) < 0)
        return err_errno(e, -errno, "camera client");
    *ret = STEAL(f);
    return 0;
}

void fetcher_free(struct fetcher *f)
{
    if (!f)
        return;
    while (f->slot_count)
        fetcher_forget(f, f->slots[f->slot_count - 1]->name);
    httpc_free(f->httpc);
    runner_free(f->runner);
    if (f->epoll_fd >= 0)
        (void)close(f->epoll_fd); /* holds nothing */
    free(f->slots);
    free(f);
}

int fetcher_fd(const struct fetcher *f)
{
    return f->epoll_fd;
}

void fetcher_process(struct fetcher *f)
{
    httpc_process(f->httpc);
    runner_process(f->runner);
}

int fetcher_start(struct fetcher *f, const struct camera *cam, bool by_person, void *ticket,
                  struct err *e)
{
    const struct camera_kind *kind = camera_kind_find(cam->kind);
    if (!kind)
        return err_set(e, -EINVAL, ERR_NEVER, "there is no camera kind '%s'", cam->kind);
    struct slot *s = slot_get(f, cam->name, e);
    if (!s)
        return -ENOMEM;
    if (s->busy)
        return err_set(e, -EBUSY, ERR_LATER, "a request to this camera is under way");
    int r = by_person ? 0 : may_ask(s, cam, e);
    if (r < 0)
        return r;

    s->cam = cam;
    s->kind = kind;
    s->ticket = ticket;
    s->requests = 0;
    s->started = clock_mono();
    prepare_memory(s);
    r = kind->request(cam, s->memory, clock_wall(), &s->request, e);
    if (r == 0)
        r = send_request(s, e);
    if (r < 0) {
        camera_request_done(&s->request);
        s->cam = NULL;
        return r;
    }
    s->busy = true;
    f->in_flight++;
    return 0;
}

void fetcher_status(struct fetcher *f, const char *camera, struct camera_status *ret)
{
    struct slot *s = slot_find(f, camera);
    *ret = s ? s->status : (struct camera_status){0};
    if (ret->state == CAMERA_STATE_OPEN && mono_passed(ret->open_until))
        ret->state = CAMERA_STATE_FAILING; /* half open: the next request decides */
}

int fetcher_in_flight(const struct fetcher *f)
{
    return f->in_flight;
}

void fetcher_forget(struct fetcher *f, const char *camera)
{
    struct slot *s = slot_find(f, camera);
    if (!s)
        return;
    /* Out of the list first: the cancelled request's callback must not find it again. */
    for (size_t i = 0; i < f->slot_count; i++) {
        if (f->slots[i] != s)
            continue;
        f->slots[i] = f->slots[--f->slot_count];
        break;
    }
    slot_free(s);
}

static uint64_t hash_name(const char *s)
{
    uint64_t h = 0xcbf29ce484222325u; /* FNV-1a: names are ours, nobody attacks this */
    for (; *s; s++)
        h = (h ^ (unsigned char)*s) * 0x100000001b3u;
    return h;
}

static struct slot *slot_find(struct fetcher *f, const char *camera)
{
    uint64_t h = hash_name(camera);
    for (size_t i = 0; i < f->slot_count; i++)
        if (f->slots[i]->name_hash == h && !strcmp(f->slots[i]->name, camera))
            return f->slots[i];
    return NULL;
}

static struct slot *slot_get(struct fetcher *f, const char *camera, struct err *e)
{
    struct slot *s = slot_find(f, camera);
    if (s)
        return s;
    s = xcalloc(1, sizeof(*s));
    if (httpc_channel_new(f->httpc, &s->channel, e) < 0) {
        free(s);
        return NULL;
    }
    s->fetcher = f;
    s->name = xstrdup(camera);
    s->name_hash = hash_name(camera);
    if (f->slot_count == f->slot_cap) {
        f->slot_cap = f->slot_cap ? f->slot_cap * 2 : 16;
        f->slots = xrealloc(f->slots, f->slot_cap * sizeof(struct slot *));
    }
    f->slots[f->slot_count++] = s;
    return s;
}

static void memory_free(struct slot *s)
{
    if (s->memory)
        explicit_bzero(s->memory, s->memory_kind->memory_size); /* it may hold a token */
    free(s->memory);
    s->memory = NULL;
}

static void slot_free(struct slot *s)
{
    if (s->job)
        runner_cancel(s->job);
    httpc_channel_free(s->channel);
    camera_request_done(&s->request);
    memory_free(s);
    free(s->name);
    free(s);
}

/* Refuses for the camera's sake. */
static int may_ask(struct slot *s, const struct camera *cam, struct err *e)
{
    if (s->status.state == CAMERA_STATE_LOCKED) {
        if (s->rejected_credentials == cam->credentials_digest) {
            metric_inc(&spared_total, "credentials");
            return err_set(e, -EACCES, ERR_NEVER,
                           "its login was rejected and is not sent again until the configuration "
                           "changes or a person asks (%.200s)",
                           s->status.last_error);
        }
        s->status.state = CAMERA_STATE_FAILING; /* new credentials deserve a try */
    }
    if (s->status.state == CAMERA_STATE_OPEN && !mono_passed(s->status.open_until)) {
        metric_inc(&spared_total, "breaker");
        return err_set(e, -EAGAIN, ERR_LATER,
                       "left alone for another %.1f s after %d failure%s in a "
                       "row (%.200s)",
                       mono_diff_ms(s->status.open_until, clock_mono()) / 1000, s->status.failures,
                       s->status.failures == 1 ? "" : "s", s->status.last_error);
    }
    return 0;
}

/* What was learnt of another camera, another of its channels, or with another login, is not true of
 * this one. */
static void prepare_memory(struct slot *s)
{
    const struct camera *cam = s->cam;
    uint64_t key = cam->credentials_digest ^ hash_name(cam->channel ? cam->channel : "") ^
                   hash_name(cam->command ? cam->command : "") * 3;
    if (s->memory_kind == s->kind && s->memory_key == key)
        return;
    memory_free(s);
    s->memory_kind = s->kind;
    s->memory_key = key;
    if (s->kind->memory_size)
        s->memory = xcalloc(1, s->kind->memory_size);
    s->freshness = (struct freshness){0};
}

static enum httpc_auth auth_of(enum camera_auth auth)
{
    switch (auth) {
    case CAMERA_AUTH_AUTO:
        return HTTPC_AUTH_ANY;
    case CAMERA_AUTH_NONE:
        return HTTPC_AUTH_NONE;
    case CAMERA_AUTH_BASIC:
        return HTTPC_AUTH_BASIC;
    case CAMERA_AUTH_DIGEST:
        return HTTPC_AUTH_DIGEST;
    case CAMERA_AUTH_COUNT:
        break;
    }
    return HTTPC_AUTH_NONE;
}

static enum httpc_look look_at_stream(void *arg, const void *body, size_t size)
{
    struct slot *s = arg;
    switch (multipart_look(&s->stream, body, size)) {
    case MULTIPART_MORE:
    case MULTIPART_PLAIN:
        return HTTPC_LOOK_MORE;
    case MULTIPART_ONE:
        return HTTPC_LOOK_WOULD_DO;
    case MULTIPART_TWO:
    case MULTIPART_TOO_BIG:
        break;
    }
    return HTTPC_LOOK_ENOUGH;
}

static int start_program(struct slot *s, int64_t left_ms, struct err *e)
{
    const struct runner_request req = {
        .argv = s->request.argv,
        .environment = s->request.environment,
        .shown = s->request.shown,
        .timeout_ms = left_ms,
        .size_max = (size_t)s->cam->size_max,
    };
    return runner_start(s->fetcher->runner, &req, on_program, s, &s->job, e);
}

/* Sends s->request, which stays until its answer is there. */
static int send_request(struct slot *s, struct err *e)
{
    const struct camera *cam = s->cam;
    const struct camera_request *made = &s->request;
    int64_t left_ms =
        cam->total_timeout_ms - (int64_t)mono_diff_ms(clock_mono(), s->started); /* of them all */
    if (s->requests++ >= CAMERA_REQUESTS_MAX)
        return err_set(e, -ELOOP, ERR_LATER, "%s: no picture after %d requests", made->shown,
                       CAMERA_REQUESTS_MAX);
    if (cam->total_timeout_ms && left_ms <= 0)
        return err_set(e, -ETIMEDOUT, ERR_LATER, "%s: not finished within %lld ms", made->shown,
                       (long long)cam->total_timeout_ms);
    if (!cam->total_timeout_ms)
        left_ms = 0;
    if (made->argv)
        return start_program(s, left_ms, e);

    size_t count = 0;
    while (cam->headers && cam->headers[count])
        count++;
    AUTO_FREE const char **headers = xcalloc(count + 2, sizeof(*headers));
    for (size_t i = 0; i < count; i++)
        headers[i] = cam->headers[i];
    char type[192];
    if (made->content_type) {
        (void)text_format(type, sizeof(type), "Content-Type: %s", made->content_type); /* fits */
        headers[count++] = type;
    }
    struct httpc_request req = {
        .method = made->body ? "POST" : NULL,
        .url = made->url,
        .shown = made->shown,
        .headers = headers,
        .body = made->body,
        .body_size = made->body ? strlen(made->body) : 0,
        .auth = auth_of(made->auth),
        .user = cam->user,
        .password = cam->password,
        .tls_insecure = !cam->tls_verify,
        .tls_legacy = cam->tls_legacy,
        .tls_ca_file = cam->tls_ca_file,
        .tls_pin = cam->tls_pin,
        .http1_only = true,
        .http09 = cam->http09,
        .hosts = cam->hosts,
        .redirects_max = REDIRECTS_MAX,
        .connect_timeout_ms = cam->connect_timeout_ms,
        .stall_timeout_ms = cam->stall_timeout_ms,
        .total_timeout_ms = left_ms,
        .size_max = cam->size_max,
    };
    if (made->stream) {
        /* The limit is one of a picture; of a stream two are read. */
        multipart_init(&s->stream, (size_t)cam->size_max);
        req.size_max = 2 * cam->size_max + STREAM_EXTRA_BYTES;
        req.look = look_at_stream;
        req.look_arg = s;
    }
    return httpc_start(s->channel, &req, on_answer, s, e);
}

/* Doubles from the first pause to the longest, and spreads cameras that failed together. */
static int64_t pause_ms(int pauses)
{
    int64_t ms = FETCHER_BREAKER_FIRST_MS;
    for (int i = 1; i < pauses && ms < FETCHER_BREAKER_MAX_MS; i++)
        ms *= 2;
    uint16_t random;
    hash_random(&random, sizeof(random));
    ms = ms * 3 / 4 + ms / 2 * random / UINT16_MAX;
    return MIN(ms, (int64_t)FETCHER_BREAKER_MAX_MS);
}

static void note_failure(struct slot *s, const struct fetch_result *result)
{
    struct camera_status *st = &s->status;
    text_copy(st->last_error, sizeof(st->last_error), result->error->text);
    if (result->code == -ECANCELED)
        return;
    st->failures++;
    if (result->fault == CAMERA_FAULT_CREDENTIALS) {
        st->state = CAMERA_STATE_LOCKED;
        s->rejected_credentials = s->cam->credentials_digest;
        return;
    }
    /* A time-out when a person asked does not make a rejected password right. */
    if (st->state == CAMERA_STATE_LOCKED && s->rejected_credentials == s->cam->credentials_digest)
        return;
    st->state = CAMERA_STATE_FAILING;
    if (result->retry_after_s > 0) {
        st->state = CAMERA_STATE_OPEN;
        st->open_until =
            mono_add_ms(clock_mono(), MIN(result->retry_after_s, (long)RETRY_AFTER_MAX_S) * 1000L);
        return;
    }
    if (st->failures < FETCHER_BREAKER_FAILURES)
        return;
    st->state = CAMERA_STATE_OPEN;
    s->pauses++;
    st->open_until = mono_add_ms(clock_mono(), pause_ms(s->pauses));
}

static void note_success(struct slot *s, const struct fetch_result *result)
{
    s->status = (struct camera_status){
        .state = CAMERA_STATE_OK,
        .last_ms = result->elapsed_ms,
    };
    s->pauses = 0;
}

/* The picture in an answer: its body, or a frame of it. A new reference, NULL when empty. */
static int take_bytes(struct slot *s, struct blob *body, long status, struct blob **ret,
                      struct err *e)
{
    size_t at, size;
    bool stream = body && s->request.stream && (status == 0 || (status >= 200 && status < 300));
    enum multipart_state state =
        stream ? multipart_end(&s->stream, body->data, body->size) : MULTIPART_PLAIN;
    if (state == MULTIPART_TOO_BIG)
        return err_set(e, -EFBIG, ERR_NEVER,
                       "%s: a picture of it is longer than the %lld bytes allowed",
                       s->request.shown, (long long)s->cam->size_max);
    if (state == MULTIPART_PLAIN || !multipart_frame(&s->stream, &at, &size)) {
        *ret = blob_ref(body);
        return 0;
    }
    /* A copy, so that the rest of the stream need not be kept with it. */
    *ret = blob_new_copy(body->data + at, size);
    return *ret ? 0 : err_set(e, -ENOMEM, ERR_LATER, "%s: no memory for a frame", s->request.shown);
}

static enum camera_freshness judge_freshness(struct slot *s, const struct blob *bytes,
                                             int64_t date_s, int64_t last_modified_s)
{
    if (!s->cam->check_fresh)
        return CAMERA_FRESH;
    struct picture_info info = {0};
    /* It was judged to be a picture; one over these limits has no time then. */
    (void)picture_probe(bytes->data, bytes->size, &picture_limits_default, &info, NULL);
    const struct freshness_signs signs = {
        .now = clock_wall(),
        .digest = hash_64(bytes->data, bytes->size),
        .date_s = date_s,
        .last_modified_s = last_modified_s,
        .taken_s = info.taken_s,
    };
    return freshness_judge(&s->freshness, &signs);
}

/* Lets the kind go on, or judges the picture. 1: another request is under way. */
static int take_answer(struct slot *s, const struct camera_answer *a, struct blob *body,
                       struct fetch_result *result, struct blob **ret, struct err *e)
{
    struct camera_request next = {0};
    int r = s->kind->answer
                ? s->kind->answer(s->cam, s->memory, a, clock_wall(), &next, &result->fault, e)
                : 0;
    if (r == 1) {
        camera_request_done(&s->request);
        s->request = next;
        result->fault = CAMERA_FAULT_OTHER;
        r = send_request(s, e);
        return r < 0 ? r : 1;
    }
    if (r < 0) {
        (void)err_prefix(e, "%s", a->shown); /* the code stays */
        return r;
    }
    result->fault = CAMERA_FAULT_OTHER;
    AUTO(blob) bytes = NULL;
    r = take_bytes(s, body, a->status, &bytes, e);
    if (r < 0)
        return r;
    struct camera_answer picture = *a;
    picture.body = bytes ? bytes->data : NULL;
    picture.size = bytes ? bytes->size : 0;
    r = camera_judge(s->cam, &picture, &result->fault, e);
    if (r == 0)
        *ret = STEAL(bytes);
    return r;
}

/* What the header of an answer lacks may be what this camera always does. */
static void add_hint(const struct httpc_response *r, struct err *e)
{
    if (r->failure == HTTPC_FAIL_REPLY && strstr(e->text, "no HTTP header")) {
        (void)text_format(e->text + strlen(e->text), sizeof(e->text) - strlen(e->text),
                          ": set http09 = true if this camera always does so");
    } else if (r->failure == HTTPC_FAIL_REQUEST && e->code == -EPERM) {
        (void)text_format(e->text + strlen(e->text), sizeof(e->text) - strlen(e->text),
                          ": see allow_hosts in [rabbitmq]");
    } else if (r->failure == HTTPC_FAIL_TLS && e->code == -EKEYREJECTED) {
        (void)text_format(e->text + strlen(e->text), sizeof(e->text) - strlen(e->text),
                          ": see tls_ca_file, tls_pin, tls_verify");
    } else if (r->failure == HTTPC_FAIL_TLS && e->code == -EPROTO) {
        (void)text_format(e->text + strlen(e->text), sizeof(e->text) - strlen(e->text),
                          ": an old camera may need tls_legacy = true");
    }
}

static void on_answer(void *arg, const struct httpc_response *r)
{
    struct slot *s = arg;
    struct err error = {0};
    AUTO(blob) bytes = NULL;
    struct fetch_result result = {.error = &error, .retry_after_s = -1};
    if (r->code < 0) {
        error = *r->error;
        result.code = r->code;
        result.fault = CAMERA_FAULT_OTHER;
        add_hint(r, &error);
        metric_inc(&faults_total, httpc_failure_names[r->failure]);
        finish(s, &result);
        return;
    }
    const struct camera_answer a = {
        .shown = r->shown,
        .status = r->status,
        .content_type = r->content_type[0] ? r->content_type : NULL,
        .body = r->body ? r->body->data : NULL,
        .size = r->body ? r->body->size : 0,
        .retry_after_s = (long)r->retry_after_s,
        .login_sent = r->login_sent || s->request.login_inside,
        .offers_basic = r->offers_basic,
        .offers_digest = r->offers_digest,
        .redirects = r->redirects,
    };
    result.retry_after_s = a.retry_after_s;
    result.code = take_answer(s, &a, r->body, &result, &bytes, &error);
    if (result.code == 1)
        return;
    if (result.code < 0)
        metric_inc(&faults_total, camera_fault_names[result.fault]);
    else
        result.freshness = judge_freshness(s, bytes, r->date_s, r->last_modified_s);
    result.bytes = bytes;
    finish(s, &result);
}

static void on_program(void *arg, const struct runner_result *r)
{
    struct slot *s = arg;
    s->job = NULL;
    struct err error = {0};
    AUTO(blob) bytes = NULL;
    struct fetch_result result = {
        .error = &error,
        .retry_after_s = -1,
        .code = r->code,
        .fault = CAMERA_FAULT_OTHER,
    };
    const struct camera_answer a = {
        .shown = r->shown,
        .body = r->output ? r->output->data : NULL,
        .size = r->output ? r->output->size : 0,
        .retry_after_s = -1,
        .login_sent = s->request.login_inside,
        .exit_status = r->exit_status,
        .complaint = r->complaint,
    };
    if (r->code < 0)
        error = *r->error;
    else
        result.code = take_answer(s, &a, r->output, &result, &bytes, &error);
    if (result.code < 0)
        metric_inc(&faults_total, r->code < 0 ? "program" : camera_fault_names[result.fault]);
    else
        result.freshness = judge_freshness(s, bytes, -1, -1);
    result.bytes = bytes;
    finish(s, &result);
}

/* The picture is there, or will not come: notes it and tells the caller. */
static void finish(struct slot *s, struct fetch_result *result)
{
    struct fetcher *f = s->fetcher;
    result->ticket = s->ticket;
    result->elapsed_ms = mono_diff_ms(clock_mono(), s->started);
    if (result->code < 0) {
        metric_inc(&failures_total, s->name);
        note_failure(s, result);
    } else {
        metric_inc(&pictures_total, s->name);
        metric_observe(&answer_seconds, s->name, result->elapsed_ms / 1000);
        note_success(s, result);
    }
    camera_request_done(&s->request);
    s->busy = false;
    s->cam = NULL;
    f->in_flight--;
    /* Last: the caller may start the next request or forget the camera. The name must outlive that.
     */
    AUTO_FREE char *name = xstrdup(s->name);
    result->camera = name;
    f->done(f->arg, result);
}
