/* Fetch: asks cameras for the pictures that triggers wish for, all cameras at once.
 *
 * The ledger holds the triggers; this stage holds only "flights": triggers that it is working on.
 * A flight asks the camera, then hands the bytes to intake, then waits until intake says what
 * became of them. Only intake ends a trigger with a picture, in the same transaction that records
 * it; only this stage ends one without. What dies in between is still pending in the ledger, and is
 * asked for again at the next start. */

#include "stage/pipeline.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/text.h"
#include "camera/fetcher.h"

/* Flights at once: each holds one picture; one per camera, so this bounds cameras working at once.
 */
#define FLIGHTS_MAX 256
/* Items on the edge to intake, each with its bytes. */
#define FETCHED_DEPTH 8
/* Pause between repeats after the quick tries are used up: 1 s doubling to this. */
#define BACKOFF_MAX_MS 30000
#define SWEEP_MS 1000
#define HOLD_MS 3000
#define HAND_OVER_RETRY_MS 20
/* How long a stop waits for cameras that were asked already. What they would have sent is asked for
 * again at the next start. */
#define STOP_ASKING_MS 1000

/* HOLDING: intake could not keep the picture (disk full). The pause stands in memory, because the
 * ledger may be unable to write it down just then, and cameras must not be asked in a storm. */
enum flight_state { FLIGHT_FREE, FLIGHT_ASKING, FLIGHT_HANDING, FLIGHT_HANDED, FLIGHT_HOLDING };

struct flight {
    enum flight_state state;
    struct trigger trigger;
    struct settings *settings; /* keeps the camera's strings alive while it is asked */
    const struct camera *camera;
    struct fetched *item;
    struct mono_time hold_until;
};

struct fetch_self {
    struct pipeline *pipeline;
    struct stage *stage;
    struct ledger *ledger;
    struct fetcher *fetcher;
    struct bus_out *out;
    struct flight flights[FLIGHTS_MAX];
    int flying;
    struct mono_time stop_asking_at; /* set when the drain begins */
    pthread_mutex_t status_lock;     /* the API asks for camera states from its own thread */
};

static struct metric fetches = {.name = "snapshotd_fetches_total",
                                .kind = METRIC_COUNTER,
                                .label = "result",
                                .help = "Requests to cameras by result"};
static struct metric fetch_seconds = {.name = "snapshotd_fetch_seconds",
                                      .kind = METRIC_HISTOGRAM,
                                      .label = "camera",
                                      .help = "Answer time of a camera for a whole picture"};
static struct metric trigger_ends = {.name = "snapshotd_triggers_failed_total",
                                     .kind = METRIC_COUNTER,
                                     .label = "camera",
                                     .help = "Triggers that ended without a picture"};

void fetch_register_metrics(void)
{
    metric_register(&fetches);
    metric_register(&fetch_seconds);
    metric_register(&trigger_ends);
}

static void end_flight(struct fetch_self *f, struct flight *fl)
{
    fetched_unref(fl->item);
    settings_unref(fl->settings);
    *fl = (struct flight){0};
    f->flying--;
}

/* Ends a trigger without a picture. When even that cannot be written it stays pending and is tried
 * again; nothing is lost. */
static void fail_trigger(struct fetch_self *f, const struct trigger *t, const char *why)
{
    struct err e;
    int r = ledger_trigger_fail(f->ledger, t, why, &e);
    if (r < 0) {
        log_error("ledger-failed", "record a failed trigger: %s", e.text);
        return;
    }
    log_warn("trigger-failed", "no picture after %d attempt%s: %s", t->attempts,
             t->attempts == 1 ? "" : "s", why);
    metric_inc(&trigger_ends, t->camera);
    stage_count_failed(f->stage, why);
    pipeline_outcome(f->pipeline, t->id);
}

static void retry_trigger(struct fetch_self *f, const struct trigger *t, int64_t delay_ms,
                          const char *why)
{
    struct err e;
    struct wall_time not_before = {ledger_now().us + delay_ms * 1000};
    if (ledger_trigger_retry(f->ledger, t, not_before, why, &e) < 0)
        log_error("ledger-failed", "record a retry: %s", e.text);
}

/* Milliseconds since the trigger was accepted. */
static int64_t age_ms(const struct trigger *t)
{
    return MAX((ledger_now().us - t->accepted_at.us) / 1000, (int64_t)0);
}

/* The pause before the next attempt: short ones while quick tries are left, then doubling. */
static int64_t pause_ms(const struct camera *cam, int attempts, enum err_retry retry,
                        long retry_after_s)
{
    if (retry_after_s >= 0)
        return MIN((int64_t)retry_after_s * 1000, (int64_t)BACKOFF_MAX_MS);
    if (retry == ERR_NOW && attempts % MAX(cam->tries, 1) != 0)
        return cam->retry_delay_ms;
    int doublings = MIN(attempts / MAX(cam->tries, 1), 5);
    return MIN((int64_t)1000 << doublings, (int64_t)BACKOFF_MAX_MS);
}

