#pragma once
/* What the encoders share: a body is written twice by the same function, first to be counted, then
 * into a buffer of exactly its size, so that a picture is copied once. */

#include "base/blob.h"
#include "base/err.h"
#include "sys/msgpack.h"

#define MESSAGE_SIZE_MAX                                                                           \
    (256u << 20) /* no message of ours is larger, whatever the caller allows                       \
                  */

/* `write` must write the same both times. 0; -EMSGSIZE above `size_max` (or MESSAGE_SIZE_MAX);
 * -ENOMEM. */
int message_encode(void (*write)(struct msgpack_writer *w, const void *what), const void *what,
                   size_t size_max, struct blob **ret, struct err *e);
