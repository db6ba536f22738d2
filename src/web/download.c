/* Many pictures at once. */

#include <errno.h>

#include "web/export.h"
#include "web/filter.h"
#include "web/query.h"
#include "web/routes.h"

#define RETRY_AFTER_S 10

void web_zip_get(struct web_context *w, const struct http_request *req,
                 const char *const captures[WEB_CAPTURES_MAX], struct http_response *ret)
{
    (void)captures;
    static const char *const more[] = {"annotated", "limit", NULL};
    struct web_filter filter;
    bool annotated = false;
    int64_t limit = EXPORT_PICTURES_MAX;
    if (!web_filter_read(req, more, &filter, ret) ||
        !query_bool(req, "annotated", &annotated, ret) ||
        !query_int(req, "limit", 1, EXPORT_PICTURES_MAX, &limit, ret))
        return;
    struct http_stream stream;
    struct err e;
    if (export_start(w->exports, req, annotated, limit, &stream, &e) < 0) {
        http_response_error(ret, 503, "too-many-exports", "%s", e.text);
        http_response_header(ret, "Retry-After", "%d", RETRY_AFTER_S);
        return;
    }
    access_guard_stream(w->access, &w->who, &stream);
    http_response_stream(ret, 200, "application/zip", &stream);
    http_response_header(ret, "Content-Disposition", "attachment; filename=\"snapshots.zip\"");
}
