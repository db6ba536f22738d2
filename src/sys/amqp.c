#include "sys/amqp.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "sys/amqp_link.h"

/* rabbitmq-c knows the protocol's methods well, and we use that. What it does with sockets we do
 * not use: its publish waits without limit while the broker does not read, which is what a broker
 * short of memory does; so does its heartbeat, and its wait for the rest of a message; names are
 * looked up without limit; certificates for an address never match; and a time-out closes the
 * socket under the caller. Here bytes move without ever waiting (sys/stream.h), frames are made and
 * taken apart by sys/amqp_codec.h, and the only places that wait are wait_answer() and
 * amqp_link_process(). What comes in is taken by amqp_in.c, what is published leaves by amqp_out.c.
 */

enum {
    CALL_TIMEOUT_MS = 10000, /* a quorum queue answers only when it has a leader */
    GOODBYE_TIMEOUT_MS = 1000,
    POOL_PAGE = 4096,
    HEARTBEAT_MAX_S = 600,
};

const char *const amqp_event_names[AMQP_EVENT_COUNT] = {
    [AMQP_NOTHING] = "nothing",     [AMQP_DELIVERY] = "delivery",
    [AMQP_OVERSIZE] = "oversize",   [AMQP_ACKED] = "acked",
    [AMQP_NACKED] = "nacked",       [AMQP_RETURNED] = "returned",
    [AMQP_BLOCKED] = "blocked",     [AMQP_UNBLOCKED] = "unblocked",
    [AMQP_CANCELLED] = "cancelled", [AMQP_CHANNEL_CLOSED] = "channel-closed",
};

static int parse_addresses(struct amqp_link *l, const char *list, struct err *e);
static int connect_one(struct amqp_link *l, const struct amqp_address *a, struct err *e);
static int log_in(struct amqp_link *l, struct mono_time deadline, struct err *e);
static int request(struct amqp_link *l, uint16_t channel, amqp_method_number_t method, void *args,
                   amqp_method_number_t answer, struct mono_time deadline, struct err *e);
static int refusal(struct amqp_link *l, struct err *e, const char *what, const char *name);
static void hang_up(struct amqp_link *l);
static bool take_event(struct amqp_link *l, struct amqp_event *ret);

/* ---- life ---- */

static char *own(const char *s, const char *fallback)
{
    return xstrdup(s && *s ? s : fallback);
}

static int check_options(const struct amqp_options *o, struct err *e)
{
    const char *const texts[] = {o->user, o->password, o->vhost, o->name};
    static const char *const names[] = {"user", "password", "vhost", "connection name"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        if (texts[i] && strlen(texts[i]) >= AMQP_NAME_MAX)
            return err_set(e, -EINVAL, ERR_NEVER, "broker: the %s is longer than %d bytes",
                           names[i], AMQP_NAME_MAX - 1);
    }
    if (o->heartbeat_s < 0 || o->heartbeat_s > HEARTBEAT_MAX_S)
        return err_set(e, -EINVAL, ERR_NEVER, "broker: the heartbeat must be 1 to %d seconds",
                       HEARTBEAT_MAX_S);
    if (o->tls_key_file && !o->tls_cert_file)
        return err_set(e, -EINVAL, ERR_NEVER, "broker: a TLS key without its certificate");
    return 0;
}

