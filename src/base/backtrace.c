#include "base/backtrace.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

/* No frame is larger: it would not fit the stack of any thread of ours. */
#define FRAME_BYTES_MAX ((uintptr_t)8 << 20)
/* No code lies in the first page. */
#define CODE_MIN 4096

struct place {
    uintptr_t pc, frame;
    uintptr_t caller; /* who called a place that is no code; 0 = unknown */
};

static struct place place_of(const ucontext_t *u);
static bool read_word(uintptr_t address, uintptr_t *ret);

size_t backtrace_from_context(const void *ucontext, uintptr_t *ret, size_t max)
{
    struct place at = place_of(ucontext);
    size_t n = 0;
    if (n < max)
        ret[n++] = at.pc;
    if (n < max && at.caller >= CODE_MIN)
        ret[n++] = at.caller;
    while (n < max) {
        uintptr_t next, caller;
        if (!read_word(at.frame, &next) || !read_word(at.frame + sizeof(caller), &caller) ||
            caller < CODE_MIN)
            break;
        ret[n++] = caller;
        if (next <= at.frame || next - at.frame > FRAME_BYTES_MAX)
            break;
        at.frame = next;
    }
    return n;
}

#if defined(__x86_64__)

/* A call of what is no function has left its return address on top of the stack. */
static struct place place_of(const ucontext_t *u)
{
    struct place at = {.pc = (uintptr_t)u->uc_mcontext.gregs[REG_RIP],
                       .frame = (uintptr_t)u->uc_mcontext.gregs[REG_RBP]};
    uintptr_t word;
    if (!read_word(at.pc & ~(sizeof(word) - 1), &word))
        (void)read_word((uintptr_t)u->uc_mcontext.gregs[REG_RSP], &at.caller);
    return at;
}

#elif defined(__aarch64__)

static struct place place_of(const ucontext_t *u)
{
    struct place at = {.pc = u->uc_mcontext.pc, .frame = u->uc_mcontext.regs[29]};
    uintptr_t word;
    if (!read_word(at.pc & ~(sizeof(word) - 1), &word))
        at.caller = u->uc_mcontext.regs[30];
    return at;
}

#else

static struct place place_of(const ucontext_t *u)
{
    (void)u;
    return (struct place){0};
}

#endif

/* The kernel reads the set before it refuses the first argument, so that this asks whether memory
 * can be read without a descriptor, a lock, or a fault. It asks for one aligned word: no page ends
 * within it. */
static bool read_word(uintptr_t address, uintptr_t *ret)
{
    const int no_such_how = -1;
    int saved = errno;
    bool there = address >= CODE_MIN && address % sizeof(*ret) == 0 &&
                 syscall(SYS_rt_sigprocmask, no_such_how, address, NULL, sizeof(uint64_t)) < 0 &&
                 errno == EINVAL;
    errno = saved;
    if (there)
        memcpy(ret, (const void *)address, sizeof(*ret));
    return there;
}
