/* How the program is: status, liveness, readiness, metrics, and the list of routes. */

#include <string.h>

#include "base/metrics.h"
#include "web/files.h"
#include "web/routes.h"

#define METRICS_MAX (4 << 20)

void web_status(struct web_context *w, const struct http_request *req,
                const char *const captures[WEB_CAPTURES_MAX], struct http_response *ret)
{
    (void)req;
    (void)captures;
    AUTO_JSON json_t *document = w->backend->status(w->backend->arg);
    web_answer_json(ret, 200, document);
}

/* A note of "" is none; parts (taken) may be NULL. */
static void answer_ok(struct http_response *ret, const char *note, json_t *parts)
{
    AUTO_JSON json_t *document = json_object();
    json_object_set_new(document, "status", json_string("ok"));
    if (note[0])
        json_object_set_new(document, "note", js_string(note));
    if (parts)
        json_object_set_new(document, "parts", parts);
    web_answer_json(ret, 200, document);
}

/* As every error, and the parts beside it. */
static void answer_not_ready(struct http_response *ret, const char *why, json_t *parts)
{
    AUTO_JSON json_t *document =
        json_pack("{s:{s:s,s:o}}", "error", "code", "not-ready", "message", js_string(why));
    if (parts)
        json_object_set_new(document, "parts", parts);
    web_answer_json(ret, 503, document);
}

/* Both answer anybody, so that a balancer needs no token; what they say of the inside only to those
 * who may see that. */
static bool tells_details(const struct web_context *w)
{
    return w->who.role >= ACCESS_VIEWER || (w->who.scopes & ACCESS_READ);
}

void web_health(struct web_context *w, const struct http_request *req,
                const char *const captures[WEB_CAPTURES_MAX], struct http_response *ret)
{
    (void)req;
    (void)captures;
    struct err e;
    err_clear(&e);
    if (w->backend->healthy(w->backend->arg, &e) < 0)
        http_response_error(ret, 503, "unhealthy", "%s",
                            tells_details(w) ? e.text : "log in to see why");
    else
        answer_ok(ret, "", NULL);
}

void web_readiness(struct web_context *w, const struct http_request *req,
                   const char *const captures[WEB_CAPTURES_MAX], struct http_response *ret)
{
    (void)req;
    (void)captures;
    struct err e;
    char note[ERR_TEXT_MAX] = "";
    bool details = tells_details(w);
    json_t *parts = details && w->backend->parts ? w->backend->parts(w->backend->arg) : NULL;
    err_clear(&e);
    if (w->backend->ready(w->backend->arg, &e) < 0) {
        answer_not_ready(ret, details ? e.text : "log in to see why", parts);
        return;
    }
    if (details && w->backend->attention)
        w->backend->attention(w->backend->arg, note);
    answer_ok(ret, note, parts);
}

void web_metrics_get(struct web_context *w, const struct http_request *req,
                     const char *const captures[WEB_CAPTURES_MAX], struct http_response *ret)
{
    (void)w;
    (void)req;
    (void)captures;
    struct dynbuf text;
    dynbuf_init(&text, METRICS_MAX);
    metrics_render(&text);
    http_response_text(ret, 200, "text/plain; version=0.0.4; charset=utf-8", &text);
}

void web_index(struct web_context *w, const struct http_request *req,
               const char *const captures[WEB_CAPTURES_MAX], struct http_response *ret)
{
    (void)w;
    (void)captures;
    if (web_wants_page(req)) {
        web_answer_page(req, ret);
        return;
    }
    struct dynbuf text;
    dynbuf_init(&text, 16384);
    (void)dynbuf_puts(&text, "snapshotd answers here:\n\n");
    size_t widest = 0;
    for (size_t i = 0; i < web_route_count; i++)
        widest = MAX(widest, strlen(web_routes[i].pattern));
    for (size_t i = 0; i < web_route_count; i++)
        (void)dynbuf_printf(&text, "  %-4s  %-*s  %s\n", web_routes[i].method, (int)widest,
                            web_routes[i].pattern, web_routes[i].help);
    http_response_text(ret, 200, "text/plain; charset=utf-8", &text);
    http_response_header(ret, "Vary", "Accept");
}
