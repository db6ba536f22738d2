/* Hashes on a thread of their own, and how often somebody may try. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "web/access_hash.h"
#include "web/access_limit.h"

/* What the thread has told. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static char told[64][ACCESS_HASH_KEY_MAX];
static size_t told_count;

static void wake(void *arg, const char *key)
{
    (void)arg;
    pthread_mutex_lock(&lock);
    (void)snprintf(told[told_count++ % 64], ACCESS_HASH_KEY_MAX, "%s", key);
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static enum access_hash_state outcome(struct access_hash *h, const char *key,
                                      char hash[PASSWD_HASH_MAX])
{
    pthread_mutex_lock(&lock);
    for (;;) {
        bool there = false;
        for (size_t i = 0; i < told_count && i < 64; i++)
            there = there || strcmp(told[i], key) == 0;
        if (there)
            break;
        pthread_cond_wait(&changed, &lock);
    }
    pthread_mutex_unlock(&lock);
    return access_hash_outcome(h, key, hash);
}

static int set_up(void **state)
{
    told_count = 0;
    *state = access_hash_new(wake, NULL);
    return 0;
}

static int tear_down(void **state)
{
    access_hash_free(*state);
    return 0;
}

static void tells_right_from_wrong(void **state)
{
    struct access_hash *h = *state;
    struct err e;
    char key[ACCESS_HASH_KEY_MAX], hash[PASSWD_HASH_MAX], fresh[PASSWD_HASH_MAX];
    assert_int_equal(passwd_hash("a quiet porch", hash, &e), 0);
    const struct {
        struct access_hash_job job;
        enum access_hash_state state;
    } cases[] = {
        {{.password = "a quiet porch", .hash = hash}, ACCESS_HASH_DONE},
        {{.password = "a loud porch", .hash = hash}, ACCESS_HASH_WRONG},
        {{.password = "", .hash = hash}, ACCESS_HASH_WRONG},
        {{.password = "a quiet porch"}, ACCESS_HASH_WRONG}, /* nobody's */
        {{.fresh = "staple in the rain"}, ACCESS_HASH_DONE},
        {{.password = "a quiet porch", .hash = hash, .fresh = "staple in the rain"},
         ACCESS_HASH_DONE},
        {{.password = "a loud porch", .hash = hash, .fresh = "staple in the rain"},
         ACCESS_HASH_WRONG},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(access_hash_begin(h, &cases[i].job, key, &e), 0);
        assert_int_equal(outcome(h, key, fresh), cases[i].state);
        if (cases[i].job.fresh && cases[i].state == ACCESS_HASH_DONE)
            assert_true(passwd_matches(fresh, cases[i].job.fresh));
        assert_int_equal(access_hash_outcome(h, key, NULL), ACCESS_HASH_GONE); /* once */
    }
}

static void the_queue_is_short(void **state)
{
    struct access_hash *h = *state;
    struct err e;
    char keys[ACCESS_HASH_QUEUE_MAX][ACCESS_HASH_KEY_MAX], key[ACCESS_HASH_KEY_MAX];
    struct access_hash_job job = {.password = "a quiet porch"};
    for (size_t i = 0; i < ACCESS_HASH_QUEUE_MAX; i++)
        assert_int_equal(access_hash_begin(h, &job, keys[i], &e), 0);
    assert_int_equal(access_hash_begin(h, &job, key, &e), -EBUSY);
    for (size_t i = 0; i < ACCESS_HASH_QUEUE_MAX; i++)
        assert_int_equal(outcome(h, keys[i], NULL), ACCESS_HASH_WRONG);
    for (size_t i = 0; i < ACCESS_HASH_QUEUE_MAX; i++)
        assert_string_equal(told[i], keys[i]); /* first come, first served */
    assert_int_equal(access_hash_begin(h, &job, key, &e), 0);
    assert_int_equal(outcome(h, key, NULL), ACCESS_HASH_WRONG);
}

static void ends_with_work_in_hand(void **state)
{
    struct access_hash *h = *state;
    struct err e;
    char key[ACCESS_HASH_KEY_MAX];
    struct access_hash_job job = {.password = "a quiet porch"};
    for (int i = 0; i < 3; i++)
        assert_int_equal(access_hash_begin(h, &job, key, &e), 0);
}

static double processor_ms(void)
{
    struct timespec t;
    assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t), 0);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* The other half of this is that both answers are the same; see test_access.c. */
static void nobody_takes_as_long_as_somebody(void **state)
{
    struct access_hash *h = *state;
    struct err e;
    char key[ACCESS_HASH_KEY_MAX], hash[PASSWD_HASH_MAX];
    assert_int_equal(passwd_hash("a quiet porch", hash, &e), 0);
    double ms[2] = {1e9, 1e9}; /* processor time, the least of some: noise moves that least */
    for (int i = 0; i < 10; i++) {
        struct access_hash_job job = {.password = "wrong wrong", .hash = i % 2 ? hash : NULL};
        double start = processor_ms();
        assert_int_equal(access_hash_begin(h, &job, key, &e), 0);
        assert_int_equal(outcome(h, key, NULL), ACCESS_HASH_WRONG);
        ms[i % 2] = MIN(ms[i % 2], processor_ms() - start);
    }
    if (ms[0] < ms[1] * 0.5 || ms[0] > ms[1] * 2) /* a missing hash would cost next to nothing */
        fail_msg("nobody %.1f ms, somebody %.1f ms", ms[0], ms[1]);
}

/* ---- limits ---- */

static int64_t now_us = 1000000000;

static struct mono_time fake_mono(void)
{
    return (struct mono_time){now_us};
}

static void tries_come_back_with_time(void **state)
{
    (void)state;
    clock_set_mono_source(fake_mono);
    AUTO(access_limit) l = access_limit_new(3, 6000);
    for (int i = 0; i < 3; i++)
        assert_int_equal(access_limit_take(l, "a"), 0);
    int64_t wait = access_limit_take(l, "a");
    assert_in_range(wait, 5999, 6001);
    assert_int_equal(access_limit_take(l, "b"), 0); /* others are not meant */
    now_us += 5000000;
    assert_in_range(access_limit_take(l, "a"), 999, 1001); /* asking costs nothing */
    now_us += 1001000;
    assert_int_equal(access_limit_take(l, "a"), 0);
    assert_true(access_limit_take(l, "a") > 0);
    access_limit_forgive(l, "a");
    assert_int_equal(access_limit_take(l, "a"), 0);
    assert_true(access_limit_take(l, "a") > 0); /* the tries before it stay tries */
    clock_set_mono_source(NULL);
}

static void many_keys_do_not_free_the_guesser(void **state)
{
    (void)state;
    clock_set_mono_source(fake_mono);
    AUTO(access_limit) l = access_limit_new(3, 6000);
    char key[32];
    for (int i = 0; i < 3; i++)
        assert_int_equal(access_limit_take(l, "guesser"), 0);
    for (int i = 0; i < 10 * ACCESS_LIMIT_KEYS; i++) {
        (void)snprintf(key, sizeof(key), "passer-by %d", i);
        assert_int_equal(access_limit_take(l, key), 0);
    }
    assert_true(access_limit_take(l, "guesser") > 0);
    clock_set_mono_source(NULL);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    static const struct CMUnitTest tests[] = {
        CASE(tells_right_from_wrong),
        CASE(the_queue_is_short),
        CASE(ends_with_work_in_hand),
        CASE(nobody_takes_as_long_as_somebody),
        cmocka_unit_test(tries_come_back_with_time),
        cmocka_unit_test(many_keys_do_not_free_the_guesser),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
