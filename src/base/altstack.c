#include "base/altstack.h"

#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>

#include "base/macros.h"

/* The kernel's frame with the widest registers takes some 3 KB (AVX-512) to 11 KB (AMX), an
 * unwinder some 4 KB, our handler less than 10 KB. Pages that nobody touches cost nothing. */
#define STACK_BYTES ((size_t)64 * 1024)
#define GUARD_BYTES ((size_t)64 * 1024) /* a whole number of pages on every machine of ours */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;

static void make_key(void);
static void give_stack(void);
static void drop_stack(void *mapping);

void altstack_use(void)
{
    static const int own_faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < ARRAY_LEN(own_faults); i++)
        sigaddset(&set, own_faults[i]);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    pthread_once(&once, make_key);
    give_stack();
}

static void make_key(void)
{
    (void)pthread_key_create(&key, drop_stack); /* without one the mapping stays: once a thread */
}

static void give_stack(void)
{
    stack_t now;
    if (sigaltstack(NULL, &now) < 0 || !(now.ss_flags & SS_DISABLE))
        return; /* it has one: ours, or that of a sanitizer */
    char *mapping = mmap(NULL, GUARD_BYTES + STACK_BYTES, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping == MAP_FAILED)
        return;
    (void)mprotect(mapping, GUARD_BYTES, PROT_NONE);
    stack_t ours = {.ss_sp = mapping + GUARD_BYTES, .ss_size = STACK_BYTES};
    if (sigaltstack(&ours, NULL) < 0)
        drop_stack(mapping);
    else
        (void)pthread_setspecific(key, mapping);
}

static void drop_stack(void *mapping)
{
    stack_t none = {.ss_flags = SS_DISABLE};
    (void)sigaltstack(&none, NULL); /* fails only on the stack itself, where no thread ends */
    (void)munmap(mapping, GUARD_BYTES + STACK_BYTES);
}
