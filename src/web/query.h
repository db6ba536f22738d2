#pragma once
/* Query parameters to values. A wrong one is the client's mistake: the answer becomes a 400 that
 * names the parameter and says what would be right, and the function returns false. A parameter
 * that is absent, or empty, leaves the value alone. */

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "sys/http_message.h"

/* All parameters must be among `known` (NULL-terminated), each at most once. */
bool query_only(const struct http_request *req, const char *const *known,
                struct http_response *ret);
/* The same; those of `repeated`, which are known too, may be there several times. */
bool query_only_but(const struct http_request *req, const char *const *known,
                    const char *const *repeated, struct http_response *ret);
bool query_int(const struct http_request *req, const char *name, int64_t min, int64_t max,
               int64_t *value, struct http_response *ret);
bool query_double(const struct http_request *req, const char *name, double min, double max,
                  double *value, struct http_response *ret);
bool query_bool(const struct http_request *req, const char *name, bool *value,
                struct http_response *ret);
bool query_time(const struct http_request *req, const char *name, struct wall_time *value,
                struct http_response *ret);
/* `value` becomes one of the names' pointers. */
bool query_choice(const struct http_request *req, const char *name, const char *const *names,
                  size_t count, const char **value, struct http_response *ret);
const char *query_text(const struct http_request *req, const char *name); /* NULL when empty */
/* The 400 itself, for checks beyond these. */
void query_refuse(struct http_response *ret, const char *name, const char *value,
                  const char *right);
