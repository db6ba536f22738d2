/* What needs no network: answers, bodies, options. How it behaves towards a service is tested in
 * tests/cloud. */

#include "detect/rekognition.h"

#include <errno.h>
#include <sys/eventfd.h>

#include "../test.h"
#include "base/dynbuf.h"
#include "base/mem.h"
#include "base/text.h"
#include "detect/rekognition_answer.h"
#include "detect/rekognition_picture.h"
#include "sys/jpeg.h"

/* ---- answers */

static int read_text(const char *text, double minimum, struct detection_list *ret, struct err *e)
{
    AUTO(blob) body = blob_new_copy(text, strlen(text));
    char version[REKOGNITION_VERSION_MAX];
    return rekognition_answer_read(body, minimum, 1000, 500, ret, version, e);
}

#define BOX(l, t, w, h)                                                                            \
    "\"BoundingBox\":{\"Left\":" l ",\"Top\":" t ",\"Width\":" w ",\"Height\":" h "}"

static void reads_what_amazons_documentation_shows(void **state UNUSED)
{
    static const char text[] =
        "{\"LabelModelVersion\":\"3.0\",\"OrientationCorrection\":null,\"Labels\":["
        "{\"Name\":\"Mobile Phone\",\"Parents\":[{\"Name\":\"Phone\"}],\"Aliases\":[{\"Name\":"
        "\"Cell Phone\"}],\"Confidence\":99.9364,\"Instances\":[{" BOX(
            "0.26779", "0.19562", "0.18569",
            "0.3") ","
                   "\"DominantColors\":[],\"Confidence\":99.9368}]},"
                   "{\"Name\":\"Urban\",\"Parents\":[],\"Confidence\":99.5,\"Instances\":[]},"
                   "{\"Name\":\"Person\",\"Confidence\":60}]}";
    AUTO(blob) body = blob_new_copy(text, strlen(text));
    AUTO_DONE(detection_list) found = {0};
    char version[REKOGNITION_VERSION_MAX];
    struct err e = {0};
    assert_int_equal(rekognition_answer_read(body, 0.55, 1000, 500, &found, version, &e), 0);
    test_expect_text("version", version, "3.0");
    assert_int_equal(found.count, 3);
    test_expect_text("label", found.items[0].label, "mobile phone");
    assert_true(found.items[0].has_box);
    assert_true(found.items[0].box.x1 > 267.7F && found.items[0].box.x1 < 267.9F);
    assert_true(found.items[0].box.y2 > 247.7F && found.items[0].box.y2 < 247.9F);
    assert_false(found.items[1].has_box);
    assert_int_equal(found.items[1].class_id, -1);
    test_expect_text("label", found.items[2].label, "person");
    assert_true(found.items[2].confidence > 0.599F && found.items[2].confidence < 0.601F);
}

static void what_is_no_answer_is_refused_for_ever(void **state UNUSED)
{
    static const char *const texts[] = {
        "",   "{",    "[]",          "7",          "{\"Labels\":null}",
        "{}", "<ht>", "{\"Labels\"", "\xff\xfe{}", "{\"Labels\":[{\"Confidence\":NaN}]}",
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        AUTO_DONE(detection_list) found = {0};
        struct err e = {0};
        if (read_text(texts[i], 0, &found, &e) != -EBADMSG || e.retry != ERR_NEVER || found.items)
            CASE_FAILS("%s", texts[i]);
    }
}

