#include "../test.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>

#include "base/clock.h"
#include "stage/thumbnail_wishes.h"

static int set_up(void **state)
{
    *state = thumbnail_wishes_new();
    return 0;
}

static int tear_down(void **state)
{
    thumbnail_wishes_free(*state);
    return blob_live_count() == 0 ? 0 : -1;
}

static const char *id_of(unsigned n)
{
    static char ids[4][SNAPSHOT_ID_SIZE];
    static unsigned next;
    char *id = ids[next++ % 4];
    (void)snprintf(id, SNAPSHOT_ID_SIZE, "%032x", n);
    return id;
}

static int ask(struct thumbnail_wishes *w, unsigned n, int width)
{
    struct blob *bytes = NULL;
    struct err e = {0};
    int r = thumbnail_wishes_ask(w, id_of(n), width, &bytes, &e);
    blob_unref(bytes);
    return r;
}

static void expect(struct thumbnail_wishes *w, bool offers, unsigned n, bool asked)
{
    struct thumbnail_wish wish = {0};
    if (!thumbnail_wishes_take(w, offers, &wish))
        CASE_FAILS("nothing to take instead of %u", n);
    test_expect_text("id", wish.id, id_of(n));
    assert_int_equal(wish.asked, asked);
}

static void those_that_somebody_waits_for_come_first_the_last_one_before_all(void **state)
{
    struct thumbnail_wishes *w = *state;
    struct thumbnail_wish wish;
    thumbnail_wishes_offer(w, id_of(1), 320);
    thumbnail_wishes_offer(w, id_of(2), 320);
    assert_int_equal(ask(w, 3, 320), -EAGAIN);
    assert_int_equal(ask(w, 4, 320), -EAGAIN);
    assert_int_equal(ask(w, 5, 960), -EAGAIN);
    assert_int_equal(ask(w, 3, 320), -EAGAIN); /* again, so it is the last one now */
    assert_int_equal(thumbnail_wishes_count(w, false), 3);
    assert_int_equal(thumbnail_wishes_count(w, true), 5);
    expect(w, true, 3, true);
    expect(w, true, 5, true);
    expect(w, true, 4, true);
    assert_false(thumbnail_wishes_take(w, false, &wish));
    expect(w, true, 2, false);
    expect(w, true, 1, false);
    assert_false(thumbnail_wishes_take(w, true, &wish));
}

static void of_too_many_new_pictures_the_oldest_are_forgotten(void **state)
{
    struct thumbnail_wishes *w = *state;
    struct thumbnail_wish wish;
    for (unsigned n = 0; n < THUMBNAIL_OFFERS_MAX + 10; n++)
        thumbnail_wishes_offer(w, id_of(n), 320);
    for (unsigned n = THUMBNAIL_OFFERS_MAX + 10; n-- > 10;)
        expect(w, true, n, false);
    assert_false(thumbnail_wishes_take(w, true, &wish));
}

static void one_that_is_being_made_is_not_taken_twice(void **state)
{
    struct thumbnail_wishes *w = *state;
    struct thumbnail_wish wish, other;
    assert_int_equal(ask(w, 1, 320), -EAGAIN);
    assert_true(thumbnail_wishes_take(w, true, &wish));
    assert_int_equal(ask(w, 1, 320), -EAGAIN);
    assert_false(thumbnail_wishes_take(w, true, &other));
    thumbnail_wishes_made(w, &wish, NULL);
    assert_int_equal(thumbnail_wishes_count(w, true), 0);
}

static void what_could_not_be_kept_goes_to_who_waits(void **state)
{
    struct thumbnail_wishes *w = *state;
    struct thumbnail_wish wish;
    struct blob *got = NULL;
    AUTO(blob) bytes = blob_new_copy("small", 5);
    assert_int_equal(ask(w, 1, 320), -EAGAIN);
    assert_true(thumbnail_wishes_take(w, true, &wish));
    thumbnail_wishes_made(w, &wish, bytes);
    assert_int_equal(thumbnail_wishes_ask(w, id_of(1), 320, &got, NULL), 0);
    assert_ptr_equal(got, bytes);
    blob_unref(got);
    assert_int_equal(ask(w, 1, 320), -EAGAIN); /* for the next it is made again */
    assert_true(thumbnail_wishes_take(w, true, &wish));
    thumbnail_wishes_made(w, &wish, bytes); /* nobody comes for it: freed at the end */
}