int amqp_link_new(const struct amqp_options *o, struct amqp_link **ret, struct err *e)
{
    int r = check_options(o, e);
    if (r < 0)
        return r;
    AUTO(amqp_link) l = xcalloc(1, sizeof(*l));
    l->epoll_fd = l->timer_fd = -1;
    l->armed_us = -1;
    l->events_end = &l->events;
    l->publish_first = l->publish_next = 1;
    dynbuf_init(&l->out, SIZE_MAX / 2); /* limited in publish() */
    init_amqp_pool(&l->pool, POOL_PAGE);
    l->user = own(o->user, "guest");
    l->password = own(o->password, o->user && *o->user ? "" : "guest");
    l->vhost = own(o->vhost, "/");
    l->name = own(o->name, NULL);
    l->tls = o->tls;
    l->tls_any_host = o->tls_any_host;
    l->tls_ca_file = own(o->tls_ca_file, NULL);
    l->tls_cert_file = own(o->tls_cert_file, NULL);
    l->tls_key_file = own(o->tls_key_file, NULL);
    l->stop_fd = o->stop_fd > 0 ? o->stop_fd : -1;
    l->heartbeat_wanted_s = o->heartbeat_s ? o->heartbeat_s : AMQP_HEARTBEAT_S;
    l->connect_timeout_ms = o->connect_timeout_ms ? o->connect_timeout_ms : AMQP_CONNECT_TIMEOUT_MS;
    l->body_max = o->body_max ? o->body_max : AMQP_BODY_MAX;
    r = parse_addresses(l, o->addresses, e);
    if (r < 0)
        return r;

    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    l->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    struct epoll_event ev = {.events = EPOLLIN, .data.fd = l->timer_fd};
    if (l->epoll_fd < 0 || l->timer_fd < 0 ||
        epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, l->timer_fd, &ev) < 0)
        return err_errno(e, -errno, "broker");
    *ret = STEAL(l);
    return 0;
}

void amqp_link_free(struct amqp_link *l)
{
    if (!l)
        return;
    amqp_link_disconnect(l);
    dynbuf_done(&l->out);
    empty_amqp_pool(&l->pool);
    free(l->publishes);
    if (l->timer_fd >= 0)
        (void)close(l->timer_fd); /* a timer holds nothing to lose */
    if (l->epoll_fd >= 0)
        (void)close(l->epoll_fd); /* nor does the set */
    if (l->password)
        explicit_bzero(l->password, strlen(l->password));
    free(l->user);
    free(l->password);
    free(l->vhost);
    free(l->name);
    free(l->tls_ca_file);
    free(l->tls_cert_file);
    free(l->tls_key_file);
    free(l);
}

static int parse_addresses(struct amqp_link *l, const char *list, struct err *e)
{
    const char *cursor = list, *item;
    size_t len;
    while (cursor && parse_list_next(&cursor, &item, &len)) {
        if (l->address_count == AMQP_ADDRESSES_MAX)
            return err_set(e, -EINVAL, ERR_NEVER, "broker: more than %d addresses",
                           AMQP_ADDRESSES_MAX);
        int r = amqp_address_parse(item, len, l->tls ? AMQP_PORT_TLS : AMQP_PORT,
                                   &l->addresses[l->address_count], e);
        if (r < 0)
            return r;
        l->address_count++;
    }
    if (!l->address_count)
        return err_set(e, -EINVAL, ERR_NEVER, "broker: no address is given, like 'host:5672'");
    return 0;
}

bool amqp_link_connected(const struct amqp_link *l)
{
    return l->stream && l->logged_in;
}

const char *amqp_link_peer(const struct amqp_link *l)
{
    return l->peer;
}

int amqp_link_fd(const struct amqp_link *l)
{
    return l->epoll_fd;
}

int amqp_link_unconfirmed(const struct amqp_link *l)
{
    return l->publishes_open;
}

bool amqp_link_blocked(const struct amqp_link *l)
{
    return l->blocked;
}

/* ---- connecting ---- */

/* How far an attempt came: the story worth telling when several failed. */
static int progress(int code)
{
    switch (-code) {
    case EACCES:
        return 4;
    case EPROTO:
    case EKEYREJECTED:
    case EINVAL:
        return 3;
    case ECONNRESET:
        return 2;
    case ETIMEDOUT:
        return 1;
    default:
        return 0;
    }
}

int amqp_link_connect(struct amqp_link *l, struct err *e)
{
    hang_up(l);
    amqp_link_drop_events(l, false);
    l->end_untold = false;
    struct err best = {0};
    for (size_t i = 0; i < l->address_count; i++) {
        const struct amqp_address *a = &l->addresses[l->address_next];
        struct err error = {0};
        int r = connect_one(l, a, &error);
        l->address_next = (l->address_next + 1) % l->address_count;
        if (r == 0)
            return 0;
        if (!best.code || r == -ECANCELED || progress(r) > progress(best.code))
            best = error;
        if (r == -ECANCELED)
            break;
    }
    if (e)
        *e = best;
    return best.code;
}

