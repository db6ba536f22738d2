#include "../test.h"

#include <zlib.h>

#include "base/text.h"
#include "report/event.h"
#include "sys/gzip.h"

static const struct event_origin origin = {.release = "snapshot-processor@1.2.3",
                                           .environment = "garden",
                                           .server_name = "pi",
                                           .version = "1.2.3"};

static struct event_record record(enum log_level level, const char *id, const char *text)
{
    struct log_record from = {.level = level,
                              .at = {1767323045123456},
                              .id = id,
                              .stage = "fetch",
                              .camera = "porch",
                              .snapshot = "00ff",
                              .text = text};
    struct event_record r;
    event_record_copy(&r, &from);
    return r;
}

static const char *at(const json_t *j, const char *key)
{
    const char *text = json_string_value(json_object_get(j, key));
    return text ? text : "(none)";
}

static void an_error_is_an_event_grouped_by_its_id(void **state UNUSED)
{
    struct event_record r = record(LOG_LEVEL_ERROR, "fetch-failed", "it is wrong");
    struct event_record crumbs[] = {record(LOG_LEVEL_NOTICE, "started", "3 cameras"),
                                    record(LOG_LEVEL_WARNING, "slow", "slow")};
    char id[EVENT_ID_SIZE];
    event_new_id(id);
    AUTO_JSON json_t *e = event_of_record(&origin, NULL, id, &r, 7, crumbs, 2);
    assert_string_equal(at(e, "event_id"), id);
    assert_string_equal(at(e, "timestamp"), "2026-01-02T03:04:05.123Z");
    assert_string_equal(at(e, "level"), "error");
    assert_string_equal(at(e, "platform"), "native");
    assert_string_equal(at(e, "message"), "it is wrong");
    assert_string_equal(at(e, "release"), "snapshot-processor@1.2.3");
    assert_string_equal(at(e, "environment"), "garden");
    assert_string_equal(at(e, "server_name"), "pi");
    const json_t *print = json_object_get(e, "fingerprint");
    assert_int_equal(json_array_size(print), 1);
    assert_string_equal(json_string_value(json_array_get(print, 0)), "fetch-failed");
    const json_t *tags = json_object_get(e, "tags");
    assert_string_equal(at(tags, "stage"), "fetch");
    assert_string_equal(at(tags, "camera"), "porch");
    assert_string_equal(at(tags, "snapshot"), "00ff");
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(e, "extra"), "occurrences")), 7);
    const json_t *values = json_object_get(json_object_get(e, "breadcrumbs"), "values");
    assert_int_equal(json_array_size(values), 2);
    assert_string_equal(at(json_array_get(values, 0), "level"), "info"); /* Sentry has no notice */
    assert_string_equal(at(json_array_get(values, 1), "category"), "slow");
    const json_t *contexts = json_object_get(e, "contexts");
    assert_string_equal(at(json_object_get(contexts, "os"), "name"), "Linux");
    assert_non_null(json_object_get(json_object_get(contexts, "device"), "arch"));
}

static void ids_are_uuids_of_version_4(void **state UNUSED)
{
    char one[EVENT_ID_SIZE], two[EVENT_ID_SIZE];
    event_new_id(one);
    event_new_id(two);
    assert_int_equal(strlen(one), 32);
    assert_int_equal(strspn(one, "0123456789abcdef"), 32);
    assert_int_equal(one[12], '4');
    assert_non_null(strchr("89ab", one[16]));
    assert_string_not_equal(one, two);
}

