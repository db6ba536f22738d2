/* Answers that are made while they are sent, and bodies that are large: real sockets. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
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
#include "base/parse.h"
#include "base/text.h"
#include "sys/httpd.h"

#define PATIENCE_MS 20000
#define LARGE_MAX ((size_t)1 << 20)

/* /count/N sends N bytes; /news sends what is in `news` whenever it is woken, for ever; /broken
 * breaks off; /body tells the size of the body. */
struct stream {
    size_t left;
    int64_t seen; /* news sent */
    bool news, broken;
};

static atomic_int open_streams, idle_streams;
static atomic_int_least64_t news; /* a number: "7\n" is sent for the seventh */

static ssize_t read_some(void *arg, void *to, size_t size, struct http_wait *wait)
{
    struct stream *s = arg;
    if (s->news) {
        if (s->seen < atomic_load(&news))
            return snprintf(to, size, "%d\n", (int)++s->seen);
        text_copy(wait->key, sizeof(wait->key), "news");
        wait->recheck = mono_add_ms(clock_mono(), 60000);
        atomic_fetch_add(&idle_streams, 1);
        return 0;
    }
    if (s->left == 0)
        return s->broken ? HTTP_STREAM_BROKEN : HTTP_STREAM_END;
    size_t n = MIN(s->left, size);
    memset(to, 'x', n);
    s->left -= n;
    return (ssize_t)n;
}

static void release(void *arg)
{
    free(arg);
    atomic_fetch_sub(&open_streams, 1);
}

static int64_t stall_ms = 60000;

static void handle(void *arg, const struct http_request *req, struct http_response *ret)
{
    (void)arg;
    const char *what = req->part_count ? req->parts[0] : "";
    if (strcmp(what, "body") == 0) {
        struct dynbuf text;
        dynbuf_init(&text, 200);
        (void)dynbuf_printf(&text, "%zu bytes from %s%s, %s", req->body_size, req->peer.address,
                            req->peer.loopback ? " (here)" : "",
                            req->body_blob ? "to be kept" : "small");
        http_response_text(ret, 200, "text/plain", &text);
        return;
    }
    if (strcmp(what, "plain") == 0) {
        http_response_error(ret, 404, "plain", "plain");
        return;
    }
    struct stream *s = xcalloc(1, sizeof(*s));
    s->news = strcmp(what, "news") == 0;
    s->broken = strcmp(what, "broken") == 0;
    s->left = s->news ? 0 : s->broken ? 10 : strtoul(req->parts[1], NULL, 10);
    struct http_stream stream = {
        .read = read_some, .release = release, .arg = s, .stall_ms = stall_ms, .endless = s->news};
    atomic_fetch_add(&open_streams, 1);
    http_response_stream(ret, 200, "text/event-stream", &stream);
}

static size_t body_max(void *arg, const struct http_request *req, struct http_response *ret)
{
    (void)arg;
    if (req->part_count && strcmp(req->parts[0], "body") == 0)
        return LARGE_MAX;
    if (req->part_count && strcmp(req->parts[0], "refused") == 0)
        http_response_error(ret, 403, "not-you", "not you");
    return 0;
}

static struct httpd *start(int connections_max)
{
    struct httpd_options options = {.listen = "127.0.0.1:0",
                                    .connections_max = connections_max,
                                    .body_max = body_max,
                                    .handle = handle};
    struct httpd *h = NULL;
    struct err e = {0};
    if (httpd_start(&options, &h, &e) < 0)
        fail_msg("%s", e.text);
    return h;
}

static int set_up(void **state)
{
    (void)state;
    atomic_store(&idle_streams, 0);
    atomic_store(&news, 0);
    stall_ms = 60000;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return atomic_load(&open_streams) == 0 && blob_live_count() == 0 ? 0 : -1;
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
    assert_int_equal(send(fd, text, len, MSG_NOSIGNAL), len);
}

static bool readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, PATIENCE_MS) == 1;
}

/* Reads until the text is there. */
static void hear(int fd, const char *wanted)
{
    char text[4096];
    size_t used = 0;
    do {
        assert_true(used + 1 < sizeof(text));
        assert_true(readable(fd));
        ssize_t n = recv(fd, text + used, 1, 0);
        if (n <= 0)
            fail_msg("ended before '%s': %.*s", wanted, (int)used, text);
        text[++used] = '\0';
    } while (!strstr(text, wanted));
}

static size_t drain(int fd)
{
    static char block[1 << 16];
    size_t all = 0;
    for (;;) {
        assert_true(readable(fd));
        ssize_t n = recv(fd, block, sizeof(block), 0);
        if (n <= 0)
            return all;
        all += (size_t)n;
    }
}

