/* Requests and answers of Drive as bytes: every status and reason that has a meaning, and what
 * must not be believed. */

#include "../test.h"

#include <errno.h>

#include "storage/drive_api.h"
#include "sys/json.h"

static struct blob *blob_of(const char *text)
{
    return blob_new_copy(text, strlen(text));
}

static void urls_are_encoded_where_they_must_be(void **state)
{
    (void)state;
    AUTO_DONE(dynbuf) b;
    dynbuf_init(&b, 1000);
    const char *const params[] = {"q", "'a b' in parents & x", "fields", "files(id)", NULL};
    assert_int_equal(drive_url(&b, "https://h", "/drive/v3/files", params), 0);
    assert_string_equal(dynbuf_str(&b), "https://h/drive/v3/files?q=%27a%20b%27%20in%20parents%20"
                                        "%26%20x&fields=files%28id%29");
    dynbuf_reset(&b);
    assert_int_equal(drive_url(&b, "https://h", "/p", NULL), 0);
    assert_string_equal(dynbuf_str(&b), "https://h/p");
    AUTO_DONE(dynbuf) tiny;
    dynbuf_init(&tiny, 10);
    assert_int_equal(drive_url(&tiny, "https://h", "/p", params), -ENOSPC);
}

static void quotes_and_backslashes_of_a_name_do_not_end_it(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"cameras", "'cameras'"},
        {"", "''"},
        {"Anna's", "'Anna\\'s'"},
        {"a\\b", "'a\\\\b'"},
        {"' or name != '", "'\\' or name != \\''"},
        {"\\' or", "'\\\\\\' or'"},
        {"Gärten", "'Gärten'"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO_DONE(dynbuf) b;
        dynbuf_init(&b, 100);
        assert_int_equal(drive_quote(&b, cases[i][0]), 0);
        test_expect_text(cases[i][0], dynbuf_str(&b), cases[i][1]);
    }
}

static void a_new_file_is_described_in_full(void **state)
{
    (void)state;
    AUTO_DONE(dynbuf) b;
    struct drive_meta m = {
        .id = "ID1",
        .name = "human_front \"door\".jpg",
        .type = "image/jpeg",
        .parent = "FOLDER",
        .description = "Front Door: car",
        .created_at = {1767323045000000},
        .starred = true,
        .properties = {{"sd_key", "k"}, {"camera", "front"}, {"labels", ""}},
    };
    dynbuf_init(&b, 2000);
    assert_int_equal(drive_meta_write(&m, &b), 0);
    assert_string_equal(dynbuf_str(&b),
                        "{\"id\":\"ID1\",\"name\":\"human_front \\\"door\\\".jpg\","
                        "\"mimeType\":\"image/jpeg\",\"parents\":[\"FOLDER\"],"
                        "\"description\":\"Front Door: car\","
                        "\"createdTime\":\"2026-01-02T03:04:05.000Z\",\"starred\":true,"
                        "\"appProperties\":{\"sd_key\":\"k\",\"camera\":\"front\"}}");
    dynbuf_reset(&b);
    m = (struct drive_meta){
        .name = "n", .type = DRIVE_SHORTCUT_TYPE, .target = "T", .parent = "DAY"};
    assert_int_equal(drive_meta_write(&m, &b), 0);
    assert_string_equal(dynbuf_str(&b),
                        "{\"name\":\"n\",\"mimeType\":\"application/vnd.google-apps.shortcut\","
                        "\"parents\":[\"DAY\"],\"shortcutDetails\":{\"targetId\":\"T\"}}");
}

