#include "golden.h"

#include <errno.h>
#include <sys/resource.h>

#include "base/text.h"
#include "wire/trigger_message.h"

#define WHEN 1767323045
#define KEY "event.trigger.snapshot"

static const struct wall_time arrival = {42000000};

/* Of exactly that size, so that a sanitizer sees a byte read too many. */
static int decode(const void *body, size_t size, struct trigger_message *ret, struct err *e)
{
    AUTO_FREE void *exact = size ? xmemdup(body, size) : NULL;
    *e = (struct err){0};
    return trigger_message_decode(KEY, exact, size, arrival, ret, e);
}

static void decodes_what_the_original_library_writes(void **state)
{
    (void)state;
    if (!getenv("SOURCE_ROOT"))
        skip();
    static const struct {
        const char *name;
        int64_t fraction_us;
        const char *traceparent;
    } cases[] = {
        {"trigger_int", 0, ""},
        {"trigger_float", 250000, ""},
        {"trigger_text", 0, ""},
        {"trigger_ext4", 0, ""},
        {"trigger_ext8", 250000, ""},
        {"trigger_ext12", 250000, ""},
        {"trigger_picture", 0, ""},
        {"trigger_traced", 0, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(blob) body = golden_read(cases[i].name);
        struct trigger_message m;
        struct err e;
        if (decode(body->data, body->size, &m, &e) < 0)
            CASE_FAILS("%s: %s", cases[i].name, e.text);
        if (m.event_at.us != WHEN * INT64_C(1000000) + cases[i].fraction_us)
            CASE_FAILS("%s: %lld", cases[i].name, (long long)m.event_at.us);
        test_expect_text(cases[i].name, m.note, "");
        test_expect_text(cases[i].name, m.device_key, "Front Door Camera");
        test_expect_text(cases[i].name, m.device_label, "Front Door");
        test_expect_text(cases[i].name, m.params.user, "admin");
        test_expect_text(cases[i].name, m.params.password, "pw");
        test_expect_text(cases[i].name, m.params.address, "192.0.2.7:88");
        test_expect_text(cases[i].name, m.traceparent, cases[i].traceparent);
    }
}

static void refuses_every_truncation(void **state)
{
    (void)state;
    if (!getenv("SOURCE_ROOT"))
        skip();
    AUTO(blob) body = golden_read("trigger_traced");
    for (size_t size = 0; size < body->size; size++) {
        struct trigger_message m;
        struct err e;
        if (decode(body->data, size, &m, &e) != -EBADMSG)
            CASE_FAILS("%zu bytes: %s", size, e.text);
        assert_true(text_starts_with(e.text, "the body cannot be read as MessagePack: cut off: "));
    }
}

static void answers_to_all_first_bytes(void **state)
{
    (void)state;
    if (!getenv("SOURCE_ROOT"))
        skip();
    AUTO(blob) body = golden_read("trigger_int");
    for (int first = 0; first < 256; first++) {
        AUTO_FREE uint8_t *bent = xmemdup(body->data, body->size);
        char excerpt[TRIGGER_EXCERPT_MAX];
        struct trigger_message m;
        struct err e;
        bent[0] = (uint8_t)first;
        int alone = decode(bent, 1, &m, &e);
        int with_rest = decode(bent, body->size, &m, &e);
        if (alone >= 0 || (with_rest == 0) != (first == body->data[0]))
            CASE_FAILS("%02x: %d %d", (unsigned)first, alone, with_rest);
        assert_non_null(strstr(trigger_message_excerpt(bent, body->size, excerpt), " bytes)"));
    }
}

/* Bodies in pieces: a trigger that is right but for one thing. */
#define S(s) s, sizeof(s) - 1
#define TIME "\xa9timestamp\xce\x69\x57\x35\xa5"
#define OUT "\xb0output_triggered"
#define DKEY                                                                                       \
    "\xaa"                                                                                         \
    "device_key\xa5"                                                                               \
    "A Cam"
#define DLABEL                                                                                     \
    "\xac"                                                                                         \
    "device_label\xa1"                                                                             \
    "A"
#define DPARAMS                                                                                    \
    "\xad"                                                                                         \
    "device_params\xaau:p@cam:80"
#define OUTPUT OUT "\x83" DKEY DLABEL DPARAMS

static void tells_what_is_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        int code;
        const char *text;
    } cases[] = {
#define NO "the body cannot be read as MessagePack: "
        {S(""), -EBADMSG, NO "cut off: it has 0 bytes, and a value begins at 0"},
        {S("\1"), -EINVAL, "the body is an integer, not a map"},
        {S("{\"timestamp\": 1}"), -EINVAL, "the body is an integer, not a map"},
        {S("\xc0"), -EINVAL, "the body is nil, not a map"},
        {S("\xa3"
           "abc"),
         -EINVAL, "the body is text, not a map"},
        {S("\x91\x80"), -EINVAL, "the body is an array, not a map"},
        {S("\xc1"), -EBADMSG, NO "byte 0xc1 at 0 begins no value"},
        {S("\xdd\xff\0\0\0"), -EBADMSG,
         NO "cut off: an array of 4278190080 begins at byte 0, 0 bytes are left"},
        {S("\xdf\xff\xff\xff\xff"), -EBADMSG,
         NO "cut off: a map of 4294967295 begins at byte 0, 0 bytes are left"},
        {S("\x81\xa9timestamp\xc6\xff\xff\xff\xff"), -EBADMSG,
         NO "cut off: binary of 4294967295 bytes begins at byte 11, 0 bytes are left"},
        {S("\x82" TIME OUTPUT "\xc0"), -EBADMSG, NO "1 bytes follow the end at byte 91"},
        {S("\x82" TIME OUTPUT "\x82" TIME OUTPUT), -EBADMSG,
         NO "91 bytes follow the end at byte 91"},
        {S("\x80"), -EINVAL, "no output_triggered"},
        {S("\x81" TIME), -EINVAL, "no output_triggered"},
        {S("\x82" TIME OUT "\xc0"), -EINVAL, "output_triggered is nil, not a map"},
        {S("\x82" TIME OUT "\x91\xc0"), -EINVAL, "output_triggered is an array, not a map"},
        {S("\x82" TIME OUT "\xa1x"), -EINVAL, "output_triggered is text, not a map"},
        {S("\x81" OUTPUT), -EINVAL, "no timestamp"},
        {S("\x82\xa9timestamp\xc0" OUTPUT), -EINVAL, "timestamp: nil is no time"},
        {S("\x82\xa9timestamp\x81\1\2" OUTPUT), -EINVAL, "timestamp: a map is no time"},
        {S("\x82\xa9timestamp\xd6\5abcd" OUTPUT), -EINVAL,
         "timestamp: an extension of type 5 is no time"},
        {S("\x82" TIME OUT "\x82" DLABEL DPARAMS), -EINVAL, "no device_key in output_triggered"},
        {S("\x82" TIME OUT "\x82" DKEY DPARAMS), -EINVAL, "no device_label in output_triggered"},
        {S("\x82" TIME OUT "\x82" DKEY DLABEL), -EINVAL, "no device_params in output_triggered"},
        {S("\x82" TIME OUT "\x83\xaa"
           "device_key\1" DLABEL DPARAMS),
         -EINVAL, "device_key is an integer, not text"},
        {S("\x82" TIME OUT "\x83\xaa"
           "device_key\xc0" DLABEL DPARAMS),
         -EINVAL, "device_key is nil, not text"},
        {S("\x82" TIME OUT "\x83\xaa"
           "device_key\xc4\1x" DLABEL DPARAMS),
         -EINVAL, "device_key is binary, not text"},
        {S("\x82" TIME OUT "\x83\xaa"
           "device_key\xa0" DLABEL DPARAMS),
         -EINVAL, "device_key is empty"},
        {S("\x82" TIME OUT "\x83\xaa"
           "device_key\xa3"
           "a\xff"
           "b" DLABEL DPARAMS),
         -EINVAL, "device_key is not UTF-8 at its byte 1"},
        {S("\x82" TIME OUT "\x83\xaa"
           "device_key\xa3"
           "a\0b" DLABEL DPARAMS),
         -EINVAL, "device_key has a NUL byte in it"},
        {S("\x82" TIME OUT "\x83" DKEY "\xac"
           "device_label\x90" DPARAMS),
         -EINVAL, "device_label is an array, not text"},
        {S("\x82" TIME OUT "\x83" DKEY DLABEL "\xad"
           "device_params\x80"),
         -EINVAL, "device_params is a map, not text"},
        {S("\x82" TIME OUT "\x83" DKEY DLABEL "\xad"
           "device_params\xa3"
           "cam"),
         -EINVAL,
         "device_params: no '@' between the login and the host; wanted is"
         " user:password@host:port[,rtsp_port]"},
        /* A key of the same name at another level or of another type is another key. */
        {S("\x83" TIME DKEY OUT "\x82" DLABEL DPARAMS), -EINVAL,
         "no device_key in output_triggered"},
        {S("\x82\xc4\x09timestamp\1" OUTPUT), -EINVAL, "no timestamp"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct trigger_message m = {.params = {.port = -1}};
        struct err e;
        int r = decode(cases[i].bytes, cases[i].size, &m, &e);
        test_expect_text("error", e.text, cases[i].text);
        assert_int_equal(r, cases[i].code);
        assert_int_equal(e.retry, ERR_NEVER);
        assert_int_equal(m.params.port, -1); /* nothing is written */
    }
}

