#include "fixture.h"

/* Files. */

static void tells_a_file_when_it_has_settled(void **state)
{
    struct fixture *f = *state;
    begin(f);
    pass(f, 0);
    write_file(f, "a.jpg", "picture");
    pass(f, SETTLE_MS - 1);
    expect_told(f, "");
    pass(f, 1);
    expect_told(f, "a.jpg 7");
    struct stat st;
    assert_int_equal(stat(in_root(f, "a.jpg"), &st), 0);
    assert_int_equal(f->last.inode, st.st_ino);
    assert_int_equal(f->last.device, st.st_dev);
    assert_int_equal(f->last.modified.us, st.st_mtim.tv_sec * 1000000 + st.st_mtim.tv_nsec / 1000);
    pass(f, LONG_MS);
    expect_told(f, "");
}

static void tells_what_was_there_at_the_start(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(mkdir(f->root, 0755), 0);
    make_folder(f, "cam");
    make_folder(f, "cam/2026-01-02");
    write_file(f, "cam/2026-01-02/a.jpg", "aa");
    write_file(f, "b.jpg", "b");
    begin(f);
    pass(f, UNSURE_MS - 1);
    expect_told(f, "");
    pass(f, 1);
    expect_told(f, "b.jpg 1; cam/2026-01-02/a.jpg 2");
    pass(f, LONG_MS);
    expect_told(f, "");
}

static void what_is_written_while_it_starts_has_to_look_the_same_twice(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(mkdir(f->root, 0755), 0);
    int fd = open_file(f, "a.jpg", O_CREAT);
    put(fd, "half");
    begin(f);
    pass(f, UNSURE_MS - 1);
    put(fd, "half");
    pass(f, UNSURE_MS - 1);
    expect_told(f, "");
    pass(f, 1);
    expect_told(f, "a.jpg 8");
    assert_int_equal(close(fd), 0);
    pass(f, LONG_MS);
    expect_told(f, ""); /* nothing is new in it */
}

static void stored_and_renamed_at_once_is_one_file(void **state)
{
    struct fixture *f = *state;
    begin(f);
    pass(f, 0);
    write_file(f, ".incoming-1", "picture");
    rename_file(f, ".incoming-1", "tmp.jpg");
    pass(f, SETTLE_MS / 2);
    rename_file(f, "tmp.jpg", "a.jpg");
    pass(f, SETTLE_MS - 1);
    expect_told(f, "");
    pass(f, 1);
    expect_told(f, "a.jpg 7");
    pass(f, LONG_MS);
    expect_told(f, "");
}

static void a_file_renamed_in_is_whole(void **state)
{
    struct fixture *f = *state;
    begin(f);
    pass(f, 0);
    char outside[100];
    (void)snprintf(outside, sizeof(outside), "%s/b.jpg", f->home);
    write_file(f, "../b.jpg", "outside");
    assert_int_equal(rename(outside, in_root(f, "b.jpg")), 0);
    pass(f, SETTLE_MS);
    expect_told(f, "b.jpg 7");
    /* And one that is renamed out before it has settled is none. */
    write_file(f, "c.jpg", "c");
    pass(f, SETTLE_MS - 1);
    assert_int_equal(rename(in_root(f, "c.jpg"), outside), 0);
    pass(f, LONG_MS);
    expect_told(f, "");
}

static void a_rename_under_the_hands_of_its_writer_is_not_whole(void **state)
{
    struct fixture *f = *state;
    begin(f);
    pass(f, 0);
    int fd = open_file(f, "a.part.jpg", O_CREAT);
    put(fd, "half");
    rename_file(f, "a.part.jpg", "a.jpg");
    pass(f, UNSURE_MS - 1);
    expect_told(f, "");
    put(fd, "half");
    assert_int_equal(close(fd), 0);
    pass(f, UNSURE_MS);
    expect_told(f, "a.jpg 8");
}

static void a_slow_writer_is_waited_for(void **state)
{
    struct fixture *f = *state;
    begin(f);
    pass(f, 0);
    int fd = open_file(f, "a.jpg", O_CREAT);
    for (int i = 0; i < 10; i++) {
        put(fd, "part");
        pass(f, UNSURE_MS - 1);
        expect_told(f, "");
    }
    assert_int_equal(close(fd), 0);
    pass(f, SETTLE_MS - 1);
    expect_told(f, "");
    pass(f, 1);
    expect_told(f, "a.jpg 40");
}

static void a_writer_that_comes_again_is_waited_for(void **state)
{
    struct fixture *f = *state;
    begin(f);
    pass(f, 0);
    write_file(f, "a.jpg", "one");
    pass(f, SETTLE_MS - 1);
    for (int i = 0; i < 3; i++) {
        int fd = open_file(f, "a.jpg", O_APPEND);
        put(fd, "more");
        assert_int_equal(close(fd), 0);
        pass(f, UNSURE_MS - 1);
        expect_told(f, "");
    }
    pass(f, 1);
    expect_told(f, "a.jpg 15");
    pass(f, LONG_MS);
    expect_told(f, "");
}

static void two_writers_are_waited_for(void **state)
{
    struct fixture *f = *state;
    begin(f);
    pass(f, 0);
    int other = open_file(f, "a.jpg", O_CREAT);
    write_file(f, "a.jpg", "one");
    pass(f, SETTLE_MS - 1);
    assert_int_equal(close(other), 0);
    pass(f, UNSURE_MS - 1);
    expect_told(f, "");
    pass(f, 1);
    expect_told(f, "a.jpg 3");
}

