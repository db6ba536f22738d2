#include "sys/msgpack.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/macros.h"
#include "base/text.h"

/* Behind our own headers: without stdbool.h it would make `bool` a number. */
#include <mpack.h>

const char *const msgpack_type_names[MSGPACK_TYPE_COUNT] = {
    "nil",  "a boolean", "an integer",   "an integer", "a floating-point number",
    "text", "binary",    "an extension", "an array",   "a map",
};

static int read_token(const struct msgpack_reader *r, mpack_token_t *ret, size_t *ret_at,
                      struct err *e);
static void value_of(const mpack_token_t *token, struct msgpack_value *ret);
static int64_t sign_extended(const mpack_token_t *token);
static double real_of(const mpack_token_t *token);
static uint64_t elements(const struct msgpack_value *v);
static int cut_off(const struct msgpack_reader *r, struct err *e);

void msgpack_reader_init(struct msgpack_reader *r, const void *message, size_t size)
{
    *r = (struct msgpack_reader){.message = message, .size = size};
}

int msgpack_read(struct msgpack_reader *r, struct msgpack_value *ret, struct err *e)
{
    mpack_token_t token;
    size_t at = 0;
    int n = read_token(r, &token, &at, e);
    if (n < 0)
        return n;
    struct msgpack_value v;
    value_of(&token, &v);
    bool bytes = v.type == MSGPACK_STR || v.type == MSGPACK_BIN || v.type == MSGPACK_EXT;
    size_t left = r->size - at;
    if (bytes && v.size > left)
        return err_set(e, -EBADMSG, ERR_NEVER,
                       "cut off: %s of %zu bytes begins at byte %zu, %zu bytes are left",
                       msgpack_type_names[v.type], v.size, r->at, left);
    if (elements(&v) > left) /* each takes a byte at least */
        return err_set(e, -EBADMSG, ERR_NEVER,
                       "cut off: %s of %u begins at byte %zu, %zu bytes are left",
                       msgpack_type_names[v.type], v.count, r->at, left);
    if (elements(&v) && r->depth == MSGPACK_DEPTH_MAX)
        return err_set(e, -E2BIG, ERR_NEVER, "nested more than %d deep at byte %zu",
                       MSGPACK_DEPTH_MAX, r->at);
    if (bytes) {
        v.bytes = r->message + at;
        at += v.size;
    }
    r->at = at;
    r->values++;
    if (r->depth)
        r->open[r->depth - 1]--;
    if (elements(&v))
        r->open[r->depth++] = elements(&v);
    /* A last element ends its container, and with that perhaps the one around it. */
    while (r->depth && r->open[r->depth - 1] == 0)
        r->depth--;
    *ret = v;
    return 0;
}

int msgpack_skip(struct msgpack_reader *r, const struct msgpack_value *last, struct err *e)
{
    if (elements(last) == 0)
        return 0;
    uint32_t level = r->depth;
    while (r->depth >= level) {
        struct msgpack_value v;
        int n = msgpack_read(r, &v, e);
        if (n < 0)
            return n;
    }
    return 0;
}

int msgpack_end(const struct msgpack_reader *r, struct err *e)
{
    if (r->depth)
        return cut_off(r, e);
    if (r->at < r->size)
        return err_set(e, -EBADMSG, ERR_NEVER, "%zu bytes follow the end at byte %zu",
                       r->size - r->at, r->at);
    return 0;
}

/* The library reads beyond an empty buffer, and it would wait for the rest of what is cut off; we
 * have the whole message, so a fresh state for each token is right. */
static int read_token(const struct msgpack_reader *r, mpack_token_t *ret, size_t *ret_at,
                      struct err *e)
{
    if (r->at == r->size)
        return cut_off(r, e);
    if (r->values == MSGPACK_VALUES_MAX)
        return err_set(e, -E2BIG, ERR_NEVER, "more than %d values", MSGPACK_VALUES_MAX);
    mpack_tokbuf_t state = MPACK_TOKBUF_INITIAL_VALUE;
    const char *p = (const char *)r->message + r->at;
    size_t left = r->size - r->at;
    switch (mpack_read(&state, &p, &left, ret)) {
    case MPACK_OK:
        *ret_at = r->size - left;
        return 0;
    case MPACK_EOF:
        return cut_off(r, e);
    default:
        return err_set(e, -EBADMSG, ERR_NEVER, "byte 0x%02x at %zu begins no value",
                       r->message[r->at], r->at);
    }
}

static int cut_off(const struct msgpack_reader *r, struct err *e)
{
    return err_set(e, -EBADMSG, ERR_NEVER, "cut off: it has %zu bytes, and a value begins at %zu",
                   r->size, r->at);
}

