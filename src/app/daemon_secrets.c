#include "app/daemon_secrets.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "app/references.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/text.h"

static struct metric wanted = {.name = "snapshotd_secrets",
                               .kind = METRIC_GAUGE,
                               .label = "from",
                               .help =
                                   "Values from 1Password in force: asked for (connect), or the "
                                   "last good ones (cache)"};
static struct metric flag_now = {.name = "snapshotd_feature_flag",
                                 .kind = METRIC_GAUGE,
                                 .label = "flag",
                                 .help = "Feature flags that 1Password decides: 1 = true"};

/* ---- secrets ---- */

static void age_of(const struct secrets_report *r, char ret[TEXT_SPAN_MAX])
{
    double age_s = (double)(clock_wall().us - r->oldest.us) / 1e6;
    (void)text_span(MAX(age_s, 0.0), ret);
}

void daemon_secrets_register_metrics(void)
{
    metric_register(&wanted);
    metric_register(&flag_now);
    flags_register_metrics();
}

void daemon_secrets_report(struct daemon *d)
{
    const struct secrets_report *r = &d->config->secrets;
    char age[TEXT_SPAN_MAX];

    pthread_mutex_lock(&d->secrets_lock);
    d->secrets = *r;
    pthread_mutex_unlock(&d->secrets_lock);
    daemon_secrets_register_metrics();
    metric_set(&wanted, "connect", r->answered);
    metric_set(&wanted, "cache", r->cached);
    if (!r->used)
        return;
    age_of(r, age);
    if (*r->cache_trouble)
        log_warn("secrets-cache", "%s", r->cache_trouble);
    if (r->cached)
        log_warn("secrets-cached", "%s; %d of %d values are the last good ones, up to %s old",
                 r->trouble, r->cached, r->wishes, age);
    else if (*r->trouble)
        log_warn("secrets-away", "%s", r->trouble);
    else
        log_info("secrets", "1Password has answered: %d of %d values, by %d requests", r->answered,
                 r->wishes, r->requests);
}

void daemon_secrets_attention(struct daemon *d, char ret[ERR_TEXT_MAX])
{
    char age[TEXT_SPAN_MAX];

    pthread_mutex_lock(&d->secrets_lock);
    struct secrets_report r = d->secrets;
    pthread_mutex_unlock(&d->secrets_lock);
    ret[0] = '\0';
    if (!r.cached)
        return;
    age_of(&r, age);
    (void)text_format(ret, ERR_TEXT_MAX,
                      "secrets: %d values are the last good ones, up to %s old; reload when "
                      "1Password is back: %s",
                      r.cached, age, r.trouble); /* cut */
}

/* ---- flags ---- */

static bool value_of(const struct cfg *c, const struct cfg_key *key)
{
    const char *values = cfg_values(c, app_config_flags());
    return *(const bool *)(values + key->offset);
}

static const struct cfg_key *row_of(enum feature_flag which)
{
    const struct cfg_section *s = app_config_flags();
    for (size_t k = 0; k < s->key_count; k++)
        if (strcmp(s->keys[k].name, flag_keys[which]) == 0)
            return &s->keys[k];
    abort(); /* each has a row */
}

/* A flag that something gives is not asked for. */
static bool is_watched(const struct cfg *c, const struct cfg_key *key)
{
    enum cfg_origin from = cfg_key_origin(c, app_config_flags(), NULL, key->name);
    return !(key->flags & CFG_LATER) && from <= CFG_FROM_PATH;
}

static bool fill_flags(const struct cfg *c, struct flags_options *o)
{
    bool any = false;

    for (int i = 0; i < FLAG_COUNT; i++) {
        const struct cfg_key *key = row_of((enum feature_flag)i);
        o->watched[i] = is_watched(c, key);
        any = any || o->watched[i];
        if (!o->watched[i])
            continue;
        o->value[i] = value_of(c, key);
        metric_set(&flag_now, flag_names[i], o->value[i]);
    }
    return any;
}

static int start_flags(struct daemon *d, struct err *e)
{
    const struct cfg *c = d->config->cfg;
    const struct secrets_config *v = cfg_values(c, &secrets_cfg_section);
    struct secrets_access access;
    struct flags_options o = {.interval_ms = v->flags_interval_ms};
    char folder[PATH_MAX];
    struct flags *flags = NULL;

    int r = references_options(c, &access, folder, sizeof(folder), &o.access, e);
    if (r < 0)
        return r == -ENOKEY ? 0 : r;
    if (!fill_flags(c, &o) || v->flags_interval_ms == 0)
        return 0;
    if (d->flags_fd < 0)
        d->flags_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    o.wake_fd = d->flags_fd;
    r = flags_start(&o, &flags, e);
    explicit_bzero(access.token_buf, sizeof(access.token_buf));
    if (r < 0)
        return r;
    pthread_mutex_lock(&d->secrets_lock);
    d->flags = flags;
    pthread_mutex_unlock(&d->secrets_lock);
    return 0;
}

