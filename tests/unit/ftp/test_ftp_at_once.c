/* Uploads of which nothing waits: only where that is so, and with the same outcome. */

#include "fixture.h"

#include <linux/magic.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#include "ftp/ftp_jail_internal.h"

static bool is_tmpfs(const char *path)
{
    struct statfs fs;
    return statfs(path, &fs) == 0 && fs.f_type == TMPFS_MAGIC;
}

static int set_up(void **state)
{
    ftp_beneath_by_parts(false);
    return fixture_set_up(state);
}

static int open_at_once(struct fixture *f, const char *path, struct ftp_upload **ret)
{
    struct ftp_upload_options o = {.path = path, .leave = {.any = true}, .at_once = true};
    return ftp_upload_open(f->jail, &o, ret, &f->e);
}

static struct ftp_upload *begin(struct fixture *f, const char *path, const char *text)
{
    struct ftp_upload *u = NULL;
    expect_code(f, open_at_once(f, path, &u), 0);
    expect_code(f, ftp_upload_write(u, text, strlen(text), &f->e), 0);
    return u;
}

static void expect_not(struct fixture *f, const char *path)
{
    struct ftp_upload *u = NULL;
    int before = test_count_fds();
    expect_code(f, open_at_once(f, path, &u), -EAGAIN);
    assert_null(u);
    assert_int_equal(test_count_fds(), before);
}

#define NEEDS_MEMORY(f)                                                                            \
    do {                                                                                           \
        if (!is_tmpfs((f)->root))                                                                  \
            skip();                                                                                \
    } while (0)

static void shows_a_file_only_when_it_is_whole(void **state)
{
    struct fixture *f = *state;
    NEEDS_MEMORY(f);
    struct ftp_upload *u = begin(f, "/a.jpg", "hello");
    assert_false(fixture_has(f, "/a.jpg"));
    expect_code(f, ftp_upload_finish_at_once(u, &f->e), 0);
    assert_int_equal(ftp_upload_file(u)->size, 5);
    ftp_upload_close(u);
    fixture_expect(f, "/a.jpg", "hello");
    assert_int_equal(fixture_count(f, "/", ""), 1);
}

static void of_one_that_is_given_up_nothing_stays(void **state)
{
    struct fixture *f = *state;
    NEEDS_MEMORY(f);
    ftp_upload_close(begin(f, "/a.jpg", "hello"));
    assert_int_equal(fixture_count(f, "/", ""), 0);
}

static void a_picture_in_the_way_gets_another_name(void **state)
{
    struct fixture *f = *state;
    NEEDS_MEMORY(f);
    for (int i = 0; i < 2; i++) {
        struct ftp_upload *u = begin(f, "/a.jpg", i ? "second" : "first");
        expect_code(f, ftp_upload_finish_at_once(u, &f->e), 0);
        ftp_upload_close(u);
    }
    fixture_expect(f, "/a.jpg", "second");
    fixture_expect(f, "/a~1.jpg", "first");
}

static void failures_are_told_as_ever(void **state)
{
    struct fixture *f = *state;
    NEEDS_MEMORY(f);
    struct ftp_upload *u = NULL;
    assert_int_equal(mkdir(fixture_real(f, "/folder"), 0755), 0);
    expect_code(f, open_at_once(f, "/folder", &u), -EISDIR);
    assert_int_equal(symlink("/etc", fixture_real(f, "/link")), 0);
    expect_code(f, open_at_once(f, "/link/a.jpg", &u), -EACCES);
    expect_code(f, open_at_once(f, "/../a.jpg", &u), -EINVAL);
    f->account.size_max = 3;
    fixture_jail(f);
    expect_code(f, open_at_once(f, "/a.jpg", &u), 0);
    expect_code(f, ftp_upload_write(u, "hello", 5, &f->e), -EFBIG);
    expect_code(f, ftp_upload_finish_at_once(u, &f->e), -EFBIG);
    ftp_upload_close(u);
    assert_int_equal(fixture_count(f, "/", ""), 2);
}

/* ---- what might wait ---- */

