#include "aws/aws_chain.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "aws/aws_account.h"
#include "aws/aws_call.h"
#include "aws/aws_files.h"
#include "base/mem.h"
#include "base/text.h"
#include "sys/http_call.h"
#include "sys/json.h"
#include "sys/xml.h"

enum {
    EARLY_S = 15 * 60,          /* before they expire: botocore's figure */
    AGAIN_S = 60,               /* after an early refresh that failed */
    FAILURE_KEPT_S = 5,         /* so that a storage's sessions do not each ask in turn */
    LIFE_MIN_S = 1,             /* what came expired is used once, the service will say so */
    ROLES_MAX = 5,              /* profiles that lead to profiles */
    METADATA_CONNECT_MS = 1000, /* elsewhere nobody answers at this address */
    METADATA_TOTAL_MS = 5000,
    STS_TOTAL_MS = 30 * 1000,
    STS_PATH_MAX = 8 * 1024, /* form of a request */
    ANSWER_MAX = 64 * 1024,
    TOKEN_MAX = 16 * 1024, /* of a container's authorization file */
    LOOKED_MAX = 400,
    SOURCE_MAX = 160,
};

struct found {
    struct aws_credentials credentials;
    char source[SOURCE_MAX];
    int64_t life_s; /* by the clock of who gave them; 0 = for ever */
    bool of_vault;  /* they, or what the role was assumed with: to be looked at again */
};

struct aws_chain {
    char *profile; /* NULL = not said by the options */
    char *access_key, *secret_key, *role_arn, *region, *session_name;
    char *endpoint_sts, *endpoint_metadata;
    struct aws_clock clock;

    /* Holds one token: who has read it fetches. A descriptor and not a mutex, since it is waited
     * for together with the stop descriptor. */
    int turn_fd;

    pthread_mutex_t lock; /* what follows; not held while the network is waited for */
    bool have;
    struct found now;
    struct mono_time refresh_at, dead_at; /* of temporary ones; the first of a vault's, too */
    bool doubted;                         /* a service does not know them */
    struct err failure;                   /* code 0 = none */
    struct mono_time failure_until;
    bool region_looked;
    char *found_region;
};

/* One search through all sources. */
struct search {
    struct aws_chain *chain;
    struct http_client *http;
    int stop_fd;
    struct aws_files *files;
    const char *profile;
    bool profile_chosen; /* by configuration: then the environment's keys are not meant */
    bool doubted;        /* what the vault is known to have is not good any more */
    bool refused;        /* STS does not take the base */
    bool vault_away;
    char looked[LOOKED_MAX];
};

enum known { KNOWN_GOOD, KNOWN_AGEING, KNOWN_FAILURE, KNOWN_NOTHING };
static enum known look(struct aws_chain *c, struct aws_credentials *ret, struct err *e);
static int take_turn(struct aws_chain *c, bool wait, int stop_fd);
static int settle(struct aws_chain *c, int result, const struct found *found, const struct err *why,
                  struct aws_credentials *ret, struct err *e);
static int fetch(struct aws_chain *c, int stop_fd, struct found *ret, struct err *e);

int aws_chain_new(const struct aws_chain_options *o, struct aws_chain **ret, struct err *e)
{
    bool key = o->access_key && *o->access_key, secret = o->secret_key && *o->secret_key;
    if (key != secret)
        return err_set(e, -EINVAL, ERR_NEVER, "%s without %s", key ? "access_key" : "secret_key",
                       key ? "secret_key" : "access_key");
#define COPY(name) (o->name && *o->name ? xstrdup(o->name) : NULL)
    struct aws_chain *c = xcalloc(1, sizeof(*c));
    c->profile = COPY(profile);
    c->access_key = COPY(access_key);
    c->secret_key = COPY(secret_key);
    c->role_arn = COPY(role_arn);
    c->region = COPY(region);
    c->session_name = COPY(session_name);
    c->endpoint_sts = COPY(endpoint_sts);
    c->endpoint_metadata = COPY(endpoint_metadata);
#undef COPY
    int r = pthread_mutex_init(&c->lock, NULL);
    assert(r == 0);
    c->turn_fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
    if (c->turn_fd < 0) {
        r = err_errno(e, -errno, "AWS credentials");
        aws_chain_free(c);
        return r;
    }
    *ret = c;
    return 0;
}

