#pragma once
/* A maker's way to hand out a still picture over HTTP. Pure functions: a camera becomes a request,
 * an answer becomes a judgement; the fetcher moves the bytes. One kind is one file and one line in
 * registry.c. */

#include "base/clock.h"
#include "base/err.h"
#include "base/macros.h"
#include "model/camera.h"

struct camera_request {
    char *url;             /* complete, percent-encoded; holds secrets: never logged as it is */
    char *shown;           /* what error texts call it: no secrets */
    enum camera_auth auth; /* how user and password go by header */
    bool login_in_url;     /* they are in the URL */
};
void camera_request_done(struct camera_request *r);

struct camera_answer {
    const char *shown;        /* as in the request; NULL = "the answer" */
    long status;              /* HTTP; 0 = an answer without a status line, which was allowed */
    const char *content_type; /* or NULL; for error texts only, never to decide */
    const void *body;
    size_t size;                      /* bytes */
    long retry_after_s;               /* -1 when absent */
    bool login_sent;                  /* user and password went out, by header or in the URL */
    bool offers_basic, offers_digest; /* by a 401's challenges */
    int redirects;                    /* followed before this answer */
};

/* What a failed answer means for the next attempts. */
enum camera_fault {
    CAMERA_FAULT_NONE,
    CAMERA_FAULT_CREDENTIALS, /* stop asking until the configuration changes or a person asks */
    CAMERA_FAULT_BUSY,        /* back off */
    CAMERA_FAULT_NOT_PICTURE, /* an answer, but no picture, or not a whole one */
    CAMERA_FAULT_OTHER,
    CAMERA_FAULT_COUNT
};
extern const char *const camera_fault_names[CAMERA_FAULT_COUNT]; /* "none", "credentials", ... */

struct camera_kind {
    const char *name;
    const char *help; /* one line for the reference */
    /* Checks what the kind needs (address or url, ...): used by `check`. Never blocks. Text says
     * what is missing. */
    int (*validate)(const struct camera *cam, struct err *e);
    /* Makes the request for a picture; *ret is overwritten, the caller calls
     * camera_request_done(). Never blocks. Fails only for what validate() refuses. */
    int (*request)(const struct camera *cam, struct wall_time now, struct camera_request *ret,
                   struct err *e);
    /* What only this kind knows of an answer. 0 = no objection: the common rules decide. Negative:
     * the answer is refused, *ret_fault and `e` (with retry class) say why. NULL = nothing special.
     */
    int (*judge)(const struct camera *cam, const struct camera_answer *a,
                 enum camera_fault *ret_fault, struct err *e);
};

const struct camera_kind *camera_kind_find(const char *name); /* NULL when unknown */
const struct camera_kind *const *camera_kind_all(void);       /* NULL-terminated */

/* Judges an answer by the kind's rule and then by the common ones: status, bodies by which makers
 * tell their failures, magic bytes, completeness. 0 = the body is a complete picture. Else a
 * negative errno with *ret_fault and `e`:
 *   -EACCES  credentials (never)        -EBUSY   busy (later)
 *   -ENOENT  no such path (never)       -EINVAL  not a picture (never; empty: now)
 *   -EBADMSG picture ends early (now)   -EFBIG   picture over a limit (never)
 *   -EREMOTEIO any other failure that the camera reports (later or never, by its kind)
 * Pure: no I/O, no clock. */
int camera_judge(const struct camera_kind *kind, const struct camera *cam,
                 const struct camera_answer *a, enum camera_fault *ret_fault, struct err *e);
