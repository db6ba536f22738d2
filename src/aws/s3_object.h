#pragma once
/* Objects in a bucket of S3, or of a server that speaks like it: put, look, get, each whole and in
 * one request. A put of S3 ends at 5 GiB; multipart uploads, which go beyond, are not needed for
 * pictures and are not here.
 *
 * A bucket knows who it is for whom and where: credentials (aws/aws_chain.h), address style, and
 * its region, which it learns from S3 when the configuration is wrong or silent. Any thread may use
 * it, each with a client of its own; the client's stop descriptor ends every wait. */

#include "aws/aws_call.h"

enum s3_style {
    S3_STYLE_AUTO, /* path with an endpoint of one's own or a name that TLS cannot cover, else host
                    */
    S3_STYLE_PATH, /* https://host/bucket/key */
    S3_STYLE_HOST, /* https://bucket.host/key */
    S3_STYLE_COUNT
};

#define S3_KEY_MAX 1024                      /* bytes, S3's own limit */
#define S3_PUT_MAX ((int64_t)5 << 30)        /* likewise */
#define S3_DIGEST_HEADER "x-amz-meta-sha256" /* set by every put: what verification reads */
#define S3_OWNER_HEADER "x-amz-meta-snapshot-id"

struct s3_bucket_options { /* copied */
    const char *bucket;
    const char *region;   /* NULL or "" = the chain's, else us-east-1 until S3 says better */
    const char *endpoint; /* "https://host[:port]"; NULL or "" = AWS's */
    enum s3_style style;
    struct aws_chain_options login;
};
/* Whether it may be the name of a region, of AWS or of another server. */
bool s3_region_valid(const char *region, bool of_aws);
struct s3_bucket;
/* Asks nobody yet. -EINVAL for a bucket, region or endpoint that cannot be one. */
int s3_bucket_new(const struct s3_bucket_options *o, struct s3_bucket **ret, struct err *e);
void s3_bucket_free(struct s3_bucket *b);
DEFINE_AUTO(s3_bucket, s3_bucket_free)
/* "S3 bucket 'x' in eu-central-1 (credentials: profile ...)" */
void s3_bucket_describe(struct s3_bucket *b, char *buf, size_t size);

struct s3_upload {
    const char *key; /* not encoded; no leading '/', no "." or ".." parts */
    const char *content_type;
    const void *data;
    size_t size;
    const char *md5, *sha256;   /* lower-case hex; NULL or "" = computed */
    const char *const *headers; /* more, "x-amz-meta-camera: porch"; or NULL; each has a value */
    bool if_absent; /* -EEXIST when there is an object of that key. Not every server looks: some
                       refuse the request, some overwrite */
};

struct s3_facts {
    int64_t size; /* -1 = not told */
    char etag[80];
    bool etag_is_md5; /* of the whole object: not encrypted by KMS, not put in parts */
    char sha256[65];  /* of S3_DIGEST_HEADER; "" = the object has none */
    char owner[48];   /* of S3_OWNER_HEADER, likewise */
};

/* `ret_error` may be NULL. All: 0; -ENOENT: no such object, in S3's own words, but that HEAD has
 * none (then the bucket may be missing, too); else as aws_call(). A put of the same key replaces
 * the object, unless it is `if_absent`. The server checks MD5 and SHA-256 of what came before it
 * says yes. */
int s3_object_put(struct s3_bucket *b, struct http_client *http, const struct s3_upload *u,
                  struct s3_facts *ret, struct aws_error *ret_error, struct err *e);
int s3_object_head(struct s3_bucket *b, struct http_client *http, const char *key,
                   struct s3_facts *ret, struct aws_error *ret_error, struct err *e);
int s3_object_get(struct s3_bucket *b, struct http_client *http, const char *key, size_t size_max,
                  struct blob **ret, struct aws_error *ret_error, struct err *e);
