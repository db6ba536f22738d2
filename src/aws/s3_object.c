#include "aws/s3_object.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "sys/hash.h"

enum {
    HEADERS_MAX = 32,
    REGION_MAX = 48,
    BUCKET_MAX = 255, /* AWS allows 63 today, old buckets of us-east-1 have up to this */
};

enum { WANT_REGION, WANT_ETAG, WANT_DIGEST, WANT_OWNER, WANT_SSE };
static const char *const wanted[] = {
    "x-amz-bucket-region",          "ETag", S3_DIGEST_HEADER, S3_OWNER_HEADER,
    "x-amz-server-side-encryption", NULL};

struct s3_bucket {
    char *name, *endpoint, *shown;
    bool by_path;
    struct aws_chain *chain;
    pthread_mutex_t lock;
    char region[REGION_MAX]; /* "" = not known */
};

struct s3_call {
    const char *method, *key;
    const char *const *headers;
    const void *body;
    size_t body_size;
    const char *sha256;
    int64_t size_max;
};

static bool fits_a_host_name(const char *bucket, bool tls);
static int call(struct s3_bucket *b, struct http_client *http, const struct s3_call *c,
                struct http_answer *ret, struct aws_error *ret_error, struct err *e);

int s3_bucket_new(const struct s3_bucket_options *o, struct s3_bucket **ret, struct err *e)
{
    size_t len = strlen(o->bucket);
    if (!len || len > BUCKET_MAX || strpbrk(o->bucket, "/?#%\\ ") || o->bucket[0] == '.')
        return err_set(e, -EINVAL, ERR_NEVER, "'%.80s' is no name of a bucket", o->bucket);
    const char *endpoint = o->endpoint ? o->endpoint : "";
    AUTO_FREE char *origin = xstrdup(endpoint);
    while (*origin && text_ends_with(origin, "/"))
        origin[strlen(origin) - 1] = '\0';
    char host[AWS_HOST_MAX];
    if (*origin && aws_origin_host(origin, host) < 0)
        return err_set(e, -EINVAL, ERR_NEVER, "'%.80s' is no https://host:port", endpoint);

    struct s3_bucket *b = xcalloc(1, sizeof(*b));
    pthread_mutex_init(&b->lock, NULL); /* cannot fail for a plain one */
    b->name = xstrdup(o->bucket);
    b->shown = xasprintf("S3 bucket '%s'", o->bucket);
    b->by_path = o->style == S3_STYLE_PATH ||
                 (o->style == S3_STYLE_AUTO &&
                  (*origin || !fits_a_host_name(o->bucket, !text_starts_with(origin, "http:"))));
    b->endpoint = *origin ? STEAL(origin) : NULL;
    int r = aws_chain_new(&o->login, &b->chain, e);
    const char *region = o->region && *o->region ? o->region : NULL;
    if (r == 0 && !region)
        region = aws_chain_region(b->chain);
    if (r == 0 && region &&
        (!s3_region_valid(region, !b->endpoint) ||
         !text_copy(b->region, sizeof(b->region), region)))
        r = err_set(e, -EINVAL, ERR_NEVER, "'%.80s' is no region", region);
    if (r < 0) {
        s3_bucket_free(b);
        return r;
    }
    *ret = b;
    return 0;
}

/* AWS's are part of a host name; other servers have theirs ("RegionOne"). */
bool s3_region_valid(const char *region, bool of_aws)
{
    static const char of_others[] = "abcdefghijklmnopqrstuvwxyz0123456789-"
                                    "ABCDEFGHIJKLMNOPQRSTUVWXYZ_.";
    size_t len = strlen(region);
    return len > 0 && len < REGION_MAX && strspn(region, of_others) == len &&
           (!of_aws || strspn(region, "abcdefghijklmnopqrstuvwxyz0123456789-") == len);
}

void s3_bucket_free(struct s3_bucket *b)
{
    if (!b)
        return;
    aws_chain_free(b->chain);
    pthread_mutex_destroy(&b->lock);
    free(b->name);
    free(b->endpoint);
    free(b->shown);
    free(b);
}

/* Lower case, and no dot under TLS: the certificate is for one label. */
static bool fits_a_host_name(const char *bucket, bool tls)
{
    size_t len = strlen(bucket);
    return len >= 3 && len <= 63 && (!tls || !strchr(bucket, '.')) &&
           strspn(bucket, "abcdefghijklmnopqrstuvwxyz0123456789-.") == len;
}

static void get_region(struct s3_bucket *b, char ret[REGION_MAX])
{
    pthread_mutex_lock(&b->lock);
    text_copy(ret, REGION_MAX, b->region[0] ? b->region : "us-east-1");
    pthread_mutex_unlock(&b->lock);
}

