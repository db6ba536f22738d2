#pragma once
/* The same trouble told once, then counted: the first error of an id goes out at once, later ones
 * of that id are counted, and once per interval the newest of them goes out with the count. Pure;
 * the caller has the lock and the clock. */

#include <stdbool.h>

#include "report/event.h"

/* Ids under watch at a time; the program has some 60 that are errors. */
#define REPEATS_MAX 64

struct repeat {
    struct event_record last;
    struct mono_time until;  /* nothing of this id goes out before */
    unsigned long long held; /* since the last one that went out */
};
struct repeats {
    struct repeat list[REPEATS_MAX];
    unsigned count;
    unsigned long long forgotten; /* held ones that had to make room: lost */
};

/* True: it goes out now. */
bool repeats_take(struct repeats *r, const struct event_record *record, int64_t interval_ms,
                  struct mono_time now);
/* One whose interval is over and that holds something: moved to `ret`, with how many it stands
 * for. Ids that were quiet for an interval leave the list. */
bool repeats_due(struct repeats *r, int64_t interval_ms, struct mono_time now,
                 struct event_record *ret, unsigned long long *ret_count);
/* Like repeats_due(), whatever the time: for the end. */
bool repeats_flush(struct repeats *r, struct event_record *ret, unsigned long long *ret_count);
/* When the next interval with something held is over; false = none. */
bool repeats_next(const struct repeats *r, struct mono_time *ret);
