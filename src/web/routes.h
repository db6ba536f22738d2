#pragma once
/* The routes as a table, and the way from a request to its handler. Nothing here knows a socket or
 * a thread: tests and the fuzz target call web_answer() directly. */

#include "ledger/ledger.h"
#include "sys/http_message.h"
#include "web/access.h"
#include "web/web.h"

/* What handlers may use; one per thread. */
struct web_context {
    struct ledger *ledger;
    const struct web_backend *backend;
    const char *const *host_names; /* or NULL */
    struct access *access;         /* or NULL, see access_identify() */
    struct access_who who;         /* who asks; of the request in hand */
    struct events *events;
    struct exports *exports;
};

#define WEB_CAPTURES_MAX 2

struct web_route {
    const char *method;  /* "GET" (HEAD comes with it) or "POST" */
    const char *pattern; /* "/api/v1/snapshots/{id}": a {part} is captured, in order; a last
                          * {part...} is the first of one or more */
    /* Fills `ret`; captures are decoded. */
    void (*handle)(struct web_context *w, const struct http_request *req,
                   const char *const captures[WEB_CAPTURES_MAX], struct http_response *ret);
    const char *help; /* one line, shown by "GET /"; doc/api.md has the rest */
    enum web_access access;

    /* How large a body it takes, of this camera or the like (the first capture); NULL = as small as
     * all. */
    size_t (*body_max)(struct web_context *w, const char *capture);
    /* Looks at the headers before a large body is read; an answer in `ret` refuses it. Or NULL. */
    void (*admit)(struct web_context *w, const struct http_request *req,
                  const char *const captures[WEB_CAPTURES_MAX], struct http_response *ret);
};

extern const struct web_route web_routes[];
extern const size_t web_route_count;

/* The one entry: access rules, route, handler. The response is not yet finished
 * (http_response_finish is the server's last step) and may wait. Returns the route that was found,
 * NULL for none. */
const struct web_route *web_answer(struct web_context *w, const struct http_request *req,
                                   struct http_response *ret);

/* Whether whoever sends this may ask for this route, before its body is here: a 401 or 403 in `ret`
 * otherwise. For bodies above what any stranger may send; web_answer() asks in any case. */
bool web_permits(struct web_context *w, const struct web_route *route,
                 const struct http_request *req, struct http_response *ret);
/* The same rules before a body above HTTPD_BODY_MAX is read, with the headers alone: how large it
 * may be, or a refusal in `ret`. */
size_t web_admit(struct web_context *w, const struct http_request *req, struct http_response *ret);

/* Handlers, by file. */
typedef void web_handler(struct web_context *w, const struct http_request *req,
                         const char *const captures[WEB_CAPTURES_MAX], struct http_response *ret);
web_handler web_trigger_post, web_trigger_get, web_cameras_get;                /* cameras.c */
web_handler web_snapshots_get, web_snapshot_get, web_image_get;                /* snapshots.c */
web_handler web_star_post, web_unstar_post, web_upload_again_post;             /* likewise */
web_handler web_count_get, web_histogram_get, web_neighbours_get;              /* browse.c */
web_handler web_snapshot_delete, web_undelete_post, web_detect_post;           /* changes.c */
web_handler web_thumbnail_get;                                                 /* thumbnails.c */
web_handler web_camera_get, web_latest_get;                                    /* camera.c */
web_handler web_camera_enable_post, web_camera_disable_post;                   /* likewise */
web_handler web_openapi_get;                                                   /* openapi.c */
web_handler web_destinations_get, web_config_get, web_queues_get;              /* places.c */
web_handler web_index, web_status, web_health, web_readiness, web_metrics_get; /* health.c */
web_handler web_events_get;                                                    /* listen.c */
web_handler web_zip_get;                                                       /* download.c */
web_handler web_push_post, web_push_admit;                                     /* push.c */
web_handler web_asset_get;                                                     /* files.c */

web_handler web_session_get, web_login_post, web_logout_post, web_password_post; /* login.c */
web_handler web_users_get, web_users_post, web_user_post, web_user_delete;       /* users.c */
web_handler web_tokens_get, web_tokens_post, web_token_delete;                   /* tokens.c */
web_handler web_link_post, web_link_get;                                         /* links.c */
web_handler web_audit_get;                                                       /* audit.c */
size_t web_push_max(struct web_context *w, const char *camera);

/* ---- helpers that handlers share ---- */

#define WEB_BODY_MAX (8 << 20) /* a page of 500 snapshots with 300 detections each fits */

void web_answer_json(struct http_response *ret, int status, const json_t *document);
/* The answer for a failure below: what may pass becomes a 503 with Retry-After, the rest a 500. */
void web_answer_err(struct http_response *ret, int code, const struct err *e);

/* What access knows as an answer: 404, 409. */
void web_answer_access_err(struct http_response *ret, int code, const struct err *e);

#define WEB_EXPIRES_MAX_S ((int64_t)3650 * 86400) /* ten years, of a token */

/* Answers that wait for a password's hash (web/login.c). Begins: false when it has answered
 * already. */
bool web_hash_begin(struct web_context *w, const struct http_request *req,
                    const struct access_hash_job *job, struct http_response *ret);
/* At the second call of the handler. All but DONE and WRONG have been answered, or wait on. */
enum access_hash_state web_hash_outcome(struct web_context *w, const struct http_request *req,
                                        char ret_hash[PASSWD_HASH_MAX], struct http_response *ret);
/* Why a camera is not asked or switched: 404, 409, or as above. */
void web_refuse_camera(struct http_response *ret, int code, const char *camera,
                       const struct err *e);
void web_camera_add_links(json_t *camera);

#define WEB_CACHE_FOREVER "private, max-age=31536000, immutable"
#define WEB_CACHE_ASK "private, no-cache" /* kept, and asked for each time: a 304 then */

/* 0, or the answer (404 without such a snapshot) and a negative errno. */
int web_find_snapshot(struct web_context *w, const char *id, struct snapshot **ret,
                      struct http_response *response);
struct web_picture {
    bool annotated;
    bool attachment; /* browsers keep it as a file instead of showing it */
    const char *cache_control;
};
/* The picture itself, or its annotated copy; may wait. */
void web_answer_picture(struct web_context *w, const struct http_request *req,
                        const struct snapshot *s, const struct web_picture *how,
                        struct http_response *ret);
/* Its small copy; may wait. */
void web_answer_thumbnail(struct web_context *w, const struct http_request *req,
                          const struct snapshot *s, int width, const char *cache_control,
                          struct http_response *ret);
/* The parameter `width`; 0 when it is not given. */
bool web_thumbnail_width(const struct http_request *req, int *ret, struct http_response *response);
