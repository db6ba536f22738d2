/* The whole API over a real socket: the thread, the ledger that two connections use, the nudge. */
#include "fixture.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "web/web.h"

#define PATIENCE_MS 20000

static struct web *start(struct fixture *f)
{
    struct web_options options = {.listen = "127.0.0.1:0", .ledger_path = f->path};
    struct web *w = NULL;
    if (web_start(&options, &f->backend, &w, &f->e) < 0)
        fail_msg("%s", f->e.text);
    return w;
}

static int dial(const struct web *w)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)web_port(w)),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* All that comes until the server closes. */
static void hear(int fd, char *out, size_t size)
{
    size_t used = 0;
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
        ssize_t n = recv(fd, out + used, size - 1 - used, 0);
        if (n <= 0)
            break;
        used += (size_t)n;
    }
    out[used] = '\0';
}

/* Until the metric that /metrics shows says that somebody waits. */
static void wait_until_one_waits(const struct web *w)
{
    char text[65536];
    struct mono_time until = mono_add_ms(clock_mono(), PATIENCE_MS);
    do {
        AUTO_CLOSE int fd = dial(w);
        say(fd, "GET /metrics HTTP/1.0\r\n\r\n");
        hear(fd, text, sizeof(text));
        assert_false(mono_passed(until));
    } while (!strstr(text, "snapshotd_http_waiting 1\n"));
}

static void answers_over_the_wire(void **state)
{
    struct fixture *f = *state;
    AUTO(web) w = start(f);
    AUTO(snapshot) s = add_snapshot(f, 5, "porch", 5000000);
    static const struct {
        const char *request;
        const char *pieces[4];
    } cases[] = {
        {"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
         {"HTTP/1.1 200 ", "Content-Type: text/plain; charset=utf-8\r\n", "/api/v1/snapshots"}},
        {"GET /api/v1/snapshots/00000000000000000000000000000005/image HTTP/1.1\r\n"
         "Host: localhost\r\nConnection: close\r\n\r\n",
         {"HTTP/1.1 200 ", "Content-Type: image/jpeg\r\n", "Content-Length: 10\r\n",
          "\r\n\r\n0123456789"}},
        {"GET /api/v1/snapshots/00000000000000000000000000000005/image HTTP/1.1\r\n"
         "Host: localhost\r\nConnection: close\r\nRange: bytes=8-\r\n\r\n",
         {"HTTP/1.1 206 ", "Content-Range: bytes 8-9/10\r\n", "Content-Length: 2\r\n",
          "\r\n\r\n89"}},
        {"GET /api/v1/snapshots/00000000000000000000000000000005/image HTTP/1.1\r\n"
         "Host: localhost\r\nConnection: close\r\nIf-None-Match: *\r\n\r\n",
         {"HTTP/1.1 304 ", "ETag: \"bbbb"}},
        {"GET /api/v1/status HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n",
         {"HTTP/1.1 403 ", "host-not-allowed"}},
        {"PUT /api/v1/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
         {"HTTP/1.1 405 ", "Allow: GET, HEAD\r\n"}},
        {"GET /api/v1/snapshots?limit=0 HTTP/1.0\r\n\r\n", {" 400 ", "\"parameter\":\"limit\""}},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO_CLOSE int fd = dial(w);
        char text[65536];
        say(fd, cases[i].request);
        hear(fd, text, sizeof(text));
        for (size_t k = 0; k < ARRAY_LEN(cases[i].pieces) && cases[i].pieces[k]; k++)
            if (!strstr(text, cases[i].pieces[k]))
                fail_msg("case %zu: no '%s' in: %s", i, cases[i].pieces[k], text);
    }
}

