#include "sys/http_message.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "sys/json.h"

#define ERROR_BODY_MAX 8192 /* a message with all cameras' names in it */

static const char *skip_authority(const char *target);
static int split_path(struct http_request *req, const char *path, const char *end, char **out,
                      struct err *e);
static int split_query(struct http_request *req, const char *query, char **out, struct err *e);
static int decode(const char *s, const char *end, bool plus_is_space, char **out, const char **ret,
                  struct err *e);

int http_request_parse(struct http_request *req, struct err *e)
{
    req->part_count = 0;
    req->query_count = 0;
    if (strlen(req->target) > HTTP_TARGET_MAX)
        return err_set(e, -ENAMETOOLONG, ERR_NEVER, "the address has %zu bytes, the limit is %d",
                       strlen(req->target), HTTP_TARGET_MAX);
    const char *path = skip_authority(req->target);
    if (path[0] != '/')
        return err_set(e, -EINVAL, ERR_NEVER, "the address does not begin with '/'");
    const char *path_end = path + strcspn(path, "?#");
    char *out = req->decoded;
    int r = split_path(req, path, path_end, &out, e);
    if (r < 0)
        return r;
    return *path_end == '?' ? split_query(req, path_end + 1, &out, e) : 0;
}

/* RFC 9110, 5.6.2. */
static bool is_token(const char *s)
{
    static const char more[] = "!#$%&'*+-.^_`|~";
    for (const char *p = s; *p; p++) {
        bool fine = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                    (*p >= '0' && *p <= '9') || strchr(more, *p);
        if (!fine)
            return false;
    }
    return s[0];
}

static bool has_control(const char *s)
{
    for (; *s; s++)
        if (((unsigned char)*s < 0x20 && *s != '\t') || *s == 0x7f)
            return true;
    return false;
}

int http_request_check_framing(const struct http_request *req, struct err *e)
{
    int lengths = 0, codings = 0;
    for (size_t i = 0; i < req->header_count; i++) {
        const struct http_pair *h = &req->headers[i];
        if (!is_token(h->name) || has_control(h->value))
            return err_set(e, -EINVAL, ERR_NEVER, "a header is malformed");
        if (text_equal_nocase(h->name, "Content-Length")) {
            lengths++;
            if (!h->value[0] || strspn(h->value, "0123456789") != strlen(h->value))
                return err_set(e, -EINVAL, ERR_NEVER, "the Content-Length is no number");
        } else if (text_equal_nocase(h->name, "Transfer-Encoding")) {
            codings++;
            if (!text_equal_nocase(h->value, "chunked"))
                return err_set(e, -EINVAL, ERR_NEVER, "the only Transfer-Encoding is chunked");
        }
    }
    if (lengths + codings > 1)
        return err_set(e, -EINVAL, ERR_NEVER,
                       "the length of the body is said more than once "
                       "(Content-Length, Transfer-Encoding)");
    return 0;
}

const char *http_request_header(const struct http_request *req, const char *name)
{
    for (size_t i = 0; i < req->header_count; i++)
        if (text_equal_nocase(req->headers[i].name, name))
            return req->headers[i].value;
    return NULL;
}

const char *http_request_query(const struct http_request *req, const char *name)
{
    for (size_t i = 0; i < req->query_count; i++)
        if (strcmp(req->query[i].name, name) == 0)
            return req->query[i].value;
    return NULL;
}

/* Proxies send "GET http://host/path"; RFC 9112, 3.2.2 obliges servers to take it. */
static const char *skip_authority(const char *target)
{
    if (!text_starts_with(target, "http://"))
        return target;
    const char *path = target + strlen("http://");
    path += strcspn(path, "/?#");
    return path;
}

