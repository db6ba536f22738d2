#include "../test.h"

#include <errno.h>

#include "base/mem.h"
#include "base/text.h"
#include "model/snapshot.h"

static void names_a_fetched_file_as_the_original_does(void **state UNUSED)
{
    static const struct {
        const char *key;
        int64_t seconds;
        unsigned nth;
        const char *ext, *name;
    } cases[] = {
        {"Front Door Camera", 1767323045, 1, "jpg", "fetch_front-door-camera_1767323045.jpg"},
        {"Front Door Camera", 1767323045, 0, "jpg", "fetch_front-door-camera_1767323045.jpg"},
        {"Front Door Camera", 1767323045, 2, "jpg", "fetch_front-door-camera_1767323045-2.jpg"},
        {"Porch", 0, 1, "png", "fetch_porch_0.png"},
        {"Porch", -5, 1, "jpg", "fetch_porch_-5.jpg"},
        {"a/b\\c", 1, 1, "jpg", "fetch_a_b_c_1.jpg"},
        {"../../etc/passwd", 1, 1, "jpg", "fetch_.._.._etc_passwd_1.jpg"},
        {"a\nb\x7f", 1, 1, "jpg", "fetch_a_b__1.jpg"},
        {"K\xc3\xbc"
         "che",
         1, 1, "jpg",
         "fetch_k\xc3\xbc"
         "che_1.jpg"},
        {"", 1, 1, "jpg", "fetch__1.jpg"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char name[SNAPSHOT_PATH_MAX];
        struct wall_time at = {cases[i].seconds * 1000000 + 999999};
        assert_int_equal(
            snapshot_name_fetched(cases[i].key, at, cases[i].nth, cases[i].ext, name, sizeof(name)),
            0);
        test_expect_text(cases[i].key, name, cases[i].name);
    }
    char small[10];
    assert_int_equal(snapshot_name_fetched("Porch", wall_from_seconds(1), 1, "jpg", small, 10),
                     -ENOSPC);
}

static void a_pushed_picture_keeps_its_name_as_far_as_that_is_safe(void **state UNUSED)
{
    static const struct {
        const char *name;
        unsigned nth;
        const char *kept;
    } cases[] = {
        {"MDAlarm_20260102-030405.jpg", 1, "MDAlarm_20260102-030405.jpg"},
        {"MDAlarm_20260102-030405.jpg", 2, "MDAlarm_20260102-030405-2.jpg"},
        {"05[M][0@0][0].jpg", 1, "05[M][0@0][0].jpg"},
        {"my #1 picture.JPEG", 3, "my #1 picture-3.JPEG"},
        {"T\xc3\xbcr.png", 1, "T\xc3\xbcr.png"},
        {"a.b.c.jpg", 2, "a.b.c-2.jpg"},
        {"snap", 2, "snap-2"},
        {"a\nb\x7f\x1b[2J.jpg", 1, "a_b__[2J.jpg"},
        {"a\\b.jpg", 1, "a_b.jpg"},
        {"bad \xff\xc3 utf.jpg", 1, "bad __ utf.jpg"},
        {".hidden.jpg", 1, "_hidden.jpg"},
        {".jpg", 1, "_jpg"},
        {"..", 1, "_."},
        {"fetch_a.jpg", 1, "push_fetch_a.jpg"},
        {"human_a.jpg", 2, "push_human_a-2.jpg"},
        {"detect_a.jpg", 1, "push_detect_a.jpg"},
        {"fetching.jpg", 1, "fetching.jpg"},
        {"", 1, "_"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char name[256];
        assert_int_equal(snapshot_name_pushed(cases[i].name, cases[i].nth, name, sizeof(name)), 0);
        test_expect_text(cases[i].name, name, cases[i].kept);
    }
}

static void a_long_name_is_cut_between_characters_and_keeps_its_extension(void **state UNUSED)
{
    char longest[256], name[256], copy[256];
    for (size_t i = 0; i < 250; i += 2)
        memcpy(longest + i, "\xc3\xbc", 2);
    memcpy(longest + 250, ".jpeg", 6);
    assert_int_equal(snapshot_name_pushed(longest, 1000000, name, sizeof(name)), 0);
    assert_true(strlen(name) < 220);
    assert_true(text_ends_with(name, "\xc3\xbc-1000000.jpeg"));
    assert_int_equal(snapshot_name_annotated(name, copy, sizeof(copy)), 0);
    memset(longest, 'x', 255);
    longest[255] = '\0';
    assert_int_equal(snapshot_name_pushed(longest, 1, name, sizeof(name)), 0);
    assert_true(strlen(name) < 220);
    char small[8];
    assert_int_equal(snapshot_name_pushed("abcdefgh.jpg", 1, small, sizeof(small)), -ENOSPC);
}

static void renames_the_basename_alone(void **state UNUSED)
{
    static const struct {
        const char *path;
        int result;
        const char *renamed;
    } cases[] = {
        {"a/2026/01/02/fetch_porch_1.jpg", 0, "a/2026/01/02/human_porch_1.jpg"},
        {"fetch_porch_1.jpg", 0, "human_porch_1.jpg"},
        {"fetch/fetch_prefetch_1.jpg", 0, "fetch/human_prefetch_1.jpg"},
        {"fetch/MDAlarm_1.jpg", -EINVAL, NULL},
        {"prefetch_1.jpg", -EINVAL, NULL},
        {"", -EINVAL, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char name[SNAPSHOT_PATH_MAX] = "untouched";
        int r = snapshot_name_renamed(cases[i].path, "human", name, sizeof(name));
        assert_int_equal(r, cases[i].result);
        test_expect_text(cases[i].path, name, r < 0 ? "untouched" : cases[i].renamed);
    }
}

static void knows_the_first_name_of_a_renamed_picture(void **state UNUSED)
{
    static const struct {
        enum snapshot_source source;
        const char *path, *original;
    } cases[] = {
        {SNAPSHOT_FETCHED, "a/2026/human_porch_1.jpg", "a/2026/fetch_porch_1.jpg"},
        {SNAPSHOT_FETCHED, "human_porch_1.jpg", "fetch_porch_1.jpg"},
        {SNAPSHOT_FETCHED, "human_a/fetch_porch_1.jpg", "human_a/fetch_porch_1.jpg"},
        {SNAPSHOT_FETCHED, "human_a/human_human_1.jpg", "human_a/fetch_human_1.jpg"},
        {SNAPSHOT_FETCHED, "a/humanoid.jpg", "a/humanoid.jpg"},
        {SNAPSHOT_PUSHED, "a/human_1.jpg", "a/human_1.jpg"},
    };
    AUTO(snapshot) s = snapshot_new();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char name[SNAPSHOT_PATH_MAX];
        s->source = cases[i].source;
        text_copy(s->path, sizeof(s->path), cases[i].path);
        snapshot_name_original(s, name);
        test_expect_text(cases[i].path, name, cases[i].original);
    }
}

static void names_the_annotated_copy(void **state UNUSED)
{
    static const struct {
        const char *path, *annotated;
    } cases[] = {
        {"a/fetch_porch_1.jpg", "a/detect_porch_1.jpg"},
        {"fetch/fetch_prefetch_1.png", "fetch/detect_prefetch_1.jpg"},
        {"a/MDAlarm_20260102-030405.jpg", "a/detect_MDAlarm_20260102-030405.jpg"},
        {"a.b/noext", "a.b/detect_noext.jpg"},
        {"fetch_a.b.webp", "detect_a.b.jpg"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char name[SNAPSHOT_PATH_MAX];
        assert_int_equal(snapshot_name_annotated(cases[i].path, name, sizeof(name)), 0);
        test_expect_text(cases[i].path, name, cases[i].annotated);
    }
    char small[10];
    assert_int_equal(snapshot_name_annotated("a/fetch_porch_1.jpg", small, 10), -ENOSPC);
}

static void makes_ids_that_sort_by_time_and_never_repeat(void **state UNUSED)
{
    enum { COUNT = 2000 };
    static char ids[COUNT][SNAPSHOT_ID_SIZE];
    for (int i = 0; i < COUNT; i++) {
        snapshot_id_new((struct wall_time){1767323045000000 + i * 1000}, ids[i]);
        assert_true(snapshot_id_valid(ids[i]));
        if (i > 0)
            assert_true(strcmp(ids[i - 1], ids[i]) < 0);
    }
    assert_memory_equal(ids[0], "019b7ca98c88", 12); /* 1767323045000 ms */
    char a[SNAPSHOT_ID_SIZE], b[SNAPSHOT_ID_SIZE];
    snapshot_id_new((struct wall_time){0}, a);
    snapshot_id_new((struct wall_time){0}, b);
    assert_string_not_equal(a, b);
    assert_memory_equal(a, "000000000000", 12);
    snapshot_id_new((struct wall_time){-5000000}, a); /* a clock before 1970 makes no odd ids */
    assert_memory_equal(a, "000000000000", 12);
}

static void tells_ids_from_other_texts(void **state UNUSED)
{
    assert_true(snapshot_id_valid("0123456789abcdef0123456789abcdef"));
    assert_false(snapshot_id_valid("0123456789abcdef0123456789abcde"));
    assert_false(snapshot_id_valid("0123456789abcdef0123456789abcdef0"));
    assert_false(snapshot_id_valid("0123456789ABCDEF0123456789ABCDEF"));
    assert_false(snapshot_id_valid("../../../../../../../etc/passwd0"));
    assert_false(snapshot_id_valid(""));
}

static void counts_its_references(void **state UNUSED)
{
    size_t snapshots = snapshot_live_count(), blobs = blob_live_count();
    struct snapshot *s = snapshot_new();
    assert_int_equal(s->orientation, 1);
    s->bytes = blob_new_copy("x", 1);
    assert_ptr_equal(snapshot_ref(s), s);
    assert_int_equal(snapshot_live_count(), snapshots + 1);
    snapshot_unref(s);
    assert_int_equal(blob_live_count(), blobs + 1);
    snapshot_unref(s);
    assert_int_equal(snapshot_live_count(), snapshots);
    assert_int_equal(blob_live_count(), blobs);
    snapshot_unref(NULL);
    assert_null(snapshot_ref(NULL));
}

static void knows_extensions(void **state UNUSED)
{
    assert_string_equal(snapshot_extension("jpeg"), "jpg");
    assert_string_equal(snapshot_extension("png"), "png");
}

static void knows_content_types(void **state UNUSED)
{
    assert_string_equal(snapshot_content_type("jpeg"), "image/jpeg");
    assert_string_equal(snapshot_content_type("jpg"), "image/jpeg");
    assert_string_equal(snapshot_content_type("WebP"), "image/webp");
    assert_string_equal(snapshot_content_type("html"), "application/octet-stream");
    assert_string_equal(snapshot_content_type(""), "application/octet-stream");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_a_fetched_file_as_the_original_does),
        cmocka_unit_test(a_pushed_picture_keeps_its_name_as_far_as_that_is_safe),
        cmocka_unit_test(a_long_name_is_cut_between_characters_and_keeps_its_extension),
        cmocka_unit_test(renames_the_basename_alone),
        cmocka_unit_test(knows_the_first_name_of_a_renamed_picture),
        cmocka_unit_test(names_the_annotated_copy),
        cmocka_unit_test(makes_ids_that_sort_by_time_and_never_repeat),
        cmocka_unit_test(tells_ids_from_other_texts),
        cmocka_unit_test(counts_its_references),
        cmocka_unit_test(knows_extensions),
        cmocka_unit_test(knows_content_types),
    };
    return RUN_TESTS(tests);
}
