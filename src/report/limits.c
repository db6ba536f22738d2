#include "report/limits.h"

#include <stdbool.h>
#include <string.h>

#include "base/macros.h"
#include "base/parse.h"

#define OURS "error"
/* Of one header; a server that has more to say may say the rest the next time. */
#define LIMITS_MAX 64

static int64_t one_limit_s(const char *limit, size_t len);
static bool concerns_us(const char *categories, size_t len);

int64_t limits_pause_s(long status, const char *header, int64_t retry_after_s)
{
    int64_t pause_s = 0;
    const char *cursor = header && header[0] ? header : NULL, *limit;
    size_t len;
    for (int i = 0; i < LIMITS_MAX && cursor && parse_list_next(&cursor, &limit, &len); i++)
        pause_s = MAX(pause_s, one_limit_s(limit, len));
    if (status == 429 && !(header && header[0]))
        pause_s = retry_after_s >= 0 ? MAX(retry_after_s, (int64_t)1) : LIMITS_SECONDS_DEFAULT;
    /* Refused for a category that is not ours, or in words that we do not understand: the event
     * was not taken, so there is no going on at once. */
    if (status == 429 && pause_s == 0)
        pause_s = LIMITS_SECONDS_DEFAULT;
    return MIN(pause_s, (int64_t)LIMITS_SECONDS_MAX);
}

/* "60:error;transaction:key"; a limit that is not understood is none. */
static int64_t one_limit_s(const char *limit, size_t len)
{
    const char *colon = memchr(limit, ':', len);
    size_t number = colon ? (size_t)(colon - limit) : len;
    double seconds;
    if (parse_double(limit, number, 0, 1e9, &seconds) < 0)
        return 0;
    const char *categories = colon ? colon + 1 : limit + len;
    size_t left = (size_t)(limit + len - categories);
    const char *end = memchr(categories, ':', left);
    if (!concerns_us(categories, end ? (size_t)(end - categories) : left))
        return 0;
    int64_t whole = (int64_t)MIN(seconds, (double)LIMITS_SECONDS_MAX);
    return whole + (seconds > (double)whole);
}

static bool concerns_us(const char *categories, size_t len)
{
    if (len == 0)
        return true;
    while (len > 0) {
        const char *end = memchr(categories, ';', len);
        size_t one = end ? (size_t)(end - categories) : len;
        if (one == strlen(OURS) && memcmp(categories, OURS, one) == 0)
            return true;
        size_t used = MIN(one + 1, len);
        categories += used;
        len -= used;
    }
    return false;
}
