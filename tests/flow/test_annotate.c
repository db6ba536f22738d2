/* Annotated copies: drawn after the verdict, whatever comes between. */
#include "flow.h"

#include "ledger/ledger_again.h"
#include "sys/jpeg.h"

static const struct flow_answer person[] = {{.person = true}};

static struct flow *flow_with_persons(void)
{
    struct flow *f = flow_new(1, 1);
    f->detector.script = person;
    f->detector.script_len = 1;
    flow_configure(f, "");
    struct settings *now = f->p.settings_now; /* nobody else has it yet */
    now->detect.annotate = true;
    now->detect.annotate_quality = 85;
    return f;
}

/* One that can be drawn on. */
static struct snapshot *store_picture(struct flow *f, int n)
{
    static const uint32_t pixels[64 * 64];
    AUTO(blob) jpeg = NULL;
    struct err e = {0};
    if (jpeg_encode(pixels, 64, 64, 90, &jpeg, &e) < 0)
        fail_msg("%s", e.text);
    return flow_store_bytes(f, "c", n, true, jpeg->data, jpeg->size);
}

static bool is_there(struct flow *f, const char *id)
{
    struct snapshot s = flow_get_snapshot(f, id);
    return s.annotated_path[0] && store_holds(f->p.store, s.annotated_path);
}

static bool is_unsettled(struct flow *f)
{
    struct ledger_unsettled u;
    struct err e = {0};
    return ledger_unsettled(f->l, 0, &u, 1, &e) == 1;
}

/* Examined, told, and no copy yet. */
static struct snapshot *examined_only(struct flow *f, int n)
{
    struct snapshot *s = store_picture(f, n);
    int before = FLOW_GET(f, f->notifiers[0].delivered);
    flow_start(f, FLOW_DELIVER | FLOW_DETECT);
    FLOW_WAIT(f, f->notifiers[0].delivered == before + 1);
    flow_stop(f);
    assert_false(is_there(f, s->id));
    return s;
}

static void a_copy_is_drawn_and_its_row_settled(void **state UNUSED)
{
    struct flow *f = flow_with_persons();
    AUTO(snapshot) s = store_picture(f, 1);
    flow_start(f, FLOW_DELIVER | FLOW_ANNOTATE | FLOW_DETECT);
    FLOW_WAIT(f, is_there(f, s->id));
    flow_start(f, FLOW_INTAKE); /* its first sweep settles */
    FLOW_WAIT(f, !is_unsettled(f));
    flow_stop(f);
    struct snapshot now = flow_get_snapshot(f, s->id);
    assert_non_null(strstr(now.annotated_path, "/detect_"));
    {
        AUTO(blob) copy = NULL;
        struct err e = {0};
        assert_int_equal(store_read(f->p.store, now.annotated_path, 1 << 20, &copy, &e), 0);
        assert_memory_equal(copy->data, "\xff\xd8\xff", 3);
    }
    flow_assert_sound(f);
    snapshot_unref(STEAL(s));
    flow_free(f);
}

static void a_verdict_does_not_wait_for_its_copy_and_nothing_settles_without_it(void **state UNUSED)
{
    struct flow *f = flow_with_persons();
    AUTO(snapshot) s = examined_only(f, 1);
    void *intake = intake_stage_new(&f->p);
    struct err e = {0};
    assert_int_equal(intake_stage.init(intake, NULL, &e), 0);
    assert_true(intake_stage.sweep(intake) > 0);
    intake_stage.fini(intake);
    free(intake);
    assert_true(is_unsettled(f));
    flow_assert_sound(f); /* a copy that is promised is no fault */
    snapshot_unref(STEAL(s));
    flow_free(f);
}

static void copies_of_the_last_run_are_drawn_by_the_next(void **state UNUSED)
{
    struct flow *f = flow_with_persons();
    AUTO(snapshot) a = examined_only(f, 1);
    AUTO(snapshot) b = examined_only(f, 2);
    flow_start(f, FLOW_ANNOTATE);
    FLOW_WAIT(f, is_there(f, a->id) && is_there(f, b->id));
    flow_stop(f);
    flow_assert_sound(f);
    snapshot_unref(STEAL(a));
    snapshot_unref(STEAL(b));
    flow_free(f);
}

static size_t copy_size(struct flow *f, const char *id)
{
    struct snapshot now = flow_get_snapshot(f, id);
    int64_t size = 0;
    assert_int_equal(store_size(f->p.store, now.annotated_path, &size), 0);
    return (size_t)size;
}

/* The second drawing is told from the first by its quality. */
static void a_copy_is_drawn_anew_after_a_second_look(void **state UNUSED)
{
    struct flow *f = flow_with_persons();
    AUTO(snapshot) s = store_picture(f, 1);
    size_t first, second;
    struct err e = {0};
    flow_start(f, FLOW_DELIVER | FLOW_ANNOTATE | FLOW_DETECT | FLOW_INTAKE);
    FLOW_WAIT(f, is_there(f, s->id) && !is_unsettled(f));
    first = copy_size(f, s->id);
    {
        AUTO(settings) now = pipeline_settings(&f->p);
        now->detect.annotate_quality = 20;
    }
    assert_int_equal(ledger_again_want(f->l, s->id, &e), 0);
    pipeline_wake(&f->p, PIPELINE_DETECT);
    FLOW_WAIT(f, !flow_get_snapshot(f, s->id).again && is_there(f, s->id) && !is_unsettled(f));
    second = copy_size(f, s->id);
    assert_true(first != second);
    flow_stop(f);
    assert_int_equal(f->notifiers[0].calls, 1);
    flow_assert_sound(f);
    snapshot_unref(STEAL(s));
    flow_free(f);
}

