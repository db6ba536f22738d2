#include "report/crash.h"

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <unwind.h>

#include "base/altstack.h"
#include "base/backtrace.h"
#include "base/dynbuf.h"
#include "base/fsutil.h"
#include "base/mem.h"
#include "base/text.h"
#include "report/crash_report.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

static const int fatal[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

/* Time that the unwinder may take before it counts as stuck. */
#define UNWIND_SECONDS 3
/* All lines of a report: 64 frames twice, 32 log ids, a dozen others. */
#define REPORT_BYTES_MAX 8192

struct remembered {
    int64_t at_s;
    int level;
    char id[40];
};

/* What the handler may touch. */
static atomic_int report_fd = -1;
static atomic_int crashing; /* thread id */
static sigjmp_buf recover;
static void (*_Atomic call_first)(void);
static struct remembered recent[CRASH_LOGS_MAX];
static unsigned recent_next;

static pthread_mutex_t recent_lock = PTHREAD_MUTEX_INITIALIZER;
static char *watch_path, *watch_version;
static struct sigaction before[ARRAY_LEN(fatal)];

static int open_file(struct err *e);
static void write_objects(struct dynbuf *out);
static void install(void);
static void on_fatal(int number, siginfo_t *info, void *context);
static void do_first(int number, const siginfo_t *info, void *context);
static void write_first(int number, const siginfo_t *info, void *context);
static void write_unwound(int number, const siginfo_t *info, void *context);
static void end_by(int number, const siginfo_t *info);
static _Unwind_Reason_Code count_frames(struct _Unwind_Context *context, void *arg);

int crash_watch(const char *folder, const char *version, struct err *e)
{
    int r = fs_mkdirs(AT_FDCWD, folder, 0700, e);
    if (r < 0)
        return r;
    watch_path = xasprintf("%s/" CRASH_FILE, folder);
    watch_version = xstrdup(version);
    r = open_file(e);
    if (r < 0) {
        crash_unwatch();
        return r;
    }
    altstack_use();
    unsigned frames = 0;
    _Unwind_Backtrace(count_frames, &frames); /* loads what it loads at its first use */
    if (!SANITIZED)
        install();
    return 0;
}

void crash_set_first(void (*f)(void))
{
    atomic_store(&call_first, f);
}

void crash_note_objects(void)
{
    if (watch_path)
        (void)open_file(NULL); /* the older table stays */
}

void crash_note_log(void *arg UNUSED, const struct log_record *r)
{
    pthread_mutex_lock(&recent_lock);
    struct remembered *one = &recent[recent_next++ % CRASH_LOGS_MAX];
    one->at_s = wall_seconds(r->at);
    one->level = (int)r->level;
    text_copy(one->id, sizeof(one->id), r->id); /* ids are short words of ours */
    pthread_mutex_unlock(&recent_lock);
}

void crash_unwatch(void)
{
    int fd = atomic_exchange(&report_fd, -1);
    if (fd >= 0) {
        for (size_t i = 0; i < ARRAY_LEN(fatal); i++)
            if (!SANITIZED)
                (void)sigaction(fatal[i], &before[i], NULL); /* valid numbers */
        (void)unlink(watch_path); /* one that stays tells of an end without a word */
        (void)close(fd);
    }
    free(STEAL(watch_path));
    free(STEAL(watch_version));
}

/* ---- beforehand ---- */

static int open_file(struct err *e)
{
    AUTO_DONE(dynbuf) head = {0};
    dynbuf_init(&head, CRASH_TEXT_MAX / 2);
    char now[WALL_ISO_MAX];
    (void)dynbuf_printf(&head, CRASH_MAGIC "\nversion %s\npid %ld\nstarted %s\n", watch_version,
                        (long)getpid(), wall_format_iso(clock_wall(), false, now));
    write_objects(&head);
    if (head.failed)
        return err_set(e, -ENOMEM, ERR_LATER, "the table of libraries does not fit");
    int r = fs_replace(AT_FDCWD, watch_path, head.data, head.len, 0600, e);
    if (r < 0)
        return r;
    int fd = open(watch_path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return err_errno(e, -errno, "open %s", watch_path);
    int older = atomic_exchange(&report_fd, fd);
    if (older >= 0)
        (void)close(older); /* its file is gone */
    return 0;
}

static void add_build_id(const struct dl_phdr_info *info, const ElfW(Phdr) * header,
                         struct dynbuf *out)
{
    const char *p = (const char *)(info->dlpi_addr + header->p_vaddr);
    const char *end = p + header->p_memsz;
    while ((size_t)(end - p) > sizeof(ElfW(Nhdr))) {
        ElfW(Nhdr) note;
        memcpy(&note, p, sizeof(note));
        const char *name = p + sizeof(note);
        const char *id = name + ((note.n_namesz + 3) & ~3U);
        size_t rest = (size_t)(end - name);
        if (note.n_namesz > rest || (size_t)(id - name) > rest ||
            note.n_descsz > (size_t)(end - id))
            return;
        if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && memcmp(name, "GNU", 4) == 0) {
            for (size_t i = 0; i < note.n_descsz && i < 32; i++)
                (void)dynbuf_printf(out, "%02x", (unsigned char)id[i]);
            return;
        }
        p = id + ((note.n_descsz + 3) & ~3U);
    }
}

static int add_object(struct dl_phdr_info *info, size_t size UNUSED, void *arg)
{
    struct dynbuf *out = arg;
    uintptr_t start = UINTPTR_MAX, end = 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *h = &info->dlpi_phdr[i];
        if (h->p_type != PT_LOAD)
            continue;
        start = MIN(start, (uintptr_t)(info->dlpi_addr + h->p_vaddr));
        end = MAX(end, (uintptr_t)(info->dlpi_addr + h->p_vaddr + h->p_memsz));
    }
    char self[4096] = "", name[4096];
    if (!info->dlpi_name[0]) /* the program itself, which comes first */
        (void)!readlink("/proc/self/exe", self, sizeof(self) - 1);
    const char *path = self[0] ? self : info->dlpi_name;
    if (start >= end || !path[0])
        return 0;
    (void)dynbuf_printf(out, "object %llx %llx %llx ", (unsigned long long)info->dlpi_addr,
                        (unsigned long long)start, (unsigned long long)end);
    size_t len = out->len;
    for (int i = 0; i < info->dlpi_phnum && out->len == len; i++)
        if (info->dlpi_phdr[i].p_type == PT_NOTE)
            add_build_id(info, &info->dlpi_phdr[i], out);
    text_printable(path, strlen(path), name, sizeof(name));
    (void)dynbuf_printf(out, "%s %s\n", out->len == len ? "-" : "", name);
    return 0;
}

