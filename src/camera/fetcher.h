#pragma once
/* Fetches pictures from all cameras at once: one request in flight per camera, a circuit breaker
 * per camera, wrong credentials stop at once. What a kind needs for a picture, several requests one
 * after the other or a program, is one request here: within the camera's total time and
 * CAMERA_REQUESTS_MAX steps. One thread owns a fetcher and makes all calls;
 * callbacks run inside fetcher_process(), fetcher_forget() and fetcher_free() and may call
 * fetcher_start() and fetcher_forget().
 *
 * Who decides what: the caller decides about retries from `error->retry`, the camera's `tries` and
 * `retry_delay_ms`; what a camera must be spared lives here. After FETCHER_BREAKER_FAILURES
 * failures in a row a camera is left alone for a time that doubles from FETCHER_BREAKER_FIRST_MS to
 * FETCHER_BREAKER_MAX_MS, jittered, and then one request decides. A camera that asks for a pause
 * (Retry-After) gets it. A password that was rejected is not sent again, since makers lock accounts
 * after a few wrong logins, until `credentials_digest` changes or a person asks.
 *
 * What is known of a camera goes by its name and survives a reload of the configuration. */

#include "base/blob.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/macros.h"
#include "camera/camera_kind.h"
#include "camera/freshness.h"
#include "model/camera.h"

#define FETCHER_BREAKER_FAILURES 5    /* a restart of a camera costs fewer */
#define FETCHER_BREAKER_FIRST_MS 1000 /* first pause */
#define FETCHER_BREAKER_MAX_MS 60000  /* a camera that comes back is noticed within a minute */
/* Bodies under way, all cameras together: a swarm of cameras that send too much must not take the
 * machine's memory. */
#define FETCHER_MEMORY_MAX (256LL << 20)

struct fetcher;

struct fetch_result {
    const char *camera; /* name */
    void *ticket;       /* as given to fetcher_start */
    int code;           /* 0 or negative errno */
    enum camera_fault fault;
    const struct err *error;         /* when code < 0; retry class set */
    struct blob *bytes;              /* when code == 0; take a reference to keep */
    double elapsed_ms;               /* from start of the request to the last byte */
    enum camera_freshness freshness; /* when code == 0; CAMERA_FRESH when it is not checked */
    long retry_after_s;              /* -1 when the camera did not say */
};
typedef void fetch_done_fn(void *arg, const struct fetch_result *result);

enum camera_state_kind {
    CAMERA_STATE_UNKNOWN, /* never asked */
    CAMERA_STATE_OK,
    CAMERA_STATE_FAILING,
    CAMERA_STATE_OPEN,   /* breaker open, or the camera asked for a pause */
    CAMERA_STATE_LOCKED, /* credentials rejected */
    CAMERA_STATE_COUNT
};
extern const char *const camera_state_names[CAMERA_STATE_COUNT];

struct camera_status {
    enum camera_state_kind state;
    int failures;                /* in a row */
    struct mono_time open_until; /* breaker */
    char last_error[ERR_TEXT_MAX];
    double last_ms; /* answer time of the last picture */
};

void fetcher_register_metrics(void);
int fetcher_new(fetch_done_fn *done, void *arg, struct fetcher **ret, struct err *e);
void fetcher_free(struct fetcher *f); /* running requests end with -ECANCELED */
DEFINE_AUTO(fetcher, fetcher_free)
/* A descriptor that is readable when fetcher_process() has work (an epoll over sockets and timer).
 */
int fetcher_fd(const struct fetcher *f);
void fetcher_process(struct fetcher *f);
/* Starts one request. -EBUSY: this camera has one in flight; -EAGAIN: its breaker is open (status
 * says until when), or too many programs run; -EACCES: its password was rejected and nothing has
 * changed; -EINVAL: the camera lacks what its kind needs. `by_person` overrides -EAGAIN and -EACCES
 * once. The camera is borrowed until the result came. On an error the done callback is not called.
 */
int fetcher_start(struct fetcher *f, const struct camera *cam, bool by_person, void *ticket,
                  struct err *e);
void fetcher_status(struct fetcher *f, const char *camera, struct camera_status *ret);
int fetcher_in_flight(const struct fetcher *f);
/* Drops all that is known of a camera that left the configuration; a running request ends with
 * -ECANCELED. */
void fetcher_forget(struct fetcher *f, const char *camera);
