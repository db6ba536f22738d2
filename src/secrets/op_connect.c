#include "secrets/op_connect.h"

#include <errno.h>
#include <string.h>

#include "base/dynbuf.h"
#include "base/mem.h"
#include "base/text.h"
#include "secrets/secret_item.h"
#include "secrets/secret_path.h"
#include "sys/http_call.h"

/* An item holds some dozen fields, a list of a thousand items has 500 KB: this is no password
 * server's answer any more. */
#define ANSWER_MAX ((int64_t)2 << 20)
#define URL_MAX 4096 /* a title of 512 bytes, each escaped twice */
/* Distinct items that one configuration asks for; each costs up to two requests. */
#define ITEMS_MAX 256
#define AUTHORIZATION "Authorization: Bearer "
#define SAID_MAX 160 /* of what the server says of a refusal */

struct kept {
    struct kept *next;
    json_t *item; /* NULL = it is not there: */
    struct err error;
    char vault[SECRET_PATH_MAX]; /* id */
    char name[SECRET_PATH_MAX];
};

struct op_connect {
    struct http_client *http;
    char *host, *authorization, *vault;
    int64_t timeout_ms;
    struct mono_time end;
    json_t *vaults; /* of this token; NULL = not asked yet */
    struct kept *items;
    int item_count, requests;
    struct err away; /* code 0 = it answers */
};

static bool is_token(const char *s)
{
    for (; *s; s++)
        if (*s <= ' ' || *s > '~')
            return false;
    return true;
}

int op_connect_new(const struct op_connect_options *o, struct op_connect **ret, struct err *e)
{
    size_t len = strlen(o->host);

    if (!text_starts_with(o->host, "http://") && !text_starts_with(o->host, "https://"))
        return err_set(e, -EINVAL, ERR_NEVER,
                       "the address of Connect (OP_CONNECT_HOST) begins with http:// or https://");
    if (!*o->token)
        return err_set(e, -EINVAL, ERR_NEVER,
                       "there is no token for Connect: set OP_CONNECT_TOKEN, or put it into "
                       "/run/secrets/op_connect_token");
    if (!is_token(o->token))
        return err_set(e, -EINVAL, ERR_NEVER,
                       "the token for Connect (OP_CONNECT_TOKEN) holds blanks or other characters "
                       "that no token has");
    AUTO(op_connect) c = xcalloc(1, sizeof(*c));
    int r = http_client_new(o->stop_fd, &c->http, e);
    if (r < 0)
        return r;
    while (len > 0 && o->host[len - 1] == '/')
        len--;
    c->host = xstrndup(o->host, len);
    c->authorization = xasprintf(AUTHORIZATION "%s", o->token);
    c->vault = xstrdup(o->vault ? o->vault : "");
    c->timeout_ms = o->timeout_ms;
    c->end = mono_add_ms(clock_mono(), o->deadline_ms);
    *ret = STEAL(c);
    return 0;
}

void op_connect_free(struct op_connect *c)
{
    if (!c)
        return;
    http_client_free(c->http);
    json_decref(c->vaults);
    while (c->items) {
        struct kept *next = c->items->next;
        json_decref(c->items->item);
        free(c->items);
        c->items = next;
    }
    if (c->authorization)
        explicit_bzero(c->authorization, strlen(c->authorization));
    free(c->authorization);
    free(c->host);
    free(c->vault);
    free(c);
}

int op_connect_requests(const struct op_connect *c)
{
    return c->requests;
}

/* ---- requests ---- */

/* A server, or what stands before it, may quote what it was sent. */
static char *without_token(const struct op_connect *c, const char *text)
{
    const char *token = c->authorization + strlen(AUTHORIZATION);
    AUTO_DONE(dynbuf) out;

    dynbuf_init(&out, ANSWER_MAX);
    const char *at = strstr(text, token);
    while (at) {
        (void)dynbuf_append(&out, text, (size_t)(at - text)); /* full: cut */
        (void)dynbuf_puts(&out, "***");
        text = at + strlen(token);
        at = strstr(text, token);
    }
    (void)dynbuf_puts(&out, text);
    return xstrdup(dynbuf_str(&out));
}

