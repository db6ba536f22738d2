/* A real listener and real sockets: everything that clients do wrong. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/blob.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "sys/httpd.h"

#define PATIENCE_MS 20000 /* of a test; a healthy server needs milliseconds */
#define BIG_SIZE (4 << 20)

static atomic_int waiting_now, calls;
static atomic_bool outcome_known;

/* /echo answers the body, /big four megabytes, /wait/KEY?ms=N waits for the key or N ms. */
static void handle(void *arg, const struct http_request *req, struct http_response *ret)
{
    (void)arg;
    atomic_fetch_add(&calls, 1);
    const char *what = req->part_count ? req->parts[0] : "";
    struct dynbuf text;
    dynbuf_init(&text, 1 << 20);
    if (strcmp(what, "big") == 0) {
        uint8_t *bytes = xmalloc(BIG_SIZE);
        memset(bytes, 'b', BIG_SIZE);
        struct blob *body = blob_new_take(bytes, BIG_SIZE);
        http_response_blob(ret, 200, "image/jpeg", &body);
        return;
    }
    if (strcmp(what, "wait") == 0) {
        struct mono_time now = clock_mono();
        bool late = req->resumed && req->resumed->deadline.us <= now.us;
        if (atomic_load(&outcome_known) || late || !req->may_wait) {
            (void)dynbuf_puts(&text, late ? "late" : req->may_wait ? "known" : "refused");
            http_response_text(ret, 200, "text/plain", &text);
            return;
        }
        ret->waits = true;
        text_copy(ret->wait.key, sizeof(ret->wait.key), req->parts[1]);
        const char *ms = http_request_query(req, "ms");
        ret->wait.deadline =
            req->resumed ? req->resumed->deadline : mono_add_ms(now, ms ? strtol(ms, NULL, 10) : 0);
        ret->wait.recheck = ret->wait.deadline;
        atomic_fetch_add(&waiting_now, 1);
        return;
    }
    (void)dynbuf_printf(&text, "%s:%.*s", what, (int)req->body_size, (const char *)req->body);
    http_response_text(ret, 200, "text/plain", &text);
}

static struct httpd *start(int connections_max, int64_t request_timeout_ms)
{
    struct httpd_options options = {.listen = "127.0.0.1:0",
                                    .connections_max = connections_max,
                                    .request_timeout_ms = request_timeout_ms,
                                    .handle = handle};
    struct httpd *h = NULL;
    struct err e = {0};
    if (httpd_start(&options, &h, &e) < 0)
        fail_msg("%s", e.text);
    atomic_store(&waiting_now, 0);
    atomic_store(&outcome_known, false);
    return h;
}

static int dial(const struct httpd *h)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)httpd_port(h)),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

static void say(int fd, const char *text)
{
    size_t len = strlen(text);
    while (len > 0) {
        ssize_t n = send(fd, text, len, MSG_NOSIGNAL);
        assert_true(n > 0);
        text += n;
        len -= (size_t)n;
    }
}

/* Reads one answer into `out` (head and body); 0 when the server closed before one was whole. */
static size_t hear(int fd, char *out, size_t size)
{
    size_t used = 0;
    for (;;) {
        out[used] = '\0';
        const char *end = strstr(out, "\r\n\r\n");
        size_t missing = 1; /* the head comes byte by byte: what follows may be the next answer */
        if (end) {
            const char *length = strcasestr(out, "\r\nContent-Length:");
            size_t body = length && length < end ? strtoul(length + 17, NULL, 10) : 0;
            size_t whole = (size_t)(end + 4 - out) + body;
            if (used >= whole)
                return used;
            missing = whole - used;
        }
        struct pollfd p = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
        ssize_t n = recv(fd, out + used, MIN(missing, size - 1 - used), 0);
        if (n <= 0)
            return 0;
        used += (size_t)n;
        assert_true(used + 1 < size);
    }
}

static void expect(int fd, const char *status, const char *body)
{
    static char text[1 << 20];
    size_t n = hear(fd, text, sizeof(text));
    if (n == 0)
        fail_msg("closed instead of %s", status);
    if (strncmp(text, "HTTP/1.1 ", 9) != 0 || strncmp(text + 9, status, 3) != 0 ||
        !strstr(text, body))
        fail_msg("wanted %s '%s', got: %s", status, body, text);
}

