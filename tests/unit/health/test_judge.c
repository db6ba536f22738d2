/* No thread, no clock: times are what the tests say. */
#include "../test.h"

#include <stdbool.h>

#include "health/judge.h"

static struct health_judge judge;
static struct health_view view;
static struct health_report report;
static int64_t now_s;

static int begin(void **state UNUSED)
{
    judge = (struct health_judge){0};
    view = (struct health_view){0};
    now_s = 1000;
    return 0;
}

static struct health_stage *stage(const char *name, int64_t age_s, int64_t limit_s)
{
    struct health_stage *s = &view.stages[view.stage_count++];
    *s = (struct health_stage){
        .running = true, .heartbeat_age_ms = age_s * 1000, .limit_ms = limit_s * 1000};
    strncpy(s->name, name, sizeof(s->name) - 1);
    return s;
}

static struct health_queue *queue(const char *name, int64_t waiting, int64_t limit_s)
{
    struct health_queue *q = &view.queues[view.queue_count++];
    *q = (struct health_queue){.waiting = waiting, .limit_ms = limit_s * 1000};
    strncpy(q->name, name, sizeof(q->name) - 1);
    return q;
}

static void fact(const char *name, enum health_state state, const char *reason)
{
    struct health_fact *f = &view.facts[view.fact_count++];
    f->state = state;
    strncpy(f->name, name, sizeof(f->name) - 1);
    strncpy(f->reason, reason, sizeof(f->reason) - 1);
}

static void look(int64_t later_s)
{
    now_s += later_s;
    health_judge(&judge, &view, (struct mono_time){now_s * 1000000}, 1, &report);
}

static void expect(const char *part, enum health_state state, const char *reason)
{
    const struct health_part *p = health_part_find(&report, part);
    if (!p)
        CASE_FAILS("no part %s", part);
    if (p->state != state)
        CASE_FAILS("%s is %s (%s)", part, health_state_names[p->state], p->reason);
    test_expect_text(part, p->reason, reason);
}

static void is_well_while_loops_turn(void **state UNUSED)
{
    stage("fetch", 0, 60);
    stage("detect", 60, 60);
    look(0);
    assert_true(report.alive && report.ready);
    assert_int_equal(report.stages_running, 2);
    assert_int_equal(report.stages_missing, 0);
    assert_string_equal(report.why, "");
    expect("stage:detect", HEALTH_OK, "");
}

static void names_a_stage_that_is_silent_for_longer_than_its_work(void **state UNUSED)
{
    stage("fetch", 61, 60);
    stage("detect", 61, 120); /* a slow model */
    look(0);
    assert_false(report.alive || report.ready);
    expect("stage:fetch", HEALTH_STUCK, "stage fetch hangs for 61 s, its longest work takes 60 s");
    expect("stage:detect", HEALTH_OK, "");
    assert_string_equal(report.stuck, "fetch");
    assert_int_equal(report.stages_missing, 1);
    assert_string_equal(report.why, "stage:fetch: stage fetch hangs for 61 s, its longest work "
                                    "takes 60 s");
}

static void takes_a_stage_that_ended_for_a_stuck_one(void **state UNUSED)
{
    stage("intake", 0, 60)->running = false;
    look(0);
    assert_false(report.alive);
    expect("stage:intake", HEALTH_STUCK, "stage intake has ended");
    assert_string_equal(report.stuck, "intake");
}

static void judges_a_pool_by_its_worst_member(void **state UNUSED)
{
    stage("detect", 1, 60);
    stage("detect.1", 99, 60);
    stage("detect.2", 1, 60);
    look(0);
    assert_int_equal(report.part_count, 1);
    expect("stage:detect", HEALTH_STUCK,
           "stage detect.1 hangs for 99 s, its longest work takes 60 s");
    assert_string_equal(report.stuck, "detect.1");
    assert_int_equal(report.stages_running, 2);
}

static void lets_a_queue_stand_still_for_its_limit_only(void **state UNUSED)
{
    struct health_queue *q = queue("detect", 3, 120);
    look(0);
    look(120);
    expect("queue:detect", HEALTH_OK, "");
    look(1);
    expect("queue:detect", HEALTH_SICK, "3 wait and nothing was finished for 121 s");
    assert_true(report.alive); /* its loop turns: a restart is for people to decide */
    assert_false(report.ready);
    assert_int_equal(report.parts_unwell, 1);
    q->finished++;
    look(1);
    expect("queue:detect", HEALTH_OK, "");
    look(121);
    expect("queue:detect", HEALTH_SICK, "3 wait and nothing was finished for 121 s");
}