/* What the server says in JSON, quoted; "" when it says nothing readable. */
static const char *said(const struct op_connect *c, const struct http_answer *a, char *buf,
                        size_t size)
{
    AUTO_JSON json_t *j = NULL;
    buf[0] = '\0';
    if (!a->body || js_parse((const char *)a->body->data, a->body->size, 64 << 10, &j, NULL) < 0)
        return buf;
    const char *text = json_string_value(json_object_get(j, "message"));
    if (!text || !*text)
        return buf;
    AUTO_FREE char *message = without_token(c, text);
    char shown[SAID_MAX];
    (void)text_format(
        buf, size, ": \"%s\"",
        text_printable(message, text_cut_length(message, SAID_MAX - 1), shown, sizeof(shown)));
    return buf;
}

/* A refusal in JSON is Connect's own; any other is a proxy's and says nothing about items. */
static int judge(const struct op_connect *c, const struct http_answer *a, struct err *e)
{
    char words[SAID_MAX + 8];
    bool own = *said(c, a, words, sizeof(words)) != '\0';

    if (a->status == 401)
        return err_set(e, -EKEYREJECTED, ERR_LATER,
                       "Connect does not accept the token (HTTP 401%s): make a new one for this "
                       "server, and set OP_CONNECT_TOKEN or /run/secrets/op_connect_token",
                       words);
    if (a->status == 403)
        return err_set(e, -EACCES, ERR_LATER,
                       "the token gives no access to this vault (HTTP 403%s): let it in, or name "
                       "another by OP_VAULT",
                       words);
    if (a->status == 404 && own)
        return err_set(e, -ENOENT, ERR_NEVER, "Connect has no such thing (HTTP 404%s)", words);
    if (a->status == 400 && own)
        return err_set(e, -EINVAL, ERR_NEVER, "Connect does not understand (HTTP 400%s)", words);
    return err_set(e, -EPROTO, ERR_LATER, "HTTP %ld%s%s", a->status, words,
                   own ? "" : ": no answer of Connect's: is OP_CONNECT_HOST its address?");
}

static int call(struct op_connect *c, const char *path, json_t **ret, struct err *e)
{
    char url[URL_MAX];
    const char *const headers[] = {c->authorization, "Accept: application/json", NULL};
    AUTO_DONE(http_answer) a = {0};
    int left_ms = mono_until_ms(c->end);

    if (left_ms == 0)
        return err_set(e, -ETIMEDOUT, ERR_LATER, "there is no time left to ask for more");
    if (text_format(url, sizeof(url), "%s%s", c->host, path) < 0)
        return err_set(e, -ENAMETOOLONG, ERR_NEVER, "the name is too long");
    const struct httpc_request req = {.url = url,
                                      .headers = headers,
                                      .connect_timeout_ms = c->timeout_ms,
                                      .total_timeout_ms = MIN(c->timeout_ms, (int64_t)left_ms),
                                      .size_max = ANSWER_MAX};
    c->requests++;
    int r = http_call(c->http, &req, NULL, &a, NULL, e);
    if (r < 0) {
        if (e && e->retry == ERR_NEVER)
            e->retry = ERR_LATER; /* of the network or the address, not of what is asked for */
        return r;
    }
    if (a.status != 200)
        return judge(c, &a, e);
    if (!a.body || js_parse((const char *)a.body->data, a.body->size, ANSWER_MAX, ret, NULL) < 0)
        return err_set(e, -EPROTO, ERR_LATER,
                       "the answer is no JSON: is OP_CONNECT_HOST the address of Connect?");
    return 0;
}

/* With the memory of a Connect that is away. */
static int ask(struct op_connect *c, const char *path, json_t **ret, struct err *e)
{
    struct err own = {0};

    if (c->away.code < 0) {
        if (e)
            *e = c->away;
        return c->away.code;
    }
    int r = call(c, path, ret, &own);
    if (r < 0 && own.retry != ERR_NEVER && r != -EACCES) { /* one vault of several may be closed */
        char shown[HTTPC_TEXT_MAX];
        own.retry = ERR_LATER;
        (void)err_prefix(&own, "1Password Connect at %s",
                         httpc_show_url(c->host, shown, sizeof(shown)));
        c->away = own;
    }
    if (r < 0 && e)
        *e = own;
    return r;
}

