/* The whole way of a picture, from the trigger to the event, with all stages running. */
#include "flow.h"

#include "sys/hash.h"

static void a_trigger_becomes_a_picture_an_event_and_a_file(void **state UNUSED)
{
    struct flow *f = flow_new(1, 1);
    flow_add_cameras(f, 1, NULL);
    flow_use_cameras(f, "");
    flow_start(f, FLOW_ALL);
    char id[SNAPSHOT_ID_SIZE];
    flow_trigger(f, "c0", id);
    struct flow_notifier *n = &f->notifiers[0];
    FLOW_WAIT(f, n->delivered == 1 && flow_counts(f).outbox_pending == 0);
    flow_stop(f);
    assert_string_equal(n->seen[0].id, id);
    assert_string_equal(n->seen[0].camera, "c0");
    assert_int_equal(n->seen[0].outcome, VERDICT_EXAMINED);
    assert_int_equal(n->calls, 1);
    assert_int_equal(f->outcomes, 1);
    assert_int_equal(flow_get_trigger(f, id).state, TRIGGER_DONE);
    struct snapshot s = flow_get_snapshot(f, id);
    assert_int_equal(s.state, SNAPSHOT_EXAMINED);
    flow_assert_sound(f);
    flow_free(f);
}

static void the_stored_bytes_are_the_cameras(void **state UNUSED)
{
    struct flow *f = flow_new_with_cameras(2, "");
    flow_start(f, FLOW_ALL);
    char ids[2][SNAPSHOT_ID_SIZE];
    flow_trigger(f, "c0", ids[0]);
    flow_trigger(f, "c1", ids[1]);
    FLOW_WAIT(f, f->outcomes == 2);
    flow_stop(f);
    for (int i = 0; i < 2; i++) {
        struct snapshot s = flow_get_snapshot(f, ids[i]);
        AUTO(blob) stored = NULL;
        AUTO(blob) sent = NULL;
        struct err e = {0};
        assert_int_equal(store_read(f->p.store, s.path, 1 << 24, &stored, &e), 0);
        assert_int_equal(fs_read_blob(AT_FDCWD, f->frames[i], 1 << 24, &sent, &e), 0);
        assert_int_equal(stored->size, sent->size);
        assert_memory_equal(stored->data, sent->data, sent->size);
        char sum[65];
        hash_sha256_hex(sent->data, sent->size, sum);
        assert_string_equal(s.sha256, sum);
    }
    flow_free(f);
}

static void a_person_renames_the_picture_and_settling_forgets_the_old_name(void **state UNUSED)
{
    static const struct flow_answer person[] = {{.person = true}};
    struct flow *f = flow_new(1, 1);
    f->detector.script = person;
    f->detector.script_len = 1;
    flow_add_cameras(f, 1, NULL);
    flow_use_cameras(f, "");
    flow_start(f, FLOW_ALL);
    char id[SNAPSHOT_ID_SIZE];
    flow_trigger(f, "c0", id);
    FLOW_WAIT(f, f->notifiers[0].delivered == 1);
    assert_int_equal(f->notifiers[0].seen[0].persons, 1);
    flow_stop(f);
    struct snapshot s = flow_get_snapshot(f, id);
    assert_non_null(strstr(s.path, "/human_"));
    struct ledger_unsettled u;
    struct err e = {0};
    assert_int_equal(ledger_unsettled(f->l, 0, &u, 1, &e), 1);
    flow_start(f, FLOW_INTAKE); /* its first sweep settles */
    FLOW_WAIT(f, ledger_unsettled(f->l, 0, &u, 1, &e) == 0);
    flow_stop(f);
    flow_assert_sound(f);
    flow_free(f);
}

static void many_triggers_through_full_edges_lose_nothing(void **state UNUSED)
{
    struct flow *f = flow_new(2, 2);
    flow_add_cameras(f, 4, NULL);
    flow_use_cameras(f, "");
    FLOW_SET(f, f->detector.held, true);
    flow_start(f, FLOW_ALL);
    for (int i = 0; i < 40; i++) {
        char camera[] = {'c', (char)('0' + i % 4), '\0'};
        flow_trigger(f, camera, NULL);
    }
    /* All are safe though nobody examines any, and no edge could hold so many. */
    FLOW_WAIT(f, flow_counts(f).snapshots == 40);
    assert_int_equal(flow_counts(f).triggers_pending, 0);
    FLOW_SET(f, f->detector.held, false);
    FLOW_WAIT(f, f->notifiers[0].delivered == 40 && f->notifiers[1].delivered == 40);
    FLOW_WAIT(f, flow_counts(f).outbox_pending == 0);
    flow_stop(f);
    assert_int_equal(f->detector.calls, 40);
    assert_int_equal(flow_counts(f).examined, 40);
    flow_assert_sound(f);
    flow_free(f);
}

