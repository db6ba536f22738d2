/* Fetching: retries, ends, reloads, and many cameras that say nothing. */
#include "flow.h"

#include <sys/socket.h>
#include <netinet/in.h>

static void a_trigger_is_given_up_in_time_with_the_last_reason(void **state UNUSED)
{
    struct flow *f = flow_new_with_cameras(1, "give_up = 1s\nretry_delay = 50ms\n");
    flow_sim_fault(f, 0, "close");
    flow_start(f, FLOW_ALL);
    char id[SNAPSHOT_ID_SIZE];
    flow_trigger(f, "c0", id);
    FLOW_WAIT(f, f->outcomes == 1);
    flow_stop(f);
    struct trigger t = flow_get_trigger(f, id);
    assert_int_equal(t.state, TRIGGER_FAILED);
    assert_true(t.attempts >= 2);
    assert_true(t.error[0] != '\0');
    flow_assert_sound(f);
    flow_free(f);
}

static void a_camera_that_comes_back_gives_its_picture(void **state UNUSED)
{
    struct flow *f = flow_new_with_cameras(1, "retry_delay = 50ms\n");
    flow_sim_fault(f, 0, "reset");
    flow_listen(f, "fetch-failed");
    flow_start(f, FLOW_ALL);
    char id[SNAPSHOT_ID_SIZE];
    flow_trigger(f, "c0", id);
    FLOW_WAIT(f, flow_heard(f, "fetch-failed") == 2);
    flow_sim_fault(f, 0, "");
    FLOW_WAIT(f, f->outcomes == 1);
    flow_stop(f);
    assert_true(flow_is_recorded(f, id));
    flow_free(f);
}

static void a_trigger_of_a_removed_camera_ends_with_that_reason(void **state UNUSED)
{
    struct flow *f = flow_new_with_cameras(2, "");
    char gone[SNAPSHOT_ID_SIZE], off[SNAPSHOT_ID_SIZE];
    flow_trigger(f, "c0", gone);
    flow_trigger(f, "c1", off);
    flow_configure(f, "[camera:c1]\nkind = http\nurl = http://127.0.0.1:9/\nenabled = no\n");
    flow_start(f, FLOW_ALL);
    FLOW_WAIT(f, f->outcomes == 2);
    flow_stop(f);
    assert_non_null(strstr(flow_get_trigger(f, gone).error, "not in the configuration"));
    assert_non_null(strstr(flow_get_trigger(f, off).error, "switched off"));
    flow_free(f);
}

static void a_running_request_keeps_its_settings_through_two_reloads(void **state UNUSED)
{
    struct flow *f = flow_new_with_cameras(2, "");
    flow_sim_fault(f, 0, "hang-body");
    flow_start(f, FLOW_ALL);
    char id[SNAPSHOT_ID_SIZE], other[SNAPSHOT_ID_SIZE];
    flow_trigger(f, "c0", id);
    FLOW_WAIT(f, flow_sim_stat(f, 0, "requests") == 1);
    flow_configure(f, "");
    assert_int_equal(FLOW_GET(f, f->settings_freed), 0);
    flow_use_cameras(f, "directory = elsewhere\n");
    FLOW_WAIT(f, f->settings_freed == 1); /* the second; the first is in use */
    /* The next picture follows the new ones. */
    flow_trigger(f, "c1", other);
    FLOW_WAIT(f, f->outcomes == 1);
    struct snapshot s = flow_get_snapshot(f, other);
    assert_int_equal(strncmp(s.path, "elsewhere/", 10), 0);
    flow_stop(f);
    assert_int_equal(FLOW_GET(f, f->settings_freed), 2);
    assert_int_equal(flow_get_trigger(f, id).state, TRIGGER_PENDING);
    flow_free(f);
}

