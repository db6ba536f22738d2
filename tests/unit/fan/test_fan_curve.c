#include "../test.h"

#include <math.h>
#include <string.h>

#include "fan/fan_curve.h"

static struct fan_curve curve_of(const char *const *texts)
{
    struct fan_curve c;
    char why[160];
    if (fan_curve_parse(texts, &c, why, sizeof(why)) < 0)
        CASE_FAILS("%s", why);
    return c;
}

static const char *const usual[] = {"40:0", "55:80", "70:255", NULL};

static void follows_the_points(void **state UNUSED)
{
    struct fan_curve c = curve_of(usual);
    static const struct {
        double celsius;
        int pwm;
    } cases[] = {{-40, 0},   {0, 0},      {39.9, 0},  {40, 0},     {40.1, 1},
                 {47.5, 40}, {55, 80},    {55.1, 82}, {62.5, 168}, {69.99, 255},
                 {70, 255},  {70.1, 255}, {150, 255}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (fan_curve_pwm(&c, cases[i].celsius) != cases[i].pwm)
            CASE_FAILS("%g degrees: %d, not %d", cases[i].celsius,
                       fan_curve_pwm(&c, cases[i].celsius), cases[i].pwm);
}

static void never_falls_as_it_gets_warmer(void **state UNUSED)
{
    struct fan_curve c = curve_of(usual);
    int before = 0;
    for (double t = -50; t < 160; t += 0.037) {
        int pwm = fan_curve_pwm(&c, t);
        assert_true(pwm >= before && pwm <= FAN_PWM_MAX);
        before = pwm;
    }
}

static void gives_full_speed_for_what_is_no_temperature(void **state UNUSED)
{
    struct fan_curve c = curve_of(usual);
    assert_int_equal(fan_curve_pwm(&c, (double)NAN), 255);
    assert_int_equal(fan_curve_pwm(&c, (double)INFINITY), 255);
    assert_int_equal(fan_curve_pwm(&c, -(double)INFINITY), 255);
}

static void takes_a_single_point_as_a_constant(void **state UNUSED)
{
    struct fan_curve c = curve_of((const char *const[]){"50:120", NULL});
    assert_int_equal(fan_curve_pwm(&c, 20), 120);
    assert_int_equal(fan_curve_pwm(&c, 90), 120);
}

static void says_what_is_wrong_with_a_curve(void **state UNUSED)
{
    static const struct {
        const char *texts[FAN_POINTS_MAX + 3];
        const char *says;
    } cases[] = {
        {{NULL}, "a point at least"},
        {{"", NULL}, "TEMPERATURE:VALUE"},
        {{"40", NULL}, "TEMPERATURE:VALUE"},
        {{"40:", NULL}, "TEMPERATURE:VALUE"},
        {{":80", NULL}, "TEMPERATURE:VALUE"},
        {{"40:256", NULL}, "TEMPERATURE:VALUE"},
        {{"40:-1", NULL}, "TEMPERATURE:VALUE"},
        {{"40:80x", NULL}, "TEMPERATURE:VALUE"},
        {{"40:80:90", NULL}, "TEMPERATURE:VALUE"},
        {{"nan:80", NULL}, "TEMPERATURE:VALUE"},
        {{"400:80", NULL}, "TEMPERATURE:VALUE"},
        {{"40:80", "40:90", NULL}, "must rise"},
        {{"50:80", "40:90", NULL}, "must rise"},
        {{"40:80", "50:70", NULL}, "must not be slower"},
        {{"40:0", "50:0", NULL}, "must turn"},
        {{"1:1", "2:1", "3:1", "4:1", "5:1", "6:1", "7:1", "8:1", "9:1", "10:1", "11:1", "12:1",
          "13:1", "14:1", "15:1", "16:1", "17:1", NULL},
         "at most 16"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fan_curve c;
        char why[160] = "";
        if (fan_curve_parse(cases[i].texts, &c, why, sizeof(why)) == 0 ||
            !strstr(why, cases[i].says))
            CASE_FAILS("case %zu says \"%s\", not \"%s\"", i, why, cases[i].says);
    }
}

static void stands_still_under_noise(void **state UNUSED)
{
    struct fan_governor g = {.curve = curve_of(usual), .hysteresis = 3};
    assert_int_equal(fan_governor_next(&g, 60, 0), 139);
    /* Rises to the top of the noise at once, and stays there. */
    static const double noise[] = {59, 61.2, 58.4, 60.9, 58.3, 61.1, 59.7};
    int highest = 0;
    for (int round = 0; round < 100; round++) {
        int pwm = fan_governor_next(&g, noise[(size_t)round % ARRAY_LEN(noise)], round);
        assert_true(pwm >= highest);
        highest = pwm;
    }
    assert_int_equal(highest, fan_curve_pwm(&g.curve, 61.2));
}

static void follows_a_rise_at_once_and_a_fall_with_its_distance(void **state UNUSED)
{
    struct fan_governor g = {.curve = curve_of(usual), .hysteresis = 3};
    assert_int_equal(fan_governor_next(&g, 50, 0), fan_curve_pwm(&g.curve, 50));
    assert_int_equal(fan_governor_next(&g, 65, 0), fan_curve_pwm(&g.curve, 65));
    assert_int_equal(fan_governor_next(&g, 62, 0), fan_curve_pwm(&g.curve, 65));
    assert_int_equal(fan_governor_next(&g, 61, 0), fan_curve_pwm(&g.curve, 64));
    assert_int_equal(fan_governor_next(&g, 20, 0), 0);
    assert_int_equal(fan_governor_next(&g, 90, 0), 255);
}

static void pushes_a_fan_that_stands(void **state UNUSED)
{
    struct fan_governor g = {
        .curve = curve_of(usual), .hysteresis = 0, .spin_up = 100, .spin_up_ms = 3000};
    assert_int_equal(fan_governor_next(&g, 30, 0), 0);
    assert_int_equal(fan_governor_next(&g, 42, 1000), 100); /* the curve says 11 */
    assert_int_equal(fan_governor_next(&g, 42, 3999), 100);
    assert_int_equal(fan_governor_next(&g, 42, 4000), 11);
    assert_int_equal(fan_governor_next(&g, 43, 5000), 16); /* it turns: no second push */
    assert_int_equal(fan_governor_next(&g, 30, 6000), 0);
    assert_int_equal(fan_governor_next(&g, 70, 7000), 255); /* more than the push */
    assert_int_equal(fan_governor_next(&g, 42, 7500), 100);
}

static void pushes_at_the_start(void **state UNUSED)
{
    /* Whether it turns is not known. */
    struct fan_governor g = {.curve = curve_of(usual), .spin_up = 100, .spin_up_ms = 3000};
    assert_int_equal(fan_governor_next(&g, 42, 50000), 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follows_the_points),
        cmocka_unit_test(never_falls_as_it_gets_warmer),
        cmocka_unit_test(gives_full_speed_for_what_is_no_temperature),
        cmocka_unit_test(takes_a_single_point_as_a_constant),
        cmocka_unit_test(says_what_is_wrong_with_a_curve),
        cmocka_unit_test(stands_still_under_noise),
        cmocka_unit_test(follows_a_rise_at_once_and_a_fall_with_its_distance),
        cmocka_unit_test(pushes_a_fan_that_stands),
        cmocka_unit_test(pushes_at_the_start),
    };
    return RUN_TESTS(tests);
}
