/* Requests that the kinds make: URLs, encodings, and what may be shown of them. */

#include "sim_fixture.h"

#include <errno.h>

struct url_case {
    const char *kind, *address, *url, *command, *channel, *user, *password;
    bool tls;
    const char *expected; /* URL, or NULL when the words are in the refusal */
    const char *shown;    /* or the words */
    enum camera_auth auth;
};

static const struct url_case url_cases[] = {
    {"foscam", "cam:88", .command = "snapPicture2", .user = "u", .password = "p",
     .expected = "http://cam:88/cgi-bin/CGIProxy.fcgi?cmd=snapPicture2&usr=u&pwd=p",
     .shown = "http://cam:88/cgi-bin/CGIProxy.fcgi", .auth = CAMERA_AUTH_NONE},
    {"foscam", "cam:88", .command = "/cgi-bin/CGIProxy.fcgi?cmd=snapPicture2", .user = "u",
     .password = "p",
     .expected = "http://cam:88/cgi-bin/CGIProxy.fcgi?cmd=snapPicture2&usr=u&pwd=p",
     .shown = "http://cam:88/cgi-bin/CGIProxy.fcgi", .auth = CAMERA_AUTH_NONE},
    {"foscam", "cam:443", .command = "/pic", .user = "u", .password = "", .tls = true,
     .expected = "https://cam:443/pic?usr=u&pwd=", .shown = "https://cam:443/pic",
     .auth = CAMERA_AUTH_NONE},
    {"foscam", "[::1]:88", .command = "", .user = "", .password = "",
     .expected = "http://[::1]:88/cgi-bin/CGIProxy.fcgi?cmd=snapPicture2",
     .shown = "http://[::1]:88/cgi-bin/CGIProxy.fcgi", .auth = CAMERA_AUTH_NONE},
    {"foscam", "cam:88", .command = "snapPicture2", .user = "a b&c", .password = "=?#/%+\xc3\xa4",
     .expected = "http://cam:88/cgi-bin/CGIProxy.fcgi?cmd=snapPicture2&usr=a%20b%26c"
                 "&pwd=%3D%3F%23%2F%25%2B%C3%A4",
     .shown = "http://cam:88/cgi-bin/CGIProxy.fcgi", .auth = CAMERA_AUTH_NONE},
    {"foscam", "", .command = "", .user = "u", .password = "p", .shown = "needs an address"},
    {"foscam", "cam:88", .command = "/a b", .user = "u", .password = "p",
     .shown = "command must be"},

    {"foscam-mjpeg", "cam:80", .command = "", .user = "u", .password = "p&",
     .expected = "http://cam:80/snapshot.cgi?user=u&pwd=p%26",
     .shown = "http://cam:80/snapshot.cgi", .auth = CAMERA_AUTH_NONE},
    {"hikvision", "cam:80", .command = "", .user = "u", .password = "p",
     .expected = "http://cam:80/ISAPI/Streaming/channels/101/picture",
     .shown = "http://cam:80/ISAPI/Streaming/channels/101/picture", .auth = CAMERA_AUTH_AUTO},
    {"hikvision", "[::1]:80", .command = "/Streaming/channels/{channel}/picture", .channel = "2",
     .user = "u", .password = "p", .tls = true,
     .expected = "https://[::1]:80/Streaming/channels/2/picture",
     .shown = "https://[::1]:80/Streaming/channels/2/picture", .auth = CAMERA_AUTH_AUTO},
    {"dahua", "cam:80", .command = "", .channel = "3", .user = "u", .password = "p",
     .expected = "http://cam:80/cgi-bin/snapshot.cgi?channel=3",
     .shown = "http://cam:80/cgi-bin/snapshot.cgi", .auth = CAMERA_AUTH_AUTO},
    {"amcrest", "cam:80", .command = "", .user = "u", .password = "p",
     .expected = "http://cam:80/cgi-bin/snapshot.cgi?channel=1",
     .shown = "http://cam:80/cgi-bin/snapshot.cgi", .auth = CAMERA_AUTH_AUTO},
    {"axis", "cam:80", .command = "", .user = "u", .password = "p",
     .expected = "http://cam:80/axis-cgi/jpg/image.cgi?camera=1",
     .shown = "http://cam:80/axis-cgi/jpg/image.cgi", .auth = CAMERA_AUTH_AUTO},
    {"reolink", "cam:80",
     .command = "/cgi-bin/api.cgi?cmd=Snap&channel={channel}&user={user}&password={password}",
     .channel = "", .user = "u", .password = "p",
     .expected = "http://cam:80/cgi-bin/api.cgi?cmd=Snap&channel=0&user=u&password=p",
     .shown = "http://cam:80/cgi-bin/api.cgi", .auth = CAMERA_AUTH_NONE},
    {"onvif", "cam:80", .command = "", .user = "u", .password = "p",
     .expected = "http://cam:80/onvif/device_service",
     .shown = "http://cam:80/onvif/device_service (GetSystemDateAndTime)",
     .auth = CAMERA_AUTH_NONE},
    {"hikvision", "", .command = "", .user = "u", .password = "p", .shown = "needs an address"},
    {"axis", "cam:80", .command = "image.cgi", .user = "u", .password = "p",
     .shown = "begins with /"},
    {"dahua", "cam:80", .command = "/a b", .user = "u", .password = "p", .shown = "holds a blank"},
    {"dahua", "cam:80", .command = "/{x}", .user = "u", .password = "p", .shown = "holds {x}"},

    {"mjpeg", .url = "http://cam/video?c={channel}", .channel = "", .user = "u", .password = "p",
     .expected = "http://cam/video?c=1", .shown = "http://cam/video", .auth = CAMERA_AUTH_AUTO},
    {"http", .url = "http://cam/a.jpg?t={time}&c={channel}", .channel = "", .user = "u",
     .password = "p", .expected = "http://cam/a.jpg?t=1767323045&c=1", .shown = "http://cam/a.jpg",
     .auth = CAMERA_AUTH_AUTO},
    {"http", .url = "http://cam/{user}/{password}/a.jpg", .user = "u/1", .password = "p w",
     .expected = "http://cam/u%2F1/p%20w/a.jpg", .shown = "http://cam/{user}/{password}/a.jpg",
     .auth = CAMERA_AUTH_NONE},
    {"http", "10.0.0.5:81", .url = "https://{address}/c{channel}.jpg", .channel = "102",
     .user = "u", .password = "p", .expected = "https://10.0.0.5:81/c102.jpg",
     .shown = "https://10.0.0.5:81/c102.jpg", .auth = CAMERA_AUTH_AUTO},
    {"http", .url = "", .user = "", .password = "", .shown = "needs a url"},
    {"http", .url = "ftp://cam/a.jpg", .user = "", .password = "", .shown = "must begin with http"},
    {"http", .url = "file:///etc/passwd", .user = "", .password = "",
     .shown = "must begin with http"},
    {"http", .url = "http://", .user = "", .password = "", .shown = "no host"},
    {"http", .url = "http://u:secretword@cam/a.jpg", .user = "", .password = "",
     .shown = "their own keys"},
    {"http", .url = "http://cam/{uesr}.jpg", .user = "", .password = "", .shown = "holds {uesr}"},
    {"http", .url = "http://cam/{user.jpg", .user = "", .password = "", .shown = "lone brace"},
    {"http", .url = "http://cam/}a.jpg", .user = "", .password = "", .shown = "lone brace"},
    {"http", .url = "http://cam/a b.jpg", .user = "", .password = "", .shown = "%20"},
    {"http", .address = "", .url = "http://{address}/a.jpg", .user = "", .password = "",
     .shown = "address is not set"},
};

