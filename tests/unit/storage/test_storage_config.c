/* The keys that all storages have, and how those of a configuration are found and opened. */

#include "../test.h"

#include <errno.h>

#include "base/mem.h"
#include "storage/registry.h"

struct shelf_config {
    const char *where;
    struct storage_common common;
};
static const struct cfg_key shelf_keys[] = {
    {.name = "where",
     .type = CFG_STRING,
     .offset = offsetof(struct shelf_config, where),
     .help = "Which shelf"},
    STORAGE_COMMON_KEYS(struct shelf_config),
};
static const struct cfg_section shelf_section = {.name = "shelf",
                                                 .named = true,
                                                 .struct_size = sizeof(struct shelf_config),
                                                 .keys = shelf_keys,
                                                 .key_count = ARRAY_LEN(shelf_keys),
                                                 .help = "A shelf."};
static const struct cfg_section drawer_section = {.name = "drawer",
                                                  .struct_size = sizeof(struct shelf_config),
                                                  .keys = shelf_keys,
                                                  .key_count = ARRAY_LEN(shelf_keys),
                                                  .help = "The drawer."};
static const struct cfg_section *const sections[] = {&shelf_section, &drawer_section, NULL};
static const struct cfg_schema schema = {.sections = sections};

static int opened;

static int session_new(struct storage *s UNUSED, int stop_fd UNUSED,
                       const struct storage_memory *memory UNUSED,
                       struct storage_session **ret UNUSED, struct err *e)
{
    return err_set(e, -ENOSYS, ERR_NEVER, "no sessions here");
}
static int reserve(struct storage_session *w UNUSED, const struct storage_object *objects UNUSED,
                   struct storage_mark *marks UNUSED, int count UNUSED,
                   struct storage_failure *f UNUSED, struct err *e UNUSED)
{
    return 0;
}
static int put(struct storage_session *w UNUSED, const struct storage_object *o UNUSED,
               struct storage_mark *mark UNUSED,
               int (*save)(void *arg, const struct storage_mark *mark, struct err *e) UNUSED,
               void *arg UNUSED, struct storage_failure *f UNUSED, struct err *e UNUSED)
{
    return 0;
}
static void describe(struct storage *s UNUSED, struct storage_state *ret UNUSED)
{
}
static void shelf_free(struct storage *s)
{
    opened--;
    free(s);
}
static const struct storage_ops shelf_ops = {.kind = "shelf",
                                             .session_new = session_new,
                                             .reserve = reserve,
                                             .put = put,
                                             .describe = describe,
                                             .free = shelf_free};

static bool has_place(const struct cfg *cfg UNUSED, const void *values)
{
    return *((const struct shelf_config *)values)->where;
}

static int shelf_open(const struct storage_open_options *o, struct storage **ret, struct err *e)
{
    const struct shelf_config *c = o->values;
    if (strcmp(c->where, "nowhere") == 0)
        return err_set(e, -EINVAL, ERR_NEVER, "there is no shelf nowhere");
    struct storage *s = xcalloc(1, sizeof(*s));
    *s = (struct storage){.ops = &shelf_ops, .name = o->name};
    opened++;
    *ret = s;
    return 0;
}

static const struct storage_kind shelf_kind = {.kind = "shelf",
                                               .section = &shelf_section,
                                               .common_offset =
                                                   offsetof(struct shelf_config, common),
                                               .open = shelf_open};
static const struct storage_kind drawer_kind = {.kind = "drawer",
                                                .section = &drawer_section,
                                                .common_offset =
                                                    offsetof(struct shelf_config, common),
                                                .configured = has_place,
                                                .open = shelf_open};
static const struct storage_kind *const kinds[] = {&drawer_kind, &shelf_kind, NULL};

static struct cfg *load(const char *text)
{
    struct cfg *c = NULL;
    char *faults = NULL, *warnings = NULL;
    struct cfg_source source = {.text = text, .path = "test"};
    int r = cfg_load(&schema, &source, &c, &faults, &warnings);
    if (r < 0)
        CASE_FAILS("%s", faults);
    free(warnings);
    return c;
}