static void a_rejected_password_is_sent_once(void **state UNUSED)
{
    struct flow *f = flow_new(1, 0);
    flow_add_cameras(
        f, 1,
        &(struct camera_sim_options){.user = "admin", .password = "right", .auth = SIM_AUTH_BASIC});
    flow_use_cameras(f, "user = admin\npassword = wrong\nauth = basic\n");
    flow_start(f, FLOW_ALL);
    for (int i = 0; i < 5; i++)
        flow_trigger(f, "c0", NULL);
    FLOW_WAIT(f, f->outcomes == 5);
    assert_int_equal(flow_sim_stat(f, 0, "logins_refused"), 1);
    struct camera_status st;
    fetch_stage_camera_status(f->fetch, "c0", &st);
    assert_int_equal(st.state, CAMERA_STATE_LOCKED);
    /* The right one is sent, because it is another. */
    flow_use_cameras(f, "user = admin\npassword = right\nauth = basic\n");
    flow_trigger(f, "c0", NULL);
    FLOW_WAIT(f, f->outcomes == 6);
    flow_stop(f);
    assert_int_equal(flow_counts(f).snapshots, 1);
    flow_free(f);
}

static void a_password_is_not_sent_in_a_storm_when_the_ledger_takes_nothing(void **state UNUSED)
{
    struct flow *f = flow_new(1, 0);
    flow_add_cameras(
        f, 1,
        &(struct camera_sim_options){.user = "admin", .password = "right", .auth = SIM_AUTH_BASIC});
    flow_use_cameras(f, "user = admin\npassword = wrong\nauth = basic\n");
    char id[SNAPSHOT_ID_SIZE];
    flow_trigger_as(f, "c0", TRIGGER_API, id); /* a person may ask once in spite of the lock */
    flow_listen(f, "ledger-failed");
    (void)signal(SIGXFSZ, SIG_IGN);
    struct rlimit before, none;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    none = before;
    none.rlim_cur = 4096;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    flow_start(f, FLOW_INTAKE | FLOW_FETCH);
    FLOW_WAIT(f, flow_heard(f, "ledger-failed") >= 1);
    for (int i = 0; i < 10; i++)
        pipeline_wake(&f->p, PIPELINE_FETCH);
    FLOW_WAIT(f, flow_heard(f, "ledger-failed") >= 2);
    long sent = flow_sim_stat(f, 0, "logins_refused");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    FLOW_WAIT(f, f->outcomes == 1);
    flow_stop(f);
    assert_int_equal(sent, 1);
    assert_int_equal(flow_sim_stat(f, 0, "logins_refused"), 1);
    struct trigger t = flow_get_trigger(f, id);
    assert_int_equal(t.state, TRIGGER_FAILED);
    flow_free(f);
}

/* A port that takes connections and never says anything. */
static int silent_port(int *ret_port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, len), 0);
    assert_int_equal(listen(fd, 512), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    *ret_port = ntohs(a.sin_port);
    return fd;
}

static void a_crowd_of_silent_cameras_does_not_hold_up_a_good_one(void **state UNUSED)
{
    struct flow *f = flow_new(1, 0);
    flow_add_cameras(f, 1, NULL);
    int port;
    AUTO_CLOSE int fd = silent_port(&port);
    struct dynbuf b;
    dynbuf_init(&b, 1 << 20);
    for (int i = 0; i < 120; i++)
        (void)dynbuf_printf(&b,
                            "[camera:s%d]\nkind = http\nurl = http://127.0.0.1:%d/\n"
                            "stall_timeout = 1m\ntotal_timeout = 1m\ngive_up = 10m\n",
                            i, port);
    AUTO_FREE char *good = flow_cameras_text(f, "");
    (void)dynbuf_puts(&b, good);
    flow_configure(f, dynbuf_str(&b));
    dynbuf_done(&b);
    for (int i = 0; i < 120; i++) {
        AUTO_FREE char *name = xasprintf("s%d", i);
        flow_trigger(f, name, NULL);
    }
    char id[SNAPSHOT_ID_SIZE];
    flow_trigger(f, "c0", id); /* the last of all */
    flow_listen(f, "fetch-failed");
    flow_start(f, FLOW_ALL);
    FLOW_WAIT(f, flow_is_recorded(f, id));
    assert_int_equal(FLOW_GET(f, flow_heard(f, "fetch-failed")), 0);
    assert_int_equal(flow_counts(f).triggers_pending, 120); /* none of them had to end first */
    flow_stop(f);
    flow_free(f);
}