static void properties_are_cut_to_what_drive_takes(void **state)
{
    (void)state;
    char longest[400];
    for (size_t i = 0; i + 2 < sizeof(longest); i += 2)
        memcpy(longest + i, "\xc3\xa4", 2); /* two bytes each: a cut in the middle would show */
    longest[sizeof(longest) - 2] = '\0';
    static const char *const names[] = {"a", "ab", "camera", "labels"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        AUTO_DONE(dynbuf) b;
        dynbuf_init(&b, 2000);
        struct drive_meta m = {.properties = {{names[i], longest}}};
        assert_int_equal(drive_meta_write(&m, &b), 0);
        AUTO_JSON json_t *j = NULL;
        assert_int_equal(js_parse(b.data, b.len, 2000, &j, NULL), 0);
        const char *value =
            json_string_value(json_object_get(json_object_get(j, "appProperties"), names[i]));
        size_t both = strlen(names[i]) + strlen(value);
        if (both > DRIVE_PROPERTY_MAX || both < DRIVE_PROPERTY_MAX - 1 || strchr(value, '?'))
            CASE_FAILS("%s: %zu bytes: %s", names[i], both, value);
    }
}

static void a_multipart_body_has_both_parts_as_they_are(void **state)
{
    (void)state;
    static const char bytes[] = "\xff\xd8\0--B\r\n\xff\xd9";
    static const char wanted[] = "--XY\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{}"
                                 "\r\n--XY\r\nContent-Type: image/jpeg\r\n\r\n"
                                 "\xff\xd8\0--B\r\n\xff\xd9\r\n--XY--\r\n";
    AUTO_DONE(dynbuf) b;
    dynbuf_init(&b, 1000);
    assert_int_equal(drive_multipart(&b, "XY", "{}", "image/jpeg", bytes, sizeof(bytes) - 1), 0);
    assert_int_equal(b.len, sizeof(wanted) - 1);
    assert_memory_equal(b.data, wanted, b.len);
    dynbuf_done(&b);
    dynbuf_init(&b, 20);
    assert_int_equal(drive_multipart(&b, "XY", "{}", "image/jpeg", bytes, 5), -ENOSPC);
}

