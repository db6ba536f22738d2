#pragma once
/* What the program tells the world about one snapshot: made by the detect stage, kept as an outbox
 * row per destination, rendered by each notifier in its own form. */

#include "model/snapshot.h"
#include "model/verdict.h"

/* Everything a notifier may want. Borrowed pointers; valid during the call that passes it. */
struct event {
    const struct snapshot *snapshot;
    const struct verdict *verdict;
    struct blob *bytes;      /* the camera's bytes, NULL when they are gone */
    int attempt;             /* 1 = first */
    const char *storage_url; /* where people find the pictures, NULL = nowhere */
};
