/* The ONNX Runtime alone, as a user of its C API would run it with its defaults: what the program
 * is measured against. Nothing of ours is linked, so nothing of ours can slow the baseline down.
 *
 *   bench_ort LIBRARY MODEL [sessions N] [threads N] [seconds S] [spin 0|1]
 *             [height H] [width W] [step 1]
 *
 * N sessions run side by side, each in a thread of its own, each with `threads` threads inside a
 * layer. One line of JSON comes out. With `step 1` it makes one run for each line of its input and
 * answers with the milliseconds, so that its runs can take turns with something else. */

#include <dlfcn.h>
#include <onnxruntime_c_api.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define SESSIONS_MAX 64
#define RUNS_MAX 200000
#define OUTPUTS_MAX 16

struct options {
    const char *library, *model;
    double sessions, threads, seconds, spin, height, width, step;
};

struct runner {
    OrtSession *session;
    OrtValue *input;
    float *numbers;
    char *input_name;
    char *output_name[OUTPUTS_MAX];
    size_t output_count;
    int64_t dim[4];
    double *ms; /* of each run */
    size_t runs;
    double cpu_s;
};

static const OrtApi *api;
static OrtEnv *env;
static double stop_at;

static void parse(int argc, char **argv, struct options *ret);
static void open_runtime(const char *library);
static void open_session(const struct options *o, struct runner *r);
static void *run_for_a_while(void *arg);
static void answer_steps(struct runner *r);
static void run_once(struct runner *r);
static void report(const struct options *o, struct runner *r, size_t count, double create_ms,
                   double first_ms, double elapsed_s, double cpu_s);
static void check(OrtStatus *status);
static double now_s(clockid_t clock);

int main(int argc, char **argv)
{
    struct options o = {.sessions = 1, .threads = 1, .seconds = 5, .spin = 1};
    parse(argc, argv, &o);
    open_runtime(o.library);
    static struct runner runners[SESSIONS_MAX];
    size_t count = (size_t)o.sessions;
    double start = now_s(CLOCK_MONOTONIC);
    open_session(&o, &runners[0]);
    double create_ms = (now_s(CLOCK_MONOTONIC) - start) * 1e3;
    start = now_s(CLOCK_MONOTONIC);
    run_once(&runners[0]);
    double first_ms = (now_s(CLOCK_MONOTONIC) - start) * 1e3;
    for (size_t i = 1; i < count; i++) {
        open_session(&o, &runners[i]);
        run_once(&runners[i]);
    }
    if (o.step > 0) {
        answer_steps(&runners[0]);
        return 0;
    }
    double cpu = now_s(CLOCK_PROCESS_CPUTIME_ID);
    start = now_s(CLOCK_MONOTONIC);
    stop_at = start + o.seconds;
    pthread_t threads[SESSIONS_MAX];
    for (size_t i = 0; i < count; i++)
        if (pthread_create(&threads[i], NULL, run_for_a_while, &runners[i]) != 0)
            return 1;
    for (size_t i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    report(&o, runners, count, create_ms, first_ms, now_s(CLOCK_MONOTONIC) - start,
           now_s(CLOCK_PROCESS_CPUTIME_ID) - cpu);
    return 0;
}

static void parse(int argc, char **argv, struct options *ret)
{
    const struct {
        const char *name;
        double *value;
    } known[] = {{"sessions", &ret->sessions}, {"threads", &ret->threads},
                 {"seconds", &ret->seconds},   {"spin", &ret->spin},
                 {"height", &ret->height},     {"width", &ret->width},
                 {"step", &ret->step}};
    if (argc < 3 || argc % 2 == 0) {
        fprintf(stderr, "usage: bench_ort LIBRARY MODEL [NAME VALUE]... (see the source)\n");
        exit(2);
    }
    ret->library = argv[1];
    ret->model = argv[2];
    for (int i = 3; i + 1 < argc; i += 2) {
        bool found = false;
        for (size_t k = 0; k < sizeof(known) / sizeof(known[0]); k++) {
            if (strcmp(argv[i], known[k].name) == 0) {
                *known[k].value = strtod(argv[i + 1], NULL);
                found = true;
            }
        }
        if (!found) {
            fprintf(stderr, "bench_ort: unknown option %s\n", argv[i]);
            exit(2);
        }
    }
    if (ret->sessions < 1 || ret->sessions > SESSIONS_MAX) {
        fprintf(stderr, "bench_ort: 1 to %d sessions\n", SESSIONS_MAX);
        exit(2);
    }
}

static void open_runtime(const char *library)
{
    (void)setenv("ORT_DISABLE_TELEMETRY", "1", 1); /* as the program does */
    void *handle = dlopen(library, RTLD_NOW);
    void *symbol = handle != NULL ? dlsym(handle, "OrtGetApiBase") : NULL;
    const OrtApiBase *(*base)(void);
    if (symbol == NULL) {
        fprintf(stderr, "bench_ort: %s\n", dlerror());
        exit(1);
    }
    memcpy(&base, &symbol, sizeof(base));
    api = base()->GetApi(ORT_API_VERSION);
    for (uint32_t version = ORT_API_VERSION - 1; api == NULL && version > 13; version--)
        api = base()->GetApi(version);
    if (api == NULL) {
        fprintf(stderr, "bench_ort: %s is too old\n", library);
        exit(1);
    }
    check(api->CreateEnv(ORT_LOGGING_LEVEL_ERROR, "bench", &env));
}

/* The shape of the first input, with its open sizes from the options; pseudo-random content,
 * because nothing but zeros lets some processors run faster. */
static void open_session(const struct options *o, struct runner *r)
{
    OrtSessionOptions *so = NULL;
    OrtAllocator *allocator = NULL;
    OrtTypeInfo *type = NULL;
    const OrtTensorTypeAndShapeInfo *tensor = NULL;
    OrtMemoryInfo *memory = NULL;
    check(api->CreateSessionOptions(&so));
    check(api->SetIntraOpNumThreads(so, (int)o->threads));
    check(
        api->AddSessionConfigEntry(so, "session.intra_op.allow_spinning", o->spin > 0 ? "1" : "0"));
    check(api->CreateSession(env, o->model, so, &r->session));
    api->ReleaseSessionOptions(so);
    check(api->GetAllocatorWithDefaultOptions(&allocator));
    check(api->SessionGetInputName(r->session, 0, allocator, &r->input_name));
    check(api->SessionGetOutputCount(r->session, &r->output_count));
    if (r->output_count > OUTPUTS_MAX)
        exit(1);
    for (size_t i = 0; i < r->output_count; i++)
        check(api->SessionGetOutputName(r->session, i, allocator, &r->output_name[i]));
    check(api->SessionGetInputTypeInfo(r->session, 0, &type));
    check(api->CastTypeInfoToTensorInfo(type, &tensor));
    check(api->GetDimensions(tensor, r->dim, 4));
    api->ReleaseTypeInfo(type);
    const int64_t open_size[4] = {1, 3, o->height > 0 ? (int64_t)o->height : 640,
                                  o->width > 0 ? (int64_t)o->width : 640};
    size_t count = 1;
    for (int i = 0; i < 4; i++) {
        if (r->dim[i] < 1)
            r->dim[i] = open_size[i];
        count *= (size_t)r->dim[i];
    }
    r->numbers = malloc(count * sizeof(float));
    r->ms = malloc(RUNS_MAX * sizeof(double));
    if (r->numbers == NULL || r->ms == NULL)
        exit(1);
    unsigned state = 1;
    for (size_t i = 0; i < count; i++) {
        state = state * 1664525U + 1013904223U;
        r->numbers[i] = (float)(state >> 24) / 255;
    }
    check(api->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory));
    check(api->CreateTensorWithDataAsOrtValue(memory, r->numbers, count * sizeof(float), r->dim, 4,
                                              ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &r->input));
    api->ReleaseMemoryInfo(memory);
}

