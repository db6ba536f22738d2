#include "cmocka_all.h"

#include <math.h>

#include "detect/nms.h"

static void add(struct candidate_list *l, float x1, float y1, float x2, float y2, float score,
                int class_id)
{
    assert_int_equal(candidate_add(l, (struct box){x1, y1, x2, y2}, score, class_id), 0);
}

static void drops_the_weaker_of_two_overlapping_boxes_of_a_class(void **state)
{
    (void)state;
    AUTO_DONE(candidate_list) l = {.items = NULL};
    add(&l, 0, 0, 10, 10, 0.5f, 0);
    add(&l, 0, 1, 10, 11, 0.9f, 0);
    nms_select(&l, 0.7, 300);
    assert_int_equal(l.count, 1);
    assert_float_equal(l.items[0].score, 0.9f, 0);
}

static void keeps_overlapping_boxes_of_different_classes(void **state)
{
    (void)state;
    AUTO_DONE(candidate_list) l = {.items = NULL};
    add(&l, 0, 0, 10, 10, 0.5f, 0);
    add(&l, 0, 0, 10, 10, 0.9f, 1);
    nms_select(&l, 0.7, 300);
    assert_int_equal(l.count, 2);
}

static void keeps_an_overlap_that_equals_the_limit(void **state)
{
    (void)state;
    AUTO_DONE(candidate_list) l = {.items = NULL};
    add(&l, 0, 0, 10, 10, 0.9f, 0);
    add(&l, 0, 0, 10, 5, 0.8f, 0); /* half of the first: exactly 0.5 */
    nms_select(&l, 0.5, 300);
    assert_int_equal(l.count, 2);
    nms_select(&l, 0.4999, 300);
    assert_int_equal(l.count, 1);
}

static void suppresses_nothing_at_a_limit_of_one(void **state)
{
    (void)state;
    AUTO_DONE(candidate_list) l = {.items = NULL};
    add(&l, 0, 0, 10, 10, 0.9f, 0);
    add(&l, 0, 0, 10, 10, 0.8f, 0);
    nms_select(&l, 1.0, 300);
    assert_int_equal(l.count, 2);
}

static void sorts_by_score_and_keeps_the_order_of_equals(void **state)
{
    (void)state;
    AUTO_DONE(candidate_list) l = {.items = NULL};
    for (int i = 0; i < 40; i++)
        add(&l, (float)(20 * i), 0, (float)(20 * i + 10), 10, i == 17 ? 0.9f : 0.5f, i);
    nms_select(&l, 0.7, 300);
    assert_int_equal(l.items[0].class_id, 17);
    int before = -1;
    for (size_t i = 1; i < l.count; i++) {
        assert_true(l.items[i].class_id > before);
        before = l.items[i].class_id;
    }
}

static void leaves_out_what_is_no_box(void **state)
{
    (void)state;
    const struct {
        struct box box;
        float score;
        int class_id;
    } cases[] = {
        {{0, 0, 10, 10}, NAN, 0},
        {{0, 0, 10, 10}, INFINITY, 0},
        {{0, 0, 10, 10}, 0, 0},
        {{0, 0, 10, 10}, -1, 0},
        {{0, 0, 10, 10}, 0.5f, -1},
        {{10, 0, 0, 10}, 0.5f, 0},
        {{0, 10, 10, 0}, 0.5f, 0},
        {{0, 0, 0, 10}, 0.5f, 0},
        {{NAN, 0, 10, 10}, 0.5f, 0},
        {{0, 0, INFINITY, 10}, 0.5f, 0},
        {{0, -INFINITY, 10, 10}, 0.5f, 0},
    };
    AUTO_DONE(candidate_list) l = {.items = NULL};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(candidate_add(&l, cases[i].box, cases[i].score, cases[i].class_id), 0);
    assert_int_equal(l.count, 0);
    add(&l, 0, 0, 10, 10, 1.5f, 0);
    assert_float_equal(l.items[0].score, 1.0f, 0); /* a rounding of the model's sigmoid */
}

static void keeps_at_most_what_is_asked_for(void **state)
{
    (void)state;
    AUTO_DONE(candidate_list) l = {.items = NULL};
    for (int i = 0; i < 500; i++)
        add(&l, (float)(20 * i), 0, (float)(20 * i + 10), 10, 0.001f * (float)(i + 1), 0);
    nms_select(&l, 0.7, 300);
    assert_int_equal(l.count, 300);
    assert_float_equal(l.items[0].score, 0.5f, 1e-6);
}

static void bounds_the_candidates_and_keeps_the_best(void **state)
{
    (void)state;
    AUTO_DONE(candidate_list) l = {.items = NULL};
    for (int i = 0; i < 3 * CANDIDATE_ROOM; i++) /* each better than the last */
        add(&l, 0, 0, 10, 10, (float)(i + 1) / (float)(3 * CANDIDATE_ROOM), i);
    assert_true(l.room <= CANDIDATE_ROOM);
    nms_select(&l, 0.7, 10);
    assert_int_equal(l.items[0].class_id, 3 * CANDIDATE_ROOM - 1);
    assert_int_equal(l.items[9].class_id, 3 * CANDIDATE_ROOM - 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(drops_the_weaker_of_two_overlapping_boxes_of_a_class),
        cmocka_unit_test(keeps_overlapping_boxes_of_different_classes),
        cmocka_unit_test(keeps_an_overlap_that_equals_the_limit),
        cmocka_unit_test(suppresses_nothing_at_a_limit_of_one),
        cmocka_unit_test(sorts_by_score_and_keeps_the_order_of_equals),
        cmocka_unit_test(leaves_out_what_is_no_box),
        cmocka_unit_test(keeps_at_most_what_is_asked_for),
        cmocka_unit_test(bounds_the_candidates_and_keeps_the_best),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
