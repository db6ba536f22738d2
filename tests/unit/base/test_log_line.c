#include "../test.h"

#include "base/log_line.h"
#include "base/text.h"

static const struct log_source source = {.host = "porch.lan", .name = "snapshotd", .pid = 4711};

static struct log_record record(const char *text)
{
    return (struct log_record){.level = LOG_LEVEL_WARNING,
                               .at = {1767323045123456},
                               .id = "fetch-failed",
                               .stage = "fetch.0",
                               .camera = "porch",
                               .snapshot = "00ff",
                               .text = text};
}

static void expect(const char *out, size_t len, const char *want)
{
    assert_int_equal(len, strlen(want));
    assert_memory_equal(out, want, len);
}

static void writes_rfc_5424_with_our_fields(void **state UNUSED)
{
    char out[LOG_WIRE_MAX];
    struct log_record r = record("refused");
    size_t n = log_line_syslog(&r, &source, LOG_FORMAT_TEXT, 7, LOG_WIRE_MAX, out);
    expect(out, n,
           "<28>1 2026-01-02T03:04:05.123Z porch.lan snapshotd 4711 fetch-failed "
           "[meta sequenceId=\"7\"][snapshotd@32473 stage=\"fetch.0\" camera=\"porch\" "
           "snapshot=\"00ff\"] fetch.0: camera \"porch\": refused [fetch-failed 00ff]");
}

static void leaves_out_what_there_is_not(void **state UNUSED)
{
    char out[LOG_WIRE_MAX];
    const struct log_source nobody = {.host = "", .name = "", .pid = 1};
    struct log_record r = record("x");
    r.stage = r.camera = r.snapshot = "";
    r.level = LOG_LEVEL_ERROR;
    size_t n = log_line_syslog(&r, &nobody, LOG_FORMAT_TEXT, 1, LOG_WIRE_MAX, out);
    expect(out, n,
           "<27>1 2026-01-02T03:04:05.123Z - - 1 fetch-failed [meta sequenceId=\"1\"] x "
           "[fetch-failed]");
}

static void escapes_fields_as_rfc_5424_wants(void **state UNUSED)
{
    char out[LOG_WIRE_MAX];
    struct log_record r = record("x");
    const struct log_source odd = {.host = "a b", .name = "sn\xc3\xa4p", .pid = 1};
    r.stage = r.snapshot = "";
    r.camera = "a\"b\\c]d\ne";
    size_t n = log_line_syslog(&r, &odd, LOG_FORMAT_TEXT, 1, LOG_WIRE_MAX, out);
    expect(out, n,
           "<28>1 2026-01-02T03:04:05.123Z a_b sn__p 1 fetch-failed [meta sequenceId=\"1\"]"
           "[snapshotd@32473 camera=\"a\\\"b\\\\c\\]d\\\\ne\"] "
           "camera \"a\\\"b\\\\c]d\\ne\": x [fetch-failed]");
}

static void marks_utf_8_but_not_ascii(void **state UNUSED)
{
    char out[LOG_WIRE_MAX + 1];
    struct log_record r = record("gr\xc3\xbc\xc3\x9f");
    size_t n = log_line_syslog(&r, &source, LOG_FORMAT_TEXT, 1, LOG_WIRE_MAX, out);
    out[n] = '\0';
    assert_non_null(strstr(out, "] \xef\xbb\xbf"
                                "fetch.0: camera"));
    r = record("gru\xff"); /* not UTF-8, so it is escaped to ASCII */
    n = log_line_syslog(&r, &source, LOG_FORMAT_TEXT, 1, LOG_WIRE_MAX, out);
    out[n] = '\0';
    assert_null(strstr(out, "\xef\xbb\xbf"));
    assert_non_null(strstr(out, "gru\\xff"));
}

/* A cut datagram is still a whole line, and a JSON object stays one. */
static void cuts_the_sentence_to_a_datagram(void **state UNUSED)
{
    static const char *const fillers[] = {"x", "\n", "\033", "\xff", "\"", "\xe2\x82\xac"};
    for (int format = 0; format < LOG_FORMAT_COUNT; format++)
        for (size_t i = 0; i < ARRAY_LEN(fillers); i++) {
            char text[LOG_TEXT_MAX] = "", out[LOG_WIRE_MAX + 1];
            while (strlen(text) + strlen(fillers[i]) < sizeof(text))
                strncat(text, fillers[i], 4);
            struct log_record r = record(text);
            size_t n =
                log_line_syslog(&r, &source, (enum log_format)format, 1, LOG_DATAGRAM_MAX, out);
            out[n] = '\0';
            assert_true(n > 1000 && n <= LOG_DATAGRAM_MAX);
            assert_true(
                text_ends_with(out, format == LOG_FORMAT_JSON ? "\"}" : " [fetch-failed 00ff]"));
            char whole[LOG_WIRE_MAX];
            if (log_line_syslog(&r, &source, (enum log_format)format, 1, LOG_WIRE_MAX, whole) > n)
                assert_non_null(strstr(out, "..."));
            for (size_t at = 0; at < n;) { /* no half characters */
                size_t one = text_utf8_length(out + at, n - at);
                assert_true(one > 0);
                at += one;
            }
        }
}

