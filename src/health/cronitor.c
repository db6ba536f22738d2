#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/macros.h"
#include "base/text.h"
#include "health/ping.h"
#include "sys/httpc.h"

/* Longer ones are cut there as well. */
#define MESSAGE_MAX 2000

/* The key may be of any letters; it is one part of the path. */
static int path_part(struct dynbuf *out, const char *text)
{
    int r = dynbuf_puts(out, "/");
    return r < 0 ? r : httpc_escape(out, text, strlen(text));
}

static int add(struct dynbuf *out, const char *name, const char *text, size_t size)
{
    int r = dynbuf_printf(out, "&%s=", name);
    return r < 0 ? r : httpc_escape(out, text, size);
}

int cronitor_address(const struct cronitor_target *t, enum ping_kind kind,
                     const struct health_news *news, struct dynbuf *ret)
{
    assert(kind == PING_WELL || kind == PING_FAIL);
    if (!text_starts_with(t->url, "https://") && !text_starts_with(t->url, "http://"))
        return -EINVAL;
    size_t base = strlen(t->url);
    while (base > 0 && t->url[base - 1] == '/')
        base--;
    size_t message = text_cut_length(news->text, MESSAGE_MAX);
    int r = dynbuf_append(ret, t->url, base);
    if (r == 0)
        r = dynbuf_puts(ret, "/p");
    if (r == 0)
        r = path_part(ret, t->api_key);
    if (r == 0)
        r = path_part(ret, t->monitor_key);
    if (r == 0)
        r = dynbuf_printf(ret, "?state=%s", kind == PING_WELL ? "ok" : "fail");
    if (r == 0 && t->host[0])
        r = add(ret, "host", t->host, strlen(t->host));
    if (r == 0 && message)
        r = add(ret, "message", news->text, message);
    if (r == 0)
        r = dynbuf_printf(ret, "&metric=count:%d&metric=error_count:%d", news->stages_running,
                          news->stages_missing + news->parts_unwell);
    return r;
}

enum ping_answer cronitor_answer(long status)
{
    if (status >= 200 && status <= 299)
        return PING_COUNTED;
    if (status == 429)
        return PING_SLOWER;
    return status >= 500 ? PING_AGAIN : PING_REFUSED;
}
