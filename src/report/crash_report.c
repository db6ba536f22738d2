#include "report/crash_report.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fsutil.h"
#include "base/mem.h"
#include "base/text.h"
#include "report/crash.h"

#define LAST_FILE "crash.last"

/* One line, and how far the reader has come. */
struct reading {
    struct crash_report *r;
    struct crash_frame unwound[CRASH_FRAMES_MAX];
    unsigned unwound_count;
    bool in_unwound, unwound_ended;
};

static void read_line(struct reading *at, const char *line);
static void read_object(struct crash_report *r, const char *text);
static void read_log(struct crash_report *r, const char *text);
static void choose_frames(struct reading *at);
static int object_of(const struct crash_report *r, uint64_t address);
static const char *signal_name(int number);
static json_t *frame_json(const struct crash_report *r, const struct crash_frame *frame);
static json_t *images_json(const struct crash_report *r);

int crash_report_parse(const char *text, size_t len, struct crash_report *ret)
{
    memset(ret, 0, sizeof(*ret));
    if (len > CRASH_TEXT_MAX || len < strlen(CRASH_MAGIC) + 1 ||
        memcmp(text, CRASH_MAGIC "\n", strlen(CRASH_MAGIC) + 1) != 0)
        return -EINVAL;
    struct reading *at = xcalloc(1, sizeof(*at));
    at->r = ret;
    for (const char *p = text, *end = text + len; p < end;) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        size_t n = stop ? (size_t)(stop - p) : (size_t)(end - p);
        AUTO_FREE char *line = xstrndup(p, n);
        if (stop) /* else it was cut off: a number of it might be a part of one */
            read_line(at, line);
        p += n + 1;
    }
    choose_frames(at);
    free(at);
    return 0;
}

/* The rest of a line that begins with this word; NULL = it does not. */
static const char *after(const char *line, const char *word)
{
    size_t n = strlen(word);
    return strncmp(line, word, n) == 0 && line[n] == ' ' ? line + n + 1 : NULL;
}

static bool number_of(const char *text, int base, uint64_t *ret)
{
    char *end;
    errno = 0;
    if (!strchr("0123456789abcdef", text[0]) || !text[0])
        return false;
    unsigned long long n = strtoull(text, &end, base);
    if (errno || (*end && *end != ' '))
        return false;
    *ret = n;
    return true;
}

static void read_frame(struct reading *at, uint64_t address)
{
    struct crash_frame *list = at->in_unwound ? at->unwound : at->r->frames;
    unsigned *count = at->in_unwound ? &at->unwound_count : &at->r->frame_count;
    if (*count < CRASH_FRAMES_MAX)
        list[(*count)++] = (struct crash_frame){.address = address};
}

static void read_line(struct reading *at, const char *line)
{
    struct crash_report *r = at->r;
    const char *rest;
    uint64_t n;
    if (strcmp(line, "crash") == 0)
        r->crashed = true;
    else if (strcmp(line, "unwound") == 0)
        at->in_unwound = true;
    else if (strcmp(line, "end") == 0)
        at->unwound_ended |= at->in_unwound;
    else if ((rest = after(line, "version")))
        text_printable(rest, strlen(rest), r->version, sizeof(r->version));
    else if ((rest = after(line, "started")))
        text_printable(rest, strlen(rest), r->started, sizeof(r->started));
    else if ((rest = after(line, "thread")))
        text_printable(rest, strlen(rest), r->thread, sizeof(r->thread));
    else if ((rest = after(line, "object")))
        read_object(r, rest);
    else if ((rest = after(line, "log")))
        read_log(r, rest);
    else if ((rest = after(line, "signal")) && number_of(rest, 10, &n) && n < NSIG)
        r->signal = (int)n;
    else if ((rest = after(line, "code")) && number_of(rest, 10, &n))
        r->code = (int)(int32_t)(uint32_t)n;
    else if ((rest = after(line, "time")) && number_of(rest, 10, &n) && n < INT32_MAX * 100LL)
        r->at_s = (int64_t)n;
    else if ((rest = after(line, "address")))
        r->has_address = number_of(rest, 16, &r->address);
    else if ((rest = after(line, "frame")) && number_of(rest, 16, &n))
        read_frame(at, n);
}

/* "<base> <start> <end> <build id or -> <path>" */
static void read_object(struct crash_report *r, const char *text)
{
    if (r->object_count == CRASH_OBJECTS_MAX)
        return;
    struct crash_object o = {0};
    unsigned long long base, start, end;
    int at = 0;
    /* NOLINTNEXTLINE(cert-err34-c): so few digits cannot overflow */
    if (sscanf(text, "%16llx %16llx %16llx %64[0-9a-f-] %n", &base, &start, &end, o.build_id,
               &at) != 4 ||
        at == 0 || start >= end || !text[at])
        return;
    o.base = base;
    o.start = start;
    o.end = end;
    if (strcmp(o.build_id, "-") == 0)
        o.build_id[0] = '\0';
    if (text_copy(o.path, sizeof(o.path), text + at))
        r->objects[r->object_count++] = o;
}

