#include "../test.h"

#include <pthread.h>

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
    assert_string_equal(rendered(&out), "# HELP test_camera_total Things done by a camera.\n"
                                        "# TYPE test_camera_total counter\n"
                                        "# HELP test_depth Depth.\n"
                                        "# TYPE test_depth gauge\n"
                                        "test_depth 0\n"
                                        "# HELP test_done_total Things done.\n"
                                        "# TYPE test_done_total counter\n"
                                        "test_done_total 0\n"
                                        "# HELP test_seconds How long it took.\n"
                                        "# TYPE test_seconds histogram\n");
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
        cmocka_unit_test(counts_further_label_values_together),
        cmocka_unit_test(counts_right_from_many_threads),
        cmocka_unit_test(walks_over_all_rows),
        cmocka_unit_test(adds_up_a_row_by_its_name),
    };
    return RUN_TESTS(tests);
}
