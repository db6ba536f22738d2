#include "sim/sim_request.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/dynbuf.h"
#include "base/parse.h"
#include "base/text.h"
#include "sys/hash.h"

static void decode(const char *s, size_t len, bool plus, char *dst, size_t size);

long sim_request_parse(const char *data, size_t size, struct sim_request *ret)
{
    const char *end = memmem(data, size, "\r\n\r\n", 4);
    size_t total = end ? (size_t)(end - data) + 4 : 0;
    if (!end)
        return 0;
    *ret = (struct sim_request){0};
    const char *line_end = memchr(data, '\r', total);
    const char *sp1 = memchr(data, ' ', (size_t)(line_end - data));
    const char *sp2 = sp1 ? memrchr(data, ' ', (size_t)(line_end - data)) : NULL;
    if (!sp1 || sp2 <= sp1 || (size_t)(sp1 - data) >= sizeof(ret->method) ||
        (size_t)(sp2 - sp1) > sizeof(ret->target) || line_end - sp2 < 9 ||
        memcmp(sp2 + 1, "HTTP/", 5) != 0)
        return -EINVAL;
    memcpy(ret->method, data, (size_t)(sp1 - data));
    memcpy(ret->target, sp1 + 1, (size_t)(sp2 - sp1 - 1));
    ret->keep_alive = sp2[8] == '1'; /* HTTP/1.1 */
    char *question = strchr(ret->target, '?');
    ret->query = question ? question + 1 : "";
    decode(ret->target, question ? (size_t)(question - ret->target) : strlen(ret->target), false,
           ret->path, sizeof(ret->path));

    const char *line = line_end + 2;
    while (line < end) {
        const char *eol = memmem(line, total - (size_t)(line - data), "\r\n", 2);
        const char *colon = memchr(line, ':', (size_t)(eol - line));
        if (colon) {
            size_t name = (size_t)(colon - line);
            const char *value = colon + 1;
            while (value < eol && *value == ' ')
                value++;
            size_t len = (size_t)(eol - value);
            if (name == 13 && !strncasecmp(line, "Authorization", 13) &&
                len < sizeof(ret->authorization))
                memcpy(ret->authorization, value, len);
            if (name == 10 && !strncasecmp(line, "Connection", 10)) {
                if (len >= 5 && !strncasecmp(value, "close", 5))
                    ret->keep_alive = false;
                if (len >= 10 && !strncasecmp(value, "keep-alive", 10))
                    ret->keep_alive = true;
            }
            int64_t n;
            if (name == 14 && !strncasecmp(line, "Content-Length", 14) &&
                parse_int64(value, len, 0, 1 << 20, &n) == 0)
                ret->body_size = (size_t)n;
        }
        line = eol + 2;
    }
    return (long)total;
}

