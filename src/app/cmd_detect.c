/* `snapshotd detect`: the detector on files, folders or standard input.
 *
 * Workers take pictures in order and leave the finished text in the picture's slot; the main
 * thread prints the slots in order. A worker never runs further ahead of the printer than WINDOW,
 * so a slow reader of the output bounds the memory. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/aws_rows.h"
#include "app/command.h"
#include "app/config.h"
#include "base/clock.h"
#include "base/dynbuf.h"
#include "base/fsutil.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "detect/detect_config.h"
#include "detect/detector.h"
#include "detect/rekognition.h"
#include "picture/annotate.h"
#include "sys/json.h"

#define PICTURE_COUNT_MAX 1000000 /* paths in memory: about 100 MB */
#define DEPTH_MAX 64              /* folders within folders */
#define WINDOW 64
#define WORKERS_MAX 64
#define SETTINGS_MAX 32
#define LINE_MAX_BYTES ((size_t)1 << 20) /* 300 detections need 40 kB of JSON */
#define ANNOTATE_QUALITY 88
#define EVALUATION_CONFIDENCE 0.001 /* COCO's rules look at the whole curve */

struct picture {
    char *path; /* as shown */
    char *copy; /* name of the annotated copy beneath its folder */
    char *line; /* finished output, NULL until then */
    bool failed;
    unsigned detections, persons;
};

struct job {
    struct detector *detector;
    struct picture_limits limits;
    struct detect_config filter;
    bool json, colour;
    const char *annotate_dir;
    struct picture *pictures;
    size_t count;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t next, printed; /* under lock */
    bool abandoned;
};

struct request {
    struct detector_options options;
    bool json, evaluate;
    const char *annotate_dir;
    char *labels;         /* comma-separated */
    const char *detector; /* its name */
    const char *config;   /* file, NULL = none */
    const char *settings[SETTINGS_MAX + 1];
    int setting_count;
};

static int run_detect(int argc, char **argv);

enum {
    OPT_IOU = COMMAND_OPTION_ID,
    OPT_NAMES,
    OPT_MODEL_DIR,
    OPT_PROVIDER,
    OPT_RUNTIME,
    OPT_SQUARE,
    OPT_EVAL,
    OPT_CONFIG,
    OPT_SET
};

static const struct command_option option_rows[] = {
    {'m', "model", "M", 0, "model file, its name in the model folders, or auto"},
    {'c', "min-confidence", "X", 0, "scores must be above X, 0 to 1 (default: the model's own)"},
    {'j', "json", NULL, 0, "one JSON object a line"},
    {'a', "annotate", "FOLDER", 0, "keep copies with boxes drawn in FOLDER"},
    {'l', "labels", "A,B", 0, "only these labels"},
    {0, "iou", "X", OPT_IOU, "overlap above which the weaker box is dropped"},
    {0, "names", "FILE", OPT_NAMES, "class names, one a line"},
    {0, "model-dir", "FOLDER", OPT_MODEL_DIR, "where names of models are looked up"},
    {0, "provider", "cpu|cuda|tensorrt|openvino|xnnpack|acl|webgpu", OPT_PROVIDER, "what computes"},
    {0, "runtime", "FILE", OPT_RUNTIME, "the ONNX Runtime library"},
    {'t', "threads", "N", 0, "processor cores to use (default: all)"},
    {0, "square", NULL, OPT_SQUARE, "dynamic models: always the full square"},
    {0, "eval", NULL, OPT_EVAL, "everything above 0.001, several classes a box"},
    {'d', "detector", "local|rekognition", 0,
     "what looks (default local); rekognition costs money: a call for each picture"},
    {0, "config", "FILE", OPT_CONFIG, "configuration that has [rekognition]"},
    {0, "set", "SECTION.KEY=VALUE", OPT_SET, "one setting of it; both besides the environment"},
    {0},
};

const struct command command_detect = {
    .name = "detect",
    .arguments = "[--model M] [--min-confidence X] [--json] [--annotate FOLDER] PATH...",
    .summary = "find objects on pictures: files, folders, or - for standard input",
    .options = option_rows,
    .operand = COMMAND_OPERAND_FILE,
    .run = run_detect,
};

