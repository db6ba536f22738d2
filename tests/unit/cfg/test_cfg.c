#include "cfg/cfg.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "sample_schema.h"

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

static struct loaded load_all(const char *text, char *const *environment,
                              const char *const *settings)
{
    struct loaded l = {0};
    struct cfg_source source = {
        .path = "t.conf", .text = text, .environment = environment, .settings = settings};
    l.result = cfg_load(&test_schema, &source, &l.c, &l.faults, &l.warnings);
    return l;
}

static struct loaded load(const char *text)
{
    return load_all(text, no_environment, NULL);
}

static const struct main_values *values(const struct loaded *l)
{
    assert_int_equal(l->result, 0);
    return cfg_values(l->c, &main_section);
}

static void defaults_come_from_the_rows(void **state)
{
    (void)state;
    struct cfg_source source = {.environment = no_environment};
    AUTO_DONE(loaded) l = {0};
    l.result = cfg_load(&test_schema, &source, &l.c, &l.faults, &l.warnings);
    const struct main_values *v = values(&l);
    assert_string_equal(v->title, "none");
    assert_string_equal(v->secret, "");
    assert_string_equal(v->file, "./data");
    assert_string_equal(v->listen, "127.0.0.1:80");
    assert_true(v->on);
    assert_int_equal(v->count, 3);
    assert_int_equal(v->wait_ms, 5000);
    assert_int_equal(v->size, 10 << 20);
    assert_true(v->level == 0.5);
    assert_int_equal(v->mode, 0);
    assert_string_equal(v->labels[0], "a");
    assert_string_equal(v->labels[1], "b");
    assert_null(v->labels[2]);
    assert_null(v->lines[0]);
    assert_int_equal(cfg_instance_count(l.c, &box_section), 0);
    assert_false(cfg_is_set(l.c, &main_section, NULL, "title"));
    assert_null(l.faults);
    assert_null(l.warnings);
}

static void every_type_is_read_from_a_file(void **state)
{
    (void)state;
    AUTO_DONE(loaded)
    l = load("[main]\ntitle = My # title; yes\nsecret=s3\nfile=/x y\n"
             "listen=[::1]:8080\non=no\ncount=10\nwait=7\nsize=64k\nlevel=0.25\n"
             "mode=Digest\nlabels=person, car ,dog\nlines=A: b, c; D: e\n");
    const struct main_values *v = values(&l);
    assert_string_equal(v->title, "My # title; yes");
    assert_string_equal(v->secret, "s3");
    assert_string_equal(v->file, "/x y");
    assert_string_equal(v->listen, "[::1]:8080");
    assert_false(v->on);
    assert_int_equal(v->count, 10);
    assert_int_equal(v->wait_ms, 7000);
    assert_int_equal(v->size, 65536);
    assert_true(v->level == 0.25);
    assert_int_equal(v->mode, 2);
    assert_string_equal(v->labels[1], "car");
    assert_string_equal(v->labels[2], "dog");
    assert_null(v->labels[3]);
    assert_string_equal(v->lines[0], "A: b, c");
    assert_string_equal(v->lines[1], "D: e");
    assert_null(v->lines[2]);
    assert_true(cfg_is_set(l.c, &main_section, NULL, "title"));
    assert_int_equal(cfg_key_origin(l.c, &main_section, NULL, "title"), CFG_FROM_FILE);
}

