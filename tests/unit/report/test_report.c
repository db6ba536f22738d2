/* The whole reporter with a receiver on this machine. */

#include "../test.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <zlib.h>

#include "base/log.h"
#include "base/text.h"
#include "report/report.h"
#include "sys/httpd.h"
#include "sys/json.h"

#define KEEP_MAX 64

static char folder[64], dsn[128], report_folder[80];
static int folder_fd;
static struct httpd *server;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *kept[KEEP_MAX]; /* envelopes that came, unpacked */
static int kept_count;
static char auth[256];
static int answer_status;
static const char *answer_limits;
static sem_t came;

static char *unpack(const struct http_request *req)
{
    char *text = calloc(1, 2000000);
    z_stream z = {.next_in = (Bytef *)(uintptr_t)req->body,
                  .avail_in = (uInt)req->body_size,
                  .next_out = (Bytef *)text,
                  .avail_out = 1999999};
    assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK);
    assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
    assert_int_equal(inflateEnd(&z), Z_OK);
    return text;
}

static void receive(void *arg UNUSED, const struct http_request *req, struct http_response *ret)
{
    pthread_mutex_lock(&lock);
    assert_string_equal(req->target, "/api/42/envelope/");
    assert_string_equal(http_request_header(req, "Content-Encoding"), "gzip");
    text_copy(auth, sizeof(auth), http_request_header(req, "X-Sentry-Auth"));
    assert_true(kept_count < KEEP_MAX);
    kept[kept_count++] = unpack(req);
    if (answer_limits)
        http_response_header(ret, "X-Sentry-Rate-Limits", "%s", answer_limits);
    AUTO_DONE(dynbuf) text = {0};
    dynbuf_init(&text, 100);
    (void)dynbuf_puts(&text, "{}");
    http_response_text(ret, answer_status, "application/json", &text);
    pthread_mutex_unlock(&lock);
    sem_post(&came);
}

static size_t large_enough(void *arg UNUSED, const struct http_request *req UNUSED,
                           struct http_response *ret UNUSED)
{
    return 1 << 20;
}

static void start_server(void)
{
    struct httpd_options o = {.listen = "127.0.0.1:0",
                              .handle = receive,
                              .body_max = large_enough,
                              .thread_name = "fake"};
    struct err e = {0};
    if (httpd_start(&o, &server, &e) < 0)
        fail_msg("%s", e.text);
    (void)text_format(dsn, sizeof(dsn), "http://publickey@127.0.0.1:%d/42", httpd_port(server));
}

static int quiet_fd;
static int set_up(void **state UNUSED)
{
    folder_fd = test_folder_new(folder);
    (void)text_format(report_folder, sizeof(report_folder), "%s/report", folder);
    sem_init(&came, 0, 0);
    kept_count = 0;
    answer_status = 200;
    answer_limits = NULL;
    quiet_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    log_set_fd(quiet_fd);
    start_server();
    return 0;
}

static int tear_down(void **state UNUSED)
{
    httpd_free(server);
    server = NULL;
    for (int i = 0; i < kept_count; i++)
        free(kept[i]);
    log_set_fd(STDERR_FILENO);
    close(quiet_fd);
    sem_destroy(&came);
    test_folder_remove(folder, folder_fd);
    return 0;
}

static struct report_config config(void)
{
    return (struct report_config){.dsn = dsn,
                                  .environment = "test",
                                  .release = "",
                                  .ca_file = "",
                                  .spool_size = 8 << 20,
                                  .spool_files = 50,
                                  .spool_age_ms = 3600 * 1000,
                                  .repeat_ms = 3600 * 1000,
                                  .retry_ms = 50};
}

static struct report *start(const struct report_config *c)
{
    struct report_options o = {
        .config = c, .folder = report_folder, .server_name = "unit", .version = "1.2.3"};
    return report_start(&o);
}

