/* What the broker says: bytes to frames, frames to the state of a link and to its events. Nothing
 * here waits. */

#include "sys/amqp_link.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

#include "base/mem.h"
#include "base/text.h"

enum {
    OUT_KEPT_MAX = 256 * 1024, /* memory kept for the next message: a picture of usual size */
    EVENTS_SPARE = 64,         /* beside deliveries and confirms: blocked, unblocked, closed */
    HEARTBEATS_MISSED = 2,
};

/* ---- what comes in ---- */

/* The broker's words, made fit for a log. */
static void copy_text(char to[AMQP_NAME_MAX], amqp_bytes_t from)
{
    (void)text_printable(from.bytes, from.len, to, AMQP_NAME_MAX);
}

static void copy_name(char to[AMQP_NAME_MAX], amqp_bytes_t from)
{
    size_t n = MIN(from.len, (size_t)AMQP_NAME_MAX - 1); /* never more: its length is one byte */
    if (n)
        memcpy(to, from.bytes, n);
    to[n] = '\0';
}

static int out_of_step(struct amqp_link *l, const char *what, struct err *e)
{
    return amqp_link_error(l, e, -EPROTO, ERR_LATER, "what it sends is not AMQP as agreed: %s",
                           what);
}

static int say(struct amqp_link *l, uint16_t channel, amqp_method_number_t method, void *args,
               struct err *e)
{
    if (amqp_codec_method(&l->out, channel, method, args) < 0)
        return amqp_link_error(l, e, -ENOMEM, ERR_LATER, "no memory");
    return 0;
}

static int tell(struct amqp_link *l, const struct amqp_event *event, struct err *e)
{
    if (l->event_count >= l->prefetch + AMQP_UNCONFIRMED_MAX + EVENTS_SPARE)
        return out_of_step(l, "more deliveries than we asked for", e);
    amqp_link_queue_event(l, event);
    return 0;
}

static bool waits_for(const struct amqp_link *l, const struct amqp_codec_frame *f)
{
    const struct call *c = &l->call;
    return c->state == CALL_WAITING && c->channel == f->channel && c->answer == f->method;
}

static int take_answer(struct amqp_link *l, const struct amqp_codec_frame *f, struct err *e)
{
    struct call *c = &l->call;
    if (!waits_for(l, f))
        return out_of_step(l, "an answer to no question", e);
    if (f->method == AMQP_QUEUE_DECLARE_OK_METHOD)
        copy_name(c->queue, ((amqp_queue_declare_ok_t *)f->decoded)->queue);
    c->state = CALL_ANSWERED;
    return 0;
}

static bool offers(amqp_bytes_t list, const char *word)
{
    size_t len = strlen(word);
    const char *s = list.bytes;
    for (size_t at = 0; at + len <= list.len; at++) {
        bool begins = at == 0 || s[at - 1] == ' ';
        bool ends = at + len == list.len || s[at + len] == ' ';
        if (begins && ends && !memcmp(s + at, word, len))
            return true;
    }
    return false;
}

static int connection_closed(struct amqp_link *l, const amqp_connection_close_t *m, struct err *e)
{
    char text[AMQP_NAME_MAX];
    amqp_connection_close_ok_t ok = {0};
    copy_text(text, m->reply_text);
    if (say(l, 0, AMQP_CONNECTION_CLOSE_OK_METHOD, &ok, NULL) == 0)
        (void)amqp_link_flush(l, NULL); /* a courtesy */
    if (m->reply_code == AMQP_ACCESS_REFUSED && !l->logged_in)
        return amqp_link_error(
            l, e, -EACCES, ERR_NEVER,
            "it refuses user '%s': wrong user or password%s (it says: %s)", l->user,
            strcmp(l->user, "guest") != 0
                ? ""
                : ", and 'guest' may by default log in from its own machine only",
            text);
    if (m->reply_code == AMQP_NOT_ALLOWED && !l->logged_in)
        return amqp_link_error(l, e, -EACCES, ERR_NEVER, "no way into vhost '%s' for user '%s': %s",
                               l->vhost, l->user, text);
    return amqp_link_error(l, e, -ECONNRESET, ERR_LATER, "it ended the connection: %d %s",
                           m->reply_code, text);
}

