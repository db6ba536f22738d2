#include "detect/onnx_meta.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "base/dynbuf.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"

/* A name above this is no class name; it bounds what one string may take. */
#define NAME_BYTES_MAX ((size_t)512)
#define SIDE_MAX 16384 /* pixels of a model's input side; the largest in use is 1536 */
#define VALUE_MAX ((size_t)4096)

struct reader {
    const char *start, *p, *end;
};

static void skip_space(struct reader *r);
static bool take(struct reader *r, char c);
static int read_string(struct reader *r, struct dynbuf *out);
static int read_key(struct reader *r, struct dynbuf *scratch, int64_t *ret);
static int complain(const struct reader *r, struct err *e, const char *expected);

void onnx_meta_done(struct onnx_meta *m)
{
    label_list_done(&m->names);
}

static int keep_name(struct label_list *list, size_t index, const char *name)
{
    if (index >= LABEL_COUNT_MAX || list->names[index] != NULL)
        return -EINVAL;
    list->names[index] = xstrdup(name);
    return 0;
}

int onnx_meta_parse_names(const char *text, size_t len, struct label_list *ret, struct err *e)
{
    struct reader r = {text, text, text + len};
    if (len > META_NAMES_MAX)
        return err_set(e, -EINVAL, ERR_NEVER, "class names: above %zu bytes", META_NAMES_MAX);
    AUTO_DONE(label_list)
    list = {.names = xcalloc(LABEL_COUNT_MAX, sizeof(char *)), .count = LABEL_COUNT_MAX};
    AUTO_DONE(dynbuf) name;
    dynbuf_init(&name, NAME_BYTES_MAX);

    skip_space(&r);
    bool is_map = take(&r, '{');
    char close = '}';
    if (!is_map) {
        close = ')';
        if (take(&r, '['))
            close = ']';
        else if (!take(&r, '('))
            return complain(&r, e, "'{' or '['");
    }
    size_t used = 0;
    int64_t index = -1;
    for (;;) {
        skip_space(&r);
        if (take(&r, close))
            break;
        index++;
        if (is_map) {
            if (read_key(&r, &name, &index) < 0)
                return complain(&r, e, "a class number from 0 to 4095");
            skip_space(&r);
            if (!take(&r, ':'))
                return complain(&r, e, "':'");
            skip_space(&r);
        }
        if (read_string(&r, &name) < 0)
            return complain(&r, e, "a quoted name");
        if (keep_name(&list, (size_t)index, dynbuf_str(&name)) < 0)
            return complain(&r, e, "each class number once, at most 4096 of them");
        used = MAX(used, (size_t)index + 1);
        skip_space(&r);
        if (!take(&r, ',') && (r.p == r.end || *r.p != close))
            return complain(&r, e, "',' or the end of the list");
    }
    skip_space(&r);
    if (r.p != r.end)
        return complain(&r, e, "nothing more");
    if (used == 0)
        return err_set(e, -EINVAL, ERR_NEVER, "class names: the list is empty");
    list.count = used;
    *ret = list;
    list = (struct label_list){.names = NULL};
    return 0;
}

int onnx_meta_parse_size(const char *text, size_t len, int *ret_height, int *ret_width)
{
    int64_t side[2] = {0, 0};
    size_t count = 0;
    struct reader r = {text, text, text + len};
    skip_space(&r);
    char close = '\0';
    if (take(&r, '['))
        close = ']';
    else if (take(&r, '('))
        close = ')';
    while (count < 2) {
        skip_space(&r);
        size_t digits = 0;
        while (r.p + digits < r.end && r.p[digits] >= '0' && r.p[digits] <= '9')
            digits++;
        if (parse_int64(r.p, digits, 1, SIDE_MAX, &side[count]) < 0)
            return -EINVAL;
        r.p += digits;
        count++;
        skip_space(&r);
        if (close == '\0' || !take(&r, ','))
            break;
    }
    if (close != '\0' && !take(&r, close))
        return -EINVAL;
    skip_space(&r);
    if (r.p != r.end)
        return -EINVAL;
    *ret_height = (int)side[0];
    *ret_width = (int)(count == 2 ? side[1] : side[0]);
    return 0;
}

static void look_up_text(char *(*lookup)(void *, const char *, size_t), void *arg, const char *key,
                         char *dst, size_t size)
{
    AUTO_FREE char *value = lookup(arg, key, VALUE_MAX);
    if (value != NULL)
        (void)text_copy(dst, size, value); /* for people; a long one is cut */
}

static int look_up_number(char *(*lookup)(void *, const char *, size_t), void *arg, const char *key,
                          int max)
{
    AUTO_FREE char *value = lookup(arg, key, VALUE_MAX);
    int64_t number = 0;
    if (value == NULL || parse_int64(value, strlen(value), 1, max, &number) < 0)
        return 0;
    return (int)number;
}

