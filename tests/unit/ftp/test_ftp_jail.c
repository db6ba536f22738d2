#include "fixture.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/dynbuf.h"

/* Every test runs twice: with openat2(), and part by part. */
static int set_up_by_parts(void **state)
{
    ftp_beneath_by_parts(true);
    return fixture_set_up(state);
}

static int tear_down_by_parts(void **state)
{
    ftp_beneath_by_parts(false);
    return fixture_tear_down(state);
}

static void makes_the_root_and_the_accounts_folder(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    assert_int_equal(stat(fixture_real(f, "/"), &st), 0);
    assert_true(S_ISDIR(st.st_mode));
    assert_int_equal(st.st_mode & 07777, 0750);
    f->account.directory = "a/b/c";
    fixture_jail(f);
    assert_int_equal(stat(fixture_real(f, "/"), &st), 0);
    f->account.directory = "";
    fixture_jail(f);
    struct ftp_file file;
    expect_code(f, ftp_jail_stat(f->jail, "/porch", &file, &f->e), 0);
    assert_true(file.folder);
}

static void refuses_a_home_outside_the_root(void **state)
{
    struct fixture *f = *state;
    static const char *const homes[] = {"..", "../x", "/etc", "a/../..", "a//b", "./a", "a/"};
    for (size_t i = 0; i < ARRAY_LEN(homes); i++) {
        struct ftp_jail *j = NULL;
        f->account.directory = homes[i];
        expect_code(f, ftp_jail_open(&f->options, &f->account, &j, &f->e), -EINVAL);
        assert_null(j);
    }
    struct ftp_jail *j = NULL;
    assert_int_equal(symlink("/etc", fixture_real(f, "/x")) < 0, true); /* no such home: no file */
    f->account.directory = "link";
    AUTO_FREE char *link = xasprintf("%s/link", f->root);
    assert_int_equal(symlink("/etc", link), 0);
    expect_code(f, ftp_jail_open(&f->options, &f->account, &j, &f->e), -EACCES);
    f->account.directory = "link/below";
    expect_code(f, ftp_jail_open(&f->options, &f->account, &j, &f->e), -EACCES);
    assert_null(j);
}

static void ignore(void *arg UNUSED, const struct ftp_file *file UNUSED)
{
}

/* All calls that take a path, so that a table of paths can be tried on each. */
static int call(struct fixture *f, int which, const char *path)
{
    struct ftp_file file;
    int fd = -1;
    int64_t size;
    struct ftp_upload *u = NULL;
    struct wall_time t = {1000000};
    int r;
    switch (which) {
    case 0:
        return ftp_jail_stat(f->jail, path, &file, &f->e);
    case 1:
        r = ftp_jail_open_read(f->jail, path, &fd, &size, &f->e);
        if (r == 0)
            (void)close(fd);
        return r;
    case 2:
        return ftp_jail_delete(f->jail, path, NULL, &f->e);
    case 3:
        return ftp_jail_remove_folder(f->jail, path, NULL, &f->e);
    case 4:
        return ftp_jail_make(f->jail, path, &f->e);
    case 5:
        return ftp_jail_rename(f->jail, path, NULL, "/to", any, &f->e);
    case 6:
        return ftp_jail_rename(f->jail, "/from", NULL, path, any, &f->e);
    case 7:
        return ftp_jail_set_modified(f->jail, path, NULL, t, &f->e);
    case 8:
    case 9: {
        struct ftp_upload_options o = {
            .path = path, .leave = {.any = true}, .offset = which == 9 ? -1 : 0};
        r = ftp_upload_open(f->jail, &o, &u, &f->e);
        if (r == 0)
            r = ftp_upload_write(u, "evil", 4, &f->e);
        if (r == 0) {
            struct err errs[1];
            ftp_upload_finish(&u, 1, &r, errs);
        }
        ftp_upload_close(u);
        return r;
    }
    default:
        return ftp_jail_list(f->jail, path, 100, ignore, NULL, &f->e);
    }
}
enum { CALLS = 11 };

