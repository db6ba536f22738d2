/* Each case in a child, since nothing of it can be taken back. */

#include "sys/sandbox.h"

#include "../sanitized.h"
#include "../test.h"

#include <dlfcn.h>
#include <errno.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* What a case returns; else the line that failed. */
#define GOOD 0
#define EXPECT(what)                                                                               \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            print_message("# line %d: %s (errno %d)\n", __LINE__, #what, errno);                   \
            return 1;                                                                              \
        }                                                                                          \
    } while (0)

typedef int case_fn(void);

/* The wait status of a child that did `body` in a closed sandbox. */
static int in_sandbox(enum sandbox_programs programs, case_fn *body)
{
    (void)fflush(stdout);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct err e = {0};
        if (sandbox_drop_rights(&e) < 0 || sandbox_close(programs, &e) < 0) {
            print_message("# %s\n", e.text);
            _exit(99);
        }
        int r = body();
        (void)fflush(stdout);
        _exit(r);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void skip_where_it_cannot_be(void)
{
    if (TEST_SANITIZED)
        skip();
}

static unsigned long long status_value(const char *path, const char *name, int base)
{
    char line[256];
    unsigned long long value = ~0ULL;
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof(line), f))
        if (strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':')
            value = strtoull(line + strlen(name) + 1, NULL, base);
    if (f)
        (void)fclose(f);
    return value;
}

static void every_call_on_the_lists_exists(void **state UNUSED)
{
    const char *name = sandbox_unknown_call();
    /* Younger than the oldest library that we build with. */
    static const char *const young[] = {"fchmodat2"};
    for (size_t i = 0; name && i < ARRAY_LEN(young); i++)
        if (strcmp(name, young[i]) == 0)
            return;
    if (name)
        CASE_FAILS("there is no system call \"%s\"", name);
}

/* ---- rights ---- */

static int only_the_port_is_left(void)
{
    const char *self = "/proc/self/status";
    unsigned long long port = 1ULL << CAP_NET_BIND_SERVICE;
    static const char *const sets[] = {"CapInh", "CapPrm", "CapEff", "CapAmb"};
    for (size_t i = 0; i < ARRAY_LEN(sets); i++)
        EXPECT((status_value(self, sets[i], 16) & ~port) == 0);
    EXPECT(status_value(self, "CapInh", 16) == 0 && status_value(self, "CapAmb", 16) == 0);
    EXPECT(status_value(self, "NoNewPrivs", 10) == 1);
    EXPECT(status_value(self, "Seccomp", 10) == 2);
    return GOOD;
}

static void only_the_capability_for_ports_stays(void **state UNUSED)
{
    skip_where_it_cannot_be();
    assert_int_equal(in_sandbox(SANDBOX_NO_PROGRAMS, only_the_port_is_left), 0);
}

static void the_capability_for_ports_does_not_appear_from_nowhere(void **state UNUSED)
{
    pid_t pid = fork();
    if (pid == 0) {
        struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
        struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};
        struct err e = {0};
        if (syscall(SYS_capset, &header, none) < 0 || sandbox_drop_rights(&e) < 0)
            _exit(1);
        _exit(status_value("/proc/self/status", "CapPrm", 16) == 0 ? 0 : 2);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* ---- what goes on working ---- */

static void *add_one(void *arg)
{
    int *n = arg;
    (*n)++;
    return NULL;
}

static int work_as_usual(void)
{
    int n = 0;
    pthread_t t;
    EXPECT(pthread_create(&t, NULL, add_one, &n) == 0 && pthread_join(t, NULL) == 0 && n == 1);
    EXPECT(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0);
    EXPECT(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0) >= 0);
    EXPECT(eventfd(0, EFD_CLOEXEC) >= 0);
    EXPECT(open("/proc/self/maps", O_RDONLY | O_CLOEXEC) >= 0);
    int waiting = -1;
    EXPECT(ioctl(socket(AF_INET, SOCK_STREAM, 0), FIONREAD, &waiting) == 0 && waiting == 0);
    void *big = malloc(64 << 20);
    EXPECT(big);
    free(big);
    EXPECT(dlopen("libresolv.so.2", RTLD_NOW)); /* as the resolver's modules are */
    return GOOD;
}

static void files_sockets_threads_and_libraries_work(void **state UNUSED)
{
    skip_where_it_cannot_be();
    assert_int_equal(in_sandbox(SANDBOX_NO_PROGRAMS, work_as_usual), 0);
    assert_int_equal(in_sandbox(SANDBOX_WITH_PROGRAMS, work_as_usual), 0);
}

/* ---- what does not ---- */

static int try_what_is_refused(void)
{
    EXPECT(unshare(CLONE_NEWUSER) < 0 && errno == EPERM);
    EXPECT(chroot("/") < 0 && errno == EPERM);
    EXPECT(setuid(getuid()) < 0 && errno == EPERM);
    EXPECT(socket(AF_PACKET, SOCK_RAW, 0) < 0 && errno == ENOSYS);
    EXPECT(socket(AF_ALG, SOCK_SEQPACKET, 0) < 0 && errno == ENOSYS);
    EXPECT(syscall(SYS_clone3, NULL, 0) < 0 && errno == ENOSYS);
    EXPECT(syscall(SYS_ioctl, 0, (unsigned long)TIOCSTI, "x") < 0 && errno == ENOSYS);
    /* The kernel takes the lower half only, so the filter must. */
    EXPECT(syscall(SYS_ioctl, 0, TIOCSTI | 1UL << 40, "x") < 0 && errno == ENOSYS);
    EXPECT(syscall(SYS_socket, AF_PACKET | 1UL << 40, SOCK_RAW, 0) < 0 && errno == ENOSYS);
    return GOOD;
}

