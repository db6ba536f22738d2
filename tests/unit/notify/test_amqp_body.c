#include "notify/amqp_body.h"

#include "../picture/make_pictures.h"
#include "../test.h"
#include "../wire/whole.h"

#include <errno.h>

#include "base/text.h"
#include "sys/msgpack.h"

struct parts {
    struct snapshot *snapshot;
    struct verdict verdict;
    struct blob *bytes;
    struct event event;
};

/* An event with a picture of this size in pixels, or without bytes. */
static void parts_init(struct parts *p, int width, int height)
{
    *p = (struct parts){.snapshot = snapshot_new()};
    text_copy(p->snapshot->id, SNAPSHOT_ID_SIZE, "019b7c5a1b2c00112233445566778899");
    text_copy(p->snapshot->path, SNAPSHOT_PATH_MAX, "porch/2026/01/02/human_porch-camera_1.jpg");
    text_copy(p->snapshot->device_key, SNAPSHOT_KEY_MAX, "Porch Camera");
    text_copy(p->snapshot->format, SNAPSHOT_FORMAT_MAX, "jpeg");
    p->snapshot->width = width;
    p->snapshot->height = height;
    if (width) {
        struct bytes jpeg = make_jpeg(JPEG_444, width, height, 100);
        p->bytes = blob_new_take(jpeg.data, jpeg.size);
        p->snapshot->size = (int64_t)jpeg.size;
    }
    p->event = (struct event){
        .snapshot = p->snapshot, .verdict = &p->verdict, .bytes = p->bytes, .attempt = 1};
}
static void parts_done(struct parts *p)
{
    snapshot_unref(p->snapshot);
    blob_unref(p->bytes);
}

static struct amqp_body body_for(enum event_format format, size_t size_max)
{
    return (struct amqp_body){.format = format,
                              .size_max = size_max,
                              .too_large = AMQP_DOWNSCALE,
                              .image_url = "",
                              .store_root = "/data/store",
                              .limits = picture_limits_default};
}

static struct dynbuf whole; /* what find() looked at last, where its values are */

/* The value behind a text key, wherever it stands; false when it is not there. */
static bool find(const struct message_body *body, const char *key, struct msgpack_value *ret)
{
    struct msgpack_reader r;
    struct msgpack_value v;
    struct err e = {0};
    whole_body(body, &whole);
    msgpack_reader_init(&r, whole.data, whole.len);
    while (r.at < r.size && msgpack_read(&r, &v, &e) == 0)
        if (v.type == MSGPACK_STR && v.size == strlen(key) && !memcmp(v.bytes, key, v.size))
            return msgpack_read(&r, ret, &e) == 0;
    return false;
}

static void a_picture_below_the_limit_is_sent_as_it_is(void **state UNUSED)
{
    AUTO_DONE(parts) p;
    parts_init(&p, 64, 48);
    struct amqp_body b = body_for(EVENT_FORMAT_ORIGINAL, 1 << 20);
    AUTO_DONE(message_body) body;
    message_body_init(&body);
    bool smaller = true;
    struct err e = {0};
    struct msgpack_value image;
    assert_int_equal(amqp_body_make(&b, &p.event, (struct wall_time){0}, &body, &smaller, &e), 0);
    assert_false(smaller);
    assert_true(find(&body, "image", &image));
    assert_int_equal(image.size, p.bytes->size);
    assert_memory_equal(image.bytes, p.bytes->data, image.size);
}

static void a_larger_one_is_sent_as_a_smaller_copy_that_fits(void **state UNUSED)
{
    static const size_t limits[] = {50000, 20000, 8000, 4000, 2500};
    AUTO_DONE(parts) p;
    parts_init(&p, 1600, 1200);
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        struct amqp_body b =
            body_for(i % 2 ? EVENT_FORMAT_EXTENDED : EVENT_FORMAT_ORIGINAL, limits[i]);
        AUTO_DONE(message_body) body;
        message_body_init(&body);
        bool smaller = false;
        struct err e = {0};
        struct msgpack_value image;
        struct picture_info info;
        if (p.bytes->size < limits[i])
            CASE_FAILS("the picture has only %zu bytes", p.bytes->size);
        if (amqp_body_make(&b, &p.event, (struct wall_time){0}, &body, &smaller, &e) < 0)
            CASE_FAILS("%zu: %s", limits[i], e.text);
        assert_true(smaller);
        assert_true(message_body_size(&body) <= limits[i]);
        assert_true(find(&body, "image", &image));
        assert_int_equal(picture_probe(image.bytes, image.size, &b.limits, &info, &e), 0);
        assert_true(info.width < 1600);
        assert_true(abs(info.width * 3 - info.height * 4) <= 8); /* the same shape */
    }
    assert_ptr_equal(p.event.bytes, p.bytes); /* the event is as it was */
}

static void a_larger_one_is_sent_by_its_address_when_that_is_wanted(void **state UNUSED)
{
    AUTO_DONE(parts) p;
    parts_init(&p, 1600, 1200);
    struct amqp_body b = body_for(EVENT_FORMAT_EXTENDED, 4000);
    b.too_large = AMQP_CLAIM_CHECK;
    b.image_url = "http://h:1/{id}/image";
    AUTO_DONE(message_body) body;
    message_body_init(&body);
    bool smaller = false;
    struct err e = {0};
    struct msgpack_value v;
    static const char url[] = "http://h:1/019b7c5a1b2c00112233445566778899/image";
    assert_true(p.bytes->size > 4000);
    assert_int_equal(amqp_body_make(&b, &p.event, (struct wall_time){0}, &body, &smaller, &e), 0);
    assert_true(smaller);
    assert_false(find(&body, "image", &v));
    assert_true(find(&body, "image_url", &v));
    assert_int_equal(v.size, strlen(url));
    assert_memory_equal(v.bytes, url, v.size);
}

static void what_can_never_be_sent_is_refused_for_good(void **state UNUSED)
{
    AUTO_DONE(parts) none, broken;
    parts_init(&none, 0, 0);
    parts_init(&broken, 320, 240);
    struct amqp_body b = body_for(EVENT_FORMAT_ORIGINAL, 2000);
    AUTO(blob) noise = blob_new_copy("\xff\xd8\xff\xe0 is no picture", 18);
    AUTO_DONE(message_body) body;
    message_body_init(&body);
    bool smaller;
    struct err e = {0};
    assert_int_equal(amqp_body_make(&b, &none.event, (struct wall_time){0}, &body, &smaller, &e),
                     -ENODATA);
    assert_int_equal(e.retry, ERR_NEVER);
    b.size_max = 100; /* not even the other keys and a thumbnail */
    broken.event.bytes = noise;
    assert_true(amqp_body_make(&b, &broken.event, (struct wall_time){0}, &body, &smaller, &e) < 0);
    assert_int_equal(e.retry, ERR_NEVER);
    assert_non_null(strstr(e.text, "to be made smaller"));
    assert_int_equal(message_body_size(&body), 0);
}

static int setup(void **state UNUSED)
{
    dynbuf_init(&whole, SIZE_MAX);
    return 0;
}

static int teardown(void **state UNUSED)
{
    dynbuf_done(&whole);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_picture_below_the_limit_is_sent_as_it_is),
        cmocka_unit_test(a_larger_one_is_sent_as_a_smaller_copy_that_fits),
        cmocka_unit_test(a_larger_one_is_sent_by_its_address_when_that_is_wanted),
        cmocka_unit_test(what_can_never_be_sent_is_refused_for_good),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
