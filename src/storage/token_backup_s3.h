#pragma once
/* The copy of the token file in a real bucket, by its timetable. Credentials are AWS's usual ones
 * (aws/aws_chain.h), as the predecessor's `aws s3 cp` has them. One thread tends it, any may
 * describe. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aws/s3_object.h"
#include "storage/token_backup.h"

struct token_backup_options { /* copied */
    const char *bucket;
    const char *endpoint; /* NULL or "" = AWS's */
    const char *token_file;
    struct aws_chain_options login;
};
struct token_backup;
/* Asks nobody yet. -EINVAL for what cannot be a bucket. */
int token_backup_new(const struct token_backup_options *o, struct token_backup **ret,
                     struct err *e);
void token_backup_free(struct token_backup *b);
DEFINE_AUTO(token_backup, token_backup_free)

/* A turn when one is due: at the first call, then by token_backup_next(), and some minutes after a
 * failure that may pass, or seconds while there is no login. Returns the ms until it wants to be
 * called again. */
int64_t token_backup_tend(struct token_backup *b, struct http_client *http);
/* The next call is a turn: the login has changed. */
void token_backup_hurry(struct token_backup *b);
/* Whether a turn has told what the bucket holds, were it nothing or no login. Of the tending
 * thread. */
bool token_backup_answered(const struct token_backup *b);

struct token_backup_state {
    char text[192];           /* "copy of the login in S3 bucket 'x': saved 12 min ago" */
    char error[ERR_TEXT_MAX]; /* of the last turn; "" = none */
};
void token_backup_describe(struct token_backup *b, struct token_backup_state *ret);
