/* Upload: takes files to one storage and repeats until they are there, exactly once each. One stage
 * per storage, so one that is away never holds up another.
 *
 * The stage's own thread does all that concerns the order: it asks the ledger what is due, fills a
 * short queue, writes down what became of it, and decides about pauses. `parallel` workers block in
 * the storage, each with a session of its own. So results that come together share one commit, and
 * no worker waits for the disk while it could send the next file.
 *
 * Exactly once: an object's mark (the id that it will have) is made by reserve() and durable before
 * the first put(); who repeats after a crash repeats with the same mark. Marks are made for many at
 * once, ahead of the workers, by a thread of its own: the round trip takes no worker's time.
 *
 * A storage in trouble pauses as a whole: files wait, and no attempts count against them, since it
 * is no fault of theirs. After the pause one file is tried alone. A fault of a file counts for that
 * file only, which waits by itself.
 *
 * What came before the trouble ended is backlog, and goes in the order of the rule. What comes
 * after that is live: it goes before any backlog. The newest of it is first in the queue, so it
 * waits until one worker is free. */

#include "stage/pipeline.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/altstack.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/text.h"
#include "ledger/ledger_upload.h"
#include "stage/upload_object.h"
#include "sys/hash.h"

/* Marks made in one go: a commit and, for some storages, a round trip for so many. */
#define RESERVE_MAX 32
/* Of files that are read at a time; one that is larger goes alone. */
#define BYTES_MAX ((int64_t)32 << 20)
#define SWEEP_MS 1000
/* Older than one to two of these is backlog, however it came. */
#define LIVE_MS 60000
/* Pause after the n-th failure in a row: 1 s doubling to this. */
#define PAUSE_MAX_MS 300000
/* Somebody has to do something first; a reload tries at once. */
#define PAUSE_PEOPLE_MS 3600000
/* A storage that names a longer one is not believed. */
#define PAUSE_NAMED_MAX_MS 86400000
/* The same for one file. */
#define BACKOFF_MAX_MS ((int64_t)LEDGER_WAIT_MAX_S * 1000)
/* A disk that fails may recover; after so many tries the file counts as gone. */
#define READ_ATTEMPTS_MAX 5
#define ARCHIVE_MS 86400000
#define ARCHIVE_AGAIN_MS 60000
#define STARS_AGAIN_MS 60000
/* Nothing new begins for so long when the ledger takes no results. */
#define LEDGER_PAUSE_MS 5000
/* What a stop lets uploads finish before it ends them; they are repeated at the next start. */
#define LAST_UPLOADS_MS 1000
/* Of what a session calls libcurl and OpenSSL need most. */
#define STACK_SIZE (512 * 1024)
#define LABELS_MAX 512

enum slot_state { SLOT_FREE, SLOT_QUEUED, SLOT_RUNNING, SLOT_FINISHED };

/* A file on its way. While it is running it is the worker's, else the stage's. */
struct slot {
    enum slot_state state; /* guarded by the lock */
    bool live;
    int64_t turn;          /* lower ones first, of live ones and of the others */
    unsigned generation;   /* of pauses when it began */
    struct upload_job job; /* its mark is the last that is durable */
    struct storage_mark mark;
    struct snapshot *snapshot;
    char labels[LABELS_MAX];
    int64_t size; /* as far as it is known before */
    /* What became of it. */
    int code;
    bool local; /* failed before the storage was asked */
    struct storage_failure failure;
    struct err error;
    double seconds;
};

enum errand_state { ERRAND_NONE, ERRAND_ASKED, ERRAND_DONE };

/* Marks to be made. */
struct batch {
    enum errand_state state; /* guarded by the lock */
    int count;
    struct upload_job jobs[RESERVE_MAX];
    struct snapshot *snapshots[RESERVE_MAX];
    char labels[RESERVE_MAX][LABELS_MAX];
    struct storage_mark marks[RESERVE_MAX];
    int code;
    unsigned generation;
    struct storage_failure failure;
    struct err error;
};

/* What has to be done beside files. */
enum errand_kind { ERRAND_TEND, ERRAND_STAR, ERRAND_ARCHIVE };
struct errand {
    enum errand_state state; /* guarded by the lock */
    enum errand_kind kind;
    int64_t again_ms; /* of TEND */
    struct upload_job job;
    struct storage_mark mark;
    int code;
    struct storage_failure failure;
    struct err error;
};

struct upload_self;
struct worker {
    struct upload_self *upload;
    pthread_t thread;
    struct storage_session *session;
};

struct upload_self {
    struct pipeline *pipeline;
    struct stage *stage;
    struct storage *storage;
    struct ledger *ledger;
    struct settings *settings;  /* of the last sweep */
    struct storage_common plan; /* of these; its lists are not used */
    int parallel;
    int stop_fd; /* readable: calls end */

    struct worker *workers; /* `parallel` for files, then one for marks and one for the rest */
    int worker_count;
    struct slot *slots;
    int slot_count;
    struct batch batch;
    struct errand errand;
    int64_t turn;

    int64_t live_after, live_next; /* rows */
    struct mono_time live_at;      /* when live_after becomes live_next */
    struct mono_time next_at;      /* by the rate */
    struct mono_time rest_until;   /* the ledger takes nothing */
    struct mono_time archive_at, stars_at, tend_at;

    unsigned generation; /* of pauses */
    int failures;        /* in a row */
    struct mono_time pause_until;

    bool ending;             /* the program stops */
    bool cut;                /* stop_fd is readable */
    struct mono_time cut_at; /* when it will be */

    pthread_mutex_t lock; /* guards what follows, and the states above */
    pthread_cond_t work;
    bool ended;
    int allowed; /* workers that may begin */
    int64_t bytes;
    struct storage_status shown;

    pthread_mutex_t side_lock; /* guards what follows: of the workers, for notes and marks */
    struct ledger *side;
};

static struct metric kept = {.name = "snapshotd_uploads_total",
                             .kind = METRIC_COUNTER,
                             .label = "storage",
                             .help = "Files that a storage has"};
