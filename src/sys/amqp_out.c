#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#include "base/mem.h"
#include "base/text.h"
#include "sys/amqp_link.h"

enum {
    OUT_WAITING_MAX = 1 << 20, /* behind that publish() says -EAGAIN; one message may be larger */
};

static struct publish *publish_of(const struct amqp_link *l, uint64_t channel_tag);
static void forget_publish(struct publish *p);

/* ---- the body ---- */

/* A picture is not copied if the kernel takes it as it is: what waits in `out` and the frames of
 * the body go by one call, and only what that left is copied. Not under TLS, which would make a
 * record of each piece, nor for what is small, nor for what has so many frames that the kernel
 * rarely has room for them. */
enum {
    GATHER_SIZE_MIN = 4096,
    GATHER_FRAMES_MAX = 16, /* 2 MB */
    /* Each frame has a prefix, an end, and a piece more wherever one ends within it. */
    GATHER_MAX = 1 + 3 * GATHER_FRAMES_MAX + AMQP_PIECES_MAX,
};

struct gather {
    struct iovec list[GATHER_MAX];
    int count;
    uint8_t prefixes[GATHER_FRAMES_MAX][AMQP_CODEC_PREFIX];
};

static size_t body_size(const struct amqp_message *m)
{
    size_t size = 0;
    for (size_t i = 0; i < AMQP_PIECES_MAX; i++)
        size += m->body[i].size;
    return size;
}

static bool can_gather(const struct amqp_link *l, const struct amqp_message *m)
{
    size_t size = body_size(m);
    return !l->tls && size >= GATHER_SIZE_MIN &&
           size <= GATHER_FRAMES_MAX * (l->frame_max - AMQP_CODEC_FRAME_EXTRA);
}

static int copy_body(struct amqp_link *l, const struct amqp_message *m)
{
    struct amqp_codec_body body;
    struct iovec v;
    int r = 0;
    amqp_codec_body_init(&body, AMQP_CHANNEL_WORK, l->frame_max, m->body);
    while (r == 0 && amqp_codec_body_next(&body, &v))
        r = dynbuf_append(&l->out, v.iov_base, v.iov_len);
    return r;
}

static void gather(struct amqp_link *l, const struct amqp_message *m, struct gather *g)
{
    struct amqp_codec_body body;
    struct iovec v;
    size_t frames = 0;
    g->list[0] = (struct iovec){.iov_base = l->out.data, .iov_len = l->out.len};
    g->count = 1;
    amqp_codec_body_init(&body, AMQP_CHANNEL_WORK, l->frame_max, m->body);
    while (amqp_codec_body_next(&body, &v)) {
        if (v.iov_base == body.prefix) { /* which the next frame overwrites */
            v.iov_base = g->prefixes[frames++];
            memcpy(v.iov_base, body.prefix, sizeof(body.prefix));
        }
        assert(g->count < GATHER_MAX);
        g->list[g->count++] = v;
    }
}

/* Half a message may be out: a failure ends the connection. */
static int send_gathered(struct amqp_link *l, const struct amqp_message *m, struct err *e)
{
    struct gather g;
    gather(l, m, &g);
    int64_t n = stream_writev(l->stream, g.list, g.count, e);
    if (n < 0 && n != -EAGAIN)
        return err_prefix(e, "broker '%s'", l->peer);
    size_t sent = n > 0 ? (size_t)n : 0, waited = l->out.len;
    if (sent > 0)
        l->sent_at = clock_mono();
    size_t of_body = sent > waited ? sent - waited : 0;
    l->out_start = MIN(sent, waited);
    if (l->out_start == waited) {
        l->out_start = 0;
        dynbuf_reset(&l->out);
    }
    for (int i = 1; i < g.count; i++) {
        size_t gone = MIN(of_body, g.list[i].iov_len);
        of_body -= gone;
        if (gone < g.list[i].iov_len && dynbuf_append(&l->out, (uint8_t *)g.list[i].iov_base + gone,
                                                      g.list[i].iov_len - gone) < 0)
            return amqp_link_error(l, e, -ENOMEM, ERR_LATER, "no memory for the rest of a message");
    }
    return 0;
}

/* ---- publishing ---- */

