#include "aws/aws_account.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"

enum {
    AWAY_MS = 15 * 1000, /* a vault that was away is asked again after so long */
    DOUBT_MS = 5 * 1000, /* and one whose pair is refused: keys may be wrong for days */
    TEXT_COUNT = 11,
};

static struct {
    struct aws_account a; /* its texts are ours */
    char *texts[TEXT_COUNT];
    pthread_mutex_t asking; /* one asks, others wait for what it learns */

    pthread_mutex_t lock; /* what follows */
    struct aws_vault_keys known;
    struct mono_time ask_at, doubt_at; /* not before */
    struct err trouble;                /* of the last asking; code 0 = none */
} account = {.asking = PTHREAD_MUTEX_INITIALIZER, .lock = PTHREAD_MUTEX_INITIALIZER};

static const char *copy(int i, const char *text)
{
    account.texts[i] = text && *text ? xstrdup(text) : NULL;
    return account.texts[i];
}

static void forget(void)
{
    for (int i = 0; i < TEXT_COUNT; i++) {
        if (account.texts[i])
            explicit_bzero(account.texts[i], strlen(account.texts[i]));
        free(STEAL(account.texts[i]));
    }
    account.a = (struct aws_account){0};
    explicit_bzero(&account.known, sizeof(account.known));
    account.trouble = (struct err){0};
}

void aws_account_set(const struct aws_account *a)
{
    forget();
    if (!a)
        return;
    account.a = (struct aws_account){
        .credentials_file = copy(0, a->credentials_file),
        .config_file = copy(1, a->config_file),
        .profile = copy(2, a->profile),
        .region = copy(3, a->region),
        .access_key = copy(4, a->access_key),
        .secret_key = copy(5, a->secret_key),
        .session_token = copy(6, a->session_token),
        .role_arn = copy(7, a->role_arn),
        .ca_file = copy(10, a->ca_file),
        .vault = a->vault,
    };
    struct aws_vault *v = &account.a.vault;
    v->name = copy(8, a->vault.name);
    v->session_name = copy(9, a->vault.session_name);
    if (v->keep_ms == 0)
        v->keep_ms = ACCOUNT_VAULT_MS;
    account.known = a->vault.known;
    explicit_bzero(&v->known, sizeof(v->known)); /* kept once */
    struct mono_time now = clock_mono();
    account.ask_at = account.known.access_key[0] ? mono_add_ms(now, v->keep_ms) : now;
    account.doubt_at = now;
}

static const char *said(const char *ours, const char *variable)
{
    const char *value = ours ? ours : getenv(variable);
    return value && *value ? value : NULL;
}

const char *aws_account_credentials_file(void)
{
    return said(account.a.credentials_file, "AWS_SHARED_CREDENTIALS_FILE");
}

const char *aws_account_config_file(void)
{
    return said(account.a.config_file, "AWS_CONFIG_FILE");
}

const char *aws_account_profile(void)
{
    return said(account.a.profile, "AWS_PROFILE");
}

const char *aws_account_ca_file(void)
{
    return said(account.a.ca_file, "AWS_CA_BUNDLE");
}

const char *aws_account_region(void)
{
    const char *region = said(account.a.region, "AWS_REGION");
    return region ? region : said(NULL, "AWS_DEFAULT_REGION");
}

const char *aws_account_role(void)
{
    return account.a.role_arn;
}

int aws_account_keys(const char **ret_key, const char **ret_secret, const char **ret_token)
{
    const struct aws_account *a = &account.a;
    if (!a->access_key && !a->secret_key)
        return -ENOKEY;
    *ret_key = a->access_key;
    *ret_secret = a->secret_key;
    *ret_token = a->session_token;
    return 0;
}

/* ---- the vault ---- */

bool aws_account_vault_meant(void)
{
    return account.a.vault.name && account.a.vault.meant;
}

const char *aws_account_vault_name(void)
{
    return account.a.vault.name;
}

static bool same(const struct aws_vault_keys *a, const struct aws_vault_keys *b)
{
    return !strcmp(a->access_key, b->access_key) && !strcmp(a->secret_key, b->secret_key) &&
           !strcmp(a->role_arn, b->role_arn);
}

/* True when the vault has to be asked; else what there is. */
static bool is_due(bool doubted, struct aws_vault_keys *ret, struct err *ret_trouble)
{
    pthread_mutex_lock(&account.lock);
    bool due = mono_passed(account.ask_at) || (doubted && mono_passed(account.doubt_at));
    *ret = account.known;
    *ret_trouble = account.trouble;
    pthread_mutex_unlock(&account.lock);
    return due;
}

/* Said when it begins and when it ends. */
static void tell(const struct err *before, const struct err *now, bool was_known, bool changed)
{
    const char *name = account.a.vault.name;
    if (now->code && !before->code)
        log_warn("aws-vault-away", "%s: %s%s", name, now->text,
                 was_known ? "; what it said before serves on" : "");
    else if (!now->code && before->code)
        log_notice("aws-vault-back", "%s can be had again", name);
    if (changed)
        log_notice("aws-vault-changed", "%s has another key, which is used from now on", name);
}

static void take(const struct aws_vault_keys *fresh, const struct err *trouble, bool doubted)
{
    const struct aws_vault *v = &account.a.vault;
    struct mono_time now = clock_mono();
    pthread_mutex_lock(&account.lock);
    struct err before = account.trouble;
    bool was_known = account.known.access_key[0] != '\0';
    bool differs = !trouble->code && !same(fresh, &account.known);
    account.trouble = *trouble;
    if (!trouble->code)
        account.known = *fresh;
    account.ask_at = mono_add_ms(now, trouble->code ? AWAY_MS : v->keep_ms);
    if (doubted)
        account.doubt_at = mono_add_ms(now, DOUBT_MS);
    pthread_mutex_unlock(&account.lock);
    tell(&before, trouble, was_known, differs && was_known);
    if (differs && v->changed)
        v->changed(v->arg, fresh);
}

int aws_account_vault(bool doubted, int stop_fd, struct aws_vault_keys *ret,
                      const char **ret_session, struct err *e)
{
    const struct aws_vault *v = &account.a.vault;
    struct err trouble = {0};
    if (!v->name)
        return -ENOKEY;
    *ret_session = v->session_name;
    pthread_mutex_lock(&account.asking);
    if (is_due(doubted, ret, &trouble)) {
        struct aws_vault_keys fresh = {0};
        struct err why = {0};
        int r = v->ask(v->arg, stop_fd, &fresh, &why);
        if (r != -ECANCELED)
            take(&fresh, &why, doubted);
        explicit_bzero(&fresh, sizeof(fresh));
        (void)is_due(false, ret, &trouble);
        if (r == -ECANCELED)
            trouble = why;
    }
    pthread_mutex_unlock(&account.asking);
    if (ret->access_key[0] && trouble.code != -ECANCELED)
        return 0;
    return err_set(e, trouble.retry == ERR_NEVER ? -ENOKEY : trouble.code, trouble.retry, "%s: %s",
                   v->name, trouble.text);
}