void s3_bucket_describe(struct s3_bucket *b, char *buf, size_t size)
{
    char region[REGION_MAX], source[160];
    get_region(b, region);
    aws_chain_describe(b->chain, source, sizeof(source));
    /* May be cut. */
    (void)text_format(buf, size, "%s %s %s%s%s%s", b->shown, b->endpoint ? "at" : "in",
                      b->endpoint ? b->endpoint : region, source[0] ? " (credentials: " : "",
                      source, source[0] ? ")" : "");
}

/* ---- one request, where the bucket is ---- */

static char *origin_of(const struct s3_bucket *b, const char *region)
{
    AUTO_FREE char *aws = xasprintf("https://s3.%s.amazonaws.com%s", region,
                                    text_starts_with(region, "cn-") ? ".cn" : "");
    const char *base = b->endpoint ? b->endpoint : aws;
    if (b->by_path)
        return xstrdup(base);
    const char *host = strstr(base, "://") + 3;
    return xasprintf("%.*s%s.%s", (int)(host - base), base, b->name, host);
}

/* The answer to a request that came to the wrong region names the right one. True: that is news. */
static bool learn_region(struct s3_bucket *b, const char *used, const struct http_answer *a,
                         const struct aws_error *error)
{
    if (a->status != 301 && a->status != 307 && a->status != 400 && a->status != 403)
        return false;
    const char *right = a->headers[WANT_REGION] ? a->headers[WANT_REGION] : error->region;
    size_t len = strlen(right);
    if (!len || len >= REGION_MAX ||
        strspn(right, "abcdefghijklmnopqrstuvwxyz0123456789-") != len || !strcmp(right, used))
        return false;
    pthread_mutex_lock(&b->lock);
    text_copy(b->region, sizeof(b->region), right);
    pthread_mutex_unlock(&b->lock);
    return true;
}

static int call(struct s3_bucket *b, struct http_client *http, const struct s3_call *c,
                struct http_answer *ret, struct aws_error *ret_error, struct err *e)
{
    struct aws_error ignored;
    struct aws_error *error = ret_error ? ret_error : &ignored;
    *error = (struct aws_error){0};
    if (!*c->key || strlen(c->key) > S3_KEY_MAX || c->key[0] == '/')
        return err_set(e, -EINVAL, ERR_NEVER, "%s: no key of an object", b->shown);
    AUTO_FREE char *path =
        b->by_path ? xasprintf("/%s/%s", b->name, c->key) : xasprintf("/%s", c->key);
    for (int i = 0;; i++) {
        char region[REGION_MAX];
        get_region(b, region);
        AUTO_FREE char *origin = origin_of(b, region);
        struct aws_call request = {
            .request = {.method = c->method,
                        .path = path,
                        .headers = c->headers,
                        .body = c->body,
                        .body_size = c->body_size,
                        .payload_hash = c->sha256,
                        .region = region,
                        .service = "s3",
                        .path_encoded_once = true},
            .origin = origin,
            .wanted = wanted,
            .what = b->shown,
            .size_max = c->size_max,
        };
        int r = aws_call(b->chain, http, &request, ret, error, e);
        if (r != -EREMOTEIO)
            return r;
        if (i == 0 && learn_region(b, region, ret, error))
            continue;
        bool head = !strcmp(c->method, "HEAD");
        if (ret->status == 404 && ((head && !error->code[0]) || !strcmp(error->code, "NoSuchKey")))
            return err_set(e, -ENOENT, ERR_NEVER, "%s: no such object", b->shown);
        if (!head && !error->code[0] && error->trouble == AWS_WELL) {
            /* A proxy, a login page: says nothing of the object, least of all that it is gone. */
            error->trouble = AWS_AWAY;
            return err_set(e, -EREMOTEIO, ERR_LATER, "%s: HTTP %ld, and not as S3 says it",
                           b->shown, ret->status);
        }
        return r;
    }
}

static void take_facts(const struct http_answer *a, struct s3_facts *ret)
{
    const char *etag = a->headers[WANT_ETAG] ? a->headers[WANT_ETAG] : "";
    const char *digest = a->headers[WANT_DIGEST] ? a->headers[WANT_DIGEST] : "";
    *ret = (struct s3_facts){.size = -1};
    etag += *etag == '"';
    text_copy(ret->etag, sizeof(ret->etag), etag);
    ret->etag[strcspn(ret->etag, "\"")] = '\0';
    const char *sse = a->headers[WANT_SSE] ? a->headers[WANT_SSE] : "";
    ret->etag_is_md5 = !text_starts_with(sse, "aws:kms") && strlen(ret->etag) == HASH_MD5_HEX - 1 &&
                       strspn(ret->etag, "0123456789abcdef") == HASH_MD5_HEX - 1;
    if (strlen(digest) < sizeof(ret->sha256))
        text_copy(ret->sha256, sizeof(ret->sha256), digest);
    const char *owner = a->headers[WANT_OWNER] ? a->headers[WANT_OWNER] : "";
    if (strlen(owner) < sizeof(ret->owner))
        text_copy(ret->owner, sizeof(ret->owner), owner);
}