static struct metric failed = {.name = "snapshotd_uploads_failed_total",
                               .kind = METRIC_COUNTER,
                               .label = "storage",
                               .help = "Uploads that failed by a fault of their file"};
static struct metric dead = {.name = "snapshotd_uploads_dead_total",
                             .kind = METRIC_COUNTER,
                             .label = "storage",
                             .help =
                                 "Files that were given up: refused for good, or not to be read "
                                 "any more"};
static struct metric troubles = {.name = "snapshotd_storage_pauses_total",
                                 .kind = METRIC_COUNTER,
                                 .label = "storage",
                                 .help = "Times that a storage took nothing and all of its files "
                                         "waited"};
static struct metric seconds = {.name = "snapshotd_upload_seconds",
                                .kind = METRIC_HISTOGRAM,
                                .label = "storage",
                                .help = "An upload that succeeded, from reading the file on"};

static void register_metrics(void)
{
    metric_register(&kept);
    metric_register(&failed);
    metric_register(&dead);
    metric_register(&troubles);
    metric_register(&seconds);
}

/* Best first, each once; what does not fit is left out. */
static void list_labels(const struct verdict *v, char ret[LABELS_MAX])
{
    size_t len = 0;
    ret[0] = '\0';
    for (size_t i = 0; i < v->found.count; i++) {
        const char *label = v->found.items[i].label;
        bool known = false;
        for (size_t k = 0; k < i && !known; k++)
            known = strcmp(v->found.items[k].label, label) == 0;
        if (known || len + strlen(label) + 2 > LABELS_MAX)
            continue;
        int n = text_format(ret + len, LABELS_MAX - len, "%s%s", len ? "," : "", label);
        len += (size_t)MAX(n, 0);
    }
}

/* ---- the workers ---- */

static int memory_get(void *arg, const char *key, char *ret, size_t size, struct err *e)
{
    struct upload_self *u = arg;
    pthread_mutex_lock(&u->side_lock);
    int r = ledger_memory_get(u->side, u->storage->name, key, ret, size, e);
    pthread_mutex_unlock(&u->side_lock);
    return r;
}

static int memory_set(void *arg, const char *key, const char *value, struct err *e)
{
    struct upload_self *u = arg;
    pthread_mutex_lock(&u->side_lock);
    int r = ledger_memory_set(u->side, u->storage->name, key, value, e);
    pthread_mutex_unlock(&u->side_lock);
    return r;
}

static int need_session(struct worker *w, struct storage_failure *f, struct err *e)
{
    struct upload_self *u = w->upload;
    if (w->session)
        return 0;
    struct storage_memory memory = {memory_get, memory_set, u};
    int r = u->storage->ops->session_new(u->storage, u->stop_fd, &memory, &w->session, e);
    if (r < 0) {
        w->session = NULL;
        f->trouble = STORAGE_AWAY;
    }
    return r;
}

struct saving {
    struct upload_self *upload;
    struct slot *slot;
};

static int save_mark(void *arg, const struct storage_mark *mark, struct err *e)
{
    struct saving *s = arg;
    struct upload_self *u = s->upload;
    char text[UPLOAD_MARK_MAX];
    int r = upload_mark_write(mark, text, e);
    if (r < 0)
        return r;
    text_copy(s->slot->job.mark, sizeof(s->slot->job.mark), text); /* fits */
    pthread_mutex_lock(&u->side_lock);
    r = ledger_upload_mark(u->side, &s->slot->job, 1, e);
    pthread_mutex_unlock(&u->side_lock);
    return r;
}

/* The picture may be on its way from one name to the next: it is renamed after the verdict. */
static void finish_rename(struct upload_self *u, const struct snapshot *s)
{
    struct ledger_unsettled row;
    struct err e = {0};
    pthread_mutex_lock(&u->side_lock);
    int r = ledger_unsettled_get(u->side, s->id, &row, &e);
    pthread_mutex_unlock(&u->side_lock);
    struct store_recovery done = {0};
    if (r == 1)
        (void)store_finish(u->pipeline->store, &row, &done, &e); /* the next read tells */
}

static int read_file(struct upload_self *u, const struct slot *slot, struct blob **ret,
                     struct err *e)
{
    const struct snapshot *s = slot->snapshot;
    AUTO(settings) now = pipeline_settings(u->pipeline);
    if (slot->job.annotated)
        return store_read(u->pipeline->store, s->annotated_path, now->limits.bytes_max, ret, e);
    int r = pipeline_bytes(u->pipeline, s, ret, e);
    if (r != -ENOENT || !s->unsettled)
        return r;
    finish_rename(u, s);
    return pipeline_bytes(u->pipeline, s, ret, e);
}

static int check_digest(const struct slot *slot, const char *sha256, struct err *e)
{
    const struct snapshot *s = slot->snapshot;
    if (slot->job.annotated || strcmp(s->sha256, sha256) == 0)
        return 0;
    return err_set(e, -EBADMSG, ERR_NEVER, "%s is not what was received: its bytes have changed",
                   s->path);
}

static bool is_unreadable(const struct slot *s)
{
    if (!s->local)
        return false;
    switch (-s->code) {
    case ENOENT:
    case EBADMSG:
    case EFBIG:
    case EISDIR:
    case ENOTDIR:
    case ELOOP:
        return true;
    default:
        return s->job.attempts + 1 >= READ_ATTEMPTS_MAX;
    }
}

