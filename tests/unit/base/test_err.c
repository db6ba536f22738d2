#include "../test.h"

#include <errno.h>

#include "base/err.h"

static void tells_the_story_outside_in(void **state UNUSED)
{
    struct err e = {0};
    assert_int_equal(err_set(&e, -ECONNREFUSED, ERR_LATER, "connection %s", "refused"),
                     -ECONNREFUSED);
    assert_int_equal(err_prefix(&e, "GET %s", "/a.jpg"), -ECONNREFUSED);
    assert_int_equal(err_prefix(&e, "camera '%s'", "porch"), -ECONNREFUSED);
    assert_string_equal(e.text, "camera 'porch': GET /a.jpg: connection refused");
    assert_int_equal(e.code, -ECONNREFUSED);
    assert_int_equal(e.retry, ERR_LATER);
}

static void adds_the_systems_words_and_retry_class(void **state UNUSED)
{
    static const struct {
        int code;
        enum err_retry retry;
        const char *text;
    } cases[] = {
        {-ENOSPC, ERR_LATER, "write x: No space left on device"},
        {-EMFILE, ERR_LATER, "write x: Too many open files"},
        {-EAGAIN, ERR_LATER, "write x: Resource temporarily unavailable"},
        {-ENOMEM, ERR_LATER, "write x: Cannot allocate memory"},
        {-EPIPE, ERR_NOW, "write x: Broken pipe"},
        {-ECONNRESET, ERR_NOW, "write x: Connection reset by peer"},
        {-ENOENT, ERR_NEVER, "write x: No such file or directory"},
        {-EACCES, ERR_NEVER, "write x: Permission denied"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err e = {0};
        assert_int_equal(err_errno(&e, cases[i].code, "write %c", 'x'), cases[i].code);
        test_expect_text("text", e.text, cases[i].text);
        assert_int_equal(e.retry, cases[i].retry);
    }
}

static void works_without_a_listener(void **state UNUSED)
{
    assert_int_equal(err_set(NULL, -EINVAL, ERR_NEVER, "x"), -EINVAL);
    assert_int_equal(err_errno(NULL, -ENOENT, "x"), -ENOENT);
    assert_int_equal(err_prefix(NULL, "x"), -EIO);
    err_clear(NULL);
}

static void cuts_a_long_text_with_dots(void **state UNUSED)
{
    char longer[2 * ERR_TEXT_MAX];
    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    struct err e = {0};
    err_set(&e, -EIO, ERR_NOW, "%s", longer);
    assert_int_equal(strlen(e.text), ERR_TEXT_MAX - 1);
    assert_string_equal(e.text + ERR_TEXT_MAX - 4, "...");
    err_prefix(&e, "camera");
    assert_int_equal(strlen(e.text), ERR_TEXT_MAX - 1);
    assert_int_equal(strncmp(e.text, "camera: xxx", 11), 0);
    assert_string_equal(e.text + ERR_TEXT_MAX - 4, "...");
    err_prefix(&e, "%s", longer);
    assert_int_equal(strlen(e.text), ERR_TEXT_MAX - 1);
    assert_string_equal(e.text + ERR_TEXT_MAX - 4, "...");
    err_errno(&e, -ENOENT, "%s", longer);
    assert_int_equal(strlen(e.text), ERR_TEXT_MAX - 1);
    assert_string_equal(e.text + ERR_TEXT_MAX - 4, "...");
}

/* The text goes into JSON, and JSON does not hold half a character. */
static void cuts_between_characters(void **state UNUSED)
{
    for (int lead = 0; lead < 4; lead++) {
        char longer[2 * ERR_TEXT_MAX] = "";
        memset(longer, 'x', (size_t)lead);
        while (strlen(longer) + 4 < sizeof(longer))
            strncat(longer, "\xe2\x82\xac", 4); /* the euro sign */
        struct err e = {0};
        err_set(&e, -EIO, ERR_NOW, "%s", longer);
        size_t len = strlen(e.text);
        assert_true(len >= ERR_TEXT_MAX - 4);
        assert_string_equal(e.text + len - 3, "...");
        assert_int_equal((len - 3 - (size_t)lead) % 3, 0);
    }
}

static void clears(void **state UNUSED)
{
    struct err e = {.code = -EIO, .retry = ERR_NOW, .text = "x"};
    err_clear(&e);
    assert_int_equal(e.code, 0);
    assert_int_equal(e.retry, ERR_NEVER);
    assert_string_equal(e.text, "");
}

static void names_every_retry_class(void **state UNUSED)
{
    assert_string_equal(err_retry_name(ERR_NEVER), "never");
    assert_string_equal(err_retry_name(ERR_NOW), "now");
    assert_string_equal(err_retry_name(ERR_LATER), "later");
    for (int i = 0; i < ERR_RETRY_COUNT; i++)
        assert_non_null(err_retry_name((enum err_retry)i));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_the_story_outside_in),
        cmocka_unit_test(adds_the_systems_words_and_retry_class),
        cmocka_unit_test(works_without_a_listener),
        cmocka_unit_test(cuts_a_long_text_with_dots),
        cmocka_unit_test(cuts_between_characters),
        cmocka_unit_test(clears),
        cmocka_unit_test(names_every_retry_class),
    };
    return RUN_TESTS(tests);
}
