#include "fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include "base/fsutil.h"

static void id_of(uint64_t n, char ret[SNAPSHOT_ID_SIZE])
{
    make_id(n, ret);
}

static void put(struct fixture *f, uint64_t n, bool annotated, const char *text)
{
    char id[SNAPSHOT_ID_SIZE];
    id_of(n, id);
    int r = store_put(f->s, id, annotated, text, strlen(text), &f->e);
    if (r < 0)
        fail_msg("%s", f->e.text);
}

static bool on_disk(struct fixture *f, const char *path)
{
    char full[512];
    (void)snprintf(full, sizeof(full), "%s/%s", f->root, path);
    struct stat st;
    return lstat(full, &st) == 0;
}

static void write_file(struct fixture *f, const char *path, const char *text)
{
    char full[512];
    (void)snprintf(full, sizeof(full), "%s/%s", f->root, path);
    char *slash = strrchr(full, '/');
    *slash = '\0';
    assert_int_equal(fs_mkdirs(AT_FDCWD, full, 0700, NULL), 0);
    *slash = '/';
    FILE *out = fopen(full, "we");
    assert_non_null(out);
    assert_int_equal(fwrite(text, 1, strlen(text), out), strlen(text));
    assert_int_equal(fclose(out), 0);
}

static void assert_content(struct fixture *f, const char *path, const char *text)
{
    AUTO(blob) b = NULL;
    int r = store_read(f->s, path, 1000, &b, &f->e);
    if (r < 0)
        fail_msg("%s", f->e.text);
    assert_int_equal(b->size, strlen(text));
    assert_memory_equal(b->data, text, b->size);
}

static int entries_of_incoming(struct fixture *f)
{
    char full[512];
    (void)snprintf(full, sizeof(full), "%s/.incoming", f->root);
    DIR *dir = opendir(full);
    assert_non_null(dir);
    int n = 0;
    while (readdir(dir) != NULL)
        n++;
    (void)closedir(dir);
    return n - 2; /* "." and ".." */
}

/* Records snapshot n with the four bytes that a test has put, or will. */
static struct snapshot *record(struct fixture *f, uint64_t n)
{
    struct snapshot *s = make_snapshot(n, "porch");
    int r = ledger_snapshot_add(f->l, s, &f->e);
    if (r < 0)
        fail_msg("%s", f->e.text);
    return s;
}

static struct store_recovery recover(struct fixture *f)
{
    struct store_recovery done;
    int r = store_recover(f->s, f->l, &done, &f->e);
    if (r < 0)
        fail_msg("%s", f->e.text);
    return done;
}

static void assert_consistent(struct fixture *f)
{
    struct dynbuf report;
    dynbuf_init(&report, 65536);
    int n = store_check(f->s, f->l, &report, &f->e);
    if (n != 0)
        fail_msg("%d findings: %s%s", n, dynbuf_str(&report), n < 0 ? f->e.text : "");
    assert_int_equal(entries_of_incoming(f), 0);
    dynbuf_done(&report);
    assert_sound(f);
}

/* ---- put, place, rename ---- */

static void a_picture_goes_through_incoming_to_its_place(void **state)
{
    struct fixture *f = *state;
    AUTO(snapshot) s = make_snapshot(1, "porch");
    put(f, 1, false, "jpeg");
    assert_false(on_disk(f, s->path));
    assert_int_equal(store_place(f->s, s->id, false, s->path, &f->e), 0);
    assert_content(f, s->path, "jpeg");
    assert_int_equal(entries_of_incoming(f), 0);
}

