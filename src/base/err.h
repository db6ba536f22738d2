#pragma once
/* The story of a failure: a code, whether and when a repeat may help, and a sentence.
 *
 * A function that touches the outside world takes `struct err *e` last. The birthplace calls
 * err_set() or err_errno(), each level that knows more calls err_prefix(), so that the reader gets
 * "camera 'porch': GET /snapshot.jpg: connection refused". All calls accept e == NULL. The struct
 * has a fixed buffer and never allocates; a text that is too long is cut with "...". */

#include <stdbool.h>

#include "base/macros.h"

#define ERR_TEXT_MAX 512

/* Chosen where the knowledge is (the HTTP layer knows 503 from 404), obeyed by the stages. */
enum err_retry {
    ERR_NEVER, /* the same attempt fails the same way: wrong password, not a picture */
    ERR_NOW,   /* a repeat at once may work: connection cut, truncated body */
    ERR_LATER, /* a repeat may work after a pause: busy, disk full, host down */
    ERR_RETRY_COUNT
};

struct err {
    int code; /* negative errno, 0 = no error */
    enum err_retry retry;
    char text[ERR_TEXT_MAX];
};

/* Each returns `code` (negative), so that a caller can `return err_set(...)`. */
int err_set(struct err *e, int code, enum err_retry retry, const char *fmt, ...) PRINTF_LIKE(4, 5);
/* Appends ": " and the system's words for `code`, and chooses the retry class from it:
 * no space, too many files, try again and their like are ERR_LATER, the rest ERR_NEVER. */
int err_errno(struct err *e, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Puts "<text>: " in front. Returns e->code (or -EIO when e is NULL: use the callee's r then). */
int err_prefix(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);
void err_clear(struct err *e);
const char *err_retry_name(enum err_retry retry); /* "never", "now", "later" */
enum err_retry err_retry_of_errno(int code);
