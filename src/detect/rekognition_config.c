#include "detect/rekognition.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/parse.h"
#include "base/text.h"

#define FIELD(name) offsetof(struct rekognition_config, name)

/* In the order of enum rekognition_choice. */
static const char *const choices[] = {"primary", "nearest", NULL};

static int check_confidence(const void *value, char *why, size_t why_size);

static const struct cfg_key keys[] = {
    {.name = "primary_region",
     .type = CFG_STRING,
     .offset = FIELD(primary_region),
     .env = "AWS_DEFAULT_REGION",
     .validate = aws_config_check_region,
     .help = "Region that is asked first; empty = only the other one",
     .doc = "When both are empty, the region of AWS_REGION or of the profile is asked."},
    {.name = "region",
     .type = CFG_STRING,
     .offset = FIELD(region),
     .flags = CFG_ENV_NAME,
     .env = "AWS_ALT_REGION",
     .validate = aws_config_check_region,
     .help = "Region that is asked when the primary one does not answer; empty = none",
     .doc = "This is the predecessor's key, which asked this region alone. The service is not in "
            "all regions: where the primary one has none, the name of its host does not exist, "
            "and this one is asked."},
    {.name = "region_choice",
     .type = CFG_CHOICE,
     .offset = FIELD(region_choice),
     .fallback = "primary",
     .choices = choices,
     .help = "Which of two regions is asked: the primary as long as it answers, or the nearest",
     .doc = "`nearest` is the one that answers faster, by measured time; the other is measured "
            "again every ten minutes, with an ordinary picture."},
    {.name = "minimum_confidence",
     .type = CFG_STRING,
     .offset = FIELD(minimum_confidence),
     .fallback = "55%",
     .validate = check_confidence,
     .help = "Labels and boxes below are left out: 55, 55% or 0.55",
     .doc = "Rekognition counts in percent, the local models from 0 to 1. A number with % or "
            "above 1 is percent. The predecessor compared Rekognition's percent with its "
            "MINIMUM_HUMAN_CONFIDENCE of 0 to 1, so 0.8 let everything pass, and what counted was "
            "Rekognition's own default of 55%, which is the default here. The thresholds of "
            "[detection] are for local models only."},
    {.name = "max_labels",
     .type = CFG_INT,
     .offset = FIELD(max_labels),
     .fallback = "50",
     .min = 1,
     .max = REKOGNITION_LABELS_MAX,
     .help = "Labels that are asked for, the surest first; each may have many boxes"},
    {.name = "side_max",
     .type = CFG_INT,
     .offset = FIELD(side_max),
     .fallback = "0",
     .min = 0,
     .max = 10000,
     .unit = "pixels",
     .help = "Larger pictures are sent smaller, to save time on a slow line; 0 = as they are",
     .doc = "Whatever stands here, pictures beyond what Rekognition takes (5 MB, 10000 pixels a "
            "side, JPEG and PNG only) are sent as a JPEG that fits."},
    {.name = "in_flight",
     .type = CFG_INT,
     .offset = FIELD(in_flight),
     .fallback = "8",
     .min = 1,
     .max = REKOGNITION_IN_FLIGHT_MAX,
     .help = "Requests at once",
     .doc = "Each needs memory of 4/3 of its picture, at most 7 MB."},
    {.name = "calls_per_second",
     .type = CFG_DOUBLE,
     .offset = FIELD(calls_per_second),
     .fallback = "5",
     .min = 0,
     .max = 1000,
     .unit = "1/s",
     .help = "Requests in a second at most, repeats included; 0 = no limit",
     .doc = "Accounts have a quota in each region, five a second in many; see Service Quotas in "
            "AWS's console. After a pause as many as in one second may go at once."},
    {.name = "timeout",
     .type = CFG_DURATION,
     .offset = FIELD(timeout_ms),
     .fallback = "10s",
     .min = 100,
     .max = 120000,
     .bare_unit_ms = 1000,
     .help = "A request without a sign of life for so long has failed"},
    {.name = "patience",
     .type = CFG_DURATION,
     .offset = FIELD(patience_ms),
     .fallback = "30s",
     .min = 0,
     .max = 600000,
     .bare_unit_ms = 1000,
     .help = "A picture's request is not tried again after so long"},
    AWS_LOGIN_KEYS(struct rekognition_config),
    AWS_ROLE_KEY(struct rekognition_config),
    {.name = "primary_endpoint",
     .type = CFG_STRING,
     .offset = FIELD(primary_endpoint),
     .validate = aws_config_check_endpoint,
     .help = "Address of the primary region's service: https://host; empty = AWS's",
     .doc = "For a VPC endpoint, and for tests."},
    {.name = "endpoint",
     .type = CFG_STRING,
     .offset = FIELD(endpoint),
     .validate = aws_config_check_endpoint,
     .help = "The same for the other region"},
};

static void check(const void *values, const char *instance, struct cfg_faults *faults)
{
    const struct rekognition_config *c = values;
    aws_config_check_login(&c->login, "rekognition", instance, faults);
    if (*c->primary_endpoint && !*c->primary_region)
        cfg_fault(faults, "rekognition", instance, "primary_endpoint", "needs primary_region");
    if (*c->endpoint && !*c->region)
        cfg_fault(faults, "rekognition", instance, "endpoint", "needs region");
}

const struct cfg_section rekognition_config_section = {
    .name = "rekognition",
    .struct_size = sizeof(struct rekognition_config),
    .keys = keys,
    .key_count = ARRAY_LEN(keys),
    .help = "Amazon Rekognition, which looks at pictures for money",
    .check = check,
};

static void add_region(struct rekognition_options *o, const char *name, const char *endpoint)
{
    if (!*name || (o->region_count && !strcmp(o->regions[0].name, name)))
        return;
    o->regions[o->region_count++] = (struct rekognition_region){name, endpoint};
}

void rekognition_config_options(const struct rekognition_config *c, struct rekognition_options *ret)
{
    *ret = (struct rekognition_options){
        .choice = (enum rekognition_choice)c->region_choice,
        .login = aws_config_login(&c->login, NULL),
        .labels_max = (int)c->max_labels,
        .side_max = (int)c->side_max,
        .in_flight = (int)c->in_flight,
        .calls_per_second = c->calls_per_second,
        .timeout_ms = c->timeout_ms,
        .patience_ms = c->patience_ms,
        .limits = picture_limits_default,
        .stop_fd = -1,
    };
    (void)rekognition_confidence(c->minimum_confidence, &ret->confidence_min); /* was checked */
    add_region(ret, c->primary_region, c->primary_endpoint);
    add_region(ret, c->region, c->endpoint);
}

int rekognition_confidence(const char *text, double *ret)
{
    size_t len = strlen(text);
    bool percent = len && text[len - 1] == '%';
    len -= percent;
    while (len && text[len - 1] == ' ')
        len--;
    double value;
    if (parse_double(text, len, 0, 100, &value) < 0)
        return -EINVAL;
    *ret = percent || value > 1 ? value / 100 : value;
    return 0;
}

static int check_confidence(const void *value, char *why, size_t why_size)
{
    double ignored;
    if (rekognition_confidence(*(const char *const *)value, &ignored) == 0)
        return 0;
    (void)text_copy(why, why_size, "right would be 55, 55% or 0.55"); /* fits */
    return -EINVAL;
}
