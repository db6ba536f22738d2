#pragma once
/* The [detection] section: its keys, and what follows from them without any I/O. */

#include <stdbool.h>
#include <stdint.h>

#include "cfg/cfg.h"
#include "detect/detector.h"

struct detect_config {
    bool enabled;
    int detector; /* enum detect_plan */
    const char *model;
    const char *const *model_dir;
    const char *names_file;
    const char *runtime_library;
    const char *const *providers;
    int64_t threads;
    double minimum_confidence; /* 0 = the model's own */
    double iou;                /* 0 = the family's own */
    double minimum_human_confidence;
    const char *const *labels;           /* empty = all */
    const char *const *label_confidence; /* "person:0.5" */
    double cascade_low, cascade_high;    /* of cameras without values of their own */
    const char *const *cascade_labels;
    bool cascade_empty;
    bool annotate;
    int64_t annotate_width_max;
    int64_t annotate_quality;
    int64_t image_bytes_max;
    int64_t image_pixels_max;
};

extern const struct cfg_section detect_config_section;

/* Options for opening a detector; strings are borrowed from the configuration. */
void detect_config_options(const struct detect_config *c, struct detector_options *ret);
struct picture_limits detect_config_limits(const struct detect_config *c);
/* Drops what does not count here: labels that are not listed, scores not above their label's
 * minimum. Keeps the order. */
void detect_filter(const struct detect_config *c, struct detection_list *found);
/* The same for answers of the cloud, which have thresholds of their own: labels only. */
void detect_filter_labels(const struct detect_config *c, struct detection_list *found);

/* "person:0.5" -> label length and value. 0 or -EINVAL. Values 0..1. */
int detect_label_confidence_parse(const char *item, size_t *ret_label_len, double *ret);
/* The minimum that a list (or the person's own value, when above 0) sets for a label; `otherwise`
 * when none does. */
double detect_label_confidence(const char *const *list, double person, const char *label,
                               double otherwise);
