#pragma once
/* Pictures that wait for the cloud's answer, between the detect workers, which found the question,
 * and the consult workers, which ask it. In memory only: their rows are claimed and unexamined, so
 * after a restart they are examined anew, with no more harm than that.
 *
 * Live ones go before those of the backlog, each in the order of their coming. Of two pictures with
 * the same bytes the second waits until the first has its answer, which is then its own. A mutex
 * around a list; any thread. */

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "model/snapshot.h"
#include "model/verdict.h"

#define DOUBTS_MAX 256
/* Pictures of the backlog are only taken while fewer are due: they are no better off here. */
#define DOUBTS_BACKLOG_MAX 32

struct doubt {
    struct snapshot *snapshot; /* a reference */
    struct verdict local;      /* filtered; outcome skipped when there was no local look */
    unsigned doubts;           /* enum cascade_doubt bits */
    bool live;
    struct mono_time not_before;
};
void doubt_done(struct doubt *d);

struct doubts;
struct doubts *doubts_new(void);
void doubts_free(struct doubts *l);

/* Takes what is in *d. False when it is full: then *d stays as it is. */
bool doubts_put(struct doubts *l, struct doubt *d);
/* The next that is due, moved to *ret; it counts as under way until doubts_end(). When there is
 * none false, and *ret_wait_ms until one becomes due (INT64_MAX: nothing to wait for). */
bool doubts_take(struct doubts *l, struct doubt *ret, int64_t *ret_wait_ms);
/* One that was taken is answered or given up. */
void doubts_end(struct doubts *l, const struct doubt *d);
/* One that was taken waits again, from then on. It keeps its room, so this cannot fail. */
void doubts_again(struct doubts *l, struct doubt *d, struct mono_time not_before);
/* Waiting and under way. */
int doubts_count(struct doubts *l);
/* Those that wait for their turn, not for a time. */
int doubts_due(struct doubts *l);
