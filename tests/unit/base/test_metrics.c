#include "../test.h"

#include <pthread.h>
#include <string.h>

#include "base/metrics.h"

static struct metric done_total = {
    .name = "test_done_total", .kind = METRIC_COUNTER, .help = "Things done."};
static struct metric by_camera = {.name = "test_camera_total",
                                  .kind = METRIC_COUNTER,
                                  .label = "camera",
                                  .help = "Things done by a camera."};
static struct metric depth = {.name = "test_depth", .kind = METRIC_GAUGE, .help = "Depth."};
static struct metric seconds = {
    .name = "test_seconds", .kind = METRIC_HISTOGRAM, .help = "How long it took."};
static struct metric shared = {.name = "test_shared_total",
                               .kind = METRIC_COUNTER,
                               .label = "worker",
                               .help = "Counted by many threads."};
static struct metric many = {
    .name = "test_many_total", .kind = METRIC_COUNTER, .label = "key", .help = "Many values."};

static const char *const les[] = {"0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025",
                                  "0.05",   "0.1",   "0.25",   "0.5",   "1",    "2.5",
                                  "5",      "10",    "30",     "60",    "300",  "+Inf"};

static const char *empty_buckets(char *text, size_t size)
{
    size_t used = 0;
    for (size_t i = 0; i < ARRAY_LEN(les); i++)
        used += (size_t)snprintf(text + used, size - used, "test_seconds_bucket{le=\"%s\"} 0\n",
                                 les[i]);
    assert_true(used < size);
    return text;
}

static const char *rendered(struct dynbuf *out)
{
    dynbuf_reset(out);
    metrics_render(out);
    assert_false(out->failed);
    return dynbuf_str(out);
}

static void renders_the_exposition_format(void **state UNUSED)
{
    AUTO_DONE(dynbuf) out = {0};
    dynbuf_init(&out, 1 << 20);
    metric_register(&seconds);
    metric_register(&done_total);
    metric_register(&depth);
    metric_register(&by_camera);
    metric_register(&done_total); /* twice does no harm */
    char buckets[1024], wanted[2048];
    (void)snprintf(wanted, sizeof(wanted),
                   "# HELP test_camera_total Things done by a camera.\n"
                   "# TYPE test_camera_total counter\n"
                   "# HELP test_depth Depth.\n"
                   "# TYPE test_depth gauge\n"
                   "test_depth 0\n"
                   "# HELP test_done_total Things done.\n"
                   "# TYPE test_done_total counter\n"
                   "test_done_total 0\n"
                   "# HELP test_seconds How long it took.\n"
                   "# TYPE test_seconds histogram\n"
                   "%stest_seconds_sum 0\n"
                   "test_seconds_count 0\n",
                   empty_buckets(buckets, sizeof(buckets)));
    assert_string_equal(rendered(&out), wanted);
    metric_inc(&done_total, NULL);
    metric_add(&done_total, NULL, 2);
    metric_inc(&by_camera, "porch");
    metric_set(&depth, NULL, -1.5);
    const char *text = rendered(&out);
    assert_non_null(strstr(text, "\ntest_done_total 3\n"));
    assert_non_null(strstr(text, "\ntest_camera_total{camera=\"porch\"} 1\n"));
    assert_non_null(strstr(text, "\ntest_depth -1.5\n"));
    assert_true(metric_value(&done_total, NULL) == 3.0);
    assert_true(metric_value(&by_camera, "porch") == 1.0);
    assert_true(metric_value(&by_camera, "never") == 0.0);
    assert_null(strstr(rendered(&out), "never")); /* asking makes no series */
    metric_touch(&by_camera, "hall");
    assert_non_null(strstr(rendered(&out), "\ntest_camera_total{camera=\"hall\"} 0\n"));
}

static void counts_into_cumulative_buckets(void **state UNUSED)
{
    AUTO_DONE(dynbuf) out = {0};
    dynbuf_init(&out, 1 << 20);
    metric_register(&seconds);
    metric_observe(&seconds, NULL, 0.001);
    metric_observe(&seconds, NULL, 0.3);
    metric_observe(&seconds, NULL, 1000);
    const char *text = rendered(&out);
    assert_non_null(strstr(text, "test_seconds_bucket{le=\"0.001\"} 1\n"));
    assert_non_null(strstr(text, "test_seconds_bucket{le=\"0.25\"} 1\n"));
    assert_non_null(strstr(text, "test_seconds_bucket{le=\"0.5\"} 2\n"));
    assert_non_null(strstr(text, "test_seconds_bucket{le=\"60\"} 2\n"));
    assert_non_null(strstr(text, "test_seconds_bucket{le=\"+Inf\"} 3\n"));
    assert_non_null(strstr(text, "test_seconds_sum 1000.301\n"));
    assert_non_null(strstr(text, "test_seconds_count 3\n"));
    assert_true(metric_value(&seconds, NULL) == 3.0);
}

