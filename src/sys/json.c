#include "sys/json.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"

int js_parse(const char *text, size_t len, size_t max, json_t **ret, struct err *e)
{
    if (len > max)
        return err_set(e, -EFBIG, ERR_NEVER, "JSON of %zu bytes, the limit is %zu", len, max);
    json_error_t je;
    json_t *j = json_loadb(text, len, JSON_REJECT_DUPLICATES, &je);
    if (!j) {
        char words[2 * JSON_ERROR_TEXT_LENGTH]; /* it quotes the foreign text */
        return err_set(e, -EINVAL, ERR_NEVER, "not JSON: line %d, column %d: %s", je.line,
                       je.column, text_printable(je.text, strlen(je.text), words, sizeof(words)));
    }
    *ret = j;
    return 0;
}

static int append(const char *buffer, size_t size, void *out)
{
    return dynbuf_append(out, buffer, size);
}

int js_write(const json_t *j, struct dynbuf *out)
{
    int r = json_dump_callback(j, append, out, JSON_COMPACT | JSON_REAL_PRECISION(9));
    return r < 0 ? -ENOSPC : 0;
}

char *js_text(const json_t *j)
{
    char *text = json_dumps(j, JSON_COMPACT | JSON_REAL_PRECISION(9));
    return text ? text : xstrdup("null");
}

json_t *js_string(const char *s)
{
    json_t *j = json_string(s);
    if (j)
        return j;
    AUTO_FREE char *copy = xstrdup(s);
    size_t left = strlen(copy);
    for (char *p = copy; left;) {
        size_t n = text_utf8_length(p, left);
        if (n == 0) {
            *p = '?';
            n = 1;
        }
        p += n;
        left -= n;
    }
    return json_string(copy);
}
