/* ONNX Runtime behind dlopen(). Choices that were measured (yolov8n-640, two cores):
 *  - sessions with several threads let them spin during a run and stop them at its end: 7 % off the
 *    latency. Spinning on after it, the default, burns a core for nothing, and two busy processes
 * on a small box halve each other's speed.
 *  - one arena for all sessions, growing by what is asked for: by powers of two it keeps up to
 *    twice the peak.
 *  - memory pattern on: from the second run of a shape on, all tensors of a run come out of one
 *    block. Without it the threads meet at the shared arena for each (8 % fewer pictures). The
 *    first run leaves its pieces behind, which is why ort_session_warm() gives them back. */
#include "sys/ort.h"

#include <string.h>

const char *const ort_type_names[ORT_TYPE_COUNT] = {
    [ORT_TYPE_F32] = "float32", [ORT_TYPE_F16] = "float16",        [ORT_TYPE_U8] = "uint8",
    [ORT_TYPE_I64] = "int64",   [ORT_TYPE_OTHER] = "another type",
};

const char *const ort_provider_names[] = {"cpu",     "cuda", "tensorrt", "openvino",
                                          "xnnpack", "acl",  "webgpu",   NULL};

float ort_half_to_float(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t exponent = (half >> 10) & 0x1fu;
    uint32_t fraction = half & 0x3ffu;
    uint32_t bits;
    if (exponent == 0x1f) { /* infinity, NaN */
        bits = sign | 0x7f800000u | fraction << 13;
    } else if (exponent != 0) {
        bits = sign | (exponent + 112) << 23 | fraction << 13;
    } else { /* zero and subnormals: fraction * 2^-24, exact in float */
        float value = (float)fraction * 0x1p-24f;
        return sign != 0 ? -value : value;
    }
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

uint16_t ort_float_to_half(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000u);
    uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u)
        return sign | 0x7e00u;
    if (magnitude >= 0x477ff000u) /* rounds to 65520 or more: infinity */
        return sign | 0x7c00u;
    if (magnitude < 0x38800000u) { /* below 2^-14: subnormal; the addition rounds to even for us */
        float absolute;
        memcpy(&absolute, &magnitude, sizeof(absolute));
        float shifted = absolute + 0.5f;
        memcpy(&bits, &shifted, sizeof(bits));
        return (uint16_t)(sign | (bits - 0x3f000000u));
    }
    uint32_t rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u);
    return (uint16_t)(sign | ((rounded - 0x38000000u) >> 13));
}

#if HAVE_ONNXRUNTIME

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <onnxruntime_c_api.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"

/* The newest call that we need unconditionally (arena configuration by keys) is older than this;
 * Debian's first packaged release is 1.21. */
#define ORT_API_OLDEST 14
/* First piece of the arena: enough for the smallest models, so that it grows in few steps. */
#define ARENA_CHUNK_FIRST ((size_t)1 << 20)

struct ort {
    int references; /* under `runtime_lock` */
    const OrtApi *api;
    OrtEnv *env;
    OrtMemoryInfo *memory;
    void *library; /* never closed: its threads and destructors may outlive us */
    bool shared_arena;
    char *version;
    char *path;
};

struct ort_session {
    struct ort *runtime;
    OrtSession *session;
    struct ort_tensor_info input[ORT_TENSOR_MAX], output[ORT_TENSOR_MAX];
    size_t input_count, output_count;
};

static pthread_mutex_t runtime_lock = PTHREAD_MUTEX_INITIALIZER;
static struct ort *runtime; /* the one of the process, or NULL */

static int open_library(const char *wanted, void **ret, char **ret_path, struct err *e);
static int choose_api(void *library, const char *path, const OrtApi **ret, char **ret_version,
                      struct err *e);
static int make_environment(struct ort *o, struct err *e);
static int check(const struct ort *o, OrtStatus *status, int code, struct err *e, const char *what);
static int append_provider(struct ort *o, OrtSessionOptions *options, const char *provider,
                           int threads, struct err *e);
