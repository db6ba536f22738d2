#include "../test.h"

#include "secrets/flags.h"

static void words_count_as_the_predecessor_has_them(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool value, odd;
    } cases[] = {
        {"true", true, false},   {" TRUE\n", true, false}, {"1", true, false},
        {"Yes", true, false},    {"false", false, false},  {"0", false, false},
        {"\tno ", false, false}, {"", false, true},        {"on", false, true},
        {"t", false, true},      {"true.", false, true},   {"tru", false, true},
        {"11", false, true},     {"y e s", false, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        bool odd;
        if (flag_value(cases[i].text, &odd) != cases[i].value || odd != cases[i].odd)
            CASE_FAILS("\"%s\"", cases[i].text);
    }
}

static void every_flag_has_its_names(void **state)
{
    (void)state;
    for (int i = 0; i < FLAG_COUNT; i++) {
        assert_int_equal(strlen(flag_names[i]), strlen(flag_keys[i]));
        for (size_t k = 0; flag_names[i][k]; k++)
            assert_true(flag_names[i][k] == flag_keys[i][k] || flag_names[i][k] == '-');
    }
}

/* Nobody listens there; a start and stop at any moment leaves nothing behind. */
static void it_stops_while_it_asks(void **state)
{
    (void)state;
    struct flags_options o = {.access = {.host = "http://127.0.0.1:1",
                                         .token = "token",
                                         .vault = "",
                                         .timeout_ms = 60000,
                                         .deadline_ms = 60000},
                              .interval_ms = 3600000,
                              .watched = {true},
                              .wake_fd = -1};
    for (int i = 0; i < 20; i++) {
        struct flags *f = NULL;
        enum feature_flag which;
        bool value;
        char trouble[ERR_TEXT_MAX];
        assert_int_equal(flags_start(&o, &f, NULL), 0);
        assert_false(flags_take(f, &which, &value));
        flags_trouble(f, trouble);
        flags_stop(f);
    }
    flags_stop(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_count_as_the_predecessor_has_them),
        cmocka_unit_test(every_flag_has_its_names),
        cmocka_unit_test(it_stops_while_it_asks),
    };
    return RUN_TESTS(tests);
}