static int take_tune(struct amqp_link *l, const amqp_connection_tune_t *m, struct err *e)
{
    /* 0 stands for "no limit", and for the heartbeat "as you like". */
    if (m->frame_max && m->frame_max < AMQP_FRAME_MIN_SIZE)
        return out_of_step(l, "frames smaller than the protocol's least", e);
    l->frame_max =
        m->frame_max ? MIN(m->frame_max, (uint32_t)AMQP_CODEC_FRAME_MAX) : AMQP_CODEC_FRAME_MAX;
    l->heartbeat_s = l->heartbeat_wanted_s;
    if (m->heartbeat && m->heartbeat < l->heartbeat_s)
        l->heartbeat_s = m->heartbeat;
    return 0;
}

static int connection_method(struct amqp_link *l, const struct amqp_codec_frame *f, struct err *e)
{
    struct amqp_event event = {.kind = AMQP_BLOCKED};
    int r = 0;
    switch (f->method) {
    case AMQP_CONNECTION_START_METHOD:
        l->offers_plain = offers(((amqp_connection_start_t *)f->decoded)->mechanisms, "PLAIN");
        return take_answer(l, f, e);
    case AMQP_CONNECTION_TUNE_METHOD:
        r = take_answer(l, f, e);
        return r < 0 ? r : take_tune(l, f->decoded, e);
    case AMQP_CONNECTION_OPEN_OK_METHOD:
    case AMQP_CONNECTION_CLOSE_OK_METHOD:
        return take_answer(l, f, e);
    case AMQP_CONNECTION_CLOSE_METHOD:
        return connection_closed(l, f->decoded, e);
    case AMQP_CONNECTION_BLOCKED_METHOD:
        copy_text(event.text, ((amqp_connection_blocked_t *)f->decoded)->reason);
        l->blocked = true;
        return tell(l, &event, e);
    case AMQP_CONNECTION_UNBLOCKED_METHOD:
        event.kind = AMQP_UNBLOCKED;
        l->blocked = false;
        return tell(l, &event, e);
    default:
        return out_of_step(l, "a channel's method on no channel", e);
    }
}

/* Somebody's mistake costs the channel. It is opened again at once, so that what follows finds one.
 */
static int channel_closed(struct amqp_link *l, const struct amqp_codec_frame *f, struct err *e)
{
    const amqp_channel_close_t *m = f->decoded;
    struct amqp_event event = {.kind = AMQP_CHANNEL_CLOSED, .code = m->reply_code};
    amqp_channel_close_ok_t ok = {0};
    copy_text(event.text, m->reply_text);
    int r = say(l, f->channel, AMQP_CHANNEL_CLOSE_OK_METHOD, &ok, e);
    bool asked = l->call.state == CALL_WAITING && l->call.channel == f->channel;
    if (asked) {
        l->call.state = CALL_REFUSED;
        l->call.code = event.code;
        memcpy(l->call.text, event.text, sizeof(event.text));
    }
    if (f->channel == AMQP_CHANNEL_ASK) {
        l->ask = CHANNEL_SHUT;
        return r;
    }
    amqp_link_reset_channel(l);
    amqp_link_drop_events(l, true);
    amqp_channel_open_t open = {0};
    if (r == 0)
        r = say(l, AMQP_CHANNEL_WORK, AMQP_CHANNEL_OPEN_METHOD, &open, e);
    l->work = CHANNEL_OPENING;
    if (r == 0 && !asked)
        r = tell(l, &event, e);
    return r;
}

static int take_delivery(struct amqp_link *l, const amqp_basic_deliver_t *m, struct err *e)
{
    if (!l->prefetch)
        return out_of_step(l, "a delivery without a consumer", e);
    l->incoming = (struct incoming){.expect = CONTENT_HEADER};
    struct amqp_event *event = &l->incoming.event;
    event->kind = AMQP_DELIVERY;
    event->tag = l->delivery_base + m->delivery_tag;
    event->redelivered = m->redelivered;
    copy_name(event->key, m->routing_key);
    l->delivery_last = MAX(l->delivery_last, event->tag);
    return 0;
}

static int take_cancel(struct amqp_link *l, const amqp_basic_cancel_t *m, struct err *e)
{
    struct amqp_event event = {.kind = AMQP_CANCELLED};
    l->prefetch = 0;
    (void)m; /* RabbitMQ never waits for an answer to it */
    return tell(l, &event, e);
}

