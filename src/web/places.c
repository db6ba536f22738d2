/* Who is told and where pictures are kept; and the configuration that says so. */

#include "web/routes.h"

void web_destinations_get(struct web_context *w, const struct http_request *req,
                          const char *const captures[WEB_CAPTURES_MAX], struct http_response *ret)
{
    (void)req;
    (void)captures;
    AUTO_JSON json_t *document = w->backend->destinations(w->backend->arg);
    web_answer_json(ret, 200, document);
}

void web_queues_get(struct web_context *w, const struct http_request *req,
                    const char *const captures[WEB_CAPTURES_MAX], struct http_response *ret)
{
    (void)req;
    (void)captures;
    AUTO_JSON json_t *document = w->backend->queues(w->backend->arg);
    web_answer_json(ret, 200, document);
}

void web_config_get(struct web_context *w, const struct http_request *req,
                    const char *const captures[WEB_CAPTURES_MAX], struct http_response *ret)
{
    (void)req;
    (void)captures;
    AUTO_JSON json_t *document = w->backend->config(w->backend->arg);
    web_answer_json(ret, 200, document);
    http_response_header(ret, "Cache-Control", "no-store");
}
