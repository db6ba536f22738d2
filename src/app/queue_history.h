#pragma once
/* How many rows waited over the last day: of each five minutes the most that were counted. For a
 * chart; what waits now is in the metrics. Begins with the program. */

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "sys/json.h"

#define QUEUE_SPAN_S 300
#define QUEUE_SPANS 288 /* a day; 7 kB */

enum queue { QUEUE_FETCH, QUEUE_DETECT, QUEUE_DELIVER, QUEUE_COUNT };

struct queue_span {
    int64_t from_us;
    uint32_t most[QUEUE_COUNT];
};

struct queue_history {
    pthread_mutex_t lock; /* held for a copy */
    size_t count;         /* of all spans so far; the ring has the last QUEUE_SPANS */
    struct queue_span ring[QUEUE_SPANS];
};

void queue_history_init(struct queue_history *h);
/* Any thread. */
void queue_history_note(struct queue_history *h, struct wall_time now,
                        const int64_t waiting[QUEUE_COUNT]);
/* {"span_s", "spans": [{"from", "fetch", "detect", "deliver"}]}, oldest first; spans in which
 * nobody counted are not there. Any thread; new reference. */
json_t *queue_history_json(struct queue_history *h);
