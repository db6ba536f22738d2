/* Users, for admins. `snapshotd user` does the same without the daemon. */

#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "web/access_json.h"
#include "web/fields.h"
#include "web/routes.h"
#include "web/snapshot_json.h"

void web_answer_access_err(struct http_response *ret, int code, const struct err *e)
{
    if (code == -ENOENT)
        http_response_error(ret, 404, "unknown", "%s", e->text);
    else if (code == -EEXIST)
        http_response_error(ret, 409, "exists", "%s", e->text);
    else if (code == -EPERM)
        http_response_error(ret, 409, "last-admin", "%s", e->text);
    else if (code == -ENOSPC && e->retry == ERR_NEVER)
        http_response_error(ret, 409, "too-many", "%s", e->text);
    else
        web_answer_err(ret, code, e);
}

void web_users_get(struct web_context *w, const struct http_request *req,
                   const char *const captures[WEB_CAPTURES_MAX], struct http_response *ret)
{
    (void)req;
    (void)captures;
    AUTO_FREE struct access_user *users = xcalloc(ACCESS_USERS_MAX, sizeof(*users));
    struct err e;
    struct access_db *d = access_database(w->access, false, &e);
    int count = d ? access_user_list(d, users, ACCESS_USERS_MAX, &e) : e.code;
    if (count < 0) {
        web_answer_err(ret, count, &e);
        return;
    }
    json_t *list = json_array();
    for (int i = 0; i < count; i++)
        json_array_append_new(list, access_user_json(&users[i]));
    AUTO_JSON json_t *document = json_pack("{s:o}", "users", list);
    web_answer_json(ret, 200, document);
}

static void answer_user(struct access_db *d, const char *name, int status,
                        struct http_response *ret)
{
    struct access_user u;
    struct err e;
    err_clear(&e);
    int r = access_user_get(d, name, &u, &e);
    AUTO_JSON json_t *document = r == 0 ? access_user_json(&u) : NULL;
    if (r < 0)
        web_answer_access_err(ret, r, &e);
    else
        web_answer_json(ret, status, document);
}

/* What both ways to write a user take. */
struct wish {
    const char *name;
    enum access_role role; /* ACCESS_NOBODY: not given */
    const char *password;  /* NULL: not given */
};

static bool read_wish(const json_t *fields, struct wish *wish, struct http_response *ret)
{
    const char *role;
    if (!fields_text(fields, "role", &role, ret) ||
        !fields_text(fields, "password", &wish->password, ret))
        return false;
    wish->role = role ? access_role_find(role) : ACCESS_NOBODY;
    if (role && wish->role == ACCESS_NOBODY) {
        fields_refuse(ret, "role", "viewer or admin");
        return false;
    }
    const char *why = wish->password ? access_password_fault(wish->name, wish->password) : NULL;
    if (why)
        fields_refuse(ret, "password", why);
    return !why;
}

static void add_user(struct web_context *w, const struct wish *wish, const char *hash,
                     struct http_response *ret)
{
    struct err e;
    struct access_db *d = access_database(w->access, true, &e);
    int r = d ? access_user_add(d, wish->name, wish->role, hash, &e) : e.code;
    if (r < 0) {
        web_answer_access_err(ret, r, &e);
        return;
    }
    access_audit(w->access, &w->who, ACCESS_EVENT_ENTRY, "user-add", "%s as %s", wish->name,
                 access_role_names[wish->role]);
    answer_user(d, wish->name, 201, ret);
}

void web_users_post(struct web_context *w, const struct http_request *req,
                    const char *const captures[WEB_CAPTURES_MAX], struct http_response *ret)
{
    (void)captures;
    static const char *const known[] = {"name", "role", "password", NULL};
    AUTO_FIELDS json_t *fields = NULL;
    struct wish wish = {.name = NULL};
    if (!fields_read(req, known, &fields, ret) || !fields_need(fields, "name", &wish.name, ret) ||
        !read_wish(fields, &wish, ret))
        return;
    if (!w->access)
        http_response_error(ret, 503, "no-users", "this server keeps no users");
    else if (!access_name_valid(wish.name))
        fields_refuse(ret, "name", "1 to 64 letters, digits and . _ @ -");
    else if (!wish.password)
        fields_refuse(ret, "password", "at least 10 characters");
    else if (wish.role == ACCESS_NOBODY)
        fields_refuse(ret, "role", "viewer or admin");
    else if (!req->resumed)
        (void)web_hash_begin(w, req, &(struct access_hash_job){.fresh = wish.password}, ret);
    else {
        char hash[PASSWD_HASH_MAX];
        if (web_hash_outcome(w, req, hash, ret) == ACCESS_HASH_DONE)
            add_user(w, &wish, hash, ret);
    }
}

static void change_user(struct web_context *w, const struct wish *wish, const char *hash,
                        struct http_response *ret)
{
    struct err e;
    struct access_db *d = access_database(w->access, false, &e);
    if (!d && !e.code)
        (void)err_set(&e, -ENOENT, ERR_NEVER, "there is no user '%s'", wish->name);
    int r = d ? access_user_change(d, wish->name, wish->role, hash, &e) : e.code;
    if (r < 0) {
        web_answer_access_err(ret, r, &e);
        return;
    }
    if (hash)
        access_audit(w->access, &w->who, ACCESS_EVENT_ENTRY, "user-password", "%s", wish->name);
    if (wish->role != ACCESS_NOBODY)
        access_audit(w->access, &w->who, ACCESS_EVENT_ENTRY, "user-role", "%s as %s", wish->name,
                     access_role_names[wish->role]);
    answer_user(d, wish->name, 200, ret);
}

void web_user_post(struct web_context *w, const struct http_request *req,
                   const char *const captures[WEB_CAPTURES_MAX], struct http_response *ret)
{
    static const char *const known[] = {"role", "password", NULL};
    AUTO_FIELDS json_t *fields = NULL;
    struct wish wish = {.name = captures[0]};
    if (!fields_read(req, known, &fields, ret) || !read_wish(fields, &wish, ret))
        return;
    if (!wish.password) {
        change_user(w, &wish, NULL, ret);
        return;
    }
    if (!w->access) {
        http_response_error(ret, 503, "no-users", "this server keeps no users");
    } else if (!req->resumed) {
        (void)web_hash_begin(w, req, &(struct access_hash_job){.fresh = wish.password}, ret);
    } else {
        char hash[PASSWD_HASH_MAX];
        if (web_hash_outcome(w, req, hash, ret) == ACCESS_HASH_DONE)
            change_user(w, &wish, hash, ret);
    }
}

void web_user_delete(struct web_context *w, const struct http_request *req,
                     const char *const captures[WEB_CAPTURES_MAX], struct http_response *ret)
{
    (void)req;
    struct err e;
    struct access_db *d = access_database(w->access, false, &e);
    if (!d && !e.code)
        (void)err_set(&e, -ENOENT, ERR_NEVER, "there is no user");
    int r = d ? access_user_remove(d, captures[0], &e) : e.code;
    if (r < 0) {
        web_answer_access_err(ret, r, &e);
        return;
    }
    access_audit(w->access, &w->who, ACCESS_EVENT_ENTRY, "user-remove", "%s", captures[0]);
    AUTO_JSON json_t *document = json_pack("{s:o}", "removed", js_string(captures[0]));
    web_answer_json(ret, 200, document);
}
