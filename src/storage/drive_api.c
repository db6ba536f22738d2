#include "storage/drive_api.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/parse.h"
#include "base/text.h"
#include "sys/httpc.h"
#include "sys/json.h"

#define RETRY_AFTER_MAX_S 86400 /* more than a day is a mistake; we would ask again anyway */
#define DAY_S 86400
#define REFUSED_MS 300000 /* a login that was refused is not worth more questions */
#define GOOGLE_HOSTS ".googleapis.com"

#define FILE_FIELDS                                                                                \
    "id,name,mimeType,parents,createdTime,size,md5Checksum,starred,trashed,webViewLink,"           \
    "driveId,appProperties"
const char drive_file_fields[] = FILE_FIELDS;
const char drive_list_fields[] = "nextPageToken,incompleteSearch,files(" FILE_FIELDS ")";

const char *const drive_verdict_names[DRIVE_VERDICT_COUNT] = {
    [DRIVE_DONE] = "done",       [DRIVE_CONTINUE] = "continue",   [DRIVE_WAIT] = "wait",
    [DRIVE_SLOWER] = "slower",   [DRIVE_TOMORROW] = "tomorrow",   [DRIVE_FULL] = "full",
    [DRIVE_REFUSED] = "refused", [DRIVE_FORBIDDEN] = "forbidden", [DRIVE_FOREIGN] = "foreign",
    [DRIVE_GONE] = "gone",       [DRIVE_EXISTS] = "exists",       [DRIVE_RANGE] = "range",
    [DRIVE_WRONG] = "wrong",
};

/* ---- what we ask ---- */

int drive_url(struct dynbuf *out, const char *base, const char *path, const char *const *params)
{
    (void)dynbuf_puts(out, base); /* a failed buffer stays failed: one look at the end */
    int r = dynbuf_puts(out, path);
    for (const char *mark = "?"; params && *params; params += 2, mark = "&") {
        (void)dynbuf_printf(out, "%s%s=", mark, params[0]);
        r = httpc_escape(out, params[1], strlen(params[1]));
    }
    return out->failed ? -ENOSPC : r;
}

bool drive_id_plain(const char *id)
{
    return id[0] && id[strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                  "0123456789-_")] == '\0';
}

int drive_quote(struct dynbuf *out, const char *s)
{
    (void)dynbuf_puts(out, "'");
    for (; *s; s++) {
        if (*s == '\'' || *s == '\\')
            (void)dynbuf_puts(out, "\\");
        (void)dynbuf_append(out, s, 1);
    }
    return dynbuf_puts(out, "'");
}

static void put_text(json_t *j, const char *name, const char *value)
{
    if (value && value[0])
        (void)json_object_set_new(j, name, js_string(value));
}

static json_t *properties_of(const struct drive_meta *m)
{
    json_t *all = json_object();
    for (size_t i = 0; i < ARRAY_LEN(m->properties) && m->properties[i].name; i++) {
        const struct drive_property *p = &m->properties[i];
        size_t name = strlen(p->name);
        char value[DRIVE_PROPERTY_MAX + 1];
        assert(name < DRIVE_PROPERTY_MAX);
        if (!p->value || !p->value[0])
            continue;
        size_t cut = text_cut_length(p->value, DRIVE_PROPERTY_MAX - name);
        memcpy(value, p->value, cut);
        value[cut] = '\0';
        put_text(all, p->name, value);
    }
    return all;
}

int drive_meta_write(const struct drive_meta *m, struct dynbuf *out)
{
    AUTO_JSON json_t *j = json_object();
    put_text(j, "id", m->id);
    put_text(j, "name", m->name);
    put_text(j, "mimeType", m->type);
    if (m->parent)
        (void)json_object_set_new(j, "parents", json_pack("[s]", m->parent));
    put_text(j, "description", m->description);
    char iso[WALL_ISO_MAX];
    if (m->created_at.us)
        put_text(j, "createdTime", wall_format_iso(m->created_at, true, iso));
    if (m->starred)
        (void)json_object_set_new(j, "starred", json_true());
    if (m->target)
        (void)json_object_set_new(j, "shortcutDetails", json_pack("{s:s}", "targetId", m->target));
    json_t *properties = properties_of(m);
    if (json_object_size(properties))
        (void)json_object_set(j, "appProperties", properties);
    json_decref(properties);
    return js_write(j, out);
}

