#include "../test.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>

#include "base/fsutil.h"
#include "base/mem.h"

struct folder {
    char path[64];
    int fd;
    int fds_before;
};

static int set_up(void **state)
{
    struct folder *f = xcalloc(1, sizeof(*f));
    f->fds_before = test_count_fds();
    f->fd = test_folder_new(f->path);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct folder *f = *state;
    test_folder_remove(f->path, f->fd);
    int leaked = test_count_fds() - f->fds_before;
    free(f);
    return leaked ? -1 : 0; /* every descriptor was closed */
}

static void expect_content(int dirfd, const char *path, const char *content)
{
    AUTO(blob) b = NULL;
    struct err e = {0};
    if (fs_read_blob(dirfd, path, 1000, &b, &e) < 0)
        CASE_FAILS("%s", e.text);
    assert_int_equal(b->size, strlen(content));
    assert_memory_equal(b->data, content, b->size);
}

static int count_entries(int dirfd)
{
    int n = 0;
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", dirfd);
    struct dirent **names = NULL;
    int count = scandir(path, &names, NULL, NULL);
    for (int i = 0; i < count; i++) {
        n += names[i]->d_name[0] != '.' || strlen(names[i]->d_name) > 2;
        free(names[i]);
    }
    free(names);
    return n;
}

static void knows_plain_paths(void **state UNUSED)
{
    static const char *const plain[] = {"a", "a/b", "a.b/c..d",  "...",
                                        "-", "a b", ".hidden/x", "K\xc3\xbchl/x.jpg"};
    static const char *const others[] = {"",    "/",     "/a",   "a/",   "a//b",
                                         ".",   "..",    "../a", "a/..", "a/../b",
                                         "./a", "a/./b", "a\nb", "\033", "a\x7f"};
    for (size_t i = 0; i < ARRAY_LEN(plain); i++)
        if (!fs_path_is_plain(plain[i]))
            CASE_FAILS("\"%s\" is plain", plain[i]);
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        if (fs_path_is_plain(others[i]))
            CASE_FAILS("\"%s\" is not plain", others[i]);
    char longer[5000];
    memset(longer, 'a', sizeof(longer));
    longer[255] = '\0';
    assert_true(fs_path_is_plain(longer));
    longer[255] = 'a';
    longer[256] = '\0';
    assert_false(fs_path_is_plain(longer));
    for (size_t i = 1; i < sizeof(longer); i += 2) {
        longer[i - 1] = 'a';
        longer[i] = '/';
    }
    longer[4095] = '\0';
    assert_true(fs_path_is_plain(longer));
    longer[4095] = '/';
    longer[4097] = '\0';
    assert_false(fs_path_is_plain(longer));
}

static void refuses_every_other_path_beneath_a_folder(void **state)
{
    struct folder *f = *state;
    static const char *const paths[] = {"", "/etc/passwd", "../x", "a/../../x", "a//b", "a\n"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        const char *p = paths[i];
        int fd = -1;
        struct blob *b = NULL;
        struct err e = {0};
        assert_int_equal(fs_open_read(f->fd, p, &fd, &e), -EINVAL);
        assert_non_null(strstr(e.text, "is not a path below the folder"));
        assert_int_equal(fs_read_blob(f->fd, p, 10, &b, NULL), -EINVAL);
        assert_int_equal(fs_create_synced(f->fd, p, "x", 1, 0600, NULL), -EINVAL);
        assert_int_equal(fs_replace(f->fd, p, "x", 1, 0600, NULL), -EINVAL);
        assert_int_equal(fs_mkdirs(f->fd, p, 0700, NULL), -EINVAL);
        assert_int_equal(fs_open_dir(f->fd, p, &fd, NULL), -EINVAL);
        assert_int_equal(fs_rename_synced(f->fd, p, "b", NULL), -EINVAL);
        assert_int_equal(fs_rename_synced(f->fd, "b", p, NULL), -EINVAL);
        assert_false(fs_exists(f->fd, p));
        assert_int_equal(fd, -1);
        assert_null(b);
    }
    assert_int_equal(fs_mkdirs(AT_FDCWD, "", 0700, NULL), -ENOENT);
}

static void makes_folders_with_their_parents(void **state)
{
    struct folder *f = *state;
    struct err e = {0};
    assert_int_equal(fs_mkdirs(f->fd, "a/b/c", 0700, &e), 0);
    assert_int_equal(fs_mkdirs(f->fd, "a/b/c", 0700, &e), 0);
    AUTO_CLOSE int fd = -1;
    assert_int_equal(fs_open_dir(f->fd, "a/b/c", &fd, &e), 0);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    AUTO_FREE char *absolute = xasprintf("%s/x//y/", f->path);
    assert_int_equal(fs_mkdirs(AT_FDCWD, absolute, 0700, &e), 0);
    assert_true(fs_exists(f->fd, "x/y"));
}

