#include "storage/gdrive_config.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "storage/drive_api.h"
#include "storage/gdrive.h"

#define FIELD(name) offsetof(struct gdrive_config, name)
/* A key of the predecessor's file: the variable of its name counts, too. */
#define THEIRS CFG_ENV_NAME

static int check_url(const void *value, char *why, size_t why_size);
static int check_id(const void *value, char *why, size_t why_size);

#define TEST_URL(key_name, words)                                                                  \
    {                                                                                              \
        .name = #key_name, .type = CFG_STRING, .offset = FIELD(key_name), .validate = check_url,   \
        .flags = CFG_COMPAT, .help = words " instead of Google's; for tests and proxies"           \
    }

static const struct cfg_key keys[] = {
    {.name = "folder",
     .type = CFG_STRING,
     .offset = FIELD(folder),
     .flags = THEIRS,
     .env = "GOOGLE_DRIVE_FOLDER",
     .help = "Title of the folder for pictures; empty = nothing goes to Google Drive",
     .doc = "It is made when it is not there. A folder that was made by hand in the browser is "
            "invisible to this program, whatever its title: Google shows it only what it made "
            "itself."},
    STORAGE_COMMON_KEYS(struct gdrive_config),
    {.name = "archive",
     .type = CFG_CHOICE,
     .offset = FIELD(archive),
     .fallback = "delayed",
     .choices = gdrive_archive_names,
     .help = "When pictures move into folders by year, month and day",
     .doc = "`delayed`: they lie in the folder for a day and then move, as with the predecessor. "
            "`at_upload`: they go to the folder of their day at once. `off`: never. Days are those "
            "of UTC. Starred pictures stay where they are, and their day gets a shortcut."},
    {.name = "parent",
     .type = CFG_STRING,
     .offset = FIELD(parent),
     .validate = check_id,
     .help = "Id of a shared drive, or of a folder, that has the folder in it; empty = My Drive",
     .doc = "The last part of its address in the browser. It must be visible to this program: a "
            "service account has to be let in as content manager."},
    {.name = "writes_per_second",
     .type = CFG_DOUBLE,
     .offset = FIELD(writes_per_second),
     .fallback = "3",
     .min = 0,
     .max = 1000,
     .help = "Uploads, moves and other changes a second, all together; 0 = any number",
     .doc = "Google advises 3 for an account and answers more with refusals."},
    {.name = "creds_file",
     .type = CFG_PATH,
     .offset = FIELD(creds_file),
     .flags = THEIRS,
     .help = "Where the login is kept; empty = tokens/gdrive.json in data_dir",
     .doc = "Written by `snapshotd auth gdrive`, which may be used while the program runs. The "
            "predecessor's file serves as it is, and what is left in it serves the predecessor."},
    {.name = "token",
     .type = CFG_SECRET,
     .offset = FIELD(token),
     .env = "GOOGLE_OAUTH_TOKEN",
     .help = "Content for creds_file, used when that is missing or no good"},
    {.name = "client_secret_file",
     .type = CFG_PATH,
     .offset = FIELD(client_file),
     .help = "The OAuth client for `snapshotd auth gdrive`, as downloaded from Google's console",
     .doc = "Running needs it no more: the login holds what it needs of it."},
    {.name = "client_secret",
     .type = CFG_SECRET,
     .offset = FIELD(client),
     .path = "creds.google_client",
     .help = "The same as JSON text, when there is no client_secret_file"},
    {.name = "service_account_file",
     .type = CFG_PATH,
     .offset = FIELD(service_file),
     .help = "Key of a service account, used instead of a person's login",
     .doc = "A service account has no room of its own: the folder must be in a shared drive that "
            "it was let into, which `parent` names."},
    {.name = "backup_s3_bucket",
     .type = CFG_STRING,
     .offset = FIELD(backup_s3_bucket),
     .env = "BACKUP_S3_BUCKET",
     .help =
         "Bucket for a copy of creds_file, made when it changes and twice an hour; empty = none",
     .doc = "When creds_file is missing the copy is taken, before `token` is. Its name in the "
            "bucket is snapshot_processor_creds, as the predecessor has it. AWS credentials and "
            "the region are those of the environment, the shared files, the container or the "
            "instance."},
    {.name = "backup_s3_endpoint",
     .type = CFG_STRING,
     .offset = FIELD(backup_s3_endpoint),
     .validate = check_url,
     .help = "Address of the server that has backup_s3_bucket; empty = AWS's"},
    TEST_URL(api_url, "Drive"),
    TEST_URL(token_url, "The token endpoint"),
    TEST_URL(auth_url, "The page for signing in"),
    TEST_URL(device_url, "The endpoint for device codes"),
};

const struct cfg_section gdrive_cfg_section = {
    .name = "gdrive",
    .struct_size = sizeof(struct gdrive_config),
    .keys = keys,
    .key_count = sizeof(keys) / sizeof(keys[0]),
    .help = "Google Drive.",
};

/* Without a shared drive each upload would be refused for want of room, for ever. */
void gdrive_config_check(const struct cfg *c, struct cfg_faults *faults)
{
    const struct gdrive_config *v = cfg_values(c, &gdrive_cfg_section);
    if (v->common.enabled && v->folder[0] && v->service_file[0] && !v->parent[0])
        cfg_fault(faults, gdrive_cfg_section.name, NULL, "service_account_file",
                  "needs parent: a service account has no room of its own; set parent to the id of "
                  "a shared drive that it was let into");
}

char *gdrive_token_file(const struct gdrive_config *c, const char *data_dir)
{
    return c->creds_file[0] ? xstrdup(c->creds_file) : xasprintf("%s/tokens/gdrive.json", data_dir);
}

static int check_url(const void *value, char *why, size_t why_size)
{
    const char *url = *(const char *const *)value;
    if (!*url || text_starts_with(url, "http://") || text_starts_with(url, "https://"))
        return 0;
    (void)text_format(why, why_size, "an address begins with http:// or https://"); /* fits */
    return -EINVAL;
}

static int check_id(const void *value, char *why, size_t why_size)
{
    const char *id = *(const char *const *)value;
    if (!*id || (drive_id_plain(id) && strlen(id) < DRIVE_ID_MAX))
        return 0;
    (void)text_format(why, why_size, "an id has letters, digits, - and _ only"); /* fits */
    return -EINVAL;
}