int drive_multipart(struct dynbuf *out, const char *boundary, const char *meta, const char *type,
                    const void *bytes, size_t size)
{
    (void)dynbuf_printf(out,
                        "--%s\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n%s\r\n"
                        "--%s\r\nContent-Type: %s\r\n\r\n",
                        boundary, meta, boundary, type);
    (void)dynbuf_append(out, bytes, size);
    return dynbuf_printf(out, "\r\n--%s--\r\n", boundary);
}

const char *drive_content_range(int64_t from, int64_t total, char buf[DRIVE_RANGE_MAX])
{
    if (from < 0 || total == 0) /* an empty file has no byte to name */
        (void)text_format(buf, DRIVE_RANGE_MAX, "bytes */%lld", (long long)total);
    else
        (void)text_format(buf, DRIVE_RANGE_MAX, "bytes %lld-%lld/%lld", (long long)from,
                          (long long)total - 1, (long long)total);
    return buf;
}

int drive_parse_range(const char *range, int64_t total, int64_t *ret_next)
{
    static const char start[] = "bytes=0-";
    int64_t last;
    if (!range || !range[0]) {
        *ret_next = 0;
        return 0;
    }
    if (!text_starts_with(range, start))
        return -EBADMSG;
    const char *number = range + strlen(start);
    if (parse_int64(number, strlen(number), 0, INT64_MAX - 1, &last) < 0 || last >= total)
        return -EBADMSG;
    *ret_next = last + 1;
    return 0;
}

/* Length of "scheme://host:port", 0 when it is no URL. */
static size_t origin_length(const char *url)
{
    const char *host = strstr(url, "://");
    return host ? (size_t)(host + 3 - url) + strcspn(host + 3, "/?#") : 0;
}

bool drive_same_origin(const char *url, const char *base)
{
    size_t length = origin_length(url);
    return length && length == origin_length(base) && !strncmp(url, base, length);
}

bool drive_session_allowed(const char *session, const char *base)
{
    if (drive_same_origin(session, base))
        return true;
    size_t length = origin_length(session), tail = strlen(GOOGLE_HOSTS);
    return text_starts_with(session, "https://") && length > strlen("https://") + tail &&
           !memchr(session, '@', length) && !strncmp(session + length - tail, GOOGLE_HOSTS, tail);
}

/* ---- what it answers ---- */

static const char *text_of(const json_t *j, const char *name)
{
    const char *s = json_string_value(json_object_get(j, name));
    return s ? s : "";
}

static int read_file(const json_t *j, struct drive_file *ret)
{
    *ret = (struct drive_file){.size = -1};
    if (!text_of(j, "id")[0] || !text_copy(ret->id, sizeof(ret->id), text_of(j, "id")))
        return -EBADMSG;
    if (!text_copy(ret->name, sizeof(ret->name), text_of(j, "name")))
        ret->name[0] = '\0';
    (void)text_copy(ret->type, sizeof(ret->type), text_of(j, "mimeType"));
    const char *parent = json_string_value(json_array_get(json_object_get(j, "parents"), 0));
    (void)text_copy(ret->parent, sizeof(ret->parent), parent ? parent : "");
    (void)text_copy(ret->md5, sizeof(ret->md5), text_of(j, "md5Checksum"));
    if (!text_copy(ret->link, sizeof(ret->link), text_of(j, "webViewLink")))
        ret->link[0] = '\0';
    const json_t *ours = json_object_get(j, "appProperties");
    (void)text_copy(ret->key, sizeof(ret->key), text_of(ours, "sd_key"));
    (void)text_copy(ret->target, sizeof(ret->target), text_of(ours, "sd_target"));
    (void)text_copy(ret->drive, sizeof(ret->drive), text_of(j, "driveId"));
    const char *size = text_of(j, "size"); /* a string of digits */
    if (size[0] && parse_int64(size, strlen(size), 0, INT64_MAX, &ret->size) < 0)
        return -EBADMSG;
    const char *created = text_of(j, "createdTime");
    if (created[0] && wall_parse_iso(created, &ret->created_at) < 0)
        return -EBADMSG;
    ret->starred = json_is_true(json_object_get(j, "starred"));
    ret->trashed = json_is_true(json_object_get(j, "trashed"));
    return 0;
}

