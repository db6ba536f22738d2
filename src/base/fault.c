#include "base/fault.h"

#ifdef SNAPSHOT_FAULTS

#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/parse.h"

static uint64_t wanted_pass(const char *name);
static void crash_as_chosen(void);

void fault_point(const char *name)
{
    static atomic_uint_fast64_t passes; /* of the one name that the environment may hold */
    uint64_t wanted = wanted_pass(name);
    if (wanted == 0 || atomic_fetch_add(&passes, 1) + 1 != wanted)
        return;
    crash_as_chosen();
    (void)kill(getpid(), SIGKILL); /* cannot fail for oneself */
    for (;;)
        (void)pause(); /* the signal ends us before this matters */
}

/* 0 when this name is not the chosen one. */
static uint64_t wanted_pass(const char *name)
{
    const char *chosen = getenv("SNAPSHOTD_CRASH_AT");
    if (chosen == NULL)
        return 0;
    size_t len = strlen(name);
    if (strncmp(chosen, name, len) != 0 || (chosen[len] != '\0' && chosen[len] != ':'))
        return 0;
    if (chosen[len] == '\0')
        return 1;
    int64_t n = 0;
    const char *digits = chosen + len + 1;
    if (parse_int64(digits, strlen(digits), 1, INT64_MAX, &n) < 0)
        return 0;
    return (uint64_t)n;
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
