#include "../test.h"

#include <errno.h>

#include "base/text.h"
#include "notify/console.h"

static struct snapshot snapshot = {
    .id = "019b7c9da2880123456789abcdef0123",
    .camera = "porch",
    .device_key = "Front Door Camera",
    .event_at = {1767323045123456},
    .path = "frontdoor/2026/01/02/human_front-door-camera_1767323045.jpg",
    .annotated_path = "frontdoor/2026/01/02/detect_front-door-camera_1767323045.jpg",
};
static struct detection found[] = {
    {"person", 0, 0.91f, true, {1, 2, 30, 40}},
    {"car", 2, 0.64f, true, {5, 6, 7, 8.5f}},
    {"person", 0, 0.83f, false, {0}},
    {"person", 0, 0.5f, true, {0}},
    {"person", 0, 0.41f, true, {0}},
};

/* What a notifier writes about one event. */
static const char *delivered(enum console_format format, const struct snapshot *s,
                             const struct verdict *v, char *buf, size_t size)
{
    int channel[2];
    assert_int_equal(pipe(channel), 0);
    struct notifier *n = console_notifier_new(channel[1], format, "data/store");
    assert_string_equal(n->ops->name, "console");
    struct err e = {0};
    struct event ev = {.snapshot = s, .verdict = v, .attempt = 1};
    assert_int_equal(n->ops->deliver(n, &ev, &e), 0);
    n->ops->free(n);
    (void)close(channel[1]);
    ssize_t got = read(channel[0], buf, size - 1);
    assert_true(got > 0);
    buf[got] = '\0';
    (void)close(channel[0]);
    return buf;
}

static void prints_a_line_for_people(void **state UNUSED)
{
    char buf[9000];
    struct verdict v = {.decode_ms = 10.4, .infer_ms = 30.2, .found = {found, 2}};
    assert_string_equal(delivered(CONSOLE_TEXT, &snapshot, &v, buf, sizeof(buf)),
                        "03:04:05  porch           person 0.91, car 0.64                        "
                        "   41 ms  data/store/frontdoor/2026/01/02/"
                        "detect_front-door-camera_1767323045.jpg\n");
    struct snapshot plain = snapshot;
    plain.annotated_path[0] = '\0';
    struct verdict nothing = {.infer_ms = 1234};
    assert_string_equal(delivered(CONSOLE_TEXT, &plain, &nothing, buf, sizeof(buf)),
                        "03:04:05  porch           nothing found                                "
                        " 1234 ms  data/store/frontdoor/2026/01/02/"
                        "human_front-door-camera_1767323045.jpg\n");
}

static void prints_a_line_for_scripts(void **state UNUSED)
{
    char buf[9000];
    struct verdict v = {.decode_ms = 10.5, .infer_ms = 30.25, .found = {found, 3}};
    assert_string_equal(
        delivered(CONSOLE_JSON, &snapshot, &v, buf, sizeof(buf)),
        "{\"id\":\"019b7c9da2880123456789abcdef0123\",\"event_at\":\"2026-01-02T03:04:05.123Z\","
        "\"camera\":\"porch\",\"device_key\":\"Front Door "
        "Camera\",\"source\":\"fetched\",\"outcome\":\"examined\","
        "\"event_detail\":\"2 person(s) and 3 things\",\"decode_ms\":10.5,\"infer_ms\":30.25,"
        "\"path\":\"data/store/frontdoor/2026/01/02/human_front-door-camera_1767323045.jpg\","
        "\"detections\":[{\"label\":\"person\",\"confidence\":0.910000026,"
        "\"box\":[1.0,2.0,30.0,40.0]},{\"label\":\"car\",\"confidence\":0.639999986,"
        "\"box\":[5.0,6.0,7.0,8.5]},{\"label\":\"person\",\"confidence\":0.829999983}],"
        "\"annotated_path\":"
        "\"data/store/frontdoor/2026/01/02/detect_front-door-camera_1767323045.jpg\"}\n");
    struct snapshot plain = snapshot;
    plain.annotated_path[0] = '\0';
    text_copy(plain.camera, sizeof(plain.camera), "K\xff\n");
    struct verdict failed = {.outcome = VERDICT_FAILED, .error = "not a \"picture\""};
    assert_string_equal(
        delivered(CONSOLE_JSON, &plain, &failed, buf, sizeof(buf)),
        "{\"id\":\"019b7c9da2880123456789abcdef0123\",\"event_at\":\"2026-01-02T03:04:05.123Z\","
        "\"camera\":\"K?\\n\",\"device_key\":\"Front Door "
        "Camera\",\"source\":\"fetched\",\"outcome\":\"failed\","
        "\"event_detail\":\"\",\"decode_ms\":0.0,\"infer_ms\":0.0,"
        "\"path\":\"data/store/frontdoor/2026/01/02/human_front-door-camera_1767323045.jpg\","
        "\"detections\":[],\"error\":\"not a \\\"picture\\\"\"}\n");
}

