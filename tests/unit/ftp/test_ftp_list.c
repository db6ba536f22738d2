/* Lines of lists, and times. */

#include "../test.h"

#include <errno.h>

#include "ftp/ftp_account.h"
#include "ftp/ftp_list.h"

#define NOW 1767322800 /* 2026-01-02 03:00:00 */
#define HALF_A_YEAR (182 * 24 * 3600)

static struct ftp_file file_of(const char *name, int64_t size, int64_t seconds, bool folder)
{
    struct ftp_file f = {.size = size, .folder = folder, .device = 0xfe, .inode = 0x1234};
    f.modified = wall_from_seconds(seconds);
    strncpy(f.name, name, sizeof(f.name) - 1);
    return f;
}

static void shows_a_long_line_as_ls_does(void **state UNUSED)
{
    static const struct {
        const char *name;
        int64_t size, seconds;
        bool folder;
        const char *line;
    } table[] = {
        {"a.jpg", 4711, NOW, false, "-rw-r--r--   1 ftp      ftp          4711 Jan 02 03:00 a.jpg"},
        {"snap", 0, NOW - 60, true, "drwxr-xr-x   1 ftp      ftp             0 Jan 02 02:59 snap"},
        {"old", 1, NOW - HALF_A_YEAR, false,
         "-rw-r--r--   1 ftp      ftp             1 Jul 04 03:00 old"},
        {"older", 1, NOW - HALF_A_YEAR - 1, false,
         "-rw-r--r--   1 ftp      ftp             1 Jul 04  2025 older"},
        {"ahead", 1, NOW + 1, false,
         "-rw-r--r--   1 ftp      ftp             1 Jan 02  2026 ahead"},
        {"big", 123456789012, 0, false,
         "-rw-r--r--   1 ftp      ftp      123456789012 Jan 01  1970 big"},
        {"a b", 1, NOW, false, "-rw-r--r--   1 ftp      ftp             1 Jan 02 03:00 a b"},
        {"a\r\nb\x7f", 1, NOW, false,
         "-rw-r--r--   1 ftp      ftp             1 Jan 02 03:00 a??b?"},
        {"before all", 1, INT64_MIN / 1000000, false,
         "-rw-r--r--   1 ftp      ftp             1 Jan 01     0 before all"},
        {"after all", 1, INT64_MAX / 1000000, false,
         "-rw-r--r--   1 ftp      ftp             1 Dec 31  9999 after all"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        AUTO_DONE(dynbuf) out;
        dynbuf_init(&out, 1024);
        struct ftp_file f =
            file_of(table[i].name, table[i].size, table[i].seconds, table[i].folder);
        assert_int_equal(ftp_list_long(&out, &f, wall_from_seconds(NOW)), 0);
        char wanted[300];
        (void)snprintf(wanted, sizeof(wanted), "%s\r\n", table[i].line);
        test_expect_text(table[i].name, dynbuf_str(&out), wanted);
    }
}

static void shows_facts_that_were_asked_for(void **state UNUSED)
{
    const unsigned all = FTP_FACT_ALL,
                   every = FTP_RIGHTS_DEFAULT | FTP_RIGHT_LIST | FTP_RIGHT_READ | FTP_RIGHT_DELETE;
    static const char *const shown = "/x/a.jpg";
    const struct {
        bool folder;
        unsigned facts, rights;
        const char *shown, *line;
    } table[] = {
        {false, all, every, NULL,
         "type=file;size=4711;modify=20260102030000;perm=awrdf;unique=feg1234; a.jpg\r\n"},
        {true, all, every, NULL,
         "type=dir;modify=20260102030000;perm=cmeldfp;unique=feg1234; a.jpg\r\n"},
        {false, all, 0, NULL,
         "type=file;size=4711;modify=20260102030000;perm=;unique=feg1234; a.jpg\r\n"},
        {true, FTP_FACT_PERM, 0, NULL, "perm=e; a.jpg\r\n"},
        {true, FTP_FACT_PERM, FTP_RIGHTS_DEFAULT, NULL, "perm=cme; a.jpg\r\n"},
        {false, FTP_FACT_PERM, FTP_RIGHTS_DEFAULT, NULL, "perm=aw; a.jpg\r\n"},
        {false, FTP_FACT_PERM, FTP_RIGHT_STORE, NULL, "perm=; a.jpg\r\n"},
        {false, FTP_FACT_SIZE, every, shown, "size=4711; /x/a.jpg\r\n"},
        {false, 0, every, NULL, " a.jpg\r\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        AUTO_DONE(dynbuf) out;
        dynbuf_init(&out, 1024);
        struct ftp_file f = file_of("a.jpg", 4711, NOW, table[i].folder);
        assert_int_equal(ftp_list_facts(&out, &f, table[i].facts, table[i].rights, table[i].shown),
                         0);
        test_expect_text("facts", dynbuf_str(&out), table[i].line);
    }
}

static void says_when_a_list_is_full(void **state UNUSED)
{
    struct ftp_file f = file_of("0123456789", 1, NOW, false);
    for (size_t max = 0; max < 12; max++) { /* a name needs 12 bytes */
        AUTO_DONE(dynbuf) out;
        dynbuf_init(&out, max);
        assert_int_equal(ftp_list_name(&out, &f), -ENOSPC);
        assert_int_equal(ftp_list_long(&out, &f, wall_from_seconds(NOW)), -ENOSPC);
        assert_int_equal(ftp_list_facts(&out, &f, FTP_FACT_ALL, 0, NULL), -ENOSPC);
    }
    AUTO_DONE(dynbuf) out;
    dynbuf_init(&out, 12);
    assert_int_equal(ftp_list_name(&out, &f), 0);
    assert_string_equal(dynbuf_str(&out), "0123456789\r\n");
}

static void reads_times(void **state UNUSED)
{
    static const struct {
        const char *text;
        int64_t seconds; /* -1: none */
    } table[] = {
        {"20260102030000", NOW},
        {"20260102030000.123", NOW},
        {"20260102030000.1", NOW},
        {"19700101000000", 0},
        {"20240229235959", 1709251199},
        {"20161231235960", 1483228799}, /* a leap second */
        {"20260102030000.", -1},
        {"20260102030000x", -1},
        {"20260102030000.1x", -1},
        {"20260102030000.1.2", -1},
        {"2026010203000", -1},
        {"202601020300001", -1},
        {"", -1},
        {"20230229000000", -1},
        {"20261301000000", -1},
        {"20260001000000", -1},
        {"20260100000000", -1},
        {"20260132000000", -1},
        {"20260102240000", -1},
        {"20260102036000", -1},
        {"20260102030061", -1},
        {"2026 102030000", -1},
        {"-2260102030000", -1},
        {"2026.102030000", -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct wall_time t = {-1};
        int r = ftp_time_parse(table[i].text, strlen(table[i].text), &t);
        int64_t got = r < 0 ? -1 : wall_seconds(t);
        if (got != table[i].seconds || (r < 0 && (r != -EINVAL || t.us != -1)))
            CASE_FAILS("\"%s\": %d, %lld", table[i].text, r, (long long)got);
    }
}

static void formats_times_that_it_reads_again(void **state UNUSED)
{
    for (int64_t s = -62167219200; s < 253402300799; s += 86400LL * 1009 + 3723) {
        char text[FTP_TIME_MAX];
        struct wall_time t;
        ftp_time_format((struct wall_time){s * 1000000 + 999999}, text);
        assert_int_equal(strlen(text), 14);
        assert_int_equal(ftp_time_parse(text, 14, &t), 0);
        assert_true(t.us == s * 1000000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shows_a_long_line_as_ls_does),
        cmocka_unit_test(shows_facts_that_were_asked_for),
        cmocka_unit_test(says_when_a_list_is_full),
        cmocka_unit_test(reads_times),
        cmocka_unit_test(formats_times_that_it_reads_again),
    };
    return RUN_TESTS(tests);
}
