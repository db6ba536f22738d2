#include "detect/region_choice.h"

#include "../test.h"

static struct mono_time now;
static enum breaker_pass pass;

static struct region_choice fresh(int count, bool nearest)
{
    struct region_choice c;
    now = (struct mono_time){3600LL * 1000000};
    region_choice_init(&c, count, nearest, now);
    return c;
}

static int ask(struct region_choice *c, enum region_news news, double ms)
{
    int region = region_pick(c, 0, now, &pass);
    if (region >= 0)
        region_tell(c, region, pass, news, ms, now);
    return region;
}

static void wait_ms(int64_t ms)
{
    now = mono_add_ms(now, ms);
}

static void the_primary_is_asked_as_long_as_it_answers(void **state UNUSED)
{
    struct region_choice c = fresh(2, false);
    for (int i = 0; i < 100; i++)
        assert_int_equal(ask(&c, REGION_WELL, 5000), 0);
}

static void a_dead_primary_is_asked_once_and_again_after_its_rest(void **state UNUSED)
{
    struct region_choice c = fresh(2, false);
    assert_int_equal(ask(&c, REGION_DEAD, 0), 0);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(ask(&c, REGION_WELL, 200), 1);
        wait_ms(99);
    }
    wait_ms(50);
    assert_int_equal(ask(&c, REGION_WELL, 200), 0);
    assert_int_equal(ask(&c, REGION_WELL, 200), 0);
}

/* A probe under way holds up nobody. */
static void one_alone_tries_the_primary(void **state UNUSED)
{
    struct region_choice c = fresh(2, false);
    (void)ask(&c, REGION_DEAD, 0);
    wait_ms(5000);
    enum breaker_pass probe;
    assert_int_equal(region_pick(&c, 0, now, &probe), 0);
    assert_int_equal(probe, BREAKER_PROBE);
    for (int i = 0; i < 10; i++)
        assert_int_equal(ask(&c, REGION_WELL, 200), 1);
    region_tell(&c, 0, probe, REGION_DEAD, 0, now);
    assert_int_equal(region_wait_ms(&c, now), 0);
    assert_int_equal(ask(&c, REGION_WELL, 200), 1);
    wait_ms(9999);
    assert_int_equal(ask(&c, REGION_WELL, 200), 1);
    wait_ms(1);
    assert_int_equal(ask(&c, REGION_WELL, 200), 0);
}

static void a_region_that_refused_this_picture_comes_last(void **state UNUSED)
{
    struct region_choice c = fresh(2, false);
    assert_int_equal(region_pick(&c, 1, now, &pass), 1);
    assert_int_equal(region_pick(&c, 3, now, &pass), 0);
    (void)ask(&c, REGION_DEAD, 0);
    assert_int_equal(region_pick(&c, 2, now, &pass), 1);
}

static void none_is_asked_while_both_rest(void **state UNUSED)
{
    struct region_choice c = fresh(2, false);
    assert_int_equal(ask(&c, REGION_DEAD, 0), 0);
    wait_ms(1000);
    assert_int_equal(ask(&c, REGION_DEAD, 0), 1);
    assert_int_equal(ask(&c, REGION_WELL, 0), -1);
    assert_int_equal(region_wait_ms(&c, now), 4000);
}

static void the_nearest_is_found_after_one_of_each(void **state UNUSED)
{
    struct region_choice c = fresh(2, true);
    assert_int_equal(ask(&c, REGION_WELL, 300), 0);
    assert_int_equal(ask(&c, REGION_WELL, 100), 1);
    for (int i = 0; i < 100; i++)
        assert_int_equal(ask(&c, REGION_WELL, 100), 1);
}

static void two_alike_do_not_take_turns(void **state UNUSED)
{
    struct region_choice c = fresh(2, true);
    (void)ask(&c, REGION_WELL, 200);
    (void)ask(&c, REGION_WELL, 190);
    for (int i = 0; i < 100; i++)
        assert_int_equal(ask(&c, REGION_WELL, i % 2 ? 180 : 220), 0);
}

static void the_other_is_measured_again_once_in_ten_minutes(void **state UNUSED)
{
    struct region_choice c = fresh(2, true);
    (void)ask(&c, REGION_WELL, 100);
    (void)ask(&c, REGION_WELL, 300);
    int others = 0;
    for (int s = 0; s < 3600; s++) {
        int region = region_pick(&c, 0, now, &pass);
        region_tell(&c, region, pass, REGION_WELL, region ? 300 : 100, now);
        others += region;
        wait_ms(1000);
    }
    assert_in_range(others, 5, 6);
}

/* Six times slower, it stops being the nearest within some answers. */
static void the_favourite_changes_when_it_slows_down(void **state UNUSED)
{
    struct region_choice c = fresh(2, true);
    (void)ask(&c, REGION_WELL, 100);
    (void)ask(&c, REGION_WELL, 300);
    int asked = 0;
    while (ask(&c, REGION_WELL, 600) == 0)
        assert_true(++asked < 10);
}

static void a_favourite_that_dies_is_replaced_at_once(void **state UNUSED)
{
    struct region_choice c = fresh(2, true);
    (void)ask(&c, REGION_WELL, 100);
    (void)ask(&c, REGION_WELL, 300);
    assert_int_equal(ask(&c, REGION_DEAD, 0), 0);
    assert_int_equal(ask(&c, REGION_WELL, 300), 1);
    wait_ms(5000);
    assert_int_equal(ask(&c, REGION_WELL, 100), 0);
}

static void one_region_alone_needs_no_choice(void **state UNUSED)
{
    struct region_choice c = fresh(1, true);
    for (int i = 0; i < 10; i++)
        assert_int_equal(ask(&c, REGION_WELL, 100), 0);
    assert_int_equal(region_pick(&c, 1, now, &pass), 0);
    for (int i = 0; i < 3; i++)
        (void)ask(&c, REGION_FAILED, 0);
    assert_int_equal(ask(&c, REGION_WELL, 0), -1);
    assert_int_equal(region_wait_ms(&c, now), 5000);
}

static void a_call_that_was_stopped_says_nothing(void **state UNUSED)
{
    struct region_choice c = fresh(1, false);
    for (int i = 0; i < 10; i++)
        assert_int_equal(ask(&c, REGION_UNKNOWN, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_primary_is_asked_as_long_as_it_answers),
        cmocka_unit_test(a_dead_primary_is_asked_once_and_again_after_its_rest),
        cmocka_unit_test(one_alone_tries_the_primary),
        cmocka_unit_test(a_region_that_refused_this_picture_comes_last),
        cmocka_unit_test(none_is_asked_while_both_rest),
        cmocka_unit_test(the_nearest_is_found_after_one_of_each),
        cmocka_unit_test(two_alike_do_not_take_turns),
        cmocka_unit_test(the_other_is_measured_again_once_in_ten_minutes),
        cmocka_unit_test(the_favourite_changes_when_it_slows_down),
        cmocka_unit_test(a_favourite_that_dies_is_replaced_at_once),
        cmocka_unit_test(one_region_alone_needs_no_choice),
        cmocka_unit_test(a_call_that_was_stopped_says_nothing),
    };
    return RUN_TESTS(tests);
}
