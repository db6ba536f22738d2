#include "web/filter.h"

#include <string.h>

#include "web/query.h"

#define MORE_MAX 8

const struct browse_budget web_page_budget = {.steps = 20000, .ms = 25};
const struct browse_budget web_count_budget = {.steps = 200000, .ms = 40};
const struct browse_budget web_neighbour_budget = {.steps = 10000, .ms = 15};

static const char *const repeated[] = {"camera", "label", NULL};

/* All values of a parameter; false when they are too many. */
static bool read_all(const struct http_request *req, const char *name, const char **ret,
                     size_t *ret_count, struct http_response *response)
{
    size_t count = 0;
    for (size_t i = 0; i < req->query_count; i++) {
        if (strcmp(req->query[i].name, name) != 0 || !req->query[i].value[0])
            continue;
        if (count == BROWSE_NAMES_MAX) {
            query_refuse(response, name, req->query[i].value, "at most 16 of it");
            return false;
        }
        ret[count++] = req->query[i].value;
    }
    *ret_count = count;
    return true;
}

/* -1 stays when it is absent. */
static bool read_choice(const struct http_request *req, const char *name, int *value,
                        struct http_response *response)
{
    bool b = false;
    if (!query_bool(req, name, &b, response))
        return false;
    if (query_text(req, name))
        *value = b;
    return true;
}

static bool read_name(const struct http_request *req, const char *name, const char *const *names,
                      int count, int *value, struct http_response *response)
{
    const char *chosen = NULL;
    if (!query_choice(req, name, names, (size_t)count, &chosen, response))
        return false;
    for (int i = 0; chosen && i < count; i++)
        if (names[i] == chosen)
            *value = i;
    return true;
}

static bool read_conditions(const struct http_request *req, struct browse_filter *f,
                            struct http_response *response)
{
    static const char *const orders[] = {"newest", "oldest"};
    int oldest = 0;
    if (!query_double(req, "confidence", 0, 1, &f->confidence_min, response) ||
        !read_choice(req, "person", &f->person, response) ||
        !read_choice(req, "starred", &f->starred, response) ||
        !read_choice(req, "present", &f->present, response) ||
        !read_choice(req, "deleted", &f->deleted, response) ||
        !read_name(req, "state", snapshot_state_names, SNAPSHOT_STATE_COUNT, &f->state, response) ||
        !read_name(req, "source", snapshot_source_names, SNAPSHOT_SOURCE_COUNT, &f->source,
                   response) ||
        !read_name(req, "order", orders, 2, &oldest, response) ||
        !query_time(req, "from", &f->from, response) || !query_time(req, "to", &f->to, response))
        return false;
    f->oldest_first = oldest == 1;
    f->text = query_text(req, "q");
    if (!f->from.us || !f->to.us || f->from.us < f->to.us)
        return true;
    query_refuse(response, "to", query_text(req, "to"), "a time after 'from'");
    return false;
}

bool web_filter_read(const struct http_request *req, const char *const *more,
                     struct web_filter *ret, struct http_response *response)
{
    const char *known[16 + MORE_MAX + 1] = {"camera",  "label",   "confidence", "person", "starred",
                                            "present", "deleted", "state",      "source", "from",
                                            "to",      "q",       "order"};
    size_t count = 13;
    for (size_t i = 0; more && more[i] && i < MORE_MAX; i++)
        known[count++] = more[i];
    *ret = (struct web_filter){.of = BROWSE_EVERYTHING};
    ret->of.cameras = ret->cameras;
    ret->of.labels = ret->labels;
    if (!query_only_but(req, known, repeated, response) ||
        !read_all(req, "camera", ret->cameras, &ret->of.camera_count, response) ||
        !read_all(req, "label", ret->labels, &ret->of.label_count, response) ||
        !read_conditions(req, &ret->of, response))
        return false;
    struct err e = {0};
    if (ledger_browse_check(&ret->of, &e) == 0)
        return true;
    query_refuse(response, "q", ret->of.text, "at most 8 words of at most 63 bytes");
    return false;
}
