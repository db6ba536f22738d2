#pragma once
/* AWS Signature Version 4 (AWS IAM User Guide, "Create a signed AWS API request"). Pure: request
 * and time in, header values out. Our own canonical form rather than libcurl's, which neither sorts
 * nor encodes the query and mis-signs several headers in the versions that are about. */

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/dynbuf.h"
#include "base/err.h"
#include "base/macros.h"

struct aws_credentials {
    char access_key[132];
    char secret_key[132];     /* secret */
    char session_token[4096]; /* "" = none; secret */
    struct wall_time expires; /* 0 = never */
};

struct aws_request {
    const char *method;
    const char *host;           /* with the port when it is not the scheme's own */
    const char *path;           /* not encoded; "/" at least, without "." and ".." parts */
    const char *const *query;   /* "name=value", not encoded, any order; NULL-terminated, or NULL */
    const char *const *headers; /* "Name: value", sent by the caller and all signed; or NULL */
    const void *body;
    size_t body_size;
    const char *payload_hash; /* hex, or "UNSIGNED-PAYLOAD"; NULL = computed from the body */
    const char *region, *service;
    bool path_encoded_once; /* S3: the path is encoded once, and x-amz-content-sha256 is a header;
                               all others: twice, and without unless payload_hash is given */
};

struct aws_signed {
    struct dynbuf url; /* path and query, encoded as signed: append to "https://host" */
    char *headers[8];  /* "Name: value", NULL-terminated, to be sent with the given ones; secrets */
};
/* 0 or -ENOSPC (URL or headers beyond what a server reads), -EINVAL. `now` is the corrected clock.
 * A header without a value is refused: libcurl would not send it. The Host header is libcurl's own.
 */
int aws_sign(const struct aws_request *r, const struct aws_credentials *c, struct wall_time now,
             struct aws_signed *ret, struct err *e);
void aws_signed_done(struct aws_signed *s); /* for AUTO_DONE(aws_signed) */
