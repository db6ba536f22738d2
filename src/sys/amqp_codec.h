#pragma once
/* AMQP 0-9-1 frames to bytes and back; pure. Together with sys/amqp.c the door to rabbitmq-c, of
 * which we use what knows the protocol's methods, and not what moves bytes: see sys/amqp.c. */

#include <amqp.h>
#include <amqp_framing.h>
#include <sys/uio.h>

#include "base/dynbuf.h"
#include "base/err.h"
#include "sys/amqp.h"

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
/* The header of a message with so many bytes of body. */
int amqp_codec_header(struct dynbuf *out, uint16_t channel,
                      const amqp_basic_properties_t *properties, uint64_t body_size);
int amqp_codec_heartbeat(struct dynbuf *out);

/* The frames of a body, bit by bit: prefix, what the pieces have, end. Nothing is copied. */
#define AMQP_CODEC_PREFIX 7                            /* type, channel, size */
#define AMQP_CODEC_FRAME_EXTRA (AMQP_CODEC_PREFIX + 1) /* and the end */
struct amqp_codec_body {
    uint8_t prefix[AMQP_CODEC_PREFIX]; /* of this frame; the rest is private */
    uint16_t channel;
    size_t frame_max;
    const struct amqp_piece *pieces; /* AMQP_PIECES_MAX of them */
    size_t piece, at;
    uint64_t left;     /* of the body */
    size_t frame_left; /* of this frame */
    bool within;
};
void amqp_codec_body_init(struct amqp_codec_body *b, uint16_t channel, size_t frame_max,
                          const struct amqp_piece pieces[AMQP_PIECES_MAX]);
/* The next bytes, not to be changed; a prefix is that of `b`. False at the end. */
bool amqp_codec_body_next(struct amqp_codec_body *b, struct iovec *ret);