static void a_writer_that_never_closes_is_told_when_it_rests(void **state)
{
    struct fixture *f = *state;
    begin(f);
    pass(f, 0);
    int fd = open_file(f, "a.jpg", O_CREAT);
    put(fd, "one");
    pass(f, UNSURE_MS);
    expect_told(f, "a.jpg 3");
    put(fd, "two");
    pass(f, UNSURE_MS - 1);
    expect_told(f, "");
    pass(f, 1);
    expect_told(f, "a.jpg 6");
    assert_int_equal(close(fd), 0);
    pass(f, LONG_MS);
    expect_told(f, "");
}

/* A mapping keeps the file open for the kernel, and its writes are told by nobody. */
static void a_writer_by_a_mapping_is_told_when_it_is_done(void **state)
{
    struct fixture *f = *state;
    begin(f);
    pass(f, 0);
    int fd = open(in_root(f, "a.jpg"), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, 5), 0);
    char *p = mmap(NULL, 5, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(p, MAP_FAILED);
    assert_int_equal(close(fd), 0);
    memcpy(p, "bytes", 5);
    pass(f, UNSURE_MS - 1);
    expect_told(f, "");
    assert_int_equal(munmap(p, 5), 0);
    pass(f, UNSURE_MS - 1);
    expect_told(f, "a.jpg 5");
    /* In place, much later. */
    fd = open(in_root(f, "a.jpg"), O_RDWR | O_CLOEXEC);
    p = mmap(NULL, 5, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(p, MAP_FAILED);
    assert_int_equal(close(fd), 0);
    memcpy(p, "other", 5);
    assert_int_equal(msync(p, 5, MS_SYNC), 0);
    assert_int_equal(munmap(p, 5), 0);
    struct timespec later[2] = {{.tv_sec = 1}, {.tv_sec = 1}}; /* surely another mtime */
    assert_int_equal(utimensat(AT_FDCWD, in_root(f, "a.jpg"), later, 0), 0);
    pass(f, UNSURE_MS);
    expect_told(f, "a.jpg 5");
}

static void of_a_file_that_is_replaced_before_it_settled_only_the_new_is_told(void **state)
{
    struct fixture *f = *state;
    begin(f);
    pass(f, 0);
    write_file(f, ".1", "old");
    rename_file(f, ".1", "image.jpg");
    pass(f, SETTLE_MS - 1);
    write_file(f, ".2", "newer");
    rename_file(f, ".2", "image.jpg");
    pass(f, SETTLE_MS - 1);
    expect_told(f, "");
    pass(f, 1);
    expect_told(f, "image.jpg 5");
    pass(f, LONG_MS);
    expect_told(f, "");
}

static void a_whole_file_over_one_that_is_being_written_gets_its_own_time(void **state)
{
    struct fixture *f = *state;
    begin(f);
    pass(f, 0);
    int fd = open_file(f, "image.jpg", O_CREAT);
    for (int i = 0; i < 10; i++) {
        put(fd, "part");
        pass(f, UNSURE_MS - 1);
    }
    write_file(f, ".new", "whole");
    rename_file(f, ".new", "image.jpg");
    assert_int_equal(close(fd), 0);
    pass(f, SETTLE_MS - 1);
    expect_told(f, "");
    pass(f, 1);
    expect_told(f, "image.jpg 5");
}

static void each_settled_version_of_a_fixed_name_is_told(void **state)
{
    struct fixture *f = *state;
    begin(f);
    pass(f, 0);
    for (int i = 0; i < 5; i++) {
        /* By turns in place and by a rename, always with the same size. */
        write_file(f, i % 2 ? "image.jpg" : ".new", "12345");
        if (i % 2 == 0)
            rename_file(f, ".new", "image.jpg");
        struct timespec times[2] = {{.tv_sec = 100 + i}, {.tv_sec = 100 + i}};
        assert_int_equal(utimensat(AT_FDCWD, in_root(f, "image.jpg"), times, 0), 0);
        pass(f, SETTLE_MS);
        expect_told(f, "image.jpg 5");
    }
    pass(f, LONG_MS);
    expect_told(f, "");
}

static void a_name_replaced_faster_than_it_settles_is_told_now_and_then(void **state)
{
    struct fixture *f = *state;
    begin(f);
    pass(f, 0);
    for (int i = 0; i < 40; i++) {
        write_file(f, ".new", "picture");
        rename_file(f, ".new", "image.jpg");
        pass(f, SETTLE_MS / 2);
    }
    pass(f, SETTLE_MS);
    if (f->told_count < 4 || f->told_count > 10)
        CASE_FAILS("told %d times", f->told_count);
    forget_told(f);
}

static void what_is_removed_before_it_settled_is_not_told(void **state)
{
    struct fixture *f = *state;
    begin(f);
    pass(f, 0);
    write_file(f, "a.jpg", "a");
    pass(f, SETTLE_MS - 1);
    assert_int_equal(unlink(in_root(f, "a.jpg")), 0);
    pass(f, LONG_MS);
    expect_told(f, "");
    struct watch_counts c;
    watch_counts(f->w, &c);
    assert_int_equal(c.settling, 0);
}

static void the_same_name_after_a_removal_is_a_new_file(void **state)
{
    struct fixture *f = *state;
    begin(f);
    for (int i = 0; i < 3; i++) {
        write_file(f, "a.jpg", "same");
        pass(f, UNSURE_MS);
        expect_told(f, "a.jpg 4");
        assert_int_equal(unlink(in_root(f, "a.jpg")), 0);
        pass(f, 0);
    }
}

static void a_touch_without_a_change_is_nothing_new(void **state)
{
    struct fixture *f = *state;
    begin(f);
    pass(f, 0);
    write_file(f, "a.jpg", "a");
    pass(f, SETTLE_MS);
    expect_told(f, "a.jpg 1");
    assert_int_equal(close(open_file(f, "a.jpg", 0)), 0);
    assert_int_equal(chmod(in_root(f, "a.jpg"), 0600), 0);
    pass(f, LONG_MS);
    expect_told(f, "");
}

static void links_and_devices(void **state)
{
    struct fixture *f = *state;
    begin(f);
    pass(f, 0);
    write_file(f, "../outside", "outside");
    char outside[100];
    (void)snprintf(outside, sizeof(outside), "%s/outside", f->home);
    /* A hard link is a whole file, and nobody closes it. */
    assert_int_equal(link(outside, in_root(f, "hard.jpg")), 0);
    assert_int_equal(symlink(outside, in_root(f, "soft.jpg")), 0);
    assert_int_equal(mkfifo(in_root(f, "fifo.jpg"), 0600), 0);
    assert_int_equal(mkdir(in_root(f, "../elsewhere"), 0755), 0);
    write_file(f, "../elsewhere/x.jpg", "x");
    assert_int_equal(symlink("../elsewhere", in_root(f, "folder")), 0);
    write_file(f, ".hidden.jpg", "h");
    make_folder(f, ".hidden");
    write_file(f, ".hidden/y.jpg", "y");
    pass(f, UNSURE_MS - 1);
    expect_told(f, "");
    pass(f, 1);
    expect_told(f, "hard.jpg 7");
    /* A second name is a second file for whoever goes by names. */
    assert_int_equal(link(in_root(f, "hard.jpg"), in_root(f, "hard2.jpg")), 0);
    pass(f, UNSURE_MS);
    expect_told(f, "hard2.jpg 7");
    /* The same by looking. */
    watch_free(f->w);
    f->w = NULL;
    begin(f);
    pass(f, LONG_MS);
    expect_told(f, "hard.jpg 7; hard2.jpg 7");
}

static void times_of_other_centuries_do_no_harm(void **state)
{
    struct fixture *f = *state;
    begin(f);
    pass(f, 0);
    static const time_t times[] = {0, 1, INT64_C(4102444800), INT64_C(2147483648)};
    for (int i = 0; i < (int)ARRAY_LEN(times); i++) {
        struct timespec set[2] = {{.tv_sec = times[i]}, {.tv_sec = times[i]}};
        write_file(f, "a.jpg", "a");
        assert_int_equal(utimensat(AT_FDCWD, in_root(f, "a.jpg"), set, 0), 0);
        pass(f, SETTLE_MS);
        expect_told(f, "a.jpg 1");
        assert_int_equal(f->last.modified.us, times[i] * 1000000);
        test_wall_us = times[i] * -1000000; /* ours is wrong, too */
    }
}

static void an_empty_file_is_held_back(void **state)
{
    struct fixture *f = *state;
    begin(f);
    pass(f, 0);
    write_file(f, "a.jpg", "");
    write_file(f, "b.jpg", "");
    pass(f, LONG_MS);
    expect_told(f, "");
    write_file(f, "a.jpg", "now");
    pass(f, UNSURE_MS);
    expect_told(f, "a.jpg 3");
    pass(f, WATCH_EMPTY_MS);
    expect_told(f, "b.jpg 0");
}

static bool is_part(const char *name)
{
    return strstr(name, ".part") != NULL;
}

static void some_names_get_more_patience(void **state)
{
    struct fixture *f = *state;
    f->o.unfinished = is_part;
    f->o.unfinished_ms = 20000;
    assert_int_equal(mkdir(f->root, 0755), 0);
    write_file(f, "old.part", "x");
    begin(f);
    pass(f, 0);
    write_file(f, "a.part", "a");
    write_file(f, "c.part", "cc");
    pass(f, 19999);
    expect_told(f, "");
    rename_file(f, "c.part", "c.jpg");
    pass(f, 1);
    expect_told(f, "a.part 1; old.part 1");
    pass(f, SETTLE_MS - 1);
    expect_told(f, "c.jpg 2");
}

static bool is_ours(const char *name)
{
    return strncmp(name, ".ours-", 6) == 0;
}

static void what_is_hidden_the_caller_says(void **state)
{
    struct fixture *f = *state;
    f->o.hidden = is_ours;
    assert_int_equal(mkdir(f->root, 0755), 0);
    make_folder(f, ".cam");
    make_folder(f, ".ours-cam");
    write_file(f, ".cam/old.jpg", "old");
    write_file(f, ".cam/.old.jpg", "older");
    write_file(f, ".ours-cam/old.jpg", "old");
    begin(f);
    pass(f, UNSURE_MS);
    expect_told(f, ".cam/.old.jpg 5; .cam/old.jpg 3");
    write_file(f, ".a.jpg", "a");
    write_file(f, ".ours-1", "b");
    write_file(f, ".cam/c.jpg", "c");
    write_file(f, ".ours-cam/d.jpg", "d");
    make_folder(f, ".cam/.new");
    write_file(f, ".cam/.new/e.jpg", "e");
    pass(f, UNSURE_MS);
    expect_told(f, ".a.jpg 1; .cam/.new/e.jpg 1; .cam/c.jpg 1");
    rename_file(f, ".ours-1", "b.jpg");
    pass(f, SETTLE_MS);
    expect_told(f, "b.jpg 1");
}

static void tells_again_when_asked(void **state)
{
    struct fixture *f = *state;
    begin(f);
    pass(f, 0);
    make_folder(f, "cam");
    write_file(f, "cam/a.jpg", "a");
    pass(f, UNSURE_MS);
    expect_told(f, "cam/a.jpg 1");
    watch_again(f->w, &f->last, 5000);
    pass(f, 4999);
    expect_told(f, "");
    pass(f, 1);
    expect_told(f, "cam/a.jpg 1");
    /* Not when it has gone meanwhile. */
    watch_again(f->w, &f->last, 5000);
    assert_int_equal(unlink(in_root(f, "cam/a.jpg")), 0);
    pass(f, LONG_MS);
    expect_told(f, "");
    /* What came since has its own time. */
    write_file(f, "cam/a.jpg", "a");
    pass(f, SETTLE_MS);
    expect_told(f, "cam/a.jpg 1");
    write_file(f, "cam/a.jpg", "aaa");
    (void)watch_turn(f->w);
    watch_again(f->w, &f->last, 5000);
    pass(f, SETTLE_MS);
    expect_told(f, "cam/a.jpg 3");
    pass(f, LONG_MS);
    expect_told(f, "");
    struct watch_file nowhere = {.path = "no/such.jpg"};
    watch_again(f->w, &nowhere, 1);
    watch_forget(f->w, "no/such.jpg");
    watch_forget(f->w, "such.jpg");
}

static void a_caller_that_does_not_ask_gets_them_later(void **state)
{
    struct fixture *f = *state;
    begin(f);
    pass(f, 0);
    write_file(f, "a.jpg", "a");
    (void)watch_turn(f->w);
    test_now_us += 3600 * INT64_C(1000000);
    assert_int_equal(watch_turn(f->w), 0);
    assert_int_equal(watch_turn(f->w), 0);
    pass(f, 0);
    expect_told(f, "a.jpg 1");
}

/* Folders. */

static void new_folders_are_looked_into(void **state)
{
    struct fixture *f = *state;
    begin(f);
    pass(f, 0);
    make_folder(f, "cam");
    make_folder(f, "cam/day");
    make_folder(f, "cam/day/hour");
    write_file(f, "cam/day/hour/a.jpg", "a");
    pass(f, UNSURE_MS);
    expect_told(f, "cam/day/hour/a.jpg 1");
    write_file(f, "cam/day/hour/b.jpg", "bb");
    write_file(f, "cam/c.jpg", "ccc");
    pass(f, SETTLE_MS);
    expect_told(f, "cam/c.jpg 3; cam/day/hour/b.jpg 2");
    pass(f, LONG_MS);
    expect_told(f, "");
}

/* What the look finds and what the events tell is the same file. */
static void a_file_that_comes_with_its_folder_is_told_once(void **state)
{
    struct fixture *f = *state;
    begin(f);
    pass(f, 0);
    make_folder(f, "cam");
    (void)watch_turn(f->w);
    write_file(f, "cam/a.jpg", "a");
    pass(f, SETTLE_MS);
    expect_told(f, "cam/a.jpg 1");
    make_folder(f, "cam/x");
    make_folder(f, "cam/y");
    (void)watch_turn(f->w);
    write_file(f, "cam/x/b.jpg", "b");
    (void)watch_turn(f->w);
    rename_file(f, "cam/x/b.jpg", "cam/y/b.jpg");
    pass(f, LONG_MS);
    expect_told(f, "cam/y/b.jpg 1");
}

static void not_recursive_means_the_root_alone(void **state)
{
    struct fixture *f = *state;
    f->o.recursive = false;
    assert_int_equal(mkdir(f->root, 0755), 0);
    make_folder(f, "old");
    write_file(f, "old/a.jpg", "a");
    begin(f);
    pass(f, 0);
    make_folder(f, "new");
    write_file(f, "new/b.jpg", "b");
    write_file(f, "c.jpg", "c");
    pass(f, LONG_MS);
    expect_told(f, "c.jpg 1");
}

static void a_folder_renamed_takes_its_files_along(void **state)
{
    struct fixture *f = *state;
    begin(f);
    pass(f, 0);
    make_folder(f, "a");
    make_folder(f, "a/b");
    make_folder(f, "other");
    pass(f, 0);
    write_file(f, "a/b/told.jpg", "1");
    pass(f, SETTLE_MS);
    expect_told(f, "a/b/told.jpg 1");
    write_file(f, "a/b/settling.jpg", "22");
    pass(f, SETTLE_MS / 2);
    rename_file(f, "a", "other/z");
    rename_file(f, "other/z/b", "other/z/much-longer-than-before");
    pass(f, SETTLE_MS / 2);
    expect_told(f, "other/z/much-longer-than-before/settling.jpg 2");
    write_file(f, "other/z/much-longer-than-before/later.jpg", "333");
    write_file(f, "other/z/here.jpg", "4444");
    pass(f, SETTLE_MS);
    expect_told(f, "other/z/here.jpg 4; other/z/much-longer-than-before/later.jpg 3");
    /* The old name is free for another. */
    make_folder(f, "a");
    pass(f, 0);
    write_file(f, "a/b", "55555");
    pass(f, SETTLE_MS);
    expect_told(f, "a/b 5");
    pass(f, LONG_MS);
    expect_told(f, "");
}

static void a_folder_renamed_away_is_not_ours(void **state)
{
    struct fixture *f = *state;
    begin(f);
    pass(f, 0);
    make_folder(f, "a");
    make_folder(f, "a/b");
    pass(f, 0);
    write_file(f, "a/b/x.jpg", "x");
    pass(f, 0);
    rename_file(f, "a", "../gone");
    write_file(f, "../gone/b/y.jpg", "y");
    pass(f, LONG_MS);
    expect_told(f, "");
    struct watch_counts c;
    watch_counts(f->w, &c);
    assert_int_equal(c.folders, 1);
    assert_int_equal(c.settling, 0);
    /* And it comes back with what it has. */
    rename_file(f, "../gone", "b");
    pass(f, UNSURE_MS);
    expect_told(f, "b/b/x.jpg 1; b/b/y.jpg 1");
}

static void a_folder_made_again_is_another(void **state)
{
    struct fixture *f = *state;
    begin(f);
    pass(f, 0);
    for (int i = 0; i < 3; i++) {
        make_folder(f, "cam");
        make_folder(f, "cam/day");
        write_file(f, "cam/day/a.jpg", "a");
        pass(f, UNSURE_MS);
        expect_told(f, "cam/day/a.jpg 1");
        write_file(f, "cam/day/b.jpg", "b");
        pass(f, SETTLE_MS - 1);
        assert_int_equal(unlink(in_root(f, "cam/day/a.jpg")), 0);
        assert_int_equal(unlink(in_root(f, "cam/day/b.jpg")), 0);
        assert_int_equal(rmdir(in_root(f, "cam/day")), 0);
        assert_int_equal(rmdir(in_root(f, "cam")), 0);
    }
    pass(f, LONG_MS);
    expect_told(f, "");
}

static void folders_that_swap_names_are_not_mixed_up(void **state)
{
    struct fixture *f = *state;
    begin(f);
    pass(f, 0);
    make_folder(f, "a");
    make_folder(f, "b");
    pass(f, 0);
    write_file(f, "a/1.jpg", "1");
    write_file(f, "b/2.jpg", "22");
    rename_file(f, "a", "c");
    rename_file(f, "b", "a");
    rename_file(f, "c", "b");
    pass(f, SETTLE_MS);
    expect_told(f, "a/2.jpg 2; b/1.jpg 1");
    write_file(f, "a/3.jpg", "333");
    rename_file(f, "a", "x");
    make_folder(f, "a");
    write_file(f, "a/4.jpg", "4444");
    pass(f, UNSURE_MS);
    expect_told(f, "a/4.jpg 4; x/3.jpg 3");
    pass(f, LONG_MS);
    expect_told(f, "");
}

/* The events of a name are read when another folder has it already. */
static void a_folder_takes_the_name_of_one_that_was_removed(void **state)
{
    struct fixture *f = *state;
    begin(f);
    pass(f, 0);
    make_folder(f, "b");
    make_folder(f, "b/in");
    pass(f, 0);
    write_file(f, "b/in/x.jpg", "x");
    pass(f, SETTLE_MS);
    expect_told(f, "b/in/x.jpg 1");
    make_folder(f, "a");
    assert_int_equal(rmdir(in_root(f, "a")), 0);
    rename_file(f, "b", "a");
    pass(f, LONG_MS);
    expect_told(f, "");
    make_folder(f, "c");
    rename_file(f, "c", "d");
    rename_file(f, "a", "c");
    pass(f, LONG_MS);
    expect_told(f, "");
    write_file(f, "c/in/y.jpg", "y");
    write_file(f, "d/z.jpg", "z");
    pass(f, SETTLE_MS);
    expect_told(f, "c/in/y.jpg 1; d/z.jpg 1");
}

static void too_many_folders_are_left_alone_and_said_once(void **state)
{
    struct fixture *f = *state;
    f->o.folders_max = 8;
    begin(f);
    pass(f, 0);
    for (int i = 0; i < 10; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "f%d", i);
        make_folder(f, name);
    }
    pass(f, 0);
    write_file(f, "f0/a.jpg", "a");
    write_file(f, "f9/b.jpg", "b");
    pass(f, UNSURE_MS);
    expect_told(f, "f0/a.jpg 1");
    assert_int_equal(f->logged_count, 1);
    assert_non_null(strstr(f->logged[0], "\"f7\" is beyond the limit of 8"));
    /* When there is room, they are found. */
    for (int i = 1; i < 4; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "f%d", i);
        assert_int_equal(rmdir(in_root(f, name)), 0);
    }
    pass(f, LONG_MS);
    expect_told(f, "f9/b.jpg 1");
    assert_int_equal(f->logged_count, 1);
}

