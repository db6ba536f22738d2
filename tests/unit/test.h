#pragma once
/* What the unit tests share: cmocka with the headers that it wants first, the runner, a folder of
 * one's own that goes away, and a way to wait for a thing instead of sleeping. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/macros.h"

#define RUN_TESTS(tests) cmocka_run_group_tests(tests, NULL, NULL)

/* A failed case of a table says which one it was. */
#define CASE_FAILS(...)                                                                            \
    do {                                                                                           \
        print_message("# case: " __VA_ARGS__);                                                     \
        print_message("\n");                                                                       \
        fail();                                                                                    \
    } while (0)

static inline UNUSED void test_expect_text(const char *what, const char *got, const char *wanted)
{
    if (strcmp(got, wanted) != 0)
        CASE_FAILS("%s: got \"%s\", wanted \"%s\"", what, got, wanted);
}

/* A fresh folder; its descriptor and, when wanted, its path. */
static inline UNUSED int test_folder_new(char path[64])
{
    const char *place = getenv("SNAPSHOT_TEST_FOLDER"); /* short: on another file system */
    assert_in_range(snprintf(path, 64, "%s/snapshotd-test-XXXXXX", place ? place : "/tmp"), 1, 63);
    assert_non_null(mkdtemp(path));
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static inline UNUSED int test_remove_one(const char *path, const struct stat *st UNUSED,
                                         int kind UNUSED, struct FTW *ftw UNUSED)
{
    return remove(path);
}

static inline UNUSED void test_folder_remove(const char *path, int fd)
{
    (void)close(fd);
    assert_int_equal(nftw(path, test_remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

/* Waits for a semaphore; a thing that does not come within 20 s will not come at all. */
static inline UNUSED void test_wait(sem_t *sem)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    assert_int_equal(sem_timedwait(sem, &until), 0);
}

static inline UNUSED int test_count_fds(void)
{
    int n = 0;
    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}
