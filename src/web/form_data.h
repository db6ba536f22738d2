#pragma once
/* The file in a form that a browser or curl sends (multipart/form-data, RFC 7578). Pure: a body in
 * hand, a place in it out. */

#include <stddef.h>

#include "base/err.h"

struct form_file {
    size_t at, size; /* in the body */
    char name[256];  /* as the sender calls it, "" = without */
};

/* The first part that is called `field`. `content_type` is the request's, with its boundary.
 * -EINVAL: what is wrong with the form; -ENOENT: it has no such part. */
int form_data_find(const char *content_type, const void *body, size_t size, const char *field,
                   struct form_file *ret, struct err *e);
