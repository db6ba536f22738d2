#include "wire/routing_key.h"

#include <errno.h>

#include "base/text.h"

static int checked(int length, const char *what, struct err *e)
{
    if (length < 0)
        return err_set(e, -ENAMETOOLONG, ERR_NEVER,
                       "the routing key of %s has more than the 255 bytes that AMQP allows;"
                       " shorten device_topic or the device name",
                       what);
    return 0;
}

int routing_key_trigger(const char *device_topic, char ret[ROUTING_KEY_SIZE], struct err *e)
{
    return checked(text_format(ret, ROUTING_KEY_SIZE, "event.trigger.%s", device_topic), "triggers",
                   e);
}

int routing_key_image(const char *device_topic, const char *device_name, char ret[ROUTING_KEY_SIZE],
                      struct err *e)
{
    return checked(
        text_format(ret, ROUTING_KEY_SIZE, "event.notify.%s.%s.image", device_topic, device_name),
        "image events", e);
}

int routing_key_heartbeat(const char *device_topic, char ret[ROUTING_KEY_SIZE], struct err *e)
{
    return checked(text_format(ret, ROUTING_KEY_SIZE, "event.heartbeat.%s", device_topic),
                   "heartbeats", e);
}
