#include "../test.h"

#include <ctype.h>
#include <getopt.h>

#include "app/command.h"
#include "app/completion.h"

static void each_command_says_what_it_does(void **state UNUSED)
{
    for (const struct command *const *c = commands; *c; c++) {
        assert_true(*(*c)->name && *(*c)->summary && (*c)->arguments && (*c)->run);
        for (const struct command *const *other = commands; other != c; other++)
            assert_string_not_equal((*c)->name, (*other)->name);
        if ((*c)->help) /* pages and --help rely on it */
            assert_int_equal((*c)->help[strlen((*c)->help) - 1], '\n');
    }
}

static void each_option_has_one_name_and_words(void **state UNUSED)
{
    for (const struct command *const *c = commands; *c; c++) {
        size_t count = 0;
        for (const struct command_option *o = (*c)->options; o && o->name; o++, count++) {
            char text[COMMAND_OPTION_TEXT_MAX];
            assert_true(o->help && *o->help);
            assert_true((o->letter == 0) != (o->id == 0));
            assert_true(o->id == 0 || o->id >= COMMAND_OPTION_ID);
            assert_true(o->letter == 0 || (isalnum(o->letter) && o->letter != 'h'));
            assert_true(strlen(command_option_text(o, text)) < sizeof(text) - 1);
            for (const struct command_option *other = (*c)->options; other != o; other++) {
                assert_string_not_equal(o->name, other->name);
                assert_true(o->letter != other->letter || o->id != other->id);
            }
        }
        assert_true(count <= COMMAND_OPTIONS_MAX);
        for (const struct command_verb *v = (*c)->verbs; v && v->name; v++)
            assert_true(*v->name && v->arguments && *v->help);
    }
}

static const struct command_option rows[] = {
    {'j', "json", NULL, 0, "x"},
    {'n', "number", "N", 0, "x"},
    {0, "deep", NULL, COMMAND_OPTION_ID, "x"},
    {0},
};
static const struct command command = {.name = "x", .arguments = "", .options = rows};

static void parses_long_and_short_options(void **state UNUSED)
{
    char *argv[] = {"x",          "-jn",    "5",  "operand", "--deep",
                    "--number=6", "--help", "-h", "--js",    NULL};
    static const int want[] = {'j', 'n', COMMAND_OPTION_ID, 'n', 'h', 'h', 'j', -1};
    static const char *const arguments[] = {NULL, "5", NULL, "6"};
    optind = 0;
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        assert_int_equal(command_next_option(&command, (int)ARRAY_LEN(argv) - 1, argv), want[i]);
        if (i < ARRAY_LEN(arguments) && arguments[i])
            assert_string_equal(optarg, arguments[i]);
    }
    assert_string_equal(argv[optind], "operand");
}

static void writes_options_as_people_know_them(void **state UNUSED)
{
    char text[COMMAND_OPTION_TEXT_MAX];
    assert_string_equal(command_option_text(&rows[1], text), "-n, --number N");
    assert_string_equal(command_option_text(&rows[2], text), "    --deep");
}

static void writes_a_script_for_each_shell(void **state UNUSED)
{
    for (const struct completion_shell *s = completion_shells; s->name; s++) {
        AUTO_DONE(dynbuf) out = {0};
        dynbuf_init(&out, 1 << 18);
        s->write(&out);
        assert_false(out.failed);
        assert_non_null(strstr(dynbuf_str(&out), "forget-storage"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_command_says_what_it_does),
        cmocka_unit_test(each_option_has_one_name_and_words),
        cmocka_unit_test(parses_long_and_short_options),
        cmocka_unit_test(writes_options_as_people_know_them),
        cmocka_unit_test(writes_a_script_for_each_shell),
    };
    return RUN_TESTS(tests);
}
