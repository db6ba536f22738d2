#pragma once
/* A maker's way to hand out a still picture. Pure functions: a camera becomes a request, an answer
 * becomes a judgement or the next request; the fetcher moves the bytes. One kind is one row in
 * makers.c or one file, and one line in registry.c. */

#include "base/clock.h"
#include "base/err.h"
#include "base/macros.h"
#include "model/camera.h"

struct camera_request {
    char *url;                /* complete, percent-encoded; holds secrets: never logged as it is */
    char *shown;              /* what error texts call it: no secrets */
    char *body;               /* of a POST; may hold secrets; NULL = GET */
    const char *content_type; /* of the body; static */
    enum camera_auth auth;    /* how user and password go by header */
    bool login_inside;        /* they are in the URL or the body */
    bool stream;              /* the answer may be a multipart stream: its second frame is taken */

    /* Instead of a URL: a program that prints the picture, and all of its environment. Both
     * NULL-terminated and owned. */
    char **argv, **environment;
};
/* Wipes what may be secret. */
void camera_request_done(struct camera_request *r);

struct camera_answer {
    const char *shown;        /* as in the request; NULL = "the answer" */
    long status;              /* HTTP; 0 = an answer without a status line, or a program's output */
    const char *content_type; /* or NULL; for error texts only, never to decide */
    const void *body;
    size_t size;                      /* bytes */
    long retry_after_s;               /* -1 when absent */
    bool login_sent;                  /* user and password went out, by header or inside */
    bool offers_basic, offers_digest; /* by a 401's challenges */
    int redirects;                    /* followed before this answer */
    int exit_status;                  /* of a program, as a shell tells it */
    const char *complaint;            /* the end of its standard error; may hold secrets */
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

/* Requests for one picture, whatever a camera answers: the longest way (onvif, all forgotten, with
 * a digest challenge) takes six. */
#define CAMERA_REQUESTS_MAX 10

struct camera_kind {
    const char *name;
    const char *help; /* one line for the reference */
    /* Kinds that differ in nothing else (makers.c): the path of a picture, with placeholders, and
     * the channel that is meant when none is configured. */
    const char *path, *channel;
    bool stream;
    bool pushes; /* it is never asked: validate() and request() only say so */
    /* What the kind remembers of a camera from one picture to the next (a token, an address):
     * plain bytes, zeroed at first and when address, login, channel or command change, wiped at
     * the end. */
    size_t memory_size;

    /* Checks what the kind needs (address or url, ...): used by `check`. Never blocks. Text says
     * what is missing. */
    int (*validate)(const struct camera *cam, struct err *e);
    /* Makes the first request for a picture; *ret is overwritten, the caller calls
     * camera_request_done(). `memory` is NULL for kinds without. Never blocks. Fails only for what
     * validate() refuses. */
    int (*request)(const struct camera *cam, void *memory, struct wall_time now,
                   struct camera_request *ret, struct err *e);
    /* For kinds that take several requests: what follows from an answer.
     *   0  it is the answer that should be the picture: the common rules decide;
     *   1  another request is to be sent, *ret_next, as in request();
     *   negative: it is refused, *ret_fault and `e` (with retry class) say why.
     * NULL = the first answer is the picture. */
    int (*answer)(const struct camera *cam, void *memory, const struct camera_answer *a,
                  struct wall_time now, struct camera_request *ret_next,
                  enum camera_fault *ret_fault, struct err *e);
};

const struct camera_kind *camera_kind_find(const char *name); /* NULL when unknown */
const struct camera_kind *const *camera_kind_all(void);       /* NULL-terminated */

/* Judges an answer by the rules that all kinds share: status, bodies by which makers tell their
 * failures, magic bytes, completeness. 0 = the body is a complete picture. Else a negative errno
 * with *ret_fault and `e`:
 *   -EACCES  credentials (never)        -EBUSY   busy (later)
 *   -ENOENT  no such path (never)       -EINVAL  not a picture (never; empty: now)
 *   -EBADMSG picture ends early (now)   -EFBIG   picture over a limit (never)
 *   -EREMOTEIO any other failure that the camera reports (later or never, by its kind)
 * Pure: no I/O, no clock. */
int camera_judge(const struct camera *cam, const struct camera_answer *a,
                 enum camera_fault *ret_fault, struct err *e);
/* The first half of it, for answers that are not to be pictures: 0 when neither status nor body
 * tell a failure. */
int camera_judge_message(const struct camera *cam, const struct camera_answer *a,
                         enum camera_fault *ret_fault, struct err *e);
