#include "sim_fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

/* The simulator's thread reads the clock too: it is replaced before that starts and after it ends,
 * and set atomically between. */
static int64_t now_virtual_us;

static struct mono_time virtual_clock(void)
{
    return (struct mono_time){__atomic_load_n(&now_virtual_us, __ATOMIC_RELAXED)};
}

static void set_virtual_clock(struct mono_time t)
{
    __atomic_store_n(&now_virtual_us, t.us, __ATOMIC_RELAXED);
}

/* A listener that nobody serves: connections succeed and stay silent. */
static int silent_listener(char *address, size_t size)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
    assert_int_equal(listen(fd, 128), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    (void)text_format(address, size, "127.0.0.1:%u", (unsigned)ntohs(at.sin_port));
    return fd;
}

static void the_breaker_opens_after_failures_in_a_row_and_one_request_decides(void **state)
{
    (void)state;
    set_virtual_clock(clock_mono());
    clock_set_mono_source(virtual_clock);
    struct sim_fixture sim;
    struct camera_sim_options o = {0};
    sim_start(&sim, &o, 1);
    struct camera cam = test_camera("porch", "foscam");
    cam.address = camera_sim_address(sim.sim, 0);
    AUTO(fetcher) f = NULL;
    struct err e = {0};
    assert_int_equal(fetcher_new(keep_outcome, NULL, &f, &e), 0);
    struct camera_status st;
    fetcher_status(f, "porch", &st);
    assert_int_equal(st.state, CAMERA_STATE_UNKNOWN);

    sim_fault(&sim, 0, "close");
    for (int i = 1; i <= FETCHER_BREAKER_FAILURES; i++) {
        assert_int_equal(fetch_once(f, &cam, false).code, -ECONNRESET);
        fetcher_status(f, "porch", &st);
        assert_int_equal(st.failures, i);
        assert_int_equal(st.state,
                         i < FETCHER_BREAKER_FAILURES ? CAMERA_STATE_FAILING : CAMERA_STATE_OPEN);
    }
    assert_non_null(strstr(st.last_error, "closed without an answer"));

    /* Each half-open probe that fails makes the pause longer, up to the longest. */
    double before = 0;
    for (int round = 1; round <= 12; round++) {
        struct err refused = {0};
        assert_int_equal(fetcher_start(f, &cam, false, NULL, &refused), -EAGAIN);
        assert_int_equal(refused.retry, ERR_LATER);
        double pause = mono_diff_ms(st.open_until, clock_mono());
        double nominal = MIN(FETCHER_BREAKER_FIRST_MS * (double)(1 << (round - 1)),
                             (double)FETCHER_BREAKER_MAX_MS);
        assert_true(pause >= nominal * 0.74 && pause <= MIN(nominal * 1.26, 60000.5));
        if (round <= 5)
            assert_true(pause > before); /* jitter of a quarter cannot hide a doubling */
        before = pause * 0.8;
        set_virtual_clock(mono_add_ms(st.open_until, 1));
        fetcher_status(f, "porch", &st);
        assert_int_equal(st.state, CAMERA_STATE_FAILING);
        assert_int_equal(fetch_once(f, &cam, false).code, -ECONNRESET);
        fetcher_status(f, "porch", &st);
        assert_int_equal(st.state, CAMERA_STATE_OPEN);
    }

    /* A person is let through while it is open; success closes it. */
    sim_fault(&sim, 0, "");
    assert_int_equal(fetcher_start(f, &cam, false, NULL, &e), -EAGAIN);
    assert_int_equal(fetch_once(f, &cam, true).code, 0);
    fetcher_status(f, "porch", &st);
    assert_int_equal(st.state, CAMERA_STATE_OK);
    assert_int_equal(st.failures, 0);
    assert_int_equal(fetch_once(f, &cam, false).code, 0);
    sim_stop(&sim);
    clock_set_mono_source(NULL);
}

