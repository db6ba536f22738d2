#pragma once
/* Simulated cameras that push their pictures by FTP, as their maker's do (sim_pushers.h). Each
 * upload is a line on standard output, and each camera a summary at the end:
 *
 *   camera-sim: front-door: pushed /FI9828P/snap/MDAlarm_20260102-030405.jpg: 104321 bytes, 12 ms:
 * 226 ... camera-sim: front-door: not pushed /FI9828P/snap/...: 452 No space.: again in 1 s
 *   camera-sim: front-door: 14 pictures pushed, 1 lost, 3 failed tries, 12 ms each, 31 at most
 *
 * A picture that was not taken is tried again after a pause that doubles, up to a number of tries;
 * then it is lost, as the memory of a camera is small. Own threads; the caller starts and stops. */

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "sim/camera_sim.h"
#include "sim/sim_ftp.h"
#include "sim/sim_pushers.h"

/* Borrowed for the call. */
struct sim_push_options {
    const struct camera_sim_source *sources;
    size_t source_count;
    const char *host;
    uint16_t port;
    /* In these, {name} stands for the camera's name. */
    const char *user, *password, *folder, *device; /* folder "": none; device NULL: by maker */
    enum sim_ftp_tls tls;
    const char *tls_ca_file;
    const struct sim_pusher *pusher;
    unsigned habits; /* the maker's, or others */
    enum sim_event event;
    int64_t interval_ms;  /* between two events */
    int burst;            /* pictures of one event */
    int parallel;         /* sessions of one camera at once */
    int64_t count;        /* pictures of each camera, then it ends; 0 = no end */
    bool once;            /* stay at the last picture instead of starting over */
    bool test_button;     /* first of all a text file, stored and deleted */
    bool trace;           /* prints the conversation */
    int tries;            /* of one picture; 0 = until it is taken */
    int64_t retry_ms;     /* pause after the first failure */
    int64_t keepalive_ms; /* of kept sessions */
    int64_t timeout_ms;   /* of each reply */
    int clock_ahead_s;
    const char *const *faults; /* NULL-terminated, or NULL */
};

struct sim_push;

int sim_push_start(const struct sim_push_options *o, struct sim_push **ret, struct err *e);
/* Readable when all cameras have pushed their `count`. */
int sim_push_done_fd(const struct sim_push *p);
/* No new pictures; an upload under way may end, within some seconds. Prints the summaries. May be
 * called twice. */
void sim_push_stop(struct sim_push *p);
void sim_push_free(struct sim_push *p);
DEFINE_AUTO(sim_push, sim_push_free)
/* Pictures that were given up, of all cameras; after sim_push_stop(). */
int64_t sim_push_lost(const struct sim_push *p);