static void what_makes_no_sense_is_left_out(void **state UNUSED)
{
    static const struct {
        const char *label;
        size_t count;
        bool boxed;
    } cases[] = {
        {"{\"Name\":\"A\",\"Confidence\":50}", 1, false},
        {"{\"Name\":\"A\",\"Confidence\":49.9}", 0, false},
        {"{\"Name\":\"A\",\"Confidence\":\"99\"}", 0, false},
        {"{\"Name\":\"A\",\"Confidence\":-1}", 0, false},
        {"{\"Name\":\"A\",\"Confidence\":1e300}", 1, false},
        {"{\"Name\":\"A\"}", 0, false},
        {"{\"Name\":\"\",\"Confidence\":99}", 0, false},
        {"{\"Name\":[],\"Confidence\":99}", 0, false},
        {"{\"Confidence\":99}", 0, false},
        {"7,null,[],\"x\"", 0, false},
        {"{\"Name\":\"A\",\"Confidence\":99,\"Instances\":{}}", 1, false},
        {"{\"Name\":\"A\",\"Confidence\":99,\"Instances\":[7,{},[]]}", 1, false},
        {"{\"Name\":\"A\",\"Confidence\":99,\"Instances\":[{\"Confidence\":99," BOX("0", "0", "0.5",
                                                                                    "0.5") "}]}",
         1, true},
        {"{\"Name\":\"A\",\"Confidence\":99,\"Instances\":[{\"Confidence\":49," BOX("0", "0", "0.5",
                                                                                    "0.5") "}]}",
         1, false},
        {"{\"Name\":\"A\",\"Confidence\":99,\"Instances\":[{\"Confidence\":99," BOX(
             "1.2", "0", "0.5", "0.5") "}]}",
         1, false},
        {"{\"Name\":\"A\",\"Confidence\":99,\"Instances\":[{\"Confidence\":99," BOX(
             "0", "0", "-0.5", "0.5") "}]}",
         1, false},
        {"{\"Name\":\"A\",\"Confidence\":99,\"Instances\":[{\"Confidence\":99," BOX(
             "1e308", "1e308", "1e308", "1e308") "}]}",
         1, false},
        {"{\"Name\":\"A\",\"Confidence\":99,\"Instances\":[{\"Confidence\":99,"
         "\"BoundingBox\":{\"Left\":\"0\"}}]}",
         1, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO_DONE(detection_list) found = {0};
        AUTO_DONE(dynbuf) text;
        struct err e = {0};
        dynbuf_init(&text, 4096);
        dynbuf_printf(&text, "{\"Labels\":[%s]}", cases[i].label);
        if (read_text(dynbuf_str(&text), 0.5, &found, &e) != 0 || found.count != cases[i].count ||
            (found.count && found.items[0].has_box != cases[i].boxed) ||
            (found.count && !(found.items[0].confidence <= 1)))
            CASE_FAILS("%zu: %s", i, cases[i].label);
    }
}

static void boxes_are_clipped_to_the_picture(void **state UNUSED)
{
    AUTO_DONE(detection_list) found = {0};
    struct err e = {0};
    assert_int_equal(read_text("{\"Labels\":[{\"Name\":\"Dog\",\"Confidence\":90,\"Instances\":["
                               "{\"Confidence\":90," BOX("-0.1", "0.9", "0.3", "0.4") "}]}]}",
                               0, &found, &e),
                     0);
    assert_true(found.items[0].box.x1 == 0 && found.items[0].box.y1 == 450);
    assert_true(found.items[0].box.x2 > 199.9F && found.items[0].box.x2 < 200.1F);
    assert_true(found.items[0].box.y2 == 500);
}

static void thousands_are_cut_to_the_surest(void **state UNUSED)
{
    AUTO_DONE(detection_list) found = {0};
    AUTO_DONE(dynbuf) text;
    struct err e = {0};
    dynbuf_init(&text, REKOGNITION_ANSWER_MAX);
    dynbuf_puts(&text, "{\"Labels\":[");
    for (int i = 0; i < 20000; i++)
        dynbuf_printf(&text, "%s{\"Name\":\"L%d\",\"Confidence\":%d}", i ? "," : "", i, i % 100);
    dynbuf_puts(&text, "]}");
    assert_int_equal(read_text(dynbuf_str(&text), 0, &found, &e), 0);
    assert_int_equal(found.count, DETECTION_COUNT_MAX);
    assert_true(found.items[0].confidence > 0.98F);
    for (size_t i = 1; i < found.count; i++)
        assert_true(found.items[i - 1].confidence >= found.items[i].confidence);
}

static void long_names_are_cut_between_characters(void **state UNUSED)
{
    AUTO_DONE(detection_list) found = {0};
    struct err e = {0};
    assert_int_equal(
        read_text(
            "{\"Labels\":[{\"Name\":\"A\\u0007\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
            "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
            "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\",\"Confidence\":"
            "90}]}",
            0, &found, &e),
        0);
    const char *label = found.items[0].label;
    assert_memory_equal(label, "a\\x07\xc3\xa9", 7);
    size_t left = strlen(label);
    for (size_t n; left; left -= n, label += n)
        assert_true((n = text_utf8_length(label, left)) > 0);
}

/* ---- what is sent */

static void the_body_is_what_the_service_expects(void **state UNUSED)
{
    static const struct {
        double minimum;
        const char *end;
    } cases[] = {{0.55, "\"MinConfidence\":55.000}"},
                 {0, "\"MinConfidence\":0.000}"},
                 {1, "\"MinConfidence\":100.000}"},
                 {0.123456, "\"MinConfidence\":12.346}"}};
    AUTO(blob) bytes = blob_new_copy("hello", 5);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO_DONE(dynbuf) body, wanted;
        struct err e = {0};
        dynbuf_init(&wanted, 1000);
        dynbuf_printf(&wanted, "{\"Image\":{\"Bytes\":\"aGVsbG8=\"},\"MaxLabels\":50,%s",
                      cases[i].end);
        assert_int_equal(rekognition_body(bytes, 50, cases[i].minimum, &body, &e), 0);
        test_expect_text("body", dynbuf_str(&body), dynbuf_str(&wanted));
    }
}