static void write_objects(struct dynbuf *out)
{
    (void)dl_iterate_phdr(add_object, out);
}

static void install(void)
{
    /* NODEFER: a fault within the handler is a signal to it, not the end. */
    struct sigaction action = {.sa_sigaction = on_fatal,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < ARRAY_LEN(fatal); i++)
        (void)sigaction(fatal[i], &action, &before[i]); /* valid numbers */
}

/* ---- in the handler: nothing that allocates, locks or may be interrupted half-way ---- */

struct lines {
    char text[REPORT_BYTES_MAX];
    size_t len;
};
static struct lines lines; /* of the one thread that crashes; its stack is small */

static void put(const char *s)
{
    while (*s && lines.len < sizeof(lines.text))
        lines.text[lines.len++] = *s++;
}

static void put_number(uint64_t n, unsigned base)
{
    char digits[24];
    size_t i = sizeof(digits) - 1;
    digits[i] = '\0';
    do
        digits[--i] = "0123456789abcdef"[n % base];
    while ((n /= base) != 0);
    put(digits + i);
}

static void put_line(const char *what, uint64_t n, unsigned base)
{
    put(what);
    put(" ");
    put_number(n, base);
    put("\n");
}

static void flush_lines(void)
{
    int fd = atomic_load(&report_fd);
    for (size_t done = 0; fd >= 0 && done < lines.len;) {
        ssize_t n = write(fd, lines.text + done, lines.len - done);
        if (n < 0 && errno != EINTR)
            break;
        done += n > 0 ? (size_t)n : 0;
    }
    lines.len = 0;
}

/* All come back here when something in them goes wrong. */
static void attempt(void (*f)(int, const siginfo_t *, void *), int number, const siginfo_t *info,
                    void *context)
{
    if (sigsetjmp(recover, 0) == 0)
        f(number, info, context);
}

static void on_fatal(int number, siginfo_t *info, void *context)
{
    int self = (int)syscall(SYS_gettid), nobody = 0;
    if (!atomic_compare_exchange_strong(&crashing, &nobody, self)) {
        if (nobody == self)
            siglongjmp(recover, 1);
        for (;;)
            (void)pause(); /* the other thread ends the process */
    }
    attempt(do_first, number, info, context);
    attempt(write_first, number, info, context);
    attempt(write_unwound, number, info, context);
    end_by(number, info);
}

static void do_first(int number UNUSED, const siginfo_t *info UNUSED, void *context UNUSED)
{
    void (*f)(void) = atomic_load(&call_first);
    if (f)
        f();
}

