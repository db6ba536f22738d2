#pragma once
/* [health]: who hears of the program's health, and how patient it is with itself. */

#include "cfg/cfg.h"

struct health_config {
    const char *healthchecks_url; /* "" = off */
    const char *cronitor_api_key;
    const char *cronitor_url;
    int64_t interval_ms;
    double patience;
};
extern const struct cfg_section health_cfg_section;
