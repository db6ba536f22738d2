/* Calls that are waited for, against a server of our own that does what the path says. It serves
 * one connection after the other, so a test sees whether one was kept. */

#include "sys/http_call.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "base/text.h"
#include "../test.h"

struct server {
    pthread_t thread;
    int fd, port, stop_fd; /* stop_fd: written when a request for /silent is here; -1 = not */
    atomic_int connections, requests;
    atomic_bool saw_expect;
    atomic_size_t body_bytes;
    char request[1024]; /* head of the last one; for when the server was stopped */
};

static void say(int fd, const char *text)
{
    size_t left = strlen(text);
    while (left) {
        ssize_t n = send(fd, text, left, MSG_NOSIGNAL);
        if (n <= 0)
            return;
        text += n;
        left -= (size_t)n;
    }
}

static void say_headers(int fd)
{
    say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nRetry-After: 7\r\nContent-Type: text/x\r\n"
            "Date: Thu, 01 Jan 1970 00:01:00 GMT\r\neTaG:  \"one\" \r\nETag: \"two\"\r\n"
            "X-Empty:\r\nX-Long: ");
    AUTO_FREE char *longer = xcalloc(1, 5001);
    memset(longer, 'x', 5000);
    say(fd, longer);
    say(fd, "\r\nX-Most: ");
    longer[4096] = '\0';
    say(fd, longer);
    say(fd, "\r\n\r\nhello");
}

/* False: the connection ends. */
static bool answer(struct server *s, int fd, const char *path)
{
    char byte;
    if (text_starts_with(path, "/ok "))
        say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    else if (text_starts_with(path, "/head "))
        say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 12345\r\nETag: \"e\"\r\n\r\n");
    else if (text_starts_with(path, "/headers "))
        say_headers(fd);
    else if (text_starts_with(path, "/308 "))
        say(fd, "HTTP/1.1 308 Resume Incomplete\r\nContent-Length: 0\r\nRange: bytes=0-41\r\n"
                "Location: /ok\r\n\r\n");
    else if (text_starts_with(path, "/503 "))
        say(fd, "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\nRetry-After: 30\r\n\r\nbusy");
    else if (text_starts_with(path, "/until "))
        say(fd, "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n"
                "Retry-After: Thu, 01 Jan 1970 00:01:09 GMT\r\n"
                "Date: Thu, 01 Jan 1970 00:01:00 GMT\r\n\r\n");
    else if (text_starts_with(path, "/past "))
        say(fd, "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n"
                "Retry-After: Thu, 01 Jan 1970 00:00:09 GMT\r\n"
                "Date: Thu, 01 Jan 1970 00:01:00 GMT\r\n\r\n");
    else if (text_starts_with(path, "/last "))
        return say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), false;
    else if (text_starts_with(path, "/cut "))
        return say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhello"), false;
    else if (text_starts_with(path, "/garbage "))
        return say(fd, "SSH-2.0-hello\r\n\r\n"), false;
    else if (text_starts_with(path, "/pause "))
        return say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhello"),
               recv(fd, &byte, 1, 0) > 0;
    else if (text_starts_with(path, "/silent ")) {
        if (s->stop_fd >= 0)
            assert_int_equal(eventfd_write(s->stop_fd, 1), 0);
        return recv(fd, &byte, 1, 0) > 0;
    } else
        return false;
    return true;
}

/* Head and body; false at the end of the connection. */
static bool take_request(struct server *s, int fd)
{
    size_t len = 0;
    do {
        if (len + 1 >= sizeof(s->request) || recv(fd, s->request + len, 1, 0) != 1)
            return false;
        s->request[++len] = '\0';
    } while (!text_ends_with(s->request, "\r\n\r\n"));
    if (strcasestr(s->request, "\r\nExpect:"))
        s->saw_expect = true;
    const char *length = strcasestr(s->request, "\r\nContent-Length:");
    unsigned long left = length ? strtoul(length + 17, NULL, 10) : 0;
    char sink[4096];
    while (left) {
        ssize_t n = recv(fd, sink, MIN(sizeof(sink), left), 0);
        if (n <= 0)
            return false;
        left -= (size_t)n;
        s->body_bytes += (size_t)n;
    }
    s->requests++;
    return true;
}

static void *serve(void *arg)
{
    struct server *s = arg;
    int fd;
    while (fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC), fd >= 0) {
        s->connections++;
        while (take_request(s, fd) && answer(s, fd, strchr(s->request, '/')))
            ;
        (void)close(fd);
    }
    return NULL;
}