static int split_path(struct http_request *req, const char *path, const char *end, char **out,
                      struct err *e)
{
    if (end == path + 1)
        return 0;
    const char *at = path;
    while (at < end) {
        at++; /* the slash */
        const char *slash = memchr(at, '/', (size_t)(end - at));
        const char *part_end = slash ? slash : end;
        if (req->part_count == HTTP_PARTS_MAX)
            return err_set(e, -EINVAL, ERR_NEVER, "the path has more than %d parts",
                           HTTP_PARTS_MAX);
        int r = decode(at, part_end, false, out, &req->parts[req->part_count], e);
        if (r < 0)
            return r;
        req->part_count++;
        at = part_end;
    }
    return 0;
}

static int split_query(struct http_request *req, const char *query, char **out, struct err *e)
{
    const char *at = query, *end = query + strcspn(query, "#");
    while (at < end) {
        const char *item_end = at + strcspn(at, "&#");
        const char *equals = memchr(at, '=', (size_t)(item_end - at));
        if (item_end > at) {
            if (req->query_count == HTTP_QUERY_MAX)
                return err_set(e, -EINVAL, ERR_NEVER, "more than %d parameters", HTTP_QUERY_MAX);
            struct http_pair *pair = &req->query[req->query_count];
            int r = decode(at, equals ? equals : item_end, true, out, &pair->name, e);
            if (r < 0)
                return r;
            pair->value = "";
            if (equals) {
                r = decode(equals + 1, item_end, true, out, &pair->value, e);
                if (r < 0)
                    return r;
            }
            req->query_count++;
        }
        at = *item_end == '&' ? item_end + 1 : item_end;
    }
    return 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* What decoding adds, the NUL behind each item, replaces the separator before it; so the output is
 * never longer than the target. */
static int decode(const char *s, const char *end, bool plus_is_space, char **out, const char **ret,
                  struct err *e)
{
    char *start = *out, *to = start;
    while (s < end) {
        int c = (unsigned char)*s++;
        if (c == '%') {
            int high = end - s >= 2 ? hex_digit(s[0]) : -1;
            int low = end - s >= 2 ? hex_digit(s[1]) : -1;
            if (high < 0 || low < 0)
                return err_set(e, -EINVAL, ERR_NEVER,
                               "a '%%' in the address without two hex digits behind it");
            c = high * 16 + low;
            s += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        if (c < 0x20 || c == 0x7f)
            return err_set(e, -EINVAL, ERR_NEVER, "a control character in the address");
        *to++ = (char)c;
    }
    *to++ = '\0';
    *out = to;
    *ret = start;
    return 0;
}

/* ---- responses ---- */

void http_response_init(struct http_response *r)
{
    *r = (struct http_response){0};
}

void http_response_done(struct http_response *r)
{
    for (size_t i = 0; i < r->header_count; i++)
        free(r->headers[i].value);
    blob_unref(r->body);
    if (r->stream.release)
        r->stream.release(r->stream.arg);
    *r = (struct http_response){0};
}

void http_response_header(struct http_response *r, const char *name, const char *fmt, ...)
{
    assert(r->header_count < HTTP_RESPONSE_HEADERS_MAX);
    struct dynbuf text;
    dynbuf_init(&text, HTTP_TARGET_MAX * 3 + 256); /* a Link with an escaped target in it */
    va_list ap;
    va_start(ap, fmt);
    int bad = dynbuf_vprintf(&text, fmt, ap);
    va_end(ap);
    char *value = dynbuf_steal(&text, NULL);
    if (bad < 0 || !value) {
        free(value);
        return; /* a header too long to be one of ours: the answer is right without it */
    }
    for (char *p = value; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '_';
    r->headers[r->header_count].name = name;
    r->headers[r->header_count++].value = value;
}

void http_response_blob(struct http_response *r, int status, const char *content_type,
                        struct blob **body)
{
    blob_unref(r->body);
    r->status = status;
    r->content_type = content_type;
    r->body = STEAL(*body);
    r->body_offset = 0;
    r->body_length = r->body ? r->body->size : 0;
}

void http_response_stream(struct http_response *r, int status, const char *content_type,
                          const struct http_stream *stream)
{
    struct blob *none = NULL;
    http_response_blob(r, status, content_type, &none);
    if (r->stream.release)
        r->stream.release(r->stream.arg);
    r->stream = *stream;
}

void http_response_text(struct http_response *r, int status, const char *content_type,
                        struct dynbuf *text)
{
    if (text->failed) {
        dynbuf_done(text);
        http_response_error(r, 500, "internal", "the answer does not fit into memory");
        return;
    }
    size_t size = 0;
    char *data = dynbuf_steal(text, &size);
    struct blob *body = data ? blob_new_take(data, size) : NULL;
    http_response_blob(r, status, content_type, &body);
}

static void PRINTF_LIKE(6, 0)
    error_body(struct http_response *r, int status, const char *code, const char *name,
               const char *value, const char *fmt, va_list ap)
{
    AUTO_DONE(dynbuf) message;
    dynbuf_init(&message, ERROR_BODY_MAX);
    (void)dynbuf_vprintf(&message, fmt, ap); /* without its words it is still an error */
    AUTO_JSON json_t *error = json_object();
    json_object_set_new(error, "code", json_string(code));
    json_object_set_new(error, "message", js_string(dynbuf_str(&message)));
    if (name)
        json_object_set_new(error, name, js_string(value));
    AUTO_JSON json_t *document = json_object();
    json_object_set(document, "error", error);
    char *text = js_text(document);
    struct blob *body = blob_new_take(text, strlen(text));
    http_response_done(r); /* not earlier: the words may have come out of it */
    http_response_blob(r, status, "application/json", &body);
}

void http_response_error(struct http_response *r, int status, const char *code, const char *fmt,
                         ...)
{
    va_list ap;
    va_start(ap, fmt);
    error_body(r, status, code, NULL, NULL, fmt, ap);
    va_end(ap);
}

void http_response_error_about(struct http_response *r, int status, const char *code,
                               const char *name, const char *value, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    error_body(r, status, code, name, value, fmt, ap);
    va_end(ap);
}

/* ---- conditions and ranges ---- */

enum range { RANGE_NONE, RANGE_PART, RANGE_OUTSIDE };

static enum range parse_range(const char *text, size_t size, size_t *ret_first, size_t *ret_last);
static void add_common_headers(struct http_response *r);
static bool is_method(const struct http_request *req, const char *a, const char *b);

/* If-None-Match compares weakly: "W/" makes no difference. RFC 9110, 13.1.2. */
bool http_request_has_tag(const struct http_request *req, const char *etag)
{
    const char *at = http_request_header(req, "If-None-Match");
    if (!at || !etag[0])
        return false;
    const char *item;
    size_t len;
    while (parse_list_next(&at, &item, &len)) {
        if (len == 1 && item[0] == '*')
            return true;
        if (len > 2 && strncmp(item, "W/", 2) == 0) {
            item += 2;
            len -= 2;
        }
        if (len == strlen(etag) && strncmp(item, etag, len) == 0)
            return true;
    }
    return false;
}

void http_response_finish(const struct http_request *req, struct http_response *r)
{
    bool reads = is_method(req, "GET", "HEAD");
    if (r->etag[0] && (r->status == 200 || r->status == 304))
        http_response_header(r, "ETag", "%s", r->etag);
    if (r->status == 200 && reads && http_request_has_tag(req, r->etag)) {
        r->status = 304;
        r->content_type = NULL;
        r->body_length = 0;
    }
    if (r->status == 200 && r->ranges) {
        http_response_header(r, "Accept-Ranges", "bytes");
        const char *range = http_request_header(req, "Range");
        const char *condition = http_request_header(req, "If-Range");
        size_t first = 0, last = 0, size = r->body_length;
        enum range kind = RANGE_NONE;
        if (range && is_method(req, "GET", "GET") &&
            (!condition || (r->etag[0] && strcmp(condition, r->etag) == 0)))
            kind = parse_range(range, size, &first, &last);
        if (kind == RANGE_PART) {
            r->status = 206;
            r->body_offset = first;
            r->body_length = last - first + 1;
            http_response_header(r, "Content-Range", "bytes %zu-%zu/%zu", first, last, size);
        } else if (kind == RANGE_OUTSIDE) {
            http_response_error(r, 416, "range-outside", "the picture has %zu bytes, not '%s'",
                                size, range);
            http_response_header(r, "Content-Range", "bytes */%zu", size);
        }
    }
    add_common_headers(r);
}

/* One range of bytes. Several at once, and what is no range at all, are ignored, as RFC 9110, 14.2
 * allows: the whole picture is an answer too. */
static enum range parse_range(const char *text, size_t size, size_t *ret_first, size_t *ret_last)
{
    if (!text_starts_with(text, "bytes="))
        return RANGE_NONE;
    const char *from = text + strlen("bytes=");
    const char *dash = strchr(from, '-');
    if (!dash)
        return RANGE_NONE;
    size_t from_len = (size_t)(dash - from), to_len = strlen(dash + 1);
    int64_t first = 0, last = INT64_MAX;
    if (strspn(from, "0123456789") != from_len || strspn(dash + 1, "0123456789") != to_len ||
        (from_len == 0 && to_len == 0))
        return RANGE_NONE;
    if (from_len > 0 && parse_int64(from, from_len, 0, INT64_MAX, &first) < 0)
        return RANGE_NONE;
    if (to_len > 0 && parse_int64(dash + 1, to_len, 0, INT64_MAX, &last) < 0)
        return RANGE_NONE;
    if (from_len == 0) { /* the last n bytes */
        if (last == 0 || size == 0)
            return RANGE_OUTSIDE;
        *ret_first = (uint64_t)last >= size ? 0 : size - (size_t)last;
        *ret_last = size - 1;
        return RANGE_PART;
    }
    if (first > last)
        return RANGE_NONE;
    if ((uint64_t)first >= size)
        return RANGE_OUTSIDE;
    *ret_first = (size_t)first;
    *ret_last = (uint64_t)last >= size ? size - 1 : (size_t)last;
    return RANGE_PART;
}

static bool has_header(const struct http_response *r, const char *name)
{
    for (size_t i = 0; i < r->header_count; i++)
        if (strcmp(r->headers[i].name, name) == 0)
            return true;
    return false;
}

/* For all that does not say otherwise. Nothing but the pages themselves has scripts; a browser that
 * is tricked into showing it as a page must find no power in it, and no other site may embed or
 * read it. */
static void add_common_headers(struct http_response *r)
{
    static const struct http_pair common[] = {
        {"Cache-Control", "no-store"},
        {"X-Content-Type-Options", "nosniff"},
        {"Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"},
        {"X-Frame-Options", "DENY"},
        {"Referrer-Policy", "no-referrer"},
        {"Cross-Origin-Resource-Policy", "same-origin"},
    };
    for (size_t i = 0; i < ARRAY_LEN(common); i++)
        if (!has_header(r, common[i].name))
            http_response_header(r, common[i].name, "%s", common[i].value);
    if (r->content_type)
        http_response_header(r, "Content-Type", "%s", r->content_type);
}

static bool is_method(const struct http_request *req, const char *a, const char *b)
{
    return strcmp(req->method, a) == 0 || strcmp(req->method, b) == 0;
}

/* ---- who may ask ---- */

#define HOST_MAX 256 /* a DNS name has at most 253 bytes */

static bool host_name(const char *host, char name[HOST_MAX]);
static bool host_known(const char *name, const char *const *names);
static bool origin_is_ours(const char *origin, const char *host);
static bool is_visit(const struct http_request *req);

bool http_request_allowed(const struct http_request *req, const char *const *names,
                          struct http_response *r)
{
    const char *host = NULL;
    int hosts = 0;
    for (size_t i = 0; i < req->header_count; i++) {
        if (!text_equal_nocase(req->headers[i].name, "Host"))
            continue;
        host = req->headers[i].value;
        hosts++;
    }
    char name[HOST_MAX];
    /* HTTP/1.0 knows no Host, and no browser of today speaks it. */
    if (hosts > 1 || (host && !host_name(host, name))) {
        http_response_error(r, 400, "bad-host", "the Host header is malformed");
        return false;
    }
    if (host && !host_known(name, names)) {
        http_response_error(r, 403, "host-not-allowed",
                            "this server does not answer under the name '%s': use its address, or "
                            "add the name to host_names in section [web]",
                            name);
        return false;
    }
    const char *origin = http_request_header(req, "Origin");
    const char *site = http_request_header(req, "Sec-Fetch-Site");
    bool foreign = site && (strcmp(site, "cross-site") == 0 || strcmp(site, "same-site") == 0);
    bool reads = is_method(req, "GET", "HEAD");
    if (reads ? foreign && !is_visit(req) : foreign || (origin && !origin_is_ours(origin, host))) {
        http_response_error(r, 403, "cross-origin",
                            "a web page of another site may not do this (origin '%s')",
                            origin ? origin : "unknown");
        return false;
    }
    return true;
}

/* Somebody follows a link to us, and sees where he is. What else a page asks of us, as a picture, a
 * script or a frame, it could not read; but how long it takes, and whether there is one, tells too,
 * and each stream and zip file has its price. */
static bool is_visit(const struct http_request *req)
{
    const char *mode = http_request_header(req, "Sec-Fetch-Mode");
    const char *dest = http_request_header(req, "Sec-Fetch-Dest");
    return mode && strcmp(mode, "navigate") == 0 && dest && strcmp(dest, "document") == 0;
}

/* The host without its port; false when it is no host. */
static bool host_name(const char *host, char name[HOST_MAX])
{
    size_t len;
    const char *port;
    if (host[0] == '[') {
        const char *close = strchr(host, ']');
        if (!close)
            return false;
        len = (size_t)(close - host) + 1;
        if (strspn(host + 1, "0123456789abcdefABCDEF:.") != len - 2)
            return false;
        port = close + 1;
    } else {
        len = strcspn(host, ":");
        port = host + len;
        for (size_t i = 0; i < len; i++) {
            char c = host[i];
            bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                        (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
            if (!fine)
                return false;
        }
    }
    if (len == 0 || len >= HOST_MAX)
        return false;
    int64_t number;
    if (port[0] && (port[0] != ':' || parse_int64(port + 1, strlen(port + 1), 1, 65535, &number)))
        return false;
    memcpy(name, host, len);
    name[len] = '\0';
    return true;
}

static bool host_known(const char *name, const char *const *names)
{
    if (name[0] == '[' || text_equal_nocase(name, "localhost"))
        return true;
    /* A name of digits and dots alone cannot be looked up: it is an address or nothing. */
    if (strspn(name, "0123456789.") == strlen(name))
        return true;
    for (size_t i = 0; names && names[i]; i++)
        if (text_equal_nocase(name, names[i]))
            return true;
    return false;
}

static bool origin_is_ours(const char *origin, const char *host)
{
    const char *authority = NULL;
    if (text_starts_with(origin, "http://"))
        authority = origin + strlen("http://");
    else if (text_starts_with(origin, "https://"))
        authority = origin + strlen("https://");
    return authority && host && text_equal_nocase(authority, host);
}

/* ---- small things ---- */

int http_escape(struct dynbuf *out, const char *s)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    int r = 0;
    for (; *s && r == 0; s++) {
        if (strchr(plain, *s))
            r = dynbuf_append(out, s, 1);
        else
            r = dynbuf_printf(out, "%%%02X", (unsigned)(unsigned char)*s);
    }
    return r;
}
