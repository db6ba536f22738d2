#include "aws/aws_config.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"

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
