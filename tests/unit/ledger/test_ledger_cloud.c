/* Calls that cost money against their budget, and answers that are not paid for twice. */
#include "fixture.h"

#include "base/clock.h"
#include "ledger/ledger_cloud.h"
#include "sys/db.h"

#define HOUR_MS (3600 * 1000LL)
static const struct cloud_bounds week = {.age_ms = 7 * 24 * HOUR_MS, .count = 1000};
static const struct cloud_budget no_limit = {0, 0};

static struct wall_time at(const char *text)
{
    struct wall_time t;
    assert_int_equal(wall_parse_iso(text, &t), 0);
    return t;
}

static int reserve(struct fixture *f, int64_t per_day, int64_t per_month, const char *when)
{
    struct cloud_budget b = {per_day, per_month};
    int64_t day;
    return ledger_cloud_reserve(f->l, &b, at(when), &day, &f->e);
}

static struct cloud_spent spent(struct fixture *f, const char *when)
{
    struct cloud_spent s = {-1, -1};
    assert_int_equal(ledger_cloud_spent(f->l, at(when), &s, &f->e), 0);
    return s;
}

static void knows_days_and_months_of_utc(void **state UNUSED)
{
    static const struct {
        const char *when;
        int64_t day, month, next;
    } cases[] = {
        {"1970-01-01T00:00:00Z", 0, 0, 31},
        {"1970-01-31T23:59:59Z", 30, 0, 31},
        {"1970-02-01T00:00:00Z", 31, 31, 59},
        {"2000-02-29T12:00:00Z", 11016, 10988, 11017}, /* a leap day */
        {"2026-12-31T23:59:59.999Z", 20818, 20788, 20819},
        {"2027-01-01T00:00:00Z", 20819, 20819, 20850},
        {"2026-12-31T23:30:00-01:00", 20819, 20819, 20850}, /* the zone is not ours */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct cloud_period p = cloud_period_of(at(cases[i].when));
        if (p.day != cases[i].day || p.month != cases[i].month || p.next_month != cases[i].next)
            fail_msg("%s: %lld %lld %lld", cases[i].when, (long long)p.day, (long long)p.month,
                     (long long)p.next_month);
    }
}

static void a_day_has_its_calls_and_the_next_one_its_own(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(reserve(f, 3, 0, "2026-11-25T10:00:00Z"), 0);
    assert_int_equal(reserve(f, 3, 0, "2026-11-25T23:59:59Z"), -EDQUOT);
    assert_int_equal(f->e.retry, ERR_LATER);
    assert_string_equal(f->e.text, "the budget of 3 calls a day is used up until "
                                   "2026-11-26T00:00:00Z ([cloud] calls_per_day)");
    assert_int_equal(spent(f, "2026-11-25T12:00:00Z").day, 3);
    assert_int_equal(reserve(f, 3, 0, "2026-11-26T00:00:00Z"), 0);
    assert_int_equal(spent(f, "2026-11-26T12:00:00Z").day, 1);
    assert_int_equal(spent(f, "2026-11-26T12:00:00Z").month, 4);
}

static void a_month_has_its_calls_over_all_its_days(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(reserve(f, 0, 3, "2026-11-01T00:00:00Z"), 0);
    assert_int_equal(reserve(f, 0, 3, "2026-11-15T00:00:00Z"), 0);
    assert_int_equal(reserve(f, 0, 3, "2026-11-30T23:59:59Z"), 0);
    assert_int_equal(reserve(f, 0, 3, "2026-11-30T23:59:59Z"), -EDQUOT);
    assert_non_null(strstr(f->e.text, "3 calls a month is used up until 2026-12-01T00:00:00Z"));
    assert_int_equal(reserve(f, 0, 3, "2026-12-01T00:00:00Z"), 0);
    assert_int_equal(spent(f, "2026-12-01T00:00:00Z").month, 1);
    /* October had nothing to do with it. */
    assert_int_equal(spent(f, "2026-10-31T00:00:00Z").month, 0);
}

static void the_budget_holds_over_a_restart_and_a_clock_that_is_set_back(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(reserve(f, 2, 0, "2026-11-25T10:00:00Z"), 0);
    fixture_close(f);
    fixture_open(f);
    assert_int_equal(reserve(f, 2, 0, "2026-11-25T11:00:00Z"), 0);
    assert_int_equal(reserve(f, 2, 0, "2026-11-26T11:00:00Z"), 0); /* the next day */
    fixture_close(f);
    fixture_open(f);
    assert_int_equal(reserve(f, 2, 0, "2026-11-25T09:00:00Z"), -EDQUOT); /* and back */
    assert_int_equal(reserve(f, 2, 0, "2026-11-26T09:00:00Z"), 0);
    assert_int_equal(reserve(f, 2, 0, "2026-11-26T09:00:00Z"), -EDQUOT);
    assert_sound(f);
}