static void what_may_be_tried_in_good_faith_is_refused(void **state UNUSED)
{
    skip_where_it_cannot_be();
    assert_int_equal(in_sandbox(SANDBOX_NO_PROGRAMS, try_what_is_refused), 0);
    assert_int_equal(in_sandbox(SANDBOX_WITH_PROGRAMS, try_what_is_refused), 0);
}

static int trace(void)
{
    (void)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    return GOOD;
}

static int mount_something(void)
{
    (void)syscall(SYS_mount, "a", "/", "tmpfs", 0UL, NULL);
    return GOOD;
}

static int load_a_module(void)
{
    (void)syscall(SYS_finit_module, -1, "", 0);
    return GOOD;
}

static int use_bpf(void)
{
    (void)syscall(SYS_bpf, 0, NULL, 0);
    return GOOD;
}

static int run_a_shell(void)
{
    char *argv[] = {"sh", "-c", "true", NULL}, *environment[] = {NULL};
    (void)execve("/bin/sh", argv, environment);
    return GOOD;
}

#if defined(__x86_64__)
static int call_as_x32(void)
{
    (void)syscall(0x40000000 + SYS_getpid);
    return GOOD;
}
#endif

static void an_intruders_calls_end_the_process(void **state UNUSED)
{
    static case_fn *const bodies[] = {
        trace,
        mount_something,
        load_a_module,
        use_bpf,
#if defined(__x86_64__)
        call_as_x32,
#endif
    };
    skip_where_it_cannot_be();
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++)
        for (int p = SANDBOX_NO_PROGRAMS; p <= SANDBOX_WITH_PROGRAMS; p++) {
            int status = in_sandbox(p, bodies[i]);
            if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
                CASE_FAILS("%zu: status %x", i, (unsigned)status);
        }
}

/* ---- programs and memory ---- */

static int spawn_true(void)
{
    char *argv[] = {"true", NULL}, *environment[] = {NULL};
    pid_t pid = 0;
    int r = posix_spawn(&pid, "/bin/true", NULL, NULL, argv, environment);
    if (r == 0) {
        int status = -1;
        EXPECT(waitpid(pid, &status, 0) == pid && status == 0);
    }
    return r;
}

static int start_one(void)
{
    EXPECT(spawn_true() == 0);
    return GOOD;
}

static int fail_to_start_one(void)
{
    EXPECT(spawn_true() == EPERM);
    EXPECT(fork() < 0 && errno == EPERM);
    return GOOD;
}

static void programs_start_only_where_that_was_asked_for(void **state UNUSED)
{
    skip_where_it_cannot_be();
    assert_int_equal(in_sandbox(SANDBOX_WITH_PROGRAMS, start_one), 0);
    assert_int_equal(in_sandbox(SANDBOX_NO_PROGRAMS, fail_to_start_one), 0);
    int status = in_sandbox(SANDBOX_NO_PROGRAMS, run_a_shell);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
    assert_int_equal(in_sandbox(SANDBOX_WITH_PROGRAMS, run_a_shell), 0);
}

static int write_code(void)
{
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    EXPECT(mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, flags, -1, 0) == MAP_FAILED);
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, flags, -1, 0);
    EXPECT(p != MAP_FAILED);
    EXPECT(mprotect(p, 4096, PROT_READ | PROT_EXEC) < 0);
    EXPECT(mprotect(p, 4096, PROT_READ) == 0);
    return GOOD;
}

static void memory_that_was_written_does_not_become_code(void **state UNUSED)
{
    skip_where_it_cannot_be();
    assert_int_equal(in_sandbox(SANDBOX_NO_PROGRAMS, write_code), 0);
}

/* ---- threads that were there before ---- */

static int go_fd;

static void *wait_and_try(void *arg)
{
    uint64_t one;
    int *ret = arg;
    *ret = read(go_fd, &one, sizeof(one)) == sizeof(one) && chroot("/") < 0 ? errno : -1;
    return NULL;
}

static void threads_that_run_already_are_in_it_too(void **state UNUSED)
{
    skip_where_it_cannot_be();
    (void)fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        int found = 0;
        uint64_t one = 1;
        pthread_t t;
        struct err e = {0};
        go_fd = eventfd(0, EFD_CLOEXEC);
        if (pthread_create(&t, NULL, wait_and_try, &found) != 0 || sandbox_drop_rights(&e) < 0 ||
            sandbox_close(SANDBOX_NO_PROGRAMS, &e) < 0)
            _exit(1);
        (void)!write(go_fd, &one, sizeof(one)); /* the thread's end shows */
        (void)pthread_join(t, NULL);
        _exit(found == EPERM ? 0 : 2);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void a_build_with_sanitizers_says_that_it_has_no_filter(void **state UNUSED)
{
    struct err e = {0};
    if (!TEST_SANITIZED)
        skip();
    assert_int_equal(sandbox_close(SANDBOX_NO_PROGRAMS, &e), -ENOTSUP);
    assert_non_null(strstr(e.text, "sanitizers"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_call_on_the_lists_exists),
        cmocka_unit_test(only_the_capability_for_ports_stays),
        cmocka_unit_test(the_capability_for_ports_does_not_appear_from_nowhere),
        cmocka_unit_test(files_sockets_threads_and_libraries_work),
        cmocka_unit_test(what_may_be_tried_in_good_faith_is_refused),
        cmocka_unit_test(an_intruders_calls_end_the_process),
        cmocka_unit_test(programs_start_only_where_that_was_asked_for),
        cmocka_unit_test(memory_that_was_written_does_not_become_code),
        cmocka_unit_test(threads_that_run_already_are_in_it_too),
        cmocka_unit_test(a_build_with_sanitizers_says_that_it_has_no_filter),
    };
    return RUN_TESTS(tests);
}
