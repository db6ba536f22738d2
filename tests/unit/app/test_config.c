#include "app/config.h"
#include "aws/aws_config.h"
#include "health/health_config.h"

#include <ctype.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/text.h"
#include "original_environment.h"

struct loaded {
    struct app_config *a;
    char *faults, *warnings, *loading_warnings;
    int result;
};

static void loaded_done(struct loaded *l)
{
    app_config_free(l->a);
    free(l->faults);
    free(l->warnings);
    free(l->loading_warnings);
}

static struct loaded load_source(const struct cfg_source *source)
{
    struct loaded l = {0};
    AUTO(cfg) c = NULL;
    l.result = cfg_load(&app_schema, source, &c, &l.faults, &l.loading_warnings);
    if (l.result == 0)
        l.result = app_config_resolve(c, &l.a, &l.faults, &l.warnings);
    return l;
}

static struct loaded load(const char *text, char *const *environment)
{
    static char *const nothing[] = {NULL};
    struct cfg_source source = {
        .path = "t.conf", .text = text, .environment = environment ? environment : nothing};
    return load_source(&source);
}

static void assert_good(const struct loaded *l)
{
    if (l->result < 0)
        print_error("%s", l->faults);
    assert_int_equal(l->result, 0);
}

/* --- the table -------------------------------------------------------------------------------- */

/* "item/field", or the early key that says so. */
static bool is_place(const char *path)
{
    if (strchr(path, '/'))
        return true;
    for (size_t i = 0; app_schema.sections[i]; i++) {
        const struct cfg_section *s = app_schema.sections[i];
        size_t len = strlen(s->name);
        for (size_t k = 0; k < s->key_count; k++)
            if (strncmp(path, s->name, len) == 0 && path[len] == '.' &&
                strcmp(path + len + 1, s->keys[k].name) == 0)
                return s->keys[k].flags & CFG_EARLY;
    }
    return false;
}

static void every_row_has_help_and_a_default_that_is_good(void **state)
{
    (void)state;
    AUTO_DONE(loaded) l = load("", NULL);
    assert_good(&l);
    assert_null(l.warnings);
    assert_null(l.loading_warnings);
    for (size_t i = 0; app_schema.sections[i]; i++) {
        const struct cfg_section *s = app_schema.sections[i];
        assert_non_null(s->help);
        assert_true(s->key_count > 0);
        for (size_t k = 0; k < s->key_count; k++) {
            const struct cfg_key *key = &s->keys[k];
            bool stored = !(key->flags & (CFG_LATER | CFG_NUMBERED)) && !key->successor;
            if (!key->help || !*key->help || strchr(key->help, '\n'))
                fail_msg("[%s] %s has no one-line help", s->name, key->name);
            if (key->path && !is_place(key->path))
                fail_msg("[%s] %s: %s is no place in 1Password", s->name, key->name, key->path);
            if (stored && key->offset >= s->struct_size)
                fail_msg("[%s] %s lies outside its struct", s->name, key->name);
            if (key->type == CFG_CHOICE)
                assert_non_null(key->choices);
            if (key->type == CFG_DURATION && stored && key->fallback)
                assert_true(key->bare_unit_ms > 0 || !isdigit((unsigned char)key->fallback[0]) ||
                            strspn(key->fallback, "0123456789") < strlen(key->fallback) ||
                            strcmp(key->fallback, "0") == 0);
            for (size_t other = 0; other < k; other++) {
                if (strcmp(s->keys[other].name, key->name) == 0)
                    fail_msg("[%s] %s is there twice", s->name, key->name);
                if (stored && !(s->keys[other].flags & (CFG_LATER | CFG_NUMBERED)) &&
                    s->keys[other].offset == key->offset)
                    fail_msg("[%s] %s and %s share a place", s->name, s->keys[other].name,
                             key->name);
            }
        }
        for (size_t other = 0; other < i; other++)
            assert_false(strcmp(app_schema.sections[other]->name, s->name) == 0 &&
                         app_schema.sections[other]->named == s->named);
    }
}

/* Where a validate wants a form. */
static const struct {
    const char *section, *key, *value;
} formed[] = {
    {"fan", "curve", "0:255"},
    {"fan", "ignore", "hwmon:x"},
    {"fan", "pwm", "hwmon:x"},
    {"fan", "sensors", "hwmon:x"},
    {"gdrive", "api_url", "http://h"},
    {"gdrive", "auth_url", "http://h"},
    {"gdrive", "backup_s3_endpoint", "http://h"},
    {"gdrive", "device_url", "http://h"},
    {"gdrive", "token_url", "http://h"},
    {"onepassword", "connect_host", "http://h"},
    {"s3", "endpoint", "http://h"},
    {"sentry", "dsn", "env:DSN"},
};

