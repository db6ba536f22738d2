#pragma once
/* RabbitMQ: one connection with what a publisher and a consumer need of it.
 *
 * A `struct amqp_link` is made once and connected as often as necessary. One thread owns it and
 * makes all calls; a publisher and a consumer have one each, since the broker stops reading from
 * those that publish when its memory runs low.
 *
 * Waiting: poll amqp_link_fd() for reading beside your other descriptors and call
 * amqp_link_process(link, 0, ...) until it says AMQP_NOTHING whenever it is ready. The descriptor
 * stays the same over reconnects and becomes readable for everything: frames, bytes inside TLS,
 * events already taken in, room to send more, a heartbeat that is due. Whoever does not poll must
 * call process() at least every quarter of the heartbeat interval. Nothing blocks beyond its bound.
 *
 * The life of a connection: connect, declare, bind, consume; then publish, process, ack. It ends by
 * amqp_link_disconnect(), or when a call fails with the reason: amqp_link_connected() is then
 * false, all else answers -ENOTCONN, and amqp_link_connect() starts anew. After that, or after the
 * event AMQP_CHANNEL_CLOSED:
 *   - publishes without their final event are in doubt. Publish them again, same message_id;
 *   - deliveries without an ack will come again. An ack for one of before is ignored (-ESTALE);
 *   - consumers are gone, and exchanges may be: they are not durable. Declare and consume again.
 *
 * Errors are sentences that begin "broker 'host:port':", and never hold the password. ERR_NOW and
 * ERR_LATER: try again after amqp_backoff_ms(). ERR_NEVER: somebody must change something, here or
 * at the broker (password, rights, vhost, certificate, an exchange of another type); it is still
 * right to try again, seldom. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/blob.h"
#include "base/err.h"
#include "base/macros.h"

#define AMQP_ADDRESSES_MAX 16
#define AMQP_NAME_MAX 256 /* names, keys, ids: 255 bytes in the protocol, and a NUL */
#define AMQP_HEARTBEAT_S 10
#define AMQP_CONNECT_TIMEOUT_MS 5000
#define AMQP_BODY_MAX (16U << 20)     /* a trigger may carry a picture; not a film */
#define AMQP_PUBLISH_MAX (128U << 20) /* the broker's own limit */
#define AMQP_UNCONFIRMED_MAX 1024     /* publishes under way: some two seconds at full speed */
#define AMQP_PREFETCH_MAX 1000

/* Borrowed for amqp_link_new(), which copies. Zeroed members are the defaults. */
struct amqp_options {
    /* "host", "host:port", "[v6]:port", several with commas. A connect tries each once, in turn,
     * beginning behind the one that worked last. */
    const char *addresses;
    const char *user; /* NULL = "guest", which the broker takes only from its own machine */
    const char *password;
    const char *vhost;          /* NULL = "/" */
    const char *name;           /* how the broker's list of connections calls us; NULL = none */
    int heartbeat_s;            /* 0 = AMQP_HEARTBEAT_S; a silent peer is dead after two */
    int64_t connect_timeout_ms; /* for each address, until logged in; 0 = AMQP_CONNECT_TIMEOUT_MS */
    size_t body_max;            /* of a delivery; 0 = AMQP_BODY_MAX */

    bool tls;                  /* the default port is then 5671 instead of 5672 */
    const char *tls_ca_file;   /* NULL = the system's authorities */
    const char *tls_cert_file; /* our own certificate, NULL = none */
    const char *tls_key_file;  /* NULL = in tls_cert_file */
    bool tls_any_host;         /* accept a certificate that is for another name */

    /* A descriptor (or 0 for none) that ends connect, declare, bind and consume with -ECANCELED as
     * soon as it is readable. The rest does not look at it: draining and good-bye go on. */
    int stop_fd;
};

struct amqp_link;

/* -EINVAL: what is wrong with the options. Does not connect. */
int amqp_link_new(const struct amqp_options *o, struct amqp_link **ret, struct err *e);
void amqp_link_free(struct amqp_link *l);
DEFINE_AUTO(amqp_link, amqp_link_free)

/* Blocks up to the connect time-out for each address. The error is that of the address which got
 * furthest: wrong password before silence before refused. */
int amqp_link_connect(struct amqp_link *l, struct err *e);
/* Tells the broker and waits up to a second until it has read what we sent. Events not taken are
 * dropped. */
void amqp_link_disconnect(struct amqp_link *l);
bool amqp_link_connected(const struct amqp_link *l);
const char *amqp_link_peer(const struct amqp_link *l); /* "host:port" of the last attempt, or "" */
int amqp_link_fd(const struct amqp_link *l); /* to poll for reading; never closed before free */

/* ---- setting up; each one round trip or two, up to 10 s, then the connection is given up.
 * A refusal (-EEXIST, -ENOENT, -EACCES, -EBUSY) costs neither connection nor consumer. ---- */

/* Makes the exchange, non-durable, unless it is there. One that is there with other flags will do,
 * and so will one that we may not make but that exists; one of another type will not (-EEXIST). */
int amqp_link_declare_exchange(struct amqp_link *l, const char *name, const char *type,
                               struct err *e);

struct amqp_queue {
    /* NULL: a queue for this connection alone, named by the server, gone with it.
     * Else a durable quorum queue that stays and may be shared; all below belongs to it. */
    const char *name;
    const char *dead_letter_exchange; /* gets what is rejected or came too often; NULL = none */
    int delivery_limit;               /* redeliveries before that; 0 = none */
};
/* ret_name: the queue's name, for bind and consume. -EEXIST: there with other properties. */
int amqp_link_declare_queue(struct amqp_link *l, const struct amqp_queue *q,
                            char ret_name[AMQP_NAME_MAX], struct err *e);
