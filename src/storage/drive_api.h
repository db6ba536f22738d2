#pragma once
/* Requests and answers of the Drive API, version 3, as far as they are bytes: nothing here opens a
 * connection or looks at a clock. Sources: "Upload file data", "Search query terms", "Resolve
 * errors", "Custom file properties" and the reference of `files` at developers.google.com. */

#include <stdbool.h>
#include <stdint.h>

#include "base/blob.h"
#include "base/clock.h"
#include "base/dynbuf.h"
#include "base/err.h"
#include "storage/storage.h"

#define DRIVE_API_URL "https://www.googleapis.com"
#define DRIVE_FOLDER_TYPE "application/vnd.google-apps.folder"
#define DRIVE_SHORTCUT_TYPE "application/vnd.google-apps.shortcut"

#define DRIVE_ID_MAX 128           /* theirs have 28 to 44 characters */
#define DRIVE_NAME_MAX 512         /* longer names are none of ours */
#define DRIVE_PROPERTY_MAX 124     /* key and value together, bytes of UTF-8: Drive's limit */
#define DRIVE_IDS_MAX 1000         /* of one generateIds */
#define DRIVE_ANSWER_MAX (8 << 20) /* a page of 1000 files has about 600 KB */

/* ---- what we ask ---- */

/* "<base><path>?name=value&..."; `params` holds names and values in turn, NULL-terminated; they are
 * percent-encoded, the path is not. 0 or -ENOSPC. */
int drive_url(struct dynbuf *out, const char *base, const char *path, const char *const *params);
/* Whether it has an id's letters only. Ids come from Drive, from the ledger and from people; others
 * would change the URL that they are put into. */
bool drive_id_plain(const char *id);
/* A text in the query language: in single quotes, with \' and \\. */
int drive_quote(struct dynbuf *out, const char *s);

struct drive_property {
    const char *name, *value; /* a value that is too long is cut between two characters */
};
#define DRIVE_PROPERTIES_MAX 4
/* A new file; NULL and zero members are left out. */
struct drive_meta {
    const char *id, *name, *type, *parent, *description;
    struct wall_time created_at;
    bool starred;
    const char *target;                                     /* of a shortcut */
    struct drive_property properties[DRIVE_PROPERTIES_MAX]; /* up to the first without a name */
};
int drive_meta_write(const struct drive_meta *m, struct dynbuf *out);

/* Body of a multipart upload: metadata, then the bytes. `boundary` must not be in them. */
int drive_multipart(struct dynbuf *out, const char *boundary, const char *meta, const char *type,
                    const void *bytes, size_t size);
/* Value of Content-Range for what begins at `from` and ends with the file; for a question about
 * the session's state `from` is -1. Returns buf. */
#define DRIVE_RANGE_MAX 80
const char *drive_content_range(int64_t from, int64_t total, char buf[DRIVE_RANGE_MAX]);
/* Where to go on after a 308 with this Range header, NULL when it has none. -EBADMSG: nonsense. */
int drive_parse_range(const char *range, int64_t total, int64_t *ret_next);
/* Whether a session's address may be asked: the API's own origin, or Google's by TLS. A session is
 * a credential, and an answer must not send our pictures elsewhere. */
bool drive_session_allowed(const char *session, const char *base);
/* Whether it is of the API's own origin, so that the access token may go with it. */
bool drive_same_origin(const char *url, const char *base);

/* ---- what it answers ---- */

extern const char drive_file_fields[]; /* what is asked of a file, and of each in a list */
struct drive_file {
    char id[DRIVE_ID_MAX];
    char name[DRIVE_NAME_MAX]; /* "" when longer */
    char type[128];
    char parent[DRIVE_ID_MAX]; /* "" when none is visible to us */
    char md5[33];              /* "" when it has no bytes */
    char link[STORAGE_ID_MAX];
    char key[80];             /* our appProperties: sd_key */
    char target[80];          /* and sd_target */
    char drive[DRIVE_ID_MAX]; /* the shared drive that it is in, "" = none */
    int64_t size;             /* -1 when it has no bytes */
    struct wall_time created_at;
    bool starred, trashed;
};
/* -EBADMSG: not a file resource, as of a proxy's page. */
int drive_parse_file(const struct blob *body, struct drive_file *ret, struct err *e);

extern const char drive_list_fields[];
#define DRIVE_TOKEN_MAX 2048
/* Calls f for each file of a page, until it returns non-zero, which is then the result. -EBADMSG:
 * none of Drive's, or Drive itself says that files are missing from it. */
int drive_parse_list(const struct blob *body, int (*f)(void *arg, const struct drive_file *file),
                     void *arg, char ret_next[DRIVE_TOKEN_MAX], struct err *e);
/* Returns how many ids there were, at most `max`. */
int drive_parse_ids(const struct blob *body, char (*ret)[DRIVE_ID_MAX], int max, struct err *e);

/* What an answer means for whoever asked. The code is what calls return for it. */
enum drive_verdict {
    DRIVE_DONE,
    DRIVE_CONTINUE,  /* 308: the session wants more */
    DRIVE_WAIT,      /* -EAGAIN: 5xx, or words that are not Drive's own: it may have happened */
    DRIVE_SLOWER,    /* -EBUSY: too many requests */
    DRIVE_TOMORROW,  /* -EBUSY: a limit per day */
    DRIVE_FULL,      /* -EDQUOT: the account or the folder takes no more */
    DRIVE_REFUSED,   /* -EACCES: 401 */
    DRIVE_FORBIDDEN, /* -EACCES: somebody has to grant or to switch on something */
    DRIVE_FOREIGN,   /* -EPERM: this file is not for us; elsewhere all may be well */
    DRIVE_GONE,      /* -ENOENT */
    DRIVE_EXISTS,    /* -EEXIST: the id is in use */
    DRIVE_RANGE,     /* -ERANGE: not what the session expected next */
    DRIVE_WRONG,     /* -EINVAL: the same again fails the same way */
    DRIVE_VERDICT_COUNT
};
extern const char *const drive_verdict_names[DRIVE_VERDICT_COUNT];

#define DRIVE_REASON_MAX 64
/* Judges an answer; `ret_reason` is "" when it is not in Drive's form. */
enum drive_verdict drive_judge(long status, const struct blob *body,
                               char ret_reason[DRIVE_REASON_MAX], char *ret_text, size_t text_size);
/* The same of an answer from an upload's session, which often says no word in Drive's form: there
 * the number counts. */
enum drive_verdict drive_judge_session(long status, enum drive_verdict v);
/* Writes what a verdict means for the storage: its trouble, the pause (`retry_after_s` -1 = none
 * asked for), the code and retry class, and a sentence. `now` serves daily limits. Returns the
 * code. */
int drive_failure(enum drive_verdict v, const char *what, long status, const char *reason,
                  const char *text, int64_t retry_after_s, struct wall_time now,
                  struct storage_failure *f, struct err *e);
