#include "camera/camera_config.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/macros.h"

static const struct cfg_section *const sections[] = {&camera_defaults_cfg_section,
                                                     &camera_cfg_section, NULL};
static const struct cfg_schema schema = {.sections = sections};
static char *no_environment[] = {NULL};

static struct cfg *load(const char *text)
{
    struct cfg *cfg = NULL;
    AUTO_FREE char *faults = NULL;
    struct cfg_source source = {.path = "test.conf", .text = text, .environment = no_environment};
    if (cfg_load(&schema, &source, &cfg, &faults, NULL) < 0)
        fail_msg("%s", faults ? faults : "?");
    return cfg;
}

static struct camera_set *load_set(const char *text)
{
    AUTO(cfg) cfg = load(text);
    struct camera_set *s = NULL;
    struct err e = {0};
    if (camera_set_load(cfg, &s, &e) < 0)
        fail_msg("%s", e.text);
    return s;
}

static void a_section_becomes_a_camera_with_the_originals_defaults(void **state)
{
    (void)state;
    AUTO(camera_set)
    s = load_set("[camera]\ndefault_command = snapPicture2\n"
                 "[camera:front]\naddress = 10.0.0.5:88\nuser = admin\n"
                 "password = secret\nlocation = Front Door\n"
                 "[camera:yard]\nkind = http\nurl = http://10.0.0.6/a.jpg\n"
                 "header = X-Key: 1,2; Accept: image/jpeg\n"
                 "type = Cam\nlabel = The yard\ndirectory = far/yard\n"
                 "tries = 7\ngive_up = 2m\nauth = digest\n");
    assert_int_equal(camera_set_count(s), 2);
    const struct camera *c = camera_set_find(s, "front");
    assert_ptr_equal(c, camera_set_at(s, 0));
    assert_ptr_equal(c, camera_set_find_device(s, "Front Door Camera"));
    assert_string_equal(c->device_key, "Front Door Camera");
    assert_string_equal(c->device_label, "Front Door");
    assert_string_equal(c->directory, "frontdoor");
    assert_string_equal(c->kind, "foscam");
    assert_string_equal(c->command, "snapPicture2");
    assert_true(c->enabled);
    assert_true(c->tls_verify);
    assert_int_equal(c->connect_timeout_ms, 4000);
    assert_int_equal(c->stall_timeout_ms, 4000);
    assert_int_equal(c->total_timeout_ms, 15000);
    assert_int_equal(c->size_max, 32 << 20);
    assert_int_equal(c->tries, 3);
    assert_int_equal(c->retry_delay_ms, 100);
    assert_int_equal(c->give_up_ms, 60000);
    assert_int_equal(c->interval_ms, 0);
    assert_null(c->times);
    assert_null(c->headers);
    assert_null(c->tls_ca_file);
    assert_true(camera_is_fetchable(c));

    c = camera_set_find(s, "yard");
    assert_string_equal(c->device_key, "yard Cam");
    assert_string_equal(c->device_label, "The yard");
    assert_string_equal(c->directory, "far/yard");
    assert_string_equal(c->headers[0], "X-Key: 1,2");
    assert_string_equal(c->headers[1], "Accept: image/jpeg");
    assert_null(c->headers[2]);
    assert_int_equal(c->auth, CAMERA_AUTH_DIGEST);
    assert_int_equal(c->tries, 7);
    assert_int_equal(c->give_up_ms, 120000);
    assert_null(camera_set_find(s, "nobody"));
    assert_null(camera_set_find_device(s, "front"));
}

static void assert_faults(const char *text, const char *const *expected, size_t count)
{
    struct cfg *cfg = NULL;
    AUTO_FREE char *faults = NULL;
    struct cfg_source source = {.path = "test.conf", .environment = no_environment, .text = text};
    assert_int_equal(cfg_load(&schema, &source, &cfg, &faults, NULL), -EINVAL);
    for (size_t i = 0; i < count; i++)
        if (!strstr(faults, expected[i]))
            fail_msg("'%s' is not in:\n%s", expected[i], faults);
    assert_null(strstr(faults, "hiddenword"));
    size_t lines = 0;
    for (const char *p = faults; *p; p++)
        lines += *p == '\n';
    assert_in_range(lines, count - 1, count);
}

static void values_that_cannot_be_are_told_with_what_would_be_right(void **state)
{
    (void)state;
    static const char *const expected[] = {"foscam, foscam-mjpeg, hikvision", "Name: value",
                                           "sha256//", "control character"};
    assert_faults("[camera:a]\nkind = axix\naddress = cam:88\n"
                  "[camera:d]\naddress = cam:88\nheader = no colon hiddenword\n"
                  "[camera:e]\naddress = cam:88\ntls_pin = abc\n"
                  "[camera:f]\naddress = cam:88\nlabel = a\x01z\n",
                  expected, ARRAY_LEN(expected));
}

