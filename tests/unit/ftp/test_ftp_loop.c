#include "ftp/ftp_loop.h"

#include "../test.h"

#include <sys/epoll.h>

static struct mono_time now = {1000000};
static struct mono_time stopped(void)
{
    return now;
}

static struct ftp_loop *loop;
static int set_up(void **state UNUSED)
{
    struct err e = {0};
    clock_set_mono_source(stopped);
    return ftp_loop_new(&loop, &e);
}
static int tear_down(void **state UNUSED)
{
    ftp_loop_free(loop);
    clock_set_mono_source(NULL);
    return 0;
}

static void pass(int64_t ms)
{
    now.us += ms * 1000;
    ftp_loop_turn(loop, 0);
}

/* ---- timers ---- */

enum { TIMERS = 500 };
static struct ftp_timer timers[TIMERS];
static int fired[TIMERS], order[TIMERS], fired_count;

static void note_fired(struct ftp_timer *t)
{
    int i = (int)(t - timers);
    fired[i]++;
    order[fired_count++] = i;
}

static void fires_in_order_whatever_was_moved_or_taken_out(void **state UNUSED)
{
    unsigned seed = 7;
    int64_t at[TIMERS];
    fired_count = 0;
    for (int i = 0; i < TIMERS; i++) {
        timers[i] = (struct ftp_timer){.fire = note_fired};
        seed = seed * 1103515245 + 12345;
        at[i] = 1 + seed / 65536 % 10000;
        ftp_loop_arm(loop, &timers[i], mono_add_ms(now, at[i]));
        fired[i] = 0;
    }
    for (int i = 0; i < TIMERS; i += 3) { /* later, sooner, never */
        at[i] = (at[i] + 5000) % 10000 + 1;
        ftp_loop_arm(loop, &timers[i], mono_add_ms(now, at[i]));
    }
    for (int i = 1; i < TIMERS; i += 7)
        ftp_loop_disarm(loop, &timers[i]);
    struct mono_time began = now;
    for (int ms = 0; ms <= 10001; ms += 100)
        pass(100);
    (void)began;
    for (int i = 0; i < TIMERS; i++)
        assert_int_equal(fired[i], i % 7 != 1);
    for (int i = 1; i < fired_count; i++)
        assert_true(timers[order[i - 1]].at.us <= timers[order[i]].at.us);
}

static void rearm(struct ftp_timer *t)
{
    fired_count++;
    ftp_loop_arm(loop, t, mono_add_ms(now, 10));
}

static void a_timer_may_set_itself_again(void **state UNUSED)
{
    struct ftp_timer t = {.fire = rearm};
    fired_count = 0;
    ftp_loop_arm(loop, &t, mono_add_ms(now, 10));
    pass(9);
    assert_int_equal(fired_count, 0);
    pass(1);
    assert_int_equal(fired_count, 1);
    pass(10);
    assert_int_equal(fired_count, 2);
    ftp_loop_disarm(loop, &t);
    ftp_loop_disarm(loop, &t);
    pass(100);
    assert_int_equal(fired_count, 2);
}

/* ---- descriptors ---- */

struct pipe {
    struct ftp_watch watch;
    int write_fd, told;
    struct pipe *victim; /* is taken out when this one is told */
};

static void note_ready(struct ftp_watch *w, uint32_t events)
{
    struct pipe *p = container_of(w, struct pipe, watch);
    assert_true(events & EPOLLIN);
    p->told++;
    if (p->victim)
        ftp_loop_unwatch(loop, &p->victim->watch);
}

static void open_pipe(struct pipe *p)
{
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    *p = (struct pipe){.watch = {.fd = fds[0], .ready = note_ready}, .write_fd = fds[1]};
    assert_int_equal(ftp_loop_watch(loop, &p->watch, EPOLLIN), 0);
    assert_int_equal(write(p->write_fd, "x", 1), 1);
}

static void what_was_taken_out_is_not_told_even_in_the_same_turn(void **state UNUSED)
{
    struct pipe a, b;
    open_pipe(&a);
    open_pipe(&b);
    a.victim = &b;
    b.victim = &a;
    ftp_loop_turn(loop, 0);
    assert_int_equal(a.told + b.told, 1);
    struct pipe *left = a.told ? &a : &b;
    ftp_loop_turn(loop, 0);
    assert_int_equal(left->told, 2); /* the byte is still there */
    ftp_loop_unwatch(loop, &left->watch);
    ftp_loop_turn(loop, 0);
    assert_int_equal(left->told, 2);
    int fds[] = {a.watch.fd, a.write_fd, b.watch.fd, b.write_fd};
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        (void)close(fds[i]);
}

/* ---- tasks ---- */

static int runs;
static struct ftp_task again, other;
static void run_again(struct ftp_task *t)
{
    runs++;
    ftp_loop_defer(loop, t);
}
static void run_once(struct ftp_task *t UNUSED)
{
    runs += 100;
}
static void run_and_forget(struct ftp_task *t UNUSED)
{
    ftp_loop_forget(loop, &other);
}

static void a_task_that_asks_for_more_gets_it_in_the_next_turn(void **state UNUSED)
{
    runs = 0;
    again = (struct ftp_task){.run = run_again};
    other = (struct ftp_task){.run = run_once};
    ftp_loop_defer(loop, &again);
    ftp_loop_defer(loop, &again);
    ftp_loop_defer(loop, &other);
    ftp_loop_turn(loop, 1000); /* does not wait while there is one */
    assert_int_equal(runs, 101);
    ftp_loop_turn(loop, 1000);
    assert_int_equal(runs, 102);
    ftp_loop_forget(loop, &again);
    ftp_loop_forget(loop, &again);
    ftp_loop_turn(loop, 0);
    assert_int_equal(runs, 102);
}

static void a_task_may_be_forgotten_by_one_before_it(void **state UNUSED)
{
    struct ftp_task first = {.run = run_and_forget};
    runs = 0;
    other = (struct ftp_task){.run = run_once};
    ftp_loop_defer(loop, &first);
    ftp_loop_defer(loop, &other);
    ftp_loop_turn(loop, 0);
    ftp_loop_turn(loop, 0);
    assert_int_equal(runs, 0);
    ftp_loop_defer(loop, &other);
    ftp_loop_turn(loop, 0);
    assert_int_equal(runs, 100);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(fires_in_order_whatever_was_moved_or_taken_out),
        TEST(a_timer_may_set_itself_again),
        TEST(what_was_taken_out_is_not_told_even_in_the_same_turn),
        TEST(a_task_that_asks_for_more_gets_it_in_the_next_turn),
        TEST(a_task_may_be_forgotten_by_one_before_it),
    };
    return RUN_TESTS(tests);
}
