#include "storage/drive_call.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/text.h"

#define BURST_US 1000000 /* an account that was idle may catch up with one second */
#define URL_MAX 8192     /* what the HTTP client takes; our longest query has about 700 bytes */
/* A new login is to be taken soon, and looking for it asks nobody. */
#define LOGIN_AGAIN_MS 30000
#define STALL_MS 30000 /* Drive answers a finished upload within seconds */
/* A byte counts when the kernel has taken it. With several uploads on a slow line what its buffers
 * hold needs longer than an answer may: 4 MB at 500 kbit/s are a minute. */
#define STALL_BODY_MS 120000
#define RENEWED_AGAIN_MS 1000 /* the login has changed while it was refused */
#define META_MAX 16384
#define PAGES_MAX 10000 /* of one query: a server that never ends is none of Drive's */
#define SHOWN "Google Drive"

static const char *const wanted[] = {"Range", "Location", NULL};

void drive_account_init(struct drive_account *a, struct google_login *login, const char *base,
                        double writes_per_second)
{
    *a = (struct drive_account){
        .login = login,
        .base = base,
        .interval_us = writes_per_second > 0 ? (int64_t)(1e6 / writes_per_second) : 0,
    };
    (void)pthread_mutex_init(&a->lock, NULL); /* cannot fail with default attributes */
    a->next_write.us = clock_mono().us - BURST_US;
}

void drive_account_done(struct drive_account *a)
{
    (void)pthread_mutex_destroy(&a->lock);
}

void drive_reply_done(struct drive_reply *r)
{
    blob_unref(r->body);
    free(r->range);
    free(r->location);
    *r = (struct drive_reply){0};
}

/* Takes the account's next turn and waits for it. Turns are given in order, so a long archive run
 * and the uploads share them evenly. */
static int wait_for_turn(struct drive_link *l, struct err *e)
{
    struct drive_account *a = l->account;
    if (!a->interval_us)
        return 0;
    (void)pthread_mutex_lock(&a->lock);
    int64_t earliest = clock_mono().us - BURST_US;
    struct mono_time turn = {MAX(a->next_write.us, earliest)};
    a->next_write.us = turn.us + a->interval_us;
    (void)pthread_mutex_unlock(&a->lock);
    for (int left = mono_until_ms(turn); left > 0; left = mono_until_ms(turn)) {
        struct pollfd p = {.fd = l->stop_fd, .events = POLLIN};
        if (poll(&p, 1, left) > 0)
            return err_set(e, -ECANCELED, ERR_LATER, "stopped while waiting for a turn");
    }
    return 0;
}

static int get_token(struct drive_link *l, struct storage_failure *f, struct err *e)
{
    l->unknown = false;
    int r = google_login_token(l->account->login, l->client, l->token, e);
    if (r == 0) {
        (void)text_format(l->login_header, sizeof(l->login_header), "Authorization: Bearer %s",
                          l->token);
        return 0;
    }
    if (r == -ECANCELED)
        return r;
    bool by_hand = r == -ENOKEY || r == -EKEYREVOKED || (e && e->retry == ERR_NEVER);
    *f = (struct storage_failure){.trouble = by_hand ? STORAGE_LOGIN : STORAGE_AWAY,
                                  .pause_ms = by_hand ? LOGIN_AGAIN_MS : 0};
    int code = by_hand ? -EACCES : -EAGAIN;
    if (e) {
        e->code = code;
        e->retry = ERR_LATER;
    }
    return code;
}

static int send_once(struct drive_link *l, const struct drive_ask *ask, struct http_answer *ret,
                     struct storage_failure *f, struct err *e)
{
    char type[160];
    const char *headers[DRIVE_HEADERS_MAX + 3];
    size_t n = 0;
    if (!ask->stranger)
        headers[n++] = l->login_header;
    if (ask->type) {
        (void)text_format(type, sizeof(type), "Content-Type: %s", ask->type);
        headers[n++] = type;
    }
    for (size_t i = 0; ask->headers && ask->headers[i]; i++) {
        assert(i < DRIVE_HEADERS_MAX);
        headers[n++] = ask->headers[i];
    }
    headers[n] = NULL;
    const struct httpc_request req = {
        .method = ask->method,
        .url = ask->url,
        .shown = SHOWN,
        .headers = headers,
        .body = ask->body,
        .body_size = ask->size,
        .use_proxy = true,
        .stall_timeout_ms = l->account->stall_ms ? l->account->stall_ms
                            : ask->size          ? STALL_BODY_MS
                                                 : STALL_MS,
        .total_timeout_ms = ask->time_ms ? ask->time_ms : DRIVE_CALL_MS,
        .size_max = DRIVE_ANSWER_MAX,
    };
    bool sent = false;
    int r = http_call(l->client, &req, wanted, ret, &sent, e);
    l->unknown = r < 0 && sent;
    if (r == 0 || r == -ECANCELED)
        return r;
    /* Whatever went wrong on the way is no fault of the picture's, a bad certificate included. */
    *f = (struct storage_failure){.trouble = STORAGE_AWAY};
    if (e) {
        e->code = -EAGAIN;
        e->retry = ERR_LATER;
    }
    (void)err_prefix(e, "%s", ask->what);
    return -EAGAIN;
}

