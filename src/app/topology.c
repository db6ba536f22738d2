#include "app/topology.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "health/judge.h"

/* A stage has this even when others have used up the time that all share. */
#define MOMENT_MS 200
/* For the stages that had started when another could not. */
#define START_FAILED_GRACE_MS 5000
#define THREADS_MAX (CLAIM_WORKERS_MAX + PIPELINE_POOL_MAX + STORAGES_MAX + 16)

static void *new_fetch(struct pipeline *p, unsigned index UNUSED)
{
    return fetch_stage_new(p);
}
static void *new_choose(struct pipeline *p, unsigned index UNUSED)
{
    return choose_stage_new(p);
}
static void *new_intake(struct pipeline *p, unsigned index UNUSED)
{
    return intake_stage_new(p);
}
static void *new_detect(struct pipeline *p, unsigned index UNUSED)
{
    return detect_stage_new(p);
}
static void *new_consult(struct pipeline *p, unsigned index UNUSED)
{
    return consult_stage_new(p);
}
static void *new_record(struct pipeline *p, unsigned index UNUSED)
{
    return record_stage_new(p);
}
static void *new_annotate(struct pipeline *p, unsigned index UNUSED)
{
    return annotate_stage_new(p);
}
static void *new_deliver(struct pipeline *p, unsigned index)
{
    return deliver_stage_new(p, p->notifiers[index]);
}
static void *new_upload(struct pipeline *p, unsigned index)
{
    return upload_stage_new(p, p->storages[index]);
}
static void *new_schedule(struct pipeline *p, unsigned index UNUSED)
{
    return schedule_stage_new(p);
}
static void *new_spool(struct pipeline *p, unsigned index UNUSED)
{
    return spool_stage_new(p);
}
static void *new_control(struct pipeline *p, unsigned index UNUSED)
{
    return control_stage_new(p);
}
static void *new_janitor(struct pipeline *p, unsigned index UNUSED)
{
    return janitor_stage_new(p);
}
static void *new_thumbnail(struct pipeline *p, unsigned index UNUSED)
{
    return thumbnail_stage_new(p);
}
static unsigned one(const struct pipeline *p UNUSED)
{
    return 1;
}
static unsigned detect_workers(const struct pipeline *p)
{
    return p->detect_workers;
}
static unsigned consult_workers(const struct pipeline *p)
{
    struct detector *cloud = atomic_load(&p->cloud);
    int n = cloud ? cloud->ops->parallelism(cloud) : 0;
    return cloud ? (unsigned)MAX(1, MIN(n, PIPELINE_POOL_MAX)) : 0;
}
static unsigned chooses(const struct pipeline *p)
{
    return p->chooses;
}
static unsigned watches_folders(const struct pipeline *p)
{
    return p->spool && p->spool->count;
}
static unsigned takes_triggers(const struct pipeline *p)
{
    return p->broker && p->broker->triggers;
}
static unsigned makes_thumbnails(const struct pipeline *p)
{
    return p->thumbnail_wishes != NULL;
}
static unsigned notifier_count(const struct pipeline *p)
{
    unsigned n = 0;
    while (p->notifiers[n])
        n++;
    return n;
}
static unsigned storage_count(const struct pipeline *p)
{
    unsigned n = 0;
    while (p->storages && p->storages[n])
        n++;
    return n;
}
static_assert(STORAGES_MAX <= PIPELINE_POOL_MAX, "each storage can be woken");

/* The threads, in the order in which they start: consumers first. They stop from the bottom up.
 *
 *   schedule ---.
 *   control -----+
 *   web (API) ---+-> [triggers in the ledger] -> fetch ==fetched==> intake ==stored==> detect x N
 *                                                 fetch ==burst==> choose ==fetched==> intake
 *   [files in watched folders] -> spool ==fetched==> intake
 *   detect x N ==judged==> record -> [outbox] -> deliver
 *   detect x N -> doubts in memory -> consult x M ==judged==> record
 *                          record -> [uploads] -> upload, one per storage, with workers of its own
 *                          record ==promised==> annotate
 *   record, web -> wishes in memory -> thumbnail
 *
 * == is an edge of the bus with its receive depth here (the send depth stands with its producer;
 * when an edge is full, fetch keeps the picture and tries again (a burst only for some seconds,
 * then its sharpest goes to intake), spool leaves the file where it is, choose waits, intake relies
 * on the row and wakes the sweep of detect); -> [..] is a row in the ledger plus a wake-up. */
