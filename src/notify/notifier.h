#pragma once
/* A place that wants to hear of snapshots. The deliver stage calls it with events out of the
 * outbox, in order per camera, and repeats after failures. */

#include "base/err.h"
#include "model/event.h"

struct notifier;

struct notifier_ops {
    const char *name; /* destination name in the outbox */
    /* Delivers one event. May block up to a few seconds. Returns 0 when the other side has it; the
     * error's retry class decides about repeats. Called from one thread. */
    int (*deliver)(struct notifier *n, const struct event *ev, struct err *e);
    void (*free)(struct notifier *n);
    bool wants_bytes;
};
struct notifier {
    const struct notifier_ops *ops; /* implementations embed this first */
};
