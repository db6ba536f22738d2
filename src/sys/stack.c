#include "sys/stack.h"

#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>
#include <ucontext.h>

#include "base/clock.h"
#include "base/macros.h"
#include "base/symbols.h"
#include "base/text.h"

/* The first ones are the C library's for its own timers and threads; runtimes of other languages
 * take the next. */
#define STACK_SIGNAL (SIGRTMIN + 6)
/* The handler's own frames, before the interrupted place. */
#define OWN_FRAMES_MAX 8

/* A request's number while it waits, negative while its thread writes, 0 without one. A thread that
 * is asked answers no earlier request than the one that still waits. */
static atomic_int request;
static sem_t answered;
static void *frames[STACK_DEPTH_MAX + OWN_FRAMES_MAX];
static int frame_count;
static uintptr_t interrupted_at;
static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

static uintptr_t program_counter(const void *context)
{
    const ucontext_t *uc = context;
#if defined(__x86_64__)
    return (uintptr_t)uc->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
    return (uintptr_t)uc->uc_mcontext.pc;
#else
    (void)uc;
    return 0; /* the handler's own frames are shown as well */
#endif
}

static void write_down(int number UNUSED, siginfo_t *info, void *context)
{
    int saved = errno;
    int wanted = info->si_value.sival_int;
    if (wanted > 0 && atomic_compare_exchange_strong(&request, &(int){wanted}, -wanted)) {
        interrupted_at = program_counter(context);
        frame_count = backtrace(frames, ARRAY_LEN(frames));
        atomic_store(&request, 0);
        (void)sem_post(&answered); /* far from its maximum */
    }
    errno = saved;
}

void stack_enable(void)
{
    void *here[1];
    (void)backtrace(here, 1); /* loads libgcc, which a handler must not */
    (void)sem_init(&answered, 0, 0);
    struct sigaction action = {.sa_sigaction = write_down,
                               .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK};
    sigfillset(&action.sa_mask);
    int r = sigaction(STACK_SIGNAL, &action, NULL);
    assert(r == 0); /* a legal number */
}

void stack_thread_ready(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, STACK_SIGNAL);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

static bool wait_for_answer(int number, int64_t timeout_ms)
{
    struct timespec until = clock_deadline(timeout_ms);
    int r;
    while ((r = sem_clockwait(&answered, CLOCK_MONOTONIC, &until)) < 0 && errno == EINTR)
        ;
    if (r == 0)
        return true;
    if (atomic_compare_exchange_strong(&request, &(int){number}, 0))
        return false;               /* whoever comes later finds nobody waiting */
    while (sem_wait(&answered) < 0) /* it is writing at this moment */
        ;
    return true;
}

/* Without the handler's own frames. */
static size_t take_frames(uintptr_t *ret, size_t max)
{
    assert(atomic_load(&request) == 0); /* the thread has written, before it stored this */
    size_t first = 0, n = 0, count = (size_t)frame_count;
    for (size_t i = 0; i < count && i < OWN_FRAMES_MAX; i++)
        if ((uintptr_t)frames[i] == interrupted_at)
            first = i;
    while (first < count && n < max)
        ret[n++] = (uintptr_t)frames[first++];
    return n;
}

size_t stack_of_thread(pthread_t thread, int64_t timeout_ms, uintptr_t *ret, size_t max)
{
    static int last;
    pthread_mutex_lock(&one_at_a_time);
    int number = last = last % 1000000 + 1;
    size_t n = 0;
    atomic_store(&request, number);
    if (pthread_sigqueue(thread, STACK_SIGNAL, (union sigval){.sival_int = number}) != 0)
        atomic_store(&request, 0); /* the thread has ended */
    else if (wait_for_answer(number, timeout_ms))
        n = take_frames(ret, max);
    pthread_mutex_unlock(&one_at_a_time);
    return n;
}

/* The program's own table, which has static functions as well; read at the first need, which is
 * near the end of the process. */
static pthread_once_t read_once = PTHREAD_ONCE_INIT;
static struct symbols *own;

static void read_own(void)
{
    (void)symbols_open("/proc/self/exe", NULL, &own, NULL); /* stripped: exported names must do */
}

static const char *own_name(uintptr_t pc, const Dl_info *where, uint64_t *ret_offset)
{
    Dl_info us;
    pthread_once(&read_once, read_own);
    if (!own || !dladdr((void *)(uintptr_t)stack_name, &us) || us.dli_fbase != where->dli_fbase)
        return NULL;
    return symbols_find(own, pc - (uintptr_t)us.dli_fbase, ret_offset);
}

const char *stack_name(uintptr_t pc, char *buf, size_t size)
{
    Dl_info where;
    if (!dladdr((void *)pc, &where) || !where.dli_fname) {
        (void)text_format(buf, size, "0x%zx", (size_t)pc); /* cut is fine, likewise below */
        return buf;
    }
    uint64_t offset = 0;
    const char *name = own_name(pc, &where, &offset);
    if (name) {
        (void)text_format(buf, size, "%s+0x%llx", name, (unsigned long long)offset);
        return buf;
    }
    if (where.dli_sname) {
        (void)text_format(buf, size, "%s+0x%zx", where.dli_sname,
                          (size_t)(pc - (uintptr_t)where.dli_saddr));
        return buf;
    }
    const char *slash = strrchr(where.dli_fname, '/');
    (void)text_format(buf, size, "%s+0x%zx", slash ? slash + 1 : where.dli_fname,
                      (size_t)(pc - (uintptr_t)where.dli_fbase));
    return buf;
}
