/* Snapshots: pages of them, one of them, its picture. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "ledger/ledger_upload.h"
#include "sys/hash.h"
#include "web/events.h"
#include "web/filter.h"
#include "web/query.h"
#include "web/routes.h"
#include "web/snapshot_json.h"

#define PAGE_DEFAULT 50
#define PAGE_MAX 500
#define COPY_WAIT_MS 10000 /* long for one drawing, short for a person */
#define STORY_MAX 128      /* steps; a snapshot with ten destinations and their retries has fewer */

static bool read_page_query(const struct http_request *req, struct web_filter *filter,
                            struct ledger_page_key *after, int64_t *limit,
                            struct http_response *response);
static json_t *with_verdict(struct web_context *w, const struct snapshot *s, bool story);
static json_t *next_link(const struct http_request *req, struct ledger_page_key after);

void web_snapshots_get(struct web_context *w, const struct http_request *req,
                       const char *const captures[WEB_CAPTURES_MAX], struct http_response *ret)
{
    (void)captures;
    struct web_filter filter;
    struct ledger_page_key after = {{0}, 0};
    int64_t limit = PAGE_DEFAULT;
    if (!read_page_query(req, &filter, &after, &limit, ret))
        return;
    struct err e;
    err_clear(&e);
    /* One more than asked for tells whether there is a next page. */
    AUTO_FREE struct snapshot **found = xcalloc((size_t)limit + 1, sizeof(*found));
    struct browse_end end;
    int count = ledger_browse_page(w->ledger, &filter.of, after, &web_page_budget, found,
                                   (int)limit + 1, &end, &e);
    if (count < 0) {
        web_answer_err(ret, count, &e);
        return;
    }
    int shown = MIN(count, (int)limit);
    if (count > shown)
        end = (struct browse_end){
            .at = {.event_at = found[shown - 1]->event_at, .row = found[shown - 1]->row}};
    AUTO_JSON json_t *document = json_object();
    json_t *list = json_array();
    for (int i = 0; i < shown; i++)
        json_array_append_new(list, with_verdict(w, found[i], false));
    json_object_set_new(document, "snapshots", list);
    /* Without memory for the link this page must not look like the last one. */
    json_t *next = end.whole ? json_null() : next_link(req, end.at);
    bool whole = next && json_object_set_new(document, "next", next) == 0;
    for (int i = 0; i < count; i++)
        snapshot_unref(found[i]);
    web_answer_json(ret, 200, whole ? document : NULL);
}

void web_snapshot_get(struct web_context *w, const struct http_request *req,
                      const char *const captures[WEB_CAPTURES_MAX], struct http_response *ret)
{
    (void)req;
    AUTO(snapshot) s = NULL;
    if (web_find_snapshot(w, captures[0], &s, ret) < 0)
        return;
    AUTO_JSON json_t *document = with_verdict(w, s, true);
    web_answer_json(ret, 200, document);
}

/* The same wish again is no failure, so that a client may repeat it. */
static void set_star(struct web_context *w, const struct http_request *req, const char *id,
                     bool starred, struct http_response *ret)
{
    static const char *const known[] = {NULL};
    AUTO(snapshot) s = NULL;
    if (!query_only(req, known, ret) || web_find_snapshot(w, id, &s, ret) < 0)
        return;
    struct err e;
    err_clear(&e);
    int r = ledger_snapshot_star(w->ledger, s->id, starred, &e);
    if (r < 0) {
        web_answer_err(ret, r, &e);
        return;
    }
    if (w->backend->starred != NULL)
        w->backend->starred(w->backend->arg);
    events_tell(w->events, starred ? NEWS_STARRED : NEWS_UNSTARRED, s->id);
    const char *captures[WEB_CAPTURES_MAX] = {id};
    web_snapshot_get(w, req, captures, ret);
}

void web_star_post(struct web_context *w, const struct http_request *req,
                   const char *const captures[WEB_CAPTURES_MAX], struct http_response *ret)
{
    set_star(w, req, captures[0], true, ret);
}

void web_unstar_post(struct web_context *w, const struct http_request *req,
                     const char *const captures[WEB_CAPTURES_MAX], struct http_response *ret)
{
    set_star(w, req, captures[0], false, ret);
}

/* The copy is drawn after the verdict is out: who asks at once waits a moment. False when the
 * moment is over. */
