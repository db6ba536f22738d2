/* A library to preload: the n-th allocation of the process fails, once, or all from the n-th on.
 *     MALLOC_FAIL_AT=n       1-based; 0 or absent only counts
 *     MALLOC_FAIL_ALWAYS=1   every later one fails, too
 *     MALLOC_FAIL_REPORT=fd  at exit, the number of allocations is written there
 * Only allocations that pass through the symbol table are seen: those of the program and of its
 * libraries, not those inside libc. */
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *p, size_t size);

static atomic_long calls;
static long fail_at;
static bool always;
static int report_fd = -1;

static long number_of(const char *name, long otherwise)
{
    const char *text = getenv(name);
    return text && *text ? strtol(text, NULL, 10) : otherwise;
}

__attribute__((constructor)) static void begin(void)
{
    always = number_of("MALLOC_FAIL_ALWAYS", 0) != 0;
    report_fd = (int)number_of("MALLOC_FAIL_REPORT", -1);
    fail_at = number_of("MALLOC_FAIL_AT", 0);
    atomic_store(&calls, 0); /* what the loader did is not ours */
}

/* Without printf, which would allocate. */
__attribute__((destructor)) static void end(void)
{
    if (report_fd < 0)
        return;
    char text[24];
    size_t at = sizeof(text);
    unsigned long n = (unsigned long)atomic_load(&calls);
    do {
        text[--at] = (char)('0' + n % 10);
        n /= 10;
    } while (n);
    (void)!write(report_fd, text + at, sizeof(text) - at); /* the reader sees that it is missing */
}

static bool fails(void)
{
    long n = atomic_fetch_add(&calls, 1) + 1;
    if (fail_at <= 0 || (always ? n < fail_at : n != fail_at))
        return false;
    errno = ENOMEM;
    return true;
}

__attribute__((visibility("default"))) void *malloc(size_t size)
{
    return fails() ? NULL : __libc_malloc(size);
}

__attribute__((visibility("default"))) void *calloc(size_t count, size_t size)
{
    return fails() ? NULL : __libc_calloc(count, size);
}

__attribute__((visibility("default"))) void *realloc(void *p, size_t size)
{
    return fails() ? NULL : __libc_realloc(p, size);
}
