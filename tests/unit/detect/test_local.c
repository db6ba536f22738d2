/* The local detector on models of a few hundred bytes, made here, and (where they are) on real
 * ones. Without a runtime library every test is skipped: whether there is one is no matter of this
 * code. */
#include "cmocka_all.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/fsutil.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "detect/detector.h"
#include "sys/json.h"
#include "../sanitized.h"
#include "tiny_model.h"

static const struct detector_ops *ops;
static char *folder;

static int set_up(void **state)
{
    (void)state;
    folder = tiny_folder();
    ops = detector_find("local");
    if (ops == NULL)
        return 0;
    AUTO_FREE char *probe = tiny_model_write(&tiny_end_to_end, folder, "probe.onnx");
    struct detector_options o = {
        .model = probe, .confidence_min = -1, .iou_max = -1, .limits = picture_limits_default};
    struct detector *d = NULL;
    struct err e = {.code = 0};
    if (ops->open(&o, &d, &e) == -ENOENT && strstr(e.text, "ONNX Runtime") != NULL)
        ops = NULL; /* built with the header, but there is no library here */
    else if (d != NULL)
        ops->close(d);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tiny_folder_remove(folder);
    return 0;
}

static struct detector_options options_for(const char *model)
{
    return (struct detector_options){.model = model,
                                     .confidence_min = -1,
                                     .iou_max = -1,
                                     .threads = 2,
                                     .limits = picture_limits_default};
}

static struct detector *open_or_fail(const struct detector_options *o)
{
    struct detector *d = NULL;
    struct err e = {.code = 0};
    if (ops->open(o, &d, &e) < 0)
        fail_msg("%s", e.text);
    return d;
}

static struct verdict look(struct detector *d, int width, int height, uint8_t value)
{
    AUTO(blob) picture = tiny_picture(width, height, value);
    struct detect_request q = {.bytes = picture, .confidence_min = -1};
    struct verdict v = {.outcome = VERDICT_FAILED};
    struct err e = {.code = 0};
    if (ops->detect(d, &q, &v, &e) < 0)
        fail_msg("%s", e.text);
    return v;
}

#define NEEDS_RUNTIME()                                                                            \
    do {                                                                                           \
        if (ops == NULL)                                                                           \
            skip();                                                                                \
    } while (0)

static void finds_the_box_where_the_model_says(void **state)
{
    (void)state;
    NEEDS_RUNTIME();
    AUTO_FREE char *path = tiny_model_write(&tiny_end_to_end, folder, "e2e.onnx");
    struct detector_options o = options_for(path);
    struct detector *d = open_or_fail(&o);
    struct verdict v = look(d, 128, 128, 204); /* 204 / 255 = 0.8 */
    assert_int_equal(v.found.count, 1);
    assert_string_equal(v.found.items[0].label, "dog");
    assert_string_equal(v.model, "e2e.onnx");
    assert_float_equal(v.found.items[0].confidence, 0.8f, 1e-4);
    assert_float_equal(v.found.items[0].box.x1, 16, 1e-3);
    assert_float_equal(v.found.items[0].box.y2, 80, 1e-3);
    verdict_done(&v);
    v = look(d, 128, 128, 10); /* too dark to be above 0.25 */
    assert_int_equal(v.found.count, 0);
    verdict_done(&v);
    ops->close(d);
}

static void feeds_half_precision_models(void **state)
{
    (void)state;
    NEEDS_RUNTIME();
    struct tiny_model m = tiny_end_to_end;
    m.half = true;
    AUTO_FREE char *path = tiny_model_write(&m, folder, "half.onnx");
    struct detector_options o = options_for(path);
    struct detector *d = open_or_fail(&o);
    struct verdict v = look(d, 64, 64, 204);
    assert_int_equal(v.found.count, 1);
    assert_float_equal(v.found.items[0].confidence, 0.8f, 1e-3);
    verdict_done(&v);
    ops->close(d);
}