static void reads_the_common_keys(void **state UNUSED)
{
    AUTO(cfg)
    c = load("[shelf:attic]\nwhere = up\nupload = all\nlabels = dog, cat\n"
             "cameras = porch\norder = newest\nparallel = 7\nrate = 30\nannotated = no\n");
    struct storage_plan plans[STORAGES_MAX];
    assert_int_equal(storage_plans(kinds, c, plans, STORAGES_MAX), 1);
    const struct storage_plan *p = &plans[0];
    assert_string_equal(p->name, "shelf:attic");
    assert_string_equal(p->instance, "attic");
    assert_int_equal(p->rule.what, UPLOAD_ALL);
    assert_false(p->rule.annotated);
    assert_string_equal(p->rule.labels[1], "cat");
    assert_string_equal(p->rule.cameras[0], "porch");
    assert_int_equal(p->common->order, STORAGE_NEWEST_FIRST);
    assert_int_equal(p->common->parallel, 7);
    assert_int_equal(p->common->rate, 30);
}

static void does_by_default_what_the_predecessor_does(void **state UNUSED)
{
    AUTO(cfg) c = load("[drawer]\nwhere = desk\n");
    struct storage_plan plans[STORAGES_MAX];
    assert_int_equal(storage_plans(kinds, c, plans, STORAGES_MAX), 1);
    assert_string_equal(plans[0].name, "drawer");
    assert_null(plans[0].instance);
    assert_int_equal(plans[0].rule.what, UPLOAD_PERSONS);
    assert_true(plans[0].rule.annotated);
    assert_int_equal(plans[0].common->order, STORAGE_OLDEST_FIRST);
    assert_int_equal(plans[0].common->parallel, 4);
    assert_int_equal(plans[0].common->rate, 0);
}

static void leaves_out_what_is_off_or_not_configured(void **state UNUSED)
{
    AUTO(cfg) c = load("[shelf:attic]\nenabled = no\n[shelf:cellar]\n");
    struct storage_plan plans[STORAGES_MAX];
    assert_int_equal(storage_plans(kinds, c, plans, STORAGES_MAX), 1);
    assert_string_equal(plans[0].name, "shelf:cellar");
}

static void opens_all_or_none(void **state UNUSED)
{
    struct storage_plan plans[STORAGES_MAX];
    struct storage *list[STORAGES_MAX + 1];
    struct err e = {0};
    AUTO(cfg) good = load("[shelf:a]\n[shelf:b]\n[drawer]\nwhere = desk\n");
    size_t n = storage_plans(kinds, good, plans, STORAGES_MAX);
    assert_int_equal(n, 3);
    assert_int_equal(storage_open_all(plans, n, good, "/tmp", list, &e), 0);
    assert_int_equal(opened, 3);
    assert_string_equal(list[0]->name, "drawer");
    assert_string_equal(list[2]->name, "shelf:b");
    assert_null(list[3]);
    storage_close_all(list);
    assert_int_equal(opened, 0);

    AUTO(cfg) bad = load("[shelf:a]\n[shelf:b]\nwhere = nowhere\n");
    n = storage_plans(kinds, bad, plans, STORAGES_MAX);
    assert_int_equal(storage_open_all(plans, n, bad, "/tmp", list, &e), -EINVAL);
    assert_int_equal(opened, 0);
    assert_string_equal(e.text, "storage shelf:b: there is no shelf nowhere");
}

static void names_every_trouble(void **state UNUSED)
{
    for (int i = 0; i < STORAGE_TROUBLE_COUNT; i++)
        assert_non_null(storage_trouble_names[i]);
    for (int i = 0; i < STORAGE_ORDER_COUNT; i++)
        assert_non_null(storage_order_names[i]);
    (void)storage_kinds(); /* asserts the registry */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_common_keys),
        cmocka_unit_test(does_by_default_what_the_predecessor_does),
        cmocka_unit_test(leaves_out_what_is_off_or_not_configured),
        cmocka_unit_test(opens_all_or_none),
        cmocka_unit_test(names_every_trouble),
    };
    return RUN_TESTS(tests);
}
