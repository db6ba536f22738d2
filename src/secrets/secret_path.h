#pragma once
/* Where a secret is in 1Password. Two ways to write it:
 *
 *   op://vault/item/[section/]field   1Password's own references
 *   item, item/field, item/section/field   the predecessor's paths, in the usual vault
 *
 * Names may be ids. Pure. */

#include <stdbool.h>

#include "base/err.h"

#define SECRET_PATH_MAX 512 /* bytes of the whole; a title has some dozen */
#define SECRET_REFERENCE "op://"

struct secret_path {
    bool reference;             /* written as op://...: names must be unambiguous */
    const char *vault;          /* NULL = the usual one */
    const char *item;           /* never NULL */
    const char *section;        /* NULL = none named */
    const char *field;          /* NULL = the only one */
    char text[SECRET_PATH_MAX]; /* holds the names: a copy of this struct must be parsed anew */
};

/* -EINVAL: in words what would be right. */
int secret_path_parse(const char *text, struct secret_path *ret, struct err *e);
/* 26 of [a-z0-9]: an id, everything else is a title (so do the vendor's own clients). */
bool secret_is_id(const char *name);
