/* Doubts about local answers, and what becomes of two answers. */
#include "../test.h"

#include "base/mem.h"
#include "base/text.h"
#include "detect/cascade.h"

struct seen {
    const char *label;
    float score;
    bool boxed;
};

/* A verdict of these, ended by one without a label. */
static struct verdict verdict_of(const char *model, float person_best, const struct seen *seen)
{
    struct verdict v = {.outcome = VERDICT_EXAMINED, .person_best = person_best, .infer_ms = 10};
    text_copy(v.model, sizeof(v.model), model);
    v.found.items = xcalloc(16, sizeof(*v.found.items));
    for (; seen && seen->label; seen++) {
        struct detection *d = &v.found.items[v.found.count++];
        *d = (struct detection){.confidence = seen->score, .has_box = seen->boxed};
        text_copy(d->label, sizeof(d->label), seen->label);
    }
    return v;
}

static void tells_doubt_from_certainty(void **state UNUSED)
{
    static const char *const pets[] = {"Dog", "cat", NULL};
    const struct cascade_rule window = {.low = 0.2, .high = 0.6};
    const struct cascade_rule listed = {.low = 1, .high = 0, .labels = pets};
    const struct cascade_rule empty = {.low = 0.2, .high = 0.6, .empty = true};
    const struct cascade_rule all = {.low = 0.2, .high = 0.6, .labels = pets, .empty = true};
    const struct {
        const struct cascade_rule *rule;
        float best;
        struct seen seen[3];
        unsigned doubts;
    } cases[] = {
        {&window, 0, {{0}}, 0},
        {&window, 0.19f, {{0}}, 0},
        {&window, 0.2f, {{0}}, DOUBT_PERSON},
        {&window, 0.25f, {{0}}, DOUBT_PERSON}, /* under the model's own threshold */
        {&window, 0.59f, {{"person", 0.59f, true}}, DOUBT_PERSON},
        {&window, 0.61f, {{"person", 0.61f, true}}, 0},
        {&window, 0.9f, {{"person", 0.9f, true}, {"person", 0.3f, true}}, 0}, /* one is certain */
        {&window, 0, {{"dog", 0.9f, true}}, 0},
        {&listed, 0, {{"dog", 0.9f, true}}, DOUBT_LABEL},
        {&listed, 0.4f, {{"person", 0.4f, true}}, 0}, /* no window */
        {&listed, 0, {{"car", 0.9f, true}, {"CAT", 0.3f, true}}, DOUBT_LABEL},
        {&empty, 0, {{0}}, DOUBT_EMPTY},
        {&empty, 0.3f, {{0}}, DOUBT_EMPTY | DOUBT_PERSON},
        {&empty, 0, {{"car", 0.9f, true}}, 0},
        {&all, 0.5f, {{"person", 0.5f, true}, {"dog", 0.5f, true}}, DOUBT_PERSON | DOUBT_LABEL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO_DONE(verdict) v = verdict_of("m", cases[i].best, cases[i].seen);
        unsigned doubts = cascade_doubts(cases[i].rule, &v);
        if (doubts != cases[i].doubts)
            CASE_FAILS("%zu: %u", i, doubts);
    }
}

static void the_edge_of_the_window_is_the_scores_own(void **state UNUSED)
{
    const struct cascade_rule exact = {.low = 0.25, .high = 0.5}; /* what floats hold exactly */
    static const struct {
        float best;
        unsigned doubts;
    } cases[] = {{0.2499f, 0}, {0.25f, DOUBT_PERSON}, {0.4999f, DOUBT_PERSON}, {0.5f, 0}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO_DONE(verdict) v = verdict_of("m", cases[i].best, NULL);
        assert_int_equal(cascade_doubts(&exact, &v), cases[i].doubts);
    }
}

static void a_local_detector_that_failed_is_a_doubt(void **state UNUSED)
{
    const struct cascade_rule none = {.low = 1, .high = 0};
    AUTO_DONE(verdict) failed = {.outcome = VERDICT_FAILED};
    AUTO_DONE(verdict) cloud = verdict_of("rek", 0, (struct seen[]){{"person", 0.9f, true}, {0}});
    assert_int_equal(cascade_doubts(&none, &failed), DOUBT_FAILED);
    cascade_join(&none, DOUBT_FAILED, &failed, &cloud);
    assert_int_equal(cloud.found.count, 1);
    assert_string_equal(cloud.model, "rek");
}

/* "person 0.90 box, car 0.50" */
static void print(const struct detection_list *l, char *buf, size_t size)
{
    size_t n = 0;
    buf[0] = '\0';
    for (size_t i = 0; i < l->count; i++)
        n += (size_t)snprintf(buf + n, size - n, "%s%s %.2f%s", i ? ", " : "", l->items[i].label,
                              (double)l->items[i].confidence, l->items[i].has_box ? " box" : "");
}

static void the_cloud_decides_about_what_was_in_doubt_and_adds_the_rest(void **state UNUSED)
{
    static const char *const pets[] = {"dog", NULL};
    const struct cascade_rule rule = {.low = 0.2, .high = 0.6, .labels = pets};
    static const struct {
        unsigned doubts;
        struct seen local[4], cloud[4];
        const char *joined;
    } cases[] = {
        /* A person that is none, */
        {DOUBT_PERSON, {{"person", 0.4f, true}}, {{"tree", 0.9f, false}}, "tree 0.90"},
        /* one that is, where the local one saw none that counts, */
        {DOUBT_PERSON, {{0}}, {{"person", 0.9f, true}}, "person 0.90 box"},
        /* and two instead of one. */
        {DOUBT_PERSON,
         {{"person", 0.4f, true}},
         {{"Person", 0.9f, true}, {"person", 0.8f, true}},
         "Person 0.90 box, person 0.80 box"},
        /* Other labels: the local ones stay with their boxes, new ones are added. */
        {DOUBT_PERSON,
         {{"car", 0.7f, true}, {"person", 0.4f, true}},
         {{"car", 0.99f, false}, {"person", 0.9f, true}, {"night", 0.6f, false}},
         "person 0.90 box, car 0.70 box, night 0.60"},
        /* A listed label is the cloud's, a certain person is not. */
        {DOUBT_LABEL,
         {{"person", 0.8f, true}, {"dog", 0.5f, true}},
         {{"fox", 0.9f, true}, {"person", 0.95f, true}},
         "fox 0.90 box, person 0.80 box"},
        {DOUBT_LABEL | DOUBT_PERSON, {{"person", 0.5f, true}, {"dog", 0.5f, true}}, {{0}}, ""},
        {DOUBT_EMPTY, {{0}}, {{"cat", 0.9f, true}}, "cat 0.90 box"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[256];
        AUTO_DONE(verdict) local = verdict_of("yolo.onnx", 0.4f, cases[i].local);
        AUTO_DONE(verdict) cloud = verdict_of("rekognition 3.0", 0, cases[i].cloud);
        cascade_join(&rule, cases[i].doubts, &local, &cloud);
        print(&cloud.found, text, sizeof(text));
        if (strcmp(text, cases[i].joined) != 0)
            CASE_FAILS("%zu: %s", i, text);
        assert_string_equal(cloud.model, "yolo.onnx + rekognition 3.0");
        assert_true(cloud.infer_ms == 20);
    }
}

static void two_full_lists_are_cut_to_what_a_verdict_holds(void **state UNUSED)
{
    const struct cascade_rule rule = {.low = 0.2, .high = 0.6};
    struct verdict two[2] = {{.outcome = VERDICT_EXAMINED}, {.outcome = VERDICT_EXAMINED}};
    for (int k = 0; k < 2; k++) {
        two[k].found.count = DETECTION_COUNT_MAX;
        two[k].found.items = xcalloc(DETECTION_COUNT_MAX, sizeof(*two[k].found.items));
        for (int i = 0; i < DETECTION_COUNT_MAX; i++) {
            struct detection *d = &two[k].found.items[i];
            d->confidence = k ? 0.9f : 0.5f;
            text_copy(d->label, sizeof(d->label), k ? "car" : "dog");
        }
        memset(two[k].model, 'm', sizeof(two[k].model) - 1);
    }
    cascade_join(&rule, DOUBT_PERSON, &two[0], &two[1]);
    assert_int_equal(two[1].found.count, DETECTION_COUNT_MAX);
    assert_string_equal(two[1].found.items[DETECTION_COUNT_MAX - 1].label, "car");
    assert_true(strlen(two[1].model) < VERDICT_MODEL_MAX);
    verdict_done(&two[0]);
    verdict_done(&two[1]);
}

static void without_the_cloud_the_local_answer_stays_if_it_may(void **state UNUSED)
{
    static const struct {
        bool may;
        enum verdict_outcome before, after;
        size_t found;
    } cases[] = {
        {true, VERDICT_EXAMINED, VERDICT_EXAMINED, 1},
        {false, VERDICT_EXAMINED, VERDICT_SKIPPED, 0},
        {true, VERDICT_SKIPPED, VERDICT_SKIPPED, 0},
        {true, VERDICT_FAILED, VERDICT_SKIPPED, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO_DONE(verdict) v = verdict_of("m", 0, (struct seen[]){{"person", 0.9f, true}, {0}});
        v.outcome = cases[i].before;
        cascade_without(cases[i].may, VERDICT_SKIPPED, "no money", &v);
        if (v.outcome != cases[i].after || v.found.count != cases[i].found ||
            strcmp(v.error, "no money") != 0)
            CASE_FAILS("%zu", i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_doubt_from_certainty),
        cmocka_unit_test(the_edge_of_the_window_is_the_scores_own),
        cmocka_unit_test(a_local_detector_that_failed_is_a_doubt),
        cmocka_unit_test(the_cloud_decides_about_what_was_in_doubt_and_adds_the_rest),
        cmocka_unit_test(two_full_lists_are_cut_to_what_a_verdict_holds),
        cmocka_unit_test(without_the_cloud_the_local_answer_stays_if_it_may),
    };
    return RUN_TESTS(tests);
}
