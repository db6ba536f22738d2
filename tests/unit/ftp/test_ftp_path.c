/* Virtual paths: a table of forms with their results, and some thousand made from parts, of which
 * the rules that the jail relies on must hold. */

#include "../test.h"

#include <errno.h>

#include "ftp/ftp_path.h"

#define BYTES(s) s, sizeof(s) - 1

struct path_case {
    const char *cwd, *argument;
    size_t len;
    const char *result; /* NULL: -EINVAL */
};

static const struct path_case cases[] = {
    {"/", BYTES("a.jpg"), "/a.jpg"},
    {"/", BYTES("/a.jpg"), "/a.jpg"},
    {"/x", BYTES("a.jpg"), "/x/a.jpg"},
    {"/x", BYTES("/a.jpg"), "/a.jpg"},
    {"/x/y", BYTES(""), "/x/y"},
    {"/x/y", BYTES("   "), "/x/y"},
    {"/", BYTES(""), "/"},
    {"/x/y", BYTES("."), "/x/y"},
    {"/x/y", BYTES("./."), "/x/y"},
    {"/x/y", BYTES(".."), "/x"},
    {"/x/y", BYTES("../.."), "/"},
    {"/x/y", BYTES("../../../.."), "/"},
    {"/x/y", BYTES("/../../etc/passwd"), "/etc/passwd"},
    {"/x/y", BYTES("a/../../b"), "/x/b"},
    {"/x/y", BYTES("a//b///c"), "/x/y/a/b/c"},
    {"/x/y", BYTES("//a/"), "/a"},
    {"/x/y", BYTES("a/./b/."), "/x/y/a/b"},
    {"/x", BYTES("a\\b\\c.jpg"), "/x/a/b/c.jpg"},
    {"/x", BYTES("\\a\\b"), "/a/b"},
    {"/x", BYTES("..\\..\\windows"), "/windows"},
    {"/x", BYTES("..\\/../a"), "/a"},
    {"/x", BYTES("C:\\a"), "/x/C:/a"},
    /* Names that only look like traversal. */
    {"/", BYTES("..."), "/..."},
    {"/", BYTES("..a"), "/..a"},
    {"/", BYTES("a.."), "/a.."},
    {"/", BYTES(".hidden"), "/.hidden"},
    {"/", BYTES("%2e%2e/%2e%2e%2fa"), "/%2e%2e/%2e%2e%2fa"},
    {"/", BYTES("~root"), "/~root"},
    {"/", BYTES("$HOME"), "/$HOME"},
    /* What cameras put into names. */
    {"/", BYTES("12.34.56[M][0@0][0].jpg"), "/12.34.56[M][0@0][0].jpg"},
    {"/", BYTES("a#1 (2).jpg"), "/a#1 (2).jpg"},
    {"/", BYTES("a \"b\".jpg"), "/a \"b\".jpg"},
    {"/", BYTES("caf\xc3\xa9.jpg"), "/caf\xc3\xa9.jpg"},
    {"/", BYTES("caf\xe9.jpg"), "/caf\xe9.jpg"},                   /* Latin-1 */
    {"/", BYTES("\xc0\xb4\xb5\xbd.jpg"), "/\xc0\xb4\xb5\xbd.jpg"}, /* GBK */
    {"/", BYTES("\xe2\x82\xac\xf0\x9f\x93\xb7"), "/\xe2\x82\xac\xf0\x9f\x93\xb7"},
    {"/", BYTES("cut\xe2\x82"), "/cut\xe2\x82"},
    {"/", BYTES("cut\xc0"), "/cut\xc0"},
    /* Spaces of habit. */
    {"/", BYTES("a.jpg "), "/a.jpg"},
    {"/", BYTES("  a.jpg   "), "/a.jpg"},
    {"/", BYTES("/dir /a.jpg "), "/dir/a.jpg"},
    {"/x", BYTES(".. "), "/"},
    {"/x/y", BYTES(".. /.. /z"), "/z"},
    {"/x", BYTES("a/ /b"), "/x/a/b"},
    {"/x", BYTES("a/ b"), "/x/a/ b"},
    {"/x", BYTES(" /a"), "/a"},
    /* Refused. */
    {"/", BYTES("a\0b"), NULL},
    {"/", BYTES("a\0"), NULL},
    {"/", BYTES("\0"), NULL},
    {"/", BYTES("a\nb"), NULL},
    {"/", BYTES("a\rb"), NULL},
    {"/", BYTES("a\tb"), NULL},
    {"/", BYTES("a\x1b[2J"), NULL},
    {"/", BYTES("a\x7f"), NULL},
    {"/", BYTES("x\x01/../a"), NULL},
    {"/", BYTES("\xc0\xae\xc0\xae/a"), NULL}, /* '.' */
    {"/",
     BYTES("..\xc0\xaf..\xc0\xaf"
           "a"),
     NULL}, /* '/' */
    {"/",
     BYTES("..\xe0\x80\xaf"
           "a"),
     NULL},
    {"/",
     BYTES("..\xf0\x80\x80\xaf"
           "a"),
     NULL},
    {"/",
     BYTES("..\xc1\x9c"
           "a"),
     NULL}, /* '\' */
    {"/", BYTES("\xe0\x81\x9c"), NULL},
    {"/", BYTES("a\xc0\x80"), NULL},     /* NUL */
    {"/", BYTES("a\xe0\x80\x8a"), NULL}, /* LF */
    {"/", BYTES("a\xc1\xbf"), NULL},     /* DEL */
    {"/", BYTES(".incoming-1"), NULL},
    {"/", BYTES(".incoming-"), NULL},
    {"/", BYTES("a/.incoming-x/b"), NULL},
    {"/", BYTES(".incoming-x/../b"), NULL},
    {"/", BYTES("a\\.incoming-x"), NULL},
    {"/", BYTES(" .incoming-x"), NULL},
    {"/", BYTES("/.incoming-x "), NULL},
    /* Its neighbours are ordinary. */
    {"/", BYTES(".incoming"), "/.incoming"},
    {"/", BYTES(".taken-1"), NULL},
    {"/", BYTES("a/.Trash-1000/b"), NULL},
    {"/", BYTES(".snapshot "), NULL},
    {"/", BYTES(".in.a.jpg"), "/.in.a.jpg"},
    {"/", BYTES(".cam/a"), "/.cam/a"},
    {"/", BYTES("x.incoming-1"), "/x.incoming-1"},
    {"/", BYTES("..incoming-1"), "/..incoming-1"},
};