static void too_deep_a_path_is_left_alone_and_said_once(void **state)
{
    struct fixture *f = *state;
    begin(f);
    int dirfd = open(f->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char name[201];
    memset(name, 'n', 200);
    name[200] = '\0';
    for (int i = 0; i < 7; i++) {
        assert_int_equal(mkdirat(dirfd, name, 0755), 0);
        int next = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(next >= 0);
        int fd = openat(next, "a.jpg", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        put(fd, "a");
        (void)close(fd);
        (void)close(dirfd);
        dirfd = next;
    }
    (void)close(dirfd);
    pass(f, LONG_MS);
    assert_int_equal(f->told_count, 5); /* 5 * 201 + 5 bytes */
    assert_int_equal(f->logged_count, 1);
    assert_non_null(strstr(f->logged[0], "too deep"));
    forget_told(f);
}

static void a_file_whose_path_is_too_long_is_left_alone(void **state)
{
    struct fixture *f = *state;
    begin(f);
    char path[1200] = "";
    for (int i = 0; i < 4; i++) {
        memset(path + strlen(path), 'n', 240);
        make_folder(f, path);
        (void)strncat(path, "/", 2);
    }
    size_t at = strlen(path); /* 964 */
    memset(path + at, 'f', WATCH_PATH_MAX - at);
    path[WATCH_PATH_MAX - 1] = '\0';
    write_file(f, path, "fits");
    pass(f, UNSURE_MS);
    assert_int_equal(f->told_count, 1);
    assert_int_equal(strlen(f->last.path), WATCH_PATH_MAX - 1);
    forget_told(f);
    path[WATCH_PATH_MAX - 1] = 'f';
    path[WATCH_PATH_MAX] = '\0';
    write_file(f, path, "does not");
    pass(f, LONG_MS);
    expect_told(f, "");
    assert_int_equal(f->logged_count, 1);
    assert_non_null(strstr(f->logged[0], "is longer than 1023 bytes"));
    struct watch_counts c;
    watch_counts(f->w, &c);
    assert_int_equal(c.settling, 0);
}

/* The root. */

static void the_root_may_come_later(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    assert_int_equal(watch_new(&f->o, &f->w, &e), 0);
    pass(f, LONG_MS);
    assert_non_null(strstr(watch_trouble(f->w), "No such file or directory"));
    assert_int_equal(mkdir(f->root, 0755), 0);
    write_file(f, "a.jpg", "a");
    /* Its parent's inotify tells at once. */
    pass(f, UNSURE_MS);
    expect_told(f, "a.jpg 1");
    test_expect_text("trouble", watch_trouble(f->w), "");
    write_file(f, "b.jpg", "b");
    pass(f, SETTLE_MS);
    expect_told(f, "b.jpg 1");
}

static void the_root_may_be_renamed_away(void **state)
{
    struct fixture *f = *state;
    char moved[100];
    (void)snprintf(moved, sizeof(moved), "%s/moved", f->home);
    begin(f);
    pass(f, 0);
    make_folder(f, "cam");
    pass(f, 0);
    write_file(f, "cam/a.jpg", "a");
    pass(f, SETTLE_MS);
    expect_told(f, "cam/a.jpg 1");
    write_file(f, "cam/lost.jpg", "l");
    assert_int_equal(rename(f->root, moved), 0);
    pass(f, LONG_MS);
    expect_told(f, "");
    assert_non_null(strstr(watch_trouble(f->w), f->root));
    /* Another in its place: what is in it is new. */
    assert_int_equal(mkdir(f->root, 0755), 0);
    make_folder(f, "cam");
    write_file(f, "cam/a.jpg", "a");
    pass(f, UNSURE_MS);
    expect_told(f, "cam/a.jpg 1");
    test_expect_text("trouble", watch_trouble(f->w), "");
    /* The first one back: of that, only what was not told. */
    char second[100];
    (void)snprintf(second, sizeof(second), "%s/second", f->home);
    assert_int_equal(rename(f->root, second), 0);
    assert_int_equal(rename(moved, f->root), 0);
    pass(f, LONG_MS);
    expect_told(f, "cam/a.jpg 1; cam/lost.jpg 1");
}

static void the_root_may_be_deleted_and_made_again(void **state)
{
    struct fixture *f = *state;
    begin(f);
    for (int i = 0; i < 4; i++) {
        pass(f, 0);
        write_file(f, "a.jpg", "a");
        pass(f, UNSURE_MS);
        expect_told(f, "a.jpg 1");
        assert_int_equal(unlink(in_root(f, "a.jpg")), 0);
        assert_int_equal(rmdir(f->root), 0);
        if (i % 2)
            pass(f, 0);
        assert_int_equal(mkdir(f->root, 0755), 0);
    }
    pass(f, LONG_MS);
    expect_told(f, "");
}

/* As with a mount: nothing tells. */
static void another_root_is_noticed_within_the_poll_time(void **state)
{
    struct fixture *f = *state;
    char one[100], two[100];
    (void)snprintf(one, sizeof(one), "%s/one", f->home);
    (void)snprintf(two, sizeof(two), "%s/two", f->home);
    assert_int_equal(mkdir(one, 0755), 0);
    assert_int_equal(mkdir(two, 0755), 0);
    assert_int_equal(symlink("one", f->root), 0);
    begin(f);
    write_file(f, "a.jpg", "a");
    pass(f, UNSURE_MS);
    expect_told(f, "a.jpg 1");
    assert_int_equal(unlink(f->root), 0);
    assert_int_equal(symlink("two", f->root), 0);
    write_file(f, "b.jpg", "b");
    pass(f, POLL_MS + UNSURE_MS);
    expect_told(f, "b.jpg 1");
}

/* Polling. */

static void polling_tells_the_same(void **state)
{
    struct fixture *f = *state;
    f->o.poll = WATCH_POLL_ALWAYS;
    begin(f);
    assert_int_equal(watch_fd(f->w), -1);
    struct watch_counts c;
    watch_counts(f->w, &c);
    assert_true(c.polling);
    make_folder(f, "cam");
    write_file(f, "cam/a.jpg", "a");
    write_file(f, "b.jpg", "bb");
    pass(f, POLL_MS + UNSURE_MS);
    expect_told(f, "b.jpg 2; cam/a.jpg 1");
    pass(f, LONG_MS);
    expect_told(f, "");
    /* Replaced, changed, removed and made again. */
    write_file(f, ".new", "bb");
    rename_file(f, ".new", "b.jpg");
    write_file(f, "cam/a.jpg", "aaa");
    pass(f, POLL_MS + UNSURE_MS);
    expect_told(f, "b.jpg 2; cam/a.jpg 3");
    assert_int_equal(unlink(in_root(f, "cam/a.jpg")), 0);
    assert_int_equal(rmdir(in_root(f, "cam")), 0);
    pass(f, LONG_MS);
    make_folder(f, "cam");
    write_file(f, "cam/a.jpg", "aaa");
    pass(f, POLL_MS + UNSURE_MS);
    expect_told(f, "cam/a.jpg 3");
    watch_counts(f->w, &c);
    assert_int_equal(c.folders, 2);
    assert_int_equal(c.kept, 2);
}

static void polling_waits_for_a_writer(void **state)
{
    struct fixture *f = *state;
    f->o.poll = WATCH_POLL_ALWAYS;
    f->o.poll_ms = 500;
    begin(f);
    int fd = open_file(f, "a.jpg", O_CREAT);
    for (int i = 0; i < 20; i++) {
        put(fd, "part");
        pass(f, UNSURE_MS - 1);
        expect_told(f, "");
    }
    assert_int_equal(close(fd), 0);
    pass(f, UNSURE_MS + 500);
    expect_told(f, "a.jpg 80");
    write_file(f, "b.jpg", "b");
    pass(f, 600);
    assert_int_equal(unlink(in_root(f, "b.jpg")), 0);
    pass(f, LONG_MS);
    expect_told(f, "");
}

static void polling_sees_the_root_come_and_go(void **state)
{
    struct fixture *f = *state;
    f->o.poll = WATCH_POLL_ALWAYS;
    struct err e = {0};
    assert_int_equal(watch_new(&f->o, &f->w, &e), 0);
    pass(f, LONG_MS);
    assert_int_equal(mkdir(f->root, 0755), 0);
    write_file(f, "a.jpg", "a");
    pass(f, POLL_MS + UNSURE_MS);
    expect_told(f, "a.jpg 1");
    char moved[100];
    (void)snprintf(moved, sizeof(moved), "%s/moved", f->home);
    assert_int_equal(rename(f->root, moved), 0);
    pass(f, LONG_MS);
    assert_true(watch_trouble(f->w)[0] != '\0');
    assert_int_equal(rename(moved, f->root), 0);
    pass(f, LONG_MS);
    expect_told(f, ""); /* it is the same file in the same place */
    test_expect_text("trouble", watch_trouble(f->w), "");
}

/* Limits. */

static void more_than_may_settle_at_once_is_told_all_the_same(void **state)
{
    struct fixture *f = *state;
    f->o.settling_max = 5;
    begin(f);
    pass(f, 0);
    for (int i = 0; i < 23; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "%02d.jpg", i);
        write_file(f, name, "x");
    }
    for (int i = 0; i < 20; i++) {
        struct watch_counts c;
        pass(f, UNSURE_MS);
        watch_counts(f->w, &c);
        assert_true(c.settling <= 5);
    }
    assert_int_equal(f->told_count, 23);
    qsort(f->told, 23, sizeof(f->told[0]), compare_texts);
    for (int i = 1; i < 23; i++)
        assert_string_not_equal(f->told[i - 1], f->told[i]);
    forget_told(f);
}

static void what_is_told_is_remembered_up_to_a_limit(void **state)
{
    struct fixture *f = *state;
    f->o.told_max = 10;
    f->o.poll = WATCH_POLL_ALWAYS;
    begin(f);
    for (int i = 0; i < 12; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "%02d.jpg", i);
        write_file(f, name, "x");
    }
    pass(f, UNSURE_MS);
    assert_int_equal(f->told_count, 12);
    forget_told(f);
    /* The two that had no room are told again. */
    pass(f, POLL_MS);
    assert_int_equal(f->told_count, 2);
    assert_int_equal(f->logged_count, 1);
    assert_non_null(strstr(f->logged[0], "more than 10 files were told"));
    /* With others gone, there is room for them. */
    for (int i = 0, removed = 0; removed < 6; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "%02d.jpg", i);
        if (strncmp(f->told[0], name, 6) == 0 || strncmp(f->told[1], name, 6) == 0)
            continue;
        assert_int_equal(unlink(in_root(f, name)), 0);
        removed++;
    }
    pass(f, 10 * POLL_MS);
    forget_told(f);
    pass(f, 3 * POLL_MS);
    expect_told(f, "");
}

