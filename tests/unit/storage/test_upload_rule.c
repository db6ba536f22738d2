/* Which files a storage gets: the rule as a table. */

#include "../test.h"

#include "base/text.h"
#include "storage/upload_rule.h"

static const char *const no_names[] = {NULL};
static const char *const dogs[] = {"dog", "Cat", NULL};
static const char *const porch[] = {"porch", NULL};

static const struct {
    const char *story;
    struct upload_rule rule;
    enum snapshot_source source;
    const char *label; /* what is on it, NULL = nothing */
    bool has_copy;
    struct upload_choice wanted;
} cases[] = {
    {"persons: a person, with copy",
     {.what = UPLOAD_PERSONS, .annotated = true},
     SNAPSHOT_FETCHED,
     "person",
     true,
     {true, true}},
    {"persons: in any case",
     {.what = UPLOAD_PERSONS, .annotated = true},
     SNAPSHOT_FETCHED,
     "Person",
     true,
     {true, true}},
    {"persons: no copy was promised",
     {.what = UPLOAD_PERSONS, .annotated = true},
     SNAPSHOT_FETCHED,
     "person",
     false,
     {true, false}},
    {"persons: copies are not wanted",
     {.what = UPLOAD_PERSONS},
     SNAPSHOT_FETCHED,
     "person",
     true,
     {true, false}},
    {"persons: a dog",
     {.what = UPLOAD_PERSONS, .annotated = true},
     SNAPSHOT_FETCHED,
     "dog",
     false,
     {false, false}},
    {"persons: nothing", {.what = UPLOAD_PERSONS}, SNAPSHOT_FETCHED, NULL, false, {false, false}},
    {"persons: nothing, but pushed",
     {.what = UPLOAD_PERSONS, .annotated = true},
     SNAPSHOT_PUSHED,
     NULL,
     false,
     {true, false}},
    {"persons: a person that was pushed",
     {.what = UPLOAD_PERSONS, .annotated = true},
     SNAPSHOT_PUSHED,
     "person",
     true,
     {true, true}},
    {"detections: a dog",
     {.what = UPLOAD_DETECTIONS},
     SNAPSHOT_FETCHED,
     "dog",
     false,
     {true, false}},
    {"detections: nothing",
     {.what = UPLOAD_DETECTIONS},
     SNAPSHOT_PUSHED,
     NULL,
     false,
     {false, false}},
    {"all: nothing", {.what = UPLOAD_ALL}, SNAPSHOT_FETCHED, NULL, false, {true, false}},
    {"pushed: fetched", {.what = UPLOAD_PUSHED}, SNAPSHOT_FETCHED, "person", true, {false, false}},
    {"pushed: pushed", {.what = UPLOAD_PUSHED}, SNAPSHOT_PUSHED, NULL, false, {true, false}},
    {"labels: one of them",
     {.what = UPLOAD_ALL, .labels = dogs},
     SNAPSHOT_FETCHED,
     "cat",
     false,
     {true, false}},
    {"labels: another",
     {.what = UPLOAD_ALL, .labels = dogs},
     SNAPSHOT_FETCHED,
     "car",
     false,
     {false, false}},
    {"labels: an empty list is any",
     {.what = UPLOAD_ALL, .labels = no_names},
     SNAPSHOT_FETCHED,
     NULL,
     false,
     {true, false}},
    {"labels narrow what is pushed, too",
     {.what = UPLOAD_PERSONS, .labels = dogs},
     SNAPSHOT_PUSHED,
     NULL,
     false,
     {false, false}},
    {"cameras: this one",
     {.what = UPLOAD_ALL, .cameras = porch},
     SNAPSHOT_FETCHED,
     NULL,
     false,
     {true, false}},
    {"cameras: an empty list is all",
     {.what = UPLOAD_ALL, .cameras = no_names},
     SNAPSHOT_FETCHED,
     NULL,
     false,
     {true, false}},
};

static void follows_the_table(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct snapshot *s = snapshot_new();
        struct detection found = {.confidence = 0.9f};
        struct verdict v = {.outcome = VERDICT_EXAMINED};
        text_copy(s->camera, sizeof(s->camera), "porch");
        s->source = cases[i].source;
        if (cases[i].label) {
            text_copy(found.label, sizeof(found.label), cases[i].label);
            v.found = (struct detection_list){&found, 1};
        }
        struct upload_choice c = upload_rule_choose(&cases[i].rule, s, &v, cases[i].has_copy);
        if (c.picture != cases[i].wanted.picture || c.annotated != cases[i].wanted.annotated)
            CASE_FAILS("%s", cases[i].story);
        snapshot_unref(s);
    }
}

static void leaves_other_cameras_alone(void **state UNUSED)
{
    struct snapshot *s = snapshot_new();
    struct verdict v = {.outcome = VERDICT_SKIPPED};
    struct upload_rule r = {.what = UPLOAD_ALL, .cameras = porch};
    text_copy(s->camera, sizeof(s->camera), "porch2");
    assert_false(upload_rule_choose(&r, s, &v, false).picture);
    snapshot_unref(s);
}

static void names_every_rule(void **state UNUSED)
{
    for (int i = 0; i < UPLOAD_WHAT_COUNT; i++)
        assert_non_null(upload_what_names[i]);
    assert_null(upload_what_names[UPLOAD_WHAT_COUNT]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follows_the_table),
        cmocka_unit_test(leaves_other_cameras_alone),
        cmocka_unit_test(names_every_rule),
    };
    return RUN_TESTS(tests);
}