static void refuses_every_path_that_is_not_normal(void **state)
{
    struct fixture *f = *state;
    static const char *const paths[] = {
        "",      "a",       "..",         "/..",          "/../x",          "/a/../../x",   "/.",
        "//",    "//x",     "/a//b",      "/a/",          "/a/./b",         "/a\nb",        "/\x7f",
        "/a/..", "/\x01/x", "/../../etc", "/.incoming-1", "/a/.incoming-x", "/.incoming-/b"};
    for (int c = 0; c < CALLS; c++) {
        for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
            fixture_put(f, "/from", "x");
            int r = call(f, c, paths[i]);
            if (r != -EINVAL)
                CASE_FAILS("call %d of \"%s\" gave %d", c, paths[i], r);
        }
    }
}

/* What lies outside, and ways to it that somebody with a shell has put into the tree. */
static void put_ways_out(struct fixture *f)
{
    AUTO_FREE char *outside = xasprintf("%s/outside", f->folder);
    AUTO_FREE char *canary = xasprintf("%s/canary", outside);
    AUTO_FREE char *neighbour = xasprintf("%s-neighbour", fixture_real(f, ""));
    assert_int_equal(mkdir(outside, 0755), 0);
    assert_int_equal(mkdir(neighbour, 0755), 0);
    FILE *file = fopen(canary, "we");
    assert_non_null(file);
    assert_true(fputs("alive", file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(symlink(outside, fixture_real(f, "/absolute")), 0);
    assert_int_equal(symlink("../../outside", fixture_real(f, "/relative")), 0);
    assert_int_equal(symlink(canary, fixture_real(f, "/file")), 0);
    assert_int_equal(symlink("/proc/self/root", fixture_real(f, "/magic")), 0);
    assert_int_equal(symlink(".", fixture_real(f, "/here")), 0);
    assert_int_equal(mkdir(fixture_real(f, "/deep"), 0755), 0);
    assert_int_equal(symlink(outside, fixture_real(f, "/deep/out")), 0);
}

static void expect_canary(struct fixture *f)
{
    AUTO(blob) b = NULL;
    AUTO_FREE char *outside = xasprintf("%s/outside", f->folder);
    assert_int_equal(fs_read_blob(f->fd, "outside/canary", 100, &b, &f->e), 0);
    assert_int_equal(b->size, 5);
    assert_memory_equal(b->data, "alive", 5);
    DIR *dir = opendir(outside);
    assert_non_null(dir);
    int n = 0;
    while (readdir(dir) != NULL)
        n++;
    (void)closedir(dir);
    assert_int_equal(n, 3); /* ".", "..", and the canary */
}

static void follows_no_link(void **state)
{
    struct fixture *f = *state;
    static const char *const paths[] = {
        "/absolute/canary", "/relative/canary", "/magic/etc/passwd", "/deep/out/canary",
        "/absolute/new",    "/deep/out/new",    "/here/new",         "/deep/out/a/b",
    };
    put_ways_out(f);
    for (int c = 0; c < CALLS; c++) {
        for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
            if (!fixture_has(f, "/from"))
                fixture_put(f, "/from", "x");
            int r = call(f, c, paths[i]);
            if (r != -EACCES)
                CASE_FAILS("call %d of \"%s\" gave %d", c, paths[i], r);
        }
    }
    expect_canary(f);
}

static void touches_no_link_itself(void **state)
{
    struct fixture *f = *state;
    static const char *const paths[] = {"/absolute", "/file", "/magic", "/deep/out"};
    put_ways_out(f);
    for (int c = 0; c < CALLS; c++) {
        for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
            fixture_put(f, "/from", "x");
            int r = call(f, c, paths[i]);
            if (r != (c == 4 ? -EEXIST : -EACCES)) /* MKD of a name that is taken */
                CASE_FAILS("call %d of \"%s\" gave %d", c, paths[i], r);
            assert_true(fixture_has(f, paths[i]));
        }
    }
    expect_canary(f);
}

static void touches_no_device_or_fifo(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(mkfifo(fixture_real(f, "/fifo"), 0644), 0);
    for (int c = 0; c < CALLS; c++) {
        fixture_put(f, "/from", "x");
        int r = call(f, c, "/fifo"); /* and does not wait for its writer */
        if (r != (c == 4 ? -EEXIST : -EACCES))
            CASE_FAILS("call %d gave %d", c, r);
    }
    assert_true(fixture_has(f, "/fifo"));
}

