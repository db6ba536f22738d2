#pragma once
/* A folder, a watch of it, and a clock that stands still: what the kernel tells, it tells within
 * the call that causes it, so nothing here has to wait. */

#include "../test.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/log.h"
#include "base/mem.h"
#include "watch/watch.h"

#define SETTLE_MS 300
#define UNSURE_MS 2000
#define POLL_MS 10000
/* Everything that can settle has settled after that. */
#define LONG_MS (3 * POLL_MS)
#define TOLD_MAX 64

struct fixture {
    char home[64]; /* the root is a folder in it */
    char root[80];
    int fd, fds_before;
    struct watch_options o;
    struct watch *w;
    char *told[TOLD_MAX]; /* the first ones, with their size: "a/b.jpg 12" */
    int told_count;
    struct watch_file last;
    char logged[8][512];
    int logged_count;
};

static int64_t test_now_us, test_wall_us;

static struct mono_time test_mono(void)
{
    return (struct mono_time){test_now_us};
}
static struct wall_time test_wall(void)
{
    return (struct wall_time){test_wall_us};
}

static bool keep_line(enum log_level level, const char *id, const char *text, void *arg)
{
    struct fixture *f = arg;
    if (level <= LOG_LEVEL_NOTICE && f->logged_count < (int)ARRAY_LEN(f->logged))
        (void)snprintf(f->logged[f->logged_count++], sizeof(f->logged[0]), "%s: %s", id, text);
    return true;
}

/* Many changes are quicker where they do not wait for a disk. */
static int new_home(char path[64], bool in_memory)
{
    (void)snprintf(path, 64, "/dev/shm/snapshotd-test-XXXXXX");
    if (!in_memory || !mkdtemp(path))
        return test_folder_new(path);
    return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static UNUSED int set_up_in(void **state, bool in_memory)
{
    struct fixture *f = xcalloc(1, sizeof(*f));
    f->fds_before = test_count_fds();
    test_now_us = 5000000;
    test_wall_us = INT64_C(1767323045000000);
    clock_set_mono_source(test_mono);
    clock_set_wall_source(test_wall);
    f->fd = new_home(f->home, in_memory);
    (void)snprintf(f->root, sizeof(f->root), "%s/root", f->home);
    log_set_hook(keep_line, f);
    f->o = (struct watch_options){.root = f->root,
                                  .recursive = true,
                                  .poll_ms = POLL_MS,
                                  .settle_ms = SETTLE_MS,
                                  .settle_unsure_ms = UNSURE_MS};
    *state = f;
    return 0;
}

static UNUSED int set_up(void **state)
{
    return set_up_in(state, false);
}

static UNUSED int set_up_in_memory(void **state)
{
    return set_up_in(state, true);
}

static UNUSED int tear_down(void **state)
{
    struct fixture *f = *state;
    watch_free(f->w);
    test_folder_remove(f->home, f->fd);
    for (int i = 0; i < MIN(f->told_count, TOLD_MAX); i++)
        free(f->told[i]);
    log_set_hook(NULL, NULL);
    clock_set_mono_source(NULL);
    clock_set_wall_source(NULL);
    int leaked = test_count_fds() - f->fds_before;
    free(f);
    return leaked ? -1 : 0;
}

/* The watch of the root, which is made when it is not there. */
static UNUSED void begin(struct fixture *f)
{
    (void)mkdir(f->root, 0755);
    struct err e = {0};
    if (watch_new(&f->o, &f->w, &e) < 0)
        CASE_FAILS("%s", e.text);
}

static UNUSED void take_all(struct fixture *f)
{
    while (watch_next(f->w, &f->last) == 1) {
        if (f->told_count < TOLD_MAX)
            f->told[f->told_count] = xasprintf("%s %lld", f->last.path, (long long)f->last.size);
        f->told_count++;
    }
}

/* Lets so much time pass, as a loop around poll() would. */
static UNUSED void pass(struct fixture *f, int64_t ms)
{
    int64_t end_us = test_now_us + ms * 1000;
    for (int64_t turns = 0;; turns++) {
        int64_t wait_ms = watch_turn(f->w);
        assert_true(wait_ms >= 0 && wait_ms <= POLL_MS);
        take_all(f);
        if (wait_ms > 0 && test_now_us >= end_us)
            return;
        int64_t step_us = MIN(wait_ms * 1000, end_us - test_now_us);
        test_now_us += step_us;
        test_wall_us += step_us;
        assert_true(turns < 1000000); /* it does not spin */
    }
}

static UNUSED void forget_told(struct fixture *f)
{
    for (int i = 0; i < MIN(f->told_count, TOLD_MAX); i++)
        free(f->told[i]);
    f->told_count = 0;
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* What was told since the last time, sorted, separated by "; ". */
static UNUSED void expect_told(struct fixture *f, const char *wanted)
{
    char got[4096] = "";
    int count = MIN(f->told_count, TOLD_MAX);
    qsort(f->told, (size_t)count, sizeof(f->told[0]), compare_texts);
    for (int i = 0; i < count; i++) {
        size_t at = strlen(got);
        (void)snprintf(got + at, sizeof(got) - at, "%s%s", i > 0 ? "; " : "", f->told[i]);
    }
    test_expect_text("told", got, wanted);
    forget_told(f);
}

/* In the root. */
static UNUSED char *in_root(const struct fixture *f, const char *path)
{
    static char full[4][WATCH_PATH_MAX + 100];
    static int turn;
    turn = (turn + 1) % 4;
    (void)snprintf(full[turn], sizeof(full[0]), "%s/%s", f->root, path);
    return full[turn];
}

static UNUSED int open_file(const struct fixture *f, const char *path, int flags)
{
    int fd = open(in_root(f, path), O_WRONLY | O_CLOEXEC | flags, 0644);
    assert_true(fd >= 0);
    return fd;
}

static UNUSED void put(int fd, const char *text)
{
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static UNUSED void write_file(const struct fixture *f, const char *path, const char *text)
{
    int fd = open_file(f, path, O_CREAT | O_TRUNC);
    put(fd, text);
    assert_int_equal(close(fd), 0);
}

static UNUSED void make_folder(const struct fixture *f, const char *path)
{
    assert_int_equal(mkdir(in_root(f, path), 0755), 0);
}

static UNUSED void rename_file(const struct fixture *f, const char *from, const char *to)
{
    assert_int_equal(rename(in_root(f, from), in_root(f, to)), 0);
}
