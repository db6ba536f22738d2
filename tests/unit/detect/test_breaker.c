#include "detect/breaker.h"

#include "../test.h"

static const struct breaker_rules rules = {
    .failures_max = 3, .rest_ms = 5000, .rest_ms_max = 40000, .calm_ms = 60000};

static struct mono_time now;

static void wait_ms(int64_t ms)
{
    now = mono_add_ms(now, ms);
}

static struct breaker fresh(void)
{
    struct breaker b;
    now = (struct mono_time){1000000};
    breaker_init(&b, &rules, now);
    return b;
}

static void go_wrong(struct breaker *b, int times)
{
    for (int i = 0; i < times; i++)
        breaker_bad(b, breaker_ask(b, now), false, now);
}

static void stays_closed_below_the_limit_and_a_success_begins_anew(void **state UNUSED)
{
    struct breaker b = fresh();
    for (int i = 0; i < 5; i++) {
        go_wrong(&b, 2);
        assert_int_equal(breaker_ask(&b, now), BREAKER_YES);
        breaker_good(&b, BREAKER_YES, now);
    }
    assert_int_equal(b.state, BREAKER_CLOSED);
    assert_int_equal(breaker_wait_ms(&b, now), 0);
}

static void opens_after_three_in_a_row_and_lets_one_through_after_the_rest(void **state UNUSED)
{
    struct breaker b = fresh();
    go_wrong(&b, 3);
    assert_int_equal(b.state, BREAKER_OPEN);
    assert_int_equal(breaker_wait_ms(&b, now), 5000);
    wait_ms(4999);
    assert_int_equal(breaker_ask(&b, now), BREAKER_NO);
    assert_int_equal(breaker_wait_ms(&b, now), 1);
    wait_ms(1);
    assert_int_equal(breaker_wait_ms(&b, now), 0);
    assert_int_equal(breaker_ask(&b, now), BREAKER_PROBE);
    assert_int_equal(breaker_ask(&b, now), BREAKER_NO);
    assert_true(breaker_wait_ms(&b, now) > 0);
    breaker_good(&b, BREAKER_PROBE, now);
    assert_int_equal(breaker_ask(&b, now), BREAKER_YES);
}

static void one_that_cost_time_is_enough(void **state UNUSED)
{
    struct breaker b = fresh();
    breaker_bad(&b, BREAKER_YES, true, now);
    assert_int_equal(b.state, BREAKER_OPEN);
}

static void rests_longer_while_probes_fail_up_to_a_limit(void **state UNUSED)
{
    static const int64_t rests[] = {5000, 10000, 20000, 40000, 40000};
    struct breaker b = fresh();
    breaker_bad(&b, BREAKER_YES, true, now);
    for (size_t i = 0; i < ARRAY_LEN(rests); i++) {
        assert_int_equal(breaker_wait_ms(&b, now), rests[i]);
        wait_ms(rests[i]);
        assert_int_equal(breaker_ask(&b, now), BREAKER_PROBE);
        breaker_bad(&b, BREAKER_PROBE, false, now);
    }
}

static void a_partner_that_comes_and_goes_rests_longer_and_a_calm_one_does_not(void **state UNUSED)
{
    struct breaker b = fresh();
    breaker_bad(&b, BREAKER_YES, true, now);
    wait_ms(5000);
    breaker_good(&b, breaker_ask(&b, now), now);
    wait_ms(1000);
    breaker_bad(&b, BREAKER_YES, true, now);
    assert_int_equal(breaker_wait_ms(&b, now), 10000);
    wait_ms(10000);
    breaker_good(&b, breaker_ask(&b, now), now);
    wait_ms(60000);
    breaker_bad(&b, BREAKER_YES, true, now);
    assert_int_equal(breaker_wait_ms(&b, now), 5000);
}

static void old_news_changes_nothing(void **state UNUSED)
{
    struct breaker b = fresh();
    go_wrong(&b, 3);
    breaker_bad(&b, BREAKER_YES, true, now);
    breaker_good(&b, BREAKER_YES, now);
    assert_int_equal(b.state, BREAKER_OPEN);
    assert_int_equal(breaker_wait_ms(&b, now), 5000);
    wait_ms(5000);
    assert_int_equal(breaker_ask(&b, now), BREAKER_PROBE);
    breaker_bad(&b, BREAKER_YES, true, now);
    breaker_good(&b, BREAKER_YES, now);
    assert_int_equal(b.state, BREAKER_HALF_OPEN);
}

static void a_probe_that_was_not_made_is_made_by_the_next(void **state UNUSED)
{
    struct breaker b = fresh();
    go_wrong(&b, 3);
    wait_ms(5000);
    breaker_unknown(&b, breaker_ask(&b, now));
    assert_int_equal(breaker_ask(&b, now), BREAKER_PROBE);
    breaker_unknown(&b, BREAKER_YES);
    assert_int_equal(b.state, BREAKER_HALF_OPEN);
}

static void every_state_has_a_name(void **state UNUSED)
{
    for (int i = 0; i < BREAKER_STATE_COUNT; i++)
        assert_true(breaker_state_names[i][0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stays_closed_below_the_limit_and_a_success_begins_anew),
        cmocka_unit_test(opens_after_three_in_a_row_and_lets_one_through_after_the_rest),
        cmocka_unit_test(one_that_cost_time_is_enough),
        cmocka_unit_test(rests_longer_while_probes_fail_up_to_a_limit),
        cmocka_unit_test(a_partner_that_comes_and_goes_rests_longer_and_a_calm_one_does_not),
        cmocka_unit_test(old_news_changes_nothing),
        cmocka_unit_test(a_probe_that_was_not_made_is_made_by_the_next),
        cmocka_unit_test(every_state_has_a_name),
    };
    return RUN_TESTS(tests);
}