static const struct thread_row {
    const struct stage_ops *ops;
    void *(*new)(struct pipeline *p, unsigned index);
    unsigned (*count)(const struct pipeline *p);
    const char *edge_in;
    int receive_depth;
    int woken; /* enum pipeline_stage, -1 = nobody wakes it */
} rows[] = {
    {&janitor_stage, new_janitor, one, NULL, 0, -1},
    {&upload_stage, new_upload, storage_count, NULL, 0, PIPELINE_UPLOAD},
    {&deliver_stage, new_deliver, notifier_count, NULL, 0, PIPELINE_DELIVER},
    {&thumbnail_stage, new_thumbnail, makes_thumbnails, NULL, 0, PIPELINE_THUMBNAIL},
    {&annotate_stage, new_annotate, one, EDGE_PROMISED, 16, -1},
    {&record_stage, new_record, one, EDGE_JUDGED, 8, -1},
    {&consult_stage, new_consult, consult_workers, NULL, 0, PIPELINE_CONSULT},
    {&detect_stage, new_detect, detect_workers, EDGE_STORED, 1, PIPELINE_DETECT},
    {&intake_stage, new_intake, one, EDGE_FETCHED, 8, PIPELINE_INTAKE},
    {&choose_stage, new_choose, chooses, EDGE_BURST, 1, -1},
    {&fetch_stage, new_fetch, one, NULL, 0, PIPELINE_FETCH},
    {&spool_stage, new_spool, watches_folders, NULL, 0, PIPELINE_SPOOL},
    {&control_stage, new_control, takes_triggers, NULL, 0, -1},
    {&schedule_stage, new_schedule, one, NULL, 0, PIPELINE_SCHEDULE},
};

struct thread {
    struct stage *stage;
    void *self;
    const struct thread_row *row;
};

struct topology {
    struct pipeline *pipeline;
    struct thread threads[THREADS_MAX];
    _Atomic size_t count;             /* grows while others look: what is below is complete */
    void *fetch;                      /* self of the fetch stage */
    void *control;                    /* of the control stage; NULL = there is none */
    void *spool;                      /* of the spool stage, likewise */
    void *deliver[PIPELINE_POOL_MAX]; /* of those of deliver */
    void *upload[STORAGES_MAX];       /* of those of upload */
};

static int start_thread(struct topology *t, const struct thread_row *row, unsigned index,
                        struct err *e)
{
    assert(t->count < THREADS_MAX);
    struct thread *th = &t->threads[t->count];
    *th = (struct thread){.self = row->new (t->pipeline, index), .row = row};
    struct stage_spec spec = {.ops = row->ops,
                              .self = th->self,
                              .index = index,
                              .bus = t->pipeline->bus,
                              .edge_in = row->edge_in,
                              .receive_depth = row->receive_depth};
    int r = stage_start(&spec, &th->stage, e);
    if (r < 0) {
        free(th->self);
        return r;
    }
    t->count++;
    if (row->ops == &fetch_stage)
        t->fetch = th->self;
    if (row->ops == &control_stage)
        t->control = th->self;
    if (row->ops == &spool_stage)
        t->spool = th->self;
    if (row->ops == &deliver_stage)
        t->deliver[index] = th->self;
    if (row->ops == &upload_stage)
        t->upload[index] = th->self;
    if (row->woken >= 0) {
        assert(index < PIPELINE_POOL_MAX);
        atomic_store(&t->pipeline->woken[row->woken][index], th->stage);
    }
    return 0;
}

void topology_register_metrics(void)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].ops->register_metrics)
            rows[i].ops->register_metrics();
}

int topology_start(struct pipeline *p, struct topology **ret, struct err *e)
{
    struct topology *t = xcalloc(1, sizeof(*t));
    t->pipeline = p;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (unsigned index = 0; index < rows[i].count(p); index++) {
            int r = start_thread(t, &rows[i], index, e);
            if (r < 0) {
                if (topology_stop(t, START_FAILED_GRACE_MS) == 0)
                    topology_free(t);
                else
                    *ret = t;
                return r;
            }
        }
    }
    *ret = t;
    return 0;
}

int topology_start_consult(struct topology *t, struct err *e)
{
    for (size_t i = 0; i < t->count; i++)
        if (t->threads[i].row->ops == &consult_stage)
            return 0;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (unsigned index = 0;
             rows[i].ops == &consult_stage && index < rows[i].count(t->pipeline); index++) {
            int r = start_thread(t, &rows[i], index, e);
            if (r < 0)
                return index ? 0 : r; /* fewer will do */
        }
    }
    return 0;
}

