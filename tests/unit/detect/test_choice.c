/* Who looks at pictures: all combinations of plan and flags that mean something. */
#include "../test.h"

#include "detect/choice.h"

#define YES                                                                                        \
    {                                                                                              \
        true, true                                                                                 \
    }
#define NO                                                                                         \
    {                                                                                              \
        false, true                                                                                \
    }
#define BY_DEFAULT_YES                                                                             \
    {                                                                                              \
        true, false                                                                                \
    }
#define BY_DEFAULT_NO                                                                              \
    {                                                                                              \
        false, false                                                                               \
    }

static void the_plan_and_the_flags_decide(void **state UNUSED)
{
    static const struct {
        struct choice_facts facts;
        enum detect_mode mode;
        const char *why; /* a part of it */
    } cases[] = {
        /* The predecessor's rule. */
        {{true, PLAN_AUTO, BY_DEFAULT_YES, BY_DEFAULT_YES, BY_DEFAULT_NO},
         DETECT_LOCAL,
         "FEATURE_FLAG_LOCAL_OBJECT_DETECTION is true by default"},
        {{true, PLAN_AUTO, YES, YES, NO},
         DETECT_LOCAL,
         "FEATURE_FLAG_LOCAL_OBJECT_DETECTION is true"},
        {{true, PLAN_AUTO, YES, YES, YES}, DETECT_LOCAL, "FEATURE_FLAG_LOCAL"},
        {{true, PLAN_AUTO, YES, NO, YES},
         DETECT_CLOUD,
         "FEATURE_FLAG_LOCAL_OBJECT_DETECTION is false and FEATURE_FLAG_CLOUD_OBJECT_DETECTION is "
         "true"},
        {{true, PLAN_AUTO, YES, NO, NO}, DETECT_NONE, "and so is FEATURE_FLAG_CLOUD"},
        {{true, PLAN_AUTO, YES, NO, BY_DEFAULT_NO}, DETECT_NONE, "FEATURE_FLAG_LOCAL"},
        /* What stands above. */
        {{false, PLAN_AUTO, YES, YES, YES}, DETECT_NONE, "OBJECT_DETECTION_ENABLED"},
        {{false, PLAN_CASCADE, YES, YES, YES}, DETECT_NONE, "[detection] enabled"},
        {{true, PLAN_AUTO, NO, YES, YES}, DETECT_NONE, "FEATURE_FLAG_OBJECT_DETECTION is false"},
        {{true, PLAN_CASCADE, NO, YES, YES}, DETECT_NONE, "FEATURE_FLAG_OBJECT_DETECTION is false"},
        /* Plans that are named. */
        {{true, PLAN_LOCAL, YES, BY_DEFAULT_YES, YES},
         DETECT_LOCAL,
         "[detection] detector is local"},
        {{true, PLAN_LOCAL, YES, NO, YES},
         DETECT_NONE,
         "detector is local, but FEATURE_FLAG_LOCAL_OBJECT_DETECTION is false"},
        {{true, PLAN_CLOUD, YES, YES, BY_DEFAULT_NO},
         DETECT_CLOUD,
         "[detection] detector is cloud"},
        {{true, PLAN_CLOUD, YES, NO, YES}, DETECT_CLOUD, "[detection] detector is cloud"},
        {{true, PLAN_CLOUD, YES, YES, NO},
         DETECT_NONE,
         "detector is cloud, but FEATURE_FLAG_CLOUD_OBJECT_DETECTION is false"},
        {{true, PLAN_CASCADE, YES, BY_DEFAULT_YES, BY_DEFAULT_NO},
         DETECT_CASCADE,
         "[detection] detector is cascade"},
        {{true, PLAN_CASCADE, YES, YES, YES}, DETECT_CASCADE, "[detection] detector is cascade"},
        {{true, PLAN_CASCADE, YES, YES, NO},
         DETECT_LOCAL,
         "detector is cascade, but FEATURE_FLAG_CLOUD_OBJECT_DETECTION is false"},
        {{true, PLAN_CASCADE, YES, NO, BY_DEFAULT_NO},
         DETECT_CLOUD,
         "detector is cascade, but FEATURE_FLAG_LOCAL_OBJECT_DETECTION is false"},
        {{true, PLAN_CASCADE, YES, NO, NO},
         DETECT_NONE,
         "but FEATURE_FLAG_LOCAL_OBJECT_DETECTION and FEATURE_FLAG_CLOUD_OBJECT_DETECTION are "
         "false"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char why[CHOICE_WHY_MAX] = "";
        enum detect_mode mode = detect_choose(&cases[i].facts, why);
        if (mode != cases[i].mode || !strstr(why, cases[i].why))
            CASE_FAILS("%zu: %s because %s", i, detect_mode_names[mode], why);
    }
}

static void names_are_there(void **state UNUSED)
{
    for (int i = 0; i < DETECT_MODE_COUNT; i++)
        assert_non_null(detect_mode_names[i]);
    for (int i = 0; i < PLAN_COUNT; i++)
        assert_non_null(detect_plan_names[i]);
    assert_null(detect_plan_names[PLAN_COUNT]);
}

static void modes_know_their_detectors(void **state UNUSED)
{
    static const bool local[] = {false, true, false, true}, cloud[] = {false, false, true, true};
    for (int i = 0; i < DETECT_MODE_COUNT; i++) {
        assert_int_equal(detect_mode_has_local((enum detect_mode)i), local[i]);
        assert_int_equal(detect_mode_has_cloud((enum detect_mode)i), cloud[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_plan_and_the_flags_decide),
        cmocka_unit_test(names_are_there),
        cmocka_unit_test(modes_know_their_detectors),
    };
    return RUN_TESTS(tests);
}