static void bounds_the_texts(void **state)
{
    (void)state;
    static const struct {
        const char *field;
        size_t size_max;
    } cases[] = {{"device_key", 127}, {"device_label", 127}, {"device_params", 655}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (size_t size = cases[i].size_max; size <= cases[i].size_max + 1; size++) {
            AUTO_FREE char *text = xcalloc(1, size + 1);
            struct dynbuf b;
            struct trigger_message m;
            struct err e;
            memset(text, 'x', size);
            dynbuf_init(&b, 4096);
            (void)dynbuf_append(&b, S("\x82" TIME OUT "\x84" DKEY DLABEL DPARAMS));
            (void)dynbuf_printf(&b, "%c%s\xda", (char)(0xa0 | strlen(cases[i].field)),
                                cases[i].field);
            (void)dynbuf_append(&b, (char[]){(char)(size >> 8), (char)size}, 2);
            (void)dynbuf_puts(&b, text);
            (void)decode(b.data, b.len, &m, &e);
            char wanted[ERR_TEXT_MAX];
            (void)snprintf(wanted, sizeof(wanted), "%s has %zu bytes, the limit is %zu",
                           cases[i].field, size, cases[i].size_max);
            if ((strcmp(e.text, wanted) == 0) != (size > cases[i].size_max))
                CASE_FAILS("%s of %zu: %s", cases[i].field, size, e.text);
            dynbuf_done(&b);
        }
    }
}