static void what_a_camera_lacks_is_told_for_all_cameras_at_once(void **state)
{
    (void)state;
    static const char *const expected[] = {"needs an address", "holds {uesr}", "stay below",
                                           "gives no folder",  "no user",      "connect_timeout"};
    assert_faults("[camera:b]\nkind = foscam\n"
                  "[camera:off]\nenabled = no\n"
                  "[camera:c]\nkind = http\nurl = http://cam/{uesr}\n"
                  "[camera:f]\naddress = cam:88\ndirectory = ../up\n"
                  "[camera:g]\naddress = cam:88\nlocation = ../up\n"
                  "[camera:h]\naddress = cam:88\npassword = hiddenword\n"
                  "[camera:i]\naddress = cam:88\nconnect_timeout = 20s\n",
                  expected, ARRAY_LEN(expected));
}

static void two_sections_of_one_device_are_refused(void **state)
{
    (void)state;
    AUTO(cfg)
    cfg = load("[camera:a]\naddress = x:88\nlocation = Yard\n"
               "[camera:b]\naddress = y:88\nlocation = Yard\n");
    struct camera_set *s = NULL;
    struct err e = {0};
    assert_int_equal(camera_set_load(cfg, &s, &e), -EEXIST);
    assert_null(s);
    assert_non_null(strstr(e.text, "'Yard Camera'"));
}

static void the_credentials_digest_follows_what_the_camera_judges(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "[camera:a]\naddress = x:88\nuser = u\npassword = p\n",
        "[camera:a]\naddress = x:88\nuser = u\npassword = q\n",
        "[camera:a]\naddress = x:88\nuser = v\npassword = p\n",
        "[camera:a]\naddress = y:88\nuser = u\npassword = p\n",
    };
    uint64_t seen[ARRAY_LEN(texts)];
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        AUTO(camera_set) s = load_set(texts[i]);
        seen[i] = camera_set_at(s, 0)->credentials_digest;
        for (size_t k = 0; k < i; k++)
            assert_true(seen[k] != seen[i]);
    }
    AUTO(camera_set)
    again = load_set("[camera:a]\naddress = x:88\nuser = u\npassword = p\ntries = 9\n");
    assert_true(camera_set_at(again, 0)->credentials_digest == seen[0]);
}

static void devices_without_a_section_are_known_but_cannot_be_asked(void **state)
{
    (void)state;
    AUTO(camera_set) s = load_set("[camera:front]\naddress = x:88\nlocation = Front Door\n");
    struct err e = {0};
    assert_int_equal(camera_set_add_device(s, "Back Yard", "Camera", &e), 0);
    assert_int_equal(camera_set_add_device(s, "Back Yard", "Camera", &e), 1);
    assert_int_equal(camera_set_add_device(s, "Front Door", "Camera", &e), 1);
    assert_int_equal(camera_set_add_device(s, "", "Camera", &e), -EINVAL);
    assert_int_equal(camera_set_count(s), 2);
    const struct camera *c = camera_set_find_device(s, "Back Yard Camera");
    assert_non_null(c);
    assert_string_equal(c->name, "Back Yard Camera");
    assert_string_equal(c->directory, "backyard");
    assert_string_equal(c->command, "/cgi-bin/CGIProxy.fcgi?cmd=snapPicture2");
    assert_int_equal(c->total_timeout_ms, 15000);
    assert_true(c->enabled);
    assert_false(camera_is_fetchable(c));
    assert_ptr_equal(c, camera_set_find(s, "Back Yard Camera"));
}

static void a_set_outlives_the_configuration_it_was_made_of(void **state)
{
    (void)state;
    struct camera_set *s = load_set("[camera:front]\naddress = x:88\nuser = admin\n");
    struct camera_set *second = camera_set_ref(s);
    camera_set_unref(s);
    assert_string_equal(camera_set_at(second, 0)->user, "admin");
    camera_set_unref(second);
    camera_set_unref(NULL);
}

static void folders_are_the_originals(void **state)
{
    (void)state;
    char dir[32];
    assert_int_equal(camera_directory("Front Door", dir, sizeof(dir)), 0);
    assert_string_equal(dir, "frontdoor");
    assert_int_equal(camera_directory("G\xc3\xa4rten 2", dir, sizeof(dir)), 0);
    assert_string_equal(dir, "g\xc3\xa4rten2");
    static const char *const bad[] = {
        "", "  ", "..", ".", "a/b", "/a", "a\nb", "a name that is much too long for the room"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(camera_directory(bad[i], dir, sizeof(dir)), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_section_becomes_a_camera_with_the_originals_defaults),
        cmocka_unit_test(values_that_cannot_be_are_told_with_what_would_be_right),
        cmocka_unit_test(what_a_camera_lacks_is_told_for_all_cameras_at_once),
        cmocka_unit_test(two_sections_of_one_device_are_refused),
        cmocka_unit_test(the_credentials_digest_follows_what_the_camera_judges),
        cmocka_unit_test(devices_without_a_section_are_known_but_cannot_be_asked),
        cmocka_unit_test(a_set_outlives_the_configuration_it_was_made_of),
        cmocka_unit_test(folders_are_the_originals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
