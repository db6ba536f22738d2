#include "detect/detect_config.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "base/parse.h"
#include "base/text.h"
#include "detect/choice.h"
#include "sys/ort.h"

#define FIELD(name) offsetof(struct detect_config, name)

static int check_providers(const void *value, char *why, size_t why_size);
static int check_label_confidence(const void *value, char *why, size_t why_size);

static const struct cfg_key keys[] = {
    {.name = "enabled",
     .type = CFG_BOOL,
     .offset = FIELD(enabled),
     .fallback = "yes",
     .flags = CFG_RELOAD,
     .env = "OBJECT_DETECTION_ENABLED",
     .help = "Whether pictures are examined at all",
     .doc = "When off, pictures are recorded and kept unseen."},
    {.name = "detector",
     .type = CFG_CHOICE,
     .offset = FIELD(detector),
     .fallback = "auto",
     .choices = detect_plan_names,
     .flags = CFG_RELOAD,
     .help = "What looks at pictures: auto, local, cloud, or cascade: local first",
     .doc = "`auto` goes by the predecessor's flags: the local model when "
            "FEATURE_FLAG_LOCAL_OBJECT_DETECTION is true, else Amazon Rekognition when "
            "FEATURE_FLAG_CLOUD_OBJECT_DETECTION is, else nothing. With another value a flag that "
            "is given and false takes its detector away: a cascade without the cloud is the local "
            "model alone. `cascade` asks the cloud only when the local answer leaves a doubt: see "
            "the keys that begin with cascade, and [cloud] for what it may cost."},
    {.name = "model",
     .type = CFG_STRING,
     .offset = FIELD(model),
     .fallback = "auto",
     .env = "OBJECT_DETECTION_MODEL",
     .help = "Detection model: a file, a name in model_dir, or auto",
     .doc = "`auto` takes a YOLO model out of the model folders when there is one, else the "
            "default model; the choice is logged at start. A bare name is looked up in the "
            "folders with and without `.onnx`; a name ending in `.pt` stands for the `.onnx` of "
            "the same name, which `yolo export model=NAME.pt format=onnx` makes."},
    {.name = "model_dir",
     .type = CFG_LIST,
     .offset = FIELD(model_dir),
     .help = "Folders with models, in order of preference",
     .doc = "When empty: $SNAPSHOTD_MODEL_DIR, models, data/models, the source tree's models, "
            "share/snapshot-processor/models where the program is installed, "
            "/var/lib/snapshot-processor/models and /usr/share/snapshot-processor/models."},
    {.name = "names_file",
     .type = CFG_PATH,
     .offset = FIELD(names_file),
     .help = "Class names, one a line; for models that carry none",
     .doc = "When empty the model's own names are used, or COCO's for 80 classes."},
    {.name = "runtime_library",
     .type = CFG_PATH,
     .offset = FIELD(runtime_library),
     .env = "SNAPSHOTD_ONNXRUNTIME",
     .help = "The ONNX Runtime library; searched for when empty"},
    {.name = "providers",
     .type = CFG_LIST,
     .offset = FIELD(providers),
     .fallback = "cpu",
     .validate = check_providers,
     .help = "What runs the model, tried in order: cpu, cuda, tensorrt, openvino, xnnpack, acl, "
             "webgpu",
     .doc = "Each is tried with the real model; one that is missing or fails is skipped with a "
            "warning, and cpu is always the last resort."},
    {.name = "threads",
     .type = CFG_INT,
     .offset = FIELD(threads),
     .fallback = "0",
     .min = 0,
     .max = 64,
     .help = "Processor cores to use; 0 = all that the process may use",
     .doc = "Memory grows by about 30 MB for each core with a 640 pixel model."},
    {.name = "minimum_confidence",
     .type = CFG_DOUBLE,
     .offset = FIELD(minimum_confidence),
     .fallback = "0",
     .min = 0,
     .max = 1,
     .unit = "0..1",
     .help = "Scores must be above this; 0 = the model's own threshold",
     .doc = "Scores of different families do not compare: 0.25 for YOLO, 0.35 for CenterNet and "
            "0.40 for NanoDet behave alike. These are the models' own thresholds."},
    {.name = "iou",
     .type = CFG_DOUBLE,
     .offset = FIELD(iou),
     .fallback = "0",
     .min = 0,
     .max = 1,
     .unit = "0..1",
     .help = "Overlap above which the weaker of two boxes is dropped; 0 = the family's own"},
    {.name = "minimum_human_confidence",
     .type = CFG_DOUBLE,
     .offset = FIELD(minimum_human_confidence),
     .fallback = "0",
     .min = 0,
     .max = 1,
     .unit = "0..1",
     .flags = CFG_RELOAD,
     .env = "MINIMUM_HUMAN_CONFIDENCE",
     .help = "Scores of persons must be above this; 0 = as for everything else"},
    {.name = "labels",
     .type = CFG_LIST,
     .offset = FIELD(labels),
     .flags = CFG_RELOAD,
     .help = "Labels that count; empty = all",
     .doc = "For instance `person, dog, car`. Others are dropped before anything is recorded."},
    {.name = "label_confidence",
     .type = CFG_LIST,
     .offset = FIELD(label_confidence),
     .validate = check_label_confidence,
     .help = "Thresholds of single labels, e.g. person:0.5, car:0.4",
     .doc = "Each replaces minimum_confidence for its label, upwards or downwards."},
    {.name = "cascade_low",
     .type = CFG_DOUBLE,
     .offset = FIELD(cascade_low),
     .fallback = "0.2",
     .min = 0.01,
     .max = 1,
     .unit = "0..1",
     .flags = CFG_RELOAD,
     .help = "A best person below this local score is none, the cloud is not asked",
     .doc = "The window of doubt is from cascade_low to below cascade_high, by the local model's "
            "scores, whatever its own thresholds are. Scores of families do not compare: look at "
            "what `snapshotd detect --min-confidence 0.1` says about your pictures. A camera may "
            "have a window of its own."},
    {.name = "cascade_high",
     .type = CFG_DOUBLE,
     .offset = FIELD(cascade_high),
     .fallback = "0.6",
     .min = 0,
     .max = 1.01,
     .unit = "0..1",
     .flags = CFG_RELOAD,
     .help = "A best person of this local score or above is one; not above cascade_low: no window"},
    {.name = "cascade_labels",
     .type = CFG_LIST,
     .offset = FIELD(cascade_labels),
     .flags = CFG_RELOAD,
     .help = "The cloud is always asked when the local model found one of these",
     .doc =
         "About these labels, and about persons within the window, the cloud's answer replaces "
         "the local one; of other labels the local ones stay and the cloud's new ones are added."},
    {.name = "cascade_empty",
     .type = CFG_BOOL,
     .offset = FIELD(cascade_empty),
     .fallback = "no",
     .flags = CFG_RELOAD,
     .help = "The cloud is also asked when the local model found nothing that counts"},
    {.name = "annotate",
     .type = CFG_BOOL,
     .offset = FIELD(annotate),
     .fallback = "yes",
     .flags = CFG_RELOAD,
     .help = "Keep a copy with boxes and labels beside each picture on which something counts"},
    {.name = "annotate_width_max",
     .type = CFG_INT,
     .offset = FIELD(annotate_width_max),
     .fallback = "1920",
     .min = 0,
     .max = 16384,
     .unit = "pixels",
     .flags = CFG_RELOAD,
     .help = "Width of the annotated copy at most; 0 = as the picture"},
    {.name = "annotate_quality",
     .type = CFG_INT,
     .offset = FIELD(annotate_quality),
     .fallback = "85",
     .min = 1,
     .max = 100,
     .flags = CFG_RELOAD,
     .help = "JPEG quality of the annotated copy"},
    {.name = "image_bytes_max",
     .type = CFG_SIZE,
     .offset = FIELD(image_bytes_max),
     .fallback = "32MB",
     .min = 64 << 10,
     .max = 512 << 20,
     .unit = "bytes",
     .help = "Larger picture files are refused"},
    {.name = "image_pixels_max",
     .type = CFG_INT,
     .offset = FIELD(image_pixels_max),
     .fallback = "100000000",
     .min = 10000,
     .max = 1000000000,
     .unit = "pixels",
     .help = "Pictures that claim more pixels are refused before they are decoded"},
};

