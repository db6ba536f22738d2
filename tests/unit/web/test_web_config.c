#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "web/web_config.h"

static const struct cfg_section *const sections[] = {&web_cfg_section, NULL};
static const struct cfg_schema schema = {.sections = sections};
static char *const no_environment[] = {NULL};

static int load(const char *text, struct cfg **ret, char **ret_faults)
{
    struct cfg_source source = {.path = "test.conf", .text = text, .environment = no_environment};
    AUTO_FREE char *warnings = NULL;
    return cfg_load(&schema, &source, ret, ret_faults, &warnings);
}

static void listens_on_loopback_by_default(void **state)
{
    (void)state;
    AUTO(cfg) c = NULL;
    AUTO_FREE char *faults = NULL;
    assert_int_equal(load("", &c, &faults), 0);
    const struct web_config *web = cfg_values(c, &web_cfg_section);
    assert_true(web->enabled);
    assert_string_equal(web->listen, "127.0.0.1:8080");
    assert_false(web->allow_remote);
    assert_null(web->host_names[0]);
    assert_int_equal(web->connections_max, 128);
    assert_int_equal(web->request_timeout_ms, 15000);
}

static void goes_beyond_loopback_only_when_said_twice(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *fault; /* NULL: accepted */
    } cases[] = {
        {"[web]\nlisten = [::1]:0\n", NULL},
        {"[web]\nlisten = localhost:8080\n", NULL},
        {"[web]\nlisten = 127.3.2.1:8080\n", NULL},
        {"[web]\nlisten = 0.0.0.0:8080\n", "allow_remote = yes"},
        {"[web]\nlisten = [::]:8080\n", "allow_remote = yes"},
        {"[web]\nlisten = 192.168.1.2:8080\n", "allow_remote = yes"},
        {"[web]\nlisten = 0.0.0.0:8080\nallow_remote = yes\n", NULL},
        {"[web]\nlisten = 0.0.0.0:8080\nenabled = no\n", NULL},
        {"[web]\nlisten = example.org:8080\n", "not an IP address"},
        {"[web]\nlisten = 8080\n", "listen"},
        {"[web]\nconnections_max = 0\n", "connections_max"},
        {"[web]\nrequest_timeout = 1ms\n", "request_timeout"},
        {"[web]\ntrusted_proxies = 127.0.0.1, 10.0.0.0/8, fd00::/8\n", NULL},
        {"[web]\ntrusted_proxies = proxy.lan\n", "not looked up"},
        {"[web]\ntrusted_proxies = 10.0.0.0/99\n", "trusted_proxies"},
        {"[web]\nproxy_user_header = X-User\n", "trusted_proxies"},
        {"[web]\nproxy_user_header = X-User\ntrusted_proxies = ::1\n", NULL},
        {"[web]\nproxy_user_header = Cookie\ntrusted_proxies = ::1\n", "only the proxy sets"},
        {"[web]\nproxy_user_header = X User\n", "proxy_user_header"},
        {"[web]\nproxy_role = god\n", "proxy_role"},
        {"[web]\nlogin = always\nmetrics_open = yes\nsession_idle = 2h\n", NULL},
        {"[web]\nlogin = never\n", "login"},
        {"[web]\ntls_cert_file = a.pem\n", "tls_key_file"},
        {"[web]\ntls_key_file = a.pem\n", "tls_cert_file"},
        {"[web]\ntls_cert_file = a.pem\ntls_key_file = b.pem\n", NULL},
        {"[web]\nrequest_timeout = 5\nhost_names = cam.example, other.example\n", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(cfg) c = NULL;
        AUTO_FREE char *faults = NULL;
        int r = load(cases[i].text, &c, &faults);
        if ((r == 0) != !cases[i].fault || (cases[i].fault && !strstr(faults, cases[i].fault)))
            fail_msg("%s: %d %s", cases[i].text, r, faults ? faults : "");
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(listens_on_loopback_by_default),
        cmocka_unit_test(goes_beyond_loopback_only_when_said_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