void daemon_flags_start(struct daemon *d)
{
    struct err e = {0};
    if (start_flags(d, &e) < 0)
        log_error("flags-away", "feature flags stay as they are until the next start: %s", e.text);
}

void daemon_flags_stop(struct daemon *d)
{
    pthread_mutex_lock(&d->secrets_lock);
    struct flags *flags = STEAL(d->flags);
    pthread_mutex_unlock(&d->secrets_lock);
    flags_stop(flags);
}

static const char *word_of(bool value)
{
    return value ? "true" : "false";
}

/* So that a start without 1Password has it as well. */
static void remember(const struct cfg *c, const struct cfg_key *key, bool value)
{
    struct secrets_access access;
    struct secrets_options o;
    char folder[PATH_MAX];

    if (references_options(c, &access, folder, sizeof(folder), &o, NULL) < 0)
        return;
    secrets_remember(&o, key->path, word_of(value));
    explicit_bzero(access.token_buf, sizeof(access.token_buf));
}

static int change(struct daemon *d, enum feature_flag which, bool value, struct app_config **ret)
{
    const struct cfg_key *key = row_of(which);
    AUTO(cfg) c = NULL;
    AUTO_FREE char *faults = NULL;
    AUTO_FREE char *warnings = NULL;

    int r = cfg_override(d->config->cfg, app_config_flags(), key->name, word_of(value), &c);
    if (r == 0)
        r = app_config_resolve(c, ret, &faults, &warnings); /* warnings were given before */
    if (r < 0) {
        log_error("flag-failed", "feature flag %s stays as it was: %s", flag_names[which],
                  faults ? faults : "out of memory");
        return r;
    }
    (*ret)->secrets = d->config->secrets;
    return 0;
}

void daemon_flags_took(struct daemon *d, enum feature_flag which)
{
    const struct cfg_key *key = row_of(which);
    bool value = value_of(d->config->cfg, key);

    metric_set(&flag_now, flag_names[which], value); /* before anybody reads so in the log */
    log_notice("flag-changed", "feature flag %s: from %s to %s, says 1Password (%s)",
               flag_names[which], word_of(!value), word_of(value), key->path);
    remember(d->config->cfg, key, value);
}

bool daemon_flags_next(struct daemon *d, struct app_config **ret, enum feature_flag *ret_which)
{
    enum feature_flag which;
    uint64_t count;
    bool value;

    (void)!read(d->flags_fd, &count, sizeof(count)); /* only woken by it */
    while (d->flags && flags_take(d->flags, &which, &value))
        if (value_of(d->config->cfg, row_of(which)) != value && change(d, which, value, ret) == 0) {
            *ret_which = which;
            return true;
        }
    return false;
}

/* ---- what others see ---- */

static json_t *flags_json(const struct cfg *c)
{
    json_t *j = json_object();

    for (int i = 0; i < FLAG_COUNT; i++) {
        const struct cfg_key *key = row_of((enum feature_flag)i);
        if (key->flags & CFG_LATER)
            continue;
        enum cfg_origin from = cfg_key_origin(c, app_config_flags(), NULL, key->name);
        const char *words = from == CFG_FROM_DEFAULT ? "default"
                            : from == CFG_FROM_PATH  ? "1Password"
                                                     : "configuration";
        json_object_set_new(j, flag_names[i],
                            json_pack("{s:b,s:s}", "value", value_of(c, key), "from", words));
    }
    return j;
}

json_t *daemon_secrets_json(struct daemon *d)
{
    char trouble[ERR_TEXT_MAX] = "", oldest[WALL_ISO_MAX];

    pthread_mutex_lock(&d->secrets_lock);
    struct secrets_report r = d->secrets;
    bool watched = d->flags != NULL;
    if (watched)
        flags_trouble(d->flags, trouble);
    pthread_mutex_unlock(&d->secrets_lock);
    AUTO(settings) now = pipeline_settings(&d->pipeline);
    const struct app_config *c = now->owner;
    const char *state = !r.used ? "off" : r.cached ? "cached" : *r.trouble ? "away" : "ok";
    return json_pack("{s:s,s:i,s:i,s:i,s:o,s:o,s:o,s:o,s:b,s:o}", "state", state, "wanted",
                     r.wishes, "answered", r.answered, "cached", r.cached, "oldest",
                     r.cached ? json_string(wall_format_iso(r.oldest, false, oldest)) : json_null(),
                     "last_error", js_string(r.trouble), "cache_error", js_string(r.cache_trouble),
                     "flags", flags_json(c->cfg), "flags_watched", watched, "flags_error",
                     js_string(trouble));
}
