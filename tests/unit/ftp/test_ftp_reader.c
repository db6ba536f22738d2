/* Command lines out of bytes, in pieces of every size. */

#include "../test.h"

#include <errno.h>

#include "base/dynbuf.h"
#include "base/mem.h"
#include "ftp/ftp_reader.h"

/* Bytes that may hold NUL, so with their length. */
#define BYTES(s) s, sizeof(s) - 1

struct reader_case {
    const char *name, *bytes;
    size_t size;
    const char *lines; /* each with a '|' behind it; NUL shown as '0' */
};

static const struct reader_case cases[] = {
    {"one line", BYTES("NOOP\r\n"), "NOOP|"},
    {"a bare line feed", BYTES("NOOP\n"), "NOOP|"},
    {"two at once", BYTES("USER cam\r\nPASS secret\r\n"), "USER cam|PASS secret|"},
    {"one and a half", BYTES("USER cam\r\nPASS sec"), "USER cam|"},
    {"empty ones", BYTES("\r\n\n\r\r\n"), "|||"},
    {"two carriage returns", BYTES("NOOP\r\r\n"), "NOOP|"},
    {"a carriage return inside", BYTES("NO\rOP\r\n"), "NO\rOP|"},
    {"spaces stay", BYTES("  PASS  a b \r\n"), "  PASS  a b |"},
    {"bytes above ASCII stay", BYTES("STOR b\xc3\xbc\x80\xe9.jpg\r\n"),
     "STOR b\xc3\xbc\x80\xe9.jpg|"},
    {"NUL inside stays", BYTES("STOR a\0b\r\n"), "STOR a0b|"},
    {"the NUL of a C string behind a line", BYTES("USER a\r\n\0PASS b\r\n\0\0NOOP\r\n"),
     "USER a|PASS b|NOOP|"},
    {"IP and DM before ABOR",
     BYTES("\xff\xf4\xff\xf2"
           "ABOR\r\n"),
     "ABOR|"},
    {"the urgent byte was lost: DM",
     BYTES("\xff\xf4\xff"
           "ABOR\r\n"),
     "ABOR|"},
    {"the urgent byte was lost: IAC",
     BYTES("\xff\xf4\xf2"
           "ABOR\r\n"),
     "ABOR|"},
    {"IP in the middle of a line", BYTES("NO\xff\xf4OP\r\n"), "NOOP|"},
    {"WILL, WONT, DO, DONT", BYTES("\xff\xfb\x01\xff\xfc\x02\xff\xfd\x03\xff\xfe\x04NOOP\r\n"),
     "NOOP|"},
    {"an option whose number is a command", BYTES("\xff\xfd\xffNOOP\r\n"), "NOOP|"},
    {"an option that lost its number", BYTES("A\xff\xfd\nNOOP\r\n"), "A|NOOP|"},
    {"a negotiation", BYTES("\xff\xfa\x18\x01xyz\xff\xf0NOOP\r\n"), "NOOP|"},
    {"a negotiation with IAC inside", BYTES("\xff\xfa\x18\xff\xffxyz\xff\xf0NOOP\r\n"), "NOOP|"},
    {"a negotiation that never ends", BYTES("A\xff\xfa\x18xyz\r\nNOOP\r\n"), "A|NOOP|"},
    {"a negotiation that ends with IAC and a line", BYTES("A\xff\xfa\xff\nNOOP\r\n"), "A|NOOP|"},
    {"IAC twice is a byte", BYTES("STOR \xff\xff.jpg\r\n"), "STOR \xff.jpg|"},
    {"are you there, erase, go ahead", BYTES("\xff\xf6\xff\xf7\xff\xf9NOOP\r\n"), "NOOP|"},
    {"nothing", BYTES(""), ""},
};

/* Takes what there is, as a session does after each read. */
static void drain(struct ftp_reader *r, struct dynbuf *out)
{
    const char *line = NULL;
    size_t len = 0;
    for (;;) {
        int n = ftp_reader_next(r, &line, &len);
        if (n == 0)
            return;
        if (n < 0) {
            assert_int_equal(n, -EMSGSIZE);
            (void)dynbuf_puts(out, "<too long>|");
            continue;
        }
        assert_int_equal(line[len], '\0');
        for (size_t i = 0; i < len; i++)
            (void)dynbuf_append(out, line[i] ? &line[i] : "0", 1);
        (void)dynbuf_puts(out, "|");
    }
}