static void a_stop_records_what_was_handed_over_and_keeps_the_rest_pending(void **state UNUSED)
{
    struct flow *f = flow_new(1, 1);
    flow_add_cameras(f, 2, NULL);
    flow_use_cameras(f, "");
    flow_sim_fault(f, 1, "hang");
    flow_start(f, FLOW_ALL);
    char good[SNAPSHOT_ID_SIZE], hanging[SNAPSHOT_ID_SIZE];
    flow_trigger(f, "c1", hanging);
    FLOW_WAIT(f, flow_sim_stat(f, 1, "requests") == 1);
    FLOW_SET(f, f->detector.held, true);
    flow_trigger(f, "c0", good);
    FLOW_WAIT(f, f->detector.inside == 1);
    FLOW_SET(f, f->detector.held, false);
    flow_stop(f);
    struct snapshot s = flow_get_snapshot(f, good);
    assert_int_equal(s.state, SNAPSHOT_EXAMINED);
    assert_int_equal(f->notifiers[0].delivered, 1);
    struct trigger t = flow_get_trigger(f, hanging);
    assert_int_equal(t.state, TRIGGER_PENDING);
    assert_int_equal(t.attempts, 0);
    flow_assert_sound(f);

    /* The next start asks again. */
    flow_sim_fault(f, 1, "");
    flow_start(f, FLOW_ALL);
    FLOW_WAIT(f, f->notifiers[0].delivered == 2);
    flow_stop(f);
    assert_string_equal(f->notifiers[0].seen[1].id, hanging);
    flow_free(f);
}

static void a_producer_whose_consumers_stop_first_still_loses_nothing(void **state UNUSED)
{
    struct flow *f = flow_new_with_cameras(1, "");
    flow_start(f, FLOW_INTAKE | FLOW_FETCH); /* nobody takes from the edge of intake */
    char ids[6][SNAPSHOT_ID_SIZE];
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        flow_trigger(f, "c0", ids[i]);
    FLOW_WAIT(f, flow_counts(f).stored == ARRAY_LEN(ids));
    flow_stop(f);
    flow_start(f, FLOW_DETECT);
    FLOW_WAIT(f, f->outcomes == ARRAY_LEN(ids));
    flow_stop(f);
    flow_assert_sound(f);
    flow_free(f);
}

static void
more_answers_than_the_edge_holds_wait_for_a_consumer_that_starts_late(void **state UNUSED)
{
    struct flow *f = flow_new(1, 0);
    flow_add_cameras(f, 1, NULL);
    struct dynbuf b;
    dynbuf_init(&b, 65536);
    for (int i = 0; i < 40; i++)
        (void)dynbuf_printf(&b, "[camera:c%d]\nkind = http\nurl = http://%s/snapshot.jpg\n", i,
                            camera_sim_address(f->sim, 0));
    flow_configure(f, dynbuf_str(&b));
    dynbuf_done(&b);
    flow_start(f, FLOW_FETCH);
    for (int i = 0; i < 40; i++) {
        AUTO_FREE char *name = xasprintf("c%d", i);
        flow_trigger(f, name, NULL);
    }
    struct stage_status st;
    FLOW_WAIT(f, (stage_status(f->stages[0], &st), st.done == 40));
    assert_int_equal(flow_counts(f).snapshots, 0);
    flow_start(f, FLOW_INTAKE);
    FLOW_WAIT(f, flow_counts(f).snapshots == 40);
    assert_int_equal(flow_sim_stat(f, 0, "requests"), 40); /* nobody was asked twice */
    flow_stop(f);
    flow_start(f, FLOW_DETECT);
    FLOW_WAIT(f, f->outcomes == 40);
    flow_stop(f);
    flow_assert_sound(f);
    flow_free(f);
}

static void what_waits_on_an_edge_is_released_with_the_bus(void **state UNUSED)
{
    struct flow *f = flow_new(1, 0);
    struct err e = {0};
    struct bus_out *out = NULL;
    struct bus_in *in = NULL;
    assert_int_equal(bus_in_open(f->p.bus, EDGE_FETCHED, 0, 8, &in, &e), 0);
    assert_int_equal(bus_out_open(f->p.bus, EDGE_FETCHED, 1, 8, &out, &e), 0);
    for (int i = 0; i < 5; i++) {
        struct fetched *item = xcalloc(1, sizeof(*item));
        atomic_init(&item->refs, 1);
        item->bytes = blob_new_copy("abc", 3);
        assert_int_equal(bus_send(out, item, fetched_unref), 0);
    }
    bus_out_close(out);
    bus_in_close(in);
    flow_free(f); /* counts what lives */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_trigger_becomes_a_picture_an_event_and_a_file),
        cmocka_unit_test(the_stored_bytes_are_the_cameras),
        cmocka_unit_test(a_person_renames_the_picture_and_settling_forgets_the_old_name),
        cmocka_unit_test(many_triggers_through_full_edges_lose_nothing),
        cmocka_unit_test(a_stop_records_what_was_handed_over_and_keeps_the_rest_pending),
        cmocka_unit_test(a_producer_whose_consumers_stop_first_still_loses_nothing),
        cmocka_unit_test(more_answers_than_the_edge_holds_wait_for_a_consumer_that_starts_late),
        cmocka_unit_test(what_waits_on_an_edge_is_released_with_the_bus),
    };
    return RUN_TESTS(tests);
}
