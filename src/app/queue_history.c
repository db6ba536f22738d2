#include "app/queue_history.h"

#include "base/mem.h"

#define SPAN_US (INT64_C(1000000) * QUEUE_SPAN_S)

static const char *const queue_names[QUEUE_COUNT] = {"fetch", "detect", "deliver"};

void queue_history_init(struct queue_history *h)
{
    pthread_mutex_init(&h->lock, NULL);
    h->count = 0;
}

void queue_history_note(struct queue_history *h, struct wall_time now,
                        const int64_t waiting[QUEUE_COUNT])
{
    int64_t from = now.us - now.us % SPAN_US;
    pthread_mutex_lock(&h->lock);
    struct queue_span *last = h->count > 0 ? &h->ring[(h->count - 1) % QUEUE_SPANS] : NULL;
    if (!last || last->from_us < from) { /* a clock that was put back: the last one goes on */
        last = &h->ring[h->count++ % QUEUE_SPANS];
        *last = (struct queue_span){.from_us = from};
    }
    for (int q = 0; q < QUEUE_COUNT; q++) {
        int64_t most = MAX(waiting[q], (int64_t)last->most[q]);
        last->most[q] = (uint32_t)MIN(most, (int64_t)UINT32_MAX);
    }
    pthread_mutex_unlock(&h->lock);
}

static json_t *span_json(const struct queue_span *s)
{
    char from[WALL_ISO_MAX];
    json_t *j =
        json_pack("{s:s}", "from", wall_format_iso((struct wall_time){s->from_us}, true, from));
    for (int q = 0; q < QUEUE_COUNT; q++)
        json_object_set_new(j, queue_names[q], json_integer(s->most[q]));
    return j;
}

json_t *queue_history_json(struct queue_history *h)
{
    AUTO_FREE struct queue_span *spans = xcalloc(QUEUE_SPANS, sizeof(*spans));
    pthread_mutex_lock(&h->lock);
    size_t n = MIN(h->count, (size_t)QUEUE_SPANS);
    for (size_t i = 0; i < n; i++)
        spans[i] = h->ring[(h->count - n + i) % QUEUE_SPANS];
    pthread_mutex_unlock(&h->lock);
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, span_json(&spans[i]));
    return json_pack("{s:i,s:o}", "span_s", QUEUE_SPAN_S, "spans", list);
}