static void a_choice_of_yes_and_no_takes_other_words_for_them(void **state)
{
    (void)state;
    static const char *const names[] = {"auto", "yes", "no", NULL};
    static const struct cfg_key keys[] = {
        {"way", CFG_CHOICE, .fallback = "auto", .choices = names, .help = "a choice"}};
    static const struct cfg_section section = {"some",          false,   sizeof(int), keys,
                                               ARRAY_LEN(keys), "Some.", NULL};
    static const struct cfg_section *const sections[] = {&section, NULL};
    static const struct cfg_schema schema = {.sections = sections};
    static const struct {
        const char *text;
        int index; /* -1 = refused */
    } cases[] = {{"auto", 0}, {"Yes", 1}, {"true", 1}, {"on", 1},    {"1", 1},
                 {"no", 2},   {"off", 2}, {"0", 2},    {"FALSE", 2}, {"perhaps", -1}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO_FREE char *text = xasprintf("[some]\nway = %s\n", cases[i].text);
        AUTO_FREE char *faults = NULL;
        struct cfg_source source = {.path = "t.conf", .text = text, .environment = no_environment};
        AUTO(cfg) c = NULL;
        int r = cfg_load(&schema, &source, &c, &faults, NULL);
        if (r < 0 ? cases[i].index >= 0 : *(const int *)cfg_values(c, &section) != cases[i].index)
            fail_msg("%s: %s", cases[i].text, r < 0 ? faults : "another");
    }
    /* Others stay as they are: 1 is none of auto, basic, digest. */
    AUTO_DONE(loaded) l = load_all("[main]\nmode = 1\n", NULL, NULL);
    assert_true(l.result < 0);
}

static void lists_continue_on_indented_lines(void **state)
{
    (void)state;
    AUTO_DONE(loaded) l = load("[main]\nlabels = a,\n  b\n  c, d\nlines =\n  X: 1\n  Y: 2;Z: 3\n");
    const struct main_values *v = values(&l);
    assert_string_equal(v->labels[3], "d");
    assert_null(v->labels[4]);
    assert_string_equal(v->lines[0], "X: 1");
    assert_string_equal(v->lines[2], "Z: 3");
}

static void named_sections_keep_their_order_and_names(void **state)
{
    (void)state;
    AUTO_DONE(loaded) l = load("[box:zoo]\nurl=a\n[box:B.2_x-y]\nurl=b\nlow=4\n");
    assert_int_equal(l.result, 0);
    assert_int_equal(cfg_instance_count(l.c, &box_section), 2);
    assert_string_equal(cfg_instance_name(l.c, &box_section, 0), "zoo");
    assert_string_equal(cfg_instance_name(l.c, &box_section, 1), "B.2_x-y");
    const struct box_values *b = cfg_instance_values(l.c, &box_section, 1);
    assert_string_equal(b->url, "b");
    assert_int_equal(b->low, 4);
    assert_int_equal(b->high, 9);
    assert_true(cfg_is_set(l.c, &box_section, "B.2_x-y", "low"));
    assert_false(cfg_is_set(l.c, &box_section, "zoo", "low"));
}

