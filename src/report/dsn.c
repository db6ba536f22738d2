#include "report/dsn.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/parse.h"
#include "base/text.h"

#define FORM "https://KEY@HOST/PROJECT, as Sentry shows it under Client Keys (DSN)"

static const char digits[] = "0123456789";
static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

static bool take(char *dst, size_t size, const char *from, size_t len);
static bool only(const char *s, const char *more);
static bool is_host(const char *host);

int dsn_parse(const char *text, struct dsn *ret, struct err *e)
{
    struct dsn d = {0};
    const char *scheme = text_starts_with(text, "https://")  ? "https"
                         : text_starts_with(text, "http://") ? "http"
                                                             : NULL;
    if (!scheme || strlen(text) >= DSN_MAX)
        return err_set(e, -EINVAL, ERR_NEVER, "a DSN is " FORM);
    const char *rest = text + strlen(scheme) + 3;
    const char *at = strchr(rest, '@');
    const char *slash = at ? strchr(at, '/') : NULL;
    if (!slash)
        return err_set(e, -EINVAL, ERR_NEVER, "key, host or project is missing: a DSN is " FORM);
    const char *colon = memchr(rest, ':', (size_t)(at - rest));
    const char *key_end = colon ? colon : at;
    if (!take(d.key, sizeof(d.key), rest, (size_t)(key_end - rest)) || !d.key[0] ||
        !only(d.key, "_-") ||
        (colon && (!take(d.secret, sizeof(d.secret), colon + 1, (size_t)(at - colon - 1)) ||
                   !only(d.secret, "_-"))))
        return err_set(e, -EINVAL, ERR_NEVER,
                       "the key before the @ has letters and digits only: a DSN is " FORM);
    char host[DSN_MAX], path[DSN_MAX];
    if (!take(host, sizeof(host), at + 1, (size_t)(slash - at - 1)) || !is_host(host))
        return err_set(e, -EINVAL, ERR_NEVER, "the host is none: a DSN is " FORM);
    const char *last = strrchr(slash, '/');
    if (!take(d.project, sizeof(d.project), last + 1, strlen(last + 1)) || !d.project[0] ||
        strspn(d.project, digits) != strlen(d.project))
        return err_set(e, -EINVAL, ERR_NEVER, "the project at the end is a number: a DSN is " FORM);
    if (!take(path, sizeof(path), slash, (size_t)(last - slash)) || !only(path, "/._~-"))
        return err_set(e, -EINVAL, ERR_NEVER, "the path is none: a DSN is " FORM);
    (void)text_format(d.origin, sizeof(d.origin), "%s://%s", scheme, host); /* fit, by DSN_MAX */
    (void)text_format(d.url, sizeof(d.url), "%s%s/api/%s/envelope/", d.origin, path, d.project);
    *ret = d;
    return 0;
}

void dsn_auth(const struct dsn *d, const char *client, char ret[DSN_AUTH_MAX])
{
    (void)text_format(ret, DSN_AUTH_MAX, /* all parts are bounded */
                      "Sentry sentry_version=7, sentry_client=%.64s, sentry_key=%s%s%s", client,
                      d->key, d->secret[0] ? ", sentry_secret=" : "", d->secret);
}

static bool take(char *dst, size_t size, const char *from, size_t len)
{
    if (len >= size)
        return false;
    memcpy(dst, from, len);
    dst[len] = '\0';
    return true;
}

static bool only(const char *s, const char *more)
{
    for (; *s; s++)
        if (!strchr(letters, *s) && !strchr(digits, *s) && !strchr(more, *s))
            return false;
    return true;
}

/* A name, an IPv4 address or [an IPv6 one], with or without a port. What else a host may not be is
 * said when it is looked up. */
static bool is_host(const char *host)
{
    const char *end = host[0] == '[' ? strchr(host, ']') : strchrnul(host, ':');
    if (!end || end == host)
        return false;
    if (host[0] == '[')
        end++;
    size_t len = (size_t)(end - host);
    char name[DSN_MAX];
    if (!take(name, sizeof(name), host, len) || !only(name, host[0] == '[' ? "[]:." : ".-_"))
        return false;
    int64_t port;
    return !*end || (*end == ':' && parse_int64(end + 1, strlen(end + 1), 1, 65535, &port) == 0);
}
