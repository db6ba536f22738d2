/* Listening to what happens. */

#include "web/events.h"
#include "web/query.h"
#include "web/routes.h"

void web_events_get(struct web_context *w, const struct http_request *req,
                    const char *const captures[WEB_CAPTURES_MAX], struct http_response *ret)
{
    (void)captures;
    static const char *const known[] = {"camera", "last_event_id", NULL};
    if (!query_only(req, known, ret))
        return;
    /* The header is what a browser sends by itself when it comes back. */
    const char *last_id = http_request_header(req, "Last-Event-ID");
    if (!last_id || !last_id[0])
        last_id = query_text(req, "last_event_id");
    struct http_stream stream;
    events_listen(w->events, query_text(req, "camera"), last_id, &stream);
    access_guard_stream(w->access, &w->who, &stream);
    http_response_stream(ret, 200, "text/event-stream", &stream);
    http_response_header(ret, "X-Accel-Buffering", "no"); /* nginx would collect them */
}
