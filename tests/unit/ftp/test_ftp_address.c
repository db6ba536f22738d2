#include "ftp/ftp_address.h"

#include "../test.h"

#include <arpa/inet.h>

static union ftp_address address(const char *text, int port)
{
    union ftp_address a = {0};
    if (inet_pton(AF_INET, text, &a.v4.sin_addr) == 1) {
        a.v4.sin_family = AF_INET;
    } else {
        assert_int_equal(inet_pton(AF_INET6, text, &a.v6.sin6_addr), 1);
        a.v6.sin6_family = AF_INET6;
    }
    ftp_address_set_port(&a, port);
    return a;
}

static void ipv4_in_ipv6s_clothes_is_ipv4(void **state UNUSED)
{
    char text[FTP_ADDRESS_TEXT_MAX];
    union ftp_address a = address("::ffff:192.0.2.1", 2121), b = address("192.0.2.1", 5);
    ftp_address_normalise(&a);
    assert_int_equal(a.any.sa_family, AF_INET);
    assert_int_equal(ftp_address_port(&a), 2121);
    assert_true(ftp_address_same_host(&a, &b));
    assert_string_equal(ftp_address_text(&a, text), "192.0.2.1:2121");
    a = address("2001:db8::1", 21);
    ftp_address_normalise(&a);
    assert_string_equal(ftp_address_text(&a, text), "[2001:db8::1]:21");
    assert_false(ftp_address_same_host(&a, &b));
}

/* Who is not near is told the masquerade address. */
static void knows_who_is_in_the_house(void **state UNUSED)
{
    static const struct {
        const char *address;
        bool near;
    } cases[] = {
        {"127.0.0.1", true},    {"127.9.9.9", true},      {"10.1.2.3", true},
        {"172.16.0.1", true},   {"172.31.255.255", true}, {"172.32.0.1", false},
        {"172.15.0.1", false},  {"192.168.7.7", true},    {"192.169.0.1", false},
        {"169.254.1.1", true},  {"203.0.113.9", false},   {"11.0.0.1", false},
        {"::1", true},          {"fe80::1", true},        {"fd00::1", true},
        {"2001:db8::1", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        union ftp_address a = address(cases[i].address, 1);
        if (ftp_address_is_near(&a) != cases[i].near)
            CASE_FAILS("%s", cases[i].address);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ipv4_in_ipv6s_clothes_is_ipv4),
        cmocka_unit_test(knows_who_is_in_the_house),
    };
    return RUN_TESTS(tests);
}
