#pragma once
/* The rows of [onepassword], and of [creds], the predecessor's places of secrets. All are early
 * keys: references are resolved with their help. */

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "cfg/cfg.h"

struct secrets_config {
    int use_connect; /* enum secrets_use */
    const char *connect_host, *connect_token;
    const char *vault, *connect_vault; /* the second is another name for the first */
    const char *service_account_token; /* accepted; nobody can speak with it but the vendor */
    const char *secrets_dir;           /* "/run/secrets"; "" = none */
    int64_t timeout_ms, deadline_ms;
    int64_t cache_max_age_ms;  /* 0 = no cache */
    int64_t flags_interval_ms; /* 0 = flags are asked for when the configuration is read only */
};
enum secrets_use { SECRETS_USE_NO, SECRETS_USE_YES, SECRETS_USE_T, SECRETS_USE_COUNT };

/* No start or reload waits longer for secrets. */
#define SECRETS_DEADLINE_MAX_MS 120000

extern const struct cfg_section secrets_cfg_section, creds_cfg_section;

/* What counts: files of secrets_dir go before what came by environment or file, and are stripped.
 * Strings are `buf`'s or the cfg's. */
#define SECRETS_TOKEN_MAX 4096 /* Connect's tokens have some 700 bytes */
struct secrets_access {
    const char *host, *token, *vault; /* host "" = Connect is not used */
    char token_buf[SECRETS_TOKEN_MAX], vault_buf[256];
};
/* -EINVAL and others: a file is there and no secret. */
int secrets_access(const struct cfg *c, struct secrets_access *ret, struct err *e);
