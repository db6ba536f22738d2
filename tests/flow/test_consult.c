/* Asking the cloud: who is asked, what it costs, and what becomes of a picture without its answer.
 */
#include "flow.h"

#include "ledger/ledger_cloud.h"

/* Both clocks, and what the test adds to them. */
static _Atomic int64_t ahead_us;

static struct mono_time mono_ahead(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (struct mono_time){(int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000 +
                              atomic_load(&ahead_us)};
}
static struct wall_time wall_ahead(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (struct wall_time){(int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000 +
                              atomic_load(&ahead_us)};
}

/* Local answers: a certain person, a doubtful one, nothing. */
static const struct flow_answer certain[] = {{.person = true, .best = 0.9f}};
static const struct flow_answer doubtful[] = {{.best = 0.4f}};
static const struct flow_answer nothing[] = {{0}};
/* The cloud's. */
static const struct flow_answer a_person[] = {{.person = true, .calls = 1}};
static const struct flow_answer away[] = {{-ECONNREFUSED, ERR_LATER, false, 0, 0}};

#define SCRIPT(fake, answers) ((fake).script = (answers), (fake).script_len = ARRAY_LEN(answers))

static struct cloud_spent spent(struct flow *f)
{
    struct cloud_spent s;
    struct err e = {0};
    if (ledger_cloud_spent(f->l, clock_wall(), &s, &e) < 0)
        fail_msg("%s", e.text);
    return s;
}

/* Pictures of different bytes. */
static void store_pictures(struct flow *f, const char *camera, int first, int count)
{
    for (int n = first; n < first + count; n++) {
        AUTO_DONE(dynbuf) jpeg;
        make_jpeg(&jpeg, 1);
        (void)dynbuf_printf(&jpeg, "%d", n); /* behind its end */
        snapshot_unref(flow_store_bytes(f, camera, n, true, jpeg.data, jpeg.len));
    }
}

static void run_until_delivered(struct flow *f, int count)
{
    flow_start(f, FLOW_DELIVER | FLOW_DETECT);
    FLOW_WAIT(f, f->notifiers[0].delivered == count);
    flow_stop(f);
    flow_assert_sound(f);
}

static void each_mode_asks_its_detectors(void **state UNUSED)
{
    static const struct {
        enum detect_mode mode;
        const struct flow_answer *local;
        int local_calls, cloud_calls;
        enum verdict_outcome outcome;
        unsigned persons;
        const char *model;
    } cases[] = {
        {DETECT_NONE, certain, 0, 0, VERDICT_SKIPPED, 0, ""},
        {DETECT_LOCAL, certain, 1, 0, VERDICT_EXAMINED, 1, "fake.onnx"},
        {DETECT_LOCAL, doubtful, 1, 0, VERDICT_EXAMINED, 0, "fake.onnx"},
        {DETECT_CLOUD, nothing, 0, 1, VERDICT_EXAMINED, 1, "fake cloud"},
        {DETECT_CASCADE, certain, 1, 0, VERDICT_EXAMINED, 1, "fake.onnx"},
        {DETECT_CASCADE, nothing, 1, 0, VERDICT_EXAMINED, 0, "fake.onnx"},
        {DETECT_CASCADE, doubtful, 1, 1, VERDICT_EXAMINED, 1, "fake.onnx + fake cloud"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct flow *f = flow_new(1, 1);
        f->detector.script = cases[i].local;
        f->detector.script_len = 1;
        SCRIPT(f->cloud, a_person);
        flow_use_cloud(f, 2, cases[i].mode);
        flow_configure(f, "");
        store_pictures(f, "c", 0, 1);
        run_until_delivered(f, 1);
        if (f->detector.calls != cases[i].local_calls || f->cloud.calls != cases[i].cloud_calls ||
            f->notifiers[0].seen[0].outcome != cases[i].outcome ||
            f->notifiers[0].seen[0].persons != cases[i].persons ||
            strcmp(f->notifiers[0].seen[0].model, cases[i].model) != 0)
            CASE_FAILS("%zu: %d local calls, %d of the cloud, model %s", i, f->detector.calls,
                       f->cloud.calls, f->notifiers[0].seen[0].model);
        assert_int_equal(spent(f).day, cases[i].cloud_calls);
        flow_free(f);
    }
}

static void a_camera_may_have_a_window_of_its_own(void **state UNUSED)
{
    struct flow *f = flow_new(1, 1);
    SCRIPT(f->detector, doubtful);
    SCRIPT(f->cloud, a_person);
    flow_use_cloud(f, 1, DETECT_CASCADE);
    flow_configure(f, "[camera:narrow]\ncascade_low = 0.45\n[camera:wide]\n");
    store_pictures(f, "narrow", 0, 1);
    store_pictures(f, "wide", 1, 1);
    run_until_delivered(f, 2);
    assert_int_equal(f->cloud.calls, 1);
    for (int i = 0; i < 2; i++)
        assert_int_equal(f->notifiers[0].seen[i].persons,
                         strcmp(f->notifiers[0].seen[i].camera, "wide") == 0);
    flow_free(f);
}

static void a_picture_that_waits_for_the_cloud_holds_up_no_other(void **state UNUSED)
{
    static const struct flow_answer mixed[] = {{.best = 0.4f},
                                               {.best = 0.4f},
                                               {.best = 0.4f},
                                               {.best = 0.4f},
                                               {.person = true, .best = 1}};
    struct flow *f = flow_new(1, 1);
    SCRIPT(f->detector, mixed);
    SCRIPT(f->cloud, a_person);
    flow_use_cloud(f, 2, DETECT_CASCADE);
    flow_configure(f, "");
    store_pictures(f, "c", 0, 20);
    FLOW_SET(f, f->cloud.held, true);
    flow_start(f, FLOW_DELIVER | FLOW_DETECT);
    /* Four wait, two of them in a call; sixteen are certain. */
    FLOW_WAIT(f, f->notifiers[0].delivered == 16 && f->cloud.inside == 2);
    FLOW_SET(f, f->cloud.held, false);
    FLOW_WAIT(f, f->notifiers[0].delivered == 20);
    flow_stop(f);
    assert_int_equal(f->cloud.calls, 4);
    assert_int_equal(f->cloud.inside_max, 2);
    flow_free(f);
}

static void the_same_bytes_are_paid_for_once(void **state UNUSED)
{
    struct flow *f = flow_new(1, 1);
    SCRIPT(f->cloud, a_person);
    flow_use_cloud(f, 4, DETECT_CLOUD);
    flow_configure(f, "");
    for (int i = 0; i < 12; i++) /* of three kinds */
        snapshot_unref(flow_store(f, "c", 4 * i + i % 3, true));
    run_until_delivered(f, 12);
    assert_int_equal(f->cloud.calls, 3);
    assert_int_equal(spent(f).day, 3);
    for (int i = 0; i < 12; i++)
        assert_int_equal(f->notifiers[0].seen[i].persons, 1);
    flow_free(f);
}

static void the_budget_ends_calls_and_the_next_day_brings_new_ones(void **state UNUSED)
{
    static const struct {
        enum detect_mode mode;
        enum cloud_without at_limit;
        enum verdict_outcome outcome; /* beyond the limit */
    } cases[] = {{DETECT_CLOUD, CLOUD_LOCAL, VERDICT_SKIPPED},
                 {DETECT_CASCADE, CLOUD_LOCAL, VERDICT_EXAMINED},
                 {DETECT_CASCADE, CLOUD_UNDETECTED, VERDICT_SKIPPED}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct flow *f = flow_new(1, 1);
        SCRIPT(f->detector, doubtful);
        SCRIPT(f->cloud, a_person);
        flow_use_cloud(f, 3, cases[i].mode);
        f->cloud_config.calls_per_day = 4;
        f->cloud_config.at_limit = cases[i].at_limit;
        flow_configure(f, "");
        store_pictures(f, "c", 0, 10);
        run_until_delivered(f, 10);
        assert_int_equal(f->cloud.calls, 4);
        int beyond = 0;
        for (int k = 0; k < 10; k++) {
            if (f->notifiers[0].seen[k].persons == 1)
                continue;
            beyond++;
            assert_int_equal(f->notifiers[0].seen[k].outcome, cases[i].outcome);
            assert_non_null(strstr(f->notifiers[0].seen[k].error, "budget of 4 calls a day"));
        }
        assert_int_equal(beyond, 6);
        /* After a restart it is still used up, */
        store_pictures(f, "c", 10, 2);
        run_until_delivered(f, 12);
        assert_int_equal(f->cloud.calls, 4);
        /* and on the next day it is not. */
        atomic_fetch_add(&ahead_us, 86400 * 1000000LL);
        store_pictures(f, "c", 12, 6);
        run_until_delivered(f, 18);
        assert_int_equal(f->cloud.calls, 8);
        assert_int_equal(spent(f).day, 4);
        flow_free(f);
    }
}

static void a_call_that_was_not_billed_leaves_the_budget_alone(void **state UNUSED)
{
    static const struct flow_answer answers[] = {{-EINVAL, ERR_NEVER, false, 0, 0},
                                                 {-EBADMSG, ERR_NEVER, false, 0, 1},
                                                 {.person = true, .calls = 2}};
    struct flow *f = flow_new(1, 1);
    SCRIPT(f->cloud, answers);
    flow_use_cloud(f, 1, DETECT_CLOUD);
    flow_configure(f, "");
    store_pictures(f, "c", 0, 3);
    run_until_delivered(f, 3);
    assert_int_equal(f->cloud.calls, 3);
    assert_int_equal(spent(f).day, 3); /* 0 + 1 + 2 */
    flow_free(f);
}

static void a_cloud_that_is_away_costs_its_detail_and_no_picture(void **state UNUSED)
{
    static const struct {
        enum detect_mode mode;
        enum cloud_without on_failure;
        enum verdict_outcome outcome;
    } cases[] = {{DETECT_CLOUD, CLOUD_LOCAL, VERDICT_FAILED},
                 {DETECT_CASCADE, CLOUD_LOCAL, VERDICT_EXAMINED},
                 {DETECT_CASCADE, CLOUD_UNDETECTED, VERDICT_FAILED}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct flow *f = flow_new(1, 1);
        SCRIPT(f->detector, doubtful);
        SCRIPT(f->cloud, away);
        flow_use_cloud(f, 2, cases[i].mode);
        f->cloud_config.on_failure = cases[i].on_failure;
        flow_configure(f, "");
        store_pictures(f, "c", 0, 5);
        run_until_delivered(f, 5);
        for (int k = 0; k < 5; k++) {
            assert_int_equal(f->notifiers[0].seen[k].outcome, cases[i].outcome);
            assert_non_null(strstr(f->notifiers[0].seen[k].error, "has its day"));
        }
        assert_int_equal(spent(f).day, 0);
        flow_free(f);
    }
}

static void with_patience_a_picture_waits_for_the_cloud_to_come_back(void **state UNUSED)
{
    static const struct flow_answer back[] = {{-ECONNREFUSED, ERR_LATER, false, 0, 0},
                                              {-ECONNREFUSED, ERR_LATER, false, 0, 0},
                                              {.person = true, .calls = 1}};
    struct flow *f = flow_new(1, 1);
    SCRIPT(f->cloud, back);
    flow_use_cloud(f, 1, DETECT_CLOUD);
    f->cloud_config.patience_ms = 60000;
    flow_configure(f, "");
    store_pictures(f, "c", 0, 1);
    flow_start(f, FLOW_DELIVER | FLOW_DETECT);
    for (int tries = 1; tries <= 2; tries++) {
        FLOW_WAIT(f, f->cloud.calls == tries && f->cloud.inside == 0);
        FLOW_WAIT(f, doubts_due(f->p.doubts) == 0 && doubts_count(f->p.doubts) == 1);
        atomic_fetch_add(&ahead_us, 6 * 1000000);
    }
    FLOW_WAIT(f, f->notifiers[0].delivered == 1);
    flow_stop(f);
    assert_int_equal(f->notifiers[0].seen[0].persons, 1);
    assert_int_equal(spent(f).day, 1);
    flow_free(f);
}

static void patience_has_an_end(void **state UNUSED)
{
    struct flow *f = flow_new(1, 1);
    SCRIPT(f->cloud, away);
    flow_use_cloud(f, 1, DETECT_CLOUD);
    f->cloud_config.patience_ms = 60000;
    flow_configure(f, "");
    store_pictures(f, "c", 0, 1);
    flow_start(f, FLOW_DELIVER | FLOW_DETECT);
    FLOW_WAIT(f, f->cloud.calls == 1 && doubts_due(f->p.doubts) == 0);
    FLOW_WAIT(f, doubts_count(f->p.doubts) == 1);
    atomic_fetch_add(&ahead_us, 61 * 1000000LL);
    FLOW_WAIT(f, f->notifiers[0].delivered == 1);
    flow_stop(f);
    assert_int_equal(f->notifiers[0].seen[0].outcome, VERDICT_FAILED);
    flow_free(f);
}

static void a_local_detector_that_fails_leaves_it_to_the_cloud(void **state UNUSED)
{
    static const struct flow_answer broken[] = {{-EIO, ERR_NEVER, false, 0, 0}};
    static const struct flow_answer no_picture[] = {{-EINVAL, ERR_NEVER, false, 0, 0}};
    static const struct {
        const struct flow_answer *local;
        int calls;
        enum verdict_outcome outcome;
    } cases[] = {{broken, 1, VERDICT_EXAMINED}, {no_picture, 0, VERDICT_FAILED}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct flow *f = flow_new(1, 1);
        f->detector.script = cases[i].local;
        f->detector.script_len = 1;
        SCRIPT(f->cloud, a_person);
        flow_use_cloud(f, 1, DETECT_CASCADE);
        flow_configure(f, "");
        store_pictures(f, "c", 0, 1);
        run_until_delivered(f, 1);
        assert_int_equal(f->cloud.calls, cases[i].calls);
        assert_int_equal(f->notifiers[0].seen[0].outcome, cases[i].outcome);
        flow_free(f);
    }
}

static void without_a_local_detector_a_cascade_is_the_cloud(void **state UNUSED)
{
    struct flow *f = flow_new(1, 1);
    SCRIPT(f->cloud, a_person);
    flow_use_cloud(f, 1, DETECT_CASCADE);
    atomic_store(&f->p.detector, NULL);
    flow_configure(f, "");
    store_pictures(f, "c", 0, 2);
    run_until_delivered(f, 2);
    assert_int_equal(f->cloud.calls, 2);
    flow_free(f);
}

static void without_a_cloud_detector_pictures_go_on(void **state UNUSED)
{
    static const struct {
        enum detect_mode mode;
        enum verdict_outcome outcome;
    } cases[] = {{DETECT_CLOUD, VERDICT_FAILED}, {DETECT_CASCADE, VERDICT_EXAMINED}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct flow *f = flow_new(1, 1);
        SCRIPT(f->detector, doubtful);
        f->mode = cases[i].mode;
        flow_configure(f, "");
        store_pictures(f, "c", 0, 1);
        run_until_delivered(f, 1);
        assert_int_equal(f->notifiers[0].seen[0].outcome, cases[i].outcome);
        assert_non_null(strstr(f->notifiers[0].seen[0].error, "cannot be asked"));
        flow_free(f);
    }
}

static void a_reload_changes_who_is_asked_and_takes_back_what_waits(void **state UNUSED)
{
    struct flow *f = flow_new(1, 1);
    SCRIPT(f->detector, certain);
    SCRIPT(f->cloud, away);
    flow_use_cloud(f, 1, DETECT_CLOUD);
    f->cloud_config.patience_ms = 3600 * 1000;
    flow_configure(f, "");
    store_pictures(f, "c", 0, 3);
    flow_start(f, FLOW_DELIVER | FLOW_DETECT);
    FLOW_WAIT(f, f->cloud.calls == 3 && doubts_due(f->p.doubts) == 0);
    f->mode = DETECT_LOCAL;
    flow_configure(f, "");
    atomic_fetch_add(&ahead_us, 6 * 1000000);
    FLOW_WAIT(f, f->notifiers[0].delivered == 3);
    assert_int_equal(f->cloud.calls, 3);
    f->mode = DETECT_NONE;
    flow_configure(f, "");
    store_pictures(f, "c", 3, 1);
    pipeline_wake(&f->p, PIPELINE_DETECT);
    FLOW_WAIT(f, f->notifiers[0].delivered == 4);
    flow_stop(f);
    assert_int_equal(f->notifiers[0].seen[3].outcome, VERDICT_SKIPPED);
    assert_int_equal(f->detector.calls, 3);
    flow_free(f);
}

static void a_stop_leaves_what_waits_to_the_next_start(void **state UNUSED)
{
    static const struct flow_answer cancelled[] = {{-ECANCELED, ERR_LATER, false, 0, 0},
                                                   {.person = true, .calls = 1}};
    struct flow *f = flow_new(1, 1);
    SCRIPT(f->cloud, cancelled);
    flow_use_cloud(f, 1, DETECT_CLOUD);
    flow_configure(f, "");
    f->p.stop_fd = eventfd(0, EFD_CLOEXEC);
    store_pictures(f, "c", 0, 3);
    FLOW_SET(f, f->cloud.held, true);
    flow_start(f, FLOW_DELIVER | FLOW_DETECT);
    FLOW_WAIT(f, f->cloud.inside == 1 && doubts_count(f->p.doubts) == 3);
    uint64_t one = 1;
    assert_int_equal(write(f->p.stop_fd, &one, sizeof(one)), sizeof(one));
    FLOW_SET(f, f->cloud.held, false); /* as the detector does by itself */
    flow_stop(f);
    assert_int_equal(f->notifiers[0].delivered, 0);
    assert_int_equal(f->cloud.calls, 1);
    assert_int_equal(flow_counts(f).stored, 3);
    assert_int_equal(spent(f).day, 0);
    (void)close(f->p.stop_fd);
    f->p.stop_fd = 0;
    /* The next start, with lists of its own. */
    doubts_free(f->p.doubts);
    claims_free(f->p.claims);
    f->p.doubts = doubts_new();
    f->p.claims = claims_new();
    run_until_delivered(f, 3);
    assert_int_equal(spent(f).day, 3);
    flow_free(f);
}

static void a_worker_that_waits_for_the_cloud_has_a_fresh_heartbeat(void **state UNUSED)
{
    struct flow *f = flow_new(1, 1);
    SCRIPT(f->cloud, a_person);
    flow_use_cloud(f, 1, DETECT_CLOUD);
    flow_configure(f, "");
    store_pictures(f, "c", 0, 1);
    FLOW_SET(f, f->cloud.held, true);
    flow_start(f, FLOW_DELIVER | FLOW_DETECT);
    FLOW_WAIT(f, f->cloud.inside == 1);
    struct stage *consult = atomic_load(&f->p.woken[PIPELINE_CONSULT][0]);
    struct stage_status st;
    atomic_fetch_add(&ahead_us, 240 * 1000000LL);
    stage_status(consult, &st);
    assert_int_equal(st.heartbeat_age_ms, 0);
    atomic_fetch_add(&ahead_us, 180 * 1000000LL); /* and yet one that never returns is found */
    stage_status(consult, &st);
    assert_true(st.heartbeat_age_ms > 60000);
    FLOW_SET(f, f->cloud.held, false);
    FLOW_WAIT(f, f->notifiers[0].delivered == 1);
    flow_stop(f);
    flow_free(f);
}

static void too_many_questions_are_answered_by_the_local_detector(void **state UNUSED)
{
    struct flow *f = flow_new(1, 1);
    SCRIPT(f->detector, doubtful);
    SCRIPT(f->cloud, away);
    flow_use_cloud(f, 1, DETECT_CASCADE);
    f->cloud_config.patience_ms = 3600 * 1000;
    flow_configure(f, "");
    for (int i = 0; i < DOUBTS_MAX; i++) { /* a list that is full of what waits for a time */
        struct doubt d = {.snapshot = snapshot_new(), .not_before = {INT64_MAX / 2}};
        assert_true(doubts_put(f->p.doubts, &d));
    }
    store_pictures(f, "c", 0, 2);
    run_until_delivered(f, 2);
    assert_int_equal(f->cloud.calls, 0);
    assert_int_equal(f->notifiers[0].seen[0].outcome, VERDICT_EXAMINED);
    assert_non_null(strstr(f->notifiers[0].seen[0].error, "too many"));
    flow_free(f);
}

int main(void)
{
    clock_set_mono_source(mono_ahead);
    clock_set_wall_source(wall_ahead);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_mode_asks_its_detectors),
        cmocka_unit_test(a_camera_may_have_a_window_of_its_own),
        cmocka_unit_test(a_picture_that_waits_for_the_cloud_holds_up_no_other),
        cmocka_unit_test(the_same_bytes_are_paid_for_once),
        cmocka_unit_test(the_budget_ends_calls_and_the_next_day_brings_new_ones),
        cmocka_unit_test(a_call_that_was_not_billed_leaves_the_budget_alone),
        cmocka_unit_test(a_cloud_that_is_away_costs_its_detail_and_no_picture),
        cmocka_unit_test(with_patience_a_picture_waits_for_the_cloud_to_come_back),
        cmocka_unit_test(patience_has_an_end),
        cmocka_unit_test(a_local_detector_that_fails_leaves_it_to_the_cloud),
        cmocka_unit_test(without_a_local_detector_a_cascade_is_the_cloud),
        cmocka_unit_test(without_a_cloud_detector_pictures_go_on),
        cmocka_unit_test(a_reload_changes_who_is_asked_and_takes_back_what_waits),
        cmocka_unit_test(a_stop_leaves_what_waits_to_the_next_start),
        cmocka_unit_test(a_worker_that_waits_for_the_cloud_has_a_fresh_heartbeat),
        cmocka_unit_test(too_many_questions_are_answered_by_the_local_detector),
    };
    return RUN_TESTS(tests);
}
