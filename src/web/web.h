#pragma once
/* The HTTP API on loopback: routes are pure (request -> response), one event thread moves the
 * bytes. The API reads the ledger with its own connection; what it asks of the running pipeline
 * goes through the backend that app fills. */

#include "base/blob.h"
#include "base/err.h"
#include "ledger/ledger.h"
#include "model/snapshot.h"
#include "sys/json.h"

struct web;

/* All calls come from the web thread; none may block longer than a database read. */
struct web_backend {
    void *arg;
    /* Makes a trigger durable and nudges the fetch stage. -ENOENT unknown camera (text lists what
     * there is), -ENOSPC/-EBUSY refused for now. */
    int (*trigger)(void *arg, const char *camera, char ret_id[SNAPSHOT_ID_SIZE], struct err *e);
    /* The status document: version, uptime, stages, cameras, detector, queues, counts, last errors.
     * New reference. */
    json_t *(*status)(void *arg);
    /* The picture's bytes (annotated or as the camera sent it), from the cache or the store. */
    int (*bytes)(void *arg, const struct snapshot *s, bool annotated, struct blob **ret,
                 struct err *e);
    /* 0 when ready to work, else negative with a reason per part in `e`. */
    int (*ready)(void *arg, struct err *e);
    /* 0 while all stages make progress (liveness). */
    int (*healthy)(void *arg, struct err *e);
};

struct web_options {
    const char *listen; /* "127.0.0.1:8080"; port 0 = any free one */
    const char *ledger_path;
    int connections_max;
    int64_t request_timeout_ms;
};

/* Starts the listener and its thread. */
int web_start(const struct web_options *options, const struct web_backend *backend,
              struct web **ret, struct err *e);
int web_port(const struct web *w);
/* Tells waiting requests (trigger with ?wait=) that a snapshot or trigger has an outcome. Any
 * thread. */
void web_notify(struct web *w, const char *id);
/* No new connections; answers what is running (at most grace_ms), joins. May be called twice. */
void web_stop(struct web *w, int grace_ms);
void web_free(struct web *w);
