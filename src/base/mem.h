#pragma once
/* Memory in two manners.
 *
 * Small things of a size that we chose: x-functions. They never return NULL; without memory the
 * process says so and ends, the service manager restarts it and the ledger resumes.
 * Everything whose size comes from outside: mem_try_alloc() with a maximum; NULL is an ordinary
 * answer (-ENOMEM). Tests make the n-th of these fail with mem_fail_at(). */

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

void *xmalloc(size_t size) MUST_USE;
void *xcalloc(size_t count, size_t size) MUST_USE;
void *xrealloc(void *p, size_t size) MUST_USE;
void *xmemdup(const void *p, size_t size) MUST_USE;
char *xstrdup(const char *s) MUST_USE;              /* NULL gives NULL */
char *xstrndup(const char *s, size_t len) MUST_USE; /* always terminated */
char *xasprintf(const char *fmt, ...) PRINTF_LIKE(1, 2) MUST_USE;

/* count * size bytes, uninitialised; NULL when the product overflows, exceeds `max` bytes, or the
 * system refuses. Free with free(). */
void *mem_try_alloc(size_t count, size_t size, size_t max) MUST_USE;
void *mem_try_realloc(void *p, size_t count, size_t size, size_t max) MUST_USE;

/* Gives back what only starting needed: freed heap (optimising a model leaves tens of megabytes),
 * and the pages of the program and its libraries that nobody writes to (half of a runtime's code is
 * for loading); what is needed of them comes back from the file. For when a long-lived process is
 * ready.
 */
void mem_trim(void);

/* Tests: the n-th (1-based) mem_try_* call from now on in this thread returns NULL; 0 switches
 * off. mem_try_count() tells how many were made since the last mem_fail_at(). */
void mem_fail_at(uint64_t n);
uint64_t mem_try_count(void);
