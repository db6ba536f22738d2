#pragma once
/* The time of an event out of a trigger: Unix seconds as an integer or floating-point number, a
 * text, or MessagePack's own timestamp (extension -1). Pure but for the time zone of the process.
 *
 * Texts are read as the original's library reads those that occur: ISO 8601 with or without zone,
 * in parts ("2026-01-02 03:04") and without separators (8, 12 or 14 digits); all other digits are
 * Unix seconds. Without a zone the process's local time is meant. With one it is the true instant;
 * the original is wrong there by the zone's offset. */

#include "base/clock.h"
#include "base/err.h"
#include "sys/msgpack.h"

#define EVENT_TIME_NOTE_MAX 160

/* A value that should be a time and is none (a text of other words, a year beyond 9999) gives `now`
 * and says so in `note`, else note is "": better a picture under the hour of its arrival than none.
 * 0; -EINVAL for a type that holds no time. */
int event_time_read(const struct msgpack_value *v, struct wall_time now, struct wall_time *ret,
                    char note[EVENT_TIME_NOTE_MAX], struct err *e);
/* Only the text rules. 0 or -EINVAL. */
int event_time_parse(const char *text, size_t len, struct wall_time *ret);
