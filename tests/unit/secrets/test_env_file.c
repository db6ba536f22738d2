#include "../test.h"

#include <errno.h>

#include "secrets/env_file.h"

static const char *const values[] = {
    "",        "plain-1.2:3/4@5%6,7+8",
    "a b",     " a ",
    "it's",    "\"",
    "\\",      "\\\\'",
    "$HOME",   "`id`'",
    "#x",      ";x",
    "a\nb",    "\n",
    "a\\\nb'", "=",
    "a=b=c",   "'",
    "''",      "\t",
    "ü€",      "{\"a\": \"it's $1\"}",
    "tail\\",  "a'b\"c$d`e\\f",
    "x # y",   "~",
    "*?[",
};

static void what_is_written_is_read_again(void **state)
{
    (void)state;
    for (int format = 0; format < ENV_FORMAT_COUNT; format++) {
        AUTO_DONE(env_file) f = {0}, back = {0};
        AUTO_DONE(dynbuf) out;
        char name[16];
        dynbuf_init(&out, ENV_FILE_MAX);
        for (size_t i = 0; i < ARRAY_LEN(values); i++) {
            (void)snprintf(name, sizeof(name), "V%zu", i);
            if (format == ENV_SYSTEMD || !strchr(values[i], '\n'))
                assert_int_equal(env_file_set(&f, name, values[i], NULL), 0);
        }
        assert_int_equal(env_file_write(&f, (enum env_format)format, &out, NULL), 0);
        assert_int_equal(env_file_parse(out.data, out.len, (enum env_format)format, &back, NULL),
                         0);
        assert_int_equal(back.count, f.count);
        for (size_t i = 0; i < f.count; i++)
            test_expect_text(f.pairs[i].name, env_file_get(&back, f.pairs[i].name),
                             f.pairs[i].value);
    }
}

static void files_of_people_are_read_as_systemd_does(void **state)
{
    (void)state;
    static const char text[] = "# comment\n; comment\n\n  A = one two  \nB=\"x\"'y'\nC='a\nb'\n"
                               "no assignment\n1X=bad\nD=\"a\\\"b\\x\\\nc\"\nE=a\\ b\\\nc\nF=\n"
                               "A=again\r\nG=\"open";
    AUTO_DONE(env_file) f = {0};
    assert_int_equal(env_file_parse(text, sizeof(text) - 1, ENV_SYSTEMD, &f, NULL), 0);
    static const char *const wanted[][2] = {{"B", "xy"},   {"C", "a\nb"}, {"D", "a\"b\\xc"},
                                            {"E", "a bc"}, {"F", ""},     {"G", "open"}};
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
        test_expect_text(wanted[i][0], env_file_get(&f, wanted[i][0]) ?: "(none)", wanted[i][1]);
    assert_null(env_file_get(&f, "1X"));
}

static void names_and_sizes_are_checked(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "1A", "A-B", "A B", "A=", "Ä"};
    AUTO_DONE(env_file) f = {0};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(env_file_set(&f, bad[i], "x", NULL), -EINVAL);
    assert_int_equal(env_file_set(&f, "A", "one", NULL), 0);
    assert_int_equal(env_file_set(&f, "A", "two", NULL), 0);
    assert_int_equal(f.count, 1);
    assert_string_equal(env_file_get(&f, "A"), "two");
    assert_int_equal(env_file_parse("A\0B", 3, ENV_SYSTEMD, &f, NULL), -EINVAL);
    char name[16];
    int r = 0;
    for (int i = 0; r == 0 && i <= ENV_PAIRS_MAX; i++) {
        (void)snprintf(name, sizeof(name), "N%d", i);
        r = env_file_set(&f, name, "x", NULL);
    }
    assert_int_equal(r, -E2BIG);
    assert_int_equal(f.count, ENV_PAIRS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read_again),
        cmocka_unit_test(files_of_people_are_read_as_systemd_does),
        cmocka_unit_test(names_and_sizes_are_checked),
    };
    return RUN_TESTS(tests);
}