static int add_path(struct job *job, const char *path, bool plan_copy);
static int add_folder(struct job *job, const char *root, const char *below, int depth);
static void add_picture(struct job *job, const char *path, const char *copy);
static int examine_all(struct job *job, bool quiet);
static void *work(void *arg);
static void examine(struct job *job, struct picture *p);
static void split_labels(char *text, const char ***ret);
static int open_detector(const struct request *q, struct detector **ret);
static int open_rekognition(const struct request *q, struct detector **ret);

/* Returns a usage error's status, or -1 to go on. */
static int parse_options(int argc, char **argv, struct request *q, const char **model_dirs,
                         const char **providers)
{
    int option;
    double value;
    int64_t number;
    optind = 1;
    while ((option = command_next_option(&command_detect, argc, argv)) != -1) {
        switch (option) {
        case 'm':
            q->options.model = optarg;
            break;
        case 'c':
            if (parse_double(optarg, strlen(optarg), 0, 1, &value) < 0)
                return command_usage(&command_detect, "--min-confidence takes 0 to 1, not '%s'",
                                     optarg);
            q->options.confidence_min = value;
            break;
        case 'j':
            q->json = true;
            break;
        case 'a':
            q->annotate_dir = optarg;
            break;
        case 'l':
            free(q->labels);
            q->labels = xstrdup(optarg);
            break;
        case 't':
            if (parse_int64(optarg, strlen(optarg), 1, WORKERS_MAX, &number) < 0)
                return command_usage(&command_detect, "--threads takes 1 to %d, not '%s'",
                                     WORKERS_MAX, optarg);
            q->options.threads = (int)number;
            break;
        case OPT_IOU:
            if (parse_double(optarg, strlen(optarg), 0, 1, &value) < 0)
                return command_usage(&command_detect, "--iou takes 0 to 1, not '%s'", optarg);
            q->options.iou_max = value;
            break;
        case OPT_NAMES:
            q->options.names_file = optarg;
            break;
        case OPT_MODEL_DIR:
            model_dirs[0] = optarg;
            q->options.model_dirs = model_dirs;
            break;
        case OPT_PROVIDER:
            providers[0] = optarg;
            q->options.providers = providers;
            break;
        case OPT_RUNTIME:
            q->options.runtime_library = optarg;
            break;
        case OPT_SQUARE:
            q->options.square = true;
            break;
        case OPT_EVAL:
            q->evaluate = true;
            break;
        case 'd':
            if (strcmp(optarg, "local") != 0 && strcmp(optarg, "rekognition") != 0)
                return command_usage(&command_detect,
                                     "--detector takes local or rekognition, not '%s'", optarg);
            q->detector = optarg;
            break;
        case OPT_CONFIG:
            q->config = optarg;
            break;
        case OPT_SET:
            if (q->setting_count == SETTINGS_MAX)
                return command_usage(&command_detect, "more than %d settings", SETTINGS_MAX);
            q->settings[q->setting_count++] = optarg;
            break;
        case 'h':
            return command_help(&command_detect);
        default:
            return command_usage(&command_detect, "see --help");
        }
    }
    if (optind == argc)
        return command_usage(&command_detect, "no picture given");
    return -1;
}