static int connect_one(struct amqp_link *l, const struct amqp_address *a, struct err *e)
{
    bool v6 = strchr(a->host, ':') != NULL;
    (void)text_format(l->peer, sizeof(l->peer), v6 ? "[%s]:%u" : "%s:%u", a->host,
                      (unsigned)a->port);
    const struct stream_options to = {
        .host = a->host,
        .port = a->port,
        .tls = l->tls,
        .tls_ca_file = l->tls_ca_file,
        .tls_cert_file = l->tls_cert_file,
        .tls_key_file = l->tls_key_file,
        .tls_any_host = l->tls_any_host,
        .timeout_ms = l->connect_timeout_ms,
        .stop_fd = l->stop_fd,
    };
    struct mono_time deadline = mono_add_ms(clock_mono(), l->connect_timeout_ms);
    int r = stream_open(&to, &l->stream, e);
    if (r < 0) {
        (void)err_prefix(e, "broker '%s'", l->peer);
        return r;
    }
    struct epoll_event ev = {.events = EPOLLIN, .data.fd = stream_fd(l->stream)};
    l->watched = POLLIN;
    if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, stream_fd(l->stream), &ev) < 0)
        r = err_errno(e, -errno, "broker '%s'", l->peer);
    l->in = xmalloc(AMQP_CODEC_FRAME_MAX);
    l->frame_max = AMQP_CODEC_FRAME_MAX_FIRST;
    l->heartbeat_s = HEARTBEAT_MAX_S; /* none before both sides agreed on it; the deadline counts */
    l->heard_at = l->sent_at = clock_mono();
    if (r == 0)
        r = log_in(l, deadline, e);
    if (r < 0 && !e->code) /* all else has told its story */
        r = amqp_link_error(l, e, -ENOMEM, ERR_LATER, "no memory");
    if (r < 0)
        hang_up(l);
    l->logged_in = r == 0;
    amqp_link_arm(l);
    return r;
}

static amqp_table_entry_t text_entry(const char *key, const char *value)
{
    return (amqp_table_entry_t){
        .key = amqp_cstring_bytes(key),
        .value = {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = amqp_cstring_bytes(value)}};
}

static int start_ok(struct amqp_link *l)
{
    static const char *const can[] = {"publisher_confirms", "basic.nack", "connection.blocked",
                                      "consumer_cancel_notify", "authentication_failure_close"};
    amqp_table_entry_t capabilities[ARRAY_LEN(can)];
    for (size_t i = 0; i < ARRAY_LEN(can); i++)
        capabilities[i] =
            (amqp_table_entry_t){.key = amqp_cstring_bytes(can[i]),
                                 .value = {.kind = AMQP_FIELD_KIND_BOOLEAN, .value.boolean = 1}};
    amqp_table_entry_t properties[] = {
        text_entry("product", "snapshot-processor"),
        {.key = amqp_cstring_bytes("capabilities"),
         .value = {.kind = AMQP_FIELD_KIND_TABLE,
                   .value.table = {.num_entries = ARRAY_LEN(can), .entries = capabilities}}},
        text_entry("connection_name", l->name ? l->name : ""),
    };
    char login[2 * AMQP_NAME_MAX];
    size_t user = strlen(l->user), password = strlen(l->password);
    login[0] = login[user + 1] = '\0';
    memcpy(login + 1, l->user, user);
    memcpy(login + user + 2, l->password, password);
    amqp_connection_start_ok_t args = {
        .client_properties = {.num_entries = l->name ? 3 : 2, .entries = properties},
        .mechanism = amqp_cstring_bytes("PLAIN"),
        .response = {.bytes = login, .len = user + password + 2},
        .locale = amqp_cstring_bytes("en_US"),
    };
    int r = amqp_codec_method(&l->out, 0, AMQP_CONNECTION_START_OK_METHOD, &args);
    explicit_bzero(login, sizeof(login));
    return r;
}

static int too_late(struct amqp_link *l, const char *for_what, struct err *e)
{
    return amqp_link_error(l, e, -ETIMEDOUT, ERR_LATER,
                           l->greeted
                               ? "no answer to %s within %lld ms"
                               : "connected, but no %s within %lld ms: is that the broker's AMQP "
                                 "port?",
                           for_what, (long long)l->connect_timeout_ms);
}

