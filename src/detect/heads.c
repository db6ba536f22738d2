/* Recognition goes from certain to likely: what the file says about itself, then names of inputs
 * and outputs that belong to known families, then shapes. Where two families share a shape and
 * nothing else tells, the model is refused rather than guessed: a wrong guess does not fail, it
 * finds nonsense. */
#include "detect/heads.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/dynbuf.h"
#include "base/mem.h"
#include "base/text.h"

const char *const head_family_names[HEAD_FAMILY_COUNT] = {
    [HEAD_YOLOV8] = "YOLOv8", [HEAD_YOLOV5] = "YOLOv5",   [HEAD_END_TO_END] = "end-to-end",
    [HEAD_YOLOX] = "YOLOX",   [HEAD_NANODET] = "NanoDet",
};

static const int level_stride[HEAD_LEVEL_COUNT] = {8, 16, 32};

#define STRIDE_DEFAULT 32
#define SIDE_DEFAULT 640 /* what Ultralytics' exporters take when nothing is said */
#define SIDE_MIN 32
#define END_TO_END_ROWS_MAX 1000 /* 300 in YOLOv10 and 26, 100 in CenterNet */
#define KNOWN_FORMS                                                                                \
    "known are YOLOv8/9/11/12 [1,4+classes,N], YOLOv5 [1,N,5+classes], end-to-end [1,N,6] "        \
    "(YOLOv10, YOLO26, CenterNet), YOLOX and NanoDet"

static const struct tensor_format format_ultralytics = {
    .scale = 1.0f / 255.0f, .std = {1, 1, 1}, .fill = 114};
static const struct tensor_format format_yolox = {
    .bgr = true, .scale = 1.0f, .std = {1, 1, 1}, .fill = 114};
static const struct tensor_format format_nanodet = {.bgr = true,
                                                    .scale = 1.0f,
                                                    .mean = {103.53f, 116.28f, 123.675f},
                                                    .std = {57.375f, 57.12f, 58.395f},
                                                    .fill = 114};

static int refuse(const struct head_facts *facts, struct err *e, const char *what);
static bool says(const struct head_facts *facts, const char *word);
static int input_side(int64_t dim, int from_meta, int stride);
static int recognise_nanodet(const struct head_facts *facts, struct head *h, struct err *e);
static int recognise_single(const struct head_facts *facts, struct head *h, struct err *e);
static void apply_family(const struct head_facts *facts, struct head *h);
static int decode_yolov8(const struct head *h, const struct ort_output *o, double confidence_min,
                         bool several, struct candidate_list *out);
static int decode_objectness(const struct head *h, int width, int height,
                             const struct ort_output *o, double confidence_min, bool several,
                             struct candidate_list *out);
static int decode_end_to_end(const struct head *h, const struct ort_output *o,
                             double confidence_min, struct candidate_list *out);
static int decode_nanodet(const struct head *h, int width, int height,
                          const struct ort_output *outputs, double confidence_min, bool several,
                          struct candidate_list *out);

