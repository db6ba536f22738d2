#pragma once
/* Named places where a test may end the process as a power cut would: kill -9, no clean-up.
 * Compiled to nothing unless SNAPSHOT_FAULTS is defined. With SNAPSHOTD_CRASH_AT=name or name:n in
 * the environment the n-th pass (default the first) through FAULT_POINT("name") is the last.
 * SNAPSHOTD_CRASH_BY=segv, bus, fpe, ill, abort or overflow makes it a fault of the program's own,
 * in a function that is called so: fault_by_segv() ... SNAPSHOTD_HANG_AT names a place likewise
 * where the thread stays for ever.
 *
 * And a clock that a test moves: SNAPSHOTD_CLOCK_FILE names a file of eight bytes. */

#include <stdint.h>

#ifdef SNAPSHOT_FAULTS
#define FAULT_POINT(name) fault_point(name)
#else
#define FAULT_POINT(name) ((void)0)
#endif

/* Thread-safe. Present in builds with SNAPSHOT_FAULTS only. */
void fault_point(const char *name);

/* Microseconds that both clocks are ahead of the machine's: what the file of SNAPSHOTD_CLOCK_FILE
 * holds (int64_t, the machine's byte order), 0 without it. Whoever asks next finds himself later;
 * waits of the kernel that have begun stay as long as they are. Thread-safe. */
#ifdef SNAPSHOT_FAULTS
int64_t fault_clock_shift_us(void);
#else
static inline int64_t fault_clock_shift_us(void)
{
    return 0;
}
#endif