static int channel_method(struct amqp_link *l, const struct amqp_codec_frame *f, struct err *e)
{
    if (f->method == AMQP_CHANNEL_CLOSE_METHOD)
        return channel_closed(l, f, e);
    if (f->channel == AMQP_CHANNEL_WORK && l->incoming.expect != CONTENT_NONE)
        return out_of_step(l, "a method in the middle of a message", e);
    switch (f->method) {
    case AMQP_CHANNEL_OPEN_OK_METHOD:
        if (f->channel == AMQP_CHANNEL_WORK && l->work == CHANNEL_OPENING) {
            l->work = CHANNEL_OPEN; /* again, and often nobody waits for it */
            if (!waits_for(l, f))
                return 0;
        }
        return take_answer(l, f, e);
    case AMQP_EXCHANGE_DECLARE_OK_METHOD:
    case AMQP_QUEUE_DECLARE_OK_METHOD:
    case AMQP_QUEUE_BIND_OK_METHOD:
    case AMQP_BASIC_QOS_OK_METHOD:
    case AMQP_BASIC_CONSUME_OK_METHOD:
        return take_answer(l, f, e);
    default:
        break;
    }
    if (f->channel != AMQP_CHANNEL_WORK)
        return out_of_step(l, "a message on the wrong channel", e);
    switch (f->method) {
    case AMQP_BASIC_DELIVER_METHOD:
        return take_delivery(l, f->decoded, e);
    case AMQP_BASIC_RETURN_METHOD: {
        const amqp_basic_return_t *m = f->decoded;
        l->incoming = (struct incoming){.expect = CONTENT_HEADER, .is_return = true};
        l->incoming.event.code = m->reply_code;
        copy_text(l->incoming.event.text, m->reply_text);
        return 0;
    }
    case AMQP_BASIC_ACK_METHOD: {
        const amqp_basic_ack_t *m = f->decoded;
        return amqp_link_settle(l, m->delivery_tag, m->multiple, PUBLISH_ACKED, e);
    }
    case AMQP_BASIC_NACK_METHOD: {
        const amqp_basic_nack_t *m = f->decoded;
        return amqp_link_settle(l, m->delivery_tag, m->multiple, PUBLISH_NACKED, e);
    }
    case AMQP_BASIC_CANCEL_METHOD:
        return take_cancel(l, f->decoded, e);
    default:
        return out_of_step(l, "a method that is not for a channel", e);
    }
}

/* The last byte of a message is here. */
static int message_whole(struct amqp_link *l, struct err *e)
{
    struct incoming *m = &l->incoming;
    int r = 0;
    m->expect = CONTENT_NONE;
    if (m->is_return) {
        amqp_link_note_return(l, &m->event);
    } else if (m->event.kind == AMQP_OVERSIZE) {
        amqp_basic_reject_t args = {.delivery_tag = m->event.tag - l->delivery_base};
        r = say(l, AMQP_CHANNEL_WORK, AMQP_BASIC_REJECT_METHOD, &args, e);
        if (r == 0)
            r = tell(l, &m->event, e);
    } else {
        m->event.body = blob_new_take(STEAL(m->body), m->event.body_size);
        r = tell(l, &m->event, e);
        if (r < 0)
            blob_unref(m->event.body);
    }
    return r;
}

static int take_content_header(struct amqp_link *l, const struct amqp_codec_frame *f, struct err *e)
{
    struct incoming *m = &l->incoming;
    if (f->channel != AMQP_CHANNEL_WORK || m->expect != CONTENT_HEADER)
        return out_of_step(l, "a content header without a message", e);
    const amqp_basic_properties_t *p = f->properties;
    if (p->_flags & AMQP_BASIC_MESSAGE_ID_FLAG)
        copy_name(m->event.message_id, p->message_id);
    if (p->_flags & AMQP_BASIC_EXPIRATION_FLAG)
        copy_name(m->event.expiration, p->expiration);
    m->event.body_size = f->body_size;
    m->expect = CONTENT_BODY;
    if (!m->is_return && f->body_size > l->body_max)
        m->event.kind = AMQP_OVERSIZE;
    if (!m->is_return && m->event.kind == AMQP_DELIVERY) {
        m->body = mem_try_alloc(f->body_size, 1, l->body_max);
        if (!m->body)
            return amqp_link_error(l, e, -ENOMEM, ERR_LATER,
                                   "no memory for a message of %llu bytes",
                                   (unsigned long long)f->body_size);
    }
    return f->body_size ? 0 : message_whole(l, e);
}

