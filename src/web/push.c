/* Pictures that come by POST: a camera's, a script's, a browser's form. */

#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "web/form_data.h"
#include "web/query.h"
#include "web/routes.h"
#include "web/snapshot_json.h"

#define WAIT_MS 30000      /* a disk that takes longer for one picture is in trouble */
#define RECHECK_MS 1000    /* a nudge that is lost costs no more */
#define RETRY_AFTER_S 5    /* full disks rarely heal sooner */
#define FORM_OVERHEAD 8192 /* of a form beside its file */
#define AHEAD_US                                                                                   \
    (24 * 3600 * INT64_C(1000000)) /* clocks that are off, and zones that are wrong                \
                                    */

static bool is_type(const struct http_request *req, const char *type);
static bool check_type(const struct http_request *req, struct http_response *ret);
static void refuse(struct http_response *ret, int code, const char *camera, const struct err *e);
static bool take_picture(const struct http_request *req, struct web_post *post,
                         struct http_response *ret);
static void answer_recorded(const char *id, const char *camera, bool is_new,
                            struct http_response *ret);
static void wait_for(const struct http_request *req, const char *id, struct http_response *ret);

/* With the headers alone, so that nobody sends a picture for nothing. */
void web_push_admit(struct web_context *w, const struct http_request *req,
                    const char *const captures[WEB_CAPTURES_MAX], struct http_response *ret)
{
    struct err e;
    err_clear(&e);
    size_t max;
    int r = w->backend->push_check(w->backend->arg, captures[0], &max, &e);
    if (r < 0)
        refuse(ret, r, captures[0], &e);
    else
        (void)check_type(req, ret);
}

size_t web_push_max(struct web_context *w, const char *camera)
{
    size_t max = 0;
    struct err e;
    if (w->backend->push_check(w->backend->arg, camera, &max, &e) < 0)
        return 0;
    return max + FORM_OVERHEAD;
}

void web_push_post(struct web_context *w, const struct http_request *req,
                   const char *const captures[WEB_CAPTURES_MAX], struct http_response *ret)
{
    static const char *const known[] = {"event_at", NULL};
    const struct web_backend *b = w->backend;
    const char *camera = captures[0];
    char sent[SNAPSHOT_ID_SIZE], id[SNAPSHOT_ID_SIZE];
    struct err e;
    err_clear(&e);
    int r;
    if (req->resumed) {
        text_copy(sent, sizeof(sent), req->resumed->key);
        r = b->push_result(b->arg, sent, id, &e);
    } else {
        struct web_post post = {.camera = camera};
        web_push_admit(w, req, captures, ret);
        if (ret->status || !query_only(req, known, ret) ||
            !query_time(req, "event_at", &post.event_at, ret))
            return;
        post.timed = post.event_at.us != 0;
        if (!post.timed)
            post.event_at = clock_wall();
        if (post.event_at.us > clock_wall().us + AHEAD_US || post.event_at.us < 0) {
            query_refuse(ret, "event_at", query_text(req, "event_at"), "a time that has been");
            return;
        }
        if (!req->may_wait) {
            err_set(&e, -EAGAIN, ERR_LATER, "too many requests wait; send the picture again");
            refuse(ret, -EAGAIN, camera, &e);
            return;
        }
        if (!take_picture(req, &post, ret))
            return;
        r = b->push(b->arg, &post, sent, &e);
        blob_unref(post.bytes);
        text_copy(id, sizeof(id), sent);
        if (r == 0)
            r = b->push_result(b->arg, sent, id, &e);
    }
    if (r == -EINPROGRESS)
        wait_for(req, sent, ret);
    else if (r < 0)
        refuse(ret, r, camera, &e);
    else
        answer_recorded(id, camera, r == 0, ret);
}

static bool is_type(const struct http_request *req, const char *type)
{
    const char *have = http_request_header(req, "Content-Type");
    return have && strncasecmp(have, type, strlen(type)) == 0;
}

static bool check_type(const struct http_request *req, struct http_response *ret)
{
    if (is_type(req, "image/") || is_type(req, "multipart/form-data") ||
        is_type(req, "application/octet-stream"))
        return true;
    http_response_error(ret, 415, "not-a-picture",
                        "the Content-Type of a picture is image/jpeg or another image/..., or "
                        "multipart/form-data with the picture in the field 'file'");
    return false;
}

