/* Upload: what is next. Looks for what is due, and keeps the queue of the workers and the marks to
 * be made. */

#include "stage/upload_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "stage/upload_object.h"

/* Jobs to look at for those that want a mark. */
#define AHEAD RESERVE_MAX

static int compare_rows(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Rows that are under way, ascending; `ret` has room for all. */
int upload_list_busy(struct upload_self *u, int64_t *ret, struct census *c)
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

/* A job that makes no sense is put aside, else nothing behind it would ever go. */
static int put_aside(struct upload_self *u, const struct upload_job *job, const char *why,
                     struct err *e)
{
    log_error("upload-dead", "%s: %s; put aside", u->storage->name, why);
    stage_count_failed(u->stage, why);
    return ledger_upload_damaged(u->ledger, job->row, why, e);
}

/* What to make of a job that could not be described. */
static int without_story(struct upload_self *u, const struct upload_job *job, int r, struct err *e)
{
    if (r == -ENOENT) /* forgotten meanwhile, with its jobs */
        return 0;
    if (r != -EUCLEAN)
        return r;
    struct err why = *e;
    return put_aside(u, job, why.text, e);
}

/* Marks that ask nobody are made at once. */
static bool make_here(struct upload_self *u)
{
    const struct storage_ops *ops = u->storage->ops;
    if (!ops->reserve_asks_nobody)
        return ops->reserve_stocked && upload_take_marks(u, &u->batch);
    upload_make_marks(&u->own, &u->batch);
    return true;
}

static void expect_live(struct upload_self *u, bool comes)
{
    pthread_mutex_lock(&u->lock);
    if (u->live_comes && !comes)
        pthread_cond_broadcast(&u->work);
    u->live_comes = comes;
    pthread_mutex_unlock(&u->lock);
}

/* Marks are asked for, or made. */
static int ask_for_marks(struct upload_self *u, const struct upload_job *const *jobs, int count,
                         bool live, struct err *e)
{
    struct batch *b = &u->batch;
    int r = 0;
    if (live)
        expect_live(u, true);
    for (int i = 0; i < count && r == 0; i++) {
        r = describe_job(u, jobs[i], &b->snapshots[b->count], b->labels[b->count], e);
        if (r == 0)
            b->jobs[b->count++] = *jobs[i];
        else
            r = without_story(u, jobs[i], r, e);
    }
    if (r < 0 || b->count == 0) {
        upload_free_batch(u);
        return r;
    }
    b->generation = u->generation;
    bool here = make_here(u);
    pthread_mutex_lock(&u->lock);
    b->state = here ? ERRAND_DONE : ERRAND_ASKED;
    pthread_cond_broadcast(&u->work);
    pthread_mutex_unlock(&u->lock);
    b->live = here && live;
    return 0;
}

/* Those whose marks are being made and that a job would overtake. */
static int overtaken(struct upload_self *u, int64_t row, const struct upload_order *order)
{
    const struct batch *b = &u->batch;
    int count = 0;
    if (upload_batch_state(u) == ERRAND_NONE)
        return 0;
    for (int i = 0; i < b->count; i++)
        count += b->jobs[i].row <= order->live_after &&
                 (order->newest_first ? b->jobs[i].row > row : b->jobs[i].row < row);
    return count;
}

/* Takes due jobs, in their order, into the queue or to those that want a mark. Of these the live
 * ones go alone, since their marks are not to wait for others'; but not twice in a row, so that
 * many of them leave the backlog its share. */
static int take_due(struct upload_self *u, const struct upload_job *jobs, int count, int room,
                    const struct upload_order *order, struct census *c, struct err *e)
{
    const struct upload_job *wanting[RESERVE_MAX];
    int wanting_count = 0, marked = 0, r = 0;
    bool live_wants = false, hurry = false;
    for (int i = 0; i < count && r == 0; i++) {
        const struct upload_job *job = &jobs[i];
        bool live = job->row > order->live_after;
        if (job->damaged) {
            r = put_aside(u, job, "its row in the ledger is damaged", e);
            continue;
        }
        if (!job->mark[0]) {
            bool soon = marked < u->parallel; /* its turn */
            live_wants = live_wants || (live && soon);
            hurry = hurry || soon;
            if (wanting_count < RESERVE_MAX && (live || !live_wants || u->batch.alone))
                wanting[wanting_count++] = job;
            room -= !live; /* those behind it do not overtake it; for a live one nobody waits */
            continue;
        }
        marked++;
        /* Live ones come beyond the room that there is, but not without end. */
        bool fits = live ? room > -u->parallel : room > overtaken(u, job->row, order);
        if (c->free == 0 || !fits || !rate_allows(u))
            continue;
        r = enqueue(u, job, live, e);
        c->free -= r == 0;
        room -= r == 0;
        if (r < 0)
            r = without_story(u, job, r, e);
    }
    hurry = hurry || marked < AHEAD / 2;
    u->batch.urgent = live_wants || marked == 0;
    if (r < 0 || wanting_count == 0 || !hurry || upload_batch_state(u) != ERRAND_NONE)
        return r;
    u->batch.alone = live_wants && !u->batch.alone;
    return ask_for_marks(u, wanting, wanting_count, live_wants, e);
}

/* Workers that may be busy now: one alone finds out whether a pause was long enough. */
int upload_allow(struct upload_self *u)
{
    int allowed = upload_is_well(u) ? u->parallel : 1;
    if (!mono_passed(u->pause_until) || !mono_passed(u->rest_until) || !mono_passed(u->read_at) ||
        u->ending || u->paused)
        allowed = 0;
    pthread_mutex_lock(&u->lock);
    u->allowed = allowed;
    pthread_cond_broadcast(&u->work);
    pthread_mutex_unlock(&u->lock);
    return allowed;
}

/* Adds a row to those that are under way. */
static int pass_over(int64_t *busy, int count, int64_t row)
{
    int i = count;
    for (; i > 0 && busy[i - 1] > row; i--)
        busy[i] = busy[i - 1];
    busy[i] = row;
    return count + 1;
}

static void take_next(struct upload_self *u)
{
    int allowed = upload_allow(u);
    struct census c;
    AUTO_FREE int64_t *busy = xcalloc((size_t)u->slot_count + RESERVE_MAX + 1, sizeof(*busy));
    int busy_count = upload_list_busy(u, busy, &c);
    if (allowed == 0 ||
        (allowed == 1 && upload_batch_state(u) != ERRAND_NONE && !upload_is_well(u)))
        return;
    if (u->suspect.passed)
        busy_count = pass_over(busy, busy_count, u->suspect.job.row);
    /* A queue as long as the row of workers keeps them busy while a commit takes its time. */
    int room = 2 * allowed - c.queued - c.running;
    if (!upload_is_well(u)) /* until it is known what became of the one */
        room = u->slot_count - c.free == 0;
    int max = MAX(room, 0) + AHEAD;
    AUTO_FREE struct upload_job *jobs = xcalloc((size_t)max, sizeof(*jobs));
    struct upload_order order = {.newest_first = u->plan.order == STORAGE_NEWEST_FIRST,
                                 .live_after = upload_is_well(u) ? u->live_after : INT64_MAX};
    struct err e = {0};
    int n = ledger_upload_due(u->ledger, u->storage->name, &order, ledger_now(), busy, busy_count,
                              jobs, max, &e);
    if (n == 0 && u->suspect.passed && c.free == u->slot_count) { /* there is no other one */
        u->suspect.passed = false;
        u->pause_until = u->suspect.pause_until;
    }
    if (n >= 0)
        n = take_due(u, jobs, n, room, &order, &c, &e);
    if (n < 0)
        upload_rest(u, "look for files to upload", &e);
}

void upload_fill(struct upload_self *u)
{
    u->batch.live = false;
    take_next(u);
    expect_live(u, u->batch.live);
}

/* What waits in the queue goes back: nothing of it has begun. */
void upload_empty_queue(struct upload_self *u)
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

void upload_free_batch(struct upload_self *u)
{
    for (int i = 0; i < u->batch.count; i++)
        snapshot_unref(STEAL(u->batch.snapshots[i]));
    pthread_mutex_lock(&u->lock);
    u->batch.count = 0;
    u->batch.state = ERRAND_NONE;
    pthread_mutex_unlock(&u->lock);
}

enum errand_state upload_batch_state(struct upload_self *u)
{
    pthread_mutex_lock(&u->lock);
    enum errand_state state = u->batch.state;
    pthread_mutex_unlock(&u->lock);
    return state;
}
