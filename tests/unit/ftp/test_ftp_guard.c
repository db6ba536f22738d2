#include "ftp/ftp_guard.h"

#include "../test.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#define DAY_MS (24 * 3600 * INT64_C(1000))

/* A time that no address of a test was made at. */
static const struct mono_time start = {.us = 1000000 * INT64_C(1000000)};
static const struct ftp_guard_limits limits = {.sessions_max = 20,
                                               .sessions_known = 4,
                                               .sessions_per_address = 5,
                                               .failures_max = 10,
                                               .ban_ms = 60000};

struct place {
    struct sockaddr_storage address;
};
#define AT(p) ((const struct sockaddr *)(struct place[1]){p})

static struct place v4(uint32_t n)
{
    struct place p = {0};
    struct sockaddr_in *a = (struct sockaddr_in *)&p.address;
    a->sin_family = AF_INET;
    a->sin_addr.s_addr = htonl(0x0a000000 + n);
    a->sin_port = htons((uint16_t)(n * 7));
    return p;
}

static struct place v6(const char *text)
{
    struct place p = {0};
    struct sockaddr_in6 *a = (struct sockaddr_in6 *)&p.address;
    a->sin6_family = AF_INET6;
    assert_int_equal(inet_pton(AF_INET6, text, &a->sin6_addr), 1);
    return p;
}

static struct mono_time after(int64_t ms)
{
    return mono_add_ms(start, ms);
}

/* Fails as often as it takes for a ban, at one moment. */
static void get_banned(struct ftp_guard *g, struct place p, struct mono_time now)
{
    for (int i = 0; i < limits.failures_max; i++) {
        assert_false(ftp_guard_is_banned(g, AT(p), now));
        (void)ftp_guard_failed(g, AT(p), now);
    }
    assert_true(ftp_guard_is_banned(g, AT(p), now));
}

static int enter_all(struct ftp_guard *g, struct place p, int count, struct mono_time now)
{
    int welcome = 0;
    for (int i = 0; i < count; i++)
        welcome += ftp_guard_enter(g, AT(p), now) == FTP_GUARD_WELCOME;
    return welcome;
}

static void every_answer_has_a_name(void **state UNUSED)
{
    for (int i = 0; i < FTP_GUARD_ANSWER_COUNT; i++)
        assert_non_null(ftp_guard_answer_names[i]);
}

static void an_address_has_its_share_of_sessions_and_no_more(void **state UNUSED)
{
    struct ftp_guard *g = ftp_guard_new(&limits);
    assert_int_equal(enter_all(g, v4(1), limits.sessions_per_address, start), 5);
    assert_int_equal(ftp_guard_enter(g, AT(v4(1)), start), FTP_GUARD_TOO_MANY);
    assert_int_equal(ftp_guard_enter(g, AT(v4(2)), start), FTP_GUARD_WELCOME);
    assert_int_equal(ftp_guard_sessions(g), 6);
    ftp_guard_leave(g, AT(v4(1)), start);
    assert_int_equal(ftp_guard_enter(g, AT(v4(1)), start), FTP_GUARD_WELCOME);
    ftp_guard_free(g);
}

static void strangers_leave_room_for_addresses_that_are_known(void **state UNUSED)
{
    struct ftp_guard *g = ftp_guard_new(&limits);
    struct place camera = v4(1000);
    assert_int_equal(ftp_guard_enter(g, AT(camera), start), FTP_GUARD_WELCOME);
    ftp_guard_succeeded(g, AT(camera), start);
    ftp_guard_leave(g, AT(camera), start);

    int strangers = 0;
    for (uint32_t i = 0; i < 100; i++)
        strangers += enter_all(g, v4(i), 1, start);
    assert_int_equal(strangers, limits.sessions_max - limits.sessions_known);
    assert_int_equal(ftp_guard_enter(g, AT(v4(500)), start), FTP_GUARD_FULL);
    assert_int_equal(enter_all(g, camera, 100, start), limits.sessions_known);
    assert_int_equal(ftp_guard_sessions(g), limits.sessions_max);
    assert_int_equal(ftp_guard_enter(g, AT(camera), start), FTP_GUARD_FULL);
    ftp_guard_free(g);
}

