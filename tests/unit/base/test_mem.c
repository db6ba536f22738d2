#include "../test.h"

#include <sys/resource.h>
#include <sys/wait.h>

#include "base/mem.h"

static void copies(void **state UNUSED)
{
    AUTO_FREE char *a = xstrdup("abc");
    AUTO_FREE char *b = xstrndup("abcdef", 3);
    AUTO_FREE char *c = xasprintf("%d-%s", 7, "x");
    AUTO_FREE void *d = xmemdup("abc", 0);
    assert_string_equal(a, "abc");
    assert_string_equal(b, "abc");
    assert_string_equal(c, "7-x");
    assert_non_null(d);
    assert_null(xstrdup(NULL));
}

static void zeroes_and_grows(void **state UNUSED)
{
    AUTO_FREE unsigned char *p = xcalloc(16, 4);
    for (size_t i = 0; i < 64; i++)
        assert_int_equal(p[i], 0);
    p[63] = 9;
    p = xrealloc(p, 4096);
    assert_int_equal(p[63], 9);
    AUTO_FREE void *nothing = xmalloc(0);
    assert_non_null(nothing);
}

static void refuses_more_than_the_maximum(void **state UNUSED)
{
    AUTO_FREE void *fits = mem_try_alloc(10, 10, 100);
    assert_non_null(fits);
    assert_null(mem_try_alloc(101, 1, 100));
    assert_null(mem_try_alloc(1, 101, 100));
    AUTO_FREE void *none = mem_try_alloc(0, 10, 0);
    assert_non_null(none);
}

static void refuses_a_product_that_overflows(void **state UNUSED)
{
    assert_null(mem_try_alloc(SIZE_MAX, 2, SIZE_MAX));
    assert_null(mem_try_alloc(SIZE_MAX / 2 + 1, 2, SIZE_MAX));
    AUTO_FREE char *p = mem_try_alloc(4, 1, 4);
    memcpy(p, "abc", 4);
    assert_null(mem_try_realloc(p, SIZE_MAX, 2, SIZE_MAX));
    assert_string_equal(p, "abc"); /* a refused growth leaves the old block alone */
}

static void fails_the_nth_time_when_told(void **state UNUSED)
{
    mem_fail_at(3);
    AUTO_FREE void *a = mem_try_alloc(1, 1, 1);
    AUTO_FREE void *b = mem_try_alloc(1, 1, 1);
    assert_non_null(a);
    assert_non_null(b);
    assert_null(mem_try_alloc(1, 1, 1));
    AUTO_FREE void *d = mem_try_alloc(1, 1, 1);
    assert_non_null(d);
    assert_int_equal(mem_try_count(), 4);
    mem_fail_at(0);
    assert_int_equal(mem_try_count(), 0);
}

/* Without memory the process says so and ends; it must not run on with NULL. */
static void ends_with_a_sentence_without_memory(void **state UNUSED)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip(); /* the sanitizers need the address space themselves */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
    skip();
#endif
#endif
    int channel[2];
    assert_int_equal(pipe(channel), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)dup2(channel[1], STDERR_FILENO);
        struct rlimit limit = {1 << 20, 1 << 20};
        (void)setrlimit(RLIMIT_AS, &limit);
        (void)!xmalloc((size_t)1 << 28);
        _exit(42);
    }
    (void)close(channel[1]);
    char text[200] = "";
    assert_true(read(channel[0], text, sizeof(text) - 1) > 0);
    (void)close(channel[0]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
    assert_non_null(strstr(text, "snapshotd: out of memory"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies),
        cmocka_unit_test(zeroes_and_grows),
        cmocka_unit_test(refuses_more_than_the_maximum),
        cmocka_unit_test(refuses_a_product_that_overflows),
        cmocka_unit_test(fails_the_nth_time_when_told),
        cmocka_unit_test(ends_with_a_sentence_without_memory),
    };
    return RUN_TESTS(tests);
}
