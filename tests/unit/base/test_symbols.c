#include "../test.h"

#include <elf.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>

#include "../sanitized.h"
#include "base/altstack.h"
#include "base/backtrace.h"
#include "base/fsutil.h"
#include "base/symbols.h"

static int first_base(struct dl_phdr_info *info, size_t size UNUSED, void *arg)
{
    *(uint64_t *)arg = info->dlpi_addr;
    return 1;
}

static uint64_t base_address(void)
{
    uint64_t base = 0;
    (void)dl_iterate_phdr(first_base, &base);
    return base;
}

static void names_a_static_function_of_this_program(void **state UNUSED)
{
    AUTO(symbols) s = NULL;
    struct err e = {0};
    if (symbols_open("/proc/self/exe", NULL, &s, &e) < 0)
        fail_msg("%s", e.text);
    uint64_t offset = 77;
    uint64_t address = (uintptr_t)first_base - base_address();
    assert_string_equal(symbols_find(s, address, &offset), "first_base");
    assert_int_equal(offset, 0);
    assert_string_equal(symbols_find(s, address + 3, &offset), "first_base");
    assert_int_equal(offset, 3);
    assert_null(symbols_find(s, 1, NULL));
    assert_null(symbols_find(s, UINT64_MAX, NULL));
    const char *id = symbols_build_id(s);
    if (id[0]) {
        AUTO(symbols) same = NULL;
        assert_int_equal(symbols_open("/proc/self/exe", id, &same, &e), 0);
    }
    AUTO(symbols) other = NULL;
    assert_int_equal(symbols_open("/proc/self/exe", "0011223344", &other, &e), -ESTALE);
}

static void files_that_are_none_are_refused(void **state UNUSED)
{
    AUTO(symbols) s = NULL;
    struct err e = {0};
    assert_int_equal(symbols_open("/nonexistent", NULL, &s, &e), -ENOENT);
    assert_true(symbols_open("/dev/zero", NULL, &s, &e) < 0);
    assert_int_equal(symbols_open("/etc/passwd", NULL, &s, &e), -ENOEXEC);
}

/* Each word of the header and the section table bent: nothing is read outside of the file. */
static void bent_files_do_no_harm(void **state UNUSED)
{
    AUTO(blob) file = NULL;
    struct err e = {0};
    AUTO_FREE char *self = realpath("/proc/self/exe", NULL);
    assert_int_equal(fs_read_blob(AT_FDCWD, self, 64 << 20, &file, &e), 0);
    Elf64_Ehdr head;
    memcpy(&head, file->data, sizeof(head));
    size_t spots = sizeof(head) / 8 + (size_t)head.e_shnum * sizeof(Elf64_Shdr) / 8;
    static const uint64_t bends[] = {0, 1, UINT64_MAX, UINT64_MAX / 2, 1 << 20};
    AUTO_FREE char *bent = malloc(file->size);
    assert_non_null(bent);
    memcpy(bent, file->data, file->size);
    for (size_t i = 0; i < spots; i++) {
        size_t at = i < sizeof(head) / 8 ? 8 * i : head.e_shoff + 8 * (i - sizeof(head) / 8);
        if (at + 8 > file->size)
            break;
        for (size_t b = 0; b < ARRAY_LEN(bends); b++) {
            memcpy(bent + at, &bends[b], 8);
            AUTO(blob) copy = blob_new_hook(bent, file->size, NULL, NULL);
            AUTO(symbols) s = NULL;
            if (symbols_of_blob(copy, NULL, &s, NULL) == 0)
                (void)symbols_find(s, UINT64_MAX, NULL);
            memcpy(bent + at, file->data + at, 8);
        }
    }
}

/* ---- backtrace and alternate stack ---- */

static uintptr_t seen[16];
static size_t seen_count;
static int on_alternate;

static void on_signal(int number UNUSED, siginfo_t *info UNUSED, void *context)
{
    stack_t st;
    seen_count = backtrace_from_context(context, seen, ARRAY_LEN(seen));
    on_alternate = sigaltstack(NULL, &st) == 0 && st.ss_flags & SS_ONSTACK;
}

static __attribute__((noinline)) void inner(void)
{
    pthread_kill(pthread_self(), SIGSEGV);
    __asm__ volatile("");
}

static __attribute__((noinline)) void *outer(void *arg)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    altstack_use();
    altstack_use(); /* harmless */
    inner();
    __asm__ volatile("");
    return arg;
}

static void a_thread_tells_its_callers_from_another_stack(void **state UNUSED)
{
    if (TEST_SANITIZED)
        skip(); /* the fault signals are the sanitizer's */
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    struct sigaction before;
    assert_int_equal(sigaction(SIGSEGV, &action, &before), 0);
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, outer, NULL), 0);
    pthread_join(t, NULL);
    assert_int_equal(sigaction(SIGSEGV, &before, NULL), 0);
    assert_true(on_alternate);
    AUTO(symbols) s = NULL;
    struct err e = {0};
    assert_int_equal(symbols_open("/proc/self/exe", NULL, &s, &e), 0);
    bool found = false;
    for (size_t i = 0; i < seen_count; i++) {
        const char *name = symbols_find(s, seen[i] - 1 - base_address(), NULL);
        found |= name && strcmp(name, "outer") == 0;
    }
    assert_true(found);
}

static void rubbish_for_a_frame_ends_the_list(void **state UNUSED)
{
    static const uintptr_t cases[] = {0, 1, 8, 0x1000, 0xdeadbeef, UINTPTR_MAX - 7};
    ucontext_t *u = calloc(1, sizeof(*u));
    assert_non_null(u);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uintptr_t list[8];
#if defined(__x86_64__)
        u->uc_mcontext.gregs[REG_RBP] = (greg_t)cases[i];
        u->uc_mcontext.gregs[REG_RSP] = (greg_t)cases[i];
#endif
        assert_true(backtrace_from_context(u, list, ARRAY_LEN(list)) <= 2);
        assert_int_equal(backtrace_from_context(u, list, 0), 0);
    }
    free(u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_a_static_function_of_this_program),
        cmocka_unit_test(files_that_are_none_are_refused),
        cmocka_unit_test(bent_files_do_no_harm),
        cmocka_unit_test(a_thread_tells_its_callers_from_another_stack),
        cmocka_unit_test(rubbish_for_a_frame_ends_the_list),
    };
    return RUN_TESTS(tests);
}
