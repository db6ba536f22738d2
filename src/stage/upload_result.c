/* Upload: what became of it. Writes results to the ledger, and decides about pauses, repeats and
 * files that are put aside. */

#include "stage/upload_internal.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/text.h"
#include "stage/upload_object.h"

/* Pause after the n-th failure in a row: 1 s doubling to this. */
#define PAUSE_MAX_MS 300000
/* Somebody has to do something first; a reload tries at once. */
#define PAUSE_PEOPLE_MS 3600000
/* A storage that names a longer one is not believed. */
#define PAUSE_NAMED_MAX_MS 86400000
/* The same for one file. */
#define BACKOFF_MAX_MS ((int64_t)LEDGER_WAIT_MAX_S * 1000)
/* Nothing new begins for so long when a file could not be read and no other could since. */
#define READ_PAUSE_MS 5000
/* The file itself waits longer: it may be the only one. */
#define READ_AGAIN_MS 60000
/* A disk that fails may recover, so it is tried for a day: so often, each time with others that
 * could be read meanwhile. The waits double from a minute to an hour. */
#define READ_TRIES_MAX 30
/* A file that found the storage away so often in a row is suspected. */
#define SUSPECT_TIMES 3
#define ARCHIVE_MS 86400000
#define ROOM_MS 600000
/* Nothing new begins for so long when the ledger takes no results. */
#define LEDGER_PAUSE_MS 5000

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

static struct metric sent_bytes = {.name = "snapshotd_upload_bytes_total",
                                   .kind = METRIC_COUNTER,
                                   .label = "storage",
                                   .help = "Bytes of the files that a storage has"};
static struct metric *const all_metrics[] = {&kept,     &failed,  &dead,
                                             &troubles, &seconds, &sent_bytes};

void upload_register_metrics(void)
{
    for (size_t i = 0; i < ARRAY_LEN(all_metrics); i++)
        metric_register(all_metrics[i]);
}

void upload_touch_metrics(const struct storage *s)
{
    for (size_t i = 0; i < ARRAY_LEN(all_metrics); i++)
        metric_touch(all_metrics[i], s->name);
}

