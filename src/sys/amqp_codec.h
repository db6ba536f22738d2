#pragma once
/* AMQP 0-9-1 frames to bytes and back; pure. Together with sys/amqp.c the door to rabbitmq-c, of
 * which we use what knows the protocol's methods, and not what moves bytes: see sys/amqp.c. */

#include <amqp.h>
#include <amqp_framing.h>

#include "base/dynbuf.h"
#include "base/err.h"

/* What we agree to at most, which is what RabbitMQ offers by default. Anything longer is cut into
 * several frames. */
#define AMQP_CODEC_FRAME_MAX 131072
/* Before both sides have agreed on a size. The protocol says 4,096; a greeting has some 600. */
#define AMQP_CODEC_FRAME_MAX_FIRST 8192
#define AMQP_CODEC_CHANNEL_MAX 2

struct amqp_codec_frame {
    uint8_t type; /* AMQP_FRAME_METHOD, _HEADER, _BODY, _HEARTBEAT */
    uint16_t channel;
    amqp_method_number_t method;               /* of a method */
    void *decoded;                             /* of a method: the library's struct for it */
    const amqp_basic_properties_t *properties; /* of a header; without its headers table */
    uint64_t body_size;                        /* of a header */
    const uint8_t *bytes;                      /* of a body */
    size_t size;
};

/* Takes one frame off the start of `data`, which it may change. Returns 1 and the bytes used, 0
 * when the frame is not whole yet, or -EPROTO (ERR_LATER) when this is no frame that we may be
 * sent. What the frame points to lives in `pool` and `data`. */
int amqp_codec_next(uint8_t *data, size_t len, size_t frame_max, amqp_pool_t *pool,
                    struct amqp_codec_frame *ret, size_t *ret_used, struct err *e);

/* Append to `out`; -EINVAL when a field is too long for its type. */
int amqp_codec_method(struct dynbuf *out, uint16_t channel, amqp_method_number_t method,
                      void *decoded);
/* Header and body frames. */
int amqp_codec_content(struct dynbuf *out, uint16_t channel, size_t frame_max,
                       const amqp_basic_properties_t *properties, const void *body, size_t size);
int amqp_codec_heartbeat(struct dynbuf *out);
