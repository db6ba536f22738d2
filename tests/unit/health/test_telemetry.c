/* The thread against services of our own; the clock of its intervals is moved by the tests. */
#include "../test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/mem.h"
#include "health/telemetry.h"
#include "service.h"

#define KEY "api-secret"
#define MONITOR "mon-secret"
#define CHECK "/check-secret"

static struct service service;
static struct telemetry *telemetry;
static atomic_int warnings, works_again, leaks;
static pthread_mutex_t last_lock = PTHREAD_MUTEX_INITIALIZER;
static char last_warning[600];

static bool see_log(enum log_level level, const char *id, const char *text, void *arg UNUSED)
{
    if (strstr(text, "secret"))
        atomic_fetch_add(&leaks, 1);
    if (strcmp(id, "telemetry-works") == 0)
        atomic_fetch_add(&works_again, 1);
    if (level == LOG_LEVEL_WARNING) {
        pthread_mutex_lock(&last_lock);
        text_copy(last_warning, sizeof(last_warning), text);
        pthread_mutex_unlock(&last_lock);
        atomic_fetch_add(&warnings, 1);
    }
    return true;
}

static void start_at(const char *cronitor, const char *key, const char *check)
{
    struct telemetry_options o = {
        .cronitor = {.url = cronitor, .api_key = key, .monitor_key = MONITOR, .host = "pi"},
        .healthchecks_url = check,
        .interval_ms = 62000,
        .stale_ms = 1000000};
    struct err e = {0};
    if (telemetry_start(&o, &telemetry, &e) < 0)
        CASE_FAILS("%s", e.text);
}

static int set_up_saying(int status, const char *text)
{
    service_start(&service);
    service_says(&service, status, text);
    atomic_store(&warnings, 0);
    atomic_store(&works_again, 0);
    char base[64], check[80];
    (void)text_format(base, sizeof(base), "http://127.0.0.1:%d", httpd_port(service.httpd));
    (void)text_format(check, sizeof(check), "%s" CHECK "/", base);
    start_at(base, KEY, check);
    return 0;
}

/* What is to be the answer to the first word has to be there before it. */
static int set_up(void **state UNUSED)
{
    return set_up_saying(200, "OK");
}
static int set_up_trouble(void **state UNUSED)
{
    return set_up_saying(503, "busy");
}
static int set_up_unknown(void **state UNUSED)
{
    return set_up_saying(200, "OK (not found)");
}
static int set_up_limited(void **state UNUSED)
{
    return set_up_saying(200, "OK (rate limited)");
}

static int tear_down(void **state UNUSED)
{
    int r = telemetry_stop(telemetry, NULL, 20000);
    telemetry = NULL;
    service_stop(&service);
    return r;
}

static void tell(bool well, const char *text)
{
    struct health_news news = {.well = well, .stages_running = 12, .parts_unwell = well ? 0 : 1};
    text_copy(news.text, sizeof(news.text), text);
    telemetry_tell(telemetry, &news);
}

static void wait_for(atomic_int *counter, int wanted)
{
    for (int i = 0; i < 3000 && atomic_load(counter) < wanted; i++)
        (void)usleep(10000); /* the log gives no signal */
    assert_int_equal(atomic_load(counter), wanted);
}

static void expect_warning(const char *part)
{
    pthread_mutex_lock(&last_lock);
    bool found = strstr(last_warning, part) != NULL;
    pthread_mutex_unlock(&last_lock);
    if (!found)
        CASE_FAILS("\"%s\" does not say \"%s\"", last_warning, part);
}

