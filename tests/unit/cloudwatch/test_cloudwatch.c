/* The thread that posts, against a server of one answer; and the section. What Amazon's own code
 * says of our posts is asked in tests/cloud. */

#include "cloudwatch/cloudwatch.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/metrics.h"
#include "base/text.h"
#include "../test.h"

/* ---- a server ---- */

#define TAKEN "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n<PutMetricDataResponse />\n"

enum { REQUEST_MAX = 64 * 1024, REQUESTS_MAX = 64 };

static struct {
    int fd, stop_fd, port;
    pthread_t thread;
    pthread_mutex_t lock;
    const char *answer;                /* NULL = reads and hangs up; "" = says nothing */
    char requests[REQUESTS_MAX][1024]; /* their bodies */
    int count;
    sem_t came;
} server;

static bool whole(const char *request)
{
    const char *body = strstr(request, "\r\n\r\n"), *length = strstr(request, "Content-Length: ");
    return body && length && strlen(body + 4) >= strtoul(length + 16, NULL, 10);
}

static void serve_one(int fd)
{
    static char buf[REQUEST_MAX];
    size_t len = 0;
    ssize_t n;
    buf[0] = '\0';
    while (!whole(buf) && (n = recv(fd, buf + len, sizeof(buf) - 1 - len, 0)) > 0) {
        len += (size_t)n;
        buf[len] = '\0';
    }
    if (!whole(buf))
        return;
    pthread_mutex_lock(&server.lock);
    const char *answer = server.answer;
    if (server.count < REQUESTS_MAX)
        text_copy(server.requests[server.count++], sizeof(server.requests[0]),
                  strstr(buf, "\r\n\r\n") + 4);
    pthread_mutex_unlock(&server.lock);
    sem_post(&server.came);
    if (answer && *answer)
        (void)!send(fd, answer, strlen(answer), MSG_NOSIGNAL);
    else if (answer)
        (void)recv(fd, buf, 1, 0); /* until the client gives up */
}

