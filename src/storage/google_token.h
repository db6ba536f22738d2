#pragma once
/* The token file: a login of a person, in the form of Python's oauth2client, so that it restores
 * into our predecessor as well. Also read: a plain object with refresh_token, client_id and
 * client_secret; it gets the other keys when it is written for the first time. Keys that we do not
 * know stay as they are.
 *
 * And the OAuth client, the file that Google's console gives for download. */

#include <stdbool.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/macros.h"
#include "storage/google_oauth.h"
#include "sys/json.h"

#define GOOGLE_FILE_MAX 65536 /* bytes; a token file has about 4 KB */

struct google_client {
    json_t *keys; /* the strings are its own */
    const char *client_id;
    const char *client_secret;        /* "" = none */
    const char *auth_uri, *token_uri; /* "" = none given */
    const char *redirect_uri;         /* "web": the first that leads to this machine; "" = none */
    bool web;                         /* else "installed": for a desktop, or for televisions */
};
/* -EBADMSG: what is wrong, and what would be right. `e` never holds any of the text. */
int google_client_parse(const char *text, size_t size, struct google_client **ret, struct err *e);
int google_client_read(const char *path, struct google_client **ret, struct err *e);
void google_client_free(struct google_client *c);
DEFINE_AUTO(google_client, google_client_free)

struct google_token {
    json_t *keys; /* the strings are its own */
    const char *refresh_token, *client_id;
    const char *access_token, *client_secret, *token_uri; /* "" = none */
    struct wall_time expires;                             /* of the access token; 0 = unknown */
    bool invalid; /* marked so: its last refresh was refused */
};
/* -EBADMSG as above: also what could never be refreshed. */
int google_token_parse(const char *text, size_t size, struct google_token **ret, struct err *e);
/* -ENOENT and others as the system says; -EBADMSG. */
int google_token_read(const char *path, struct google_token **ret, struct err *e);
/* A new login. The grant must have a refresh token. */
struct google_token *google_token_new(const struct google_client *client,
                                      const struct google_grant *grant, const char *scope,
                                      struct wall_time now);
void google_token_free(struct google_token *t);
DEFINE_AUTO(google_token, google_token_free)

/* Takes the answer to a refresh. */
void google_token_take(struct google_token *t, const struct google_grant *grant,
                       struct wall_time now);
void google_token_set_invalid(struct google_token *t);
bool google_token_is_same_login(const struct google_token *a, const struct google_token *b);

/* Replaces the file, mode 0600, making its folder (0700) when it is missing. With `instead_of` only
 * when the file still holds that login (or none that is any good): -ESTALE when somebody has logged
 * in meanwhile. Programs that write the same file take turns. */
int google_token_save(const char *path, const struct google_token *t, const char *instead_of,
                      struct err *e);
/* The same with a text that is one; written as it is. */
int google_token_save_text(const char *path, const char *text, size_t size, struct err *e);
/* Likewise, but only while the file is missing or empty: else -EEXIST, and nothing is changed. */
int google_token_restore(const char *path, const char *text, size_t size, struct err *e);
/* An empty file is what a full disk leaves of one. */
bool google_token_is_missing(const char *path);
/* As it is written, malloc()ed; a secret. NULL without memory. */
char *google_token_text(const struct google_token *t);
