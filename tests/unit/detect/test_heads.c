#include "cmocka_all.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "detect/heads.h"

struct shapes {
    const char *input_name;
    enum ort_type input_type;
    int64_t input[4];
    size_t outputs;
    struct {
        const char *name;
        int rank;
        int64_t dim[5];
        enum ort_type type;
    } output[ORT_TENSOR_MAX];
    const char *task, *description, *file;
    bool end2end;
    int meta_names; /* names in the metadata */
    int file_names; /* names in a names file */
    int channels;
    const char *second_input;
};

struct bench {
    struct ort_tensor_info in[2], out[ORT_TENSOR_MAX];
    struct onnx_meta meta;
    char *no_names[LABEL_COUNT_MAX];
    struct head_facts facts;
};

static void lay_out(struct bench *b, const struct shapes *s)
{
    *b = (struct bench){.in[0] = {.type = s->input_type, .rank = 4}};
    text_copy(b->in[0].name, ORT_NAME_MAX, s->input_name != NULL ? s->input_name : "images");
    memcpy(b->in[0].dim, s->input, sizeof(s->input));
    for (size_t i = 0; i < s->outputs; i++) {
        text_copy(b->out[i].name, ORT_NAME_MAX,
                  s->output[i].name != NULL ? s->output[i].name : "output0");
        b->out[i].type = s->output[i].type;
        b->out[i].rank = s->output[i].rank;
        memcpy(b->out[i].dim, s->output[i].dim, sizeof(s->output[i].dim));
    }
    text_copy(b->meta.task, sizeof(b->meta.task), s->task != NULL ? s->task : "");
    text_copy(b->meta.description, sizeof(b->meta.description),
              s->description != NULL ? s->description : "");
    b->meta.end2end = s->end2end;
    b->meta.channels = s->channels;
    b->meta.names = (struct label_list){b->no_names, (size_t)s->meta_names};
    if (s->second_input != NULL) {
        b->in[1] = (struct ort_tensor_info){.type = ORT_TYPE_I64, .rank = 2, .dim = {1, 2}};
        text_copy(b->in[1].name, ORT_NAME_MAX, s->second_input);
    }
    b->facts = (struct head_facts){
        .inputs = b->in,
        .input_count = s->second_input != NULL ? 2 : 1,
        .outputs = b->out,
        .output_count = s->outputs,
        .meta = &b->meta,
        .class_count = s->file_names > 0 ? s->file_names : s->meta_names,
        .file = s->file,
    };
}

static int recognise(const struct shapes *s, struct head *ret, struct err *e)
{
    struct bench b;
    lay_out(&b, s);
    int r = head_recognise_input(&b.facts, ret, e);
    return r < 0 ? r : head_recognise_outputs(&b.facts, ret, e);
}

#define IN(w) .input = {1, 3, w, w}
#define ONE(a, b) .outputs = 1, .output = {{NULL, 3, {1, a, b}, ORT_TYPE_F32}}
#define NANODET(bins)                                                                              \
    .outputs = 6, .output = {{"792", 3, {1, 2704, 80}, ORT_TYPE_F32},                              \
                             {"814", 3, {1, 676, 80}, ORT_TYPE_F32},                               \
                             {"836", 3, {1, 169, 80}, ORT_TYPE_F32},                               \
                             {"795", 3, {1, 2704, 4 * (bins)}, ORT_TYPE_F32},                      \
                             {"817", 3, {1, 676, 4 * (bins)}, ORT_TYPE_F32},                       \
                             {"839", 3, {1, 169, 4 * (bins)}, ORT_TYPE_F32}}

