#include "../test.h"

#include <pthread.h>
#include <stdatomic.h>

#include "stage/claims.h"

static void gives_a_row_to_one_worker(void **state UNUSED)
{
    struct claims *c = claims_new();
    assert_true(claims_take(c, 7));
    assert_false(claims_take(c, 7));
    assert_true(claims_take(c, 8));
    claims_drop(c, 7);
    assert_true(claims_take(c, 7));
    claims_drop(c, 9); /* nobody's: no harm */
    assert_false(claims_take(c, 8));
    claims_free(c);
    claims_free(NULL);
}

static void gives_no_more_than_there_is_room_for(void **state UNUSED)
{
    struct claims *c = claims_new();
    for (int64_t row = 1; row <= CLAIMS_MAX; row++)
        assert_true(claims_take(c, row));
    assert_false(claims_take(c, CLAIMS_MAX + 1));
    claims_drop(c, 1);
    assert_true(claims_take(c, CLAIMS_MAX + 1));
    assert_false(claims_take(c, 1));
    claims_free(c);
}

static struct claims *shared;
static atomic_int holders, collisions;

static void *fight(void *arg UNUSED)
{
    for (int i = 0; i < 5000; i++) {
        if (!claims_take(shared, 42))
            continue;
        if (atomic_fetch_add(&holders, 1) != 0)
            atomic_fetch_add(&collisions, 1);
        atomic_fetch_sub(&holders, 1);
        claims_drop(shared, 42);
    }
    return NULL;
}

static void gives_a_row_to_one_of_many_threads(void **state UNUSED)
{
    shared = claims_new();
    pthread_t threads[4];
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, fight, NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&collisions), 0);
    claims_free(shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_a_row_to_one_worker),
        cmocka_unit_test(gives_no_more_than_there_is_room_for),
        cmocka_unit_test(gives_a_row_to_one_of_many_threads),
    };
    return RUN_TESTS(tests);
}
