/* Fetch: asks cameras for the pictures that triggers wish for, all cameras at once.
 *
 * The ledger holds the triggers; this stage holds only "flights": triggers that it is working on.
 * A flight asks the camera, then hands the bytes to intake, then waits until intake says what
 * became of them. Only intake ends a trigger with a picture, in the same transaction that records
 * it; only this stage ends one without. What dies in between is still pending in the ledger, and is
 * asked for again at the next start.
 *
 * A flight may ask more than once and keeps the best of what came: in a burst, or when the picture
 * is stale, which is given one more chance. What it has is never given up for what it wants: when a
 * further attempt fails, or the program stops, the best so far is the picture.
 *
 * Of a burst all pictures that could be the best are kept while there is a detector, and the choose
 * stage takes them on the way to intake; else, and when it has no time, the sharpest is the best.
 */

#include "stage/pipeline.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/text.h"
#include "camera/camera_overlay.h"
#include "camera/fetcher.h"
#include "picture/sharpness.h"

/* Flights at once: each holds one picture, and a burst's rivals of it; one per camera, so this
 * bounds cameras working at once. */
#define FLIGHTS_MAX 256
/* Items on the edge to intake, each with its bytes. */
#define FETCHED_DEPTH 8
/* Bursts on the edge to choose, which works on one at a time. */
#define BURST_DEPTH 1
/* How long a burst waits for room on that edge: a detector that cannot keep up with the bursts must
 * not hold up their triggers. */
#define CHOICE_WAIT_MS 5000
/* Of all pictures that wait beside a sharper one of their burst; what does not fit is decided by
 * sharpness. Enough for 64 cameras with bursts of five pictures of 200 kB. */
#define RIVAL_BYTES_MAX ((size_t)64 << 20)
/* Pause between repeats after the quick tries are used up: 1 s doubling to this. */
#define BACKOFF_MAX_MS 30000
#define SWEEP_MS 1000
#define HOLD_MS 3000
/* Triggers looked at in a sweep: all that are in flight, which are due still, and new ones behind
 * them. */
#define DUE_MAX (FLIGHTS_MAX + 64)
/* Pause when a request could not even be started (no memory, no descriptors). */
#define START_PAUSE_MS 5000
#define HAND_OVER_RETRY_MS 20
/* How long a stop waits for cameras that were asked already. What they would have sent is asked for
 * again at the next start. */
#define STOP_ASKING_MS 1000

enum flight_state {
    FLIGHT_FREE,
    FLIGHT_ASKING,
    FLIGHT_PAUSING,   /* has a picture, and asks for another at `hold_until` */
    FLIGHT_ANSWERED,  /* the fetcher has told its result, nothing was done about it yet */
    FLIGHT_RECORDING, /* without a picture, and the ledger does not take that down just now */
    FLIGHT_HANDING,
    FLIGHT_HANDED,
    FLIGHT_HOLDING, /* intake could not keep the picture (disk full) */
};

/* What is waited for stands in memory: the ledger may be unable to write it down just then, and
 * cameras must not be asked in a storm. */
struct flight {
    enum flight_state state;
    struct trigger trigger;
    struct settings *settings; /* keeps the camera's strings alive while it is asked */
    const struct camera *camera;
    struct camera_overlay overlay; /* `camera`, when its address came with the trigger */
    struct fetched *item;          /* the best picture so far; NULL = none */
    struct fetched *newer;         /* answered with a picture */
    size_t rival_bytes;            /* of the pictures behind `item` */
    int burst_left;                /* pictures still to ask for */
    bool asked_again;              /* because of a stale one */
    struct mono_time asked_at;     /* the first time */
    int code;                      /* answered without: as the fetcher said */
    enum err_retry retry;
    long retry_after_s;
    char why[TRIGGER_ERROR_MAX];
    bool final;                  /* recording: the trigger ends, else it is tried again */
    struct wall_time not_before; /* recording: of the next attempt */
    struct mono_time hold_until; /* pausing, holding, recording; handing: for a choice */
};

