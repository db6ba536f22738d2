#include "../test.h"

#include <pthread.h>

#include "base/mem.h"
#include "stage/cache.h"

static void put(struct picture_cache *c, const char *id, size_t size)
{
    AUTO(blob) b = blob_new_take(xcalloc(1, size ? size : 1), size);
    picture_cache_put(c, id, b);
}

static bool has(struct picture_cache *c, const char *id)
{
    AUTO(blob) b = picture_cache_get(c, id);
    return b != NULL;
}

static void drops_the_least_recently_used_by_bytes(void **state UNUSED)
{
    size_t blobs = blob_live_count();
    struct picture_cache *c = picture_cache_new(100);
    put(c, "a", 40);
    put(c, "b", 40);
    assert_int_equal(picture_cache_bytes(c), 80);
    assert_true(has(c, "a")); /* now b is the oldest */
    put(c, "c", 30);
    assert_true(has(c, "a"));
    assert_false(has(c, "b"));
    assert_true(has(c, "c"));
    assert_int_equal(picture_cache_bytes(c), 70);
    put(c, "d", 100); /* exactly the limit: all others go */
    assert_true(has(c, "d"));
    assert_false(has(c, "a"));
    assert_int_equal(picture_cache_bytes(c), 100);
    picture_cache_free(c);
    assert_int_equal(blob_live_count(), blobs);
    picture_cache_free(NULL);
}

static void keeps_the_others_when_one_is_too_large(void **state UNUSED)
{
    struct picture_cache *c = picture_cache_new(100);
    put(c, "a", 60);
    put(c, "huge", 101);
    assert_true(has(c, "a"));
    assert_false(has(c, "huge"));
    picture_cache_free(c);
}

static void replaces_an_entry(void **state UNUSED)
{
    struct picture_cache *c = picture_cache_new(100);
    put(c, "a", 60);
    put(c, "a", 50);
    assert_int_equal(picture_cache_bytes(c), 50);
    AUTO(blob) b = picture_cache_get(c, "a");
    assert_int_equal(b->size, 50);
    picture_cache_free(c);
    assert_int_equal(b->data[0], 0); /* a reader's reference outlives the cache */
}

static void keeps_nothing_when_it_may_keep_nothing(void **state UNUSED)
{
    struct picture_cache *c = picture_cache_new(0);
    put(c, "a", 1);
    assert_false(has(c, "a"));
    assert_int_equal(picture_cache_bytes(c), 0);
    picture_cache_free(c);
}

static void bounds_the_number_of_tiny_pictures(void **state UNUSED)
{
    size_t blobs = blob_live_count();
    struct picture_cache *c = picture_cache_new(1 << 20);
    for (int i = 0; i < 3000; i++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "%d", i);
        put(c, id, 1);
    }
    assert_true(blob_live_count() - blobs <= 1024);
    assert_true(has(c, "2999"));
    assert_false(has(c, "0"));
    picture_cache_free(c);
}

static void *use(void *arg)
{
    for (int i = 0; i < 2000; i++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "%d", i % 17);
        put(arg, id, (size_t)(i % 50));
        AUTO(blob) b = picture_cache_get(arg, id);
    }
    return NULL;
}

static void serves_many_threads(void **state UNUSED)
{
    size_t blobs = blob_live_count();
    struct picture_cache *c = picture_cache_new(200);
    pthread_t threads[4];
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, use, c), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
    assert_true(picture_cache_bytes(c) <= 200);
    picture_cache_free(c);
    assert_int_equal(blob_live_count(), blobs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(drops_the_least_recently_used_by_bytes),
        cmocka_unit_test(keeps_the_others_when_one_is_too_large),
        cmocka_unit_test(replaces_an_entry),
        cmocka_unit_test(keeps_nothing_when_it_may_keep_nothing),
        cmocka_unit_test(bounds_the_number_of_tiny_pictures),
        cmocka_unit_test(serves_many_threads),
    };
    return RUN_TESTS(tests);
}