static const char *formed_value(const char *section, const char *key)
{
    for (size_t i = 0; i < ARRAY_LEN(formed); i++)
        if (strcmp(formed[i].section, section) == 0 && strcmp(formed[i].key, key) == 0)
            return formed[i].value;
    return NULL;
}

/* A value that the row accepts and that is not its default. */
static void other_value(const struct cfg_key *key, char *buf, size_t size)
{
    long long number = (long long)key->min + 1;
    char shown[32];
    (void)text_format(shown, sizeof shown, "%lld", number);
    number += key->fallback && strcmp(key->fallback, shown) == 0;
    switch (key->type) {
    case CFG_BOOL:
        (void)text_copy(buf, size,
                        key->fallback && strchr("tTyY1", key->fallback[0]) ? "false" : "true");
        break;
    case CFG_INT:
    case CFG_SIZE:
        (void)text_format(buf, size, "%lld", number);
        break;
    case CFG_DURATION:
        (void)text_format(buf, size, "%lldms", number);
        break;
    case CFG_DOUBLE:
        (void)text_format(buf, size, "%.17g",
                          key->min < key->max ? key->min + (key->max - key->min) / 8 : 1.5);
        break;
    case CFG_CHOICE:
        number = key->choices[1] && !(key->fallback && !strcmp(key->fallback, key->choices[1]));
        (void)text_copy(buf, size, key->choices[number]);
        break;
    case CFG_ENDPOINT:
        (void)text_copy(buf, size, "[::1]:4711");
        break;
    case CFG_SECRET:
        (void)text_copy(buf, size, "env:USER");
        break;
    case CFG_STRING:
    case CFG_PATH:
    case CFG_LIST:
    case CFG_LINES:
        (void)text_copy(buf, size,
                        text_ends_with(key->name, "endpoint") ? "https://other:1" : "other");
        break;
    case CFG_TYPE_COUNT:
        abort();
    }
}

/* A section is good with these; the key under test may be one of them. */
static const struct {
    const char *section, *key, *line;
} needed[] = {
    {"aws", "access_key_id", "access_key_id = k\n"},
    {"aws", "secret_access_key", "secret_access_key = env:OTHER\n"},
    {"camera:x", "address", "address = h:1\n"},
    {"camera:x", "user", "user = u\n"},
    {"cloudwatch", "access_key", "access_key = k\n"},
    {"cloudwatch", "secret_key", "secret_key = env:OTHER\n"},
    {"directory:x", "path", "path = /here\n"},
    {"ftp", "user", "user = u\n"},
    {"ftp", "password", "password = env:OTHER\n"},
    {"ftp", "tls_cert_file", "tls_cert_file = c\n"},
    {"ftp", "tls_key_file", "tls_key_file = k\n"},
    {"ftp_account:x", "password", "password = env:OTHER\n"},
    {"rekognition", "access_key", "access_key = k\n"},
    {"rekognition", "secret_key", "secret_key = env:OTHER\n"},
    {"rekognition", "primary_region", "primary_region = here\n"},
    {"rekognition", "region", "region = there\n"},
    {"s3:x", "bucket", "bucket = b\n"},
    {"s3:x", "access_key", "access_key = k\n"},
    {"s3:x", "secret_key", "secret_key = env:OTHER\n"},
    {"watch:x", "path", "path = here\n"},
};

/* What keys of other sections may ask for, the section, and what it needs. */
static char *beginning(const struct cfg_section *s, const char *but_for)
{
    AUTO_DONE(dynbuf) out;
    dynbuf_init(&out, 4096);
    if (strcmp(s->name, "ftp_account") == 0)
        (void)dynbuf_puts(&out, "[ftp]\ntls_cert_file = c\ntls_key_file = k\n"
                                "[camera:other]\naddress = h:1\n");
    char title[64];
    (void)text_format(title, sizeof title, s->named ? "%s:x" : "%s", s->name);
    (void)dynbuf_printf(&out, "[%s]\n", title);
    for (size_t i = 0; i < ARRAY_LEN(needed); i++)
        if (strcmp(needed[i].section, title) == 0 && strcmp(needed[i].key, but_for) != 0)
            (void)dynbuf_puts(&out, needed[i].line);
    return dynbuf_steal(&out, NULL);
}

/* Each key in turn is set, written out and read again: the same, and not the default. Keys whose
 * value must have a form that `formed` does not know (their validate refuses) are tried with their
 * default alone. */
