#pragma once
/* The nerve: edges between stages over ZeroMQ inproc. An edge carries references, never bytes.
 *
 * Consumers bind, producers connect; worker i of a pool binds "<edge>.i" and producers connect to
 * all of them, so the library hands each item to a worker that has room. The capacity of one
 * producer-consumer pair is `send_depth` + `receive_depth` items; pools use a receive depth of 1 so
 * that nothing waits behind a slow worker.
 *
 * An item is a pointer with a release hook. Whoever sends gives one reference away on success; the
 * receiver gets it back from bus_receive() as a message whose hook runs at bus_item_done(). What is
 * still queued when the bus is freed is released too; the hook may then run on any thread.
 * A socket is made, used and closed in one thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"

struct bus;
struct bus_in;
struct bus_out;

int bus_new(struct bus **ret, struct err *e);
/* All sockets must be closed. Discards what is queued (it does not drain). */
void bus_free(struct bus *b);

int bus_in_open(struct bus *b, const char *edge, unsigned index, int receive_depth,
                struct bus_in **ret, struct err *e);
void bus_in_close(struct bus_in *in);
/* Connects to workers 0 .. count-1; they need not be bound yet. */
int bus_out_open(struct bus *b, const char *edge, unsigned count, int send_depth,
                 struct bus_out **ret, struct err *e);
void bus_out_close(struct bus_out *out);

/* Never waits. 0: the reference is given away. -EAGAIN: all consumers are full, nothing happened.
 */
int bus_send(struct bus_out *out, void *ref, void (*release)(void *ref)) MUST_USE;

/* Waits for room, at most so long. */
int bus_send_within(struct bus_out *out, void *ref, void (*release)(void *ref),
                    int timeout_ms) MUST_USE;

/* A received item; release hook pending until bus_item_done(). */
struct bus_item {
    void *ref;                                                          /* as sent */
    unsigned char message[64] __attribute__((aligned(sizeof(void *)))); /* private */
};
/* Never waits. 0, or -EAGAIN when nothing is there. */
int bus_receive(struct bus_in *in, struct bus_item *ret) MUST_USE;
void bus_item_done(struct bus_item *item);

/* Waits until `in` (may be NULL) has an item, one of the descriptors is readable, or the time-out
 * (ms, -1 = none). ret_ready[i] tells about fds[i]. At most BUS_WAIT_FDS descriptors; negative ones
 * are left out. */
#define BUS_WAIT_FDS 4
int bus_wait(struct bus_in *in, const int *fds, bool *ret_ready, int fd_count, int timeout_ms);

/* What has gone over an edge since the start, as far as it was ever opened. */
#define BUS_EDGES_MAX 16
struct bus_edge_status {
    char name[32];
    int64_t sent, received; /* the difference is on its way */
    int64_t full;           /* sends that found no room */
    int64_t capacity;       /* items, over all its pairs of producer and consumer */
};
/* Returns the count. Any thread, while the bus is there. */
size_t bus_edges(struct bus *b, struct bus_edge_status ret[BUS_EDGES_MAX]);
