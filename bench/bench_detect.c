/* What the runtime alone can do with a model, and what the detector makes of it. All in one run, so
 * that the ratios hold on any machine:
 *   bare N x 1    N callers of one session with one thread each: the most pictures a second
 *   bare 1 x N    one caller of a session with N threads: the shortest answer
 *   detector      the whole way from JPEG bytes to boxes, N callers, over real pictures
 *   alone         one picture at a time, against decoding plus "bare 1 x N"
 * With a dynamic model and pictures of 16:9 also the rectangle against the square.
 *
 *     bench_detect [--pictures DIR] [--seconds S] [--threads N] [--passes P] MODEL
 * Each line also has the processor time a picture took, which other work on the machine disturbs
 * less than the clock. Resident memory is printed at the start and the end; --passes repeats the
 * pictures. */

#include <dirent.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/fsutil.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "detect/detector.h"
#include "detect/heads.h"
#include "detect/local.h"
#include "sys/ort.h"

#define PICTURES_MAX 256
#define THREADS_MAX 16

struct set {
    struct blob *picture[PICTURES_MAX];
    size_t count;
};

struct rate {
    double per_second, cpu_ms; /* cpu_ms: of all threads, for one picture */
};

struct bare {
    struct ort_session *session;
    int64_t dim[4];
    struct mono_time end;
    size_t runs;
};

struct whole {
    struct detector *d;
    const struct set *set;
    size_t *next, total; /* __atomic */
};

static void *bare_loop(void *arg)
{
    struct bare *b = arg;
    float *input = xcalloc((size_t)(b->dim[1] * b->dim[2] * b->dim[3]), sizeof(float));
    while (!mono_passed(b->end)) {
        struct ort_result r;
        if (ort_session_run(b->session, input, b->dim, &r, NULL) < 0)
            abort();
        ort_result_done(&r);
        b->runs++;
    }
    free(input);
    return NULL;
}

static double cpu_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* Runs `callers` loops over a session of `threads`. */
static struct rate bare_rate(struct ort *o, const char *model, const int64_t dim[4], int callers,
                             int threads, double seconds)
{
    struct ort_session *s = NULL;
    struct ort_session_options options = {.model = model, .threads = threads};
    struct bare b[THREADS_MAX];
    pthread_t t[THREADS_MAX];
    if (ort_session_new(o, &options, &s, NULL) < 0)
        abort();
    struct bare warm = {.session = s, .end = clock_mono()};
    memcpy(warm.dim, dim, sizeof(warm.dim));
    warm.end = mono_add_ms(warm.end, 200);
    bare_loop(&warm);
    struct mono_time start = clock_mono();
    double cpu = cpu_ms();
    size_t runs = 0;
    for (int i = 0; i < callers; i++) {
        b[i] = warm;
        b[i].runs = 0;
        b[i].end = mono_add_ms(start, (int64_t)(seconds * 1000));
        pthread_create(&t[i], NULL, bare_loop, &b[i]);
    }
    for (int i = 0; i < callers; i++) {
        pthread_join(t[i], NULL);
        runs += b[i].runs;
    }
    double ms = mono_diff_ms(clock_mono(), start);
    cpu = cpu_ms() - cpu;
    ort_session_free(s);
    return (struct rate){(double)runs * 1000.0 / ms, cpu / (double)runs};
}

static void *whole_loop(void *arg)
{
    struct whole *w = arg;
    size_t i;
    while ((i = __atomic_fetch_add(w->next, 1, __ATOMIC_RELAXED)) < w->total) {
        struct detect_request q = {.bytes = w->set->picture[i % w->set->count],
                                   .confidence_min = -1};
        struct verdict v;
        if (w->d->ops->detect(w->d, &q, &v, NULL) == 0)
            verdict_done(&v);
    }
    return NULL;
}

static struct rate whole_rate(struct detector *d, const struct set *set, int callers, size_t total)
{
    size_t next = 0;
    struct whole w = {d, set, &next, total};
    pthread_t t[THREADS_MAX];
    struct mono_time start = clock_mono();
    double cpu = cpu_ms();
    for (int i = 0; i < callers; i++)
        pthread_create(&t[i], NULL, whole_loop, &w);
    for (int i = 0; i < callers; i++)
        pthread_join(t[i], NULL);
    return (struct rate){(double)total * 1000.0 / mono_diff_ms(clock_mono(), start),
                         (cpu_ms() - cpu) / (double)total};
}

static long resident_kb(void)
{
    char text[256] = "";
    long kb = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f != NULL && fgets(text, sizeof(text), f) != NULL) {
        if (strncmp(text, "VmRSS:", 6) == 0)
            kb = strtol(text + 6, NULL, 10);
    }
    if (f != NULL)
        fclose(f);
    return kb;
}