static void every_key_round_trips(void **state)
{
    (void)state;
    static char *const environment[] = {"USER=someone else", "OTHER=correct horse",
                                        "DSN=http://k@h/1", NULL};
    size_t tried = 0, changed = 0;
    for (size_t i = 0; app_schema.sections[i]; i++) {
        const struct cfg_section *s = app_schema.sections[i];
        for (size_t k = 0; k < s->key_count; k++) {
            const struct cfg_key *key = &s->keys[k];
            if (key->flags & CFG_HIDDEN)
                continue; /* written as *** */
            char value[200], name[64];
            (void)text_copy(name, sizeof name, key->name);
            char *hash = strchr(name, '#');
            if (hash)
                *hash = '7';
            const char *fits = formed_value(s->name, key->name);
            if (fits)
                (void)text_copy(value, sizeof value, fits);
            else
                other_value(key, value, sizeof value);
            AUTO_FREE char *head = beginning(s, name);
            AUTO_FREE char *text = xasprintf("%s%s = %s\n", head, name, value);
            AUTO_FREE char *dull = beginning(s, "");
            struct cfg_source source = {.path = "t.conf", .text = text, .environment = environment};
            AUTO(cfg) set = NULL;
            AUTO(cfg) again = NULL;
            AUTO(cfg) unset = NULL;
            tried++;
            if (cfg_load(&app_schema, &source, &set, NULL, NULL) < 0) {
                if (fits || (!key->validate && !s->check))
                    fail_msg("refused: %s", text);
                continue;
            }
            assert_true(cfg_is_set(set, s, s->named ? "x" : NULL, key->name));
            AUTO_DONE(dynbuf) effective, difference;
            dynbuf_init(&effective, 1 << 20);
            dynbuf_init(&difference, 1 << 20);
            assert_int_equal(cfg_write_effective(set, &effective), 0);
            source.text = dynbuf_str(&effective);
            AUTO_FREE char *faults = NULL;
            if (cfg_load(&app_schema, &source, &again, &faults, NULL) < 0)
                fail_msg("effective text of %s is refused: %s", text, faults);
            assert_int_equal(cfg_write_difference(set, again, &difference), 0);
            assert_string_equal(dynbuf_str(&difference), "");
            source.text = dull;
            assert_int_equal(cfg_load(&app_schema, &source, &unset, NULL, NULL), 0);
            assert_int_equal(cfg_write_difference(unset, set, &difference), 0);
            AUTO_FREE char *full = xasprintf("%s%s.%s", s->name, s->named ? ":x" : "", name);
            if (!text_starts_with(dynbuf_str(&difference), full))
                fail_msg("%s does not differ from the default", text);
            changed++;
        }
    }
    assert_true(changed * 10 >= tried * 9);
}

/* --- documents -------------------------------------------------------------------------------- */

static char *read_source_file(const char *path)
{
    AUTO_FREE char *full = xasprintf("%s/%s", getenv("SOURCE_ROOT"), path);
    FILE *f = fopen(full, "r");
    if (!f)
        fail_msg("cannot open %s", full);
    char *text = xcalloc(1, 1 << 20);
    size_t n = fread(text, 1, (1 << 20) - 1, f);
    assert_true(n > 0);
    (void)fclose(f); /* only read */
    return text;
}

static void the_sample_in_the_tree_is_current_and_loads(void **state)
{
    (void)state;
    if (!getenv("SOURCE_ROOT"))
        skip();
    AUTO_DONE(dynbuf) out;
    dynbuf_init(&out, 1 << 20);
    assert_int_equal(cfg_write_sample(&app_schema, &out), 0);
    AUTO_FREE char *text = read_source_file("etc/snapshot-processor.conf.sample");
    if (strcmp(text, dynbuf_str(&out)) != 0)
        fail_msg("stale: snapshotd config --sample > etc/snapshot-processor.conf.sample");
    AUTO_DONE(loaded) l = load(text, NULL);
    assert_good(&l);
    assert_null(l.loading_warnings);
}

static void the_reference_in_the_tree_is_current(void **state)
{
    (void)state;
    if (!getenv("SOURCE_ROOT"))
        skip();
    AUTO_DONE(dynbuf) out;
    dynbuf_init(&out, 1 << 20);
    assert_int_equal(cfg_write_reference(&app_schema, &out), 0);
    AUTO_FREE char *text = read_source_file("doc/configuration.md");
    if (strcmp(text, dynbuf_str(&out)) != 0)
        fail_msg("stale: snapshotd config --reference > doc/configuration.md");
}

/* --- the predecessor's file ------------------------------------------------------------------- */

