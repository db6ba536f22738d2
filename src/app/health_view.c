#include "app/health_view.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "ledger/ledger_upload.h"
#include "sys/stack.h"

/* How long something may wait with nothing finished, while nobody else is in the way. */
/* A picture: one run of a slow model, and a commit on a slow card. */
#define DETECT_LIMIT_MS 180000
/* Beside the time after which a camera's trigger is given up. */
#define FETCH_MARGIN_MS 60000
/* Events are tried again after at most an hour (LEDGER_WAIT_MAX_S), and then say what is wrong. */
#define DELIVER_LIMIT_MS 120000
/* A large file on a slow line: what an upload may take at most, storages' own time-outs. */
#define UPLOAD_LIMIT_MS 3600000
/* Files of watched folders on their way into the ledger. */
#define SPOOL_LIMIT_MS 180000
/* Triggers of the broker on their way into the ledger. */
#define CONTROL_LIMIT_MS 120000
/* The FTP server's loop turns every second. */
#define FTP_LIMIT_MS 60000
/* The write is tried this often while something waits. */
#define PROBE_MS 60000
#define STACK_WAIT_MS 1000

static_assert(HEALTH_STAGES_MAX >= CLAIM_WORKERS_MAX + PIPELINE_POOL_MAX + STORAGES_MAX + 16 + 2,
              "all threads of the topology, the FTP server and the main loop");
static_assert(HEALTH_QUEUES_MAX >= DAEMON_NOTIFIERS_MAX + STORAGES_MAX + 4, "all queues");
static_assert(HEALTH_FACTS_MAX >= DAEMON_NOTIFIERS_MAX + STORAGES_MAX + 5, "all facts");

/* ---- on the main thread ---- */

static void probe_ledger(struct daemon *d, int64_t waiting)
{
    struct health_counts *c = &d->health_counts;
    struct err e = {0};
    bool due = mono_passed(c->probe_at) && (waiting > 0 || c->ledger_failed);
    if (!due)
        return;
    c->probe_at = mono_add_ms(clock_mono(), PROBE_MS);
    bool failed = ledger_probe(d->ledger, &e) < 0;
    pthread_mutex_lock(&c->lock);
    c->ledger_failed = failed;
    text_copy(c->ledger_error, sizeof(c->ledger_error), failed ? e.text : "");
    pthread_mutex_unlock(&c->lock);
}

void health_view_count(struct daemon *d)
{
    struct health_counts *c = &d->health_counts;
    struct ledger_counts all;
    struct err e; /* a count that failed stays as it was; the probe tells */
    int64_t waiting = 0;
    if (ledger_counts(d->ledger, &all, &e) == 0) {
        atomic_store(&c->triggers, all.triggers_pending);
        atomic_store(&c->stored, all.stored);
        waiting += all.triggers_pending + all.stored;
    }
    for (size_t i = 0; d->destinations[i]; i++) {
        struct outbox_counts out;
        if (ledger_outbox_counts(d->ledger, d->destinations[i], &out, &e) == 0)
            atomic_store(&c->events[i], out.pending);
        waiting += atomic_load(&c->events[i]);
    }
    for (size_t i = 0; d->storages[i]; i++) {
        struct upload_counts up;
        if (ledger_upload_counts(d->ledger, d->storages[i]->name, &up, &e) == 0)
            atomic_store(&c->files[i], up.pending);
        waiting += atomic_load(&c->files[i]);
    }
    probe_ledger(d, waiting);
}

/* ---- on the health thread ---- */

static void add_fact(struct health_view *v, enum health_state state, const char *kind,
                     const char *name, const char *reason)
{
    assert(v->fact_count < HEALTH_FACTS_MAX);
    struct health_fact *f = &v->facts[v->fact_count++];
    f->state = state;
    (void)text_format(f->name, sizeof(f->name), "%s%s", kind, name); /* cut is fine, likewise */
    text_copy(f->reason, sizeof(f->reason), state == HEALTH_OK ? "" : reason);
}

static void add_queue(struct health_view *v, const char *kind, const char *name, int64_t waiting,
                      int64_t finished, int64_t limit_ms, const char *waits_for)
{
    assert(v->queue_count < HEALTH_QUEUES_MAX);
    struct health_queue *q = &v->queues[v->queue_count++];
    *q = (struct health_queue){.waiting = waiting, .finished = finished, .limit_ms = limit_ms};
    (void)text_format(q->name, sizeof(q->name), "%s%s", kind, name);
    text_copy(q->waits_for, sizeof(q->waits_for), waits_for);
}

/* Whose finished work counts for which queue. */
static int64_t finished_by(const struct health_stages *s, const char *stage)
{
    int64_t n = 0;
    for (size_t i = 0; i < s->count; i++)
        if (strncmp(s->list[i].name, stage, strlen(stage)) == 0 &&
            (s->list[i].name[strlen(stage)] == '\0' || s->list[i].name[strlen(stage)] == '.'))
            n += s->list[i].done + s->list[i].failed;
    return n;
}