static void expect_end(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
    char byte;
    assert_true(recv(fd, &byte, 1, 0) <= 0);
}

static void wait_until_waiting(int count)
{
    struct mono_time until = mono_add_ms(clock_mono(), PATIENCE_MS);
    while (atomic_load(&waiting_now) < count) {
        assert_false(mono_passed(until));
        sched_yield();
    }
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: localhost\r\n\r\n"

static void parses_endpoints(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int r;
        bool loopback;
        int port;
    } cases[] = {
        {"127.0.0.1:8080", 0, true, 8080},
        {"127.1.2.3:1", 0, true, 1},
        {"localhost:0", 0, true, 0},
        {"[::1]:65535", 0, true, 65535},
        {"0.0.0.0:80", 0, false, 80},
        {"[::]:80", 0, false, 80},
        {"192.168.0.1:80", 0, false, 80},
        {"[fe80::1]:80", 0, false, 80},
        {"127.0.0.1", -EINVAL, 0, 0},
        {"127.0.0.1:", -EINVAL, 0, 0},
        {"127.0.0.1:65536", -EINVAL, 0, 0},
        {"::1:80", -EINVAL, 0, 0},
        {"[127.0.0.1]:80", -EINVAL, 0, 0},
        {"[localhost]:80", -EINVAL, 0, 0},
        {"example.org:80", -EINVAL, 0, 0},
        {":80", -EINVAL, 0, 0},
        {"", -EINVAL, 0, 0},
        {"127.0.0.1:-1", -EINVAL, 0, 0},
        {"127.0.0.1:8080 ", -EINVAL, 0, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct httpd_endpoint endpoint = {0};
        struct err e = {0};
        int r = httpd_endpoint_parse(cases[i].text, &endpoint, &e);
        if (r != cases[i].r ||
            (r == 0 && (endpoint.loopback != cases[i].loopback || endpoint.port != cases[i].port)))
            fail_msg("'%s': %d, loopback %d, port %d", cases[i].text, r, endpoint.loopback,
                     endpoint.port);
    }
}

static void says_why_it_cannot_listen(void **state)
{
    (void)state;
    AUTO(httpd) h = start(0, 0);
    char address[32];
    snprintf(address, sizeof(address), "127.0.0.1:%d", httpd_port(h));
    struct httpd_options options = {.listen = address, .handle = handle};
    struct httpd *second = NULL;
    struct err e = {0};
    assert_int_equal(httpd_start(&options, &second, &e), -EADDRINUSE);
    assert_null(second);
    assert_non_null(strstr(e.text, address));
    assert_non_null(strstr(e.text, "in use"));
}

static void listens_on_ipv6(void **state)
{
    (void)state;
    struct httpd_options options = {.listen = "[::1]:0", .handle = handle};
    struct httpd *h = NULL;
    struct err e = {0};
    int r = httpd_start(&options, &h, &e);
    if (r == -EADDRNOTAVAIL || r == -EAFNOSUPPORT)
        skip();
    assert_int_equal(r, 0);
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in6 to = {.sin6_family = AF_INET6,
                              .sin6_port = htons((uint16_t)httpd_port(h)),
                              .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    say(fd, GET("/echo"));
    expect(fd, "200", "echo:");
    close(fd);
    httpd_free(h);
}

static void takes_a_request_in_single_bytes(void **state)
{
    (void)state;
    AUTO(httpd) h = start(0, 0);
    AUTO_CLOSE int fd = dial(h);
    const char *request =
        "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello";
    for (const char *p = request; *p; p++)
        say(fd, (char[]){*p, '\0'});
    expect(fd, "200", "echo:hello");
}

static void answers_pipelined_requests_in_order(void **state)
{
    (void)state;
    AUTO(httpd) h = start(0, 0);
    AUTO_CLOSE int fd = dial(h);
    say(fd,
        GET("/one") "POST /two HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab" GET("/three"));
    expect(fd, "200", "one:");
    expect(fd, "200", "two:ab");
    expect(fd, "200", "three:");
}

static void takes_chunked_bodies(void **state)
{
    (void)state;
    AUTO(httpd) h = start(0, 0);
    AUTO_CLOSE int fd = dial(h);
    say(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    expect(fd, "200", "echo:abcde");
}

static void bounds_everything_a_request_has(void **state)
{
    (void)state;
    AUTO(httpd) h = start(0, 0);
    static const struct {
        size_t target, headers, header_size, body;
        const char *status, *code;
    } cases[] = {
        {1000, 0, 0, 0, "200", ""},
        {HTTP_TARGET_MAX, 0, 0, 0, "200", ""},
        {HTTP_TARGET_MAX + 1, 0, 0, 0, "414", "address-too-long"},
        {20000, 0, 0, 0, "414", "address-too-long"},
        {10, HTTP_HEADERS_MAX - 2, 10, 0, "200", ""}, /* beside Host and Content-Length */
        {10, HTTP_HEADERS_MAX - 1, 10, 0, "431", "headers-too-large"},
        {10, 1, HTTP_HEADERS_BYTES_MAX - 100, 0, "200", ""},
        {10, 1, HTTP_HEADERS_BYTES_MAX, 0, "431", "headers-too-large"},
        {10, 1, 200000, 0, "431", ""}, /* the library's own words */
        {10, 0, 0, HTTPD_BODY_MAX, "200", ""},
        {10, 0, 0, HTTPD_BODY_MAX + 1, "413", "body-too-large"},
        {10, 0, 0, 500000, "413", "body-too-large"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO_DONE(dynbuf) request;
        dynbuf_init(&request, 1 << 21);
        (void)dynbuf_puts(&request, "POST /");
        for (size_t n = 1; n < cases[i].target; n++)
            (void)dynbuf_puts(&request, "t");
        (void)dynbuf_printf(&request, " HTTP/1.1\r\nHost: localhost\r\nContent-Length: %zu\r\n",
                            cases[i].body);
        for (size_t n = 0; n < cases[i].headers; n++) {
            (void)dynbuf_printf(&request, "X-%zu: ", n);
            for (size_t k = 0; k < cases[i].header_size; k++)
                (void)dynbuf_puts(&request, "h");
            (void)dynbuf_puts(&request, "\r\n");
        }
        (void)dynbuf_puts(&request, "\r\n");
        for (size_t n = 0; n < cases[i].body; n++)
            (void)dynbuf_puts(&request, "b");
        AUTO_CLOSE int fd = dial(h);
        /* The server may answer and close before all is sent. */
        const char *at = dynbuf_str(&request), *end = at + request.len;
        while (at < end) {
            ssize_t n = send(fd, at, (size_t)(end - at), MSG_NOSIGNAL);
            if (n <= 0)
                break;
            at += n;
        }
        expect(fd, cases[i].status, cases[i].code);
    }
}

static void refuses_a_giant_body_before_reading_it(void **state)
{
    (void)state;
    AUTO(httpd) h = start(0, 0);
    AUTO_CLOSE int fd = dial(h);
    say(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n");
    expect(fd, "413", "body-too-large");
    expect_end(fd);
}

static void survives_what_is_no_http(void **state)
{
    (void)state;
    static const char *const noises[] = {
        "\r\n\r\n\r\n",
        "GET\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "GET / HTTP/1.1\r\nHost\r\n\r\n",
        "GET / HTTP/1.1\r\n: x\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    };
    AUTO(httpd) h = start(0, 300); /* some of it might still become a request */
    for (size_t i = 0; i < ARRAY_LEN(noises); i++) {
        AUTO_CLOSE int fd = dial(h);
        say(fd, noises[i]);
        shutdown(fd, SHUT_WR);
        char byte;
        while (recv(fd, &byte, 1, 0) > 0) /* until it closes: an answer or none, both are fine */
            ;
    }
    AUTO_CLOSE int fd = dial(h);
    say(fd, GET("/echo"));
    expect(fd, "200", "echo:");
}

static void closes_a_client_that_never_ends_its_request(void **state)
{
    (void)state;
    AUTO(httpd) h = start(0, 200);
    static const char *const halves[] = {
        "", "GET /ec", "GET /echo HTTP/1.1\r\nHost: a\r\n",
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc"};
    for (size_t i = 0; i < ARRAY_LEN(halves); i++) {
        AUTO_CLOSE int fd = dial(h);
        say(fd, halves[i]);
        expect_end(fd);
    }
    /* Nor does a byte now and then help: send fails at last. */
    AUTO_CLOSE int fd = dial(h);
    say(fd, "GET /echo HTTP/1.1\r\nX: ");
    struct mono_time until = mono_add_ms(clock_mono(), PATIENCE_MS);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    while (poll(&p, 1, 20) == 0) {
        (void)send(fd, "a", 1, MSG_NOSIGNAL);
        assert_false(mono_passed(until));
    }
    struct httpd_numbers numbers;
    httpd_get_numbers(h, &numbers);
    assert_true(numbers.too_slow >= 5);
}

static void idle_connections_do_not_block_another(void **state)
{
    (void)state;
    static const int limits[] = {128, 8}; /* room for all; or the idle ones must make room */
    for (size_t k = 0; k < ARRAY_LEN(limits); k++) {
        AUTO(httpd) h = start(limits[k], 60000);
        int idle[50];
        for (size_t i = 0; i < ARRAY_LEN(idle); i++)
            idle[i] = dial(h);
        AUTO_CLOSE int fd = dial(h);
        say(fd, GET("/echo"));
        expect(fd, "200", "echo:");
        for (size_t i = 0; i < ARRAY_LEN(idle); i++)
            close(idle[i]);
    }
}

static void a_reader_that_does_not_read_disturbs_nobody(void **state)
{
    (void)state;
    AUTO(httpd) h = start(0, 0);
    AUTO_CLOSE int lazy = dial(h);
    say(lazy, GET("/big") GET("/big"));
    AUTO_CLOSE int fd = dial(h);
    for (int i = 0; i < 20; i++) {
        say(fd, GET("/echo"));
        expect(fd, "200", "echo:");
    }
}

static void sends_large_bodies_whole(void **state)
{
    (void)state;
    size_t before = blob_live_count();
    {
        AUTO(httpd) h = start(0, 0);
        AUTO_CLOSE int fd = dial(h);
        say(fd, GET("/big"));
        AUTO_FREE char *text = xmalloc(BIG_SIZE + 4096);
        size_t n = hear(fd, text, BIG_SIZE + 4096);
        assert_true(n > BIG_SIZE);
        assert_int_equal(strspn(text + n - BIG_SIZE, "b"), BIG_SIZE);
        say(fd, "HEAD /big HTTP/1.1\r\nHost: a\r\n\r\n");
        char head[4096];
        size_t used = 0;
        do {
            assert_true(recv(fd, head + used, 1, 0) == 1);
            head[++used] = '\0';
        } while (!strstr(head, "\r\n\r\n"));
        assert_non_null(strstr(head, "Content-Length: 4194304"));
        say(fd, GET("/echo"));
        expect(fd, "200", "echo:");
    }
    assert_int_equal(blob_live_count(), before);
}

static void a_waiting_request_is_answered_when_its_key_is_woken(void **state)
{
    (void)state;
    AUTO(httpd) h = start(0, 0);
    AUTO_CLOSE int fd = dial(h);
    AUTO_CLOSE int other = dial(h);
    say(fd, GET("/wait/abc?ms=60000"));
    wait_until_waiting(1);
    say(other, GET("/echo"));
    expect(other, "200", "echo:");
    atomic_store(&outcome_known, true);
    httpd_wake(h, "another");
    for (int i = 0; i < 1000; i++) /* more than the list of keys holds */
        httpd_wake(h, i == 500 ? "abc" : "another");
    expect(fd, "200", "known");
    say(fd, GET("/echo"));
    expect(fd, "200", "echo:");
}

static void a_waiting_request_is_answered_at_its_time(void **state)
{
    (void)state;
    AUTO(httpd) h = start(0, 0);
    AUTO_CLOSE int fd = dial(h);
    struct mono_time start_time = clock_mono();
    say(fd, GET("/wait/abc?ms=150"));
    expect(fd, "200", "late");
    assert_true(mono_diff_ms(clock_mono(), start_time) >= 150);
}

static void waiting_does_not_count_as_slow(void **state)
{
    (void)state;
    AUTO(httpd) h = start(0, 100);
    AUTO_CLOSE int fd = dial(h);
    say(fd, GET("/wait/abc?ms=400"));
    expect(fd, "200", "late");
}

static void only_so_many_may_wait(void **state)
{
    (void)state;
    AUTO(httpd) h = start(8, 0);
    int fds[5];
    for (int i = 0; i < 4; i++) {
        fds[i] = dial(h);
        say(fds[i], GET("/wait/abc?ms=60000"));
        wait_until_waiting(i + 1);
    }
    fds[4] = dial(h);
    say(fds[4], GET("/wait/abc?ms=60000"));
    expect(fds[4], "200", "refused");
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        close(fds[i]);
}

static void stopping_answers_those_who_wait(void **state)
{
    (void)state;
    AUTO(httpd) h = start(0, 0);
    AUTO_CLOSE int fd = dial(h);
    AUTO_CLOSE int idle = dial(h);
    say(fd, GET("/wait/abc?ms=60000"));
    wait_until_waiting(1);
    int port = httpd_port(h);
    httpd_stop(h, PATIENCE_MS);
    expect(fd, "200", "refused");
    expect_end(fd);
    expect_end(idle);
    AUTO_CLOSE int late = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    assert_int_equal(connect(late, (struct sockaddr *)&to, sizeof(to)), -1);
    httpd_stop(h, 0);
}

static void stopping_without_grace_ends_at_once(void **state)
{
    (void)state;
    AUTO(httpd) h = start(0, 0);
    AUTO_CLOSE int fd = dial(h);
    AUTO_CLOSE int lazy = dial(h);
    say(fd, GET("/wait/abc?ms=60000"));
    say(lazy, GET("/big") GET("/big"));
    wait_until_waiting(1);
    struct mono_time before = clock_mono();
    httpd_stop(h, 0);
    assert_true(mono_diff_ms(clock_mono(), before) < PATIENCE_MS / 2);
}

static void a_client_may_leave_while_it_waits(void **state)
{
    (void)state;
    AUTO(httpd) h = start(0, 0);
    int fd = dial(h);
    say(fd, GET("/wait/abc?ms=60000"));
    wait_until_waiting(1);
    close(fd);
    atomic_store(&outcome_known, true);
    httpd_wake(h, "abc");
    AUTO_CLOSE int other = dial(h);
    say(other, GET("/echo"));
    expect(other, "200", "echo:");
}

static int open_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = 0;
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static int group_fds;
static int count_before(void **state)
{
    (void)state;
    group_fds = open_descriptors();
    return 0;
}
static int count_after(void **state)
{
    (void)state;
    if (open_descriptors() == group_fds && blob_live_count() == 0)
        return 0;
    fprintf(stderr, "descriptors before %d, after %d; blobs %zu\n", group_fds, open_descriptors(),
            blob_live_count());
    return -1;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses_endpoints),
        cmocka_unit_test_setup_teardown(says_why_it_cannot_listen, count_before, count_after),
        cmocka_unit_test_setup_teardown(listens_on_ipv6, count_before, count_after),
        cmocka_unit_test_setup_teardown(takes_a_request_in_single_bytes, count_before, count_after),
        cmocka_unit_test_setup_teardown(answers_pipelined_requests_in_order, count_before,
                                        count_after),
        cmocka_unit_test_setup_teardown(takes_chunked_bodies, count_before, count_after),
        cmocka_unit_test_setup_teardown(bounds_everything_a_request_has, count_before, count_after),
        cmocka_unit_test_setup_teardown(refuses_a_giant_body_before_reading_it, count_before,
                                        count_after),
        cmocka_unit_test_setup_teardown(survives_what_is_no_http, count_before, count_after),
        cmocka_unit_test_setup_teardown(closes_a_client_that_never_ends_its_request, count_before,
                                        count_after),
        cmocka_unit_test_setup_teardown(idle_connections_do_not_block_another, count_before,
                                        count_after),
        cmocka_unit_test_setup_teardown(a_reader_that_does_not_read_disturbs_nobody, count_before,
                                        count_after),
        cmocka_unit_test_setup_teardown(sends_large_bodies_whole, count_before, count_after),
        cmocka_unit_test_setup_teardown(a_waiting_request_is_answered_when_its_key_is_woken,
                                        count_before, count_after),
        cmocka_unit_test_setup_teardown(a_waiting_request_is_answered_at_its_time, count_before,
                                        count_after),
        cmocka_unit_test_setup_teardown(waiting_does_not_count_as_slow, count_before, count_after),
        cmocka_unit_test_setup_teardown(only_so_many_may_wait, count_before, count_after),
        cmocka_unit_test_setup_teardown(stopping_answers_those_who_wait, count_before, count_after),
        cmocka_unit_test_setup_teardown(stopping_without_grace_ends_at_once, count_before,
                                        count_after),
        cmocka_unit_test_setup_teardown(a_client_may_leave_while_it_waits, count_before,
                                        count_after),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
