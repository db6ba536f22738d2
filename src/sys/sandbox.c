/* The lists are by purpose, so that a reader can judge them: is this something that we do? Names,
 * not numbers: those that a machine does not have (there is no open(2) on arm64) are passed over.
 *
 * An allow list breaks when a library learns a new call; a deny list lets through what the kernel
 * learns. So it is an allow list, and what is on no list is answered ENOSYS: libraries fall back
 * then, as they do on an older kernel. An intruder is no better off with it.
 *
 * Rejected: SECCOMP_RET_TRAP, which would let us count what is refused: a thread that blocks all
 * signals, as ZeroMQ's do, dies of it, and so do programs that we start. */

#include "sys/sandbox.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/macros.h"

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

/* ---- rights ---- */

static int read_capabilities(struct __user_cap_data_struct *ret)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    return syscall(SYS_capget, &header, ret) < 0 ? -errno : 0;
}

static int write_capabilities(const struct __user_cap_data_struct *data)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

/* Also those that a program which root starts would get. Only who may change the set can, and for
 * the others there is no_new_privs. */
static void drop_bounding_set(void)
{
    for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
        if (cap != CAP_NET_BIND_SERVICE)
            (void)prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
}

int sandbox_drop_rights(struct err *e)
{
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};
    int r = read_capabilities(data);
    if (r < 0)
        return err_errno(e, r, "read the capabilities");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return err_errno(e, -errno, "no new privileges");
    drop_bounding_set();
    /* Programs that we start need no low ports. */
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); /* none is fine */
    const __u32 port = 1U << CAP_NET_BIND_SERVICE;
    /* A service manager that left us only that may also have forbidden the call. */
    bool few = ((data[0].permitted | data[0].effective) & ~port) == 0 &&
               (data[1].permitted | data[1].effective) == 0;
    static_assert(CAP_NET_BIND_SERVICE < 32, "in the first word");
    data[0].permitted &= port;
    data[0].effective = data[0].permitted;
    data[0].inheritable = 0;
    for (size_t i = 1; i < ARRAY_LEN(data); i++)
        data[i] = (struct __user_cap_data_struct){0};
    r = write_capabilities(data);
    return r < 0 && !few ? err_errno(e, r, "drop the capabilities") : 0;
}

void sandbox_leave_no_core(void)
{
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}); /* less is always granted */
    int fd = open("/proc/self/coredump_filter", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return; /* a kernel that writes no cores, or no /proc */
    (void)!write(fd, "0", 1);
    (void)close(fd);
}

/* ---- calls ---- */

