#include "secrets/secret_path.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/text.h"

enum { PARTS_MAX = 4, ID_LENGTH = 26 };

static int split(char *text, const char **parts)
{
    int count = 0;

    for (char *at = text; at; count++) {
        if (count == PARTS_MAX)
            return -1;
        parts[count] = at;
        at = strchr(at, '/');
        if (at)
            *at++ = '\0';
        if (!*parts[count])
            return -1;
    }
    return count;
}

static int take_reference(struct secret_path *p, const char **parts, int count, struct err *e)
{
    if (count < 3)
        return err_set(e, -EINVAL, ERR_NEVER,
                       "a reference is written op://vault/item/field or "
                       "op://vault/item/section/field; names with a slash are given by their ids");
    p->vault = parts[0];
    p->item = parts[1];
    p->section = count == 4 ? parts[2] : NULL;
    p->field = parts[count - 1];
    if (strchr(p->field, '?'))
        return err_set(e, -EINVAL, ERR_NEVER,
                       "what stands behind ? in a reference (one-time passwords, key formats) is "
                       "not known here: name a plain field");
    return 0;
}

int secret_path_parse(const char *text, struct secret_path *ret, struct err *e)
{
    const char *parts[PARTS_MAX];

    *ret = (struct secret_path){.reference = text_starts_with(text, SECRET_REFERENCE)};
    if (!text_copy(ret->text, sizeof(ret->text),
                   text + (ret->reference ? strlen(SECRET_REFERENCE) : 0)))
        return err_set(e, -EINVAL, ERR_NEVER, "longer than %d bytes", SECRET_PATH_MAX - 1);
    for (const char *c = ret->text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return err_set(e, -EINVAL, ERR_NEVER, "holds a control character");
    int count = split(ret->text, parts);
    if (ret->reference)
        return take_reference(ret, parts, count, e);
    if (count < 1 || count > 3)
        return err_set(e, -EINVAL, ERR_NEVER,
                       "a path is written item, item/field or item/section/field");
    ret->item = parts[0];
    ret->section = count == 3 ? parts[1] : NULL;
    ret->field = count > 1 ? parts[count - 1] : NULL;
    return 0;
}

bool secret_is_id(const char *name)
{
    return strlen(name) == ID_LENGTH &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789") == ID_LENGTH;
}
