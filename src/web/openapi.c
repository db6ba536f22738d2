/* The description of this API, for programs. It is part of the program's own pages and is sent from
 * where it lies. */

#include "web/openapi.h"

#include "base/text.h"
#include "web/routes.h"

static void nothing(void *arg)
{
    (void)arg; /* it is there as long as the program */
}

void web_openapi_get(struct web_context *w, const struct http_request *req,
                     const char *const captures[WEB_CAPTURES_MAX], struct http_response *ret)
{
    (void)w;
    (void)req;
    (void)captures;
    AUTO(blob) bytes = blob_new_hook(openapi_text, openapi_size, nothing, NULL);
    text_copy(ret->etag, sizeof(ret->etag), openapi_tag); /* fits */
    http_response_blob(ret, 200, "application/json", &bytes);
    http_response_header(ret, "Cache-Control", "%s", WEB_CACHE_ASK);
}
