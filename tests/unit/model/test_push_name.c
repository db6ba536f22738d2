#include "../test.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "model/push_name.h"

static void knows_kinds(void **state UNUSED)
{
    static const struct {
        const char *path;
        enum push_kind kind;
    } cases[] = {
        {"cam/MDAlarm_20260102-030405.jpg", PUSH_PICTURE},
        {"a.JPG", PUSH_PICTURE},
        {"a.b/c.JpEg", PUSH_PICTURE},
        {"a.jpe", PUSH_PICTURE},
        {"a.png", PUSH_PICTURE},
        {"a.webp", PUSH_PICTURE},
        {"a.gif", PUSH_PICTURE},
        {"a.bmp", PUSH_PICTURE},
        {"05[M][0@0][0].jpg", PUSH_PICTURE},
        {"image~1.jpg", PUSH_PICTURE},
        {"_front.jpg", PUSH_PICTURE},
        {"tmp.jpg", PUSH_PICTURE},
        {"part/a.jpg", PUSH_PICTURE},
        {"a.tmp/a.jpg", PUSH_PICTURE},
        {"03.04.05-03.04.25[M][0@0][0].mp4", PUSH_VIDEO},
        {"03.04.05-03.04.25[M][0@0][0].idx", PUSH_VIDEO},
        {"a.DAV", PUSH_VIDEO},
        {"a.mkv", PUSH_VIDEO},
        {"a.avi", PUSH_VIDEO},
        {"a.h264", PUSH_VIDEO},
        {"test.txt", PUSH_OTHER},
        {"a.tif", PUSH_OTHER}, /* nothing of ours reads it */
        {"a.heic", PUSH_OTHER},
        {"jpg", PUSH_OTHER},
        {"a/jpg", PUSH_OTHER},
        {"a.jpg/b", PUSH_OTHER},
        {"a.", PUSH_OTHER},
        {"a.jpg.", PUSH_OTHER},
        {"", PUSH_OTHER},
        {"a/", PUSH_OTHER},
        {"a.xjpg", PUSH_OTHER},
        {"a.jp", PUSH_OTHER},
        {"a.jpg.part", PUSH_UNFINISHED},
        {"a.jpg.TMP", PUSH_UNFINISHED},
        {"a.jpg.filepart", PUSH_UNFINISHED},
        {"a.jpg.crdownload", PUSH_UNFINISHED},
        {"a.jpg.partial", PUSH_UNFINISHED},
        {"a.jpg~", PUSH_UNFINISHED},
        {".in.a.jpg", PUSH_UNFINISHED},
        {".jpg", PUSH_UNFINISHED},
        {"cam/.incoming-0815", PUSH_UNFINISHED},
        {"tmp_a.jpg", PUSH_UNFINISHED},
        {"TMP_a.jpg", PUSH_UNFINISHED},
        {"_03.04.05-03.04.25[M][0@0][0].mp4", PUSH_UNFINISHED},
        {"a.mp4_", PUSH_UNFINISHED},
        {"a.jpg_", PUSH_UNFINISHED},
        {"a._", PUSH_OTHER},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        test_expect_text(cases[i].path, push_kind_names[push_name_kind(cases[i].path)],
                         push_kind_names[cases[i].kind]);
}

static void only_what_is_ours_or_a_trash_is_hidden(void **state UNUSED)
{
    static const char *const hidden[] = {".incoming-1",    "a/.incoming-", ".taken-1-a.jpg",
                                         ".taken-/a.jpg",  ".Trash/a.jpg", ".Trash-1000",
                                         "a/@eaDir/b.jpg", "#recycle",     ".snapshot/x",
                                         "/.zfs",          "lost+found"};
    static const char *const seen[] = {"",          "/",
                                       "a.jpg",     ".a.jpg",
                                       ".in.a.jpg", ".cam/a.jpg",
                                       ".incoming", "x.incoming-1",
                                       "..taken-",  ".Trashy/a.jpg",
                                       "eaDir",     ".snapshot.jpg"};
    for (size_t i = 0; i < ARRAY_LEN(hidden); i++)
        if (!push_name_is_hidden(hidden[i]))
            CASE_FAILS("%s", hidden[i]);
    for (size_t i = 0; i < ARRAY_LEN(seen); i++)
        if (push_name_is_hidden(seen[i]))
            CASE_FAILS("%s", seen[i]);
}

static void every_kind_has_a_name(void **state UNUSED)
{
    for (int i = 0; i < PUSH_KIND_COUNT; i++)
        assert_non_null(push_kind_names[i]);
}

/* "rule 2026-01-02T03:04:05.000Z / 1000", with "UTC" when it is; "" for none. */
static void describe(const char *path, char ret[128])
{
    struct push_time t;
    char iso[WALL_ISO_MAX];
    int r = push_name_time(path, &t);
    ret[0] = '\0';
    if (r == 0)
        (void)snprintf(ret, 128, "%s %s%s /%d", t.rule, wall_format_iso(t.at, true, iso),
                       t.absolute ? " UTC" : "", t.per_second);
    else
        assert_int_equal(r, -ENOENT);
}

static void expect_times(const char *const (*cases)[2], size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char got[128];
        describe(cases[i][0], got);
        test_expect_text(cases[i][0], got, cases[i][1]);
    }
}