static int run_detect(int argc, char **argv)
{
    const char *model_dirs[2] = {NULL, NULL}, *providers[2] = {NULL, NULL};
    struct request q = {.options = {.confidence_min = -1, .iou_max = -1}, .detector = "local"};
    int status = parse_options(argc, argv, &q, model_dirs, providers);
    AUTO_FREE char *labels = q.labels;
    if (status >= 0)
        return status;
    if (q.evaluate) {
        q.options.several = true;
        q.options.confidence_min =
            q.options.confidence_min >= 0 ? q.options.confidence_min : EVALUATION_CONFIDENCE;
    }
    q.options.limits = picture_limits_default;
    struct job job = {.json = q.json,
                      .colour = !q.json && isatty(STDOUT_FILENO) && getenv("NO_COLOR") == NULL,
                      .annotate_dir = q.annotate_dir,
                      .limits = q.options.limits,
                      .pictures = xcalloc(PICTURE_COUNT_MAX, sizeof(struct picture))};
    AUTO_FREE struct picture *pictures = job.pictures;
    AUTO_FREE const char **wanted = NULL;
    if (labels != NULL) {
        split_labels(labels, &wanted);
        job.filter.labels = wanted;
    }
    bool missing = false;
    for (int i = optind; i < argc; i++)
        missing = add_path(&job, argv[i], true) < 0 || missing;
    struct err e = {.code = 0};
    status = missing ? EXIT_FAILED : EXIT_DONE;
    if (q.annotate_dir != NULL && fs_mkdirs(AT_FDCWD, q.annotate_dir, 0755, &e) < 0) {
        status = command_error(EXIT_FAILED, "%s", e.text);
    } else if (job.count > 0) {
        status = open_detector(&q, &job.detector);
        if (status == EXIT_DONE) {
            bool failed = examine_all(&job, q.json && !isatty(STDERR_FILENO)) > 0;
            status = failed || missing ? EXIT_FAILED : EXIT_DONE;
            job.detector->ops->close(job.detector);
        }
    } else if (!missing) {
        status = command_error(EXIT_FAILED, "no pictures there: folders are searched for names "
                                            "that end in .jpg, .png, .webp, .bmp or .gif");
    }
    for (size_t i = 0; i < job.count; i++) {
        free(pictures[i].path);
        free(pictures[i].copy);
        free(pictures[i].line);
    }
    return status;
}

/* EXIT_DONE, or a status with the reason told. */
static int open_detector(const struct request *q, struct detector **ret)
{
    struct err e = {.code = 0};
    if (strcmp(q->detector, "rekognition") == 0)
        return open_rekognition(q, ret);
    const struct detector_ops *ops = detector_find(q->detector);
    if (ops == NULL)
        return command_error(EXIT_FAILED, "this build has no local detector: its headers were "
                                          "missing: run tools/setup and build again");
    if (ops->open(&q->options, ret, &e) < 0)
        return command_error(EXIT_FAILED, "%s", e.text);
    return EXIT_DONE;
}

static int open_rekognition(const struct request *q, struct detector **ret)
{
    AUTO(cfg) cfg = NULL;
    AUTO_FREE char *faults = NULL;
    struct cfg_source source = {.path = q->config, .settings = q->settings};
    if (cfg_load(&app_schema, &source, &cfg, &faults, NULL) < 0)
        return command_error(EXIT_USAGE, "%s", faults != NULL ? faults : "no memory");
    aws_rows_use(cfg); /* until the end: the command does nothing else */
    struct rekognition_options options;
    struct err e = {.code = 0};
    rekognition_config_options(cfg_values(cfg, &rekognition_config_section), &options);
    options.limits = q->options.limits;
    if (q->options.confidence_min >= 0)
        options.confidence_min = q->options.confidence_min;
    if (q->options.threads > 0)
        options.in_flight = MIN(q->options.threads, REKOGNITION_IN_FLIGHT_MAX);
    if (rekognition_open(&options, ret, &e) < 0)
        return command_error(EXIT_FAILED, "%s", e.text);
    return EXIT_DONE;
}

static void split_labels(char *text, const char ***ret)
{
    const char *cursor = text, *item;
    size_t len, count = 0;
    const char **list = xcalloc(strlen(text) + 2, sizeof(char *));
    while (parse_list_next(&cursor, &item, &len))
        list[count++] = text + (item - text);
    for (size_t i = 0; i < count; i++) { /* terminate in place, after the cursor is done */
        char *end = text + (list[i] - text) + strcspn(list[i], ",");
        while (end > list[i] && end[-1] == ' ')
            end--;
        *end = '\0';
    }
    *ret = list;
}

static bool has_picture_name(const char *name)
{
    static const char *const suffixes[] = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif"};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot != NULL && i < ARRAY_LEN(suffixes); i++) {
        if (text_equal_nocase(dot, suffixes[i]))
            return true;
    }
    return false;
}

static int add_path(struct job *job, const char *path, bool plan_copy)
{
    struct stat st;
    if (strcmp(path, "-") == 0) {
        add_picture(job, path, "stdin");
        return 0;
    }
    if (stat(path, &st) < 0) {
        int code = errno;
        if (!job->json)
            return command_error(-1, "%s: %s", path, strerror(code));
        add_picture(job, path, NULL); /* the error becomes its line */
        return 0;
    }
    if (S_ISDIR(st.st_mode))
        return add_folder(job, path, "", 0);
    const char *slash = strrchr(path, '/');
    add_picture(job, path, plan_copy ? (slash != NULL ? slash + 1 : path) : NULL);
    return 0;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name); /* alphasort() would follow the locale */
}