static bool wait_for_copy(const struct http_request *req, const char *id, struct http_response *ret)
{
    struct mono_time now = clock_mono();
    struct mono_time deadline =
        req->resumed ? req->resumed->deadline : mono_add_ms(now, COPY_WAIT_MS);
    if (!req->may_wait || deadline.us <= now.us)
        return false;
    ret->waits = true;
    text_copy(ret->wait.key, sizeof(ret->wait.key), id);
    ret->wait.deadline = deadline;
    ret->wait.recheck = deadline;
    return true;
}

void web_image_get(struct web_context *w, const struct http_request *req,
                   const char *const captures[WEB_CAPTURES_MAX], struct http_response *ret)
{
    static const char *const known[] = {"annotated", "download", NULL};
    bool annotated = false, download = false;
    if (!query_only(req, known, ret) || !query_bool(req, "annotated", &annotated, ret) ||
        !query_bool(req, "download", &download, ret))
        return;
    AUTO(snapshot) s = NULL;
    if (web_find_snapshot(w, captures[0], &s, ret) < 0)
        return;
    struct web_picture how = {.annotated = annotated,
                              .attachment = download,
                              .cache_control = annotated ? WEB_CACHE_ASK : WEB_CACHE_FOREVER};
    web_answer_picture(w, req, s, &how, ret);
}

void web_answer_picture(struct web_context *w, const struct http_request *req,
                        const struct snapshot *s, const struct web_picture *how,
                        struct http_response *ret)
{
    bool annotated = how->annotated;
    if (annotated && !s->annotated_path[0]) {
        http_response_error(ret, 404, "no-annotated-picture",
                            s->state == SNAPSHOT_EXAMINED ? "this snapshot has no annotated copy"
                                                          : "this snapshot is not examined yet");
        return;
    }
    if (s->removed) { /* also when some memory still has it */
        http_response_error(ret, 404, "picture-gone",
                            "the picture was removed from here; its story says why");
        return;
    }
    const char *path = annotated ? s->annotated_path : s->path;
    const char *dot = strrchr(path, '.');
    const char *format = annotated ? (dot ? dot + 1 : "") : s->format;
    if (!annotated && s->sha256[0])
        (void)text_format(ret->etag, sizeof(ret->etag), "\"%s\"", s->sha256); /* fits */
    AUTO(blob) bytes = NULL;
    if (!http_request_has_tag(req, ret->etag)) {
        struct err e;
        err_clear(&e);
        int r = w->backend->bytes(w->backend->arg, s, annotated, &bytes, &e);
        if (r == -ENOENT && annotated && s->unsettled) {
            if (!wait_for_copy(req, s->id, ret))
                http_response_error(ret, 503, "not-drawn-yet",
                                    "the annotated copy is still to be drawn; ask again");
            return;
        }
        if (r == -ENOENT) {
            http_response_error(ret, 404, "picture-gone", "the picture's file is gone: %s", e.text);
            return;
        }
        if (r < 0) {
            web_answer_err(ret, r, &e);
            return;
        }
    }
    if (annotated) { /* may be drawn anew one day, so its name says nothing about its bytes */
        char sum[HASH_SHA256_HEX];
        hash_sha256_hex(bytes->data, bytes->size, sum);
        (void)text_format(ret->etag, sizeof(ret->etag), "\"%s\"", sum); /* fits */
    }
    http_response_blob(ret, 200, snapshot_content_type(format), &bytes);
    ret->ranges = true;
    http_response_header(ret, "Cache-Control", "%s", how->cache_control);
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    if (!strpbrk(name, "\"\\"))
        http_response_header(ret, "Content-Disposition", "%s; filename=\"%s\"",
                             how->attachment ? "attachment" : "inline", name);
}

/* ---- paging ---- */

static bool read_cursor(const char *text, struct ledger_page_key *ret);

static bool read_page_query(const struct http_request *req, struct web_filter *filter,
                            struct ledger_page_key *after, int64_t *limit,
                            struct http_response *response)
{
    static const char *const more[] = {"limit", "cursor", NULL};
    if (!web_filter_read(req, more, filter, response) ||
        !query_int(req, "limit", 1, PAGE_MAX, limit, response))
        return false;
    const char *cursor = query_text(req, "cursor");
    if (!cursor || read_cursor(cursor, after))
        return true;
    query_refuse(response, "cursor", cursor, "the one in the page before, unchanged");
    return false;
}

