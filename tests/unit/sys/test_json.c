#include "../test.h"

#include <errno.h>

#include "sys/json.h"

static void reads_json_within_its_limit(void **state UNUSED)
{
    struct err e = {0};
    AUTO_JSON json_t *j = NULL;
    assert_int_equal(js_parse("{\"a\":1}", 7, 7, &j, &e), 0);
    assert_int_equal(json_integer_value(json_object_get(j, "a")), 1);
    json_t *none = NULL;
    assert_int_equal(js_parse("{\"a\":1}", 7, 6, &none, &e), -EFBIG);
    assert_string_equal(e.text, "JSON of 7 bytes, the limit is 6");
    assert_null(none);
}

static void refuses_what_is_no_json(void **state UNUSED)
{
    static const char *const cases[] = {"",      "{",        "{\"a\":1,\"a\":2}", "[1]x",
                                        "{a:1}", "\"\xff\"", "[1e999]",           "NaN"};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err e = {0};
        json_t *j = NULL;
        if (js_parse(cases[i], strlen(cases[i]), 100, &j, &e) != -EINVAL || j ||
            strncmp(e.text, "not JSON: line ", 15) != 0)
            CASE_FAILS("%s: %s", cases[i], e.text);
    }
}

static void refuses_a_tower_of_brackets(void **state UNUSED)
{
    static char tower[200000];
    memset(tower, '[', sizeof(tower));
    json_t *j = NULL;
    assert_int_equal(js_parse(tower, sizeof(tower), sizeof(tower), &j, NULL), -EINVAL);
}

static void writes_compact_text(void **state UNUSED)
{
    AUTO_DONE(dynbuf) out = {0};
    dynbuf_init(&out, 100);
    AUTO_JSON json_t *j = json_pack("{s:f,s:[i,s]}", "score", 0.912345678, "list", 1, "x");
    assert_int_equal(js_write(j, &out), 0);
    assert_string_equal(dynbuf_str(&out), "{\"score\":0.912345678,\"list\":[1,\"x\"]}");
    AUTO_FREE char *text = js_text(j);
    assert_string_equal(text, dynbuf_str(&out));
    AUTO_DONE(dynbuf) small = {0};
    dynbuf_init(&small, 10);
    assert_int_equal(js_write(j, &small), -ENOSPC);
    AUTO_FREE char *nothing = js_text(NULL);
    assert_string_equal(nothing, "null");
}

static void takes_any_bytes_as_a_string(void **state UNUSED)
{
    static const struct {
        const char *raw, *value;
    } cases[] = {
        {"K\xc3\xbc"
         "che",
         "K\xc3\xbc"
         "che"},
        {"K\xc3\xbc"
         "che \xff\xfe !",
         "K\xc3\xbc"
         "che ?? !"},
        {"\xe2\x82", "??"},
        {"", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO_JSON json_t *j = js_string(cases[i].raw);
        assert_non_null(j);
        test_expect_text("string", json_string_value(j), cases[i].value);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_json_within_its_limit), cmocka_unit_test(refuses_what_is_no_json),
        cmocka_unit_test(refuses_a_tower_of_brackets), cmocka_unit_test(writes_compact_text),
        cmocka_unit_test(takes_any_bytes_as_a_string),
    };
    return RUN_TESTS(tests);
}