static void resolves_each_form(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char got[FTP_PATH_MAX];
        int r = ftp_path_resolve(cases[i].cwd, cases[i].argument, cases[i].len, got);
        if (r != (cases[i].result ? 0 : -EINVAL))
            CASE_FAILS("%zu \"%s\": %d", i, cases[i].argument, r);
        if (cases[i].result)
            test_expect_text(cases[i].argument, got, cases[i].result);
    }
}

/* What the jail relies on. */
static void check_normal(const char *path)
{
    size_t len = strlen(path);
    int depth = 0;
    assert_true(len >= 1 && len < FTP_PATH_MAX && path[0] == '/');
    assert_true(len == 1 || path[len - 1] != '/');
    for (const char *part = path; len > 1 && *part; depth++) {
        size_t n = strcspn(part + 1, "/");
        part++;
        assert_true(n > 0 && n <= FTP_NAME_MAX);
        assert_false(n == 1 && part[0] == '.');
        assert_false(n == 2 && part[0] == '.' && part[1] == '.');
        assert_true(part[n - 1] != ' ');
        assert_int_not_equal(strncmp(part, FTP_HIDDEN_PREFIX, strlen(FTP_HIDDEN_PREFIX)), 0);
        part += n;
    }
    assert_true(depth <= FTP_DEPTH_MAX);
    for (const char *c = path; *c; c++)
        assert_true((unsigned char)*c >= 0x20 && *c != 0x7f && *c != '\\');
    char again[FTP_PATH_MAX];
    assert_int_equal(ftp_path_resolve("/elsewhere", path, len, again), 0);
    assert_string_equal(again, path);
    const char *relative = ftp_path_relative(path);
    assert_true(relative[0] && relative[0] != '/');
}

