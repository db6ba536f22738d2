#include "base/fault.h"

#ifdef SNAPSHOT_FAULTS

#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/parse.h"

static uint64_t wanted_pass(const char *name);

void fault_point(const char *name)
{
    static atomic_uint_fast64_t passes; /* of the one name that the environment may hold */
    uint64_t wanted = wanted_pass(name);
    if (wanted == 0 || atomic_fetch_add(&passes, 1) + 1 != wanted)
        return;
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

#endif
