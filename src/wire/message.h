#pragma once
/* What the encoders share: a body is written twice by the same function, first to be counted, then
 * into a buffer that has room for it, so that a picture is copied once. */

#include "base/dynbuf.h"
#include "base/err.h"
#include "sys/msgpack.h"

#define MESSAGE_SIZE_MAX                                                                           \
    (256u << 20) /* no message of ours is larger, whatever the caller allows                       \
                  */

/* Replaces what is in `ret`, whose memory is used again. `write` must write the same both times. 0;
 * -EMSGSIZE above `size_max` (or MESSAGE_SIZE_MAX); -ENOMEM. After an error `ret` is empty. */
int message_encode(void (*write)(struct msgpack_writer *w, const void *what), const void *what,
                   size_t size_max, struct dynbuf *ret, struct err *e);