static void server_start(struct server *s)
{
    *s = (struct server){.stop_fd = -1};
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(at);
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(s->fd >= 0);
    assert_int_equal(bind(s->fd, (struct sockaddr *)&at, size), 0);
    assert_int_equal(listen(s->fd, 8), 0);
    assert_int_equal(getsockname(s->fd, (struct sockaddr *)&at, &size), 0);
    s->port = ntohs(at.sin_port);
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

/* The clients of the test must be gone: the server waits for their connections' end. */
static void server_stop(struct server *s)
{
    (void)shutdown(s->fd, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    (void)close(s->fd);
}

static struct http_client *client(int stop_fd)
{
    struct http_client *c = NULL;
    struct err e = {0};
    assert_int_equal(http_client_new(stop_fd, &c, &e), 0);
    assert_int_equal(http_client_stop_fd(c), stop_fd);
    return c;
}

static const char *url_of(const struct server *s, const char *path, char buf[64])
{
    assert_true(text_format(buf, 64, "http://127.0.0.1:%d%s", s->port, path) > 0);
    return buf;
}

static int get(struct http_client *c, const struct server *s, const char *path,
               struct http_answer *ret, bool *ret_sent, struct err *e)
{
    char url[64];
    struct httpc_request req = {.url = url_of(s, path, url)};
    return http_call(c, &req, NULL, ret, ret_sent, e);
}

static void calls_share_one_connection(void **state)
{
    (void)state;
    struct server s;
    server_start(&s);
    struct http_client *c = client(-1);
    for (int i = 0; i < 20; i++) {
        struct err e = {0};
        struct http_answer a = {0};
        bool sent = false;
        assert_int_equal(get(c, &s, i % 3 == 1 ? "/503" : "/ok", &a, &sent, &e), 0);
        assert_true(sent);
        assert_int_equal(a.status, i % 3 == 1 ? 503 : 200);
        assert_int_equal(a.retry_after_s, i % 3 == 1 ? 30 : -1);
        assert_int_equal(a.date_s, -1);
        assert_non_null(a.body);
        http_answer_done(&a);
        http_answer_done(&a);
    }
    http_client_free(c);
    server_stop(&s);
    assert_int_equal(s.connections, 1);
    assert_int_equal(s.requests, 20);
}

static void a_kept_connection_that_was_closed_is_replaced(void **state)
{
    (void)state;
    struct server s;
    server_start(&s);
    struct http_client *c = client(-1);
    for (int i = 0; i < 5; i++) {
        struct err e = {0};
        AUTO_DONE(http_answer) a = {0};
        assert_int_equal(get(c, &s, "/last", &a, NULL, &e), 0);
        assert_int_equal(a.body->size, 2);
    }
    http_client_free(c);
    server_stop(&s);
    assert_int_equal(s.connections, 5);
}

/* What fails, how, and whether the server may have acted. */
static void failures_are_told_and_the_next_call_works(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        int64_t stall_ms, total_ms;
        int code;
        enum err_retry retry;
    } cases[] = {
        {"/cut", 0, 0, -ECONNRESET, ERR_NOW},      {"/end", 0, 0, -ECONNRESET, ERR_NOW},
        {"/silent", 50, 0, -ETIMEDOUT, ERR_LATER}, {"/silent", 0, 50, -ETIMEDOUT, ERR_LATER},
        {"/pause", 50, 0, -ETIMEDOUT, ERR_LATER},  {"/pause", 0, 50, -ETIMEDOUT, ERR_LATER},
        {"/garbage", 0, 0, -EPROTO, ERR_NEVER},
    };
    struct server s;
    server_start(&s);
    struct http_client *c = client(-1);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char url[64];
        struct err e = {0};
        bool sent = false;
        struct http_answer a = {.status = 77};
        struct httpc_request req = {.url = url_of(&s, cases[i].path, url),
                                    .stall_timeout_ms = cases[i].stall_ms,
                                    .total_timeout_ms = cases[i].total_ms};
        int r = http_call(c, &req, NULL, &a, &sent, &e);
        if (r != cases[i].code || e.code != r || e.retry != cases[i].retry || !sent ||
            a.status != 77)
            CASE_FAILS("%zu %s: %d (%s), %s, sent %d", i, cases[i].path, r, e.text,
                       err_retry_name(e.retry), sent);
        AUTO_DONE(http_answer) good = {0};
        assert_int_equal(get(c, &s, "/ok", &good, NULL, &e), 0);
    }
    http_client_free(c);
    server_stop(&s);
}

