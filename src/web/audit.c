/* The audit log, for admins. */

#include "base/mem.h"
#include "web/query.h"
#include "web/routes.h"
#include "web/snapshot_json.h"

#define PAGE_MAX 500
#define PAGE_DEFAULT 100

static json_t *event_json(const struct access_event *ev)
{
    return json_pack("{s:I,s:o,s:o,s:s,s:o,s:s,s:o}", "id", (json_int_t)ev->row, "at",
                     time_json(ev->at), "who", ev->who[0] ? js_string(ev->who) : json_null(), "how",
                     ev->how, "address", ev->address[0] ? js_string(ev->address) : json_null(),
                     "what", ev->what, "detail", js_string(ev->detail));
}

void web_audit_get(struct web_context *w, const struct http_request *req,
                   const char *const captures[WEB_CAPTURES_MAX], struct http_response *ret)
{
    (void)captures;
    static const char *const known[] = {"limit", "before", NULL};
    int64_t limit = PAGE_DEFAULT, before = 0;
    if (!query_only(req, known, ret) || !query_int(req, "limit", 1, PAGE_MAX, &limit, ret) ||
        !query_int(req, "before", 1, INT64_MAX, &before, ret))
        return;
    AUTO_FREE struct access_event *events = xcalloc((size_t)limit, sizeof(*events));
    struct err e;
    struct access_db *d = access_database(w->access, false, &e);
    int count = d ? access_audit_list(d, before, events, (size_t)limit, &e) : e.code;
    if (count < 0) {
        web_answer_err(ret, count, &e);
        return;
    }
    json_t *list = json_array();
    for (int i = 0; i < count; i++)
        json_array_append_new(list, event_json(&events[i]));
    json_t *next = json_null();
    if (count == limit)
        next = json_sprintf("/api/v1/audit?limit=%lld&before=%lld", (long long)limit,
                            (long long)events[count - 1].row);
    AUTO_JSON json_t *document = json_pack("{s:o,s:o}", "audit", list, "next", next);
    web_answer_json(ret, 200, document);
}
