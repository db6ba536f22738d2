/* Counts of a minute add up, and nothing grows. */

#include "cloudwatch/tally.h"

#include "../test.h"

static struct tally t;
static const struct wall_time noon = {1767355200 * 1000000LL};

static struct wall_time wall(int64_t s)
{
    return (struct wall_time){noon.us + s * 1000000};
}

static struct mono_time mono(int64_t s)
{
    return (struct mono_time){5000000 + s * 1000000};
}

static bool add(int metric, double n, int64_t s)
{
    return tally_add(&t, metric, n, wall(s), mono(s));
}

static int clear(void **state)
{
    (void)state;
    t.count = 0;
    return 0;
}

static void counts_of_a_minute_are_one_row(void **state)
{
    (void)state;
    assert_true(add(0, 1, 1) && add(1, 5, 2) && add(0, 2, 59) && add(0, 4, 60));
    assert_int_equal(t.count, 3);
    assert_true(t.rows[0].value == 3 && t.rows[1].value == 5 && t.rows[2].value == 4);
    assert_int_equal(t.rows[0].at.us, mono(1).us);
    assert_true(tally_counts(&t) == 12);
}

static void of_a_level_the_last_of_a_minute_counts(void **state)
{
    (void)state;
    tally_level(&t, 3, 7, wall(0), mono(0));
    tally_level(&t, 3, 9, wall(30), mono(30));
    tally_level(&t, 3, 2, wall(61), mono(61));
    assert_int_equal(t.count, 2);
    assert_true(t.rows[0].value == 9 && t.rows[0].level && t.rows[1].value == 2);
    assert_true(tally_counts(&t) == 0);
}

static void a_clock_that_is_set_back_begins_a_row(void **state)
{
    (void)state;
    assert_true(tally_add(&t, 0, 1, wall(0), mono(0)));
    assert_true(tally_add(&t, 0, 1, wall(-7200), mono(1)));
    assert_true(tally_add(&t, 0, 1, (struct wall_time){-1}, mono(2))); /* before 1970 */
    assert_int_equal(t.count, 3);
    assert_int_equal(t.rows[2].minute, -1);
}

static void when_it_is_full_counts_join_the_last_row(void **state)
{
    (void)state;
    for (int i = 0; i < TALLY_ROWS_MAX; i++)
        assert_true(add(0, 1, i * 60));
    assert_true(add(0, 10, TALLY_ROWS_MAX * 60));
    assert_false(add(1, 1, TALLY_ROWS_MAX * 60));
    tally_level(&t, 2, 1, wall(0), mono(0));
    assert_int_equal(t.count, TALLY_ROWS_MAX);
    assert_true(t.rows[TALLY_ROWS_MAX - 1].value == 11);
    assert_true(tally_counts(&t) == TALLY_ROWS_MAX + 10);
}

static void what_is_old_goes_and_is_counted(void **state)
{
    (void)state;
    add(0, 3, 0);
    tally_level(&t, 1, 50, wall(1), mono(1));
    add(0, 4, 120);
    assert_true(tally_expire(&t, mono(0)) == 0 && t.count == 3);
    assert_true(tally_expire(&t, mono(120)) == 3);
    assert_int_equal(t.count, 1);
    assert_true(t.rows[0].value == 4);
    assert_true(tally_expire(&t, mono(1000)) == 4 && t.count == 0);
    assert_true(tally_shift(&t, 0) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(counts_of_a_minute_are_one_row, clear),
        cmocka_unit_test_setup(of_a_level_the_last_of_a_minute_counts, clear),
        cmocka_unit_test_setup(a_clock_that_is_set_back_begins_a_row, clear),
        cmocka_unit_test_setup(when_it_is_full_counts_join_the_last_row, clear),
        cmocka_unit_test_setup(what_is_old_goes_and_is_counted, clear),
    };
    return RUN_TESTS(tests);
}