static void the_predecessors_file_and_environment_are_understood(void **state)
{
    (void)state;
    if (!getenv("SOURCE_ROOT"))
        skip();
    static char *const environment[] = {ORIGINAL_ENVIRONMENT, NULL};
    AUTO_FREE char *path = xasprintf("%s/tests/unit/app/original.conf", getenv("SOURCE_ROOT"));
    struct cfg_source source = {.path = path, .environment = environment};
    AUTO_DONE(loaded) l = load_source(&source);
    assert_good(&l);
    assert_string_equal(l.a->app.device_name, "snapshots");
    assert_int_equal(l.a->app.grace_ms, 8000);
    assert_string_equal(l.a->app.data_dir, "/data");
    assert_string_equal(l.a->ledger_path, "/data/snapshotd.db");
    assert_string_equal(l.a->store_path, "/data/store");
    assert_string_equal(l.a->ftp_root, "/data/ftp");
    assert_string_equal(l.a->upload_dir, "uploads/snapshots");
    assert_true(l.a->detect.enabled);
    assert_null(l.a->detection_off);
    assert_string_equal(l.a->detect.model, "yolov8n");
    assert_true(l.a->detect.minimum_human_confidence == 0.8);
    assert_true(l.a->detect.minimum_confidence == 0.3);
    assert_int_equal(l.a->output_count, 3);
    assert_string_equal(l.a->outputs[0].device_key, "Front Door Camera");
    assert_string_equal(l.a->outputs[0].directory, "uploads/snapshots/frontdoor");
    assert_true(l.a->outputs[0].camera);
    assert_string_equal(l.a->outputs[1].device_key, "Back Yard camera");
    assert_true(l.a->outputs[1].camera);
    assert_false(l.a->outputs[2].camera);
    assert_int_equal(l.a->input_count, 1);
    assert_int_equal(camera_set_count(l.a->cameras), 2);
    const struct camera *cam = camera_set_find_device(l.a->cameras, "Front Door Camera");
    assert_non_null(cam);
    assert_string_equal(cam->command, "snapPicture2");
    assert_string_equal(cam->directory, "frontdoor");
    assert_false(camera_is_fetchable(cam));
    assert_null(l.warnings);
    const struct aws_config *aws = cfg_values(l.a->cfg, &aws_config_section);
    assert_string_equal(aws->config_file, "/etc/aws/config");
    assert_string_equal(l.a->app.cronitor_monitor_key, "monitor-key");
    const struct health_config *health = cfg_values(l.a->cfg, &health_cfg_section);
    assert_string_equal(health->healthchecks_url, "https://hc.example/ping/secret-id");
    assert_int_equal(health->interval_ms, 62000);
    assert_true(l.a->ftp_runs);
    assert_int_equal(l.a->ftp->enabled, FTP_ENABLED_YES);
    assert_string_equal(l.a->ftp->create_dirs[1], "snapshots/cam2");
    assert_int_equal(ftp_accounts_count(l.a->ftp_accounts), 1);
    assert_string_equal(ftp_accounts_at(l.a->ftp_accounts, 0)->name, "cameras");
    assert_string_equal(ftp_accounts_at(l.a->ftp_accounts, 0)->directory, "");
}

static void an_account_names_a_camera_that_exists(void **state)
{
    (void)state;
    AUTO_DONE(loaded)
    bad = load("[camera:porch]\naddress=192.0.2.7:88\n[ftp_account:porch]\n"
               "password=correct horse\ncamera=prch\n",
               NULL);
    assert_non_null(bad.faults);
    assert_non_null(strstr(bad.faults, ":5: ftp_account:porch.camera: there is no section "
                                       "[camera:prch]"));
    AUTO_DONE(loaded)
    good = load("[camera:porch]\naddress=192.0.2.7:88\n[ftp_account:porch]\n"
                "password=correct horse\ncamera=porch\n",
                NULL);
    assert_good(&good);
    assert_true(good.a->ftp_runs);
    assert_string_equal(ftp_accounts_at(good.a->ftp_accounts, 0)->camera, "porch");
    AUTO_DONE(loaded) none = load("", NULL);
    assert_good(&none);
    assert_false(none.a->ftp_runs);
}

static void the_predecessors_environment_alone_is_enough(void **state)
{
    (void)state;
    static char *const environment[] = {ORIGINAL_ENVIRONMENT, NULL};
    AUTO_DONE(loaded) l = load("", environment);
    assert_good(&l);
    assert_string_equal(l.a->app.device_name, "snapshots");
    assert_string_equal(l.a->detect.model, "yolov8n");
    assert_true(l.a->detect.minimum_human_confidence == 0.8);
    assert_int_equal(l.a->output_count, 3);
    assert_string_equal(l.a->outputs[0].directory, "uploads/snapshots/frontdoor");
}

static void an_unset_variable_of_the_predecessors_file_is_named(void **state)
{
    (void)state;
    if (!getenv("SOURCE_ROOT"))
        skip();
    static char *const environment[] = {NULL};
    AUTO_FREE char *text = read_source_file("tests/unit/app/original.conf");
    AUTO_DONE(loaded) l = load(text, environment);
    assert_int_equal(l.result, -EINVAL);
    assert_non_null(strstr(l.faults,
                           "t.conf:6: app.device_name: the environment variable "
                           "DEVICE_NAME is not set; set it, or write the value itself\n"));
    assert_non_null(strstr(l.faults, "output_type.O8: the environment variable OUTPUT_8_TYPE"));
}

