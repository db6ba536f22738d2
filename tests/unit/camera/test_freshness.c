/* Which pictures are told to be stale, as a table of histories. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/macros.h"
#include "camera/freshness.h"

#define NOW 1767323045LL
#define NONE (-1)

struct picture {
    int64_t now_s;
    uint64_t digest;
    int64_t date_s, modified_s, taken_s;
    enum camera_freshness expected;
};

struct history {
    const char *name;
    struct picture pictures[3];
};

static const struct history histories[] = {
    {"new pictures",
     {{NOW, 1, NONE, NONE, 0, CAMERA_FRESH},
      {NOW + 10, 2, NONE, NONE, 0, CAMERA_FRESH},
      {NOW + 20, 3, NONE, NONE, 0, CAMERA_FRESH}}},
    {"one that hangs and comes back",
     {{NOW, 1, NONE, NONE, 0, CAMERA_FRESH},
      {NOW + 10, 1, NONE, NONE, 0, CAMERA_STALE_UNCHANGED},
      {NOW + 20, 2, NONE, NONE, 0, CAMERA_FRESH}}},
    {"modified long before its answer",
     {{NOW, 1, NOW, NOW - 600, 0, CAMERA_STALE_OLD},
      {NOW + 10, 2, NOW + 10, NOW + 5, 0, CAMERA_FRESH},
      {NOW + 20, 3, NOW + 20, NOW - 90, 0, CAMERA_STALE_OLD}}},
    {"modified, by a camera without a clock",
     {{NOW, 1, NONE, NOW - 600, 0, CAMERA_STALE_OLD},
      {NOW + 9, 2, NONE, NOW + 1, 0, CAMERA_FRESH},
      {NOW + 20, 3, NONE, 86400, 0, CAMERA_FRESH}}},
    {"a clock that is years wrong",
     {{NOW, 1, NOW - 90000000, NOW - 90000000, 0, CAMERA_FRESH},
      {NOW + 60, 2, NOW - 90000000 + 60, NONE, 0, CAMERA_FRESH},
      {NOW + 99, 3, NOW - 90000000 + 98, NONE, 0, CAMERA_FRESH}}},
    {"a header that says when the camera was switched on",
     {{NOW, 1, NOW, NOW - 9000, 0, CAMERA_STALE_OLD},
      {NOW + 10, 2, NOW + 10, NOW - 9000, 0, CAMERA_FRESH},
      {NOW + 20, 3, NOW + 20, NOW - 9000, 0, CAMERA_FRESH}}},
    {"an answer out of a cache",
     {{NOW, 1, NOW, NONE, 0, CAMERA_FRESH},
      {NOW + 300, 2, NOW + 100, NONE, 0, CAMERA_STALE_OLD},
      {NOW + 310, 3, NOW + 310, NONE, 0, CAMERA_FRESH}}},
    {"a picture of before, by itself",
     {{NOW, 1, NONE, NONE, NOW + 7200, CAMERA_FRESH},
      {NOW + 300, 2, NONE, NONE, NOW + 7201, CAMERA_STALE_OLD},
      {NOW + 310, 3, NONE, NONE, NOW + 7510, CAMERA_FRESH}}},
    {"a clock that was never set",
     {{NOW, 1, 60, 60, 60, CAMERA_FRESH},
      {NOW + 300, 2, 61, 61, 61, CAMERA_FRESH},
      {NOW + 600, 3, 62, 62, 62, CAMERA_FRESH}}},
};

static void histories_are_judged_as_the_table_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(histories); i++) {
        struct freshness f = {0};
        for (size_t k = 0; k < ARRAY_LEN(histories[i].pictures); k++) {
            const struct picture *p = &histories[i].pictures[k];
            const struct freshness_signs signs = {
                .now = wall_from_seconds(p->now_s),
                .digest = p->digest,
                .date_s = p->date_s,
                .last_modified_s = p->modified_s,
                .taken_s = p->taken_s,
            };
            enum camera_freshness got = freshness_judge(&f, &signs);
            if (got != p->expected)
                fail_msg("%s, picture %zu: %s", histories[i].name, k + 1,
                         camera_freshness_names[got]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(histories_are_judged_as_the_table_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