static void *serve(void *arg UNUSED)
{
    for (;;) {
        struct pollfd fds[] = {{.fd = server.fd, .events = POLLIN},
                               {.fd = server.stop_fd, .events = POLLIN}};
        (void)poll(fds, 2, -1);
        if (fds[1].revents)
            return NULL;
        int fd = accept4(server.fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            continue;
        serve_one(fd);
        (void)close(fd);
    }
}

static void server_open(const char *answer)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(a);
    server.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    server.stop_fd = eventfd(0, EFD_CLOEXEC);
    server.answer = answer;
    server.count = 0;
    assert_int_equal(bind(server.fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(server.fd, 16), 0);
    assert_int_equal(getsockname(server.fd, (struct sockaddr *)&a, &size), 0);
    server.port = ntohs(a.sin_port);
    pthread_mutex_init(&server.lock, NULL);
    sem_init(&server.came, 0, 0);
    assert_int_equal(pthread_create(&server.thread, NULL, serve, NULL), 0);
}

static void server_close(void)
{
    (void)eventfd_write(server.stop_fd, 1);
    pthread_join(server.thread, NULL);
    (void)close(server.fd);
    (void)close(server.stop_fd);
    sem_destroy(&server.came);
    pthread_mutex_destroy(&server.lock);
}

static void server_answers(const char *answer)
{
    pthread_mutex_lock(&server.lock);
    server.answer = answer;
    pthread_mutex_unlock(&server.lock);
}

/* ---- what counts ---- */

static struct metric things = {
    .name = "test_things_total", .kind = METRIC_COUNTER, .label = "kind", .help = "Things"};
static struct metric depth = {.name = "test_depth", .kind = METRIC_GAUGE, .help = "Depth"};
static const struct cloudwatch_source sources[] = {
    {.metric = "Errors", .row = "test_things_total"},
    {.metric = "Special", .row = "test_things_total", .label = "special"},
    {.metric = "Depth", .row = "test_depth", .level = true},
};

static _Atomic int64_t shift_us;
static struct mono_time shifted(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (struct mono_time){(int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000 + shift_us};
}

static atomic_int lines;
static bool count_lines(enum log_level level UNUSED, const char *id, const char *text UNUSED,
                        void *arg UNUSED)
{
    lines += strcmp(id, "cloudwatch-failed") == 0;
    return true;
}

static struct cloudwatch *start(size_t source_count)
{
    AUTO_FREE char *endpoint = NULL;
    assert_true(asprintf(&endpoint, "http://127.0.0.1:%d", server.port) > 0);
    const struct cloudwatch_options o = {
        .name_space = "automation",
        .application = "app",
        .device = "porch",
        .endpoint = endpoint,
        .login = {.access_key = "AKID", .secret_key = "secret", .region = "eu-west-1"},
        .interval_ms = 100,
        .sources = sources,
        .source_count = source_count,
    };
    struct cloudwatch *c = NULL;
    struct err e = {0};
    metric_register(&things);
    metric_register(&depth);
    if (cloudwatch_start(&o, &c, &e) < 0)
        fail_msg("%s", e.text);
    return c;
}

/* There is no signal for what the thread did; it looks ten times a second. */
#define WAIT_FOR(condition)                                                                        \
    do {                                                                                           \
        struct timespec nap_ = {.tv_nsec = 5000000};                                               \
        for (int tries_ = 0; !(condition); tries_++) {                                             \
            assert_true(tries_ < 4000);                                                            \
            nanosleep(&nap_, NULL);                                                                \
        }                                                                                          \
    } while (0)

static struct cloudwatch_status status_of(struct cloudwatch *c)
{
    struct cloudwatch_status st;
    cloudwatch_status(c, &st);
    return st;
}

static double dropped(const char *reason)
{
    return metric_sum("snapshotd_cloudwatch_dropped_total", reason);
}

static void what_is_counted_is_posted_once(void **state)
{
    (void)state;
    metric_register(&things);
    metric_add(&things, "before", 100);
    server_open(TAKEN);
    struct cloudwatch *c = start(2);
    metric_add(&things, "plain", 2);
    metric_inc(&things, "special");
    WAIT_FOR(status_of(c).taken >= 4);
    struct cloudwatch_status st = status_of(c);
    assert_true(st.well && st.taken == 4 && st.waiting == 0 && st.dropped == 0);
    assert_string_equal(st.region, "eu-west-1");
    assert_string_equal(st.credentials, "our configuration");
    metric_inc(&things, "plain"); /* goes with the stop */
    cloudwatch_stop(c);
    cloudwatch_stop(c);
    assert_true(status_of(c).taken == 5);
    cloudwatch_free(c);
    server_close();
    assert_non_null(strstr(server.requests[server.count - 1], "MetricName=Errors"));
    assert_null(strstr(server.requests[server.count - 1], "Special"));
}

static void a_level_is_told_once_a_minute(void **state)
{
    (void)state;
    server_open(TAKEN);
    metric_register(&depth);
    metric_set(&depth, NULL, 7);
    struct cloudwatch *c = start(3);
    test_wait(&server.came);
    cloudwatch_free(c);
    server_close();
    assert_non_null(strstr(server.requests[0], "MetricName=Depth"));
    assert_non_null(strstr(server.requests[0], "&MetricData.member.1.Value=7&"));
    assert_true(server.count <= 2); /* the minute may end in between */
}

static void what_was_refused_waits_and_adds_up(void **state)
{
    (void)state;
    static const char *const refusals[] = {
        "HTTP/1.1 400 x\r\nConnection: close\r\n\r\n"
        "<ErrorResponse><Code>Throttling</Code></ErrorResponse>",
        "HTTP/1.1 500 x\r\nConnection: close\r\n\r\n"
        "<ErrorResponse><Code>InternalServiceFault</Code></ErrorResponse>",
        "HTTP/1.1 403 x\r\nConnection: close\r\n\r\nhtml",
        "HTTP/1.1 503 x\r\nConnection: close\r\n\r\nhtml",
        "HTTP/1.1 407 x\r\nConnection: close\r\n\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        lines = 0;
        log_set_hook(count_lines, NULL);
        server_open(refusals[i]);
        struct cloudwatch *c = start(1);
        metric_inc(&things, "plain");
        test_wait(&server.came);
        metric_add(&things, "plain", 2);
        test_wait(&server.came);
        test_wait(&server.came);
        struct cloudwatch_status st = status_of(c);
        if (st.well || st.taken != 0 || st.dropped != 0 || !st.last_error[0] || lines != 1)
            CASE_FAILS("%zu: %g %g %d %s", i, st.taken, st.dropped, lines, st.last_error);
        server_answers(TAKEN);
        WAIT_FOR(status_of(c).taken == 3);
        assert_true(status_of(c).well);
        assert_string_equal(status_of(c).last_error, "");
        cloudwatch_free(c);
        server_close();
        log_set_hook(NULL, NULL);
    }
}

/* The one rule that nothing is told twice. */
static void what_may_have_been_taken_is_not_sent_again(void **state)
{
    (void)state;
    static const char *const doubts[] = {
        NULL,
        "HTTP/1.1 502 x\r\nConnection: close\r\n\r\nhtml",
        "HTTP/1.1 504 x\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 500 x\r\nConnection: close\r\n\r\nhtml",
        "HTTP/1.1 200 x\r\nConnection: close\r\n\r\n<html>log in</html>",
        "HTTP/1.1 200 x\r\nContent-Length: 100\r\n\r\n<PutMetricData",
    };
    for (size_t i = 0; i < ARRAY_LEN(doubts); i++) {
        log_set_hook(count_lines, NULL);
        server_open(doubts[i]);
        struct cloudwatch *c = start(1);
        double before = dropped("doubtful");
        metric_add(&things, "plain", 5);
        WAIT_FOR(!status_of(c).well);
        server_answers(TAKEN);
        metric_inc(&things, "plain");
        WAIT_FOR(status_of(c).well);
        struct cloudwatch_status st = status_of(c);
        cloudwatch_free(c);
        server_close();
        if (st.dropped < 5 || st.taken + st.dropped != 6 || dropped("doubtful") - before < 5)
            CASE_FAILS("%zu: taken %g dropped %g", i, st.taken, st.dropped);
        log_set_hook(NULL, NULL);
    }
}

static void what_is_never_taken_is_dropped(void **state)
{
    (void)state;
    log_set_hook(count_lines, NULL);
    server_open("HTTP/1.1 400 x\r\nConnection: close\r\n\r\n"
                "<ErrorResponse><Code>InvalidParameterValue</Code></ErrorResponse>");
    struct cloudwatch *c = start(1);
    double before = dropped("refused");
    metric_add(&things, "plain", 5);
    WAIT_FOR(status_of(c).dropped == 5);
    assert_true(dropped("refused") - before == 5);
    cloudwatch_free(c);
    server_close();
    log_set_hook(NULL, NULL);
}

static void two_hours_later_it_is_dropped(void **state)
{
    (void)state;
    log_set_hook(count_lines, NULL);
    clock_set_mono_source(shifted);
    server_open(TAKEN);
    int port = server.port;
    server_close(); /* nobody listens there now */
    server.port = port;
    struct cloudwatch *c = start(1);
    double before = dropped("old");
    metric_add(&things, "plain", 3);
    WAIT_FOR(!status_of(c).well && status_of(c).waiting == 3);
    atomic_fetch_add(&shift_us, (int64_t)CLOUDWATCH_AGE_MS * 1000 - 60000000);
    metric_add(&things, "plain", 4);
    WAIT_FOR(status_of(c).waiting == 7);
    assert_true(dropped("old") == before);
    atomic_fetch_add(&shift_us, 61000000);
    WAIT_FOR(status_of(c).dropped >= 3);
    assert_true(dropped("old") - before >= 3);
    cloudwatch_free(c);
    clock_set_mono_source(NULL);
    log_set_hook(NULL, NULL);
}

/* The server of the test closes its end when it sees that ours is gone. */
static void assert_no_more_fds(int fds)
{
    struct mono_time end = mono_add_ms(clock_mono(), 10000);
    while (test_count_fds() > fds && !mono_passed(end))
        (void)poll(NULL, 0, 1);
    assert_true(test_count_fds() <= fds);
}

static void a_stop_waits_two_seconds_and_no_longer(void **state)
{
    (void)state;
    log_set_hook(count_lines, NULL);
    server_open("");
    struct cloudwatch *c = start(1);
    int fds = test_count_fds();
    metric_add(&things, "plain", 5);
    test_wait(&server.came);
    metric_inc(&things, "plain");
    double stopped = dropped("stopped"), doubtful = dropped("doubtful");
    struct mono_time begin = clock_mono();
    cloudwatch_stop(c);
    double ms = mono_diff_ms(clock_mono(), begin);
    assert_true(ms >= CLOUDWATCH_LAST_MS - 100 && ms < 2 * CLOUDWATCH_LAST_MS + 6000);
    assert_true(dropped("doubtful") - doubtful + dropped("stopped") - stopped == 6);
    assert_no_more_fds(fds);
    cloudwatch_free(c);
    server_close();
    log_set_hook(NULL, NULL);
}

static void a_stop_without_counts_asks_nobody(void **state)
{
    (void)state;
    server_open(TAKEN);
    int fds = test_count_fds();
    struct cloudwatch *c = start(2);
    cloudwatch_free(c);
    assert_no_more_fds(fds);
    server_close();
    assert_int_equal(server.count, 0);
    cloudwatch_stop(NULL);
    cloudwatch_free(NULL);
}

static void without_a_region_or_half_a_key_it_does_not_start(void **state)
{
    (void)state;
    struct cloudwatch *c = NULL;
    struct err e = {0};
    struct cloudwatch_options o = {.name_space = "n",
                                   .application = "a",
                                   .device = "d",
                                   .interval_ms = 1000,
                                   .sources = sources,
                                   .source_count = 1};
    setenv("AWS_CONFIG_FILE", "/nonexistent", 1);
    setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent", 1);
    unsetenv("AWS_REGION");
    unsetenv("AWS_DEFAULT_REGION");
    assert_int_equal(cloudwatch_start(&o, &c, &e), -EINVAL);
    assert_non_null(strstr(e.text, "[cloudwatch] region"));
    o.login = (struct aws_chain_options){.region = "eu-west-1", .access_key = "AKID"};
    assert_int_equal(cloudwatch_start(&o, &c, &e), -EINVAL);
    assert_null(c);
}

/* ---- the section ---- */

static const struct cfg_section *const sections[] = {&cloudwatch_config_section, NULL};
static const struct cfg_schema schema = {.sections = sections};

static struct cfg *load(const char *text, char **ret_faults)
{
    char *const empty[] = {NULL};
    const struct cfg_source source = {.path = "t", .text = text, .environment = (char **)empty};
    struct cfg *c = NULL;
    (void)cfg_load(&schema, &source, &c, ret_faults, NULL);
    return c;
}

static void a_role_switches_it_on(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool on;
        const char *role;
    } cases[] = {
        {"[cloudwatch]\n", false, ""},
        {"[cloudwatch]\nenabled = yes\n", true, ""},
        {"[cloudwatch]\nrole_arn = arn:aws:iam::1:role/x\n", true, "arn:aws:iam::1:role/x"},
        {"[cloudwatch]\nrole_arn = porch-session\n", false, ""},
        {"[cloudwatch]\nenabled = no\nrole_arn = arn:aws:iam::1:role/x\n", false,
         "arn:aws:iam::1:role/x"},
    };
    unsetenv("AWS_WEB_IDENTITY_TOKEN_FILE");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO_FREE char *faults = NULL;
        AUTO(cfg) c = load(cases[i].text, &faults);
        assert_non_null(c);
        const struct cloudwatch_config *v = cfg_values(c, &cloudwatch_config_section);
        if (!cloudwatch_config_off(v, false) != cases[i].on ||
            strcmp(cloudwatch_config_role(v), cases[i].role) != 0)
            CASE_FAILS("%s", cases[i].text);
    }
    setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/token", 1);
    AUTO_FREE char *faults = NULL;
    AUTO(cfg) c = load(cases[2].text, &faults);
    assert_non_null(
        strstr(cloudwatch_config_off(cfg_values(c, &cloudwatch_config_section), false), "pod"));
    unsetenv("AWS_WEB_IDENTITY_TOKEN_FILE");
}