static void a_login_makes_the_sessions_of_its_address_known(void **state UNUSED)
{
    struct ftp_guard *g = ftp_guard_new(&limits);
    for (uint32_t i = 0; i < 16; i++)
        assert_int_equal(enter_all(g, v4(i), 1, start), 1);
    assert_int_equal(ftp_guard_enter(g, AT(v4(99)), start), FTP_GUARD_FULL);
    ftp_guard_succeeded(g, AT(v4(3)), start); /* one place fewer is a stranger's */
    assert_int_equal(ftp_guard_enter(g, AT(v4(99)), start), FTP_GUARD_WELCOME);
    for (uint32_t i = 0; i < 16; i++)
        ftp_guard_leave(g, AT(v4(i)), start);
    ftp_guard_leave(g, AT(v4(99)), start);
    assert_int_equal(ftp_guard_sessions(g), 0);
    for (uint32_t i = 100; i < 116; i++)
        assert_int_equal(enter_all(g, v4(i), 1, start), 1);
    assert_int_equal(ftp_guard_enter(g, AT(v4(98)), start), FTP_GUARD_FULL);
    ftp_guard_free(g);
}

static void known_is_who_logged_in_or_left_within_a_day(void **state UNUSED)
{
    struct ftp_guard *g = ftp_guard_new(&limits);
    struct place kept = v4(1000), gone = v4(1001);
    assert_int_equal(enter_all(g, kept, 1, start), 1);
    ftp_guard_succeeded(g, AT(kept), start);
    ftp_guard_succeeded(g, AT(gone), start);
    for (uint32_t i = 0; i < 16; i++)
        assert_int_equal(enter_all(g, v4(i), 1, start), 1);
    assert_int_equal(enter_all(g, gone, 1, after(DAY_MS - 1)), 1);
    ftp_guard_leave(g, AT(gone), after(DAY_MS - 1));
    /* A session that was kept for three days ends; its camera comes back the day after. */
    ftp_guard_leave(g, AT(kept), after(3 * DAY_MS));
    assert_int_equal(ftp_guard_enter(g, AT(gone), after(3 * DAY_MS)), FTP_GUARD_FULL);
    assert_int_equal(ftp_guard_enter(g, AT(kept), after(4 * DAY_MS - 1)), FTP_GUARD_WELCOME);
    ftp_guard_free(g);
}

static void each_failure_waits_the_same_second(void **state UNUSED)
{
    struct ftp_guard *g = ftp_guard_new(&limits);
    for (int i = 0; i < 30; i++)
        assert_int_equal(ftp_guard_failed(g, AT(v4(1)), start), FTP_GUARD_DELAY_MS);
    assert_true(FTP_GUARD_DELAY_MS >= 1000);
    ftp_guard_free(g);
}

static void too_many_failures_are_a_ban_that_ends(void **state UNUSED)
{
    struct ftp_guard *g = ftp_guard_new(&limits);
    get_banned(g, v4(1), start);
    assert_int_equal(ftp_guard_enter(g, AT(v4(1)), start), FTP_GUARD_BANNED);
    assert_int_equal(ftp_guard_banned(g, start), 1);
    assert_int_equal(ftp_guard_enter(g, AT(v4(1)), after(limits.ban_ms - 1)), FTP_GUARD_BANNED);
    assert_int_equal(ftp_guard_enter(g, AT(v4(1)), after(limits.ban_ms)), FTP_GUARD_WELCOME);
    assert_int_equal(ftp_guard_banned(g, after(limits.ban_ms)), 0);
    ftp_guard_free(g);
}

