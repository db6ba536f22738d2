#pragma once
/* The rows of [gdrive]: the folder at Google Drive and the login to it. */

#include <stdbool.h>
#include <stdint.h>

#include "cfg/cfg.h"
#include "storage/storage_config.h"

struct gdrive_config {
    struct storage_common common;
    const char *folder;       /* its title; "" = nothing goes to Google Drive */
    const char *parent;       /* id of what the folder is in; "" = the account's root */
    int archive;              /* enum gdrive_archive */
    double writes_per_second; /* 0 = any number */
    const char *creds_file;   /* "" = tokens/gdrive.json in data_dir */
    const char *token;        /* content for creds_file; "" = none */
    const char *client_file;  /* the OAuth client as Google gives it, for logging in; "" = none */
    const char *client;       /* the OAuth client itself, JSON; "" = none */
    const char *service_file; /* key of a service account instead of a person; "" = none */
    const char *backup_s3_bucket;   /* where a copy of creds_file is kept; "" = nowhere */
    const char *backup_s3_endpoint; /* of another server than AWS's; "" = AWS's */
    const char *api_url, *token_url, *auth_url, *device_url; /* tests; "" = Google's */
};
extern const struct cfg_section gdrive_cfg_section;

/* What one key cannot know of another. */
void gdrive_config_check(const struct cfg *c, struct cfg_faults *faults);
/* Where the login is kept, malloc()ed. */
char *gdrive_token_file(const struct gdrive_config *c, const char *data_dir);

/* All that is asked for: what this program made, and nothing else of the account. */
#define GDRIVE_SCOPE "https://www.googleapis.com/auth/drive.file"
/* A shared drive is made by a person, and what a person made is not shown to who has that scope. A
 * service account sees with the wider one no more than what it was let into. */
#define GDRIVE_SERVICE_SCOPE "https://www.googleapis.com/auth/drive"
