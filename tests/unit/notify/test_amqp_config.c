#include "notify/amqp_config.h"

#include "../test.h"

#include <errno.h>

#include "base/mem.h"

static const struct cfg_section *const sections[] = {&amqp_cfg_section, NULL};
static const struct cfg_schema schema = {.sections = sections, .env_prefix = "SNAPSHOTD"};
static char *const no_environment[] = {NULL};

/* NULL with the faults when it is not accepted. */
static struct cfg *load(const char *lines, char *const *environment, char **ret_faults)
{
    AUTO_FREE char *text = xasprintf("[rabbitmq]\n%s", lines);
    struct cfg_source source = {.path = "t.conf", .text = text, .environment = environment};
    struct cfg *c = NULL;
    return cfg_load(&schema, &source, &c, ret_faults, NULL) < 0 ? NULL : c;
}

static struct cfg *load_good(const char *lines, char *const *environment)
{
    AUTO_FREE char *faults = NULL;
    struct cfg *c = load(lines, environment, &faults);
    if (!c)
        fail_msg("%s", faults);
    return c;
}

static char *warnings_of(const char *lines)
{
    AUTO(cfg) c = load_good(lines, no_environment);
    AUTO(cfg_faults) warnings = cfg_faults_new(c);
    amqp_config_warn(cfg_values(c, &amqp_cfg_section), warnings);
    return cfg_faults_take(warnings);
}

static void the_defaults_take_the_originals_place(void **state UNUSED)
{
    static char *const environment[] = {"RABBITMQ_SERVER_ADDRESS=192.0.2.1",
                                        "RABBITMQ_EXCHANGE=house", "RABBITMQ_DEVICE_TOPIC=snapshot",
                                        NULL};
    AUTO(cfg) c = load_good("", environment);
    const struct amqp_config *a = cfg_values(c, &amqp_cfg_section);
    assert_string_equal(a->server_address, "192.0.2.1");
    assert_string_equal(a->exchange, "house");
    assert_string_equal(a->device_topic, "snapshot");
    assert_true(a->triggers);
    assert_int_equal(a->queue_mode, AMQP_QUEUE_EXCLUSIVE);
    assert_true(a->events);
    assert_int_equal(a->event_format, 0);
    assert_false(a->event_persistent);
    assert_int_equal(a->event_age_max_ms, 0);
    assert_int_equal(a->heartbeat_event_ms, 5000);
    struct amqp_options o = amqp_config_options(a, "me");
    assert_null(o.user); /* guest */
    assert_null(o.password);
    assert_string_equal(o.vhost, "/");
    assert_string_equal(o.name, "me");
    assert_int_equal(o.heartbeat_s, 10);
    assert_false(o.tls);
    assert_false(o.tls_any_host);
}

static void without_an_address_nothing_else_is_asked_for(void **state UNUSED)
{
    AUTO(cfg)
    c = load_good("queue_mode = durable\nevent_format = claim_check\nmq_exchange =\n",
                  no_environment);
    const struct amqp_config *a = cfg_values(c, &amqp_cfg_section);
    assert_string_equal(a->server_address, "");
    AUTO_FREE char *warnings = warnings_of("device_topic = camera\n");
    assert_null(warnings);
}

static void what_does_not_go_together_is_a_fault(void **state UNUSED)
{
    static const struct {
        const char *lines, *fault;
    } cases[] = {
        {"mq_exchange =", "mq_exchange: must not be empty"},
        {"device_topic =", "device_topic: must not be empty"},
        {"queue_mode = durable", "queue: must be given with queue_mode = durable"},
        {"event_format = claim_check", "event_format: claim_check wants an address for pictures"},
        {"event_format = extended\nevent_too_large = claim_check",
         "event_too_large: claim_check wants an address for pictures"},
        {"event_too_large = claim_check\nimage_url = http://h/{id}",
         "event_too_large: claim_check adds keys"},
        {"image_url = http://h/picture", "it must begin with http:// or https:// and hold {id}"},
        {"image_url = http://h/{name}/{id}", "it must begin with"},
        {"image_url = ftp://h/{id}", "it must begin with"},
        {"tls_ca_file = /ca.pem", "tls: is off, but TLS files are given"},
        {"tls = yes\ntls_key_file = /key.pem", "a TLS key without its certificate"},
        {"heartbeat = 1s", "rabbitmq.heartbeat"},
        {"prefetch = 0", "rabbitmq.prefetch"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO_FREE char *lines = xasprintf("server_address = h\n%s\n", cases[i].lines);
        AUTO_FREE char *faults = NULL;
        AUTO(cfg) c = load(lines, no_environment, &faults);
        if (c || !strstr(faults, cases[i].fault))
            fail_msg("\"%s\": %s", cases[i].lines, c ? "accepted" : faults);
    }
}

static void an_address_that_cannot_be_is_a_fault(void **state UNUSED)
{
    static const char *const cases[] = {
        "h:0", "amqp://h", "h,user@h", "[::1", "a b", "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17"};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO_FREE char *lines = xasprintf("server_address = %s\n", cases[i]);
        AUTO_FREE char *faults = NULL;
        AUTO(cfg) c = load(lines, no_environment, &faults);
        if (c || !strstr(faults, "rabbitmq.server_address"))
            fail_msg("\"%s\": %s", cases[i], c ? "accepted" : faults);
    }
    AUTO(cfg) c = load_good("server_address = one, two:5673, [::1]:5672\n", no_environment);
    assert_non_null(c);
}

static void what_may_not_be_meant_is_a_warning(void **state UNUSED)
{
    AUTO_FREE char *topic = warnings_of("server_address = h\ndevice_topic = camera\n");
    assert_non_null(strstr(topic, "counterparts know \"snapshot\" alone"));
    AUTO_FREE char *queue = warnings_of("server_address = h\nqueue = triggers\n");
    assert_non_null(strstr(queue, "queue_mode is exclusive"));
    AUTO_FREE char *none = warnings_of("server_address = h\n");
    assert_null(none);
}

static void a_password_is_never_shown(void **state UNUSED)
{
    AUTO(cfg) c = load_good("server_address = h\nuser = me\npassword = geheim\n", no_environment);
    const struct amqp_config *a = cfg_values(c, &amqp_cfg_section);
    struct amqp_options o = amqp_config_options(a, NULL);
    assert_string_equal(o.user, "me");
    assert_string_equal(o.password, "geheim");
    AUTO_DONE(dynbuf) out = {0};
    dynbuf_init(&out, 1 << 20);
    assert_int_equal(cfg_write_effective(c, &out), 0);
    assert_null(strstr(dynbuf_str(&out), "geheim"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_defaults_take_the_originals_place),
        cmocka_unit_test(without_an_address_nothing_else_is_asked_for),
        cmocka_unit_test(what_does_not_go_together_is_a_fault),
        cmocka_unit_test(an_address_that_cannot_be_is_a_fault),
        cmocka_unit_test(what_may_not_be_meant_is_a_warning),
        cmocka_unit_test(a_password_is_never_shown),
    };
    return RUN_TESTS(tests);
}