static void bans_double_up_to_sixteen_times(void **state UNUSED)
{
    static const int64_t growth[] = {1, 2, 4, 8, 16, 16, 16};
    struct ftp_guard *g = ftp_guard_new(&limits);
    struct mono_time now = start;
    for (size_t i = 0; i < ARRAY_LEN(growth); i++) {
        int64_t ban = growth[i] * limits.ban_ms;
        now = mono_add_ms(now, 80000); /* the last failures are more than a minute ago */
        get_banned(g, v4(1), now);
        assert_true(ftp_guard_is_banned(g, AT(v4(1)), mono_add_ms(now, ban - 1)));
        now = mono_add_ms(now, ban);
        assert_false(ftp_guard_is_banned(g, AT(v4(1)), now));
    }
    /* An hour of peace, and it begins anew. */
    now = mono_add_ms(now, 3600 * 1000 + 1);
    get_banned(g, v4(1), now);
    assert_false(ftp_guard_is_banned(g, AT(v4(1)), mono_add_ms(now, limits.ban_ms)));
    ftp_guard_free(g);
}

static void attempts_under_way_make_a_ban_no_longer(void **state UNUSED)
{
    struct ftp_guard *g = ftp_guard_new(&limits);
    get_banned(g, v4(1), start);
    for (int i = 0; i < 100; i++)
        (void)ftp_guard_failed(g, AT(v4(1)), after(5000));
    assert_false(ftp_guard_is_banned(g, AT(v4(1)), after(limits.ban_ms)));
    ftp_guard_free(g);
}

/* Whatever the rhythm, no minute has more attempts than failures_max. */
static void no_minute_has_more_failures_than_allowed(void **state UNUSED)
{
    static const int64_t rhythms_ms[] = {1, 900, 3000, 5900, 6000, 6100, 7000, 9999, 20000};
    for (size_t r = 0; r < ARRAY_LEN(rhythms_ms); r++) {
        struct ftp_guard *g = ftp_guard_new(&limits);
        int64_t tries[4000];
        int count = 0;
        for (int64_t t = 0; t < 3600000 && count < 4000; t += rhythms_ms[r]) {
            if (ftp_guard_is_banned(g, AT(v4(1)), after(t)))
                continue;
            (void)ftp_guard_failed(g, AT(v4(1)), after(t));
            tries[count++] = t;
            if (count > limits.failures_max &&
                tries[count - 1] - tries[count - 1 - limits.failures_max] < 60000)
                CASE_FAILS("one every %lld ms", (long long)rhythms_ms[r]);
        }
        assert_true(count >= 30);
        ftp_guard_free(g);
    }
}

static void a_failure_now_and_then_is_no_ban(void **state UNUSED)
{
    struct ftp_guard *g = ftp_guard_new(&limits);
    for (int64_t t = 0; t < DAY_MS; t += 10000) { /* 6 a minute */
        (void)ftp_guard_failed(g, AT(v4(1)), after(t));
        assert_false(ftp_guard_is_banned(g, AT(v4(1)), after(t)));
    }
    ftp_guard_free(g);
}

static void logins_in_between_do_not_pay_for_failures(void **state UNUSED)
{
    struct ftp_guard *g = ftp_guard_new(&limits);
    for (int i = 0; i < limits.failures_max; i++) {
        ftp_guard_succeeded(g, AT(v4(1)), start);
        (void)ftp_guard_failed(g, AT(v4(1)), start);
    }
    assert_true(ftp_guard_is_banned(g, AT(v4(1)), start));
    ftp_guard_free(g);
}

/* Behind a router or a container's bridge all cameras may have one address. */
static void one_wrong_camera_among_good_ones_costs_the_first_ban_each_time(void **state UNUSED)
{
    struct ftp_guard *g = ftp_guard_new(&limits);
    struct mono_time now = start;
    ftp_guard_succeeded(g, AT(v4(1)), now);
    for (int i = 0; i < 6; i++) {
        now = mono_add_ms(now, 80000);
        get_banned(g, v4(1), now);
        now = mono_add_ms(now, limits.ban_ms);
        assert_false(ftp_guard_is_banned(g, AT(v4(1)), now));
    }
    ftp_guard_free(g);
}

