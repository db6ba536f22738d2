#include "../test.h"

#include <errno.h>

#include "wire/routing_key.h"

static void makes_the_keys_of_the_original(void **state)
{
    (void)state;
    char key[ROUTING_KEY_SIZE];
    assert_int_equal(routing_key_trigger("snapshot", key, NULL), 0);
    assert_string_equal(key, "event.trigger.snapshot");
    assert_int_equal(routing_key_image("snapshot", "house.attic", key, NULL), 0);
    assert_string_equal(key, "event.notify.snapshot.house.attic.image");
    assert_int_equal(routing_key_heartbeat("snapshot", key, NULL), 0);
    assert_string_equal(key, "event.heartbeat.snapshot");
}

static void refuses_keys_above_255_bytes(void **state)
{
    (void)state;
    char topic[ROUTING_KEY_SIZE] = "", key[ROUTING_KEY_SIZE];
    struct err e = {0};
    memset(topic, 'x', 255 - strlen("event.trigger."));
    assert_int_equal(routing_key_trigger(topic, key, &e), 0);
    assert_int_equal(strlen(key), 255);
    topic[strlen(topic)] = 'x';
    assert_int_equal(routing_key_trigger(topic, key, &e), -ENAMETOOLONG);
    assert_string_equal(e.text, "the routing key of triggers has more than the 255 bytes that AMQP"
                                " allows; shorten device_topic or the device name");
    assert_int_equal(routing_key_image(topic, "n", key, &e), -ENAMETOOLONG);
    assert_int_equal(routing_key_heartbeat(topic, key, &e), -ENAMETOOLONG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(makes_the_keys_of_the_original),
        cmocka_unit_test(refuses_keys_above_255_bytes),
    };
    return RUN_TESTS(tests);
}
