#include "wire/trigger_message.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/dynbuf.h"
#include "base/text.h"
#include "sys/msgpack.h"

/* A pair that we look for. */
struct field {
    const char *name;
    bool present;
    struct msgpack_value value;
};
enum { TIMESTAMP, OUTPUT, TRACEPARENT, DEVICE_KEY, DEVICE_LABEL, DEVICE_PARAMS, FIELD_COUNT };
enum { TOP_FIELDS = 3, OUTPUT_FIELDS = FIELD_COUNT - TOP_FIELDS };
static const struct field unread[FIELD_COUNT] = {
    [TIMESTAMP] = {.name = "timestamp"},       [OUTPUT] = {.name = "output_triggered"},
    [TRACEPARENT] = {.name = "traceparent"},   [DEVICE_KEY] = {.name = "device_key"},
    [DEVICE_LABEL] = {.name = "device_label"}, [DEVICE_PARAMS] = {.name = "device_params"},
};

static int check_routing_key(const char *key, struct err *e);
static int read_body(struct msgpack_reader *r, struct field *fields, struct err *e);
static int read_pair(struct msgpack_reader *r, struct field *fields, size_t count,
                     struct field **ret, struct msgpack_value *ret_value, struct err *e);
static int read_output(struct msgpack_reader *r, const struct msgpack_value *v,
                       struct field *fields, struct err *e);
static int take_time(const struct field *f, struct wall_time now, struct trigger_message *ret,
                     struct err *e);
static int take_output(const struct field *fields, struct trigger_message *ret, struct err *e);
static int take_text(const struct field *f, char *dst, size_t size, struct err *e);
static void take_traceparent(const struct field *f, char ret[TRACEPARENT_SIZE]);

int trigger_message_decode(const char *routing_key, const void *body, size_t size,
                           struct wall_time now, struct trigger_message *ret, struct err *e)
{
    struct msgpack_reader reader;
    struct field fields[FIELD_COUNT];
    struct trigger_message m = {0};
    int r = check_routing_key(routing_key, e);
    if (r < 0)
        return r;
    memcpy(fields, unread, sizeof(fields));
    msgpack_reader_init(&reader, body, size);
    r = read_body(&reader, fields, e);
    if (r == 0)
        r = take_output(fields, &m, e);
    if (r == 0)
        r = take_time(&fields[TIMESTAMP], now, &m, e);
    if (r < 0)
        return r;
    take_traceparent(&fields[TRACEPARENT], m.traceparent);
    *ret = m;
    return 0;
}

/* The third word chooses what a message is for; the other side lets people choose the key. */
static int check_routing_key(const char *key, struct err *e)
{
    static const char wanted[] = "snapshot";
    const char *word = key;
    for (int dots = 0; word && dots < 2; dots++) {
        word = strchr(word, '.');
        word = word ? word + 1 : NULL;
    }
    size_t len = word ? strcspn(word, ".") : 0;
    if (len == sizeof(wanted) - 1 && memcmp(word, wanted, len) == 0)
        return 0;
    char shown[128];
    text_escape(key, strlen(key), shown, sizeof(shown));
    return err_set(e, -EINVAL, ERR_NEVER,
                   "the third word of routing key '%s' is not 'snapshot', so it is not for us;"
                   " set the sender's trigger topic to event.trigger.snapshot",
                   shown);
}

/* Reads it all, to the end, before anything is judged: half a message is none. */
static int read_body(struct msgpack_reader *r, struct field *fields, struct err *e)
{
    struct msgpack_value body;
    int n = msgpack_read(r, &body, e);
    if (n == 0 && body.type != MSGPACK_MAP)
        return err_set(e, -EINVAL, ERR_NEVER, "the body is %s, not a map",
                       msgpack_type_names[body.type]);
    for (uint32_t i = 0; n == 0 && i < body.count; i++) {
        struct field *f = NULL;
        struct msgpack_value v;
        n = read_pair(r, fields, TOP_FIELDS, &f, &v, e);
        if (n == 0)
            n = f == &fields[OUTPUT] ? read_output(r, &v, fields, e) : msgpack_skip(r, &v, e);
    }
    if (n == 0)
        n = msgpack_end(r, e);
    return n < 0 ? err_prefix(e, "the body cannot be read as MessagePack") : 0;
}