static struct mono_time now = {.us = 5000000};
static struct mono_time a_clock(void)
{
    return now;
}

static void why_it_cannot_be_made_is_remembered_for_a_while(void **state)
{
    struct thumbnail_wishes *w = *state;
    struct thumbnail_wish wish;
    struct blob *bytes = NULL;
    struct err why = {0}, e = {0};
    (void)err_set(&why, -EINVAL, ERR_NEVER, "not a picture");
    clock_set_mono_source(a_clock);
    assert_int_equal(ask(w, 1, 320), -EAGAIN);
    assert_true(thumbnail_wishes_take(w, true, &wish));
    thumbnail_wishes_failed(w, &wish, &why);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(thumbnail_wishes_ask(w, id_of(1), 320, &bytes, &e), -EINVAL);
        test_expect_text("why", e.text, "not a picture");
    }
    assert_false(thumbnail_wishes_take(w, true, &wish));
    assert_int_equal(ask(w, 1, 960), -EAGAIN);
    now = mono_add_ms(now, THUMBNAIL_FAILURE_MS);
    assert_int_equal(ask(w, 1, 320), -EAGAIN);
    clock_set_mono_source(NULL);
}

static void too_many_wishes_are_refused_and_old_outcomes_make_room(void **state)
{
    struct thumbnail_wishes *w = *state;
    struct thumbnail_wish wish;
    struct err why = {0};
    (void)err_set(&why, -EINVAL, ERR_NEVER, "not a picture");
    for (unsigned n = 0; n < THUMBNAIL_ASKED_MAX; n++)
        assert_int_equal(ask(w, n, 320), -EAGAIN);
    assert_int_equal(ask(w, 1000, 320), -EBUSY);
    assert_true(thumbnail_wishes_take(w, true, &wish));
    assert_int_equal(ask(w, 1000, 320), -EBUSY); /* it is being made */
    thumbnail_wishes_failed(w, &wish, &why);
    assert_int_equal(ask(w, 1000, 320), -EAGAIN);
    assert_int_equal(ask(w, 1001, 320), -EBUSY);
}

/* ---- threads ---- */

#define ROUNDS 2000

static void *make_all(void *arg)
{
    struct thumbnail_wishes *w = arg;
    struct err why = {0};
    struct blob *bytes = blob_new_copy("small", 5);
    (void)err_set(&why, -EINVAL, ERR_NEVER, "not a picture");
    for (int done = 0; done < ROUNDS;) {
        struct thumbnail_wish wish;
        if (!thumbnail_wishes_take(w, true, &wish)) {
            (void)sched_yield();
            continue;
        }
        if (!wish.asked)
            continue;
        if (done++ % 3 == 0)
            thumbnail_wishes_failed(w, &wish, &why);
        else
            thumbnail_wishes_made(w, &wish, bytes);
    }
    blob_unref(bytes);
    return NULL;
}

static void each_who_asks_gets_an_answer_while_others_offer(void **state)
{
    struct thumbnail_wishes *w = *state;
    pthread_t maker;
    int made = 0, failed = 0;
    assert_int_equal(pthread_create(&maker, NULL, make_all, w), 0);
    for (unsigned n = 0; n < ROUNDS; n++) {
        int r;
        thumbnail_wishes_offer(w, id_of(n), 320);
        while ((r = ask(w, n, 320)) == -EAGAIN)
            (void)sched_yield();
        made += r == 0;
        failed += r == -EINVAL;
    }
    assert_int_equal(pthread_join(maker, NULL), 0);
    assert_int_equal(made + failed, ROUNDS);
    assert_int_equal(failed, (ROUNDS + 2) / 3);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(those_that_somebody_waits_for_come_first_the_last_one_before_all),
        CASE(of_too_many_new_pictures_the_oldest_are_forgotten),
        CASE(one_that_is_being_made_is_not_taken_twice),
        CASE(what_could_not_be_kept_goes_to_who_waits),
        CASE(why_it_cannot_be_made_is_remembered_for_a_while),
        CASE(too_many_wishes_are_refused_and_old_outcomes_make_room),
        CASE(each_who_asks_gets_an_answer_while_others_offer),
    };
    return RUN_TESTS(tests);
}