static void fetch_failed(struct fetch_self *f, struct flight *fl, const struct fetch_result *res)
{
    struct trigger t = fl->trigger;
    const struct camera *cam = fl->camera;
    t.attempts++;
    metric_inc(&fetches, res->code == -ECANCELED ? "cancelled" : "failed");
    if (res->code == -ECANCELED)
        return; /* we are stopping: the trigger stays pending as it is */
    bool too_old = age_ms(&t) >= cam->give_up_ms;
    if (res->error->retry == ERR_NEVER || too_old) {
        fail_trigger(f, &t, res->error->text);
        return;
    }
    int64_t pause = pause_ms(cam, t.attempts, res->error->retry, res->retry_after_s);
    log_info("fetch-failed", "attempt %d: %s; again in %lld ms", t.attempts, res->error->text,
             (long long)pause);
    retry_trigger(f, &fl->trigger, pause, res->error->text);
}

/* Gives the item to intake; when its edge is full the flight waits for the next sweep. */
static void hand_over(struct fetch_self *f, struct flight *fl)
{
    (void)atomic_fetch_add(&fl->item->refs, 1);
    fl->state = FLIGHT_HANDING;
    if (bus_send(f->out, fl->item, fetched_unref) == 0)
        fl->state = FLIGHT_HANDED;
    else
        fetched_unref(fl->item);
}

static void fetch_done(void *arg, const struct fetch_result *res)
{
    struct fetch_self *f = arg;
    struct flight *fl = res->ticket;
    log_context_camera(fl->trigger.camera);
    log_context_snapshot(fl->trigger.id);
    if (res->code < 0) {
        fetch_failed(f, fl, res);
        end_flight(f, fl);
    } else {
        metric_inc(&fetches, "ok");
        metric_observe(&fetch_seconds, fl->trigger.camera, res->elapsed_ms / 1000);
        struct fetched *item = xcalloc(1, sizeof(*item));
        atomic_init(&item->refs, 1);
        item->trigger = fl->trigger;
        text_copy(item->directory, sizeof(item->directory), fl->camera->directory);
        item->bytes = blob_ref(res->bytes);
        item->fetch_ms = res->elapsed_ms;
        item->received_at = clock_wall();
        fl->item = item;
        hand_over(f, fl);
        stage_count_done(f->stage);
    }
    log_context_camera(NULL);
    log_context_snapshot(NULL);
}

static struct flight *free_flight(struct fetch_self *f)
{
    for (int i = 0; i < FLIGHTS_MAX; i++)
        if (f->flights[i].state == FLIGHT_FREE)
            return &f->flights[i];
    return NULL;
}

static bool is_flying(const struct fetch_self *f, const struct trigger *t)
{
    for (int i = 0; i < FLIGHTS_MAX && f->flying; i++)
        if (f->flights[i].state != FLIGHT_FREE && strcmp(f->flights[i].trigger.id, t->id) == 0)
            return true;
    return false;
}

/* Starts to work on one trigger; false when there is no room for more. */
static bool start_flight(struct fetch_self *f, const struct trigger *t)
{
    struct flight *fl = free_flight(f);
    if (!fl)
        return false;
    AUTO(settings) now = pipeline_settings(f->pipeline);
    const struct camera *cam = camera_set_find(now->cameras, t->camera);
    if (!cam || !cam->enabled) {
        fail_trigger(f, t,
                     cam ? "the camera is switched off in the configuration"
                         : "the camera is not in the configuration any more");
        return true;
    }
    /* A picture of now says nothing of an event of long ago: what waited too long, behind a slow
     * camera or while the program was not running, ends here. */
    if (age_ms(t) >= cam->give_up_ms) {
        char why[TRIGGER_ERROR_MAX];
        (void)text_format(why, sizeof(why), "not asked in time: accepted %lld s ago",
                          (long long)age_ms(t) / 1000); /* fits */
        fail_trigger(f, t, t->error[0] ? t->error : why);
        return true;
    }
    struct err e = {0};
    *fl = (struct flight){.state = FLIGHT_ASKING, .trigger = *t, .camera = cam};
    fl->settings = settings_ref(now);
    f->flying++;
    bool by_person = t->origin == TRIGGER_API && t->attempts == 0;
    int r = fetcher_start(f->fetcher, cam, by_person, fl, &e);
    if (r == 0)
        return true;
    end_flight(f, fl);
    if (r == -EBUSY)
        return true; /* its turn comes when the camera has answered */
    if (e.retry != ERR_NEVER)
        retry_trigger(f, t, SWEEP_MS, e.text);
    else
        fail_trigger(f, t, e.text);
    return true;
}