static void reads_every_form_in_pieces_of_every_size(void **state UNUSED)
{
    for (size_t c = 0; c < ARRAY_LEN(cases); c++)
        for (size_t piece = 1; piece <= cases[c].size + 1; piece++) {
            struct ftp_reader r = {0};
            AUTO_DONE(dynbuf) out;
            dynbuf_init(&out, 4096);
            for (size_t at = 0; at < cases[c].size; at += piece) {
                size_t n = MIN(piece, cases[c].size - at);
                assert_int_equal(ftp_reader_feed(&r, cases[c].bytes + at, n), n);
                drain(&r, &out);
            }
            test_expect_text(cases[c].name, dynbuf_str(&out), cases[c].lines);
            ftp_reader_done(&r);
        }
}

static void feed_repeated(struct ftp_reader *r, char c, size_t count)
{
    for (size_t i = 0; i < count; i++)
        assert_int_equal(ftp_reader_feed(r, &c, 1), 1);
}

static void takes_a_line_of_the_limit_and_tells_a_longer_one_once(void **state UNUSED)
{
    static const char *const ends[] = {"\n", "\r\n"};
    for (size_t e = 0; e < ARRAY_LEN(ends); e++)
        for (int over = -1; over <= 3; over++) {
            struct ftp_reader r = {0};
            const char *line;
            size_t len;
            feed_repeated(&r, 'x', (size_t)(FTP_LINE_MAX + over));
            (void)ftp_reader_feed(&r, ends[e], strlen(ends[e]));
            (void)ftp_reader_feed(&r, "NOOP\r\n", 6);
            int n = ftp_reader_next(&r, &line, &len);
            if (over <= 0) {
                assert_int_equal(n, 1);
                assert_int_equal(len, FTP_LINE_MAX + over);
            } else {
                assert_int_equal(n, -EMSGSIZE);
            }
            assert_int_equal(ftp_reader_next(&r, &line, &len), 1);
            assert_string_equal(line, "NOOP");
            assert_int_equal(ftp_reader_next(&r, &line, &len), 0);
            ftp_reader_done(&r);
        }
}

static void does_not_take_a_cut_line_for_a_whole_one(void **state UNUSED)
{
    struct ftp_reader r = {0};
    AUTO_DONE(dynbuf) out;
    dynbuf_init(&out, 4096);
    feed_repeated(&r, 'x', FTP_LINE_MAX);
    (void)ftp_reader_feed(&r, BYTES("\r\r\r\rDELE all\r\nNOOP\r\n"));
    drain(&r, &out);
    assert_string_equal(dynbuf_str(&out), "<too long>|NOOP|");
    ftp_reader_done(&r);
}

static void tells_a_line_without_end_and_keeps_nothing_of_it(void **state UNUSED)
{
    struct ftp_reader r = {0};
    AUTO_DONE(dynbuf) out;
    dynbuf_init(&out, 4096);
    for (int i = 0; i < 100; i++) {
        feed_repeated(&r, 'x', 1000);
        drain(&r, &out);
        assert_true(r.room <= 2 * FTP_LINE_MAX);
    }
    assert_null(r.bytes);
    (void)ftp_reader_feed(&r, BYTES("end\r\nNOOP\r\n"));
    drain(&r, &out);
    assert_string_equal(dynbuf_str(&out), "<too long>|NOOP|");
    ftp_reader_done(&r);
}

static void tells_a_long_line_in_its_turn(void **state UNUSED)
{
    struct ftp_reader r = {0};
    AUTO_DONE(dynbuf) out;
    dynbuf_init(&out, 4096);
    (void)ftp_reader_feed(&r, "PWD\r\n", 5);
    feed_repeated(&r, 'x', 7000);
    (void)ftp_reader_feed(&r, "\r\nNOOP\r\n", 8);
    drain(&r, &out);
    assert_string_equal(dynbuf_str(&out), "PWD|<too long>|NOOP|");
    ftp_reader_done(&r);
}

