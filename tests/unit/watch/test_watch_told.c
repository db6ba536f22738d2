#include "../test.h"

#include "watch/watch_told.h"

/* A generator of one's own, so that a run finds the same as the last one. */
static uint64_t next(uint64_t *state)
{
    *state = *state * 6364136223846793005U + 1442695040888963407U;
    return *state >> 33;
}

static void agrees_with_a_plain_array(void **state UNUSED)
{
    enum { KEYS = 300 };
    uint64_t identities[KEYS] = {0}, seed = 7;
    size_t used = 0;
    struct watch_told t;
    watch_told_init(&t, KEYS);
    for (int i = 0; i < 200000; i++) {
        size_t k = next(&seed) % KEYS;
        /* Few homes and many keys for each, also at the end of the table; key 0 among them. */
        struct watch_told_entry e = {.key = (k % 5) * 16 + (k / 5) * 65536,
                                     .identity = 1 + next(&seed) % 2};
        switch (next(&seed) % 8) {
        case 0:
        case 1:
        case 2:
            used += identities[k] == 0;
            assert_true(watch_told_add(&t, &e));
            identities[k] = e.identity;
            break;
        case 3:
        case 4:
            used -= identities[k] != 0;
            watch_told_remove(&t, e.key);
            identities[k] = 0;
            break;
        default:
            assert_int_equal(watch_told_has(&t, &e), identities[k] == e.identity);
        }
        assert_int_equal(t.used, used);
    }
    watch_told_done(&t);
}

static void refuses_more_than_its_maximum(void **state UNUSED)
{
    struct watch_told t;
    watch_told_init(&t, 100);
    for (uint64_t k = 1; k <= 100; k++)
        assert_true(watch_told_add(&t, &(struct watch_told_entry){.key = k, .identity = 1}));
    assert_false(watch_told_add(&t, &(struct watch_told_entry){.key = 101, .identity = 1}));
    /* A known path with a new file needs no room. */
    assert_true(watch_told_add(&t, &(struct watch_told_entry){.key = 50, .identity = 2}));
    assert_true(watch_told_has(&t, &(struct watch_told_entry){.key = 50, .identity = 2}));
    watch_told_remove(&t, 1);
    assert_true(watch_told_add(&t, &(struct watch_told_entry){.key = 101, .identity = 1}));
    watch_told_done(&t);
}

static bool is_even(const struct watch_told_entry *e, const void *arg UNUSED)
{
    return e->identity % 2 == 0;
}

static void gives_memory_back(void **state UNUSED)
{
    struct watch_told t;
    watch_told_init(&t, 1000000);
    for (uint64_t k = 1; k <= 100000; k++)
        assert_true(watch_told_add(
            &t, &(struct watch_told_entry){.key = k * 0x9e3779b97f4a7c15, .identity = k}));
    size_t large = t.capacity;
    for (uint64_t k = 1; k <= 99000; k++)
        watch_told_remove(&t, k * 0x9e3779b97f4a7c15);
    assert_int_equal(t.used, 1000);
    assert_true(t.capacity <= large / 16);
    for (uint64_t k = 99001; k <= 100000; k++)
        assert_true(watch_told_has(
            &t, &(struct watch_told_entry){.key = k * 0x9e3779b97f4a7c15, .identity = k}));
    watch_told_done(&t);
}

static void sweeps_what_is_not_kept(void **state UNUSED)
{
    struct watch_told t;
    watch_told_init(&t, 1000);
    for (uint64_t k = 1; k <= 47; k++)
        assert_true(watch_told_add(&t, &(struct watch_told_entry){.key = k, .identity = k}));
    watch_told_sweep(&t, is_even, NULL);
    assert_int_equal(t.used, 23);
    for (uint64_t k = 1; k <= 47; k++)
        assert_int_equal(watch_told_has(&t, &(struct watch_told_entry){.key = k, .identity = k}),
                         k % 2 == 0);
    watch_told_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_a_plain_array),
        cmocka_unit_test(refuses_more_than_its_maximum),
        cmocka_unit_test(gives_memory_back),
        cmocka_unit_test(sweeps_what_is_not_kept),
    };
    return RUN_TESTS(tests);
}