static void a_304_has_no_body(void **state)
{
    struct fixture *f = *state;
    AUTO(web) w = start(f);
    AUTO(snapshot) s = add_snapshot(f, 5, "porch", 5000000);
    AUTO_CLOSE int fd = dial(w);
    char text[65536];
    say(fd, "GET /api/v1/snapshots/00000000000000000000000000000005/image HTTP/1.1\r\n"
            "Host: localhost\r\nIf-None-Match: *\r\n\r\n"
            "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    hear(fd, text, sizeof(text));
    const char *end = strstr(text, "\r\n\r\n");
    assert_non_null(end);
    assert_true(strncmp(end + 4, "HTTP/1.1 200", 12) == 0); /* the next answer begins at once */
}

static void a_waiting_client_hears_of_the_outcome(void **state)
{
    struct fixture *f = *state;
    static const char *const labels[] = {"person"};
    static const float scores[] = {0.9f};
    AUTO(web) w = start(f);
    AUTO_CLOSE int fd = dial(w);
    char text[65536];
    say(fd, "POST /api/v1/cameras/porch/trigger?wait=60 HTTP/1.1\r\nHost: localhost\r\n"
            "Connection: close\r\n\r\n");
    wait_until_one_waits(w);
    AUTO(snapshot) s = add_snapshot(f, 1000, "porch", 1000000000);
    web_notify(w, s->id); /* too early: nothing to say yet */
    examine(f, s, labels, scores, 1, false);
    web_notify(w, s->id);
    hear(fd, text, sizeof(text));
    assert_non_null(strstr(text, "HTTP/1.1 200 "));
    assert_non_null(strstr(text, "\"event_detail\":\"1 person(s) and 1 things\""));
}

static void a_lost_nudge_costs_only_time(void **state)
{
    struct fixture *f = *state;
    AUTO(web) w = start(f);
    AUTO_CLOSE int fd = dial(w);
    char text[65536];
    say(fd, "POST /api/v1/cameras/porch/trigger?wait=60 HTTP/1.1\r\nHost: localhost\r\n"
            "Connection: close\r\n\r\n");
    wait_until_one_waits(w);
    struct trigger t;
    char id[SNAPSHOT_ID_SIZE];
    make_id(1000, id);
    assert_int_equal(ledger_trigger_get(f->ledger, id, &t, &f->e), 0);
    assert_int_equal(ledger_trigger_fail(f->ledger, &t, "wrong password", &f->e), 0);
    hear(fd, text, sizeof(text));
    assert_non_null(strstr(text, " 502 "));
    assert_non_null(strstr(text, "wrong password"));
}

static void stopping_tells_waiting_clients_that_it_goes_on(void **state)
{
    struct fixture *f = *state;
    AUTO(web) w = start(f);
    AUTO_CLOSE int fd = dial(w);
    char text[65536];
    say(fd, "POST /api/v1/cameras/porch/trigger?wait=60 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    wait_until_one_waits(w);
    web_stop(w, PATIENCE_MS);
    web_stop(w, PATIENCE_MS);
    hear(fd, text, sizeof(text));
    assert_non_null(strstr(text, "HTTP/1.1 202 "));
    assert_non_null(strstr(text, "\"state\":\"pending\""));
}

/* Until the text comes; says how long that took. */
static double hear_until(int fd, const char *wanted)
{
    char text[65536];
    size_t used = 0;
    struct mono_time begun = clock_mono();
    do {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
        ssize_t n = recv(fd, text + used, sizeof(text) - 1 - used, 0);
        assert_true(n > 0);
        used += (size_t)n;
        text[used] = '\0';
    } while (!strstr(text, wanted));
    return mono_diff_ms(clock_mono(), begun);
}

#define LISTEN "GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n"

/* Fifty, of which most never read: the others hear all, and the API answers as ever. */
static void listeners_that_never_read_disturb_nobody(void **state)
{
    struct fixture *f = *state;
    AUTO(web) w = start(f);
    AUTO(snapshot) s = add_snapshot(f, 1, "porch", 1000000);
    int deaf[45], fds[5];
    for (size_t i = 0; i < ARRAY_LEN(deaf); i++) {
        deaf[i] = dial(w);
        int small = 4096;
        (void)setsockopt(deaf[i], SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
        say(deaf[i], LISTEN);
    }
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = dial(w);
        say(fds[i], LISTEN);
        (void)hear_until(fds[i], "retry: ");
    }
    double worst = 0;
    for (int i = 0; i < 500; i++) {
        web_tell(w, NEWS_STORED, s->id);
        for (size_t k = 0; k < ARRAY_LEN(fds); k++)
            worst = MAX(worst, hear_until(fds[k], "event: snapshot\ndata: "));
    }
    print_message("an event reaches its listener within %.1f ms\n", worst);
    AUTO_CLOSE int fd = dial(w);
    say(fd, "GET /api/v1/snapshots HTTP/1.0\r\n\r\n");
    char text[65536];
    hear(fd, text, sizeof(text));
    assert_non_null(strstr(text, "200 OK"));
    for (size_t i = 0; i < ARRAY_LEN(deaf); i++)
        (void)close(deaf[i]);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        (void)close(fds[i]);
}

static void says_why_it_does_not_start(void **state)
{
    struct fixture *f = *state;
    struct web *w = NULL;
    struct web_options bad_address = {.listen = "256.0.0.1:80", .ledger_path = f->path};
    assert_int_equal(web_start(&bad_address, &f->backend, &w, &f->e), -EINVAL);
    assert_null(w);
    struct web_options bad_ledger = {.listen = "127.0.0.1:0", .ledger_path = "/nonexistent/x.db"};
    assert_true(web_start(&bad_ledger, &f->backend, &w, &f->e) < 0);
    assert_null(w);
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

static int descriptors_before;

static int count_and_set_up(void **state)
{
    descriptors_before = open_descriptors();
    return set_up(state);
}

static int tear_down_and_count(void **state)
{
    int r = tear_down(state);
    return r == 0 && open_descriptors() == descriptors_before ? 0 : -1;
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, count_and_set_up, tear_down_and_count)
    static const struct CMUnitTest tests[] = {
        CASE(answers_over_the_wire),
        CASE(a_304_has_no_body),
        CASE(a_waiting_client_hears_of_the_outcome),
        CASE(a_lost_nudge_costs_only_time),
        CASE(stopping_tells_waiting_clients_that_it_goes_on),
        CASE(listeners_that_never_read_disturb_nobody),
        CASE(says_why_it_does_not_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
