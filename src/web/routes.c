#include "web/routes.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "web/files.h"

const struct web_route web_routes[] = {
    {"POST", "/api/v1/cameras/{name}/trigger", web_trigger_post,
     "asks a camera for a picture; ?wait=SECONDS waits for what is on it", .access = WEB_TRIGGER},
    {"GET", "/api/v1/cameras", web_cameras_get, "all cameras with their state", .access = WEB_VIEW},
    {"GET", "/api/v1/triggers/{id}", web_trigger_get, "what became of a trigger",
     .access = WEB_VIEW},
    {"GET", "/api/v1/snapshots", web_snapshots_get,
     "snapshots, newest first; filters: camera, label, confidence, person, starred, present, "
     "deleted, state, source, from, to, q",
     .access = WEB_VIEW},

    {"GET", "/api/v1/snapshots/count", web_count_get, "how many; the same filters",
     .access = WEB_VIEW},
    {"GET", "/api/v1/snapshots/histogram", web_histogram_get,
     "how many per ?by=hour or day; the same filters", .access = WEB_VIEW},
    {"GET", "/api/v1/snapshots/{id}/neighbours", web_neighbours_get,
     "the next newer and older one of the same filters", .access = WEB_VIEW},
    {"DELETE", "/api/v1/snapshots/{id}", web_snapshot_delete,
     "puts a snapshot into the trash; ?force=1 also one with a star", .access = WEB_MANAGE},
    {"POST", "/api/v1/snapshots/{id}/undelete", web_undelete_post, "takes it out of the trash",
     .access = WEB_MANAGE},
    {"POST", "/api/v1/snapshots/{id}/detect", web_detect_post,
     "examines it once more; nobody is told again", .access = WEB_MANAGE},

    {"GET", "/api/v1/snapshots/{id}", web_snapshot_get,
     "one snapshot with its detections and its story", .access = WEB_VIEW},
    {"POST", "/api/v1/snapshots/{id}/star", web_star_post,
     "gives a snapshot a star: it is kept, and storages that have stars show it",
     .access = WEB_MANAGE},
    {"POST", "/api/v1/snapshots/{id}/unstar", web_unstar_post, "takes its star away",
     .access = WEB_MANAGE},
    {"GET", "/api/v1/snapshots/{id}/image", web_image_get,
     "the picture as the camera sent it; ?annotated=1 with boxes", .access = WEB_VIEW},
    {"POST", "/api/v1/snapshots/{id}/upload-again", web_upload_again_post,
     "its files that a storage was not to get any more are tried again", .access = WEB_MANAGE},
    {"GET", "/api/v1/status", web_status, "stages, cameras, detector, counts, disk",
     .access = WEB_VIEW},
    {"GET", "/healthz", web_health, "200 while the program makes progress", .access = WEB_OPEN},
    {"GET", "/readyz", web_readiness, "200 when the program is ready to work", .access = WEB_OPEN},
    {"GET", "/metrics", web_metrics_get, "numbers in Prometheus' text form", .access = WEB_METRICS},
    {"GET", "/", web_index, "the pages for browsers, this list for others", .access = WEB_OPEN},

    {"GET", "/api/v1/events", web_events_get,
     "what happens, as server-sent events; ?camera= of one camera, ?last_event_id= goes on",
     .access = WEB_VIEW},
    {"GET", "/api/v1/snapshots.zip", web_zip_get,
     "the pictures themselves, with a list of them; filters as above, annotated, limit",
     .access = WEB_VIEW},
    {"POST", "/api/v1/cameras/{name}/snapshots", web_push_post,
     "takes in a picture: raw, or in the field 'file' of a form; ?event_at= says when it was taken",
     .body_max = web_push_max, .admit = web_push_admit, .access = WEB_PUSH},
    {"GET", "/assets/{path...}", web_asset_get, "what the pages are made of", .access = WEB_OPEN},

    {"GET", "/api/v1/session", web_session_get, "who one is here, and the word for changes",
     .access = WEB_OPEN},
    {"POST", "/api/v1/login", web_login_post, "begins a session: user and password",
     .access = WEB_OPEN},
    {"POST", "/api/v1/logout", web_logout_post, "ends it", .access = WEB_OPEN},
    {"POST", "/api/v1/password", web_password_post, "gives oneself another password",
     .access = WEB_VIEW},
    {"GET", "/api/v1/users", web_users_get, "who may log in", .access = WEB_ADMIN},
    {"POST", "/api/v1/users", web_users_post, "adds a user: name, role, password",
     .access = WEB_ADMIN},
    {"POST", "/api/v1/users/{name}", web_user_post, "changes a user's role or password",
     .access = WEB_ADMIN},
    {"DELETE", "/api/v1/users/{name}", web_user_delete, "removes a user", .access = WEB_ADMIN},
    {"GET", "/api/v1/tokens", web_tokens_get, "tokens for programs", .access = WEB_ADMIN},
    {"POST", "/api/v1/tokens", web_tokens_post, "makes a token: name, scopes, expires",
     .access = WEB_ADMIN},
    {"DELETE", "/api/v1/tokens/{id}", web_token_delete, "ends a token", .access = WEB_ADMIN},
    {"POST", "/api/v1/snapshots/{id}/link", web_link_post,
     "a link to this picture for people without a login; ?expires=SECONDS", .access = WEB_MANAGE},
    {"GET", "/s/{link}", web_link_get, "the picture of such a link", .access = WEB_OPEN},
    {"GET", "/api/v1/audit", web_audit_get, "who came in and changed what, newest first",
     .access = WEB_ADMIN},

    {"GET", "/api/v1/snapshots/{id}/thumbnail", web_thumbnail_get,
     "a small copy of the picture; ?width=320 or 960", .access = WEB_VIEW},
    {"GET", "/api/v1/cameras/{name}", web_camera_get, "one camera with its state",
     .access = WEB_VIEW},
    {"POST", "/api/v1/cameras/{name}/disable", web_camera_disable_post,
     "a camera is neither asked nor listened to from now on, also after a restart",
     .access = WEB_MANAGE},
    {"POST", "/api/v1/cameras/{name}/enable", web_camera_enable_post, "it is again",
     .access = WEB_MANAGE},
    {"GET", "/api/v1/cameras/{name}/latest.jpg", web_latest_get,
     "a camera's newest picture; ?annotated=1 with boxes, ?width=320 or 960 a small copy",
     .access = WEB_VIEW},
    {"GET", "/api/v1/destinations", web_destinations_get,
     "who is told of pictures and where they are kept, with what waits for each",
     .access = WEB_VIEW},
    {"GET", "/api/v1/queues", web_queues_get, "how much waited in the last day, every five minutes",
     .access = WEB_VIEW},
    {"GET", "/api/v1/config", web_config_get, "the configuration in force, without secrets",
     .access = WEB_MANAGE},
    {"GET", "/api/openapi.json", web_openapi_get, "this API as an OpenAPI 3.1 description",
     .access = WEB_VIEW},

};
const size_t web_route_count = ARRAY_LEN(web_routes);

