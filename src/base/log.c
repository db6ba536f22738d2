#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log_line.h"
#include "base/metrics.h"
#include "base/text.h"

const char *const log_level_names[LOG_LEVEL_COUNT] = {"error", "warning", "notice", "info",
                                                      "debug"};
const char *const log_format_names[LOG_FORMAT_COUNT] = {"text", "json"};

/* So long a line waits for a console that does not take it; the next ones do not wait at all until
 * it does. A picture must not wait for a stopped terminal or a pipe that nobody reads. */
#define CONSOLE_WAIT_MS 100

static atomic_int level_now = LOG_LEVEL_INFO;
static atomic_int format_now = LOG_FORMAT_TEXT;
static atomic_int fd_now = STDERR_FILENO;
static atomic_bool debugging;
static atomic_ullong lost;

static struct metric lines_total = {.name = "snapshotd_log_lines_total",
                                    .kind = METRIC_COUNTER,
                                    .label = "level",
                                    .help = "Log lines, by level"};
static struct metric lines_lost = {.name = "snapshotd_log_lines_lost_total",
                                   .kind = METRIC_COUNTER,
                                   .help = "Log lines that no place took"};

static pthread_mutex_t console_lock = PTHREAD_MUTEX_INITIALIZER;
static bool console_stuck;
static unsigned console_lost; /* since it is stuck */

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
/* Under the same lock. */
static bool (*writer_now)(void *, const struct log_record *);
static void *writer_arg;

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
    return atomic_load(&debugging) ? LOG_LEVEL_DEBUG : (enum log_level)atomic_load(&level_now);
}

void log_set_debugging(bool on)
{
    atomic_store(&debugging, on);
}

bool log_debugging(void)
{
    return atomic_load(&debugging);
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
    return (unsigned long long)metric_value(&lines_total, log_level_names[level]);
}

void log_register_metrics(void)
{
    metric_register(&lines_total);
    metric_register(&lines_lost);
}

void log_count_lost(unsigned lines)
{
    atomic_fetch_add(&lost, lines);
    metric_add(&lines_lost, NULL, lines);
}

unsigned long long log_lost(void)
{
    return atomic_load(&lost);
}

static bool hook_swallows(enum log_level level, const char *id, const char *text)
{
    pthread_mutex_lock(&hook_lock);
    bool swallowed = hook_now && hook_now(level, id, text, hook_arg);
    pthread_mutex_unlock(&hook_lock);
    return swallowed;
}

void log_set_writer(bool (*writer)(void *arg, const struct log_record *r), void *arg)
{
    pthread_rwlock_wrlock(&sinks_lock);
    writer_now = writer;
    writer_arg = arg;
    pthread_rwlock_unlock(&sinks_lock);
}

static bool writer_takes(const struct log_record *r)
{
    pthread_rwlock_rdlock(&sinks_lock);
    bool taken = writer_now && writer_now(writer_arg, r);
    pthread_rwlock_unlock(&sinks_lock);
    return taken;
}

static bool write_record(int fd, const struct log_record *r)
{
    char line[LOG_LINE_MAX];
    size_t len = log_line_console(r, (enum log_format)atomic_load(&format_now), line);
    return write(fd, line, len) == (ssize_t)len;
}

static void tell_of_console_losses(int fd, const struct log_record *now)
{
    char text[96];
    struct log_record r = {.level = LOG_LEVEL_WARNING,
                           .at = now->at,
                           .id = "log-lines-lost",
                           .stage = "",
                           .camera = "",
                           .snapshot = "",
                           .text = text};
    (void)text_format(text, sizeof(text), "%u lines are missing here: nobody read the console",
                      console_lost); /* fits */
    if (write_record(fd, &r))
        console_lost = 0;
}

void log_write_console(const struct log_record *r)
{
    pthread_mutex_lock(&console_lock);
    int fd = atomic_load(&fd_now);
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    /* A pipe or terminal that says so takes PIPE_BUF bytes without waiting, and no line is longer;
     * making it non-blocking would do that to everyone who shares it. */
    bool taken = poll(&p, 1, console_stuck ? 0 : CONSOLE_WAIT_MS) != 0;
    console_stuck = !taken;
    if (taken && console_lost) {
        tell_of_console_losses(fd, r);
        taken = poll(&p, 1, 0) != 0;
    }
    taken = taken && write_record(fd, r);
    if (!taken)
        console_lost++;
    pthread_mutex_unlock(&console_lock);
    if (!taken)
        log_count_lost(1);
}

void log_write(enum log_level level, const char *id, const char *fmt, ...)
{
    if (level > log_get_level())
        return;
    metric_inc(&lines_total, log_level_names[level]);
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
    if (!writer_takes(&r))
        log_write_console(&r);
    tell_sinks(&r);
}
