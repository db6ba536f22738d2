#include "sys/xml.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/dynbuf.h"

static struct xml *parse(const char *text)
{
    struct xml *x = NULL;
    struct err e = {0};
    if (xml_parse(text, strlen(text), &x, &e) < 0)
        fail_msg("%s", e.text);
    return x;
}

static void elements_are_found_by_namespace_whatever_the_prefix(void **state)
{
    (void)state;
    static const char *const forms[] = {
        "<a:r xmlns:a='urn:1' xmlns:b='urn:2'><b:x>no</b:x><a:x> yes </a:x></a:r>",
        "<r xmlns='urn:1'><x xmlns='urn:2'>no</x><x>yes</x></r>",
        "<q:r xmlns:q='urn:1'><x>no</x><y><q:x>\n<![CDATA[yes]]>\n</q:x></y></q:r>",
    };
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        AUTO(xml) x = parse(forms[i]);
        const struct xml_node *root = xml_root(x);
        assert_string_equal(xml_text(xml_find(root, "urn:1", "x")), "yes");
        assert_string_equal(xml_text(xml_find(root, NULL, "x")), "no");
        assert_null(xml_find(root, "urn:3", "x"));
        assert_null(xml_find(root, "urn:1", "r")); /* the root does not count */
        assert_null(xml_find(xml_find(root, "urn:1", "x"), NULL, "x"));
    }
}

static void siblings_and_attributes_are_read(void **state)
{
    (void)state;
    AUTO(xml) x = parse("<r><p token='a&amp;b' fixed='1'/><q/><p token='c'/><p/></r>");
    const struct xml_node *p = xml_find(xml_root(x), NULL, "p");
    assert_string_equal(xml_attribute(p, "token"), "a&b");
    assert_string_equal(xml_attribute(p, "fixed"), "1");
    assert_string_equal(xml_attribute(p, "none"), "");
    p = xml_next(p);
    assert_string_equal(xml_attribute(p, "token"), "c");
    p = xml_next(p);
    assert_string_equal(xml_attribute(p, "token"), "");
    assert_null(xml_next(p));
}

static void look_ups_of_what_is_not_there_chain(void **state)
{
    (void)state;
    assert_null(xml_find(NULL, "urn:1", "x"));
    assert_string_equal(xml_text(NULL), "");
    assert_string_equal(xml_attribute(NULL, "a"), "");
}

struct bad_case {
    const char *text;
    const char *words;
};

static void what_is_no_small_document_is_refused(void **state)
{
    (void)state;
    static const struct bad_case cases[] = {
        {"", "not XML"},
        {"hello", "not XML"},
        {"<a>", "not XML"},
        {"<a></b>", "not XML"},
        {"<a/><b/>", "not XML"},
        {"<a>\xff</a>", "not XML"},
        {"<x:a/>", "not XML"},
        {"<!DOCTYPE a><a/>", "document type"},
        {"<!DOCTYPE a [<!ENTITY l 'lol'><!ENTITY m '&l;&l;&l;'>]><a>&m;</a>", "document type"},
        {"<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>", "document type"},
        {"<a>&undefined;</a>", "not XML"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct xml *x = NULL;
        struct err e = {0};
        assert_int_equal(xml_parse(cases[i].text, strlen(cases[i].text), &x, &e), -EINVAL);
        if (!strstr(e.text, cases[i].words))
            fail_msg("%s: %s", cases[i].text, e.text);
    }
}

static void limits_hold(void **state)
{
    (void)state;
    static const char *const repeated[] = {"<a>", "<a/>"};
    for (size_t i = 0; i < 2; i++) {
        AUTO_DONE(dynbuf) text;
        dynbuf_init(&text, 2 * XML_BYTES_MAX);
        dynbuf_puts(&text, "<r>");
        for (int k = 0; k < XML_NODES_MAX + 10; k++)
            dynbuf_puts(&text, repeated[i]);
        struct xml *x = NULL;
        struct err e = {0};
        assert_int_equal(xml_parse(text.data, text.len, &x, &e), -EINVAL);
        assert_non_null(strstr(e.text, "too many elements"));
        while (text.len <= XML_BYTES_MAX)
            dynbuf_puts(&text, repeated[i]);
        assert_int_equal(xml_parse(text.data, text.len, &x, &e), -EFBIG);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(elements_are_found_by_namespace_whatever_the_prefix),
        cmocka_unit_test(siblings_and_attributes_are_read),
        cmocka_unit_test(look_ups_of_what_is_not_there_chain),
        cmocka_unit_test(what_is_no_small_document_is_refused),
        cmocka_unit_test(limits_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