int head_recognise_input(const struct head_facts *facts, struct head *ret, struct err *e)
{
    const struct onnx_meta *meta = facts->meta;
    for (size_t i = 0; i < facts->input_count; i++) {
        if (strcmp(facts->inputs[i].name, "orig_target_sizes") == 0)
            return refuse(facts, e, "RT-DETR, D-FINE or DEIM, which are not supported yet");
    }
    for (size_t i = 0; i < facts->output_count; i++) {
        if (text_starts_with(facts->outputs[i].name, "detection_boxes"))
            return refuse(facts, e, "an SSD of TensorFlow's Object Detection API, not supported");
        if (strcmp(facts->outputs[i].name, "dets") == 0)
            return refuse(facts, e, "RF-DETR or an export of mmdeploy, not supported yet");
    }
    if (meta->task[0] != '\0' && strcmp(meta->task, "detect") != 0) {
        char what[96];
        (void)text_format(what, sizeof(what), "made for the task '%s', not for 'detect'",
                          meta->task); /* both parts are bounded */
        return refuse(facts, e, what);
    }
    if (says(facts, "rtdetr") || says(facts, "rt-detr"))
        return refuse(facts, e, "RT-DETR, which is not supported yet");
    if (facts->input_count != 1)
        return refuse(facts, e, "a model with several inputs");
    const struct ort_tensor_info *in = &facts->inputs[0];
    if (in->rank == 4 && in->dim[3] == 3 && in->dim[1] != 3)
        return refuse(facts, e, "a model with interleaved colours (TensorFlow's order)");
    if (in->rank != 4 || (in->dim[1] != 3 && in->dim[1] != -1) ||
        (meta->channels != 0 && meta->channels != 3))
        return refuse(facts, e, "not a model for colour pictures [1,3,height,width]");
    if (in->type != ORT_TYPE_F32 && in->type != ORT_TYPE_F16)
        return refuse(facts, e, "an input that is not float32 or float16");
    if (in->dim[0] != 1 && in->dim[0] != -1)
        return refuse(facts, e, "made for several pictures at once: export it with batch 1");

    struct head h = {.stride = meta->stride > 0 ? meta->stride : STRIDE_DEFAULT};
    h.dynamic = in->dim[2] == -1 || in->dim[3] == -1;
    h.input_height = input_side(in->dim[2], meta->input_height, h.stride);
    h.input_width = input_side(in->dim[3], meta->input_width, h.stride);
    if (h.input_width < SIDE_MIN || h.input_height < SIDE_MIN || h.input_width > HEAD_SIDE_MAX ||
        h.input_height > HEAD_SIDE_MAX)
        return refuse(facts, e, "an input size outside 32 to 2048 pixels");
    if (h.dynamic && (in->dim[2] > 0 || in->dim[3] > 0))
        h.dynamic = false; /* one side is fixed: no rectangle to choose */
    *ret = h;
    return 0;
}

int head_recognise_outputs(const struct head_facts *facts, struct head *ret, struct err *e)
{
    struct head h = *ret;
    for (size_t i = 0; i < facts->output_count; i++) {
        const struct ort_tensor_info *o = &facts->outputs[i];
        for (int d = 0; d < o->rank && d < ORT_RANK_MAX; d++) {
            if (o->dim[d] < 1)
                return refuse(facts, e, "an empty output");
        }
    }
    int r = facts->output_count == 2 * HEAD_LEVEL_COUNT ? recognise_nanodet(facts, &h, e)
                                                        : recognise_single(facts, &h, e);
    if (r < 0)
        return r;
    apply_family(facts, &h);
    *ret = h;
    return 0;
}

void head_input_size(const struct head *h, int picture_width, int picture_height, int *ret_width,
                     int *ret_height)
{
    *ret_width = h->input_width;
    *ret_height = h->input_height;
    if (!h->dynamic)
        return;
    /* 1:1, 4:3 (and 7:5), 16:9 (and 5:3), 5:2: with 640 and stride 32 these are 640, 480, 384 and
     * 256, each also upright. A picture takes the first that its short side fits into. */
    static const double part[HEAD_SHAPE_COUNT] = {0.4, 0.6, 0.75, 1.0};
    bool upright = picture_height > picture_width;
    int long_side = upright ? h->input_height : h->input_width;
    int short_full = upright ? h->input_width : h->input_height;
    struct letterbox lb = letterbox_compute(h->letterbox, picture_width, picture_height,
                                            h->input_width, h->input_height);
    int need = upright ? lb.resized_width : lb.resized_height;
    for (size_t i = 0; i < HEAD_SHAPE_COUNT; i++) {
        int steps = (int)ceil(part[i] * short_full / h->stride - 1e-9);
        int side = MIN(steps * h->stride, short_full);
        if (side >= need || i == HEAD_SHAPE_COUNT - 1) {
            *ret_width = upright ? side : long_side;
            *ret_height = upright ? long_side : side;
            return;
        }
    }
}