/* The format knows three escapes in label values; any other makes a strict reader drop the page. */
static void escapes_label_values_as_the_format_wants(void **state UNUSED)
{
    static struct metric odd = {
        .name = "test_odd_total", .kind = METRIC_COUNTER, .label = "key", .help = "Odd values."};
    AUTO_DONE(dynbuf) out = {0};
    dynbuf_init(&out, 1 << 20);
    metric_register(&odd);
    metric_inc(&odd, "a\"b\\c\nd");
    metric_inc(&odd, "K\xc3\xbc"
                     "che");
    metric_inc(&odd, "\033\t\xff");
    const char *text = rendered(&out);
    assert_non_null(strstr(text, "test_odd_total{key=\"a\\\"b\\\\c\\nd\"} 1\n"));
    assert_non_null(strstr(text, "test_odd_total{key=\"K\xc3\xbc"
                                 "che\"} 1\n"));
    assert_non_null(strstr(text, "test_odd_total{key=\"???\"} 1\n"));
}

/* A page that has one series twice is refused as a whole. */
static void shows_values_that_look_alike_as_one_series(void **state UNUSED)
{
    static struct metric alike = {
        .name = "test_alike_total", .kind = METRIC_COUNTER, .label = "key", .help = "Alike."};
    AUTO_DONE(dynbuf) out = {0};
    dynbuf_init(&out, 1 << 20);
    metric_register(&alike);
    metric_inc(&alike, "a\001");
    metric_inc(&alike, "a\002");
    metric_inc(&alike, "a?");
    char longer[2][100];
    for (size_t i = 0; i < 2; i++) {
        memset(longer[i], 'x', sizeof(longer[i]) - 1);
        longer[i][99] = '\0';
        longer[i][98] = (char)('a' + i);
        /* The cut falls into a letter of two bytes. */
        memcpy(longer[i] + 62, "\xc3\xbc", 2);
        metric_inc(&alike, longer[i]);
    }
    const char *text = rendered(&out);
    assert_non_null(strstr(text, "test_alike_total{key=\"a?\"} 3\n"));
    assert_true(metric_value(&alike, longer[0]) == 2.0);
    const char *cut = strstr(text, "{key=\"xx");
    assert_non_null(cut);
    assert_null(strstr(cut + 1, "{key=\"xx"));
    assert_int_equal(strcspn(cut + strlen("{key=\""), "\""), 62);
}

static void escapes_help_texts(void **state UNUSED)
{
    static struct metric odd = {
        .name = "test_help_total", .kind = METRIC_COUNTER, .help = "Two\nlines, \"C:\\\""};
    AUTO_DONE(dynbuf) out = {0};
    dynbuf_init(&out, 1 << 20);
    metric_register(&odd);
    assert_non_null(
        strstr(rendered(&out), "# HELP test_help_total Two\\nlines, \"C:\\\\\"\n# TYPE"));
}

static void collect(void *arg)
{
    metric_set(&depth, NULL, ++*(int *)arg);
}

static void asks_collectors_when_it_is_read(void **state UNUSED)
{
    AUTO_DONE(dynbuf) out = {0};
    dynbuf_init(&out, 1 << 20);
    metric_register(&depth);
    int asked = 40;
    metrics_add_collector(collect, &asked);
    assert_non_null(strstr(rendered(&out), "\ntest_depth 41\n"));
    assert_non_null(strstr(rendered(&out), "\ntest_depth 42\n"));
    metrics_remove_collector(collect, &asked);
    assert_non_null(strstr(rendered(&out), "\ntest_depth 42\n"));
}

static void takes_the_count_of_a_counter_that_is_kept_elsewhere(void **state UNUSED)
{
    static struct metric mirrored = {
        .name = "test_mirrored_total", .kind = METRIC_COUNTER, .help = "Kept elsewhere."};
    metric_mirror(&mirrored, NULL, 7);
    metric_mirror(&mirrored, NULL, 9);
    assert_true(metric_value(&mirrored, NULL) == 9.0);
}

