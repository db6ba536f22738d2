/* The schedule, by hand and on virtual clocks. */
#include "flow.h"

static _Atomic int64_t mono_us = 1000000000;
static _Atomic int64_t wall_us;

static struct mono_time virtual_mono(void)
{
    return (struct mono_time){atomic_load(&mono_us)};
}
static struct wall_time virtual_wall(void)
{
    return (struct wall_time){atomic_load(&wall_us)};
}
static void pass_s(int64_t s)
{
    atomic_fetch_add(&mono_us, s * 1000000);
    atomic_fetch_add(&wall_us, s * 1000000);
}
static void set_wall(const char *iso)
{
    struct wall_time t;
    assert_int_equal(wall_parse_iso(iso, &t), 0);
    atomic_store(&wall_us, t.us);
}

static int64_t nothing_to_do(void *self UNUSED)
{
    return 3600000;
}
static const struct stage_ops idle_ops = {.name = "idle", .sweep = nothing_to_do};

struct by_hand {
    struct flow *f;
    void *schedule;
};

#define CAMERA(name, extra) "[camera:" name "]\nkind = http\nurl = http://127.0.0.1:9/\n" extra "\n"

static struct by_hand schedule_open(const char *wall, const char *cameras)
{
    set_wall(wall);
    struct by_hand h = {.f = flow_new(1, 0)};
    flow_configure(h.f, cameras);
    int n = flow_start_stage(h.f, &idle_ops, NULL, 0, NULL, 0);
    h.schedule = schedule_stage_new(&h.f->p);
    struct err e = {0};
    assert_int_equal(schedule_stage.init(h.schedule, h.f->stages[n], &e), 0);
    return h;
}

static void schedule_close(struct by_hand *h)
{
    schedule_stage.fini(h->schedule);
    free(h->schedule);
    flow_free(h->f);
}

static int64_t pending(struct by_hand *h)
{
    return flow_counts(h->f).triggers_pending;
}

/* Sweeps as the loop would for so many seconds of time; triggers that came of it. */
static int64_t run_s(struct by_hand *h, int64_t seconds)
{
    int64_t before = pending(h);
    for (int64_t s = 0; s < seconds; s++) {
        (void)schedule_stage.sweep(h->schedule);
        pass_s(1);
    }
    (void)schedule_stage.sweep(h->schedule);
    return pending(h) - before;
}

static void an_interval_triggers_at_its_pace(void **state UNUSED)
{
    struct by_hand h = schedule_open("2026-01-02T03:04:05Z", CAMERA("a", "interval = 10s"));
    assert_int_equal(run_s(&h, 99), 10); /* at 0, 10, ... 90 */
    schedule_close(&h);
}

static void cameras_of_one_interval_are_spread_over_it(void **state UNUSED)
{
    struct by_hand h = schedule_open("2026-01-02T03:04:05Z",
                                     CAMERA("a", "interval = 10s") CAMERA("b", "interval = 10s"));
    assert_int_equal(run_s(&h, 4), 1);
    assert_int_equal(run_s(&h, 5), 1);
    schedule_close(&h);
}

static void a_long_stop_gives_one_picture_and_not_all_that_were_missed(void **state UNUSED)
{
    struct by_hand h = schedule_open("2026-01-02T03:04:05Z", CAMERA("a", "interval = 10s"));
    assert_int_equal(run_s(&h, 0), 1);
    pass_s(3600);
    assert_int_equal(run_s(&h, 0), 1);
    assert_int_equal(run_s(&h, 9), 0);
    assert_int_equal(run_s(&h, 1), 1);
    schedule_close(&h);
}

static void the_wall_clock_does_not_move_an_interval(void **state UNUSED)
{
    struct by_hand h = schedule_open("2026-01-02T03:04:05Z", CAMERA("a", "interval = 10s"));
    assert_int_equal(run_s(&h, 1), 1);
    set_wall("2031-01-01T00:00:00Z");
    assert_int_equal(run_s(&h, 8), 0);
    set_wall("2001-01-01T00:00:00Z");
    assert_int_equal(run_s(&h, 1), 1);
    schedule_close(&h);
}

static void a_time_of_day_triggers_once(void **state UNUSED)
{
    struct by_hand h = schedule_open("2026-01-02T03:04:30Z", CAMERA("a", "times = 5 3 * * *"));
    assert_int_equal(run_s(&h, 29), 0);
    assert_int_equal(run_s(&h, 1), 1);
    assert_int_equal(run_s(&h, 120), 0);
    schedule_close(&h);
}

static void moments_that_a_jump_left_out_are_not_made_up_for(void **state UNUSED)
{
    struct by_hand h = schedule_open("2026-01-02T03:00:30Z", CAMERA("a", "times = * * * * *"));
    assert_int_equal(run_s(&h, 0), 0);
    set_wall("2026-01-02T09:00:30Z");
    assert_int_equal(run_s(&h, 0), 0);
    assert_int_equal(run_s(&h, 30), 1); /* 09:01 */
    /* Back: the time of day comes again, and so does its picture. */
    set_wall("2026-01-02T03:00:30Z");
    assert_int_equal(run_s(&h, 0), 0);
    assert_int_equal(run_s(&h, 30), 1);
    schedule_close(&h);
}

static void a_moment_met_a_little_late_still_counts(void **state UNUSED)
{
    struct by_hand h = schedule_open("2026-01-02T03:04:30Z", CAMERA("a", "times = 5 3 * * *"));
    assert_int_equal(run_s(&h, 0), 0);
    pass_s(60);
    assert_int_equal(run_s(&h, 0), 1);
    schedule_close(&h);
}

static void a_reload_brings_new_cameras_and_ends_old_ones(void **state UNUSED)
{
    struct by_hand h = schedule_open("2026-01-02T03:04:05Z", CAMERA("a", "interval = 10s"));
    assert_int_equal(run_s(&h, 0), 1);
    flow_configure(h.f, CAMERA("b", "interval = 5s") CAMERA("off", "interval = 1s\nenabled = no"));
    assert_int_equal(run_s(&h, 9), 2);
    struct trigger due[4];
    struct err e = {0};
    assert_int_equal(ledger_trigger_due(h.f->l, ledger_now(), due, 4, &e), 2);
    flow_configure(h.f, "");
    assert_int_equal(run_s(&h, 60), 0);
    assert_int_equal(h.f->settings_freed, 2);
    schedule_close(&h);
}

int main(void)
{
    set_wall("2026-01-02T03:00:00Z");
    clock_set_mono_source(virtual_mono);
    clock_set_wall_source(virtual_wall);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_interval_triggers_at_its_pace),
        cmocka_unit_test(cameras_of_one_interval_are_spread_over_it),
        cmocka_unit_test(a_long_stop_gives_one_picture_and_not_all_that_were_missed),
        cmocka_unit_test(the_wall_clock_does_not_move_an_interval),
        cmocka_unit_test(a_time_of_day_triggers_once),
        cmocka_unit_test(moments_that_a_jump_left_out_are_not_made_up_for),
        cmocka_unit_test(a_moment_met_a_little_late_still_counts),
        cmocka_unit_test(a_reload_brings_new_cameras_and_ends_old_ones),
    };
    return RUN_TESTS(tests);
}