static void free_secret(char *s)
{
    if (s)
        explicit_bzero(s, strlen(s));
    free(s);
}

void aws_chain_free(struct aws_chain *c)
{
    if (!c)
        return;
    if (c->turn_fd >= 0)
        (void)close(c->turn_fd); /* holds nothing */
    pthread_mutex_destroy(&c->lock);
    free(c->profile);
    free(c->access_key);
    free_secret(c->secret_key);
    free(c->role_arn);
    free(c->region);
    free(c->session_name);
    free(c->endpoint_sts);
    free(c->endpoint_metadata);
    free(c->found_region);
    explicit_bzero(c, sizeof(*c));
    free(c);
}

struct aws_clock *aws_chain_clock(struct aws_chain *c)
{
    return &c->clock;
}

int aws_chain_get(struct aws_chain *c, int stop_fd, struct aws_credentials *ret, struct err *e)
{
    struct err failure = {0};
    enum known known = look(c, ret, &failure);
    if (known == KNOWN_AGEING || known == KNOWN_NOTHING) {
        int r = take_turn(c, known == KNOWN_NOTHING, stop_fd);
        if (r == -EAGAIN)
            return 0; /* another is at it, and these still serve */
        if (r < 0)
            return err_set(e, r, ERR_LATER, "AWS credentials: stopped");
        /* Another may have been at it while this one waited. */
        known = look(c, ret, &failure);
        if (known == KNOWN_AGEING || known == KNOWN_NOTHING) {
            struct found found = {0};
            struct err why = {0};
            r = fetch(c, stop_fd, &found, &why);
            r = settle(c, r, &found, &why, ret, e);
            explicit_bzero(&found, sizeof(found));
            (void)eventfd_write(c->turn_fd, 1); /* its one token: cannot overflow */
            return r;
        }
        (void)eventfd_write(c->turn_fd, 1);
    }
    if (known == KNOWN_FAILURE)
        return err_set(e, failure.code, failure.retry, "%s", failure.text);
    return 0;
}

static bool ages(const struct found *f)
{
    return f->life_s || f->of_vault;
}

static enum known look(struct aws_chain *c, struct aws_credentials *ret, struct err *e)
{
    enum known known = KNOWN_NOTHING;
    pthread_mutex_lock(&c->lock);
    bool alive = c->have && (!c->now.life_s || !mono_passed(c->dead_at));
    if (alive) {
        *ret = c->now.credentials;
        known = ages(&c->now) && mono_passed(c->refresh_at) ? KNOWN_AGEING : KNOWN_GOOD;
    } else if (c->failure.code && !mono_passed(c->failure_until)) {
        *e = c->failure;
        known = KNOWN_FAILURE;
    }
    pthread_mutex_unlock(&c->lock);
    return known;
}

/* 0; -EAGAIN when it should not wait; -ECANCELED. */
static int take_turn(struct aws_chain *c, bool wait, int stop_fd)
{
    for (;;) {
        struct pollfd fds[] = {{.fd = c->turn_fd, .events = POLLIN},
                               {.fd = stop_fd, .events = POLLIN}};
        if (poll(fds, stop_fd >= 0 ? 2 : 1, wait ? -1 : 0) < 0)
            continue; /* a signal */
        if (fds[1].revents)
            return -ECANCELED;
        eventfd_t token;
        if (eventfd_read(c->turn_fd, &token) == 0)
            return 0;
        if (!wait)
            return -EAGAIN;
    }
}

static int settle(struct aws_chain *c, int result, const struct found *found, const struct err *why,
                  struct aws_credentials *ret, struct err *e)
{
    struct mono_time now = clock_mono();
    pthread_mutex_lock(&c->lock);
    bool alive = c->have && ages(&c->now) && (!c->now.life_s || !mono_passed(c->dead_at));
    if (result == 0) {
        c->have = true;
        c->now = *found;
        c->failure.code = 0;
        c->dead_at = mono_add_ms(now, found->life_s * 1000);
        c->refresh_at =
            mono_add_ms(now, found->life_s ? MAX(found->life_s - EARLY_S, found->life_s / 2) * 1000
                                           : (int64_t)ACCOUNT_VAULT_MS);
        c->doubted = false;
    } else if (alive) {
        c->refresh_at = mono_add_ms(now, AGAIN_S * 1000);
        result = 0;
    } else {
        c->have = false;
        if (result != -ECANCELED) {
            c->failure = *why;
            c->failure_until = mono_add_ms(now, FAILURE_KEPT_S * 1000);
        }
    }
    if (result == 0)
        *ret = c->now.credentials;
    pthread_mutex_unlock(&c->lock);
    return result < 0 ? err_set(e, result, why->retry, "%s", why->text) : 0;
}

