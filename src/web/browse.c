/* What is known of many snapshots at once: how many, when, and what lies beside one. */

#include <errno.h>

#include "base/mem.h"
#include "base/text.h"
#include "web/filter.h"
#include "web/query.h"
#include "web/routes.h"
#include "web/snapshot_json.h"

/* Two years of days, a month of hours: more than a screen has columns. */
#define BUCKETS_MAX 750

static const int64_t hour_us = INT64_C(3600) * 1000000, day_us = INT64_C(86400) * 1000000;

void web_count_get(struct web_context *w, const struct http_request *req,
                   const char *const captures[WEB_CAPTURES_MAX], struct http_response *ret)
{
    (void)captures;
    struct web_filter filter;
    struct err e = {0};
    int64_t count;
    bool exact;
    if (!web_filter_read(req, NULL, &filter, ret))
        return;
    int r = ledger_browse_count(w->ledger, &filter.of, &web_count_budget, &count, &exact, &e);
    if (r < 0) {
        web_answer_err(ret, r, &e);
        return;
    }
    AUTO_JSON json_t *document = json_pack("{s:I,s:b}", "count", (json_int_t)count, "exact", exact);
    web_answer_json(ret, 200, document);
}

static json_t *bucket_json(const struct browse_bucket *b)
{
    return json_pack("{s:o,s:I,s:I}", "from", time_json(b->from), "count", (json_int_t)b->count,
                     "persons", (json_int_t)b->persons);
}

void web_histogram_get(struct web_context *w, const struct http_request *req,
                       const char *const captures[WEB_CAPTURES_MAX], struct http_response *ret)
{
    (void)captures;
    static const char *const more[] = {"by", NULL}, *const spans[] = {"hour", "day"};
    struct web_filter filter;
    const char *by = spans[1];
    bool exact;
    struct err e = {0};
    if (!web_filter_read(req, more, &filter, ret) ||
        !query_choice(req, "by", spans, ARRAY_LEN(spans), &by, ret))
        return;
    AUTO_FREE struct browse_bucket *buckets = xcalloc(BUCKETS_MAX, sizeof(*buckets));
    int n = ledger_browse_histogram(w->ledger, &filter.of, by == spans[0] ? hour_us : day_us,
                                    &web_count_budget, buckets, BUCKETS_MAX, &exact, &e);
    if (n < 0) {
        web_answer_err(ret, n, &e);
        return;
    }
    AUTO_JSON json_t *document = json_pack("{s:s,s:[],s:b}", "by", by, "buckets", "exact", exact);
    for (int i = 0; i < n; i++)
        json_array_append_new(json_object_get(document, "buckets"), bucket_json(&buckets[i]));
    web_answer_json(ret, 200, document);
}

static json_t *id_json(const char *id)
{
    return id[0] ? json_string(id) : json_null();
}

void web_neighbours_get(struct web_context *w, const struct http_request *req,
                        const char *const captures[WEB_CAPTURES_MAX], struct http_response *ret)
{
    struct web_filter filter;
    struct browse_neighbours found;
    struct err e = {0};
    if (!web_filter_read(req, NULL, &filter, ret))
        return;
    int r = snapshot_id_valid(captures[0])
                ? ledger_browse_neighbours(w->ledger, &filter.of, captures[0],
                                           &web_neighbour_budget, &found, &e)
                : -ENOENT;
    if (r == -ENOENT) {
        http_response_error(ret, 404, "unknown-snapshot", "there is no snapshot of this id");
        return;
    }
    if (r < 0) {
        web_answer_err(ret, r, &e);
        return;
    }
    AUTO_JSON json_t *document = json_pack("{s:o,s:o,s:b}", "newer", id_json(found.newer), "older",
                                           id_json(found.older), "exact", found.exact);
    web_answer_json(ret, 200, document);
}
