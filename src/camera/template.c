#include "camera/template.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "sys/hash.h"
#include "sys/httpc.h"

static const char *value_of(const struct camera *cam, const char *channel, struct wall_time now,
                            const char *name, size_t len, char *buf, size_t size);

static bool is(const char *name, size_t len, const char *word)
{
    return strlen(word) == len && !memcmp(name, word, len);
}

/* One placeholder, `name` without its braces. */
static int put_value(const char *name, size_t len, const char *value, enum template_form form,
                     struct dynbuf *out)
{
    if (form == TEMPLATE_SHOWN && (is(name, len, "user") || is(name, len, "password")))
        return dynbuf_append(out, name - 1, len + 2);
    /* An address keeps its colon and brackets; it was checked as host:port. */
    if (form == TEMPLATE_PLAIN || is(name, len, "address"))
        return dynbuf_puts(out, value);
    return httpc_escape(out, value, strlen(value));
}

int template_expand(const char *what, const char *text, const struct camera *cam,
                    const char *channel, struct wall_time now, enum template_form form,
                    struct dynbuf *out, struct err *e)
{
    int r = 0;
    for (const char *p = text; r == 0 && *p;) {
        size_t plain = strcspn(p, "{}");
        r = dynbuf_append(out, p, plain);
        p += plain;
        if (r < 0 || !*p)
            break;
        size_t len = *p == '{' ? strcspn(p + 1, "{}") : 0;
        if (*p == '}' || p[1 + len] != '}')
            return err_set(e, -EINVAL, ERR_NEVER, "the %s holds a lone brace%s", what,
                           form == TEMPLATE_PLAIN ? "" : ": write it as %7B or %7D");
        char buf[32], name[32];
        const char *value = value_of(cam, channel, now, p + 1, len, buf, sizeof(buf));
        if (!value)
            return err_set(e, -EINVAL, ERR_NEVER,
                           "the %s holds {%s}; the known placeholders are " TEMPLATE_PLACEHOLDERS,
                           what, text_escape(p + 1, MIN(len, (size_t)20), name, sizeof(name)));
        r = put_value(p + 1, len, value, form, out);
        p += len + 2;
    }
    if (r == -ENOMEM)
        return err_set(e, r, ERR_LATER, "no memory for the request");
    if (r < 0)
        return err_set(e, -EINVAL, ERR_NEVER, "the %s would be longer than %d bytes", what,
                       TEMPLATE_MAX);
    return 0;
}

/* The value for a placeholder, or NULL when there is no such. `buf` holds made-up ones. */
static const char *value_of(const struct camera *cam, const char *channel, struct wall_time now,
                            const char *name, size_t len, char *buf, size_t size)
{
    const struct {
        const char *name;
        const char *value;
    } known[] = {
        {"user", cam->user ? cam->user : ""},
        {"password", cam->password ? cam->password : ""},
        {"channel", cam->channel && *cam->channel ? cam->channel : channel},
        {"address", cam->address ? cam->address : ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (is(name, len, known[i].name))
            return known[i].value;
    if (is(name, len, "time")) {
        (void)text_format(buf, size, "%lld", (long long)wall_seconds(now)); /* always fits */
        return buf;
    }
    if (is(name, len, "random")) {
        unsigned char bytes[8];
        hash_random(bytes, sizeof(bytes));
        text_hex(bytes, sizeof(bytes), buf);
        return buf;
    }
    return NULL;
}

int template_request(const char *url, const struct camera *cam, const char *channel,
                     struct wall_time now, struct camera_request *ret, struct err *e)
{
    AUTO_DONE(dynbuf) filled, safe;
    dynbuf_init(&filled, TEMPLATE_MAX);
    dynbuf_init(&safe, strlen(url) + TEMPLATE_MAX); /* the placeholders that stay come on top */
    int r = template_expand("url", url, cam, channel, now, TEMPLATE_URL, &filled, e);
    if (r == 0)
        r = template_expand("url", url, cam, channel, now, TEMPLATE_SHOWN, &safe, e);
    if (r < 0)
        return r;
    char shown[256];
    httpc_show_url(dynbuf_str(&safe), shown, sizeof(shown));
    /* A login in the URL is the maker's way; by header as well only when that is asked for. */
    bool in_url = strstr(url, "{user}") || strstr(url, "{password}");
    *ret = (struct camera_request){
        .url = dynbuf_steal(&filled, NULL),
        .shown = xstrdup(shown),
        .auth = cam->auth == CAMERA_AUTH_AUTO && in_url ? CAMERA_AUTH_NONE : cam->auth,
        .login_inside = in_url && cam->user && *cam->user,
    };
    return 0;
}