#define THE_SECOND "2026-01-02T03:04:05.000Z /1"

static void reads_the_makers_names(void **state UNUSED)
{
    static const char *const cases[][2] = {
        {"C1_00626E6E1234/snap/MDAlarm_20260102-030405.jpg", "foscam " THE_SECOND},
        {"snap/HMDAlarm_20260102-030405.jpg", "foscam " THE_SECOND},
        {"snap/SDAlarm_20260102-030405.jpg", "foscam " THE_SECOND},
        {"snap/IOAlarm_20260102-030405.jpg", "foscam " THE_SECOND},
        {"snap/Schedule_20260102-030405.jpg", "foscam " THE_SECOND},
        {"Snap_20260102-030405.jpg", "foscam " THE_SECOND},
        {"MDAlarm_20260102-030405~2.jpg", "foscam " THE_SECOND},
        {"MDAlarm_20260102-030405", "foscam " THE_SECOND},
        {"record/alarm_20260102_030405.mkv", "foscam " THE_SECOND},
        {"record/MDalarm_20260102_030405.mkv", "foscam " THE_SECOND},
        {"1A2B/2026-01-02/001/jpg/03/04/05[M][0@0][0].jpg", "dahua " THE_SECOND},
        {"1A2B/2026-01-02/001/jpg/03/04/05[R][0@0][1].jpg", "dahua " THE_SECOND},
        {"2026-01-02/001/jpg/03/04/05[M][0@0][0]~1.jpg", "dahua " THE_SECOND},
        {"1A2B/2026-01-02/001/jpg/03/04.05[M][0@0][0].jpg", "dahua " THE_SECOND},
        {"2026-01-02/03/04.05[M][0@0][0].jpg", "dahua " THE_SECOND},
        {"2026-01-02/pic_001/03.04.05[M][0@0][0].jpg", "dahua " THE_SECOND},
        {"2026-01-02/001/dav/03/03.04.05-03.04.25[M][0@0][0].mp4", "dahua " THE_SECOND},
        {"2025-12-31/2026-01-02/03/04/05[M][0@0][0].jpg", "dahua " THE_SECOND},
        {"192.168.1.64_01_20260102030405123_MOTION_DETECTION.jpg",
         "hikvision 2026-01-02T03:04:05.123Z /1000"},
        {"Front door_2_20260102030405007_LINE_DETECTION.jpg",
         "hikvision 2026-01-02T03:04:05.007Z /1000"},
        {"2026/01/02/Front door_00_20260102030405.jpg", "reolink " THE_SECOND},
        {"Hall_01_20260102030405.mp4", "reolink " THE_SECOND},
        {"2026-01-02/03/image26-01-02_03-04-05-67.jpg", "axis 2026-01-02T03:04:05.670Z /100"},
        {"26-01-02_03-04-05-00.jpg", "axis 2026-01-02T03:04:05.000Z /100"},
        {"image.jpg", ""},
        {"image0001.jpg", ""},
    };
    expect_times(cases, ARRAY_LEN(cases));
}

