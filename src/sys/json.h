#pragma once
/* The one door to jansson: whoever builds or reads JSON includes this and uses jansson's own
 * functions on json_t, with these additions. Parsing of foreign text goes through js_parse(), which
 * bounds it. */

#include <jansson.h>

#include "base/dynbuf.h"
#include "base/err.h"
#include "base/macros.h"

static inline UNUSED void js_free_auto_(json_t **j)
{
    json_decref(*j);
}
/* AUTO_JSON json_t *j = json_object(); */
#define AUTO_JSON __attribute__((cleanup(js_free_auto_), unused))

/* Foreign text of `len` bytes, at most `max`; depth is bounded by the library. */
int js_parse(const char *text, size_t len, size_t max, json_t **ret, struct err *e);
/* Compact text appended to `out`. 0 or -ENOSPC/-ENOMEM. */
int js_write(const json_t *j, struct dynbuf *out);
/* Compact text, malloc()ed, never NULL. */
char *js_text(const json_t *j);
/* A string value, replacing invalid UTF-8 by '?': jansson refuses such strings. New reference. */
json_t *js_string(const char *s);
