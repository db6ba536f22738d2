#include "app/config_json.h"

#include <string.h>

#include "base/text.h"

static const char *const origin_names[CFG_ORIGIN_COUNT] = {
    [CFG_FROM_DEFAULT] = "default",         [CFG_FROM_PATH] = "1password",
    [CFG_FROM_RETIRED] = "retired",         [CFG_FROM_FILE] = "file",
    [CFG_FROM_ENVIRONMENT] = "environment", [CFG_FROM_PREFIXED] = "environment",
    [CFG_FROM_SETTING] = "setting",
};

struct listing {
    json_t *sections;
    const struct cfg_section *section; /* of the last one */
    char instance[64];
    json_t *keys; /* borrowed: of the last one */
};

static void add(const struct cfg_shown *shown, void *arg);

json_t *config_json(const struct cfg *c)
{
    struct listing l = {.sections = json_array()};
    const char *path = cfg_path(c);
    if (cfg_each_shown(c, add, &l) < 0) {
        json_decref(l.sections);
        return NULL;
    }
    return json_pack("{s:o,s:o}", "file", path ? js_string(path) : json_null(), "sections",
                     l.sections);
}

static void begin_section(struct listing *l, const struct cfg_shown *shown)
{
    l->section = shown->section;
    text_copy(l->instance, sizeof(l->instance), shown->instance); /* names have 40 at most */
    l->keys = json_array();
    json_array_append_new(
        l->sections, json_pack("{s:s,s:o,s:o,s:o}", "name", shown->section->name, "instance",
                               shown->section->named ? js_string(shown->instance) : json_null(),
                               "help", js_string(shown->section->help), "keys", l->keys));
}

static void add(const struct cfg_shown *shown, void *arg)
{
    struct listing *l = arg;
    const struct cfg_key *key = shown->key;
    if (shown->section != l->section || strcmp(shown->instance, l->instance) != 0)
        begin_section(l, shown);
    bool secret = key->type == CFG_SECRET || (key->flags & CFG_HIDDEN) != 0;
    json_array_append_new(
        l->keys,
        json_pack("{s:o,s:o,s:o,s:s,s:o,s:b,s:b,s:o,s:o}", "name", js_string(shown->name), "value",
                  js_string(shown->value), "default", js_string(key->fallback ? key->fallback : ""),
                  "origin", origin_names[shown->origin], "source",
                  shown->source[0] ? js_string(shown->source) : json_null(), "secret", secret,
                  "reload", (key->flags & CFG_RELOAD) != 0, "unit",
                  key->unit ? js_string(key->unit) : json_null(), "help", js_string(key->help)));
}
