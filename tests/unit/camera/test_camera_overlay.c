#include "../test.h"

#include <errno.h>

#include "base/text.h"
#include "camera/camera_overlay.h"

static struct camera_set *load_set(const char *text)
{
    static const struct cfg_section *const sections[] = {&camera_defaults_cfg_section,
                                                         &camera_cfg_section, NULL};
    static const struct cfg_schema schema = {.sections = sections};
    static char *no_environment[] = {NULL};
    struct cfg_source source = {.path = "test.conf", .text = text, .environment = no_environment};
    AUTO(cfg) cfg = NULL;
    AUTO_FREE char *faults = NULL;
    if (cfg_load(&schema, &source, &cfg, &faults, NULL) < 0)
        fail_msg("%s", faults ? faults : "?");
    struct camera_set *s = NULL;
    struct err e = {0};
    if (camera_set_load(cfg, &s, &e) < 0)
        fail_msg("%s", e.text);
    return s;
}

static struct host_list *make_list(const char *first, const char *second)
{
    const char *const items[] = {first, second, NULL};
    struct host_list *l = NULL;
    struct err e = {0};
    if (host_list_new(items, &l, &e) < 0)
        fail_msg("%s", e.text);
    return l;
}

static void judges_a_host_by_the_list_and_by_the_configured_cameras(void **state UNUSED)
{
    static const struct {
        const char *address;
        enum camera_host_rule rule;
    } cases[] = {
        {"10.1.2.3:88", CAMERA_HOST_BY_ADDRESS},
        {"[fd00::7]:88", CAMERA_HOST_BY_ADDRESS},
        {"[::ffff:10.1.2.3]:88", CAMERA_HOST_BY_ADDRESS},
        {"203.0.113.5:88", CAMERA_HOST_FORBIDDEN},
        {"[2001:db8::1]:88", CAMERA_HOST_FORBIDDEN},
        {"[::ffff:203.0.113.5]:88", CAMERA_HOST_FORBIDDEN},
        {"Porch.Example.org:88", CAMERA_HOST_ALLOWED},
        {"other.example.org:88", CAMERA_HOST_BY_ADDRESS},
        /* Those of configured cameras, at any port. */
        {"198.51.100.1:80", CAMERA_HOST_ALLOWED},
        {"[2001:db8:5::1]:80", CAMERA_HOST_ALLOWED},
        {"recorder.example.net:80", CAMERA_HOST_ALLOWED},
        {":80", CAMERA_HOST_FORBIDDEN},
        {"[fd00::7", CAMERA_HOST_FORBIDDEN},
    };
    AUTO(camera_set)
    set = load_set("[camera:a]\naddress = 198.51.100.1:88\n"
                   "[camera:b]\naddress = [2001:db8:5::1]:88\n"
                   "[camera:c]\nkind = http\nurl = https://Recorder.example.net/a?b@c\n");
    AUTO(host_list) list = make_list("private", "porch.example.org");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (camera_host_judge(set, list, cases[i].address) != cases[i].rule)
            CASE_FAILS("%s", cases[i].address);
}

static void lays_address_and_login_over_the_camera(void **state UNUSED)
{
    AUTO(camera_set) set = load_set("");
    struct err e = {0};
    assert_int_equal(camera_set_add_device(set, "Front Door", "Camera", &e), 0);
    const struct camera *cam = camera_set_find(set, "Front Door Camera");
    assert_false(camera_is_fetchable(cam));
    AUTO(host_list) list = make_list("private", "porch.example.org");
    struct trigger t = {.address = "10.1.2.3:88", .user = "admin", .password = "pw"};
    struct camera_overlay one, two;
    camera_overlay_fill(&one, cam, &t, set, list);
    assert_true(camera_is_fetchable(&one.camera));
    assert_string_equal(one.camera.address, "10.1.2.3:88");
    assert_string_equal(one.camera.user, "admin");
    assert_string_equal(one.camera.password, "pw");
    assert_string_equal(one.camera.name, cam->name);
    assert_ptr_equal(one.camera.hosts, list); /* also where it redirects to */

    /* The rules for rejected logins go by what is sent. */
    camera_overlay_fill(&two, cam, &t, set, list);
    assert_true(one.camera.credentials_digest == two.camera.credentials_digest);
    assert_true(one.camera.credentials_digest != cam->credentials_digest);
    text_copy(t.password, sizeof(t.password), "other");
    text_copy(t.address, sizeof(t.address), "porch.example.org:88");
    camera_overlay_fill(&two, cam, &t, set, list);
    assert_true(one.camera.credentials_digest != two.camera.credentials_digest);
    assert_null(two.camera.hosts); /* listed by its name */
}

/* As the predecessor's cameras do both. */
static void a_camera_that_pushes_is_asked_when_a_trigger_brings_its_address(void **state UNUSED)
{
    AUTO(camera_set) set = load_set("[camera]\ndefault_command = snapPicture\n[camera:porch]\n");
    const struct camera *cam = camera_set_find(set, "porch");
    assert_string_equal(cam->kind, "push");
    assert_false(camera_is_fetchable(cam));
    AUTO(host_list) list = make_list("private", "porch.example.org");
    struct trigger t = {.address = "10.1.2.3:88", .user = "admin", .password = "pw"};
    struct camera_overlay one;
    camera_overlay_fill(&one, cam, &t, set, list);
    assert_true(camera_is_fetchable(&one.camera));
    assert_string_equal(one.camera.kind, "foscam");
    assert_string_equal(one.camera.command, "snapPicture");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(judges_a_host_by_the_list_and_by_the_configured_cameras),
        cmocka_unit_test(lays_address_and_login_over_the_camera),
        cmocka_unit_test(a_camera_that_pushes_is_asked_when_a_trigger_brings_its_address),
    };
    return RUN_TESTS(tests);
}
