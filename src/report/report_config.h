#pragma once
/* [sentry]: whether and where errors are reported. */

#include "cfg/cfg.h"

struct report_config {
    const char *dsn; /* "" = off */
    const char *environment, *release, *ca_file;
    int64_t spool_size, spool_age_ms, repeat_ms, retry_ms;
    int64_t spool_files;
};
extern const struct cfg_section report_cfg_section;
