#include "storage/registry.h"

#include <assert.h>
#include <string.h>

#include "base/macros.h"
#include "base/text.h"
#include "storage/directory.h"
#include "storage/gdrive.h"
#include "storage/s3.h"

/* One line per kind. */
static const struct storage_kind *const all[] = {
    &directory_storage,
    &gdrive_storage,
    &s3_storage,
    NULL,
};

const struct storage_kind *const *storage_kinds(void)
{
    for (size_t i = 0; all[i]; i++) {
        assert(all[i]->kind && all[i]->section && all[i]->open);
        for (size_t k = 0; k < i; k++)
            assert(strcmp(all[k]->kind, all[i]->kind) != 0);
    }
    return all;
}

static size_t add_plan(const struct storage_kind *kind, const struct cfg *cfg, const void *values,
                       const char *instance, struct storage_plan *ret)
{
    const struct storage_common *common =
        (const struct storage_common *)((const char *)values + kind->common_offset);
    if (!common->enabled || (kind->configured && !kind->configured(cfg, values)))
        return 0;
    *ret = (struct storage_plan){.kind = kind,
                                 .values = values,
                                 .instance = instance,
                                 .common = common,
                                 .rule = storage_common_rule(common, NULL)};
    if (instance)
        (void)text_format(ret->name, sizeof(ret->name), "%s:%s", kind->kind, instance); /* cut */
    else
        (void)text_copy(ret->name, sizeof(ret->name), kind->kind); /* fits */
    return 1;
}

size_t storage_plans(const struct storage_kind *const *kinds, const struct cfg *cfg,
                     struct storage_plan *ret, size_t max)
{
    size_t count = 0;
    if (!kinds)
        kinds = storage_kinds();
    for (size_t i = 0; kinds[i] && count < max; i++) {
        const struct cfg_section *section = kinds[i]->section;
        if (!section->named) {
            count += add_plan(kinds[i], cfg, cfg_values(cfg, section), NULL, &ret[count]);
            continue;
        }
        size_t instances = cfg_instance_count(cfg, section);
        for (size_t k = 0; k < instances && count < max; k++)
            count += add_plan(kinds[i], cfg, cfg_instance_values(cfg, section, k),
                              cfg_instance_name(cfg, section, k), &ret[count]);
    }
    return count;
}

int storage_open_all(const struct storage_plan *plans, size_t count, const struct cfg *cfg,
                     const char *data_dir, struct storage **ret, struct err *e)
{
    memset(ret, 0, (count + 1) * sizeof(struct storage *));
    for (size_t i = 0; i < count; i++) {
        struct storage_open_options o = {.cfg = cfg,
                                         .values = plans[i].values,
                                         .instance = plans[i].instance,
                                         .name = plans[i].name,
                                         .data_dir = data_dir};
        int r = plans[i].kind->open(&o, &ret[i], e);
        if (r < 0) {
            ret[i] = NULL;
            storage_close_all(ret);
            return err_prefix(e, "storage %s", plans[i].name), r;
        }
        assert(ret[i]->ops->session_new && ret[i]->ops->reserve && ret[i]->ops->put &&
               ret[i]->ops->describe && ret[i]->ops->free);
    }
    return 0;
}

void storage_close_all(struct storage **list)
{
    for (size_t i = 0; list[i]; i++) {
        list[i]->ops->free(list[i]);
        list[i] = NULL;
    }
}