static void a_camera_left_alone_costs_no_write_per_second(void **state UNUSED)
{
    struct flow *f = flow_new_with_cameras(1, "give_up = 10m\nretry_delay = 10ms\ntries = 20\n");
    flow_sim_fault(f, 0, "status:503/40"); /* busy, and says for how long */
    flow_start(f, FLOW_ALL);
    char first[SNAPSHOT_ID_SIZE], second[SNAPSHOT_ID_SIZE];
    flow_trigger(f, "c0", first);
    FLOW_WAIT(f, flow_get_trigger(f, first).attempts == 1);
    flow_trigger(f, "c0", second);
    FLOW_WAIT(f, flow_get_trigger(f, second).attempts == 1);
    struct trigger t = flow_get_trigger(f, second);
    int64_t ahead_ms = (t.not_before.us - ledger_now().us) / 1000;
    flow_stop(f);
    assert_true(ahead_ms > 20000);
    flow_free(f);
}

static bool story_has(struct flow *f, const char *id, const char *what, const char *words)
{
    struct ledger_story story[32];
    struct ledger *l = NULL;
    struct err e = {0};
    assert_int_equal(ledger_open(f->p.ledger_path, &l, &e), 0);
    int n = ledger_story(l, id, story, 32, &e);
    ledger_close(l);
    for (int i = 0; i < n; i++)
        if (!strcmp(story[i].what, what) && strstr(story[i].detail, words))
            return true;
    return false;
}

static void an_unchanged_picture_is_asked_for_once_more_and_told(void **state UNUSED)
{
    struct flow *f = flow_new_with_cameras(1, "retry_delay = 10ms\n");
    flow_start(f, FLOW_ALL);
    char first[SNAPSHOT_ID_SIZE], second[SNAPSHOT_ID_SIZE];
    flow_trigger(f, "c0", first);
    FLOW_WAIT(f, f->outcomes == 1);
    assert_int_equal(flow_sim_stat(f, 0, "requests"), 1);
    flow_trigger(f, "c0", second);
    FLOW_WAIT(f, f->outcomes == 2);
    flow_stop(f);
    assert_int_equal(flow_sim_stat(f, 0, "requests"), 3);
    assert_true(flow_is_recorded(f, second)); /* kept: a camera may look at a wall */
    assert_true(story_has(f, second, "stale", "byte for byte"));
    assert_true(story_has(f, second, "stale", "asked once more"));
    assert_true(story_has(f, second, "stale", "kept all the same"));
    assert_false(story_has(f, first, "stale", ""));
    flow_assert_sound(f);
    flow_free(f);
}

static void a_picture_that_may_stand_still_is_asked_for_once(void **state UNUSED)
{
    struct flow *f = flow_new_with_cameras(1, "check_fresh = no\n");
    flow_start(f, FLOW_ALL);
    flow_trigger(f, "c0", NULL);
    FLOW_WAIT(f, f->outcomes == 1);
    flow_trigger(f, "c0", NULL);
    FLOW_WAIT(f, f->outcomes == 2);
    flow_stop(f);
    assert_int_equal(flow_sim_stat(f, 0, "requests"), 2);
    flow_free(f);
}

static void a_burst_is_one_picture_of_several(void **state UNUSED)
{
    struct flow *f = flow_new_with_cameras(1, "burst = 4\nburst_time = 120ms\n");
    flow_start(f, FLOW_ALL);
    char id[SNAPSHOT_ID_SIZE];
    struct mono_time start = clock_mono();
    flow_trigger(f, "c0", id);
    FLOW_WAIT(f, f->outcomes == 1);
    assert_true(mono_diff_ms(clock_mono(), start) >= 120);
    flow_stop(f);
    assert_int_equal(flow_sim_stat(f, 0, "requests"), 4);
    assert_int_equal(flow_counts(f).snapshots, 1);
    assert_true(flow_is_recorded(f, id));
    assert_false(story_has(f, id, "stale", "")); /* the first was fresh, and it was kept */
    flow_assert_sound(f);
    flow_free(f);
}

