/* Any bytes as the body of a login or the like: the first line is its Content-Type, the rest the
 * body. Fields are known ones and texts, or the answer says what is wrong and quotes no value. */

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "web/fields.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const known[] = {"user", "password", NULL};
    const uint8_t *end = size ? memchr(data, '\n', size) : NULL;
    if (!end)
        return 0;
    AUTO_FREE char *type = xstrndup((const char *)data, (size_t)(end - data));
    size_t body_size = size - (size_t)(end + 1 - data);
    AUTO_FREE char *body = body_size ? xmemdup(end + 1, body_size) : xmalloc(1);
    AUTO_FREE struct http_request *req = xcalloc(1, sizeof(*req));
    *req = (struct http_request){.method = "POST",
                                 .headers = {{"Content-Type", type}},
                                 .header_count = 1,
                                 .body = body,
                                 .body_size = body_size};
    struct http_response r;
    http_response_init(&r);
    AUTO_FIELDS json_t *fields = NULL;
    const char *user = NULL, *password = NULL;
    if (fields_read(req, known, &fields, &r) && fields_need(fields, "user", &user, &r) &&
        fields_text(fields, "password", &password, &r)) {
        assert(r.status == 0 && user[0]);
        assert(json_object_size(fields) <= 2);
    } else {
        assert(r.status == 400 || r.status == 413);
    }
    http_response_done(&r);
    return 0;
}
