#include "app/client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/command.h"
#include "base/mem.h"
#include "base/text.h"
#include "sys/httpc.h"
#include "sys/httpd.h"
#include "web/access_db.h"
#include "web/web_config.h"

#define DEFAULT_URL "http://127.0.0.1:8080"
#define CONNECT_TIMEOUT_MS 5000 /* the daemon is on this machine, or nearly */
#define COMMAND_TOKEN_MS 60000  /* a command that dies leaves a token behind for so long */
#define ANSWER_MAX (16 << 20)   /* above the API's own limit */

static int take_url(const char *url, struct client *ret);
static int take_configuration(const struct app_options *o, struct client *ret);
static int take_listen(const char *listen, bool tls, struct client *ret);

bool client_options_take(struct client_options *o, int opt, const char *arg)
{
    if (opt == CLIENT_OPTION_URL) {
        o->url = arg;
        return true;
    }
    return app_options_take(&o->app, opt, arg);
}

int client_find(const struct client_options *o, struct client *ret)
{
    *ret = (struct client){0};
    if (o->url)
        return take_url(o->url, ret);
    return take_configuration(&o->app, ret);
}

static int take_url(const char *url, struct client *ret)
{
    if (!text_starts_with(url, "http://") && !text_starts_with(url, "https://"))
        return command_error(EXIT_USAGE, "--url %s: not an address: right would be " DEFAULT_URL,
                             url);
    if (!text_copy(ret->url, sizeof(ret->url), url))
        return command_error(EXIT_USAGE, "--url: longer than %d bytes", CLIENT_URL_MAX - 1);
    for (size_t len = strlen(ret->url); len > 0 && ret->url[len - 1] == '/'; len--)
        ret->url[len - 1] = '\0';
    return EXIT_DONE;
}

static int take_configuration(const struct app_options *o, struct client *ret)
{
    AUTO(app_config) config = NULL;
    AUTO_FREE char *faults = NULL;
    AUTO_FREE char *warnings = NULL;
    /* Where the daemon listens is all that is wanted: 1Password is not asked for that. */
    struct app_options lenient = *o;
    lenient.secrets = SECRETS_CACHE;
    if (app_options_load(&lenient, &config, &faults, &warnings) < 0) {
        const char *path = app_options_path(o);
        (void)command_error(
            EXIT_DONE,
            "%s cannot be used here (snapshotd check tells why), trying " DEFAULT_URL
            "; --url names another address",
            path ? path : "the configuration");
        text_copy(ret->url, sizeof(ret->url), DEFAULT_URL); /* fits */
        return EXIT_DONE;
    }
    const struct web_config *web = cfg_values(config->cfg, &web_cfg_section);
    if (!web->enabled)
        return command_error(EXIT_FAILED,
                             "the daemon cannot be asked: its API is switched off: set "
                             "enabled = yes in section [web]");
    (void)text_copy(ret->store, sizeof(ret->store), config->store_path); /* shown only */
    if (text_format(ret->access, sizeof(ret->access), "%s/" ACCESS_DB_NAME, config->app.data_dir) <
        0)
        ret->access[0] = '\0'; /* then it goes without */
    return take_listen(web->listen, *web->tls_cert_file, ret);
}

/* The address to listen on as one to connect to: "any" becomes this machine. */
static int take_listen(const char *listen, bool tls, struct client *ret)
{
    const char *scheme = tls ? "https://" : "http://";
    struct httpd_endpoint endpoint;
    struct err e;
    if (httpd_endpoint_parse(listen, &endpoint, &e) < 0)
        return command_error(EXIT_USAGE, "web.listen: %s", e.text);
    if (endpoint.port == 0)
        return command_error(EXIT_FAILED,
                             "the daemon took any free port (web.listen = %s): give the one that "
                             "its log says with --url http://127.0.0.1:PORT",
                             listen);
    if (text_starts_with(listen, "0.0.0.0:"))
        (void)text_format(ret->url, sizeof(ret->url), "%s127.0.0.1:%d", scheme, endpoint.port);
    else if (text_starts_with(listen, "[::]:"))
        (void)text_format(ret->url, sizeof(ret->url), "%s[::1]:%d", scheme, endpoint.port);
    else
        (void)text_format(ret->url, sizeof(ret->url), "%s%s", scheme, listen); /* checked */
    /* Its certificate is for the names that others use, and what listens there is our own. */
    ret->is_here = true;
    return EXIT_DONE;
}

void client_answer_done(struct client_answer *a)
{
    json_decref(a->document);
    *a = (struct client_answer){0};
}

