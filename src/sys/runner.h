#pragma once
/* Runs programs for what they print on standard output: many at once, behind one descriptor, and
 * the one place where this program starts others.
 *
 * No shell: the arguments are given one by one and reach the program as they are. It starts with
 * the given environment and nothing else, reads /dev/null, has no descriptor of ours but its output
 * pipes, default signals, the root folder, and a process group of its own. When its time is over,
 * when it prints too much, or when it ends, all of the group is killed: nothing it started stays.
 * (What moves itself into another group or session escapes; that is its author's will.)
 *
 * One thread owns a runner and makes all calls; done callbacks run inside runner_process(),
 * runner_cancel() and runner_free(), and may start the next program. Waiting is by pidfd: no
 * SIGCHLD, no other child is ever reaped. posix_spawn() holds the thread until the program's file
 * is loaded, as it must to tell whether there is one. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/blob.h"
#include "base/err.h"
#include "base/macros.h"

#define RUNNER_JOBS_MAX 16 /* at once: more video decoders bring a small machine to its knees */
#define RUNNER_COMPLAINT_MAX 512 /* of standard error: its end */

/* Borrowed until runner_start() returns. */
struct runner_request {
    char *const *argv; /* argv[0] is a path from / on */
    char *const *environment;
    const char *shown;  /* what error texts call it */
    int64_t timeout_ms; /* 0 = none */
    size_t size_max;    /* bytes of output */
};

/* Borrowed; valid during the done callback. */
struct runner_result {
    int code; /* 0: it ended by itself, see exit_status; else negative errno, see error */
    const struct err *error;
    int exit_status;       /* as a shell tells it: 128 + n when a signal ended it */
    struct blob *output;   /* NULL when empty or failed; take a reference to keep */
    const char *complaint; /* the end of what it wrote to standard error; as it came */
    const char *shown;
    double total_ms;
};
typedef void runner_done_fn(void *arg, const struct runner_result *r);

struct runner;
struct runner_job;

/* `bytes_max`: of all outputs under way together; a program beyond that fails with -ENOMEM, later.
 */
int runner_new(size_t bytes_max, struct runner **ret, struct err *e);
void runner_free(struct runner *r); /* what runs ends with -ECANCELED */
DEFINE_AUTO(runner, runner_free)
int runner_fd(const struct runner *r);
void runner_process(struct runner *r); /* never blocks */
/* 0: done will be called once, never from inside this call. -EAGAIN: RUNNER_JOBS_MAX run already;
 * -ENOENT, -EACCES and their like: it cannot be started, done is not called. */
int runner_start(struct runner *r, const struct runner_request *req, runner_done_fn *done,
                 void *arg, struct runner_job **ret, struct err *e);
void runner_cancel(struct runner_job *job); /* done is called with -ECANCELED */
