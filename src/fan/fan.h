#pragma once
/* Drives a fan by temperature, on a thread of its own that shares nothing with the pipeline.
 *
 * Whatever is not known to be well means full speed: no temperature, one that cannot be, a sensor
 * that was there and is gone, a program that hangs, the end. What fails is tried again at each
 * look, with devices found anew. A thread that the kernel never lets return from a read cannot help
 * itself; its status says "hung". */

#include "base/err.h"
#include "fan/fan_config.h"

struct fan;

struct fan *fan_new(void); /* does nothing yet */
/* Starts, changes or stops, as the configuration says, whose strings it copies. False from `well`
 * (may be NULL; called on the fan's thread) means that the program hangs. Fails only for want of a
 * thread. Main thread. */
int fan_apply(struct fan *f, const struct fan_config *c, bool (*well)(void *arg), void *arg,
              struct err *e);
void fan_stop(struct fan *f); /* full speed, and waits; NULL and a second call are fine */
void fan_free(struct fan *f);

void fan_register_metrics(void);

enum fan_state { FAN_OFF, FAN_RUNNING, FAN_SAFE, FAN_HUNG, FAN_STATE_COUNT };
extern const char *const fan_state_names[FAN_STATE_COUNT];
struct fan_status {
    enum fan_state state; /* FAN_SAFE: full speed because of `trouble` */
    double celsius;       /* the highest, as of the last look */
    int pwm;              /* written last; -1 = nothing yet */
    char sensor[64], output[64];
    char trouble[ERR_TEXT_MAX];
};
void fan_status(struct fan *f, struct fan_status *ret); /* any thread */

/* For a handler of a fatal signal: full speed, if a fan is driven. Async-signal-safe. */
void fan_emergency(void);