static void keeps_its_promise_for_every_mixture_of_parts(void **state UNUSED)
{
    static const struct {
        const char *bytes;
        size_t len;
        bool bad;
    } parts[] = {
        {BYTES("a"), false},           {BYTES(".."), false},
        {BYTES("."), false},           {BYTES(""), false},
        {BYTES(" "), false},           {BYTES(".. "), false},
        {BYTES("..."), false},         {BYTES("%2e%2e"), false},
        {BYTES("%252e"), false},       {BYTES("\xc0\xae"), true},
        {BYTES("..\xc0\xaf"), true},   {BYTES("\0"), true},
        {BYTES("b\x01"), true},        {BYTES("\xe9"), false},
        {BYTES("\xc3\xa9"), false},    {BYTES(".incoming-"), true},
        {BYTES(".incomin"), false},    {BYTES("c:"), false},
        {BYTES("\xe0\x80\xae"), true}, {BYTES("\r"), true},
    };
    static const char *const separators[] = {"/", "\\", "//", "/\\", "/./", " /"};
    static const char *const fronts[] = {"", "/", "\\", " ", "../"};
    size_t forms = 0, good = 0;
    for (size_t f = 0; f < ARRAY_LEN(fronts); f++)
        for (size_t i = 0; i < ARRAY_LEN(parts); i++)
            for (size_t s = 0; s < ARRAY_LEN(separators); s++)
                for (size_t k = 0; k < ARRAY_LEN(parts); k++) {
                    char text[64], got[FTP_PATH_MAX];
                    size_t len = 0;
                    const struct {
                        const char *bytes;
                        size_t len;
                    } pieces[] = {
                        {fronts[f], strlen(fronts[f])},
                        {parts[i].bytes, parts[i].len},
                        {separators[s], strlen(separators[s])},
                        {parts[k].bytes, parts[k].len},
                    };
                    for (size_t p = 0; p < ARRAY_LEN(pieces); p++) {
                        memcpy(text + len, pieces[p].bytes, pieces[p].len);
                        len += pieces[p].len;
                    }
                    int r = ftp_path_resolve("/x/y", text, len, got);
                    bool bad = parts[i].bad || parts[k].bad;
                    if (r != (bad ? -EINVAL : 0))
                        CASE_FAILS("%zu %zu %zu %zu: %d", f, i, s, k, r);
                    if (r == 0)
                        check_normal(got);
                    forms++;
                    good += r == 0;
                }
    assert_true(forms >= 500 && good >= 500);
}

static void refuses_every_control_byte_and_no_other(void **state UNUSED)
{
    for (int c = 0; c < 256; c++) {
        char text[] = {'a', (char)c, 'b'}, got[FTP_PATH_MAX];
        int r = ftp_path_resolve("/", text, sizeof(text), got);
        if (r != (c < 0x20 || c == 0x7f ? -EINVAL : 0))
            CASE_FAILS("byte %d: %d", c, r);
    }
}

static void refuses_overlong_forms_of_bytes_that_mean_something(void **state UNUSED)
{
    for (int c = 0; c < 0x80; c++) {
        bool means = c < 0x20 || c == 0x7f || c == '.' || c == '/' || c == '\\';
        const char two[] = {(char)(0xc0 | c >> 6), (char)(0x80 | (c & 0x3f))};
        const char three[] = {'\xe0', (char)(0x80 | c >> 6), (char)(0x80 | (c & 0x3f))};
        const char four[] = {'\xf0', '\x80', (char)(0x80 | c >> 6), (char)(0x80 | (c & 0x3f))};
        char got[FTP_PATH_MAX];
        int wanted = means ? -EINVAL : 0;
        assert_int_equal(ftp_path_resolve("/", two, sizeof(two), got), wanted);
        assert_int_equal(ftp_path_resolve("/", three, sizeof(three), got), wanted);
        assert_int_equal(ftp_path_resolve("/", four, sizeof(four), got), wanted);
    }
}

