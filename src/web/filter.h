#pragma once
/* Which pictures a request is about: the parameters that all routes over snapshots share. */

#include "ledger/ledger_browse.h"
#include "sys/http_message.h"

/* `of` points into the others and into the request. */
struct web_filter {
    struct browse_filter of;
    const char *cameras[BROWSE_NAMES_MAX];
    const char *labels[BROWSE_NAMES_MAX];
};

/* What a page, a count and each direction of a neighbour may cost. A page of 100 then takes at most
 * 50 ms with its documents. */
extern const struct browse_budget web_page_budget, web_count_budget, web_neighbour_budget;

/* Fills *ret from the query; `more` are the names of further parameters of the route
 * (NULL-terminated, or NULL). False with the answer in `response` when something is wrong. */
bool web_filter_read(const struct http_request *req, const char *const *more,
                     struct web_filter *ret, struct http_response *response);