static void says_which_part_is_no_folder(void **state)
{
    struct folder *f = *state;
    struct err e = {0};
    assert_int_equal(fs_create_synced(f->fd, "file", "x", 1, 0600, &e), 0);
    assert_int_equal(fs_mkdirs(f->fd, "file/b", 0700, &e), -ENOTDIR);
    assert_non_null(strstr(e.text, "file/b"));
    assert_int_equal(fs_mkdirs(f->fd, "file", 0700, &e), -ENOTDIR);
}

static void creates_a_file_once(void **state)
{
    struct folder *f = *state;
    struct err e = {0};
    assert_int_equal(fs_create_synced(f->fd, "a", "first", 5, 0640, &e), 0);
    assert_int_equal(fs_create_synced(f->fd, "a", "second", 6, 0640, &e), -EEXIST);
    assert_string_equal(e.text, "create a: File exists");
    expect_content(f->fd, "a", "first");
    assert_int_equal(fs_create_synced(f->fd, "empty", NULL, 0, 0640, &e), 0);
    expect_content(f->fd, "empty", "");
    assert_int_equal(fs_create_synced(f->fd, "no/a", "x", 1, 0640, &e), -ENOENT);
    /* A link that points nowhere must not be followed to a new file elsewhere. */
    assert_int_equal(symlinkat("elsewhere", f->fd, "link"), 0);
    assert_int_equal(fs_create_synced(f->fd, "link", "x", 1, 0640, &e), -EEXIST);
    assert_false(fs_exists(f->fd, "elsewhere"));
}

static void replaces_a_file_atomically(void **state)
{
    struct folder *f = *state;
    struct err e = {0};
    assert_int_equal(fs_mkdirs(f->fd, "d", 0700, &e), 0);
    assert_int_equal(fs_replace(f->fd, "d/a", "first", 5, 0600, &e), 0);
    assert_int_equal(fs_replace(f->fd, "d/a", "second", 6, 0600, &e), 0);
    expect_content(f->fd, "d/a", "second");
    assert_int_equal(fs_replace(f->fd, "top", "x", 1, 0600, &e), 0);
    AUTO_CLOSE int d = -1;
    assert_int_equal(fs_open_dir(f->fd, "d", &d, &e), 0);
    assert_int_equal(count_entries(d), 1); /* no temporary file stays */
    /* One that a crash left behind is in nobody's way. */
    AUTO_FREE char *left = xasprintf("d/.a.%ld.tmp", (long)getpid());
    assert_int_equal(fs_create_synced(f->fd, left, "old", 3, 0600, &e), 0);
    assert_int_equal(fs_replace(f->fd, "d/a", "third", 5, 0600, &e), 0);
    expect_content(f->fd, "d/a", "third");
    assert_int_equal(count_entries(d), 1);
    /* A folder of that name stays, and so does no temporary file. */
    assert_int_equal(fs_mkdirs(f->fd, "d/e", 0700, &e), 0);
    assert_int_equal(fs_replace(f->fd, "d/e", "x", 1, 0600, &e), -EISDIR);
    assert_int_equal(count_entries(d), 2);
}

static void renames(void **state)
{
    struct folder *f = *state;
    struct err e = {0};
    assert_int_equal(fs_mkdirs(f->fd, "x/y", 0700, &e), 0);
    assert_int_equal(fs_create_synced(f->fd, "a", "1", 1, 0600, &e), 0);
    assert_int_equal(fs_rename_synced(f->fd, "a", "x/y/b", &e), 0);
    assert_false(fs_exists(f->fd, "a"));
    expect_content(f->fd, "x/y/b", "1");
    assert_int_equal(fs_rename_synced(f->fd, "a", "b", &e), -ENOENT);
    assert_string_equal(e.text, "rename a to b: No such file or directory");
}

static void reads_regular_files_only(void **state)
{
    struct folder *f = *state;
    struct err e = {0};
    int fd = -1;
    assert_int_equal(fs_create_synced(f->fd, "a", "1", 1, 0600, &e), 0);
    assert_int_equal(symlinkat("a", f->fd, "link"), 0);
    assert_int_equal(mkfifoat(f->fd, "fifo", 0600), 0);
    assert_int_equal(fs_open_read(f->fd, "link", &fd, &e), -ELOOP);
    assert_int_equal(fs_open_read(f->fd, "fifo", &fd, &e), -EINVAL); /* and does not wait */
    assert_string_equal(e.text, "open fifo: not a regular file");
    assert_int_equal(fs_mkdirs(f->fd, "d", 0700, &e), 0);
    assert_int_equal(fs_open_read(f->fd, "d", &fd, &e), -EINVAL);
    assert_int_equal(fs_open_read(AT_FDCWD, "/dev/zero", &fd, &e), -EINVAL);
    assert_int_equal(fs_open_read(f->fd, "missing", &fd, &e), -ENOENT);
    assert_string_equal(e.text, "open missing: No such file or directory");
    assert_int_equal(fd, -1);
    assert_int_equal(fs_open_read(f->fd, "a", &fd, &e), 0);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    (void)close(fd);
}

