#include "ftp/ftp_config.h"

#include "../test.h"

#include <errno.h>

#include "base/mem.h"

static const struct cfg_section *const sections[] = {&ftp_cfg_section, &ftp_account_cfg_section,
                                                     NULL};
static const struct cfg_schema schema = {
    .sections = sections, .env_prefix = "SNAPSHOTD", .check = ftp_config_check};
static char *const no_environment[] = {NULL};

/* NULL with the faults when it is not accepted. */
static struct cfg *load(const char *text, char *const *environment, char **ret_faults)
{
    struct cfg_source source = {.path = "t.conf", .text = text, .environment = environment};
    struct cfg *c = NULL;
    return cfg_load(&schema, &source, &c, ret_faults, NULL) < 0 ? NULL : c;
}

static struct cfg *load_good(const char *text, char *const *environment)
{
    AUTO_FREE char *faults = NULL;
    struct cfg *c = load(text, environment, &faults);
    if (!c)
        fail_msg("%s: %s", text, faults);
    return c;
}

static char *warnings_of(const char *text)
{
    AUTO(cfg) c = load_good(text, no_environment);
    AUTO(cfg_faults) warnings = cfg_faults_new(c);
    ftp_config_warn(c, warnings);
    return cfg_faults_take(warnings);
}

static void the_defaults_are_safe_and_durable(void **state UNUSED)
{
    AUTO(cfg) c = load_good("", no_environment);
    const struct ftp_config *f = cfg_values(c, &ftp_cfg_section);
    assert_int_equal(f->enabled, FTP_ENABLED_AUTO);
    assert_false(ftp_config_runs(f, 0));
    assert_true(ftp_config_runs(f, 1));
    assert_string_equal(f->user, "");
    assert_string_equal(f->password, "");
    assert_string_equal(f->listen, "");
    assert_int_equal(f->port, 0);
    assert_int_equal(ftp_config_tls(f), FTP_TLS_OFF);
    assert_true(f->sync);
    assert_true(f->check_end);
    assert_true(f->active);
    assert_false(f->tls_strict);
    assert_int_equal(f->sessions_max, 2048);
    assert_int_equal(f->sessions_known, 64);
    assert_int_equal(f->login_failures_max, 10);
    assert_int_equal(f->ban_ms, 60000);
    assert_int_equal(f->login_timeout_ms, 30000);
    assert_int_equal(f->command_timeout_ms, 15000);
    assert_int_equal(f->idle_timeout_ms, 300000);
    assert_int_equal(f->data_timeout_ms, 30000);
    assert_int_equal(f->stall_timeout_ms, 60000);
    assert_int_equal(f->buffers, 4 << 20);
    assert_int_equal(f->disk_threads, 8);
    assert_null(warnings_of(""));
}

static void the_originals_variables_are_taken(void **state UNUSED)
{
    static char *const environment[] = {"RUN_FTP_SERVER=true", "FTP_USER=cams",
                                        "FTP_PASS=correct horse",
                                        "FTP_CREATE_DIRS=snapshots/a,snapshots/b", NULL};
    AUTO(cfg) c = load_good("[ftp]\nport=21\n", environment);
    const struct ftp_config *f = cfg_values(c, &ftp_cfg_section);
    assert_int_equal(f->enabled, FTP_ENABLED_YES);
    assert_int_equal(f->port, 21);
    assert_string_equal(f->user, "cams");
    assert_string_equal(f->password, "correct horse");
    assert_string_equal(f->create_dirs[0], "snapshots/a");
    assert_string_equal(f->create_dirs[1], "snapshots/b");
    assert_null(f->create_dirs[2]);

    static char *const off[] = {"RUN_FTP_SERVER=false", "FTP_USER=cams", "FTP_PASS=x", NULL};
    AUTO(cfg) no = load_good("", off); /* who does not want it is not asked for a good password */
    assert_false(ftp_config_runs(cfg_values(no, &ftp_cfg_section), 1));
}