static int log_in(struct amqp_link *l, struct mono_time deadline, struct err *e)
{
    static const char hello[8] = {'A', 'M', 'Q', 'P', 0, 0, 9, 1};
    int r = dynbuf_append(&l->out, hello, sizeof(hello));
    if (r == 0)
        r = request(l, 0, 0, NULL, AMQP_CONNECTION_START_METHOD, deadline, e);
    if (r == -ETIMEDOUT)
        return too_late(l, "AMQP greeting", e);
    if (r < 0)
        return r;
    if (!l->offers_plain)
        return amqp_link_error(l, e, -EACCES, ERR_NEVER,
                               "it does not let anybody log in by password");

    r = start_ok(l);
    if (r == 0)
        r = request(l, 0, 0, NULL, AMQP_CONNECTION_TUNE_METHOD, deadline, e);
    if (r == -ETIMEDOUT)
        return too_late(l, "the log-in", e);
    if (r < 0)
        return r;

    amqp_connection_tune_ok_t agreed = {.channel_max = AMQP_CODEC_CHANNEL_MAX,
                                        .frame_max = (uint32_t)l->frame_max,
                                        .heartbeat = (uint16_t)l->heartbeat_s};
    amqp_connection_open_t open = {.virtual_host = amqp_cstring_bytes(l->vhost)};
    r = amqp_codec_method(&l->out, 0, AMQP_CONNECTION_TUNE_OK_METHOD, &agreed);
    if (r == 0)
        r = request(l, 0, AMQP_CONNECTION_OPEN_METHOD, &open, AMQP_CONNECTION_OPEN_OK_METHOD,
                    deadline, e);
    amqp_channel_open_t channel = {0};
    if (r == 0)
        r = request(l, AMQP_CHANNEL_WORK, AMQP_CHANNEL_OPEN_METHOD, &channel,
                    AMQP_CHANNEL_OPEN_OK_METHOD, deadline, e);
    if (r == -ETIMEDOUT)
        return too_late(l, "opening the vhost", e);
    if (r == -EREMOTEIO)
        return refusal(l, e, "a channel in vhost", l->vhost);
    if (r == 0)
        l->work = CHANNEL_OPEN;
    return r;
}

void amqp_link_disconnect(struct amqp_link *l)
{
    if (amqp_link_connected(l)) {
        /* Closing at once, with something unread, would make the kernel throw away what we sent. */
        amqp_connection_close_t args = {.reply_code = AMQP_REPLY_SUCCESS,
                                        .reply_text = amqp_cstring_bytes("bye")};
        l->closing = true;
        (void)request(l, 0, AMQP_CONNECTION_CLOSE_METHOD, &args, AMQP_CONNECTION_CLOSE_OK_METHOD,
                      mono_add_ms(clock_mono(), GOODBYE_TIMEOUT_MS), NULL);
    }
    hang_up(l);
    amqp_link_drop_events(l, false);
    l->end_untold = false;
    amqp_link_arm(l);
}

void amqp_link_reset_channel(struct amqp_link *l)
{
    struct amqp_event event;
    uint64_t used = l->publish_next - 1;
    while (l->publishes_settled) {
        amqp_link_take_settled(l, &event);
        amqp_link_queue_event(l, &event);
    }
    amqp_link_forget_publishes(l);
    l->publish_base += used;
    l->publish_first = l->publish_next = 1;
    l->publishes_open = 0;
    l->confirming = false;
    l->delivery_base = l->delivery_last;
    l->prefetch = 0;
    free(l->incoming.body);
    l->incoming = (struct incoming){0};
    l->work = CHANNEL_SHUT;
}

/* Closes the connection without a word and forgets what belonged to it, but for events that are
 * still true. */
static void hang_up(struct amqp_link *l)
{
    amqp_link_reset_channel(l);
    amqp_link_drop_events(l, true);
    stream_close(l->stream); /* which takes it out of the epoll set */
    l->stream = NULL;
    free(l->in);
    l->in = NULL;
    l->in_start = l->in_end = l->out_start = 0;
    dynbuf_done(&l->out);
    recycle_amqp_pool(&l->pool);
    l->ask = CHANNEL_SHUT;
    l->more = l->greeted = l->logged_in = l->offers_plain = l->closing = l->blocked = false;
    l->call.state = CALL_NONE;
}

