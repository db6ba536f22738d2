#pragma once
/* What the sections of all services of AWS have alike: the rows of who logs in, and checks. Pure.
 *
 *     struct s3_config { ... struct aws_login_config login; ... };
 *     static const struct cfg_key keys[] = { ..., AWS_LOGIN_KEYS(struct s3_config),
 *                                            AWS_ROLE_KEY(struct s3_config), ... };
 */

#include <stddef.h>

#include "aws/aws_chain.h"
#include "cfg/cfg.h"

struct aws_login_config {
    const char *profile, *access_key, *secret_key, *role_arn;
};

/* Of a struct that has `struct aws_login_config login`. */
#define AWS_LOGIN_KEYS(STRUCT)                                                                     \
    {.name = "access_key",                                                                         \
     .type = CFG_STRING,                                                                           \
     .offset = offsetof(STRUCT, login.access_key),                                                 \
     .help = "Access key; empty = from where other AWS programs have theirs",                      \
     .doc = "That is, in this order: [aws] and the variables AWS_ACCESS_KEY_ID and "               \
            "AWS_SECRET_ACCESS_KEY, the predecessor's item in 1Password, the profile in ~/.aws "   \
            "(which may assume a role), a container's, an instance's."},                           \
        {.name = "secret_key",                                                                     \
         .type = CFG_SECRET,                                                                       \
         .offset = offsetof(STRUCT, login.secret_key),                                             \
         .help = "Secret key that belongs to access_key"},                                         \
    {                                                                                              \
        .name = "profile", .type = CFG_STRING, .offset = offsetof(STRUCT, login.profile),          \
        .help =                                                                                    \
            "Profile in ~/.aws/credentials or ~/.aws/config; empty = AWS_PROFILE, else default"    \
    }

#define AWS_ROLE_KEY(STRUCT)                                                                       \
    {                                                                                              \
        .name = "role_arn", .type = CFG_STRING, .offset = offsetof(STRUCT, login.role_arn),        \
        .help = "Role to assume with these credentials; empty = none"                              \
    }

/* [aws]: for all services, in place of what other programs read from the environment. */
struct aws_config {
    const char *config_file, *credentials_file, *profile, *region, *ca_file;
    const char *access_key_id, *secret_access_key, *session_token, *role_arn;
};
extern const struct cfg_section aws_config_section;

/* For cfg_section.check: half a key pair, and what cannot be beside it. */
void aws_config_check_login(const struct aws_login_config *c, const char *section,
                            const char *instance, struct cfg_faults *faults);
/* Strings are borrowed from the configuration. */
struct aws_chain_options aws_config_login(const struct aws_login_config *c, const char *region);

/* Each of these has the form of cfg_key.validate, for a text: 0, or -EINVAL and what would be
 * right.
 *
 * "" or a name such as eu-west-1: it becomes part of a host's. */
int aws_config_check_region(const void *value, char *why, size_t why_size);
/* "" or https://host[:port], without a path. */
int aws_config_check_endpoint(const void *value, char *why, size_t why_size);