static void nobody_else_can_read_the_files(void **state)
{
    struct fixture *f = *state;
    mode_t before = umask(0);
    fixture_close(f);
    (void)nftw(f->folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    assert_int_equal(mkdir(f->folder, 0700), 0);
    fixture_open(f);
    AUTO(snapshot) s = make_snapshot(1, "porch");
    put(f, 1, false, "jpeg");
    assert_int_equal(store_place(f->s, s->id, false, s->path, &f->e), 0);
    umask(before);
    static const char *const paths[] = {"store",
                                        "store/.incoming",
                                        "store/porch",
                                        "store/porch/1970/01/01",
                                        "store/porch/1970/01/01/fetch_porch_1.jpg",
                                        "snapshotd.db",
                                        "snapshotd.db-wal",
                                        "snapshotd.db-shm"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        char full[300];
        (void)snprintf(full, sizeof(full), "%s/%s", f->folder, paths[i]);
        struct stat st;
        if (stat(full, &st) < 0)
            continue; /* the log files come with the first write */
        assert_int_equal(st.st_mode & 077, 0);
    }
}

static void a_repeated_put_replaces_the_first(void **state)
{
    struct fixture *f = *state;
    AUTO(snapshot) s = make_snapshot(1, "porch");
    put(f, 1, false, "first");
    put(f, 1, false, "second");
    assert_int_equal(store_place(f->s, s->id, false, s->path, &f->e), 0);
    assert_content(f, s->path, "second");
}

static void placing_twice_is_success(void **state)
{
    struct fixture *f = *state;
    AUTO(snapshot) s = make_snapshot(1, "porch");
    put(f, 1, false, "jpeg");
    assert_int_equal(store_place(f->s, s->id, false, s->path, &f->e), 0);
    assert_int_equal(store_place(f->s, s->id, false, s->path, &f->e), 0);
    assert_content(f, s->path, "jpeg");
}

static void placing_needs_a_file(void **state)
{
    struct fixture *f = *state;
    AUTO(snapshot) s = make_snapshot(1, "porch");
    assert_int_equal(store_place(f->s, s->id, false, s->path, &f->e), -ENOENT);
}

static void never_overwrites_another_file(void **state)
{
    struct fixture *f = *state;
    AUTO(snapshot) s = make_snapshot(1, "porch");
    write_file(f, s->path, "old");
    write_file(f, "porch/x.jpg", "x");
    put(f, 1, false, "jpeg");
    assert_int_equal(store_place(f->s, s->id, false, s->path, &f->e), -EEXIST);
    assert_int_equal(store_rename(f->s, "porch/x.jpg", s->path, &f->e), -EEXIST);
    assert_content(f, s->path, "old");
    assert_content(f, "porch/x.jpg", "x");
}

static void renaming_twice_is_success(void **state)
{
    struct fixture *f = *state;
    write_file(f, "porch/fetch_a.jpg", "x");
    assert_int_equal(store_rename(f->s, "porch/fetch_a.jpg", "porch/human_a.jpg", &f->e), 0);
    assert_int_equal(store_rename(f->s, "porch/fetch_a.jpg", "porch/human_a.jpg", &f->e), 0);
    assert_int_equal(store_sync(f->s, "porch/human_a.jpg", &f->e), 0);
    assert_content(f, "porch/human_a.jpg", "x");
    assert_int_equal(store_rename(f->s, "porch/fetch_b.jpg", "porch/human_b.jpg", &f->e), -ENOENT);
}

static void refuses_paths_outside_the_root(void **state)
{
    struct fixture *f = *state;
    put(f, 1, false, "jpeg");
    char id[SNAPSHOT_ID_SIZE];
    id_of(1, id);
    AUTO(blob) b = NULL;
    static const char *const paths[] = {"../x", "/tmp/x", "", "a/../x", ".", "a//x"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        assert_int_equal(store_place(f->s, id, false, paths[i], &f->e), -EINVAL);
        assert_int_equal(store_rename(f->s, ".incoming", paths[i], &f->e), -EINVAL);
        assert_int_equal(store_rename(f->s, paths[i], "x", &f->e), -EINVAL);
        assert_int_equal(store_unlink(f->s, paths[i], &f->e), -EINVAL);
        assert_int_equal(store_read(f->s, paths[i], 100, &b, &f->e), -EINVAL);
    }
}

static void deletes_a_file_once(void **state)
{
    struct fixture *f = *state;
    write_file(f, "porch/a.jpg", "x");
    assert_int_equal(store_unlink(f->s, "porch/a.jpg", &f->e), 0);
    assert_int_equal(store_unlink(f->s, "porch/a.jpg", &f->e), 0);
    AUTO(blob) b = NULL;
    assert_int_equal(store_read(f->s, "porch/a.jpg", 100, &b, &f->e), -ENOENT);
    put(f, 1, true, "x");
    char id[SNAPSHOT_ID_SIZE];
    id_of(1, id);
    store_discard(f->s, id, true);
    store_discard(f->s, id, true);
    assert_int_equal(entries_of_incoming(f), 0);
}

/* ---- names ---- */

static void pictures_of_one_second_keep_apart(void **state)
{
    struct fixture *f = *state;
    AUTO(snapshot) s = make_snapshot(1, "porch");
    s->event_at.us = 1767323045LL * 1000000;
    static const char *const expected[] = {
        "porch/2026/01/02/fetch_front-door-camera_1767323045.jpg",
        "porch/2026/01/02/fetch_front-door-camera_1767323045-2.jpg",
        "porch/2026/01/02/fetch_front-door-camera_1767323045-3.jpg",
        "porch/2026/01/02/fetch_front-door-camera_1767323045-4.jpg",
    };
    for (uint64_t n = 1; n <= 2; n++) {
        make_id(n, s->id);
        assert_int_equal(
            store_path_fetched(f->s, f->l, s, "porch", s->path, sizeof(s->path), &f->e), 0);
        assert_string_equal(s->path, expected[n - 1]);
        assert_int_equal(ledger_snapshot_add(f->l, s, &f->e), 0);
    }
    /* The second becomes a human_ picture: its old name stays out of use. */
    struct verdict v = {.outcome = VERDICT_SKIPPED};
    assert_int_equal(ledger_snapshot_examined(
                         f->l, s, &v, "porch/2026/01/02/human_front-door-camera_1767323045-2.jpg",
                         NULL, NULL, NULL, 0, &f->e),
                     0);
    char path[SNAPSHOT_PATH_MAX];
    assert_int_equal(store_path_fetched(f->s, f->l, s, "porch", path, sizeof(path), &f->e), 0);
    assert_string_equal(path, expected[2]);
    /* A file that no row knows is respected too. */
    write_file(f, "porch/2026/01/02/detect_front-door-camera_1767323045-3.jpg", "x");
    assert_int_equal(store_path_fetched(f->s, f->l, s, "porch", path, sizeof(path), &f->e), 0);
    assert_string_equal(path, expected[3]);
}

/* ---- pushed pictures ---- */

static struct snapshot *make_pushed(uint64_t n, const char *path)
{
    struct snapshot *s = make_snapshot(n, "porch");
    s->source = SNAPSHOT_PUSHED;
    (void)text_copy(s->path, sizeof(s->path), path);
    return s;
}

static void record_pushed(struct fixture *f, uint64_t n, const char *path)
{
    AUTO(snapshot) s = make_pushed(n, path);
    if (ledger_snapshot_add(f->l, s, &f->e) < 0)
        fail_msg("%s", f->e.text);
}

static void expect_pushed_path(struct fixture *f, const char *name, const char *wanted)
{
    char path[SNAPSHOT_PATH_MAX];
    AUTO(snapshot) s = make_pushed(900, "unused");
    if (store_path_pushed(f->s, f->l, s, "porch", name, path, sizeof(path), &f->e) < 0)
        fail_msg("%s", f->e.text);
    if (strcmp(path, wanted) != 0)
        fail_msg("%s: got %s, wanted %s", name, path, wanted);
}

static void a_pushed_picture_gets_the_first_number_that_is_free(void **state)
{
    struct fixture *f = *state;
    expect_pushed_path(f, "snap.jpg", "porch/1970/01/01/snap.jpg");
    record_pushed(f, 1, "porch/1970/01/01/snap.jpg");
    expect_pushed_path(f, "snap.jpg", "porch/1970/01/01/snap-2.jpg");
    for (uint64_t n = 2; n < 40; n++) {
        char path[64];
        (void)snprintf(path, sizeof(path), "porch/1970/01/01/snap-%llu.jpg", (unsigned long long)n);
        expect_pushed_path(f, "snap.jpg", path);
        record_pushed(f, n, path);
    }
    write_file(f, "porch/1970/01/01/snap-40.jpg", "of a row that is gone");
    expect_pushed_path(f, "snap.jpg", "porch/1970/01/01/snap-41.jpg");
}

/* "a.png" and "a.jpg" would both have "detect_a.jpg". */
static void pictures_that_would_share_a_copy_keep_apart(void **state)
{
    struct fixture *f = *state;
    record_pushed(f, 1, "porch/1970/01/01/a.png");
    expect_pushed_path(f, "a.jpg", "porch/1970/01/01/a-2.jpg");
    expect_pushed_path(f, "a.b.jpg", "porch/1970/01/01/a.b.jpg");
    expect_pushed_path(f, "ab.jpg", "porch/1970/01/01/ab.jpg");
    AUTO(snapshot) fetched = make_snapshot(2, "porch"); /* fetch_porch_2.jpg */
    assert_int_equal(ledger_snapshot_add(f->l, fetched, &f->e), 0);
    expect_pushed_path(f, "porch_2.jpg", "porch/1970/01/01/porch_2-2.jpg");
    write_file(f, "porch/1970/01/01/detect_x.jpg", "a copy");
    expect_pushed_path(f, "x.jpg", "porch/1970/01/01/x-2.jpg");
    expect_pushed_path(f, "detect_x.jpg", "porch/1970/01/01/push_detect_x.jpg");
    /* A name of wildcards and quotes is a name. */
    record_pushed(f, 3, "porch/1970/01/01/%_[*]'.jpg");
    expect_pushed_path(f, "%_[*]'.jpg", "porch/1970/01/01/%_[*]'-2.jpg");
    expect_pushed_path(f, "zz[*]'.jpg", "porch/1970/01/01/zz[*]'.jpg");
}

static int open_spooled(struct fixture *f, const char *text, struct stat *ret)
{
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/spooled.jpg", f->folder);
    (void)unlink(path);
    assert_int_equal(fs_create_synced(AT_FDCWD, path, text, strlen(text), 0644, &f->e), 0);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, ret), 0);
    return fd;
}

