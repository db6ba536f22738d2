#pragma once
/* A byte buffer that grows up to a maximum given at birth. Always NUL-terminated behind `len`, so
 * text can be used as a C string. After a failed append the buffer keeps what it had and stays in
 * the failed state, so a chain of appends needs one check at the end. */

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/macros.h"

struct dynbuf {
    char *data; /* NULL until the first append; use dynbuf_str() for text */
    size_t len; /* bytes used, without the NUL */
    size_t cap;
    size_t max;
    bool failed;
};

void dynbuf_init(struct dynbuf *b, size_t max);
void dynbuf_done(struct dynbuf *b);
void dynbuf_reset(struct dynbuf *b); /* empty and not failed; keeps the memory */
int dynbuf_append(struct dynbuf *b, const void *data,
                  size_t len); /* 0, -ENOSPC above max, -ENOMEM */
/* `len` more bytes, to be written by the caller at once; NULL where append would have failed. */
void *dynbuf_extend(struct dynbuf *b, size_t len);
int dynbuf_puts(struct dynbuf *b, const char *s);
int dynbuf_printf(struct dynbuf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
int dynbuf_vprintf(struct dynbuf *b, const char *fmt, va_list ap) PRINTF_LIKE(2, 0);
const char *dynbuf_str(const struct dynbuf *b);        /* never NULL */
char *dynbuf_steal(struct dynbuf *b, size_t *ret_len); /* malloc()ed, may be NULL when empty */
