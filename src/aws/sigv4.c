#include "aws/sigv4.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/mem.h"
#include "base/text.h"
#include "sys/hash.h"
#include "sys/httpc.h"

enum {
    PIECES_MAX = 64,           /* query pairs or headers of one request; we never need twenty */
    URL_MAX = 8 * 1024,        /* what services read */
    CANONICAL_MAX = 64 * 1024, /* all headers of a request, which S3 bounds at 8 KB */
    SCOPE_MAX = 160,           /* date/region/service/aws4_request */
    STAMP_SIZE = sizeof("20130524T000000Z"),
};

/* A query pair in its encoded form, or a header by its lower-case name. */
struct piece {
    char *name, *value;
};

struct signing {
    const struct aws_request *r;
    const struct aws_credentials *c;
    char stamp[STAMP_SIZE];
    char scope[SCOPE_MAX];
    char payload[HASH_SHA256_HEX + 32];
    struct piece query[PIECES_MAX], headers[PIECES_MAX];
    int query_count, header_count;
    struct dynbuf names; /* of the signed headers: "host;x-amz-date" */
    struct dynbuf text;  /* canonical request, then string to sign */
};

static int check_request(const struct aws_request *r, struct err *e);
static int stamp_time(struct signing *s, struct wall_time now, struct err *e);
static int collect_query(struct signing *s, struct err *e);
static int collect_headers(struct signing *s, struct err *e);
static void write_url(const struct signing *s, struct dynbuf *url);
static void write_canonical(struct signing *s);
static void make_signature(struct signing *s, char ret[HASH_SHA256_HEX]);
static void write_headers(struct signing *s, const char *signature, struct aws_signed *ret);
static void signing_done(struct signing *s);

int aws_sign(const struct aws_request *r, const struct aws_credentials *c, struct wall_time now,
             struct aws_signed *ret, struct err *e)
{
    AUTO_DONE(signing) s = {.r = r, .c = c};
    AUTO_DONE(aws_signed) made = {0};
    dynbuf_init(&s.names, CANONICAL_MAX);
    dynbuf_init(&s.text, CANONICAL_MAX);
    dynbuf_init(&made.url, URL_MAX);

    int result = check_request(r, e);
    if (result == 0)
        result = stamp_time(&s, now, e);
    if (result == 0)
        result = collect_query(&s, e);
    if (result == 0)
        result = collect_headers(&s, e);
    if (result < 0)
        return result;
    write_url(&s, &made.url);
    write_canonical(&s);
    if (made.url.failed || s.names.failed || s.text.failed)
        return err_set(e, -ENOSPC, ERR_NEVER, "a request to AWS has too long a URL or header");
    char signature[HASH_SHA256_HEX];
    make_signature(&s, signature);
    write_headers(&s, signature, &made);
    *ret = made;
    made = (struct aws_signed){0};
    return 0;
}

void aws_signed_done(struct aws_signed *s)
{
    dynbuf_done(&s->url);
    for (size_t i = 0; i < ARRAY_LEN(s->headers); i++)
        free(s->headers[i]);
    *s = (struct aws_signed){0};
}

static void signing_done(struct signing *s)
{
    for (int i = 0; i < s->query_count; i++) {
        free(s->query[i].name);
        free(s->query[i].value);
    }
    for (int i = 0; i < s->header_count; i++) {
        free(s->headers[i].name);
        free(s->headers[i].value);
    }
    dynbuf_done(&s->names);
    dynbuf_done(&s->text);
}

/* libcurl takes "." and ".." parts out of a path, and the signature would not fit any more. */
static bool has_dot_part(const char *path)
{
    for (const char *part = path; part; part = strchr(part, '/')) {
        part += *part == '/';
        size_t len = strcspn(part, "/");
        if ((len == 1 && part[0] == '.') || (len == 2 && part[0] == '.' && part[1] == '.'))
            return true;
    }
    return false;
}

static int check_request(const struct aws_request *r, struct err *e)
{
    if (r->path[0] != '/' || has_dot_part(r->path))
        return err_set(e, -EINVAL, ERR_NEVER, "a path for AWS begins with / and has no . or ..");
    if (!*r->host || !*r->region || !*r->service)
        return err_set(e, -EINVAL, ERR_NEVER, "a request to AWS needs host, region and service");
    return 0;
}