static void ranges_are_written_and_read(void **state)
{
    (void)state;
    static const struct {
        int64_t from, total;
        const char *text;
    } written[] = {
        {0, 10, "bytes 0-9/10"}, {262144, 1000000, "bytes 262144-999999/1000000"},
        {-1, 10, "bytes */10"},  {0, 0, "bytes */0"}, /* an empty file has no last byte */
        {-1, 0, "bytes */0"},
    };
    char buf[DRIVE_RANGE_MAX];
    for (size_t i = 0; i < ARRAY_LEN(written); i++)
        test_expect_text("range", drive_content_range(written[i].from, written[i].total, buf),
                         written[i].text);
    static const struct {
        const char *text;
        int64_t total;
        int r;
        int64_t next;
    } read[] = {
        {NULL, 10, 0, 0}, /* nothing kept */
        {"", 10, 0, 0},
        {"bytes=0-0", 10, 0, 1},
        {"bytes=0-9", 10, 0, 10},
        {"bytes=0-262143", 1000000, 0, 262144},
        {"bytes=0-10", 10, -EBADMSG, 0}, /* more than there is */
        {"bytes=5-9", 10, -EBADMSG, 0},
        {"bytes=0-", 10, -EBADMSG, 0},
        {"bytes=0-x", 10, -EBADMSG, 0},
        {"bytes=0--1", 10, -EBADMSG, 0},
        {"0-5", 10, -EBADMSG, 0},
        {"bytes=0-99999999999999999999", 10, -EBADMSG, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(read); i++) {
        int64_t next = -7;
        int r = drive_parse_range(read[i].text, read[i].total, &next);
        if (r != read[i].r || (r == 0 && next != read[i].next))
            CASE_FAILS("%s: %d, next %lld", read[i].text ? read[i].text : "(none)", r,
                       (long long)next);
    }
}

static void a_session_elsewhere_gets_neither_picture_nor_token(void **state)
{
    (void)state;
    static const struct {
        const char *url, *base;
        bool allowed, same;
    } cases[] = {
        {DRIVE_API_URL "/upload?upload_id=1", DRIVE_API_URL, true, true},
        {"http://127.0.0.1:99/up?x", "http://127.0.0.1:99", true, true},
        {"http://127.0.0.1:98/up?x", "http://127.0.0.1:99", false, false},
        {"https://content.googleapis.com/up", DRIVE_API_URL, true, false},
        {"http://content.googleapis.com/up", DRIVE_API_URL, false, false},
        {"https://googleapis.com.evil.example/up", DRIVE_API_URL, false, false},
        {"https://evil.example/x.googleapis.com", DRIVE_API_URL, false, false},
        {"https://evil.example?.googleapis.com", DRIVE_API_URL, false, false},
        {"https://user@evil.googleapis.com/", DRIVE_API_URL, false, false},
        {"https://.googleapis.com", DRIVE_API_URL, false, false},
        {"https://www.googleapis.com.", DRIVE_API_URL, false, false},
        {"https://www.googleapis.com:444/up", DRIVE_API_URL, false, false},
        {"/upload?id=1", DRIVE_API_URL, false, false},
        {"", DRIVE_API_URL, false, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (drive_session_allowed(cases[i].url, cases[i].base) != cases[i].allowed ||
            drive_same_origin(cases[i].url, cases[i].base) != cases[i].same)
            CASE_FAILS("%s", cases[i].url);
}

static void a_file_is_read(void **state)
{
    (void)state;
    AUTO(blob)
    body = blob_of(
        "{\"kind\":\"drive#file\",\"id\":\"I\",\"name\":\"n.jpg\",\"mimeType\":\"image/jpeg\","
        "\"parents\":[\"P\"],\"createdTime\":\"2026-01-02T03:04:05.250Z\",\"size\":\"12\","
        "\"md5Checksum\":\"0123456789abcdef0123456789abcdef\",\"starred\":true,\"trashed\":false,"
        "\"webViewLink\":\"https://d/"
        "x\",\"appProperties\":{\"sd_key\":\"K\",\"sd_target\":\"T\"}}");
    struct drive_file f;
    assert_int_equal(drive_parse_file(body, &f, NULL), 0);
    assert_string_equal(f.id, "I");
    assert_string_equal(f.name, "n.jpg");
    assert_string_equal(f.parent, "P");
    assert_string_equal(f.link, "https://d/x");
    assert_string_equal(f.key, "K");
    assert_string_equal(f.target, "T");
    assert_string_equal(f.md5, "0123456789abcdef0123456789abcdef");
    assert_int_equal(f.size, 12);
    assert_int_equal(f.created_at.us, 1767323045250000);
    assert_true(f.starred);
    assert_false(f.trashed);
}

static void what_is_no_file_is_not_taken_for_one(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",
        "{}",
        "[]",
        "null",
        "<html><body>Welcome to our hotel</body></html>",
        "{\"id\":7}",
        "{\"id\":\"\"}",
        "{\"id\":\"I\",\"size\":\"-1\"}",
        "{\"id\":\"I\",\"size\":\"9999999999999999999999\"}",
        "{\"id\":\"I\",\"createdTime\":\"yesterday\"}",
        "{\"id\":\"I\",\"id\":\"J\"}",
        "{\"id\":\"I\"",
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err e = {0};
        struct drive_file f;
        AUTO(blob) body = blob_of(cases[i]);
        if (drive_parse_file(cases[i][0] ? body : NULL, &f, &e) != -EBADMSG ||
            e.retry != ERR_LATER || e.code != -EBADMSG)
            CASE_FAILS("%s", cases[i]);
    }
}

static int count_file(void *arg, const struct drive_file *file)
{
    assert_non_null(file);
    return ++*(int *)arg == 3 ? 77 : 0;
}

static void lists_are_read_page_by_page(void **state)
{
    (void)state;
    char next[DRIVE_TOKEN_MAX];
    int n = 0;
    AUTO(blob) one = blob_of("{\"nextPageToken\":\"T\",\"files\":[{\"id\":\"a\"},{\"id\":\"b\"}]}");
    assert_int_equal(drive_parse_list(one, count_file, &n, next, NULL), 0);
    assert_int_equal(n, 2);
    assert_string_equal(next, "T");
    /* An empty page may have a successor. */
    AUTO(blob) empty = blob_of("{\"nextPageToken\":\"U\",\"files\":[]}");
    assert_int_equal(drive_parse_list(empty, count_file, &n, next, NULL), 0);
    assert_string_equal(next, "U");
    AUTO(blob) last = blob_of("{\"files\":[{\"id\":\"c\"},{\"id\":\"d\"}]}");
    assert_int_equal(drive_parse_list(last, count_file, &n, next, NULL), 77);
    assert_int_equal(n, 3);
    assert_string_equal(next, "");
    AUTO(blob) none = blob_of("{\"kind\":\"drive#about\"}");
    assert_int_equal(drive_parse_list(none, count_file, &n, next, NULL), -EBADMSG);
}

static void ids_are_read_up_to_what_there_is_room_for(void **state)
{
    (void)state;
    char ids[2][DRIVE_ID_MAX];
    AUTO(blob) three = blob_of("{\"ids\":[\"a\",\"b\",\"c\"]}");
    assert_int_equal(drive_parse_ids(three, ids, 2, NULL), 2);
    assert_string_equal(ids[1], "b");
    static const char *const bad[] = {"{}", "{\"ids\":[]}", "{\"ids\":[7]}", "{\"ids\":[\"\"]}",
                                      "nothing"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        AUTO(blob) body = blob_of(bad[i]);
        if (drive_parse_ids(body, ids, 2, NULL) != -EBADMSG)
            CASE_FAILS("%s", bad[i]);
    }
}

#define HTML "<html>Sorry</html>"
struct answer_case {
    long status;
    const char *reason; /* NULL: a page of HTML; "": no body */
    enum drive_verdict verdict;
    int code;
    enum err_retry retry;
    enum storage_trouble trouble;
};
static const struct answer_case answers[] = {
    {200, "", DRIVE_DONE, 0, 0, 0},
    {201, "", DRIVE_DONE, 0, 0, 0},
    {308, "", DRIVE_CONTINUE, 0, 0, 0},
    {400, "badRequest", DRIVE_WRONG, -EINVAL, ERR_NEVER, STORAGE_WELL},
    {400, "invalidParameter", DRIVE_WRONG, -EINVAL, ERR_NEVER, STORAGE_WELL},
    {400, "invalidSharingRequest", DRIVE_WRONG, -EINVAL, ERR_NEVER, STORAGE_WELL},
    {400, NULL, DRIVE_WAIT, -EAGAIN, ERR_LATER, STORAGE_AWAY},
    {401, "authError", DRIVE_REFUSED, -EACCES, ERR_LATER, STORAGE_LOGIN},
    {401, "", DRIVE_WAIT, -EAGAIN, ERR_LATER, STORAGE_AWAY},
    {401, NULL, DRIVE_WAIT, -EAGAIN, ERR_LATER, STORAGE_AWAY},
    {403, "rateLimitExceeded", DRIVE_SLOWER, -EBUSY, ERR_LATER, STORAGE_RATE},
    {403, "userRateLimitExceeded", DRIVE_SLOWER, -EBUSY, ERR_LATER, STORAGE_RATE},
    {403, "sharingRateLimitExceeded", DRIVE_SLOWER, -EBUSY, ERR_LATER, STORAGE_RATE},
    {429, "rateLimitExceeded", DRIVE_SLOWER, -EBUSY, ERR_LATER, STORAGE_RATE},
    {429, NULL, DRIVE_SLOWER, -EBUSY, ERR_LATER, STORAGE_RATE},
    {403, "dailyLimitExceeded", DRIVE_TOMORROW, -EBUSY, ERR_LATER, STORAGE_RATE},
    {403, "storageQuotaExceeded", DRIVE_FULL, -EDQUOT, ERR_LATER, STORAGE_QUOTA},
    {403, "numChildrenInNonRootLimitExceeded", DRIVE_FULL, -EDQUOT, ERR_LATER, STORAGE_QUOTA},
    {403, "activeItemCreationLimitExceeded", DRIVE_FULL, -EDQUOT, ERR_LATER, STORAGE_QUOTA},
    {403, "accessNotConfigured", DRIVE_FORBIDDEN, -EACCES, ERR_LATER, STORAGE_LOGIN},
    {403, "insufficientPermissions", DRIVE_FORBIDDEN, -EACCES, ERR_LATER, STORAGE_LOGIN},
    {403, "domainPolicy", DRIVE_FORBIDDEN, -EACCES, ERR_LATER, STORAGE_LOGIN},
    {403, "somethingNew", DRIVE_FORBIDDEN, -EACCES, ERR_LATER, STORAGE_LOGIN},
    {403, "appNotAuthorizedToFile", DRIVE_FOREIGN, -EPERM, ERR_LATER, STORAGE_LOGIN},
    {403, "insufficientFilePermissions", DRIVE_FOREIGN, -EPERM, ERR_LATER, STORAGE_LOGIN},
    {403, "cannotAddParent", DRIVE_WRONG, -EINVAL, ERR_NEVER, STORAGE_WELL},
    {403, "fieldNotWritable", DRIVE_WRONG, -EINVAL, ERR_NEVER, STORAGE_WELL},
    {403, NULL, DRIVE_WAIT, -EAGAIN, ERR_LATER, STORAGE_AWAY},
    {404, "notFound", DRIVE_GONE, -ENOENT, ERR_LATER, STORAGE_WELL},
    {404, NULL, DRIVE_WAIT, -EAGAIN, ERR_LATER, STORAGE_AWAY},
    {404, "", DRIVE_WAIT, -EAGAIN, ERR_LATER, STORAGE_AWAY},
    {408, "requestTimeout", DRIVE_WAIT, -EAGAIN, ERR_LATER, STORAGE_AWAY},
    {409, "fileIdInUse", DRIVE_EXISTS, -EEXIST, ERR_LATER, STORAGE_WELL},
    {409, NULL, DRIVE_WAIT, -EAGAIN, ERR_LATER, STORAGE_AWAY},
    {410, "notFound", DRIVE_GONE, -ENOENT, ERR_LATER, STORAGE_WELL},
    {410, NULL, DRIVE_WAIT, -EAGAIN, ERR_LATER, STORAGE_AWAY},
    {412, "conditionNotMet", DRIVE_RANGE, -ERANGE, ERR_LATER, STORAGE_WELL},
    {412, NULL, DRIVE_WAIT, -EAGAIN, ERR_LATER, STORAGE_AWAY},
    {413, "uploadTooLarge", DRIVE_WRONG, -EINVAL, ERR_NEVER, STORAGE_WELL},
    {413, NULL, DRIVE_WAIT, -EAGAIN, ERR_LATER, STORAGE_AWAY},
    {416, "requestedRangeNotSatisfiable", DRIVE_RANGE, -ERANGE, ERR_LATER, STORAGE_WELL},
    {416, "", DRIVE_WAIT, -EAGAIN, ERR_LATER, STORAGE_AWAY},
    {418, "teapot", DRIVE_WRONG, -EINVAL, ERR_NEVER, STORAGE_WELL},
    {500, "backendError", DRIVE_WAIT, -EAGAIN, ERR_LATER, STORAGE_AWAY},
    {500, "internalError", DRIVE_WAIT, -EAGAIN, ERR_LATER, STORAGE_AWAY},
    {502, NULL, DRIVE_WAIT, -EAGAIN, ERR_LATER, STORAGE_AWAY},
    {503, "", DRIVE_WAIT, -EAGAIN, ERR_LATER, STORAGE_AWAY},
    {504, "", DRIVE_WAIT, -EAGAIN, ERR_LATER, STORAGE_AWAY},
    {302, NULL, DRIVE_WAIT, -EAGAIN, ERR_LATER, STORAGE_AWAY},
    {0, "", DRIVE_WAIT, -EAGAIN, ERR_LATER, STORAGE_AWAY},
};

static struct blob *error_body(long status, const char *reason)
{
    char text[512];
    if (!reason)
        return blob_of(HTML);
    if (!reason[0])
        return NULL;
    (void)snprintf(text, sizeof(text),
                   "{\"error\":{\"code\":%ld,\"message\":\"Words of Google.\",\"errors\":[{"
                   "\"domain\":\"global\",\"reason\":\"%s\",\"message\":\"Words\"}]}}",
                   status, reason);
    return blob_of(text);
}

static void every_status_and_reason_has_its_meaning(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        const struct answer_case *c = &answers[i];
        char reason[DRIVE_REASON_MAX], text[128];
        AUTO(blob) body = error_body(c->status, c->reason);
        enum drive_verdict v = drive_judge(c->status, body, reason, text, sizeof(text));
        if (v != c->verdict)
            CASE_FAILS("%ld %s: %s", c->status, c->reason ? c->reason : "(html)",
                       drive_verdict_names[v]);
        if (v == DRIVE_DONE || v == DRIVE_CONTINUE)
            continue;
        struct storage_failure f;
        struct err e = {0};
        int r =
            drive_failure(v, "upload", c->status, reason, text, -1, (struct wall_time){0}, &f, &e);
        if (r != c->code || e.code != c->code || e.retry != c->retry || f.trouble != c->trouble ||
            (v != DRIVE_TOMORROW && f.pause_ms != (v == DRIVE_REFUSED ? 300000 : 0)))
            CASE_FAILS("%ld %s: %d %s trouble %d", c->status, c->reason ? c->reason : "(html)", r,
                       err_retry_name(e.retry), f.trouble);
        assert_non_null(strstr(e.text, "upload: HTTP "));
        if (c->reason && c->reason[0] &&
            (!strstr(e.text, c->reason) || !strstr(e.text, "Words of Google.")))
            CASE_FAILS("%s", e.text);
    }
}

static void a_sessions_answer_counts_by_its_number(void **state)
{
    (void)state;
    static const struct {
        long status;
        const char *reason;
        enum drive_verdict verdict;
    } cases[] = {
        {200, "", DRIVE_DONE},    {308, "", DRIVE_CONTINUE},
        {400, NULL, DRIVE_WRONG}, {401, NULL, DRIVE_REFUSED},
        {403, NULL, DRIVE_WRONG}, {403, "storageQuotaExceeded", DRIVE_FULL},
        {404, "", DRIVE_GONE},    {408, "", DRIVE_WAIT},
        {409, "", DRIVE_EXISTS},  {410, NULL, DRIVE_GONE},
        {412, "", DRIVE_RANGE},   {413, NULL, DRIVE_WRONG},
        {416, NULL, DRIVE_RANGE}, {429, NULL, DRIVE_SLOWER},
        {500, "", DRIVE_WAIT},    {503, NULL, DRIVE_WAIT},
        {0, "", DRIVE_WAIT},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char reason[DRIVE_REASON_MAX], text[128];
        AUTO(blob) body = error_body(cases[i].status, cases[i].reason);
        enum drive_verdict v = drive_judge(cases[i].status, body, reason, text, sizeof(text));
        v = drive_judge_session(cases[i].status, v);
        if (v != cases[i].verdict)
            CASE_FAILS("%ld: %s", cases[i].status, drive_verdict_names[v]);
    }
}

static void a_list_that_is_not_complete_is_none(void **state)
{
    (void)state;
    char next[DRIVE_TOKEN_MAX];
    AUTO(blob) body = blob_of("{\"incompleteSearch\":true,\"files\":[{\"id\":\"a\"}]}");
    AUTO(blob) fine = blob_of("{\"incompleteSearch\":false,\"files\":[]}");
    assert_int_equal(drive_parse_list(body, NULL, NULL, next, NULL), -EBADMSG);
    assert_int_equal(drive_parse_list(fine, NULL, NULL, next, NULL), 0);
}

static void the_newer_form_of_an_error_is_read_too(void **state)
{
    (void)state;
    char reason[DRIVE_REASON_MAX], text[128];
    AUTO(blob)
    body =
        blob_of("{\"error\":{\"code\":403,\"message\":\"m\\nn\",\"status\":\"PERMISSION_DENIED\","
                "\"details\":[{\"@type\":\"x\"},{\"@type\":\"google.rpc.ErrorInfo\","
                "\"reason\":\"RATE_LIMIT_EXCEEDED\"}]}}");
    assert_int_equal(drive_judge(403, body, reason, text, sizeof(text)), DRIVE_SLOWER);
    assert_string_equal(reason, "RATE_LIMIT_EXCEEDED");
    assert_string_equal(text, "m\\nn");
}

static void a_pause_that_is_asked_for_is_kept(void **state)
{
    (void)state;
    static const struct {
        enum drive_verdict v;
        int64_t retry_after_s, pause_ms;
        const char *now;
    } cases[] = {
        {DRIVE_SLOWER, 7, 7000, "2026-01-02T00:00:00Z"},
        {DRIVE_WAIT, 30, 30000, "2026-01-02T00:00:00Z"},
        {DRIVE_WAIT, 0, 0, "2026-01-02T00:00:00Z"},
        {DRIVE_SLOWER, 999999999, 86400000, "2026-01-02T00:00:00Z"},
        {DRIVE_GONE, 7, 0, "2026-01-02T00:00:00Z"},
        /* Midnight in California is 8 o'clock UTC at the latest. */
        {DRIVE_TOMORROW, -1, 8 * 3600000, "2026-01-02T00:00:00Z"},
        {DRIVE_TOMORROW, -1, 1000, "2026-01-02T07:59:59Z"},
        {DRIVE_TOMORROW, -1, 24 * 3600000, "2026-01-02T08:00:00Z"},
        {DRIVE_TOMORROW, -1, 8 * 3600000 + 1000, "2026-01-02T23:59:59Z"},
        {DRIVE_TOMORROW, 86400, 86400000, "2026-01-02T07:59:59Z"},
        {DRIVE_TOMORROW, -1, 9 * 3600000, "1969-12-31T23:00:00Z"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct storage_failure f;
        struct wall_time now;
        assert_int_equal(wall_parse_iso(cases[i].now, &now), 0);
        (void)drive_failure(cases[i].v, "x", 403, "", "", cases[i].retry_after_s, now, &f, NULL);
        if (f.pause_ms != cases[i].pause_ms)
            CASE_FAILS("case %zu: %lld ms", i, (long long)f.pause_ms);
    }
}

static void every_verdict_has_a_name(void **state)
{
    (void)state;
    for (int i = 0; i < DRIVE_VERDICT_COUNT; i++)
        assert_non_null(drive_verdict_names[i]);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_are_encoded_where_they_must_be),
        cmocka_unit_test(quotes_and_backslashes_of_a_name_do_not_end_it),
        cmocka_unit_test(a_new_file_is_described_in_full),
        cmocka_unit_test(properties_are_cut_to_what_drive_takes),
        cmocka_unit_test(a_multipart_body_has_both_parts_as_they_are),
        cmocka_unit_test(ranges_are_written_and_read),
        cmocka_unit_test(a_session_elsewhere_gets_neither_picture_nor_token),
        cmocka_unit_test(a_file_is_read),
        cmocka_unit_test(what_is_no_file_is_not_taken_for_one),
        cmocka_unit_test(lists_are_read_page_by_page),
        cmocka_unit_test(ids_are_read_up_to_what_there_is_room_for),
        cmocka_unit_test(every_status_and_reason_has_its_meaning),
        cmocka_unit_test(a_sessions_answer_counts_by_its_number),
        cmocka_unit_test(a_list_that_is_not_complete_is_none),
        cmocka_unit_test(the_newer_form_of_an_error_is_read_too),
        cmocka_unit_test(a_pause_that_is_asked_for_is_kept),
        cmocka_unit_test(every_verdict_has_a_name),
    };
    return RUN_TESTS(tests);
}