static void steps_over_what_it_does_not_know(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
    } cases[] = {
        {S("\x82" TIME OUTPUT)},
        {S("\x82" OUTPUT TIME)},
        {S("\xde\0\2" TIME OUTPUT)},
        {S("\xdf\0\0\0\2" TIME OUTPUT)},
        {S("\x83" TIME OUTPUT "\xa1x\x92\x81\1\2\xc4\1x")},
        {S("\x83\1\2" TIME OUTPUT)}, /* keys that are no text */
        {S("\x83\xc0\xc0" TIME OUTPUT)},
        {S("\x83\x81\1\x92\2\3\x81\1\2" TIME OUTPUT)},
        {S("\x83\xcb\0\0\0\0\0\0\0\0\xc2" TIME OUTPUT)},
        {S("\x83\xa1\xff\xa1\xfe" TIME OUTPUT)},  /* not UTF-8, but not ours either */
        {S("\x83\xa9timestamp\xc0" TIME OUTPUT)}, /* twice: the last counts */
        {S("\x83" TIME OUT "\xc0" OUTPUT)},
        {S("\x83" TIME OUT "\x82" DKEY DLABEL OUTPUT)},
        {S("\x82" TIME OUT "\x84\xaa"
           "device_key\1" DKEY DLABEL DPARAMS)},
        {S("\x82" TIME OUT "\x84\x90\x90" DKEY DLABEL DPARAMS)},
        {S("\x83" TIME "\xab"
           "traceparent\xa1x" OUTPUT)},
        {S("\x83" TIME "\xab"
           "traceparent\x80" OUTPUT)},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct trigger_message m;
        struct err e;
        if (decode(cases[i].bytes, cases[i].size, &m, &e) < 0)
            CASE_FAILS("%zu: %s", i, e.text);
        assert_string_equal(m.device_key, "A Cam");
        assert_string_equal(m.device_label, "A");
        assert_string_equal(m.params.address, "cam:80");
        assert_string_equal(m.traceparent, "");
        assert_int_equal(m.event_at.us, WHEN * INT64_C(1000000));
    }
}