struct fetch_self {
    struct pipeline *pipeline;
    struct stage *stage;
    struct ledger *ledger;
    struct fetcher *fetcher;
    struct bus_out *to_choose, *to_intake;
    struct flight flights[FLIGHTS_MAX];
    int flying;
    struct settings *seen;           /* whose cameras the fetcher knows */
    struct trigger due[DUE_MAX];     /* scratch of a sweep; too much for the stack */
    struct mono_time stop_asking_at; /* set when the drain begins */
    /* Around each use of the fetcher and nothing else: the API asks for camera states from its own
     * thread, and must not wait for the disk. */
    pthread_mutex_t status_lock;
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

static struct metric stale_total = {.name = "snapshotd_camera_stale_total",
                                    .kind = METRIC_COUNTER,
                                    .label = "camera",
                                    .help = "Pictures that did not change, or were old"};
static struct metric burst_total = {.name = "snapshotd_burst_pictures_total",
                                    .kind = METRIC_COUNTER,
                                    .label = "camera",
                                    .help = "Pictures of bursts, the ones that were not kept too"};

static void register_metrics(void)
{
    metric_register(&stale_total);
    metric_register(&burst_total);
    metric_register(&fetches);
    metric_register(&fetch_seconds);
    metric_register(&trigger_ends);
}

static void end_flight(struct fetch_self *f, struct flight *fl)
{
    fetched_unref(fl->item);
    fetched_unref(fl->newer);
    settings_unref(fl->settings);
    *fl = (struct flight){0};
    f->flying--;
}

/* Milliseconds since the trigger was accepted. */
static int64_t age_ms(const struct trigger *t)
{
    return MAX((ledger_now().us - t->accepted_at.us) / 1000, (int64_t)0);
}

/* Ends a trigger without a picture. What is no longer pending needs no end. */
static int fail_trigger(struct fetch_self *f, const struct flight *fl, struct err *e)
{
    const struct trigger *t = &fl->trigger;
    const char *why = fl->why;
    int r = ledger_trigger_fail(f->ledger, t, why, e);
    if (r == -EALREADY)
        return 0;
    if (r < 0)
        return r;
    int attempts = t->attempts + 1;
    log_warn("trigger-failed", "no picture after %d attempt%s: %s", attempts,
             attempts == 1 ? "" : "s", why);
    metric_inc(&trigger_ends, t->camera);
    if (!fl->camera)
        pipeline_count_error(PIPELINE_UNKNOWN_CAMERA);
    else if (camera_is_enabled(fl->camera)) /* else people wanted no picture */
        pipeline_count_error(PIPELINE_NO_PICTURE);
    stage_count_failed(f->stage, why);
    pipeline_outcome(f->pipeline, t->id);
    return 0;
}

/* Writes down how a flight without a picture ended. When the ledger takes nothing the flight stays,
 * and only the writing is tried again: asking the camera once more would send it a password that it
 * has rejected, or knock at a dead address, as fast as the loop turns. */
static void record_end(struct fetch_self *f, struct flight *fl)
{
    struct err e = {0};
    int r = fl->final ? fail_trigger(f, fl, &e)
                      : ledger_trigger_retry(f->ledger, &fl->trigger, fl->not_before, fl->why, &e);
    if (r == 0 || r == -EALREADY) {
        end_flight(f, fl);
        return;
    }
    log_error("ledger-failed", "record the end of an attempt: %s; trying again", e.text);
    fl->state = FLIGHT_RECORDING;
    fl->hold_until = mono_add_ms(clock_mono(), HOLD_MS);
}

static void end_with(struct fetch_self *f, struct flight *fl, const char *why)
{
    if (why != fl->why)
        text_copy(fl->why, sizeof(fl->why), why);
    fl->final = true;
    record_end(f, fl);
}

/* Not later than the moment at which the trigger is given up. */
static void retry_after(struct fetch_self *f, struct flight *fl, int64_t delay_ms)
{
    delay_ms = MIN(delay_ms, MAX(fl->camera->give_up_ms - age_ms(&fl->trigger), (int64_t)SWEEP_MS));
    fl->final = false;
    fl->not_before = (struct wall_time){ledger_now().us + delay_ms * 1000};
    record_end(f, fl);
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

static void fetch_failed(struct fetch_self *f, struct flight *fl)
{
    const struct trigger *t = &fl->trigger;
    const struct camera *cam = fl->camera;
    int attempts = t->attempts + 1;
    metric_inc(&fetches, fl->code == -ECANCELED ? "cancelled" : "failed");
    if (fl->code == -ECANCELED) {
        end_flight(f, fl); /* we are stopping: the trigger stays pending as it is */
        return;
    }
    if (fl->retry == ERR_NEVER || age_ms(t) >= cam->give_up_ms) {
        end_with(f, fl, fl->why);
        return;
    }
    int64_t pause = pause_ms(cam, attempts, fl->retry, fl->retry_after_s);
    log_info("fetch-failed", "attempt %d: %s; again in %lld ms", attempts, fl->why,
             (long long)pause);
    retry_after(f, fl, pause);
}

static void drop_rivals(struct flight *fl)
{
    fetched_unref(STEAL(fl->item->rival));
    fl->rival_bytes = 0;
}

/* Gives the item to intake, or a burst to choose; when that edge is full the flight waits for the
 * next sweep. */
static void hand_over(struct fetch_self *f, struct flight *fl)
{
    bool stopping = f->stop_asking_at.us != 0;
    if (fl->item->rival && (stopping || mono_passed(fl->hold_until))) {
        log_info("burst", "the sharpest picture is kept: %s",
                 stopping ? "the program stops" : "the detector is busy with other bursts");
        drop_rivals(fl);
    }
    struct bus_out *out = fl->item->rival ? f->to_choose : f->to_intake;
    (void)atomic_fetch_add(&fl->item->refs, 1);
    fl->state = FLIGHT_HANDING;
    if (bus_send(out, fl->item, fetched_unref) == 0)
        fl->state = FLIGHT_HANDED;
    else
        fetched_unref(fl->item);
}

/* Nothing more is asked for. */
static void complete(struct fetch_self *f, struct flight *fl)
{
    stage_count_done(f->stage);
    fl->hold_until = mono_add_ms(clock_mono(), CHOICE_WAIT_MS);
    hand_over(f, fl);
}

/* What came so far has to do. */
static void settle_for_item(struct fetch_self *f, struct flight *fl)
{
    if (fl->code < 0) {
        metric_inc(&fetches, fl->code == -ECANCELED ? "cancelled" : "failed");
        log_info("fetch-failed", "a further picture: %s; what is there has to do", fl->why);
    }
    complete(f, fl);
}

/* Inside the fetcher and under the lock: keeps what it says for handle_answers(). */
static void fetch_done(void *arg UNUSED, const struct fetch_result *res)
{
    struct flight *fl = res->ticket;
    fl->state = FLIGHT_ANSWERED;
    fl->code = res->code;
    if (res->code < 0) {
        fl->retry = res->error->retry;
        fl->retry_after_s = res->retry_after_s;
        text_copy(fl->why, sizeof(fl->why), res->error->text);
        return;
    }
    struct fetched *item = xcalloc(1, sizeof(*item));
    atomic_init(&item->refs, 1);
    item->trigger = fl->trigger;
    text_copy(item->directory, sizeof(item->directory), fl->camera->directory);
    item->bytes = blob_ref(res->bytes);
    item->fetch_ms = res->elapsed_ms;
    item->received_at = clock_wall();
    item->rank.freshness = res->freshness;
    fl->newer = item;
}

/* Of all flights. */
static size_t rival_bytes(const struct fetch_self *f)
{
    size_t sum = 0;
    for (int i = 0; i < FLIGHTS_MAX; i++)
        sum += f->flights[i].rival_bytes;
    return sum;
}

/* Beside the sharper one, for the detector to say more; else it is given up. */
static void keep_rival(struct fetch_self *f, struct flight *fl, struct fetched *rival)
{
    size_t size = rival->bytes->size;
    bool asked = fl->camera->burst > 1 && detect_mode_has_local(fl->settings->detect_mode) &&
                 f->pipeline->chooses && f->pipeline->detector;
    bool room = rival_bytes(f) + size <= RIVAL_BYTES_MAX;
    if (asked && !room)
        log_info("burst",
                 "a less sharp picture is given up: bursts that wait for the detector "
                 "may take %zu MB in all",
                 RIVAL_BYTES_MAX >> 20);
    if (!asked || !room) {
        fetched_unref(rival);
        return;
    }
    rival->rival = fl->item->rival;
    fl->item->rival = rival;
    fl->rival_bytes += size;
}

/* Makes the newer picture the best one if it is. */
static void keep_better(struct fetch_self *f, struct flight *fl)
{
    struct fetched *newer = STEAL(fl->newer);
    if (fl->camera->burst > 1) {
        metric_inc(&burst_total, fl->trigger.camera);
        if (picture_sharpness(newer->bytes->data, newer->bytes->size, &fl->settings->limits,
                              &newer->rank.sharpness, &newer->rank.damaged, NULL) < 0)
            newer->rank.damaged = true; /* no worse picture than one without pixels */
    }
    struct fetched *loser = fl->item;
    fl->item = newer;
    if (!loser)
        return;
    const struct burst_rank ranks[] = {loser->rank, newer->rank};
    enum burst_reason why;
    bool better = burst_choose(ranks, 2, &why) == 1;
    /* A stale picture was asked for again: of two of the same rank the later one is of now. */
    better |= fl->camera->burst <= 1 && why == BURST_FIRST;
    if (better) {
        newer->rival = STEAL(loser->rival);
    } else {
        fl->item = loser;
        loser = newer;
    }
    if (why > BURST_WHOLE) {
        keep_rival(f, fl, loser);
        return;
    }
    /* Stale or damaged, which nothing that a detector finds can outweigh. */
    fetched_unref(loser);
    if (better)
        drop_rivals(fl); /* as the loser was */
}

/* Into the life story; without it the picture is no worse. */
static void note_stale(struct fetch_self *f, struct flight *fl, const char *consequence)
{
    char detail[160];
    (void)text_format(detail, sizeof(detail), "%s; %s",
                      fl->item->rank.freshness == CAMERA_STALE_UNCHANGED
                          ? "the picture is, byte for byte, the one before"
                          : "the picture is old by its date",
                      consequence); /* fits */
    struct err e = {0};
    log_info("stale", "%s", detail);
    metric_inc(&stale_total, fl->trigger.camera);
    if (ledger_trigger_note(f->ledger, &fl->trigger, "stale", detail, &e) < 0)
        log_warn("ledger-failed", "note a stale picture: %s", e.text);
}

static void pause_flight(struct flight *fl, struct mono_time until)
{
    fl->state = FLIGHT_PAUSING;
    fl->hold_until = until;
}

/* A picture came: it goes on, or another one is asked for. */
static void fetch_answered(struct fetch_self *f, struct flight *fl)
{
    metric_inc(&fetches, "ok");
    metric_observe(&fetch_seconds, fl->trigger.camera, fl->newer->fetch_ms / 1000);
    keep_better(f, fl);
    const struct camera *cam = fl->camera;
    if (fl->burst_left > 0) {
        int64_t nth = cam->burst - fl->burst_left;
        fl->burst_left--;
        pause_flight(fl, mono_add_ms(fl->asked_at, cam->burst_time_ms * nth / (cam->burst - 1)));
        return;
    }
    bool stale = fl->item->rank.freshness != CAMERA_FRESH;
    if (stale && !fl->asked_again && cam->burst <= 1) {
        fl->asked_again = true;
        note_stale(f, fl, "asked once more");
        pause_flight(fl, mono_add_ms(clock_mono(), cam->retry_delay_ms));
        return;
    }
    if (stale)
        note_stale(f, fl, "kept all the same");
    complete(f, fl);
}

/* True when one of them waits now to ask again. */
static bool handle_answers(struct fetch_self *f)
{
    bool paused = false;
    for (int i = 0; i < FLIGHTS_MAX && f->flying; i++) {
        struct flight *fl = &f->flights[i];
        if (fl->state != FLIGHT_ANSWERED)
            continue;
        log_context_camera(fl->trigger.camera);
        log_context_snapshot(fl->trigger.id);
        pipeline_tell(f->pipeline, NEWS_CAMERA, fl->trigger.camera);
        if (fl->code == 0)
            fetch_answered(f, fl);
        else if (fl->item)
            settle_for_item(f, fl);
        else
            fetch_failed(f, fl);
        paused |= fl->state == FLIGHT_PAUSING;
        log_context_camera(NULL);
        log_context_snapshot(NULL);
    }
    return paused;
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

/* How long a camera is to be left alone, at least a sweep. */
static int64_t spared_ms(struct fetch_self *f, const struct camera *cam)
{
    struct camera_status st;
    pthread_mutex_lock(&f->status_lock);
    fetcher_status(f->fetcher, cam->name, &st);
    pthread_mutex_unlock(&f->status_lock);
    int64_t until = st.state == CAMERA_STATE_OPEN ? mono_until_ms(st.open_until) : 0;
    return MAX(until, (int64_t)SWEEP_MS);
}

/* Starts to work on one trigger; false when there is no room for more. */
static bool start_flight(struct fetch_self *f, const struct trigger *t)
{
    struct flight *fl = free_flight(f);
    if (!fl)
        return false;
    AUTO(settings) now = pipeline_settings(f->pipeline);
    const struct camera *cam = camera_set_find(now->cameras, t->camera);
    *fl = (struct flight){.state = FLIGHT_ASKING, .trigger = *t, .camera = cam};
    fl->asked_at = clock_mono();
    fl->burst_left = cam ? MAX(cam->burst, 1) - 1 : 0;
    fl->settings = settings_ref(now);
    f->flying++;
    if (!cam || !camera_is_enabled(cam)) {
        end_with(f, fl,
                 cam ? "the camera is switched off"
                     : "the camera is not in the configuration any more");
        return true;
    }
    /* A picture of now says nothing of an event of long ago: what waited too long, behind a slow
     * camera or while the program was not running, ends here. */
    if (age_ms(t) >= cam->give_up_ms) {
        char why[TRIGGER_ERROR_MAX];
        (void)text_format(why, sizeof(why), "not asked in time: accepted %lld s ago",
                          (long long)age_ms(t) / 1000); /* fits */
        end_with(f, fl, t->error[0] ? t->error : why);
        return true;
    }
    if (t->address[0] && !camera_is_fetchable(cam)) {
        camera_overlay_fill(&fl->overlay, cam, t, now->cameras, now->allow_hosts);
        cam = fl->camera = &fl->overlay.camera;
    }
    struct err e = {0};
    bool by_person = t->origin == TRIGGER_API && t->attempts == 0;
    pthread_mutex_lock(&f->status_lock);
    int r = fetcher_start(f->fetcher, cam, by_person, fl, &e);
    pthread_mutex_unlock(&f->status_lock);
    if (r == 0)
        return true;
    text_copy(fl->why, sizeof(fl->why), e.text);
    if (r == -EBUSY)
        end_flight(f, fl); /* its turn comes when the camera has answered */
    else if (r == -EAGAIN)
        retry_after(f, fl, spared_ms(f, cam));
    else if (e.retry != ERR_NEVER)
        retry_after(f, fl, START_PAUSE_MS);
    else
        end_with(f, fl, fl->why);
    return true;
}

/* Asks for a further picture; when the camera may not be asked what is there has to do. */
static void ask_again(struct fetch_self *f, struct flight *fl)
{
    struct err e = {0};
    fl->state = FLIGHT_ASKING;
    pthread_mutex_lock(&f->status_lock);
    int r = fetcher_start(f->fetcher, fl->camera, false, fl, &e);
    pthread_mutex_unlock(&f->status_lock);
    if (r == 0)
        return;
    fl->code = r;
    text_copy(fl->why, sizeof(fl->why), e.text);
    settle_for_item(f, fl);
}

static void go_on(struct fetch_self *f, struct flight *fl)
{
    if (f->stop_asking_at.us)
        settle_for_item(f, fl);
    else
        ask_again(f, fl);
}

/* Goes on with the flights that wait for something else than their camera. */
static void advance_flights(struct fetch_self *f)
{
    for (int i = 0; i < FLIGHTS_MAX && f->flying; i++) {
        struct flight *fl = &f->flights[i];
        log_context_camera(fl->trigger.camera);
        log_context_snapshot(fl->trigger.id);
        if (fl->state == FLIGHT_PAUSING && (mono_passed(fl->hold_until) || f->stop_asking_at.us))
            go_on(f, fl);
        if (fl->state == FLIGHT_HANDING)
            hand_over(f, fl);
        if (fl->state == FLIGHT_RECORDING && mono_passed(fl->hold_until))
            record_end(f, fl);
        if (fl->state == FLIGHT_HOLDING && mono_passed(fl->hold_until))
            end_flight(f, fl);
        if (fl->state != FLIGHT_HANDED)
            continue;
        if (f->stop_asking_at.us)
            atomic_store(&fl->item->hurried, true);
        int outcome = atomic_load(&fl->item->outcome);
        if (outcome == FETCHED_RECORDED)
            end_flight(f, fl);
        if (outcome == FETCHED_REFUSED) {
            fetched_unref(STEAL(fl->item));
            fl->state = FLIGHT_HOLDING;
            fl->hold_until = mono_add_ms(clock_mono(), HOLD_MS);
        }
    }
    log_context_camera(NULL);
    log_context_snapshot(NULL);
}

static bool camera_is_flying(const struct fetch_self *f, const char *camera)
{
    for (int i = 0; i < FLIGHTS_MAX && f->flying; i++)
        if (f->flights[i].state != FLIGHT_FREE && strcmp(f->flights[i].trigger.camera, camera) == 0)
            return true;
    return false;
}

/* After a reload: cameras that left the configuration are forgotten, as soon as nothing is under
 * way with them. */
static void follow_settings(struct fetch_self *f)
{
    AUTO(settings) now = pipeline_settings(f->pipeline);
    if (now == f->seen)
        return;
    bool all = true;
    for (size_t i = 0; f->seen && i < camera_set_count(f->seen->cameras); i++) {
        const char *name = camera_set_at(f->seen->cameras, i)->name;
        if (camera_set_find(now->cameras, name))
            continue;
        if (camera_is_flying(f, name)) {
            all = false;
            continue;
        }
        pthread_mutex_lock(&f->status_lock);
        fetcher_forget(f->fetcher, name);
        pthread_mutex_unlock(&f->status_lock);
    }
    if (!all)
        return;
    settings_unref(f->seen);
    f->seen = STEAL(now);
}

static int64_t fetch_sweep(void *self)
{
    struct fetch_self *f = self;
    advance_flights(f);
    follow_settings(f);
    struct err e;
    int n = ledger_trigger_due(f->ledger, ledger_now(), f->due, DUE_MAX, &e);
    if (n < 0)
        log_error("ledger-failed", "look for triggers: %s", e.text);
    for (int i = 0; i < n; i++) {
        const struct trigger *t = &f->due[i];
        if (is_flying(f, t))
            continue;
        log_context_camera(t->camera);
        log_context_snapshot(t->id);
        bool room = start_flight(f, t);
        log_context_camera(NULL);
        log_context_snapshot(NULL);
        if (!room)
            break;
        stage_heartbeat(f->stage);
    }
    stage_set_queued(f->stage, f->flying);
    int64_t pause = SWEEP_MS;
    for (int i = 0; i < FLIGHTS_MAX && f->flying; i++) {
        const struct flight *fl = &f->flights[i];
        if (fl->state == FLIGHT_HANDING)
            pause = MIN(pause, (int64_t)HAND_OVER_RETRY_MS);
        if (fl->state == FLIGHT_PAUSING)
            pause = MIN(pause, (int64_t)mono_until_ms(fl->hold_until));
    }
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
        r = bus_out_open(f->pipeline->bus, EDGE_FETCHED, 1, FETCHED_DEPTH, &f->to_intake, e);
    if (r == 0)
        r = bus_out_open(f->pipeline->bus, EDGE_BURST, 1, BURST_DEPTH, &f->to_choose, e);
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
    bool paused = handle_answers(f);
    /* A camera is free again: its next trigger may be waiting; or the next sweep has to be sooner.
     */
    if ((f->flying < before || paused) && !stage_stopping(f->stage))
        stage_wake(f->stage);
}

/* Cameras that are still asked for a better picture have had their time. */
static void cut_short(struct fetch_self *f)
{
    for (int i = 0; i < FLIGHTS_MAX; i++) {
        const struct flight *fl = &f->flights[i];
        if (fl->state != FLIGHT_ASKING || !fl->item)
            continue;
        pthread_mutex_lock(&f->status_lock);
        fetcher_forget(f->fetcher, fl->trigger.camera);
        pthread_mutex_unlock(&f->status_lock);
    }
    handle_answers(f);
}

static bool fetch_idle(void *self)
{
    struct fetch_self *f = self;
    if (f->stop_asking_at.us == 0)
        f->stop_asking_at = mono_add_ms(clock_mono(), STOP_ASKING_MS);
    advance_flights(f);
    bool patient = !mono_passed(f->stop_asking_at);
    if (!patient)
        cut_short(f);
    for (int i = 0; i < FLIGHTS_MAX; i++) {
        enum flight_state state = f->flights[i].state;
        /* What is handed over already is waited for: choose and intake are still there. */
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
    settings_unref(STEAL(f->seen));
    bus_out_close(f->to_choose);
    bus_out_close(f->to_intake);
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
    .register_metrics = register_metrics,
    .init = fetch_init,
    .sweep = fetch_sweep,
    .fd = fetch_fd,
    .ready = fetch_ready,
    .idle = fetch_idle,
    .fini = fetch_fini,
};
