#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cloudwatch/cloudwatch.h"

#define FIELD(name) offsetof(struct cloudwatch_config, name)
#define ROLE_MAX 2048 /* STS's own limit */

/* In the order of enum cloudwatch_enabled. */
static const char *const enabled_words[] = {"no", "yes", "auto", NULL};

static int check_namespace(const void *value, char *why, size_t why_size);
static int check_role(const void *value, char *why, size_t why_size);

static const struct cfg_key keys[] = {
    {.name = "enabled",
     .type = CFG_CHOICE,
     .offset = FIELD(enabled),
     .fallback = "auto",
     .choices = enabled_words,
     .help = "Whether counts are posted; auto = when there is a role for it (AWS_ROLE_ARN)",
     .doc = "The predecessor posts whenever it has credentials of AWS, and assumes the role of "
            "AWS_ROLE_ARN for nothing else. Here credentials may be for pictures alone, so the "
            "role decides. Set yes to post without one."},
    {.name = "namespace",
     .type = CFG_STRING,
     .offset = FIELD(name_space),
     .fallback = "automation",
     .validate = check_namespace,
     .help = "Namespace of the metrics; the default is the predecessor's"},
    {.name = "region",
     .type = CFG_STRING,
     .offset = FIELD(region),
     .validate = aws_config_check_region,
     .help = "Region of CloudWatch; empty = AWS_REGION, AWS_DEFAULT_REGION or the profile's"},
    {.name = "interval",
     .type = CFG_DURATION,
     .offset = FIELD(interval_ms),
     .fallback = "60s",
     .min = 100,
     .max = 3600e3,
     .bare_unit_ms = 1000,
     .help = "Counts are posted together, at most so long after the first of them",
     .doc = "Whatever stands here, they are counted in the minute in which they happened."},
    {.name = "extra",
     .type = CFG_BOOL,
     .offset = FIELD(extra),
     .fallback = "no",
     .help = "Also pictures, persons, failed deliveries and uploads, and what waits",
     .doc = "Each is a custom metric, for which AWS asks money every month; see cloudwatch.md."},
    {.name = "role_arn",
     .type = CFG_STRING,
     .offset = FIELD(login.role_arn),
     .env = "AWS_ROLE_ARN",
     .validate = check_role,
     .help = "Role to assume for posting; empty = none",
     .doc = "The name of its session is `<app_name>-session`. The predecessor takes AWS_ROLE_ARN "
            "for that name; so a value that is no ARN and can be a name is the session's, and no "
            "role."},
    AWS_LOGIN_KEYS(struct cloudwatch_config),
    {.name = "endpoint",
     .type = CFG_STRING,
     .offset = FIELD(endpoint),
     .validate = aws_config_check_endpoint,
     .help = "Address of the service: https://host; empty = AWS's",
     .doc = "For a VPC endpoint, and for tests."},
};

static void check(const void *values, const char *instance, struct cfg_faults *faults)
{
    const struct cloudwatch_config *c = values;
    aws_config_check_login(&c->login, "cloudwatch", instance, faults);
}

const struct cfg_section cloudwatch_config_section = {
    .name = "cloudwatch",
    .struct_size = sizeof(struct cloudwatch_config),
    .keys = keys,
    .key_count = ARRAY_LEN(keys),
    .help = "Counts of errors for Amazon CloudWatch",
    .check = check,
};

static bool is_arn(const char *text)
{
    return text_starts_with(text, "arn:");
}

const char *cloudwatch_config_role(const struct cloudwatch_config *c)
{
    return is_arn(c->login.role_arn) ? c->login.role_arn : "";
}

/* In a pod of Kubernetes the variable names the pod's role, which is for everything, and which this
 * program cannot assume. */
const char *cloudwatch_config_off(const struct cloudwatch_config *c, bool role_given)
{
    switch ((enum cloudwatch_enabled)c->enabled) {
    case CLOUDWATCH_YES:
        return NULL;
    case CLOUDWATCH_NO:
        return "[cloudwatch] enabled is no";
    case CLOUDWATCH_AUTO:
        break;
    }
    if (role_given)
        return NULL;
    if (!is_arn(c->login.role_arn))
        return "[cloudwatch] enabled is auto, and there is no role_arn (AWS_ROLE_ARN)";
    const char *token = getenv("AWS_WEB_IDENTITY_TOKEN_FILE");
    return token && *token ? "[cloudwatch] enabled is auto, and AWS_ROLE_ARN is a pod's" : NULL;
}

static int check_namespace(const void *value, char *why, size_t why_size)
{
    const char *name = *(const char *const *)value;
    size_t len = strlen(name);
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  ".-_/#: ";
    if (len && len <= CLOUDWATCH_NAMESPACE_MAX && name[0] != ':' && strspn(name, letters) == len &&
        strspn(name, " ") < len && !text_starts_with(name, "AWS/"))
        return 0;
    (void)text_copy(why, why_size,
                    "right would be 1 to 255 of A-Z, a-z, 0-9 and .-_/#:, not ':' "
                    "first and not AWS/"); /* fits */
    return -EINVAL;
}

static int check_role(const void *value, char *why, size_t why_size)
{
    const char *role = *(const char *const *)value;
    if (!*role || cloudwatch_is_session(role) || (is_arn(role) && strlen(role) <= ROLE_MAX))
        return 0;
    (void)text_copy(why, why_size,
                    "right would be arn:aws:iam::ACCOUNT:role/NAME, or a session's name of 2 to 64 "
                    "letters, digits and _+=,.@-"); /* fits */
    return -EINVAL;
}
