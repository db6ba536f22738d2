#pragma once
/* A camera as the configuration describes it: plain data, immutable after load. Strings are owned
 * by the configuration that made it (see camera/camera_config.h) and live as long as it does. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "model/snapshot.h"

/* Pictures of one burst: all may be in memory until the best is known. */
#define CAMERA_BURST_MAX 10

struct host_list;

enum camera_auth {
    CAMERA_AUTH_AUTO,
    CAMERA_AUTH_NONE,
    CAMERA_AUTH_BASIC,
    CAMERA_AUTH_DIGEST,
    CAMERA_AUTH_COUNT
};
extern const char
    *const camera_auth_names[CAMERA_AUTH_COUNT]; /* "auto", "none", "basic", "digest" */

struct camera {
    const char *name;       /* [camera:NAME] */
    const char *device_key; /* "<Location> <Type>" */
    const char *device_label;
    const char *directory;           /* below the store: location lower-cased without spaces */
    const char *kind;                /* "foscam", "hikvision", ... */
    bool enabled;                    /* by the configuration; ask camera_is_enabled() */
    const atomic_bool *switched_off; /* by a person, whose word may change at any time; NULL = no */
    const char *address;             /* host:port, or [v6]:port (kinds with a known path) */
    const char *url;                 /* template (kinds http and mjpeg) or NULL */
    const char *channel;             /* of a recorder with several; "" = the kind's default */
    const char *user;                /* may be "" */
    const char *password;            /* secret: never logged */
    enum camera_auth auth;
    const char *command; /* foscam: "/cgi-bin/CGIProxy.fcgi?cmd=snapPicture2" or "snapPicture2";
                            kinds with a path of their own: another path; "" = none */
    const char *program; /* kind command: the words of a command line */
    const char *const *headers; /* "Name: value", NULL-terminated, or NULL */
    bool tls;                   /* https for kinds with a known path */
    bool tls_verify;
    bool tls_legacy; /* old protocol versions and weak keys allowed */
    const char *tls_ca_file;
    const char *tls_pin;           /* "sha256//..." public key pin */
    bool http09;                   /* accept an answer without status line */
    const struct host_list *hosts; /* of these alone it may be, redirects included; NULL = any */
    int64_t connect_timeout_ms;
    int64_t stall_timeout_ms; /* no byte for so long */
    int64_t total_timeout_ms;
    int64_t size_max; /* bytes of a picture */
    int tries;        /* attempts in a row per trigger before it waits */
    int64_t retry_delay_ms;
    int64_t give_up_ms;               /* after so long a trigger fails for good */
    int burst;                        /* pictures of which the best is kept; 0 or 1 = no burst */
    int64_t burst_time_ms;            /* from the first to the last of them */
    double cascade_low, cascade_high; /* window of doubt of its own; 0 = the common one */
    bool check_fresh;            /* unchanged and old pictures are told, see camera/freshness.h */
    int64_t interval_ms;         /* schedule: 0 = none */
    const char *const *times;    /* schedule: cron-like lines, NULL-terminated, or NULL */
    uint64_t credentials_digest; /* changes when address, user or password change */
};
