#pragma once
/* [retention]: how long pictures stay here. */

#include <stdbool.h>
#include <stdint.h>

#include "cfg/cfg.h"

/* Each picture is of one class: with a star, else with a person on it, else plain (also what was
 * not examined yet). */
enum retention_kind { RETENTION_PLAIN, RETENTION_PERSON, RETENTION_STARRED, RETENTION_KIND_COUNT };

/* Limits; 0 = none. */
struct retention_config {
    bool enabled;
    int64_t interval_ms;
    int64_t age_ms[RETENTION_KIND_COUNT];
    int64_t per_camera[RETENTION_KIND_COUNT]; /* pictures */
    int64_t size[RETENTION_KIND_COUNT];       /* bytes */
    int64_t total_size;                       /* bytes, of all */
    int64_t free_space;                       /* bytes that are to be free */
    int64_t history_age_ms;
    int64_t trash_keep_ms; /* also while not enabled */
};
extern const struct cfg_section retention_cfg_section;