const struct cfg_section detect_config_section = {
    .name = "detection",
    .struct_size = sizeof(struct detect_config),
    .keys = keys,
    .key_count = ARRAY_LEN(keys),
    .help = "What looks at the pictures, and what counts",
};

struct picture_limits detect_config_limits(const struct detect_config *c)
{
    struct picture_limits limits = picture_limits_default;
    limits.bytes_max = (size_t)c->image_bytes_max;
    limits.pixels_max = c->image_pixels_max;
    return limits;
}

static const char *or_null(const char *s)
{
    return s != NULL && s[0] != '\0' ? s : NULL;
}

static const char *const *list_or_null(const char *const *list)
{
    return list != NULL && list[0] != NULL ? list : NULL;
}

void detect_config_options(const struct detect_config *c, struct detector_options *ret)
{
    *ret = (struct detector_options){
        .model = or_null(c->model),
        .model_dirs = list_or_null(c->model_dir),
        .names_file = or_null(c->names_file),
        .runtime_library = or_null(c->runtime_library),
        .providers = list_or_null(c->providers),
        .threads = (int)c->threads,
        .confidence_min = c->minimum_confidence > 0 ? c->minimum_confidence : -1,
        .iou_max = c->iou > 0 ? c->iou : -1,
        .label_confidence = list_or_null(c->label_confidence),
        .person_confidence = c->minimum_human_confidence,
        .limits = detect_config_limits(c),
    };
}

