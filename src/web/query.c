#include "web/query.h"

#include <math.h>
#include <string.h>

#include "base/parse.h"
#include "base/text.h"

#define SHOWN_MAX 96 /* of a wrong value in a message */

const char *query_text(const struct http_request *req, const char *name)
{
    const char *value = http_request_query(req, name);
    return value && value[0] ? value : NULL;
}

void query_refuse(struct http_response *ret, const char *name, const char *value, const char *right)
{
    char shown[SHOWN_MAX];
    text_escape(value, strlen(value), shown, sizeof(shown));
    http_response_error_about(ret, 400, "bad-parameter", "parameter", name,
                              "%s='%s': right would be %s", name, shown, right);
}

static bool is_among(const char *name, const char *const *names)
{
    size_t k = 0;
    while (names && names[k] && strcmp(names[k], name) != 0)
        k++;
    return names && names[k];
}

bool query_only(const struct http_request *req, const char *const *known, struct http_response *ret)
{
    return query_only_but(req, known, NULL, ret);
}

bool query_only_but(const struct http_request *req, const char *const *known,
                    const char *const *repeated, struct http_response *ret)
{
    for (size_t i = 0; i < req->query_count; i++) {
        const char *name = req->query[i].name;
        AUTO_DONE(dynbuf) right;
        dynbuf_init(&right, 512);
        if (!is_among(name, known)) {
            (void)dynbuf_puts(&right, "one of");
            for (size_t k = 0; known[k]; k++)
                (void)dynbuf_printf(&right, "%s %s", k ? "," : "", known[k]);
            char shown[SHOWN_MAX];
            text_escape(name, strlen(name), shown, sizeof(shown));
            http_response_error_about(ret, 400, "bad-parameter", "parameter", shown,
                                      "there is no parameter '%s': right would be %s", shown,
                                      dynbuf_str(&right));
            return false;
        }
        if (http_request_query(req, name) != req->query[i].value && !is_among(name, repeated)) {
            http_response_error_about(ret, 400, "bad-parameter", "parameter", name,
                                      "%s is given more than once", name);
            return false;
        }
    }
    return true;
}

bool query_int(const struct http_request *req, const char *name, int64_t min, int64_t max,
               int64_t *value, struct http_response *ret)
{
    const char *text = query_text(req, name);
    if (!text || parse_int64(text, strlen(text), min, max, value) == 0)
        return true;
    char right[96];
    (void)text_format(right, sizeof(right), "a whole number from %lld to %lld", (long long)min,
                      (long long)max);
    query_refuse(ret, name, text, right);
    return false;
}

bool query_double(const struct http_request *req, const char *name, double min, double max,
                  double *value, struct http_response *ret)
{
    const char *text = query_text(req, name);
    if (!text)
        return true;
    double d;
    if (parse_double(text, strlen(text), min, max, &d) == 0 && isfinite(d)) {
        *value = d;
        return true;
    }
    char right[96];
    (void)text_format(right, sizeof(right), "a number from %g to %g", min, max);
    query_refuse(ret, name, text, right);
    return false;
}

bool query_bool(const struct http_request *req, const char *name, bool *value,
                struct http_response *ret)
{
    const char *text = query_text(req, name);
    if (!text || parse_bool(text, strlen(text), value) == 0)
        return true;
    query_refuse(ret, name, text, "1 or 0 (true, false, yes and no are understood)");
    return false;
}

bool query_time(const struct http_request *req, const char *name, struct wall_time *value,
                struct http_response *ret)
{
    const char *text = query_text(req, name);
    if (!text || wall_parse_iso(text, value) == 0)
        return true;
    char midnight[WALL_ISO_MAX];
    if (strlen(text) == strlen("2026-01-31") &&
        text_format(midnight, sizeof(midnight), "%sT00:00:00Z", text) > 0 &&
        wall_parse_iso(midnight, value) == 0)
        return true;
    query_refuse(ret, name, text,
                 "a time such as 2026-01-31T17:30:00Z (the '+' of an offset is written %2B), or a "
                 "date in UTC");
    return false;
}

bool query_choice(const struct http_request *req, const char *name, const char *const *names,
                  size_t count, const char **value, struct http_response *ret)
{
    const char *text = query_text(req, name);
    if (!text)
        return true;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(text, names[i]) == 0) {
            *value = names[i];
            return true;
        }
    }
    AUTO_DONE(dynbuf) right;
    dynbuf_init(&right, 256);
    for (size_t i = 0; i < count; i++)
        (void)dynbuf_printf(&right, "%s%s", i == 0 ? "" : i + 1 == count ? " or " : ", ", names[i]);
    query_refuse(ret, name, text, dynbuf_str(&right));
    return false;
}
