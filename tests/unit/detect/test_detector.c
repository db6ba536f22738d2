/* What every detector must do, whoever wrote it. A new one enters with one row in `entrants`. */
#include "cmocka_all.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "detect/detector.h"
#include "tiny_model.h"

/* The simplest thing that obeys: one dog per picture, as sure as the option says. It shows that the
 * rules can be kept without a model, and what stage tests may rely on. */
struct fake {
    struct detector base;
    struct picture_limits limits;
};
static const struct detector_ops fake_ops;

static int fake_open(const struct detector_options *o, struct detector **ret, struct err *e)
{
    if (o->model != NULL && strcmp(o->model, "/nonexistent.onnx") == 0)
        return err_set(e, -ENOENT, ERR_NEVER, "no such model");
    struct fake *f = xcalloc(1, sizeof(*f));
    f->base.ops = &fake_ops;
    f->limits = o->limits;
    *ret = &f->base;
    return 0;
}

static int fake_detect(struct detector *d, const struct detect_request *q, struct verdict *ret,
                       struct err *e)
{
    struct fake *f = container_of(d, struct fake, base);
    struct picture_info info;
    if (picture_probe(q->bytes->data, q->bytes->size, &f->limits, &info, e) < 0)
        return -EINVAL;
    struct verdict v = {.outcome = VERDICT_EXAMINED};
    text_copy(v.model, sizeof(v.model), "fake");
    if (!(q->confidence_min >= 0.8)) {
        v.found.items = xcalloc(1, sizeof(*v.found.items));
        v.found.count = 1;
        v.found.items[0] = (struct detection){.label = "dog",
                                              .class_id = 1,
                                              .confidence = 0.8f,
                                              .has_box = true,
                                              .box = {0, 0, (float)info.width, (float)info.height}};
    }
    *ret = v;
    return 0;
}

static void fake_describe(const struct detector *d, char *buf, size_t size)
{
    (void)d;
    text_copy(buf, size, "fake: finds a dog on everything");
}

static int fake_parallelism(const struct detector *d)
{
    (void)d;
    return 2;
}

static void fake_close(struct detector *d)
{
    free(d != NULL ? container_of(d, struct fake, base) : NULL);
}

static const struct detector_ops fake_ops = {"fake",        fake_open,        fake_detect,
                                             fake_describe, fake_parallelism, fake_close};

static struct entrant {
    const char *name;
    const struct detector_ops *ops; /* NULL: not in this build, or it cannot start here */
} entrants[] = {{"fake", &fake_ops}, {"local", NULL}};

static char *folder, *model;

static struct detector_options options(void)
{
    return (struct detector_options){.model = model,
                                     .confidence_min = -1,
                                     .iou_max = -1,
                                     .threads = 2,
                                     .limits = picture_limits_default};
}