static void bounds_the_series_of_a_histogram_closer(void **state UNUSED)
{
    static struct metric wide = {.name = "test_wide_seconds",
                                 .kind = METRIC_HISTOGRAM,
                                 .label = "key",
                                 .help = "Many values."};
    for (int i = 0; i < METRIC_HISTOGRAM_SERIES_MAX + 7; i++) {
        char label[16];
        (void)snprintf(label, sizeof(label), "v%d", i);
        metric_observe(&wide, label, 0.1);
    }
    assert_true(metric_value(&wide, "v0") == 1.0);
    assert_true(metric_value(&wide, "other") == 7.0);
}

static void writes_a_reference_of_all_rows(void **state UNUSED)
{
    AUTO_DONE(dynbuf) out = {0};
    dynbuf_init(&out, 1 << 20);
    metric_register(&by_camera);
    metrics_write_reference(&out);
    assert_non_null(strstr(dynbuf_str(&out), "\n| `test_camera_total` | counter | `camera` | "
                                             "Things done by a camera |\n"));
}

static void counts_further_label_values_together(void **state UNUSED)
{
    metric_register(&many);
    for (int i = 0; i < METRIC_SERIES_MAX + 50; i++) {
        char label[16];
        (void)snprintf(label, sizeof(label), "v%d", i);
        metric_inc(&many, label);
    }
    assert_true(metric_value(&many, "v0") == 1.0);
    assert_true(metric_value(&many, "other") == 50.0);
    metric_inc(&many, "v0"); /* known ones keep their own */
    assert_true(metric_value(&many, "v0") == 2.0);
}

static void *count_many(void *arg)
{
    for (int i = 0; i < 5000; i++) {
        metric_inc(&shared, arg);
        metric_inc(&shared, "all");
        metric_observe(&seconds, NULL, 0.5);
    }
    return NULL;
}

static void counts_right_from_many_threads(void **state UNUSED)
{
    static char names[4][4] = {"a", "b", "c", "d"};
    AUTO_DONE(dynbuf) out = {0};
    dynbuf_init(&out, 1 << 20);
    metric_register(&shared);
    metric_register(&seconds);
    double before = metric_value(&seconds, NULL);
    pthread_t threads[4];
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_many, names[i]), 0);
    for (int i = 0; i < 20; i++)
        (void)rendered(&out); /* reading meanwhile disturbs nobody */
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
    assert_true(metric_value(&shared, "all") == 20000.0);
    assert_true(metric_value(&shared, "c") == 5000.0);
    assert_true(metric_value(&seconds, NULL) == before + 20000.0);
}

static void count_row(const struct metric *m, void *arg)
{
    assert_true(m->help && m->help[0]);
    ++*(int *)arg;
}

static void walks_over_all_rows(void **state UNUSED)
{
    int n = 0;
    metrics_each(count_row, &n);
    assert_true(n >= 6);
}

static void adds_up_a_row_by_its_name(void **state UNUSED)
{
    static struct metric fresh = {
        .name = "test_sum_total", .kind = METRIC_COUNTER, .label = "kind", .help = "Kinds."};
    assert_true(metric_sum("test_sum_total", NULL) == 0);
    metric_register(&fresh);
    assert_true(metric_sum("test_sum_total", NULL) == 0);
    metric_add(&fresh, "a", 2);
    metric_add(&fresh, "b", 3);
    assert_true(metric_sum("test_sum_total", NULL) == 5);
    assert_true(metric_sum("test_sum_total", "b") == 3);
    assert_true(metric_sum("test_sum_total", "c") == 0);
    metric_register(&seconds);
    double before = metric_sum("test_seconds", NULL);
    metric_observe(&seconds, NULL, 7);
    assert_true(metric_sum("test_seconds", NULL) == before + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(renders_the_exposition_format),
        cmocka_unit_test(counts_into_cumulative_buckets),
        cmocka_unit_test(escapes_label_values_as_the_format_wants),
        cmocka_unit_test(shows_values_that_look_alike_as_one_series),
        cmocka_unit_test(escapes_help_texts),
        cmocka_unit_test(asks_collectors_when_it_is_read),
        cmocka_unit_test(takes_the_count_of_a_counter_that_is_kept_elsewhere),
        cmocka_unit_test(bounds_the_series_of_a_histogram_closer),
        cmocka_unit_test(writes_a_reference_of_all_rows),
        cmocka_unit_test(counts_further_label_values_together),
        cmocka_unit_test(counts_right_from_many_threads),
        cmocka_unit_test(walks_over_all_rows),
        cmocka_unit_test(adds_up_a_row_by_its_name),
    };
    return RUN_TESTS(tests);
}
