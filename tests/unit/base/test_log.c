#include "../test.h"

#include <errno.h>
#include <pthread.h>

#include "base/clock.h"
#include "base/log.h"

static int channel[2];

static struct wall_time at_a_known_time(void)
{
    return (struct wall_time){1767323045123456};
}

static int set_up(void **state UNUSED)
{
    if (pipe(channel) < 0)
        return -1;
    log_set_fd(channel[1]);
    log_set_level(LOG_LEVEL_DEBUG);
    log_set_format(LOG_FORMAT_TEXT);
    clock_set_wall_source(at_a_known_time);
    return 0;
}

static int tear_down(void **state UNUSED)
{
    clock_set_wall_source(NULL);
    log_set_hook(NULL, NULL);
    log_context_stage(NULL);
    log_context_camera(NULL);
    log_context_snapshot(NULL);
    log_set_fd(STDERR_FILENO);
    (void)close(channel[0]);
    (void)close(channel[1]);
    return 0;
}

/* What one log call wrote. */
static const char *written(char *buf, size_t size)
{
    ssize_t n = read(channel[0], buf, size - 1);
    assert_true(n >= 0);
    buf[n] = '\0';
    return buf;
}

static void writes_a_line_for_people(void **state UNUSED)
{
    char buf[4096];
    log_notice("started", "%d cameras", 3);
    assert_string_equal(written(buf, sizeof(buf)),
                        "2026-01-02T03:04:05.123Z notice  3 cameras [started]\n");
    log_context_stage("fetch");
    log_context_camera("porch");
    log_context_snapshot("00ff");
    log_warn("fetch-failed", "refused");
    assert_string_equal(written(buf, sizeof(buf)),
                        "2026-01-02T03:04:05.123Z warning fetch: camera \"porch\": refused "
                        "[fetch-failed 00ff]\n");
}

static void writes_a_line_for_machines(void **state UNUSED)
{
    char buf[4096];
    log_set_format(LOG_FORMAT_JSON);
    log_error("disk-full", "no space");
    assert_string_equal(written(buf, sizeof(buf)),
                        "{\"timestamp\":\"2026-01-02T03:04:05.123Z\",\"level\":\"error\","
                        "\"id\":\"disk-full\",\"message\":\"no space\"}\n");
    log_context_stage("detect.1");
    log_context_camera("K\xc3\xbc\"che");
    log_context_snapshot("00ff");
    log_info("done", "a \"b\" \\ \n\033\x01\xff \xe2\x82\xac");
    assert_string_equal(
        written(buf, sizeof(buf)),
        "{\"timestamp\":\"2026-01-02T03:04:05.123Z\",\"level\":\"info\",\"id\":\"done\","
        "\"stage\":\"detect.1\",\"camera\":\"K\xc3\xbc\\\"che\",\"snapshot\":\"00ff\","
        "\"message\":\"a \\\"b\\\" \\\\ \\n\\u001b\\u0001\\u00ff \xe2\x82\xac\"}\n");
}

/* What comes from outside cannot look like a line of its own or steer the terminal. */
static void lets_nobody_forge_a_line(void **state UNUSED)
{
    char buf[4096];
    static const char evil[] = "x\n2026-01-02T03:04:05.123Z error   all is lost [forged]\r\033[2J";
    for (int format = 0; format < LOG_FORMAT_COUNT; format++) {
        log_set_format((enum log_format)format);
        log_context_camera(evil);
        log_warn("id", "%s", evil);
        written(buf, sizeof(buf));
        assert_ptr_equal(strchr(buf, '\n'), buf + strlen(buf) - 1);
        assert_null(strchr(buf, '\r'));
        assert_null(strchr(buf, '\033'));
    }
}

static void keeps_the_words_of_quotes_and_paths(void **state UNUSED)
{
    char buf[4096];
    log_info("id", "open \"C:\\new\": refused");
    assert_string_equal(written(buf, sizeof(buf)),
                        "2026-01-02T03:04:05.123Z info    open \"C:\\new\": refused [id]\n");
}

static void cuts_a_long_sentence_but_not_the_line(void **state UNUSED)
{
    static const char fillers[] = {'x', '\n', '\033', '\xff', '"'};
    for (int format = 0; format < LOG_FORMAT_COUNT; format++) {
        log_set_format((enum log_format)format);
        for (size_t i = 0; i < sizeof(fillers); i++) {
            char longer[6000], buf[8192];
            memset(longer, fillers[i], sizeof(longer) - 1);
            longer[sizeof(longer) - 1] = '\0';
            log_context_stage(longer);
            log_context_camera(longer);
            if (fillers[i] != 'x')
                log_context_stage(NULL);
            log_info("id", "%s", longer);
            written(buf, sizeof(buf));
            size_t len = strlen(buf);
            assert_true(len > 500 && len <= 4096); /* PIPE_BUF: lines of two threads never mix */
            assert_int_equal(buf[len - 1], '\n');
            assert_non_null(strstr(buf + len - 16, format == LOG_FORMAT_TEXT ? "[id]\n" : "\"}\n"));
        }
    }
}

static void passes_its_level_and_above(void **state UNUSED)
{
    char buf[4096];
    log_set_level(LOG_LEVEL_WARNING);
    unsigned long long before = log_count(LOG_LEVEL_INFO), warned = log_count(LOG_LEVEL_WARNING);
    log_info("id", "not seen");
    log_warn("id", "seen");
    written(buf, sizeof(buf));
    assert_non_null(strstr(buf, "seen [id]"));
    assert_null(strstr(buf, "not seen"));
    assert_true(log_count(LOG_LEVEL_INFO) == before);
    assert_true(log_count(LOG_LEVEL_WARNING) == warned + 1);
    assert_int_equal(log_get_level(), LOG_LEVEL_WARNING);
}

