#include "stage/stage.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#include "base/altstack.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "sys/stack.h"

/* The loop turns at least this often, so that a heartbeat older than a few of these means "stuck".
 */
#define HEARTBEAT_MS 1000
/* While stopping, idle() is asked this often. */
#define DRAIN_POLL_MS 20
/* Decoders and the inference engine call from here; the deepest seen needs well below this. */
#define STACK_SIZE (512 * 1024)

struct stage {
    struct stage_spec spec;
    struct bus_in *in;
    pthread_t thread;
    bool joined;
    int wake_fd;
    atomic_bool stopping;
    atomic_bool running;
    _Atomic int64_t heartbeat_us;
    _Atomic int64_t done, failed, queued;
    pthread_mutex_t lock;     /* guards what follows */
    pthread_cond_t turn_cond; /* started or ended */
    bool started, ended;
    int start_code;
    struct err start_error;
    char last_error[ERR_TEXT_MAX];
};

static void *thread_main(void *arg);

int stage_start(const struct stage_spec *spec, struct stage **ret, struct err *e)
{
    assert(spec->ops->sweep && !spec->ops->fd == !spec->ops->ready);
    assert(!spec->edge_in == !spec->ops->step);
    struct stage *st = xcalloc(1, sizeof(*st));
    st->spec = *spec;
    pthread_mutex_init(&st->lock, NULL);
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&st->turn_cond, &clock);
    pthread_condattr_destroy(&clock);
    st->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (st->wake_fd < 0) {
        int r = err_errno(e, -errno, "stage %s: eventfd", spec->ops->name);
        st->joined = true;
        stage_free(st);
        return r;
    }
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_SIZE);
    int code = pthread_create(&st->thread, &attr, thread_main, st);
    pthread_attr_destroy(&attr);
    if (code) {
        int r = err_errno(e, -code, "stage %s: start a thread", spec->ops->name);
        st->joined = true;
        stage_free(st);
        return r;
    }
    pthread_mutex_lock(&st->lock);
    while (!st->started)
        pthread_cond_wait(&st->turn_cond, &st->lock);
    int r = st->start_code;
    pthread_mutex_unlock(&st->lock);
    if (r < 0) {
        if (e)
            *e = st->start_error;
        err_prefix(e, "stage %s", spec->ops->name);
        pthread_join(st->thread, NULL);
        st->joined = true;
        stage_free(st);
        return r;
    }
    *ret = st;
    return 0;
}

static void tell_started(struct stage *st, int code, const struct err *e)
{
    pthread_mutex_lock(&st->lock);
    st->started = true;
    st->start_code = code;
    st->start_error = *e;
    pthread_cond_broadcast(&st->turn_cond);
    pthread_mutex_unlock(&st->lock);
}

/* Takes at most one item, so that a sweep or a stop is never further away than one step. */
static bool take_one(struct stage *st)
{
    struct bus_item item;
    if (!st->in || bus_receive(st->in, &item) < 0)
        return false;
    st->spec.ops->step(st->spec.self, item.ref);
    bus_item_done(&item);
    return true;
}

static void clear_wake(struct stage *st)
{
    uint64_t n;
    (void)!read(st->wake_fd, &n, sizeof(n)); /* EAGAIN: somebody was quicker, which is fine */
}

static void loop(struct stage *st)
{
    const struct stage_ops *ops = st->spec.ops;
    void *self = st->spec.self;
    struct mono_time sweep_at = clock_mono();
    bool drained = false;
    int collected = 0;
    while (!drained) {
        stage_heartbeat(st);
        bool worked = take_one(st);
        collected += worked && ops->flush;
        if (collected && (!worked || collected == STAGE_BATCH_MAX)) {
            ops->flush(self);
            collected = 0;
        }
        bool stopping = stage_stopping(st);
        if (stopping && !worked)
            drained = !ops->idle || ops->idle(self);
        if (!stopping && mono_passed(sweep_at))
            sweep_at = mono_add_ms(clock_mono(), ops->sweep(self));
        if (drained)
            break;
        int timeout = worked ? 0 : MIN(mono_until_ms(sweep_at), HEARTBEAT_MS);
        if (stopping)
            timeout = worked ? 0 : DRAIN_POLL_MS;
        int fds[2] = {st->wake_fd, ops->fd ? ops->fd(self) : -1};
        bool ready[2];
        int r = bus_wait(st->in, fds, ready, 2, timeout);
        assert(r == 0); /* our own descriptors and sockets */
        if (ready[0]) {
            clear_wake(st);
            sweep_at = clock_mono();
        }
        if (ready[1])
            ops->ready(self);
    }
}

