#include "stage/doubts.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>

#include "base/mem.h"

struct doubts {
    pthread_mutex_t lock;
    struct doubt waiting[DOUBTS_MAX]; /* in the order of their coming */
    int waiting_count;
    const char *under_way[DOUBTS_MAX]; /* digests, which the takers' snapshots hold */
    int under_way_count;
};

void doubt_done(struct doubt *d)
{
    snapshot_unref(d->snapshot);
    verdict_done(&d->local);
    *d = (struct doubt){0};
}

struct doubts *doubts_new(void)
{
    struct doubts *l = xcalloc(1, sizeof(*l));
    pthread_mutex_init(&l->lock, NULL);
    return l;
}

void doubts_free(struct doubts *l)
{
    if (!l)
        return;
    assert(l->under_way_count == 0);
    for (int i = 0; i < l->waiting_count; i++)
        doubt_done(&l->waiting[i]);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

static void add(struct doubts *l, struct doubt *d)
{
    assert(d->snapshot && l->waiting_count < DOUBTS_MAX);
    l->waiting[l->waiting_count++] = *d;
    *d = (struct doubt){0};
}

bool doubts_put(struct doubts *l, struct doubt *d)
{
    pthread_mutex_lock(&l->lock);
    bool room = l->waiting_count + l->under_way_count < DOUBTS_MAX;
    if (room)
        add(l, d);
    pthread_mutex_unlock(&l->lock);
    return room;
}

static int find_under_way(const struct doubts *l, const char *digest)
{
    int i = 0;
    while (i < l->under_way_count && strcmp(l->under_way[i], digest) != 0)
        i++;
    return i;
}

/* Index of the next that may be taken, or -1. */
static int choose(const struct doubts *l, int64_t *ret_wait_ms)
{
    int found = -1;
    *ret_wait_ms = INT64_MAX;
    for (int i = 0; i < l->waiting_count; i++) {
        const struct doubt *d = &l->waiting[i];
        if (find_under_way(l, d->snapshot->sha256) < l->under_way_count)
            continue;
        if (!mono_passed(d->not_before))
            *ret_wait_ms = MIN(*ret_wait_ms, (int64_t)mono_until_ms(d->not_before));
        else if (d->live)
            return i;
        else if (found < 0)
            found = i;
    }
    return found;
}

bool doubts_take(struct doubts *l, struct doubt *ret, int64_t *ret_wait_ms)
{
    pthread_mutex_lock(&l->lock);
    int i = choose(l, ret_wait_ms);
    if (i >= 0) {
        *ret = l->waiting[i];
        memmove(&l->waiting[i], &l->waiting[i + 1],
                (size_t)(--l->waiting_count - i) * sizeof(l->waiting[0]));
        l->under_way[l->under_way_count++] = ret->snapshot->sha256;
    }
    pthread_mutex_unlock(&l->lock);
    return i >= 0;
}

static void leave(struct doubts *l, const struct doubt *d)
{
    int i = find_under_way(l, d->snapshot->sha256);
    assert(i < l->under_way_count);
    l->under_way[i] = l->under_way[--l->under_way_count];
}

void doubts_end(struct doubts *l, const struct doubt *d)
{
    pthread_mutex_lock(&l->lock);
    leave(l, d);
    pthread_mutex_unlock(&l->lock);
}

void doubts_again(struct doubts *l, struct doubt *d, struct mono_time not_before)
{
    pthread_mutex_lock(&l->lock);
    leave(l, d);
    d->not_before = not_before;
    add(l, d);
    pthread_mutex_unlock(&l->lock);
}

int doubts_count(struct doubts *l)
{
    pthread_mutex_lock(&l->lock);
    int n = l->waiting_count + l->under_way_count;
    pthread_mutex_unlock(&l->lock);
    return n;
}

int doubts_due(struct doubts *l)
{
    int n = 0;
    pthread_mutex_lock(&l->lock);
    for (int i = 0; i < l->waiting_count; i++)
        n += mono_passed(l->waiting[i].not_before);
    pthread_mutex_unlock(&l->lock);
    return n;
}
