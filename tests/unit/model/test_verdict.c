#include "../test.h"

#include "model/verdict.h"

static struct detection labels[] = {
    {.label = "person", .confidence = 0.91f}, {.label = "Person", .confidence = 0.8f},
    {.label = "car", .confidence = 0.64f},    {.label = "persona", .confidence = 0.5f},
    {.label = "dog", .confidence = 0.4f},
};

static void tells_the_detail_as_the_original_does(void **state UNUSED)
{
    static const struct {
        size_t first, count;
        unsigned persons, things;
        const char *detail;
    } cases[] = {
        {0, 0, 0, 0, ""},
        {2, 3, 0, 3, ""}, /* without a person there is no detail at all */
        {0, 1, 1, 1, "1 person(s) and 1 things"},
        {0, 3, 2, 3, "2 person(s) and 3 things"}, /* persons count as things, too */
        {0, 5, 2, 5, "2 person(s) and 5 things"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct verdict v = {.found = {labels + cases[i].first, cases[i].count}};
        char buf[VERDICT_DETAIL_MAX] = "junk";
        assert_int_equal(verdict_persons(&v), cases[i].persons);
        assert_int_equal(verdict_things(&v), cases[i].things);
        test_expect_text("detail", verdict_detail(&v, buf), cases[i].detail);
    }
}

static void copies_deeply(void **state UNUSED)
{
    struct detection_list from = {labels, ARRAY_LEN(labels)}, to = {0};
    detection_list_copy(&to, &from);
    assert_ptr_not_equal(to.items, from.items);
    assert_int_equal(to.count, from.count);
    assert_string_equal(to.items[2].label, "car");
    detection_list_done(&to);
    assert_null(to.items);
    detection_list_done(&to);
    detection_list_copy(&to, &(struct detection_list){0});
    assert_null(to.items);
    struct verdict v = {0};
    detection_list_copy(&v.found, &from);
    verdict_done(&v);
    assert_int_equal(v.found.count, 0);
    verdict_done(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_the_detail_as_the_original_does),
        cmocka_unit_test(copies_deeply),
    };
    return RUN_TESTS(tests);
}
