#pragma once
/* The rows of [web]: whether, where and for whom the HTTP API listens. */

#include <stdbool.h>
#include <stdint.h>

#include "cfg/cfg.h"

enum web_login { WEB_LOGIN_AUTO, WEB_LOGIN_ALWAYS };
enum web_thumbnails {
    WEB_THUMBNAILS_AUTO,
    WEB_THUMBNAILS_YES,
    WEB_THUMBNAILS_ASKED,
    WEB_THUMBNAILS_NO
};

struct web_config {
    bool enabled;
    const char *listen; /* checked: an address and a port */
    bool allow_remote;
    int login; /* enum web_login */
    bool metrics_open;
    int64_t session_idle_ms, session_max_ms;
    const char *proxy_user_header; /* "" = none */
    int proxy_role;                /* enum access_role: of names that are no users here */
    const char *const *host_names; /* NULL-terminated, never NULL */
    int64_t connections_max;
    int64_t request_timeout_ms;
    const char *const *trusted_proxies;       /* checked: addresses and networks; never NULL */
    const char *tls_cert_file, *tls_key_file; /* both or neither; "" = no TLS */
    int thumbnails;                           /* enum web_thumbnails */
    int64_t thumbnails_max;
};

extern const struct cfg_section web_cfg_section;
