#include "../test.h"

#include <errno.h>
#include <utime.h>

#include "base/fsutil.h"
#include "base/log.h"
#include "base/text.h"
#include "stage/push_file.h"

struct fixture {
    char root[64];
    int fd;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    f->fd = test_folder_new(f->root);
    log_set_level(LOG_LEVEL_ERROR);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    test_folder_remove(f->root, f->fd);
    free(f);
    return 0;
}

/* A new file, whatever was there before goes. */
static void put(struct fixture *f, const char *path, const char *text)
{
    char folder[256];
    struct err e = {0};
    (void)text_copy(folder, sizeof(folder), path);
    char *slash = strrchr(folder, '/');
    if (slash) {
        *slash = '\0';
        assert_int_equal(fs_mkdirs(f->fd, folder, 0700, &e), 0);
    }
    (void)unlinkat(f->fd, path, 0);
    if (fs_create_synced(f->fd, path, text, strlen(text), 0600, &e) < 0)
        fail_msg("%s", e.text);
}

static bool is_there(struct fixture *f, const char *path)
{
    return fs_exists(f->fd, path);
}

static void expect_text(struct fixture *f, const char *path, const char *text)
{
    AUTO(blob) b = NULL;
    struct err e = {0};
    if (fs_read_blob(f->fd, path, 1000, &b, &e) < 0)
        fail_msg("%s", e.text);
    assert_int_equal(b->size, strlen(text));
    assert_memory_equal(b->data, text, b->size);
}

static struct push_file open_file(struct fixture *f, const char *path)
{
    struct push_file file;
    struct err e = {0};
    if (push_file_open(f->root, path, &file, &e) < 0)
        fail_msg("%s", e.text);
    return file;
}

static void id_of(struct fixture *f, const char *path, bool stays, char ret[SNAPSHOT_ID_SIZE])
{
    AUTO_DONE(push_file) file = open_file(f, path);
    push_file_id("ftp", path, &file.is, stays, ret);
}

static void reads_a_file_whatever_its_name_is(void **state)
{
    static const char kitchen[] = "K\xc3\xbc"
                                  "che/T\xc3\xbcr.jpg";
    static const char *const names[] = {
        "a.jpg",       "x/y/z/03[M][0@0][0].jpg", "with blank/# 1.jpg", kitchen, "-rf.jpg",
        "$(x);`y`.jpg"};
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        put(f, names[i], names[i]);
        AUTO_DONE(push_file) file = open_file(f, names[i]);
        AUTO(blob) b = NULL;
        struct err e = {0};
        assert_int_equal(push_file_read(&file, 1000, &b, &e), 0);
        assert_int_equal(b->size, strlen(names[i]));
        assert_memory_equal(b->data, names[i], b->size);
    }
}

static void never_follows_a_link_nor_leaves_the_root(void **state)
{
    struct fixture *f = *state;
    put(f, "in/a.jpg", "a");
    assert_int_equal(mkdirat(f->fd, "root", 0700), 0);
    assert_int_equal(symlinkat("../in", f->fd, "root/folder"), 0);
    assert_int_equal(symlinkat("../in/a.jpg", f->fd, "root/file.jpg"), 0);
    assert_int_equal(mkfifoat(f->fd, "root/pipe.jpg", 0600), 0);
    assert_int_equal(mkdirat(f->fd, "root/dir.jpg", 0700), 0);
    char root[80];
    (void)snprintf(root, sizeof(root), "%s/root", f->root);
    static const struct {
        const char *path;
        int code;
    } cases[] = {{"folder/a.jpg", -EINVAL}, {"file.jpg", -EINVAL},    {"pipe.jpg", -EINVAL},
                 {"dir.jpg", -EINVAL},      {"../in/a.jpg", -EINVAL}, {"/etc/passwd", -EINVAL},
                 {"none.jpg", -ENOENT},     {"none/a.jpg", -ENOENT},  {"", -EINVAL}};
    int fds = test_count_fds();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct push_file file;
        struct err e = {0};
        int r = push_file_open(root, cases[i].path, &file, &e);
        if (r != cases[i].code)
            CASE_FAILS("%s: %d", cases[i].path, r);
    }
    assert_int_equal(test_count_fds(), fds);
    /* The root itself may be a link: that is the administrator's. */
    assert_int_equal(symlinkat("in", f->fd, "link"), 0);
    (void)snprintf(root, sizeof(root), "%s/link", f->root);
    struct err e = {0};
    AUTO_DONE(push_file) file = PUSH_FILE_NONE;
    assert_int_equal(push_file_open(root, "a.jpg", &file, &e), 0);
}