void aws_chain_expired(struct aws_chain *c, const struct aws_credentials *used)
{
    pthread_mutex_lock(&c->lock);
    if (c->have && !strcmp(c->now.credentials.access_key, used->access_key) &&
        !strcmp(c->now.credentials.session_token, used->session_token))
        c->have = false, c->doubted = true;
    pthread_mutex_unlock(&c->lock);
}

void aws_chain_describe(struct aws_chain *c, char *buf, size_t size)
{
    pthread_mutex_lock(&c->lock);
    text_copy(buf, size, c->have ? c->now.source : "");
    pthread_mutex_unlock(&c->lock);
}

/* ---- the search ---- */

static int find_base(struct search *s, struct found *ret, struct err *e);
static int of_environment(struct search *s, struct found *ret, struct err *e);
static int of_vault(struct search *s, struct found *ret, struct err *e);
static int of_role_profile(struct search *s, const char *profile, int depth, struct found *ret,
                           struct err *e);
static int of_file(struct search *s, enum aws_file file, const char *profile, struct found *ret,
                   struct err *e);
static int of_container(struct search *s, struct found *ret, struct err *e);
static int of_instance(struct search *s, struct found *ret, struct err *e);

struct role {
    const char *arn, *session_name, *external_id, *duration, *region;
};
static int assume(struct search *s, const struct role *role, struct found *base, struct err *e);

