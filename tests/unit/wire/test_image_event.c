#include "golden.h"

#include <errno.h>
#include <math.h>

#include "base/text.h"
#include "sys/msgpack.h"
#include "wire/image_event.h"

static void writes_byte_for_byte_what_the_original_library_writes(void **state)
{
    (void)state;
    if (!getenv("SOURCE_ROOT"))
        skip();
    for (const char *const *name = message_names; *name; name++) {
        AUTO(blob) ours = message_make(*name);
        AUTO(blob) theirs = golden_read(*name);
        assert_non_null(ours);
        size_t both = MIN(ours->size, theirs->size), i = 0;
        while (i < both && ours->data[i] == theirs->data[i])
            i++;
        if (i < both || ours->size != theirs->size)
            CASE_FAILS("%s differs at byte %zu, sizes %zu and %zu", *name, i, ours->size,
                       theirs->size);
    }
}

static int encode(struct image_event ie, bool bytes, struct message_body *ret, struct err *e)
{
    AUTO(snapshot) s = snapshot_new();
    AUTO(blob) picture = picture_new(3);
    struct detection odd = {
        .label = "per\xffson", .confidence = NAN, .has_box = true, .box = {INFINITY, 0, 0, 0}};
    struct verdict v = {.found = {&odd, 1}};
    struct event ev = {.snapshot = s, .verdict = &v, .bytes = bytes ? picture : NULL};
    ie.event = &ev;
    ie.store_root = "/data";
    return image_event_encode(&ie, ret, e);
}

static void refuses_a_message_above_the_limit(void **state)
{
    (void)state;
    struct err e = {0};
    AUTO_DONE(message_body) body;
    message_body_init(&body);
    assert_int_equal(encode((struct image_event){.size_max = 1000}, true, &body, &e), 0);
    size_t size = message_body_size(&body);
    assert_int_equal(encode((struct image_event){.size_max = size}, true, &body, &e), 0);
    assert_int_equal(encode((struct image_event){.size_max = size - 1}, true, &body, &e),
                     -EMSGSIZE);
    char text[128];
    (void)text_format(text, sizeof(text), "image event: a message of %zu bytes, the limit is %zu",
                      size, size - 1);
    assert_string_equal(e.text, text);
    assert_int_equal(e.retry, ERR_NEVER);
    assert_int_equal(message_body_size(&body), 0);
}

static void refuses_a_picture_that_is_gone_unless_it_sends_its_address(void **state)
{
    (void)state;
    struct err e = {0};
    AUTO_DONE(message_body) body;
    message_body_init(&body);
    struct image_event ie = {.size_max = 1000};
    assert_int_equal(encode(ie, false, &body, &e), -ENODATA);
    assert_string_equal(e.text, "image event: the picture's bytes are gone");
    ie.format = EVENT_FORMAT_CLAIM_CHECK;
    ie.image_url = "http://snap.example/1";
    assert_int_equal(encode(ie, false, &body, &e), 0);
}

static void copies_no_picture_and_uses_its_memory_again(void **state)
{
    (void)state;
    struct err e = {0};
    AUTO_DONE(message_body) body;
    message_body_init(&body);
    mem_fail_at(0);
    assert_int_equal(encode((struct image_event){.size_max = 1000}, true, &body, &e), 0);
    assert_int_equal(mem_try_count(), 2);   /* the picture and what is around it */
    assert_int_equal(blob_live_count(), 1); /* the body holds it */
    assert_int_equal(encode((struct image_event){.size_max = 1000}, true, &body, &e), 0);
    assert_int_equal(mem_try_count(), 3); /* another picture, the same memory around it */
    message_body_done(&body);
    assert_int_equal(blob_live_count(), 0);
    message_body_init(&body);
    mem_fail_at(0);
    mem_fail_at(2);
    int r = encode((struct image_event){.size_max = 1000}, true, &body, &e);
    mem_fail_at(0);
    assert_int_equal(r, -ENOMEM);
    assert_int_equal(e.retry, ERR_LATER);
    assert_non_null(strstr(e.text, "no memory for a message of"));
    assert_int_equal(message_body_size(&body), 0);
}

static void sends_nil_for_what_is_no_number_and_mends_texts(void **state)
{
    (void)state;
    struct err e = {0};
    AUTO_DONE(message_body) body;
    message_body_init(&body);
    struct image_event ie = {.format = EVENT_FORMAT_EXTENDED, .size_max = 1000};
    assert_int_equal(encode(ie, true, &body, &e), 0);
    static const char wanted[] = "\x83\xa5label\xa7per?son\xaa"
                                 "confidence\xc0\xa3"
                                 "box\x94\xc0\xcb";
    assert_non_null(memmem(body.around.data, body.around.len, wanted, sizeof(wanted) - 1));
}

static void names_every_format(void **state)
{
    (void)state;
    for (int i = 0; i < EVENT_FORMAT_COUNT; i++)
        assert_non_null(event_format_names[i]);
    assert_string_equal(event_format_names[EVENT_FORMAT_CLAIM_CHECK], "claim_check");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_byte_for_byte_what_the_original_library_writes),
        cmocka_unit_test(refuses_a_message_above_the_limit),
        cmocka_unit_test(refuses_a_picture_that_is_gone_unless_it_sends_its_address),
        cmocka_unit_test(copies_no_picture_and_uses_its_memory_again),
        cmocka_unit_test(sends_nil_for_what_is_no_number_and_mends_texts),
        cmocka_unit_test(names_every_format),
    };
    return RUN_TESTS(tests);
}
