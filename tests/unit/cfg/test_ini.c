#include "sys/ini.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/dynbuf.h"
#include "base/mem.h"

static void on_section(void *arg, int line, const char *name)
{
    (void)dynbuf_printf(arg, "%d[%s] ", line, name);
}

static void on_pair(void *arg, int line, const char *key, const char *value, bool continued,
                    bool in_section)
{
    (void)dynbuf_printf(arg, "%d%s%s%s=%s ", line, in_section ? ":" : "?", continued ? "+" : "",
                        key, value);
}

static void on_fault(void *arg, int line, const char *text)
{
    (void)dynbuf_printf(arg, "%d!%s ", line, text);
}

static const struct ini_sink sink = {.section = on_section, .pair = on_pair, .fault = on_fault};

struct table {
    const char *text, *seen;
};

static void check(const struct table *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        AUTO_DONE(dynbuf) out;
        dynbuf_init(&out, 1 << 16);
        assert_int_equal(ini_read(cases[i].text, strlen(cases[i].text), &sink, &out), 0);
        assert_string_equal(dynbuf_str(&out), cases[i].seen);
    }
}

static void reads_sections_and_pairs_with_their_lines(void **state)
{
    (void)state;
    static const struct table cases[] = {
        {"", ""},
        {"\n\n", ""},
        {"[a]\nx=1\n\ny = 2\n[b]\n", "1[a] 2:x=1 4:y=2 5[b] "},
        {"[a]\nx=1", "1[a] 2:x=1 "},
        {"[a]\r\nx=1\r\n", "1[a] 2:x=1 "},
        {"\xef\xbb\xbf[a]\nx=1\n", "1[a] 2:x=1 "},
        {"[a]\nx: 1\ny=b:c=d\n", "1[a] 2:x=1 3:y=b:c=d "},
        {"  [ a b ]  \n  x = 1\n", "1[a b] 2:x=1 "},
        {"[empty]\n[also]\n", "1[empty] 2[also] "},
        {"[a]\nx =\n", "1[a] 2:x= "},
    };
    check(cases, ARRAY_LEN(cases));
}

static void comments_stand_at_the_beginning_of_a_line_only(void **state)
{
    (void)state;
    static const struct table cases[] = {
        {"# c\n; d\n[a]\n  # e\nx=1\n", "3[a] 5:x=1 "},
        {"[a]\nx = 1 # no comment\ny = 2 ; nor this\n",
         "1[a] 2:x=1 # no comment 3:y=2 ; nor this "},
    };
    check(cases, ARRAY_LEN(cases));
}

static void indented_lines_continue_the_pair_above(void **state)
{
    (void)state;
    static const struct table cases[] = {
        {"[a]\nx=1\n  2\n\t3\ny=4\n", "1[a] 2:x=1 3:+x=2 4:+x=3 5:y=4 "},
        {"[a]\nx=1\n  [z]\n", "1[a] 2:x=1 3:+x=[z] "},
        /* Nothing to continue in a new section: an ordinary pair. */
        {"[a]\nx=1\n[b]\n  y=2\n", "1[a] 2:x=1 3[b] 4:y=2 "},
    };
    check(cases, ARRAY_LEN(cases));
}

static void names_every_faulty_line(void **state)
{
    (void)state;
    static const struct table cases[] = {
        {"x=1\n[a]\n", "1?x=1 2[a] "},
        {"[a\nx=1\n", "1!the section's closing \"]\" is missing; write [name] 2?x=1 "},
        {"[a] b\n", "1!there is text behind \"]\"; a section line is [name] and no more "},
        {"[]\n", "1!the section has no name; write [name] "},
        {"[a]\nnonsense\nalso\nx=1\n",
         "1[a] 2!this is neither a [section], nor key = value, nor a # comment "
         "3!this is neither a [section], nor key = value, nor a # comment 4:x=1 "},
        {"[a]\n= 1\n", "1[a] 2!there is no name before \"=\"; write key = value "},
        {"[aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeee]\n",
         "1!the section's name is longer than 49 bytes "},
        {"aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeee = 1\n",
         "1!the name before \"=\" is longer than 49 bytes "},
    };
    check(cases, ARRAY_LEN(cases));
}

static void takes_a_line_of_the_greatest_length_and_refuses_a_longer_one(void **state)
{
    (void)state;
    for (int extra = 0; extra < 2; extra++) {
        size_t len = INI_LINE_MAX + (size_t)extra;
        AUTO_FREE char *text = xmalloc(4 + len + 2);
        memcpy(text, "[a]\n", 4);
        memset(text + 4, 'v', len);
        text[4] = 'x';
        text[5] = '=';
        text[4 + len] = '\n';
        text[4 + len + 1] = '\0';
        AUTO_DONE(dynbuf) out;
        dynbuf_init(&out, 1 << 16);
        assert_int_equal(ini_read(text, 4 + len + 1, &sink, &out), 0);
        if (extra)
            assert_string_equal(dynbuf_str(&out),
                                "1[a] 2!the line is longer than 8192 bytes; shorten it ");
        else
            assert_int_equal(out.len, strlen("1[a] 2:x= ") + len - 2);
    }
}

static void refuses_what_is_not_text_or_too_large(void **state)
{
    (void)state;
    AUTO_DONE(dynbuf) out;
    dynbuf_init(&out, 1 << 16);
    assert_int_equal(ini_read("[a]\0x=1\n", 8, &sink, &out), -EILSEQ);
    assert_int_equal(ini_read("\xff\xfe[\0a\0", 6, &sink, &out), -EILSEQ);
    AUTO_FREE char *large = xmalloc(INI_SIZE_MAX + 1);
    memset(large, '\n', INI_SIZE_MAX + 1);
    assert_int_equal(ini_read(large, INI_SIZE_MAX + 1, &sink, &out), -EFBIG);
    assert_int_equal(ini_read(large, INI_SIZE_MAX, &sink, &out), 0);
    assert_string_equal(dynbuf_str(&out), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_sections_and_pairs_with_their_lines),
        cmocka_unit_test(comments_stand_at_the_beginning_of_a_line_only),
        cmocka_unit_test(indented_lines_continue_the_pair_above),
        cmocka_unit_test(names_every_faulty_line),
        cmocka_unit_test(takes_a_line_of_the_greatest_length_and_refuses_a_longer_one),
        cmocka_unit_test(refuses_what_is_not_text_or_too_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