static void tls_follows_the_certificate_unless_told(void **state UNUSED)
{
    static const struct {
        const char *lines;
        enum ftp_tls wanted;
    } cases[] = {
        {"", FTP_TLS_OFF},
        {"tls_cert_file=c\ntls_key_file=k\n", FTP_TLS_OPTIONAL},
        {"tls_cert_file=c\ntls_key_file=k\ntls=off\n", FTP_TLS_OFF},
        {"tls_cert_file=c\ntls_key_file=k\ntls=optional\n", FTP_TLS_OPTIONAL},
        {"tls_cert_file=c\ntls_key_file=k\ntls=REQUIRED\n", FTP_TLS_REQUIRED},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO_FREE char *text = xasprintf("[ftp]\n%s", cases[i].lines);
        AUTO(cfg) c = load_good(text, no_environment);
        if (ftp_config_tls(cfg_values(c, &ftp_cfg_section)) != cases[i].wanted)
            CASE_FAILS("%s", cases[i].lines);
    }
}

static void what_does_not_go_together_is_a_fault(void **state UNUSED)
{
    static const struct {
        const char *lines, *fault;
    } cases[] = {
        {"tls = required", "ftp.tls: required wants a certificate"},
        {"tls = optional", "ftp.tls: optional wants a certificate"},
        {"tls_cert_file = c", "ftp.tls_key_file: must be given with tls_cert_file"},
        {"tls_key_file = k", "ftp.tls_cert_file: must be given with tls_key_file"},
        {"tls_listen = 127.0.0.1", "ftp.tls_listen: wants TLS, which is off"},
        {"tls_cert_file = c\ntls_key_file = k\ntls = off\ntls_listen = 127.0.0.1",
         "and remove tls = off"},
        {"tls_reuse = yes", "ftp.tls_reuse: wants TLS, which is off"},
        {"passive_port_min = 50000", "ftp.passive_port_max: must be given with passive_port_min"},
        {"passive_port_max = 50000", "ftp.passive_port_min: must be given with passive_port_max"},
        {"passive_port_min = 50010\npassive_port_max = 50000",
         "ftp.passive_port_max: 50000 is below passive_port_min, 50010"},
        {"passive_port_min = 1000\npassive_port_max = 2000", "ports below 1024 belong to services"},
        {"passive_port_max = 65536", "ftp.passive_port_max"},
        {"sessions_max = 64", "ftp.sessions_known: 64 of sessions_max, 64, leaves nothing"},
        {"masquerade = cam.example", "it must be an IPv4 address"},
        {"masquerade = ::1", "it must be an IPv4 address"},
        {"masquerade = 0.0.0.0", "it must be an IPv4 address"},
        {"listen = 127.0.0.1:21\ntls_cert_file = c\ntls_key_file = k\ntls_listen = 127.0.0.1:21",
         "ftp.tls_listen: 127.0.0.1:21 is there twice"},
        {"listen = ::1, ::1", "ftp.listen: \"::1, ::1\" is not accepted: [::1]:21 is there twice"},
        {"listen = cam.example", "\"cam.example\" is not an address such as"},
        {"create_dirs = a,../b", "\"../b\" must be a plain path"},
        {"create_dirs = /a", "\"/a\" must be a plain path"},
        {"enabled = perhaps", "ftp.enabled"},
        {"enabled = yes", "ftp.enabled: is yes, but nobody could log in"},
        {"enabled = yes\nuser = me", "ftp.password: must be given with user"},
        {"enabled = yes\npassword = correct horse", "ftp.user: must be given with password"},
        {"idle_timeout = 1s", "ftp.idle_timeout"},
        {"buffers = 1KB", "ftp.buffers"},
        {"disk_threads = 0", "ftp.disk_threads"},
        {"[ftp_account:a]\npassword = correct horse\ntls_required = yes",
         "ftp_account:a.tls_required: asks for TLS, which the server does not have"},
        {"[ftp_account:a]\npassword = correct horse\nrights = store, steal",
         "steal is none of store, overwrite, list, read, delete, all"},
        {"[ftp_account:a]\npassword = correct horse\nhosts = cam.lan", "names are not looked up"},
        {"[ftp_account:a]\npassword = correct horse\nhosts = 10.0.0.0/33", "ftp_account:a.hosts"},
        {"[ftp_account:a]\npassword = correct horse\ndirectory = ../a", "plain path"},
        {"[ftp_account:a]\npassword = correct horse\ndirectory = /srv/a", "plain path"},
        {"[ftp_account:a]\npassword = correct horse\ndirectory = a/", "plain path"},
        {"[ftp_account:a]\npassword = correct horse\ndirectory = a\\b", "plain path"},
        {"[ftp_account:a]\npassword = correct horse\ndirectory = a/.incoming-x", "plain path"},
        {"[ftp_account:a]\npassword = correct horse\nsize_max = 1", "ftp_account:a.size_max"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO_FREE char *text = xasprintf("[ftp]\n%s\n", cases[i].lines);
        AUTO_FREE char *faults = NULL;
        AUTO(cfg) c = load(text, no_environment, &faults);
        if (c || !strstr(faults, cases[i].fault))
            CASE_FAILS("\"%s\": %s", cases[i].lines, c ? "accepted" : faults);
    }
}

static void what_may_not_be_meant_is_a_warning(void **state UNUSED)
{
    static const struct {
        const char *lines, *warning; /* NULL = none */
    } cases[] = {
        {"passive_port_min = 50000\npassive_port_max = 50009",
         "ftp.passive_port_max: leaves 10 ports for data connections"},
        {"passive_port_min = 50000\npassive_port_max = 50199", NULL},
        {"sync = no", "ftp.sync: is off"},
        {"sync = no\nenabled = no", NULL},
        {"user = me", "ftp.password: is missing"},
        {"password = correct horse", "ftp.user: is missing"},
        {"[ftp_account:a]\npassword = correct horse\n[ftp_account:b]\npassword = battery staple\n"
         "directory = a/b",
         "ftp_account:b.directory: lies in the folder of [ftp_account:a]"},
        {"[ftp_account:b]\npassword = battery staple\ndirectory = a/b\n[ftp_account:a]\n"
         "password = correct horse",
         "ftp_account:b.directory: lies in the folder of [ftp_account:a]"},
        {"[ftp_account:a]\npassword = correct horse\n[ftp_account:b]\npassword = battery staple\n"
         "directory = a",
         "ftp_account:b.directory: is the folder of [ftp_account:a] as well"},
        {"[ftp_account:a]\npassword = correct horse\n[ftp_account:ab]\npassword = battery staple",
         NULL}, /* a name that begins like another is no folder in it */
        {"user = me\npassword = correct horse\n[ftp_account:a]\npassword = battery staple", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO_FREE char *text = xasprintf("[ftp]\n%s\n", cases[i].lines);
        AUTO_FREE char *warnings = warnings_of(text);
        if (!cases[i].warning != !warnings || (warnings && !strstr(warnings, cases[i].warning)))
            CASE_FAILS("\"%s\": %s", cases[i].lines, warnings ? warnings : "no warning");
    }
}

/* ---- where it listens ---- */

/* "127.0.0.1:21 [::]:21? 1.2.3.4:990!": ? may be none, ! with TLS; or the fault. */
static char *listeners_of(const struct ftp_config *c, bool low_ports)
{
    struct ftp_listener l[FTP_LISTENERS_MAX];
    struct err e = {0};
    AUTO_DONE(dynbuf) text;
    dynbuf_init(&text, 4096);
    int count = ftp_config_listeners(c, low_ports, l, &e);
    if (count < 0)
        return xstrdup(e.text);
    for (int i = 0; i < count; i++)
        (void)dynbuf_printf(&text, "%s%s%s%s", i ? " " : "", l[i].text, l[i].may_be_none ? "?" : "",
                            l[i].tls ? "!" : "");
    return dynbuf_steal(&text, NULL);
}

static void it_listens_where_it_is_told_to(void **state UNUSED)
{
    static const struct {
        const char *listen;
        int64_t port;
        const char *tls_listen;
        const char *with_low_ports, *without; /* NULL = the same */
    } cases[] = {
        {"", 0, "", "127.0.0.1:21", "127.0.0.1:2121"},
        {"", 2100, "", "0.0.0.0:2100 [::]:2100?", NULL},
        {"192.0.2.1", 0, "", "192.0.2.1:21", "192.0.2.1:2121"},
        {"192.0.2.1", 2100, "", "192.0.2.1:2100", NULL},
        {"192.0.2.1:3000, [2001:db8::1]:3001,::1", 0, "",
         "192.0.2.1:3000 [2001:db8::1]:3001 [::1]:21",
         "192.0.2.1:3000 [2001:db8::1]:3001 [::1]:2121"},
        {"*", 0, "", "0.0.0.0:21 [::]:21?", "0.0.0.0:2121 [::]:2121?"},
        {"*:2200", 21, "", "0.0.0.0:2200 [::]:2200?", NULL},
        {"[::1]", 7, "", "[::1]:7", NULL},
        {"LocalHost:2121", 0, "", "127.0.0.1:2121", NULL},
        {"127.0.0.1:0,127.0.0.1:0", 0, "", "127.0.0.1:0 127.0.0.1:0", NULL},
        {"", 0, "192.0.2.1", "127.0.0.1:21 192.0.2.1:990!", "127.0.0.1:2121 192.0.2.1:2990!"},
        {"", 0, "*:9990", "127.0.0.1:21 0.0.0.0:9990! [::]:9990?!",
         "127.0.0.1:2121 0.0.0.0:9990! [::]:9990?!"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct ftp_config c = {
            .listen = cases[i].listen, .port = cases[i].port, .tls_listen = cases[i].tls_listen};
        AUTO_FREE char *low = listeners_of(&c, true);
        AUTO_FREE char *high = listeners_of(&c, false);
        test_expect_text(cases[i].listen, low, cases[i].with_low_ports);
        test_expect_text(cases[i].listen, high,
                         cases[i].without ? cases[i].without : cases[i].with_low_ports);
    }
}

static void addresses_that_cannot_be_are_refused(void **state UNUSED)
{
    static const char *const cases[] = {
        "example.org",
        "127.0.0.1:",
        "127.0.0.1:x",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "[::1",
        "[::1]x",
        "[::1]:",
        "[]",
        ":21",
        "1.2.3.4.5",
        "[127.0.0.1",
        "::1:99999:z",
        "300.1.1.1",
        "ftp://127.0.0.1",
        "127.0.0.1:21 x",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:21",
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct ftp_config c = {.listen = cases[i], .tls_listen = ""};
        AUTO_FREE char *got = listeners_of(&c, true);
        if (!strstr(got, "is not an address such as"))
            CASE_FAILS("%s: %s", cases[i], got);
    }
    struct ftp_config twice = {.listen = "127.0.0.1,127.0.0.1:21", .tls_listen = ""};
    AUTO_FREE char *got = listeners_of(&twice, true);
    assert_string_equal(got, "127.0.0.1:21 is there twice: remove one");
}

static void listeners_are_bounded(void **state UNUSED)
{
    char list[FTP_LISTENERS_MAX * 16 + 64] = "";
    for (int i = 0; i <= FTP_LISTENERS_MAX; i++)
        (void)snprintf(list + strlen(list), 16, "%s10.0.0.%d", i ? "," : "", i);
    struct ftp_config c = {.listen = list, .tls_listen = ""};
    AUTO_FREE char *got = listeners_of(&c, true);
    assert_string_equal(got, "more than 16 addresses to listen on");
}

static void a_listener_has_its_address_as_bind_wants_it(void **state UNUSED)
{
    struct ftp_config c = {.listen = "127.0.0.1:0,[::1]:0", .tls_listen = ""};
    struct ftp_listener l[FTP_LISTENERS_MAX];
    assert_int_equal(ftp_config_listeners(&c, false, l, NULL), 2);
    assert_int_equal(l[0].address.ss_family, AF_INET);
    assert_int_equal(l[1].address.ss_family, AF_INET6);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&l[0].address, l[0].size), 0);
    (void)close(fd);
}

/* Whoever runs this, as root or not: what was said is what a bind would meet. */
static void the_right_to_low_ports_is_asked_of_the_kernel(void **state UNUSED)
{
    bool told = ftp_config_low_ports();
    struct ftp_config c = {.listen = "127.0.0.1:1023", .tls_listen = ""};
    struct ftp_listener l[FTP_LISTENERS_MAX];
    assert_int_equal(ftp_config_listeners(&c, told, l, NULL), 1);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int r = bind(fd, (struct sockaddr *)&l[0].address, l[0].size);
    bool may = r == 0 || errno == EADDRINUSE;
    (void)close(fd);
    assert_int_equal(told, may);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_defaults_are_safe_and_durable),
        cmocka_unit_test(the_originals_variables_are_taken),
        cmocka_unit_test(tls_follows_the_certificate_unless_told),
        cmocka_unit_test(what_does_not_go_together_is_a_fault),
        cmocka_unit_test(what_may_not_be_meant_is_a_warning),
        cmocka_unit_test(it_listens_where_it_is_told_to),
        cmocka_unit_test(addresses_that_cannot_be_are_refused),
        cmocka_unit_test(listeners_are_bounded),
        cmocka_unit_test(a_listener_has_its_address_as_bind_wants_it),
        cmocka_unit_test(the_right_to_low_ports_is_asked_of_the_kernel),
    };
    return RUN_TESTS(tests);
}
