/* The local detector: ONNX Runtime on this machine's processor (or another provider of it).
 *
 * Two sessions of one model serve two needs. `wide` may use all cores for one picture: the answer
 * comes early when the house is quiet. `narrow` has one thread and is run by several callers at
 * once, one core a picture: a tenth to a fifth more pictures per second under backlog, since
 * nothing waits for a neighbour inside a layer (yolov8n-640, two cores: 19.7 against 15.3 a
 * second). Which one a picture takes is decided when it is about to run. Both share the runtime's
 * arena; the second costs its copy of the weights.
 *
 * A lane is what one running picture needs of memory; there are as many as pictures may run at
 * once, and a further caller waits for one. So memory is bounded whatever the callers do. */
#include "detect/local.h"

#include "detect/detector.h"

#if HAVE_ONNXRUNTIME

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fsutil.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "detect/detect_config.h"
#include "detect/detectors.h"
#include "detect/model_files.h"

/* Pictures that run at once, each with about 30 MB of activations at 640 pixels. */
#define LANE_COUNT_MAX 16
#define THREADS_MAX 64
/* Without company for this long the house counts as quiet and one picture gets all cores. Longer
 * than the gap between two pictures of a backlog (a commit, a file read), shorter than the pause
 * between two events. */
#define QUIET_MS 150.0
/* A JPEG is decoded at the smallest scale that is at least this many times the size that the model
 * sees. The models were trained on full pictures shrunk by plain bilinear sampling; a scaled decode
 * is smoother. At 1.0 the scores in 14 of 100 pictures move by more than 0.05 from those of the
 * exporters' own tools, at 2.5 in none (float models), for 2 to 8 ms a picture. Above 4 megapixels,
 * where sampling finds little but noise and a full decode takes as long as a small model, it is the
 * smallest scale that covers. */
#define DECODE_COVER 2.5
#define DECODE_COVER_PIXELS_MAX 4000000
#define INPUT_BYTES_MAX ((size_t)3 * HEAD_SIDE_MAX * HEAD_SIDE_MAX * sizeof(float))

struct lane {
    float *input;
    size_t room; /* floats */
    struct candidate_list candidates;
    struct lane *next;
};

struct local {
    struct detector base;
    struct ort *runtime;
    struct ort_session *narrow; /* always there */
    struct ort_session *wide;   /* NULL with one core or a provider with a device of its own */
    struct head head;
    struct label_list names;
    struct picture_limits limits;
    double confidence_min, iou_max;
    double *class_minimum; /* per class, or NULL when all have confidence_min */
    double least_minimum;
    bool several, square;
    char model[VERDICT_MODEL_MAX];
    const char *provider; /* static */
    const char *chosen;   /* static: why this one, "" when it was named */
    int threads, lane_count;
    struct lane lanes[LANE_COUNT_MAX];

    pthread_mutex_t lock;
    pthread_cond_t lane_free;
    struct lane *free_lanes; /* under lock, as all below */
    int running;
    struct mono_time crowded; /* when two ran at once last */
};

static int local_open(const struct detector_options *options, struct detector **ret, struct err *e);
static int local_detect(struct detector *d, const struct detect_request *req, struct verdict *ret,
                        struct err *e);
static void local_describe(const struct detector *d, char *buf, size_t size);
static int local_parallelism(const struct detector *d);
static void local_close(struct detector *d);

const struct detector_ops detector_local = {
    .name = "local",
    .open = local_open,
    .detect = local_detect,
    .describe = local_describe,
    .parallelism = local_parallelism,
    .close = local_close,
};

static int cores_available(void);
static int open_model(struct local *l, const char *path, const struct detector_options *options,
                      struct err *e);
static int open_with_provider(struct local *l, const char *path, const char *provider,
                              const struct detector_options *options, bool *ret_final,
                              struct err *e);
static int recognise(struct ort_session *s, const char *path, struct onnx_meta *meta,
                     int class_count, struct head *ret, struct err *e);
static int run_once(struct ort_session *s, const struct head *h, struct ort_result *ret,
                    struct err *e);
