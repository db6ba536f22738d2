#pragma once
/* The [cloud] section: what asking a detector in the cloud may cost, and what becomes of a picture
 * when it is not asked or has no answer. How it is asked stands in the detector's own section. */

#include <stdint.h>

#include "cfg/cfg.h"

/* What a picture gets without the cloud's answer. */
enum cloud_without {
    CLOUD_LOCAL,      /* the local answer when there is one, else none */
    CLOUD_UNDETECTED, /* none */
    CLOUD_WITHOUT_COUNT
};

struct cloud_config {
    int64_t calls_per_day, calls_per_month; /* 0 = no limit */
    double price_per_1000;                  /* US dollars */
    int at_limit, on_failure;               /* enum cloud_without */
    int64_t patience_ms;
    int64_t answers_age_ms; /* 0 = none is kept */
    int64_t answers_max;
};
extern const struct cfg_section cloud_cfg_section;
