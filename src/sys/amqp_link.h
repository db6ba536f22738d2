#pragma once
/* What a link is made of, for amqp.c, which acts, amqp_in.c, which moves the bytes and takes what
 * the broker says, and amqp_out.c, which publishes. Nobody else includes this. */

#include "base/clock.h"
#include "base/dynbuf.h"
#include "sys/amqp.h"
#include "sys/amqp_codec.h"
#include "sys/stream.h"

/* Channel 1 publishes and consumes. Channel 2 asks: whatever the broker refuses closes the channel
 * it was asked on, and a refused declaration must not cost the consumer. */
enum { AMQP_CHANNEL_WORK = 1, AMQP_CHANNEL_ASK = 2 };
enum { AMQP_PORT = 5672, AMQP_PORT_TLS = 5671 };

struct queued {
    struct queued *next;
    struct amqp_event event;
};

enum publish_state { PUBLISH_UNDER_WAY, PUBLISH_ACKED, PUBLISH_NACKED, PUBLISH_TOLD };

struct publish {
    enum publish_state state;
    char *message_id;
    int return_code; /* 0 = did not come back */
    char *return_text;
};

enum call_state { CALL_NONE, CALL_WAITING, CALL_ANSWERED, CALL_REFUSED };

/* The one request that waits for its answer, if any does. */
struct call {
    enum call_state state;
    uint16_t channel;
    amqp_method_number_t answer;
    int code; /* of a refusal */
    char text[AMQP_NAME_MAX];
    char queue[AMQP_NAME_MAX]; /* from queue.declare-ok */
};

/* A message that comes in: method, header, body frames. */
struct incoming {
    enum { CONTENT_NONE, CONTENT_HEADER, CONTENT_BODY } expect;
    bool is_return;
    struct amqp_event event;
    uint8_t *body; /* NULL when it is not kept */
    uint64_t have;
};

enum channel_state { CHANNEL_SHUT, CHANNEL_OPENING, CHANNEL_OPEN };

struct amqp_link {
    char *user, *password, *vhost, *name;
    char *tls_ca_file, *tls_cert_file, *tls_key_file;
    bool tls, tls_any_host;
    int stop_fd;
    int heartbeat_wanted_s;
    int64_t connect_timeout_ms;
    size_t body_max;
    struct amqp_address addresses[AMQP_ADDRESSES_MAX];
    size_t address_count, address_next;
    char peer[AMQP_NAME_MAX + 16];
    int epoll_fd, timer_fd;
    int64_t armed_us; /* what the timer is set to, -1 = off */

    /* The connection; `stream` is NULL without one. */
    struct stream *stream;
    short watched; /* events that the epoll set has for the stream */
    uint8_t *in;
    size_t in_start, in_end;
    struct dynbuf out;
    size_t out_start;
    amqp_pool_t pool;
    size_t frame_max;
    int heartbeat_s;
    struct mono_time heard_at, sent_at;
    bool more;    /* the last read gave something: there may be bytes that poll does not see */
    bool greeted; /* a first frame has come */
    bool logged_in;
    bool offers_plain;
    bool closing;
    bool blocked;
    bool end_untold;
    struct err end;
    struct call call;

    enum channel_state work, ask;
    int prefetch;
    struct incoming incoming;
    uint64_t delivery_base, delivery_last; /* ours = base + the channel's own */
    bool confirming;
    struct publish *publishes;            /* ring of AMQP_UNCONFIRMED_MAX, by the channel's tag */
    uint64_t publish_first, publish_next; /* the channel's tags: 1, 2, ... */
    uint64_t publish_base;
    int publishes_settled; /* and not told yet */
    int publishes_open;    /* without a final event */

    struct queued *events, **events_end;
    int event_count;
    struct blob *lent; /* the body of the last event */
};

/* ---- amqp.c ---- */

/* The connection is over; process() will say why. */
void amqp_link_end(struct amqp_link *l, const struct err *why);
int amqp_link_not_connected(struct amqp_link *l, struct err *e);
bool amqp_link_has_event(const struct amqp_link *l);
void amqp_link_queue_event(struct amqp_link *l, const struct amqp_event *event);
void amqp_link_drop_events(struct amqp_link *l, bool deliveries_only);
/* What was settled becomes events, what was not is forgotten. */
void amqp_link_reset_channel(struct amqp_link *l);
int amqp_link_error(struct amqp_link *l, struct err *e, int code, enum err_retry retry,
                    const char *fmt, ...) PRINTF_LIKE(5, 6);

/* ---- amqp_out.c ---- */

/* Hands to the kernel what it takes. A connection that turns out to be over is told as such here
 * and with its reason by process(). */
int amqp_link_send_now(struct amqp_link *l, struct err *e);
/* An ack or nack of one tag, or of all up to it. */
int amqp_link_settle(struct amqp_link *l, uint64_t tag, bool multiple, enum publish_state how,
                     struct err *e);
/* A message that no queue wanted: it is confirmed right behind. */
void amqp_link_note_return(struct amqp_link *l, const struct amqp_event *event);
/* The oldest publish that is settled and not told; there is one. */
void amqp_link_take_settled(struct amqp_link *l, struct amqp_event *ret);
/* Those that are under way will have no end. */
void amqp_link_forget_publishes(struct amqp_link *l);

/* ---- amqp_in.c ---- */

/* All that can be done without waiting: send, read once, take what is whole. */
int amqp_link_pump(struct amqp_link *l, struct err *e);
/* Hands to the kernel what it takes. */
int amqp_link_flush(struct amqp_link *l, struct err *e);
/* Makes the one descriptor readable for all that there is to do. */
void amqp_link_arm(struct amqp_link *l);
/* When a heartbeat must leave, or the peer counts as dead. */
int64_t amqp_link_heartbeat_due_us(const struct amqp_link *l);