/* The connection is over; process() will say why. */
void amqp_link_end(struct amqp_link *l, const struct err *why)
{
    hang_up(l);
    l->end = *why;
    l->end_untold = true;
}

int amqp_link_error(struct amqp_link *l, struct err *e, int code, enum err_retry retry,
                    const char *fmt, ...)
{
    char text[ERR_TEXT_MAX];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return err_set(e, code, retry, "broker '%s': %s", l->peer, text);
}

int amqp_link_not_connected(struct amqp_link *l, struct err *e)
{
    return amqp_link_error(l, e, -ENOTCONN, ERR_LATER, "not connected");
}

/* ---- waiting for an answer ---- */

/* Until something can be read or sent, a heartbeat is due, or the deadline has come. */
static int wait_for_it(struct amqp_link *l, struct mono_time deadline, int stop_fd)
{
    struct mono_time until = {MIN(deadline.us, amqp_link_heartbeat_due_us(l))};
    return stream_wait(l->stream, l->out.len > l->out_start, until, stop_fd);
}

static int wait_answer(struct amqp_link *l, struct mono_time deadline, struct err *e)
{
    while (l->call.state == CALL_WAITING) {
        int r = amqp_link_pump(l, e);
        if (r < 0)
            return r;
        if (l->call.state != CALL_WAITING)
            break;
        if (l->more && !mono_passed(deadline))
            continue;
        if (mono_passed(deadline))
            return amqp_link_error(l, e, -ETIMEDOUT, ERR_LATER, "no answer in time");
        /* Good-bye is what one says when stopped. */
        r = wait_for_it(l, deadline, l->closing ? -1 : l->stop_fd);
        if (r == -ECANCELED)
            return amqp_link_error(l, e, r, ERR_LATER, "stopped while waiting for its answer");
    }
    return l->call.state == CALL_REFUSED ? -EREMOTEIO : 0;
}

/* Sends a method (0: none, the answer comes by itself) and waits for its answer. -EREMOTEIO:
 * refused, l->call has the reason. Other errors mean the end of the connection; the caller hangs
 * up. */
static int request(struct amqp_link *l, uint16_t channel, amqp_method_number_t method, void *args,
                   amqp_method_number_t answer, struct mono_time deadline, struct err *e)
{
    int r = method ? amqp_codec_method(&l->out, channel, method, args) : 0;
    if (r == -EINVAL) /* nothing was sent */
        return amqp_link_error(l, e, r, ERR_NEVER, "a name is longer than %d bytes",
                               AMQP_NAME_MAX - 1);
    if (r < 0)
        return amqp_link_error(l, e, -ENOMEM, ERR_LATER, "no memory");
    l->call = (struct call){.state = CALL_WAITING, .channel = channel, .answer = answer};
    r = wait_answer(l, deadline, e);
    l->call.state = CALL_NONE;
    return r;
}

/* A question on the channel that may be closed over it. */
static int ask(struct amqp_link *l, amqp_method_number_t method, void *args,
               amqp_method_number_t answer, struct err *e)
{
    struct mono_time deadline = mono_add_ms(clock_mono(), CALL_TIMEOUT_MS);
    amqp_channel_open_t open = {0};
    int r = 0;
    if (!amqp_link_connected(l))
        return amqp_link_not_connected(l, e);
    if (l->ask != CHANNEL_OPEN)
        r = request(l, AMQP_CHANNEL_ASK, AMQP_CHANNEL_OPEN_METHOD, &open,
                    AMQP_CHANNEL_OPEN_OK_METHOD, deadline, e);
    if (r == 0) {
        l->ask = CHANNEL_OPEN;
        r = request(l, AMQP_CHANNEL_ASK, method, args, answer, deadline, e);
    }
    if (r < 0 && r != -EREMOTEIO && r != -EINVAL)
        hang_up(l);
    amqp_link_arm(l);
    return r;
}

/* ---- declaring ---- */

