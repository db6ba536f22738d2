#pragma once
/* Fetches pictures from all cameras at once: one curl multi, one request in flight per camera, a
 * circuit breaker per camera, wrong credentials stop at once. One thread owns a fetcher and makes
 * all calls; callbacks run inside fetcher_process(). */

#include "base/blob.h"
#include "base/clock.h"
#include "base/err.h"
#include "camera/camera_kind.h"
#include "model/camera.h"

struct fetcher;

struct fetch_result {
    const char *camera; /* name */
    void *ticket;       /* as given to fetcher_start */
    int code;           /* 0 or negative errno */
    enum camera_fault fault;
    const struct err *error; /* when code < 0; retry class set */
    struct blob *bytes;      /* when code == 0; take a reference to keep */
    double elapsed_ms;       /* from start of the request to the last byte */
    long retry_after_s;      /* -1 when the camera did not say */
};
typedef void fetch_done_fn(void *arg, const struct fetch_result *result);

enum camera_state_kind {
    CAMERA_STATE_UNKNOWN,
    CAMERA_STATE_OK,
    CAMERA_STATE_FAILING,
    CAMERA_STATE_OPEN /* breaker open */,
    CAMERA_STATE_LOCKED /* credentials rejected */,
    CAMERA_STATE_COUNT
};
extern const char *const camera_state_names[CAMERA_STATE_COUNT];

struct camera_status {
    enum camera_state_kind state;
    int failures;                /* in a row */
    struct mono_time open_until; /* breaker */
    char last_error[ERR_TEXT_MAX];
    double last_ms;
};

int fetcher_new(fetch_done_fn *done, void *arg, struct fetcher **ret, struct err *e);
void fetcher_free(struct fetcher *f); /* running requests end with -ECANCELED */
/* A descriptor that is readable when fetcher_process() has work (an epoll over sockets and timer).
 */
int fetcher_fd(const struct fetcher *f);
void fetcher_process(struct fetcher *f);
/* Starts one request. -EBUSY: this camera has one in flight; -EAGAIN: its breaker is open (status
 * says until when); -EACCES: its password was rejected and nothing has changed. `by_person`
 * overrides the last two once. The camera is borrowed until the result came. */
int fetcher_start(struct fetcher *f, const struct camera *cam, bool by_person, void *ticket,
                  struct err *e);
void fetcher_status(struct fetcher *f, const char *camera, struct camera_status *ret);
int fetcher_in_flight(const struct fetcher *f);
