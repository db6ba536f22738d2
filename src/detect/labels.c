#include "detect/labels.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/fsutil.h"
#include "base/mem.h"
#include "base/text.h"

/* The order of the class ids that COCO-trained detectors use (0..79, without COCO's gaps). */
const char *const labels_coco[LABEL_COCO_COUNT] = {
    "person",        "bicycle",      "car",
    "motorcycle",    "airplane",     "bus",
    "train",         "truck",        "boat",
    "traffic light", "fire hydrant", "stop sign",
    "parking meter", "bench",        "bird",
    "cat",           "dog",          "horse",
    "sheep",         "cow",          "elephant",
    "bear",          "zebra",        "giraffe",
    "backpack",      "umbrella",     "handbag",
    "tie",           "suitcase",     "frisbee",
    "skis",          "snowboard",    "sports ball",
    "kite",          "baseball bat", "baseball glove",
    "skateboard",    "surfboard",    "tennis racket",
    "bottle",        "wine glass",   "cup",
    "fork",          "knife",        "spoon",
    "bowl",          "banana",       "apple",
    "sandwich",      "orange",       "broccoli",
    "carrot",        "hot dog",      "pizza",
    "donut",         "cake",         "chair",
    "couch",         "potted plant", "bed",
    "dining table",  "toilet",       "tv",
    "laptop",        "mouse",        "remote",
    "keyboard",      "cell phone",   "microwave",
    "oven",          "toaster",      "sink",
    "refrigerator",  "book",         "clock",
    "vase",          "scissors",     "teddy bear",
    "hair drier",    "toothbrush",
};

void label_list_done(struct label_list *l)
{
    for (size_t i = 0; i < l->count; i++)
        free(l->names[i]);
    free(l->names);
    *l = (struct label_list){.names = NULL};
}

int labels_parse(const char *text, size_t len, struct label_list *ret, struct err *e)
{
    AUTO_DONE(label_list) list = {.names = xcalloc(LABEL_COUNT_MAX, sizeof(char *))};
    const char *end = text + len;
    size_t used = 0, lines = 0;
    if (len > LABEL_FILE_MAX)
        return err_set(e, -EFBIG, ERR_NEVER, "above %zu bytes", LABEL_FILE_MAX);
    if (memchr(text, '\0', len) != NULL)
        return err_set(e, -EINVAL, ERR_NEVER, "not a text: it holds NUL bytes");
    list.count = LABEL_COUNT_MAX; /* so that a refusal frees them all */
    while (text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        const char *stop = newline != NULL ? newline : end;
        const char *next = newline != NULL ? newline + 1 : end;
        while (text < stop && (*text == ' ' || *text == '\t'))
            text++;
        while (stop > text && (stop[-1] == ' ' || stop[-1] == '\t' || stop[-1] == '\r'))
            stop--;
        if (lines == LABEL_COUNT_MAX)
            return err_set(e, -EFBIG, ERR_NEVER, "above %d lines", LABEL_COUNT_MAX);
        if (stop > text) {
            list.names[lines] = xstrndup(text, (size_t)(stop - text));
            used = lines + 1;
        }
        lines++;
        text = next;
    }
    if (used == 0)
        return err_set(e, -EINVAL, ERR_NEVER, "no name in it: one class name a line is expected");
    list.count = used;
    *ret = list;
    list = (struct label_list){.names = NULL};
    return 0;
}

int labels_read(const char *path, struct label_list *ret, struct err *e)
{
    AUTO(blob) text = NULL;
    int r = fs_read_blob(AT_FDCWD, path, LABEL_FILE_MAX, &text, e);
    if (r == 0)
        r = labels_parse((const char *)text->data, text->size, ret, e);
    if (r < 0)
        (void)err_prefix(e, "names file %s", path);
    return r;
}

void labels_use_coco(struct label_list *ret)
{
    *ret = (struct label_list){.names = xcalloc(LABEL_COCO_COUNT, sizeof(char *)),
                               .count = LABEL_COCO_COUNT};
    for (size_t i = 0; i < LABEL_COCO_COUNT; i++)
        ret->names[i] = xstrdup(labels_coco[i]);
}

const char *labels_name(const struct label_list *l, int class_id, char *buf, size_t size)
{
    if (class_id >= 0 && (size_t)class_id < l->count && l->names[class_id] != NULL)
        (void)text_copy(buf, size, l->names[class_id]); /* a long name is cut */
    else
        (void)text_format(buf, size, "class %d", class_id);
    return buf;
}