static void an_attacker_bans_nobody_but_himself(void **state UNUSED)
{
    struct ftp_guard *g = ftp_guard_new(&limits);
    struct place camera = v4(77), new_camera = v4(78);
    ftp_guard_succeeded(g, AT(camera), start);
    (void)enter_all(g, v4(1), 100, start);
    for (int i = 0; i < 10000; i++)
        (void)ftp_guard_failed(g, AT(v4(1)), after(i));
    assert_int_equal(ftp_guard_enter(g, AT(camera), after(10000)), FTP_GUARD_WELCOME);
    assert_int_equal(ftp_guard_enter(g, AT(new_camera), after(10000)), FTP_GUARD_WELCOME);
    assert_false(ftp_guard_is_banned(g, AT(camera), after(10000)));
    assert_int_equal(ftp_guard_banned(g, after(10000)), 1);
    ftp_guard_free(g);
}

static void an_ipv6_network_is_one_address(void **state UNUSED)
{
    struct ftp_guard *g = ftp_guard_new(&limits);
    get_banned(g, v6("2001:db8:1:2::1"), start);
    assert_true(ftp_guard_is_banned(g, AT(v6("2001:db8:1:2:ffff:1:2:3")), start));
    assert_false(ftp_guard_is_banned(g, AT(v6("2001:db8:1:3::1")), start));
    /* IPv4 in IPv6's clothes is itself, else all of IPv4 would be one network. */
    get_banned(g, v6("::ffff:10.0.0.9"), start);
    assert_true(ftp_guard_is_banned(g, AT(v4(9)), start));
    assert_false(ftp_guard_is_banned(g, AT(v6("::ffff:10.0.0.8")), start));
    ftp_guard_free(g);
}

static void thousands_of_addresses_do_not_fill_it(void **state UNUSED)
{
    struct ftp_guard *g = ftp_guard_new(&limits);
    struct place camera = v4(7), kept = v4(8);
    ftp_guard_succeeded(g, AT(camera), start);
    assert_int_equal(enter_all(g, kept, 1, start), 1);
    for (uint32_t i = 100; i < 50000; i++) {
        (void)ftp_guard_failed(g, AT(v4(i)), after(i));
        if (enter_all(g, v4(i), 1, after(i)))
            ftp_guard_leave(g, AT(v4(i)), after(i));
    }
    assert_true(ftp_guard_addresses(g) <= FTP_GUARD_QUIET_MAX + 2);
    /* The flood made nobody unknown, and what has a session stays counted. */
    for (uint32_t i = 60000; ftp_guard_sessions(g) < 16; i++)
        (void)enter_all(g, v4(i), 1, after(60000));
    (void)enter_all(g, v4(70000), 1, after(60000));
    assert_int_equal(ftp_guard_enter(g, AT(v4(70001)), after(60000)), FTP_GUARD_FULL);
    assert_int_equal(ftp_guard_enter(g, AT(camera), after(60000)), FTP_GUARD_WELCOME);
    ftp_guard_leave(g, AT(kept), after(60000));
    ftp_guard_free(g);
}

static void known_addresses_are_bounded_as_well(void **state UNUSED)
{
    struct ftp_guard *g = ftp_guard_new(&limits);
    for (uint32_t i = 0; i < 3 * FTP_GUARD_QUIET_MAX; i++)
        ftp_guard_succeeded(g, AT(v4(i)), after(i));
    assert_int_equal(ftp_guard_addresses(g), FTP_GUARD_QUIET_MAX);
    ftp_guard_free(g);
}

static void new_limits_count_at_once(void **state UNUSED)
{
    struct ftp_guard *g = ftp_guard_new(&limits);
    assert_int_equal(enter_all(g, v4(1), 5, start), 5);
    struct ftp_guard_limits less = limits;
    less.sessions_per_address = 2;
    ftp_guard_set_limits(g, &less);
    ftp_guard_leave(g, AT(v4(1)), start);
    assert_int_equal(ftp_guard_enter(g, AT(v4(1)), start), FTP_GUARD_TOO_MANY);
    ftp_guard_set_limits(g, &limits);
    assert_int_equal(ftp_guard_enter(g, AT(v4(1)), start), FTP_GUARD_WELCOME);
    ftp_guard_free(g);
}

