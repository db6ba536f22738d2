#pragma once
/* The notifier that publishes events to RabbitMQ, and the heartbeat beside them.
 *
 * The broker may be absent, at the start too and for as long as it likes: the notifier takes no
 * events meanwhile (room() is 0) and tries again by itself, with pauses of up to 4 s, or 30 s when
 * somebody has to change something first. What it took and knows nothing of is offered again after
 * a reconnect and published with the same message id, the snapshot's.
 *
 * Events that no queue wants (nobody is bound to the exchange) and those that the broker could not
 * take are no failures of the events: nothing goes out for a moment, then one is tried, and so on.
 * Their order per camera is kept: with one that came back all behind it are published again. */

#include "base/dynbuf.h"
#include "notify/amqp_config.h"
#include "notify/notifier.h"
#include "picture/picture.h"

/* All is copied. */
struct amqp_notifier_options {
    const struct amqp_config *config;
    const char *device_name;
    const char *store_root;       /* put before paths */
    struct picture_limits limits; /* for pictures that are made smaller */
    int stop_fd;                  /* readable: connecting ends at once; 0 = none */
    /* Makes the body of a heartbeat (wire/heartbeat.h); on the notifier's thread. */
    int (*heartbeat)(void *arg, struct wall_time at, struct dynbuf *ret, struct err *e);
    void *heartbeat_arg;
};

void amqp_notifier_register_metrics(void);
/* -EINVAL: what is wrong with the options. Does not connect. */
int amqp_notifier_new(const struct amqp_notifier_options *o, struct notifier **ret, struct err *e);