static void put_file(struct worker *w, struct slot *slot)
{
    struct upload_self *u = w->upload;
    struct mono_time start = clock_mono();
    AUTO(blob) bytes = NULL;
    char sha256[HASH_SHA256_HEX];
    struct saving saving = {u, slot};
    slot->local = true;
    slot->failure = (struct storage_failure){.trouble = STORAGE_WELL};
    slot->error = (struct err){0};
    int r = read_file(u, slot, &bytes, &slot->error);
    if (r == 0) {
        hash_md5_hex(bytes->data, bytes->size, slot->job.md5);
        hash_sha256_hex(bytes->data, bytes->size, sha256);
        r = check_digest(slot, sha256, &slot->error);
    }
    if (r == 0) {
        slot->local = false;
        r = need_session(w, &slot->failure, &slot->error);
    }
    if (r == 0) {
        struct storage_object o = upload_object(slot->snapshot, &slot->job, slot->labels);
        o.bytes = bytes;
        o.md5 = slot->job.md5;
        o.sha256 = sha256;
        FAULT_POINT("upload-before-put");
        r = u->storage->ops->put(w->session, &o, &slot->mark, save_mark, &saving, &slot->failure,
                                 &slot->error);
        FAULT_POINT("upload-after-put");
    }
    slot->code = r;
    if (r < 0 && is_unreadable(slot))
        err_prefix(&slot->error, "the file cannot be read any more");
    slot->seconds = mono_diff_ms(clock_mono(), start) / 1000;
}

/* The first of the queue that may begin. Under the lock. */
static struct slot *next_slot(struct upload_self *u)
{
    struct slot *first = NULL;
    int running = 0;
    for (int i = 0; i < u->slot_count; i++) {
        struct slot *s = &u->slots[i];
        running += s->state == SLOT_RUNNING;
        if (s->state != SLOT_QUEUED)
            continue;
        if (!first || (s->live != first->live ? s->live : s->turn < first->turn))
            first = s;
    }
    if (!first || running >= u->allowed || (u->bytes && u->bytes + first->size > BYTES_MAX))
        return NULL;
    return first;
}

static void prepare_thread(const char *name)
{
    altstack_use();
    pthread_setname_np(pthread_self(), name);
    log_context_stage("upload");
}

static void *put_main(void *arg)
{
    struct worker *w = arg;
    struct upload_self *u = w->upload;
    prepare_thread("upload.put");
    pthread_mutex_lock(&u->lock);
    while (!u->ended) {
        struct slot *slot = next_slot(u);
        if (!slot) {
            pthread_cond_wait(&u->work, &u->lock);
            continue;
        }
        slot->state = SLOT_RUNNING;
        slot->generation = u->generation;
        u->bytes += slot->size;
        u->shown.under_way++;
        pthread_mutex_unlock(&u->lock);
        put_file(w, slot);
        pthread_mutex_lock(&u->lock);
        slot->state = SLOT_FINISHED;
        u->bytes -= slot->size;
        u->shown.under_way--;
        pthread_cond_broadcast(&u->work); /* of those that had no room for their bytes */
        stage_wake(u->stage);
    }
    pthread_mutex_unlock(&u->lock);
    return NULL;
}

static void make_marks(struct worker *w, struct batch *b)
{
    struct upload_self *u = w->upload;
    struct storage_object objects[RESERVE_MAX];
    b->failure = (struct storage_failure){.trouble = STORAGE_WELL};
    b->error = (struct err){0};
    for (int i = 0; i < b->count; i++) {
        objects[i] = upload_object(b->snapshots[i], &b->jobs[i], b->labels[i]);
        b->marks[i] = (struct storage_mark){.id = ""};
    }
    b->code = need_session(w, &b->failure, &b->error);
    if (b->code == 0)
        b->code = u->storage->ops->reserve(w->session, objects, b->marks, b->count, &b->failure,
                                           &b->error);
    for (int i = 0; i < b->count && b->code >= 0; i++)
        b->code = upload_mark_write(&b->marks[i], b->jobs[i].mark, &b->error);
}

static void *reserve_main(void *arg)
{
    struct worker *w = arg;
    struct upload_self *u = w->upload;
    prepare_thread("upload.mark");
    pthread_mutex_lock(&u->lock);
    while (!u->ended) {
        if (u->batch.state != ERRAND_ASKED) {
            pthread_cond_wait(&u->work, &u->lock);
            continue;
        }
        u->batch.generation = u->generation;
        pthread_mutex_unlock(&u->lock);
        make_marks(w, &u->batch);
        pthread_mutex_lock(&u->lock);
        u->batch.state = ERRAND_DONE;
        stage_wake(u->stage);
    }
    pthread_mutex_unlock(&u->lock);
    return NULL;
}

static void run_errand(struct worker *w, struct errand *x)
{
    const struct storage_ops *ops = w->upload->storage->ops;
    x->failure = (struct storage_failure){.trouble = STORAGE_WELL};
    x->error = (struct err){0};
    x->code = need_session(w, &x->failure, &x->error);
    x->again_ms = ARCHIVE_AGAIN_MS;
    if (x->code < 0)
        return;
    switch (x->kind) {
    case ERRAND_TEND:
        x->again_ms = ops->tend(w->session);
        break;
    case ERRAND_STAR:
        x->code = ops->star(w->session, &x->mark, x->job.starred, &x->failure, &x->error);
        break;
    case ERRAND_ARCHIVE:
        x->code = ops->archive(w->session, clock_wall(), &x->failure, &x->error);
        break;
    }
}

static void *errand_main(void *arg)
{
    struct worker *w = arg;
    struct upload_self *u = w->upload;
    prepare_thread("upload.tidy");
    pthread_mutex_lock(&u->lock);
    while (!u->ended) {
        if (u->errand.state != ERRAND_ASKED) {
            pthread_cond_wait(&u->work, &u->lock);
            continue;
        }
        pthread_mutex_unlock(&u->lock);
        run_errand(w, &u->errand);
        pthread_mutex_lock(&u->lock);
        u->errand.state = ERRAND_DONE;
        stage_wake(u->stage);
    }
    pthread_mutex_unlock(&u->lock);
    return NULL;
}

/* ---- trouble ---- */

static void rest(struct upload_self *u, const char *what, const struct err *e)
{
    log_error("ledger-failed", "%s: %s; trying again in %d s", what, e->text,
              LEDGER_PAUSE_MS / 1000);
    stage_count_failed(u->stage, e->text);
    u->rest_until = mono_add_ms(clock_mono(), LEDGER_PAUSE_MS);
}

