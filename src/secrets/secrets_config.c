#include "secrets/secrets_config.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>

#include "base/fsutil.h"
#include "base/text.h"

#define AT(field) .offset = offsetof(struct secrets_config, field)
#define CRED(field) .offset = offsetof(struct creds_values, field)

/* "t" is a word of the predecessor. */
static const char *const use_names[] = {"no", "yes", "t", NULL};

static int check_url(const void *value, char *why, size_t why_size)
{
    const char *url = *(const char *const *)value;
    if (!*url || text_starts_with(url, "http://") || text_starts_with(url, "https://"))
        return 0;
    (void)text_copy(why, why_size, "an address begins with http:// or https://"); /* fits */
    return -EINVAL;
}

static const struct cfg_key keys[] = {
    {.name = "connect_host",
     .type = CFG_STRING,
     AT(connect_host),
     .flags = CFG_EARLY | CFG_RELOAD,
     .env = "OP_CONNECT_HOST",
     .validate = check_url,
     .help = "Address of the Connect server, as http://op-connect:8080; empty = none"},
    {.name = "connect_token",
     .type = CFG_SECRET,
     AT(connect_token),
     .flags = CFG_EARLY | CFG_RELOAD,
     .env = "OP_CONNECT_TOKEN",
     .help = "Token for it; the file op_connect_token of secrets_dir goes before"},
    {.name = "vault",
     .type = CFG_STRING,
     AT(vault),
     .flags = CFG_EARLY | CFG_RELOAD,
     .env = "OP_VAULT",
     .help = "Id or name of the vault for paths that name none; the file op_vault of secrets_dir "
             "goes before",
     .doc = "When the token lets into one vault only, that is taken whatever this says, as with "
            "the predecessor."},
    {.name = "connect_vault",
     .type = CFG_STRING,
     AT(connect_vault),
     .flags = CFG_EARLY | CFG_RELOAD | CFG_COMPAT,
     .env = "OP_CONNECT_VAULT",
     .help = "Another name for vault, which goes before"},
    {.name = "use_connect",
     .type = CFG_CHOICE,
     AT(use_connect),
     .fallback = "yes",
     .choices = use_names,
     .flags = CFG_EARLY | CFG_RELOAD | CFG_COMPAT,
     .env = "CREDS_USE_CONNECT_CLIENT",
     .help = "Whether the Connect server is asked"},
    {.name = "service_account_token",
     .type = CFG_SECRET,
     AT(service_account_token),
     .flags = CFG_EARLY | CFG_COMPAT,
     .env = "OP_SERVICE_ACCOUNT_TOKEN",
     .help = "Accepted and not used: service accounts need a library of 1Password's own; run a "
             "Connect server"},
    {.name = "secrets_dir",
     .type = CFG_PATH,
     AT(secrets_dir),
     .fallback = "/run/secrets",
     .flags = CFG_EARLY | CFG_RELOAD,
     .help = "Folder with files op_connect_token and op_vault, as containers have it"},
    {.name = "timeout",
     .type = CFG_DURATION,
     AT(timeout_ms),
     .fallback = "5s",
     .min = 100,
     .max = 60e3,
     .bare_unit_ms = 1000,
     .flags = CFG_EARLY | CFG_RELOAD,
     .env = "OP_CONNECT_CLIENT_REQ_TIMEOUT",
     .help = "How long one answer of Connect may take"},
    {.name = "deadline",
     .type = CFG_DURATION,
     AT(deadline_ms),
     .fallback = "15s",
     .min = 100,
     .max = SECRETS_DEADLINE_MAX_MS,
     .bare_unit_ms = 1000,
     .flags = CFG_EARLY | CFG_RELOAD,
     .help = "How long all answers together may take at a start or reload"},
    {.name = "cache_max_age",
     .type = CFG_DURATION,
     AT(cache_max_age_ms),
     .fallback = "7d",
     .min = 0,
     .max = 366 * 86400e3,
     .flags = CFG_EARLY | CFG_RELOAD,
     .help = "How old values may be that a start takes from secrets.cache while Connect is away; 0 "
             "= there is no cache"},
    {.name = "flags_interval",
     .type = CFG_DURATION,
     AT(flags_interval_ms),
     .fallback = "60s",
     .min = 0,
     .max = 86400e3,
     .bare_unit_ms = 1000,
     .flags = CFG_EARLY | CFG_RELOAD,
     .help = "How often feature flags are looked up, at least 1s; 0 = at start and reload only"},
};

