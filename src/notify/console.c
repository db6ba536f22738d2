#include "notify/console.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/dynbuf.h"
#include "base/fsutil.h"
#include "base/mem.h"
#include "base/text.h"
#include "sys/json.h"

const char *const console_format_names[CONSOLE_FORMAT_COUNT] = {"text", "json"};

/* Labels on one line; the rest is counted. */
#define LABELS_MAX 6
#define LINE_MAX_BYTES 8192
/* A terminal that is stopped, or a pipe that nobody reads, is no fault of the event's. */
#define ROOM_WAIT_MS 1000

struct console {
    struct notifier base;
    int fd;
    enum console_format format;
    bool colour;
    char *root;
    atomic_bool blocked; /* nobody reads */
};

static int console_deliver(struct notifier *n, const struct event *ev, struct err *e);
static void console_state(struct notifier *n, struct notifier_state *ret);
static void console_free(struct notifier *n);

static const struct notifier_ops console_ops = {
    .name = "console", .deliver = console_deliver, .describe = console_state, .free = console_free};

/* A path below the working directory is shown as a person would type it. */
static const char *from_here(const char *path)
{
    AUTO_FREE char *here = getcwd(NULL, 0);
    size_t len = here ? strlen(here) : 0;
    bool below = len > 1 && strncmp(path, here, len) == 0 && path[len] == '/';
    return below ? path + len + 1 : path;
}

struct notifier *console_notifier_new(int fd, enum console_format format, const char *store_root)
{
    struct console *c = xcalloc(1, sizeof(*c));
    *c = (struct console){.base = {.ops = &console_ops},
                          .fd = fd,
                          .format = format,
                          .colour = isatty(fd) == 1 && !getenv("NO_COLOR"),
                          .root = xstrdup(from_here(store_root))};
    return &c->base;
}

static void console_free(struct notifier *n)
{
    struct console *c = container_of(n, struct console, base);
    free(c->root);
    free(c);
}

/* What turns a label into several of it: "persons", "buses", "couches", "skis". */
static const char *plural_ending(const char *label)
{
    static const char *const es[] = {"us", "ss", "sh", "ch", "x"};
    for (size_t i = 0; i < ARRAY_LEN(es); i++)
        if (text_ends_with(label, es[i]))
            return "es";
    return text_ends_with(label, "s") || text_ends_with(label, "sheep") ? "" : "s";
}

/* "person 0.91", "2 persons (0.91, 0.83)": detections of the label of item `first`. */
static void describe_label(const struct detection_list *found, size_t first, struct dynbuf *out)
{
    const char *label = found->items[first].label;
    unsigned count = 0;
    for (size_t i = first; i < found->count; i++)
        count += strcmp(found->items[i].label, label) == 0;
    if (count == 1) {
        (void)dynbuf_printf(out, "%s %.2f", label, (double)found->items[first].confidence);
        return;
    }
    (void)dynbuf_printf(out, "%u %s%s (", count, label, plural_ending(label));
    unsigned shown = 0;
    for (size_t i = first; i < found->count && shown < 3; i++)
        if (strcmp(found->items[i].label, label) == 0)
            (void)dynbuf_printf(out, "%s%.2f", shown++ ? ", " : "",
                                (double)found->items[i].confidence);
    (void)dynbuf_puts(out, count > shown ? ", ...)" : ")");
}

static bool is_first_of_label(const struct detection_list *found, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (strcmp(found->items[i].label, found->items[at].label) == 0)
            return false;
    return true;
}

static void describe_found(const struct detection_list *found, struct dynbuf *out)
{
    unsigned labels = 0;
    /* Persons first: they are what people look for. */
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < found->count; i++) {
            bool person = strcmp(found->items[i].label, "person") == 0;
            if (person != (pass == 0) || !is_first_of_label(found, i))
                continue;
            if (++labels > LABELS_MAX)
                continue;
            if (labels > 1)
                (void)dynbuf_puts(out, ", ");
            describe_label(found, i, out);
        }
    }
    if (labels > LABELS_MAX)
        (void)dynbuf_printf(out, " and %u more kinds", labels - LABELS_MAX);
}

const char *console_describe(const struct verdict *v, char *buf, size_t size)
{
    AUTO_DONE(dynbuf) out = {0};
    dynbuf_init(&out, size - 1);
    switch (v->outcome) {
    case VERDICT_EXAMINED:
        if (v->found.count)
            describe_found(&v->found, &out);
        else
            (void)dynbuf_puts(&out, "nothing found");
        break;
    case VERDICT_SKIPPED:
        (void)dynbuf_puts(&out, "kept (detection is off)");
        break;
    case VERDICT_FAILED:
        (void)dynbuf_printf(&out, "kept, but not examined: %s", v->error);
        break;
    case VERDICT_OUTCOME_COUNT:
        break;
    }
    if (v->damaged)
        (void)dynbuf_puts(&out, " (damaged picture)");
    text_copy(buf, size, dynbuf_str(&out));
    return buf;
}