/* ---- the three ---- */

static int raw_of_hex(const char *hex, uint8_t *ret, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        unsigned value = 0;
        for (int k = 0; k < 2; k++) {
            const char digits[] = "0123456789abcdef";
            const char *at = hex[2 * i + k] ? strchr(digits, hex[2 * i + k]) : NULL;
            if (!at)
                return -EINVAL;
            value = value << 4 | (unsigned)(at - digits);
        }
        ret[i] = (uint8_t)value;
    }
    return hex[2 * size] ? -EINVAL : 0;
}

int s3_object_put(struct s3_bucket *b, struct http_client *http, const struct s3_upload *u,
                  struct s3_facts *ret, struct aws_error *ret_error, struct err *e)
{
    uint8_t md5[HASH_MD5_BYTES];
    char base64[TEXT_BASE64_SIZE(HASH_MD5_BYTES)], sha256[HASH_SHA256_HEX];
    if ((int64_t)u->size > S3_PUT_MAX)
        return err_set(e, -EFBIG, ERR_NEVER, "%s: larger than 5 GiB", b->shown);
    if (!u->md5 || raw_of_hex(u->md5, md5, sizeof(md5)) < 0)
        hash_md5(u->data, u->size, md5);
    text_base64(md5, sizeof(md5), base64);
    if (u->sha256 && strlen(u->sha256) == HASH_SHA256_HEX - 1)
        text_copy(sha256, sizeof(sha256), u->sha256);
    else
        hash_sha256_hex(u->data, u->size, sha256);

    AUTO_FREE char *md5_line = xasprintf("Content-MD5: %s", base64);
    AUTO_FREE char *sha256_line = xasprintf(S3_DIGEST_HEADER ": %s", sha256);
    AUTO_FREE char *type_line = xasprintf("Content-Type: %s", u->content_type);
    const char *headers[HEADERS_MAX + 1] = {md5_line, sha256_line, type_line};
    int n = 3;
    if (u->if_absent)
        headers[n++] = "If-None-Match: *";
    for (int i = 0; u->headers && u->headers[i]; i++) {
        if (n == HEADERS_MAX)
            return err_set(e, -EINVAL, ERR_NEVER, "%s: too many headers", b->shown);
        headers[n++] = u->headers[i];
    }
    struct s3_call c = {.method = "PUT",
                        .key = u->key,
                        .headers = headers,
                        .body = u->size ? u->data : "",
                        .body_size = u->size,
                        .sha256 = sha256};
    AUTO_DONE(http_answer) a = {0};
    struct aws_error error;
    int r = call(b, http, &c, &a, &error, e);
    if (r == 0 && ret)
        take_facts(&a, ret);
    if (r == -EREMOTEIO && u->if_absent && error.status == 412) {
        error = (struct aws_error){.status = 412};
        r = err_set(e, -EEXIST, ERR_LATER, "%s: there is another object of this key", b->shown);
    }
    if (ret_error)
        *ret_error = error;
    return r;
}

int s3_object_head(struct s3_bucket *b, struct http_client *http, const char *key,
                   struct s3_facts *ret, struct aws_error *ret_error, struct err *e)
{
    struct s3_call c = {.method = "HEAD", .key = key};
    AUTO_DONE(http_answer) a = {0};
    int r = call(b, http, &c, &a, ret_error, e);
    if (r < 0)
        return r;
    take_facts(&a, ret);
    ret->size = a.content_length;
    if (*ret->etag)
        return 0;
    /* A proxy, a login page: it must not pass for another object, nor for a changed one. */
    if (ret_error)
        *ret_error = (struct aws_error){.status = a.status, .trouble = AWS_AWAY};
    return err_set(e, -EREMOTEIO, ERR_LATER, "%s: HTTP %ld, and not as S3 says it", b->shown,
                   a.status);
}

int s3_object_get(struct s3_bucket *b, struct http_client *http, const char *key, size_t size_max,
                  struct blob **ret, struct aws_error *ret_error, struct err *e)
{
    struct s3_call c = {.method = "GET", .key = key, .size_max = (int64_t)size_max};
    AUTO_DONE(http_answer) a = {0};
    int r = call(b, http, &c, &a, ret_error, e);
    if (r < 0)
        return r;
    if (a.body && a.body->size > size_max)
        return err_set(e, -EFBIG, ERR_NEVER, "%s: the object is larger than %zu bytes", b->shown,
                       size_max);
    struct blob *body = a.body ? blob_ref(a.body) : blob_new_copy("", 0);
    if (!body)
        return err_set(e, -ENOMEM, ERR_LATER, "%s: no memory", b->shown);
    *ret = body;
    return 0;
}
