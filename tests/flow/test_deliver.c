/* Delivery, by hand and on a virtual clock: order, repeats, batches, what is given up. */
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
    assert_int_equal(
        ledger_snapshot_examined(h->f->l, s, &v, NULL, NULL, h->f->destinations, NULL, 0, &e), 0);
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

/* ---- a destination that takes many events before it answers ---- */

struct distant {
    struct notifier base;
    struct notifier_ops ops;
    int room;
    const char *fails, *unknown; /* ids */
    int offered_before_first_answer, offered, answered, cares;
    char sent[FLOW_CALLS_MAX][SNAPSHOT_ID_SIZE]; /* as they went out */
    int attempts[FLOW_CALLS_MAX];
    char state[32];
};

static int distant_deliver(struct notifier *n, const struct event *ev, struct err *e UNUSED)
{
    struct distant *d = container_of(n, struct distant, base);
    assert_true(d->offered < FLOW_CALLS_MAX);
    d->attempts[d->offered] = ev->attempt;
    text_copy(d->sent[d->offered++], SNAPSHOT_ID_SIZE, ev->snapshot->id);
    if (!d->answered)
        d->offered_before_first_answer++;
    return -EINPROGRESS;
}
static int distant_settle(struct notifier *n, const char *id, struct mono_time deadline UNUSED,
                          struct err *e)
{
    struct distant *d = container_of(n, struct distant, base);
    d->answered++;
    if (d->unknown && strcmp(id, d->unknown) == 0)
        return -EAGAIN;
    if (d->fails && strcmp(id, d->fails) == 0)
        return err_set(e, -EIO, ERR_LATER, "it fell off the lorry");
    return 0;
}
static int distant_room(struct notifier *n)
{
    return container_of(n, struct distant, base)->room;
}
static int64_t distant_care(struct notifier *n)
{
    container_of(n, struct distant, base)->cares++;
    return 5000;
}
static int distant_fd(const struct notifier *n UNUSED)
{
    return -1;
}
static void distant_describe(struct notifier *n, struct notifier_state *ret)
{
    text_copy(ret->text, sizeof(ret->text), container_of(n, struct distant, base)->state);
}

/* Takes the place of the plain notifier. */
static struct by_hand distant_open(struct distant *d)
{
    struct by_hand h = {.f = flow_new(1, 1)};
    *d = (struct distant){.ops = {.name = h.f->destinations[0],
                                  .deliver = distant_deliver,
                                  .settle = distant_settle,
                                  .room = distant_room,
                                  .care = distant_care,
                                  .fd = distant_fd,
                                  .describe = distant_describe},
                          .room = 64};
    d->base.ops = &d->ops;
    flow_configure(h.f, "");
    int n = flow_start_stage(h.f, &idle_ops, NULL, 0, NULL, 0);
    h.deliver = deliver_stage_new(&h.f->p, &d->base);
    struct err e = {0};
    assert_int_equal(deliver_stage.init(h.deliver, h.f->stages[n], &e), 0);
    return h;
}

static void many_are_on_their_way_before_the_first_answer(void **state UNUSED)
{
    struct distant d;
    struct by_hand h = distant_open(&d);
    char ids[100][SNAPSHOT_ID_SIZE];
    for (int i = 0; i < 100; i++)
        examined(&h, "c", i, ids[i]);
    sweep(&h);
    assert_int_equal(d.offered_before_first_answer, 64);
    assert_int_equal(d.offered, 100);
    for (int i = 0; i < 100; i++)
        assert_string_equal(d.sent[i], ids[i]);
    assert_int_equal(flow_counts(h.f).outbox_pending, 0);
    deliver_close(&h);
}

