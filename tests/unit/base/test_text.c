#include "../test.h"

#include <errno.h>

#include "base/text.h"

static void copies_and_cuts(void **state UNUSED)
{
    char buf[5];
    assert_true(text_copy(buf, sizeof(buf), "abcd"));
    assert_string_equal(buf, "abcd");
    assert_false(text_copy(buf, sizeof(buf), "abcde"));
    assert_string_equal(buf, "abcd");
    assert_true(text_copy(buf, sizeof(buf), ""));
    assert_string_equal(buf, "");
    assert_false(text_copy(buf, 1, "x"));
    assert_string_equal(buf, "");
}

static void cuts_between_characters(void **state UNUSED)
{
    char buf[5];
    assert_false(text_copy(buf, sizeof(buf), "abc\xc3\xa4"));
    assert_string_equal(buf, "abc");
    assert_true(text_copy(buf, sizeof(buf), "ab\xc3\xa4"));
    assert_string_equal(buf, "ab\xc3\xa4");
    assert_false(text_copy(buf, sizeof(buf), "\xe2\x82\xac\xe2\x82\xac"));
    assert_string_equal(buf, "\xe2\x82\xac");
    assert_false(text_copy(buf, sizeof(buf), "\xf0\x9f\x98\x80x"));
    assert_string_equal(buf, "\xf0\x9f\x98\x80");
    assert_false(text_copy(buf, 4, "\xf0\x9f\x98\x80"));
    assert_string_equal(buf, "");
    /* What is no UTF-8 is cut where it must be. */
    assert_false(text_copy(buf, sizeof(buf), "\xff\xff\xff\xff\xff\xff"));
    assert_string_equal(buf, "\xff\xff\xff\xff");
    assert_false(text_copy(buf, sizeof(buf), "\x80\x80\x80\x80\x80\x80"));
    assert_string_equal(buf, "\x80\x80\x80\x80");
}

static void formats_or_says_that_it_does_not_fit(void **state UNUSED)
{
    char buf[4];
    assert_int_equal(text_format(buf, sizeof(buf), "%d", 123), 3);
    assert_string_equal(buf, "123");
    assert_int_equal(text_format(buf, sizeof(buf), "%d", 1234), -ENOSPC);
    assert_string_equal(buf, "123");
}

static void compares(void **state UNUSED)
{
    assert_true(text_equal_nocase("Person", "pERSON"));
    assert_false(text_equal_nocase("person", "persons"));
    assert_true(text_starts_with("fetch_a", "fetch"));
    assert_true(text_starts_with("a", ""));
    assert_false(text_starts_with("fet", "fetch"));
    assert_true(text_ends_with("a.onnx", ".onnx"));
    assert_true(text_ends_with("a", ""));
    assert_false(text_ends_with("onnx", ".onnx"));
}

