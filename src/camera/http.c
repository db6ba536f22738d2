/* Any camera with a URL that answers with a picture: the escape hatch for makers that we do not
 * know. The URL is a template; every value is percent-encoded where it lands. */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/dynbuf.h"
#include "base/mem.h"
#include "base/text.h"
#include "camera/camera_kind.h"
#include "sys/hash.h"
#include "sys/httpc.h"

#define REQUEST_URL_MAX 4096 /* longer ones no camera reads */
#define PLACEHOLDERS "{user} {password} {time} {random} {channel} {address}"

static int validate(const struct camera *cam, struct err *e);
static int request(const struct camera *cam, struct wall_time now, struct camera_request *ret,
                   struct err *e);

const struct camera_kind camera_kind_http = {
    .name = "http",
    .help = "any camera with a URL for a picture; needs url, which may hold " PLACEHOLDERS,
    .validate = validate,
    .request = request,
};

static int expand(const struct camera *cam, struct wall_time now, struct dynbuf *out,
                  struct err *e);

static int validate(const struct camera *cam, struct err *e)
{
    const char *url = cam->url ? cam->url : "";
    if (!*url)
        return err_set(e, -EINVAL, ERR_NEVER,
                       "an http camera needs a url, for example http://host/snapshot.jpg");
    if (strncasecmp(url, "http://", 7) != 0 && strncasecmp(url, "https://", 8) != 0)
        return err_set(e, -EINVAL, ERR_NEVER, "the url must begin with http:// or https://");
    for (const char *p = url; *p; p++)
        if ((unsigned char)*p <= ' ')
            return err_set(e, -EINVAL, ERR_NEVER,
                           "the url holds a blank or a control character: write it as %%20");
    const char *host = strstr(url, "://") + 3;
    if (memchr(host, '@', strcspn(host, "/?#")))
        return err_set(e, -EINVAL, ERR_NEVER,
                       "user and password belong into their own keys, not into the url");
    if (strcspn(host, "/?#") == 0)
        return err_set(e, -EINVAL, ERR_NEVER, "the url has no host");
    if (strstr(url, "{address}") && (!cam->address || !*cam->address))
        return err_set(e, -EINVAL, ERR_NEVER, "the url holds {address}, but address is not set");
    AUTO_DONE(dynbuf) scratch;
    dynbuf_init(&scratch, REQUEST_URL_MAX);
    return expand(cam, (struct wall_time){0}, &scratch, e);
}

static int request(const struct camera *cam, struct wall_time now, struct camera_request *ret,
                   struct err *e)
{
    int r = validate(cam, e);
    if (r < 0)
        return r;
    AUTO_DONE(dynbuf) url;
    dynbuf_init(&url, REQUEST_URL_MAX);
    r = expand(cam, now, &url, e);
    if (r < 0)
        return r;
    /* A login in the URL is the maker's way; by header as well only when that is asked for. */
    bool in_url = strstr(cam->url, "{user}") || strstr(cam->url, "{password}");
    char shown[256];
    const char *address = strstr(cam->url, "{address}");
    if (address) {
        /* The host is worth seeing and not secret; the other placeholders stay as they are. */
        AUTO_FREE char *with_host = xasprintf("%.*s%s%s", (int)(address - cam->url), cam->url,
                                              cam->address, address + strlen("{address}"));
        httpc_show_url(with_host, shown, sizeof(shown));
    } else {
        httpc_show_url(cam->url, shown, sizeof(shown));
    }
    *ret = (struct camera_request){
        .url = dynbuf_steal(&url, NULL),
        .shown = xstrdup(shown),
        .auth = cam->auth == CAMERA_AUTH_AUTO && in_url ? CAMERA_AUTH_NONE : cam->auth,
        .login_in_url = in_url && cam->user && *cam->user,
    };
    return 0;
}

/* The value for a placeholder, or NULL when there is no such. `buf` holds made-up ones. */
static const char *value_of(const struct camera *cam, struct wall_time now, const char *name,
                            size_t len, char *buf, size_t size)
{
    const struct {
        const char *name;
        const char *value;
    } known[] = {
        {"user", cam->user ? cam->user : ""},
        {"password", cam->password ? cam->password : ""},
        {"channel", cam->channel && *cam->channel ? cam->channel : "1"},
        {"address", cam->address ? cam->address : ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (strlen(known[i].name) == len && !memcmp(known[i].name, name, len))
            return known[i].value;
    if (len == 4 && !memcmp(name, "time", 4)) {
        (void)text_format(buf, size, "%lld", (long long)wall_seconds(now)); /* always fits */
        return buf;
    }
    if (len == 6 && !memcmp(name, "random", 6)) {
        unsigned char bytes[8];
        hash_random(bytes, sizeof(bytes));
        text_hex(bytes, sizeof(bytes), buf);
        return buf;
    }
    return NULL;
}

static int expand(const struct camera *cam, struct wall_time now, struct dynbuf *out, struct err *e)
{
    int r = 0;
    for (const char *p = cam->url; r == 0 && *p;) {
        size_t plain = strcspn(p, "{}");
        r = dynbuf_append(out, p, plain);
        p += plain;
        if (r < 0 || !*p)
            break;
        size_t len = *p == '{' ? strcspn(p + 1, "{}") : 0;
        if (*p == '}' || p[1 + len] != '}')
            return err_set(e, -EINVAL, ERR_NEVER,
                           "the url holds a lone brace: write it as %%7B or %%7D");
        char buf[32];
        const char *value = value_of(cam, now, p + 1, len, buf, sizeof(buf));
        char name[32];
        if (!value)
            return err_set(e, -EINVAL, ERR_NEVER,
                           "the url holds {%s}; the known placeholders are " PLACEHOLDERS,
                           text_escape(p + 1, MIN(len, (size_t)20), name, sizeof(name)));
        /* An address keeps its colon and brackets; it was checked as host:port. */
        if (len == 7 && !memcmp(p + 1, "address", 7))
            r = dynbuf_puts(out, value);
        else
            r = httpc_escape(out, value, strlen(value));
        p += len + 2;
    }
    if (r == -ENOMEM)
        return err_set(e, r, ERR_LATER, "no memory for the request");
    if (r < 0)
        return err_set(e, -EINVAL, ERR_NEVER, "the request would be longer than %d bytes",
                       REQUEST_URL_MAX);
    return 0;
}
