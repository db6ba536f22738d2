#pragma once
/* What the encoders share: a body is written twice by the same function, first to be counted, then
 * into a buffer that has room for it. A picture is not copied into it: it stays where it is, and
 * the body says where it belongs. */

#include "base/blob.h"
#include "base/dynbuf.h"
#include "base/err.h"
#include "sys/msgpack.h"

#define MESSAGE_SIZE_MAX                                                                           \
    (256u << 20) /* no message of ours is larger, whatever the caller allows                       \
                  */

/* The whole: `around` up to `gap`, the picture, the rest of `around`. */
struct message_body {
    struct dynbuf around;
    size_t gap;           /* all of `around` without a picture */
    struct blob *picture; /* our reference, or NULL */
};
void message_body_init(struct message_body *b);
void message_body_done(struct message_body *b);
size_t message_body_size(const struct message_body *b);

/* Replaces what is in `ret`, whose memory is used again. `write` must write the same both times;
 * `elsewhere` is what comes to it, the picture. 0; -EMSGSIZE above `size_max` (or
 * MESSAGE_SIZE_MAX); -ENOMEM. After an error `ret` is empty. */
int message_encode(void (*write)(struct msgpack_writer *w, const void *what), const void *what,
                   size_t elsewhere, size_t size_max, struct dynbuf *ret, struct err *e);
