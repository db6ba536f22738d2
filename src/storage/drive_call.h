#pragma once
/* One request to Drive: with a valid token, asked for anew once when it is refused, in its turn
 * among all that write to the account, and its answer judged. */

#include <pthread.h>

#include "storage/drive_api.h"
#include "storage/google_login.h"
#include "storage/storage.h"
#include "sys/http_call.h"

/* What all sessions share. `login` and `base` are borrowed. */
struct drive_account {
    struct google_login *login;
    const char *base;    /* DRIVE_API_URL, or of a test */
    bool shared;         /* the folder may be in a shared drive */
    int64_t interval_us; /* between two writes in the long run; 0 = as fast as it goes */
    pthread_mutex_t lock;
    struct mono_time next_write;
    char drive[DRIVE_ID_MAX]; /* the shared drive that the folder is in, "" = none or not known */
    int64_t stall_ms; /* without a byte in either direction; 0 = as the request needs (tests) */
};
void drive_account_init(struct drive_account *a, struct google_login *login, const char *base,
                        double writes_per_second);
void drive_account_done(struct drive_account *a);

/* One session's way to Drive; one thread. */
struct drive_link {
    struct drive_account *account;
    struct http_client *client;
    int stop_fd;
    /* Of the last call: whether the server may have done it although no answer came. */
    bool unknown;
    char token[GOOGLE_TOKEN_MAX];
    char login_header[GOOGLE_TOKEN_MAX + 32];
};

struct drive_ask {
    const char *what;   /* for people: "create file" */
    const char *method; /* NULL = GET */
    const char *url;
    const char *type;           /* of the body; NULL = none */
    const char *const *headers; /* up to DRIVE_HEADERS_MAX, NULL-terminated, or NULL */
    const void *body;
    size_t size;
    bool write;      /* takes its turn */
    bool session;    /* of an upload, whose answers are judged by number */
    bool stranger;   /* the URL is not of the API's origin: no token goes there */
    int64_t time_ms; /* 0 = DRIVE_CALL_MS */
};
#define DRIVE_HEADERS_MAX 4
#define DRIVE_CALL_MS 60000 /* for an answer without a picture; Drive takes seconds at worst */

struct drive_reply {
    struct blob *body;
    char *range, *location; /* NULL when absent */
    bool more;              /* a 308 */
};
void drive_reply_done(struct drive_reply *r);

/* 0: done, or a session wants more. Else as drive_failure() says, with -EAGAIN for an exchange that
 * failed on the way; -ECANCELED when the session is to stop. */
int drive_call(struct drive_link *l, const struct drive_ask *ask, struct drive_reply *ret,
               struct storage_failure *f, struct err *e);

/* ---- the requests that several need ---- */

/* The address of `path` with parameters, at least one; initialises `url`. 0 or -ENOSPC. */
int drive_link_url(struct drive_link *l, struct dynbuf *url, const char *path,
                   const char *const *params);

int drive_get(struct drive_link *l, const char *id, struct drive_file *ret,
              struct storage_failure *f, struct err *e);
/* `change` is the JSON of what changes; parents are given here, NULL = they stay. */
int drive_patch(struct drive_link *l, const char *what, const char *id, const char *change,
                const char *add_parent, const char *remove_parent, struct drive_file *ret,
                struct storage_failure *f, struct err *e);
int drive_trash(struct drive_link *l, const char *id, struct storage_failure *f, struct err *e);
/* What has no bytes: folders and shortcuts. */
int drive_create(struct drive_link *l, const char *what, const struct drive_meta *m,
                 struct drive_file *ret, struct storage_failure *f, struct err *e);
/* Calls f for each file that the query finds, until it returns non-zero, which is the result; 0
 * after the last. Nothing may be changed meanwhile that the query asks for: pages would shift. */
int drive_find(struct drive_link *l, const char *query, int page_size,
               int (*each)(void *arg, const struct drive_file *file), void *arg,
               struct storage_failure *f, struct err *e);
/* New ids for files, or for shortcuts. Returns how many, 1..count. */
int drive_new_ids(struct drive_link *l, const char *type, int count, char (*ret)[DRIVE_ID_MAX],
                  struct storage_failure *f, struct err *e);
/* An answer that is not what it should be: a proxy's, or none of Drive's making. */
int drive_nonsense(struct storage_failure *f, struct err *e, const char *what);
