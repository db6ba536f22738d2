#pragma once
/* What the tests of the flow share: a pipeline with a real bus, ledger and store in a folder of its
 * own; cameras that a thread simulates; a detector and notifiers that do what the test says. The
 * test either starts stages or calls their functions itself. */

#include "../unit/test.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/resource.h>

#include "../unit/camera/sim_fixture.h"
#include "base/log.h"
#include "cfg/cfg.h"
#include "stage/pipeline.h"
#include "stage/stage.h"
#include "sys/hash.h"

/* A thing that has not happened by then will not happen at all. */
#define FLOW_PATIENCE_S 60
#define FLOW_CALLS_MAX 256
#define FLOW_STAGES_MAX 16

/* What a fake answers to its n-th call; the last one stays. */
struct flow_answer {
    int code; /* 0 = good */
    enum err_retry retry;
    bool person;
    float best;     /* score of the best person, when it is asked for */
    unsigned calls; /* that cost money */
};

struct flow;

struct flow_detector {
    struct detector base;
    struct flow *flow;
    int workers;
    const char *model;
    bool held; /* calls wait */
    int inside, inside_max, calls;
    size_t seen[FLOW_CALLS_MAX]; /* picture sizes, in the order of the calls */
    const struct flow_answer *script;
    int script_len;
};

struct flow_notifier {
    struct notifier base;
    struct notifier_ops ops;
    struct flow *flow;
    const struct flow_answer *script;
    int script_len;
    const char *refuses_camera; /* instead of the script: this one's events fail (later) */
    int calls, delivered;
    struct {
        char id[SNAPSHOT_ID_SIZE];
        char camera[SNAPSHOT_KEY_MAX];
        enum verdict_outcome outcome;
        char error[VERDICT_ERROR_MAX];
        char model[VERDICT_MODEL_MAX];
        unsigned persons;
        int attempt;
        bool ok;
    } seen[FLOW_CALLS_MAX];
};

struct flow {
    char dir[64];
    int dir_fd;
    char ledger_path[128], store_path[128];
    struct pipeline p;
    struct ledger *l; /* the test's own connection */
    struct flow_detector detector;
    struct flow_detector cloud;       /* see flow_use_cloud() */
    enum detect_mode mode;            /* of the settings to come */
    struct cloud_config cloud_config; /* likewise */
    struct flow_notifier notifiers[2];
    struct notifier *notifier_list[3];
    const char *destinations[3];
    struct stage *stages[FLOW_STAGES_MAX];
    void *selves[FLOW_STAGES_MAX];
    int stage_count;
    void *fetch; /* self of the fetch stage */
    void *spool; /* of the spool stage */
    struct spool_options spool_options;
    struct spool_folder spool_folders[2];
    struct spool_rules spool_rules; /* of the settings to come */
    const struct push_folder *push_folders;
    size_t push_folder_count;
    struct storage_plan storage_plans[2]; /* of the settings to come */
    size_t storage_count;

    struct camera_sim *sim;
    pthread_t sim_thread;
    int sim_stop_fd;
    char *frames[4]; /* files of the simulated cameras, each of another size */
    size_t frame_sizes[4];
    size_t camera_count;

    /* Whatever happens is told here. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int outcomes;
    struct {
        const char *id;
        int count;
    } lines[8]; /* log lines that the test counts */
    char last_line[ERR_TEXT_MAX];
    int settings_freed;
    size_t blobs_before, snapshots_before;
};

/* Waits until `condition` holds; it is looked at under the lock, after each thing that happened and
 * every few milliseconds, since the ledger does not tell. */