static void a_call_that_was_not_billed_is_given_back(void **state)
{
    struct fixture *f = *state;
    static const struct {
        unsigned billed;
        int64_t counted;
    } cases[] = {{0, 0}, {1, 1}, {3, 3}};
    int64_t before = 0, day;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(
            ledger_cloud_reserve(f->l, &no_limit, at("2026-11-25T10:00:00Z"), &day, &f->e), 0);
        assert_int_equal(ledger_cloud_settle(f->l, day, cases[i].billed, &f->e), 0);
        int64_t now = spent(f, "2026-11-25T10:00:00Z").day;
        assert_int_equal(now - before, cases[i].counted);
        before = now;
    }
    /* Of a day that is not known it makes no debt. */
    assert_int_equal(ledger_cloud_settle(f->l, 5, 0, &f->e), 0);
    assert_int_equal(spent(f, "1970-01-06T10:00:00Z").day, 0);
}

static void give_back_counts_for_the_day_of_the_call(void **state)
{
    struct fixture *f = *state;
    int64_t day;
    assert_int_equal(ledger_cloud_reserve(f->l, &no_limit, at("2026-11-25T23:59:59Z"), &day, &f->e),
                     0);
    assert_int_equal(reserve(f, 0, 0, "2026-11-26T00:00:01Z"), 0);
    assert_int_equal(ledger_cloud_settle(f->l, day, 0, &f->e), 0);
    assert_int_equal(spent(f, "2026-11-25T12:00:00Z").day, 0);
    assert_int_equal(spent(f, "2026-11-26T12:00:00Z").day, 1);
}

/* A key of one character. */
static const char *key_of(char c, char buf[CLOUD_KEY_SIZE])
{
    memset(buf, c, CLOUD_KEY_SIZE - 1);
    buf[CLOUD_KEY_SIZE - 1] = '\0';
    return buf;
}

static void put(struct fixture *f, char key, const char *when, unsigned billed,
                const struct cloud_bounds *bounds)
{
    char buf[CLOUD_KEY_SIZE];
    int64_t day;
    AUTO_DONE(verdict)
    v = make_verdict((const char *const[]){"person", "motor vehicle"}, (float[]){0.93f, 0.5f}, 2);
    v.cloud_calls = billed;
    assert_int_equal(ledger_cloud_reserve(f->l, &no_limit, at(when), &day, &f->e), 0);
    assert_int_equal(
        ledger_cloud_answered(f->l, day, key_of(key, buf), &v, bounds, at(when), &f->e), 0);
}

static int get(struct fixture *f, char key, const char *when, const struct cloud_bounds *bounds,
               struct verdict *ret)
{
    char buf[CLOUD_KEY_SIZE];
    return ledger_cloud_answer(f->l, key_of(key, buf), bounds, at(when), ret, &f->e);
}

static bool knows(struct fixture *f, char key, const char *when, const struct cloud_bounds *bounds)
{
    AUTO_DONE(verdict) v = {0};
    return get(f, key, when, bounds, &v) == 1;
}

static void an_answer_comes_back_as_it_was_for_nothing(void **state)
{
    struct fixture *f = *state;
    put(f, 'a', "2026-11-25T10:00:00Z", 2, &week);
    fixture_close(f);
    fixture_open(f);
    AUTO_DONE(verdict) v = {0};
    assert_int_equal(get(f, 'a', "2026-11-26T10:00:00Z", &week, &v), 1);
    assert_int_equal(v.outcome, VERDICT_EXAMINED);
    assert_int_equal(v.cloud_calls, 0);
    assert_string_equal(v.model, "yolov8n-640.onnx");
    assert_int_equal(v.found.count, 2);
    assert_string_equal(v.found.items[0].label, "person");
    assert_true(v.found.items[0].confidence == 0.93f);
    assert_true(v.found.items[0].has_box && v.found.items[0].box.y2 == 4.25f);
    assert_string_equal(v.found.items[1].label, "motor vehicle");
    assert_false(v.found.items[1].has_box);
    assert_int_equal(v.found.items[1].class_id, -1);
    assert_int_equal(spent(f, "2026-11-25T12:00:00Z").day, 2); /* as billed */
    assert_false(knows(f, 'b', "2026-11-26T10:00:00Z", &week));
}