static void the_largest_picture_fits_its_body(void **state UNUSED)
{
    char *data = calloc(1, REKOGNITION_BYTES_MAX);
    AUTO(blob) bytes = blob_new_take(data, REKOGNITION_BYTES_MAX);
    AUTO_DONE(dynbuf) body;
    struct err e = {0};
    assert_int_equal(rekognition_body(bytes, REKOGNITION_LABELS_MAX, 1, &body, &e), 0);
    assert_true(body.len > REKOGNITION_BYTES_MAX / 3 * 4 && body.cap < 7100000);
}

static void what_is_no_picture_is_never_examined(void **state UNUSED)
{
    static const char *const texts[] = {"", "<html>", "GIF89a", "\x89PNG\r\n\x1a\n"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        AUTO(blob) bytes = blob_new_copy(texts[i], strlen(texts[i]));
        struct rekognition_picture p = {0};
        struct err e = {0};
        if (rekognition_picture_look(bytes, &picture_limits_default, 0, &p, &e) != -EINVAL ||
            e.retry != ERR_NEVER || p.bytes)
            CASE_FAILS("%zu", i);
        e = (struct err){0};
        if (rekognition_picture_convert(bytes, &picture_limits_default, 0, &p, &e) != -EINVAL ||
            e.retry != ERR_NEVER)
            CASE_FAILS("convert %zu", i);
    }
}

static struct blob *grey_jpeg(int width, int height)
{
    uint32_t *pixels = calloc((size_t)width * (size_t)height, sizeof(*pixels));
    struct blob *jpeg = NULL;
    struct err e = {0};
    assert_int_equal(jpeg_encode(pixels, width, height, 90, &jpeg, &e), 0);
    free(pixels);
    return jpeg;
}

static void without_memory_it_says_so_and_a_repeat_may_help(void **state UNUSED)
{
    AUTO(blob) bytes = grey_jpeg(200, 100);
    int failures = 0;
    for (uint64_t n = 1;; n++) {
        struct rekognition_picture p = {0};
        AUTO_DONE(dynbuf) body = {0};
        struct err e = {0};
        mem_fail_at(n);
        int r = rekognition_picture_convert(bytes, &picture_limits_default, 100, &p, &e);
        if (r == 0)
            r = rekognition_body(p.bytes, 50, 0.5, &body, &e);
        bool all = mem_try_count() < n;
        mem_fail_at(0);
        rekognition_picture_done(&p);
        if (r < 0 && (r != -ENOMEM || e.retry != ERR_LATER))
            CASE_FAILS("allocation %d: %d, %s", (int)n, r, e.text);
        failures += r < 0;
        if (all)
            break;
    }
    assert_true(failures > 0);
}

/* ---- options */

static void a_stop_ends_it_at_once_without_blaming_a_region(void **state UNUSED)
{
    AUTO(blob) bytes = grey_jpeg(100, 100);
    AUTO_CLOSE int stop_fd = eventfd(1, EFD_CLOEXEC);
    struct rekognition_options o = {
        .regions = {{"eu-west-1", "http://127.0.0.1:1"}},
        .region_count = 1,
        .login = {.access_key = "a", .secret_key = "b"},
        .labels_max = 1,
        .in_flight = 1,
        .timeout_ms = 10000,
        .patience_ms = 10000,
        .limits = picture_limits_default,
        .stop_fd = stop_fd,
    };
    struct detector *d = NULL;
    struct rekognition_state states[REKOGNITION_REGIONS_MAX];
    struct err e = {0};
    assert_int_equal(rekognition_open(&o, &d, &e), 0);
    for (int i = 0; i < 5; i++) {
        struct detect_request request = {.bytes = bytes, .confidence_min = -1};
        struct verdict v = {0};
        assert_int_equal(d->ops->detect(d, &request, &v, &e), -ECANCELED);
        assert_int_equal(e.retry, ERR_LATER);
        assert_int_equal(v.cloud_calls, 0);
    }
    assert_int_equal(rekognition_states(d, states), 1);
    test_expect_text("state", states[0].state, "closed");
    d->ops->close(d);
}