struct seen {
    int calls;
    char id[32], text[64];
    bool swallow;
};

static bool listen(enum log_level level UNUSED, const char *id, const char *text, void *arg)
{
    struct seen *s = arg;
    s->calls++;
    (void)snprintf(s->id, sizeof(s->id), "%s", id);
    (void)snprintf(s->text, sizeof(s->text), "%s", text);
    return s->swallow;
}

static void shows_lines_to_a_hook_that_may_swallow_them(void **state UNUSED)
{
    char buf[4096];
    struct seen seen = {.swallow = true};
    log_set_hook(listen, &seen);
    log_info("first", "a\nb");
    assert_int_equal(seen.calls, 1);
    assert_string_equal(seen.id, "first");
    assert_string_equal(seen.text, "a\nb");
    seen.swallow = false;
    log_info("second", "c");
    assert_int_equal(seen.calls, 2);
    assert_string_equal(written(buf, sizeof(buf)), "2026-01-02T03:04:05.123Z info    c [second]\n");
    log_set_hook(NULL, NULL);
    log_info("third", "d");
    assert_int_equal(seen.calls, 2);
}

struct heard {
    int calls;
    struct log_record last;
    char text[64], camera[64];
    bool logs;
};

static void hear(void *arg, const struct log_record *r)
{
    struct heard *h = arg;
    h->calls++;
    h->last = *r;
    (void)snprintf(h->text, sizeof(h->text), "%s", r->text);
    (void)snprintf(h->camera, sizeof(h->camera), "%s", r->camera);
    if (h->logs)
        log_info("nested", "a sink that logs");
}

static void shows_whole_records_to_sinks(void **state UNUSED)
{
    char buf[4096];
    struct heard one = {0}, two = {0};
    assert_int_equal(log_add_sink(hear, &one), 0);
    assert_int_equal(log_add_sink(hear, &one), 0);
    assert_int_equal(log_add_sink(hear, &two), 0);
    log_context_camera("porch");
    log_warn("fetch-failed", "a\nb");
    assert_int_equal(one.calls, 1);
    assert_int_equal(two.calls, 1);
    assert_int_equal(one.last.level, LOG_LEVEL_WARNING);
    assert_true(one.last.at.us == at_a_known_time().us);
    assert_string_equal(one.last.id, "fetch-failed");
    assert_string_equal(one.text, "a\nb");
    assert_string_equal(one.camera, "porch");
    assert_string_equal(one.last.stage, "");
    assert_string_equal(one.last.snapshot, "");
    log_remove_sink(hear, &one);
    log_remove_sink(hear, &one);
    log_info("id", "x");
    assert_int_equal(one.calls, 1);
    assert_int_equal(two.calls, 2);
    log_remove_sink(hear, &two);
    written(buf, sizeof(buf));
}

static void hides_swallowed_and_nested_lines_from_sinks(void **state UNUSED)
{
    char buf[4096];
    struct seen seen = {.swallow = true};
    struct heard heard = {.logs = true};
    assert_int_equal(log_add_sink(hear, &heard), 0);
    log_set_hook(listen, &seen);
    log_info("id", "swallowed");
    assert_int_equal(heard.calls, 0);
    log_set_hook(NULL, NULL);
    log_info("id", "heard");
    assert_int_equal(heard.calls, 1);
    assert_non_null(strstr(written(buf, sizeof(buf)), "[nested]"));
    log_remove_sink(hear, &heard);
}

static void has_a_limit_of_sinks(void **state UNUSED)
{
    struct heard heard[LOG_SINKS_MAX + 1] = {0};
    for (int i = 0; i < LOG_SINKS_MAX; i++)
        assert_int_equal(log_add_sink(hear, &heard[i]), 0);
    assert_int_equal(log_add_sink(hear, &heard[LOG_SINKS_MAX]), -ENOSPC);
    for (int i = 0; i < LOG_SINKS_MAX; i++)
        log_remove_sink(hear, &heard[i]);
    assert_int_equal(log_add_sink(hear, &heard[LOG_SINKS_MAX]), 0);
    log_remove_sink(hear, &heard[LOG_SINKS_MAX]);
}

static void *log_many(void *arg UNUSED)
{
    log_context_stage("worker");
    for (int i = 0; i < 20; i++)
        log_info("id", "0123456789");
    return NULL;
}

static void keeps_lines_of_threads_apart(void **state UNUSED)
{
    pthread_t threads[4];
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, log_many, NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
    char buf[65536];
    written(buf, sizeof(buf));
    int lines = 0;
    for (char *line = buf, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        *end = '\0';
        assert_string_equal(line, "2026-01-02T03:04:05.123Z info    worker: 0123456789 [id]");
        lines++;
    }
    assert_int_equal(lines, 80);
}

static void names_every_level_and_format(void **state UNUSED)
{
    for (int i = 0; i < LOG_LEVEL_COUNT; i++)
        assert_non_null(log_level_names[i]);
    for (int i = 0; i < LOG_FORMAT_COUNT; i++)
        assert_non_null(log_format_names[i]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(writes_a_line_for_people),
        TEST(writes_a_line_for_machines),
        TEST(lets_nobody_forge_a_line),
        TEST(keeps_the_words_of_quotes_and_paths),
        TEST(cuts_a_long_sentence_but_not_the_line),
        TEST(passes_its_level_and_above),
        TEST(shows_lines_to_a_hook_that_may_swallow_them),
        TEST(shows_whole_records_to_sinks),
        TEST(hides_swallowed_and_nested_lines_from_sinks),
        TEST(has_a_limit_of_sinks),
        TEST(keeps_lines_of_threads_apart),
        TEST(names_every_level_and_format),
    };
    return RUN_TESTS(tests);
}
