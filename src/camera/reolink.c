/* Reolink, "Camera HTTP API User Guide": user and password in the query, as long as the camera
 * takes them there. One that wants a login first (rspCode -6) gets it once: the token of cmd=Login
 * is kept for its lease, for each login takes one of a few sessions. */

#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "camera/camera_kind.h"
#include "camera/makers.h"
#include "sys/httpc.h"
#include "sys/json.h"

#define TOKEN_MAX 128
#define ANSWER_MAX 65536 /* of JSON; a login's has 300 bytes */
#define LEASE_S 3600     /* when the camera does not say */
#define LEASE_SPARE_S 60
#define PLEASE_LOGIN (-6)
#define REQUEST "/cgi-bin/api.cgi?cmd=Snap&channel={channel}&rs={random}"

enum step { STEP_QUERY, STEP_LOGIN, STEP_TOKEN };

struct memory {
    enum step step; /* what the request under way is */
    bool wants_token;
    bool logged_in; /* for this picture */
    char token[TOKEN_MAX];
    struct wall_time token_until;
};

static int request(const struct camera *cam, void *memory, struct wall_time now,
                   struct camera_request *ret, struct err *e);
static int answer(const struct camera *cam, void *memory, const struct camera_answer *a,
                  struct wall_time now, struct camera_request *ret_next,
                  enum camera_fault *ret_fault, struct err *e);

const struct camera_kind camera_kind_reolink = {
    .name = "reolink",
    .help = "Reolink: api.cgi, with the login in the query or by token; channels count from 0",
    .path = REQUEST "&user={user}&password={password}",
    .channel = "0",
    .memory_size = sizeof(struct memory),
    .validate = maker_validate,
    .request = request,
    .answer = answer,
};

static void request_login(const struct camera *cam, struct memory *m, struct camera_request *ret);
static int request_with_token(const struct camera *cam, struct memory *m, struct wall_time now,
                              struct camera_request *ret, struct err *e);
static int take_token(struct memory *m, const struct camera_answer *a, struct wall_time now,
                      struct err *e);

static int request(const struct camera *cam, void *memory, struct wall_time now,
                   struct camera_request *ret, struct err *e)
{
    struct memory *m = memory;
    int r = maker_validate(cam, e);
    if (r < 0)
        return r;
    m->logged_in = false;
    if (m->wants_token && m->token[0] && now.us < m->token_until.us)
        return request_with_token(cam, m, now, ret, e);
    if (m->wants_token) {
        request_login(cam, m, ret);
        return 0;
    }
    m->step = STEP_QUERY;
    return maker_request(cam, camera_kind_reolink.path, now, ret, e);
}

/* The rspCode of a failure, 0 when there is none. */
static int64_t failure_code(const struct camera_answer *a)
{
    AUTO_JSON json_t *j = NULL;
    if (a->size == 0 || *(const char *)a->body != '[' ||
        js_parse(a->body, a->size, ANSWER_MAX, &j, NULL) < 0)
        return 0;
    const json_t *error = json_object_get(json_array_get(j, 0), "error");
    return json_integer_value(json_object_get(error, "rspCode"));
}

static int answer(const struct camera *cam, void *memory, const struct camera_answer *a,
                  struct wall_time now, struct camera_request *ret_next,
                  enum camera_fault *ret_fault, struct err *e)
{
    struct memory *m = memory;
    if (m->step == STEP_LOGIN) {
        int r = camera_judge_message(cam, a, ret_fault, e);
        if (r < 0)
            return r;
        *ret_fault = CAMERA_FAULT_OTHER;
        r = take_token(m, a, now, e);
        if (r == 0)
            r = request_with_token(cam, m, now, ret_next, e);
        return r < 0 ? r : 1;
    }
    if (failure_code(a) != PLEASE_LOGIN || m->logged_in || !cam->user || !*cam->user)
        return 0;
    /* The token's lease was shorter than said, or the camera takes no login in the query. */
    m->wants_token = true;
    request_login(cam, m, ret_next);
    return 1;
}

static char *base_url(const struct camera *cam, const char *rest)
{
    return xasprintf("%s://%s%s", cam->tls ? "https" : "http", cam->address, rest);
}

static void request_login(const struct camera *cam, struct memory *m, struct camera_request *ret)
{
    m->step = STEP_LOGIN;
    m->logged_in = true;
    m->token[0] = '\0';
    AUTO_JSON json_t *user = json_object();
    json_object_set_new(user, "Version", json_string("0"));
    json_object_set_new(user, "userName", js_string(cam->user ? cam->user : ""));
    json_object_set_new(user, "password", js_string(cam->password ? cam->password : ""));
    AUTO_JSON json_t *command = json_object();
    json_object_set_new(command, "cmd", json_string("Login"));
    json_object_set_new(command, "action", json_integer(0));
    json_t *param = json_object();
    json_object_set(param, "User", user);
    json_object_set_new(command, "param", param);
    AUTO_JSON json_t *list = json_array();
    json_array_append(list, command);
    *ret = (struct camera_request){
        .url = base_url(cam, "/cgi-bin/api.cgi?cmd=Login"),
        .shown = base_url(cam, "/cgi-bin/api.cgi (login)"),
        .body = js_text(list),
        .content_type = "application/json",
        .auth = CAMERA_AUTH_NONE,
        .login_inside = true,
    };
}

static int request_with_token(const struct camera *cam, struct memory *m, struct wall_time now,
                              struct camera_request *ret, struct err *e)
{
    m->step = STEP_TOKEN;
    AUTO_DONE(dynbuf) path;
    dynbuf_init(&path, TEMPLATE_MAX);
    int r = dynbuf_puts(&path, cam->command && *cam->command ? cam->command : REQUEST);
    if (r == 0)
        r = dynbuf_puts(&path, "&token=");
    if (r == 0)
        r = httpc_escape(&path, m->token, strlen(m->token));
    if (r < 0)
        return err_set(e, -EINVAL, ERR_NEVER, "the request would be longer than %d bytes",
                       TEMPLATE_MAX);
    AUTO_FREE char *url =
        xasprintf("%s://{address}%s", cam->tls ? "https" : "http", dynbuf_str(&path));
    r = template_request(url, cam, camera_kind_reolink.channel, now, ret, e);
    if (r < 0)
        return r;
    ret->auth = CAMERA_AUTH_NONE;
    /* A refused token is no refused password. */
    ret->login_inside = m->logged_in;
    return 0;
}

static int take_token(struct memory *m, const struct camera_answer *a, struct wall_time now,
                      struct err *e)
{
    AUTO_JSON json_t *j = NULL;
    int r = js_parse(a->size ? a->body : "", a->size, ANSWER_MAX, &j, e);
    if (r < 0)
        return err_prefix(e, "the answer to the login");
    const json_t *token = json_object_get(json_object_get(json_array_get(j, 0), "value"), "Token");
    const char *name = json_string_value(json_object_get(token, "name"));
    if (!name || !*name || !text_copy(m->token, sizeof(m->token), name)) {
        m->token[0] = '\0';
        return err_set(e, -EPROTO, ERR_LATER, "the answer to the login holds no token");
    }
    json_int_t lease = json_integer_value(json_object_get(token, "leaseTime"));
    if (lease <= 0 || lease > 30 * 86400)
        lease = LEASE_S;
    m->token_until.us = now.us + (int64_t)MAX(lease - LEASE_SPARE_S, (json_int_t)0) * 1000000;
    return 0;
}