/* ---- vaults ---- */

static const char *text_of(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));
    return s ? s : "";
}

static int list_vaults(struct op_connect *c, struct err *e)
{
    json_t *list = NULL;
    size_t i;
    const json_t *v;

    if (c->vaults)
        return 0;
    int r = ask(c, "/v1/vaults", &list, e);
    if (r < 0)
        return r;
    bool good = json_is_array(list);
    json_array_foreach(list, i, v) good = good && *text_of(v, "id");
    if (!good) {
        json_decref(list);
        return err_set(e, -EPROTO, ERR_LATER, "Connect's list of vaults is none");
    }
    c->vaults = list;
    return 0;
}

static int say_no_vault(const struct op_connect *c, const char *name, int found, struct err *e)
{
    struct secret_list l = {0};
    size_t i;
    const json_t *v;

    json_array_foreach(c->vaults, i, v)
        secret_list_add(&l, *text_of(v, "name") ? text_of(v, "name") : text_of(v, "id"));
    if (json_array_size(c->vaults) == 0)
        return err_set(e, -ENOENT, ERR_NEVER, "the token lets into no vault: grant it one");
    if (!*name)
        return err_set(e, -ENOENT, ERR_NEVER,
                       "which vault? Set OP_VAULT to the id or name of one of: %s",
                       secret_list_text(&l));
    if (found > 1)
        return err_set(e, -EEXIST, ERR_NEVER, "%d vaults are called \"%s\": give the id", found,
                       name);
    return err_set(e, -ENOENT, ERR_NEVER, "there is no vault \"%s\" for this token; there are: %s",
                   name, secret_list_text(&l));
}

/* The id of a vault. The predecessor takes the only visible one whatever OP_VAULT says; a reference
 * names its vault, and means that. */
static int find_vault(struct op_connect *c, const char *wanted, const char **ret, struct err *e)
{
    const char *name = wanted ? wanted : c->vault;
    int r = list_vaults(c, e), found = 0;
    size_t i;
    const json_t *v;

    if (r < 0)
        return r;
    if (!wanted && json_array_size(c->vaults) == 1) {
        *ret = text_of(json_array_get(c->vaults, 0), "id");
        return 0;
    }
    json_array_foreach(c->vaults, i, v)
    {
        if (strcmp(text_of(v, "id"), name) == 0) {
            *ret = text_of(v, "id");
            return 0;
        }
        if (*name && strcmp(text_of(v, "name"), name) == 0 && found++ == 0)
            *ret = text_of(v, "id");
    }
    return found == 1 ? 0 : say_no_vault(c, name, found, e);
}

/* ---- items ---- */

/* A title within the filter's quotes, and all of it within a query. */
static void put_filter(struct dynbuf *path, const char *title)
{
    AUTO_DONE(dynbuf) filter;

    dynbuf_init(&filter, URL_MAX);
    (void)dynbuf_puts(&filter, "title eq \"");
    for (; *title; title++)
        (void)dynbuf_printf(&filter, *title == '"' || *title == '\\' ? "\\%c" : "%c", *title);
    (void)dynbuf_puts(&filter, "\"");
    (void)dynbuf_puts(path, "?filter=");
    (void)httpc_escape(path, dynbuf_str(&filter), filter.len); /* the caller sees path->failed */
}

static int list_items(struct op_connect *c, const char *vault, const char *title, json_t **ret,
                      struct err *e)
{
    AUTO_DONE(dynbuf) path;

    dynbuf_init(&path, URL_MAX / 2);
    (void)dynbuf_puts(&path, "/v1/vaults/");
    (void)httpc_escape(&path, vault, strlen(vault)); /* likewise */
    (void)dynbuf_puts(&path, "/items");
    if (title)
        put_filter(&path, title);
    if (path.failed)
        return err_set(e, -ENAMETOOLONG, ERR_NEVER, "the name is too long");
    int r = ask(c, dynbuf_str(&path), ret, e);
    if (r == 0 && !json_is_array(*ret)) {
        json_decref(*ret);
        *ret = NULL;
        return err_set(e, -EPROTO, ERR_LATER, "Connect's list of items is none");
    }
    return r;
}

