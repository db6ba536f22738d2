#include "app/aws_rows.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>

#include "app/config.h"
#include "app/references.h"
#include "aws/aws_account.h"
#include "aws/aws_config.h"
#include "base/text.h"
#include "cloudwatch/cloudwatch.h"

#define VAULT_NAME "the item for AWS in 1Password"

enum wish { WISH_KEY, WISH_SECRET, WISH_ROLE, WISH_COUNT };

static struct {
    pthread_mutex_t lock;
    struct cfg *cfg;
} now = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool is_looked_up(const struct cfg *c, const char *key)
{
    return cfg_key_origin(c, &aws_config_section, NULL, key) <= CFG_FROM_PATH;
}

static bool is_reference(const struct cfg *c, const char *key)
{
    return text_starts_with(cfg_key_text(c, &aws_config_section, NULL, key), CFG_REFERENCE);
}

/* Where a value is in 1Password: what somebody wrote into the row, else the predecessor's place. */
static const char *path_of(const struct cfg *c, const char *key, const char *place)
{
    if (is_reference(c, key))
        return cfg_key_text(c, &aws_config_section, NULL, key);
    return is_looked_up(c, key) ? cfg_key_text(c, &creds_cfg_section, NULL, place) : "";
}

static void paths_of(const struct cfg *c, const char *ret[WISH_COUNT])
{
    ret[WISH_KEY] = path_of(c, "access_key_id", "aws_access_key_id");
    ret[WISH_SECRET] = path_of(c, "secret_access_key", "aws_secret_access_key");
    ret[WISH_ROLE] = path_of(c, "role_arn", "aws_role_arn");
}

/* ---- asking ---- */

static int take(const struct secrets_wish *w, bool needed, char *ret, size_t size, struct err *e)
{
    if (!w->value && (needed || w->error.retry != ERR_NEVER))
        return err_set(e, w->error.code ? w->error.code : -ENOENT, w->error.retry, "%s",
                       w->error.text);
    const char *value = w->value ? w->value : "";
    size_t len = strcspn(value, "\r\n"); /* an editor's */
    if (needed && len == 0)
        return err_set(e, -ENOENT, ERR_NEVER, "%s is empty", w->path);
    if (len >= size)
        return err_set(e, -EINVAL, ERR_NEVER, "%s is longer than AWS has it", w->path);
    memcpy(ret, value, len);
    ret[len] = '\0';
    return 0;
}

static int ask(const struct cfg *c, int stop_fd, struct aws_vault_keys *ret, struct err *e)
{
    struct secrets_access access;
    struct secrets_options o;
    char folder[PATH_MAX];
    struct secrets_wish wishes[WISH_COUNT] = {0};
    struct secrets_report report;
    const char *paths[WISH_COUNT];

    int r = references_options(c, &access, folder, sizeof(folder), &o, e);
    if (r < 0)
        return r;
    o.cache_max_age_ms = 0; /* what it has was taken at the start */
    o.stop_fd = stop_fd;
    paths_of(c, paths);
    int count = *paths[WISH_ROLE] ? WISH_COUNT : WISH_ROLE;
    for (int i = 0; i < count; i++)
        wishes[i].path = paths[i];
    secrets_ask(&o, wishes, (size_t)count, &report);
    explicit_bzero(access.token_buf, sizeof(access.token_buf));
    r = take(&wishes[WISH_KEY], true, ret->access_key, sizeof(ret->access_key), e);
    if (r == 0)
        r = take(&wishes[WISH_SECRET], true, ret->secret_key, sizeof(ret->secret_key), e);
    if (r == 0 && count == WISH_COUNT)
        r = take(&wishes[WISH_ROLE], false, ret->role_arn, sizeof(ret->role_arn), e);
    for (int i = 0; i < count; i++)
        secrets_wish_done(&wishes[i]);
    return r;
}

static struct cfg *current(void)
{
    pthread_mutex_lock(&now.lock);
    struct cfg *c = cfg_ref(now.cfg);
    pthread_mutex_unlock(&now.lock);
    return c;
}

static int ask_vault(void *arg UNUSED, int stop_fd, struct aws_vault_keys *ret, struct err *e)
{
    AUTO(cfg) c = current();
    return ask(c, stop_fd, ret, e);
}