/* 1 s doubling with each failure in a row. */
static int64_t doubled_ms(int failures, int64_t max)
{
    int doublings = MIN(failures, 20);
    return MIN((int64_t)1000 << doublings, max);
}

static int64_t pause_ms(const struct upload_self *u, const struct storage_failure *f)
{
    int64_t own = f->trouble == STORAGE_QUOTA || f->trouble == STORAGE_LOGIN
                      ? PAUSE_PEOPLE_MS
                      : doubled_ms(u->failures, PAUSE_MAX_MS);
    int64_t named = MIN(f->pause_ms, (int64_t)PAUSE_NAMED_MAX_MS);
    /* Who says how long knows it better, but may not make us hasty. */
    bool exact = f->trouble == STORAGE_RATE || f->trouble == STORAGE_LOGIN;
    return exact && named > 0 ? named : MAX(own, named);
}

/* What waits in the queue goes back: nothing of it has begun. */
static void empty_queue(struct upload_self *u)
{
    pthread_mutex_lock(&u->lock);
    for (int i = 0; i < u->slot_count; i++) {
        if (u->slots[i].state != SLOT_QUEUED)
            continue;
        snapshot_unref(STEAL(u->slots[i].snapshot));
        u->slots[i].state = SLOT_FREE;
    }
    pthread_mutex_unlock(&u->lock);
}

/* Failures of calls that began before the last pause say nothing new, but for how long to wait. */
static void pause_all(struct upload_self *u, unsigned generation, const struct storage_failure *f,
                      const struct err *why)
{
    struct mono_time now = clock_mono();
    bool news = generation == u->generation;
    int64_t ms = pause_ms(u, f);
    struct mono_time until = mono_add_ms(now, news ? ms : f->pause_ms);
    if (news || until.us > u->pause_until.us)
        u->pause_until = until;
    if (!news)
        return;
    u->failures++;
    pthread_mutex_lock(&u->lock);
    u->generation++;
    bool changed = u->shown.trouble != f->trouble;
    if (u->shown.trouble == STORAGE_WELL)
        u->shown.since = clock_wall();
    u->shown.trouble = f->trouble;
    text_copy(u->shown.error, sizeof(u->shown.error), why->text);
    u->allowed = 0;
    pthread_mutex_unlock(&u->lock);
    empty_queue(u);
    metric_inc(&troubles, u->storage->name);
    stage_count_failed(u->stage, why->text);
    if (changed)
        log_warn("storage-paused", "%s: %s; its files wait, again in %lld s", u->storage->name,
                 why->text, (long long)(ms + 500) / 1000);
    else
        log_debug("storage-paused", "%s: %s; again in %lld s", u->storage->name, why->text,
                  (long long)(ms + 500) / 1000);
}

/* From here on what comes is live, what waits is backlog. */
static void begin_live(struct upload_self *u)
{
    struct err e = {0};
    int64_t last;
    int r = ledger_upload_last_row(u->ledger, &last, &e);
    if (r < 0)
        return; /* only the order suffers, and the next look will tell */
    u->live_after = u->live_next = last;
    u->live_at = mono_add_ms(clock_mono(), LIVE_MS);
}

static void go_on(struct upload_self *u)
{
    pthread_mutex_lock(&u->lock);
    bool was_ill = u->shown.trouble != STORAGE_WELL;
    u->shown.trouble = STORAGE_WELL;
    u->shown.since.us = 0;
    if (was_ill)
        u->shown.error[0] = '\0';
    pthread_mutex_unlock(&u->lock);
    u->failures = 0;
    if (!was_ill)
        return;
    u->pause_until.us = 0;
    if (u->shown.archive_error[0]) /* of this thread; as a rule it was the same trouble */
        u->archive_at.us = 0;
    begin_live(u);
    log_notice("storage-well", "%s takes files again", u->storage->name);
}

static bool is_well(struct upload_self *u)
{
    pthread_mutex_lock(&u->lock);
    bool well = u->shown.trouble == STORAGE_WELL;
    pthread_mutex_unlock(&u->lock);
    return well;
}

/* ---- results ---- */

static bool is_for_good(const struct slot *s)
{
    return is_unreadable(s) || (!s->local && s->error.retry == ERR_NEVER);
}

/* A fault of the file itself. */
static int record_failure(struct upload_self *u, struct slot *s, struct err *e)
{
    int r;
    if (is_for_good(s)) {
        r = ledger_upload_dead(u->ledger, &s->job, s->error.text, e);
    } else {
        int64_t pause = doubled_ms(s->job.attempts, BACKOFF_MAX_MS);
        struct wall_time later = {ledger_now().us + pause * 1000};
        r = ledger_upload_retry(u->ledger, &s->job, later, s->error.text, e);
    }
    return r == -EALREADY ? 0 : r;
}

static void report_failure(struct upload_self *u, const struct slot *s)
{
    const char *name = u->storage->name;
    log_context_snapshot(s->job.snapshot_id);
    metric_inc(&failed, name);
    stage_count_failed(u->stage, s->error.text);
    if (is_for_good(s)) {
        metric_inc(&dead, name);
        log_error("upload-dead", "%s: %s; put aside", name, s->error.text);
    } else {
        log_warn("upload-failed", "%s: %s; trying again later", name, s->error.text);
    }
    log_context_snapshot(NULL);
    pthread_mutex_lock(&u->lock);
    u->shown.failed++;
    text_copy(u->shown.error, sizeof(u->shown.error), s->error.text);
    pthread_mutex_unlock(&u->lock);
}

static void report_kept(struct upload_self *u, const struct slot *s)
{
    const char *name = u->storage->name;
    metric_inc(&kept, name);
    metric_observe(&seconds, name, s->seconds);
    stage_count_done(u->stage);
    log_context_snapshot(s->job.snapshot_id);
    log_info("kept", "%s has %s", name,
             upload_base_name(s->job.annotated ? s->snapshot->annotated_path : s->snapshot->path));
    log_context_snapshot(NULL);
    pthread_mutex_lock(&u->lock);
    u->shown.kept++;
    if (u->shown.trouble == STORAGE_WELL)
        u->shown.error[0] = '\0';
    pthread_mutex_unlock(&u->lock);
}