static const char *const allowed[] = {
    /* descriptors */
    "read",
    "readv",
    "pread64",
    "preadv",
    "preadv2",
    "write",
    "writev",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "lseek",
    "_llseek",
    "close",
    "close_range",
    "dup",
    "dup2",
    "dup3",
    "fcntl",
    "fcntl64",
    "flock",
    "pipe",
    "pipe2",
    "sendfile",
    "sendfile64",
    "splice",
    "tee",
    "vmsplice",
    "copy_file_range",
    "fsync",
    "fdatasync",
    "sync",
    "syncfs",
    "sync_file_range",
    "sync_file_range2",
    "fallocate",
    "ftruncate",
    "ftruncate64",
    "truncate",
    "truncate64",
    "fadvise64",
    "fadvise64_64",
    "readahead",
    /* files */
    "open",
    "openat",
    "openat2",
    "creat",
    "stat",
    "stat64",
    "lstat",
    "lstat64",
    "fstat",
    "fstat64",
    "newfstatat",
    "fstatat64",
    "statx",
    "statfs",
    "statfs64",
    "fstatfs",
    "fstatfs64",
    "access",
    "faccessat",
    "faccessat2",
    "getdents",
    "getdents64",
    "getcwd",
    "chdir",
    "fchdir",
    "mkdir",
    "mkdirat",
    "rmdir",
    "unlink",
    "unlinkat",
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "symlink",
    "symlinkat",
    "readlink",
    "readlinkat",
    "chmod",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "umask",
    "utime",
    "utimes",
    "utimensat",
    "utimensat_time64",
    "futimesat",
    "getxattr",
    "lgetxattr",
    "fgetxattr",
    "listxattr",
    "llistxattr",
    "flistxattr",
    "inotify_init",
    "inotify_init1",
    "inotify_add_watch",
    "inotify_rm_watch",
    /* sockets; which families, see add_socket() */
    "socketpair",
    "bind",
    "connect",
    "listen",
    "accept",
    "accept4",
    "getsockname",
    "getpeername",
    "sendto",
    "sendmsg",
    "sendmmsg",
    "send",
    "recvfrom",
    "recvmsg",
    "recvmmsg",
    "recvmmsg_time64",
    "recv",
    "shutdown",
    "setsockopt",
    "getsockopt",
    /* waiting */
    "poll",
    "ppoll",
    "ppoll_time64",
    "select",
    "_newselect",
    "pselect6",
    "pselect6_time64",
    "epoll_create",
    "epoll_create1",
    "epoll_ctl",
    "epoll_ctl_old",
    "epoll_wait",
    "epoll_wait_old",
    "epoll_pwait",
    "epoll_pwait2",
    "eventfd",
    "eventfd2",
    "signalfd",
    "signalfd4",
    "timerfd_create",
    "timerfd_settime",
    "timerfd_settime64",
    "timerfd_gettime",
    "timerfd_gettime64",
    /* time */
    "clock_gettime",
    "clock_gettime64",
    "clock_getres",
    "clock_getres_time64",
    "clock_nanosleep",
    "clock_nanosleep_time64",
    "nanosleep",
    "gettimeofday",
    "time",
    "times",
    "alarm",
    "setitimer",
    "getitimer",
    "timer_create",
    "timer_settime",
    "timer_settime64",
    "timer_gettime",
    "timer_gettime64",
    "timer_getoverrun",
    "timer_delete",
    "pause",
    /* memory; mmap and mprotect, see add_memory() */
    "brk",
    "munmap",
    "mremap",
    "madvise",
    "mlock",
    "mlock2",
    "munlock",
    "mlockall",
    "munlockall",
    "msync",
    "mincore",
    "membarrier",
    "memfd_create",
    /* threads; clone, see add_processes() */
    "futex",
    "futex_time64",
    "futex_waitv",
    "set_robust_list",
    "get_robust_list",
    "rseq",
    "set_tid_address",
    "gettid",
    "sched_yield",
    "sched_getaffinity",
    "sched_setaffinity",
    "sched_getparam",
    "sched_setparam",
    "sched_getscheduler",
    "sched_setscheduler",
    "sched_getattr",
    "sched_setattr",
    "sched_get_priority_max",
    "sched_get_priority_min",
    "sched_rr_get_interval",
    "getpriority",
    "setpriority",
    "ioprio_get",
    "ioprio_set",
    "getcpu",
    "arch_prctl",
    "prctl",
    "set_thread_area",
    "get_thread_area",
    "set_tls",
    "cacheflush",
    "riscv_flush_icache",
    /* signals */
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigpending",
    "rt_sigreturn",
    "rt_sigsuspend",
    "rt_sigtimedwait",
    "rt_sigtimedwait_time64",
    "rt_sigqueueinfo",
    "rt_tgsigqueueinfo",
    "sigreturn",
    "sigaltstack",
    "kill",
    "tkill",
    "tgkill",
    "restart_syscall",
    "pidfd_open",
    "pidfd_send_signal",
    /* this process and its children */
    "exit",
    "exit_group",
    "wait4",
    "waitpid",
    "waitid",
    "getpid",
    "getppid",
    "getpgid",
    "getpgrp",
    "getsid",
    "setpgid",
    "setsid",
    "getuid",
    "getuid32",
    "geteuid",
    "geteuid32",
    "getgid",
    "getgid32",
    "getegid",
    "getegid32",
    "getresuid",
    "getresuid32",
    "getresgid",
    "getresgid32",
    "getgroups",
    "getgroups32",
    "capget",
    "getrusage",
    "getrlimit",
    "ugetrlimit",
    "setrlimit",
    "prlimit64",
    /* this machine */
    "uname",
    "sysinfo",
    "getrandom",
    /* what makes it stricter */
    "seccomp",
    "landlock_create_ruleset",
    "landlock_add_rule",
    "landlock_restrict_self",
};

