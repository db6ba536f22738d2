#include "../test.h"

#include <dirent.h>
#include <errno.h>

#include "base/text.h"
#include "report/report_spool.h"

#define DAY_US (24LL * 3600 * 1000000)
static char folder[64];
static int folder_fd;

static int set_up(void **state UNUSED)
{
    folder_fd = test_folder_new(folder);
    return 0;
}

static int tear_down(void **state UNUSED)
{
    test_folder_remove(folder, folder_fd);
    return 0;
}

static const struct report_spool_limits wide = {
    .bytes = 1 << 20, .files = 100, .age_ms = 14LL * 24 * 3600 * 1000};

static struct report_spool *open_spool(const struct report_spool_limits *limits)
{
    struct report_spool *s = NULL;
    struct err e = {0};
    if (report_spool_open(folder, limits, &s, &e) < 0)
        fail_msg("%s", e.text);
    return s;
}

static const char *id_of(int n)
{
    static char id[EVENT_ID_SIZE];
    (void)snprintf(id, sizeof(id), "%032x", (unsigned)n);
    return id;
}

static void put(struct report_spool *s, int n, int64_t at_us)
{
    char text[100];
    struct err e = {0};
    memset(text, 'x', sizeof(text));
    (void)text_format(text, sizeof(text), "event %d", n);
    if (report_spool_put(s, id_of(n), text, sizeof(text), (struct wall_time){at_us}, &e) < 0)
        fail_msg("%s", e.text);
}

/* The oldest event's number, -1 = none. */
static int oldest(struct report_spool *s, int64_t now_us)
{
    char id[EVENT_ID_SIZE];
    AUTO(blob) b = NULL;
    if (report_spool_oldest(s, (struct wall_time){now_us}, id, &b) < 0)
        return -1;
    int n = -1;
    assert_int_equal(sscanf((const char *)b->data, "event %d", &n), 1);
    assert_string_equal(id, id_of(n));
    return n;
}

static int files_there(void)
{
    int n = 0;
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (struct dirent *d = readdir(dir); d; d = readdir(dir))
        n += d->d_name[0] != '.' || strlen(d->d_name) > 2;
    closedir(dir);
    return n;
}

static void keeps_order_and_survives_a_restart(void **state UNUSED)
{
    AUTO(report_spool) s = open_spool(&wide);
    assert_int_equal(oldest(s, 0), -1);
    put(s, 2, 2000);
    put(s, 1, 1000); /* the clock was set back */
    put(s, 3, 3000);
    assert_int_equal(oldest(s, 3000), 1);
    report_spool_close(STEAL(s));
    s = open_spool(&wide);
    assert_int_equal(report_spool_count(s), 3);
    assert_int_equal(report_spool_bytes(s), 300);
    for (int n = 1; n <= 3; n++) {
        assert_int_equal(oldest(s, 3000), n);
        report_spool_remove(s, id_of(n));
    }
    assert_int_equal(oldest(s, 3000), -1);
    assert_int_equal(files_there(), 0);
}

static void the_oldest_makes_room(void **state UNUSED)
{
    struct report_spool_limits limits = wide;
    limits.files = 3;
    AUTO(report_spool) s = open_spool(&limits);
    for (int n = 1; n <= 5; n++)
        put(s, n, n);
    assert_int_equal(report_spool_count(s), 3);
    assert_int_equal(oldest(s, 5), 3);
    assert_int_equal(report_spool_take_losses(s).full, 2);
    assert_int_equal(report_spool_take_losses(s).full, 0);
    report_spool_close(STEAL(s));
    limits = wide;
    limits.bytes = 200; /* smaller limits than what an earlier run left */
    s = open_spool(&limits);
    assert_int_equal(oldest(s, 5), 4);
    put(s, 6, 6);
    assert_int_equal(oldest(s, 5), 5);
    assert_int_equal(report_spool_bytes(s), 200);
    assert_int_equal(report_spool_take_losses(s).full, 2);
    char large[201] = "";
    struct err e = {0};
    assert_int_equal(report_spool_put(s, id_of(7), large, sizeof(large), (struct wall_time){7}, &e),
                     -EFBIG);
    assert_int_equal(report_spool_count(s), 2);
    assert_int_equal(files_there(), 2);
}

static void days_without_the_network_cost_only_what_is_too_old(void **state UNUSED)
{
    AUTO(report_spool) s = open_spool(&wide);
    const int64_t start = 20000 * DAY_US;
    for (int day = 0; day < 30; day++) {
        put(s, day, start + day * DAY_US);
        if (day % 7 == 6) { /* restarts do not make anything younger */
            report_spool_close(STEAL(s));
            s = open_spool(&wide);
        }
    }
    assert_int_equal(oldest(s, start + 29 * DAY_US), 15);
    assert_int_equal(report_spool_count(s), 15);
    /* Back in 1970: nothing is old, nothing is lost. */
    assert_int_equal(oldest(s, 0), 15);
    assert_int_equal(oldest(s, start + 44 * DAY_US), -1);
    assert_int_equal(files_there(), 0);
}

static void damaged_and_foreign_files_do_no_harm(void **state UNUSED)
{
    AUTO(report_spool) s = open_spool(&wide);
    put(s, 1, 1000);
    put(s, 2, 2000);
    report_spool_close(STEAL(s));
    static const char *const names[] = {"README", "0000000000000500-0123.json", ".0000.json.77.tmp",
                                        "zzzzzzzzzzzzzzzz-00000000000000000000000000000005.json",
                                        "0000000000000400-00000000000000000000000000000004.jsonx"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        close(openat(folder_fd, names[i], O_CREAT | O_WRONLY, 0600));
    /* A link, an empty file and a folder under names of ours. */
    assert_int_equal(symlinkat("/etc/passwd", folder_fd,
                               "0000000000000300-00000000000000000000000000000003.json"),
                     0);
    close(openat(folder_fd, "0000000000000200-00000000000000000000000000000006.json",
                 O_CREAT | O_WRONLY, 0600));
    assert_int_equal(
        mkdirat(folder_fd, "0000000000000100-00000000000000000000000000000007.json", 0700), 0);
    s = open_spool(&wide);
    assert_int_equal(oldest(s, 3000), 1);
    struct report_spool_losses losses = report_spool_take_losses(s);
    assert_int_equal(losses.unreadable, 1);
    assert_int_equal(report_spool_count(s), 2);
    assert_int_equal(faccessat(folder_fd, "README", F_OK, 0), 0);
    assert_int_equal(faccessat(folder_fd, ".0000.json.77.tmp", F_OK, 0), -1);
}

static void a_folder_that_cannot_be_is_told(void **state UNUSED)
{
    char path[128];
    close(openat(folder_fd, "file", O_CREAT | O_WRONLY, 0600));
    (void)text_format(path, sizeof(path), "%s/file/events", folder);
    struct report_spool *s = NULL;
    struct err e = {0};
    assert_true(report_spool_open(path, &wide, &s, &e) < 0);
    assert_null(s);
    assert_non_null(strstr(e.text, "file"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(keeps_order_and_survives_a_restart),
        TEST(the_oldest_makes_room),
        TEST(days_without_the_network_cost_only_what_is_too_old),
        TEST(damaged_and_foreign_files_do_no_harm),
        TEST(a_folder_that_cannot_be_is_told),
    };
    return RUN_TESTS(tests);
}