static bool is_finished(struct upload_self *u, int i)
{
    pthread_mutex_lock(&u->lock);
    bool finished = u->slots[i].state == SLOT_FINISHED;
    pthread_mutex_unlock(&u->lock);
    return finished;
}

/* Whether the ledger hears of it: not of trouble, nor of calls that were ended. */
static bool is_own_fault(const struct slot *s)
{
    return s->code < 0 && s->code != -ECANCELED && s->failure.trouble == STORAGE_WELL;
}

static int write_kept(struct upload_self *u, struct slot *const *list, int count, struct err *e)
{
    AUTO_FREE struct upload_job *jobs = xcalloc((size_t)count + 1, sizeof(*jobs));
    AUTO_FREE const char **urls = xcalloc((size_t)count + 1, sizeof(*urls));
    int n = 0;
    for (int i = 0; i < count; i++) {
        struct slot *s = list[i];
        if (s->code < 0)
            continue;
        jobs[n] = s->job;
        s->mark.resume[0] = '\0'; /* a secret, and of no use any more */
        (void)upload_mark_write(&s->mark, jobs[n].mark, NULL); /* else the one from before stays */
        urls[n++] = s->mark.url;
    }
    return ledger_upload_done(u->ledger, jobs, urls, n, e);
}

/* All of them in one commit. */
static int write_results(struct upload_self *u, struct slot *const *list, int count, bool marks,
                         struct err *e)
{
    int r = ledger_group_begin(u->ledger, e);
    if (r < 0)
        return r;
    r = write_kept(u, list, count, e);
    for (int i = 0; i < count && r == 0; i++)
        if (is_own_fault(list[i]))
            r = record_failure(u, list[i], e);
    if (r == 0 && marks)
        r = ledger_upload_mark(u->ledger, u->batch.jobs, u->batch.count, e);
    FAULT_POINT("upload-before-commit");
    struct err end = {0};
    int end_code = ledger_group_end(u->ledger, &end);
    FAULT_POINT("upload-after-commit");
    if (r == 0 && end_code < 0 && e)
        *e = end;
    return r < 0 ? r : end_code;
}

static void judge_storage(struct upload_self *u, struct slot *s)
{
    if (s->code == -ECANCELED && !u->ending)
        s->failure.trouble = STORAGE_AWAY; /* by nobody here; it must not go round and round */
    if (s->code < 0 && s->failure.trouble != STORAGE_WELL)
        pause_all(u, s->generation, &s->failure, &s->error);
    else if (s->code != -ECANCELED && !s->local && s->generation == u->generation)
        go_on(u);
}

static void free_batch(struct upload_self *u)
{
    for (int i = 0; i < u->batch.count; i++)
        snapshot_unref(STEAL(u->batch.snapshots[i]));
    pthread_mutex_lock(&u->lock);
    u->batch.count = 0;
    u->batch.state = ERRAND_NONE;
    pthread_mutex_unlock(&u->lock);
}

static enum errand_state batch_state(struct upload_self *u)
{
    pthread_mutex_lock(&u->lock);
    enum errand_state state = u->batch.state;
    pthread_mutex_unlock(&u->lock);
    return state;
}

/* Marks could not be made. */
static void judge_batch(struct upload_self *u)
{
    struct batch *b = &u->batch;
    if (b->code == -ECANCELED)
        return;
    /* It concerns no single file, so the storage has to be left alone either way. */
    if (b->failure.trouble == STORAGE_WELL)
        b->failure.trouble = STORAGE_AWAY;
    pause_all(u, b->generation, &b->failure, &b->error);
}

static void collect(struct upload_self *u)
{
    AUTO_FREE struct slot **list = xcalloc((size_t)u->slot_count, sizeof(struct slot *));
    struct err e = {0};
    int count = 0;
    for (int i = 0; i < u->slot_count; i++)
        if (is_finished(u, i))
            list[count++] = &u->slots[i];
    bool marked = batch_state(u) == ERRAND_DONE;
    if (marked && u->batch.code < 0) {
        judge_batch(u);
        free_batch(u);
        marked = false;
    }
    if (count == 0 && !marked)
        return;
    int r = write_results(u, list, count, marked, &e);
    if (r < 0) { /* they stay as they are, so that nothing is sent twice */
        rest(u, "record uploads", &e);
        return;
    }
    if (marked)
        free_batch(u);
    for (int i = 0; i < count; i++) {
        if (list[i]->code >= 0)
            report_kept(u, list[i]);
        else if (is_own_fault(list[i]))
            report_failure(u, list[i]);
        judge_storage(u, list[i]);
        snapshot_unref(STEAL(list[i]->snapshot));
        pthread_mutex_lock(&u->lock);
        list[i]->state = SLOT_FREE;
        pthread_mutex_unlock(&u->lock);
    }
}

/* ---- what is next ---- */

