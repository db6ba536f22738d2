#pragma once
/* A copy of the token file in an S3 bucket, under the predecessor's name, so that either program
 * finds the other's. Twice an hour, at minutes 10 and 40, at start and when the login changes,
 * whoever owns it calls token_backup_turn(); it never makes anything worse:
 *
 * - a file that is missing or empty here is taken from there, when what is there is a login;
 * - what is here goes there when it is a login that Google has not refused, and is not older than
 *   what is there: of two logins the one whose access token was renewed last is the one in use.
 *
 * Nothing here is deleted, and a copy that is no login is never written here. */

#include <stdbool.h>
#include <stddef.h>

#include "base/blob.h"
#include "base/clock.h"
#include "base/err.h"

#define TOKEN_BACKUP_KEY "snapshot_processor_creds"

/* Where small objects are kept. Calls may block. */
struct token_backup_store {
    int (*get)(void *arg, const char *key, struct blob **ret, struct err *e); /* -ENOENT */
    int (*put)(void *arg, const char *key, const void *data, size_t size, struct err *e);
    void *arg;
};

enum token_backup_outcome {
    TOKEN_BACKUP_NOTHING,  /* neither here nor there */
    TOKEN_BACKUP_SAME,     /* both are the same login */
    TOKEN_BACKUP_SAVED,    /* here to there */
    TOKEN_BACKUP_RESTORED, /* there to here: google_login sees it by itself */
    TOKEN_BACKUP_LEFT,     /* what is there is better than what is here, or may be */
    TOKEN_BACKUP_OUTCOME_COUNT
};
extern const char *const token_backup_outcome_names[TOKEN_BACKUP_OUTCOME_COUNT];

/* One turn. 0 with *ret_outcome; -EBADMSG (ERR_NEVER): what is here, or what would be restored, is
 * no login, and nothing was changed; others as the store or the file system say. */
int token_backup_turn(const struct token_backup_store *store, const char *token_file,
                      enum token_backup_outcome *ret_outcome, struct err *e);

/* The next minute 10 or 40 after `now`. */
struct wall_time token_backup_next(struct wall_time now);