static void add_stages(struct daemon *d, struct health_view *v, const struct health_stages *s)
{
    for (size_t i = 0; i < s->count; i++) {
        assert(v->stage_count < HEALTH_STAGES_MAX);
        const struct stage_status *st = &s->list[i];
        struct health_stage *h = &v->stages[v->stage_count++];
        *h = (struct health_stage){.running = st->running,
                                   .heartbeat_age_ms = st->heartbeat_age_ms,
                                   .limit_ms = st->hang_ms};
        text_copy(h->name, sizeof(h->name), st->name); /* fits */
    }
    struct ftp_server *ftp = atomic_load(&d->ftp);
    if (!ftp)
        return;
    struct ftp_server_status st;
    ftp_server_status(ftp, &st);
    struct health_stage *h = &v->stages[v->stage_count++];
    *h = (struct health_stage){
        .running = true, .heartbeat_age_ms = st.heartbeat_age_ms, .limit_ms = FTP_LIMIT_MS};
    text_copy(h->name, sizeof(h->name), "ftp"); /* fits */
}

/* "" when pictures can be written down; else what stands in the way of all of them. */
static void add_disk(struct daemon *d, struct health_view *v, char why[HEALTH_REASON_MAX])
{
    struct health_counts *c = &d->health_counts;
    int64_t left = store_free_bytes(d->pipeline.store);
    char text[HEALTH_REASON_MAX];
    why[0] = '\0';
    pthread_mutex_lock(&c->lock);
    bool failed = c->ledger_failed;
    text_copy(text, sizeof(text), c->ledger_error); /* cut is fine */
    pthread_mutex_unlock(&c->lock);
    if (!failed && pipeline_ledger_rest_ms(&d->pipeline) > 0) {
        add_fact(v, HEALTH_WAITING, "", "ledger",
                 "it did not take the last verdict, and is tried again");
        text_copy(why, HEALTH_REASON_MAX, "the ledger");
    } else {
        add_fact(v, failed ? HEALTH_SICK : HEALTH_OK, "", "ledger", text);
    }
    if (failed)
        text_copy(why, HEALTH_REASON_MAX, "the ledger");
    (void)text_format(text, sizeof(text), "%lld MB are free, new pictures are refused below %lld",
                      (long long)left >> 20, (long long)d->store_reserve >> 20); /* fits */
    bool full = left >= 0 && left < d->store_reserve;
    add_fact(v, full ? HEALTH_SICK : HEALTH_OK, "", "disk", text);
    if (full)
        text_copy(why, HEALTH_REASON_MAX, "room on the disk");
}

static int64_t longest_give_up_ms(struct daemon *d)
{
    AUTO(settings) now = pipeline_settings(&d->pipeline);
    int64_t longest = 0;
    for (size_t i = 0; i < camera_set_count(now->cameras); i++)
        longest = MAX(longest, camera_set_at(now->cameras, i)->give_up_ms);
    return longest;
}

static void add_destinations(struct daemon *d, struct health_view *v, const struct health_stages *s)
{
    for (unsigned i = 0; d->destinations[i]; i++) {
        struct destination_status st;
        char stage[32];
        topology_destination_status(d->topology, i, &st);
        (void)text_format(stage, sizeof(stage), i ? "deliver.%u" : "deliver", i); /* fits */
        int64_t finished = 0;
        for (size_t k = 0; k < s->count; k++)
            if (strcmp(s->list[k].name, stage) == 0)
                finished = s->list[k].done + s->list[k].failed;
        add_fact(v, st.last_error[0] ? HEALTH_WAITING : HEALTH_OK,
                 "destination:", d->destinations[i], st.last_error);
        add_queue(v, "deliver:", d->destinations[i], atomic_load(&d->health_counts.events[i]),
                  finished, DELIVER_LIMIT_MS, st.last_error);
    }
}

static void add_storages(struct daemon *d, struct health_view *v)
{
    for (unsigned i = 0; d->storages[i]; i++) {
        struct storage_status st;
        char why[HEALTH_REASON_MAX];
        topology_storage_status(d->topology, i, &st);
        bool trouble = st.trouble != STORAGE_WELL;
        (void)text_format(why, sizeof(why), "%s%s%s",
                          trouble ? storage_trouble_names[st.trouble] : "",
                          trouble && st.error[0] ? ": " : "", st.error); /* cut is fine */
        add_fact(v, trouble ? HEALTH_WAITING : HEALTH_OK, "storage:", d->storages[i]->name, why);
        add_queue(v, "upload:", d->storages[i]->name, atomic_load(&d->health_counts.files[i]),
                  st.kept + st.failed, UPLOAD_LIMIT_MS, why);
    }
}

