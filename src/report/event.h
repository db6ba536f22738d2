#pragma once
/* Sentry's events and envelopes as bytes. Pure but for random ids and one look at the machine.
 * Every text passes the scrubber on its way in. */

#include "base/dynbuf.h"
#include "base/log.h"
#include "report/scrub.h"
#include "sys/json.h"

enum {
    EVENT_ID_SIZE = 33,     /* UUID v4, 32 lower-case hex digits */
    EVENT_CRUMBS_MAX = 100, /* what Sentry keeps of breadcrumbs */
    EVENT_TEXT_MAX = 1024,  /* of one log line; longer ones are cut */
    /* Sentry's limit. 100 breadcrumbs of nothing but control characters, six bytes each, fit. */
    EVENT_BYTES_MAX = 1000 * 1000,
    EVENT_TAG_MAX = 200, /* Sentry's limit of a tag's value */
};

/* A log record, kept. */
struct event_record {
    struct wall_time at;
    enum log_level level;
    char id[48];
    char stage[32];
    char camera[64];
    char snapshot[40];
    char text[EVENT_TEXT_MAX];
};
void event_record_copy(struct event_record *to, const struct log_record *from);

/* The process that all events come from. Strings are borrowed. */
struct event_origin {
    const char *release;     /* "snapshot-processor@1.2.3" */
    const char *environment; /* "production" */
    const char *server_name;
    const char *version; /* of the program */
};

void event_new_id(char ret[EVENT_ID_SIZE]);
/* What all events have: id, time, level (a word of Sentry's), origin, contexts of this machine,
 * tags (an empty object). New reference. */
json_t *event_new(const struct event_origin *origin, const char id[EVENT_ID_SIZE],
                  struct wall_time at, const char *level);
/* The event of an error: grouped by its log id, with the lines before it, oldest first. `count` is
 * how many it stands for, 1 = itself. New reference. */
json_t *event_of_record(const struct event_origin *origin, const struct scrub *scrub,
                        const char id[EVENT_ID_SIZE], const struct event_record *record,
                        unsigned long long count, const struct event_record *crumbs,
                        size_t crumb_count);
/* Sets key to the scrubbed text, cut to `max` bytes between two characters; "" sets nothing. */
void event_put_text(json_t *object, const char *key, const struct scrub *scrub, const char *text,
                    size_t max);
/* A breadcrumb of a record. New reference. */
json_t *event_crumb(const struct scrub *scrub, const struct event_record *record);

/* The bytes to send: header line, item header line, the event (text of `size` bytes). */
int event_envelope(const char *id, const void *event, size_t size, struct wall_time sent_at,
                   const char *version, struct dynbuf *out);
