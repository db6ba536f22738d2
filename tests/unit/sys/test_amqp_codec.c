/* Frames out and in again, whole and in pieces. */

#include "../test.h"

#include <errno.h>

#include "base/mem.h"
#include "sys/amqp_codec.h"

#define FRAME_MAX 4096

static struct dynbuf out;
static amqp_pool_t pool;
static struct amqp_codec_frame frame;
static size_t used;
static struct err error;

static int setup(void **state UNUSED)
{
    dynbuf_init(&out, 1 << 20);
    init_amqp_pool(&pool, 4096);
    return 0;
}

static int teardown(void **state UNUSED)
{
    dynbuf_done(&out);
    empty_amqp_pool(&pool);
    mem_fail_at(0);
    return 0;
}

static int next(size_t at, size_t len)
{
    return amqp_codec_next((uint8_t *)out.data + at, len, FRAME_MAX, &pool, &frame, &used, &error);
}

static void a_method_comes_back_and_waits_until_it_is_whole(void **state UNUSED)
{
    char text[] = "why";
    amqp_channel_close_t m = {.reply_code = 404, .reply_text = amqp_cstring_bytes(text)};
    assert_int_equal(amqp_codec_method(&out, 1, AMQP_CHANNEL_CLOSE_METHOD, &m), 0);
    for (size_t len = 0; len < out.len; len++)
        assert_int_equal(next(0, len), 0);
    assert_int_equal(next(0, out.len), 1);
    assert_int_equal(used, out.len);
    assert_int_equal(frame.method, AMQP_CHANNEL_CLOSE_METHOD);
    const amqp_channel_close_t *back = frame.decoded;
    assert_int_equal(back->reply_code, 404);
    assert_memory_equal(back->reply_text.bytes, "why", 3);
}

/* Header and body, which comes in pieces that begin at these places. */
static int put_content(const amqp_basic_properties_t *p, const char *body, size_t size,
                       size_t second, size_t third)
{
    const struct amqp_piece pieces[AMQP_PIECES_MAX] = {{body, MIN(second, size)},
                                                       {body + second, third - second},
                                                       {body + third, size - MIN(third, size)}};
    struct amqp_codec_body b;
    struct iovec v;
    int r = amqp_codec_header(&out, 1, p, size);
    amqp_codec_body_init(&b, 1, FRAME_MAX, pieces);
    while (r == 0 && amqp_codec_body_next(&b, &v)) {
        assert_true(v.iov_len > 0);
        r = dynbuf_append(&out, v.iov_base, v.iov_len);
    }
    assert_true(r < 0 || !amqp_codec_body_next(&b, &v)); /* the end stays the end */
    return r;
}

static void a_body_is_cut_into_frames_of_the_agreed_size(void **state UNUSED)
{
    static const struct {
        size_t size, second, third; /* where these pieces begin */
        int bodies;
    } cases[] = {{0, 0, 0, 0},
                 {1, 0, 0, 1},
                 {1, 1, 1, 1},
                 {FRAME_MAX - 8, 1, 2, 1},
                 {FRAME_MAX - 7, 20, FRAME_MAX - 8, 2},
                 {3 * (FRAME_MAX - 8), FRAME_MAX - 8, 2 * (FRAME_MAX - 8), 3},
                 {3 * (FRAME_MAX - 8), 100, 3 * (FRAME_MAX - 8) - 1, 3}};
    static char body[3 * FRAME_MAX];
    for (size_t i = 0; i < sizeof(body); i++)
        body[i] = (char)(i % 251);
    for (size_t c = 0; c < ARRAY_LEN(cases); c++) {
        dynbuf_reset(&out);
        char id[] = "the-id";
        amqp_basic_properties_t p = {._flags = AMQP_BASIC_MESSAGE_ID_FLAG,
                                     .message_id = amqp_cstring_bytes(id)};
        assert_int_equal(put_content(&p, body, cases[c].size, cases[c].second, cases[c].third), 0);
        assert_int_equal(next(0, out.len), 1);
        assert_true(frame.body_size == cases[c].size);
        assert_memory_equal(frame.properties->message_id.bytes, "the-id", 6);
        size_t at = used, got = 0;
        int bodies = 0;
        for (; at < out.len; at += used, bodies++) {
            assert_int_equal(next(at, out.len - at), 1);
            assert_int_equal(frame.type, AMQP_FRAME_BODY);
            assert_memory_equal(frame.bytes, body + got, frame.size);
            got += frame.size;
        }
        assert_true(got == cases[c].size);
        if (bodies != cases[c].bodies)
            CASE_FAILS("%zu bytes in %d frames", cases[c].size, bodies);
    }
}

