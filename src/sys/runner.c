#include "sys/runner.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/dynbuf.h"
#include "base/mem.h"

enum {
    READ_BYTES = 64 * 1024, /* a pipe holds as much */
    READS_PER_TURN = 16,    /* others want their turn too */
    REAP_MS = 1000,         /* at the end, for a killed program that hangs in the kernel */
};

struct runner_job {
    struct runner *runner;
    struct runner_job *next;
    pid_t pid;
    int pid_fd, out_fd, err_fd; /* -1 when closed */
    bool dying;                 /* told and killed, only to be reaped */
    runner_done_fn *done;
    void *arg;
    char *shown;
    struct mono_time started, deadline; /* deadline.us 0: none */
    int64_t timeout_ms;
    struct dynbuf output;
    char complaint[RUNNER_COMPLAINT_MAX];
    size_t complaint_len;
};

struct runner {
    int epoll_fd, timer_fd;
    struct runner_job *jobs;
    int count;
    size_t bytes, bytes_max;
};

static int spawn(struct runner_job *job, const struct runner_request *req, struct err *e);
static void pump(struct runner_job *job);
static void finish(struct runner_job *job, struct runner_result *result);
static void reap_dead(struct runner *r);
static void set_timer(struct runner *r);
static void job_free(struct runner_job *job);

int runner_new(size_t bytes_max, struct runner **ret, struct err *e)
{
    AUTO(runner) r = xcalloc(1, sizeof(*r));
    r->bytes_max = bytes_max;
    r->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    r->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event ev = {.events = EPOLLIN};
    if (r->timer_fd < 0 || r->epoll_fd < 0 ||
        epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, r->timer_fd, &ev) < 0)
        return err_errno(e, -errno, "runner of programs");
    *ret = STEAL(r);
    return 0;
}

void runner_free(struct runner *r)
{
    if (!r)
        return;
    /* Callbacks may start and cancel others, so from the top each time. */
    for (struct runner_job *j = r->jobs; j; j = r->jobs) {
        if (!j->dying)
            runner_cancel(j);
        struct pollfd p = {.fd = j->pid_fd, .events = POLLIN};
        (void)poll(&p, 1, REAP_MS); /* what does not die now is reaped by init after us */
        siginfo_t info;
        (void)waitid(P_PIDFD, (id_t)j->pid_fd, &info, WEXITED | WNOHANG); /* likewise */
        job_free(j);
    }
    if (r->timer_fd >= 0)
        (void)close(r->timer_fd); /* a timer holds nothing to lose */
    if (r->epoll_fd >= 0)
        (void)close(r->epoll_fd); /* nor does the set */
    free(r);
}

int runner_fd(const struct runner *r)
{
    return r->epoll_fd;
}

void runner_process(struct runner *r)
{
    if (!r->jobs)
        return;
    uint64_t expirations;
    (void)!read(r->timer_fd, &expirations, sizeof(expirations)); /* only to be quiet again */
    /* A callback may change the list in any way: after each the walk starts over. */
    for (struct runner_job *j = r->jobs; j;) {
        struct runner_job *next = j->next;
        bool was_dying = j->dying;
        if (!was_dying)
            pump(j);
        j = !was_dying && j->dying ? r->jobs : next;
    }
    reap_dead(r);
    set_timer(r);
}

int runner_start(struct runner *r, const struct runner_request *req, runner_done_fn *done,
                 void *arg, struct runner_job **ret, struct err *e)
{
    if (r->count >= RUNNER_JOBS_MAX)
        return err_set(e, -EAGAIN, ERR_LATER, "%s: %d programs run already, the most at once",
                       req->shown, RUNNER_JOBS_MAX);
    struct runner_job *job = xcalloc(1, sizeof(*job));
    job->runner = r;
    job->pid_fd = job->out_fd = job->err_fd = -1;
    job->done = done;
    job->arg = arg;
    job->shown = xstrdup(req->shown);
    job->started = clock_mono();
    job->timeout_ms = req->timeout_ms;
    if (req->timeout_ms)
        job->deadline = mono_add_ms(job->started, req->timeout_ms);
    dynbuf_init(&job->output, req->size_max);
    job->next = r->jobs;
    r->jobs = job;
    r->count++;
    int code = spawn(job, req, e);
    if (code < 0) {
        job_free(job);
        return code;
    }
    set_timer(r);
    *ret = job;
    return 0;
}

void runner_cancel(struct runner_job *job)
{
    struct err error = {0};
    struct runner_result result = {.error = &error};
    result.code = err_set(&error, -ECANCELED, ERR_LATER, "%s: given up", job->shown);
    finish(job, &result);
}

/* ---- starting ---- */

