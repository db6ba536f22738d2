#include "fixture.h"

#include "system_calls.h"

#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/clock.h"

static int set_up(void **state)
{
    calls_reset();
    return fixture_set_up(state);
}

static int tear_down(void **state)
{
    calls_reset();
    return fixture_tear_down(state);
}

static struct ftp_upload *open_upload(struct fixture *f, const char *path)
{
    struct ftp_upload *u = NULL;
    struct ftp_upload_options o = {.path = path, .leave = {.any = true}};
    if (ftp_upload_open(f->jail, &o, &u, &f->e) < 0)
        CASE_FAILS("%s", f->e.text);
    return u;
}

static struct ftp_upload *open_with(struct fixture *f, const char *path, const char *text)
{
    struct ftp_upload *u = open_upload(f, path);
    if (ftp_upload_write(u, text, strlen(text), &f->e) < 0)
        CASE_FAILS("%s", f->e.text);
    return u;
}

static int finish_one(struct fixture *f, struct ftp_upload *u)
{
    int code = 1;
    ftp_upload_finish(&u, 1, &code, &f->e);
    ftp_upload_close(u);
    return code;
}

static int store(struct fixture *f, const char *path, const char *text)
{
    struct ftp_upload *u = NULL;
    struct ftp_upload_options o = {.path = path, .leave = {.any = true}};
    int r = ftp_upload_open(f->jail, &o, &u, &f->e);
    if (r == 0)
        r = ftp_upload_write(u, text, strlen(text), &f->e);
    if (r < 0) {
        ftp_upload_close(u);
        return r;
    }
    return finish_one(f, u);
}

static void expect_nothing_hidden(struct fixture *f, const char *path)
{
    assert_int_equal(fixture_count(f, path, FTP_HIDDEN_PREFIX), 0);
}

/* ---- what is written over ---- */

static int store_over(struct fixture *f, const char *path, const struct ftp_mark *m,
                      const char *meanwhile)
{
    struct ftp_upload *u = NULL;
    struct ftp_upload_options o = {.path = path, .leave = {.one = *m}};
    int r = ftp_upload_open(f->jail, &o, &u, &f->e);
    if (r < 0)
        return r;
    if (meanwhile)
        assert_int_equal(store(f, path, meanwhile), 0);
    expect_code(f, ftp_upload_write(u, "new", 3, &f->e), 0);
    return finish_one(f, u);
}

static void by_a_mark_writes_over_nothing_but_what_it_is_of(void **state)
{
    struct fixture *f = *state;
    struct ftp_file file;
    assert_int_equal(store(f, "/a.txt", "mine"), 0);
    expect_code(f, ftp_jail_stat(f->jail, "/a.txt", &file, &f->e), 0);
    struct ftp_mark m = ftp_mark_of(&file);
    assert_int_equal(store_over(f, "/a.txt", &m, "another's"), -EEXIST);
    assert_int_equal(store_over(f, "/a.txt", &m, NULL), -EEXIST);
    fixture_expect(f, "/a.txt", "another's");
    expect_code(f, ftp_jail_stat(f->jail, "/a.txt", &file, &f->e), 0);
    m = ftp_mark_of(&file);
    assert_int_equal(store_over(f, "/a.txt", &m, NULL), 0);
    fixture_expect(f, "/a.txt", "new");
    assert_int_equal(store_over(f, "/free.txt", &m, NULL), 0);
    expect_nothing_hidden(f, "/");
}

/* ---- what is seen, and when ---- */