static void read_log(struct crash_report *r, const char *text)
{
    struct crash_log one = {0};
    long long at_s;
    unsigned level;
    if (r->log_count == CRASH_LOGS_MAX)
        return;
    /* NOLINTNEXTLINE(cert-err34-c): so few digits cannot overflow */
    if (sscanf(text, "%12lld %1u %39[A-Za-z0-9_.-]", &at_s, &level, one.id) != 3 ||
        level >= LOG_LEVEL_COUNT)
        return;
    one.at_s = at_s;
    one.level = (enum log_level)level;
    r->logs[r->log_count++] = one;
}

/* The unwinder knows callers that the frame pointers pass over, so of two lists that are equally
 * long its one is right. When it stops early, at a jump into nowhere, the other is longer. */
static void choose_frames(struct reading *at)
{
    struct crash_report *r = at->r;
    if (at->unwound_ended && at->unwound_count >= r->frame_count) {
        memcpy(r->frames, at->unwound, sizeof(r->frames));
        r->frame_count = at->unwound_count;
    }
    for (unsigned i = 0; i < r->frame_count; i++)
        r->frames[i].object = object_of(r, r->frames[i].address);
}

static int object_of(const struct crash_report *r, uint64_t address)
{
    for (unsigned i = 0; i < r->object_count; i++)
        if (address >= r->objects[i].start && address < r->objects[i].end)
            return (int)i;
    return -1;
}

/* ---- names ---- */

/* A caller's address is that of the instruction after the call, which may be the first of the next
 * function when the called one never returns. */
static void name_frame(struct crash_report *r, unsigned index, const struct symbols *s)
{
    struct crash_frame *f = &r->frames[index];
    uint64_t offset, address = f->address - r->objects[f->object].base - (index > 0);
    const char *name = symbols_find(s, address, &offset);
    if (!name)
        return;
    /* "f.isra.0", "f.cold": copies that the compiler made of f, another one the next time. */
    size_t len = name[0] == '.' ? strlen(name) : strcspn(name, ".");
    text_printable(name, len, f->function, sizeof(f->function));
    f->offset = offset + (index > 0);
}

void crash_report_name_functions(struct crash_report *r)
{
    for (unsigned o = 0; o < r->object_count; o++) {
        AUTO(symbols) s = NULL;
        bool tried = false;
        for (unsigned i = 0; i < r->frame_count; i++) {
            if (r->frames[i].object != (int)o)
                continue;
            if (!tried && symbols_open(r->objects[o].path, r->objects[o].build_id, &s, NULL) < 0)
                s = NULL; /* gone or replaced: its addresses stay numbers */
            tried = true;
            if (s)
                name_frame(r, i, s);
        }
    }
}

const char *crash_report_function(const struct crash_report *r)
{
    for (unsigned i = 0; i < r->frame_count; i++)
        if (r->frames[i].object == 0 && r->frames[i].function[0])
            return r->frames[i].function;
    for (unsigned i = 0; i < r->frame_count; i++)
        if (r->frames[i].function[0])
            return r->frames[i].function;
    return "an unknown function";
}

static const char *signal_name(int number)
{
    const char *name = sigabbrev_np(number);
    return name ? name : "?";
}

const char *crash_report_sentence(const struct crash_report *r, char *buf, size_t size)
{
    char address[40] = "";
    if (r->has_address)
        (void)text_format(address, sizeof(address), " at 0x%llx", (unsigned long long)r->address);
    (void)text_format(buf, size, "SIG%s%s in function %s, thread %s", signal_name(r->signal),
                      address, crash_report_function(r), r->thread[0] ? r->thread : "?");
    return buf;
}

/* ---- the event ---- */

static void put_hex(json_t *object, const char *key, uint64_t n)
{
    char text[24];
    (void)text_format(text, sizeof(text), "0x%llx", (unsigned long long)n);
    (void)json_object_set_new(object, key, json_string(text));
}

static json_t *stack_json(const struct crash_report *r)
{
    json_t *frames = json_array();
    for (unsigned i = r->frame_count; i > 0; i--) /* Sentry wants the oldest first */
        (void)json_array_append_new(frames, frame_json(r, &r->frames[i - 1]));
    return json_pack("{s:o}", "frames", frames);
}

static json_t *frame_json(const struct crash_report *r, const struct crash_frame *frame)
{
    json_t *f = json_object();
    put_hex(f, "instruction_addr", frame->address);
    if (frame->function[0]) {
        (void)json_object_set_new(f, "function", js_string(frame->function));
        put_hex(f, "symbol_addr", frame->address - frame->offset);
    }
    if (frame->object >= 0) {
        put_hex(f, "image_addr", r->objects[frame->object].start);
        (void)json_object_set_new(f, "package", js_string(r->objects[frame->object].path));
    }
    (void)json_object_set_new(f, "in_app", json_boolean(frame->object == 0));
    return f;
}