static const char *env(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static void note(struct search *s, const char *where)
{
    size_t len = strlen(s->looked);
    /* Cut when there is no more room: the first ones are the ones that were meant. */
    (void)text_format(s->looked + len, sizeof(s->looked) - len, "%s%s", len ? ", " : "", where);
}

/* Copies that refuse to be cut: half a token is none. */
static int fill(struct found *f, const char *source, const char *key, const char *secret,
                const char *token, struct err *e)
{
    struct aws_credentials *c = &f->credentials;
    if (!key || !*key || !secret || !*secret)
        return err_set(e, -EINVAL, ERR_NEVER, "%s: only one half of a key pair", source);
    text_copy(f->source, sizeof(f->source), source);
    f->life_s = 0;
    c->expires = (struct wall_time){0};
    if (!text_copy(c->access_key, sizeof(c->access_key), key) ||
        !text_copy(c->secret_key, sizeof(c->secret_key), secret) ||
        !text_copy(c->session_token, sizeof(c->session_token), token ? token : ""))
        return err_set(e, -EINVAL, ERR_NEVER, "%s: longer than credentials of AWS are", source);
    return 0;
}

/* `date_s`: the clock of who gave them, -1 = ours. */
static int fill_expiry(struct found *f, const char *text, int64_t date_s, struct err *e)
{
    if (!text || !*text)
        return 0;
    if (wall_parse_iso(text, &f->credentials.expires) < 0)
        return err_set(e, -EPROTO, ERR_LATER, "%s: the time of expiry is none", f->source);
    int64_t now_s = date_s > 0 ? date_s : wall_seconds(clock_wall());
    f->life_s = MAX(wall_seconds(f->credentials.expires) - now_s, (int64_t)LIFE_MIN_S);
    return 0;
}

/* A role of our configuration is assumed with whatever was found; that of [aws] by those who have
 * no login of their own. */
static int search(struct search *s, struct found *ret, struct err *e)
{
    struct aws_chain *c = s->chain;
    bool own = c->access_key || c->profile;
    struct role role = {.arn = c->role_arn ? c->role_arn : own ? NULL : aws_account_role()};
    *ret = (struct found){0};
    s->looked[0] = '\0';
    int r = find_base(s, ret, e);
    return r == 0 && role.arn ? assume(s, &role, ret, e) : r;
}

static int fetch(struct aws_chain *c, int stop_fd, struct found *ret, struct err *e)
{
    AUTO(http_client) http = NULL;
    AUTO(aws_files) files = NULL;
    int r = http_client_new(stop_fd, &http, e);
    if (r == 0)
        r = aws_files_read(&files, e);
    if (r < 0)
        return r;
    struct search s = {.chain = c, .http = http, .stop_fd = stop_fd, .files = files};
    const char *usual = aws_account_profile();
    s.profile = c->profile ? c->profile : usual ? usual : "default";
    s.profile_chosen = c->profile;
    pthread_mutex_lock(&c->lock);
    s.doubted = c->doubted;
    pthread_mutex_unlock(&c->lock);
    r = search(&s, ret, e);
    if (r < 0 && s.refused && ret->of_vault && !s.doubted) {
        s.doubted = true;
        r = search(&s, ret, e);
    }
    return r;
}

/* Each source: 0; -ENOKEY when it has nothing, with a note where it was looked; others end it. */
static int find_base(struct search *s, struct found *ret, struct err *e)
{
    struct aws_chain *c = s->chain;
    if (c->access_key)
        return fill(ret, "our configuration", c->access_key, c->secret_key, NULL, e);
    int r = of_environment(s, ret, e);
    if (r == -ENOKEY)
        r = of_vault(s, ret, e);
    if (r == -ENOKEY)
        r = of_role_profile(s, s->profile, 0, ret, e);
    if (r == -ENOKEY)
        r = of_file(s, AWS_FILE_CREDENTIALS, s->profile, ret, e);
    if (r == -ENOKEY)
        r = of_file(s, AWS_FILE_CONFIG, s->profile, ret, e);
    if (r == -ENOKEY && s->profile_chosen && !aws_files_has_profile(s->files, s->profile))
        return err_set(e, -ENOKEY, ERR_NEVER, "there is no AWS profile '%s' in %s or %s",
                       s->profile, aws_files_path(s->files, AWS_FILE_CREDENTIALS),
                       aws_files_path(s->files, AWS_FILE_CONFIG));
    if (r == -ENOKEY)
        r = of_container(s, ret, e);
    if (r == -ENOKEY)
        r = of_instance(s, ret, e);
    if (r != -ENOKEY)
        return r;
    static const char *const others[] = {"credential_process", "sso_session", "sso_start_url",
                                         "web_identity_token_file"};
    const char *other = NULL;
    for (size_t i = 0; i < ARRAY_LEN(others) && !other; i++)
        if (aws_files_find(s->files, s->profile, others[i]))
            other = others[i];
    return err_set(e, -ENOKEY, s->vault_away ? ERR_LATER : ERR_NEVER,
                   "no AWS credentials; looked in: %s%s%s%s", s->looked,
                   other ? " (profile has " : "", other ? other : "",
                   other ? ", which this program does not use)" : "");
}

static int of_environment(struct search *s, struct found *ret, struct err *e)
{
    if (s->profile_chosen)
        return -ENOKEY;
    const char *key, *secret, *token;
    if (aws_account_keys(&key, &secret, &token) == 0)
        return fill(ret, "[aws]", key, secret, token, e);
    note(s, "the environment");
    key = env("AWS_ACCESS_KEY_ID");
    if (!key)
        return -ENOKEY;
    return fill(ret, "the environment", key, env("AWS_SECRET_ACCESS_KEY"),
                env("AWS_SESSION_TOKEN") ? env("AWS_SESSION_TOKEN") : env("AWS_SECURITY_TOKEN"), e);
}

/* Of a vault that is away nobody knows whether it has a pair: then others are looked for, unless
 * somebody wrote down that this one is meant. */
static int of_vault(struct search *s, struct found *ret, struct err *e)
{
    struct aws_vault_keys keys = {0};
    struct role role = {0};
    struct err why = {0};
    if (!aws_account_vault_name() || s->profile_chosen || aws_account_profile())
        return -ENOKEY;
    int r = aws_account_vault(s->doubted, s->stop_fd, &keys, &role.session_name, &why);
    if (r == -ECANCELED || (r < 0 && aws_account_vault_meant()))
        return err_set(e, r == -ENOKEY ? -ENXIO : r, why.retry, "%s", why.text);
    if (r < 0) {
        note(s, why.text);
        s->vault_away |= r != -ENOKEY;
        return -ENOKEY;
    }
    r = fill(ret, aws_account_vault_name(), keys.access_key, keys.secret_key, NULL, e);
    ret->of_vault = true;
    role.arn = keys.role_arn;
    if (s->chain->session_name)
        role.session_name = s->chain->session_name;
    /* A role of our own configuration is assumed in place of it. */
    if (r == 0 && *role.arn && !s->chain->role_arn)
        r = assume(s, &role, ret, e);
    explicit_bzero(&keys, sizeof(keys));
    return r;
}

static int of_file(struct search *s, enum aws_file file, const char *profile, struct found *ret,
                   struct err *e)
{
    char source[SOURCE_MAX];
    AUTO_FREE char *where =
        xasprintf("profile '%s' of %s", profile, aws_files_path(s->files, file));
    note(s, where);
    text_copy(source, sizeof(source), where);
    const char *key = aws_files_get(s->files, file, profile, "aws_access_key_id");
    if (!key)
        return -ENOKEY;
    const char *token = aws_files_get(s->files, file, profile, "aws_session_token");
    if (!token)
        token = aws_files_get(s->files, file, profile, "aws_security_token");
    return fill(ret, source, key, aws_files_get(s->files, file, profile, "aws_secret_access_key"),
                token, e);
}

static int of_named_source(struct search *s, const char *profile, const char *name,
                           struct found *ret, struct err *e)
{
    int r;
    bool chosen = s->profile_chosen;
    s->profile_chosen = false; /* the profile itself sends us to the environment */
    if (!strcmp(name, "Environment"))
        r = of_environment(s, ret, e);
    else if (!strcmp(name, "Ec2InstanceMetadata"))
        r = of_instance(s, ret, e);
    else if (!strcmp(name, "EcsContainer"))
        r = of_container(s, ret, e);
    else
        r = err_set(e, -EINVAL, ERR_NEVER,
                    "profile '%s': credential_source '%s' is none of "
                    "Environment, Ec2InstanceMetadata, EcsContainer",
                    profile, name);
    s->profile_chosen = chosen;
    /* To go on with another source would be somebody else than who was meant. */
    if (r == -ENOKEY)
        r = err_set(e, -ENXIO, ERR_LATER, "profile '%s': nothing found by credential_source %s",
                    profile, name);
    return r;
}

static int of_source_profile(struct search *s, const char *profile, const char *source, int depth,
                             struct found *ret, struct err *e)
{
    int r = of_file(s, AWS_FILE_CREDENTIALS, source, ret, e);
    if (r == -ENOKEY)
        r = of_file(s, AWS_FILE_CONFIG, source, ret, e);
    if (r == -ENOKEY && strcmp(profile, source) != 0)
        r = of_role_profile(s, source, depth + 1, ret, e);
    if (r == -ENOKEY)
        r = err_set(e, -EINVAL, ERR_NEVER, "profile '%s': its source_profile '%s' has no keys",
                    profile, source);
    return r;
}

static int of_role_profile(struct search *s, const char *profile, int depth, struct found *ret,
                           struct err *e)
{
    struct role role = {
        .arn = aws_files_find(s->files, profile, "role_arn"),
        .session_name = aws_files_find(s->files, profile, "role_session_name"),
        .external_id = aws_files_find(s->files, profile, "external_id"),
        .duration = aws_files_find(s->files, profile, "duration_seconds"),
        .region = aws_files_find(s->files, profile, "region"),
    };
    const char *source = aws_files_find(s->files, profile, "source_profile");
    const char *named = aws_files_find(s->files, profile, "credential_source");
    if (!role.arn ||
        (!source && !named && aws_files_find(s->files, profile, "web_identity_token_file")))
        return -ENOKEY;
    if (depth >= ROLES_MAX)
        return err_set(e, -ELOOP, ERR_NEVER, "profile '%s': source_profile leads in a circle",
                       profile);
    if (aws_files_find(s->files, profile, "mfa_serial"))
        return err_set(e, -EINVAL, ERR_NEVER,
                       "profile '%s' wants a person with a second factor "
                       "(mfa_serial)",
                       profile);
    if (!source == !named)
        return err_set(e, -EINVAL, ERR_NEVER,
                       "profile '%s' has role_arn and needs source_profile "
                       "or credential_source beside it, one of them",
                       profile);
    int r = source ? of_source_profile(s, profile, source, depth, ret, e)
                   : of_named_source(s, profile, named, ret, e);
    if (r < 0)
        return r;
    r = assume(s, &role, ret, e);
    return r < 0 ? (err_prefix(e, "profile '%s'", profile), r) : 0;
}

/* ---- STS ---- */

static void form_add(struct dynbuf *b, const char *name, const char *value)
{
    if (!value)
        return;
    dynbuf_printf(b, "%s%s=", b->len ? "&" : "", name);
    (void)httpc_escape(b, value, strlen(value)); /* the buffer keeps its failure */
}

static char *sts_origin(const struct search *s, const char *region)
{
    const char *const given[] = {s->chain->endpoint_sts, env("AWS_ENDPOINT_URL_STS"),
                                 env("AWS_ENDPOINT_URL")};
    for (size_t i = 0; i < ARRAY_LEN(given); i++) {
        if (!given[i])
            continue;
        size_t len = strlen(given[i]);
        while (len && given[i][len - 1] == '/')
            len--;
        return xstrndup(given[i], len);
    }
    return xasprintf("https://sts.%s.amazonaws.com%s", region,
                     text_starts_with(region, "cn-") ? ".cn" : "");
}

static int read_role(const struct http_answer *a, const struct role *role, struct found *ret,
                     struct err *e)
{
    AUTO(xml) x = NULL;
    const char *text = a->body ? (const char *)a->body->data : "";
    if (xml_parse(text, a->body ? a->body->size : 0, &x, e) < 0)
        return err_set(e, -EPROTO, ERR_LATER, "STS: the answer is no XML");
    const struct xml_node *n = xml_find(xml_root(x), NULL, "Credentials");
    const char *key = xml_text(xml_find(n, NULL, "AccessKeyId"));
    const char *token = xml_text(xml_find(n, NULL, "SessionToken"));
    if (!*key || !*token)
        return err_set(e, -EPROTO, ERR_LATER, "STS: the answer has no credentials");
    char source[SOURCE_MAX];
    (void)text_format(source, sizeof(source), "role %s", role->arn); /* may be cut */
    int r = fill(ret, source, key, xml_text(xml_find(n, NULL, "SecretAccessKey")), token, e);
    if (r == 0)
        r = fill_expiry(ret, xml_text(xml_find(n, NULL, "Expiration")), a->date_s, e);
    return r;
}

/* Puts a role on top of who `base` is. */
static int assume(struct search *s, const struct role *role, struct found *base, struct err *e)
{
    struct aws_chain *c = s->chain;
    const char *region = aws_chain_region(c);
    if (!region)
        region = role->region ? role->region : "us-east-1";
    const char *session = role->session_name ? role->session_name : c->session_name;
    if (!session)
        session = env("AWS_ROLE_SESSION_NAME") ? env("AWS_ROLE_SESSION_NAME") : "snapshotd";
    AUTO_DONE(dynbuf) form;
    dynbuf_init(&form, STS_PATH_MAX);
    form_add(&form, "Action", "AssumeRole");
    form_add(&form, "DurationSeconds", role->duration);
    form_add(&form, "ExternalId", role->external_id);
    form_add(&form, "RoleArn", role->arn);
    form_add(&form, "RoleSessionName", session);
    form_add(&form, "Version", "2011-06-15");
    if (form.failed)
        return err_set(e, -EINVAL, ERR_NEVER, "role_arn and its like are too long");

    static const char *const headers[] = {
        "Content-Type: application/x-www-form-urlencoded; charset=utf-8", NULL};
    AUTO_FREE char *origin = sts_origin(s, region);
    AUTO_FREE char *what = xasprintf("STS: %s", role->arn);
    struct aws_call call = {.request = {.method = "POST",
                                        .path = "/",
                                        .headers = headers,
                                        .body = form.data,
                                        .body_size = form.len,
                                        .region = region,
                                        .service = "sts"},
                            .origin = origin,
                            .what = what};
    AUTO_DONE(http_answer) a = {0};
    struct aws_error error;
    int r = aws_call_as(&base->credentials, &c->clock, s->http, &call, &a, &error, e);
    if (r == 0)
        return read_role(&a, role, base, e);
    s->refused = r == -EREMOTEIO && error.trouble == AWS_LOGIN;
    if (e && r == -EREMOTEIO && (error.trouble == AWS_LOGIN || error.trouble == AWS_WELL))
        e->retry = ERR_NEVER; /* for aws_chain_get()'s callers: somebody has to do something */
    return r;
}

/* ---- addresses on the machine itself ---- */

static int ask(struct search *s, const char *method, const char *url, const char *what,
               const char *header, struct http_answer *ret, struct err *e)
{
    const char *const headers[] = {header, NULL};
    struct httpc_request req = {
        .method = method,
        .url = url,
        .shown = what,
        .headers = header ? headers : NULL,
        .connect_timeout_ms = METADATA_CONNECT_MS,
        .total_timeout_ms = METADATA_TOTAL_MS,
        .size_max = ANSWER_MAX,
        .http1_only = true,
    };
    int r = http_call(s->http, &req, NULL, ret, NULL, e);
    if (r < 0)
        return r;
    if (ret->status == 200 && ret->body)
        return 0;
    return err_set(e, -EREMOTEIO, ret->status >= 500 || ret->status == 429 ? ERR_LATER : ERR_NEVER,
                   "%s: HTTP %ld", what, ret->status);
}

/* The JSON of containers and instances. */
static int read_json(const struct http_answer *a, const char *what, struct found *ret,
                     struct err *e)
{
    AUTO_JSON json_t *j = NULL;
    if (js_parse((const char *)a->body->data, a->body->size, ANSWER_MAX, &j, NULL) < 0)
        return err_set(e, -EPROTO, ERR_LATER, "%s: the answer is no JSON", what);
    const char *code = json_string_value(json_object_get(j, "Code"));
    if (code && strcmp(code, "Success") != 0) {
        char shown[80];
        (void)text_printable(code, strlen(code), shown, sizeof(shown));
        return err_set(e, -EREMOTEIO, ERR_LATER, "%s: %s", what, shown);
    }
    const char *key = json_string_value(json_object_get(j, "AccessKeyId"));
    const char *secret = json_string_value(json_object_get(j, "SecretAccessKey"));
    if (!key || !secret)
        return err_set(e, -EPROTO, ERR_LATER, "%s: the answer has no credentials", what);
    int r = fill(ret, what, key, secret, json_string_value(json_object_get(j, "Token")), e);
    if (r == 0)
        r = fill_expiry(ret, json_string_value(json_object_get(j, "Expiration")), a->date_s, e);
    return r;
}

/* Credentials go over plain HTTP to the machine itself and to where containers are told them. */
static bool may_be_asked(const char *url)
{
    static const char *const hosts[] = {"localhost",      "[::1]",          "169.254.170.2",
                                        "169.254.170.23", "[fd00:ec2::23]", NULL};
    if (text_starts_with(url, "https://"))
        return true;
    if (!text_starts_with(url, "http://"))
        return false;
    const char *host = url + 7;
    size_t all = strcspn(host, "/?#"), len = 0;
    if (memchr(host, '@', all))
        return false;
    len = host[0] == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":/?#");
    if (len > 4 && !strncmp(host, "127.", 4) && strspn(host, "0123456789.") == len)
        return true;
    for (int i = 0; hosts[i]; i++)
        if (strlen(hosts[i]) == len && !strncmp(host, hosts[i], len))
            return true;
    return false;
}