static int compare_rows(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

struct census {
    int queued, running, free;
};

/* Rows that are under way, ascending; `ret` has room for all. */
static int list_busy(struct upload_self *u, int64_t *ret, struct census *c)
{
    int count = 0;
    *c = (struct census){0};
    pthread_mutex_lock(&u->lock);
    for (int i = 0; i < u->slot_count; i++) {
        c->free += u->slots[i].state == SLOT_FREE;
        c->queued += u->slots[i].state == SLOT_QUEUED;
        c->running += u->slots[i].state == SLOT_RUNNING;
        if (u->slots[i].state != SLOT_FREE)
            ret[count++] = u->slots[i].job.row;
    }
    if (u->batch.state != ERRAND_NONE)
        for (int i = 0; i < u->batch.count; i++)
            ret[count++] = u->batch.jobs[i].row;
    pthread_mutex_unlock(&u->lock);
    qsort(ret, (size_t)count, sizeof(*ret), compare_rows);
    return count;
}

static int describe_job(struct upload_self *u, const struct upload_job *job, struct snapshot **ret,
                        char labels[LABELS_MAX], struct err *e)
{
    AUTO(snapshot) s = NULL;
    AUTO_DONE(verdict) v = {0};
    int r = ledger_snapshot_get(u->ledger, job->snapshot_id, &s, e);
    if (r == 0)
        r = ledger_verdict_get(u->ledger, job->snapshot_id, &v, e);
    if (r < 0)
        return r;
    list_labels(&v, labels);
    *ret = STEAL(s);
    return 0;
}

static int enqueue(struct upload_self *u, const struct upload_job *job, bool live, struct err *e)
{
    struct slot *slot = NULL;
    pthread_mutex_lock(&u->lock);
    for (int i = 0; i < u->slot_count && !slot; i++)
        if (u->slots[i].state == SLOT_FREE)
            slot = &u->slots[i];
    pthread_mutex_unlock(&u->lock);
    assert(slot);
    slot->job = *job;
    slot->live = live;
    int r = describe_job(u, job, &slot->snapshot, slot->labels, e);
    if (r < 0)
        return r;
    upload_mark_read(job->mark, &slot->mark);
    slot->size = slot->snapshot->size;
    slot->turn = live ? -job->row : u->turn++; /* the newest live one first */
    pthread_mutex_lock(&u->lock);
    slot->state = SLOT_QUEUED;
    pthread_cond_broadcast(&u->work);
    pthread_mutex_unlock(&u->lock);
    return 0;
}

static bool rate_allows(struct upload_self *u)
{
    if (u->plan.rate == 0)
        return true;
    struct mono_time now = clock_mono();
    if (now.us < u->next_at.us)
        return false;
    u->next_at = mono_add_ms(now, 60000 / u->plan.rate);
    return true;
}

static int gather(struct upload_self *u, const struct upload_job *job, struct err *e)
{
    struct batch *b = &u->batch;
    int r = describe_job(u, job, &b->snapshots[b->count], b->labels[b->count], e);
    if (r == 0)
        b->jobs[b->count++] = *job;
    return r;
}

/* Jobs to look at for those that want a mark. */
#define AHEAD RESERVE_MAX

/* Takes due jobs, in their order, into the queue or to those that want a mark. */
static int take_due(struct upload_self *u, const struct upload_job *jobs, int count, int room,
                    const struct upload_order *order, struct census *c, struct err *e)
{
    bool may_reserve = batch_state(u) == ERRAND_NONE;
    int marked = 0;
    bool hurry = false;
    int r = 0;
    for (int i = 0; i < count && (r == 0 || r == -ENOENT); i++) {
        bool live = jobs[i].row > order->live_after;
        if (!jobs[i].mark[0]) {
            hurry = hurry || marked < u->parallel; /* it is its turn soon */
            if (may_reserve && u->batch.count < RESERVE_MAX)
                r = gather(u, &jobs[i], e);
            room -= !live; /* those behind it do not overtake it; for a live one nobody waits */
            continue;
        }
        marked++;
        /* Live ones come beyond the room that there is, but not without end. */
        if (c->free == 0 || (room <= 0 && !(live && room > -u->parallel)) || !rate_allows(u))
            continue;
        r = enqueue(u, &jobs[i], live, e);
        c->free -= r == 0;
        room -= r == 0;
    }
    hurry = hurry || marked < AHEAD / 2;
    if (may_reserve && u->batch.count > 0 && hurry && (r == 0 || r == -ENOENT)) {
        pthread_mutex_lock(&u->lock);
        u->batch.state = ERRAND_ASKED;
        pthread_cond_broadcast(&u->work);
        pthread_mutex_unlock(&u->lock);
    } else if (may_reserve) {
        free_batch(u);
    }
    return r == -ENOENT ? 0 : r; /* forgotten meanwhile, with its jobs */
}

/* Workers that may be busy now: one alone finds out whether a pause was long enough. */
static int allow(struct upload_self *u)
{
    int allowed = is_well(u) ? u->parallel : 1;
    if (!mono_passed(u->pause_until) || !mono_passed(u->rest_until) || u->ending)
        allowed = 0;
    pthread_mutex_lock(&u->lock);
    u->allowed = allowed;
    pthread_cond_broadcast(&u->work);
    pthread_mutex_unlock(&u->lock);
    return allowed;
}

static void fill(struct upload_self *u)
{
    int allowed = allow(u);
    struct census c;
    AUTO_FREE int64_t *busy = xcalloc((size_t)u->slot_count + RESERVE_MAX, sizeof(*busy));
    int busy_count = list_busy(u, busy, &c);
    if (allowed == 0 || (allowed == 1 && batch_state(u) != ERRAND_NONE && !is_well(u)))
        return;
    /* A queue as long as the row of workers keeps them busy while a commit takes its time. */
    int room = 2 * allowed - c.queued - c.running;
    if (!is_well(u)) /* until it is known what became of the one */
        room = u->slot_count - c.free == 0;
    int max = MAX(room, 0) + AHEAD;
    AUTO_FREE struct upload_job *jobs = xcalloc((size_t)max, sizeof(*jobs));
    struct upload_order order = {.newest_first = u->plan.order == STORAGE_NEWEST_FIRST,
                                 .live_after = is_well(u) ? u->live_after : INT64_MAX};
    struct err e = {0};
    int n = ledger_upload_due(u->ledger, u->storage->name, &order, ledger_now(), busy, busy_count,
                              jobs, max, &e);
    if (n >= 0)
        n = take_due(u, jobs, n, room, &order, &c, &e);
    if (n < 0)
        rest(u, "look for files to upload", &e);
}

/* ---- tidying and stars ---- */

static void ask_errand(struct upload_self *u)
{
    pthread_mutex_lock(&u->lock);
    u->errand.state = ERRAND_ASKED;
    pthread_cond_broadcast(&u->work);
    pthread_mutex_unlock(&u->lock);
}

/* Returns whether it is another one than before. */
static bool show_archive_error(struct upload_self *u, const char *text,
                               enum storage_trouble trouble)
{
    pthread_mutex_lock(&u->lock);
    bool news = strcmp(u->shown.archive_error, text) != 0;
    text_copy(u->shown.archive_error, sizeof(u->shown.archive_error), text);
    u->shown.archive_trouble = trouble;
    pthread_mutex_unlock(&u->lock);
    return news;
}

static void end_archive(struct upload_self *u, const struct errand *x)
{
    if (x->code >= 0) {
        u->archive_at = mono_add_ms(clock_mono(), ARCHIVE_MS);
        (void)show_archive_error(u, "", STORAGE_WELL);
        if (x->code > 0)
            log_notice("archived", "%s: %d files put in their place", u->storage->name, x->code);
        return;
    }
    int64_t named = MIN(x->failure.pause_ms, (int64_t)PAUSE_NAMED_MAX_MS);
    u->archive_at = mono_add_ms(clock_mono(), MAX(named, (int64_t)ARCHIVE_AGAIN_MS));
    if (x->code == -ECANCELED)
        return;
    if (show_archive_error(u, x->error.text, x->failure.trouble))
        log_warn("archive-failed", "%s: tidying: %s; again every minute", u->storage->name,
                 x->error.text);
}

static void end_star(struct upload_self *u, const struct errand *x)
{
    struct err e = {0};
    bool given_up = x->code < 0 && x->failure.trouble == STORAGE_WELL &&
                    x->error.retry == ERR_NEVER && x->code != -ECANCELED;
    if (given_up)
        log_warn("star-failed", "%s: the star of %s: %s", u->storage->name, x->job.snapshot_id,
                 x->error.text);
    int r = x->code >= 0 || given_up ? ledger_upload_star_done(u->ledger, &x->job, &e) : -EAGAIN;
    if (r < 0)
        u->stars_at = mono_add_ms(clock_mono(), STARS_AGAIN_MS);
}

static void end_errand(struct upload_self *u)
{
    struct errand *x = &u->errand;
    switch (x->kind) {
    case ERRAND_TEND:
        u->tend_at = mono_add_ms(clock_mono(), MAX(x->again_ms, (int64_t)SWEEP_MS));
        break;
    case ERRAND_STAR:
        end_star(u, x);
        break;
    case ERRAND_ARCHIVE:
        end_archive(u, x);
        break;
    }
    pthread_mutex_lock(&u->lock);
    x->state = ERRAND_NONE;
    pthread_mutex_unlock(&u->lock);
}

static enum errand_state errand_state(struct upload_self *u)
{
    pthread_mutex_lock(&u->lock);
    enum errand_state state = u->errand.state;
    pthread_mutex_unlock(&u->lock);
    return state;
}

static void find_errand(struct upload_self *u)
{
    const struct storage_ops *ops = u->storage->ops;
    struct errand *x = &u->errand;
    struct err e = {0};
    if (u->ending || errand_state(u) != ERRAND_NONE)
        return;
    if (ops->tend && mono_passed(u->tend_at)) {
        x->kind = ERRAND_TEND;
        ask_errand(u);
        return;
    }
    if (!is_well(u))
        return;
    if (mono_passed(u->stars_at)) {
        int n = ledger_upload_stars(u->ledger, u->storage->name, &x->job, 1, &e);
        if (n == 1 && !ops->star) {                                /* nobody there wants to know */
            (void)ledger_upload_star_done(u->ledger, &x->job, &e); /* else the next sweep does */
        } else if (n == 1) {
            x->kind = ERRAND_STAR;
            upload_mark_read(x->job.mark, &x->mark);
            ask_errand(u);
            return;
        }
    }
    if (ops->archive && mono_passed(u->archive_at)) {
        x->kind = ERRAND_ARCHIVE;
        ask_errand(u);
    }
}

/* ---- the stage ---- */

static const struct storage_plan *find_plan(const struct settings *now, const char *name)
{
    for (size_t i = 0; i < now->storage_count; i++)
        if (strcmp(now->storages[i].name, name) == 0)
            return &now->storages[i];
    return NULL;
}

/* After a reload what people had to do may be done. */
static void look_at_settings(struct upload_self *u)
{
    struct settings *now = pipeline_settings(u->pipeline);
    if (now == u->settings) {
        settings_unref(now);
        return;
    }
    const struct storage_plan *plan = find_plan(now, u->storage->name);
    if (plan)
        u->plan = *plan->common;
    if (u->settings)
        u->pause_until.us = u->archive_at.us = 0;
    settings_unref(u->settings);
    u->settings = now;
}

static void age_live(struct upload_self *u)
{
    int64_t last;
    struct err e = {0};
    if (!mono_passed(u->live_at) || ledger_upload_last_row(u->ledger, &last, &e) < 0)
        return;
    u->live_after = u->live_next;
    u->live_next = last;
    u->live_at = mono_add_ms(clock_mono(), LIVE_MS);
}

static void show_pause(struct upload_self *u)
{
    pthread_mutex_lock(&u->lock);
    u->shown.pause_ms = mono_until_ms(u->pause_until);
    pthread_mutex_unlock(&u->lock);
}

static int64_t next_sweep_ms(struct upload_self *u)
{
    struct err e = {0};
    struct wall_time next;
    int64_t pause = SWEEP_MS;
    if (!mono_passed(u->rest_until))
        return MIN(pause, (int64_t)mono_until_ms(u->rest_until));
    if (!mono_passed(u->pause_until))
        return MIN(pause, (int64_t)mono_until_ms(u->pause_until));
    if (!mono_passed(u->next_at))
        return MIN(pause, (int64_t)mono_until_ms(u->next_at));
    if (ledger_upload_next(u->ledger, u->storage->name, &next, &e) == 0 &&
        next.us > ledger_now().us) /* of others a result will tell */
        pause = MIN(pause, (next.us - ledger_now().us) / 1000 + 1);
    return pause;
}

static int64_t upload_sweep(void *self)
{
    struct upload_self *u = self;
    look_at_settings(u);
    if (mono_passed(u->rest_until)) {
        (void)allow(u); /* workers go on while this takes its time */
        collect(u);
    }
    if (errand_state(u) == ERRAND_DONE)
        end_errand(u);
    age_live(u);
    fill(u);
    find_errand(u);
    show_pause(u);
    return next_sweep_ms(u);
}

/* The program stops: nothing new begins, and what is under way has a moment left. */
static void begin_end(struct upload_self *u)
{
    if (u->ending)
        return;
    u->ending = true;
    u->cut_at = mono_add_ms(clock_mono(), LAST_UPLOADS_MS);
    (void)allow(u);
    empty_queue(u);
}

static void cut_calls(struct upload_self *u)
{
    uint64_t one = 1;
    if (!u->cut)
        (void)!write(u->stop_fd, &one, sizeof(one)); /* a counter far from full */
    u->cut = true;
}

static bool upload_idle(void *self)
{
    struct upload_self *u = self;
    struct census c;
    begin_end(u);
    if (mono_passed(u->rest_until))
        collect(u);
    if (errand_state(u) == ERRAND_DONE)
        end_errand(u);
    /* Tidying may take an hour, and goes on where it was cut. */
    if (mono_passed(u->cut_at) || errand_state(u) == ERRAND_ASKED)
        cut_calls(u);
    AUTO_FREE int64_t *busy = xcalloc((size_t)u->slot_count + RESERVE_MAX, sizeof(*busy));
    (void)list_busy(u, busy, &c);
    return c.running == 0 && batch_state(u) != ERRAND_ASKED && errand_state(u) != ERRAND_ASKED;
}

static int upload_fd(void *self)
{
    struct upload_self *u = self;
    return u->pipeline->stop_fd > 0 && !u->ending ? u->pipeline->stop_fd : -1;
}

static void upload_ready(void *self)
{
    begin_end(self);
}

static int start_worker(struct upload_self *u, void *(*run)(void *), struct err *e)
{
    struct worker *w = &u->workers[u->worker_count];
    w->upload = u;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_SIZE);
    int code =
        pthread_create(&w->thread, &attr, run, w); /* signals are blocked as in this thread */
    pthread_attr_destroy(&attr);
    if (code)
        return err_errno(e, -code, "start a thread");
    u->worker_count++;
    return 0;
}

