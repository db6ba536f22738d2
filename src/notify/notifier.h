#pragma once
/* A place that wants to hear of snapshots. The deliver stage offers it the events of the outbox, in
 * order per camera, and repeats after failures. All calls but describe() come from one thread, and
 * from free() on from the one that calls that.
 *
 * A plain notifier has `deliver` and `free`. One with a connection to care for may also take many
 * events before it knows what became of the first (settle), say that it takes none (room), and be
 * called while nothing is to be delivered (care, fd). */

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "model/event.h"

struct notifier;

/* For people. Both are "" when there is nothing to say. */
struct notifier_state {
    char text[256];           /* "127.0.0.1:5672: connected for 3 min" */
    char error[ERR_TEXT_MAX]; /* why nothing goes out at the moment */
};

struct notifier_ops {
    const char *name; /* destination name in the outbox */
    bool wants_bytes;
    /* Offers one event. May block up to a few seconds. 0: the other side has it. -EINPROGRESS: it
     * is on its way, settle() will tell. -EAGAIN (no text): not now, for no fault of the event; it
     * is offered again and no attempt counts. Else it failed, and the error's retry class decides
     * about repeats. */
    int (*deliver)(struct notifier *n, const struct event *ev, struct err *e);
    /* What became of the event of this snapshot, which is on its way; waits until the deadline. 0
     * and failures as above; then it is forgotten. -EAGAIN (no text): not known, it is offered
     * again. */
    int (*settle)(struct notifier *n, const char *id, struct mono_time deadline, struct err *e);
    /* How many events may be on their way now; 0: nothing is offered. NULL = any number. */
    int (*room)(struct notifier *n);
    /* Does what is due (connect, heartbeats), and returns in how many ms it wants to be called
     * again; earlier when fd() is readable. Both or none. */
    int64_t (*care)(struct notifier *n);
    int (*fd)(const struct notifier *n);
    void (*describe)(struct notifier *n, struct notifier_state *ret); /* any thread; may be NULL */
    void (*free)(struct notifier *n);
};

struct notifier {
    const struct notifier_ops *ops; /* implementations embed this first */
    int64_t age_max_ms;             /* an older event is given up; 0 = none is */
    int64_t backlog_max;            /* of more waiting events the oldest are given up; 0 = none */
};