static void drop_model(struct local *l);
static void set_minimums(struct local *l, const struct detector_options *options);
static int examine(struct local *l, struct lane *lane, const struct detect_request *req,
                   struct verdict *v, struct err *e);

static int local_open(const struct detector_options *options, struct detector **ret, struct err *e)
{
    AUTO_DONE(model_list) found = {.paths = NULL};
    int r = model_find(options->model, options->model_dirs, &found, e);
    if (r < 0)
        return r;
    struct local *l = xcalloc(1, sizeof(*l));
    l->base.ops = &detector_local;
    l->limits = options->limits;
    l->several = options->several;
    l->square = options->square;
    l->threads = options->threads > 0 ? MIN(options->threads, THREADS_MAX) : cores_available();
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->lane_free, NULL);
    l->crowded = (struct mono_time){INT64_MIN / 2};
    r = ort_open(options->runtime_library, &l->runtime, e);
    for (size_t i = 0; r == 0 && i < found.count; i++) {
        r = open_model(l, found.paths[i], options, e);
        bool last = i + 1 == found.count;
        if (r == 0 || last || (r != -ENOTSUP && r != -EINVAL))
            break;
        log_warn("model-skipped", "%s: %s; trying %s", found.paths[i],
                 e != NULL ? e->text : "cannot be used", found.paths[i + 1]);
        r = 0;
    }
    if (r < 0) {
        local_close(&l->base);
        return r;
    }
    bool named =
        options->model != NULL && options->model[0] != '\0' && strcmp(options->model, "auto") != 0;
    l->chosen = named                                  ? ""
                : strcasestr(l->model, "yolo") != NULL ? " (auto: the first YOLO model there is)"
                                                       : " (auto: there is no YOLO model)";
    l->lane_count = l->wide == NULL && l->threads > 1 ? 2 : MIN(l->threads, LANE_COUNT_MAX);
    for (int i = 0; i < l->lane_count; i++) {
        l->lanes[i].next = l->free_lanes;
        l->free_lanes = &l->lanes[i];
    }
    *ret = &l->base;
    return 0;
}

static int local_detect(struct detector *d, const struct detect_request *req, struct verdict *ret,
                        struct err *e)
{
    struct local *l = container_of(d, struct local, base);
    pthread_mutex_lock(&l->lock);
    while (l->free_lanes == NULL)
        pthread_cond_wait(&l->lane_free, &l->lock);
    struct lane *lane = l->free_lanes;
    l->free_lanes = lane->next;
    l->running++;
    if (l->running > 1)
        l->crowded = clock_mono();
    pthread_mutex_unlock(&l->lock);

    struct verdict v = {.outcome = VERDICT_EXAMINED};
    int r = examine(l, lane, req, &v, e);

    pthread_mutex_lock(&l->lock);
    if (l->running > 1)
        l->crowded = clock_mono();
    l->running--;
    lane->next = l->free_lanes;
    l->free_lanes = lane;
    pthread_cond_signal(&l->lane_free);
    pthread_mutex_unlock(&l->lock);
    if (r < 0) {
        verdict_done(&v);
        return r;
    }
    *ret = v;
    return 0;
}

static void local_describe(const struct detector *d, char *buf, size_t size)
{
    const struct local *l = container_of(d, struct local, base);
    char overlap[32] = "no suppression";
    if (l->iou_max < 1)
        (void)text_format(overlap, sizeof(overlap), "overlap up to %.2f", l->iou_max);
    (void)text_format(buf, size,
                      "%s%s: %s, %zu classes, input %s%dx%d, confidence above %.2f, %s, provider "
                      "%s, %d thread%s, ONNX Runtime %s",
                      l->model, l->chosen, l->head.title, l->names.count,
                      l->head.dynamic ? "up to " : "", l->head.input_width, l->head.input_height,
                      l->confidence_min, overlap, l->provider, l->threads,
                      l->threads == 1 ? "" : "s",
                      ort_version(l->runtime)); /* for the log; may be cut */
}

