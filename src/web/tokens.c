/* Tokens for programs, for admins. `snapshotd token` does the same without the daemon. */

#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "web/access_json.h"
#include "web/fields.h"
#include "web/routes.h"
#include "web/snapshot_json.h"

void web_tokens_get(struct web_context *w, const struct http_request *req,
                    const char *const captures[WEB_CAPTURES_MAX], struct http_response *ret)
{
    (void)req;
    (void)captures;
    AUTO_FREE struct access_token *tokens = xcalloc(ACCESS_TOKENS_MAX, sizeof(*tokens));
    struct err e;
    struct access_db *d = access_database(w->access, false, &e);
    int count = d ? access_token_list(d, tokens, ACCESS_TOKENS_MAX, &e) : e.code;
    if (count < 0) {
        web_answer_err(ret, count, &e);
        return;
    }
    json_t *list = json_array();
    for (int i = 0; i < count; i++)
        json_array_append_new(list, access_token_json(&tokens[i]));
    AUTO_JSON json_t *document = json_pack("{s:o}", "tokens", list);
    web_answer_json(ret, 200, document);
}

/* "read,push", or a list of such words. */
static bool read_scopes(const json_t *fields, unsigned *ret, struct http_response *response)
{
    const json_t *value = json_object_get(fields, "scopes");
    AUTO_DONE(dynbuf) words;
    dynbuf_init(&words, 256);
    if (json_is_string(value))
        (void)dynbuf_puts(&words, json_string_value(value));
    for (size_t i = 0; i < json_array_size(value); i++) {
        const char *word = json_string_value(json_array_get(value, i));
        (void)dynbuf_printf(&words, "%s%s", i ? "," : "", word ? word : "?");
    }
    struct err e;
    if (!words.failed && access_scopes_parse(dynbuf_str(&words), ret, &e) == 0)
        return true;
    fields_refuse(response, "scopes", "some of read, trigger, push, manage");
    return false;
}

/* Seconds; null or absent: it does not expire. */
static bool read_expiry(const json_t *fields, struct wall_time *ret, struct http_response *response)
{
    const json_t *value = json_object_get(fields, "expires");
    int64_t seconds = json_is_integer(value) ? json_integer_value(value) : -1;
    const char *text = json_string_value(value);
    if (text && text[0] && parse_int64(text, strlen(text), 1, WEB_EXPIRES_MAX_S, &seconds) < 0)
        seconds = -1;
    *ret = (struct wall_time){0};
    if (!value || json_is_null(value) || (text && !text[0]))
        return true;
    if (seconds < 1 || seconds > WEB_EXPIRES_MAX_S) {
        fields_refuse(response, "expires",
                      "seconds from now, at least 1 and at most ten years, or "
                      "null for a token that does not expire");
        return false;
    }
    ret->us = clock_wall().us + seconds * 1000000;
    return true;
}

void web_tokens_post(struct web_context *w, const struct http_request *req,
                     const char *const captures[WEB_CAPTURES_MAX], struct http_response *ret)
{
    (void)captures;
    static const char *const known[] = {"name", "scopes", "expires", NULL};
    AUTO_FIELDS json_t *fields = NULL;
    const char *name;
    struct access_token t = {.scopes = 0};
    if (!fields_read(req, known, &fields, ret) || !fields_need(fields, "name", &name, ret) ||
        !read_scopes(fields, &t.scopes, ret) || !read_expiry(fields, &t.expires_at, ret))
        return;
    if (!access_name_valid(name)) {
        fields_refuse(ret, "name", "1 to 64 letters, digits and . _ @ -");
        return;
    }
    (void)text_copy(t.name, sizeof(t.name), name); /* checked */
    char text[ACCESS_SECRET_MAX], scopes[ACCESS_SCOPES_TEXT_MAX];
    struct err e;
    struct access_db *d = access_database(w->access, true, &e);
    int r = d ? access_token_add(d, &t, text, &e) : e.code;
    if (r < 0) {
        web_answer_access_err(ret, r, &e);
        return;
    }
    access_audit(w->access, &w->who, ACCESS_EVENT_ENTRY, "token-add", "%s %s: %s", t.id, t.name,
                 access_scopes_text(t.scopes, scopes));
    AUTO_JSON json_t *document = access_token_json(&t);
    json_object_set_new(document, "token", json_string(text));
    explicit_bzero(text, sizeof(text));
    web_answer_json(ret, 201, document);
}

void web_token_delete(struct web_context *w, const struct http_request *req,
                      const char *const captures[WEB_CAPTURES_MAX], struct http_response *ret)
{
    (void)req;
    struct err e;
    struct access_db *d = access_database(w->access, false, &e);
    if (!d && !e.code)
        (void)err_set(&e, -ENOENT, ERR_NEVER, "there is no token");
    int r = d ? access_token_remove(d, captures[0], &e) : e.code;
    if (r < 0) {
        web_answer_access_err(ret, r, &e);
        return;
    }
    access_audit(w->access, &w->who, ACCESS_EVENT_ENTRY, "token-remove", "%s", captures[0]);
    AUTO_JSON json_t *document = json_pack("{s:o}", "removed", js_string(captures[0]));
    web_answer_json(ret, 200, document);
}
