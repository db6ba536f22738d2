#include "web/routes.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"

const struct web_route web_routes[] = {
    {"POST", "/api/v1/cameras/{name}/trigger", web_trigger_post,
     "asks a camera for a picture; ?wait=SECONDS waits for what is on it"},
    {"GET", "/api/v1/cameras", web_cameras_get, "all cameras with their state"},
    {"GET", "/api/v1/triggers/{id}", web_trigger_get, "what became of a trigger"},
    {"GET", "/api/v1/snapshots", web_snapshots_get,
     "snapshots, newest first; filters: camera, label, confidence, person, starred, state, from, "
     "to"},
    {"GET", "/api/v1/snapshots/{id}", web_snapshot_get,
     "one snapshot with its detections and its story"},
    {"POST", "/api/v1/snapshots/{id}/star", web_star_post,
     "gives a snapshot a star: it is kept, and storages that have stars show it"},
    {"POST", "/api/v1/snapshots/{id}/unstar", web_unstar_post, "takes its star away"},
    {"GET", "/api/v1/snapshots/{id}/image", web_image_get,
     "the picture as the camera sent it; ?annotated=1 with boxes"},
    {"POST", "/api/v1/snapshots/{id}/upload-again", web_upload_again_post,
     "its files that a storage was not to get any more are tried again"},

    {"GET", "/api/v1/snapshots/{id}/thumbnail", web_thumbnail_get,
     "a small copy of the picture; ?width=320 or 960"},
    {"GET", "/api/v1/cameras/{name}", web_camera_get, "one camera with its state"},
    {"POST", "/api/v1/cameras/{name}/disable", web_camera_disable_post,
     "a camera is neither asked nor listened to from now on, also after a restart"},
    {"POST", "/api/v1/cameras/{name}/enable", web_camera_enable_post, "it is again"},
    {"GET", "/api/v1/cameras/{name}/latest.jpg", web_latest_get,
     "a camera's newest picture; ?annotated=1 with boxes, ?width=320 or 960 a small copy"},
    {"GET", "/api/v1/destinations", web_destinations_get,
     "who is told of pictures and where they are kept, with what waits for each"},
    {"GET", "/api/v1/config", web_config_get, "the configuration in force, without secrets"},
    {"GET", "/api/openapi.json", web_openapi_get, "this API as an OpenAPI 3.1 description"},

    {"GET", "/api/v1/status", web_status, "stages, cameras, detector, counts, disk"},
    {"GET", "/healthz", web_health, "200 while the program makes progress"},
    {"GET", "/readyz", web_readiness, "200 when the program is ready to work"},
    {"GET", "/metrics", web_metrics_get, "numbers in Prometheus' text form"},
    {"GET", "/", web_index, "this list"},
};
const size_t web_route_count = ARRAY_LEN(web_routes);

#define RETRY_AFTER_S 5 /* a full disk or a busy ledger rarely heals sooner */

static bool matches(const char *pattern, const struct http_request *req,
                    const char *captures[WEB_CAPTURES_MAX]);
static bool takes_method(const struct web_route *route, const char *method);
static void refuse_method(const struct http_request *req, const char *allowed,
                          struct http_response *ret);

const struct web_route *web_answer(struct web_context *w, const struct http_request *req,
                                   struct http_response *ret)
{
    if (!http_request_allowed(req, w->host_names, ret))
        return NULL;
    AUTO_DONE(dynbuf) allowed;
    dynbuf_init(&allowed, 256);
    for (size_t i = 0; i < web_route_count; i++) {
        const struct web_route *route = &web_routes[i];
        const char *captures[WEB_CAPTURES_MAX] = {NULL};
        if (!matches(route->pattern, req, captures))
            continue;
        if (takes_method(route, req->method)) {
            route->handle(w, req, captures, ret);
            return route;
        }
        (void)dynbuf_printf(&allowed, "%s%s%s", allowed.len ? ", " : "", route->method,
                            strcmp(route->method, "GET") == 0 ? ", HEAD" : "");
    }
    if (allowed.len)
        refuse_method(req, dynbuf_str(&allowed), ret);
    else
        http_response_error(ret, 404, "no-such-path",
                            "there is nothing under this path: GET / lists what there is");
    return NULL;
}

static bool matches(const char *pattern, const struct http_request *req,
                    const char *captures[WEB_CAPTURES_MAX])
{
    size_t part = 0, capture = 0;
    const char *at = pattern;
    while (at[0] == '/' && at[1]) {
        at++;
        size_t len = strcspn(at, "/");
        if (part == req->part_count)
            return false;
        const char *have = req->parts[part++];
        if (at[0] == '{') {
            if (!have[0])
                return false;
            captures[capture++] = have;
        } else if (strlen(have) != len || strncmp(at, have, len) != 0) {
            return false;
        }
        at += len;
    }
    return part == req->part_count;
}

static bool takes_method(const struct web_route *route, const char *method)
{
    return strcmp(route->method, method) == 0 ||
           (strcmp(method, "HEAD") == 0 && strcmp(route->method, "GET") == 0);
}

static void refuse_method(const struct http_request *req, const char *allowed,
                          struct http_response *ret)
{
    char method[32];
    text_escape(req->method, strnlen(req->method, 16), method, sizeof(method));
    http_response_error(ret, 405, "method-not-allowed", "'%s' is not possible here, only %s",
                        method, allowed);
    http_response_header(ret, "Allow", "%s", allowed);
}

void web_answer_json(struct http_response *ret, int status, const json_t *document)
{
    struct dynbuf text;
    dynbuf_init(&text, WEB_BODY_MAX);
    if (!document || js_write(document, &text) < 0)
        text.failed = true;
    (void)dynbuf_puts(&text, "\n"); /* kind to terminals */
    http_response_text(ret, status, "application/json", &text);
}

void web_answer_err(struct http_response *ret, int code, const struct err *e)
{
    bool passes = e->retry != ERR_NEVER || code == -ENOSPC || code == -EBUSY || code == -EAGAIN;
    http_response_error(ret, passes ? 503 : 500, passes ? "refused-for-now" : "internal", "%s",
                        e->text);
    if (passes)
        http_response_header(ret, "Retry-After", "%d", RETRY_AFTER_S);
}
