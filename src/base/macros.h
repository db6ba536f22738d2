#pragma once
/* Small words that every file uses: scope-bound cleanup, hand-over, attributes. */

#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#define MUST_USE __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, first) __attribute__((format(printf, fmt, first)))
#define UNUSED __attribute__((unused))
#define NORETURN __attribute__((noreturn))

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#define MIN(a, b)                                                                                  \
    ({                                                                                             \
        __typeof__(a) min_a_ = (a);                                                                \
        __typeof__(b) min_b_ = (b);                                                                \
        min_a_ < min_b_ ? min_a_ : min_b_;                                                         \
    })
#define MAX(a, b)                                                                                  \
    ({                                                                                             \
        __typeof__(a) max_a_ = (a);                                                                \
        __typeof__(b) max_b_ = (b);                                                                \
        max_a_ > max_b_ ? max_a_ : max_b_;                                                         \
    })

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* AUTO(blob) b = NULL; frees b with blob_free_auto() when the scope ends. A module offers it with
 * DEFINE_AUTO(blob, blob_unref) after its destructor; destructors accept NULL. */
#define AUTO(name) __attribute__((cleanup(name##_free_auto), unused)) struct name *
#define DEFINE_AUTO(name, destructor)                                                              \
    static inline UNUSED void name##_free_auto(struct name **p)                                    \
    {                                                                                              \
        destructor(*p);                                                                            \
    }

/* For embedded values: AUTO_DONE(dynbuf) buf; calls dynbuf_done(&buf). */
#define AUTO_DONE(name) __attribute__((cleanup(name##_done), unused)) struct name

/* AUTO_FREE char *s: free() at the end of the scope. */
#define AUTO_FREE __attribute__((cleanup(free_auto_), unused))
static inline UNUSED void free_auto_(void *p)
{
    void *owned = *(void **)p;
    free(owned);
}

/* AUTO_CLOSE int fd = -1: close() at the end of the scope. */
#define AUTO_CLOSE __attribute__((cleanup(close_auto_), unused))
static inline UNUSED void close_auto_(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd); /* nothing written through it is still ours to lose */
}

/* Hands ownership over: yields the pointer and nulls the variable. */
#define STEAL(p)                                                                                   \
    ({                                                                                             \
        __typeof__(p) steal_p_ = (p);                                                              \
        (p) = NULL;                                                                                \
        steal_p_;                                                                                  \
    })
#define STEAL_FD(fd)                                                                               \
    ({                                                                                             \
        int steal_fd_ = (fd);                                                                      \
        (fd) = -1;                                                                                 \
        steal_fd_;                                                                                 \
    })
