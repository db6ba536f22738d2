#pragma once
/* What an ONNX file says about itself: Ultralytics' exporters write a map of texts, of which some
 * are Python literals. Pure parsing of foreign text; every size is bounded. */

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "detect/labels.h"

#define META_NAMES_MAX ((size_t)1 << 18) /* bytes of the names literal; Objects365 has 6 kB */
#define META_TEXT_MAX 160

struct onnx_meta {
    char description[META_TEXT_MAX]; /* "Ultralytics YOLOv8n model trained on coco.yaml", or "" */
    char task[32];                   /* "detect", "segment", ..., or "" */
    char license[META_TEXT_MAX];
    int input_height, input_width; /* imgsz, 0 when absent */
    int stride;                    /* 0 when absent */
    int channels;                  /* 0 when absent */
    bool end2end;                  /* the graph selects boxes itself */
    struct label_list names;       /* empty when absent */
};
void onnx_meta_done(struct onnx_meta *m);

/* Reads through `lookup`, which returns a malloc()ed value or NULL. A value that does not parse
 * counts as absent; only a broken `names` is -EINVAL, since wrong labels are worse than none. */
int onnx_meta_read(char *(*lookup)(void *arg, const char *key, size_t max), void *arg,
                   struct onnx_meta *ret, struct err *e);

/* {0: 'person', 1: "driver's seat"} or ['a', 'b'] or JSON's {"0": "person"}: either quote,
 * backslash escapes, any order of keys. -EINVAL with the place where it stops making sense. */
int onnx_meta_parse_names(const char *text, size_t len, struct label_list *ret, struct err *e);
/* "[640, 640]", "(640, 640)" = height, width, or "640". -EINVAL. Each 1..16384. */
int onnx_meta_parse_size(const char *text, size_t len, int *ret_height, int *ret_width);