static void says_what_is_wrong(void **state)
{
    struct fixture *f = *state;
    struct ftp_file file;
    int fd = -1;
    int64_t size;
    struct wall_time t = {0};
    fixture_put(f, "/a.txt", "a");
    fixture_put(f, "/b.txt", "b");
    expect_code(f, ftp_jail_make(f->jail, "/d/e", &f->e), 0);
    fixture_put(f, "/d/e/c", "c");

    expect_code(f, ftp_jail_stat(f->jail, "/no", &file, &f->e), -ENOENT);
    expect_code(f, ftp_jail_stat(f->jail, "/no/no", &file, &f->e), -ENOENT);
    expect_code(f, ftp_jail_stat(f->jail, "/a.txt/no", &file, &f->e), -ENOTDIR);
    expect_code(f, ftp_jail_list(f->jail, "/no", 9, ignore, NULL, &f->e), -ENOENT);
    expect_code(f, ftp_jail_open_read(f->jail, "/d", &fd, &size, &f->e), -EISDIR);
    expect_code(f, ftp_jail_open_read(f->jail, "/no", &fd, &size, &f->e), -ENOENT);

    expect_code(f, ftp_jail_make(f->jail, "/", &f->e), -EEXIST);
    expect_code(f, ftp_jail_make(f->jail, "/d", &f->e), -EEXIST);
    expect_code(f, ftp_jail_make(f->jail, "/d/e", &f->e), -EEXIST);
    expect_code(f, ftp_jail_make(f->jail, "/a.txt", &f->e), -EEXIST);
    expect_code(f, ftp_jail_make(f->jail, "/a.txt/x", &f->e), -ENOTDIR);
    expect_code(f, ftp_jail_make(f->jail, "/a.txt/x/y", &f->e), -ENOTDIR);

    expect_code(f, ftp_jail_remove_folder(f->jail, "/d/e", NULL, &f->e), -ENOTEMPTY);
    expect_code(f, ftp_jail_remove_folder(f->jail, "/a.txt", NULL, &f->e), -ENOTDIR);
    expect_code(f, ftp_jail_remove_folder(f->jail, "/no", NULL, &f->e), -ENOENT);
    expect_code(f, ftp_jail_remove_folder(f->jail, "/", NULL, &f->e), -EACCES);
    expect_code(f, ftp_jail_delete(f->jail, "/d", NULL, &f->e), -EISDIR);
    expect_code(f, ftp_jail_delete(f->jail, "/no", NULL, &f->e), -ENOENT);
    expect_code(f, ftp_jail_delete(f->jail, "/", NULL, &f->e), -EACCES);

    expect_code(f, ftp_jail_rename(f->jail, "/no", NULL, "/x", any, &f->e), -ENOENT);
    expect_code(f, ftp_jail_rename(f->jail, "/a.txt", NULL, "/no/x", any, &f->e), -ENOENT);
    expect_code(f, ftp_jail_rename(f->jail, "/a.txt", NULL, "/b.txt", none, &f->e), -EEXIST);
    expect_code(f, ftp_jail_rename(f->jail, "/a.txt", NULL, "/d", any, &f->e), -EISDIR);
    expect_code(f, ftp_jail_rename(f->jail, "/d", NULL, "/a.txt", any, &f->e), -EEXIST);
    expect_code(f, ftp_jail_rename(f->jail, "/d", NULL, "/d/e/x", any, &f->e), -EINVAL);
    expect_code(f, ftp_jail_rename(f->jail, "/", NULL, "/x", any, &f->e), -EACCES);
    expect_code(f, ftp_jail_rename(f->jail, "/a.txt", NULL, "/", any, &f->e), -EACCES);
    expect_code(f, ftp_jail_set_modified(f->jail, "/no", NULL, t, &f->e), -ENOENT);

    char longer[FTP_PATH_MAX + 100];
    memset(longer, 'a', sizeof(longer));
    for (size_t i = 0; i < sizeof(longer); i += 200)
        longer[i] = '/';
    longer[FTP_PATH_MAX + 1] = '\0';
    expect_code(f, ftp_jail_stat(f->jail, longer, &file, &f->e), -ENAMETOOLONG);
    assert_int_equal(fd, -1);
    fixture_expect(f, "/a.txt", "a");
    fixture_expect(f, "/b.txt", "b");
}