static void behind_one_that_failed_its_camera_is_sent_again(void **state UNUSED)
{
    struct distant d;
    struct by_hand h = distant_open(&d);
    char ids[6][SNAPSHOT_ID_SIZE];
    for (int i = 0; i < 6; i++)
        examined(&h, i % 2 ? "good" : "bad", i, ids[i]);
    d.fails = ids[2];
    sweep(&h);
    assert_int_equal(d.offered, 6);
    assert_int_equal(flow_counts(h.f).outbox_pending, 2); /* the one that failed and one behind */
    struct destination_status st;
    deliver_stage_status(h.deliver, &st);
    assert_string_equal(st.last_error, "it fell off the lorry");
    d.fails = NULL;
    pass_ms(2000);
    sweep(&h);
    assert_int_equal(d.offered, 8);
    assert_string_equal(d.sent[6], ids[2]);
    assert_int_equal(d.attempts[6], 2);
    assert_string_equal(d.sent[7], ids[4]);
    assert_int_equal(d.attempts[7], 1); /* no fault of its own */
    assert_int_equal(flow_counts(h.f).outbox_pending, 0);
    deliver_stage_status(h.deliver, &st);
    assert_string_equal(st.last_error, "");
    deliver_close(&h);
}

static void an_event_of_unknown_fate_is_offered_again_and_counts_no_attempt(void **state UNUSED)
{
    struct distant d;
    struct by_hand h = distant_open(&d);
    char ids[4][SNAPSHOT_ID_SIZE];
    for (int i = 0; i < 4; i++)
        examined(&h, i == 1 ? "other" : "c", i, ids[i]);
    d.unknown = ids[0];
    assert_true(deliver_stage.sweep(h.deliver) > 0); /* it is no use to ask again at once */
    assert_int_equal(flow_counts(h.f).outbox_pending, 3);
    d.unknown = NULL;
    sweep(&h);
    assert_int_equal(flow_counts(h.f).outbox_pending, 0);
    for (int i = 0; i < d.offered; i++)
        assert_int_equal(d.attempts[i], 1);
    assert_string_equal(d.sent[4], ids[0]);
    deliver_close(&h);
}

static void a_destination_without_room_is_cared_for_and_offered_nothing(void **state UNUSED)
{
    struct distant d;
    struct by_hand h = distant_open(&d);
    char ids[3][SNAPSHOT_ID_SIZE];
    for (int i = 0; i < 3; i++)
        examined(&h, "c", i, ids[i]);
    d.room = 0;
    text_copy(d.state, sizeof(d.state), "not reachable for 3 min");
    for (int i = 0; i < 5; i++)
        assert_true(deliver_stage.sweep(h.deliver) > 0);
    assert_int_equal(d.offered, 0);
    assert_int_equal(d.cares, 5);
    struct destination_status st;
    deliver_stage_status(h.deliver, &st);
    assert_string_equal(st.state, "not reachable for 3 min");
    d.room = 1; /* one by one */
    sweep(&h);
    assert_int_equal(d.offered_before_first_answer, 1);
    assert_int_equal(d.offered, 3);
    assert_int_equal(flow_counts(h.f).outbox_pending, 0);
    deliver_close(&h);
}

static void too_many_waiting_events_are_given_up_from_the_oldest(void **state UNUSED)
{
    struct distant d;
    struct by_hand h = distant_open(&d);
    char ids[9][SNAPSHOT_ID_SIZE];
    for (int i = 0; i < 9; i++)
        examined(&h, "c", i, ids[i]);
    d.room = 0;
    d.base.backlog_max = 4;
    sweep(&h);
    assert_int_equal(flow_counts(h.f).outbox_pending, 4);
    assert_int_equal(flow_counts(h.f).outbox_dead, 5);
    d.room = 64;
    sweep(&h);
    assert_int_equal(d.offered, 4);
    assert_string_equal(d.sent[0], ids[5]);
    deliver_close(&h);
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
        cmocka_unit_test(many_are_on_their_way_before_the_first_answer),
        cmocka_unit_test(behind_one_that_failed_its_camera_is_sent_again),
        cmocka_unit_test(an_event_of_unknown_fate_is_offered_again_and_counts_no_attempt),
        cmocka_unit_test(a_destination_without_room_is_cared_for_and_offered_nothing),
        cmocka_unit_test(too_many_waiting_events_are_given_up_from_the_oldest),
    };
    return RUN_TESTS(by_hand);
}
