#pragma once
/* Access to a Google account: an access token that is valid for the next minute, refreshed early,
 * one refresh at a time however many threads ask. Sources: RFC 6749, 7523, 7636, 8252, 8628 and
 * Google's "Using OAuth 2.0".
 *
 * The token file has the form of Python's oauth2client, so that it restores into either program; it
 * is replaced atomically, mode 0600, and keys that we do not know stay as they are. */

#include "base/clock.h"
#include "base/err.h"
#include "base/macros.h"
#include "storage/google_oauth.h"
#include "sys/http_call.h"

enum google_login_kind {
    GOOGLE_LOGIN_NONE,    /* nobody has logged in yet */
    GOOGLE_LOGIN_USER,    /* token file with a refresh token */
    GOOGLE_LOGIN_SERVICE, /* service account key (JWT) */
};

struct google_login_options {
    const char *token_file; /* in data_dir/tokens, or as configured */
    const char *token_json; /* GOOGLE_OAUTH_TOKEN: written to the file at start when that is missing
                               or not usable; NULL = none */
    bool waits;             /* ... not before google_login_place(): a better one may come */
    const char *service_file; /* service account key; NULL = none. Goes before a token file */
    const char *scope;        /* "https://www.googleapis.com/auth/drive.file" */
    const char *token_url;    /* tests; NULL = what the file says, which must be Google's */
};

struct google_login;
/* A file that is missing or no login is no failure: the login is then of kind NONE, and says why
 * when it is asked, until there is a better one. Only -ENOMEM and its like. */
int google_login_open(const struct google_login_options *o, struct google_login **ret,
                      struct err *e);
void google_login_close(struct google_login *l);
DEFINE_AUTO(google_login, google_login_close)

/* A valid access token; asks for one when needed. `c` is the caller's client. NEVER: -ENOKEY: log
 * in first, or what is wrong with the file; -EKEYREVOKED: the grant is gone, in words what may be
 * the reason; -EKEYREJECTED, -EACCES: the client, an administrator. These are answered from memory
 * until the file changes, google_login_reload(), or an hour is over. LATER: network and 5xx;
 * -ECANCELED: `c` was stopped. */
int google_login_token(struct google_login *l, struct http_client *c, char ret[GOOGLE_TOKEN_MAX],
                       struct err *e);
/* An API refused this token with 401: the next call asks for a new one, unless another thread has.
 */
void google_login_refused(struct google_login *l, const char *token);
/* Forgets what is answered from memory: somebody may have mended something that no file shows. */
void google_login_reload(struct google_login *l);
/* Writes token_json where none is that is any good; see `waits`. */
void google_login_place(struct google_login *l);
/* Another number when somebody changed the login: the file is another one, is gone, or holds what
 * we did not write ourselves. A stat(2), as a rule. What failed before may go well now. */
uint64_t google_login_generation(struct google_login *l);

struct google_login_state {
    enum google_login_kind kind;
    bool usable;
    struct wall_time expires, since; /* of the access token; since when it has not been usable */
    char text[256];                  /* for people: "signed in; token good for 41 min" */
    char error[ERR_TEXT_MAX]; /* also of a file that cannot be written while all else is well */
};
void google_login_describe(struct google_login *l, struct google_login_state *ret);
