/* The watching thread: a scripted program is looked at, and what everybody is told is caught. */
#include "../test.h"

#include "base/log.h"
#include "base/metrics.h"
#include "health/health.h"
#include "service.h"
#include "sys/service.h"
#include "sys/stack.h"

/* The program that is looked at. */
static struct program {
    pthread_mutex_t lock;
    bool running;
    int64_t heartbeat_age_ms;
    enum health_state disk;
    sem_t gave_up;
    atomic_int give_ups, looks;
} program;

static struct service service;
static struct health *health;
static sem_t stuck_logged;
static char stuck_text[1000];

static bool see_log(enum log_level level UNUSED, const char *id, const char *text, void *arg UNUSED)
{
    if (strcmp(id, "stage-stuck") == 0) {
        text_copy(stuck_text, sizeof(stuck_text), text);
        sem_post(&stuck_logged);
    }
    return true;
}

static void look(void *arg UNUSED, struct health_view *ret)
{
    pthread_mutex_lock(&program.lock);
    ret->stages[ret->stage_count++] =
        (struct health_stage){.name = "fetch",
                              .running = program.running,
                              .heartbeat_age_ms = program.heartbeat_age_ms,
                              .limit_ms = 60000};
    ret->facts[ret->fact_count++] =
        (struct health_fact){.name = "disk", .state = program.disk, .reason = "nearly full"};
    pthread_mutex_unlock(&program.lock);
    atomic_fetch_add(&program.looks, 1);
}

static void numbers(void *arg UNUSED, char *ret, size_t size)
{
    text_copy(ret, size, "4 cameras");
}

static size_t stack(void *arg UNUSED, const char *stage, uintptr_t *ret, size_t max)
{
    assert_true(strcmp(stage, "fetch") == 0 || strcmp(stage, "main") == 0);
    assert_true(max >= 1);
    ret[0] = (uintptr_t)sem_post;
    return 1;
}

static void give_up(void *arg UNUSED)
{
    atomic_fetch_add(&program.give_ups, 1);
    sem_post(&program.gave_up);
}

static int set_up(void **state UNUSED)
{
    char check[80];
    service_start(&service);
    (void)text_format(check, sizeof(check), "http://127.0.0.1:%d/check", httpd_port(service.httpd));
    program = (struct program){.lock = PTHREAD_MUTEX_INITIALIZER, .running = true};
    sem_init(&program.gave_up, 0, 0);
    sem_init(&stuck_logged, 0, 0);
    struct health_config c = {.healthchecks_url = check,
                              .cronitor_api_key = "",
                              .cronitor_url = "https://cronitor.link",
                              .interval_ms = 62000,
                              .patience = 1};
    struct health_options o = {.config = &c,
                               .cronitor_monitor_key = "",
                               .host = "pi",
                               .grace_ms = 5000,
                               .look = look,
                               .stack = stack,
                               .numbers = numbers,
                               .give_up = give_up};
    struct err e = {0};
    if (health_start(&o, &health, &e) < 0)
        CASE_FAILS("%s", e.text);
    return 0;
}

static int tear_down(void **state UNUSED)
{
    int r = health_stop(health, NULL);
    health = NULL;
    service_stop(&service);
    return r;
}

static void set(int64_t age_ms, bool running, enum health_state disk)
{
    pthread_mutex_lock(&program.lock);
    program.heartbeat_age_ms = age_ms;
    program.running = running;
    program.disk = disk;
    pthread_mutex_unlock(&program.lock);
}

static struct health_report *report_when(bool alive, bool ready)
{
    for (int i = 0; i < 3000; i++) {
        struct health_report *r = health_report(health);
        if (r->at.us && r->alive == alive && r->ready == ready)
            return r;
        free(r);
        (void)usleep(10000); /* reports give no signal */
    }
    CASE_FAILS("no report alive %d, ready %d", alive, ready);
    return NULL;
}

