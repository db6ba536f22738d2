#include "../test.h"

#include <errno.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "ledger/thumbnails.h"

#define HOUR_US ((int64_t)3600 * 1000000)
#define MB ((int64_t)1 << 20)

struct fixture {
    char folder[64], root[80];
    int fd;
    struct thumbnails *t;
    struct err e;
};

static void open_again(struct fixture *f, int64_t bytes_max, int64_t free_min)
{
    thumbnails_close(f->t);
    f->t = NULL;
    if (thumbnails_open(f->root, bytes_max, free_min, &f->t, &f->e) < 0)
        fail_msg("%s", f->e.text);
}

static int set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));
    f->fd = test_folder_new(f->folder);
    (void)snprintf(f->root, sizeof(f->root), "%s/small", f->folder);
    open_again(f, MB, 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    thumbnails_close(f->t);
    test_folder_remove(f->folder, f->fd);
    free(f);
    return blob_live_count() == 0 ? 0 : -1;
}

/* The n-th hour since 1970. */
static struct snapshot picture(int64_t hour, unsigned n)
{
    struct snapshot s = {.received_at = {hour * HOUR_US + 61 * 1000000}};
    (void)snprintf(s.id, sizeof(s.id), "%032x", n);
    return s;
}

/* A file that begins and ends as a JPEG. */
static struct blob *jpeg(size_t size)
{
    uint8_t *bytes = xcalloc(1, size);
    bytes[0] = bytes[size - 2] = 0xff;
    bytes[1] = 0xd8;
    bytes[size - 1] = 0xd9;
    return blob_new_take(bytes, size);
}

static void write_one(struct fixture *f, const struct snapshot *s, int width, size_t size)
{
    AUTO(blob) b = jpeg(size);
    if (thumbnails_write(f->t, s, width, b, &f->e) < 0)
        fail_msg("%s", f->e.text);
}

static size_t size_of(struct fixture *f, const struct snapshot *s, int width)
{
    AUTO(blob) b = NULL;
    int r = thumbnails_read(f->t, s, width, &b, &f->e);
    assert_true(r == 0 || r == -ENOENT);
    assert_int_equal(r == 0, b != NULL);
    return b ? b->size : 0;
}

static void path_of(struct fixture *f, const char *hour, const char *name, char ret[160])
{
    (void)snprintf(ret, 160, "%s/%s/%s", f->root, hour, name);
}

static void tidy(struct fixture *f)
{
    for (int i = 0; thumbnails_tidy(f->t); i++)
        assert_true(i < 100);
}

/* As if nothing had been added to this hour for so long. */
static void make_still(struct fixture *f, const char *hour, time_t since)
{
    char path[160];
    path_of(f, hour, "", path);
    struct timespec times[2] = {{.tv_sec = since}, {.tv_sec = since}};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void gives_back_what_it_keeps_by_picture_and_width(void **state)
{
    struct fixture *f = *state;
    struct snapshot a = picture(17, 1), b = picture(17, 2);
    write_one(f, &a, THUMBNAIL_WIDTH_SMALL, 100);
    write_one(f, &a, THUMBNAIL_WIDTH_LARGE, 900);
    assert_int_equal(size_of(f, &a, THUMBNAIL_WIDTH_SMALL), 100);
    assert_int_equal(size_of(f, &a, THUMBNAIL_WIDTH_LARGE), 900);
    assert_int_equal(size_of(f, &b, THUMBNAIL_WIDTH_SMALL), 0);
    assert_true(thumbnails_hold(f->t, &a, THUMBNAIL_WIDTH_SMALL));
    char path[160];
    path_of(f, "1970-01-01T17", "00000000000000000000000000000001-320.jpg", path);
    assert_int_equal(access(path, F_OK), 0);
    write_one(f, &a, THUMBNAIL_WIDTH_SMALL, 200);
    assert_int_equal(size_of(f, &a, THUMBNAIL_WIDTH_SMALL), 200);
    assert_int_equal(thumbnails_bytes(f->t), 2 * 4096);
}

static void what_a_power_cut_left_is_as_good_as_none(void **state)
{
    struct fixture *f = *state;
    struct snapshot a = picture(17, 1);
    static const size_t sizes[] = {0, 1, 2, 50, 99};
    char path[160];
    path_of(f, "1970-01-01T17", "00000000000000000000000000000001-320.jpg", path);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        write_one(f, &a, THUMBNAIL_WIDTH_SMALL, 100);
        assert_int_equal(truncate(path, (off_t)sizes[i]), 0);
        assert_int_equal(size_of(f, &a, THUMBNAIL_WIDTH_SMALL), 0);
    }
    write_one(f, &a, THUMBNAIL_WIDTH_SMALL, 100);
    assert_int_equal(truncate(path, 50), 0);
    assert_int_equal(truncate(path, 100), 0); /* its blocks never came */
    assert_int_equal(size_of(f, &a, THUMBNAIL_WIDTH_SMALL), 0);
    write_one(f, &a, THUMBNAIL_WIDTH_SMALL, 100);
    assert_int_equal(size_of(f, &a, THUMBNAIL_WIDTH_SMALL), 100);
}

