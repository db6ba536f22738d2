#pragma once
/* The rows of [rabbitmq]: the broker, the triggers that come from it and the events that go to it.
 * Read by the AMQP notifier and by the stage that takes triggers. */

#include <stdbool.h>
#include <stdint.h>

#include "cfg/cfg.h"
#include "sys/amqp.h"

enum amqp_queue_mode {
    AMQP_QUEUE_EXCLUSIVE, /* the original's: gone with the connection */
    AMQP_QUEUE_DURABLE,   /* a quorum queue that stays and may be shared */
    AMQP_QUEUE_MODE_COUNT
};
extern const char *const amqp_queue_mode_names[AMQP_QUEUE_MODE_COUNT + 1]; /* ... , NULL */

/* What becomes of an event above event_size_max. */
enum amqp_too_large { AMQP_DOWNSCALE, AMQP_CLAIM_CHECK, AMQP_TOO_LARGE_COUNT };
extern const char *const amqp_too_large_names[AMQP_TOO_LARGE_COUNT + 1]; /* ... , NULL */

struct amqp_config {
    const char *server_address; /* as amqp_options.addresses; "" = no broker */
    const char *exchange;       /* of events; "<exchange>_control" has the triggers */
    const char *device_topic;
    const char *user, *password, *vhost;
    int64_t heartbeat_ms, connect_timeout_ms; /* of the connection */
    bool tls, tls_verify_host;
    const char *tls_ca_file, *tls_cert_file, *tls_key_file;

    bool triggers; /* whether triggers are taken at all */
    int queue_mode;
    const char *queue; /* name of the durable queue */
    const char *dead_letter_exchange;
    int64_t delivery_limit; /* 0 = none */
    int64_t prefetch;
    int64_t message_size_max;       /* bytes of a trigger */
    const char *const *allow_hosts; /* besides those of configured cameras; NULL-terminated */

    bool events;      /* whether events are published at all */
    int event_format; /* enum event_format */
    bool event_persistent;
    int64_t event_size_max;    /* bytes of a body */
    int event_too_large;       /* enum amqp_too_large */
    const char *image_url;     /* where a picture can be had, with {id} in it; "" = nowhere */
    int64_t event_age_max_ms;  /* then an event is dead; 0 = never */
    int64_t event_backlog_max; /* events that wait; 0 = any number */
    int64_t heartbeat_event_ms;
};
extern const struct cfg_section amqp_cfg_section;

/* Options for a link of this configuration; strings are borrowed from it. `name` is how the
 * broker's list of connections calls it. */
struct amqp_options amqp_config_options(const struct amqp_config *c, const char *name);
/* What is allowed and yet perhaps not meant. */
void amqp_config_warn(const struct amqp_config *c, struct cfg_faults *warnings);