static void recognises_every_known_form(void **state)
{
    (void)state;
    const struct {
        struct shapes s;
        enum head_family family;
        int classes;
        double confidence, iou;
        bool transposed, bgr;
    } cases[] = {
        {{IN(640), ONE(84, 8400), .task = "detect", .meta_names = 80},
         HEAD_YOLOV8,
         80,
         0.25,
         0.7,
         false,
         false},
        {{IN(416), ONE(84, 3549), .meta_names = 80}, HEAD_YOLOV8, 80, 0.25, 0.7, false, false},
        {{IN(640), ONE(84, 8400)}, HEAD_YOLOV8, 80, 0.25, 0.7, false, false},
        {{IN(640), ONE(8400, 84), .meta_names = 80}, HEAD_YOLOV8, 80, 0.25, 0.7, true, false},
        {{IN(640), ONE(8400, 84)}, HEAD_YOLOV8, 80, 0.25, 0.7, true, false},
        {{IN(640), ONE(6, 8400), .meta_names = 2}, HEAD_YOLOV8, 2, 0.25, 0.7, false, false},
        {{IN(640), ONE(8400, 6), .meta_names = 2}, HEAD_YOLOV8, 2, 0.25, 0.7, true, false},
        {{IN(640), ONE(5, 8400), .meta_names = 1}, HEAD_YOLOV8, 1, 0.25, 0.7, false, false},
        {{IN(640), ONE(84, 8500), .meta_names = 80}, HEAD_YOLOV8, 80, 0.25, 0.7, false, false},
        {{IN(416), ONE(84, 3549), .description = "NanoDet-g (COCO)", .meta_names = 80},
         HEAD_YOLOV8,
         80,
         0.40,
         0.6,
         false,
         false},
        {{IN(640), ONE(25200, 85), .meta_names = 80}, HEAD_YOLOV5, 80, 0.25, 0.45, false, false},
        {{IN(640), ONE(25200, 85)}, HEAD_YOLOV5, 80, 0.25, 0.45, false, false},
        {{IN(640), ONE(25200, 6), .meta_names = 1}, HEAD_YOLOV5, 1, 0.25, 0.45, false, false},
        {{IN(640), .outputs = 4,
          .output = {{NULL, 3, {1, 25200, 85}, ORT_TYPE_F32},
                     {"a", 5, {1, 3, 80, 80, 85}, ORT_TYPE_F32},
                     {"b", 5, {1, 3, 40, 40, 85}, ORT_TYPE_F32},
                     {"c", 5, {1, 3, 20, 20, 85}, ORT_TYPE_F32}}},
         HEAD_YOLOV5,
         80,
         0.25,
         0.45,
         false,
         false},
        {{IN(640), ONE(300, 6), .end2end = true, .meta_names = 80},
         HEAD_END_TO_END,
         80,
         0.25,
         1.0,
         false,
         false},
        {{IN(640), ONE(300, 6)}, HEAD_END_TO_END, 0, 0.25, 1.0, false, false},
        {{IN(512), ONE(100, 6), .description = "MobileNetV3 CenterNet (COCO)", .meta_names = 80},
         HEAD_END_TO_END,
         80,
         0.35,
         0.7,
         false,
         false},
        {{IN(512), ONE(100, 6), .file = "centernet-512.onnx"},
         HEAD_END_TO_END,
         0,
         0.35,
         0.7,
         false,
         false},
        {{IN(416), ONE(3549, 85)}, HEAD_YOLOX, 80, 0.25, 0.45, false, true},
        {{IN(416), ONE(3549, 7), .file_names = 2}, HEAD_YOLOX, 2, 0.25, 0.45, false, true},
        {{.input_name = "input.1", IN(416), NANODET(8)}, HEAD_NANODET, 80, 0.40, 0.6, false, true},
        {{IN(416), NANODET(11)}, HEAD_NANODET, 80, 0.40, 0.6, false, true},
        {{.input_type = ORT_TYPE_F16, IN(640), ONE(84, 8400)},
         HEAD_YOLOV8,
         80,
         0.25,
         0.7,
         false,
         false},
        {{.input = {-1, 3, -1, -1}, ONE(84, 8400), .meta_names = 80},
         HEAD_YOLOV8,
         80,
         0.25,
         0.7,
         false,
         false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct head h;
        struct err e = {.code = 0};
        if (recognise(&cases[i].s, &h, &e) < 0)
            fail_msg("case %zu: %s", i, e.text);
        assert_int_equal(h.family, cases[i].family);
        assert_int_equal(h.class_count, cases[i].classes);
        assert_float_equal(h.confidence_min, cases[i].confidence, 1e-9);
        assert_float_equal(h.iou_max, cases[i].iou, 1e-9);
        assert_int_equal(h.transposed, cases[i].transposed);
        assert_int_equal(h.format.bgr, cases[i].bgr);
        assert_true(h.title[0] != '\0');
    }
}

static void refuses_the_rest_by_name_and_says_what_was_seen(void **state)
{
    (void)state;
    const struct {
        struct shapes s;
        const char *says;
    } cases[] = {
        {{IN(640), ONE(116, 8400), .task = "segment", .meta_names = 80}, "'segment'"},
        {{IN(640), ONE(56, 8400), .task = "pose", .meta_names = 1}, "'pose'"},
        {{IN(640), ONE(20, 21504), .task = "obb", .meta_names = 15}, "'obb'"},
        {{IN(640), .outputs = 2,
          .output = {{NULL, 3, {1, 116, 8400}, ORT_TYPE_F32},
                     {"output1", 4, {1, 32, 160, 160}, ORT_TYPE_F32}}},
         "segmentation"},
        {{IN(640), ONE(300, 84), .meta_names = 80}, "RT-DETR"},
        {{IN(640), ONE(300, 84), .description = "Ultralytics RT-DETR-l", .meta_names = 80},
         "RT-DETR"},
        {{IN(640), ONE(300, 6), .second_input = "orig_target_sizes"}, "D-FINE"},
        {{IN(640), ONE(300, 6), .second_input = "im_shape"}, "several inputs"},
        {{.input_type = ORT_TYPE_U8,
          .input = {1, 320, 320, 3},
          .outputs = 1,
          .output = {{"detection_boxes", 3, {1, 100, 4}, ORT_TYPE_F32}}},
         "SSD"},
        {{.input = {1, 320, 320, 3}, ONE(84, 8400)}, "TensorFlow"},
        {{IN(560), .outputs = 2,
          .output = {{"dets", 3, {1, 300, 4}, ORT_TYPE_F32},
                     {"labels", 3, {1, 300, 91}, ORT_TYPE_F32}}},
         "RF-DETR"},
        {{IN(416), ONE(3598, 112), .file_names = 80}, "NanoDet-Plus"},
        {{IN(224), .outputs = 1, .output = {{NULL, 2, {1, 1000}, ORT_TYPE_F32}}}, "classifier"},
        {{.input = {1, 1, 640, 640}, ONE(84, 8400)}, "colour"},
        {{IN(640), ONE(84, 8400), .channels = 4}, "colour"},
        {{.input = {8, 3, 640, 640}, ONE(84, 8400)}, "batch 1"},
        {{.input_type = ORT_TYPE_I64, IN(640), ONE(84, 8400)}, "float32"},
        {{IN(4096), ONE(84, 8400)}, "2048"},
        {{IN(16), ONE(84, 8400)}, "2048"},
        {{IN(640), ONE(84, 0)}, "empty"},
        {{IN(640), .outputs = 0}, "without outputs"},
        {{IN(640), ONE(90, 8400), .meta_names = 80}, "80 class names"},
        {{IN(640), ONE(8400, 50)}, "names file"},
        {{IN(640), ONE(77, 99)}, "unknown form"},
        {{IN(320), NANODET(8)}, "NanoDet"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct head h;
        struct err e = {.code = 0};
        assert_int_equal(recognise(&cases[i].s, &h, &e), -ENOTSUP);
        if (strstr(e.text, cases[i].says) == NULL)
            fail_msg("case %zu says: %s", i, e.text);
        assert_non_null(strstr(e.text, "known are YOLOv8"));
        assert_non_null(strstr(e.text, "input "));
    }
}

static struct head head_of(enum head_family family, int classes, int side)
{
    return (struct head){.family = family,
                         .class_count = classes,
                         .input_width = side,
                         .input_height = side,
                         .stride = 32};
}

static void assert_candidate(const struct candidate_list *l, size_t i, int class_id, float score,
                             float x1, float y1, float x2, float y2)
{
    assert_true(i < l->count);
    const struct candidate *c = &l->items[i];
    assert_int_equal(c->class_id, class_id);
    assert_float_equal(c->score, score, 1e-5);
    assert_float_equal(c->box.x1, x1, 1e-3);
    assert_float_equal(c->box.y1, y1, 1e-3);
    assert_float_equal(c->box.x2, x2, 1e-3);
    assert_float_equal(c->box.y2, y2, 1e-3);
}

/* Two classes, three cells: sure of class 1, on the threshold, unsure. */
static const float v8_rows[3][6] = {
    {20, 30, 10, 20, 0.2f, 0.8f}, {40, 40, 10, 10, 0.5f, 0.1f}, {60, 60, 10, 10, 0.1f, 0.3f}};

static void decodes_the_v8_form_and_its_transpose_alike(void **state)
{
    (void)state;
    float upright[6][3], turned[3][6];
    for (size_t i = 0; i < 3; i++) {
        for (size_t k = 0; k < 6; k++)
            upright[k][i] = turned[i][k] = v8_rows[i][k];
    }
    for (int pass = 0; pass < 2; pass++) {
        struct head h = head_of(HEAD_YOLOV8, 2, 64);
        h.transposed = pass == 1;
        struct ort_output o = {.rank = 3};
        o.data = pass == 0 ? &upright[0][0] : &turned[0][0];
        o.dim[0] = 1;
        o.dim[1] = pass == 0 ? 6 : 3;
        o.dim[2] = pass == 0 ? 3 : 6;
        AUTO_DONE(candidate_list) l = {.items = NULL};
        assert_int_equal(head_decode(&h, 64, 64, &o, 1, 0.5, false, &l, NULL), 0);
        assert_int_equal(l.count, 1); /* a score that equals the threshold is not above it */
        assert_candidate(&l, 0, 1, 0.8f, 15, 20, 25, 40);
        l.count = 0;
        assert_int_equal(head_decode(&h, 64, 64, &o, 1, 0.15, true, &l, NULL), 0);
        assert_int_equal(l.count, 4); /* .2 and .8, .5, .3 */
    }
}

static void decodes_the_v5_form_with_objectness(void **state)
{
    (void)state;
    float rows[2][7] = {{20, 30, 10, 20, 0.5f, 0.2f, 0.9f}, {40, 40, 10, 10, 0.2f, 1, 1}};
    struct head h = head_of(HEAD_YOLOV5, 2, 64);
    struct ort_output o = {.data = &rows[0][0], .rank = 3, .dim = {1, 2, 7}};
    AUTO_DONE(candidate_list) l = {.items = NULL};
    assert_int_equal(head_decode(&h, 64, 64, &o, 1, 0.25, false, &l, NULL), 0);
    assert_int_equal(l.count, 1);
    assert_candidate(&l, 0, 1, 0.45f, 15, 20, 25, 40);
}

static void decodes_end_to_end_rows(void **state)
{
    (void)state;
    float rows[5][6] = {{10, 10, 20, 30, 0.9f, 1},
                        {-5, 0, 700, 30, 0.4f, 0},
                        {1, 1, 5, 5, 0.9f, 2},  /* no such class */
                        {1, 1, 5, 5, 0.9f, -1}, /* nor this */
                        {1, 1, 5, 5, 0.9f, NAN}};
    struct head h = head_of(HEAD_END_TO_END, 2, 64);
    struct ort_output o = {.data = &rows[0][0], .rank = 3, .dim = {1, 5, 6}};
    AUTO_DONE(candidate_list) l = {.items = NULL};
    assert_int_equal(head_decode(&h, 64, 64, &o, 1, 0.25, false, &l, NULL), 0);
    assert_int_equal(l.count, 2);
    assert_candidate(&l, 0, 1, 0.9f, 10, 10, 20, 30);
}

static void decodes_yolox_grids(void **state)
{
    (void)state;
    /* 32x64 input: levels of 8x4, 4x2 and 2x1 cells = 42 rows. */
    enum { ROWS = 32 + 8 + 2, COLUMNS = 6 };
    static float rows[ROWS][COLUMNS];
    float first[COLUMNS] = {0.5f, 0.25f, 0, logf(2), 0.8f, 0.5f};
    memcpy(rows[9], first, sizeof(first));          /* stride 8: column 1, row 1 */
    memcpy(rows[32 + 8 + 1], first, sizeof(first)); /* stride 32: column 1, row 0 */
    struct head h = head_of(HEAD_YOLOX, 1, 64);
    h.input_height = 32;
    struct ort_output o = {.data = &rows[0][0], .rank = 3, .dim = {1, ROWS, COLUMNS}};
    AUTO_DONE(candidate_list) l = {.items = NULL};
    assert_int_equal(head_decode(&h, 64, 32, &o, 1, 0.25, false, &l, NULL), 0);
    assert_int_equal(l.count, 2);
    assert_candidate(&l, 0, 0, 0.4f, 12 - 4, 10 - 8, 12 + 4, 10 + 8);
    assert_candidate(&l, 1, 0, 0.4f, 48 - 16, 8 - 32, 48 + 16, 8 + 32);
}

static void decodes_nanodet_distributions(void **state)
{
    (void)state;
    /* 32x32 input: 16, 4 and 1 cells; 2 bins: even logits mean half a cell on each side. */
    static float scores[3][16 * 3], sides[3][16 * 8];
    struct head h = head_of(HEAD_NANODET, 3, 32);
    struct ort_output o[6];
    const int cells[3] = {16, 4, 1};
    h.bins = 2;
    for (int level = 0; level < 3; level++) {
        h.score_output[level] = 2 * level; /* any order */
        h.distance_output[level] = 2 * level + 1;
        o[2 * level] =
            (struct ort_output){.data = scores[level], .rank = 3, .dim = {1, cells[level], 3}};
        o[2 * level + 1] =
            (struct ort_output){.data = sides[level], .rank = 3, .dim = {1, cells[level], 8}};
    }
    scores[0][5 * 3 + 2] = 0.7f; /* stride 8, column 1, row 1: centre 12 - 0.5 */
    sides[0][5 * 8 + 5] = 100;   /* right: all weight on bin 1 = one cell */
    AUTO_DONE(candidate_list) l = {.items = NULL};
    assert_int_equal(head_decode(&h, 32, 32, o, 6, 0.4, false, &l, NULL), 0);
    assert_int_equal(l.count, 1);
    assert_candidate(&l, 0, 2, 0.7f, 11.5f - 4, 11.5f - 4, 11.5f + 8, 11.5f + 4);
}

static void survives_numbers_that_are_none(void **state)
{
    (void)state;
    const float odd[] = {NAN, INFINITY, -INFINITY, 1e38f, -1e38f, 0};
    static float rows[64 * 7];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        rows[i] = odd[i % ARRAY_LEN(odd)];
    const struct {
        enum head_family family;
        int64_t a, b;
    } cases[] = {
        {HEAD_YOLOV8, 6, 64}, {HEAD_YOLOV5, 64, 7}, {HEAD_END_TO_END, 64, 6}, {HEAD_YOLOX, 21, 7}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct head h = head_of(cases[i].family, 2, 32);
        struct ort_output o = {.data = rows, .rank = 3, .dim = {1, cases[i].a, cases[i].b}};
        AUTO_DONE(candidate_list) l = {.items = NULL};
        assert_int_equal(head_decode(&h, 32, 32, &o, 1, 0.25, false, &l, NULL), 0);
        nms_select(&l, 0.5, 300);
        for (size_t k = 0; k < l.count; k++)
            assert_true(isfinite(l.items[k].box.x1) && l.items[k].score <= 1);
    }
}

static void refuses_an_answer_of_another_shape(void **state)
{
    (void)state;
    static float rows[64];
    const struct {
        enum head_family family;
        int rank;
        int64_t dim[3];
    } cases[] = {
        {HEAD_YOLOV8, 3, {1, 7, 4}},     {HEAD_YOLOV8, 2, {6, 4, 0}},  {HEAD_YOLOV8, 3, {2, 6, 4}},
        {HEAD_YOLOV8, 3, {1, 6, 0}},     {HEAD_YOLOV5, 3, {1, 4, 8}},  {HEAD_YOLOX, 3, {1, 4, 7}},
        {HEAD_END_TO_END, 3, {1, 4, 7}}, {HEAD_NANODET, 3, {1, 4, 7}},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct head h = head_of(cases[i].family, 2, 32);
        struct ort_output o = {.data = rows, .rank = cases[i].rank};
        memcpy(o.dim, cases[i].dim, sizeof(cases[i].dim));
        AUTO_DONE(candidate_list) l = {.items = NULL};
        struct err e = {.code = 0};
        assert_int_equal(head_decode(&h, 32, 32, &o, 1, 0.25, false, &l, &e), -ENOTSUP);
        assert_int_equal(l.count, 0);
    }
}

static void chooses_the_smallest_rectangle_of_a_small_set(void **state)
{
    (void)state;
    struct head h = head_of(HEAD_YOLOV8, 80, 640);
    h.dynamic = true;
    const struct {
        int width, height, input_width, input_height;
    } cases[] = {
        {1920, 1080, 640, 384}, {1080, 1920, 384, 640}, {640, 480, 640, 480},
        {480, 640, 480, 640},   {768, 576, 640, 480},   {1000, 1000, 640, 640},
        {1280, 1024, 640, 640}, {4000, 8, 640, 256},    {7, 3000, 256, 640},
        {1, 1, 640, 640},       {2560, 1080, 640, 384}, {3000, 1000, 640, 256},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int width, height;
        head_input_size(&h, cases[i].width, cases[i].height, &width, &height);
        assert_int_equal(width, cases[i].input_width);
        assert_int_equal(height, cases[i].input_height);
    }
    h.dynamic = false;
    int width, height;
    head_input_size(&h, 1920, 1080, &width, &height);
    assert_int_equal(width, 640);
    assert_int_equal(height, 640);
}

static void maps_boxes_back_and_drops_those_in_the_padding(void **state)
{
    (void)state;
    /* 200x100 in 64x64: scale .32, 32 rows of picture from row 16 on. */
    struct letterbox lb = letterbox_compute(LETTERBOX_CENTRE, 200, 100, 64, 64);
    AUTO_DONE(candidate_list) l = {.items = NULL};
    assert_int_equal(candidate_add(&l, (struct box){-10, 16, 32, 32}, 0.9f, 0), 0);
    assert_int_equal(candidate_add(&l, (struct box){0, 0, 64, 10}, 0.8f, 0), 0);
    AUTO_DONE(label_list) names = {.names = NULL};
    labels_use_coco(&names);
    AUTO_DONE(detection_list) found = {.items = NULL};
    head_finish(&l, &lb, &names, &found);
    assert_int_equal(found.count, 1);
    assert_string_equal(found.items[0].label, "person");
    assert_float_equal(found.items[0].box.x1, 0, 1e-3);
    assert_float_equal(found.items[0].box.x2, 100, 1e-3);
    assert_float_equal(found.items[0].box.y2, 50, 1e-3);
    assert_true(found.items[0].has_box);
}

static void converts_half_precision(void **state)
{
    (void)state;
    const struct {
        float wide;
        uint16_t half;
    } exact[] = {{0, 0},
                 {-0.0f, 0x8000},
                 {1, 0x3c00},
                 {-2, 0xc000},
                 {65504, 0x7bff},
                 {0x1p-14f, 0x0400},
                 {0x1p-24f, 0x0001},
                 {0.333251953125f, 0x3555},
                 {INFINITY, 0x7c00},
                 {-INFINITY, 0xfc00}};
    for (size_t i = 0; i < ARRAY_LEN(exact); i++) {
        assert_int_equal(ort_float_to_half(exact[i].wide), exact[i].half);
        assert_true(ort_half_to_float(exact[i].half) == exact[i].wide);
    }
    assert_int_equal(ort_float_to_half(65520), 0x7c00);
    assert_int_equal(ort_float_to_half(65519), 0x7bff);
    assert_int_equal(ort_float_to_half(1 + 0x1p-11f), 0x3c00);     /* tie to even: down */
    assert_int_equal(ort_float_to_half(1 + 3 * 0x1p-11f), 0x3c02); /* tie to even: up */
    assert_int_equal(ort_float_to_half(0x1p-25f), 0);              /* tie to even: zero */
    assert_true(isnan(ort_half_to_float(ort_float_to_half(NAN))));
    for (uint32_t h = 0; h < 0x7c00; h++) /* every finite number comes back */
        assert_int_equal(ort_float_to_half(ort_half_to_float((uint16_t)h)), h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recognises_every_known_form),
        cmocka_unit_test(refuses_the_rest_by_name_and_says_what_was_seen),
        cmocka_unit_test(decodes_the_v8_form_and_its_transpose_alike),
        cmocka_unit_test(decodes_the_v5_form_with_objectness),
        cmocka_unit_test(decodes_end_to_end_rows),
        cmocka_unit_test(decodes_yolox_grids),
        cmocka_unit_test(decodes_nanodet_distributions),
        cmocka_unit_test(survives_numbers_that_are_none),
        cmocka_unit_test(refuses_an_answer_of_another_shape),
        cmocka_unit_test(chooses_the_smallest_rectangle_of_a_small_set),
        cmocka_unit_test(maps_boxes_back_and_drops_those_in_the_padding),
        cmocka_unit_test(converts_half_precision),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