int head_decode(const struct head *h, int input_width, int input_height,
                const struct ort_output *outputs, size_t output_count, double confidence_min,
                bool several, struct candidate_list *out, struct err *e)
{
    size_t wanted = h->family == HEAD_NANODET ? 2 * HEAD_LEVEL_COUNT : 1;
    bool sound = output_count >= wanted;
    for (size_t i = 0; sound && i < wanted; i++)
        sound = outputs[i].rank == 3 && outputs[i].dim[0] == 1 && outputs[i].dim[1] > 0 &&
                outputs[i].dim[2] > 0 && outputs[i].data != NULL;
    int r = -ENOTSUP;
    if (sound) {
        switch (h->family) {
        case HEAD_YOLOV8:
            r = decode_yolov8(h, &outputs[0], confidence_min, several, out);
            break;
        case HEAD_YOLOV5:
        case HEAD_YOLOX:
            r = decode_objectness(h, input_width, input_height, &outputs[0], confidence_min,
                                  several, out);
            break;
        case HEAD_END_TO_END:
            r = decode_end_to_end(h, &outputs[0], confidence_min, out);
            break;
        case HEAD_NANODET:
            r = decode_nanodet(h, input_width, input_height, outputs, confidence_min, several, out);
            break;
        case HEAD_FAMILY_COUNT:
            break;
        }
    }
    if (r == -ENOTSUP)
        return err_set(e, r, ERR_NEVER, "the model's answer has another shape than it promised");
    if (r < 0)
        return err_set(e, r, ERR_LATER, "no memory for the model's answer");
    if (confidence_min >= 1)
        out->count = 0; /* a model's 1.001 counts as 1, which is not above 1 */
    return 0;
}

void head_finish(const struct candidate_list *selected, const struct letterbox *lb,
                 const struct label_list *names, struct detection_list *ret)
{
    struct detection_list list = {
        .items = xcalloc(MAX(selected->count, (size_t)1), sizeof(*list.items))};
    for (size_t i = 0; i < selected->count && list.count < DETECTION_COUNT_MAX; i++) {
        const struct candidate *c = &selected->items[i];
        struct box box = letterbox_to_picture(lb, c->box);
        if (!(box.x2 > box.x1) || !(box.y2 > box.y1))
            continue; /* it lay in the padding */
        struct detection *d = &list.items[list.count++];
        *d = (struct detection){
            .class_id = c->class_id, .confidence = c->score, .has_box = true, .box = box};
        (void)labels_name(names, c->class_id, d->label, sizeof(d->label));
    }
    *ret = list;
}

/* "outputs output0 float32 [1,300,84]": what an operator needs to ask for help. */
static void describe_tensors(struct dynbuf *b, const char *what, const struct ort_tensor_info *t,
                             size_t count)
{
    (void)dynbuf_printf(b, "%s ", what); /* a description that is cut is still one */
    for (size_t i = 0; i < count; i++) {
        char name[ORT_NAME_MAX];
        text_escape(t[i].name, strlen(t[i].name), name, MIN(sizeof(name), (size_t)32));
        (void)dynbuf_printf(b, "%s%s %s [", i > 0 ? ", " : "", name, ort_type_names[t[i].type]);
        for (int d = 0; d < t[i].rank && d < ORT_RANK_MAX; d++)
            (void)dynbuf_printf(b, t[i].dim[d] < 0 ? "%s?" : "%s%lld", d > 0 ? "," : "",
                                (long long)t[i].dim[d]);
        (void)dynbuf_puts(b, "]");
    }
}

static int refuse(const struct head_facts *facts, struct err *e, const char *what)
{
    AUTO_DONE(dynbuf) seen;
    dynbuf_init(&seen, 240); /* leaves room for the rest of the sentence in struct err */
    describe_tensors(&seen, "input", facts->inputs, facts->input_count);
    describe_tensors(&seen, "; output", facts->outputs, facts->output_count);
    return err_set(e, -ENOTSUP, ERR_NEVER, "%s (%s); " KNOWN_FORMS, what, dynbuf_str(&seen));
}

/* Whether the description or the file name holds a word, in any case. */
static bool says(const struct head_facts *facts, const char *word)
{
    return strcasestr(facts->meta->description, word) != NULL ||
           (facts->file != NULL && strcasestr(facts->file, word) != NULL);
}

