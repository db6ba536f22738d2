#include "../test.h"

#include <errno.h>

#include "wire/device_params.h"

static void splits_every_form(void **state)
{
    (void)state;
    static const struct {
        const char *text, *user, *password, *host, *address;
        int port, rtsp_port;
    } cases[] = {
        {"admin:pw@192.0.2.7:88", "admin", "pw", "192.0.2.7", "192.0.2.7:88", 88, 88},
        {"admin:pw@192.0.2.7:88,554", "admin", "pw", "192.0.2.7", "192.0.2.7:88", 88, 554},
        {"admin:p@w@cam.lan:80", "admin", "p@w", "cam.lan", "cam.lan:80", 80, 80},
        {"admin:p:w@cam:80", "admin", "p:w", "cam", "cam:80", 80, 80},
        {"admin:@,:[@cam-1_x:80", "admin", "@,:[", "cam-1_x", "cam-1_x:80", 80, 80},
        {"admin:p,1@cam:80,65535", "admin", "p,1", "cam", "cam:80", 80, 65535},
        {":@cam:1", "", "", "cam", "cam:1", 1, 1},
        {"a b:\xc3\xbc \"%@cam:80", "a b", "\xc3\xbc \"%", "cam", "cam:80", 80, 80},
        {"u:p@[2001:db8::1]:8080", "u", "p", "2001:db8::1", "[2001:db8::1]:8080", 8080, 8080},
        {"u:p@[2001:db8::1]:8080,554", "u", "p", "2001:db8::1", "[2001:db8::1]:8080", 8080, 554},
        {"u:p@2001:db8::1:8080", "u", "p", "2001:db8::1", "[2001:db8::1]:8080", 8080, 8080},
        {"u:p@[::ffff:192.0.2.7]:80", "u", "p", "::ffff:192.0.2.7", "[::ffff:192.0.2.7]:80", 80,
         80},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct device_params p;
        struct err e = {0};
        if (device_params_parse(cases[i].text, strlen(cases[i].text), &p, &e) < 0)
            CASE_FAILS("%s: %s", cases[i].text, e.text);
        test_expect_text(cases[i].text, p.user, cases[i].user);
        test_expect_text(cases[i].text, p.password, cases[i].password);
        test_expect_text(cases[i].text, p.host, cases[i].host);
        test_expect_text(cases[i].text, p.address, cases[i].address);
        assert_int_equal(p.port, cases[i].port);
        assert_int_equal(p.rtsp_port, cases[i].rtsp_port);
    }
}

#define A10 "aaaaaaaaaa"
#define A50 A10 A10 A10 A10 A10
#define A250 A50 A50 A50 A50 A50

static void refuses_the_rest_without_telling_it(void **state)
{
    (void)state;
    static const char wanted[] = "; wanted is user:password@host:port[,rtsp_port]";
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"", "no '@' between the login and the host"},
        {"192.0.2.7:88", "no '@' between the login and the host"},
        {"C4N4RY@cam:80", "no ':' between user and password"},
        {"u:C4N4RY@", "no ':' between host and port"},
        {"u:C4N4RY@cam", "no ':' between host and port"},
        {"u:C4N4RY@cam,554", "no ':' between host and port"},
        {"u:C4N4RY@:80", "the host is no name or address"},
        {"u:C4N4RY@cam/:80", "the host is no name or address"},
        {"u:C4N4RY@cam?a=:80", "the host is no name or address"},
        {"u:C4N4RY@c m:80", "the host is no name or address"},
        {"u:C4N4RY@c\xc3\xa4m:80", "the host is no name or address"},
        {"u:C4N4RY@c#m:80", "the host is no name or address"},
        {"u:C4N4RY@c\nm:80", "the host is no name or address"},
        {"u:C4N4RY@[cam]:80", "the host is no IPv6 address"},
        {"u:C4N4RY@[]:80", "the host is no IPv6 address"},
        {"u:C4N4RY@[::1:80", "the host is no IPv6 address"},
        {"u:C4N4RY@cam:80:80", "the host is no IPv6 address"},
        {"u:C4N4RY@[fe80::1%eth0]:80", "the host is no IPv6 address"},
        {"u:C4N4RY@cam:", "the port is no number from 1 to 65535"},
        {"u:C4N4RY@cam:0", "the port is no number from 1 to 65535"},
        {"u:C4N4RY@cam:65536", "the port is no number from 1 to 65535"},
        {"u:C4N4RY@cam:-1", "the port is no number from 1 to 65535"},
        {"u:C4N4RY@cam: 80", "the port is no number from 1 to 65535"},
        {"u:C4N4RY@cam:80/x", "the port is no number from 1 to 65535"},
        {"u:C4N4RY@cam:80,", "the RTSP port is no number from 1 to 65535"},
        {"u:C4N4RY@cam:80,x", "the RTSP port is no number from 1 to 65535"},
        {"u:C4N4RY@cam:80,1,2", "the RTSP port is no number from 1 to 65535"},
        {A250 ":C4N4RY@cam:80", "the user is too long"},
        {"u:C4N4RY" A250 "@cam:80", "the password is too long"},
        {"u:C4N4RY@" A250 "aaaa:80", "the host is too long"},
        {"u:C4N4RY" A250 A250 A250 "@cam:80", "too long"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct device_params p = {.port = -1};
        struct err e = {0};
        char text[ERR_TEXT_MAX];
        int r = device_params_parse(cases[i].text, strlen(cases[i].text), &p, &e);
        (void)snprintf(text, sizeof(text), "%s%s", cases[i].why, wanted);
        test_expect_text(cases[i].text, e.text, text);
        assert_int_equal(r, -EINVAL);
        assert_int_equal(e.retry, ERR_NEVER);
        assert_int_equal(p.port, -1);
        assert_null(strstr(e.text, "C4N4RY"));
    }
}

static void refuses_a_nul_byte(void **state)
{
    (void)state;
    struct device_params p;
    struct err e = {0};
    static const char text[] = "u:p\0w@cam:80";
    assert_int_equal(device_params_parse(text, sizeof(text) - 1, &p, &e), -EINVAL);
    assert_non_null(strstr(e.text, "a NUL byte in it"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(splits_every_form),
        cmocka_unit_test(refuses_the_rest_without_telling_it),
        cmocka_unit_test(refuses_a_nul_byte),
    };
    return RUN_TESTS(tests);
}
