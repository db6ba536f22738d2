#include "../test.h"

#include <errno.h>

#include "sim/sim_fault.h"

static void takes_names_parameters_and_when_they_strike(void **state UNUSED)
{
    struct sim_fault_set set = {0};
    struct err e = {0};
    assert_int_equal(sim_push_fault_parse(&set, "cut@3, stall:5 ,reset@10%", &e), 0);
    assert_int_equal(set.count, 3);
    assert_int_equal(set.faults[0].id, SIM_PUSH_FAULT_CUT);
    assert_int_equal(set.faults[0].every, 3);
    assert_int_equal(set.faults[1].id, SIM_PUSH_FAULT_STALL);
    assert_string_equal(set.faults[1].parameter, "5");
    assert_int_equal(set.faults[1].every, 1);
    assert_int_equal(set.faults[2].id, SIM_PUSH_FAULT_RESET);
    assert_true(set.faults[2].probability > 0.099 && set.faults[2].probability < 0.101);
}

static void a_fault_without_parameter_has_its_default(void **state UNUSED)
{
    struct sim_fault_set set = {0};
    struct err e = {0};
    assert_int_equal(sim_push_fault_parse(&set, "drip", &e), 0);
    assert_string_equal(set.faults[0].parameter, "1000");
}

static void refuses_faults_of_the_other_kind(void **state UNUSED)
{
    struct sim_fault_set set = {0};
    struct err e = {0};
    assert_int_equal(sim_push_fault_parse(&set, "chunked", &e), -EINVAL);
    assert_string_equal(e.text, "there is no fault 'chunked'");
    assert_int_equal(sim_push_fault_parse(&set, "404", &e), -EINVAL);
    assert_int_equal(sim_fault_parse(&set, "abort", &e), -EINVAL);
    assert_int_equal(sim_push_fault_parse(&set, "cut:5", &e), -EINVAL);
    assert_string_equal(e.text, "fault 'cut' takes no parameter");
    assert_int_equal(set.count, 0);
}

static void a_status_is_short_for_a_fault(void **state UNUSED)
{
    struct sim_fault_set set = {0};
    struct err e = {0};
    assert_int_equal(sim_fault_parse(&set, "404,503:5@2", &e), 0);
    assert_int_equal(set.faults[0].id, SIM_FAULT_STATUS);
    assert_string_equal(set.faults[0].parameter, "404");
    assert_int_equal(set.faults[1].id, SIM_FAULT_STATUS);
    assert_string_equal(set.faults[1].parameter, "503/5");
    assert_int_equal(set.faults[1].every, 2);
}

static void strikes_each_nth_time(void **state UNUSED)
{
    struct sim_fault_set set = {0};
    struct err e = {0};
    assert_int_equal(sim_push_fault_parse(&set, "cut@3,none", &e), 0);
    for (int i = 1; i <= 9; i++) {
        const struct sim_fault *f = sim_fault_pick(&set);
        assert_int_equal(f->id, i % 3 == 0 ? SIM_PUSH_FAULT_CUT : SIM_PUSH_FAULT_NONE);
    }
}

static void each_fault_has_a_name_and_a_help(void **state UNUSED)
{
    for (int i = 0; i < SIM_PUSH_FAULT_COUNT; i++)
        assert_true(sim_push_fault_kinds[i].name && sim_push_fault_kinds[i].help);
    for (int i = 0; i < SIM_FAULT_COUNT; i++)
        assert_true(sim_fault_kinds[i].name && sim_fault_kinds[i].help);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_names_parameters_and_when_they_strike),
        cmocka_unit_test(a_fault_without_parameter_has_its_default),
        cmocka_unit_test(refuses_faults_of_the_other_kind),
        cmocka_unit_test(a_status_is_short_for_a_fault),
        cmocka_unit_test(strikes_each_nth_time),
        cmocka_unit_test(each_fault_has_a_name_and_a_help),
    };
    return RUN_TESTS(tests);
}