static void tells_what_a_file_is(void **state)
{
    struct fixture *f = *state;
    struct ftp_file file;
    struct stat st;
    fixture_put(f, "/a.jpg", "12345");
    struct wall_time t = {1700000000123456};
    expect_code(f, ftp_jail_set_modified(f->jail, "/a.jpg", NULL, t, &f->e), 0);
    expect_code(f, ftp_jail_stat(f->jail, "/a.jpg", &file, &f->e), 0);
    assert_int_equal(stat(fixture_real(f, "/a.jpg"), &st), 0);
    assert_string_equal(file.name, "a.jpg");
    assert_false(file.folder);
    assert_int_equal(file.size, 5);
    assert_int_equal(file.modified.us, t.us);
    assert_int_equal(file.inode, st.st_ino);
    assert_int_equal(file.device, st.st_dev);
    t.us = -1500000; /* before 1970: an unset clock */
    expect_code(f, ftp_jail_set_modified(f->jail, "/a.jpg", NULL, t, &f->e), 0);
    expect_code(f, ftp_jail_stat(f->jail, "/a.jpg", &file, &f->e), 0);
    assert_int_equal(file.modified.us, t.us);
    expect_code(f, ftp_jail_stat(f->jail, "/", &file, &f->e), 0);
    assert_true(file.folder);
    assert_string_equal(file.name, "/");
    assert_int_equal(file.size, 0);
}

static struct ftp_mark mark_of(struct fixture *f, const char *path)
{
    struct ftp_file file;
    expect_code(f, ftp_jail_stat(f->jail, path, &file, &f->e), 0);
    return ftp_mark_of(&file);
}

/* Under the old name is another file, mostly with the old one's inode. */
static void touches_by_a_mark_nothing_but_what_it_is_of(void **state)
{
    struct fixture *f = *state;
    struct wall_time t = {1000000};
    fixture_put(f, "/a.txt", "mine");
    fixture_put(f, "/to.txt", "mine");
    expect_code(f, ftp_jail_make(f->jail, "/d", &f->e), 0);
    struct ftp_mark file = mark_of(f, "/a.txt"), to = mark_of(f, "/to.txt"), d = mark_of(f, "/d");
    assert_int_equal(unlink(fixture_real(f, "/a.txt")), 0);
    fixture_put(f, "/a.txt", "another's");
    const struct ftp_leave over_file = {.one = file}, over_to = {.one = to};
    expect_code(f, ftp_jail_delete(f->jail, "/a.txt", &file, &f->e), -ENOENT);
    expect_code(f, ftp_jail_delete(f->jail, "/a.txt", &to, &f->e), -ENOENT);
    expect_code(f, ftp_jail_delete(f->jail, "/a.txt", &d, &f->e), -ENOENT);
    expect_code(f, ftp_jail_remove_folder(f->jail, "/d", &file, &f->e), -ENOENT);
    expect_code(f, ftp_jail_set_modified(f->jail, "/a.txt", &file, t, &f->e), -ENOENT);
    expect_code(f, ftp_jail_rename(f->jail, "/a.txt", &file, "/x", any, &f->e), -ENOENT);
    expect_code(f, ftp_jail_rename(f->jail, "/to.txt", &to, "/a.txt", over_file, &f->e), -EEXIST);
    /* Nor does it go by what is not there. */
    expect_code(f, ftp_jail_rename(f->jail, "/a.txt", &file, "/to.txt", none, &f->e), -EEXIST);
    expect_code(f, ftp_jail_rename(f->jail, "/a.txt", &file, "/d", any, &f->e), -EISDIR);
    expect_code(f, ftp_jail_rename(f->jail, "/a.txt", &file, "/to.txt", over_to, &f->e), -ENOENT);
    /* A new time is a new mark. */
    expect_code(f, ftp_jail_set_modified(f->jail, "/to.txt", &to, t, &f->e), 0);
    expect_code(f, ftp_jail_delete(f->jail, "/to.txt", &to, &f->e), -ENOENT);
    to.modified = t;
    expect_code(f, ftp_jail_rename(f->jail, "/to.txt", &to, "/d/to.txt", none, &f->e), 0);
    expect_code(f, ftp_jail_remove_folder(f->jail, "/d", &d, &f->e), -ENOTEMPTY);
    expect_code(f, ftp_jail_delete(f->jail, "/d/to.txt", &to, &f->e), 0);
    expect_code(f, ftp_jail_remove_folder(f->jail, "/d", &d, &f->e), 0);
    fixture_put(f, "/b.txt", "b");
    struct ftp_leave over_b = {.one = mark_of(f, "/b.txt")};
    expect_code(f, ftp_jail_rename(f->jail, "/a.txt", NULL, "/b.txt", over_b, &f->e), 0);
}