static void a_camera_that_asks_for_a_pause_gets_it(void **state)
{
    (void)state;
    set_virtual_clock(clock_mono());
    clock_set_mono_source(virtual_clock);
    struct sim_fixture sim;
    struct camera_sim_options o = {0};
    sim_start(&sim, &o, 1);
    struct camera cam = test_camera("porch", "foscam");
    cam.address = camera_sim_address(sim.sim, 0);
    AUTO(fetcher) f = NULL;
    struct err e = {0};
    assert_int_equal(fetcher_new(keep_outcome, NULL, &f, &e), 0);
    sim_fault(&sim, 0, "503:20");
    assert_int_equal(fetch_once(f, &cam, false).code, -EBUSY);
    assert_int_equal(fetcher_start(f, &cam, false, NULL, &e), -EAGAIN);
    set_virtual_clock(mono_add_ms(clock_mono(), 19999));
    assert_int_equal(fetcher_start(f, &cam, false, NULL, &e), -EAGAIN);
    sim_fault(&sim, 0, "");
    set_virtual_clock(mono_add_ms(clock_mono(), 2));
    assert_int_equal(fetch_once(f, &cam, false).code, 0);
    sim_stop(&sim);
    clock_set_mono_source(NULL);
}

static void a_camera_has_one_request_in_flight(void **state)
{
    (void)state;
    char address[40];
    AUTO_CLOSE int fd = silent_listener(address, sizeof(address));
    struct camera cam = test_camera("porch", "foscam");
    cam.address = address;
    struct fetcher *f = NULL;
    struct err e = {0};
    assert_int_equal(fetcher_new(keep_outcome, NULL, &f, &e), 0);
    struct outcome first = {0};
    assert_int_equal(fetcher_start(f, &cam, false, &first, &e), 0);
    assert_int_equal(fetcher_start(f, &cam, true, NULL, &e), -EBUSY);
    assert_int_equal(fetcher_in_flight(f), 1);
    fetcher_free(f);
    assert_true(first.done);
    assert_int_equal(first.code, -ECANCELED);
}

static void forgetting_a_camera_ends_its_request_and_its_state(void **state)
{
    (void)state;
    char address[40];
    AUTO_CLOSE int fd = silent_listener(address, sizeof(address));
    struct camera cam = test_camera("porch", "foscam");
    cam.address = address;
    AUTO(fetcher) f = NULL;
    struct err e = {0};
    assert_int_equal(fetcher_new(keep_outcome, NULL, &f, &e), 0);
    struct outcome o = {0};
    assert_int_equal(fetcher_start(f, &cam, false, &o, &e), 0);
    fetcher_forget(f, "porch");
    fetcher_forget(f, "porch");
    assert_true(o.done);
    assert_int_equal(o.code, -ECANCELED);
    assert_int_equal(fetcher_in_flight(f), 0);
    struct camera_status st;
    fetcher_status(f, "porch", &st);
    assert_int_equal(st.state, CAMERA_STATE_UNKNOWN);
}

static void a_time_out_for_a_person_does_not_unlock_a_rejected_password(void **state)
{
    (void)state;
    struct sim_fixture sim;
    struct camera_sim_options o = {.user = "admin", .password = "right"};
    sim_start(&sim, &o, 1);
    struct camera cam = test_camera("porch", "foscam");
    cam.address = camera_sim_address(sim.sim, 0);
    cam.user = "admin";
    cam.password = "wrong";
    cam.credentials_digest = 7;
    AUTO(fetcher) f = NULL;
    struct err e = {0};
    assert_int_equal(fetcher_new(keep_outcome, NULL, &f, &e), 0);
    assert_int_equal(fetch_once(f, &cam, false).code, -EACCES);
    struct camera elsewhere = cam;
    elsewhere.address = "127.0.0.1:1"; /* refused: not the camera's word */
    assert_int_equal(fetch_once(f, &elsewhere, true).code, -ECONNREFUSED);
    assert_int_equal(fetcher_start(f, &cam, false, NULL, &e), -EACCES);
    assert_int_equal(sim_stat(&sim, 0, "logins_refused"), 1);
    sim_stop(&sim);
}

struct swarm {
    int done, good;
    bool all;
    int wanted;
};

static void count_outcome(void *arg, const struct fetch_result *r)
{
    struct swarm *s = arg;
    s->done++;
    s->good += r->code == 0;
    s->all = s->done == s->wanted;
}

/* Ten good cameras are asked over and over while ninety of all sorts of death hold a request each:
 * silent ones, unreachable ones, names that do not resolve, drips. */