static void percent_and_fractions_are_understood(void **state UNUSED)
{
    static const struct {
        const char *text;
        double value; /* -1 = refused */
    } cases[] = {{"55", 0.55}, {"55%", 0.55}, {"55 %", 0.55}, {"0.55", 0.55}, {"0.55%", 0.0055},
                 {"1", 1},     {"1%", 0.01},  {"100", 1},     {"0", 0},       {"99.5", 0.995},
                 {"101", -1},  {"", -1},      {"%", -1},      {"-5", -1},     {"55x", -1},
                 {"nan", -1},  {"5%%", -1}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        double value = -1;
        int r = rekognition_confidence(cases[i].text, &value);
        if ((r < 0) != (cases[i].value < 0) || value < cases[i].value - 1e-9 ||
            value > cases[i].value + 1e-9)
            CASE_FAILS("%s: %d, %g", cases[i].text, r, value);
    }
}

static void without_a_region_it_says_what_to_set(void **state UNUSED)
{
    struct rekognition_options o = {.in_flight = 1, .stop_fd = -1};
    struct detector *d = NULL;
    struct err e = {0};
    (void)setenv("AWS_CONFIG_FILE", "/nonexistent", 1);
    (void)setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent", 1);
    (void)unsetenv("AWS_REGION");
    (void)unsetenv("AWS_DEFAULT_REGION");
    assert_int_equal(rekognition_open(&o, &d, &e), -EINVAL);
    assert_non_null(strstr(e.text, "AWS_ALT_REGION"));
    assert_null(d);
}

static void it_describes_itself_and_gives_everything_back(void **state UNUSED)
{
    int before = test_count_fds();
    struct rekognition_options o = {
        .regions = {{"eu-west-1", NULL}, {"us-east-1", "http://127.0.0.1:1"}},
        .region_count = 2,
        .confidence_min = 0.55,
        .in_flight = 3,
        .calls_per_second = 2.5,
        .stop_fd = -1,
    };
    struct detector *d = NULL;
    struct rekognition_state states[REKOGNITION_REGIONS_MAX];
    struct err e = {0};
    char text[200];
    assert_int_equal(rekognition_open(&o, &d, &e), 0);
    d->ops->describe(d, text, sizeof(text));
    test_expect_text("text", text,
                     "rekognition in eu-west-1, else in us-east-1, from 55%, 3 at once, 2.5 a "
                     "second");
    d->ops->signature(d, text, sizeof(text));
    test_expect_text("signature", text, "rekognition labels=0 confidence=0.55 side=0");
    assert_int_equal(d->ops->parallelism(d), 3);
    assert_int_equal(rekognition_states(d, states), 2);
    test_expect_text("state", states[1].state, "closed");
    d->ops->close(d);
    assert_int_equal(test_count_fds(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_amazons_documentation_shows),
        cmocka_unit_test(what_is_no_answer_is_refused_for_ever),
        cmocka_unit_test(what_makes_no_sense_is_left_out),
        cmocka_unit_test(boxes_are_clipped_to_the_picture),
        cmocka_unit_test(thousands_are_cut_to_the_surest),
        cmocka_unit_test(long_names_are_cut_between_characters),
        cmocka_unit_test(the_body_is_what_the_service_expects),
        cmocka_unit_test(the_largest_picture_fits_its_body),
        cmocka_unit_test(what_is_no_picture_is_never_examined),
        cmocka_unit_test(without_memory_it_says_so_and_a_repeat_may_help),
        cmocka_unit_test(a_stop_ends_it_at_once_without_blaming_a_region),
        cmocka_unit_test(percent_and_fractions_are_understood),
        cmocka_unit_test(without_a_region_it_says_what_to_set),
        cmocka_unit_test(it_describes_itself_and_gives_everything_back),
    };
    return RUN_TESTS(tests);
}
