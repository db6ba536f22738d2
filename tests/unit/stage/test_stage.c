#include "../test.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>

#include "base/mem.h"
#include "stage/stage.h"

/* A stage whose every call can be watched and held. */
struct probe {
    int init_result;
    int64_t sweep_ms;
    atomic_int inits, sweeps, steps, finis, readies, idles;
    atomic_int busy_until_idles; /* idle() says false so often */
    sem_t swept, stepped, readied;
    sem_t gate; /* step() waits here when it is gated */
    bool gated;
    int fd;
    int order[64];
    pthread_t thread;
    bool other_thread;
    struct stage *st;
};

static int probe_init(void *self, struct stage *st, struct err *e)
{
    struct probe *p = self;
    p->thread = pthread_self();
    p->st = st;
    atomic_fetch_add(&p->inits, 1);
    return p->init_result < 0 ? err_set(e, p->init_result, ERR_LATER, "no luck") : 0;
}

static void probe_step(void *self, void *item)
{
    struct probe *p = self;
    p->other_thread |= !pthread_equal(p->thread, pthread_self());
    int n = atomic_fetch_add(&p->steps, 1);
    p->order[n % 64] = *(int *)item;
    (void)sem_post(&p->stepped);
    if (p->gated)
        (void)sem_wait(&p->gate);
}

static int64_t probe_sweep(void *self)
{
    struct probe *p = self;
    p->other_thread |= !pthread_equal(p->thread, pthread_self());
    atomic_fetch_add(&p->sweeps, 1);
    (void)sem_post(&p->swept);
    return p->sweep_ms;
}

static bool probe_idle(void *self)
{
    struct probe *p = self;
    return atomic_fetch_add(&p->idles, 1) >= atomic_load(&p->busy_until_idles);
}

static void probe_fini(void *self)
{
    atomic_fetch_add(&((struct probe *)self)->finis, 1);
}

static int probe_fd(void *self)
{
    return ((struct probe *)self)->fd;
}

static void probe_ready(void *self)
{
    struct probe *p = self;
    uint64_t n;
    (void)!read(p->fd, &n, sizeof(n));
    atomic_fetch_add(&p->readies, 1);
    (void)sem_post(&p->readied);
}

static const struct stage_ops full_ops = {.name = "probe",
                                          .init = probe_init,
                                          .step = probe_step,
                                          .sweep = probe_sweep,
                                          .fd = probe_fd,
                                          .ready = probe_ready,
                                          .idle = probe_idle,
                                          .fini = probe_fini};
static const struct stage_ops small_ops = {.name = "small", .sweep = probe_sweep};
static const struct stage_ops timer_ops = {
    .name = "timer", .init = probe_init, .sweep = probe_sweep, .fini = probe_fini};

static struct bus *bus;
static struct probe probe;