#define RETRY_AFTER_S 5 /* a full disk or a busy ledger rarely heals sooner */

static bool matches(const char *pattern, const struct http_request *req,
                    const char *captures[WEB_CAPTURES_MAX]);
static bool takes_method(const struct web_route *route, const char *method);
static void note_change(struct web_context *w, const struct web_route *route,
                        const struct http_request *req, const struct http_response *ret);
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
            if (web_permits(w, route, req, ret))
                route->handle(w, req, captures, ret);
            note_change(w, route, req, ret);
            return route;
        }
        (void)dynbuf_printf(&allowed, "%s%s%s", allowed.len ? ", " : "", route->method,
                            strcmp(route->method, "GET") == 0 ? ", HEAD" : "");
    }
    if (allowed.len == 0 && web_wants_page(req))
        web_answer_page(req, ret);
    else if (allowed.len)
        refuse_method(req, dynbuf_str(&allowed), ret);
    else
        http_response_error(ret, 404, "no-such-path",
                            "there is nothing under this path: GET / lists what there is");
    return NULL;
}

static bool is_reading(const char *method)
{
    return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
}

bool web_permits(struct web_context *w, const struct web_route *route,
                 const struct http_request *req, struct http_response *ret)
{
    access_identify(w->access, req, &w->who);
    return access_permits(w->access, &w->who, route->access, !is_reading(route->method), req, ret);
}

/* Triggers and pictures that are brought have their own books: their rows say where from. */
static void note_change(struct web_context *w, const struct web_route *route,
                        const struct http_request *req, const struct http_response *ret)
{
    struct err e;
    if (route->access == WEB_MANAGE && !is_reading(route->method) && !ret->waits &&
        ret->status < 400 && access_database(w->access, false, &e))
        access_audit(w->access, &w->who, ACCESS_EVENT_CHANGE, "change", "%s %s", req->method,
                     req->target);
}

size_t web_admit(struct web_context *w, const struct http_request *req, struct http_response *ret)
{
    if (!http_request_allowed(req, w->host_names, ret))
        return 0;
    for (size_t i = 0; i < web_route_count; i++) {
        const struct web_route *route = &web_routes[i];
        const char *captures[WEB_CAPTURES_MAX] = {NULL};
        if (!route->body_max || !takes_method(route, req->method) ||
            !matches(route->pattern, req, captures))
            continue;
        if (web_permits(w, route, req, ret) && route->admit)
            route->admit(w, req, captures, ret);
        return ret->status ? 0 : route->body_max(w, captures[0]);
    }
    return 0;
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
        if (at[-1] == '}' && at[-2] == '.')
            return true;
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
