#pragma once
/* The event that carries a picture to the broker. Pure: an event in, a body out.
 *
 * `original` is, byte for byte, what the Python original sends: its strictest reader loses the
 * whole message for one key more. `extended` has the same keys first, then what else is known;
 * `claim_check` is that with the picture's address in the place of its bytes. */

#include "base/clock.h"
#include "base/err.h"
#include "model/event.h"
#include "wire/message.h"

enum event_format {
    EVENT_FORMAT_ORIGINAL,
    EVENT_FORMAT_EXTENDED,
    EVENT_FORMAT_CLAIM_CHECK,
    EVENT_FORMAT_COUNT
};
/* "original", "extended", "claim_check" */
extern const char *const event_format_names[EVENT_FORMAT_COUNT];

struct image_event {
    const struct event *event;
    enum event_format format;
    struct wall_time published_at;
    const char *store_root;  /* put before the picture's path */
    const char *storage_url; /* where it is kept for people, or NULL */
    const char *image_url; /* where it can be had; mandatory for claim_check, else not looked at */
    size_t size_max;       /* bytes of the body */
};

/* Replaces what is in `ret`, which refers to the picture's bytes. 0; -ENODATA without the bytes
 * that the format wants; -EMSGSIZE above the limit; -ENOMEM. Size and digest in the long formats
 * are the stored picture's, also when event->bytes is a smaller copy. */
int image_event_encode(const struct image_event *ie, struct message_body *ret, struct err *e);
