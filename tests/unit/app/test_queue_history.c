/* What the chart of the queues is drawn from. */

#include "../test.h"

#include "app/queue_history.h"

#define SPAN_US (INT64_C(1000000) * QUEUE_SPAN_S)
#define BEGIN_US (INT64_C(5900000) * SPAN_US)

static void note(struct queue_history *h, int64_t at_us, int64_t fetch, int64_t detect)
{
    queue_history_note(h, (struct wall_time){at_us},
                       (int64_t[QUEUE_COUNT]){[QUEUE_FETCH] = fetch, [QUEUE_DETECT] = detect});
}

static int64_t of_span(json_t *history, size_t i, const char *queue)
{
    json_t *span = json_array_get(json_object_get(history, "spans"), i);
    return json_integer_value(json_object_get(span, queue));
}

static size_t span_count(json_t *history)
{
    return json_array_size(json_object_get(history, "spans"));
}

static void a_span_keeps_the_most_of_each_queue(void **state)
{
    (void)state;
    struct queue_history h;
    queue_history_init(&h);
    note(&h, BEGIN_US, 1, 7);
    note(&h, BEGIN_US + SPAN_US - 1, 4, 2);
    note(&h, BEGIN_US + SPAN_US, 0, 1);
    json_t *j = queue_history_json(&h);
    assert_int_equal(span_count(j), 2);
    assert_int_equal(of_span(j, 0, "fetch"), 4);
    assert_int_equal(of_span(j, 0, "detect"), 7);
    assert_int_equal(of_span(j, 1, "detect"), 1);
    assert_int_equal(of_span(j, 1, "deliver"), 0);
    json_decref(j);
}

static void the_last_day_is_kept_oldest_first(void **state)
{
    (void)state;
    struct queue_history h;
    queue_history_init(&h);
    json_t *j = queue_history_json(&h);
    assert_int_equal(span_count(j), 0);
    json_decref(j);
    for (int i = 0; i < QUEUE_SPANS + 5; i++)
        note(&h, BEGIN_US + i * SPAN_US, i, 0);
    j = queue_history_json(&h);
    assert_int_equal(span_count(j), QUEUE_SPANS);
    assert_int_equal(of_span(j, 0, "fetch"), 5);
    assert_int_equal(of_span(j, QUEUE_SPANS - 1, "fetch"), QUEUE_SPANS + 4);
    json_decref(j);
}

static void a_clock_that_is_put_back_makes_no_span_twice(void **state)
{
    (void)state;
    struct queue_history h;
    queue_history_init(&h);
    note(&h, BEGIN_US + 3 * SPAN_US, 1, 0);
    note(&h, BEGIN_US, 9, 0);
    json_t *j = queue_history_json(&h);
    assert_int_equal(span_count(j), 1);
    assert_int_equal(of_span(j, 0, "fetch"), 9);
    json_decref(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_span_keeps_the_most_of_each_queue),
        cmocka_unit_test(the_last_day_is_kept_oldest_first),
        cmocka_unit_test(a_clock_that_is_put_back_makes_no_span_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