bool sim_query_get(const char *query, const char *name, char ret[SIM_VALUE_MAX])
{
    ret[0] = '\0';
    size_t len = strlen(name);
    for (const char *p = query; *p;) {
        size_t part = strcspn(p, "&");
        if (part > len && p[len] == '=' && !memcmp(p, name, len)) {
            decode(p + len + 1, part - len - 1, true, ret, SIM_VALUE_MAX);
            return true;
        }
        p += part + (p[part] == '&');
    }
    return false;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 32;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void decode(const char *s, size_t len, bool plus, char *dst, size_t size)
{
    size_t out = 0;
    for (size_t i = 0; i < len && out + 1 < size; i++) {
        char c = s[i];
        if (c == '%' && i + 2 < len && hex_value(s[i + 1]) >= 0 && hex_value(s[i + 2]) >= 0) {
            c = (char)(hex_value(s[i + 1]) * 16 + hex_value(s[i + 2]));
            i += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        dst[out++] = c;
    }
    dst[out] = '\0';
}

static size_t decode_base64(const char *s, char *dst, size_t size)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned bits = 0, have = 0;
    size_t out = 0;
    for (; *s && *s != '='; s++) {
        const char *at = strchr(letters, *s);
        if (!at)
            break;
        bits = (bits << 6 | (unsigned)(at - letters)) & 0xffffff;
        have += 6;
        if (have >= 8 && out + 1 < size) {
            have -= 8;
            dst[out++] = (char)(bits >> have);
        }
    }
    dst[out] = '\0';
    return out;
}

enum sim_login sim_check_basic(const struct sim_request *req, const char *user,
                               const char *password)
{
    if (strncasecmp(req->authorization, "Basic ", 6) != 0)
        return SIM_LOGIN_MISSING;
    char pair[SIM_VALUE_MAX];
    decode_base64(req->authorization + 6, pair, sizeof(pair));
    char *colon = strchr(pair, ':');
    if (!colon)
        return SIM_LOGIN_WRONG;
    *colon = '\0';
    return !strcmp(pair, user) && !strcmp(colon + 1, password) ? SIM_LOGIN_OK : SIM_LOGIN_WRONG;
}

/* name=value or name="value" of a digest header. */
static void digest_field(const char *header, const char *name, char *ret, size_t size)
{
    ret[0] = '\0';
    size_t len = strlen(name);
    const char *p = header + strlen("Digest ");
    while (*p) {
        while (*p == ' ' || *p == ',')
            p++;
        size_t n = strcspn(p, "=, ");
        if (p[n] != '=')
            return;
        const char *value = p + n + 1;
        bool quoted = *value == '"';
        size_t vlen = quoted ? strcspn(value + 1, "\"") : strcspn(value, ", ");
        if (n == len && !strncasecmp(p, name, len) && vlen < size) {
            memcpy(ret, value + quoted, vlen);
            ret[vlen] = '\0';
            return;
        }
        p = value + quoted + vlen;
        if (*p == '"')
            p++;
    }
}

static void digest_hash(enum sim_digest digest, char ret[HASH_SHA256_HEX], const char *fmt, ...)
    PRINTF_LIKE(3, 4);
static void digest_hash(enum sim_digest digest, char ret[HASH_SHA256_HEX], const char *fmt, ...)
{
    AUTO_DONE(dynbuf) text;
    dynbuf_init(&text, 8192);
    va_list ap;
    va_start(ap, fmt);
    (void)dynbuf_vprintf(&text, fmt, ap); /* all parts are bounded far below */
    va_end(ap);
    if (digest == SIM_DIGEST_SHA256)
        hash_sha256_hex(text.data, text.len, ret);
    else
        hash_md5_hex(text.data, text.len, ret);
}

enum sim_login sim_check_digest(const struct sim_request *req, enum sim_digest digest,
                                const char *realm, const char *nonce, const char *user,
                                const char *password)
{
    const char *h = req->authorization;
    if (strncasecmp(h, "Digest ", 7) != 0)
        return SIM_LOGIN_MISSING;
    char their_user[128], their_nonce[128], uri[1024], response[80], cnonce[128], nc[16], qop[16];
    digest_field(h, "username", their_user, sizeof(their_user));
    digest_field(h, "nonce", their_nonce, sizeof(their_nonce));
    digest_field(h, "uri", uri, sizeof(uri));
    digest_field(h, "response", response, sizeof(response));
    digest_field(h, "cnonce", cnonce, sizeof(cnonce));
    digest_field(h, "nc", nc, sizeof(nc));
    digest_field(h, "qop", qop, sizeof(qop));

    char a1[HASH_SHA256_HEX], a2[HASH_SHA256_HEX], expected[HASH_SHA256_HEX];
    digest_hash(digest, a1, "%s:%s:%s", user, realm, password);
    if (digest == SIM_DIGEST_MD5_SESS) {
        char session[HASH_SHA256_HEX];
        digest_hash(digest, session, "%s:%s:%s", a1, their_nonce, cnonce);
        memcpy(a1, session, sizeof(a1));
    }
    digest_hash(digest, a2, "%s:%s", req->method, uri);
    if (digest == SIM_DIGEST_RFC2069)
        digest_hash(digest, expected, "%s:%s:%s", a1, their_nonce, a2);
    else
        digest_hash(digest, expected, "%s:%s:%s:%s:%s:%s", a1, their_nonce, nc, cnonce, qop, a2);
    if (strcmp(their_user, user) != 0 || strcasecmp(response, expected) != 0 ||
        strcmp(uri, req->target) != 0)
        return SIM_LOGIN_WRONG;
    return strcmp(their_nonce, nonce) != 0 ? SIM_LOGIN_STALE : SIM_LOGIN_OK;
}
