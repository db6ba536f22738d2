/* Upload: what is next. Looks for what is due, and keeps the queue of the workers, the marks to be
 * made and what has to be done beside files. */

#include "stage/upload_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

static int gather(struct upload_self *u, const struct upload_job *job, struct err *e)
{
    struct batch *b = &u->batch;
    int r = describe_job(u, job, &b->snapshots[b->count], b->labels[b->count], e);
    if (r == 0)
        b->jobs[b->count++] = *job;
    return r;
}

/* Takes due jobs, in their order, into the queue or to those that want a mark. */
static int take_due(struct upload_self *u, const struct upload_job *jobs, int count, int room,
                    const struct upload_order *order, struct census *c, struct err *e)
{
    bool may_reserve = upload_batch_state(u) == ERRAND_NONE;
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
        upload_free_batch(u);
    }
    return r == -ENOENT ? 0 : r; /* forgotten meanwhile, with its jobs */
}

/* Workers that may be busy now: one alone finds out whether a pause was long enough. */
int upload_allow(struct upload_self *u)
{
    int allowed = upload_is_well(u) ? u->parallel : 1;
    if (!mono_passed(u->pause_until) || !mono_passed(u->rest_until) || u->ending)
        allowed = 0;
    pthread_mutex_lock(&u->lock);
    u->allowed = allowed;
    pthread_cond_broadcast(&u->work);
    pthread_mutex_unlock(&u->lock);
    return allowed;
}

void upload_fill(struct upload_self *u)
{
    int allowed = upload_allow(u);
    struct census c;
    AUTO_FREE int64_t *busy = xcalloc((size_t)u->slot_count + RESERVE_MAX, sizeof(*busy));
    int busy_count = upload_list_busy(u, busy, &c);
    if (allowed == 0 ||
        (allowed == 1 && upload_batch_state(u) != ERRAND_NONE && !upload_is_well(u)))
        return;
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
    if (n >= 0)
        n = take_due(u, jobs, n, room, &order, &c, &e);
    if (n < 0)
        upload_rest(u, "look for files to upload", &e);
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

static void ask_errand(struct upload_self *u)
{
    pthread_mutex_lock(&u->lock);
    u->errand.state = ERRAND_ASKED;
    pthread_cond_broadcast(&u->work);
    pthread_mutex_unlock(&u->lock);
}

enum errand_state upload_errand_state(struct upload_self *u)
{
    pthread_mutex_lock(&u->lock);
    enum errand_state state = u->errand.state;
    pthread_mutex_unlock(&u->lock);
    return state;
}

void upload_find_errand(struct upload_self *u)
{
    const struct storage_ops *ops = u->storage->ops;
    struct errand *x = &u->errand;
    struct err e = {0};
    if (u->ending || upload_errand_state(u) != ERRAND_NONE)
        return;
    if (ops->tend && mono_passed(u->tend_at)) {
        x->kind = ERRAND_TEND;
        ask_errand(u);
        return;
    }
    if (!upload_is_well(u))
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
