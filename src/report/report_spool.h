#pragma once
/* Events that wait to be sent, as files of a folder: they outlive a restart and days without the
 * network. Bounded by bytes, files and age; the oldest goes first, and is counted. One thread. */

#include <stddef.h>

#include "base/blob.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/macros.h"
#include "report/event.h"

struct report_spool_limits {
    int64_t bytes;
    unsigned files; /* at most REPORT_SPOOL_FILES_MAX */
    int64_t age_ms;
};
#define REPORT_SPOOL_FILES_MAX 1000

struct report_spool;
/* Makes the folder when it is not there; takes up what an earlier run left. */
int report_spool_open(const char *folder, const struct report_spool_limits *limits,
                      struct report_spool **ret, struct err *e);
void report_spool_close(struct report_spool *s);
DEFINE_AUTO(report_spool, report_spool_close)

/* Keeps an event; older ones make room for it. -EFBIG: it alone is over the limit. */
int report_spool_put(struct report_spool *s, const char id[EVENT_ID_SIZE], const void *event,
                     size_t size, struct wall_time now, struct err *e);
/* The oldest one; -ENOENT when there is none. Such as cannot be read go, and are counted. Takes
 * out first what is too old at `now`. */
int report_spool_oldest(struct report_spool *s, struct wall_time now, char ret_id[EVENT_ID_SIZE],
                        struct blob **ret);
/* It was sent, or will not be wanted. */
void report_spool_remove(struct report_spool *s, const char id[EVENT_ID_SIZE]);

unsigned report_spool_count(const struct report_spool *s);
int64_t report_spool_bytes(const struct report_spool *s);
/* Events dropped since the last call, by reason. */
struct report_spool_losses {
    unsigned full, old, unreadable;
};
struct report_spool_losses report_spool_take_losses(struct report_spool *s);
