/* What the kernel grants: its queue of events, and its number of inotify watches. Both tests make
 * it run out in earnest. The files of a flood are 2,000 by default; with WATCH_FLOOD=50000 they are
 * as many as the goal for watched folders wants, and as root max_queued_events is 16 meanwhile. */

#include "fixture.h"

#include <sched.h>
#include <sys/wait.h>

#include "base/parse.h"

#define QUEUE_LIMIT "/proc/sys/fs/inotify/max_queued_events"

static bool read_number_of(const char *path, char ret[32])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, ret, 31);
    if (fd >= 0)
        (void)close(fd);
    if (n <= 0)
        return false;
    ret[n] = '\0';
    return true;
}

static bool write_number(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        (void)close(fd);
    return ok;
}

static int flood_size(void)
{
    const char *text = getenv("WATCH_FLOOD");
    int64_t n = 2000;
    if (text)
        assert_int_equal(parse_int64(text, strlen(text), 100, 1000000, &n), 0);
    return (int)n;
}

/* Each file is its number: how often it was told. */
static void take_numbers(struct fixture *f, uint8_t *told, int count)
{
    while (watch_next(f->w, &f->last) == 1) {
        const char *name = strrchr(f->last.path, '/');
        name = name ? name + 1 : f->last.path;
        int64_t n;
        assert_int_equal(parse_int64(name, strcspn(name, "."), 0, count - 1, &n), 0);
        assert_int_equal(f->last.size, n % 100 + 1);
        told[n]++;
    }
}

static int64_t take_for(struct fixture *f, uint8_t *told, int count, int64_t ms)
{
    int64_t end_us = test_now_us + ms * 1000, turns = 0;
    for (;; turns++) {
        int64_t wait_ms = watch_turn(f->w);
        take_numbers(f, told, count);
        if (wait_ms > 0 && test_now_us >= end_us)
            return turns;
        test_now_us += MIN(wait_ms * 1000, end_us - test_now_us);
    }
}

static void put_number(struct fixture *f, int folder, int n)
{
    static const char bytes[100];
    char path[64], temporary[64];
    (void)snprintf(path, sizeof(path), "f%d/%d.jpg", folder, n);
    (void)snprintf(temporary, sizeof(temporary), "f%d/.%d", folder, n);
    const char *first = n % 3 == 0 ? temporary : path;
    int fd = open_file(f, first, O_CREAT);
    assert_int_equal(write(fd, bytes, (size_t)n % 100 + 1), n % 100 + 1);
    assert_int_equal(close(fd), 0);
    if (n % 3 == 0)
        rename_file(f, temporary, path);
}

/* The queue is set for each inotify descriptor when it is made. */
static void begin_with_queue(struct fixture *f, const char *limit)
{
    char before[32];
    bool lowered = limit && read_number_of(QUEUE_LIMIT, before) && write_number(QUEUE_LIMIT, limit);
    begin(f);
    if (lowered)
        assert_true(write_number(QUEUE_LIMIT, before));
    else if (limit)
        print_message("# %s stays as it is, not being root\n", QUEUE_LIMIT);
}

/* The folder of a running number: a thousand in most, and half of all in one. */
static int folder_of_number(int n)
{
    return n % 2 ? 0 : 1 + n / 2000;
}

static void each_file_of_a_flood_is_told_once(void **state)
{
    struct fixture *f = *state;
    int count = flood_size();
    begin_with_queue(f, getenv("WATCH_FLOOD") ? "16" : NULL);
    uint8_t *told = xcalloc((size_t)count, 1);
    (void)take_for(f, told, count, 0);
    for (int i = 0; i <= 1 + count / 2000; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "f%d", i);
        make_folder(f, name);
    }
    for (int n = 0; n < count; n++) {
        put_number(f, folder_of_number(n), n);
        /* Read now and then, in the middle of it. */
        if (n % 997 == 0)
            (void)take_for(f, told, count, 20);
    }
    /* More than the usual queue of 16,384 holds. */
    write_file(f, "f0/.noise", "x");
    for (int i = 0; i < 10000; i++) {
        rename_file(f, "f0/.noise", "f0/.louder");
        rename_file(f, "f0/.louder", "f0/.noise");
    }
    (void)take_for(f, told, count, LONG_MS);
    for (int n = 0; n < count; n++)
        if (told[n] != 1)
            CASE_FAILS("file %d was told %d times", n, told[n]);
    free(told);
    struct watch_counts c;
    watch_counts(f->w, &c);
    assert_true(c.overflows > 0 && c.rescans > 0);
    assert_true(c.rescans <= c.overflows);
    print_message("# %d files, %lld overflows, %lld rescans\n", count, (long long)c.overflows,
                  (long long)c.rescans);
    assert_int_equal(c.kept, count);
    assert_int_equal(c.settling, 0);
    assert_int_equal(f->logged_count, 1);
    assert_non_null(strstr(f->logged[0], "watch-overflow: "));
}