static void not_on_a_disk(void **state)
{
    struct fixture *f = *state;
    if (is_tmpfs("/tmp"))
        skip();
    char folder[64];
    (void)unsetenv("SNAPSHOT_TEST_FOLDER");
    int fd = test_folder_new(folder);
    (void)setenv("SNAPSHOT_TEST_FOLDER", "/dev/shm", 1);
    f->options.root = folder;
    fixture_jail(f);
    expect_not(f, "/a.jpg");
    test_folder_remove(folder, fd);
}

static void not_where_folders_are_to_be_made(void **state)
{
    struct fixture *f = *state;
    NEEDS_MEMORY(f);
    expect_not(f, "/new/a.jpg");
    assert_false(fixture_has(f, "/new"));
}

static void not_under_a_quota(void **state)
{
    struct fixture *f = *state;
    NEEDS_MEMORY(f);
    f->account.quota = 1000000;
    fixture_jail(f);
    expect_not(f, "/a.jpg");
}

static void not_behind_what_is_there(void **state)
{
    struct fixture *f = *state;
    NEEDS_MEMORY(f);
    fixture_put(f, "/a.jpg", "hello");
    for (int64_t offset = -1; offset <= 3; offset += 4) {
        struct ftp_upload *u = NULL;
        struct ftp_upload_options o = {
            .path = "/a.jpg", .leave = {.any = true}, .offset = offset, .at_once = true};
        expect_code(f, ftp_upload_open(f->jail, &o, &u, &f->e), -EAGAIN);
    }
}

static void not_where_the_kernel_cannot_tell(void **state)
{
    struct fixture *f = *state;
    NEEDS_MEMORY(f);
    ftp_beneath_by_parts(true);
    expect_not(f, "/a.jpg");
}

/* What is mounted there may be a disk that does not answer. */
static void not_behind_a_mount(void **state)
{
    struct fixture *f = *state;
    NEEDS_MEMORY(f);
    assert_int_equal(mkdir(fixture_real(f, "/mounted"), 0755), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct ftp_upload *u = NULL;
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
            mount("none", fixture_real(f, "/mounted"), "tmpfs", 0, NULL) < 0)
            _exit(77);
        fixture_jail(f); /* a descriptor of this namespace */
        _exit(open_at_once(f, "/mounted/a.jpg", &u) == -EAGAIN ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip(); /* nobody may mount here */
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void *hold_names(void *arg)
{
    pthread_barrier_t *b = arg;
    jail_names_lock(true);
    (void)pthread_barrier_wait(b); /* held */
    (void)pthread_barrier_wait(b); /* asked */
    jail_names_unlock();
    return NULL;
}

static void does_not_wait_for_who_holds_the_names(void **state)
{
    struct fixture *f = *state;
    NEEDS_MEMORY(f);
    struct ftp_upload *u = begin(f, "/a.jpg", "hello");
    pthread_barrier_t b;
    pthread_t thread;
    int code = 1;
    (void)pthread_barrier_init(&b, NULL, 2);
    assert_int_equal(pthread_create(&thread, NULL, hold_names, &b), 0);
    (void)pthread_barrier_wait(&b);
    expect_code(f, ftp_upload_finish_at_once(u, &f->e), -EAGAIN);
    assert_false(fixture_has(f, "/a.jpg"));
    (void)pthread_barrier_wait(&b);
    ftp_upload_finish(&u, 1, &code, &f->e); /* as a disk thread does then */
    assert_int_equal(pthread_join(thread, NULL), 0);
    (void)pthread_barrier_destroy(&b);
    assert_int_equal(code, 0);
    ftp_upload_close(u);
    fixture_expect(f, "/a.jpg", "hello");
}

int main(void)
{
    (void)setenv("SNAPSHOT_TEST_FOLDER", "/dev/shm", 1);
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, fixture_tear_down)
    const struct CMUnitTest tests[] = {
        CASE(shows_a_file_only_when_it_is_whole),
        CASE(of_one_that_is_given_up_nothing_stays),
        CASE(a_picture_in_the_way_gets_another_name),
        CASE(failures_are_told_as_ever),
        CASE(not_on_a_disk),
        CASE(not_where_folders_are_to_be_made),
        CASE(not_under_a_quota),
        CASE(not_behind_what_is_there),
        CASE(not_where_the_kernel_cannot_tell),
        CASE(not_behind_a_mount),
        CASE(does_not_wait_for_who_holds_the_names),
    };
    return RUN_TESTS(tests);
}