static int local_parallelism(const struct detector *d)
{
    return container_of(d, struct local, base)->lane_count;
}

static void local_close(struct detector *d)
{
    if (d == NULL)
        return;
    struct local *l = container_of(d, struct local, base);
    drop_model(l);
    for (int i = 0; i < LANE_COUNT_MAX; i++) {
        free(l->lanes[i].input);
        candidate_list_done(&l->lanes[i].candidates);
    }
    ort_unref(l->runtime);
    pthread_mutex_destroy(&l->lock);
    pthread_cond_destroy(&l->lane_free);
    free(l);
}

/* The first number of a cgroup's "cpu.max" over the second, rounded up; 0 = no limit. The runtime
 * itself does not look at it. */
static int cores_of_quota(void)
{
    AUTO(blob) text = NULL;
    if (fs_read_blob(AT_FDCWD, "/sys/fs/cgroup/cpu.max", 128, &text, NULL) < 0)
        return 0;
    const char *p = (const char *)text->data;
    const char *space = memchr(p, ' ', text->size);
    int64_t quota, period;
    if (space == NULL || parse_int64(p, (size_t)(space - p), 1, INT64_MAX / 2, &quota) < 0)
        return 0;
    size_t digits = 0, left = text->size - (size_t)(space + 1 - p);
    while (digits < left && space[1 + digits] >= '0' && space[1 + digits] <= '9')
        digits++;
    if (parse_int64(space + 1, digits, 1, INT32_MAX, &period) < 0)
        return 0;
    return (int)MIN((quota + period - 1) / period, (int64_t)THREADS_MAX);
}

static int cores_available(void)
{
    cpu_set_t set;
    int cores = 1;
    if (sched_getaffinity(0, sizeof(set), &set) == 0)
        cores = MAX(CPU_COUNT(&set), 1);
    int quota = cores_of_quota();
    if (quota > 0)
        cores = MIN(cores, quota);
    return MIN(cores, THREADS_MAX);
}

static int open_model(struct local *l, const char *path, const struct detector_options *options,
                      struct err *e)
{
    static const char *const only_cpu[] = {"cpu", NULL};
    const char *const *providers = options->providers;
    if (providers == NULL || providers[0] == NULL)
        providers = only_cpu;
    (void)text_copy(l->model, sizeof(l->model), model_base_name(path)); /* shown; may be cut */
    struct err why = {.code = 0};
    int r = -ENOTSUP;
    bool final = false, cpu_tried = false;
    for (size_t i = 0; providers[i] != NULL && r < 0 && !final; i++) {
        r = open_with_provider(l, path, providers[i], options, &final, &why);
        cpu_tried = cpu_tried || strcmp(providers[i], "cpu") == 0;
        if (r < 0 && !final)
            log_warn("provider-failed", "%s; trying %s", why.text,
                     providers[i + 1] != NULL ? providers[i + 1] : "cpu");
    }
    if (r < 0 && !final && !cpu_tried)
        r = open_with_provider(l, path, "cpu", options, &final, &why);
    if (r < 0 && e != NULL)
        *e = why;
    return r;
}

static char *look_up(void *arg, const char *key, size_t max)
{
    return ort_session_metadata(arg, key, max);
}

/* Names in use: the file's when given, the model's own, COCO's for 80 classes or an end-to-end
 * model that says nothing. */
static int choose_names(struct local *l, struct onnx_meta *meta, const char *names_file,
                        struct label_list *from_file, struct err *e)
{
    if (names_file != NULL && names_file[0] != '\0') {
        l->names = *from_file;
        *from_file = (struct label_list){.names = NULL};
        if (l->head.class_count > 0 && (size_t)l->head.class_count != l->names.count)
            return err_set(e, -EINVAL, ERR_NEVER,
                           "names file %s has %zu names, the model has %d classes", names_file,
                           l->names.count, l->head.class_count);
        return 0;
    }
    if (meta->names.count > 0) {
        l->names = meta->names;
        meta->names = (struct label_list){.names = NULL};
    } else if (l->head.class_count == LABEL_COCO_COUNT || l->head.class_count == 0) {
        labels_use_coco(&l->names);
    }
    return 0;
}