static void answers_are_bounded_by_age_and_count(void **state)
{
    struct fixture *f = *state;
    static const struct cloud_bounds three = {.age_ms = 7 * 24 * HOUR_MS, .count = 3};
    static const struct cloud_bounds none = {.age_ms = 0, .count = 3};
    static const struct cloud_bounds hour = {.age_ms = HOUR_MS, .count = 3};
    for (char c = 'a'; c <= 'e'; c++)
        put(f, c, "2026-11-25T10:00:00Z", 1, &three);
    assert_false(knows(f, 'b', "2026-11-25T11:00:00Z", &three));
    for (char c = 'c'; c <= 'e'; c++)
        assert_true(knows(f, c, "2026-11-25T11:00:00Z", &three));
    assert_false(knows(f, 'e', "2026-11-25T11:00:01Z", &hour));
    assert_false(knows(f, 'e', "2026-12-02T10:00:01Z", &three));
    assert_true(knows(f, 'e', "2026-11-24T10:00:00Z", &three)); /* the clock was set back */
    assert_false(knows(f, 'e', "2026-11-25T10:00:00Z", &none));
    put(f, 'f', "2026-11-25T10:00:00Z", 1, &none);
    assert_false(knows(f, 'f', "2026-11-25T10:00:00Z", &week));
    put(f, 'g', "2027-01-01T10:00:00Z", 1, &three); /* all others are too old by then */
    assert_false(knows(f, 'e', "2026-11-25T11:00:00Z", &week));
}

static void a_newer_answer_replaces_the_one_of_the_same_key(void **state)
{
    struct fixture *f = *state;
    put(f, 'a', "2026-11-01T10:00:00Z", 1, &week);
    put(f, 'a', "2026-11-25T10:00:00Z", 1, &week);
    assert_true(knows(f, 'a', "2026-11-26T10:00:00Z", &week));
    assert_sound(f);
}

static void an_answer_that_is_none_is_damage(void **state)
{
    struct fixture *f = *state;
    static const char *const cases[] = {
        "nonsense", "{}", "[[\"a\"]]", "[[1, 2]]", "[[\"a\",\"b\"]]", "[[\"a\",1,2]]", "[5]"};
    put(f, 'a', "2026-11-25T10:00:00Z", 1, &week);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(db) db = NULL;
        assert_int_equal(db_open(f->db, false, &db, &f->e), 0);
        {
            AUTO(db_query) q = db_query(db, "UPDATE cloud_answers SET found = ?");
            db_bind_text(q, cases[i]);
            assert_int_equal(db_run(q, &f->e), 0);
        }
        struct verdict v = {0};
        if (get(f, 'a', "2026-11-25T10:00:00Z", &week, &v) != -EUCLEAN)
            fail_msg("%s", cases[i]);
        assert_null(v.found.items);
    }
}

static void a_look_from_outside_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct cloud_spent s;
    char absent[200];
    (void)snprintf(absent, sizeof(absent), "%s/absent.db", f->folder);
    assert_int_equal(ledger_cloud_peek(absent, at("2026-11-25T10:00:00Z"), &s, &f->e), -ENOENT);
    assert_int_equal(access(absent, F_OK), -1);
    assert_int_equal(reserve(f, 0, 0, "2026-11-25T10:00:00Z"), 0);
    assert_int_equal(ledger_cloud_peek(f->db, at("2026-11-25T10:00:00Z"), &s, &f->e), 0);
    assert_int_equal(s.day, 1);
    fixture_close(f);
    assert_int_equal(ledger_cloud_peek(f->db, at("2026-11-26T10:00:00Z"), &s, &f->e), 0);
    assert_int_equal(s.day, 0);
    assert_int_equal(s.month, 1);
}

static void a_rescued_ledger_remembers_what_was_spent(void **state)
{
    struct fixture *f = *state;
    put(f, 'a', "2026-11-25T10:00:00Z", 1, &week);
    fixture_close(f);
    char rescued[200];
    struct ledger_rescue did;
    (void)snprintf(rescued, sizeof(rescued), "%s/rescued.db", f->folder);
    assert_int_equal(ledger_rescue(f->db, rescued, &did, &f->e), 0);
    (void)text_copy(f->db, sizeof(f->db), rescued);
    fixture_open(f);
    assert_int_equal(spent(f, "2026-11-25T10:00:00Z").day, 1);
    assert_true(knows(f, 'a', "2026-11-25T10:00:00Z", &week));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_days_and_months_of_utc),
        TEST(a_day_has_its_calls_and_the_next_one_its_own),
        TEST(a_month_has_its_calls_over_all_its_days),
        TEST(the_budget_holds_over_a_restart_and_a_clock_that_is_set_back),
        TEST(a_call_that_was_not_billed_is_given_back),
        TEST(give_back_counts_for_the_day_of_the_call),
        TEST(an_answer_comes_back_as_it_was_for_nothing),
        TEST(answers_are_bounded_by_age_and_count),
        TEST(a_newer_answer_replaces_the_one_of_the_same_key),
        TEST(an_answer_that_is_none_is_damage),
        TEST(a_look_from_outside_changes_nothing),
        TEST(a_rescued_ledger_remembers_what_was_spent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
