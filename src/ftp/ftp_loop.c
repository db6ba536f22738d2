#include "ftp/ftp_loop.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/macros.h"
#include "base/mem.h"

/* Events taken from the kernel at once; more wait there for the next turn. */
#define BATCH 128

struct task_list {
    struct ftp_task *first, **last;
};

struct ftp_loop {
    int epoll_fd;
    struct mono_time now;
    struct epoll_event batch[BATCH];
    int batch_at, batch_count;
    struct ftp_timer **heap; /* from 1; the soonest on top */
    size_t timer_count, timer_room;
    struct task_list tasks;
};

static void fire_timers(struct ftp_loop *l);
static void run_tasks(struct ftp_loop *l);

int ftp_loop_new(struct ftp_loop **ret, struct err *e)
{
    int fd = epoll_create1(EPOLL_CLOEXEC);
    if (fd < 0)
        return err_errno(e, -errno, "epoll");
    struct ftp_loop *l = xcalloc(1, sizeof(*l));
    l->epoll_fd = fd;
    l->now = clock_mono();
    l->tasks.last = &l->tasks.first;
    *ret = l;
    return 0;
}

void ftp_loop_free(struct ftp_loop *l)
{
    if (!l)
        return;
    (void)close(l->epoll_fd); /* holds nothing */
    free(l->heap);
    free(l);
}

struct mono_time ftp_loop_now(const struct ftp_loop *l)
{
    return l->now;
}

static int patience_ms(const struct ftp_loop *l, int max_ms)
{
    if (l->tasks.first)
        return 0;
    return l->timer_count ? MIN(mono_until_ms(l->heap[1]->at), max_ms) : max_ms;
}

void ftp_loop_turn(struct ftp_loop *l, int max_ms)
{
    int n = epoll_wait(l->epoll_fd, l->batch, BATCH, patience_ms(l, max_ms));
    l->now = clock_mono();
    l->batch_count = MAX(n, 0); /* EINTR is a turn without events */
    for (l->batch_at = 0; l->batch_at < l->batch_count; l->batch_at++) {
        struct ftp_watch *w = l->batch[l->batch_at].data.ptr;
        if (w) /* else it was taken out by an event before it */
            w->ready(w, l->batch[l->batch_at].events);
    }
    l->batch_count = 0;
    fire_timers(l);
    run_tasks(l);
}

/* ---- descriptors ---- */

int ftp_loop_watch(struct ftp_loop *l, struct ftp_watch *w, uint32_t events)
{
    assert(w->fd >= 0 && w->ready);
    if (w->in_epoll && w->events == events)
        return 0;
    struct epoll_event ev = {.events = events, .data.ptr = w};
    if (epoll_ctl(l->epoll_fd, w->in_epoll ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, w->fd, &ev) < 0)
        return -errno;
    w->in_epoll = true;
    w->events = events;
    return 0;
}

void ftp_loop_unwatch(struct ftp_loop *l, struct ftp_watch *w)
{
    if (!w->in_epoll)
        return;
    (void)epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL); /* it is there */
    w->in_epoll = false;
    w->events = 0;
    for (int i = l->batch_at; i < l->batch_count; i++)
        if (l->batch[i].data.ptr == w)
            l->batch[i].data.ptr = NULL;
}

/* ---- timers: a binary heap ---- */

static void put(struct ftp_loop *l, struct ftp_timer *t, size_t place)
{
    l->heap[place] = t;
    t->place = place;
}

static void move_up(struct ftp_loop *l, struct ftp_timer *t, size_t place)
{
    while (place > 1 && l->heap[place / 2]->at.us > t->at.us) {
        put(l, l->heap[place / 2], place);
        place /= 2;
    }
    put(l, t, place);
}

static void move_down(struct ftp_loop *l, struct ftp_timer *t, size_t place)
{
    while (2 * place <= l->timer_count) {
        size_t child = 2 * place;
        if (child < l->timer_count && l->heap[child + 1]->at.us < l->heap[child]->at.us)
            child++;
        if (l->heap[child]->at.us >= t->at.us)
            break;
        put(l, l->heap[child], place);
        place = child;
    }
    put(l, t, place);
}

void ftp_loop_arm(struct ftp_loop *l, struct ftp_timer *t, struct mono_time at)
{
    assert(t->fire);
    if (t->place) {
        bool later = at.us > t->at.us;
        t->at = at;
        if (later)
            move_down(l, t, t->place);
        else
            move_up(l, t, t->place);
        return;
    }
    if (l->timer_count + 1 >= l->timer_room) {
        l->timer_room = l->timer_room ? 2 * l->timer_room : 64;
        l->heap = xrealloc(l->heap, l->timer_room * sizeof(*l->heap));
    }
    t->at = at;
    move_up(l, t, ++l->timer_count);
}

void ftp_loop_disarm(struct ftp_loop *l, struct ftp_timer *t)
{
    if (!t->place)
        return;
    size_t place = t->place;
    struct ftp_timer *last = l->heap[l->timer_count--];
    t->place = 0;
    if (last == t)
        return;
    if (place > 1 && l->heap[place / 2]->at.us > last->at.us)
        move_up(l, last, place);
    else
        move_down(l, last, place);
}

static void fire_timers(struct ftp_loop *l)
{
    while (l->timer_count && l->heap[1]->at.us <= l->now.us) {
        struct ftp_timer *t = l->heap[1];
        ftp_loop_disarm(l, t);
        t->fire(t);
    }
}

/* ---- tasks ---- */

void ftp_loop_defer(struct ftp_loop *l, struct ftp_task *t)
{
    assert(t->run);
    if (t->queued)
        return;
    t->queued = true;
    t->next = NULL;
    *l->tasks.last = t;
    l->tasks.last = &t->next;
}

void ftp_loop_forget(struct ftp_loop *l, struct ftp_task *t)
{
    if (!t->queued)
        return;
    struct ftp_task **at = &l->tasks.first;
    while (*at != t)
        at = &(*at)->next;
    *at = t->next;
    if (l->tasks.last == &t->next)
        l->tasks.last = at;
    t->queued = false;
}

/* Those that are there now; what they defer waits, so that descriptors get their turn. A mark at
 * the end tells the two apart, also when a task forgets another. */
static void run_tasks(struct ftp_loop *l)
{
    struct ftp_task mark = {.queued = true};
    if (!l->tasks.first)
        return;
    *l->tasks.last = &mark;
    l->tasks.last = &mark.next;
    while (l->tasks.first != &mark) {
        struct ftp_task *t = l->tasks.first;
        l->tasks.first = t->next;
        t->queued = false;
        t->run(t);
    }
    l->tasks.first = mark.next;
    if (!mark.next)
        l->tasks.last = &l->tasks.first;
}
