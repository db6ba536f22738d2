#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/dynbuf.h"
#include "base/mem.h"
#include "sample_schema.h"

static struct cfg *load(const char *text, char *const *environment)
{
    struct cfg_source source = {.path = "t.conf", .text = text, .environment = environment};
    struct cfg *c = NULL;
    char *faults = NULL;
    int r = cfg_load(&test_schema, &source, &c, &faults, NULL);
    if (r < 0)
        print_error("%s", faults);
    free(faults);
    assert_int_equal(r, 0);
    return c;
}

static char *difference(const struct cfg *a, const struct cfg *b)
{
    AUTO_DONE(dynbuf) out;
    dynbuf_init(&out, 1 << 16);
    assert_int_equal(cfg_write_difference(a, b, &out), 0);
    return xstrdup(dynbuf_str(&out));
}

static char *effective(const struct cfg *c)
{
    AUTO_DONE(dynbuf) out;
    dynbuf_init(&out, 1 << 16);
    assert_int_equal(cfg_write_effective(c, &out), 0);
    return xstrdup(dynbuf_str(&out));
}

static char *const environment[] = {"PW=hunter2", "T_MAIN_COUNT=7", "PERCENT=a%% b%(x)s 5%", NULL};
static const char full[] =
    "[main]\ntitle = %(PERCENT)s\nsecret = env:PW\nfile = /x#y\nlisten = [::1]:1\non = false\n"
    "wait = 250ms\nsize = 2MB\nlevel = 0.125\nmode = basic\nlabels = a,\n  b c\n"
    "lines = X: 1, 2; Y: 3\nlater = soon\nN3 = three\nN1 = one\n"
    "[box:one]\nurl = http://h/p%20q\npassword = env:PW\nlow = -3\n[box:two]\nurl = u\n";

static void the_effective_text_loads_to_the_same_values(void **state)
{
    (void)state;
    AUTO(cfg) c = load(full, environment);
    AUTO_FREE char *text = effective(c);
    AUTO(cfg) again = load(text, environment);
    AUTO_FREE char *d = difference(c, again);
    assert_string_equal(d, "");
    const struct main_values *v = cfg_values(again, &main_section);
    assert_string_equal(v->title, "a%% b%(x)s 5%");
    assert_string_equal(v->labels[1], "b c");
    assert_int_equal(cfg_instance_count(again, &box_section), 2);
}

static void the_effective_text_tells_where_each_value_comes_from(void **state)
{
    (void)state;
    AUTO(cfg) c = load("[main]\ntitle = x\nold_count = 5\nN2 = n\n", environment);
    AUTO_FREE char *text = effective(c);
    assert_string_equal(
        text, "# What is in force. A key behind # has its default; above any other stands its "
              "source.\n\n[main]\n"
              "# t.conf:2\ntitle = x\n#secret =\n#file = ./data\n#listen = 127.0.0.1:80\n"
              "#on = true\n# environment variable T_MAIN_COUNT\ncount = 7\n#wait = 5s\n"
              "#size = 10MB\n#level = 0.5\n#mode = auto\n#labels = a, b\n#lines =\n"
              "# t.conf:4\nN2 = n\n");
}

static void secrets_never_appear(void **state)
{
    (void)state;
    AUTO(cfg)
    c = load("[main]\nsecret = s3cr3t\n[box:a]\nurl=http://user:hunter2@h/?pwd=hunter2\n"
             "password = env:PW\n",
             environment);
    AUTO_FREE char *text = effective(c);
    assert_null(strstr(text, "s3cr3t"));
    assert_null(strstr(text, "hunter2"));
    assert_non_null(strstr(text, "\nsecret = ***\n"));
    assert_non_null(strstr(text, "\npassword = env:PW\n"));
    assert_string_equal(cfg_key_text(c, &main_section, NULL, "secret"), "***");
    AUTO(cfg) other = load("[main]\nsecret = 0ther\n", environment);
    AUTO_FREE char *d = difference(c, other);
    assert_string_equal(d, "main.secret (restart)\nbox:a removed\n");
}