static void the_last_of_two_outputs_counts_alone(void **state)
{
    (void)state;
    struct trigger_message m;
    struct err e;
    assert_int_equal(decode(S("\x83" TIME OUTPUT OUT "\x81" DKEY), &m, &e), -EINVAL);
    assert_string_equal(e.text, "no device_label in output_triggered");
    assert_int_equal(decode(S("\x83" TIME OUTPUT OUT "\xc0"), &m, &e), -EINVAL);
    assert_string_equal(e.text, "output_triggered is nil, not a map");
}

static void takes_a_label_of_nil_for_none(void **state)
{
    (void)state;
    struct trigger_message m;
    struct err e;
    static const char body[] = "\x82" TIME OUT "\x83" DKEY "\xac"
                               "device_label\xc0" DPARAMS;
    assert_int_equal(decode(S(body), &m, &e), 0);
    assert_string_equal(m.device_label, "");
}

static void takes_the_arrival_for_a_time_that_it_cannot_read(void **state)
{
    (void)state;
    struct trigger_message m;
    struct err e;
    assert_int_equal(decode(S("\x82\xa9timestamp\xa4soon" OUTPUT), &m, &e), 0);
    assert_int_equal(m.event_at.us, arrival.us);
    assert_string_equal(m.note, "\"soon\" is no time that we know, so the time of arrival counts");
}

static void wants_snapshot_as_the_third_word_of_the_key(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        bool good;
    } cases[] = {
        {"event.trigger.snapshot", true},
        {"a..snapshot", true},
        {"..snapshot.and.more", true},
        {"event.trigger.camera", false},
        {"event.trigger.snapshots", false},
        {"event.trigger.snap", false},
        {"event.trigger.Snapshot", false},
        {"event.trigger.", false},
        {"event.trigger", false},
        {"event.snapshot", false},
        {"snapshot", false},
        {"", false},
        {"event.trigger.x.snapshot", false},
    };
    static const char body[] = "\x82" TIME OUTPUT;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct trigger_message m;
        struct err e = {0};
        int r = trigger_message_decode(cases[i].key, S(body), arrival, &m, &e);
        if (r != (cases[i].good ? 0 : -EINVAL))
            CASE_FAILS("%s: %d %s", cases[i].key, r, e.text);
    }
    struct trigger_message m;
    struct err e;
    (void)trigger_message_decode("event.trigger.a\nb", S(body), arrival, &m, &e);
    assert_string_equal(e.text, "the third word of routing key 'event.trigger.a\\nb' is not"
                                " 'snapshot', so it is not for us; set the sender's trigger topic"
                                " to event.trigger.snapshot");
}