int amqp_link_bind(struct amqp_link *l, const char *queue, const char *exchange, const char *key,
                   struct err *e);
/* One consumer per link; at most `prefetch` deliveries (1 .. AMQP_PREFETCH_MAX) are unacknowledged
 * at a time. A refusal here is an AMQP_CHANNEL_CLOSED as well, told by the error instead of an
 * event. */
int amqp_link_consume(struct amqp_link *l, const char *queue, int prefetch, struct err *e);

/* ---- publishing, always with confirms ---- */

/* A body may be in pieces, one behind the other, so that a picture need not be copied into the
 * message around it. */
#define AMQP_PIECES_MAX 3
struct amqp_piece {
    const void *data;
    size_t size;
};

struct amqp_message {
    const char *exchange;
    const char *key;
    const char *message_id;   /* NULL = none; needed with `mandatory` */
    const char *content_type; /* NULL = none */
    int64_t expiration_ms;    /* the broker drops it after that; 0 = never */
    int64_t timestamp_s;      /* Unix time; 0 = none */
    bool persistent;
    bool mandatory;                          /* come back as AMQP_RETURNED when no queue takes it */
    struct amqp_piece body[AMQP_PIECES_MAX]; /* those that are not used are zero */
};
/* Never waits; nothing is needed any more when it returns. 0: on its way, and exactly one of
 * AMQP_ACKED, AMQP_NACKED, AMQP_RETURNED with this tag will tell the end, unless the channel or the
 * connection ends first. Tags grow over the life of the link and are never used again. -EAGAIN: not
 * now, the broker blocks us, is behind, or AMQP_UNCONFIRMED_MAX are under way; process() and try
 * again when something has happened. -EMSGSIZE, -EINVAL, -ENOMEM: not this message. -ENOTCONN. */
int amqp_link_publish(struct amqp_link *l, const struct amqp_message *m, uint64_t *ret_tag,
                      struct err *e);
int amqp_link_unconfirmed(const struct amqp_link *l); /* publishes without their final event */
bool amqp_link_blocked(const struct amqp_link *l);

/* ---- what happens ---- */

enum amqp_event_kind {
    AMQP_NOTHING,
    AMQP_DELIVERY, /* tag, key, message_id, expiration, redelivered, body: ack or reject it */
    AMQP_OVERSIZE, /* a delivery above body_max, already rejected: key, message_id, body_size */
    AMQP_ACKED,    /* tag, message_id: the broker has it, as safe as exchange and queues are */
    AMQP_NACKED,   /* tag, message_id: the broker could not take it; publish it again, later */
    AMQP_RETURNED, /* tag, message_id, code, text: no queue wanted it, so it is gone */
    AMQP_BLOCKED,  /* text: the broker is short of memory or disk; publish() says -EAGAIN */
    AMQP_UNBLOCKED,
    AMQP_CANCELLED,      /* our queue was deleted, or its node is gone: the consumer is no more */
    AMQP_CHANNEL_CLOSED, /* code, text: the broker did not like something; see above */
    AMQP_EVENT_COUNT
};
extern const char *const amqp_event_names[AMQP_EVENT_COUNT]; /* "nothing", "delivery", ... */

struct amqp_event {
    enum amqp_event_kind kind;
    uint64_t tag;
    bool redelivered;
    char key[AMQP_NAME_MAX];        /* this and the next two are the sender's bytes, as they are */
    char message_id[AMQP_NAME_MAX]; /* "" = none */
    char expiration[AMQP_NAME_MAX]; /* "" = none; digits, milliseconds */
    uint64_t body_size;
    struct blob *body; /* of a delivery, even an empty one; borrowed until the next process() */
    int code;          /* the protocol's: 312 no route, 404 not found, 406 ... */
    char text[AMQP_NAME_MAX]; /* the broker's words */
};

/* One event. 0, with AMQP_NOTHING when none came within timeout_ms (0 = do not wait), or negative
 * when the connection has ended, which is told once, after all events of before; then -ENOTCONN. */
int amqp_link_process(struct amqp_link *l, int timeout_ms, struct amqp_event *ret, struct err *e);

/* Never wait. -ESTALE (no text): the delivery is of a former channel or connection, nothing is
 * lost. -ENOTCONN. Reject without requeue: dead-lettered or dropped. */
int amqp_link_ack(struct amqp_link *l, uint64_t tag);
int amqp_link_reject(struct amqp_link *l, uint64_t tag, bool requeue);

/* ---- pure ---- */

struct amqp_address {
    char host[AMQP_NAME_MAX]; /* without brackets */
    uint16_t port;
};
/* "host", "host:port", "[v6]", "[v6]:port", bare v6. -EINVAL with what would be right. */
int amqp_address_parse(const char *s, size_t len, uint16_t default_port, struct amqp_address *ret,
                       struct err *e);
/* The pause before the attempt after `failures` (>= 1) in a row: 250 ms doubling up to 4 s, for
 * ERR_NEVER 30 s, each between half and the whole of it as `random` says, so that many clients of a
 * restarted broker do not come back at once. */
int64_t amqp_backoff_ms(unsigned failures, enum err_retry retry, uint32_t random);
