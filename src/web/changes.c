/* What people do with a snapshot: into the trash and out of it, and examined once more. */

#include <errno.h>

#include "ledger/ledger_again.h"
#include "ledger/ledger_trash.h"
#include "web/events.h"
#include "web/query.h"
#include "web/routes.h"

/* The answers to what the ledger refuses, by the words of each route. */
static void answer_refusal(struct http_response *ret, int code, const char *gone_code,
                           const struct err *e)
{
    if (code == -ENOENT)
        http_response_error(ret, 404, "unknown-snapshot", "there is no snapshot of this id");
    else if (code == -ESTALE)
        http_response_error(ret, 409, gone_code, "its files were removed from here for good");
    else if (code == -EPERM)
        http_response_error(ret, 409, "starred",
                            "it has a star: take that away first, or ask with ?force=1");
    else if (code == -ECANCELED)
        http_response_error(ret, 409, "deleted", "it is in the trash: take it out first");
    else
        web_answer_err(ret, code, e);
}

void web_snapshot_delete(struct web_context *w, const struct http_request *req,
                         const char *const captures[WEB_CAPTURES_MAX], struct http_response *ret)
{
    static const char *const known[] = {"force", NULL};
    bool force = false;
    struct err e = {0};
    if (!query_only(req, known, ret) || !query_bool(req, "force", &force, ret))
        return;
    int r = snapshot_id_valid(captures[0])
                ? ledger_snapshot_delete(w->ledger, captures[0], force, &e)
                : -ENOENT;
    if (r < 0) {
        answer_refusal(ret, r, "picture-gone", &e);
        return;
    }
    events_tell(w->events, NEWS_DELETED, captures[0]);
    web_snapshot_get(w, req, captures, ret);
}

void web_undelete_post(struct web_context *w, const struct http_request *req,
                       const char *const captures[WEB_CAPTURES_MAX], struct http_response *ret)
{
    static const char *const known[] = {NULL};
    struct err e = {0};
    if (!query_only(req, known, ret))
        return;
    int r = snapshot_id_valid(captures[0]) ? ledger_snapshot_undelete(w->ledger, captures[0], &e)
                                           : -ENOENT;
    if (r < 0) {
        answer_refusal(ret, r, "already-purged", &e);
        return;
    }
    events_tell(w->events, NEWS_UNDELETED, captures[0]);
    web_snapshot_get(w, req, captures, ret);
}

void web_detect_post(struct web_context *w, const struct http_request *req,
                     const char *const captures[WEB_CAPTURES_MAX], struct http_response *ret)
{
    static const char *const known[] = {NULL};
    struct err e = {0};
    if (!query_only(req, known, ret))
        return;
    int r =
        snapshot_id_valid(captures[0]) ? ledger_again_want(w->ledger, captures[0], &e) : -ENOENT;
    if (r < 0) {
        answer_refusal(ret, r, "picture-gone", &e);
        return;
    }
    if (w->backend->examine)
        w->backend->examine(w->backend->arg);
    web_snapshot_get(w, req, captures, ret);
    if (ret->status == 200)
        ret->status = 202;
}
