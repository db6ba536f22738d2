#pragma once
/* A body as the broker gets it. */

#include "wire/message.h"

/* Empties `ret` first. */
static inline void whole_body(const struct message_body *b, struct dynbuf *ret)
{
    dynbuf_reset(ret);
    (void)dynbuf_append(ret, b->around.data, b->gap);
    if (b->picture)
        (void)dynbuf_append(ret, b->picture->data, b->picture->size);
    (void)dynbuf_append(ret, b->around.data + b->gap, b->around.len - b->gap);
}