/* So that a start without 1Password has them as well. */
static void remember(void *arg UNUSED, const struct aws_vault_keys *fresh)
{
    AUTO(cfg) c = current();
    struct secrets_access access;
    struct secrets_options o;
    char folder[PATH_MAX];
    const char *paths[WISH_COUNT];

    if (references_options(c, &access, folder, sizeof(folder), &o, NULL) < 0)
        return;
    paths_of(c, paths);
    secrets_remember(&o, paths[WISH_KEY], fresh->access_key);
    secrets_remember(&o, paths[WISH_SECRET], fresh->secret_key);
    if (*paths[WISH_ROLE] && fresh->role_arn[0])
        secrets_remember(&o, paths[WISH_ROLE], fresh->role_arn);
    explicit_bzero(access.token_buf, sizeof(access.token_buf));
}

/* ---- the account ---- */

/* A pair that is given is taken as it is; a vault is there for both halves or for none. */
static bool has_vault(const struct cfg *c)
{
    struct secrets_access access;
    struct secrets_options o;
    char folder[PATH_MAX];
    const char *paths[WISH_COUNT];

    paths_of(c, paths);
    bool written = is_reference(c, "access_key_id");
    if (!*paths[WISH_KEY] || !*paths[WISH_SECRET] || (!written && !references_creds_given(c)))
        return false;
    int r = references_options(c, &access, folder, sizeof(folder), &o, NULL);
    explicit_bzero(access.token_buf, sizeof(access.token_buf));
    return r == 0;
}

static void fill_vault(const struct cfg *c, const struct aws_config *v, const char *session,
                       struct aws_account *a)
{
    a->vault = (struct aws_vault){
        .name = VAULT_NAME,
        .meant = is_reference(c, "access_key_id") ||
                 cfg_is_set(c, &creds_cfg_section, NULL, "aws_access_key_id"),
        .session_name = session,
        .ask = ask_vault,
        .changed = remember,
    };
    if (!*v->access_key_id || !*v->secret_access_key)
        return;
    text_copy(a->vault.known.access_key, sizeof(a->vault.known.access_key), v->access_key_id);
    text_copy(a->vault.known.secret_key, sizeof(a->vault.known.secret_key), v->secret_access_key);
    text_copy(a->vault.known.role_arn, sizeof(a->vault.known.role_arn),
              is_looked_up(c, "role_arn") || is_reference(c, "role_arn") ? v->role_arn : "");
}

void aws_rows_use(struct cfg *c)
{
    const struct aws_config *v = cfg_values(c, &aws_config_section);
    char session[CLOUDWATCH_SESSION_MAX];
    struct aws_account a = {.credentials_file = v->credentials_file,
                            .config_file = v->config_file,
                            .profile = v->profile,
                            .region = v->region,
                            .ca_file = v->ca_file};

    aws_rows_reloaded(c);
    cloudwatch_session("", app_config_app_name(c), session);
    if (has_vault(c)) {
        fill_vault(c, v, session, &a);
    } else {
        a.access_key = v->access_key_id;
        a.secret_key = v->secret_access_key;
        a.session_token = v->session_token;
    }
    if (!is_looked_up(c, "role_arn") && !is_reference(c, "role_arn"))
        a.role_arn = v->role_arn;
    aws_account_set(&a);
    explicit_bzero(&a, sizeof(a));
}

void aws_rows_reloaded(struct cfg *c)
{
    pthread_mutex_lock(&now.lock);
    struct cfg *before = now.cfg;
    now.cfg = cfg_ref(c);
    pthread_mutex_unlock(&now.lock);
    cfg_unref(before);
}

void aws_rows_end(void)
{
    aws_account_set(NULL);
    cfg_unref(STEAL(now.cfg));
}

const char *aws_rows_vault_role(const struct cfg *c)
{
    const struct aws_config *v = cfg_values(c, &aws_config_section);
    bool of_vault = cfg_key_origin(c, &aws_config_section, NULL, "role_arn") == CFG_FROM_PATH;
    return of_vault && has_vault(c) ? v->role_arn : "";
}

void aws_rows_check(const struct cfg *c, struct cfg_faults *faults)
{
    const struct aws_config *v = cfg_values(c, &aws_config_section);
    bool key = *v->access_key_id && !is_looked_up(c, "access_key_id");
    bool secret = *v->secret_access_key && !is_looked_up(c, "secret_access_key");
    if (key != secret)
        cfg_fault(faults, "aws", NULL, key ? "secret_access_key" : "access_key_id",
                  "is not given, and the other of the pair is");
}
