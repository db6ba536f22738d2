#include "../test.h"

#include <errno.h>

#include "sim/sim_pushers.h"

static struct wall_time at(const char *iso)
{
    struct wall_time t;
    assert_int_equal(wall_parse_iso(iso, &t), 0);
    return t;
}

/* The n-th shot (from 1) of those at these moments. */
static struct sim_shot shoot(const struct sim_pusher *p, const char *const *moments)
{
    struct sim_shot shot = {0};
    for (; *moments; moments++)
        sim_pusher_shoot(p, at(*moments), &shot);
    return shot;
}

static void fill(const struct sim_pusher *p, const char *pattern, enum sim_event event,
                 const struct sim_shot *shot, char ret[SIM_PUSH_PATH_MAX])
{
    time_t seconds = (time_t)wall_seconds(shot->at);
    struct tm local;
    assert_non_null(gmtime_r(&seconds, &local));
    assert_int_equal(sim_pusher_name(p, pattern, p->device, event, shot, &local, ret), 0);
}

static void names_pictures_as_each_maker_does(void **state UNUSED)
{
    static const struct {
        const char *maker;
        enum sim_event event;
        const char *folder, *picture;
    } cases[] = {
        {"foscam", SIM_EVENT_MOTION, "FI9828P_00626E4A1B2C/snap", "MDAlarm_20260102-030405.jpg"},
        {"foscam", SIM_EVENT_HUMAN, "FI9828P_00626E4A1B2C/snap", "HMDAlarm_20260102-030405.jpg"},
        {"foscam", SIM_EVENT_TIMER, "FI9828P_00626E4A1B2C/snap", "Schedule_20260102-030405.jpg"},
        {"dahua", SIM_EVENT_MOTION, "4C01A2BPAG00001/2026-01-02/001/jpg/03/04",
         "05[M][0@0][0].jpg"},
        {"dahua", SIM_EVENT_TIMER, "4C01A2BPAG00001/2026-01-02/001/jpg/03/04", "05[R][0@0][0].jpg"},
        {"amcrest", SIM_EVENT_MOTION, "AMC0170B8F1E2D/2026-01-02/001/jpg/03",
         "04.05[M][0@0][0].jpg"},
        {"hikvision", SIM_EVENT_MOTION, "192.168.1.64/01",
         "192.168.1.64_01_20260102030405067_MOTION_DETECTION.jpg"},
        {"reolink", SIM_EVENT_MOTION, "2026/01/02", "Garden_00_20260102030405.jpg"},
        {"axis", SIM_EVENT_MOTION, "2026-01-02/03", "image26-01-02_03-04-05-06.jpg"},
        {"axis-fixed", SIM_EVENT_MOTION, "", "image.jpg"},
        {"simple", SIM_EVENT_MOTION, "", "snapshot.jpg"},
        {"counter", SIM_EVENT_MOTION, "IPCAM/images", "image000001.jpg"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct sim_pusher *p = sim_pusher_find(cases[i].maker);
        assert_non_null(p);
        const struct sim_shot shot =
            shoot(p, (const char *const[]){"2026-01-02T03:04:05.067Z", NULL});
        char text[SIM_PUSH_PATH_MAX];
        fill(p, p->folder, cases[i].event, &shot, text);
        test_expect_text(cases[i].maker, text, cases[i].folder);
        fill(p, p->picture, cases[i].event, &shot, text);
        test_expect_text(cases[i].maker, text, cases[i].picture);
    }
}

static void no_two_pictures_get_the_same_name(void **state UNUSED)
{
    static const char *const moments[] = {"2026-01-02T03:04:05.100Z", "2026-01-02T03:04:05.102Z",
                                          "2026-01-02T03:04:05.102Z", "2026-01-02T03:04:05.050Z",
                                          NULL};
    static const struct {
        const char *maker;
        const char *picture;
    } cases[] = {
        {"foscam", "MDAlarm_20260102-030408.jpg"},
        {"reolink", "Garden_00_20260102030408.jpg"},
        {"dahua", "05[M][0@0][3].jpg"},
        {"hikvision", "192.168.1.64_01_20260102030405104_MOTION_DETECTION.jpg"},
        {"axis", "image26-01-02_03-04-05-13.jpg"},
        {"counter", "image000004.jpg"},
        {"simple", "snapshot.jpg"}, /* whose habit is the same name */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct sim_pusher *p = sim_pusher_find(cases[i].maker);
        const struct sim_shot shot = shoot(p, moments);
        char text[SIM_PUSH_PATH_MAX];
        fill(p, p->picture, SIM_EVENT_MOTION, &shot, text);
        test_expect_text(cases[i].maker, text, cases[i].picture);
    }
}

static void a_clock_before_1970_is_told_as_it_is(void **state UNUSED)
{
    const struct sim_pusher *p = sim_pusher_find("hikvision");
    struct sim_shot shot = {0};
    char text[SIM_PUSH_PATH_MAX];
    sim_pusher_shoot(p, (struct wall_time){-1000}, &shot);
    sim_pusher_shoot(p, (struct wall_time){-1500}, &shot);
    fill(p, p->picture, SIM_EVENT_TIMER, &shot, text);
    assert_string_equal(text, "192.168.1.64_01_19700101000000000_TIMING.jpg");
}

static void the_second_index_starts_again_each_second(void **state UNUSED)
{
    const struct sim_pusher *p = sim_pusher_find("dahua");
    const struct sim_shot shot =
        shoot(p, (const char *const[]){"2026-01-02T03:04:05.900Z", "2026-01-02T03:04:05.990Z",
                                       "2026-01-02T03:04:06.000Z", NULL});
    assert_int_equal(shot.index, 0);
    assert_int_equal(shot.number, 3);
}

static void every_pattern_of_every_maker_can_be_filled_in(void **state UNUSED)
{
    for (size_t i = 0; i < SIM_PUSHER_COUNT; i++) {
        const struct sim_pusher *p = &sim_pushers[i];
        const struct sim_shot shot =
            shoot(p, (const char *const[]){"2026-01-02T03:04:05.067Z", NULL});
        const char *const patterns[] = {p->folder, p->picture, p->video, p->other, p->test};
        for (size_t k = 0; k < ARRAY_LEN(patterns); k++) {
            char text[SIM_PUSH_PATH_MAX];
            fill(p, patterns[k], SIM_EVENT_MOTION, &shot, text);
            if (strchr(text, '%'))
                CASE_FAILS("%s: \"%s\" became \"%s\"", p->name, patterns[k], text);
        }
        assert_non_null(p->unfinished_prefix);
        assert_non_null(p->unfinished_suffix);
        assert_true(*p->unfinished_prefix || *p->unfinished_suffix);
    }
}

static void a_name_that_is_too_long_is_an_error(void **state UNUSED)
{
    char device[SIM_PUSH_PATH_MAX], text[SIM_PUSH_PATH_MAX];
    memset(device, 'a', sizeof(device) - 1);
    device[sizeof(device) - 1] = '\0';
    const struct sim_pusher *p = sim_pusher_find("foscam");
    const struct sim_shot shot = {0};
    const struct tm local = {0};
    assert_int_equal(sim_pusher_name(p, "%D/snap", device, SIM_EVENT_MOTION, &shot, &local, text),
                     -ENAMETOOLONG);
    assert_int_equal(sim_pusher_name(p, "%D", device, SIM_EVENT_MOTION, &shot, &local, text), 0);
    assert_int_equal(strlen(text), SIM_PUSH_PATH_MAX - 1);
}

static void habits_are_added_and_taken_away(void **state UNUSED)
{
    unsigned habits = SIM_HABIT(KEPT) | SIM_HABIT(SIZE);
    struct err e = {0};
    assert_int_equal(sim_habits_parse("no-kept, active,cwd-full", &habits, &e), 0);
    assert_int_equal(habits, SIM_HABIT(SIZE) | SIM_HABIT(ACTIVE) | SIM_HABIT(CWD_FULL));
    assert_int_equal(sim_habits_parse("rename,no-such", &habits, &e), -EINVAL);
    assert_string_equal(e.text, "there is no habit 'no-such'");
    assert_int_equal(habits, SIM_HABIT(SIZE) | SIM_HABIT(ACTIVE) | SIM_HABIT(CWD_FULL));
    assert_int_equal(sim_habits_parse("no-", &habits, &e), -EINVAL);
}

static void each_habit_has_a_name_and_a_help(void **state UNUSED)
{
    for (int i = 0; i < SIM_HABIT_COUNT; i++)
        assert_true(sim_habit_kinds[i].name && sim_habit_kinds[i].help);
    for (int i = 0; i < SIM_EVENT_COUNT; i++)
        assert_non_null(sim_event_names[i]);
    assert_null(sim_pusher_find("unknown"));
    assert_ptr_equal(sim_pusher_find("Foscam"), &sim_pushers[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_pictures_as_each_maker_does),
        cmocka_unit_test(no_two_pictures_get_the_same_name),
        cmocka_unit_test(a_clock_before_1970_is_told_as_it_is),
        cmocka_unit_test(the_second_index_starts_again_each_second),
        cmocka_unit_test(every_pattern_of_every_maker_can_be_filled_in),
        cmocka_unit_test(a_name_that_is_too_long_is_an_error),
        cmocka_unit_test(habits_are_added_and_taken_away),
        cmocka_unit_test(each_habit_has_a_name_and_a_help),
    };
    return RUN_TESTS(tests);
}
