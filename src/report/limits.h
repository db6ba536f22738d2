#pragma once
/* When the receiver of errors wants to be left alone. Pure: what its answers say, and until when.
 *
 *     X-Sentry-Rate-Limits: seconds:category;category:scope[:reason[:namespaces]], ...
 *
 * No categories means all; ours is "error". Without that header a 429 speaks for all, for as long
 * as Retry-After says, else a minute. */

#include <stdint.h>

#include "base/clock.h"

/* Nobody has to wait for longer: a header must not switch us off for good. */
#define LIMITS_SECONDS_MAX (24 * 3600)
#define LIMITS_SECONDS_DEFAULT 60

/* Seconds to wait by the answer to an envelope, 0 = go on. `header` may be NULL;
 * `retry_after_s` -1 = absent. */
int64_t limits_pause_s(long status, const char *header, int64_t retry_after_s);