static void each_fault_says_where_what_and_what_would_be_right(void **state)
{
    (void)state;
    static const struct {
        const char *text, *fault;
    } cases[] = {
        {"[main]\non = maybe\n",
         "t.conf:2: main.on: \"maybe\" is not a yes or no; write true or false\n"},
        {"[main]\ncount = 11\n",
         "t.conf:2: main.count: \"11\" is outside; write a whole number, within 1..10\n"},
        {"[main]\ncount = 1.5\n",
         "t.conf:2: main.count: \"1.5\" is not a whole number; write a whole number, within "
         "1..10\n"},
        {"[main]\ncount =\n", "t.conf:2: main.count: is empty; write a whole number, within "
                              "1..10\n"},
        {"[main]\nlevel = 1.5\n",
         "t.conf:2: main.level: \"1.5\" is outside; write a number, within 0..1\n"},
        {"[main]\nlevel = 0,5\n",
         "t.conf:2: main.level: \"0,5\" is not a number; write a number, within 0..1\n"},
        {"[main]\nwait = 5 parsecs\n",
         "t.conf:2: main.wait: \"5 parsecs\" is not a duration; write a duration such as 500ms, "
         "5s, 10m or 2h, within 100ms..10m\n"},
        {"[main]\nwait = 1h\n", "t.conf:2: main.wait: \"1h\" is outside; write a duration such as "
                                "500ms, 5s, 10m or 2h, within 100ms..10m\n"},
        {"[main]\nsize = 2GB\n", "t.conf:2: main.size: \"2GB\" is outside; write a size such as "
                                 "512KB or 10MB, within 1KB..1GB\n"},
        {"[main]\nmode = diegst\n", "t.conf:2: main.mode: \"diegst\" is unknown; did you mean "
                                    "\"digest\"? It is one of auto, basic, digest\n"},
        {"[main]\nmode = kerberos\n",
         "t.conf:2: main.mode: \"kerberos\" is unknown; write one of auto, basic, digest\n"},
        {"[main]\nmode =\n", "t.conf:2: main.mode: is empty; write one of auto, basic, digest\n"},
        {"[main]\nlisten = 8080\n", "t.conf:2: main.listen: \"8080\" is not an address; write "
                                    "host:port or [v6]:port\n"},
        {"[main]\nlisten = ::1:8080\n",
         "t.conf:2: main.listen: \"::1:8080\" is not an address; write host:port or [v6]:port\n"},
        {"[main]\nlisten = h:65536\n",
         "t.conf:2: main.listen: \"h:65536\" has a port outside 0..65535\n"},
        {"[main]\ntitle = bad\n",
         "t.conf:2: main.title: \"bad\" is not accepted: any title but bad\n"},
        {"[main]\nmod = auto\n", "t.conf:2: main.mod: unknown key; did you mean \"mode\"?\n"},
        {"[main]\nMode = auto\n", "t.conf:2: main.Mode: unknown key; did you mean \"mode\"? Names "
                                  "are case-sensitive\n"},
        {"[main]\nfrobnicate = 1\n", "t.conf:2: main.frobnicate: unknown key; `snapshotd config "
                                     "--reference` lists all of [main]\n"},
        {"[main]\npassword = x\n",
         "t.conf:2: main.password: unknown key here; it belongs in [box:NAME]\n"},
        {"[mian]\nx = 1\ny = 2\n", "t.conf:1: [mian]: unknown section; did you mean [main]?\n"},
        {"[bxo:porch]\n", "t.conf:1: [bxo:porch]: unknown section; did you mean [box:porch]?\n"},
        {"[other things]\n", "t.conf:1: [other things]: unknown section; `snapshotd config "
                             "--reference` lists all\n"},
        {"[box]\n", "t.conf:1: [box]: the section needs a name; write [box:NAME]\n"},
        {"[main:x]\n", "t.conf:1: [main:x]: the section has no name of its own; write [main]\n"},
        {"[box:a b]\n", "t.conf:1: [box:a b]: the name after the colon must be 1 to 40 letters, "
                        "digits, '_', '-' or '.', and begin with a letter, digit or '_'\n"},
        {"[box:a]\nurl=1\n[box:A]\nurl=2\n", "t.conf:3: [box:A]: differs from [box:a] by letter "
                                             "case only; choose another name\n"},
        {"[box:a]\n", "t.conf:1: box:a.url: must be given: where the box is\n"},
        {"[box:a]\nurl =\n", "t.conf:2: box:a.url: must be given: where the box is\n"},
        {"[box:a]\nurl = u\nlow = 10\n", "t.conf:3: box:a.low: 10 is above high = 9\n"},
        {"[box:a]\nurl = u\nhigh = 0\n", "t.conf:1: box:a.low: 1 is above high = 0\n"},
        {"[main]\ncount=1\ncount=2\n",
         "t.conf:3: main.count: given twice; its first place is line 2\n"},
        {"[main]\n[main]\n", "t.conf:2: [main]: the section is here twice; its first place is line "
                             "1\n"},
        {"x = 1\n", "t.conf:1: x: the key stands before any section; put [section] above it\n"},
        {"[main]\ntitle = a\n  b\n",
         "t.conf:3: main.title: the indented line continues the value above, which has only one "
         "line; remove the blanks at its beginning, or the line\n"},
        {"[main]\nwhat\n",
         "t.conf:2: this is neither a [section], nor key = value, nor a # comment\n"},
        {"[main]\ntitle = a\x01 b\n", "t.conf:2: main.title: the value holds a control "
                                      "character\n"},
        {"[main]\ntitle = %(NOT_THERE)s\n",
         "t.conf:2: main.title: the environment variable NOT_THERE is not set; set it, or write "
         "the value itself\n"},
        {"[main]\ntitle = %(OPEN\n",
         "t.conf:2: main.title: %( begins a variable but no )s ends it; write %(NAME)s, or %%%%( "
         "for the two characters themselves\n"},
        {"[box:a]\nurl = %(NOT_THERE)s\n",
         "t.conf:2: box:a.url: the environment variable NOT_THERE is not set; set it, or write "
         "the value itself\n"},
        {"[main]\nsecret = env:NOT_THERE\n",
         "t.conf:2: main.secret: the environment variable NOT_THERE is not set\n"},
        {"[main]\nsecret = file:/nonexistent/x\n",
         "t.conf:2: main.secret: cannot open /nonexistent/x: No such file or directory\n"},
        {"[main]\nsecret = file:\n",
         "t.conf:2: main.secret: the path is empty or too long; write file:/path/of/it\n"},
        {"[main]\nsecret = credential:pw\n",
         "t.conf:2: main.secret: there are no credentials ($CREDENTIALS_DIRECTORY is not set); "
         "start by systemd with LoadCredential=pw:...\n"},
        {"[main]\nsecret = ***\n",
         "t.conf:2: main.secret: *** is the mask of a secret, not a value; write the secret, or "
         "env:NAME, file:PATH or credential:NAME\n"},
        /* What follows from a fault is not another. */
        {"[box:a]\nulr = u\n", "t.conf:2: box:a.ulr: unknown key; did you mean \"url\"?\n"},
        {"[box:a]\nurl = u\nlow = x\nhigh = 0\n",
         "t.conf:3: box:a.low: \"x\" is not a whole number; write a whole number\n"},
        {"[box:a]\nurl = u\nfoo = x\nlow = 10\n",
         "t.conf:3: box:a.foo: unknown key; `snapshotd config --reference` lists all of "
         "[box:NAME]\n"
         "t.conf:4: box:a.low: 10 is above high = 9\n"},
        {"[main]\nN0 = x\n", "t.conf:2: main.N0: unknown key; did you mean \"N#\"?\n"},
        {"[main]\nold_count = x\n",
         "t.conf:2: main.count: \"x\" is not a whole number; write a whole number, within 1..10\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO_DONE(loaded) l = load(cases[i].text);
        if (l.result != -EINVAL)
            print_error("no fault for: %s", cases[i].text);
        assert_int_equal(l.result, -EINVAL);
        assert_null(l.c);
        assert_string_equal(l.faults, cases[i].fault);
    }
}

static void all_faults_are_reported_at_once_in_the_order_of_lines(void **state)
{
    (void)state;
    static const char *const settings[] = {"main.size=x", "nonsense", NULL};
    static char *const environment[] = {"T_MAIN_LEVEL=7", NULL};
    AUTO_DONE(loaded)
    l = load_all("[main]\ncount = 99\nmodel = x\n[unknown]\n[box:a]\nlow = x\n"
                 "oops\n",
                 environment, settings);
    assert_int_equal(l.result, -EINVAL);
    assert_string_equal(
        l.faults,
        "t.conf:2: main.count: \"99\" is outside; write a whole number, within 1..10\n"
        "t.conf:3: main.model: unknown key; did you mean \"mode\"?\n"
        "t.conf:4: [unknown]: unknown section; `snapshotd config --reference` lists all\n"
        "t.conf:5: box:a.url: must be given: where the box is\n"
        "t.conf:6: box:a.low: \"x\" is not a whole number; write a whole number\n"
        "t.conf:7: this is neither a [section], nor key = value, nor a # comment\n"
        "--set: \"nonsense\" is not understood; write section.key=value\n"
        "--set: main.size: \"x\" is not a size; write a size such as 512KB or 10MB, within "
        "1KB..1GB\n"
        "environment variable T_MAIN_LEVEL: main.level: \"7\" is outside; write a number, within "
        "0..1\n");
}

static void the_number_of_faults_is_bounded(void **state)
{
    (void)state;
    AUTO_DONE(dynbuf) text;
    dynbuf_init(&text, 1 << 20);
    (void)dynbuf_puts(&text, "[main]\n");
    for (int i = 0; i < 1000; i++)
        (void)dynbuf_puts(&text, "oops\n");
    AUTO_DONE(loaded) l = load(dynbuf_str(&text));
    assert_int_equal(l.result, -EINVAL);
    assert_non_null(strstr(l.faults, "\n... and 800 more\n"));
}

static void interpolation_takes_the_environment_as_it_is(void **state)
{
    (void)state;
    static char *const environment[] = {"NAME=Front Door", "EMPTY=", "ODD=50%% %(NAME)s", NULL};
    static const struct {
        const char *text, *value;
    } cases[] = {
        {"%(NAME)s", "Front Door"},
        {"the %(NAME)s, %(NAME)s!", "the Front Door, Front Door!"},
        {"%(EMPTY)s", ""},
        {"%(ODD)s", "50%% %(NAME)s"},
        /* A lone sign stays; a doubled one is halved, and the predecessor does so twice. */
        {"a%20b", "a%20b"},
        {"100%", "100%"},
        {"100%%", "100%"},
        {"100%%%%", "100%"},
        {"%%%%(NAME)s", "%(NAME)s"},
        {"%%(NAME)s", "Front Door"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO_FREE char *text = xasprintf("[main]\ntitle = %s\n", cases[i].text);
        AUTO_DONE(loaded) l = load_all(text, environment, NULL);
        assert_string_equal(values(&l)->title, cases[i].value);
    }
}

static void each_source_overrides_the_one_before(void **state)
{
    (void)state;
    char *const environment[] = {"MAIN_ON=false", "on=yes", "T_MAIN_ON=no", NULL};
    static const char *const settings[] = {"main.on=true", NULL};
    struct {
        const char *text;
        char *environment[4];
        const char *const *settings;
        bool on;
        enum cfg_origin origin;
    } cases[] = {
        {"", {NULL}, NULL, true, CFG_FROM_DEFAULT},
        {"[main]\non=false\n", {NULL}, NULL, false, CFG_FROM_FILE},
        {"[main]\non=true\n", {environment[0]}, NULL, false, CFG_FROM_ENVIRONMENT},
        {"[main]\non=true\n", {environment[0], environment[1]}, NULL, true, CFG_FROM_ENVIRONMENT},
        {"[main]\non=true\n",
         {environment[0], environment[1], environment[2]},
         NULL,
         false,
         CFG_FROM_PREFIXED},
        {"[main]\non=false\n",
         {environment[0], environment[1], environment[2]},
         settings,
         true,
         CFG_FROM_SETTING},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO_DONE(loaded) l = load_all(cases[i].text, cases[i].environment, cases[i].settings);
        assert_int_equal(values(&l)->on, cases[i].on);
        assert_int_equal(cfg_key_origin(l.c, &main_section, NULL, "on"), cases[i].origin);
    }
}

static void an_empty_variable_of_the_row_counts_as_not_set(void **state)
{
    (void)state;
    static char *const environment[] = {"MAIN_ON=", "T_MAIN_TITLE=", NULL};
    AUTO_DONE(loaded) l = load_all("[main]\non=false\ntitle=x\n", environment, NULL);
    assert_false(values(&l)->on);
    assert_string_equal(values(&l)->title, "");
}

static void the_environment_reaches_named_sections(void **state)
{
    (void)state;
    static char *const environment[] = {"T_BOX_FRONT_DOOR_PASSWORD=pw", "T_CONFIG=x", NULL};
    AUTO_DONE(loaded) l = load_all("[box:front-door]\nurl=u\n", environment, NULL);
    assert_int_equal(l.result, 0);
    const struct box_values *b = cfg_instance_values(l.c, &box_section, 0);
    assert_string_equal(b->password, "pw");
    assert_null(l.warnings);
}

static void settings_reach_and_make_named_sections(void **state)
{
    (void)state;
    static const char *const settings[] = {"box:a.b.url=http://x/?a=1.2", "box:old.low=2", NULL};
    AUTO_DONE(loaded) l = load_all("[box:old]\nurl=u\n", no_environment, settings);
    assert_int_equal(l.result, 0);
    assert_int_equal(cfg_instance_count(l.c, &box_section), 2);
    const struct box_values *b = cfg_instance_values(l.c, &box_section, 1);
    assert_string_equal(cfg_instance_name(l.c, &box_section, 1), "a.b");
    assert_string_equal(b->url, "http://x/?a=1.2");
    b = cfg_instance_values(l.c, &box_section, 0);
    assert_int_equal(b->low, 2);
}

static void faulty_settings_are_named_without_their_value(void **state)
{
    (void)state;
    static const struct {
        const char *setting, *fault;
    } cases[] = {
        {"x", "--set: \"x\" is not understood; write section.key=value\n"},
        {"password=hunter2", "--set: \"password\" is not understood; write section.key=value\n"},
        {"main.cuont=2", "--set: main.cuont: unknown key; did you mean \"count\"?\n"},
        {"mian.count=2", "--set: [mian]: unknown section; did you mean [main]?\n"},
        {"main.count=20",
         "--set: main.count: \"20\" is outside; write a whole number, within 1..10\n"},
        {"box:/.url=20", "--set: [box:/]: the name after the colon must be 1 to 40 letters, "
                         "digits, '_', '-' or '.', and begin with a letter, digit or '_'\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *const settings[] = {cases[i].setting, NULL};
        AUTO_DONE(loaded) l = load_all("", no_environment, settings);
        assert_int_equal(l.result, -EINVAL);
        assert_string_equal(l.faults, cases[i].fault);
    }
}

struct collected {
    char text[200];
};

static void collect(unsigned number, const char *value, void *arg)
{
    struct collected *c = arg;
    size_t used = strlen(c->text);
    (void)text_format(c->text + used, sizeof c->text - used, "%u=%s;", number, value);
}

static void numbered_keys_come_from_all_sources_in_order(void **state)
{
    (void)state;
    static char *const environment[] = {"N_9_NAME=nine",
                                        "N_2_NAME=two",
                                        "T_MAIN_N12=twelve",
                                        "N_3_NAME=",
                                        "N_0_NAME=no",
                                        "N_01_NAME=no",
                                        NULL};
    static const char *const settings[] = {"main.N1=one", NULL};
    AUTO_DONE(loaded) l = load_all("[main]\nN9=file\nN10=ten\nN3=\n", environment, settings);
    struct collected c = {""};
    assert_int_equal(l.result, 0);
    cfg_numbered(l.c, &main_section, "N#", collect, &c);
    assert_string_equal(c.text, "1=one;2=two;3=;9=nine;10=ten;12=twelve;");
    assert_true(cfg_is_set(l.c, &main_section, NULL, "N#"));
}

static void secrets_come_from_files_variables_and_credentials(void **state)
{
    (void)state;
    char folder[] = "/tmp/test_cfg_XXXXXX";
    assert_non_null(mkdtemp(folder));
    AUTO_FREE char *secret = xasprintf("%s/pw", folder);
    AUTO_FREE char *conf = xasprintf("%s/c.conf", folder);
    AUTO_FREE char *credentials = xasprintf("CREDENTIALS_DIRECTORY=%s", folder);
    FILE *f = fopen(secret, "w");
    assert_non_null(f);
    assert_true(fputs("from file \r\n", f) >= 0);
    assert_int_equal(fclose(f), 0);
    char *const environment[] = {credentials, "PW=from environment", NULL};
    const struct {
        const char *value, *secret;
    } cases[] = {
        {"env:PW", "from environment"},
        {"file:pw", "from file "},
        {"credential:pw", "from file "},
        {"plain", "plain"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO_DONE(loaded) l = {0};
        f = fopen(conf, "w");
        assert_non_null(f);
        assert_true(fprintf(f, "[main]\nsecret = %s\n", cases[i].value) > 0);
        assert_int_equal(fclose(f), 0);
        struct cfg_source source = {.path = conf, .environment = environment};
        l.result = cfg_load(&test_schema, &source, &l.c, &l.faults, &l.warnings);
        assert_string_equal(values(&l)->secret, cases[i].secret);
    }
    assert_int_equal(unlink(secret), 0);
    assert_int_equal(unlink(conf), 0);
    assert_int_equal(rmdir(folder), 0);
}

static void a_file_that_cannot_be_read_is_named(void **state)
{
    (void)state;
    struct cfg_source source = {.path = "/nonexistent.conf", .environment = no_environment};
    AUTO_DONE(loaded) l = {0};
    l.result = cfg_load(&test_schema, &source, &l.c, &l.faults, &l.warnings);
    assert_int_equal(l.result, -ENOENT);
    assert_string_equal(l.faults, "/nonexistent.conf: cannot open it: No such file or directory\n");
    source.path = "/";
    free(l.faults);
    l.result = cfg_load(&test_schema, &source, &l.c, &l.faults, &l.warnings);
    assert_int_equal(l.result, -EISDIR);
    assert_string_equal(l.faults, "/: cannot read it: Is a directory\n");
}

static void warnings_tell_of_what_has_no_effect_yet(void **state)
{
    (void)state;
    static char *const environment[] = {"T_MAIN_TITEL=x", "T_FOO_BAR_BAZ=x", "TOTAL=x", NULL};
    AUTO_DONE(loaded)
    l = load_all("[main]\nlater = x\nold_count = 4\n", environment, NULL);
    assert_int_equal(values(&l)->count, 4);
    assert_string_equal(
        l.warnings,
        "t.conf:2: main: later: accepted, without effect until a later release\n"
        "t.conf:3: main.old_count: retired; write main.count\n"
        "environment variable T_MAIN_TITEL: matches no key; did you mean T_MAIN_TITLE?\n"
        "environment variable T_FOO_BAR_BAZ: matches no key and has no effect\n");
    AUTO_DONE(loaded) both = load("[main]\ncount = 5\nold_count = 4\n");
    assert_int_equal(values(&both)->count, 5);
    assert_string_equal(both.warnings, "t.conf:3: main.old_count: retired, and without effect "
                                       "beside main.count\n");
}

static void a_failing_allocation_is_an_ordinary_answer(void **state)
{
    (void)state;
    static char *const environment[] = {"V=value", "N_2_NAME=two", NULL};
    static const char *const settings[] = {"box:b.url=u", NULL};
    static const char text[] = "[main]\ntitle=%(V)s %%\nlabels=a,\n  b\nN1=x\nlater=y\nsecret=z\n"
                               "[box:a]\nurl=u\n";
    static const char faulty[] = "[main]\ncount=x\nfoo=1\n";
    mem_fail_at(0);
    for (uint64_t n = 1;; n++) {
        mem_fail_at(n);
        AUTO_DONE(loaded) l = load_all(n % 2 ? text : faulty, environment, settings);
        uint64_t made = mem_try_count();
        mem_fail_at(0);
        if (n > made && n % 2) {
            assert_int_equal(l.result, 0);
            break;
        }
        if (n <= made) {
            assert_true(l.result == -ENOMEM || (n % 2 == 0 && l.result == -EINVAL) ||
                        (n % 2 && l.result == 0));
        }
        assert_true(n < 1000);
    }
    for (uint64_t n = 1;; n++) {
        mem_fail_at(n);
        AUTO_DONE(loaded) l = load_all(text, environment, settings);
        uint64_t made = mem_try_count();
        mem_fail_at(0);
        if (n > made)
            break;
    }
}

static void limits_hold(void **state)
{
    (void)state;
    AUTO_DONE(dynbuf) text;
    dynbuf_init(&text, 4 << 20);
    for (int i = 0; i < 1001; i++)
        (void)dynbuf_printf(&text, "[box:b%d]\nurl=u\n", i);
    AUTO_DONE(loaded) many = load(dynbuf_str(&text));
    assert_int_equal(many.result, -EINVAL);
    assert_string_equal(many.faults,
                        "t.conf:2001: [box:b1000]: more than 1000 sections of this kind\n");
    dynbuf_reset(&text);
    (void)dynbuf_puts(&text, "[main]\nlabels=");
    for (int i = 0; i < 1001; i++)
        (void)dynbuf_printf(&text, "%d,", i);
    AUTO_DONE(loaded) list = load(dynbuf_str(&text));
    assert_int_equal(list.result, -EINVAL);
    assert_string_equal(list.faults,
                        "t.conf:2: main.labels: has 1001 items; at most 1000 are allowed\n");
    AUTO_FREE char *huge = xmalloc(70000);
    memset(huge, 'x', 70000);
    memcpy(huge, "BIG=", 4);
    huge[69999] = '\0';
    char *const environment[] = {huge, NULL};
    AUTO_DONE(loaded) l = load_all("[main]\ntitle=%(BIG)s\n", environment, NULL);
    assert_int_equal(l.result, -EINVAL);
    assert_string_equal(l.faults, "t.conf:2: main.title: the value is longer than 64 KB\n");
}

static void add_line(const char *value, void *arg)
{
    char *text = arg;
    size_t len = strlen(text);
    (void)snprintf(text + len, 500 - len, "%s|", value);
}

static void all_secrets_can_be_had_for_leaving_them_out(void **state)
{
    (void)state;
    char text[500] = "";
    char *environment[] = {"PW=from outside", NULL};
    AUTO_DONE(loaded)
    l = load_all("[main]\nsecret = one\n[box:a]\nurl = u\npassword = two\n[box:b]\nurl = u\n"
                 "password = env:PW\n",
                 environment, NULL);
    assert_int_equal(l.result, 0);
    cfg_each_secret(l.c, add_line, text);
    assert_string_equal(text, "one|two|from outside|");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_come_from_the_rows),
        cmocka_unit_test(every_type_is_read_from_a_file),
        cmocka_unit_test(a_choice_of_yes_and_no_takes_other_words_for_them),
        cmocka_unit_test(lists_continue_on_indented_lines),
        cmocka_unit_test(named_sections_keep_their_order_and_names),
        cmocka_unit_test(each_fault_says_where_what_and_what_would_be_right),
        cmocka_unit_test(all_faults_are_reported_at_once_in_the_order_of_lines),
        cmocka_unit_test(the_number_of_faults_is_bounded),
        cmocka_unit_test(interpolation_takes_the_environment_as_it_is),
        cmocka_unit_test(each_source_overrides_the_one_before),
        cmocka_unit_test(an_empty_variable_of_the_row_counts_as_not_set),
        cmocka_unit_test(the_environment_reaches_named_sections),
        cmocka_unit_test(settings_reach_and_make_named_sections),
        cmocka_unit_test(faulty_settings_are_named_without_their_value),
        cmocka_unit_test(numbered_keys_come_from_all_sources_in_order),
        cmocka_unit_test(secrets_come_from_files_variables_and_credentials),
        cmocka_unit_test(a_file_that_cannot_be_read_is_named),
        cmocka_unit_test(warnings_tell_of_what_has_no_effect_yet),
        cmocka_unit_test(a_failing_allocation_is_an_ordinary_answer),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(all_secrets_can_be_had_for_leaving_them_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
