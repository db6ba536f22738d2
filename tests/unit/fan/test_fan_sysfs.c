#include "tree.h"

#include <errno.h>

#include "fan/fan_sysfs.h"

static const char *const all_zones[] = {"thermal:*", NULL};
static const char *const usual_ignore[] = {"thermal:PMIC-Die", NULL};

static void finds_zones_by_their_type(void **state UNUSED)
{
    struct tree t = tree_jetpack4();
    struct fan_sensor s[FAN_SENSORS_MAX];
    struct err e = {0};
    assert_int_equal(fan_find_sensors(t.root, all_zones, usual_ignore, s, &e), 5);
    test_expect_text("the first", s[0].name, "AO-therm");
    test_expect_text("the last", s[4].name, "thermal-fan-est");
    const char *const two[] = {"thermal:?PU-therm", NULL};
    assert_int_equal(fan_find_sensors(t.root, two, NULL, s, &e), 2);
    double celsius;
    assert_int_equal(fan_read_sensor(&s[0], &celsius, &e), 0);
    assert_true(celsius == 41.5);
    tree_done(&t);
}

static void finds_hwmon_inputs_by_name_and_number(void **state UNUSED)
{
    struct tree t = tree_jetpack5();
    struct fan_sensor s[FAN_SENSORS_MAX];
    struct err e = {0};
    const char *const whole[] = {"hwmon:tmp451", NULL};
    const char *const second[] = {"hwmon:tmp*/temp2", NULL};
    assert_int_equal(fan_find_sensors(t.root, whole, NULL, s, &e), 2);
    assert_int_equal(fan_find_sensors(t.root, second, NULL, s, &e), 1);
    test_expect_text("name", s[0].name, "tmp451/temp2");
    double celsius;
    assert_int_equal(fan_read_sensor(&s[0], &celsius, &e), 0);
    assert_true(celsius == 58.25);
    tree_done(&t);
}

static void lists_what_there_is_when_nothing_fits(void **state UNUSED)
{
    struct tree t = tree_jetpack5();
    struct fan_sensor s[FAN_SENSORS_MAX];
    struct fan_output o;
    struct err e = {0};
    const char *const wrong[] = {"thermal:cpu", NULL};
    assert_int_equal(fan_find_sensors(t.root, wrong, NULL, s, &e), -ENOENT);
    assert_non_null(strstr(e.text, "thermal:CPU-therm, hwmon:tmp451, hwmon:pwmfan"));
    assert_int_equal(fan_find_output(t.root, "hwmon:nct6775", &o, &e), -ENOENT);
    assert_non_null(strstr(e.text, "hwmon:pwmfan"));
    tree_done(&t);

    struct tree empty;
    empty.fd = test_folder_new(empty.root);
    assert_int_equal(fan_find_sensors(empty.root, all_zones, NULL, s, &e), -ENOENT);
    assert_non_null(strstr(e.text, "no thermal zone and no hwmon device"));
    tree_done(&empty);
}

static void refuses_what_is_no_temperature(void **state UNUSED)
{
    struct tree t = tree_jetpack5();
    struct fan_sensor s[FAN_SENSORS_MAX];
    struct err e = {0};
    assert_int_equal(fan_find_sensors(t.root, all_zones, NULL, s, &e), 1);
    static const struct {
        const char *text;
        int code;
    } cases[] = {{"", -EINVAL},
                 {"\n", -EINVAL},
                 {"warm\n", -EINVAL},
                 {"52000 C\n", -EINVAL},
                 {"-256000\n", -ERANGE},
                 {"150001\n", -ERANGE},
                 {"2147483647\n", -ERANGE},
                 {"99999999999999999999\n", -EINVAL},
                 {"\033[2J\n", -EINVAL},
                 {"150000\n", 0},
                 {"-40000\n", 0},
                 {"0\n", 0}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        double celsius;
        tree_write(&t, "class/thermal/thermal_zone0/temp", cases[i].text);
        int r = fan_read_sensor(&s[0], &celsius, &e);
        if (r != cases[i].code)
            CASE_FAILS("\"%s\" gives %d", cases[i].text, r);
        assert_null(strchr(e.text, '\033'));
    }
    tree_remove(&t, "class/thermal/thermal_zone0/temp");
    double celsius;
    assert_int_equal(fan_read_sensor(&s[0], &celsius, &e), -ENOENT);
    tree_done(&t);
}