/* Programs and libraries try these in good faith. */
static const char *const refused[] = {
    "chown",           "chown32",      "fchown",         "fchown32",       "lchown",
    "lchown32",        "fchownat",     "setxattr",       "lsetxattr",      "fsetxattr",
    "removexattr",     "lremovexattr", "fremovexattr",   "mknod",          "mknodat",
    "setuid",          "setuid32",     "setgid",         "setgid32",       "setreuid",
    "setreuid32",      "setregid",     "setregid32",     "setresuid",      "setresuid32",
    "setresgid",       "setresgid32",  "setgroups",      "setgroups32",    "setfsuid",
    "setfsuid32",      "setfsgid",     "setfsgid32",     "capset",         "chroot",
    "unshare",         "setns",        "add_key",        "request_key",    "keyctl",
    "perf_event_open", "userfaultfd",  "io_uring_setup", "io_uring_enter", "io_uring_register",
    "fanotify_init",   "personality",  "adjtimex",       "clock_adjtime",  "pidfd_getfd",
    "process_madvise",
};

/* Nothing that we or a camera's program do comes near these. */
static const char *const fatal[] = {
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "kcmp",
    "bpf",
    "mount",
    "umount",
    "umount2",
    "pivot_root",
    "move_mount",
    "open_tree",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "mount_setattr",
    "open_by_handle_at",
    "kexec_load",
    "kexec_file_load",
    "init_module",
    "finit_module",
    "delete_module",
    "create_module",
    "reboot",
    "swapon",
    "swapoff",
    "acct",
    "quotactl",
    "quotactl_fd",
    "settimeofday",
    "stime",
    "clock_settime",
    "clock_settime64",
    "sethostname",
    "setdomainname",
    "iopl",
    "ioperm",
    "syslog",
    "vhangup",
    "nfsservctl",
    "lookup_dcookie",
    "uselib",
};

static const char *const programs_only[] = {"fork", "vfork", "execve"};

static int add(scmp_filter_ctx filter, uint32_t action, const char *name)
{
    int number = seccomp_syscall_resolve_name(name);
    /* One that the library has not heard of is one that the filter answers with ENOSYS. */
    return number == __NR_SCMP_ERROR ? 0 : seccomp_rule_add(filter, action, number, 0);
}

static int add_list(scmp_filter_ctx filter, uint32_t action, const char *const *names, size_t n)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < n; i++)
        r = add(filter, action, names[i]);
    return r;
}

/* Allows a call whose argument `arg` has `value` in the bits of `mask`. The upper half of a
 * register does not count where the kernel takes 32 bits, so every comparison is masked. */
static int allow_bits(scmp_filter_ctx filter, int call, unsigned arg, uint32_t mask, uint32_t value)
{
    return seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 1,
                            SCMP_CMP(arg, SCMP_CMP_MASKED_EQ, mask, value));
}

static int add_socket(scmp_filter_ctx filter)
{
    static const int families[] = {AF_UNIX, AF_INET, AF_INET6,
                                   AF_NETLINK /* the resolver asks for our addresses */};
    int r = 0;
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(families); i++)
        r = allow_bits(filter, SCMP_SYS(socket), 0, UINT32_MAX, (uint32_t)families[i]);
    return r;
}

/* Of a terminal only what cannot type into it (TIOCSTI); of everything else all, for a GPU's
 * driver has requests of its own. "Is not of the terminal's kind" is "differs in a bit of it". */
static int add_ioctl(scmp_filter_ctx filter)
{
    static const unsigned long terminal[] = {TCGETS,   TIOCGWINSZ, FIONREAD, FIONBIO, FIOCLEX,
                                             FIONCLEX, TIOCGPGRP,  TCSETS,   TCSETSW, TCSETSF};
    const uint32_t kind = TCGETS & 0xff00;
    int r = 0;
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(terminal); i++)
        r = allow_bits(filter, SCMP_SYS(ioctl), 1, UINT32_MAX, (uint32_t)terminal[i]);
    for (uint32_t bit = 0x100; r == 0 && bit <= 0x8000; bit <<= 1)
        r = allow_bits(filter, SCMP_SYS(ioctl), 1, bit, ~kind & bit);
    return r;
}

