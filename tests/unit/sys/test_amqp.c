/* What needs no broker; the rest of the link is tested against real and false ones in tests/broker.
 */

#include "../test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/text.h"
#include "sys/amqp.h"

static void understands_addresses(void **state UNUSED)
{
    static const struct {
        const char *text, *host;
        uint16_t port;
    } cases[] = {
        {"rabbit", "rabbit", 5672},
        {"rabbit:1", "rabbit", 1},
        {"rabbit.example.org:65535", "rabbit.example.org", 65535},
        {"192.0.2.7:5673", "192.0.2.7", 5673},
        {"[2001:db8::7]:5673", "2001:db8::7", 5673},
        {"[::1]", "::1", 5672},
        {"::1", "::1", 5672},
        {"fe80::1%eth0", "fe80::1%eth0", 5672},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct amqp_address a;
        struct err e = {0};
        if (amqp_address_parse(cases[i].text, strlen(cases[i].text), 5672, &a, &e) < 0)
            CASE_FAILS("'%s': %s", cases[i].text, e.text);
        test_expect_text(cases[i].text, a.host, cases[i].host);
        if (a.port != cases[i].port)
            CASE_FAILS("'%s': port %u", cases[i].text, (unsigned)a.port);
    }
}

static void refuses_what_is_no_address(void **state UNUSED)
{
    static const char *const cases[] = {
        "",        ":5672",         "rabbit:",       "rabbit:0",  "rabbit:65536", "rabbit:amqp",
        "[::1",    "[::1]5672",     "[::1]:",        "[]:5672",   "a b",          "user@rabbit",
        "x/vhost", "amqp://rabbit", "rabbit\n:5672", "rabbit: 1", "[::1]]:5",
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct amqp_address a;
        struct err e = {0};
        if (amqp_address_parse(cases[i], strlen(cases[i]), 5672, &a, &e) != -EINVAL)
            CASE_FAILS("'%s' was taken", cases[i]);
        assert_int_equal(e.retry, ERR_NEVER);
        assert_non_null(strstr(e.text, "want 'host', 'host:port' or '[v6]:port'"));
    }
    char longest[AMQP_NAME_MAX + 1];
    memset(longest, 'a', sizeof(longest));
    struct amqp_address a;
    assert_int_equal(amqp_address_parse(longest, AMQP_NAME_MAX, 1, &a, NULL), -EINVAL);
    assert_int_equal(amqp_address_parse(longest, AMQP_NAME_MAX - 1, 1, &a, NULL), 0);
}

static void pauses_double_up_to_a_bound_and_spread_over_half_of_it(void **state UNUSED)
{
    static const int64_t whole[] = {250, 500, 1000, 2000, 4000, 4000, 4000};
    for (unsigned i = 0; i < ARRAY_LEN(whole); i++) {
        assert_true(amqp_backoff_ms(i + 1, ERR_LATER, 0) == whole[i] / 2);
        assert_true(amqp_backoff_ms(i + 1, ERR_NOW, UINT32_MAX) == whole[i]);
        int64_t middle = amqp_backoff_ms(i + 1, ERR_LATER, UINT32_MAX / 2);
        assert_true(middle > whole[i] / 2 && middle < whole[i]);
    }
    assert_true(amqp_backoff_ms(0, ERR_LATER, UINT32_MAX) == 250);
    assert_true(amqp_backoff_ms(UINT32_MAX, ERR_LATER, UINT32_MAX) == 4000);
    assert_true(amqp_backoff_ms(1, ERR_NEVER, UINT32_MAX) == 30000);
    assert_true(amqp_backoff_ms(1, ERR_NEVER, 0) == 15000);
}

static void refuses_options_that_cannot_work(void **state UNUSED)
{
    char too_long[AMQP_NAME_MAX + 1];
    memset(too_long, 'x', sizeof(too_long) - 1);
    too_long[AMQP_NAME_MAX] = '\0';
    const struct {
        struct amqp_options options;
        const char *text;
    } cases[] = {
        {{.addresses = NULL}, "no address is given"},
        {{.addresses = " , "}, "no address is given"},
        {{.addresses = "good,bad:port"}, "'bad:port' is no address"},
        {{.addresses = "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17"}, "more than 16 addresses"},
        {{.addresses = "a", .password = too_long}, "password is longer than 255 bytes"},
        {{.addresses = "a", .vhost = too_long}, "vhost is longer than 255 bytes"},
        {{.addresses = "a", .heartbeat_s = -1}, "heartbeat must be 1 to 600"},
        {{.addresses = "a", .heartbeat_s = 601}, "heartbeat must be 1 to 600"},
        {{.addresses = "a", .tls_key_file = "k"}, "a TLS key without its certificate"},
    };
    int fds = test_count_fds();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(amqp_link) l = NULL;
        struct err e = {0};
        assert_int_equal(amqp_link_new(&cases[i].options, &l, &e), -EINVAL);
        if (!strstr(e.text, cases[i].text) || strstr(e.text, "xxx"))
            CASE_FAILS("%zu: %s", i, e.text);
    }
    assert_int_equal(test_count_fds(), fds);
}

