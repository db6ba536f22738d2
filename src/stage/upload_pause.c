/* Upload: whether the storage takes files. Decides about pauses, about when they end, and about the
 * file that may be at fault instead. */

#include "stage/upload_internal.h"

#include <errno.h>

#include "base/log.h"
#include "base/metrics.h"
#include "base/text.h"

/* Pause after the n-th failure in a row: 1 s doubling to this. */
#define PAUSE_MAX_MS 300000
/* Somebody has to do something first; a reload tries at once. */
#define PAUSE_PEOPLE_MS 3600000
/* A file that found the storage away so often in a row is suspected. */
#define SUSPECT_TIMES 3

struct metric upload_pauses = {.name = "snapshotd_storage_pauses_total",
                               .kind = METRIC_COUNTER,
                               .label = "storage",
                               .help = "Times that a storage took nothing and all of its files "
                                       "waited"};

int64_t upload_doubled_ms(int failures, int64_t max)
{
    int doublings = MIN(failures, 20);
    return MIN((int64_t)1000 << doublings, max);
}

static int64_t pause_ms(const struct upload_self *u, const struct storage_failure *f)
{
    int64_t own = f->trouble == STORAGE_QUOTA || f->trouble == STORAGE_LOGIN
                      ? PAUSE_PEOPLE_MS
                      : upload_doubled_ms(u->failures, PAUSE_MAX_MS);
    int64_t named = MIN(f->pause_ms, (int64_t)UPLOAD_NAMED_MAX_MS);
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
    metric_inc(&upload_pauses, u->storage->name);
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
    struct wall_time later = {ledger_now().us +
                              upload_doubled_ms(x->job.attempts, UPLOAD_BACKOFF_MAX_MS) * 1000};
    int r = ledger_upload_retry(u->ledger, &x->job, later, x->error.text, &e);
    if (r < 0 && r != -EALREADY) {
        upload_rest(u, "let a file wait", &e);
        return;
    }
    log_context_snapshot(x->job.snapshot_id);
    log_warn("upload-failed", "%s: %s; others go through, so it waits by itself", u->storage->name,
             x->error.text);
    log_context_snapshot(NULL);
    upload_count_failed(u);
}

void upload_judge_storage(struct upload_self *u, struct slot *s)
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

void upload_judge_batch(struct upload_self *u)
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
