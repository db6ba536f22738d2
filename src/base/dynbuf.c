#include "base/dynbuf.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

void dynbuf_init(struct dynbuf *b, size_t max)
{
    *b = (struct dynbuf){.max = max};
}

void dynbuf_done(struct dynbuf *b)
{
    free(b->data);
    *b = (struct dynbuf){.max = b->max};
}

void dynbuf_reset(struct dynbuf *b)
{
    b->len = 0;
    b->failed = false;
    if (b->data)
        b->data[0] = '\0';
}

static int reserve(struct dynbuf *b, size_t extra)
{
    if (b->failed)
        return -ENOSPC;
    if (extra > b->max || b->len > b->max - extra) {
        b->failed = true;
        return -ENOSPC;
    }
    size_t need = b->len + extra + 1;
    if (need <= b->cap)
        return 0;
    size_t cap = b->cap ? b->cap : 256;
    while (cap < need)
        cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    if (b->max < SIZE_MAX)
        cap = MIN(cap, b->max + 1);
    char *grown = mem_try_realloc(b->data, cap, 1, SIZE_MAX);
    if (!grown) {
        b->failed = true;
        return -ENOMEM;
    }
    b->data = grown;
    b->cap = cap;
    return 0;
}

int dynbuf_append(struct dynbuf *b, const void *data, size_t len)
{
    int r = reserve(b, len);
    if (r < 0)
        return r;
    if (len)
        memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = '\0';
    return 0;
}

void *dynbuf_extend(struct dynbuf *b, size_t len)
{
    if (reserve(b, len) < 0)
        return NULL;
    char *at = b->data + b->len;
    b->len += len;
    b->data[b->len] = '\0';
    return at;
}

int dynbuf_puts(struct dynbuf *b, const char *s)
{
    return dynbuf_append(b, s, strlen(s));
}

int dynbuf_vprintf(struct dynbuf *b, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    if (n < 0)
        return -EINVAL;
    int r = reserve(b, (size_t)n);
    if (r < 0)
        return r;
    (void)vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap); /* the length is known */
    b->len += (size_t)n;
    return 0;
}

int dynbuf_printf(struct dynbuf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int r = dynbuf_vprintf(b, fmt, ap);
    va_end(ap);
    return r;
}

const char *dynbuf_str(const struct dynbuf *b)
{
    return b->data ? b->data : "";
}

char *dynbuf_steal(struct dynbuf *b, size_t *ret_len)
{
    char *data = b->data;
    if (ret_len)
        *ret_len = b->len;
    *b = (struct dynbuf){.max = b->max};
    return data;
}
