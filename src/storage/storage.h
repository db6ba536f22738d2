#pragma once
/* A place where pictures are kept for people: Google Drive, S3, a mounted folder.
 *
 * Several threads may use one storage, each with a session of its own (connection, buffers). Calls
 * block as long as the network does, within the limits that each request has, and end with
 * -ECANCELED as soon as the stop descriptor of their session is readable. What a storage has to
 * remember over a restart it writes through `struct storage_memory` (the ledger's), never into
 * files of its own. */

#include <stdbool.h>
#include <stdint.h>

#include "base/blob.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/macros.h"
#include "model/snapshot.h"

/* What is to be kept: one file. Borrowed for the call. */
struct storage_object {
    const char *snapshot_id;
    bool annotated;   /* the copy with boxes, not the picture itself */
    const char *name; /* "human_front-door-camera_1767323045.jpg" */
    const char
        *path; /* below the store, with the camera's folder and the day: for places with paths */
    const char *content_type;
    struct blob *bytes;
    const char *md5, *sha256; /* of the bytes, lower-case hex */
    struct wall_time taken_at;
    const char *camera, *device_label;
    const char *labels; /* "car,person", best first; "" = none */
    bool starred;
};

/* What is known of an object's other end. Kept in the ledger with the job from before the first
 * attempt on, so that a repeat after a crash goes on with it and never makes a second one. */
#define STORAGE_ID_MAX 512
#define STORAGE_RESUME_MAX 2048
struct storage_mark {
    char id[STORAGE_ID_MAX]; /* Drive: the file's id, made before; others: the key or path */
    char resume[STORAGE_RESUME_MAX]; /* what a repeat goes on with; a secret while an upload is
                                        under way; "" = nothing */
    char url[STORAGE_ID_MAX];        /* where a person finds it, or "" */
};

/* Why a storage as a whole takes nothing: its jobs wait and count no attempts. */
enum storage_trouble {
    STORAGE_WELL,
    STORAGE_AWAY,  /* network, 5xx, mount gone: back-off */
    STORAGE_RATE,  /* asked to slow down: pause_ms */
    STORAGE_QUOTA, /* full: a try an hour */
    STORAGE_LOGIN, /* somebody has to log in or to grant something: a try an hour, after a reload,
                      and when generation() changes */
    STORAGE_TROUBLE_COUNT
};
extern const char *const storage_trouble_names[STORAGE_TROUBLE_COUNT];

/* Set by a call that failed, beside its err. WELL: the fault is the object's own, the retry class
 * of the err decides about its repeat. */
struct storage_failure {
    enum storage_trouble trouble;
    int64_t pause_ms;  /* at least so long; 0 = the caller's back-off. With RATE and LOGIN exactly
                          so long: for a login whose look-up asks nobody it may be short */
    bool asked_nobody; /* the fault was seen here: it says nothing of how the storage is */
};

/* Small texts that outlive the program, by key; the caller's thread, the caller's ledger. */
struct storage_memory {
    int (*get)(void *arg, const char *key, char *ret, size_t size, struct err *e); /* -ENOENT */
    int (*set)(void *arg, const char *key, const char *value, struct err *e); /* NULL forgets */
    void *arg;
};

struct storage;
struct storage_session;

/* "a/b.jpg" with "-3" before the dot of its name: for an object whose own name is somebody else's.
 * A name that is full gives up its end. -ENAMETOOLONG when it does not fit. */
int storage_nth_path(const char *path, unsigned nth, char *ret, size_t size);
/* Names that are taken by others: beyond it somebody else uses the place. */
#define STORAGE_NTH_MAX 100

struct storage_state { /* for people and metrics; any thread */
    char text[256];    /* "Drive folder 'cameras': signed in; ...", "/mnt/nas: 1.2 TB free" */
    char error[ERR_TEXT_MAX];
    char
        url[STORAGE_ID_MAX]; /* of the whole, for events' storage_url; "" = none or not known yet */
};

struct storage_ops {
    const char *kind; /* "gdrive", "s3", "directory" */
    int (*session_new)(struct storage *s, int stop_fd, const struct storage_memory *memory,
                       struct storage_session **ret, struct err *e);
    void (*session_free)(struct storage_session *w);
    /* Fills the marks of objects that were never tried: durable before the first put. Of no object:
     * fills up the stock, if the storage has one. */
    int (*reserve)(struct storage_session *w, const struct storage_object *objects,
                   struct storage_mark *marks, int count, struct storage_failure *f, struct err *e);
    bool reserve_asks_nobody; /* nor does session_new(): both return at once, in any thread */
    /* The same from what is in stock, for all or for none; asks nobody, any thread. -EAGAIN when
     * there are not enough. NULL = none is kept in stock. */
    int (*reserve_stocked)(struct storage *s, struct storage_mark *marks, int count);
    /* 0: the object is there, once, its size and digest are right, and its star is o->starred
     * (where the place has stars): also when it was sent by an attempt before. `save` makes a
     * changed mark durable (a resumable upload began); when that fails, so does the call, and the
     * caller knows that it was not the storage's fault. */
    int (*put)(struct storage_session *w, const struct storage_object *o, struct storage_mark *mark,
               int (*save)(void *arg, const struct storage_mark *mark, struct err *e), void *arg,
               struct storage_failure *f, struct err *e);
    /* 0 = there and the same; -ENOENT = gone; -EBADMSG = another size or digest. What is asked
     * about may not be here any more: of o->bytes only the size is known then, data is NULL; md5
     * and sha256 are. */
    int (*verify)(struct storage_session *w, const struct storage_object *o,
                  const struct storage_mark *mark, struct storage_failure *f, struct err *e);
    /* Moves what is older than a day where it belongs (Drive's YYYY/MM/DD). One run, from the start
     * or on from where it was cut; NULL = the place needs none. Returns how many were moved, or
     * -EINPROGRESS after some seconds: call again at once, when others have had their turn; the
     * count is told at the end. */
    int (*archive)(struct storage_session *w, struct wall_time now, struct storage_failure *f,
                   struct err *e);
    /* The star of a picture changed. NULL = the place has no stars. */
    int (*star)(struct storage_session *w, const struct storage_mark *mark, bool starred,
                struct storage_failure *f, struct err *e);
    /* Care that is due by time and not by files (the copy of a login). At the start and when its
     * time has come, in trouble too. Returns in how many ms it wants to be called again. NULL =
     * none. */
    int64_t (*tend)(struct storage_session *w);
    /* Another number when people changed the login, which may end any trouble. Asks nobody; any
     * thread. NULL = nobody logs in here. */
    uint64_t (*generation)(struct storage *s);
    /* The program was told to reload: refusals that are answered from memory are forgotten. Any
     * thread. NULL = none. */
    void (*reload)(struct storage *s);
    int (*free_bytes)(struct storage_session *w, int64_t *ret, struct err *e); /* NULL = unknown */
    void (*describe)(struct storage *s, struct storage_state *ret);
    void (*free)(struct storage *s);
};

/* Implementations embed this first. The names are the configuration's: "gdrive", "s3:NAME". */
struct storage {
    const struct storage_ops *ops;
    const char *name;
};