static void reads_a_file(void **state)
{
    struct fixture *f = *state;
    int fd = -1;
    int64_t size = 0;
    char bytes[8];
    fixture_put(f, "/a", "12345");
    expect_code(f, ftp_jail_open_read(f->jail, "/a", &fd, &size, &f->e), 0);
    assert_int_equal(size, 5);
    assert_int_equal(read(fd, bytes, sizeof(bytes)), 5);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    (void)close(fd);
}

static void collect_names(void *arg, const struct ftp_file *file)
{
    struct dynbuf *b = arg;
    (void)dynbuf_printf(b, "%s%s,", file->name, file->folder ? "/" : "");
}

static void lists_files_and_folders_only(void **state)
{
    struct fixture *f = *state;
    AUTO_DONE(dynbuf) names;
    dynbuf_init(&names, 1000);
    put_ways_out(f);
    assert_int_equal(mkfifo(fixture_real(f, "/fifo"), 0644), 0);
    fixture_put(f, "/.incoming-0123456789abcdef", "half");
    expect_code(f, ftp_jail_list(f->jail, "/", 9, collect_names, &names, &f->e), 0);
    assert_string_equal(dynbuf_str(&names), "deep/,");
    dynbuf_reset(&names);
    fixture_put(f, "/deep/.hidden", "its owner's");
    expect_code(f, ftp_jail_list(f->jail, "/deep", 9, collect_names, &names, &f->e), 0);
    assert_string_equal(dynbuf_str(&names), ".hidden,");
    dynbuf_reset(&names);
    expect_code(f, ftp_jail_list(f->jail, "/deep/.hidden", 9, collect_names, &names, &f->e), 0);
    assert_string_equal(dynbuf_str(&names), ".hidden,");
}

static void lists_no_more_than_asked(void **state)
{
    struct fixture *f = *state;
    AUTO_DONE(dynbuf) names;
    dynbuf_init(&names, 1000);
    fixture_put(f, "/a", "");
    fixture_put(f, "/b", "");
    fixture_put(f, "/c", "");
    expect_code(f, ftp_jail_list(f->jail, "/", 2, collect_names, &names, &f->e), -E2BIG);
    assert_int_equal(names.len, 4);
    dynbuf_reset(&names);
    expect_code(f, ftp_jail_list(f->jail, "/", 3, collect_names, &names, &f->e), 0);
    assert_int_equal(names.len, 6);
}

