#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"

const char *const log_level_names[LOG_LEVEL_COUNT] = {"error", "warning", "notice", "info",
                                                      "debug"};
const char *const log_format_names[LOG_FORMAT_COUNT] = {"text", "json"};

/* A sentence longer than this is cut: a line must fit one write(2) to a pipe (PIPE_BUF 4096). */
#define LOG_TEXT_MAX 1500
#define LOG_LINE_MAX 4096

static atomic_int level_now = LOG_LEVEL_INFO;
static atomic_int format_now = LOG_FORMAT_TEXT;
static atomic_int fd_now = STDERR_FILENO;
static atomic_ullong counts[LOG_LEVEL_COUNT];

static pthread_mutex_t hook_lock = PTHREAD_MUTEX_INITIALIZER;
static bool (*hook_now)(enum log_level, const char *, const char *, void *);
static void *hook_arg;

struct sink {
    void (*call)(void *, const struct log_record *);
    void *arg;
};
/* Readers are the threads that log; who removes a sink waits for them. */
static pthread_rwlock_t sinks_lock = PTHREAD_RWLOCK_INITIALIZER;
static struct sink sinks[LOG_SINKS_MAX];
static size_t sink_count;
static _Thread_local bool in_sink;

struct context {
    char stage[32];
    char camera[64];
    char snapshot[40];
};
static _Thread_local struct context context;

void log_set_level(enum log_level level)
{
    atomic_store(&level_now, (int)level);
}

enum log_level log_get_level(void)
{
    return (enum log_level)atomic_load(&level_now);
}

void log_set_format(enum log_format format)
{
    atomic_store(&format_now, (int)format);
}

void log_set_fd(int fd)
{
    atomic_store(&fd_now, fd);
}

void log_set_hook(bool (*hook)(enum log_level, const char *, const char *, void *), void *arg)
{
    pthread_mutex_lock(&hook_lock);
    hook_now = hook;
    hook_arg = arg;
    pthread_mutex_unlock(&hook_lock);
}

static size_t find_sink(void (*sink)(void *, const struct log_record *), const void *arg)
{
    size_t i = 0;
    while (i < sink_count && (sinks[i].call != sink || sinks[i].arg != arg))
        i++;
    return i;
}

int log_add_sink(void (*sink)(void *arg, const struct log_record *r), void *arg)
{
    pthread_rwlock_wrlock(&sinks_lock);
    int r = 0;
    if (find_sink(sink, arg) == sink_count && sink_count == LOG_SINKS_MAX)
        r = -ENOSPC;
    else if (find_sink(sink, arg) == sink_count)
        sinks[sink_count++] = (struct sink){sink, arg};
    pthread_rwlock_unlock(&sinks_lock);
    return r;
}

void log_remove_sink(void (*sink)(void *arg, const struct log_record *r), void *arg)
{
    pthread_rwlock_wrlock(&sinks_lock);
    size_t i = find_sink(sink, arg);
    if (i < sink_count)
        sinks[i] = sinks[--sink_count];
    pthread_rwlock_unlock(&sinks_lock);
}

static void tell_sinks(const struct log_record *r)
{
    if (in_sink)
        return;
    in_sink = true;
    pthread_rwlock_rdlock(&sinks_lock);
    for (size_t i = 0; i < sink_count; i++)
        sinks[i].call(sinks[i].arg, r);
    pthread_rwlock_unlock(&sinks_lock);
    in_sink = false;
}

void log_context_stage(const char *stage)
{
    text_copy(context.stage, sizeof(context.stage), stage ? stage : "");
}

void log_context_camera(const char *camera)
{
    text_copy(context.camera, sizeof(context.camera), camera ? camera : "");
}

void log_context_snapshot(const char *snapshot_id)
{
    text_copy(context.snapshot, sizeof(context.snapshot), snapshot_id ? snapshot_id : "");
}

unsigned long long log_count(enum log_level level)
{
    return atomic_load(&counts[level]);
}

