#include "camera/fetcher.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "base/metrics.h"
#include "base/text.h"
#include "sys/hash.h"
#include "sys/httpc.h"

#define REDIRECTS_MAX 3 /* http to https, host to its name, / to the path */
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

    bool busy;
    const struct camera *cam; /* while busy */
    const struct camera_kind *kind;
    void *ticket;
    bool login_in_url;
};

struct fetcher {
    struct httpc *httpc;
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
static void fill_request(const struct camera *cam, const struct camera_request *made,
                         struct httpc_request *ret);
static void on_answer(void *arg, const struct httpc_response *r);

int fetcher_new(fetch_done_fn *done, void *arg, struct fetcher **ret, struct err *e)
{
    metric_register(&pictures_total);
    metric_register(&failures_total);
    metric_register(&faults_total);
    metric_register(&spared_total);
    metric_register(&answer_seconds);
    struct fetcher *f = xcalloc(1, sizeof(*f));
    int r = httpc_new(&f->httpc, e);
    if (r < 0) {
        free(f);
        return r;
    }
    httpc_set_budget(f->httpc, FETCHER_MEMORY_MAX);
    f->done = done;
    f->arg = arg;
    *ret = f;
    return 0;
}

void fetcher_free(struct fetcher *f)
{
    if (!f)
        return;
    while (f->slot_count)
        fetcher_forget(f, f->slots[f->slot_count - 1]->name);
    httpc_free(f->httpc);
    free(f->slots);
    free(f);
}

int fetcher_fd(const struct fetcher *f)
{
    return httpc_fd(f->httpc);
}

void fetcher_process(struct fetcher *f)
{
    httpc_process(f->httpc);
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

    struct camera_request made = {0};
    r = kind->request(cam, clock_wall(), &made, e);
    if (r < 0)
        return r;
    struct httpc_request req;
    fill_request(cam, &made, &req);
    s->cam = cam;
    s->kind = kind;
    s->ticket = ticket;
    s->login_in_url = made.login_in_url;
    r = httpc_start(s->channel, &req, on_answer, s, e);
    camera_request_done(&made);
    if (r < 0)
        return r;
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

static void slot_free(struct slot *s)
{
    httpc_channel_free(s->channel);
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

static void fill_request(const struct camera *cam, const struct camera_request *made,
                         struct httpc_request *ret)
{
    *ret = (struct httpc_request){
        .url = made->url,
        .shown = made->shown,
        .headers = cam->headers,
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
        .total_timeout_ms = cam->total_timeout_ms,
        .size_max = cam->size_max,
    };
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

static int judge(struct slot *s, const struct httpc_response *r, enum camera_fault *fault,
                 struct err *e)
{
    struct camera_answer a = {
        .shown = r->shown,
        .status = r->status,
        .content_type = r->content_type[0] ? r->content_type : NULL,
        .body = r->body ? r->body->data : NULL,
        .size = r->body ? r->body->size : 0,
        .retry_after_s = (long)r->retry_after_s,
        .login_sent = r->login_sent || s->login_in_url,
        .offers_basic = r->offers_basic,
        .offers_digest = r->offers_digest,
        .redirects = r->redirects,
    };
    return camera_judge(s->kind, s->cam, &a, fault, e);
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
    struct fetcher *f = s->fetcher;
    struct err error = {0};
    struct fetch_result result = {
        .camera = s->name,
        .ticket = s->ticket,
        .error = &error,
        .elapsed_ms = r->total_ms,
        .retry_after_s = -1,
    };
    if (r->code < 0) {
        error = *r->error;
        result.code = r->code;
        result.fault = CAMERA_FAULT_OTHER;
        add_hint(r, &error);
        metric_inc(&faults_total, httpc_failure_names[r->failure]);
    } else {
        result.retry_after_s = (long)r->retry_after_s;
        result.code = judge(s, r, &result.fault, &error);
        if (result.code < 0)
            metric_inc(&faults_total, camera_fault_names[result.fault]);
    }
    if (result.code < 0) {
        metric_inc(&failures_total, s->name);
        note_failure(s, &result);
    } else {
        result.bytes = r->body;
        metric_inc(&pictures_total, s->name);
        metric_observe(&answer_seconds, s->name, result.elapsed_ms / 1000);
        note_success(s, &result);
    }
    s->busy = false;
    s->cam = NULL;
    f->in_flight--;
    /* Last: the caller may start the next request or forget the camera. The name must outlive that.
     */
    AUTO_FREE char *name = xstrdup(s->name);
    result.camera = name;
    f->done(f->arg, &result);
}