const struct cfg_section secrets_cfg_section = {
    .name = "onepassword",
    .struct_size = sizeof(struct secrets_config),
    .keys = keys,
    .key_count = sizeof(keys) / sizeof(keys[0]),
    .help = "1Password, by a Connect server: see doc/secrets.md.",
};

struct creds_values {
    const char *sentry_dsn, *cronitor, *google_client, *ftp_username, *ftp_password;
    const char *aws_access_key_id, *aws_secret_access_key, *aws_region, *aws_role_arn;
};

#define PLACE(key_name, place, more_flags, words)                                                  \
    {                                                                                              \
        .name = #key_name, .type = CFG_STRING, CRED(key_name), .fallback = place,                  \
        .flags = CFG_EARLY | CFG_COMPAT | CFG_RELOAD | (more_flags), .help = words                 \
    }

static const struct cfg_key creds_keys[] = {
    PLACE(sentry_dsn, "Sentry/__APP_NAME__/dsn", CFG_ENV_NAME, "DSN for Sentry"),
    PLACE(cronitor, "Cronitor/password", CFG_ENV_NAME, "Key for Cronitor"),
    PLACE(google_client, "Google/oath/client_secret", 0,
          "OAuth client for Google, a JSON document; spelt as the predecessor has it"),
    PLACE(ftp_username, "FTP/username", 0, "Name that cameras log in with"),
    PLACE(ftp_password, "FTP/password", 0, "Password that cameras log in with"),
    PLACE(aws_access_key_id, "AWS.__APP_NAME__/AWS_ACCESS_KEY_ID", 0, "Access key of AWS"),
    PLACE(aws_secret_access_key, "AWS.__APP_NAME__/AWS_SECRET_ACCESS_KEY", 0, "Its secret"),
    PLACE(aws_region, "AWS.__APP_NAME__/AWS_REGION", 0, "Region of AWS"),
    PLACE(aws_role_arn, "AWS.__APP_NAME__/AWS_ROLE_ARN", 0, "Role to assume with that key"),
};

const struct cfg_section creds_cfg_section = {
    .name = "creds",
    .struct_size = sizeof(struct creds_values),
    .keys = creds_keys,
    .key_count = sizeof(creds_keys) / sizeof(creds_keys[0]),
    .help = "The predecessor's places of secrets in 1Password: item/field or item/section/field. "
            "They are looked up when this section gives any of them, for keys that nothing else "
            "gives; `__APP_NAME__` stands for [app] app_name.",
};

/* ---- files ---- */

/* Is there a file that goes before what the key was given? Its text, stripped. */
static int read_file(const struct cfg *c, const char *key, const char *file, char *buf, size_t size,
                     bool *ret_found, struct err *e)
{
    const struct secrets_config *v = cfg_values(c, &secrets_cfg_section);
    AUTO(blob) text = NULL;
    char path[4096];

    *ret_found = false;
    if (!*v->secrets_dir ||
        cfg_key_origin(c, &secrets_cfg_section, NULL, key) > CFG_FROM_ENVIRONMENT)
        return 0;
    if (text_format(path, sizeof(path), "%s/%s", v->secrets_dir, file) < 0)
        return err_set(e, -ENAMETOOLONG, ERR_NEVER, "secrets_dir is too long");
    if (!fs_exists(AT_FDCWD, path))
        return 0;
    int r = fs_read_blob(AT_FDCWD, path, size - 1, &text, e);
    if (r < 0)
        return r;
    const char *s = (const char *)text->data;
    size_t len = text->size;
    while (len > 0 && strchr(" \t\r\n", s[len - 1]))
        len--;
    while (len > 0 && strchr(" \t\r\n", *s))
        s++, len--;
    if (memchr(s, '\0', len))
        return err_set(e, -EINVAL, ERR_NEVER, "%s is no text", path);
    memcpy(buf, s, len);
    buf[len] = '\0';
    *ret_found = len > 0;
    return 0;
}

int secrets_access(const struct cfg *c, struct secrets_access *ret, struct err *e)
{
    const struct secrets_config *v = cfg_values(c, &secrets_cfg_section);
    bool token_found, vault_found;

    ret->host = v->use_connect == SECRETS_USE_NO ? "" : v->connect_host;
    int r = read_file(c, "connect_token", "op_connect_token", ret->token_buf,
                      sizeof(ret->token_buf), &token_found, e);
    if (r == 0)
        r = read_file(c, "vault", "op_vault", ret->vault_buf, sizeof(ret->vault_buf), &vault_found,
                      e);
    if (r < 0)
        return r;
    ret->token = token_found ? ret->token_buf : v->connect_token;
    ret->vault = vault_found ? ret->vault_buf : *v->vault ? v->vault : v->connect_vault;
    return 0;
}
