#include "base/fault.h"

#ifdef SNAPSHOT_FAULTS

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/parse.h"

static bool is_wanted(const char *variable, const char *name, atomic_uint_fast64_t *passes);

void fault_point(const char *name)
{
    /* Of the one name that each variable may hold. */
    static atomic_uint_fast64_t crash_passes, hang_passes;
    if (is_wanted("SNAPSHOTD_CRASH_AT", name, &crash_passes))
        (void)kill(getpid(), SIGKILL); /* cannot fail for oneself */
    else if (!is_wanted("SNAPSHOTD_HANG_AT", name, &hang_passes))
        return;
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

#endif