/* The looks are made in pieces, so that a flood does not keep the caller from other things. */
static void a_large_folder_is_looked_at_in_pieces(void **state)
{
    struct fixture *f = *state;
    int count = flood_size();
    assert_int_equal(mkdir(f->root, 0755), 0);
    make_folder(f, "f0");
    for (int n = 0; n < count; n++)
        put_number(f, 0, n);
    begin(f);
    int turns = 0;
    while (watch_turn(f->w) == 0)
        turns++;
    assert_in_range(turns, count / 1000, count / 100);
    uint8_t *told = xcalloc((size_t)count, 1);
    (void)take_for(f, told, count, LONG_MS);
    for (int n = 0; n < count; n++)
        assert_int_equal(told[n], 1);
    free(told);
}

/* In a user namespace of its own, with its own limit. 0 = well, else the line where it was not. */
#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition))                                                                          \
            return __LINE__;                                                                       \
    } while (0)
#define CANNOT (-1)
#define WATCHES_LIMIT "/proc/sys/user/max_inotify_watches"

static int with_few_watches(struct fixture *f)
{
    if (unshare(CLONE_NEWUSER) < 0 || !write_number(WATCHES_LIMIT, "4"))
        return CANNOT;
    begin(f);
    pass(f, 0);
    for (int i = 0; i < 8; i++) {
        char path[16];
        (void)snprintf(path, sizeof(path), "f%d", i);
        make_folder(f, path);
        (void)snprintf(path, sizeof(path), "f%d/in", i);
        make_folder(f, path);
    }
    struct watch_counts c;
    pass(f, 0);
    watch_counts(f->w, &c);
    EXPECT(c.folders == 17 && c.polled == 13 && c.polling);
    EXPECT(strstr(watch_trouble(f->w), "raise fs.inotify.max_user_watches"));
    EXPECT(f->logged_count == 1 && strstr(f->logged[0], "watch-limit: "));
    for (int i = 0; i < 8; i++) {
        char path[24];
        (void)snprintf(path, sizeof(path), "f%d/in/a.jpg", i);
        write_file(f, path, "a");
    }
    pass(f, POLL_MS + UNSURE_MS);
    EXPECT(f->told_count == 8);
    forget_told(f);
    /* Somebody does what the log says. */
    EXPECT(write_number(WATCHES_LIMIT, "1000"));
    pass(f, 90000);
    watch_counts(f->w, &c);
    EXPECT(c.polled == 0 && !c.polling && watch_trouble(f->w)[0] == '\0');
    EXPECT(f->told_count == 0 && f->logged_count == 1);
    write_file(f, "f7/in/b.jpg", "b");
    pass(f, SETTLE_MS);
    EXPECT(f->told_count == 1);
    return 0;
}

static void without_watches_left_a_part_is_polled(void **state)
{
    int told[2], line = 0;
    assert_int_equal(pipe(told), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        line = with_few_watches(*state);
        _exit(write(told[1], &line, sizeof(line)) != sizeof(line));
    }
    (void)close(told[1]);
    ssize_t n = read(told[0], &line, sizeof(line));
    (void)close(told[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(n, sizeof(line));
    if (line == CANNOT)
        skip();
    if (line != 0)
        CASE_FAILS("not so at line %d", line);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up_in_memory, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_file_of_a_flood_is_told_once),
        TEST(a_large_folder_is_looked_at_in_pieces),
        TEST(without_watches_left_a_part_is_polled),
    };
    return RUN_TESTS(tests);
}