static int read_object(const struct blob *body, json_t **ret, struct err *e)
{
    if (!body)
        return err_set(e, -EBADMSG, ERR_LATER, "the answer is empty");
    if (js_parse((const char *)body->data, body->size, DRIVE_ANSWER_MAX, ret, e) < 0) {
        (void)err_prefix(e, "the answer");
        if (e) {
            e->code = -EBADMSG;
            e->retry = ERR_LATER;
        }
        return -EBADMSG;
    }
    return 0;
}

int drive_parse_file(const struct blob *body, struct drive_file *ret, struct err *e)
{
    AUTO_JSON json_t *j = NULL;
    int r = read_object(body, &j, e);
    if (r < 0)
        return r;
    if (read_file(j, ret) < 0)
        return err_set(e, -EBADMSG, ERR_LATER, "the answer tells of no file");
    return 0;
}

int drive_parse_list(const struct blob *body, int (*f)(void *arg, const struct drive_file *file),
                     void *arg, char ret_next[DRIVE_TOKEN_MAX], struct err *e)
{
    AUTO_JSON json_t *j = NULL;
    int r = read_object(body, &j, e);
    if (r < 0)
        return r;
    const json_t *files = json_object_get(j, "files");
    if (!json_is_array(files))
        return err_set(e, -EBADMSG, ERR_LATER, "the answer has no list of files");
    /* What is not in such a list may be there all the same: who believed it made a folder twice. */
    if (json_is_true(json_object_get(j, "incompleteSearch")))
        return err_set(e, -EBADMSG, ERR_LATER, "Drive says that the list is not complete");
    if (!text_copy(ret_next, DRIVE_TOKEN_MAX, text_of(j, "nextPageToken")))
        return err_set(e, -EBADMSG, ERR_LATER, "the answer's page token is too long");
    for (size_t i = 0; i < json_array_size(files); i++) {
        struct drive_file file;
        if (read_file(json_array_get(files, i), &file) < 0)
            return err_set(e, -EBADMSG, ERR_LATER, "the answer has a file that is none");
        r = f(arg, &file);
        if (r != 0)
            return r;
    }
    return 0;
}

int drive_parse_ids(const struct blob *body, char (*ret)[DRIVE_ID_MAX], int max, struct err *e)
{
    AUTO_JSON json_t *j = NULL;
    int r = read_object(body, &j, e);
    if (r < 0)
        return r;
    const json_t *ids = json_object_get(j, "ids");
    int count = 0;
    for (size_t i = 0; i < json_array_size(ids) && count < max; i++) {
        const char *id = json_string_value(json_array_get(ids, i));
        if (!id || !id[0] || !text_copy(ret[count], DRIVE_ID_MAX, id))
            return err_set(e, -EBADMSG, ERR_LATER, "the answer has an id that is none");
        count++;
    }
    if (count == 0)
        return err_set(e, -EBADMSG, ERR_LATER, "the answer has no ids");
    return count;
}

/* ---- errors ---- */

struct reason_row {
    const char *reason;
    enum drive_verdict verdict;
};

/* Of a 403, whose number alone says nothing. Names in capitals are those of the newer
 * google.rpc.ErrorInfo. */