static void add_sources(struct daemon *d, struct health_view *v, const struct health_stages *s,
                        const char *why)
{
    struct control_status control;
    if (topology_control_status(d->topology, &control)) {
        add_fact(v, control.consuming ? HEALTH_OK : HEALTH_WAITING, "", "triggers",
                 control.last_error[0] ? control.last_error : "connecting to the broker");
        add_queue(v, "", "control", control.waiting, finished_by(s, "control"), CONTROL_LIMIT_MS,
                  why);
    }
    AUTO_FREE struct spool_status *folders = xcalloc(d->spool.count + 1, sizeof(*folders));
    size_t count = topology_spool_status(d->topology, folders, d->spool.count);
    int64_t taking = 0;
    char trouble[HEALTH_REASON_MAX] = "";
    for (size_t i = 0; i < count; i++) {
        taking += folders[i].taking;
        /* Without a server for it the FTP root need not be there. */
        bool unused = i == 0 && !atomic_load(&d->ftp) && d->spool.folders[0].ftp;
        if (folders[i].trouble[0] && !trouble[0] && !unused)
            (void)text_format(trouble, sizeof(trouble), "%s: %s", folders[i].name,
                              folders[i].trouble); /* cut is fine */
    }
    if (count == 0)
        return;
    add_fact(v, trouble[0] ? HEALTH_WAITING : HEALTH_OK, "", "folders", trouble);
    add_queue(v, "", "spool", taking, finished_by(s, "intake") + finished_by(s, "spool"),
              SPOOL_LIMIT_MS, why[0] ? why : trouble);
}

static void add_detector(struct daemon *d, struct health_view *v)
{
    AUTO(settings) now = pipeline_settings(&d->pipeline);
    bool no_local = detect_mode_has_local(now->detect_mode) && !atomic_load(&d->pipeline.detector);
    bool no_cloud = detect_mode_has_cloud(now->detect_mode) && !atomic_load(&d->pipeline.cloud);
    bool missing = now->detection_enabled && (no_local || no_cloud);
    char why[HEALTH_REASON_MAX];
    pthread_mutex_lock(&d->words_lock);
    text_copy(why, sizeof(why), no_local ? d->detector_text : d->cloud_text); /* cut is fine */
    pthread_mutex_unlock(&d->words_lock);
    add_fact(v, missing ? HEALTH_WAITING : HEALTH_OK, "", "detector", why);
}

void health_view_fill(void *daemon, struct health_view *ret)
{
    struct daemon *d = daemon;
    struct health_stages *s = &d->health_stages;
    char why[HEALTH_REASON_MAX];
    /* A picture in doubt is not examined before its answer, and those behind it wait as well. */
    const char *cloud = doubts_count(d->pipeline.doubts) > 0 ? "an answer of the cloud" : "";
    s->count = topology_stages(d->topology, s->list, ARRAY_LEN(s->list));
    add_stages(d, ret, s);
    add_disk(d, ret, why);
    add_detector(d, ret);
    add_queue(ret, "", "fetch", atomic_load(&d->health_counts.triggers), finished_by(s, "fetch"),
              longest_give_up_ms(d) + FETCH_MARGIN_MS, why);
    add_queue(ret, "", "detect", atomic_load(&d->health_counts.stored), finished_by(s, "detect"),
              DETECT_LIMIT_MS, why[0] ? why : cloud);
    add_sources(d, ret, s, why);
    add_destinations(d, ret, s);
    add_storages(d, ret);
}

void health_view_numbers(void *daemon, char *ret, size_t size)
{
    struct daemon *d = daemon;
    struct health_counts *c = &d->health_counts;
    AUTO(settings) now = pipeline_settings(&d->pipeline);
    int64_t events = 0, files = 0;
    for (size_t i = 0; d->destinations[i]; i++)
        events += atomic_load(&c->events[i]);
    for (size_t i = 0; d->storages[i]; i++)
        files += atomic_load(&c->files[i]);
    (void)text_format(
        ret, size, "%zu cameras; waiting: %lld triggers, %lld pictures, %lld events, %lld files",
        camera_set_count(now->cameras), (long long)atomic_load(&c->triggers),
        (long long)atomic_load(&c->stored), (long long)events, (long long)files); /* cut is fine */
}

size_t health_view_stack(void *daemon, const char *stage, uintptr_t *ret, size_t max)
{
    struct daemon *d = daemon;
    if (strcmp(stage, "main") == 0)
        return stack_of_thread(d->main_thread, STACK_WAIT_MS, ret, max);
    struct ftp_server *ftp = atomic_load(&d->ftp);
    if (strcmp(stage, "ftp") == 0)
        return ftp ? ftp_server_stack(ftp, STACK_WAIT_MS, ret, max) : 0;
    return topology_stack(d->topology, stage, STACK_WAIT_MS, ret, max);
}