static void writes_local_syslog_as_the_c_library(void **state UNUSED)
{
    char out[LOG_WIRE_MAX];
    struct log_record r = record("a\nb");
    size_t n = log_line_local(&r, &source, LOG_FORMAT_TEXT, out);
    expect(out, n,
           "<28>Jan  2 03:04:05 snapshotd[4711]: fetch.0: camera \"porch\": a\\nb "
           "[fetch-failed 00ff]");
}

static void writes_json_in_a_fixed_order(void **state UNUSED)
{
    char out[LOG_WIRE_MAX];
    struct log_record r = record("x");
    size_t n = log_line_local(&r, &source, LOG_FORMAT_JSON, out);
    expect(out, n,
           "<28>Jan  2 03:04:05 snapshotd[4711]: {\"timestamp\":\"2026-01-02T03:04:05.123Z\","
           "\"level\":\"warning\",\"id\":\"fetch-failed\",\"stage\":\"fetch.0\",\"camera\":"
           "\"porch\",\"snapshot\":\"00ff\",\"message\":\"x\"}");
}

static void writes_the_journals_fields(void **state UNUSED)
{
    char out[LOG_WIRE_MAX];
    struct log_record r = record("x");
    size_t n = log_line_journal(&r, &source, LOG_FORMAT_TEXT, out);
    expect(out, n,
           "MESSAGE=fetch.0: camera \"porch\": x [fetch-failed 00ff]\nPRIORITY=4\n"
           "SYSLOG_FACILITY=3\nSYSLOG_IDENTIFIER=snapshotd\nSYSLOG_PID=4711\n"
           "SNAPSHOTD_ID=fetch-failed\nSNAPSHOTD_STAGE=fetch.0\nSNAPSHOTD_CAMERA=porch\n"
           "SNAPSHOTD_SNAPSHOT=00ff\n");
}

/* In binary form, so that no field can be forged; other control characters are escaped. */
static void gives_the_journal_several_lines_with_their_length(void **state UNUSED)
{
    static const char want[] = "MESSAGE\n\x19\0\0\0\0\0\0\0a\nPRIORITY=0\n\\x1b[2J [id]\n"
                               "PRIORITY=6\n";
    char out[LOG_WIRE_MAX];
    struct log_record r = {.level = LOG_LEVEL_INFO,
                           .id = "id",
                           .stage = "",
                           .camera = "",
                           .snapshot = "",
                           .text = "a\nPRIORITY=0\n\033[2J"};
    size_t n = log_line_journal(&r, &source, LOG_FORMAT_TEXT, out);
    assert_true(n > sizeof(want) - 1);
    assert_int_equal(out[8], (int)strlen("a\nPRIORITY=0\n\\x1b[2J [id]"));
    assert_memory_equal(out + 9, want + 9, sizeof(want) - 1 - 9);
}

static void fits_whatever_comes(void **state UNUSED)
{
    char text[LOG_TEXT_MAX], camera[64], out[LOG_WIRE_MAX];
    memset(text, '\033', sizeof(text));
    memset(camera, '"', sizeof(camera));
    text[sizeof(text) - 1] = camera[sizeof(camera) - 1] = '\0';
    struct log_record r = record(text);
    r.camera = camera;
    for (int format = 0; format < LOG_FORMAT_COUNT; format++) {
        enum log_format f = (enum log_format)format;
        assert_true(log_line_syslog(&r, &source, f, 1, LOG_DATAGRAM_MAX, out) <= LOG_DATAGRAM_MAX);
        assert_true(log_line_syslog(&r, &source, f, 1, LOG_WIRE_MAX, out) < LOG_WIRE_MAX);
        assert_true(log_line_local(&r, &source, f, out) < LOG_WIRE_MAX);
        assert_true(log_line_journal(&r, &source, f, out) < LOG_WIRE_MAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_rfc_5424_with_our_fields),
        cmocka_unit_test(leaves_out_what_there_is_not),
        cmocka_unit_test(escapes_fields_as_rfc_5424_wants),
        cmocka_unit_test(marks_utf_8_but_not_ascii),
        cmocka_unit_test(cuts_the_sentence_to_a_datagram),
        cmocka_unit_test(writes_local_syslog_as_the_c_library),
        cmocka_unit_test(writes_json_in_a_fixed_order),
        cmocka_unit_test(writes_the_journals_fields),
        cmocka_unit_test(gives_the_journal_several_lines_with_their_length),
        cmocka_unit_test(fits_whatever_comes),
    };
    return RUN_TESTS(tests);
}