static void shows_a_file_only_when_it_is_whole(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    mode_t before = umask(0022);
    struct ftp_upload *u = open_with(f, "/a.jpg", "first ");
    (void)umask(before);
    assert_false(fixture_has(f, "/a.jpg"));
    assert_int_equal(fixture_count(f, "/", FTP_HIDDEN_PREFIX), 1);
    assert_int_equal(ftp_upload_write(u, "second", 6, &f->e), 0);
    assert_int_equal(ftp_upload_file(u)->size, 12);
    int code = 1;
    ftp_upload_finish(&u, 1, &code, &f->e);
    assert_int_equal(code, 0);
    fixture_expect(f, "/a.jpg", "first second");
    expect_nothing_hidden(f, "/");
    assert_int_equal(stat(fixture_real(f, "/a.jpg"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_string_equal(ftp_upload_file(u)->name, "a.jpg");
    assert_int_equal(ftp_upload_file(u)->size, 12);
    assert_int_equal(ftp_upload_file(u)->inode, st.st_ino);
    assert_int_equal(ftp_upload_file(u)->modified.us / 1000000, st.st_mtim.tv_sec);
    ftp_upload_close(u);
    fixture_expect(f, "/a.jpg", "first second");
}

static void leaves_nothing_of_what_was_not_finished(void **state)
{
    struct fixture *f = *state;
    ftp_upload_close(open_upload(f, "/a.jpg"));
    ftp_upload_close(open_with(f, "/a.jpg", "half"));
    fixture_put(f, "/old.txt", "old");
    ftp_upload_close(open_with(f, "/old.txt", "half"));
    fixture_expect(f, "/old.txt", "old");
    assert_int_equal(fixture_count(f, "/", ""), 1);
    ftp_upload_close(NULL);
}

static void stores_an_empty_file(void **state)
{
    struct fixture *f = *state;
    expect_code(f, store(f, "/empty", ""), 0);
    fixture_expect(f, "/empty", "");
}

static void makes_folders_on_the_way(void **state)
{
    struct fixture *f = *state;
    expect_code(f, store(f, "/2026-01-02/001/jpg/07/04/05[M][0@0][0].jpg", "x"), 0);
    fixture_expect(f, "/2026-01-02/001/jpg/07/04/05[M][0@0][0].jpg", "x");
}

static void keeps_a_folder_in_use(void **state)
{
    struct fixture *f = *state;
    struct ftp_upload *u = open_upload(f, "/d/a.jpg");
    expect_code(f, ftp_jail_remove_folder(f->jail, "/d", NULL, &f->e), -ENOTEMPTY);
    expect_code(f, ftp_jail_rename(f->jail, "/d", NULL, "/e", none, &f->e), 0);
    expect_code(f, finish_one(f, u), 0);
    fixture_expect(f, "/e/a.jpg", "");
}

static void refuses_what_is_no_file(void **state)
{
    struct fixture *f = *state;
    struct ftp_upload *u = NULL;
    struct ftp_upload_options o = {.path = "/d", .leave = {.any = true}};
    expect_code(f, ftp_jail_make(f->jail, "/d", &f->e), 0);
    expect_code(f, ftp_upload_open(f->jail, &o, &u, &f->e), -EISDIR);
    o.path = "/";
    expect_code(f, ftp_upload_open(f->jail, &o, &u, &f->e), -EISDIR);
    fixture_put(f, "/file", "x");
    o.path = "/file/a.jpg";
    expect_code(f, ftp_upload_open(f->jail, &o, &u, &f->e), -ENOTDIR);
    assert_null(u);
    /* A link that comes while the bytes do. */
    u = open_with(f, "/a.jpg", "new");
    assert_int_equal(symlink("file", fixture_real(f, "/a.jpg")), 0);
    expect_code(f, finish_one(f, u), -EACCES);
    fixture_expect(f, "/file", "x");
    struct stat st;
    assert_int_equal(lstat(fixture_real(f, "/a.jpg"), &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    /* A folder. */
    u = open_with(f, "/b.jpg", "new");
    expect_code(f, ftp_jail_make(f->jail, "/b.jpg", &f->e), 0);
    expect_code(f, finish_one(f, u), -EISDIR);
    expect_nothing_hidden(f, "/");
}

/* ---- names that are taken ---- */

static void replaces_a_file_that_is_no_picture(void **state)
{
    struct fixture *f = *state;
    expect_code(f, store(f, "/status.txt", "old"), 0);
    struct ftp_upload *u = open_with(f, "/status.txt", "new");
    fixture_expect(f, "/status.txt", "old");
    expect_code(f, finish_one(f, u), 0);
    fixture_expect(f, "/status.txt", "new");
    assert_int_equal(fixture_count(f, "/", ""), 1);
}

static void keeps_every_picture_of_a_fixed_name(void **state)
{
    struct fixture *f = *state;
    expect_code(f, store(f, "/snap.jpg", "1"), 0);
    expect_code(f, store(f, "/snap.jpg", "2"), 0);
    struct ftp_upload *group[2] = {open_with(f, "/snap.jpg", "3"), open_with(f, "/snap.jpg", "4")};
    int codes[2] = {1, 1};
    struct err errs[2];
    ftp_upload_finish(group, 2, codes, errs);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(codes[i], 0);
        ftp_upload_close(group[i]);
    }
    fixture_expect(f, "/snap~1.jpg", "1");
    fixture_expect(f, "/snap~2.jpg", "2");
    fixture_expect(f, "/snap~3.jpg", "3");
    fixture_expect(f, "/snap.jpg", "4");
    assert_int_equal(fixture_count(f, "/", ""), 4);
}

static void replaces_nothing_without_the_right(void **state)
{
    struct fixture *f = *state;
    struct ftp_upload *u = NULL;
    struct ftp_upload_options o = {.path = "/a.txt"};
    fixture_put(f, "/a.txt", "old");
    expect_code(f, ftp_upload_open(f->jail, &o, &u, &f->e), -EEXIST);
    o.offset = -1;
    expect_code(f, ftp_upload_open(f->jail, &o, &u, &f->e), -EEXIST);
    /* Two at once: the second finds the first's. */
    o = (struct ftp_upload_options){.path = "/b.txt"};
    struct ftp_upload *second = NULL;
    expect_code(f, ftp_upload_open(f->jail, &o, &u, &f->e), 0);
    expect_code(f, ftp_upload_open(f->jail, &o, &second, &f->e), 0);
    assert_int_equal(ftp_upload_write(u, "1", 1, &f->e), 0);
    expect_code(f, finish_one(f, u), 0);
    expect_code(f, finish_one(f, second), -EEXIST);
    fixture_expect(f, "/b.txt", "1");
    fixture_expect(f, "/a.txt", "old");
    expect_nothing_hidden(f, "/");
}

static void works_where_names_cannot_be_guarded(void **state)
{
    struct fixture *f = *state;
    calls_fail_always(CALL_RENAME_NEW, EINVAL);
    replaces_nothing_without_the_right(state);
    expect_code(f, store(f, "/snap.jpg", "1"), 0);
    expect_code(f, store(f, "/snap.jpg", "2"), 0);
    fixture_expect(f, "/snap~1.jpg", "1");
    fixture_expect(f, "/snap.jpg", "2");
}

static void makes_names_unique(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *name, *begins, *ends;
    } cases[] = {
        {"a.jpg", "a-", ".jpg"},
        {"a", "a-", ""},
        {".hidden", ".hidden-", ""},
        {"a.b.c", "a.b-", ".c"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases) * 2; i++) {
        struct ftp_upload *u = NULL;
        char path[64];
        (void)text_format(path, sizeof(path), "/%s", cases[i / 2].name);
        struct ftp_upload_options o = {.path = path, .unique = true};
        expect_code(f, ftp_upload_open(f->jail, &o, &u, &f->e), 0);
        const char *name = ftp_upload_file(u)->name;
        if (!text_starts_with(name, cases[i / 2].begins) ||
            !text_ends_with(name, cases[i / 2].ends) ||
            strlen(name) != strlen(cases[i / 2].begins) + 8 + strlen(cases[i / 2].ends))
            CASE_FAILS("%s became %s", path, name);
        expect_code(f, finish_one(f, u), 0);
    }
    assert_int_equal(fixture_count(f, "/", ""), 8);
    /* The longest name loses of its stem, whole characters. */
    char longest[FTP_NAME_MAX + 2] = "/";
    for (int i = 0; i < 125; i++)
        memcpy(longest + 1 + (ptrdiff_t)2 * i, "\xc3\xa4", 2);
    memcpy(longest + 251, ".jpeg", 6);
    struct ftp_upload_options o = {.path = longest, .unique = true};
    struct ftp_upload *u = NULL;
    expect_code(f, ftp_upload_open(f->jail, &o, &u, &f->e), 0);
    const char *name = ftp_upload_file(u)->name;
    assert_true(strlen(name) <= FTP_NAME_MAX && strlen(name) > 250);
    assert_true(text_ends_with(name, ".jpeg"));
    assert_int_equal((strchr(name, '-') - name) % 2, 0);
    expect_code(f, finish_one(f, u), 0);
}

/* ---- going on with what is there ---- */

static int go_on(struct fixture *f, const char *path, int64_t offset, const char *text)
{
    struct ftp_upload *u = NULL;
    struct ftp_upload_options o = {.path = path, .leave = {.any = true}, .offset = offset};
    int r = ftp_upload_open(f->jail, &o, &u, &f->e);
    if (r == 0)
        r = ftp_upload_write(u, text, strlen(text), &f->e);
    if (r < 0) {
        ftp_upload_close(u);
        return r;
    }
    return finish_one(f, u);
}

static void goes_on_with_what_is_there(void **state)
{
    struct fixture *f = *state;
    fixture_put(f, "/a.txt", "12345");
    expect_code(f, go_on(f, "/a.txt", -1, "678"), 0);
    fixture_expect(f, "/a.txt", "12345678");
    expect_code(f, go_on(f, "/a.txt", 2, "x"), 0);
    fixture_expect(f, "/a.txt", "12x");
    expect_code(f, go_on(f, "/a.txt", 3, "y"), 0);
    fixture_expect(f, "/a.txt", "12xy");
    expect_code(f, go_on(f, "/a.txt", 5, "z"), -EINVAL);
    expect_code(f, go_on(f, "/new.txt", 1, "z"), -EINVAL);
    expect_code(f, go_on(f, "/new.txt", -1, "z"), 0);
    fixture_expect(f, "/new.txt", "z");
    fixture_expect(f, "/a.txt", "12xy");
    assert_int_equal(fixture_count(f, "/", ""), 2);
}

static void shows_half_a_change_to_nobody(void **state)
{
    struct fixture *f = *state;
    struct ftp_upload *u = NULL;
    struct ftp_upload_options o = {.path = "/a.txt", .leave = {.any = true}, .offset = -1};
    fixture_put(f, "/a.txt", "12345");
    AUTO_FREE char *kept = xstrdup(fixture_real(f, "/a.txt"));
    AUTO_FREE char *other = xasprintf("%s/link", f->folder);
    assert_int_equal(link(kept, other), 0); /* as the pipeline takes it */
    expect_code(f, ftp_upload_open(f->jail, &o, &u, &f->e), 0);
    assert_int_equal(ftp_upload_file(u)->size, 5);
    assert_int_equal(ftp_upload_write(u, "6", 1, &f->e), 0);
    fixture_expect(f, "/a.txt", "12345");
    expect_code(f, finish_one(f, u), 0);
    fixture_expect(f, "/a.txt", "123456");
    AUTO(blob) b = NULL;
    assert_int_equal(fs_read_blob(f->fd, "link", 100, &b, &f->e), 0);
    assert_int_equal(b->size, 5);
}

/* What an appended picture was is still in it; of one that is cut back something would be lost. */
static void keeps_a_picture_that_is_cut_back(void **state)
{
    struct fixture *f = *state;
    fixture_put(f, "/a.jpg", "12345");
    expect_code(f, go_on(f, "/a.jpg", -1, "6"), 0);
    assert_int_equal(fixture_count(f, "/", ""), 1);
    expect_code(f, go_on(f, "/a.jpg", 3, "x"), 0);
    fixture_expect(f, "/a.jpg", "123x");
    fixture_expect(f, "/a~1.jpg", "123456");
}

static void copies_by_hand_where_the_system_does_not(void **state)
{
    struct fixture *f = *state;
    static const int codes[] = {EXDEV, EINVAL, ENOSYS, EOPNOTSUPP};
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        AUTO_FREE char *large = xcalloc(1, 300001);
        memset(large, 'a' + (int)i, 300000);
        fixture_put(f, "/a.txt", large);
        calls_fail(CALL_COPY, 1, codes[i]);
        expect_code(f, go_on(f, "/a.txt", 200000, ""), 0);
        large[200000] = '\0';
        fixture_expect(f, "/a.txt", large);
    }
    calls_fail(CALL_COPY, 1, EIO);
    expect_code(f, go_on(f, "/a.txt", 3, ""), -EIO);
    expect_nothing_hidden(f, "/");
}

/* ---- the order of steps ---- */

static void finish_group(struct fixture *f, const char *const *paths, int count, int *codes)
{
    struct ftp_upload *group[16];
    struct err errs[16];
    for (int i = 0; i < count; i++)
        group[i] = open_with(f, paths[i], paths[i]);
    calls_trace();
    ftp_upload_finish(group, count, codes, errs);
    calls.tracing = false;
    for (int i = 0; i < count; i++) {
        if (codes[i] < 0 && (errs[i].code != codes[i] || strstr(errs[i].text, "store") == NULL))
            CASE_FAILS("%d: %s", codes[i], errs[i].text);
        ftp_upload_close(group[i]);
    }
}

static void syncs_before_and_after_the_rename(void **state)
{
    struct fixture *f = *state;
    int codes[4];
    static const char *const one[] = {"/a"}, *const three[] = {"/b", "/c", "/d"};
    static const char *const folders[] = {"/x/e", "/y/f", "/x/g", "/y/h"};
    finish_group(f, one, 1, codes);
    assert_string_equal(calls.trace, "fnd");
    finish_group(f, three, 3, codes);
    assert_string_equal(calls.trace, "sssfffnnnd");
    finish_group(f, folders, 4, codes);
    assert_string_equal(calls.trace, "ssssffffnnnndd");
}

static void syncs_nothing_when_told_so(void **state)
{
    struct fixture *f = *state;
    int codes[2];
    static const char *const two[] = {"/x/a", "/y/b"};
    f->options.sync = false;
    fixture_jail(f);
    finish_group(f, two, 2, codes);
    assert_string_equal(calls.trace, "nn");
    assert_int_equal(codes[0] | codes[1], 0);
    calls_trace();
    expect_code(f, ftp_jail_make(f->jail, "/q/r", &f->e), 0);
    expect_code(f, ftp_jail_rename(f->jail, "/x/a", NULL, "/q/a", any, &f->e), 0);
    expect_code(f, ftp_jail_delete(f->jail, "/q/a", NULL, &f->e), 0);
    assert_string_equal(calls.trace, "n");
}

static void syncs_other_changes(void **state)
{
    struct fixture *f = *state;
    calls_trace();
    expect_code(f, ftp_jail_make(f->jail, "/a/b/c", &f->e), 0);
    assert_string_equal(calls.trace, "ddd"); /* the parents of all three */
    fixture_put(f, "/a/x", "x");
    calls_trace();
    expect_code(f, ftp_jail_rename(f->jail, "/a/x", NULL, "/a/y", any, &f->e), 0);
    assert_string_equal(calls.trace, "nd");
    calls_trace();
    expect_code(f, ftp_jail_rename(f->jail, "/a/y", NULL, "/a/b/y", any, &f->e), 0);
    assert_string_equal(calls.trace, "ndd");
    calls_trace();
    expect_code(f, ftp_jail_delete(f->jail, "/a/b/y", NULL, &f->e), 0);
    assert_string_equal(calls.trace, "d");
}

static void starts_to_write_a_large_file_early(void **state)
{
    struct fixture *f = *state;
    AUTO_FREE char *block = xcalloc(1, 1 << 20);
    struct ftp_upload *u = open_upload(f, "/a");
    calls_trace();
    for (int i = 0; i < 9; i++)
        assert_int_equal(ftp_upload_write(u, block, 1 << 20, &f->e), 0);
    assert_string_equal(calls.trace, "ss");
    expect_code(f, finish_one(f, u), 0);
    assert_string_equal(calls.trace, "ssfnd");
}

/* ---- failures ---- */

static void claims_nothing_for_a_file_whose_sync_failed(void **state)
{
    struct fixture *f = *state;
    static const char *const three[] = {"/a", "/b", "/c"};
    static const int failures[] = {EIO, ENOSPC, EDQUOT};
    for (size_t i = 0; i < ARRAY_LEN(failures); i++) {
        int codes[3];
        calls_fail(CALL_SYNC_FILE, 2, failures[i]);
        finish_group(f, three, 3, codes);
        assert_string_equal(calls.trace, "sssfffnnd"); /* and it is tried once only */
        assert_int_equal(codes[0], 0);
        assert_int_equal(codes[1], -failures[i]);
        assert_int_equal(codes[2], 0);
        assert_true(fixture_has(f, "/a"));
        assert_false(fixture_has(f, "/b"));
        assert_true(fixture_has(f, "/c"));
        assert_int_equal(fixture_count(f, "/", ""), 2);
        assert_int_equal(unlink(fixture_real(f, "/a")), 0);
        assert_int_equal(unlink(fixture_real(f, "/c")), 0);
    }
}

static void does_not_mind_when_an_early_start_fails(void **state)
{
    struct fixture *f = *state;
    static const char *const two[] = {"/a", "/b"};
    int codes[2];
    calls_fail_always(CALL_START, ENOSYS);
    finish_group(f, two, 2, codes);
    assert_int_equal(codes[0] | codes[1], 0);
    assert_string_equal(calls.trace, "ssffnnd");
}

static void claims_nothing_for_a_file_without_its_name(void **state)
{
    struct fixture *f = *state;
    static const char *const two[] = {"/a", "/b"};
    int codes[2];
    calls_fail(CALL_RENAME_NEW, 1, EIO);
    finish_group(f, two, 2, codes);
    assert_int_equal(codes[0], -EIO);
    assert_int_equal(codes[1], 0);
    assert_false(fixture_has(f, "/a"));
    expect_nothing_hidden(f, "/");
    fixture_put(f, "/old.txt", "old");
    calls_fail(CALL_RENAME, 1, ENOSPC);
    expect_code(f, store(f, "/old.txt", "new"), -ENOSPC);
    fixture_expect(f, "/old.txt", "old");
    expect_nothing_hidden(f, "/");
    /* Somebody takes the unfinished file away. */
    struct ftp_upload *u = open_with(f, "/c", "c");
    assert_int_equal(ftp_jail_clean(f->root, &f->e), 1);
    expect_code(f, finish_one(f, u), -EIO);
    assert_false(fixture_has(f, "/c"));
}

/* Another session's, before the sync of the folder says no. */
static void replace_it(int folder_fd)
{
    assert_int_equal(unlinkat(folder_fd, "b.txt", 0), 0);
    AUTO_CLOSE int fd = openat(folder_fd, "b.txt", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    assert_int_equal(write(fd, "newer", 5), 5);
}

static void claims_nothing_in_a_folder_whose_sync_failed(void **state)
{
    struct fixture *f = *state;
    static const char *const five[] = {"/x/a", "/y/b", "/x/c", "/y/d", "/z/e"};
    int codes[5];
    expect_code(f, ftp_jail_make(f->jail, "/x", &f->e), 0);
    expect_code(f, ftp_jail_make(f->jail, "/y", &f->e), 0);
    expect_code(f, ftp_jail_make(f->jail, "/z", &f->e), 0);
    calls_fail(CALL_SYNC_FOLDER, 2, EIO); /* of y */
    finish_group(f, five, 5, codes);
    assert_string_equal(calls.trace, "sssssfffffnnnnnddd");
    assert_int_equal(codes[0], 0);
    assert_int_equal(codes[1], -EIO);
    assert_int_equal(codes[2], 0);
    assert_int_equal(codes[3], -EIO);
    assert_int_equal(codes[4], 0);
    assert_int_equal(fixture_count(f, "/x", ""), 2);
    assert_int_equal(fixture_count(f, "/y", ""), 0); /* the client sends them again */
    assert_int_equal(fixture_count(f, "/z", ""), 1);
    /* A newer one of that name is not taken back with it. */
    calls_fail(CALL_SYNC_FOLDER, 1, EIO);
    calls.before[CALL_SYNC_FOLDER] = replace_it;
    expect_code(f, store(f, "/y/b.txt", "old"), -EIO);
    fixture_expect(f, "/y/b.txt", "newer");
}

static void leaves_nothing_of_a_write_that_failed(void **state)
{
    struct fixture *f = *state;
    static const int failures[] = {ENOSPC, EIO, EDQUOT, EFBIG};
    for (size_t i = 0; i < ARRAY_LEN(failures); i++) {
        struct ftp_upload *u = open_with(f, "/a", "one");
        int code = 1;
        calls_fail(CALL_WRITE, 1, failures[i]);
        expect_code(f, ftp_upload_write(u, "two", 3, &f->e), -failures[i]);
        expect_code(f, ftp_upload_write(u, "three", 5, &f->e), -failures[i]); /* for good */
        ftp_upload_finish(&u, 1, &code, &f->e);
        assert_int_equal(code, -failures[i]);
        ftp_upload_close(u);
        assert_int_equal(fixture_count(f, "/", ""), 0);
    }
}

static void tells_a_process_limit_from_a_quota(void **state)
{
    struct fixture *f = *state;
    AUTO_FREE char *bytes = xcalloc(1, 100000);
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    struct rlimit small = {50000, before.rlim_max};
    struct ftp_upload *u = open_upload(f, "/a");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int r = ftp_upload_write(u, bytes, 100000, &f->e);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    (void)signal(SIGXFSZ, handler);
    ftp_upload_close(u);
    expect_code(f, r, -EFBIG);
    assert_int_equal(fixture_count(f, "/", ""), 0);
}

/* ---- folders in the making ---- */

static void undoes_folders_that_could_not_be_synced(void **state)
{
    struct fixture *f = *state;
    calls_fail(CALL_SYNC_FOLDER, 2, EIO);
    expect_code(f, ftp_jail_make(f->jail, "/a/b/c", &f->e), -EIO);
    assert_false(fixture_has(f, "/a"));
    expect_code(f, store(f, "/a/b/c/x", "x"), 0);
    assert_true(fixture_has(f, "/a/b/c/x"));
}

static struct {
    sem_t reached, go_on;
    bool armed;
} pause_at;

static void pause_first(int fd UNUSED)
{
    if (!pause_at.armed)
        return;
    pause_at.armed = false;
    (void)sem_post(&pause_at.reached);
    test_wait(&pause_at.go_on);
}

static void *make_folder(void *arg)
{
    struct fixture *f = arg;
    struct err e;
    return (void *)(intptr_t)ftp_jail_make(f->jail, "/a/b", &e);
}

struct finisher {
    struct ftp_upload *upload;
    int code;
    sem_t done;
};

static void *finish_it(void *arg)
{
    struct finisher *x = arg;
    struct err e;
    ftp_upload_finish(&x->upload, 1, &x->code, &e);
    (void)sem_post(&x->done);
    return NULL;
}

/* One session makes a folder, and before its name is on the disk another one's picture is in it. */
static int race_for_a_folder(struct fixture *f, bool sync_fails)
{
    pthread_t maker, finisher;
    void *made = NULL;
    struct finisher x = {.code = 1};
    assert_int_equal(sem_init(&pause_at.reached, 0, 0), 0);
    assert_int_equal(sem_init(&pause_at.go_on, 0, 0), 0);
    assert_int_equal(sem_init(&x.done, 0, 0), 0);
    pause_at.armed = true;
    calls.before[CALL_SYNC_FOLDER] = pause_first;
    assert_int_equal(pthread_create(&maker, NULL, make_folder, f), 0);
    test_wait(&pause_at.reached); /* the folder is there, its parent not synced */
    x.upload = open_with(f, "/a/b/x.jpg", "x");
    assert_int_equal(pthread_create(&finisher, NULL, finish_it, &x), 0);
    /* It gets as far as its own name, and no further. */
    while (!fixture_has(f, "/a/b/x.jpg"))
        (void)sched_yield();
    struct timespec soon;
    (void)clock_gettime(CLOCK_REALTIME, &soon);
    soon.tv_nsec += 50 * 1000 * 1000;
    soon.tv_sec += soon.tv_nsec / 1000000000;
    soon.tv_nsec %= 1000000000;
    assert_int_equal(sem_timedwait(&x.done, &soon), -1);
    if (sync_fails)
        calls_fail_always(CALL_SYNC_FOLDER, EIO);
    (void)sem_post(&pause_at.go_on);
    test_wait(&x.done);
    assert_int_equal(pthread_join(maker, &made), 0);
    assert_int_equal(pthread_join(finisher, NULL), 0);
    assert_int_equal((int)(intptr_t)made, sync_fails ? -EIO : 0);
    ftp_upload_close(x.upload);
    calls_reset();
    assert_int_equal(fixture_has(f, "/a/b/x.jpg"), !sync_fails);
    return x.code;
}

static void waits_for_a_folder_that_another_session_makes(void **state)
{
    assert_int_equal(race_for_a_folder(*state, false), 0);
}

static void claims_nothing_in_a_folder_that_may_be_lost(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(race_for_a_folder(f, true), -EIO);
    assert_int_equal(store(f, "/a/b/y.jpg", "y"), -EIO); /* not later either */
    assert_int_equal(store(f, "/a/c/y.jpg", "y"), -EIO);
    assert_int_equal(store(f, "/ab.jpg", "y"), 0);
}

/* ---- limits ---- */

static int store_bytes(struct fixture *f, const char *path, size_t size)
{
    AUTO_FREE char *bytes = xmalloc(size + 1);
    memset(bytes, 'x', size);
    bytes[size] = '\0';
    return store(f, path, bytes);
}

static int announce(struct fixture *f, const char *path, int64_t size)
{
    struct ftp_upload *u = NULL;
    struct ftp_upload_options o = {.path = path, .leave = {.any = true}, .announced = size};
    int r = ftp_upload_open(f->jail, &o, &u, &f->e);
    ftp_upload_close(u);
    return r;
}

static void keeps_to_the_size_of_a_file(void **state)
{
    struct fixture *f = *state;
    f->account.size_max = 1000;
    fixture_jail(f);
    expect_code(f, store_bytes(f, "/a", 999), 0);
    expect_code(f, store_bytes(f, "/a", 1000), 0);
    expect_code(f, store_bytes(f, "/b", 1001), -EFBIG);
    assert_non_null(strstr(f->e.text, "size_max"));
    assert_false(fixture_has(f, "/b"));
    expect_code(f, announce(f, "/b", 999), 0);
    expect_code(f, announce(f, "/b", 1000), 0);
    expect_code(f, announce(f, "/b", 1001), -EFBIG);
    expect_code(f, go_on(f, "/a", -1, "x"), -EFBIG);
    expect_code(f, go_on(f, "/a", 999, "x"), 0);
    struct ftp_upload *u = open_upload(f, "/c");
    char block[100] = {0};
    for (int i = 0; i < 10; i++)
        assert_int_equal(ftp_upload_write(u, block, sizeof(block), &f->e), 0);
    expect_code(f, ftp_upload_write(u, "x", 1, &f->e), -EFBIG);
    ftp_upload_close(u);
    expect_nothing_hidden(f, "/");
}

static void keeps_to_the_quota(void **state)
{
    struct fixture *f = *state;
    fixture_put(f, "/there.txt", "0123456789"); /* 10 bytes before anything is counted */
    expect_code(f, ftp_jail_make(f->jail, "/d", &f->e), 0);
    fixture_put(f, "/d/there.txt", "0123456789"); /* 20 */
    fixture_put(f, "/.incoming-1", "0123456789"); /* an unfinished one is nobody's */
    f->account.quota = 1000;
    fixture_jail(f);
    expect_code(f, announce(f, "/a", 979), 0);
    expect_code(f, announce(f, "/a", 980), 0);
    expect_code(f, announce(f, "/a", 981), -EDQUOT);
    assert_non_null(strstr(f->e.text, "quota"));
    expect_code(f, store_bytes(f, "/a", 981), -EDQUOT);
    expect_code(f, store_bytes(f, "/a", 979), 0);
    expect_code(f, store_bytes(f, "/b", 2), -EDQUOT);
    expect_code(f, store_bytes(f, "/b", 1), 0); /* 1000 */
    expect_code(f, store_bytes(f, "/c", 1), -EDQUOT);
    expect_code(f, store_bytes(f, "/c", 0), 0);
    assert_int_equal(unlink(fixture_real(f, "/.incoming-1")), 0);
    expect_nothing_hidden(f, "/");
    /* What is replaced makes room. */
    expect_code(f, store_bytes(f, "/a", 980), -EDQUOT);
    expect_code(f, store_bytes(f, "/a", 979), 0);
    expect_code(f, store_bytes(f, "/a", 500), 0);
    expect_code(f, store_bytes(f, "/b", 481), -EDQUOT);
    expect_code(f, store_bytes(f, "/b", 480), 0);
    /* So does what is deleted. */
    expect_code(f, ftp_jail_delete(f->jail, "/b", NULL, &f->e), 0);
    expect_code(f, store_bytes(f, "/c", 480), 0);
    expect_code(f, go_on(f, "/c", -1, "x"), -EDQUOT);
    expect_code(f, go_on(f, "/c", 479, "x"), 0);
}

static void counts_the_bytes_of_uploads_under_way(void **state)
{
    struct fixture *f = *state;
    char bytes[600] = {0};
    f->account.quota = 1000;
    fixture_jail(f);
    struct ftp_upload *a = open_upload(f, "/a"), *b = open_upload(f, "/b");
    assert_int_equal(ftp_upload_write(a, bytes, 600, &f->e), 0);
    assert_int_equal(ftp_upload_write(b, bytes, 400, &f->e), 0);
    expect_code(f, ftp_upload_write(b, bytes, 1, &f->e), -EDQUOT);
    ftp_upload_close(b);
    b = open_upload(f, "/b");
    expect_code(f, ftp_upload_write(b, bytes, 401, &f->e), -EDQUOT);
    ftp_upload_close(a); /* aborted: its share is free again */
    ftp_upload_close(b);
    expect_code(f, store_bytes(f, "/b", 1000), 0);
}

static void counts_anew_before_it_refuses(void **state)
{
    struct fixture *f = *state;
    f->account.quota = 1000;
    fixture_jail(f);
    expect_code(f, store_bytes(f, "/a.jpg", 1000), 0);
    for (int i = 0; i < 5; i++) {
        struct mono_time began = clock_mono();
        assert_int_equal(unlink(fixture_real(f, "/a.jpg")), 0); /* the pipeline took it */
        int r = store_bytes(f, "/a.jpg", 1000);
        /* A count gets a twentieth of the time: this small tree is counted soon. */
        for (; r == -EDQUOT; r = store_bytes(f, "/a.jpg", 1000))
            assert_true(mono_diff_ms(clock_mono(), began) < 5000);
        expect_code(f, r, 0);
    }
}

static void keeps_a_reserve_of_the_disk(void **state)
{
    struct fixture *f = *state;
    enum { RESERVE = 100000000, MB = 1 << 20 };
    AUTO_FREE char *block = xcalloc(1, MB);
    f->options.reserve = RESERVE;
    fixture_jail(f);
    calls.free_bytes = RESERVE + 1;
    expect_code(f, announce(f, "/a", 0), 0);
    calls.free_bytes = RESERVE;
    expect_code(f, announce(f, "/a", 0), 0);
    calls.free_bytes = RESERVE - 1;
    expect_code(f, announce(f, "/a", 0), -ENOSPC);
    assert_non_null(strstr(f->e.text, "reserve"));
    calls.free_bytes = RESERVE + 5000;
    expect_code(f, announce(f, "/a", 4999), 0);
    expect_code(f, announce(f, "/a", 5000), 0);
    expect_code(f, announce(f, "/a", 5001), -ENOSPC);
    /* While the bytes come it is looked at every few megabytes. */
    struct ftp_upload *u = open_upload(f, "/a");
    calls.free_bytes = RESERVE;
    int written = 0, r = 0;
    while (r == 0 && written < 20) {
        r = ftp_upload_write(u, block, MB, &f->e);
        written += r == 0;
    }
    ftp_upload_close(u);
    expect_code(f, r, -ENOSPC);
    assert_true(written < 5);
    calls.free_bytes = RESERVE + 20 * MB;
    u = open_upload(f, "/a");
    for (int i = 0; i < 20; i++)
        expect_code(f, ftp_upload_write(u, block, MB, &f->e), 0);
    expect_code(f, finish_one(f, u), 0);
    expect_nothing_hidden(f, "/");
}

/* A file system of its own, in a child with its own mounts. */
static void fill_a_disk(struct fixture *f)
{
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("small", f->folder, "tmpfs", 0, "size=2m") < 0)
        _exit(77);
    (void)alarm(60);
    fixture_jail(f);
    bool good = store_bytes(f, "/a.jpg", 1500000) == 0;
    good = good && store_bytes(f, "/b.jpg", 1500000) == -ENOSPC;
    good = good && !fixture_has(f, "/b.jpg") && fixture_count(f, "/", "") == 1;
    good = good && store_bytes(f, "/b.jpg", 300000) == 0;
    good = good && unlink(fixture_real(f, "/a.jpg")) == 0;
    good = good && store_bytes(f, "/c.jpg", 1500000) == 0;
    _exit(good ? 0 : 1);
}

static void bears_a_full_disk(void **state)
{
    struct fixture *f = *state;
    int status = 0;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        fill_a_disk(f);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) {
        print_message("# needs the right to mount\n");
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- whole or cut ---- */

static const char jpeg[] = "\xff\xd8\xff\xe0\x00\x04zz"                           /* APP0 */
                           "\xff\xc0\x00\x0b\x08\x00\x08\x00\x08\x01\x01\x11\x00" /* SOF0 */
                           "\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00pixels"       /* SOS */
                           "\xff\xd9";
#define JPEG_SIZE (sizeof(jpeg) - 1)

static void knows_a_cut_picture(void **state)
{
    struct fixture *f = *state;
    struct ftp_upload *u = open_upload(f, "/a.jpg");
    assert_false(ftp_upload_is_cut(u));
    assert_int_equal(ftp_upload_write(u, jpeg, 20, &f->e), 0);
    assert_true(ftp_upload_is_cut(u));
    assert_int_equal(ftp_upload_write(u, jpeg + 20, JPEG_SIZE - 21, &f->e), 0);
    assert_true(ftp_upload_is_cut(u));
    assert_int_equal(ftp_upload_write(u, jpeg + JPEG_SIZE - 1, 1, &f->e), 0);
    assert_false(ftp_upload_is_cut(u));
    assert_int_equal(ftp_upload_write(u, "\0\0\0padding", 10, &f->e), 0);
    assert_false(ftp_upload_is_cut(u));
    ftp_upload_close(u);
    u = open_with(f, "/a.txt", "no picture");
    assert_false(ftp_upload_is_cut(u));
    ftp_upload_close(u);
}

static void knows_a_cut_picture_that_goes_on(void **state)
{
    struct fixture *f = *state;
    struct ftp_upload_options o = {.path = "/a.jpg", .leave = {.any = true}, .offset = -1};
    struct ftp_upload *u = open_upload(f, "/a.jpg");
    assert_int_equal(ftp_upload_write(u, jpeg, 30, &f->e), 0);
    expect_code(f, finish_one(f, u), 0); /* nobody checked */
    expect_code(f, ftp_upload_open(f->jail, &o, &u, &f->e), 0);
    assert_true(ftp_upload_is_cut(u));
    assert_int_equal(ftp_upload_write(u, jpeg + 30, JPEG_SIZE - 30, &f->e), 0);
    assert_false(ftp_upload_is_cut(u));
    ftp_upload_close(u);
}

#undef TEST
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(by_a_mark_writes_over_nothing_but_what_it_is_of),
        TEST(shows_a_file_only_when_it_is_whole),
        TEST(leaves_nothing_of_what_was_not_finished),
        TEST(stores_an_empty_file),
        TEST(makes_folders_on_the_way),
        TEST(keeps_a_folder_in_use),
        TEST(refuses_what_is_no_file),
        TEST(replaces_a_file_that_is_no_picture),
        TEST(keeps_every_picture_of_a_fixed_name),
        TEST(replaces_nothing_without_the_right),
        TEST(works_where_names_cannot_be_guarded),
        TEST(makes_names_unique),
        TEST(goes_on_with_what_is_there),
        TEST(shows_half_a_change_to_nobody),
        TEST(keeps_a_picture_that_is_cut_back),
        TEST(copies_by_hand_where_the_system_does_not),
        TEST(syncs_before_and_after_the_rename),
        TEST(syncs_nothing_when_told_so),
        TEST(syncs_other_changes),
        TEST(starts_to_write_a_large_file_early),
        TEST(claims_nothing_for_a_file_whose_sync_failed),
        TEST(does_not_mind_when_an_early_start_fails),
        TEST(claims_nothing_for_a_file_without_its_name),
        TEST(claims_nothing_in_a_folder_whose_sync_failed),
        TEST(leaves_nothing_of_a_write_that_failed),
        TEST(tells_a_process_limit_from_a_quota),
        TEST(undoes_folders_that_could_not_be_synced),
        TEST(waits_for_a_folder_that_another_session_makes),
        TEST(claims_nothing_in_a_folder_that_may_be_lost),
        TEST(keeps_to_the_size_of_a_file),
        TEST(keeps_to_the_quota),
        TEST(counts_the_bytes_of_uploads_under_way),
        TEST(counts_anew_before_it_refuses),
        TEST(keeps_a_reserve_of_the_disk),
        TEST(bears_a_full_disk),
        TEST(knows_a_cut_picture),
        TEST(knows_a_cut_picture_that_goes_on),
    };
    return RUN_TESTS(tests);
}
