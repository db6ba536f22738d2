#include "storage/s3.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "aws/aws_config.h"
#include "aws/s3_object.h"
#include "base/fsutil.h"
#include "base/text.h"

#define FIELD(name) offsetof(struct s3_config, name)

/* In the order of enum s3_style: auto, path, host. */
static const char *const style_choices[] = {"auto", "yes", "no", NULL};
const char *const s3_sse_names[S3_SSE_COUNT + 1] = {"bucket", "AES256", "aws:kms", NULL};

static int check_endpoint(const void *value, char *why, size_t why_size)
{
    const char *url = *(const char *const *)value;
    const char *host = strstr(url, "://");
    if (!*url ||
        ((text_starts_with(url, "https://") || text_starts_with(url, "http://")) && host[3] &&
         !strpbrk(host + 3, "?#@ ") && (!strchr(host + 3, '/') || !strchr(host + 3, '/')[1])))
        return 0;
    (void)text_copy(why, why_size, "right would be https://host or http://host:port"); /* fits */
    return -EINVAL;
}

static int check_prefix(const void *value, char *why, size_t why_size)
{
    const char *prefix = *(const char *const *)value;
    if (!*prefix || (fs_path_is_plain(prefix) && strlen(prefix) <= 200))
        return 0;
    (void)text_copy(why, why_size, "right would be the begin of keys, such as home/cameras");
    return -EINVAL;
}

static const struct cfg_key keys[] = {
    STORAGE_COMMON_KEYS(struct s3_config),
    {.name = "bucket",
     .type = CFG_STRING,
     .offset = FIELD(bucket),
     .flags = CFG_REQUIRED,
     .help = "Name of the bucket, which must be there",
     .doc = "See doc/s3.md for the rights that are needed, which are few."},
    {.name = "region",
     .type = CFG_STRING,
     .offset = FIELD(region),
     .help = "Region of the bucket; empty = AWS_REGION or the profile's, else found out",
     .doc = "A wrong one costs a request: S3 names the right one, which is used from then on."},
    {.name = "endpoint",
     .type = CFG_STRING,
     .offset = FIELD(endpoint),
     .validate = check_endpoint,
     .help = "Address of a server other than AWS: http://nas:9000; empty = AWS"},
    {.name = "path_style",
     .type = CFG_CHOICE,
     .offset = FIELD(path_style),
     .fallback = "auto",
     .choices = style_choices,
     .help = "Whether the bucket stands in the path of addresses and not in the host",
     .doc = "`auto`: in the path with an `endpoint`, and for buckets whose name has a dot or an "
            "upper-case letter, which no certificate covers; else in the host, as AWS wants it."},
    {.name = "prefix",
     .type = CFG_STRING,
     .offset = FIELD(prefix),
     .validate = check_prefix,
     .help = "Begin of all keys, without a slash at the end",
     .doc = "Behind it stand camera folder, year, month, day and name, as in the store."},
    AWS_LOGIN_KEYS(struct s3_config),
    AWS_ROLE_KEY(struct s3_config),
    {.name = "storage_class",
     .type = CFG_STRING,
     .offset = FIELD(storage_class),
     .help = "STANDARD_IA, GLACIER_IR ...; empty = the bucket's own",
     .doc = "Classes that are not read at once (GLACIER, DEEP_ARCHIVE) are checked by what S3 says "
            "of an object, as all others are. Only a server whose ETags look like MD5 and are none "
            "has one object read back after each start."},
    {.name = "sse",
     .type = CFG_CHOICE,
     .offset = FIELD(sse),
     .fallback = "bucket",
     .choices = s3_sse_names,
     .help = "Encryption at rest that is asked for; bucket = what the bucket does by itself"},
};

static void check(const void *values, const char *instance, struct cfg_faults *faults)
{
    const struct s3_config *c = values;
    if (*c->region && !s3_region_valid(c->region, !*c->endpoint))
        cfg_fault(faults, "s3", instance, "region",
                  "is no region; right would be one such as eu-central-1");
    aws_config_check_login(&c->login, "s3", instance, faults);
}

const struct cfg_section s3_cfg_section = {
    .name = "s3",
    .named = true,
    .struct_size = sizeof(struct s3_config),
    .keys = keys,
    .key_count = ARRAY_LEN(keys),
    .help = "Pictures kept in a bucket of S3 or of a server like it; any number, each with a name.",
    .check = check,
};
