#pragma once
/* Server-sent events: what happens, told to everybody who listens at GET /api/v1/events.
 *
 * Whoever makes news calls events_tell(): while nobody listens that is the load of one flag, and
 * otherwise a short text into a queue. All else happens on the web thread: it takes the queue, asks
 * the ledger once for each, and keeps the text of the event in a ring. Listeners are places in that
 * ring, so they cost nothing but their connection; one that falls out of it is told to load anew.
 *
 * When the last listener leaves, news are still queued until the queue is full, so that a browser
 * that comes back misses nothing; then there is silence, and who comes back later is told that he
 * missed something. */

#include "ledger/ledger.h"
#include "model/news.h"
#include "sys/http_message.h"
#include "web/web.h"

#define EVENTS_KEY "events" /* that waiting streams are woken by */

struct events;
struct events_options {
    struct ledger *ledger;             /* of the web thread */
    const struct web_backend *backend; /* likewise */
    /* Wakes those who wait for EVENTS_KEY. Any thread. */
    void (*wake)(void *arg);
    void *arg;
};
struct events *events_new(const struct events_options *options) MUST_USE;
void events_free(struct events *ev); /* no listener is left */
DEFINE_AUTO(events, events_free)

void events_register_metrics(void);
/* Any thread; never blocks. NULL is fine. */
void events_tell(struct events *ev, enum news what, const char *subject);

/* The rest belongs to the web thread. */

/* A new listener: of one camera (NULL: of all), behind the event `last_id` (NULL: from now on). */
void events_listen(struct events *ev, const char *camera, const char *last_id,
                   struct http_stream *ret);
