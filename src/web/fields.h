#pragma once
/* The few fields of a small body, a JSON object or a form as browsers send it. A wrong one is the
 * client's mistake: the answer becomes a 400 that names the field, and the function returns false.
 */

#include <stdbool.h>

#include "sys/http_message.h"
#include "sys/json.h"

#define FIELDS_BODY_MAX 8192 /* a name and two passwords of the longest, each byte as %XX */

/* The body's object (of a form: all members are texts). Its members must be among `known`
 * (NULL-terminated). It may hold a password: it goes with fields_free(), which wipes. */
bool fields_read(const struct http_request *req, const char *const *known, json_t **ret,
                 struct http_response *response);
void fields_free(json_t *fields);
static inline UNUSED void fields_free_auto_(json_t **fields)
{
    fields_free(*fields);
}
/* AUTO_FIELDS json_t *fields = NULL; */
#define AUTO_FIELDS __attribute__((cleanup(fields_free_auto_), unused))

/* A text, NULL when absent or null. Other kinds of value are refused. */
bool fields_text(const json_t *fields, const char *name, const char **ret,
                 struct http_response *response);
/* The same, and it must be there. */
bool fields_need(const json_t *fields, const char *name, const char **ret,
                 struct http_response *response);
void fields_refuse(struct http_response *ret, const char *name, const char *right);
