#include "../test.h"

#include <pthread.h>

#include "base/blob.h"
#include "base/mem.h"

static void count_release(void *arg)
{
    ++*(int *)arg;
}

static void keeps_the_bytes(void **state UNUSED)
{
    char source[] = "picture";
    AUTO(blob) b = blob_new_copy(source, sizeof(source));
    source[0] = 'X';
    assert_int_equal(b->size, sizeof(source));
    assert_string_equal((const char *)b->data, "picture");
    AUTO(blob) empty = blob_new_copy(NULL, 0);
    assert_int_equal(empty->size, 0);
}

static void releases_once_with_the_last_reference(void **state UNUSED)
{
    size_t before = blob_live_count();
    int released = 0;
    struct blob *b = blob_new_hook("x", 1, count_release, &released);
    assert_ptr_equal(blob_ref(b), b);
    assert_int_equal(blob_live_count(), before + 1);
    blob_unref(b);
    assert_int_equal(released, 0);
    blob_unref(b);
    assert_int_equal(released, 1);
    assert_int_equal(blob_live_count(), before);
}

static void takes_a_buffer_and_nothing(void **state UNUSED)
{
    AUTO(blob) b = blob_new_take(xstrdup("mine"), 4);
    assert_int_equal(b->size, 4);
    assert_null(blob_ref(NULL));
    blob_unref(NULL);
    AUTO(blob) constant = blob_new_hook("static", 6, NULL, NULL);
    assert_int_equal(constant->size, 6);
}

static void says_when_there_is_no_memory(void **state UNUSED)
{
    mem_fail_at(1);
    assert_null(blob_new_copy("abc", 3));
    mem_fail_at(0);
}

static void *ref_and_unref(void *arg)
{
    for (int i = 0; i < 20000; i++) {
        struct blob *mine = blob_ref(arg);
        blob_unref(mine);
    }
    blob_unref(arg);
    return NULL;
}

static void counts_references_of_many_threads(void **state UNUSED)
{
    int released = 0;
    struct blob *b = blob_new_hook("x", 1, count_release, &released);
    pthread_t threads[4];
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ref_and_unref, blob_ref(b)), 0);
    blob_unref(b);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(released, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_the_bytes),
        cmocka_unit_test(releases_once_with_the_last_reference),
        cmocka_unit_test(takes_a_buffer_and_nothing),
        cmocka_unit_test(says_when_there_is_no_memory),
        cmocka_unit_test(counts_references_of_many_threads),
    };
    return RUN_TESTS(tests);
}
