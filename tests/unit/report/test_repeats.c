#include "../test.h"

#include "base/text.h"
#include "report/repeats.h"

#define INTERVAL 1000

static struct event_record record(const char *id, const char *text)
{
    struct event_record r = {.level = LOG_LEVEL_ERROR};
    text_copy(r.id, sizeof(r.id), id);
    text_copy(r.text, sizeof(r.text), text);
    return r;
}

static bool take(struct repeats *r, const char *id, const char *text, int64_t ms)
{
    struct event_record one = record(id, text);
    return repeats_take(r, &one, INTERVAL, (struct mono_time){ms * 1000});
}

static struct repeats *fresh(void)
{
    struct repeats *r = calloc(1, sizeof(*r));
    assert_non_null(r);
    return r;
}

static void the_first_goes_at_once_and_the_rest_is_counted(void **state UNUSED)
{
    AUTO_FREE struct repeats *r = fresh();
    struct event_record out;
    unsigned long long count = 0;
    struct mono_time next;
    assert_true(take(r, "a", "1", 0));
    assert_true(take(r, "b", "other", 1));
    assert_false(repeats_next(r, &next));
    assert_false(take(r, "a", "2", 10));
    assert_false(take(r, "a", "3", 999));
    assert_true(repeats_next(r, &next));
    assert_int_equal(next.us, INTERVAL * 1000);
    assert_false(repeats_due(r, INTERVAL, (struct mono_time){999000}, &out, &count));
    assert_true(repeats_due(r, INTERVAL, (struct mono_time){1000000}, &out, &count));
    assert_string_equal(out.id, "a");
    assert_string_equal(out.text, "3"); /* the newest */
    assert_int_equal(count, 2);
    /* It still goes on: counted until the next interval is over. */
    assert_false(take(r, "a", "4", 1500));
    assert_false(repeats_due(r, INTERVAL, (struct mono_time){1999000}, &out, &count));
    assert_true(repeats_due(r, INTERVAL, (struct mono_time){2000000}, &out, &count));
    assert_int_equal(count, 1);
    /* A quiet interval, and it is the first again. */
    assert_false(repeats_due(r, INTERVAL, (struct mono_time){3000000}, &out, &count));
    assert_int_equal(r->count, 0);
    assert_true(take(r, "a", "5", 3001));
}

static void nothing_held_is_lost_at_the_end(void **state UNUSED)
{
    AUTO_FREE struct repeats *r = fresh();
    struct event_record out;
    unsigned long long count = 0;
    assert_true(take(r, "a", "1", 0));
    assert_false(take(r, "a", "2", 1));
    assert_true(repeats_flush(r, &out, &count));
    assert_int_equal(count, 1);
    assert_false(repeats_flush(r, &out, &count));
}

static void more_ids_than_room_cost_the_oldest(void **state UNUSED)
{
    AUTO_FREE struct repeats *r = fresh();
    char id[16];
    assert_true(take(r, "first", "", 0));
    assert_false(take(r, "first", "", 0));
    for (int i = 0; i < REPEATS_MAX; i++) {
        text_format(id, sizeof(id), "id-%d", i);
        assert_true(take(r, id, "", 1 + i));
    }
    assert_int_equal(r->count, REPEATS_MAX);
    assert_int_equal(r->forgotten, 1);
    assert_true(take(r, "first", "", 500));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_goes_at_once_and_the_rest_is_counted),
        cmocka_unit_test(nothing_held_is_lost_at_the_end),
        cmocka_unit_test(more_ids_than_room_cost_the_oldest),
    };
    return RUN_TESTS(tests);
}