static int input_side(int64_t dim, int from_meta, int stride)
{
    if (dim > 0)
        return dim <= HEAD_SIDE_MAX ? (int)dim : HEAD_SIDE_MAX + 1;
    int side = from_meta > 0 ? from_meta : SIDE_DEFAULT;
    return (side + stride - 1) / stride * stride;
}

static int64_t level_cells(const struct head *h, int level)
{
    int s = level_stride[level];
    return (int64_t)((h->input_width + s - 1) / s) * ((h->input_height + s - 1) / s);
}

/* Rows that three levels of strides 8, 16 and 32 give. */
static int64_t all_cells(const struct head *h)
{
    return level_cells(h, 0) + level_cells(h, 1) + level_cells(h, 2);
}

static int recognise_nanodet(const struct head_facts *facts, struct head *h, struct err *e)
{
    static const char what[] = "six outputs that are not NanoDet's";
    int classes = facts->class_count > 0 ? facts->class_count : LABEL_COCO_COUNT;
    for (int level = 0; level < HEAD_LEVEL_COUNT; level++) {
        int score = -1, distance = -1;
        for (int i = 0; i < 2 * HEAD_LEVEL_COUNT; i++) {
            const struct ort_tensor_info *o = &facts->outputs[i];
            if (o->rank != 3 || o->dim[0] != 1 || o->dim[1] != level_cells(h, level))
                continue;
            if (o->dim[2] == classes && score < 0)
                score = i;
            else if (o->dim[2] % 4 == 0 && o->dim[2] / 4 <= HEAD_BINS_MAX && distance < 0)
                distance = i;
        }
        if (score < 0 || distance < 0 || classes == facts->outputs[distance].dim[2])
            return refuse(facts, e, what);
        int bins = (int)(facts->outputs[distance].dim[2] / 4);
        if (bins < 2 || (level > 0 && bins != h->bins))
            return refuse(facts, e, what);
        h->bins = bins;
        h->score_output[level] = score;
        h->distance_output[level] = distance;
    }
    h->family = HEAD_NANODET;
    h->class_count = classes;
    h->dynamic = false; /* no such export exists; its levels are matched by size */
    return 0;
}

static int recognise_single(const struct head_facts *facts, struct head *h, struct err *e)
{
    if (facts->output_count == 0)
        return refuse(facts, e, "a model without outputs");
    const struct ort_tensor_info *o = &facts->outputs[0];
    for (size_t i = 1; i < facts->output_count; i++) {
        if (facts->outputs[i].rank == 4)
            return refuse(facts, e, "a segmentation model (it has a mask output)");
        if (facts->outputs[i].rank != 5) /* raw feature maps of old YOLOv5 exports do no harm */
            return refuse(facts, e, "unknown outputs");
    }
    if (o->rank == 2)
        return refuse(facts, e, "a classifier, which finds no boxes");
    if (o->rank != 3 || o->dim[0] != 1)
        return refuse(facts, e, "an unknown output");
    if (o->type != ORT_TYPE_F32 && o->type != ORT_TYPE_F16)
        return refuse(facts, e, "an output that is not float32 or float16");
    int64_t a = o->dim[1], b = o->dim[2], cells = all_cells(h);
    int64_t classes = facts->class_count;
    bool own_names = facts->meta->names.count > 0; /* a file of Ultralytics' exporters */

    /* Two rows more than columns and the like cannot be told from the other forms by size when a
     * model has one or two classes; then the number of cells decides. */
    bool six = b == 6 && (facts->meta->end2end || (a != cells && a != 3 * cells));
    if (six && a <= END_TO_END_ROWS_MAX) {
        h->family = HEAD_END_TO_END;
        h->class_count = (int)classes;
        return 0;
    }
    if (classes == 0) { /* no names: let the number of cells say which axis is which */
        if (b == cells && a > 4)
            classes = a - 4;
        else if (a == 3 * cells && b > 5)
            classes = b - 5;
        else if (a == cells && (b == 5 + LABEL_COCO_COUNT || b == 4 + LABEL_COCO_COUNT))
            classes = LABEL_COCO_COUNT;
        else if (a == cells)
            return refuse(facts, e,
                          "YOLOX or YOLOv8 turned, which cannot be told apart without "
                          "the class names: give a names file");
        else
            return refuse(facts, e, "an unknown form");
    }
    h->class_count = (int)classes;
    if (a == 4 + classes && b > 6) {
        h->family = HEAD_YOLOV8;
        return 0;
    }
    if (b == 4 + classes && (a == cells || a > END_TO_END_ROWS_MAX)) {
        h->family = HEAD_YOLOV8;
        h->transposed = true;
        return 0;
    }
    if (b == 4 + classes)
        return refuse(facts, e, "RT-DETR, which is not supported yet");
    if (b == 5 + classes && a == cells && !own_names) {
        h->family = HEAD_YOLOX;
        h->dynamic = false;
        return 0;
    }
    if (b == 5 + classes && a != cells) {
        h->family = HEAD_YOLOV5;
        return 0;
    }
    if (b == 32 + classes)
        return refuse(facts, e, "NanoDet-Plus, which is not supported yet");
    char what[96];
    (void)text_format(what, sizeof(what), "an unknown form for %lld class names",
                      (long long)classes); /* bounded */
    return refuse(facts, e, what);
}