static void the_headers_table_is_left_out_and_the_rest_is_kept(void **state UNUSED)
{
    amqp_table_entry_t entry = {
        .key = amqp_cstring_bytes("key"),
        .value = {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = amqp_cstring_bytes("value")}};
    char type[] = "type", id[] = "id";
    amqp_basic_properties_t p = {
        ._flags = AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_HEADERS_FLAG |
                  AMQP_BASIC_MESSAGE_ID_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG,
        .content_type = amqp_cstring_bytes(type),
        .headers = {.num_entries = 1, .entries = &entry},
        .delivery_mode = 2,
        .message_id = amqp_cstring_bytes(id),
    };
    assert_int_equal(amqp_codec_header(&out, 1, &p, 0), 0);
    assert_int_equal(next(0, out.len), 1);
    assert_int_equal(used, out.len);
    const amqp_basic_properties_t *back = frame.properties;
    assert_false(back->_flags & AMQP_BASIC_HEADERS_FLAG);
    assert_int_equal(back->delivery_mode, 2);
    assert_memory_equal(back->content_type.bytes, "type", 4);
    assert_memory_equal(back->message_id.bytes, "id", 2);
}

static void refuses_what_is_too_long_for_its_field(void **state UNUSED)
{
    static char name[257];
    memset(name, 'x', 256);
    amqp_basic_publish_t m = {.exchange = amqp_cstring_bytes(name)};
    assert_int_equal(amqp_codec_method(&out, 1, AMQP_BASIC_PUBLISH_METHOD, &m), -EINVAL);
    amqp_basic_properties_t p = {._flags = AMQP_BASIC_MESSAGE_ID_FLAG,
                                 .message_id = amqp_cstring_bytes(name)};
    assert_int_equal(amqp_codec_header(&out, 1, &p, 0), -EINVAL);
    assert_int_equal(out.len, 0);
}

static void says_when_memory_is_short(void **state UNUSED)
{
    static const char body[10000];
    amqp_basic_properties_t p = {0};
    mem_fail_at(1);
    assert_int_equal(amqp_codec_heartbeat(&out), -ENOMEM);
    dynbuf_reset(&out);
    mem_fail_at(3);
    assert_true(put_content(&p, body, sizeof(body), 10, 20) < 0);
}

static void a_frame_above_the_agreed_size_is_refused_at_its_first_bytes(void **state UNUSED)
{
    static const uint8_t largest[] = {3, 0, 1, 0, 0, 0x0f, 0xf8},
                         larger[] = {3, 0, 1, 0, 0, 0x0f, 0xf9};
    uint8_t data[7];
    memcpy(data, largest, sizeof(data));
    assert_int_equal(amqp_codec_next(data, 7, FRAME_MAX, &pool, &frame, &used, &error), 0);
    memcpy(data, larger, sizeof(data));
    assert_int_equal(amqp_codec_next(data, 7, FRAME_MAX, &pool, &frame, &used, &error), -EPROTO);
    assert_int_equal(error.retry, ERR_LATER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_method_comes_back_and_waits_until_it_is_whole, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_body_is_cut_into_frames_of_the_agreed_size, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(the_headers_table_is_left_out_and_the_rest_is_kept, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(refuses_what_is_too_long_for_its_field, setup, teardown),
        cmocka_unit_test_setup_teardown(says_when_memory_is_short, setup, teardown),
        cmocka_unit_test_setup_teardown(a_frame_above_the_agreed_size_is_refused_at_its_first_bytes,
                                        setup, teardown),
    };
    return RUN_TESTS(tests);
}
