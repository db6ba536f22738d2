#pragma once
/* Passwords that were hashed, the one door to crypt(3); and comparing secrets. Any thread. */

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* What a configured password is. */
enum passwd_kind {
    PASSWD_TEXT,   /* the password itself */
    PASSWD_HASH,   /* "$y$...", "$6$...": crypt(5) made it, whole and of a kind that we trust */
    PASSWD_BROKEN, /* looks like a hash, and is cut or of a kind that this system does not know */
};
enum passwd_kind passwd_kind_of(const char *stored);

/* A new hash (yescrypt). -EINVAL: a password that cannot be hashed, longer than PASSWD_MAX. */
#define PASSWD_MAX 511 /* crypt(3)'s limit */
#define PASSWD_HASH_MAX 384
int passwd_hash(const char *password, char ret[PASSWD_HASH_MAX], struct err *e);
/* Whether `hash` is of this password. Takes as long as the hash is made for, some 10 to 100 ms, and
 * some megabytes meanwhile; false, too, when there is no memory. */
bool passwd_matches(const char *hash, const char *password);

/* Whether both are the same, in a time that tells nothing of where they differ. */
bool passwd_same(const void *a, const void *b, size_t size);
