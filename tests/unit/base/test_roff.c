#include "../test.h"

#include "base/roff.h"

static void expect(void (*write)(struct dynbuf *, const char *), const char *text, const char *want)
{
    AUTO_DONE(dynbuf) out = {0};
    dynbuf_init(&out, 1000);
    write(&out, text);
    assert_string_equal(dynbuf_str(&out), want);
}

static void head(struct dynbuf *out, const char *words)
{
    roff_request(out, ".SH", words);
}

static void lets_no_text_be_a_request_or_an_escape(void **state UNUSED)
{
    expect(roff_text, ".SH x", "\\&.SH x\n");
    expect(roff_text, "a\n.SH x", "a\n\\&.SH x\n");
    expect(roff_text, "'br\n'br", "\\(aqbr\n\\(aqbr\n");
    expect(roff_text, "a\\fBb", "a\\(rsfBb\n");
    expect(roff_text, "...", "\\&...\n");
}

static void keeps_options_and_accents_as_they_are_typed(void **state UNUSED)
{
    expect(roff_text, "--no-wait ^ ~", "\\-\\-no\\-wait \\(ha \\(ti\n");
}

static void makes_what_is_typed_bold(void **state UNUSED)
{
    expect(roff_text, "see `man -l`.", "see \\fBman \\-l\\fR.\n");
    expect(roff_text, "not `closed", "not \\fBclosed\\fR\n");
}

static void keeps_an_argument_in_its_line_and_quotes(void **state UNUSED)
{
    expect(head, "a \"b\"\nc", ".SH \"a \\(dqb\\(dq c\"\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lets_no_text_be_a_request_or_an_escape),
        cmocka_unit_test(keeps_options_and_accents_as_they_are_typed),
        cmocka_unit_test(makes_what_is_typed_bold),
        cmocka_unit_test(keeps_an_argument_in_its_line_and_quotes),
    };
    return RUN_TESTS(tests);
}