/* That the body has left is told late, and must not begin the silence anew: twice the time would be
 * the other limit's. */
static void after_a_body_silence_lasts_no_longer(void **state)
{
    (void)state;
    struct server s;
    char url[64];
    struct err e = {0};
    struct http_answer a = {0};
    server_start(&s);
    struct http_client *c = client(-1);
    struct httpc_request req = {.method = "POST",
                                .url = url_of(&s, "/silent", url),
                                .body = "hello",
                                .body_size = 5,
                                .stall_timeout_ms = 2000,
                                .total_timeout_ms = 3900};
    assert_int_equal(http_call(c, &req, NULL, &a, NULL, &e), -ETIMEDOUT);
    assert_non_null(strstr(e.text, "no answer for 2000 ms"));
    http_client_free(c);
    server_stop(&s);
}

static void without_a_connection_nothing_was_sent(void **state)
{
    (void)state;
    struct server s;
    server_start(&s);
    struct http_client *c = client(-1);
    struct err e = {0};
    struct http_answer a = {0};
    bool sent = true;
    server_stop(&s); /* nobody listens there any more */
    assert_int_equal(get(c, &s, "/ok", &a, &sent, &e), -ECONNREFUSED);
    assert_false(sent);
    assert_int_equal(e.retry, ERR_LATER);

    sent = true;
    struct httpc_request bad = {.url = "ftp://127.0.0.1/"};
    assert_int_equal(http_call(c, &bad, NULL, &a, &sent, &e), -EINVAL);
    assert_false(sent);
    http_client_free(c);
}

static void the_stop_descriptor_ends_a_call_and_all_later_ones(void **state)
{
    (void)state;
    struct server s;
    server_start(&s);
    int stop_fd = eventfd(0, EFD_CLOEXEC);
    s.stop_fd = stop_fd; /* the server says stop as soon as the request is there */
    struct http_client *c = client(stop_fd);
    struct err e = {0};
    struct http_answer a = {0};
    bool sent = false;
    assert_int_equal(get(c, &s, "/silent", &a, &sent, &e), -ECANCELED);
    assert_true(sent);
    assert_int_equal(e.retry, ERR_LATER);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(get(c, &s, "/ok", &a, &sent, &e), -ECANCELED);
        assert_false(sent);
    }
    http_client_free(c);
    server_stop(&s);
    assert_int_equal(s.requests, 1);
    (void)close(stop_fd);
}

static void wanted_headers_come_in_any_case(void **state)
{
    (void)state;
    static const char *const wanted[] = {"etag",   "CONTENT-length", "x-long", "x-most",
                                         "x-none", "x-EMPTY",        NULL};
    struct server s;
    server_start(&s);
    struct http_client *c = client(-1);
    char url[64];
    struct err e = {0};
    AUTO_DONE(http_answer) a = {0};
    struct httpc_request req = {.url = url_of(&s, "/headers", url)};
    assert_int_equal(http_call(c, &req, wanted, &a, NULL, &e), 0);
    assert_string_equal(a.headers[0], "\"one\"");
    assert_string_equal(a.headers[1], "5");
    assert_null(a.headers[2]);
    assert_int_equal(strlen(a.headers[3]), 4096);
    assert_null(a.headers[4]);
    assert_string_equal(a.headers[5], "");
    assert_null(a.headers[6]);
    assert_int_equal(a.retry_after_s, 7);
    assert_int_equal(a.date_s, 60);
    assert_int_equal(a.content_length, 5);
    assert_string_equal(a.content_type, "text/x");
    http_client_free(c);
    server_stop(&s);
}

static void a_date_to_try_again_after_is_of_the_servers_clock(void **state)
{
    (void)state;
    struct server s;
    server_start(&s);
    struct http_client *c = client(-1);
    static const struct {
        const char *path;
        int64_t seconds;
    } cases[] = {{"/until", 9}, {"/past", -1}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char url[64];
        struct err e = {0};
        AUTO_DONE(http_answer) a = {0};
        struct httpc_request req = {.url = url_of(&s, cases[i].path, url)};
        assert_int_equal(http_call(c, &req, NULL, &a, NULL, &e), 0);
        assert_int_equal(a.retry_after_s, cases[i].seconds);
    }
    http_client_free(c);
    server_stop(&s);
}