/* Key and head of the value, which goes into the field of that name; NULL when there is none. */
static int read_pair(struct msgpack_reader *r, struct field *fields, size_t count,
                     struct field **ret, struct msgpack_value *ret_value, struct err *e)
{
    struct msgpack_value key;
    int n = msgpack_read(r, &key, e);
    if (n == 0)
        n = msgpack_skip(r, &key, e); /* a key may be a map itself */
    if (n == 0)
        n = msgpack_read(r, ret_value, e);
    if (n < 0)
        return n;
    *ret = NULL;
    for (size_t i = 0; i < count && key.type == MSGPACK_STR; i++)
        if (key.size == strlen(fields[i].name) && memcmp(key.bytes, fields[i].name, key.size) == 0)
            *ret = &fields[i];
    if (*ret) {
        (*ret)->present = true;
        (*ret)->value = *ret_value;
    }
    return 0;
}

static int read_output(struct msgpack_reader *r, const struct msgpack_value *v,
                       struct field *fields, struct err *e)
{
    struct field *inner = &fields[TOP_FIELDS];
    memcpy(inner, &unread[TOP_FIELDS], OUTPUT_FIELDS * sizeof(*inner)); /* of an earlier one */
    if (v->type != MSGPACK_MAP)
        return msgpack_skip(r, v, e);
    for (uint32_t i = 0; i < v->count; i++) {
        struct field *f = NULL;
        struct msgpack_value value;
        int n = read_pair(r, inner, OUTPUT_FIELDS, &f, &value, e);
        if (n == 0)
            n = msgpack_skip(r, &value, e);
        if (n < 0)
            return n;
    }
    return 0;
}

static int take_time(const struct field *f, struct wall_time now, struct trigger_message *ret,
                     struct err *e)
{
    if (!f->present)
        return err_set(e, -EINVAL, ERR_NEVER, "no %s", f->name);
    int r = event_time_read(&f->value, now, &ret->event_at, ret->note, e);
    return r < 0 ? err_prefix(e, "%s", f->name) : 0;
}

static int take_output(const struct field *fields, struct trigger_message *ret, struct err *e)
{
    const struct field *output = &fields[OUTPUT], *label = &fields[DEVICE_LABEL];
    char params[DEVICE_PARAMS_MAX];
    if (!output->present)
        return err_set(e, -EINVAL, ERR_NEVER, "no %s", output->name);
    if (output->value.type != MSGPACK_MAP)
        return err_set(e, -EINVAL, ERR_NEVER, "%s is %s, not a map", output->name,
                       msgpack_type_names[output->value.type]);
    int r = take_text(&fields[DEVICE_KEY], ret->device_key, sizeof(ret->device_key), e);
    if (r == 0 && ret->device_key[0] == '\0')
        r = err_set(e, -EINVAL, ERR_NEVER, "device_key is empty");
    /* The original passes on whatever a label is; senders without one say nil. */
    bool unlabelled = label->present && label->value.type == MSGPACK_NIL;
    if (r == 0 && !unlabelled)
        r = take_text(label, ret->device_label, sizeof(ret->device_label), e);
    if (r == 0)
        r = take_text(&fields[DEVICE_PARAMS], params, sizeof(params), e);
    if (r < 0)
        return r;
    r = device_params_parse(params, strlen(params), &ret->params, e);
    return r < 0 ? err_prefix(e, "device_params") : 0;
}