/* Code that is written and then run. Programs that we start may have a compiler inside. */
static int add_memory(scmp_filter_ctx filter, enum sandbox_programs programs)
{
    static const char *const maps[] = {"mmap", "mmap2"};
    static const char *const protects[] = {"mprotect", "pkey_mprotect"};
    if (programs == SANDBOX_WITH_PROGRAMS) {
        int r = add_list(filter, SCMP_ACT_ALLOW, maps, ARRAY_LEN(maps));
        return r < 0 ? r : add_list(filter, SCMP_ACT_ALLOW, protects, ARRAY_LEN(protects));
    }
    int r = 0;
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(maps); i++) {
        int call = seccomp_syscall_resolve_name(maps[i]);
        r = allow_bits(filter, call, 2, PROT_EXEC, 0);
        if (r == 0)
            r = allow_bits(filter, call, 2, PROT_EXEC | PROT_WRITE, PROT_EXEC);
    }
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(protects); i++)
        r = allow_bits(filter, seccomp_syscall_resolve_name(protects[i]), 2, PROT_EXEC, 0);
    return r;
}

/* clone3 passes its flags where a filter does not see them: ENOSYS, and the C library takes clone.
 */
static int add_processes(scmp_filter_ctx filter, enum sandbox_programs programs)
{
    const uint32_t namespaces = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC |
                                CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;
    if (programs == SANDBOX_WITH_PROGRAMS) {
        int r = allow_bits(filter, SCMP_SYS(clone), 0, namespaces, 0);
        return r < 0 ? r
                     : add_list(filter, SCMP_ACT_ALLOW, programs_only, ARRAY_LEN(programs_only));
    }
    int r = allow_bits(filter, SCMP_SYS(clone), 0, namespaces | CLONE_THREAD, CLONE_THREAD);
    if (r == 0)
        r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                             SCMP_CMP(0, SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
    if (r == 0)
        r = add(filter, SCMP_ACT_ERRNO(EPERM), "fork");
    if (r == 0)
        r = add(filter, SCMP_ACT_ERRNO(EPERM), "vfork");
    if (r == 0)
        r = add(filter, SCMP_ACT_KILL_PROCESS, "execve");
    return r < 0 ? r : add(filter, SCMP_ACT_KILL_PROCESS, "execveat");
}

static int set_attributes(scmp_filter_ctx filter)
{
    const struct {
        enum scmp_filter_attr name;
        uint32_t value;
    } attributes[] = {
        {SCMP_FLTATR_CTL_TSYNC, 1},                       /* threads that run already */
        {SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS}, /* calls by another ABI */
        {SCMP_FLTATR_CTL_SSB, 1},      /* no slower than without: we run no strangers' code */
        {SCMP_FLTATR_CTL_OPTIMIZE, 2}, /* a tree, not one comparison after the other */
    };
    int r = 0;
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(attributes); i++)
        r = seccomp_attr_set(filter, attributes[i].name, attributes[i].value);
    return r;
}

static int fill(scmp_filter_ctx filter, enum sandbox_programs programs)
{
    int r = set_attributes(filter);
    if (r == 0)
        r = add_list(filter, SCMP_ACT_ALLOW, allowed, ARRAY_LEN(allowed));
    if (r == 0)
        r = add_list(filter, SCMP_ACT_ERRNO(EPERM), refused, ARRAY_LEN(refused));
    if (r == 0)
        r = add_list(filter, SCMP_ACT_KILL_PROCESS, fatal, ARRAY_LEN(fatal));
    if (r == 0)
        r = add_socket(filter);
    if (r == 0)
        r = add_ioctl(filter);
    if (r == 0)
        r = add_memory(filter, programs);
    return r < 0 ? r : add_processes(filter, programs);
}

int sandbox_close(enum sandbox_programs programs, struct err *e)
{
    if (SANITIZED)
        return err_set(e, -ENOTSUP, ERR_NEVER,
                       "no filter of system calls: this build has "
                       "sanitizers, whose libraries need more of them");
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
    if (!filter)
        return err_set(e, -ENOMEM, ERR_LATER, "no filter of system calls: no memory");
    int r = fill(filter, programs);
    if (r == 0)
        r = seccomp_load(filter);
    seccomp_release(filter);
    return r < 0 ? err_errno(e, r, "no filter of system calls") : 0;
}

const char *sandbox_unknown_call(void)
{
    const struct {
        const char *const *names;
        size_t n;
    } lists[] = {{allowed, ARRAY_LEN(allowed)},
                 {refused, ARRAY_LEN(refused)},
                 {fatal, ARRAY_LEN(fatal)},
                 {programs_only, ARRAY_LEN(programs_only)}};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        for (size_t k = 0; k < lists[i].n; k++)
            if (seccomp_syscall_resolve_name(lists[i].names[k]) == __NR_SCMP_ERROR)
                return lists[i].names[k];
    return NULL;
}