/* A pipe whose reading end is ours: not blocking, and watched. */
static int open_pipe(struct runner *r, int *ret_ours, int *ret_theirs)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return -errno;
    *ret_ours = fds[0];
    *ret_theirs = fds[1];
    struct epoll_event ev = {.events = EPOLLIN};
    if (fcntl(fds[0], F_SETFL, O_NONBLOCK) < 0 ||
        epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, fds[0], &ev) < 0)
        return -errno;
    return 0;
}

/* The number of a failed call's error, as posix_spawn and its helpers return it. */
static int spawn_with(pid_t *ret, const struct runner_request *req, int out, int err)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    sigdelset(&all, SIGKILL);
    sigdelset(&all, SIGSTOP);
    int r = posix_spawn_file_actions_init(&files);
    if (r != 0)
        return r;
    r = posix_spawnattr_init(&attributes);
    if (r != 0) {
        posix_spawn_file_actions_destroy(&files);
        return r;
    }
    if (r == 0)
        r = posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (r == 0)
        r = posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
    if (r == 0)
        r = posix_spawn_file_actions_adddup2(&files, err, STDERR_FILENO);
    if (r == 0) /* ours are all closed on exec; a library's may not be */
        r = posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1);
    if (r == 0)
        r = posix_spawn_file_actions_addchdir_np(&files, "/");
    if (r == 0)
        r = posix_spawnattr_setpgroup(&attributes, 0);
    if (r == 0)
        r = posix_spawnattr_setsigmask(&attributes, &none);
    if (r == 0)
        r = posix_spawnattr_setsigdefault(&attributes, &all);
    if (r == 0)
        r = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                                      POSIX_SPAWN_SETSIGDEF);
    if (r == 0)
        r = posix_spawn(ret, req->argv[0], &files, &attributes, req->argv, req->environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    return r;
}

static int spawn(struct runner_job *job, const struct runner_request *req, struct err *e)
{
    struct runner *r = job->runner;
    AUTO_CLOSE int out = -1;
    AUTO_CLOSE int err = -1;
    int code = open_pipe(r, &job->out_fd, &out);
    if (code == 0)
        code = open_pipe(r, &job->err_fd, &err);
    if (code < 0)
        return err_errno(e, code, "%s: no pipe", req->shown);
    code = -spawn_with(&job->pid, req, out, err);
    if (code < 0)
        return err_errno(e, code, "%s: cannot start '%s'", req->shown, req->argv[0]);
    job->pid_fd = pidfd_open(job->pid, 0);
    struct epoll_event ev = {.events = EPOLLIN};
    if (job->pid_fd >= 0 && epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, job->pid_fd, &ev) == 0)
        return 0;
    /* No descriptors left: it is not ours to watch, so it must not run. It was killed, so this wait
     * is short. */
    code = -errno;
    (void)kill(-job->pid, SIGKILL);
    (void)waitpid(job->pid, NULL, 0);
    return err_errno(e, code, "%s: cannot watch the program", req->shown);
}

/* ---- running ---- */

static void close_watched(struct runner *r, int *fd)
{
    if (*fd < 0)
        return;
    /* Explicitly: a copy of a pipe's end may live on in a grandchild and keep it in the set. */
    (void)epoll_ctl(r->epoll_fd, EPOLL_CTL_DEL, *fd, NULL);
    (void)close(*fd); /* only read from */
    *fd = -1;
}

/* Keeps the end of what is said. */
static void note_complaint(struct runner_job *job, const char *text, size_t len)
{
    const size_t room = sizeof(job->complaint) - 1;
    if (len > room) {
        text += len - room;
        len = room;
    }
    size_t drop = job->complaint_len + len > room ? job->complaint_len + len - room : 0;
    memmove(job->complaint, job->complaint + drop, job->complaint_len - drop);
    job->complaint_len -= drop;
    memcpy(job->complaint + job->complaint_len, text, len);
    job->complaint_len += len;
    job->complaint[job->complaint_len] = '\0';
}

/* 0, or negative with the story in `e` when the output is too long. */
static int read_output(struct runner_job *job, struct err *e)
{
    struct runner *r = job->runner;
    char buf[READ_BYTES];
    for (int i = 0; i < READS_PER_TURN && job->out_fd >= 0; i++) {
        ssize_t n = read(job->out_fd, buf, sizeof(buf));
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return 0;
        if (n <= 0) {
            close_watched(r, &job->out_fd);
            return 0;
        }
        if (r->bytes + (size_t)n > r->bytes_max)
            return err_set(e, -ENOMEM, ERR_LATER, "%s: no memory for what it prints", job->shown);
        int code = dynbuf_append(&job->output, buf, (size_t)n);
        if (code == -ENOSPC)
            return err_set(e, -EFBIG, ERR_NEVER,
                           "%s: prints more, it is longer than the %zu bytes allowed", job->shown,
                           job->output.max);
        if (code < 0)
            return err_set(e, -ENOMEM, ERR_LATER, "%s: no memory for what it prints", job->shown);
        r->bytes += (size_t)n;
    }
    return 0;
}

