#include "../test.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/log.h"
#include "sys/log_place.h"
#include "sys/log_socket.h"

struct fixture {
    char folder[64], path[96];
    int console[2];
    int receiver;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    (void)snprintf(f->folder, sizeof(f->folder), "/tmp/log-place-XXXXXX");
    if (!f || !mkdtemp(f->folder) || pipe(f->console) < 0)
        return -1;
    (void)snprintf(f->path, sizeof(f->path), "%s/log", f->folder);
    f->receiver = -1;
    log_set_fd(f->console[1]);
    log_set_level(LOG_LEVEL_INFO);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    log_place_end();
    log_set_fd(STDERR_FILENO);
    (void)close(f->console[0]);
    (void)close(f->console[1]);
    if (f->receiver >= 0)
        (void)close(f->receiver);
    (void)unlink(f->path);
    (void)rmdir(f->folder);
    free(f);
    return 0;
}

static void receive(struct fixture *f)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    (void)snprintf(a.sun_path, sizeof(a.sun_path), "%s", f->path);
    f->receiver = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(f->receiver, (struct sockaddr *)&a, sizeof(a)), 0);
}

static void use(struct fixture *f, int64_t away_ms)
{
    const struct log_place_options o = {.to = LOG_TO_SYSLOG,
                                        .syslog_address = f->path,
                                        .journal_socket = "",
                                        .name = "test",
                                        .away_ms = away_ms};
    struct err e;
    assert_int_equal(log_place_use(&o, &e), 0);
}

/* The next message, or "" when none comes. */
static const char *next(int fd, char buf[4096])
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    ssize_t n = poll(&p, 1, 10000) > 0 ? read(fd, buf, 4095) : 0;
    buf[MAX(n, 0)] = '\0';
    return buf;
}

static void brings_lines_to_their_place_in_order(void **state)
{
    struct fixture *f = *state;
    char buf[4096], want[32];
    receive(f);
    use(f, 0);
    for (int i = 0; i < 5; i++)
        log_info("id", "line %d", i);
    for (int i = 0; i < 5; i++) {
        (void)snprintf(want, sizeof(want), ": line %d [id]", i);
        assert_non_null(strstr(next(f->receiver, buf), want));
    }
}

static void sends_at_the_end_what_waits(void **state)
{
    struct fixture *f = *state;
    char buf[4096];
    receive(f);
    use(f, 0);
    log_info("id", "first");
    log_info("id", "last");
    log_place_end();
    assert_non_null(strstr(next(f->receiver, buf), "first"));
    assert_non_null(strstr(next(f->receiver, buf), "last"));
    log_info("id", "console");
    assert_non_null(strstr(next(f->console[0], buf), "console"));
}

static void gives_lines_to_the_console_while_the_place_is_away(void **state)
{
    struct fixture *f = *state;
    char buf[4096], all[8192] = "", place[256];
    use(f, 1);
    log_info("id", "one");
    while (!strstr(all, "one [id]"))
        strncat(all, next(f->console[0], buf), sizeof(all) - strlen(all) - 1);
    assert_non_null(strstr(all, "[log-place-away]"));
    log_place_describe(place, sizeof(place));
    assert_non_null(strstr(place, ": away, lines go to the console"));
    receive(f);
    for (int i = 0; i < 1000; i++) { /* until it is tried again */
        log_info("id", "two");
        struct pollfd p = {.fd = f->receiver, .events = POLLIN};
        if (poll(&p, 1, 10) > 0)
            break;
    }
    assert_non_null(strstr(next(f->receiver, buf), "two"));
    while (!strstr(next(f->console[0], buf), "[log-place-back]"))
        assert_true(*buf);
    log_place_describe(place, sizeof(place));
    assert_null(strstr(place, "away"));
}

/* It comes back at once, as a restarted daemon: nothing is lost and nothing said. */
static void waits_for_a_place_that_is_away_for_a_moment(void **state)
{
    struct fixture *f = *state;
    char buf[4096];
    use(f, 60000);
    log_info("id", "early");
    receive(f);
    assert_non_null(strstr(next(f->receiver, buf), "early"));
    struct pollfd p = {.fd = f->console[0], .events = POLLIN};
    assert_int_equal(poll(&p, 1, 0), 0);
}