static int say_no_item(struct op_connect *c, const char *vault, const char *name, struct err *e)
{
    AUTO_JSON json_t *all = NULL;
    struct secret_list l = {0};
    size_t i;
    const json_t *v;

    int r = list_items(c, vault, NULL, &all, e);
    if (r < 0 && e && e->retry != ERR_NEVER)
        return r;
    json_array_foreach(all, i, v) secret_list_add(&l, text_of(v, "title"));
    return err_set(e, -ENOENT, ERR_NEVER, "the vault has no item \"%s\"; its items: %s", name,
                   secret_list_text(&l));
}

/* The id of the only item of this title. Whether a filter is about case or knows how a quote is
 * escaped is the server's business: what counts is compared here. */
static int find_item(struct op_connect *c, const char *vault, const char *title, char *ret,
                     size_t size, struct err *e)
{
    AUTO_JSON json_t *list = NULL;
    size_t i;
    const json_t *v;
    int found = 0;

    int r = list_items(c, vault, title, &list, e);
    if (r == -EINVAL)
        r = list_items(c, vault, NULL, &list, e);
    if (r < 0)
        return r;
    json_array_foreach(list, i, v) if (strcmp(text_of(v, "title"), title) == 0 &&
                                       found++ == 0)(void) text_copy(ret, size, text_of(v, "id"));
    if (found > 1)
        return err_set(e, -EEXIST, ERR_NEVER,
                       "%d items of the vault are called \"%s\": give the id of one", found, title);
    return found == 1 && *ret ? 0 : say_no_item(c, vault, title, e);
}

static int fetch_item(struct op_connect *c, const char *vault, const char *name, json_t **ret,
                      struct err *e)
{
    char id[SECRET_PATH_MAX] = "";

    if (secret_is_id(name))
        (void)text_copy(id, sizeof(id), name); /* fits */
    else {
        int r = find_item(c, vault, name, id, sizeof(id), e);
        if (r < 0)
            return r;
    }
    AUTO_DONE(dynbuf) path;
    dynbuf_init(&path, URL_MAX / 2);
    (void)dynbuf_puts(&path, "/v1/vaults/");
    (void)httpc_escape(&path, vault, strlen(vault));
    (void)dynbuf_puts(&path, "/items/");
    (void)httpc_escape(&path, id, strlen(id));
    if (path.failed)
        return err_set(e, -ENAMETOOLONG, ERR_NEVER, "the name is too long");
    int r = ask(c, dynbuf_str(&path), ret, e);
    if (r == -ENOENT)
        return say_no_item(c, vault, name, e);
    if (r == 0 && !json_is_object(*ret)) {
        json_decref(*ret);
        *ret = NULL;
        return err_set(e, -EPROTO, ERR_LATER, "Connect's item is none");
    }
    return r;
}

static struct kept *keep(struct op_connect *c, const char *vault, const char *name)
{
    struct kept *k = xcalloc(1, sizeof(*k));

    (void)text_copy(k->vault, sizeof(k->vault), vault); /* both were of this length before */
    (void)text_copy(k->name, sizeof(k->name), name);
    k->next = c->items;
    c->items = k;
    c->item_count++;
    return k;
}

int op_connect_item(struct op_connect *c, const char *vault, const char *item, const json_t **ret,
                    struct err *e)
{
    const char *id = NULL;
    int r = find_vault(c, vault, &id, e);

    if (r < 0)
        return r;
    struct kept *k = c->items;
    while (k && (strcmp(k->vault, id) != 0 || strcmp(k->name, item) != 0))
        k = k->next;
    if (!k) {
        if (c->item_count == ITEMS_MAX)
            return err_set(e, -E2BIG, ERR_NEVER, "more than %d items are asked for", ITEMS_MAX);
        k = keep(c, id, item);
        (void)fetch_item(c, id, item, &k->item, &k->error); /* is in k->error */
    }
    if (!k->item) {
        if (e)
            *e = k->error;
        return k->error.code;
    }
    *ret = k->item;
    return 0;
}
