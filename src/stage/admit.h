#pragma once
/* Decides what a message from the broker is to us: a trigger, or one of the reasons why not. Pure:
 * a message and the settings in, a trigger out; the control stage moves both. */

#include "model/trigger.h"
#include "stage/pipeline.h"
#include "wire/event_time.h"

enum admit_verdict {
    ADMIT_TAKEN,
    ADMIT_LATE,           /* a trigger, but its event is too long ago: to be recorded as failed */
    ADMIT_MALFORMED,      /* not a trigger */
    ADMIT_UNKNOWN_DEVICE, /* no camera of this device key is configured */
    ADMIT_SWITCHED_OFF,   /* the camera is */
    ADMIT_FORBIDDEN_HOST, /* the message names an address that allow_hosts does not have */
    ADMIT_VERDICT_COUNT
};
extern const char *const admit_verdict_names[ADMIT_VERDICT_COUNT]; /* "taken", "late", ... */

/* As the broker hands it over; texts are "" when absent. */
struct admit_message {
    const char *key, *message_id, *expiration;
    const void *body;
    size_t size;
    bool may_be_old; /* its queue keeps messages while nobody takes them */
};

/* TAKEN and LATE fill the trigger but for `accepted_at`; LATE has the reason in its `error` as
 * well. All but TAKEN tell their reason in `e`, which never holds the login. `now` is the wall
 * clock's time of arrival, `note` is for the log, see event_time_read().
 *
 * The same message gives the same id each time that it comes, so the ledger takes it once. */
enum admit_verdict admit(const struct settings *s, const struct admit_message *m,
                         struct wall_time now, struct trigger *ret, char note[EVENT_TIME_NOTE_MAX],
                         struct err *e);