static void makes_folders_with_their_parents(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    mode_t before = umask(0027);
    expect_code(f, ftp_jail_make(f->jail, "/a/b c/[d]", &f->e), 0);
    (void)umask(0077);
    expect_code(f, ftp_jail_make(f->jail, "/a/e", &f->e), 0);
    (void)umask(before);
    assert_int_equal(stat(fixture_real(f, "/a/b c/[d]"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0750);
    assert_int_equal(stat(fixture_real(f, "/a/e"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    expect_code(f, ftp_jail_remove_folder(f->jail, "/a/e", NULL, &f->e), 0);
    assert_false(fixture_has(f, "/a/e"));
}

static void makes_the_accounts_folder_again(void **state)
{
    struct fixture *f = *state;
    struct ftp_file file;
    assert_int_equal(rmdir(fixture_real(f, "/")), 0);
    expect_code(f, ftp_jail_stat(f->jail, "/", &file, &f->e), 0);
    assert_int_equal(rmdir(fixture_real(f, "/")), 0);
    expect_code(f, ftp_jail_make(f->jail, "/a", &f->e), 0);
    assert_true(fixture_has(f, "/a"));
    assert_int_equal(rmdir(fixture_real(f, "/a")), 0);
    /* The whole root, too. */
    assert_int_equal(rmdir(fixture_real(f, "/")), 0);
    assert_int_equal(rmdir(f->root), 0);
    expect_code(f, ftp_jail_list(f->jail, "/", 9, ignore, NULL, &f->e), 0);
    assert_int_equal(rmdir(fixture_real(f, "/")), 0);
    assert_int_equal(rmdir(f->root), 0);
    expect_code(f, call(f, 8, "/new/a.jpg"), 0);
    fixture_expect(f, "/new/a.jpg", "evil");
}

static void renames_files_and_folders(void **state)
{
    struct fixture *f = *state;
    fixture_put(f, "/a.txt", "a");
    fixture_put(f, "/b.txt", "b");
    expect_code(f, ftp_jail_make(f->jail, "/d", &f->e), 0);
    expect_code(f, ftp_jail_rename(f->jail, "/a.txt", NULL, "/a.txt", none, &f->e), 0);
    expect_code(f, ftp_jail_rename(f->jail, "/a.txt", NULL, "/d/c.txt", none, &f->e), 0);
    fixture_expect(f, "/d/c.txt", "a");
    expect_code(f, ftp_jail_rename(f->jail, "/d", NULL, "/e", none, &f->e), 0);
    fixture_expect(f, "/e/c.txt", "a");
    expect_code(f, ftp_jail_rename(f->jail, "/e/c.txt", NULL, "/b.txt", any, &f->e), 0);
    fixture_expect(f, "/b.txt", "a");
    assert_int_equal(fixture_count(f, "/", ""), 2);
}

/* Each of them was acknowledged, and perhaps nobody has taken the older one yet. */
static void loses_no_picture_by_a_rename(void **state)
{
    struct fixture *f = *state;
    for (int i = 1; i <= 3; i++) {
        char text[2] = {(char)('0' + i), '\0'};
        fixture_put(f, "/new.tmp", text);
        expect_code(f, ftp_jail_rename(f->jail, "/new.tmp", NULL, "/snap.jpg", any, &f->e), 0);
    }
    fixture_expect(f, "/snap.jpg", "3");
    fixture_expect(f, "/snap~1.jpg", "1");
    fixture_expect(f, "/snap~2.jpg", "2");
    assert_int_equal(fixture_count(f, "/", ""), 3);
    fixture_put(f, "/new.tmp", "x");
    expect_code(f, ftp_jail_rename(f->jail, "/new.tmp", NULL, "/snap.jpg", none, &f->e), -EEXIST);
    fixture_expect(f, "/snap.jpg", "3");
}

static void cleans_unfinished_uploads_only(void **state)
{
    struct fixture *f = *state;
    put_ways_out(f);
    AUTO_FREE char *outside = xasprintf("%s/outside/.incoming-1", f->folder);
    FILE *file = fopen(outside, "we");
    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
    expect_code(f, ftp_jail_make(f->jail, "/a/b/c", &f->e), 0);
    fixture_put(f, "/.incoming-1", "half");
    fixture_put(f, "/a/b/c/.incoming-2", "half");
    fixture_put(f, "/a/b/incoming-3", "whole");
    fixture_put(f, "/a/.incoming", "whole");
    assert_int_equal(mkdir(fixture_real(f, "/a/.incoming-4"), 0755), 0);
    assert_int_equal(ftp_jail_clean(f->root, &f->e), 2);
    assert_int_equal(ftp_jail_clean(f->root, &f->e), 0);
    assert_true(fixture_has(f, "/a/b/incoming-3"));
    assert_true(fixture_has(f, "/a/.incoming"));
    assert_true(fixture_has(f, "/a/.incoming-4"));
    assert_int_equal(access(outside, F_OK), 0);
    assert_int_equal(unlink(outside), 0);
    AUTO_FREE char *missing = xasprintf("%s/missing", f->folder);
    assert_int_equal(ftp_jail_clean(missing, &f->e), 0);
}

/* ---- limits ---- */

static void keeps_to_the_number_of_folders(void **state)
{
    struct fixture *f = *state;
    f->options.folders_max = 3;
    fixture_jail(f);
    expect_code(f, ftp_jail_make(f->jail, "/a/b", &f->e), 0); /* 2 */
    expect_code(f, ftp_jail_make(f->jail, "/c/d", &f->e), -EMLINK);
    assert_false(fixture_has(f, "/c"));                           /* half of it does not stay */
    expect_code(f, ftp_jail_make(f->jail, "/c", &f->e), 0);       /* 3 */
    expect_code(f, ftp_jail_make(f->jail, "/d", &f->e), -EMLINK); /* 4 */
    assert_non_null(strstr(f->e.text, "folders_max"));
    expect_code(f, call(f, 8, "/d/x.jpg"), -EMLINK);
    expect_code(f, ftp_jail_remove_folder(f->jail, "/c", NULL, &f->e), 0);
    expect_code(f, ftp_jail_make(f->jail, "/d", &f->e), 0);
    expect_code(f, ftp_jail_make(f->jail, "/e", &f->e), -EMLINK);
    assert_int_equal(rmdir(fixture_real(f, "/d")), 0); /* behind our back */
    struct mono_time t = clock_mono();
    while (ftp_jail_make(f->jail, "/e", &f->e) == -EMLINK) /* it may be counted again soon */
        assert_true(mono_diff_ms(clock_mono(), t) < 10000);
    assert_true(fixture_has(f, "/e"));
    /* What was there before counts. */
    fixture_jail(f);
    expect_code(f, ftp_jail_make(f->jail, "/f", &f->e), -EMLINK);
}

static void keeps_to_the_number_of_entries_in_one_folder(void **state)
{
    struct fixture *f = *state;
    f->account.files_max = 3;
    fixture_jail(f);
    fixture_put(f, "/a", "");
    expect_code(f, call(f, 8, "/b.jpg"), 0);
    expect_code(f, ftp_jail_make(f->jail, "/d", &f->e), 0); /* 3 */
    expect_code(f, call(f, 8, "/c.jpg"), -EMLINK);
    assert_non_null(strstr(f->e.text, "files_max"));
    expect_code(f, ftp_jail_make(f->jail, "/e", &f->e), -EMLINK);
    expect_code(f, call(f, 8, "/a"), 0);           /* replaces */
    expect_code(f, call(f, 8, "/b.jpg"), -EMLINK); /* does not, it is a picture */
    expect_code(f, call(f, 8, "/d/x"), 0);         /* another folder */
    expect_code(f, ftp_jail_rename(f->jail, "/d/x", NULL, "/x", any, &f->e), -EMLINK);
    expect_code(f, ftp_jail_rename(f->jail, "/a", NULL, "/y", any, &f->e), 0); /* within it */
    expect_code(f, ftp_jail_delete(f->jail, "/y", NULL, &f->e), 0);
    expect_code(f, ftp_jail_rename(f->jail, "/d/x", NULL, "/x", any, &f->e), 0);
    expect_code(f, call(f, 8, "/z"), -EMLINK);
    assert_int_equal(fixture_count(f, "/", ""), 3);
}

/* ---- a race with somebody who swaps folders for links ---- */

struct swapper {
    const char *folder, *other, *link;
    atomic_bool stop;
    atomic_int swaps;
};

/* Exchanges a folder with a link to the outside, as fast as it can. */
static void *swap_on_and_on(void *arg)
{
    struct swapper *s = arg;
    while (!atomic_load(&s->stop)) {
        if (renameat2(AT_FDCWD, s->folder, AT_FDCWD, s->link, RENAME_EXCHANGE) == 0)
            (void)atomic_fetch_add(&s->swaps, 1);
    }
    return NULL;
}

static void lets_nobody_out_in_a_race(void **state)
{
    struct fixture *f = *state;
    enum { ROUNDS = 10000, ROUNDS_MAX = 50 * ROUNDS };
    pthread_t thread;
    put_ways_out(f);
    f->options.sync = false; /* 10,000 rounds */
    fixture_jail(f);
    assert_int_equal(mkdir(fixture_real(f, "/x"), 0755), 0);
    AUTO_FREE char *folder = xstrdup(fixture_real(f, "/x"));
    AUTO_FREE char *link = xstrdup(fixture_real(f, "/absolute"));
    struct swapper s = {.folder = folder, .link = link};
    assert_int_equal(pthread_create(&thread, NULL, swap_on_and_on, &s), 0);
    int done = 0, refused = 0;
    /* The two threads may take turns for long: on until both sides were seen. */
    for (int i = 0;
         i < ROUNDS || (i < ROUNDS_MAX && !(done && refused && atomic_load(&s.swaps) > 100)); i++) {
        static const char *const paths[] = {"/x/canary", "/x/new", "/x/sub/new"};
        static const int calls[] = {0, 1, 2, 4, 5, 6, 7, 8, 9, 10};
        int c = calls[i % (int)ARRAY_LEN(calls)];
        if (c == 6 && !fixture_has(f, "/from"))
            fixture_put(f, "/from", "evil");
        int r = call(f, c, paths[i / (int)ARRAY_LEN(calls) % (int)ARRAY_LEN(paths)]);
        done += r == 0;
        refused += r == -EACCES;
        if (i % 1000 == 0)
            expect_canary(f);
    }
    atomic_store(&s.stop, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    expect_canary(f);
    /* Both sides were seen, else this was no race. */
    assert_true(atomic_load(&s.swaps) > 100);
    assert_true(done > 0);
    assert_true(refused > 0);
}

/* ---- kernels and filters without openat2() ---- */

/* In a child, because a filter stays. */
static void without_openat2(struct fixture *f, int answer)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct sock_filter rules[] = {
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)answer),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        struct sock_fprog program = {ARRAY_LEN(rules), rules};
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
            prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
            _exit(77);
        bool good = call(f, 8, "/a/b.jpg") == 0 && call(f, 0, "/absolute/canary") == -EACCES &&
                    call(f, 8, "/deep/out/new") == -EACCES && call(f, 0, "/a/b.jpg") == 0;
        _exit(good ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
    fixture_expect(f, "/a/b.jpg", "evil");
    expect_canary(f);
}

static void works_where_the_kernel_has_no_openat2(void **state)
{
    put_ways_out(*state);
    without_openat2(*state, ENOSYS);
}

static void works_where_a_filter_refuses_openat2(void **state)
{
    put_ways_out(*state);
    without_openat2(*state, EPERM);
}

#define BOTH_WAYS(name)                                                                            \
    TEST(name),                                                                                    \
    {                                                                                              \
#name "_by_parts", name, set_up_by_parts, tear_down_by_parts, NULL                         \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH_WAYS(makes_the_root_and_the_accounts_folder),
        BOTH_WAYS(refuses_a_home_outside_the_root),
        BOTH_WAYS(refuses_every_path_that_is_not_normal),
        BOTH_WAYS(follows_no_link),
        BOTH_WAYS(touches_no_link_itself),
        BOTH_WAYS(touches_no_device_or_fifo),
        BOTH_WAYS(says_what_is_wrong),
        BOTH_WAYS(tells_what_a_file_is),
        BOTH_WAYS(touches_by_a_mark_nothing_but_what_it_is_of),
        BOTH_WAYS(reads_a_file),
        BOTH_WAYS(lists_files_and_folders_only),
        BOTH_WAYS(lists_no_more_than_asked),
        BOTH_WAYS(makes_folders_with_their_parents),
        BOTH_WAYS(makes_the_accounts_folder_again),
        BOTH_WAYS(renames_files_and_folders),
        BOTH_WAYS(loses_no_picture_by_a_rename),
        BOTH_WAYS(cleans_unfinished_uploads_only),
        BOTH_WAYS(keeps_to_the_number_of_folders),
        BOTH_WAYS(keeps_to_the_number_of_entries_in_one_folder),
        BOTH_WAYS(lets_nobody_out_in_a_race),
        TEST(works_where_the_kernel_has_no_openat2),
        TEST(works_where_a_filter_refuses_openat2),
    };
    return RUN_TESTS(tests);
}