static void tells_the_start_then_each_interval(void **state UNUSED)
{
    struct service_call c = service_expect(&service, 0, CHECK "/start");
    assert_string_equal(c.method, "POST");
    tell(true, "4 cameras");
    c = service_expect_later(&service, 1, CHECK, 6);
    assert_string_equal(c.body, "4 cameras");
    c = service_expect(&service, 0, "/p/");
    assert_string_equal(c.method, "GET");
    assert_string_equal(c.target, "/p/" KEY "/" MONITOR
                                  "?state=ok&host=pi&message=4%20cameras&metric=count:12"
                                  "&metric=error_count:0");
    size_t seen = service_count(&service);
    (void)service_expect_later(&service, seen, "/p/", 63);
    (void)service_expect_later(&service, seen, CHECK, 63);
    if (atomic_load(&warnings) > 0)
        CASE_FAILS("warned: %s", last_warning);
}

static void tells_a_change_at_once(void **state UNUSED)
{
    tell(true, "well");
    (void)service_expect(&service, 0, "/p/");
    struct service_call c = service_expect_later(&service, 1, CHECK, 6);
    size_t seen = service_count(&service);
    tell(false, "stage:fetch: stage fetch hangs");
    c = service_expect_later(&service, seen, CHECK "/fail", 6);
    assert_string_equal(c.body, "stage:fetch: stage fetch hangs");
    c = service_expect_later(&service, seen, "/p/", 6);
    assert_non_null(strstr(c.target, "?state=fail&"));
    assert_non_null(strstr(c.target, "metric=error_count:1"));
    seen = service_count(&service);
    tell(true, "well");
    c = service_expect_later(&service, seen, CHECK, 6);
}

static void tries_again_when_a_service_has_trouble(void **state UNUSED)
{
    wait_for(&warnings, 1); /* the start */
    expect_warning("Healthchecks: http://127.0.0.1:");
    expect_warning("HTTP 503");
    size_t seen = service_count(&service);
    (void)service_expect_later(&service, seen, CHECK "/start", 6);
    service_says(&service, 200, "OK");
    seen = service_count(&service);
    (void)service_expect_later(&service, seen, CHECK "/start", 11);
    wait_for(&works_again, 1);
    assert_int_equal(atomic_load(&warnings), 1); /* a trouble is told once */
}

static void does_not_take_a_200_for_a_success(void **state UNUSED)
{
    wait_for(&warnings, 1);
    expect_warning("does not know this check");
    assert_int_equal(service_count(&service), 1);
}

static void goes_slower_when_told_so(void **state UNUSED)
{
    wait_for(&warnings, 1);
    expect_warning("too often");
    service_says(&service, 200, "OK");
    tell(true, "well");
    (void)service_expect(&service, 1, "/p/");
    (void)service_expect_later(&service, 1, CHECK, 63);
}

static void says_goodbye(void **state UNUSED)
{
    (void)service_expect(&service, 0, CHECK "/start");
    assert_int_equal(telemetry_stop(telemetry, NULL, 20000), 0);
    telemetry = NULL;
    struct service_call c = service_expect(&service, 1, CHECK "/log");
    assert_string_equal(c.body, "stopped in order");
}

static void says_why_it_ends(void **state UNUSED)
{
    (void)service_expect(&service, 0, CHECK "/start");
    assert_int_equal(telemetry_stop(telemetry, "the ledger is damaged", 20000), 0);
    telemetry = NULL;
    struct service_call c = service_expect(&service, 1, CHECK "/fail");
    assert_string_equal(c.body, "the ledger is damaged");
    c = service_expect(&service, 1, "/p/");
    assert_non_null(strstr(c.target, "state=fail&host=pi&message=the%20ledger%20is%20damaged"));
}

/* Takes connections and never answers. */
static int silent_server(int *port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &size), 0);
    *port = ntohs(a.sin_port);
    return fd;
}