static void detection_runs_when_all_switches_agree(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        char *environment[3];
        const char *off;
    } cases[] = {
        {"", {NULL}, NULL},
        {"[detection]\nenabled=no\n",
         {NULL},
         "[detection] enabled (OBJECT_DETECTION_ENABLED) is "
         "false"},
        {"[snapshots]\nobject_detection_enabled=False\n",
         {NULL},
         "[detection] enabled (OBJECT_DETECTION_ENABLED) is false"},
        {"",
         {"OBJECT_DETECTION_ENABLED=false"},
         "[detection] enabled (OBJECT_DETECTION_ENABLED) "
         "is false"},
        {"",
         {"object_detection_enabled=false"},
         "[detection] enabled (OBJECT_DETECTION_ENABLED) "
         "is false"},
        {"[snapshots]\nobject_detection_enabled=no\n", {"SNAPSHOTD_DETECTION_ENABLED=yes"}, NULL},
        {"", {"FEATURE_FLAG_OBJECT_DETECTION=false"}, "FEATURE_FLAG_OBJECT_DETECTION is false"},
        {"", {"FEATURE_FLAG_OBJECT_DETECTION="}, NULL},
        {"",
         {"FEATURE_FLAG_LOCAL_OBJECT_DETECTION=0"},
         "FEATURE_FLAG_LOCAL_OBJECT_DETECTION is false, and so is "
         "FEATURE_FLAG_CLOUD_OBJECT_DETECTION"},
        {"",
         {"FEATURE_FLAG_LOCAL_OBJECT_DETECTION=0", "FEATURE_FLAG_CLOUD_OBJECT_DETECTION=true"},
         NULL},
        {"[detection]\ndetector=cloud\n",
         {"FEATURE_FLAG_CLOUD_OBJECT_DETECTION=false"},
         "[detection] detector is cloud, but FEATURE_FLAG_CLOUD_OBJECT_DETECTION is false"},
        {"[detection]\ndetector=cascade\n", {NULL}, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO_DONE(loaded) l = load(cases[i].text, cases[i].environment);
        assert_good(&l);
        assert_int_equal(l.a->detect.enabled, cases[i].off == NULL);
        if (cases[i].off)
            assert_string_equal(l.a->detection_off, cases[i].off);
        else
            assert_null(l.a->detection_off);
    }
}

static void flags_and_plan_choose_the_detector(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        char *environment[3];
        enum detect_mode mode;
    } cases[] = {
        {"", {NULL}, DETECT_LOCAL},
        {"", {"FEATURE_FLAG_CLOUD_OBJECT_DETECTION=true"}, DETECT_LOCAL},
        {"[feature_flags]\nlocal_object_detection=no\ncloud_object_detection=yes\n",
         {NULL},
         DETECT_CLOUD},
        {"[feature_flags]\nlocal_object_detection=no\n",
         {"FEATURE_FLAG_CLOUD_OBJECT_DETECTION=1"},
         DETECT_CLOUD},
        {"[detection]\ndetector=cascade\n", {NULL}, DETECT_CASCADE},
        {"[detection]\ndetector=cascade\n",
         {"FEATURE_FLAG_CLOUD_OBJECT_DETECTION=false"},
         DETECT_LOCAL},
        {"[detection]\ndetector=cascade\n[feature_flags]\nlocal_object_detection=no\n",
         {NULL},
         DETECT_CLOUD},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO_DONE(loaded) l = load(cases[i].text, cases[i].environment);
        assert_good(&l);
        if (l.a->detect_mode != cases[i].mode)
            fail_msg("%zu: %s, because %s", i, detect_mode_names[l.a->detect_mode],
                     l.a->detect_why);
    }
}

static void the_stronger_source_wins_between_ours_and_theirs(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        char *environment[3];
        const char *model;
    } cases[] = {
        {"[object_detection]\nmodel=a\n", {NULL}, "a"},
        {"[object_detection]\nmodel=a\nmodel_name=b\n", {NULL}, "b"},
        {"[object_detection]\nmodel=a\nmodel_name=b\nmodel_url=c\n", {NULL}, "c"},
        {"[object_detection]\nmodel_url=\nmodel_name=b\n", {NULL}, "b"},
        {"[detection]\nmodel=b\n[object_detection]\nmodel=b\n", {NULL}, "b"},
        {"[object_detection]\nmodel=a\n", {"OBJECT_DETECTION_MODEL=b"}, "b"},
        {"[detection]\nmodel=b\n", {"model=a"}, "a"},
        {"[object_detection]\nmodel=a\n", {"SNAPSHOTD_DETECTION_MODEL=b"}, "b"},
        {"[detection]\nmodel=b\n", {"SNAPSHOTD_OBJECT_DETECTION_MODEL=a"}, "a"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO_DONE(loaded) l = load(cases[i].text, cases[i].environment);
        assert_good(&l);
        assert_string_equal(l.a->detect.model, cases[i].model);
    }
}