static void a_picture_that_is_gone_gets_no_copy(void **state UNUSED)
{
    struct flow *f = flow_with_persons();
    AUTO(snapshot) s = examined_only(f, 1);
    struct snapshot now = flow_get_snapshot(f, s->id);
    struct err e = {0};
    assert_int_equal(store_unlink(f->p.store, now.path, &e), 0);
    flow_listen(f, "annotate-failed");
    flow_start(f, FLOW_ANNOTATE | FLOW_INTAKE);
    FLOW_WAIT(f, flow_get_snapshot(f, s->id).annotated_path[0] == '\0');
    FLOW_WAIT(f, flow_heard(f, "annotate-failed") == 1);
    flow_stop(f);
    snapshot_unref(STEAL(s));
    flow_free(f);
}

static void a_full_disk_puts_the_copy_off(void **state UNUSED)
{
    struct flow *f = flow_with_persons();
    AUTO(snapshot) s = examined_only(f, 1);
    struct err e = {0};
    store_close(f->p.store);
    assert_int_equal(store_open(f->store_path, INT64_MAX / 2, &f->p.store, &e), 0);
    flow_listen(f, "annotate-later");
    flow_start(f, FLOW_ANNOTATE);
    FLOW_WAIT(f, flow_heard(f, "annotate-later") >= 1);
    flow_stop(f);
    assert_true(flow_get_snapshot(f, s->id).annotated_path[0]);
    store_close(f->p.store);
    assert_int_equal(store_open(f->store_path, 0, &f->p.store, &e), 0);
    flow_start(f, FLOW_ANNOTATE);
    FLOW_WAIT(f, is_there(f, s->id));
    flow_stop(f);
    flow_assert_sound(f);
    snapshot_unref(STEAL(s));
    flow_free(f);
}

static int64_t count_sweep(void *self)
{
    atomic_fetch_add((atomic_int *)self, 1);
    return 3600000;
}
static const struct stage_ops counting = {.name = "idle", .sweep = count_sweep};

static atomic_int *counting_stage(struct flow *f, struct stage **ret)
{
    atomic_int *sweeps = xcalloc(1, sizeof(*sweeps)); /* the flow frees it */
    *ret = f->stages[flow_start_stage(f, &counting, sweeps, 0, NULL, 0)];
    FLOW_WAIT(f, atomic_load(sweeps) == 1);
    return sweeps;
}

/* Neither for the sweep of this stage nor for that of intake. */
static void a_copy_that_must_wait_waits_for_no_timer(void **state UNUSED)
{
    struct flow *f = flow_with_persons();
    AUTO(snapshot) s = examined_only(f, 1);
    struct stage *own, *intake;
    atomic_int *own_sweeps = counting_stage(f, &own);
    atomic_int *intake_sweeps = counting_stage(f, &intake);
    atomic_store(&f->p.woken[PIPELINE_INTAKE][0], intake);
    struct err e = {0};
    void *annotate = annotate_stage_new(&f->p);
    assert_int_equal(annotate_stage.init(annotate, own, &e), 0);
    assert_true(claims_take(f->p.claims, 1000)); /* another one is being examined */
    annotate_stage.step(annotate, s->id);
    annotate_stage.flush(annotate);
    FLOW_WAIT(f, atomic_load(own_sweeps) == 2);
    assert_true(annotate_stage.sweep(annotate) <= 200);
    assert_false(is_there(f, s->id));
    assert_int_equal(atomic_load(intake_sweeps), 1);
    claims_drop(f->p.claims, 1000);
    assert_int_equal(annotate_stage.sweep(annotate), 0);
    assert_true(is_there(f, s->id));
    FLOW_WAIT(f, atomic_load(intake_sweeps) == 2);
    annotate_stage.fini(annotate);
    free(annotate);
    snapshot_unref(STEAL(s));
    flow_free(f);
}

static void many_copies_at_once_are_all_drawn(void **state UNUSED)
{
    struct flow *f = flow_with_persons();
    char ids[40][SNAPSHOT_ID_SIZE]; /* more than the edge holds */
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        AUTO(snapshot) s = store_picture(f, (int)i);
        text_copy(ids[i], SNAPSHOT_ID_SIZE, s->id);
    }
    flow_start(f, FLOW_ANNOTATE | FLOW_DETECT | FLOW_DELIVER);
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        FLOW_WAIT(f, is_there(f, ids[i]));
    flow_stop(f);
    flow_assert_sound(f);
    flow_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_is_drawn_and_its_row_settled),
        cmocka_unit_test(a_copy_is_drawn_anew_after_a_second_look),
        cmocka_unit_test(a_verdict_does_not_wait_for_its_copy_and_nothing_settles_without_it),
        cmocka_unit_test(copies_of_the_last_run_are_drawn_by_the_next),
        cmocka_unit_test(a_picture_that_is_gone_gets_no_copy),
        cmocka_unit_test(a_full_disk_puts_the_copy_off),
        cmocka_unit_test(a_copy_that_must_wait_waits_for_no_timer),
        cmocka_unit_test(many_copies_at_once_are_all_drawn),
    };
    return RUN_TESTS(tests);
}
