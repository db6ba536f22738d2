#include "secrets/secrets.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "base/dynbuf.h"
#include "base/mem.h"
#include "base/text.h"
#include "secrets/op_connect.h"
#include "secrets/secret_cache.h"
#include "secrets/secret_item.h"
#include "secrets/secret_path.h"

#define APP_NAME "__APP_NAME__"
#define CACHE_NAME_MAX (SECRET_PATH_MAX + 1024)

/* Cached values belong to a server and vault: another's are asked for anew. */
static void cache_name(const struct secrets_options *o, const char *path, char ret[CACHE_NAME_MAX])
{
    (void)text_format(ret, CACHE_NAME_MAX, "%s %s %s", path, o->host, o->vault); /* cut, still told
                                                                                    apart by path */
}

/* A copy with the placeholder, in either case, replaced. */
static char *put_app_name(const char *path, const char *name)
{
    AUTO_DONE(dynbuf) out;

    dynbuf_init(&out, 4 * SECRET_PATH_MAX);
    while (*path) {
        if (strncasecmp(path, APP_NAME, strlen(APP_NAME)) == 0) {
            (void)dynbuf_puts(&out, name);
            path += strlen(APP_NAME);
        } else {
            (void)dynbuf_append(&out, path++, 1);
        }
    }
    return xstrdup(dynbuf_str(&out));
}

static int look_up(struct op_connect *c, const char *path, char **ret, struct err *e)
{
    struct secret_path p;
    const json_t *item = NULL;
    const char *value = NULL;

    int r = secret_path_parse(path, &p, e);
    if (r == 0)
        r = op_connect_item(c, p.vault, p.item, &item, e);
    if (r == 0)
        r = secret_item_value(item, &p, &value, e);
    if (r == 0)
        *ret = xstrdup(value);
    return r;
}

/* Some have a section that is called like the placeholder itself. */
static int ask_one(struct op_connect *c, const struct secrets_options *o, struct secrets_wish *w)
{
    AUTO_FREE char *path = put_app_name(w->path, o->app_name);
    struct err second = {0};
    int r = look_up(c, path, &w->value, &w->error);

    if (r == -ENOENT && strcmp(path, w->path) != 0 && look_up(c, w->path, &w->value, &second) == 0)
        r = 0;
    return r;
}

static void say_age(const struct secrets_options *o, struct wall_time at, struct err *e)
{
    char span[TEXT_SPAN_MAX], limit[TEXT_SPAN_MAX];

    (void)text_span((double)(clock_wall().us - at.us) / 1e6, span);
    (void)text_span((double)o->cache_max_age_ms / 1000, limit);
    (void)err_prefix(e, "the value in the secrets cache is %s old, more than cache_max_age, %s",
                     span, limit);
}

static void take_cached(const struct secrets_options *o, const struct secret_cache *cache,
                        struct secrets_wish *w, struct secrets_report *ret)
{
    char name[CACHE_NAME_MAX];
    struct wall_time at;

    cache_name(o, w->path, name);
    const char *value = secret_cache_get(cache, name, &at);
    if (!value) {
        if (*ret->cache_trouble)
            (void)err_prefix(&w->error, "%s", ret->cache_trouble);
        return;
    }
    /* A clock that is behind, as at a boot without a battery, makes nothing older. */
    if ((clock_wall().us - at.us) / 1000 > o->cache_max_age_ms) {
        say_age(o, at, &w->error);
        return;
    }
    w->value = xstrdup(value);
    w->cached = true;
    if (ret->cached++ == 0 || at.us < ret->oldest.us)
        ret->oldest = at;
}

static void ask_connect(const struct secrets_options *o, struct secrets_wish *list, size_t count,
                        struct secrets_report *ret)
{
    const struct op_connect_options co = {.host = o->host,
                                          .token = o->token,
                                          .vault = o->vault,
                                          .timeout_ms = o->timeout_ms,
                                          .deadline_ms = o->deadline_ms,
                                          .stop_fd = o->stop_fd};
    AUTO(op_connect) c = NULL;
    struct err e = {0};

