#include "tiny_model.h"

#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/dynbuf.h"
#include "base/fsutil.h"
#include "base/mem.h"

/* Field numbers are those of onnx.proto3. */
enum { VARINT = 0, BYTES = 2 };

static void put_varint(struct dynbuf *b, uint64_t v)
{
    do {
        unsigned char byte = (unsigned char)(v & 0x7f);
        v >>= 7;
        if (v != 0)
            byte |= 0x80;
        assert(dynbuf_append(b, &byte, 1) == 0);
    } while (v != 0);
}

static void put_int(struct dynbuf *b, unsigned field, uint64_t v)
{
    put_varint(b, field << 3 | VARINT);
    put_varint(b, v);
}

static void put_bytes(struct dynbuf *b, unsigned field, const void *data, size_t len)
{
    put_varint(b, field << 3 | BYTES);
    put_varint(b, len);
    assert(dynbuf_append(b, data, len) == 0);
}

static void put_text(struct dynbuf *b, unsigned field, const char *s)
{
    put_bytes(b, field, s, strlen(s));
}

static void put_message(struct dynbuf *b, unsigned field, struct dynbuf *message)
{
    put_bytes(b, field, dynbuf_str(message), message->len);
    dynbuf_reset(message);
}

#define SCRATCH(name)                                                                              \
    AUTO_DONE(dynbuf) name;                                                                        \
    dynbuf_init(&name, 1 << 20)

static void put_value_info(struct dynbuf *graph, unsigned field, const char *name, int element,
                           const int64_t *dims, size_t count, bool open)
{
    SCRATCH(dim);
    SCRATCH(shape);
    SCRATCH(tensor);
    SCRATCH(type);
    SCRATCH(info);
    for (size_t i = 0; i < count; i++) {
        if (dims[i] < 0 || open)
            put_text(&dim, 2, i == 0 ? "batch" : i == 1 ? "a" : i == 2 ? "b" : "c");
        else
            put_int(&dim, 1, (uint64_t)dims[i]);
        put_message(&shape, 1, &dim);
    }
    put_int(&tensor, 1, (uint64_t)element);
    put_message(&tensor, 2, &shape);
    put_message(&type, 1, &tensor);
    put_text(&info, 1, name);
    put_message(&info, 2, &type);
    put_message(graph, field, &info);
}

static void put_node(struct dynbuf *graph, const char *op, const char *in1, const char *in2,
                     const char *out, const char *attribute, uint64_t value)
{
    SCRATCH(node);
    SCRATCH(a);
    put_text(&node, 1, in1);
    if (in2 != NULL)
        put_text(&node, 1, in2);
    put_text(&node, 2, out);
    put_text(&node, 4, op);
    if (attribute != NULL) {
        put_text(&a, 1, attribute);
        put_int(&a, 3, value);
        put_int(&a, 20, 2); /* an integer */
        put_message(&node, 5, &a);
    }
    put_message(graph, 1, &node);
}

static void put_tensor(struct dynbuf *graph, const char *name, const int64_t dims[3],
                       const float *values)
{
    SCRATCH(tensor);
    size_t count = 1;
    for (int i = 0; i < 3; i++) {
        put_int(&tensor, 1, (uint64_t)dims[i]);
        count *= (size_t)dims[i];
    }
    put_int(&tensor, 2, 1); /* float32 */
    put_text(&tensor, 8, name);
    put_bytes(&tensor, 9, values, count * sizeof(float));
    put_message(graph, 5, &tensor);
}

char *tiny_model_write(const struct tiny_model *m, const char *dir, const char *name)
{
    SCRATCH(graph);
    SCRATCH(part);
    SCRATCH(model);
    const char *seen = "images";
    if (m->half) {
        put_node(&graph, "Cast", "images", NULL, "wide", "to", 1);
        seen = "wide";
    }
    put_node(&graph, "ReduceMean", seen, NULL, "mean", "keepdims", 0);
    put_node(&graph, "Mul", "factor", "mean", "scaled", NULL, 0);
    put_node(&graph, "Add", "scaled", "base", "output0", NULL, 0);
    put_text(&graph, 2, "tiny");
    put_tensor(&graph, "base", m->output, m->base);
    put_tensor(&graph, "factor", m->output, m->factor);
    put_value_info(&graph, 11, "images", m->half ? 10 : 1, m->input, 4, false);
    put_value_info(&graph, 12, "output0", 1, m->output, 3, m->open_output);
    put_int(&model, 1, 7); /* IR version */
    put_text(&part, 1, "");
    put_int(&part, 2, 13); /* operator set */
    put_message(&model, 8, &part);
    put_message(&model, 7, &graph);
    for (size_t i = 0; m->metadata != NULL && m->metadata[i] != NULL; i += 2) {
        put_text(&part, 1, m->metadata[i]);
        put_text(&part, 2, m->metadata[i + 1]);
        put_message(&model, 14, &part);
    }
    char *path = xasprintf("%s/%s", dir, name);
    assert(fs_replace(AT_FDCWD, path, dynbuf_str(&model), model.len, 0644, NULL) == 0);
    return path;
}

static const float one_base[6] = {8, 8, 24, 40, 0, 1};
static const float one_factor[6] = {0, 0, 0, 0, 1, 0};
static const char *const one_metadata[] = {"task",    "detect", "names", "{0: 'person', 1: 'dog'}",
                                           "end2end", "True",   NULL};
const struct tiny_model tiny_end_to_end = {
    .input = {1, 3, 64, 64},
    .output = {1, 1, 6},
    .base = one_base,
    .factor = one_factor,
    .metadata = one_metadata,
};

struct blob *tiny_picture(int width, int height, uint8_t value)
{
    size_t row = ((size_t)width * 3 + 3) / 4 * 4, pixels = row * (size_t)height;
    size_t size = 54 + pixels;
    uint8_t *d = calloc(1, size);
    assert(d != NULL);
    const uint32_t fields[] = {
        (uint32_t)size,  0, 54, 40, (uint32_t)width, (uint32_t)height, 1 | 24u << 16, 0,
        (uint32_t)pixels};
    d[0] = 'B';
    d[1] = 'M';
    for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
        for (size_t k = 0; k < 4; k++)
            d[2 + 4 * i + k] = (uint8_t)(fields[i] >> (8 * k));
    }
    memset(d + 54, value, pixels);
    struct blob *b = blob_new_take(d, size);
    assert(b != NULL);
    return b;
}

char *tiny_folder(void)
{
    char *dir = xstrdup("/tmp/snapshotd-detect-XXXXXX");
    assert(mkdtemp(dir) != NULL);
    return dir;
}

void tiny_folder_remove(char *dir)
{
    DIR *d = opendir(dir);
    assert(d != NULL);
    struct dirent *entry;
    while ((entry = readdir(d)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            assert(unlinkat(dirfd(d), entry->d_name, 0) == 0);
    }
    closedir(d);
    assert(rmdir(dir) == 0);
    free(dir);
}