/* A refusal of the login that was, while there is another one already. */
static void excuse_change(struct drive_link *l, uint64_t generation, struct storage_failure *f)
{
    if (f->trouble == STORAGE_LOGIN && google_login_generation(l->account->login) != generation)
        f->pause_ms = RENEWED_AGAIN_MS;
}

/* To make room does not help who has none of his own. */
static void explain_room(struct drive_link *l, const char *what, const char *reason, struct err *e)
{
    struct google_login_state login;
    if (!e || strcmp(reason, "storageQuotaExceeded") != 0)
        return;
    google_login_describe(l->account->login, &login);
    if (login.kind == GOOGLE_LOGIN_SERVICE)
        (void)err_set(e, e->code, e->retry,
                      "%s: HTTP 403 %s: a service account has no room of its own: set parent of "
                      "[gdrive] to a shared drive that it was let into",
                      what, reason);
}

int drive_call(struct drive_link *l, const struct drive_ask *ask, struct drive_reply *ret,
               struct storage_failure *f, struct err *e)
{
    *ret = (struct drive_reply){0};
    int r = ask->write ? wait_for_turn(l, e) : 0;
    for (int attempt = 0; r == 0; attempt++) {
        uint64_t generation = google_login_generation(l->account->login);
        r = get_token(l, f, e);
        if (r < 0) {
            excuse_change(l, generation, f);
            return err_prefix(e, "%s", ask->what), r;
        }
        AUTO_DONE(http_answer) answer = {0};
        r = send_once(l, ask, &answer, f, e);
        if (r < 0)
            return r;
        char reason[DRIVE_REASON_MAX], text[ERR_TEXT_MAX / 2];
        enum drive_verdict v = drive_judge(answer.status, answer.body, reason, text, sizeof(text));
        if (ask->session)
            v = drive_judge_session(answer.status, v);
        if (v == DRIVE_REFUSED && attempt == 0) {
            google_login_refused(l->account->login, l->token);
            continue;
        }
        if (v != DRIVE_DONE && v != DRIVE_CONTINUE) {
            l->unknown = v == DRIVE_WAIT;
            r = drive_failure(v, ask->what, answer.status, reason, text, answer.retry_after_s,
                              clock_wall(), f, e);
            excuse_change(l, generation, f);
            explain_room(l, ask->what, reason, e);
            return r;
        }
        ret->more = v == DRIVE_CONTINUE;
        ret->body = STEAL(answer.body);
        ret->range = STEAL(answer.headers[0]);
        ret->location = STEAL(answer.headers[1]);
        return 0;
    }
    return r;
}

int drive_nonsense(struct storage_failure *f, struct err *e, const char *what)
{
    *f = (struct storage_failure){.trouble = STORAGE_AWAY};
    if (e) {
        e->code = -EAGAIN;
        e->retry = ERR_LATER;
    }
    (void)err_prefix(e, "%s", what);
    return -EAGAIN;
}

/* ---- the requests that several need ---- */

static int ask_for_file(struct drive_link *l, const struct drive_ask *ask, struct drive_file *ret,
                        struct storage_failure *f, struct err *e)
{
    AUTO_DONE(drive_reply) reply = {0};
    int r = drive_call(l, ask, &reply, f, e);
    if (r < 0)
        return r;
    if (drive_parse_file(reply.body, ret, e) < 0) {
        l->unknown = true;
        return drive_nonsense(f, e, ask->what);
    }
    return 0;
}

/* Shared drives answer only who says that he knows of them. */
int drive_link_url(struct drive_link *l, struct dynbuf *url, const char *path,
                   const char *const *params)
{
    dynbuf_init(url, URL_MAX);
    int r = drive_url(url, l->account->base, path, params);
    if (r == 0 && l->account->shared)
        r = dynbuf_puts(url, "&supportsAllDrives=true");
    return r;
}

static int file_url(struct drive_link *l, struct dynbuf *url, const char *id,
                    const char *const *params, struct err *e)
{
    char path[DRIVE_ID_MAX + 32];
    if (!drive_id_plain(id))
        return err_set(e, -EINVAL, ERR_NEVER, "'%.40s' is no id of Drive's", id);
    (void)text_format(path, sizeof(path), "/drive/v3/files/%s", id);
    return drive_link_url(l, url, path, params);
}

int drive_get(struct drive_link *l, const char *id, struct drive_file *ret,
              struct storage_failure *f, struct err *e)
{
    static const char *const params[] = {"fields", drive_file_fields, NULL};
    AUTO_DONE(dynbuf) url = {0};
    int r = file_url(l, &url, id, params, e);
    if (r < 0)
        return r;
    const struct drive_ask ask = {.what = "look at file", .url = dynbuf_str(&url)};
    return ask_for_file(l, &ask, ret, f, e);
}