static const char *envelope(int i)
{
    pthread_mutex_lock(&lock);
    assert_true(i < kept_count);
    const char *text = kept[i];
    pthread_mutex_unlock(&lock);
    return text;
}

/* The event in the third line. */
static json_t *event(int i)
{
    const char *second = strchr(envelope(i), '\n');
    const char *third = second ? strchr(second + 1, '\n') : NULL;
    assert_non_null(third);
    json_t *j = NULL;
    struct err e = {0};
    if (js_parse(third + 1, strlen(third + 1), 2000000, &j, &e) < 0)
        fail_msg("%s", e.text);
    return j;
}

static unsigned waiting(struct report *r)
{
    struct report_status st;
    report_status(r, &st);
    return st.waiting;
}

static void an_error_arrives_with_the_lines_before_it(void **state UNUSED)
{
    struct report_config c = config();
    AUTO(report) r = start(&c);
    log_context_camera("porch");
    log_debug("noise", "not a breadcrumb");
    for (int i = 0; i < 150; i++)
        log_info("step", "line %d", i);
    log_warn("coped", "no event");
    log_error("went-wrong", "at last");
    log_context_camera(NULL);
    test_wait(&came);
    report_stop(r, 2000);
    assert_int_equal(kept_count, 1);
    assert_non_null(strstr(auth, "sentry_key=publickey"));
    assert_non_null(strstr(auth, "sentry_client=snapshotd/1.2.3"));
    AUTO_JSON json_t *e = event(0);
    assert_string_equal(json_string_value(json_object_get(e, "message")), "at last");
    assert_string_equal(json_string_value(json_object_get(e, "release")),
                        "snapshot-processor@1.2.3");
    const json_t *crumbs = json_object_get(json_object_get(e, "breadcrumbs"), "values");
    assert_int_equal(json_array_size(crumbs), 100);
    assert_string_equal(json_string_value(json_object_get(json_array_get(crumbs, 99), "category")),
                        "coped");
    assert_string_equal(json_string_value(json_object_get(json_array_get(crumbs, 0), "message")),
                        "line 51");
    struct report_status st;
    report_status(r, &st);
    assert_int_equal(st.sent, 1);
    assert_int_equal(st.waiting, 0);
    assert_null(strstr(envelope(0), "publickey")); /* its own key is a secret as well */
}

static void the_same_error_is_told_once_and_counted(void **state UNUSED)
{
    struct report_config c = config();
    AUTO(report) r = start(&c);
    for (int i = 0; i < 1000; i++)
        log_error("flood", "number %d", i);
    log_error("other", "something else");
    report_stop(r, 5000);
    assert_int_equal(kept_count, 3);
    AUTO_JSON json_t *last = event(2);
    assert_string_equal(json_string_value(json_object_get(last, "message")), "number 999");
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(last, "extra"), "occurrences")), 999);
}

static void what_cannot_be_sent_is_sent_by_the_next_run(void **state UNUSED)
{
    struct report_config c = config();
    httpd_free(STEAL(server)); /* nobody listens there */
    AUTO(report) r = start(&c);
    log_error("lonely", "nobody hears this");
    report_stop(r, 2000);
    assert_int_equal(waiting(r), 1);
    report_free(STEAL(r));
    start_server();
    c.dsn = "";
    r = start(&c);
    struct report_status st;
    report_status(r, &st);
    assert_false(st.on);
    assert_int_equal(report_set_dsn(r, "nonsense", NULL), -EINVAL);
    assert_int_equal(report_set_dsn(r, dsn, NULL), 0); /* it came late */
    test_wait(&came);
    report_stop(r, 2000);
    assert_int_equal(kept_count, 1);
    assert_non_null(strstr(envelope(0), "nobody hears this"));
    assert_int_equal(waiting(r), 0);
}

