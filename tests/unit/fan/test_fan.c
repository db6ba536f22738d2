#include "tree.h"

#include <stdatomic.h>

#include "base/log.h"
#include "fan/fan.h"

/* Each look asks whether the program is well: so a test sees the looks go by. */
static sem_t looked;
static atomic_bool program_well;

static bool well(void *arg UNUSED)
{
    (void)sem_post(&looked);
    return atomic_load(&program_well);
}

static const char *const sensors[] = {"thermal:*", "hwmon:tmp451", NULL};
static const char *const ignore[] = {"thermal:PMIC-Die", NULL};
static const char *const curve[] = {"40:0", "55:80", "70:255", NULL};

static struct fan_config config_of(const struct tree *t)
{
    return (struct fan_config){.enabled = true,
                               .sensors = sensors,
                               .ignore = ignore,
                               .pwm = "auto",
                               .curve = curve,
                               .hysteresis = 3,
                               .interval_ms = 1,
                               .sysfs_root = t->root};
}

/* Two whole looks have passed since: the second began after whatever the test did. */
static void wait_for_looks(void)
{
    while (sem_trywait(&looked) == 0)
        ;
    for (int i = 0; i < 3; i++)
        test_wait(&looked);
}

static struct fan *start(const struct tree *t)
{
    struct fan *f = fan_new();
    struct fan_config c = config_of(t);
    struct err e = {0};
    atomic_store(&program_well, true);
    assert_int_equal(sem_init(&looked, 0, 0), 0);
    if (fan_apply(f, &c, well, NULL, &e) < 0)
        CASE_FAILS("%s", e.text);
    wait_for_looks();
    return f;
}

static void expect(struct fan *f, enum fan_state state, int pwm, const char *trouble)
{
    struct fan_status st;
    wait_for_looks();
    fan_status(f, &st);
    if (st.state != state || st.pwm != pwm || !strstr(st.trouble, trouble))
        CASE_FAILS("%s, %d, \"%s\"", fan_state_names[st.state], st.pwm, st.trouble);
}

#define CPU "class/thermal/thermal_zone1/temp"
#define FAN4 "devices/pwm-fan/target_pwm"

static void follows_the_temperature(void **state UNUSED)
{
    struct tree t = tree_jetpack4();
    struct fan *f = start(&t);
    expect(f, FAN_RUNNING, 32, ""); /* 46 degrees */
    test_expect_text("control", tree_read(&t, "devices/pwm-fan/temp_control"), "0");
    tree_write(&t, CPU, "62500\n");
    expect(f, FAN_RUNNING, 168, "");
    test_expect_text("value", tree_read(&t, FAN4), "168");
    tree_write(&t, CPU, "60000\n"); /* less than the hysteresis */
    expect(f, FAN_RUNNING, 168, "");
    tree_write(&t, CPU, "50000\n");
    expect(f, FAN_RUNNING, 70, ""); /* 53 */
    struct fan_status st;
    fan_status(f, &st);
    test_expect_text("sensor", st.sensor, "CPU-therm");
    assert_true(st.celsius == 50.0);
    fan_free(f);
    test_expect_text("at the end", tree_read(&t, FAN4), "255");
    test_expect_text("control", tree_read(&t, "devices/pwm-fan/temp_control"), "1");
    tree_done(&t);
}

static void runs_at_full_speed_while_a_sensor_fails(void **state UNUSED)
{
    struct tree t = tree_jetpack4();
    struct fan *f = start(&t);
    static const char *const bad[] = {"", "no\n", "-256000\n", "300000\n"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        tree_write(&t, CPU, bad[i]);
        expect(f, FAN_SAFE, 255, "thermal_zone1/temp");
        tree_write(&t, CPU, "41500\n");
        expect(f, FAN_RUNNING, 32, "");
    }
    tree_remove(&t, CPU);
    expect(f, FAN_SAFE, 255, "No such file");
    /* It comes back under another number. */
    tree_remove(&t, "class/thermal/thermal_zone1/type");
    tree_write(&t, "class/thermal/thermal_zone9/temp", "49000\n");
    tree_write(&t, "class/thermal/thermal_zone9/type", "CPU-therm\n");
    expect(f, FAN_RUNNING, 48, "");
    fan_free(f);
    tree_done(&t);
}

static void leaves_out_a_zone_that_never_worked(void **state UNUSED)
{
    struct tree t = tree_jetpack4();
    tree_write(&t, CPU, "-256000\n");
    struct fan *f = start(&t);
    expect(f, FAN_RUNNING, 32, "");
    fan_free(f);
    tree_done(&t);
}

static void runs_at_full_speed_without_any_sensor_and_waits_for_one(void **state UNUSED)
{
    struct tree t;
    t.fd = test_folder_new(t.root);
    tree_write(&t, FAN4, "0\n");
    struct fan *f = start(&t);
    expect(f, FAN_SAFE, 255, "no thermal zone");
    tree_write(&t, "class/thermal/thermal_zone0/type", "CPU-therm\n");
    tree_write(&t, "class/thermal/thermal_zone0/temp", "55000\n");
    expect(f, FAN_RUNNING, 80, "");
    fan_free(f);
    tree_done(&t);
}

