/* One camera: how it is, its newest picture, and whether it is wanted. */

#include <errno.h>
#include <string.h>

#include "ledger/ledger_browse.h"
#include "web/events.h"
#include "web/query.h"
#include "web/routes.h"

void web_camera_get(struct web_context *w, const struct http_request *req,
                    const char *const captures[WEB_CAPTURES_MAX], struct http_response *ret)
{
    (void)req;
    AUTO_JSON json_t *found = w->backend->cameras(w->backend->arg, captures[0]);
    json_t *camera = json_array_get(found, 0);
    if (found && !camera) {
        http_response_error_about(ret, 404, "unknown-camera", "camera", captures[0],
                                  "no camera of this name is configured");
        return;
    }
    if (camera)
        web_camera_add_links(camera);
    web_answer_json(ret, 200, camera);
}

static void turn(struct web_context *w, const struct http_request *req,
                 const char *const captures[WEB_CAPTURES_MAX], bool off, struct http_response *ret)
{
    static const char *const known[] = {NULL};
    struct err e;
    err_clear(&e);
    if (!query_only(req, known, ret))
        return;
    int r = w->backend->switch_camera(w->backend->arg, captures[0], off, &e);
    if (r < 0) {
        web_refuse_camera(ret, r, captures[0], &e);
        return;
    }
    events_tell(w->events, NEWS_CAMERA, captures[0]);
    web_camera_get(w, req, captures, ret);
}

void web_camera_disable_post(struct web_context *w, const struct http_request *req,
                             const char *const captures[WEB_CAPTURES_MAX],
                             struct http_response *ret)
{
    turn(w, req, captures, true, ret);
}

void web_camera_enable_post(struct web_context *w, const struct http_request *req,
                            const char *const captures[WEB_CAPTURES_MAX], struct http_response *ret)
{
    turn(w, req, captures, false, ret);
}

/* The name ends in .jpg for programs that go by it; the type says what the camera really sent. With
 * boxes it is where there are any: who watches a camera wants its picture in any case. */
void web_latest_get(struct web_context *w, const struct http_request *req,
                    const char *const captures[WEB_CAPTURES_MAX], struct http_response *ret)
{
    static const char *const known[] = {"annotated", "width", NULL};
    bool annotated = false;
    int width = 0;
    if (!query_only(req, known, ret) || !query_bool(req, "annotated", &annotated, ret) ||
        !web_thumbnail_width(req, &width, ret))
        return;
    if (annotated && width) {
        query_refuse(ret, "width", query_text(req, "width"),
                     "to leave it out: small copies have no boxes");
        return;
    }
    AUTO(snapshot) s = NULL;
    struct err e;
    err_clear(&e);
    int r = ledger_browse_newest(w->ledger, captures[0], &s, &e);
    if (r == -ENOENT)
        http_response_error_about(ret, 404, "no-picture", "camera", captures[0],
                                  "there is no picture of a camera of this name here");
    else if (r < 0)
        web_answer_err(ret, r, &e);
    else if (width)
        web_answer_thumbnail(w, req, s, width, WEB_CACHE_ASK, ret);
    else
        web_answer_picture(w, req, s,
                           &(struct web_picture){.annotated = annotated && s->annotated_path[0],
                                                 .cache_control = WEB_CACHE_ASK},
                           ret);
}
