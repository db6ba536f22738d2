#pragma once
/* The system calls that decide whether a picture is safe, with a will of their own: the program's
 * definitions stand before those of libc. They write down what was asked, in order, and fail when
 * told to. Included by one file of a test. */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

enum call_kind {
    CALL_WRITE,       /* only to regular files */
    CALL_SYNC_FILE,   /* 'f' in the trace */
    CALL_SYNC_FOLDER, /* 'd' */
    CALL_START,       /* 's': sync_file_range() */
    CALL_RENAME,      /* 'r': renameat() */
    CALL_RENAME_NEW,  /* 'n': renameat2(), also when it fails by itself */
    CALL_COPY,        /* copy_file_range() */
    CALL_COUNT
};

static struct {
    int fail_at[CALL_COUNT]; /* the n-th from now on, 1 = the next; 0 = none */
    bool fail_always[CALL_COUNT];
    int code[CALL_COUNT];
    void (*before[CALL_COUNT])(int fd);
    int64_t free_bytes; /* what statvfs() says, -1 = the truth */
    bool tracing;
    char trace[1024];
    size_t traced;
} calls = {.free_bytes = -1};
static pthread_mutex_t calls_lock = PTHREAD_MUTEX_INITIALIZER;

static inline void calls_reset(void)
{
    memset(&calls, 0, sizeof(calls));
    calls.free_bytes = -1;
}

static inline void calls_fail(enum call_kind kind, int nth, int code)
{
    calls.fail_at[kind] = nth;
    calls.code[kind] = code;
}

static inline void calls_trace(void)
{
    calls.tracing = true;
    calls.traced = 0;
    memset(calls.trace, 0, sizeof(calls.trace));
}

/* True when this one fails; errno is set then. */
static inline bool calls_note(enum call_kind kind, int fd)
{
    static const char letters[CALL_COUNT] = {0, 'f', 'd', 's', 'r', 'n', 0};
    if (calls.before[kind] != NULL)
        calls.before[kind](fd);
    (void)pthread_mutex_lock(&calls_lock);
    if (calls.tracing && letters[kind] != 0 && calls.traced < sizeof(calls.trace) - 1)
        calls.trace[calls.traced++] = letters[kind];
    bool fails = calls.fail_always[kind] || (calls.fail_at[kind] > 0 && --calls.fail_at[kind] == 0);
    (void)pthread_mutex_unlock(&calls_lock);
    if (fails)
        errno = calls.code[kind];
    return fails;
}

static inline mode_t calls_type(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 ? st.st_mode & S_IFMT : 0;
}

ssize_t write(int fd, const void *bytes, size_t size)
{
    if (calls_type(fd) == S_IFREG && calls_note(CALL_WRITE, fd))
        return -1;
    return syscall(SYS_write, fd, bytes, size);
}

int fsync(int fd)
{
    if (calls_note(calls_type(fd) == S_IFDIR ? CALL_SYNC_FOLDER : CALL_SYNC_FILE, fd))
        return -1;
    return (int)syscall(SYS_fsync, fd);
}

int sync_file_range(int fd, off_t offset, off_t size, unsigned flags)
{
    if (calls_note(CALL_START, fd))
        return -1;
    return (int)syscall(SYS_sync_file_range, fd, offset, size, flags);
}

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    if (calls_note(CALL_RENAME, from_fd))
        return -1;
    return (int)syscall(SYS_renameat, from_fd, from, to_fd, to);
}

int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
    if (calls_note(CALL_RENAME_NEW, from_fd))
        return -1;
    return (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, flags);
}

ssize_t copy_file_range(int from, off_t *from_at, int to, off_t *to_at, size_t size, unsigned flags)
{
    if (calls_note(CALL_COPY, from))
        return -1;
    return syscall(SYS_copy_file_range, from, from_at, to, to_at, size, flags);
}

int fstatvfs(int fd UNUSED, struct statvfs *ret)
{
    if (calls.free_bytes < 0)
        return statvfs("/proc/self/cwd", ret);
    *ret = (struct statvfs){.f_frsize = 1, .f_bavail = (unsigned long)calls.free_bytes};
    return 0;
}