static int call_with(const struct client *c, const char *method, const char *path,
                     const char *token, int64_t timeout_ms, struct client_answer *ret,
                     struct err *e)
{
    AUTO_DONE(dynbuf) url;
    dynbuf_init(&url, 4 * CLIENT_URL_MAX);
    if (dynbuf_printf(&url, "%s%s", c->url, path) < 0)
        return err_set(e, -ENAMETOOLONG, ERR_NEVER, "the name is too long");
    char header[ACCESS_SECRET_MAX + 64];
    bool fits =
        text_format(header, sizeof(header), "Authorization: Bearer %s", token ? token : "") > 0;
    const char *headers[] = {token && fits ? header : NULL, NULL};
    struct httpc_request request = {
        .method = method,
        .url = dynbuf_str(&url),
        .shown = c->url,
        .headers = headers,
        .connect_timeout_ms = CONNECT_TIMEOUT_MS,
        .total_timeout_ms = timeout_ms,
        .size_max = ANSWER_MAX,
        .tls_insecure = c->is_here,
    };
    struct httpc_reply reply = {0};
    int r = httpc_fetch(&request, &reply, e);
    if (r < 0) {
        err_prefix(e, "no daemon answers");
        size_t used = strlen(e->text);
        (void)text_format(e->text + used, sizeof(e->text) - used,
                          ": is 'snapshotd run' running there? --url names another address");
        return r;
    }
    json_t *document = NULL;
    if (reply.body)
        (void)js_parse((const char *)reply.body->data, reply.body->size, ANSWER_MAX, &document,
                       NULL); /* no document is the answer then */
    if (!document || !json_is_object(document)) {
        json_decref(document);
        r = err_set(e, -EPROTO, ERR_NEVER,
                    "what answers at %s is not snapshotd (HTTP %ld): --url names another address",
                    c->url, reply.status);
    } else {
        *ret = (struct client_answer){
            .status = reply.status, .document = document, .retry_after_s = reply.retry_after_s};
        r = 0;
    }
    httpc_reply_done(&reply);
    return r;
}

/* As the one who may write the daemon's files. */
static int call_by_files(const struct client *c, const char *method, const char *path,
                         int64_t timeout_ms, struct client_answer *ret, struct err *e)
{
    AUTO(access_db) d = NULL;
    struct access_token t = {.scopes = ACCESS_SCOPES_ALL};
    char text[ACCESS_SECRET_MAX];
    (void)text_copy(t.name, sizeof(t.name), "command"); /* fits */
    t.expires_at.us = clock_wall().us + (timeout_ms + COMMAND_TOKEN_MS) * 1000;
    int r = access_db_open(c->access, true, &d, e);
    if (r == 0)
        r = access_token_add(d, &t, text, e);
    if (r < 0)
        return r;
    r = call_with(c, method, path, text, timeout_ms, ret, e);
    struct err ignored;
    (void)access_token_remove(d, t.id, &ignored); /* it expires anyway */
    explicit_bzero(text, sizeof(text));
    return r;
}

int client_call(const struct client *c, const char *method, const char *path, int64_t timeout_ms,
                struct client_answer *ret, struct err *e)
{
    struct client_answer other;
    struct err why = {0};
    const char *token = getenv("SNAPSHOTD_TOKEN");
    int r = call_with(c, method, path, token && *token ? token : NULL, timeout_ms, ret, e);
    if (r < 0 || ret->status != 401 || !c->access[0] || (token && *token))
        return r;
    if (call_by_files(c, method, path, timeout_ms, &other, &why) < 0)
        return r; /* the 401 says what to do */
    client_answer_done(ret);
    *ret = other;
    return r;
}

static void tame(json_t *j)
{
    const char *key;
    json_t *member;
    size_t i;
    if (json_is_object(j)) {
        json_object_foreach(j, key, member) tame(member);
    } else if (json_is_array(j)) {
        json_array_foreach(j, i, member) tame(member);
    } else if (json_is_string(j)) {
        AUTO_FREE char *text = xstrdup(json_string_value(j));
        for (char *p = text; *p; p++)
            if ((unsigned char)*p < 0x20 || *p == 0x7f)
                *p = '?';
        json_string_set(j, text);
    }
}

void client_answer_tame(struct client_answer *a)
{
    tame(a->document);
}

const char *client_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

const char *client_error_text(const struct client_answer *a)
{
    const json_t *error = json_object_get(a->document, "error");
    const char *text = json_string_value(json_object_get(error, "message"));
    return text && text[0] ? text : "no reason given";
}