void upload_rest(struct upload_self *u, const char *what, const struct err *e)
{
    if (!mono_passed(u->rest_until))
        return;
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

/* What a file waits that could not be read, after so many attempts that counted. */
static int64_t read_wait_ms(int attempts)
{
    int doublings = MIN(MAX(attempts - 1, 0), 20);
    return MIN((int64_t)READ_AGAIN_MS << doublings, BACKOFF_MAX_MS);
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

/* Failures of calls that began before the last pause, or before a reload, say nothing new, but for
 * how long to wait; not so when people have to mend something, which they may have done. */
static void pause_all(struct upload_self *u, unsigned generation, const struct storage_failure *f,
                      const struct err *why)
{
    struct mono_time now = clock_mono();
    bool news = generation == u->generation;
    int64_t ms = pause_ms(u, f);
    if (!news && (f->trouble == STORAGE_LOGIN || f->trouble == STORAGE_QUOTA))
        return;
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
    upload_empty_queue(u);
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
void upload_begin_live(struct upload_self *u)
{
    struct err e = {0};
    int64_t last;
    int r = ledger_upload_last_row(u->ledger, &last, &e);
    if (r < 0)
        return; /* only the order suffers, and the next look will tell */
    u->live_after = u->live_next = last;
    u->live_at = mono_add_ms(clock_mono(), UPLOAD_LIVE_MS);
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
    upload_begin_live(u);
    log_notice("storage-well", "%s takes files again", u->storage->name);
}

bool upload_is_well(struct upload_self *u)
{
    pthread_mutex_lock(&u->lock);
    bool well = u->shown.trouble == STORAGE_WELL;
    pthread_mutex_unlock(&u->lock);
    return well;
}

/* It is gone or not what it was. All other failures of reading may pass, and may be of the whole
 * disk. */
static bool is_unreadable(const struct slot *s)
{
    switch (-s->code) {
    case ENOENT:
    case EBADMSG:
    case EFBIG:
    case EISDIR:
    case ENOTDIR:
    case ELOOP:
        return true;
    default:
        return false;
    }
}

/* It could not be read. The fault is its own when another could since the last time. */
static enum fate fate_of_unread(struct upload_self *u, struct slot *s)
{
    if (is_unreadable(s)) {
        err_prefix(&s->error, "the file cannot be read any more");
        return FATE_ENDS;
    }
    int64_t failed_us = s->job.not_before.us - read_wait_ms(s->job.attempts) * 1000;
    pthread_mutex_lock(&u->lock);
    bool others = u->reads > s->reads || (s->job.not_before.us > 0 && u->read_last.us > failed_us);
    pthread_mutex_unlock(&u->lock);
    if (!others)
        return FATE_WAITS;
    if (s->job.attempts + 1 < READ_TRIES_MAX)
        return FATE_AGAIN;
    err_prefix(&s->error, "the file could not be read for a day, others could");
    return FATE_ENDS;
}

static void judge_file(struct upload_self *u, struct slot *s)
{
    if (s->fate != FATE_OPEN) /* the ledger did not take it at first */
        return;
    if (s->origin == FROM_STORE)
        s->fate = fate_of_unread(u, s);
    else
        s->fate = s->error.retry == ERR_NEVER ? FATE_ENDS : FATE_AGAIN;
}

/* A fault of the file itself. */
static int record_failure(struct upload_self *u, struct slot *s, struct err *e)
{
    int64_t wait = doubled_ms(s->job.attempts, BACKOFF_MAX_MS);
    if (s->origin == FROM_STORE)
        wait = read_wait_ms(s->job.attempts + (s->fate == FATE_AGAIN));
    struct wall_time later = {ledger_now().us + wait * 1000};
    int r = 0;
    switch (s->fate) {
    case FATE_ENDS:
        r = ledger_upload_dead(u->ledger, &s->job, s->error.text, e);
        break;
    case FATE_WAITS:
        r = ledger_upload_wait(u->ledger, &s->job, later, s->error.text, e);
        break;
    case FATE_AGAIN:
        r = ledger_upload_retry(u->ledger, &s->job, later, s->error.text, e);
        break;
    case FATE_OPEN:
        assert(false);
    }
    return r == -EALREADY ? 0 : r;
}

/* A file could not be read. When no other could either since it began, it is the disk, or there are
 * no descriptors: then all wait, and so does the log. */
static void rest_reads(struct upload_self *u, const struct slot *s)
{
    pthread_mutex_lock(&u->lock);
    bool others = u->reads > s->reads;
    text_copy(u->shown.error, sizeof(u->shown.error), s->error.text);
    pthread_mutex_unlock(&u->lock);
    log_context_snapshot(s->job.snapshot_id);
    if (others) {
        log_warn("read-failed", "%s: %s; trying again later", u->storage->name, s->error.text);
        stage_count_failed(u->stage, s->error.text);
    } else if (mono_passed(u->read_at)) {
        log_error("read-failed", "%s: %s; files wait, trying others in %d s", u->storage->name,
                  s->error.text, READ_PAUSE_MS / 1000);
        stage_count_failed(u->stage, s->error.text);
        u->read_at = mono_add_ms(clock_mono(), READ_PAUSE_MS);
    }
    log_context_snapshot(NULL);
}

static void report_failure(struct upload_self *u, const struct slot *s)
{
    if (s->origin == FROM_STORE && s->fate != FATE_ENDS) {
        rest_reads(u, s);
        return;
    }
    const char *name = u->storage->name;
    log_context_snapshot(s->job.snapshot_id);
    metric_inc(&failed, name);
    stage_count_failed(u->stage, s->error.text);
    if (s->fate == FATE_ENDS) {
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
    metric_add(&sent_bytes, name, (double)s->read);
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

/* Whether the ledger hears of it: not of trouble, of its own, nor of calls that were ended. */
static bool is_own_fault(const struct slot *s)
{
    return s->code < 0 && s->code != -ECANCELED && s->origin != FROM_LEDGER &&
           s->failure.trouble == STORAGE_WELL;
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

/* Before the pause. Only what is away may be so for one file: all else the storage has told. */
static void suspect(struct upload_self *u, const struct slot *s)
{
    struct suspect *x = &u->suspect;
    if (x->passed || s->failure.trouble != STORAGE_AWAY) { /* it is the storage, then */
        u->failures -= x->passed && u->failures > 0;       /* both of them count once */
        x->passed = false;
        x->times = s->failure.trouble == STORAGE_AWAY ? x->times : 0;
        return;
    }
    x->times = x->job.row == s->job.row ? x->times + 1 : 1;
    x->job = s->job;
    x->error = s->error;
    x->passed = x->times % SUSPECT_TIMES == 0;
}

static void pause_for(struct upload_self *u, const struct slot *s)
{
    struct suspect *x = &u->suspect;
    bool news = s->generation == u->generation;
    if (news)
        suspect(u, s);
    pause_all(u, s->generation, &s->failure, &s->error);
    if (news && x->passed) {
        x->pause_until = u->pause_until;
        u->pause_until.us = 0;
    }
}

/* Another one went through at once where this one had failed three times. */
static void condemn(struct upload_self *u)
{
    struct suspect *x = &u->suspect;
    struct err e = {0};
    struct wall_time later = {ledger_now().us + doubled_ms(x->job.attempts, BACKOFF_MAX_MS) * 1000};
    int r = ledger_upload_retry(u->ledger, &x->job, later, x->error.text, &e);
    if (r < 0 && r != -EALREADY) {
        upload_rest(u, "let a file wait", &e);
        return;
    }
    log_context_snapshot(x->job.snapshot_id);
    log_warn("upload-failed", "%s: %s; others go through, so it waits by itself", u->storage->name,
             x->error.text);
    log_context_snapshot(NULL);
    metric_inc(&failed, u->storage->name);
    pthread_mutex_lock(&u->lock);
    u->shown.failed++;
    pthread_mutex_unlock(&u->lock);
}

static void judge_storage(struct upload_self *u, struct slot *s)
{
    if (s->origin == FROM_STORE)
        return;
    if (s->origin == FROM_LEDGER && s->code < 0) {
        upload_rest(u, "note where a file goes", &s->error);
        return;
    }
    if (s->code == -ECANCELED && !u->ending)
        s->failure.trouble = STORAGE_AWAY; /* by nobody here; it must not go round and round */
    if (s->code < 0 && s->failure.trouble != STORAGE_WELL) {
        pause_for(u, s);
    } else if (s->code != -ECANCELED && !s->failure.asked_nobody &&
               s->generation == u->generation) {
        if (u->suspect.passed && u->suspect.job.row != s->job.row)
            condemn(u);
        u->suspect.passed = false;
        u->suspect.times = 0;
        go_on(u);
    }
}

/* Marks could not be made. */
static void judge_batch(struct upload_self *u)
{
    struct batch *b = &u->batch;
    u->suspect.passed = false;
    if (b->code == -ECANCELED)
        return;
    if (b->origin == FROM_LEDGER) {
        upload_rest(u, "note for a storage", &b->error);
        return;
    }
    /* It concerns no single file, so the storage has to be left alone either way. */
    if (b->failure.trouble == STORAGE_WELL)
        b->failure.trouble = STORAGE_AWAY;
    pause_all(u, b->generation, &b->failure, &b->error);
}

void upload_collect(struct upload_self *u)
{
    AUTO_FREE struct slot **list = xcalloc((size_t)u->slot_count, sizeof(struct slot *));
    struct err e = {0};
    int count = 0;
    for (int i = 0; i < u->slot_count; i++)
        if (is_finished(u, i))
            list[count++] = &u->slots[i];
    for (int i = 0; i < count; i++)
        if (is_own_fault(list[i]))
            judge_file(u, list[i]);
    bool marked = upload_batch_state(u) == ERRAND_DONE;
    if (marked && u->batch.code < 0) {
        judge_batch(u);
        upload_free_batch(u);
        marked = false;
    }
    if (count == 0 && !marked)
        return;
    int r = write_results(u, list, count, marked, &e);
    if (r < 0) { /* they stay as they are, so that nothing is sent twice */
        upload_rest(u, "record uploads", &e);
        return;
    }
    if (marked)
        upload_free_batch(u);
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

static struct mono_time errand_again(const struct errand *x)
{
    int64_t named = MIN(x->failure.pause_ms, (int64_t)PAUSE_NAMED_MAX_MS);
    return mono_add_ms(clock_mono(), MAX(named, (int64_t)UPLOAD_ERRAND_AGAIN_MS));
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
    if (x->code == -EINPROGRESS) {
        u->archive_at = clock_mono();
        return;
    }
    u->archive_at = errand_again(x);
    if (x->code == -ECANCELED)
        return;
    if (show_archive_error(u, x->error.text, x->failure.trouble))
        log_warn("archive-failed", "%s: tidying: %s; again every 5 minutes", u->storage->name,
                 x->error.text);
}

static void end_star(struct upload_self *u, const struct errand *x)
{
    struct err e = {0};
    bool own = x->code < 0 && x->code != -ECANCELED && x->failure.trouble == STORAGE_WELL;
    bool given_up = own && x->error.retry == ERR_NEVER;
    if (given_up)
        log_warn("star-failed", "%s: the star of %s: %s", u->storage->name, x->job.snapshot_id,
                 x->error.text);
    if (x->code >= 0 || given_up) {
        if (ledger_upload_star_done(u->ledger, &x->job, &e) < 0)
            u->stars_at = errand_again(x);
    } else if (own) {
        log_info("star-failed", "%s: the star of %s: %s; trying again later", u->storage->name,
                 x->job.snapshot_id, x->error.text);
        u->star_after = x->job.row; /* the others first */
    } else {
        u->stars_at = errand_again(x);
    }
}

/* The figure stays when it cannot be had: the storage's trouble is told elsewhere. */
static void end_room(struct upload_self *u, const struct errand *x)
{
    u->room_at = mono_add_ms(clock_mono(), ROOM_MS);
    if (x->code < 0)
        return;
    pthread_mutex_lock(&u->lock);
    u->shown.free_bytes = x->free_bytes;
    pthread_mutex_unlock(&u->lock);
}

void upload_end_errand(struct upload_self *u)
{
    struct errand *x = &u->errand;
    switch (x->kind) {
    case ERRAND_TEND:
        u->tend_at = mono_add_ms(clock_mono(), MAX(x->again_ms, (int64_t)UPLOAD_SWEEP_MS));
        break;
    case ERRAND_ROOM:
        end_room(u, x);
        break;
    case ERRAND_STAR:
        end_star(u, x);
        break;
    case ERRAND_ARCHIVE:
        end_archive(u, x);
        break;
    case ERRAND_KIND_COUNT:
        break;
    }
    pthread_mutex_lock(&u->lock);
    x->state = ERRAND_NONE;
    pthread_mutex_unlock(&u->lock);
}