static void refuses_options_without_sense(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    f->o.poll_ms = 0;
    assert_int_equal(watch_new(&f->o, &f->w, &e), -EINVAL);
    f->o.poll_ms = 1000;
    f->o.root = "";
    assert_int_equal(watch_new(&f->o, &f->w, &e), -EINVAL);
    f->o.root = NULL;
    assert_int_equal(watch_new(&f->o, &f->w, &e), -EINVAL);
    assert_null(f->w);
}

static void every_way_of_polling_has_a_name(void **state UNUSED)
{
    for (int i = 0; i < WATCH_POLL_COUNT; i++)
        assert_non_null(watch_poll_names[i]);
}

/* Cleaning. */

#define DAY_MS (24 * INT64_C(3600000))

static void make_old(const struct fixture *f, const char *path, int64_t days)
{
    int64_t at = test_wall_us / 1000000 - days * 86400;
    struct timespec times[2] = {{.tv_sec = at}, {.tv_sec = at}};
    assert_int_equal(utimensat(AT_FDCWD, in_root(f, path), times, 0), 0);
}

static bool is_there(const struct fixture *f, const char *path)
{
    return access(in_root(f, path), F_OK) == 0;
}

static void cleans_old_empty_folders(void **state)
{
    struct fixture *f = *state;
    static const char *const folders[] = {"cam",         "cam/old",     "cam/old/day",
                                          "cam/young",   "cam/full",    "cam/kept",
                                          "cam/kept/in", "cam/keptnot", "cam/future"};
    static const char *const keep[] = {"cam/kept/in", NULL};
    begin(f);
    for (size_t i = 0; i < ARRAY_LEN(folders); i++)
        make_folder(f, folders[i]);
    write_file(f, "cam/full/a.jpg", "a");
    pass(f, UNSURE_MS);
    expect_told(f, "cam/full/a.jpg 1");
    for (size_t i = ARRAY_LEN(folders); i-- > 0;)
        make_old(f, folders[i], 10);
    make_old(f, "cam/future", -1000);
    make_old(f, "cam/young", 0);
    struct err e = {0};
    /* We have not seen them for that long. */
    assert_int_equal(watch_clean_folders(f->w, DAY_MS, keep, &e), 0);
    pass(f, DAY_MS);
    make_old(f, "cam/young", 0);
    assert_int_equal(watch_clean_folders(f->w, DAY_MS, keep, &e), 4);
    assert_false(is_there(f, "cam/old"));
    assert_false(is_there(f, "cam/keptnot"));
    assert_false(is_there(f, "cam/future"));
    assert_true(is_there(f, "cam/young"));
    assert_true(is_there(f, "cam/full/a.jpg"));
    assert_true(is_there(f, "cam/kept/in"));
    pass(f, 0);
    struct watch_counts c;
    watch_counts(f->w, &c);
    assert_int_equal(c.folders, 6);
    /* The place of one that was removed is watched when it comes again. */
    make_folder(f, "cam/old");
    pass(f, 0);
    write_file(f, "cam/old/b.jpg", "b");
    pass(f, SETTLE_MS);
    expect_told(f, "cam/old/b.jpg 1");
}