static void render_text(const struct console *c, const struct event *ev, struct dynbuf *out)
{
    const struct snapshot *s = ev->snapshot;
    const struct verdict *v = ev->verdict;
    char words[512], what[2 * sizeof(words)], when[16] = "";
    time_t t = (time_t)wall_seconds(s->event_at);
    struct tm tm;
    if (localtime_r(&t, &tm))
        (void)strftime(when, sizeof(when), "%H:%M:%S", &tm);
    bool person = verdict_persons(v) > 0;
    const char *colour = !c->colour                     ? ""
                         : v->outcome == VERDICT_FAILED ? "\033[31m"
                         : person                       ? "\033[1;32m"
                         : v->found.count               ? "\033[36m"
                                                        : "\033[2m";
    /* Labels come out of model files and errors out of pictures. */
    console_describe(v, words, sizeof(words));
    text_printable(words, strlen(words), what, sizeof(what));
    const char *shown = s->annotated_path[0] ? s->annotated_path : s->path;
    char camera[SNAPSHOT_KEY_MAX * 2], path[SNAPSHOT_PATH_MAX * 2];
    text_printable(shown, strlen(shown), path, sizeof(path));
    (void)dynbuf_printf(out, "%s  %-14s  %s%-44s%s  %4.0f ms  %s/%s\n", when,
                        text_escape(s->camera, strlen(s->camera), camera, sizeof(camera)), colour,
                        what, c->colour ? "\033[0m" : "", v->decode_ms + v->infer_ms, c->root,
                        path);
}

static void render_json(const struct console *c, const struct event *ev, struct dynbuf *out)
{
    const struct snapshot *s = ev->snapshot;
    const struct verdict *v = ev->verdict;
    char at[WALL_ISO_MAX], detail[VERDICT_DETAIL_MAX];
    AUTO_FREE char *path = xasprintf("%s/%s", c->root, s->path);
    AUTO_JSON json_t *found = json_array();
    for (size_t i = 0; i < v->found.count; i++) {
        const struct detection *d = &v->found.items[i];
        json_t *j = json_pack("{s:o,s:f}", "label", js_string(d->label), "confidence",
                              (double)d->confidence);
        if (d->has_box)
            json_object_set_new(j, "box",
                                json_pack("[f,f,f,f]", (double)d->box.x1, (double)d->box.y1,
                                          (double)d->box.x2, (double)d->box.y2));
        json_array_append_new(found, j);
    }
    AUTO_JSON json_t *j = json_pack(
        "{s:s,s:s,s:o,s:o,s:s,s:s,s:s,s:f,s:f,s:o,s:O}", "id", s->id, "event_at",
        wall_format_iso(s->event_at, true, at), "camera", js_string(s->camera), "device_key",
        js_string(s->device_key), "source", snapshot_source_names[s->source], "outcome",
        verdict_outcome_names[v->outcome], "event_detail", verdict_detail(v, detail), "decode_ms",
        v->decode_ms, "infer_ms", v->infer_ms, "path", js_string(path), "detections", found);
    if (s->annotated_path[0]) {
        AUTO_FREE char *annotated = xasprintf("%s/%s", c->root, s->annotated_path);
        json_object_set_new(j, "annotated_path", js_string(annotated));
    }
    if (v->error[0])
        json_object_set_new(j, "error", js_string(v->error));
    (void)js_write(j, out);
    (void)dynbuf_puts(out, "\n");
}

static void console_state(struct notifier *n, struct notifier_state *ret)
{
    struct console *c = container_of(n, struct console, base);
    ret->text[0] = '\0';
    text_copy(ret->error, sizeof(ret->error),
              atomic_load(&c->blocked) ? "nobody reads what is told of events here"
                                       : ""); /* fits */
}

static bool has_room(struct console *c)
{
    struct pollfd p = {.fd = c->fd, .events = POLLOUT};
    atomic_store(&c->blocked, poll(&p, 1, ROOM_WAIT_MS) == 0);
    return !atomic_load(&c->blocked); /* failures show at the write */
}

static int console_deliver(struct notifier *n, const struct event *ev, struct err *e)
{
    struct console *c = container_of(n, struct console, base);
    if (!has_room(c))
        return -EAGAIN;
    AUTO_DONE(dynbuf) line = {0};
    dynbuf_init(&line, c->format == CONSOLE_JSON ? 256 * 1024 : LINE_MAX_BYTES);
    if (c->format == CONSOLE_JSON)
        render_json(c, ev, &line);
    else
        render_text(c, ev, &line);
    int r = fs_write_all(c->fd, dynbuf_str(&line), line.len, e);
    return r < 0 ? err_prefix(e, "console") : 0;
}