static void the_difference_names_keys_and_marks_restarts(void **state)
{
    (void)state;
    AUTO(cfg)
    a = load("[main]\ntitle = x\nfile = y\nlabels = p\nwait = 1000ms\nN1 = a\nN3 = b\n"
             "later = a\n[box:a]\nurl = 1\n[box:b]\nurl = 1\n",
             no_environment);
    AUTO(cfg)
    b = load("[main]\ntitle = z\nfile = q\nlabels = p, q\nwait = 1s\nN1 = a\nN2 = b\n"
             "N3 = c\nlater = b\n[box:c]\nurl = 1\n[box:a]\nurl = 2\n",
             no_environment);
    AUTO_FREE char *d = difference(a, b);
    assert_string_equal(d, "main.title\nmain.file (restart)\nmain.labels\nmain.later\n"
                           "main.N2 (restart)\nmain.N3 (restart)\n"
                           "box:b removed\nbox:c added\nbox:a.url\n");
}

static void the_sample_loads_and_is_the_defaults(void **state)
{
    (void)state;
    AUTO_DONE(dynbuf) out, uncommented;
    dynbuf_init(&out, 1 << 16);
    dynbuf_init(&uncommented, 1 << 16);
    assert_int_equal(cfg_write_sample(&test_schema, &out), 0);
    AUTO(cfg) empty = load("", no_environment);
    AUTO(cfg) sample = load(dynbuf_str(&out), no_environment);
    AUTO_FREE char *d = difference(empty, sample);
    assert_string_equal(d, "");
    assert_non_null(strstr(dynbuf_str(&out), "\n#[box:NAME]\n"));
    assert_null(strstr(dynbuf_str(&out), "N#"));
    assert_null(strstr(dynbuf_str(&out), "later"));
    /* What stands behind "#" is in force when the sign goes. */
    for (const char *p = dynbuf_str(&out); *p;) {
        const char *end = strchr(p, '\n');
        bool row = p[0] == '#' && p[1] != ' ' && p[1] != '[';
        if (p[0] == '[' || row)
            (void)dynbuf_append(&uncommented, p + row, (size_t)(end - p) - row + 1);
        if (strncmp(p, "#[box", 5) == 0)
            break;
        p = end + 1;
    }
    AUTO(cfg) written = load(dynbuf_str(&uncommented), no_environment);
    AUTO_FREE char *e = difference(empty, written);
    assert_string_equal(e, "");
    assert_true(cfg_is_set(written, &main_section, NULL, "wait"));
}

static void the_reference_names_every_key_and_section(void **state)
{
    (void)state;
    AUTO_DONE(dynbuf) out;
    dynbuf_init(&out, 1 << 16);
    assert_int_equal(cfg_write_reference(&test_schema, &out), 0);
    const char *text = dynbuf_str(&out);
    for (size_t i = 0; test_schema.sections[i]; i++) {
        const struct cfg_section *s = test_schema.sections[i];
        for (size_t k = 0; k < s->key_count; k++) {
            AUTO_FREE char *cell = xasprintf("\n| `%s` |", s->keys[k].name);
            assert_non_null(strstr(text, cell));
            assert_non_null(strstr(text, s->keys[k].help));
        }
    }
    assert_non_null(strstr(text, "| `wait` | duration, 100ms..10m | `5s` | a duration. Needs a "
                                 "restart. |\n"));
    assert_non_null(strstr(text, "| `url` | text | required | where the box is. |\n"));
    assert_non_null(strstr(text, "| `on` | yes or no | `true` | a switch. Environment: "
                                 "`MAIN_ON`. |\n"));
    assert_non_null(strstr(text, "\n**file**: A paragraph.\n"));
}

static void a_full_buffer_is_reported(void **state)
{
    (void)state;
    AUTO_DONE(dynbuf) out;
    dynbuf_init(&out, 100);
    assert_true(cfg_write_reference(&test_schema, &out) < 0);
    dynbuf_reset(&out);
    assert_true(cfg_write_sample(&test_schema, &out) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_effective_text_loads_to_the_same_values),
        cmocka_unit_test(the_effective_text_tells_where_each_value_comes_from),
        cmocka_unit_test(secrets_never_appear),
        cmocka_unit_test(the_difference_names_keys_and_marks_restarts),
        cmocka_unit_test(the_sample_loads_and_is_the_defaults),
        cmocka_unit_test(the_reference_names_every_key_and_section),
        cmocka_unit_test(a_full_buffer_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
