#include "web/files.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "base/text.h"
#include "sys/gzip.h"
#include "web/routes.h"

/* What a page may do is all that ours need: no foreign origin, no inline script or style, and no
 * markup made of text (so that the name of a camera is never more than its letters). */
#define PAGE_POLICY                                                                                \
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "              \
    "connect-src 'self'; font-src 'self'; manifest-src 'self'; base-uri 'none'; "                  \
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"

static const struct web_file *find_file(const char *path);
static bool takes_gzip(const struct http_request *req);
static void answer_file(const struct http_request *req, const struct web_file *f,
                        struct http_response *ret);

bool web_wants_page(const struct http_request *req)
{
    static const char *const others[] = {"api", "assets", "s", "metrics", "healthz", "readyz"};
    const char *accept = http_request_header(req, "Accept");
    if (!accept || !strstr(accept, "text/html") ||
        (strcmp(req->method, "GET") != 0 && strcmp(req->method, "HEAD") != 0))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        if (req->part_count > 0 && strcmp(req->parts[0], others[i]) == 0)
            return false;
    return true;
}

void web_answer_page(const struct http_request *req, struct http_response *ret)
{
    answer_file(req, find_file("index.html"), ret);
    http_response_header(ret, "Cache-Control", "no-cache");
    http_response_header(ret, "Content-Security-Policy", "%s", PAGE_POLICY);
    http_response_header(ret, "Cross-Origin-Opener-Policy", "same-origin");
}

/* "/assets/~<version>/wall.js" for ever, "/assets/wall.js" to be asked for anew. What an older
 * page still asks for under its version gets the file of today. */
void web_asset_get(struct web_context *w, const struct http_request *req,
                   const char *const captures[WEB_CAPTURES_MAX], struct http_response *ret)
{
    (void)w;
    (void)captures;
    size_t part = 1;
    bool versioned = req->parts[part][0] == '~';
    bool current = versioned && strcmp(req->parts[part] + 1, web_files_version) == 0;
    char path[256] = ""; /* longer ones there are none */
    for (part += versioned; part < req->part_count; part++) {
        size_t len = strlen(path);
        (void)text_format(path + len, sizeof(path) - len, "%s%s", len ? "/" : "", req->parts[part]);
    }
    const struct web_file *f = find_file(path);
    if (!f) {
        http_response_error(ret, 404, "no-such-path", "the pages have no file of this name");
        return;
    }
    answer_file(req, f, ret);
    http_response_header(ret, "Cache-Control", "%s",
                         current ? "public, max-age=31536000, immutable" : "no-cache");
}

static int compare(const void *key, const void *file)
{
    return strcmp(key, ((const struct web_file *)file)->path);
}

static const struct web_file *find_file(const char *path)
{
    return bsearch(path, web_files, web_file_count, sizeof(web_files[0]), compare);
}

/* Every browser does; a script may not. */
static bool takes_gzip(const struct http_request *req)
{
    const char *at = http_request_header(req, "Accept-Encoding");
    const char *item;
    size_t len;
    while (at && parse_list_next(&at, &item, &len)) {
        size_t name = strcspn(item, "; ,");
        if (name != 4 || strncmp(item, "gzip", 4) != 0)
            continue;
        const char *q = memmem(item, len, "q=0", 3);
        return !q || (q[3] == '.' && strspn(q + 4, "0") < strspn(q + 4, "0123456789"));
    }
    return false;
}

static void answer_file(const struct http_request *req, const struct web_file *f,
                        struct http_response *ret)
{
    bool packed = takes_gzip(req);
    AUTO(blob) bytes = NULL;
    /* The two forms are different bytes, so their tags differ. */
    (void)text_format(ret->etag, sizeof(ret->etag), "\"%s%s\"", f->tag,
                      packed ? "-gz" : ""); /* fits */
    http_response_header(ret, "Vary", "Accept-Encoding, Accept");
    if (packed) {
        bytes = blob_new_hook(f->packed, f->packed_size, NULL, NULL);
        http_response_header(ret, "Content-Encoding", "gzip");
        http_response_blob(ret, 200, f->content_type, &bytes);
        return;
    }
    struct dynbuf text;
    dynbuf_init(&text, f->size + 1);
    if (gzip_unpack(f->packed, f->packed_size, f->size, &text) < 0)
        text.failed = true;
    http_response_text(ret, 200, f->content_type, &text);
}