static void reads_times_as_people_write_them(void **state UNUSED)
{
    static const char *const cases[][2] = {
        {"2026-01-02_03-04-05.jpg", "written " THE_SECOND},
        {"2026-01-02 03.04.05.jpg", "written " THE_SECOND},
        {"2026-01-02 03.04.05", "written " THE_SECOND},
        {"2026-01-02 03:04:05.jpg", "written " THE_SECOND},
        {"2026-01-02T03:04:05.jpg", "written " THE_SECOND},
        {"2026-01-02-03-04-05.jpg", "written " THE_SECOND},
        {"2026_01_02_03_04_05.jpg", "written " THE_SECOND},
        {"2026.01.02 03.04.05 (1).jpg", "written " THE_SECOND},
        {"Screenshot 2026-01-02 at 03.04.05.png", "written " THE_SECOND},
        {"IMG_20260102_030405.jpg", "written " THE_SECOND},
        {"IMG_20260102_030405 (2).jpg", "written " THE_SECOND},
        {"IMG_20260102_030405123.jpg", "written 2026-01-02T03:04:05.123Z /1000"},
        {"2026-01-02 03.04.05.678.jpg", "written 2026-01-02T03:04:05.678Z /1000"},
        {"cam-20260102030405.jpg", "written " THE_SECOND},
        {"cam1-20260102-030405-motion.jpg", "written " THE_SECOND},
        {"20260102T030405Z.jpg", "written 2026-01-02T03:04:05.000Z UTC /1"},
        {"20260102T030405Zebra.jpg", "written " THE_SECOND},
        {"1_2026-13-02_03-04-05_2026-01-02_03-04-05.jpg", "written " THE_SECOND},
        {"2026-01-02/03-04-05.jpg", "folders " THE_SECOND},
        {"20260102/cam/030405_1.jpg", "folders " THE_SECOND},
        {"20260102/cam/0304051.jpg", ""},
        {"2026-01-02/a/b.jpg", ""},
    };
    expect_times(cases, ARRAY_LEN(cases));
}

/* The text behind the name is what the original gives to dateutil 2.8.2, and the times are what
 * that made of it when it was asked. */