/* `*ret_final`: no other provider would change the outcome. On failure nothing of the model stays.
 */
static int open_with_provider(struct local *l, const char *path, const char *provider,
                              const struct detector_options *options, bool *ret_final,
                              struct err *e)
{
    AUTO_DONE(onnx_meta) meta = {.stride = 0};
    AUTO_DONE(label_list) from_file = {.names = NULL};
    bool cpu = strcmp(provider, "cpu") == 0;
    bool two = cpu && l->threads > 1;
    struct ort_session_options so = {
        .model = path, .provider = provider, .threads = two ? 1 : l->threads};
    *ret_final = cpu;
    int r = ort_session_new(l->runtime, &so, &l->narrow, e);
    if (r < 0) {
        *ret_final = cpu || r != -ENOTSUP;
        return r;
    }
    if (options->names_file != NULL && options->names_file[0] != '\0')
        r = labels_read(options->names_file, &from_file, e);
    if (r == 0)
        r = recognise(l->narrow, path, &meta, (int)from_file.count, &l->head, e);
    if (r == 0)
        r = choose_names(l, &meta, options->names_file, &from_file, e);
    if (r < 0) {
        drop_model(l);
        *ret_final = true;
        return r;
    }
    l->provider = provider;
    for (size_t i = 0; ort_provider_names[i] != NULL; i++) { /* the caller's string may go */
        if (strcmp(provider, ort_provider_names[i]) == 0)
            l->provider = ort_provider_names[i];
    }
    l->confidence_min =
        options->confidence_min >= 0 ? options->confidence_min : l->head.confidence_min;
    l->iou_max = options->iou_max >= 0 ? options->iou_max : l->head.iou_max;

    set_minimums(l, options);

    /* The first run allocates and shows whether a provider works at all. */
    struct ort_result warm = {.count = 0};
    r = run_once(l->narrow, &l->head, &warm, e);
    ort_result_done(&warm);
    if (r == 0 && two) {
        so.threads = l->threads;
        r = ort_session_new(l->runtime, &so, &l->wide, e);
        if (r == 0)
            r = run_once(l->wide, &l->head, &warm, e);
        ort_result_done(&warm);
    }
    if (r < 0) {
        (void)err_prefix(e, "%s with provider %s", l->model, provider);
        drop_model(l);
    }
    return r;
}

static void drop_model(struct local *l)
{
    ort_session_free(l->narrow);
    ort_session_free(l->wide);
    l->narrow = NULL;
    l->wide = NULL;
    label_list_done(&l->names);
    free(STEAL(l->class_minimum));
}

/* Thresholds of single labels, by class. */
static void set_minimums(struct local *l, const struct detector_options *options)
{
    bool differs = false;
    double *minimum = xcalloc(MAX(l->names.count, (size_t)1), sizeof(double));
    l->least_minimum = 1;
    for (size_t i = 0; i < l->names.count; i++) {
        char name[DETECTION_LABEL_MAX];
        minimum[i] =
            detect_label_confidence(options->label_confidence, options->person_confidence,
                                    labels_name(&l->names, (int)i, name, sizeof(name)), -1);
        if (minimum[i] >= 0) {
            differs = true;
            l->least_minimum = MIN(l->least_minimum, minimum[i]);
        }
    }
    if (differs)
        l->class_minimum = STEAL(minimum);
    free(minimum);
}

/* Drops the boxes that are below their own label's threshold, or the common one. */
static void apply_minimums(const struct local *l, double common, struct candidate_list *list)
{
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++) {
        const struct candidate *c = &list->items[i];
        double least = l->class_minimum != NULL && (size_t)c->class_id < l->names.count
                           ? l->class_minimum[c->class_id]
                           : -1;
        if ((double)c->score > (least >= 0 ? least : common))
            list->items[kept++] = *c;
    }
    list->count = kept;
}

