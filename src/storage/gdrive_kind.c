/* How [gdrive] of the configuration becomes a storage with its login and the login's copy. */

#include "base/mem.h"
#include "storage/gdrive.h"
#include "storage/gdrive_config.h"

static const char *or_null(const char *s)
{
    return s[0] ? s : NULL;
}

static bool gdrive_configured(const struct cfg *cfg, const void *values)
{
    (void)cfg;
    const struct gdrive_config *c = values;
    return c->folder[0];
}

static int open_backup(const struct gdrive_config *c, const char *token_file,
                       struct token_backup **ret, struct err *e)
{
    const struct token_backup_options o = {
        .bucket = c->backup_s3_bucket,
        .endpoint = c->backup_s3_endpoint,
        .token_file = token_file,
    };
    *ret = NULL;
    return c->backup_s3_bucket[0] ? token_backup_new(&o, ret, e) : 0;
}

static int gdrive_open(const struct storage_open_options *o, struct storage **ret, struct err *e)
{
    const struct gdrive_config *c = o->values;
    AUTO_FREE char *token_file = gdrive_token_file(c, o->data_dir);
    AUTO(token_backup) backup = NULL;
    AUTO(google_login) login = NULL;
    int r = open_backup(c, token_file, &backup, e);
    if (r < 0)
        return r;
    const struct google_login_options lo = {
        .token_file = token_file,
        .token_json = or_null(c->token),
        .waits = backup != NULL,
        .service_file = or_null(c->service_file),
        .scope = c->service_file[0] ? GDRIVE_SERVICE_SCOPE : GDRIVE_SCOPE,
        .token_url = or_null(c->token_url),
    };
    r = google_login_open(&lo, &login, e);
    if (r < 0)
        return r;
    const struct gdrive_options go = {
        .name = o->name,
        .folder = c->folder,
        .parent = c->parent,
        .archive = (enum gdrive_archive)c->archive,
        .rate = c->writes_per_second,
        .api_url = c->api_url,
        .login = login,
        .takes_login = true,
        .backup = backup,
    };
    r = gdrive_new(&go, ret, e);
    if (r < 0)
        return r;
    login = NULL; /* both are the storage's now */
    backup = NULL;
    return 0;
}

const struct storage_kind gdrive_storage = {
    .kind = "gdrive",
    .section = &gdrive_cfg_section,
    .common_offset = offsetof(struct gdrive_config, common),
    .configured = gdrive_configured,
    .open = gdrive_open,
};