static void a_file_that_grows_while_it_is_read_is_not_taken(void **state)
{
    struct fixture *f = *state;
    put(f, "a.jpg", "first");
    AUTO_DONE(push_file) file = open_file(f, "a.jpg");
    int fd = openat(f->fd, "a.jpg", O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(write(fd, "more", 4), 4);
    close(fd);
    AUTO(blob) b = NULL;
    struct err e = {0};
    assert_int_equal(push_file_read(&file, 1000, &b, &e), -ESTALE);
    assert_int_equal(e.retry, ERR_LATER);
    assert_int_equal(push_file_read(&file, 4, &b, &e), -EFBIG);
    assert_int_equal(e.retry, ERR_NEVER);
}

static void the_id_is_that_of_the_file_under_every_name(void **state)
{
    struct fixture *f = *state;
    char first[SNAPSHOT_ID_SIZE], second[SNAPSHOT_ID_SIZE], other[SNAPSHOT_ID_SIZE];
    put(f, "a/tmp.jpg", "picture");
    AUTO_DONE(push_file) file = open_file(f, "a/tmp.jpg");
    if (!file.is.born_ns)
        skip(); /* the file system knows no birth times: then the path stands in */
    id_of(f, "a/tmp.jpg", false, first);
    assert_true(snapshot_id_valid(first));
    assert_int_equal(renameat(f->fd, "a/tmp.jpg", f->fd, "a/final.jpg"), 0);
    id_of(f, "a/final.jpg", false, second);
    assert_string_equal(first, second);
    push_file_id("garage", "a/final.jpg", &file.is, false, other);
    assert_string_not_equal(first, other);
}

static void the_same_bytes_once_more_are_another_picture(void **state)
{
    struct fixture *f = *state;
    char first[SNAPSHOT_ID_SIZE], second[SNAPSHOT_ID_SIZE];
    struct timespec then[2] = {{.tv_sec = 1700000000}, {.tv_sec = 1700000000}};
    /* Even of the same size and with a time of change that a client sets (MFMT). */
    put(f, "a.jpg", "picture");
    assert_int_equal(utimensat(f->fd, "a.jpg", then, 0), 0);
    AUTO_DONE(push_file) file = open_file(f, "a.jpg");
    if (!file.is.born_ns)
        skip();
    id_of(f, "a.jpg", false, first);
    push_file_close(&file);
    put(f, "b.jpg", "picture");
    assert_int_equal(utimensat(f->fd, "b.jpg", then, 0), 0);
    id_of(f, "b.jpg", false, second);
    assert_string_not_equal(first, second);
    assert_memory_equal(first, second, 12); /* the time in front */
    assert_memory_equal(first, "018bcfe56800", 12);
}

static void a_file_that_stays_is_known_by_path_size_and_time(void **state)
{
    struct fixture *f = *state;
    char first[SNAPSHOT_ID_SIZE], second[SNAPSHOT_ID_SIZE];
    struct timespec then[2] = {{.tv_sec = 1700000000}, {.tv_sec = 1700000000}};
    put(f, "a.jpg", "picture");
    assert_int_equal(utimensat(f->fd, "a.jpg", then, 0), 0);
    id_of(f, "a.jpg", true, first);
    put(f, "other", "x"); /* so that the inode is another one */
    put(f, "a.jpg", "PICTURE");
    assert_int_equal(utimensat(f->fd, "a.jpg", then, 0), 0);
    id_of(f, "a.jpg", true, second);
    assert_string_equal(first, second); /* as after a remount with other inodes */
    put(f, "b.jpg", "picture");
    assert_int_equal(utimensat(f->fd, "b.jpg", then, 0), 0);
    id_of(f, "b.jpg", true, second);
    assert_string_not_equal(first, second);
    put(f, "a.jpg", "picture");
    id_of(f, "a.jpg", true, second); /* changed now */
    assert_string_not_equal(first, second);
}

static void removes_this_very_file(void **state)
{
    struct fixture *f = *state;
    char id[SNAPSHOT_ID_SIZE];
    struct err e = {0};
    put(f, "a/b.jpg", "picture");
    AUTO_DONE(push_file) file = open_file(f, "a/b.jpg");
    push_file_id("ftp", "a/b.jpg", &file.is, false, id);
    assert_int_equal(push_file_remove(&file, id, &e), 0);
    assert_false(is_there(f, "a/b.jpg"));
    assert_int_equal(unlinkat(f->fd, "a", AT_REMOVEDIR), 0); /* nothing else is left in it */
}

static void a_newer_file_of_the_same_name_is_never_removed(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    char id[SNAPSHOT_ID_SIZE];
    put(f, "snap.jpg", "first");
    AUTO_DONE(push_file) file = open_file(f, "snap.jpg");
    push_file_id("ftp", "snap.jpg", &file.is, false, id);
    put(f, "new", "second");
    assert_int_equal(renameat(f->fd, "new", f->fd, "snap.jpg"), 0);
    assert_int_equal(push_file_remove(&file, id, &e), -ESTALE);
    expect_text(f, "snap.jpg", "second");
    assert_int_equal(unlinkat(f->fd, "snap.jpg", 0), 0);
    assert_int_equal(push_file_remove(&file, id, &e), -ENOENT);
}

/* Under every name that fits, and with one that does not. */
static void long_names_are_removed_as_well(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    for (size_t len = 200; len <= NAME_MAX; len += 11) {
        char name[NAME_MAX + 1], id[SNAPSHOT_ID_SIZE];
        memset(name, 'n', len);
        (void)text_copy(name + len - 4, 5, ".jpg");
        put(f, name, "x");
        AUTO_DONE(push_file) file = open_file(f, name);
        push_file_id("ftp", name, &file.is, false, id);
        assert_int_equal(push_file_remove(&file, id, &e), 0);
        assert_false(is_there(f, name));
    }
}

static void moves_into_another_folder(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    put(f, "a.jpg", "no picture");
    assert_int_equal(mkdirat(f->fd, "refused", 0700), 0);
    AUTO_CLOSE int to = openat(f->fd, "refused", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    AUTO_DONE(push_file) file = open_file(f, "a.jpg");
    assert_int_equal(push_file_move(&file, to, "id-a.jpg", &e), 0);
    assert_false(is_there(f, "a.jpg"));
    expect_text(f, "refused/id-a.jpg", "no picture");
}

static void moves_to_another_file_system_by_a_copy(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    char other[] = "/dev/shm/snapshotd-test-XXXXXX";
    struct stat here, there;
    if (!mkdtemp(other))
        skip();
    AUTO_CLOSE int to = open(other, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(fstat(f->fd, &here), 0);
    assert_int_equal(fstat(to, &there), 0);
    bool apart = here.st_dev != there.st_dev;
    if (apart) {
        put(f, "a.jpg", "no picture");
        AUTO_DONE(push_file) file = open_file(f, "a.jpg");
        assert_int_equal(push_file_move(&file, to, "id-a.jpg", &e), 0);
        assert_false(is_there(f, "a.jpg"));
        struct fixture g = {.fd = to};
        expect_text(&g, "id-a.jpg", "no picture");
        assert_int_equal(unlinkat(to, "id-a.jpg", 0), 0);
    }
    assert_int_equal(rmdir(other), 0);
    if (!apart)
        skip();
}

/* ---- what a crash leaves ---- */

static int all_known(void *arg, const char *id, struct err *e UNUSED)
{
    (void)text_copy(arg, SNAPSHOT_ID_SIZE, id);
    return 1;
}
static int none_known(void *arg UNUSED, const char *id UNUSED, struct err *e UNUSED)
{
    return 0;
}
static int busy(void *arg UNUSED, const char *id UNUSED, struct err *e)
{
    return err_set(e, -EBUSY, ERR_LATER, "busy");
}

static void aside(struct fixture *f, const char *folder, const char *name, char ret[512],
                  char ret_id[SNAPSHOT_ID_SIZE])
{
    char path[300];
    (void)snprintf(path, sizeof(path), "%s%s", folder, name);
    id_of(f, path, false, ret_id);
    (void)snprintf(ret, 512, "%s.taken-%s-%s", folder, ret_id, name);
    assert_int_equal(renameat(f->fd, path, f->fd, ret), 0);
}

static void finishes_a_removal_that_a_crash_interrupted(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    char hidden[512], id[SNAPSHOT_ID_SIZE], asked[SNAPSHOT_ID_SIZE] = "";
    put(f, "up/cam/a.jpg", "picture");
    put(f, "up/cam/.hidden", "not ours");
    aside(f, "up/cam/", "a.jpg", hidden, id);
    assert_int_equal(push_file_recover(f->root, "ftp", busy, NULL, &e), -EBUSY);
    assert_true(is_there(f, hidden));
    assert_int_equal(push_file_recover(f->root, "ftp", all_known, asked, &e), 1);
    assert_string_equal(asked, id);
    assert_false(is_there(f, hidden));
    assert_false(is_there(f, "up/cam/a.jpg"));
    assert_true(is_there(f, "up/cam/.hidden"));
    assert_int_equal(push_file_recover(f->root, "ftp", all_known, asked, &e), 0);
    assert_int_equal(push_file_recover("/nonexistent/x", "ftp", all_known, asked, &e), -ENOENT);
}

static void gives_back_what_the_ledger_does_not_know(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    char hidden[512], id[SNAPSHOT_ID_SIZE];
    put(f, "cam/a.jpg", "picture");
    aside(f, "cam/", "a.jpg", hidden, id);
    assert_int_equal(push_file_recover(f->root, "ftp", none_known, NULL, &e), 1);
    expect_text(f, "cam/a.jpg", "picture");
}

/* Renamed away in the moment in which it came, and then the power went. */
static void gives_back_a_newer_file_that_was_met_instead(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    char hidden[512], id[SNAPSHOT_ID_SIZE], asked[SNAPSHOT_ID_SIZE] = "";
    put(f, "cam/snap.jpg", "first");
    aside(f, "cam/", "snap.jpg", hidden, id);
    put(f, hidden, "second");
    assert_int_equal(push_file_recover(f->root, "ftp", all_known, asked, &e), 1);
    assert_string_equal(asked, ""); /* it is another file, whatever the ledger knows */
    expect_text(f, "cam/snap.jpg", "second");
    /* And beside a third one. */
    put(f, hidden, "fourth");
    put(f, "cam/snap.jpg", "third");
    assert_int_equal(push_file_recover(f->root, "ftp", all_known, asked, &e), 1);
    expect_text(f, "cam/snap.jpg", "third");
    expect_text(f, "cam/snap~1.jpg", "fourth");
}

static bool is_video(void *arg UNUSED, const char *path, const struct push_identity *is)
{
    assert_true(is->inode != 0 && is->size > 0);
    return text_ends_with(path, ".mp4");
}

static void cleans_what_is_old_and_unwanted_and_nothing_else(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    put(f, "cam/a.mp4", "v");
    put(f, "cam/a.jpg", "p");
    put(f, "cam/.in.b.mp4", "v");
    put(f, "cam/.incoming-b.mp4", "v"); /* somebody's upload */
    put(f, "cam/.Trash-1000/c.mp4", "v");
    char deep[400] = "";
    for (int i = 0; i < 64; i++)
        (void)snprintf(deep + strlen(deep), sizeof(deep) - strlen(deep), "%02d/", i);
    (void)text_copy(deep + strlen(deep), 8, "d.mp4");
    put(f, deep, "v");
    assert_int_equal(symlinkat("a.jpg", f->fd, "cam/link.mp4"), 0);
    assert_int_equal(push_file_clean(f->root, 3600000, is_video, NULL, &e), 0);
    assert_int_equal(push_file_clean(f->root, -1000, is_video, NULL, &e),
                     3); /* older than in a second */
    assert_false(is_there(f, "cam/a.mp4"));
    assert_true(is_there(f, "cam/a.jpg"));
    assert_false(is_there(f, "cam/.in.b.mp4"));
    assert_false(is_there(f, deep));
    assert_true(is_there(f, "cam/.incoming-b.mp4"));
    assert_true(is_there(f, "cam/.Trash-1000/c.mp4"));
    struct stat st;
    assert_int_equal(fstatat(f->fd, "cam/link.mp4", &st, AT_SYMLINK_NOFOLLOW), 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(reads_a_file_whatever_its_name_is),
        T(never_follows_a_link_nor_leaves_the_root),
        T(a_file_that_grows_while_it_is_read_is_not_taken),
        T(the_id_is_that_of_the_file_under_every_name),
        T(the_same_bytes_once_more_are_another_picture),
        T(a_file_that_stays_is_known_by_path_size_and_time),
        T(removes_this_very_file),
        T(a_newer_file_of_the_same_name_is_never_removed),
        T(long_names_are_removed_as_well),
        T(moves_into_another_folder),
        T(moves_to_another_file_system_by_a_copy),
        T(finishes_a_removal_that_a_crash_interrupted),
        T(gives_back_what_the_ledger_does_not_know),
        T(gives_back_a_newer_file_that_was_met_instead),
        T(cleans_what_is_old_and_unwanted_and_nothing_else),
    };
    return RUN_TESTS(tests);
}
