#include "../test.h"

#include "report/limits.h"

static void reads_what_the_answer_asks_for(void **state UNUSED)
{
    static const struct {
        long status;
        const char *header;
        int64_t retry_after_s, wanted_s;
    } cases[] = {
        {200, NULL, -1, 0},
        {200, "", -1, 0},
        {200, "60:error:key", -1, 60},
        {200, "60::organization", -1, 60},
        {200, "60", -1, 60},
        {200, "60:transaction:key", -1, 0},
        {200, "60:transaction;error:key", -1, 60},
        {200, "60:errors:key", -1, 0},
        {200, "60:transaction:key, 2700:default;error;security:organization", -1, 2700},
        {200, " 10:error:key:reason:names , 5::key", -1, 10},
        {200, "2.5:error:key", -1, 3},
        {200, "0:error:key", -1, 0},
        {200, "-5:error:key", -1, 0},
        {200, "soon:error:key", -1, 0},
        {200, "nan:error:key", -1, 0},
        {200, "99999999:error:key", -1, LIMITS_SECONDS_MAX},
        {200, NULL, 60, 0}, /* without 429 it says nothing about us */
        {429, NULL, -1, LIMITS_SECONDS_DEFAULT},
        {429, NULL, 7, 7},
        {429, NULL, 0, 1},
        {429, NULL, 1000000, LIMITS_SECONDS_MAX},
        {429, "30:error:key", 7, 30},
        {429, "30:transaction:key", 7, LIMITS_SECONDS_DEFAULT},
        {429, "::::;;;,,,", -1, LIMITS_SECONDS_DEFAULT},
        {503, "30::key", -1, 30},
        {500, NULL, -1, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t got = limits_pause_s(cases[i].status, cases[i].header, cases[i].retry_after_s);
        if (got != cases[i].wanted_s)
            CASE_FAILS("%ld \"%s\": %lld s", cases[i].status,
                       cases[i].header ? cases[i].header : "(none)", (long long)got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(reads_what_the_answer_asks_for)};
    return RUN_TESTS(tests);
}