static int take_content_body(struct amqp_link *l, const struct amqp_codec_frame *f, struct err *e)
{
    struct incoming *m = &l->incoming;
    if (f->channel != AMQP_CHANNEL_WORK || m->expect != CONTENT_BODY)
        return out_of_step(l, "a content body without a message", e);
    if (f->size > m->event.body_size - m->have)
        return out_of_step(l, "a message longer than announced", e);
    if (m->body && f->size)
        memcpy(m->body + m->have, f->bytes, f->size);
    m->have += f->size;
    return m->have == m->event.body_size ? message_whole(l, e) : 0;
}

static int take_frame(struct amqp_link *l, const struct amqp_codec_frame *f, struct err *e)
{
    if (f->type == AMQP_FRAME_HEARTBEAT || (l->closing && f->channel))
        return 0;
    switch (f->type) {
    case AMQP_FRAME_METHOD:
        return f->channel ? channel_method(l, f, e) : connection_method(l, f, e);
    case AMQP_FRAME_HEADER:
        return take_content_header(l, f, e);
    default:
        return take_content_body(l, f, e);
    }
}

/* ---- moving bytes ---- */

/* The first bytes tell who is there. */
static int check_greeting(struct amqp_link *l, struct err *e)
{
    const char *s = (const char *)l->in + l->in_start;
    size_t len = l->in_end - l->in_start;
    if (l->greeted || !len || s[0] == AMQP_FRAME_METHOD)
        return 0;
    if (len >= 5 && !memcmp(s, "HTTP/", 5))
        return amqp_link_error(
            l, e, -EPROTO, ERR_NEVER,
            "an HTTP server answers there: is it the management port? AMQP is usually "
            "on %d, with TLS on %d",
            AMQP_PORT, AMQP_PORT_TLS);
    if (len >= 4 && !memcmp(s, "AMQP", 4))
        return amqp_link_error(l, e, -EPROTO, ERR_NEVER,
                               "it speaks another version of AMQP than 0-9-1");
    if (s[0] == 0x15 || s[0] == 0x16) /* TLS: an alert, a handshake */
        return amqp_link_error(l, e, -EPROTO, ERR_NEVER,
                               "it wants TLS on that port: switch TLS on");
    return amqp_link_error(l, e, -EPROTO, ERR_NEVER,
                           "what answers there is no AMQP server: look at the port");
}

/* Frames that are whole, up to the first that makes an event. A request that waits takes all. */
static int take_frames(struct amqp_link *l, struct err *e)
{
    int r = check_greeting(l, e);
    while (r == 0 && l->in_start < l->in_end) {
        if (amqp_link_has_event(l) && l->call.state != CALL_WAITING)
            break;
        struct amqp_codec_frame f;
        size_t used = 0;
        r = amqp_codec_next(l->in + l->in_start, l->in_end - l->in_start, l->frame_max, &l->pool,
                            &f, &used, e);
        if (r < 0)
            (void)err_prefix(e, "broker '%s'", l->peer);
        if (r <= 0)
            break;
        l->in_start += used;
        l->greeted = true;
        r = take_frame(l, &f, e);
        recycle_amqp_pool(&l->pool);
    }
    return r;
}

static int read_some(struct amqp_link *l, struct err *e)
{
    l->more = false;
    if (l->in_start == l->in_end)
        l->in_start = l->in_end = 0;
    if (l->in_end == AMQP_CODEC_FRAME_MAX) {
        l->in_end -= l->in_start;
        memmove(l->in, l->in + l->in_start, l->in_end);
        l->in_start = 0;
    }
    int64_t n = stream_read(l->stream, l->in + l->in_end, AMQP_CODEC_FRAME_MAX - l->in_end, e);
    if (n == -EAGAIN)
        return 0;
    if (n == -ECONNRESET && !l->greeted)
        return amqp_link_error(
            l, e, -ECONNRESET, ERR_LATER,
            "it closed the connection without an AMQP greeting: is that the broker's "
            "AMQP port?");
    if (n < 0) {
        (void)err_prefix(e, "broker '%s'", l->peer);
        return (int)n;
    }
    l->in_end += (size_t)n;
    l->more = true;
    l->heard_at = clock_mono();
    return 0;
}

