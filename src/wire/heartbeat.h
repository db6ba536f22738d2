#pragma once
/* The message by which the other side knows that we are alive, and what is connected to us. */

#include "base/clock.h"
#include "base/dynbuf.h"
#include "base/err.h"

/* A slot of the configuration: INPUT_n_LOCATION and INPUT_n_TYPE, or their OUTPUT_ namesakes. One
 * without a type is blank and left out: the other side rejects a message that has one. */
struct heartbeat_device {
    const char *location; /* may be NULL or "" */
    const char *type;     /* the same */
};

struct heartbeat {
    struct wall_time at;
    const struct heartbeat_device *inputs, *outputs;
    size_t input_count, output_count;
};

/* Replaces what is in `ret`. 0, -EMSGSIZE or -ENOMEM. */
int heartbeat_encode(const struct heartbeat *h, struct dynbuf *ret, struct err *e);
