#pragma once
/* Where another thread of this process is, without stopping it: a signal makes it write down its
 * own callers. For a thread that hangs, before the process ends; never on the way of a picture.
 *
 * The unwinder of the C runtime is used, not frame pointers: a thread hangs in libc or in a foreign
 * library, which have none. Since glibc 2.35 it finds its tables without a lock, so it may run in a
 * handler; what it loads at its first use stack_enable() loads before. */

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

/* Deeper callers are left out: what hangs stands at the other end. */
#define STACK_DEPTH_MAX 48

/* Once, at start, before other threads. */
void stack_enable(void);
/* In a thread that blocks all signals, behind that: lets the one for this through. */
void stack_thread_ready(void);
/* The interrupted place of `thread` first, then its callers. Returns how many, 0 when the thread
 * did not answer in time (it blocks the signal, or waits in the kernel for a disk). The thread must
 * not have been joined. A system call that it waits in may end with EINTR. Any thread; one request
 * at a time, others wait. */
size_t stack_of_thread(pthread_t thread, int64_t timeout_ms, uintptr_t *ret, size_t max);
/* "function+0x1f" as far as the program's symbol table and what libraries export say, else
 * "program+0x4a2f1" as addr2line(1) wants it. Returns buf. Not for signal handlers. */
const char *stack_name(uintptr_t pc, char *buf, size_t size);
