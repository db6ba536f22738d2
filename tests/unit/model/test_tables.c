#include "../test.h"

#include "model/camera.h"
#include "model/snapshot.h"
#include "model/trigger.h"
#include "model/verdict.h"

/* These names are in databases, files and answers of others: a change here breaks them. */
static void every_name_table_is_full_and_stable(void **state UNUSED)
{
    static const struct {
        const char *const *names;
        size_t count;
        const char *joined;
    } tables[] = {
        {camera_auth_names, CAMERA_AUTH_COUNT, "auto none basic digest "},
        {snapshot_source_names, SNAPSHOT_SOURCE_COUNT, "fetched pushed "},
        {snapshot_state_names, SNAPSHOT_STATE_COUNT, "stored examined "},
        {trigger_origin_names, TRIGGER_ORIGIN_COUNT, "api schedule amqp "},
        {trigger_state_names, TRIGGER_STATE_COUNT, "pending done failed "},
        {verdict_outcome_names, VERDICT_OUTCOME_COUNT, "examined skipped failed "},
    };
    for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
        char joined[200] = "";
        for (size_t n = 0; n < tables[i].count; n++) {
            assert_non_null(tables[i].names[n]);
            (void)snprintf(joined + strlen(joined), sizeof(joined) - strlen(joined), "%s ",
                           tables[i].names[n]);
        }
        assert_string_equal(joined, tables[i].joined);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_name_table_is_full_and_stable),
    };
    return RUN_TESTS(tests);
}
