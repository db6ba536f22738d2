#include "ftp/ftp_path.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "base/macros.h"

/* The result is built part by part in the caller's buffer; `..` takes the last part off again. Each
 * step leaves a normal path there, so there is no spelling that a later pass would have to find. */

struct builder {
    char *path;
    size_t len; /* 0 = "/" */
    int depth;
};

static int check_bytes(const char *text, size_t len);
static int add_parts(struct builder *b, const char *text, size_t len);
static int add_part(struct builder *b, const char *part, size_t len);

int ftp_path_resolve(const char *cwd, const char *argument, size_t len, char ret[FTP_PATH_MAX])
{
    int r = check_bytes(argument, len);
    if (r < 0)
        return r;
    while (len > 0 && *argument == ' ')
        argument++, len--;

    struct builder b = {.path = ret};
    if (len == 0 || (*argument != '/' && *argument != '\\')) {
        r = add_parts(&b, cwd, strlen(cwd));
        if (r < 0)
            return r;
    }
    r = add_parts(&b, argument, len);
    if (r < 0)
        return r;
    if (b.len == 0)
        ret[b.len++] = '/';
    ret[b.len] = '\0';
    return 0;
}

const char *ftp_path_relative(const char *path)
{
    return path[1] ? path + 1 : ".";
}

static int add_parts(struct builder *b, const char *text, size_t len)
{
    const char *end = text + len;
    while (text < end) {
        const char *part = text;
        while (text < end && *text != '/' && *text != '\\')
            text++;
        int r = add_part(b, part, (size_t)(text - part));
        if (r < 0)
            return r;
        if (text < end)
            text++;
    }
    return 0;
}

static int add_part(struct builder *b, const char *part, size_t len)
{
    while (len > 0 && part[len - 1] == ' ')
        len--;
    if (len == 0 || (len == 1 && part[0] == '.'))
        return 0;
    if (len == 2 && part[0] == '.' && part[1] == '.') {
        if (b->len > 0) {
            b->len = (size_t)((char *)memrchr(b->path, '/', b->len) - b->path);
            b->depth--;
        }
        return 0;
    }
    if (len > FTP_NAME_MAX || b->depth == FTP_DEPTH_MAX || b->len + 1 + len >= FTP_PATH_MAX)
        return -ENAMETOOLONG;
    b->path[b->len] = '/';
    memcpy(b->path + b->len + 1, part, len);
    b->path[b->len + 1 + len] = '\0';
    if (push_name_is_hidden(b->path + b->len + 1))
        return -EINVAL;
    b->len += 1 + len;
    b->depth++;
    return 0;
}

/* The character that an overlong UTF-8 sequence spells, -1 when there is none at this place. */
static int overlong(const char *text, size_t len)
{
    const uint8_t *s = (const uint8_t *)text;
    size_t more = 0;
    if ((s[0] & 0xfe) == 0xc0)
        more = 1;
    else if (s[0] == 0xe0)
        more = 2;
    else if (s[0] == 0xf0)
        more = 3;
    if (more == 0 || len <= more)
        return -1;
    int c = more == 1 ? s[0] & 0x1f : 0;
    for (size_t i = 1; i <= more; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return -1;
        c = c << 6 | (s[i] & 0x3f);
    }
    return c;
}

/* Names come in UTF-8, and in the code page of old firmware (Latin-1, GBK), which is no valid UTF-8
 * but names a picture well enough; so only those overlong forms are refused by which somebody
 * smuggles a byte that means something here. */
static int check_bytes(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        uint8_t c = (uint8_t)text[i];
        if (c < 0x20 || c == 0x7f)
            return -EINVAL;
        int smuggled = c < 0xc0 ? -1 : overlong(text + i, len - i);
        if (smuggled < 0 || smuggled > 0x7f)
            continue;
        if (smuggled < 0x20 || smuggled == 0x7f || strchr("./\\", smuggled))
            return -EINVAL;
    }
    return 0;
}
