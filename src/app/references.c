#include "app/references.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "app/config.h"
#include "base/mem.h"
#include "base/text.h"
#include "ftp/ftp_config.h"
#include "secrets/flags.h"

#define FOLDER_MAX 4096

int references_options(const struct cfg *c, struct secrets_access *access, char *folder,
                       size_t folder_size, struct secrets_options *ret, struct err *e)
{
    const struct secrets_config *v = cfg_values(c, &secrets_cfg_section);
    int r = secrets_access(c, access, e);

    if (r < 0)
        return r;
    if (!*access->host)
        return err_set(e, -ENOKEY, ERR_NEVER,
                       v->use_connect == SECRETS_USE_NO
                           ? "[onepassword] use_connect (CREDS_USE_CONNECT_CLIENT) is no"
                       : *v->service_account_token
                           ? "service accounts cannot be used: they need a library of 1Password's "
                             "own; run a Connect server, and set OP_CONNECT_HOST"
                           : "1Password is not configured: set OP_CONNECT_HOST and "
                             "OP_CONNECT_TOKEN, see doc/secrets.md");
    app_config_data_dir(c, folder, folder_size);
    *ret = (struct secrets_options){.host = access->host,
                                    .token = access->token,
                                    .vault = access->vault,
                                    .app_name = app_config_app_name(c),
                                    .folder = folder,
                                    .credentials = getenv("CREDENTIALS_DIRECTORY"),
                                    .timeout_ms = v->timeout_ms,
                                    .deadline_ms = v->deadline_ms,
                                    .cache_max_age_ms = v->cache_max_age_ms,
                                    .stop_fd = -1};
    return 0;
}

static bool is_flag(const struct cfg_reference *r)
{
    return r->implied && !r->from;
}

bool references_creds_given(const struct cfg *c)
{
    for (size_t k = 0; k < creds_cfg_section.key_count; k++)
        if (cfg_is_set(c, &creds_cfg_section, NULL, creds_cfg_section.keys[k].name))
            return true;
    return false;
}

/* What nobody wrote is looked up only where the predecessor would: its flags always, its secrets
 * when its section is there, and a login for cameras only for a server that is wanted. */
static bool is_wanted(const struct cfg *c, const struct cfg_reference *r, enum secrets_mode mode)
{
    const struct ftp_config *ftp = cfg_values(c, &ftp_cfg_section);

    if (!r->implied)
        return true;
    if (is_flag(r))
        return mode == SECRETS_ASK;
    return references_creds_given(c) &&
           (r->section != &ftp_cfg_section || ftp->enabled == FTP_ENABLED_YES);
}

static void take_flag(struct cfg_reference *r, const char *text)
{
    bool odd;

    r->value = xstrdup(flag_value(text, &odd) ? "true" : "false");
    if (odd)
        (void)text_copy(r->why, sizeof(r->why),
                        "is neither true, 1 or yes nor false, 0 or no: it counts as false");
}

/* A server that is wanted and that nobody could log in to otherwise. */
static bool is_needed(const struct cfg *c, const struct cfg_reference *r)
{
    return !r->implied ||
           (r->section == &ftp_cfg_section && cfg_instance_count(c, &ftp_account_cfg_section) == 0);
}

static void answer(const struct cfg *c, struct cfg_reference *r, struct secrets_wish *w,
                   enum secrets_mode mode)
{
    if (w->value) {
        r->answer = CFG_ANSWER_VALUE;
        if (is_flag(r))
            take_flag(r, w->value);
        else
            r->value = STEAL(w->value);
        if (!*r->value && !r->implied)
            (void)text_copy(r->why, sizeof(r->why), "is empty in 1Password");
        return;
    }
    r->answer = is_needed(c, r) && mode == SECRETS_ASK ? CFG_ANSWER_NONE : CFG_ANSWER_DEFAULT;
    /* Flags have a thread that tells; of the predecessor's places only those that somebody wrote.
     */
    bool told = r->answer == CFG_ANSWER_NONE ||
                (mode == SECRETS_ASK && r->from && (r->from_given || w->error.retry != ERR_NEVER));
    if (told)
        (void)text_copy(r->why, sizeof(r->why), w->error.text); /* cut */
}

static void refuse_all(struct cfg_reference *list, size_t count, const struct references *x,
                       const struct err *e)
{
    for (size_t i = 0; i < count; i++) {
        bool needed = !list[i].implied && x->mode == SECRETS_ASK;
        list[i].answer = needed ? CFG_ANSWER_NONE : CFG_ANSWER_DEFAULT;
        if (needed)
            (void)text_copy(list[i].why, sizeof(list[i].why), e->text); /* cut */
    }
}

void references_resolve(void *arg, const struct cfg *c, struct cfg_reference *list, size_t count)
{
    struct references *x = arg;
    struct secrets_options o;
    struct secrets_access access;
    char folder[FOLDER_MAX];
    struct err e = {0};
    size_t wanted = 0;

    if (references_options(c, &access, folder, sizeof(folder), &o, &e) < 0) {
        refuse_all(list, count, x, &e);
        return;
    }
    o.mode = x->mode;
    o.keeps = x->keeps;
    o.stop_fd = x->stop_fd > 0 ? x->stop_fd : -1;
    AUTO_FREE struct secrets_wish *wishes = xcalloc(count, sizeof(*wishes));
    AUTO_FREE size_t *of = xcalloc(count, sizeof(*of));
    for (size_t i = 0; i < count; i++) {
        list[i].answer = CFG_ANSWER_DEFAULT;
        if (!is_wanted(c, &list[i], x->mode))
            continue;
        of[wanted] = i;
        wishes[wanted++].path = list[i].text;
    }
    secrets_ask(&o, wishes, wanted, &x->report);
    for (size_t i = 0; i < wanted; i++) {
        answer(c, &list[of[i]], &wishes[i], x->mode);
        secrets_wish_done(&wishes[i]);
    }
    explicit_bzero(access.token_buf, sizeof(access.token_buf));
}