static void runs_a_dynamic_model_at_the_pictures_shape(void **state)
{
    (void)state;
    NEEDS_RUNTIME();
    const char *const metadata[] = {"names",   "{0: 'person', 1: 'dog'}",
                                    "imgsz",   "[128, 128]",
                                    "stride",  "32",
                                    "end2end", "True",
                                    NULL};
    struct tiny_model m = tiny_end_to_end;
    memcpy(m.input, (int64_t[]){-1, 3, -1, -1}, sizeof(m.input));
    m.open_output = true; /* sizes are known after a run only */
    m.metadata = metadata;
    AUTO_FREE char *path = tiny_model_write(&m, folder, "dynamic.onnx");
    struct detector_options o = options_for(path);
    struct detector *d = open_or_fail(&o);
    /* 200x128 becomes 128x82 in an input of 128x96: 7 rows of grey above and below. */
    struct verdict v = look(d, 200, 128, 255);
    assert_int_equal(v.found.count, 1);
    assert_float_equal(v.found.items[0].confidence, (82 + 14 * 114 / 255.0f) / 96, 1e-3);
    assert_float_equal(v.found.items[0].box.y2, (40 - 7) / 0.64f, 1e-3);
    verdict_done(&v);
    ops->close(d);
    o.square = true;
    d = open_or_fail(&o);
    v = look(d, 200, 128, 255);
    assert_float_equal(v.found.items[0].confidence, (82 + 46 * 114 / 255.0f) / 128, 1e-3);
    verdict_done(&v);
    ops->close(d);
}