static bool hook_swallows(enum log_level level, const char *id, const char *text)
{
    pthread_mutex_lock(&hook_lock);
    bool swallowed = hook_now && hook_now(level, id, text, hook_arg);
    pthread_mutex_unlock(&hook_lock);
    return swallowed;
}

/* `quoted` is already free of control characters, quotes and backslashes-to-be-escaped for JSON,
 * but text_escape writes \xNN, which JSON does not know: those become \u00NN. */
static size_t json_text(const char *src, char *dst, size_t size)
{
    char escaped[4 * LOG_TEXT_MAX];
    text_escape(src, strlen(src), escaped, sizeof(escaped));
    size_t out = 0;
    for (const char *p = escaped; *p && out + 7 < size; p++) {
        if (p[0] == '\\' && p[1] == 'x') {
            memcpy(dst + out, "\\u00", 4);
            out += 4;
            p++;
        } else {
            dst[out++] = *p;
            if (p[0] == '\\')
                dst[out++] = *++p;
        }
    }
    dst[out] = '\0';
    return out;
}

static int render_json(const struct log_record *r, char *line, size_t size)
{
    char when[WALL_ISO_MAX], message[3000], camera[256];
    json_text(r->text, message, sizeof(message));
    json_text(r->camera, camera, sizeof(camera));
    int n = snprintf(line, size, "{\"timestamp\":\"%s\",\"level\":\"%s\",\"id\":\"%s\"",
                     wall_format_iso(r->at, true, when), log_level_names[r->level], r->id);
    if (*r->stage)
        n += snprintf(line + n, size - (size_t)n, ",\"stage\":\"%s\"", r->stage);
    if (*camera)
        n += snprintf(line + n, size - (size_t)n, ",\"camera\":\"%s\"", camera);
    if (*r->snapshot)
        n += snprintf(line + n, size - (size_t)n, ",\"snapshot\":\"%s\"", r->snapshot);
    n += snprintf(line + n, size - (size_t)n, ",\"message\":\"%s\"}\n", message);
    return n;
}

static int render_text(const struct log_record *r, char *line, size_t size)
{
    char when[WALL_ISO_MAX], camera[256], message[3000];
    /* Quotes and backslashes are harmless here; only control characters must not pass. */
    text_printable(r->text, strlen(r->text), message, sizeof(message));
    text_escape(r->camera, strlen(r->camera), camera, sizeof(camera));
    int n = snprintf(line, size, "%s %-7s ", wall_format_iso(r->at, true, when),
                     log_level_names[r->level]);
    if (*r->stage)
        n += snprintf(line + n, size - (size_t)n, "%s: ", r->stage);
    if (*camera)
        n += snprintf(line + n, size - (size_t)n, "camera \"%s\": ", camera);
    n += snprintf(line + n, size - (size_t)n, "%s [%s", message, r->id);
    if (*r->snapshot)
        n += snprintf(line + n, size - (size_t)n, " %s", r->snapshot);
    n += snprintf(line + n, size - (size_t)n, "]\n");
    return n;
}

static void write_line(const struct log_record *r)
{
    char line[LOG_LINE_MAX];
    int n = atomic_load(&format_now) == LOG_FORMAT_JSON ? render_json(r, line, sizeof(line))
                                                        : render_text(r, line, sizeof(line));
    size_t len = MIN((size_t)n, sizeof(line) - 1);
    (void)!write(atomic_load(&fd_now), line, len); /* a log that cannot be written has no log */
}

void log_write(enum log_level level, const char *id, const char *fmt, ...)
{
    if ((int)level > atomic_load(&level_now))
        return;
    atomic_fetch_add(&counts[level], 1);
    char text[LOG_TEXT_MAX];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (n >= (int)sizeof(text))
        memcpy(text + sizeof(text) - 4, "...", 4);
    if (hook_swallows(level, id, text))
        return;
    const struct log_record r = {.level = level,
                                 .at = clock_wall(),
                                 .id = id,
                                 .stage = context.stage,
                                 .camera = context.camera,
                                 .snapshot = context.snapshot,
                                 .text = text};
    write_line(&r);
    tell_sinks(&r);
}