static void holds_the_limit_of_a_name(void **state UNUSED)
{
    char text[FTP_NAME_MAX + 8], got[FTP_PATH_MAX];
    memset(text, 'n', sizeof(text));
    for (size_t len = FTP_NAME_MAX - 1; len <= FTP_NAME_MAX + 1; len++) {
        int wanted = len <= FTP_NAME_MAX ? 0 : -ENAMETOOLONG;
        assert_int_equal(ftp_path_resolve("/", text, len, got), wanted);
        assert_int_equal(ftp_path_resolve("/a/b", text, len, got), wanted);
    }
    memset(text + FTP_NAME_MAX, ' ', 4); /* which do not count */
    assert_int_equal(ftp_path_resolve("/", text, FTP_NAME_MAX + 4, got), 0);
}

static void holds_the_limit_of_a_path(void **state UNUSED)
{
    char text[FTP_PATH_MAX + 8], got[FTP_PATH_MAX];
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = i % 200 ? 'p' : '/';
    for (size_t len = FTP_PATH_MAX - 2; len <= FTP_PATH_MAX + 1; len++) {
        int r = ftp_path_resolve("/", text, len, got);
        assert_int_equal(r, len < FTP_PATH_MAX ? 0 : -ENAMETOOLONG);
        if (r == 0)
            assert_int_equal(strlen(got), len);
    }
    /* Made up of a folder and a name. */
    char cwd[FTP_PATH_MAX];
    assert_int_equal(ftp_path_resolve("/", text, 1000, cwd), 0);
    memset(text, 'q', 100);
    assert_int_equal(ftp_path_resolve(cwd, text, 22, got), 0);
    assert_int_equal(strlen(got), FTP_PATH_MAX - 1);
    check_normal(got);
    assert_int_equal(ftp_path_resolve(cwd, text, 23, got), -ENAMETOOLONG);
}

static void holds_the_limit_of_depth(void **state UNUSED)
{
    char text[4 * FTP_DEPTH_MAX], got[FTP_PATH_MAX];
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = i % 2 ? 'd' : '/';
    for (size_t depth = FTP_DEPTH_MAX - 1; depth <= FTP_DEPTH_MAX + 1; depth++)
        assert_int_equal(ftp_path_resolve("/", text, 2 * depth, got),
                         depth <= FTP_DEPTH_MAX ? 0 : -ENAMETOOLONG);
    char cwd[FTP_PATH_MAX];
    assert_int_equal(ftp_path_resolve("/", text, 2 * FTP_DEPTH_MAX, cwd), 0);
    assert_int_equal(ftp_path_resolve(cwd, "x", 1, got), -ENAMETOOLONG);
    assert_int_equal(ftp_path_resolve(cwd, "../x", 4, got), 0);
    check_normal(got);
}

static void resolves_a_line_of_dots_in_time(void **state UNUSED)
{
    char text[4096], got[FTP_PATH_MAX];
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = "../"[i % 3];
    assert_int_equal(ftp_path_resolve("/a/b", text, sizeof(text), got), 0);
    assert_string_equal(got, "/");
    assert_string_equal(ftp_path_relative(got), ".");
    assert_string_equal(ftp_path_relative("/a/b"), "a/b");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resolves_each_form),
        cmocka_unit_test(keeps_its_promise_for_every_mixture_of_parts),
        cmocka_unit_test(refuses_every_control_byte_and_no_other),
        cmocka_unit_test(refuses_overlong_forms_of_bytes_that_mean_something),
        cmocka_unit_test(holds_the_limit_of_a_name),
        cmocka_unit_test(holds_the_limit_of_a_path),
        cmocka_unit_test(holds_the_limit_of_depth),
        cmocka_unit_test(resolves_a_line_of_dots_in_time),
    };
    return RUN_TESTS(tests);
}