/* {"x": [[[...]]]} of so many bytes, and the rest of a trigger. */
static struct blob *nested(size_t depth)
{
    struct dynbuf b;
    dynbuf_init(&b, 8 << 20);
    (void)dynbuf_append(&b, S("\x83\xa1x"));
    for (size_t i = 0; i < depth; i++)
        (void)dynbuf_append(&b, "\x91", 1);
    (void)dynbuf_append(&b, S("\1" TIME OUTPUT));
    struct blob *body = blob_new_copy(b.data, b.len);
    dynbuf_done(&b);
    return body;
}

static void survives_nesting_bombs(void **state)
{
    (void)state;
    static const size_t depths[] = {63, 64, 72000, 5 << 20};
    for (size_t i = 0; i < ARRAY_LEN(depths); i++) {
        AUTO(blob) body = nested(depths[i]);
        struct trigger_message m;
        struct err e = {0};
        int r = trigger_message_decode(KEY, body->data, body->size, arrival, &m, &e);
        assert_int_equal(r, i == 0 ? 0 : -E2BIG);
        if (r < 0)
            assert_string_equal(e.text, "the body cannot be read as MessagePack: nested more than"
                                        " 64 deep at byte 66");
    }
}

static void survives_random_bodies(void **state)
{
    (void)state;
    uint64_t random = 0x9e3779b97f4a7c15; /* the same in each run */
    mem_fail_at(1);                       /* whoever asks fails */
    for (int i = 0; i < 200000; i++) {
        uint8_t body[64];
        for (size_t k = 0; k < sizeof(body); k++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            body[k] = (uint8_t)(random >> 32);
        }
        body[0] = (uint8_t)(i % 2 ? body[0] : 0x80 | (body[0] & 15)); /* half of them are maps */
        struct trigger_message m;
        struct err e = {0};
        size_t size = 1 + body[63] % 63;
        int r = trigger_message_decode(KEY, body, size, arrival, &m, &e);
        if ((r != -EBADMSG && r != -EINVAL) || e.text[0] == '\0')
            CASE_FAILS("body %d: %d %s", i, r, e.text);
    }
    mem_fail_at(0);
}

/* 4 MB of many small values and a picture, in active_input. */
static void steps_over_megabytes_without_memory(void **state)
{
    (void)state;
    enum { VALUES = 400000, PICTURE = 3600000 };
    struct dynbuf b;
    struct rusage before, after;
    struct trigger_message m;
    struct err e = {0};
    dynbuf_init(&b, 8 << 20);
    (void)dynbuf_append(&b, S("\x83" TIME "\xac"
                              "active_input\x82\xa1v\xdd\0\x06\x1a\x80"));
    AUTO_FREE char *filling = xcalloc(1, PICTURE);
    (void)dynbuf_append(&b, filling, VALUES);
    (void)dynbuf_append(&b, S("\xa5image\xc6\0\x36\xee\x80"));
    (void)dynbuf_append(&b, filling, PICTURE);
    (void)dynbuf_append(&b, S(OUTPUT));
    assert_false(b.failed);
    mem_fail_at(1); /* whoever asks fails */
    (void)getrusage(RUSAGE_SELF, &before);
    int r = trigger_message_decode(KEY, b.data, b.len, arrival, &m, &e);
    (void)getrusage(RUSAGE_SELF, &after);
    mem_fail_at(0);
    dynbuf_done(&b);
    if (r < 0)
        CASE_FAILS("%s", e.text);
    assert_true(after.ru_maxrss - before.ru_maxrss <= 1024); /* kB */
}

