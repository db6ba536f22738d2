/* Delivery, by hand and on a virtual clock: order, repeats, dead letters. */
#include "flow.h"

static _Atomic int64_t now_us = 1000000000; /* monotonic */

static struct mono_time virtual_mono(void)
{
    return (struct mono_time){atomic_load(&now_us)};
}
static void pass_ms(int64_t ms)
{
    atomic_fetch_add(&now_us, ms * 1000);
}

static int64_t nothing_to_do(void *self UNUSED)
{
    return 3600000;
}
static const struct stage_ops idle_ops = {.name = "idle", .sweep = nothing_to_do};

struct by_hand {
    struct flow *f;
    struct flow_notifier *n;
    void *deliver;
};

static struct by_hand deliver_open(void)
{
    struct by_hand h = {.f = flow_new(1, 1)};
    h.n = &h.f->notifiers[0];
    flow_configure(h.f, "");
    int n = flow_start_stage(h.f, &idle_ops, NULL, 0, NULL, 0);
    h.deliver = deliver_stage_new(&h.f->p, h.f->notifier_list[0]);
    struct err e = {0};
    assert_int_equal(deliver_stage.init(h.deliver, h.f->stages[n], &e), 0);
    return h;
}

static void deliver_close(struct by_hand *h)
{
    deliver_stage.fini(h->deliver);
    free(h->deliver);
    flow_free(h->f);
}

/* An examined picture with its outbox row; its id. */
static void examined(struct by_hand *h, const char *camera, int i, char ret_id[SNAPSHOT_ID_SIZE])
{
    AUTO(snapshot) s = flow_store(h->f, camera, i, true);
    struct verdict v = {.outcome = VERDICT_EXAMINED};
    struct err e = {0};
    assert_int_equal(ledger_snapshot_examined(h->f->l, s, &v, NULL, NULL, h->f->destinations, &e),
                     0);
    text_copy(ret_id, SNAPSHOT_ID_SIZE, s->id);
}

/* Sweeps until it wants to rest; how long. */
static int64_t sweep(struct by_hand *h)
{
    int64_t pause = 0;
    for (int i = 0; i < 100 && pause == 0; i++)
        pause = deliver_stage.sweep(h->deliver);
    assert_true(pause > 0); /* else it runs in circles */
    return pause;
}

static void events_of_a_camera_arrive_in_order(void **state UNUSED)
{
    struct by_hand h = deliver_open();
    char ids[150][SNAPSHOT_ID_SIZE];
    for (int i = 0; i < 150; i++) /* more than a batch */
        examined(&h, i % 2 ? "a" : "b", i, ids[i]);
    sweep(&h);
    assert_int_equal(h.n->delivered, 150);
    for (int i = 0; i < 150; i++)
        assert_string_equal(h.n->seen[i].id, ids[i]);
    assert_int_equal(flow_counts(h.f).outbox_pending, 0);
    deliver_close(&h);
}

static void a_refused_event_is_repeated_in_order_and_other_cameras_pass(void **state UNUSED)
{
    struct by_hand h = deliver_open();
    char ids[6][SNAPSHOT_ID_SIZE];
    for (int i = 0; i < 6; i++)
        examined(&h, i % 2 ? "good" : "bad", i, ids[i]);
    h.n->refuses_camera = "bad";
    int64_t pause = sweep(&h);
    assert_int_equal(h.n->delivered, 3);
    assert_int_equal(h.n->calls, 4); /* the first of "bad" once, nothing behind it */
    assert_true(pause >= 900 && pause <= 1000);
    /* Each repeat waits longer: 1, 2, 4 ... s. */
    for (int i = 1; i <= 4; i++) {
        pass_ms((int64_t)1000 << (i - 1));
        sweep(&h);
        assert_int_equal(h.n->calls, 4 + i);
        assert_string_equal(h.n->seen[3 + i].id, ids[0]);
        assert_int_equal(h.n->seen[3 + i].attempt, i + 1);
    }
    h.n->refuses_camera = NULL;
    pass_ms(60000);
    sweep(&h);
    assert_int_equal(h.n->delivered, 6);
    for (int i = 0; i < 3; i++)
        assert_string_equal(h.n->seen[h.n->calls - 3 + i].id, ids[2 * i]);
    deliver_close(&h);
}

