#pragma once
/* Google Drive as a storage: each picture exactly once in one folder, later in folders by day.
 *
 * Exactly once. A file's id is made by Drive beforehand and durable in its mark before the first
 * attempt, so a repeat can only meet its own file: Drive refuses a second one of the same id. What
 * may have happened without an answer is looked up by id before anything is sent again; a file is
 * done when Drive tells its right size and MD5. Another content is moved to the trash, and the
 * picture starts again with a new id.
 *
 * The archive (see gdrive_archive.c) moves what is older than a day into YYYY/MM/DD, in UTC. */

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "storage/google_login.h"
#include "storage/registry.h"
#include "storage/storage.h"
#include "storage/token_backup_s3.h"

enum gdrive_archive {
    GDRIVE_ARCHIVE_DELAYED,   /* pictures lie in the folder for a day */
    GDRIVE_ARCHIVE_AT_UPLOAD, /* they go to the folder of their day at once */
    GDRIVE_ARCHIVE_OFF,
    GDRIVE_ARCHIVE_COUNT
};
extern const char *const gdrive_archive_names[GDRIVE_ARCHIVE_COUNT + 1]; /* ..., NULL */

#define GDRIVE_MULTIPART_MAX (5 << 20) /* Drive's advice; above, an upload is resumable */
#define GDRIVE_RATE 3.0                /* writes a second and account: Drive's advice, too */

#define GDRIVE_ARCHIVE_BATCH 10000    /* files known at once: 800 KB */
#define GDRIVE_ARCHIVE_PIECE_MS 10000 /* then stars and the copy of the login get their turn */

struct gdrive_options {
    const char *name;   /* "gdrive" */
    const char *folder; /* its title */
    const char *parent; /* id of what it is in; NULL or "" = the account's root */
    enum gdrive_archive archive;
    double rate;                 /* writes a second; 0 = any number */
    const char *api_url;         /* tests; NULL or "" = Google's */
    int64_t multipart_max;       /* bytes; 0 = GDRIVE_MULTIPART_MAX */
    int archive_batch;           /* files; 0 = GDRIVE_ARCHIVE_BATCH */
    int64_t archive_piece_ms;    /* 0 = GDRIVE_ARCHIVE_PIECE_MS */
    int64_t stall_ms;            /* see struct drive_account; 0 = as the request needs */
    struct google_login *login;  /* until the storage is freed */
    bool takes_login;            /* and closed with it */
    struct token_backup *backup; /* of that login; NULL = none. Freed with the storage */
};
/* Asks nobody: the folder is looked for when the first picture goes there. */
int gdrive_new(const struct gdrive_options *o, struct storage **ret, struct err *e);

extern const struct storage_kind gdrive_storage; /* of [gdrive] */