static void escapes_what_steers_terminals_and_lines(void **state UNUSED)
{
    static const struct {
        const char *raw;
        size_t len;
        const char *escaped;
    } cases[] = {
        {"plain text", 10, "plain text"},
        {"a\nb\rc\td", 7, "a\\nb\\rc\\td"},
        {"say \"hi\" \\ bye", 14, "say \\\"hi\\\" \\\\ bye"},
        {"\033[2J", 4, "\\x1b[2J"},
        {"a\0b", 3, "a\\x00b"},
        {"\x7f", 1, "\\x7f"},
        {"\xc2\x9b", 2, "\\xc2\\x9b"}, /* C1 control: ESC [ for some terminals */
        {"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 9, "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"},
        {"\xff\xfe", 2, "\\xff\\xfe"},
        {"\xc0\xaf", 2, "\\xc0\\xaf"}, /* overlong slash */
        {"\xe0\x80\xaf", 3, "\\xe0\\x80\\xaf"},
        {"\xed\xa0\x80", 3, "\\xed\\xa0\\x80"},          /* surrogate */
        {"\xf4\x90\x80\x80", 4, "\\xf4\\x90\\x80\\x80"}, /* above U+10FFFF */
        {"\xe2\x82", 2, "\\xe2\\x82"},                   /* cut in the middle */
        {"", 0, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char buf[64];
        test_expect_text("escaped", text_escape(cases[i].raw, cases[i].len, buf, sizeof(buf)),
                         cases[i].escaped);
    }
}

static void cuts_an_escape_between_its_pieces(void **state UNUSED)
{
    static const char raw[] = "a\033\n\xe2\x82\xac\"";
    for (size_t size = 1; size < 20; size++) {
        char buf[20];
        memset(buf, 'X', sizeof(buf));
        text_escape(raw, sizeof(raw) - 1, buf, size);
        assert_true(strlen(buf) < size);
        assert_non_null(strstr("a\\x1b\\n\xe2\x82\xac\\\"", buf));
        assert_true(strlen(buf) == 0 || buf[strlen(buf) - 1] != '\\');
    }
}

static void leaves_quotes_in_text_for_people(void **state UNUSED)
{
    char buf[64];
    assert_string_equal(text_printable("\"C:\\x\"\n\033", 8, buf, sizeof(buf)),
                        "\"C:\\x\"\\n\\x1b");
    assert_string_equal(text_printable("a\nb", 3, buf, 3), "a");
}

/* Every way in which a password was seen to travel in a URL. */
static void hides_passwords_in_urls(void **state UNUSED)
{
    static const struct {
        const char *raw, *redacted;
    } cases[] = {
        {"http://u:canary@h/x", "http://***@h/x"},
        {"http://canary@h", "http://***@h"},
        {"http://u:canary@h:80/x?a=1", "http://***@h:80/x?***"},
        {"http://u:can@ary@h/x", "http://***@h/x"},
        {"http://u:can/ary@h/x", "http://***@h/x"},
        {"http://u:can?ary@h/x", "http://***@h/x"},
        {"http://u:can#ary@h/x", "http://***@h/x"},
        {"http://u:can'ary@h/x", "http://***@h/x"},
        {"http://u:can://ary@h/x", "http://***@h/x"},
        {"http://u:can%40ary@[fe80::1]:80/x", "http://***@[fe80::1]:80/x"},
        {"HTTPS://u:canary@h", "HTTPS://***@h"},
        {"rtsp://u:canary@h:554/live", "rtsp://***@h:554/live"},
        {"http://h/cgi?usr=admin&pwd=canary", "http://h/cgi?***"},
        {"http://h/cgi?pwd=can'ary&x=1", "http://h/cgi?***"},
        {"http://h/cgi?pwd=a@canary", "http://h/cgi?***"},
        {"http://h?pwd=canary", "http://h?***"},
        {"http://h/a?next=http://u:canary@h/", "http://h/a?***"},
        {"http://h/a?pwd=canary#top", "http://h/a?***"},
        {"get 'http://u:canary@h/a?p=canary': refused", "get 'http://***@h/a?***': refused"},
        {"<http://u:canary@h/a?p=canary> (twice) http://v:canary@h",
         "<http://***@h/a?***> (twice) http://***@h"},
        {"(see http://h/a?p=canary).", "(see http://h/a?***)."},
        /* Nothing secret, nothing changed. */
        {"http://h:8080/a@2x.png", "http://h:8080/a@2x.png"},
        {"http://[fe80::1]:80/a@b.png", "http://[fe80::1]:80/a@b.png"},
        {"http://h/a/b.jpg, me@example.org", "http://h/a/b.jpg, me@example.org"},
        {"no url: a@b ? c", "no url: a@b ? c"},
        {"http://", "http://"},
        {"://", "://"},
        {"", ""},
        {"http://h/?", "http://h/?"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char buf[128];
        assert_true(text_copy(buf, sizeof(buf), cases[i].raw));
        text_redact_urls(buf);
        test_expect_text(cases[i].raw, buf, cases[i].redacted);
        assert_null(strstr(buf, "canary"));
        assert_null(strstr(buf, "ary@"));
    }
}

static void hides_without_more_room_than_it_has(void **state UNUSED)
{
    char buf[] = "http://u@h?a";
    text_redact_urls(buf);
    assert_string_equal(buf, "http://*@h?*");
}

static void writes_hex(void **state UNUSED)
{
    char buf[9];
    text_hex("\x00\xff\x10\xab", 4, buf);
    assert_string_equal(buf, "00ff10ab");
    text_hex("", 0, buf);
    assert_string_equal(buf, "");
}

static void writes_base64(void **state UNUSED)
{
    /* RFC 4648, section 10. */
    static const struct {
        const char *raw, *text;
    } cases[] = {{"", ""},
                 {"f", "Zg=="},
                 {"fo", "Zm8="},
                 {"foo", "Zm9v"},
                 {"foob", "Zm9vYg=="},
                 {"fooba", "Zm9vYmE="},
                 {"foobar", "Zm9vYmFy"},
                 {"\xff\xfe\xfd", "//79"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char buf[TEXT_BASE64_SIZE(6)];
        text_base64(cases[i].raw, strlen(cases[i].raw), buf);
        test_expect_text(cases[i].raw, buf, cases[i].text);
    }
}

static void makes_slugs(void **state UNUSED)
{
    static const struct {
        const char *raw, *slug;
    } cases[] = {
        {"Front Door Camera", "front-door-camera"},
        {"  a  b  ", "a-b"},
        {"../../etc", "etc"},
        {"K\xc3\xbc"
         "che",
         "k-che"},
        {"---", ""},
        {"", ""},
        {"A1_b2", "a1-b2"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char buf[32];
        text_slug(cases[i].raw, buf, sizeof(buf));
        test_expect_text(cases[i].raw, buf, cases[i].slug);
    }
    char tiny[4];
    text_slug("abc def", tiny, sizeof(tiny));
    assert_string_equal(tiny, "abc");
    text_slug("ab def", tiny, sizeof(tiny));
    assert_string_equal(tiny, "ab");
}

static void spans_are_told_in_the_units_that_people_use(void **state)
{
    (void)state;
    static const struct {
        double seconds;
        const char *text;
    } cases[] = {{-3, "0 s"},
                 {0.9, "0 s"},
                 {99, "99 s"},
                 {180, "3 min"},
                 {5999, "99 min"},
                 {5 * 3600 + 720, "5 h 12 min"},
                 {172799, "47 h 59 min"},
                 {12.125 * 86400, "12 d 3 h"}};
    char buf[TEXT_SPAN_MAX];
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_string_equal(text_span(cases[i].seconds, buf), cases[i].text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spans_are_told_in_the_units_that_people_use),
        cmocka_unit_test(copies_and_cuts),
        cmocka_unit_test(cuts_between_characters),
        cmocka_unit_test(formats_or_says_that_it_does_not_fit),
        cmocka_unit_test(compares),
        cmocka_unit_test(escapes_what_steers_terminals_and_lines),
        cmocka_unit_test(cuts_an_escape_between_its_pieces),
        cmocka_unit_test(leaves_quotes_in_text_for_people),
        cmocka_unit_test(hides_passwords_in_urls),
        cmocka_unit_test(hides_without_more_room_than_it_has),
        cmocka_unit_test(writes_hex),
        cmocka_unit_test(writes_base64),
        cmocka_unit_test(makes_slugs),
    };
    return RUN_TESTS(tests);
}
