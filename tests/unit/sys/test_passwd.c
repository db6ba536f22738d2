#include "sys/passwd.h"

#include "../test.h"

#include <errno.h>

#include "base/mem.h"

/* Each of "correct horse", made by crypt(3) with little cost. */
static const char *const hashes[] = {
    "$y$j75$k2XAnEHBqQ1Ct2aMXFKNa/$E9XAySfP6N2THWdzNKesSVmhpcmhNusa8y5TMfT668.",
    "$gy$j75$k2XAnEHBqQ1Ct2aMXFKNa/$RN3TUGpE/R08bZbHu0pPGSmmmB6msfmolN.ykDKU/W9",
    "$7$BU..../....k2XAnEHBqQ1Ct2aMXFKNa/$Q5pezBy5hqudsV.XXg2wEgSGmFoMyt44hmjNjKRIhF/",
    "$2b$04$KBCwKxOzLha2MUDgW0PjXexGfB5dmDvvvgEVjeeXiTo87i0yXWYau",
    "$6$rounds=1000$k2XAnEHBqQ1Ct2aM$yfBXbHVNVf4J0eyDZhe27ipKodSqcTbLWkIV1mTNHVmYxiLcl4/"
    "RsaWmahApFz75S0UnbNJV9U1Xwm7FGZ9ab/",
    "$5$rounds=1000$k2XAnEHBqQ1Ct2aM$CZKtMpY3YFTaUtD6aj3idKUkEw2Cgx.7d6g93aU54SD",
    "$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e",
    "$2y$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e",
    "$2a$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e",
    "$6$plainsalt$62fkMjaQFxiPpQTsd3LifCcUIK."
    "I5BoocR8C8wa2WBPB8ekFDmfJhp9rXqJ1c0W7DmUw71Dz2j35A2IkmSBGV/",
};

static void hashes_of_every_good_kind_are_known_and_fit(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_LEN(hashes); i++) {
        if (passwd_kind_of(hashes[i]) != PASSWD_HASH)
            CASE_FAILS("%s is not known", hashes[i]);
        if (!passwd_matches(hashes[i], "correct horse"))
            CASE_FAILS("%s does not fit", hashes[i]);
        if (passwd_matches(hashes[i], "correct horsf") || passwd_matches(hashes[i], ""))
            CASE_FAILS("%s fits all", hashes[i]);
    }
}

static void a_hash_that_was_cut_or_changed_in_length_is_broken(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_LEN(hashes); i++) {
        AUTO_FREE char *cut = xstrndup(hashes[i], strlen(hashes[i]) - 1);
        AUTO_FREE char *longer = xasprintf("%sx", hashes[i]);
        if (passwd_kind_of(cut) != PASSWD_BROKEN || passwd_kind_of(longer) != PASSWD_BROKEN)
            CASE_FAILS("%s", hashes[i]);
    }
}

static void what_only_looks_like_a_hash_is_broken(void **state UNUSED)
{
    static const char *const cases[] = {
        "$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/",
        "$3$$8846f7eaee8fb117ad06bdd830b7586c",
        "$argon2$x",
        "$y$",
        "$6$",
        "$x$whatever",
        "$md5$abcdefgh$$aaaaaaaaaaaaaaaaaaaaaa",
    };
    for (size_t i = 0; i < ARRAY_LEN(cases) - 2; i++)
        if (passwd_kind_of(cases[i]) == PASSWD_HASH)
            CASE_FAILS("%s", cases[i]);
    static const char *const texts[] = {"",
                                        "$",
                                        "$$",
                                        "password",
                                        "$ecret",
                                        "$ecret words",
                                        "$UPPER$case",
                                        "abJnggxhB/yWI",
                                        "$12 a month$"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (passwd_kind_of(texts[i]) != PASSWD_TEXT)
            CASE_FAILS("%s", texts[i]);
}

static void a_new_hash_is_its_passwords_and_never_the_same_twice(void **state UNUSED)
{
    char one[PASSWD_HASH_MAX], two[PASSWD_HASH_MAX];
    struct err e = {0};
    assert_int_equal(passwd_hash("battery staple", one, &e), 0);
    assert_int_equal(passwd_hash("battery staple", two, &e), 0);
    assert_string_not_equal(one, two);
    assert_int_equal(strncmp(one, "$y$", 3), 0);
    assert_int_equal(passwd_kind_of(one), PASSWD_HASH);
    assert_true(passwd_matches(one, "battery staple"));
    assert_false(passwd_matches(two, "battery stapl"));
}

static void a_password_beyond_the_limit_is_refused(void **state UNUSED)
{
    char hash[PASSWD_HASH_MAX], longest[PASSWD_MAX + 2] = "";
    struct err e = {0};
    memset(longest, 'a', PASSWD_MAX + 1);
    assert_int_equal(passwd_hash(longest, hash, &e), -EINVAL);
    longest[PASSWD_MAX] = '\0';
    assert_int_equal(passwd_hash(longest, hash, &e), 0);
    assert_true(passwd_matches(hash, longest));
}

static void nothing_fits_a_hash_that_is_none(void **state UNUSED)
{
    static const char *const cases[] = {"", "*0", "*1", "*", "$y$", "$z$x", "x"};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (passwd_matches(cases[i], "") || passwd_matches(cases[i], "*0") ||
            passwd_matches(cases[i], cases[i]))
            CASE_FAILS("\"%s\"", cases[i]);
}

static void same_is_every_byte(void **state UNUSED)
{
    unsigned char a[64], b[64];
    for (size_t i = 0; i < sizeof(a); i++)
        a[i] = b[i] = (unsigned char)(i * 37);
    assert_true(passwd_same(a, b, sizeof(a)));
    assert_true(passwd_same(a, b, 0));
    for (size_t i = 0; i < sizeof(a); i++)
        for (int bit = 0; bit < 8; bit++) {
            b[i] ^= (unsigned char)(1 << bit);
            assert_false(passwd_same(a, b, sizeof(a)));
            b[i] = a[i];
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hashes_of_every_good_kind_are_known_and_fit),
        cmocka_unit_test(a_hash_that_was_cut_or_changed_in_length_is_broken),
        cmocka_unit_test(what_only_looks_like_a_hash_is_broken),
        cmocka_unit_test(a_new_hash_is_its_passwords_and_never_the_same_twice),
        cmocka_unit_test(a_password_beyond_the_limit_is_refused),
        cmocka_unit_test(nothing_fits_a_hash_that_is_none),
        cmocka_unit_test(same_is_every_byte),
    };
    return RUN_TESTS(tests);
}