static int refusal(struct amqp_link *l, struct err *e, const char *what, const char *name)
{
    const struct call *c = &l->call;
    switch (c->code) {
    case AMQP_ACCESS_REFUSED:
        return amqp_link_error(l, e, -EACCES, ERR_NEVER, "%s '%s': user '%s' lacks the right: %s",
                               what, name, l->user, c->text);
    case AMQP_NOT_FOUND:
        return amqp_link_error(l, e, -ENOENT, ERR_LATER, "%s '%s': %s", what, name, c->text);
    case AMQP_RESOURCE_LOCKED:
        return amqp_link_error(l, e, -EBUSY, ERR_LATER, "%s '%s' belongs to another connection: %s",
                               what, name, c->text);
    case AMQP_PRECONDITION_FAILED:
        return amqp_link_error(
            l, e, -EEXIST, ERR_NEVER,
            "%s '%s' exists with other flags: %s: delete it there or use another name", what, name,
            c->text);
    default:
        return amqp_link_error(l, e, -EPROTO, ERR_LATER, "%s '%s': refused with %d: %s", what, name,
                               c->code, c->text);
    }
}

int amqp_link_declare_exchange(struct amqp_link *l, const char *name, const char *type,
                               struct err *e)
{
    amqp_exchange_declare_t args = {.exchange = amqp_cstring_bytes(name),
                                    .type = amqp_cstring_bytes(type)};
    int r = ask(l, AMQP_EXCHANGE_DECLARE_METHOD, &args, AMQP_EXCHANGE_DECLARE_OK_METHOD, e);
    if (r != -EREMOTEIO)
        return r;
    /* Durable or not, and who made it, is the same to us. That a topic exchange is direct is not.
     */
    if (l->call.code == AMQP_PRECONDITION_FAILED && !strstr(l->call.text, "'type'"))
        return 0;
    if (l->call.code == AMQP_ACCESS_REFUSED) {
        struct call forbidden = l->call;
        args.passive = 1;
        r = ask(l, AMQP_EXCHANGE_DECLARE_METHOD, &args, AMQP_EXCHANGE_DECLARE_OK_METHOD, e);
        if (r != -EREMOTEIO)
            return r;
        l->call = forbidden;
    }
    return refusal(l, e, "exchange", name);
}

int amqp_link_declare_queue(struct amqp_link *l, const struct amqp_queue *q,
                            char ret_name[AMQP_NAME_MAX], struct err *e)
{
    amqp_table_entry_t arguments[3];
    int count = 0;
    if (q->name)
        arguments[count++] = text_entry("x-queue-type", "quorum");
    if (q->name && q->dead_letter_exchange)
        arguments[count++] = text_entry("x-dead-letter-exchange", q->dead_letter_exchange);
    if (q->name && q->delivery_limit)
        arguments[count++] = (amqp_table_entry_t){
            .key = amqp_cstring_bytes("x-delivery-limit"),
            .value = {.kind = AMQP_FIELD_KIND_I32, .value.i32 = q->delivery_limit}};
    amqp_queue_declare_t args = {
        .queue = amqp_cstring_bytes(q->name ? q->name : ""),
        .durable = q->name != NULL,
        .exclusive = q->name == NULL,
        .arguments = {.num_entries = count, .entries = arguments},
    };
    int r = ask(l, AMQP_QUEUE_DECLARE_METHOD, &args, AMQP_QUEUE_DECLARE_OK_METHOD, e);
    if (r == -EREMOTEIO && q->name && l->call.code == AMQP_ACCESS_REFUSED) {
        struct call forbidden = l->call;
        args.passive = 1;
        r = ask(l, AMQP_QUEUE_DECLARE_METHOD, &args, AMQP_QUEUE_DECLARE_OK_METHOD, e);
        if (r == -EREMOTEIO)
            l->call = forbidden;
    }
    if (r == -EREMOTEIO)
        return refusal(l, e, "queue", q->name ? q->name : "of our own");
    if (r == 0)
        (void)text_copy(ret_name, AMQP_NAME_MAX, l->call.queue);
    return r;
}