int onnx_meta_read(char *(*lookup)(void *arg, const char *key, size_t max), void *arg,
                   struct onnx_meta *ret, struct err *e)
{
    struct onnx_meta meta = {.stride = 0};
    look_up_text(lookup, arg, "description", meta.description, sizeof(meta.description));
    look_up_text(lookup, arg, "task", meta.task, sizeof(meta.task));
    look_up_text(lookup, arg, "license", meta.license, sizeof(meta.license));
    meta.stride = look_up_number(lookup, arg, "stride", 1024);
    meta.channels = look_up_number(lookup, arg, "channels", 1024);
    char end2end[16] = "";
    look_up_text(lookup, arg, "end2end", end2end, sizeof(end2end));
    meta.end2end = text_equal_nocase(end2end, "true");
    AUTO_FREE char *size = lookup(arg, "imgsz", VALUE_MAX);
    if (size != NULL)
        (void)onnx_meta_parse_size(size, strlen(size), &meta.input_height, &meta.input_width);
    AUTO_FREE char *names = lookup(arg, "names", META_NAMES_MAX);
    if (names != NULL) {
        int r = onnx_meta_parse_names(names, strlen(names), &meta.names, e);
        if (r < 0)
            return r;
    }
    *ret = meta;
    return 0;
}

static void skip_space(struct reader *r)
{
    while (r->p < r->end && (*r->p == ' ' || *r->p == '\t' || *r->p == '\n' || *r->p == '\r'))
        r->p++;
}

static bool take(struct reader *r, char c)
{
    if (r->p == r->end || *r->p != c)
        return false;
    r->p++;
    return true;
}

static int complain(const struct reader *r, struct err *e, const char *expected)
{
    char near[64];
    size_t left = MIN((size_t)(r->end - r->p), (size_t)12);
    text_escape(r->p, left, near, sizeof(near));
    return err_set(e, -EINVAL, ERR_NEVER, "class names: expected %s at byte %zu, found \"%s\"",
                   expected, (size_t)(r->p - r->start), near);
}

static int hex_digits(struct reader *r, size_t count, uint32_t *ret)
{
    uint32_t value = 0;
    if ((size_t)(r->end - r->p) < count)
        return -EINVAL;
    for (size_t i = 0; i < count; i++, r->p++) {
        char c = *r->p;
        uint32_t digit;
        if (c >= '0' && c <= '9')
            digit = (uint32_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            digit = (uint32_t)(c - 'a') + 10;
        else if (c >= 'A' && c <= 'F')
            digit = (uint32_t)(c - 'A') + 10;
        else
            return -EINVAL;
        value = value << 4 | digit;
    }
    *ret = value;
    return 0;
}

static int put_utf8(struct dynbuf *out, uint32_t code)
{
    char bytes[4];
    size_t n;
    if (code == 0 || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
        return -EINVAL;
    if (code < 0x80) {
        bytes[0] = (char)code;
        n = 1;
    } else if (code < 0x800) {
        bytes[0] = (char)(0xc0 | code >> 6);
        bytes[1] = (char)(0x80 | (code & 0x3f));
        n = 2;
    } else if (code < 0x10000) {
        bytes[0] = (char)(0xe0 | code >> 12);
        bytes[1] = (char)(0x80 | (code >> 6 & 0x3f));
        bytes[2] = (char)(0x80 | (code & 0x3f));
        n = 3;
    } else {
        bytes[0] = (char)(0xf0 | code >> 18);
        bytes[1] = (char)(0x80 | (code >> 12 & 0x3f));
        bytes[2] = (char)(0x80 | (code >> 6 & 0x3f));
        bytes[3] = (char)(0x80 | (code & 0x3f));
        n = 4;
    }
    return dynbuf_append(out, bytes, n);
}

static int read_escape(struct reader *r, struct dynbuf *out)
{
    if (r->p == r->end)
        return -EINVAL;
    char c = *r->p++;
    uint32_t code = 0;
    switch (c) {
    case 'n':
        return dynbuf_append(out, "\n", 1);
    case 't':
        return dynbuf_append(out, "\t", 1);
    case 'r':
        return dynbuf_append(out, "\r", 1);
    case '\\':
    case '\'':
    case '"':
    case '/':
        return dynbuf_append(out, &c, 1);
    case 'x':
        return hex_digits(r, 2, &code) < 0 ? -EINVAL : put_utf8(out, code);
    case 'u':
        return hex_digits(r, 4, &code) < 0 ? -EINVAL : put_utf8(out, code);
    case 'U':
        return hex_digits(r, 8, &code) < 0 ? -EINVAL : put_utf8(out, code);
    default:
        return -EINVAL;
    }
}

static int read_string(struct reader *r, struct dynbuf *out)
{
    dynbuf_reset(out);
    char quote = '\'';
    if (!take(r, '\'')) {
        if (!take(r, '"'))
            return -EINVAL;
        quote = '"';
    }
    while (r->p < r->end && *r->p != quote) {
        int result = 0;
        if (take(r, '\\')) {
            result = read_escape(r, out);
        } else if (*r->p == '\0') {
            return -EINVAL;
        } else {
            result = dynbuf_append(out, r->p, 1);
            r->p++;
        }
        if (result < 0)
            return -EINVAL;
    }
    return take(r, quote) ? 0 : -EINVAL;
}

static int read_key(struct reader *r, struct dynbuf *scratch, int64_t *ret)
{
    if (r->p < r->end && (*r->p == '"' || *r->p == '\'')) {
        if (read_string(r, scratch) < 0)
            return -EINVAL;
        return parse_int64(dynbuf_str(scratch), scratch->len, 0, LABEL_COUNT_MAX - 1, ret);
    }
    size_t digits = 0;
    while (r->p + digits < r->end && r->p[digits] >= '0' && r->p[digits] <= '9')
        digits++;
    int result = parse_int64(r->p, digits, 0, LABEL_COUNT_MAX - 1, ret);
    if (result == 0)
        r->p += digits;
    return result;
}