/* A new reference in post->bytes, of the file of a form or of the whole body. */
static bool take_picture(const struct http_request *req, struct web_post *post,
                         struct http_response *ret)
{
    struct form_file file = {.at = 0, .size = req->body_size};
    struct err e;
    if (is_type(req, "multipart/form-data")) {
        int r = form_data_find(http_request_header(req, "Content-Type"), req->body, req->body_size,
                               "file", &file, &e);
        if (r < 0) {
            http_response_error(ret, 422, "bad-form", "%s", e.text);
            return false;
        }
    }
    if (file.size == 0) {
        http_response_error(ret, 422, "not-a-picture", "there is no picture in the request");
        return false;
    }
    text_copy(post->name, sizeof(post->name), file.name);
    const uint8_t *data = (const uint8_t *)req->body + file.at;
    post->bytes = req->body_blob ? blob_new_hook(data, file.size, (void (*)(void *))blob_unref,
                                                 blob_ref(req->body_blob))
                                 : blob_new_copy(data, file.size);
    if (!post->bytes)
        http_response_error(ret, 500, "internal", "no memory for the picture");
    return post->bytes;
}

static void refuse(struct http_response *ret, int code, const char *camera, const struct err *e)
{
    switch (code) {
    case -ENOENT:
        http_response_error_about(ret, 404, "unknown-camera", "camera", camera, "%s", e->text);
        break;
    case -ECANCELED:
        http_response_error_about(ret, 409, "camera-disabled", "camera", camera, "%s", e->text);
        break;
    case -EFBIG:
        http_response_error(ret, 413, "body-too-large", "%s", e->text);
        break;
    case -EINVAL:
        http_response_error(ret, 422, "not-a-picture", "%s", e->text);
        break;
    case -ENOSPC:
        http_response_error(ret, 507, "disk-full", "%s", e->text);
        http_response_header(ret, "Retry-After", "%d", RETRY_AFTER_S);
        break;
    default:
        http_response_error(ret, 503, "refused-for-now", "%s", e->text);
        http_response_header(ret, "Retry-After", "%d", RETRY_AFTER_S);
    }
}

static void answer_recorded(const char *id, const char *camera, bool is_new,
                            struct http_response *ret)
{
    char self[64 + SNAPSHOT_ID_SIZE], image[64 + SNAPSHOT_ID_SIZE];
    (void)text_format(self, sizeof(self), "/api/v1/snapshots/%s", id);         /* fits */
    (void)text_format(image, sizeof(image), "/api/v1/snapshots/%s/image", id); /* fits */
    AUTO_JSON json_t *document =
        json_pack("{s:s,s:o,s:b,s:{s:s,s:s,s:o}}", "id", id, "camera", js_string(camera),
                  "repeated", !is_new, "links", "self", self, "image", image, "camera_snapshots",
                  camera_link_json("/api/v1/snapshots?camera=", camera, ""));
    web_answer_json(ret, is_new ? 201 : 200, document);
    http_response_header(ret, "Location", "%s", self);
}

/* Until it is durable. Without an answer the sender sends it again, which is a repeat if it says
 * the same time. */
static void wait_for(const struct http_request *req, const char *id, struct http_response *ret)
{
    struct mono_time now = clock_mono();
    struct mono_time deadline = req->resumed ? req->resumed->deadline : mono_add_ms(now, WAIT_MS);
    if (!req->may_wait || deadline.us <= now.us) {
        http_response_error(ret, 503, "refused-for-now",
                            "it is not certain that the picture is safe; send it again with the "
                            "same event_at, then it is recorded once");
        http_response_header(ret, "Retry-After", "%d", RETRY_AFTER_S);
        return;
    }
    ret->waits = true;
    text_copy(ret->wait.key, sizeof(ret->wait.key), id);
    ret->wait.deadline = deadline;
    ret->wait.recheck = mono_add_ms(now, RECHECK_MS);
    ret->wait.recheck.us = MIN(ret->wait.recheck.us, deadline.us);
}
