#pragma once
/* What turns the server's one thread: descriptors with epoll, timers in a heap, and work that is to
 * go on in the next turn. Nothing here allocates per event, and nothing is walked per turn, so
 * thousands of silent sessions cost no time. One thread; all structs are embedded in their owners
 * and must be taken out before these go. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"

struct ftp_loop;

int ftp_loop_new(struct ftp_loop **ret, struct err *e);
void ftp_loop_free(struct ftp_loop *l);
/* Waits for at most max_ms and calls what is due. */
void ftp_loop_turn(struct ftp_loop *l, int max_ms);
/* The time of this turn: what happens in one turn happens at one time, and a clock read less. */
struct mono_time ftp_loop_now(const struct ftp_loop *l);

struct ftp_watch {
    int fd; /* -1 = none */
    uint32_t events;
    bool in_epoll;
    void (*ready)(struct ftp_watch *w, uint32_t events);
};
/* Waits for these EPOLL* events of w->fd from now on; asks the kernel only when they change.
 * Hang-ups and errors are always told. A failure (no memory in the kernel) is -errno. */
int ftp_loop_watch(struct ftp_loop *l, struct ftp_watch *w, uint32_t events);
/* Before the descriptor is closed or the watch goes; also from within a ready(). */
void ftp_loop_unwatch(struct ftp_loop *l, struct ftp_watch *w);

struct ftp_timer {
    struct mono_time at;
    size_t place; /* in the heap, from 1; 0 = not set */
    void (*fire)(struct ftp_timer *t);
};
void ftp_loop_arm(struct ftp_loop *l, struct ftp_timer *t, struct mono_time at); /* again: moves */
void ftp_loop_disarm(struct ftp_loop *l, struct ftp_timer *t);

struct ftp_task {
    struct ftp_task *next;
    bool queued;
    void (*run)(struct ftp_task *t);
};
/* Runs it in this turn after the events at hand, or in the next when it is asked for by a task. */
void ftp_loop_defer(struct ftp_loop *l, struct ftp_task *t);
void ftp_loop_forget(struct ftp_loop *l, struct ftp_task *t);