static const struct reason_row forbidden_rows[] = {
    {"rateLimitExceeded", DRIVE_SLOWER},
    {"userRateLimitExceeded", DRIVE_SLOWER},
    {"sharingRateLimitExceeded", DRIVE_SLOWER},
    {"RATE_LIMIT_EXCEEDED", DRIVE_SLOWER},
    {"dailyLimitExceeded", DRIVE_TOMORROW},
    {"dailyLimitExceededUnreg", DRIVE_TOMORROW},
    {"storageQuotaExceeded", DRIVE_FULL},
    {"activeItemCreationLimitExceeded", DRIVE_FULL},
    {"numChildrenInNonRootLimitExceeded", DRIVE_FULL},
    {"teamDriveFileLimitExceeded", DRIVE_FULL},
    {"accessNotConfigured", DRIVE_FORBIDDEN},
    {"SERVICE_DISABLED", DRIVE_FORBIDDEN},
    {"insufficientPermissions", DRIVE_FORBIDDEN},
    {"ACCESS_TOKEN_SCOPE_INSUFFICIENT", DRIVE_FORBIDDEN},
    {"domainPolicy", DRIVE_FORBIDDEN},
    {"appNotAuthorizedToFile", DRIVE_FOREIGN},
    {"insufficientFilePermissions", DRIVE_FOREIGN},
    {"insufficientParentPermissions", DRIVE_FOREIGN},
    {"cannotAddParent", DRIVE_WRONG},
    {"fieldNotWritable", DRIVE_WRONG},
};

/* The error body's reason and message; false when it is not in Drive's form. */
static bool read_error(const struct blob *body, char reason[DRIVE_REASON_MAX], char *text,
                       size_t text_size)
{
    AUTO_JSON json_t *j = NULL;
    reason[0] = '\0';
    text[0] = '\0';
    if (read_object(body, &j, NULL) < 0)
        return false;
    const json_t *error = json_object_get(j, "error");
    if (!json_is_object(error))
        return false;
    const char *message = text_of(error, "message");
    (void)text_printable(message, strlen(message), text, text_size);
    const char *word = text_of(json_array_get(json_object_get(error, "errors"), 0), "reason");
    const json_t *details = json_object_get(error, "details");
    for (size_t i = 0; !word[0] && i < json_array_size(details); i++)
        word = text_of(json_array_get(details, i), "reason");
    (void)text_printable(word, strlen(word), reason, DRIVE_REASON_MAX);
    return true;
}

static enum drive_verdict judge_forbidden(const char *reason)
{
    for (size_t i = 0; i < ARRAY_LEN(forbidden_rows); i++)
        if (!strcmp(forbidden_rows[i].reason, reason))
            return forbidden_rows[i].verdict;
    /* A reason that we do not know must not cost pictures: somebody has a look, they wait. */
    return DRIVE_FORBIDDEN;
}

enum drive_verdict drive_judge(long status, const struct blob *body,
                               char ret_reason[DRIVE_REASON_MAX], char *ret_text, size_t text_size)
{
    ret_reason[0] = '\0';
    ret_text[0] = '\0';
    if (status == 200 || status == 201 || status == 204)
        return DRIVE_DONE;
    if (status == 308)
        return DRIVE_CONTINUE;
    bool ours = read_error(body, ret_reason, ret_text, text_size);
    if (status == 429)
        return DRIVE_SLOWER;
    /* A proxy's page, a captive portal, Google's own front: nothing of it is about our file. A
     * "404" of theirs must not make a folder twice, a "413" not cost the picture, a "401" not the
     * login. */
    if (!ours || status < 400 || status >= 500)
        return DRIVE_WAIT;
    switch (status) {
    case 401:
        return DRIVE_REFUSED;
    case 403:
        return judge_forbidden(ret_reason);
    case 404:
    case 410:
        return DRIVE_GONE;
    case 408:
        return DRIVE_WAIT;
    case 409:
        return DRIVE_EXISTS;
    case 412:
    case 416:
        return DRIVE_RANGE;
    default:
        return DRIVE_WRONG;
    }
}

