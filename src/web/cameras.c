/* Cameras and the wish for a picture. */

#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "web/query.h"
#include "web/routes.h"
#include "web/snapshot_json.h"

#define WAIT_MAX_S 60 /* longer than any camera may take; proxies cut at 60 s */
/* The nudge makes a waiting request quick; this makes it right when a nudge is lost. */
#define WAIT_RECHECK_MS 1000

static bool has_outcome(struct web_context *w, const char *id, struct http_response *ret);
static void answer_pending(const struct trigger *t, struct http_response *ret);
static void answer_from_ledger(struct web_context *w, const char *id, const char *camera,
                               struct http_response *ret);
static void answer_failed(const struct trigger *t, struct http_response *ret);

void web_trigger_post(struct web_context *w, const struct http_request *req,
                      const char *const captures[WEB_CAPTURES_MAX], struct http_response *ret)
{
    static const char *const known[] = {"wait", NULL};
    int64_t wait_s = 0;
    if (!query_only(req, known, ret) || !query_int(req, "wait", 0, WAIT_MAX_S, &wait_s, ret))
        return;
    struct mono_time now = clock_mono(), deadline = mono_add_ms(now, wait_s * 1000);
    struct trigger t;
    if (req->resumed) {
        text_copy(t.id, sizeof(t.id), req->resumed->key);
        deadline = req->resumed->deadline;
    } else {
        struct err e;
        err_clear(&e);
        int r = w->backend->trigger(w->backend->arg, captures[0], &t, &e);
        if (r < 0) {
            web_refuse_camera(ret, r, captures[0], &e);
            return;
        }
    }
    if (wait_s > 0 && has_outcome(w, t.id, ret))
        return;
    if (deadline.us <= now.us || !req->may_wait) {
        if (req->resumed)
            answer_from_ledger(w, t.id, captures[0], ret);
        else
            answer_pending(&t, ret);
        return;
    }
    ret->waits = true;
    text_copy(ret->wait.key, sizeof(ret->wait.key), t.id);
    ret->wait.deadline = deadline;
    ret->wait.recheck = mono_add_ms(now, WAIT_RECHECK_MS);
    ret->wait.recheck.us = MIN(ret->wait.recheck.us, deadline.us);
}

void web_trigger_get(struct web_context *w, const struct http_request *req,
                     const char *const captures[WEB_CAPTURES_MAX], struct http_response *ret)
{
    (void)req;
    struct err e;
    err_clear(&e);
    struct trigger t;
    int r = snapshot_id_valid(captures[0]) ? ledger_trigger_get(w->ledger, captures[0], &t, &e)
                                           : -ENOENT;
    if (r == -ENOENT) {
        http_response_error(ret, 404, "unknown-trigger", "there is no trigger of this id");
        return;
    }
    if (r < 0) {
        web_answer_err(ret, r, &e);
        return;
    }
    AUTO_JSON json_t *document = trigger_json(&t);
    web_answer_json(ret, 200, document);
}

void web_cameras_get(struct web_context *w, const struct http_request *req,
                     const char *const captures[WEB_CAPTURES_MAX], struct http_response *ret)
{
    (void)req;
    (void)captures;
    AUTO_JSON json_t *cameras = w->backend->cameras(w->backend->arg, NULL);
    json_t *camera;
    size_t i;
    json_array_foreach(cameras, i, camera)
    {
        web_camera_add_links(camera);
    }
    AUTO_JSON json_t *document = json_object();
    json_object_set(document, "cameras", cameras);
    web_answer_json(ret, 200, cameras ? document : NULL);
}

void web_camera_add_links(json_t *camera)
{
    static const struct {
        const char *name, *before, *after;
    } rows[] = {
        {"self", "/api/v1/cameras/", ""},
        {"trigger", "/api/v1/cameras/", "/trigger"},
        {"latest", "/api/v1/cameras/", "/latest.jpg"},
        {"snapshots", "/api/v1/snapshots?camera=", ""},
    };
    const char *name = json_string_value(json_object_get(camera, "name"));
    json_t *links = json_object();
    for (size_t i = 0; name && i < ARRAY_LEN(rows); i++)
        json_object_set_new(links, rows[i].name,
                            camera_link_json(rows[i].before, name, rows[i].after));
    json_object_set_new(camera, "links", links);
}

void web_refuse_camera(struct http_response *ret, int code, const char *camera, const struct err *e)
{
    if (code == -ENOENT)
        http_response_error_about(ret, 404, "unknown-camera", "camera", camera, "%s", e->text);
    else if (code == -ECANCELED)
        http_response_error_about(ret, 409, "camera-disabled", "camera", camera, "%s", e->text);
    else
        web_answer_err(ret, code, e);
}

/* True when there is something final to say, or the ledger cannot be asked. */
static bool has_outcome(struct web_context *w, const char *id, struct http_response *ret)
{
    struct err e;
    err_clear(&e);
    struct trigger t;
    int r = ledger_trigger_get(w->ledger, id, &t, &e);
    if (r == 0 && t.state == TRIGGER_FAILED) {
        answer_failed(&t, ret);
        return true;
    }
    if (r < 0 && r != -ENOENT) {
        web_answer_err(ret, r, &e);
        return true;
    }
    AUTO(snapshot) s = NULL;
    r = ledger_snapshot_get(w->ledger, id, &s, &e);
    if (r < 0 && r != -ENOENT) {
        web_answer_err(ret, r, &e);
        return true;
    }
    if (r < 0 || s->state != SNAPSHOT_EXAMINED)
        return false;
    const char *captures[WEB_CAPTURES_MAX] = {id};
    web_snapshot_get(w, NULL, captures, ret);
    return true;
}

/* 502: we are the gateway and the camera did not give what was asked for. The trigger goes beside
 * the error for programs. */
static void answer_failed(const struct trigger *t, struct http_response *ret)
{
    AUTO_JSON json_t *document = json_object();
    json_t *error = json_object();
    json_object_set_new(error, "code", json_string("trigger-failed"));
    json_object_set_new(error, "message", js_string(t->error[0] ? t->error : "no reason given"));
    json_object_set_new(document, "error", error);
    json_object_set_new(document, "trigger", trigger_json(t));
    web_answer_json(ret, 502, document);
}

static void answer_pending(const struct trigger *t, struct http_response *ret)
{
    AUTO_JSON json_t *document = trigger_json(t);
    web_answer_json(ret, 202, document);
    http_response_header(ret, "Location", "/api/v1/triggers/%s", t->id);
}

static void answer_from_ledger(struct web_context *w, const char *id, const char *camera,
                               struct http_response *ret)
{
    struct err e;
    err_clear(&e);
    struct trigger t = {.origin = TRIGGER_API, .accepted_at = clock_wall()};
    int r = ledger_trigger_get(w->ledger, id, &t, &e);
    if (r < 0 && r != -ENOENT) {
        web_answer_err(ret, r, &e);
        return;
    }
    if (r == -ENOENT) { /* accepted is accepted, whatever the ledger shows just now */
        text_copy(t.id, sizeof(t.id), id);
        text_copy(t.camera, sizeof(t.camera), camera);
    }
    answer_pending(&t, ret);
}
