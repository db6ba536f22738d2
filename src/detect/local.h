#pragma once
/* A look at a model file with the local runtime, for the command line. The detector itself is
 * reached through detector_find("local"). Absent when built without ONNX Runtime. */

#include "base/err.h"
#include "detect/heads.h"

struct local_model {
    struct onnx_meta meta;
    struct ort_tensor_info inputs[ORT_TENSOR_MAX], outputs[ORT_TENSOR_MAX];
    size_t input_count, output_count;
    bool recognised;
    struct head head;           /* when recognised */
    char refusal[ERR_TEXT_MAX]; /* when not */
    char runtime[32];           /* version of the library */
};
void local_model_done(struct local_model *m);

/* Loads without optimising. An unknown family is no error: `recognised` is false then. `runtime`
 * is the library's path or NULL. */
int local_inspect(const char *path, const char *runtime, struct local_model *ret, struct err *e);