/* Thresholds are where the families behave about equally on pictures of persons: precision 1.0 at
 * "is somebody there" over 128 COCO pictures for CenterNet at .35, NanoDet at .40, YOLOv8 at .25 to
 * .30. Overlaps are each project's own defaults. */
static void apply_family(const struct head_facts *facts, struct head *h)
{
    const char *title = NULL;
    h->letterbox = LETTERBOX_CENTRE;
    h->format = format_ultralytics;
    h->confidence_min = 0.25;
    switch (h->family) {
    case HEAD_YOLOV8:
        title = h->transposed ? "YOLOv8 form, turned" : "YOLOv8 form";
        h->iou_max = 0.7;
        break;
    case HEAD_YOLOV5:
        title = "YOLOv5 form";
        h->iou_max = 0.45;
        break;
    case HEAD_END_TO_END:
        title = "end-to-end form";
        h->iou_max = 1.0;
        break;
    case HEAD_YOLOX:
        title = "YOLOX";
        h->format = format_yolox;
        h->letterbox = LETTERBOX_TOP_LEFT;
        h->iou_max = 0.45;
        break;
    case HEAD_NANODET:
        title = "NanoDet";
        h->format = format_nanodet;
        h->confidence_min = 0.40;
        h->iou_max = 0.6;
        break;
    case HEAD_FAMILY_COUNT:
        break;
    }
    if (h->family == HEAD_END_TO_END && says(facts, "centernet")) {
        title = "CenterNet";
        h->confidence_min = 0.35;
        h->iou_max = 0.7; /* its peaks are picked in the graph, but a few doubles stay */
    }
    if (h->family == HEAD_YOLOV8 && says(facts, "nanodet")) { /* converted with its decoder */
        title = "NanoDet in YOLOv8 form";
        h->confidence_min = 0.40;
        h->iou_max = 0.6;
    }
    (void)text_copy(h->title, sizeof(h->title), title); /* all of them fit */
}

static struct box box_of_centre(float cx, float cy, float w, float h)
{
    return (struct box){cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2};
}

/* Cells are looked at in blocks: the best class of each is found row by row of the tensor, which
 * reads memory in order; 512 cells keep the two arrays in the first-level cache. */
#define BLOCK 512

static int add_yolov8(const float *d, size_t n, bool turned, size_t columns, size_t i, float score,
                      int class_id, struct candidate_list *out)
{
    struct box box = turned ? box_of_centre(d[i * columns], d[i * columns + 1], d[i * columns + 2],
                                            d[i * columns + 3])
                            : box_of_centre(d[i], d[n + i], d[2 * n + i], d[3 * n + i]);
    return candidate_add(out, box, score, class_id);
}

