#pragma once
/* The answer to "what is on this picture": detections plus how they were had, and the counts and
 * words that the outside sees. */

#include "base/macros.h"
#include "model/detection.h"

#define VERDICT_MODEL_MAX 96
#define VERDICT_DETAIL_MAX 96
#define VERDICT_ERROR_MAX 256

enum verdict_outcome {
    VERDICT_EXAMINED, /* a detector looked; detections may be empty */
    VERDICT_SKIPPED,  /* detection is switched off */
    VERDICT_FAILED,   /* the detector could not; `error` says why */
    VERDICT_OUTCOME_COUNT
};
extern const char *const verdict_outcome_names[VERDICT_OUTCOME_COUNT]; /* "examined", ... */

struct verdict {
    enum verdict_outcome outcome;
    char model[VERDICT_MODEL_MAX]; /* "yolov8n-640.onnx", "" when skipped */
    double decode_ms;              /* decoding and preprocessing */
    double infer_ms;               /* the model run and decoding of its output */
    bool damaged;                  /* the picture ended early or had broken data */
    /* Answers that cost money, 0 of a local model. Filled also when the detector failed: an answer
     * of no use is paid as well. */
    unsigned cloud_calls;
    float person_best; /* see detect_request.person_floor; 0 when not asked for */
    struct detection_list found;
    char error[VERDICT_ERROR_MAX];
};

void verdict_done(struct verdict *v);
/* Persons: label "person" in any case. Things: all labels, persons included (the original's rule).
 */
unsigned verdict_persons(const struct verdict *v);
unsigned verdict_things(const struct verdict *v);
/* "<n> person(s) and <m> things" when n >= 1, else "". Consumers search it for the word "person".
 */
const char *verdict_detail(const struct verdict *v, char buf[VERDICT_DETAIL_MAX]);