static void answer_steps(struct runner *r)
{
    char line[8];
    while (fgets(line, sizeof(line), stdin) != NULL) {
        double start = now_s(CLOCK_MONOTONIC);
        run_once(r);
        printf("%.3f\n", (now_s(CLOCK_MONOTONIC) - start) * 1e3);
        fflush(stdout);
    }
}

static void *run_for_a_while(void *arg)
{
    struct runner *r = arg;
    while (now_s(CLOCK_MONOTONIC) < stop_at && r->runs < RUNS_MAX) {
        double start = now_s(CLOCK_MONOTONIC);
        run_once(r);
        r->ms[r->runs++] = (now_s(CLOCK_MONOTONIC) - start) * 1e3;
    }
    return NULL;
}

static void run_once(struct runner *r)
{
    OrtValue *out[OUTPUTS_MAX] = {NULL};
    const char *input = r->input_name;
    check(api->Run(r->session, NULL, &input, (const OrtValue *const *)&r->input, 1,
                   (const char *const *)r->output_name, r->output_count, out));
    for (size_t i = 0; i < r->output_count; i++)
        api->ReleaseValue(out[i]);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void report(const struct options *o, struct runner *r, size_t count, double create_ms,
                   double first_ms, double elapsed_s, double cpu_s)
{
    size_t runs = 0;
    for (size_t i = 0; i < count; i++)
        runs += r[i].runs;
    qsort(r[0].ms, r[0].runs, sizeof(double), compare);
    double median = r[0].runs > 0 ? r[0].ms[r[0].runs / 2] : 0;
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("{\"runs\": %zu, \"per_second\": %.3f, \"cpu_ms\": %.3f, \"median_ms\": %.3f, "
           "\"create_ms\": %.1f, \"first_ms\": %.1f, \"height\": %lld, \"width\": %lld, "
           "\"peak_mb\": %.1f, \"sessions\": %zu, \"threads\": %d}\n",
           runs, (double)runs / elapsed_s, runs > 0 ? cpu_s * 1e3 / (double)runs : 0.0, median,
           create_ms, first_ms, (long long)r[0].dim[2], (long long)r[0].dim[3],
           (double)usage.ru_maxrss / 1024, count, (int)o->threads);
}

static void check(OrtStatus *status)
{
    if (status == NULL)
        return;
    fprintf(stderr, "bench_ort: %s\n", api->GetErrorMessage(status));
    exit(1);
}

static double now_s(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}
