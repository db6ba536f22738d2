#include "wire/message.h"

#include <assert.h>
#include <errno.h>

#include "base/mem.h"

void message_body_init(struct message_body *b)
{
    *b = (struct message_body){0};
    dynbuf_init(&b->around, MESSAGE_SIZE_MAX);
}

void message_body_done(struct message_body *b)
{
    dynbuf_done(&b->around);
    blob_unref(b->picture);
    b->picture = NULL;
}

size_t message_body_size(const struct message_body *b)
{
    return b->around.len + (b->picture ? b->picture->size : 0);
}

int message_encode(void (*write)(struct msgpack_writer *w, const void *what), const void *what,
                   size_t elsewhere, size_t size_max, struct dynbuf *ret, struct err *e)
{
    struct msgpack_writer count = {0};
    size_t limit = MIN(size_max, (size_t)MESSAGE_SIZE_MAX);
    dynbuf_reset(ret);
    write(&count, what);
    if (count.len + elsewhere > limit)
        return err_set(e, -EMSGSIZE, ERR_NEVER, "a message of %zu bytes, the limit is %zu",
                       count.len + elsewhere, limit);
    struct msgpack_writer w = {.to = dynbuf_extend(ret, count.len), .room = count.len};
    if (!w.to)
        return err_set(e, -ENOMEM, ERR_LATER, "no memory for a message of %zu bytes", count.len);
    write(&w, what);
    assert(w.len == w.room);
    return 0;
}
