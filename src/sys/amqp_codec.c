#include "sys/amqp_codec.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"

enum {
    PREFIX = AMQP_CODEC_PREFIX,
    SUFFIX = 1, /* AMQP_FRAME_END */
    METHOD_FIXED = 4,
    HEADER_FIXED = 12, /* class, weight, body size */
    METHOD_MAX = 8192, /* ours hold a few short strings and a small table */
    FLAG_MORE = 1,     /* a second word of flags follows; the basic class has none */
};

/* Methods that a server sends to a client like us. Others are not even decoded. */
static const amqp_method_number_t expected[] = {
    AMQP_CONNECTION_START_METHOD,
    AMQP_CONNECTION_TUNE_METHOD,
    AMQP_CONNECTION_OPEN_OK_METHOD,
    AMQP_CONNECTION_CLOSE_METHOD,
    AMQP_CONNECTION_CLOSE_OK_METHOD,
    AMQP_CONNECTION_BLOCKED_METHOD,
    AMQP_CONNECTION_UNBLOCKED_METHOD,
    AMQP_CHANNEL_OPEN_OK_METHOD,
    AMQP_CHANNEL_CLOSE_METHOD,
    AMQP_CHANNEL_CLOSE_OK_METHOD,
    AMQP_EXCHANGE_DECLARE_OK_METHOD,
    AMQP_QUEUE_DECLARE_OK_METHOD,
    AMQP_QUEUE_BIND_OK_METHOD,
    AMQP_BASIC_QOS_OK_METHOD,
    AMQP_BASIC_CONSUME_OK_METHOD,
    AMQP_BASIC_CANCEL_METHOD,
    AMQP_BASIC_DELIVER_METHOD,
    AMQP_BASIC_RETURN_METHOD,
    AMQP_BASIC_ACK_METHOD,
    AMQP_BASIC_NACK_METHOD,
};

static uint64_t get(const uint8_t *p, size_t bytes)
{
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++)
        value = value << 8 | p[i];
    return value;
}

static void put(uint8_t *p, size_t bytes, uint64_t value)
{
    for (size_t i = bytes; i-- > 0; value >>= 8)
        p[i] = (uint8_t)value;
}

/* ---- in ---- */

static int wrong(struct err *e, const char *what)
{
    return err_set(e, -EPROTO, ERR_LATER, "what it sends is not AMQP as agreed: %s", what);
}

static int take_method(uint8_t *data, size_t len, amqp_pool_t *pool, struct amqp_codec_frame *ret,
                       struct err *e)
{
    if (len < METHOD_FIXED)
        return wrong(e, "a method frame without a method");
    ret->method = (amqp_method_number_t)get(data, METHOD_FIXED);
    bool known = false;
    for (size_t i = 0; i < ARRAY_LEN(expected); i++)
        known = known || expected[i] == ret->method;
    if (!known)
        return wrong(e, "a method that is not for clients");
    amqp_bytes_t arguments = {.bytes = data + METHOD_FIXED, .len = len - METHOD_FIXED};
    if (amqp_decode_method(ret->method, pool, arguments, &ret->decoded) < 0)
        return wrong(e, "a method that cannot be decoded");
    return 1;
}

/* Skips a short string; false when it is not whole. */
static bool skip_short(const uint8_t *data, size_t len, size_t *at)
{
    if (*at >= len || len - *at - 1 < data[*at])
        return false;
    *at += 1 + (size_t)data[*at];
    return true;
}

/* Cuts the headers table out. Anybody who may publish fills it, we have no use for it, and the
 * library decodes tables within tables by recursion, some 20,000 deep in one frame. */
static bool cut_headers(uint8_t *data, size_t *len)
{
    if (*len < 2)
        return false;
    uint64_t flags = get(data, 2);
    size_t at = 2;
    if (flags & FLAG_MORE)
        return false;
    if ((flags & AMQP_BASIC_CONTENT_TYPE_FLAG) && !skip_short(data, *len, &at))
        return false;
    if ((flags & AMQP_BASIC_CONTENT_ENCODING_FLAG) && !skip_short(data, *len, &at))
        return false;
    if (!(flags & AMQP_BASIC_HEADERS_FLAG))
        return true;
    if (*len - at < 4 || get(data + at, 4) > *len - at - 4)
        return false;
    size_t table = 4 + (size_t)get(data + at, 4);
    memmove(data + at, data + at + table, *len - at - table);
    *len -= table;
    put(data, 2, flags & ~(uint64_t)AMQP_BASIC_HEADERS_FLAG);
    return true;
}

static int take_header(uint8_t *data, size_t len, amqp_pool_t *pool, struct amqp_codec_frame *ret,
                       struct err *e)
{
    if (len < HEADER_FIXED || get(data, 2) != AMQP_BASIC_CLASS)
        return wrong(e, "a content header of no message");
    ret->body_size = get(data + 4, 8);
    uint8_t *properties = data + HEADER_FIXED;
    size_t size = len - HEADER_FIXED;
    void *decoded = NULL;
    if (!cut_headers(properties, &size) ||
        amqp_decode_properties(AMQP_BASIC_CLASS, pool,
                               (amqp_bytes_t){.bytes = properties, .len = size}, &decoded) < 0)
        return wrong(e, "message properties that cannot be decoded");
    ret->properties = decoded;
    return 1;
}