static void an_event_refused_for_good_is_put_aside_and_holds_up_nobody(void **state UNUSED)
{
    static const struct flow_answer script[] = {{-EINVAL, ERR_NEVER, false}, {0}};
    struct by_hand h = deliver_open();
    char ids[3][SNAPSHOT_ID_SIZE];
    for (int i = 0; i < 3; i++)
        examined(&h, "c", i, ids[i]);
    h.n->script = script;
    h.n->script_len = 2;
    sweep(&h);
    assert_int_equal(h.n->delivered, 2);
    struct ledger_counts c = flow_counts(h.f);
    assert_int_equal(c.outbox_dead, 1);
    assert_int_equal(c.outbox_pending, 0);
    deliver_close(&h);
}

static void what_the_ledger_cannot_note_is_neither_repeated_in_a_storm_nor_lost(void **state UNUSED)
{
    struct by_hand h = deliver_open();
    char ids[3][SNAPSHOT_ID_SIZE];
    for (int i = 0; i < 3; i++)
        examined(&h, i == 0 ? "bad" : "good", i, ids[i]);
    h.n->refuses_camera = "bad";
    (void)signal(SIGXFSZ, SIG_IGN);
    struct rlimit before, none;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    none = before;
    none.rlim_cur = 4096;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    int64_t least = INT64_MAX;
    for (int i = 0; i < 20; i++) { /* as wake-ups by new verdicts would */
        int64_t pause = deliver_stage.sweep(h.deliver);
        least = i > 2 ? MIN(least, pause) : least;
    }
    int calls = h.n->calls;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_true(calls <= 3);
    assert_true(least > 500);
    h.n->refuses_camera = NULL;
    pass_ms(60000);
    sweep(&h);
    assert_int_equal(flow_counts(h.f).outbox_pending, 0);
    assert_int_equal(flow_counts(h.f).outbox_dead, 0);
    int good = 0; /* delivered once each, although the first note of it failed */
    for (int i = 0; i < h.n->calls; i++)
        good += h.n->seen[i].ok && strcmp(h.n->seen[i].camera, "good") == 0;
    assert_int_equal(good, 2);
    deliver_close(&h);
}

static void a_dead_destination_does_not_hold_up_another(void **state UNUSED)
{
    static const struct flow_answer dead[] = {{-ECONNREFUSED, ERR_LATER, false}};
    struct flow *f = flow_new(1, 2);
    f->notifiers[0].script = dead;
    f->notifiers[0].script_len = 1;
    flow_configure(f, "");
    for (int i = 0; i < 5; i++)
        snapshot_unref(flow_store(f, "c", i, true));
    flow_start(f, FLOW_DELIVER | FLOW_DETECT);
    FLOW_WAIT(f, f->notifiers[1].delivered == 5 && flow_counts(f).outbox_pending == 5);
    flow_stop(f);
    assert_int_equal(f->notifiers[0].delivered, 0);
    flow_free(f);
}

int main(void)
{
    clock_set_mono_source(virtual_mono);
    const struct CMUnitTest by_hand[] = {
        cmocka_unit_test(events_of_a_camera_arrive_in_order),
        cmocka_unit_test(a_refused_event_is_repeated_in_order_and_other_cameras_pass),
        cmocka_unit_test(an_event_refused_for_good_is_put_aside_and_holds_up_nobody),
        cmocka_unit_test(what_the_ledger_cannot_note_is_neither_repeated_in_a_storm_nor_lost),
        cmocka_unit_test(a_dead_destination_does_not_hold_up_another),
    };
    return RUN_TESTS(by_hand);
}
