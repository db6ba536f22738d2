#include "../test.h"

#include <errno.h>

#include "secrets/secret_item.h"

static const char item_text[] =
    "{\"id\": \"i1\", \"title\": \"Thing\", \"sections\": [{\"id\": \"s1\", \"label\": \"one\"},"
    " {\"id\": \"s2\", \"label\": \"two\"}, {\"id\": \"s3\"}],"
    "\"fields\": ["
    "{\"id\": \"f1\", \"label\": \"key\", \"value\": \"V-one\", \"section\": {\"id\": \"s1\"}},"
    "{\"id\": \"f2\", \"label\": \"key\", \"value\": \"V-two\", \"section\": {\"id\": \"s2\"}},"
    "{\"id\": \"f3\", \"label\": \"key\", \"value\": \"V-bare\"},"
    "{\"id\": \"f4\", \"label\": \"twin\", \"value\": \"V-t1\", \"section\": {\"id\": \"s1\"}},"
    "{\"id\": \"f5\", \"label\": \"twin\", \"value\": \"V-t2\", \"section\": {\"id\": \"s1\"}},"
    "{\"id\": \"f6\", \"value\": \"V-nameless\", \"section\": {\"id\": \"s3\"}},"
    "{\"id\": \"f7\", \"label\": \"empty\"},"
    "{\"id\": \"f8\", \"label\": \"odd\", \"value\": 7},"
    "{\"id\": \"f9\", \"label\": \"in\", \"value\": \"V-own\", \"section\": {\"label\": \"x\"}}]}";

static json_t *load(const char *text)
{
    json_t *j = NULL;
    assert_int_equal(js_parse(text, strlen(text), 1 << 20, &j, NULL), 0);
    return j;
}

static void values_are_found_by_the_rules_of_paths_and_of_references(void **state)
{
    (void)state;
    AUTO_JSON json_t *item = load(item_text);
    static const struct {
        const char *path, *value;
        int code;
    } cases[] = {
        {"Thing/key", "V-one", 0},
        {"Thing/two/key", "V-two", 0},
        {"Thing/s2/key", "V-two", 0},
        {"Thing/one/twin", "V-t1", 0},
        {"Thing/s3/f6", "V-nameless", 0},
        {"Thing/empty", "", 0},
        {"Thing/odd", "", 0},
        {"Thing/x/in", "V-own", 0},
        {"Thing/f5", "V-t2", 0},
        {"Thing", NULL, -EEXIST},
        {"Thing/none", NULL, -ENOENT},
        {"Thing/none/key", NULL, -ENOENT},
        {"Thing/one/empty", NULL, -ENOENT},
        {"op://v/Thing/key", "V-bare", 0},
        {"op://v/Thing/one/key", "V-one", 0},
        {"op://v/Thing/one/twin", NULL, -EEXIST},
        {"op://v/Thing/twin", NULL, -EEXIST},
        {"op://v/Thing/f4", "V-t1", 0},
        {"op://v/Thing/in", "V-own", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct secret_path p;
        struct err e = {0};
        const char *value = NULL;
        assert_int_equal(secret_path_parse(cases[i].path, &p, NULL), 0);
        int r = secret_item_value(item, &p, &value, &e);
        if (r != cases[i].code)
            CASE_FAILS("%s: %d, %s", cases[i].path, r, e.text);
        if (r == 0)
            test_expect_text(cases[i].path, value, cases[i].value);
        if (strstr(e.text, "V-"))
            CASE_FAILS("%s: a value is told: %s", cases[i].path, e.text);
    }
}

static void errors_tell_what_there_is(void **state)
{
    (void)state;
    AUTO_JSON json_t *item = load(item_text);
    static const struct {
        const char *path, *words;
    } cases[] = {
        {"Thing/three/key", "no section \"three\"; its sections: one, two, (no label, id s3)"},
        {"Thing/two/none", "the section has no field \"none\"; its fields: key"},
        {"Thing/none", "its fields: key, key, key, twin, twin, (no label, id f6), empty, odd, in"},
        {"op://v/Thing/one/twin", "2 fields are called \"twin\": name the section, or the field by "
                                  "its id, one of: f4, f5"},
        {"Thing", "the item has 7 fields with a value: write item/field"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct secret_path p;
        struct err e = {0};
        const char *value;
        assert_int_equal(secret_path_parse(cases[i].path, &p, NULL), 0);
        assert_true(secret_item_value(item, &p, &value, &e) < 0);
        if (!strstr(e.text, cases[i].words))
            CASE_FAILS("%s: %s", cases[i].path, e.text);
    }
}

static void an_item_alone_means_its_only_field(void **state)
{
    (void)state;
    static const struct {
        const char *text, *value;
    } cases[] = {
        {"{\"fields\": [{\"label\": \"notesPlain\"}, {\"label\": \"x\", \"value\": \"y\"}]}", "y"},
        {"{\"fields\": [{\"label\": \"x\"}]}", ""},
        {"{\"fields\": []}", NULL},
        {"{}", NULL},
        {"{\"fields\": 7}", NULL},
    };
    struct secret_path p;
    assert_int_equal(secret_path_parse("Thing", &p, NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO_JSON json_t *item = load(cases[i].text);
        const char *value = NULL;
        int r = secret_item_value(item, &p, &value, NULL);
        assert_int_equal(r, cases[i].value ? 0 : -ENOENT);
        if (r == 0)
            test_expect_text(cases[i].text, value, cases[i].value);
    }
}

static void long_lists_end_with_a_number(void **state)
{
    (void)state;
    struct secret_list l = {0};
    assert_string_equal(secret_list_text(&l), "none");
    for (int i = 0; i < 1000; i++)
        secret_list_add(&l, "a name of twenty six bytes");
    assert_true(strlen(secret_list_text(&l)) < sizeof(l.text));
    assert_non_null(strstr(l.text, " more)"));
    struct secret_list odd = {0};
    secret_list_add(&odd, "a\nb\x1b[31m");
    assert_null(strchr(secret_list_text(&odd), '\n'));
    assert_null(strchr(odd.text, '\x1b'));
}

struct seen {
    char text[200];
};

static void see(void *arg, const char *label, const char *value)
{
    struct seen *s = arg;
    size_t used = strlen(s->text);
    (void)snprintf(s->text + used, sizeof(s->text) - used, "%s=%s;", label, value);
}

static void a_sections_fields_are_given_in_order(void **state)
{
    (void)state;
    AUTO_JSON json_t *item = load(item_text);
    struct seen s = {{0}};
    assert_int_equal(secret_item_each(item, "one", see, &s, NULL), 0);
    assert_string_equal(s.text, "key=V-one;twin=V-t1;twin=V-t2;");
    assert_int_equal(secret_item_each(item, "four", see, &s, NULL), -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_found_by_the_rules_of_paths_and_of_references),
        cmocka_unit_test(errors_tell_what_there_is),
        cmocka_unit_test(an_item_alone_means_its_only_field),
        cmocka_unit_test(long_lists_end_with_a_number),
        cmocka_unit_test(a_sections_fields_are_given_in_order),
    };
    return RUN_TESTS(tests);
}