static void reads_what_the_original_reads(void **state UNUSED)
{
    static const char *const cases[][2] = {
        {"human_front-door-camera_1767323045.jpg", "unix 2026-01-02T03:04:05.000Z UTC /1"},
        {"1767323045.jpg", "unix 2026-01-02T03:04:05.000Z UTC /1"},
        {"detect_a_9999999999.jpg", "unix 2286-11-20T17:46:39.000Z UTC /1"},
        {"a_b_20260102-030405.jpg", "written " THE_SECOND},
        {"a_b_20260102 030405.jpg", "written " THE_SECOND},
        {"a_b_20260102_030405.jpg", "written " THE_SECOND},
        {"a_b_20260102T030405.jpg", "written " THE_SECOND},
        {"a_b_20260102030405.jpg", "reolink " THE_SECOND},
        {"a_b_202601020304.jpg", "original 2026-01-02T03:04:00.000Z /0"},
        {"a_b_20260102 0304.jpg", "original 2026-01-02T03:04:00.000Z /0"},
        {"a_b_20260102-0304.jpg", "original 2026-01-02T03:04:00.000Z /0"},
        {"a_b_20260102_03.jpg", "original 2026-01-02T03:00:00.000Z /0"},
        {"a_b_20260102.jpg", "original 2026-01-02T00:00:00.000Z /0"},
        {"20260102.jpg", "original 2026-01-02T00:00:00.000Z /0"},
        {"2026-01-02.jpg", "original 2026-01-02T00:00:00.000Z /0"},
        {"a_b_2026.01.02.jpg", "original 2026-01-02T00:00:00.000Z /0"},
        {"a_b_2026_01_02.jpg", "original 2026-01-02T00:00:00.000Z /0"},
        /* Where it reads nothing ("now"): nothing behind a second underscore. */
        {"a_1767323045.jpg", ""},
        {"a_20260102.jpg", ""},
        {"a_b_c_1767323045.jpg", ""},
        {"a_b_.jpg", ""},
        {"_.jpg", ""},
        /* Where it is wrong: a day of this month, 26 January 2002, the year 1234. */
        {"a_b_5.jpg", ""},
        {"17.jpg", ""},
        {"a_b_260102.jpg", ""},
        {"a_b_1234.jpg", ""},
        /* It fails on these. */
        {"a_b_1234567.jpg", ""},
        {"a_b_123456789.jpg", ""},
        {"a_b_20260102 030405 1.jpg", "written " THE_SECOND},
        {"a_b_00000102.jpg", ""},
        /* And ends on these. */
        {"a_b_12345678901.jpg", ""},
        {"a_b_1234567890123.jpg", ""},
        {"a_b_1234567890123456.jpg", ""},
        {"a_b_2026010203040512.jpg", ""},
    };
    expect_times(cases, ARRAY_LEN(cases));
}

static void a_date_that_is_none_is_no_time(void **state UNUSED)
{
    static const char *const cases[][2] = {
        {"MDAlarm_20261302-030405.jpg", ""},
        {"MDAlarm_20260230-030405.jpg", ""},
        {"MDAlarm_20260229-030405.jpg", ""},
        {"MDAlarm_20240229-030405.jpg", "foscam 2024-02-29T03:04:05.000Z /1"},
        {"MDAlarm_21000229-030405.jpg", ""},
        {"MDAlarm_20000229-030405.jpg", "foscam 2000-02-29T03:04:05.000Z /1"},
        {"MDAlarm_20260100-030405.jpg", ""},
        {"MDAlarm_20260001-030405.jpg", ""},
        {"MDAlarm_20260431-030405.jpg", ""},
        {"MDAlarm_20260102-240000.jpg", ""},
        {"MDAlarm_20260102-036005.jpg", ""},
        {"MDAlarm_20260102-030460.jpg", ""},
        {"MDAlarm_20260102-235959.jpg", "foscam 2026-01-02T23:59:59.000Z /1"},
        {"MDAlarm_19700101-000000.jpg", "foscam 1970-01-01T00:00:00.000Z /1"},
        {"MDAlarm_19691231-235959.jpg", ""},
        {"MDAlarm_20260102-0304.jpg", ""},
        {"MDAlarm_20260102-0304055.jpg", ""},
        {"2026-02-30/001/jpg/03/04/05[M][0@0][0].jpg", ""},
        {"2026-01-02/001/jpg/24/04/05[M][0@0][0].jpg", ""},
        {"2026-01-02/001/jpg/3/04/05[M][0@0][0].jpg", ""},
        {"001/jpg/03/04/05[M][0@0][0].jpg", ""},
        {"04/05[M][0@0][0].jpg", ""},
        {"05[M][0@0][0].jpg", ""},
        {"x2026-01-02/03/04/05[M][0@0][0].jpg", ""},
        {"a_1_20260230030405123_MOTION.jpg", ""},
        {"a_1_20260230030405.jpg", ""},
        {"image26-02-30_03-04-05-67.jpg", ""},
        {"a_b_20260230.jpg", ""},
        {"a_b_202601022400.jpg", ""},
    };
    expect_times(cases, ARRAY_LEN(cases));
}

