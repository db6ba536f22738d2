#include "../test.h"

#include <errno.h>
#include <stddef.h>

#include "base/mem.h"
#include "cfg/cfg.h"

struct values {
    const char *host, *place, *name, *secret, *found, *flag_place;
    int64_t count;
    bool flag;
};
#define AT(field) .offset = offsetof(struct values, field)
static const struct cfg_key keys[] = {
    {.name = "host", .type = CFG_STRING, AT(host), .flags = CFG_EARLY, .help = "h"},
    {.name = "place",
     .type = CFG_STRING,
     AT(place),
     .fallback = "Item/field",
     .flags = CFG_EARLY,
     .help = "h"},
    {.name = "name", .type = CFG_STRING, AT(name), .env = "NAME", .help = "h"},
    {.name = "secret", .type = CFG_SECRET, AT(secret), .help = "h"},
    {.name = "found", .type = CFG_SECRET, AT(found), .path = "main.place", .help = "h"},
    {.name = "count", .type = CFG_INT, AT(count), .min = 1, .max = 9, .fallback = "4", .help = "h"},
    {.name = "flag",
     .type = CFG_BOOL,
     AT(flag),
     .fallback = "true",
     .path = "flags/flag/value",
     .help = "h"},
    {.name = "N#", .type = CFG_STRING, .flags = CFG_NUMBERED, .help = "h"},
};
static void check(const void *values, const char *instance, struct cfg_faults *faults)
{
    const struct values *v = values;
    (void)instance;
    if (strcmp(v->name, "forbidden-name") == 0)
        cfg_fault(faults, "main", NULL, "name", "\"%s\" is not wanted", v->name);
}
static const struct cfg_section main_section = {.name = "main",
                                                .struct_size = sizeof(struct values),
                                                .keys = keys,
                                                .key_count = ARRAY_LEN(keys),
                                                .help = "h",
                                                .check = check};
static const struct cfg_section *const sections[] = {&main_section, NULL};
static const struct cfg_schema schema = {.sections = sections, .env_prefix = "T"};

/* Answers from a table; what is not in it does not exist. */
struct table {
    const char *texts[8][2];
    int calls, asked, implied;
    char host[32];
};

static void resolve(void *arg, const struct cfg *c, struct cfg_reference *list, size_t count)
{
    struct table *t = arg;
    t->calls++;
    t->asked += (int)count;
    (void)snprintf(t->host, sizeof(t->host), "%s",
                   ((const struct values *)cfg_values(c, &main_section))->host);
    for (size_t i = 0; i < count; i++) {
        list[i].answer = list[i].implied ? CFG_ANSWER_DEFAULT : CFG_ANSWER_NONE;
        t->implied += list[i].implied;
        for (size_t k = 0; k < ARRAY_LEN(t->texts) && t->texts[k][0]; k++) {
            if (strcmp(list[i].text, t->texts[k][0]) != 0)
                continue;
            list[i].answer = CFG_ANSWER_VALUE;
            list[i].value = xstrdup(t->texts[k][1]);
        }
        if (list[i].answer == CFG_ANSWER_NONE)
            (void)snprintf(list[i].why, sizeof(list[i].why), "not there");
    }
}

struct loaded {
    struct cfg *c;
    char *faults, *warnings;
    int result;
};
static void loaded_done(struct loaded *l)
{
    cfg_unref(l->c);
    free(l->faults);
    free(l->warnings);
}

static struct loaded load(const char *text, struct table *t, char *const *environment)
{
    static char *const none[] = {NULL};
    struct cfg_source source = {.path = "t.conf",
                                .text = text,
                                .resolve = t ? resolve : NULL,
                                .resolve_arg = t,
                                .environment = environment ? environment : none};
    struct loaded l = {0};
    l.result = cfg_load(&schema, &source, &l.c, &l.faults, &l.warnings);
    return l;
}

