/* Small copies of pictures. They are made on a thread of the pipeline; a request waits for it. */

#include <errno.h>

#include "base/text.h"
#include "ledger/thumbnails.h"
#include "sys/hash.h"
#include "web/query.h"
#include "web/routes.h"

#define WAIT_MS 10000 /* long for one copy, short for a person */
/* The nudge makes a waiting request quick; this makes it right when a nudge is lost. */
#define WAIT_RECHECK_MS 1000

static bool wait_for_it(const struct http_request *req, const struct snapshot *s,
                        struct http_response *ret);
static void refuse(int code, const struct err *e, struct http_response *ret);

void web_thumbnail_get(struct web_context *w, const struct http_request *req,
                       const char *const captures[WEB_CAPTURES_MAX], struct http_response *ret)
{
    static const char *const known[] = {"width", NULL};
    AUTO(snapshot) s = NULL;
    int width = 0;
    if (!query_only(req, known, ret) || !web_thumbnail_width(req, &width, ret) ||
        web_find_snapshot(w, captures[0], &s, ret) < 0)
        return;
    web_answer_thumbnail(w, req, s, width ? width : THUMBNAIL_WIDTH_SMALL, WEB_CACHE_FOREVER, ret);
}

bool web_thumbnail_width(const struct http_request *req, int *ret, struct http_response *response)
{
    static const char *const names[] = {"320", "960"};
    static const int widths[] = {THUMBNAIL_WIDTH_SMALL, THUMBNAIL_WIDTH_LARGE};
    const char *name = NULL;
    if (!query_choice(req, "width", names, ARRAY_LEN(names), &name, response))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (name == names[i])
            *ret = widths[i];
    return true;
}

void web_answer_thumbnail(struct web_context *w, const struct http_request *req,
                          const struct snapshot *s, int width, const char *cache_control,
                          struct http_response *ret)
{
    AUTO(blob) bytes = NULL;
    struct err e;
    err_clear(&e);
    int r = -EOPNOTSUPP;
    if (s->removed)
        r = -ENOENT;
    else if (w->backend->thumbnail)
        r = w->backend->thumbnail(w->backend->arg, s, width, &bytes, &e);
    if (r == -EAGAIN && wait_for_it(req, s, ret))
        return;
    if (r < 0) {
        refuse(r, &e, ret);
        return;
    }
    char sum[HASH_SHA256_HEX];
    hash_sha256_hex(bytes->data, bytes->size, sum);
    (void)text_format(ret->etag, sizeof(ret->etag), "\"%s\"", sum); /* fits */
    http_response_blob(ret, 200, "image/jpeg", &bytes);
    ret->ranges = true;
    http_response_header(ret, "Cache-Control", "%s", cache_control);
}

static bool wait_for_it(const struct http_request *req, const struct snapshot *s,
                        struct http_response *ret)
{
    struct mono_time now = clock_mono();
    struct mono_time deadline = req->resumed ? req->resumed->deadline : mono_add_ms(now, WAIT_MS);
    if (!req->may_wait || deadline.us <= now.us)
        return false;
    ret->waits = true;
    text_copy(ret->wait.key, sizeof(ret->wait.key), s->id);
    ret->wait.deadline = deadline;
    ret->wait.recheck = mono_add_ms(now, WAIT_RECHECK_MS);
    ret->wait.recheck.us = MIN(ret->wait.recheck.us, deadline.us);
    return true;
}

static void refuse(int code, const struct err *e, struct http_response *ret)
{
    if (code == -EAGAIN || code == -EBUSY) {
        http_response_error(ret, 503, "not-made-yet",
                            "the small copy is still to be made; ask again");
        http_response_header(ret, "Retry-After", "1");
    } else if (code == -EOPNOTSUPP) {
        http_response_error(ret, 404, "no-thumbnail",
                            "no small copies are made here: thumbnails = no in [web]");
    } else if (code == -ENOENT) {
        http_response_error(ret, 404, "picture-gone",
                            "the picture was removed from here; its story says why");
    } else if (code == -EINVAL || code == -EFBIG || code == -EBADMSG) {
        http_response_error(ret, 404, "no-thumbnail", "no small copy can be made of it: %s",
                            e->text);
    } else {
        web_answer_err(ret, code, e);
    }
}