static int container_token(char **ret, struct err *e)
{
    const char *path = env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    const char *value = env("AWS_CONTAINER_AUTHORIZATION_TOKEN");
    AUTO_FREE char *token = value ? xstrdup(value) : NULL;
    if (path) {
        AUTO(blob) content = NULL;
        int r = aws_file_load(path, TOKEN_MAX, &content, e);
        if (r < 0)
            return r;
        free(STEAL(token));
        token = xstrndup((const char *)content->data, content->size);
        token[strcspn(token, "\r\n")] = '\0';
    }
    *ret = token ? xasprintf("Authorization: %s", token) : NULL;
    free_secret(STEAL(token));
    return 0;
}

static int of_container(struct search *s, struct found *ret, struct err *e)
{
    const char *relative = env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    const char *full = env("AWS_CONTAINER_CREDENTIALS_FULL_URI");
    note(s, "a container's address");
    if (!relative && !full)
        return -ENOKEY;
    const char *base = s->chain->endpoint_metadata;
    AUTO_FREE char *url = relative
                              ? xasprintf("%s%s", base ? base : "http://169.254.170.2", relative)
                              : xstrdup(full);
    if (!relative && !may_be_asked(url))
        return err_set(e, -EPERM, ERR_NEVER,
                       "AWS_CONTAINER_CREDENTIALS_FULL_URI must be https or "
                       "an address of this machine");
    char *header = NULL;
    int r = container_token(&header, e);
    if (r < 0)
        return r;
    AUTO_DONE(http_answer) a = {0};
    r = ask(s, "GET", url, "container credentials", header, &a, e);
    free_secret(header);
    return r < 0 ? r : read_json(&a, "container credentials", ret, e);
}

