#pragma once
/* The HTTP API: routes are pure (request -> response, see web/routes.h), one event thread moves the
 * bytes (sys/httpd.h). The API reads the ledger with its own connection; what it asks of the
 * running pipeline goes through the backend that app fills. What it offers is described in
 * doc/api.md. */

#include "base/blob.h"
#include "base/err.h"
#include "model/news.h"
#include "model/snapshot.h"
#include "model/trigger.h"
#include "sys/json.h"

struct web;
struct access_options;

struct web_post {
    const char *camera;
    char name[256]; /* as its sender calls the file, or "" */
    struct wall_time event_at;
    bool timed; /* the sender said so */
    struct blob *bytes;
};

/* All calls come from the web thread; none may block longer than a database read (`bytes`: a file
 * read). */
struct web_backend {
    void *arg;
    /* Makes a trigger durable and nudges the fetch stage; `ret` is as ledger_trigger_get() gives it
     * from then on. -ENOENT unknown camera (the text lists what there
     * is); -ECANCELED the camera is switched off; -ENOSPC, -EBUSY, -EAGAIN refused for now:
     * answered with 503 and Retry-After; others are a 500. The text reaches the client. */
    int (*trigger)(void *arg, const char *camera, struct trigger *ret, struct err *e);
    /* The status document, its form is in doc/api.md ("The status document"). New reference, NULL
     * when there is no memory. */
    json_t *(*status)(void *arg);
    /* The picture's bytes, on the web thread and those of exports (annotated or as the camera sent
     * it), from the cache or the store. -ENOENT: the file is gone. */
    int (*bytes)(void *arg, const struct snapshot *s, bool annotated, struct blob **ret,
                 struct err *e);
    /* The star of a picture has changed in the ledger: storages have it to hear. May be NULL. */
    void (*starred)(void *arg);
    /* 0 when ready to work, else negative with a reason per part in `e`. */
    int (*ready)(void *arg, struct err *e);
    /* What somebody should do though the program is ready (a storage wants a login), or "". May be
     * NULL. */
    void (*attention)(void *arg, char ret[ERR_TEXT_MAX]);
    /* Array of the parts that make up the two above and below: {"name", "state", "reason"}. New
     * reference; may be NULL. */
    json_t *(*parts)(void *arg);
    /* 0 while all stages make progress (liveness). */
    int (*healthy)(void *arg, struct err *e);

    /* What changes all the time, in a few words: queues, destinations, attention. Asked every few
     * seconds while somebody listens, so it must cost nothing. New reference. May be NULL. */
    json_t *(*pulse)(void *arg);
    /* A picture that somebody sends. Whether this camera takes any, and how large: -ENOENT unknown
     * camera, -ECANCELED switched off. The picture on its way into the ledger: 1, it is there
     * already; 0, web_notify() with its id tells when push_result() knows; -EFBIG, -EAGAIN. What
     * became of it: 0 recorded; 1 it was before, `ret_id` is the first's; -EINPROGRESS; -EINVAL no
     * picture; -ENOSPC and others: not recorded now. The texts reach the client. */
    int (*push_check)(void *arg, const char *camera, size_t *ret_max, struct err *e);
    int (*push)(void *arg, const struct web_post *post, char ret_id[SNAPSHOT_ID_SIZE],
                struct err *e);
    int (*push_result)(void *arg, const char *id, char ret_id[SNAPSHOT_ID_SIZE], struct err *e);
    /* A picture waits to be examined once more. May be NULL. */
    void (*examine)(void *arg);
    /* How long a picture stays in the trash. May be NULL: then nobody is told. */
    int64_t (*trash_keep_ms)(void *arg);
    /* The cameras of the status document, or the one of this name (NULL = all). New reference, NULL
     * when there is no memory. */
    json_t *(*cameras)(void *arg, const char *camera);
    /* A person switches a camera off, or on again, for good. -ENOENT unknown camera, -ECANCELED the
     * configuration says off; as with `trigger`. */
    int (*switch_camera)(void *arg, const char *camera, bool off, struct err *e);
    /* Who is told and where pictures are kept: {"destinations", "storages"} of the status document.
     * New reference. */
    json_t *(*destinations)(void *arg);
    /* The configuration in force, without secrets; its form is in doc/api.md. New reference. */
    json_t *(*config)(void *arg);
    /* A small copy of the picture, `width` pixels across (THUMBNAIL_WIDTH_...), as JPEG. -EAGAIN:
     * it is being made, web_notify() with the snapshot's id tells when; -EBUSY: too many are;
     * -EOPNOTSUPP: none are made here; -ENOENT: the picture is gone; else why there is none. May be
     * NULL. */
    int (*thumbnail)(void *arg, const struct snapshot *s, int width, struct blob **ret,
                     struct err *e);
    /* How many waited, lately; its form is in doc/api.md. New reference. */
    json_t *(*queues)(void *arg);
};

struct web_options {
    const char *listen; /* "127.0.0.1:8080"; port 0 = any free one */
    const char *ledger_path;
    /* Names it answers to besides addresses; NULL-terminated, or NULL. Copied. */
    const char *const *host_names;
    /* Who may come in; its wake is filled in here. Copied. NULL: whoever is at the machine. */
    const struct access_options *access;
    int connections_max;        /* 0 = the default */
    int64_t request_timeout_ms; /* 0 = the default */
    /* Proxies in front of it; NULL-terminated, or NULL. */
    const char *const *trusted_proxies;
    const char *cert_file, *key_file; /* for TLS; NULL = without */
};

void web_register_metrics(void);
/* Opens the ledger, listens, starts the thread. The backend is copied. */
int web_start(const struct web_options *options, const struct web_backend *backend,
              struct web **ret, struct err *e);
int web_port(const struct web *w);
/* Tells waiting requests (trigger with ?wait=) that the trigger of this id, or its snapshot, has an
 * outcome in the ledger: call it after the commit of an examination or of a failed trigger. Any
 * thread; never blocks. */
void web_notify(struct web *w, const char *id);
/* The certificate and key as these files are now; the ones before go on when they are no good. */
int web_renew(struct web *w, const char *cert_file, const char *key_file, struct err *e);
/* Something has happened: told to those who listen (web/events.h). `subject` as model/news.h says.
 * Any thread; never blocks, and costs nothing while nobody listens. */
void web_tell(struct web *w, enum news what, const char *subject);
/* No new connections; answers what is running (at most grace_ms), joins. May be called twice. */
void web_stop(struct web *w, int grace_ms);
void web_free(struct web *w);
DEFINE_AUTO(web, web_free)
