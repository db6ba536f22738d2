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
        len = text_cut_length(src, size - 1);
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
size_t text_utf8_length(const char *text, size_t len)
{
    const unsigned char *s = (const unsigned char *)text;
    if (len == 0)
        return 0;
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

size_t text_cut_length(const char *s, size_t max)
{
    size_t len = strnlen(s, max + 1);
    if (len <= max)
        return len;
    /* A lead byte among the last three that wants more than there is room for goes, too. */
    for (size_t back = 1; back <= 3 && back <= max; back++) {
        unsigned char c = (unsigned char)s[max - back];
        if ((c & 0xc0) == 0x80)
            continue;
        size_t whole = text_utf8_length(s + max - back, strnlen(s + max - back, 4));
        return whole > back ? max - back : max;
    }
    return max;
}

static const char *escape(const char *src, size_t len, bool quotes, char *dst, size_t size);

const char *text_escape(const char *src, size_t len, char *dst, size_t size)
{
    return escape(src, len, true, dst, size);
}

const char *text_printable(const char *src, size_t len, char *dst, size_t size)
{
    return escape(src, len, false, dst, size);
}

static const char *escape(const char *src, size_t len, bool quotes, char *dst, size_t size)
{
    static const char hex[] = "0123456789abcdef";
    const unsigned char *s = (const unsigned char *)src;
    size_t out = 0;
    for (size_t i = 0; i < len;) {
        char piece[5];
        size_t n = text_utf8_length(src + i, len - i), piece_len = n;
        /* C1 controls (U+0080..U+009F) steer some terminals as ESC does. */
        bool control = s[i] < 0x20 || s[i] == 0x7f || (n == 2 && s[i] == 0xc2 && s[i + 1] < 0xa0);
        if (n == 0 || (control && s[i] != '\n' && s[i] != '\r' && s[i] != '\t')) {
            memcpy(piece, (char[]){'\\', 'x', hex[s[i] >> 4], hex[s[i] & 15]}, 4);
            n = 1;
            piece_len = 4;
        } else if (control || (quotes && (s[i] == '"' || s[i] == '\\'))) {
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

/* Where a URL ends in running text. An apostrophe may stand in a password, so it ends nothing, but
 * with other punctuation it does not belong to the URL when nothing follows. */
static char *url_end(char *s)
{
    char *end = s + strcspn(s, " \"<>\n\t\r");
    while (end > s && strchr("').,;:", end[-1]))
        end--;
    return end;
}

/* The "@" behind the user and password, NULL when there are none. A password with "/", "?" or "#"
 * in it should have been percent-encoded; where it was not, the "port" is no number. */
static char *userinfo_end(char *authority, char *end)
{
    char *stop = authority + strcspn(authority, "/?#");
    if (stop > end)
        stop = end;
    char *at = memrchr(authority, '@', (size_t)(stop - authority));
    char *colon = memchr(authority, ':', (size_t)(stop - authority));
    bool literal = *authority == '['; /* the colons of an IPv6 address */
    if (at || !colon || literal)
        return at;
    bool port = colon + 1 + strspn(colon + 1, "0123456789") >= stop;
    return port ? NULL : memrchr(stop, '@', (size_t)(end - stop));
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
        char *end = url_end(p);
        char *at = userinfo_end(p, end);
        if (at) {
            p = hide(p, at);
            end = url_end(p);
        }
        char *query = memchr(p, '?', (size_t)(end - p));
        p = query ? hide(query + 1, end) : end;
    }
}

void text_base64(const void *data, size_t len, char *dst)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *p = data;
    for (size_t i = 0; i < len; i += 3) {
        size_t n = MIN(len - i, (size_t)3);
        unsigned v = (unsigned)p[i] << 16 | (n > 1 ? (unsigned)p[i + 1] << 8 : 0) |
                     (n > 2 ? (unsigned)p[i + 2] : 0);
        *dst++ = letters[v >> 18];
        *dst++ = letters[v >> 12 & 63];
        *dst++ = n > 1 ? letters[v >> 6 & 63] : '=';
        *dst++ = n > 2 ? letters[v & 63] : '=';
    }
    *dst = '\0';
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

const char *text_span(double seconds, char buf[TEXT_SPAN_MAX])
{
    long long s = seconds > 0 ? (long long)seconds : 0;
    if (s < 100)
        (void)text_format(buf, TEXT_SPAN_MAX, "%lld s", s);
    else if (s < 6000)
        (void)text_format(buf, TEXT_SPAN_MAX, "%lld min", s / 60);
    else if (s < 48 * 3600)
        (void)text_format(buf, TEXT_SPAN_MAX, "%lld h %lld min", s / 3600, s / 60 % 60);
    else
        (void)text_format(buf, TEXT_SPAN_MAX, "%lld d %lld h", s / 86400, s / 3600 % 24);
    return buf;
}