enum drive_verdict drive_judge_session(long status, enum drive_verdict v)
{
    switch (status) {
    case 401:
        return DRIVE_REFUSED;
    case 404:
    case 410:
        return DRIVE_GONE;
    case 409:
        return DRIVE_EXISTS;
    case 412:
    case 416:
        return DRIVE_RANGE;
    default:
        return v == DRIVE_WAIT && status >= 400 && status < 500 && status != 408 ? DRIVE_WRONG : v;
    }
}

struct verdict_row {
    int code;
    enum err_retry retry;
    enum storage_trouble trouble;
    const char *words; /* for people; "" = the answer's own will do */
};
static const struct verdict_row verdict_rows[DRIVE_VERDICT_COUNT] = {
    [DRIVE_DONE] = {0, ERR_NEVER, STORAGE_WELL, ""},
    [DRIVE_CONTINUE] = {0, ERR_NEVER, STORAGE_WELL, ""},
    [DRIVE_WAIT] = {-EAGAIN, ERR_LATER, STORAGE_AWAY, ""},
    [DRIVE_SLOWER] = {-EBUSY, ERR_LATER, STORAGE_RATE, "Drive asks to slow down"},
    [DRIVE_TOMORROW] = {-EBUSY, ERR_LATER, STORAGE_RATE, "the project's limit for today is used"},
    [DRIVE_FULL] = {-EDQUOT, ERR_LATER, STORAGE_QUOTA,
                    "no room: free some in Drive, or empty its trash"},
    [DRIVE_REFUSED] = {-EACCES, ERR_LATER, STORAGE_LOGIN,
                       "Google does not take the login; see `snapshotd auth gdrive`"},
    [DRIVE_FORBIDDEN] = {-EACCES, ERR_LATER, STORAGE_LOGIN,
                         "not allowed until somebody allows it, see doc/gdrive.md"},
    [DRIVE_FOREIGN] = {-EPERM, ERR_LATER, STORAGE_LOGIN,
                       "not visible to this program's Google project, see doc/gdrive.md"},
    [DRIVE_GONE] = {-ENOENT, ERR_LATER, STORAGE_WELL, ""},
    [DRIVE_EXISTS] = {-EEXIST, ERR_LATER, STORAGE_WELL, ""},
    [DRIVE_RANGE] = {-ERANGE, ERR_LATER, STORAGE_WELL, ""},
    [DRIVE_WRONG] = {-EINVAL, ERR_NEVER, STORAGE_WELL, ""},
};

/* Google's day begins at midnight in California: 7 or 8 o'clock UTC. Eight is never too early. */
static int64_t until_tomorrow_ms(struct wall_time now)
{
    int64_t since_eight = (wall_seconds(now) - 8 * 3600) % DAY_S;
    if (since_eight < 0)
        since_eight += DAY_S;
    return (DAY_S - since_eight) * 1000;
}

int drive_failure(enum drive_verdict v, const char *what, long status, const char *reason,
                  const char *text, int64_t retry_after_s, struct wall_time now,
                  struct storage_failure *f, struct err *e)
{
    const struct verdict_row *row = &verdict_rows[v];
    assert(row->code < 0);
    *f = (struct storage_failure){.trouble = row->trouble};
    if (retry_after_s > 0 && row->trouble != STORAGE_WELL)
        f->pause_ms = MIN(retry_after_s, (int64_t)RETRY_AFTER_MAX_S) * 1000;
    if (v == DRIVE_REFUSED)
        f->pause_ms = MAX(f->pause_ms, (int64_t)REFUSED_MS);
    if (v == DRIVE_TOMORROW)
        f->pause_ms = MAX(f->pause_ms, until_tomorrow_ms(now));
    return err_set(e, row->code, row->retry, "%s: HTTP %ld%s%s%s%s%s%s", what, status,
                   reason[0] ? " " : "", reason, text[0] ? ": " : "", text,
                   row->words[0] ? "; " : "", row->words);
}