static bool label_counts(const struct detect_config *c, const char *label)
{
    bool counts = c->labels == NULL || c->labels[0] == NULL;
    for (size_t k = 0; !counts && c->labels[k] != NULL; k++)
        counts = strcasecmp(c->labels[k], label) == 0;
    return counts;
}

void detect_filter_labels(const struct detect_config *c, struct detection_list *found)
{
    size_t kept = 0;
    for (size_t i = 0; i < found->count; i++)
        if (label_counts(c, found->items[i].label))
            found->items[kept++] = found->items[i];
    found->count = kept;
}

void detect_filter(const struct detect_config *c, struct detection_list *found)
{
    size_t kept = 0;
    detect_filter_labels(c, found);
    for (size_t i = 0; i < found->count; i++) {
        struct detection *d = &found->items[i];
        double least = detect_label_confidence(c->label_confidence, c->minimum_human_confidence,
                                               d->label, c->minimum_confidence);
        if ((double)d->confidence > least)
            found->items[kept++] = *d;
    }
    found->count = kept;
}

int detect_label_confidence_parse(const char *item, size_t *ret_label_len, double *ret)
{
    const char *colon = strrchr(item, ':'); /* a label may hold one itself */
    if (colon == NULL)
        return -EINVAL;
    size_t len = (size_t)(colon - item);
    const char *number = colon + 1;
    while (len > 0 && item[len - 1] == ' ')
        len--;
    while (*number == ' ')
        number++;
    double value;
    if (len == 0 || parse_double(number, strlen(number), 0, 1, &value) < 0)
        return -EINVAL;
    *ret_label_len = len;
    *ret = value;
    return 0;
}

double detect_label_confidence(const char *const *list, double person, const char *label,
                               double otherwise)
{
    for (size_t i = 0; list != NULL && list[i] != NULL; i++) {
        size_t len;
        double value;
        if (detect_label_confidence_parse(list[i], &len, &value) == 0 && strlen(label) == len &&
            strncasecmp(list[i], label, len) == 0)
            return value;
    }
    return person > 0 && strcasecmp(label, "person") == 0 ? person : otherwise;
}

static int check_providers(const void *value, char *why, size_t why_size)
{
    const char *const *list = *(const char *const *const *)value;
    for (size_t i = 0; list[i] != NULL; i++) {
        bool known = false;
        for (size_t k = 0; !known && ort_provider_names[k] != NULL; k++)
            known = strcmp(list[i], ort_provider_names[k]) == 0;
        if (!known) {
            (void)text_format(why, why_size,
                              "'%s' is none of cpu, cuda, tensorrt, openvino, xnnpack, acl, webgpu",
                              list[i]); /* cut when long */
            return -EINVAL;
        }
    }
    return 0;
}

static int check_label_confidence(const void *value, char *why, size_t why_size)
{
    const char *const *list = *(const char *const *const *)value;
    for (size_t i = 0; list[i] != NULL; i++) {
        size_t len;
        double minimum;
        if (detect_label_confidence_parse(list[i], &len, &minimum) < 0) {
            (void)text_format(why, why_size, "'%s' should be a label, a colon and 0 to 1",
                              list[i]); /* cut when long */
            return -EINVAL;
        }
    }
    return 0;
}