static int set_up(void **state UNUSED)
{
    probe = (struct probe){.sweep_ms = 3600000, .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    probe.thread = pthread_self();
    (void)sem_init(&probe.swept, 0, 0);
    (void)sem_init(&probe.stepped, 0, 0);
    (void)sem_init(&probe.readied, 0, 0);
    (void)sem_init(&probe.gate, 0, 0);
    return bus_new(&bus, NULL);
}

static int tear_down(void **state UNUSED)
{
    (void)sem_destroy(&probe.swept);
    (void)sem_destroy(&probe.stepped);
    (void)sem_destroy(&probe.readied);
    (void)sem_destroy(&probe.gate);
    (void)close(probe.fd);
    bus_free(bus);
    return 0;
}

static struct stage *start(const struct stage_ops *ops)
{
    struct stage *st = NULL;
    struct err e = {0};
    struct stage_spec spec = {.ops = ops, .self = &probe, .bus = bus};
    if (ops->step) {
        spec.edge_in = "edge";
        spec.receive_depth = 4;
    }
    if (stage_start(&spec, &st, &e) < 0)
        CASE_FAILS("%s", e.text);
    return st;
}

static void stop_and_free(struct stage *st)
{
    stage_stop(st);
    stage_stop(st); /* twice does no harm */
    assert_int_equal(stage_join(st, mono_add_ms(clock_mono(), 20000)), 0);
    assert_int_equal(stage_join(st, clock_mono()), 0);
    stage_free(st);
}

static struct bus_out *open_out(int depth)
{
    struct bus_out *out = NULL;
    assert_int_equal(bus_out_open(bus, "edge", 1, depth, &out, NULL), 0);
    return out;
}

static void no_release(void *ref UNUSED)
{
}

static int numbers[64];

static void send(struct bus_out *out, int i)
{
    numbers[i] = i;
    assert_int_equal(bus_send(out, &numbers[i], no_release), 0);
}

static void start_returns_when_the_stage_is_ready(void **state UNUSED)
{
    struct stage *st = start(&full_ops);
    assert_int_equal(atomic_load(&probe.inits), 1);
    assert_ptr_equal(probe.st, st);
    assert_false(pthread_equal(probe.thread, pthread_self()));
    struct stage_status s;
    stage_status(st, &s);
    assert_true(s.running);
    assert_string_equal(s.name, "probe");
    assert_true(s.heartbeat_age_ms >= 0 && s.heartbeat_age_ms < 20000);
    test_wait(&probe.swept); /* the backlog is looked at without being asked */
    stop_and_free(st);
    assert_int_equal(atomic_load(&probe.finis), 1);
    assert_int_equal(atomic_load(&probe.sweeps), 1);
    assert_false(probe.other_thread);
}

static void a_failed_start_tells_its_story_and_cleans_up(void **state UNUSED)
{
    probe.init_result = -EBUSY;
    struct stage *st = NULL;
    struct err e = {0};
    struct stage_spec spec = {
        .ops = &full_ops, .self = &probe, .bus = bus, .edge_in = "edge", .receive_depth = 1};
    assert_int_equal(stage_start(&spec, &st, &e), -EBUSY);
    assert_string_equal(e.text, "stage probe: no luck");
    assert_int_equal(e.retry, ERR_LATER);
    assert_null(st);
    assert_int_equal(atomic_load(&probe.finis), 1);
    assert_int_equal(atomic_load(&probe.sweeps), 0);
    spec.edge_in = "another"; /* the bus gives a name free again when it likes */
    assert_int_equal(stage_start(&spec, &st, NULL), -EBUSY);
    int fds = test_count_fds(); /* without an edge: the bus closes its sockets when it likes */
    struct stage_spec timer = {.ops = &timer_ops, .self = &probe};
    assert_int_equal(stage_start(&timer, &st, NULL), -EBUSY);
    assert_true(test_count_fds() <= fds); /* fewer: it still closes those of earlier tests */
}

static void a_start_without_its_edge_fails(void **state UNUSED)
{
    struct stage *first = start(&full_ops), *second = NULL;
    struct err e = {0};
    struct stage_spec spec = {
        .ops = &full_ops, .self = &probe, .bus = bus, .edge_in = "edge", .receive_depth = 1};
    assert_int_equal(stage_start(&spec, &second, &e), -EADDRINUSE);
    assert_non_null(strstr(e.text, "stage probe: bind"));
    assert_null(second);
    stop_and_free(first);
}

static void takes_items_in_order_in_its_own_thread(void **state UNUSED)
{
    struct stage *st = start(&full_ops);
    struct bus_out *out = open_out(50);
    for (int i = 0; i < 50; i++)
        send(out, i);
    for (int i = 0; i < 50; i++)
        test_wait(&probe.stepped);
    for (int i = 0; i < 50; i++)
        assert_int_equal(probe.order[i], i);
    bus_out_close(out);
    stop_and_free(st);
    assert_false(probe.other_thread);
}

static void sweeps_when_woken_and_when_its_time_has_come(void **state UNUSED)
{
    struct stage *st = start(&timer_ops);
    test_wait(&probe.swept);
    for (int i = 0; i < 3; i++) {
        stage_wake(st);
        test_wait(&probe.swept);
    }
    assert_int_equal(atomic_load(&probe.sweeps), 4); /* the next one is due in an hour */
    stop_and_free(st);

    probe.sweep_ms = 1;
    st = start(&timer_ops);
    for (int i = 0; i < 5; i++)
        test_wait(&probe.swept);
    stop_and_free(st);

    probe.sweep_ms = 0; /* at once, and yet it can be stopped */
    st = start(&timer_ops);
    for (int i = 0; i < 100; i++)
        test_wait(&probe.swept);
    stop_and_free(st);
}

static void wakes_do_not_pile_up(void **state UNUSED)
{
    probe.gated = true;
    struct stage *st = start(&full_ops);
    test_wait(&probe.swept);
    struct bus_out *out = open_out(4);
    send(out, 0);
    test_wait(&probe.stepped); /* it holds the item */
    for (int i = 0; i < 1000; i++)
        stage_wake(st);
    (void)sem_post(&probe.gate);
    test_wait(&probe.swept); /* none was lost */
    probe.gated = false;
    send(out, 1);
    test_wait(&probe.stepped);
    assert_int_equal(atomic_load(&probe.sweeps), 2); /* and one was enough */
    bus_out_close(out);
    stop_and_free(st);
}

static void sweeps_between_items_of_a_busy_edge(void **state UNUSED)
{
    probe.sweep_ms = 0;
    probe.gated = true;
    struct stage *st = start(&full_ops);
    test_wait(&probe.swept);
    struct bus_out *out = open_out(20);
    for (int i = 0; i < 10; i++)
        send(out, i);
    for (int i = 0; i < 10; i++) {
        test_wait(&probe.stepped);
        int before = atomic_load(&probe.sweeps);
        (void)sem_post(&probe.gate);
        if (i < 9)
            test_wait(&probe.swept);
        assert_true(atomic_load(&probe.sweeps) >= before);
    }
    bus_out_close(out);
    stop_and_free(st);
    assert_true(atomic_load(&probe.sweeps) >= 10);
}

static void drains_its_edge_before_it_ends(void **state UNUSED)
{
    probe.gated = true;
    struct stage *st = start(&full_ops);
    test_wait(&probe.swept);
    struct bus_out *out = open_out(20);
    for (int i = 0; i < 15; i++)
        send(out, i);
    test_wait(&probe.stepped);
    stage_stop(st);
    assert_true(stage_stopping(st));
    for (int i = 0; i < 15; i++)
        (void)sem_post(&probe.gate);
    stop_and_free(st);
    bus_out_close(out);
    assert_int_equal(atomic_load(&probe.steps), 15);
    assert_int_equal(atomic_load(&probe.sweeps), 1); /* no new work while stopping */
}

static void waits_for_what_is_under_way(void **state UNUSED)
{
    atomic_store(&probe.busy_until_idles, 3);
    struct stage *st = start(&full_ops);
    stop_and_free(st);
    assert_int_equal(atomic_load(&probe.idles), 4);
    assert_int_equal(atomic_load(&probe.finis), 1);
}

static void a_stuck_stage_does_not_hold_up_the_stop(void **state UNUSED)
{
    probe.gated = true;
    struct stage *st = start(&full_ops);
    struct bus_out *out = open_out(4);
    send(out, 0);
    test_wait(&probe.stepped);
    stage_stop(st);
    assert_int_equal(stage_join(st, mono_add_ms(clock_mono(), 20)), -ETIMEDOUT);
    assert_int_equal(stage_join(st, clock_mono()), -ETIMEDOUT);
    struct stage_status s;
    stage_status(st, &s);
    assert_true(s.running);
    (void)sem_post(&probe.gate);
    bus_out_close(out);
    stop_and_free(st);
}

static void watches_one_more_descriptor(void **state UNUSED)
{
    struct stage *st = start(&full_ops);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(write(probe.fd, &(uint64_t){1}, sizeof(uint64_t)), sizeof(uint64_t));
        test_wait(&probe.readied);
    }
    stop_and_free(st);
    assert_int_equal(atomic_load(&probe.readies), 3);
}

