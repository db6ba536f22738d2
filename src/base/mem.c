#include "base/mem.h"

#include <link.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* write(2) of a constant: at this point nothing else can be trusted to have memory. */
static NORETURN void out_of_memory(void)
{
    static const char text[] = "snapshotd: out of memory: ending; what is recorded is safe and "
                               "goes on at the next start\n";
    (void)!write(STDERR_FILENO, text, sizeof(text) - 1); /* nobody is left to tell of a failure */
    _exit(1);
}

void *xmalloc(size_t size)
{
    void *p = malloc(size ? size : 1);
    if (!p)
        out_of_memory();
    return p;
}

void *xcalloc(size_t count, size_t size)
{
    void *p = calloc(count ? count : 1, size ? size : 1);
    if (!p)
        out_of_memory();
    return p;
}

void *xrealloc(void *p, size_t size)
{
    void *q = realloc(p, size ? size : 1);
    if (!q)
        out_of_memory();
    return q;
}

void *xmemdup(const void *p, size_t size)
{
    void *q = xmalloc(size);
    if (size)
        memcpy(q, p, size);
    return q;
}

char *xstrdup(const char *s)
{
    return s ? xmemdup(s, strlen(s) + 1) : NULL;
}

char *xstrndup(const char *s, size_t len)
{
    char *q = xmalloc(len + 1);
    if (len)
        memcpy(q, s, len);
    q[len] = '\0';
    return q;
}

char *xasprintf(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *s = NULL;
    int n = vasprintf(&s, fmt, ap);
    va_end(ap);
    if (n < 0)
        out_of_memory();
    return s;
}

static _Thread_local uint64_t try_count;
static _Thread_local uint64_t try_fail_at;

static bool refused(size_t count, size_t size, size_t max, size_t *ret_bytes)
{
    try_count++;
    if (try_fail_at && try_count == try_fail_at)
        return true;
    if (__builtin_mul_overflow(count, size, ret_bytes))
        return true;
    return *ret_bytes > max;
}

void *mem_try_alloc(size_t count, size_t size, size_t max)
{
    size_t bytes = 0;
    if (refused(count, size, max, &bytes))
        return NULL;
    return malloc(bytes ? bytes : 1);
}

void *mem_try_realloc(void *p, size_t count, size_t size, size_t max)
{
    size_t bytes = 0;
    if (refused(count, size, max, &bytes))
        return NULL;
    return realloc(p, bytes ? bytes : 1);
}

void mem_fail_at(uint64_t n)
{
    try_count = 0;
    try_fail_at = n;
}

uint64_t mem_try_count(void)
{
    return try_count;
}

static int drop_clean_pages(struct dl_phdr_info *info, size_t size, void *arg);

void mem_trim(void)
{
    (void)malloc_trim(0);
    (void)dl_iterate_phdr(drop_clean_pages, NULL);
}

/* An object whose code was patched at load keeps all of it, and so does the kernel's own. */
static bool is_as_in_its_file(const struct dl_phdr_info *info)
{
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type != PT_DYNAMIC)
            continue;
        const ElfW(Dyn) *d = (const ElfW(Dyn) *)(uintptr_t)(info->dlpi_addr + p->p_vaddr);
        for (; d->d_tag != DT_NULL; d++)
            if (d->d_tag == DT_TEXTREL || (d->d_tag == DT_FLAGS && (d->d_un.d_val & DF_TEXTREL)))
                return false;
    }
    return !strstr(info->dlpi_name, "vdso");
}

/* Linkers make three: headers, code, constants. */
#define OBJECT_PARTS_MAX 8

static int drop_clean_pages(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)size;
    (void)arg;
    if (!is_as_in_its_file(info))
        return 0;
    struct {
        uintptr_t first, end;
    } parts[OBJECT_PARTS_MAX];
    size_t count = 0;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    for (int i = 0; i < info->dlpi_phnum && count < ARRAY_LEN(parts); i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type != PT_LOAD || (p->p_flags & PF_W) != 0)
            continue;
        parts[count].first = (info->dlpi_addr + p->p_vaddr + page - 1) & ~(page - 1);
        parts[count++].end = (info->dlpi_addr + p->p_vaddr + p->p_filesz) & ~(page - 1);
    }
    /* The table of parts lies in the first of them: to look at it once more would bring that back,
     * and 60 kB around with it. */
    for (size_t i = 0; i < count; i++)
        if (parts[i].end > parts[i].first)
            (void)madvise((void *)parts[i].first, parts[i].end - parts[i].first,
                          MADV_DONTNEED); /* at worst they stay */
    return 0;
}
