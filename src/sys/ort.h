#pragma once
/* The one door to ONNX Runtime. The library is opened at run time: its exports carry the exact
 * release as their symbol version, so linking would tie a binary to one release.
 *
 * One runtime (library and environment) lives per process and is shared by reference. Sessions may
 * be run from several threads at once. All sessions share one memory arena, so what one returns the
 * next one uses, and the process holds the peak of the work that really runs at the same time
 * rather than the sum over sessions (yolov8n at 640: 134 instead of 208 MB with two sessions). */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"

#define ORT_NAME_MAX 96   /* of an input or output; longer ones are refused */
#define ORT_RANK_MAX 6    /* detection models use 4 at most */
#define ORT_TENSOR_MAX 16 /* inputs or outputs of one model; NanoDet has the most, six */

enum ort_type {
    ORT_TYPE_F32,
    ORT_TYPE_F16,
    ORT_TYPE_U8,
    ORT_TYPE_I64,
    ORT_TYPE_OTHER,
    ORT_TYPE_COUNT
};
extern const char *const ort_type_names[ORT_TYPE_COUNT]; /* "float32", ... */

struct ort_tensor_info {
    char name[ORT_NAME_MAX];
    enum ort_type type;
    int rank;
    int64_t dim[ORT_RANK_MAX]; /* -1 = decided at run time */
};

struct ort;
struct ort_session;

/* Finds and opens the library: `library` when given (only that), else $SNAPSHOTD_ONNXRUNTIME (only
 * that), else ../lib beside the program, the build's and the installation's folder, the system. A
 * second call gives the same runtime whatever the path. Any thread. -ENOENT: no library, the text
 * says what to do. */
int ort_open(const char *library, struct ort **ret, struct err *e);
struct ort *ort_ref(struct ort *o);
/* The last reference releases the environment; the library stays mapped. */
void ort_unref(struct ort *o);
DEFINE_AUTO(ort, ort_unref)
const char *ort_version(const struct ort *o); /* "1.29.0" */
const char *ort_path(const struct ort *o);

/* Names that the configuration may use: "cpu", "cuda", ... NULL-terminated. */
extern const char *const ort_provider_names[];

struct ort_session_options {
    const char *model;    /* file; external data files sit beside it */
    const char *provider; /* one of ort_provider_names, NULL = "cpu" */
    int threads;          /* that one run may use, >= 1 */
    bool quick;           /* only to look at: no optimisation */
};

/* -ENOENT no such file, -ENOTSUP the provider is not in this library or does not start, -EINVAL
 * not a model this runtime reads. */
int ort_session_new(struct ort *o, const struct ort_session_options *options,
                    struct ort_session **ret, struct err *e);
void ort_session_free(struct ort_session *s); /* no run may be under way */
DEFINE_AUTO(ort_session, ort_session_free)

size_t ort_session_input_count(const struct ort_session *s);
size_t ort_session_output_count(const struct ort_session *s);
const struct ort_tensor_info *ort_session_input(const struct ort_session *s, size_t i);
const struct ort_tensor_info *ort_session_output(const struct ort_session *s, size_t i);
/* A value of the model's custom metadata, malloc()ed; NULL when absent or above `max` bytes. */
char *ort_session_metadata(const struct ort_session *s, const char *key, size_t max);

/* A result; the memory belongs to the runtime until ort_result_done(). */
struct ort_output {
    const float *data;
    int rank;
    int64_t dim[ORT_RANK_MAX];
};
struct ort_result {
    size_t count;
    struct ort_output output[ORT_TENSOR_MAX];
    void *value[ORT_TENSOR_MAX]; /* private */
    float *widened[ORT_TENSOR_MAX];
    const struct ort *runtime;
};

/* Runs the model on one float tensor of rank 4; it is read in place (a model that wants float16
 * gets a converted copy). Float16 outputs are widened. Blocks; any number of threads at once.
 * Models with a second input are not run: -ENOTSUP. */
int ort_session_run(struct ort_session *s, const float *input, const int64_t dim[4],
                    struct ort_result *ret, struct err *e);
/* The same for the first run of a shape: what it alone needed of memory goes back to the system. */
int ort_session_warm(struct ort_session *s, const float *input, const int64_t dim[4],
                     struct ort_result *ret, struct err *e);
void ort_result_done(struct ort_result *r);

/* IEEE half precision; conversion to half rounds to nearest, ties to even. */
float ort_half_to_float(uint16_t half);
uint16_t ort_float_to_half(float value);