static int check_message(struct amqp_link *l, const struct amqp_message *m, struct err *e)
{
    if (strlen(m->exchange) >= AMQP_NAME_MAX || strlen(m->key) >= AMQP_NAME_MAX ||
        (m->message_id && strlen(m->message_id) >= AMQP_NAME_MAX) ||
        (m->content_type && strlen(m->content_type) >= AMQP_NAME_MAX))
        return amqp_link_error(l, e, -EINVAL, ERR_NEVER,
                               "exchange, key, id and type have at most %d bytes",
                               AMQP_NAME_MAX - 1);
    if (m->mandatory && (!m->message_id || !*m->message_id))
        return amqp_link_error(l, e, -EINVAL, ERR_NEVER, "a mandatory message needs an id");
    if (body_size(m) > AMQP_PUBLISH_MAX)
        return amqp_link_error(l, e, -EMSGSIZE, ERR_NEVER,
                               "a message of %zu bytes: it takes at most %u", body_size(m),
                               AMQP_PUBLISH_MAX);
    return 0;
}

/* All in front of the body. */
static int put_head(struct amqp_link *l, const struct amqp_message *m)
{
    char expiration[24];
    amqp_basic_publish_t publish = {.exchange = amqp_cstring_bytes(m->exchange),
                                    .routing_key = amqp_cstring_bytes(m->key),
                                    .mandatory = m->mandatory};
    amqp_basic_properties_t p = {0};
    if (m->content_type) {
        p._flags |= AMQP_BASIC_CONTENT_TYPE_FLAG;
        p.content_type = amqp_cstring_bytes(m->content_type);
    }
    if (m->persistent) {
        p._flags |= AMQP_BASIC_DELIVERY_MODE_FLAG;
        p.delivery_mode = AMQP_DELIVERY_PERSISTENT;
    }
    if (m->expiration_ms > 0) {
        p._flags |= AMQP_BASIC_EXPIRATION_FLAG;
        (void)text_format(expiration, sizeof(expiration), "%lld", (long long)m->expiration_ms);
        p.expiration = amqp_cstring_bytes(expiration);
    }
    if (m->message_id) {
        p._flags |= AMQP_BASIC_MESSAGE_ID_FLAG;
        p.message_id = amqp_cstring_bytes(m->message_id);
    }
    if (m->timestamp_s > 0) {
        p._flags |= AMQP_BASIC_TIMESTAMP_FLAG;
        p.timestamp = (uint64_t)m->timestamp_s;
    }
    int r = 0;
    if (!l->confirming) {
        amqp_confirm_select_t select = {.nowait = 1};
        r = amqp_codec_method(&l->out, AMQP_CHANNEL_WORK, AMQP_CONFIRM_SELECT_METHOD, &select);
    }
    if (r == 0)
        r = amqp_codec_method(&l->out, AMQP_CHANNEL_WORK, AMQP_BASIC_PUBLISH_METHOD, &publish);
    return r < 0 ? r : amqp_codec_header(&l->out, AMQP_CHANNEL_WORK, &p, body_size(m));
}

/* Moves what is still to be sent to the start of the buffer; it is less than OUT_WAITING_MAX. */
static void compact_out(struct amqp_link *l)
{
    if (!l->out_start)
        return;
    l->out.len -= l->out_start;
    memmove(l->out.data, l->out.data + l->out_start, l->out.len);
    l->out_start = 0;
}

/* A connection that turns out to be over is told as such here and with its reason by process(). */
static int after_sending(struct amqp_link *l, int r, const struct err *why, struct err *e)
{
    if (r < 0)
        amqp_link_end(l, why);
    amqp_link_arm(l);
    return r < 0 ? amqp_link_not_connected(l, e) : 0;
}

static int send_gathered_now(struct amqp_link *l, const struct amqp_message *m, struct err *e)
{
    struct err why = {0};
    return after_sending(l, send_gathered(l, m, &why), &why, e);
}

int amqp_link_publish(struct amqp_link *l, const struct amqp_message *m, uint64_t *ret_tag,
                      struct err *e)
{
    if (!amqp_link_connected(l))
        return amqp_link_not_connected(l, e);
    int r = check_message(l, m, e);
    if (r < 0)
        return r;
    if (l->blocked || l->work != CHANNEL_OPEN || l->out.len - l->out_start > OUT_WAITING_MAX ||
        l->publish_next - l->publish_first >= AMQP_UNCONFIRMED_MAX)
        return amqp_link_error(l, e, -EAGAIN, ERR_LATER, "%s",
                               l->blocked ? "it blocks publishers"
                                          : "it is behind with our messages");

