/* What a simulated camera writes into a name, the program reads out of it: two sides that know of
 * each other only what the makers do. */

#include "../test.h"

#include "model/push_name.h"
#include "sim/sim_pushers.h"

static void fill(const struct sim_pusher *p, const char *pattern, const struct sim_shot *shot,
                 char ret[SIM_PUSH_PATH_MAX])
{
    time_t seconds = (time_t)wall_seconds(shot->at);
    struct tm local;
    assert_non_null(gmtime_r(&seconds, &local));
    assert_int_equal(sim_pusher_name(p, pattern, p->device, SIM_EVENT_MOTION, shot, &local, ret),
                     0);
}

static void path_of(const struct sim_pusher *p, const struct sim_shot *shot,
                    char ret[SIM_PUSH_PATH_MAX])
{
    char folder[SIM_PUSH_PATH_MAX], name[SIM_PUSH_PATH_MAX];
    fill(p, p->folder, shot, folder);
    fill(p, p->picture, shot, name);
    snprintf(ret, SIM_PUSH_PATH_MAX, "%.250s%s%.250s", folder, *folder ? "/" : "", name);
}

static void the_program_reads_the_time_that_a_maker_writes(void **state UNUSED)
{
    static const struct {
        const char *maker, *moment, *rule;
    } cases[] = {
        {"foscam", "2026-01-02T03:04:05Z", "foscam"},
        {"dahua", "2026-01-02T03:04:05Z", "dahua"},
        {"amcrest", "2026-12-31T23:59:59Z", "dahua"},
        {"hikvision", "2026-01-02T03:04:05.067Z", "hikvision"},
        {"reolink", "2026-01-02T03:04:05Z", "reolink"},
        {"axis", "2026-01-02T03:04:05.060Z", "axis"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct sim_pusher *p = sim_pusher_find(cases[i].maker);
        struct sim_shot shot = {0};
        struct wall_time moment;
        struct push_time got;
        char path[SIM_PUSH_PATH_MAX], iso[WALL_ISO_MAX];
        assert_int_equal(wall_parse_iso(cases[i].moment, &moment), 0);
        sim_pusher_shoot(p, moment, &shot);
        path_of(p, &shot, path);
        if (push_name_time(path, &got) < 0)
            CASE_FAILS("%s: no time in \"%s\"", cases[i].maker, path);
        if (got.at.us != moment.us)
            CASE_FAILS("%s: \"%s\" is read as %s", cases[i].maker, path,
                       wall_format_iso(got.at, true, iso));
        test_expect_text(path, got.rule, cases[i].rule);
    }
}

static void a_name_without_a_time_tells_none(void **state UNUSED)
{
    static const char *const makers[] = {"axis-fixed", "simple", "counter"};
    for (size_t i = 0; i < ARRAY_LEN(makers); i++) {
        const struct sim_pusher *p = sim_pusher_find(makers[i]);
        struct sim_shot shot = {0};
        struct push_time got;
        char path[SIM_PUSH_PATH_MAX];
        sim_pusher_shoot(p, wall_from_seconds(1767323045), &shot);
        path_of(p, &shot, path);
        if (push_name_time(path, &got) == 0)
            CASE_FAILS("%s: \"%s\" tells a time by the rule %s", makers[i], path, got.rule);
    }
}

static void the_program_knows_pictures_from_the_rest(void **state UNUSED)
{
    for (size_t i = 0; i < SIM_PUSHER_COUNT; i++) {
        const struct sim_pusher *p = &sim_pushers[i];
        struct sim_shot shot = {0};
        sim_pusher_shoot(p, wall_from_seconds(1767323045), &shot);
        char path[SIM_PUSH_PATH_MAX], name[SIM_PUSH_PATH_MAX];
        path_of(p, &shot, path);
        assert_int_equal(push_name_kind(path), PUSH_PICTURE);
        fill(p, p->video, &shot, path);
        assert_int_equal(push_name_kind(path), PUSH_VIDEO);
        fill(p, p->test, &shot, path);
        assert_int_equal(push_name_kind(path), PUSH_OTHER);
        fill(p, p->other, &shot, path);
        assert_true(push_name_kind(path) != PUSH_PICTURE);
        fill(p, p->picture, &shot, name);
        snprintf(path, sizeof(path), "%s%.400s%s", p->unfinished_prefix, name,
                 p->unfinished_suffix);
        if (push_name_kind(path) != PUSH_UNFINISHED)
            CASE_FAILS("%s: \"%s\" is taken for finished", p->name, path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_program_reads_the_time_that_a_maker_writes),
        cmocka_unit_test(a_name_without_a_time_tells_none),
        cmocka_unit_test(the_program_knows_pictures_from_the_rest),
    };
    return RUN_TESTS(tests);
}
