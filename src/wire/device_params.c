#include "wire/device_params.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "base/macros.h"
#include "base/parse.h"
#include "base/text.h"

static int split_login(const char *s, size_t len, struct device_params *p, struct err *e);
static int split_place(const char *s, size_t len, struct device_params *p, struct err *e);
static int take_host(const char *s, size_t len, struct device_params *p, struct err *e);
static int take_port(const char *s, size_t len, const char *what, int *ret, struct err *e);
static int take(const char *s, size_t len, char *dst, size_t size, const char *what, struct err *e);
static int refuse(struct err *e, const char *why);

int device_params_parse(const char *text, size_t len, struct device_params *ret, struct err *e)
{
    struct device_params p = {0};
    if (len >= DEVICE_PARAMS_MAX)
        return refuse(e, "too long");
    if (memchr(text, '\0', len))
        return refuse(e, "a NUL byte in it");
    const char *at = memrchr(text, '@', len);
    if (!at)
        return refuse(e, "no '@' between the login and the host");
    size_t login = (size_t)(at - text);
    int r = split_login(text, login, &p, e);
    if (r == 0)
        r = split_place(at + 1, len - login - 1, &p, e);
    if (r == 0)
        *ret = p;
    return r;
}

static int split_login(const char *s, size_t len, struct device_params *p, struct err *e)
{
    const char *colon = memchr(s, ':', len);
    if (!colon)
        return refuse(e, "no ':' between user and password");
    size_t user = (size_t)(colon - s);
    int r = take(s, user, p->user, sizeof(p->user), "the user is too long", e);
    if (r < 0)
        return r;
    return take(colon + 1, len - user - 1, p->password, sizeof(p->password),
                "the password is too long", e);
}

static int split_place(const char *s, size_t len, struct device_params *p, struct err *e)
{
    const char *comma = memchr(s, ',', len);
    size_t place = comma ? (size_t)(comma - s) : len;
    const char *colon = memrchr(s, ':', place);
    if (!colon)
        return refuse(e, "no ':' between host and port");
    size_t host = (size_t)(colon - s);
    int r = take_host(s, host, p, e);
    if (r == 0)
        r = take_port(colon + 1, place - host - 1, "the port is no number from 1 to 65535",
                      &p->port, e);
    if (r < 0)
        return r;
    p->rtsp_port = p->port;
    (void)text_format(p->address, sizeof(p->address), strchr(p->host, ':') ? "[%s]:%d" : "%s:%d",
                      p->host, p->port); /* has room for the longest host */
    if (!comma)
        return 0;
    return take_port(comma + 1, len - place - 1, "the RTSP port is no number from 1 to 65535",
                     &p->rtsp_port, e);
}

static int take_host(const char *s, size_t len, struct device_params *p, struct err *e)
{
    bool brackets = len >= 2 && s[0] == '[' && s[len - 1] == ']';
    if (brackets) {
        s++;
        len -= 2;
    }
    int r = take(s, len, p->host, sizeof(p->host), "the host is too long", e);
    if (r < 0)
        return r;
    /* An IPv6 address without brackets is clear, too: its port is behind the last colon. */
    if (brackets || strchr(p->host, ':')) {
        struct in6_addr address;
        if (inet_pton(AF_INET6, p->host, &address) != 1)
            return refuse(e, "the host is no IPv6 address");
        return 0;
    }
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789.-_";
    if (p->host[0] == '\0' || strspn(p->host, allowed) != len)
        return refuse(e, "the host is no name or address");
    return 0;
}

static int take_port(const char *s, size_t len, const char *what, int *ret, struct err *e)
{
    int64_t port = 0;
    if (parse_int64(s, len, 1, 65535, &port) < 0)
        return refuse(e, what);
    *ret = (int)port;
    return 0;
}

static int take(const char *s, size_t len, char *dst, size_t size, const char *what, struct err *e)
{
    if (len >= size)
        return refuse(e, what);
    memcpy(dst, s, len);
    dst[len] = '\0';
    return 0;
}

static int refuse(struct err *e, const char *why)
{
    return err_set(e, -EINVAL, ERR_NEVER, "%s; wanted is user:password@host:port[,rtsp_port]", why);
}