static float best_person(const struct local *l, const struct candidate_list *list)
{
    float best = 0;
    for (size_t i = 0; i < list->count; i++) {
        char name[DETECTION_LABEL_MAX];
        const struct candidate *c = &list->items[i];
        if (c->score > best &&
            text_equal_nocase(labels_name(&l->names, c->class_id, name, sizeof(name)), "person"))
            best = c->score;
    }
    return best;
}

/* Runs the session on an empty picture of the model's full size. */
static int run_once(struct ort_session *s, const struct head *h, struct ort_result *ret,
                    struct err *e)
{
    int64_t dim[4] = {1, 3, h->input_height, h->input_width};
    size_t count = (size_t)3 * (size_t)h->input_height * (size_t)h->input_width;
    AUTO_FREE float *empty = mem_try_alloc(count, sizeof(float), INPUT_BYTES_MAX);
    if (empty == NULL)
        return err_set(e, -ENOMEM, ERR_LATER, "no memory for the model's input");
    memset(empty, 0, count * sizeof(float));
    return ort_session_warm(s, empty, dim, ret, e);
}

static int recognise(struct ort_session *s, const char *path, struct onnx_meta *meta,
                     int class_count, struct head *ret, struct err *e)
{
    int r = onnx_meta_read(look_up, s, meta, e);
    if (r < 0)
        return err_prefix(e, "model %s", path);
    size_t outputs = ort_session_output_count(s);
    struct ort_tensor_info out[ORT_TENSOR_MAX];
    bool open_size = false;
    for (size_t i = 0; i < outputs; i++) {
        out[i] = *ort_session_output(s, i);
        for (int d = 0; d < out[i].rank; d++)
            open_size = open_size || out[i].dim[d] < 1;
    }
    struct head_facts facts = {
        .inputs = ort_session_input(s, 0),
        .input_count = ort_session_input_count(s),
        .outputs = out,
        .output_count = outputs,
        .meta = meta,
        .class_count = class_count > 0 ? class_count : (int)meta->names.count,
        .file = model_base_name(path),
    };
    struct head h;
    r = head_recognise_input(&facts, &h, e);
    if (r == 0 && open_size) { /* sizes that are only known at run time: run it */
        struct ort_result result = {.count = 0};
        r = run_once(s, &h, &result, e);
        for (size_t i = 0; r == 0 && i < result.count; i++) {
            out[i].rank = result.output[i].rank;
            memcpy(out[i].dim, result.output[i].dim, sizeof(out[i].dim));
        }
        ort_result_done(&result);
    }
    if (r == 0)
        r = head_recognise_outputs(&facts, &h, e);
    if (r < 0) {
        (void)err_prefix(e, "model %s", model_base_name(path));
        return r;
    }
    *ret = h;
    return 0;
}

/* What is wrong with a picture is -EINVAL, however the decoder found out. */
static int picture_fault(int r, const struct err *e)
{
    return e->retry == ERR_NEVER ? -EINVAL : r;
}

static int prepare(struct local *l, struct lane *lane, struct blob *bytes, struct letterbox *ret_lb,
                   bool *ret_damaged, struct err *e)
{
    struct picture_info info;
    int r = picture_probe(bytes->data, bytes->size, &l->limits, &info, e);
    if (r < 0)
        return picture_fault(r, e);
    int width = l->head.input_width, height = l->head.input_height;
    if (!l->square)
        head_input_size(&l->head, info.width, info.height, &width, &height);
    struct letterbox lb =
        letterbox_compute(l->head.letterbox, info.width, info.height, width, height);
    size_t count = (size_t)3 * (size_t)width * (size_t)height;
    if (count > lane->room) {
        free(STEAL(lane->input));
        lane->room = 0;
        lane->input = mem_try_alloc(count, sizeof(float), INPUT_BYTES_MAX);
        if (lane->input == NULL)
            return err_set(e, -ENOMEM, ERR_LATER, "no memory for the model's input");
        lane->room = count;
    }
    bool large = (int64_t)info.width * info.height > DECODE_COVER_PIXELS_MAX;
    r = letterbox_decode(bytes->data, bytes->size, &l->limits, &lb, large ? 1.0 : DECODE_COVER,
                         &l->head.format, lane->input, &info, e);
    if (r < 0)
        return picture_fault(r, e);
    *ret_lb = lb;
    *ret_damaged = info.damaged;
    return 0;
}

