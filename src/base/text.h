#pragma once
/* Bounded text helpers. Destination sizes are in bytes and results are always terminated. */

#include <stdbool.h>
#include <stddef.h>

#include "base/macros.h"

/* Copies and cuts; returns false when it cut. */
bool text_copy(char *dst, size_t size, const char *src);
int text_format(char *dst, size_t size, const char *fmt, ...)
    PRINTF_LIKE(3, 4); /* length or -ENOSPC */
bool text_equal_nocase(const char *a, const char *b);
bool text_starts_with(const char *s, const char *prefix);
bool text_ends_with(const char *s, const char *suffix);
/* Escapes control characters, quotes, backslash and invalid UTF-8 (\n, \xNN) for a log or message.
 */
const char *text_escape(const char *src, size_t len, char *dst, size_t size);
/* The same for a line that a person reads: quotes and backslashes stay as they are. */
const char *text_printable(const char *src, size_t len, char *dst, size_t size);
/* Length of the valid UTF-8 sequence at the start of `s`, 0 when there is none. */
size_t text_utf8_length(const char *s, size_t len);
/* Length of `s` up to `max` bytes that ends between two characters. */
size_t text_cut_length(const char *s, size_t max);
/* Hides passwords: userinfo and the whole query of URLs become "***". Works on any text that holds
 * URLs; for logs of foreign libraries. */
void text_redact_urls(char *s);
void text_hex(const void *data, size_t len, char *dst); /* dst: 2*len+1 */
/* RFC 4648 with padding. */
#define TEXT_BASE64_SIZE(len) (((len) + 2) / 3 * 4 + 1)
void text_base64(const void *data, size_t len, char *dst); /* dst: TEXT_BASE64_SIZE(len) */
/* Lower-cases ASCII, keeps [a-z0-9], turns runs of the rest into one '-', trims '-'. */
void text_slug(const char *src, char *dst, size_t size);
/* "42 s", "3 min", "5 h 12 min", "12 d 3 h". Returns buf. */
#define TEXT_SPAN_MAX 32
const char *text_span(double seconds, char buf[TEXT_SPAN_MAX]);
