#include "../test.h"

#include <errno.h>

#include "base/dynbuf.h"
#include "base/mem.h"

static void grows_and_stays_terminated(void **state UNUSED)
{
    AUTO_DONE(dynbuf) b = {0};
    dynbuf_init(&b, 100000);
    assert_string_equal(dynbuf_str(&b), "");
    for (int i = 0; i < 10000; i++)
        assert_int_equal(dynbuf_append(&b, "abcdefgh", 8), 0);
    assert_int_equal(b.len, 80000);
    assert_int_equal(strlen(dynbuf_str(&b)), 80000);
    assert_int_equal(dynbuf_printf(&b, "%05d", 42), 0);
    assert_string_equal(dynbuf_str(&b) + 80000, "00042");
}

static void stops_at_its_maximum_exactly(void **state UNUSED)
{
    AUTO_DONE(dynbuf) b = {0};
    dynbuf_init(&b, 10);
    assert_int_equal(dynbuf_puts(&b, "0123456789"), 0);
    assert_int_equal(dynbuf_puts(&b, ""), 0);
    assert_int_equal(dynbuf_puts(&b, "x"), -ENOSPC);
    assert_true(b.failed);
    assert_string_equal(dynbuf_str(&b), "0123456789");
}

static void keeps_what_it_had_and_stays_failed(void **state UNUSED)
{
    AUTO_DONE(dynbuf) b = {0};
    dynbuf_init(&b, 5);
    assert_int_equal(dynbuf_puts(&b, "abc"), 0);
    assert_int_equal(dynbuf_printf(&b, "%s", "defg"), -ENOSPC);
    assert_int_equal(dynbuf_puts(&b, "d"), -ENOSPC); /* it would fit, but the chain is broken */
    assert_string_equal(dynbuf_str(&b), "abc");
    dynbuf_reset(&b);
    assert_false(b.failed);
    assert_string_equal(dynbuf_str(&b), "");
    assert_int_equal(dynbuf_puts(&b, "12345"), 0);
}

static void survives_a_failed_allocation(void **state UNUSED)
{
    AUTO_DONE(dynbuf) b = {0};
    dynbuf_init(&b, 10000);
    assert_int_equal(dynbuf_puts(&b, "abc"), 0);
    char longer[1000];
    memset(longer, 'x', sizeof(longer));
    mem_fail_at(1);
    assert_int_equal(dynbuf_append(&b, longer, sizeof(longer)), -ENOMEM);
    mem_fail_at(0);
    assert_true(b.failed);
    assert_string_equal(dynbuf_str(&b), "abc");
}

static void hands_its_bytes_over(void **state UNUSED)
{
    AUTO_DONE(dynbuf) b = {0};
    dynbuf_init(&b, 100);
    size_t len = 99;
    assert_null(dynbuf_steal(&b, &len));
    assert_int_equal(len, 0);
    assert_int_equal(dynbuf_append(&b, "a\0b", 3), 0);
    AUTO_FREE char *bytes = dynbuf_steal(&b, &len);
    assert_int_equal(len, 3);
    assert_memory_equal(bytes, "a\0b", 4);
    assert_int_equal(b.len, 0);
    assert_int_equal(dynbuf_puts(&b, "again"), 0);
}

static void holds_nothing_when_it_may_hold_nothing(void **state UNUSED)
{
    AUTO_DONE(dynbuf) b = {0};
    dynbuf_init(&b, 0);
    assert_int_equal(dynbuf_append(&b, NULL, 0), 0);
    assert_int_equal(dynbuf_puts(&b, "x"), -ENOSPC);
    assert_string_equal(dynbuf_str(&b), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_and_stays_terminated),
        cmocka_unit_test(stops_at_its_maximum_exactly),
        cmocka_unit_test(keeps_what_it_had_and_stays_failed),
        cmocka_unit_test(survives_a_failed_allocation),
        cmocka_unit_test(hands_its_bytes_over),
        cmocka_unit_test(holds_nothing_when_it_may_hold_nothing),
    };
    return RUN_TESTS(tests);
}
