#include "base/fault.h"

#ifdef SNAPSHOT_FAULTS

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/parse.h"

static bool is_wanted(const char *variable, const char *name, atomic_uint_fast64_t *passes);
static void crash_as_chosen(void);

void fault_point(const char *name)
{
    /* Of the one name that each variable may hold. */
    static atomic_uint_fast64_t crash_passes, hang_passes;
    if (is_wanted("SNAPSHOTD_CRASH_AT", name, &crash_passes)) {
        crash_as_chosen();
        (void)kill(getpid(), SIGKILL); /* cannot fail for oneself */
    } else if (!is_wanted("SNAPSHOTD_HANG_AT", name, &hang_passes)) {
        return;
    }
    for (;;)
        (void)pause(); /* signals do not help; a killed one ends before this matters */
}

/* Whether this is the pass that the variable, "name" or "name:n", chooses. */
static bool is_wanted(const char *variable, const char *name, atomic_uint_fast64_t *passes)
{
    const char *chosen = getenv(variable);
    if (chosen == NULL)
        return false;
    size_t len = strlen(name);
    if (strncmp(chosen, name, len) != 0 || (chosen[len] != '\0' && chosen[len] != ':'))
        return false;
    int64_t n = 1;
    const char *digits = chosen + len + 1;
    if (chosen[len] == ':' && parse_int64(digits, strlen(digits), 1, INT64_MAX, &n) < 0)
        return false;
    return atomic_fetch_add(passes, 1) + 1 == (uint64_t)n;
}

static const _Atomic int64_t *clock_shift; /* stays mapped until the process ends */

static void map_clock_shift(void)
{
    const char *path = getenv("SNAPSHOTD_CLOCK_FILE");
    int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    const void *at = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
    (void)close(fd); /* only read */
    if (at != MAP_FAILED)
        clock_shift = at;
}

int64_t fault_clock_shift_us(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, map_clock_shift); /* cannot fail with these arguments */
    return clock_shift != NULL ? atomic_load(clock_shift) : 0;
}

/* Functions that a reader of the report finds by name, so they must not melt into their caller, nor
 * end with a jump instead of a call. */
#define NAMED __attribute__((noinline, no_sanitize("undefined", "address")))

static NAMED void fault_by_segv(void)
{
    int *volatile nowhere = NULL;
    *nowhere = 1; /* NOLINT: this is the fault */
}

static NAMED void fault_by_bus(void)
{
    (void)raise(SIGBUS);
    __asm__ volatile("");
}

static NAMED void fault_by_fpe(void)
{
    volatile int one = 1, zero = 0;
    one = one / zero; /* NOLINT: likewise */
}

static NAMED void fault_by_ill(void)
{
    __builtin_trap();
}

static NAMED void fault_by_abort(void)
{
    abort();
}

static NAMED int fault_by_overflow(int depth)
{
    volatile char room[4096];
    room[0] = (char)depth;
    if (depth == INT_MAX) /* no stack is that deep */
        return 0;
    return fault_by_overflow(depth + 1) + room[0];
}

static void crash_as_chosen(void)
{
    const char *by = getenv("SNAPSHOTD_CRASH_BY");
    if (by == NULL)
        return;
    if (strcmp(by, "segv") == 0)
        fault_by_segv();
    if (strcmp(by, "bus") == 0)
        fault_by_bus();
    if (strcmp(by, "fpe") == 0)
        fault_by_fpe();
    if (strcmp(by, "ill") == 0)
        fault_by_ill();
    if (strcmp(by, "abort") == 0)
        fault_by_abort();
    if (strcmp(by, "overflow") == 0)
        (void)fault_by_overflow(0);
}

#endif