static void a_labels_own_threshold_replaces_the_common_one(void **state)
{
    (void)state;
    NEEDS_RUNTIME();
    AUTO_FREE char *path = tiny_model_write(&tiny_end_to_end, folder, "e2e.onnx");
    static const char *const lower[] = {"dog:0.1", NULL}, *const higher[] = {"dog:0.9", NULL};
    const struct {
        const char *const *list;
        double person;
        uint8_t value;
        size_t found;
    } cases[] = {
        {NULL, 0, 204, 1},   {lower, 0, 51, 1},   {NULL, 0, 51, 0},
        {higher, 0, 204, 0}, {NULL, 0.9, 204, 1}, {NULL, 0.1, 51, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct detector_options o = options_for(path);
        o.label_confidence = cases[i].list;
        o.person_confidence = cases[i].person;
        struct detector *d = open_or_fail(&o);
        struct verdict v = look(d, 64, 64, cases[i].value);
        assert_int_equal(v.found.count, cases[i].found);
        verdict_done(&v);
        ops->close(d);
    }
}

static void tells_of_persons_that_do_not_count_when_it_is_asked(void **state)
{
    (void)state;
    NEEDS_RUNTIME();
    static const char *const person[] = {"task", "detect", "names", "{0: 'cat', 1: 'Person'}",
                                         NULL};
    static const char *const dog[] = {"task", "detect", "names", "{0: 'cat', 1: 'dog'}", NULL};
    static const struct {
        const char *const *names;
        double threshold; /* of persons, 0 = the model's 0.25 */
        double floor;
        uint8_t value; /* of 255 is the score */
        size_t found;
        float best;
    } cases[] = {
        {person, 0, 0, 51, 0, 0},         {person, 0, 0.1, 51, 0, 0.2f},
        {person, 0, 0.1, 15, 0, 0},       {person, 0, 0.1, 204, 1, 0.8f},
        {person, 0.9, 0.1, 204, 0, 0.8f}, {person, 0.9, 0, 204, 0, 0},
        {person, 0, 0.5, 102, 1, 0.4f},   {dog, 0, 0.1, 51, 0, 0},
        {dog, 0, 0.1, 204, 1, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tiny_model m = tiny_end_to_end;
        m.metadata = cases[i].names;
        AUTO_FREE char *path = tiny_model_write(&m, folder, "person.onnx");
        struct detector_options o = options_for(path);
        o.person_confidence = cases[i].threshold;
        struct detector *d = open_or_fail(&o);
        AUTO(blob) picture = tiny_picture(64, 64, cases[i].value);
        struct detect_request q = {
            .bytes = picture, .confidence_min = -1, .person_floor = cases[i].floor};
        AUTO_DONE(verdict) v = {.outcome = VERDICT_FAILED};
        struct err e = {.code = 0};
        assert_int_equal(ops->detect(d, &q, &v, &e), 0);
        if (v.found.count != cases[i].found || v.person_best - cases[i].best > 1e-3f ||
            cases[i].best - v.person_best > 1e-3f)
            fail_msg("%zu: %zu found, best person %.3f", i, v.found.count, (double)v.person_best);
        ops->close(d);
    }
}

static char seen_ids[512];

static bool keep_ids(enum log_level level, const char *id, const char *text, void *arg)
{
    (void)level, (void)text, (void)arg;
    size_t used = strlen(seen_ids);
    /* What fits is enough. */
    (void)text_format(seen_ids + used, sizeof(seen_ids) - used, "%s ", id);
    return true;
}

static void falls_back_to_the_processor_with_a_warning(void **state)
{
    (void)state;
    NEEDS_RUNTIME();
    AUTO_FREE char *path = tiny_model_write(&tiny_end_to_end, folder, "e2e.onnx");
    static const char *const lists[][3] = {
        {"acl", NULL}, {"tensorrt", "cuda", NULL}, {"openvino", "cpu", NULL}};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        struct detector_options o = options_for(path);
        o.providers = lists[i];
        seen_ids[0] = '\0';
        log_set_hook(keep_ids, NULL);
        struct detector *d = open_or_fail(&o);
        log_set_hook(NULL, NULL);
        char about[256];
        ops->describe(d, about, sizeof(about));
        if (strstr(about, "provider cpu") == NULL)
            skip(); /* a machine that has such a device */
        assert_non_null(strstr(seen_ids, "provider-failed"));
        struct verdict v = look(d, 64, 64, 255);
        assert_int_equal(v.found.count, 1);
        verdict_done(&v);
        ops->close(d);
    }
    static const char *const unknown[] = {"magic", NULL};
    struct detector_options o = options_for(path);
    struct detector *d = NULL;
    struct err e = {.code = 0};
    o.providers = unknown; /* a wrong name is a mistake, not a missing device */
    assert_int_equal(ops->open(&o, &d, &e), -EINVAL);
    assert_non_null(strstr(e.text, "xnnpack"));
}

static void auto_skips_what_it_cannot_use(void **state)
{
    (void)state;
    NEEDS_RUNTIME();
    char *dir = tiny_folder();
    const char *const segment[] = {"task", "segment", NULL};
    struct tiny_model m = tiny_end_to_end;
    m.metadata = segment;
    AUTO_FREE char *mask = tiny_model_write(&m, dir, "yolo-mask.onnx");
    AUTO_FREE char *good = tiny_model_write(&tiny_end_to_end, dir, "plain.onnx");
    AUTO_FREE char *broken = xasprintf("%s/yolo-broken.onnx", dir);
    assert_int_equal(fs_replace(AT_FDCWD, broken, "not a model", 11, 0644, NULL), 0);
    const char *dirs[] = {dir, NULL};
    struct detector_options o = options_for("auto");
    o.model_dirs = dirs;
    seen_ids[0] = '\0';
    log_set_hook(keep_ids, NULL);
    struct detector *d = open_or_fail(&o);
    log_set_hook(NULL, NULL);
    char about[256];
    ops->describe(d, about, sizeof(about));
    assert_non_null(strstr(about, "plain.onnx"));
    assert_non_null(strstr(seen_ids, "model-skipped model-skipped"));
    ops->close(d);

    struct err e = {.code = 0};
    o.model = "yolo-mask";
    assert_int_equal(ops->open(&o, &d, &e), -ENOTSUP);
    assert_non_null(strstr(e.text, "segment"));
    o.model = "yolo-broken";
    assert_int_equal(ops->open(&o, &d, &e), -EINVAL);
    tiny_folder_remove(dir);
}

static void takes_names_from_a_file(void **state)
{
    (void)state;
    NEEDS_RUNTIME();
    AUTO_FREE char *path = tiny_model_write(&tiny_end_to_end, folder, "e2e.onnx");
    AUTO_FREE char *names = xasprintf("%s/names.txt", folder);
    assert_int_equal(fs_replace(AT_FDCWD, names, "cat\ncow\n", 8, 0644, NULL), 0);
    struct detector_options o = options_for(path);
    o.names_file = names;
    struct detector *d = open_or_fail(&o);
    struct verdict v = look(d, 64, 64, 255);
    assert_string_equal(v.found.items[0].label, "cow");
    verdict_done(&v);
    ops->close(d);
}

/* The reference run's detections: 0.05 on a score, 3 % of the longer side on an edge. */
static void compare_file(struct detector *d, const char *path, const char *name,
                         const json_t *expected, double threshold, size_t *pictures,
                         size_t *differences)
{
    AUTO(blob) bytes = NULL;
    struct verdict v = {.outcome = VERDICT_FAILED};
    struct err e = {.code = 0};
    struct picture_info info;
    if (fs_read_blob(AT_FDCWD, path, picture_limits_default.bytes_max, &bytes, NULL) < 0)
        return;
    struct detect_request q = {.bytes = bytes, .confidence_min = threshold - 0.05};
    if (picture_probe(bytes->data, bytes->size, &picture_limits_default, &info, &e) < 0 ||
        ops->detect(d, &q, &v, &e) < 0) {
        print_message("%s: %s\n", name, e.text);
        (*differences)++;
        return;
    }
    (*pictures)++;
    double edge = 0.03 * MAX(info.width, info.height);
    size_t i;
    json_t *want;
    json_array_foreach(json_object_get(expected, name), i, want)
    {
        double score = json_number_value(json_object_get(want, "score"));
        bool met = score <= threshold + 0.05;
        for (size_t k = 0; !met && k < v.found.count; k++) {
            const struct detection *f = &v.found.items[k];
            const float box[] = {f->box.x1, f->box.y1, f->box.x2, f->box.y2};
            met = strcmp(f->label, json_string_value(json_object_get(want, "label"))) == 0 &&
                  score - (double)f->confidence <= 0.05 && (double)f->confidence - score <= 0.05;
            for (size_t n = 0; met && n < 4; n++) {
                double off = json_number_value(json_array_get(json_object_get(want, "box"), n)) -
                             (double)box[n];
                met = off <= edge && off >= -edge;
            }
        }
        if (!met) {
            print_message("%s: no %s of %.3f\n", name,
                          json_string_value(json_object_get(want, "label")), score);
            (*differences)++;
        }
    }
    verdict_done(&v);
}

/* Float models agree on every box. Quantised ones compute their ranges from each picture, so that
 * one pixel's rounding moves scores; they are judged by their average precision instead. */
static void agrees_with_the_reference_run(void **state)
{
    (void)state;
    NEEDS_RUNTIME();
    const struct {
        const char *model;
        double threshold;
    } cases[] = {{"yolov8n-640", 0.25},
                 {"yolox-nano-416", 0.25},
                 {"centernet-512", 0.30},
                 {"nanodet-m-416", 0.35}};
    const char *data = getenv("SNAPSHOT_TESTDATA"), *root = getenv("SOURCE_ROOT");
    char beside[PATH_MAX]; /* not allocated: skip() jumps out without any cleanup */
    (void)text_format(beside, sizeof(beside), "%s/../shared/testdata", root != NULL ? root : ".");
    if (data == NULL)
        data = beside;
    size_t models = 0;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO_FREE char *model = xasprintf("%s/models/%s.onnx", data, cases[i].model);
        AUTO_FREE char *list = xasprintf("%s/expected/%s.json", data, cases[i].model);
        AUTO(blob) text = NULL;
        AUTO_JSON json_t *expected = NULL;
        if (fs_read_blob(AT_FDCWD, list, 1 << 22, &text, NULL) < 0)
            continue;
        assert_int_equal(js_parse((const char *)text->data, text->size, 1 << 22, &expected, NULL),
                         0);
        struct detector_options o = options_for(model);
        struct detector *d = open_or_fail(&o);
        size_t pictures = 0, differences = 0;
        const char *name;
        json_t *boxes;
        json_object_foreach(expected, name, boxes)
        {
            if (TEST_SANITIZED && pictures >= 12) /* minutes otherwise, and nothing new */
                break;
            AUTO_FREE char *path = xasprintf("%s/images/%s", data, name);
            compare_file(d, path, name, expected, cases[i].threshold, &pictures, &differences);
        }
        ops->close(d);
        assert_true(pictures > (TEST_SANITIZED ? 11 : 20));
        assert_int_equal(differences, 0);
        models++;
    }
    if (models == 0)
        skip();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_box_where_the_model_says),
        cmocka_unit_test(feeds_half_precision_models),
        cmocka_unit_test(runs_a_dynamic_model_at_the_pictures_shape),
        cmocka_unit_test(a_labels_own_threshold_replaces_the_common_one),
        cmocka_unit_test(tells_of_persons_that_do_not_count_when_it_is_asked),
        cmocka_unit_test(falls_back_to_the_processor_with_a_warning),
        cmocka_unit_test(auto_skips_what_it_cannot_use),
        cmocka_unit_test(takes_names_from_a_file),
        cmocka_unit_test(agrees_with_the_reference_run),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