#define FLOW_WAIT(f, condition)                                                                    \
    do {                                                                                           \
        struct timespec until_, now_;                                                              \
        (void)clock_gettime(CLOCK_REALTIME, &until_);                                              \
        until_.tv_sec += FLOW_PATIENCE_S;                                                          \
        pthread_mutex_lock(&(f)->lock);                                                            \
        bool holds_;                                                                               \
        while (!(holds_ = (condition))) {                                                          \
            (void)clock_gettime(CLOCK_REALTIME, &now_);                                            \
            if (now_.tv_sec > until_.tv_sec)                                                       \
                break;                                                                             \
            now_.tv_nsec += 5000000;                                                               \
            if (now_.tv_nsec >= 1000000000) {                                                      \
                now_.tv_nsec -= 1000000000;                                                        \
                now_.tv_sec++;                                                                     \
            }                                                                                      \
            (void)pthread_cond_timedwait(&(f)->changed, &(f)->lock, &now_);                        \
        }                                                                                          \
        pthread_mutex_unlock(&(f)->lock);                                                          \
        if (!holds_)                                                                               \
            CASE_FAILS("never came: %s", #condition);                                              \
    } while (0)

/* A value that other threads change. */
#define FLOW_GET(f, expression)                                                                    \
    ({                                                                                             \
        pthread_mutex_lock(&(f)->lock);                                                            \
        __typeof__(expression) value_ = (expression);                                              \
        pthread_mutex_unlock(&(f)->lock);                                                          \
        value_;                                                                                    \
    })
#define FLOW_SET(f, field, value)                                                                  \
    do {                                                                                           \
        pthread_mutex_lock(&(f)->lock);                                                            \
        (field) = (value);                                                                         \
        pthread_cond_broadcast(&(f)->changed);                                                     \
        pthread_mutex_unlock(&(f)->lock);                                                          \
    } while (0)

/* ---- fakes ---- */

static inline int flow_detect(struct detector *d, const struct detect_request *req,
                              struct verdict *ret, struct err *e)
{
    struct flow_detector *fd = container_of(d, struct flow_detector, base);
    struct flow *f = fd->flow;
    pthread_mutex_lock(&f->lock);
    assert_true(fd->calls < FLOW_CALLS_MAX);
    int call = fd->calls++;
    fd->seen[call] = req->bytes->size;
    fd->inside++;
    fd->inside_max = MAX(fd->inside_max, fd->inside);
    pthread_cond_broadcast(&f->changed);
    while (fd->held)
        pthread_cond_wait(&f->changed, &f->lock);
    fd->inside--;
    struct flow_answer a = {0};
    if (fd->script_len)
        a = fd->script[MIN(call, fd->script_len - 1)];
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
    ret->cloud_calls = a.calls;
    if (a.code < 0)
        return err_set(e, a.code, a.retry, "the detector has its day");
    *ret = (struct verdict){.outcome = VERDICT_EXAMINED,
                            .decode_ms = 1,
                            .infer_ms = 2,
                            .cloud_calls = a.calls,
                            .person_best = req->person_floor > 0 ? a.best : 0};
    text_copy(ret->model, sizeof(ret->model), fd->model);
    if (a.person) {
        ret->found.items = xcalloc(1, sizeof(*ret->found.items));
        ret->found.count = 1;
        ret->found.items[0] =
            (struct detection){.confidence = 0.9f, .has_box = true, .box = {1, 1, 8, 8}};
        text_copy(ret->found.items[0].label, DETECTION_LABEL_MAX, "person");
    }
    return 0;
}

static inline int flow_parallelism(const struct detector *d)
{
    return container_of(d, const struct flow_detector, base)->workers;
}

static const struct detector_ops flow_detector_ops = {
    .name = "fake", .detect = flow_detect, .parallelism = flow_parallelism};
static const struct detector_ops flow_cloud_ops = {
    .name = "cloud", .detect = flow_detect, .parallelism = flow_parallelism};

static inline int flow_deliver(struct notifier *n, const struct event *ev, struct err *e)
{
    struct flow_notifier *fn = container_of(n, struct flow_notifier, base);
    struct flow *f = fn->flow;
    pthread_mutex_lock(&f->lock);
    assert_true(fn->calls < FLOW_CALLS_MAX);
    int call = fn->calls++;
    struct flow_answer a = {0};
    if (fn->script_len)
        a = fn->script[MIN(call, fn->script_len - 1)];
    if (fn->refuses_camera && strcmp(fn->refuses_camera, ev->snapshot->camera) == 0)
        a = (struct flow_answer){-ECONNREFUSED, ERR_LATER, false};
    text_copy(fn->seen[call].id, SNAPSHOT_ID_SIZE, ev->snapshot->id);
    text_copy(fn->seen[call].camera, SNAPSHOT_KEY_MAX, ev->snapshot->camera);
    text_copy(fn->seen[call].error, VERDICT_ERROR_MAX, ev->verdict->error);
    text_copy(fn->seen[call].model, VERDICT_MODEL_MAX, ev->verdict->model);
    fn->seen[call].outcome = ev->verdict->outcome;
    fn->seen[call].persons = verdict_persons(ev->verdict);
    fn->seen[call].attempt = ev->attempt;
    fn->seen[call].ok = a.code == 0;
    fn->delivered += a.code == 0;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
    return a.code < 0 ? err_set(e, a.code, a.retry, "the destination has its day") : 0;
}

static inline void flow_outcome(void *arg, const char *id UNUSED)
{
    struct flow *f = arg;
    pthread_mutex_lock(&f->lock);
    f->outcomes++;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

static inline bool flow_hear(enum log_level level UNUSED, const char *id, const char *text,
                             void *arg)
{
    struct flow *f = arg;
    pthread_mutex_lock(&f->lock);
    for (size_t i = 0; i < ARRAY_LEN(f->lines); i++)
        if (f->lines[i].id && strcmp(f->lines[i].id, id) == 0) {
            f->lines[i].count++;
            text_copy(f->last_line, sizeof(f->last_line), text);
        }
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
    return !getenv("FLOW_LOG"); /* expected trouble is no news */
}

/* From now on these lines are counted; the caller holds the lock when it looks. */
static inline void flow_listen(struct flow *f, const char *id)
{
    pthread_mutex_lock(&f->lock);
    size_t i = 0;
    while (f->lines[i].id)
        assert_true(++i < ARRAY_LEN(f->lines));
    f->lines[i].id = id;
    pthread_mutex_unlock(&f->lock);
}
static inline int flow_heard(struct flow *f, const char *id)
{
    for (size_t i = 0; i < ARRAY_LEN(f->lines); i++)
        if (f->lines[i].id && strcmp(f->lines[i].id, id) == 0)
            return f->lines[i].count;
    return -1;
}

/* ---- settings ---- */

static const struct cfg_section *const flow_sections[] = {&camera_defaults_cfg_section,
                                                          &camera_cfg_section, NULL};
static const struct cfg_schema flow_schema = {.sections = flow_sections};

struct flow_owner {
    struct flow *flow;
    struct cfg *cfg;
};

static inline void flow_release(void *owner)
{
    struct flow_owner *o = owner;
    pthread_mutex_lock(&o->flow->lock);
    o->flow->settings_freed++;
    pthread_cond_broadcast(&o->flow->changed);
    pthread_mutex_unlock(&o->flow->lock);
    cfg_unref(o->cfg);
    free(o);
}

/* Publishes settings with the cameras of this text. */
static inline void flow_configure(struct flow *f, const char *text)
{
    struct flow_owner *o = xcalloc(1, sizeof(*o));
    o->flow = f;
    AUTO_FREE char *faults = NULL;
    static char *no_environment[] = {NULL};
    struct cfg_source source = {.path = "test.conf", .text = text, .environment = no_environment};
    if (cfg_load(&flow_schema, &source, &o->cfg, &faults, NULL) < 0)
        fail_msg("%s", faults ? faults : "?");
    struct err e = {0};
    struct settings *s = xcalloc(1, sizeof(*s));
    *s = (struct settings){.owner = o,
                           .release = flow_release,
                           .detection_enabled = true,
                           .detect_mode = f->mode,
                           .cloud = f->cloud_config,
                           .detect = {.cascade_low = 0.2, .cascade_high = 0.6},
                           .limits = picture_limits_default,
                           .spool = f->spool_rules,
                           .push_folders = f->push_folders,
                           .push_folder_count = f->push_folder_count,
                           .destinations = f->destinations,
                           .storages = f->storage_plans,
                           .storage_count = f->storage_count,
                           .refs = 1};
    if (camera_set_load(o->cfg, &s->cameras, &e) < 0)
        fail_msg("%s", e.text);
    pipeline_publish(&f->p, s);
}

/* Configuration of the simulated cameras c0, c1, ..., each with these further lines. */
static inline char *flow_cameras_text(struct flow *f, const char *extra)
{
    struct dynbuf b;
    dynbuf_init(&b, 65536);
    for (size_t i = 0; i < f->camera_count; i++)
        (void)dynbuf_printf(&b,
                            "[camera:c%zu]\nkind = http\nurl = http://%s/snapshot.jpg\n"
                            "connect_timeout = 20s\nstall_timeout = 20s\ntotal_timeout = 60s\n%s\n",
                            i, camera_sim_address(f->sim, i), extra);
    char *text = xstrdup(dynbuf_str(&b));
    dynbuf_done(&b);
    return text;
}

static inline void flow_use_cameras(struct flow *f, const char *extra)
{
    AUTO_FREE char *text = flow_cameras_text(f, extra);
    flow_configure(f, text);
}

/* ---- simulated cameras ---- */

static inline void *flow_sim_thread(void *arg)
{
    struct flow *f = arg;
    struct err e = {0};
    if (camera_sim_run(f->sim, f->sim_stop_fd, &e) < 0)
        fprintf(stderr, "simulator: %s\n", e.text);
    return NULL;
}

static inline void flow_run_cameras(struct flow *f, const struct camera_sim_source *sources,
                                    size_t count, const struct camera_sim_options *more)
{
    struct err e = {0};
    struct camera_sim_options o = more ? *more : (struct camera_sim_options){0};
    o.listen = "127.0.0.1:0";
    o.sources = sources;
    o.source_count = count;
    if (camera_sim_new(&o, &f->sim, &e) < 0)
        fail_msg("simulator: %s", e.text);
    f->camera_count = count;
    f->sim_stop_fd = eventfd(0, EFD_CLOEXEC);
    assert_int_equal(pthread_create(&f->sim_thread, NULL, flow_sim_thread, f), 0);
}

/* `count` cameras whose pictures have different sizes. */
static inline void flow_add_cameras(struct flow *f, size_t count,
                                    const struct camera_sim_options *more)
{
    assert_true(count <= ARRAY_LEN(f->frames));
    struct camera_sim_source sources[ARRAY_LEN(f->frames)] = {0};
    struct err e = {0};
    for (size_t i = 0; i < count; i++) {
        AUTO_DONE(dynbuf) jpeg;
        make_jpeg(&jpeg, (int)i + 2);
        f->frames[i] = xasprintf("%s/frame%zu.jpg", f->dir, i);
        f->frame_sizes[i] = jpeg.len;
        if (fs_create_synced(AT_FDCWD, f->frames[i], jpeg.data, jpeg.len, 0600, &e) < 0)
            fail_msg("%s", e.text);
        sources[i].path = f->frames[i];
    }
    flow_run_cameras(f, sources, count, more);
}

static inline void flow_sim_get(struct flow *f, size_t i, const char *path, struct dynbuf *ret)
{
    struct sim_fixture s = {.sim = f->sim};
    sim_get(&s, i, path, ret);
}
static inline void flow_sim_fault(struct flow *f, size_t i, const char *fault)
{
    struct sim_fixture s = {.sim = f->sim};
    sim_fault(&s, i, fault);
}
static inline long flow_sim_stat(struct flow *f, size_t i, const char *name)
{
    struct sim_fixture s = {.sim = f->sim};
    return sim_stat(&s, i, name);
}

/* ---- the pipeline ---- */

static inline struct flow *flow_new(int detect_workers, int notifiers)
{
    struct flow *f = xcalloc(1, sizeof(*f));
    f->blobs_before = blob_live_count();
    f->snapshots_before = snapshot_live_count();
    f->dir_fd = test_folder_new(f->dir);
    (void)snprintf(f->ledger_path, sizeof(f->ledger_path), "%s/test.db", f->dir);
    (void)snprintf(f->store_path, sizeof(f->store_path), "%s/store", f->dir);
    pthread_mutexattr_t again; /* a condition may call what writes a log line */
    pthread_mutexattr_init(&again);
    pthread_mutexattr_settype(&again, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&f->lock, &again);
    pthread_mutexattr_destroy(&again);
    pthread_cond_init(&f->changed, NULL);
    log_set_hook(flow_hear, f);
    static const struct stage_ops *const all[] = {
        &fetch_stage,  &choose_stage,   &intake_stage,  &detect_stage, &consult_stage,
        &record_stage, &annotate_stage, &deliver_stage, &spool_stage,  &upload_stage};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (all[i]->register_metrics)
            all[i]->register_metrics();
    f->detector.base.ops = &flow_detector_ops;
    f->detector.flow = f->cloud.flow = f;
    f->detector.model = "fake.onnx";
    f->cloud.base.ops = &flow_cloud_ops;
    f->cloud.model = "fake cloud";
    f->detector.workers = detect_workers;
    static const char *const names[] = {"first", "second"};
    for (int i = 0; i < notifiers; i++) {
        struct flow_notifier *n = &f->notifiers[i];
        n->flow = f;
        n->ops = (struct notifier_ops){.name = names[i], .deliver = flow_deliver};
        n->base.ops = &n->ops;
        f->notifier_list[i] = &n->base;
        f->destinations[i] = names[i];
    }
    struct err e = {0};
    struct pipeline *p = &f->p;
    pthread_mutex_init(&p->lock, NULL);
    if (bus_new(&p->bus, &e) < 0 || ledger_open(f->ledger_path, &f->l, &e) < 0 ||
        store_open(f->store_path, 0, &p->store, &e) < 0)
        fail_msg("%s", e.text);
    p->ledger_path = f->ledger_path;
    p->cache = picture_cache_new(8 << 20);
    p->claims = claims_new();
    p->detector = &f->detector.base;
    p->chooses = true;
    p->doubts = doubts_new();
    f->mode = DETECT_LOCAL;
    p->detect_workers = (unsigned)detect_workers;
    p->notifiers = f->notifier_list;
    p->outcome = flow_outcome;
    p->outcome_arg = f;
    return f;
}

/* As most tests begin: one detector, and cameras that give pictures, with `extra` in each section.
 */
static inline struct flow *flow_new_with_cameras(size_t count, const char *extra)
{
    struct flow *f = flow_new(1, 0);
    flow_add_cameras(f, count, NULL);
    flow_use_cameras(f, extra);
    return f;
}

/* Before the start: so many workers ask the cloud, by these settings, which are to be published. */
static inline void flow_use_cloud(struct flow *f, int workers, enum detect_mode mode)
{
    f->cloud.workers = workers;
    f->mode = mode;
    f->cloud_config.answers_age_ms = 3600 * 1000;
    f->cloud_config.answers_max = 100;
    atomic_store(&f->p.cloud, &f->cloud.base);
}

static inline int flow_start_stage(struct flow *f, const struct stage_ops *ops, void *self,
                                   unsigned index, const char *edge, int depth)
{
    assert_true(f->stage_count < FLOW_STAGES_MAX);
    struct err e = {0};
    struct stage_spec spec = {.ops = ops,
                              .self = self,
                              .index = index,
                              .bus = f->p.bus,
                              .edge_in = edge,
                              .receive_depth = depth};
    if (stage_start(&spec, &f->stages[f->stage_count], &e) < 0)
        fail_msg("%s", e.text);
    f->selves[f->stage_count] = self;
    return f->stage_count++;
}

enum flow_stages {
    FLOW_DELIVER = 1,
    FLOW_DETECT = 2,
    FLOW_INTAKE = 4,
    FLOW_FETCH = 8,
    FLOW_ANNOTATE = 16,
    FLOW_CHOOSE = 32,
    FLOW_ALL = 63,
    FLOW_SPOOL = 64,
};

/* Consumers first, like the program. */
static inline void flow_start(struct flow *f, int which)
{
    for (unsigned i = 0; f->notifier_list[i] && which & FLOW_DELIVER; i++) {
        int n = flow_start_stage(f, &deliver_stage, deliver_stage_new(&f->p, f->notifier_list[i]),
                                 i, NULL, 0);
        atomic_store(&f->p.woken[PIPELINE_DELIVER][i], f->stages[n]);
    }
    if (which & FLOW_ANNOTATE)
        flow_start_stage(f, &annotate_stage, annotate_stage_new(&f->p), 0, EDGE_PROMISED, 16);
    if (which & FLOW_DETECT)
        flow_start_stage(f, &record_stage, record_stage_new(&f->p), 0, EDGE_JUDGED, 8);
    for (int i = 0; f->p.cloud && i < f->cloud.workers && which & FLOW_DETECT; i++) {
        int n = flow_start_stage(f, &consult_stage, consult_stage_new(&f->p), (unsigned)i, NULL, 0);
        atomic_store(&f->p.woken[PIPELINE_CONSULT][i], f->stages[n]);
    }
    for (unsigned i = 0; i < f->p.detect_workers && which & FLOW_DETECT; i++) {
        int n = flow_start_stage(f, &detect_stage, detect_stage_new(&f->p), i, EDGE_STORED, 1);
        atomic_store(&f->p.woken[PIPELINE_DETECT][i], f->stages[n]);
    }
    if (which & FLOW_INTAKE) {
        int n = flow_start_stage(f, &intake_stage, intake_stage_new(&f->p), 0, EDGE_FETCHED, 8);
        atomic_store(&f->p.woken[PIPELINE_INTAKE][0], f->stages[n]);
    }
    if (which & FLOW_CHOOSE)
        flow_start_stage(f, &choose_stage, choose_stage_new(&f->p), 0, EDGE_BURST, 1);
    if (which & FLOW_FETCH) {
        f->fetch = fetch_stage_new(&f->p);
        int n = flow_start_stage(f, &fetch_stage, f->fetch, 0, NULL, 0);
        atomic_store(&f->p.woken[PIPELINE_FETCH][0], f->stages[n]);
    }
    if (which & FLOW_SPOOL) {
        f->spool = spool_stage_new(&f->p);
        int n = flow_start_stage(f, &spool_stage, f->spool, 0, NULL, 0);
        atomic_store(&f->p.woken[PIPELINE_SPOOL][0], f->stages[n]);
    }
}

/* Detection and recording without threads: the test calls what the loops would. */
struct flow_by_hand {
    struct flow *flow;
    void *detect, *record;
    struct bus_in *judged;
};

static inline int64_t flow_nothing_to_do(void *self UNUSED)
{
    return 3600000;
}

static inline void flow_by_hand_init(struct flow_by_hand *h, struct flow *f)
{
    static const struct stage_ops idle = {.name = "idle", .sweep = flow_nothing_to_do};
    struct stage *st = f->stages[flow_start_stage(f, &idle, NULL, 0, NULL, 0)];
    struct err e = {0};
    *h = (struct flow_by_hand){f, detect_stage_new(&f->p), record_stage_new(&f->p), NULL};
    if (bus_in_open(f->p.bus, EDGE_JUDGED, 0, 8, &h->judged, &e) < 0 ||
        record_stage.init(h->record, st, &e) < 0 || detect_stage.init(h->detect, st, &e) < 0)
        fail_msg("%s", e.text);
}

/* Records what detection has handed over. */
static inline void flow_by_hand_record(struct flow_by_hand *h)
{
    struct bus_item item;
    int count = 0;
    for (; count < STAGE_BATCH_MAX && bus_receive(h->judged, &item) == 0; count++) {
        record_stage.step(h->record, item.ref);
        bus_item_done(&item);
    }
    if (count)
        record_stage.flush(h->record);
}

static inline int64_t flow_by_hand_sweep(struct flow_by_hand *h)
{
    int64_t pause = detect_stage.sweep(h->detect);
    flow_by_hand_record(h);
    return pause;
}

static inline void flow_by_hand_done(struct flow_by_hand *h)
{
    detect_stage.fini(h->detect);
    record_stage.fini(h->record);
    bus_in_close(h->judged);
    free(h->detect);
    free(h->record);
}

/* By the real clock: tests may have replaced the program's. */
static inline struct mono_time flow_deadline(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (struct mono_time){((int64_t)now.tv_sec + FLOW_PATIENCE_S) * 1000000};
}

/* Stops and joins from the producers down; the last started is the first to go. */
static inline void flow_stop(struct flow *f)
{
    for (int end = f->stage_count; end > 0;) {
        const char *name = NULL;
        int first = end;
        struct stage_status st;
        while (first > 0) { /* a pool stops together */
            stage_status(f->stages[first - 1], &st);
            size_t len = strcspn(st.name, ".");
            if (name && strncmp(name, st.name, len) != 0)
                break;
            name = st.name[0] == 'd'   ? (st.name[2] == 't' ? "detect" : "deliver")
                   : st.name[0] == 'i' ? "intake"
                   : st.name[0] == 'r' ? "record"
                   : st.name[0] == 'a' ? "annotate"
                   : st.name[0] == 'c' ? (st.name[1] == 'o' ? "consult" : "choose")
                   : st.name[0] == 's' ? "spool"
                   : st.name[0] == 'u' ? "upload"
                                       : "fetch";
            first--;
            stage_stop(f->stages[first]);
        }
        for (int i = first; i < end; i++)
            if (stage_join(f->stages[i], flow_deadline()) < 0)
                fail_msg("a stage did not end");
        end = first;
    }
    for (int i = 0; i < PIPELINE_STAGE_COUNT; i++)
        for (int j = 0; j < PIPELINE_POOL_MAX; j++)
            atomic_store(&f->p.woken[i][j], NULL);
    for (int i = 0; i < f->stage_count; i++) {
        stage_free(f->stages[i]);
        free(f->selves[i]);
    }
    f->stage_count = 0;
    f->fetch = NULL;
    f->spool = NULL;
}

/* Ends everything; nothing may be left of the pictures. */
static inline void flow_free(struct flow *f)
{
    flow_stop(f);
    pipeline_publish(&f->p, NULL);
    picture_cache_free(f->p.cache);
    claims_free(f->p.claims);
    doubts_free(f->p.doubts);
    bus_free(f->p.bus);
    store_close(f->p.store);
    ledger_close(f->l);
    if (f->sim) {
        uint64_t one = 1;
        assert_int_equal(write(f->sim_stop_fd, &one, sizeof(one)), sizeof(one));
        pthread_join(f->sim_thread, NULL);
        (void)close(f->sim_stop_fd);
        camera_sim_free(f->sim);
    }
    for (size_t i = 0; i < ARRAY_LEN(f->frames); i++)
        free(f->frames[i]);
    pthread_mutex_destroy(&f->p.lock);
    log_set_hook(NULL, NULL);
    test_folder_remove(f->dir, f->dir_fd);
    assert_int_equal(blob_live_count(), f->blobs_before);
    assert_int_equal(snapshot_live_count(), f->snapshots_before);
    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

/* ---- asking ---- */

static inline void flow_trigger_as(struct flow *f, const char *camera, enum trigger_origin origin,
                                   char ret_id[SNAPSHOT_ID_SIZE])
{
    struct err e = {0};
    struct trigger t;
    if (pipeline_trigger(&f->p, f->l, camera, origin, clock_wall(), &t, &e) < 0)
        fail_msg("%s", e.text);
    if (ret_id)
        text_copy(ret_id, SNAPSHOT_ID_SIZE, t.id);
}
static inline void flow_trigger(struct flow *f, const char *camera, char ret_id[SNAPSHOT_ID_SIZE])
{
    flow_trigger_as(f, camera, TRIGGER_SCHEDULE, ret_id);
}

static inline struct ledger_counts flow_counts(struct flow *f)
{
    struct ledger_counts c = {0};
    struct err e = {0};
    if (ledger_counts(f->l, &c, &e) < 0)
        fail_msg("%s", e.text);
    return c;
}

static inline struct trigger flow_get_trigger(struct flow *f, const char *id)
{
    struct trigger t = {0};
    struct err e = {0};
    if (ledger_trigger_get(f->l, id, &t, &e) < 0)
        fail_msg("%s", e.text);
    return t;
}

/* A copy without bytes, which need not be released. */
static inline struct snapshot flow_get_snapshot(struct flow *f, const char *id)
{
    AUTO(snapshot) s = NULL;
    struct err e = {0};
    if (ledger_snapshot_get(f->l, id, &s, &e) < 0)
        fail_msg("%s", e.text);
    return *s;
}

static inline bool flow_is_recorded(struct flow *f, const char *id)
{
    struct err e = {0};
    return ledger_snapshot_exists(f->l, id, &e) == 1;
}

/* Ledger and files agree with each other and among themselves. Only while no stage runs. */
static inline void flow_assert_sound(struct flow *f)
{
    AUTO_DONE(dynbuf) report;
    struct err e = {0};
    dynbuf_init(&report, 65536);
    int n = ledger_integrity(f->l, &report, &e);
    if (n == 0)
        n = store_check(f->p.store, f->l, &report, &e);
    if (n != 0)
        fail_msg("%d findings: %s%s", n, dynbuf_str(&report), e.text);
}

/* Bytes of `camera` as intake would have left them: a stored row, with its file when `placed`. */
static inline struct snapshot *flow_store_bytes(struct flow *f, const char *camera, int n,
                                                bool placed, const void *data, size_t size)
{
    struct snapshot *s = snapshot_new();
    struct err e = {0};
    snapshot_id_new(clock_wall(), s->id);
    text_copy(s->camera, sizeof(s->camera), camera);
    text_copy(s->device_key, sizeof(s->device_key), camera);
    text_copy(s->device_label, sizeof(s->device_label), camera);
    s->event_at = wall_from_seconds(1700000000 + n);
    s->received_at = clock_wall();
    (void)snprintf(s->path, sizeof(s->path), "%s/2023/11/14/fetch_%s_%d.jpg", camera, camera, n);
    s->size = (int64_t)size;
    hash_md5_hex(data, size, s->md5);
    hash_sha256_hex(data, size, s->sha256);
    text_copy(s->format, sizeof(s->format), "jpeg");
    s->width = s->height = 16;
    s->orientation = 1;
    int r = store_put(f->p.store, s->id, false, data, size, &e);
    if (r == 0)
        r = ledger_snapshot_add(f->l, s, &e);
    if (r == 0 && placed)
        r = store_place(f->p.store, s->id, false, s->path, &e);
    if (r < 0)
        fail_msg("%s", e.text);
    return s;
}

/* A picture that looks like one, as far as its headers go. */
static inline struct snapshot *flow_store(struct flow *f, const char *camera, int n, bool placed)
{
    AUTO_DONE(dynbuf) jpeg;
    make_jpeg(&jpeg, n % 4);
    return flow_store_bytes(f, camera, n, placed, jpeg.data, jpeg.len);
}