static void begins_to_count_when_something_waits(void **state UNUSED)
{
    struct health_queue *q = queue("detect", 0, 120);
    look(0);
    look(5000);
    q->waiting = 1;
    look(1);
    expect("queue:detect", HEALTH_OK, "");
    look(119);
    expect("queue:detect", HEALTH_OK, "");
    look(2);
    expect("queue:detect", HEALTH_SICK, "1 wait and nothing was finished for 122 s");
}

static void calls_it_waiting_when_somebody_else_is_in_the_way(void **state UNUSED)
{
    struct health_queue *q = queue("deliver:rabbitmq", 7, 60);
    strncpy(q->waits_for, "rabbitmq: connection refused", sizeof(q->waits_for) - 1);
    look(0);
    look(100000);
    expect("queue:deliver:rabbitmq", HEALTH_WAITING, "7 wait for rabbitmq: connection refused");
    assert_true(report.alive && report.ready);
    assert_int_equal(report.parts_unwell, 0);
    assert_string_equal(report.why,
                        "queue:deliver:rabbitmq: 7 wait for rabbitmq: connection refused");
    /* It is back: from now on the queue has its time. */
    q->waits_for[0] = '\0';
    look(60);
    expect("queue:deliver:rabbitmq", HEALTH_OK, "");
    look(1);
    expect("queue:deliver:rabbitmq", HEALTH_SICK, "7 wait and nothing was finished for 61 s");
}

static void passes_facts_on_and_names_the_worst(void **state UNUSED)
{
    fact("storage:gdrive", HEALTH_WAITING, "somebody has to log in");
    fact("disk", HEALTH_SICK, "full");
    fact("ledger", HEALTH_OK, "");
    look(0);
    assert_true(report.alive);
    assert_false(report.ready);
    expect("storage:gdrive", HEALTH_WAITING, "somebody has to log in");
    expect("ledger", HEALTH_OK, "");
    assert_string_equal(report.why, "disk: full");
}

static void stretches_limits_by_patience(void **state UNUSED)
{
    assert_int_equal(health_limit_ms(60000, 1), 60000);
    assert_int_equal(health_limit_ms(60000, 2.5), 150000);
    assert_int_equal(health_limit_ms(60000, 0.1), 6000);
    assert_int_equal(health_limit_ms(60000, 0.001), HEALTH_LIMIT_MIN_MS);
}

static void cuts_reasons_that_are_too_long(void **state UNUSED)
{
    struct health_queue *q = queue("upload:s3", 1, 60);
    memset(q->waits_for, 'x', sizeof(q->waits_for) - 1);
    for (size_t i = 1; i < HEALTH_STAGES_MAX; i++)
        stage("detect", 0, 60);
    stage("a-name-of-sixty-three-bytes-is-the-longest-there-can-ever-be-63", 99, 60);
    look(0);
    assert_int_equal(strlen(health_part_find(&report, "queue:upload:s3")->reason),
                     HEALTH_REASON_MAX - 1);
    assert_int_equal(report.part_count, 3);
}

static void has_a_name_for_each_state(void **state UNUSED)
{
    for (int i = 0; i < HEALTH_STATE_COUNT; i++)
        assert_non_null(health_state_names[i]);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup(name, begin)
    const struct CMUnitTest tests[] = {
        T(is_well_while_loops_turn),
        T(names_a_stage_that_is_silent_for_longer_than_its_work),
        T(takes_a_stage_that_ended_for_a_stuck_one),
        T(judges_a_pool_by_its_worst_member),
        T(lets_a_queue_stand_still_for_its_limit_only),
        T(begins_to_count_when_something_waits),
        T(calls_it_waiting_when_somebody_else_is_in_the_way),
        T(passes_facts_on_and_names_the_worst),
        T(stretches_limits_by_patience),
        T(cuts_reasons_that_are_too_long),
        T(has_a_name_for_each_state),
    };
    return RUN_TESTS(tests);
}
