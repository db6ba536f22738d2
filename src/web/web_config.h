#pragma once
/* The rows of [web]: whether, where and for whom the HTTP API listens. */

#include <stdbool.h>
#include <stdint.h>

#include "cfg/cfg.h"

enum web_thumbnails { WEB_THUMBNAILS_YES, WEB_THUMBNAILS_ASKED, WEB_THUMBNAILS_NO };

struct web_config {
    bool enabled;
    const char *listen; /* checked: an address and a port */
    bool allow_remote;
    const char *const *host_names; /* NULL-terminated, never NULL */
    int64_t connections_max;
    int64_t request_timeout_ms;
    int thumbnails; /* enum web_thumbnails */
    int64_t thumbnails_max;
};

extern const struct cfg_section web_cfg_section;
