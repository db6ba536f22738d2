#pragma once
/* What the sections of all services of AWS check alike. Each has the form of cfg_key.validate, for
 * a text: 0, or -EINVAL and what would be right. Pure. */

#include <stddef.h>

/* "" or a name such as eu-west-1: it becomes part of a host's. */
int aws_config_check_region(const void *value, char *why, size_t why_size);
/* "" or https://host[:port], without a path. */
int aws_config_check_endpoint(const void *value, char *why, size_t why_size);