static void a_folder_in_use_is_not_old(void **state)
{
    struct fixture *f = *state;
    begin(f);
    make_folder(f, "cam");
    pass(f, DAY_MS - 1000);
    write_file(f, "cam/a.jpg", "a");
    pass(f, SETTLE_MS);
    assert_int_equal(unlink(in_root(f, "cam/a.jpg")), 0);
    pass(f, 2000);
    make_old(f, "cam", 10);
    struct err e = {0};
    assert_int_equal(watch_clean_folders(f->w, DAY_MS, NULL, &e), 0);
    pass(f, DAY_MS);
    assert_int_equal(watch_clean_folders(f->w, DAY_MS, NULL, &e), 1);
    assert_int_equal(rmdir(f->root), 0);
    pass(f, 0);
    assert_int_equal(watch_clean_folders(f->w, DAY_MS, NULL, &e), -ENOENT);
    forget_told(f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(tells_a_file_when_it_has_settled),
        TEST(tells_what_was_there_at_the_start),
        TEST(what_is_written_while_it_starts_has_to_look_the_same_twice),
        TEST(stored_and_renamed_at_once_is_one_file),
        TEST(a_file_renamed_in_is_whole),
        TEST(a_rename_under_the_hands_of_its_writer_is_not_whole),
        TEST(a_slow_writer_is_waited_for),
        TEST(a_writer_that_comes_again_is_waited_for),
        TEST(two_writers_are_waited_for),
        TEST(a_writer_that_never_closes_is_told_when_it_rests),
        TEST(a_writer_by_a_mapping_is_told_when_it_is_done),
        TEST(of_a_file_that_is_replaced_before_it_settled_only_the_new_is_told),
        TEST(a_whole_file_over_one_that_is_being_written_gets_its_own_time),
        TEST(each_settled_version_of_a_fixed_name_is_told),
        TEST(a_name_replaced_faster_than_it_settles_is_told_now_and_then),
        TEST(what_is_removed_before_it_settled_is_not_told),
        TEST(the_same_name_after_a_removal_is_a_new_file),
        TEST(a_touch_without_a_change_is_nothing_new),
        TEST(links_and_devices),
        TEST(times_of_other_centuries_do_no_harm),
        TEST(an_empty_file_is_held_back),
        TEST(some_names_get_more_patience),
        TEST(what_is_hidden_the_caller_says),
        TEST(tells_again_when_asked),
        TEST(a_caller_that_does_not_ask_gets_them_later),
        TEST(new_folders_are_looked_into),
        TEST(a_file_that_comes_with_its_folder_is_told_once),
        TEST(not_recursive_means_the_root_alone),
        TEST(a_folder_renamed_takes_its_files_along),
        TEST(a_folder_renamed_away_is_not_ours),
        TEST(a_folder_made_again_is_another),
        TEST(folders_that_swap_names_are_not_mixed_up),
        TEST(a_folder_takes_the_name_of_one_that_was_removed),
        TEST(too_many_folders_are_left_alone_and_said_once),
        TEST(too_deep_a_path_is_left_alone_and_said_once),
        TEST(a_file_whose_path_is_too_long_is_left_alone),
        TEST(the_root_may_come_later),
        TEST(the_root_may_be_renamed_away),
        TEST(the_root_may_be_deleted_and_made_again),
        TEST(another_root_is_noticed_within_the_poll_time),
        TEST(polling_tells_the_same),
        TEST(polling_waits_for_a_writer),
        TEST(polling_sees_the_root_come_and_go),
        TEST(more_than_may_settle_at_once_is_told_all_the_same),
        TEST(what_is_told_is_remembered_up_to_a_limit),
        TEST(refuses_options_without_sense),
        TEST(every_way_of_polling_has_a_name),
        TEST(cleans_old_empty_folders),
        TEST(a_folder_in_use_is_not_old),
    };
    return RUN_TESTS(tests);
}