static int add_folder(struct job *job, const char *root, const char *below, int depth)
{
    AUTO_FREE char *folder = below[0] != '\0' ? xasprintf("%s/%s", root, below) : xstrdup(root);
    struct dirent **entries = NULL;
    int count = depth < DEPTH_MAX ? scandir(folder, &entries, NULL, by_name) : -1;
    if (count < 0)
        return command_error(-1, "%s: %s", folder,
                             depth < DEPTH_MAX ? strerror(errno) : "too deep");
    int result = 0;
    for (int i = 0; i < count; i++) {
        AUTO_FREE struct dirent *entry = entries[i];
        struct stat st;
        AUTO_FREE char *inner =
            xasprintf("%s%s%s", below, below[0] != '\0' ? "/" : "", entry->d_name);
        AUTO_FREE char *path = xasprintf("%s/%s", root, inner);
        if (entry->d_name[0] == '.' || lstat(path, &st) < 0)
            continue;
        if (S_ISDIR(st.st_mode))
            result = MIN(result, add_folder(job, root, inner, depth + 1));
        else if (has_picture_name(entry->d_name))
            add_picture(job, path, inner);
    }
    free(entries);
    return result;
}

static void add_picture(struct job *job, const char *path, const char *copy)
{
    if (job->count == PICTURE_COUNT_MAX)
        return;
    struct picture *p = &job->pictures[job->count];
    *p = (struct picture){.path = xstrdup(path)};
    if (job->annotate_dir != NULL && copy != NULL) {
        bool jpeg = text_ends_with(copy, ".jpg") || text_ends_with(copy, ".jpeg");
        p->copy = xasprintf("%s%s", copy, jpeg ? "" : ".jpg");
        for (size_t i = 0; i < job->count; i++) {
            if (job->pictures[i].copy == NULL || strcmp(job->pictures[i].copy, p->copy) != 0)
                continue;
            AUTO_FREE char *taken = p->copy; /* two of one name: the later gets its number */
            p->copy = xasprintf("%zu-%s", job->count + 1, copy);
            break;
        }
    }
    job->count++;
}

static int examine_all(struct job *job, bool quiet)
{
    pthread_t workers[WORKERS_MAX];
    int wanted = MIN(job->detector->ops->parallelism(job->detector), WORKERS_MAX), started = 0;
    char about[256];
    job->detector->ops->describe(job->detector, about, sizeof(about));
    if (!quiet)
        fprintf(stderr, "%s\n", about);
    pthread_mutex_init(&job->lock, NULL);
    pthread_cond_init(&job->changed, NULL);
    struct mono_time begin = clock_mono();
    while (started < wanted && (size_t)started < job->count &&
           pthread_create(&workers[started], NULL, work, job) == 0)
        started++;
    if (started == 0)
        return command_error(1, "no thread can be started");

    int failures = 0;
    size_t detections = 0, persons = 0;
    pthread_mutex_lock(&job->lock);
    for (size_t i = 0; i < job->count && !job->abandoned; i++) {
        struct picture *p = &job->pictures[i];
        while (p->line == NULL)
            pthread_cond_wait(&job->changed, &job->lock);
        pthread_mutex_unlock(&job->lock);
        failures += p->failed;
        detections += p->detections;
        persons += p->persons;
        bool written = fputs(p->line, stdout) >= 0 && fflush(stdout) == 0;
        free(STEAL(p->line));
        pthread_mutex_lock(&job->lock);
        job->printed = i + 1;
        job->abandoned = !written; /* nobody reads any more */
        pthread_cond_broadcast(&job->changed);
    }
    pthread_mutex_unlock(&job->lock);
    for (int i = 0; i < started; i++)
        pthread_join(workers[i], NULL);
    double seconds = mono_diff_ms(clock_mono(), begin) / 1000.0;
    if (!quiet && !job->abandoned)
        fprintf(stderr, "%zu picture%s, %zu found (%zu person%s), %d failed, %.1f pictures/s\n",
                job->count, job->count == 1 ? "" : "s", detections, persons,
                persons == 1 ? "" : "s", failures, (double)job->count / MAX(seconds, 1e-6));
    pthread_mutex_destroy(&job->lock);
    pthread_cond_destroy(&job->changed);
    return job->abandoned ? 1 : failures;
}

