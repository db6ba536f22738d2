#include "detect/rekognition_answer.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "sys/json.h"

/* What is collected before the surest are taken. Rekognition has some 100 instances a label at
 * most, and this many take 1 MB. */
#define COLLECTED_MAX 10000
/* 55% asked for comes as 54.99999 when it went through single precision. */
#define SLACK 1e-5

struct reading {
    double confidence_min;
    int width, height;
    struct detection *items;
    size_t count, room;
};

static void take_label(struct reading *r, const json_t *label);
static bool take_instance(struct reading *r, const char *name, const json_t *instance);
static void add(struct reading *r, const struct detection *d);
static int by_confidence(const void *a, const void *b);

int rekognition_answer_read(const struct blob *body, double confidence_min, int width, int height,
                            struct detection_list *ret, char version[REKOGNITION_VERSION_MAX],
                            struct err *e)
{
    AUTO_JSON json_t *j = NULL;
    struct err why = {0};
    if (!body)
        return err_set(e, -EBADMSG, ERR_NEVER, "the answer is empty");
    if (js_parse((const char *)body->data, body->size, REKOGNITION_ANSWER_MAX, &j, &why) < 0)
        return err_set(e, -EBADMSG, ERR_NEVER, "the answer is %s", why.text);
    const json_t *labels = json_object_get(j, "Labels");
    if (!json_is_array(labels))
        return err_set(e, -EBADMSG, ERR_NEVER, "the answer has no list of labels");

    struct reading r = {.confidence_min = confidence_min, .width = width, .height = height};
    size_t i;
    const json_t *label;
    json_array_foreach(labels, i, label) take_label(&r, label);
    if (r.count)
        qsort(r.items, r.count, sizeof(*r.items), by_confidence);
    ret->count = MIN(r.count, (size_t)DETECTION_COUNT_MAX);
    ret->items = ret->count ? xrealloc(r.items, ret->count * sizeof(*r.items)) : NULL;
    if (!ret->count)
        free(r.items);

    const char *text = json_string_value(json_object_get(j, "LabelModelVersion"));
    (void)text_printable(text ? text : "", text ? strlen(text) : 0, version,
                         REKOGNITION_VERSION_MAX); /* may be cut */
    return 0;
}

/* The local models' names are in lower case, too: one thing has one name, whoever found it. */
static bool read_name(const json_t *label, char name[DETECTION_LABEL_MAX])
{
    const char *text = json_string_value(json_object_get(label, "Name"));
    if (!text)
        return false;
    (void)text_printable(text, strlen(text), name, DETECTION_LABEL_MAX); /* may be cut */
    for (char *p = name; *p; p++)
        *p = (char)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p);
    return *name;
}

/* Percent; false when it is none. */
static bool read_confidence(const json_t *of, double *ret)
{
    const json_t *j = json_object_get(of, "Confidence");
    double percent = json_number_value(j);
    if (!json_is_number(j) || !isfinite(percent) || percent < 0)
        return false;
    *ret = fmin(percent / 100, 1);
    return true;
}

static void take_label(struct reading *r, const json_t *label)
{
    struct detection d = {.class_id = -1};
    double confidence;
    if (!read_name(label, d.label) || !read_confidence(label, &confidence) ||
        confidence < r->confidence_min - SLACK)
        return;
    const json_t *instances = json_object_get(label, "Instances"), *instance;
    bool boxed = false;
    size_t i;
    json_array_foreach(instances, i, instance) boxed |= take_instance(r, d.label, instance);
    if (boxed)
        return;
    d.confidence = (float)confidence;
    add(r, &d);
}

static bool read_side(const json_t *box, const char *name, double *ret)
{
    const json_t *j = json_object_get(box, name);
    *ret = json_number_value(j);
    return json_is_number(j) && isfinite(*ret);
}

static float clipped(double fraction, int side)
{
    return (float)(fmin(fmax(fraction, 0), 1) * side);
}

/* A box that is less sure than asked for is left out, and its label counts without. */
static bool take_instance(struct reading *r, const char *name, const json_t *instance)
{
    struct detection d = {.class_id = -1, .has_box = true};
    const json_t *box = json_object_get(instance, "BoundingBox");
    double confidence, left, top, width, height;
    if (!read_confidence(instance, &confidence) || confidence < r->confidence_min - SLACK ||
        !read_side(box, "Left", &left) || !read_side(box, "Top", &top) ||
        !read_side(box, "Width", &width) || !read_side(box, "Height", &height))
        return false;
    d.box = (struct box){.x1 = clipped(left, r->width),
                         .y1 = clipped(top, r->height),
                         .x2 = clipped(left + width, r->width),
                         .y2 = clipped(top + height, r->height)};
    if (d.box.x2 <= d.box.x1 || d.box.y2 <= d.box.y1)
        return false;
    d.confidence = (float)confidence;
    text_copy(d.label, sizeof(d.label), name);
    add(r, &d);
    return true;
}

static void add(struct reading *r, const struct detection *d)
{
    if (r->count == COLLECTED_MAX)
        return;
    if (r->count == r->room) {
        r->room = r->room ? r->room * 2 : 32;
        r->items = xrealloc(r->items, r->room * sizeof(*r->items));
    }
    r->items[r->count++] = *d;
}

/* Ties by name and place, so that one answer always gives one list. */
static int by_confidence(const void *a, const void *b)
{
    const struct detection *left = a, *right = b;
    if (left->confidence != right->confidence)
        return left->confidence < right->confidence ? 1 : -1;
    int names = strcmp(left->label, right->label);
    if (names)
        return names;
    return left->box.x1 < right->box.x1 ? -1 : left->box.x1 > right->box.x1;
}
