#pragma once
/* The last good values, in a file that only this machine can read: a start works while 1Password is
 * away. Sealed (sys/seal.h) with a key that is one of
 *
 *   $CREDENTIALS_DIRECTORY/snapshotd.secrets-key   a systemd credential, which may live in a TPM
 *   secrets.key beside the file, mode 0600         made at first use
 *
 * The second keeps values out of backups of single files, logs and casual looks, and not from who
 * can read all of the folder. One thread. */

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/macros.h"

#define SECRET_CREDENTIAL "snapshotd.secrets-key"

struct secret_cache;
/* An empty one. */
struct secret_cache *secret_cache_new(void);
void secret_cache_free(struct secret_cache *c); /* wipes */
DEFINE_AUTO(secret_cache, secret_cache_free)

/* -ENOENT: there is none; -EBADMSG: damaged, or made with another key; -EACCES and others: in
 * words. Nothing is ever made. `c` stays as it was. */
int secret_cache_read(struct secret_cache *c, const char *folder, const char *credentials,
                      struct err *e);
/* Atomically, mode 0600; makes folder and key when they are missing. `credentials` is
 * $CREDENTIALS_DIRECTORY, NULL = none. */
int secret_cache_write(const struct secret_cache *c, const char *folder, const char *credentials,
                       struct err *e);

void secret_cache_remove(const char *folder); /* the file, when there is one */

/* Replaces; both are copied. `at` = when Connect said so. */
void secret_cache_put(struct secret_cache *c, const char *name, const char *value,
                      struct wall_time at);
/* NULL = not there. Borrowed until the next put. */
const char *secret_cache_get(const struct secret_cache *c, const char *name,
                             struct wall_time *ret_at);
