#include "cmocka_all.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "detect/onnx_meta.h"

static void reads_python_and_json_literals(void **state)
{
    (void)state;
    const struct {
        const char *text;
        size_t count;
        int index;
        const char *name;
    } cases[] = {
        {"{0: 'person', 1: 'bicycle'}", 2, 1, "bicycle"},
        {"{0: \"driver's seat\"}", 1, 0, "driver's seat"},
        {"{0: 'driver\\'s seat'}", 1, 0, "driver's seat"},
        {"{0: 'a\\\\b', 1: \"q\\\"q\"}", 2, 1, "q\"q"},
        {"{0: 'caf\\xe9', 1: '\\u4eba', 2: '\\U0001f415'}", 3, 2, "\xf0\x9f\x90\x95"},
        {"{0: 'caf\\xe9'}", 1, 0, "caf\xc3\xa9"},
        {"{1: 'b', 0: 'a'}", 2, 0, "a"},
        {" { 0 : 'a' , } ", 1, 0, "a"},
        {"['a', 'b', 'c']", 3, 2, "c"},
        {"('a', 'b')", 2, 1, "b"},
        {"['a',]", 1, 0, "a"},
        {"{\"0\": \"person\", \"1\": \"car\"}", 2, 1, "car"},
        {"{'0': 'person'}", 1, 0, "person"},
        {"{0: ''}", 1, 0, ""},
        {"{3: 'd'}", 4, 3, "d"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO_DONE(label_list) l = {.names = NULL};
        struct err e = {.code = 0};
        int r = onnx_meta_parse_names(cases[i].text, strlen(cases[i].text), &l, &e);
        if (r < 0)
            fail_msg("%s: %s", cases[i].text, e.text);
        assert_int_equal(l.count, cases[i].count);
        assert_string_equal(l.names[cases[i].index], cases[i].name);
    }
}

static void refuses_broken_names_and_says_where(void **state)
{
    (void)state;
    const char *const cases[] = {
        "",
        "{",
        "{}",
        "[]",
        "names",
        "{0 'a'}",
        "{0: a}",
        "{0: 'a'",
        "{0: 'a}",
        "{0: 'a\\",
        "{-1: 'a'}",
        "{4096: 'a'}",
        "{0: 'a', 0: 'b'}",
        "{0: 'a'} x",
        "{0: 'a' 1: 'b'}",
        "['a' 'b']",
        "{0: '\\q'}",
        "{0: '\\x4'}",
        "{0: '\\ud800'}",
        "{0: '\\x00'}",
        "{99999999999999999999: 'a'}",
        "{0: 5}",
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct label_list l = {.names = NULL};
        struct err e = {.code = 0};
        assert_int_equal(onnx_meta_parse_names(cases[i], strlen(cases[i]), &l, &e), -EINVAL);
        assert_non_null(strstr(e.text, "class names"));
        assert_null(l.names);
    }
}

static void bounds_names(void **state)
{
    (void)state;
    struct label_list l = {.names = NULL};
    AUTO_FREE char *huge = malloc(META_NAMES_MAX + 2);
    assert_non_null(huge);
    memset(huge, ' ', META_NAMES_MAX + 1);
    assert_int_equal(onnx_meta_parse_names(huge, META_NAMES_MAX + 1, &l, NULL), -EINVAL);
    char longest[1200] = "['";
    memset(longest + 2, 'x', 1000);
    memcpy(longest + 1002, "']", 3);
    assert_int_equal(onnx_meta_parse_names(longest, strlen(longest), &l, NULL), -EINVAL);
}

static void reads_input_sizes(void **state)
{
    (void)state;
    const struct {
        const char *text;
        int r, height, width;
    } cases[] = {
        {"[640, 480]", 0, 640, 480},   {"[640]", 0, 640, 640},
        {"640", 0, 640, 640},          {" ( 320 , 640 ) ", 0, 320, 640},
        {"[640,640,]", 0, 640, 640},   {"[]", -EINVAL, 0, 0},
        {"[0, 640]", -EINVAL, 0, 0},   {"[640, -1]", -EINVAL, 0, 0},
        {"[99999, 1]", -EINVAL, 0, 0}, {"[640", -EINVAL, 0, 0},
        {"640, 640", -EINVAL, 0, 0},   {"", -EINVAL, 0, 0},
        {"big", -EINVAL, 0, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int height = 0, width = 0;
        assert_int_equal(
            onnx_meta_parse_size(cases[i].text, strlen(cases[i].text), &height, &width),
            cases[i].r);
        assert_int_equal(height, cases[i].height);
        assert_int_equal(width, cases[i].width);
    }
}

static char *from_table(void *arg, const char *key, size_t max)
{
    const char *const *pairs = arg;
    for (size_t i = 0; pairs[i] != NULL; i += 2) {
        if (strcmp(pairs[i], key) == 0 && strlen(pairs[i + 1]) <= max)
            return xstrdup(pairs[i + 1]);
    }
    return NULL;
}

static void reads_what_an_exporter_wrote(void **state)
{
    (void)state;
    const char *pairs[] = {"task",        "detect",
                           "stride",      "32",
                           "imgsz",       "[384, 640]",
                           "names",       "{0: 'cat', 1: 'dog'}",
                           "end2end",     "True",
                           "channels",    "3",
                           "description", "Ultralytics YOLO26n model",
                           NULL};
    AUTO_DONE(onnx_meta) m = {.stride = 0};
    assert_int_equal(onnx_meta_read(from_table, pairs, &m, NULL), 0);
    assert_string_equal(m.task, "detect");
    assert_int_equal(m.stride, 32);
    assert_int_equal(m.input_height, 384);
    assert_int_equal(m.input_width, 640);
    assert_int_equal(m.names.count, 2);
    assert_int_equal(m.channels, 3);
    assert_true(m.end2end);
}

static void takes_a_file_without_metadata_and_values_that_make_no_sense_as_silence(void **state)
{
    (void)state;
    const char *none[] = {NULL};
    const char *odd[] = {"stride", "wide", "imgsz", "[x]", "channels", "-3", "end2end", "1", NULL};
    struct onnx_meta m = {.stride = 0};
    assert_int_equal(onnx_meta_read(from_table, none, &m, NULL), 0);
    assert_int_equal(m.names.count, 0);
    assert_int_equal(onnx_meta_read(from_table, odd, &m, NULL), 0);
    assert_int_equal(m.stride + m.input_height + m.channels, 0);
    assert_false(m.end2end);
}

static void refuses_a_file_whose_names_are_broken(void **state)
{
    (void)state;
    const char *pairs[] = {"names", "{0: 'cat', 0: 'dog'}", NULL};
    struct onnx_meta m = {.stride = 0};
    assert_int_equal(onnx_meta_read(from_table, pairs, &m, NULL), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_python_and_json_literals),
        cmocka_unit_test(refuses_broken_names_and_says_where),
        cmocka_unit_test(bounds_names),
        cmocka_unit_test(reads_input_sizes),
        cmocka_unit_test(reads_what_an_exporter_wrote),
        cmocka_unit_test(takes_a_file_without_metadata_and_values_that_make_no_sense_as_silence),
        cmocka_unit_test(refuses_a_file_whose_names_are_broken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