static void finds_a_fan_that_goes_and_comes(void **state UNUSED)
{
    struct tree t = tree_jetpack5();
    struct fan *f = start(&t);
    expect(f, FAN_RUNNING, 118, ""); /* 58.25 */
    tree_remove(&t, "class/hwmon/hwmon10/pwm1");
    expect(f, FAN_SAFE, 118, "no fan is what");
    tree_write(&t, "class/hwmon/hwmon10/name", "gone\n");
    tree_write(&t, "class/hwmon/hwmon3/pwm1", "0\n");
    tree_write(&t, "class/hwmon/hwmon3/name", "pwmfan\n");
    expect(f, FAN_RUNNING, 118, "");
    fan_free(f);
    test_expect_text("at the end", tree_read(&t, "class/hwmon/hwmon3/pwm1"), "255");
    tree_done(&t);
}

static void runs_at_full_speed_while_the_program_hangs(void **state UNUSED)
{
    struct tree t = tree_jetpack4();
    struct fan *f = start(&t);
    atomic_store(&program_well, false);
    expect(f, FAN_SAFE, 255, "hangs");
    atomic_store(&program_well, true);
    expect(f, FAN_RUNNING, 32, "");
    fan_free(f);
    tree_done(&t);
}

static void sets_its_value_again_when_somebody_else_did(void **state UNUSED)
{
    struct tree t = tree_jetpack4();
    struct fan *f = start(&t);
    tree_write(&t, FAN4, "0\n");
    expect(f, FAN_RUNNING, 32, "");
    test_expect_text("value", tree_read(&t, FAN4), "32");
    fan_free(f);
    tree_done(&t);
}

static void changes_and_ends_by_its_configuration(void **state UNUSED)
{
    struct tree t = tree_jetpack4();
    struct fan *f = start(&t);
    struct err e = {0};
    struct fan_config c = config_of(&t);
    assert_int_equal(fan_apply(f, &c, well, NULL, &e), 0); /* nothing new: it goes on */
    expect(f, FAN_RUNNING, 32, "");
    const char *const faster[] = {"40:200", NULL};
    c.curve = faster;
    assert_int_equal(fan_apply(f, &c, well, NULL, &e), 0);
    expect(f, FAN_RUNNING, 200, "");
    c.enabled = false;
    assert_int_equal(fan_apply(f, &c, well, NULL, &e), 0);
    struct fan_status st;
    fan_status(f, &st);
    assert_int_equal(st.state, FAN_OFF);
    test_expect_text("at the end", tree_read(&t, FAN4), "255");
    c.enabled = true;
    assert_int_equal(fan_apply(f, &c, well, NULL, &e), 0);
    expect(f, FAN_RUNNING, 200, "");
    fan_stop(f);
    fan_stop(f); /* twice does no harm */
    fan_free(f);
    tree_done(&t);
}

static void leaves_no_descriptor_behind(void **state UNUSED)
{
    struct tree t = tree_jetpack5();
    int before = test_count_fds();
    struct fan *f = start(&t);
    tree_write(&t, "class/thermal/thermal_zone0/temp", "hot\n");
    expect(f, FAN_SAFE, 255, "no temperature");
    fan_free(f);
    assert_int_equal(test_count_fds(), before);
    tree_done(&t);
}

static void sets_full_speed_in_an_emergency(void **state UNUSED)
{
    struct tree t = tree_jetpack4();
    fan_emergency(); /* nothing is driven: nothing happens */
    test_expect_text("value", tree_read(&t, FAN4), "0");
    struct fan *f = start(&t);
    struct fan_config c = config_of(&t);
    struct err e = {0};
    c.interval_ms = 60000; /* so that it does not set its own value again */
    c.hysteresis = 2;
    assert_int_equal(fan_apply(f, &c, NULL, NULL, &e), 0);
    struct fan_status st;
    do
        fan_status(f, &st);
    while (st.state != FAN_RUNNING);
    test_expect_text("value", tree_read(&t, FAN4), "32");
    fan_emergency();
    test_expect_text("value", tree_read(&t, FAN4), "255");
    fan_free(f);
    fan_emergency();
    tree_done(&t);
}

int main(void)
{
    log_set_level(LOG_LEVEL_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follows_the_temperature),
        cmocka_unit_test(runs_at_full_speed_while_a_sensor_fails),
        cmocka_unit_test(leaves_out_a_zone_that_never_worked),
        cmocka_unit_test(runs_at_full_speed_without_any_sensor_and_waits_for_one),
        cmocka_unit_test(finds_a_fan_that_goes_and_comes),
        cmocka_unit_test(runs_at_full_speed_while_the_program_hangs),
        cmocka_unit_test(sets_its_value_again_when_somebody_else_did),
        cmocka_unit_test(changes_and_ends_by_its_configuration),
        cmocka_unit_test(leaves_no_descriptor_behind),
        cmocka_unit_test(sets_full_speed_in_an_emergency),
    };
    return RUN_TESTS(tests);
}