static void ninety_dead_cameras_do_not_hold_up_ten_good_ones(void **state)
{
    (void)state;
    enum { GOOD = 10, DRIPS = 10, SILENT = 40, REFUSED = 30, NAMELESS = 10, ROUNDS = 20 };
    int fds_before = count_fds();
    struct sim_fixture sim;
    struct camera_sim_options o = {0};
    sim_start(&sim, &o, GOOD + DRIPS);
    for (size_t i = GOOD; i < GOOD + DRIPS; i++)
        sim_fault(&sim, i, "drip");
    char silent[40];
    int silent_fd = silent_listener(silent, sizeof(silent));
    struct swarm s = {0};
    struct fetcher *f = NULL;
    struct err e = {0};
    assert_int_equal(fetcher_new(count_outcome, &s, &f, &e), 0);

    char names[100][16];
    struct camera cams[100];
    for (int i = 0; i < 100; i++) {
        (void)text_format(names[i], sizeof(names[i]), "cam%d", i);
        cams[i] = test_camera(names[i], "foscam");
        cams[i].address = i < GOOD + DRIPS            ? camera_sim_address(sim.sim, (size_t)i)
                          : i < GOOD + DRIPS + SILENT ? silent
                          : i < 100 - NAMELESS        ? "127.0.0.1:1"
                                                      : "no-such-host.invalid:80";
    }
    struct swarm dead = {0};
    for (int i = GOOD; i < 100; i++)
        assert_int_equal(fetcher_start(f, &cams[i], false, &dead, &e), 0);
    for (int round = 0; round < ROUNDS; round++) {
        int good_before = s.good;
        for (int i = 0; i < GOOD; i++)
            assert_int_equal(fetcher_start(f, &cams[i], false, NULL, &e), 0);
        while (s.good - good_before < GOOD) {
            struct pollfd p = {.fd = fetcher_fd(f), .events = POLLIN};
            assert_true(poll(&p, 1, 120000) > 0);
            fetcher_process(f);
        }
    }
    assert_int_equal(s.good, GOOD * ROUNDS);
    /* The silent ones and the drips are still held: nobody waited for them. */
    assert_true(fetcher_in_flight(f) >= SILENT + DRIPS);
    fetcher_free(f);
    close(silent_fd);
    sim_stop(&sim);
    assert_int_equal(blob_live_count(), 0);
    assert_int_equal(count_fds(), fds_before);
}

static void requests_may_be_started_and_cameras_forgotten_inside_the_callback(void **state);

struct chain {
    struct fetcher *f;
    struct camera cam;
    int left;
    bool all;
};

static void next_in_chain(void *arg, const struct fetch_result *r)
{
    struct chain *c = arg;
    assert_int_equal(r->code, 0);
    assert_string_equal(r->camera, "porch");
    if (--c->left == 0) {
        fetcher_forget(c->f, "porch");
        assert_string_equal(r->camera, "porch"); /* still valid */
        c->all = true;
        return;
    }
    struct err e = {0};
    assert_int_equal(fetcher_start(c->f, &c->cam, false, NULL, &e), 0);
}

static void requests_may_be_started_and_cameras_forgotten_inside_the_callback(void **state)
{
    (void)state;
    struct sim_fixture sim;
    struct camera_sim_options o = {0};
    sim_start(&sim, &o, 1);
    struct chain c = {.cam = test_camera("porch", "foscam"), .left = 50};
    c.cam.address = camera_sim_address(sim.sim, 0);
    struct err e = {0};
    assert_int_equal(fetcher_new(next_in_chain, &c, &c.f, &e), 0);
    assert_int_equal(fetcher_start(c.f, &c.cam, false, NULL, &e), 0);
    drive(c.f, &c.all);
    assert_int_equal(sim_stat(&sim, 0, "pictures"), 50);
    assert_in_range(sim_stat(&sim, 0, "connections"), 1, 3); /* two questions' and one for all */
    fetcher_free(c.f);
    sim_stop(&sim);
}

