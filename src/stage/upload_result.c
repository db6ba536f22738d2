/* Upload: what became of files. Writes results to the ledger, and decides about their repeats and
 * about those that are put aside. */

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

/* Nothing new begins for so long when a file could not be read and no other could since. */
#define READ_PAUSE_MS 5000
/* The file itself waits longer: it may be the only one. */
#define READ_AGAIN_MS 60000
/* A disk that fails may recover, so it is tried for a day: so often, each time with others that
 * could be read meanwhile. The waits double from a minute to an hour. */
#define READ_TRIES_MAX 30
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
static struct metric seconds = {.name = "snapshotd_upload_seconds",
                                .kind = METRIC_HISTOGRAM,
                                .label = "storage",
                                .help = "An upload that succeeded, from reading the file on"};

static struct metric sent_bytes = {.name = "snapshotd_upload_bytes_total",
                                   .kind = METRIC_COUNTER,
                                   .label = "storage",
                                   .help = "Bytes of the files that a storage has"};
static struct metric *const all_metrics[] = {&kept,    &failed,     &dead,
                                             &seconds, &sent_bytes, &upload_pauses};

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

/* What a file waits that could not be read, after so many attempts that counted. */
static int64_t read_wait_ms(int attempts)
{
    int doublings = MIN(MAX(attempts - 1, 0), 20);
    return MIN((int64_t)READ_AGAIN_MS << doublings, UPLOAD_BACKOFF_MAX_MS);
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
    int64_t wait = upload_doubled_ms(s->job.attempts, UPLOAD_BACKOFF_MAX_MS);
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

void upload_count_failed(struct upload_self *u)
{
    metric_inc(&failed, u->storage->name);
    pthread_mutex_lock(&u->lock);
    u->shown.failed++;
    pthread_mutex_unlock(&u->lock);
}

static void report_failure(struct upload_self *u, const struct slot *s)
{
    if (s->origin == FROM_STORE && s->fate != FATE_ENDS) {
        rest_reads(u, s);
        return;
    }
    const char *name = u->storage->name;
    log_context_snapshot(s->job.snapshot_id);
    upload_count_failed(u);
    stage_count_failed(u->stage, s->error.text);
    if (s->fate == FATE_ENDS) {
        metric_inc(&dead, name);
        log_error("upload-dead", "%s: %s; put aside", name, s->error.text);
    } else {
        log_warn("upload-failed", "%s: %s; trying again later", name, s->error.text);
    }
    log_context_snapshot(NULL);
    pthread_mutex_lock(&u->lock);
    text_copy(u->shown.error, sizeof(u->shown.error), s->error.text);
    pthread_mutex_unlock(&u->lock);
}

static void report_kept(struct upload_self *u, const struct slot *s)
{
    const char *name = u->storage->name;
    metric_inc(&kept, name);
    pipeline_tell(u->pipeline, NEWS_UPLOADED, s->job.snapshot_id);
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
        upload_judge_batch(u);
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
        upload_judge_storage(u, list[i]);
        snapshot_unref(STEAL(list[i]->snapshot));
        pthread_mutex_lock(&u->lock);
        list[i]->state = SLOT_FREE;
        pthread_mutex_unlock(&u->lock);
    }
}