static const struct values *values(const struct loaded *l)
{
    return cfg_values(l->c, &main_section);
}

static void effective(const struct cfg *c, struct dynbuf *out)
{
    dynbuf_init(out, 1 << 16);
    assert_int_equal(cfg_write_effective(c, out), 0);
}

static void collect_number(unsigned number, const char *value, void *arg)
{
    (void)number;
    *(const char **)arg = value;
}

static void all_references_are_asked_for_in_one_call_with_early_keys_known(void **state)
{
    (void)state;
    struct table t = {.texts = {{"op://v/i/n", "the name\n"},
                                {"op://v/i/c", "7"},
                                {"op://v/i/s", "hush"},
                                {"op://v/i/x", "twelve"},
                                {"Item/field", "looked up"},
                                {"flags/flag/value", "false"}}};
    static char *const environment[] = {"NAME=op://v/i/n", NULL};
    AUTO_DONE(loaded)
    l = load("[main]\nhost = h1\nsecret = op://v/i/s\ncount = op://v/i/c\nN12 = op://v/i/x\n", &t,
             environment);
    assert_int_equal(l.result, 0);
    assert_int_equal(t.calls, 1);
    assert_int_equal(t.asked, 6);
    assert_int_equal(t.implied, 2);
    assert_string_equal(t.host, "h1");
    assert_string_equal(values(&l)->name, "the name");
    assert_int_equal(values(&l)->count, 7);
    assert_string_equal(values(&l)->secret, "hush");
    assert_string_equal(values(&l)->found, "looked up");
    assert_false(values(&l)->flag);
    const char *twelve = "";
    cfg_numbered(l.c, &main_section, "N#", collect_number, &twelve);
    assert_string_equal(twelve, "twelve");
    assert_int_equal(cfg_key_origin(l.c, &main_section, NULL, "flag"), CFG_FROM_PATH);
    assert_string_equal(cfg_key_text(l.c, &main_section, NULL, "name"), "op://v/i/n");
    assert_string_equal(cfg_key_text(l.c, &main_section, NULL, "found"), "***");
    AUTO_DONE(dynbuf) out;
    effective(l.c, &out);
    static const char *const hidden[] = {"the name", "hush", "twelve", "looked", "= 7"};
    for (size_t i = 0; i < ARRAY_LEN(hidden); i++)
        assert_null(strstr(out.data, hidden[i]));
    assert_non_null(strstr(out.data, "count = op://v/i/c\n"));
    assert_non_null(strstr(out.data, "# 1Password\n#flag = ***\n"));
}

static void what_is_not_there_is_a_fault_only_for_who_named_it(void **state)
{
    (void)state;
    struct table t = {0};
    AUTO_DONE(loaded) l = load("[main]\nsecret = op://v/i/s\nN3 = op://a/b/c\n", &t, NULL);
    assert_int_equal(l.result, -EINVAL);
    assert_string_equal(l.faults, "t.conf:2: main.secret: op://v/i/s: not there\n"
                                  "t.conf:3: main.N3: op://a/b/c: not there\n");
    AUTO_DONE(loaded) implied = load("[main]\n", &t, NULL);
    assert_int_equal(implied.result, 0);
    assert_true(values(&implied)->flag);
    assert_string_equal(values(&implied)->found, "");
    AUTO_DONE(loaded) nobody = load("[main]\nname = op://v/i/s\n", NULL, NULL);
    assert_string_equal(nobody.faults, "t.conf:2: main.name: op://v/i/s: references to 1Password "
                                       "cannot be resolved here\n");
    AUTO_DONE(loaded) early = load("[main]\nhost = op://v/i/s\n", &t, NULL);
    assert_non_null(strstr(early.faults, "main.host: is needed to ask 1Password"));
}

