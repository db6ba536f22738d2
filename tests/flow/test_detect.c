/* Detection: order, failures, and two workers that never have the same picture in hand. */
#include "flow.h"

#include "ledger/ledger_again.h"

/* The real clock, and what the test adds to it. */
static _Atomic int64_t ahead_us;

static struct mono_time clock_ahead(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (struct mono_time){(int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000 +
                              atomic_load(&ahead_us)};
}

static void live_pictures_overtake_the_backlog(void **state UNUSED)
{
    struct flow *f = flow_new_with_cameras(4, "");
    for (int i = 0; i < 8; i++) /* of another size than the live one */
        snapshot_unref(flow_store(f, "old", 4 * i, true));
    FLOW_SET(f, f->detector.held, true);
    flow_start(f, FLOW_ALL);
    FLOW_WAIT(f, f->detector.inside == 1);
    flow_trigger(f, "c3", NULL);
    FLOW_WAIT(f, flow_counts(f).snapshots == 9);
    /* Its trigger's flight ends after it was handed over. */
    struct stage_status st;
    int fetch = f->stage_count - 1;
    FLOW_WAIT(f, (stage_status(f->stages[fetch], &st), st.queued == 0 && st.done == 1));
    FLOW_SET(f, f->detector.held, false);
    FLOW_WAIT(f, f->outcomes == 9);
    flow_stop(f);
    int place = 0;
    while (f->detector.seen[place] != f->frame_sizes[3])
        place++;
    assert_true(place <= 2); /* behind the one that was under way, and one more at the most */
    assert_int_equal(f->detector.calls, 9);
    flow_free(f);
}

static void a_worker_never_examines_what_another_has(void **state UNUSED)
{
    struct flow *f = flow_new(2, 0);
    flow_add_cameras(f, 4, NULL);
    flow_use_cameras(f, "");
    FLOW_SET(f, f->detector.held, true);
    flow_start(f, FLOW_ALL);
    for (int i = 0; i < 4; i++) {
        char camera[] = {'c', (char)('0' + i), '\0'};
        flow_trigger(f, camera, NULL);
    }
    FLOW_WAIT(f, f->detector.inside == 2 && flow_counts(f).snapshots == 4);
    assert_true(f->detector.seen[0] != f->detector.seen[1]);
    FLOW_SET(f, f->detector.held, false);
    FLOW_WAIT(f, f->outcomes == 4);
    flow_stop(f);
    assert_int_equal(f->detector.calls, 4);
    for (int i = 0; i < 4; i++) {
        int times = 0;
        for (int k = 0; k < 4; k++)
            times += f->detector.seen[k] == f->frame_sizes[i];
        assert_int_equal(times, 1);
    }
    flow_free(f);
}

static void a_backlog_after_a_restart_is_examined(void **state UNUSED)
{
    struct flow *f = flow_new(2, 1);
    flow_configure(f, "");
    for (int i = 0; i < 30; i++)
        snapshot_unref(flow_store(f, "c", i, true));
    flow_start(f, FLOW_DELIVER | FLOW_DETECT);
    FLOW_WAIT(f, f->notifiers[0].delivered == 30);
    flow_stop(f);
    assert_int_equal(f->detector.calls, 30);
    flow_assert_sound(f);
    flow_free(f);
}

static bool is_wanted_again(struct flow *f, const char *id)
{
    return flow_get_snapshot(f, id).again;
}

/* A person wants one that shows nobody examined again, and by now the detector sees one. */
static void what_is_wanted_again_gets_a_new_verdict_and_no_second_event(void **state UNUSED)
{
    static const struct flow_answer answers[] = {{.person = false}, {.person = true}};
    struct flow *f = flow_new(2, 1);
    struct err e = {0};
    struct verdict v;
    f->detector.script = answers;
    f->detector.script_len = 2;
    flow_configure(f, "");
    AUTO(snapshot) s = flow_store(f, "c", 1, true);
    flow_start(f, FLOW_DELIVER | FLOW_DETECT);
    FLOW_WAIT(f, f->notifiers[0].delivered == 1);
    assert_int_equal(ledger_again_want(f->l, s->id, &e), 0);
    pipeline_wake(&f->p, PIPELINE_DETECT);
    FLOW_WAIT(f, !is_wanted_again(f, s->id));
    /* One more goes all the way, so an event of the first would have been seen. */
    snapshot_unref(flow_store(f, "c", 2, true));
    pipeline_wake(&f->p, PIPELINE_DETECT);
    FLOW_WAIT(f, f->notifiers[0].delivered == 2);
    flow_stop(f);
    assert_int_equal(f->detector.calls, 3);
    assert_int_equal(f->notifiers[0].calls, 2);
    assert_string_equal(f->notifiers[0].seen[0].id, s->id);
    assert_true(strcmp(f->notifiers[0].seen[1].id, s->id) != 0);
    assert_int_equal(ledger_verdict_get(f->l, s->id, &v, &e), 0);
    assert_int_equal(verdict_persons(&v), 1);
    verdict_done(&v);
    struct snapshot now = flow_get_snapshot(f, s->id);
    assert_string_equal(now.path, s->path); /* its name stays */
    flow_assert_sound(f);
    snapshot_unref(STEAL(s));
    flow_free(f);
}

static void a_wish_outlives_a_restart(void **state UNUSED)
{
    struct flow *f = flow_new(1, 1);
    struct err e = {0};
    flow_configure(f, "");
    AUTO(snapshot) s = flow_store(f, "c", 1, true);
    flow_start(f, FLOW_DELIVER | FLOW_DETECT);
    FLOW_WAIT(f, f->notifiers[0].delivered == 1);
    flow_stop(f);
    assert_int_equal(ledger_again_want(f->l, s->id, &e), 0);
    flow_start(f, FLOW_DELIVER | FLOW_DETECT);
    FLOW_WAIT(f, !is_wanted_again(f, s->id));
    flow_stop(f);
    assert_int_equal(f->detector.calls, 2);
    assert_int_equal(f->notifiers[0].calls, 1);
    flow_assert_sound(f);
    snapshot_unref(STEAL(s));
    flow_free(f);
}

static void a_picture_that_the_detector_cannot_read_is_recorded_with_the_error(void **state UNUSED)
{
    static const struct flow_answer never[] = {{-EINVAL, ERR_NEVER, false}};
    struct flow *f = flow_new(1, 1);
    f->detector.script = never;
    f->detector.script_len = 1;
    flow_configure(f, "");
    snapshot_unref(flow_store(f, "c", 1, true));
    flow_start(f, FLOW_DELIVER | FLOW_DETECT);
    FLOW_WAIT(f, f->notifiers[0].delivered == 1);
    flow_stop(f);
    assert_int_equal(f->detector.calls, 1);
    assert_int_equal(f->notifiers[0].seen[0].outcome, VERDICT_FAILED);
    assert_non_null(strstr(f->notifiers[0].seen[0].error, "has its day"));
    flow_assert_sound(f);
    flow_free(f);
}

static void a_detector_that_is_short_of_something_is_asked_again(void **state UNUSED)
{
    static const struct flow_answer twice[] = {
        {-ENOMEM, ERR_LATER, false}, {-ENOMEM, ERR_LATER, false}, {0, ERR_NEVER, true}};
    struct flow *f = flow_new(1, 1);
    f->detector.script = twice;
    f->detector.script_len = 3;
    flow_configure(f, "");
    snapshot_unref(flow_store(f, "c", 1, true));
    flow_start(f, FLOW_DELIVER | FLOW_DETECT);
    FLOW_WAIT(f, f->notifiers[0].delivered == 1);
    flow_stop(f);
    assert_int_equal(f->detector.calls, 3);
    assert_int_equal(f->notifiers[0].seen[0].outcome, VERDICT_EXAMINED);
    assert_int_equal(f->notifiers[0].seen[0].persons, 1);
    flow_free(f);
}

static void an_unplaced_picture_is_put_in_its_place(void **state UNUSED)
{
    struct flow *f = flow_new(1, 0);
    flow_configure(f, "");
    snapshot_unref(flow_store(f, "c", 1, false));
    flow_start(f, FLOW_DETECT);
    FLOW_WAIT(f, f->outcomes == 1);
    flow_stop(f);
    assert_int_equal(f->detector.calls, 1);
    flow_assert_sound(f);
    flow_free(f);
}

static void a_picture_whose_file_is_gone_is_recorded_with_the_reason(void **state UNUSED)
{
    struct flow *f = flow_new(1, 1);
    flow_configure(f, "");
    AUTO(snapshot) s = flow_store(f, "c", 1, true);
    struct err e = {0};
    assert_int_equal(store_unlink(f->p.store, s->path, &e), 0);
    snapshot_unref(STEAL(s));
    flow_start(f, FLOW_DELIVER | FLOW_DETECT);
    FLOW_WAIT(f, f->notifiers[0].delivered == 1);
    flow_stop(f);
    assert_int_equal(f->detector.calls, 0);
    assert_int_equal(f->notifiers[0].seen[0].outcome, VERDICT_FAILED);
    flow_free(f);
}

/* Calls by hand, to count what one sweep does. */

static void
a_ledger_that_takes_nothing_does_not_make_the_detector_run_in_circles(void **state UNUSED)
{
    struct flow *f = flow_new(1, 0);
    flow_configure(f, "");
    for (int i = 0; i < 20; i++)
        snapshot_unref(flow_store(f, "c", i, true));
    struct flow_by_hand hand;
    struct err e = {0};
    flow_by_hand_init(&hand, f);
    struct rlimit before, none;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    none = before;
    none.rlim_cur = 4096; /* the ledger's files are longer: each write fails */
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    int64_t pause = 0;
    int sweeps = 0;
    while (pause == 0 && sweeps < 100) {
        pause = flow_by_hand_sweep(&hand);
        sweeps++;
    }
    /* A live picture does not start it again, either. */
    struct snapshot *live = NULL;
    assert_int_equal(ledger_backlog(f->l, 0, &live, 1, &e), 1);
    int calls = f->detector.calls;
    detect_stage.step(hand.detect, live);
    snapshot_unref(live);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_true(pause >= 1000);
    assert_int_equal(sweeps, 2); /* the second one rests */
    assert_int_equal(calls, 1);
    assert_int_equal(f->detector.calls, 1);
    assert_int_equal(flow_counts(f).stored, 20);
    flow_by_hand_done(&hand);
    flow_free(f);
}

static void files_that_cannot_be_opened_now_are_tried_later_and_hold_up_nobody(void **state UNUSED)
{
    struct flow *f = flow_new(1, 0);
    flow_configure(f, "");
    for (int i = 0; i < 20; i++)
        snapshot_unref(flow_store(f, "c", i, true));
    struct flow_by_hand hand;
    flow_by_hand_init(&hand, f);
    flow_listen(f, "read-failed");
    struct rlimit before, none;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 3; /* no further one */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    for (int i = 0; i < 20; i++)
        assert_int_equal(flow_by_hand_sweep(&hand), 0); /* each in its turn */
    bool rests = true;
    for (int i = 0; i < 20; i++)
        rests = rests && flow_by_hand_sweep(&hand) >= 1000;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_true(rests);
    assert_int_equal(flow_heard(f, "read-failed"), 20);
    /* A new one passes. */
    snapshot_unref(flow_store(f, "c", 20, true));
    assert_int_equal(flow_by_hand_sweep(&hand), 0);
    assert_int_equal(flow_counts(f).examined, 1);
    atomic_fetch_add(&ahead_us, 20 * 1000000);
    while (flow_by_hand_sweep(&hand) == 0)
        ;
    assert_int_equal(flow_counts(f).examined, 21);
    flow_by_hand_done(&hand);
    flow_free(f);
}

int main(void)
{
    clock_set_mono_source(clock_ahead);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(live_pictures_overtake_the_backlog),
        cmocka_unit_test(a_worker_never_examines_what_another_has),
        cmocka_unit_test(a_backlog_after_a_restart_is_examined),
        cmocka_unit_test(what_is_wanted_again_gets_a_new_verdict_and_no_second_event),
        cmocka_unit_test(a_wish_outlives_a_restart),
        cmocka_unit_test(a_picture_that_the_detector_cannot_read_is_recorded_with_the_error),
        cmocka_unit_test(a_detector_that_is_short_of_something_is_asked_again),
        cmocka_unit_test(an_unplaced_picture_is_put_in_its_place),
        cmocka_unit_test(a_picture_whose_file_is_gone_is_recorded_with_the_reason),
        cmocka_unit_test(a_ledger_that_takes_nothing_does_not_make_the_detector_run_in_circles),
        cmocka_unit_test(files_that_cannot_be_opened_now_are_tried_later_and_hold_up_nobody),
    };
    return RUN_TESTS(tests);
}
