#include "report/report_config.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "report/dsn.h"
#include "report/report_spool.h"

#define AT(field) .offset = offsetof(struct report_config, field)
#define MINUTE 60e3
#define DAY (24 * 60 * MINUTE)

static int check_dsn(const void *value, char *why, size_t why_size);

static const struct cfg_key keys[] = {
    {.name = "dsn",
     .type = CFG_SECRET,
     AT(dsn),
     .flags = CFG_RELOAD,
     .env = "SENTRY_DSN",
     .path = "creds.sentry_dsn",
     .validate = check_dsn,
     .help = "Where errors are reported; empty = nowhere",
     .doc = "The DSN of a project at Sentry, or at a server that speaks as it does: "
            "`https://KEY@HOST/PROJECT`. Errors are grouped by the id of their log line. What is "
            "sent, and what is not, stands in doc/error-tracking.md."},
    {.name = "environment",
     .type = CFG_STRING,
     AT(environment),
     .fallback = "production",
     .env = "SENTRY_ENVIRONMENT",
     .help = "Which of several installations of yours this is"},
    {.name = "release",
     .type = CFG_STRING,
     AT(release),
     .env = "SENTRY_RELEASE",
     .help = "Release that errors belong to; empty = snapshot-processor@VERSION"},
    {.name = "ca_file",
     .type = CFG_PATH,
     AT(ca_file),
     .help = "Certificates that the server's is checked against; empty = the system's"},
    {.name = "repeat_interval",
     .type = CFG_DURATION,
     AT(repeat_ms),
     .fallback = "10m",
     .min = 100,
     .max = DAY,
     .bare_unit_ms = 1000,
     .help = "The same error is sent once in this time, with how often it came"},
    {.name = "retry",
     .type = CFG_DURATION,
     AT(retry_ms),
     .fallback = "5s",
     .min = 50,
     .max = 15 * MINUTE,
     .bare_unit_ms = 1000,
     .help = "First pause after a try that failed; each further one is twice as long, up to 15m"},
    {.name = "spool_size",
     .type = CFG_SIZE,
     AT(spool_size),
     .fallback = "8MB",
     .min = 1024 * 1024.0,
     .max = 1073741824.0,
     .unit = "bytes",
     .help = "Disk for errors that wait to be sent; the oldest make room"},
    {.name = "spool_files",
     .type = CFG_INT,
     AT(spool_files),
     .fallback = "200",
     .min = 1,
     .max = REPORT_SPOOL_FILES_MAX,
     .help = "How many may wait"},
    {.name = "spool_age",
     .type = CFG_DURATION,
     AT(spool_age_ms),
     .fallback = "14d",
     .min = 1000,
     .max = 365 * DAY,
     .bare_unit_ms = 1000,
     .help = "How long one may wait"},
};

const struct cfg_section report_cfg_section = {
    .name = "sentry",
    .struct_size = sizeof(struct report_config),
    .keys = keys,
    .key_count = ARRAY_LEN(keys),
    .help = "Errors are reported to Sentry, or to a server of its kind.",
};

static int check_dsn(const void *value, char *why, size_t why_size)
{
    const char *text = *(const char *const *)value;
    struct dsn dsn;
    struct err e;
    if (!text[0] || dsn_parse(text, &dsn, &e) == 0)
        return 0;
    (void)text_copy(why, why_size, e.text); /* holds no part of the value */
    return -1;
}