static int take_text(const struct field *f, char *dst, size_t size, struct err *e)
{
    const struct msgpack_value *v = &f->value;
    if (!f->present)
        return err_set(e, -EINVAL, ERR_NEVER, "no %s in output_triggered", f->name);
    if (v->type != MSGPACK_STR)
        return err_set(e, -EINVAL, ERR_NEVER, "%s is %s, not text", f->name,
                       msgpack_type_names[v->type]);
    if (v->size >= size)
        return err_set(e, -EINVAL, ERR_NEVER, "%s has %zu bytes, the limit is %zu", f->name,
                       v->size, size - 1);
    const char *text = (const char *)v->bytes;
    for (size_t i = 0, n = 0; i < v->size; i += n) {
        n = text_utf8_length(text + i, v->size - i);
        if (n == 0)
            return err_set(e, -EINVAL, ERR_NEVER, "%s is not UTF-8 at its byte %zu", f->name, i);
        if (text[i] == '\0')
            return err_set(e, -EINVAL, ERR_NEVER, "%s has a NUL byte in it", f->name);
    }
    memcpy(dst, text, v->size);
    dst[v->size] = '\0';
    return 0;
}

/* "00-<32 hex>-<16 hex>-<2 hex>". It helps nobody but a tracer, so a bad one is no reason to lose
 * a picture. */
static void take_traceparent(const struct field *f, char ret[TRACEPARENT_SIZE])
{
    static const char form[] = "hh-hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh-hhhhhhhhhhhhhhhh-hh";
    static_assert(sizeof(form) == TRACEPARENT_SIZE, "W3C trace context, level 1");
    ret[0] = '\0';
    if (!f->present || f->value.type != MSGPACK_STR || f->value.size != sizeof(form) - 1)
        return;
    const char *text = (const char *)f->value.bytes;
    for (size_t i = 0; i < sizeof(form) - 1; i++) {
        bool hex = (text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f');
        if (form[i] == 'h' ? !hex : text[i] != '-')
            return;
    }
    memcpy(ret, text, sizeof(form) - 1);
    ret[sizeof(form) - 1] = '\0';
}

static bool known_name(const struct msgpack_value *v)
{
    for (size_t i = 0; v->type == MSGPACK_STR && i < FIELD_COUNT; i++)
        if (v->size == strlen(unread[i].name) && memcmp(v->bytes, unread[i].name, v->size) == 0)
            return true;
    return false;
}

/* Behind a wrong length the bytes of a password look like small integers, each its own first byte.
 */
static void show_first(struct dynbuf *out, uint8_t byte)
{
    bool readable = byte >= 0x20 && byte < 0x7f;
    (void)dynbuf_printf(out, readable ? ".. " : "%02x ", byte);
}

const char *trigger_message_excerpt(const void *body, size_t size, char buf[TRIGGER_EXCERPT_MAX])
{
    enum { TAIL = 80 }; /* room for the last words, and for a value before them */
    AUTO_DONE(dynbuf) out;
    dynbuf_init(&out, TRIGGER_EXCERPT_MAX - 1);
    struct msgpack_reader r;
    msgpack_reader_init(&r, body, size);
    const uint8_t *bytes = body;
    while (r.at < size && out.len < TRIGGER_EXCERPT_MAX - TAIL) {
        struct msgpack_value v;
        show_first(&out, bytes[r.at]);
        size_t start = r.at;
        bool ended = r.values > 0 && r.depth == 0; /* and bytes follow */
        if (ended || msgpack_read(&r, &v, NULL) < 0)
            break;
        size_t rest = r.at - start - 1;
        if (known_name(&v))
            (void)dynbuf_printf(&out, "\"%.*s\" ", (int)v.size, (const char *)v.bytes);
        else if (rest)
            (void)dynbuf_printf(&out, "<%zu> ", rest);
    }
    (void)dynbuf_printf(&out, "(%zu of %zu bytes)", r.at, size);
    text_copy(buf, TRIGGER_EXCERPT_MAX, dynbuf_str(&out));
    return buf;
}
