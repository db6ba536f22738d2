#pragma once
/* What is sent to CloudWatch: the form of PutMetricData, and the names in it. Pure.
 *
 * CloudWatch takes ASCII without control characters, dimension values of 1 to 1024 characters,
 * names of metrics of 1 to 255, and 1000 metrics and 1 MB in a request. */

#include <stdbool.h>

#include "base/clock.h"
#include "base/dynbuf.h"

#define CLOUDWATCH_VALUE_MAX 1025 /* with the NUL */
#define CLOUDWATCH_NAMESPACE_MAX 255
#define CLOUDWATCH_SESSION_MAX 65 /* with the NUL */
#define CLOUDWATCH_DATA_MAX 1000
#define CLOUDWATCH_BODY_MAX (1 << 20)

struct cloudwatch_datum {
    const char *metric;
    bool level; /* `value` is a measured value; else something happened `value` times */
    double value;
    struct wall_time at;
};

/* Makes a dimension's value of any text: what CloudWatch does not take becomes "?", what is too
 * long is cut, and what is empty then is `fallback`. */
void cloudwatch_value(const char *text, const char *fallback, char ret[CLOUDWATCH_VALUE_MAX]);
/* The predecessor's rule: of more than two parts between hyphens the first two. */
void cloudwatch_device(const char *device_name, char ret[CLOUDWATCH_VALUE_MAX]);
/* The predecessor's name of the session that its role is assumed for: `given` (its variable
 * AWS_ROLE_ARN, of all names) when it can be one, else "<app_name>-session". What STS does not take
 * becomes "-". */
void cloudwatch_session(const char *given, const char *app_name, char ret[CLOUDWATCH_SESSION_MAX]);
bool cloudwatch_is_session(const char *text); /* as STS takes it */

/* "Errors happened five times" is five samples of 1, as if they had been sent one by one: each
 * statistic over them is what the predecessor's posts gave. Values that are no numbers are left
 * out. `out` is initialised here. 0, or -ENOSPC or -ENOMEM. */
int cloudwatch_body(const char *name_space, const char *application, const char *device,
                    const struct cloudwatch_datum *data, size_t count, struct dynbuf *out);