static void all_widths_of_a_picture_go_at_once(void **state)
{
    struct fixture *f = *state;
    struct snapshot a = picture(17, 1), b = picture(17, 2);
    write_one(f, &a, THUMBNAIL_WIDTH_SMALL, 100);
    write_one(f, &a, THUMBNAIL_WIDTH_LARGE, 5000);
    write_one(f, &b, THUMBNAIL_WIDTH_SMALL, 100);
    thumbnails_remove(f->t, &a);
    thumbnails_remove(f->t, &a);
    thumbnails_remove(NULL, &a);
    assert_int_equal(size_of(f, &a, THUMBNAIL_WIDTH_SMALL), 0);
    assert_int_equal(size_of(f, &a, THUMBNAIL_WIDTH_LARGE), 0);
    assert_int_equal(size_of(f, &b, THUMBNAIL_WIDTH_SMALL), 100);
    assert_int_equal(thumbnails_bytes(f->t), 4096);
}

static void above_its_bound_the_hour_goes_that_was_still_for_longest(void **state)
{
    struct fixture *f = *state;
    struct snapshot old = picture(1, 1), looked_at = picture(2, 2), new = picture(90, 3);
    write_one(f, &old, THUMBNAIL_WIDTH_SMALL, 400 << 10);
    write_one(f, &looked_at, THUMBNAIL_WIDTH_SMALL, 400 << 10);
    write_one(f, &new, THUMBNAIL_WIDTH_SMALL, 400 << 10);
    make_still(f, "1970-01-01T02", 2000); /* somebody scrolled so far back, and that made it */
    make_still(f, "1970-01-04T18", 1000);
    make_still(f, "1970-01-01T01", 1500);
    tidy(f);
    assert_int_equal(size_of(f, &new, THUMBNAIL_WIDTH_SMALL), 0);
    assert_int_equal(size_of(f, &old, THUMBNAIL_WIDTH_SMALL), 400 << 10);
    assert_int_equal(size_of(f, &looked_at, THUMBNAIL_WIDTH_SMALL), 400 << 10);
    assert_int_equal(thumbnails_bytes(f->t), 800 << 10);
}

static void counts_what_earlier_runs_have_left_after_the_first_of_this_one(void **state)
{
    struct fixture *f = *state;
    struct snapshot a = picture(1, 1), b = picture(2, 2), c = picture(3, 3);
    write_one(f, &a, THUMBNAIL_WIDTH_SMALL, 600 << 10);
    write_one(f, &b, THUMBNAIL_WIDTH_SMALL, 300 << 10);
    make_still(f, "1970-01-01T01", 1000);
    open_again(f, MB, 0);
    assert_false(thumbnails_tidy(f->t)); /* nobody has needed any yet */
    write_one(f, &c, THUMBNAIL_WIDTH_SMALL, 300 << 10);
    tidy(f);
    assert_int_equal(thumbnails_bytes(f->t), 600 << 10);
    assert_int_equal(size_of(f, &a, THUMBNAIL_WIDTH_SMALL), 0);
    assert_int_equal(size_of(f, &b, THUMBNAIL_WIDTH_SMALL), 300 << 10);
}