static int read_tensors(struct ort_session *s, struct err *e);
static enum ort_type type_of(ONNXTensorElementDataType type);

int ort_open(const char *library, struct ort **ret, struct err *e)
{
    int r = 0;
    pthread_mutex_lock(&runtime_lock);
    if (runtime == NULL) {
        struct ort *o = xcalloc(1, sizeof(*o));
        r = open_library(library, &o->library, &o->path, e);
        if (r == 0)
            r = choose_api(o->library, o->path, &o->api, &o->version, e);
        if (r == 0)
            r = make_environment(o, e);
        if (r == 0) {
            runtime = o;
        } else {
            free(o->path);
            free(o->version);
            free(o);
        }
    }
    if (r == 0) {
        runtime->references++;
        *ret = runtime;
    }
    pthread_mutex_unlock(&runtime_lock);
    return r;
}

struct ort *ort_ref(struct ort *o)
{
    pthread_mutex_lock(&runtime_lock);
    o->references++;
    pthread_mutex_unlock(&runtime_lock);
    return o;
}

void ort_unref(struct ort *o)
{
    if (o == NULL)
        return;
    pthread_mutex_lock(&runtime_lock);
    if (--o->references == 0) {
        o->api->ReleaseMemoryInfo(o->memory);
        o->api->ReleaseEnv(o->env);
        free(o->path);
        free(o->version);
        free(o);
        runtime = NULL;
    }
    pthread_mutex_unlock(&runtime_lock);
}

const char *ort_version(const struct ort *o)
{
    return o->version;
}

const char *ort_path(const struct ort *o)
{
    return o->path;
}

/* A path counts only when there is a file; dlopen() of a bare name searches the system. */
static void *try_library(const char *path, char *why, size_t why_size)
{
    if (strchr(path, '/') != NULL && access(path, R_OK) != 0) {
        text_format(why, why_size, "%s: %s", path, strerror(errno));
        return NULL;
    }
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) {
        const char *text = dlerror();
        text_copy(why, why_size, text != NULL ? text : path);
    }
    return handle;
}

/* Since 1.29 the vendor's builds for Linux send their maker events about models and sessions, and
 * keep an identifier of the machine in ~/.cache. Both names that its releases gave to the switch
 * are set, before the library is loaded: it looks once, and DisableTelemetryEvents() comes too late
 * for the first event. (microsoft/onnxruntime, pull requests 27379 and 29843) */
static void keep_to_itself(void)
{
    (void)setenv("ORT_DISABLE_TELEMETRY", "1", 1);
    (void)setenv("ORT_TELEMETRY_DISABLED", "1", 1);
}

static int open_library(const char *wanted, void **ret, char **ret_path, struct err *e)
{
    keep_to_itself();
    char why[256] = "";
    const char *origin = "runtime_library";
    if (wanted == NULL || wanted[0] == '\0') {
        wanted = getenv("SNAPSHOTD_ONNXRUNTIME");
        origin = "SNAPSHOTD_ONNXRUNTIME";
    }
    if (wanted != NULL && wanted[0] != '\0') {
        *ret = try_library(wanted, why, sizeof(why));
        if (*ret == NULL)
            return err_set(e, -ENOENT, ERR_NEVER, "ONNX Runtime named by %s cannot be opened: %s",
                           origin, why);
        *ret_path = xstrdup(wanted);
        return 0;
    }
    /* An installation has its own library and must not take that of a source tree. */
    AUTO_FREE char *installed = fs_beside_program(ORT_LIBDIR_FROM_BINDIR);
    AUTO_FREE char *beside = fs_beside_program("../lib");
    const char *folders[] = {installed, beside, ORT_BUILD_LIBDIR, ORT_INSTALL_LIBDIR, ""};
    static const char *const names[] = {"libonnxruntime.so.1", "libonnxruntime.so"};
    for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
        for (size_t k = 0; folders[i] != NULL && k < ARRAY_LEN(names); k++) {
            AUTO_FREE char *path =
                xasprintf("%s%s%s", folders[i], folders[i][0] != '\0' ? "/" : "", names[k]);
            *ret = try_library(path, why, sizeof(why));
            if (*ret != NULL) {
                *ret_path = STEAL(path);
                return 0;
            }
        }
    }
    return err_set(e, -ENOENT, ERR_NEVER,
                   "no ONNX Runtime library found (looked beside the program, in %s, in %s and "
                   "where the system keeps libraries): run tools/setup, install "
                   "libonnxruntime, or name it in [detection] runtime_library or "
                   "SNAPSHOTD_ONNXRUNTIME",
                   ORT_BUILD_LIBDIR, ORT_INSTALL_LIBDIR);
}