static void *log_many(void *arg UNUSED)
{
    for (int i = 0; i < 1000; i++)
        log_info("id", "0123456789");
    return NULL;
}

static void counts_lines_that_find_the_queue_full_and_says_so(void **state)
{
    struct fixture *f = *state;
    pthread_t threads[4];
    unsigned long long before = log_lost();
    use(f, 60000); /* away, so nothing leaves the queue */
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, log_many, NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
    unsigned long long lost = log_lost() - before;
    assert_in_range(lost, 1999, 2000); /* one may be in the hands of the log thread */
    receive(f);
    char buf[4096];
    unsigned long long came = 0;
    bool told = false;
    while (came < 4000 - lost) {
        next(f->receiver, buf);
        assert_true(*buf);
        came += strstr(buf, "0123456789 [id]") != NULL;
        told = told || strstr(buf, "log lines were lost since");
    }
    assert_true(told);
}

static void moves_between_places_while_threads_log(void **state)
{
    struct fixture *f = *state;
    pthread_t thread;
    const struct log_place_options console = {
        .to = LOG_TO_CONSOLE, .syslog_address = "", .journal_socket = "", .name = "test"};
    struct err e;
    receive(f);
    log_set_level(LOG_LEVEL_WARNING); /* the pipes are small */
    assert_int_equal(pthread_create(&thread, NULL, log_many, NULL), 0);
    for (int i = 0; i < 20; i++) {
        use(f, 0);
        log_set_level(LOG_LEVEL_INFO);
        log_info("id", "x");
        log_set_level(LOG_LEVEL_WARNING);
        char buf[4096];
        assert_true(*next(f->receiver, buf));
        assert_int_equal(log_place_use(&console, &e), 0);
    }
    pthread_join(thread, NULL);
}

static void refuses_what_is_no_address(void **state UNUSED)
{
    static const char *const bad[] = {"loghost",      "loghost:514",   "udp://",      "udp://:514",
                                      "udp://a:0",    "udp://a:65536", "tcp://a:b",   "tcp://[::1",
                                      "tcp://[::1]x", "udp://::1:514", "udp://a/b:1", "http://a:1",
                                      "tcp://a:",     "relative/log",  "udp://a:514/"};
    struct log_socket s;
    char why[128];
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (log_socket_parse(bad[i], &s, why, sizeof(why)))
            fail_msg("%s", bad[i]);
}

static void understands_addresses(void **state UNUSED)
{
    static const struct {
        const char *address;
        enum log_socket_kind kind;
        const char *host, *port;
    } cases[] = {
        {"udp://loghost:5140", LOG_SOCKET_UDP, "loghost", "5140"},
        {"udp://loghost", LOG_SOCKET_UDP, "loghost", "514"},
        {"tcp://10.0.0.1", LOG_SOCKET_TCP, "10.0.0.1", "601"},
        {"tcp://[fe80::1%eth0]:1", LOG_SOCKET_TCP, "fe80::1%eth0", "1"},
        {"udp://[::1]", LOG_SOCKET_UDP, "::1", "514"},
        {"/dev/log", LOG_SOCKET_LOCAL, "/dev/log", ""},
    };
    struct log_socket s;
    char why[128];
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_true(log_socket_parse(cases[i].address, &s, why, sizeof(why)));
        assert_int_equal(s.kind, cases[i].kind);
        assert_string_equal(s.host, cases[i].host);
        assert_string_equal(s.port, cases[i].port);
    }
}

static void names_every_place(void **state UNUSED)
{
    for (int i = 0; i < LOG_TO_COUNT; i++)
        assert_non_null(log_to_names[i]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(brings_lines_to_their_place_in_order),
        TEST(sends_at_the_end_what_waits),
        TEST(gives_lines_to_the_console_while_the_place_is_away),
        TEST(waits_for_a_place_that_is_away_for_a_moment),
        TEST(counts_lines_that_find_the_queue_full_and_says_so),
        TEST(moves_between_places_while_threads_log),
        TEST(refuses_what_is_no_address),
        TEST(understands_addresses),
        TEST(names_every_place),
    };
    return RUN_TESTS(tests);
}