/* Two hexadecimal numbers, event time and row, of where the page before ended. Opaque to
 * clients; no secret. */
static bool read_hex(const char *s, size_t len, int64_t *ret)
{
    uint64_t v = 0;
    if (len == 0 || len > 15) /* 60 bits: never negative */
        return false;
    for (size_t i = 0; i < len; i++) {
        const char *digits = "0123456789abcdef", *at = strchr(digits, s[i]);
        if (!at)
            return false;
        v = v << 4 | (uint64_t)(at - digits);
    }
    *ret = (int64_t)v;
    return true;
}

static bool read_cursor(const char *text, struct ledger_page_key *ret)
{
    const char *dash = strchr(text, '-');
    return dash && read_hex(text, (size_t)(dash - text), &ret->event_at.us) &&
           read_hex(dash + 1, strlen(dash + 1), &ret->row) && ret->row > 0;
}

/* The same question with another cursor. NULL without memory. */
static json_t *next_link(const struct http_request *req, struct ledger_page_key after)
{
    AUTO_DONE(dynbuf) link;
    dynbuf_init(&link, 4 * HTTP_TARGET_MAX);
    (void)dynbuf_puts(&link, "/api/v1/snapshots?");
    for (size_t i = 0; i < req->query_count; i++) {
        const struct http_pair *pair = &req->query[i];
        if (strcmp(pair->name, "cursor") == 0 || !pair->value[0])
            continue;
        (void)http_escape(&link, pair->name);
        (void)dynbuf_puts(&link, "=");
        (void)http_escape(&link, pair->value);
        (void)dynbuf_puts(&link, "&");
    }
    (void)dynbuf_printf(&link, "cursor=%llx-%llx", (unsigned long long)after.event_at.us,
                        (unsigned long long)after.row);
    return link.failed ? NULL : js_string(dynbuf_str(&link));
}

/* ---- one ---- */

/* The upload stages look for themselves within a second. */
void web_upload_again_post(struct web_context *w, const struct http_request *req,
                           const char *const captures[WEB_CAPTURES_MAX], struct http_response *ret)
{
    (void)req;
    struct err e;
    err_clear(&e);
    const char *id = captures[0];
    int r = snapshot_id_valid(id) ? ledger_upload_again(w->ledger, id, &e) : -ENOENT;
    if (r == -ENOENT) {
        http_response_error(ret, 404, "unknown-snapshot",
                            "there is no snapshot of this id, or its files are gone");
        return;
    }
    if (r < 0) {
        web_answer_err(ret, r, &e);
        return;
    }
    AUTO_JSON json_t *document = json_pack("{s:i}", "again", r);
    web_answer_json(ret, 200, document);
}

int web_find_snapshot(struct web_context *w, const char *id, struct snapshot **ret,
                      struct http_response *response)
{
    struct err e;
    err_clear(&e);
    int r = snapshot_id_valid(id) ? ledger_snapshot_get(w->ledger, id, ret, &e) : -ENOENT;
    if (r == -ENOENT)
        http_response_error(response, 404, "unknown-snapshot",
                            "there is no snapshot of this id (a trigger has one when its picture "
                            "is stored)");
    else if (r < 0)
        web_answer_err(response, r, &e);
    return r;
}

/* About when: the janitor looks every few seconds. */
static void put_purge_time(struct web_context *w, const struct snapshot *s, json_t *document)
{
    struct wall_time at = {0};
    if (s->deleted_at.us != 0 && !s->removed && w->backend->trash_keep_ms)
        at.us = s->deleted_at.us + w->backend->trash_keep_ms(w->backend->arg) * 1000;
    (void)json_object_set_new(document, "purge_at", time_json(at)); /* as snapshot_json() */
}

static json_t *with_verdict(struct web_context *w, const struct snapshot *s, bool story)
{
    struct err e;
    struct verdict v = {0};
    int r = ledger_verdict_get(w->ledger, s->id, &v, &e);
    struct ledger_story steps[STORY_MAX];
    int count = 0;
    if (story)
        count = ledger_story(w->ledger, s->id, steps, STORY_MAX, &e);
    /* What cannot be read now is not there yet for this answer: the rest still is worth it. */
    json_t *document = snapshot_json(s, r == 0 ? &v : NULL, story ? steps : NULL, MAX(count, 0));
    put_purge_time(w, s, document);
    if (r == 0)
        verdict_done(&v);
    return document;
}