/* Asks for the API of our header or the newest that the library has: it answers NULL (and prints)
 * to anything above its own minor release. */
static int choose_api(void *library, const char *path, const OrtApi **ret, char **ret_version,
                      struct err *e)
{
    const OrtApiBase *(*base_of)(void);
    void *symbol = dlsym(library, "OrtGetApiBase");
    if (symbol == NULL)
        return err_set(e, -ENOENT, ERR_NEVER, "%s is no ONNX Runtime: it has no OrtGetApiBase",
                       path);
    memcpy(&base_of, &symbol, sizeof(base_of)); /* ISO C has no cast from object to function */
    const OrtApiBase *base = base_of();
    const char *version = base->GetVersionString();
    const char *minor_text = strchr(version, '.');
    int64_t minor = 0;
    if (minor_text != NULL)
        (void)parse_int64(minor_text + 1, strspn(minor_text + 1, "0123456789"), 0, 10000, &minor);
    const OrtApi *api = NULL;
    if (minor >= ORT_API_OLDEST)
        api = base->GetApi((uint32_t)MIN(minor, (int64_t)ORT_API_VERSION));
    if (api == NULL)
        return err_set(e, -ENOTSUP, ERR_NEVER,
                       "%s is ONNX Runtime %s, which is too old: 1.%d or newer is needed", path,
                       version, ORT_API_OLDEST);
    *ret = api;
    *ret_version = xstrdup(version);
    return 0;
}

/* What goes wrong comes back as a status too, so the library's own lines are only for debugging. */
static void ORT_API_CALL log_line(void *arg, OrtLoggingLevel severity, const char *category,
                                  const char *id, const char *location, const char *message)
{
    (void)arg, (void)severity, (void)category, (void)id, (void)location;
    log_debug("onnxruntime", "%s", message);
}

static int make_environment(struct ort *o, struct err *e)
{
    const OrtApi *api = o->api;
    int r = check(o,
                  api->CreateEnvWithCustomLogger(log_line, NULL, ORT_LOGGING_LEVEL_WARNING,
                                                 "snapshotd", &o->env),
                  -EIO, e, "start ONNX Runtime");
    if (r < 0)
        return r;
    r = check(o, api->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &o->memory), -EIO,
              e, "start ONNX Runtime");
    if (r < 0) {
        api->ReleaseEnv(o->env);
        return r;
    }
    static const char *const keys[] = {"arena_extend_strategy", "initial_chunk_size_bytes"};
    const size_t values[] = {1 /* as requested */, ARENA_CHUNK_FIRST};
    OrtArenaCfg *arena = NULL;
    OrtStatus *status = api->CreateArenaCfgV2(keys, values, ARRAY_LEN(keys), &arena);
    if (status == NULL)
        status = api->CreateAndRegisterAllocator(o->env, o->memory, arena);
    /* Without it sessions have an arena each: more memory, the same results. */
    o->shared_arena = status == NULL;
    if (status != NULL)
        api->ReleaseStatus(status);
    if (arena != NULL)
        api->ReleaseArenaCfg(arena);
    return 0;
}

/* Takes the status; 0 when it is NULL. */
static int check(const struct ort *o, OrtStatus *status, int code, struct err *e, const char *what)
{
    if (status == NULL)
        return 0;
    char text[384];
    text_escape(o->api->GetErrorMessage(status), strlen(o->api->GetErrorMessage(status)), text,
                sizeof(text));
    o->api->ReleaseStatus(status);
    return err_set(e, code, ERR_NEVER, "%s: %s", what, text);
}