static void wait_for(atomic_int *what, int count)
{
    struct mono_time until = mono_add_ms(clock_mono(), PATIENCE_MS);
    while (atomic_load(what) != count) {
        assert_false(mono_passed(until));
        sched_yield();
    }
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: localhost\r\n\r\n"
#define CLOSE(path) "GET " path " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

static void sends_a_stream_whole_and_keeps_the_connection(void **state)
{
    (void)state;
    AUTO(httpd) h = start(0);
    AUTO_CLOSE int fd = dial(h);
    say(fd, GET("/count/100"));
    hear(fd, "\r\n0\r\n\r\n");
    say(fd, GET("/plain"));
    hear(fd, "404");
    AUTO_CLOSE int other = dial(h);
    say(other, CLOSE("/count/20000000"));
    assert_true(drain(other) > 20000000);
    wait_for(&open_streams, 0);
}

static void a_head_request_has_no_stream(void **state)
{
    (void)state;
    AUTO(httpd) h = start(0);
    AUTO_CLOSE int fd = dial(h);
    say(fd, "HEAD /news HTTP/1.1\r\nHost: a\r\n\r\n");
    hear(fd, "\r\n\r\n");
    wait_for(&open_streams, 0);
    say(fd, GET("/plain"));
    hear(fd, "404");
}

static void what_breaks_off_is_seen_as_broken(void **state)
{
    (void)state;
    AUTO(httpd) h = start(0);
    AUTO_CLOSE int fd = dial(h);
    say(fd, GET("/broken"));
    hear(fd, "xxxxxxxxxx");
    char rest[64] = "";
    assert_true(readable(fd));
    ssize_t n = recv(fd, rest, sizeof(rest) - 1, 0);
    assert_null(strstr(rest, "\r\n0\r\n"));
    while (n > 0)
        n = recv(fd, rest, sizeof(rest) - 1, 0);
    wait_for(&open_streams, 0);
}

static void tell_news(struct httpd *h)
{
    atomic_fetch_add(&news, 1);
    httpd_wake(h, "news");
}

static void news_reach_all_who_listen(void **state)
{
    (void)state;
    AUTO(httpd) h = start(0);
    int fds[20];
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = dial(h);
        say(fds[i], GET("/news"));
    }
    wait_for(&idle_streams, (int)ARRAY_LEN(fds));
    tell_news(h);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        hear(fds[i], "1\n");
    tell_news(h);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        hear(fds[i], "2\n");
    struct httpd_numbers n;
    httpd_get_numbers(h, &n);
    assert_int_equal(n.streams, ARRAY_LEN(fds));
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        (void)close(fds[i]);
    /* Those who left are noticed when there is something to tell. */
    struct mono_time until = mono_add_ms(clock_mono(), PATIENCE_MS);
    while (atomic_load(&open_streams) > 0) {
        assert_false(mono_passed(until));
        tell_news(h);
        sched_yield();
    }
}

static void only_so_many_may_listen(void **state)
{
    (void)state;
    AUTO(httpd) h = start(8);
    int fds[4];
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = dial(h);
        say(fds[i], GET("/news"));
    }
    wait_for(&idle_streams, (int)ARRAY_LEN(fds));
    AUTO_CLOSE int fd = dial(h);
    say(fd, GET("/news"));
    hear(fd, "503 ");
    hear(fd, "Retry-After");
    hear(fd, "too-many-streams");
    say(fd, GET("/plain"));
    hear(fd, "404");
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        (void)close(fds[i]);
}

static void who_does_not_read_is_cut_off_and_disturbs_nobody(void **state)
{
    (void)state;
    stall_ms = 200;
    AUTO(httpd) h = start(0);
    AUTO_CLOSE int deaf = dial(h);
    say(deaf, GET("/count/1000000000"));
    AUTO_CLOSE int fd = dial(h);
    say(fd, GET("/plain"));
    hear(fd, "404");
    wait_for(&open_streams, 0);
    struct httpd_numbers n;
    httpd_get_numbers(h, &n);
    assert_int_equal(n.too_slow, 1);
}

static void stopping_ends_those_who_listen(void **state)
{
    (void)state;
    AUTO(httpd) h = start(0);
    AUTO_CLOSE int fd = dial(h);
    say(fd, GET("/news"));
    wait_for(&idle_streams, 1);
    struct mono_time begun = clock_mono();
    httpd_stop(h, PATIENCE_MS);
    assert_true(mono_diff_ms(clock_mono(), begun) < PATIENCE_MS / 2);
    (void)drain(fd);
    assert_int_equal(atomic_load(&open_streams), 0);
}

static void stopping_without_grace_breaks_streams_off(void **state)
{
    (void)state;
    AUTO(httpd) h = start(0);
    AUTO_CLOSE int deaf = dial(h);
    AUTO_CLOSE int idle = dial(h);
    say(deaf, GET("/count/1000000000"));
    say(idle, GET("/news"));
    wait_for(&idle_streams, 1);
    wait_for(&open_streams, 2);
    httpd_stop(h, 0);
    assert_int_equal(atomic_load(&open_streams), 0);
}

/* ---- bodies ---- */

