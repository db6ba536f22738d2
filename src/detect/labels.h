#pragma once
/* Names of classes: COCO's 80 for models that carry none, or a file with one name a line. */

#include <stddef.h>

#include "base/err.h"

#define LABEL_COCO_COUNT 80
#define LABEL_COUNT_MAX 4096             /* LVIS, the largest common set, has 1203 */
#define LABEL_FILE_MAX ((size_t)1 << 18) /* bytes; LABEL_COUNT_MAX names of 64 */

extern const char *const labels_coco[LABEL_COCO_COUNT];

struct label_list {
    char **names; /* NULL entries: a class without a name */
    size_t count;
};
void label_list_done(struct label_list *l);

/* One name a line, in class order; empty lines at the end are ignored, inner ones are unnamed
 * classes. -EINVAL when it is no such text. */
int labels_parse(const char *text, size_t len, struct label_list *ret, struct err *e);
int labels_read(const char *path, struct label_list *ret, struct err *e);
void labels_use_coco(struct label_list *ret);
/* The name of a class for a detection: from the list, else "class 12". Returns buf. */
const char *labels_name(const struct label_list *l, int class_id, char *buf, size_t size);
