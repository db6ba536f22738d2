/* Any bytes as what a broker sends: frame after frame until one is refused or not whole. Every byte
 * that a frame points to is read. */

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "sys/amqp_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint8_t sink;

static void touch(const void *bytes, size_t size)
{
    const uint8_t *p = bytes;
    for (size_t i = 0; i < size; i++)
        sink ^= p[i];
}

static void touch_properties(const amqp_basic_properties_t *p)
{
    assert(!(p->_flags & AMQP_BASIC_HEADERS_FLAG));
    if (p->_flags & AMQP_BASIC_CONTENT_TYPE_FLAG)
        touch(p->content_type.bytes, p->content_type.len);
    if (p->_flags & AMQP_BASIC_EXPIRATION_FLAG)
        touch(p->expiration.bytes, p->expiration.len);
    if (p->_flags & AMQP_BASIC_MESSAGE_ID_FLAG)
        touch(p->message_id.bytes, p->message_id.len);
    if (p->_flags & AMQP_BASIC_CLUSTER_ID_FLAG)
        touch(p->cluster_id.bytes, p->cluster_id.len);
}

static void touch_method(const struct amqp_codec_frame *f)
{
    const amqp_basic_deliver_t *deliver = f->decoded;
    const amqp_connection_close_t *close = f->decoded;
    const amqp_connection_start_t *start = f->decoded;
    switch (f->method) {
    case AMQP_BASIC_DELIVER_METHOD:
        touch(deliver->consumer_tag.bytes, deliver->consumer_tag.len);
        touch(deliver->routing_key.bytes, deliver->routing_key.len);
        break;
    case AMQP_CONNECTION_CLOSE_METHOD:
        touch(close->reply_text.bytes, close->reply_text.len);
        break;
    case AMQP_CONNECTION_START_METHOD:
        touch(start->mechanisms.bytes, start->mechanisms.len);
        touch(start->locales.bytes, start->locales.len);
        break;
    default:
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_FREE uint8_t *bytes = xmemdup(data, size);
    amqp_pool_t pool;
    init_amqp_pool(&pool, 4096);
    size_t at = 0;
    for (;;) {
        struct amqp_codec_frame f;
        struct err e = {0};
        size_t used = 0;
        int r = amqp_codec_next(bytes + at, size - at, AMQP_CODEC_FRAME_MAX_FIRST, &pool, &f, &used,
                                &e);
        assert(r == 0 || r == 1 || (r == -EPROTO && e.text[0]));
        if (r <= 0)
            break;
        assert(used >= 8 && used <= size - at && f.channel <= AMQP_CODEC_CHANNEL_MAX);
        if (f.type == AMQP_FRAME_METHOD)
            touch_method(&f);
        if (f.type == AMQP_FRAME_HEADER)
            touch_properties(f.properties);
        if (f.type == AMQP_FRAME_BODY)
            touch(f.bytes, f.size);
        at += used;
        recycle_amqp_pool(&pool);
    }
    empty_amqp_pool(&pool);
    return 0;
}
