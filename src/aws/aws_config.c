#include "aws/aws_config.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"

#define FIELD(name) offsetof(struct aws_config, name)

static const struct cfg_key keys[] = {
    {.name = "config_file",
     .type = CFG_PATH,
     .offset = FIELD(config_file),
     .env = "AWS_CONFIG_FILE",
     .help = "AWS's file of profiles; empty = ~/.aws/config"},
    {.name = "credentials_file",
     .type = CFG_PATH,
     .offset = FIELD(credentials_file),
     .env = "AWS_SHARED_CREDENTIALS_FILE",
     .help = "AWS's file of keys; empty = ~/.aws/credentials"},
    {.name = "profile",
     .type = CFG_STRING,
     .offset = FIELD(profile),
     .env = "AWS_PROFILE",
     .help = "Profile in these files; empty = default"},
    {.name = "region",
     .type = CFG_STRING,
     .offset = FIELD(region),
     .env = "AWS_REGION",
     .path = "creds.aws_region",
     .validate = aws_config_check_region,
     .help = "Region of services that have none of their own; empty = AWS_DEFAULT_REGION, else the "
             "profile's"},
    {.name = "ca_file",
     .type = CFG_PATH,
     .offset = FIELD(ca_file),
     .env = "AWS_CA_BUNDLE",
     .help = "Authorities that may vouch for AWS; empty = the system's",
     .doc = "For a proxy that opens TLS, and for servers of one's own."},
    {.name = "access_key_id",
     .type = CFG_STRING,
     .offset = FIELD(access_key_id),
     .env = "AWS_ACCESS_KEY_ID",
     .path = "creds.aws_access_key_id",
     .help = "Access key for services that have none of their own",
     .doc = "Of what follows the first counts: the keys or the profile of a service's own section; "
            "this pair, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; the predecessor's item in "
            "1Password, unless a profile is named; the profile; a container's address; an "
            "instance's. See secrets.md for what becomes of a pair in 1Password that changes."},
    {.name = "secret_access_key",
     .type = CFG_SECRET,
     .offset = FIELD(secret_access_key),
     .env = "AWS_SECRET_ACCESS_KEY",
     .path = "creds.aws_secret_access_key",
     .help = "Secret key that belongs to it"},
    {.name = "session_token",
     .type = CFG_SECRET,
     .offset = FIELD(session_token),
     .env = "AWS_SESSION_TOKEN",
     .help = "Session token that belongs to both; empty = the pair is a lasting one"},
    {.name = "role_arn",
     .type = CFG_STRING,
     .offset = FIELD(role_arn),
     .path = "creds.aws_role_arn",
     .help = "Role to assume for services that have no login of their own; empty = none",
     .doc = "The one in 1Password is assumed with the keys that are in 1Password alone."},
};

const struct cfg_section aws_config_section = {
    .name = "aws",
    .struct_size = sizeof(struct aws_config),
    .keys = keys,
    .key_count = ARRAY_LEN(keys),
    .help = "Amazon Web Services: who we are there, for all services that say nothing else.",
};

void aws_config_check_login(const struct aws_login_config *c, const char *section,
                            const char *instance, struct cfg_faults *faults)
{
    if (!*c->access_key != !*c->secret_key)
        cfg_fault(faults, section, instance, *c->access_key ? "secret_key" : "access_key",
                  "is empty, and the other of the pair is not");
    if (*c->access_key && *c->profile)
        cfg_fault(faults, section, instance, "profile", "is of no use beside access_key");
}

struct aws_chain_options aws_config_login(const struct aws_login_config *c, const char *region)
{
    return (struct aws_chain_options){.profile = c->profile,
                                      .access_key = c->access_key,
                                      .secret_key = c->secret_key,
                                      .role_arn = c->role_arn,
                                      .region = region};
}

int aws_config_check_region(const void *value, char *why, size_t why_size)
{
    const char *name = *(const char *const *)value;
    size_t len = strlen(name);
    if (len <= 32 && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == len)
        return 0;
    (void)text_copy(why, why_size, "right would be a name such as eu-west-1"); /* fits */
    return -EINVAL;
}

int aws_config_check_endpoint(const void *value, char *why, size_t why_size)
{
    const char *url = *(const char *const *)value;
    const char *host = strstr(url, "://");
    if (!*url || ((text_starts_with(url, "https://") || text_starts_with(url, "http://")) &&
                  host[3] && !strpbrk(host + 3, "/?#@ ")))
        return 0;
    (void)text_copy(why, why_size, "right would be https://host or http://host:port"); /* fits */
    return -EINVAL;
}
