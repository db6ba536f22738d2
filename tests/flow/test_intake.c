/* Intake: a full disk, repeats, and what is left half-way. Its functions are called by hand where
 * the order matters. */
#include "flow.h"

static int64_t nothing_to_do(void *self UNUSED)
{
    return 3600000;
}
static const struct stage_ops idle_ops = {.name = "idle", .sweep = nothing_to_do};

struct by_hand {
    struct flow *f;
    void *intake;
};

static struct by_hand intake_open(void)
{
    struct by_hand h = {.f = flow_new(1, 0)};
    flow_configure(h.f, "[camera:c]\nkind = http\nurl = http://127.0.0.1:9/\n");
    int n = flow_start_stage(h.f, &idle_ops, NULL, 0, NULL, 0);
    h.intake = intake_stage_new(&h.f->p);
    struct err e = {0};
    assert_int_equal(intake_stage.init(h.intake, h.f->stages[n], &e), 0);
    return h;
}

static void intake_close(struct by_hand *h)
{
    intake_stage.fini(h->intake);
    free(h->intake);
    flow_free(h->f);
}

static struct fetched *fetched_new(struct flow *f, const char *id, int comments)
{
    struct fetched *item = xcalloc(1, sizeof(*item));
    atomic_init(&item->refs, 1);
    item->trigger = flow_get_trigger(f, id);
    text_copy(item->directory, sizeof(item->directory), "c");
    item->received_at = clock_wall();
    AUTO_DONE(dynbuf) jpeg;
    make_jpeg(&jpeg, comments);
    item->bytes = blob_new_copy(jpeg.data, jpeg.len);
    return item;
}

static int offer(struct by_hand *h, const char *id, int comments)
{
    struct fetched *item = fetched_new(h->f, id, comments);
    intake_stage.step(h->intake, item);
    intake_stage.flush(h->intake);
    int outcome = atomic_load(&item->outcome);
    fetched_unref(item);
    return outcome;
}

static void limit_files(rlim_t bytes, struct rlimit *before)
{
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, before), 0);
    struct rlimit l = *before;
    l.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &l), 0);
}

static void a_second_answer_to_one_trigger_changes_nothing(void **state UNUSED)
{
    struct by_hand h = intake_open();
    char id[SNAPSHOT_ID_SIZE];
    flow_trigger(h.f, "c", id);
    assert_int_equal(offer(&h, id, 1), FETCHED_RECORDED);
    assert_int_equal(offer(&h, id, 2), FETCHED_RECORDED);
    assert_int_equal(flow_counts(h.f).snapshots, 1);
    flow_assert_sound(h.f);
    intake_close(&h);
}

static void a_repeat_does_not_replace_bytes_that_are_not_in_their_place_yet(void **state UNUSED)
{
    struct by_hand h = intake_open();
    char id[SNAPSHOT_ID_SIZE];
    flow_trigger(h.f, "c", id);
    assert_int_equal(offer(&h, id, 1), FETCHED_RECORDED);
    /* As if the rename had not come to pass. */
    struct snapshot s = flow_get_snapshot(h.f, id);
    AUTO_FREE char *placed = xasprintf("%s/%s", h.f->store_path, s.path);
    AUTO_FREE char *incoming = xasprintf("%s/.incoming/%s", h.f->store_path, id);
    assert_int_equal(rename(placed, incoming), 0);
    assert_int_equal(offer(&h, id, 2), FETCHED_RECORDED);
    struct err e = {0};
    assert_int_equal(store_place(h.f->p.store, id, false, s.path, &e), 0);
    flow_assert_sound(h.f); /* the size that the row tells */
    intake_close(&h);
}

static void an_answer_to_a_trigger_that_was_given_up_leaves_nothing(void **state UNUSED)
{
    struct by_hand h = intake_open();
    char id[SNAPSHOT_ID_SIZE];
    struct err e = {0};
    flow_trigger(h.f, "c", id);
    struct trigger t = flow_get_trigger(h.f, id);
    assert_int_equal(ledger_trigger_fail(h.f->l, &t, "gave up", &e), 0);
    flow_listen(h.f, "ledger-failed");
    assert_int_equal(offer(&h, id, 1), FETCHED_RECORDED); /* nothing is left to do for the flight */
    assert_int_equal(flow_heard(h.f, "ledger-failed"), 0);
    assert_int_equal(flow_counts(h.f).snapshots, 0);
    t = flow_get_trigger(h.f, id);
    assert_string_equal(t.error, "gave up");
    flow_assert_sound(h.f);
    intake_close(&h);
}

static void bytes_that_are_no_picture_end_the_trigger(void **state UNUSED)
{
    struct by_hand h = intake_open();
    char id[SNAPSHOT_ID_SIZE];
    flow_trigger(h.f, "c", id);
    struct fetched *item = fetched_new(h.f, id, 1);
    blob_unref(item->bytes);
    item->bytes = blob_new_copy("<html>no</html>", 15);
    intake_stage.step(h.intake, item);
    intake_stage.flush(h.intake);
    fetched_unref(item);
    struct trigger t = flow_get_trigger(h.f, id);
    assert_int_equal(t.state, TRIGGER_FAILED);
    assert_non_null(strstr(t.error, "HTML"));
    assert_int_equal(h.f->outcomes, 1);
    flow_assert_sound(h.f);
    intake_close(&h);
}

