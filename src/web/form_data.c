#include "web/form_data.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/macros.h"
#include "base/parse.h"
#include "base/text.h"

#define BOUNDARY_MAX 70                   /* RFC 2046, 5.1.1 */
#define PART_HEADERS_MAX 4096             /* bytes; browsers send about 200 */
#define PARTS_MAX 32                      /* looked at before the file */
#define DELIMITER_SIZE (BOUNDARY_MAX + 5) /* with CR LF, two dashes and its end */

/* The value of a parameter ("name", "boundary") of a header: quoted or a token. False when it has
 * none, or one that is too long. */
static bool parameter(const char *header, size_t len, const char *name, char *ret, size_t size);
static int delimiter_of(const char *content_type, char ret[DELIMITER_SIZE], struct err *e);
static bool part_header(const char *headers, size_t len, const char *name, const char **ret,
                        size_t *ret_len);

int form_data_find(const char *content_type, const void *body, size_t size, const char *field,
                   struct form_file *ret, struct err *e)
{
    char delimiter[DELIMITER_SIZE];
    int r = delimiter_of(content_type, delimiter, e);
    if (r < 0)
        return r;
    size_t length = strlen(delimiter);
    const char *at = body, *end = at + size;
    /* The first one has no line before it, or a preamble that nobody reads. */
    bool first = size >= length - 2 && memcmp(at, delimiter + 2, length - 2) == 0;
    const char *found = first ? NULL : memmem(at, size, delimiter, length);
    for (int i = 0; (first || found) && i < PARTS_MAX; i++) {
        at = first ? at + length - 2 : found + length;
        first = false;
        if (end - at >= 2 && memcmp(at, "--", 2) == 0)
            break;
        while (at < end && (*at == ' ' || *at == '\t')) /* padding of transports */
            at++;
        if (end - at < 2 || memcmp(at, "\r\n", 2) != 0)
            return err_set(e, -EINVAL, ERR_NEVER, "a boundary of the form has no line end");
        const char *headers = at; /* with the line end before them */
        const char *blank =
            memmem(headers, MIN((size_t)(end - headers), (size_t)PART_HEADERS_MAX), "\r\n\r\n", 4);
        if (!blank)
            return err_set(e, -EINVAL, ERR_NEVER, "a part of the form has no end of its headers");
        const char *content = blank + 4;
        found = memmem(content, (size_t)(end - content), delimiter, length);
        if (!found)
            return err_set(e, -EINVAL, ERR_NEVER, "the last part of the form does not end");
        const char *disposition;
        size_t disposition_len;
        char name[128];
        if (!part_header(headers, (size_t)(blank - headers), "Content-Disposition", &disposition,
                         &disposition_len) ||
            !parameter(disposition, disposition_len, "name", name, sizeof(name)) ||
            strcmp(name, field) != 0)
            continue;
        *ret = (struct form_file){.at = (size_t)(content - (const char *)body),
                                  .size = (size_t)(found - content)};
        if (!parameter(disposition, disposition_len, "filename", ret->name, sizeof(ret->name)))
            ret->name[0] = '\0';
        return 0;
    }
    return err_set(e, -ENOENT, ERR_NEVER, "the form has no field '%s'", field);
}

static int delimiter_of(const char *content_type, char ret[DELIMITER_SIZE], struct err *e)
{
    char boundary[BOUNDARY_MAX + 1];
    if (!parameter(content_type, strlen(content_type), "boundary", boundary, sizeof(boundary)) ||
        !boundary[0])
        return err_set(e, -EINVAL, ERR_NEVER,
                       "the Content-Type of the form has no boundary of 1 to %d characters",
                       BOUNDARY_MAX);
    (void)text_format(ret, DELIMITER_SIZE, "\r\n--%s", boundary); /* fits */
    return 0;
}

static bool parameter(const char *header, size_t len, const char *name, char *ret, size_t size)
{
    const char *end = header + len;
    const char *at = memchr(header, ';', len);
    while (at) {
        at++;
        while (at < end && (*at == ' ' || *at == '\t'))
            at++;
        const char *key = at;
        while (at < end && *at != '=' && *at != ';')
            at++;
        bool ours = (size_t)(at - key) == strlen(name) && strncasecmp(key, name, strlen(name)) == 0;
        size_t n = 0;
        if (at < end && *at == '=') {
            at++;
            bool quoted = at < end && *at == '"';
            at += quoted;
            /* Browsers escape a quote as %22; others, and old ones, by a backslash. */
            while (at < end && (quoted ? *at != '"' : *at != ';')) {
                if (quoted && *at == '\\' && end - at > 1 && at[1] == '"')
                    at++;
                if (ours && n + 1 < size)
                    ret[n] = *at;
                n++;
                at++;
            }
        }
        if (ours) {
            while (n > 0 && n < size && ret[n - 1] == ' ')
                n--;
            if (n >= size || memchr(ret, '\0', n))
                return false;
            ret[n] = '\0';
            return true;
        }
        at = at < end ? memchr(at, ';', (size_t)(end - at)) : NULL;
    }
    return false;
}

static bool part_header(const char *headers, size_t len, const char *name, const char **ret,
                        size_t *ret_len)
{
    const char *at = headers, *end = headers + len;
    while (at && end - at > 2) {
        at += 2;
        const char *line_end = memmem(at, (size_t)(end - at), "\r\n", 2);
        size_t line = line_end ? (size_t)(line_end - at) : (size_t)(end - at);
        size_t name_len = strlen(name);
        if (line > name_len && strncasecmp(at, name, name_len) == 0 && at[name_len] == ':') {
            *ret = at + name_len + 1;
            *ret_len = line - name_len - 1;
            return true;
        }
        at = line_end;
    }
    return false;
}