static void failing_allocations_fail_the_request_and_nothing_else(void **state)
{
    (void)state;
    struct sim_fixture sim;
    struct camera_sim_options o = {0};
    sim_start(&sim, &o, 1);
    struct camera cam = test_camera("porch", "foscam");
    cam.address = camera_sim_address(sim.sim, 0);
    AUTO(fetcher) f = NULL;
    struct err e = {0};
    assert_int_equal(fetcher_new(keep_outcome, NULL, &f, &e), 0);
    struct outcome got = {.code = -ENOMEM};
    int n;
    for (n = 1; got.code == -ENOMEM; n++) {
        mem_fail_at((uint64_t)n);
        got = fetch_once(f, &cam, true);
        mem_fail_at(0);
        if (got.code && (got.code != -ENOMEM || got.error.retry != ERR_LATER))
            fail_msg("allocation %d: %s", n, got.error.text);
        assert_int_equal(fetch_once(f, &cam, true).code, 0);
    }
    assert_true(n > 2);
    sim_stop(&sim);
}

static void an_unknown_kind_is_refused(void **state)
{
    (void)state;
    struct camera cam = test_camera("porch", "zenith");
    AUTO(fetcher) f = NULL;
    struct err e = {0};
    assert_int_equal(fetcher_new(keep_outcome, NULL, &f, &e), 0);
    assert_int_equal(fetcher_start(f, &cam, false, NULL, &e), -EINVAL);
    cam.kind = "foscam";
    assert_int_equal(fetcher_start(f, &cam, false, NULL, &e), -EINVAL); /* no address */
}

static void expect_forbidden(struct fetcher *f, struct camera *cam, const char *address,
                             const char *shown)
{
    cam->address = address;
    struct outcome o = fetch_once(f, cam, true);
    assert_int_equal(o.code, -EPERM);
    assert_int_equal(o.error.retry, ERR_NEVER);
    if (!strstr(o.error.text, shown))
        fail_msg("%s", o.error.text);
}

static void an_address_outside_the_cameras_list_is_not_asked(void **state)
{
    (void)state;
    static const char *const net[] = {"192.0.2.0/24", NULL};
    static const char *const home[] = {"127.0.0.1", NULL};
    struct sim_fixture sim;
    struct camera_sim_options o = {0};
    struct err e = {0};
    AUTO(host_list) elsewhere = NULL;
    AUTO(host_list) here = NULL;
    assert_int_equal(host_list_new(net, &elsewhere, &e), 0);
    assert_int_equal(host_list_new(home, &here, &e), 0);
    sim_start(&sim, &o, 1);
    const char *address = camera_sim_address(sim.sim, 0);
    AUTO_FREE char *by_name = xasprintf("localhost%s", strchr(address, ':'));
    AUTO(fetcher) f = NULL;
    assert_int_equal(fetcher_new(keep_outcome, NULL, &f, &e), 0);

    struct camera cam = test_camera("porch", "foscam");
    cam.hosts = elsewhere;
    expect_forbidden(f, &cam, address, "address 127.0.0.1 must not be asked: see allow_hosts");
    expect_forbidden(f, &cam, by_name, "must not be asked");
    assert_int_equal(sim_stat(&sim, 0, "requests"), 0);

    /* One that may be asked leaves a connection behind, which is not for the other. */
    struct camera good = test_camera("yard", "foscam");
    good.address = address;
    good.hosts = here;
    assert_int_equal(fetch_once(f, &good, false).code, 0);
    cam.name = good.name;
    expect_forbidden(f, &cam, address, "address 127.0.0.1 must not be asked");
    assert_int_equal(sim_stat(&sim, 0, "requests"), 1);
    good.address = by_name;
    assert_int_equal(fetch_once(f, &good, true).code, 0);
    sim_stop(&sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_breaker_opens_after_failures_in_a_row_and_one_request_decides),
        cmocka_unit_test(a_camera_that_asks_for_a_pause_gets_it),
        cmocka_unit_test(a_camera_has_one_request_in_flight),
        cmocka_unit_test(forgetting_a_camera_ends_its_request_and_its_state),
        cmocka_unit_test(a_time_out_for_a_person_does_not_unlock_a_rejected_password),
        cmocka_unit_test(ninety_dead_cameras_do_not_hold_up_ten_good_ones),
        cmocka_unit_test(requests_may_be_started_and_cameras_forgotten_inside_the_callback),
        cmocka_unit_test(failing_allocations_fail_the_request_and_nothing_else),
        cmocka_unit_test(an_unknown_kind_is_refused),
        cmocka_unit_test(an_address_outside_the_cameras_list_is_not_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
