#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

static void cut_with_dots(char *text, size_t size, int wanted)
{
    if (wanted >= 0 && (size_t)wanted >= size)
        memcpy(text + text_cut_length(text, size - 4), "...", 4);
}

int err_set(struct err *e, int code, enum err_retry retry, const char *fmt, ...)
{
    if (!e)
        return code;
    e->code = code;
    e->retry = retry;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(e->text, sizeof(e->text), fmt, ap);
    va_end(ap);
    cut_with_dots(e->text, sizeof(e->text), n);
    return code;
}

int err_errno(struct err *e, int code, const char *fmt, ...)
{
    if (!e)
        return code;
    e->code = code;
    e->retry = err_retry_of_errno(code);
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(e->text, sizeof(e->text), fmt, ap);
    va_end(ap);
    cut_with_dots(e->text, sizeof(e->text), n);
    size_t used = strlen(e->text);
    n = snprintf(e->text + used, sizeof(e->text) - used, ": %s", strerror(-code));
    cut_with_dots(e->text, sizeof(e->text), (int)used + n);
    return code;
}

int err_prefix(struct err *e, const char *fmt, ...)
{
    if (!e)
        return -EIO;
    char text[ERR_TEXT_MAX];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    cut_with_dots(text, sizeof(text), n);
    size_t used = strlen(text);
    n = snprintf(text + used, sizeof(text) - used, ": %s", e->text);
    cut_with_dots(text, sizeof(text), (int)used + n);
    memcpy(e->text, text, sizeof(text));
    return e->code;
}

void err_clear(struct err *e)
{
    if (!e)
        return;
    e->code = 0;
    e->retry = ERR_NEVER;
    e->text[0] = '\0';
}

const char *err_retry_name(enum err_retry retry)
{
    static const char *const names[ERR_RETRY_COUNT] = {"never", "now", "later"};
    return names[retry];
}

enum err_retry err_retry_of_errno(int code)
{
    switch (-code) {
    case ENOSPC:
    case EDQUOT:
    case ENOMEM:
    case ENFILE:
    case EMFILE:
    case EAGAIN:
    case EBUSY:
    case ETIMEDOUT:
    case ECONNREFUSED:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EIO:
        return ERR_LATER;
    case EINTR:
    case ECONNRESET:
    case EPIPE:
        return ERR_NOW;
    default:
        return ERR_NEVER;
    }
}