static void *thread_main(void *arg)
{
    struct stage *st = arg;
    const struct stage_ops *ops = st->spec.ops;
    /* Signals belong to the main loop. */
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    stack_thread_ready();
    altstack_use();
    char name[16];
    (void)text_format(name, sizeof(name), st->spec.index ? "%.12s.%u" : "%.15s", ops->name,
                      st->spec.index); /* cut is fine */
    pthread_setname_np(pthread_self(), name);
    log_context_stage(ops->name);

    struct err e = {0};
    int r = 0;
    if (st->spec.edge_in)
        r = bus_in_open(st->spec.bus, st->spec.edge_in, st->spec.index, st->spec.receive_depth,
                        &st->in, &e);
    if (r == 0 && ops->init)
        r = ops->init(st->spec.self, st, &e);
    stage_heartbeat(st);
    atomic_store(&st->running, r == 0);
    tell_started(st, r, &e);
    if (r == 0)
        loop(st);
    if (ops->fini)
        ops->fini(st->spec.self);
    bus_in_close(st->in);
    st->in = NULL;
    atomic_store(&st->running, false);
    pthread_mutex_lock(&st->lock);
    st->ended = true;
    pthread_cond_broadcast(&st->turn_cond);
    pthread_mutex_unlock(&st->lock);
    return NULL;
}

void stage_wake(struct stage *st)
{
    uint64_t one = 1;
    (void)!write(st->wake_fd, &one, sizeof(one)); /* EAGAIN: the counter is full, so it is awake */
}

void stage_stop(struct stage *st)
{
    atomic_store(&st->stopping, true);
    stage_wake(st);
}

bool stage_stopping(const struct stage *st)
{
    return atomic_load(&((struct stage *)st)->stopping);
}

int stage_join(struct stage *st, struct mono_time deadline)
{
    if (st->joined)
        return 0;
    /* Not pthread_clockjoin_np(): the thread sanitizer does not know that it joins. */
    struct timespec ts = {.tv_sec = (time_t)(deadline.us / 1000000),
                          .tv_nsec = (long)(deadline.us % 1000000 * 1000)};
    int code = 0;
    pthread_mutex_lock(&st->lock);
    while (!st->ended && code == 0)
        code = pthread_cond_timedwait(&st->turn_cond, &st->lock, &ts);
    bool ended = st->ended;
    pthread_mutex_unlock(&st->lock);
    if (!ended)
        return -code;
    pthread_join(st->thread, NULL);
    st->joined = true;
    return 0;
}

void stage_free(struct stage *st)
{
    if (!st)
        return;
    assert(st->joined);
    if (st->wake_fd >= 0)
        (void)close(st->wake_fd);
    pthread_cond_destroy(&st->turn_cond);
    pthread_mutex_destroy(&st->lock);
    free(st);
}

void stage_status(struct stage *st, struct stage_status *ret)
{
    *ret = (struct stage_status){
        .running = atomic_load(&st->running),
        .heartbeat_age_ms =
            MAX((clock_mono().us - atomic_load(&st->heartbeat_us)) / 1000, (int64_t)0),
        .hang_ms = st->spec.ops->hang_ms ? st->spec.ops->hang_ms : STAGE_HANG_MS,
        .done = atomic_load(&st->done),
        .failed = atomic_load(&st->failed),
        .queued = atomic_load(&st->queued),
    };
    (void)text_format(ret->name, sizeof(ret->name), st->spec.index ? "%s.%u" : "%s",
                      st->spec.ops->name, st->spec.index); /* names are short */
    pthread_mutex_lock(&st->lock);
    text_copy(ret->last_error, sizeof(ret->last_error), st->last_error);
    pthread_mutex_unlock(&st->lock);
}

size_t stage_stack(const struct stage *st, int64_t timeout_ms, uintptr_t *ret, size_t max)
{
    assert(!st->joined);
    return stack_of_thread(st->thread, timeout_ms, ret, max);
}

void stage_count_done(struct stage *st)
{
    atomic_fetch_add(&st->done, 1);
}

void stage_count_failed(struct stage *st, const char *text)
{
    atomic_fetch_add(&st->failed, 1);
    pthread_mutex_lock(&st->lock);
    text_copy(st->last_error, sizeof(st->last_error), text);
    pthread_mutex_unlock(&st->lock);
}

void stage_set_queued(struct stage *st, int64_t n)
{
    atomic_store(&st->queued, n);
}

void stage_expect(struct stage *st, int64_t ms)
{
    atomic_store(&st->heartbeat_us, mono_add_ms(clock_mono(), ms).us);
}

void stage_heartbeat(struct stage *st)
{
    atomic_store(&st->heartbeat_us, clock_mono().us);
}
