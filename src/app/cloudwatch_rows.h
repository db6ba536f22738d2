#pragma once
/* Which of our counters CloudWatch hears of, and under which names. */

#include "app/config.h"
#include "cloudwatch/cloudwatch.h"

/* NULL-terminated by `metric`; the predecessor's first, then the extra ones. */
extern const struct cloudwatch_source cloudwatch_rows[];
/* Starts it by the section [cloudwatch]. Returns why it is off, or NULL; a failure is one, and
 * stands in `e` as well. */
const char *cloudwatch_rows_start(const struct app_config *config, struct cloudwatch **ret,
                                  struct err *e);