static char *first_line(const struct blob *b)
{
    AUTO_FREE char *text = xstrndup((const char *)b->data, b->size);
    return xstrndup(text, strcspn(text, "\r\n"));
}

static int of_instance(struct search *s, struct found *ret, struct err *e)
{
    static const char what[] = "instance metadata";
    const char *off = env("AWS_EC2_METADATA_DISABLED");
    if (off && text_equal_nocase(off, "true"))
        return note(s, "instance metadata is switched off"), -ENOKEY;
    note(s, what);
    const char *base = s->chain->endpoint_metadata;
    if (!base)
        base = env("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    if (!base)
        base = "http://169.254.169.254";
    size_t len = strlen(base);
    len -= len && base[len - 1] == '/';

    AUTO_FREE char *token_url = xasprintf("%.*s/latest/api/token", (int)len, base);
    AUTO_DONE(http_answer) token = {0};
    int r =
        ask(s, "PUT", token_url, what, "X-aws-ec2-metadata-token-ttl-seconds: 21600", &token, e);
    if (r == -ECANCELED)
        return r;
    /* Not an instance, or one without a role: the same to us. */
    if (r < 0)
        return -ENOKEY;
    AUTO_FREE char *first = first_line(token.body);
    AUTO_FREE char *header = xasprintf("X-aws-ec2-metadata-token: %s", first);
    AUTO_FREE char *list_url =
        xasprintf("%.*s/latest/meta-data/iam/security-credentials/", (int)len, base);
    AUTO_DONE(http_answer) list = {0};
    r = ask(s, "GET", list_url, what, header, &list, e);
    if (r < 0)
        return r == -EREMOTEIO && list.status == 404 ? -ENOKEY : r;
    AUTO_FREE char *role = first_line(list.body);
    AUTO_DONE(dynbuf) url;
    dynbuf_init(&url, ANSWER_MAX * 4);
    dynbuf_puts(&url, list_url);
    (void)httpc_escape(&url, role, strlen(role));
    AUTO_DONE(http_answer) a = {0};
    r = ask(s, "GET", dynbuf_str(&url), what, header, &a, e);
    return r < 0 ? r : read_json(&a, what, ret, e);
}

const char *aws_chain_region(struct aws_chain *c)
{
    if (c->region)
        return c->region;
    const char *region = aws_account_region();
    pthread_mutex_lock(&c->lock);
    AUTO(aws_files) files = NULL;
    if (!c->region_looked && region) {
        c->found_region = xstrdup(region);
    } else if (!c->region_looked && aws_files_read(&files, NULL) == 0) {
        /* A file that cannot be read is complained of when credentials are looked for. */
        const char *profile = c->profile ? c->profile : aws_account_profile();
        c->found_region = xstrdup(aws_files_find(files, profile ? profile : "default", "region"));
    }
    c->region_looked = true;
    region = c->found_region;
    pthread_mutex_unlock(&c->lock);
    return region;
}