int amqp_link_bind(struct amqp_link *l, const char *queue, const char *exchange, const char *key,
                   struct err *e)
{
    amqp_queue_bind_t args = {.queue = amqp_cstring_bytes(queue),
                              .exchange = amqp_cstring_bytes(exchange),
                              .routing_key = amqp_cstring_bytes(key)};
    int r = ask(l, AMQP_QUEUE_BIND_METHOD, &args, AMQP_QUEUE_BIND_OK_METHOD, e);
    return r == -EREMOTEIO ? refusal(l, e, "binding to exchange", exchange) : r;
}

int amqp_link_consume(struct amqp_link *l, const char *queue, int prefetch, struct err *e)
{
    assert(prefetch >= 1 && prefetch <= AMQP_PREFETCH_MAX);
    assert(l->prefetch == 0); /* one consumer per link */
    struct mono_time deadline = mono_add_ms(clock_mono(), CALL_TIMEOUT_MS);
    amqp_basic_qos_t qos = {.prefetch_count = (uint16_t)prefetch};
    amqp_basic_consume_t consume = {.queue = amqp_cstring_bytes(queue)};
    int r = 0;
    if (!amqp_link_connected(l))
        return amqp_link_not_connected(l, e);
    if (l->work != CHANNEL_OPEN) /* it was closed over something, and is on its way */
        r = request(l, AMQP_CHANNEL_WORK, 0, NULL, AMQP_CHANNEL_OPEN_OK_METHOD, deadline, e);
    if (r == 0)
        r = request(l, AMQP_CHANNEL_WORK, AMQP_BASIC_QOS_METHOD, &qos, AMQP_BASIC_QOS_OK_METHOD,
                    deadline, e);
    l->prefetch = prefetch; /* deliveries may be right behind the answer */
    if (r == 0)
        r = request(l, AMQP_CHANNEL_WORK, AMQP_BASIC_CONSUME_METHOD, &consume,
                    AMQP_BASIC_CONSUME_OK_METHOD, deadline, e);
    if (r == -EREMOTEIO)
        r = refusal(l, e, "queue", queue);
    else if (r < 0 && r != -EINVAL)
        hang_up(l);
    if (r < 0)
        l->prefetch = 0;
    amqp_link_arm(l);
    return r;
}

/* ---- events ---- */

bool amqp_link_has_event(const struct amqp_link *l)
{
    return l->events || l->publishes_settled;
}

void amqp_link_queue_event(struct amqp_link *l, const struct amqp_event *event)
{
    struct queued *q = xmalloc(sizeof(*q));
    *q = (struct queued){.event = *event};
    *l->events_end = q;
    l->events_end = &q->next;
    l->event_count++;
}

static bool take_event(struct amqp_link *l, struct amqp_event *ret)
{
    struct queued *q = l->events;
    if (!q) {
        if (l->publishes_settled)
            amqp_link_take_settled(l, ret);
        return ret->kind != AMQP_NOTHING;
    }
    l->events = q->next;
    if (!l->events)
        l->events_end = &l->events;
    l->event_count--;
    *ret = q->event;
    l->lent = q->event.body;
    free(q);
    return true;
}

void amqp_link_drop_events(struct amqp_link *l, bool deliveries_only)
{
    struct queued **at = &l->events;
    while (*at) {
        struct queued *q = *at;
        if (deliveries_only && q->event.kind != AMQP_DELIVERY) {
            at = &q->next;
            continue;
        }
        *at = q->next;
        blob_unref(q->event.body);
        free(q);
        l->event_count--;
    }
    l->events_end = at;
    if (!deliveries_only)
        blob_unref(STEAL(l->lent));
}

int amqp_link_process(struct amqp_link *l, int timeout_ms, struct amqp_event *ret, struct err *e)
{
    struct mono_time deadline = mono_add_ms(clock_mono(), timeout_ms);
    struct err why = {0};
    int r = 0;
    blob_unref(STEAL(l->lent));
    *ret = (struct amqp_event){.kind = AMQP_NOTHING};
    for (;;) {
        if (take_event(l, ret))
            break;
        if (!amqp_link_connected(l)) {
            r = l->end_untold ? l->end.code : amqp_link_not_connected(l, e);
            if (l->end_untold && e)
                *e = l->end;
            l->end_untold = false;
            break;
        }
        if (amqp_link_pump(l, &why) < 0) {
            amqp_link_end(l, &why);
            continue;
        }
        if (amqp_link_has_event(l))
            continue;
        if (mono_passed(deadline))
            break;
        if (!l->more)
            (void)wait_for_it(l, deadline, -1);
    }
    amqp_link_arm(l);
    return r;
}