/* Alone and undisturbed for a while: all cores. */
static struct ort_session *choose_session(struct local *l)
{
    if (l->wide == NULL)
        return l->narrow;
    pthread_mutex_lock(&l->lock);
    bool quiet = l->running == 1 && mono_diff_ms(clock_mono(), l->crowded) > QUIET_MS;
    pthread_mutex_unlock(&l->lock);
    return quiet ? l->wide : l->narrow;
}

static int examine(struct local *l, struct lane *lane, const struct detect_request *req,
                   struct verdict *v, struct err *e)
{
    struct err scratch = {.code = 0};
    if (e == NULL)
        e = &scratch; /* its retry class is looked at */
    struct mono_time start = clock_mono();
    struct letterbox lb;
    int r = prepare(l, lane, req->bytes, &lb, &v->damaged, e);
    if (r < 0)
        return r;
    struct mono_time prepared = clock_mono();
    v->decode_ms = mono_diff_ms(prepared, start);

    int64_t dim[4] = {1, 3, lb.input_height, lb.input_width};
    struct ort_result result = {.count = 0};
    r = ort_session_run(choose_session(l), lane->input, dim, &result, e);
    if (r < 0)
        return err_prefix(e, "model %s", l->model);
    double confidence = req->confidence_min >= 0 ? req->confidence_min : l->confidence_min;
    double floor = l->class_minimum != NULL ? MIN(confidence, l->least_minimum) : confidence;
    bool weaker = req->person_floor > 0 && req->person_floor < floor;
    lane->candidates.count = 0;
    lane->candidates.given = 0;
    r = head_decode(&l->head, lb.input_width, lb.input_height, result.output, result.count,
                    weaker ? req->person_floor : floor, l->several, &lane->candidates, e);
    ort_result_done(&result);
    if (r < 0)
        return err_prefix(e, "model %s", l->model);
    if (req->person_floor > 0)
        v->person_best = best_person(l, &lane->candidates);
    if (l->class_minimum != NULL || weaker)
        apply_minimums(l, confidence, &lane->candidates);
    nms_select(&lane->candidates, l->iou_max, DETECTION_COUNT_MAX);
    head_finish(&lane->candidates, &lb, &l->names, &v->found);
    (void)text_copy(v->model, sizeof(v->model), l->model); /* was cut once already */
    v->infer_ms = mono_diff_ms(clock_mono(), prepared);
    return 0;
}

int local_inspect(const char *path, const char *runtime, struct local_model *ret, struct err *e)
{
    AUTO(ort) o = NULL;
    int r = ort_open(runtime, &o, e);
    if (r < 0)
        return r;
    AUTO(ort_session) s = NULL;
    struct ort_session_options so = {.model = path, .threads = 1, .quick = true};
    r = ort_session_new(o, &so, &s, e);
    if (r < 0)
        return r;
    struct local_model m = {.input_count = ort_session_input_count(s),
                            .output_count = ort_session_output_count(s)};
    for (size_t i = 0; i < m.input_count; i++)
        m.inputs[i] = *ort_session_input(s, i);
    for (size_t i = 0; i < m.output_count; i++)
        m.outputs[i] = *ort_session_output(s, i);
    (void)text_copy(m.runtime, sizeof(m.runtime), ort_version(o)); /* short */
    struct err why = {.code = 0};
    m.recognised = recognise(s, path, &m.meta, 0, &m.head, &why) == 0;
    (void)text_copy(m.refusal, sizeof(m.refusal), why.text); /* same size */
    *ret = m;
    return 0;
}

void local_model_done(struct local_model *m)
{
    onnx_meta_done(&m->meta);
}

#endif
