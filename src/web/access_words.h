#pragma once
/* The words of access: roles, scopes, and which names and passwords may be. Any thread. */

#include <stdbool.h>

#include "base/err.h"

#define ACCESS_NAME_MAX 65 /* of a user or token, with its NUL */

enum access_role { ACCESS_NOBODY, ACCESS_VIEWER, ACCESS_ADMIN, ACCESS_ROLE_COUNT };
extern const char *const access_role_names[ACCESS_ROLE_COUNT + 1]; /* NULL behind the last */
/* ACCESS_NOBODY when it is no role that one can have. */
enum access_role access_role_find(const char *name);

enum access_scope {
    ACCESS_READ = 1 << 0,    /* what a viewer sees */
    ACCESS_TRIGGER = 1 << 1, /* ask cameras for pictures */
    ACCESS_PUSH = 1 << 2,    /* bring pictures */
    ACCESS_MANAGE = 1 << 3,  /* stars, deletion, cameras on and off, the configuration's view */
    ACCESS_SCOPES_ALL = 15
};
/* "read,push" to bits. -EINVAL: which word is wrong, and what would be right. */
int access_scopes_parse(const char *text, unsigned *ret, struct err *e);
#define ACCESS_SCOPES_TEXT_MAX 40
const char *access_scopes_text(unsigned scopes, char buf[ACCESS_SCOPES_TEXT_MAX]);
const char *access_scope_name(unsigned bit); /* of a single one; NULL = no scope */

/* Letters, digits and ". _ @ -", 1 to 64: a name is shown in logs and stands in addresses. */
bool access_name_valid(const char *name);
/* NULL, or why this password is none: too short, the name itself, one of those tried first. */
const char *access_password_fault(const char *name, const char *password);