static void keep_best(const float *row, size_t step, size_t count, int class_id, float *best,
                      int *class_of)
{
    size_t i = 0;
#ifdef __SSE2__
    /* The usual order of the numbers, 672,000 of them at 640 pixels: 0.1 instead of 0.3 ms. */
    const __m128i id = _mm_set1_epi32(class_id);
    for (; step == 1 && i + 4 <= count; i += 4) {
        __m128i *at = (__m128i *)(void *)(class_of + i);
        __m128 score = _mm_loadu_ps(row + i), before = _mm_loadu_ps(best + i);
        __m128 better = _mm_cmpgt_ps(score, before); /* false for what is no number */
        __m128i mask = _mm_castps_si128(better);
        _mm_storeu_ps(best + i,
                      _mm_or_ps(_mm_and_ps(better, score), _mm_andnot_ps(better, before)));
        _mm_storeu_si128(
            at, _mm_or_si128(_mm_and_si128(mask, id), _mm_andnot_si128(mask, _mm_loadu_si128(at))));
    }
#endif
    for (; i < count; i++) {
        float score = row[i * step];
        bool better = score > best[i];
        best[i] = better ? score : best[i];
        class_of[i] = better ? class_id : class_of[i];
    }
}

static int decode_yolov8(const struct head *h, const struct ort_output *o, double confidence_min,
                         bool several, struct candidate_list *out)
{
    size_t classes = (size_t)h->class_count;
    size_t n = (size_t)(h->transposed ? o->dim[1] : o->dim[2]);
    size_t columns = (size_t)(h->transposed ? o->dim[2] : o->dim[1]);
    const float *d = o->data;
    float limit = (float)confidence_min;
    if (columns != 4 + classes)
        return -ENOTSUP;
    size_t cell_step = h->transposed ? columns : 1, class_step = h->transposed ? 1 : n;
    for (size_t first = 0; first < n; first += BLOCK) {
        size_t count = MIN(n - first, (size_t)BLOCK);
        float best[BLOCK];
        int class_of[BLOCK];
        for (size_t i = 0; i < count; i++) {
            best[i] = limit;
            class_of[i] = -1;
        }
        for (size_t c = 0; c < classes; c++) {
            const float *row = d + first * cell_step + (4 + c) * class_step;
            keep_best(row, cell_step, count, (int)c, best, class_of);
        }
        for (size_t i = 0; i < count; i++) {
            int r = 0;
            if (class_of[i] >= 0 && !several)
                r = add_yolov8(d, n, h->transposed, columns, first + i, best[i], class_of[i], out);
            for (size_t c = 0; class_of[i] >= 0 && several && r == 0 && c < classes; c++) {
                float score = d[(first + i) * cell_step + (4 + c) * class_step];
                if (score > limit)
                    r = add_yolov8(d, n, h->transposed, columns, first + i, score, (int)c, out);
            }
            if (r < 0)
                return r;
        }
    }
    return 0;
}

/* Rows with objectness: class scores of one row times its objectness. */
static int add_scored_row(const float *scores, size_t classes, float objectness, struct box box,
                          float limit, bool several, struct candidate_list *out)
{
    float best = limit;
    int class_of = -1;
    for (size_t c = 0; c < classes; c++) {
        float score = scores[c] * objectness;
        if (!(score > (several ? limit : best)))
            continue;
        best = score;
        class_of = (int)c;
        if (several) {
            int r = candidate_add(out, box, score, (int)c);
            if (r < 0)
                return r;
        }
    }
    return several || class_of < 0 ? 0 : candidate_add(out, box, best, class_of);
}

