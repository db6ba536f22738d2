/* What becomes of a message from the broker. How bodies are read is tested in tests/unit/wire, the
 * broker itself in tests/broker. */
#include "../test.h"

#include <errno.h>

#include "base/mem.h"
#include "base/text.h"
#include "stage/admit.h"
#include "sys/msgpack.h"

#define WHEN 1767323045
#define NOW_S (WHEN + 10)

struct body {
    uint8_t bytes[512];
    size_t size;
};

/* A trigger's body; `time` NULL: WHEN as an integer, else this text. */
static struct body make_body(const char *device, const char *label, const char *params,
                             const char *time, int64_t second)
{
    struct body b = {0};
    struct msgpack_writer w = {.to = b.bytes, .room = sizeof(b.bytes)};
    msgpack_write_map(&w, 2);
    msgpack_write_str(&w, "timestamp");
    if (time)
        msgpack_write_str(&w, time);
    else
        msgpack_write_uint(&w, (uint64_t)second);
    msgpack_write_str(&w, "output_triggered");
    msgpack_write_map(&w, 3);
    msgpack_write_str(&w, "device_key");
    msgpack_write_str(&w, device);
    msgpack_write_str(&w, "device_label");
    msgpack_write_str(&w, label);
    msgpack_write_str(&w, "device_params");
    msgpack_write_str(&w, params);
    assert_true(w.len <= w.room);
    b.size = w.len;
    return b;
}

struct fixture {
    struct settings settings;
    struct host_list *list;
};

static int setup(void **state)
{
    static const struct cfg_section *const sections[] = {&camera_defaults_cfg_section,
                                                         &camera_cfg_section, NULL};
    static const struct cfg_schema schema = {.sections = sections};
    static char *no_environment[] = {NULL};
    static const char *const items[] = {"private", NULL};
    struct cfg_source source = {
        .path = "test.conf",
        .text = "[camera:yard]\nlocation = Yard\naddress = 198.51.100.1:88\nuser = admin\n"
                "password = own\nlabel = The yard\ngive_up = 2m\n"
                "[camera:cellar]\nlocation = Cellar\naddress = 10.0.0.9:88\nenabled = no\n",
        .environment = no_environment};
    struct fixture *f = xcalloc(1, sizeof(*f));
    struct err e = {0};
    AUTO(cfg) cfg = NULL;
    if (cfg_load(&schema, &source, &cfg, NULL, NULL) < 0 ||
        camera_set_load(cfg, &f->settings.cameras, &e) < 0 ||
        camera_set_add_device(f->settings.cameras, "Front Door", "Camera", &e) < 0 ||
        host_list_new(items, &f->list, &e) < 0)
        return -1;
    f->settings.allow_hosts = f->list;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    camera_set_unref(f->settings.cameras);
    host_list_free(f->list);
    free(f);
    return 0;
}

static struct admit_message message_of(const struct body *b)
{
    return (struct admit_message){.key = "event.trigger.snapshot",
                                  .message_id = "",
                                  .expiration = "",
                                  .body = b->bytes,
                                  .size = b->size};
}

static enum admit_verdict admit_at(struct fixture *f, const struct admit_message *m, int64_t now_s,
                                   struct trigger *t, struct err *e)
{
    char note[EVENT_TIME_NOTE_MAX];
    *t = (struct trigger){0};
    *e = (struct err){0};
    return admit(&f->settings, m, wall_from_seconds(now_s), t, note, e);
}

static void an_outputs_trigger_keeps_the_address_that_it_came_with(void **state)
{
    struct body b =
        make_body("Front Door Camera", "The door", "admin:p@w:1@10.1.2.3:88", NULL, WHEN);
    struct admit_message m = message_of(&b);
    struct trigger t;
    struct err e;
    assert_int_equal(admit_at(*state, &m, NOW_S, &t, &e), ADMIT_TAKEN);
    assert_string_equal(t.camera, "Front Door Camera");
    assert_string_equal(t.device_key, "Front Door Camera");
    assert_string_equal(t.device_label, "The door");
    assert_string_equal(t.address, "10.1.2.3:88");
    assert_string_equal(t.user, "admin");
    assert_string_equal(t.password, "p@w:1");
    assert_int_equal(t.origin, TRIGGER_AMQP);
    assert_true(t.event_at.us == WHEN * INT64_C(1000000));
    assert_string_equal(t.error, "");
}

