/* Links to one picture for people without a login: "/s/ID.UNTIL.MAC". What the link says is signed,
 * so nothing is kept of it; whoever has it sees that one picture, clean or annotated as signed,
 * until then. */

#include <errno.h>
#include <string.h>

#include "base/parse.h"
#include "base/text.h"
#include "web/query.h"
#include "web/routes.h"
#include "web/snapshot_json.h"

#define EXPIRES_DEFAULT_S 3600
#define EXPIRES_MAX_S (30 * 86400) /* a link that leaked stays one for so long */

static int sign_link(struct web_context *w, const char *id, int64_t until_s, bool annotated,
                     char ret[HASH_SHA256_HEX], struct err *e)
{
    char text[128];
    (void)text_format(text, sizeof(text), "link:%s:%lld:%d", id, (long long)until_s,
                      annotated); /* fits */
    return access_sign(w->access, text, ret, e);
}

void web_link_post(struct web_context *w, const struct http_request *req,
                   const char *const captures[WEB_CAPTURES_MAX], struct http_response *ret)
{
    static const char *const known[] = {"expires", "annotated", NULL};
    int64_t seconds = EXPIRES_DEFAULT_S;
    bool annotated = false;
    if (!query_only(req, known, ret) ||
        !query_int(req, "expires", 1, EXPIRES_MAX_S, &seconds, ret) ||
        !query_bool(req, "annotated", &annotated, ret))
        return;
    web_snapshot_get(w, req, captures, ret); /* the 404 for what there is not */
    if (ret->status != 200)
        return;
    http_response_done(ret);
    int64_t until_s = wall_seconds(clock_wall()) + seconds;
    char mac[HASH_SHA256_HEX], url[256];
    struct err e;
    int r = sign_link(w, captures[0], until_s, annotated, mac, &e);
    if (r < 0) {
        web_answer_err(ret, r, &e);
        return;
    }
    (void)text_format(url, sizeof(url), "/s/%s.%llx.%s%s", captures[0], (unsigned long long)until_s,
                      mac, annotated ? "?annotated=1" : ""); /* fits */
    AUTO_JSON json_t *document =
        json_pack("{s:s,s:o}", "url", url, "expires_at", time_json(wall_from_seconds(until_s)));
    web_answer_json(ret, 200, document);
}

struct link {
    char id[SNAPSHOT_ID_SIZE];
    int64_t until_s;
    char mac[HASH_SHA256_HEX];
};

static bool read_link(const char *text, struct link *ret)
{
    static const char digits[] = "0123456789abcdef";
    const char *dot = strchr(text, '.'), *second = dot ? strchr(dot + 1, '.') : NULL;
    size_t id_len = dot ? (size_t)(dot - text) : 0;
    if (!second || id_len != SNAPSHOT_ID_LEN || strlen(second + 1) != HASH_SHA256_HEX - 1 ||
        second - dot - 1 > 12 || second - dot - 1 < 1)
        return false;
    memcpy(ret->id, text, id_len);
    ret->id[id_len] = '\0';
    (void)text_copy(ret->mac, sizeof(ret->mac), second + 1); /* its length is right */
    ret->until_s = 0;
    for (const char *p = dot + 1; p < second; p++) {
        const char *at = strchr(digits, *p);
        if (!at)
            return false;
        ret->until_s = ret->until_s * 16 + (at - digits);
    }
    return snapshot_id_valid(ret->id);
}

void web_link_get(struct web_context *w, const struct http_request *req,
                  const char *const captures[WEB_CAPTURES_MAX], struct http_response *ret)
{
    static const char *const known[] = {"annotated", "download", NULL};
    struct link link;
    bool annotated = false, download = false;
    char mac[HASH_SHA256_HEX];
    struct err e;
    if (!query_only(req, known, ret) || !query_bool(req, "annotated", &annotated, ret) ||
        !query_bool(req, "download", &download, ret))
        return;
    /* Nobody has made a link before there was a key; a stranger makes no file here. */
    bool good = read_link(captures[0], &link) && access_database(w->access, false, &e) &&
                sign_link(w, link.id, link.until_s, annotated, mac, &e) == 0 &&
                passwd_same(mac, link.mac, sizeof(mac) - 1);
    if (!good) {
        http_response_error(ret, 404, "unknown-link", "this link is not, or no longer, good");
        return;
    }
    if (wall_seconds(clock_wall()) >= link.until_s) {
        http_response_error(ret, 410, "link-expired",
                            "this link has expired: ask whoever sent it for another");
        return;
    }
    AUTO(snapshot) s = NULL;
    if (web_find_snapshot(w, link.id, &s, ret) < 0)
        return;
    if (s->deleted_at.us != 0) /* those who may bring it back still see it */
        http_response_error(ret, 404, "picture-gone", "the picture was deleted");
    else /* no cache shows it when the link has expired */
        web_answer_picture(w, req, s,
                           &(struct web_picture){.annotated = annotated,
                                                 .attachment = download,
                                                 .cache_control = WEB_CACHE_ASK},
                           ret);
}