static bool hangs(const struct topology *t, const struct stage_status *st)
{
    double patience = t->pipeline->patience > 0 ? t->pipeline->patience : 1;
    return st->heartbeat_age_ms > health_limit_ms(st->hang_ms, patience);
}

static int join(struct topology *t, struct thread *th, struct mono_time deadline, int64_t grace_ms)
{
    struct stage_status st;
    stage_status(th->stage, &st);
    struct mono_time soon = mono_add_ms(clock_mono(), MOMENT_MS);
    if (hangs(t, &st))
        deadline = clock_mono();
    else if (deadline.us < soon.us)
        deadline = soon;
    if (stage_join(th->stage, deadline) == 0)
        return 0;
    stage_status(th->stage, &st);
    log_error("stage-hung",
              "stage %s did not end within %lld ms (its loop last turned %lld ms ago); ending "
              "without it, the ledger resumes at the next start",
              st.name, (long long)grace_ms, (long long)st.heartbeat_age_ms);
    return -ETIMEDOUT;
}

int topology_stop(struct topology *t, int64_t grace_ms)
{
    struct mono_time deadline = mono_add_ms(clock_mono(), grace_ms);
    int r = 0;
    for (size_t end = t->count; end > 0;) {
        /* A pool stops together. */
        size_t first = end - 1;
        while (first > 0 && t->threads[first - 1].row == t->threads[end - 1].row)
            first--;
        for (size_t i = first; i < end; i++)
            stage_stop(t->threads[i].stage);
        for (size_t i = first; i < end; i++)
            if (join(t, &t->threads[i], deadline, grace_ms) < 0)
                r = -ETIMEDOUT;
        end = first;
    }
    return r;
}

void topology_free(struct topology *t)
{
    if (!t)
        return;
    for (int i = 0; i < PIPELINE_STAGE_COUNT; i++)
        for (int j = 0; j < PIPELINE_POOL_MAX; j++)
            atomic_store(&t->pipeline->woken[i][j], NULL);
    for (size_t i = 0; i < t->count; i++) {
        stage_free(t->threads[i].stage);
        free(t->threads[i].self);
    }
    free(t);
}

size_t topology_stages(const struct topology *t, struct stage_status *ret, size_t max)
{
    size_t n = MIN(t->count, max);
    for (size_t i = 0; i < n; i++)
        stage_status(t->threads[i].stage, &ret[i]);
    return n;
}

size_t topology_stack(const struct topology *t, const char *name, int64_t timeout_ms,
                      uintptr_t *ret, size_t max)
{
    for (size_t i = 0; i < t->count; i++) {
        struct stage_status st;
        stage_status(t->threads[i].stage, &st);
        if (strcmp(st.name, name) == 0)
            return stage_stack(t->threads[i].stage, timeout_ms, ret, max);
    }
    return 0;
}

void topology_each_stage(const struct topology *t,
                         void (*f)(const struct stage_status *st, void *arg), void *arg)
{
    for (size_t i = 0; i < t->count; i++) {
        struct stage_status st;
        stage_status(t->threads[i].stage, &st);
        f(&st, arg);
    }
}

json_t *topology_status(const struct topology *t)
{
    json_t *list = json_array();
    for (size_t i = 0; i < t->count; i++) {
        struct stage_status st;
        stage_status(t->threads[i].stage, &st);
        const char *state = !st.running ? "ended" : hangs(t, &st) ? "hung" : "running";
        json_array_append_new(
            list, json_pack("{s:s,s:s,s:I,s:I,s:I,s:I,s:o}", "name", st.name, "state", state,
                            "heartbeat_age_ms", (json_int_t)st.heartbeat_age_ms, "queued",
                            (json_int_t)st.queued, "done", (json_int_t)st.done, "failed",
                            (json_int_t)st.failed, "last_error", js_string(st.last_error)));
    }
    return list;
}

void topology_camera_status(const struct topology *t, const char *camera, struct camera_status *ret)
{
    fetch_stage_camera_status(t->fetch, camera, ret);
}

bool topology_control_status(const struct topology *t, struct control_status *ret)
{
    if (t->control)
        control_stage_status(t->control, ret);
    return t->control != NULL;
}

void topology_destination_status(const struct topology *t, unsigned index,
                                 struct destination_status *ret)
{
    deliver_stage_status(t->deliver[index], ret);
}

void topology_storage_status(const struct topology *t, unsigned index, struct storage_status *ret)
{
    upload_stage_status(t->upload[index], ret);
}

size_t topology_spool_status(const struct topology *t, struct spool_status *ret, size_t max)
{
    return t->spool ? spool_stage_status(t->spool, ret, max) : 0;
}