static void a_redirect_is_an_answer(void **state)
{
    (void)state;
    static const char *const wanted[] = {"range", "location", NULL};
    struct server s;
    server_start(&s);
    struct http_client *c = client(-1);
    char url[64];
    struct err e = {0};
    AUTO_DONE(http_answer) a = {0};
    struct httpc_request req = {
        .method = "PUT", .url = url_of(&s, "/308", url), .body = "abc", .body_size = 3};
    assert_int_equal(http_call(c, &req, wanted, &a, NULL, &e), 0);
    assert_int_equal(a.status, 308);
    assert_null(a.body);
    assert_string_equal(a.headers[0], "bytes=0-41");
    assert_string_equal(a.headers[1], "/ok");
    http_client_free(c);
    server_stop(&s);
    assert_int_equal(s.requests, 1);
}

static void a_large_body_goes_at_once(void **state)
{
    (void)state;
    static const char *const headers[] = {"Content-Type: image/jpeg", NULL};
    struct server s;
    server_start(&s);
    struct http_client *c = client(-1);
    char url[64];
    size_t size = 5 << 20;
    AUTO_FREE void *body = xcalloc(1, size);
    struct httpc_request req = {.method = "PUT",
                                .url = url_of(&s, "/ok", url),
                                .headers = headers,
                                .body = body,
                                .body_size = size};
    for (int i = 0; i < 3; i++) {
        struct err e = {0};
        AUTO_DONE(http_answer) a = {0};
        assert_int_equal(http_call(c, &req, NULL, &a, NULL, &e), 0);
        assert_int_equal(a.status, 200);
    }
    http_client_free(c);
    server_stop(&s);
    assert_true(text_starts_with(s.request, "PUT /ok HTTP/1.1\r\n"));
    assert_non_null(strstr(s.request, "Content-Type: image/jpeg\r\n"));
    assert_null(strstr(s.request, "urlencoded"));
    assert_int_equal(s.body_bytes, 3 * size);
    assert_int_equal(s.connections, 1);
    assert_false(s.saw_expect);
}

static void head_tells_the_length_and_brings_nothing(void **state)
{
    (void)state;
    struct server s;
    server_start(&s);
    struct http_client *c = client(-1);
    char url[64];
    struct httpc_request req = {.method = "HEAD", .url = url_of(&s, "/head", url)};
    for (int i = 0; i < 2; i++) {
        struct err e = {0};
        AUTO_DONE(http_answer) a = {0};
        AUTO_DONE(http_answer) next = {0};
        assert_int_equal(http_call(c, &req, NULL, &a, NULL, &e), 0);
        assert_int_equal(a.content_length, 12345);
        assert_null(a.body);
        assert_int_equal(get(c, &s, "/ok", &next, NULL, &e), 0); /* HEAD left nothing behind */
        assert_int_equal(next.body->size, 5);
    }
    http_client_free(c);
    server_stop(&s);
    assert_int_equal(s.connections, 1);
}

static void nothing_stays_open(void **state)
{
    (void)state;
    struct server s;
    server_start(&s);
    int before = test_count_fds();
    struct err e = {0};
    for (int i = 0; i < 3; i++) {
        struct http_client *c = client(-1);
        AUTO_DONE(http_answer) a = {0};
        assert_int_equal(get(c, &s, "/ok", &a, NULL, &e), 0);
        http_client_free(c);
    }
    server_stop(&s);
    assert_int_equal(test_count_fds(), before - 1); /* the listening one */
    http_client_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_share_one_connection),
        cmocka_unit_test(a_kept_connection_that_was_closed_is_replaced),
        cmocka_unit_test(failures_are_told_and_the_next_call_works),
        cmocka_unit_test(after_a_body_silence_lasts_no_longer),
        cmocka_unit_test(without_a_connection_nothing_was_sent),
        cmocka_unit_test(the_stop_descriptor_ends_a_call_and_all_later_ones),
        cmocka_unit_test(wanted_headers_come_in_any_case),
        cmocka_unit_test(a_date_to_try_again_after_is_of_the_servers_clock),
        cmocka_unit_test(a_redirect_is_an_answer),
        cmocka_unit_test(a_large_body_goes_at_once),
        cmocka_unit_test(head_tells_the_length_and_brings_nothing),
        cmocka_unit_test(nothing_stays_open),
    };
    return RUN_TESTS(tests);
}
