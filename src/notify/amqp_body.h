#pragma once
/* The body of an event as the configuration wants it, also of one whose picture is too large: it
 * then carries a smaller copy, or the picture's address. Pure. */

#include "notify/amqp_config.h"
#include "picture/picture.h"
#include "wire/image_event.h"

/* Borrowed. */
struct amqp_body {
    enum event_format format;
    size_t size_max;
    enum amqp_too_large too_large;
    const char *image_url; /* with {id}; "" = none */
    const char *store_root;
    struct picture_limits limits;
};

/* *ret_smaller: the original form had been too large. Errors are ERR_NEVER but for -ENOMEM: neither
 * the picture nor the limit change. */
int amqp_body_make(const struct amqp_body *b, const struct event *ev, struct wall_time now,
                   struct message_body *ret, bool *ret_smaller, struct err *e);
