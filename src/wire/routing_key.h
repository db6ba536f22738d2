#pragma once
/* The routing keys of the broker messages. Each returns 0, or -ENAMETOOLONG above what AMQP allows;
 * a dot in a topic or name adds a word to the key. */

#include "base/err.h"

#define ROUTING_KEY_SIZE 256 /* AMQP's 255 bytes, and NUL */

/* "event.trigger.<topic>": what we bind to. */
int routing_key_trigger(const char *device_topic, char ret[ROUTING_KEY_SIZE], struct err *e);
/* "event.notify.<topic>.<device name>.image" */
int routing_key_image(const char *device_topic, const char *device_name, char ret[ROUTING_KEY_SIZE],
                      struct err *e);
/* "event.heartbeat.<topic>" */
int routing_key_heartbeat(const char *device_topic, char ret[ROUTING_KEY_SIZE], struct err *e);