static int set_up(void **state)
{
    (void)state;
    folder = tiny_folder();
    model = tiny_model_write(&tiny_end_to_end, folder, "model.onnx");
    for (size_t i = 1; i < ARRAY_LEN(entrants); i++) {
        struct detector *d = NULL;
        struct detector_options o = options();
        struct err e = {.code = 0};
        entrants[i].ops = detector_find(entrants[i].name);
        if (entrants[i].ops == NULL)
            continue;
        if (entrants[i].ops->open(&o, &d, &e) == 0)
            entrants[i].ops->close(d);
        else if (strstr(e.text, "ONNX Runtime") != NULL)
            entrants[i].ops = NULL; /* no library here */
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(model);
    tiny_folder_remove(folder);
    return 0;
}

/* Runs f for each that can start. */
static void each(void (*f)(struct detector *d))
{
    for (size_t i = 0; i < ARRAY_LEN(entrants); i++) {
        if (entrants[i].ops == NULL)
            continue;
        struct detector_options o = options();
        struct detector *d = NULL;
        struct err e = {.code = 0};
        if (entrants[i].ops->open(&o, &d, &e) < 0)
            fail_msg("%s: %s", entrants[i].name, e.text);
        assert_ptr_equal(d->ops, entrants[i].ops);
        f(d);
        entrants[i].ops->close(d);
    }
}

static int detect(struct detector *d, struct blob *b, double confidence, struct verdict *ret,
                  struct err *e)
{
    struct detect_request q = {.bytes = b, .confidence_min = confidence};
    return d->ops->detect(d, &q, ret, e);
}

static void check_answer(struct detector *d)
{
    AUTO(blob) picture = tiny_picture(200, 100, 255);
    struct verdict v;
    assert_int_equal(detect(d, picture, -1, &v, NULL), 0);
    assert_int_equal(v.outcome, VERDICT_EXAMINED);
    assert_true(v.model[0] != '\0' && v.decode_ms >= 0 && v.infer_ms >= 0 && !v.damaged);
    assert_true(v.found.count >= 1);
    for (size_t i = 0; i < v.found.count; i++) {
        const struct detection *f = &v.found.items[i];
        assert_true(f->label[0] != '\0' && f->confidence > 0 && f->confidence <= 1);
        assert_true(i == 0 || f->confidence <= v.found.items[i - 1].confidence);
        if (f->has_box) {
            assert_true(f->box.x1 >= 0 && f->box.y1 >= 0 && f->box.x2 > f->box.x1 &&
                        f->box.y2 > f->box.y1);
            assert_true(f->box.x2 <= 200 && f->box.y2 <= 100);
        }
    }
    verdict_done(&v);
}

static void answers_with_sorted_boxes_inside_the_picture(void **state)
{
    (void)state;
    each(check_answer);
}

static void check_refusal(struct detector *d)
{
    static const char *const texts[] = {"", "<html>no</html>", "\xff\xd8", "BM"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        AUTO(blob) b = blob_new_copy(texts[i], strlen(texts[i]));
        struct verdict v = {.infer_ms = 4711};
        struct err e = {.code = 0};
        assert_int_equal(detect(d, b, -1, &v, &e), -EINVAL);
        assert_true(e.text[0] != '\0' && e.retry == ERR_NEVER);
        assert_true(v.infer_ms == 4711); /* written on success only */
        assert_int_equal(detect(d, b, -1, &v, NULL), -EINVAL);
    }
    check_answer(d); /* and goes on as if nothing had been */
}

static void refuses_what_is_no_picture_and_goes_on(void **state)
{
    (void)state;
    each(check_refusal);
}

static void check_threshold(struct detector *d)
{
    AUTO(blob) picture = tiny_picture(64, 64, 204);
    struct verdict v;
    assert_int_equal(detect(d, picture, 0.9, &v, NULL), 0);
    assert_int_equal(v.found.count, 0);
    verdict_done(&v);
    assert_int_equal(detect(d, picture, 0.1, &v, NULL), 0);
    assert_int_equal(v.found.count, 1);
    verdict_done(&v);
}

static void a_requests_threshold_overrides_the_common_one(void **state)
{
    (void)state;
    each(check_threshold);
}

static void check_description(struct detector *d)
{
    char buf[256], tiny[8];
    memset(buf, 'x', sizeof(buf));
    d->ops->describe(d, buf, sizeof(buf));
    assert_true(buf[0] != '\0' && memchr(buf, '\0', sizeof(buf)) != NULL);
    d->ops->describe(d, tiny, sizeof(tiny));
    assert_non_null(memchr(tiny, '\0', sizeof(tiny)));
    assert_in_range(d->ops->parallelism(d), 1, 64);
}

static void describes_itself_within_the_buffer(void **state)
{
    (void)state;
    each(check_description);
}

struct caller {
    struct detector *d;
    bool bright;
    int wrong;
};

static void *call_often(void *arg)
{
    struct caller *c = arg;
    AUTO(blob) picture = tiny_picture(64 + 8 * c->bright, 64, c->bright ? 255 : 204);
    for (int i = 0; i < 50; i++) {
        struct verdict v;
        if (detect(c->d, picture, -1, &v, NULL) < 0) {
            c->wrong++;
            continue;
        }
        c->wrong += v.found.count != 1;
        verdict_done(&v);
    }
    return NULL;
}

static void check_threads(struct detector *d)
{
    struct caller callers[5] = {{.d = NULL}}; /* more than it calls sensible */
    pthread_t threads[5];
    for (size_t i = 0; i < ARRAY_LEN(callers); i++) {
        callers[i] = (struct caller){.d = d, .bright = i % 2 == 0};
        assert_int_equal(pthread_create(&threads[i], NULL, call_often, &callers[i]), 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(callers); i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(callers[i].wrong, 0);
    }
}

static void answers_several_threads_at_once(void **state)
{
    (void)state;
    each(check_threads);
}

static void close_accepts_nothing_and_open_explains(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(entrants); i++) {
        if (entrants[i].ops == NULL)
            continue;
        entrants[i].ops->close(NULL);
        struct detector_options o = options();
        struct detector *d = NULL;
        struct err e = {.code = 0};
        o.model = "/nonexistent.onnx";
        assert_int_equal(entrants[i].ops->open(&o, &d, &e), -ENOENT);
        assert_null(d);
        assert_true(e.text[0] != '\0');
    }
}

static void the_registry_names_each_once(void **state)
{
    (void)state;
    const struct detector_ops *const *all = detector_all();
    for (size_t i = 0; all[i] != NULL; i++) {
        assert_ptr_equal(detector_find(all[i]->name), all[i]);
        bool entered = false;
        for (size_t k = 0; k < ARRAY_LEN(entrants); k++)
            entered = entered || strcmp(entrants[k].name, all[i]->name) == 0;
        assert_true(entered);
    }
    assert_null(detector_find("crystal-ball"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_with_sorted_boxes_inside_the_picture),
        cmocka_unit_test(refuses_what_is_no_picture_and_goes_on),
        cmocka_unit_test(a_requests_threshold_overrides_the_common_one),
        cmocka_unit_test(describes_itself_within_the_buffer),
        cmocka_unit_test(answers_several_threads_at_once),
        cmocka_unit_test(close_accepts_nothing_and_open_explains),
        cmocka_unit_test(the_registry_names_each_once),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