static void value_of(const mpack_token_t *token, struct msgpack_value *ret)
{
    const mpack_value_t *half = &token->data.value;
    *ret = (struct msgpack_value){0};
    switch (token->type) {
    case MPACK_TOKEN_NIL:
        ret->type = MSGPACK_NIL;
        return;
    case MPACK_TOKEN_BOOLEAN:
        ret->type = MSGPACK_BOOL;
        ret->boolean = half->lo != 0;
        return;
    case MPACK_TOKEN_UINT:
        ret->big = (uint64_t)half->hi << 32 | half->lo;
        ret->type = ret->big > INT64_MAX ? MSGPACK_BIG : MSGPACK_INT;
        if (ret->type == MSGPACK_INT)
            ret->integer = (int64_t)ret->big;
        return;
    case MPACK_TOKEN_SINT:
        ret->type = MSGPACK_INT;
        ret->integer = sign_extended(token);
        return;
    case MPACK_TOKEN_FLOAT:
        ret->type = MSGPACK_FLOAT;
        ret->real = real_of(token);
        return;
    case MPACK_TOKEN_STR:
    case MPACK_TOKEN_BIN:
    case MPACK_TOKEN_EXT:
        ret->type = token->type == MPACK_TOKEN_STR   ? MSGPACK_STR
                    : token->type == MPACK_TOKEN_BIN ? MSGPACK_BIN
                                                     : MSGPACK_EXT;
        ret->size = token->length;
        if (token->type == MPACK_TOKEN_EXT)
            ret->ext_type = token->data.ext_type - (token->data.ext_type > 127 ? 256 : 0);
        return;
    case MPACK_TOKEN_ARRAY:
    case MPACK_TOKEN_MAP:
        ret->type = token->type == MPACK_TOKEN_ARRAY ? MSGPACK_ARRAY : MSGPACK_MAP;
        ret->count = token->length;
        return;
    case MPACK_TOKEN_CHUNK: /* follows text and its like in the same state, and ours is fresh */
        assert(token->type != MPACK_TOKEN_CHUNK);
    }
}

static int64_t sign_extended(const mpack_token_t *token)
{
    uint64_t bits = (uint64_t)token->data.value.hi << 32 | token->data.value.lo;
    switch (token->length) {
    case 1:
        return (int8_t)bits;
    case 2:
        return (int16_t)bits;
    case 4:
        return (int32_t)bits;
    default:
        return (int64_t)bits;
    }
}

static double real_of(const mpack_token_t *token)
{
    if (token->length == 4) {
        float f;
        memcpy(&f, &token->data.value.lo, sizeof(f));
        return (double)f;
    }
    uint64_t bits = (uint64_t)token->data.value.hi << 32 | token->data.value.lo;
    double d;
    memcpy(&d, &bits, sizeof(d));
    return d;
}

static uint64_t elements(const struct msgpack_value *v)
{
    return v->type == MSGPACK_ARRAY ? v->count
           : v->type == MSGPACK_MAP ? 2 * (uint64_t)v->count
                                    : 0;
}

static void put(struct msgpack_writer *w, const void *bytes, size_t size)
{
    if (size && w->len <= w->room && size <= w->room - w->len)
        memcpy(w->to + w->len, bytes, size);
    w->len += size;
}

static void put_token(struct msgpack_writer *w, mpack_token_t token)
{
    mpack_tokbuf_t state = MPACK_TOKBUF_INITIAL_VALUE;
    char head[MPACK_MAX_TOKEN_LEN], *p = head;
    size_t left = sizeof(head);
    int n = mpack_write(&state, &p, &left, &token);
    assert(n == MPACK_OK);
    put(w, head, sizeof(head) - left);
}

void msgpack_write_nil(struct msgpack_writer *w)
{
    put_token(w, mpack_pack_nil());
}

/* There is none for negative numbers: libmpack 1.0.5 writes -129 as 127. */
void msgpack_write_uint(struct msgpack_writer *w, uint64_t v)
{
    put_token(w, mpack_pack_uint(v));
}

void msgpack_write_float(struct msgpack_writer *w, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof(bits));
    mpack_token_t token = {.type = MPACK_TOKEN_FLOAT, .length = sizeof(bits)};
    token.data.value = (mpack_value_t){.lo = (uint32_t)bits, .hi = (uint32_t)(bits >> 32)};
    put_token(w, token);
}

void msgpack_write_str(struct msgpack_writer *w, const char *text)
{
    size_t left = strlen(text);
    assert(left <= UINT32_MAX);
    put_token(w, mpack_pack_str((mpack_uint32_t)left));
    while (left) {
        size_t n = text_utf8_length(text, left);
        put(w, n ? text : "?", MAX(n, (size_t)1));
        n = MAX(n, (size_t)1);
        text += n;
        left -= n;
    }
}

void msgpack_write_bin(struct msgpack_writer *w, const void *bytes, size_t size)
{
    msgpack_write_bin_head(w, size);
    put(w, bytes, size);
}

void msgpack_write_bin_head(struct msgpack_writer *w, size_t size)
{
    assert(size <= UINT32_MAX);
    put_token(w, mpack_pack_bin((mpack_uint32_t)size));
}

void msgpack_write_array(struct msgpack_writer *w, uint32_t count)
{
    put_token(w, mpack_pack_array(count));
}

void msgpack_write_map(struct msgpack_writer *w, uint32_t pairs)
{
    put_token(w, mpack_pack_map(pairs));
}