static void put_logs(void)
{
    unsigned next = recent_next; /* without the lock, whose owner may be the one that crashes */
    for (unsigned i = 0; i < CRASH_LOGS_MAX; i++) {
        const struct remembered *one = &recent[(next + i) % CRASH_LOGS_MAX];
        char id[sizeof(one->id)];
        if (!one->id[0])
            continue;
        memcpy(id, one->id, sizeof(id));
        id[sizeof(id) - 1] = '\0';
        put("log ");
        put_number((uint64_t)one->at_s, 10);
        put(" ");
        put_number((uint64_t)one->level, 10);
        put(" ");
        put(id);
        put("\n");
    }
}

static void write_first(int number, const siginfo_t *info, void *context)
{
    char thread[17] = "";
    struct timespec now = {0};
    uintptr_t frames[CRASH_FRAMES_MAX];
    (void)prctl(PR_GET_NAME, thread); /* "" then */
    (void)clock_gettime(CLOCK_REALTIME, &now);
    put("crash\n");
    put_line("signal", (uint64_t)number, 10);
    put_line("code", (uint64_t)(unsigned)info->si_code, 10);
    if (info->si_code > 0)
        put_line("address", (uintptr_t)info->si_addr, 16);
    put_line("time", (uint64_t)now.tv_sec, 10);
    put_line("tid", (uint64_t)atomic_load(&crashing), 10);
    put("thread ");
    put(thread);
    put("\n");
    put_logs();
    flush_lines(); /* what comes next reads memory that may be anything */
    size_t n = backtrace_from_context(context, frames, CRASH_FRAMES_MAX);
    for (size_t i = 0; i < n; i++)
        put_line("frame", frames[i], 16);
    put("end\n");
    flush_lines();
}

struct unwound {
    uintptr_t pc;
    uintptr_t frames[CRASH_FRAMES_MAX];
    unsigned count;
};

/* The handler's own frames come first, then the place of the fault. */
static _Unwind_Reason_Code add_frame(struct _Unwind_Context *context, void *arg)
{
    struct unwound *u = arg;
    uintptr_t ip = _Unwind_GetIP(context);
    if (u->count == 0 && ip != u->pc)
        return _URC_NO_REASON;
    if (ip == 0) /* above the thread's first function */
        return _URC_END_OF_STACK;
    u->frames[u->count++] = ip;
    return u->count < CRASH_FRAMES_MAX ? _URC_NO_REASON : _URC_END_OF_STACK;
}

/* The process's alarm may come to any thread. */
static void on_alarm(int number UNUSED)
{
    int tid = atomic_load(&crashing);
    if ((int)syscall(SYS_gettid) == tid)
        siglongjmp(recover, 1);
    (void)syscall(SYS_tgkill, getpid(), tid, SIGSEGV); /* it is there: it waits in the unwinder */
}

static void write_unwound(int number UNUSED, const siginfo_t *info UNUSED, void *context)
{
    struct unwound u = {0};
    sigset_t set;
    lines.len = 0; /* of a first part that did not end */
    if (backtrace_from_context(context, &u.pc, 1) == 0)
        return;
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_ONSTACK};
    sigemptyset(&action.sa_mask);
    (void)sigaction(SIGALRM, &action, NULL); /* a valid number */
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    (void)sigprocmask(SIG_UNBLOCK, &set, NULL);
    (void)alarm(UNWIND_SECONDS);
    _Unwind_Backtrace(add_frame, &u);
    (void)alarm(0);
    put("unwound\n");
    for (unsigned i = 0; i < u.count; i++)
        put_line("frame", u.frames[i], 16);
    put("end\n");
    flush_lines();
}

/* A fault happens again when the handler returns, now with the default action, and a core dump then
 * shows the place itself. What was sent (abort(), kill) does not, so it is sent again. The first
 * process of a container cannot be ended by a signal that it sends itself; it ends with the code
 * that the others' signals give. */
static void end_by(int number, const siginfo_t *info)
{
    struct sigaction plain = {.sa_handler = SIG_DFL};
    (void)alarm(0);
    (void)sigaction(number, &plain, NULL);
    bool again = info->si_code > 0 && !(number == SIGBUS && info->si_code == BUS_MCEERR_AO);
    if (again)
        return;
    (void)syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), number);
    _exit(128 + number);
}

static _Unwind_Reason_Code count_frames(struct _Unwind_Context *context UNUSED, void *arg)
{
    unsigned *frames = arg;
    return ++*frames < 2 ? _URC_NO_REASON : _URC_END_OF_STACK;
}
