#pragma once
/* Pictures kept in a bucket of S3, or of a server that speaks like it.
 *
 * The key is known before the first attempt: prefix and path below the store. A put asks for a key
 * that is free (If-None-Match). When it is not, the object there is the same one (an answer was
 * lost), an older one of the same picture, which is replaced, or somebody else's, which stays: then
 * the picture gets a number in its name. So there is one object whatever happened to an answer.
 * Servers that refuse such a request are looked at before each put; some ignore it. S3 refuses
 * bytes that were damaged on their way (Content-MD5, and the SHA-256 that is signed); what it then
 * has is looked at once more: size, and MD5 (the ETag) or the SHA-256 that was stored beside it.
 * Credentials that may write and not read are fine: then the ETag of the put must do.
 *
 * Pictures go in one request each; S3's limit for that is 5 GiB. */

#include "aws/aws_config.h"
#include "storage/registry.h"

struct s3_config { /* [s3:NAME] */
    struct storage_common common;
    const char *bucket, *region, *endpoint, *prefix;
    int path_style; /* enum s3_style's order, see s3_config.c */
    struct aws_login_config login;
    const char *storage_class;
    int sse; /* 0 = the bucket's, else index in the choices */
};

extern const struct cfg_section s3_cfg_section;
extern const struct storage_kind s3_storage;

enum s3_sse { S3_SSE_BUCKET, S3_SSE_AES256, S3_SSE_KMS, S3_SSE_COUNT };
extern const char *const s3_sse_names[S3_SSE_COUNT + 1]; /* as the configuration has them */

/* For tests; strings are copied. */
int s3_open(const struct s3_config *c, const char *name, struct storage **ret, struct err *e);