static int upload_init(void *self, struct stage *st, struct err *e)
{
    struct upload_self *u = self;
    u->stage = st;
    look_at_settings(u);
    u->parallel = (int)MAX(1, MIN(u->plan.parallel, STORAGE_PARALLEL_MAX));
    u->slot_count = 4 * u->parallel;
    u->slots = xcalloc((size_t)u->slot_count, sizeof(*u->slots));
    u->workers = xcalloc((size_t)u->parallel + 2, sizeof(*u->workers));
    u->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (u->stop_fd < 0)
        return err_errno(e, -errno, "eventfd");
    int r = ledger_open(u->pipeline->ledger_path, &u->ledger, e);
    if (r == 0)
        r = ledger_open(u->pipeline->ledger_path, &u->side, e);
    if (r < 0)
        return r;
    begin_live(u);
    for (int i = 0; i < u->parallel && r == 0; i++)
        r = start_worker(u, put_main, e);
    if (r == 0)
        r = start_worker(u, reserve_main, e);
    if (r == 0 && (u->storage->ops->archive || u->storage->ops->star || u->storage->ops->tend))
        r = start_worker(u, errand_main, e);
    return r;
}

static void upload_fini(void *self)
{
    struct upload_self *u = self;
    pthread_mutex_lock(&u->lock);
    u->ended = true;
    pthread_cond_broadcast(&u->work);
    pthread_mutex_unlock(&u->lock);
    if (u->stop_fd >= 0)
        cut_calls(u);
    for (int i = 0; i < u->worker_count; i++) {
        pthread_join(u->workers[i].thread, NULL);
        if (u->workers[i].session)
            u->storage->ops->session_free(u->workers[i].session);
    }
    if (u->ledger && u->slots)
        collect(u);
    for (int i = 0; i < u->slot_count; i++)
        snapshot_unref(u->slots[i].snapshot);
    free_batch(u);
    free(u->slots);
    free(u->workers);
    settings_unref(STEAL(u->settings));
    ledger_close(u->side);
    ledger_close(u->ledger);
    if (u->stop_fd >= 0)
        (void)close(u->stop_fd);
    pthread_cond_destroy(&u->work);
    pthread_mutex_destroy(&u->side_lock);
}

