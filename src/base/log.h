#pragma once
/* Log lines with a stable id to search for and a sentence that a tired operator understands:
 *     log_warn("fetch-failed", "attempt %d of %d: %s", ...);
 * Who and where (stage, camera, snapshot id) come from the thread's context. One line is one
 * write(2). Control characters are escaped, so nothing from outside can forge a line. */

#include <stdbool.h>

#include "base/clock.h"
#include "base/macros.h"

enum log_level {
    LOG_LEVEL_ERROR,   /* someone must look */
    LOG_LEVEL_WARNING, /* we coped */
    LOG_LEVEL_NOTICE,  /* life events: started, reloaded, stopped */
    LOG_LEVEL_INFO,    /* one line per snapshot */
    LOG_LEVEL_DEBUG,
    LOG_LEVEL_COUNT
};
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON, LOG_FORMAT_COUNT };

extern const char *const log_level_names[LOG_LEVEL_COUNT]; /* "error" ... "debug" */
extern const char *const log_format_names[LOG_FORMAT_COUNT];

/* Process-wide; thread-safe. */
void log_set_level(enum log_level level);
enum log_level log_get_level(void);
void log_set_format(enum log_format format);
void log_set_fd(int fd); /* the console: default 2; borrowed */
/* All levels pass while this is on, whatever log_set_level() says. */
void log_set_debugging(bool on);
bool log_debugging(void);
/* Tests and collectors: called for each line that passes the level, before it is written; a true
 * answer swallows the line. NULL removes. */
void log_set_hook(bool (*hook)(enum log_level level, const char *id, const char *text, void *arg),
                  void *arg);

/* A line before it is rendered. Strings are borrowed for the call and never NULL, "" = none.
 * `text`, `camera` and `snapshot` may hold anything that came from outside: escape what you write.
 */
struct log_record {
    enum log_level level;
    struct wall_time at;
    const char *id;
    const char *stage;
    const char *camera;
    const char *snapshot;
    const char *text;
};

/* Where lines go instead of to the console; NULL = to the console. The writer is called as sinks
 * are; a false answer gives the line to the console. When this returns, no call of the old one is
 * under way; a writer must not call it. */
void log_set_writer(bool (*writer)(void *arg, const struct log_record *r), void *arg);
/* For writers whose place is away. Waits 100 ms at most, and not again until the console takes
 * lines; what it does not take is counted as lost. */
void log_write_console(const struct log_record *r);

/* Sinks see each line that passes the level and that no hook swallows, after it is written. They
 * are called on the logging thread, several threads at once, and must not block; a line that a sink
 * logs reaches no sink. Adding one that is there is harmless; -ENOSPC when there are
 * LOG_SINKS_MAX. When remove returns, no call is under way; a sink must not call it. */
enum { LOG_SINKS_MAX = 8 };
int log_add_sink(void (*sink)(void *arg, const struct log_record *r), void *arg);
void log_remove_sink(void (*sink)(void *arg, const struct log_record *r), void *arg);

/* The thread's context; strings are copied (and cut); NULL clears. */
void log_context_stage(const char *stage);
void log_context_camera(const char *camera);
void log_context_snapshot(const char *snapshot_id);

void log_write(enum log_level level, const char *id, const char *fmt, ...) PRINTF_LIKE(3, 4);
#define log_error(id, ...) log_write(LOG_LEVEL_ERROR, id, __VA_ARGS__)
#define log_warn(id, ...) log_write(LOG_LEVEL_WARNING, id, __VA_ARGS__)
#define log_notice(id, ...) log_write(LOG_LEVEL_NOTICE, id, __VA_ARGS__)
#define log_info(id, ...) log_write(LOG_LEVEL_INFO, id, __VA_ARGS__)
#define log_debug(id, ...) log_write(LOG_LEVEL_DEBUG, id, __VA_ARGS__)

/* Metrics: lines so far per level, and those that no place took. */
void log_register_metrics(void);
unsigned long long log_count(enum log_level level);
void log_count_lost(unsigned lines);
unsigned long long log_lost(void);