static void no_fault_tells_a_value(void **state)
{
    (void)state;
    struct table t = {.texts = {{"op://v/i/c", "canary99"},
                                {"op://v/i/n", "forbidden-name"},
                                {"op://v/i/s", "bell\a"}}};
    AUTO_DONE(loaded)
    l = load("[main]\nname = op://v/i/n\ncount = op://v/i/c\nsecret = op://v/i/s\n", &t, NULL);
    assert_int_equal(l.result, -EINVAL);
    assert_string_equal(l.faults,
                        "t.conf:2: main.name: \"***\" is not wanted\n"
                        "t.conf:3: main.count: what 1Password has there is not accepted: right "
                        "would be whole number, 1..9\n"
                        "t.conf:4: main.secret: op://v/i/s: what 1Password has there holds a "
                        "control character\n");
}

static void there_are_at_most_256(void **state)
{
    (void)state;
    AUTO_DONE(dynbuf) text;
    dynbuf_init(&text, 1 << 16);
    (void)dynbuf_puts(&text, "[main]\n");
    for (int i = 1; i <= 255; i++)
        (void)dynbuf_printf(&text, "N%d = op://v/i/n\n", i);
    struct table t = {.texts = {{"op://v/i/n", "x"}}};
    AUTO_DONE(loaded) l = load(text.data, &t, NULL); /* and two that are implied */
    assert_int_equal(l.result, -EINVAL);
    assert_int_equal(t.calls, 0);
    assert_non_null(strstr(l.faults, "257 references to 1Password; at most 256 are allowed"));
}

static void one_value_can_be_changed_without_reading_again(void **state)
{
    (void)state;
    struct table t = {.texts = {{"op://v/i/n", "the name"}, {"flags/flag/value", "false"}}};
    AUTO_DONE(loaded) l = load("[main]\nname = op://v/i/n\ncount = 3\n", &t, NULL);
    assert_int_equal(l.result, 0);
    struct cfg *next = NULL;
    assert_int_equal(cfg_override(l.c, &main_section, "flag", "odd", &next), -EINVAL);
    assert_int_equal(cfg_override(l.c, &main_section, "flag", "true", &next), 0);
    assert_false(values(&l)->flag);
    cfg_unref(STEAL(l.c)); /* the new one holds what it shares */
    l.c = next;
    assert_true(values(&l)->flag);
    assert_int_equal(values(&l)->count, 3);
    assert_string_equal(values(&l)->name, "the name");
    for (int i = 0; i < 100; i++) {
        assert_int_equal(cfg_override(l.c, &main_section, "flag", i % 2 ? "1" : "0", &next), 0);
        cfg_unref(STEAL(l.c));
        l.c = next;
    }
    assert_true(values(&l)->flag);
    assert_int_equal(t.calls, 1);
}

static void add_line(const char *value, void *arg)
{
    char *text = arg;
    size_t len = strlen(text);
    (void)snprintf(text + len, 500 - len, "%s|", value);
}

static void what_references_had_is_left_out_like_secrets(void **state)
{
    (void)state;
    char text[500] = "";
    struct table t = {.texts = {{"op://v/i/n", "the name"},
                                {"op://v/i/s", "hush"},
                                {"Item/field", "looked up"},
                                {"flags/flag/value", "false"}}};
    AUTO_DONE(loaded) l = load("[main]\nname = op://v/i/n\nsecret = op://v/i/s\n", &t, NULL);
    assert_int_equal(l.result, 0);
    cfg_each_secret(l.c, add_line, text);
    assert_string_equal(text, "the name|hush|looked up|");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_references_are_asked_for_in_one_call_with_early_keys_known),
        cmocka_unit_test(what_is_not_there_is_a_fault_only_for_who_named_it),
        cmocka_unit_test(no_fault_tells_a_value),
        cmocka_unit_test(there_are_at_most_256),
        cmocka_unit_test(one_value_can_be_changed_without_reading_again),
        cmocka_unit_test(what_references_had_is_left_out_like_secrets),
    };
    return RUN_TESTS(tests);
}