static void post(int fd, const char *path, size_t size, bool chunked)
{
    AUTO_DONE(dynbuf) text;
    dynbuf_init(&text, size + 4096);
    (void)dynbuf_printf(&text, "POST %s HTTP/1.1\r\nHost: localhost\r\n", path);
    if (chunked)
        (void)dynbuf_printf(&text, "Transfer-Encoding: chunked\r\n\r\n%zx\r\n", size);
    else
        (void)dynbuf_printf(&text, "Content-Length: %zu\r\n\r\n", size);
    char *body = dynbuf_extend(&text, size);
    memset(body, 'b', size);
    if (chunked)
        (void)dynbuf_puts(&text, "\r\n0\r\n\r\n");
    size_t sent = 0;
    while (sent < text.len) {
        ssize_t n = send(fd, text.data + sent, text.len - sent, MSG_NOSIGNAL);
        if (n <= 0)
            return; /* the server may answer and close before all is sent */
        sent += (size_t)n;
    }
}

static void a_route_may_have_a_large_body(void **state)
{
    (void)state;
    AUTO(httpd) h = start(0);
    static const struct {
        const char *path;
        size_t size;
        bool chunked;
        const char *status, *body;
    } cases[] = {
        {"/body", 10, false, "200", "10 bytes from 127.0.0.1 (here), small"},
        {"/body", HTTPD_BODY_MAX, false, "200", "65536 bytes from 127.0.0.1 (here), small"},
        {"/body", HTTPD_BODY_MAX + 1, false, "200", "to be kept"},
        {"/body", 10, true, "200", "10 bytes from 127.0.0.1 (here), to be kept"},
        {"/body", LARGE_MAX, false, "200", "1048576 bytes"},
        {"/body", LARGE_MAX, true, "200", "1048576 bytes"},
        {"/body", LARGE_MAX + 1, false, "413", "at most 1048576 bytes"},
        {"/body", LARGE_MAX + 1, true, "413", "at most 1048576 bytes"},
        {"/plain", HTTPD_BODY_MAX + 1, false, "413", "at most 65536 bytes"},
        {"/plain", HTTPD_BODY_MAX, false, "404", "plain"},
        {"/refused", HTTPD_BODY_MAX + 1, false, "403", "not-you"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO_CLOSE int fd = dial(h);
        post(fd, cases[i].path, cases[i].size, cases[i].chunked);
        hear(fd, cases[i].status);
        hear(fd, cases[i].body);
    }
}

static void nobody_sends_a_large_body_for_nothing(void **state)
{
    (void)state;
    AUTO(httpd) h = start(0);
    AUTO_CLOSE int fd = dial(h);
    say(fd, "POST /refused HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
            "Content-Length: 900000\r\n\r\n");
    hear(fd, "HTTP/1.1 403");
    AUTO_CLOSE int other = dial(h);
    say(other, "POST /body HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
               "Content-Length: 900000\r\n\r\n");
    hear(other, "HTTP/1.1 100");
}

static void bodies_together_have_a_limit(void **state)
{
    (void)state;
    AUTO(httpd) h = start(128);
    int fds[HTTPD_BODIES_MAX / LARGE_MAX];
    AUTO_FREE char *bytes = xmalloc(LARGE_MAX);
    memset(bytes, 'b', LARGE_MAX);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) { /* all but one byte of each */
        fds[i] = dial(h);
        char head[200];
        (void)snprintf(head, sizeof(head),
                       "POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n", LARGE_MAX);
        say(fds[i], head);
        assert_int_equal(send(fds[i], bytes, LARGE_MAX - 1, MSG_NOSIGNAL), LARGE_MAX - 1);
    }
    struct mono_time until = mono_add_ms(clock_mono(), PATIENCE_MS);
    for (struct httpd_numbers n = {0}; n.body_bytes < ARRAY_LEN(fds) * (LARGE_MAX - 1);) {
        assert_false(mono_passed(until));
        sched_yield();
        httpd_get_numbers(h, &n);
    }
    AUTO_CLOSE int fd = dial(h);
    post(fd, "/body", LARGE_MAX, false);
    hear(fd, "503 ");
    hear(fd, "refused-for-now");
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        (void)close(fds[i]);
    for (bool taken = false; !taken;) { /* room again */
        assert_false(mono_passed(until));
        AUTO_CLOSE int again = dial(h);
        post(again, "/body", LARGE_MAX, false);
        char status[13] = "";
        assert_true(readable(again));
        taken = recv(again, status, 12, MSG_WAITALL) == 12 && strcmp(status + 9, "200") == 0;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        T(sends_a_stream_whole_and_keeps_the_connection),
        T(a_head_request_has_no_stream),
        T(what_breaks_off_is_seen_as_broken),
        T(news_reach_all_who_listen),
        T(only_so_many_may_listen),
        T(who_does_not_read_is_cut_off_and_disturbs_nobody),
        T(stopping_ends_those_who_listen),
        T(stopping_without_grace_breaks_streams_off),
        T(a_route_may_have_a_large_body),
        T(nobody_sends_a_large_body_for_nothing),
        T(bodies_together_have_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
