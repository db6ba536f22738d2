#include "../test.h"

#include "stage/burst.h"

#define FRESH CAMERA_FRESH
#define STALE CAMERA_STALE_OLD

struct choice {
    const char *name;
    struct burst_rank ranks[4]; /* freshness, damaged, person, best, sharpness */
    int count, best;
    enum burst_reason why;
};

static void expect_choices(const struct choice *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct choice *c = &cases[i];
        enum burst_reason why;
        int best = burst_choose(c->ranks, c->count, &why);
        if (best != c->best || why != c->why)
            CASE_FAILS("%s: picture %d, %s; not %d, %s", c->name, best, burst_reason_names[why],
                       c->best, burst_reason_names[c->why]);
    }
}

static void each_question_decides_before_the_ones_behind_it(void **state UNUSED)
{
    static const struct choice cases[] = {
        {"fresh", {{STALE, false, 0.9, 0.9, 9}, {FRESH, true, 0, 0, 1}}, 2, 1, BURST_FRESH},
        {"whole", {{FRESH, true, 0.9, 0.9, 9}, {FRESH, false, 0, 0, 1}}, 2, 1, BURST_WHOLE},
        {"person", {{FRESH, false, 0, 0.9, 9}, {FRESH, false, 0.3, 0.3, 1}}, 2, 1, BURST_PERSON},
        {"person's score",
         {{FRESH, false, 0.5, 0.9, 9}, {FRESH, false, 0.6, 0.6, 1}},
         2,
         1,
         BURST_PERSON_SCORE},
        {"score", {{FRESH, false, 0.5, 0.5, 9}, {FRESH, false, 0.5, 0.6, 1}}, 2, 1, BURST_SCORE},
        {"sharpness", {{FRESH, false, 0, 0, 1}, {FRESH, false, 0, 0, 9}}, 2, 1, BURST_SHARPNESS},
        {"nothing", {{FRESH, false, 0, 0, 9}, {FRESH, false, 0, 0, 9}}, 2, 0, BURST_FIRST},
        {"alone", {{STALE, true, 0, 0, 0}}, 1, 0, BURST_FIRST},
    };
    expect_choices(cases, ARRAY_LEN(cases));
}

static void scores_that_are_near_the_best_one_count_as_equal(void **state UNUSED)
{
    const double low = (double)0.85f, high = (double)0.90f; /* as detectors say them */
    const struct choice cases[] = {
        {"near",
         {{FRESH, false, high, high, 1}, {FRESH, false, low, low, 9}},
         2,
         1,
         BURST_SHARPNESS},
        {"far",
         {{FRESH, false, 0.90, 0.90, 1}, {FRESH, false, 0.84, 0.84, 9}},
         2,
         0,
         BURST_PERSON_SCORE},
        /* Somebody is never equal to nobody. */
        {"faint", {{FRESH, false, 0, 0, 9}, {FRESH, false, 0.03, 0.03, 1}}, 2, 1, BURST_PERSON},
        {"near things",
         {{FRESH, false, 0, 0.5, 1}, {FRESH, false, 0, 0.46, 9}},
         2,
         1,
         BURST_SHARPNESS},
    };
    expect_choices(cases, ARRAY_LEN(cases));
}

static void the_order_of_the_pictures_does_not_matter(void **state UNUSED)
{
    /* Each is near its neighbour, and the last is not near the first. */
    static const struct burst_rank ranks[] = {{FRESH, false, 0.80, 0.80, 1},
                                              {FRESH, false, 0.76, 0.76, 2},
                                              {FRESH, false, 0.72, 0.72, 3}};
    static const int orders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                    {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    for (size_t i = 0; i < ARRAY_LEN(orders); i++) {
        struct burst_rank mixed[3];
        for (int k = 0; k < 3; k++)
            mixed[k] = ranks[orders[i][k]];
        enum burst_reason why;
        assert_int_equal(orders[i][burst_choose(mixed, 3, &why)], 1);
        assert_int_equal(why, BURST_SHARPNESS);
    }
}

static void the_surest_person_and_the_surest_find_count(void **state UNUSED)
{
    struct detection items[] = {{.label = "car", .confidence = 0.75f},
                                {.label = "Person", .confidence = 0.5f},
                                {.label = "person", .confidence = 0.25f}};
    struct burst_rank r = {.person = 1, .best = 1, .sharpness = 7};
    burst_rank_found(&r, &(struct detection_list){items, ARRAY_LEN(items)});
    assert_true(r.person == 0.5 && r.best == 0.75 && r.sharpness == 7);
    burst_rank_found(&r, &(struct detection_list){0});
    assert_true(r.person == 0 && r.best == 0);
}

static void every_reason_has_words(void **state UNUSED)
{
    for (int i = 0; i < BURST_REASON_COUNT; i++)
        assert_non_null(burst_reason_names[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_question_decides_before_the_ones_behind_it),
        cmocka_unit_test(scores_that_are_near_the_best_one_count_as_equal),
        cmocka_unit_test(the_order_of_the_pictures_does_not_matter),
        cmocka_unit_test(the_surest_person_and_the_surest_find_count),
        cmocka_unit_test(every_reason_has_words),
    };
    return RUN_TESTS(tests);
}
