#include "aws/aws_config.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"

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