static void names_too_long_say_nothing(void **state UNUSED)
{
    char path[400];
    char got[128];
    memset(path, 'a', sizeof(path));
    (void)snprintf(path + 300, sizeof(path) - 300, "-2026-01-02_03-04-05.jpg");
    describe(path, got);
    test_expect_text("long name", got, "");
    path[290] = '/';
    describe(path, got);
    test_expect_text("long path", got, "written " THE_SECOND);
}

static void every_rule_has_its_name(void **state UNUSED)
{
    static const char *const paths[] = {
        "MDAlarm_20260102-030405.jpg",
        "2026-01-02/001/jpg/03/04/05[M][0@0][0].jpg",
        "a_1_20260102030405123_M.jpg",
        "a_1_20260102030405.jpg",
        "image26-01-02_03-04-05-67.jpg",
        "2026-01-02_03-04-05.jpg",
        "2026-01-02/03-04-05.jpg",
        "20260102.jpg",
        "1767323045.jpg",
    };
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        struct push_time t;
        assert_int_equal(push_name_time(paths[i], &t), 0);
        test_expect_text(paths[i], t.rule, push_rule_names[i]);
    }
    assert_null(push_rule_names[ARRAY_LEN(paths)]);
}

/* By the rule alone where there is no zone database. */
#define BERLIN                                                                                     \
    (access("/usr/share/zoneinfo/Europe/Berlin", R_OK) == 0 ? "Europe/Berlin"                      \
                                                            : "CET-1CEST,M3.5.0,M10.5.0/3")

static void set_zone(const char *zone)
{
    assert_int_equal(setenv("TZ", zone, 1), 0);
    tzset();
}

static int restore_zone(void **state UNUSED)
{
    set_zone("UTC");
    return 0;
}

static struct wall_time at(const char *iso)
{
    struct wall_time t;
    assert_int_equal(wall_parse_iso(iso, &t), 0);
    return t;
}

static void expect_utc(const char *local, const char *near, const char *wanted)
{
    char got[WALL_ISO_MAX];
    test_expect_text(local, wall_format_iso(push_local_to_utc(at(local), at(near)), true, got),
                     wanted);
}

static void reads_local_time_in_the_zone_of_this_machine(void **state UNUSED)
{
    set_zone(BERLIN);
    const char *near = "2026-06-01T00:00:00Z";
    expect_utc("2026-01-02T03:04:05.678Z", near, "2026-01-02T02:04:05.678Z");
    expect_utc("2026-07-02T03:04:05Z", near, "2026-07-02T01:04:05.000Z");
    /* Around the change to summer time, 29 March 2026, 02:00 -> 03:00. */
    expect_utc("2026-03-29T01:59:59Z", near, "2026-03-29T00:59:59.000Z");
    expect_utc("2026-03-29T03:00:00Z", near, "2026-03-29T01:00:00.000Z");
    /* Around the change back, 25 October 2026, 03:00 -> 02:00. */
    expect_utc("2026-10-25T01:59:59Z", near, "2026-10-24T23:59:59.000Z");
    expect_utc("2026-10-25T03:00:00Z", near, "2026-10-25T02:00:00.000Z");
    expect_utc("1970-01-01T00:00:00Z", near, "1969-12-31T23:00:00.000Z");
    set_zone("<+14>-14");
    expect_utc("2026-01-02T03:04:05Z", near, "2026-01-01T13:04:05.000Z");
    set_zone("NST3:30NDT,M3.2.0,M11.1.0");
    expect_utc("2026-01-02T03:04:05Z", near, "2026-01-02T06:34:05.000Z");
}