/* Whatever a camera or a server puts into a line: an event is valid UTF-8 within its limits. */
static void odd_and_long_text_fits(void **state UNUSED)
{
    char text[4000];
    memset(text, '\x01', sizeof(text)); /* escaped, each takes six bytes */
    text[sizeof(text) - 1] = '\0';
    struct event_record worst = record(LOG_LEVEL_ERROR, "id", text);
    static struct event_record crumbs[EVENT_CRUMBS_MAX];
    for (size_t i = 0; i < ARRAY_LEN(crumbs); i++)
        crumbs[i] = worst;
    char id[EVENT_ID_SIZE];
    event_new_id(id);
    AUTO_JSON json_t *e = event_of_record(&origin, NULL, id, &worst, 1, crumbs, ARRAY_LEN(crumbs));
    AUTO_DONE(dynbuf) out = {0};
    dynbuf_init(&out, EVENT_BYTES_MAX);
    assert_int_equal(js_write(e, &out), 0);
    struct event_record bad = record(LOG_LEVEL_ERROR, "id", "caf\xe9 \xff");
    AUTO_JSON json_t *b = event_of_record(&origin, NULL, id, &bad, 1, NULL, 0);
    assert_string_equal(at(b, "message"), "caf? ?");
    memset(text, 'a', sizeof(text));
    memcpy(text + EVENT_TEXT_MAX - 2, "\xe2\x82\xac", 3); /* cut before it, not within */
    struct event_record cut = record(LOG_LEVEL_ERROR, "id", text);
    assert_int_equal(strlen(cut.text), EVENT_TEXT_MAX - 2);
}

static void all_texts_are_scrubbed(void **state UNUSED)
{
    AUTO(scrub) s = scrub_new();
    scrub_add(s, "c4n4ry");
    struct event_record r = record(LOG_LEVEL_ERROR, "id", "text c4n4ry");
    text_copy(r.camera, sizeof(r.camera), "cam c4n4ry");
    text_copy(r.stage, sizeof(r.stage), "c4n4ry");
    char id[EVENT_ID_SIZE];
    event_new_id(id);
    AUTO_JSON json_t *e = event_of_record(&origin, s, id, &r, 1, &r, 1);
    AUTO_FREE char *text = js_text(e);
    assert_null(strstr(text, "c4n4ry"));
    assert_non_null(strstr(text, "text ***"));
}

static void an_envelope_is_three_lines_with_the_length_in_bytes(void **state UNUSED)
{
    static const char event[] = "{\"message\":\"\xc3\xa4\"}";
    AUTO_DONE(dynbuf) out = {0};
    dynbuf_init(&out, 4096);
    assert_int_equal(event_envelope("9ec79c33ec9942ab8353589fcb2e04dc", event, strlen(event),
                                    (struct wall_time){1767323045123456}, "1.2.3", &out),
                     0);
    assert_string_equal(out.data, "{\"event_id\":\"9ec79c33ec9942ab8353589fcb2e04dc\",\"sent_at\":"
                                  "\"2026-01-02T03:04:05.123Z\",\"sdk\":{\"name\":\"snapshotd\","
                                  "\"version\":\"1.2.3\"}}\n"
                                  "{\"type\":\"event\",\"length\":16,\"content_type\":"
                                  "\"application/json\"}\n"
                                  "{\"message\":\"\xc3\xa4\"}\n");
}

static void packed_bytes_unpack_to_the_same(void **state UNUSED)
{
    static char plain[100000], back[100000];
    for (size_t i = 0; i < sizeof(plain); i++)
        plain[i] = (char)(i * i >> 3);
    AUTO_DONE(dynbuf) packed = {0};
    dynbuf_init(&packed, 200000);
    assert_int_equal(dynbuf_puts(&packed, "head"), 0);
    assert_int_equal(gzip_pack(plain, sizeof(plain), &packed), 0);
    assert_memory_equal(packed.data, "head\x1f\x8b", 6);
    z_stream z = {.next_in = (Bytef *)packed.data + 4,
                  .avail_in = (uInt)packed.len - 4,
                  .next_out = (Bytef *)back,
                  .avail_out = sizeof(back)};
    assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK);
    assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
    assert_int_equal(inflateEnd(&z), Z_OK);
    assert_memory_equal(plain, back, sizeof(plain));
    AUTO_DONE(dynbuf) small = {0};
    dynbuf_init(&small, 100);
    assert_true(gzip_pack(plain, sizeof(plain), &small) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_is_an_event_grouped_by_its_id),
        cmocka_unit_test(ids_are_uuids_of_version_4),
        cmocka_unit_test(odd_and_long_text_fits),
        cmocka_unit_test(all_texts_are_scrubbed),
        cmocka_unit_test(an_envelope_is_three_lines_with_the_length_in_bytes),
        cmocka_unit_test(packed_bytes_unpack_to_the_same),
    };
    return RUN_TESTS(tests);
}
