#pragma once
/* The interface of everything that finds objects on a picture: the local ONNX model, later a cloud
 * service. A detector is opened once, warmed, and then asked from several threads at once. */

#include <stdbool.h>
#include <stddef.h>

#include "base/blob.h"
#include "base/err.h"
#include "model/verdict.h"
#include "picture/picture.h"

struct detector;

/* All strings borrowed during open only. */
struct detector_options {
    const char *model;             /* file, or "auto" */
    const char *const *model_dirs; /* where "auto" and bare names look, NULL-terminated */
    const char *names_file;        /* class names, one a line, NULL = from the model */
    const char *runtime_library;   /* path of libonnxruntime.so, NULL = search */
    const char *const *providers;  /* "cpu", "cuda", "tensorrt", "openvino", "xnnpack"; tried in
                                      order; NULL = cpu */
    int threads;                   /* cores to use in all, 0 = all that the process may use */
    double confidence_min;         /* <0: the model's own default */
    double iou_max;                /* NMS, <0: the family's default */
    const char *const *label_confidence; /* "person:0.5" items that replace confidence_min for
                                            their label, NULL-terminated; or NULL */
    double person_confidence; /* the same for "person", 0 = not set; an item above wins */
    struct picture_limits limits;
    bool several; /* every class that passes, not the best one of a box (evaluation) */
    bool square;  /* dynamic models: always the full square (evaluation) */
};

struct detect_request {
    struct blob *bytes;
    double confidence_min; /* <0: as opened */
    /* >0: verdict.person_best is to tell the best score of a person down to here, whether that
     * person counts or not; `found` is what it would be anyway. Detectors that cannot leave it 0.
     */
    double person_floor;
};

struct detector_ops {
    const char *name; /* "local" */
    /* Loads and warms; may take a second. Errors: no runtime, no such model, unknown family (text
     * says what was seen and what is known). */
    int (*open)(const struct detector_options *options, struct detector **ret, struct err *e);
    /* Blocks until answered; thread-safe. Fills outcome, model, timings, damaged and found
     * (descending confidence). Undecodable picture: -EINVAL with the reason; model trouble: other
     * codes. */
    int (*detect)(struct detector *d, const struct detect_request *req, struct verdict *ret,
                  struct err *e);
    /* One sentence for the log: model, family, input, threshold, provider, threads. */
    void (*describe)(const struct detector *d, char *buf, size_t size);
    /* How many detect() calls at once make sense (worker threads of the stage). */
    int (*parallelism)(const struct detector *d);
    void (*close)(struct detector *d); /* NULL is fine; no call may be running */
    /* Writes what, besides the picture, decides its answers (service, version asked for,
     * thresholds): an answer may be given again for the same picture while this text is the same.
     * NULL = its name says all. Optional. */
    void (*signature)(const struct detector *d, char *buf, size_t size);
};

struct detector {
    const struct detector_ops *ops; /* implementations embed this first */
};

/* NULL when unknown or not built in. */
const struct detector_ops *detector_find(const char *name);
/* NULL-terminated list of what is built in. */
const struct detector_ops *const *detector_all(void);