static void read_complaint(struct runner_job *job)
{
    char buf[4096];
    for (int i = 0; i < READS_PER_TURN && job->err_fd >= 0; i++) {
        ssize_t n = read(job->err_fd, buf, sizeof(buf));
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n > 0)
            note_complaint(job, buf, (size_t)n);
        else
            close_watched(job->runner, &job->err_fd);
    }
}

/* True when the program has ended. It stays a zombie, and its number its own, until the whole group
 * was killed. */
static bool has_ended(const struct runner_job *job, int *ret_status)
{
    siginfo_t info = {0};
    if (waitid(P_PIDFD, (id_t)job->pid_fd, &info, WEXITED | WNOHANG | WNOWAIT) < 0 ||
        info.si_pid == 0)
        return false;
    *ret_status = info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
    return true;
}

static void pump(struct runner_job *job)
{
    struct err error = {0};
    struct runner_result result = {.error = &error};
    /* First: what it printed before its end is in the pipe when the end is seen. */
    bool ended = has_ended(job, &result.exit_status);
    do {
        result.code = read_output(job, &error);
        read_complaint(job);
        /* Of a program that is gone all is read at once, up to the limit; a grandchild that holds
         * the pipe open and still prints does not count. */
    } while (ended && result.code == 0 && job->out_fd >= 0 &&
             poll(&(struct pollfd){.fd = job->out_fd, .events = POLLIN}, 1, 0) > 0);
    if (result.code == 0 && !ended && job->deadline.us && mono_passed(job->deadline))
        result.code = err_set(&error, -ETIMEDOUT, ERR_LATER,
                              "%s: not finished within %lld ms, %zu bytes came", job->shown,
                              (long long)job->timeout_ms, job->output.len);
    if (ended || result.code < 0)
        finish(job, &result);
}

/* Kills the group and tells the caller; the zombie is reaped by the next turns. */
static void finish(struct runner_job *job, struct runner_result *result)
{
    struct runner *r = job->runner;
    job->dying = true;
    (void)kill(-job->pid, SIGKILL); /* nobody left is fine */
    close_watched(r, &job->out_fd);
    close_watched(r, &job->err_fd);
    AUTO(blob) output = NULL;
    size_t size = job->output.len;
    r->bytes -= size;
    if (result->code == 0 && size)
        output = blob_new_take(dynbuf_steal(&job->output, NULL), size);
    dynbuf_done(&job->output);
    struct err no_memory = {0};
    if (result->code == 0 && size && !output) {
        result->error = &no_memory;
        result->code = err_set(&no_memory, -ENOMEM, ERR_LATER, "%s: no memory for what it printed",
                               job->shown);
    }
    result->output = output;
    result->complaint = job->complaint;
    result->shown = job->shown;
    result->total_ms = mono_diff_ms(clock_mono(), job->started);
    job->done(job->arg, result);
}

static void reap_dead(struct runner *r)
{
    for (struct runner_job *j = r->jobs, *next; j; j = next) {
        next = j->next;
        siginfo_t info = {0};
        if (j->dying && waitid(P_PIDFD, (id_t)j->pid_fd, &info, WEXITED | WNOHANG) == 0 &&
            info.si_pid != 0)
            job_free(j);
    }
}

static void set_timer(struct runner *r)
{
    int64_t due = 0;
    for (const struct runner_job *j = r->jobs; j; j = j->next)
        if (!j->dying && j->deadline.us && (!due || j->deadline.us < due))
            due = j->deadline.us;
    struct itimerspec its = {0};
    if (due) {
        int64_t wait_us = MAX(due - clock_mono().us, (int64_t)0);
        its.it_value.tv_sec = (time_t)(wait_us / 1000000);
        its.it_value.tv_nsec = (long)(wait_us % 1000000) * 1000 + 1; /* zero would disarm */
    }
    /* Cannot fail with a descriptor and values that are good. */
    (void)timerfd_settime(r->timer_fd, 0, &its, NULL);
}

static void job_free(struct runner_job *job)
{
    struct runner *r = job->runner;
    for (struct runner_job **at = &r->jobs; *at; at = &(*at)->next) {
        if (*at != job)
            continue;
        *at = job->next;
        r->count--;
        break;
    }
    close_watched(r, &job->out_fd);
    close_watched(r, &job->err_fd);
    close_watched(r, &job->pid_fd);
    dynbuf_done(&job->output);
    free(job->shown);
    free(job);
}