static json_t *exception_json(const struct crash_report *r)
{
    char type[24], value[256];
    const char *name = signal_name(r->signal);
    (void)text_format(type, sizeof(type), "SIG%s", name);
    return json_pack("{s:[{s:s,s:s,s:s,s:{s:s,s:b,s:{s:{s:i,s:i,s:s}}},s:o}]}", "values", "type",
                     type, "value", crash_report_sentence(r, value, sizeof(value)), "thread_id",
                     r->thread, "mechanism", "type", "signalhandler", "handled", 0, "meta",
                     "signal", "number", r->signal, "code", r->code, "name", type, "stacktrace",
                     stack_json(r));
}

static json_t *crumbs_json(const struct crash_report *r)
{
    json_t *values = json_array();
    for (unsigned i = 0; i < r->log_count; i++) {
        struct event_record record = {.at = wall_from_seconds(r->logs[i].at_s),
                                      .level = r->logs[i].level};
        text_copy(record.id, sizeof(record.id), r->logs[i].id);
        (void)json_array_append_new(values, event_crumb(NULL, &record));
    }
    return json_pack("{s:o}", "values", values);
}

json_t *crash_report_event(const struct crash_report *r, const struct event_origin *origin,
                           const struct scrub *scrub, const char id[EVENT_ID_SIZE])
{
    struct wall_time at = r->at_s ? wall_from_seconds(r->at_s) : clock_wall();
    json_t *event = event_new(origin, id, at, "fatal");
    const char *function = crash_report_function(r);
    (void)json_object_set_new(event, "exception", exception_json(r));
    (void)json_object_set_new(event, "transaction", js_string(function));
    (void)json_object_set_new(
        event, "fingerprint",
        json_pack("[s,s,o]", "crash", signal_name(r->signal), js_string(function)));
    (void)json_object_set_new(event, "breadcrumbs", crumbs_json(r));
    (void)json_object_set_new(event, "debug_meta", images_json(r));
    json_t *tags = json_object_get(event, "tags");
    (void)json_object_set_new(tags, "log_id", json_string("crashed-before"));
    event_put_text(tags, "stage", scrub, r->thread, EVENT_TAG_MAX);
    json_t *extra = json_object();
    event_put_text(extra, "version", NULL, r->version, EVENT_TAG_MAX);
    event_put_text(extra, "started", NULL, r->started, EVENT_TAG_MAX);
    (void)json_object_set_new(event, "extra", extra);
    return event;
}

/* Sentry's name of an ELF file: the build id's first 16 bytes as a GUID, whose first three parts
 * are read as little-endian numbers. */
static void debug_id(const char *build_id, char ret[40])
{
    static const int order[] = {3,  2, 1, 0,  -1, 5,  4,  -1, 7,  6,
                                -1, 8, 9, -1, 10, 11, 12, 13, 14, 15};
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        if (order[i] < 0) {
            ret[n++] = '-';
            continue;
        }
        ret[n++] = build_id[2 * order[i]];
        ret[n++] = build_id[2 * order[i] + 1];
    }
    ret[n] = '\0';
}

/* Those that frames lie in, for a server that has the files and can say more. */
static json_t *images_json(const struct crash_report *r)
{
    json_t *images = json_array();
    for (unsigned o = 0; o < r->object_count; o++) {
        const struct crash_object *object = &r->objects[o];
        bool used = false;
        for (unsigned i = 0; i < r->frame_count; i++)
            used |= r->frames[i].object == (int)o;
        if (!used)
            continue;
        json_t *image =
            json_pack("{s:s,s:o,s:I}", "type", "elf", "code_file", js_string(object->path),
                      "image_size", (json_int_t)(object->end - object->start));
        put_hex(image, "image_addr", object->start);
        if (strlen(object->build_id) >= 32) {
            char id[40];
            debug_id(object->build_id, id);
            (void)json_object_set_new(image, "debug_id", json_string(id));
            (void)json_object_set_new(image, "code_id", json_string(object->build_id));
        }
        (void)json_array_append_new(images, image);
    }
    return json_pack("{s:o}", "images", images);
}

/* ---- the file ---- */

int crash_report_take(const char *folder, struct crash_report **ret, struct err *e)
{
    AUTO_FREE char *path = xasprintf("%s/" CRASH_FILE, folder);
    AUTO_FREE char *last = xasprintf("%s/" LAST_FILE, folder);
    AUTO(blob) file = NULL;
    int r = fs_read_blob(AT_FDCWD, path, CRASH_TEXT_MAX, &file, e);
    if (r == -ENOENT)
        return r;
    struct crash_report *report = xcalloc(1, sizeof(*report));
    if (r == 0 && crash_report_parse((const char *)file->data, file->size, report) < 0)
        r = err_set(e, -EINVAL, ERR_NEVER, "%s is no report of a crash", path);
    /* Whatever it is, it must not be met again at the next start. */
    if (report->crashed || r < 0 ? rename(path, last) < 0 : unlink(path) < 0)
        r = r < 0 ? r : err_errno(e, -errno, "move %s", path);
    if (r < 0) {
        free(report);
        return r;
    }
    crash_report_name_functions(report);
    *ret = report;
    return 0;
}