    int r = op_connect_new(&co, &c, &e);
    if (r < 0)
        text_copy(ret->trouble, sizeof(ret->trouble), e.text); /* fits */
    for (size_t i = 0; i < count; i++) {
        struct secrets_wish *w = &list[i];
        if (r < 0)
            w->error = e;
        else if (ask_one(c, o, w) < 0 && w->error.retry != ERR_NEVER && !*ret->trouble)
            text_copy(ret->trouble, sizeof(ret->trouble), w->error.text); /* fits */
        ret->answered += w->value != NULL;
    }
    ret->requests = c ? op_connect_requests(c) : 0;
}

/* The daemon's threads each learn something now and then. */
static pthread_mutex_t remembering = PTHREAD_MUTEX_INITIALIZER;

/* Values that were not asked for this time go: whose reference was removed should not be kept.
 * Those of an outage stay. */
static void keep(const struct secrets_options *o, const struct secret_cache *old,
                 const struct secrets_wish *list, size_t count, struct secrets_report *ret)
{
    AUTO(secret_cache) next = secret_cache_new();
    char name[CACHE_NAME_MAX];
    struct err e = {0};

    for (size_t i = 0; i < count; i++) {
        struct wall_time at = clock_wall();
        cache_name(o, list[i].path, name);
        const char *value =
            list[i].cached || !list[i].value ? secret_cache_get(old, name, &at) : list[i].value;
        if (value && (list[i].value || list[i].error.retry != ERR_NEVER))
            secret_cache_put(next, name, value, at);
    }
    pthread_mutex_lock(&remembering);
    if (secret_cache_write(next, o->folder, o->credentials, &e) < 0)
        text_copy(ret->cache_trouble, sizeof(ret->cache_trouble), e.text); /* fits */
    pthread_mutex_unlock(&remembering);
}

void secrets_ask(const struct secrets_options *o, struct secrets_wish *list, size_t count,
                 struct secrets_report *ret)
{
    AUTO(secret_cache) cache = secret_cache_new();
    struct err e = {0};
    bool caches = o->cache_max_age_ms > 0;

    *ret = (struct secrets_report){.used = count > 0, .wishes = (int)count};
    if (count == 0)
        return;
    int r = caches ? secret_cache_read(cache, o->folder, o->credentials, &e) : -ENOENT;
    if (r < 0 && r != -ENOENT)
        text_copy(ret->cache_trouble, sizeof(ret->cache_trouble), e.text); /* fits */
    if (o->mode == SECRETS_ASK)
        ask_connect(o, list, count, ret);
    for (size_t i = 0; i < count && caches; i++)
        if (!list[i].value && (o->mode == SECRETS_CACHE || list[i].error.retry != ERR_NEVER))
            take_cached(o, cache, &list[i], ret);
    if (caches && o->keeps && ret->answered > 0)
        keep(o, cache, list, count, ret);
    if (!caches && o->keeps)
        secret_cache_remove(o->folder);
}

void secrets_remember(const struct secrets_options *o, const char *path, const char *value)
{
    AUTO(secret_cache) cache = secret_cache_new();
    char name[CACHE_NAME_MAX];

    if (o->cache_max_age_ms == 0)
        return;
    pthread_mutex_lock(&remembering);
    if (secret_cache_read(cache, o->folder, o->credentials, NULL) == 0) {
        cache_name(o, path, name);
        secret_cache_put(cache, name, value, clock_wall());
        (void)secret_cache_write(cache, o->folder, o->credentials, NULL); /* the next start asks */
    }
    pthread_mutex_unlock(&remembering);
}

void secrets_wish_done(struct secrets_wish *w)
{
    if (w->value)
        explicit_bzero(w->value, strlen(w->value));
    free(w->value);
    w->value = NULL;
}