static int64_t modified_ns(const struct stat *st)
{
    return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

static void a_file_of_ours_gets_a_second_name_and_is_not_written_again(void **state)
{
    struct fixture *f = *state;
    struct stat st, there;
    char id[SNAPSHOT_ID_SIZE], path[512];
    id_of(1, id);
    AUTO_CLOSE int fd = open_spooled(f, "picture", &st);
    for (int i = 0; i < 2; i++) { /* a repeat after a failed commit finds it there */
        assert_int_equal(store_link(f->s, id, fd, st.st_size, modified_ns(&st), &f->e), 0);
        assert_int_equal(store_sync_written(f->s, &f->e), 0);
        (void)snprintf(path, sizeof(path), "%s/.incoming/%s", f->root, id);
        assert_int_equal(stat(path, &there), 0);
        assert_true(there.st_ino == st.st_ino && there.st_dev == st.st_dev);
        assert_int_equal(there.st_mode & 07777, 0600);
        assert_int_equal(entries_of_incoming(f), 1);
    }
    record_pushed(f, 1, "porch/1970/01/01/spooled.jpg");
    assert_int_equal(store_place(f->s, id, false, "porch/1970/01/01/spooled.jpg", &f->e), 0);
    assert_content(f, "porch/1970/01/01/spooled.jpg", "picture");
}

static void a_file_that_is_not_ours_alone_is_not_linked(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    char id[SNAPSHOT_ID_SIZE], path[256], second[256];
    id_of(1, id);
    AUTO_CLOSE int fd = open_spooled(f, "picture", &st);
    (void)snprintf(path, sizeof(path), "%s/spooled.jpg", f->folder);
    (void)snprintf(second, sizeof(second), "%s/second.jpg", f->folder);
    assert_int_equal(link(path, second), 0);
    assert_int_equal(store_link(f->s, id, fd, st.st_size, modified_ns(&st), &f->e), -EXDEV);
    assert_int_equal(unlink(second), 0);
    if (geteuid() == 0) {
        assert_int_equal(fchown(fd, 12345, 12345), 0);
        assert_int_equal(store_link(f->s, id, fd, st.st_size, modified_ns(&st), &f->e), -EXDEV);
    }
    assert_int_equal(entries_of_incoming(f), 0);
}

static void a_file_that_changed_since_it_was_looked_at_is_not_linked(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    char id[SNAPSHOT_ID_SIZE];
    id_of(1, id);
    AUTO_CLOSE int fd = open_spooled(f, "picture", &st);
    assert_int_equal(store_link(f->s, id, fd, st.st_size - 1, modified_ns(&st), &f->e), -ESTALE);
    assert_int_equal(f->e.retry, ERR_LATER);
    assert_int_equal(store_link(f->s, id, fd, st.st_size, modified_ns(&st) + 1, &f->e), -ESTALE);
    assert_int_equal(entries_of_incoming(f), 0);
}

static void refuses_a_folder_that_is_no_path(void **state)
{
    struct fixture *f = *state;
    AUTO(snapshot) s = make_snapshot(1, "porch");
    char path[SNAPSHOT_PATH_MAX];
    static const char *const folders[] = {"", "..", "/x", "a/../b"};
    for (size_t i = 0; i < ARRAY_LEN(folders); i++)
        assert_int_equal(store_path_fetched(f->s, f->l, s, folders[i], path, sizeof(path), &f->e),
                         -EINVAL);
    assert_int_equal(store_path_fetched(f->s, f->l, s, "porch", path, 20, &f->e), -EINVAL);
}

/* ---- recovery: one test per place where a crash may fall ---- */

static void discards_what_has_no_row(void **state)
{
    struct fixture *f = *state;
    put(f, 1, false, "jpeg");
    put(f, 2, true, "copy");
    write_file(f, ".incoming/00000000000000000000000000000003.part", "half");
    write_file(f, ".incoming/stranger", "?");
    struct store_recovery done = recover(f);
    assert_int_equal(done.discarded, 4);
    assert_int_equal(done.placed + done.renamed + done.missing, 0);
    assert_consistent(f);
}

static void places_what_has_a_row(void **state)
{
    struct fixture *f = *state;
    put(f, 1, false, "jpeg");
    AUTO(snapshot) s = record(f, 1);
    struct store_recovery done = recover(f);
    assert_int_equal(done.placed, 1);
    assert_content(f, s->path, "jpeg");
    assert_consistent(f);
    done = recover(f);
    assert_int_equal(done.placed + done.discarded + done.missing, 0);
}

/* How far the second half of a picture's way had come when the power went. */
struct half_way {
    bool placed, renamed, copy_placed;
    struct store_recovery expected;
};

static void finishes_renames_and_copies(void **state)
{
    struct fixture *f = *state;
    static const struct half_way cases[] = {
        {false, false, false, {.placed = 2}}, {true, false, false, {.placed = 1, .renamed = 1}},
        {true, false, true, {.renamed = 1}},  {true, true, false, {.placed = 1}},
        {true, true, true, {.placed = 0}},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t n = i + 1;
        put(f, n, false, "jpeg");
        AUTO(snapshot) s = record(f, n);
        char human[SNAPSHOT_PATH_MAX], detect[SNAPSHOT_PATH_MAX];
        assert_int_equal(snapshot_name_renamed(s->path, "human", human, sizeof(human)), 0);
        assert_int_equal(snapshot_name_renamed(s->path, "detect", detect, sizeof(detect)), 0);
        if (cases[i].placed)
            assert_int_equal(store_place(f->s, s->id, false, s->path, &f->e), 0);
        put(f, n, true, "copy");
        struct verdict v = {.outcome = VERDICT_SKIPPED};
        assert_int_equal(ledger_snapshot_examined(f->l, s, &v, human, detect, NULL, NULL, 0, &f->e),
                         0);
        if (cases[i].copy_placed)
            assert_int_equal(store_place(f->s, s->id, true, detect, &f->e), 0);
        if (cases[i].renamed)
            assert_int_equal(store_rename(f->s, s->path, human, &f->e), 0);
        fixture_close(f);
        fixture_open(f);
        struct store_recovery done = recover(f);
        assert_int_equal(done.placed, cases[i].expected.placed);
        assert_int_equal(done.renamed, cases[i].expected.renamed);
        assert_int_equal(done.discarded, 0);
        assert_int_equal(done.missing, 0);
        assert_content(f, human, "jpeg");
        assert_content(f, detect, "copy");
        struct ledger_unsettled u;
        assert_int_equal(ledger_unsettled(f->l, 0, &u, 1, &f->e), 0);
        assert_consistent(f);
    }
}

static void a_copy_that_was_never_recorded_goes(void **state)
{
    struct fixture *f = *state;
    put(f, 1, false, "jpeg");
    AUTO(snapshot) s = record(f, 1);
    put(f, 1, true, "copy");
    struct store_recovery done = recover(f);
    assert_int_equal(done.placed, 1);
    assert_int_equal(done.discarded, 1);
    assert_consistent(f);
}

static void missing_files_are_counted_and_do_not_stop_it(void **state)
{
    struct fixture *f = *state;
    AUTO(snapshot) s = record(f, 1);
    AUTO(snapshot) t = record(f, 2);
    write_file(f, t->path, "jpeg");
    struct verdict v = {.outcome = VERDICT_SKIPPED};
    assert_int_equal(ledger_snapshot_examined(f->l, s, &v, "porch/human.jpg", "porch/detect.jpg",
                                              NULL, NULL, 0, &f->e),
                     0);
    assert_int_equal(
        ledger_snapshot_examined(f->l, t, &v, "porch/human_2.jpg", NULL, NULL, NULL, 0, &f->e), 0);
    struct store_recovery done = recover(f);
    assert_int_equal(done.missing, 1);
    assert_int_equal(done.renamed, 1);
    assert_content(f, "porch/human_2.jpg", "jpeg");
}

static void a_copy_that_is_not_drawn_yet_keeps_its_row_unsettled(void **state)
{
    struct fixture *f = *state;
    AUTO(snapshot) s = record(f, 1);
    write_file(f, s->path, "jpeg");
    struct verdict v = {.outcome = VERDICT_SKIPPED};
    assert_int_equal(
        ledger_snapshot_examined(f->l, s, &v, NULL, "porch/detect.jpg", NULL, NULL, 0, &f->e), 0);
    struct ledger_unsettled u;
    struct store_recovery done = recover(f);
    assert_int_equal(done.missing, 0);
    assert_int_equal(ledger_unsettled_get(f->l, s->id, &u, &f->e), 1);
    assert_int_equal(store_finish(f->s, &u, &done, &f->e), -EAGAIN);
    assert_consistent(f);
    /* Nobody can draw it: the row forgets it, and settles. */
    assert_int_equal(ledger_annotation_drop(f->l, u.row, &f->e), 0);
    (void)recover(f);
    assert_int_equal(ledger_unsettled_get(f->l, s->id, &u, &f->e), 0);
    assert_consistent(f);
}

static void several_rows_of_one_folder_settle_together(void **state)
{
    struct fixture *f = *state;
    struct verdict v = {.outcome = VERDICT_SKIPPED};
    struct ledger_unsettled rows[4];
    struct store_recovery done = {0};
    for (uint64_t n = 1; n <= 3; n++) {
        AUTO(snapshot) s = record(f, n);
        char human[SNAPSHOT_PATH_MAX];
        write_file(f, s->path, "jpeg");
        assert_int_equal(snapshot_name_renamed(s->path, "human", human, sizeof(human)), 0);
        assert_int_equal(ledger_snapshot_examined(f->l, s, &v, human,
                                                  n == 2 ? "porch/detect.jpg" : NULL, NULL, NULL, 0,
                                                  &f->e),
                         0);
    }
    int n = ledger_unsettled(f->l, 0, rows, 4, &f->e);
    assert_int_equal(n, 3);
    assert_int_equal(store_settle(f->s, f->l, rows, n, &done, &f->e), 0);
    assert_int_equal(done.renamed, 3);
    assert_int_equal(ledger_unsettled(f->l, 0, rows, 4, &f->e), 1); /* the one without its copy */
    assert_string_equal(rows[0].annotated_path, "porch/detect.jpg");
}

static void recovers_many_rows(void **state)
{
    struct fixture *f = *state;
    for (uint64_t n = 1; n <= 140; n++) {
        put(f, n, false, "jpeg");
        AUTO(snapshot) s = record(f, n);
        char human[SNAPSHOT_PATH_MAX];
        assert_int_equal(snapshot_name_renamed(s->path, "human", human, sizeof(human)), 0);
        struct verdict v = {.outcome = VERDICT_SKIPPED};
        assert_int_equal(
            ledger_snapshot_examined(f->l, s, &v, n % 2 ? human : NULL, NULL, NULL, NULL, 0, &f->e),
            0);
    }
    struct store_recovery done = recover(f);
    assert_int_equal(done.placed, 140);
    assert_consistent(f);
}

static void does_not_recover_while_another_uses_the_store(void **state)
{
    struct fixture *f = *state;
    struct store *other = NULL;
    assert_int_equal(store_open(f->root, 0, &other, &f->e), 0);
    put(f, 1, false, "jpeg");
    struct store_recovery done;
    assert_int_equal(store_recover(f->s, f->l, &done, &f->e), -EBUSY);
    assert_non_null(strstr(f->e.text, "another process uses it"));
    assert_int_equal(entries_of_incoming(f), 1);
    store_close(other);
    assert_int_equal(store_recover(f->s, f->l, &done, &f->e), 0);
    /* Afterwards others may read again. */
    assert_int_equal(store_open(f->root, 0, &other, &f->e), 0);
    store_close(other);
}

/* ---- check ---- */

static void finds_rows_without_files_and_files_without_rows(void **state)
{
    struct fixture *f = *state;
    AUTO(snapshot) missing = record(f, 1);
    AUTO(snapshot) short_one = record(f, 2);
    AUTO(snapshot) good = record(f, 3);
    write_file(f, short_one->path, "x");
    write_file(f, good->path, "jpeg");
    write_file(f, "porch/stranger.jpg", "x");
    put(f, 9, false, "left");
    struct dynbuf report;
    dynbuf_init(&report, 65536);
    assert_int_equal(store_check(f->s, f->l, &report, &f->e), 4);
    static const char *const lines[] = {
        "00000000000000000000000000000001: file porch/1970/01/01/fetch_porch_1.jpg is missing\n",
        "fetch_porch_2.jpg has 1 bytes, recorded are 4\n",
        "file porch/stranger.jpg belongs to no snapshot\n",
        "file .incoming/00000000000000000000000000000009 belongs to no snapshot\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        assert_non_null(strstr(dynbuf_str(&report), lines[i]));
    dynbuf_done(&report);
}

/* ---- full disk ---- */

static void keeps_its_reserve(void **state)
{
    struct fixture *f = *state;
    store_close(f->s);
    f->s = NULL;
    assert_int_equal(store_open(f->root, INT64_MAX / 2, &f->s, &f->e), 0);
    char id[SNAPSHOT_ID_SIZE];
    id_of(1, id);
    assert_int_equal(store_put(f->s, id, false, "x", 1, &f->e), -ENOSPC);
    assert_int_equal(f->e.retry, ERR_LATER);
    assert_non_null(strstr(f->e.text, "disk full"));
    assert_non_null(strstr(f->e.text, "are kept in reserve"));
    assert_int_equal(entries_of_incoming(f), 0);
    assert_true(store_free_bytes(f->s) > 0);
}

static void a_write_that_is_cut_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    (void)signal(SIGXFSZ, SIG_IGN);
    small = before;
    small.rlim_cur = 4096;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    char id[SNAPSHOT_ID_SIZE], *big = calloc(1, 100000);
    id_of(1, id);
    int r = store_put(f->s, id, false, big, 100000, &f->e);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(r, -ENOSPC);
    assert_int_equal(entries_of_incoming(f), 0);
    assert_int_equal(store_put(f->s, id, false, big, 100000, &f->e), 0);
    free(big);
}

/* The whole: a file system that really fills up, ledger and store together. */
static void survives_a_full_disk_and_goes_on_when_there_is_room(void **state)
{
    struct fixture *f = *state;
    if (geteuid() != 0 || mkdir(f->root, 0700) < 0)
        skip();
    if (mount("tmpfs", f->folder, "tmpfs", MS_NOSUID | MS_NODEV, "size=2m") < 0)
        skip(); /* a container without the right to mount */
    fixture_open(f);
    char ballast_path[200], *big = calloc(1, 30000);
    (void)snprintf(ballast_path, sizeof(ballast_path), "%s/ballast", f->folder);
    int ballast = open(ballast_path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    assert_int_equal(posix_fallocate(ballast, 0, 1000000), 0);
    uint64_t recorded = 0;
    int refused = 0;
    for (uint64_t n = 1; n <= 200; n++) {
        AUTO(snapshot) s = make_snapshot(n, "porch");
        s->size = 30000;
        int r = store_put(f->s, s->id, false, big, 30000, &f->e);
        if (r < 0) {
            assert_int_equal(r, -ENOSPC);
            assert_int_equal(f->e.retry, ERR_LATER);
            refused++;
            /* Small rows still fit for a while; then the ledger is full as well. */
            struct trigger t = make_trigger(1000 + n, "porch");
            r = ledger_trigger_add(f->l, &t, &f->e);
            if (r < 0) {
                assert_int_equal(r, -ENOSPC);
                assert_int_equal(f->e.retry, ERR_LATER);
                refused++;
            }
            continue;
        }
        r = ledger_snapshot_add(f->l, s, &f->e);
        if (r < 0) {
            assert_int_equal(r, -ENOSPC);
            store_discard(f->s, s->id, false);
            refused++;
            continue;
        }
        r = store_place(f->s, s->id, false, s->path, &f->e);
        if (r == 0)
            recorded++;
        else
            assert_int_equal(r, -ENOSPC); /* no room for a folder: recovery places it */
    }
    assert_true(recorded > 5);
    assert_true(refused > 0);
    assert_int_equal(ftruncate(ballast, 0), 0);
    (void)close(ballast);
    AUTO(snapshot) s = make_snapshot(500, "porch");
    s->size = 30000;
    assert_int_equal(store_put(f->s, s->id, false, big, 30000, &f->e), 0);
    assert_int_equal(ledger_snapshot_add(f->l, s, &f->e), 0);
    assert_int_equal(store_place(f->s, s->id, false, s->path, &f->e), 0);
    (void)recover(f);
    assert_int_equal(unlink(ballast_path), 0);
    assert_consistent(f);
    fixture_close(f);
    free(big);
    assert_int_equal(umount(f->folder), 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_picture_goes_through_incoming_to_its_place),
        CASE(nobody_else_can_read_the_files),
        CASE(a_repeated_put_replaces_the_first),
        CASE(placing_twice_is_success),
        CASE(placing_needs_a_file),
        CASE(never_overwrites_another_file),
        CASE(renaming_twice_is_success),
        CASE(refuses_paths_outside_the_root),
        CASE(deletes_a_file_once),
        CASE(pictures_of_one_second_keep_apart),
        CASE(a_pushed_picture_gets_the_first_number_that_is_free),
        CASE(pictures_that_would_share_a_copy_keep_apart),
        CASE(a_file_of_ours_gets_a_second_name_and_is_not_written_again),
        CASE(a_file_that_is_not_ours_alone_is_not_linked),
        CASE(a_file_that_changed_since_it_was_looked_at_is_not_linked),
        CASE(refuses_a_folder_that_is_no_path),
        CASE(discards_what_has_no_row),
        CASE(places_what_has_a_row),
        CASE(finishes_renames_and_copies),
        CASE(a_copy_that_was_never_recorded_goes),
        CASE(missing_files_are_counted_and_do_not_stop_it),
        CASE(a_copy_that_is_not_drawn_yet_keeps_its_row_unsettled),
        CASE(several_rows_of_one_folder_settle_together),
        CASE(recovers_many_rows),
        CASE(does_not_recover_while_another_uses_the_store),
        CASE(finds_rows_without_files_and_files_without_rows),
        CASE(keeps_its_reserve),
        CASE(a_write_that_is_cut_leaves_nothing),
        cmocka_unit_test_setup_teardown(survives_a_full_disk_and_goes_on_when_there_is_room,
                                        setup_folder, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