int ort_session_new(struct ort *o, const struct ort_session_options *options,
                    struct ort_session **ret, struct err *e)
{
    const OrtApi *api = o->api;
    if (access(options->model, R_OK) != 0)
        return err_errno(e, -errno, "model %s", options->model);

    const char *provider = options->provider != NULL ? options->provider : "cpu";
    bool own_threads = strcmp(provider, "xnnpack") == 0; /* it brings its own pool */
    AUTO(ort_session) s = xcalloc(1, sizeof(*s));
    s->runtime = ort_ref(o);
    OrtSessionOptions *so = NULL;
    int r = check(o, api->CreateSessionOptions(&so), -EIO, e, "session options");
    if (r < 0)
        return r;
    OrtStatus *status = api->SetIntraOpNumThreads(so, own_threads ? 1 : options->threads);
    if (status == NULL)
        status = api->AddSessionConfigEntry(so, "session.intra_op.allow_spinning",
                                            options->threads > 1 ? "1" : "0");
    if (status == NULL)
        status = api->AddSessionConfigEntry(so, "session.force_spinning_stop", "1");
    if (status == NULL && o->shared_arena)
        status = api->AddSessionConfigEntry(so, "session.use_env_allocators", "1");
    if (status == NULL)
        status = api->SetSessionLogSeverityLevel(so, ORT_LOGGING_LEVEL_ERROR);
    if (status == NULL && options->quick)
        status = api->SetSessionGraphOptimizationLevel(so, ORT_DISABLE_ALL);
    r = check(o, status, -EIO, e, "session options");
    if (r == 0)
        r = append_provider(o, so, provider, options->threads, e);
    if (r == 0) {
        bool plain = strcmp(provider, "cpu") == 0;
        r = check(o, api->CreateSession(o->env, options->model, so, &s->session),
                  plain ? -EINVAL : -ENOTSUP, e, options->model);
    }
    api->ReleaseSessionOptions(so);
    if (r == 0)
        r = read_tensors(s, e);
    if (r < 0)
        return r;
    *ret = STEAL(s);
    return 0;
}

void ort_session_free(struct ort_session *s)
{
    if (s == NULL)
        return;
    if (s->session != NULL)
        s->runtime->api->ReleaseSession(s->session);
    ort_unref(s->runtime);
    free(s);
}

/* Providers are appended in three manners; each may be missing from a library, or be listed in it
 * while its own library is not there. The error is what the caller shows before he goes on with
 * the next one. */
