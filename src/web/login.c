/* Sessions: who one is, login, logout, and one's own password. */

#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "web/fields.h"
#include "web/routes.h"

#define HASH_WAIT_MS 20000 /* the whole queue takes one or two seconds, on a slow board five */

static void refuse_login(struct http_response *ret)
{
    http_response_error(ret, 401, "wrong-login", "the name or the password is not right");
}

static json_t *word_or_null(const char *word)
{
    return word && word[0] ? js_string(word) : json_null();
}

static void answer_session(struct web_context *w, struct http_response *ret)
{
    const struct access_who *who = &w->who;
    const char *role = who->role == ACCESS_NOBODY ? NULL : access_role_names[who->role];
    AUTO_JSON json_t *document =
        json_pack("{s:o,s:o,s:o,s:b,s:s}", "user", word_or_null(who->user), "role",
                  word_or_null(role), "how", word_or_null(access_how_names[who->how]),
                  "login_required", who->login_required, "csrf", who->csrf);
    if (who->how == ACCESS_BY_TOKEN) {
        json_t *scopes = json_array();
        for (unsigned bit = 1; bit <= ACCESS_SCOPES_ALL; bit <<= 1)
            if (who->scopes & bit)
                json_array_append_new(scopes, json_string(access_scope_name(bit)));
        json_object_set_new(document, "scopes", scopes);
    }
    /* The headers that are there, the cookie among them, stay. */
    web_answer_json(ret, 200, document);
}

void web_session_get(struct web_context *w, const struct http_request *req,
                     const char *const captures[WEB_CAPTURES_MAX], struct http_response *ret)
{
    (void)req;
    (void)captures;
    answer_session(w, ret);
}

/* ---- waiting for a hash ---- */

bool web_hash_begin(struct web_context *w, const struct http_request *req,
                    const struct access_hash_job *job, struct http_response *ret)
{
    struct err e;
    err_clear(&e);
    int r = req->may_wait ? 0 : err_set(&e, -EBUSY, ERR_LATER, "too many are waiting");
    if (r == 0)
        r = access_hash_begin(access_hasher(w->access), job, ret->wait.key, &e);
    if (r < 0) {
        web_answer_err(ret, r, &e);
        return false;
    }
    ret->waits = true;
    ret->wait.deadline = mono_add_ms(clock_mono(), HASH_WAIT_MS);
    ret->wait.recheck = ret->wait.deadline;
    return true;
}

enum access_hash_state web_hash_outcome(struct web_context *w, const struct http_request *req,
                                        char ret_hash[PASSWD_HASH_MAX], struct http_response *ret)
{
    const struct http_wait *wait = req->resumed;
    enum access_hash_state state =
        access_hash_outcome(access_hasher(w->access), wait->key, ret_hash);
    if (state == ACCESS_HASH_WORKING && req->may_wait && !mono_passed(wait->deadline)) {
        ret->waits = true;
        ret->wait = *wait;
    } else if (state == ACCESS_HASH_WORKING || state == ACCESS_HASH_GONE ||
               state == ACCESS_HASH_FAILED) {
        struct err e;
        (void)err_set(&e, -EBUSY, ERR_LATER, "there is no outcome yet: come again");
        web_answer_err(ret, -EBUSY, &e);
    }
    return state;
}

/* ---- login ---- */

static void begin_login(struct web_context *w, const struct http_request *req, const char *user,
                        const char *password, struct http_response *ret)
{
    int64_t wait_ms = access_try(w->access, &w->who, user);
    if (wait_ms > 0) {
        http_response_error(ret, 429, "too-many-logins",
                            "too many tries at a login: the next one is possible in %lld s",
                            (long long)wait_ms / 1000 + 1);
        http_response_header(ret, "Retry-After", "%lld", (long long)wait_ms / 1000 + 1);
        return;
    }
    struct access_user u = {.role = ACCESS_NOBODY};
    struct err e;
    struct access_db *d = access_database(w->access, false, &e);
    int r = d ? access_user_get(d, user, &u, &e) : e.code ? e.code : -ENOENT;
    if (r < 0 && r != -ENOENT) {
        web_answer_err(ret, r, &e);
        return;
    }
    struct access_hash_job job = {.password = password, .hash = r == 0 ? u.hash : NULL};
    if (!web_hash_begin(w, req, &job, ret))
        access_count_login("busy");
    explicit_bzero(&u, sizeof(u));
}

/* The user may have gone, or changed, while we looked at his password. */
static void end_login(struct web_context *w, const struct http_request *req, const char *user,
                      struct http_response *ret)
{
    enum access_hash_state state = web_hash_outcome(w, req, NULL, ret);
    if (state != ACCESS_HASH_DONE && state != ACCESS_HASH_WRONG)
        return;
    struct access_user u = {.role = ACCESS_NOBODY};
    struct err e;
    struct access_db *d = access_database(w->access, false, &e);
    bool known = d && access_user_get(d, user, &u, &e) == 0;
    explicit_bzero(u.hash, sizeof(u.hash));
    if (state == ACCESS_HASH_WRONG || !known) {
        access_count_login("wrong");
        /* An unknown name may be a password in the wrong field. */
        access_audit(w->access, &w->who, ACCESS_EVENT_FAILURE, "login-failed", "as %s",
                     known ? user : "an unknown user");
        refuse_login(ret);
        return;
    }
    int r = access_begin_session(w->access, req, user, u.role, &w->who, ret, &e);
    if (r < 0) {
        web_answer_err(ret, r, &e);
        return;
    }
    access_count_login("ok");
    access_tried_well(w->access, &w->who, user);
    access_audit(w->access, &w->who, ACCESS_EVENT_ENTRY, "login", "as %s",
                 access_role_names[u.role]);
    answer_session(w, ret);
}