static void counts_what_it_did(void **state UNUSED)
{
    struct stage *st = start(&small_ops);
    stage_count_done(st);
    stage_count_done(st);
    stage_count_failed(st, "first");
    stage_count_failed(st, "camera \"porch\": refused");
    stage_set_queued(st, 7);
    struct stage_status s;
    stage_status(st, &s);
    assert_int_equal(s.done, 2);
    assert_int_equal(s.failed, 2);
    assert_int_equal(s.queued, 7);
    assert_string_equal(s.last_error, "camera \"porch\": refused");
    stage_stop(st);
    assert_int_equal(stage_join(st, mono_add_ms(clock_mono(), 20000)), 0);
    stage_status(st, &s);
    assert_false(s.running);
    stage_free(st);
    stage_free(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(start_returns_when_the_stage_is_ready),
        TEST(a_failed_start_tells_its_story_and_cleans_up),
        TEST(a_start_without_its_edge_fails),
        TEST(takes_items_in_order_in_its_own_thread),
        TEST(sweeps_when_woken_and_when_its_time_has_come),
        TEST(wakes_do_not_pile_up),
        TEST(sweeps_between_items_of_a_busy_edge),
        TEST(drains_its_edge_before_it_ends),
        TEST(waits_for_what_is_under_way),
        TEST(a_stuck_stage_does_not_hold_up_the_stop),
        TEST(watches_one_more_descriptor),
        TEST(counts_what_it_did),
    };
    return RUN_TESTS(tests);
}
