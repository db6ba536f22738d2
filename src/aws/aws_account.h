#pragma once
/* What the whole program has at AWS: what [aws] says, which is what other programs read from the
 * environment; and a key pair that is kept in a vault, which may come late and may change. There is
 * one, as there is one environment, and every chain of credentials looks into it (aws_chain.h).
 *
 * The vault is asked when a chain looks for credentials, never for a picture's sake alone: what it
 * said serves for ACCOUNT_VAULT_MS, and while it is away for as long as it takes. A service's word
 * that the pair is not known there is a reason to ask at once: so a pair that was changed in the
 * vault is noticed by the first refusal, and by whoever was refused. */

#include "aws/sigv4.h"
#include "base/err.h"

#define ACCOUNT_VAULT_MS (5 * 60 * 1000)
#define ACCOUNT_ROLE_MAX 2049

struct aws_vault_keys {
    char access_key[sizeof(((struct aws_credentials *)0)->access_key)]; /* "" = not known */
    char secret_key[sizeof(((struct aws_credentials *)0)->secret_key)]; /* secret */
    char role_arn[ACCOUNT_ROLE_MAX]; /* to assume with them; "" = none */
};

struct aws_vault {
    const char *name; /* for people: "AWS.snapshot-processor in 1Password"; NULL = there is none */
    bool meant;       /* somebody wrote it down: while it is away nothing else is looked for */
    struct aws_vault_keys known; /* as it said, or said the last time */
    const char *session_name;    /* for the role; NULL = as for others */
    /* Blocks. ERR_NEVER: it has none; other failures: it is away. May be called by any thread, by
     * one at a time. */
    int (*ask)(void *arg, int stop_fd, struct aws_vault_keys *ret, struct err *e);
    void (*changed)(void *arg, const struct aws_vault_keys *now); /* by the same thread; or NULL */
    void *arg;
    int64_t keep_ms; /* 0 = ACCOUNT_VAULT_MS */
};

struct aws_account { /* NULL or "" = not said: then the environment counts */
    const char *credentials_file, *config_file, *profile, *region, *ca_file;
    const char *access_key, *secret_key, *session_token;
    const char *role_arn; /* for who has no login of its own; "" = none */
    struct aws_vault vault;
};

/* Copied. Before the first chain is made and after the last is gone; NULL = none. */
void aws_account_set(const struct aws_account *a);

/* What was said, else what the environment says; NULL when neither does. Valid until the next set.
 */
const char *aws_account_credentials_file(void);
const char *aws_account_config_file(void);
const char *aws_account_profile(void);
const char *aws_account_ca_file(void); /* AWS_CA_BUNDLE; in place of the system's authorities */
const char *aws_account_region(void);  /* [aws], AWS_REGION, AWS_DEFAULT_REGION */
const char *aws_account_role(void);    /* [aws] alone */

/* Any thread. 0; -ENOKEY without a word: [aws] has none. The pair may be a half. */
int aws_account_keys(const char **ret_key, const char **ret_secret, const char **ret_token);

/* Any thread. 0; -ENOKEY: it has none, in words when there is one. Others: it is away, and has
 * nothing that it said before. With `doubted` what is known is not good any more. `ret_session` is
 * valid until the next set. */
int aws_account_vault(bool doubted, int stop_fd, struct aws_vault_keys *ret,
                      const char **ret_session, struct err *e);
bool aws_account_vault_meant(void);
const char *aws_account_vault_name(void); /* NULL = there is none */