static void says_so_when_it_is_not_connected(void **state UNUSED)
{
    AUTO(amqp_link) l = NULL;
    struct err e = {0};
    struct amqp_event event;
    uint64_t tag = 0;
    char name[AMQP_NAME_MAX];
    assert_int_equal(amqp_link_new(&(struct amqp_options){.addresses = "a"}, &l, &e), 0);
    assert_false(amqp_link_connected(l));
    assert_true(amqp_link_fd(l) >= 0);
    assert_int_equal(amqp_link_process(l, 0, &event, &e), -ENOTCONN);
    assert_int_equal(amqp_link_declare_exchange(l, "x", "topic", &e), -ENOTCONN);
    assert_int_equal(amqp_link_declare_queue(l, &(struct amqp_queue){0}, name, &e), -ENOTCONN);
    assert_int_equal(amqp_link_bind(l, "q", "x", "k", &e), -ENOTCONN);
    assert_int_equal(amqp_link_consume(l, "q", 1, &e), -ENOTCONN);
    assert_int_equal(
        amqp_link_publish(l, &(struct amqp_message){.exchange = "x", .key = "k"}, &tag, &e),
        -ENOTCONN);
    assert_int_equal(e.retry, ERR_LATER);
    amqp_link_disconnect(l);
}

/* A server that the kernel connects us to and that never says a word. */
static int silent_server(char address[32])
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    (void)text_format(address, 32, "localhost:%u", (unsigned)ntohs(at.sin_port));
    return fd;
}

static void a_stop_ends_connecting_and_no_further_address_is_tried(void **state UNUSED)
{
    int fds = test_count_fds();
    int stop[2];
    char address[32], addresses[64];
    assert_int_equal(pipe(stop), 0);
    assert_int_equal(write(stop[1], "x", 1), 1);
    AUTO_CLOSE int server = silent_server(address);
    (void)text_format(addresses, sizeof(addresses), "127.0.0.1:%s,other", strchr(address, ':') + 1);
    struct amqp_link *l = NULL;
    struct err e = {0};
    const struct amqp_options o = {.addresses = addresses, .stop_fd = stop[0]};
    assert_int_equal(amqp_link_new(&o, &l, &e), 0);
    assert_int_equal(amqp_link_connect(l, &e), -ECANCELED);
    assert_null(strstr(e.text, "other"));
    amqp_link_free(l);
    (void)close(stop[0]);
    (void)close(stop[1]);
    (void)close(STEAL_FD(server));
    assert_int_equal(test_count_fds(), fds);
}

static void silence_ends_at_the_connect_time(void **state UNUSED)
{
    char address[32];
    AUTO_CLOSE int server = silent_server(address);
    AUTO(amqp_link) l = NULL;
    struct err e = {0};
    const struct amqp_options o = {.addresses = address, .connect_timeout_ms = 50};
    assert_int_equal(amqp_link_new(&o, &l, &e), 0);
    assert_int_equal(amqp_link_connect(l, &e), -ETIMEDOUT);
    assert_int_equal(e.retry, ERR_LATER);
    assert_false(amqp_link_connected(l));
}

static void every_event_has_a_name(void **state UNUSED)
{
    for (int i = 0; i < AMQP_EVENT_COUNT; i++)
        assert_non_null(amqp_event_names[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(understands_addresses),
        cmocka_unit_test(refuses_what_is_no_address),
        cmocka_unit_test(pauses_double_up_to_a_bound_and_spread_over_half_of_it),
        cmocka_unit_test(refuses_options_that_cannot_work),
        cmocka_unit_test(says_so_when_it_is_not_connected),
        cmocka_unit_test(a_stop_ends_connecting_and_no_further_address_is_tried),
        cmocka_unit_test(silence_ends_at_the_connect_time),
        cmocka_unit_test(every_event_has_a_name),
    };
    return RUN_TESTS(tests);
}
