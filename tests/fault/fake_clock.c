/* A wall clock that a test sets while the program runs, to be preloaded: CLOCK_REALTIME, time() and
 * gettimeofday() follow the file named by FAKE_CLOCK_FILE, "+SECONDS", "-SECONDS" or "@SECONDS
 * since 1970". The monotonic clock and all waiting stay real, as they do when an operator sets the
 * clock. */

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int64_t shifted(int64_t seconds)
{
    static _Thread_local int busy;
    static int64_t frozen_at, frozen_from;
    const char *path = getenv("FAKE_CLOCK_FILE");
    char text[32] = "";
    if (!path || busy)
        return seconds;
    busy = 1;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
    if (fd >= 0)
        close(fd);
    busy = 0;
    if (n <= 0)
        return seconds;
    int64_t value = strtoll(text + (text[0] == '@'), NULL, 10);
    if (text[0] != '@')
        return seconds + value;
    /* From the first look on the clock runs on from there. */
    if (__atomic_load_n(&frozen_at, __ATOMIC_RELAXED) != value) {
        __atomic_store_n(&frozen_from, seconds, __ATOMIC_RELAXED);
        __atomic_store_n(&frozen_at, value, __ATOMIC_RELAXED);
    }
    return value + seconds - __atomic_load_n(&frozen_from, __ATOMIC_RELAXED);
}

int clock_gettime(clockid_t id, struct timespec *ts)
{
    long r = syscall(SYS_clock_gettime, id, ts);
    if (r == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
        ts->tv_sec = (time_t)shifted(ts->tv_sec);
    return (int)r;
}

time_t time(time_t *ret)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_REALTIME, &ts);
    if (ret)
        *ret = ts.tv_sec;
    return ts.tv_sec;
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
    (void)zone;
    struct timespec ts;
    (void)clock_gettime(CLOCK_REALTIME, &ts);
    *tv = (struct timeval){.tv_sec = ts.tv_sec, .tv_usec = ts.tv_nsec / 1000};
    return 0;
}
