#pragma once
/* The configuration in force as the API shows it, without secrets; doc/api.md has the form. */

#include "cfg/cfg.h"
#include "sys/json.h"

/* New reference; NULL when there is no memory. */
json_t *config_json(const struct cfg *c);
