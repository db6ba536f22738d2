#include "cmocka_all.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "detect/detect_config.h"

static struct detection one(const char *label, float confidence)
{
    struct detection d = {.confidence = confidence};
    (void)text_copy(d.label, sizeof(d.label), label);
    return d;
}

static void filters_by_label_and_threshold(void **state)
{
    (void)state;
    static const char *const none[] = {NULL};
    static const char *const labels[] = {"Person", "dog", NULL};
    static const char *const thresholds[] = {"person:0.6", "dog: 0.1", NULL};
    const struct {
        struct detect_config c;
        const char *kept; /* indexes */
    } cases[] = {
        {{.labels = none, .label_confidence = none}, "0123"},
        {{.minimum_confidence = 0.5}, "02"},
        {{.labels = labels}, "013"},
        {{.label_confidence = thresholds}, "023"},
        {{.labels = labels, .label_confidence = thresholds, .minimum_confidence = 0.9}, "03"},
        {{.minimum_human_confidence = 0.8}, "23"},
        {{.minimum_human_confidence = 0.8, .label_confidence = thresholds}, "023"},
        {{.minimum_confidence = 0.9}, ""}, /* equal is not above */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct detection items[] = {one("person", 0.75f), one("person", 0.25f), one("car", 0.875f),
                                    one("dog", 0.5f)};
        struct detection_list l = {items, 4};
        struct detect_config c = cases[i].c;
        if (i == 1)
            items[3].confidence = 0.4f;
        if (i == 7)
            c.minimum_confidence = 0.875;
        if (i == 5)
            items[1].confidence = 0.3f;
        detect_filter(&c, &l);
        char kept[8] = "";
        const float before[] = {0.75f, i == 5 ? 0.3f : 0.25f, 0.875f, i == 1 ? 0.4f : 0.5f};
        for (size_t k = 0, n = 0; k < 4 && n < l.count; k++) {
            if (l.items[n].confidence == before[k]) {
                kept[n++] = (char)('0' + k);
                kept[n] = '\0';
            }
        }
        assert_int_equal(strlen(kept), l.count);
        assert_string_equal(kept, cases[i].kept);
    }
}

static void reads_thresholds_of_labels(void **state)
{
    (void)state;
    const struct {
        const char *item;
        int r;
        size_t len;
        double value;
    } cases[] = {
        {"person:0.5", 0, 6, 0.5},     {"traffic light : 1", 0, 13, 1}, {"a:b:0", 0, 3, 0},
        {"person", -EINVAL, 0, 0},     {":0.5", -EINVAL, 0, 0},         {"person:", -EINVAL, 0, 0},
        {"person:1.1", -EINVAL, 0, 0}, {"person:-1", -EINVAL, 0, 0},    {"person:x", -EINVAL, 0, 0},
        {"", -EINVAL, 0, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        size_t len = 0;
        double value = 0;
        assert_int_equal(detect_label_confidence_parse(cases[i].item, &len, &value), cases[i].r);
        assert_int_equal(len, cases[i].len);
        assert_float_equal(value, cases[i].value, 1e-9);
    }
}

static void gives_the_detector_what_was_set_and_leaves_the_rest_to_it(void **state)
{
    (void)state;
    static const char *const none[] = {NULL};
    struct detect_config c = {.model = "",
                              .model_dir = none,
                              .names_file = "",
                              .runtime_library = "",
                              .providers = none,
                              .label_confidence = none,
                              .image_bytes_max = 1000,
                              .image_pixels_max = 2000};
    struct detector_options o;
    detect_config_options(&c, &o);
    assert_true(o.model == NULL && o.model_dirs == NULL && o.names_file == NULL);
    assert_true(o.runtime_library == NULL && o.providers == NULL && o.label_confidence == NULL);
    assert_true(o.confidence_min < 0 && o.iou_max < 0);
    assert_int_equal(o.limits.bytes_max, 1000);
    assert_int_equal(o.limits.pixels_max, 2000);
    assert_int_equal(o.limits.scans_max, picture_limits_default.scans_max);
    c.minimum_confidence = 0.4;
    c.iou = 0.5;
    c.threads = 3;
    detect_config_options(&c, &o);
    assert_float_equal(o.confidence_min, 0.4, 1e-9);
    assert_float_equal(o.iou_max, 0.5, 1e-9);
    assert_int_equal(o.threads, 3);
}

static void every_key_has_its_help_and_a_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < detect_config_section.key_count; i++) {
        const struct cfg_key *k = &detect_config_section.keys[i];
        assert_true(k->help != NULL && k->help[0] != '\0');
        assert_true(k->offset < sizeof(struct detect_config));
        for (size_t n = 0; n < i; n++) {
            assert_string_not_equal(k->name, detect_config_section.keys[n].name);
            assert_true(k->offset != detect_config_section.keys[n].offset);
        }
    }
}

static void refuses_unknown_providers_and_thresholds(void **state)
{
    (void)state;
    static const char *const bad[] = {"cpu", "gpu", NULL}, *const good[] = {"cuda", "cpu", NULL};
    static const char *const odd[] = {"person=0.5", NULL};
    char why[128] = "";
    for (size_t i = 0; i < detect_config_section.key_count; i++) {
        const struct cfg_key *k = &detect_config_section.keys[i];
        const char *const *list = bad;
        if (strcmp(k->name, "providers") == 0) {
            assert_int_equal(k->validate(&list, why, sizeof(why)), -EINVAL);
            assert_non_null(strstr(why, "gpu"));
            list = good;
            assert_int_equal(k->validate(&list, why, sizeof(why)), 0);
        }
        if (strcmp(k->name, "label_confidence") == 0) {
            list = odd;
            assert_int_equal(k->validate(&list, why, sizeof(why)), -EINVAL);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(filters_by_label_and_threshold),
        cmocka_unit_test(reads_thresholds_of_labels),
        cmocka_unit_test(gives_the_detector_what_was_set_and_leaves_the_rest_to_it),
        cmocka_unit_test(every_key_has_its_help_and_a_place),
        cmocka_unit_test(refuses_unknown_providers_and_thresholds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
