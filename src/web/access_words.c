#include "web/access_words.h"

#include <errno.h>
#include <string.h>

#include "base/macros.h"
#include "base/parse.h"
#include "base/text.h"
#include "sys/passwd.h"

#define PASSWORD_MIN 10 /* characters; NIST SP 800-63B asks for 8, machines got faster */

const char *const access_role_names[ACCESS_ROLE_COUNT + 1] = {"nobody", "viewer", "admin", NULL};
static const char *const scope_names[] = {"read", "trigger", "push", "manage"};

enum access_role access_role_find(const char *name)
{
    for (int i = ACCESS_VIEWER; i < ACCESS_ROLE_COUNT; i++)
        if (strcmp(name, access_role_names[i]) == 0)
            return (enum access_role)i;
    return ACCESS_NOBODY;
}

int access_scopes_parse(const char *text, unsigned *ret, struct err *e)
{
    unsigned scopes = 0;
    const char *at = text, *item;
    size_t len;
    while (parse_list_next(&at, &item, &len)) {
        size_t i = 0;
        while (i < ARRAY_LEN(scope_names) &&
               (strlen(scope_names[i]) != len || strncmp(scope_names[i], item, len) != 0))
            i++;
        if (i == ARRAY_LEN(scope_names))
            return err_set(e, -EINVAL, ERR_NEVER,
                           "'%.*s' is no scope: right would be some of read, trigger, push, manage",
                           (int)MIN(len, (size_t)32), item);
        scopes |= 1U << i;
    }
    if (scopes == 0)
        return err_set(e, -EINVAL, ERR_NEVER,
                       "no scope: right would be some of read, trigger, push, manage");
    *ret = scopes;
    return 0;
}

const char *access_scope_name(unsigned bit)
{
    for (size_t i = 0; i < ARRAY_LEN(scope_names); i++)
        if (bit == 1U << i)
            return scope_names[i];
    return NULL;
}

const char *access_scopes_text(unsigned scopes, char buf[ACCESS_SCOPES_TEXT_MAX])
{
    size_t used = 0;
    buf[0] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(scope_names); i++) {
        if (!(scopes & 1U << i))
            continue;
        int n = text_format(buf + used, ACCESS_SCOPES_TEXT_MAX - used, "%s%s", used ? "," : "",
                            scope_names[i]);
        used += n > 0 ? (size_t)n : 0; /* all four fit */
    }
    return buf;
}

bool access_name_valid(const char *name)
{
    static const char fine[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._@-";
    size_t len = strlen(name);
    return len > 0 && len < ACCESS_NAME_MAX && strspn(name, fine) == len;
}

/* Those of lists of leaked passwords that have the length, and what examples say. */
static const char *const first_tried[] = {
    "1234567890",   "12345678910",       "0123456789",       "qwertyuiop",
    "password123",  "password1234",      "passwordpassword", "administrator",
    "changeme123",  "changemechangeme",  "letmein1234",      "iloveyou123",
    "snapshotd123", "snapshotprocessor", "1q2w3e4r5t",       "qwerty12345",
};

const char *access_password_fault(const char *name, const char *password)
{
    size_t len = strlen(password);
    if (len > PASSWD_MAX)
        return "a password has at most 511 bytes";
    size_t characters = 0;
    for (const char *p = password; *p; p++)
        characters += ((unsigned char)*p & 0xc0) != 0x80;
    if (characters < PASSWORD_MIN)
        return "a password has at least 10 characters: a few words are easier to remember than "
               "signs";
    if (strspn(password, (char[]){password[0], '\0'}) == len)
        return "the same character all along is tried first";
    if (name && text_equal_nocase(name, password))
        return "the name itself is tried first";
    for (size_t i = 0; i < ARRAY_LEN(first_tried); i++)
        if (text_equal_nocase(first_tried[i], password))
            return "this one stands in every list of passwords that are tried first";
    return NULL;
}