static void finds_words_for_every_verdict(void **state UNUSED)
{
    static struct detection kinds[9];
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        kinds[i].confidence = 0.5f;
        (void)snprintf(kinds[i].label, sizeof(kinds[i].label), "k%zu", i);
    }
    static struct detection buses[] = {
        {.label = "bus", .confidence = 0.9f},   {.label = "bus", .confidence = 0.8f},
        {.label = "couch", .confidence = 0.7f}, {.label = "couch", .confidence = 0.6f},
        {.label = "skis", .confidence = 0.5f},  {.label = "skis", .confidence = 0.4f}};
    const struct {
        struct verdict v;
        const char *words;
    } cases[] = {
        {{.found = {0}}, "nothing found"},
        {{.found = {found, 1}}, "person 0.91"},
        {{.found = {found + 1, 2}}, "person 0.83, car 0.64"}, /* persons first */
        {{.found = {found, 3}}, "2 persons (0.91, 0.83), car 0.64"},
        {{.found = {found, 5}}, "4 persons (0.91, 0.83, 0.50, ...), car 0.64"},
        {{.found = {kinds, 9}},
         "k0 0.50, k1 0.50, k2 0.50, k3 0.50, k4 0.50, k5 0.50 and 3 more kinds"},
        {{.found = {buses, 6}},
         "2 buses (0.90, 0.80), 2 couches (0.70, 0.60), 2 skis (0.50, 0.40)"},
        {{.found = {found, 1}, .damaged = true}, "person 0.91 (damaged picture)"},
        {{.outcome = VERDICT_SKIPPED}, "kept (detection is off)"},
        {{.outcome = VERDICT_FAILED, .error = "no model"}, "kept, but not examined: no model"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char buf[512];
        test_expect_text("words", console_describe(&cases[i].v, buf, sizeof(buf)), cases[i].words);
    }
}

static void cuts_words_that_do_not_fit(void **state UNUSED)
{
    char buf[12];
    struct verdict v = {.found = {found, 5}};
    console_describe(&v, buf, sizeof(buf));
    assert_true(strlen(buf) < sizeof(buf));
    assert_int_equal(strncmp("4 persons (", buf, strlen(buf)), 0);
}

/* Labels come out of model files, errors out of pictures: neither may steer the terminal. */
static void lets_nobody_forge_a_line(void **state UNUSED)
{
    char buf[9000];
    struct detection evil[] = {{.label = "cat\n03:04:05  porch\033[2J\x9b", .confidence = 0.5f}};
    struct verdict v = {.found = {evil, 1}};
    struct verdict failed = {.outcome = VERDICT_FAILED, .error = "bad\nworse\033]0;x\a"};
    struct snapshot s = snapshot;
    text_copy(s.camera, sizeof(s.camera), "a\nb");
    text_copy(s.annotated_path, sizeof(s.annotated_path), "x\n\033y.jpg");
    const struct verdict *verdicts[] = {&v, &failed};
    for (int format = 0; format < CONSOLE_FORMAT_COUNT; format++) {
        for (size_t i = 0; i < ARRAY_LEN(verdicts); i++) {
            delivered((enum console_format)format, &s, verdicts[i], buf, sizeof(buf));
            assert_ptr_equal(strchr(buf, '\n'), buf + strlen(buf) - 1);
            assert_null(strchr(buf, '\033'));
            assert_null(strchr(buf, '\a'));
        }
    }
}

static void reports_a_console_that_cannot_be_written(void **state UNUSED)
{
    AUTO_CLOSE int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    if (full < 0)
        skip();
    struct notifier *n = console_notifier_new(full, CONSOLE_TEXT, "data");
    struct verdict v = {.found = {0}};
    struct event ev = {.snapshot = &snapshot, .verdict = &v, .attempt = 1};
    struct err e = {0};
    assert_int_equal(n->ops->deliver(n, &ev, &e), -ENOSPC);
    assert_string_equal(e.text, "console: write: No space left on device");
    assert_int_equal(e.retry, ERR_LATER);
    n->ops->free(n);
}

static void names_its_formats(void **state UNUSED)
{
    assert_string_equal(console_format_names[CONSOLE_TEXT], "text");
    assert_string_equal(console_format_names[CONSOLE_JSON], "json");
}

int main(void)
{
    setenv("TZ", "UTC", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prints_a_line_for_people),
        cmocka_unit_test(prints_a_line_for_scripts),
        cmocka_unit_test(finds_words_for_every_verdict),
        cmocka_unit_test(cuts_words_that_do_not_fit),
        cmocka_unit_test(lets_nobody_forge_a_line),
        cmocka_unit_test(reports_a_console_that_cannot_be_written),
        cmocka_unit_test(names_its_formats),
    };
    return RUN_TESTS(tests);
}