int amqp_link_flush(struct amqp_link *l, struct err *e)
{
    while (l->out_start < l->out.len) {
        int64_t n =
            stream_write(l->stream, l->out.data + l->out_start, l->out.len - l->out_start, e);
        if (n == -EAGAIN)
            return 0;
        if (n < 0) {
            (void)err_prefix(e, "broker '%s'", l->peer);
            return (int)n;
        }
        l->out_start += (size_t)n;
        l->sent_at = clock_mono();
    }
    l->out_start = 0;
    if (l->out.cap > OUT_KEPT_MAX)
        dynbuf_done(&l->out);
    else
        dynbuf_reset(&l->out);
    return 0;
}

static int64_t dead_at_us(const struct amqp_link *l)
{
    return mono_add_ms(l->heard_at, (int64_t)HEARTBEATS_MISSED * l->heartbeat_s * 1000).us;
}

int64_t amqp_link_heartbeat_due_us(const struct amqp_link *l)
{
    int64_t dead = dead_at_us(l);
    if (l->out_start < l->out.len) /* what waits to be sent says more than a heartbeat could */
        return dead;
    return MIN(dead, mono_add_ms(l->sent_at, (int64_t)l->heartbeat_s * 1000 / 2).us);
}

/* All that can be done without waiting: send, read once, take what is whole. What was read is
 * judged before the clock is: after a pause of ours the peer's signs of life are in the socket. */
int amqp_link_pump(struct amqp_link *l, struct err *e)
{
    int r = amqp_link_flush(l, e);
    if (r < 0 && l->greeted) { /* what it said before it hung up tells why */
        struct err said = {0};
        if (read_some(l, NULL) == 0 && take_frames(l, &said) < 0 && e)
            *e = said;
        return r;
    }
    if (r == 0)
        r = take_frames(l, e);
    bool enough = amqp_link_has_event(l) && l->call.state != CALL_WAITING;
    if (r < 0 || enough || l->call.state == CALL_ANSWERED || l->call.state == CALL_REFUSED)
        return r;
    r = read_some(l, e);
    if (r == 0)
        r = take_frames(l, e);
    if (r < 0)
        return r;
    int64_t now = clock_mono().us;
    if (now >= dead_at_us(l))
        return amqp_link_error(l, e, -ETIMEDOUT, ERR_NOW,
                               "no sign of life for %d s: it hangs or the network is cut",
                               HEARTBEATS_MISSED * l->heartbeat_s);
    if (now >= amqp_link_heartbeat_due_us(l) && amqp_codec_heartbeat(&l->out) < 0)
        return amqp_link_error(l, e, -ENOMEM, ERR_LATER, "no memory");
    return amqp_link_flush(l, e);
}

void amqp_link_arm(struct amqp_link *l)
{
    int64_t due = -1;
    if (amqp_link_has_event(l) || l->end_untold || (l->stream && l->more))
        due = 1; /* long past */
    else if (l->stream)
        due = amqp_link_heartbeat_due_us(l);
    if (l->stream) {
        short wanted = stream_events(l->stream, l->out_start < l->out.len);
        struct epoll_event ev = {.events = (uint32_t)wanted, .data.fd = stream_fd(l->stream)};
        if (wanted != l->watched &&
            epoll_ctl(l->epoll_fd, EPOLL_CTL_MOD, stream_fd(l->stream), &ev) == 0)
            l->watched = wanted;
    }
    /* A timer that comes too early does no harm, and setting it for every message costs. */
    if (due == l->armed_us || (l->armed_us > clock_mono().us && due >= l->armed_us))
        return;
    struct itimerspec at = {0};
    if (due >= 0) {
        at.it_value.tv_sec = (time_t)(due / 1000000);
        at.it_value.tv_nsec = (long)(due % 1000000) * 1000;
    }
    if (timerfd_settime(l->timer_fd, TFD_TIMER_ABSTIME, &at, NULL) == 0)
        l->armed_us = due;
}