    compact_out(l);
    size_t before = l->out.len;
    bool gathers = can_gather(l, m);
    r = put_head(l, m);
    if (r == 0 && !gathers)
        r = copy_body(l, m);
    if (r < 0) { /* half a message must not go out */
        l->out.len = before;
        l->out.failed = false;
        return amqp_link_error(l, e, r == -EINVAL ? r : -ENOMEM,
                               r == -EINVAL ? ERR_NEVER : ERR_LATER, "a message of %zu bytes: %s",
                               body_size(m),
                               r == -EINVAL ? "its properties do not fit" : "no memory");
    }
    if (!l->publishes)
        l->publishes = xcalloc(AMQP_UNCONFIRMED_MAX, sizeof(*l->publishes));
    l->confirming = true;
    *publish_of(l, l->publish_next) = (struct publish){.message_id = xstrdup(m->message_id)};
    uint64_t tag = l->publish_base + l->publish_next++;
    l->publishes_open++;

    r = gathers ? send_gathered_now(l, m, e) : amqp_link_send_now(l, e);
    if (r == 0)
        *ret_tag = tag;
    return r;
}

int amqp_link_send_now(struct amqp_link *l, struct err *e)
{
    struct err why = {0};
    return after_sending(l, amqp_link_flush(l, &why), &why, e);
}

static struct publish *publish_of(const struct amqp_link *l, uint64_t channel_tag)
{
    return &l->publishes[channel_tag % AMQP_UNCONFIRMED_MAX];
}

static void forget_publish(struct publish *p)
{
    free(p->message_id);
    free(p->return_text);
    *p = (struct publish){.state = PUBLISH_TOLD};
}

void amqp_link_forget_publishes(struct amqp_link *l)
{
    for (uint64_t t = l->publish_first; t < l->publish_next; t++)
        forget_publish(publish_of(l, t));
}

int amqp_link_settle(struct amqp_link *l, uint64_t tag, bool multiple, enum publish_state how,
                     struct err *e)
{
    if (multiple && tag == 0) /* "all so far" */
        tag = l->publish_next - 1;
    if (tag >= l->publish_next)
        return amqp_link_error(l, e, -EPROTO, ERR_LATER, "it confirms what was not published");
    for (uint64_t t = multiple ? l->publish_first : MAX(tag, l->publish_first); t <= tag; t++) {
        struct publish *p = publish_of(l, t);
        if (p->state != PUBLISH_UNDER_WAY)
            continue;
        p->state = how;
        l->publishes_settled++;
    }
    return 0;
}

void amqp_link_note_return(struct amqp_link *l, const struct amqp_event *event)
{
    for (uint64_t t = l->publish_first; t < l->publish_next; t++) {
        struct publish *p = publish_of(l, t);
        if (p->state != PUBLISH_UNDER_WAY || p->return_code || !p->message_id ||
            strcmp(p->message_id, event->message_id) != 0)
            continue;
        p->return_code = event->code ? event->code : AMQP_NO_ROUTE;
        p->return_text = xstrdup(event->text);
        return;
    }
}

void amqp_link_take_settled(struct amqp_link *l, struct amqp_event *ret)
{
    uint64_t t = l->publish_first;
    while (publish_of(l, t)->state != PUBLISH_ACKED && publish_of(l, t)->state != PUBLISH_NACKED)
        t++;
    struct publish *p = publish_of(l, t);
    *ret = (struct amqp_event){.tag = l->publish_base + t, .code = p->return_code};
    ret->kind = p->state == PUBLISH_NACKED ? AMQP_NACKED
                : p->return_code           ? AMQP_RETURNED
                                           : AMQP_ACKED;
    (void)text_copy(ret->message_id, sizeof(ret->message_id), p->message_id ? p->message_id : "");
    (void)text_copy(ret->text, sizeof(ret->text), p->return_text ? p->return_text : "");
    forget_publish(p);
    l->publishes_settled--;
    l->publishes_open--;
    while (l->publish_first < l->publish_next &&
           publish_of(l, l->publish_first)->state == PUBLISH_TOLD)
        l->publish_first++;
}