static void looks_only_between_watch_and_end(void **state UNUSED)
{
    AUTO_FREE struct health_report *none = health_report(health);
    assert_int_equal(none->at.us, 0);
    assert_int_equal(atomic_load(&program.looks), 0);
    health_watch(health);
    AUTO_FREE struct health_report *r = report_when(true, true);
    assert_int_equal(r->stages_running, 2); /* the main loop is one of them */
    assert_non_null(health_part_find(r, "stage:main"));
    health_end(health);
    int looks = atomic_load(&program.looks);
    (void)service_expect(&service, 0, "/check/start");
    assert_int_equal(atomic_load(&program.looks), looks);
}

static void tells_a_sick_part_and_does_not_end_for_it(void **state UNUSED)
{
    health_watch(health);
    set(0, true, HEALTH_SICK);
    AUTO_FREE struct health_report *r = report_when(true, false);
    assert_string_equal(r->why, "disk: nearly full");
    struct service_call c = service_expect_later(&service, 0, "/check/fail", 6);
    assert_string_equal(c.body, "disk: nearly full");
    set(0, true, HEALTH_OK);
    AUTO_FREE struct health_report *well = report_when(true, true);
    c = service_expect_later(&service, 0, "/check", 6);
    assert_string_equal(c.body, "4 cameras");
    assert_int_equal(atomic_load(&program.give_ups), 0);
}

static void ends_the_program_for_a_stage_that_hangs_and_names_it(void **state UNUSED)
{
    health_watch(health);
    set(61000, true, HEALTH_OK);
    test_wait(&program.gave_up);
    test_wait(&stuck_logged);
    if (!strstr(stuck_text, "stage fetch hangs for 61 s") || !strstr(stuck_text, "sem_post+0x0"))
        CASE_FAILS("%s", stuck_text);
    AUTO_FREE struct health_report *r = report_when(false, false);
    assert_string_equal(r->stuck, "fetch");
    struct service_call c = service_expect_later(&service, 0, "/check/fail", 6);
    assert_non_null(strstr(c.body, "stage fetch hangs"));
    /* Once, however often it looks. */
    int looks = atomic_load(&program.looks);
    for (int i = 0; i < 2000 && atomic_load(&program.looks) < looks + 2; i++)
        (void)usleep(10000);
    assert_int_equal(atomic_load(&program.give_ups), 1);
}

static void ends_the_program_for_a_stage_that_has_ended(void **state UNUSED)
{
    health_watch(health);
    set(0, false, HEALTH_OK);
    test_wait(&program.gave_up);
    test_wait(&stuck_logged);
    if (!strstr(stuck_text, "stage fetch has ended; it is at: its thread is gone"))
        CASE_FAILS("%s", stuck_text);
}

/* A reload that waits for secrets announces it. */
static void knows_of_a_silence_that_was_announced(void **state UNUSED)
{
    health_watch(health);
    health_expect_silence(health, 120000);
    move_clock(200);
    int looks = atomic_load(&program.looks);
    for (int i = 0; i < 2000 && atomic_load(&program.looks) < looks + 2; i++)
        (void)usleep(10000);
    assert_int_equal(atomic_load(&program.give_ups), 0);
    move_clock(60);
    test_wait(&program.gave_up);
    test_wait(&stuck_logged);
    if (!strstr(stuck_text, "stage main hangs for "))
        CASE_FAILS("%s", stuck_text);
}

int main(void)
{
    stack_enable();
    log_set_hook(see_log, NULL);
    health_register_metrics();
    clock_set_mono_source(moved_clock);
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(looks_only_between_watch_and_end),
        T(tells_a_sick_part_and_does_not_end_for_it),
        T(ends_the_program_for_a_stage_that_hangs_and_names_it),
        T(ends_the_program_for_a_stage_that_has_ended),
        T(knows_of_a_silence_that_was_announced),
    };
    return RUN_TESTS(tests);
}