static void a_camera_with_an_address_of_its_own_keeps_it(void **state)
{
    struct body b = make_body("Yard Camera", "", "a:b@203.0.113.5:1", NULL, WHEN);
    struct admit_message m = message_of(&b);
    struct trigger t;
    struct err e;
    assert_int_equal(admit_at(*state, &m, NOW_S, &t, &e), ADMIT_TAKEN);
    assert_string_equal(t.camera, "yard");
    assert_string_equal(t.device_label, "The yard");
    assert_string_equal(t.address, "");
    assert_string_equal(t.password, "");
}

static void says_why_a_message_is_refused(void **state)
{
    static const struct {
        const char *device, *params;
        enum admit_verdict verdict;
        const char *says;
    } cases[] = {
        {"Attic Camera", "a:SECRET@10.0.0.1:1", ADMIT_UNKNOWN_DEVICE,
         "no camera is configured for the device \"Attic Camera\": add an output"},
        {"front door camera", "a:SECRET@10.0.0.1:1", ADMIT_UNKNOWN_DEVICE, "\"front door camera\""},
        {"At\ntic", "a:SECRET@10.0.0.1:1", ADMIT_UNKNOWN_DEVICE, "\"At\\ntic\""},
        {"Cellar Camera", "a:SECRET@10.0.0.1:1", ADMIT_SWITCHED_OFF,
         "camera \"cellar\" is switched off: set enabled = yes in [camera:cellar]"},
        {"Front Door Camera", "a:SECRET@203.0.113.5:88", ADMIT_FORBIDDEN_HOST,
         "names the address 203.0.113.5:88, which must not be asked: add it to allow_hosts"},
        {"Front Door Camera", "a:SECRET@nowhere", ADMIT_MALFORMED, "no ':' between host and port"},
        {"", "a:SECRET@10.0.0.1:1", ADMIT_MALFORMED, "device_key"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct body b = make_body(cases[i].device, "", cases[i].params, NULL, WHEN);
        struct admit_message m = message_of(&b);
        struct trigger t;
        struct err e;
        if (admit_at(*state, &m, NOW_S, &t, &e) != cases[i].verdict)
            CASE_FAILS("%s %s", cases[i].device, cases[i].params);
        if (!strstr(e.text, cases[i].says) || strstr(e.text, "SECRET"))
            CASE_FAILS("%s: %s", cases[i].device, e.text);
    }
}

static void a_name_is_judged_by_what_it_resolves_to(void **state)
{
    struct body b = make_body("Front Door Camera", "", "a:b@camera.example.org:88", NULL, WHEN);
    struct admit_message m = message_of(&b);
    struct trigger t;
    struct err e;
    assert_int_equal(admit_at(*state, &m, NOW_S, &t, &e), ADMIT_TAKEN);
    assert_string_equal(t.address, "camera.example.org:88");
}

static void only_a_queue_that_keeps_messages_makes_them_late(void **state)
{
    static const struct {
        bool may_be_old;
        int64_t age_s;
        const char *expiration;
        bool late;
    } cases[] = {
        {true, 119, "", false},       {true, 121, "", true},      /* give_up is two minutes */
        {false, 100000, "", false},   {true, -100000, "", false}, /* clocks that are wrong */
        {true, 121, "130000", false}, {true, 131, "130000", true},
        {true, 119, "1000", false}, /* the broker itself keeps this one */
        {true, 121, "soon", true},    {true, 121, "99999999999999999999", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct body b = make_body("Yard Camera", "", "a:b@10.0.0.1:1", NULL, WHEN);
        struct admit_message m = message_of(&b);
        m.may_be_old = cases[i].may_be_old;
        m.expiration = cases[i].expiration;
        struct trigger t;
        struct err e;
        enum admit_verdict v = admit_at(*state, &m, WHEN + cases[i].age_s, &t, &e);
        if (v != (cases[i].late ? ADMIT_LATE : ADMIT_TAKEN))
            CASE_FAILS("%zu", i);
        if (cases[i].late && !text_starts_with(t.error, "came too late: its event was 1"))
            CASE_FAILS("%zu: %s", i, t.error);
    }
}

static void a_time_that_is_none_is_that_of_the_arrival_and_never_late(void **state)
{
    struct body b = make_body("Yard Camera", "", "a:b@10.0.0.1:1", "some day", 0);
    struct admit_message m = message_of(&b);
    m.may_be_old = true;
    struct trigger t;
    struct err e = {0};
    char note[EVENT_TIME_NOTE_MAX];
    struct fixture *f = *state;
    assert_int_equal(admit(&f->settings, &m, wall_from_seconds(NOW_S), &t, note, &e), ADMIT_TAKEN);
    assert_true(t.event_at.us == NOW_S * INT64_C(1000000));
    assert_non_null(strstr(note, "\"some day\""));
}

static void id_of(struct fixture *f, const struct body *b, const char *key, const char *message_id,
                  int64_t now_s, char ret[SNAPSHOT_ID_SIZE])
{
    struct admit_message m = message_of(b);
    struct trigger t;
    struct err e;
    m.key = key;
    m.message_id = message_id;
    if (admit_at(f, &m, now_s, &t, &e) != ADMIT_TAKEN)
        fail_msg("%s", e.text);
    assert_true(snapshot_id_valid(t.id));
    text_copy(ret, SNAPSHOT_ID_SIZE, t.id);
}

static void the_same_message_has_the_same_id_and_another_another(void **state)
{
    static const char key[] = "event.trigger.snapshot";
    char first[SNAPSHOT_ID_SIZE], id[SNAPSHOT_ID_SIZE];
    const struct body b = make_body("Yard Camera", "", "a:b@10.0.0.1:1", NULL, WHEN);
    const struct body others[] = {
        make_body("Yard Camera", "", "a:b@10.0.0.1:1", NULL, WHEN + 1),
        make_body("Front Door Camera", "", "a:b@10.0.0.1:1", NULL, WHEN),
        make_body("Yard Camera", "x", "a:b@10.0.0.1:1", NULL, WHEN),
    };
    id_of(*state, &b, key, "", NOW_S, first);
    id_of(*state, &b, key, "another-id", NOW_S + 1000,
          id); /* later, and sent again by its sender */
    assert_string_equal(id, first);
    id_of(*state, &b, "event.trigger.snapshot.2", "", NOW_S, id);
    assert_string_not_equal(id, first);
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        id_of(*state, &others[i], key, "", NOW_S, id);
        if (strcmp(id, first) == 0)
            CASE_FAILS("%zu", i);
    }
    /* In order of time, as all ids are. */
    id_of(*state, &others[0], key, "", NOW_S, id);
    assert_true(strcmp(first, id) < 0);
}

static void without_a_time_the_message_id_tells_repeats_apart(void **state)
{
    static const char key[] = "event.trigger.snapshot";
    const struct body b = make_body("Yard Camera", "", "a:b@10.0.0.1:1", "some day", 0);
    char a[SNAPSHOT_ID_SIZE], again[SNAPSHOT_ID_SIZE], other[SNAPSHOT_ID_SIZE];
    id_of(*state, &b, key, "m1", NOW_S, a);
    id_of(*state, &b, key, "m1", NOW_S + 5, again);
    id_of(*state, &b, key, "m2", NOW_S, other);
    assert_string_equal(a, again);
    assert_string_not_equal(a, other);
    /* And without that each is a trigger: better two pictures than none. */
    id_of(*state, &b, key, "", NOW_S, a);
    id_of(*state, &b, key, "", NOW_S, other);
    assert_string_not_equal(a, other);
}

static void each_verdict_has_a_name(void **state UNUSED)
{
    for (int i = 0; i < ADMIT_VERDICT_COUNT; i++)
        assert_non_null(admit_verdict_names[i]);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(an_outputs_trigger_keeps_the_address_that_it_came_with),
        CASE(a_camera_with_an_address_of_its_own_keeps_it),
        CASE(says_why_a_message_is_refused),
        CASE(a_name_is_judged_by_what_it_resolves_to),
        CASE(only_a_queue_that_keeps_messages_makes_them_late),
        CASE(a_time_that_is_none_is_that_of_the_arrival_and_never_late),
        CASE(the_same_message_has_the_same_id_and_another_another),
        CASE(without_a_time_the_message_id_tells_repeats_apart),
        CASE(each_verdict_has_a_name),
    };
    return RUN_TESTS(tests);
}
