#include "../test.h"

#include <errno.h>

#include "base/mem.h"
#include "wire/heartbeat.h"

static struct dynbuf encode(const struct heartbeat_device *outputs, size_t count)
{
    struct heartbeat h = {.outputs = outputs, .output_count = count};
    struct dynbuf body;
    struct err e = {0};
    dynbuf_init(&body, SIZE_MAX);
    if (heartbeat_encode(&h, &body, &e) < 0)
        CASE_FAILS("%s", e.text);
    return body;
}

static void leaves_blank_slots_out(void **state UNUSED)
{
    static const struct heartbeat_device with_blanks[] = {
        {NULL, NULL}, {"", ""}, {"Hall", "Camera"}, {"Hall", ""}, {NULL, "Siren"}, {"", NULL}};
    static const struct heartbeat_device without[] = {{"Hall", "Camera"}, {"", "Siren"}};
    AUTO_DONE(dynbuf) a = encode(with_blanks, ARRAY_LEN(with_blanks));
    AUTO_DONE(dynbuf) b = encode(without, ARRAY_LEN(without));
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.data, b.data, a.len);
    /* Two of them, the second without a location. */
    static const char end[] = "\xa7outputs\x92\x83\xa8location\xa4Hall\xa4type\xa6"
                              "Camera\xaa"
                              "device_key\xabHall Camera\x82\xa4type\xa5Siren\xaa"
                              "device_key\xa5Siren";
    assert_true(a.len > sizeof(end));
    assert_memory_equal(a.data + a.len - (sizeof(end) - 1), end, sizeof(end) - 1);
}

static void counts_more_than_fifteen_devices(void **state UNUSED)
{
    struct heartbeat_device many[16];
    for (size_t i = 0; i < ARRAY_LEN(many); i++)
        many[i] = (struct heartbeat_device){"Hall", "Camera"};
    AUTO_DONE(dynbuf) body = encode(many, ARRAY_LEN(many));
    assert_non_null(memmem(body.data, body.len, "outputs\xdc\0\x10\x83", 11));
}

static void is_bounded(void **state UNUSED)
{
    AUTO_FREE struct heartbeat_device *many = xcalloc(50000, sizeof(*many));
    for (size_t i = 0; i < 50000; i++)
        many[i] = (struct heartbeat_device){"Hall", "Camera"};
    struct heartbeat h = {.inputs = many, .input_count = 50000};
    AUTO_DONE(dynbuf) body;
    dynbuf_init(&body, SIZE_MAX);
    struct err e = {0};
    assert_int_equal(heartbeat_encode(&h, &body, &e), -EMSGSIZE);
    assert_non_null(strstr(e.text, "heartbeat: a message of "));
    assert_int_equal(body.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leaves_blank_slots_out),
        cmocka_unit_test(counts_more_than_fifteen_devices),
        cmocka_unit_test(is_bounded),
    };
    return RUN_TESTS(tests);
}
