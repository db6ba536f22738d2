#include "base/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

bool text_copy(char *dst, size_t size, const char *src)
{
    size_t len = strlen(src);
    bool whole = len < size;
    if (!whole)
        len = size - 1;
    memcpy(dst, src, len);
    dst[len] = '\0';
    return whole;
}

int text_format(char *dst, size_t size, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(dst, size, fmt, ap);
    va_end(ap);
    return n < 0 || (size_t)n >= size ? -ENOSPC : n;
}

bool text_equal_nocase(const char *a, const char *b)
{
    return strcasecmp(a, b) == 0;
}

bool text_starts_with(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool text_ends_with(const char *s, const char *suffix)
{
    size_t a = strlen(s), b = strlen(suffix);
    return a >= b && memcmp(s + a - b, suffix, b) == 0;
}

/* Length of the valid UTF-8 sequence at s, 0 when there is none. Overlong forms, surrogates and
 * values above U+10FFFF are invalid (RFC 3629). */
static size_t utf8_length(const unsigned char *s, size_t len)
{
    if (s[0] < 0x80)
        return 1;
    size_t need = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4 || need > len)
        return 0;
    for (size_t i = 1; i < need; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
        (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return need;
}

const char *text_escape(const char *src, size_t len, char *dst, size_t size)
{
    static const char hex[] = "0123456789abcdef";
    const unsigned char *s = (const unsigned char *)src;
    size_t out = 0;
    for (size_t i = 0; i < len;) {
        char piece[5];
        size_t n = utf8_length(s + i, len - i), piece_len = n;
        /* C1 controls (U+0080..U+009F) steer some terminals as ESC does. */
        bool control = s[i] < 0x20 || s[i] == 0x7f || (n == 2 && s[i] == 0xc2 && s[i + 1] < 0xa0);
        if (n == 0 || (control && s[i] != '\n' && s[i] != '\r' && s[i] != '\t')) {
            memcpy(piece, (char[]){'\\', 'x', hex[s[i] >> 4], hex[s[i] & 15]}, 4);
            n = 1;
            piece_len = 4;
        } else if (control || s[i] == '"' || s[i] == '\\') {
            char c = s[i] == '\n' ? 'n' : s[i] == '\r' ? 'r' : s[i] == '\t' ? 't' : (char)s[i];
            memcpy(piece, (char[]){'\\', c}, 2);
            piece_len = 2;
        } else {
            memcpy(piece, s + i, n);
        }
        if (out + piece_len + 1 > size)
            break;
        memcpy(dst + out, piece, piece_len);
        out += piece_len;
        i += n;
    }
    dst[out] = '\0';
    return dst;
}

/* Ends of a URL in running text. */
static bool ends_url(char c)
{
    return c == '\0' || c == ' ' || c == '"' || c == '\'' || c == '>' || c == '<' || c == '\n' ||
           c == '\t' || c == '\r';
}

/* Replaces [from, to) of s by "***" where it fits, else by as many stars; returns where s goes on.
 */
static char *hide(char *from, char *to)
{
    size_t room = (size_t)(to - from), stars = room < 3 ? room : 3;
    memset(from, '*', stars);
    memmove(from + stars, to, strlen(to) + 1);
    return from + stars;
}

void text_redact_urls(char *s)
{
    for (char *p = strstr(s, "://"); p; p = strstr(p, "://")) {
        p += 3;
        char *authority_end = p;
        char *at = NULL;
        while (!ends_url(*authority_end) && *authority_end != '/' && *authority_end != '?' &&
               *authority_end != '#') {
            if (*authority_end == '@')
                at = authority_end;
            authority_end++;
        }
        if (at)
            p = hide(p, at);
        char *query = p;
        while (!ends_url(*query) && *query != '?')
            query++;
        if (*query != '?') {
            p = query;
            continue;
        }
        char *end = query + 1;
        while (!ends_url(*end))
            end++;
        p = hide(query + 1, end);
    }
}

void text_hex(const void *data, size_t len, char *dst)
{
    static const char hex[] = "0123456789abcdef";
    const unsigned char *s = data;
    for (size_t i = 0; i < len; i++) {
        dst[2 * i] = hex[s[i] >> 4];
        dst[2 * i + 1] = hex[s[i] & 15];
    }
    dst[2 * len] = '\0';
}

void text_slug(const char *src, char *dst, size_t size)
{
    size_t out = 0;
    for (; *src && out + 1 < size; src++) {
        char c = *src >= 'A' && *src <= 'Z' ? (char)(*src - 'A' + 'a') : *src;
        bool keep = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (keep)
            dst[out++] = c;
        else if (out && dst[out - 1] != '-')
            dst[out++] = '-';
    }
    while (out && dst[out - 1] == '-')
        out--;
    dst[out] = '\0';
}
