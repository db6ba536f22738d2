#pragma once
/* [fan]: the keys, and what they mean together. */

#include "cfg/cfg.h"
#include "fan/fan_curve.h"

struct fan_config {
    bool enabled;
    const char *const *sensors; /* forms of fan/fan_sysfs.h */
    const char *const *ignore;
    const char *pwm;
    const char *const *curve;
    double hysteresis;
    int64_t spin_up, spin_up_ms;
    int64_t interval_ms;
    const char *sysfs_root;
};
extern const struct cfg_section fan_cfg_section;

/* Of checked values. */
struct fan_governor fan_config_governor(const struct fan_config *c);