int amqp_codec_next(uint8_t *data, size_t len, size_t frame_max, amqp_pool_t *pool,
                    struct amqp_codec_frame *ret, size_t *ret_used, struct err *e)
{
    if (len < PREFIX)
        return 0;
    *ret = (struct amqp_codec_frame){.type = data[0], .channel = (uint16_t)get(data + 1, 2)};
    uint64_t size = get(data + 3, 4);
    if (size > frame_max - PREFIX - SUFFIX)
        return wrong(e, "a frame that is too large");
    if (ret->channel > AMQP_CODEC_CHANNEL_MAX)
        return wrong(e, "a channel that we did not open");
    if (len < PREFIX + size + SUFFIX)
        return 0;
    if (data[PREFIX + size] != AMQP_FRAME_END)
        return wrong(e, "a frame without its end");
    *ret_used = PREFIX + size + SUFFIX;

    uint8_t *payload = data + PREFIX;
    switch (ret->type) {
    case AMQP_FRAME_METHOD:
        return take_method(payload, size, pool, ret, e);
    case AMQP_FRAME_HEADER:
        return take_header(payload, size, pool, ret, e);
    case AMQP_FRAME_BODY:
        ret->bytes = payload;
        ret->size = size;
        return 1;
    case AMQP_FRAME_HEARTBEAT:
        return 1;
    default:
        return wrong(e, "a frame of unknown type");
    }
}

/* ---- out ---- */

static void put_prefix(uint8_t prefix[PREFIX], uint8_t type, uint16_t channel, size_t size)
{
    put(prefix, 1, type);
    put(prefix + 1, 2, channel);
    put(prefix + 3, 4, size);
}

static int put_frame(struct dynbuf *out, uint8_t type, uint16_t channel, const void *payload,
                     size_t size)
{
    uint8_t prefix[PREFIX];
    put_prefix(prefix, type, channel, size);
    const uint8_t end = AMQP_FRAME_END;
    int r = dynbuf_append(out, prefix, sizeof(prefix));
    if (r == 0 && size)
        r = dynbuf_append(out, payload, size);
    if (r == 0)
        r = dynbuf_append(out, &end, 1);
    return r;
}

int amqp_codec_method(struct dynbuf *out, uint16_t channel, amqp_method_number_t method,
                      void *decoded)
{
    uint8_t payload[METHOD_MAX];
    put(payload, METHOD_FIXED, method);
    int n = amqp_encode_method(
        method, decoded,
        (amqp_bytes_t){.bytes = payload + METHOD_FIXED, .len = sizeof(payload) - METHOD_FIXED});
    int r = n < 0 ? -EINVAL
                  : put_frame(out, AMQP_FRAME_METHOD, channel, payload, METHOD_FIXED + (size_t)n);
    explicit_bzero(payload, sizeof(payload)); /* the log-in has a password in it */
    return r;
}

int amqp_codec_header(struct dynbuf *out, uint16_t channel,
                      const amqp_basic_properties_t *properties, uint64_t body_size)
{
    uint8_t header[METHOD_MAX];
    put(header, 2, AMQP_BASIC_CLASS);
    put(header + 2, 2, 0);
    put(header + 4, 8, body_size);
    int n = amqp_encode_properties(
        AMQP_BASIC_CLASS, (void *)(uintptr_t)properties,
        (amqp_bytes_t){.bytes = header + HEADER_FIXED, .len = sizeof(header) - HEADER_FIXED});
    return n < 0 ? -EINVAL
                 : put_frame(out, AMQP_FRAME_HEADER, channel, header, HEADER_FIXED + (size_t)n);
}

int amqp_codec_heartbeat(struct dynbuf *out)
{
    return put_frame(out, AMQP_FRAME_HEARTBEAT, 0, NULL, 0);
}

void amqp_codec_body_init(struct amqp_codec_body *b, uint16_t channel, size_t frame_max,
                          const struct amqp_piece pieces[AMQP_PIECES_MAX])
{
    *b = (struct amqp_codec_body){.channel = channel, .frame_max = frame_max, .pieces = pieces};
    for (size_t i = 0; i < AMQP_PIECES_MAX; i++)
        b->left += pieces[i].size;
}

bool amqp_codec_body_next(struct amqp_codec_body *b, struct iovec *ret)
{
    static const uint8_t end = AMQP_FRAME_END;
    if (b->frame_left > 0) {
        while (b->at == b->pieces[b->piece].size) {
            b->piece++;
            b->at = 0;
        }
        const struct amqp_piece *p = &b->pieces[b->piece];
        size_t size = MIN(p->size - b->at, b->frame_left);
        *ret = (struct iovec){(uint8_t *)(uintptr_t)p->data + b->at, size};
        b->at += size;
        b->frame_left -= size;
        return true;
    }
    if (b->within) {
        b->within = false;
        *ret = (struct iovec){(void *)(uintptr_t)&end, 1};
        return true;
    }
    if (b->left == 0)
        return false;
    b->frame_left = (size_t)MIN(b->left, (uint64_t)(b->frame_max - AMQP_CODEC_FRAME_EXTRA));
    b->left -= b->frame_left;
    b->within = true;
    put_prefix(b->prefix, AMQP_FRAME_BODY, b->channel, b->frame_left);
    *ret = (struct iovec){b->prefix, sizeof(b->prefix)};
    return true;
}
