#include "../test.h"

#include <string.h>

#include "stage/push_leftover.h"

static int64_t now_us = 1000000;

static struct mono_time test_mono(void)
{
    return (struct mono_time){now_us};
}

static const char id[] = "0000000000000000000000000000000a";
static const struct push_identity first = {
    .device = 1, .inode = 2, .size = 7, .modified_ns = 3, .born_ns = 4};

static struct blob *bytes_of(const char *text)
{
    return blob_new_copy(text, strlen(text));
}

static void knows_the_file_with_another_time_and_once(void **state UNUSED)
{
    static struct push_leftovers l;
    char found[SNAPSHOT_ID_SIZE];
    AUTO(blob) bytes = bytes_of("picture");
    struct push_identity touched = first;
    touched.modified_ns++;
    assert_false(push_leftovers_take(&l, &first, bytes, found));
    push_leftovers_add(&l, id, &first, bytes);
    assert_true(push_leftovers_take(&l, &touched, bytes, found));
    assert_string_equal(found, id);
    assert_false(push_leftovers_take(&l, &touched, bytes, found));
}

static void knows_no_other_file_and_no_other_bytes(void **state UNUSED)
{
    static struct push_leftovers l;
    char found[SNAPSHOT_ID_SIZE];
    AUTO(blob) bytes = bytes_of("picture");
    AUTO(blob) written = bytes_of("PICTURE");
    push_leftovers_add(&l, id, &first, bytes);
    struct push_identity others[4] = {first, first, first, first};
    others[0].device++;
    others[1].inode++;
    others[2].size++;
    others[3].born_ns++;
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        assert_false(push_leftovers_take(&l, &others[i], bytes, found));
    assert_false(push_leftovers_take(&l, &first, written, found));
    assert_true(push_leftovers_take(&l, &first, bytes, found));
}

static void forgets_after_a_while_and_the_oldest_first(void **state UNUSED)
{
    static struct push_leftovers l;
    char found[SNAPSHOT_ID_SIZE];
    AUTO(blob) bytes = bytes_of("picture");
    struct push_identity next = first;
    for (int i = 0; i <= PUSH_LEFTOVERS_MAX; i++) {
        push_leftovers_add(&l, id, &next, bytes);
        next.inode++;
    }
    assert_false(push_leftovers_take(&l, &first, bytes, found));
    next.inode--;
    assert_true(push_leftovers_take(&l, &next, bytes, found));
    clock_set_mono_source(test_mono);
    push_leftovers_add(&l, id, &first, bytes);
    now_us += INT64_C(1000) * PUSH_LEFTOVER_MS;
    assert_false(push_leftovers_take(&l, &first, bytes, found));
    clock_set_mono_source(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_the_file_with_another_time_and_once),
        cmocka_unit_test(knows_no_other_file_and_no_other_bytes),
        cmocka_unit_test(forgets_after_a_while_and_the_oldest_first),
    };
    return RUN_TESTS(tests);
}
