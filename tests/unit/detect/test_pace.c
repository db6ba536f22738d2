#include "detect/pace.h"

#include "../test.h"

#define PATIENCE_US (30 * 1000000LL)

static struct mono_time now;

static struct pace fresh(double per_second)
{
    struct pace p;
    now = (struct mono_time){5000000};
    pace_init(&p, per_second, now);
    return p;
}

static int64_t take(struct pace *p)
{
    int64_t wait_us = -1;
    assert_true(pace_take(p, now, PATIENCE_US, &wait_us));
    return wait_us;
}

static void a_burst_of_one_second_goes_at_once_and_then_in_step(void **state UNUSED)
{
    struct pace p = fresh(5);
    for (int i = 0; i < 5; i++)
        assert_int_equal(take(&p), 0);
    for (int i = 1; i <= 20; i++)
        assert_int_equal(take(&p), 200000 * i);
}

static void a_long_pause_saves_up_no_more_than_the_burst(void **state UNUSED)
{
    struct pace p = fresh(4);
    now = mono_add_ms(now, 3600 * 1000);
    for (int i = 0; i < 4; i++)
        assert_int_equal(take(&p), 0);
    assert_int_equal(take(&p), 250000);
}

/* Each goes after the wait that it was told; in no second are there more than allowed. */
static void the_rate_is_kept_whatever_the_order_of_asking(void **state UNUSED)
{
    struct pace p = fresh(10);
    int64_t last_us = 0;
    for (int i = 0; i < 1000; i++) {
        int64_t goes_us = now.us + take(&p);
        assert_true(goes_us >= last_us);
        last_us = goes_us;
        now.us += i % 7 * 30000;
    }
    assert_in_range(last_us - 5000000, 98900000, 99100000);
}

static void who_would_wait_too_long_takes_no_place(void **state UNUSED)
{
    struct pace p = fresh(1);
    int64_t wait_us = -1;
    assert_int_equal(take(&p), 0);
    assert_false(pace_take(&p, now, 999999, &wait_us));
    assert_int_equal(wait_us, -1);
    assert_true(pace_take(&p, now, 1000000, &wait_us));
    assert_int_equal(wait_us, 1000000);
}

static void less_than_one_a_second_is_possible(void **state UNUSED)
{
    struct pace p = fresh(0.1);
    assert_int_equal(take(&p), 0);
    assert_int_equal(take(&p), 10000000);
}

static void zero_is_no_limit(void **state UNUSED)
{
    struct pace p = fresh(0);
    for (int i = 0; i < 10000; i++)
        assert_int_equal(take(&p), 0);
    pace_slow_down(&p, now);
    assert_int_equal(take(&p), 0);
}

static void a_refusal_halves_the_pace_and_it_comes_back(void **state UNUSED)
{
    struct pace p = fresh(10);
    pace_slow_down(&p, now);
    pace_slow_down(&p, now); /* of the same burst */
    assert_true(p.share == 0.5);
    assert_int_equal(take(&p), 200000);
    now = mono_add_ms(now, 600);
    pace_slow_down(&p, now);
    assert_true(p.share > 0.25 && p.share < 0.3);
    for (int i = 0; i < 100; i++) {
        pace_slow_down(&p, now);
        now = mono_add_ms(now, 500);
    }
    assert_true(p.share >= 1.0 / 16 && p.share < 0.1);
    now = mono_add_ms(now, 20000);
    (void)take(&p);
    assert_true(p.share == 1);
}

static void a_clock_that_stands_still_gives_nothing_away(void **state UNUSED)
{
    struct pace p = fresh(2);
    now.us -= 10000000;
    assert_int_equal(take(&p), 0);
    assert_int_equal(take(&p), 0);
    assert_int_equal(take(&p), 500000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_burst_of_one_second_goes_at_once_and_then_in_step),
        cmocka_unit_test(a_long_pause_saves_up_no_more_than_the_burst),
        cmocka_unit_test(the_rate_is_kept_whatever_the_order_of_asking),
        cmocka_unit_test(who_would_wait_too_long_takes_no_place),
        cmocka_unit_test(less_than_one_a_second_is_possible),
        cmocka_unit_test(zero_is_no_limit),
        cmocka_unit_test(a_refusal_halves_the_pace_and_it_comes_back),
        cmocka_unit_test(a_clock_that_stands_still_gives_nothing_away),
    };
    return RUN_TESTS(tests);
}