static void contradictions_are_faults(void **state)
{
    (void)state;
    AUTO_DONE(loaded)
    l = load("[detection]\nmodel = a\nminimum_human_confidence = 0.5\n"
             "enabled = yes\n[object_detection]\nmodel_name = b\n"
             "[human_detection]\nminimum_confidence = 0.8\n"
             "[snapshots]\nobject_detection_enabled = no\n",
             NULL);
    assert_int_equal(l.result, -EINVAL);
    assert_string_equal(
        l.faults,
        "t.conf:6: object_detection.model_name: contradicts detection.model, which means the same: "
        "it says \"b\", that says \"a\"; remove one\n"
        "t.conf:8: human_detection.minimum_confidence: contradicts "
        "detection.minimum_human_confidence, which means the same: it says \"0.8\", that says "
        "\"0.5\"; remove one\n"
        "t.conf:10: snapshots.object_detection_enabled: contradicts detection.enabled, which means "
        "the same: it says \"no\", that says \"yes\"; remove one\n");
}

static void places_follow_data_dir(void **state)
{
    (void)state;
    static const struct {
        const char *text, *data, *store, *ftp;
    } cases[] = {
        {"", "./data", "./data/store", "./data/ftp"},
        {"[app]\ndata_dir=/x/\n", "/x", "/x/store", "/x/ftp"},
        {"[app]\ndata_dir=\n", ".", "./store", "./ftp"},
        {"[snapshots]\nroot_dir=/srv/ftp/\n", "/srv", "/srv/store", "/srv/ftp"},
        {"[snapshots]\nroot_dir=/srv/cameras\n", "./data", "./data/store", "/srv/cameras"},
        {"[snapshots]\nroot_dir=/ftp\n", "./data", "./data/store", "/ftp"},
        {"[app]\ndata_dir=/x\n[snapshots]\nroot_dir=/srv/ftp\n[store]\npath=/y\n", "/x", "/y",
         "/srv/ftp"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO_DONE(loaded) l = load(cases[i].text, NULL);
        assert_good(&l);
        assert_string_equal(l.a->app.data_dir, cases[i].data);
        assert_string_equal(l.a->store_path, cases[i].store);
        assert_string_equal(l.a->ftp_root, cases[i].ftp);
    }
}

static void odd_devices_are_warned_of(void **state)
{
    (void)state;
    AUTO_DONE(loaded)
    l = load("[output_location]\nO1=Hall\nO2=Hall\nO3=Hall\nO12=\nO100=Zoo\n"
             "[output_type]\nO1=Camera\nO2=Camera\nO12=Camera\nO100=Camera\n",
             NULL);
    assert_good(&l);
    assert_string_equal(l.warnings,
                        "t.conf:4: output_location.O3: has no effect, because output_type.O3, the "
                        "type, is missing or empty\n"
                        "t.conf:9: output_type.O2: is the same device as O1, \"Hall Camera\"; give "
                        "them different locations\n"
                        "t.conf:10: output_type.O12: this camera cannot be asked: a camera needs a "
                        "location\n");
    assert_int_equal(l.a->output_count, 4);
    assert_string_equal(l.a->outputs[2].device_key, "Camera");
    assert_int_equal(l.a->outputs[3].number, 100);
}

/* A slip of the pen would keep nothing there, and nobody would miss it. */
static void a_storage_for_a_camera_that_there_is_not_is_warned_of(void **state)
{
    (void)state;
    AUTO_DONE(loaded)
    l = load(
        "[camera:porch]\naddress=192.0.2.7:88\n[output_location]\nO1=Hall\n"
        "[output_type]\nO1=Camera\n[directory:nas]\npath=/mnt/nas\n"
        "cameras=porch, prch, Hall Camera\n[directory:off]\nenabled=no\npath=/x\ncameras=prch\n",
        NULL);
    assert_good(&l);
    assert_string_equal(l.warnings,
                        "t.conf:9: directory:nas.cameras: there is no [camera:prch], so "
                        "it names no pictures\n");
}

static void an_output_and_a_section_can_be_one_camera(void **state)
{
    (void)state;
    AUTO_DONE(loaded)
    l = load("[camera]\ndefault_command=snapPicture\n"
             "[output_location]\nO1=Front Door\nO2=Hall\n"
             "[output_type]\nO1=Camera\nO2=Camera\n"
             "[camera:porch]\nlocation=Front Door\naddress=192.0.2.7:88\n",
             NULL);
    assert_good(&l);
    assert_int_equal(camera_set_count(l.a->cameras), 2);
    const struct camera *cam = camera_set_at(l.a->cameras, 0);
    assert_string_equal(cam->name, "porch");
    assert_string_equal(cam->command, "snapPicture");
    assert_true(camera_is_fetchable(cam));
    assert_string_equal(l.a->outputs[0].section, "porch");
    assert_null(l.a->outputs[1].section);
    AUTO_DONE(loaded)
    twins = load("[camera:a]\nlocation=X\naddress=h:1\n"
                 "[camera:b]\nlocation=X\naddress=h:2\n",
                 NULL);
    assert_int_equal(twins.result, -EINVAL);
    assert_string_equal(twins.faults, "t.conf:5: camera:b.location: \"X\" is the location of "
                                      "[camera:a] as well, and both are of type Camera; give one "
                                      "another location\n");
}

static void hosts_must_be_hosts_and_a_broker_has_an_address(void **state)
{
    (void)state;
    AUTO_DONE(loaded) wrong = load("[rabbitmq]\nallow_hosts = private, 10.0.0.0/33\n", NULL);
    assert_int_equal(wrong.result, -EINVAL);
    assert_string_equal(wrong.faults,
                        "t.conf:2: rabbitmq.allow_hosts: \"10.0.0.0/33\" is no name, address, "
                        "network like 192.168.7.0/24, or the word private\n");
    AUTO_DONE(loaded) none = load("", NULL);
    assert_good(&none);
    assert_null(none.a->broker);
    assert_true(host_list_has(none.a->allow_hosts, "192.168.7.1"));
    AUTO_DONE(loaded)
    one = load("[rabbitmq]\nserver_address = rabbit\nallow_hosts = 192.0.2.1\n", NULL);
    assert_good(&one);
    assert_string_equal(one.a->broker->server_address, "rabbit");
    assert_true(host_list_has(one.a->allow_hosts, "192.0.2.1"));
    assert_false(host_list_has(one.a->allow_hosts, "192.168.7.1"));
}

static void times_must_be_times(void **state)
{
    (void)state;
    AUTO_DONE(loaded) l = load("[camera:a]\naddress=h:1\ntimes = 0 7 * * *; at noon\n", NULL);
    assert_int_equal(l.result, -EINVAL);
    assert_non_null(strstr(l.faults, "t.conf:3: camera:a.times: "));
}

static void a_camera_with_no_more_than_a_location_pushes(void **state)
{
    (void)state;
    AUTO_DONE(loaded)
    l = load("[camera:porch]\nlocation = Back Porch\n[camera:x]\nkind = push\n", NULL);
    assert_good(&l);
    const struct camera *cam = camera_set_find(l.a->cameras, "porch");
    assert_string_equal(cam->kind, "push");
    assert_string_equal(cam->directory, "backporch");
    assert_false(camera_is_fetchable(cam));
    AUTO_DONE(loaded) timed = load("[camera:a]\ninterval = 5m\n", NULL);
    assert_int_equal(timed.result, -EINVAL);
    assert_non_null(strstr(timed.faults, "camera:a.interval: this camera cannot be asked"));
}

static void accounts_say_whose_pictures_their_folders_hold(void **state)
{
    (void)state;
    static char *const environment[] = {"OTHER=correct horse", NULL};
    AUTO_DONE(loaded)
    l = load("[camera:a]\n[camera:b]\nlocation = B Side\n"
             "[ftp]\nuser = u\npassword = env:OTHER\ncreate_dirs = one, two\n"
             "[ftp_account:x]\npassword = env:OTHER\n"
             "[ftp_account:y]\npassword = env:OTHER\ncamera = a\ndirectory = cams/y\n",
             environment);
    assert_good(&l);
    static const struct push_folder expected[] = {
        {"cams/y", "a"}, {"a", "a"}, {"bside", "b"}, {"x/a", "a"}, {"x/bside", "b"}};
    assert_int_equal(l.a->push_folder_count, ARRAY_LEN(expected));
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        assert_string_equal(l.a->push_folders[i].directory, expected[i].directory);
        assert_string_equal(l.a->push_folders[i].camera, expected[i].camera);
    }
    static const char *const kept[] = {"uploads/one", "uploads/two", "cams/y", "x"};
    for (size_t i = 0; i < ARRAY_LEN(kept); i++)
        assert_string_equal(l.a->kept_folders[i], kept[i]);
    assert_null(l.a->kept_folders[ARRAY_LEN(kept)]);
}

