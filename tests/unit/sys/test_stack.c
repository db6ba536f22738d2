#include "../test.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "sys/stack.h"

void test_stack_hang_here(void); /* exported, so that it has a name */

static sem_t there, go;
static atomic_bool blocked;

__attribute__((noinline)) void test_stack_hang_here(void)
{
    sem_post(&there);
    while (sem_wait(&go) < 0)
        ;
}

static void *hang(void *arg UNUSED)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    if (!atomic_load(&blocked))
        stack_thread_ready();
    test_stack_hang_here();
    return NULL;
}

static pthread_t start(bool deaf)
{
    pthread_t thread;
    atomic_store(&blocked, deaf);
    sem_init(&there, 0, 0);
    sem_init(&go, 0, 0);
    assert_int_equal(pthread_create(&thread, NULL, hang, NULL), 0);
    while (sem_wait(&there) < 0)
        ;
    return thread;
}

static void end(pthread_t thread)
{
    sem_post(&go);
    pthread_join(thread, NULL);
}

static void names_the_function_that_a_thread_hangs_in(void **state UNUSED)
{
    pthread_t thread = start(false);
    uintptr_t pcs[STACK_DEPTH_MAX];
    /* More than once: a request leaves nothing behind. */
    for (int round = 0; round < 3; round++) {
        size_t n = stack_of_thread(thread, 20000, pcs, STACK_DEPTH_MAX);
        assert_true(n >= 3 && n <= STACK_DEPTH_MAX);
        bool found = false;
        for (size_t i = 0; i < n; i++) {
            char name[160];
            stack_name(pcs[i], name, sizeof(name));
            found |= strncmp(name, "test_stack_hang_here+0x", 23) == 0;
        }
        assert_true(found);
    }
    end(thread);
}

static void gives_up_a_thread_that_does_not_answer(void **state UNUSED)
{
    pthread_t deaf = start(true);
    uintptr_t pcs[STACK_DEPTH_MAX];
    assert_int_equal(stack_of_thread(deaf, 30, pcs, STACK_DEPTH_MAX), 0);
    end(deaf);
    /* What comes too late is not taken for the next answer. */
    pthread_t thread = start(false);
    assert_true(stack_of_thread(thread, 20000, pcs, STACK_DEPTH_MAX) > 0);
    end(thread);
}

static void takes_no_more_than_asked_for(void **state UNUSED)
{
    pthread_t thread = start(false);
    uintptr_t pcs[3] = {0};
    assert_int_equal(stack_of_thread(thread, 20000, pcs, 2), 2);
    assert_true(pcs[0] && pcs[1] && !pcs[2]);
    end(thread);
}

static void names_static_functions_too(void **state UNUSED)
{
    char name[64];
    test_expect_text("static", stack_name((uintptr_t)hang, name, sizeof(name)), "hang+0x0");
    test_expect_text("nothing", stack_name(1, name, sizeof(name)), "0x1");
    /* Of a library, and none that a sanitizer puts its own in place of. */
    test_expect_text("a64l", stack_name((uintptr_t)a64l, name, sizeof(name)), "a64l+0x0");
}

int main(void)
{
    stack_enable();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_the_function_that_a_thread_hangs_in),
        cmocka_unit_test(gives_up_a_thread_that_does_not_answer),
        cmocka_unit_test(takes_no_more_than_asked_for),
        cmocka_unit_test(names_static_functions_too),
    };
    return RUN_TESTS(tests);
}