void web_login_post(struct web_context *w, const struct http_request *req,
                    const char *const captures[WEB_CAPTURES_MAX], struct http_response *ret)
{
    (void)captures;
    static const char *const known[] = {"user", "password", NULL};
    const char *user, *password;
    AUTO_FIELDS json_t *fields = NULL;
    if (!fields_read(req, known, &fields, ret) || !fields_need(fields, "user", &user, ret) ||
        !fields_need(fields, "password", &password, ret))
        return;
    if (!w->access || !access_name_valid(user) || strlen(password) > PASSWD_MAX)
        refuse_login(ret); /* whatever is there, these are nobody's */
    else if (req->resumed)
        end_login(w, req, user, ret);
    else
        begin_login(w, req, user, password, ret);
}

void web_logout_post(struct web_context *w, const struct http_request *req,
                     const char *const captures[WEB_CAPTURES_MAX], struct http_response *ret)
{
    (void)captures;
    if (w->who.how == ACCESS_BY_SESSION)
        access_audit(w->access, &w->who, ACCESS_EVENT_ENTRY, "logout", "%s", "");
    access_end_session(w->access, req, &w->who, ret);
    /* Pictures are kept by the browser for long; whoever sits there next has no login. */
    http_response_header(ret, "Clear-Site-Data", "\"cache\"");
    access_identify(w->access, req, &w->who);
    answer_session(w, ret);
}

/* ---- one's own password ---- */

static void begin_password(struct web_context *w, const struct http_request *req,
                           const char *password, const char *fresh, struct http_response *ret)
{
    const char *why = access_password_fault(w->who.user, fresh);
    if (why) {
        fields_refuse(ret, "new", why);
        return;
    }
    int64_t wait_ms = access_try(w->access, &w->who, w->who.user);
    if (wait_ms > 0) {
        http_response_error(ret, 429, "too-many-logins", "too many tries: come again later");
        http_response_header(ret, "Retry-After", "%lld", (long long)wait_ms / 1000 + 1);
        return;
    }
    struct access_user u;
    struct err e;
    struct access_db *d = access_database(w->access, false, &e);
    int r = d ? access_user_get(d, w->who.user, &u, &e) : -ENOENT;
    if (r < 0) {
        refuse_login(ret);
        return;
    }
    struct access_hash_job job = {.password = password, .hash = u.hash, .fresh = fresh};
    (void)web_hash_begin(w, req, &job, ret); /* it has answered */
    explicit_bzero(&u, sizeof(u));
}

static void end_password(struct web_context *w, const struct http_request *req,
                         struct http_response *ret)
{
    char hash[PASSWD_HASH_MAX];
    struct err e;
    enum access_hash_state state = web_hash_outcome(w, req, hash, ret);
    if (state == ACCESS_HASH_WRONG) {
        access_audit(w->access, &w->who, ACCESS_EVENT_FAILURE, "password-failed", "%s", "");
        refuse_login(ret);
    }
    if (state != ACCESS_HASH_DONE)
        return;
    struct access_db *d = access_database(w->access, false, &e);
    int r = d ? access_user_change(d, w->who.user, ACCESS_NOBODY, hash, &e) : -ENOENT;
    if (r == 0) /* the old ones have ended, this one's too */
        r = access_begin_session(w->access, req, w->who.user, w->who.role, &w->who, ret, &e);
    if (r < 0) {
        web_answer_err(ret, r, &e);
        return;
    }
    access_tried_well(w->access, &w->who, w->who.user);
    access_audit(w->access, &w->who, ACCESS_EVENT_ENTRY, "user-password", "%s", w->who.user);
    answer_session(w, ret);
}

void web_password_post(struct web_context *w, const struct http_request *req,
                       const char *const captures[WEB_CAPTURES_MAX], struct http_response *ret)
{
    (void)captures;
    static const char *const known[] = {"password", "new", NULL};
    const char *password, *fresh;
    AUTO_FIELDS json_t *fields = NULL;
    if (!fields_read(req, known, &fields, ret) ||
        !fields_need(fields, "password", &password, ret) ||
        !fields_need(fields, "new", &fresh, ret))
        return;
    if (w->who.how != ACCESS_BY_SESSION)
        http_response_error(ret, 403, "not-allowed",
                            "only who has logged in with a password can change it");
    else if (strlen(password) > PASSWD_MAX)
        refuse_login(ret);
    else if (req->resumed)
        end_password(w, req, ret);
    else
        begin_password(w, req, password, fresh, ret);
}
