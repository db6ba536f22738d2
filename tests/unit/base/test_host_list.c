#include "../test.h"

#include <arpa/inet.h>
#include <errno.h>

#include "base/host_list.h"

static struct host_list *make(const char *const *items)
{
    struct host_list *l = NULL;
    struct err e = {0};
    if (host_list_new(items, &l, &e) < 0)
        fail_msg("%s", e.text);
    return l;
}

static bool has_address(const struct host_list *l, const char *text)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
        return host_list_has_address(l, (struct sockaddr *)&v4);
    assert_int_equal(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
    return host_list_has_address(l, (struct sockaddr *)&v6);
}

static void knows_what_is_private(void **state UNUSED)
{
    static const char *const items[] = {"private", NULL};
    static const struct {
        const char *host;
        bool is;
    } cases[] = {
        {"10.0.0.0", true},
        {"10.255.255.255", true},
        {"9.255.255.255", false},
        {"11.0.0.0", false},
        {"172.15.255.255", false},
        {"172.16.0.0", true},
        {"172.31.255.255", true},
        {"172.32.0.0", false},
        {"192.168.0.1", true},
        {"192.167.255.255", false},
        {"192.169.0.0", false},
        {"169.254.169.254", true},
        {"127.0.0.1", true},
        {"127.8.9.10", true},
        {"128.0.0.1", false},
        {"0.0.0.0", false},
        {"203.0.113.5", false},
        {"::1", true},
        {"::", false},
        {"::2", false},
        {"fc00::1", true},
        {"fdff:ffff::1", true},
        {"fe00::1", false},
        {"fe80::1", true},
        {"febf::1", true},
        {"fec0::1", false},
        {"2001:db8::1", false},
        /* The same host in other clothes. */
        {"::ffff:10.1.2.3", true},
        {"::ffff:203.0.113.5", false},
    };
    AUTO(host_list) l = make(items);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (host_list_has(l, cases[i].host) != cases[i].is)
            CASE_FAILS("%s as a text", cases[i].host);
        if (has_address(l, cases[i].host) != cases[i].is)
            CASE_FAILS("%s as an address", cases[i].host);
    }
}

static void takes_names_addresses_and_networks(void **state UNUSED)
{
    static const char *const items[] = {"Porch-cam.example.org", "203.0.113.7", "198.51.100.9/25",
                                        "2001:db8:7::/48",       "2001:db8::5", NULL};
    static const struct {
        const char *host;
        bool is;
    } cases[] = {
        {"porch-cam.EXAMPLE.org", true},
        {"example.org", false},
        {"porch-cam.example.org.evil.net", false},
        {"203.0.113.7", true},
        {"203.0.113.8", false},
        {"198.51.100.0", true}, /* the network's, whatever host stands in front of the slash */
        {"198.51.100.127", true},
        {"198.51.100.128", false},
        {"2001:db8:7:1::9", true},
        {"2001:db8:8::9", false},
        {"2001:db8::5", true},
        {"2001:DB8:0:0::5", true},
        {"2001:db8::6", false},
        {"10.0.0.1", false},
        {"127.1", false}, /* a resolver may read it as 127.0.0.1: then its address tells */
        {"", false},
    };
    AUTO(host_list) l = make(items);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (host_list_has(l, cases[i].host) != cases[i].is)
            CASE_FAILS("%s", cases[i].host);
}

static void an_empty_list_has_nothing_and_a_network_of_all_has_all(void **state UNUSED)
{
    static const char *const none[] = {NULL}, *const v4[] = {"0.0.0.0/0", NULL},
                             *const all[] = {"::/0", NULL};
    AUTO(host_list) l = make(none);
    assert_false(host_list_has(l, "127.0.0.1"));
    assert_false(has_address(l, "127.0.0.1"));
    AUTO(host_list) l4 = make(v4);
    assert_true(has_address(l4, "203.0.113.7"));
    assert_false(has_address(l4, "2001:db8::1"));
    AUTO(host_list) l6 = make(all);
    assert_true(has_address(l6, "203.0.113.7"));
    assert_true(has_address(l6, "2001:db8::1"));
    struct sockaddr other = {.sa_family = AF_UNIX};
    assert_false(host_list_has_address(l6, &other));
}

static void tells_whether_names_are_among_them(void **state UNUSED)
{
    AUTO(host_list) none = make((const char *const[]){"private", "10.0.0.1", "::1", NULL});
    AUTO(host_list) some = make((const char *const[]){"10.0.0.1", "cam.lan", NULL});
    assert_false(host_list_has_names(none));
    assert_true(host_list_has_names(some));
}

static void refuses_what_is_none_of_these(void **state UNUSED)
{
    static const char *const wrong[] = {
        "10.0.0",     "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/x", "10.0.0.0/-1",
        "::1/129",    "[::1]",       "host/8",    "cam lan",    "http://cam",
        "10.0.0.256", "*.lan",       "",          "cam:80",     "10.0.0.0/8/8"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        const char *const items[] = {"private", wrong[i], NULL};
        struct host_list *l = NULL;
        struct err e = {0};
        if (host_list_new(items, &l, &e) != -EINVAL)
            CASE_FAILS("\"%s\"", wrong[i]);
        assert_null(l);
        assert_non_null(strstr(e.text, "is no name, address, network like"));
        assert_non_null(strstr(e.text, wrong[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_what_is_private),
        cmocka_unit_test(takes_names_addresses_and_networks),
        cmocka_unit_test(an_empty_list_has_nothing_and_a_network_of_all_has_all),
        cmocka_unit_test(tells_whether_names_are_among_them),
        cmocka_unit_test(refuses_what_is_none_of_these),
    };
    return RUN_TESTS(tests);
}