static void a_burst_that_breaks_off_keeps_what_came(void **state UNUSED)
{
    struct flow *f = flow_new_with_cameras(1, "burst = 4\nburst_time = 100ms\n");
    flow_sim_fault(f, 0, "500@3");
    flow_start(f, FLOW_ALL);
    char id[SNAPSHOT_ID_SIZE];
    flow_trigger(f, "c0", id);
    FLOW_WAIT(f, f->outcomes == 1);
    flow_stop(f);
    assert_int_equal(flow_sim_stat(f, 0, "requests"), 3);
    assert_true(flow_is_recorded(f, id));
    assert_int_equal(flow_get_trigger(f, id).state, TRIGGER_DONE);
    flow_assert_sound(f);
    flow_free(f);
}

static void a_stop_in_the_middle_of_a_burst_keeps_what_came(void **state UNUSED)
{
    struct flow *f = flow_new_with_cameras(1, "burst = 2\nburst_time = 30s\n");
    flow_start(f, FLOW_ALL);
    char id[SNAPSHOT_ID_SIZE];
    flow_trigger(f, "c0", id);
    FLOW_WAIT(f, flow_sim_stat(f, 0, "pictures") == 1);
    struct camera_status st = {0};
    while (st.state != CAMERA_STATE_OK) { /* the answer is here */
        fetch_stage_camera_status(f->fetch, "c0", &st);
        sched_yield();
    }
    flow_stop(f);
    assert_true(flow_is_recorded(f, id));
    assert_int_equal(flow_sim_stat(f, 0, "requests"), 1);
    flow_assert_sound(f);
    flow_free(f);
}

static void a_stop_while_a_better_picture_is_awaited_keeps_what_came(void **state UNUSED)
{
    struct flow *f = flow_new_with_cameras(1, "burst = 2\nburst_time = 10ms\n");
    flow_sim_fault(f, 0, "hang@2");
    flow_start(f, FLOW_ALL);
    char id[SNAPSHOT_ID_SIZE];
    flow_trigger(f, "c0", id);
    FLOW_WAIT(f, flow_sim_stat(f, 0, "requests") == 2);
    flow_stop(f);
    assert_true(flow_is_recorded(f, id));
    flow_assert_sound(f);
    flow_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_trigger_is_given_up_in_time_with_the_last_reason),
        cmocka_unit_test(a_camera_that_comes_back_gives_its_picture),
        cmocka_unit_test(a_trigger_of_a_removed_camera_ends_with_that_reason),
        cmocka_unit_test(a_running_request_keeps_its_settings_through_two_reloads),
        cmocka_unit_test(a_rejected_password_is_sent_once),
        cmocka_unit_test(a_password_is_not_sent_in_a_storm_when_the_ledger_takes_nothing),
        cmocka_unit_test(a_crowd_of_silent_cameras_does_not_hold_up_a_good_one),
        cmocka_unit_test(a_camera_left_alone_costs_no_write_per_second),
        cmocka_unit_test(an_unchanged_picture_is_asked_for_once_more_and_told),
        cmocka_unit_test(a_picture_that_may_stand_still_is_asked_for_once),
        cmocka_unit_test(a_burst_is_one_picture_of_several),
        cmocka_unit_test(a_burst_that_breaks_off_keeps_what_came),
        cmocka_unit_test(a_stop_in_the_middle_of_a_burst_keeps_what_came),
        cmocka_unit_test(a_stop_while_a_better_picture_is_awaited_keeps_what_came),
    };
    return RUN_TESTS(tests);
}
