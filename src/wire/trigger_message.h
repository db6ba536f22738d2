#pragma once
/* A trigger as it comes over the broker: from a routing key and a body of a stranger to a plain
 * struct, or to a sentence that says what is wrong. Pure, allocates nothing, steps over whatever
 * else the body holds (whole pictures, at times).
 *
 * Of a key that comes twice the last value counts. Keys that are not known, or are no text, are
 * stepped over. */

#include "base/clock.h"
#include "base/err.h"
#include "model/snapshot.h"
#include "wire/device_params.h"
#include "wire/event_time.h"

#define TRACEPARENT_SIZE 56 /* W3C: 55 characters */

struct trigger_message {
    struct wall_time event_at;
    char note[EVENT_TIME_NOTE_MAX]; /* for the log: why event_at is the time of arrival; else "" */
    char device_key[SNAPSHOT_KEY_MAX];
    char device_label[SNAPSHOT_KEY_MAX]; /* may be "" */
    struct device_params params;         /* holds a password */
    char traceparent[TRACEPARENT_SIZE];  /* "" when there is none that is well-formed */
};

/* `now` is the time of arrival. 0; -EBADMSG: not one MessagePack value; -E2BIG: nested too deep or
 * of too many values; -EINVAL: not a trigger, or one that lacks something. No error repeats the
 * login; all are ERR_NEVER. */
int trigger_message_decode(const char *routing_key, const void *body, size_t size,
                           struct wall_time now, struct trigger_message *ret, struct err *e);

/* The beginning of a body, for the log of a refused message: the byte that begins each value in
 * hexadecimal, the names of known keys, and of all other content only how many bytes it has. For
 * the body holds the camera's password, in a damaged one at any place: no readable character is
 * shown that is not part of a known name. It ends where the body cannot be read. */
#define TRIGGER_EXCERPT_MAX 240
const char *trigger_message_excerpt(const void *body, size_t size, char buf[TRIGGER_EXCERPT_MAX]);