static void *work(void *arg)
{
    struct job *job = arg;
    pthread_mutex_lock(&job->lock);
    for (;;) {
        while (!job->abandoned && job->next < job->count && job->next >= job->printed + WINDOW)
            pthread_cond_wait(&job->changed, &job->lock);
        if (job->abandoned || job->next == job->count)
            break;
        struct picture *p = &job->pictures[job->next++];
        pthread_mutex_unlock(&job->lock);
        struct picture done = *p;
        examine(job, &done);
        pthread_mutex_lock(&job->lock);
        *p = done;
        pthread_cond_broadcast(&job->changed);
    }
    pthread_mutex_unlock(&job->lock);
    return NULL;
}

static int read_stdin(size_t max, struct blob **ret, struct err *e)
{
    AUTO_DONE(dynbuf) all;
    dynbuf_init(&all, max);
    char piece[65536];
    ssize_t n;
    while ((n = read(STDIN_FILENO, piece, sizeof(piece))) > 0) {
        if (dynbuf_append(&all, piece, (size_t)n) < 0)
            return err_set(e, -EFBIG, ERR_NEVER, "standard input: above %zu bytes", max);
    }
    if (n < 0)
        return err_errno(e, -errno, "standard input");
    *ret = blob_new_copy(all.data, all.len);
    return *ret != NULL ? 0 : err_set(e, -ENOMEM, ERR_LATER, "standard input: no memory");
}

static int read_picture(const struct job *job, const char *path, struct blob **ret, struct err *e)
{
    if (strcmp(path, "-") == 0)
        return read_stdin(job->limits.bytes_max, ret, e);
    AUTO_FREE char *real = realpath(path, NULL); /* the person named it: links may be followed */
    if (real == NULL)
        return err_set(e, -errno, ERR_NEVER, "%s", strerror(errno));
    return fs_read_blob(AT_FDCWD, real, job->limits.bytes_max, ret, e);
}

static int save_copy(const struct job *job, const struct picture *p, const struct blob *bytes,
                     const struct detection_list *found, struct err *e)
{
    AUTO(blob) jpeg = NULL;
    AUTO_FREE char *path = xasprintf("%s/%s", job->annotate_dir, p->copy);
    char *slash = strrchr(path, '/');
    int r = picture_annotate(bytes->data, bytes->size, &job->limits, found, 0, ANNOTATE_QUALITY,
                             &jpeg, e);
    if (r == 0 && slash != NULL) {
        *slash = '\0';
        r = fs_mkdirs(AT_FDCWD, path, 0755, e);
        *slash = '/';
    }
    if (r == 0)
        r = fs_replace(AT_FDCWD, path, jpeg->data, jpeg->size, 0644, e);
    return r;
}

static double rounded(double value, double steps)
{
    return rint(value * steps) / steps;
}

static char *json_line(const struct picture *p, const struct picture_info *info,
                       const struct verdict *v, const char *error)
{
    AUTO_JSON json_t *line = json_object();
    json_object_set_new(line, "path", js_string(p->path));
    if (v->cloud_calls > 0)
        json_object_set_new(line, "cloud_calls", json_integer(v->cloud_calls));
    if (error != NULL) {
        json_object_set_new(line, "error", js_string(error));
    } else {
        json_object_set_new(line, "width", json_integer(info->width));
        json_object_set_new(line, "height", json_integer(info->height));
        json_object_set_new(line, "model", js_string(v->model));
        json_object_set_new(line, "decode_ms", json_real(rounded(v->decode_ms, 100)));
        json_object_set_new(line, "infer_ms", json_real(rounded(v->infer_ms, 100)));
        if (v->damaged)
            json_object_set_new(line, "damaged", json_true());
        json_t *list = json_array();
        for (size_t i = 0; i < v->found.count; i++) {
            const struct detection *d = &v->found.items[i];
            json_t *item = json_object(), *box = json_array();
            json_object_set_new(item, "label", js_string(d->label));
            json_object_set_new(item, "confidence",
                                json_real(rounded((double)d->confidence, 100000)));
            const float edges[] = {d->box.x1, d->box.y1, d->box.x2, d->box.y2};
            for (size_t k = 0; k < ARRAY_LEN(edges); k++)
                json_array_append_new(box, json_real(rounded((double)edges[k], 100)));
            json_object_set(item, "box", d->has_box ? box : json_null());
            json_decref(box);
            json_array_append_new(list, item);
        }
        json_object_set_new(line, "detections", list);
    }
    AUTO_FREE char *text = js_text(line);
    return xasprintf("%s\n", text);
}