static void a_full_disk_leaves_nothing_half_written_and_the_trigger_pending(void **state UNUSED)
{
    struct by_hand h = intake_open();
    char id[SNAPSHOT_ID_SIZE];
    flow_trigger(h.f, "c", id);
    struct rlimit before;
    limit_files(512 << 10, &before); /* the ledger is shorter, the picture longer */
    int outcome = offer(&h, id, 20);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(outcome, FETCHED_REFUSED);
    struct trigger t = flow_get_trigger(h.f, id);
    assert_int_equal(t.state, TRIGGER_PENDING);
    assert_int_equal(flow_counts(h.f).snapshots, 0);
    flow_assert_sound(h.f);
    assert_int_equal(offer(&h, id, 20), FETCHED_RECORDED);
    flow_assert_sound(h.f);
    intake_close(&h);
}

static void a_disk_too_full_for_the_ledger_loses_nothing_either(void **state UNUSED)
{
    struct by_hand h = intake_open();
    char id[SNAPSHOT_ID_SIZE];
    flow_trigger(h.f, "c", id);
    struct rlimit before;
    limit_files(4096, &before);
    int outcome = offer(&h, id, 1);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(outcome, FETCHED_REFUSED);
    assert_int_equal(flow_get_trigger(h.f, id).state, TRIGGER_PENDING);
    assert_int_equal(offer(&h, id, 1), FETCHED_RECORDED);
    flow_assert_sound(h.f);
    intake_close(&h);
}

static void a_picture_refused_by_a_full_disk_is_asked_for_again(void **state UNUSED)
{
    struct flow *f = flow_new(1, 0);
    flow_add_cameras(f, 4, NULL);
    flow_use_cameras(f, "check_fresh = no\n"); /* the second answer is the same picture */
    flow_listen(f, "picture-refused");
    char id[SNAPSHOT_ID_SIZE];
    flow_trigger(f, "c3", id);
    struct rlimit before;
    limit_files(160 << 10, &before); /* c3's picture is of 320 kB */
    flow_start(f, FLOW_ALL);
    FLOW_WAIT(f, flow_heard(f, "picture-refused") == 1);
    /* The camera is not asked in a storm meanwhile. */
    long asked = flow_sim_stat(f, 3, "requests");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    FLOW_WAIT(f, f->outcomes == 1);
    flow_stop(f);
    assert_int_equal(asked, 1);
    assert_int_equal(flow_sim_stat(f, 3, "requests"), 2);
    assert_true(flow_is_recorded(f, id));
    flow_assert_sound(f);
    flow_free(f);
}

static void renames_that_failed_are_finished_by_the_sweep(void **state UNUSED)
{
    struct by_hand h = intake_open();
    char new_path[SNAPSHOT_PATH_MAX];
    struct verdict v = {.outcome = VERDICT_EXAMINED};
    struct err e = {0};
    const char *none[] = {NULL};
    for (int i = 0; i < 3; i++) {
        AUTO(snapshot) s = flow_store(h.f, "c", i, i != 1); /* the second is still unplaced */
        assert_int_equal(snapshot_name_renamed(s->path, "human", new_path, sizeof(new_path)), 0);
        assert_int_equal(ledger_snapshot_examined(h.f->l, s, &v, new_path, NULL, none, NULL, 0, &e),
                         0);
    }
    struct ledger_unsettled u[4];
    assert_int_equal(ledger_unsettled(h.f->l, 0, u, 4, &e), 3);
    assert_true(intake_stage.sweep(h.intake) > 0);
    assert_int_equal(ledger_unsettled(h.f->l, 0, u, 4, &e), 0);
    flow_assert_sound(h.f);
    intake_close(&h);
}

static _Atomic int64_t now_us = 1000000000;
static struct mono_time virtual_mono(void)
{
    return (struct mono_time){atomic_load(&now_us)};
}

/* Whoever wakes it: each round looks at all that is unsettled. */
static void settles_at_most_once_a_second(void **state UNUSED)
{
    clock_set_mono_source(virtual_mono);
    struct by_hand h = intake_open();
    struct verdict v = {.outcome = VERDICT_EXAMINED};
    struct ledger_unsettled u[4];
    struct err e = {0};
    assert_true(intake_stage.sweep(h.intake) > 1000); /* nothing to do */
    char path[SNAPSHOT_PATH_MAX];
    AUTO(snapshot) s = flow_store(h.f, "c", 1, true);
    assert_int_equal(snapshot_name_renamed(s->path, "human", path, sizeof(path)), 0);
    assert_int_equal(ledger_snapshot_examined(h.f->l, s, &v, path, NULL, NULL, NULL, 0, &e), 0);
    assert_int_equal(intake_stage.sweep(h.intake), 1000);
    atomic_fetch_add(&now_us, 999000);
    assert_int_equal(intake_stage.sweep(h.intake), 1);
    assert_int_equal(ledger_unsettled(h.f->l, 0, u, 4, &e), 1);
    atomic_fetch_add(&now_us, 1000);
    assert_true(intake_stage.sweep(h.intake) > 1000);
    assert_int_equal(ledger_unsettled(h.f->l, 0, u, 4, &e), 0);
    snapshot_unref(STEAL(s));
    intake_close(&h);
    clock_set_mono_source(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_second_answer_to_one_trigger_changes_nothing),
        cmocka_unit_test(a_repeat_does_not_replace_bytes_that_are_not_in_their_place_yet),
        cmocka_unit_test(an_answer_to_a_trigger_that_was_given_up_leaves_nothing),
        cmocka_unit_test(bytes_that_are_no_picture_end_the_trigger),
        cmocka_unit_test(a_full_disk_leaves_nothing_half_written_and_the_trigger_pending),
        cmocka_unit_test(a_disk_too_full_for_the_ledger_loses_nothing_either),
        cmocka_unit_test(a_picture_refused_by_a_full_disk_is_asked_for_again),
        cmocka_unit_test(renames_that_failed_are_finished_by_the_sweep),
        cmocka_unit_test(settles_at_most_once_a_second),
    };
    return RUN_TESTS(tests);
}