static int stamp_time(struct signing *s, struct wall_time now, struct err *e)
{
    time_t seconds = (time_t)wall_seconds(now);
    struct tm tm;
    if (!gmtime_r(&seconds, &tm) ||
        strftime(s->stamp, sizeof(s->stamp), "%Y%m%dT%H%M%SZ", &tm) != STAMP_SIZE - 1)
        return err_set(e, -EINVAL, ERR_LATER, "the clock is beyond what can be signed");
    if (text_format(s->scope, sizeof(s->scope), "%.8s/%s/%s/aws4_request", s->stamp, s->r->region,
                    s->r->service) < 0)
        return err_set(e, -EINVAL, ERR_NEVER, "'%.40s' is no region of AWS", s->r->region);
    if (s->r->payload_hash)
        text_copy(s->payload, sizeof(s->payload), s->r->payload_hash);
    else
        hash_sha256_hex(s->r->body ? s->r->body : "", s->r->body_size, s->payload);
    return 0;
}

static char *encoded(const char *text, size_t len)
{
    struct dynbuf b;
    dynbuf_init(&b, 3 * len + 1);
    (void)httpc_escape(&b, text, len); /* three bytes for one is the most it makes */
    char *s = dynbuf_steal(&b, NULL);
    return s ? s : xstrdup("");
}

/* By name, then by value: as whole "name=value" texts "a-b=" would come before "a=". */
static int compare_pieces(const void *a, const void *b)
{
    const struct piece *left = a, *right = b;
    int r = strcmp(left->name, right->name);
    return r ? r : strcmp(left->value, right->value);
}

static int collect_query(struct signing *s, struct err *e)
{
    for (const char *const *pair = s->r->query; pair && *pair; pair++) {
        if (s->query_count == PIECES_MAX)
            return err_set(e, -ENOSPC, ERR_NEVER, "a request to AWS has too many parameters");
        size_t len = strcspn(*pair, "=");
        const char *value = (*pair)[len] ? *pair + len + 1 : "";
        s->query[s->query_count++] =
            (struct piece){encoded(*pair, len), encoded(value, strlen(value))};
    }
    qsort(s->query, (size_t)s->query_count, sizeof(s->query[0]), compare_pieces);
    return 0;
}

/* Trimmed, and runs of blanks made one. */
static char *plain_value(const char *value)
{
    size_t len = 0;
    char *plain = xmalloc(strlen(value) + 1);
    for (const char *p = value; *p; p++) {
        bool blank = *p == ' ' || *p == '\t';
        if (blank && (len == 0 || plain[len - 1] == ' '))
            continue;
        plain[len++] = blank ? ' ' : *p;
    }
    while (len && plain[len - 1] == ' ')
        len--;
    plain[len] = '\0';
    return plain;
}

/* A second header of one name is joined to the first, as a server sees them. */
static int add_header(struct signing *s, const char *name, size_t name_len, const char *value,
                      struct err *e)
{
    char *plain = plain_value(value);
    if (!*plain || s->header_count == PIECES_MAX) {
        free(plain);
        return err_set(e, -EINVAL, ERR_NEVER, "a header of a request to AWS has no value");
    }
    for (int i = 0; i < s->header_count; i++) {
        struct piece *there = &s->headers[i];
        if (strlen(there->name) == name_len && !strncasecmp(there->name, name, name_len)) {
            char *joined = xasprintf("%s,%s", there->value, plain);
            free(plain);
            free(there->value);
            there->value = joined;
            return 0;
        }
    }
    char *lower = xstrndup(name, name_len);
    for (char *p = lower; *p; p++)
        *p = (char)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p);
    s->headers[s->header_count++] = (struct piece){lower, plain};
    return 0;
}

static bool sends_payload_hash(const struct signing *s)
{
    return s->r->path_encoded_once || s->r->payload_hash;
}