static int append_provider(struct ort *o, OrtSessionOptions *so, const char *provider, int threads,
                           struct err *e)
{
    const OrtApi *api = o->api;
    AUTO_FREE char *what = xasprintf("provider %s", provider);
    if (strcmp(provider, "cpu") == 0)
        return 0;
    if (strcmp(provider, "cuda") == 0) {
        OrtCUDAProviderOptionsV2 *cuda = NULL;
        OrtStatus *status = api->CreateCUDAProviderOptions(&cuda);
        if (status == NULL) {
            status = api->SessionOptionsAppendExecutionProvider_CUDA_V2(so, cuda);
            api->ReleaseCUDAProviderOptions(cuda);
        }
        return check(o, status, -ENOTSUP, e, what);
    }
    if (strcmp(provider, "tensorrt") == 0) {
        OrtTensorRTProviderOptionsV2 *trt = NULL;
        OrtStatus *status = api->CreateTensorRTProviderOptions(&trt);
        if (status == NULL) {
            status = api->SessionOptionsAppendExecutionProvider_TensorRT_V2(so, trt);
            api->ReleaseTensorRTProviderOptions(trt);
        }
        return check(o, status, -ENOTSUP, e, what);
    }
    if (strcmp(provider, "acl") == 0) { /* Arm: has only its own exported function */
        OrtStatus *(*append)(OrtSessionOptions *, bool);
        void *symbol = dlsym(o->library, "OrtSessionOptionsAppendExecutionProvider_ACL");
        if (symbol == NULL)
            return err_set(e, -ENOTSUP, ERR_NEVER, "%s: not in this build of ONNX Runtime", what);
        memcpy(&append, &symbol, sizeof(append));
        return check(o, append(so, false), -ENOTSUP, e, what);
    }
    char count[16];
    text_format(count, sizeof(count), "%d", threads);
    const struct {
        const char *provider, *name, *key, *value;
    } generic[] = {
        {"openvino", "OpenVINO", "device_type", "CPU"},
        {"xnnpack", "XNNPACK", "intra_op_num_threads", count},
        {"webgpu", "WebGPU", NULL, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(generic); i++) {
        if (strcmp(provider, generic[i].provider) == 0)
            return check(o,
                         api->SessionOptionsAppendExecutionProvider(
                             so, generic[i].name, &generic[i].key, &generic[i].value,
                             generic[i].key != NULL ? 1 : 0),
                         -ENOTSUP, e, what);
    }
    return err_set(
        e, -EINVAL, ERR_NEVER,
        "%s: unknown name: known are cpu, cuda, tensorrt, openvino, xnnpack, acl, webgpu", what);
}

static void give_back(const struct ort *o, OrtAllocator *allocator, void *p)
{
    OrtStatus *status = o->api->AllocatorFree(allocator, p);
    if (status != NULL) /* does not happen for a pointer that it gave */
        o->api->ReleaseStatus(status);
}

static int read_tensor(struct ort_session *s, bool output, size_t index, struct err *e)
{
    const OrtApi *api = s->runtime->api;
    struct ort_tensor_info *info = output ? &s->output[index] : &s->input[index];
    OrtAllocator *allocator = NULL;
    OrtTypeInfo *type = NULL;
    char *name = NULL;
    OrtStatus *status = api->GetAllocatorWithDefaultOptions(&allocator);
    if (status == NULL)
        status = output ? api->SessionGetOutputName(s->session, index, allocator, &name)
                        : api->SessionGetInputName(s->session, index, allocator, &name);
    bool fits = true;
    if (status == NULL) {
        fits = text_copy(info->name, sizeof(info->name), name);
        give_back(s->runtime, allocator, name);
        status = output ? api->SessionGetOutputTypeInfo(s->session, index, &type)
                        : api->SessionGetInputTypeInfo(s->session, index, &type);
    }
    const OrtTensorTypeAndShapeInfo *tensor = NULL;
    if (status == NULL)
        status = api->CastTypeInfoToTensorInfo(type, &tensor);
    info->type = ORT_TYPE_OTHER;
    if (status == NULL && tensor != NULL) { /* sequences and maps have none */
        ONNXTensorElementDataType element = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
        size_t rank = 0;
        status = api->GetTensorElementType(tensor, &element);
        if (status == NULL)
            status = api->GetDimensionsCount(tensor, &rank);
        fits = fits && rank <= ORT_RANK_MAX;
        if (status == NULL && fits)
            status = api->GetDimensions(tensor, info->dim, rank);
        info->rank = (int)rank;
        info->type = type_of(element);
    }
    if (type != NULL)
        api->ReleaseTypeInfo(type);
    int r = check(s->runtime, status, -EINVAL, e, "the model's inputs and outputs");
    if (r == 0 && !fits)
        r = err_set(e, -ENOTSUP, ERR_NEVER, "the model's %s %zu has an over-long name or rank",
                    output ? "output" : "input", index);
    return r;
}

static int read_tensors(struct ort_session *s, struct err *e)
{
    const OrtApi *api = s->runtime->api;
    OrtStatus *status = api->SessionGetInputCount(s->session, &s->input_count);
    if (status == NULL)
        status = api->SessionGetOutputCount(s->session, &s->output_count);
    int r = check(s->runtime, status, -EINVAL, e, "the model's inputs and outputs");
    if (r < 0)
        return r;
    if (s->input_count > ORT_TENSOR_MAX || s->output_count > ORT_TENSOR_MAX)
        return err_set(e, -ENOTSUP, ERR_NEVER,
                       "the model has %zu inputs and %zu outputs, no known detector has above %d",
                       s->input_count, s->output_count, ORT_TENSOR_MAX);
    for (size_t i = 0; r == 0 && i < s->input_count; i++)
        r = read_tensor(s, false, i, e);
    for (size_t i = 0; r == 0 && i < s->output_count; i++)
        r = read_tensor(s, true, i, e);
    return r;
}

static enum ort_type type_of(ONNXTensorElementDataType type)
{
    if (type == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT)
        return ORT_TYPE_F32;
    if (type == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16)
        return ORT_TYPE_F16;
    if (type == ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8)
        return ORT_TYPE_U8;
    if (type == ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64)
        return ORT_TYPE_I64;
    return ORT_TYPE_OTHER;
}

size_t ort_session_input_count(const struct ort_session *s)
{
    return s->input_count;
}

size_t ort_session_output_count(const struct ort_session *s)
{
    return s->output_count;
}

const struct ort_tensor_info *ort_session_input(const struct ort_session *s, size_t i)
{
    return &s->input[i];
}

const struct ort_tensor_info *ort_session_output(const struct ort_session *s, size_t i)
{
    return &s->output[i];
}

char *ort_session_metadata(const struct ort_session *s, const char *key, size_t max)
{
    const OrtApi *api = s->runtime->api;
    OrtAllocator *allocator = NULL;
    OrtModelMetadata *metadata = NULL;
    char *value = NULL, *copy = NULL;
    OrtStatus *status = api->GetAllocatorWithDefaultOptions(&allocator);
    if (status == NULL)
        status = api->SessionGetModelMetadata(s->session, &metadata);
    if (status == NULL)
        status = api->ModelMetadataLookupCustomMetadataMap(metadata, allocator, key, &value);
    if (status != NULL)
        api->ReleaseStatus(status);
    if (value != NULL) {
        if (strlen(value) <= max)
            copy = xstrdup(value);
        give_back(s->runtime, allocator, value);
    }
    if (metadata != NULL)
        api->ReleaseModelMetadata(metadata);
    return copy;
}

/* Largest tensor that is converted between float and half, in numbers: a 2048x2048 picture. */
#define HALF_COUNT_MAX ((size_t)3 * 2048 * 2048)

static int wrap_input(struct ort_session *s, const float *input, const int64_t dim[4],
                      uint16_t **ret_half, OrtValue **ret, struct err *e)
{
    struct ort *o = s->runtime;
    size_t count = (size_t)(dim[0] * dim[1] * dim[2] * dim[3]);
    void *data;
    size_t size = sizeof(float);
    ONNXTensorElementDataType type = ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
    if (s->input[0].type == ORT_TYPE_F16) {
        *ret_half = mem_try_alloc(count, sizeof(uint16_t), HALF_COUNT_MAX * sizeof(uint16_t));
        if (*ret_half == NULL)
            return err_set(e, -ENOMEM, ERR_LATER, "no memory for a float16 input");
        for (size_t i = 0; i < count; i++)
            (*ret_half)[i] = ort_float_to_half(input[i]);
        data = *ret_half;
        size = sizeof(uint16_t);
        type = ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16;
    } else {
        data = (void *)(uintptr_t)input; /* only read; the C API has no const variant */
    }
    return check(
        o, o->api->CreateTensorWithDataAsOrtValue(o->memory, data, count * size, dim, 4, type, ret),
        -EIO, e, "input tensor");
}

static int read_output(struct ort_session *s, OrtValue *value, size_t index,
                       struct ort_result *result, struct err *e)
{
    struct ort *o = s->runtime;
    struct ort_output *out = &result->output[index];
    OrtTensorTypeAndShapeInfo *info = NULL;
    size_t rank = 0, count = 0;
    ONNXTensorElementDataType type = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
    void *data = NULL;
    OrtStatus *status = o->api->GetTensorTypeAndShape(value, &info);
    if (status == NULL)
        status = o->api->GetDimensionsCount(info, &rank);
    if (status == NULL && rank <= ORT_RANK_MAX)
        status = o->api->GetDimensions(info, out->dim, rank);
    if (status == NULL)
        status = o->api->GetTensorShapeElementCount(info, &count);
    if (status == NULL)
        status = o->api->GetTensorElementType(info, &type);
    if (status == NULL)
        status = o->api->GetTensorMutableData(value, &data);
    if (info != NULL)
        o->api->ReleaseTensorTypeAndShapeInfo(info);
    int r = check(o, status, -EIO, e, "output tensor");
    if (r < 0)
        return r;
    if (rank > ORT_RANK_MAX)
        return err_set(e, -ENOTSUP, ERR_NEVER, "output tensor of rank %zu", rank);
    out->rank = (int)rank;
    if (type == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT) {
        out->data = data;
        return 0;
    }
    if (type != ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16)
        return err_set(e, -ENOTSUP, ERR_NEVER, "output '%s' holds %s, not floating-point numbers",
                       s->output[index].name, ort_type_names[type_of(type)]);
    const uint16_t *half = data;
    float *wide = mem_try_alloc(count, sizeof(float), HALF_COUNT_MAX * sizeof(float));
    if (wide == NULL)
        return err_set(e, -ENOMEM, ERR_LATER, "no memory for a float16 output");
    for (size_t i = 0; i < count; i++)
        wide[i] = ort_half_to_float(half[i]);
    result->widened[index] = wide;
    out->data = wide;
    return 0;
}

static int run(struct ort_session *s, const OrtRunOptions *options, const float *input,
               const int64_t dim[4], struct ort_result *ret, struct err *e)
{
    struct ort *o = s->runtime;
    if (s->input_count != 1)
        return err_set(e, -ENOTSUP, ERR_NEVER, "the model wants %zu inputs", s->input_count);
    AUTO_FREE uint16_t *half = NULL;
    OrtValue *in = NULL;
    int r = wrap_input(s, input, dim, &half, &in, e);
    if (r < 0)
        return r;
    const char *input_name = s->input[0].name;
    const char *output_names[ORT_TENSOR_MAX];
    OrtValue *out[ORT_TENSOR_MAX] = {NULL};
    for (size_t i = 0; i < s->output_count; i++)
        output_names[i] = s->output[i].name;
    r = check(o,
              o->api->Run(s->session, options, &input_name, (const OrtValue *const *)&in, 1,
                          output_names, s->output_count, out),
              -EIO, e, "run the model");
    o->api->ReleaseValue(in);
    struct ort_result result = {.count = s->output_count, .runtime = o};
    for (size_t i = 0; i < s->output_count; i++)
        result.value[i] = out[i];
    for (size_t i = 0; r == 0 && i < s->output_count; i++)
        r = read_output(s, out[i], i, &result, e);
    if (r < 0) {
        ort_result_done(&result);
        return r;
    }
    *ret = result;
    return 0;
}

int ort_session_run(struct ort_session *s, const float *input, const int64_t dim[4],
                    struct ort_result *ret, struct err *e)
{
    return run(s, NULL, input, dim, ret, e);
}

int ort_session_warm(struct ort_session *s, const float *input, const int64_t dim[4],
                     struct ort_result *ret, struct err *e)
{
    const OrtApi *api = s->runtime->api;
    OrtRunOptions *options = NULL;
    OrtStatus *status = api->CreateRunOptions(&options);
    if (status == NULL)
        status = api->AddRunConfigEntry(options, "memory.enable_memory_arena_shrinkage", "cpu:0");
    int r = check(s->runtime, status, -EIO, e, "run options");
    if (r == 0)
        r = run(s, options, input, dim, ret, e);
    if (options != NULL)
        api->ReleaseRunOptions(options);
    return r;
}

void ort_result_done(struct ort_result *r)
{
    for (size_t i = 0; i < r->count; i++) {
        free(r->widened[i]);
        if (r->value[i] != NULL)
            r->runtime->api->ReleaseValue(r->value[i]);
    }
    *r = (struct ort_result){.count = 0};
}

#endif
