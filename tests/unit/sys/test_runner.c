/* Programs as they come; what a camera makes of them is in unit/camera/test_camera_command.c. */

#include "sys/runner.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"

struct seen {
    int done, code, exit_status;
    size_t size;
    char text[1024], complaint[RUNNER_COMPLAINT_MAX], error[ERR_TEXT_MAX];
};

static void note(void *arg, const struct runner_result *r)
{
    struct seen *s = arg;
    s->done++;
    s->code = r->code;
    s->exit_status = r->exit_status;
    s->size = r->output ? r->output->size : 0;
    (void)text_format(s->text, sizeof(s->text), "%.*s", (int)(s->size < 1000 ? s->size : 1000),
                      r->output ? (const char *)r->output->data : "");
    text_copy(s->complaint, sizeof(s->complaint), r->complaint);
    text_copy(s->error, sizeof(s->error), r->error->text);
}

static struct runner *make(size_t bytes_max)
{
    struct runner *r = NULL;
    struct err e = {0};
    assert_int_equal(runner_new(bytes_max, &r, &e), 0);
    return r;
}

static void start(struct runner *r, const char *script, size_t size_max, int64_t timeout_ms,
                  struct seen *s)
{
    char *argv[] = {"/bin/sh", "-c", (char *)script, NULL};
    char *environment[] = {"PATH=/bin:/usr/bin", NULL};
    const struct runner_request req = {
        .argv = argv,
        .environment = environment,
        .shown = "sh",
        .timeout_ms = timeout_ms,
        .size_max = size_max,
    };
    struct runner_job *job;
    struct err e = {0};
    if (runner_start(r, &req, note, s, &job, &e) < 0)
        fail_msg("%s", e.text);
}

static void drive(struct runner *r, const struct seen *s, int wanted)
{
    while (s->done < wanted) {
        struct pollfd p = {.fd = runner_fd(r), .events = POLLIN};
        if (poll(&p, 1, 120000) == 0) /* a watchdog only */
            fail_msg("the runner never woke up");
        runner_process(r);
    }
}

static void output_and_exit_status_are_told(void **state)
{
    (void)state;
    AUTO(runner) r = make(1 << 20);
    struct seen s = {0};
    start(r, "printf abc; echo trouble >&2; exit 5", 100, 60000, &s);
    drive(r, &s, 1);
    assert_int_equal(s.code, 0);
    assert_int_equal(s.exit_status, 5);
    assert_string_equal(s.text, "abc");
    assert_string_equal(s.complaint, "trouble\n");
}

static void long_output_comes_whole(void **state)
{
    (void)state;
    AUTO(runner) r = make(16 << 20);
    struct seen s = {0};
    start(r, "head -c 5000000 /dev/zero", 6000000, 60000, &s);
    drive(r, &s, 1);
    assert_int_equal(s.code, 0);
    assert_int_equal(s.size, 5000000);
}

static void of_a_long_complaint_the_end_is_kept(void **state)
{
    (void)state;
    AUTO(runner) r = make(1 << 20);
    struct seen s = {0};
    start(r, "head -c 100000 /dev/zero | tr '\\0' x >&2; echo the end >&2", 100, 60000, &s);
    drive(r, &s, 1);
    assert_int_equal(s.code, 0);
    assert_true(text_ends_with(s.complaint, "xthe end\n"));
    assert_int_equal(strlen(s.complaint), RUNNER_COMPLAINT_MAX - 1);
}

static void limits_of_size_memory_and_time_end_a_program(void **state)
{
    (void)state;
    AUTO(runner) r = make(100000);
    struct seen big = {0}, much = {0}, late = {0};
    start(r, "cat /dev/zero", 50000, 60000, &big);
    drive(r, &big, 1);
    assert_int_equal(big.code, -EFBIG);
    start(r, "cat /dev/zero", 1 << 20, 60000, &much);
    drive(r, &much, 1);
    assert_int_equal(much.code, -ENOMEM);
    start(r, "printf abc; exec sleep 1000", 100, 50, &late);
    drive(r, &late, 1);
    assert_int_equal(late.code, -ETIMEDOUT);
    assert_non_null(strstr(late.error, "3 bytes came"));
}

static void many_run_at_once_up_to_the_limit(void **state)
{
    (void)state;
    AUTO(runner) r = make(1 << 20);
    struct seen s = {0};
    for (int i = 0; i < RUNNER_JOBS_MAX; i++)
        start(r, "echo x", 100, 60000, &s);
    char *argv[] = {"/bin/true", NULL}, *environment[] = {NULL};
    const struct runner_request req = {
        .argv = argv, .environment = environment, .shown = "true", .size_max = 1};
    struct runner_job *job;
    struct err e = {0};
    assert_int_equal(runner_start(r, &req, note, &s, &job, &e), -EAGAIN);
    assert_int_equal(e.retry, ERR_LATER);
    drive(r, &s, RUNNER_JOBS_MAX);
    assert_int_equal(s.code, 0);
}

static void the_end_of_a_runner_is_that_of_its_programs(void **state)
{
    (void)state;
    struct runner *r = make(1 << 20);
    struct seen s = {0};
    start(r, "sleep 1000", 100, 0, &s);
    start(r, "sleep 1000", 100, 0, &s);
    runner_free(r);
    assert_int_equal(s.done, 2);
    assert_int_equal(s.code, -ECANCELED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(output_and_exit_status_are_told),
        cmocka_unit_test(long_output_comes_whole),
        cmocka_unit_test(of_a_long_complaint_the_end_is_kept),
        cmocka_unit_test(limits_of_size_memory_and_time_end_a_program),
        cmocka_unit_test(many_run_at_once_up_to_the_limit),
        cmocka_unit_test(the_end_of_a_runner_is_that_of_its_programs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