static void an_hour_that_summer_time_skips_is_winter_time(void **state UNUSED)
{
    set_zone(BERLIN);
    expect_utc("2026-03-29T02:30:00Z", "2026-03-29T01:30:05Z", "2026-03-29T01:30:00.000Z");
    expect_utc("2026-03-29T02:00:00Z", "2026-01-01T00:00:00Z", "2026-03-29T01:00:00.000Z");
    expect_utc("2026-03-29T02:59:59Z", "2026-12-01T00:00:00Z", "2026-03-29T01:59:59.000Z");
}

static void of_an_hour_that_is_there_twice_it_takes_the_nearer(void **state UNUSED)
{
    set_zone(BERLIN);
    expect_utc("2026-10-25T02:30:00Z", "2026-10-25T00:30:05Z", "2026-10-25T00:30:00.000Z");
    expect_utc("2026-10-25T02:30:00Z", "2026-10-25T01:30:05Z", "2026-10-25T01:30:00.000Z");
    expect_utc("2026-10-25T02:30:00Z", "2026-01-01T00:00:00Z", "2026-10-25T00:30:00.000Z");
    expect_utc("2026-10-25T02:30:00Z", "2027-01-01T00:00:00Z", "2026-10-25T01:30:00.000Z");
    /* In the middle: the first. */
    expect_utc("2026-10-25T02:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T00:30:00.000Z");
}

#define DAY_MS (24 * INT64_C(3600000))
#define PAST_MS (366 * DAY_MS)
#define FUTURE_MS (25 * INT64_C(3600000))

static void expect_event(struct push_time named, const char *arrived, const char *wanted,
                         bool wanted_off)
{
    char got[WALL_ISO_MAX];
    bool off = !wanted_off;
    struct wall_time t = push_event_time(&named, at(arrived), PAST_MS, FUTURE_MS, &off);
    test_expect_text(arrived, wall_format_iso(t, false, got), wanted);
    assert_int_equal(off, wanted_off);
}

static void a_clock_that_is_far_off_is_not_believed(void **state UNUSED)
{
    set_zone(BERLIN);
    struct push_time local = {.at = at("2026-01-02T03:04:05Z"), .per_second = 1};
    expect_event(local, "2026-01-02T02:04:06Z", "2026-01-02T02:04:05Z", false);
    expect_event(local, "2027-01-03T02:04:05Z", "2026-01-02T02:04:05Z", false);
    expect_event(local, "2027-01-03T02:04:06Z", "2027-01-03T02:04:06Z", true);
    expect_event(local, "2026-01-01T01:04:05Z", "2026-01-02T02:04:05Z", false);
    expect_event(local, "2026-01-01T01:04:04Z", "2026-01-01T01:04:04Z", true);
    struct push_time absolute = {.at = at("2026-01-02T03:04:05Z"), .absolute = true};
    expect_event(absolute, "2026-01-02T03:04:06Z", "2026-01-02T03:04:05Z", false);
    struct push_time reset = {.at = at("1970-01-01T00:00:00Z")};
    expect_event(reset, "2026-01-02T03:04:06Z", "2026-01-02T03:04:06Z", true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_kinds),
        cmocka_unit_test(only_what_is_ours_or_a_trash_is_hidden),
        cmocka_unit_test(every_kind_has_a_name),
        cmocka_unit_test(reads_the_makers_names),
        cmocka_unit_test(reads_times_as_people_write_them),
        cmocka_unit_test(reads_what_the_original_reads),
        cmocka_unit_test(a_date_that_is_none_is_no_time),
        cmocka_unit_test(names_too_long_say_nothing),
        cmocka_unit_test(every_rule_has_its_name),
        cmocka_unit_test_teardown(reads_local_time_in_the_zone_of_this_machine, restore_zone),
        cmocka_unit_test_teardown(an_hour_that_summer_time_skips_is_winter_time, restore_zone),
        cmocka_unit_test_teardown(of_an_hour_that_is_there_twice_it_takes_the_nearer, restore_zone),
        cmocka_unit_test_teardown(a_clock_that_is_far_off_is_not_believed, restore_zone),
    };
    return RUN_TESTS(tests);
}