static void gives_all_its_room_back_to_a_disk_that_fills(void **state)
{
    struct fixture *f = *state;
    struct snapshot a = picture(1, 1), b = picture(2, 2);
    AUTO(blob) bytes = jpeg(100);
    write_one(f, &a, THUMBNAIL_WIDTH_SMALL, 100);
    write_one(f, &b, THUMBNAIL_WIDTH_SMALL, 100);
    open_again(f, MB, INT64_MAX);
    assert_false(thumbnails_have_room(f->t));
    assert_int_equal(thumbnails_write(f->t, &a, THUMBNAIL_WIDTH_LARGE, bytes, &f->e), -ENOSPC);
    tidy(f);
    assert_int_equal(size_of(f, &a, THUMBNAIL_WIDTH_SMALL), 0);
    assert_int_equal(size_of(f, &b, THUMBNAIL_WIDTH_SMALL), 0);
    assert_false(thumbnails_tidy(f->t));
}

static void one_that_is_larger_than_all_may_be_is_not_kept(void **state)
{
    struct fixture *f = *state;
    struct snapshot a = picture(1, 1);
    AUTO(blob) bytes = jpeg((1 << 20) + 1);
    assert_int_equal(thumbnails_write(f->t, &a, THUMBNAIL_WIDTH_SMALL, bytes, &f->e), -ENOSPC);
    assert_int_equal(thumbnails_bytes(f->t), 0);
}

static void foreign_things_in_its_folder_stay_and_hold_nothing_up(void **state)
{
    struct fixture *f = *state;
    struct snapshot a = picture(1, 1), b = picture(2, 2), c = picture(3, 3);
    char path[160];
    write_one(f, &a, THUMBNAIL_WIDTH_SMALL, 500 << 10);
    write_one(f, &b, THUMBNAIL_WIDTH_SMALL, 500 << 10);
    path_of(f, "1970-01-01T01", "mine", path);
    assert_int_equal(mkdir(path, 0700), 0);
    make_still(f, "1970-01-01T01", 1000);
    make_still(f, "1970-01-01T02", 2000);
    for (int i = 0; i < 2; i++) {
        write_one(f, &c, THUMBNAIL_WIDTH_SMALL, 500 << 10);
        tidy(f);
    }
    assert_int_equal(size_of(f, &a, THUMBNAIL_WIDTH_SMALL), 0);
    assert_int_equal(access(path, F_OK), 0);
    write_one(f, &a, THUMBNAIL_WIDTH_LARGE, 500 << 10);
    tidy(f);
    assert_int_equal(size_of(f, &b, THUMBNAIL_WIDTH_SMALL), 0);
}

static void switched_off_it_makes_no_folder_but_cleans_up_in_one(void **state)
{
    struct fixture *f = *state;
    struct snapshot a = picture(1, 1);
    AUTO(blob) bytes = jpeg(100);
    struct thumbnails *none = NULL;
    char path[96];
    (void)snprintf(path, sizeof(path), "%s/none", f->folder);
    assert_int_equal(thumbnails_open(path, 0, 0, &none, &f->e), -ENOENT);
    assert_int_not_equal(access(path, F_OK), 0);
    write_one(f, &a, THUMBNAIL_WIDTH_SMALL, 100);
    open_again(f, 0, 0);
    assert_int_equal(thumbnails_write(f->t, &a, THUMBNAIL_WIDTH_LARGE, bytes, &f->e), -ENOSPC);
    thumbnails_remove(f->t, &a);
    assert_int_equal(size_of(f, &a, THUMBNAIL_WIDTH_SMALL), 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(gives_back_what_it_keeps_by_picture_and_width),
        CASE(what_a_power_cut_left_is_as_good_as_none),
        CASE(all_widths_of_a_picture_go_at_once),
        CASE(above_its_bound_the_hour_goes_that_was_still_for_longest),
        CASE(counts_what_earlier_runs_have_left_after_the_first_of_this_one),
        CASE(gives_all_its_room_back_to_a_disk_that_fills),
        CASE(one_that_is_larger_than_all_may_be_is_not_kept),
        CASE(foreign_things_in_its_folder_stay_and_hold_nothing_up),
        CASE(switched_off_it_makes_no_folder_but_cleans_up_in_one),
    };
    return RUN_TESTS(tests);
}