static int answer_delivery(struct amqp_link *l, uint64_t tag, amqp_method_number_t method,
                           bool requeue)
{
    assert(tag > 0 && tag <= l->delivery_last);
    if (!amqp_link_connected(l))
        return -ENOTCONN;
    if (tag <= l->delivery_base)
        return -ESTALE;
    amqp_basic_ack_t ack = {.delivery_tag = tag - l->delivery_base};
    amqp_basic_reject_t reject = {.delivery_tag = tag - l->delivery_base, .requeue = requeue};
    int r = amqp_codec_method(&l->out, AMQP_CHANNEL_WORK, method,
                              method == AMQP_BASIC_ACK_METHOD ? (void *)&ack : (void *)&reject);
    if (r < 0) { /* no memory for 21 bytes: the delivery comes again with the next connection */
        struct err why = {0};
        (void)amqp_link_error(l, &why, -ENOMEM, ERR_LATER, "no memory");
        amqp_link_end(l, &why);
        amqp_link_arm(l);
        return -ENOTCONN;
    }
    return amqp_link_send_now(l, NULL);
}

int amqp_link_ack(struct amqp_link *l, uint64_t tag)
{
    return answer_delivery(l, tag, AMQP_BASIC_ACK_METHOD, false);
}

int amqp_link_reject(struct amqp_link *l, uint64_t tag, bool requeue)
{
    return answer_delivery(l, tag, AMQP_BASIC_REJECT_METHOD, requeue);
}

/* ---- pure ---- */

int amqp_address_parse(const char *s, size_t len, uint16_t default_port, struct amqp_address *ret,
                       struct err *e)
{
    const char *host = s, *port = NULL;
    size_t host_len = len, port_len = 0;
    bool bracketed = len && s[0] == '[';
    const char *close = bracketed ? memchr(s, ']', len) : NULL;
    const char *colon = memchr(s, ':', len);
    bool bare_v6 = !bracketed && colon && memchr(colon + 1, ':', len - (size_t)(colon + 1 - s));
    if (bracketed && close) {
        host = s + 1;
        host_len = (size_t)(close - host);
        size_t rest = len - host_len - 2;
        if (rest) {
            port = close + 2;
            port_len = rest - 1;
        }
    } else if (colon && !bare_v6) {
        host_len = (size_t)(colon - s);
        port = colon + 1;
        port_len = len - host_len - 1;
    }
    int64_t number = default_port;
    char shown[80];
    bool fine = host_len > 0 && host_len < AMQP_NAME_MAX && bracketed == (close != NULL) &&
                (!port || port[-1] == ':') &&
                (!port || parse_int64(port, port_len, 1, UINT16_MAX, &number) == 0);
    for (size_t i = 0; fine && i < host_len; i++)
        fine = (unsigned char)host[i] > ' ' && !strchr("/@[]?#,\x7f", host[i]);
    if (!fine)
        return err_set(e, -EINVAL, ERR_NEVER,
                       "broker: '%s' is no address: want 'host', 'host:port' or '[v6]:port'",
                       text_printable(s, len, shown, sizeof(shown)));
    memcpy(ret->host, host, host_len);
    ret->host[host_len] = '\0';
    ret->port = (uint16_t)number;
    return 0;
}

int64_t amqp_backoff_ms(unsigned failures, enum err_retry retry, uint32_t random)
{
    enum { FIRST_MS = 250, DOUBLINGS = 4, NEVER_MS = 30000 };
    int64_t whole = retry == ERR_NEVER ? NEVER_MS
                                       : (int64_t)FIRST_MS << MIN(failures ? failures - 1 : 0,
                                                                  (unsigned)DOUBLINGS);
    return whole / 2 + (int64_t)((uint64_t)(whole / 2) * random / UINT32_MAX);
}
