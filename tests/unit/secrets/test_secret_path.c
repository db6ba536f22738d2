#include "../test.h"

#include <errno.h>

#include "secrets/secret_path.h"

static const char *shown(const char *s)
{
    return s ? s : "-";
}

static void paths_and_references_are_told_apart(void **state)
{
    (void)state;
    static const struct {
        const char *text, *vault, *item, *section, *field;
    } cases[] = {
        {"Item", "-", "Item", "-", "-"},
        {"Item/label", "-", "Item", "-", "label"},
        {"Item/section/label", "-", "Item", "section", "label"},
        {"AWS.app name/AWS_REGION", "-", "AWS.app name", "-", "AWS_REGION"},
        {"op://vault/item/field", "vault", "item", "-", "field"},
        {"op://my vault/item/a section/field", "my vault", "item", "a section", "field"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct secret_path p;
        assert_int_equal(secret_path_parse(cases[i].text, &p, NULL), 0);
        test_expect_text(cases[i].text, shown(p.vault), cases[i].vault);
        test_expect_text(cases[i].text, shown(p.item), cases[i].item);
        test_expect_text(cases[i].text, shown(p.section), cases[i].section);
        test_expect_text(cases[i].text, shown(p.field), cases[i].field);
        assert_int_equal(p.reference, cases[i].text[2] == ':');
    }
}

static void what_is_neither_is_refused_in_words(void **state)
{
    (void)state;
    static const char *const cases[] = {"",
                                        "/",
                                        "a/",
                                        "/a",
                                        "a//b",
                                        "a/b/c/d",
                                        "op://",
                                        "op://a",
                                        "op://a/b",
                                        "op://a//b",
                                        "op://a/b/c/d/e",
                                        "op:///a/b",
                                        "op://a/b/",
                                        "op://a/b/c?x",
                                        "a\nb",
                                        "op://a/b/\x01"};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct secret_path p;
        struct err e = {0};
        if (secret_path_parse(cases[i], &p, &e) != -EINVAL || !e.text[0])
            CASE_FAILS("%s", cases[i]);
    }
    char longer[SECRET_PATH_MAX + 1];
    struct secret_path p;
    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    assert_int_equal(secret_path_parse(longer, &p, NULL), -EINVAL);
    longer[SECRET_PATH_MAX - 1] = '\0';
    assert_int_equal(secret_path_parse(longer, &p, NULL), 0);
}

static void an_id_has_26_small_letters_and_digits(void **state)
{
    (void)state;
    assert_true(secret_is_id("abcdefghijklmnopqrstuv0129"));
    assert_false(secret_is_id("abcdefghijklmnopqrstuv012"));
    assert_false(secret_is_id("abcdefghijklmnopqrstuv01299"));
    assert_false(secret_is_id("Abcdefghijklmnopqrstuv0129"));
    assert_false(secret_is_id("abcdefghijklmnopqrstuv 129"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_and_references_are_told_apart),
        cmocka_unit_test(what_is_neither_is_refused_in_words),
        cmocka_unit_test(an_id_has_26_small_letters_and_digits),
    };
    return RUN_TESTS(tests);
}