void *upload_stage_new(struct pipeline *p, struct storage *s)
{
    struct upload_self *u = xcalloc(1, sizeof(*u));
    u->pipeline = p;
    u->storage = s;
    u->stop_fd = -1;
    u->plan.parallel = 4; /* as the key's default, for a storage without a plan */
    u->plan.order = STORAGE_OLDEST_FIRST;
    pthread_mutex_init(&u->lock, NULL); /* stays for the status, and holds nothing */
    pthread_mutex_init(&u->side_lock, NULL);
    pthread_cond_init(&u->work, NULL);
    return u;
}

void upload_stage_status(void *self, struct storage_status *ret)
{
    struct upload_self *u = self;
    struct storage_state state = {0};
    u->storage->ops->describe(u->storage, &state);
    pthread_mutex_lock(&u->lock);
    *ret = u->shown;
    pthread_mutex_unlock(&u->lock);
    text_copy(ret->state, sizeof(ret->state), state.text);
    text_copy(ret->url, sizeof(ret->url), state.url);
    if (!ret->error[0])
        text_copy(ret->error, sizeof(ret->error), state.error);
}

const struct stage_ops upload_stage = {
    .name = "upload",
    .register_metrics = register_metrics,
    .init = upload_init,
    .sweep = upload_sweep,
    .fd = upload_fd,
    .ready = upload_ready,
    .idle = upload_idle,
    .fini = upload_fini,
};