static int decode_objectness(const struct head *h, int width, int height,
                             const struct ort_output *o, double confidence_min, bool several,
                             struct candidate_list *out)
{
    size_t classes = (size_t)h->class_count, columns = 5 + classes;
    float limit = (float)confidence_min;
    if ((size_t)o->dim[2] != columns)
        return -ENOTSUP;
    if (h->family == HEAD_YOLOV5) {
        for (size_t i = 0; i < (size_t)o->dim[1]; i++) {
            const float *row = o->data + i * columns;
            if (!(row[4] > limit)) /* no class score is above 1 */
                continue;
            int r =
                add_scored_row(row + 5, classes, row[4],
                               box_of_centre(row[0], row[1], row[2], row[3]), limit, several, out);
            if (r < 0)
                return r;
        }
        return 0;
    }
    struct head size = *h;
    size.input_width = width;
    size.input_height = height;
    if (o->dim[1] != all_cells(&size))
        return -ENOTSUP;
    const float *row = o->data;
    for (int level = 0; level < HEAD_LEVEL_COUNT; level++) {
        int stride = level_stride[level];
        int across = (width + stride - 1) / stride, down = (height + stride - 1) / stride;
        for (int cell = 0; cell < across * down; cell++, row += columns) {
            if (!(row[4] > limit))
                continue;
            float step = (float)stride;
            float cx = (row[0] + (float)(cell % across)) * step;
            float cy = (row[1] + (float)(cell / across)) * step;
            struct box box = box_of_centre(cx, cy, expf(row[2]) * step, expf(row[3]) * step);
            int r = add_scored_row(row + 5, classes, row[4], box, limit, several, out);
            if (r < 0)
                return r;
        }
    }
    return 0;
}

static int decode_end_to_end(const struct head *h, const struct ort_output *o,
                             double confidence_min, struct candidate_list *out)
{
    int class_end = h->class_count > 0 ? h->class_count : LABEL_COUNT_MAX;
    if (o->dim[2] != 6)
        return -ENOTSUP;
    for (int64_t i = 0; i < o->dim[1]; i++) {
        const float *row = o->data + i * 6;
        float class_number = rintf(row[5]);
        if (!(row[4] > (float)confidence_min) || !(class_number >= 0) ||
            !(class_number < (float)class_end))
            continue;
        struct box box = {row[0], row[1], row[2], row[3]};
        int r = candidate_add(out, box, row[4], (int)class_number);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Expected value of one side's distribution, in cells. */
static float side_of(const float *logits, int bins)
{
    float peak = logits[0];
    for (int i = 1; i < bins; i++)
        peak = MAX(peak, logits[i]);
    float sum = 0, weighted = 0;
    for (int i = 0; i < bins; i++) {
        float p = expf(logits[i] - peak);
        sum += p;
        weighted += p * (float)i;
    }
    return weighted / sum;
}

/* Its training counts pixels from their centres: without this half pixel, AP on persons of a fixed
 * 768x576 camera falls from .408 to .392. */
#define NANODET_SHIFT 0.5f

static int decode_nanodet(const struct head *h, int width, int height,
                          const struct ort_output *outputs, double confidence_min, bool several,
                          struct candidate_list *out)
{
    size_t classes = (size_t)h->class_count;
    float limit = (float)confidence_min;
    for (int level = 0; level < HEAD_LEVEL_COUNT; level++) {
        const struct ort_output *scores = &outputs[h->score_output[level]];
        const struct ort_output *sides = &outputs[h->distance_output[level]];
        int stride = level_stride[level];
        int across = (width + stride - 1) / stride, down = (height + stride - 1) / stride;
        if (scores->dim[1] != (int64_t)across * down || sides->dim[1] != scores->dim[1] ||
            (size_t)scores->dim[2] != classes || sides->dim[2] != 4 * h->bins)
            return -ENOTSUP;
        for (int cell = 0; cell < across * down; cell++) {
            const float *row = scores->data + (size_t)cell * classes;
            bool any = false;
            for (size_t c = 0; !any && c < classes; c++)
                any = row[c] > limit;
            if (!any)
                continue;
            const float *side = sides->data + (size_t)cell * 4 * (size_t)h->bins;
            float step = (float)stride;
            float cx = ((float)(cell % across) + 0.5f) * step - NANODET_SHIFT;
            float cy = ((float)(cell / across) + 0.5f) * step - NANODET_SHIFT;
            struct box box = {
                cx - side_of(side, h->bins) * step,
                cy - side_of(side + h->bins, h->bins) * step,
                cx + side_of(side + 2 * h->bins, h->bins) * step,
                cy + side_of(side + 3 * h->bins, h->bins) * step,
            };
            int r = add_scored_row(row, classes, 1.0f, box, limit, several, out);
            if (r < 0)
                return r;
        }
    }
    return 0;
}
