/* Who is behind a request. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "sys/http_peer.h"

static void tells_who_asks(void **state)
{
    (void)state;
    static const char *const proxies[] = {"10.0.0.1", "127.0.0.2", "192.168.0.0/24", NULL};
    AUTO(host_list) trusted = NULL;
    struct err e;
    assert_int_equal(host_list_new(proxies, &trusted, &e), 0);
    static const struct {
        const char *socket, *forwarded, *more, *scheme; /* more: a second header */
        const char *address;
        bool loopback, secure;
    } cases[] = {
        {"127.0.0.1", NULL, NULL, NULL, "127.0.0.1", true, false},
        {"127.9.9.9", NULL, NULL, NULL, "127.9.9.9", true, false},
        {"192.0.2.1", NULL, NULL, NULL, "192.0.2.1", false, false},
        /* Nobody's word counts but a trusted one's. */
        {"192.0.2.1", "127.0.0.1", NULL, "https", "192.0.2.1", false, false},
        {"127.0.0.1", "127.0.0.1", NULL, "https", "127.0.0.1", false, false},
        {"10.0.0.1", "192.0.2.9", NULL, NULL, "192.0.2.9", false, false},
        {"10.0.0.1", "192.0.2.9", NULL, "https", "192.0.2.9", false, true},
        {"127.0.0.2", "192.0.2.9", NULL, NULL, "192.0.2.9", false, false},
        /* Only what proxies of ours appended. */
        {"10.0.0.1", "127.0.0.1, 192.0.2.9", NULL, NULL, "192.0.2.9", false, false},
        {"10.0.0.1", "127.0.0.1 , 192.0.2.9,192.168.0.7", NULL, NULL, "192.0.2.9", false, false},
        {"10.0.0.1", "127.0.0.1", "192.0.2.9", NULL, "192.0.2.9", false, false},
        {"10.0.0.1", "192.0.2.9", "192.168.0.7", NULL, "192.0.2.9", false, false},
        {"10.0.0.1", "192.168.0.8, 192.168.0.7", NULL, NULL, "192.168.0.8", false, false},
        /* A trusted proxy is never this machine itself, whatever it says. */
        {"127.0.0.2", NULL, NULL, NULL, "127.0.0.2", false, false},
        {"10.0.0.1", "127.0.0.1", NULL, NULL, "127.0.0.1", false, false},
        /* Forms, and what is none. */
        {"10.0.0.1", "192.0.2.9:4711", NULL, NULL, "192.0.2.9", false, false},
        {"10.0.0.1", "[2001:db8::1]:4711", NULL, NULL, "2001:db8::1", false, false},
        {"10.0.0.1", "2001:DB8::1", NULL, NULL, "2001:db8::1", false, false},
        {"10.0.0.1", "unknown", NULL, NULL, "10.0.0.1", false, false},
        {"10.0.0.1", "", NULL, NULL, "10.0.0.1", false, false},
        {"10.0.0.1", ",,,", NULL, NULL, "10.0.0.1", false, false},
        {"10.0.0.1", "x, 192.168.0.7", NULL, NULL, "192.168.0.7", false, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO_FREE struct http_request *req = xcalloc(1, sizeof(*req));
        struct sockaddr_in a = {.sin_family = AF_INET};
        assert_int_equal(inet_pton(AF_INET, cases[i].socket, &a.sin_addr), 1);
        if (cases[i].forwarded)
            req->headers[req->header_count++] =
                (struct http_pair){"x-forwarded-for", cases[i].forwarded};
        if (cases[i].more)
            req->headers[req->header_count++] =
                (struct http_pair){"X-Forwarded-For", cases[i].more};
        if (cases[i].scheme)
            req->headers[req->header_count++] =
                (struct http_pair){"X-Forwarded-Proto", cases[i].scheme};
        http_peer_find(req, (struct sockaddr *)&a, false, trusted);
        if (strcmp(req->peer.address, cases[i].address) != 0 ||
            req->peer.loopback != cases[i].loopback || req->peer.secure != cases[i].secure)
            fail_msg("case %zu: %s %d %d", i, req->peer.address, req->peer.loopback,
                     req->peer.secure);
        if (!cases[i].forwarded)
            continue;
        http_peer_find(req, (struct sockaddr *)&a, true, NULL); /* nobody is trusted */
        assert_string_equal(req->peer.address, cases[i].socket);
        assert_false(req->peer.loopback);
        assert_true(req->peer.secure);
    }
}

static void knows_ipv6(void **state)
{
    (void)state;
    AUTO_FREE struct http_request *req = xcalloc(1, sizeof(*req));
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    http_peer_find(req, (struct sockaddr *)&a, false, NULL);
    assert_true(req->peer.loopback);
    assert_string_equal(req->peer.address, "::1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_who_asks),
        cmocka_unit_test(knows_ipv6),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