static void watched_folders_and_our_own_keep_apart(void **state)
{
    (void)state;
    static const struct {
        const char *lines, *fault;
    } cases[] = {
        {"path = /d/store\n", "watch:w.path: \"/d/store\" and /d/store, where the pictures"},
        {"path = /d\n", "watch:w.path: \"/d\" and /d/store, where the pictures"},
        {"path = /d/store/porch/\n", "where the pictures"},
        {"path = /d/ftp/uploads\n", "the FTP root, which is watched already"},
        {"path = /d/refused\n", "where refused files"},
        {"path = /x\ncamera = nobody\n", "watch:w.camera: there is no [camera:nobody]"},
        {"path = /x\n[watch:v]\npath = /x/y\n", "watch:v.path: \"/x/y\" and that of [watch:w]"},
        {"path = /x\n[watch:ftp]\npath = /y\n", "choose another name"},
        {"camera = a\n", "watch:w.path: "},
        {"path = /d/storehouse\n[watch:v]\npath = /d/ftp2\ncamera = a\n", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO_FREE char *text =
            xasprintf("[app]\ndata_dir = /d\n[camera:a]\n[watch:w]\n%s", cases[i].lines);
        AUTO_DONE(loaded) l = load(text, NULL);
        if (!cases[i].fault)
            assert_good(&l);
        else if (!l.faults || !strstr(l.faults, cases[i].fault))
            fail_msg("%s: %s", cases[i].lines, l.faults ? l.faults : "no fault");
    }
    AUTO_DONE(loaded)
    off = load("[spool]\nenabled = no\n[camera:a]\n[watch:w]\npath = /x\ncamera = a\n", NULL);
    assert_good(&off);
    assert_int_equal(off.a->spool_folder_count, 1);
    assert_string_equal(off.a->spool_folders[0].name, "w");
    assert_true(off.a->spool_folders[0].keep);
}

static void faults_of_all_kinds_come_together(void **state)
{
    (void)state;
    AUTO_DONE(loaded)
    l = load("[app]\nlog_level = loud\n"
             "[camera:a]\nadress = h:1\ntimes = at noon\n"
             "[camera:b]\nlocation = X\nkind = foscam\n"
             "[camera:c]\nlocation = X\naddress = h:1\npassword = p\n"
             "[web]\nlisten = 0.0.0.0:80\n"
             "[detection]\nmodel = a\n[object_detection]\nmodel = b\n",
             NULL);
    assert_int_equal(l.result, -EINVAL);
    static const char *const begins[] = {"t.conf:2: app.log_level: ",
                                         "t.conf:4: camera:a.adress: ",
                                         "t.conf:5: camera:a.times: this camera cannot be asked",
                                         "t.conf:5: camera:a.times: ",
                                         "t.conf:6: camera:b.address: ",
                                         "t.conf:9: camera:c.user: ",
                                         "t.conf:10: camera:c.location: ",
                                         "t.conf:14: web.",
                                         "t.conf:18: object_detection.model: "};
    const char *line = l.faults;
    for (size_t i = 0; i < ARRAY_LEN(begins); i++) {
        if (!text_starts_with(line, begins[i]))
            fail_msg("\"%s\" is not where expected in:\n%s", begins[i], l.faults);
        line = strchr(line, '\n') + 1;
    }
    assert_string_equal(line, "");
}

static void a_file_with_five_faults_lists_five(void **state)
{
    (void)state;
    AUTO_DONE(loaded)
    l = load("[app]\ndevice_nam = x\nlog_level = loud\n"
             "[detection]\nminimum_human_confidence = 80\nmdoel = auto\n"
             "[stoer]\npath = /x\n",
             NULL);
    assert_int_equal(l.result, -EINVAL);
    assert_string_equal(
        l.faults,
        "t.conf:2: app.device_nam: unknown key; did you mean \"device_name\"?\n"
        "t.conf:3: app.log_level: \"loud\" is unknown; write one of error, warning, notice, info, "
        "debug\n"
        "t.conf:5: detection.minimum_human_confidence: \"80\" is outside; write a number, within "
        "0..1\n"
        "t.conf:6: detection.mdoel: unknown key; did you mean \"model\"?\n"
        "t.conf:7: [stoer]: unknown section; did you mean [store]?\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_has_help_and_a_default_that_is_good),
        cmocka_unit_test(every_key_round_trips),
        cmocka_unit_test(the_sample_in_the_tree_is_current_and_loads),
        cmocka_unit_test(the_reference_in_the_tree_is_current),
        cmocka_unit_test(the_predecessors_file_and_environment_are_understood),
        cmocka_unit_test(an_account_names_a_camera_that_exists),
        cmocka_unit_test(the_predecessors_environment_alone_is_enough),
        cmocka_unit_test(an_unset_variable_of_the_predecessors_file_is_named),
        cmocka_unit_test(detection_runs_when_all_switches_agree),
        cmocka_unit_test(flags_and_plan_choose_the_detector),
        cmocka_unit_test(the_stronger_source_wins_between_ours_and_theirs),
        cmocka_unit_test(contradictions_are_faults),
        cmocka_unit_test(places_follow_data_dir),
        cmocka_unit_test(odd_devices_are_warned_of),
        cmocka_unit_test(a_storage_for_a_camera_that_there_is_not_is_warned_of),
        cmocka_unit_test(an_output_and_a_section_can_be_one_camera),
        cmocka_unit_test(hosts_must_be_hosts_and_a_broker_has_an_address),
        cmocka_unit_test(times_must_be_times),
        cmocka_unit_test(a_camera_with_no_more_than_a_location_pushes),
        cmocka_unit_test(accounts_say_whose_pictures_their_folders_hold),
        cmocka_unit_test(watched_folders_and_our_own_keep_apart),
        cmocka_unit_test(faults_of_all_kinds_come_together),
        cmocka_unit_test(a_file_with_five_faults_lists_five),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
