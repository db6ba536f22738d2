#pragma once
/* A maker's way to hand out a still picture over HTTP. Pure functions: a camera becomes a request,
 * an answer becomes a judgement; the fetcher moves the bytes. One kind is one file and one line in
 * registry.c. */

#include "base/dynbuf.h"
#include "base/err.h"
#include "model/camera.h"

struct camera_request {
    char *url;             /* complete, percent-encoded; holds secrets: never logged as it is */
    enum camera_auth auth; /* how user and password go by header; NONE when they are in the URL */
};
void camera_request_done(struct camera_request *r);

struct camera_answer {
    long status;              /* HTTP */
    const char *content_type; /* or NULL */
    const void *body;
    size_t size;        /* bytes */
    long retry_after_s; /* -1 when absent */
};

/* What a failed answer means for the next attempts. */
enum camera_fault {
    CAMERA_FAULT_NONE,
    CAMERA_FAULT_CREDENTIALS, /* stop asking until the configuration changes or a person asks */
    CAMERA_FAULT_BUSY,        /* back off */
    CAMERA_FAULT_NOT_PICTURE, /* an answer, but no picture */
    CAMERA_FAULT_OTHER,
    CAMERA_FAULT_COUNT
};

struct camera_kind {
    const char *name;
    const char *help; /* one line for the reference */
    /* Checks what the kind needs (address or url, ...): used by `check`. Text says what is missing.
     */
    int (*validate)(const struct camera *cam, struct err *e);
    int (*request)(const struct camera *cam, struct wall_time now, struct camera_request *ret,
                   struct err *e);
    /* Judges status and body. 0 = body is a complete picture. May be NULL: then the common rules
     * (status, magic bytes, completeness) decide alone; otherwise it runs before them. */
    int (*judge)(const struct camera *cam, const struct camera_answer *a,
                 enum camera_fault *ret_fault, struct err *e);
};

const struct camera_kind *camera_kind_find(const char *name);
const struct camera_kind *const *camera_kind_all(void); /* NULL-terminated */