static void collect_handed(struct fetch_self *f)
{
    for (int i = 0; i < FLIGHTS_MAX && f->flying; i++) {
        struct flight *fl = &f->flights[i];
        if (fl->state == FLIGHT_HANDING)
            hand_over(f, fl);
        if (fl->state == FLIGHT_HOLDING && mono_passed(fl->hold_until))
            end_flight(f, fl);
        if (fl->state != FLIGHT_HANDED)
            continue;
        int outcome = atomic_load(&fl->item->outcome);
        if (outcome == FETCHED_RECORDED)
            end_flight(f, fl);
        if (outcome == FETCHED_REFUSED) {
            fetched_unref(STEAL(fl->item));
            fl->state = FLIGHT_HOLDING;
            fl->hold_until = mono_add_ms(clock_mono(), HOLD_MS);
        }
    }
}

static int64_t fetch_sweep(void *self)
{
    struct fetch_self *f = self;
    pthread_mutex_lock(&f->status_lock);
    collect_handed(f);
    struct trigger due[64];
    struct err e;
    int n = ledger_trigger_due(f->ledger, ledger_now(), due, ARRAY_LEN(due), &e);
    if (n < 0)
        log_error("ledger-failed", "look for triggers: %s", e.text);
    for (int i = 0; i < n; i++) {
        if (is_flying(f, &due[i]))
            continue;
        log_context_camera(due[i].camera);
        log_context_snapshot(due[i].id);
        bool room = start_flight(f, &due[i]);
        log_context_camera(NULL);
        log_context_snapshot(NULL);
        if (!room)
            break;
    }
    stage_set_queued(f->stage, f->flying);
    int64_t pause = SWEEP_MS;
    for (int i = 0; i < FLIGHTS_MAX && f->flying; i++)
        if (f->flights[i].state == FLIGHT_HANDING)
            pause = HAND_OVER_RETRY_MS;
    pthread_mutex_unlock(&f->status_lock);
    struct wall_time next;
    if (ledger_trigger_next(f->ledger, &next, &e) == 0) {
        int64_t until = (next.us - ledger_now().us + 999) / 1000;
        /* One that is due already is in flight or waits for its camera, which wakes us. */
        if (until > 0)
            pause = MIN(pause, until);
    }
    return pause;
}

static int fetch_init(void *self, struct stage *st, struct err *e)
{
    struct fetch_self *f = self;
    f->stage = st;
    int r = ledger_open(f->pipeline->ledger_path, &f->ledger, e);
    if (r == 0)
        r = fetcher_new(fetch_done, f, &f->fetcher, e);
    if (r == 0)
        r = bus_out_open(f->pipeline->bus, EDGE_FETCHED, 1, FETCHED_DEPTH, &f->out, e);
    return r;
}

static int fetch_fd(void *self)
{
    return fetcher_fd(((struct fetch_self *)self)->fetcher);
}

static void fetch_ready(void *self)
{
    struct fetch_self *f = self;
    int before = f->flying;
    pthread_mutex_lock(&f->status_lock);
    fetcher_process(f->fetcher);
    pthread_mutex_unlock(&f->status_lock);
    if (f->flying < before && !stage_stopping(f->stage))
        stage_wake(f->stage); /* a camera is free again: its next trigger may be waiting */
}

static bool fetch_idle(void *self)
{
    struct fetch_self *f = self;
    collect_handed(f);
    if (f->stop_asking_at.us == 0)
        f->stop_asking_at = mono_add_ms(clock_mono(), STOP_ASKING_MS);
    bool patient = !mono_passed(f->stop_asking_at);
    for (int i = 0; i < FLIGHTS_MAX; i++) {
        enum flight_state state = f->flights[i].state;
        /* What is handed over already is waited for: intake is still there. */
        if (state == FLIGHT_HANDING || state == FLIGHT_HANDED ||
            (state == FLIGHT_ASKING && patient))
            return false;
    }
    return true;
}

static void fetch_fini(void *self)
{
    struct fetch_self *f = self;
    pthread_mutex_lock(&f->status_lock);
    fetcher_free(STEAL(f->fetcher));
    pthread_mutex_unlock(&f->status_lock);
    for (int i = 0; i < FLIGHTS_MAX; i++)
        if (f->flights[i].state != FLIGHT_FREE)
            end_flight(f, &f->flights[i]);
    bus_out_close(f->out);
    ledger_close(f->ledger);
}

void *fetch_stage_new(struct pipeline *p)
{
    struct fetch_self *f = xcalloc(1, sizeof(*f));
    f->pipeline = p;
    pthread_mutex_init(&f->status_lock, NULL);
    return f;
}

void fetch_stage_camera_status(void *self, const char *camera, struct camera_status *ret)
{
    struct fetch_self *f = self;
    pthread_mutex_lock(&f->status_lock);
    *ret = (struct camera_status){0};
    if (f->fetcher)
        fetcher_status(f->fetcher, camera, ret);
    pthread_mutex_unlock(&f->status_lock);
}

const struct stage_ops fetch_stage = {
    .name = "fetch",
    .init = fetch_init,
    .sweep = fetch_sweep,
    .fd = fetch_fd,
    .ready = fetch_ready,
    .idle = fetch_idle,
    .fini = fetch_fini,
};