static void shows_the_shape_of_a_body(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        const char *shown;
    } cases[] = {
        {S(""), "(0 of 0 bytes)"},
        {S("\xc1\1\2"), "c1 (0 of 3 bytes)"},
        {S("\xdd\xff\0\0\0"), "dd (0 of 5 bytes)"},
        {S("{\"device_params\":\"u:p@cam:80\"}"), ".. .. (1 of 30 bytes)"},
        {S("\x82" TIME OUTPUT),
         "82 a9 \"timestamp\" ce <4> b0 \"output_triggered\" 83 aa \"device_key\" a5 <5> ac"
         " \"device_label\" a1 <1> ad \"device_params\" aa <10> (91 of 91 bytes)"},
        {S("\x81\xaa"
           "device_key\xc4\4u:p@\xc1"),
         "81 aa \"device_key\" c4 <5> c1 (18 of 19 bytes)"},
        {S("\x9f\xc0\1\x80\x90\xcb\0\0\0\0\0\0\0\0\xc2"), "9f (0 of 15 bytes)"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char buf[TRIGGER_EXCERPT_MAX];
        test_expect_text("excerpt", trigger_message_excerpt(cases[i].bytes, cases[i].size, buf),
                         cases[i].shown);
    }
    AUTO_FREE uint8_t *many = xcalloc(1, 100000);
    memcpy(many, "\xdd\0\1\0\0", 5);
    char buf[TRIGGER_EXCERPT_MAX];
    assert_true(text_ends_with(trigger_message_excerpt(many, 100000, buf), " of 100000 bytes)"));
}

/* A body damaged at any byte, or cut anywhere, must not show the login in its excerpt or error. */
static void shows_no_login_whatever_the_damage(void **state)
{
    (void)state;
    static const char body[] = "\x82" TIME OUT "\x83" DKEY DLABEL "\xad"
                               "device_params\xb4QZQZQZ:QZQZ@cam.q:80";
    /* "QZ" or its hexadecimal form. */
    static const char *const secrets[] = {"QZ", "51 5a", "515a"};
    struct trigger_message m;
    struct err e;
    assert_int_equal(decode(S(body), &m, &e), 0);
    for (size_t at = 0; at < sizeof(body) - 1; at++) {
        for (int byte = 0; byte < 256; byte++) {
            char bent[sizeof(body)], buf[TRIGGER_EXCERPT_MAX];
            memcpy(bent, body, sizeof(body));
            bent[at] = (char)byte;
            (void)decode(bent, sizeof(body) - 1, &m, &e);
            trigger_message_excerpt(bent, sizeof(body) - 1, buf);
            for (size_t i = 0; i < ARRAY_LEN(secrets); i++)
                if (strstr(buf, secrets[i]) || strstr(e.text, secrets[i]))
                    CASE_FAILS("byte %zu is %02x: %s; %s", at, (unsigned)byte, buf, e.text);
        }
        char buf[TRIGGER_EXCERPT_MAX];
        trigger_message_excerpt(body, at, buf);
        assert_null(strstr(buf, "QZ"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_what_the_original_library_writes),
        cmocka_unit_test(refuses_every_truncation),
        cmocka_unit_test(answers_to_all_first_bytes),
        cmocka_unit_test(tells_what_is_wrong),
        cmocka_unit_test(bounds_the_texts),
        cmocka_unit_test(steps_over_what_it_does_not_know),
        cmocka_unit_test(the_last_of_two_outputs_counts_alone),
        cmocka_unit_test(takes_a_label_of_nil_for_none),
        cmocka_unit_test(takes_the_arrival_for_a_time_that_it_cannot_read),
        cmocka_unit_test(wants_snapshot_as_the_third_word_of_the_key),
        cmocka_unit_test(survives_nesting_bombs),
        cmocka_unit_test(survives_random_bodies),
        cmocka_unit_test(steps_over_megabytes_without_memory),
        cmocka_unit_test(shows_the_shape_of_a_body),
        cmocka_unit_test(shows_no_login_whatever_the_damage),
    };
    return RUN_TESTS(tests);
}