static void a_limit_is_honoured_and_nothing_is_lost(void **state UNUSED)
{
    struct report_config c = config();
    answer_status = 429;
    answer_limits = "600:error:key";
    AUTO(report) r = start(&c);
    log_error("one", "1");
    test_wait(&came);
    log_error("two", "2");
    report_stop(r, 2000); /* does not try: it was asked not to */
    assert_int_equal(kept_count, 1);
    assert_int_equal(waiting(r), 2);
    struct report_status st;
    report_status(r, &st);
    assert_true(st.pause_ms > 500000);
    assert_int_equal(st.dropped, 0);
}

static void what_is_refused_is_not_sent_again(void **state UNUSED)
{
    struct report_config c = config();
    answer_status = 403;
    AUTO(report) r = start(&c);
    log_error("one", "1");
    test_wait(&came);
    log_error("two", "2");
    test_wait(&came);
    report_stop(r, 2000);
    assert_int_equal(kept_count, 2);
    assert_int_equal(waiting(r), 0);
    struct report_status st;
    report_status(r, &st);
    assert_int_equal(st.dropped, 2);
    assert_non_null(strstr(st.last_error, "403"));
}

static void on_back(void *arg, const struct log_record *r)
{
    if (strcmp(r->id, "sentry-back") == 0)
        sem_post(arg);
}

static void a_server_in_trouble_is_asked_again(void **state UNUSED)
{
    sem_t back;
    sem_init(&back, 0, 0);
    assert_int_equal(log_add_sink(on_back, &back), 0);
    struct report_config c = config();
    pthread_mutex_lock(&lock);
    answer_status = 503;
    pthread_mutex_unlock(&lock);
    AUTO(report) r = start(&c);
    log_error("one", "1");
    test_wait(&came);
    test_wait(&came);
    pthread_mutex_lock(&lock);
    answer_status = 200;
    pthread_mutex_unlock(&lock);
    test_wait(&back);
    log_remove_sink(on_back, &back);
    report_stop(r, 2000);
    struct report_status st;
    report_status(r, &st);
    assert_int_equal(st.sent, 1);
    assert_int_equal(st.waiting, 0);
    assert_string_equal(st.last_error, "");
    sem_destroy(&back);
}

static void *shout(void *arg)
{
    char id[16];
    for (int i = 0; i < 200; i++) {
        (void)text_format(id, sizeof(id), "t%d-%d", (int)(intptr_t)arg, i % 40);
        log_error(id, "line %d", i);
    }
    return NULL;
}

/* For the thread sanitizer, and for the bound of the queue. */
static void many_threads_may_shout_at_once(void **state UNUSED)
{
    struct report_config c = config();
    c.spool_files = 10;
    httpd_free(STEAL(server));
    AUTO(report) r = start(&c);
    pthread_t threads[4];
    for (intptr_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, shout, (void *)i), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    report_stop(r, 2000);
    struct report_status st;
    report_status(r, &st);
    assert_int_equal(st.waiting, 10);
    assert_true(st.dropped > 0);
    start_server(); /* for tear_down */
}

static void without_a_disk_an_error_is_still_sent(void **state UNUSED)
{
    struct report_config c = config();
    close(openat(folder_fd, "report", O_CREAT | O_WRONLY, 0600)); /* no folder can be here */
    AUTO(report) r = start(&c);
    log_error("one", "1");
    test_wait(&came);
    report_stop(r, 2000);
    assert_int_equal(kept_count, 1);
    assert_int_equal(waiting(r), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_error_arrives_with_the_lines_before_it),
        TEST(the_same_error_is_told_once_and_counted),
        TEST(what_cannot_be_sent_is_sent_by_the_next_run),
        TEST(a_limit_is_honoured_and_nothing_is_lost),
        TEST(what_is_refused_is_not_sent_again),
        TEST(a_server_in_trouble_is_asked_again),
        TEST(many_threads_may_shout_at_once),
        TEST(without_a_disk_an_error_is_still_sent),
    };
    return RUN_TESTS(tests);
}
