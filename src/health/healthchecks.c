#include <errno.h>
#include <string.h>

#include "base/macros.h"
#include "base/text.h"
#include "health/ping.h"

const char *const ping_answer_names[PING_ANSWER_COUNT] = {"counted", "ignored", "slower", "again",
                                                          "refused"};

int healthchecks_address(const char *base, enum ping_kind kind, struct dynbuf *ret)
{
    static const char *const ends[PING_KIND_COUNT] = {
        [PING_START] = "/start", [PING_WELL] = "", [PING_FAIL] = "/fail", [PING_STOPPED] = "/log"};
    if (!text_starts_with(base, "https://") && !text_starts_with(base, "http://"))
        return -EINVAL;
    size_t path = strcspn(base, "?#"), query = path + strcspn(base + path, "#");
    size_t end = path;
    while (end > 0 && base[end - 1] == '/')
        end--;
    int r = dynbuf_append(ret, base, end);
    if (r == 0)
        r = dynbuf_puts(ret, ends[kind]);
    if (r == 0)
        r = dynbuf_append(ret, base + path, query - path);
    return r;
}

enum ping_answer healthchecks_answer(long status, const char *body, size_t size)
{
    if (status == 429)
        return PING_SLOWER;
    if (status >= 500)
        return PING_AGAIN;
    if (status < 200 || status > 299)
        return PING_REFUSED;
    char text[64];
    size_t len = MIN(size, sizeof(text) - 1);
    memcpy(text, body ? body : "", len);
    text[len] = '\0';
    if (strstr(text, "(not found)"))
        return PING_IGNORED;
    return strstr(text, "(rate limited)") ? PING_SLOWER : PING_COUNTED;
}
