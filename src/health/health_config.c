#include "health/health_config.h"

#define FIELD(name) .offset = offsetof(struct health_config, name)

static const struct cfg_key keys[] = {
    {.name = "healthchecks_url",
     .type = CFG_SECRET,
     FIELD(healthchecks_url),
     .env = "HC_PING_URL",
     .help = "Address of a check at Healthchecks that hears how the program is",
     .doc = "The whole address, as `https://hc-ping.com/<uuid>`. It hears of the start, of each "
            "`interval` in which the program made progress, of a failure with its reason, and of "
            "an orderly end. Empty = nobody hears."},
    {.name = "cronitor_api_key",
     .type = CFG_SECRET,
     FIELD(cronitor_api_key),
     .env = "CRONITOR_API_KEY",
     .path = "creds.cronitor",
     .flags = CFG_RELOAD,
     .help = "Key of the account at Cronitor; used when [app] cronitor_monitor_key is set"},
    {.name = "cronitor_url",
     .type = CFG_STRING,
     FIELD(cronitor_url),
     .fallback = "https://cronitor.link",
     .help = "Where Cronitor takes telemetry"},
    {.name = "interval",
     .type = CFG_DURATION,
     FIELD(interval_ms),
     .fallback = "62s", /* the predecessor's */
     .min = 1000,
     .max = 3600e3,
     .bare_unit_ms = 1000,
     .help = "How often both hear that all is well; a change is told at once"},
    {.name = "patience",
     .type = CFG_DOUBLE,
     FIELD(patience),
     .fallback = "1",
     .min = 0.01,
     .max = 100,
     .unit = "factor",
     .help = "Multiplies the times after which a thread that does not turn, or work that does not "
             "move, counts as a failure",
     .doc = "A thread that hangs ends the program, so that the service manager starts it again. "
            "On a very slow machine, or with a disk that sleeps for minutes, give it more. "
            "`doc/health.md` has the times."},
};

const struct cfg_section health_cfg_section = {
    .name = "health",
    .struct_size = sizeof(struct health_config),
    .keys = keys,
    .key_count = ARRAY_LEN(keys),
    .help = "Who hears that the program makes progress.",
};