/* "2 persons, 1 dog" of what is in the list, in the order of first sight. */
static void summarise(struct dynbuf *b, const struct detection_list *found)
{
    for (size_t i = 0; i < found->count; i++) {
        const char *label = found->items[i].label;
        size_t count = 0;
        bool seen = false;
        for (size_t k = 0; k < found->count; k++) {
            bool same = strcmp(found->items[k].label, label) == 0;
            seen = seen || (same && k < i);
            count += same;
        }
        if (!seen)
            (void)dynbuf_printf(b, "%s%zu %s%s", i > 0 ? ", " : "", count, label,
                                count > 1 ? "s" : ""); /* 1 MB holds 300 labels */
    }
    if (found->count == 0)
        (void)dynbuf_puts(b, "nothing");
}

static char *plain_line(const struct job *job, const struct picture *p,
                        const struct picture_info *info, const struct verdict *v, const char *error)
{
    const char *bold = job->colour ? "\033[1m" : "", *red = job->colour ? "\033[31m" : "";
    const char *green = job->colour ? "\033[32m" : "", *dim = job->colour ? "\033[2m" : "";
    const char *off = job->colour ? "\033[0m" : "";
    char path[PATH_MAX];
    text_escape(p->path, strlen(p->path), path, sizeof(path));
    if (error != NULL)
        return xasprintf("%s%s%s: %s%s%s\n", bold, path, off, red, error, off);
    AUTO_DONE(dynbuf) b;
    dynbuf_init(&b, LINE_MAX_BYTES);
    (void)dynbuf_printf(&b, "%s%s%s %dx%d: %s", bold, path, off, info->width, info->height,
                        v->found.count > 0 ? green : dim);
    summarise(&b, &v->found);
    (void)dynbuf_printf(&b, "%s%s %s(%.0f ms)%s\n", off, v->damaged ? " (damaged picture)" : "",
                        dim, v->decode_ms + v->infer_ms, off);
    for (size_t i = 0; i < v->found.count; i++) {
        const struct detection *d = &v->found.items[i];
        (void)dynbuf_printf(&b, "    %-14s %.2f", d->label, (double)d->confidence);
        if (d->has_box)
            (void)dynbuf_printf(&b, "  [%.0f %.0f %.0f %.0f]", (double)d->box.x1, (double)d->box.y1,
                                (double)d->box.x2, (double)d->box.y2);
        (void)dynbuf_puts(&b, "\n");
    }
    return xstrdup(dynbuf_str(&b));
}

static void examine(struct job *job, struct picture *p)
{
    AUTO(blob) bytes = NULL;
    struct err e = {.code = 0};
    struct picture_info info = {.width = 0};
    struct verdict v = {.outcome = VERDICT_FAILED};
    int r = read_picture(job, p->path, &bytes, &e);
    if (r == 0) {
        struct detect_request request = {.bytes = bytes, .confidence_min = -1};
        r = job->detector->ops->detect(job->detector, &request, &v, &e);
    }
    if (r == 0)
        r = picture_probe(bytes->data, bytes->size, &job->limits, &info, &e);
    if (r == 0) {
        detect_filter(&job->filter, &v.found);
        if (p->copy != NULL)
            r = save_copy(job, p, bytes, &v.found, &e);
    }
    const char *error = r < 0 ? e.text : NULL;
    p->failed = r < 0;
    p->detections = r < 0 ? 0 : (unsigned)v.found.count;
    p->persons = r < 0 ? 0 : verdict_persons(&v);
    p->line = job->json ? json_line(p, &info, &v, error) : plain_line(job, p, &info, &v, error);
    verdict_done(&v);
}