static int collect_headers(struct signing *s, struct err *e)
{
    int result = add_header(s, "host", 4, s->r->host, e);
    if (result == 0)
        result = add_header(s, "x-amz-date", 10, s->stamp, e);
    if (result == 0 && sends_payload_hash(s))
        result = add_header(s, "x-amz-content-sha256", 20, s->payload, e);
    if (result == 0 && s->c->session_token[0])
        result = add_header(s, "x-amz-security-token", 20, s->c->session_token, e);
    for (const char *const *line = s->r->headers; result == 0 && line && *line; line++) {
        const char *colon = strchr(*line, ':');
        if (!colon || colon == *line)
            return err_set(e, -EINVAL, ERR_NEVER, "a header line must read 'Name: value'");
        result = add_header(s, *line, (size_t)(colon - *line), colon + 1, e);
    }
    if (result == 0)
        qsort(s->headers, (size_t)s->header_count, sizeof(s->headers[0]), compare_pieces);
    return result;
}

static void write_path(const char *path, struct dynbuf *out)
{
    while (*path) {
        size_t len = strcspn(path, "/");
        (void)httpc_escape(out, path, len); /* the buffer keeps its failure */
        path += len;
        if (*path == '/') {
            dynbuf_puts(out, "/");
            path++;
        }
    }
}

static void write_query(const struct signing *s, struct dynbuf *out)
{
    for (int i = 0; i < s->query_count; i++)
        dynbuf_printf(out, "%s%s=%s", i ? "&" : "", s->query[i].name, s->query[i].value);
}

static void write_url(const struct signing *s, struct dynbuf *url)
{
    write_path(s->r->path, url);
    if (s->query_count)
        dynbuf_puts(url, "?");
    write_query(s, url);
}

static void write_canonical(struct signing *s)
{
    dynbuf_printf(&s->text, "%s\n", s->r->method);
    if (s->r->path_encoded_once) {
        write_path(s->r->path, &s->text);
    } else {
        AUTO_DONE(dynbuf) once;
        dynbuf_init(&once, URL_MAX);
        write_path(s->r->path, &once);
        write_path(dynbuf_str(&once), &s->text);
    }
    dynbuf_puts(&s->text, "\n");
    write_query(s, &s->text);
    dynbuf_puts(&s->text, "\n");
    for (int i = 0; i < s->header_count; i++) {
        dynbuf_printf(&s->text, "%s:%s\n", s->headers[i].name, s->headers[i].value);
        dynbuf_printf(&s->names, "%s%s", i ? ";" : "", s->headers[i].name);
    }
    dynbuf_printf(&s->text, "\n%s\n%s", dynbuf_str(&s->names), s->payload);
}

static void make_signature(struct signing *s, char ret[HASH_SHA256_HEX])
{
    char digest[HASH_SHA256_HEX];
    hash_sha256_hex(s->text.data, s->text.len, digest);

    /* Each step's outcome is the key of the next. */
    char first[sizeof(s->c->secret_key) + 4];
    int len = text_format(first, sizeof(first), "AWS4%s", s->c->secret_key);
    const char *const steps[] = {s->r->region, s->r->service, "aws4_request"};
    uint8_t key[HASH_SHA256_BYTES];
    hash_hmac_sha256(first, (size_t)MAX(len, 0), s->stamp, 8, key);
    for (size_t i = 0; i < ARRAY_LEN(steps); i++)
        hash_hmac_sha256(key, sizeof(key), steps[i], strlen(steps[i]), key);

    dynbuf_reset(&s->text);
    dynbuf_printf(&s->text, "AWS4-HMAC-SHA256\n%s\n%s\n%s", s->stamp, s->scope, digest);
    hash_hmac_sha256(key, sizeof(key), s->text.data, s->text.len, key);
    text_hex(key, sizeof(key), ret);
    explicit_bzero(first, sizeof(first));
    explicit_bzero(key, sizeof(key));
}

static void write_headers(struct signing *s, const char *signature, struct aws_signed *ret)
{
    int n = 0;
    ret->headers[n++] = xasprintf(
        "Authorization: AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s",
        s->c->access_key, s->scope, dynbuf_str(&s->names), signature);
    ret->headers[n++] = xasprintf("x-amz-date: %s", s->stamp);
    if (sends_payload_hash(s))
        ret->headers[n++] = xasprintf("x-amz-content-sha256: %s", s->payload);
    if (s->c->session_token[0])
        ret->headers[n++] = xasprintf("x-amz-security-token: %s", s->c->session_token);
}