static void lets_no_more_wait_than_its_limit(void **state UNUSED)
{
    struct ftp_reader r = {0};
    const char *line;
    size_t len, fed = 0, taken = 0;
    for (;;) {
        size_t n = ftp_reader_feed(&r, "NOOP\r\n", 6);
        fed += n;
        if (n < 6)
            break;
    }
    assert_int_equal(fed, FTP_AHEAD_MAX);
    assert_int_equal(ftp_reader_feed(&r, "x", 1), 0);
    assert_true(r.room <= FTP_AHEAD_MAX);
    while (ftp_reader_next(&r, &line, &len) == 1) {
        assert_string_equal(line, "NOOP");
        taken++;
    }
    assert_int_equal(taken, FTP_AHEAD_MAX / 6);
    assert_true(ftp_reader_feed(&r, "x", 1) == 1); /* there is room again */
    ftp_reader_done(&r);
}

static void costs_nothing_while_nothing_waits(void **state UNUSED)
{
    struct ftp_reader r = {0};
    const char *line;
    size_t len;
    (void)ftp_reader_feed(&r, "NOOP\r\n", 6);
    assert_int_equal(ftp_reader_next(&r, &line, &len), 1);
    assert_non_null(r.bytes); /* the line is still there */
    assert_int_equal(ftp_reader_next(&r, &line, &len), 0);
    assert_null(r.bytes);
    ftp_reader_done(&r);
}

static void knows_what_comes_next_without_taking_it(void **state UNUSED)
{
    static const struct {
        const char *bytes, *verb;
        bool is;
    } table[] = {
        {"ABOR\r\n", "ABOR", true},
        {"abor\r\n", "ABOR", true},
        {" aBoR \r\nNOOP\r\n", "ABOR", true},
        {"\xff\xf4\xff\xf2"
         "ABOR\r\n",
         "ABOR", true},
        {"STAT x\n", "STAT", true},
        {"ABORT\r\n", "ABOR", false},
        {"ABO\r\n", "ABOR", false},
        {"ABOR", "ABOR", false},
        {"NOOP\r\nABOR\r\n", "ABOR", false},
        {"", "ABOR", false},
        {"\r\n", "ABOR", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct ftp_reader r = {0};
        (void)ftp_reader_feed(&r, table[i].bytes, strlen(table[i].bytes));
        size_t used = r.used;
        if (ftp_reader_next_is(&r, table[i].verb) != table[i].is)
            CASE_FAILS("\"%s\"", table[i].bytes);
        assert_int_equal(r.used, used);
        assert_int_equal(r.taken, 0);
        ftp_reader_done(&r);
    }
}

static void forgets_what_came_in_clear_behind_auth_tls(void **state UNUSED)
{
    struct ftp_reader r = {0};
    const char *line;
    size_t len;
    (void)ftp_reader_feed(&r, BYTES("AUTH TLS\r\nUSER evil\r\nPASS x\r\nSTOR half"));
    assert_int_equal(ftp_reader_next(&r, &line, &len), 1);
    assert_string_equal(line, "AUTH TLS");
    ftp_reader_clear(&r);
    assert_null(r.bytes);
    (void)ftp_reader_feed(&r, BYTES("USER cam\r\n"));
    assert_int_equal(ftp_reader_next(&r, &line, &len), 1);
    assert_string_equal(line, "USER cam");
    ftp_reader_done(&r);
    /* Nor does half a Telnet sequence or half a long line reach over. */
    (void)ftp_reader_feed(&r, BYTES("\xff\xfa"));
    feed_repeated(&r, 'x', 9000);
    ftp_reader_clear(&r);
    (void)ftp_reader_feed(&r, BYTES("NOOP\r\n"));
    assert_int_equal(ftp_reader_next(&r, &line, &len), 1);
    assert_string_equal(line, "NOOP");
    ftp_reader_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_form_in_pieces_of_every_size),
        cmocka_unit_test(takes_a_line_of_the_limit_and_tells_a_longer_one_once),
        cmocka_unit_test(does_not_take_a_cut_line_for_a_whole_one),
        cmocka_unit_test(tells_a_line_without_end_and_keeps_nothing_of_it),
        cmocka_unit_test(tells_a_long_line_in_its_turn),
        cmocka_unit_test(lets_no_more_wait_than_its_limit),
        cmocka_unit_test(costs_nothing_while_nothing_waits),
        cmocka_unit_test(knows_what_comes_next_without_taking_it),
        cmocka_unit_test(forgets_what_came_in_clear_behind_auth_tls),
    };
    return RUN_TESTS(tests);
}
