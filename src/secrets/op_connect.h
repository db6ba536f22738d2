#pragma once
/* A client of 1Password's Connect server ("1Password Connect Server API reference"). It only reads.
 * One thread uses it, and waits; all of its requests together take no longer than its deadline.
 *
 * Failures are of two kinds, told by the retry class. ERR_NEVER: Connect has answered, and what was
 * asked for is not there or not unique. All else: Connect is away, in the wide sense, down, slow,
 * behind a proxy that answers for it, or it refuses our token; then every later call says the same
 * at once. No error text holds the token or any value. */

#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/macros.h"
#include "sys/json.h"

struct op_connect_options { /* copied */
    const char *host;       /* http://host:port or https://host */
    const char *token;
    const char *vault;   /* id or name of the usual one; "" = the only one that is visible */
    int64_t timeout_ms;  /* of one request */
    int64_t deadline_ms; /* of all of them, from now */
    int stop_fd;         /* readable ends what runs with -ECANCELED; -1 = none */
};

struct op_connect;
int op_connect_new(const struct op_connect_options *o, struct op_connect **ret, struct err *e);
void op_connect_free(struct op_connect *c);
DEFINE_AUTO(op_connect, op_connect_free)

/* The item with all of its fields; borrowed, and asked for once however often it is wanted. `vault`
 * (id or name) NULL: the usual one. -ENOENT: the text lists the vaults or items that there are;
 * -EEXIST: several have the title. */
int op_connect_item(struct op_connect *c, const char *vault, const char *item, const json_t **ret,
                    struct err *e);
/* Requests made so far. */
int op_connect_requests(const struct op_connect *c);
