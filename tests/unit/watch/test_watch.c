#include "fixture.h"

static void tells_a_file_when_it_has_settled(void **state)
{
    struct fixture *f = *state;
    begin(f);
    pass(f, 0);
    write_file(f, "a.jpg", "picture");
    pass(f, SETTLE_MS - 1);
    expect_told(f, "");
    pass(f, 1);
    expect_told(f, "a.jpg 7");
    pass(f, LONG_MS);
    expect_told(f, "");
}

static void tells_what_was_there_at_the_start(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(mkdir(f->root, 0755), 0);
    make_folder(f, "cam");
    make_folder(f, "cam/2026-01-02");
    write_file(f, "cam/2026-01-02/a.jpg", "aa");
    write_file(f, "b.jpg", "b");
    begin(f);
    pass(f, UNSURE_MS - 1);
    expect_told(f, "");
    pass(f, 1);
    expect_told(f, "b.jpg 1; cam/2026-01-02/a.jpg 2");
    pass(f, LONG_MS);
    expect_told(f, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(tells_a_file_when_it_has_settled, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tells_what_was_there_at_the_start, set_up, tear_down),
    };
    return RUN_TESTS(tests);
}
