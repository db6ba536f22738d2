#include "../test.h"

#include "stage/push_route.h"

static struct push_route *make(const struct push_folder *folders, size_t count)
{
    struct push_route *r = push_route_new();
    for (size_t i = 0; i < count; i++)
        (void)push_route_add(r, folders[i].directory, folders[i].camera);
    return r;
}

static void expect(const struct push_route *r, const char *path, const char *camera)
{
    const char *got = push_route_find(r, path);
    test_expect_text(path, got ? got : "(none)", camera ? camera : "(none)");
}

static void whole_components_count_and_never_a_part_of_one(void **state UNUSED)
{
    static const struct push_folder folders[] = {
        {"uploads/front", "front"}, {"uploads/frontdoor", "door"}, {"uploads/back yard", "yard"}};
    static const struct {
        const char *path, *camera;
    } cases[] = {
        {"uploads/front/a.jpg", "front"},
        {"uploads/frontdoor/a.jpg", "door"},
        {"uploads/front/2026/01/02/a.jpg", "front"},
        {"uploads/back yard/a.jpg", "yard"},
        {"uploads/fron/a.jpg", NULL},
        {"uploads/front2/a.jpg", NULL},
        {"uploads/Front/a.jpg", NULL},
        {"uploads/front", NULL}, /* a file of that name, in no folder of a camera */
        {"uploads/frontdoor.jpg", NULL},
        {"uploads/a.jpg", NULL},
        {"a.jpg", NULL},
        {"x/uploads/front/a.jpg", NULL}, /* the original would have taken it */
        {"", NULL},
    };
    AUTO(push_route) r = make(folders, ARRAY_LEN(folders));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect(r, cases[i].path, cases[i].camera);
}

static void the_longest_folder_counts_in_whatever_order_they_come(void **state UNUSED)
{
    static const struct push_folder up[] = {
        {"uploads", "all"}, {"uploads/porch", "porch"}, {"uploads/porch/night", "night"}};
    static const struct push_folder down[] = {
        {"uploads/porch/night", "night"}, {"uploads/porch", "porch"}, {"uploads", "all"}};
    const struct push_folder *const orders[] = {up, down};
    for (size_t i = 0; i < ARRAY_LEN(orders); i++) {
        AUTO(push_route) r = make(orders[i], 3);
        expect(r, "uploads/porch/night/a.jpg", "night");
        expect(r, "uploads/porch/nights/a.jpg", "porch");
        expect(r, "uploads/porch/a.jpg", "porch");
        expect(r, "uploads/attic/a.jpg", "all");
        expect(r, "other/a.jpg", NULL);
    }
}

static void the_root_itself_holds_everything_that_nobody_else_does(void **state UNUSED)
{
    static const struct push_folder folders[] = {{"", "rest"}, {"porch", "porch"}};
    AUTO(push_route) r = make(folders, ARRAY_LEN(folders));
    expect(r, "a.jpg", "rest");
    expect(r, "x/y/a.jpg", "rest");
    expect(r, "porch/a.jpg", "porch");
}

static void the_first_of_two_equal_folders_counts_and_the_second_hears_of_it(void **state UNUSED)
{
    AUTO(push_route) r = push_route_new();
    assert_true(push_route_add(r, "uploads/porch", "first"));
    assert_false(push_route_add(r, "/uploads//porch/", "second"));
    assert_true(push_route_add(r, "uploads/porch/", "first")); /* nothing contradicts */
    assert_int_equal(push_route_count(r), 1);
    expect(r, "uploads/porch/a.jpg", "first");
}

static void slashes_that_say_nothing_do_not_matter(void **state UNUSED)
{
    static const char *const forms[] = {"uploads/porch", "/uploads/porch", "uploads//porch///"};
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        AUTO(push_route) r = push_route_new();
        assert_true(push_route_add(r, forms[i], "porch"));
        expect(r, "uploads/porch/a.jpg", "porch");
        expect(r, "uploads/a.jpg", NULL);
    }
    AUTO(push_route) root = push_route_new();
    assert_true(push_route_add(root, "///", "all"));
    expect(root, "a.jpg", "all");
}

static void no_folders_have_no_camera(void **state UNUSED)
{
    AUTO(push_route) r = push_route_new();
    expect(r, "uploads/porch/a.jpg", NULL);
    push_route_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_components_count_and_never_a_part_of_one),
        cmocka_unit_test(the_longest_folder_counts_in_whatever_order_they_come),
        cmocka_unit_test(the_root_itself_holds_everything_that_nobody_else_does),
        cmocka_unit_test(the_first_of_two_equal_folders_counts_and_the_second_hears_of_it),
        cmocka_unit_test(slashes_that_say_nothing_do_not_matter),
        cmocka_unit_test(no_folders_have_no_camera),
    };
    return RUN_TESTS(tests);
}