int drive_patch(struct drive_link *l, const char *what, const char *id, const char *change,
                const char *add_parent, const char *remove_parent, struct drive_file *ret,
                struct storage_failure *f, struct err *e)
{
    const char *params[8] = {"fields", drive_file_fields};
    size_t n = 2;
    if (add_parent) {
        params[n++] = "addParents";
        params[n++] = add_parent;
    }
    if (remove_parent) {
        params[n++] = "removeParents";
        params[n++] = remove_parent;
    }
    AUTO_DONE(dynbuf) url = {0};
    int r = file_url(l, &url, id, params, e);
    if (r < 0)
        return r;
    const struct drive_ask ask = {
        .what = what,
        .method = "PATCH",
        .url = dynbuf_str(&url),
        .type = "application/json; charset=UTF-8",
        .body = change,
        .size = strlen(change),
        .write = true,
    };
    return ask_for_file(l, &ask, ret, f, e);
}

int drive_trash(struct drive_link *l, const char *id, struct storage_failure *f, struct err *e)
{
    struct drive_file file;
    int r = drive_patch(l, "move to the trash", id, "{\"trashed\":true}", NULL, NULL, &file, f, e);
    return r == -ENOENT ? 0 : r;
}

int drive_create(struct drive_link *l, const char *what, const struct drive_meta *m,
                 struct drive_file *ret, struct storage_failure *f, struct err *e)
{
    static const char *const params[] = {"fields", drive_file_fields, NULL};
    AUTO_DONE(dynbuf) url = {0}, body = {0};
    dynbuf_init(&body, META_MAX);
    int r = drive_link_url(l, &url, "/drive/v3/files", params);
    if (r == 0)
        r = drive_meta_write(m, &body);
    if (r < 0)
        return err_set(e, r, ERR_NEVER, "%s: its description is too long", what);
    const struct drive_ask ask = {
        .what = what,
        .method = "POST",
        .url = dynbuf_str(&url),
        .type = "application/json; charset=UTF-8",
        .body = body.data,
        .size = body.len,
        .write = true,
    };
    return ask_for_file(l, &ask, ret, f, e);
}

/* Without a word about where to look Drive looks into what is the account's own. One drive is named
 * rather than all: of all, the answer may be incomplete. */
static int add_corpora(struct drive_link *l, struct dynbuf *url)
{
    struct drive_account *a = l->account;
    if (!a->shared)
        return 0;
    (void)pthread_mutex_lock(&a->lock);
    if (a->drive[0])
        (void)dynbuf_printf(url, "&corpora=drive&driveId=%s", a->drive);
    (void)pthread_mutex_unlock(&a->lock);
    return dynbuf_puts(url, "&includeItemsFromAllDrives=true");
}

int drive_find(struct drive_link *l, const char *query, int page_size,
               int (*each)(void *arg, const struct drive_file *file), void *arg,
               struct storage_failure *f, struct err *e)
{
    char size[16], token[DRIVE_TOKEN_MAX] = "";
    (void)text_format(size, sizeof(size), "%d", page_size);
    for (int page = 0; page < PAGES_MAX; page++) {
        const char *params[] = {"q",         query, "fields", drive_list_fields, "pageSize", size,
                                "pageToken", token, NULL};
        if (!token[0])
            params[6] = NULL;
        AUTO_DONE(dynbuf) url = {0};
        if (drive_link_url(l, &url, "/drive/v3/files", params) < 0 || add_corpora(l, &url) < 0)
            return err_set(e, -EINVAL, ERR_NEVER, "list files: the question is too long");
        const struct drive_ask ask = {.what = "list files", .url = dynbuf_str(&url)};
        AUTO_DONE(drive_reply) reply = {0};
        int r = drive_call(l, &ask, &reply, f, e);
        if (r == -EINVAL && page > 0) /* the page token is too old: from the start, later */
            return drive_nonsense(f, e, "next page");
        if (r < 0)
            return r;
        err_clear(e);
        r = drive_parse_list(reply.body, each, arg, token, e);
        if (r == -EBADMSG && e && e->code == -EBADMSG)
            return drive_nonsense(f, e, ask.what);
        if (r != 0 || !token[0])
            return r;
    }
    return err_set(e, -EAGAIN, ERR_LATER, "list files: more than %d pages", PAGES_MAX);
}

int drive_new_ids(struct drive_link *l, const char *type, int count, char (*ret)[DRIVE_ID_MAX],
                  struct storage_failure *f, struct err *e)
{
    char number[16];
    (void)text_format(number, sizeof(number), "%d", MIN(count, DRIVE_IDS_MAX));
    const char *const params[] = {"count", number, "space", "drive", "type", type, NULL};
    AUTO_DONE(dynbuf) url;
    dynbuf_init(&url, URL_MAX);
    int r = drive_url(&url, l->account->base, "/drive/v3/files/generateIds", params);
    assert(r == 0);
    const struct drive_ask ask = {.what = "ask for ids", .url = dynbuf_str(&url)};
    AUTO_DONE(drive_reply) reply = {0};
    r = drive_call(l, &ask, &reply, f, e);
    if (r < 0)
        return r;
    r = drive_parse_ids(reply.body, ret, MIN(count, DRIVE_IDS_MAX), e);
    return r < 0 ? drive_nonsense(f, e, ask.what) : r;
}
