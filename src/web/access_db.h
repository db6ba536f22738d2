#pragma once
/* Who may do what: users, their sessions, tokens for programs, the key of signed links, and the
 * audit log, in a small database of its own (mode 0600) beside the ledger. It is there from the
 * first user or token on. Everybody who has the file open sees a change at his next question, so
 * the commands work with and without a running daemon.
 *
 * Of sessions and tokens only digests are kept: who reads the file cannot use them. One thread per
 * connection. */

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/macros.h"
#include "sys/hash.h"
#include "sys/passwd.h"
#include "web/access_words.h"

#define ACCESS_DB_NAME "access.db" /* in the data folder */

#define ACCESS_SECRET_MAX 72 /* a session's or token's text, with its NUL */
#define ACCESS_TOKEN_ID_MAX 17
#define ACCESS_ADDRESS_MAX 46
#define ACCESS_WORDS_MAX 200 /* of an audit row's detail */

/* Limits of a household with room: each list is shown whole, and read at an attacker's pace. */
#define ACCESS_USERS_MAX 256
#define ACCESS_TOKENS_MAX 256
#define ACCESS_SESSIONS_MAX 32 /* per user; the oldest ends when another begins */
/* Rows of each kind of event, about 2 MB in all: neither guessing nor a script that deletes
 * pictures washes away who came in. */
#define ACCESS_AUDIT_MAX 4000

struct access_db;

/* -ENOENT without `create`: nobody has been added yet. */
int access_db_open(const char *path, bool create, struct access_db **ret, struct err *e);
void access_db_close(struct access_db *d);
DEFINE_AUTO(access_db, access_db_close)

/* ---- users ---- */

struct access_user {
    char name[ACCESS_NAME_MAX];
    enum access_role role;
    char hash[PASSWD_HASH_MAX];
    struct wall_time created_at, login_at; /* 0 = never */
};

/* -EEXIST; -ENOSPC: too many. */
int access_user_add(struct access_db *d, const char *name, enum access_role role, const char *hash,
                    struct err *e);
/* -ENOENT without a story: there is none. */
int access_user_get(struct access_db *d, const char *name, struct access_user *ret, struct err *e);
/* The user's new role and hash; ACCESS_NOBODY and NULL leave them. A new hash, or a lesser role,
 * ends his sessions. -ENOENT; -EPERM: there must stay an admin. */
int access_user_change(struct access_db *d, const char *name, enum access_role role,
                       const char *hash, struct err *e);
/* With his sessions. -ENOENT; -EPERM: the last admin while there are others. */
int access_user_remove(struct access_db *d, const char *name, struct err *e);
/* By name; a number, or negative. */
int access_user_list(struct access_db *d, struct access_user *ret, size_t size, struct err *e);

/* ---- sessions ---- */

struct access_session {
    int64_t row;
    char user[ACCESS_NAME_MAX];
    enum access_role role; /* the user's of this moment */
    struct wall_time created_at, seen_at;
};

/* Writes the session's text, which is kept nowhere. `oldest` = sessions begun before have ended. */
int access_session_add(struct access_db *d, const char *user, const char *address,
                       struct wall_time oldest, char ret_text[ACCESS_SECRET_MAX], struct err *e);
/* -ENOENT without a story. The caller judges its times. */
int access_session_get(struct access_db *d, const char *text, struct access_session *ret,
                       struct err *e);
/* The one with this row. -ENOENT without a story. */
int access_session_find(struct access_db *d, int64_t row, struct access_session *ret,
                        struct err *e);
int access_session_seen(struct access_db *d, int64_t row, struct err *e);
int access_session_end(struct access_db *d, int64_t row, struct err *e);

/* ---- tokens ---- */

struct access_token {
    char id[ACCESS_TOKEN_ID_MAX]; /* public: names it in lists */
    char name[ACCESS_NAME_MAX];   /* what it is for */
    unsigned scopes;
    struct wall_time created_at, expires_at, used_at; /* 0 = never */
};

/* `t`: name, scopes and expires_at; the id is filled in. -ENOSPC: too many. */
int access_token_add(struct access_db *d, struct access_token *t, char ret_text[ACCESS_SECRET_MAX],
                     struct err *e);
/* -ENOENT without a story: none, or expired. */
int access_token_get(struct access_db *d, const char *text, struct access_token *ret,
                     struct err *e);
/* -ENOENT without a story. */
int access_token_get_by_id(struct access_db *d, const char *id, struct access_token *ret,
                           struct err *e);
int access_token_used(struct access_db *d, const char *id, struct err *e);
int access_token_remove(struct access_db *d, const char *id, struct err *e); /* -ENOENT */
int access_token_list(struct access_db *d, struct access_token *ret, size_t size, struct err *e);

/* ---- the key ---- */

/* What signed links are signed with. */
int access_key(struct access_db *d, uint8_t ret[HASH_SHA256_BYTES], struct err *e);

/* ---- the audit log ---- */

enum access_event_kind {
    ACCESS_EVENT_ENTRY,   /* logins, users, tokens, links */
    ACCESS_EVENT_FAILURE, /* refused logins */
    ACCESS_EVENT_CHANGE   /* of pictures and cameras */
};
struct access_event {
    int64_t row;
    enum access_event_kind kind;
    struct wall_time at;
    char who[ACCESS_NAME_MAX]; /* user or token, "" = nobody */
    char how[12];              /* "session", "token", "loopback", "proxy", "command", "" */
    char address[ACCESS_ADDRESS_MAX];
    char what[40]; /* "login", "login-failed", "user-add" ... */
    char detail[ACCESS_WORDS_MAX];
};

/* Time and row are filled in; the oldest rows of this kind go. */
int access_audit_add(struct access_db *d, const struct access_event *ev, struct err *e);
/* Newest first, those below row `before` (0 = from the newest). A number, or negative. */
int access_audit_list(struct access_db *d, int64_t before, struct access_event *ret, size_t size,
                      struct err *e);