static void faults_of_the_section_are_named(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"namespace = AWS/EC2", "namespace"},
        {"namespace = :x", "namespace"},
        {"namespace = T\xc3\xbcr", "namespace"},
        {"namespace =", "namespace"},
        {"region = eu west", "region"},
        {"interval = 10ms", "interval"},
        {"role_arn = a b", "role_arn"},
        {"endpoint = ftp://x", "endpoint"},
        {"endpoint = http://x/y", "endpoint"},
        {"access_key = AKID", "secret_key"},
        {"access_key = A\nsecret_key = s\nprofile = p", "profile"},
        {"enabled = perhaps", "enabled"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO_FREE char *faults = NULL;
        AUTO_FREE char *text = NULL;
        assert_true(asprintf(&text, "[cloudwatch]\n%s\n", cases[i][0]) > 0);
        AUTO(cfg) c = load(text, &faults);
        if (!faults || !strstr(faults, cases[i][1]))
            CASE_FAILS("%s: %s", cases[i][0], faults ? faults : "no fault");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_counted_is_posted_once),
        cmocka_unit_test(a_level_is_told_once_a_minute),
        cmocka_unit_test(what_was_refused_waits_and_adds_up),
        cmocka_unit_test(what_may_have_been_taken_is_not_sent_again),
        cmocka_unit_test(what_is_never_taken_is_dropped),
        cmocka_unit_test(two_hours_later_it_is_dropped),
        cmocka_unit_test(a_stop_waits_two_seconds_and_no_longer),
        cmocka_unit_test(a_stop_without_counts_asks_nobody),
        cmocka_unit_test(without_a_region_or_half_a_key_it_does_not_start),
        cmocka_unit_test(a_role_switches_it_on),
        cmocka_unit_test(faults_of_the_section_are_named),
    };
    return RUN_TESTS(tests);
}