static void read_set(const char *dir, struct set *ret)
{
    struct dirent **entries = NULL;
    int n = scandir(dir, &entries, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        AUTO_FREE struct dirent *entry = entries[i];
        AUTO_FREE char *path = xasprintf("%s/%s", dir, entry->d_name);
        struct picture_info info;
        struct blob *b = NULL;
        if (ret->count == PICTURES_MAX ||
            fs_read_blob(AT_FDCWD, path, picture_limits_default.bytes_max, &b, NULL) < 0)
            continue;
        if (picture_probe(b->data, b->size, &picture_limits_default, &info, NULL) < 0)
            blob_unref(b);
        else
            ret->picture[ret->count++] = b;
    }
    free(entries);
}

static struct detector *open_detector(const char *model, int threads, bool square)
{
    struct detector_options o = {.model = model,
                                 .confidence_min = -1,
                                 .iou_max = -1,
                                 .threads = threads,
                                 .square = square,
                                 .limits = picture_limits_default};
    struct detector *d = NULL;
    struct err e = {.code = 0};
    struct mono_time start = clock_mono();
    if (detector_find("local")->open(&o, &d, &e) < 0) {
        fprintf(stderr, "%s\n", e.text);
        exit(1);
    }
    char about[256];
    d->ops->describe(d, about, sizeof(about));
    printf("%s\nready after %.0f ms\n", about, mono_diff_ms(clock_mono(), start));
    return d;
}

static void print_rate(const char *what, struct rate r)
{
    printf("%-40s %7.2f pictures/s, %7.1f ms of processor each\n", what, r.per_second, r.cpu_ms);
}

static void print_ratio(const char *what, struct rate a, struct rate b)
{
    printf("%-40s %7.3f by the clock, %7.3f by processor time\n", what, a.per_second / b.per_second,
           b.cpu_ms / a.cpu_ms);
}

int main(int argc, char **argv)
{
    const char *model = NULL, *pictures = NULL;
    double seconds = 5;
    int64_t threads = 2, passes = 1;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        bool pair = true;
        if (strcmp(argv[i], "--pictures") == 0)
            pictures = value;
        else if (strcmp(argv[i], "--seconds") == 0)
            (void)parse_double(value, strlen(value), 0.1, 600, &seconds);
        else if (strcmp(argv[i], "--threads") == 0)
            (void)parse_int64(value, strlen(value), 1, THREADS_MAX, &threads);
        else if (strcmp(argv[i], "--passes") == 0)
            (void)parse_int64(value, strlen(value), 1, 1000000, &passes);
        else
            pair = false;
        if (pair)
            i++;
        else
            model = argv[i];
    }
    mallopt(M_ARENA_MAX, 2); /* as the program itself does */
    mallopt(M_TRIM_THRESHOLD, 1 << 20);
    struct ort *o = NULL;
    struct local_model about;
    struct err e = {.code = 0};
    if (model == NULL || ort_open(NULL, &o, &e) < 0 || local_inspect(model, NULL, &about, &e) < 0) {
        fprintf(stderr, "bench_detect: %s\n", model != NULL ? e.text : "which model?");
        return 1;
    }
    malloc_trim(0);
    long before = resident_kb();
    struct detector *d = open_detector(model, (int)threads, false);
    struct set set = {.count = 0};
    if (pictures != NULL)
        read_set(pictures, &set);
    int callers = d->ops->parallelism(d);
    struct rate whole = {0, 0}, alone = {0, 0};
    if (set.count > 0) {
        size_t total = MAX((size_t)passes * set.count, (size_t)8);
        (void)whole_rate(d, &set, callers, MIN(set.count, (size_t)24)); /* warm */
        long first = resident_kb();
        whole = whole_rate(d, &set, callers, total);
        long last = resident_kb();
        struct timespec pause = {.tv_nsec = 300000000}; /* until the house counts as quiet */
        nanosleep(&pause, NULL);
        alone = whole_rate(d, &set, 1, MIN(total, (size_t)40));
        printf("memory: %.1f MB before, %.1f after the first pictures, %.1f after %zu\n",
               (double)before / 1024, (double)first / 1024, (double)last / 1024, total);
    }
    d->ops->close(d);

    const int64_t dim[4] = {1, 3, about.head.input_height, about.head.input_width};
    struct rate wide = bare_rate(o, model, dim, 1, (int)threads, seconds);
    struct rate narrow = bare_rate(o, model, dim, (int)threads, 1, seconds);
    print_rate("bare, one core each", narrow);
    print_rate("bare, all cores on one", wide);
    if (set.count > 0) {
        print_rate("detector, backlog", whole);
        print_rate("detector, one by one", alone);
        print_ratio("backlog over bare, one core each", whole, narrow);
        print_ratio("backlog over bare, all cores on one", whole, wide);
        print_ratio("one by one over bare, all cores on one", alone, wide);
    }
    if (set.count > 0 && about.head.dynamic) {
        d = open_detector(model, (int)threads, true);
        (void)whole_rate(d, &set, callers, 4);
        struct rate square = whole_rate(d, &set, callers, MAX((size_t)passes * set.count, 8ul));
        print_rate("padded to the square", square);
        print_ratio("fitting rectangles over the square", whole, square);
        d->ops->close(d);
    }
    for (size_t i = 0; i < set.count; i++)
        blob_unref(set.picture[i]);
    local_model_done(&about);
    ort_unref(o);
    return 0;
}