static void reads_up_to_a_limit(void **state)
{
    struct folder *f = *state;
    struct err e = {0};
    AUTO(blob) b = NULL;
    assert_int_equal(fs_create_synced(f->fd, "a", "12345", 5, 0600, &e), 0);
    assert_int_equal(fs_read_blob(f->fd, "a", 4, &b, &e), -EFBIG);
    assert_string_equal(e.text, "read a: 5 bytes, the limit is 4");
    assert_null(b);
    assert_int_equal(fs_read_blob(f->fd, "a", 5, &b, &e), 0);
    assert_int_equal(b->size, 5);
    struct blob *none = NULL;
    mem_fail_at(1);
    assert_int_equal(fs_read_blob(f->fd, "a", 5, &none, &e), -ENOMEM);
    mem_fail_at(0);
    assert_null(none);
}

/* RLIMIT_FSIZE stands for a full disk: the write fails in the middle. */
static void leaves_nothing_of_a_file_that_did_not_fit(void **state)
{
    struct folder *f = *state;
    struct err e = {0};
    AUTO_FREE char *bytes = xcalloc(1, 100000);
    assert_int_equal(fs_replace(f->fd, "kept", "old", 3, 0600, &e), 0);
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    struct rlimit small = {50000, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int created = fs_create_synced(f->fd, "a", bytes, 100000, 0600, &e);
    char text[ERR_TEXT_MAX];
    (void)snprintf(text, sizeof(text), "%s", e.text);
    int replaced = fs_replace(f->fd, "kept", bytes, 100000, 0600, &e);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    (void)signal(SIGXFSZ, handler);
    assert_int_equal(created, -EFBIG);
    assert_string_equal(text, "a: write: File too large");
    assert_int_equal(replaced, -EFBIG);
    assert_false(fs_exists(f->fd, "a"));
    expect_content(f->fd, "kept", "old");
    assert_int_equal(count_entries(f->fd), 1);
}

static void reports_a_device_without_space_as_worth_a_later_try(void **state UNUSED)
{
    AUTO_CLOSE int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        skip();
    struct err e = {0};
    assert_int_equal(fs_write_all(fd, "x", 1, &e), -ENOSPC);
    assert_int_equal(e.retry, ERR_LATER);
    assert_string_equal(e.text, "write: No space left on device");
}

static void knows_what_exists_and_what_is_free(void **state)
{
    struct folder *f = *state;
    struct err e = {0};
    assert_int_equal(symlinkat("nowhere", f->fd, "dangling"), 0);
    assert_true(fs_exists(f->fd, "dangling"));
    assert_false(fs_exists(f->fd, "nowhere"));
    int64_t n = -1;
    assert_int_equal(fs_free_bytes(f->fd, &n, &e), 0);
    assert_true(n > 0);
    assert_int_equal(fs_free_bytes(-1, &n, &e), -EBADF);
}

static void finds_what_lies_beside_the_program(void **state UNUSED)
{
    AUTO_FREE char *self = realpath("/proc/self/exe", NULL);
    assert_non_null(self);
    AUTO_FREE char *here = fs_beside_program("test_fsutil");
    assert_string_equal(here, self);
    AUTO_FREE char *above = fs_beside_program("../base/test_fsutil");
    assert_string_equal(above, self);
    AUTO_FREE char *too_far =
        fs_beside_program("../../../../../../../../../../../../../../../../x");
    assert_null(too_far);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_plain_paths),
        cmocka_unit_test(finds_what_lies_beside_the_program),
        TEST(refuses_every_other_path_beneath_a_folder),
        TEST(makes_folders_with_their_parents),
        TEST(says_which_part_is_no_folder),
        TEST(creates_a_file_once),
        TEST(replaces_a_file_atomically),
        TEST(renames),
        TEST(reads_regular_files_only),
        TEST(reads_up_to_a_limit),
        TEST(leaves_nothing_of_a_file_that_did_not_fit),
        TEST(reports_a_device_without_space_as_worth_a_later_try),
        TEST(knows_what_exists_and_what_is_free),
    };
    return RUN_TESTS(tests);
}