static void an_address_has_one_look_at_a_time(void **state UNUSED)
{
    struct ftp_guard *g = ftp_guard_new(&limits);
    struct place a = v4(1), b = v4(2);
    assert_int_equal(ftp_guard_enter(g, AT(a), start), FTP_GUARD_WELCOME);
    assert_true(ftp_guard_look(g, AT(a)));
    assert_false(ftp_guard_look(g, AT(a)));
    assert_true(ftp_guard_look(g, AT(b)));
    ftp_guard_leave(g, AT(a), start);
    assert_false(ftp_guard_look(g, AT(a)));                  /* whoever asked for it is gone */
    for (uint32_t i = 0; i < 2 * FTP_GUARD_QUIET_MAX; i++) { /* nor is it forgotten */
        struct place p = v4(100 + i);
        (void)ftp_guard_failed(g, AT(p), start);
    }
    assert_false(ftp_guard_look(g, AT(a)));
    ftp_guard_looked(g, AT(a));
    assert_true(ftp_guard_look(g, AT(a)));
    ftp_guard_looked(g, AT(a));
    ftp_guard_looked(g, AT(b));
    assert_true(ftp_guard_addresses(g) <= FTP_GUARD_QUIET_MAX);
    ftp_guard_free(g);
}

static void knows_who_logged_in_within_a_day(void **state UNUSED)
{
    struct ftp_guard *g = ftp_guard_new(&limits);
    struct place a = v4(1), b = v4(2);
    ftp_guard_succeeded(g, AT(a), start);
    assert_true(ftp_guard_knows(g, AT(a), after(DAY_MS - 1)));
    assert_false(ftp_guard_knows(g, AT(a), after(DAY_MS)));
    assert_false(ftp_guard_knows(g, AT(b), start));
    assert_true(ftp_guard_is_same(AT(a), AT(a)));
    assert_false(ftp_guard_is_same(AT(a), AT(b)));
    struct place x = v6("2001:db8::1"), y = v6("2001:db8::2:0:0:1"), z = v6("2001:db8:0:1::1");
    struct place mapped = v6("::ffff:10.0.0.1");
    assert_true(ftp_guard_is_same(AT(x), AT(y)));
    assert_false(ftp_guard_is_same(AT(x), AT(z)));
    assert_true(ftp_guard_is_same(AT(a), AT(mapped)));
    ftp_guard_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_answer_has_a_name),
        cmocka_unit_test(an_address_has_its_share_of_sessions_and_no_more),
        cmocka_unit_test(strangers_leave_room_for_addresses_that_are_known),
        cmocka_unit_test(a_login_makes_the_sessions_of_its_address_known),
        cmocka_unit_test(known_is_who_logged_in_or_left_within_a_day),
        cmocka_unit_test(each_failure_waits_the_same_second),
        cmocka_unit_test(too_many_failures_are_a_ban_that_ends),
        cmocka_unit_test(bans_double_up_to_sixteen_times),
        cmocka_unit_test(attempts_under_way_make_a_ban_no_longer),
        cmocka_unit_test(no_minute_has_more_failures_than_allowed),
        cmocka_unit_test(a_failure_now_and_then_is_no_ban),
        cmocka_unit_test(logins_in_between_do_not_pay_for_failures),
        cmocka_unit_test(one_wrong_camera_among_good_ones_costs_the_first_ban_each_time),
        cmocka_unit_test(an_attacker_bans_nobody_but_himself),
        cmocka_unit_test(an_ipv6_network_is_one_address),
        cmocka_unit_test(thousands_of_addresses_do_not_fill_it),
        cmocka_unit_test(known_addresses_are_bounded_as_well),
        cmocka_unit_test(new_limits_count_at_once),
        cmocka_unit_test(an_address_has_one_look_at_a_time),
        cmocka_unit_test(knows_who_logged_in_within_a_day),
    };
    return RUN_TESTS(tests);
}
