#pragma once
/* Where a thread is, as the addresses of its callers. */

#include <stddef.h>
#include <stdint.h>

/* The interrupted place of a signal handler's third argument, then its callers by the frame
 * pointers that our build keeps. A library without them is passed over, with some of its callers,
 * or ends the list. Async-signal-safe; memory that is not there ends the list. Returns how many. */
size_t backtrace_from_context(const void *ucontext, uintptr_t *ret, size_t max);