static struct camera case_camera(const struct url_case *t)
{
    struct camera cam = test_camera("porch", t->kind);
    cam.address = t->address;
    cam.url = t->url;
    cam.command = t->command;
    cam.channel = t->channel;
    cam.user = t->user;
    cam.password = t->password;
    cam.tls = t->tls;
    return cam;
}

static void requests_are_encoded_and_shown_without_secrets(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(url_cases); i++) {
        const struct url_case *t = &url_cases[i];
        struct camera cam = case_camera(t);
        const struct camera_kind *kind = camera_kind_find(t->kind);
        struct camera_request req = {0};
        struct err e = {0};
        AUTO_FREE void *memory = xcalloc(1, kind->memory_size + 1);
        int r = kind->request(&cam, memory, wall_from_seconds(1767323045), &req, &e);
        assert_int_equal(kind->validate(&cam, NULL), r);
        if (!t->expected) {
            assert_int_equal(r, -EINVAL);
            assert_int_equal(e.retry, ERR_NEVER);
            if (!strstr(e.text, t->shown) || strstr(e.text, "secretword"))
                fail_msg("case %zu: %s", i, e.text);
            continue;
        }
        if (r < 0)
            fail_msg("case %zu: %s", i, e.text);
        assert_string_equal(req.url, t->expected);
        assert_string_equal(req.shown, t->shown);
        assert_int_equal(req.auth, t->auth);
        camera_request_done(&req);
        camera_request_done(&req);
    }
}

static void random_is_another_each_time(void **state)
{
    (void)state;
    struct camera cam = test_camera("porch", "http");
    cam.url = "http://cam/a.jpg?rs={random}";
    struct camera_request a = {0}, b = {0};
    const struct camera_kind *kind = camera_kind_find("http");
    assert_int_equal(kind->request(&cam, NULL, clock_wall(), &a, NULL), 0);
    assert_int_equal(kind->request(&cam, NULL, clock_wall(), &b, NULL), 0);
    assert_string_not_equal(a.url, b.url);
    camera_request_done(&a);
    camera_request_done(&b);
}

static void an_explicit_login_form_wins_over_placeholders(void **state)
{
    (void)state;
    struct camera cam = test_camera("porch", "http");
    cam.url = "http://cam/{user}.jpg";
    cam.user = "u";
    cam.auth = CAMERA_AUTH_DIGEST;
    struct camera_request a = {0};
    assert_int_equal(camera_kind_find("http")->request(&cam, NULL, clock_wall(), &a, NULL), 0);
    assert_int_equal(a.auth, CAMERA_AUTH_DIGEST);
    camera_request_done(&a);
}

static void over_long_values_are_refused_and_not_cut(void **state)
{
    (void)state;
    char user[5000];
    memset(user, 'u', sizeof(user) - 1);
    user[sizeof(user) - 1] = '\0';
    struct err e = {0};
    struct camera_request a = {0};
    struct camera cam = test_camera("porch", "foscam");
    cam.address = "cam:88";
    cam.user = user;
    assert_int_equal(camera_kind_find("foscam")->request(&cam, NULL, clock_wall(), &a, &e),
                     -EINVAL);
    cam.url = "http://cam/{user}.jpg";
    assert_int_equal(camera_kind_find("http")->request(&cam, NULL, clock_wall(), &a, &e), -EINVAL);
    assert_null(a.url);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_encoded_and_shown_without_secrets),
        cmocka_unit_test(random_is_another_each_time),
        cmocka_unit_test(an_explicit_login_form_wins_over_placeholders),
        cmocka_unit_test(over_long_values_are_refused_and_not_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