static void is_not_held_up_by_one_that_hangs(void **state UNUSED)
{
    assert_int_equal(telemetry_stop(telemetry, NULL, 20000), 0);
    int port, fd = silent_server(&port);
    char base[64], check[80];
    (void)text_format(base, sizeof(base), "http://127.0.0.1:%d", httpd_port(service.httpd));
    (void)text_format(check, sizeof(check), "http://127.0.0.1:%d" CHECK, port);
    start_at(base, KEY, check);
    tell(true, "well");
    size_t seen = 0;
    for (int i = 0; i < 3; i++) {
        (void)service_expect_later(&service, seen, "/p/", 63);
        seen = service_count(&service);
    }
    /* Nor is the end: what hangs is left to itself. */
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    int r = telemetry_stop(telemetry, NULL, 300);
    clock_gettime(CLOCK_MONOTONIC, &after);
    assert_int_equal(r, -ETIMEDOUT);
    assert_true(after.tv_sec - before.tv_sec < 5);
    (void)close(fd); /* now it fails, and the thread ends */
    assert_int_equal(telemetry_stop(telemetry, NULL, 20000), 0);
    telemetry = NULL;
}

static void takes_a_key_that_comes_late(void **state UNUSED)
{
    assert_int_equal(telemetry_stop(telemetry, NULL, 20000), 0);
    char base[64];
    (void)text_format(base, sizeof(base), "http://127.0.0.1:%d", httpd_port(service.httpd));
    start_at(base, "", "");
    size_t seen = service_count(&service);
    tell(true, "well");
    telemetry_set_cronitor(telemetry, "late-secret", MONITOR);
    struct service_call c = service_expect(&service, seen, "/p/");
    assert_true(text_starts_with(c.target, "/p/late-secret/" MONITOR "?"));
}

static void turns_to_another_monitor_at_once(void **state UNUSED)
{
    tell(true, "well");
    (void)service_expect(&service, 0, "/p/");
    size_t seen = service_count(&service);
    telemetry_set_cronitor(telemetry, KEY, "other-secret");
    struct service_call c = service_expect(&service, seen, "/p/");
    assert_true(text_starts_with(c.target, "/p/" KEY "/other-secret?"));
    telemetry_set_cronitor(telemetry, KEY, "");
    seen = service_count(&service);
    (void)service_expect_later(&service, seen, CHECK, 63);
    (void)service_expect_later(&service, service_count(&service), CHECK, 63);
    pthread_mutex_lock(&service.lock);
    for (; seen < service.count; seen++)
        assert_false(text_starts_with(service.calls[seen].target, "/p/"));
    pthread_mutex_unlock(&service.lock);
}

static void is_nothing_without_services(void **state UNUSED)
{
    struct telemetry_options o = {.cronitor = {.url = "https://cronitor.link",
                                               .api_key = KEY,
                                               .monitor_key = "",
                                               .host = "pi"},
                                  .healthchecks_url = "",
                                  .interval_ms = 62000,
                                  .stale_ms = 1000000};
    struct telemetry *none;
    struct err e = {0};
    assert_int_equal(telemetry_start(&o, &none, &e), 0);
    assert_null(none);
    telemetry_tell(none, &(struct health_news){0});
    telemetry_set_cronitor(none, "x", "y");
    assert_int_equal(telemetry_stop(none, NULL, 0), 0);
}

static void never_logs_a_key(void **state UNUSED)
{
    assert_int_equal(atomic_load(&leaks), 0);
}

int main(void)
{
    log_set_hook(see_log, NULL);
    telemetry_register_metrics();
    clock_set_mono_source(moved_clock);
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(tells_the_start_then_each_interval),
        T(tells_a_change_at_once),
        cmocka_unit_test_setup_teardown(tries_again_when_a_service_has_trouble, set_up_trouble,
                                        tear_down),
        cmocka_unit_test_setup_teardown(does_not_take_a_200_for_a_success, set_up_unknown,
                                        tear_down),
        cmocka_unit_test_setup_teardown(goes_slower_when_told_so, set_up_limited, tear_down),
        T(says_goodbye),
        T(says_why_it_ends),
        T(is_not_held_up_by_one_that_hangs),
        T(takes_a_key_that_comes_late),
        T(turns_to_another_monitor_at_once),
        cmocka_unit_test(is_nothing_without_services),
        cmocka_unit_test(never_logs_a_key),
    };
    return RUN_TESTS(tests);
}
