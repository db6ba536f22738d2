/* The order in which pictures go to the cloud. */
#include "../test.h"

#include "base/clock.h"
#include "base/text.h"
#include "stage/doubts.h"

static int64_t now_us = 1000000;
static struct mono_time test_clock(void)
{
    return (struct mono_time){now_us};
}

/* A picture whose digest is this one. */
static bool put(struct doubts *l, const char *digest, bool live)
{
    struct doubt d = {.snapshot = snapshot_new(), .live = live};
    text_copy(d.snapshot->sha256, sizeof(d.snapshot->sha256), digest);
    bool taken = doubts_put(l, &d);
    if (!taken)
        doubt_done(&d);
    return taken;
}

static struct doubt take(struct doubts *l, const char *wanted)
{
    struct doubt d = {0};
    int64_t wait;
    assert_true(doubts_take(l, &d, &wait));
    assert_string_equal(d.snapshot->sha256, wanted);
    return d;
}

static void end(struct doubts *l, struct doubt *d)
{
    doubts_end(l, d);
    doubt_done(d);
}

static void live_ones_go_first_each_in_the_order_of_coming(void **state UNUSED)
{
    struct doubts *l = doubts_new();
    static const char *const order[] = {"2", "4", "1", "3"};
    assert_true(put(l, "1", false) && put(l, "2", true) && put(l, "3", false) && put(l, "4", true));
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        struct doubt d = take(l, order[i]);
        end(l, &d);
    }
    assert_int_equal(doubts_count(l), 0);
    doubts_free(l);
}

static void the_same_picture_waits_for_its_twins_answer(void **state UNUSED)
{
    struct doubts *l = doubts_new();
    int64_t wait;
    struct doubt none;
    assert_true(put(l, "a", false) && put(l, "a", true) && put(l, "b", false));
    struct doubt a = take(l, "a"), b = take(l, "b");
    assert_false(doubts_take(l, &none, &wait));
    assert_true(wait == INT64_MAX);
    end(l, &a);
    a = take(l, "a");
    end(l, &a);
    end(l, &b);
    doubts_free(l);
}

static void one_that_was_put_off_comes_when_it_is_due_and_holds_up_nobody(void **state UNUSED)
{
    struct doubts *l = doubts_new();
    int64_t wait;
    struct doubt none;
    assert_true(put(l, "a", true) && put(l, "b", false));
    struct doubt a = take(l, "a");
    doubts_again(l, &a, (struct mono_time){now_us + 5000000});
    assert_null(a.snapshot);
    assert_int_equal(doubts_due(l), 1);
    struct doubt b = take(l, "b");
    end(l, &b);
    assert_false(doubts_take(l, &none, &wait));
    assert_int_equal(wait, 5000);
    assert_int_equal(doubts_due(l), 0);
    now_us += 5000000;
    a = take(l, "a");
    end(l, &a);
    doubts_free(l);
}

static void a_full_list_says_so_and_what_is_under_way_keeps_its_room(void **state UNUSED)
{
    struct doubts *l = doubts_new();
    char digest[16];
    for (int i = 0; i < DOUBTS_MAX; i++) {
        (void)snprintf(digest, sizeof(digest), "%d", i);
        assert_true(put(l, digest, false));
    }
    assert_false(put(l, "more", true));
    struct doubt d = take(l, "0");
    assert_false(put(l, "more", true)); /* or it could not come back */
    doubts_again(l, &d, (struct mono_time){0});
    d = take(l, "1");
    end(l, &d);
    assert_true(put(l, "more", true));
    doubts_free(l);
}

int main(void)
{
    clock_set_mono_source(test_clock);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(live_ones_go_first_each_in_the_order_of_coming),
        cmocka_unit_test(the_same_picture_waits_for_its_twins_answer),
        cmocka_unit_test(one_that_was_put_off_comes_when_it_is_due_and_holds_up_nobody),
        cmocka_unit_test(a_full_list_says_so_and_what_is_under_way_keeps_its_room),
    };
    return RUN_TESTS(tests);
}