static void takes_over_and_gives_back_nvidias_fan(void **state UNUSED)
{
    struct tree t = tree_jetpack4();
    struct fan_output o;
    struct err e = {0};
    assert_int_equal(fan_find_output(t.root, "auto", &o, &e), 0);
    test_expect_text("name", o.name, "pwm-fan");
    assert_int_equal(fan_take(&o, &e), 0);
    test_expect_text("control", tree_read(&t, "devices/pwm-fan/temp_control"), "0");
    assert_int_equal(fan_write(&o, 130, &e), 0);
    assert_int_equal(fan_write(&o, 7, &e), 0); /* shorter than what was there */
    test_expect_text("value", tree_read(&t, "devices/pwm-fan/target_pwm"), "7");
    int pwm;
    assert_int_equal(fan_read(&o, &pwm, &e), 0);
    assert_int_equal(pwm, 7);
    assert_int_equal(fan_write(&o, 1000, &e), 0);
    test_expect_text("value", tree_read(&t, "devices/pwm-fan/target_pwm"), "255");
    assert_int_equal(fan_write(&o, 9, &e), 0);
    assert_int_equal(fan_give_back(&o, &e), 0);
    test_expect_text("value", tree_read(&t, "devices/pwm-fan/target_pwm"), "255");
    test_expect_text("control", tree_read(&t, "devices/pwm-fan/temp_control"), "1");
    tree_done(&t);
}

static void takes_over_and_gives_back_a_hwmon_fan(void **state UNUSED)
{
    struct tree t = tree_jetpack5();
    struct fan_output o;
    struct err e = {0};
    assert_int_equal(fan_find_output(t.root, "auto", &o, &e), 0);
    test_expect_text("name", o.name, "pwmfan/pwm1");
    assert_int_equal(fan_take(&o, &e), 0);
    test_expect_text("mode", tree_read(&t, "class/hwmon/hwmon10/pwm1_enable"), "1");
    assert_int_equal(fan_give_back(&o, &e), 0);
    test_expect_text("value", tree_read(&t, "class/hwmon/hwmon10/pwm1"), "255");
    test_expect_text("mode", tree_read(&t, "class/hwmon/hwmon10/pwm1_enable"), "2");

    /* 0 is "nobody drives it", some drivers switch the fan off then. */
    tree_write(&t, "class/hwmon/hwmon10/pwm1_enable", "0\n");
    assert_int_equal(fan_find_output(t.root, "hwmon:pwmfan/pwm1", &o, &e), 0);
    assert_int_equal(fan_take(&o, &e), 0);
    assert_int_equal(fan_give_back(&o, &e), 0);
    test_expect_text("mode", tree_read(&t, "class/hwmon/hwmon10/pwm1_enable"), "1");

    tree_remove(&t, "class/hwmon/hwmon10/pwm1_enable");
    assert_int_equal(fan_find_output(t.root, "auto", &o, &e), 0);
    assert_int_equal(fan_take(&o, &e), 0);
    assert_int_equal(fan_give_back(&o, &e), 0);
    tree_done(&t);
}

static void takes_no_fan_by_itself_that_may_be_another_ones(void **state UNUSED)
{
    struct tree t = tree_jetpack5();
    struct fan_output o;
    struct err e = {0};
    tree_write(&t, "class/hwmon/hwmon10/name", "nct6775\n");
    assert_int_equal(fan_find_output(t.root, "auto", &o, &e), -ENOENT);
    assert_int_equal(fan_find_output(t.root, "hwmon:nct6775", &o, &e), 0);
    tree_done(&t);
}

static void says_which_right_is_missing(void **state UNUSED)
{
    struct tree t = tree_jetpack5();
    struct fan_output o;
    struct err e = {0};
    assert_int_equal(chmod(t.root, 0755), 0);
    assert_int_equal(fchmodat(t.fd, "class/hwmon/hwmon10/pwm1", 0444, 0), 0);
    assert_int_equal(fan_find_output(t.root, "auto", &o, &e), 0);
    bool root = geteuid() == 0;
    if (root)
        assert_int_equal(seteuid(65534), 0);
    int r = fan_write(&o, 100, &e);
    if (root)
        assert_int_equal(seteuid(0), 0);
    assert_int_equal(r, -EACCES);
    assert_non_null(strstr(e.text, "udev rule"));
    assert_non_null(strstr(e.text, "class/hwmon/hwmon10/pwm1"));
    tree_done(&t);
}

static void a_fifo_does_not_hold_it_up(void **state UNUSED)
{
    struct tree t = tree_jetpack5();
    struct fan_sensor s[FAN_SENSORS_MAX];
    struct err e = {0};
    double celsius;
    assert_int_equal(fan_find_sensors(t.root, all_zones, NULL, s, &e), 1);
    tree_remove(&t, "class/thermal/thermal_zone0/temp");
    assert_int_equal(mkfifoat(t.fd, "class/thermal/thermal_zone0/temp", 0666), 0);
    assert_true(fan_read_sensor(&s[0], &celsius, &e) < 0);
    tree_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_zones_by_their_type),
        cmocka_unit_test(finds_hwmon_inputs_by_name_and_number),
        cmocka_unit_test(lists_what_there_is_when_nothing_fits),
        cmocka_unit_test(refuses_what_is_no_temperature),
        cmocka_unit_test(takes_over_and_gives_back_nvidias_fan),
        cmocka_unit_test(takes_over_and_gives_back_a_hwmon_fan),
        cmocka_unit_test(takes_no_fan_by_itself_that_may_be_another_ones),
        cmocka_unit_test(says_which_right_is_missing),
        cmocka_unit_test(a_fifo_does_not_hold_it_up),
    };
    return RUN_TESTS(tests);
}
